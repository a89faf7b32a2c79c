//! What happens when time passes (`PROTOCOL.md §9.3`).

use super::outgoing::Ping;
use super::{Listening, Machine};
use crate::event::SessionEnd;
use crate::session::Answer;
use crate::stats::count;
use crate::storage::Storage;
use crate::story::{Story, tell};
use crate::time::{Instant, Soonest};

/// So many repetitions go unanswered before the peer is presumed gone, or much farther than was measured. At 30 %
/// loss each way that happens once in 10⁵ by chance.
pub(super) const PATIENCE: u8 = 16;

/// However short the round trip, a storm of frames draws no more than a hundred HELLOs a second.
const MIN_HELLO_INTERVAL: u32 = 10_000;

impl Machine {
    pub(crate) fn handle_timeout<S: Storage>(&mut self, storage: &mut S, now: Instant) {
        self.advance(now);
        if S::CALLS > 0 && self.out.calls.has_used() {
            let (now, is_reachable) = (self.now, self.is_connected());
            self.calls(storage).expire(now, is_reachable);
        }
        if self.listening != Listening::Yes {
            return;
        }
        if self.handshake.session().is_some() {
            self.session_timers(storage);
        }
        if self.wants_greeting::<S>() && self.greeted_at.is_over(self.now.stamp(), self.greet_after) {
            self.owed.add(self.handshake.greeting());
            self.greeted_at = self.now.stamp();
            self.greet_after = self.greet_interval;
            self.greet_interval = self.greet_interval.saturating_mul(2).min(self.config.heartbeat.max(1));
        }
        self.check_invariants(storage);
    }

