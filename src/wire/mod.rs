//! Bytes to values and back, without state (`PROTOCOL.md §§2–7`).

mod buffer;
mod check;
mod cobs;
mod deframe;
mod describe;
mod header;
mod hello;
mod message;
mod number;
mod sequence;
mod space;
#[cfg(test)]
pub(crate) mod vectors;

pub use check::plain_check;
pub use cobs::encode_frame;
pub use deframe::{Deframer, DeframerStats};
pub use describe::{Description, describe};

pub(crate) use buffer::{Reader, Writer, copy};
pub(crate) use check::{CHECK_LEN, End, Seed, session_id, split_check};
pub(crate) use cobs::encode_in_place;
pub(crate) use header::{AckField, BITMAP_REACH, Header};
pub(crate) use hello::{Hello, HelloError, Offer, VERSION, VersionRefusal};
#[cfg(test)]
pub(crate) use message::said;
pub(crate) use message::{MessageWriter, OneWay, OutMessage, WireMessage, WireMessages, time_to_live};
pub(crate) use number::{PacketNumber, distance, number_len, restore, restore_ack};
pub(crate) use sequence::{Count, LowBits, MAX_COUNT, Sequence, tell_window, widen, window_told};
pub(crate) use space::{
    MAX_MESSAGES, REPLAY_WINDOW, STRAGGLERS, TAKES_STRAGGLERS, next_sequence, notify_reach, previous_sequence,
};

/// First byte of a HELLO (`PROTOCOL.md §4`).
pub(crate) const KIND_HELLO: u8 = 0x01;
/// First byte of a VERSION.
pub(crate) const KIND_VERSION: u8 = 0x02;
/// The bit that every session packet has in its first byte.
pub(crate) const SESSION_BIT: u8 = 0x80;

/// Smallest frame size that a node may offer, in bytes.
pub(crate) const MIN_FRAME: usize = 48;
/// Most call slots in one direction: a slot index has 5 bits.
pub(crate) const MAX_SLOTS: usize = 32;

/// The longest frame on the wire, in bytes, that payloads of up to `payload` bytes need: COBS, delimiter, check and
/// headers included (`PROTOCOL.md §7.1`). The size of the buffers that a driver lends, and of its [`Deframer`].
///
/// At least 48, which the handshake needs, and at most 65 535.
pub const fn frame_len(payload: usize) -> usize {
    let packet = payload.saturating_add(MESSAGE_HEADROOM);
    let frame = packet.saturating_add(packet.div_ceil(254)).saturating_add(1);
    if frame < MIN_FRAME {
        MIN_FRAME
    } else if frame > u16::MAX as usize {
        u16::MAX as usize
    } else {
        frame
    }
}

/// The longest packet with its check, in bytes, that fits a frame of `frame` bytes.
pub(crate) const fn packet_len(frame: usize) -> usize {
    let stuffed = frame.saturating_sub(1);
    stuffed.saturating_sub(div_ceil_255(stuffed))
}

/// ⌈n / 255⌉ for n < 2¹⁶, without the division that small machines do not have.
const fn div_ceil_255(n: usize) -> usize {
    (((n as u32 + 255) * 257) >> 16) as usize
}

/// The largest payload, in bytes, that fits a frame of `frame` bytes (`PROTOCOL.md §7.1`).
pub(crate) const fn payload_len(frame: usize) -> usize {
    packet_len(frame).saturating_sub(MESSAGE_HEADROOM)
}

/// What surrounds the payload of a request in its longest form: flags, number, type, sequence, key, time to live,
/// check.
const MESSAGE_HEADROOM: usize = 1 + 4 + 1 + 1 + 2 + 1 + CHECK_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_division_by_255_without_one() {
        for n in 0..=0xFFFF {
            assert_eq!(div_ceil_255(n), n.div_ceil(255), "{n}");
        }
    }

    #[test]
    fn frame_and_payload_sizes_are_inverse() {
        assert_eq!(frame_len(48), 64);
        assert_eq!(payload_len(48), 32);
        for payload in 32..2_000 {
            let frame = frame_len(payload);
            assert!(payload_len(frame) >= payload, "{payload}");
            assert!(payload_len(frame - 1) < payload || payload_len(frame) == payload, "{payload}");
            assert!(frame_len(payload_len(frame)) <= frame, "{payload}");
        }
    }

    #[test]
    fn a_frame_is_never_too_small_for_the_handshake_nor_larger_than_a_node_may_offer() {
        assert_eq!((frame_len(0), frame_len(32), frame_len(33)), (MIN_FRAME, MIN_FRAME, MIN_FRAME + 1));
        let last = payload_len(65_535);
        assert_eq!((frame_len(last), frame_len(last + 1), frame_len(usize::MAX)), (65_535, 65_535, 65_535));
        assert!(frame_len(last - 1) < 65_535);
    }
}
