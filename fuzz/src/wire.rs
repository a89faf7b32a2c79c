//! A second reading of PROTOCOL.md §§2–8, which shares no code with the crate: what the targets build frames with, and
//! hold those of the crate against.

use std::sync::LazyLock;

use crc::{CRC_32_ISCSI, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Largest frame size that a node may offer, and the smallest.
pub const FRAME_SIZES: std::ops::RangeInclusive<u16> = 48..=65_535;
pub const MAX_SLOTS: u8 = 32;

fn crc(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// A node in a session: incarnation and challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    pub incarnation: u32,
    pub challenge: u32,
}

impl End {
    fn bytes(self) -> [u8; 8] {
        (u64::from(self.challenge) << 32 | u64::from(self.incarnation)).to_le_bytes()
    }
}

/// §8.1
pub fn session_id(a: End, b: End) -> u32 {
    crc(&[&a.min(b).bytes(), &a.max(b).bytes()])
}

/// A packet without a session and its check.
pub fn plain_frame(packet: &[u8]) -> Vec<u8> {
    [packet, &crc(&[packet]).to_le_bytes()].concat()
}

/// The check of a session packet (§3).
pub fn check(sender: End, receiver: End, number: u64, ack: Option<u64>, packet: &[u8]) -> u32 {
    let ack = ack.map(|ack| (ack as u32).to_le_bytes());
    let (high, low) = ((number >> 32) as u32, number as u32);
    let ends = [sender.bytes(), receiver.bytes()].concat();
    crc(&[&ends, &high.to_le_bytes(), &low.to_le_bytes(), ack.as_ref().map_or(&[], |ack| ack), packet])
}

/// A frame of a session: the packet and its check.
pub fn session_frame(sender: End, receiver: End, number: u64, ack: Option<u64>, packet: &[u8]) -> Vec<u8> {
    [packet, &check(sender, receiver, number, ack, packet).to_le_bytes()].concat()
}

/// §5.1: of all numbers with these low bytes the one nearest to `expected`, the higher one if two are as near.
pub fn restore(low: u32, len: usize, expected: u64) -> u64 {
    let candidates = candidates(low, len, expected).into_iter().filter(|number| *number >= 0);
    candidates.min_by_key(nearest(expected)).unwrap_or(0) as u64
}

/// §6: likewise, but below 0 there is none.
pub fn restore_ack(low: u32, len: usize, expected: u64) -> Option<u64> {
    let number = candidates(low, len, expected).into_iter().min_by_key(nearest(expected))?;
    u64::try_from(number).ok()
}

fn candidates(low: u32, len: usize, expected: u64) -> [i128; 3] {
    let window = 1_i128 << (8 * len);
    let base = (i128::from(expected) / window) * window + i128::from(low);
    [base - window, base, base + window]
}

fn nearest(expected: u64) -> impl Fn(&i128) -> (i128, i128) {
    move |number| ((number - i128::from(expected)).abs(), -number)
}

/// §5.1: bytes that a packet must give its number. `base` is the largest acknowledged one plus one.
pub fn number_len(number: u64, base: u64) -> usize {
    (1..4).find(|len| 2 * (number - base) < 1 << (8 * len)).unwrap_or(4)
}

/// §7.3, in milliseconds.
pub fn time_to_live(byte: u8) -> u64 {
    let byte = u64::from(byte);
    if byte < 16 { byte } else { (16 + byte % 16) << (byte / 16 - 1) }
}

/// HELLO (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub from: End,
    pub echo: Option<u32>,
    pub session: Option<u32>,
    pub frame_size: u16,
    pub slots: u8,
    pub window: u16,
    pub time_to_live: u8,
    pub digest: u32,
}

