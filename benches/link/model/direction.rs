//! One direction of the link: a port, a line of limited speed, and what goes wrong on it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cell::{Cell, Fault};
use super::{Nanos, SECOND};

/// The port takes a frame while at most so many bytes wait in it.
const PORT: u64 = 512;
/// Of all frames that arrive, so many arrive twice.
const DUPLICATED: f64 = 0.01;
/// So many arrive late, and others overtake them.
const REORDERED: f64 = 0.02;
/// Mean length of a burst of losses, in frames.
const BURST: f64 = 4.0;

pub struct Direction {
    rate: u64,
    latency: Nanos,
    /// How late a reordered frame is at most.
    lateness: Nanos,
    loss: f64,
    fault: Fault,
    /// Bursts: whether frames are being lost.
    is_bad: bool,
    outage: (Nanos, Nanos),
    rng: fastrand::Rng,
    busy_until: Nanos,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    arrivals_ever: u64,
    /// Bytes that went over the line.
    pub bytes: u64,
    pub frames: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Nanos,
    order: u64,
    frame: Vec<u8>,
}

impl Direction {
    /// `is_return` is the direction of acks and responses.
    pub fn new(cell: &Cell, is_return: bool, outage: (Nanos, Nanos), seed: u64) -> Self {
        let rate = match cell.fault {
            Fault::Asymmetric if is_return => cell.rate / 10,
            _ => cell.rate,
        };
        let latency = cell.latency();
        Self {
            rate,
            latency,
            lateness: (latency / 2).max(time_of(3 * 256, rate)),
            loss: f64::from(cell.loss_pct) / 100.0,
            fault: cell.fault,
            is_bad: false,
            outage,
            rng: fastrand::Rng::with_seed(seed),
            busy_until: 0,
            arrivals: BinaryHeap::new(),
            arrivals_ever: 0,
            bytes: 0,
            frames: 0,
        }
    }

    /// When the port takes a frame; not after `now` if it does.
    pub fn ready_at(&self) -> Nanos {
        self.busy_until.saturating_sub(time_of(PORT, self.rate))
    }

    /// The port takes a frame.
    pub fn send(&mut self, now: Nanos, frame: &[u8]) {
        assert!(self.ready_at() <= now, "the port has no room");
        let len = frame.len() as u64;
        self.busy_until = self.busy_until.max(now) + time_of(len, self.rate);
        self.bytes += len;
        self.frames += 1;
        let Some(frame) = self.carry(frame) else { return };
        let at = self.busy_until + self.latency_at(self.busy_until);
        if self.fault == Fault::Clean {
            return self.arrive(at, frame);
        }
        if self.rng.f64() < DUPLICATED {
            let late = at + self.rng.u64(0..=self.lateness);
            self.arrive(late, frame.clone());
        }
        let late = if self.rng.f64() < REORDERED { self.rng.u64(0..=self.lateness) } else { 0 };
        self.arrive(at + late, frame);
    }

    pub fn next_arrival(&self) -> Option<Nanos> {
        self.arrivals.peek().map(|Reverse(arrival)| arrival.at)
    }

    pub fn receive(&mut self) -> Option<Vec<u8>> {
        self.arrivals.pop().map(|Reverse(arrival)| arrival.frame)
    }

    fn arrive(&mut self, at: Nanos, frame: Vec<u8>) {
        self.arrivals_ever += 1;
        self.arrivals.push(Reverse(Arrival { at, order: self.arrivals_ever, frame }));
    }

    /// What becomes of the frame on the line; `None` if nothing of it arrives.
    fn carry(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let is_out = self.busy_until >= self.outage.0 && self.busy_until < self.outage.1;
        if is_out || self.is_lost() {
            return None;
        }
        let mut frame = frame.to_vec();
        if let Some(rate) = self.fault.bit_errors() {
            let is_altered = self.flip_bits(&mut frame, rate);
            if is_altered && !self.fault.is_garble_received() {
                return None;
            }
        }
        Some(frame)
    }

    fn is_lost(&mut self) -> bool {
        if self.fault != Fault::Bursts {
            return self.rng.f64() < self.loss;
        }
        // Gilbert and Elliott's chain, one step a frame; its share of bad frames is `loss`.
        let to_bad = self.loss / (1.0 - self.loss) / BURST;
        let threshold = if self.is_bad { 1.0 - 1.0 / BURST } else { to_bad };
        self.is_bad = self.rng.f64() < threshold;
        self.is_bad
    }

    /// Flips each bit with probability `rate`; returns whether any was.
    fn flip_bits(&mut self, frame: &mut [u8], rate: f64) -> bool {
        let bits = frame.len() * 8;
        let mut at = 0;
        let mut is_altered = false;
        loop {
            // The distance to the next error is distributed geometrically.
            let gap = (1.0 - self.rng.f64()).ln() / (1.0 - rate).ln();
            if gap >= (bits - at) as f64 {
                return is_altered;
            }
            at += gap as usize;
            frame[at / 8] ^= 1 << (at % 8);
            is_altered = true;
            at += 1;
            if at >= bits {
                return is_altered;
            }
        }
    }

    fn latency_at(&self, now: Nanos) -> Nanos {
        match self.fault {
            Fault::Latency => self.latency * [1, 2, 4, 2][(now / (2 * SECOND) % 4) as usize],
            _ => self.latency,
        }
    }
}

/// How long `bytes` take at `rate` bytes a second.
pub fn time_of(bytes: u64, rate: u64) -> Nanos {
    bytes * SECOND / rate
}
