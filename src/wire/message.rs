//! Messages inside a session packet (`PROTOCOL.md §7`).

use super::MAX_SLOTS;
use super::buffer::{Reader, Writer};

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
/// Set in the operation of a one-way message that has a length.
const HAS_LENGTH: u8 = 1;

/// A message as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireMessage<'f> {
    Ping,
    Close,
    Cancel { slot: u8, sequence: u8 },
    Notify(OneWay<'f>),
    Publish(OneWay<'f>),
    Request { slot: u8, sequence: u8, key: u16, time_to_live: Option<u8>, payload: &'f [u8] },
    Response { slot: u8, sequence: u8, payload: &'f [u8] },
    Refusal { slot: u8, sequence: u8, code: u8 },
}

/// The content of a NOTIFY or PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OneWay<'f> {
    pub(crate) sequence: u16,
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
    run: Option<(u16, u16)>,
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
    pub(crate) fn next(&mut self) -> Option<Result<WireMessage<'f>, Malformed>> {
        (!self.reader.is_empty()).then(|| self.read().ok_or(Malformed))
    }

    fn read(&mut self) -> Option<WireMessage<'f>> {
        let kind = self.reader.u8()?;
        let (code, slot) = (kind >> 5, kind & 0x1F);
        let run = self.run.take();
        if code == CONTROL {
            return self.read_control(slot, run);
        }
        let reader = &mut self.reader;
        let sequence = reader.u8()?;
        Some(match code {
            RESPONSE | RESPONSE_LEN => {
                WireMessage::Response { slot, sequence, payload: payload(reader, code == RESPONSE_LEN)? }
            }
            REFUSAL => WireMessage::Refusal { slot, sequence, code: reader.u8()? },
            _ => {
                let key = reader.u16()?;
                let has_time = matches!(code, REQUEST_TTL | REQUEST_TTL_LEN);
                let time_to_live = if has_time { Some(reader.u8()?) } else { None };
                let payload = payload(reader, matches!(code, REQUEST_LEN | REQUEST_TTL_LEN))?;
                WireMessage::Request { slot, sequence, key, time_to_live, payload }
            }
        })
    }

    fn read_control(&mut self, operation: u8, run: Option<(u16, u16)>) -> Option<WireMessage<'f>> {
        let reader = &mut self.reader;
        let has_length = operation & HAS_LENGTH != 0;
        Some(match operation {
            PING => WireMessage::Ping,
            CLOSE => WireMessage::Close,
            CANCEL => {
                let slot = reader.u8().filter(|slot| usize::from(*slot) < MAX_SLOTS)?;
                WireMessage::Cancel { slot, sequence: reader.u8()? }
            }
            _ => {
                let (sequence, key) = match operation & !HAS_LENGTH {
                    NOTIFY | PUBLISH => (reader.u16()?, reader.u16()?),
                    NOTIFY_NEXT => run.map(|(sequence, key)| (sequence.wrapping_add(1), key))?,
                    _ => return None,
                };
                let message = OneWay { sequence, key, payload: payload(reader, has_length)? };
                if operation & !HAS_LENGTH == PUBLISH {
                    WireMessage::Publish(message)
                } else {
                    self.run = Some((sequence, key));
                    WireMessage::Notify(message)
                }
            }
        })
    }
}

/// A payload with its length in front, or up to the end of the packet.
fn payload<'f>(reader: &mut Reader<'f>, has_length: bool) -> Option<&'f [u8]> {
    if has_length {
        let len = reader.length()?;
        reader.bytes(len)
    } else {
        Some(reader.rest())
    }
}

/// Appends messages to a packet. The last one goes without a length; it gets one when another follows.
#[derive(Debug)]
pub(crate) struct MessageWriter<'w, 'b> {
    writer: &'w mut Writer<'b>,
    /// Where the type byte and the payload of the last message stand, if it has a payload and no length yet.
    open: Option<(usize, usize)>,
    /// Sequence and key of the notify directly before.
    run: Option<(u16, u16)>,
    /// Bytes that may still be written.
    room: usize,
}

impl<'w, 'b> MessageWriter<'w, 'b> {
    /// Writes at most `room` bytes behind what `writer` holds.
    pub(crate) fn new(writer: &'w mut Writer<'b>, room: usize) -> Self {
        let room = room.min(writer.room());
        Self { writer, open: None, run: None, room }
    }

