//! RS-485 with two wires: both nodes hear the same line, and only one may drive it at a time.
//!
//! ```
//! use bowline::drivers::{blocking::Port, rs485::Rs485, uart::Uart};
//! use bowline::{Duration, Instant};
//! # use embedded_hal::digital::OutputPin;
//! # use embedded_io::{Read, ReadReady, Write};
//!
//! # fn port<T: Read + ReadReady + Write>(
//! #     uart: T, driver_enable: impl OutputPin, now: fn() -> Instant, random: u32,
//! # ) -> impl Port {
//! Rs485::new(Uart::new(uart, now), driver_enable, Duration::from_micros(500), random)
//! # }
//! ```
//!
//! # Who may speak
//!
//! There is no master: either node speaks when it has something to say and the line has been quiet for long enough.
//! How long is a matter of the *turnaround* time T, which has to be the same on both nodes:
//!
//! - who has heard a frame waits for T;
//! - who has sent one waits for 2 T, so the other goes first, and nobody can talk the other down;
//! - who has sent one and heard nothing since then may have collided with the other, who waits for the same timers. It
//!   throws a coin, and waits for another T for each time that it loses.
//!
//! Two that begin within T of each other collide. Both frames are lost then, like any other, and sent again.
//!
//! T must be longer than what passes from the moment at which one node enables its driver to the one at which the other
//! one's program can see the first byte: the time of a byte, and of the longest pause in which neither program looks at
//! its port. With 10 bits to a byte:
//!
//! | baud | time of a byte | T, if a program looks every 0.3 ms |
//! |---|---|---|
//! | 9 600 | 1.04 ms | 1.5 ms |
//! | 115 200 | 0.09 ms | 0.5 ms |
//! | 1 000 000 | 0.01 ms | 0.4 ms |
//!
//! A handler that takes longer makes its own node late, which costs time and no promise: a node that is late looks
//! whether anything has come before it speaks.
//!
//! # Driver enable and echo
//!
//! The pin is high from before the first byte until [`flush`](embedded_io::Write::flush) says that the last one has left,
//! and low if anything fails. The HAL must wait for the end of the stop bit there, not only for an empty FIFO. Sending is
//! a matter of the whole frame: it takes 5.6 ms for 64 bytes at 115 200 baud.
//!
//! Many transceivers let a node hear itself. What comes while it sends, and until T after, when the other may not speak
//! yet, is dropped; if it is not what was sent, that counts as one of [`Rs485::collisions`].
//!
//! A UART that works the pin by itself needs none of this but the waiting; give it a pin that does nothing.

use embedded_hal::digital::OutputPin;
use embedded_io::{Error as _, ErrorKind, Read, ReadReady, Write};

use super::blocking::Port;
use super::uart::{Clock, PORTION, Uart};
use crate::time::{Duration, Instant};

/// A half-duplex line.
#[derive(Debug)]
pub struct Rs485<T, P, C> {
    uart: Uart<T, C>,
    driver_enable: P,
    turnaround: Duration,
    /// When the line has been quiet for long enough.
    free_at: Instant,
    /// Until when only an echo can come.
    deaf_until: Instant,
    /// Whether nothing was heard since this node has sent.
    is_unanswered: bool,
    /// Until when the coin that was thrown last allows to begin.
    may_begin_until: Instant,
    /// State of the generator of random bits, never 0.
    random: u32,
    collisions: u32,
    /// What went wrong when a part of a frame had been sent.
    failure: Option<ErrorKind>,
}

impl<T, P, C> Rs485<T, P, C> {
    /// A line that `uart` reads and writes, and drives while `driver_enable` is high.
    ///
    /// `turnaround` is explained [above](self). `seed` must differ between the two nodes: random bits, or an address.
    pub const fn new(uart: Uart<T, C>, driver_enable: P, turnaround: Duration, seed: u32) -> Self {
        let start = Instant::from_micros(0);
        Self {
            uart,
            driver_enable,
            turnaround,
            free_at: start,
            deaf_until: start,
            is_unanswered: true,
            may_begin_until: start,
            // Knuth's multiplicative hash, so that neighbours differ in all bits.
            random: seed.wrapping_mul(0x9E37_79B1) | 1,
            collisions: 0,
            failure: None,
        }
    }

    /// How often the echo of a frame was not what was sent: both nodes have spoken at the same time, or something has
    /// disturbed the line. Always 0 where a node does not hear itself.
    pub const fn collisions(&self) -> u32 {
        self.collisions
    }

