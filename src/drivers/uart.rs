//! A byte stream over `embedded-io` 0.7, for the HAL of a microcontroller.
//!
//! What the HAL has decides how to wait:
//!
//! - a clock: [`Uart::new`] with a closure that reads it. Nothing waits then: call [`Node::poll`] from the main loop,
//!   which can sleep until an interrupt. [`Uart::with_idle`] adds a closure that sleeps, so that
//!   [`Node::turn`] and [`Node::call`] need not spin.
//! - only a delay: [`Uart::with_delay`], which counts the time that it has waited.
//!
//! # A HAL with `embedded-io` 0.6
//!
//! Its traits are the same in another version. A type of one's own carries them over, with
//! `embedded-io-06 = { package = "embedded-io", version = "0.6" }` among the dependencies:
//!
//! ```
//! use bowline::{Instant, drivers::uart::Uart};
//! use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
//!
//! /// A port of the HAL.
//! struct Port<T>(T);
//!
//! impl<T> ErrorType for Port<T> {
//!     type Error = ErrorKind;
//! }
//!
//! impl<T: embedded_io_06::Read> Read for Port<T> {
//!     fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
//!         self.0.read(buf).map_err(|_| ErrorKind::Other)
//!     }
//! }
//!
//! impl<T: embedded_io_06::ReadReady> ReadReady for Port<T> {
//!     fn read_ready(&mut self) -> Result<bool, ErrorKind> {
//!         self.0.read_ready().map_err(|_| ErrorKind::Other)
//!     }
//! }
//!
//! impl<T: embedded_io_06::Write> Write for Port<T> {
//!     fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
//!         self.0.write(buf).map_err(|_| ErrorKind::Other)
//!     }
//!
//!     fn flush(&mut self) -> Result<(), ErrorKind> {
//!         self.0.flush().map_err(|_| ErrorKind::Other)
//!     }
//! }
//!
//! fn port<T>(hal: T, now: fn() -> Instant) -> impl bowline::drivers::blocking::Port
//! where
//!     T: embedded_io_06::Read + embedded_io_06::ReadReady + embedded_io_06::Write,
//! {
//!     Uart::new(Port(hal), now)
//! }
//! ```
//!
//! [`Node::poll`]: super::blocking::Node::poll
//! [`Node::turn`]: super::blocking::Node::turn
//! [`Node::call`]: super::blocking::Node::call

use embedded_hal::delay::DelayNs;
use embedded_io::{Error as _, ErrorKind, Read, ReadReady, Write};

use super::blocking::Port;
use crate::time::{Duration, Instant};

/// Bytes handed to the HAL at once. Few, so that what comes meanwhile finds room in the receiver: at 115 200 baud they
/// take 0.7 ms.
pub(super) const PORTION: usize = 8;

/// Tells the time and waits.
pub trait Clock {
    /// The time.
    fn now(&mut self) -> Instant;

    /// Waits until `until`, for ever if that is `None`; may return sooner, and does when bytes come, if it can.
    fn idle(&mut self, until: Option<Instant>);
}

/// A byte stream with a clock.
#[derive(Debug)]
pub struct Uart<T, C> {
    io: T,
    clock: C,
    /// Whether reading has failed, and no byte has come since then.
    is_noisy: bool,
}

/// A clock closure, and one that sleeps.
#[derive(Debug)]
pub struct Closures<F, I> {
    now: F,
    idle: I,
}

/// A clock that counts how long it has waited.
///
/// It stands still while the program works, so times to live and leases last a little longer than they say.
#[derive(Debug)]
pub struct DelayClock<D> {
    delay: D,
    now: Instant,
}

impl<T, F: FnMut() -> Instant> Uart<T, Closures<F, fn(Option<Instant>)>> {
    /// With a closure that reads a clock: any origin, resolution of a millisecond or better.
    pub fn new(io: T, now: F) -> Self {
        Self::with_clock(io, Closures { now, idle: |_| core::hint::spin_loop() })
    }

    /// Adds a closure that sleeps until the given time, for ever if that is `None`, or until an interrupt.
    ///
    /// It must not miss an interrupt that comes just before it sleeps: a periodic tick, or WFE where interrupts set its
    /// event, sees to that.
    pub fn with_idle<I: FnMut(Option<Instant>)>(self, idle: I) -> Uart<T, Closures<F, I>> {
        Uart::with_clock(self.io, Closures { now: self.clock.now, idle })
    }
}

impl<T, D: DelayNs> Uart<T, DelayClock<D>> {
    /// With a delay in place of a clock. It is called with a millisecond at most, so the receiver has to hold what
    /// comes in a millisecond.
    pub fn with_delay(io: T, delay: D) -> Self {
        Self::with_clock(io, DelayClock { delay, now: Instant::from_micros(0) })
    }
}

impl<T, C> Uart<T, C> {
    /// With any other clock.
    pub const fn with_clock(io: T, clock: C) -> Self {
        Self { io, clock, is_noisy: false }
    }

    /// The stream.
    pub const fn io(&mut self) -> &mut T {
        &mut self.io
    }
}

impl<F: FnMut() -> Instant, I: FnMut(Option<Instant>)> Clock for Closures<F, I> {
    fn now(&mut self) -> Instant {
        (self.now)()
    }

    fn idle(&mut self, until: Option<Instant>) {
        (self.idle)(until);
    }
}

impl<D: DelayNs> Clock for DelayClock<D> {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn idle(&mut self, until: Option<Instant>) {
        let longest = Duration::from_millis(1);
        let wait = until.map_or(longest, |until| until.saturating_duration_since(self.now).min(longest));
        self.delay.delay_us(wait.as_micros() as u32);
        self.now = self.now + wait;
    }
}

impl<T: Read, C> Uart<T, C> {
    /// A framing error, say, is noise on the line: frames have a check for that. It is a failure of the port if another one
    /// follows, and no byte between them.
    fn noise(&mut self, error: &T::Error) -> Result<usize, ErrorKind> {
        if core::mem::replace(&mut self.is_noisy, true) { Err(error.kind()) } else { Ok(0) }
    }
}

impl<T: Read + ReadReady + Write, C: Clock> Port for Uart<T, C> {
    type Error = ErrorKind;

    const IS_DATAGRAM: bool = false;

    fn now(&mut self) -> Instant {
        self.clock.now()
    }

    fn sleep(&mut self, until: Instant) {
        while self.clock.now() < until {
            // A clock that is woken by bytes would not wait while there are any.
            if let Ok(true) = self.io.read_ready() {
                let _ = self.io.read(&mut [0; PORTION]);
            }
            self.clock.idle(Some(until));
        }
    }

    fn receive(&mut self, buf: &mut [u8], until: Option<Instant>) -> Result<usize, ErrorKind> {
        match self.io.read_ready() {
            Ok(true) => {}
            Ok(false) => {
                if until.is_none_or(|until| until > self.clock.now()) {
                    self.clock.idle(until);
                }
                return Ok(0);
            }
            Err(error) => return self.noise(&error),
        }
        match self.io.read(buf) {
            // The end of the stream.
            Ok(0) => Err(ErrorKind::NotConnected),
            Ok(len) => {
                self.is_noisy = false;
                Ok(len)
            }
            Err(error) => self.noise(&error),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let portion = bytes.get(..PORTION).unwrap_or(bytes);
        let taken = self.io.write(portion).map_err(|error| error.kind())?;
        if taken == bytes.len() {
            // The end of a frame, which some keep to themselves. If it is lost, so are its bytes; they were taken.
            let _ = self.io.flush();
        }
        Ok(taken)
    }
}
