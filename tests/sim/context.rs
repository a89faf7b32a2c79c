//! What the parts of a node's application get to see of the world, and of its end.

use bowline::Instant;

use super::ledger::Ledger;
use super::trace::Trace;

/// Where and when something happens.
#[derive(Clone, Copy)]
pub struct At {
    /// The world's time.
    pub time: u64,
    /// The node's.
    pub now: Instant,
    pub node: usize,
    pub life: u32,
}

/// What the application's parts get to see of the world.
pub struct Context<'a> {
    pub time: u64,
    now: Instant,
    told: &'a mut u64,
    pub node: usize,
    pub life: u32,
    /// Frames with messages that the port has taken in this life.
    pub frames_taken: u32,
    pub ledger: &'a mut Ledger,
    pub trace: &'a mut Trace,
    pub doom: &'a mut Doom,
}

impl<'a> Context<'a> {
    /// `told` is the latest time that the endpoint was ever told.
    pub fn new(
        at: At,
        told: &'a mut u64,
        frames_taken: u32,
        ledger: &'a mut Ledger,
        trace: &'a mut Trace,
        doom: &'a mut Doom,
    ) -> Context<'a> {
        let At { time, now, node, life } = at;
        Context { time, now, told, node, life, frames_taken, ledger, trace, doom }
    }

    /// The node's time, to be told to the endpoint.
    pub fn tell(&mut self) -> Instant {
        *self.told = self.clamped();
        self.now
    }

    /// The node's time, where a clock that runs backwards is clamped to the latest time told.
    pub fn clamped(&self) -> u64 {
        (*self.told).max(self.now.as_micros())
    }

    pub fn note(&mut self, label: impl FnOnce() -> String) {
        self.trace.note(self.time, self.node, label);
    }
}

/// A crash in the midst of whatever the node is doing: it strikes at one of the next points that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    None,
    In(u64),
    Struck,
}

impl Doom {
    pub fn strikes(&mut self) -> bool {
        *self = match *self {
            Doom::In(0) => Doom::Struck,
            Doom::In(points) => Doom::In(points - 1),
            other => other,
        };
        *self == Doom::Struck
    }
}
