//! Faults of other protocols, each seen or read in their code: none of them here.

use super::*;

/// Runs both nodes in steps of a millisecond, nothing lost; A's responses.
fn run(a: &mut Node, b: &mut Node, millis: core::ops::Range<u64>) -> Vec<(Call, Vec<u8>)> {
    millis.flat_map(|milli| talk(a, b, at(milli))).collect()
}

/// MIN: a receiver that restarts without a RESET leaves its sender stuck for ever.
#[test]
fn a_peer_that_restarts_without_a_word_is_called_again_at_once() {
    let (mut a, _) = connected();
    let mut config = Config::new(Incarnation::random(99));
    config.active = false;
    let mut b = Node::new(at(10), config, Buffers::new());
    let first = a.call(at(10), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(run(&mut a, &mut b, 10..12), []);
    let restarted = Event::Disconnected { reason: SessionEnd::PeerRestarted, notifies_unconfirmed: 0 };
    let error = CallError { reason: Reason::PeerRestarted, executed: Executed::Maybe };
    assert_eq!(events(&mut a), [restarted, Event::Connected, Event::CallFailed { call: first, error }]);
    let second = a.call(at(12), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(run(&mut a, &mut b, 12..13), [(second, b"cba".to_vec())]);
}

/// MIN: one isolated frame drew 468 bytes of acks.
#[test]
fn one_frame_draws_one_ack() {
    let (mut a, mut b) = connected();
    a.notify(at(1), 7, b"x").unwrap();
    let frame = frames(&mut a, at(1));
    deliver(&mut b, at(1), &frame);
    assert_eq!(alone(&mut b, at(2_000)), 1);
}

/// secure-serial: after a restart of the sender a different packet with the old id is acknowledged and dropped.
#[test]
fn the_first_request_of_a_new_life_is_executed_though_its_id_was_used_before() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"old").unwrap();
    assert_eq!(run(&mut a, &mut b, 1..2).len(), 1);
    let mut a = Node::new(at(2), Config::new(Incarnation::random(98)), Buffers::new());
    let call = a.call(at(2), 7, Semantics::AtMostOnce, TIMEOUT, b"new").unwrap();
    assert_eq!(run(&mut a, &mut b, 2..10), [(call, b"wen".to_vec())]);
}

/// eRPC: after a timeout the next call takes the stale reply.
#[test]
fn a_reply_after_the_deadline_completes_no_later_call() {
    let (mut a, mut b) = connected();
    let short = Duration::from_millis(5);
    let first = a.call(at(1), 7, Semantics::AtMostOnce, short, b"one").unwrap();
    let request = frames(&mut a, at(1));
    deliver(&mut b, at(1), &request);
    let stale = frames(&mut b, at(1));
    a.handle_timeout(at(6));
    let error = CallError { reason: Reason::DeadlineExceeded, executed: Executed::Maybe };
    assert_eq!(events(&mut a), [Event::CallFailed { call: first, error }]);
    let second = a.call(at(6), 7, Semantics::AtMostOnce, TIMEOUT, b"two").unwrap();
    assert_eq!(deliver(&mut a, at(6), &stale), []);
    assert_eq!(run(&mut a, &mut b, 6..7), [(second, b"owt".to_vec())]);
    assert_eq!(a.free_calls(), 2);
}

/// eRPC: one CRC error ends the server loop.
#[test]
fn a_garbled_request_costs_one_retransmission() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let mut garbled = frames(&mut a, at(1));
    garbled[0][5] ^= 0x10;
    deliver(&mut b, at(1), &garbled);
    assert_eq!(run(&mut a, &mut b, 1..200), [(call, b"cba".to_vec())]);
    assert_eq!(a.stats().retransmits, 1);
}

/// pw_rpc, postcard-rpc, TinyFrame: ids begin anew after a crash, so a late answer of the earlier life completes a
/// new call.
#[test]
fn a_late_answer_of_an_earlier_life_completes_nothing() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"old").unwrap();
    let request = frames(&mut a, at(1));
    deliver(&mut b, at(1), &request);
    let late = frames(&mut b, at(1));
    let mut a = Node::new(at(2), Config::new(Incarnation::random(97)), Buffers::new());
    let call = a.call(at(2), 7, Semantics::AtMostOnce, TIMEOUT, b"new").unwrap();
    assert_eq!(deliver(&mut a, at(2), &late), []);
    let responses = run(&mut a, &mut b, 2..10);
    assert_eq!(deliver(&mut a, at(10), &late), []);
    assert_eq!(responses, [(call, b"wen".to_vec())]);
}

