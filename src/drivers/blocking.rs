//! A loop that waits for the port, for firmware without an executor and for host programs without tokio.
//!
//! ```
//! # #[cfg(feature = "net")] {
//! use bowline::drivers::{blocking::{Frames, Node}, host};
//! use bowline::{Buffers, Config, Incarnation, frame_len};
//!
//! bowline::interface! {
//!     pub enum Lamp {
//!         at_most_once Toggle(u8) -> bool;
//!     }
//! }
//!
//! # fn main() {}
//! fn device(port: host::Udp) {
//!     let config = Config::new(Incarnation::random(0x1234_5678_9ABC_DEF0)); // Random bits, drawn at boot.
//!     let mut lit = [false; 8];
//!     let mut node = Node::new(port, config, Buffers::<48>::new(), Frames::<{ frame_len(48) }>::new())
//!         .serve::<Lamp>(|context, message| match message {
//!             Lamp::Toggle(lamp, reply) => {
//!                 let lit = &mut lit[usize::from(lamp % 8)];
//!                 *lit = !*lit;
//!                 context.reply(reply, lit);
//!             }
//!         });
//!     loop { node.turn() }
//! }
//! # }
//! ```

mod port;

pub use port::Port;
use serde::de::DeserializeOwned;

use super::{LinkEvent, Outage, dispatch};
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::event::{CallError, Event, Executed, Reason, Refusal, SendError};
use crate::machine::Message;
use crate::rpc::Call;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::typed::{Context, Interface, Notification, Procedure, Topic, assert_fit, decode, name_error};
use crate::wire::{Deframer, frame_len};

/// Bytes read from a stream at once: few, so that one turn is short however much has come, but a system call is to be
/// worth its while.
const PORTION: usize = if cfg!(feature = "std") { 256 } else { 16 };

/// How long to wait for a port that has taken a part of a frame.
const STALL: Duration = Duration::from_millis(2);

/// How long to listen at most before a port that had failed is believed to work.
const TRIAL: Duration = Duration::from_millis(10);

/// Memory for one frame that arrives and one that leaves, of up to `N` bytes each: [`frame_len`] of the largest payload.
#[derive(Debug)]
pub struct Frames<const N: usize> {
    incoming: Deframer<N>,
    outgoing: [u8; N],
}

impl<const N: usize> Frames<N> {
    /// Empty memory.
    pub const fn new() -> Self {
        Self { incoming: Deframer::new(), outgoing: [0; N] }
    }
}

impl<const N: usize> Default for Frames<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// An endpoint with its port: calls, serves and reports.
///
/// It works only while it is in one of [`turn`](Self::turn), [`poll`](Self::poll), [`run`](Self::run) and
/// [`call`](Self::call). A program that does something else for longer than the peer's lease is lost to the peer, and
/// meets it again when it returns.
#[derive(Debug)]
pub struct Node<
    P: Port,
    S,
    const N: usize,
    H = fn(&mut Context<'_, S>, Message<'_>),
    G = fn(LinkEvent<<P as Port>::Error>),
> {
    endpoint: Endpoint<S>,
    link: Link<P, N>,
    handler: H,
    on_event: G,
    timeout: Duration,
}

/// The port and what is on its way to it.
#[derive(Debug)]
struct Link<P, const N: usize> {
    port: P,
    frames: Frames<N>,
    /// Which part of the outgoing frame the port has not taken yet.
    unsent: core::ops::Range<usize>,
    outage: Outage,
    /// Until when to leave a port alone that has failed.
    retry_at: Option<Instant>,
    /// Whether bytes came when it was read last: there may be more.
    has_more: bool,
    /// Whether nothing was sent since the port was opened.
    is_fresh: bool,
}

