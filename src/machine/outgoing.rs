//! All messages on their way out under one roof: which is next, what it says, and what becomes of it.

use crate::oneway::{Notifies, NotifiesState, Publishes, PublishesState};
use crate::recovery::{MessageId, Outbox, Sizes, Transmission};
use crate::rpc::{Calls, CallsState, Replies, RepliesState};
use crate::storage::{Parts, Storage};
use crate::time::Instant;
use crate::wire::{Count, OutMessage, Sequence};

/// A PING: asks the peer for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(super) enum Ping {
    Idle,
    Queued,
    /// Went out in the packet with this number (low half), or another message did that asks for an ack as well.
    Sent(u32),
}

/// What the outgoing messages know besides their slots.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(super) struct OutgoingState {
    pub(super) calls: CallsState,
    pub(super) replies: RepliesState,
    pub(super) notifies: NotifiesState,
    pub(super) publishes: PublishesState,
    pub(super) ping: Ping,
    pub(super) sizes: Sizes,
}

impl OutgoingState {
    pub(super) const fn new() -> Self {
        Self {
            calls: CallsState::new(),
            replies: RepliesState::new(),
            notifies: NotifiesState::new(),
            publishes: PublishesState::new(),
            ping: Ping::Idle,
            sizes: Sizes::new(),
        }
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.used() == 0 && self.replies.is_idle() && self.notifies.is_idle() && !self.publishes.has_waiting()
    }

    /// Whether there is work that needs a session.
    pub(super) fn wants_session<S: Storage>(&self) -> bool {
        S::CALLS > 0 && self.calls.has_fresh() || S::NOTIFY_OUT > 0 && self.notifies.has_fresh(Count::MAX)
    }

    /// Whether a message waits that asks for an ack. At most `window` notifies may be under way.
    pub(super) fn has_waiting<S: Storage>(&self, window: Count) -> bool {
        S::REPLIES > 0 && self.replies.has_waiting()
            || S::CALLS > 0 && self.calls.has_waiting()
            || S::NOTIFY_OUT > 0 && self.notifies.has_waiting(window)
    }

    /// Joins the state with its memory.
    pub(super) const fn with<'a, S>(&'a mut self, storage: &'a mut S) -> Outgoing<'a, S> {
        Outgoing { state: self, storage }
    }
}

/// A message that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Call(u8),
    Reply(u8),
    Notify(Sequence),
}

/// The outgoing messages, with their memory. What the storage has no memory for is never there, and its code is left
/// out.
pub(super) struct Outgoing<'a, S> {
    pub(super) state: &'a mut OutgoingState,
    pub(super) storage: &'a mut S,
}

