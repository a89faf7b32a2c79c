//! An endpoint of any size behind one type, so that a seed can choose the sizes.

use std::ops::ControlFlow;

use bowline::wire::Deframer;
use bowline::{
    Buffers, Call, Config, Duration, Endpoint, Event, Instant, Message, Notify, Refusal, RequestId, RespondError,
    Semantics, SendError, Stats, Storage, frame_len,
};

/// What takes the messages out of a frame; it may stop early.
pub type Taker<'t> = &'t mut dyn FnMut(&mut dyn AnyEndpoint, Message<'_>) -> ControlFlow<()>;

/// The methods of [`Endpoint`], see there.
pub trait AnyEndpoint {
    fn handle_frame(&mut self, now: Instant, frame: &mut [u8], take: Taker<'_>);
    fn handle_timeout(&mut self, now: Instant);
    fn handle_refused(&mut self);
    fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize>;
    fn poll_frame(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize>;
    fn poll_event(&mut self) -> Option<Event>;
    fn poll_notify(&mut self) -> Option<Notify<'_>>;
    fn poll_timeout(&mut self) -> Option<Instant>;
    fn connect(&mut self, now: Instant);
    fn close(&mut self, now: Instant);
    fn call(&mut self, now: Instant, key: u16, s: Semantics, timeout: Duration, p: &[u8]) -> Result<Call, SendError>;
    fn cancel(&mut self, now: Instant, call: Call);
    fn respond(&mut self, now: Instant, request: RequestId, payload: &[u8]) -> Result<(), RespondError>;
    fn refuse(&mut self, now: Instant, request: RequestId, refusal: Refusal) -> Result<(), RespondError>;
    fn abandon(&mut self, request: RequestId);
    fn notify(&mut self, now: Instant, key: u16, payload: &[u8]) -> Result<(), SendError>;
    fn publish(&mut self, now: Instant, key: u16, payload: &[u8]) -> Result<(), SendError>;
    fn stats(&self) -> &Stats;
    fn is_connected(&self) -> bool;
    fn max_payload(&mut self) -> usize;
    fn free_calls(&mut self) -> usize;
    fn is_idle(&self) -> bool;
    fn round_trip(&self) -> Option<Duration>;
}

impl<S: Storage> AnyEndpoint for Endpoint<S> {
    fn handle_frame(&mut self, now: Instant, frame: &mut [u8], take: Taker<'_>) {
        let mut messages = self.handle_frame(now, frame);
        while let Some(message) = messages.next(self) {
            if take(self, message).is_break() {
                break;
            }
        }
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }
    fn handle_refused(&mut self) {
        self.handle_refused();
    }
    fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.poll_transmit(now, buf)
    }
    fn poll_frame(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.poll_frame(now, buf)
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }
    fn poll_notify(&mut self) -> Option<Notify<'_>> {
        self.poll_notify()
    }
    fn poll_timeout(&mut self) -> Option<Instant> {
        self.poll_timeout()
    }
    fn connect(&mut self, now: Instant) {
        self.connect(now);
    }
    fn close(&mut self, now: Instant) {
        self.close(now);
    }
    fn call(&mut self, now: Instant, key: u16, s: Semantics, timeout: Duration, p: &[u8]) -> Result<Call, SendError> {
        self.call(now, key, s, timeout, p)
    }
    fn cancel(&mut self, now: Instant, call: Call) {
        self.cancel(now, call);
    }
    fn respond(&mut self, now: Instant, request: RequestId, payload: &[u8]) -> Result<(), RespondError> {
        self.respond(now, request, payload)
    }
    fn refuse(&mut self, now: Instant, request: RequestId, refusal: Refusal) -> Result<(), RespondError> {
        self.refuse(now, request, refusal)
    }
    fn abandon(&mut self, request: RequestId) {
        self.abandon(request);
    }
    fn notify(&mut self, now: Instant, key: u16, payload: &[u8]) -> Result<(), SendError> {
        self.notify(now, key, payload)
    }
    fn publish(&mut self, now: Instant, key: u16, payload: &[u8]) -> Result<(), SendError> {
        self.publish(now, key, payload)
    }
    fn stats(&self) -> &Stats {
        self.stats()
    }
    fn is_connected(&self) -> bool {
        self.is_connected()
    }
    fn max_payload(&mut self) -> usize {
        self.max_payload()
    }
    fn free_calls(&mut self) -> usize {
        self.free_calls()
    }
    fn is_idle(&self) -> bool {
        self.is_idle()
    }
    fn round_trip(&self) -> Option<Duration> {
        self.round_trip()
    }
}

/// A [`Deframer`] of any size.
pub trait AnyDeframer {
    fn next_frame(&mut self, input: &mut &[u8]) -> Option<&mut [u8]>;
}

impl<const N: usize> AnyDeframer for Deframer<N> {
    fn next_frame(&mut self, input: &mut &[u8]) -> Option<&mut [u8]> {
        self.next_frame(input)
    }
}

/// The sizes that a node may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// The smallest frame that the protocol allows, one of everything.
    Least,
    /// The crate's defaults, and buffers for publishing.
    Usual,
    /// Frames longer than one COBS piece.
    Wide,
    /// Many calls in flight.
    Many,
    /// Calls others, serves nobody.
    ClientOnly,
    /// Serves others, calls nobody.
    ServerOnly,
}

