//! Sequences of notifies: counted in full, told by their low bits (`PROTOCOL.md §7.4`).

#![allow(clippy::unnecessary_cast, clippy::identity_op, clippy::bad_bit_mask, reason = "counts have 16 bits or 32")]

use core::fmt;

use super::space::{MAX_MESSAGES, MAX_SHORT_WINDOW, STRAGGLERS};

/// Counts notifies, or transmissions of messages. A microcontroller has no memory for more than 16 bits can count; the model
/// checker leaves longer ones out.
#[cfg(all(feature = "std", not(bowline_model)))]
pub(crate) type Count = u32;
/// Counts notifies, or transmissions of messages.
#[cfg(not(all(feature = "std", not(bowline_model))))]
pub(crate) type Count = u16;

/// The sequence of a notify; wraps.
pub(crate) type Sequence = Count;

/// A count as applications are told it.
pub(crate) const fn widen(count: Count) -> u32 {
    count as u32
}

/// Whether more notifies may be under way than sequences of 16 bits tell apart.
const HAS_LONG: bool = Sequence::BITS > 16;

/// Notifies that are under way at most, from the first without an ack to the newest, and transmissions that are remembered.
pub(crate) const MAX_COUNT: Count = if HAS_LONG { (1 as Count) << (Count::BITS - 10) } else { 32_767 };

/// Notifies that are under way at most.
const MAX_WINDOW: Count = if HAS_LONG { MAX_COUNT } else { MAX_SHORT_WINDOW as Count };

// However late a packet is, its notifies of 24 bits lie no farther behind than half of all such sequences.
const _: () =
    assert!(!HAS_LONG || MAX_WINDOW as u64 + (STRAGGLERS as u64 + 1) * MAX_MESSAGES as u64 <= 1 << (LONG_BITS - 1));

/// Bits of a long sequence.
const LONG_BITS: u32 = 24;

/// What a node says of its window if it is longer than short sequences can use: this, and how many times `UNIT` it is.
const IN_UNITS: u16 = 1 << 15;

const UNIT: Count = 256;

/// The window that a HELLO tells of in the bytes of `told`.
pub(crate) const fn window_told(told: u16) -> Count {
    let window = if !HAS_LONG || told < IN_UNITS {
        if told < MAX_SHORT_WINDOW { told as Count } else { MAX_SHORT_WINDOW as Count }
    } else {
        ((told ^ IN_UNITS) as Count).wrapping_mul(UNIT)
    };
    if window < MAX_WINDOW { window } else { MAX_WINDOW }
}

/// How a HELLO tells of a window.
pub(crate) const fn tell_window(window: usize) -> u16 {
    if !HAS_LONG || window < IN_UNITS as usize {
        if window < MAX_SHORT_WINDOW as usize { window as u16 } else { MAX_SHORT_WINDOW }
    } else {
        let window = if window < MAX_WINDOW as usize { window as Count } else { MAX_WINDOW };
        IN_UNITS | (window / UNIT) as u16
    }
}

/// The low bits of a sequence: 24 if it `is_long`, else 16.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LowBits(Sequence);

/// Set above those of a long sequence.
const LONG: Sequence = if HAS_LONG { 1 << (Sequence::BITS - 8) } else { 0 };

impl LowBits {
    pub(crate) const CAN_BE_LONG: bool = HAS_LONG;

    pub(crate) const fn new(sequence: Sequence, is_long: bool) -> Self {
        if is_long { Self(sequence & LONG.wrapping_sub(1) | LONG) } else { Self(sequence & 0xFFFF) }
    }

    /// Those that are told of a sequence while so many notifies are `under_way`, itself among them.
    pub(crate) const fn of(sequence: Sequence, under_way: Count) -> Self {
        Self::new(sequence, under_way > MAX_SHORT_WINDOW as Count)
    }

    pub(crate) const fn is_long(self) -> bool {
        self.0 & LONG != 0
    }

