//! What the simulator knows of the wire by itself, written from `PROTOCOL.md` and without the crate's code.

use std::collections::HashSet;

/// A frame as far as its kind goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hello,
    Version,
    /// A session packet that carries no message.
    BareAck,
    /// A session packet with messages; the type byte of the first.
    Messages(u8),
    Other,
}

impl Kind {
    /// Whether the frame is an answer that nobody asked the application for.
    pub fn is_reflex(self) -> bool {
        matches!(self, Kind::Hello | Kind::Version | Kind::BareAck)
    }
}

/// `PROTOCOL.md §4` and `§5`; `frame` is packet ‖ check.
pub fn kind(frame: &[u8]) -> Kind {
    let packet = &frame[..frame.len().saturating_sub(4)];
    match packet.first() {
        Some(0x01) => Kind::Hello,
        Some(0x02) => Kind::Version,
        Some(&flags) if flags & 0x80 != 0 => {
            let number_len = 1 + usize::from(flags >> 5 & 3);
            packet.get(1 + number_len + ack_len(frame)).map_or(Kind::BareAck, |code| Kind::Messages(*code))
        }
        _ => Kind::Other,
    }
}

/// Whether it carries the check of a session.
pub fn is_of_session(frame: &[u8]) -> bool {
    frame.first().is_some_and(|flags| flags & 0x80 != 0)
}

/// Bytes of ack number and bitmap.
pub fn ack_len(frame: &[u8]) -> usize {
    let flags = frame.first().copied().filter(|flags| flags & 0x80 != 0).unwrap_or(0);
    [0, 1, 2, 4][usize::from(flags >> 3 & 3)] + [0, 1, 4, 8][usize::from(flags >> 1 & 3)]
}

/// Takes one whole frame of a byte stream apart (`PROTOCOL.md §2`); a delimiter may stand before it.
pub fn decode_cobs(stream: &[u8]) -> Option<Vec<u8>> {
    let (&0, mut rest) = stream.split_last()? else { return None };
    while let [0, after @ ..] = rest {
        rest = after;
    }
    let mut frame = Vec::with_capacity(rest.len());
    while let Some((&code, after)) = rest.split_first() {
        let (piece, behind) = after.split_at_checked(usize::from(code).checked_sub(1)?)?;
        if piece.contains(&0) {
            return None;
        }
        frame.extend_from_slice(piece);
        if code < 0xFF && !behind.is_empty() {
            frame.push(0);
        }
        rest = behind;
    }
    Some(frame)
}

/// Every frame that either node ever sent, so that one that was damaged can be told from one that is merely old.
#[derive(Default)]
pub struct Known(HashSet<Vec<u8>>);

impl Known {
    pub fn insert(&mut self, frame: &[u8]) {
        if !self.0.contains(frame) {
            self.0.insert(frame.to_vec());
        }
    }

    pub fn contains(&self, frame: &[u8]) -> bool {
        self.0.contains(frame)
    }
}
