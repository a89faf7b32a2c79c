//! What goes out when the port has room.

use super::outgoing::{Outgoing, Ping, adapts};
use super::{LastFrame, Listening, Machine};
use crate::host_flag::HostFlag;
use crate::recovery::{MessageId, Outbox};
use crate::session::Answer;
use crate::stats::{count, uncount};
use crate::storage::Storage;
use crate::story::{Story, tell};
use crate::time::Instant;
use crate::wire::{
    CHECK_LEN, Count, Header, MAX_MESSAGES, MessageWriter, OutMessage, PacketNumber, Seed, VERSION, VersionRefusal,
    Writer, packet_len, plain_check, window_told,
};

/// When all that waits is small, it goes in packets of about this many bytes: eight small calls in one packet would
/// march in step, each round waiting for the whole burst in both directions. Measured with 8-byte calls: 68 beats
/// one message a packet and all in one.
const SMALL_BURST: usize = 68;

/// Where a round trip is shorter than so many microseconds, the wait is too short to matter, and packets cost more than it.
const BURST_MATTERS_MICROS: u32 = 1_000;

/// What was put into a packet.
#[derive(Clone, Copy)]
struct Packed {
    messages: u16,
    is_eliciting: bool,
    /// Whether nothing is left that waits.
    is_all: HostFlag,
}

impl Packed {
    const NOTHING: Self = Self { messages: 0, is_eliciting: false, is_all: HostFlag::UNSET };
}

impl Machine {
    #[cfg_attr(not(feature = "speed"), inline(never))]
    pub(crate) fn poll_transmit<S: Storage>(&mut self, storage: &mut S, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.handle_timeout(storage, now);
        if S::PUBLISH > 0 && self.out.publishes.has_sent() {
            self.publishes(storage).last_was_taken();
        }
        let is_copy = matches!(self.last, LastFrame::Packet { may_be_copied: true, .. }) && !self.can_send(storage);
        if is_copy {
            self.sent.repeat_last(&mut self.out.with(storage));
        }
        self.last = LastFrame::None;
        let len = match self.listening {
            Listening::Yes => {
                let hello = if self.owed.next().is_some() { self.write_hello(storage, buf) } else { None };
                match hello {
                    Some(len) => Some(len),
                    None if self.received.owes_straggler() => self.write_straggler_ack(storage, buf),
                    None => self.write_packet(storage, buf, is_copy),
                }
            }
            Listening::Closing => self.write_close(buf),
            Listening::Quiet | Listening::Closed | Listening::ClosedQuiet => None,
        }?;
        count(&mut self.stats.frames_sent);
        self.check_invariants(storage);
        Some(len)
    }

