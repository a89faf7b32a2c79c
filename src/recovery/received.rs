//! Which packets have come, and when to say so (`PROTOCOL.md §§5.2, 6`).

use super::{RoundTrip, Stragglers};
use crate::host_flag::HostFlag;
use crate::time::{Instant, Stamp};
use crate::wire::{
    AckField, BITMAP_REACH, Count, PacketNumber, REPLAY_WINDOW, STRAGGLERS, TAKES_STRAGGLERS, distance, notify_reach,
};

/// Eliciting packets that may wait for one ack.
const MAX_OWED: u8 = 8;

/// No outage is so long. Twice as far, what is ahead could no longer be told from what is behind.
const FAR: u32 = 1 << 30;

/// What a packet number says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Not received before; whether its number is the largest that ever came, which no repetition has.
    New {
        is_newest: bool,
    },
    Duplicate,
    /// Below the replay window: nobody knows any more. Or so far ahead that no honest peer is there.
    TooOld,
    /// Not received before, and below the replay window, but with nothing in it but notifies, of which older ones can be told
    /// from newer ones.
    Straggler,
}

/// What a packet that was taken asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asks {
    /// No ack.
    Nothing,
    /// A sign of life: it brought PINGs, which need no answer but one ack.
    SignOfLife,
    /// An ack, for messages of which all had come before.
    Again,
    /// An ack, for new messages.
    Ack,
}

/// The receiving side of a packet-number space.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Received {
    /// The largest number received plus one.
    next: PacketNumber,
    /// Bit i: number next − 2 − i has come. Numbers below zero have.
    history: u64,
    /// The low half of the largest number that arrived, taken or not, plus one: the replay window ends there. newest ≥
    /// next.
    newest: u32,
    /// Bytes with which the largest number came.
    largest_len: u8,
    /// When it came.
    largest_at: Stamp,
    /// When the oldest eliciting packet came that has had no ack.
    owed_since: Stamp,
    /// Eliciting packets that have had no ack.
    owed: u8,
    /// Packets since the last ack was sent.
    since_ack: u8,
    /// Whether an ack is owed at once.
    is_urgent: bool,
    /// Whether every packet repeats the ack: true from an eliciting packet on until the peer is known to have its
    /// ack.
    is_repeating: bool,
    /// Whether nothing but PINGs has come since no ack was repeated: theirs is sent once, for a PING comes again without.
    is_for_pings: bool,
    /// Whether a packet that asks for an ack has come since the last second copy.
    may_be_copied: bool,
    /// The first packet of ours that carried an ack of the newest eliciting packet, if all that followed did as well; the
    /// low half of its number.
    carrier: Option<u32>,
    stragglers: Stragglers,
}

impl Received {
    pub(crate) const fn new() -> Self {
        Self {
            next: PacketNumber::ZERO,
            history: u64::MAX,
            newest: 0,
            largest_len: 1,
            largest_at: Instant::from_micros(0).stamp(),
            owed_since: Instant::from_micros(0).stamp(),
            owed: 0,
            since_ack: 0,
            is_urgent: false,
            is_repeating: false,
            is_for_pings: false,
            may_be_copied: false,
            carrier: None,
            stragglers: Stragglers::new(),
        }
    }

    /// What the next number would be if nothing was lost: the base for restoring truncated ones.
    pub(crate) const fn next(&self) -> PacketNumber {
        self.next
    }