/// An endpoint, its deframer, and the size of its largest frame.
pub struct Parts {
    pub endpoint: Box<dyn AnyEndpoint>,
    pub deframer: Box<dyn AnyDeframer>,
    pub frame_len: usize,
}

impl Parts {
    fn new<
        const PAYLOAD: usize,
        const CALLS: usize,
        const REPLIES: usize,
        const NOTIFY_OUT: usize,
        const NOTIFY_IN: usize,
        const PUBLISH: usize,
        const SENT: usize,
        const FRAME: usize,
    >(
        now: Instant,
        config: Config,
    ) -> Parts {
        const { assert!(FRAME == frame_len(PAYLOAD)) };
        let buffers = Buffers::<PAYLOAD, CALLS, REPLIES, NOTIFY_OUT, NOTIFY_IN, PUBLISH, SENT>::new();
        Parts {
            endpoint: Box::new(Endpoint::new(now, config, buffers)),
            deframer: Box::new(Deframer::<FRAME>::new()),
            frame_len: FRAME,
        }
    }
}

impl Sizes {
    pub const ALL: [Sizes; 6] =
        [Sizes::Least, Sizes::Usual, Sizes::Wide, Sizes::Many, Sizes::ClientOnly, Sizes::ServerOnly];

    /// Call slots and reply slots.
    pub fn slots(self) -> (usize, usize) {
        match self {
            Sizes::Least => (1, 1),
            Sizes::Usual => (2, 2),
            Sizes::Wide => (4, 4),
            Sizes::Many => (32, 32),
            Sizes::ClientOnly => (4, 0),
            Sizes::ServerOnly => (0, 4),
        }
    }

    pub fn boot(self, now: Instant, config: Config) -> Parts {
        // Payload, calls, replies, notifies out and in, publishes, packets on the way; the frame's size.
        match self {
            Sizes::Least => Parts::new::<32, 1, 1, 1, 1, 1, 4, 48>(now, config),
            Sizes::Usual => Parts::new::<48, 2, 2, 2, 1, 1, 12, 64>(now, config),
            Sizes::Wide => Parts::new::<600, 4, 4, 4, 4, 2, 32, 618>(now, config),
            Sizes::Many => Parts::new::<100, 32, 32, 16, 16, 4, 128, 116>(now, config),
            Sizes::ClientOnly => Parts::new::<48, 4, 0, 2, 1, 0, 12, 64>(now, config),
            Sizes::ServerOnly => Parts::new::<64, 0, 4, 0, 2, 0, 12, 80>(now, config),
        }
    }
}
