//! Interfaces with types: declared once, shared by both sides.
//!
//! An interface is the set of messages that one side of a link understands. The other side calls its procedures, sends
//! it notifications and publishes topics to it. A link has up to two of them, one for each direction.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use bowline::typed::Schema;
//!
//! #[derive(Serialize, Deserialize, Schema)]
//! pub struct Order { pub coins: u8 }
//!
//! #[derive(Serialize, Deserialize, Schema)]
//! pub enum Fault { Empty, Jammed { at: u8 } }
//!
//! bowline::interface! {
//!     /// What a dispenser understands.
//!     pub enum Dispenser<'a> {
//!         /// Pays out, and tells what is left.
//!         at_most_once PayOut(Order) -> Result<u32, Fault>;
//!         /// What is left of one kind. The request borrows its text from the frame.
//!         idempotent Level(&'a str) -> u32;
//!         /// Sets the time of day, in seconds.
//!         notify SetClock(u32);
//!         /// The brightness that the display is to have now.
//!         publish Brightness(u8);
//!     }
//! }
//! ```
//!
//! declares, besides the enum `Dispenser` with a variant for each message as it arrives, a type for each message that
//! names it: `PayOut`, `Level`, `SetClock`, `Brightness`. A client says `client.call::<PayOut>(&order)`, a server takes
//! the enum apart in a `match`, which the compiler checks for completeness:
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use bowline::typed::Schema;
//! # #[derive(Serialize, Deserialize, Schema)]
//! # pub struct Order { pub coins: u8 }
//! # #[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
//! # pub enum Fault { Empty, Jammed { at: u8 } }
//! # bowline::interface! {
//! #     pub enum Dispenser<'a> {
//! #         at_most_once PayOut(Order) -> Result<u32, Fault>;
//! #         idempotent Level(&'a str) -> u32;
//! #         notify SetClock(u32);
//! #         publish Brightness(u8);
//! #     }
//! # }
//! use bowline::typed::{Context, Interface as _};
//!
//! fn handle(context: &mut Context<'_>, message: Dispenser<'_>, level: &mut u32) {
//!     match message {
//!         Dispenser::PayOut(order, reply) => {
//!             let left = level.checked_sub(order.coins.into()).ok_or(Fault::Empty);
//!             *level = left.as_ref().copied().unwrap_or(*level);
//!             context.reply(reply, &left);
//!         }
//!         Dispenser::Level(_kind, reply) => context.reply(reply, level),
//!         Dispenser::SetClock(_seconds) => {}
//!         Dispenser::Brightness(_now, _missed) => {}
//!     }
//! }
//! ```
//!
//! - **Replies** may be given later and in any order: `reply` is a token that can be kept.
//! - **Errors of the application** are part of the response, as the `Result` here. They are not [`CallError`], which says
//!   that there is no response, and whether the request took effect.
//! - **Keys** have 16 bits and are made at compile time from kind, name and schema (`PROTOCOL.md §13`). Two messages of
//!   an interface with the same key fail the build. A peer that was built from another declaration does not have the
//!   key: the call fails with [`Reason::SchemaMismatch`], *executed: no*, and all others go on working.
//! - **Sizes**: a message whose type has a largest encoding that does not fit the payload of an endpoint's buffers fails
//!   the build, where it is sent and where it is served; one without (text, sequences) is checked when it is sent.
//! - On the wire the types cost nothing: a typed call has the bytes of a raw one.
//!
//! A picture of 64 bytes can be sent with buffers for payloads of 64 bytes:
//!
//! ```
//! use bowline::{Buffers, Config, Endpoint, Incarnation, Instant, typed::Context};
//!
//! bowline::interface! {
//!     pub enum Display {
//!         notify Show([[u8; 32]; 2]);
//!     }
//! }
//!
//! # fn main() {
//! let now = Instant::from_micros(0);
//! let mut endpoint = Endpoint::new(now, Config::new(Incarnation::random(1)), Buffers::<64>::new());
//! assert!(Context::new(&mut endpoint, now).notify::<Show>(&[[0; 32]; 2]).is_ok());
//! # }
//! ```
//!
//! and with smaller ones, the same does not compile:
//!
//! ```compile_fail,E0080
//! # use bowline::{Buffers, Config, Endpoint, Incarnation, Instant, typed::Context};
//! # bowline::interface! {
//! #     pub enum Display {
//! #         notify Show([[u8; 32]; 2]);
//! #     }
//! # }
//! # fn main() {
//! # let now = Instant::from_micros(0);
//! let mut endpoint = Endpoint::new(now, Config::new(Incarnation::random(1)), Buffers::<63>::new());
//! Context::new(&mut endpoint, now).notify::<Show>(&[[0; 32]; 2]);
//! # }
//! ```
//!
//! [`CallError`]: crate::CallError
//! [`Reason::SchemaMismatch`]: crate::Reason::SchemaMismatch