    /// A packet has come whose check is right: says what its number means. `is_notifies` tells whether it holds nothing but
    /// notifies.
    ///
    /// Packets whose messages are not taken move the replay window as well: else one that is never taken could come
    /// again when sequences have wrapped.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn arrive(&mut self, number: u32, is_notifies: impl FnOnce() -> bool) -> Arrival {
        let behind_newest = distance(number, self.newest);
        let is_far = number.wrapping_sub(self.next.low).wrapping_add(FAR) >= 2 * FAR;
        if is_far || behind_newest > REPLAY_WINDOW.cast_signed() + 1 {
            let is_straggler = TAKES_STRAGGLERS && !is_far && self.is_straggler(number, behind_newest, is_notifies);
            return if is_straggler { Arrival::Straggler } else { Arrival::TooOld };
        }
        if behind_newest <= 0 {
            self.newest = number.wrapping_add(1);
        }
        if self.has(number) { Arrival::Duplicate } else { Arrival::New { is_newest: behind_newest <= 0 } }
    }

    #[cold]
    fn is_straggler(&self, number: u32, behind: i32, is_notifies: impl FnOnce() -> bool) -> bool {
        behind <= STRAGGLERS.cast_signed() && self.stragglers.misses(number, self.next.low) && is_notifies()
    }

    /// Whether a packet that has arrived is still in the replay window, or where stragglers are taken. One that is not may
    /// hold sequences that have wrapped since.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn is_in_window(&self, number: u32, is_straggler: HostFlag) -> bool {
        let behind = distance(number, self.newest);
        behind <= REPLAY_WINDOW.cast_signed() + 1 || is_straggler.get() && behind <= STRAGGLERS.cast_signed()
    }

    /// How far ahead a notify in packet `number` with a short sequence is told from one that is behind (`PROTOCOL.md §7.4`):
    /// anywhere, if no sender may have more than 30 720 under way.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn notify_reach(&self, number: u32, is_straggler: HostFlag) -> Count {
        if TAKES_STRAGGLERS || is_straggler.get() { notify_reach(self.newest.wrapping_sub(number)) } else { Count::MAX }
    }

    /// Notes that the messages of the straggler `number` were taken. `len` is how many bytes of the number it carried.
    pub(crate) fn note_straggler(&mut self, number: u32, len: usize) {
        self.stragglers.owe(number, len);
    }

    /// Whether a straggler waits for its ack.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn owes_straggler(&self) -> bool {
        self.stragglers.is_ack_due()
    }

    /// The ack for a straggler: a packet of ours that says nothing of all others.
    pub(crate) fn take_straggler_ack(&mut self) -> Option<AckField> {
        self.ack_left_out();
        self.stragglers.take_ack()
    }

    /// Whether the messages of packet `number` were taken, as far as is remembered.
    #[cfg_attr(feature = "speed", inline)]
    fn has(&self, number: u32) -> bool {
        match distance(number, self.next.low) {
            ..=0 => false,
            1 => true,
            behind => self.bit(behind).is_none_or(|bit| self.history & bit != 0),
        }
    }

    /// The bit of the number `behind` the next one, if it is remembered.
    #[cfg_attr(feature = "speed", inline)]
    fn bit(&self, behind: i32) -> Option<u64> {
        let shift = behind.wrapping_sub(2).cast_unsigned();
        // On small machines two halves are cheaper than a shift of 64 bits.
        let half = 1_u32.wrapping_shl(shift);
        match shift {
            0..32 => Some(u64::from(half)),
            32..64 => Some(u64::from(half) << 32),
            _ => None,
        }
    }

    /// Whether a packet without news that comes now only follows the one before it, as the second copy of its messages
    /// or because both were sent again: what it tells is known, and the ack of the other suffices. That is so once for each
    /// packet: however long the round trip is believed to be, every second repetition draws an ack.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn is_copy(&mut self, now: Stamp, round_trip: &RoundTrip) -> bool {
        let is_close = self.is_repeating && self.largest_at.elapsed_micros(now) <= round_trip.fresh_micros();
        is_close && core::mem::replace(&mut self.may_be_copied, false)
    }

    /// Notes that the messages of packet `number` were taken. `len` is how many bytes of the number it carried.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn note(&mut self, now: Stamp, number: PacketNumber, len: usize, asks: Asks) {
        let ahead = distance(self.next.low, number.low);
        if ahead >= 0 {
            // The former largest moves into the history, and the numbers skipped after it are missing.
            self.history = self.history << 1 | 1;
            for _ in 0..ahead.min(BITMAP_REACH.cast_signed()) {
                self.history <<= 1;
            }
            self.stragglers.skip(self.next.low, ahead.cast_unsigned());
            self.next = number.next();
            self.largest_len = len as u8;
            self.largest_at = now;
        } else {
            self.history |= self.bit(ahead.wrapping_neg()).unwrap_or(0);
        }
        self.stragglers.note(number.low);
        self.since_ack = self.since_ack.saturating_add(1);
        if asks != Asks::Nothing {
            if self.owed == 0 {
                self.owed_since = now;
            }
            self.owed = self.owed.saturating_add(1);
            self.is_urgent |= ahead != 0 || asks != Asks::Ack || self.owed >= MAX_OWED;
            self.is_for_pings = asks == Asks::SignOfLife && (self.is_for_pings || !self.is_repeating);
            self.is_repeating = true;
            self.may_be_copied = true;
            self.carrier = None;
        }
    }

    /// Whether an ack has to go out now, with or without company.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn is_ack_due(&self, now: Stamp, round_trip: &RoundTrip) -> bool {
        self.is_urgent || self.owed > 0 && self.owed_since.is_over(now, round_trip.ack_delay_micros())
    }

    /// Since when an ack waits for a packet that it can ride on. One that is due waits for the port alone.
    pub(crate) fn ack_awaits_company_since(&self, now: Stamp, round_trip: &RoundTrip) -> Option<Stamp> {
        (self.owed > 0 && !self.is_ack_due(now, round_trip)).then_some(self.owed_since)
    }

    /// The ack for a packet that goes out now; its number is the low half of the full one.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn ack(&self, now: Stamp, round_trip: &RoundTrip) -> Option<AckField> {
        if !self.is_repeating {
            return None;
        }
        Some(AckField {
            largest: self.next.low.wrapping_sub(1),
            len: match self.largest_len {
                1 => 1,
                2 => 2,
                _ => 4,
            },
            bitmap: self.history,
            reach: match self.since_ack {
                0..=2 => 8,
                3..=8 => 32,
                _ => BITMAP_REACH,
            },
            fresh: self.largest_at.elapsed_micros(now) <= round_trip.fresh_micros(),
        })
    }

    /// Packet `number` of ours carries the ack; returns whether it was owed.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn ack_sent(&mut self, number: u32) -> bool {
        let was_owed = self.owed > 0;
        self.owed = 0;
        self.since_ack = 0;
        self.is_urgent = false;
        self.carrier.get_or_insert(number);
        self.is_repeating &= !self.is_for_pings;
        was_owed
    }

    /// A packet of ours carries no ack: that the peer has it will not say that it has the ack.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn ack_left_out(&mut self) {
        self.carrier = None;
    }

    /// The port did not take our packet `number`, which carried the ack.
    pub(crate) fn ack_refused(&mut self, number: u32, was_owed: bool) {
        if self.carrier == Some(number) {
            self.carrier = None;
        }
        // It is not known any more how many have come since the ack before.
        self.since_ack = u8::MAX;
        if was_owed && (self.is_repeating || self.is_for_pings) {
            self.is_repeating = true;
            self.owed = self.owed.max(1);
            self.is_urgent = true;
        }
    }

    /// The peer has our packets up to `largest`: if one of them carried the newest ack, it need not be repeated.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn peer_has(&mut self, largest: u32) {
        if self.carrier.is_some_and(|carrier| distance(carrier, largest) >= 0) {
            self.is_repeating = false;
        }
    }

    /// For the model checker: what no ack speaks of is forgotten.
    #[cfg(bowline_model)]
    pub(crate) fn normalise(&mut self) {
        if self.owed == 0 {
            self.owed_since = Instant::from_micros(0).stamp();
        }
        if !self.is_repeating {
            self.largest_at = Instant::from_micros(0).stamp();
        }
    }

    /// Invariants: an owed ack is repeated, and urgency is owed.
    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.owed == 0 || self.is_repeating);
        debug_assert!(!self.is_urgent || self.owed > 0);
        debug_assert!(distance(self.next.low, self.newest) >= 0);
        debug_assert!(!self.is_repeating || self.next != PacketNumber::ZERO);
    }
}

#[cfg(test)]
mod tests;
