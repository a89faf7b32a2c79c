//! Makes a failing scenario smaller: takes away one fault after the other, as long as it still fails.

use super::clock::ClockPlan;
use super::run;
use super::scenario::{Plan, Scenario};
use super::server::Service;

/// What may be taken away, the coarse things first.
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
    |s| each_plan(s, |p| p.read_delay = 0),
    |s| each_plan(s, |p| p.leave = 0.0),
    |s| each_plan(s, |p| p.work.close = 0.0),
    |s| each_plan(s, |p| p.work.cancel = 0.0),
    |s| each_plan(s, |p| p.work.publish = 0.0),
    |s| each_plan(s, |p| p.work.notify = 0.0),
    |s| each_plan(s, |p| p.work.too_large = 0.0),
    |s| each_plan(s, |p| p.work.idempotent = 0.0),
    |s| each_plan(s, |p| p.work.payload = (0, 4)),
    |s| each_plan(s, |p| p.sizes = Plan::default().sizes),
    |s| s.stream = !s.stream,
    |s| each_plan(s, |p| p.active = true),
    |s| s.trouble /= 2,
    |s| s.trouble /= 2,
    |s| s.trouble /= 2,
    |s| s.trouble = s.trouble * 3 / 4,
];

fn each_fault(scenario: &mut Scenario, change: impl Fn(&mut super::Faults)) {
    scenario.faults.iter_mut().for_each(change);
}

fn each_plan(scenario: &mut Scenario, change: impl Fn(&mut Plan)) {
    scenario.nodes.iter_mut().for_each(change);
}

/// The smallest scenario found that breaks the same promise.
pub fn reduce(failing: &Scenario, broken: &str) -> Scenario {
    let same = |scenario: &Scenario| run(scenario).is_err_and(|failure| kind(&failure.broken) == kind(broken));
    let mut smallest = failing.clone();
    for step in STEPS {
        let mut smaller = smallest.clone();
        step(&mut smaller);
        if same(&smaller) {
            smallest = smaller;
        }
    }
    smallest
}

/// The promise, whatever the numbers in its text.
fn kind(broken: &str) -> String {
    broken.chars().filter(|c| !c.is_ascii_digit()).collect()
}
