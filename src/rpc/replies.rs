//! The server's reply cache: the table of `PROTOCOL.md §10.3`, row by row.

use super::{bit, first, slots};
use crate::event::{Refusal, RespondError};
use crate::recovery::MessageId;
use crate::storage::stored;
use crate::story::{Story, tell};
use crate::wire::{MAX_SLOTS, OutMessage, next_sequence};

/// A request of the peer, until it is answered. It stays valid, and harmless, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RequestId {
    slot: u8,
    /// Counts the requests that this node was to execute.
    run: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
enum State {
    Idle,
    /// Its handler runs.
    Executing,
    /// Answered; the response is kept until the peer has it.
    Responded,
    /// Refused; likewise.
    Refused(Refusal),
    /// The handler of an earlier session still runs. Requests in this slot wait for it.
    Orphan,
}

/// The memory of one request and its reply.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct ReplySlot {
    /// What its handler runs as.
    run: u32,
    /// Low half of the number of the packet that carried the reply last.
    last: u32,
    len: u16,
    state: State,
    /// The last sequence taken, kept until the session ends: a late duplicate must not run again.
    taken: u8,
    /// Whether the handler was told that its caller cancelled.
    is_cancelled: bool,
}

impl ReplySlot {
    /// An unused slot.
    pub const IDLE: Self = Self { run: 0, last: 0, len: 0, state: State::Idle, taken: 0, is_cancelled: false };

    /// For the model checker: an idle slot remembers only the sequence that it has taken.
    #[cfg(bowline_model)]
    pub(crate) fn normalise(&mut self) {
        if self.state == State::Idle {
            *self = Self { taken: self.taken, ..Self::IDLE };
        }
    }

    fn request(&self, slot: u8) -> RequestId {
        RequestId { slot, run: self.run }
    }
}

/// What a request or cancel of the peer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A handler is to run.
    Execute(RequestId),
    /// Something else that had not been known.
    News,
    /// Nothing new.
    Old,
    /// It cannot be taken now and must come again.
    Wait,
}

/// What the reply cache knows besides its slots.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct RepliesState {
    /// How many requests were to be executed so far.
    runs: u32,
    fresh: u32,
    again: u32,
    /// Slots with a reply that the peer is not known to have, or a handler.
    used: u32,
    /// Slots whose handler is to be told that it is an orphan, or else that its caller cancelled.
    untold: u32,
}

impl RepliesState {
    pub(crate) const fn new() -> Self {
        Self { runs: 0, fresh: 0, again: 0, used: 0, untold: 0 }
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.used == 0
    }

    /// Whether a handler is to be told anything.
    pub(crate) const fn has_untold(&self) -> bool {
        self.untold != 0
    }

    /// Whether anything waits to be sent.
    pub(crate) const fn has_waiting(&self) -> bool {
        self.fresh | self.again != 0
    }
}

/// The reply cache, with its memory.
pub(crate) struct Replies<'a> {
    pub(crate) state: &'a mut RepliesState,
    pub(crate) slots: &'a mut [ReplySlot],
    pub(crate) payloads: &'a mut [u8],
    pub(crate) payload: usize,
}

