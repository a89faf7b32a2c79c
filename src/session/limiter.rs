//! How often a node may say HELLO because of what it hears (`PROTOCOL.md §8.5`).

use crate::time::{Instant, Stamp};

/// HELLOs that may be drawn at once after a pause: a whole handshake with a lost frame.
const BURST: u8 = 3;

/// A token bucket: each answer takes a token, one comes back each interval.
#[derive(Debug)]
pub(crate) struct Limiter {
    tokens: u8,
    refilled_at: Stamp,
}

impl Limiter {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { tokens: BURST, refilled_at: now.stamp() }
    }

    /// Adds the tokens that have come back since the last time, one every `interval` microseconds.
    pub(crate) fn refill(&mut self, now: Instant, interval: u32) {
        let elapsed = self.refilled_at.elapsed_micros(now);
        let due = elapsed / interval.max(1);
        if due > 0 {
            self.tokens = self.tokens.saturating_add(due.min(u32::from(BURST)) as u8).min(BURST);
            self.refilled_at = now.stamp();
        }
    }

    /// Takes a token for an answer.
    pub(crate) fn take(&mut self) {
        self.tokens = self.tokens.saturating_sub(1);
    }

    /// Gives a token back: the port did not take the answer.
    pub(crate) fn give_back(&mut self) {
        self.tokens = self.tokens.saturating_add(1).min(BURST);
    }

    pub(crate) const fn has_token(&self) -> bool {
        self.tokens > 0
    }

    /// When the next token comes.
    pub(crate) fn next_at(&self, now: Instant, interval: u32) -> Instant {
        self.refilled_at.deadline(now, interval.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_storm_draws_a_burst_and_then_one_answer_an_interval() {
        let interval = 10_000;
        let mut limiter = Limiter::new(Instant::default());
        let mut answers = 0;
        for milli in 0..1_000 {
            limiter.refill(Instant::default() + Duration::from_millis(milli), interval);
            if limiter.has_token() {
                limiter.take();
                answers += 1;
            }
        }
        assert_eq!(answers, 3 + 99);
    }
}
