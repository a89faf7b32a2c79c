//! The public state machine.

use crate::config::Config;
use crate::event::{Event, Refusal, RespondError, SendError};
use crate::machine::{Machine, Messages};
use crate::rpc::{Call, RequestId, Semantics};
use crate::stats::Stats;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::{encode_in_place, frame_len};

/// One end of a link: bytes and the time go in, bytes, messages, events and the next deadline come out.
///
/// It has no port, no clock and no memory but its own. Methods may be called in any order; a call that has nothing
/// to do does nothing, and one that fails leaves the state as it was. See the [crate documentation](crate) for the
/// loop that drives it.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub struct Endpoint<S> {
    machine: Machine,
    storage: S,
}

/// A notify that had been held back until its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Notify<'a> {
    /// Its kind.
    pub key: u16,
    /// The application's bytes.
    pub payload: &'a [u8],
}

impl<S: Storage> Endpoint<S> {
    /// A node that boots now.
    #[inline(always)]
    pub fn new(now: Instant, config: Config, storage: S) -> Self {
        Self { machine: Machine::new(now, &config), storage }
    }

    /// Machine and memory. Whoever asks for them may change anything.
    pub(crate) const fn split(&mut self) -> (&mut Machine, &mut S) {
        self.machine.wake();
        (&mut self.machine, &mut self.storage)
    }

    /// The same for questions, which change nothing.
    const fn look(&mut self) -> (&Machine, &mut S) {
        (&self.machine, &mut self.storage)
    }

    /// Shows the peer this digest from now on.
    #[cfg(any(feature = "blocking", feature = "embedded-io-async"))]
    pub(crate) const fn set_schema_digest(&mut self, digest: u32) {
        self.machine.set_schema_digest(digest);
    }

    /// Whether this node was closed and the peer is still to be told.
    #[cfg(feature = "tokio")]
    pub(crate) const fn is_closing(&self) -> bool {
        self.machine.is_closing()
    }

    // Inputs.

