//! Futures over `embedded-io-async` 0.7, for any executor, without an allocator.
//!
//! A [`Node`] is shared by reference: any number of tasks call on it, one task runs the port.
//!
//! ```no_run
//! # #[cfg(feature = "embassy-time")] {
//! use bowline::drivers::embedded_async::{EmbassyTimer, Node};
//! use bowline::{Buffers, CallError, Config, Incarnation, frame_len};
//! use bowline::drivers::asynch::Tasks;
//! use embassy_sync::blocking_mutex::raw::NoopRawMutex;
//! use embedded_io_async::{Read, Write};
//!
//! bowline::interface! {
//!     pub enum Lamp {
//!         at_most_once Toggle(u8) -> bool;
//!     }
//! }
//!
//! type Link = Node<NoopRawMutex, Buffers<48>, Tasks<48, 2, 4>>;
//!
//! fn link() -> Link {
//!     Node::with_embassy_time(Config::new(Incarnation::random(0x1234_5678_9ABC_DEF0)), Buffers::new(), Tasks::new())
//! }
//!
//! /// The task of the port, which also serves.
//! async fn port(link: &Link, rx: impl Read, tx: impl Write) {
//!     let mut lit = false;
//!     link.run::<Lamp, { frame_len(48) }>(rx, tx, EmbassyTimer, |link, message| match message {
//!         Lamp::Toggle(_, reply) => {
//!             lit = !lit;
//!             link.reply(reply, &lit);
//!         }
//!     }, |_event| {}).await;
//! }
//!
//! /// Any other task.
//! async fn toggle(link: &Link) -> Result<bool, CallError> {
//!     link.call::<Toggle>(&3).await
//! }
//! # }
//! ```

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::Future;
use core::ops::Deref;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_io_async::{Error as _, ErrorKind, Read, Write};
use serde::de::DeserializeOwned;

use super::LinkEvent;
use super::asynch::{Lock, ReadHalf, Running, Shared, State, TaskMemory, Timer, WriteHalf};
use crate::config::Config;
use crate::event::CallError;
use crate::machine::Message;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::typed::{Interface, Procedure};
use crate::wire::frame_len;

/// An endpoint that tasks share. `M` is the mutex of `embassy-sync`: `NoopRawMutex` if all tasks are on one executor,
/// `CriticalSectionRawMutex` if not.
///
/// It dereferences to [`Shared`], which has the commands that need no waiting.
pub struct Node<M: RawMutex, S, T> {
    shared: Shared<EmbassyLock<M, S, T>>,
    timeout: Duration,
}

/// The [`Lock`] of a [`Node`].
pub struct EmbassyLock<M: RawMutex, S, T> {
    state: Mutex<M, RefCell<State<S, T, ErrorKind>>>,
    now: fn() -> Instant,
}

impl<M: RawMutex, S: Storage, T: TaskMemory> Lock for EmbassyLock<M, S, T> {
    type Storage = S;
    type Tasks = T;
    type Error = ErrorKind;

    fn with<R>(&self, f: impl FnOnce(&mut State<S, T, ErrorKind>) -> R) -> R {
        self.state.lock(|state| f(&mut state.borrow_mut()))
    }

    fn now(&self) -> Instant {
        (self.now)()
    }
}

impl<M: RawMutex, S: Storage, T: TaskMemory> Node<M, S, T> {
    /// A node that boots now, and calls with a timeout of 5 s. `now` reads a clock: any origin, resolution of a
    /// millisecond or better.
    pub fn new(config: Config, storage: S, tasks: T, now: fn() -> Instant) -> Self {
        let state = Mutex::new(RefCell::new(State::new(now(), config, storage, tasks)));
        Self { shared: Shared::new(EmbassyLock { state, now }), timeout: Duration::from_secs(5) }
    }

    /// Like [`Self::new`], with the clock of `embassy-time`.
    #[cfg(feature = "embassy-time")]
    pub fn with_embassy_time(config: Config, storage: S, tasks: T) -> Self {
        Self::new(config, storage, tasks, embassy_now)
    }

