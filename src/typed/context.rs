//! What a handler, or anyone who holds the endpoint, does with types.

use core::fmt;
use core::marker::PhantomData;

use serde::Serialize;

use super::{Notification, Procedure, Topic, decode};
use crate::endpoint::Endpoint;
use crate::event::{CallError, Executed, Reason, Refusal, RespondError, SendError};
use crate::machine::Machine;
use crate::rpc::{Call, RequestId};
use crate::storage::{Buffers, Storage};
use crate::time::{Duration, Instant};

/// An endpoint at a moment: what a handler is given to answer with, now or later, and to send messages of its own.
///
/// `S` is the memory of the endpoint.
#[derive(Debug)]
pub struct Context<'a, S = Buffers> {
    machine: &'a mut Machine,
    storage: &'a mut S,
    now: Instant,
}

/// The right to answer a request, once, now or later.
///
/// A request that is never answered costs its slot until the session ends, and nothing else.
#[must_use = "a request that is not answered costs its slot until the session ends"]
pub struct Reply<P> {
    id: RequestId,
    procedure: PhantomData<fn() -> P>,
}

/// A call in progress, with the type of its response.
pub struct Pending<P> {
    call: Call,
    procedure: PhantomData<fn() -> P>,
}

impl<'a, S: Storage> Context<'a, S> {
    /// The endpoint, now.
    pub const fn new(endpoint: &'a mut Endpoint<S>, now: Instant) -> Self {
        let (machine, storage) = endpoint.split();
        Self { machine, storage, now }
    }

    /// When it is.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Answers a request. The response is kept until the peer has it.
    ///
    /// Nothing happens if nobody waits any more. A response that does not fit a frame of both sides is refused with
    /// [`Refusal::ResponseTooLarge`], so that the caller learns that its request was executed.
    pub fn reply<P: Procedure>(&mut self, reply: Reply<P>, response: &P::Response<'_>) {
        let _ = self.try_reply(reply, response);
    }

    /// Like [`Self::reply`], and says whether the response is on its way.
    ///
    /// # Errors
    ///
    /// [`RespondError::Stale`] when nobody waits any more, [`RespondError::TooLarge`] when the caller is told
    /// [`Refusal::ResponseTooLarge`].
    pub fn try_reply<P: Procedure>(&mut self, reply: Reply<P>, response: &P::Response<'_>) -> Result<(), RespondError> {
        const { P::DECLARATION.assert_fits(S::PAYLOAD) }
        let room = self.machine.response_room(self.storage, self.now, reply.id)?;
        let limit = room.len() as u16;
        match encode(response, room) {
            Some(len) => self.machine.respond(self.storage, reply.id, len),
            None => {
                self.refuse_request(reply.id, Refusal::ResponseTooLarge);
                Err(RespondError::TooLarge { limit })
            }
        }
    }

    /// Refuses a request. All refusals but [`Refusal::ResponseTooLarge`] promise that it has had no effect and will
    /// have none.
    pub fn refuse<P: Procedure>(&mut self, reply: Reply<P>, refusal: Refusal) {
        self.refuse_request(reply.id, refusal);
    }

    pub(crate) fn refuse_request(&mut self, request: RequestId, refusal: Refusal) {
        let _ = self.machine.refuse(self.storage, self.now, request, refusal);
    }

    /// Says that an orphaned request will not be answered: its slot is free for the session of today.
    pub fn abandon<P: Procedure>(&mut self, reply: Reply<P>) {
        self.machine.abandon(self.storage, reply.id);
    }

    /// Calls a procedure of the peer. The call ends within `timeout`: with a [`Message::Response`] or with
    /// [`Event::CallFailed`], of which [`Pending::outcome`] makes the typed outcome.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    ///
    /// [`Message::Response`]: crate::Message::Response
    /// [`Event::CallFailed`]: crate::Event::CallFailed
    pub fn call<P: Procedure>(&mut self, timeout: Duration, request: &P::Request<'_>) -> Result<Pending<P>, SendError> {
        const { P::DECLARATION.assert_fits(S::PAYLOAD) }
        let (slot, room) = self.machine.call_room(self.storage, self.now)?;
        let limit = room.len() as u16;
        let len = encode(request, room).ok_or(SendError::TooLarge { limit })?;
        let key = const { P::DECLARATION.key() };
        let call = self.machine.call(self.storage, slot, key, P::SEMANTICS, timeout, len)?;
        Ok(Pending { call, procedure: PhantomData })
    }

