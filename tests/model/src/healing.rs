//! *Eventually*: once faults stop, every call ends and new calls succeed, within a few turns of the clock.

use std::fmt;

use nohash_hasher::IntSet;

use crate::input::Input;
use crate::ledger::{Broken, Outcome, PROOFS};
use crate::memo::Memo;
use crate::node::{Memory, TICK};
use crate::scope::{Scope, Side};
use crate::state::State;

/// Turns of both clocks in which everything has to be settled.
const MAX_TURNS: u64 = 8;
/// Frames in a turn: more are a storm.
const MAX_FRAMES: u64 = 60;

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

/// Links that heal.
pub struct Healing<S> {
    pub calm: Memo<S>,
    /// Nodes and ledgers that were let heal.
    healed: IntSet<u64>,
    /// Nodes at rest between which new calls succeed.
    proven: IntSet<u64>,
    /// Turns that the slowest needed.
    pub turns: u64,
}

impl<S: Memory> Healing<S> {
    pub fn new(scope: &Scope) -> Self {
        let calm = Memo::new(Scope { is_lazy: false, is_prompt: true, reach: usize::MAX, ..scope.clone() });
        Self { calm, healed: IntSet::default(), proven: IntSet::default(), turns: 0 }
    }

    /// How many different links were let heal.
    pub fn count(&self) -> usize {
        self.healed.len()
    }

    /// Whether a link in this state heals.
    pub fn check(&mut self, state: &State<S>) -> Result<(), Ill> {
        if self.healed.insert(state.nodes_and_ledger()) { self.heal(&mut state.clone()) } else { Ok(()) }
    }

    /// What is under way is lost, and nothing goes wrong any more.
    pub fn heal(&mut self, state: &mut State<S>) -> Result<(), Ill> {
        for network in &mut state.towards {
            network.clear();
        }
        for side in Side::BOTH {
            if state.node(side).is_closed {
                state.on(&mut self.calm, side, Input::Open);
            }
        }
        let turns = settle(&mut self.calm, state)?;
        self.turns = self.turns.max(turns);
        // With nothing waiting, what happened to earlier calls no longer matters.
        if self.proven.insert(state.nodes()) { prove(&mut self.calm, state) } else { Ok(()) }
    }
}

/// A new call from each side succeeds.
fn prove<S: Memory>(calm: &mut Memo<S>, state: &mut State<S>) -> Result<(), Ill> {
    for (side, id) in Side::BOTH.into_iter().zip(PROOFS) {
        state.on(calm, side, Input::Call(id));
        settle(calm, state)?;
        if state.ledger.outcome(id) != Some(Outcome::Ok) {
            return Err(Ill::CallFailed(side));
        }
        state.ledger.forget(id);
    }
    Ok(())
}

/// Lets time pass until the link is at rest; says how many turns it took.
fn settle<S: Memory>(calm: &mut Memo<S>, state: &mut State<S>) -> Result<u64, Ill> {
    for turn in 0..=MAX_TURNS {
        for side in Side::BOTH {
            let time = if turn == 0 { 0 } else { TICK };
            state.on(calm, side, Input::Wait(time));
            while !state.node(side).runs.is_empty() && state.ledger.broken.is_none() {
                state.on(calm, side, Input::Finish(0));
            }
        }
        deliver_all(calm, state)?;
        if let Some(broken) = state.ledger.broken {
            return Err(Ill::Broken(broken));
        }
        let [a, b] = Side::BOTH.map(|side| state.node(side));
        if a.is_at_rest && b.is_at_rest && a.session_id() == b.session_id() {
            return Ok(turn);
        }
    }
    Err(Ill::Unsettled)
}

/// Delivers what is under way, in the order of its going out, until neither side says any more.
fn deliver_all<S: Memory>(calm: &mut Memo<S>, state: &mut State<S>) -> Result<(), Ill> {
    let mut count = 0;
    loop {
        let mut is_quiet = true;
        for to in Side::BOTH {
            while let Some(frame) = state.towards[to as usize].take_first() {
                count += 1;
                if count > MAX_FRAMES {
                    return Err(state.ledger.broken.map_or(Ill::Storm, Ill::Broken));
                }
                is_quiet = false;
                state.deliver(calm, to, &frame);
            }
        }
        if is_quiet {
            return Ok(());
        }
    }
}