    /// Lets calls fail after `timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Calls a procedure of the peer. Waits for a free slot if there is none. Dropping the future cancels the call, and
    /// the peer is told.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells why there is no response, and whether the request took effect.
    pub async fn call<P>(&self, request: &P::Request<'_>) -> Result<P::Response<'static>, CallError>
    where
        P: Procedure,
        P::Response<'static>: DeserializeOwned,
    {
        self.shared.call_within::<P>(self.timeout, request).await
    }

    /// Moves bytes, serves the interface `I` ([`Nothing`](crate::typed::Nothing) for a node that only calls) and
    /// reports, for ever. `N` is the largest frame: [`frame_len`] of the largest payload.
    ///
    /// Reads are abandoned half-way only when writing fails, so a UART driver need not be safe against that. A read that
    /// fails once is noise on the line. Other errors of the port are reported, and the port is tried again after a
    /// pause. If the future is dropped, all calls end.
    pub fn run<I: Interface, const N: usize>(
        &self,
        mut reader: impl Read,
        mut writer: impl Write,
        mut timer: impl Timer,
        mut handler: impl FnMut(&Self, I::Incoming<'_>),
        on_event: impl FnMut(LinkEvent<ErrorKind>),
    ) -> impl Future<Output = Infallible> {
        const { assert!(N >= frame_len(S::PAYLOAD), "the second parameter of `run` must be frame_len(PAYLOAD)") }
        self.shared.set_interface::<I>();
        let running = Running::new(&self.shared);
        async move {
            let _running = running;
            let mut handle = |message: Message<'_>| {
                if let Some(incoming) = self.shared.dispatch::<I>(message) {
                    handler(self, incoming);
                }
            };
            let port = async {
                let mut reader = Reading { reader: &mut reader, is_noisy: false };
                let mut writer = Writing(&mut writer);
                loop {
                    let error = self.shared.pump::<_, _, N>(&mut reader, &mut writer, &mut handle).await;
                    self.shared.pause(error).await;
                }
            };
            self.shared.run(&mut timer, on_event, port).await
        }
    }
}

impl<M: RawMutex, S, T> Deref for Node<M, S, T> {
    type Target = Shared<EmbassyLock<M, S, T>>;

    fn deref(&self) -> &Self::Target {
        &self.shared
    }
}

struct Reading<'a, R> {
    reader: &'a mut R,
    /// Whether reading has failed, and no byte has come since then.
    is_noisy: bool,
}

impl<R: Read> ReadHalf for Reading<'_, R> {
    type Error = ErrorKind;

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        loop {
            match self.reader.read(buf).await {
                // The end of the stream.
                Ok(0) => return Err(ErrorKind::NotConnected),
                Ok(len) => {
                    self.is_noisy = false;
                    return Ok(len);
                }
                // A framing error, say: frames have a check for that. But a port whose reads all fail does not work.
                Err(_) if !self.is_noisy => self.is_noisy = true,
                Err(error) => return Err(error.kind()),
            }
        }
    }
}

struct Writing<'a, W>(&'a mut W);

impl<W: Write> WriteHalf for Writing<'_, W> {
    type Error = ErrorKind;

    async fn send(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        match self.0.write(bytes).await.map_err(|error| error.kind())? {
            0 => Err(ErrorKind::WriteZero),
            taken => Ok(taken),
        }
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.0.flush().await.map_err(|error| error.kind())
    }
}

/// Sleeps by a delay of `embedded-hal-async`, with the clock that the node has.
#[derive(Debug)]
pub struct DelayTimer<D> {
    delay: D,
    now: fn() -> Instant,
}

impl<D> DelayTimer<D> {
    /// From a delay and a clock.
    pub const fn new(delay: D, now: fn() -> Instant) -> Self {
        Self { delay, now }
    }
}

impl<D: embedded_hal_async::delay::DelayNs> Timer for DelayTimer<D> {
    async fn sleep_until(&mut self, until: Instant) {
        let wait = until.saturating_duration_since((self.now)());
        self.delay.delay_us(wait.as_micros_u32()).await;
    }
}

/// Sleeps by `embassy-time`.
#[cfg(feature = "embassy-time")]
#[derive(Clone, Copy, Debug)]
pub struct EmbassyTimer;

#[cfg(feature = "embassy-time")]
impl Timer for EmbassyTimer {
    async fn sleep_until(&mut self, until: Instant) {
        embassy_time::Timer::at(embassy_time::Instant::from_micros(until.as_micros())).await;
    }
}

/// The time by `embassy-time`.
#[cfg(feature = "embassy-time")]
fn embassy_now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
