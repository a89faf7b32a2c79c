//! The caller's slots: the table of `PROTOCOL.md §10.2`, row by row.

use super::{bit, first, slots};
use crate::event::{CallError, Executed, Reason, Refusal, SendError};
use crate::recovery::MessageId;
use crate::storage::stored;
use crate::story::{Story, tell};
use crate::time::{Instant, Soonest};
use crate::wire::{MAX_SLOTS, OutMessage, next_sequence, previous_sequence, time_to_live};

/// What may be done with a call whose session is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Semantics {
    /// It must not take effect twice: if the session ends while it is under way, it fails with *executed: maybe*.
    AtMostOnce,
    /// Taking effect twice is as good as once: it is sent again in the next session, until its deadline.
    Idempotent,
}

/// A call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Call {
    slot: u8,
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
enum State {
    Free,
    /// Waits to be sent in this session for the first time.
    Queued,
    /// Sent; the peer's word is awaited.
    Sent,
    /// Sent, then cancelled by the application, which still waits for the outcome.
    Cancelling,
    /// Ended for the application. The slot waits for the peer's word that its sequence is over.
    Draining,
}

/// The memory of one call.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub struct CallSlot {
    deadline: Instant,
    /// Low half of the number of the packet that carried the request or cancel last.
    last: u32,
    /// Tells the calls of this slot apart.
    generation: u32,
    key: u16,
    len: u16,
    /// How it ended, until the application has taken note.
    ended: Option<CallError>,
    state: State,
    sequence: u8,
    is_idempotent: bool,
    /// Sent in an earlier session: what the peer says in this one is not the whole truth.
    is_dirty: bool,
    /// Sent more than once in this session.
    is_repeated: bool,
}

impl CallSlot {
    /// An unused slot.
    pub const FREE: Self = Self {
        deadline: Instant::from_micros(0),
        last: 0,
        key: 0,
        len: 0,
        generation: 0,
        ended: None,
        state: State::Free,
        sequence: 0,
        is_idempotent: false,
        is_dirty: false,
        is_repeated: false,
    };

    /// For the model checker: a free slot remembers only what tells its next call from the last one.
    #[cfg(bowline_model)]
    pub(crate) fn normalise(&mut self) {
        if self.state == State::Free && self.ended.is_none() {
            *self = Self { generation: self.generation, sequence: self.sequence, ..Self::FREE };
        }
    }

    /// *executed: no*, unless the call may have been executed in an earlier session.
    const fn unless_dirty(&self, executed: Executed) -> Executed {
        if self.is_dirty { Executed::Maybe } else { executed }
    }
}

/// A server's word on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Response,
    Refused(Refusal),
}

/// What the set of calls knows besides its slots.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct CallsState {
    /// Slots that are not free.
    used: u32,
    /// Slots with something to send: fresh requests and cancels, and what has to be sent again.
    fresh: u32,
    again: u32,
    /// Slots whose message the peer is known to have.
    delivered: u32,
    /// Slots whose ending the application has not taken note of.
    ended: u32,
}

impl CallsState {
    pub(crate) const fn new() -> Self {
        Self { used: 0, fresh: 0, again: 0, delivered: 0, ended: 0 }
    }

    /// How many slots are taken.
    pub(crate) const fn used(&self) -> usize {
        (self.used | self.ended).count_ones() as usize
    }

    pub(crate) const fn has_used(&self) -> bool {
        self.used != 0
    }

    /// Whether there is an ending to report.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended != 0
    }

    pub(crate) const fn has_fresh(&self) -> bool {
        self.fresh != 0
    }

    /// Whether anything waits to be sent.
    pub(crate) const fn has_waiting(&self) -> bool {
        self.fresh | self.again != 0
    }

    /// The next slot to send: again what was lost, or what is fresh.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn next_to_send(&self, again: bool) -> Option<u8> {
        first(if again { self.again } else { self.fresh })
    }

    /// The call in `slot` ends without a response.
    fn end(&mut self, index: u8, slot: &mut CallSlot, reason: Reason, executed: Executed) {
        let error = CallError { reason, executed };
        tell(Story::CallFailed { slot: index, key: slot.key, error });
        slot.ended = Some(error);
        self.ended |= bit(index);
    }

    /// The slot may be used again, once its ending was taken note of.
    fn free(&mut self, index: u8, slot: &mut CallSlot) {
        slot.state = State::Free;
        self.used &= !bit(index);
        self.settle(index);
    }

    /// Nothing is to be sent.
    fn settle(&mut self, index: u8) {
        self.fresh &= !bit(index);
        self.again &= !bit(index);
        self.delivered &= !bit(index);
    }

    /// The server is to be told that nobody waits any more.
    fn send_cancel(&mut self, index: u8) {
        self.settle(index);
        self.fresh |= bit(index);
    }
}

