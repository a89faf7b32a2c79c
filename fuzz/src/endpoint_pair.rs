//! Two endpoints on a bad link, in the world of the simulator (`tests/sim/`), whose every choice is the input's: sizes and speeds,
//! which frame is lost, garbled, held back or comes again, who crashes when, what the applications do. Its ledger holds all
//! promises against what has happened.
//!
//! Input: the draws of the simulator, one byte or two each, in the order in which it makes them; zeros are a perfect link.
//! Where the input ends the faults end, and both must find together, finish what they have begun, and answer new calls. If its
//! first two bits are ones, frames of all times come again before that, and must change nothing.

use super::sim::rng::Rng;
use super::sim::world::Verdict;
use super::sim::{Scenario, Trace, World};

pub fn run(data: &[u8]) {
    let (broken, _) = play(data, Trace::default());
    if broken.is_some() {
        let (broken, report) = play(data, Trace::open());
        panic!("{report}\n{}", broken.unwrap_or_default());
    }
}

/// Rows of the trace that are printed.
const ROWS: usize = 100;

fn play(data: &[u8], trace: Trace) -> (Option<String>, String) {
    let mut rng = Rng::play(data);
    let scenario = Scenario::draw_from(&mut rng, 0);
    let text = scenario.to_string();
    let mut world = World::with_rng(scenario, rng, trace);
    let old_frames_come = data.first().is_some_and(|byte| *byte >= 0xC0);
    let Verdict { broken, .. } = match old_frames_come {
        true => world.run_through(&[World::trouble, World::calm_down, World::old_frames, World::new_work]),
        false => world.run_through(&[World::trouble, World::calm_down, World::new_work]),
    };
    (broken, format!("{text}\n\n{}", world.shared.trace.tail(world.time, ROWS)))
}
