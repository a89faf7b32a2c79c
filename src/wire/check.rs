//! The check of a frame, bound to session and direction (`PROTOCOL.md §3`).

use super::number::PacketNumber;

/// Bytes of a check.
pub(crate) const CHECK_LEN: usize = 4;

/// CRC-32C over the bytes, from the register's state before them to that behind them.
#[cfg(not(any(feature = "crc-table", feature = "crc-table-16k")))]
fn update(mut register: u32, bytes: &[u8]) -> u32 {
    /// What four zero bits behind each value of the lowest four bits make of the register (polynomial 0x1EDC6F41,
    /// reflected). Half a byte at a time takes 64 bytes of memory and is five times as fast as bit by bit.
    #[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
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
        for _ in 0..2 {
            // The index has four bits, so it is always there.
            register = register >> 4 ^ NIBBLES.get((register & 15) as usize).copied().unwrap_or_default();
        }
    }
    register
}

/// CRC-32C over the bytes, from the register's state before them to that behind them.
#[cfg(any(feature = "crc-table", feature = "crc-table-16k"))]
fn update(register: u32, bytes: &[u8]) -> u32 {
    #[cfg(not(feature = "crc-table-16k"))]
    type Table = crc::Table<1>;
    #[cfg(feature = "crc-table-16k")]
    type Table = crc::Table<16>;

    static CRC: crc::Crc<u32, Table> = crc::Crc::<u32, Table>::new(&crc::CRC_32_ISCSI);
    // The library reflects an initial value, and inverts the final one, so both are undone here.
    let mut digest = CRC.digest_with_initial(register.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

/// One end of a session, as it enters seeds and the id: incarnation and challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct End {
    pub(crate) incarnation: u32,
    pub(crate) challenge: u32,
}

/// What the checks of one direction of a session start from: the register of the CRC behind both ends in the order
/// sender, receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(sender: End, receiver: End) -> Self {
        let words = [sender.incarnation, sender.challenge, receiver.incarnation, receiver.challenge];
        Self(words.iter().fold(u32::MAX, |register, word| update(register, &word.to_le_bytes())))
    }

    /// The check of `packet`, which carries `number` and perhaps the ack of which `acked` is the low half.
    pub(crate) fn check(self, number: PacketNumber, acked: Option<u32>, packet: &[u8]) -> u32 {
        let mut register = update(self.0, &number.high.to_le_bytes());
        register = update(register, &number.low.to_le_bytes());
        if let Some(acked) = acked {
            register = update(register, &acked.to_le_bytes());
        }
        !update(register, packet)
    }
}

/// The check of a packet without a session.
pub(crate) fn plain_check(packet: &[u8]) -> u32 {
    !update(u32::MAX, packet)
}

/// The id of the session between two ends: the same whichever comes first (`PROTOCOL.md §8.1`).
pub(crate) fn session_id(one: End, other: End) -> u32 {
    !Seed::new(one.min(other), one.max(other)).0
}

/// Parts a frame into packet and check. `None` if it is too short.
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

    #[test]
    fn directions_differ_and_ids_agree() {
        let a = End { incarnation: 1, challenge: 2 };
        let b = End { incarnation: 1, challenge: 3 };
        assert_ne!(Seed::new(a, b), Seed::new(b, a));
        assert_eq!(session_id(a, b), session_id(b, a));
    }
}