impl<'a, S: Storage> Outgoing<'a, S> {
    pub(super) fn into_calls(self) -> Calls<'a> {
        let Parts { calls: slots, call_payloads: payloads, payload, .. } = self.storage.lent();
        Calls { state: &mut self.state.calls, slots, payloads, payload }
    }

    pub(super) fn into_replies(self) -> Replies<'a> {
        let Parts { replies: slots, reply_payloads: payloads, payload, .. } = self.storage.lent();
        Replies { state: &mut self.state.replies, slots, payloads, payload }
    }

    pub(super) fn into_publishes(self) -> Publishes<'a> {
        let Parts { publishes: slots, publish_payloads: payloads, payload, .. } = self.storage.lent();
        Publishes { state: &mut self.state.publishes, slots, payloads, payload }
    }

    pub(super) fn calls(&mut self) -> Calls<'_> {
        self.reborrow().into_calls()
    }

    pub(super) fn replies(&mut self) -> Replies<'_> {
        self.reborrow().into_replies()
    }

    pub(super) fn notifies(&mut self) -> Notifies<'_> {
        let Parts { notifies: slots, notify_payloads: payloads, payload, .. } = self.storage.lent();
        Notifies { state: &mut self.state.notifies, slots, payloads, payload }
    }

    pub(super) fn publishes(&mut self) -> Publishes<'_> {
        self.reborrow().into_publishes()
    }

    fn reborrow(&mut self) -> Outgoing<'_, S> {
        self.state.with(self.storage)
    }

    /// The message to send next: what was lost before what is fresh, answers before questions.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(super) fn next(&mut self, window: Count) -> Option<Waiting> {
        for again in [true, false] {
            if S::REPLIES > 0
                && let Some(slot) = self.state.replies.next_to_send(again)
            {
                return Some(Waiting::Reply(slot));
            }
            if S::CALLS > 0
                && let Some(slot) = self.state.calls.next_to_send(again)
            {
                return Some(Waiting::Call(slot));
            }
            if S::NOTIFY_OUT > 0
                && let Some(sequence) = self.notifies().next_to_send(again, window)
            {
                return Some(Waiting::Notify(sequence));
            }
        }
        None
    }

    /// What it says. `default` is the time to live that a request need not tell, as it is told.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(super) fn message(&mut self, waiting: Waiting, now: Instant, default: u8) -> Option<OutMessage<'_>> {
        match waiting {
            Waiting::Call(slot) if S::CALLS > 0 => self.calls().into_message(slot, now, default),
            Waiting::Reply(slot) if S::REPLIES > 0 => self.replies().into_message(slot),
            Waiting::Notify(sequence) if S::NOTIFY_OUT > 0 => self.notifies().into_message(sequence),
            _ => None,
        }
    }

    /// It goes out in packet `number`; says how to name it, and whether it had been sent before.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(super) fn sent(&mut self, waiting: Waiting, number: u32) -> Option<(MessageId, bool)> {
        match waiting {
            Waiting::Call(slot) if S::CALLS > 0 => self.calls().sent(slot, number),
            Waiting::Reply(slot) if S::REPLIES > 0 => self.replies().sent(slot, number),
            Waiting::Notify(sequence) if S::NOTIFY_OUT > 0 => self.notifies().sent(sequence, number),
            _ => None,
        }
    }

    /// The port did not take the packet with the last transmission of `message`.
    pub(super) fn refused(&mut self, message: MessageId) {
        match message {
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls().refused(message),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies().refused(message),
            _ => self.repeat(message),
        }
    }

    pub(super) fn check_invariants(&mut self) {
        self.calls().check_invariants();
        self.replies().check_invariants();
        self.notifies().check_invariants();
        self.publishes().check_invariants();
    }
}

impl<S: Storage> Outbox for Outgoing<'_, S> {
    fn log(&mut self) -> &mut [Transmission] {
        self.storage.lent().sent
    }

    fn needs(&mut self, message: MessageId, number: u32) -> bool {
        match message {
            MessageId::Ping => self.state.ping == Ping::Sent(number),
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls().needs(message, number),
            MessageId::Reply { .. } if S::REPLIES > 0 => self.replies().needs(message, number),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies().needs(message, number),
            _ => false,
        }
    }

    fn repeat(&mut self, message: MessageId) {
        match message {
            MessageId::Ping => self.state.ping = Ping::Queued,
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls().repeat(message),
            MessageId::Reply { .. } if S::REPLIES > 0 => self.replies().repeat(message),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies().repeat(message),
            _ => {}
        }
    }

    #[cfg_attr(feature = "speed", inline(always))]
    fn acked(&mut self, message: MessageId) {
        match message {
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls().acked(message),
            MessageId::Reply { .. } if S::REPLIES > 0 => self.replies().acked(message),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies().acked(message),
            _ => {}
        }
    }

    #[cfg_attr(feature = "speed", inline)]
    fn settled(&mut self, number: u32, is_lost: bool) {
        if adapts::<S>() {
            self.state.sizes.note(number, is_lost);
        }
    }
}

/// Whether the length of packets follows their losses. Where frames are small there is little to choose, and the code
/// is left out.
pub(super) const fn adapts<S: Storage>() -> bool {
    S::PAYLOAD >= 128
}
