//! Memory for tasks that wait: for a free slot, and for the outcome of a call.

use core::task::Waker;

use crate::event::CallError;
use crate::rpc::Call;
use crate::time::Instant;

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
/// tasks that wait for a free slot; more get [`Reason::Full`](crate::Reason::Full) at once.
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
    pub(super) call: Option<Call>,
    /// The length of the response, or the error with the digest of the peer's interface.
    pub(super) outcome: Option<Result<usize, (CallError, Option<u32>)>>,
    pub(super) waker: Option<Waker>,
}

impl Waiter {
    /// Nobody waits.
    pub const NONE: Self = Self { call: None, outcome: None, waker: None };
}

/// A task that waits for a free call slot.
#[derive(Debug)]
pub struct Place {
    pub(super) waker: Option<Waker>,
    pub(super) deadline: Instant,
    /// When it came, compared with the others.
    pub(super) order: u64,
    pub(super) state: PlaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceState {
    Free,
    Waiting,
    /// It was woken to take a slot, or to take note that its time is over.
    Called,
}

impl Place {
    /// Nobody waits.
    pub const FREE: Self = Self { waker: None, deadline: Instant::from_micros(0), order: 0, state: PlaceState::Free };
}

impl Place {
    pub(super) fn call(&mut self) {
        self.state = PlaceState::Called;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
