//! One side: the shipped endpoint, its clock, and an application that calls and answers.

use std::hash::{Hash, Hasher};

use bowline::{
    Call, Config, Duration, Endpoint, Event, Incarnation, Instant, Message, Refusal, RequestId, Semantics, Storage,
};

use crate::canonical::Canonical;
use crate::frame::{CALL, DONE, Frame, calls_in, payload, tagged};
use crate::input::{Input, Outside};
use crate::landmark::Landmark;
use crate::ledger::{Broken, Fact, Seen};
use crate::scope::{Scope, Side};

/// A turn of the clock, in microseconds: whatever waits for a probe interval, an ack delay, a lost packet, a HELLO
/// token or the next greeting is due after one.
pub const TICK: u64 = 17_000;
/// A silent peer is lost after so many turns; two without a sign of life draw a PING.
pub const LEASE: u64 = 8 * TICK;
/// A call ends after so many.
pub const TIMEOUT: u64 = 3 * TICK;
/// More events or frames than these, in answer to one thing, are a storm.
const MAX_AT_ONCE: u32 = 20;

/// Memory of an endpoint that can be searched.
pub trait Memory: Storage + Clone + Hash + Default {}
impl<S: Storage + Clone + Hash + Default> Memory for S {}

/// A handler that runs.
#[derive(Clone, Debug, Hash)]
pub struct Run {
    pub request: RequestId,
    pub id: u8,
    pub is_orphan: bool,
    pub is_cancelled: bool,
}

/// A call whose outcome is awaited.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: u8,
    pub call: Call,
    deadline: u64,
}

#[derive(Clone, Debug)]
pub struct Node<S> {
    side: Side,
    pub life: u8,
    now: u64,
    endpoint: Endpoint<S>,
    pub waiting: Vec<Waiting>,
    pub runs: Vec<Run>,
    pub is_closed: bool,
    /// Whether nothing waits, no slot is taken, and the peer is known to be in the session.
    pub is_at_rest: bool,
    hash: u64,
}

