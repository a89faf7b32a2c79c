//! What a frame leads to.

use super::outgoing::Ping;
use super::timers::PATIENCE;
use super::{Listening, Machine};
use crate::endpoint::Endpoint;
use crate::event::{Refusal, SessionEnd};
use crate::oneway::Taken;
use crate::recovery::{Arrival, Asks, IsStraggler};
use crate::rpc::{Call, Incoming, Reply, RequestId};
use crate::session::{Answer, Verdict};
use crate::stats::count;
use crate::storage::Storage;
use crate::story::{Foreign, Story, Unreadable, Useless, tell};
use crate::time::{Duration, Instant};
use crate::wire::{
    AckField, CHECK_LEN, Count, Header, Hello, HelloError, KIND_HELLO, KIND_VERSION, PacketNumber, Reader, SESSION_BIT,
    VersionRefusal, WireMessage, WireMessages, plain_check, restore, restore_ack, split_check, time_to_live,
};

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

#[derive(Clone, Copy, Debug)]
struct OpenPacket {
    session: u32,
    number: PacketNumber,
    number_len: usize,
    /// As far as its messages were taken.
    asks: Asks,
    is_straggler: IsStraggler,
    must_come_again: bool,
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

/// A session packet whose check is right.
struct Opened {
    number: PacketNumber,
    /// Whether it belongs to the session that the handshake may enter next.
    is_candidate: bool,
}

/// What a packet holds that keeps the rules.
struct Contents {
    is_empty: bool,
    is_eliciting: bool,
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
    const fn none() -> Self {
        Self { messages: WireMessages::new(Reader::new(&[])), packet: None }
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
    #[cfg_attr(not(feature = "speed"), inline(never))]
    pub(crate) fn handle_frame<'f, S: Storage>(
        &mut self,
        storage: &mut S,
        now: Instant,
        frame: &'f mut [u8],
    ) -> Messages<'f> {
        self.advance(now);
        count(&mut self.stats.frames_received);
        let len = frame.len();
        if self.listening != Listening::Yes {
            count(&mut self.stats.dropped.not_listening);
            tell(Story::FrameDropped { len, because: Unreadable::NotListening });
            return Messages::none();
        }
        let Some((packet, check)) = split_check(frame) else {
            count(&mut self.stats.dropped.too_short);
            tell(Story::FrameDropped { len, because: Unreadable::TooShort });
            return Messages::none();
        };
        let kind = packet.first().copied().unwrap_or(0);
        if kind & SESSION_BIT != 0 {
            return self.handle_packet(storage, packet, check);
        }
        if plain_check(packet) != check {
            self.check_failed(packet.len());
        } else {
            match kind {
                KIND_HELLO => self.handle_hello(storage, packet),
                KIND_VERSION => self.handle_version(packet),
                _ => {
                    count(&mut self.stats.dropped.unknown_kind);
                    tell(Story::FrameDropped { len, because: Unreadable::UnknownKind });
                }
            }
        }
        self.check_invariants(storage);
        Messages::none()
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    fn handle_hello<S: Storage>(&mut self, storage: &mut S, packet: &[u8]) {
        let hello = match Hello::read(packet) {
            Ok(hello) => hello,
            Err(HelloError::Malformed) => {
                tell(Story::HelloDropped(Foreign::Malformed));
                return count(&mut self.stats.dropped.bad_hello);
            }
            Err(HelloError::OtherVersion { challenge }) => {
                self.foreign_challenge = challenge;
                self.owed.add(Answer::Version);
                tell(Story::HelloDropped(Foreign::OtherVersion));
                return count(&mut self.stats.dropped.other_version);
            }
        };
        if self.handshake.is_own(&hello) {
            tell(Story::HelloDropped(Foreign::OwnEcho));
            return count(&mut self.stats.dropped.own_echo);
        }
        match self.handshake.handle_hello(&hello) {
            Verdict::Known => {}
            Verdict::Owed(answer) => self.owed.add(answer),
            Verdict::Joined { ended, owed } => {
                self.session_began(storage, ended);
                if let Some(answer) = owed {
                    self.owed.add(answer);
                }
            }
        }
    }

    fn handle_version(&mut self, packet: &[u8]) {
        match VersionRefusal::read(packet) {
            Some(refusal) if self.handshake.is_outstanding(refusal.challenge) => {
                self.happened.version = Some(refusal.version);
                tell(Story::VersionRefused { version: refusal.version });
            }
            Some(_) => {
                count(&mut self.stats.dropped.other_version);
                tell(Story::HelloDropped(Foreign::NotAsked));
            }
            None => {
                count(&mut self.stats.dropped.bad_hello);
                tell(Story::HelloDropped(Foreign::Malformed));
            }
        }
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    fn handle_packet<'f, S: Storage>(&mut self, storage: &mut S, packet: &'f [u8], check: u32) -> Messages<'f> {
        let mut reader = Reader::new(packet);
        let mut header = Header::read(&mut reader);
        let opened = header.as_mut().and_then(|header| Some((self.open(header, packet, check)?, header)));
        let Some((Opened { number, is_candidate }, header)) = opened else {
            self.check_failed(packet.len());
            return Messages::none();
        };
        let messages = WireMessages::new(reader);
        let useless = |because| {
            tell(Story::PacketDropped { packet: number.low, because });
            Messages::none()
        };
        let Some(Contents { is_empty, is_eliciting }) = check_messages(messages, storage) else {
            count(&mut self.stats.dropped.malformed);
            return useless(Useless::Malformed);
        };
        if is_candidate {
            let ended = self.handshake.join_candidate();
            self.session_began(storage, ended);
        }
        let arrival = self.received.arrive(number.low, || S::NOTIFY_IN > 0 && are_notifies(messages));
        if arrival == Arrival::TooOld {
            count(&mut self.stats.dropped.too_old);
            return useless(Useless::TooOld);
        }
        if arrival == (Arrival::New { is_newest: true }) {
            self.heard();
        }
        // The ack of a straggler is as old as itself: in a log that names calls by 8 bits, it may mean a later one.
        if let Some(ack) = &header.ack
            && arrival != Arrival::Straggler
        {
            self.handle_ack(storage, ack);
            if self.has_waited_for_acks(storage) {
                self.repeat_lost(storage);
            }
        }
        if arrival == Arrival::Duplicate {
            count(&mut self.stats.dropped.duplicate);
            return useless(Useless::Duplicate);
        }
        let open = OpenPacket {
            session: self.session_id().unwrap_or_default(),
            number,
            number_len: header.number_len,
            asks: if is_eliciting { Asks::SignOfLife } else { Asks::Nothing },
            is_straggler: IsStraggler::new(arrival == Arrival::Straggler),
            must_come_again: false,
        };
        if is_empty {
            // Nothing to take, so it is received as it stands.
            self.packet_taken(storage, &open);
            return Messages::none();
        }
        Messages { messages, packet: Some(open) }
    }

