//! What goes out when the port has room.

use super::outgoing::{Outgoing, Ping};
use super::{LastFrame, Listening, Machine};
use crate::recovery::{MessageId, Sent, Transmission};
use crate::session::{Answer, Session};
use crate::stats::count;
use crate::storage::Storage;
use crate::story::{Story, tell};
use crate::time::{Duration, Instant};
use crate::wire::{
    AckField, CHECK_LEN, Header, MessageWriter, PacketNumber, VERSION, VersionRefusal, WireMessage, Writer, packet_len,
    plain_check, time_to_live,
};

/// When all that waits is small, it goes in packets of about this many bytes: eight small calls in one packet would
/// march in step, each round waiting for the whole burst in both directions. Measured with 8-byte calls: 68 beats
/// one message a packet and all in one.
const SMALL_BURST: usize = 68;

/// What was put into a packet.
#[derive(Clone, Copy, Default)]
struct Packed {
    messages: u16,
    is_eliciting: bool,
    retransmits: u32,
}

impl Machine {
    pub(crate) fn poll_transmit<S: Storage>(&mut self, storage: &mut S, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.handle_timeout(storage, now);
        if S::PUBLISH > 0 {
            self.publishes(storage).last_was_taken();
        }
        self.last = LastFrame::None;
        let len = match self.listening {
            Listening::Yes => match self.write_hello(storage, buf) {
                Some(len) => Some(len),
                None => self.write_packet(storage, buf),
            },
            Listening::Closing => self.write_close(buf),
            Listening::Quiet | Listening::Closed | Listening::ClosedQuiet => None,
        }?;
        count(&mut self.stats.frames_sent);
        self.check_invariants(storage);
        Some(len)
    }

    /// The port did not take the last frame: what it carried is sent in another one.
    pub(crate) fn handle_refused<S: Storage>(&mut self, storage: &mut S) {
        match core::mem::replace(&mut self.last, LastFrame::None) {
            LastFrame::None => return,
            LastFrame::Hello(answer) => {
                self.owed.add(answer);
                self.limiter.give_back();
            }
            LastFrame::Close => self.listening = Listening::Closing,
            LastFrame::Packet { ack_was_owed } => {
                let (mut out, log) = self.out.with(storage);
                while let Some((message, number)) = self.sent.pop_last(log) {
                    if out.needs(message, number) {
                        out.refused(message);
                    }
                }
                let last = self.sent.next().get().wrapping_sub(1) as u32;
                if *out.ping == Ping::Sent(last) {
                    // It may have ridden on a message that is no longer wanted.
                    *out.ping = Ping::Queued;
                }
                if S::PUBLISH > 0 {
                    out.publishes.last_was_refused();
                }
                if let Some(was_owed) = ack_was_owed {
                    self.received.ack_refused(self.sent.next(), was_owed);
                }
            }
        }
        self.stats.frames_sent = self.stats.frames_sent.saturating_sub(1);
        self.check_invariants(storage);
    }

    /// Whether a message that asks for an ack can go out now.
    pub(super) fn can_send<S: Storage>(&mut self, storage: &mut S, window: u16) -> bool {
        if !self.out.has_waiting::<S>(window) && self.out.ping != Ping::Queued {
            return false;
        }
        let (out, log) = self.out.with(storage);
        has_room(&mut self.sent, log, &out)
    }

    /// What is owed without a session: HELLO or VERSION.
    fn write_hello<S: Storage>(&mut self, storage: &mut S, buf: &mut [u8]) -> Option<usize> {
        let answer = self.owed.next()?;
        let interval = self.hello_interval();
        self.limiter.refill(self.now, interval);
        if !self.limiter.has_token() {
            return None;
        }
        let mut writer = Writer::new(buf);
        match answer {
            Answer::Session | Answer::Challenge => {
                self.handshake.hello(answer, self.offer(storage)).write(&mut writer)?;
            }
            Answer::Version => {
                VersionRefusal { version: VERSION, challenge: self.foreign_challenge }.write(&mut writer)?;
            }
        }
        let check = plain_check(writer.written());
        writer.u32(check)?;
        if answer != Answer::Version {
            count(&mut self.stats.hellos_sent);
        }
        self.owed.sent(answer);
        self.limiter.take();
        self.last = LastFrame::Hello(answer);
        Some(writer.len())
    }

