//! The memory of an endpoint: fixed when it is made, lent to one state machine that works on slices.

use crate::oneway::{HeldSlot, NotifySlot, PublishSlot};
use crate::recovery::Transmission;
use crate::rpc::{CallSlot, ReplySlot};
use crate::wire::{MAX_COUNT, MAX_SLOTS};

/// Memory for the slots and buffers of an [`Endpoint`](crate::Endpoint).
///
/// Implemented by [`Buffers`], whose sizes are fixed at compile time, and by [`Parts`], whose slices are lent.
pub trait Storage {
    /// Bytes of the largest payload, as far as known at compile time: messages of types that can be longer then fail
    /// the build.
    const PAYLOAD: usize = usize::MAX;
    /// At most so many calls of this node are in progress; the code for them is left out if it is 0, and so on below.
    const CALLS: usize = usize::MAX;
    /// At most so many requests of the peer are in progress.
    const REPLIES: usize = usize::MAX;
    /// At most so many notifies of this node wait or are unacknowledged.
    const NOTIFY_OUT: usize = usize::MAX;
    /// At most so many notifies of the peer are held back. If it is 0, what the peer notifies and publishes is not taken.
    const NOTIFY_IN: usize = usize::MAX;
    /// At most so many keys have a publish that waits.
    const PUBLISH: usize = usize::MAX;

    /// The slices. Their lengths must never change.
    fn parts(&mut self) -> Parts<'_>;

    /// The slices as far as they can be used. [`Buffers`] has checked that at compile time.
    #[doc(hidden)]
    #[inline]
    fn lent(&mut self) -> Parts<'_> {
        self.parts().fitted()
    }
}

/// The slices that an endpoint works on. Build them for [`Storage`] where sizes are known only at run time.
///
/// Each `…_payloads` slice holds `payload` bytes for each slot of its kind; a shorter one makes for fewer slots. At
/// most 32 calls and replies and 32 767 publishes are used. Of notifies, held ones and transmissions 4 194 304 are used with
/// the feature `std`, else 32 767, of which 30 720 notifies are under way at most.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Largest payload of a message, in bytes; at least 32.
    pub payload: usize,
    /// One for each call of this node in progress.
    pub calls: &'a mut [CallSlot],
    /// `calls.len() * payload` bytes.
    pub call_payloads: &'a mut [u8],
    /// One for each request of the peer in progress.
    pub replies: &'a mut [ReplySlot],
    /// `replies.len() * payload` bytes.
    pub reply_payloads: &'a mut [u8],
    /// One for each notify that waits or is unacknowledged.
    pub notifies: &'a mut [NotifySlot],
    /// `notifies.len() * payload` bytes.
    pub notify_payloads: &'a mut [u8],
    /// One for each notify that came too early.
    pub held: &'a mut [HeldSlot],
    /// `held.len() * payload` bytes.
    pub held_payloads: &'a mut [u8],
    /// One for each key whose latest publish waits.
    pub publishes: &'a mut [PublishSlot],
    /// `publishes.len() * payload` bytes.
    pub publish_payloads: &'a mut [u8],
    /// The log of transmissions: more than calls, replies and notifies together.
    pub sent: &'a mut [Transmission],
}

impl Parts<'_> {
    /// Leaves out the slots that there is no memory for, and those beyond what the protocol can name.
    #[inline(always)]
    pub(crate) fn fitted(self) -> Self {
        let payload = self.payload;
        Self {
            payload,
            calls: fit(self.calls, self.call_payloads, payload, MAX_SLOTS),
            replies: fit(self.replies, self.reply_payloads, payload, MAX_SLOTS),
            notifies: fit(self.notifies, self.notify_payloads, payload, MAX_COUNT as usize),
            held: fit(self.held, self.held_payloads, payload, MAX_COUNT as usize),
            publishes: fit(self.publishes, self.publish_payloads, payload, MAX_PUBLISHES),
            sent: {
                let count = self.sent.len().min(MAX_COUNT as usize);
                self.sent.get_mut(..count).unwrap_or_default()
            },
            ..self
        }
    }
}

/// Half of the sequences of publishes.
const MAX_PUBLISHES: usize = 32_767;

/// The slots of which each has its memory, at most `max`.
#[inline(always)]
fn fit<'a, T>(slots: &'a mut [T], payloads: &[u8], payload: usize, max: usize) -> &'a mut [T] {
    let mut count = slots.len().min(max);
    if count.saturating_mul(payload) > payloads.len() {
        count = payloads.len() / payload.max(1);
    }
    slots.get_mut(..count).unwrap_or_default()
}

impl Storage for Parts<'_> {
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            payload: self.payload,
            calls: self.calls,
            call_payloads: self.call_payloads,
            replies: self.replies,
            reply_payloads: self.reply_payloads,
            notifies: self.notifies,
            notify_payloads: self.notify_payloads,
            held: self.held,
            held_payloads: self.held_payloads,
            publishes: self.publishes,
            publish_payloads: self.publish_payloads,
            sent: self.sent,
        }
    }
}

