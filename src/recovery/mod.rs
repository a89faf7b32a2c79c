//! What was sent, what has come, and how long a round trip takes (`PROTOCOL.md §9`).

mod received;
mod round_trip;
mod sent;
mod sizes;
mod stragglers;

pub(crate) use received::{Arrival, Asks, Received};
pub(crate) use round_trip::RoundTrip;
pub use sent::Transmission;
pub(crate) use sent::{MessageId, Outbox, Overtaken, Sample, Sent};
pub(crate) use sizes::Sizes;
pub(crate) use stragglers::Stragglers;