/// What a packet without a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Hello(Hello),
    OtherVersion { challenge: u32 },
    Version { version: u8, challenge: u32 },
    Bad,
    Unknown,
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.echo.is_some()) | u8::from(self.session.is_some()) << 1;
        let mut packet = vec![1, 1];
        packet.extend(self.from.bytes());
        packet.push(flags);
        packet.extend(self.echo.unwrap_or(0).to_le_bytes());
        packet.extend(self.session.unwrap_or(0).to_le_bytes());
        packet.extend(self.frame_size.to_le_bytes());
        packet.push(self.slots);
        packet.extend(self.window.to_le_bytes());
        packet.push(self.time_to_live);
        packet.extend(self.digest.to_le_bytes());
        packet
    }

    pub fn frame(&self) -> Vec<u8> {
        plain_frame(&self.encode())
    }
}

impl Plain {
    pub fn decode(packet: &[u8]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([packet[at], packet[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        match packet {
            [2, version, _, _, _, _, ..] => Self::Version { version: *version, challenge: u32_at(2) },
            [1, version, ..] if packet.len() >= 10 && *version != 1 => Self::OtherVersion { challenge: u32_at(6) },
            [1, ..] if packet.len() >= 29 => {
                let hello = Hello {
                    from: End { incarnation: u32_at(2), challenge: u32_at(6) },
                    echo: (packet[10] & 1 != 0).then(|| u32_at(11)),
                    session: (packet[10] & 2 != 0).then(|| u32_at(15)),
                    frame_size: u16_at(19),
                    slots: packet[21],
                    window: u16_at(22),
                    time_to_live: packet[24],
                    digest: u32_at(25),
                };
                let is_sane = FRAME_SIZES.contains(&hello.frame_size) && hello.slots <= MAX_SLOTS;
                if is_sane { Self::Hello(hello) } else { Self::Bad }
            }
            [1 | 2, ..] => Self::Bad,
            _ => Self::Unknown,
        }
    }
}

/// The ack of a packet, as it travels (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub low: u32,
    /// 1, 2 or 4.
    pub len: usize,
    pub bitmap: u64,
    /// 0, 1, 4 or 8.
    pub bitmap_len: usize,
    pub is_fresh: bool,
}

/// The header of a session packet (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub low: u32,
    /// 1 to 4.
    pub len: usize,
    pub ack: Option<Ack>,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let ack = self.ack.unwrap_or(Ack { low: 0, len: 0, bitmap: 0, bitmap_len: 0, is_fresh: false });
        let code = |len: usize, lens: [usize; 4]| lens.iter().position(|known| *known == len).expect("a length") as u8;
        let flags = 0x80
            | (self.len as u8 - 1) << 5
            | code(ack.len, [0, 1, 2, 4]) << 3
            | code(ack.bitmap_len, [0, 1, 4, 8]) << 1
            | u8::from(ack.is_fresh);
        let mut packet = vec![flags];
        packet.extend(&self.low.to_le_bytes()[..self.len]);
        packet.extend(&ack.low.to_le_bytes()[..ack.len]);
        packet.extend(&ack.bitmap.to_le_bytes()[..ack.bitmap_len]);
        packet
    }

