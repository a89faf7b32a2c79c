//! What the application asks for.

use super::{LastFrame, Listening, Machine};
use crate::event::{Refusal, RespondError, SendError, SessionEnd};
use crate::rpc::{Call, RequestId, Semantics};
use crate::session::Owed;
use crate::storage::{Storage, room_of};
use crate::time::{Duration, Instant};

impl Machine {
    pub(crate) fn connect(&mut self, now: Instant) {
        self.config.is_active = true;
        self.reopen(now);
    }

    pub(crate) fn reopen(&mut self, now: Instant) {
        self.advance(now);
        if self.is_closed() {
            self.handshake.leave();
            self.last = LastFrame::None;
            self.listening = if self.listening == Listening::ClosedQuiet { Listening::Quiet } else { Listening::Yes };
        }
        if self.config.is_active && self.listening == Listening::Yes {
            self.greet_in(0);
        }
    }

    pub(crate) fn close<S: Storage>(&mut self, storage: &mut S, now: Instant) {
        self.advance(now);
        if self.is_closed() {
            return;
        }
        // The handshake keeps the session until the peer has been told.
        let has_session = self.is_connected();
        if has_session {
            self.tell_end(SessionEnd::Closed);
            self.session_ended(storage, SessionEnd::Closed);
        }
        if S::CALLS > 0 {
            self.calls(storage).close();
        }
        self.owed = Owed::default();
        self.listening = match self.listening {
            Listening::Quiet => Listening::ClosedQuiet,
            _ if has_session => Listening::Closing,
            _ => Listening::Closed,
        };
        self.check_invariants(storage);
    }

    // What carries a payload is sent in two steps, so that a codec can write where the payload is kept: `…_room` says
    // where, and the second step queues what was written. In between, nothing has changed.

    /// A vacant slot for a call and the room for its payload.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn call_room<'p, S: Storage>(
        &mut self,
        storage: &'p mut S,
        now: Instant,
    ) -> Result<(u8, &'p mut [u8]), SendError> {
        self.advance(now);
        let limit = self.open_for(storage)?;
        let usable = self.usable_calls(storage);
        let slot = self.calls(storage).vacant(usable)?;
        let parts = storage.lent();
        Ok((slot, room_of(parts.call_payloads, parts.payload, usize::from(slot), limit)))
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    pub(crate) fn call<S: Storage>(
        &mut self,
        storage: &mut S,
        slot: u8,
        key: u16,
        semantics: Semantics,
        timeout: Duration,
        len: usize,
    ) -> Result<Call, SendError> {
        let deadline = self.now + timeout;
        let call = self.calls(storage).call(slot, key, semantics, deadline, len as u16);
        self.check_invariants(storage);
        call
    }

    pub(crate) fn cancel<S: Storage>(&mut self, storage: &mut S, now: Instant, call: Call) {
        self.advance(now);
        self.calls(storage).cancel(call);
        self.check_invariants(storage);
    }

    /// The room for the response to `request`.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn response_room<'p, S: Storage>(
        &mut self,
        storage: &'p mut S,
        now: Instant,
        request: RequestId,
    ) -> Result<&'p mut [u8], RespondError> {
        self.advance(now);
        let limit = self.max_payload(storage);
        let slot = self.replies(storage).awaiting(request)?;
        let parts = storage.lent();
        Ok(room_of(parts.reply_payloads, parts.payload, usize::from(slot), limit))
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn respond<S: Storage>(
        &mut self,
        storage: &mut S,
        request: RequestId,
        len: usize,
    ) -> Result<(), RespondError> {
        let responded = self.replies(storage).respond(request, len as u16);
        self.check_invariants(storage);
        responded
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    pub(crate) fn refuse<S: Storage>(
        &mut self,
        storage: &mut S,
        now: Instant,
        request: RequestId,
        refusal: Refusal,
    ) -> Result<(), RespondError> {
        self.advance(now);
        let refused = self.replies(storage).refuse(request, refusal);
        self.check_invariants(storage);
        refused
    }

    pub(crate) fn abandon<S: Storage>(&mut self, storage: &mut S, request: RequestId) {
        self.replies(storage).abandon(request);
        self.check_invariants(storage);
    }

    /// The room for the next notify.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn notify_room<'p, S: Storage>(
        &mut self,
        storage: &'p mut S,
        now: Instant,
    ) -> Result<&'p mut [u8], SendError> {
        self.advance(now);
        let limit = self.open_for(storage)?;
        let slot = self.out.with(storage).notifies().vacant()?;
        let parts = storage.lent();
        Ok(room_of(parts.notify_payloads, parts.payload, slot, limit))
    }

    pub(crate) fn notify<S: Storage>(&mut self, storage: &mut S, key: u16, len: usize) -> Result<(), SendError> {
        let pushed = self.out.with(storage).notifies().push(key, len as u16);
        self.check_invariants(storage);
        pushed
    }

    /// A slot for a publish and the room for its payload, in which one of the same key may wait: what is written must
    /// fit.
    pub(crate) fn publish_room<'p, S: Storage>(
        &mut self,
        storage: &'p mut S,
        now: Instant,
        key: u16,
    ) -> Result<(usize, &'p mut [u8]), SendError> {
        self.advance(now);
        let limit = self.open_for(storage)?;
        let slot = self.publishes(storage).vacant(key)?;
        let parts = storage.lent();
        Ok((slot, room_of(parts.publish_payloads, parts.payload, slot, limit)))
    }

    pub(crate) fn publish<S: Storage>(
        &mut self,
        storage: &mut S,
        slot: usize,
        key: u16,
        len: usize,
    ) -> Result<(), SendError> {
        let pushed = self.publishes(storage).push(slot, key, len as u16);
        self.check_invariants(storage);
        pushed
    }

    /// The largest payload, if anything may be sent at all.
    fn open_for<S: Storage>(&self, storage: &mut S) -> Result<usize, SendError> {
        if self.is_closed() { Err(SendError::Closed) } else { Ok(self.max_payload(storage)) }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.listening, Listening::Closing | Listening::Closed | Listening::ClosedQuiet)
    }
}
