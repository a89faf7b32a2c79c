//! Notifies on their way in: delivered in order, held back until the missing one comes (`PROTOCOL.md §11.1`).

use crate::storage::{store, stored};
use crate::wire::{HALF, OneWay};

/// The memory of one notify that came too early.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct HeldSlot {
    sequence: u16,
    key: u16,
    len: u16,
    is_filled: bool,
}

impl HeldSlot {
    /// An unused slot.
    pub const FREE: Self = Self { sequence: 0, key: 0, len: 0, is_filled: false };
}

/// What becomes of a notify that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the next one.
    Deliver,
    /// It is kept until its turn.
    Held,
    /// It had come before.
    Old,
    /// There is no room; it must come again.
    Wait,
}

/// The notify with sequence `expected + d` has its place at `head + d`, in a ring as long as there are slots. One
/// more than that can be taken: the expected one needs no slot, since it is delivered out of its frame.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct HeldState {
    /// Sequence of the next one to deliver.
    expected: u16,
    head: u16,
    /// How many in front belong to a session that is over. They were acknowledged, so they are still delivered,
    /// before anything new.
    left_over: u16,
}

impl HeldState {
    pub(crate) const fn new() -> Self {
        Self { expected: 0, head: 0, left_over: 0 }
    }
}

/// The notifies held back, with their memory.
pub(crate) struct Held<'a> {
    pub(crate) state: &'a mut HeldState,
    pub(crate) slots: &'a mut [HeldSlot],
    pub(crate) payloads: &'a mut [u8],
    pub(crate) payload: usize,
}

impl<'a> Held<'a> {
    /// Takes a notify that has come. From `reach` on it may as well lie far behind.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn take(&mut self, notify: &OneWay<'_>, reach: u16) -> Taken {
        if self.state.left_over > 0 {
            return Taken::Wait;
        }
        let ahead = notify.sequence.wrapping_sub(self.state.expected);
        if ahead >= HALF {
            return Taken::Old;
        }
        if ahead == 0 && !self.is_filled(0) {
            self.advance();
            return Taken::Deliver;
        }
        if usize::from(ahead) > self.slots.len() || ahead >= reach {
            return Taken::Wait;
        }
        let index = self.index(ahead);
        let Some(slot) = self.slots.get_mut(index) else { return Taken::Wait };
        if slot.is_filled {
            return if slot.sequence == notify.sequence { Taken::Old } else { Taken::Wait };
        }
        let Some(len) = store(self.payloads, self.payload, index, notify.payload) else { return Taken::Wait };
        *slot = HeldSlot { sequence: notify.sequence, key: notify.key, len, is_filled: true };
        Taken::Held
    }

    /// The next notify, if it is held: key and payload.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn poll(self) -> Option<(u16, &'a [u8])> {
        let index = self.index(0);
        if !self.is_filled(0) {
            return None;
        }
        let Self { state, slots, payloads, payload } = self;
        let slot = slots.get_mut(index)?;
        slot.is_filled = false;
        let (key, len) = (slot.key, slot.len);
        Held { state: &mut *state, slots: &mut *slots, payloads: &mut [], payload }.advance();
        if let Some(left_over) = state.left_over.checked_sub(1) {
            state.left_over = left_over;
            if left_over == 0 {
                slots.fill(HeldSlot::FREE);
                *state = HeldState::new();
            }
        }
        Some((key, stored(payloads, payload, index, len)))
    }

    /// The session is over. What is ready is still delivered; what waits for a missing one never can be.
    pub(crate) fn end_session(&mut self) {
        let ready = (0..self.slots.len() as u16).take_while(|offset| self.is_filled(*offset)).count();
        if ready == 0 {
            self.slots.fill(HeldSlot::FREE);
            *self.state = HeldState::new();
        }
        self.state.left_over = ready as u16;
    }

    /// Invariants: what is held lies ahead, each in its place, and what an earlier session has left is complete.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            debug_assert!(usize::from(self.state.head) < self.slots.len().max(1));
            for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.is_filled) {
                let ahead = slot.sequence.wrapping_sub(self.state.expected);
                debug_assert!(usize::from(ahead) <= self.slots.len() && self.index(ahead) == index);
            }
            debug_assert!((0..self.state.left_over).all(|offset| self.is_filled(offset)));
        }
    }

    fn advance(&mut self) {
        self.state.expected = self.state.expected.wrapping_add(1);
        if !self.slots.is_empty() {
            self.state.head = self.index(1) as u16;
        }
    }

    fn is_filled(&self, offset: u16) -> bool {
        let sequence = self.state.expected.wrapping_add(offset);
        self.slots.get(self.index(offset)).is_some_and(|slot| slot.is_filled && slot.sequence == sequence)
    }

    fn index(&self, offset: u16) -> usize {
        let index = usize::from(self.state.head).saturating_add(usize::from(offset));
        index.checked_sub(self.slots.len()).unwrap_or(index)
    }
}
