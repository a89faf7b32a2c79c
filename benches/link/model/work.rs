//! Sends or calls as the load says, and takes note of what arrives.

use super::cell::{Cell, Fault, Load};
use super::load::{Amount, Messages, index_of};
use super::measure::quantile;
use super::node::Node;
use super::{MILLI, Nanos, SECOND};

/// Progress of a run.
pub struct Work {
    load: Load,
    amount: Amount,
    messages: Messages,
    /// Calls: when each was made.
    called_at: Vec<Nanos>,
    /// Which messages have arrived.
    arrived: Vec<bool>,
    pub arrived_count: u64,
    is_ordered: bool,
    in_flight: usize,
    latencies: Vec<u64>,
    /// Payload bytes that arrived after the warm-up.
    counted_bytes: u64,
    /// Payload bytes in each slice of time.
    slices: Vec<u64>,
    outage_end: Option<Nanos>,
}

/// The length of a slice, for the time that recovery takes.
const SLICE: Nanos = 10 * MILLI;

impl Work {
    pub fn new(cell: &Cell, amount: Amount, is_ordered: bool, seed: u64) -> Self {
        Self {
            load: cell.load,
            amount,
            messages: Messages::new(cell.load, seed),
            called_at: Vec::new(),
            arrived: Vec::new(),
            arrived_count: 0,
            is_ordered,
            in_flight: 0,
            latencies: Vec::new(),
            counted_bytes: 0,
            slices: Vec::new(),
            outage_end: (cell.fault == Fault::Outage).then(|| outage(amount).1),
        }
    }

    pub fn is_done(&self, now: Nanos) -> bool {
        match self.load {
            Load::Bulk => now >= self.amount.time,
            _ => self.latencies.len() as u64 >= self.amount.calls,
        }
    }

    /// Gives `node` what it takes.
    pub fn offer(&mut self, now: Nanos, node: &mut dyn Node) {
        while self.load == Load::Bulk || self.in_flight < self.load.calls() {
            if !node.send(now, self.messages.payload()) {
                return;
            }
            self.messages.advance();
            self.arrived.push(false);
            if self.load != Load::Bulk {
                self.called_at.push(now);
                self.in_flight += 1;
            }
        }
    }

    /// A message, or a response, has arrived.
    pub fn arrived(&mut self, now: Nanos, payload: &[u8]) {
        let index = index_of(payload);
        assert!(!self.is_ordered || self.load != Load::Bulk || index == self.arrived_count, "{index} is out of order");
        let arrived = &mut self.arrived[index as usize];
        assert!(!std::mem::replace(arrived, true), "message {index} has come twice");
        self.arrived_count += 1;
        if self.load != Load::Bulk {
            self.latencies.push(now - self.called_at[index as usize]);
            self.in_flight -= 1;
            return;
        }
        if now >= self.amount.warm_up() {
            self.counted_bytes += payload.len() as u64;
        }
        let slice = (now / SLICE) as usize;
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += payload.len() as u64;
    }

    /// Payload bytes a second after the warm-up.
    pub fn goodput(&self) -> f64 {
        self.counted_bytes as f64 * SECOND as f64 / (self.amount.time - self.amount.warm_up()) as f64
    }

    /// The latency that `part` of all calls do not exceed. Calls that never ended count as infinitely late.
    pub fn latency(&mut self, part: f64, unit: Nanos) -> f64 {
        self.latencies.sort_unstable();
        if (self.latencies.len() as u64) < self.amount.calls {
            return f64::INFINITY;
        }
        quantile(&self.latencies, part) as f64 / unit as f64
    }

    /// How much time was lost after the end of the outage: what arrived from then on would have taken so much less at the
    /// usual goodput.
    pub fn recovery(&self) -> Option<Nanos> {
        let slice = |time: Nanos| (time / SLICE) as usize;
        let (from, to) = (slice(self.amount.warm_up()), slice(outage(self.amount).0));
        let (end, last) = (slice(self.outage_end?), slice(self.amount.time));
        let before: u64 = self.slices.get(from..to)?.iter().sum();
        let after: u64 = self.slices.get(end..last.min(self.slices.len()))?.iter().sum();
        let needed = after as f64 / before as f64 * (to - from) as f64;
        Some((((last - end) as f64 - needed).max(0.0) * SLICE as f64) as Nanos)
    }
}

/// When nothing arrives, if the fault is an outage.
pub fn outage(amount: Amount) -> (Nanos, Nanos) {
    (amount.time / 2 - 5 * SECOND, amount.time / 2 + 5 * SECOND)
}