/// Memory of a size fixed at compile time, in a `static`, on the stack or in a field.
///
/// Whatever has the size 0 is left out of the program: a node that only serves does not contain the code that calls.
///
/// | parameter | is the number of | |
/// |---|---|---|
/// | `PAYLOAD` | bytes of the largest payload | 32 to 65 000; [`frame_len`](crate::frame_len) tells the frame size |
/// | `CALLS` | calls of this node in progress | up to 32 |
/// | `REPLIES` | requests of the peer in progress | up to 32 |
/// | `NOTIFY_OUT` | notifies that wait or are unacknowledged | |
/// | `NOTIFY_IN` | notifies held back until the missing one before them comes | if 0, what the peer notifies and publishes is acknowledged and dropped |
/// | `PUBLISH` | keys whose latest publish waits for the line | |
/// | `SENT` | transmissions remembered until acknowledged | more than `CALLS + REPLIES + NOTIFY_OUT`; half as many more is good |
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub struct Buffers<
    const PAYLOAD: usize = 48,
    const CALLS: usize = 2,
    const REPLIES: usize = 2,
    const NOTIFY_OUT: usize = 2,
    const NOTIFY_IN: usize = 1,
    const PUBLISH: usize = 0,
    const SENT: usize = 10,
> {
    sent: [Transmission; SENT],
    calls: [CallSlot; CALLS],
    replies: [ReplySlot; REPLIES],
    notifies: [NotifySlot; NOTIFY_OUT],
    held: [HeldSlot; NOTIFY_IN],
    publishes: [PublishSlot; PUBLISH],
    call_payloads: [[u8; PAYLOAD]; CALLS],
    reply_payloads: [[u8; PAYLOAD]; REPLIES],
    notify_payloads: [[u8; PAYLOAD]; NOTIFY_OUT],
    held_payloads: [[u8; PAYLOAD]; NOTIFY_IN],
    publish_payloads: [[u8; PAYLOAD]; PUBLISH],
}

impl<
    const PAYLOAD: usize,
    const CALLS: usize,
    const REPLIES: usize,
    const NOTIFY_OUT: usize,
    const NOTIFY_IN: usize,
    const PUBLISH: usize,
    const SENT: usize,
> Buffers<PAYLOAD, CALLS, REPLIES, NOTIFY_OUT, NOTIFY_IN, PUBLISH, SENT>
{
    /// Empty buffers.
    #[inline(always)] // In its place at once, not on the stack first.
    pub const fn new() -> Self {
        const {
            assert!(PAYLOAD >= 32, "PAYLOAD must be at least 32 bytes: the handshake needs a frame of 48");
            assert!(PAYLOAD <= 65_000, "PAYLOAD must be at most 65 000 bytes: a frame has at most 65 535");
            assert!(CALLS <= MAX_SLOTS, "CALLS must be at most 32");
            assert!(REPLIES <= MAX_SLOTS, "REPLIES must be at most 32");
            assert!(NOTIFY_OUT <= MAX_COUNT as usize, "NOTIFY_OUT must be at most 32 767, with `std` 4 194 304");
            assert!(NOTIFY_IN <= MAX_COUNT as usize, "NOTIFY_IN must be at most 32 767, with `std` 4 194 304");
            assert!(PUBLISH <= MAX_PUBLISHES, "PUBLISH must be at most 32 767");
            assert!(SENT > CALLS + REPLIES + NOTIFY_OUT, "SENT must exceed CALLS + REPLIES + NOTIFY_OUT");
            assert!(SENT <= MAX_COUNT as usize, "SENT must be at most 32 767, with `std` 4 194 304");
        }
        Self {
            sent: [Transmission::NONE; SENT],
            calls: [CallSlot::FREE; CALLS],
            replies: [ReplySlot::IDLE; REPLIES],
            notifies: [NotifySlot::FREE; NOTIFY_OUT],
            held: [HeldSlot::FREE; NOTIFY_IN],
            publishes: [PublishSlot::FREE; PUBLISH],
            call_payloads: [[0; PAYLOAD]; CALLS],
            reply_payloads: [[0; PAYLOAD]; REPLIES],
            notify_payloads: [[0; PAYLOAD]; NOTIFY_OUT],
            held_payloads: [[0; PAYLOAD]; NOTIFY_IN],
            publish_payloads: [[0; PAYLOAD]; PUBLISH],
        }
    }
}

impl<
    const PAYLOAD: usize,
    const CALLS: usize,
    const REPLIES: usize,
    const NOTIFY_OUT: usize,
    const NOTIFY_IN: usize,
    const PUBLISH: usize,
    const SENT: usize,
> Default for Buffers<PAYLOAD, CALLS, REPLIES, NOTIFY_OUT, NOTIFY_IN, PUBLISH, SENT>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<
    const PAYLOAD: usize,
    const CALLS: usize,
    const REPLIES: usize,
    const NOTIFY_OUT: usize,
    const NOTIFY_IN: usize,
    const PUBLISH: usize,
    const SENT: usize,
