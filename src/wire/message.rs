//! Messages inside a session packet (`PROTOCOL.md §7`).

use super::MAX_SLOTS;
use super::buffer::{Reader, Writer, length_len};
use super::cobs::IS_WORDWISE;
use super::sequence::LowBits;

const CONTROL: u8 = 0;
const REQUEST: u8 = 1;
const REQUEST_LEN: u8 = 2;
const REQUEST_TTL: u8 = 3;
const REQUEST_TTL_LEN: u8 = 4;
const RESPONSE: u8 = 5;
const RESPONSE_LEN: u8 = 6;
const REFUSAL: u8 = 7;

const PING: u8 = 0;
const CLOSE: u8 = 1;
const CANCEL: u8 = 2;
const NOTIFY: u8 = 4;
const NOTIFY_NEXT: u8 = NOTIFY | 2;
const PUBLISH: u8 = 8;
const LONG_NOTIFY: u8 = 12;
/// Set in the operation of a one-way message that has a length.
const HAS_LENGTH: u8 = 1;

/// A message as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireMessage<'f> {
    Ping,
    Close,
    Cancel { slot: u8, sequence: u8 },
    Notify(OneWay<'f, LowBits>),
    Publish(OneWay<'f>),
    Request { slot: u8, sequence: u8, key: u16, time_to_live: Option<u8>, payload: &'f [u8] },
    Response { slot: u8, sequence: u8, payload: &'f [u8] },
    Refusal { slot: u8, sequence: u8, code: u8 },
}

/// The content of a NOTIFY or PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OneWay<'f, S = u16> {
    pub(crate) sequence: S,
    pub(crate) key: u16,
    pub(crate) payload: &'f [u8],
}

/// A message that breaks the rules, and with it its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes the messages off a packet, one by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireMessages<'f> {
    reader: Reader<'f>,
    /// Sequence and key of the notify directly before.
    run: Option<(LowBits, u16)>,
}

impl<'f> WireMessages<'f> {
    pub(crate) const fn new(reader: Reader<'f>) -> Self {
        Self { reader, run: None }
    }

    /// Whether all were taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    /// The next message, `None` at the end of the packet.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn next(&mut self) -> Option<Result<WireMessage<'f>, Malformed>> {
        if self.reader.is_empty() {
            return None;
        }
        let message = self.read().filter(|_| self.reader.is_sound());
        Some(message.ok_or(Malformed))
    }

    #[cfg_attr(feature = "speed", inline(always))]
    fn read(&mut self) -> Option<WireMessage<'f>> {
        let reader = &mut self.reader;
        let kind = reader.u8();
        let (code, slot) = (kind >> 5, kind & 0x1F);
        let run = self.run.take();
        if code == CONTROL {
            return self.read_control(slot, run);
        }
        let sequence = reader.u8();
        Some(match code {
            RESPONSE | RESPONSE_LEN => {
                WireMessage::Response { slot, sequence, payload: payload(reader, code == RESPONSE_LEN) }
            }
            REFUSAL => WireMessage::Refusal { slot, sequence, code: reader.u8() },
            _ => {
                let key = reader.u16();
                let has_time = matches!(code, REQUEST_TTL | REQUEST_TTL_LEN);
                let time_to_live = has_time.then(|| reader.u8());
                let payload = payload(reader, matches!(code, REQUEST_LEN | REQUEST_TTL_LEN));
                WireMessage::Request { slot, sequence, key, time_to_live, payload }
            }
        })
    }

    #[cfg_attr(feature = "speed", inline(always))]
    fn read_control(&mut self, operation: u8, run: Option<(LowBits, u16)>) -> Option<WireMessage<'f>> {
        let reader = &mut self.reader;
        Some(match operation {
            PING => WireMessage::Ping,
            CLOSE => WireMessage::Close,
            CANCEL => {
                let (slot, sequence) = (reader.u8(), reader.u8());
                if usize::from(slot) >= MAX_SLOTS {
                    return None;
                }
                WireMessage::Cancel { slot, sequence }
            }
            _ => {
                let kind = operation & !HAS_LENGTH;
                let (sequence, key) = match kind {
                    NOTIFY | PUBLISH => (LowBits::short(reader.u16()), reader.u16()),
                    NOTIFY_NEXT => run.map(|(sequence, key)| (sequence.next(), key))?,
                    LONG_NOTIFY if LowBits::CAN_BE_LONG => (LowBits::long(reader.u16(), reader.u8()), reader.u16()),
                    _ => return None,
                };
                let payload = payload(reader, operation & HAS_LENGTH != 0);
                if kind == PUBLISH {
                    WireMessage::Publish(OneWay { sequence: sequence.low(), key, payload })
                } else {
                    self.run = Some((sequence, key));
                    WireMessage::Notify(OneWay { sequence, key, payload })
                }
            }
        })
    }
}

/// A payload with its length in front, or up to the end of the packet.
#[cfg_attr(feature = "speed", inline)]
fn payload<'f>(reader: &mut Reader<'f>, has_length: bool) -> &'f [u8] {
    if has_length {
        let len = reader.length();
        reader.bytes(len)
    } else {
        reader.rest()
    }
}

/// Room for what stands before a payload: 5 bytes, 6 where sequences can be long, and where words are wide what makes it one.
const HEAD: usize = if IS_WORDWISE { 8 } else { 5 + LowBits::CAN_BE_LONG as usize };

/// A message to be sent: what stands before its payload, and the payload if the kind has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutMessage<'f> {
    head: [u8; HEAD],
    head_len: u8,
    payload: Option<&'f [u8]>,
    /// Sequence and key of a notify.
    run: Option<(LowBits, u16)>,
}

