//! What a search ranges over: who calls, and how often what goes wrong.

use bowline::Semantics;

use crate::landmark::Landmark;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// How often each thing may still happen. Frames may come as often as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Crashes of A and B, each followed by a new life at once.
    pub crashes: [u8; 2],
    /// Times that the clock of A or B moves on by a probe interval, and all timers that are due fire.
    pub ticks: [u8; 2],
    /// Times that a node wakes up after more than a lease.
    pub sleeps: [u8; 2],
    /// Calls that the caller gives up.
    pub cancels: u8,
    /// Requests that the server refuses of its own accord.
    pub refusals: u8,
    /// Frames to each side that are remembered and may come for ever, besides the latest ones.
    pub memories: [u8; 2],
    /// Frames that a port does not take.
    pub rejects: u8,
    /// Times that a node closes, and opens again when it likes.
    pub closes: u8,
}

/// A bounded space of states.
#[derive(Clone, Debug)]
pub struct Scope {
    pub name: &'static str,
    pub about: &'static str,
    /// Slots for calls, each way.
    pub slots: usize,
    pub calls: &'static [(Side, Semantics)],
    pub bounds: Bounds,
    /// How many of the latest frames each way may come, in any order.
    pub reach: usize,
    /// Calls that each side has made when the search begins, in a session; 0: both have just booted.
    pub calls_before: u8,
    /// Whether handlers answer at once; else they take as long as they like.
    pub is_prompt: bool,
    /// Whether ports take frames as long as they like; else at once.
    pub is_lazy: bool,
    /// Whether a packet is acknowledged at once; else an ack waits for company.
    pub acks_at_once: bool,
    /// A side without random numbers and without a counter of boots: on its line nothing survives its boot
    /// (`PROTOCOL.md §8.4`).
    pub without_entropy: Option<Side>,
    /// What must happen somewhere in it: else the search has not looked at what it is for.
    pub must_reach: &'static [Landmark],
}
