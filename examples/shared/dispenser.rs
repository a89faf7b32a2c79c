//! What firmware and host have agreed on. In a project of your own it is a crate that both depend on.

use bowline::typed::Schema;
use serde::{Deserialize, Serialize};

/// Why nothing was paid out.
#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
pub enum Fault {
    /// There are fewer coins than that.
    Empty,
}

bowline::interface! {
    /// What a coin dispenser understands.
    pub enum Dispenser {
        /// Pays out coins, and tells how many are left.
        at_most_once PayOut(u8) -> Result<u32, Fault>;
        /// How many coins are left.
        idempotent Level(()) -> u32;
    }
}
