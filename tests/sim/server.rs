//! The part of a node's application that serves: handlers that answer at once or later, refuse, abort when cancelled, and go on as
//! orphans when their caller is gone.

use bowline::{Refusal, RequestId, RespondError};

use super::any::AnyEndpoint;
use super::context::Context;
use super::ledger::Place;
use super::rng::Rng;

/// How a node's handlers behave. Probabilities are per request.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Answered later, after up to `defer_for` microseconds.
    pub defer: f64,
    pub defer_for: u64,
    /// Refused before any effect.
    pub refuse: f64,
    /// Executed, with a response that fits no frame.
    pub too_large: f64,
    /// How long responses are, at least and at most; the frame limits them further.
    pub response: (usize, usize),
    /// A deferred handler that is told of a cancellation stops without an effect.
    pub abort: f64,
    /// An orphan goes on to its end, and has its effect, instead of being abandoned.
    pub orphan_goes_on: f64,
}

impl Default for Service {
    /// Everything is answered at once.
    fn default() -> Self {
        Service {
            defer: 0.0,
            defer_for: 0,
            refuse: 0.0,
            too_large: 0.0,
            response: (0, 600),
            abort: 0.0,
            orphan_goes_on: 0.0,
        }
    }
}

/// How a handler will end.
#[derive(Clone, Copy, Debug)]
enum End {
    Answer,
    TooLarge,
    Refuse(Refusal),
}

/// A handler that has not ended yet.
#[derive(Clone, Copy, Debug)]
struct Running {
    request: RequestId,
    id: u32,
    place: Place,
    ends_at: u64,
    end: End,
    is_orphan: bool,
    is_cancelled: bool,
}

pub struct Server {
    service: Service,
    rng: Rng,
    running: Vec<Running>,
    /// An answered request, to be answered again: which must do nothing.
    answered: Option<RequestId>,
}

impl Server {
    pub fn new(service: Service, rng: Rng) -> Server {
        Server { service, rng, running: Vec::new(), answered: None }
    }