    /// The next moment at which [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout<S: Storage>(&mut self, storage: &mut S) -> Option<Instant> {
        let mut soonest = Soonest::NONE;
        if S::CALLS > 0 {
            let now = self.now;
            self.calls(storage).next_deadline(now, &mut soonest);
        }
        match self.listening {
            Listening::Quiet => soonest.or(self.now.stamp(), self.greeted_at, self.greet_after),
            Listening::Closing | Listening::Closed | Listening::ClosedQuiet => {}
            Listening::Yes => {
                self.next_hello::<S>(&mut soonest);
                self.next_session_timer(storage, &mut soonest);
            }
        }
        soonest.at(self.now)
    }

    fn next_hello<S: Storage>(&mut self, soonest: &mut Soonest) {
        let now = self.now.stamp();
        if self.owed.next().is_none() {
            if self.wants_greeting::<S>() {
                soonest.or(now, self.greeted_at, self.greet_after);
            }
            return;
        }
        let interval = self.hello_interval();
        self.limiter.refill(now, interval);
        // With a token in hand it waits for the port alone.
        if !self.limiter.has_token() {
            soonest.or(now, self.limiter.refilled_at(), interval);
        }
    }

    fn next_session_timer<S: Storage>(&mut self, storage: &mut S, soonest: &mut Soonest) {
        if self.handshake.session().is_none() {
            return;
        }
        let now = self.now.stamp();
        soonest.or(now, self.heard_at, self.config.lease);
        if self.out.ping == Ping::Idle {
            soonest.or(now, self.heard_at, self.keepalive());
        }
        if let Some(since) = self.suspect_since {
            soonest.or(now, since, self.round_trip.micros());
        }
        if let Some(since) = self.received.ack_awaits_company_since(now, &self.round_trip) {
            soonest.or(now, since, self.round_trip.ack_delay_micros());
        }
        if let Some((since, overtaken)) = self.sent.oldest_overtaken(storage.lent().sent) {
            soonest.or(now, since, self.patient(self.round_trip.lost_micros(overtaken)));
        }
        if !self.sent.is_empty()
            && !self.can_send(storage)
            && let Some(since) = self.sent.oldest_needed(&mut self.out.with(storage))
        {
            soonest.or(now, since, self.probe_interval());
        }
    }

    fn session_timers<S: Storage>(&mut self, storage: &mut S) {
        let now = self.now.stamp();
        if self.heard_at.is_over(now, self.config.lease) {
            self.leave(storage, SessionEnd::PeerLost);
            return;
        }
        if self.out.ping == Ping::Idle && self.heard_at.is_over(now, self.keepalive()) {
            self.out.ping = Ping::Queued;
        }
        // The peer is challenged because a frame failed and none came since that did not.
        if self.suspect_since.is_some_and(|since| since.is_over(now, self.round_trip.micros())) {
            self.suspect_since = None;
            self.owed.add(Answer::Challenge);
        }
        if self.has_waited_for_acks(storage) {
            self.repeat_unacknowledged(storage);
        }
    }

    /// Sends again what is lost, or else has waited too long.
    #[cfg_attr(feature = "speed", inline(never))]
    fn repeat_unacknowledged<S: Storage>(&mut self, storage: &mut S) {
        self.repeat_lost(storage);
        self.probe(storage);
    }

    /// Whether any packet has waited for its ack for a round trip. No timer of one that has not is over.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(super) fn has_waited_for_acks<S: Storage>(&self, storage: &mut S) -> bool {
        let oldest = self.sent.oldest(storage.lent().sent);
        oldest.is_some_and(|oldest| oldest.is_over(self.now.stamp(), self.round_trip.micros()))
    }

    /// Sends again what is lost: a later packet was acknowledged, and the reordering window is over.
    pub(super) fn repeat_lost<S: Storage>(&mut self, storage: &mut S) {
        let (least, now) = (self.least_age(), self.now.stamp());
        let age = |overtaken| self.round_trip.lost_micros(overtaken).max(least);
        let has_any = self.sent.repeat_lost(&mut self.out.with(storage), now, age);
        self.repeated(has_any);
    }

    /// The peer repeats itself, so it has missed something of ours: all that is overdue is sent again.
    pub(super) fn repeat_overdue<S: Storage>(&mut self, storage: &mut S) {
        self.repeat_older_than(storage, self.patient(self.round_trip.overdue_micros()));
    }

    /// Sends again what has waited too long for its ack, unless something else goes out that will tell.
    fn probe<S: Storage>(&mut self, storage: &mut S) {
        if !self.can_send(storage) && self.repeat_older_than(storage, self.probe_interval()) {
            count(&mut self.stats.probes);
            tell(Story::Probe { repetition: self.unanswered });
        }
    }

    /// Sends again all that went out at least `age` microseconds ago and is not acknowledged; returns whether there
    /// was any.
    fn repeat_older_than<S: Storage>(&mut self, storage: &mut S, age: u32) -> bool {
        let has_any = self.sent.repeat_older_than(&mut self.out.with(storage), self.now.stamp(), age);
        self.repeated(has_any);
        has_any
    }

    /// Takes note of a repetition.
    fn repeated(&mut self, has_any: bool) {
        self.unanswered = self.unanswered.saturating_add(u8::from(has_any));
    }

    /// How long an ack is waited for. It does not grow with losses, which on a wire of one's own do not mean load;
    /// only when nothing new was acknowledged for long it doubles each time: the peer is gone, or the round trip is
    /// much longer than was measured and the log forgets packets before their acks come.
    fn probe_interval(&self) -> u32 {
        let interval = self.round_trip.probe_micros();
        let mut stretched = interval;
        for _ in PATIENCE..self.unanswered {
            if stretched >= self.config.heartbeat {
                break;
            }
            stretched = stretched.saturating_mul(2);
        }
        stretched.min(self.config.heartbeat).max(interval)
    }

    /// No packet is given up that is younger than so many microseconds: the probe interval, once that grows.
    fn least_age(&self) -> u32 {
        if self.unanswered > PATIENCE { self.probe_interval() } else { 0 }
    }

    /// `micros`, but no less than [`Self::least_age`].
    fn patient(&self, micros: u32) -> u32 {
        micros.max(self.least_age())
    }

    /// After how many microseconds of silence the peer is asked for a sign of life.
    const fn keepalive(&self) -> u32 {
        self.config.lease / 4
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

    /// Says HELLO after `micros`, and then often at first.
    pub(super) fn greet_in(&mut self, micros: u32) {
        self.greeted_at = self.now.stamp();
        self.greet_after = micros;
        self.greet_interval = self.round_trip.probe_micros();
    }
}