    /// The header and what stands behind it.
    pub fn decode(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (&flags, mut rest) = packet.split_first()?;
        let mut number = |len: usize| {
            let bytes = rest.split_off(..len)?;
            Some(bytes.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
        };
        let len = usize::from(flags >> 5 & 3) + 1;
        let low = number(len)? as u32;
        let ack_len = [0, 1, 2, 4][usize::from(flags >> 3 & 3)];
        let bitmap_len = [0, 1, 4, 8][usize::from(flags >> 1 & 3)];
        let is_fresh = flags & 1 != 0;
        let ack = match ack_len {
            0 if bitmap_len > 0 || is_fresh => return None,
            0 => None,
            len => Some(Ack { low: number(len)? as u32, len, bitmap: number(bitmap_len)?, bitmap_len, is_fresh }),
        };
        Some((Self { low, len, ack }, rest))
    }
}

/// Whether the bowline at hand knows sequences of 24 bits: on hosts it does.
static HAS_LONG_SEQUENCES: LazyLock<bool> = LazyLock::new(|| {
    let frame = [0x80, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    !bowline::wire::describe(&frame).to_string().contains("malformed")
});

/// A message (§7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Ping,
    Close,
    Cancel {
        slot: u8,
        sequence: u8,
    },
    Notify {
        sequence: u16,
        key: u16,
        payload: Vec<u8>,
    },
    /// With a sequence of 24 bits.
    LongNotify {
        sequence: u32,
        key: u16,
        payload: Vec<u8>,
    },
    Publish {
        sequence: u16,
        key: u16,
        payload: Vec<u8>,
    },
    Request {
        slot: u8,
        sequence: u8,
        key: u16,
        time_to_live: Option<u8>,
        payload: Vec<u8>,
    },
    Response {
        slot: u8,
        sequence: u8,
        payload: Vec<u8>,
    },
    Refusal {
        slot: u8,
        sequence: u8,
        code: u8,
    },
}

impl Message {
    /// Whether a packet with it asks for an ack (§6).
    pub fn is_eliciting(&self) -> bool {
        !matches!(self, Self::Publish { .. } | Self::Close)
    }

    /// The messages of a packet. A payload has its length unless it is the last; a notify that follows on another is
    /// short.
    pub fn encode_all(messages: &[Self]) -> Vec<u8> {
        let mut packet = Vec::new();
        let mut before = None;
        for (index, message) in messages.iter().enumerate() {
            message.encode(before, index + 1 < messages.len(), &mut packet);
            before = Some(message);
        }
        packet
    }

    fn encode(&self, before: Option<&Self>, has_length: bool, packet: &mut Vec<u8>) {
        let bit = u8::from(has_length);
        let payload = match self {
            Self::Ping => return packet.push(0),
            Self::Close => return packet.push(1),
            Self::Cancel { slot, sequence } => return packet.extend([2, *slot, *sequence]),
            Self::Refusal { slot, sequence, code } => return packet.extend([0xE0 | slot, *sequence, *code]),
            Self::Notify { sequence, key, payload } => {
                let follows = matches!(before, Some(Self::Notify { sequence: last, key: same, .. })
                    if last.wrapping_add(1) == *sequence && same == key);
                packet.push(4 | u8::from(follows) << 1 | bit);
                if !follows {
                    packet.extend(sequence.to_le_bytes());
                    packet.extend(key.to_le_bytes());
                }
                payload
            }
            Self::LongNotify { sequence, key, payload } => {
                let follows = matches!(before, Some(Self::LongNotify { sequence: last, key: same, .. })
                    if (last + 1) & 0xFF_FFFF == *sequence && same == key);
                packet.push(if follows { 6 } else { 12 } | bit);
                if !follows {
                    packet.extend(&sequence.to_le_bytes()[..3]);
                    packet.extend(key.to_le_bytes());
                }
                payload
            }
            Self::Publish { sequence, key, payload } => {
                packet.push(8 | bit);
                packet.extend(sequence.to_le_bytes());
                packet.extend(key.to_le_bytes());
                payload
            }
            Self::Request { slot, sequence, key, time_to_live, payload } => {
                packet.push((1 + bit + if time_to_live.is_some() { 2 } else { 0 }) << 5 | slot);
                packet.push(*sequence);
                packet.extend(key.to_le_bytes());
                packet.extend(time_to_live);
                payload
            }
            Self::Response { slot, sequence, payload } => {
                packet.extend([(5 + bit) << 5 | slot, *sequence]);
                payload
            }
        };
        if has_length {
            let mut length = payload.len();
            while length >= 0x80 {
                packet.push(length as u8 | 0x80);
                length >>= 7;
            }
            packet.push(length as u8);
        }
        packet.extend(payload);
    }

    /// The messages of a packet; `None` for what breaks the rules and for all behind it.
    pub fn decode_all(mut rest: &[u8]) -> Vec<Option<Self>> {
        let mut messages: Vec<Option<Self>> = Vec::new();
        while !rest.is_empty() {
            let message = Self::decode(messages.last().and_then(Option::as_ref), &mut rest);
            let is_bad = message.is_none();
            messages.push(message);
            if is_bad {
                break;
            }
        }
        messages
    }