    /// The last packet of a session that this node closed.
    fn write_close(&mut self, buf: &mut [u8]) -> Option<usize> {
        let session = *self.handshake.session()?;
        let mut writer = Writer::new(buf);
        let number = self.sent.next();
        Header { number: number.get(), number_len: self.sent.next_len(), ack: None }.write(&mut writer)?;
        let room = writer.room();
        MessageWriter::new(&mut writer, room).push(&WireMessage::Close)?;
        let len = seal(&session, number, None, &mut writer)?;
        self.sent.packet_sent(false);
        self.listening = Listening::Closed;
        self.last = LastFrame::Close;
        Some(len)
    }

    /// A packet in the session, if there is anything to say.
    fn write_packet<S: Storage>(&mut self, storage: &mut S, buf: &mut [u8]) -> Option<usize> {
        let session = *self.handshake.session()?;
        let window = session.peer.offer.notify_window;
        let is_ack_due = self.received.is_ack_due(self.now, &self.round_trip);
        let has_messages = self.can_send(storage, window) || S::PUBLISH > 0 && self.out.publishes.has_waiting();
        if !is_ack_due && !has_messages {
            return None;
        }
        let limit = packet_len(self.frame_limit(storage)).min(buf.len()).checked_sub(CHECK_LEN)?;
        let mut ack = self.received.ack(self.now, &self.round_trip);
        let mut packed;
        let mut writer = Writer::new(buf);
        loop {
            writer.clear();
            packed = self.write_content(storage, &mut writer, limit, ack.map(|(field, _)| field), window)?;
            // A message that does not fit beside an ack goes without one; an ack that is due goes first.
            if packed.messages > 0 || ack.is_none() || is_ack_due {
                break;
            }
            ack = None;
        }
        if packed.messages == 0 && ack.is_none() {
            return None;
        }
        let number = self.sent.next();
        let len = seal(&session, number, ack.map(|(_, largest)| largest), &mut writer)?;
        self.sent.packet_sent(packed.is_eliciting);
        let ack_was_owed = ack.map(|_| self.received.ack_sent(number));
        self.last = LastFrame::Packet { ack_was_owed };
        self.stats.retransmits = self.stats.retransmits.saturating_add(packed.retransmits);
        if packed.messages == 0 {
            count(&mut self.stats.acks_sent);
        }
        Some(len)
    }

    /// Writes the header and the messages that fit into `limit` bytes.
    fn write_content<S: Storage>(
        &mut self,
        storage: &mut S,
        writer: &mut Writer<'_>,
        limit: usize,
        ack: Option<AckField>,
        window: u16,
    ) -> Option<Packed> {
        let number = self.sent.next();
        Header { number: number.get(), number_len: self.sent.next_len(), ack }.write(writer)?;
        let room = limit.saturating_sub(writer.len());
        let default = time_to_live::decode(self.config.default_time_to_live);
        let must_elicit = self.sent.must_elicit();
        let (mut out, log) = self.out.with(storage);
        let mut packer = Packer {
            messages: MessageWriter::new(writer, room),
            sent: &mut self.sent,
            log,
            now: self.now,
            default,
            packed: Packed::default(),
        };
        packer.pack_reliable(&mut out, window, room);
        // Before the publishes, which could fill every packet.
        packer.pack_ping(&mut out, must_elicit);
        packer.pack_publishes(&mut out);
        Some(packer.packed)
    }
}

/// Moves waiting messages into a packet.
struct Packer<'p, 'w, 'b> {
    messages: MessageWriter<'w, 'b>,
    sent: &'p mut Sent,
    log: &'p mut [Transmission],
    now: Instant,
    default: Duration,
    packed: Packed,
}

