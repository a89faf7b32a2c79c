//! The golden vectors of `tests/vectors/`, which another program in another language wrote.

use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::time::Duration;

macro_rules! records {
    ($path:literal) => {
        records(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/", $path)))
    };
}

/// One record: `key = value` lines.
pub(crate) struct Record(Vec<(&'static str, &'static str)>);

pub(crate) fn records(text: &'static str) -> Vec<Record> {
    let fields = |block: &'static str| {
        let lines = block.lines().filter(|line| !line.starts_with('#'));
        Record(lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim())).collect())
    };
    let records: Vec<_> = text.split("\n\n").map(fields).filter(|record| !record.0.is_empty()).collect();
    assert!(!records.is_empty());
    records
}

impl Record {
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(move |(known, _)| *known == key).map(|(_, value)| *value)
    }

    pub(crate) fn text(&self, key: &str) -> &'static str {
        self.all(key).next().unwrap_or_else(|| panic!("no {key} in {:?}", self.0))
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        bytes(self.text(key))
    }

    fn maybe(&self, key: &str) -> Option<u64> {
        maybe(self.text(key))
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.maybe(key).unwrap()
    }

    fn end(&self, whose: &str) -> End {
        let part = |part| self.number(&format!("{whose}_{part}")) as u32;
        End { incarnation: part("inc"), challenge: part("chal") }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.text("name")
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A number, decimal or with `0x`, or `none`.
fn maybe(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => Some(u64::from_str_radix(hex, 16).unwrap()),
        None => (text != "none").then(|| text.parse().unwrap()),
    }
}

/// The rows of a table, word by word.
fn rows(records: &[Record], key: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows: Vec<_> = records.iter().flat_map(|record| record.all(key).collect::<Vec<_>>()).collect();
    assert!(!rows.is_empty());
    rows.into_iter().map(|row| row.split_whitespace().collect())
}

fn stuffed(frame: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; frame.len() + frame.len().div_ceil(254) + 2];
    buf[1..=frame.len()].copy_from_slice(frame);
    let len = encode_in_place::<true>(&mut buf, frame.len()).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn checks() {
    for record in records!("check.txt") {
        assert_eq!(u64::from(plain_check(&record.bytes("data"))), record.number("crc"), "{}", record.name());
    }
}

#[test]
fn cobs() {
    for record in records!("cobs.txt") {
        assert_eq!(stuffed(&record.bytes("data")), record.bytes("encoded"), "{}", record.name());
        let mut deframer = Deframer::<1024>::new();
        let decoded = deframer.next_frame(&mut &record.bytes("encoded")[..]).map_or(vec![], |frame| frame.to_vec());
        assert_eq!(decoded, record.bytes("data"), "{}", record.name());
    }
}

#[test]
fn streams() {
    fn check<const N: usize>(record: &Record) {
        let stream = record.bytes("stream");
        for portion in [1, 7, stream.len()] {
            let mut deframer = Deframer::<N>::new();
            let mut frames = vec![];
            for mut input in stream.chunks(portion) {
                while let Some(frame) = deframer.next_frame(&mut input) {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, record.all("frame").map(bytes).collect::<Vec<_>>(), "{}", record.name());
            let stats = deframer.stats();
            let dropped = (u64::from(stats.overlong), u64::from(stats.malformed));
            assert_eq!(dropped, (record.number("overlong"), record.number("malformed")), "{}", record.name());
        }
    }
    for record in records!("streams.txt") {
        match record.number("limit") {
            48 => check::<48>(&record),
            64 => check::<64>(&record),
            254 => check::<254>(&record),
            255 => check::<255>(&record),
            256 => check::<256>(&record),
            257 => check::<257>(&record),
            512 => check::<512>(&record),
            limit => panic!("no deframer for {limit}"),
        }
    }
}

#[test]
fn sizes() {
    let length = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        let length = reader.length();
        reader.is_sound().then_some(length)
    };
    let records = records!("sizes.txt");
    for row in rows(&records, "payload") {
        assert_eq!(payload_len(row[0].parse().unwrap()), row[1].parse().unwrap(), "{row:?}");
    }
    for row in rows(&records, "length") {
        assert_eq!(length(&bytes(row[1])), row[0].parse().ok(), "{row:?}");
    }
    for row in rows(&records, "no_length") {
        assert_eq!(length(&bytes(row.first().unwrap_or(&""))), None, "{row:?}");
    }
}

#[test]
fn times() {
    let records = records!("times.txt");
    for row in rows(&records, "byte") {
        let time = time_to_live::decode(row[0].parse().unwrap());
        assert_eq!(time, Duration::from_millis(row[1].parse().unwrap()), "{row:?}");
    }
    for row in rows(&records, "milliseconds") {
        let time = Duration::from_millis(row[0].parse().unwrap());
        assert_eq!(time_to_live::encode(time), row[1].parse().unwrap(), "{row:?}");
    }
}