    fn decode(before: Option<&Self>, rest: &mut &[u8]) -> Option<Self> {
        let kind = *rest.split_off_first()?;
        let slot = kind & 0x1F;
        Some(match kind >> 5 {
            0 => match kind {
                0 => Self::Ping,
                1 => Self::Close,
                2 => {
                    let slot = *rest.split_off_first()?;
                    Self::Cancel { slot: (slot < MAX_SLOTS).then_some(slot)?, sequence: *rest.split_off_first()? }
                }
                12 | 13 if *HAS_LONG_SEQUENCES => {
                    let low = u16(rest)?;
                    let sequence = (u32::from(*rest.split_off_first()?) << 16) | u32::from(low);
                    Self::LongNotify { sequence, key: u16(rest)?, payload: payload(kind & 1 != 0, rest)? }
                }
                6 | 7 if matches!(before, Some(Self::LongNotify { .. })) => {
                    let Some(Self::LongNotify { sequence, key, .. }) = before else { return None };
                    let sequence = (sequence + 1) & 0xFF_FFFF;
                    Self::LongNotify { sequence, key: *key, payload: payload(kind & 1 != 0, rest)? }
                }
                4..8 => {
                    let (sequence, key) = match before {
                        _ if kind & 2 == 0 => (u16(rest)?, u16(rest)?),
                        Some(Self::Notify { sequence, key, .. }) => (sequence.wrapping_add(1), *key),
                        _ => return None,
                    };
                    Self::Notify { sequence, key, payload: payload(kind & 1 != 0, rest)? }
                }
                8 | 9 => {
                    Self::Publish { sequence: u16(rest)?, key: u16(rest)?, payload: payload(kind & 1 != 0, rest)? }
                }
                _ => return None,
            },
            form @ 1..5 => Self::Request {
                slot,
                sequence: *rest.split_off_first()?,
                key: u16(rest)?,
                time_to_live: if form >= 3 { Some(*rest.split_off_first()?) } else { None },
                payload: payload(form % 2 == 0, rest)?,
            },
            form @ (5 | 6) => {
                Self::Response { slot, sequence: *rest.split_off_first()?, payload: payload(form == 6, rest)? }
            }
            _ => Self::Refusal { slot, sequence: *rest.split_off_first()?, code: *rest.split_off_first()? },
        })
    }
}

fn u16(rest: &mut &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes([*rest.split_off_first()?, *rest.split_off_first()?]))
}

fn payload(has_length: bool, rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut length = rest.len();
    if has_length {
        length = 0;
        for place in 0.. {
            let byte = *rest.split_off_first()?;
            length |= usize::from(byte & 0x7F) << (7 * place);
            match byte & 0x80 {
                0 => break,
                _ if place == 2 => return None,
                _ => {}
            }
        }
        if length > 65_535 {
            return None;
        }
    }
    rest.split_off(..length).map(<[u8]>::to_vec)
}

/// §2: a frame on a byte stream.
pub fn stuff(frame: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = frame;
    loop {
        let run = rest.iter().take(254).position(|byte| *byte == 0);
        let len = run.unwrap_or(rest.len().min(254));
        stream.push(len as u8 + 1);
        stream.extend(&rest[..len]);
        rest = &rest[len..];
        match run {
            Some(_) => rest = &rest[1..],
            None if rest.is_empty() => break,
            None => {}
        }
    }
    stream.push(0);
    stream
}

/// What stands between two delimiters; `None` if a code points past the end.
pub fn unstuff(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    while let Some(code) = rest.split_off_first() {
        frame.extend(rest.split_off(..usize::from(*code) - 1)?);
        if *code < 0xFF && !rest.is_empty() {
            frame.push(0);
        }
    }
    Some(frame)
}
