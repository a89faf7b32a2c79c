use std::vec::Vec;

use super::*;
use crate::time::Duration;

/// The message as it is sent.
pub(in crate::wire) fn out<'f>(message: &WireMessage<'f>) -> OutMessage<'f> {
    match *message {
        WireMessage::Ping => OutMessage::ping(),
        WireMessage::Close => OutMessage::close(),
        WireMessage::Cancel { slot, sequence } => OutMessage::cancel(slot, sequence),
        WireMessage::Notify(notify) => OutMessage::notify(notify),
        WireMessage::Publish(publish) => OutMessage::publish(publish),
        WireMessage::Request { slot, sequence, key, time_to_live, payload } => {
            OutMessage::request(slot, sequence, key, time_to_live, payload)
        }
        WireMessage::Response { slot, sequence, payload } => OutMessage::response(slot, sequence, payload),
        WireMessage::Refusal { slot, sequence, code } => OutMessage::refusal(slot, sequence, code),
    }
}

/// What a message says, as the peer reads it.
pub(crate) fn said(message: &OutMessage<'_>) -> std::string::String {
    let mut buf = [0; 600];
    let mut writer = Writer::new(&mut buf);
    assert!(MessageWriter::new(&mut writer, 600).push(message));
    std::format!("{:?}", read(writer.written()).unwrap()[0])
}

fn written<'b>(buf: &'b mut [u8], messages: &[WireMessage<'_>]) -> &'b [u8] {
    let len = {
        let mut writer = Writer::new(buf);
        let mut packer = MessageWriter::new(&mut writer, usize::MAX);
        for message in messages {
            assert!(packer.push(&out(message)));
        }
        writer.len()
    };
    &buf[..len]
}

fn read(bytes: &[u8]) -> Result<Vec<WireMessage<'_>>, Malformed> {
    let mut messages = WireMessages::new(Reader::new(bytes));
    core::iter::from_fn(|| messages.next()).collect()
}

const NOTIFY_7: WireMessage<'_> =
    WireMessage::Notify(OneWay { sequence: LowBits::new(7, false), key: 0x0201, payload: b"a" });
const NOTIFY_8: WireMessage<'_> =
    WireMessage::Notify(OneWay { sequence: LowBits::new(8, false), key: 0x0201, payload: b"bc" });

fn all() -> Vec<WireMessage<'static>> {
    vec![
        WireMessage::Ping,
        WireMessage::Close,
        WireMessage::Cancel { slot: 31, sequence: 9 },
        NOTIFY_7,
        NOTIFY_8,
        WireMessage::Notify(OneWay { sequence: LowBits::new(0x12_3456, true), key: 0x0201, payload: &[7; 200] }),
        WireMessage::Publish(OneWay { sequence: 65_535, key: 1, payload: b"" }),
        WireMessage::Request { slot: 3, sequence: 1, key: 0xABCD, time_to_live: None, payload: &[5; 200] },
        WireMessage::Request { slot: 30, sequence: 255, key: 0, time_to_live: Some(17), payload: b"xyz" },
        WireMessage::Response { slot: 0, sequence: 0, payload: b"pong" },
        WireMessage::Refusal { slot: 31, sequence: 1, code: 4 },
    ]
}

#[test]
fn messages_round_trip_in_any_order() {
    let mut buf = [0; 600];
    for turn in 0..all().len() {
        let mut messages = all();
        messages.rotate_left(turn);
        assert_eq!(read(written(&mut buf, &messages)).unwrap(), messages);
    }
}

#[test]
fn a_lone_message_has_no_length_and_a_second_one_costs_three_or_five_bytes() {
    let mut buf = [0; 64];
    let request = WireMessage::Request { slot: 0, sequence: 1, key: 2, time_to_live: None, payload: b"1234" };
    let response = WireMessage::Response { slot: 1, sequence: 1, payload: b"1234" };
    assert_eq!(written(&mut buf, &[request]).len(), 4 + 4);
    assert_eq!(written(&mut buf, &[response]).len(), 2 + 4);
    assert_eq!(written(&mut buf, &[response, response]).len(), 2 * (2 + 4) + 1);
    assert_eq!(written(&mut buf, &[request, request]).len(), 2 * (4 + 4) + 1);
}

#[test]
fn only_the_first_notify_of_a_run_carries_its_key() {
    let mut buf = [0; 64];
    assert_eq!(written(&mut buf, &[NOTIFY_7, NOTIFY_8]), [0x05, 7, 0, 1, 2, 1, b'a', 0x06, b'b', b'c']);
}

#[test]
fn a_long_sequence_costs_the_first_of_a_run_a_byte() {
    let long = |sequence, payload| {
        WireMessage::Notify(OneWay { sequence: LowBits::new(sequence, true), key: 0x0201, payload })
    };
    let mut buf = [0; 64];
    let run = [long(0xFF_FFFF, &b"a"[..]), long(0, b"bc")];
    assert_eq!(written(&mut buf, &run), [0x0D, 0xFF, 0xFF, 0xFF, 1, 2, 1, b'a', 0x06, b'b', b'c']);
    assert_eq!(read(written(&mut buf, &run)).unwrap(), run);
    // One of another length does not follow on it.
    assert_eq!(written(&mut buf, &[long(7, b"a"), NOTIFY_8])[8..], [0x04, 8, 0, 1, 2, b'b', b'c']);
}

#[test]
fn a_run_without_a_beginning_is_malformed() {
    assert_eq!(read(&[0x06, 1]), Err(Malformed));
    assert_eq!(read(&[0x05, 7, 0, 1, 2, 0, 0x00, 0x06, 1]), Err(Malformed));
}

#[test]
fn unknown_operations_cut_messages_and_high_slots_are_malformed() {
    for bytes in [
        &[0x03][..],
        &[0x0A],
        &[0x0E],
        &[0x1F],
        &[0x02, 32, 0],
        &[0x02, 1],
        &[0x20, 1, 0],
        &[0x40, 1, 0, 0, 5, 1],
        &[0xE0, 1],
    ] {
        assert_eq!(read(bytes), Err(Malformed), "{bytes:?}");
    }
}

#[test]
fn a_message_that_does_not_fit_leaves_the_packet_as_it_was() {
    let mut buf = [0; 64];
    let mut writer = Writer::new(&mut buf);
    let mut packer = MessageWriter::new(&mut writer, 12);
    let response = WireMessage::Response { slot: 1, sequence: 1, payload: b"1234" };
    assert!(packer.push(&out(&response)));
    assert!(!packer.push(&out(&response)));
    assert!(packer.push(&OutMessage::ping()));
    assert_eq!(writer.written(), [0xC1, 1, 4, b'1', b'2', b'3', b'4', 0]);
}

#[test]
fn a_time_to_live_is_rounded_down_by_at_most_a_sixteenth() {
    for millis in (0..2_000).chain([31_744, 507_903, 507_904]) {
        let decoded = time_to_live::decode(time_to_live::encode(Duration::from_millis(millis))).as_millis();
        assert!(decoded <= millis && millis - decoded <= millis / 16, "{millis} {decoded}");
    }
    for byte in 0..=u8::MAX {
        assert_eq!(time_to_live::encode(time_to_live::decode(byte)), byte);
    }
    assert_eq!(time_to_live::encode(Duration::from_secs(10_000)), 255);
}