> Storage for Buffers<PAYLOAD, CALLS, REPLIES, NOTIFY_OUT, NOTIFY_IN, PUBLISH, SENT>
{
    const PAYLOAD: usize = PAYLOAD;
    const CALLS: usize = CALLS;
    const REPLIES: usize = REPLIES;
    const NOTIFY_OUT: usize = NOTIFY_OUT;
    const NOTIFY_IN: usize = NOTIFY_IN;
    const PUBLISH: usize = PUBLISH;

    #[inline(always)]
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            payload: PAYLOAD,
            calls: &mut self.calls,
            call_payloads: self.call_payloads.as_flattened_mut(),
            replies: &mut self.replies,
            reply_payloads: self.reply_payloads.as_flattened_mut(),
            notifies: &mut self.notifies,
            notify_payloads: self.notify_payloads.as_flattened_mut(),
            held: &mut self.held,
            held_payloads: self.held_payloads.as_flattened_mut(),
            publishes: &mut self.publishes,
            publish_payloads: self.publish_payloads.as_flattened_mut(),
            sent: &mut self.sent,
        }
    }

    #[inline(always)]
    fn lent(&mut self) -> Parts<'_> {
        self.parts()
    }
}

/// The payload memory of slot `slot`.
#[cfg_attr(feature = "speed", inline)]
pub(crate) fn payload_of(payloads: &[u8], payload: usize, slot: usize) -> &[u8] {
    let start = slot.wrapping_mul(payload);
    payloads.get(start..start.wrapping_add(payload)).unwrap_or_default()
}

/// The first `limit` bytes of the payload memory of slot `slot`, to be written.
#[cfg_attr(feature = "speed", inline)]
pub(crate) fn room_of(payloads: &mut [u8], payload: usize, slot: usize, limit: usize) -> &mut [u8] {
    let start = slot.wrapping_mul(payload);
    payloads.get_mut(start..start.wrapping_add(payload.min(limit))).unwrap_or_default()
}

/// The first `len` bytes of slot `slot`.
#[cfg_attr(feature = "speed", inline)]
pub(crate) fn stored(payloads: &[u8], payload: usize, slot: usize, len: u16) -> &[u8] {
    payload_of(payloads, payload, slot).get(..usize::from(len)).unwrap_or_default()
}

/// Copies `bytes` into slot `slot`; returns their number, `None` if they do not fit.
pub(crate) fn store(payloads: &mut [u8], payload: usize, slot: usize, bytes: &[u8]) -> Option<u16> {
    let start = slot.wrapping_mul(payload);
    let len = u16::try_from(bytes.len()).ok()?;
    if bytes.len() > payload {
        return None;
    }
    payloads.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(len)
}

/// Moves the first `len` bytes of slot `from` to slot `to`. Rare, so byte by byte; `copy_within` could panic.
pub(crate) fn move_payload(payloads: &mut [u8], payload: usize, from: usize, to: usize, len: u16) {
    let (from, to) = (from.wrapping_mul(payload), to.wrapping_mul(payload));
    for offset in 0..usize::from(len) {
        let byte = payloads.get(from.saturating_add(offset)).copied();
        if let (Some(byte), Some(target)) = (byte, payloads.get_mut(to.saturating_add(offset))) {
            *target = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn slots_without_memory_or_name_are_left_out() {
        let mut calls = [CallSlot::FREE; 40];
        let mut replies = [ReplySlot::IDLE; 40];
        let (mut notifies, mut held) = (vec![NotifySlot::FREE; 3], vec![HeldSlot::FREE; 3]);
        let (mut publishes, mut sent) = (vec![PublishSlot::FREE; 40_000], vec![Transmission::NONE; 5_000_000]);
        let mut bytes =
            [vec![0; 40 * 48], vec![0; 2 * 48 + 47], vec![0; 2 * 48], vec![0; 3 * 48], vec![0; 40_000 * 48]];
        let [call_payloads, reply_payloads, notify_payloads, held_payloads, publish_payloads] = &mut bytes;
        let mut parts = Parts {
            payload: 48,
            calls: &mut calls,
            call_payloads,
            replies: &mut replies,
            reply_payloads,
            notifies: &mut notifies,
            notify_payloads,
            held: &mut held,
            held_payloads,
            publishes: &mut publishes,
            publish_payloads,
            sent: &mut sent,
        };
        let Parts { payload, calls, replies, notifies, held, publishes, sent, .. } = parts.lent();
        assert_eq!((payload, calls.len(), replies.len(), notifies.len()), (48, 32, 2, 2));
        assert_eq!((held.len(), publishes.len(), sent.len()), (3, 32_767, 4_194_304));
        assert_eq!(fit(&mut [(); 3], &[], 0, MAX_SLOTS).len(), 3, "payloads of no bytes need no memory");
    }

    #[test]
    fn a_payload_that_is_moved_stands_in_its_new_place() {
        let mut payloads = [0, 1, 2, 3, 4, 5, 6, 7, 8];
        move_payload(&mut payloads, 3, 2, 0, 2);
        assert_eq!(payloads, [6, 7, 2, 3, 4, 5, 6, 7, 8]);
    }
}
