//! The log of transmissions: which message went out in which packet, and when (`PROTOCOL.md §9.2`).

use crate::time::{Instant, Stamp};
use crate::wire::{AckField, BITMAP_REACH, Count, PacketNumber, Sequence, distance, number_len};

/// Packets in a row that ask for no ack.
const MAX_UNELICITING: u8 = 64;

/// A log of at most so many entries is read from its beginning. In a longer one the place is looked for.
const SHORT_LOG: usize = 64;

/// A packet whose number is so far below the largest acknowledged one is probably lost; with less, frames may have changed places.
/// On a slow line of the link model they come late by up to three frames of 256 bytes, which are five packets of one message each.
const MANY: i32 = 6;

/// How far a packet's number is below the largest acknowledged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overtaken {
    /// By less than six: that may be reordering.
    ByFew,
    /// By six or more.
    ByMany,
}

/// A message, named so that a later one in the same place is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) enum MessageId {
    Ping,
    Request { slot: u8, sequence: u8 },
    Cancel { slot: u8, sequence: u8 },
    Reply { slot: u8, sequence: u8 },
    Notify { sequence: Sequence },
}

/// One message in one packet: an entry of the log. Only its number matters to the outside.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct Transmission {
    /// Low half of the packet number; the log never spans more.
    number: u32,
    at: Stamp,
    /// `None` once acknowledged or lost.
    message: Option<MessageId>,
}

impl Transmission {
    /// An unused entry.
    pub const NONE: Self = Self { number: 0, at: Instant::from_micros(0).stamp(), message: None };
}

/// What a fresh ack tells of the round trip, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// The time since its packet went out.
    Exactly(u32),
    /// The time since a later packet went out: the log does not know, or has forgotten, its own.
    AtLeast(u32),
}

/// The messages that may be in the log, and the memory of the log.
pub(crate) trait Outbox {
    fn log(&mut self) -> &mut [Transmission];

    /// Whether `message` still needs its transmission in packet `number`: nobody has acknowledged it, it was not sent
    /// later, and does not wait to be.
    fn needs(&mut self, message: MessageId, number: u32) -> bool;

    /// Sends `message` again.
    fn repeat(&mut self, message: MessageId);

    /// The peer has `message`.
    fn acked(&mut self, message: MessageId);

    /// Packet `number` has arrived, or is lost. Told once, of packets that ask for an ack.
    fn settled(&mut self, number: u32, is_lost: bool);
}

/// The sending side of a packet-number space. The log is a ring in lent memory, oldest first.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Sent {
    next: PacketNumber,
    /// The largest acknowledged number plus one, its low half.
    base: u32,
    head: Count,
    len: Count,
    /// Packets since the last one that asked for an ack.
    uneliciting: u8,
}

impl Sent {
    pub(crate) const fn new() -> Self {
        Self { next: PacketNumber::ZERO, base: 0, head: 0, len: 0, uneliciting: 0 }
    }

    /// The number of the next packet.
    pub(crate) const fn next(&self) -> PacketNumber {
        self.next
    }

    /// The largest acknowledged number plus one, its low half: the base for restoring truncated acks.
    pub(crate) const fn base(&self) -> u32 {
        self.base
    }

    /// Bytes that the next packet carries of its number: a hard rule for every packet (H7 of the design,
    /// `PROTOCOL.md §5.1`).
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn next_len(&self) -> usize {
        number_len(self.next.low, self.base)
    }

    /// Whether the next packet must ask for an ack, so that numbers do not run away from what the peer has
    /// acknowledged.
    pub(crate) const fn must_elicit(&self) -> bool {
        self.uneliciting >= MAX_UNELICITING
    }