#[test]
fn numbers() {
    let records = records!("numbers.txt");
    let number = |text: &str| PacketNumber::new(maybe(text).unwrap());
    let after = |text: &str| maybe(text).map_or(PacketNumber::ZERO, |largest| PacketNumber::new(largest).next());
    for row in rows(&records, "number_len") {
        // Numbers 2³¹ apart cannot be restored from four bytes either, and never meet in one node.
        if maybe(row[0]).unwrap() - maybe(row[1]).map_or(0, |largest| largest + 1) >= 1 << 31 {
            continue;
        }
        assert_eq!(number_len(number(row[0]).low, after(row[1]).low), row[2].parse().unwrap(), "{row:?}");
    }
    for row in rows(&records, "restore") {
        let len = row[1].parse().unwrap();
        assert_eq!(restore(maybe(row[2]).unwrap() as u32, len, after(row[0])), number(row[3]), "{row:?}");
    }
    for row in rows(&records, "restore_ack") {
        let len = row[2].parse().unwrap();
        let restored = restore_ack(maybe(row[3]).unwrap() as u32, len, after(row[0]).low, number(row[1]));
        assert_eq!(restored, maybe(row[4]).map(|number| number as u32), "{row:?}");
    }
}

#[test]
fn sessions() {
    for record in records!("sessions.txt") {
        let (a, b) = (record.end("a"), record.end("b"));
        assert_eq!(u64::from(session_id(a, b)), record.number("session"), "{}", record.name());
    }
}

/// The packet of the frame, if its check is that of a packet without a session.
fn unchecked(record: &Record) -> Option<Vec<u8>> {
    let frame = record.bytes("frame");
    assert_eq!(stuffed(&frame), record.bytes("stream"), "{}", record.name());
    let (packet, check) = split_check(&frame)?;
    assert_eq!(packet, record.bytes("packet"), "{}", record.name());
    assert_eq!(check, plain_check(packet), "{}", record.name());
    Some(packet.to_vec())
}

#[test]
fn hellos() {
    for record in records!("hello.txt") {
        let packet = unchecked(&record).unwrap();
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        match record.text("kind") {
            "hello" => {
                let hello = Hello {
                    from: End {
                        incarnation: record.number("incarnation") as u32,
                        challenge: record.number("challenge") as u32,
                    },
                    echo: record.maybe("echo").map(|echo| echo as u32),
                    session: record.maybe("session").map(|session| session as u32),
                    offer: Offer {
                        frame: record.number("frame_size") as u16,
                        slots: record.number("reply_slots") as u8,
                        notify_window: record.number("notify_window") as u16,
                        time_to_live: record.number("time_to_live") as u8,
                        schema_digest: record.number("schema_digest") as u32,
                    },
                };
                assert_eq!(Hello::read(&packet), Ok(hello), "{}", record.name());
                hello.write(&mut writer);
            }
            "version" => {
                let refusal = VersionRefusal {
                    version: record.number("version") as u8,
                    challenge: record.number("challenge") as u32,
                };
                assert_eq!(VersionRefusal::read(&packet), Some(refusal), "{}", record.name());
                refusal.write(&mut writer);
            }
            _ => {
                let Err(HelloError::OtherVersion { challenge }) = Hello::read(&packet) else {
                    panic!("{}", record.name());
                };
                VersionRefusal { version: VERSION, challenge }.write(&mut writer);
                assert_eq!(writer.written(), record.bytes("answer"), "{}", record.name());
            }
        }
        if record.number("receive_only") == 0 {
            assert_eq!(writer.written(), packet, "{}", record.name());
        }
    }
}

/// A message as the vectors write it, but for lengths.
fn text(message: &WireMessage<'_>) -> String {
    let hex = |payload: &[u8]| payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match message {
        WireMessage::Ping => "ping".to_owned(),
        WireMessage::Close => "close".to_owned(),
        WireMessage::Cancel { slot, sequence } => format!("cancel slot={slot} sequence={sequence}"),
        WireMessage::Notify(OneWay { sequence, key, payload }) => {
            let word = if sequence.is_long() { "notify_long" } else { "notify" };
            format!("{word} sequence={sequence} key={key:#06x} payload={}", hex(payload))
        }
        WireMessage::Publish(OneWay { sequence, key, payload }) => {
            format!("publish sequence={sequence} key={key:#06x} payload={}", hex(payload))
        }
        WireMessage::Request { slot, sequence, key, time_to_live, payload } => {
            let ttl = time_to_live.map_or(String::new(), |ttl| format!("ttl={ttl} "));
            format!("request slot={slot} sequence={sequence} key={key:#06x} {ttl}payload={}", hex(payload))
        }
        WireMessage::Response { slot, sequence, payload } => {
            format!("response slot={slot} sequence={sequence} payload={}", hex(payload))
        }
        WireMessage::Refusal { slot, sequence, code } => format!("refusal slot={slot} sequence={sequence} code={code}"),
    }
}

