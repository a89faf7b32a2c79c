//! Publishes: sent once, the latest of a key replacing one that still waits (`PROTOCOL.md §11.2`).

use crate::event::SendError;
use crate::storage::stored;
use crate::wire::{OneWay, OutMessage, REPLAY_WINDOW};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
enum State {
    Free,
    Waiting,
    /// Handed to the port, which may still refuse it.
    Sent,
}

/// The memory of one publish that waits.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct PublishSlot {
    key: u16,
    len: u16,
    state: State,
}

impl PublishSlot {
    /// An unused slot.
    pub const FREE: Self = Self { key: 0, len: 0, state: State::Free };
}

/// Sequences of both directions, and how many wait.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct PublishesState {
    waiting: u16,
    /// How many went out in the last packet.
    in_last: u16,
    /// Sequence of the next one sent.
    next: u16,
    /// Sequence of the next one expected.
    expected: u16,
    /// Low half of the number of the packet that brought the last one.
    newest: u32,
}

impl PublishesState {
    pub(crate) const fn new() -> Self {
        Self { waiting: 0, in_last: 0, next: 0, expected: 0, newest: 0 }
    }

    pub(crate) const fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Whether any went out in the last packet.
    pub(crate) const fn has_sent(&self) -> bool {
        self.in_last > 0
    }

    /// Takes note of a publish that came in packet `number`: how many were missed before it, `None` if a newer one
    /// came first.
    ///
    /// Packets tell the order: after a long outage the sequences may have wrapped.
    pub(crate) fn take(&mut self, number: u32, sequence: u16) -> Option<u16> {
        let missed = sequence.wrapping_sub(self.expected);
        // The replay window lets no packet pass that is farther behind.
        let behind = self.newest.wrapping_sub(number);
        if (1..=REPLAY_WINDOW + 1).contains(&behind) || behind == 0 && missed > u16::MAX / 2 {
            return None;
        }
        self.newest = number;
        self.expected = sequence.wrapping_add(1);
        Some(missed)
    }
}

/// The publishes that wait, with their memory.
pub(crate) struct Publishes<'a> {
    pub(crate) state: &'a mut PublishesState,
    pub(crate) slots: &'a mut [PublishSlot],
    pub(crate) payloads: &'a mut [u8],
    pub(crate) payload: usize,
}

impl<'a> Publishes<'a> {
    /// The slot for a publish of this key: that of the one which it replaces, else a free one.
    pub(crate) fn vacant(&mut self, key: u16) -> Result<usize, SendError> {
        self.last_was_taken();
        let is_same = |slot: &PublishSlot| slot.state == State::Waiting && slot.key == key;
        let replaced = self.slots.iter().position(is_same);
        let free = || self.slots.iter().position(|slot| slot.state == State::Free);
        replaced.or_else(free).ok_or(SendError::Full)
    }

    /// Queues a publish whose payload was written in slot `index`.
    pub(crate) fn push(&mut self, index: usize, key: u16, len: u16) -> Result<(), SendError> {
        let slot = self.slots.get_mut(index).ok_or(SendError::Full)?;
        if slot.state != State::Waiting {
            self.state.waiting = self.state.waiting.saturating_add(1);
        }
        *slot = PublishSlot { key, len, state: State::Waiting };
        Ok(())
    }

    pub(crate) fn next_to_send(&self) -> Option<usize> {
        if self.state.waiting == 0 {
            return None;
        }
        self.slots.iter().position(|slot| slot.state == State::Waiting)
    }

    pub(crate) fn into_message(self, index: usize) -> Option<OutMessage<'a>> {
        let slot = self.slots.get(index)?;
        let payload = stored(self.payloads, self.payload, index, slot.len);
        Some(OutMessage::publish(OneWay { sequence: self.state.next, key: slot.key, payload }))
    }

    pub(crate) fn sent(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state = State::Sent;
            self.state.waiting = self.state.waiting.saturating_sub(1);
            self.state.in_last = self.state.in_last.saturating_add(1);
            self.state.next = self.state.next.wrapping_add(1);
        }
    }

    /// The port did not take the last packet: its publishes wait again.
    pub(crate) fn last_was_refused(&mut self) {
        self.state.next = self.state.next.wrapping_sub(self.state.in_last);
        self.settle_last(State::Waiting);
    }

    /// The port took the last packet: the memory of its publishes is free.
    pub(crate) fn last_was_taken(&mut self) {
        self.settle_last(State::Free);
    }

    /// Invariants: those that wait, and those in the last packet, are counted.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let count = |state| self.slots.iter().filter(|slot| slot.state == state).count();
            debug_assert_eq!(count(State::Waiting), usize::from(self.state.waiting));
            debug_assert_eq!(count(State::Sent), usize::from(self.state.in_last));
        }
    }

    fn settle_last(&mut self, state: State) {
        if !self.state.has_sent() {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.state == State::Sent) {
            slot.state = state;
            if state == State::Waiting {
                self.state.waiting = self.state.waiting.saturating_add(1);
            }
        }
        self.state.in_last = 0;
    }

    /// The session is over. What waits is still good for the next one.
    pub(crate) fn end_session(&mut self) {
        self.last_was_taken();
        self.state.next = 0;
        self.state.expected = 0;
        self.state.newest = 0;
    }

    /// Gives up those that are longer than `limit`, the peer's largest payload.
    pub(crate) fn begin_session(&mut self, limit: usize) {
        let is_too_long = |slot: &&mut PublishSlot| slot.state == State::Waiting && usize::from(slot.len) > limit;
        for slot in self.slots.iter_mut().filter(is_too_long) {
            slot.state = State::Free;
            self.state.waiting = self.state.waiting.saturating_sub(1);
        }
    }
}