    /// Writes the message, or nothing if it does not fit.
    pub(crate) fn push(&mut self, message: &WireMessage<'_>) -> Option<()> {
        let mut head = [0; 5];
        let mut head = Writer::new(&mut head);
        let payload = self.write_head(message, &mut head)?;
        let extra = self.open.map_or(0, |(_, payload)| length_len(self.writer.len().saturating_sub(payload)));
        let needed = extra.checked_add(head.len())?.checked_add(payload.map_or(0, <[u8]>::len))?;
        self.room = self.room.checked_sub(needed)?;
        self.close()?;
        let start = self.writer.len();
        self.writer.bytes(head.written())?;
        if let Some(payload) = payload {
            self.open = Some((start, self.writer.len()));
            self.writer.bytes(payload)?;
        }
        self.run = match message {
            WireMessage::Notify(notify) => Some((notify.sequence, notify.key)),
            _ => None,
        };
        Some(())
    }

    /// Ends the packet at `len` bytes, if that is sooner.
    pub(crate) fn end_at(&mut self, len: usize) {
        self.room = self.room.min(len.saturating_sub(self.writer.len()));
    }

    /// What stands before the payload, for a message without a length; returns the payload if the kind has one.
    fn write_head<'f>(&self, message: &WireMessage<'f>, head: &mut Writer<'_>) -> Option<Option<&'f [u8]>> {
        let payload = match *message {
            WireMessage::Ping => {
                head.u8(PING)?;
                None
            }
            WireMessage::Close => {
                head.u8(CLOSE)?;
                None
            }
            WireMessage::Cancel { slot, sequence } => {
                head.bytes(&[CANCEL, slot, sequence])?;
                None
            }
            WireMessage::Refusal { slot, sequence, code } => {
                head.bytes(&[typed(REFUSAL, slot), sequence, code])?;
                None
            }
            WireMessage::Notify(notify) => {
                if self.run == Some((notify.sequence.wrapping_sub(1), notify.key)) {
                    head.u8(NOTIFY_NEXT)?;
                } else {
                    head.u8(NOTIFY)?;
                    head.u16(notify.sequence)?;
                    head.u16(notify.key)?;
                }
                Some(notify.payload)
            }
            WireMessage::Publish(publish) => {
                head.u8(PUBLISH)?;
                head.u16(publish.sequence)?;
                head.u16(publish.key)?;
                Some(publish.payload)
            }
            WireMessage::Request { slot, sequence, key, time_to_live, payload } => {
                let code = if time_to_live.is_some() { REQUEST_TTL } else { REQUEST };
                head.bytes(&[typed(code, slot), sequence])?;
                head.u16(key)?;
                if let Some(time_to_live) = time_to_live {
                    head.u8(time_to_live)?;
                }
                Some(payload)
            }
            WireMessage::Response { slot, sequence, payload } => {
                head.bytes(&[typed(RESPONSE, slot), sequence])?;
                Some(payload)
            }
        };
        Some(payload)
    }

    /// Gives the last message its length.
    fn close(&mut self) -> Option<()> {
        if let Some((kind, payload)) = self.open.take() {
            let len = u16::try_from(self.writer.len().saturating_sub(payload)).ok()?;
            self.writer.insert_length(payload, len)?;
            self.writer.update(kind, |kind| {
                if kind >> 5 == CONTROL { kind | HAS_LENGTH } else { kind.wrapping_add(1 << 5) }
            })?;
        }
        Some(())
    }
}

const fn typed(code: u8, slot: u8) -> u8 {
    code << 5 | (slot & 0x1F)
}

/// Bytes of the varint for a length.
pub(crate) const fn length_len(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
    }
}

/// The time to live of a request as one byte (`PROTOCOL.md §7.3`).
pub(crate) mod time_to_live {
    use crate::time::Duration;

    /// Rounded down.
    pub(crate) fn encode(time: Duration) -> u8 {
        let millis = time.as_micros_u32() / 1_000;
        // A value of 16 to 31, shifted by `exponent`.
        let exponent = 27_u32.saturating_sub(millis.leading_zeros());
        if exponent >= 15 {
            return u8::MAX;
        }
        let value = millis >> exponent;
        // Values from 16 on carry an implicit leading bit, so that exponent and value add up.
        (exponent << 4).saturating_add(value) as u8
    }

    pub(crate) fn decode(byte: u8) -> Duration {
        let (high, low) = (byte >> 4, u64::from(byte & 15));
        let millis = match high.checked_sub(1) {
            None => low,
            Some(exponent) => (16 | low) << exponent,
        };
        Duration::from_millis(millis)
    }
}

#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
