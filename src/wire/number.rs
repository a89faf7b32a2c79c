//! Packet numbers: full ones never wrap, truncated ones travel (`PROTOCOL.md §5.1`).

use super::space::{NUMBER_BITS, half_turn};

/// The number of a packet in one direction of a session: 0, 1, 2 … Each is used at most once.
///
/// Those that are compared with each other are never 2³¹ apart, so the low halves suffice for that: see
/// [`distance`]. The high half is needed for the check alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct PacketNumber {
    pub(crate) high: u32,
    pub(crate) low: u32,
}

impl PacketNumber {
    pub(crate) const ZERO: Self = Self { high: 0, low: 0 };

    #[cfg(test)]
    pub(crate) const fn new(number: u64) -> Self {
        Self { high: (number >> 32) as u32, low: number as u32 }
    }

    pub(crate) const fn next(self) -> Self {
        let (low, carry) = self.low.overflowing_add(1);
        Self { high: self.high.wrapping_add(carry as u32), low }
    }
}

/// How far the number with the low half `to` lies ahead of the one with the low half `from`; negative if it lies behind.
#[cfg_attr(feature = "speed", inline)]
pub(crate) const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// Bytes that the number with the low half `number` needs so that a peer that has acknowledged everything below `base`
/// restores it.
#[cfg_attr(feature = "speed", inline)]
pub(crate) const fn number_len(number: u32, base: u32) -> usize {
    const HALF_OF_1: u32 = half_turn(1);
    const HALF_OF_2: u32 = half_turn(2);
    const HALF_OF_3: u32 = half_turn(3);
    match number.wrapping_sub(base) {
        0..HALF_OF_1 => 1,
        HALF_OF_1..HALF_OF_2 => 2,
        HALF_OF_2..HALF_OF_3 => 3,
        _ => 4,
    }
}

/// The number with the low `len` bytes `truncated` that is nearest to `expected` (RFC 9000 A.3).
#[cfg_attr(feature = "speed", inline)]
pub(crate) const fn restore(truncated: u32, len: usize, expected: PacketNumber) -> PacketNumber {
    let ahead = one_less_ahead(truncated, len, expected.low);
    let low = expected.low.wrapping_add(ahead.cast_unsigned()).wrapping_add(1);
    let is_behind = ahead < -1;
    let mut restored = PacketNumber { high: expected.high, low };
    if is_behind && low > expected.low {
        if expected.high == 0 {
            // Below zero there are no numbers: the next one with these bytes.
            restored.low = low.wrapping_add(half_turn(len).wrapping_mul(2));
        } else {
            restored.high = expected.high.wrapping_sub(1);
        }
    } else if !is_behind && low < expected.low {
        restored.high = expected.high.wrapping_add(1);
    }
    restored
}

/// The low half of the number below `next` with the low `len` bytes `truncated` that is nearest to the one with the low
/// half `base`, the largest acknowledged one plus one; `None` if there is none (`PROTOCOL.md §6`).
///
/// The peer gives an ack number the bytes that its packet had, so the rule of [`number_len`] makes this unambiguous
/// as well.
#[cfg_attr(feature = "speed", inline)]
pub(crate) const fn restore_ack(truncated: u32, len: usize, base: u32, next: PacketNumber) -> Option<u32> {
    let low = base.wrapping_add(one_less_ahead(truncated, len, base).cast_unsigned()).wrapping_add(1);
    let was_sent = if next.high == 0 { low < next.low } else { distance(low, next.low) > 0 };
    if was_sent { Some(low) } else { None }
}

/// How far the number with the low `len` bytes `truncated` that is nearest to `expected`, the higher one if two are as
/// near, lies ahead of it, less one: so that half a window ahead is not taken for half a window behind.
const fn one_less_ahead(truncated: u32, len: usize, expected: u32) -> i32 {
    let unused = 32_u32.wrapping_sub(NUMBER_BITS * len as u32);
    let ahead = truncated.wrapping_sub(expected).wrapping_sub(1);
    ahead.wrapping_shl(unused).cast_signed().wrapping_shr(unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn number(value: u64) -> PacketNumber {
        PacketNumber::new(value)
    }

    fn cut(number: u64, len: usize) -> u32 {
        (number & ((1 << (8 * len)) - 1)) as u32
    }

    #[test]
    fn restores_the_example_of_rfc_9000() {
        assert_eq!(restore(0x9B32, 2, number(0xA82F_30EA + 1)), number(0xA82F_9B32));
    }

    #[test]
    fn every_number_is_restored_from_the_bytes_that_the_rule_gives_it() {
        for base in [0, 1, 100, 255, 256, 70_000, (1 << 32) - 1, 1 << 32, (1 << 33) - 5] {
            for ahead in [0, 1, 127, 128, 129, 32_767, 32_768, 8_388_607, 8_388_608, 100_000_000] {
                let sent = base + ahead;
                let len = number_len(sent as u32, base as u32);
                // The peer has received something between all that it acknowledged and all before this one.
                for largest in [base, base + ahead / 2, base + ahead] {
                    assert_eq!(restore(cut(sent, len), len, number(largest)), number(sent), "{base} {ahead} {largest}");
                }
            }
        }
    }

    #[test]
    fn an_older_number_is_restored_across_the_wrap_of_the_low_half() {
        assert_eq!(restore(0xFE, 1, number(1 << 32)), number((1 << 32) - 2));
        assert_eq!(restore(0xFE, 1, number(0)), number(0xFE));
        assert_eq!(restore(0xFFFF_FFFE, 4, number(1)), number(0xFFFF_FFFE));
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_refused() {
        assert_eq!(restore_ack(0, 1, 0, number(0)), None);
        assert_eq!(restore_ack(5, 1, 3, number(5)), None);
        assert_eq!(restore_ack(4, 1, 3, number(5)), Some(4));
        assert_eq!(restore_ack(0xFF, 1, 0, number(5)), None);
        assert_eq!(restore_ack(0x104, 4, 0x100, number(0x104)), None);
        assert_eq!(restore_ack(0xFF, 1, 0, number((1 << 32) + 1)), Some(u32::MAX));
    }

    #[test]
    fn an_ack_is_restored_however_many_packets_were_sent_since() {
        assert_eq!(restore_ack(0x7F, 1, 0x10, number(100_000)), Some(0x7F));
        assert_eq!(restore_ack(0xFF, 1, 0x105, number(100_000)), Some(0xFF));
    }
}
