//! The state machine: what happens when a frame comes, when time passes, when the port has room. It works on the
//! slices of a storage, and exists once for each kind of it.

mod commands;
mod messages;
#[cfg(bowline_model)]
mod model;
mod outgoing;
mod receive;
mod timers;
mod transmit;

pub use messages::{Message, Messages};

use crate::config::Config;
use crate::event::{Event, SessionEnd};
use crate::host_flag::HostFlag;
use crate::oneway::{Held, HeldState, Publishes};
use crate::recovery::{Received, RoundTrip, Sent};
use crate::rpc::{Calls, Replies};
use crate::session::{Answer, Handshake, Limiter, Owed};
use crate::stats::{Stats, count};
use crate::storage::{Parts, Storage};
use crate::story::{Story, tell};
use crate::time::{Duration, Instant, Stamp};
use crate::wire::{Count, MAX_SLOTS, Offer, frame_len, payload_len, tell_window, time_to_live, widen};
use outgoing::{OutgoingState, Ping};

/// One end of a link. Its parts each keep one promise; this ties them together.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Machine {
    /// The latest moment that the caller has told.
    now: Instant,
    /// Whether the last one told was earlier: then measured times are worth nothing.
    is_clamped: bool,
    config: Settings,

    handshake: Handshake,
    limiter: Limiter,
    /// What to say without a session as soon as the limiter allows.
    owed: Owed,
    /// The challenge of the last HELLO of another version.
    foreign_challenge: u32,
    /// When HELLO was said unasked, how many microseconds later it is said again, and how many after that.
    greeted_at: Stamp,
    greet_after: u32,
    greet_interval: u32,
    /// When a frame failed that no good one has followed: the peer is challenged a round trip later.
    suspect_since: Option<Stamp>,
    /// Bytes that failed frames without a session entitle to in answer.
    credit: u16,

    sent: Sent,
    received: Received,
    round_trip: RoundTrip,
    /// When the last good packet came.
    heard_at: Stamp,
    /// Repetitions since an ack told of a message that had not been acknowledged.
    unanswered: u8,

    out: OutgoingState,
    held: HeldState,

    happened: Happened,
    listening: Listening,
    last: LastFrame,
    /// Whether it left nothing to be sent at this moment, and nothing has happened since. Boards rather look again: it costs them
    /// more to know.
    is_drained: HostFlag,
    stats: Stats,
}

/// The part of [`Config`] that is needed after the start, times in microseconds.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
struct Settings {
    lease: u32,
    heartbeat: u32,
    default_time_to_live: u8,
    is_active: bool,
    second_copy: bool,
    schema_digest: u32,
}

/// Events of the session that were not reported yet.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
struct Happened {
    ended: Option<SessionEnd>,
    notifies_unconfirmed: Count,
    has_connected: bool,
    /// Whether the application was last told that there is a session.
    is_told: bool,
    version: Option<u8>,
}

/// Whether frames are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
enum Listening {
    /// Not before the first greeting: a node without entropy lets old frames pass first.
    Quiet,
    Yes,
    /// Closed, and the peer is still to be told.
    Closing,
    Closed,
    /// Closed while it was quiet.
    ClosedQuiet,
}

/// What the port was given last, in case that it refuses.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
enum LastFrame {
    None,
    Hello(Answer),
    /// `is_bare` if it carried only an ack, `may_be_copied` if it carried messages and is not the second copy of another.
    Packet {
        ack_was_owed: Option<bool>,
        is_bare: bool,
        may_be_copied: bool,
    },
    Close,
}

impl Machine {
    #[inline(always)]
    pub(crate) fn new(now: Instant, config: &Config) -> Self {
        let quiet = config.incarnation.quiet;
        // Timers count in 32 bits, so what they wait for must come before those wrap.
        let timer = |duration: Duration| duration.as_micros_u32().min(u32::MAX / 2);
        let round_trip = RoundTrip::new(config.initial_round_trip, config.granularity);
        Self {
            now,
            is_clamped: false,
            config: Settings {
                lease: timer(config.lease),
                heartbeat: timer(config.heartbeat),
                default_time_to_live: time_to_live::encode(config.default_time_to_live),
                is_active: config.active,
                second_copy: config.second_copy,
                schema_digest: config.schema_digest,
            },
            handshake: Handshake::new(&config.incarnation),
            limiter: Limiter::new(now.stamp()),
            owed: Owed::default(),
            foreign_challenge: 0,
            greeted_at: now.stamp(),
            greet_after: timer(quiet),
            greet_interval: round_trip.probe_micros(),
            suspect_since: None,
            credit: 0,
            sent: Sent::new(),
            received: Received::new(),
            round_trip,
            heard_at: now.stamp(),
            unanswered: 0,
            out: OutgoingState::new(),
            held: HeldState::new(),
            happened: Happened {
                ended: None,
                notifies_unconfirmed: 0,
                has_connected: false,
                is_told: false,
                version: None,
            },
            listening: if quiet == Duration::ZERO { Listening::Yes } else { Listening::Quiet },
            last: LastFrame::None,
            is_drained: HostFlag::UNSET,
            stats: Stats::default(),
        }
    }

