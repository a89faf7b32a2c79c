//! The part of a node's application that calls: random work, and a check of every ending.

use std::ops::Range;

use bowline::{Call, CallError, Duration, Semantics, SendError, SessionEnd};

use super::any::AnyEndpoint;
use super::context::Context;
use super::ledger::{Entry, ID_LEN, OneWay, payload};
use super::rng::Rng;

/// What a node asks of its peer. The probabilities are shares of all actions; what is left over are calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Mean time between two actions, 0 for none at all.
    pub gap: u64,
    /// Of the calls: idempotent ones.
    pub idempotent: f64,
    pub cancel: f64,
    pub notify: f64,
    pub publish: f64,
    /// `close`, and `connect` a while later.
    pub close: f64,
    /// Of the payloads: longer than any frame.
    pub too_large: f64,
    /// Deadlines, in microseconds.
    pub timeout: (u64, u64),
    /// Smallest and largest payload asked for; what tells calls apart and the frame may limit it further.
    pub payload: (usize, usize),
}

impl Default for Work {
    /// A call every 10 ms.
    fn default() -> Self {
        Work {
            gap: 10_000,
            idempotent: 0.0,
            cancel: 0.0,
            notify: 0.0,
            publish: 0.0,
            close: 0.0,
            too_large: 0.0,
            timeout: (1_000_000, 5_000_000),
            payload: (0, 16),
        }
    }
}

struct Open {
    call: Call,
    id: u32,
    /// By the node's own clock.
    deadline: u64,
    /// Frames with messages that the port had taken before.
    frames_before: u32,
    sessions_before: u32,
}

pub struct Client {
    work: Work,
    rng: Rng,
    open: Vec<Open>,
    /// A call that has ended, to be cancelled: which must do nothing.
    ended: Option<Call>,
    next_act: Option<u64>,
    pub is_closed: bool,
    pub is_connected: bool,
    /// The notifies accepted since the last session ended.
    pub notifies: Range<u32>,
    /// When the last session ended, and why.
    pub last_end: Option<(u64, SessionEnd)>,
}

impl Client {
    pub fn new(work: Work, time: u64, mut rng: Rng) -> Client {
        let next_act = (work.gap > 0).then(|| time + rng.around(work.gap));
        Client {
            work,
            rng,
            open: Vec::new(),
            ended: None,
            next_act,
            is_closed: false,
            is_connected: false,
            notifies: 0..0,
            last_end: None,
        }
    }

    /// When it will do something next.
    pub fn next_act(&self) -> Option<u64> {
        self.next_act
    }

    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// No more random work.
    pub fn rest(&mut self) {
        self.next_act = None;
        self.work.too_large = 0.0;
    }

    /// Does something random if it is time.
    pub fn act(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        if self.next_act.is_none_or(|at| at > cx.time) {
            return;
        }
        self.next_act = Some(cx.time + 1 + self.rng.around(self.work.gap));
        if self.is_closed {
            if self.rng.chance(0.3) {
                cx.note(|| "connects".into());
                self.connect(endpoint, cx);
            } else {
                self.call_somehow(endpoint, cx);
            }
            return;
        }
        let (cancel, notify) = (self.work.cancel, self.work.cancel + self.work.notify);
        let publish = notify + self.work.publish;
        let close = publish + self.work.close;
        let draw = self.rng.below(1 << 32) as f64 / (1u64 << 32) as f64;
        if draw < cancel {
            self.cancel(endpoint, cx);
        } else if draw < notify {
            self.notify(endpoint, cx);
        } else if draw < publish {
            self.publish(endpoint, cx);
        } else if draw < close {
            cx.note(|| "closes".into());
            self.is_closed = true;
            endpoint.close(cx.tell());
        } else {
            self.call_somehow(endpoint, cx);
        }
    }

    pub fn connect(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        self.is_closed = false;
        endpoint.connect(cx.tell());
    }

    fn call_somehow(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        let is_idempotent = self.rng.chance(self.work.idempotent);
        let semantics = if is_idempotent { Semantics::Idempotent } else { Semantics::AtMostOnce };
        let timeout = self.rng.log_between(self.work.timeout.0, self.work.timeout.1);
        self.call(endpoint, semantics, timeout, cx);
    }

    /// Makes a call and says whether it was accepted.
    pub fn call(
        &mut self,
        endpoint: &mut dyn AnyEndpoint,
        semantics: Semantics,
        timeout: u64,
        cx: &mut Context<'_>,
    ) -> bool {
        let id = cx.ledger.next_call();
        let key = self.rng.next() as u16;
        let request = payload(id, self.draw_len(endpoint));
        let room = endpoint.free_calls();
        let outcome = endpoint.call(cx.tell(), key, semantics, Duration::from_micros(timeout), &request);
        let (frames_before, sessions_before) = (cx.frames_taken, endpoint.stats().sessions);
        match outcome {
            Ok(call) => {
                cx.note(|| format!("call {id} {semantics:?}, {} ms", timeout / 1_000));
                if room == 0 || self.is_closed || self.open.iter().any(|open| open.call == call) {
                    cx.ledger
                        .broken(format!("call {id} was accepted with {room} free slots, closed: {}", self.is_closed));
                }
                let caller = cx.node;
                let (deliveries, effects) = (Vec::new(), Vec::new());
                let ending = None;
                cx.ledger.called(Entry { caller, semantics, timeout, key, request, ending, deliveries, effects });
                let deadline = cx.clamped() + timeout;
                self.open.push(Open { call, id, deadline, frames_before, sessions_before });
            }
            Err(error) => self.check_refusal(error, request.len(), room == 0, endpoint, cx),
        }
        outcome.is_ok()
    }