impl<S: Memory> Node<S> {
    pub fn boot(scope: &Scope, side: Side, life: u8, now: u64) -> Self {
        // Each life has its number; what the number is does not matter.
        let entropy = (u64::from(side as u8 + 1) << 40) + (u64::from(life) << 32) + u64::from(life) * 0x1000;
        let incarnation = match scope.without_entropy {
            Some(poor) if poor == side => Incarnation::none(side as u32 + 1, Duration::ZERO),
            _ => Incarnation::random(entropy),
        };
        // Either all acks wait for company until the next turn, or none does. A probe takes one turn.
        let (round_trip, granularity) = if scope.acks_at_once { (10, 15_985) } else { (2_000, 13_000) };
        let config = Config {
            lease: Duration::from_micros(LEASE),
            heartbeat: Duration::from_micros(16_000),
            initial_round_trip: Duration::from_micros(round_trip),
            granularity: Duration::from_micros(granularity),
            default_time_to_live: Duration::ZERO,
            ..Config::new(incarnation)
        };
        let endpoint = Endpoint::new(Instant::from_micros(now), config, S::default());
        let (waiting, runs) = (Vec::new(), Vec::new());
        let mut node = Self { side, life, now, endpoint, waiting, runs, is_closed: false, is_at_rest: false, hash: 0 };
        node.remember(scope);
        node
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The session that it holds, and whether it knows that the peer does.
    pub fn session(&self) -> Option<(u32, bool)> {
        self.endpoint.session()
    }

    pub fn session_id(&self) -> Option<u32> {
        self.session().map(|(id, _)| id)
    }

    /// Lets it happen; `false` if it cannot.
    pub fn happen(&mut self, input: Input<'_>, outside: &mut Outside<'_>) -> bool {
        let (session, packets) = (self.session_id(), self.endpoint.packets_sent());
        let mut has_happened = true;
        match input {
            Input::Call(id) => has_happened = self.call(id, outside),
            Input::Cancel(index) => self.cancel(index, outside),
            Input::Deliver(frame) => self.deliver(frame, outside),
            Input::Wait(time) => self.wait(time, outside),
            Input::Crash => self.crash(outside),
            Input::Finish(index) => self.finish(index, outside),
            Input::GiveUp(index) => self.give_up(index, outside),
            Input::Transmit { is_taken } => has_happened = self.transmit(is_taken, outside),
            Input::Close => self.close(outside),
            Input::Open => self.open(outside),
        }
        if session.is_some() && session == self.session_id() && turn(packets) != turn(self.endpoint.packets_sent()) {
            outside.landmarks.insert(Landmark::PacketNumberWrapped);
        }
        self.remember(outside.scope);
        has_happened
    }

    // What can happen to it.

    fn call(&mut self, id: u8, outside: &mut Outside<'_>) -> bool {
        let (semantics, timeout) = (semantics(outside.scope, id), Duration::from_micros(TIMEOUT));
        match self.endpoint.call(self.instant(), 7, semantics, timeout, &payload(CALL, id)) {
            Ok(call) => self.waiting.push(Waiting { id, call, deadline: self.now + TIMEOUT }),
            Err(_) => return false,
        }
        self.settle(None, outside);
        true
    }

    fn cancel(&mut self, index: usize, outside: &mut Outside<'_>) {
        self.endpoint.cancel(self.instant(), self.waiting[index].call);
        self.settle(None, outside);
    }

    fn wait(&mut self, time: u64, outside: &mut Outside<'_>) {
        self.now += time;
        self.endpoint.handle_timeout(self.instant());
        self.settle(None, outside);
        if self.waiting.iter().any(|waiting| waiting.deadline <= self.now) {
            outside.breaks(Broken::EndedLate);
        }
    }

    fn crash(&mut self, outside: &mut Outside<'_>) {
        self.waiting.iter().for_each(|waiting| outside.note(Fact::CallerCrashed(waiting.id)));
        *self = Self::boot(outside.scope, self.side, self.life + 1, self.now);
        self.wait(0, outside);
    }

    fn close(&mut self, outside: &mut Outside<'_>) {
        self.endpoint.close(self.instant());
        self.is_closed = true;
        self.settle(None, outside);
        if !self.waiting.is_empty() {
            outside.breaks(Broken::EndedLate);
        }
    }

    fn open(&mut self, outside: &mut Outside<'_>) {
        self.endpoint.connect(self.instant());
        self.is_closed = false;
        self.settle(None, outside);
    }

    /// A frame comes. How long its way took is not measured: the clock has just been set back a little.
    fn deliver(&mut self, frame: &Frame, outside: &mut Outside<'_>) {
        let before = self.session_id();
        let is_of_another = frame.session.is_some() && frame.session != before;
        let past = is_of_another.then(|| self.without_suspicion());
        let mut bytes = frame.bytes.clone();
        let mut messages = self.endpoint.handle_frame(Instant::from_micros(self.now - 1), &mut bytes);
        let mut has_messages = false;
        while let Some(message) = messages.next(&mut self.endpoint) {
            has_messages = true;
            self.take(&message, outside);
        }
        if is_of_another && before.is_some() {
            outside.landmarks.insert(Landmark::OldFrame);
        }
        if is_of_another && frame.session != self.session_id() {
            // Nothing but the suspicion that the peer holds another session.
            if has_messages || past != Some(self.without_suspicion()) {
                outside.breaks(Broken::OldFrameHadEffect);
            }
        }
        self.settle(Some(before), outside);
        let is_asked = frame.session.is_none() && before.is_some() && self.session_id() == before;
        if is_asked && outside.sent.iter().any(|answer| answer.session.is_none()) {
            outside.landmarks.insert(Landmark::Challenged);
        }
    }

    fn finish(&mut self, index: usize, outside: &mut Outside<'_>) {
        let run = self.runs.remove(index);
        outside.note(Fact::TakesEffect(run.id));
        let responded = self.endpoint.respond(self.instant(), run.request, &payload(DONE, run.id));
        if responded.is_err() != run.is_orphan {
            outside.breaks(Broken::Invariant);
        }
        self.settle(None, outside);
    }

    fn give_up(&mut self, index: usize, outside: &mut Outside<'_>) {
        let run = self.runs.remove(index);
        if run.is_orphan {
            self.endpoint.abandon(run.request);
        } else {
            let refusal = if run.is_cancelled { Refusal::Cancelled } else { Refusal::Busy };
            if self.endpoint.refuse(self.instant(), run.request, refusal).is_err() {
                outside.breaks(Broken::Invariant);
            }
        }
        self.settle(None, outside);
    }

    fn transmit(&mut self, is_taken: bool, outside: &mut Outside<'_>) -> bool {
        let mut buf = [0; 64];
        let Some(len) = self.endpoint.poll_transmit(self.instant(), &mut buf) else { return false };
        if is_taken {
            let is_session_packet = buf[0] & 0x80 != 0;
            let session = self.session_id().filter(|_| is_session_packet);
            if let Some(session) = session {
                calls_in(&buf[..len]).for_each(|id| outside.note(Fact::Sent { id, session }));
            }
            let frame = Frame::new(&buf[..len], self.life, session);
            if frame.begins_sequences_anew() {
                outside.landmarks.insert(Landmark::SequenceWrapped);
            }
            outside.sent.push(frame);
        } else {
            self.endpoint.handle_refused();
            outside.landmarks.insert(Landmark::PortRefused);
        }
        self.take_events(None, outside);
        true
    }

    // What follows from it.

    /// The application reads all events, and the port takes all frames if it takes them at once. `before` is the
    /// session before a frame came.
    fn settle(&mut self, before: Option<Option<u32>>, outside: &mut Outside<'_>) {
        self.take_events(before, outside);
        if outside.scope.is_prompt {
            while let Some(index) = self.runs.iter().position(|run| !run.is_orphan) {
                let run = self.runs.remove(index);
                outside.note(Fact::TakesEffect(run.id));
                let _ = self.endpoint.respond(self.instant(), run.request, &payload(DONE, run.id));
            }
        }
        if !outside.scope.is_lazy {
            let mut count = 0;
            while self.transmit(true, outside) {
                count += 1;
                if count > MAX_AT_ONCE {
                    return outside.breaks(Broken::Invariant);
                }
            }
        }
    }

    fn take(&mut self, message: &Message<'_>, outside: &mut Outside<'_>) {
        match message {
            Message::Request { id: request, payload, .. } => {
                let (Some(id), Some(session)) = (tagged(CALL, payload), self.session_id()) else {
                    return outside.breaks(Broken::Invariant);
                };
                let semantics = semantics(outside.scope, id);
                outside.note(Fact::Runs { id, semantics, session });
                self.runs.push(Run { request: *request, id, is_orphan: false, is_cancelled: false });
            }
            Message::Response { call, payload } => {
                let Some(index) = self.waiting.iter().position(|waiting| waiting.call == *call) else {
                    return outside.breaks(Broken::WrongReply);
                };
                let id = self.waiting.remove(index).id;
                let (answered, semantics) = (tagged(DONE, payload), semantics(outside.scope, id));
                outside.note(Fact::Succeeded { id, answered, semantics });
            }
            Message::Notify { .. } | Message::Publish { .. } => outside.breaks(Broken::Invariant),
        }
    }

    fn take_events(&mut self, before: Option<Option<u32>>, outside: &mut Outside<'_>) {
        let mut count = 0;
        while let Some(event) = self.endpoint.poll_event() {
            count += 1;
            if count > MAX_AT_ONCE {
                return outside.breaks(Broken::Invariant);
            }
            let session = self.session_id();
            match event {
                Event::CallFailed { call, error } => {
                    let Some(index) = self.waiting.iter().position(|waiting| waiting.call == call) else {
                        outside.breaks(Broken::WrongReply);
                        continue;
                    };
                    let id = self.waiting.remove(index).id;
                    let is_word = before.is_some_and(|before| before.is_some() && before == session);
                    outside.note(Fact::Failed { id, error, seen: Seen { session, is_word } });
                }
                Event::Orphaned { request } => {
                    outside.landmarks.insert(Landmark::Orphaned);
                    self.run(request, outside, |run| run.is_orphan = true);
                }
                Event::CancelRequested { request } => {
                    outside.landmarks.insert(Landmark::CancelCame);
                    self.run(request, outside, |run| run.is_cancelled = true);
                }
                Event::Disconnected { reason, .. } => outside.landmarks.extend(Landmark::of_end(reason)),
                Event::Connected => {}
                Event::VersionRefused { .. } => outside.breaks(Broken::Invariant),
            }
        }
    }

    fn run(&mut self, request: RequestId, outside: &mut Outside<'_>, change: impl FnOnce(&mut Run)) {
        match self.runs.iter_mut().find(|run| run.request == request) {
            Some(run) => change(run),
            None => outside.breaks(Broken::Invariant),
        }
    }

    fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// What is left when all that a failed frame may leave behind is taken away.
    fn without_suspicion(&self) -> u64 {
        let mut endpoint = self.endpoint.clone();
        endpoint.forget_suspicion();
        self.hash_of(&endpoint)
    }

    fn remember(&mut self, scope: &Scope) {
        self.endpoint.normalise();
        self.is_at_rest = self.session().is_some_and(|(_, is_confirmed)| is_confirmed)
            && self.endpoint.is_idle()
            && self.endpoint.free_calls() == scope.slots
            && self.waiting.is_empty()
            && self.runs.is_empty();
        self.hash = self.hash_of(&self.endpoint);
    }

    fn hash_of(&self, endpoint: &Endpoint<S>) -> u64 {
        let mut hasher = Canonical::new(self.now);
        endpoint.hash(&mut hasher);
        (self.side as u8, self.life, self.is_closed).hash(&mut hasher);
        self.runs.hash(&mut hasher);
        self.waiting.iter().for_each(|waiting| (waiting.id, waiting.call).hash(&mut hasher));
        hasher.finish()
    }
}

/// Calls beyond the scope are those that prove that the link has healed.
fn semantics(scope: &Scope, id: u8) -> Semantics {
    scope.calls.get(usize::from(id)).map_or(Semantics::AtMostOnce, |(_, semantics)| *semantics)
}

/// How often the numbers that fit a byte have been used up.
fn turn(packets: u32) -> u32 {
    packets / 4
}