/// The set of calls, with its memory.
pub(crate) struct Calls<'a> {
    pub(crate) state: &'a mut CallsState,
    pub(crate) slots: &'a mut [CallSlot],
    pub(crate) payloads: &'a mut [u8],
    pub(crate) payload: usize,
}

impl<'a> Calls<'a> {
    /// A free slot among the first `usable` ones.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn vacant(&self, usable: usize) -> Result<u8, SendError> {
        let index = first(!(self.state.used | self.state.ended)).ok_or(SendError::Full)?;
        if usize::from(index) < usable.min(self.slots.len()) { Ok(index) } else { Err(SendError::Full) }
    }

    /// Queues a call that ends at `deadline` in the vacant slot `index`, whose payload was written there.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn call(
        &mut self,
        index: u8,
        key: u16,
        semantics: Semantics,
        deadline: Instant,
        len: u16,
    ) -> Result<Call, SendError> {
        let slot = self.slots.get_mut(usize::from(index)).ok_or(SendError::Full)?;
        *slot = CallSlot {
            deadline,
            key,
            len,
            generation: slot.generation.wrapping_add(1),
            state: State::Queued,
            sequence: slot.sequence,
            is_idempotent: semantics == Semantics::Idempotent,
            ..CallSlot::FREE
        };
        self.state.used |= bit(index);
        self.state.fresh |= bit(index);
        Ok(Call { slot: index, generation: slot.generation })
    }

    /// The application no longer wants the call.
    pub(crate) fn cancel(&mut self, call: Call) {
        let Some(slot) = self.slots.get_mut(usize::from(call.slot)) else { return };
        if slot.generation != call.generation || slot.ended.is_some() {
            return;
        }
        match slot.state {
            State::Queued => {
                self.state.end(call.slot, slot, Reason::Cancelled, slot.unless_dirty(Executed::No));
                self.state.free(call.slot, slot);
            }
            State::Sent => {
                slot.state = State::Cancelling;
                self.state.send_cancel(call.slot);
            }
            State::Free | State::Cancelling | State::Draining => {}
        }
    }

    /// Ends the calls whose deadline has come. `is_reachable` is whether there is a session.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn expire(&mut self, now: Instant, is_reachable: bool) {
        self.each_waiting(|calls, index, slot| {
            if slot.deadline > now {
                return;
            }
            match slot.state {
                State::Queued => {
                    let was_sent = slot.is_dirty || is_reachable;
                    let reason = if was_sent { Reason::DeadlineExceeded } else { Reason::Unreachable };
                    calls.end(index, slot, reason, slot.unless_dirty(Executed::No));
                    calls.free(index, slot);
                }
                State::Sent => {
                    calls.end(index, slot, Reason::DeadlineExceeded, Executed::Maybe);
                    slot.state = State::Draining;
                    calls.send_cancel(index);
                }
                State::Cancelling => {
                    calls.end(index, slot, Reason::Cancelled, Executed::Maybe);
                    slot.state = State::Draining;
                }
                State::Free | State::Draining => {}
            }
        });
    }

    /// When the next call expires.
    pub(crate) fn next_deadline(&mut self, now: Instant, soonest: &mut Soonest) {
        self.each_waiting(|_, _, slot| {
            soonest.or_in(slot.deadline.saturating_duration_since(now).as_micros_u32());
        });
    }

    /// Handles the server's word on `slot`, `sequence`. The call that it completes is returned with `Response` when
    /// the application still waits for one; the flag says whether the word was new.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn handle_reply(&mut self, index: u8, sequence: u8, reply: Reply) -> (Option<Call>, bool) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return (None, false) };
        if slot.sequence != sequence {
            return (None, false);
        }
        let mut completed = None;
        match (slot.state, reply) {
            (State::Free | State::Queued, _) => return (None, false),
            (State::Sent, Reply::Response) => completed = Some(Call { slot: index, generation: slot.generation }),
            (State::Cancelling, Reply::Response) => self.state.end(index, slot, Reason::Cancelled, Executed::Yes),
            (State::Sent | State::Cancelling, Reply::Refused(refusal)) => {
                let is_ours = slot.state == State::Cancelling && refusal == Refusal::Cancelled;
                let reason = if is_ours { Reason::Cancelled } else { Reason::Refused(refusal) };
                let executed = match refusal.executed() {
                    Executed::No => slot.unless_dirty(Executed::No),
                    executed => executed,
                };
                self.state.end(index, slot, reason, executed);
            }
            (State::Draining, _) => {}
        }
        self.state.free(index, slot);
        (completed, true)
    }

    /// A session begins, in which `slots` slots and payloads of `limit` bytes may be used. Sequences start anew.
    pub(crate) fn begin_session(&mut self, slots: usize, limit: usize) {
        for slot in self.slots.iter_mut() {
            slot.sequence = 0;
        }
        self.each_waiting(|calls, index, slot| {
            let reason = if usize::from(slot.len) > limit {
                Reason::TooLarge { limit: limit as u16 }
            } else if usize::from(index) >= slots {
                Reason::Refused(Refusal::Busy)
            } else {
                return;
            };
            calls.end(index, slot, reason, slot.unless_dirty(Executed::No));
            calls.free(index, slot);
        });
    }

    /// The session is over.
    pub(crate) fn end_session(&mut self, reason: Reason) {
        self.each_used(|calls, index, slot| match slot.state {
            State::Free | State::Queued => {}
            State::Sent if slot.is_idempotent => {
                slot.state = State::Queued;
                slot.is_dirty = true;
                calls.settle(index);
                calls.fresh |= bit(index);
            }
            State::Sent | State::Cancelling => {
                calls.end(index, slot, reason, Executed::Maybe);
                calls.free(index, slot);
            }
            State::Draining => calls.free(index, slot),
        });
    }

    /// Ends the calls that wait to be sent: this node closes.
    pub(crate) fn close(&mut self) {
        self.each_waiting(|calls, index, slot| {
            if slot.state == State::Queued {
                calls.end(index, slot, Reason::Closed, slot.unless_dirty(Executed::No));
                calls.free(index, slot);
            }
        });
    }

    /// The next ending to report.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn poll_ended(&mut self) -> Option<(Call, CallError)> {
        let index = first(self.state.ended)?;
        self.state.ended &= !bit(index);
        let slot = self.slots.get_mut(usize::from(index))?;
        let error = slot.ended.take()?;
        Some((Call { slot: index, generation: slot.generation }, error))
    }

    /// Bytes that each waiting message takes at most.
    pub(crate) fn waiting_lens(&self) -> impl Iterator<Item = usize> {
        let waiting = slots(self.state.fresh | self.state.again);
        waiting.filter_map(|index| Some(usize::from(self.slots.get(usize::from(index))?.len).saturating_add(6)))
    }

    /// The message that slot `index` has to send. `default` is the time to live that need not be told, as it is told.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn into_message(self, index: u8, now: Instant, default: u8) -> Option<OutMessage<'a>> {
        let slot = self.slots.get(usize::from(index))?;
        let sequence = if slot.state == State::Queued { next_sequence(slot.sequence) } else { slot.sequence };
        Some(match slot.state {
            State::Queued | State::Sent => {
                let left = slot.deadline.saturating_duration_since(now);
                let time_to_live = (left < time_to_live::decode(default)).then(|| time_to_live::encode(left).max(1));
                let payload = stored(self.payloads, self.payload, usize::from(index), slot.len);
                OutMessage::request(index, sequence, slot.key, time_to_live, payload)
            }
            _ => OutMessage::cancel(index, sequence),
        })
    }

    /// The message of slot `index` goes out in packet `number`; says how to name it, and whether it had been sent
    /// before.
    pub(crate) fn sent(&mut self, index: u8, number: u32) -> Option<(MessageId, bool)> {
        let slot = self.slots.get_mut(usize::from(index))?;
        let was_sent = self.state.fresh & bit(index) == 0 || slot.state == State::Queued && slot.is_dirty;
        slot.is_repeated = slot.state != State::Queued;
        if slot.state == State::Queued {
            slot.state = State::Sent;
            slot.sequence = next_sequence(slot.sequence);
        }
        slot.last = number;
        self.state.fresh &= !bit(index);
        self.state.again &= !bit(index);
        let sequence = slot.sequence;
        let message = match slot.state {
            State::Sent => MessageId::Request { slot: index, sequence },
            _ => MessageId::Cancel { slot: index, sequence },
        };
        Some((message, was_sent))
    }

    /// Whether `message` still needs its transmission in packet `number`: it is wanted, was not sent later, and
    /// does not already wait to be sent.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn needs(&self, message: MessageId, number: u32) -> bool {
        let settled = self.state.fresh | self.state.again | self.state.delivered;
        self.current(message).is_some_and(|(index, slot)| slot.last == number && settled & bit(index) == 0)
    }

    /// The port did not take the packet with the last transmission of `message`. If it was the first one, the call
    /// was never sent in this session.
    pub(crate) fn refused(&mut self, message: MessageId) {
        let Some((index, _)) = self.current(message) else { return };
        match self.slots.get_mut(usize::from(index)) {
            Some(slot) if slot.state == State::Sent && !slot.is_repeated => {
                slot.state = State::Queued;
                slot.sequence = previous_sequence(slot.sequence);
                self.state.fresh |= bit(index);
            }
            _ => self.state.again |= bit(index),
        }
    }

    /// Sends `message` again.
    pub(crate) fn repeat(&mut self, message: MessageId) {
        if let Some((index, _)) = self.current(message) {
            self.state.again |= bit(index);
        }
    }

    /// The peer has `message`.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn acked(&mut self, message: MessageId) {
        if let Some((index, _)) = self.current(message) {
            self.state.again &= !bit(index);
            self.state.delivered |= bit(index);
        }
    }

    /// The slot whose message this is now.
    #[cfg_attr(feature = "speed", inline)]
    fn current(&self, message: MessageId) -> Option<(u8, &CallSlot)> {
        let (index, sequence, is_request) = match message {
            MessageId::Request { slot, sequence } => (slot, sequence, true),
            MessageId::Cancel { slot, sequence } => (slot, sequence, false),
            _ => return None,
        };
        let slot = self.slots.get(usize::from(index)).filter(|slot| slot.sequence == sequence)?;
        let is_current = match slot.state {
            State::Free | State::Queued => false,
            State::Sent => is_request,
            State::Cancelling | State::Draining => !is_request,
        };
        is_current.then_some((index, slot))
    }

    #[cfg_attr(feature = "speed", inline)]
    fn each_used(&mut self, mut change: impl FnMut(&mut CallsState, u8, &mut CallSlot)) {
        for index in slots(self.state.used) {
            if let Some(slot) = self.slots.get_mut(usize::from(index)) {
                change(self.state, index, slot);
            }
        }
    }

    /// Like [`Self::each_used`], for calls that have not ended.
    #[cfg_attr(feature = "speed", inline)]
    fn each_waiting(&mut self, mut change: impl FnMut(&mut CallsState, u8, &mut CallSlot)) {
        self.each_used(|calls, index, slot| {
            if slot.ended.is_none() && slot.state != State::Draining {
                change(calls, index, slot);
            }
        });
    }

    /// Invariants: sets and slots agree, and what is to be sent or delivered is in one set alone.
    pub(crate) fn check_invariants(&self) {
        let CallsState { fresh, again, delivered, .. } = *self.state;
        debug_assert_eq!(fresh & again | (fresh | again) & delivered, 0);
        for (slot, index) in self.slots.iter().take(MAX_SLOTS).zip(0_u8..) {
            let is_in = |set: u32| set & bit(index) != 0;
            debug_assert_eq!(is_in(self.state.used), slot.state != State::Free);
            debug_assert!(is_in(self.state.fresh) || slot.state != State::Queued);
            debug_assert!(!is_in(self.state.fresh) || !matches!(slot.state, State::Free | State::Sent));
            debug_assert!(!is_in(self.state.again) || !matches!(slot.state, State::Free | State::Queued));
            debug_assert!(!is_in(self.state.delivered) || !matches!(slot.state, State::Free | State::Queued));
            debug_assert_eq!(is_in(self.state.ended), slot.ended.is_some());
        }
    }
}

#[cfg(test)]
mod tests;
