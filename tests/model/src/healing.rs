//! *Eventually*: once faults stop, every call ends and new calls succeed, within a few turns of the clock.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ledger::{Broken, Outcome, PROOFS};
use crate::node::{Memory, TICK};
use crate::scope::{Scope, Side};
use crate::state::State;

/// Turns of both clocks in which everything has to be settled.
const MAX_TURNS: u64 = 8;
/// Frames in a turn: more are a storm.
const MAX_FRAMES: u64 = 60;

/// How many states were let heal, and what the slowest needed.
pub static HEALED: AtomicU64 = AtomicU64::new(0);
pub static MOST_TURNS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// After all turns something still waits, or there is no session that both hold.
    Unsettled,
    /// The sides answer each other without end.
    Storm,
    /// A new call of this side failed.
    CallFailed(Side),
    Broken(Broken),
}

impl fmt::Display for Ill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsettled => write!(f, "after {MAX_TURNS} turns without faults the link is not at rest"),
            Self::Storm => write!(f, "more than {MAX_FRAMES} frames in a turn"),
            Self::CallFailed(side) => write!(f, "on a link without faults a call of {side:?} does not succeed"),
            Self::Broken(broken) => write!(f, "while the link healed, a promise was broken: {broken:?}"),
        }
    }
}

/// What is under way is lost, and nothing goes wrong any more.
pub fn heals<S: Memory>(scope: &Scope, state: &mut State<S>) -> Result<(), Ill> {
    // An invariant that does not hold is a finding like any other.
    catch_unwind(AssertUnwindSafe(|| heal(scope, state))).unwrap_or(Err(Ill::Broken(Broken::Invariant)))
}

fn heal<S: Memory>(scope: &Scope, state: &mut State<S>) -> Result<(), Ill> {
    let scope = Scope { is_lazy: false, is_prompt: true, reach: usize::MAX, ..scope.clone() };
    for network in &mut state.towards {
        network.clear();
    }
    for side in Side::BOTH {
        if state.node(side).is_closed {
            state.on(&scope, side, |node, outside| node.open(outside));
        }
    }
    let turns = settle(&scope, state)?;
    for (side, id) in Side::BOTH.into_iter().zip(PROOFS) {
        state.on(&scope, side, |node, outside| node.call(id, outside));
        settle(&scope, state)?;
        if state.ledger.outcome(id) != Some(Outcome::Ok) {
            return Err(Ill::CallFailed(side));
        }
        state.ledger.forget(id);
    }
    HEALED.fetch_add(1, Ordering::Relaxed);
    MOST_TURNS.fetch_max(turns, Ordering::Relaxed);
    Ok(())
}

/// Lets time pass until the link is at rest; says how many turns it took.
fn settle<S: Memory>(scope: &Scope, state: &mut State<S>) -> Result<u64, Ill> {
    for turn in 0..=MAX_TURNS {
        for side in Side::BOTH {
            let time = if turn == 0 { 0 } else { TICK };
            state.on(scope, side, |node, outside| node.wait(time, outside));
            while !state.node(side).runs.is_empty() {
                state.on(scope, side, |node, outside| node.finish(0, outside));
            }
        }
        deliver_all(scope, state)?;
        if let Some(broken) = state.ledger.broken {
            return Err(Ill::Broken(broken));
        }
        let [a, b] = Side::BOTH;
        let is_shared = state.node(a).session_id() == state.node(b).session_id();
        if is_shared && Side::BOTH.into_iter().all(|side| state.node_mut(side).is_at_rest(scope)) {
            return Ok(turn);
        }
    }
    Err(Ill::Unsettled)
}

/// Delivers what is under way, in the order of its going out, until neither side says any more.
fn deliver_all<S: Memory>(scope: &Scope, state: &mut State<S>) -> Result<(), Ill> {
    let mut count = 0;
    loop {
        let mut is_quiet = true;
        for to in Side::BOTH {
            while let Some(frame) = state.towards[to as usize].take_first() {
                count += 1;
                if count > MAX_FRAMES {
                    return Err(Ill::Storm);
                }
                is_quiet = false;
                state.deliver(scope, to, &frame);
            }
        }
        if is_quiet {
            return Ok(());
        }
    }
}