fn without_lengths(message: &str) -> String {
    let words = message.replace("_next", "");
    words.split(' ').filter(|word| !word.starts_with("length=")).collect::<Vec<_>>().join(" ")
}

fn expected_header(record: &Record) -> Header {
    let bitmap_len = record.number("bitmap_len");
    let ack = record.maybe("ack").map(|largest| AckField {
        largest: largest as u32,
        len: record.number("ack_len") as usize,
        bitmap: if bitmap_len == 0 { u64::MAX } else { record.number("bitmap") },
        reach: if bitmap_len == 0 { BITMAP_REACH } else { bitmap_len as u32 * 8 },
        fresh: record.number("fresh") == 1,
    });
    Header { number: record.number("number") as u32, number_len: record.number("number_len") as usize, ack }
}

fn low(number: u32, len: usize) -> u32 {
    number & (u32::MAX >> (32 - 8 * len))
}

/// Whether the check of a frame is that of the numbers given in the record.
fn has_right_check(record: &Record) -> bool {
    let frame = record.bytes("frame");
    assert_eq!(stuffed(&frame), record.bytes("stream"), "{}", record.name());
    let (packet, check) = split_check(&frame).unwrap();
    let seed = Seed::new(record.end("sender"), record.end("receiver"));
    check == seed.check(PacketNumber::new(record.number("number")), record.maybe("ack").map(|ack| ack as u32), packet)
}

#[test]
fn packets() {
    for record in records!("packets.txt") {
        assert!(has_right_check(&record), "{}", record.name());
        let packet = record.bytes("packet");
        let mut reader = Reader::new(&packet);
        let header = Header::read(&mut reader).unwrap();
        let mut expected = expected_header(&record);
        let mut buf = [0; 1024];
        let mut writer = Writer::new(&mut buf);
        expected.write(&mut writer);

        expected.number = low(expected.number, expected.number_len);
        if let Some(ack) = &mut expected.ack {
            ack.largest = low(ack.largest, ack.len);
        }
        assert_eq!(header, expected, "{}", record.name());
        let mut texts = record.all("message");
        let mut messages = WireMessages::new(reader);
        let mut message_writer = MessageWriter::new(&mut writer, 1024);
        while let Some(message) = messages.next() {
            let message = message.unwrap();
            assert_eq!(text(&message), without_lengths(texts.next().unwrap()), "{}", record.name());
            assert!(message_writer.push(&message::out(&message)));
        }
        assert_eq!(texts.next(), None, "{}", record.name());
        if record.number("receive_only") == 0 {
            assert_eq!(writer.written(), packet, "{}", record.name());
        }
    }
}

#[test]
fn dropped_hellos() {
    for record in records!("dropped/hello.txt") {
        let packet = unchecked(&record);
        let packet = packet.as_deref().unwrap_or_default();
        let is_dropped = match record.text("reason") {
            "too_short" => packet.is_empty(),
            "bad_hello" => Hello::read(packet) == Err(HelloError::Malformed),
            "own_echo" => Hello::read(packet).unwrap().from == record.end("receiver"),
            "malformed" => packet[0] == KIND_VERSION && VersionRefusal::read(packet).is_none(),
            "unknown_kind" => packet[0] & SESSION_BIT == 0 && ![KIND_HELLO, KIND_VERSION].contains(&packet[0]),
            _ => false,
        };
        assert!(is_dropped, "{}", record.name());
    }
}

#[test]
fn dropped_packets() {
    for record in records!("dropped/packets.txt") {
        assert!(has_right_check(&record), "{}", record.name());
        let (reply_slots, call_slots) = (record.number("reply_slots") as u8, record.number("call_slots") as u8);
        let is_sound = |packet: &[u8]| {
            let mut reader = Reader::new(packet);
            Header::read(&mut reader)?;
            let mut messages = WireMessages::new(reader);
            while let Some(message) = messages.next() {
                let is_in_range = match message.ok()? {
                    WireMessage::Request { slot, .. } | WireMessage::Cancel { slot, .. } => slot < reply_slots,
                    WireMessage::Response { slot, .. } | WireMessage::Refusal { slot, .. } => slot < call_slots,
                    _ => true,
                };
                is_in_range.then_some(())?;
            }
            Some(())
        };
        assert_eq!(is_sound(&record.bytes("packet")), None, "{}", record.name());
    }
}

#[test]
fn dropped_checks() {
    for record in records!("dropped/checks.txt") {
        assert!(!has_right_check(&record), "{}", record.name());
    }
}
