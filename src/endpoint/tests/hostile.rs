//! Bad input: dropped, counted under its reason, changes nothing, draws no more than one rate-limited answer.

use std::string::String;
use std::vec::Vec;

use super::*;
use crate::stats::Dropped;
use crate::wire::{AckField, End, Header, Hello, Offer, PacketNumber, VersionRefusal, Writer, plain_check};

const OFFER: Offer = Offer { frame: 64, slots: 2, notify_window: 1, time_to_live: 0, schema_digest: 0 };

fn sealed(packet: &[u8]) -> Vec<u8> {
    let mut frame = packet.to_vec();
    frame.extend(plain_check(packet).to_le_bytes());
    frame
}

fn hello(from: End, offer: Offer) -> Vec<u8> {
    let mut packet = [0; Hello::LEN];
    Hello { from, echo: None, session: None, offer }.write(&mut Writer::new(&mut packet));
    sealed(&packet)
}

/// A packet that `liar` sends in its session, with a right check and whatever content.
fn forged(liar: &Node, number: u64, ack: Option<u64>, content: &[u8]) -> Vec<u8> {
    let mut packet = [0; 64];
    let mut writer = Writer::new(&mut packet);
    let field = |largest: u64| AckField { largest: largest as u32, len: 4, bitmap: u64::MAX, reach: 64, fresh: true };
    Header { number: number as u32, number_len: 2, ack: ack.map(field) }.write(&mut writer);
    writer.bytes(content);
    let seed = liar.machine.handshake().session().unwrap().send;
    let check = seed.check(PacketNumber::new(number), ack.map(|ack| ack as u32), writer.written());
    writer.u32(check);
    writer.written().to_vec()
}

/// Everything that a node knows but the time and its counters.
fn state(node: &Node) -> String {
    let text = std::format!("{:?}", node);
    let (head, counters) = text.split_once("stats: Stats {").unwrap();
    let (_, tail) = counters.split_once("} }").unwrap();
    std::format!("{head}{tail}")
}

/// Hands the frame to a node that is thereby not changed; which counter moved.
fn dropped(node: &mut Node, frame: &[u8]) -> Dropped {
    let (before, dropped) = (state(node), node.stats().dropped);
    assert_eq!(execute(node, at(0), &[frame.to_vec()]), 0);
    assert_eq!(state(node), before);
    let now = node.stats().dropped;
    assert_eq!(now.sum(), dropped.sum() + 1, "not counted, or counted twice");
    now
}

#[test]
fn frames_too_short_for_anything_are_dropped() {
    let (mut a, _) = connected();
    for len in 0..5 {
        dropped(&mut a, &[0x80; 5][..len]);
    }
    assert_eq!(a.stats().dropped.too_short, 5);
}

#[test]
fn unknown_kinds_are_dropped() {
    let (mut a, _) = connected();
    for kind in [0x00, 0x03, 0x7F] {
        dropped(&mut a, &sealed(&[kind, 1, 2, 3]));
    }
    assert_eq!(a.stats().dropped.unknown_kind, 3);
}

#[test]
fn a_peer_that_knows_the_session_and_breaks_the_rules_changes_nothing() {
    let (mut a, b) = connected();
    let number = 40;
    for content in [
        &[0x03][..],                          // unknown operation
        &[0x1F],                              // unknown operation
        &[0x20 | 2, 1, 7, 0, 1],              // request in a slot that was not offered
        &[0x02, 2, 1],                        // cancel in such a slot
        &[0xA0 | 2, 1, 0],                    // response in a slot that does not exist here
        &[0xE0 | 31, 1, 0],                   // refusal likewise
        &[0x20, 1],                           // cut short
        &[0x40, 1, 7, 0, 200, 1, 2],          // length beyond the end
        &[0x40, 1, 7, 0, 0x80, 0x80],         // length without an end
        &[0x06],                              // continues no run
        &[0x20, 1, 7, 0, 1, 2, 3, 4, 5][..3], // request without a whole key
        &[0x40, 1, 7, 0, 1, 9, 0x03],         // a good request before a bad message
    ] {
        dropped(&mut a, &forged(&b, number, None, content));
    }
    assert_eq!(a.stats().dropped.malformed, 12);
    assert_eq!(execute(&mut a, at(0), &[forged(&b, number, None, &[0x20, 1, 7, 0, 9])]), 1);
}

