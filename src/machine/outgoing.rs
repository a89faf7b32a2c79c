//! All messages on their way out under one roof: which is next, what it says, and what becomes of it.

use crate::oneway::{Notifies, NotifiesState, Publishes, PublishesState};
use crate::recovery::{MessageId, Transmission};
use crate::rpc::{Calls, CallsState, Replies, RepliesState};
use crate::storage::Parts;
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
    pub(super) fn wants_session(&self) -> bool {
        self.calls.has_fresh() || self.notifies.has_fresh(u16::MAX)
    }

    /// Whether a message waits that asks for an ack. At most `window` notifies may be under way.
    pub(super) fn has_waiting(&self, window: u16) -> bool {
        self.has_again() || self.replies.has_fresh() || self.calls.has_fresh() || self.notifies.has_fresh(window)
    }

    fn has_again(&self) -> bool {
        self.replies.has_again() || self.calls.has_again() || self.notifies.has_again()
    }

    /// Joins the state with its memory; the log of transmissions comes apart.
    pub(super) fn with<'a>(&'a mut self, parts: &'a mut Parts<'_>) -> (Outgoing<'a>, &'a mut [Transmission]) {
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
pub(super) struct Outgoing<'a> {
    pub(super) calls: Calls<'a>,
    pub(super) replies: Replies<'a>,
    pub(super) notifies: Notifies<'a>,
    pub(super) publishes: Publishes<'a>,
    pub(super) ping: &'a mut Ping,
}

impl Outgoing<'_> {
    /// The message to send next: what was lost before what is fresh, answers before questions.
    pub(super) fn next(&self, window: u16) -> Option<Waiting> {
        [true, false].into_iter().find_map(|again| {
            let reply = || self.replies.next_to_send(again).map(Waiting::Reply);
            let call = || self.calls.next_to_send(again).map(Waiting::Call);
            let notify = || self.notifies.next_to_send(again, window).map(Waiting::Notify);
            reply().or_else(call).or_else(notify)
        })
    }

    /// What it says. `default` is the time to live that a request need not tell.
    pub(super) fn message(&self, waiting: Waiting, now: Instant, default: Duration) -> Option<WireMessage<'_>> {
        match waiting {
            Waiting::Call(slot) => self.calls.message(slot, now, default),
            Waiting::Reply(slot) => self.replies.message(slot),
            Waiting::Notify(sequence) => self.notifies.message(sequence),
        }
    }

    /// It goes out in packet `number`; says how to name it, and whether it had been sent before.
    pub(super) fn sent(&mut self, waiting: Waiting, number: u32) -> Option<(MessageId, bool)> {
        match waiting {
            Waiting::Call(slot) => self.calls.sent(slot, number),
            Waiting::Reply(slot) => self.replies.sent(slot, number),
            Waiting::Notify(sequence) => self.notifies.sent(sequence, number),
        }
    }

    /// Whether `message` still needs its transmission in packet `number`: nobody has acknowledged it, it was not
    /// sent later, and does not wait to be.
    pub(super) fn needs(&self, message: MessageId, number: u32) -> bool {
        match message {
            MessageId::Ping => *self.ping == Ping::Sent(number),
            MessageId::Request { .. } | MessageId::Cancel { .. } => self.calls.needs(message, number),
            MessageId::Reply { .. } => self.replies.needs(message, number),
            MessageId::Notify { .. } => self.notifies.needs(message, number),
        }
    }

    /// Sends `message` again.
    pub(super) fn repeat(&mut self, message: MessageId) {
        match message {
            MessageId::Ping => *self.ping = Ping::Queued,
            MessageId::Request { .. } | MessageId::Cancel { .. } => self.calls.repeat(message),
            MessageId::Reply { .. } => self.replies.repeat(message),
            MessageId::Notify { .. } => self.notifies.repeat(message),
        }
    }

    /// The port did not take the packet with the last transmission of `message`.
    pub(super) fn refused(&mut self, message: MessageId) {
        match message {
            MessageId::Request { .. } | MessageId::Cancel { .. } => self.calls.refused(message),
            _ => self.repeat(message),
        }
    }

    /// The peer has `message`.
    pub(super) fn acked(&mut self, message: MessageId) {
        match message {
            MessageId::Ping => {}
            MessageId::Request { .. } | MessageId::Cancel { .. } => self.calls.acked(message),
            MessageId::Reply { .. } => self.replies.acked(message),
            MessageId::Notify { .. } => self.notifies.acked(message),
        }
    }

    pub(super) fn check_invariants(&self) {
        self.calls.check_invariants();
        self.replies.check_invariants();
        self.notifies.check_invariants();
    }
}