    /// Gives a call up. It still ends as it would, only sooner.
    pub fn cancel<P>(&mut self, pending: &Pending<P>) {
        self.machine.cancel(self.storage, self.now, pending.call);
    }

    /// Sends a notification: reliably, in order, exactly once while the session lasts.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn notify<N: Notification>(&mut self, payload: &N::Payload<'_>) -> Result<(), SendError> {
        const { N::DECLARATION.assert_fits(S::PAYLOAD) }
        let room = self.machine.notify_room(self.storage, self.now)?;
        let limit = room.len() as u16;
        let len = encode(payload, room).ok_or(SendError::TooLarge { limit })?;
        self.machine.notify(self.storage, const { N::DECLARATION.key() }, len)
    }

    /// Publishes a value, once, in place of one of the same topic that still waits for the line.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn publish<T: Topic>(&mut self, payload: &T::Payload<'_>) -> Result<(), SendError> {
        const { T::DECLARATION.assert_fits(S::PAYLOAD) }
        let key = const { T::DECLARATION.key() };
        let (slot, room) = self.machine.publish_room(self.storage, self.now, key)?;
        let limit = room.len();
        // The room may hold one that waits, which is not to be lost to one that does not fit.
        let fits = postcard::experimental::serialized_size(payload).is_ok_and(|size| size <= limit);
        let len = if fits { encode(payload, room) } else { None };
        let len = len.ok_or(SendError::TooLarge { limit: limit as u16 })?;
        self.machine.publish(self.storage, slot, key, len)
    }

    /// What the peer shows as the digest of the interface that it understands.
    pub fn peer_schema_digest(&self) -> Option<u32> {
        self.machine.peer_schema_digest()
    }
}

/// Writes a value to the front of `room`; its length, `None` if it does not fit.
fn encode<T: Serialize + ?Sized>(value: &T, room: &mut [u8]) -> Option<usize> {
    postcard::to_slice(value, room).ok().map(|written| written.len())
}

impl<P> Reply<P> {
    #[doc(hidden)]
    pub const fn new(id: RequestId) -> Self {
        Self { id, procedure: PhantomData }
    }

    /// The request, as events name it.
    pub const fn id(&self) -> RequestId {
        self.id
    }
}

impl<P: Procedure> Pending<P> {
    /// The call, as events and responses name it.
    pub const fn call(&self) -> Call {
        self.call
    }

    /// The outcome of this call, from the payload of its response or its error. `peer` is
    /// [`Endpoint::peer_schema_digest`].
    ///
    /// # Errors
    ///
    /// The error of the call; its reason is [`Reason::SchemaMismatch`] when the peer does not have the procedure since
    /// it was built from another declaration, and [`Reason::MalformedResponse`] when the response cannot be decoded.
    pub fn outcome<'m>(
        &self,
        outcome: Result<&'m [u8], CallError>,
        peer: Option<u32>,
    ) -> Result<P::Response<'m>, CallError> {
        decode_outcome::<P>(outcome, peer)
    }
}

pub(crate) fn decode_outcome<'m, P: Procedure>(
    outcome: Result<&'m [u8], CallError>,
    peer: Option<u32>,
) -> Result<P::Response<'m>, CallError> {
    let payload = outcome.map_err(|error| name_error::<P>(error, peer))?;
    decode(payload).ok_or(CallError { reason: Reason::MalformedResponse, executed: Executed::Yes })
}

/// Tells an unknown procedure from one that was declared differently, by the digest that the peer shows.
pub(crate) fn name_error<P: Procedure>(error: CallError, peer: Option<u32>) -> CallError {
    let is_unknown = error.reason == Reason::Refused(Refusal::UnknownKey);
    // A peer that shows 0 has declared nothing.
    let has_other = peer.is_some_and(|digest| digest != 0 && digest != P::INTERFACE);
    let reason = if is_unknown && has_other { Reason::SchemaMismatch } else { error.reason };
    CallError { reason, ..error }
}

impl<P> fmt::Debug for Reply<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.id).finish()
    }
}

impl<P> fmt::Debug for Pending<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pending").field(&self.call).finish()
    }
}

#[cfg(feature = "defmt")]
impl<P> defmt::Format for Reply<P> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Reply({})", self.id);
    }
}

#[cfg(feature = "defmt")]
impl<P> defmt::Format for Pending<P> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Pending({})", self.call);
    }
}
