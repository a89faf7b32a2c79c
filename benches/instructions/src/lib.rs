//! Two nodes that hand each other their datagrams, as in the bench of times.

#[allow(dead_code, reason = "times are of no use here")]
#[path = "../../cpu/exchange.rs"]
pub mod exchange;
#[path = "../../cpu/node.rs"]
pub mod node;

use exchange::Load;
use node::{Sizes, pair, pair_lent};

/// So many exchanges, after a tenth more of them.
pub fn exchanges(load: Load, count: usize) {
    exchange::once(load, count, pair(load));
}

/// The same with memory that is lent at run time.
pub fn exchanges_lent(load: Load, count: usize) {
    exchange::once(load, count, pair_lent(Sizes::of(load)));
}

/// So many messages of 32 bytes with `window` of them under way, after a tenth more of them.
pub fn messages(window: usize, count: usize) {
    exchange::once_with_window(window, count, pair_lent(Sizes::window(window)));
}
