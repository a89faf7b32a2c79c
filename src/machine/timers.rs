//! What happens when time passes (`PROTOCOL.md §9.3`).

use super::outgoing::Ping;
use super::{Listening, Machine};
use crate::event::SessionEnd;
use crate::session::Answer;
use crate::stats::count;
use crate::storage::Parts;
use crate::story::{Story, tell};
use crate::time::{Duration, Instant};

/// So many repetitions go unanswered before the peer is presumed gone, or much farther than was measured. At 30 %
/// loss each way that happens once in 10⁵ by chance.
pub(super) const PATIENCE: u8 = 16;

/// However short the round trip, a storm of frames draws no more than a hundred HELLOs a second.
const MIN_HELLO_INTERVAL: u32 = 10_000;

impl Machine {
    pub(crate) fn handle_timeout(&mut self, parts: &mut Parts<'_>, now: Instant) {
        self.advance(now);
        let (now, is_reachable) = (self.now, self.is_connected());
        self.calls(parts).expire(now, is_reachable);
        if self.listening != Listening::Yes {
            return;
        }
        if self.handshake.session().is_some() {
            self.session_timers(parts);
        }
        if self.wants_greeting() && self.greet_at <= self.now {
            self.owed.add(self.handshake.greeting());
            self.greet_at = self.now + Duration::from_micros(u64::from(self.greet_interval));
            self.greet_interval = self.greet_interval.saturating_mul(2).min(self.config.heartbeat.max(1));
        }
        self.check_invariants(parts);
    }

