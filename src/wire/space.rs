//! How large the spaces are in which numbers wrap: 8 bits in a byte, and 8-bit sequences of calls.
//!
//! The model checker (`tests/model/`) is built with `--cfg bowline_model`, which shrinks them here and nowhere else, so
//! that numbers wrap within a few steps. The rule that ties them together stays: what is in the replay window is younger
//! than a whole turn of the sequences (`PROTOCOL.md §5.2`).

/// Bits of a packet number that one byte carries (`PROTOCOL.md §5.1`).
pub(crate) const NUMBER_BITS: u32 = if cfg!(bowline_model) { 2 } else { 8 };

/// How many numbers before the largest a receiver takes (`PROTOCOL.md §5.2`).
pub(crate) const REPLAY_WINDOW: u32 = if cfg!(bowline_model) { 2 } else { 64 };

/// Sequences of calls that there are.
const SEQUENCES: u16 = if cfg!(bowline_model) { 4 } else { 256 };

// Two messages of a slot with the same sequence are at least so many packets apart.
const _: () = assert!(REPLAY_WINDOW + 1 < SEQUENCES as u32);

/// Half of the sequences of notifies: what is farther ahead is taken for old.
const HALF: u16 = 1 << 15;

/// Notifies that are under way at most, from the first without an ack to the newest (`PROTOCOL.md §7.4`).
pub(crate) const MAX_NOTIFY_WINDOW: u16 = 30_720;

/// Messages that ask for an ack in a packet at most. A packet that comes late has in front of it what was under way when it
/// was sent, and all that later packets have brought: together no more than half of the sequences.
pub(crate) const MAX_MESSAGES: u16 = (HALF - MAX_NOTIFY_WINDOW) / REPLAY_WINDOW as u16;

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
}
