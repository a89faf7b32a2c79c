//! What the messages of a packet lead to when they are taken.

use super::Machine;
use crate::endpoint::Endpoint;
use crate::event::{Refusal, SessionEnd};
use crate::host_flag::HostFlag;
use crate::oneway::Taken;
use crate::recovery::Asks;
use crate::rpc::{Call, Incoming, Reply, RequestId};
use crate::stats::count;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::{Count, PacketNumber, Reader, WireMessage, WireMessages, time_to_live};

/// A message of the peer. Its payload lies in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Message<'f> {
    /// The peer calls. Answer with `respond` or `refuse`, now or later.
    Request {
        /// Names the request in the answer.
        id: RequestId,
        /// The endpoint called.
        key: u16,
        /// When the caller gives up, if the request was not long under way.
        expires_at: Instant,
        /// The application's bytes.
        payload: &'f [u8],
    },
    /// A call has succeeded: executed once.
    Response {
        /// The call.
        call: Call,
        /// The application's bytes.
        payload: &'f [u8],
    },
    /// A notify, in order.
    Notify {
        /// Its kind.
        key: u16,
        /// The application's bytes.
        payload: &'f [u8],
    },
    /// A publish, newer than all delivered before.
    Publish {
        /// Its kind.
        key: u16,
        /// How many publishes, of any kind, were missed since the last one.
        missed: u16,
        /// The application's bytes.
        payload: &'f [u8],
    },
}

/// The messages of a frame. They count as received when all have been taken: if the rest is dropped, the peer sends
/// it again.
#[derive(Debug)]
#[must_use = "messages that are not taken do not count as received"]
pub struct Messages<'f> {
    messages: WireMessages<'f>,
    /// The packet and its session; `None` when there is nothing left to take.
    packet: Option<OpenPacket>,
}

/// A packet whose messages are being taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenPacket {
    pub(super) session: u32,
    pub(super) number: PacketNumber,
    pub(super) number_len: usize,
    /// As far as its messages were taken.
    pub(super) asks: Asks,
    pub(super) is_straggler: HostFlag,
    pub(super) must_come_again: bool,
}

impl OpenPacket {
    /// It holds a message that asks for this, if it is of a kind that asks for anything.
    #[cfg_attr(feature = "speed", inline)]
    fn found(&mut self, asks: Asks) {
        if self.asks != Asks::Nothing {
            self.asks = self.asks.max(asks);
        }
    }
}

/// What one message leads to.
enum Delivered<'f> {
    Message(Message<'f>),
    News,
    Old,
    /// It says nothing new, and does not mean that the peer misses something: a PING, or a publish that comes late.
    Idle,
    Wait,
}

impl<'f> Messages<'f> {
    pub(super) const fn none() -> Self {
        Self { messages: WireMessages::new(Reader::new(&[])), packet: None }
    }

    pub(super) const fn new(messages: WireMessages<'f>, packet: OpenPacket) -> Self {
        Self { messages, packet: Some(packet) }
    }

    /// The next message, `None` at the end. `endpoint` is the one that handled the frame.
    #[cfg_attr(feature = "speed", inline)]
    pub fn next<S: Storage>(&mut self, endpoint: &mut Endpoint<S>) -> Option<Message<'f>> {
        self.packet?;
        let (machine, storage) = endpoint.split();
        self.take(machine, storage)
    }

    #[cfg_attr(feature = "speed", inline(always))]
    fn take<S: Storage>(&mut self, machine: &mut Machine, storage: &mut S) -> Option<Message<'f>> {
        let packet = self.packet.as_mut()?;
        loop {
            let is_known = machine.received.is_in_window(packet.number.low, packet.is_straggler);
            if machine.session_id() != Some(packet.session) || !is_known {
                // The session ended under its packet, or it was left lying for too long.
                self.packet = None;
                return None;
            }
            let Some(Ok(message)) = self.messages.next() else { break };
            match machine.deliver(storage, packet, message) {
                Delivered::Message(message) => {
                    packet.found(Asks::Ack);
                    if self.messages.is_empty() {
                        // That was all: who does not ask for more has still taken everything.
                        machine.packet_taken(storage, packet);
                        self.packet = None;
                    }
                    return Some(message);
                }
                Delivered::News => packet.found(Asks::Ack),
                Delivered::Old => packet.found(Asks::Again),
                Delivered::Idle => {}
                Delivered::Wait => packet.must_come_again = true,
            }
        }
        machine.packet_taken(storage, packet);
        self.packet = None;
        None
    }
}