    /// Restores the numbers of a packet, the ack number in its header, and checks it: under the session, else under the one
    /// that may come next.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline(always))]
    fn open(&self, header: &mut Header, packet: &[u8], check: u32) -> Option<Opened> {
        if let Some(session) = self.handshake.session() {
            let number = restore(header.number, header.number_len, self.received.next());
            let restored = match &mut header.ack {
                None => Some(None),
                Some(ack) => {
                    let restored = restore_ack(ack.largest, ack.len, self.sent.base(), self.sent.next());
                    ack.largest = restored.unwrap_or_default();
                    restored.map(Some)
                }
            };
            if let Some(acked) = restored
                && session.receive.check(number, acked, packet) == check
            {
                return Some(Opened { number, is_candidate: false });
            }
        }
        // Nothing was ever sent in that session, so there is nothing to acknowledge.
        let seed = self.handshake.candidate().filter(|_| header.ack.is_none())?;
        let number = restore(header.number, header.number_len, PacketNumber::ZERO);
        (seed.check(number, None, packet) == check).then_some(Opened { number, is_candidate: true })
    }

    /// A packet that proves the peer alive now.
    #[cfg_attr(feature = "speed", inline)]
    fn heard(&mut self) {
        self.heard_at = self.now.stamp();
        self.suspect_since = None;
        if matches!(self.out.ping, Ping::Sent(_)) {
            self.out.ping = Ping::Idle;
        }
        self.handshake.confirm();
        self.owed.settle(Answer::Session);
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    fn handle_ack<S: Storage>(&mut self, storage: &mut S, ack: &AckField) {
        // What both sides believe may be so far off that no ack is ever fresh. Then a sample that is too long is
        // better than none.
        let is_lost = self.round_trip.measured().is_none() || self.unanswered > PATIENCE;
        let (has_acked, sample) = self.sent.handle_ack(&mut self.out.with(storage), self.now.stamp(), ack, is_lost);
        if has_acked {
            self.unanswered = 0;
        }
        if let Some(sample) = sample.filter(|_| !self.is_clamped) {
            self.round_trip.learn(sample);
        }
        self.received.peer_has(ack.largest);
    }

    /// A frame came that cannot be read: garbled, or the peer holds another session (`PROTOCOL.md §8.5`).
    fn check_failed(&mut self, packet_len: usize) {
        count(&mut self.stats.dropped.bad_check);
        tell(Story::FrameDropped { len: packet_len.saturating_add(CHECK_LEN), because: Unreadable::BadCheck });
        if self.handshake.session().is_some() {
            // Garble on a live session is followed by good packets soon.
            self.suspect_since.get_or_insert(self.now.stamp());
            return;
        }
        // A stranger gets no more than three times what it sent.
        // More than one HELLO at a time is of no use, so a longer frame earns no more.
        let len = packet_len.saturating_add(CHECK_LEN).min(Hello::LEN) as u16;
        self.credit = self.credit.saturating_add(len.wrapping_mul(3));
        if usize::from(self.credit) >= Hello::LEN.saturating_add(CHECK_LEN) {
            self.credit = 0;
            self.owed.add(Answer::Challenge);
        }
    }

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
    fn packet_taken<S: Storage>(&mut self, storage: &mut S, packet: &OpenPacket) {
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

/// Reads a packet as a whole before any of it is believed. `None` if it breaks the rules.
#[cfg_attr(feature = "speed", inline(always))]
fn check_messages<S: Storage>(mut messages: WireMessages<'_>, storage: &mut S) -> Option<Contents> {
    let mut contents = Contents { is_empty: true, is_eliciting: false };
    while let Some(message) = messages.next() {
        contents.is_empty = false;
        contents.is_eliciting |= match message.ok()? {
            WireMessage::Request { slot, .. } | WireMessage::Cancel { slot, .. } => {
                storage.lent().replies.get(usize::from(slot))?;
                true
            }
            WireMessage::Response { slot, .. } | WireMessage::Refusal { slot, .. } => {
                storage.lent().calls.get(usize::from(slot))?;
                true
            }
            WireMessage::Notify(_) | WireMessage::Ping => true,
            WireMessage::Publish(_) | WireMessage::Close => false,
        };
    }
    Some(contents)
}

/// Whether there are messages, and nothing but notifies.
fn are_notifies(mut messages: WireMessages<'_>) -> bool {
    let is_empty = messages.is_empty();
    !is_empty && core::iter::from_fn(|| messages.next()).all(|message| matches!(message, Ok(WireMessage::Notify(_))))
}
