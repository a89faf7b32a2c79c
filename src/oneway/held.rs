//! Notifies on their way in: delivered in order, held back until the missing one comes (`PROTOCOL.md §11.1`).

use crate::storage::{store, stored};
use crate::wire::{Count, LowBits, OneWay, Sequence};

/// The memory of one notify that came too early.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct HeldSlot {
    key: u16,
    len: u16,
    is_filled: bool,
}

impl HeldSlot {
    /// An unused slot.
    pub const FREE: Self = Self { key: 0, len: 0, is_filled: false };
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

/// A ring as long as there are slots: first those that are ready, then the first missing one, and behind it those that wait for
/// it. One more than there are slots can be taken: if none is ready, the missing one needs no slot, since it is delivered out
/// of its frame.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct HeldState {
    /// Sequence of the first missing one. The peer has no ack of it, nor of any later one that is not held: what it sends is told
    /// from what it sent before by the distance to this one, however many are ready.
    missing: Sequence,
    /// Where the first one is.
    head: Count,
    /// How many in front are ready: they came, and so did all before them.
    ready: Count,
    /// Whether they belong to a session that is over. They were acknowledged, so they are still delivered, before anything
    /// new.
    is_over: bool,
}

impl HeldState {
    pub(crate) const fn new() -> Self {
        Self { missing: 0, head: 0, ready: 0, is_over: false }
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
    pub(crate) fn take(&mut self, notify: &OneWay<'_, LowBits>, reach: Count) -> Taken {
        if self.state.is_over {
            return Taken::Wait;
        }
        let Some(ahead) = notify.sequence.ahead_of(self.state.missing) else { return Taken::Old };
        if ahead >= reach {
            return Taken::Wait;
        }
        if ahead == 0 && self.state.ready == 0 {
            self.state.missing = self.state.missing.wrapping_add(1);
            self.advance();
            self.extend();
            return Taken::Deliver;
        }
        let offset = (self.state.ready as usize).saturating_add(ahead as usize);
        // If any is ready, the first slot is taken.
        let room = self.slots.len().wrapping_add(usize::from(self.state.ready == 0));
        if offset >= room {
            return Taken::Wait;
        }
        let index = self.index(offset);
        let Some(slot) = self.slots.get_mut(index) else { return Taken::Wait };
        if slot.is_filled {
            return Taken::Old;
        }
        let Some(len) = store(self.payloads, self.payload, index, notify.payload) else { return Taken::Wait };
        *slot = HeldSlot { key: notify.key, len, is_filled: true };
        if ahead == 0 {
            self.extend();
        }
        Taken::Held
    }

    /// The next notify, if it is ready: key and payload.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn poll(mut self) -> Option<(u16, &'a [u8])> {
        let ready = self.state.ready.checked_sub(1)?;
        let index = self.state.head as usize;
        let slot = self.slots.get_mut(index)?;
        slot.is_filled = false;
        let (key, len) = (slot.key, slot.len);
        self.state.ready = ready;
        self.advance();
        if self.state.is_over && ready == 0 {
            self.reset();
        }
        Some((key, stored(self.payloads, self.payload, index, len)))
    }

    /// The session is over. What is ready is still delivered; what waits for a missing one never can be.
    pub(crate) fn end_session(&mut self) {
        self.state.is_over = self.state.ready > 0;
        if !self.state.is_over {
            self.reset();
        }
    }

    /// Invariants: what is ready is held, and the missing one is not.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let (slots, ready) = (self.slots.len(), self.state.ready as usize);
            debug_assert!((self.state.head as usize) < slots.max(1) && ready <= slots);
            debug_assert!((0..ready).all(|offset| self.is_filled(offset)));
            debug_assert!(ready == 0 || ready == slots || !self.is_filled(ready));
            debug_assert!(ready > 0 || !self.state.is_over);
        }
    }

    /// The first place belongs to the next one.
    fn advance(&mut self) {
        if !self.slots.is_empty() {
            self.state.head = self.index(1) as Count;
        }
    }

    /// What is held where the first missing one should be is ready.
    #[cfg_attr(feature = "speed", inline)]
    fn extend(&mut self) {
        while (self.state.ready as usize) < self.slots.len() && self.is_filled(self.state.ready as usize) {
            self.state.ready = self.state.ready.wrapping_add(1);
            self.state.missing = self.state.missing.wrapping_add(1);
        }
    }

    fn is_filled(&self, offset: usize) -> bool {
        self.slots.get(self.index(offset)).is_some_and(|slot| slot.is_filled)
    }

    fn reset(&mut self) {
        self.slots.fill(HeldSlot::FREE);
        *self.state = HeldState::new();
    }

    fn index(&self, offset: usize) -> usize {
        let index = (self.state.head as usize).saturating_add(offset);
        index.checked_sub(self.slots.len()).unwrap_or(index)
    }
}
