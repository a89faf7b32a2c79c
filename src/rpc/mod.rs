//! Calls: the caller's slots and the server's reply cache (`PROTOCOL.md §10`).

mod calls;
mod replies;

pub use calls::{Call, CallSlot, Semantics};
pub(crate) use calls::{Calls, CallsState, Reply};
pub(crate) use replies::{Incoming, Replies, RepliesState};
pub use replies::{ReplySlot, RequestId};

/// The lowest set bit of a set of slots.
pub(crate) fn first(set: u32) -> Option<u8> {
    (set != 0).then(|| set.trailing_zeros() as u8)
}

/// The slots of a set, lowest first.
pub(crate) fn slots(mut set: u32) -> impl Iterator<Item = u8> {
    core::iter::from_fn(move || {
        let slot = first(set)?;
        set &= set.wrapping_sub(1);
        Some(slot)
    })
}

/// The set of slot `slot` alone.
pub(crate) fn bit(slot: u8) -> u32 {
    1_u32.checked_shl(u32::from(slot)).unwrap_or(0)
}