    /// A frame has come: `packet ‖ check`, without COBS and delimiter. Take all messages, then poll everything.
    ///
    /// Whatever it holds, it cannot do harm: what cannot be accepted is counted in [`Stats::dropped`] and changes
    /// nothing.
    pub fn handle_frame<'f>(&mut self, now: Instant, frame: &'f mut [u8]) -> Messages<'f> {
        let (machine, storage) = self.split();
        machine.handle_frame(storage, now, frame)
    }

    /// Time has passed. To be called at [`Self::poll_timeout`] at the latest; then poll everything.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (machine, storage) = self.split();
        machine.handle_timeout(storage, now);
    }

    /// The port did not take the frame that was polled last, not even in part. What it carried goes out in the next
    /// one.
    ///
    /// Without this call a frame counts as taken at the moment when it was polled. A frame that was lost otherwise
    /// needs no such word.
    pub fn handle_refused(&mut self) {
        let (machine, storage) = self.split();
        machine.handle_refused(storage);
    }

    // Outputs.

    /// Writes the next frame for a datagram link into `buf`, which must hold [`frame_len`](crate::frame_len) bytes;
    /// returns its length. `None` if there is nothing to send. To be called until then, whenever the port has room.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        if self.machine.is_drained(now) {
            return None;
        }
        let (machine, storage) = self.split();
        machine.poll_transmit(storage, now, buf)
    }

    /// Writes the next frame for a byte stream into `buf`, COBS and delimiter included; else like
    /// [`Self::poll_transmit`].
    pub fn poll_frame(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let room = crate::wire::packet_len(buf.len());
        let packet = buf.get_mut(1..room.saturating_add(1))?;
        if self.machine.is_drained(now) {
            return None;
        }
        let (machine, storage) = self.split();
        let len = machine.poll_transmit(storage, now, packet)?;
        // In a short frame there are no long runs, nor the code for them in the program.
        if const { frame_len(S::PAYLOAD) <= 254 } {
            encode_in_place::<false>(buf, len)
        } else {
            encode_in_place::<true>(buf, len)
        }
    }

    /// What has happened, session first; `None` when all is told.
    pub fn poll_event(&mut self) -> Option<Event> {
        let (machine, storage) = self.split();
        machine.poll_event(storage)
    }

    /// A notify whose turn has come after it was held back. To be called until `None` after the messages of each
    /// frame.
    pub fn poll_notify(&mut self) -> Option<Notify<'_>> {
        let (machine, storage) = self.split();
        machine.poll_notify(storage).map(|(key, payload)| Notify { key, payload })
    }

    /// Handles a frame and gives `take` its messages.
    #[cfg(feature = "blocking")]
    pub(crate) fn take_messages(
        &mut self,
        now: Instant,
        frame: &mut [u8],
        mut take: impl FnMut(&mut Self, Instant, crate::Message<'_>),
    ) {
        let mut messages = self.handle_frame(now, frame);
        while let Some(message) = messages.next(self) {
            take(self, now, message);
        }
    }

    /// Gives `take` the notifies whose turn has come, by way of `buf`, so that it can use the endpoint.
    #[cfg(feature = "blocking")]
    pub(crate) fn take_notifies(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        mut take: impl FnMut(&mut Self, Instant, crate::Message<'_>),
    ) {
        while let Some(Notify { key, payload }) = self.poll_notify() {
            let Some(copied) = buf.get_mut(..payload.len()) else { return };
            copied.copy_from_slice(payload);
            take(self, now, crate::Message::Notify { key, payload: copied });
        }
    }

    /// When to call [`Self::handle_timeout`] if nothing happens before, `None` if there is nothing to wait for. A
    /// moment that has passed means at once.
    ///
    /// Frames that wait for the port are not counted: poll them when it has room.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let (machine, storage) = self.split();
        machine.poll_timeout(storage)
    }

    // Commands.

    /// Looks for the peer from now on, as an active node does by itself; opens a node that was closed.
    pub fn connect(&mut self, now: Instant) {
        self.split().0.connect(now);
    }

    /// Opens a node that was closed, and leaves it as active or passive as it was.
    #[cfg(any(feature = "embedded-io-async", feature = "tokio"))]
    pub(crate) fn reopen(&mut self, now: Instant) {
        self.split().0.reopen(now);
    }

    /// Ends the session, tells the peer once, and is silent and deaf until [`Self::connect`]. All calls end.
    pub fn close(&mut self, now: Instant) {
        let (machine, storage) = self.split();
        machine.close(storage, now);
    }

    /// Calls the endpoint `key` of the peer. The call ends within `timeout`: with a
    /// [`Message::Response`](crate::Message::Response) or with [`Event::CallFailed`]. It may be made before there
    /// is a session.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] when all slots are taken, [`SendError::TooLarge`] when the payload does not fit a frame
    /// of both sides.
    #[cfg_attr(feature = "speed", inline)]
    pub fn call(
        &mut self,
        now: Instant,
        key: u16,
        semantics: Semantics,
        timeout: Duration,
        payload: &[u8],
    ) -> Result<Call, SendError> {
        let (machine, storage) = self.split();
        let (slot, room) = machine.call_room(storage, now)?;
        let len = copy(room, payload).map_err(|limit| SendError::TooLarge { limit })?;
        machine.call(storage, slot, key, semantics, timeout, len)
    }

    /// Gives a call up. It ends with [`Event::CallFailed`] at once if it was not sent, else when the peer has said
    /// whether it took effect, within its timeout.
    pub fn cancel(&mut self, now: Instant, call: Call) {
        let (machine, storage) = self.split();
        machine.cancel(storage, now, call);
    }

    /// Answers a request. The response is kept until the peer has it.
    ///
    /// # Errors
    ///
    /// [`RespondError::Stale`] when the session of the request is over, or it was answered before;
    /// [`RespondError::TooLarge`] when the payload does not fit, and then the request still waits.
    #[cfg_attr(feature = "speed", inline)]
    pub fn respond(&mut self, now: Instant, request: RequestId, payload: &[u8]) -> Result<(), RespondError> {
        let (machine, storage) = self.split();
        let room = machine.response_room(storage, now, request)?;
        let len = copy(room, payload).map_err(|limit| RespondError::TooLarge { limit })?;
        machine.respond(storage, request, len)
    }

    /// Refuses a request. All refusals but [`Refusal::ResponseTooLarge`] promise that it has had no effect and will
    /// have none.
    ///
    /// # Errors
    ///
    /// [`RespondError::Stale`] when the session of the request is over, or it was answered before.
    pub fn refuse(&mut self, now: Instant, request: RequestId, refusal: Refusal) -> Result<(), RespondError> {
        let (machine, storage) = self.split();
        machine.refuse(storage, now, request, refusal)
    }

    /// The handler of an orphaned request ([`Event::Orphaned`]) has ended and will not answer: its slot is free for
    /// the session of today.
    pub fn abandon(&mut self, request: RequestId) {
        let (machine, storage) = self.split();
        machine.abandon(storage, request);
    }

    /// Sends a one-way message, reliably, in order, exactly once while the session lasts.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] when too many wait for their ack, [`SendError::TooLarge`] when the payload does not fit.
    #[cfg_attr(feature = "speed", inline)]
    pub fn notify(&mut self, now: Instant, key: u16, payload: &[u8]) -> Result<(), SendError> {
        let (machine, storage) = self.split();
        let room = machine.notify_room(storage, now)?;
        let len = copy(room, payload).map_err(|limit| SendError::TooLarge { limit })?;
        machine.notify(storage, key, len)
    }

    /// Sends a one-way message once, in place of one of the same key that still waits for the line.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] when publishes of too many keys wait, [`SendError::TooLarge`] when the payload does not
    /// fit.
    pub fn publish(&mut self, now: Instant, key: u16, payload: &[u8]) -> Result<(), SendError> {
        let (machine, storage) = self.split();
        let (slot, room) = machine.publish_room(storage, now, key)?;
        let len = copy(room, payload).map_err(|limit| SendError::TooLarge { limit })?;
        machine.publish(storage, slot, key, len)
    }

    // Questions.

    /// What was done and seen so far.
    pub fn stats(&self) -> &Stats {
        self.machine.stats()
    }

    /// Whether there is a session.
    pub fn is_connected(&self) -> bool {
        self.machine.is_connected()
    }

    /// The measured round trip, `None` before the first sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.machine.round_trip()
    }

    /// What the peer shows as [`Config::schema_digest`], `None` without a session.
    pub fn peer_schema_digest(&self) -> Option<u32> {
        self.machine.peer_schema_digest()
    }

    /// Bytes of the largest payload: this node's limit, or the peer's if there is a session and it is smaller.
    pub fn max_payload(&mut self) -> usize {
        let (machine, storage) = self.look();
        machine.max_payload(storage)
    }

    /// How many more calls may be made now.
    pub fn free_calls(&mut self) -> usize {
        let (machine, storage) = self.look();
        machine.free_calls(storage)
    }

    /// For the model checker: the session held, and whether the peer is known to hold it.
    #[cfg(bowline_model)]
    pub fn session(&self) -> Option<(u32, bool)> {
        self.machine.session()
    }

    /// For the model checker: how many packets have gone out in the session held.
    #[cfg(bowline_model)]
    pub fn packets_sent(&self) -> u32 {
        self.machine.packets_sent()
    }

    /// For the model checker: forgets what can never matter again, so that states that behave alike are equal.
    #[cfg(bowline_model)]
    pub fn normalise(&mut self) {
        let (machine, storage) = self.split();
        machine.normalise(storage);
    }

    /// For the model checker: takes away all that a frame of another session may leave behind.
    #[cfg(bowline_model)]
    pub fn forget_suspicion(&mut self) {
        let (machine, storage) = self.split();
        machine.forget_suspicion(storage);
    }

    /// Whether no call, reply, notify or publish waits for anything.
    pub fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }
}

/// Its state at a glance.
#[cfg(feature = "defmt")]
impl<S> defmt::Format for Endpoint<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let Self { machine, .. } = self;
        defmt::write!(
            f,
            "Endpoint {{ is_connected: {}, round_trip: {}, stats: {} }}",
            machine.is_connected(),
            machine.round_trip(),
            machine.stats()
        );
    }
}

/// Copies `payload` to the front of `room`; returns its length, or the room's if that is less.
#[cfg_attr(feature = "speed", inline(always))]
fn copy(room: &mut [u8], payload: &[u8]) -> Result<usize, u16> {
    let limit = room.len() as u16;
    crate::wire::copy(room.get_mut(..payload.len()).ok_or(limit)?, payload);
    Ok(payload.len())
}

#[cfg(test)]
mod tests;
