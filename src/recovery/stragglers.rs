//! Packets that come when the replay window has gone by (`PROTOCOL.md §5.3`). Without `std` there is no memory for them, and
//! none of this is in the program.

use crate::wire::{AckField, STRAGGLERS, TAKES_STRAGGLERS, distance};

/// Bits of a word.
const WORD: u32 = 64;

const WORDS: usize = (STRAGGLERS / WORD) as usize;

/// Which packets have come, as far back as stragglers are taken, and the one that waits for its ack.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Stragglers {
    /// A ring: bit (number modulo its length). Numbers below zero have come.
    came: [u64; WORDS * TAKES_STRAGGLERS as usize],
    /// Number and bytes of the straggler to acknowledge.
    owed: [Option<(u32, u8)>; TAKES_STRAGGLERS as usize],
}

impl Stragglers {
    pub(crate) const fn new() -> Self {
        Self { came: [u64::MAX; _], owed: [None; _] }
    }

    /// Whether the packet `number`, with `next` the largest received plus one, is remembered, and has not come.
    pub(crate) fn misses(&self, number: u32, next: u32) -> bool {
        let is_remembered = (1..=STRAGGLERS.cast_signed()).contains(&distance(number, next));
        is_remembered && self.came.get(word(number)).is_some_and(|word| word & bit(number) == 0)
    }

    /// Packet `number` has come.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn note(&mut self, number: u32) {
        if let Some(word) = self.came.get_mut(word(number)) {
            *word |= bit(number);
        }
    }

    /// The `count` packets from `next`, the largest received plus one, on have not come.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn skip(&mut self, next: u32, count: u32) {
        if !TAKES_STRAGGLERS {
            return;
        }
        for ahead in 0..count.min(STRAGGLERS) {
            let skipped = next.wrapping_add(ahead);
            if let Some(word) = self.came.get_mut(word(skipped)) {
                *word &= !bit(skipped);
            }
        }
    }

    /// Packet `number`, which carried `len` bytes of it, has come late: it is acknowledged, unless the next one is sooner.
    pub(crate) fn owe(&mut self, number: u32, len: usize) {
        self.note(number);
        if let [owed] = &mut self.owed[..] {
            *owed = Some((number, len as u8));
        }
    }

    /// Whether one waits for its ack.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn is_ack_due(&self) -> bool {
        matches!(self.owed[..], [Some(_)])
    }

    /// The ack of the one that waits, which is to be sent now.
    pub(crate) fn take_ack(&mut self) -> Option<AckField> {
        let (number, len) = self.owed.first_mut()?.take()?;
        // The peer may have acks of many later ones: one byte would not do to name it.
        let len = if len <= 2 { 2 } else { 4 };
        Some(AckField { largest: number, len, bitmap: 0, reach: 8, fresh: false })
    }
}

fn word(number: u32) -> usize {
    (number / WORD) as usize % WORDS
}

fn bit(number: u32) -> u64 {
    1_u64.wrapping_shl(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_is_missing_until_it_comes_or_is_forgotten() {
        let mut stragglers = Stragglers::new();
        let mut came = std::vec![];
        let mut next = u32::MAX - 10_000; // The low halves wrap.
        for step in [1, 3, 70, 1, 900, 4_095, 4_096, 4_097, 9_000, 2, 64] {
            let number = next.wrapping_add(step - 1);
            stragglers.skip(next, step - 1);
            stragglers.note(number);
            next = number.wrapping_add(1);
            came.push(number);
            let late = next.wrapping_sub(40);
            if !came.contains(&late) {
                stragglers.note(late);
                came.push(late);
            }
            if step > 4_096 {
                for behind in 0..4_200 {
                    let number = next.wrapping_sub(behind);
                    let is_missing = (1..=4_096).contains(&behind) && !came.contains(&number);
                    assert_eq!(stragglers.misses(number, next), is_missing, "{behind} behind, after {step}");
                }
            }
        }
    }

    #[test]
    fn numbers_below_zero_have_come() {
        let mut stragglers = Stragglers::new();
        stragglers.skip(0, 500);
        stragglers.note(500);
        assert!(!stragglers.misses(0_u32.wrapping_sub(1), 501) && stragglers.misses(0, 501));
    }

    #[test]
    fn one_that_came_in_three_bytes_is_named_in_four() {
        for (bytes, len) in [(1, 2), (2, 2), (3, 4), (4, 4)] {
            let mut stragglers = Stragglers::new();
            stragglers.owe(9, bytes);
            assert!(stragglers.is_ack_due());
            assert_eq!(stragglers.take_ack().map(|ack| (ack.largest, ack.len)), Some((9, len)));
            assert!(!stragglers.is_ack_due() && stragglers.take_ack().is_none());
        }
    }
}
