//! When something is said, and when it is said again.

use super::*;

#[test]
fn the_round_trip_is_not_known_before_it_was_measured() {
    let mut a = node(1);
    assert_eq!(a.round_trip(), None);
    let mut b = node(2);
    // A frame takes three milliseconds.
    let mut now = 0;
    while a.round_trip().is_none() {
        let there = frames(&mut a, at(now));
        deliver(&mut b, at(now + 3), &there);
        let back = frames(&mut b, at(now + 3));
        now += 6;
        deliver(&mut a, at(now), &back);
        assert!(now < 1_000);
    }
    assert_eq!(a.round_trip(), Some(Duration::from_millis(6)));
}

#[test]
fn a_ping_that_is_lost_is_sent_again_like_all_else() {
    let (mut a, mut b) = connected();
    let now = a.poll_timeout().unwrap();
    assert_eq!(now, at(2_500), "a quarter of the lease");
    assert_eq!(frames(&mut a, now).len(), 1);
    let again = a.poll_timeout().unwrap();
    assert!(again < now + Duration::from_millis(100), "{again:?}");
    let ping = frames(&mut a, again);
    assert_eq!((ping.len(), a.stats().probes), (1, 1));
    deliver(&mut b, again, &ping);
    let ack = frames(&mut b, again);
    deliver(&mut a, again, &ack);
    assert_eq!(a.poll_timeout(), Some(again + Duration::from_millis(2_500)), "it is quiet again");
}

#[test]
fn a_request_that_has_arrived_is_not_sent_again() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, Duration::from_secs(60), b"abc").unwrap();
    // The handler takes its time, and the ack goes alone.
    let request = frames(&mut a, at(1));
    assert_eq!(execute(&mut b, at(1), &request), 1);
    let ack = frames(&mut b, at(2));
    assert_eq!((ack.len(), b.stats().acks_sent), (1, 1));
    // The timer has made it wait for the port once more when the ack comes.
    a.handle_timeout(at(3));
    deliver(&mut a, at(3), &ack);
    assert_eq!(frames(&mut a, at(2_400)).len(), 0, "nothing is missing until it is time to ask for a sign of life");
    assert_eq!(a.stats().retransmits, 0);
}

