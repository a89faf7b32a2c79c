//! The check of a frame, bound to session and direction (`PROTOCOL.md §3`).

#[cfg(any(feature = "crc-table-16k", feature = "std"))]
use super::cobs::IS_WORDWISE;
use super::number::PacketNumber;

/// Bytes of a check.
pub(crate) const CHECK_LEN: usize = 4;

/// CRC-32C over the bytes, from the register's state before them to that behind them.
#[cfg_attr(feature = "speed", inline)]
fn update(register: u32, bytes: &[u8]) -> u32 {
    #[cfg(not(any(feature = "crc-table", feature = "crc-table-16k", feature = "std")))]
    return by_nibbles(register, bytes);
    #[cfg(any(feature = "crc-table", feature = "crc-table-16k", feature = "std"))]
    return by_table(register, bytes);
}

/// The same over the four bytes of a little-endian number.
#[cfg_attr(feature = "speed", inline)]
fn update_u32(register: u32, number: u32) -> u32 {
    #[cfg(not(any(feature = "crc-table-16k", feature = "std")))]
    return update(register, &number.to_le_bytes());
    #[cfg(any(feature = "crc-table-16k", feature = "std"))]
    return four_zeros(register ^ number);
}

/// The same over the eight bytes of a little-endian number.
#[cfg_attr(feature = "speed", inline)]
fn update_u64(register: u32, number: u64) -> u32 {
    #[cfg(not(any(feature = "crc-table-16k", feature = "std")))]
    return update(register, &number.to_le_bytes());
    #[cfg(any(feature = "crc-table-16k", feature = "std"))]
    {
        let [a, b, c, d, e, f, g, h] = (u64::from(register) ^ number).to_le_bytes();
        after(7, a) ^ after(6, b) ^ after(5, c) ^ after(4, d) ^ after(3, e) ^ after(2, f) ^ after(1, g) ^ after(0, h)
    }
}

/// Half a byte at a time, with 64 bytes of memory: five times as fast as bit by bit.
#[cfg(any(test, not(any(feature = "crc-table", feature = "crc-table-16k", feature = "std"))))]
#[expect(clippy::indexing_slicing, reason = "an index of four bits is always in the table of sixteen")]
#[inline(never)]
fn by_nibbles(mut register: u32, bytes: &[u8]) -> u32 {
    /// What four zero bits behind each value of the lowest four bits make of the register (polynomial 0x1EDC6F41,
    /// reflected).
    const NIBBLES: [u32; 16] = {
        let mut table = [0; 16];
        let mut value = 0;
        while value < 16 {
            let mut register = value;
            let mut bit = 0;
            while bit < 4 {
                register = if register & 1 != 0 { register >> 1 ^ 0x82F6_3B78 } else { register >> 1 };
                bit += 1;
            }
            table[value as usize] = register;
            value += 1;
        }
        table
    };
    for byte in bytes {
        register ^= u32::from(*byte);
        register = (register >> 4) ^ NIBBLES[(register & 15) as usize];
        register = (register >> 4) ^ NIBBLES[(register & 15) as usize];
    }
    register
}

/// By a table of 1 or 16 KiB, or on an operating system by the processor's instruction, if it has one.
#[cfg(any(feature = "crc-table", feature = "crc-table-16k", feature = "std"))]
#[cfg_attr(feature = "speed", inline)]
fn by_table(register: u32, bytes: &[u8]) -> u32 {
    // To ask whether there is an instruction takes as long as a short packet.
    #[cfg(feature = "std")]
    if bytes.len() >= 64 {
        // The library inverts what goes in and what comes out.
        return !crc32c::crc32c_append(!register, bytes);
    }
    #[cfg(any(feature = "crc-table-16k", feature = "std"))]
    return by_words(register, bytes);
    #[cfg(not(any(feature = "crc-table-16k", feature = "std")))]
    by_bytes(register, bytes)
}

/// A word of eight or four bytes at a time. The library does sixteen bytes at a time, or one: packets are shorter than
/// that, and longer than this.
#[cfg(any(feature = "crc-table-16k", feature = "std"))]
#[cfg_attr(feature = "speed", inline)]
fn by_words(register: u32, bytes: &[u8]) -> u32 {
    if !IS_WORDWISE {
        let (words, rest) = bytes.as_chunks::<4>();
        let register = words.iter().fold(register, |register, word| update_u32(register, u32::from_le_bytes(*word)));
        return by_bytes(register, rest);
    }
    let (words, rest) = bytes.as_chunks::<8>();
    let register = words.iter().fold(register, |register, word| update_u64(register, u64::from_le_bytes(*word)));
    if rest.is_empty() {
        return register;
    }
    // The rest in one step, because each step waits for the one before: behind as many zeros as fill a word, which
    // make nothing of an empty register.
    let bits = 8 * rest.len() as u32;
    let word = match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last) >> (u64::BITS - bits),
        None => rest.iter().rfold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let register = u64::from(register);
    (register >> bits) as u32 ^ update_u64(0, (word ^ register) << (u64::BITS - bits))
}

