//! How large the spaces are in which numbers wrap: 8 bits in a byte, and 8-bit sequences of calls.
//!
//! The model checker (`tests/model/`) is built with `--cfg bowline_model`, which shrinks them here and nowhere else, so
//! that numbers wrap within a few steps. The rule that ties them together stays: what is in the replay window is younger
//! than a whole turn of the sequences (`PROTOCOL.md §5.2`).

use super::sequence::Count;

/// Bits of a packet number that one byte carries (`PROTOCOL.md §5.1`).
pub(crate) const NUMBER_BITS: u32 = if cfg!(bowline_model) { 2 } else { 8 };

/// How many numbers before the largest a receiver takes (`PROTOCOL.md §5.2`).
pub(crate) const REPLAY_WINDOW: u32 = if cfg!(bowline_model) { 2 } else { 64 };

/// Sequences of calls that there are.
const SEQUENCES: u16 = if cfg!(bowline_model) { 4 } else { 256 };

// Two messages of a slot with the same sequence are at least so many packets apart.
const _: () = assert!(REPLAY_WINDOW + 1 < SEQUENCES as u32);

/// Whether a node takes stragglers (`PROTOCOL.md §5.3`). A microcontroller has no use for it: on its lines nothing is
/// overtaken by more than the replay window. The model checker leaves it out.
pub(crate) const TAKES_STRAGGLERS: bool = Count::BITS > 16;

/// How many numbers before the largest they come from.
pub(crate) const STRAGGLERS: u32 = 4_096;

/// Half of the short sequences of notifies: what is farther ahead is taken for old.
const HALF: u16 = 1 << 15;

/// Notifies that are under way at most where their sequences are short, from the first without an ack to the newest
/// (`PROTOCOL.md §7.4`).
pub(crate) const MAX_SHORT_WINDOW: u16 = 30_720;

/// Messages that ask for an ack in a packet at most. A packet that comes late has in front of it what was under way when it
/// was sent, and all that later packets have brought: together no more than half of the sequences.
pub(crate) const MAX_MESSAGES: u16 = (HALF - MAX_SHORT_WINDOW) / REPLAY_WINDOW as u16;

/// The notifies with short sequences from the missing one on that cannot be taken for older ones, in a packet that comes `behind` packets late
/// (`PROTOCOL.md §7.4`): the others may lie behind by all that was under way when it was sent, and all that was sent later.
pub(crate) const fn notify_reach(behind: u32) -> Count {
    let behind = (MAX_MESSAGES as u32).saturating_mul(behind).saturating_add(MAX_SHORT_WINDOW as u32);
    (1_u32 << 16).saturating_sub(behind) as Count
}

/// The sequence of a slot's next call (`PROTOCOL.md §7.2`).
pub(crate) const fn next_sequence(sequence: u8) -> u8 {
    sequence.wrapping_add(1) & (SEQUENCES - 1) as u8
}

/// The sequence of a slot's call before.
pub(crate) const fn previous_sequence(sequence: u8) -> u8 {
    sequence.wrapping_sub(1) & (SEQUENCES - 1) as u8
}

/// The low `len` bytes of a number, as they travel; what is above them is cut off anyway when a byte has 8 bits.
pub(crate) const fn truncate(number: u32, len: usize) -> u32 {
    if NUMBER_BITS == 8 { number } else { number & (half_turn(len) * 2 - 1) }
}

/// Half of the numbers that `len` bytes, fewer than 4 or short ones, tell apart.
pub(crate) const fn half_turn(len: usize) -> u32 {
    1 << (NUMBER_BITS * len as u32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_calls_take_all_values_of_a_byte_in_turn() {
        for sequence in 0..=255_u8 {
            assert_eq!(next_sequence(sequence), sequence.wrapping_add(1));
            assert_eq!(previous_sequence(next_sequence(sequence)), sequence);
        }
    }

    /// A sender's newest notify is at most a window ahead of its oldest one, and each packet brings at most so many.
    #[test]
    fn no_notify_within_reach_can_be_an_old_one() {
        for behind in [65, 500, 1_024] {
            let oldest_behind = u32::from(MAX_SHORT_WINDOW) + behind * u32::from(MAX_MESSAGES);
            assert_eq!(notify_reach(behind), (1 << 16) - oldest_behind, "{behind}");
        }
        assert_eq!(notify_reach(5_000), 0);
    }
}
