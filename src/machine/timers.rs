//! What happens when time passes (`PROTOCOL.md §9.3`).

use super::outgoing::Ping;
use super::{Listening, Machine};
use crate::event::SessionEnd;
use crate::session::Answer;
use crate::stats::count;
use crate::storage::{Storage};
use crate::story::{Story, tell};
use crate::time::{Duration, Instant};

/// So many repetitions go unanswered before the peer is presumed gone, or much farther than was measured. At 30 %
/// loss each way that happens once in 10⁵ by chance.
pub(super) const PATIENCE: u8 = 16;

/// However short the round trip, a storm of frames draws no more than a hundred HELLOs a second.
const MIN_HELLO_INTERVAL: u32 = 10_000;

impl Machine {
    pub(crate) fn handle_timeout<S: Storage>(&mut self, storage: &mut S, now: Instant) {
        self.advance(now);
        let (now, is_reachable) = (self.now, self.is_connected());
        if S::CALLS > 0 {
            self.calls(storage).expire(now, is_reachable);
        }
        if self.listening != Listening::Yes {
            return;
        }
        if self.handshake.session().is_some() {
            self.session_timers(storage);
        }
        if self.wants_greeting::<S>() && self.greet_at <= self.now {
            self.owed.add(self.handshake.greeting());
            self.greet_at = self.now + Duration::from_micros(u64::from(self.greet_interval));
            self.greet_interval = self.greet_interval.saturating_mul(2).min(self.config.heartbeat.max(1));
        }
        self.check_invariants(storage);
    }

    /// The next moment at which [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout<S: Storage>(&mut self, storage: &mut S) -> Option<Instant> {
        let deadline = if S::CALLS > 0 { self.calls(storage).next_deadline() } else { None };
        let rest = match self.listening {
            Listening::Quiet => Some(self.greet_at),
            Listening::Closing | Listening::Closed | Listening::ClosedQuiet => None,
            Listening::Yes => earliest(self.hello_timeout::<S>(), self.session_timeout(storage)),
        };
        earliest(deadline, rest)
    }

    fn hello_timeout<S: Storage>(&mut self) -> Option<Instant> {
        if self.owed.next().is_none() {
            return self.wants_greeting::<S>().then_some(self.greet_at);
        }
        let interval = self.hello_interval();
        self.limiter.refill(self.now, interval);
        // With a token in hand it waits for the port alone.
        (!self.limiter.has_token()).then(|| self.limiter.next_at(self.now, interval))
    }

    fn session_timeout<S: Storage>(&mut self, storage: &mut S) -> Option<Instant> {
        let window = self.handshake.session()?.peer.offer.notify_window;
        let lease_end = self.heard_at + Duration::from_micros(u64::from(self.config.lease));
        let keepalive = (self.out.ping == Ping::Idle).then(|| self.keepalive_at());
        let ack = self.received.ack_at(self.now, &self.round_trip);
        let lost = self.sent.lost_at(storage.lent().sent, self.now, self.patient(self.round_trip.lost_micros()));
        let probe = if self.can_send(storage, window) { None } else { self.probe_at(storage) };
        [Some(lease_end), keepalive, self.suspect_at(), ack, lost, probe].into_iter().flatten().min()
    }

    fn session_timers<S: Storage>(&mut self, storage: &mut S) {
        if self.heard_at + Duration::from_micros(u64::from(self.config.lease)) <= self.now {
            self.leave(storage, SessionEnd::PeerLost);
            return;
        }
        if self.out.ping == Ping::Idle && self.keepalive_at() <= self.now {
            self.out.ping = Ping::Queued;
        }
        if self.suspect_at().is_some_and(|at| at <= self.now) {
            self.suspect_since = None;
            self.owed.add(Answer::Challenge);
        }
        self.repeat_lost(storage);
        self.probe(storage);
    }

    /// Sends again what is lost: a later packet was acknowledged and the reordering window is over.
    pub(super) fn repeat_lost<S: Storage>(&mut self, storage: &mut S) {
        let age = self.patient(self.round_trip.lost_micros());
        let (mut out, log) = self.out.with(storage);
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
    pub(super) fn repeat_overdue<S: Storage>(&mut self, storage: &mut S) {
        self.repeat_older_than(storage, self.patient(self.round_trip.overdue_micros()));
    }

    /// Sends again what has waited too long for its ack, unless something else goes out that will tell.
    fn probe<S: Storage>(&mut self, storage: &mut S) {
        let Some(session) = self.handshake.session() else { return };
        let window = session.peer.offer.notify_window;
        if !self.can_send(storage, window) && self.repeat_older_than(storage, self.probe_interval()) {
            count(&mut self.stats.probes);
            tell(Story::Probe { repetition: self.unanswered });
        }
    }

    /// Sends again all that went out at least `age` microseconds ago and is not acknowledged; returns whether there
    /// was any.
    fn repeat_older_than<S: Storage>(&mut self, storage: &mut S, age: u32) -> bool {
        let (mut out, log) = self.out.with(storage);
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

    fn probe_at<S: Storage>(&mut self, storage: &mut S) -> Option<Instant> {
        let interval = self.probe_interval();
        let (out, log) = self.out.with(storage);
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
    fn wants_greeting<S: Storage>(&self) -> bool {
        match self.handshake.session() {
            Some(session) => !session.is_confirmed,
            None => self.config.is_active || self.out.wants_session::<S>(),
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