#[test]
fn an_ack_of_a_packet_that_was_never_sent_is_dropped() {
    let (mut a, b) = connected();
    let sent = a.stats().frames_sent;
    for largest in [u64::from(sent), 200, 1 << 20] {
        execute(&mut a, at(0), &[forged(&b, 40, Some(largest), &[])]);
    }
    assert_eq!(a.stats().dropped.bad_check, 3);
}

#[test]
fn limits_that_no_node_may_offer_make_no_session() {
    let mut a = node(1);
    let from = End { incarnation: 5, challenge: 6 };
    for offer in [Offer { frame: 47, ..OFFER }, Offer { frame: 0, ..OFFER }, Offer { slots: 33, ..OFFER }] {
        dropped(&mut a, &hello(from, offer));
    }
    dropped(&mut a, &sealed(&hello(from, OFFER)[..20]));
    assert_eq!(a.stats().dropped.bad_hello, 4);
}

#[test]
fn a_peer_that_offers_less_gets_less_and_more_changes_nothing() {
    let (mut a, mut b) = (node(1), node(2));
    frames(&mut a, at(0));
    execute(&mut a, at(0), &[hello(End { incarnation: 5, challenge: 6 }, Offer { frame: 48, slots: 1, ..OFFER })]);
    let challenge = frames(&mut a, at(0));
    assert_eq!(challenge.len(), 1);
    talk(&mut a, &mut b, at(100));
    assert_eq!((a.max_payload(), a.free_calls()), (48, 2), "the session is with another node");
    let (mut a, _) = (node(1), ());
    let mine = frames(&mut a, at(0));
    let Ok(greeting) = Hello::read(&mine[0][..Hello::LEN]) else { panic!() };
    let mut packet = [0; Hello::LEN];
    let from = End { incarnation: 5, challenge: 6 };
    let offer = Offer { frame: 48, slots: 1, ..OFFER };
    let answer = Hello { from, echo: Some(greeting.from.challenge), session: None, offer };
    answer.write(&mut Writer::new(&mut packet));
    execute(&mut a, at(0), &[sealed(&packet)]);
    assert!(a.is_connected());
    assert_eq!((a.max_payload(), a.free_calls()), (32, 1));
    let too_large = SendError::TooLarge { limit: 32 };
    assert_eq!(a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, &[0; 33]), Err(too_large));
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, &[0; 32]).unwrap();
    assert_eq!(a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, &[]), Err(SendError::Full));
    assert!(frames(&mut a, at(0)).iter().all(|frame| frame.len() + 2 <= 48));
}

#[test]
fn another_version_draws_one_refusal_that_it_understands() {
    let mut a = node(1);
    frames(&mut a, at(0));
    let mut packet = hello(End { incarnation: 5, challenge: 0x0708_090A }, OFFER);
    packet.truncate(Hello::LEN);
    packet[1] = 2;
    for _ in 0..100 {
        execute(&mut a, at(0), &[sealed(&packet)]);
    }
    let answers = frames(&mut a, at(0));
    assert_eq!(answers.len(), 1);
    assert_eq!(VersionRefusal::read(&answers[0]), Some(VersionRefusal { version: 1, challenge: 0x0708_090A }));
    assert_eq!(a.stats().dropped.other_version, 100);
}

#[test]
fn a_refused_version_is_reported_only_if_it_answers_the_own_hello() {
    let mut a = node(1);
    let mine = frames(&mut a, at(0));
    let Ok(greeting) = Hello::read(&mine[0][..Hello::LEN]) else { panic!() };
    for (challenge, expected) in
        [(greeting.from.challenge ^ 1, None), (greeting.from.challenge, Some(Event::VersionRefused { version: 9 }))]
    {
        let mut packet = [0; 6];
        VersionRefusal { version: 9, challenge }.write(&mut Writer::new(&mut packet));
        execute(&mut a, at(0), &[sealed(&packet)]);
        assert_eq!(a.poll_event(), expected);
    }
}