impl Packer<'_, '_, '_> {
    /// Messages that ask for an ack.
    fn pack_reliable(&mut self, out: &mut Outgoing<'_, impl Storage>, window: u16, room: usize) {
        let is_small_burst = out.waits_for_at_most(room, window);
        while let Some(waiting) = out.next(window) {
            if !make_room(self.sent, self.log, out) {
                break;
            }
            let Some(message) = out.message(waiting, self.now, self.default) else { break };
            if self.messages.push(&message).is_none() {
                break;
            }
            let number = self.sent.next().get() as u32;
            let Some((message, was_sent)) = out.sent(waiting, number) else { break };
            self.sent.push(self.log, self.now, message);
            self.packed.messages = self.packed.messages.saturating_add(1);
            self.packed.retransmits = self.packed.retransmits.saturating_add(u32::from(was_sent));
            if was_sent {
                tell(Story::SentAgain { message, packet: self.sent.next().get() });
            }
            self.packed.is_eliciting = true;
            if is_small_burst {
                self.messages.end_at(SMALL_BURST);
            }
        }
    }

    fn pack_publishes<S: Storage>(&mut self, out: &mut Outgoing<'_, S>) {
        if S::PUBLISH == 0 {
            return;
        }
        while let Some(index) = out.publishes.next_to_send() {
            let Some(message) = out.publishes.message(index) else { break };
            if self.messages.push(&message).is_none() {
                break;
            }
            out.publishes.sent(index);
            self.packed.messages = self.packed.messages.saturating_add(1);
        }
    }

    /// A PING, unless another message asks for an ack already.
    fn pack_ping(&mut self, out: &mut Outgoing<'_, impl Storage>, must_elicit: bool) {
        let number = self.sent.next().get() as u32;
        if self.packed.is_eliciting {
            if *out.ping == Ping::Queued {
                *out.ping = Ping::Sent(number);
            }
            return;
        }
        let is_wanted = *out.ping == Ping::Queued || must_elicit;
        if is_wanted && make_room(self.sent, self.log, out) && self.messages.push(&WireMessage::Ping).is_some() {
            *out.ping = Ping::Sent(number);
            self.sent.push(self.log, self.now, MessageId::Ping);
            self.packed.messages = self.packed.messages.saturating_add(1);
            self.packed.is_eliciting = true;
        }
    }
}

/// Whether the log can take one more transmission: it has room, or its oldest one matters no more.
fn has_room(sent: &mut Sent, log: &[Transmission], out: &Outgoing<'_, impl Storage>) -> bool {
    !sent.is_full(log) || sent.oldest(log).is_none_or(|(message, number)| !out.needs(message, number))
}

/// Makes room in the log: the oldest transmission is forgotten if its message was sent again or needs no ack any
/// more.
fn make_room(sent: &mut Sent, log: &[Transmission], out: &Outgoing<'_, impl Storage>) -> bool {
    let has_room = has_room(sent, log, out);
    if has_room && sent.is_full(log) {
        sent.forget_oldest(log);
    }
    has_room
}

/// Appends the check; returns the length of the frame.
fn seal(
    session: &Session,
    number: PacketNumber,
    acked: Option<PacketNumber>,
    writer: &mut Writer<'_>,
) -> Option<usize> {
    let check = session.send.check(number, acked, writer.written());
    writer.u32(check)?;
    Some(writer.len())
}

impl<S: Storage> Outgoing<'_, S> {
    /// Whether all that waits fits into `room` bytes.
    fn waits_for_at_most(&self, mut room: usize, window: u16) -> bool {
        let mut fits = |len| {
            let rest = room.checked_sub(len);
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        (S::REPLIES == 0 || self.replies.waiting_lens().all(&mut fits))
            && (S::CALLS == 0 || self.calls.waiting_lens().all(&mut fits))
            && (S::NOTIFY_OUT == 0 || self.notifies.waiting_lens(window).all(&mut fits))
    }
}