impl Machine {
    /// One message of a packet, taken by the application.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline(always))]
    fn deliver<'f, S: Storage>(
        &mut self,
        storage: &mut S,
        packet: &OpenPacket,
        message: WireMessage<'f>,
    ) -> Delivered<'f> {
        let delivered = match message {
            WireMessage::Request { slot, sequence, key, time_to_live, payload } if S::REPLIES > 0 => {
                match self.replies(storage).handle_request(slot, sequence) {
                    Incoming::Execute(id) => {
                        let expires_at = self.now + self.time_to_live(time_to_live);
                        Delivered::Message(Message::Request { id, key, expires_at, payload })
                    }
                    incoming => incoming.into(),
                }
            }
            WireMessage::Cancel { slot, sequence } if S::REPLIES > 0 => {
                self.replies(storage).handle_cancel(slot, sequence).into()
            }
            WireMessage::Response { slot, sequence, payload } if S::CALLS > 0 => {
                match self.calls(storage).handle_reply(slot, sequence, Reply::Response) {
                    (Some(call), _) => Delivered::Message(Message::Response { call, payload }),
                    (None, true) => Delivered::News,
                    (None, false) => Delivered::Old,
                }
            }
            WireMessage::Refusal { slot, sequence, code } if S::CALLS > 0 => {
                let refused = Reply::Refused(Refusal::from_code(code));
                if self.calls(storage).handle_reply(slot, sequence, refused).1 {
                    Delivered::News
                } else {
                    Delivered::Old
                }
            }
            WireMessage::Notify(notify) if S::NOTIFY_IN > 0 => {
                let is_told = notify.sequence.is_long();
                let reach = if is_told {
                    Count::MAX
                } else {
                    self.received.notify_reach(packet.number.low, packet.is_straggler)
                };
                match self.held(storage).take(&notify, reach) {
                    Taken::Deliver => Delivered::Message(Message::Notify { key: notify.key, payload: notify.payload }),
                    Taken::Held => Delivered::News,
                    Taken::Old => Delivered::Old,
                    Taken::Wait => Delivered::Wait,
                }
            }
            WireMessage::Publish(publish) if S::NOTIFY_IN > 0 => {
                match self.out.publishes.take(packet.number.low, publish.sequence) {
                    Some(missed) => {
                        Delivered::Message(Message::Publish { key: publish.key, missed, payload: publish.payload })
                    }
                    None => {
                        count(&mut self.stats.duplicates);
                        Delivered::Idle
                    }
                }
            }
            WireMessage::Close => {
                self.leave(storage, SessionEnd::ClosedByPeer);
                Delivered::News
            }
            WireMessage::Ping => Delivered::Idle,
            // A one-way message that is not taken here. (Others name slots that are not there: such packets are malformed.)
            _ => Delivered::News,
        };
        match delivered {
            Delivered::Old => count(&mut self.stats.duplicates),
            Delivered::Wait => count(&mut self.stats.deferred),
            Delivered::Message(_) | Delivered::News | Delivered::Idle => {}
        }
        delivered
    }

    /// All messages of a packet were taken.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(super) fn packet_taken<S: Storage>(&mut self, storage: &mut S, packet: &OpenPacket) {
        if packet.is_straggler.get() {
            // It was sent long ago, so it does not show what its sender misses now.
            if !packet.must_come_again {
                self.received.note_straggler(packet.number.low, packet.number_len);
            }
            return;
        }
        let now = self.now.stamp();
        let is_repetition = packet.asks == Asks::Again;
        let is_copy = is_repetition && self.received.is_copy(now, &self.round_trip);
        if !packet.must_come_again {
            let asks = if is_copy { Asks::Nothing } else { packet.asks };
            self.received.note(now, packet.number, packet.number_len, asks);
        }
        if is_repetition && !is_copy {
            self.repeat_overdue(storage);
        }
        self.check_invariants(storage);
    }

    /// The time to live of a request of the peer.
    #[cfg_attr(feature = "speed", inline)]
    fn time_to_live(&self, told: Option<u8>) -> Duration {
        let default = self.handshake.session().map_or(0, |session| session.peer.offer.time_to_live);
        time_to_live::decode(told.unwrap_or(default))
    }
}

impl From<Incoming> for Delivered<'_> {
    fn from(incoming: Incoming) -> Self {
        match incoming {
            Incoming::Execute(_) | Incoming::News => Self::News,
            Incoming::Old => Self::Old,
            Incoming::Wait => Self::Wait,
        }
    }
}
