//! A knot between two programs that talk over a wire that cannot be trusted.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(test)]
#[macro_use]
extern crate std;

mod config;
mod endpoint;
mod event;
mod machine;
mod oneway;
mod recovery;
mod rpc;
mod session;
mod stats;
mod storage;
mod time;
pub mod wire;

pub use config::{Config, Incarnation};
pub use endpoint::{Endpoint, Notify};
pub use event::{CallError, Event, Executed, Reason, Refusal, RespondError, SendError, SessionEnd};
pub use machine::{Message, Messages};
pub use oneway::{HeldSlot, NotifySlot, PublishSlot};
pub use recovery::Transmission;
pub use rpc::{Call, CallSlot, ReplySlot, RequestId, Semantics};
pub use stats::{Dropped, Stats};
pub use storage::{Buffers, Parts, Storage};
pub use time::{Duration, Instant};
pub use wire::frame_len;