mod context;
mod key;
mod macros;

#[cfg(any(feature = "blocking", feature = "embedded-io-async", feature = "tokio"))]
pub(crate) use context::name_error;
pub use context::{Context, Pending, Reply};
pub use key::{Declaration, Kind, assert_unique, digest};
pub use postcard_schema::{self, Schema};

use serde::{Deserialize, Serialize};

use crate::event::Refusal;
use crate::machine::Message;
use crate::rpc::{RequestId, Semantics};

/// The messages that one side of a link understands. Implemented by [`interface!`](crate::interface).
pub trait Interface {
    /// A message that has arrived.
    type Incoming<'m>;

    /// All of its messages.
    const DECLARATIONS: &'static [Declaration];

    /// What a node that understands it shows in its HELLO.
    const DIGEST: u32 = digest(Self::DECLARATIONS);

    /// Decodes a message.
    ///
    /// # Errors
    ///
    /// Says what to do with one that cannot be decoded.
    fn decode(message: Message<'_>) -> Result<Self::Incoming<'_>, Undecodable>;
}

/// Fails the build when a message of one of the declarations can be longer than `payload` bytes.
pub const fn assert_fit(declarations: &[Declaration], payload: usize) {
    let mut rest = declarations;
    while let [first, others @ ..] = rest {
        first.assert_fits(payload);
        rest = others;
    }
}

crate::interface! {
    /// The interface of a node that only calls.
    pub enum Nothing {}
}

/// A call of an interface: its request, its response and what may be done with it after a crash.
pub trait Procedure {
    /// What is asked.
    type Request<'a>: Serialize + Deserialize<'a> + Schema;
    /// What is answered. Most are the same type for each lifetime; one that borrows is read by `call_with`.
    type Response<'a>: Serialize + Deserialize<'a> + Schema;

    /// What it was declared as.
    const DECLARATION: Declaration;
    /// Whether it may take effect twice.
    const SEMANTICS: Semantics;
    /// [`Interface::DIGEST`] of the interface that it belongs to.
    const INTERFACE: u32;
}

/// A one-way message that is sent reliably, in order.
pub trait Notification {
    /// What it says.
    type Payload<'a>: Serialize + Deserialize<'a> + Schema;

    /// What it was declared as.
    const DECLARATION: Declaration;
}

/// A value of which only the latest counts.
pub trait Topic {
    /// The value.
    type Payload<'a>: Serialize + Deserialize<'a> + Schema;

    /// What it was declared as.
    const DECLARATION: Declaration;
}

/// A message that an interface cannot make sense of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Undecodable {
    /// A request, which is to be refused: with [`Refusal::UnknownKey`] or [`Refusal::Malformed`].
    Request(RequestId, Refusal),
    /// A one-way message with this key. Nobody waits for an answer.
    OneWay(u16),
    /// The response to a call.
    Response,
}

impl Undecodable {
    /// For a message whose key the interface does not have.
    #[doc(hidden)]
    pub const fn unknown(message: &Message<'_>) -> Self {
        Self::because(message, Refusal::UnknownKey)
    }

    #[doc(hidden)]
    pub const fn because(message: &Message<'_>, refusal: Refusal) -> Self {
        match message {
            Message::Request { id, .. } => Self::Request(*id, refusal),
            Message::Notify { key, .. } | Message::Publish { key, .. } => Self::OneWay(*key),
            Message::Response { .. } => Self::Response,
        }
    }
}

/// Decodes a payload: all of it, or nothing.
#[doc(hidden)]
pub fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    postcard::take_from_bytes(payload).ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

#[cfg(test)]
mod tests;
