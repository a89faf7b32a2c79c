//! One line about a frame, for traces.

use core::fmt;

use super::hello::{Hello, HelloError, VersionRefusal};
use super::{CHECK_LEN, Header, KIND_HELLO, KIND_VERSION, Reader, SESSION_BIT, WireMessage, WireMessages, split_check};
use crate::event::Refusal;

/// Says in one line what a frame holds, without knowing its session: numbers are shown as they travel and the check
/// is not looked at.
///
/// ```
/// let frame = [0x88, 0x2A, 0x17, 0x20, 0x05, 0x02, 0x01, 7, 7, 0, 0, 0, 0];
/// assert_eq!(bowline::wire::describe(&frame).to_string(), "#42 ack 23 | REQUEST 0.5 key 0102, 2 B");
/// ```
pub const fn describe(frame: &[u8]) -> Description<'_> {
    Description(frame)
}

/// What [`describe`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Description<'f>(&'f [u8]);

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((packet, _check)) = split_check(self.0) else {
            return write!(f, "{} B, shorter than a check of {CHECK_LEN} B", self.0.len());
        };
        match packet.first() {
            Some(&KIND_HELLO) => hello(f, packet),
            Some(&KIND_VERSION) => match VersionRefusal::read(packet) {
                Some(refusal) => write!(f, "VERSION {} to {:08x}", refusal.version, refusal.challenge),
                None => f.write_str("VERSION, cut short"),
            },
            Some(kind) if kind & SESSION_BIT != 0 => session_packet(f, packet),
            _ => write!(f, "unknown kind, {} B", packet.len()),
        }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Description<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

fn hello(f: &mut fmt::Formatter<'_>, packet: &[u8]) -> fmt::Result {
    match Hello::read(packet) {
        Ok(hello) => {
            write!(f, "HELLO {:08x}.{:08x}", hello.from.incarnation, hello.from.challenge)?;
            if let Some(echo) = hello.echo {
                write!(f, " echo {echo:08x}")?;
            }
            if let Some(session) = hello.session {
                write!(f, " in {session:08x}")?;
            }
            Ok(())
        }
        Err(HelloError::OtherVersion { .. }) => f.write_str("HELLO of another version"),
        Err(HelloError::Malformed) => f.write_str("HELLO, malformed"),
    }
}

fn session_packet(f: &mut fmt::Formatter<'_>, packet: &[u8]) -> fmt::Result {
    let mut reader = Reader::new(packet);
    let Some(header) = Header::read(&mut reader) else {
        return f.write_str("session packet, malformed");
    };
    write!(f, "#{}", header.number)?;
    if let Some(ack) = header.ack {
        write!(f, " ack {}", ack.largest)?;
        let told = ack.reach.min(ack.bitmap.trailing_ones());
        if told < ack.reach {
            write!(f, " but {}", u64::from(told).saturating_add(1))?;
        }
    }
    let mut messages = WireMessages::new(reader);
    while let Some(message) = messages.next() {
        f.write_str(" | ")?;
        match message {
            Ok(message) => describe_message(f, &message)?,
            Err(_) => return f.write_str("malformed"),
        }
    }
    Ok(())
}

fn describe_message(f: &mut fmt::Formatter<'_>, message: &WireMessage<'_>) -> fmt::Result {
    match message {
        WireMessage::Ping => f.write_str("PING"),
        WireMessage::Close => f.write_str("CLOSE"),
        WireMessage::Cancel { slot, sequence } => write!(f, "CANCEL {slot}.{sequence}"),
        WireMessage::Notify(notify) => {
            write!(f, "NOTIFY {:?} key {:04x}, {} B", notify.sequence, notify.key, notify.payload.len())
        }
        WireMessage::Publish(publish) => {
            write!(f, "PUBLISH {} key {:04x}, {} B", publish.sequence, publish.key, publish.payload.len())
        }
        WireMessage::Request { slot, sequence, key, payload, .. } => {
            write!(f, "REQUEST {slot}.{sequence} key {key:04x}, {} B", payload.len())
        }
        WireMessage::Response { slot, sequence, payload } => {
            write!(f, "RESPONSE {slot}.{sequence}, {} B", payload.len())
        }
        WireMessage::Refusal { slot, sequence, code } => {
            write!(f, "REFUSAL {slot}.{sequence}: {}", Refusal::from_code(*code))
        }
    }
}

#[cfg(test)]
mod tests;
