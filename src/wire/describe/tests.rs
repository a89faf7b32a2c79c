use std::string::{String, ToString};

use super::*;
use crate::wire::{End, Offer, Writer};

/// The packet with a check, which is not looked at.
fn described(packet: &[u8]) -> String {
    describe(&[packet, &[0; CHECK_LEN]].concat()).to_string()
}

fn hello(echo: Option<u32>, session: Option<u32>) -> [u8; Hello::LEN] {
    let mut packet = [0; Hello::LEN];
    let from = End { incarnation: 0x0102_0304, challenge: 0xA };
    let offer = Offer { frame: 64, slots: 2, notify_window: 1, time_to_live: 0, schema_digest: 0 };
    Hello { from, echo, session, offer }.write(&mut Writer::new(&mut packet));
    packet
}

#[test]
fn packets_without_a_session_are_told_apart() {
    assert_eq!(described(&hello(None, None)), "HELLO 01020304.0000000a");
    assert_eq!(described(&hello(Some(0xB), Some(0xC))), "HELLO 01020304.0000000a echo 0000000b in 0000000c");
    let mut other = hello(None, None);
    other[1] = 9;
    assert_eq!(described(&other), "HELLO of another version");
    assert_eq!(described(&hello(None, None)[..20]), "HELLO, malformed");
    assert_eq!(described(&[KIND_VERSION, 9, 4, 3, 2, 1]), "VERSION 9 to 01020304");
    assert_eq!(described(&[KIND_VERSION, 9, 4]), "VERSION, cut short");
    assert_eq!(described(&[0x7F, 1, 2]), "unknown kind, 3 B");
}

#[test]
fn a_frame_that_holds_no_packet_is_described_by_its_length() {
    for len in 0..=CHECK_LEN {
        assert_eq!(describe(&[0x80; 9][..len]).to_string(), std::format!("{len} B, shorter than a check of 4 B"));
    }
}

#[test]
fn a_packet_is_described_up_to_what_is_malformed() {
    let (ping, cut) = ([0x80, 1, 0], [0x80, 1, 0, 0x20]);
    assert_eq!(described(&ping), "#1 | PING");
    assert_eq!(described(&cut), "#1 | PING | malformed");
    assert_eq!(described(&[0x81, 1]), "session packet, malformed", "fresh, and no ack");
}