impl<'a> Replies<'a> {
    /// Handles a request.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn handle_request(&mut self, index: u8, sequence: u8) -> Incoming {
        self.take(index, sequence, |replies, slot| {
            slot.state = State::Executing;
            replies.runs = replies.runs.wrapping_add(1);
            slot.run = replies.runs;
            slot.is_cancelled = false;
            replies.used |= bit(index);
            Incoming::Execute(slot.request(index))
        })
    }

    /// Handles a cancel. One that overtakes its request consumes the sequence, so that the request cannot run any
    /// more.
    pub(crate) fn handle_cancel(&mut self, index: u8, sequence: u8) -> Incoming {
        if let Some(slot) = self.slots.get_mut(usize::from(index))
            && slot.state == State::Executing
            && slot.taken == sequence
            && !slot.is_cancelled
        {
            slot.is_cancelled = true;
            self.state.untold |= bit(index);
            return Incoming::News;
        }
        self.take(index, sequence, |replies, slot| {
            slot.state = State::Refused(Refusal::Cancelled);
            replies.queue(index);
            Incoming::News
        })
    }

    /// Consumes a sequence if it is the next one: the one place where that happens.
    #[cfg_attr(feature = "speed", inline)]
    fn take(
        &mut self,
        index: u8,
        sequence: u8,
        take: impl FnOnce(&mut RepliesState, &mut ReplySlot) -> Incoming,
    ) -> Incoming {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return Incoming::Old };
        let is_next = sequence == next_sequence(slot.taken);
        match slot.state {
            State::Orphan => Incoming::Wait,
            State::Executing => Incoming::Old,
            _ if !is_next => Incoming::Old,
            State::Idle | State::Responded | State::Refused(_) => {
                // A newer sequence says that the reply before it has arrived.
                self.state.forget(index);
                slot.taken = sequence;
                take(self.state, slot)
            }
        }
    }

    /// The slot in which the response to `request` is to be written. An orphan's is of no use to anyone, and its
    /// handler has ended.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn awaiting(&mut self, request: RequestId) -> Result<u8, RespondError> {
        if self.running(request)? == State::Orphan {
            self.finish(request, State::Idle, 0)?;
        }
        Ok(request.slot)
    }

    /// The handler's response, of which `len` bytes were written in its slot.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn respond(&mut self, request: RequestId, len: u16) -> Result<(), RespondError> {
        self.running(request)?;
        self.finish(request, State::Responded, len)
    }

    /// The handler's refusal.
    pub(crate) fn refuse(&mut self, request: RequestId, refusal: Refusal) -> Result<(), RespondError> {
        if self.running(request)? == State::Executing
            && let Some(slot) = self.slots.get(usize::from(request.slot))
        {
            tell(Story::RequestRefused { slot: request.slot, sequence: slot.taken, refusal });
        }
        self.finish(request, State::Refused(refusal), 0)
    }

    /// The handler has ended without an answer. Only an orphan's slot is free then: the caller of any other still
    /// waits.
    pub(crate) fn abandon(&mut self, request: RequestId) {
        if self.running(request) == Ok(State::Orphan) {
            let _ = self.finish(request, State::Idle, 0);
        }
    }

    /// The state of the slot in which the handler of `request` runs.
    #[cfg_attr(feature = "speed", inline)]
    fn running(&self, request: RequestId) -> Result<State, RespondError> {
        self.slots
            .get(usize::from(request.slot))
            .filter(|slot| {
                matches!(slot.state, State::Executing | State::Orphan) && slot.request(request.slot) == request
            })
            .map(|slot| slot.state)
            .ok_or(RespondError::Stale)
    }

    /// The handler has ended.
    #[cfg_attr(feature = "speed", inline)]
    fn finish(&mut self, request: RequestId, state: State, len: u16) -> Result<(), RespondError> {
        let slot = self.slots.get_mut(usize::from(request.slot)).ok_or(RespondError::Stale)?;
        if slot.state == State::Orphan {
            slot.state = State::Idle;
            self.state.forget(request.slot);
            return Err(RespondError::Stale);
        }
        slot.state = state;
        slot.len = len;
        self.state.untold &= !bit(request.slot);
        self.state.queue(request.slot);
        Ok(())
    }

    /// The session is over: its replies are of no use to anyone, its handlers are orphans.
    pub(crate) fn end_session(&mut self) {
        for (slot, index) in self.slots.iter_mut().take(MAX_SLOTS).zip(0_u8..) {
            slot.taken = 0;
            match slot.state {
                State::Executing => {
                    slot.state = State::Orphan;
                    self.state.untold |= bit(index);
                }
                State::Orphan => {}
                State::Idle | State::Responded | State::Refused(_) => {
                    slot.state = State::Idle;
                    self.state.forget(index);
                }
            }
        }
    }

    /// The next handler to be told that it is an orphan.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn poll_orphaned(&mut self) -> Option<RequestId> {
        self.poll_untold(State::Orphan)
    }

    /// The next handler to be told that its caller cancelled.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn poll_cancelled(&mut self) -> Option<RequestId> {
        self.poll_untold(State::Executing)
    }

    #[cfg_attr(feature = "speed", inline)]
    fn poll_untold(&mut self, state: State) -> Option<RequestId> {
        let mut untold = self.state.untold;
        while let Some(index) = first(untold) {
            untold &= !bit(index);
            if let Some(slot) = self.slots.get(usize::from(index)).filter(|slot| slot.state == state) {
                self.state.untold &= !bit(index);
                return Some(slot.request(index));
            }
        }
        None
    }

    /// Bytes that each waiting message takes at most.
    pub(crate) fn waiting_lens(&self) -> impl Iterator<Item = usize> {
        let waiting = slots(self.state.fresh | self.state.again);
        waiting.filter_map(|index| Some(usize::from(self.slots.get(usize::from(index))?.len).saturating_add(3)))
    }

    /// The reply that slot `index` has to send.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn into_message(self, index: u8) -> Option<OutMessage<'a>> {
        let slot = self.slots.get(usize::from(index))?;
        Some(match slot.state {
            State::Refused(refusal) => OutMessage::refusal(index, slot.taken, refusal.code()),
            _ => {
                let payload = stored(self.payloads, self.payload, usize::from(index), slot.len);
                OutMessage::response(index, slot.taken, payload)
            }
        })
    }

    /// The reply of slot `index` goes out in packet `number`; says how to name it, and whether it had been sent
    /// before.
    pub(crate) fn sent(&mut self, index: u8, number: u32) -> Option<(MessageId, bool)> {
        let slot = self.slots.get_mut(usize::from(index))?;
        slot.last = number;
        let was_sent = self.state.fresh & bit(index) == 0;
        self.state.fresh &= !bit(index);
        self.state.again &= !bit(index);
        Some((MessageId::Reply { slot: index, sequence: slot.taken }, was_sent))
    }

    /// Whether `message` still needs its transmission in packet `number`.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn needs(&self, message: MessageId, number: u32) -> bool {
        self.current(message).is_some_and(|(index, slot)| slot.last == number && self.state.again & bit(index) == 0)
    }

    /// Sends `message` again.
    pub(crate) fn repeat(&mut self, message: MessageId) {
        if let Some((index, _)) = self.current(message) {
            self.state.again |= bit(index);
        }
    }

    /// The peer has `message`: its memory is free, its sequence stays taken.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn acked(&mut self, message: MessageId) {
        if let Some((index, _)) = self.current(message)
            && let Some(slot) = self.slots.get_mut(usize::from(index))
        {
            slot.state = State::Idle;
            self.state.forget(index);
        }
    }

    /// The slot whose reply this is now.
    #[cfg_attr(feature = "speed", inline)]
    fn current(&self, message: MessageId) -> Option<(u8, &ReplySlot)> {
        let MessageId::Reply { slot: index, sequence } = message else { return None };
        let slot = self.slots.get(usize::from(index)).filter(|slot| slot.taken == sequence)?;
        matches!(slot.state, State::Responded | State::Refused(_)).then_some((index, slot))
    }

    /// Invariants: sets and slots agree, what is to be sent is in one set alone, and was answered.
    pub(crate) fn check_invariants(&self) {
        debug_assert_eq!(self.state.fresh & self.state.again, 0);
        for (slot, index) in self.slots.iter().take(MAX_SLOTS).zip(0_u8..) {
            let is_in = |set: u32| set & bit(index) != 0;
            debug_assert_eq!(is_in(self.state.used), slot.state != State::Idle);
            let is_done = matches!(slot.state, State::Responded | State::Refused(_));
            debug_assert!(is_done || !is_in(self.state.fresh | self.state.again));
            debug_assert!(!is_in(self.state.untold) || matches!(slot.state, State::Executing | State::Orphan));
        }
    }
}

impl RepliesState {
    /// The next slot to send: again what was lost, or what is fresh.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn next_to_send(&self, again: bool) -> Option<u8> {
        first(if again { self.again } else { self.fresh })
    }

    /// Nothing is to be sent or told any more.
    #[cfg_attr(feature = "speed", inline)]
    fn forget(&mut self, index: u8) {
        let others = !bit(index);
        self.used &= others;
        self.fresh &= others;
        self.again &= others;
        self.untold &= others;
    }

    #[cfg_attr(feature = "speed", inline)]
    fn queue(&mut self, index: u8) {
        self.used |= bit(index);
        self.fresh |= bit(index);
    }
}

#[cfg(test)]
mod tests;
