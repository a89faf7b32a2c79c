//! The check of a frame, bound to session and direction (`PROTOCOL.md §3`).

use crc::{CRC_32_ISCSI, Crc, Digest, Implementation};

use super::number::PacketNumber;

/// Bytes of a check.
pub(crate) const CHECK_LEN: usize = 4;

#[cfg(not(any(feature = "crc-table", feature = "crc-table-16k")))]
type Table = crc::NoTable;
#[cfg(all(feature = "crc-table", not(feature = "crc-table-16k")))]
type Table = crc::Table<1>;
#[cfg(feature = "crc-table-16k")]
type Table = crc::Table<16>;

const _: fn() = || {
    fn is_implementation<T: Implementation>() {}
    is_implementation::<Table>();
};

static CRC: Crc<u32, Table> = Crc::<u32, Table>::new(&CRC_32_ISCSI);

/// One end of a session, as it enters seeds and the id: incarnation and challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) incarnation: u32,
    pub(crate) challenge: u32,
}

impl End {
    fn feed(self, digest: &mut Digest<'_, u32, Table>) {
        digest.update(&self.incarnation.to_le_bytes());
        digest.update(&self.challenge.to_le_bytes());
    }
}

/// What the checks of one direction of a session start from: the CRC over both ends in the order sender, receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(sender: End, receiver: End) -> Self {
        let mut digest = CRC.digest();
        sender.feed(&mut digest);
        receiver.feed(&mut digest);
        Self(digest.finalize())
    }

    /// The check of `packet`, which carries `number` and perhaps the ack `acked`.
    pub(crate) fn check(self, number: PacketNumber, acked: Option<PacketNumber>, packet: &[u8]) -> u32 {
        let mut digest = resume(self.0);
        let number = number.get();
        digest.update(&((number >> 32) as u32).to_le_bytes());
        digest.update(&(number as u32).to_le_bytes());
        if let Some(acked) = acked {
            digest.update(&(acked.get() as u32).to_le_bytes());
        }
        digest.update(packet);
        digest.finalize()
    }
}

/// Goes on with a CRC that was finished before.
fn resume(finished: u32) -> Digest<'static, u32, Table> {
    // The library reflects an initial value itself, so it is undone here.
    CRC.digest_with_initial((!finished).reverse_bits())
}

/// The check of a packet without a session.
pub(crate) fn plain_check(packet: &[u8]) -> u32 {
    CRC.checksum(packet)
}

/// The id of the session between two ends: the same whichever comes first (`PROTOCOL.md §8.1`).
pub(crate) fn session_id(one: End, other: End) -> u32 {
    Seed::new(one.min(other), one.max(other)).0
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
    fn a_resumed_check_equals_one_in_a_single_go() {
        assert_eq!(plain_check(b"123456789"), 0xE306_9283);
        let mut digest = resume(plain_check(b"12345"));
        digest.update(b"6789");
        assert_eq!(digest.finalize(), 0xE306_9283);
    }

    #[test]
    fn directions_differ_and_ids_agree() {
        let a = End { incarnation: 1, challenge: 2 };
        let b = End { incarnation: 1, challenge: 3 };
        assert_ne!(Seed::new(a, b), Seed::new(b, a));
        assert_eq!(session_id(a, b), session_id(b, a));
    }
}