    /// The port below.
    pub const fn uart(&mut self) -> &mut Uart<T, C> {
        &mut self.uart
    }

    /// The other one speaks.
    fn heard(&mut self, now: Instant) {
        self.free_at = now + self.turnaround;
        self.is_unanswered = false;
    }

    /// Marsaglia's xorshift32.
    const fn throw_coin(&mut self) -> bool {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random = x;
        x >> 31 == 1
    }
}

impl<T, P, C> Rs485<T, P, C>
where
    T: Read + ReadReady + Write,
    P: OutputPin,
    C: Clock,
{
    /// Sends a frame, and says whether any of it was taken.
    fn write(&mut self, bytes: &[u8], is_begun: &mut bool) -> Result<(), ErrorKind> {
        let mut echo = Echo { sent: bytes, is_garbled: false };
        // Little at a time, so that the receiver has room for the echo.
        for portion in bytes.chunks(PORTION) {
            let mut rest = portion;
            while !rest.is_empty() {
                let taken = self.uart.io().write(rest).map_err(|error| error.kind())?;
                if taken == 0 {
                    return Err(ErrorKind::WriteZero);
                }
                *is_begun = true;
                rest = rest.get(taken..).unwrap_or_default();
            }
            self.uart.io().flush().map_err(|error| error.kind())?;
            self.hear(&mut echo);
        }
        self.collisions = self.collisions.saturating_add(echo.is_garbled.into());
        Ok(())
    }

    /// Takes what has come of the echo.
    fn hear(&mut self, echo: &mut Echo<'_>) {
        let mut buf = [0; PORTION];
        // It comes as fast as it is sent; a port that has more than that is not to hold the line.
        for _ in 0..PORTION {
            match self.uart.io().read_ready() {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => return echo.is_garbled = true,
            }
            match self.uart.io().read(&mut buf) {
                Ok(len) => echo.heard(buf.get(..len).unwrap_or_default()),
                // Two that speak at once make framing errors.
                Err(_) => echo.is_garbled = true,
            }
        }
    }
}

impl<T, P, C> Port for Rs485<T, P, C>
where
    T: Read + ReadReady + Write,
    P: OutputPin,
    C: Clock,
{
    type Error = ErrorKind;

    const IS_DATAGRAM: bool = false;

    fn now(&mut self) -> Instant {
        self.uart.now()
    }

    fn sleep(&mut self, until: Instant) {
        self.uart.sleep(until);
    }

    fn receive(&mut self, buf: &mut [u8], until: Option<Instant>) -> Result<usize, ErrorKind> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let len = self.uart.receive(buf, until)?;
        if len == 0 {
            return Ok(0);
        }
        let now = self.now();
        if now < self.deaf_until {
            return Ok(0);
        }
        self.heard(now);
        Ok(len)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let mut is_begun = false;
        let mut result = match self.driver_enable.set_high() {
            Ok(()) => self.write(bytes, &mut is_begun),
            Err(_) => Err(ErrorKind::Other),
        };
        // Whatever has happened: who holds the line silences both.
        if self.driver_enable.set_low().is_err() {
            result = Err(ErrorKind::Other);
        }
        let now = self.now();
        self.deaf_until = now + self.turnaround;
        self.free_at = self.deaf_until + self.turnaround;
        self.may_begin_until = self.free_at;
        self.is_unanswered = true;
        match result {
            Err(error) if !is_begun => return Err(error),
            // The frame may have arrived: this is told when the port is read.
            Err(error) => self.failure = Some(error),
            Ok(()) => {}
        }
        Ok(bytes.len())
    }

    fn is_free_at(&mut self) -> Instant {
        let now = self.now();
        // What has come and was not read yet. A port that fails says so when it is read.
        if now >= self.deaf_until && self.uart.io().read_ready().unwrap_or(false) {
            self.heard(now);
        }
        if self.free_at <= now && self.is_unanswered && self.may_begin_until <= now {
            let pause = now + self.turnaround;
            if self.throw_coin() {
                self.may_begin_until = pause;
            } else {
                self.free_at = pause;
            }
        }
        self.free_at
    }
}

/// What a node hears of itself.
struct Echo<'a> {
    /// What it has not heard yet.
    sent: &'a [u8],
    is_garbled: bool,
}

impl Echo<'_> {
    fn heard(&mut self, bytes: &[u8]) {
        match self.sent.strip_prefix(bytes) {
            Some(rest) => self.sent = rest,
            None => self.is_garbled = true,
        }
    }
}
