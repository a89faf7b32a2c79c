//! How often a node may say HELLO because of what it hears (`PROTOCOL.md §8.5`).

use crate::time::Stamp;

/// HELLOs that may be drawn at once after a pause: a whole handshake with a lost frame.
const BURST: u8 = 3;

/// A token bucket: each answer takes a token, one comes back each interval.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Limiter {
    tokens: u8,
    refilled_at: Stamp,
}

impl Limiter {
    pub(crate) const fn new(now: Stamp) -> Self {
        Self { tokens: BURST, refilled_at: now }
    }

    /// Adds the tokens that have come back since the last time, one every `interval` microseconds.
    pub(crate) fn refill(&mut self, now: Stamp, interval: u32) {
        let mut unspent = self.refilled_at.elapsed_micros(now);
        if unspent >= interval {
            self.refilled_at = now;
        }
        while unspent >= interval && self.tokens < BURST {
            unspent = unspent.saturating_sub(interval);
            self.tokens = self.tokens.saturating_add(1);
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

    /// Invariants: no more tokens than a burst.
    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.tokens <= BURST);
    }

    /// Since when the next token is awaited.
    pub(crate) const fn refilled_at(&self) -> Stamp {
        self.refilled_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Duration, Instant};

    #[test]
    fn a_storm_draws_a_burst_and_then_one_answer_an_interval() {
        let interval = 10_000;
        let mut limiter = Limiter::new(Instant::default().stamp());
        let mut answers = 0;
        for milli in 0..1_000 {
            limiter.refill((Instant::default() + Duration::from_millis(milli)).stamp(), interval);
            if limiter.has_token() {
                limiter.take();
                answers += 1;
            }
        }
        assert_eq!(answers, 3 + 99);
    }

    #[test]
    fn tokens_do_not_pile_up_and_one_that_was_not_used_is_given_back() {
        let mut limiter = Limiter::new(Instant::default().stamp());
        limiter.refill((Instant::default() + Duration::from_secs(1)).stamp(), 10_000);
        let spend = |limiter: &mut Limiter| {
            let had = limiter.has_token();
            limiter.take();
            had
        };
        assert_eq!([0; 4].map(|_| spend(&mut limiter)), [true, true, true, false]);
        limiter.give_back();
        assert_eq!([0; 2].map(|_| spend(&mut limiter)), [true, false]);
    }
}
