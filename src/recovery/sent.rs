//! The log of transmissions: which message went out in which packet, and when (`PROTOCOL.md §9.2`).

use crate::time::{Instant, Stamp};
use crate::wire::{BITMAP_REACH, PacketNumber, number_len};

/// Packets in a row that ask for no ack.
const MAX_UNELICITING: u8 = 64;

/// A message, named so that a later one in the same place is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageId {
    Ping,
    Request { slot: u8, sequence: u8 },
    Cancel { slot: u8, sequence: u8 },
    Reply { slot: u8, sequence: u8 },
    Notify { sequence: u16 },
}

/// One message in one packet: an entry of the log. Only its number matters to the outside.
#[derive(Clone, Copy, Debug)]
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

/// An ack, restored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) largest: PacketNumber,
    pub(crate) bitmap: u64,
    pub(crate) reach: u32,
    pub(crate) is_fresh: bool,
}

impl Ack {
    /// Whether the packet `behind` the largest has come.
    fn covers(&self, behind: u32) -> bool {
        match behind.checked_sub(1) {
            None => true,
            Some(bit) if bit < self.reach.min(BITMAP_REACH) => (self.bitmap >> bit) & 1 != 0,
            Some(_) => false,
        }
    }
}

/// What a fresh ack tells of the round trip, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// The time since its packet went out.
    Exactly(u32),
    /// The time since a later packet went out: the log does not know, or has forgotten, its own.
    AtLeast(u32),
}

/// The sending side of a packet-number space. The log is a ring in lent memory, oldest first.
#[derive(Debug)]
pub(crate) struct Sent {
    next: PacketNumber,
    /// The largest acknowledged number plus one.
    base: PacketNumber,
    head: u16,
    len: u16,
    /// Packets since the last one that asked for an ack.
    uneliciting: u8,
}

impl Sent {
    pub(crate) const fn new() -> Self {
        Self { next: PacketNumber::ZERO, base: PacketNumber::ZERO, head: 0, len: 0, uneliciting: 0 }
    }

    /// The number of the next packet.
    pub(crate) const fn next(&self) -> PacketNumber {
        self.next
    }

    /// The largest acknowledged number plus one: the base for restoring truncated acks.
    pub(crate) const fn base(&self) -> PacketNumber {
        self.base
    }

    /// Bytes that the next packet carries of its number: a hard rule for every packet (H7 of the design,
    /// `PROTOCOL.md §5.1`).
    pub(crate) const fn next_len(&self) -> usize {
        number_len(self.next, self.base)
    }

    /// Whether the next packet must ask for an ack, so that numbers do not run away from what the peer has
    /// acknowledged.
    pub(crate) const fn must_elicit(&self) -> bool {
        self.uneliciting >= MAX_UNELICITING
    }

    pub(crate) fn is_full(&self, log: &[Transmission]) -> bool {
        usize::from(self.len) >= log.len()
    }

    /// The message of the oldest entry, and its packet's number. Empty entries in front are removed first.
    pub(crate) fn oldest(&mut self, log: &[Transmission]) -> Option<(MessageId, u32)> {
        self.trim(log);
        let oldest = self.entry(log, 0)?;
        Some((oldest.message?, oldest.number))
    }

    /// Forgets the oldest entry.
    pub(crate) fn forget_oldest(&mut self, log: &[Transmission]) {
        if let Some(len) = self.len.checked_sub(1) {
            self.len = len;
            self.head = self.index(log, 1) as u16;
        }
    }

    /// Notes that `message` goes out in the next packet. The log must not be full.
    pub(crate) fn push(&mut self, log: &mut [Transmission], now: Instant, message: MessageId) {
        let index = self.index(log, self.len);
        if let Some(entry) = log.get_mut(index) {
            *entry = Transmission { number: self.next.get() as u32, at: now.stamp(), message: Some(message) };
            self.len = self.len.saturating_add(1);
        }
    }

    /// The next packet is complete.
    pub(crate) fn packet_sent(&mut self, is_eliciting: bool) {
        self.next = self.next.next();
        self.uneliciting = if is_eliciting { 0 } else { self.uneliciting.saturating_add(1) };
    }

    /// Takes back an entry of the last packet, newest first: the port did not take it. Its message and the packet's
    /// number.
    pub(crate) fn pop_last(&mut self, log: &[Transmission]) -> Option<(MessageId, u32)> {
        let last = self.next.back(1)?.get() as u32;
        let at = self.len.checked_sub(1)?;
        let entry = self.entry(log, at).filter(|entry| entry.number == last)?;
        self.len = at;
        Some((entry.message?, last))
    }

