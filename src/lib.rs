//! A knot between two programs that talk over a wire that cannot be trusted.
//!
//! **The promise.** A request takes effect at most once, its caller always learns the outcome in bounded time, and
//! an outcome that cannot be known is reported as exactly that ([`Executed`]: no, maybe, yes). It holds while
//! frames are lost, duplicated, reordered, delayed, cut and garbled, and while either side crashes at any moment
//! and comes back.
//!
//! An [`Endpoint`] is one end of a link between two nodes. It has no port, no clock and no allocator: bytes and the
//! time go in; bytes, messages, events and the next deadline come out. Both ends are equal, either may call the
//! other. Three kinds of messages travel:
//!
//! | | sent with | arrives |
//! |---|---|---|
//! | request and response | [`Endpoint::call`], [`Endpoint::respond`] | executed at most once, or again if declared [`Semantics::Idempotent`] |
//! | notify | [`Endpoint::notify`] | in order, exactly once while a session lasts |
//! | publish | [`Endpoint::publish`] | perhaps; the latest counts, gaps are counted |
//!
//! Most programs do not touch it, and use two layers above, each behind a feature:
//!
//! - `typed`: procedures, notifications and topics are declared once, with types of serde, by `interface!`;
//! - `drivers`: ports and clocks, blocking or with futures, on microcontrollers and operating systems.
//!
//! README.md has both sides in ten lines each. The features `defmt`, `log` and `tracing` tell what happens on a link;
//! `defmt` also formats the public types. `speed` trades flash for instructions.
//!
//! # The loop that drives it
//!
//! The same loop serves a UART in an interrupt-driven main loop, a socket, and this test, in which two nodes share
//! a byte stream that loses every third write.
//!
//! ```
//! use bowline::{Buffers, Config, Duration, Endpoint, Event, Incarnation, Instant, Message, Semantics, wire::Deframer};
//!
//! struct Node { endpoint: Endpoint<Buffers>, deframer: Deframer<64>, done: Option<u8> }
//!
//! impl Node {
//!     fn new(entropy: u64) -> Self {
//!         let config = Config::new(Incarnation::random(entropy));
//!         let endpoint = Endpoint::new(Instant::from_micros(0), config, Buffers::new());
//!         Self { endpoint, deframer: Deframer::new(), done: None }
//!     }
//!
//!     /// Takes what the port has received, and writes what is to be sent.
//!     fn turn(&mut self, now: Instant, mut received: &[u8], mut write: impl FnMut(&[u8])) {
//!         while let Some(frame) = self.deframer.next_frame(&mut received) {
//!             let mut messages = self.endpoint.handle_frame(now, frame);
//!             while let Some(message) = messages.next(&mut self.endpoint) {
//!                 match message {
//!                     Message::Request { id, payload, .. } => {
//!                         let doubled = payload[0] * 2; // The effect happens here, once.
//!                         self.endpoint.respond(now, id, &[doubled]).expect("one byte fits");
//!                     }
//!                     Message::Response { payload, .. } => self.done = Some(payload[0]),
//!                     Message::Notify { .. } | Message::Publish { .. } => {}
//!                 }
//!             }
//!             while let Some(_notify) = self.endpoint.poll_notify() {}
//!         }
//!         while let Some(event) = self.endpoint.poll_event() {
//!             if let Event::CallFailed { error, .. } = event { panic!("{error}") }
//!         }
//!         let mut buf = [0; 64];
//!         while let Some(len) = self.endpoint.poll_frame(now, &mut buf) { write(&buf[..len]) }
//!     }
//! }
//!
//! let (mut a, mut b) = (Node::new(0x1234_5678_9ABC_DEF0), Node::new(0x0FED_CBA9_8765_4321));
//! a.endpoint.call(Instant::from_micros(0), 7, Semantics::AtMostOnce, Duration::from_secs(1), &[21])?;
//! let (mut to_a, mut to_b, mut written) = (Vec::new(), Vec::new(), 0);
//! for milli in 0..1_000 {
//!     let now = Instant::from_micros(milli * 1_000);
//!     let mut lossy = |line: &mut Vec<u8>, bytes: &[u8]| { written += 1; if written % 3 != 0 { line.extend(bytes) } };
//!     a.turn(now, &std::mem::take(&mut to_a), |bytes| lossy(&mut to_b, bytes));
//!     b.turn(now, &std::mem::take(&mut to_b), |bytes| lossy(&mut to_a, bytes));
//! }
//! assert_eq!(a.done, Some(42));
//! # Ok::<(), bowline::SendError>(())
//! ```
//!
//! A driver that can sleep does so until [`Endpoint::poll_timeout`] or until bytes come. A datagram link has no
//! [`Deframer`](wire::Deframer) and uses [`Endpoint::poll_transmit`]. The wire is specified to the bit in
//! `PROTOCOL.md`, which comments cite.
//!
//! # What it does not promise
//!
//! - A call that fails with *executed: maybe* may still take effect after it was reported, for as long as its
//!   handler runs or its frames are under way.
//! - There is no encryption: whoever can write to the wire can speak for either side. Garbage and hostile peers are
//!   survived, though.
//! - A frame that was garbled passes its 32-bit check with a chance of 2⁻³².
//! - A node without any entropy needs a quiet line at boot: see [`Incarnation::none`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(any(test, feature = "std"))]
#[cfg_attr(test, macro_use)]
extern crate std;

mod config;
#[cfg(any(feature = "blocking", feature = "embedded-io-async", feature = "tokio"))]
pub mod drivers;
mod endpoint;
mod event;
mod host_flag;
mod machine;
mod oneway;
mod recovery;
mod rpc;
mod session;
mod stats;
mod storage;
mod story;
mod time;
#[cfg(feature = "typed")]
pub mod typed;
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

// The figure that small firmware is planned with: two calls and two notifies each way in frames of 64 bytes.
#[cfg(all(target_pointer_width = "32", not(feature = "std")))]
const _: () = assert!(size_of::<Endpoint<Buffers<48, 2, 2, 2, 1, 0, 10>>>() <= 1024);
