//! What lies behind the lock: the endpoint, the tasks that wait for it, and the news of its port.

use core::task::Waker;

use super::super::{LinkEvent, Outage};
use super::tasks::{Place, PlaceState, TaskMemory, TaskParts, Waiter};
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::event::{CallError, Event, Executed, Reason};
use crate::rpc::Call;
use crate::storage::Storage;
use crate::time::Instant;

/// What lies behind the lock.
#[derive(Debug)]
pub struct State<S, T, E> {
    pub(super) endpoint: Endpoint<S>,
    pub(super) tasks: T,
    /// The task that runs the port.
    pub(super) port_waker: Option<Waker>,
    /// Counts the tasks that have waited for a slot.
    pub(super) orders: u64,
    outage: Outage,
    /// Until when to leave a port alone that has failed.
    pub(super) retry_at: Option<Instant>,
    /// News of the port that are to be reported.
    failure: Option<E>,
    is_restored: bool,
    /// How many there are of the futures that run the port: one, and for a moment two when one takes the other's place.
    pub(super) runs: usize,
    /// Whether there was one, and is none.
    pub(super) is_stopped: bool,
}

impl<S: Storage, T: TaskMemory, E> State<S, T, E> {
    /// A node that boots now.
    pub fn new(now: Instant, config: Config, storage: S, tasks: T) -> Self {
        Self {
            endpoint: Endpoint::new(now, config, storage),
            tasks,
            port_waker: None,
            orders: 0,
            outage: Outage::new(now),
            retry_at: None,
            failure: None,
            is_restored: false,
            runs: 0,
            is_stopped: false,
        }
    }

    /// Wakes as many waiting callers as can have a slot: the rule that no wake-up gets lost, kept after every change.
    pub(super) fn call_next(&mut self) {
        let free = self.endpoint.free_calls();
        let TaskParts { waiters, queue, .. } = self.tasks.parts();
        let free = free.min(waiters.iter().filter(|waiter| waiter.call.is_none()).count());
        let called = queue.iter().filter(|place| place.state == PlaceState::Called).count();
        for _ in called..free {
            let waiting = queue.iter_mut().filter(|place| place.state == PlaceState::Waiting);
            let Some(next) = waiting.min_by_key(|place| place.order) else { return };
            next.call();
        }
    }

    /// Calls those whose time is over.
    pub(super) fn expire_queue(&mut self, now: Instant) {
        let queue = self.tasks.parts().queue.iter_mut();
        for place in queue.filter(|place| place.state == PlaceState::Waiting && place.deadline <= now) {
            place.call();
        }
    }

    /// A place for a task that came as number `order`.
    pub(super) fn free_place(&mut self) -> Option<usize> {
        let free = |place: &Place| place.state == PlaceState::Free;
        if let Some(index) = self.tasks.parts().queue.iter().position(free) {
            return Some(index);
        }
        if !self.tasks.grow() {
            return None;
        }
        self.tasks.parts().queue.iter().position(free)
    }

    pub(super) fn leave_queue(&mut self, place: usize) {
        if let Some(place) = self.tasks.parts().queue.get_mut(place) {
            *place = Place::FREE;
        }
    }

    /// The waiter of `call`, if it still waits, and the memory for its response.
    pub(super) fn waiter(&mut self, call: Option<Call>) -> Option<(&mut Waiter, &mut [u8])> {
        let TaskParts { waiters, responses, payload, .. } = self.tasks.parts();
        let memory = responses.chunks_exact_mut(payload.max(1));
        waiters.iter_mut().zip(memory).find(|(waiter, _)| waiter.call == call)
    }

    /// Hands an outcome to the task that waits for it. One that has gone away does not want it.
    pub(super) fn end_call(&mut self, call: Call, outcome: Result<&[u8], CallError>) {
        let peer = self.endpoint.peer_schema_digest();
        let Some((waiter, memory)) = self.waiter(Some(call)) else { return };
        waiter.outcome = Some(match outcome {
            Ok(payload) => match memory.get_mut(..payload.len()) {
                Some(memory) => {
                    memory.copy_from_slice(payload);
                    Ok(payload.len())
                }
                None => Err((CallError { reason: Reason::MalformedResponse, executed: Executed::Yes }, peer)),
            },
            Err(error) => Err((error, peer)),
        });
        if let Some(waker) = waiter.waker.take() {
            waker.wake();
        }
    }

    /// What is to be reported next. Endings of calls go to their tasks.
    pub(super) fn next_news(&mut self) -> Option<LinkEvent<E>> {
        if let Some(error) = self.failure.take() {
            return Some(LinkEvent::PortFailed(error));
        }
        if core::mem::take(&mut self.is_restored) {
            return Some(LinkEvent::PortRestored);
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::CallFailed { call, error } => self.end_call(call, Err(error)),
                event => return Some(LinkEvent::Endpoint(event)),
            }
        }
        None
    }

    /// When something is to be done even if nothing comes.
    pub(super) fn next_timer(&mut self) -> Option<Instant> {
        let waiting = self.tasks.parts().queue.iter().filter(|place| place.state == PlaceState::Waiting);
        let queue = waiting.map(|place| place.deadline).min();
        [self.endpoint.poll_timeout(), self.retry_at, queue].into_iter().flatten().min()
    }

    pub(super) fn port_works(&mut self, now: Instant) {
        self.is_restored |= self.outage.works(now);
    }

    pub(super) fn port_failed(&mut self, now: Instant, error: E) {
        let (retry_at, is_news) = self.outage.failed(now);
        self.retry_at = Some(retry_at);
        if is_news {
            // What is not told yet is out of date.
            self.is_restored = false;
            self.failure = Some(error);
        }
    }

    pub(super) fn wake_port(&mut self) {
        if let Some(waker) = self.port_waker.take() {
            waker.wake();
        }
    }
}
