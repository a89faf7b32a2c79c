//! Packets without a session: HELLO and VERSION (`PROTOCOL.md §4`).

use super::buffer::{Reader, Writer};
use super::check::End;
use super::{KIND_HELLO, KIND_VERSION, MAX_SLOTS, MIN_FRAME};

/// The version that this crate speaks.
pub(crate) const VERSION: u8 = 1;

const ECHO: u8 = 1;
const SESSION: u8 = 2;

/// What a node offers its peer for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct Offer {
    /// Largest frame received, in bytes.
    pub(crate) frame: u16,
    /// Slots for requests of the peer.
    pub(crate) slots: u8,
    /// Notifies taken from the first missing one on, as `window_told` reads it.
    pub(crate) notify_window: u16,
    /// Time to live of requests that carry none, as the byte of `PROTOCOL.md §7.3`.
    pub(crate) time_to_live: u8,
    pub(crate) schema_digest: u32,
}

/// A HELLO of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Who says it, with its outstanding challenge or that of its session.
    pub(crate) from: End,
    /// A challenge of the receiver.
    pub(crate) echo: Option<u32>,
    /// Id of the session that the sender holds.
    pub(crate) session: Option<u32>,
    pub(crate) offer: Offer,
}

/// Why a HELLO or VERSION is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloError {
    Malformed,
    /// Another version, from a node with this challenge.
    OtherVersion {
        challenge: u32,
    },
}

impl Hello {
    pub(crate) const LEN: usize = 29;

    /// Reads a packet of kind HELLO.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, HelloError> {
        let mut reader = Reader::new(packet);
        let _kind = reader.u8();
        let version = reader.u8();
        let from = End { incarnation: reader.u32(), challenge: reader.u32() };
        if version != VERSION && reader.is_sound() {
            return Err(HelloError::OtherVersion { challenge: from.challenge });
        }
        let flags = reader.u8();
        let (echo, session) = (reader.u32(), reader.u32());
        let offer = Offer {
            frame: reader.u16(),
            slots: reader.u8(),
            notify_window: reader.u16(),
            time_to_live: reader.u8(),
            schema_digest: reader.u32(),
        };
        let is_sane = usize::from(offer.frame) >= MIN_FRAME && usize::from(offer.slots) <= MAX_SLOTS;
        if !is_sane || !reader.is_sound() {
            return Err(HelloError::Malformed);
        }
        Ok(Self {
            from,
            echo: (flags & ECHO != 0).then_some(echo),
            session: (flags & SESSION != 0).then_some(session),
            offer,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(KIND_HELLO);
        writer.u8(VERSION);
        writer.u32(self.from.incarnation);
        writer.u32(self.from.challenge);
        writer.u8(if self.echo.is_some() { ECHO } else { 0 } | if self.session.is_some() { SESSION } else { 0 });
        writer.u32(self.echo.unwrap_or(0));
        writer.u32(self.session.unwrap_or(0));
        writer.u16(self.offer.frame);
        writer.u8(self.offer.slots);
        writer.u16(self.offer.notify_window);
        writer.u8(self.offer.time_to_live);
        writer.u32(self.offer.schema_digest);
    }
}

/// A VERSION: the answer to a HELLO of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionRefusal {
    /// The version that its sender speaks.
    pub(crate) version: u8,
    /// The challenge of the HELLO that it answers.
    pub(crate) challenge: u32,
}

impl VersionRefusal {
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(packet);
        let _kind = reader.u8();
        let refusal = Self { version: reader.u8(), challenge: reader.u32() };
        reader.is_sound().then_some(refusal)
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(KIND_VERSION);
        writer.u8(self.version);
        writer.u32(self.challenge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello = Hello {
        from: End { incarnation: 0x0102_0304, challenge: 0x0506_0708 },
        echo: Some(9),
        session: None,
        offer: Offer { frame: 64, slots: 2, notify_window: 1, time_to_live: 200, schema_digest: 3 },
    };

    fn written(hello: &Hello) -> [u8; Hello::LEN] {
        let mut buf = [0; Hello::LEN];
        hello.write(&mut Writer::new(&mut buf));
        buf
    }

    #[test]
    fn hellos_round_trip() {
        assert_eq!(Hello::read(&written(&HELLO)), Ok(HELLO));
    }

    #[test]
    fn a_hello_of_another_version_is_told_from_garbage() {
        let mut packet = written(&HELLO);
        packet[1] = 2;
        assert_eq!(Hello::read(&packet[..10]), Err(HelloError::OtherVersion { challenge: 0x0506_0708 }));
        assert_eq!(Hello::read(&packet[..9]), Err(HelloError::Malformed));
    }

    #[test]
    fn limits_that_no_node_may_offer_are_refused() {
        for offer in [Offer { frame: 47, ..HELLO.offer }, Offer { slots: 33, ..HELLO.offer }] {
            assert_eq!(Hello::read(&written(&Hello { offer, ..HELLO })), Err(HelloError::Malformed));
        }
    }
}