impl<P: Port, S: Storage, const N: usize> Node<P, S, N> {
    /// A node that boots now, calls with a timeout of 5 s, and refuses all requests until it is told how to
    /// [`serve`](Self::serve) them.
    #[inline(always)] // A function of its own would have a node on its stack, to be moved. So would `serve`.
    pub fn new(mut port: P, config: Config, storage: S, frames: Frames<N>) -> Self {
        const {
            assert!(
                S::PAYLOAD == usize::MAX || N >= frame_len(S::PAYLOAD),
                "Frames must hold frame_len(PAYLOAD) bytes"
            );
        }
        let now = port.now();
        Self {
            endpoint: Endpoint::new(now, config, storage),
            link: Link {
                port,
                frames,
                unsent: 0..0,
                outage: Outage::new(now),
                retry_at: None,
                has_more: false,
                is_fresh: !P::IS_DATAGRAM,
            },
            handler: |context, message| {
                if let Message::Request { id, .. } = message {
                    context.refuse_request(id, Refusal::UnknownKey);
                }
            },
            on_event: |_| {},
            timeout: Duration::from_secs(5),
        }
    }
}

impl<P, S, H, G, const N: usize> Node<P, S, N, H, G>
where
    P: Port,
    S: Storage,
    H: FnMut(&mut Context<'_, S>, Message<'_>),
    G: FnMut(LinkEvent<P::Error>),
{
    /// Serves the interface `I`. What cannot be decoded is refused, *executed: no*.
    #[inline(always)]
    pub fn serve<I: Interface>(
        self,
        mut handler: impl FnMut(&mut Context<'_, S>, I::Incoming<'_>),
    ) -> Node<P, S, N, impl FnMut(&mut Context<'_, S>, Message<'_>), G> {
        const { assert_fit(I::DECLARATIONS, S::PAYLOAD) }
        let mut node = self.serve_raw(move |context: &mut Context<'_, S>, message: Message<'_>| {
            if let Some(incoming) = dispatch::<I>(message, |id, refusal| context.refuse_request(id, refusal)) {
                handler(context, incoming);
            }
        });
        node.endpoint.set_schema_digest(I::DIGEST);
        node
    }

    /// Handles messages that have no types, or in a way of one's own.
    #[inline(always)]
    pub fn serve_raw<T: FnMut(&mut Context<'_, S>, Message<'_>)>(self, handler: T) -> Node<P, S, N, T, G> {
        let Self { endpoint, link, on_event, timeout, .. } = self;
        Node { endpoint, link, handler, on_event, timeout }
    }

    /// Reports what happens to the link.
    pub fn on_event<T: FnMut(LinkEvent<P::Error>)>(self, on_event: T) -> Node<P, S, N, H, T> {
        let Self { endpoint, link, handler, timeout, .. } = self;
        Node { endpoint, link, handler, on_event, timeout }
    }

    /// Lets calls fail after `timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Does what is to be done now, without waiting, and returns when to come again at the latest if no bytes come
    /// before, `None` for never: for a main loop that has other work too. A moment that has passed means at once.
    pub fn poll(&mut self) -> Option<Instant> {
        let now = self.link.port.now();
        self.step(Some(now), None);
        if self.link.has_more {
            return Some(now);
        }
        // Replies to what has just come.
        let wait = match self.link.retry_at {
            None => self.send().unwrap_or_else(|error| {
                self.failed(error);
                None
            }),
            Some(_) => None,
        };
        let timer = earlier(self.endpoint.poll_timeout(), self.link.retry_at);
        earlier(timer, wait.map(|wait| now + wait))
    }

    /// Waits until something happens, and handles it.
    pub fn turn(&mut self) {
        self.step(None, None);
    }

    /// Serves for ever.
    pub fn run(&mut self) -> ! {
        loop {
            self.turn();
        }
    }

    /// Calls a procedure of the peer and waits for the outcome, while requests of the peer are served.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells why there is no response, and whether the request took effect.
    pub fn call<Q>(&mut self, request: &Q::Request<'_>) -> Result<Q::Response<'static>, CallError>
    where
        Q: Procedure,
        Q::Response<'static>: DeserializeOwned,
    {
        let mut response = None;
        self.call_bytes::<Q>(request, &mut |payload| response = decode(payload))?;
        response.ok_or(CallError { reason: Reason::MalformedResponse, executed: Executed::Yes })
    }

    /// Like [`Self::call`], for a response that borrows.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells why there is no response, and whether the request took effect.
    pub fn call_with<Q: Procedure, T>(
        &mut self,
        request: &Q::Request<'_>,
        read: impl FnOnce(Q::Response<'_>) -> T,
    ) -> Result<T, CallError> {
        let (mut read, mut result) = (Some(read), None);
        self.call_bytes::<Q>(request, &mut |payload| {
            if let (Some(response), Some(read)) = (decode(payload), read.take()) {
                result = Some(read(response));
            }
        })?;
        result.ok_or(CallError { reason: Reason::MalformedResponse, executed: Executed::Yes })
    }

    /// Sends a notification. Does not wait for its ack.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn notify<M: Notification>(&mut self, payload: &M::Payload<'_>) -> Result<(), SendError> {
        self.context().notify::<M>(payload)
    }

    /// Publishes a value.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn publish<T: Topic>(&mut self, payload: &T::Payload<'_>) -> Result<(), SendError> {
        self.context().publish::<T>(payload)
    }

    /// The endpoint at this moment: to give replies that were put off, and to send.
    pub fn context(&mut self) -> Context<'_, S> {
        let now = self.link.port.now();
        Context::new(&mut self.endpoint, now)
    }

    /// The endpoint, for its statistics and settings.
    pub const fn endpoint(&mut self) -> &mut Endpoint<S> {
        &mut self.endpoint
    }

    /// The port.
    pub const fn port(&mut self) -> &mut P {
        &mut self.link.port
    }

    fn call_bytes<Q: Procedure>(
        &mut self,
        request: &Q::Request<'_>,
        read: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CallError> {
        const { assert_fit(&[Q::DECLARATION], S::PAYLOAD) }
        let deadline = self.link.port.now() + self.timeout;
        let call = loop {
            let mut context = self.context();
            let now = context.now();
            match context.call::<Q>(deadline.saturating_duration_since(now), request) {
                Ok(pending) => break pending.call(),
                // Earlier calls that were given up may still hold their slots.
                Err(SendError::Full) if now < deadline => self.step(Some(deadline), None),
                Err(error) => return Err(error.into()),
            }
        };
        let mut awaited = Awaited { call, read, ended: None };
        while awaited.ended.is_none() {
            self.step(None, Some(&mut awaited));
        }
        let outcome = awaited.ended.unwrap_or(Ok(()));
        outcome.map_err(|error| name_error::<Q>(error, self.endpoint.peer_schema_digest()))
    }

    /// Sends, receives, lets time pass and reports, waiting until `until` at most.
    fn step(&mut self, until: Option<Instant>, mut awaited: Option<&mut Awaited<'_>>) {
        let link = &mut self.link;
        let now = link.port.now();
        let is_usable = match link.retry_at {
            Some(retry_at) if retry_at > now => {
                let wake_at = earlier(until, self.endpoint.poll_timeout());
                link.port.sleep(wake_at.map_or(retry_at, |wake_at| wake_at.min(retry_at)));
                false
            }
            Some(_) => match link.port.reopen() {
                Ok(()) => true,
                Err(error) => {
                    self.failed(error);
                    false
                }
            },
            None => true,
        };
        if is_usable {
            // Whether the port works again is to be known soon.
            let until = if self.link.retry_at.is_some() { earlier(until, Some(now + TRIAL)) } else { until };
            let result = self.send().and_then(|wait| {
                let wake_at = earlier(self.endpoint.poll_timeout(), wait.map(|wait| now + wait));
                self.receive(earlier(until, wake_at), awaited.as_deref_mut())
            });
            match result {
                Ok(()) => {
                    self.link.retry_at = None;
                    let now = self.link.port.now();
                    if self.link.outage.works(now) {
                        (self.on_event)(LinkEvent::PortRestored);
                    }
                }
                Err(error) => self.failed(error),
            }
        }
        let now = self.link.port.now();
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            match (event, &mut awaited) {
                (Event::CallFailed { call, error }, Some(awaited)) if awaited.call == call => {
                    awaited.ended = Some(Err(error));
                }
                _ => (self.on_event)(LinkEvent::Endpoint(event)),
            }
        }
    }

    /// Gives the port what waits. Says how long it may be left alone if there is more.
    fn send(&mut self) -> Result<Option<Duration>, P::Error> {
        let Self { endpoint, link, .. } = self;
        loop {
            let now = link.port.now();
            if link.unsent.is_empty() {
                let free_at = link.port.is_free_at();
                if free_at > now {
                    return Ok(Some(free_at.saturating_duration_since(now)));
                }
                let buf = &mut link.frames.outgoing;
                let len = if P::IS_DATAGRAM { endpoint.poll_transmit(now, buf) } else { endpoint.poll_frame(now, buf) };
                let Some(len) = len else { return Ok(None) };
                link.unsent = 0..len;
            }
            if link.is_fresh {
                // What the peer has of an earlier frame ends here (`PROTOCOL.md §2`).
                match link.port.send(&[0])? {
                    0 => return Ok(Some(STALL)),
                    _ => link.is_fresh = false,
                }
            }
            let bytes = link.frames.outgoing.get(link.unsent.clone()).unwrap_or_default();
            let len = bytes.len();
            let taken = link.port.send(bytes)?.min(len);
            link.unsent.start = link.unsent.start.saturating_add(taken);
            match taken {
                0 => return Ok(Some(STALL)),
                // What has come is to be read before the rest.
                taken if taken < len => return Ok(Some(Duration::ZERO)),
                _ => {}
            }
        }
    }

    /// Waits for bytes and handles the frames in them.
    fn receive(&mut self, until: Option<Instant>, mut awaited: Option<&mut Awaited<'_>>) -> Result<(), P::Error> {
        let Self { endpoint, link, handler, .. } = self;
        let Link { port, frames, has_more, .. } = link;
        *has_more = false;
        let mut take = |endpoint: &mut Endpoint<S>, now, message: Message<'_>| match (message, &mut awaited) {
            (Message::Response { call, payload }, Some(awaited)) if awaited.call == call => {
                (awaited.read)(payload);
                awaited.ended = Some(Ok(()));
            }
            _ => handler(&mut Context::new(endpoint, now), message),
        };
        if P::IS_DATAGRAM {
            let buf = frames.incoming.buffer();
            let len = port.receive(buf, until)?;
            *has_more = len > 0;
            if let Some(frame) = buf.get_mut(..len).filter(|frame| !frame.is_empty()) {
                let now = port.now();
                endpoint.take_messages(now, frame, &mut take);
                endpoint.take_notifies(now, buf, &mut take);
            }
        } else {
            let mut portion = [0; PORTION];
            let len = port.receive(&mut portion, until)?;
            *has_more = len > 0;
            let mut bytes = portion.get(..len).unwrap_or_default();
            while let Some(frame) = frames.incoming.next_frame(&mut bytes) {
                let now = port.now();
                endpoint.take_messages(now, frame, &mut take);
                // Between two frames their memory is free.
                endpoint.take_notifies(now, frames.incoming.buffer(), &mut take);
            }
        }
        Ok(())
    }

    /// The port failed: it is left alone for a while.
    fn failed(&mut self, error: P::Error) {
        let now = self.link.port.now();
        if !self.link.unsent.is_empty() {
            if self.link.unsent.start == 0 {
                self.endpoint.handle_refused();
            }
            self.link.unsent = 0..0;
        }
        self.link.frames.incoming.reset();
        self.link.is_fresh = !P::IS_DATAGRAM;
        let (retry_at, is_news) = self.link.outage.failed(now);
        self.link.retry_at = Some(retry_at);
        if is_news {
            (self.on_event)(LinkEvent::PortFailed(error));
        }
    }
}

/// The call that somebody waits for.
struct Awaited<'a> {
    call: Call,
    read: &'a mut dyn FnMut(&[u8]),
    ended: Option<Result<(), CallError>>,
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