/// postcard-rpc, ergot: a missing peer or a lost answer leaves the future waiting for ever.
#[test]
fn every_call_ends_within_its_timeout_whatever_is_lost() {
    let (mut a, mut b) = connected();
    for (reaches_b, start) in [(false, 1), (true, 1_001)] {
        let call = a.call(at(start), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        let lost = frames(&mut a, at(start));
        if reaches_b {
            deliver(&mut b, at(start), &lost);
        }
        alone(&mut a, at(start + 1_000));
        let error = CallError { reason: Reason::DeadlineExceeded, executed: Executed::Maybe };
        assert_eq!(events(&mut a), [Event::CallFailed { call, error }]);
    }
}

/// ergot 0.12 halts on this frame: an assertion on received fields.
#[test]
fn the_frame_that_halts_ergot_is_dropped() {
    let frame = [
        0x01, 0x0f, 0x80, 0x84, 0x04, 0x07, 0x01, 0x10, 0xbc, 0xc6, 0xc6, 0x7a, 0xc5, 0x14, 0xe7, 0xf5, 0x08, 0x54,
        0x86, 0x88, 0x08, 0x00,
    ];
    let (mut a, _) = connected();
    assert_eq!(execute(&mut a, at(0), &[frame.to_vec()]), 0);
    assert_eq!(a.stats().dropped.sum(), 1);
}

/// smoltcp 0.14: TCP stalls for ever when the device refuses a frame during fast retransmit.
#[test]
fn a_port_that_refuses_a_retransmission_does_not_stall_the_call() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    frames(&mut a, at(1));
    let mut buf = [0; 64];
    for milli in 100..110 {
        assert!(a.poll_transmit(at(milli), &mut buf).is_some());
        a.handle_refused();
    }
    assert_eq!(run(&mut a, &mut b, 500..501), [(call, b"cba".to_vec())]);
}

/// A flash page erase stalls a peer for up to 85 ms: a fixed ack timeout of 10 ms is too short.
#[test]
fn a_peer_that_stalls_for_85_ms_costs_a_few_probes_and_no_call() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let mut stalled = Vec::new();
    for milli in 1..86 {
        stalled.extend(frames(&mut a, at(milli)));
    }
    assert!(deliver(&mut a, at(86), &[]).is_empty());
    deliver(&mut b, at(86), &stalled);
    assert_eq!(run(&mut a, &mut b, 86..200), [(call, b"cba".to_vec())]);
    assert!(events(&mut a).is_empty() && events(&mut b).is_empty());
}

/// stateright's reliable-link example loses an acknowledged message: the second delivered, then the first
/// acknowledged and dropped.
#[test]
fn notifies_that_overtake_each_other_are_delivered_in_order() {
    let (mut a, mut b) = connected();
    a.notify(at(1), 1, b"first").unwrap();
    let first = frames(&mut a, at(1));
    a.notify(at(1), 2, b"second").unwrap();
    let second = frames(&mut a, at(1));
    assert_eq!(execute(&mut b, at(1), &second), 0);
    assert_eq!(b.poll_notify(), None);
    let mut frame = first[0].clone();
    let mut messages = b.handle_frame(at(1), &mut frame);
    assert_eq!(messages.next(&mut b), Some(Message::Notify { key: 1, payload: b"first" }));
    assert_eq!(messages.next(&mut b), None);
    assert_eq!(b.poll_notify(), Some(Notify { key: 2, payload: b"second" }));
}

/// secure-serial, MIN: an idle link is not silent.
#[test]
fn an_idle_link_is_silent_but_for_the_keepalive() {
    let (mut a, mut b) = connected();
    let before = a.stats().frames_sent + b.stats().frames_sent;
    run(&mut a, &mut b, 1..60_000);
    let sent = a.stats().frames_sent + b.stats().frames_sent - before;
    assert!((40..=60).contains(&sent), "a ping and an ack each 2.5 s, not {sent}");
    assert!(events(&mut a).is_empty() && events(&mut b).is_empty());
}