impl<'f> OutMessage<'f> {
    const fn new<const N: usize>(bytes: [u8; N], payload: Option<&'f [u8]>) -> Self {
        let mut head = [0; HEAD];
        if let Some((room, _)) = head.split_first_chunk_mut() {
            *room = bytes;
        }
        Self { head, head_len: N as u8, payload, run: None }
    }

    pub(crate) const fn ping() -> Self {
        Self::new([PING], None)
    }

    pub(crate) const fn close() -> Self {
        Self::new([CLOSE], None)
    }

    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) const fn cancel(slot: u8, sequence: u8) -> Self {
        Self::new([CANCEL, slot, sequence], None)
    }

    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) const fn notify(message: OneWay<'f, LowBits>) -> Self {
        let OneWay { sequence, key, payload } = message;
        let ([a, b], [c, d]) = (sequence.low().to_le_bytes(), key.to_le_bytes());
        let new = match sequence.third_byte() {
            None => Self::new([NOTIFY, a, b, c, d], Some(payload)),
            Some(third) => Self::new([LONG_NOTIFY, a, b, third, c, d], Some(payload)),
        };
        Self { run: Some((sequence, key)), ..new }
    }

    pub(crate) const fn publish(OneWay { sequence, key, payload }: OneWay<'f>) -> Self {
        let ([a, b], [c, d]) = (sequence.to_le_bytes(), key.to_le_bytes());
        Self::new([PUBLISH, a, b, c, d], Some(payload))
    }

    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) const fn request(slot: u8, sequence: u8, key: u16, time_to_live: Option<u8>, payload: &'f [u8]) -> Self {
        let [low, high] = key.to_le_bytes();
        match time_to_live {
            None => Self::new([typed(REQUEST, slot), sequence, low, high], Some(payload)),
            Some(time) => Self::new([typed(REQUEST_TTL, slot), sequence, low, high, time], Some(payload)),
        }
    }

    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) const fn response(slot: u8, sequence: u8, payload: &'f [u8]) -> Self {
        Self::new([typed(RESPONSE, slot), sequence], Some(payload))
    }

    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) const fn refusal(slot: u8, sequence: u8, code: u8) -> Self {
        Self::new([typed(REFUSAL, slot), sequence, code], None)
    }
}

/// Appends messages to a packet. The last one goes without a length; it gets one when another follows.
#[derive(Debug)]
pub(crate) struct MessageWriter<'w, 'b> {
    writer: &'w mut Writer<'b>,
    /// Where the type byte and the payload of the last message stand, if it has a payload and no length yet.
    open: Option<(usize, usize)>,
    /// Sequence and key of the notify directly before.
    run: Option<(LowBits, u16)>,
    /// Bytes at which the packet ends.
    end: usize,
}

impl<'w, 'b> MessageWriter<'w, 'b> {
    /// Writes behind what `writer` holds, `end` bytes in all at most.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn new(writer: &'w mut Writer<'b>, end: usize) -> Self {
        let end = end.min(writer.len().wrapping_add(writer.room()));
        Self { writer, open: None, run: None, end }
    }

    /// Writes the message, or nothing if it does not fit; returns whether it did.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn push(&mut self, message: &OutMessage<'_>) -> bool {
        let (mut head, mut head_len) = (message.head, usize::from(message.head_len));
        if let (Some(next), Some((sequence, key))) = (message.run, self.run)
            && next == (sequence.next(), key)
        {
            (head[0], head_len) = (NOTIFY_NEXT, 1);
        }
        let before = self.writer.len();
        let mut len = before.wrapping_add(head_len).wrapping_add(message.payload.map_or(0, <[u8]>::len));
        if let Some((_, payload)) = self.open {
            len = len.wrapping_add(length_len(before.wrapping_sub(payload)));
        }
        if len > self.end {
            return false;
        }
        if let Some((kind, payload)) = self.open.take() {
            self.writer.insert_length(payload);
            // The kind with a length is the next operation, or the next code.
            self.writer.update(kind, |kind| kind.wrapping_add(if kind >> 5 == CONTROL { HAS_LENGTH } else { 1 << 5 }));
        }
        let kind = self.writer.len();
        self.writer.head(&head, head_len);
        if let Some(payload) = message.payload {
            self.open = Some((kind, self.writer.len()));
            self.writer.bytes(payload);
        }
        self.run = message.run;
        true
    }

    /// Bytes that the packet has so far.
    pub(crate) const fn len(&self) -> usize {
        self.writer.len()
    }

    /// Ends the packet at `len` bytes, if that is sooner.
    pub(crate) fn end_at(&mut self, len: usize) {
        self.end = self.end.min(len);
    }
}

const fn typed(code: u8, slot: u8) -> u8 {
    code << 5 | (slot & 0x1F)
}

/// The time to live of a request as one byte (`PROTOCOL.md §7.3`).
pub(crate) mod time_to_live {
    use crate::time::Duration;

    /// Rounded down.
    pub(crate) fn encode(time: Duration) -> u8 {
        let micros = time.as_micros_u32();
        // Bit by bit: on small machines that is cheaper than a division.
        let mut byte = 0;
        let mut bit = 0x80;
        while bit != 0 {
            if micros_of(byte | bit) <= micros {
                byte |= bit;
            }
            bit >>= 1;
        }
        byte
    }

    pub(crate) fn decode(byte: u8) -> Duration {
        Duration::from_micros(micros_of(byte).into())
    }

    const fn micros_of(byte: u8) -> u32 {
        let (exponent, low) = (byte as u32 >> 4, byte as u32 & 15);
        // From 16 on there is a leading bit that is not told.
        let millis = if exponent == 0 { low } else { (16 | low) << (exponent - 1) };
        millis.wrapping_mul(1_000)
    }
}

#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
#[cfg(test)]
pub(super) use tests::out;
#[cfg(test)]
pub(crate) use tests::said;