/// A byte at a time.
#[cfg(any(feature = "crc-table", feature = "crc-table-16k", feature = "std"))]
fn by_bytes(register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, byte| (register >> 8) ^ after(0, register as u8 ^ byte))
}

/// What four zero bytes make of the register.
#[cfg(any(feature = "crc-table-16k", feature = "std"))]
#[cfg_attr(feature = "speed", inline)]
fn four_zeros(register: u32) -> u32 {
    let [a, b, c, d] = register.to_le_bytes();
    after(3, a) ^ after(2, b) ^ after(1, c) ^ after(0, d)
}

/// What a byte, with `zeros` zero bytes behind it, makes of an empty register.
#[cfg(any(feature = "crc-table", feature = "crc-table-16k", feature = "std"))]
#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always in the table of 256, and as many zeros are asked for as there are tables"
)]
#[cfg_attr(feature = "speed", inline)]
fn after(zeros: usize, byte: u8) -> u32 {
    #[cfg(not(any(feature = "crc-table-16k", feature = "std")))]
    type Table = crc::Table<1>;
    #[cfg(any(feature = "crc-table-16k", feature = "std"))]
    type Table = crc::Table<16>;

    static CRC: crc::Crc<u32, Table> = crc::Crc::<u32, Table>::new(&crc::CRC_32_ISCSI);
    CRC.table()[zeros][usize::from(byte)]
}

/// One end of a session, as it enters seeds and the id: incarnation and challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct End {
    pub(crate) incarnation: u32,
    pub(crate) challenge: u32,
}

/// What the checks of one direction of a session start from: the register of the CRC behind both ends in the order
/// sender, receiver, and a packet number's high half of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(sender: End, receiver: End) -> Self {
        Self(update_u32(ends(sender, receiver), 0))
    }

    /// The check of `packet`, which carries `number` and perhaps the ack of which `acked` is the low half.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn check(self, number: PacketNumber, acked: Option<u32>, packet: &[u8]) -> u32 {
        let mut register = self.0;
        if number.high != 0 {
            // The register is linear in what is fed to it.
            register ^= update_u32(0, number.high);
        }
        register = match acked {
            None => update_u32(register, number.low),
            Some(acked) => update_u64(register, u64::from(acked) << 32 | u64::from(number.low)),
        };
        !update(register, packet)
    }
}

fn ends(one: End, other: End) -> u32 {
    let words = [one.incarnation, one.challenge, other.incarnation, other.challenge];
    words.iter().fold(u32::MAX, |register, word| update_u32(register, *word))
}

/// The check of a packet without a session: CRC-32C (`PROTOCOL.md §3`).
pub fn plain_check(packet: &[u8]) -> u32 {
    !update(u32::MAX, packet)
}

/// The id of the session between two ends: the same whichever comes first (`PROTOCOL.md §8.1`).
pub(crate) fn session_id(one: End, other: End) -> u32 {
    !ends(one.min(other), one.max(other))
}

/// Parts a frame into packet and check. `None` if it is too short.
#[cfg_attr(feature = "speed", inline)]
pub(crate) fn split_check(frame: &[u8]) -> Option<(&[u8], u32)> {
    let (packet, check) = frame.split_last_chunk::<CHECK_LEN>()?;
    (!packet.is_empty()).then(|| (packet, u32::from_le_bytes(*check)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc_32c_in_one_go_or_in_parts() {
        assert_eq!(plain_check(b"123456789"), 0xE306_9283);
        assert_eq!(!update(update(u32::MAX, b"12345"), b"6789"), 0xE306_9283);
    }

    #[cfg(any(feature = "crc-table", feature = "crc-table-16k", feature = "std"))]
    #[test]
    fn all_ways_lead_to_the_same_check() {
        for len in 0..200_u32 {
            let bytes: std::vec::Vec<u8> = (0..len).map(|at| (at * 37 + len) as u8).collect();
            let register = len.wrapping_mul(0x9E37_79B9);
            let expected = by_nibbles(register, &bytes);
            assert_eq!(by_table(register, &bytes), expected, "{len} bytes");
            assert_eq!(by_bytes(register, &bytes), expected, "{len} bytes");
        }
    }

    #[test]
    fn directions_differ_and_ids_agree() {
        let a = End { incarnation: 1, challenge: 2 };
        let b = End { incarnation: 1, challenge: 3 };
        assert_ne!(Seed::new(a, b), Seed::new(b, a));
        assert_eq!(session_id(a, b), session_id(b, a));
    }
}
