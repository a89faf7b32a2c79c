//! A deterministic simulator: two nodes on a bad link, on virtual time, all of it following from one seed.
//!
//! ```text
//!   client ─┐                                       ┌─ client
//!   server ─┤ Driver ── Endpoint     Endpoint ── Driver ├─ server       driver.rs, client.rs, server.rs
//!           └── Node ─────── Link ═══ Link ─────── Node ┘               node.rs, link.rs, clock.rs
//!                            World, Ledger, Trace                       world.rs, ledger.rs, trace.rs
//! ```
//!
//! Both nodes are equal: each calls and serves, notifies and publishes. A [`Scenario`] holds every parameter of a run as a plain value:
//! write one by hand ([`Scenario::perfect`] and a change), or draw one from a seed ([`Scenario::draw`]). [`run`] runs it: first
//! faults and random work; then the faults end, and both nodes must find together and finish; then frames of all times come again
//! and must change nothing; then new calls must succeed; then an idle minute must be silent. The [`ledger::Ledger`] watches from
//! outside and breaks on the first broken promise. A run that fails is reduced to fewer faults, run again with its
//! trace open, and printed.

#![allow(dead_code, unused_imports)] // each test file uses a part

pub mod any;
pub mod client;
pub mod clock;
pub mod context;
pub mod diagram;
pub mod driver;
pub mod frame;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod node;
pub mod reduce;
pub mod rng;
pub mod scenario;
pub mod server;
pub mod sizes;
pub mod swarm;
pub mod trace;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use ledger::Tally;
pub use link::Faults;
pub use scenario::{Entropy, Plan, Scenario};
pub use trace::Trace;
pub use world::World;

/// A broken promise.
pub struct Failure {
    pub scenario: Box<Scenario>,
    pub broken: String,
    /// How many were sent until then.
    pub frames: u32,
    /// The last rows of the trace.
    pub trace: String,
}

/// Rows of the trace that are printed.
const ROWS: usize = 60;

/// Runs a scenario from its first frame to its last.
pub fn run(scenario: &Scenario) -> Result<Tally, Failure> {
    run_with(scenario, Trace::default())
}

pub fn run_with(scenario: &Scenario, trace: Trace) -> Result<Tally, Failure> {
    let mut world = World::new(scenario.clone(), trace);
    // A panic of the crate is a broken promise like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let (broken, tally) = match outcome {
        Ok(verdict) => (verdict.broken, verdict.tally),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            (Some(format!("panicked: {}", text.unwrap_or_default())), world.shared.ledger.tally)
        }
    };
    match broken {
        None => Ok(tally),
        Some(broken) => {
            let trace = world.shared.trace.tail(world.time, ROWS);
            Err(Failure { scenario: Box::new(scenario.clone()), broken, frames: tally.frames, trace })
        }
    }
}

/// Runs a scenario and panics with a full report if it breaks a promise.
pub fn hold(scenario: &Scenario) -> Tally {
    run(scenario).unwrap_or_else(|failure| panic!("{}", failure.explained()))
}

impl Failure {
    /// Everything that helps: what broke, the smallest scenario that still breaks, and how its run ended.
    pub fn explained(&self) -> String {
        let reduced = reduce::reduce(self);
        let failure = run_with(&reduced, Trace::open()).err();
        let (broken, trace) = failure.map_or_else(Default::default, |failure| (failure.broken, failure.trace));
        let seed = self.scenario.seed;
        format!(
            "{}\n\nseed {seed}, reduced: {broken}\n{reduced}\n\n{trace}\n{broken}\n\nthis seed alone:\n\
             BOWLINE_SEEDS={seed}..{} cargo test --release --test simulator -- --ignored --nocapture swarm",
            self.broken,
            seed + 1,
        )
    }
}