#[test]
fn a_storm_of_hellos_draws_no_more_than_one_answer_a_round_trip() {
    for mut target in [node(1), connected().0] {
        let before = target.stats().hellos_sent;
        let interval = target.round_trip().map_or(80, |_| 10);
        let mut answers = 0;
        for number in 0..10_000 {
            // Ten HELLOs a millisecond, each from another life.
            let now = at(u64::from(number) / 10);
            execute(&mut target, now, &[hello(End { incarnation: number + 9, challenge: number }, OFFER)]);
            answers += frames(&mut target, now).iter().filter(|frame| frame[0] == 1).count();
        }
        assert!(answers <= 3 + 1_000 / interval + 10, "{answers}");
        assert_eq!(target.stats().hellos_sent - before, answers as u32);
    }
}

#[test]
fn a_storm_of_old_hellos_does_not_end_a_session() {
    let (mut a, mut b) = connected();
    for number in 0..1_000 {
        execute(&mut a, at(number), &[hello(End { incarnation: 9, challenge: number as u32 }, OFFER)]);
        talk(&mut a, &mut b, at(number));
    }
    let call = a.call(at(1_000), 7, Semantics::AtMostOnce, TIMEOUT, b"ab").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(1_000)), [(call, b"ba".to_vec())]);
    assert_eq!((a.stats().sessions, b.stats().sessions), (1, 1));
}

#[test]
fn a_stranger_without_a_session_gets_at_most_three_times_what_it_sent() {
    let mut config = Config::new(Incarnation::random(77));
    config.active = false;
    let mut a = Node::new(at(0), config, Buffers::new());
    let mut milli = 0;
    // In a storm, and so slowly that the limit in time does not hide the one in bytes.
    for (pause, len) in [(1, 5), (1, 8), (1, 20), (1, 40), (100, 5), (100, 8), (100, 20), (100, 40)] {
        let (mut received, mut answered) = (0, 0);
        for _ in 0..2_000 {
            milli += pause;
            let frame = vec![0x80 | milli as u8; len];
            received += frame.len();
            execute(&mut a, at(milli), &[frame]);
            answered += frames(&mut a, at(milli)).iter().map(Vec::len).sum::<usize>();
        }
        assert!(answered > 0 && answered <= 3 * received + 33, "{len}: {received} {answered}");
    }
}

#[test]
fn a_node_on_a_loopback_plug_does_not_talk_to_itself() {
    let mut a = node(1);
    a.call(at(0), 7, Semantics::AtMostOnce, Duration::from_secs(5), b"abc").unwrap();
    let mut sent = 0;
    for milli in 0..6_000 {
        let own = frames(&mut a, at(milli));
        sent += own.len();
        assert_eq!(execute(&mut a, at(milli), &own), 0);
    }
    assert!(!a.is_connected());
    assert!(sent < 30, "{sent}");
    assert_eq!(a.stats().dropped.own_echo as usize, sent);
    let error = CallError { reason: Reason::Unreachable, executed: Executed::No };
    assert!(events(&mut a).iter().any(|event| matches!(event, Event::CallFailed { error: e, .. } if *e == error)));
}

#[test]
fn the_own_echo_on_a_shared_line_is_dropped() {
    let (mut a, mut b) = connected();
    b.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let own = frames(&mut a, at(0));
    assert_eq!(execute(&mut a, at(0), &own), 0);
    assert_eq!(a.stats().dropped.bad_check, 1);
    deliver(&mut b, at(0), &own);
    assert_eq!(talk(&mut a, &mut b, at(0)).len(), 1);
}

