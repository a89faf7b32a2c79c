//! Tasks that call: they wait for a free slot in the order in which they came, then for the outcome.

use core::future::poll_fn;
use core::task::{Context as Poller, Poll};

use serde::de::DeserializeOwned;

use super::tasks::{Place, PlaceState, TaskMemory, Waiter};
use super::{Lock, Shared, State};
use crate::event::{CallError, Executed, Reason, SendError};
use crate::rpc::Call;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::typed::{Context, Procedure, assert_fit, decode, name_error};

impl<L: Lock> Shared<L> {
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
