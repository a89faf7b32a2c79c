//! An endpoint of any size behind one type, so that a seed can choose the sizes.

use std::ops::ControlFlow;

use bowline::wire::Deframer;
use bowline::{
    Call, Duration, Endpoint, Event, Instant, Message, Notify, Refusal, RequestId, RespondError, Semantics, SendError,
    Stats, Storage,
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
