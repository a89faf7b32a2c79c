//! Two nodes on a simulated link in virtual time. `benches/peers` uses it too, and each of the two only a part.
#![allow(dead_code)]

pub mod cell;
pub mod direction;
pub mod load;
pub mod measure;
pub mod node;
pub mod run;
pub mod work;

/// Virtual time since the start of a run, in nanoseconds.
pub type Nanos = u64;

pub const MICRO: Nanos = 1_000;
pub const MILLI: Nanos = 1_000_000;
pub const SECOND: Nanos = 1_000_000_000;
