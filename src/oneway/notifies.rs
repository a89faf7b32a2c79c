//! Notifies on their way out (`PROTOCOL.md §11.1`).

use crate::event::SendError;
use crate::recovery::MessageId;
use crate::storage::{move_payload, stored};
use crate::wire::{OneWay, OutMessage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits, or is under way.
    Open,
    /// Under way, and to be sent again.
    Lost,
    /// The peer has it; an earlier one is still open.
    Acked,
}

/// The memory of one notify on its way out.
#[derive(Clone, Copy, Debug)]
pub struct NotifySlot {
    /// Low half of the number of the packet that carried it last.
    last: u32,
    key: u16,
    len: u16,
    state: State,
}

impl NotifySlot {
    /// An unused slot.
    pub const FREE: Self = Self { last: 0, key: 0, len: 0, state: State::Open };
}

/// A ring of notifies: `sent` that were sent in this session, then those that wait.
#[derive(Debug)]
pub(crate) struct NotifiesState {
    /// Sequence of the first one in the ring, the lowest that is not acknowledged.
    base: u16,
    /// Where it is.
    head: u16,
    len: u16,
    /// base + sent is the sequence of the next fresh one. sent ≤ len.
    sent: u16,
    /// How many are to be sent again.
    lost: u16,
}

impl NotifiesState {
    pub(crate) const fn new() -> Self {
        Self { base: 0, head: 0, len: 0, sent: 0, lost: 0 }
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.len == 0
    }

    /// Whether one may be sent for the first time. At most `window` are under way.
    pub(crate) const fn has_fresh(&self, window: u16) -> bool {
        self.sent < self.len && self.sent < window
    }

    /// Whether any waits to be sent. At most `window` are under way.
    pub(crate) const fn has_waiting(&self, window: u16) -> bool {
        self.lost > 0 || self.has_fresh(window)
    }
}

/// The notifies on their way out, with their memory.
pub(crate) struct Notifies<'a> {
    pub(crate) state: &'a mut NotifiesState,
    pub(crate) slots: &'a mut [NotifySlot],
    pub(crate) payloads: &'a mut [u8],
    pub(crate) payload: usize,
}

impl<'a> Notifies<'a> {
    /// The slot of the next one.
    pub(crate) fn vacant(&self) -> Result<usize, SendError> {
        if usize::from(self.state.len) >= self.slots.len() {
            return Err(SendError::Full);
        }
        Ok(self.index(self.state.len))
    }

    /// Queues the next one, whose payload was written in its slot.
    pub(crate) fn push(&mut self, key: u16, len: u16) -> Result<(), SendError> {
        let index = self.vacant()?;
        *self.slots.get_mut(index).ok_or(SendError::Full)? = NotifySlot { key, len, ..NotifySlot::FREE };
        self.state.len = self.state.len.saturating_add(1);
        Ok(())
    }

    /// The sequence to send next: again what was lost, or what is fresh.
    pub(crate) fn next_to_send(&self, again: bool, window: u16) -> Option<u16> {
        if !again {
            return self.state.has_fresh(window).then(|| self.state.base.wrapping_add(self.state.sent));
        }
        if self.state.lost == 0 {
            return None;
        }
        let lost =
            (0..self.state.sent).find(|offset| self.slot(*offset).is_some_and(|slot| slot.state == State::Lost))?;
        Some(self.state.base.wrapping_add(lost))
    }

    /// Bytes that each waiting message takes at most.
    pub(crate) fn waiting_lens(&self, window: u16) -> impl Iterator<Item = usize> {
        let (sent, end) = (self.state.sent, self.state.len.min(window.max(self.state.sent)));
        (0..end).filter_map(move |offset| {
            let slot = self.slot(offset)?;
            let waits = offset >= sent || slot.state == State::Lost;
            waits.then(|| usize::from(slot.len).saturating_add(7))
        })
    }

