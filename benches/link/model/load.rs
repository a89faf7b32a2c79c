//! What is sent, and how much of it.

use super::cell::{Cell, Fault, Load};
use super::{Nanos, SECOND};

/// How much is done in a run.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    pub calls: u64,
    /// Bulk: the whole time, of which the first fifth does not count.
    pub time: Nanos,
}

impl Amount {
    pub fn new(cell: &Cell, is_quick: bool) -> Self {
        if cell.fault == Fault::Outage {
            return Self { calls: 0, time: if cell.rate < 1_000_000 { 40 } else { 20 } * SECOND };
        }
        let seconds = match cell.rate {
            0..50_000 => 300,
            50_000..1_000_000 => 60,
            // A round trip is 0.2 s at most.
            _ => 5,
        };
        let (calls, time) = (20_000, seconds * SECOND);
        if is_quick { Self { calls: calls / 5, time: (time / 4).max(3 * SECOND) } } else { Self { calls, time } }
    }

    pub const fn warm_up(&self) -> Nanos {
        self.time / 5
    }
}

/// The messages of a run. Each carries its index and can be told from a wrong one.
pub struct Messages {
    load: Load,
    rng: fastrand::Rng,
    pub next: u64,
    payload: Vec<u8>,
}

impl Messages {
    pub fn new(load: Load, seed: u64) -> Self {
        let mut messages = Self { load, rng: fastrand::Rng::with_seed(seed), next: 0, payload: Vec::new() };
        messages.fill();
        messages
    }

    /// The one to send next.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// It was taken.
    pub fn advance(&mut self) {
        self.next += 1;
        self.fill();
    }

    fn fill(&mut self) {
        let len = if self.load == Load::Bulk { self.rng.usize(64..=200) } else { 8 };
        self.payload.clear();
        self.payload.extend_from_slice(&self.next.to_le_bytes());
        self.payload.resize(len, self.next as u8 | 1);
    }
}

/// The index of a message that has arrived, whole and unaltered.
pub fn index_of(payload: &[u8]) -> u64 {
    let (index, rest) = payload.split_first_chunk().expect("a message begins with its index");
    let index = u64::from_le_bytes(*index);
    assert!(rest.iter().all(|byte| *byte == index as u8 | 1), "message {index} was altered");
    index
}
