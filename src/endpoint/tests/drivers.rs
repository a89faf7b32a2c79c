//! What drivers count on, besides the messages.

use super::*;

#[test]
fn a_notify_whose_turn_has_come_is_given_with_the_endpoint_in_hand() {
    let (mut a, mut b) = connected();
    let [mut first, mut second] = [b"first", b"later"].map(|payload| {
        a.notify(at(1), 7, payload).unwrap();
        frames(&mut a, at(1)).remove(0)
    });
    let (mut told, mut buf) = (Vec::new(), [0; 64]);
    for frame in [&mut second, &mut first] {
        let mut take = |node: &mut Node, now, message: Message<'_>| {
            let Message::Notify { key, payload } = message else { panic!("{message:?}") };
            told.push(payload.to_vec());
            node.notify(now, key, payload).unwrap();
        };
        b.take_messages(at(1), frame, &mut take);
        b.take_notifies(at(1), &mut buf, take);
    }
    assert_eq!(told, [b"first", b"later"]);
    assert_eq!(b.notify(at(1), 7, b""), Err(SendError::Full), "both were sent back");
}

#[test]
fn a_node_that_is_opened_again_looks_for_its_peer_only_if_it_did_before() {
    for active in [true, false] {
        let config = Config { active, ..config(1) };
        let mut a = Node::new(at(0), config, Buffers::new());
        frames(&mut a, at(0));
        a.close(at(1));
        assert_eq!(frames(&mut a, at(2)).len(), 0);
        a.reopen(at(2));
        assert_eq!(frames(&mut a, at(2)).len(), usize::from(active));
        talk(&mut a, &mut node(2), at(3));
        assert!(a.is_connected(), "it listens again");
    }
}

#[test]
fn a_buffer_too_short_for_a_message_costs_no_message() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, &[1; 40]).unwrap();
    let sent = a.stats().frames_sent;
    for len in 0..48 {
        assert_eq!(a.poll_transmit(at(1), &mut vec![0; len]), None, "{len}");
    }
    assert_eq!(a.stats().frames_sent, sent);
    assert_eq!(talk(&mut a, &mut b, at(1)), [(call, vec![1; 40])]);
}
