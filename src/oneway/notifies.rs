//! Notifies on their way out (`PROTOCOL.md §11.1`).

use crate::event::SendError;
use crate::recovery::MessageId;
use crate::storage::{move_payload, stored};
use crate::wire::{Count, LowBits, OneWay, OutMessage, Sequence};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
enum State {
    /// Waits, or is under way: then `last` is the low half of the number of the packet that carried it last.
    Open { last: u32 },
    /// Under way, and to be sent again. Its neighbours in the list of all such, as places in the ring.
    Lost { before: Count, after: Count },
    /// The peer has it; an earlier one is still open.
    Acked,
}

/// The memory of one notify on its way out.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct NotifySlot {
    key: u16,
    len: u16,
    state: State,
}

impl NotifySlot {
    /// An unused slot.
    pub const FREE: Self = Self { key: 0, len: 0, state: State::Open { last: 0 } };
}

/// A ring of notifies: `sent` that were sent in this session, then those that wait.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct NotifiesState {
    /// Sequence of the first one in the ring, the lowest that is not acknowledged.
    base: Sequence,
    /// Where it is.
    head: Count,
    len: Count,
    /// base + sent is the sequence of the next fresh one. sent ≤ len.
    sent: Count,
    /// How many are to be sent again.
    lost: Count,
    /// The ends of their list, oldest loss first; nowhere if there are none.
    first_lost: Count,
    last_lost: Count,
}

/// No place in the ring.
const NOWHERE: Count = Count::MAX;

impl NotifiesState {
    pub(crate) const fn new() -> Self {
        Self { base: 0, head: 0, len: 0, sent: 0, lost: 0, first_lost: NOWHERE, last_lost: NOWHERE }
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.len == 0
    }

    /// Whether one may be sent for the first time. At most `window` are under way.
    pub(crate) const fn has_fresh(&self, window: Count) -> bool {
        self.sent < self.len && self.sent < window
    }

    /// Whether any waits to be sent. At most `window` are under way.
    pub(crate) const fn has_waiting(&self, window: Count) -> bool {
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
        if (self.state.len as usize) >= self.slots.len() {
            return Err(SendError::Full);
        }
        Ok(self.index(self.state.len))
    }

