//! What an endpoint has to do with each frame of a session, from the tables of PROTOCOL.md: which frames are dropped and
//! why, and which messages reach the application.

use std::collections::BTreeSet;

use bowline::{Call, Instant, RequestId};

use super::peer::Session;
use super::subject::{CALLS, Fed, REPLIES, Taken, Why};
use super::wire::{self, Header, Message};

/// Numbers so far ahead are dropped (§5.2).
const FAR: u64 = 1 << 30;

/// Whether the endpoint is one for hosts: it takes stragglers (§5.3) and offers long sequences (§7.4).
const IS_HOST: bool = cfg!(feature = "std");

/// How far before the largest number stragglers come from (§5.3).
const STRAGGLERS: u64 = 4_096;

/// The code of the refusal (§7.2).
const CANCELLED: u8 = 4;

/// A session as the endpoint under test has to see it.
#[derive(Default)]
pub struct Model {
    /// Default time to live of the peer's requests, as the byte of §7.3.
    pub default_time_to_live: u8,
    /// Packet numbers of the peer: those with a right check, and those whose messages were all taken.
    largest: Option<u64>,
    received: BTreeSet<u64>,
    /// One more than the largest number of the node that was acknowledged.
    acked: u64,
    /// Numbers that the node used for frames which the port refused.
    pub refused: u64,
    replies: [ReplySlot; REPLIES],
    notifies: Notifies,
    /// Packet number of the last publish, and the sequence that is next.
    published: (u64, u16),
    /// Calls of the node that were sent in this session and have not ended, with their sequences.
    pub calls: [Option<(Call, u8)>; CALLS],
}

#[derive(Default)]
struct ReplySlot {
    last: u8,
    /// The handler that runs.
    running: Option<RequestId>,
    is_orphan: bool,
    /// What was answered last, which may be sent again.
    reply: Option<Message>,
}

#[derive(Default)]
struct Notifies {
    expected: u32,
    /// The one that came too early.
    held: Option<(u32, Taken)>,
}

/// What a frame is to lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Expected {
    Dropped(Why),
    Accepted,
    /// Its ack names a number that was perhaps never used.
    Unknown,
}

impl Model {
    /// A session begins; handlers that run are orphans from now on.
    pub fn begin(&mut self, default_time_to_live: u8) {
        self.end();
        *self = Self { replies: std::mem::take(&mut self.replies), default_time_to_live, ..Self::default() };
    }

    /// The session is over.
    pub fn end(&mut self) {
        for slot in &mut self.replies {
            *slot = ReplySlot { running: slot.running, is_orphan: slot.running.is_some(), ..ReplySlot::default() };
        }
        self.calls = [None; CALLS];
    }

    /// The handler of this request has ended, with a response or a code of refusal.
    pub fn answered(&mut self, request: RequestId, answer: std::result::Result<Vec<u8>, u8>) {
        for (slot, index) in self.replies.iter_mut().zip(0..) {
            if slot.running.take_if(|running| *running == request).is_some() && !std::mem::take(&mut slot.is_orphan) {
                let sequence = slot.last;
                slot.reply = Some(match answer.clone() {
                    Ok(payload) => Message::Response { slot: index, sequence, payload },
                    Err(code) => Message::Refusal { slot: index, sequence, code },
                });
            }
        }
    }

    /// Whether the session of this request is over while its handler runs.
    pub fn is_orphan(&self, request: RequestId) -> bool {
        self.replies.iter().any(|slot| slot.running == Some(request) && slot.is_orphan)
    }

    /// Nobody waits for the response to this call any more.
    pub fn forget(&mut self, call: Call) {
        for slot in &mut self.calls {
            *slot = slot.filter(|(sent, _)| *sent != call);
        }
    }

    /// Whether the endpoint may send this answer.
    pub fn is_reply(&self, message: &Message) -> bool {
        self.replies.iter().any(|slot| slot.reply.as_ref() == Some(message))
    }