    /// Handles an ack: `acked` is told each message that has arrived. Says what the ack tells of the round trip if
    /// it is fresh, or anything at all if `is_anything_welcome`.
    pub(crate) fn handle_ack(
        &mut self,
        log: &mut [Transmission],
        now: Instant,
        ack: &Ack,
        is_anything_welcome: bool,
        mut acked: impl FnMut(MessageId),
    ) -> Option<Sample> {
        let is_news = ack.largest >= self.base;
        if is_news {
            self.base = ack.largest.next();
        }
        let largest = ack.largest.get() as u32;
        let mut sample = None;
        for offset in self.first_from(log, largest.wrapping_sub(BITMAP_REACH))..self.len {
            let index = self.index(log, offset);
            let Some(entry) = log.get_mut(index) else { break };
            let behind = largest.wrapping_sub(entry.number);
            if behind > u32::MAX / 2 {
                // Sent later than the packet that the ack names.
                sample = sample.or(Some(Sample::AtLeast(entry.at.elapsed_micros(now))));
                break;
            }
            if ack.covers(behind)
                && let Some(message) = entry.message.take()
            {
                acked(message);
                if behind == 0 {
                    sample = Some(Sample::Exactly(entry.at.elapsed_micros(now)));
                }
            }
        }
        self.trim(log);
        sample.filter(|sample| {
            let is_usable = is_anything_welcome && matches!(sample, Sample::Exactly(_));
            is_news && (ack.is_fresh || is_usable)
        })
    }

    /// Removes the packets that are lost, those older than `age` microseconds of which a later one was
    /// acknowledged; `lost` is told their messages and numbers.
    pub(crate) fn take_lost(
        &mut self,
        log: &mut [Transmission],
        now: Instant,
        age: u32,
        mut lost: impl FnMut(MessageId, u32),
    ) {
        let base = self.base.get() as u32;
        for offset in 0..self.len {
            let index = self.index(log, offset);
            let Some(entry) = log.get_mut(index) else { break };
            let is_below = base.wrapping_sub(entry.number).wrapping_sub(1) < u32::MAX / 2;
            if !is_below || entry.at.elapsed_micros(now) < age {
                break;
            }
            if let Some(message) = entry.message.take() {
                lost(message, entry.number);
            }
        }
        self.trim(log);
    }

    /// When the oldest packet below an acknowledged one becomes lost, `age` microseconds after it went out.
    pub(crate) fn lost_at(&mut self, log: &[Transmission], now: Instant, age: u32) -> Option<Instant> {
        self.trim(log);
        let oldest = self.entry(log, 0)?;
        let is_below = (self.base.get() as u32).wrapping_sub(oldest.number).wrapping_sub(1) < u32::MAX / 2;
        is_below.then(|| oldest.at.deadline(now, age))
    }

    /// Tells `visit` each message in the log, its packet's number, and its age in microseconds, oldest first, until
    /// it returns false.
    pub(crate) fn each(&self, log: &[Transmission], now: Instant, mut visit: impl FnMut(MessageId, u32, u32) -> bool) {
        for offset in 0..self.len {
            let Some(entry) = self.entry(log, offset) else { break };
            if let Some(message) = entry.message
                && !visit(message, entry.number, entry.at.elapsed_micros(now))
            {
                break;
            }
        }
    }

    /// The place of the first entry whose packet has this number or a higher one.
    fn first_from(&self, log: &[Transmission], number: u32) -> u16 {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            let is_below = |entry: &Transmission| entry.number.wrapping_sub(number) > u32::MAX / 2;
            if self.entry(log, middle).is_some_and(is_below) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }

    fn trim(&mut self, log: &[Transmission]) {
        while self.entry(log, 0).is_some_and(|entry| entry.message.is_none()) {
            self.forget_oldest(log);
        }
    }