    /// 16 bits, told in two bytes.
    pub(crate) const fn short(low: u16) -> Self {
        Self::new(low as Sequence, false)
    }

    /// 24 bits, told in three bytes.
    pub(crate) const fn long(low: u16, high: u8) -> Self {
        Self::new((high as Sequence).wrapping_shl(16) | low as Sequence, true)
    }

    /// The low 16 bits.
    pub(crate) const fn low(self) -> u16 {
        self.0 as u16
    }

    /// What is above them, if it is told.
    pub(crate) const fn third_byte(self) -> Option<u8> {
        if self.is_long() { Some(self.0.wrapping_shr(16) as u8) } else { None }
    }

    /// Those of the next sequence.
    pub(crate) const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1), self.is_long())
    }

    /// How far their sequence is ahead of `missing`, `None` if it lies behind: it is less than half of all away.
    pub(crate) const fn ahead_of(self, missing: Sequence) -> Option<Count> {
        let unused = Self::unused(self.is_long());
        let ahead = self.0.wrapping_sub(missing) << unused;
        if ahead.cast_signed() < 0 { None } else { Some(ahead >> unused) }
    }

    /// Bits of a `Sequence` that are not told.
    const fn unused(is_long: bool) -> u32 {
        Sequence::BITS - if is_long { LONG_BITS } else { 16 }
    }
}

impl fmt::Display for LowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0 & !LONG).fmt(f)
    }
}

impl fmt::Debug for LowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}{}", if self.is_long() { " of 24 bits" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_bits_tell_how_far_ahead_their_sequence_is() {
        for missing in [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x0012_3456, 0x00FF_FFFF, 0x0100_0000, u32::MAX] {
            for (is_long, half) in [(false, 1_u32 << 15), (true, 1 << 23)] {
                for ahead in [0, 1, 255, half - 1] {
                    let low_bits = LowBits::new(missing.wrapping_add(ahead), is_long);
                    assert_eq!(low_bits.ahead_of(missing), Some(ahead), "{missing:#x} {is_long}");
                }
                for behind in [1, 255, half - 1, half] {
                    let low_bits = LowBits::new(missing.wrapping_sub(behind), is_long);
                    assert_eq!(low_bits.ahead_of(missing), None, "{missing:#x} {is_long}");
                }
                let next = LowBits::new(missing.wrapping_add(1), is_long);
                assert_eq!(LowBits::new(missing, is_long).next(), next, "what is told wraps");
            }
        }
    }

    #[test]
    fn sequences_are_long_only_where_short_ones_do_not_do() {
        assert!(!LowBits::of(0x0001_0002, 30_720).is_long() && LowBits::of(0x0001_0002, 30_721).is_long());
        assert_eq!(LowBits::of(0x0001_0002, 30_720).third_byte(), None);
        let long = LowBits::of(0xFF12_3456, 30_721);
        assert_eq!((long.low(), long.third_byte()), (0x3456, Some(0x12)));
        assert_eq!(LowBits::long(0x3456, 0x12), long);
    }

    #[test]
    fn a_window_is_told_in_two_bytes_and_never_as_more_than_it_is() {
        for (window, told, read) in [
            (0, 0, 0),
            (1, 1, 1),
            (30_720, 30_720, 30_720),
            (30_721, 30_720, 30_720),
            (32_767, 30_720, 30_720),
            (32_768, 0x8080, 32_768),
            (33_023, 0x8080, 32_768),
            (33_024, 0x8081, 33_024),
            (4_194_303, 0xBFFF, 4_194_048),
            (4_194_304, 0xC000, 4_194_304),
            (usize::MAX, 0xC000, 4_194_304),
        ] {
            assert_eq!((tell_window(window), window_told(told)), (told, read), "{window}");
        }
        assert_eq!((window_told(32_767), window_told(u16::MAX)), (30_720, 4_194_304));
    }
}
