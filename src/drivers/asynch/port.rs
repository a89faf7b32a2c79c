//! The task that runs the port: a reader, a writer, and a ticker that lets time pass.

use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::pin;
use core::task::Poll;

use super::super::LinkEvent;
use super::tasks::{PlaceState, TaskMemory};
use super::{Lock, ReadHalf, Shared, Timer, WriteHalf};
use crate::machine::Message;
use crate::time::Duration;
use crate::wire::Deframer;

/// Bytes read from a stream at once.
const PORTION: usize = 64;

/// How soon to look again at a deadline that has passed and cannot be dealt with yet.
const TICK: Duration = Duration::from_millis(1);

impl<L: Lock> Shared<L> {
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
