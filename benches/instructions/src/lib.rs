//! Two nodes that hand each other their datagrams, as in the bench of times.

#[allow(dead_code, reason = "times are of no use here")]
#[path = "../../cpu/exchange.rs"]
pub mod exchange;
#[path = "../../cpu/node.rs"]
pub mod node;

use exchange::{End, Load};
use node::{Node, Sizes};

/// Two nodes with memory of these sizes.
pub fn pair(sizes: Sizes) -> [Box<dyn End>; 2] {
    [1, 2].map(|seed| Box::new(Node::new(seed, sizes)) as _)
}

/// So many exchanges, after a tenth more of them.
pub fn exchanges(load: Load, count: usize) {
    exchange::once(load, count, pair(Sizes::of(load)));
}

/// So many messages of 32 bytes with `window` of them under way, after a tenth more of them.
pub fn messages(window: usize, count: usize) {
    exchange::once_with_window(window, count, pair(Sizes::window(window)));
}
