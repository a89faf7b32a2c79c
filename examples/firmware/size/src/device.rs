//! Four procedures as firmware has them.

use bowline::typed::Schema;
use serde::{Deserialize, Serialize};

/// How a motor is to turn.
#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
pub struct Motion {
    /// Which one.
    pub motor: u8,
    /// How far.
    pub steps: i32,
}

bowline::interface! {
    /// What the board understands.
    pub enum Device<'a> {
        /// Turns a motor, and tells where it stands then.
        at_most_once Turn(Motion) -> i32;
        /// Switches a lamp.
        idempotent Switch(bool) -> ();
        /// Milliseconds since the start.
        idempotent Uptime(()) -> u32;
        /// Shows a text, and tells how much of it has room.
        at_most_once Show(&'a str) -> u8;
    }
}
