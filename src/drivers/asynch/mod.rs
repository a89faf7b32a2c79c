//! What all drivers with futures share: calls that wait, and the futures that move bytes. Nothing here allocates, and no
//! executor is known.
//!
//! The endpoint lies behind a [`Lock`]. Tasks that call put their request in and wait; one task runs the port. It
//! consists of three parts that are polled together, so each of them may wait without the others noticing: a reader,
//! a writer, and a ticker that lets time pass and reports, so that calls end in time even if the port is stuck.
//!
//! No wake-up can be lost: whoever changes the endpoint does so in `Shared::command`, which wakes the port's task, and
//! wakes as many waiting callers as there are free slots.

mod calls;
mod port;
mod state;
mod tasks;

use core::future::Future;

pub(crate) use port::Running;
pub use state::State;
pub use tasks::{Place, TaskMemory, TaskParts, Tasks, Waiter};

use crate::event::{Refusal, SendError};
use crate::machine::Message;
use crate::rpc::RequestId;
use crate::stats::Stats;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::typed::{Context, Interface, Notification, Procedure, Reply, Topic};

/// Mutual exclusion around the state, and the time.
pub trait Lock {
    /// Memory of the endpoint.
    type Storage: Storage;
    /// Memory of the tasks that wait.
    type Tasks: TaskMemory;
    /// How the port fails.
    type Error;

    /// Runs `f` while nobody else does. Not called from within itself.
    ///
    /// Tasks are woken in `f`, by wakers that must not drop a task at once: it might use the same node.
    fn with<T>(&self, f: impl FnOnce(&mut State<Self::Storage, Self::Tasks, Self::Error>) -> T) -> T;

    /// The time.
    fn now(&self) -> Instant;
}

/// The half of a port that bytes come from.
pub trait ReadHalf {
    /// How it fails.
    type Error;
    /// Whether it yields datagrams, one at a time, instead of a stream.
    fn is_datagram(&self) -> bool {
        false
    }
    /// Waits for bytes and writes them to the front of `buf`; never 0 of them.
    fn receive(&mut self, buf: &mut [u8]) -> impl Future<Output = Result<usize, Self::Error>>;
}

/// The half of a port that bytes go to.
pub trait WriteHalf {
    /// How it fails.
    type Error;
    /// Takes bytes from the front, waiting for room, and says how many; a datagram as a whole. An error means that **no
    /// byte was taken**: callers are told that the frame was not sent.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = Result<usize, Self::Error>>;
    /// Called at the end of a frame, of which the writer may have kept something.
    fn flush(&mut self) -> impl Future<Output = Result<(), Self::Error>> {
        core::future::ready(Ok(()))
    }
}

/// Lets a task sleep.
pub trait Timer {
    /// Ends at `until`, or a little later.
    fn sleep_until(&mut self, until: Instant) -> impl Future<Output = ()>;
}

/// An endpoint that tasks share, and the futures that run it. See the drivers that it is part of.
#[derive(Debug)]
pub struct Shared<L> {
    lock: L,
}

impl<L: Lock> Shared<L> {
    /// Behind the lock lies a [`State`].
    pub const fn new(lock: L) -> Self {
        Self { lock }
    }

    /// Changes the state: the one way in which anyone but the port's own task does.
    fn command<T>(&self, change: impl FnOnce(&mut State<L::Storage, L::Tasks, L::Error>, Instant) -> T) -> T {
        let now = self.lock.now();
        self.lock.with(|state| {
            let result = change(state, now);
            state.call_next();
            state.wake_port();
            result
        })
    }

    /// Changes the state from within the port's task, which needs not be woken.
    fn step<T>(&self, change: impl FnOnce(&mut State<L::Storage, L::Tasks, L::Error>, Instant) -> T) -> T {
        let now = self.lock.now();
        self.lock.with(|state| {
            let result = change(state, now);
            state.call_next();
            result
        })
    }

    /// Sends a notification. Does not wait, neither for its ack nor for room.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn notify<N: Notification>(&self, payload: &N::Payload<'_>) -> Result<(), SendError> {
        self.command(|state, now| Context::new(&mut state.endpoint, now).notify::<N>(payload))
    }

    /// Publishes a value.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn publish<T: Topic>(&self, payload: &T::Payload<'_>) -> Result<(), SendError> {
        self.command(|state, now| Context::new(&mut state.endpoint, now).publish::<T>(payload))
    }

    /// Answers a request, like [`Context::reply`].
    pub fn reply<P: Procedure>(&self, reply: Reply<P>, response: &P::Response<'_>) {
        self.command(|state, now| Context::new(&mut state.endpoint, now).reply(reply, response));
    }

    /// Refuses a request, like [`Context::refuse`].
    pub fn refuse<P: Procedure>(&self, reply: Reply<P>, refusal: Refusal) {
        self.refuse_request(reply.id(), refusal);
    }

    /// Gives an orphaned request up, like [`Context::abandon`].
    pub fn abandon<P: Procedure>(&self, reply: Reply<P>) {
        self.command(|state, _| state.endpoint.abandon(reply.id()));
    }

    pub(crate) fn refuse_request(&self, id: RequestId, refusal: Refusal) {
        self.command(|state, now| Context::new(&mut state.endpoint, now).refuse_request(id, refusal));
    }

    /// Ends the session. All calls end.
    pub fn close(&self) {
        self.command(|state, now| state.endpoint.close(now));
    }

    /// Looks for the peer from now on; opens a node that was closed.
    ///
    /// Has no effect when nothing runs the port any more.
    pub fn connect(&self) {
        self.command(|state, now| {
            if !state.is_stopped {
                state.endpoint.connect(now);
            }
        });
    }

    /// Whether there is a session.
    pub fn is_connected(&self) -> bool {
        self.lock.with(|state| state.endpoint.is_connected())
    }

    /// The measured round trip, `None` before the first sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.lock.with(|state| state.endpoint.round_trip())
    }

    /// What was done and seen so far.
    pub fn stats(&self) -> Stats {
        self.lock.with(|state| *state.endpoint.stats())
    }

    /// The typed dispatch of a driver whose handler gets the node itself.
    pub(crate) fn dispatch<'m, I: Interface>(&self, message: Message<'m>) -> Option<I::Incoming<'m>> {
        super::dispatch::<I>(message, |id, refusal| self.refuse_request(id, refusal))
    }

    #[cfg(feature = "embedded-io-async")]
    pub(crate) fn set_interface<I: Interface>(&self) {
        const { crate::typed::assert_fit(I::DECLARATIONS, <L::Storage as Storage>::PAYLOAD) }
        self.lock.with(|state| state.endpoint.set_schema_digest(I::DIGEST));
    }
}
