//! What the loop needs of a port.

#[cfg(doc)]
use super::Node;
use crate::time::Instant;

/// Where bytes come from and go to, with the clock that belongs to it.
pub trait Port {
    /// How it fails.
    type Error;

    /// Whether it keeps frames apart by itself. A byte stream does not, and gets them with COBS and delimiters.
    const IS_DATAGRAM: bool;

    /// The time.
    fn now(&mut self) -> Instant;

    /// Waits until `until`, or a little less long. What comes meanwhile may be lost.
    fn sleep(&mut self, until: Instant);

    /// Writes what has come to the front of `buf` and returns its length; one datagram at a time, which is never
    /// empty. Waits for it until `until` at most, for ever if that is `None`, and may return 0 sooner.
    ///
    /// # Errors
    ///
    /// When the port does not work. [`Node`] tries again later.
    fn receive(&mut self, buf: &mut [u8], until: Option<Instant>) -> Result<usize, Self::Error>;

    /// Takes bytes from the front of `bytes`, as many as there is room for, and returns their number; a datagram as a
    /// whole or not at all. Waits for a moment at most.
    ///
    /// # Errors
    ///
    /// When the port does not work and **no byte was taken**: the node takes it for sure that the frame was not sent, and
    /// says so to callers. Bytes that are lost after they were taken are no error of this call. [`Node`] tries again
    /// later.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Self::Error>;

    /// When the line is free for the next frame. A moment that has passed means now.
    fn is_free_at(&mut self) -> Instant {
        Instant::from_micros(0)
    }

    /// Makes a port that has failed work again, if it can.
    ///
    /// # Errors
    ///
    /// When it still does not work.
    fn reopen(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
