//! Packet numbers: full ones never wrap, truncated ones travel (`PROTOCOL.md §5.1`).

/// The number of a packet in one direction of a session: 0, 1, 2 … Each is used at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PacketNumber(u64);

impl PacketNumber {
    pub(crate) const ZERO: Self = Self(0);

    #[cfg(test)]
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How far this number lies ahead of `earlier`, `None` if it does not.
    pub(crate) const fn distance_from(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The number `count` before this one, if there is one.
    pub(crate) const fn back(self, count: u64) -> Option<Self> {
        match self.0.checked_sub(count) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

/// Bytes that `number` needs so that a peer that has acknowledged everything below `base` restores it.
pub(crate) const fn number_len(number: PacketNumber, base: PacketNumber) -> usize {
    match number.0.saturating_sub(base.0) {
        0..0x80 => 1,
        0x80..0x8000 => 2,
        0x8000..0x80_0000 => 3,
        _ => 4,
    }
}

/// The number with the low `len` bytes `truncated` that is nearest to `expected` (RFC 9000 A.3).
pub(crate) fn restore(truncated: u64, len: usize, expected: PacketNumber) -> PacketNumber {
    let window = window(len);
    let half = window >> 1;
    let candidate = (expected.0 & !window.saturating_sub(1)) | truncated;
    let restored = if candidate.saturating_add(half) <= expected.0 {
        candidate.saturating_add(window)
    } else if candidate > expected.0.saturating_add(half) {
        // Below zero there are no numbers.
        candidate.checked_sub(window).unwrap_or(candidate)
    } else {
        candidate
    };
    PacketNumber(restored)
}

/// The number below `next` with the low `len` bytes `truncated` that is nearest to `base`, the largest acknowledged
/// one plus one; `None` if there is none (`PROTOCOL.md §6`).
///
/// The peer gives an ack number the bytes that its packet had, so the rule of [`number_len`] makes this unambiguous
/// as well.
pub(crate) fn restore_ack(truncated: u64, len: usize, base: PacketNumber, next: PacketNumber) -> Option<PacketNumber> {
    Some(restore(truncated, len, base)).filter(|number| *number < next)
}

/// How many numbers `len` bytes tell apart.
fn window(len: usize) -> u64 {
    1 << (8 * len.min(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn number(value: u64) -> PacketNumber {
        PacketNumber(value)
    }

    #[test]
    fn restores_the_example_of_rfc_9000() {
        assert_eq!(restore(0x9B32, 2, number(0xA82F_30EA + 1)), number(0xA82F_9B32));
    }

    #[test]
    fn every_number_is_restored_from_the_bytes_that_the_rule_gives_it() {
        for base in [0, 1, 100, 255, 256, 70_000, 1 << 32, (1 << 33) - 5] {
            for ahead in [0, 1, 127, 128, 129, 32_767, 32_768, 8_388_607, 8_388_608, 100_000_000] {
                let sent = number(base + ahead);
                let len = number_len(sent, number(base));
                let truncated = sent.get() & (window(len) - 1);
                // The peer has received something between all that it acknowledged and all before this one.
                for largest in [base, base + ahead / 2, base + ahead] {
                    assert_eq!(restore(truncated, len, number(largest)), sent, "{base} {ahead} {largest}");
                }
            }
        }
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_refused() {
        assert_eq!(restore_ack(0, 1, number(0), number(0)), None);
        assert_eq!(restore_ack(5, 1, number(3), number(5)), None);
        assert_eq!(restore_ack(4, 1, number(3), number(5)), Some(number(4)));
        assert_eq!(restore_ack(0x104, 4, number(0x100), number(0x104)), None);
    }

    #[test]
    fn an_ack_is_restored_however_many_packets_were_sent_since() {
        assert_eq!(restore_ack(0x7F, 1, number(0x10), number(100_000)), Some(number(0x7F)));
        assert_eq!(restore_ack(0xFF, 1, number(0x105), number(100_000)), Some(number(0xFF)));
    }
}