    fn draw_len(&mut self, endpoint: &mut dyn AnyEndpoint) -> usize {
        if self.rng.chance(self.work.too_large) {
            return endpoint.max_payload() + 1;
        }
        let (least, most) = self.work.payload;
        let most = most.min(endpoint.max_payload()).max(ID_LEN);
        self.rng.between(least.clamp(ID_LEN, most) as u64, most as u64) as usize
    }

    /// What was not accepted was rightly not accepted.
    fn check_refusal(
        &mut self,
        error: SendError,
        len: usize,
        is_full: bool,
        endpoint: &mut dyn AnyEndpoint,
        cx: &mut Context<'_>,
    ) {
        let is_right = match error {
            SendError::Full => is_full,
            SendError::TooLarge { limit } => len > usize::from(limit) && usize::from(limit) == endpoint.max_payload(),
            SendError::Closed => self.is_closed,
        };
        if !is_right {
            cx.ledger.broken(format!("{len} bytes were not accepted: {error:?}"));
        }
    }

    fn cancel(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        if let Some(call) = self.ended.filter(|_| self.rng.chance(0.2)) {
            // Its slot may have another call by now.
            return endpoint.cancel(cx.tell(), call);
        }
        if !self.open.is_empty() {
            let open = &self.open[self.rng.index(self.open.len())];
            cx.note(|| format!("cancels {}", open.id));
            endpoint.cancel(cx.tell(), open.call);
        }
    }

    pub fn notify(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        let number = cx.ledger.next_notify(cx.node);
        let (key, payload) = (self.rng.below(3) as u16, payload(number, self.draw_len(endpoint)));
        match endpoint.notify(cx.tell(), key, &payload) {
            Ok(()) => {
                cx.note(|| format!("notify {number}"));
                cx.ledger.notify_accepted(cx.node, OneWay { key, payload });
                let first = if self.notifies.is_empty() { number } else { self.notifies.start };
                self.notifies = first..number + 1;
            }
            Err(error) => self.check_refusal(error, payload.len(), true, endpoint, cx),
        }
    }

    fn publish(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        let number = cx.ledger.next_publish(cx.node);
        let (key, payload) = (self.rng.below(3) as u16, payload(number, self.draw_len(endpoint)));
        match endpoint.publish(cx.tell(), key, &payload) {
            Ok(()) => {
                cx.note(|| format!("publish {number}"));
                cx.ledger.publish_accepted(cx.node, OneWay { key, payload });
            }
            Err(error) => self.check_refusal(error, payload.len(), true, endpoint, cx),
        }
    }

    pub fn on_session(&mut self, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.is_connected, true) {
            cx.ledger.broken("a session began before the last one ended");
        }
    }

    pub fn on_session_end(&mut self, reason: SessionEnd, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.is_connected, false) {
            cx.ledger.broken("a session ended that never began");
        }
        self.notifies = 0..0;
        self.last_end = Some((cx.time, reason));
    }

    pub fn on_response(&mut self, call: Call, response: &[u8], cx: &mut Context<'_>) {
        if let Some(open) = self.take(call, cx) {
            cx.note(|| format!("{} ok", open.id));
            cx.ledger.responded(open.id, response);
        }
    }

    pub fn on_failure(&mut self, call: Call, error: CallError, sessions: u32, cx: &mut Context<'_>) {
        if let Some(open) = self.take(call, cx) {
            let (reason, executed) = (error.reason, error.executed);
            cx.note(|| format!("{} failed: {reason:?}, executed: {executed}", open.id));
            let was_sent = cx.frames_taken != open.frames_before;
            cx.ledger.failed(open.id, error, was_sent, sessions == open.sessions_before);
        }
    }

    fn take(&mut self, call: Call, cx: &mut Context<'_>) -> Option<Open> {
        let index = self.open.iter().position(|open| open.call == call);
        if index.is_none() {
            cx.ledger.broken(format!("{call:?} ended, but it is not open"));
        }
        self.ended = Some(call);
        index.map(|index| self.open.swap_remove(index))
    }

    /// After the node was driven: no call is past its deadline, and the node will be driven again before the next one.
    pub fn check_deadlines(&mut self, wakes_at: Option<u64>, cx: &mut Context<'_>) {
        for open in &self.open {
            let (id, deadline, now) = (open.id, open.deadline, cx.clamped());
            if deadline <= now {
                return cx.ledger.broken(format!("call {id} is still open {} µs after its deadline", now - deadline));
            }
            if wakes_at.is_none_or(|at| at > deadline) {
                let what = format!("call {id} ends at {deadline}, but the node asks to be driven at {wakes_at:?}");
                return cx.ledger.broken(what);
            }
        }
    }

    /// The node crashes.
    pub fn abandon(&mut self, cx: &mut Context<'_>) {
        for open in self.open.drain(..) {
            cx.ledger.abandoned(open.id);
        }
    }
}