    /// The next moment at which [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&mut self, parts: &mut Parts<'_>) -> Option<Instant> {
        let deadline = self.calls(parts).next_deadline();
        let rest = match self.listening {
            Listening::Quiet => Some(self.greet_at),
            Listening::Closing | Listening::Closed | Listening::ClosedQuiet => None,
            Listening::Yes => earliest(self.hello_timeout(), self.session_timeout(parts)),
        };
        earliest(deadline, rest)
    }

    fn hello_timeout(&mut self) -> Option<Instant> {
        if self.owed.next().is_none() {
            return self.wants_greeting().then_some(self.greet_at);
        }
        let interval = self.hello_interval();
        self.limiter.refill(self.now, interval);
        // With a token in hand it waits for the port alone.
        (!self.limiter.has_token()).then(|| self.limiter.next_at(self.now, interval))
    }

    fn session_timeout(&mut self, parts: &mut Parts<'_>) -> Option<Instant> {
        let window = self.handshake.session()?.peer.offer.notify_window;
        let lease_end = self.heard_at + Duration::from_micros(u64::from(self.config.lease));
        let keepalive = (self.out.ping == Ping::Idle).then(|| self.keepalive_at());
        let ack = self.received.ack_at(self.now, &self.round_trip);
        let lost = self.sent.lost_at(parts.sent, self.now, self.patient(self.round_trip.lost_micros()));
        let probe = if self.can_send(parts, window) { None } else { self.probe_at(parts) };
        [Some(lease_end), keepalive, self.suspect_at(), ack, lost, probe].into_iter().flatten().min()
    }

    fn session_timers(&mut self, parts: &mut Parts<'_>) {
        if self.heard_at + Duration::from_micros(u64::from(self.config.lease)) <= self.now {
            self.leave(parts, SessionEnd::PeerLost);
            return;
        }
        if self.out.ping == Ping::Idle && self.keepalive_at() <= self.now {
            self.out.ping = Ping::Queued;
        }
        if self.suspect_at().is_some_and(|at| at <= self.now) {
            self.suspect_since = None;
            self.owed.add(Answer::Challenge);
        }
        self.repeat_lost(parts);
        self.probe(parts);
    }

    /// Sends again what is lost: a later packet was acknowledged and the reordering window is over.
    pub(super) fn repeat_lost(&mut self, parts: &mut Parts<'_>) {
        let age = self.patient(self.round_trip.lost_micros());
        let (mut out, log) = self.out.with(parts);
        let mut has_any = false;
        self.sent.take_lost(log, self.now, age, |message, number| {
            if out.needs(message, number) {
                out.repeat(message);
                has_any = true;
            }
        });
        self.repeated(has_any);
    }

    /// The peer repeats itself, so it has missed something of ours: all that is overdue is sent again.
    pub(super) fn repeat_overdue(&mut self, parts: &mut Parts<'_>) {
        self.repeat_older_than(parts, self.patient(self.round_trip.overdue_micros()));
    }

    /// Sends again what has waited too long for its ack, unless something else goes out that will tell.
    fn probe(&mut self, parts: &mut Parts<'_>) {
        let Some(session) = self.handshake.session() else { return };
        let window = session.peer.offer.notify_window;
        if !self.can_send(parts, window) && self.repeat_older_than(parts, self.probe_interval()) {
            count(&mut self.stats.probes);
            tell(Story::Probe { repetition: self.unanswered });
        }
    }

    /// Sends again all that went out at least `age` microseconds ago and is not acknowledged; returns whether there
    /// was any.
    fn repeat_older_than(&mut self, parts: &mut Parts<'_>, age: u32) -> bool {
        let (mut out, log) = self.out.with(parts);
        let mut has_any = false;
        self.sent.each(log, self.now, |message, number, elapsed| {
            if elapsed < age {
                return false;
            }
            if out.needs(message, number) {
                out.repeat(message);
                has_any = true;
            }
            true
        });
        self.repeated(has_any);
        has_any
    }

    /// Takes note of a repetition.
    fn repeated(&mut self, has_any: bool) {
        self.unanswered = self.unanswered.saturating_add(u8::from(has_any));
    }

    fn probe_at(&mut self, parts: &mut Parts<'_>) -> Option<Instant> {
        let interval = self.probe_interval();
        let (out, log) = self.out.with(parts);
        let mut age = None;
        self.sent.each(log, self.now, |message, number, elapsed| {
            age = out.needs(message, number).then_some(elapsed);
            age.is_none()
        });
        age.map(|age| self.now.stamp().deadline(self.now, interval.saturating_sub(age)))
    }

    /// How long an ack is waited for. It does not grow with losses, which on a wire of one's own do not mean load;
    /// only when nothing new was acknowledged for long it doubles each time: the peer is gone, or the round trip is
    /// much longer than was measured and the log forgets packets before their acks come.
    fn probe_interval(&self) -> u32 {
        let interval = self.round_trip.probe_micros();
        let in_vain = u32::from(self.unanswered.saturating_sub(PATIENCE));
        let stretched = if in_vain < 16 { interval.saturating_mul(1 << in_vain) } else { u32::MAX };
        stretched.min(self.config.heartbeat).max(interval)
    }

    /// `micros`, but no less than the probe interval once that grows.
    fn patient(&self, micros: u32) -> u32 {
        if self.unanswered > PATIENCE { micros.max(self.probe_interval()) } else { micros }
    }

    fn keepalive_at(&self) -> Instant {
        self.heard_at + Duration::from_micros(u64::from(self.config.lease / 4))
    }

    /// When the peer is challenged because a frame failed.
    fn suspect_at(&self) -> Option<Instant> {
        self.suspect_since.map(|since| since.deadline(self.now, self.round_trip.micros()))
    }

    /// Whether HELLO is said unasked: to find a peer, or to bring it into the session.
    fn wants_greeting(&self) -> bool {
        match self.handshake.session() {
            Some(session) => !session.is_confirmed,
            None => self.config.is_active || self.out.wants_session(),
        }
    }

    /// How often frames of a peer may draw a HELLO in the long run (`PROTOCOL.md §8.5`).
    pub(super) fn hello_interval(&self) -> u32 {
        self.round_trip.probe_micros().min(self.config.heartbeat).max(MIN_HELLO_INTERVAL)
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}
