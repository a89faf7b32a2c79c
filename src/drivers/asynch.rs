//! What all drivers with futures share: calls that wait, and the futures that move bytes. Nothing here allocates, and no
//! executor is known.
//!
//! The endpoint lies behind a [`Lock`]. Tasks that call put their request in and wait; one task runs the port. It
//! consists of three parts that are polled together, so each of them may wait without the others noticing: a reader,
//! a writer, and a ticker that lets time pass and reports, so that calls end in time even if the port is stuck.
//!
//! No wake-up can be lost: whoever changes the endpoint does so in `Shared::command`, which wakes the port's task, and
//! wakes as many waiting callers as there are free slots.

use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::pin;
use core::task::{Context as Poller, Poll, Waker};

use serde::de::DeserializeOwned;

use super::{LinkEvent, Outage};
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::event::{CallError, Event, Executed, Reason, Refusal, SendError};
use crate::machine::Message;
use crate::rpc::{Call, RequestId};
use crate::stats::Stats;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::typed::{Context, Interface, Notification, Procedure, Reply, Topic, assert_fit, decode, name_error};
use crate::wire::Deframer;

/// Bytes read from a stream at once.
const PORTION: usize = 64;

/// How soon to look again at a deadline that has passed and cannot be dealt with yet.
const TICK: Duration = Duration::from_millis(1);

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

/// Memory for tasks that wait.
pub trait TaskMemory {
    /// The slices.
    fn parts(&mut self) -> TaskParts<'_>;

    /// Makes a place for one more task in the queue, if it can.
    fn grow(&mut self) -> bool {
        false
    }
}

/// The slices of a [`TaskMemory`].
#[derive(Debug)]
pub struct TaskParts<'a> {
    /// One for each task whose call is under way. As many as there are call slots.
    pub waiters: &'a mut [Waiter],
    /// `waiters.len() * payload` bytes, for responses that wait for their task.
    pub responses: &'a mut [u8],
    /// Bytes of the largest response.
    pub payload: usize,
    /// One for each task that waits for a call slot.
    pub queue: &'a mut [Place],
}

/// Memory for tasks that wait, of fixed size: `CALLS` and `PAYLOAD` as in [`Buffers`](crate::Buffers), and `QUEUE`
/// tasks that wait for a free slot; more get [`Reason::Full`] at once.
#[derive(Debug)]
pub struct Tasks<const PAYLOAD: usize = 48, const CALLS: usize = 2, const QUEUE: usize = 4> {
    waiters: [Waiter; CALLS],
    responses: [[u8; PAYLOAD]; CALLS],
    queue: [Place; QUEUE],
}

impl<const PAYLOAD: usize, const CALLS: usize, const QUEUE: usize> Tasks<PAYLOAD, CALLS, QUEUE> {
    /// Nobody waits.
    pub const fn new() -> Self {
        const { assert!(PAYLOAD >= 32, "PAYLOAD must be that of the Buffers, 32 bytes at least") }
        Self {
            waiters: [const { Waiter::NONE }; CALLS],
            responses: [[0; PAYLOAD]; CALLS],
            queue: [const { Place::FREE }; QUEUE],
        }
    }
}

impl<const PAYLOAD: usize, const CALLS: usize, const QUEUE: usize> Default for Tasks<PAYLOAD, CALLS, QUEUE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PAYLOAD: usize, const CALLS: usize, const QUEUE: usize> TaskMemory for Tasks<PAYLOAD, CALLS, QUEUE> {
    fn parts(&mut self) -> TaskParts<'_> {
        TaskParts {
            waiters: &mut self.waiters,
            responses: self.responses.as_flattened_mut(),
            payload: PAYLOAD,
            queue: &mut self.queue,
        }
    }
}