    /// Whether a packet that the peer sealed under these numbers is taken.
    pub fn expect(&self, session: &Session, number: u64, ack: Option<u64>, packet: &[u8]) -> Expected {
        use Expected::Dropped;
        let Some((header, rest)) = Header::decode(packet) else { return Dropped(Why::BadCheck) };
        let next = self.received.last().map_or(0, |largest| largest + 1);
        if wire::restore(header.low, header.len, next) != number {
            return Dropped(Why::BadCheck);
        }
        match (header.ack, ack) {
            (None, None) => {}
            (Some(field), Some(ack)) => {
                let restored = wire::restore_ack(field.low, field.len, self.acked);
                if restored != Some(ack) || ack >= session.received + self.refused {
                    return Dropped(Why::BadCheck);
                }
                if ack >= session.received {
                    return Expected::Unknown;
                }
            }
            _ => return Dropped(Why::BadCheck),
        }
        if !is_well_formed(&Message::decode_all(rest)) {
            return Dropped(Why::Malformed);
        }
        let newest = self.largest.map_or(0, |largest| largest + 1);
        if number >= next + FAR {
            // The last numbers of 32 bits look like those below zero, which count as received.
            let is_below_zero = (1..=65).contains(&(newest as u32).wrapping_sub(number as u32));
            return Dropped(if is_below_zero { Why::Duplicate } else { Why::TooOld });
        }
        if number + 65 < newest {
            let is_missing = number < next && number + STRAGGLERS >= next && !self.received.contains(&number);
            let is_straggler = IS_HOST && is_missing && number + STRAGGLERS >= newest && are_notifies(rest);
            return if is_straggler { Expected::Accepted } else { Dropped(Why::TooOld) };
        }
        if self.received.contains(&number) || number + 65 < next {
            return Dropped(Why::Duplicate);
        }
        Expected::Accepted
    }

    /// A packet was accepted: holds the messages that were taken against those that had to be. Says whether it held
    /// a CLOSE.
    pub fn accept(&mut self, number: u64, ack: Option<u64>, packet: &[u8], fed: &Fed, now: Instant) -> bool {
        self.largest = self.largest.max(Some(number));
        if self.behind(number) <= 65 {
            // The ack of a straggler is not believed.
            self.acknowledge(ack);
        }
        let (_, rest) = Header::decode(packet).expect("a header");
        let mut taken = fed.messages.iter();
        let mut must_come_again = false;
        let mut is_closed = false;
        for message in Message::decode_all(rest) {
            match message.expect("a message") {
                Message::Close => {
                    is_closed = true;
                    break;
                }
                message => must_come_again |= !self.take(number, message, &mut taken, now),
            }
        }
        assert_eq!(taken.next(), None, "a message too many");
        let held = self.notifies.pop();
        assert_eq!(fed.held, held.as_slice(), "of the notify that was held back");
        if !must_come_again && !is_closed {
            self.received.insert(number);
        }
        is_closed
    }

    /// How far a packet that has come is behind the next one.
    fn behind(&self, number: u64) -> u64 {
        self.largest.map_or(0, |largest| (largest + 1).saturating_sub(number))
    }

    /// What a duplicate acknowledges counts all the same.
    pub fn acknowledge(&mut self, ack: Option<u64>) {
        self.acked = self.acked.max(ack.map_or(0, |ack| ack + 1));
    }

