//! Makes a failing scenario smaller: takes away one fault after the other, as long as it still fails.

use super::clock::ClockPlan;
use super::scenario::{Plan, Scenario};
use super::server::Service;
use super::sizes::Sizes;
use super::{Failure, run};

/// Work that is rarer than that never happens within a run.
const MAX_GAP: u64 = 100_000_000;

/// What may be taken away, the coarse things first. None of them gives back what another one has taken.
const STEPS: &[fn(&mut Scenario)] = &[
    |s| s.faults = s.faults.each_ref().map(|faults| faults.calmed()),
    |s| s.faults[0] = s.faults[0].calmed(),
    |s| s.faults[1] = s.faults[1].calmed(),
    |s| s.nodes[0].work.gap = 0,
    |s| s.nodes[1].work.gap = 0,
    |s| s.nodes[0].crash_every = 0,
    |s| s.nodes[1].crash_every = 0,
    |s| each_fault(s, |f| f.outage_every = 0),
    |s| each_fault(s, |f| f.replay = 0.0),
    |s| each_fault(s, |f| f.duplicate = 0.0),
    |s| each_fault(s, |f| f.echo = 0.0),
    |s| each_fault(s, |f| f.noise = 0.0),
    |s| each_fault(s, |f| f.truncate = 0.0),
    |s| each_fault(s, |f| f.garble = 0.0),
    |s| each_fault(s, |f| f.cut = 0.0),
    |s| each_fault(s, |f| f.reorder = 0.0),
    |s| each_fault(s, |f| f.refuse = 0.0),
    |s| each_fault(s, |f| f.loss = 0.0),
    |s| each_fault(s, |f| f.jitter = 0),
    |s| each_fault(s, |f| (f.rate, f.room) = (0, 0)),
    |s| each_plan(s, |p| p.clock = ClockPlan::default()),
    |s| each_plan(s, |p| p.service = Service::default()),
    |s| each_plan(s, |p| p.service.refuse = 0.0),
    |s| each_plan(s, |p| p.service.too_large = 0.0),
    |s| each_plan(s, |p| p.service.defer = 0.0),
    |s| each_plan(s, |p| (p.late, p.granularity) = (0, 0)),
    |s| each_plan(s, |p| p.second_copy = false),
    |s| each_plan(s, |p| p.read_delay = 0),
    |s| each_plan(s, |p| p.leave = 0.0),
    |s| each_plan(s, |p| p.work.close = 0.0),
    |s| each_plan(s, |p| p.work.cancel = 0.0),
    |s| each_plan(s, |p| p.work.publish = 0.0),
    |s| each_plan(s, |p| p.work.notify = 0.0),
    |s| each_plan(s, |p| p.work.too_large = 0.0),
    |s| each_plan(s, |p| p.work.idempotent = 0.0),
    |s| each_plan(s, |p| p.work.payload = (0, 4)),
    |s| each_plan(s, |p| p.sizes = if p.sizes == Sizes::Least { Sizes::Least } else { Sizes::Usual }),
    |s| each_plan(s, |p| p.sizes = Sizes::Least),
    |s| each_plan(s, |p| p.work.gap = (2 * p.work.gap).min(MAX_GAP)),
    |s| s.nodes[0].work.gap = (2 * s.nodes[0].work.gap).min(MAX_GAP),
    |s| s.nodes[1].work.gap = (2 * s.nodes[1].work.gap).min(MAX_GAP),
    |s| s.stream = false,
    |s| each_plan(s, |p| p.active = true),
    |s| s.trouble /= 2,
    |s| s.trouble = s.trouble * 3 / 4,
];

fn each_fault(scenario: &mut Scenario, change: impl Fn(&mut super::Faults)) {
    scenario.faults.iter_mut().for_each(change);
}

fn each_plan(scenario: &mut Scenario, change: impl Fn(&mut Plan)) {
    scenario.nodes.iter_mut().for_each(change);
}

/// Frames that can be looked through.
const FEW: u32 = 40;

/// Other seeds that are tried for a shorter run.
const OTHER_SEEDS: u64 = 300;

/// The smallest scenario found that breaks the same promise.
pub fn reduce(failing: &Failure) -> Scenario {
    let mut reduction = Reduction { failing, smallest: (*failing.scenario).clone(), frames: failing.frames };
    reduction.take_away();
    reduction.try_other_seeds();
    reduction.take_away();
    reduction.smallest
}

struct Reduction<'a> {
    failing: &'a Failure,
    smallest: Scenario,
    /// That were sent until it failed.
    frames: u32,
}

impl Reduction<'_> {
    fn take_away(&mut self) {
        let mut is_progress = true;
        while is_progress {
            is_progress = false;
            for step in STEPS {
                let mut smaller = self.smallest.clone();
                step(&mut smaller);
                is_progress |= smaller != self.smallest && self.accept(smaller, self.frames.max(FEW));
            }
        }
    }

    /// What is left is chance: with other luck it may come earlier.
    fn try_other_seeds(&mut self) {
        for other in 1..=OTHER_SEEDS {
            let seed = self.failing.scenario.seed.wrapping_add(other << 32);
            self.accept(Scenario { seed, ..self.smallest.clone() }, self.frames.saturating_sub(1));
        }
    }

    /// Whether it fails alike, with at most so many frames.
    fn accept(&mut self, smaller: Scenario, frames: u32) -> bool {
        let Err(failure) = run(&smaller) else { return false };
        let is_alike = kind(&failure.broken) == kind(&self.failing.broken) && failure.frames <= frames;
        if is_alike {
            (self.smallest, self.frames) = (smaller, failure.frames);
        }
        is_alike
    }
}

/// The promise, whatever the numbers in its text.
fn kind(broken: &str) -> String {
    broken.chars().filter(|c| !c.is_ascii_digit()).collect()
}