#[test]
fn no_flipped_bit_reaches_a_handler() {
    let (mut a, mut b) = connected();
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abcd").unwrap();
    let request = frames(&mut a, at(0)).remove(0);
    for bit in 0..request.len() * 8 {
        let mut garbled = request.clone();
        garbled[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(execute(&mut b, at(0), &[garbled]), 0, "bit {bit}");
    }
    for len in 0..request.len() {
        assert_eq!(execute(&mut b, at(0), &[request[..len].to_vec()]), 0, "cut to {len}");
    }
    assert_eq!(execute(&mut b, at(0), &[request]), 1);
}

#[test]
fn no_flipped_bit_of_what_makes_a_session_is_believed() {
    let (mut a, mut b) = (node(1), node(2));
    let handshake = |node: &Node| std::format!("{:?}", node.machine.handshake());
    let mut from_a = true;
    while !(a.is_connected() && b.is_connected()) {
        let (sender, receiver) = if from_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let before = handshake(receiver);
        // The last one is a packet: it makes the session at the other side.
        let sent = frames(sender, at(0));
        let frame = sent.last().unwrap();
        for bit in 0..frame.len() * 8 {
            let mut garbled = frame.clone();
            garbled[bit / 8] ^= 1 << (bit % 8);
            execute(receiver, at(0), &[garbled]);
            assert_eq!(handshake(receiver), before, "bit {bit}");
        }
        execute(receiver, at(0), std::slice::from_ref(frame));
        from_a = !from_a;
    }
    assert_eq!((a.stats().sessions, b.stats().sessions), (1, 1));
}

#[test]
fn h6_a_frame_that_fails_on_a_session_draws_a_challenge_unless_a_good_one_follows() {
    let (mut a, _) = connected();
    execute(&mut a, at(1), &[vec![0x80; 20]]);
    assert!(frames(&mut a, at(1)).is_empty(), "a good one may follow");
    let later = a.poll_timeout().unwrap();
    let drawn = frames(&mut a, later);
    assert_eq!(drawn.iter().map(|frame| frame[0]).collect::<Vec<_>>(), [1], "a HELLO");
}

#[test]
fn garble_on_a_live_session_draws_no_hello() {
    let (mut a, mut b) = connected();
    let before = (a.stats().hellos_sent, b.stats().hellos_sent);
    for milli in 1..200 {
        let now = at(10 * milli);
        execute(&mut a, now, &[vec![0x80; 20]]);
        a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        assert_eq!(talk(&mut a, &mut b, now).len(), 1);
    }
    assert_eq!((a.stats().hellos_sent, b.stats().hellos_sent), before);
}

#[test]
fn messages_that_were_not_taken_are_not_acknowledged_and_come_again() {
    let (mut a, mut b) = connected();
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    for frame in frames(&mut a, at(0)) {
        let _ = b.handle_frame(at(0), &mut frame.clone());
    }
    assert!(frames(&mut b, at(10)).is_empty(), "nothing was taken, so nothing is acknowledged");
    let again = a.poll_timeout().unwrap();
    assert_eq!(execute(&mut b, again, &frames(&mut a, again)), 1);
}

#[test]
fn messages_of_a_session_that_ended_while_they_were_taken_are_not_delivered() {
    let (mut a, mut b) = connected();
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let mut frame = frames(&mut a, at(0)).remove(0);
    let mut messages = b.handle_frame(at(0), &mut frame);
    b.close(at(0));
    assert_eq!(messages.next(&mut b), None);
}

#[test]
fn a_closed_node_is_deaf_until_it_is_opened() {
    let (mut a, mut b) = connected();
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let request = frames(&mut a, at(0));
    b.close(at(0));
    assert_eq!(execute(&mut b, at(0), &request), 0);
    assert_eq!(b.stats().dropped.not_listening, 1);
    let farewell = frames(&mut b, at(0));
    assert_eq!(farewell.len(), 1);
    deliver(&mut a, at(0), &farewell);
    let closed = Event::Disconnected { reason: SessionEnd::ClosedByPeer, notifies_unconfirmed: 0 };
    assert_eq!(a.poll_event(), Some(closed));
    assert!(matches!(a.poll_event(), Some(Event::CallFailed { error, .. }) if error.executed == Executed::Maybe));
    assert_eq!(b.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b""), Err(SendError::Closed));
    assert_eq!(alone(&mut b, at(60_000)), 0);
    b.connect(at(1_000));
    talk(&mut a, &mut b, at(1_000));
    assert!(a.is_connected() && b.is_connected());
}

