//! Frames out of a stream of bytes (`PROTOCOL.md §2`).

use super::cobs::{IS_WORDWISE, decode_in_place, decode_whole, first_zero};
use crate::story::{Story, Unreadable, tell};

/// Takes a byte stream apart into frames, in whatever portions it arrives, and decodes their COBS.
///
/// `N` is the largest frame on the wire, COBS and delimiter counted:
/// [`frame_len`](crate::frame_len) of the largest payload.
///
/// What it yields is `packet ‖ check`, with nothing checked. Every delimiter starts afresh, so
/// frames are found behind any garbage; if listening began within a frame, its tail is yielded
/// like a frame. Frames without content are skipped.
///
/// ```
/// use bowline::wire::Deframer;
///
/// let mut deframer = Deframer::<64>::new();
/// let mut input: &[u8] = &[0x00, 0x03, 0x11, 0x22, 0x02, 0x33, 0x00, 0x03, 0x44];
/// assert_eq!(deframer.next_frame(&mut input), Some(&mut [0x11, 0x22, 0x00, 0x33][..]));
/// assert_eq!(deframer.next_frame(&mut input), None); // All is taken, a second frame has begun.
///
/// let mut input: &[u8] = &[0x55, 0x00];
/// assert_eq!(deframer.next_frame(&mut input), Some(&mut [0x44, 0x55][..]));
/// ```
#[derive(Clone, Debug)]
pub struct Deframer<const N: usize> {
    buffer: [u8; N],
    collector: Collector,
}

/// What a [`Deframer`] has thrown away. A counter that has reached its largest value stays there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeframerStats {
    /// Frames dropped because they were larger than the receiver takes.
    pub overlong: u32,
    /// Frames dropped because a COBS code pointed past their end.
    pub malformed: u32,
}

impl<const N: usize> Deframer<N> {
    /// A deframer at the beginning of a frame.
    pub const fn new() -> Self {
        let stats = DeframerStats { overlong: 0, malformed: 0 };
        Self { buffer: [0; N], collector: Collector { len: Some(0), stats } }
    }

    /// Takes bytes from the front of `input` until a frame is complete, which it returns, or until
    /// `input` is empty.
    ///
    /// The caller may change the frame: the next call uses its place again.
    pub fn next_frame(&mut self, input: &mut &[u8]) -> Option<&mut [u8]> {
        // The delimiter is not stored.
        let room = self.buffer.get_mut(..N.saturating_sub(1))?;
        let len = self.collector.next_frame(room, input)?;
        room.get_mut(1..=len)
    }

    /// All of its memory, which is free between the end of a frame and the next byte.
    #[cfg(any(feature = "blocking", feature = "embedded-io-async", feature = "tokio"))]
    pub(crate) const fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Forgets what has come of a frame.
    #[cfg(feature = "blocking")]
    pub(crate) const fn reset(&mut self) {
        self.collector.len = Some(0);
    }

    /// What has been thrown away so far.
    pub const fn stats(&self) -> DeframerStats {
        self.collector.stats
    }
}

impl<const N: usize> Default for Deframer<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A [`Deframer`] without its buffer: code that is there once, however many sizes are in use.
#[derive(Clone, Debug)]
struct Collector {
    /// How much of the frame has arrived; `None` in one that is too long.
    len: Option<usize>,
    stats: DeframerStats,
}

impl Collector {
    /// Collects bytes until `room[1..=len]` is a frame, and returns that `len`.
    fn next_frame(&mut self, room: &mut [u8], input: &mut &[u8]) -> Option<usize> {
        if !IS_WORDWISE {
            return self.next_frame_bytewise(room, input);
        }
        while self.len == Some(0)
            && let Some(end) = decode_whole(input, room)
        {
            *input = input.get(end.checked_add(1)?..)?;
            if end > 1 {
                return end.checked_sub(1);
            }
        }
        while let Some(end) = first_zero(input) {
            let (bytes, rest) = input.split_at_checked(end)?;
            *input = rest.get(1..)?;
            self.append(room, bytes);
            if let Some(len) = self.finish(room) {
                return Some(len);
            }
        }
        self.append(room, input);
        *input = &[];
        None
    }

    /// The same in one go, for small machines.
    fn next_frame_bytewise(&mut self, room: &mut [u8], input: &mut &[u8]) -> Option<usize> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            if *byte == 0 {
                if let Some(len) = self.finish(room) {
                    return Some(len);
                }
            } else if let Some(len) = self.len {
                self.len = match room.get_mut(len) {
                    Some(place) => {
                        *place = *byte;
                        Some(len.wrapping_add(1))
                    }
                    None => self.overlong(len.wrapping_add(1)),
                };
            }
        }
        None
    }

    /// The frame, of which `len` bytes have come, is too long.
    fn overlong(&mut self, len: usize) -> Option<usize> {
        self.stats.overlong = self.stats.overlong.saturating_add(1);
        tell(Story::FrameDropped { len, because: Unreadable::Overlong });
        None
    }

    fn append(&mut self, room: &mut [u8], bytes: &[u8]) {
        let Some(len) = self.len else { return };
        let free = room.get_mut(len..).unwrap_or_default();
        if bytes.len() > free.len() {
            self.len = self.overlong(len.saturating_add(bytes.len()));
            return;
        }
        if let Some(place) = free.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.len = len.checked_add(bytes.len());
    }

    /// Decodes what was collected and makes place for the next frame.
    fn finish(&mut self, room: &mut [u8]) -> Option<usize> {
        let encoded = room.get_mut(..self.len.replace(0)?)?;
        if encoded.is_empty() {
            return None;
        }
        let len = decode_in_place(encoded);
        if len.is_none() {
            self.stats.malformed = self.stats.malformed.saturating_add(1);
            tell(Story::FrameDropped { len: encoded.len(), because: Unreadable::BadStuffing });
        }
        len.filter(|len| *len > 0)
    }
}

#[cfg(test)]
mod tests;