    pub(crate) fn into_message(self, sequence: u16) -> Option<OutMessage<'a>> {
        let offset = sequence.wrapping_sub(self.state.base);
        let slot = self.slot(offset)?;
        let payload = stored(self.payloads, self.payload, self.index(offset), slot.len);
        Some(OutMessage::notify(OneWay { sequence, key: slot.key, payload }))
    }

    /// The notify goes out in packet `number`; says how to name it, and whether it had been sent before.
    pub(crate) fn sent(&mut self, sequence: u16, number: u32) -> Option<(MessageId, bool)> {
        let offset = sequence.wrapping_sub(self.state.base);
        let was_sent = offset < self.state.sent;
        let slot = self.slot_mut(offset)?;
        slot.last = number;
        let was_lost = core::mem::replace(&mut slot.state, State::Open) == State::Lost;
        self.state.lost = self.state.lost.saturating_sub(u16::from(was_lost));
        self.state.sent = self.state.sent.max(offset.saturating_add(1));
        Some((MessageId::Notify { sequence }, was_sent))
    }

    pub(crate) fn needs(&self, message: MessageId, number: u32) -> bool {
        self.current(message)
            .and_then(|offset| self.slot(offset))
            .is_some_and(|slot| slot.last == number && slot.state == State::Open)
    }

    pub(crate) fn repeat(&mut self, message: MessageId) {
        if let Some(slot) = self.current(message).and_then(|offset| self.slot_mut(offset))
            && slot.state == State::Open
        {
            slot.state = State::Lost;
            self.state.lost = self.state.lost.saturating_add(1);
        }
    }

    /// The peer has it. Slots are freed in order.
    pub(crate) fn acked(&mut self, message: MessageId) {
        let Some(slot) = self.current(message).and_then(|offset| self.slot_mut(offset)) else { return };
        let was_lost = core::mem::replace(&mut slot.state, State::Acked) == State::Lost;
        self.state.lost = self.state.lost.saturating_sub(u16::from(was_lost));
        while self.state.sent > 0 && self.slot(0).is_some_and(|slot| slot.state == State::Acked) {
            self.drop_first();
        }
    }

    /// The session is over: those that were sent may or may not have been delivered, and are given up. Returns how
    /// many; those that wait stay.
    pub(crate) fn end_session(&mut self) -> u16 {
        let unconfirmed = self.state.sent;
        for _ in 0..unconfirmed {
            self.drop_first();
        }
        self.state.base = 0;
        self.state.lost = 0;
        unconfirmed
    }

    /// Gives up those that wait and are longer than `limit`, the peer's largest payload; returns how many.
    pub(crate) fn begin_session(&mut self, limit: usize) -> u16 {
        let mut kept = 0;
        for offset in 0..self.state.len {
            let (from, to) = (self.index(offset), self.index(kept));
            let Some(slot) = self.slots.get(from).copied() else { break };
            if usize::from(slot.len) > limit {
                continue;
            }
            if from != to {
                if let Some(target) = self.slots.get_mut(to) {
                    *target = slot;
                }
                move_payload(self.payloads, self.payload, from, to, slot.len);
            }
            kept = kept.saturating_add(1);
        }
        core::mem::replace(&mut self.state.len, kept).saturating_sub(kept)
    }

    fn drop_first(&mut self) {
        self.state.head = self.index(1) as u16;
        self.state.base = self.state.base.wrapping_add(1);
        self.state.len = self.state.len.saturating_sub(1);
        self.state.sent = self.state.sent.saturating_sub(1);
    }

    /// The place of a notify that was sent and is not acknowledged, as an offset from the first.
    fn current(&self, message: MessageId) -> Option<u16> {
        let MessageId::Notify { sequence } = message else { return None };
        let offset = sequence.wrapping_sub(self.state.base);
        let is_open = offset < self.state.sent && self.slot(offset).is_some_and(|slot| slot.state != State::Acked);
        is_open.then_some(offset)
    }

    fn slot(&self, offset: u16) -> Option<&NotifySlot> {
        if offset < self.state.len { self.slots.get(self.index(offset)) } else { None }
    }

    fn slot_mut(&mut self, offset: u16) -> Option<&mut NotifySlot> {
        let index = self.index(offset);
        if offset < self.state.len { self.slots.get_mut(index) } else { None }
    }

    fn index(&self, offset: u16) -> usize {
        let index = usize::from(self.state.head).saturating_add(usize::from(offset));
        index.checked_sub(self.slots.len()).unwrap_or(index)
    }

    /// Invariants: the ring is inside its memory, what was sent comes first, and the lost are counted.
    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.state.sent <= self.state.len && usize::from(self.state.len) <= self.slots.len());
        if cfg!(debug_assertions) {
            let is_lost = |offset: &u16| self.slot(*offset).is_some_and(|slot| slot.state == State::Lost);
            debug_assert_eq!((0..self.state.sent).filter(is_lost).count(), usize::from(self.state.lost));
        }
    }
}