/// Two nodes with a session and a measured round trip of six milliseconds, and the time.
fn measured() -> (Node, Node, u64) {
    let (mut a, mut b, mut now) = (node(1), node(2), 0);
    for _ in 0..8 {
        if a.is_connected() {
            a.call(at(now), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
        }
        while !a.is_idle() || !a.is_connected() {
            let there = frames(&mut a, at(now));
            deliver(&mut b, at(now + 3), &there);
            let back = frames(&mut b, at(now + 3));
            now += 6;
            deliver(&mut a, at(now), &back);
        }
    }
    for node in [&mut a, &mut b] {
        assert_eq!(node.round_trip(), Some(Duration::from_millis(6)));
        events(node);
    }
    (a, b, now)
}

#[test]
fn a_message_that_does_not_fit_beside_an_ack_goes_without() {
    let (mut a, mut b, now) = measured();
    let now = at(now);
    let next = |a: &mut Node| {
        let sent = frames(a, now);
        assert_eq!(sent.len(), 1);
        sent
    };
    a.notify(now, 7, b"lost").unwrap();
    next(&mut a);
    let first = a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    execute(&mut b, now, &next(&mut a));
    assert_eq!(next(&mut b)[0].len(), 1 + 1 + 1 + 1 + 4, "an ack that says what is missing");
    // Three more come, so the next ack has a longer map. It waits for company.
    a.notify(now, 7, b"early").unwrap();
    execute(&mut b, now, &next(&mut a));
    a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    execute(&mut b, now, &next(&mut a));
    a.cancel(now, first);
    execute(&mut b, now, &next(&mut a));
    let call = b.call(now, 7, Semantics::AtMostOnce, Duration::from_secs(60), &[1; 48]).unwrap();
    let request = next(&mut b);
    assert_eq!(request[0].len(), REQUEST_LEN + 48, "without an ack");
    deliver(&mut a, now, &request);
    let response = frames(&mut a, now);
    assert_eq!(deliver(&mut b, now, &response), [(call, vec![1; 48])]);
}

#[test]
fn a_ping_is_answered_at_once() {
    let (mut a, mut b, now) = measured();
    let now = at(now + 2_600);
    let ping = frames(&mut a, now);
    assert_eq!(ping.len(), 1);
    deliver(&mut b, now, &ping);
    assert_eq!(frames(&mut b, now).len(), 1);
}

#[test]
fn a_repeated_request_brings_back_what_has_been_under_way_for_a_round_trip() {
    for (later, is_repeated) in [(5_700, false), (5_900, true)] {
        let (mut a, mut b, now) = measured();
        let micros = |micros| at(now) + Duration::from_micros(micros);
        a.call(micros(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        let request = frames(&mut a, micros(0));
        deliver(&mut b, micros(0), &request);
        assert_eq!(frames(&mut b, micros(0)).len(), 1, "the response, which is lost");
        // Before b's own timer, which waits for 17/16 of a round trip: a's clock is ahead.
        let repetition = frames(&mut a, micros(7_000));
        deliver(&mut b, micros(later), &repetition);
        frames(&mut b, micros(later));
        assert_eq!(b.stats().retransmits, u32::from(is_repeated), "{later}");
    }
}

/// Flags, number, type, sequence, key and check: only PINGs have come, whose ack was sent.
const REQUEST_LEN: usize = 1 + 1 + 1 + 1 + 2 + 4;

#[test]
fn a_request_says_how_long_its_caller_waits_if_that_is_not_long() {
    let times = [(200, 200), (1_000, 992), (4_863, 4_608), (4_864, 4_864), (4_999, 4_864), (60_000, 4_864)];
    for (timeout, told) in times {
        let (mut a, mut b) = connected();
        a.call(at(1), 7, Semantics::AtMostOnce, Duration::from_millis(timeout), b"").unwrap();
        let mut frame = frames(&mut a, at(1)).remove(0);
        // What the peer knows from the HELLO takes no byte.
        let len = REQUEST_LEN + usize::from(timeout < 4_864);
        let mut messages = b.handle_frame(at(2), &mut frame);
        let Some(Message::Request { expires_at, .. }) = messages.next(&mut b) else { panic!() };
        assert_eq!((expires_at, frame.len()), (at(2 + told), len), "{timeout}");
    }
}

#[test]
fn a_hello_that_may_not_be_answered_yet_is_answered_when_it_may() {
    let config = Config { active: false, ..config(1) };
    let mut b = Node::new(at(0), config, Buffers::new());
    for stranger in 2..6 {
        let greeting = frames(&mut node(stranger), at(0));
        execute(&mut b, at(0), &greeting);
        let answers = frames(&mut b, at(0)).len();
        assert_eq!(answers, usize::from(stranger < 5), "three at once");
    }
    // 17/16 of half as much again as the round trip of 50 ms that is believed in.
    let next = at(0) + Duration::from_micros(79_687);
    assert_eq!(b.poll_timeout(), Some(next));
    assert_eq!(frames(&mut b, next).len(), 1);
    assert_eq!(b.poll_timeout(), None);
}

#[test]
fn a_node_that_could_publish_and_does_not_sends_no_acks_before_their_time() {
    let (mut a, mut b): (Full, Full) = (boot(1, Buffers::new()), boot(2, Buffers::new()));
    let mut buf = [0; 64];
    // A frame takes a tenth of a second, so an ack waits for company for a while.
    let mut now = 0;
    while b.round_trip() != Some(Duration::from_millis(200)) {
        while let Some(len) = a.poll_transmit(at(now), &mut buf) {
            let _ = b.handle_frame(at(now + 100), &mut buf[..len]).next(&mut b);
        }
        while let Some(len) = b.poll_transmit(at(now + 100), &mut buf) {
            let _ = a.handle_frame(at(now + 200), &mut buf[..len]).next(&mut a);
        }
        now += 200;
        assert!(now < 5_000, "{:?}", b.round_trip());
    }
    a.call(at(now), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    let len = a.poll_transmit(at(now), &mut buf).unwrap();
    assert!(b.handle_frame(at(now + 100), &mut buf[..len]).next(&mut b).is_some());
    assert_eq!(b.poll_transmit(at(now + 100), &mut buf), None);
}
