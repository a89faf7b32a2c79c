//! What no endpoint should ever need: beyond these it is taken for a busy loop or a flood.

use super::context::At;
use super::world::Shared;

/// More frames than any endpoint may want to send at once.
pub const MANY_FRAMES: u32 = 10_000;
/// More frames or wake-ups than any endpoint may want in a second.
const MANY_IN_A_SECOND: u32 = 20_000;

/// How often something happened in the current second.
#[derive(Default)]
pub struct Rate {
    second: u64,
    count: u32,
}

impl Rate {
    pub fn count(&mut self, at: At, what: &str, shared: &mut Shared) {
        let second = at.time / 1_000_000;
        self.count = if self.second == second { self.count + 1 } else { 1 };
        self.second = second;
        if self.count > MANY_IN_A_SECOND {
            shared.ledger.broken(format!("{} {what} in one second", self.count));
        }
    }
}