#[test]
fn a_close_that_the_port_refuses_is_written_again() {
    let (mut a, _) = connected();
    a.close(at(0));
    assert!(a.poll_transmit(at(0), &mut [0; 64]).is_some());
    a.handle_refused();
    assert_eq!(frames(&mut a, at(0)).len(), 1);
    assert_eq!(frames(&mut a, at(0)).len(), 0);
}

#[test]
fn a_frame_that_the_port_refuses_is_made_again_and_its_number_is_not_used_twice() {
    let (mut a, mut b) = connected();
    let call = a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let mut buf = [0; 64];
    let mut seen = Vec::new();
    for _ in 0..5 {
        let len = a.poll_transmit(at(0), &mut buf).unwrap();
        seen.push(buf[1]);
        assert_eq!(len, frames_len_of_request());
        a.handle_refused();
        a.handle_refused();
    }
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
    assert_eq!(talk(&mut a, &mut b, at(0)), [(call, b"cba".to_vec())]);
}

/// Flags, number, ack, type, sequence, key, time to live, payload, check.
fn frames_len_of_request() -> usize {
    1 + 1 + 1 + 1 + 2 + 1 + 3 + 4
}

#[test]
fn a_clock_that_runs_backwards_is_clamped() {
    let (mut a, mut b) = connected();
    talk(&mut a, &mut b, at(5_000));
    let call = a.call(at(100), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(200)), [(call, b"cba".to_vec())]);
    assert!(a.is_connected() && b.is_connected());
}

#[test]
fn a_node_without_entropy_is_deaf_and_mute_while_it_is_quiet() {
    let config = Config::new(Incarnation::none(1, Duration::from_millis(200)));
    let mut a = Node::new(at(0), config, Buffers::new());
    let mut b = node(2);
    let greeting = frames(&mut b, at(10));
    assert_eq!(execute(&mut a, at(10), &greeting), 0);
    assert!(frames(&mut a, at(199)).is_empty());
    assert_eq!(a.stats().dropped.not_listening, 1);
    assert_eq!(a.poll_timeout(), Some(at(200)));
    talk(&mut a, &mut b, at(200));
    assert!(a.is_connected() && b.is_connected());
}

/// A packet without messages says nothing but its ack, and is not acknowledged.
#[test]
fn a_bare_ack_draws_nothing() {
    let (mut a, b) = connected();
    execute(&mut a, at(0), &[forged(&b, 50, Some(0), &[])]);
    assert!(frames(&mut a, at(0)).is_empty());
    execute(&mut a, at(0), &[forged(&b, 51, Some(0), &[0])]);
    assert_eq!(frames(&mut a, at(0)).len(), 1);
    assert!(frames(&mut a, at(50)).is_empty());
}

#[test]
fn closing_and_opening_does_not_cut_the_quiet_time_short() {
    let config = Config::new(Incarnation::none(1, Duration::from_millis(200)));
    let mut a = Node::new(at(0), config, Buffers::new());
    a.close(at(1));
    a.connect(at(2));
    assert!(frames(&mut a, at(199)).is_empty());
    assert!(!frames(&mut a, at(200)).is_empty());
}

#[test]
fn a_farewell_refused_after_the_node_was_opened_again_does_not_close_it() {
    let (mut a, mut b) = connected();
    a.close(at(0));
    assert!(a.poll_transmit(at(0), &mut [0; 64]).is_some());
    a.connect(at(0));
    a.handle_refused();
    talk(&mut a, &mut b, at(100));
    assert!(a.is_connected());
}

#[test]
fn a_driver_that_asks_for_one_message_of_a_frame_has_taken_it_if_it_was_the_only_one() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    for frame in frames(&mut a, at(1)) {
        let mut frame = frame.clone();
        let message = b.handle_frame(at(1), &mut frame).next(&mut b);
        assert!(matches!(message, Some(Message::Request { .. })));
    }
    let ack = alone(&mut b, at(100));
    assert_eq!(ack, 1);
}
