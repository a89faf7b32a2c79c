//! What a node is told once, when it is made.

use crate::session::mix;
use crate::time::Duration;

/// Where a node's protection against frames from its earlier lives comes from (`PROTOCOL.md §8.4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Incarnation {
    pub(crate) number: u32,
    pub(crate) challenge_seed: u32,
    pub(crate) quiet: Duration,
}

impl Incarnation {
    /// From 64 random bits, drawn anew at each boot. The best choice where there is a random number generator.
    pub const fn random(entropy: u64) -> Self {
        let number = (entropy >> 32) as u32;
        Self {
            // 0 is reserved for nodes without entropy.
            number: if number == 0 { 1 } else { number },
            challenge_seed: entropy as u32,
            quiet: Duration::ZERO,
        }
    }

    /// From a counter that was incremented and written to non-volatile memory before this call, at each boot. 0
    /// counts as 1.
    ///
    /// `node` is any number that the other end of the link does not have: a serial number, or 1 and 2.
    pub const fn boot_counter(node: u32, count: u32) -> Self {
        let number = if count == 0 { 1 } else { count };
        Self { number, challenge_seed: mix(mix(node).wrapping_add(number)), quiet: Duration::ZERO }
    }

    /// From nothing. The node stays deaf and mute for `quiet` after its boot. `node` is any number that the other
    /// end of the link does not have.
    ///
    /// Such a node cannot tell a frame of an earlier life from a new one. It is safe only if no frame of either
    /// direction survives `quiet`: on a direct UART, longer than both drivers' buffers (the host's serial buffer!)
    /// take to drain. Where that cannot be promised, do not use at-most-once calls, or find entropy: an ADC's
    /// noise, uninitialised SRAM, the cycle counter when the first byte arrives.
    pub const fn none(node: u32, quiet: Duration) -> Self {
        Self { number: 0, challenge_seed: mix(node), quiet }
    }
}

/// What a node is told once, when it is made. Start from [`Config::new`] and change what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// Who this node is in this life.
    pub incarnation: Incarnation,
    /// A peer that was silent for so long is lost; 35 minutes at most. A quarter of it is the keepalive. 10 s: a reset board is back
    /// long before, a person with an unplugged cable is not kept waiting.
    pub lease: Duration,
    /// The round trip believed in until the first one is measured. 50 ms: a slow UART's; a wrong value costs a few
    /// needless or late packets at the start, no more.
    pub initial_round_trip: Duration,
    /// A peer that stopped answering is probed so often, and an absent one greeted, once tighter intervals were in
    /// vain. 500 ms.
    pub heartbeat: Duration,
    /// Calls that wait at least so long do not carry their time to live (one byte). 5 s.
    pub default_time_to_live: Duration,
    /// How far a measured time may be off by the resolution of the clock and by scheduling: added to the probe
    /// interval where a sixteenth of the round trip is less. 0 for a microcontroller with a microsecond timer,
    /// about 1 ms on an operating system.
    pub granularity: Duration,
    /// Whether each packet of messages is followed by a second one with the same messages, if nothing else waits to be
    /// sent. That doubles the bytes, and at 10 % loss halves the longest waits: for a line that loses much and has
    /// room. Off.
    pub second_copy: bool,
    /// A digest of the application's message types, shown to the peer in HELLO; 0 for none.
    pub schema_digest: u32,
    /// Whether the node says HELLO by itself. One that does not waits to be spoken to, or for work of its own.
    pub active: bool,
}

impl Config {
    /// The defaults named at each field.
    pub const fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            lease: Duration::from_secs(10),
            initial_round_trip: Duration::from_millis(50),
            heartbeat: Duration::from_millis(500),
            default_time_to_live: Duration::from_secs(5),
            granularity: Duration::ZERO,
            second_copy: false,
            schema_digest: 0,
            active: true,
        }
    }
}

#[cfg(feature = "std")]
impl Config {
    /// For a program on an operating system: random incarnation, and a granularity of 1 ms.
    pub fn from_os() -> Self {
        Self { granularity: Duration::from_millis(1), ..Self::new(Incarnation::random(os_entropy())) }
    }
}

/// Random bits that nobody can guess: the standard library draws the keys of its hash maps from the system's entropy.
#[cfg(feature = "std")]
pub(crate) fn os_entropy() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8)
}
