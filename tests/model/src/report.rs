//! Runs a search and says what came of it.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model};

use crate::healing::{HEALED, MOST_TURNS};
use crate::node::Memory;
use crate::scope::Scope;
use crate::state::Space;
use crate::trace;

#[derive(Default)]
pub struct Total {
    states: usize,
    steps: usize,
    healed: u64,
    cut: usize,
    pub broken: usize,
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.steps += other.steps;
        self.healed += other.healed;
        self.cut += other.cut;
        self.broken += other.broken;
    }
}

pub fn head() {
    println!(
        "{:18} {:>8} {:>11} {:>13} {:>5}  {:>9} {:>5} {:>7}",
        "scope", "", "states", "steps", "depth", "healed", "turns", "time"
    );
}

/// Searches all of a scope, or as much as `limit` allows.
pub fn check<S: Memory>(scope: Scope, limit: Option<Duration>) -> Total {
    let (name, about) = (scope.name, scope.about);
    HEALED.store(0, Ordering::Relaxed);
    MOST_TURNS.store(0, Ordering::Relaxed);
    let begin = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = Space::<S>::new(scope).checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    let checker = builder.spawn_dfs().join_and_report(&mut Progress { name, told: begin });
    let (time, discoveries) = (begin.elapsed(), checker.discoveries());
    let is_cut = limit.is_some_and(|limit| time >= limit);
    let verdict = match (discoveries.is_empty(), is_cut) {
        (false, _) => "BROKEN",
        (true, true) => "cut",
        (true, false) => "complete",
    };
    let total = Total {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        healed: HEALED.load(Ordering::Relaxed),
        cut: usize::from(is_cut),
        broken: discoveries.len(),
    };
    println!(
        "{name:18} {verdict:>8} {:>11} {:>13} {:>5}  {:>9} {:>5} {:>5.0} s  {about}",
        total.states,
        total.steps,
        checker.max_depth(),
        total.healed,
        MOST_TURNS.load(Ordering::Relaxed),
        time.as_secs_f64(),
    );
    for (promise, path) in discoveries {
        trace::print(checker.model(), promise, path);
    }
    total
}

pub fn foot(total: &Total) {
    println!(
        "\n{} states, {} steps, {} of the states let heal; {} promises broken{}",
        total.states,
        total.steps,
        total.healed,
        total.broken,
        if total.cut > 0 { format!("; {} scopes cut", total.cut) } else { String::new() }
    );
}

/// A line now and then for those who wait.
struct Progress {
    name: &'static str,
    told: Instant,
}

const BETWEEN: Duration = Duration::from_secs(15);

impl<M: Model> Reporter<M> for Progress {
    fn report_checking(&mut self, data: ReportData) {
        if !data.done && self.told.elapsed() >= BETWEEN {
            self.told = Instant::now();
            eprintln!("  {} … {} states in {} s", self.name, data.unique_states, data.duration.as_secs());
        }
    }

    fn report_discoveries(&mut self, _: &M, _: BTreeMap<&'static str, ReportDiscovery<M>>) {}

    fn delay(&self) -> Duration {
        Duration::from_millis(100)
    }
}