    fn entry<'l>(&self, log: &'l [Transmission], offset: u16) -> Option<&'l Transmission> {
        if offset < self.len { log.get(self.index(log, offset)) } else { None }
    }

    fn index(&self, log: &[Transmission], offset: u16) -> usize {
        let index = usize::from(self.head).saturating_add(usize::from(offset));
        index.checked_sub(log.len()).unwrap_or(index)
    }

    /// Invariants: base ≤ next, the ring is inside its memory, numbers ascend and are below next.
    pub(crate) fn check_invariants(&self, log: &[Transmission]) {
        debug_assert!(self.base <= self.next);
        debug_assert!(usize::from(self.len) <= log.len());
        debug_assert!(usize::from(self.head) < log.len().max(1));
        if cfg!(debug_assertions) {
            let mut last = None;
            for offset in 0..self.len {
                let number = self.entry(log, offset).map(|entry| entry.number);
                debug_assert!(last.is_none() || number >= last || number.is_some_and(|number| number < 1 << 16));
                last = number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::time::Duration;

    const T0: Instant = Instant::from_micros(1_000);
    const PING: MessageId = MessageId::Ping;

    fn notify(sequence: u16) -> MessageId {
        MessageId::Notify { sequence }
    }

    fn ack(largest: u64, bitmap: u64, reach: u32) -> Ack {
        Ack { largest: PacketNumber::new(largest), bitmap, reach, is_fresh: true }
    }

    /// A log with one notify a packet, `sequence` = packet number.
    fn sent(log: &mut [Transmission], count: u16) -> Sent {
        let mut sent = Sent::new();
        for sequence in 0..count {
            sent.push(log, T0 + Duration::from_micros(u64::from(sequence)), notify(sequence));
            sent.packet_sent(true);
            sent.check_invariants(log);
        }
        sent
    }

    fn acked(sent: &mut Sent, log: &mut [Transmission], ack: &Ack) -> (Vec<MessageId>, Option<Sample>) {
        let mut messages = Vec::new();
        let sample =
            sent.handle_ack(log, T0 + Duration::from_micros(100), ack, false, |message| messages.push(message));
        sent.check_invariants(log);
        (messages, sample)
    }

    #[test]
    fn an_ack_reports_what_its_bitmap_covers_and_nothing_else() {
        let mut log = [Transmission::NONE; 8];
        let mut sent = sent(&mut log, 6);
        assert_eq!(
            acked(&mut sent, &mut log, &ack(4, 0b0101, 8)),
            (vec![notify(1), notify(3), notify(4)], Some(Sample::Exactly(96)))
        );
        assert_eq!(acked(&mut sent, &mut log, &ack(4, 0b0101, 8)), (vec![], None));
        assert_eq!(acked(&mut sent, &mut log, &ack(4, u64::MAX, 2)).0, vec![notify(2)]);
    }

    #[test]
    fn a_round_trip_sample_needs_a_fresh_ack_of_an_eliciting_packet() {
        let mut log = [Transmission::NONE; 8];
        let mut sent = sent(&mut log, 2);
        sent.packet_sent(false);
        assert_eq!(acked(&mut sent, &mut log, &ack(2, 0, 64)).1, None);
        assert_eq!(acked(&mut sent, &mut log, &ack(1, 0, 64)), (vec![notify(1)], None));
        let stale = Ack { is_fresh: false, ..ack(0, 0, 64) };
        assert_eq!(acked(&mut sent, &mut log, &stale), (vec![notify(0)], None));
    }

    #[test]
    fn the_first_sample_may_be_a_bad_one() {
        let mut log = [Transmission::NONE; 8];
        let mut sent = sent(&mut log, 2);
        let stale = Ack { is_fresh: false, ..ack(0, 0, 64) };
        let now = T0 + Duration::from_micros(70);
        assert_eq!(sent.handle_ack(&mut log, now, &stale, true, |_| ()), Some(Sample::Exactly(70)));
        assert_eq!(sent.handle_ack(&mut log, now, &stale, true, |_| ()), None);
    }

    #[test]
    fn a_packet_is_lost_when_a_later_one_was_acknowledged_and_it_is_old_enough() {
        let mut log = [Transmission::NONE; 8];
        let mut sent = sent(&mut log, 5);
        acked(&mut sent, &mut log, &ack(2, 0, 8));
        assert_eq!(sent.lost_at(&log, T0, 50), Some(T0 + Duration::from_micros(50)));
        let mut lost = Vec::new();
        sent.take_lost(&mut log, T0 + Duration::from_micros(50), 50, |message, _| lost.push(message));
        assert_eq!(lost, [notify(0)]);
        sent.take_lost(&mut log, T0 + Duration::from_micros(500), 50, |message, _| lost.push(message));
        assert_eq!(lost, [notify(0), notify(1)]);
        assert_eq!(sent.lost_at(&log, T0, 50), None);
    }

    #[test]
    fn a_refused_packet_is_taken_out_of_the_log() {
        let mut log = [Transmission::NONE; 4];
        let mut sent = sent(&mut log, 1);
        sent.push(&mut log, T0, PING);
        sent.push(&mut log, T0, notify(9));
        sent.packet_sent(true);
        assert_eq!(sent.pop_last(&log), Some((notify(9), 1)));
        assert_eq!(sent.pop_last(&log), Some((PING, 1)));
        assert_eq!(sent.pop_last(&log), None);
        assert_eq!(sent.oldest(&log), Some((notify(0), 0)));
    }

    #[test]
    fn the_ring_wraps() {
        let mut log = [Transmission::NONE; 3];
        let mut sent = sent(&mut log, 3);
        for number in 3..100 {
            assert!(sent.is_full(&log));
            sent.forget_oldest(&log);
            sent.push(&mut log, T0, notify(number));
            sent.packet_sent(true);
            sent.check_invariants(&log);
            assert_eq!(sent.oldest(&log), Some((notify(number - 2), u32::from(number - 2))));
        }
    }

    #[test]
    fn h7_numbers_get_longer_before_they_become_ambiguous() {
        let mut sent = Sent::new();
        let mut lens = Vec::new();
        for _ in 0..40_000 {
            lens.push(sent.next_len());
            sent.packet_sent(false);
        }
        assert_eq!((lens[127], lens[128], lens[32_767], lens[32_768]), (1, 2, 2, 3));
        assert!(sent.must_elicit());
        sent.handle_ack(&mut [], T0, &ack(39_999, u64::MAX, 64), false, |_| ());
        assert_eq!(sent.next_len(), 1);
    }
}
