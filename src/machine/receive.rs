//! What a frame leads to.

use super::messages::OpenPacket;
use super::outgoing::Ping;
use super::timers::PATIENCE;
use super::{Listening, Machine, Messages};
use crate::host_flag::HostFlag;
use crate::recovery::{Arrival, Asks};
use crate::session::{Answer, Verdict};
use crate::stats::count;
use crate::storage::Storage;
use crate::story::{Foreign, Story, Unreadable, Useless, tell};
use crate::time::Instant;
use crate::wire::{
    AckField, CHECK_LEN, Header, Hello, HelloError, KIND_HELLO, KIND_VERSION, PacketNumber, Reader, SESSION_BIT,
    VersionRefusal, WireMessage, WireMessages, plain_check, restore, restore_ack, split_check,
};

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
            is_straggler: HostFlag::new(arrival == Arrival::Straggler),
            must_come_again: false,
        };
        if is_empty {
            // Nothing to take, so it is received as it stands.
            self.packet_taken(storage, &open);
            return Messages::none();
        }
        Messages::new(messages, open)
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