    /// One message; whether it need not come again.
    fn take<'t>(
        &mut self,
        number: u64,
        message: Message,
        taken: &mut impl Iterator<Item = &'t Taken>,
        now: Instant,
    ) -> bool {
        match message {
            Message::Request { slot, sequence, key, time_to_live, payload } => {
                let slot = &mut self.replies[usize::from(slot)];
                if slot.is_orphan {
                    return false;
                }
                if slot.running.is_none() && sequence == slot.last.wrapping_add(1) {
                    slot.last = sequence;
                    let millis = wire::time_to_live(time_to_live.unwrap_or(self.default_time_to_live));
                    let expires_at = now + bowline::Duration::from_millis(millis);
                    let request = taken.next();
                    let Some(&Taken::Request { id, .. }) = request else { panic!("{request:?} is no request") };
                    assert_eq!(request, Some(&Taken::Request { id, key, expires_at, payload }));
                    slot.running = Some(id);
                    slot.reply = None;
                }
            }
            Message::Cancel { slot, sequence } => {
                let index = slot;
                let slot = &mut self.replies[usize::from(slot)];
                if slot.is_orphan {
                    return false;
                }
                if slot.running.is_none() && sequence == slot.last.wrapping_add(1) {
                    slot.last = sequence;
                    slot.reply = Some(Message::Refusal { slot: index, sequence, code: CANCELLED });
                }
            }
            Message::Notify { sequence, key, payload } => {
                let oldest_behind = if IS_HOST { 30_720 + 32 * self.behind(number) } else { 1 << 15 };
                let reach = (1_u64 << 16).saturating_sub(oldest_behind);
                return self.notifies.take(sequence.into(), 16, reach as u32, Taken::Notify { key, payload }, taken);
            }
            Message::LongNotify { sequence, key, payload } => {
                return self.notifies.take(sequence, 24, 1 << 23, Taken::Notify { key, payload }, taken);
            }
            Message::Publish { sequence, key, payload } => {
                let (packet, next) = self.published;
                let missed = sequence.wrapping_sub(next);
                if number > packet || number == packet && missed <= 0x7FFF {
                    assert_eq!(taken.next(), Some(&Taken::Publish { key, missed, payload }));
                    self.published = (number, sequence.wrapping_add(1));
                }
            }
            Message::Response { slot, sequence, payload } => {
                let call = &mut self.calls[usize::from(slot)];
                if let Some((call, _)) = call.take_if(|(_, sent)| *sent == sequence) {
                    assert_eq!(taken.next(), Some(&Taken::Response { call, payload }));
                }
            }
            Message::Refusal { slot, sequence, .. } => {
                self.calls[usize::from(slot)].take_if(|(_, sent)| *sent == sequence);
            }
            Message::Ping | Message::Close => {}
        }
        true
    }
}

impl Notifies {
    /// A notify of whose sequence the low `bits` are told. One that is `reach` or more ahead of the first missing one may as
    /// well lie behind.
    fn take<'t>(
        &mut self,
        low: u32,
        bits: u32,
        reach: u32,
        notify: Taken,
        taken: &mut impl Iterator<Item = &'t Taken>,
    ) -> bool {
        let mask = (1 << bits) - 1;
        let ahead = low.wrapping_sub(self.expected) & mask;
        let sequence = self.expected.wrapping_add(ahead);
        let is_ready = self.held.as_ref().is_some_and(|(held, _)| *held == self.expected);
        let ahead_of_missing = low.wrapping_sub(self.expected.wrapping_add(u32::from(is_ready))) & mask;
        match &self.held {
            _ if ahead_of_missing >= 1 << (bits - 1) => true,
            _ if ahead_of_missing >= reach => false,
            Some((held, _)) if *held == sequence => true,
            _ if ahead == 0 => {
                assert_eq!(taken.next(), Some(&notify));
                self.expected = self.expected.wrapping_add(1);
                true
            }
            None if ahead == 1 => {
                self.held = Some((sequence, notify));
                true
            }
            _ => false,
        }
    }

    fn pop(&mut self) -> Option<Taken> {
        let (_, notify) = self.held.take_if(|(sequence, _)| *sequence == self.expected)?;
        self.expected = self.expected.wrapping_add(1);
        Some(notify)
    }
}

/// One notify or more, and nothing else.
fn are_notifies(rest: &[u8]) -> bool {
    let messages = Message::decode_all(rest);
    let is_notify =
        |message: &Option<Message>| matches!(message, Some(Message::Notify { .. } | Message::LongNotify { .. }));
    !messages.is_empty() && messages.iter().all(is_notify)
}

/// Nothing is broken, and slots are those of the endpoint under test.
fn is_well_formed(messages: &[Option<Message>]) -> bool {
    messages.iter().all(|message| match message {
        None => false,
        Some(Message::Request { slot, .. } | Message::Cancel { slot, .. }) => usize::from(*slot) < REPLIES,
        Some(Message::Response { slot, .. } | Message::Refusal { slot, .. }) => usize::from(*slot) < CALLS,
        Some(_) => true,
    })
}
