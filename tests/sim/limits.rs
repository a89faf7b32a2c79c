//! What no endpoint should ever need: beyond these it is taken for a busy loop or a flood.

use super::context::At;
use super::world::Shared;

/// More frames than any endpoint may want to send at once.
pub const MANY_FRAMES: u32 = 10_000;
/// More wake-ups than any endpoint may want in a second.
pub const MANY_WAKES: u32 = 20_000;
/// More packets than any endpoint may want in a second: the busiest of a swarm begin a call each 100 µs, and cancel it.
pub const MANY_PACKETS: u32 = 30_000;

/// How often something happened in the current second.
pub struct Rate {
    most: u32,
    second: u64,
    count: u32,
}

impl Rate {
    pub const fn at_most(most: u32) -> Self {
        Self { most, second: 0, count: 0 }
    }

    pub fn count(&mut self, at: At, what: &str, shared: &mut Shared) {
        let second = at.time / 1_000_000;
        self.count = if self.second == second { self.count + 1 } else { 1 };
        self.second = second;
        if self.count > self.most {
            shared.ledger.broken(format!("{} {what} in one second", self.count));
        }
    }
}
