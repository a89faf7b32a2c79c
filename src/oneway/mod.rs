//! One-way messages: notifies, reliable and in order, and publishes, of which only the latest counts (`PROTOCOL.md
//! §11`).

mod held;
mod notifies;
mod publishes;

pub use held::HeldSlot;
pub(crate) use held::{Held, HeldState, Taken};
pub use notifies::NotifySlot;
pub(crate) use notifies::{Notifies, NotifiesState};
pub use publishes::PublishSlot;
pub(crate) use publishes::{Publishes, PublishesState};

#[cfg(test)]
mod tests;
