//! Frames and the network: whatever was sent may come at any later moment, any number of times, or never.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use bowline::wire::describe;
use smallvec::SmallVec;

use crate::canonical::hash_of;

/// A frame on its way, and what its sender was when it went out.
#[derive(Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub life: u8,
    /// The session that it belongs to; `None` for a HELLO.
    pub session: Option<u32>,
    pub hash: u64,
}

impl Frame {
    pub fn new(bytes: &[u8], life: u8, session: Option<u32>) -> Self {
        Self { bytes: bytes.to_vec(), life, session, hash: hash_of((bytes, life, session)) }
    }

    /// Whether it carries a request with sequence 0. A session begins with 1, so this one comes after the last.
    pub fn begins_sequences_anew(&self) -> bool {
        if calls_in(&self.bytes).next().is_none() {
            return false;
        }
        let text = describe(&self.bytes).to_string();
        (0..=1).any(|slot| text.contains(&format!("REQUEST {slot}.0 ")))
    }
}

impl Hash for Frame {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session {
            Some(session) => write!(f, "[life {}, session {session:08x}] {}", self.life, describe(&self.bytes)),
            None => write!(f, "[life {}] {}", self.life, describe(&self.bytes)),
        }
    }
}

/// The frames towards one side.
///
/// The latest ones may all come. Older ones are gone, but for those that the checker chose to remember while they were
/// young: these may come for ever.
#[derive(Clone, Debug, Default)]
pub struct Network {
    latest: SmallVec<[Rc<Frame>; 3]>,
    remembered: SmallVec<[Rc<Frame>; 1]>,
}

impl Network {
    /// `reach` is how many of the latest frames may still come.
    pub fn send(&mut self, frame: Rc<Frame>, reach: usize) {
        // A frame that is said again is the same one.
        self.latest.retain(|other| other.hash != frame.hash);
        if self.latest.len() >= reach {
            self.latest.remove(0);
        }
        self.latest.push(frame);
    }

    pub fn get(&self, index: usize) -> Option<&Rc<Frame>> {
        self.latest.iter().chain(&self.remembered).nth(index)
    }

    pub fn len(&self) -> usize {
        self.latest.len() + self.remembered.len()
    }

    /// The frames that may be remembered, but are not yet.
    pub fn forgettable(&self) -> impl Iterator<Item = usize> {
        let is_remembered = |frame: &Frame| self.remembered.iter().any(|other| other.hash == frame.hash);
        (0..self.latest.len()).filter(move |index| !is_remembered(&self.latest[*index]))
    }

    pub fn remember(&mut self, index: usize) {
        let frame = Rc::clone(&self.latest[index]);
        let at = self.remembered.partition_point(|other| other.hash < frame.hash);
        self.remembered.insert(at, frame);
    }

    /// Takes the oldest frame off.
    pub fn take_first(&mut self) -> Option<Rc<Frame>> {
        (!self.latest.is_empty()).then(|| self.latest.remove(0))
    }

    /// What was sent since `before`.
    pub fn news<'n>(&'n self, before: &'n Self) -> impl Iterator<Item = &'n Frame> {
        let is_new = |frame: &&Rc<Frame>| !before.latest.iter().any(|other| other.hash == frame.hash);
        self.latest.iter().filter(is_new).map(|frame| &**frame)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Hash for Network {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.latest.hash(state);
        self.remembered.hash(state);
    }
}

/// What a payload says: that it calls, or answers, this call.
pub fn payload(tag: &[u8; 4], id: u8) -> [u8; 5] {
    let [a, b, c, d] = *tag;
    [a, b, c, d, id]
}

/// The call that a payload speaks of.
pub fn tagged(tag: &[u8; 4], payload: &[u8]) -> Option<u8> {
    match payload.strip_prefix(tag) {
        Some([id]) => Some(*id),
        _ => None,
    }
}

/// The calls that a frame carries.
pub fn calls_in(frame: &[u8]) -> impl Iterator<Item = u8> {
    frame.windows(5).filter_map(|bytes| tagged(CALL, bytes))
}

pub const CALL: &[u8; 4] = b"CALL";
pub const DONE: &[u8; 4] = b"DONE";