    /// Something is about to happen.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn wake(&mut self) {
        self.is_drained = HostFlag::UNSET;
    }

    /// Takes note of the time. A clock that runs backwards is clamped.
    #[cfg_attr(feature = "speed", inline)]
    fn advance(&mut self, now: Instant) {
        self.is_clamped = now < self.now;
        self.now = self.now.max(now);
        let is_quiet = matches!(self.listening, Listening::Quiet | Listening::ClosedQuiet);
        if is_quiet && self.greeted_at.is_over(self.now.stamp(), self.greet_after) {
            self.listening = if self.listening == Listening::Quiet { Listening::Yes } else { Listening::Closed };
        }
    }

    // What has happened.

    pub(crate) fn poll_event<S: Storage>(&mut self, storage: &mut S) -> Option<Event> {
        // A session that began and ended since the last time is told of as well.
        if self.happened.ended.is_some() && !self.happened.is_told {
            self.happened.is_told = true;
            return Some(Event::Connected);
        }
        if let Some(reason) = self.happened.ended.take() {
            self.happened.is_told = false;
            let notifies_unconfirmed = widen(core::mem::take(&mut self.happened.notifies_unconfirmed));
            return Some(Event::Disconnected { reason, notifies_unconfirmed });
        }
        if core::mem::take(&mut self.happened.has_connected) {
            self.happened.is_told = true;
            return Some(Event::Connected);
        }
        if let Some(version) = self.happened.version.take() {
            return Some(Event::VersionRefused { version });
        }
        let has_untold = S::REPLIES > 0 && self.out.replies.has_untold();
        if has_untold && let Some(request) = self.replies(storage).poll_orphaned() {
            return Some(Event::Orphaned { request });
        }
        if S::CALLS > 0
            && self.out.calls.has_ended()
            && let Some((call, error)) = self.calls(storage).poll_ended()
        {
            return Some(Event::CallFailed { call, error });
        }
        if !has_untold {
            return None;
        }
        self.replies(storage).poll_cancelled().map(|request| Event::CancelRequested { request })
    }

    pub(crate) fn poll_notify<'a, S: Storage>(&'a mut self, storage: &'a mut S) -> Option<(u16, &'a [u8])> {
        if S::NOTIFY_IN == 0 {
            return None;
        }
        self.held(storage).poll()
    }

    #[cfg(any(feature = "blocking", feature = "embedded-io-async"))]
    pub(crate) const fn set_schema_digest(&mut self, digest: u32) {
        self.config.schema_digest = digest;
    }

    #[cfg(any(feature = "tokio", test))]
    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.listening, Listening::Closing)
    }

    // Questions.

    /// The digest that the peer showed in the HELLO of this session.
    pub(crate) fn peer_schema_digest(&self) -> Option<u32> {
        self.handshake.session().map(|session| session.peer.offer.schema_digest)
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Tells sessions of this node apart; `None` without one.
    #[cfg_attr(feature = "speed", inline)]
    fn session_id(&self) -> Option<u32> {
        self.handshake.session().filter(|_| self.is_connected()).map(|session| session.id)
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn is_connected(&self) -> bool {
        self.handshake.session().is_some() && matches!(self.listening, Listening::Yes)
    }

    #[cfg(test)]
    pub(crate) const fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.measured()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.out.is_idle()
    }

    /// Bytes of the largest payload that may be sent now.
    pub(crate) fn max_payload<S: Storage>(&self, storage: &mut S) -> usize {
        storage.lent().payload.min(payload_len(self.frame_limit(storage)))
    }

    pub(crate) fn free_calls<S: Storage>(&self, storage: &mut S) -> usize {
        self.usable_calls(storage).saturating_sub(self.out.calls.used())
    }

    /// Slots that both sides have for calls of this node.
    fn usable_calls<S: Storage>(&self, storage: &mut S) -> usize {
        let own = storage.lent().calls.len().min(MAX_SLOTS);
        self.handshake.session().map_or(own, |session| own.min(usize::from(session.peer.offer.slots)))
    }

    /// The largest frame that both sides can handle.
    fn frame_limit<S: Storage>(&self, storage: &mut S) -> usize {
        let own = frame_len(storage.lent().payload);
        self.handshake.session().map_or(own, |session| own.min(usize::from(session.peer.offer.frame)))
    }

    fn offer<S: Storage>(&self, storage: &mut S) -> Offer {
        let parts = storage.lent();
        Offer {
            frame: frame_len(parts.payload) as u16,
            slots: parts.replies.len().min(MAX_SLOTS) as u8,
            // The expected notify is delivered out of its frame and needs no slot.
            notify_window: tell_window(parts.held.len().saturating_add(1)),
            time_to_live: self.config.default_time_to_live,
            schema_digest: self.config.schema_digest,
        }
    }

    // Beginning and end of a session.

    /// The handshake has entered a session; the one before, if there was one, `ended`.
    fn session_began<S: Storage>(&mut self, storage: &mut S, ended: Option<SessionEnd>) {
        if let Some(reason) = ended {
            self.session_ended(storage, reason);
        }
        count(&mut self.stats.sessions);
        self.sent = Sent::new();
        self.received = Received::new();
        self.heard_at = self.now.stamp();
        self.unanswered = 0;
        self.suspect_since = None;
        self.owed = Owed::default();
        self.credit = 0;
        self.last = LastFrame::None;
        self.greet_in(self.round_trip.probe_micros());
        let (slots, limit) = (self.usable_calls(storage), self.max_payload(storage));
        let mut out = self.out.with(storage);
        if S::CALLS > 0 {
            out.calls().begin_session(slots, limit);
        }
        let given_up = if S::NOTIFY_OUT > 0 { out.notifies().begin_session(limit) } else { 0 };
        if S::PUBLISH > 0 {
            out.publishes().begin_session(limit);
        }
        // A packet of ours is the proof that the peer waits for.
        self.out.ping = Ping::Queued;
        self.happened.notifies_unconfirmed = self.happened.notifies_unconfirmed.saturating_add(given_up);
        self.happened.has_connected = true;
        if let Some(session) = self.handshake.session() {
            tell(Story::SessionBegan { session: session.id, peer: session.peer.end.incarnation });
        }
    }

    /// The session is over; the handshake has left it already, or is about to.
    fn session_ended<S: Storage>(&mut self, storage: &mut S, reason: SessionEnd) {
        let mut out = self.out.with(storage);
        if S::CALLS > 0 {
            out.calls().end_session(reason.reason());
        }
        if S::REPLIES > 0 {
            out.replies().end_session();
        }
        let unconfirmed = if S::NOTIFY_OUT > 0 { out.notifies().end_session() } else { 0 };
        if S::PUBLISH > 0 || S::NOTIFY_IN > 0 {
            out.publishes().end_session();
        }
        if S::NOTIFY_IN > 0 {
            self.held(storage).end_session();
        }
        self.out.ping = Ping::Idle;
        self.happened.ended = Some(reason);
        self.happened.has_connected = false;
        self.happened.notifies_unconfirmed = self.happened.notifies_unconfirmed.saturating_add(unconfirmed);
    }

    /// The session is over and nothing takes its place.
    #[inline(never)]
    fn leave<S: Storage>(&mut self, storage: &mut S, reason: SessionEnd) {
        self.tell_end(reason);
        self.handshake.leave();
        self.owed = Owed::default();
        self.suspect_since = None;
        self.session_ended(storage, reason);
        self.greet_in(0);
        if reason == SessionEnd::ClosedByPeer {
            // It does not listen; one greeting a heartbeat is enough to notice when it does again.
            self.greet_after = self.config.heartbeat;
            self.greet_interval = self.config.heartbeat;
        }
    }

    fn tell_end(&self, reason: SessionEnd) {
        if let Some(session) = self.handshake.session() {
            tell(Story::SessionEnded { session: session.id, reason });
        }
    }

    fn calls<'a, S: Storage>(&'a mut self, storage: &'a mut S) -> Calls<'a> {
        self.out.with(storage).into_calls()
    }

    fn replies<'a, S: Storage>(&'a mut self, storage: &'a mut S) -> Replies<'a> {
        self.out.with(storage).into_replies()
    }

    fn publishes<'a, S: Storage>(&'a mut self, storage: &'a mut S) -> Publishes<'a> {
        self.out.with(storage).into_publishes()
    }

    fn held<'a, S: Storage>(&'a mut self, storage: &'a mut S) -> Held<'a> {
        let Parts { held: slots, held_payloads: payloads, payload, .. } = storage.lent();
        Held { state: &mut self.held, slots, payloads, payload }
    }

    /// Checks what must always hold, in debug builds, unless there is so much memory that it would take long.
    fn check_invariants<S: Storage>(&mut self, storage: &mut S) {
        if cfg!(debug_assertions) && storage.lent().sent.len() <= 32_767 {
            self.handshake.check_invariants();
            self.limiter.check_invariants();
            self.round_trip.check_invariants();
            self.received.check_invariants();
            self.sent.check_invariants(storage.lent().sent);
            self.out.with(storage).check_invariants();
            self.held(storage).check_invariants();
            debug_assert!(self.is_connected() || self.out.ping == Ping::Idle);
            let has_more = self.wants_to_send::<S>() || self.out.publishes.has_waiting() || self.owed.next().is_some();
            let is_due =
                self.received.is_ack_due(self.now.stamp(), &self.round_trip) || self.has_waited_for_acks(storage);
            debug_assert!(!self.is_drained.get() || !has_more && !is_due);
        }
    }
}