    /// Whether no transmission is remembered.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the log can take one more transmission: it has room, or its oldest one matters no more.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn has_room(&self, out: &mut impl Outbox) -> bool {
        if (self.len as usize) < out.log().len() {
            return true;
        }
        match self.entry(out.log(), 0) {
            Some(Transmission { number, message: Some(message), .. }) => !out.needs(message, number),
            _ => true,
        }
    }

    /// Notes that `message` goes out in the next packet. There must be room in the log: its oldest entry is forgotten if
    /// it is full.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn push(&mut self, log: &mut [Transmission], now: Stamp, message: MessageId) {
        // Without memory there is no oldest one.
        if (self.len as usize) >= log.len().max(1) {
            self.forget_oldest(log.len());
            self.trim(log);
        }
        let index = self.index(log.len(), self.len);
        if let Some(entry) = log.get_mut(index) {
            *entry = Transmission { number: self.next.low, at: now, message: Some(message) };
            self.len = self.len.wrapping_add(1);
        }
    }

    /// The next packet is complete.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn packet_sent(&mut self, is_eliciting: bool) {
        self.next = self.next.next();
        self.uneliciting = if is_eliciting { 0 } else { self.uneliciting.saturating_add(1) };
    }

    /// Takes back an entry of the last packet, newest first: the port did not take it. Its message and the packet's
    /// number.
    pub(crate) fn pop_last(&mut self, log: &mut [Transmission]) -> Option<(MessageId, u32)> {
        let last = self.next.low.wrapping_sub(1);
        let at = self.len.checked_sub(1)?;
        let entry = self.entry(log, at).filter(|entry| entry.number == last)?;
        self.len = at;
        Some((entry.message?, last))
    }

    /// Handles an ack, whose number was restored. Says whether it told of a message that was not acknowledged before, and what it tells of the round
    /// trip if it is fresh, or anything at all if `is_anything_welcome`.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn handle_ack(
        &mut self,
        out: &mut impl Outbox,
        now: Stamp,
        ack: &AckField,
        is_anything_welcome: bool,
    ) -> (bool, Option<Sample>) {
        let is_news = distance(self.base, ack.largest) >= 0;
        if is_news {
            self.base = ack.largest.wrapping_add(1);
        }
        let (mut has_acked, mut sample) = (false, None);
        let mut last = None;
        for offset in self.first_from(out.log(), ack.largest.wrapping_sub(BITMAP_REACH))..self.len {
            let index = self.index(out.log().len(), offset);
            let Some(entry) = out.log().get_mut(index) else { break };
            let (number, elapsed) = (entry.number, entry.at.elapsed_micros(now));
            let behind = distance(number, ack.largest);
            if behind < 0 {
                // Sent later than the packet that the ack names.
                sample = sample.or(Some(Sample::AtLeast(elapsed)));
                break;
            }
            if ack.covers(behind.cast_unsigned())
                && let Some(message) = entry.message.take()
            {
                out.acked(message);
                if last.replace(number) != Some(number) {
                    out.settled(number, false);
                }
                has_acked = true;
                if behind == 0 {
                    sample = Some(Sample::Exactly(elapsed));
                }
            }
        }
        self.trim(out.log());
        let is_usable = is_anything_welcome && matches!(sample, Some(Sample::Exactly(_)));
        (has_acked, sample.filter(|_| is_news && (ack.fresh || is_usable)))
    }

    /// Has the messages of lost packets sent again: of those which a later one that was acknowledged has overtaken, and
    /// which are as old as `age` tells, in microseconds. Returns whether there was any.
    pub(crate) fn repeat_lost(&mut self, out: &mut impl Outbox, now: Stamp, age: impl Fn(Overtaken) -> u32) -> bool {
        let mut has_any = false;
        let mut last = None;
        for offset in 0..self.len {
            let index = self.index(out.log().len(), offset);
            let Some(entry) = out.log().get_mut(index) else { break };
            let number = entry.number;
            if !overtaken(number, self.base).is_some_and(|overtaken| entry.at.is_over(now, age(overtaken))) {
                break;
            }
            if let Some(message) = entry.message.take() {
                if last.replace(number) != Some(number) {
                    out.settled(number, true);
                }
                has_any |= repeat(out, message, number);
            }
        }
        self.trim(out.log());
        has_any
    }

    /// Has all messages sent again that went out at least `age` microseconds ago and are not acknowledged. Returns whether
    /// there was any.
    pub(crate) fn repeat_older_than(&mut self, out: &mut impl Outbox, now: Stamp, age: u32) -> bool {
        let mut has_any = false;
        for offset in 0..self.len {
            let Some(Transmission { number, at, message }) = self.entry(out.log(), offset) else { break };
            if !at.is_over(now, age) {
                break;
            }
            if let Some(message) = message {
                has_any |= repeat(out, message, number);
            }
        }
        has_any
    }

    /// Whether so many more can be remembered without forgetting any.
    pub(crate) fn has_spare(&self, log: &[Transmission], count: u16) -> bool {
        (self.len as usize).saturating_add(usize::from(count)) <= log.len()
    }

    /// Has the messages of the last packet sent again.
    pub(crate) fn repeat_last(&self, out: &mut impl Outbox) {
        let last = self.next.low.wrapping_sub(1);
        for offset in (0..self.len).rev() {
            match self.entry(out.log(), offset) {
                Some(Transmission { number, message: Some(message), .. }) if number == last => {
                    repeat(out, message, number);
                }
                _ => break,
            }
        }
    }

    /// When the oldest packet went out that is not settled.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn oldest(&self, log: &mut [Transmission]) -> Option<Stamp> {
        self.entry(log, 0).map(|oldest| oldest.at)
    }

    /// When the oldest packet went out, if it was overtaken.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn oldest_overtaken(&self, log: &mut [Transmission]) -> Option<(Stamp, Overtaken)> {
        let oldest = self.entry(log, 0)?;
        Some((oldest.at, overtaken(oldest.number, self.base)?))
    }

    /// When the oldest transmission went out that is still needed.
    pub(crate) fn oldest_needed(&self, out: &mut impl Outbox) -> Option<Stamp> {
        for offset in 0..self.len {
            let Transmission { number, at, message } = self.entry(out.log(), offset)?;
            if let Some(message) = message
                && out.needs(message, number)
            {
                return Some(at);
            }
        }
        None
    }

    /// The place of the first entry whose packet has this number or a higher one, or any before it in a short log.
    #[cfg_attr(feature = "speed", inline)]
    fn first_from(&self, log: &mut [Transmission], number: u32) -> Count {
        let is_long = log.len() > SHORT_LOG && (self.len as usize) > SHORT_LOG;
        let (mut low, mut high) = (0, if is_long { self.len } else { 0 });
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(log, middle).is_some_and(|entry| distance(entry.number, number) > 0) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }

    /// Forgets what is settled in front.
    #[cfg_attr(feature = "speed", inline)]
    fn trim(&mut self, log: &mut [Transmission]) {
        while self.entry(log, 0).is_some_and(|entry| entry.message.is_none()) {
            self.forget_oldest(log.len());
        }
    }

    #[cfg_attr(feature = "speed", inline)]
    fn forget_oldest(&mut self, capacity: usize) {
        self.head = self.index(capacity, 1) as Count;
        self.len = self.len.saturating_sub(1);
    }

    #[cfg_attr(feature = "speed", inline)]
    fn entry(&self, log: &mut [Transmission], offset: Count) -> Option<Transmission> {
        if offset < self.len { log.get(self.index(log.len(), offset)).copied() } else { None }
    }

    #[cfg_attr(feature = "speed", inline)]
    fn index(&self, capacity: usize, offset: Count) -> usize {
        let index = (self.head as usize).wrapping_add(offset as usize);
        index.checked_sub(capacity).unwrap_or(index)
    }

    /// For the model checker: the same log with its ring at the start and nothing in the unused rest.
    #[cfg(bowline_model)]
    pub(crate) fn normalise(&mut self, log: &mut [Transmission]) {
        self.trim(log);
        log.rotate_left(self.head as usize);
        self.head = 0;
        log.iter_mut().skip(self.len as usize).for_each(|entry| *entry = Transmission::NONE);
    }

    /// Invariants: base ≤ next, the ring is inside its memory, the oldest entry is not settled, numbers ascend and are
    /// below next.
    pub(crate) fn check_invariants(&self, log: &mut [Transmission]) {
        debug_assert!(distance(self.base, self.next.low) >= 0);
        debug_assert!((self.len as usize) <= log.len());
        debug_assert!((self.head as usize) < log.len().max(1));
        if cfg!(debug_assertions) {
            debug_assert!(self.entry(log, 0).is_none_or(|oldest| oldest.message.is_some()));
            let mut last = None;
            for offset in 0..self.len {
                let number = self.entry(log, offset).map(|entry| entry.number);
                debug_assert!(last.is_none() || number >= last || number.is_some_and(|number| number < 1 << 16));
                last = number;
            }
        }
    }
}

/// Whether packet `number` was overtaken, where the largest acknowledged one is below `base`.
#[cfg_attr(feature = "speed", inline)]
fn overtaken(number: u32, base: u32) -> Option<Overtaken> {
    match distance(number, base) {
        ..=0 => None,
        ahead if ahead > MANY => Some(Overtaken::ByMany),
        _ => Some(Overtaken::ByFew),
    }
}

/// Has `message` sent again, if it needs its transmission in packet `number`.
fn repeat(out: &mut impl Outbox, message: MessageId, number: u32) -> bool {
    let is_needed = out.needs(message, number);
    if is_needed {
        out.repeat(message);
    }
    is_needed
}

#[cfg(test)]
mod tests;