    /// No more refusals.
    pub fn calm(&mut self) {
        (self.service.refuse, self.service.too_large) = (0.0, 0.0);
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// When the next handler ends.
    pub fn next_end(&self) -> Option<u64> {
        self.running.iter().map(|handler| handler.ends_at).min()
    }

    pub fn on_request(
        &mut self,
        endpoint: &mut dyn AnyEndpoint,
        request: RequestId,
        key: u16,
        left: u64,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) {
        let place = Place { node: cx.node, life: cx.life, session: endpoint.stats().sessions };
        let Some(id) = cx.ledger.delivered(place, key, payload) else { return };
        if self.running.iter().any(|handler| handler.id == id) {
            cx.ledger.broken(format!("request {id} was delivered while a handler of it still runs"));
        }
        let timeout = cx.ledger.call(id).map_or(0, |entry| entry.timeout);
        // The least that travels is a millisecond.
        if left > timeout.max(1_000) {
            cx.ledger.broken(format!("request {id} has {left} µs left of {timeout}"));
        }
        let end = self.draw_end();
        let is_deferred = self.rng.chance(self.service.defer);
        let ends_at = cx.time + if is_deferred { self.rng.log_between(1, self.service.defer_for) } else { 0 };
        let handler = Running { request, id, place, ends_at, end, is_orphan: false, is_cancelled: false };
        cx.note(|| format!("request {id}{}", if is_deferred { ", later" } else { "" }));
        if is_deferred {
            self.running.push(handler);
        } else {
            self.finish(endpoint, handler, cx);
        }
    }

    fn draw_end(&mut self) -> End {
        if self.rng.chance(self.service.refuse) {
            let refusals = [Refusal::Busy, Refusal::Malformed, Refusal::UnknownKey, Refusal::Expired];
            End::Refuse(self.rng.pick(&refusals))
        } else if self.rng.chance(self.service.too_large) {
            End::TooLarge
        } else {
            End::Answer
        }
    }

    /// Ends the handlers whose time has come.
    pub fn work(&mut self, endpoint: &mut dyn AnyEndpoint, cx: &mut Context<'_>) {
        while let Some(index) = self.running.iter().position(|handler| handler.ends_at <= cx.time) {
            let handler = self.running.swap_remove(index);
            self.finish(endpoint, handler, cx);
        }
    }

    fn finish(&mut self, endpoint: &mut dyn AnyEndpoint, handler: Running, cx: &mut Context<'_>) {
        if cx.doom.strikes() {
            return;
        }
        let (request, id) = (handler.request, handler.id);
        if let End::Refuse(refusal) = handler.end {
            cx.note(|| format!("refuses {id}: {refusal:?}"));
            let outcome = endpoint.refuse(cx.tell(), request, refusal);
            return self.check(endpoint, &handler, outcome, cx);
        }
        let (least, most) = self.service.response;
        let len = self.rng.between(least as u64, most.min(endpoint.max_payload()) as u64);
        let mut response = vec![0; len as usize];
        self.rng.fill(&mut response);
        if matches!(handler.end, End::TooLarge) {
            response.resize(endpoint.max_payload() + 1, 7);
        }
        cx.ledger.effect(id, handler.place, &response);
        cx.note(|| format!("effect {id}"));
        if cx.doom.strikes() {
            return;
        }
        let mut outcome = endpoint.respond(cx.tell(), request, &response);
        if let Err(RespondError::TooLarge { limit }) = outcome {
            if response.len() <= usize::from(limit) {
                cx.ledger.broken(format!("a response of {} bytes is too large for {limit}", response.len()));
            }
            outcome = endpoint.refuse(cx.tell(), request, Refusal::ResponseTooLarge);
        }
        self.check(endpoint, &handler, outcome, cx);
    }

    /// An answer is stale if and only if its session is over.
    fn check(
        &mut self,
        endpoint: &mut dyn AnyEndpoint,
        handler: &Running,
        outcome: Result<(), RespondError>,
        cx: &mut Context<'_>,
    ) {
        let is_over =
            handler.is_orphan || !endpoint.is_connected() || endpoint.stats().sessions != handler.place.session;
        let id = handler.id;
        match outcome {
            Ok(()) if is_over => cx.ledger.broken(format!("the answer of orphan {id} was taken")),
            Err(error) if !is_over => cx.ledger.broken(format!("the answer to request {id} was not taken: {error:?}")),
            Ok(()) => {
                let earlier = self.answered.replace(handler.request);
                self.answer_again(endpoint, earlier, cx);
            }
            Err(_) => cx.note(|| format!("orphan {id} has ended")),
        }
    }

    /// A second answer to a request is refused.
    fn answer_again(&mut self, endpoint: &mut dyn AnyEndpoint, answered: Option<RequestId>, cx: &mut Context<'_>) {
        let Some(request) = answered.filter(|_| self.rng.chance(0.02)) else { return };
        if endpoint.respond(cx.tell(), request, b"again") != Err(RespondError::Stale) {
            cx.ledger.broken(format!("{request:?} could be answered twice"));
        }
    }

    pub fn on_cancel(&mut self, endpoint: &mut dyn AnyEndpoint, request: RequestId, cx: &mut Context<'_>) {
        let Some(index) = self.running.iter().position(|handler| handler.request == request) else {
            return cx.ledger.broken(format!("{request:?} is cancelled, but no handler of it is running"));
        };
        let handler = &mut self.running[index];
        let again = std::mem::replace(&mut handler.is_cancelled, true);
        let id = handler.id;
        if again {
            cx.ledger.broken(format!("the handler of request {id} was told twice of its cancellation"));
        }
        let aborts = self.rng.chance(self.service.abort);
        cx.note(|| format!("{id} is cancelled{}", if aborts { ", aborts" } else { ", goes on" }));
        if aborts {
            let handler = Running { end: End::Refuse(Refusal::Cancelled), ..self.running.swap_remove(index) };
            self.finish(endpoint, handler, cx);
        }
    }

    pub fn on_orphan(&mut self, endpoint: &mut dyn AnyEndpoint, request: RequestId, cx: &mut Context<'_>) {
        cx.ledger.tally.orphans += 1;
        let Some(index) = self.running.iter().position(|handler| handler.request == request) else {
            return cx.ledger.broken(format!("{request:?} is an orphan, but no handler of it is running"));
        };
        let handler = &mut self.running[index];
        let again = std::mem::replace(&mut handler.is_orphan, true);
        let id = handler.id;
        if again {
            cx.ledger.broken(format!("the handler of request {id} was orphaned twice"));
        }
        let goes_on = self.rng.chance(self.service.orphan_goes_on);
        cx.note(|| format!("{id} is an orphan{}", if goes_on { ", goes on" } else { ", abandoned" }));
        if !goes_on {
            self.running.swap_remove(index);
            endpoint.abandon(request);
        }
    }
}
