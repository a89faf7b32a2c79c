//! What goes into a node, and what comes out of it.

use crate::frame::Frame;
use crate::landmark::{Landmark, Landmarks};
use crate::ledger::{Broken, Fact};
use crate::scope::Scope;

/// What can happen to a node.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Input<'f> {
    /// Makes this call, if there is room.
    Call(u8),
    /// Gives up the call that is the n-th of those that wait.
    Cancel(usize),
    Deliver(&'f Frame),
    /// Time passes, and the timers that are due fire, however late.
    Wait(u64),
    /// It crashes and boots.
    Crash,
    /// The handler of the n-th run ends: it took effect, and answers.
    Finish(usize),
    /// The handler of the n-th run ends without effect.
    GiveUp(usize),
    /// The port takes a frame, or refuses the one that it was given.
    Transmit {
        is_taken: bool,
    },
    Close,
    Open,
}

/// What a node does beyond itself.
pub struct Outside<'o> {
    pub scope: &'o Scope,
    /// Frames that go out.
    pub sent: Vec<Frame>,
    /// What has really happened, in its order.
    pub facts: Vec<Fact>,
    pub landmarks: Landmarks,
}

impl<'o> Outside<'o> {
    pub fn new(scope: &'o Scope) -> Self {
        Self { scope, sent: Vec::new(), facts: Vec::new(), landmarks: Landmarks::default() }
    }

    pub fn note(&mut self, fact: Fact) {
        match fact {
            Fact::Succeeded { .. } => self.landmarks.insert(Landmark::Succeeded),
            Fact::Failed { error, .. } => self.landmarks.extend(Landmark::of_failure(error)),
            _ => {}
        }
        self.facts.push(fact);
    }

    pub fn breaks(&mut self, broken: Broken) {
        self.note(Fact::Breaks(broken));
    }
}