    /// Queues the next one, whose payload was written in its slot.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn push(&mut self, key: u16, len: u16) -> Result<(), SendError> {
        let index = self.vacant()?;
        *self.slots.get_mut(index).ok_or(SendError::Full)? = NotifySlot { key, len, ..NotifySlot::FREE };
        self.state.len = self.state.len.saturating_add(1);
        Ok(())
    }

    /// The sequence to send next: again what was lost, or what is fresh.
    pub(crate) fn next_to_send(&self, again: bool, window: Count) -> Option<Sequence> {
        if !again {
            return self.state.has_fresh(window).then(|| self.state.base.wrapping_add(self.state.sent));
        }
        let first = self.state.first_lost;
        let offset = (first as usize).checked_sub(self.state.head as usize);
        let offset = offset.unwrap_or_else(|| self.slots.len().saturating_sub((self.state.head - first) as usize));
        (first != NOWHERE).then(|| self.state.base.wrapping_add(offset as Count))
    }

    /// Bytes that each waiting message takes at most.
    pub(crate) fn waiting_lens(&self, window: Count) -> impl Iterator<Item = usize> {
        let lost = core::iter::successors(self.slots.get(self.state.first_lost as usize), |slot| match slot.state {
            State::Lost { after, .. } => self.slots.get(after as usize),
            State::Open { .. } | State::Acked => None,
        });
        let fresh = (self.state.sent..self.state.len.min(window)).filter_map(|offset| self.slot(offset));
        lost.chain(fresh).map(|slot| usize::from(slot.len).saturating_add(8))
    }

    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn into_message(self, sequence: Sequence) -> Option<OutMessage<'a>> {
        let offset = sequence.wrapping_sub(self.state.base);
        let slot = self.slot(offset)?;
        let payload = stored(self.payloads, self.payload, self.index(offset), slot.len);
        let sequence = LowBits::of(sequence, self.state.sent.max(offset.saturating_add(1)));
        Some(OutMessage::notify(OneWay { sequence, key: slot.key, payload }))
    }

    /// The notify goes out in packet `number`; says how to name it, and whether it had been sent before.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn sent(&mut self, sequence: Sequence, number: u32) -> Option<(MessageId, bool)> {
        let offset = sequence.wrapping_sub(self.state.base);
        let was_sent = offset < self.state.sent;
        self.replace(offset, State::Open { last: number });
        self.state.sent = self.state.sent.max(offset.saturating_add(1));
        Some((MessageId::Notify { sequence }, was_sent))
    }

    pub(crate) fn needs(&self, message: MessageId, number: u32) -> bool {
        self.current(message)
            .and_then(|offset| self.slot(offset))
            .is_some_and(|slot| slot.state == State::Open { last: number })
    }

    /// It was lost: sends it again when those that were lost before have gone.
    pub(crate) fn repeat(&mut self, message: MessageId) {
        self.list(message, self.state.last_lost, NOWHERE);
    }

    /// The port did not take it: sends it again before all others. Told of the newest first, which so keep their order.
    pub(crate) fn refused(&mut self, message: MessageId) {
        self.list(message, NOWHERE, self.state.first_lost);
    }

    /// Lists a notify that is under way among the lost, between two that are neighbours there.
    fn list(&mut self, message: MessageId, before: Count, after: Count) {
        let Some(offset) = self.current(message) else { return };
        if self.slot(offset).is_some_and(|slot| matches!(slot.state, State::Open { .. })) {
            let index = self.index(offset) as Count;
            self.replace(offset, State::Lost { before, after });
            self.link(before, index, index, after);
            self.state.lost = self.state.lost.saturating_add(1);
        }
    }

    /// The peer has it. Slots are freed in order.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn acked(&mut self, message: MessageId) {
        let Some(offset) = self.current(message) else { return };
        self.replace(offset, State::Acked);
        while self.state.sent > 0 && self.slot(0).is_some_and(|slot| slot.state == State::Acked) {
            self.drop_first();
        }
    }

    /// Changes the state of a notify; one that was lost is no longer listed.
    #[cfg_attr(feature = "speed", inline(always))]
    fn replace(&mut self, offset: Count, state: State) {
        let Some(slot) = self.slot_mut(offset) else { return };
        if let State::Lost { before, after } = core::mem::replace(&mut slot.state, state) {
            self.link(before, after, before, after);
            self.state.lost = self.state.lost.saturating_sub(1);
        }
    }

    /// In the list of the lost: behind `before` comes `next`, and in front of `after` `previous`.
    fn link(&mut self, before: Count, next: Count, previous: Count, after: Count) {
        match self.slots.get_mut(before as usize).map(|slot| &mut slot.state) {
            Some(State::Lost { after, .. }) => *after = next,
            _ => self.state.first_lost = next,
        }
        match self.slots.get_mut(after as usize).map(|slot| &mut slot.state) {
            Some(State::Lost { before, .. }) => *before = previous,
            _ => self.state.last_lost = previous,
        }
    }

    /// The session is over: those that were sent may or may not have been delivered, and are given up. Returns how
    /// many; those that wait stay.
    pub(crate) fn end_session(&mut self) -> Count {
        let unconfirmed = self.state.sent;
        for _ in 0..unconfirmed {
            self.drop_first();
        }
        (self.state.base, self.state.lost) = (0, 0);
        (self.state.first_lost, self.state.last_lost) = (NOWHERE, NOWHERE);
        unconfirmed
    }

    /// Gives up those that wait and are longer than `limit`, the peer's largest payload; returns how many.
    pub(crate) fn begin_session(&mut self, limit: usize) -> Count {
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
        self.state.head = self.index(1) as Count;
        self.state.base = self.state.base.wrapping_add(1);
        self.state.len = self.state.len.saturating_sub(1);
        self.state.sent = self.state.sent.saturating_sub(1);
    }

    /// The place of a notify that was sent in this session, as an offset from the first that is not acknowledged.
    fn current(&self, message: MessageId) -> Option<Sequence> {
        let MessageId::Notify { sequence } = message else { return None };
        let offset = sequence.wrapping_sub(self.state.base);
        (offset < self.state.sent).then_some(offset)
    }

    fn slot(&self, offset: Count) -> Option<&NotifySlot> {
        if offset < self.state.len { self.slots.get(self.index(offset)) } else { None }
    }

    fn slot_mut(&mut self, offset: Count) -> Option<&mut NotifySlot> {
        let index = self.index(offset);
        if offset < self.state.len { self.slots.get_mut(index) } else { None }
    }

    fn index(&self, offset: Count) -> usize {
        let index = (self.state.head as usize).saturating_add(offset as usize);
        index.checked_sub(self.slots.len()).unwrap_or(index)
    }

    /// Invariants: the ring is inside its memory, what was sent comes first, and the lost are counted.
    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.state.sent <= self.state.len && (self.state.len as usize) <= self.slots.len());
        if cfg!(debug_assertions) {
            let is_lost = |slot: &NotifySlot| matches!(slot.state, State::Lost { .. });
            let lost = (0..self.state.sent).filter_map(|offset| self.slot(offset)).filter(|slot| is_lost(slot)).count();
            let listed = self.waiting_lens(0).count();
            debug_assert_eq!((lost, listed), ((self.state.lost as usize), lost));
        }
    }
}
