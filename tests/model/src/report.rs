//! Runs a search and says what came of it.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::node::Memory;
use crate::scope::Scope;
use crate::search::{End, Search};
use crate::trace;

#[derive(Default)]
pub struct Total {
    states: usize,
    steps: u64,
    healed: usize,
    cut: usize,
    /// The chance that of the states of a scope two had the same hash, so that one was missed.
    missed: f64,
    pub broken: usize,
    /// Scopes whose search came to its end, and not by all that it must come by.
    pub blind: usize,
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.steps += other.steps;
        self.healed += other.healed;
        self.cut += other.cut;
        self.missed += other.missed;
        self.broken += other.broken;
        self.blind += other.blind;
    }
}

pub fn head() {
    println!(
        "{:18} {:>8} {:>11} {:>13} {:>5}  {:>9} {:>5} {:>9} {:>7}",
        "scope", "", "states", "steps", "depth", "healed", "turns", "code runs", "time"
    );
}

/// Searches all of a scope, or as much as `limit` allows.
pub fn check<S: Memory>(scope: Scope, limit: Option<Duration>) -> Total {
    let (name, about, must_reach) = (scope.name, scope.about, scope.must_reach);
    let mut search = Search::<S>::new(scope);
    let begin = Instant::now();
    let mut told = begin;
    let end = search.run(limit, |search| {
        if told.elapsed() >= BETWEEN {
            told = Instant::now();
            eprintln!("  {name} … {} states in {} s", search.states(), begin.elapsed().as_secs());
        }
    });
    let time = begin.elapsed();
    let verdict = match end {
        End::Complete => "complete",
        End::Cut => "cut",
        End::Found(_) => "BROKEN",
    };
    println!(
        "{name:18} {verdict:>8} {:>11} {:>13} {:>5}  {:>9} {:>5} {:>9} {:>5.0} s  {about}",
        search.states(),
        search.steps,
        search.depth,
        search.healing.count(),
        search.healing.turns,
        search.memo.runs + search.healing.calm.runs,
        time.as_secs_f64(),
    );
    let mut total = Total {
        states: search.states(),
        steps: search.steps,
        healed: search.healing.count(),
        missed: chance_of_a_miss(search.states()),
        ..Total::default()
    };
    let missing = must_reach.iter().filter(|landmark| !search.memo.landmarks.contains(**landmark));
    match end {
        End::Complete => {
            let missing = missing.inspect(|landmark| println!("  BLIND: it never comes to it that {landmark}"));
            total.blind = usize::from(missing.count() > 0);
        }
        End::Cut => {
            total.cut = 1;
            missing.for_each(|landmark| println!("  it has not come to it yet that {landmark}"));
        }
        End::Found(finding) => {
            total.broken = 1;
            trace::print(&mut search.healing, &finding);
        }
    }
    total
}

pub fn foot(total: &Total) {
    println!(
        "\n{} states, {} steps, {} pairs of nodes let heal; {} promises broken, {} scopes blind, {} cut",
        total.states, total.steps, total.healed, total.broken, total.blind, total.cut,
    );
    println!("a state was missed, as its hash was that of another, with a chance of {:.0e} at most", total.missed);
}

/// Two of `states` hashes of 64 bits are the same with this chance at most.
fn chance_of_a_miss(states: usize) -> f64 {
    let states = states as f64;
    states * states / 2.0 / 2_f64.powi(64)
}

/// A line now and then for those who wait.
const BETWEEN: Duration = Duration::from_secs(15);
