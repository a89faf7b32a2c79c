//! All messages on their way out under one roof: which is next, what it says, and what becomes of it.

use core::marker::PhantomData;

use crate::oneway::{Notifies, NotifiesState, Publishes, PublishesState};
use crate::recovery::{MessageId, Transmission};
use crate::rpc::{Calls, CallsState, Replies, RepliesState};
use crate::storage::{Storage};
use crate::time::{Duration, Instant};
use crate::wire::WireMessage;

/// A PING: asks the peer for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ping {
    Idle,
    Queued,
    /// Went out in the packet with this number (low half), or another message did that asks for an ack as well.
    Sent(u32),
}

/// What the outgoing messages know besides their slots.
#[derive(Debug)]
pub(super) struct OutgoingState {
    pub(super) calls: CallsState,
    pub(super) replies: RepliesState,
    pub(super) notifies: NotifiesState,
    pub(super) publishes: PublishesState,
    pub(super) ping: Ping,
}

impl OutgoingState {
    pub(super) const fn new() -> Self {
        Self {
            calls: CallsState::new(),
            replies: RepliesState::new(),
            notifies: NotifiesState::new(),
            publishes: PublishesState::new(),
            ping: Ping::Idle,
        }
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.used() == 0 && self.replies.is_idle() && self.notifies.is_idle() && !self.publishes.has_waiting()
    }

    /// Whether there is work that needs a session.
    pub(super) fn wants_session<S: Storage>(&self) -> bool {
        S::CALLS > 0 && self.calls.has_fresh() || S::NOTIFY_OUT > 0 && self.notifies.has_fresh(u16::MAX)
    }

    /// Whether a message waits that asks for an ack. At most `window` notifies may be under way.
    pub(super) fn has_waiting<S: Storage>(&self, window: u16) -> bool {
        S::REPLIES > 0 && self.replies.has_waiting()
            || S::CALLS > 0 && self.calls.has_waiting()
            || S::NOTIFY_OUT > 0 && self.notifies.has_waiting(window)
    }

    /// Joins the state with its memory; the log of transmissions comes apart.
    pub(super) fn with<'a, S: Storage>(&'a mut self, storage: &'a mut S) -> (Outgoing<'a, S>, &'a mut [Transmission]) {
        let parts = storage.lent();
        let payload = parts.payload;
        let outgoing = Outgoing {
            calls: Calls { state: &mut self.calls, slots: parts.calls, payloads: parts.call_payloads, payload },
            replies: Replies {
                state: &mut self.replies,
                slots: parts.replies,
                payloads: parts.reply_payloads,
                payload,
            },
            notifies: Notifies {
                state: &mut self.notifies,
                slots: parts.notifies,
                payloads: parts.notify_payloads,
                payload,
            },
            publishes: Publishes {
                state: &mut self.publishes,
                slots: parts.publishes,
                payloads: parts.publish_payloads,
                payload,
            },
            ping: &mut self.ping,
            storage: PhantomData,
        };
        (outgoing, parts.sent)
    }
}

/// A message that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Call(u8),
    Reply(u8),
    Notify(u16),
}

/// The outgoing messages, with their memory.
pub(super) struct Outgoing<'a, S> {
    pub(super) calls: Calls<'a>,
    pub(super) replies: Replies<'a>,
    pub(super) notifies: Notifies<'a>,
    pub(super) publishes: Publishes<'a>,
    pub(super) ping: &'a mut Ping,
    storage: PhantomData<S>,
}

/// What the storage has no memory for is never there, and its code is left out.
impl<S: Storage> Outgoing<'_, S> {
    /// The message to send next: what was lost before what is fresh, answers before questions.
    pub(super) fn next(&self, window: u16) -> Option<Waiting> {
        [true, false].into_iter().find_map(|again| {
            if S::REPLIES > 0
                && let Some(slot) = self.replies.next_to_send(again)
            {
                return Some(Waiting::Reply(slot));
            }
            if S::CALLS > 0
                && let Some(slot) = self.calls.next_to_send(again)
            {
                return Some(Waiting::Call(slot));
            }
            if S::NOTIFY_OUT > 0
                && let Some(sequence) = self.notifies.next_to_send(again, window)
            {
                return Some(Waiting::Notify(sequence));
            }
            None
        })
    }

    /// What it says. `default` is the time to live that a request need not tell.
    pub(super) fn message(&self, waiting: Waiting, now: Instant, default: Duration) -> Option<WireMessage<'_>> {
        match waiting {
            Waiting::Call(slot) if S::CALLS > 0 => self.calls.message(slot, now, default),
            Waiting::Reply(slot) if S::REPLIES > 0 => self.replies.message(slot),
            Waiting::Notify(sequence) if S::NOTIFY_OUT > 0 => self.notifies.message(sequence),
            _ => None,
        }
    }

    /// It goes out in packet `number`; says how to name it, and whether it had been sent before.
    pub(super) fn sent(&mut self, waiting: Waiting, number: u32) -> Option<(MessageId, bool)> {
        match waiting {
            Waiting::Call(slot) if S::CALLS > 0 => self.calls.sent(slot, number),
            Waiting::Reply(slot) if S::REPLIES > 0 => self.replies.sent(slot, number),
            Waiting::Notify(sequence) if S::NOTIFY_OUT > 0 => self.notifies.sent(sequence, number),
            _ => None,
        }
    }

    /// Whether `message` still needs its transmission in packet `number`: nobody has acknowledged it, it was not
    /// sent later, and does not wait to be.
    pub(super) fn needs(&self, message: MessageId, number: u32) -> bool {
        match message {
            MessageId::Ping => *self.ping == Ping::Sent(number),
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls.needs(message, number),
            MessageId::Reply { .. } if S::REPLIES > 0 => self.replies.needs(message, number),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies.needs(message, number),
            _ => false,
        }
    }

    /// Sends `message` again.
    pub(super) fn repeat(&mut self, message: MessageId) {
        match message {
            MessageId::Ping => *self.ping = Ping::Queued,
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls.repeat(message),
            MessageId::Reply { .. } if S::REPLIES > 0 => self.replies.repeat(message),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies.repeat(message),
            _ => {}
        }
    }

    /// The port did not take the packet with the last transmission of `message`.
    pub(super) fn refused(&mut self, message: MessageId) {
        match message {
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls.refused(message),
            _ => self.repeat(message),
        }
    }

    /// The peer has `message`.
    pub(super) fn acked(&mut self, message: MessageId) {
        match message {
            MessageId::Request { .. } | MessageId::Cancel { .. } if S::CALLS > 0 => self.calls.acked(message),
            MessageId::Reply { .. } if S::REPLIES > 0 => self.replies.acked(message),
            MessageId::Notify { .. } if S::NOTIFY_OUT > 0 => self.notifies.acked(message),
            _ => {}
        }
    }

    pub(super) fn check_invariants(&self) {
        self.calls.check_invariants();
        self.replies.check_invariants();
        self.notifies.check_invariants();
    }
}
