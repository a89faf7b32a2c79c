//! Packet numbers after long silence, and old frames: holes H7 and H15 of the design.

use super::*;

fn publisher(entropy: u64) -> Full {
    boot(entropy, Buffers::new())
}

fn outgoing<S: Storage>(node: &mut Endpoint<S>, now: Instant) -> Vec<Vec<u8>> {
    let mut buf = [0; 64];
    core::iter::from_fn(|| node.poll_transmit(now, &mut buf).map(|len| buf[..len].to_vec())).collect()
}

/// Hands frames over; returns the payloads of all messages.
fn take<S: Storage>(node: &mut Endpoint<S>, now: Instant, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for frame in frames {
        let mut frame = frame.clone();
        let mut messages = node.handle_frame(now, &mut frame);
        while let Some(message) = messages.next(node) {
            match message {
                Message::Request { id, payload, .. } => {
                    payloads.push(payload.to_vec());
                    node.respond(now, id, payload).unwrap();
                }
                Message::Response { payload, .. } | Message::Publish { payload, .. } => payloads.push(payload.to_vec()),
                Message::Notify { .. } => {}
            }
        }
    }
    payloads
}

fn exchange<S: Storage, T: Storage>(a: &mut Endpoint<S>, b: &mut Endpoint<T>, now: Instant) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for _ in 0..20 {
        let from_a = outgoing(a, now);
        payloads.extend(take(b, now, &from_a));
        let from_b = outgoing(b, now);
        payloads.extend(take(a, now, &from_b));
    }
    payloads
}

/// Publishes `count` times into the void, each in a packet of its own.
fn shout(node: &mut Full, now: Instant, count: usize) -> usize {
    let mut sent = 0;
    for _ in 0..count {
        node.publish(now, 1, b"data").unwrap();
        sent += outgoing(node, now).len();
    }
    sent
}

#[test]
fn h7_telemetry_into_an_outage_of_any_length_is_understood_when_it_ends() {
    for count in [100, 200, 300, 1_000, 40_000, 70_000] {
        let (mut a, mut b) = (publisher(1), publisher(2));
        exchange(&mut a, &mut b, at(0));
        assert!(shout(&mut a, at(1), count) >= count);
        a.publish(at(2), 1, b"back").unwrap();
        assert!(exchange(&mut a, &mut b, at(2)).contains(&b"back".to_vec()), "{count}");
        b.call(at(3), 7, Semantics::AtMostOnce, TIMEOUT, b"call").unwrap();
        assert_eq!(exchange(&mut b, &mut a, at(3)), [b"call", b"call"], "{count}");
        assert_eq!((a.stats().sessions, b.stats().sessions), (1, 1));
    }
}

#[test]
fn h7_an_ack_from_before_an_outage_is_understood_during_it() {
    let (mut a, mut b) = (publisher(1), publisher(2));
    exchange(&mut a, &mut b, at(0));
    // B has number L of A, carried with one byte, and owes an ack; then A sends hundreds that B never hears.
    shout(&mut a, at(1), 100);
    a.notify(at(1), 1, b"last").unwrap();
    let last = outgoing(&mut a, at(1));
    take(&mut b, at(1), &last);
    assert!(shout(&mut a, at(1), 600) >= 600);
    // B calls, and its packet names L in one byte.
    b.call(at(2), 7, Semantics::AtMostOnce, TIMEOUT, b"call").unwrap();
    assert_eq!(exchange(&mut b, &mut a, at(2)), [b"call", b"call"]);
    assert_eq!(a.stats().dropped.sum(), 0);
}

#[test]
fn at_least_one_packet_in_65_asks_for_an_ack() {
    let (mut a, mut b) = (publisher(1), publisher(2));
    exchange(&mut a, &mut b, at(0));
    let before = b.stats().acks_sent;
    for milli in 1..=650 {
        a.publish(at(milli), 1, b"data").unwrap();
        exchange(&mut a, &mut b, at(milli));
    }
    assert_eq!(b.stats().acks_sent - before, 10);
}

#[test]
fn publishes_that_fill_every_packet_do_not_keep_pings_from_going_out() {
    let (mut a, mut b) = (publisher(1), publisher(2));
    exchange(&mut a, &mut b, at(0));
    for milli in 1..30_000 {
        a.publish(at(milli), 1, &[9; 48]).unwrap();
        let from_a = outgoing(&mut a, at(milli));
        take(&mut b, at(milli), &from_a);
        let from_b = outgoing(&mut b, at(milli));
        take(&mut a, at(milli), &from_b);
    }
    assert_eq!((a.stats().sessions, b.stats().sessions), (1, 1));
    assert!(a.is_connected() && b.is_connected());
}

#[test]
fn h15_a_reply_that_comes_when_its_sequence_has_wrapped_completes_nothing() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"first").unwrap();
    let request = frames(&mut a, at(1));
    deliver(&mut b, at(1), &request);
    let late = frames(&mut b, at(1));
    deliver(&mut a, at(1), &late);
    // 255 more calls in the slot, so that the next one has the sequence of the first.
    for round in 2..257 {
        a.call(at(round), 7, Semantics::AtMostOnce, TIMEOUT, b"x").unwrap();
        assert_eq!(talk(&mut a, &mut b, at(round)).len(), 1, "{round}");
    }
    a.call(at(300), 7, Semantics::AtMostOnce, TIMEOUT, b"second").unwrap();
    let again = frames(&mut a, at(300));
    assert_eq!(deliver(&mut a, at(300), &late), [], "the late reply completed another call");
    assert_eq!(deliver(&mut b, at(300), &request), []);
    assert_eq!(a.stats().dropped.bad_check + a.stats().dropped.too_old, 1);
    deliver(&mut b, at(300), &again);
    assert_eq!(talk(&mut a, &mut b, at(300)).len(), 1);
}

