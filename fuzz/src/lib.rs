//! Fuzz targets as plain functions, each of which panics when the crate does not do as PROTOCOL.md and its own
//! documentation say. The programs in `fuzz_targets/` call them, and the tests of the crate replay the corpora.

pub mod decode_packet;
pub mod deframe;
pub mod endpoint_hostile_peer;
pub mod endpoint_pair;
pub mod everything;
pub mod hello;
pub mod honest;
pub mod model;
pub mod peer;
pub mod roundtrip;
pub mod schema;
#[path = "../../tests/sim/mod.rs"]
pub mod sim;
pub mod subject;
pub mod typed_dispatch;
pub mod wire;

/// A target: it is given any bytes at all.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("deframe", deframe::run),
    ("decode_packet", decode_packet::run),
    ("hello", hello::run),
    ("endpoint_hostile_peer", endpoint_hostile_peer::run),
    ("endpoint_pair", endpoint_pair::run),
    ("typed_dispatch", typed_dispatch::run),
    ("roundtrip", roundtrip::run),
];