    /// Whether nothing can go out at `now` because the last packet took all that waited, nothing else is owed or overdue, and
    /// nothing has happened since. That it is asked means that the port has taken that packet.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn is_drained(&mut self, now: Instant) -> bool {
        let is_drained = self.is_drained.get() && self.now == now;
        if is_drained {
            self.last = LastFrame::None;
        }
        is_drained
    }

    /// The port did not take the last frame: what it carried is sent in another one.
    pub(crate) fn handle_refused<S: Storage>(&mut self, storage: &mut S) {
        match core::mem::replace(&mut self.last, LastFrame::None) {
            LastFrame::None => return,
            LastFrame::Hello(answer) => {
                self.owed.add(answer);
                self.limiter.give_back();
                if answer != Answer::Version {
                    uncount(&mut self.stats.hellos_sent);
                }
            }
            LastFrame::Close => self.listening = Listening::Closing,
            LastFrame::Packet { ack_was_owed, is_bare, .. } => {
                let mut out = self.out.with(storage);
                while let Some((message, number)) = self.sent.pop_last(out.log()) {
                    if out.needs(message, number) {
                        out.refused(message);
                    }
                }
                let last = self.sent.next().low.wrapping_sub(1);
                if out.state.ping == Ping::Sent(last) {
                    // It may have ridden on a message that is no longer wanted.
                    out.state.ping = Ping::Queued;
                }
                if S::PUBLISH > 0 {
                    out.publishes().last_was_refused();
                }
                if let Some(was_owed) = ack_was_owed {
                    self.received.ack_refused(last, was_owed);
                }
                if is_bare {
                    uncount(&mut self.stats.acks_sent);
                }
            }
        }
        uncount(&mut self.stats.frames_sent);
        self.check_invariants(storage);
    }

    /// Whether a message that asks for an ack can go out now.
    pub(super) fn can_send<S: Storage>(&mut self, storage: &mut S) -> bool {
        self.wants_to_send::<S>() && self.sent.has_room(&mut self.out.with(storage))
    }

    /// Whether a message waits that asks for an ack.
    pub(super) fn wants_to_send<S: Storage>(&self) -> bool {
        self.out.has_waiting::<S>(self.window()) || self.out.ping == Ping::Queued
    }

    /// How many notifies may be under way: as many as the peer takes from the first missing one on.
    #[cfg_attr(feature = "speed", inline)]
    fn window(&self) -> Count {
        self.handshake.session().map_or(0, |session| window_told(session.peer.offer.notify_window))
    }

    /// What is owed without a session: HELLO or VERSION.
    #[inline(never)]
    fn write_hello<S: Storage>(&mut self, storage: &mut S, buf: &mut [u8]) -> Option<usize> {
        let answer = self.owed.next()?;
        let interval = self.hello_interval();
        self.limiter.refill(self.now.stamp(), interval);
        if !self.limiter.has_token() {
            return None;
        }
        let mut writer = Writer::new(buf);
        match answer {
            Answer::Session | Answer::Challenge => {
                self.handshake.hello(answer, self.offer(storage)).write(&mut writer);
            }
            Answer::Version => {
                VersionRefusal { version: VERSION, challenge: self.foreign_challenge }.write(&mut writer);
            }
        }
        let check = plain_check(writer.written());
        writer.u32(check);
        if !writer.fits() {
            return None;
        }
        if answer != Answer::Version {
            count(&mut self.stats.hellos_sent);
        }
        self.owed.sent(answer);
        self.limiter.take();
        self.last = LastFrame::Hello(answer);
        Some(writer.len())
    }

    /// The last packet of a session that this node closed.
    #[inline(never)]
    fn write_close(&mut self, buf: &mut [u8]) -> Option<usize> {
        let seed = self.handshake.session()?.send;
        let mut writer = Writer::new(buf);
        let number = self.sent.next();
        Header { number: number.low, number_len: self.sent.next_len(), ack: None }.write(&mut writer);
        let end = writer.len().wrapping_add(writer.room());
        MessageWriter::new(&mut writer, end).push(&OutMessage::close());
        let len = seal(seed, number, None, &mut writer)?;
        self.sent.packet_sent(false);
        self.listening = Listening::Closed;
        self.last = LastFrame::Close;
        Some(len)
    }

    /// A packet that acknowledges a straggler, and says nothing of all others (`PROTOCOL.md §6`).
    #[cold]
    fn write_straggler_ack<S: Storage>(&mut self, storage: &mut S, buf: &mut [u8]) -> Option<usize> {
        let seed = self.handshake.session()?.send;
        let ack = self.received.take_straggler_ack()?;
        let mut writer = Writer::new(buf);
        let number = self.sent.next();
        Header { number: number.low, number_len: self.sent.next_len(), ack: Some(ack) }.write(&mut writer);
        let limit = writer.len().wrapping_add(writer.room()).checked_sub(CHECK_LEN)?;
        let mut packed = Packed::NOTHING;
        self.pack_ping(storage, &mut MessageWriter::new(&mut writer, limit), &mut packed);
        let len = seal(seed, number, Some(ack.largest), &mut writer)?;
        self.sent.packet_sent(packed.is_eliciting);
        let is_bare = packed.messages == 0;
        self.last = LastFrame::Packet { ack_was_owed: None, is_bare, may_be_copied: false };
        if is_bare {
            count(&mut self.stats.acks_sent);
        }
        Some(len)
    }

    /// A packet in the session, if there is anything to say.
    #[cfg_attr(not(feature = "speed"), inline(always))]
    fn write_packet<S: Storage>(&mut self, storage: &mut S, buf: &mut [u8], is_copy: bool) -> Option<usize> {
        let seed = self.handshake.session()?.send;
        let is_ack_due = self.received.is_ack_due(self.now.stamp(), &self.round_trip);
        let has_messages = self.wants_to_send::<S>() || S::PUBLISH > 0 && self.out.publishes.has_waiting();
        if is_ack_due || has_messages { self.seal_packet(storage, buf, seed, is_ack_due, is_copy) } else { None }
    }

    /// A packet with an ack if that `is_ack_due`, and with messages, if any can go out.
    #[cfg_attr(not(feature = "speed"), inline(always))]
    fn seal_packet<S: Storage>(
        &mut self,
        storage: &mut S,
        buf: &mut [u8],
        seed: Seed,
        is_ack_due: bool,
        is_copy: bool,
    ) -> Option<usize> {
        let limit = packet_len(self.frame_limit(storage)).min(buf.len()).checked_sub(CHECK_LEN)?;
        let number = self.sent.next();
        let mut writer = Writer::new(buf);
        let mut with_ack = true;
        let (acked, packed) = loop {
            let ack = if with_ack { self.received.ack(self.now.stamp(), &self.round_trip) } else { None };
            writer.clear();
            Header { number: number.low, number_len: self.sent.next_len(), ack }.write(&mut writer);
            let packed = self.pack(storage, &mut writer, limit);
            // A message that does not fit beside an ack goes without one; an ack that is due goes first.
            if packed.messages > 0 || ack.is_none() || is_ack_due {
                break (ack.map(|ack| ack.largest), packed);
            }
            with_ack = false;
        };
        if packed.messages == 0 && !is_ack_due {
            return None;
        }
        let len = seal(seed, number, acked, &mut writer)?;
        self.sent.packet_sent(packed.is_eliciting);
        if acked.is_none() {
            self.received.ack_left_out();
        }
        let ack_was_owed = acked.map(|_| self.received.ack_sent(number.low));
        let is_bare = packed.messages == 0;
        // For a mere copy nothing is forgotten, lest it be what is under way, before its ack can come.
        let may_be_copied = self.config.second_copy
            && packed.is_eliciting
            && !is_copy
            && self.sent.has_spare(storage.lent().sent, packed.messages);
        self.last = LastFrame::Packet { ack_was_owed, is_bare, may_be_copied };
        self.is_drained = HostFlag::new(
            packed.is_all.get()
                && !may_be_copied
                && self.owed.next().is_none()
                // What was held off for this packet is looked for again.
                && !self.has_waited_for_acks(storage),
        );
        if is_bare {
            count(&mut self.stats.acks_sent);
        }
        Some(len)
    }

    /// Moves waiting messages into the packet, as far as they fit into `limit` bytes.
    fn pack<S: Storage>(&mut self, storage: &mut S, writer: &mut Writer<'_>, limit: usize) -> Packed {
        let room = limit.saturating_sub(writer.len());
        let mut messages = MessageWriter::new(writer, limit);
        let mut packed = Packed::NOTHING;
        self.pack_reliable(storage, &mut messages, &mut packed, room);
        // Before the publishes, which could fill every packet.
        self.pack_ping(storage, &mut messages, &mut packed);
        if S::PUBLISH > 0 {
            self.pack_publishes(storage, &mut messages, &mut packed);
        }
        if packed.is_all.get() && (self.out.ping == Ping::Queued || self.out.publishes.has_waiting()) {
            packed.is_all = HostFlag::UNSET;
        }
        packed
    }

    /// Messages that ask for an ack.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    fn pack_reliable<S: Storage>(
        &mut self,
        storage: &mut S,
        messages: &mut MessageWriter<'_, '_>,
        packed: &mut Packed,
        room: usize,
    ) {
        let window = self.window();
        let number = self.sent.next().low;
        let default = self.config.default_time_to_live;
        let before = messages.len();
        let may_split = self.round_trip.micros() >= BURST_MATTERS_MICROS;
        let mut out = self.out.with(storage);
        loop {
            let Some(waiting) = out.next(window) else {
                packed.is_all = HostFlag::new(true);
                break;
            };
            if packed.messages == 1 {
                let rest = room.saturating_sub(messages.len().wrapping_sub(before));
                messages.end_at(if may_split && out.waits_for_at_most(rest, window) {
                    SMALL_BURST
                } else if adapts::<S>() {
                    out.state.sizes.limit(number, room)
                } else {
                    usize::MAX
                });
            }
            if packed.messages >= MAX_MESSAGES || !self.sent.has_room(&mut out) {
                break;
            }
            let Some(message) = out.message(waiting, self.now, default) else { break };
            if !messages.push(&message) {
                break;
            }
            let Some((message, was_sent)) = out.sent(waiting, number) else { break };
            self.sent.push(out.log(), self.now.stamp(), message);
            if was_sent {
                count(&mut self.stats.retransmits);
                tell(Story::SentAgain { message, packet: number });
            }
            packed.messages = packed.messages.saturating_add(1);
            packed.is_eliciting = true;
        }
    }

    /// A PING, unless another message asks for an ack already.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline(always))]
    fn pack_ping<S: Storage>(&mut self, storage: &mut S, messages: &mut MessageWriter<'_, '_>, packed: &mut Packed) {
        let number = self.sent.next().low;
        let is_wanted = self.out.ping == Ping::Queued;
        if packed.is_eliciting {
            if is_wanted {
                self.out.ping = Ping::Sent(number);
            }
            return;
        }
        let mut out = self.out.with(storage);
        if (is_wanted || self.sent.must_elicit()) && self.sent.has_room(&mut out) && messages.push(&OutMessage::ping())
        {
            out.state.ping = Ping::Sent(number);
            self.sent.push(out.log(), self.now.stamp(), MessageId::Ping);
            packed.messages = packed.messages.saturating_add(1);
            packed.is_eliciting = true;
        }
    }

    fn pack_publishes<S: Storage>(
        &mut self,
        storage: &mut S,
        messages: &mut MessageWriter<'_, '_>,
        packed: &mut Packed,
    ) {
        let mut out = self.out.with(storage);
        while let Some(index) = out.publishes().next_to_send() {
            let Some(message) = out.publishes().into_message(index) else { break };
            if !messages.push(&message) {
                break;
            }
            out.publishes().sent(index);
            packed.messages = packed.messages.saturating_add(1);
        }
    }
}

/// Appends the check; returns the length of the frame.
#[cfg_attr(not(feature = "speed"), inline(never))]
#[cfg_attr(feature = "speed", inline(always))]
fn seal(seed: Seed, number: PacketNumber, acked: Option<u32>, writer: &mut Writer<'_>) -> Option<usize> {
    let check = seed.check(number, acked, writer.written());
    writer.u32(check);
    writer.fits().then(|| writer.len())
}

impl<S: Storage> Outgoing<'_, S> {
    /// Whether all that waits fits into `room` bytes.
    fn waits_for_at_most(&mut self, mut room: usize, window: Count) -> bool {
        let mut fits = |len| {
            let rest = room.checked_sub(len);
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        (S::REPLIES == 0 || self.replies().waiting_lens().all(&mut fits))
            && (S::CALLS == 0 || self.calls().waiting_lens().all(&mut fits))
            && (S::NOTIFY_OUT == 0 || self.notifies().waiting_lens(window).all(&mut fits))
    }
}