/// A task that waits for the outcome of a call. Its place is not tied to the call's slot, which is free as soon as the
/// response has come, while the task may still be about to take it.
#[derive(Debug)]
pub struct Waiter {
    call: Option<Call>,
    /// The length of the response, or the error with the digest of the peer's interface.
    outcome: Option<Result<usize, (CallError, Option<u32>)>>,
    waker: Option<Waker>,
}

impl Waiter {
    /// Nobody waits.
    pub const NONE: Self = Self { call: None, outcome: None, waker: None };
}

/// A task that waits for a free call slot.
#[derive(Debug)]
pub struct Place {
    waker: Option<Waker>,
    deadline: Instant,
    /// When it came, compared with the others.
    order: u64,
    state: PlaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlaceState {
    Free,
    Waiting,
    /// It was woken to take a slot, or to take note that its time is over.
    Called,
}

impl Place {
    /// Nobody waits.
    pub const FREE: Self = Self { waker: None, deadline: Instant::from_micros(0), order: 0, state: PlaceState::Free };
}

/// What lies behind the lock.
#[derive(Debug)]
pub struct State<S, T, E> {
    endpoint: Endpoint<S>,
    tasks: T,
    /// The task that runs the port.
    port_waker: Option<Waker>,
    /// Counts the tasks that have waited for a slot.
    orders: u64,
    outage: Outage,
    /// Until when to leave a port alone that has failed.
    retry_at: Option<Instant>,
    /// News of the port that are to be reported.
    failure: Option<E>,
    is_restored: bool,
    /// How many there are of the futures that run the port: one, and for a moment two when one takes the other's place.
    runs: usize,
    /// Whether there was one, and is none.
    is_stopped: bool,
}

/// An endpoint that tasks share, and the futures that run it. See the drivers that it is part of.
#[derive(Debug)]
pub struct Shared<L> {
    lock: L,
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
    fn call_next(&mut self) {
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
    fn expire_queue(&mut self, now: Instant) {
        let queue = self.tasks.parts().queue.iter_mut();
        for place in queue.filter(|place| place.state == PlaceState::Waiting && place.deadline <= now) {
            place.call();
        }
    }

    /// A place for a task that came as number `order`.
    fn free_place(&mut self) -> Option<usize> {
        let free = |place: &Place| place.state == PlaceState::Free;
        if let Some(index) = self.tasks.parts().queue.iter().position(free) {
            return Some(index);
        }
        if !self.tasks.grow() {
            return None;
        }
        self.tasks.parts().queue.iter().position(free)
    }

    fn leave_queue(&mut self, place: usize) {
        if let Some(place) = self.tasks.parts().queue.get_mut(place) {
            *place = Place::FREE;
        }
    }

    /// The waiter of `call`, if it still waits, and the memory for its response.
    fn waiter(&mut self, call: Option<Call>) -> Option<(&mut Waiter, &mut [u8])> {
        let TaskParts { waiters, responses, payload, .. } = self.tasks.parts();
        let memory = responses.chunks_exact_mut(payload.max(1));
        waiters.iter_mut().zip(memory).find(|(waiter, _)| waiter.call == call)
    }

    /// Hands an outcome to the task that waits for it. One that has gone away does not want it.
    fn end_call(&mut self, call: Call, outcome: Result<&[u8], CallError>) {
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
    fn next_news(&mut self) -> Option<LinkEvent<E>> {
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
    fn next_timer(&mut self) -> Option<Instant> {
        let waiting = self.tasks.parts().queue.iter().filter(|place| place.state == PlaceState::Waiting);
        let queue = waiting.map(|place| place.deadline).min();
        [self.endpoint.poll_timeout(), self.retry_at, queue].into_iter().flatten().min()
    }

    fn port_works(&mut self, now: Instant) {
        self.is_restored |= self.outage.works(now);
    }

    fn port_failed(&mut self, now: Instant, error: E) {
        let (retry_at, is_news) = self.outage.failed(now);
        self.retry_at = Some(retry_at);
        if is_news {
            // What is not told yet is out of date.
            self.is_restored = false;
            self.failure = Some(error);
        }
    }

    fn wake_port(&mut self) {
        if let Some(waker) = self.port_waker.take() {
            waker.wake();
        }
    }
}

impl Place {
    fn call(&mut self) {
        self.state = PlaceState::Called;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
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

    // For tasks that call.

    /// Calls a procedure of the peer. Waits for a free slot if there is none. Dropping the future cancels the call, and
    /// the peer is told.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells why there is no response, and whether the request took effect.
    pub async fn call_within<P>(
        &self,
        timeout: Duration,
        request: &P::Request<'_>,
    ) -> Result<P::Response<'static>, CallError>
    where
        P: Procedure,
        P::Response<'static>: DeserializeOwned,
    {
        self.call_and_read::<P, _>(timeout, request, |payload| decode(payload)).await
    }

    /// Like [`Self::call_within`], for a response that borrows. `read` must not use this node.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells why there is no response, and whether the request took effect.
    pub async fn call_within_with<P: Procedure, T>(
        &self,
        timeout: Duration,
        request: &P::Request<'_>,
        read: impl FnOnce(P::Response<'_>) -> T,
    ) -> Result<T, CallError> {
        self.call_and_read::<P, _>(timeout, request, |payload| decode(payload).map(read)).await
    }

    async fn call_and_read<P: Procedure, T>(
        &self,
        timeout: Duration,
        request: &P::Request<'_>,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, CallError> {
        const { assert_fit(&[P::DECLARATION], <L::Storage as Storage>::PAYLOAD) }
        let started = self.start::<P>(self.lock.now() + timeout, request).await?;
        started.outcome::<P, T>(read).await
    }

    /// Puts a request into a free slot, in the order in which tasks came.
    async fn start<P: Procedure>(
        &self,
        deadline: Instant,
        request: &P::Request<'_>,
    ) -> Result<Started<'_, L>, CallError> {
        let mut queued = Queued { shared: self, place: None };
        poll_fn(|poller| self.command(|state, now| queued.poll_start::<P>(state, now, deadline, request, poller))).await
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

    /// Ends the session, and waits until the peer was told.
    #[cfg(feature = "tokio")]
    pub(crate) async fn farewell(&self) {
        self.close();
        // Polled whenever the port's task is.
        poll_fn(|_| {
            let is_closing = self.lock.with(|state| state.endpoint.is_closing());
            if is_closing { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
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

    // For the task that runs the port.

    /// Runs `port` with the ticker, which reports to `on_event`, until `port` ends. There must be a [`Running`].
    pub(crate) async fn run<T>(
        &self,
        timer: &mut impl Timer,
        mut on_event: impl FnMut(LinkEvent<L::Error>),
        port: impl Future<Output = T>,
    ) -> T {
        let result = {
            let mut port = pin!(port);
            let mut ticker = pin!(self.tick(timer, &mut on_event));
            poll_fn(|poller| {
                // From here on, every change wakes this task.
                self.lock.with(|state| state.port_waker = Some(poller.waker().clone()));
                if let Poll::Ready(result) = port.as_mut().poll(poller) {
                    return Poll::Ready(result);
                }
                // Last, since the port's sending sets timers.
                match ticker.as_mut().poll(poller) {
                    Poll::Ready(never) => match never {},
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        while let Some(news) = self.step(|state, _| state.next_news()) {
            on_event(news);
        }
        result
    }

    /// Lets time pass and reports.
    async fn tick(&self, timer: &mut impl Timer, on_event: &mut impl FnMut(LinkEvent<L::Error>)) -> Infallible {
        loop {
            let (is_due, wake_at, now) = self.step(|state, now| {
                let is_due = state.next_timer().is_some_and(|at| at <= now);
                state.endpoint.handle_timeout(now);
                state.expire_queue(now);
                (is_due, state.next_timer(), now)
            });
            // After what was due the port may have something to send, and it was polled before.
            let mut must_poll_port = is_due;
            let mut sleep = pin!(async {
                match wake_at {
                    Some(wake_at) if wake_at <= now => timer.sleep_until(now + TICK).await,
                    Some(wake_at) => timer.sleep_until(wake_at).await,
                    None => core::future::pending().await,
                }
            });
            let news = poll_fn(|poller| {
                if core::mem::take(&mut must_poll_port) {
                    poller.waker().wake_by_ref();
                }
                // Whatever woke the task may have brought news or another deadline.
                let (news, next_timer) = self.step(|state, _| (state.next_news(), state.next_timer()));
                if news.is_some() || next_timer != wake_at || sleep.as_mut().poll(poller).is_ready() {
                    return Poll::Ready(news);
                }
                Poll::Pending
            })
            .await;
            if let Some(news) = news {
                on_event(news);
            }
        }
    }

    /// Waits until a port that has failed is to be tried again.
    pub(crate) async fn pause(&self, error: L::Error) {
        self.step(|state, now| state.port_failed(now, error));
        poll_fn(|_| {
            let is_over = self.step(|state, now| state.retry_at.is_none_or(|retry_at| retry_at <= now));
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.step(|state, _| state.retry_at = None);
    }

    /// Moves bytes until the port fails. `handler` gets the messages.
    pub(crate) async fn pump<R, W, const N: usize>(
        &self,
        reader: &mut R,
        writer: &mut W,
        handler: &mut impl FnMut(Message<'_>),
    ) -> L::Error
    where
        R: ReadHalf<Error = L::Error>,
        W: WriteHalf<Error = L::Error>,
    {
        let is_datagram = reader.is_datagram();
        let mut read = pin!(self.read::<R, N>(reader, handler));
        let mut write = pin!(self.write::<W, N>(writer, is_datagram));
        poll_fn(|poller| {
            if let Poll::Ready(error) = read.as_mut().poll(poller) {
                return Poll::Ready(error);
            }
            write.as_mut().poll(poller)
        })
        .await
    }

    async fn read<R: ReadHalf<Error = L::Error>, const N: usize>(
        &self,
        reader: &mut R,
        handler: &mut impl FnMut(Message<'_>),
    ) -> L::Error {
        let mut frames = Deframer::<N>::new();
        let mut portion = [0; PORTION];
        loop {
            let received = if reader.is_datagram() {
                reader.receive(frames.buffer()).await
            } else {
                reader.receive(&mut portion).await
            };
            let len = match received {
                Ok(len) => len,
                Err(error) => return error,
            };
            self.step(|state, now| state.port_works(now));
            if reader.is_datagram() {
                let buf = frames.buffer();
                if let Some(frame) = buf.get_mut(..len) {
                    self.take_frame(frame, handler);
                    self.take_notifies(buf, handler);
                }
                give_way().await;
                continue;
            }
            let mut bytes = portion.get(..len).unwrap_or_default();
            while let Some(frame) = frames.next_frame(&mut bytes) {
                self.take_frame(frame, handler);
                // Between two frames their memory is free.
                self.take_notifies(frames.buffer(), handler);
            }
            give_way().await;
        }
    }

    /// The handler runs outside the lock: it may use this node.
    fn take_frame(&self, frame: &mut [u8], handler: &mut impl FnMut(Message<'_>)) {
        let mut messages = self.step(|state, now| state.endpoint.handle_frame(now, frame));
        while let Some(message) = self.step(|state, _| messages.next(&mut state.endpoint)) {
            match message {
                Message::Response { call, payload } => self.step(|state, _| state.end_call(call, Ok(payload))),
                message => handler(message),
            }
        }
    }

    fn take_notifies(&self, buf: &mut [u8], handler: &mut impl FnMut(Message<'_>)) {
        let next = |buf: &mut [u8]| {
            self.step(|state, _| {
                let notify = state.endpoint.poll_notify()?;
                buf.get_mut(..notify.payload.len())?.copy_from_slice(notify.payload);
                Some((notify.key, notify.payload.len()))
            })
        };
        while let Some((key, len)) = next(buf) {
            handler(Message::Notify { key, payload: buf.get(..len).unwrap_or_default() });
        }
    }

    async fn write<W: WriteHalf<Error = L::Error>, const N: usize>(
        &self,
        writer: &mut W,
        is_datagram: bool,
    ) -> L::Error {
        let mut buf = [0; N];
        let mut is_fresh = !is_datagram;
        loop {
            let len = poll_fn(|_| {
                let len = self.step(|state, now| match is_datagram {
                    true => state.endpoint.poll_transmit(now, &mut buf),
                    false => state.endpoint.poll_frame(now, &mut buf),
                });
                len.map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            if is_fresh {
                // What the peer has of an earlier frame ends here (`PROTOCOL.md §2`).
                if let Err(error) = writer.send(&[0]).await {
                    self.step(|state, _| state.endpoint.handle_refused());
                    return error;
                }
                is_fresh = false;
            }
            let mut sent = 0;
            while let Some(rest) = buf.get(sent..len).filter(|rest| !rest.is_empty()) {
                match writer.send(rest).await {
                    Ok(taken) => sent = sent.saturating_add(taken),
                    Err(error) => {
                        if sent == 0 {
                            self.step(|state, _| state.endpoint.handle_refused());
                        }
                        return error;
                    }
                }
            }
            // Its bytes were taken: whatever it says, the frame may arrive.
            if let Err(error) = writer.flush().await {
                return error;
            }
            self.step(|state, now| state.port_works(now));
        }
    }

    /// The typed dispatch of a driver whose handler gets the node itself.
    pub(crate) fn dispatch<'m, I: Interface>(&self, message: Message<'m>) -> Option<I::Incoming<'m>> {
        super::dispatch::<I>(message, |id, refusal| self.refuse_request(id, refusal))
    }

    #[cfg(feature = "embedded-io-async")]
    pub(crate) fn set_interface<I: Interface>(&self) {
        const { assert_fit(I::DECLARATIONS, <L::Storage as Storage>::PAYLOAD) }
        self.lock.with(|state| state.endpoint.set_schema_digest(I::DIGEST));
    }
}

/// A task that waits for a slot, or is about to.
struct Queued<'a, L: Lock> {
    shared: &'a Shared<L>,
    place: Option<usize>,
}

impl<'a, L: Lock> Queued<'a, L> {
    fn poll_start<P: Procedure>(
        &mut self,
        state: &mut State<L::Storage, L::Tasks, L::Error>,
        now: Instant,
        deadline: Instant,
        request: &P::Request<'_>,
        poller: &Poller<'_>,
    ) -> Poll<Result<Started<'a, L>, CallError>> {
        if now >= deadline && self.place.is_some() {
            return Poll::Ready(Err(CallError { reason: Reason::DeadlineExceeded, executed: Executed::No }));
        }
        // Nobody overtakes those who wait.
        let is_first = self.is_called(state) || self.place.is_none() && !has_queue(&mut state.tasks);
        if is_first && state.waiter(None).is_some() {
            let timeout = deadline.saturating_duration_since(now);
            match Context::new(&mut state.endpoint, now).call::<P>(timeout, request) {
                Ok(pending) => {
                    let call = pending.call();
                    if let Some(place) = self.place.take() {
                        state.leave_queue(place);
                    }
                    if let Some((waiter, _)) = state.waiter(None) {
                        waiter.call = Some(call);
                    }
                    return Poll::Ready(Ok(Started { shared: self.shared, call }));
                }
                Err(SendError::Full) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let place = match self.place.or_else(|| state.free_place()) {
            Some(place) => place,
            None => return Poll::Ready(Err(SendError::Full.into())),
        };
        let is_new = self.place.replace(place).is_none();
        if is_new {
            state.orders = state.orders.wrapping_add(1);
        }
        let order = state.orders;
        if let Some(place) = state.tasks.parts().queue.get_mut(place) {
            let order = if is_new { order } else { place.order };
            *place = Place { waker: Some(poller.waker().clone()), deadline, order, state: PlaceState::Waiting };
        }
        Poll::Pending
    }

    fn is_called(&self, state: &mut State<L::Storage, L::Tasks, L::Error>) -> bool {
        let place = self.place.and_then(|place| state.tasks.parts().queue.get(place));
        place.is_some_and(|place| place.state == PlaceState::Called)
    }
}

fn has_queue(tasks: &mut impl TaskMemory) -> bool {
    tasks.parts().queue.iter().any(|place| place.state != PlaceState::Free)
}

impl<L: Lock> Drop for Queued<'_, L> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // If it had been called, another one is called in its place.
            self.shared.command(|state, _| state.leave_queue(place));
        }
    }
}

/// A call whose task waits for the outcome. Dropping it cancels the call.
struct Started<'a, L: Lock> {
    shared: &'a Shared<L>,
    call: Call,
}

impl<L: Lock> Started<'_, L> {
    async fn outcome<P: Procedure, T>(self, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, CallError> {
        let mut read = Some(read);
        poll_fn(|poller| {
            self.shared.lock.with(|state| {
                let Some((waiter, response)) = state.waiter(Some(self.call)) else {
                    return Poll::Ready(Err(CallError { reason: Reason::Closed, executed: Executed::Maybe }));
                };
                match waiter.outcome {
                    None => {
                        waiter.waker = Some(poller.waker().clone());
                        Poll::Pending
                    }
                    Some(Err((error, peer))) => Poll::Ready(Err(name_error::<P>(error, peer))),
                    Some(Ok(len)) => {
                        let value = response.get(..len).and_then(|response| read.take()?(response));
                        let malformed = CallError { reason: Reason::MalformedResponse, executed: Executed::Yes };
                        Poll::Ready(value.ok_or(malformed))
                    }
                }
            })
        })
        .await
    }
}

impl<L: Lock> Drop for Started<'_, L> {
    fn drop(&mut self) {
        self.shared.command(|state, now| {
            let Some((waiter, _)) = state.waiter(Some(self.call)) else { return };
            let is_over = waiter.outcome.is_some();
            *waiter = Waiter::NONE;
            if !is_over {
                state.endpoint.cancel(now, self.call);
            }
        });
    }
}

/// Lets the other parts of the task, and other tasks, have a turn.
async fn give_way() {
    let mut is_first = true;
    poll_fn(|poller| {
        if !core::mem::take(&mut is_first) {
            return Poll::Ready(());
        }
        poller.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Ends all calls when the future that runs the port is dropped, polled or not: nobody else would.
pub(crate) struct Running<L: Lock, D: Deref<Target = Shared<L>>> {
    shared: D,
}

impl<L: Lock, D: Deref<Target = Shared<L>>> Running<L, D> {
    pub(crate) fn new(shared: D) -> Self {
        shared.step(|state, now| {
            state.runs = state.runs.saturating_add(1);
            if core::mem::take(&mut state.is_stopped) {
                state.endpoint.reopen(now);
            }
        });
        Self { shared }
    }
}

impl<L: Lock, D: Deref<Target = Shared<L>>> Drop for Running<L, D> {
    fn drop(&mut self) {
        self.shared.step(|state, now| {
            state.runs = state.runs.saturating_sub(1);
            if state.runs > 0 {
                return;
            }
            state.is_stopped = true;
            state.retry_at = None;
            state.endpoint.close(now);
            while state.next_news().is_some() {}
            for place in state.tasks.parts().queue.iter_mut().filter(|place| place.state == PlaceState::Waiting) {
                place.call();
            }
        });
    }
}
