//! What firmware and host have agreed on.

use bowline::typed::Schema;
use serde::{Deserialize, Serialize};

/// Coins that are to be paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Order {
    /// A number that the host uses once. The dispenser copies it into its ledger and does nothing else with it.
    pub number: u32,
    pub coins: u8,
}

/// What was paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Receipt {
    /// The order's.
    pub number: u32,
    /// Coins that are left.
    pub left: u32,
}

/// Why nothing was paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum Fault {
    /// There are fewer coins than that.
    Empty,
    /// The ledger cannot be written.
    NoLedger,
}

bowline::interface! {
    /// What the dispenser understands.
    pub enum Dispenser {
        /// Pays out coins.
        at_most_once PayOut(Order) -> Result<Receipt, Fault>;
        /// How many coins are left.
        idempotent Level(()) -> u32;
    }
}