#[test]
fn h17_a_boot_without_entropy_after_a_quiet_time_enters_a_new_session() {
    let quiet = || Config::new(Incarnation::none(1, Duration::from_millis(50)));
    let mut b = node(2);
    let mut a = Node::new(at(0), quiet(), Buffers::new());
    talk(&mut a, &mut b, at(50));
    a.call(at(51), 7, Semantics::AtMostOnce, TIMEOUT, b"old").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(51)).len(), 1);
    let mut a = Node::new(at(100), quiet(), Buffers::new());
    let call = a.call(at(100), 7, Semantics::AtMostOnce, TIMEOUT, b"new").unwrap();
    for milli in 150..250 {
        if let Some(response) = talk(&mut a, &mut b, at(milli)).pop() {
            assert_eq!(response, (call, b"wen".to_vec()));
            assert_eq!(b.stats().sessions, 2);
            return;
        }
    }
    panic!("no answer");
}

#[test]
fn a_publish_that_comes_late_repeats_nothing() {
    let (mut a, mut b) = (publisher(1), publisher(2));
    exchange(&mut a, &mut b, at(0));
    let publishes: Vec<_> = (1..3)
        .flat_map(|milli| {
            a.publish(at(milli), 1, b"data").unwrap();
            outgoing(&mut a, at(milli))
        })
        .collect();
    b.call(at(3), 7, Semantics::AtMostOnce, TIMEOUT, b"call").unwrap();
    assert_eq!(outgoing(&mut b, at(3)).len(), 1);
    // Longer under way than the round trip of this link, which is none, and not yet long enough for a probe.
    let now = at(3) + Duration::from_micros(20);
    assert_eq!(take(&mut b, now, &publishes[1..]), [b"data"]);
    assert!(take(&mut b, now, &publishes[..1]).is_empty(), "it is older than one that was delivered");
    assert_eq!(outgoing(&mut b, now), Vec::<Vec<u8>>::new());
    assert_eq!((b.stats().duplicates, b.stats().retransmits), (1, 0));
}

/// With memory for many notifies.
type Many = Endpoint<Buffers<48, 2, 2, 200, 200, 0, 300>>;

/// Hands frames over; returns the keys of all notifies, in order.
fn notifies(node: &mut Many, now: Instant, frames: &[Vec<u8>]) -> Vec<u16> {
    let mut keys = Vec::new();
    for frame in frames {
        let mut frame = frame.clone();
        let mut messages = node.handle_frame(now, &mut frame);
        while let Some(message) = messages.next(node) {
            if let Message::Notify { key, .. } = message {
                keys.push(key);
            }
        }
        while let Some(notify) = node.poll_notify() {
            keys.push(notify.key);
        }
    }
    keys
}

#[test]
fn a_notify_that_comes_when_the_replay_window_has_gone_by_is_taken_once_and_acknowledged() {
    let (mut a, mut b): (Many, Many) = (boot(1, Buffers::new()), boot(2, Buffers::new()));
    exchange(&mut a, &mut b, at(0));
    for key in 0..200 {
        a.notify(at(1), key, &[0; 40]).unwrap();
    }
    let mut from_a = outgoing(&mut a, at(1));
    assert_eq!(from_a.len(), 200);
    // One that carries two bytes of its number: one byte would not tell it from a later one.
    let late = [from_a.remove(129)];
    let mut keys = Vec::new();
    for frame in from_a {
        keys.extend(notifies(&mut b, at(1), &[frame]));
        let acks = outgoing(&mut b, at(1));
        take(&mut a, at(1), &acks);
    }
    assert_eq!(keys, (0..129).collect::<Vec<_>>());
    assert_eq!(notifies(&mut b, at(1), &late), (129..200).collect::<Vec<_>>());
    let ack = outgoing(&mut b, at(1));
    assert_eq!(ack.len(), 1);
    take(&mut a, at(1), &ack);
    assert!(a.is_idle(), "all are acknowledged");
    assert!(notifies(&mut b, at(1), &late).is_empty() && outgoing(&mut b, at(1)).is_empty());
    assert_eq!((b.stats().dropped.too_old, b.stats().duplicates, a.stats().retransmits), (1, 0, 0));
    assert_eq!((a.stats().dropped.sum(), b.stats().dropped.sum()), (0, 1));
}

#[test]
fn a_call_that_comes_when_the_replay_window_has_gone_by_is_not_taken() {
    let (mut a, mut b): (Many, Many) = (boot(1, Buffers::new()), boot(2, Buffers::new()));
    exchange(&mut a, &mut b, at(0));
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, &[0; 40]).unwrap();
    let late = outgoing(&mut a, at(1));
    for key in 0..100 {
        a.notify(at(1), key, &[0; 40]).unwrap();
    }
    let from_a = outgoing(&mut a, at(1));
    assert_eq!(notifies(&mut b, at(1), &from_a).len(), 100);
    assert!(take(&mut b, at(1), &late).is_empty());
    assert_eq!(b.stats().dropped.too_old, 1);
}
