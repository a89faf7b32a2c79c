//! The bytes of a session packet under a right check: read as PROTOCOL.md §§5–7 say, taken as a whole or not at all.
//!
//! Input: the packet, whose first bit is taken as set.

use std::fmt::Write as _;

use bowline::{Config, Incarnation, Refusal};

use super::model::{Expected, Model};
use super::peer::Peer;
use super::subject::{FRAME, Subject};
use super::wire::{self, End, Header, Hello, Message};

/// A peer that offers what the endpoint under test does.
pub const HELLO: Hello = Hello {
    from: End { incarnation: 0x7777_0001, challenge: 0x7777_0002 },
    echo: None,
    session: None,
    frame_size: 64,
    slots: 2,
    window: 2,
    time_to_live: 100,
    digest: 0,
};

pub fn run(data: &[u8]) {
    // A driver drops what is longer than a frame.
    let mut packet = data[..data.len().min(FRAME - 2 - 4)].to_vec();
    let Some(flags) = packet.first_mut() else { return };
    *flags |= 0x80;
    check_description(&packet);

    let mut subject = Subject::new(Config::new(Incarnation::random(0x1234_5678_9ABC_DEF0)));
    let mut peer = Peer::default();
    let mut model = Model::default();
    peer.enter(HELLO, &mut subject);
    let session = peer.session.as_mut().expect("a session");
    model.begin(HELLO.time_to_live);
    let ping = [Header { low: 0, len: 1, ack: None }.encode(), Message::encode_all(&[Message::Ping])].concat();
    let fed = super::subject::Fed { dropped: None, messages: vec![], held: vec![] };
    model.accept(0, None, &ping, &fed, subject.now);

    // The numbers are what the endpoint has to restore from these bytes.
    let header = Header::decode(&packet).map(|(header, _)| header);
    let number = header.map_or(0, |header| wire::restore(header.low, header.len, 1));
    let ack = header.and_then(|header| header.ack).map(|ack| wire::restore(ack.low, ack.len, 0));
    let expected = model.expect(session, number, ack, &packet);
    let frame = session.seal(number, ack, &packet);
    let fed = subject.feed(&frame);
    match fed.dropped {
        Some(why) => assert_eq!(Expected::Dropped(why), expected),
        None => {
            assert_eq!(expected, Expected::Accepted);
            model.accept(number, ack, &packet, &fed, subject.now);
        }
    }
    // What it draws is read as well.
    let mut drawn = 0;
    while let Some(frame) = subject.transmit() {
        peer.hear(&frame);
        drawn += 1;
    }
    assert!(drawn <= 1, "one frame drew {drawn}");
    while subject.event().is_some() {}
    subject.check();
}

/// `describe` says in words what the packet holds, without a look at its check.
fn check_description(packet: &[u8]) {
    let frame = [packet, &[0; 4]].concat();
    assert_eq!(bowline::wire::describe(&frame).to_string(), description(packet));
}

fn description(packet: &[u8]) -> String {
    let Some((header, rest)) = Header::decode(packet) else { return "session packet, malformed".into() };
    let mut text = format!("#{}", header.low);
    if let Some(ack) = header.ack {
        write!(text, " ack {}", ack.low).expect("text");
        let reach = if ack.bitmap_len == 0 { 64 } else { 8 * ack.bitmap_len as u32 };
        let bitmap = if ack.bitmap_len == 0 { u64::MAX } else { ack.bitmap };
        if bitmap.trailing_ones() < reach {
            write!(text, " but {}", bitmap.trailing_ones() + 1).expect("text");
        }
    }
    for message in Message::decode_all(rest) {
        text += " | ";
        text += &match message {
            None => "malformed".into(),
            Some(Message::Ping) => "PING".into(),
            Some(Message::Close) => "CLOSE".into(),
            Some(Message::Cancel { slot, sequence }) => format!("CANCEL {slot}.{sequence}"),
            Some(Message::Notify { sequence, key, payload }) => {
                format!("NOTIFY {sequence} key {key:04x}, {} B", payload.len())
            }
            Some(Message::LongNotify { sequence, key, payload }) => {
                format!("NOTIFY {sequence} of 24 bits key {key:04x}, {} B", payload.len())
            }
            Some(Message::Publish { sequence, key, payload }) => {
                format!("PUBLISH {sequence} key {key:04x}, {} B", payload.len())
            }
            Some(Message::Request { slot, sequence, key, payload, .. }) => {
                format!("REQUEST {slot}.{sequence} key {key:04x}, {} B", payload.len())
            }
            Some(Message::Response { slot, sequence, payload }) => {
                format!("RESPONSE {slot}.{sequence}, {} B", payload.len())
            }
            Some(Message::Refusal { slot, sequence, code }) => format!("REFUSAL {slot}.{sequence}: {}", refusal(code)),
        };
    }
    text
}

fn refusal(code: u8) -> Refusal {
    match code {
        1 => Refusal::Expired,
        2 => Refusal::UnknownKey,
        3 => Refusal::Malformed,
        4 => Refusal::Cancelled,
        5 => Refusal::ResponseTooLarge,
        _ => Refusal::Busy,
    }
}
