//! The host that calls the device. Its instructions are not counted.

use bowline::typed::{Context, Pending};
use bowline::wire::Deframer;
use bowline::{Buffers, Config, Duration, Endpoint, Event, Incarnation, Instant, Message};

use crate::device::{Turn, motion, position};

/// The largest frame.
pub const FRAME: usize = bowline::frame_len(48);

type Memory = Buffers<48, 2, 0, 0, 0, 0, 4>;

/// A client with one call at a time.
pub struct Client {
    endpoint: Endpoint<Memory>,
    deframer: Deframer<FRAME>,
    pending: Option<(Pending<Turn>, u32)>,
    /// How many calls have been answered as they should.
    pub answered: u32,
}

impl Client {
    pub fn new(now: Instant) -> Self {
        let config = Config::new(Incarnation::random(0x0FED_CBA9_8765_4321));
        let endpoint = Endpoint::new(now, config, Memory::new());
        Self { endpoint, deframer: Deframer::new(), pending: None, answered: 0 }
    }

    pub fn is_connected(&self) -> bool {
        self.endpoint.is_connected()
    }

    pub fn call(&mut self, now: Instant, number: u32) {
        let call = Context::new(&mut self.endpoint, now).call::<Turn>(Duration::from_secs(5), &motion(number));
        let Ok(pending) = call else { panic!("there are two slots") };
        self.pending = Some((pending, number));
    }

    pub fn handle(&mut self, now: Instant, mut received: &[u8]) {
        let Self { endpoint, deframer, pending, answered } = self;
        while let Some(frame) = deframer.next_frame(&mut received) {
            let mut messages = endpoint.handle_frame(now, frame);
            while let Some(message) = messages.next(endpoint) {
                if let Message::Response { call, payload } = message
                    && let Some((pending, number)) = pending.take_if(|(pending, _)| pending.call() == call)
                    && let Ok(answer) = pending.outcome(Ok(payload), None)
                    && answer == position(motion(number))
                {
                    *answered += 1;
                }
            }
        }
    }

    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            assert!(!matches!(event, Event::CallFailed { .. }), "the line is perfect");
        }
        self.endpoint.poll_frame(now, buf)
    }

    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }
}
