//! What each method and event is for, once.

use super::*;
use crate::wire::{Deframer, MIN_FRAME};
use crate::{Refusal, frame_len};

/// Lets both talk until neither has anything to say; what the second was notified of and told by publishes.
fn tell<A: Storage, B: Storage>(a: &mut Endpoint<A>, b: &mut Endpoint<B>, now: Instant) -> Vec<Vec<u8>> {
    fn pass<A: Storage, B: Storage>(
        from: &mut Endpoint<A>,
        to: &mut Endpoint<B>,
        now: Instant,
        told: &mut Vec<Vec<u8>>,
    ) -> bool {
        let mut buf = [0; 400];
        let Some(len) = from.poll_transmit(now, &mut buf) else { return false };
        let mut messages = to.handle_frame(now, &mut buf[..len]);
        while let Some(message) = messages.next(to) {
            if let Message::Notify { payload, .. } | Message::Publish { payload, .. } = message {
                told.push(payload.to_vec());
            }
        }
        while let Some(notify) = to.poll_notify() {
            told.push(notify.payload.to_vec());
        }
        true
    }
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    while pass(a, b, now, &mut to_b) | pass(b, a, now, &mut to_a) {}
    to_b
}

#[test]
fn a_frame_for_a_stream_is_the_one_for_datagrams_with_cobs_around_it() {
    fn compare<S: Storage, const N: usize>(storage: impl Fn() -> S, payload: &[u8]) {
        let [mut stream, mut datagram, mut peer] = [1, 1, 2].map(|entropy| boot(entropy, storage()));
        let mut buf = vec![0; frame_len(payload.len())];
        for milli in 0..2 {
            if milli == 1 {
                for node in [&mut stream, &mut datagram] {
                    node.call(at(milli), 7, Semantics::AtMostOnce, TIMEOUT, payload).unwrap();
                }
            }
            while let Some(len) = stream.poll_frame(at(milli), &mut buf) {
                let mut deframer = Deframer::<N>::new();
                let mut bytes = &buf[..len];
                let frame = deframer.next_frame(&mut bytes).expect("a frame");
                let mut plain = vec![0; frame_len(payload.len())];
                let len = datagram.poll_transmit(at(milli), &mut plain).unwrap();
                assert_eq!(frame, &plain[..len]);
                assert_eq!(bytes, [], "the delimiter ends it");
                let _ = peer.handle_frame(at(milli), &mut plain[..len]);
                let mut answer = vec![0; frame_len(payload.len())];
                while let Some(len) = peer.poll_transmit(at(milli), &mut answer) {
                    for node in [&mut stream, &mut datagram] {
                        let _ = node.handle_frame(at(milli), &mut answer[..len].to_vec());
                    }
                }
            }
            assert_eq!(datagram.poll_transmit(at(milli), &mut buf), None);
        }
        assert!(stream.stats().frames_sent >= 3);
    }
    compare::<_, 64>(Buffers::<48>::new, &[1; 48]);
    // So long that a run of bytes without a zero is cut.
    compare::<_, 400>(Buffers::<300, 2, 2, 0, 0, 0, 6>::new, &[1; 300]);
}

#[test]
fn the_longest_frame_allows_for_cobs_and_is_held_between_limits() {
    assert_eq!([0, 1, 32].map(frame_len), [MIN_FRAME; 3]);
    assert_eq!(frame_len(33), MIN_FRAME + 1);
    assert_eq!(frame_len(237), 253);
    assert_eq!([240, 241].map(frame_len), [256, 258], "one more byte for each 254");
    assert_eq!([65_255, 65_300, usize::MAX].map(frame_len), [65_527, 65_535, 65_535]);
}

#[test]
fn a_refusal_tells_the_caller_that_nothing_happened() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let mut frame = frames(&mut a, at(1)).remove(0);
    let Some(Message::Request { id, .. }) = b.handle_frame(at(1), &mut frame).next(&mut b) else { panic!() };
    assert!(!a.is_idle() && !b.is_idle(), "a call is under way");
    b.refuse(at(1), id, Refusal::Busy).unwrap();
    assert_eq!(b.refuse(at(1), id, Refusal::Busy), Err(RespondError::Stale));
    talk(&mut a, &mut b, at(1));
    let error = CallError { reason: Reason::Refused(Refusal::Busy), executed: Executed::No };
    assert_eq!(events(&mut a), [Event::CallFailed { call, error }]);
}

#[test]
fn a_server_is_told_of_a_call_that_nobody_waits_for() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let mut frame = frames(&mut a, at(1)).remove(0);
    let Some(Message::Request { id, .. }) = b.handle_frame(at(1), &mut frame).next(&mut b) else { panic!() };
    a.cancel(at(2), call);
    talk(&mut a, &mut b, at(2));
    assert_eq!(events(&mut b), [Event::CancelRequested { request: id }]);
    b.refuse(at(3), id, Refusal::Cancelled).unwrap();
    talk(&mut a, &mut b, at(3));
    let error = CallError { reason: Reason::Cancelled, executed: Executed::No };
    assert_eq!(events(&mut a), [Event::CallFailed { call, error }]);
}

#[test]
fn an_orphan_holds_its_slot_until_it_is_abandoned() {
    type Single = Endpoint<Buffers<48, 1, 1, 0, 0, 0, 4>>;
    let [mut a, mut b, mut again]: [Single; 3] = [1, 2, 3].map(|entropy| boot(entropy, Buffers::new()));
    tell(&mut a, &mut b, at(0));
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"hangs").unwrap();
    let mut buf = [0; 64];
    let len = a.poll_transmit(at(1), &mut buf).unwrap();
    let Some(Message::Request { id, .. }) = b.handle_frame(at(1), &mut buf[..len]).next(&mut b) else { panic!() };
    // Its caller crashes and comes back.
    tell(&mut again, &mut b, at(2));
    let disconnected = Event::Disconnected { reason: SessionEnd::PeerRestarted, notifies_unconfirmed: 0 };
    let told: Vec<_> = core::iter::from_fn(|| b.poll_event()).collect();
    assert_eq!(told, [Event::Connected, disconnected, Event::Connected, Event::Orphaned { request: id }]);
    again.call(at(3), 7, Semantics::AtMostOnce, TIMEOUT, b"waits").unwrap();
    let mut request = |now| {
        let len = again.poll_transmit(now, &mut buf).unwrap();
        matches!(b.handle_frame(now, &mut buf[..len]).next(&mut b), Some(Message::Request { .. })) || {
            b.abandon(id);
            false
        }
    };
    assert_eq!([3, 103].map(|milli| request(at(milli))), [false, true]);
}

#[test]
#[cfg(any(feature = "blocking", feature = "embedded-io-async"))]
fn the_peer_is_shown_the_digest() {
    let (mut a, mut b) = (node(1), node(2));
    assert_eq!(a.peer_schema_digest(), None);
    b.set_schema_digest(0x0123_4567);
    talk(&mut a, &mut b, at(0));
    assert_eq!((a.peer_schema_digest(), b.peer_schema_digest()), (Some(0x0123_4567), Some(0)));
}

#[test]
fn whatever_waits_keeps_a_node_from_being_idle() {
    let pair = || -> (Full, Full) {
        let (mut a, mut b) = (boot(1, Buffers::new()), boot(2, Buffers::new()));
        tell(&mut a, &mut b, at(0));
        assert!(a.is_idle() && b.is_idle());
        (a, b)
    };
    let (mut a, mut b) = pair();
    a.notify(at(1), 7, b"n").unwrap();
    assert!(!a.is_idle());
    assert_eq!(tell(&mut a, &mut b, at(1)), [b"n"]);
    // A second packet asks for the ack that the first did not get at once.
    b.handle_timeout(at(1_000));
    tell(&mut a, &mut b, at(1_000));
    assert!(a.is_idle() && b.is_idle());
    a.publish(at(1_001), 7, b"p").unwrap();
    assert!(!a.is_idle());
    assert_eq!(tell(&mut a, &mut b, at(1_001)), [b"p"]);
    assert!(a.is_idle());
    a.call(at(1_002), 7, Semantics::AtMostOnce, TIMEOUT, b"c").unwrap();
    assert!(!a.is_idle());
    tell(&mut a, &mut b, at(1_002));
    assert!(!b.is_idle(), "the handler runs");
}

#[test]
fn a_node_that_waits_to_be_spoken_to_speaks_when_it_has_something_to_say() {
    let passive = || -> Full {
        let config = Config { active: false, ..config(1) };
        Endpoint::new(at(0), config, Buffers::new())
    };
    let greets = |node: &mut Full| {
        let mut buf = [0; 64];
        node.handle_timeout(at(1));
        node.poll_transmit(at(1), &mut buf).is_some()
    };
    assert!(!greets(&mut passive()));
    let mut calls = passive();
    calls.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    assert!(greets(&mut calls));
    let mut notifies = passive();
    notifies.notify(at(0), 7, b"").unwrap();
    assert!(greets(&mut notifies));
    // It is worth no session of its own.
    let mut publishes = passive();
    publishes.publish(at(0), 7, b"").unwrap();
    assert!(!greets(&mut publishes));
}

#[test]
fn what_is_too_long_for_the_peer_is_given_up_when_it_is_met() {
    let mut long = boot(1, Buffers::<96, 2, 2, 3, 1, 2, 10>::new());
    let mut short = boot(2, Buffers::<32, 2, 2, 2, 4, 1, 10>::new());
    for (key, payload) in [(1, &b"first"[..]), (2, &[1; 90]), (3, b"third")] {
        long.notify(at(0), key, payload).unwrap();
    }
    long.publish(at(0), 1, &[1; 90]).unwrap();
    long.publish(at(0), 2, b"short").unwrap();
    let call = long.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, &[1; 90]).unwrap();
    assert_eq!(tell(&mut long, &mut short, at(0)), [&b"first"[..], b"third", b"short"]);
    assert_eq!(long.poll_event(), Some(Event::Connected));
    let error = CallError { reason: Reason::TooLarge { limit: 32 }, executed: Executed::No };
    assert_eq!(long.poll_event(), Some(Event::CallFailed { call, error }));
    long.close(at(1));
    // Whether it was acknowledged is not known, but for the one that was given up.
    let Some(Event::Disconnected { reason: SessionEnd::Closed, notifies_unconfirmed }) = long.poll_event() else {
        panic!()
    };
    assert!((1..=3).contains(&notifies_unconfirmed), "{notifies_unconfirmed}");
}

#[test]
fn what_a_session_leaves_behind_does_not_reach_the_next_one() {
    type Roomy = Endpoint<Buffers<48, 2, 2, 4, 4, 1, 10>>;
    let [mut a, mut b]: [Roomy; 2] = [1, 2].map(|entropy| boot(entropy, Buffers::new()));
    tell(&mut a, &mut b, at(0));
    a.notify(at(1), 7, b"one").unwrap();
    a.notify(at(1), 7, b"two").unwrap();
    let mut buf = [0; 64];
    // Only the second of two packets arrives, and waits for the first.
    let first = a.poll_transmit(at(1), &mut buf).unwrap();
    a.notify(at(1), 7, b"three").unwrap();
    let second = a.poll_transmit(at(1), &mut buf).unwrap();
    assert!(first > 0);
    assert!(b.handle_frame(at(1), &mut buf[..second]).next(&mut b).is_none());
    assert!(b.poll_notify().is_none());
    for milli in [1, 2] {
        a.publish(at(milli), 9, b"before").unwrap();
        assert_eq!(a.poll_transmit(at(milli), &mut buf).map(|_| ()), Some(()), "lost");
    }
    // A crashes; what it notifies and publishes in its next life begins anew, at both ends.
    let mut again: Roomy = boot(3, Buffers::new());
    tell(&mut again, &mut b, at(10));
    for payload in [&b"new"[..], b"newer", b"newest"] {
        again.notify(at(11), 7, payload).unwrap();
    }
    again.publish(at(11), 9, b"now").unwrap();
    assert_eq!(tell(&mut again, &mut b, at(11)), [&b"new"[..], b"newer", b"newest", b"now"]);
    // The peer's end of a's session is over as well, with what was under way.
    a.handle_timeout(at(20_000));
    let told: Vec<_> = core::iter::from_fn(|| a.poll_event()).collect();
    let lost = Event::Disconnected { reason: SessionEnd::PeerLost, notifies_unconfirmed: 3 };
    assert_eq!(told, [Event::Connected, lost]);
    assert!(a.is_idle());
}

#[test]
fn a_peer_that_closed_is_greeted_once_a_heartbeat_and_one_that_was_lost_at_once() {
    let (mut a, mut b) = connected();
    b.close(at(1));
    let farewell = frames(&mut b, at(1));
    deliver(&mut a, at(1), &farewell);
    assert_eq!(frames(&mut a, at(2)).len(), 0);
    assert_eq!(a.poll_timeout(), Some(at(501)));
    assert_eq!([501, 1_001].map(|milli| frames(&mut a, at(milli)).len()), [1, 1]);

    let (mut a, _) = connected();
    assert_eq!(frames(&mut a, at(9_999)).len(), 1, "a PING");
    assert_eq!(frames(&mut a, at(10_000)).len(), 1, "HELLO");
    assert_eq!(a.poll_event(), Some(Event::Disconnected { reason: SessionEnd::PeerLost, notifies_unconfirmed: 0 }));
}

#[test]
fn closing_ends_what_was_never_sent() {
    let mut a = node(1);
    let call = a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    a.close(at(1));
    let error = CallError { reason: Reason::Closed, executed: Executed::No };
    assert_eq!(events(&mut a), [Event::CallFailed { call, error }]);
    assert_eq!(a.call(at(2), 7, Semantics::AtMostOnce, TIMEOUT, b""), Err(SendError::Closed));
    assert!(!a.split().0.is_closing(), "there is nobody to be told");
    let (mut a, _) = connected();
    a.close(at(1));
    assert!(a.split().0.is_closing());
    assert_eq!(frames(&mut a, at(1)).len(), 1);
    assert!(!a.split().0.is_closing());
}

#[test]
fn what_the_port_refused_goes_out_as_it_would_have() {
    let (mut a, mut b) = connected();
    let mut buf = [0; 64];
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    a.poll_transmit(at(1), &mut buf).unwrap();
    a.handle_refused();
    a.poll_transmit(at(1), &mut buf).unwrap();
    assert_eq!(a.stats().retransmits, 0, "the call was never sent before");

    for payload in [b"first", b"later"] {
        b.notify(at(1), 7, payload).unwrap();
    }
    let sent = b.stats().frames_sent;
    let refused = b.poll_transmit(at(1), &mut buf).unwrap();
    b.handle_refused();
    // The second notify stands without its key and number, as it follows the first.
    assert_eq!(b.poll_transmit(at(1), &mut buf), Some(refused));
    assert_eq!(b.poll_transmit(at(1), &mut buf), None);
    assert_eq!(b.stats().frames_sent, sent + 1);
}

#[test]
fn a_node_that_is_asked_for_more_knows_that_its_frame_was_taken() {
    let (mut a, _) = connected();
    let mut buf = [0; 64];
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"call").unwrap();
    assert!(a.poll_transmit(at(1), &mut buf).is_some());
    assert_eq!(a.poll_transmit(at(1), &mut buf), None);
    a.handle_refused();
    assert_eq!(a.poll_transmit(at(1), &mut buf), None);
}

#[test]
fn a_probe_that_was_held_off_goes_out_at_the_same_moment() {
    let (mut a, _) = connected();
    a.notify(at(1), 7, b"lost").unwrap();
    assert_eq!(frames(&mut a, at(1)).len(), 1);
    assert!(a.poll_timeout().unwrap() <= at(9));
    a.notify(at(9), 7, b"fresh").unwrap();
    assert_eq!(frames(&mut a, at(9)).len(), 2);
}

#[test]
fn a_hello_that_found_no_room_goes_out_behind_the_packet_that_did() {
    let (mut a, _) = connected();
    let mut garbage = [0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    assert_eq!(a.handle_frame(at(1), &mut garbage).next(&mut a), None);
    a.handle_timeout(at(200));
    a.notify(at(200), 7, b"small").unwrap();
    assert!(a.poll_transmit(at(200), &mut [0; 24]).is_some_and(|len| len <= 24));
    assert!(a.poll_transmit(at(200), &mut [0; 64]).is_some_and(|len| len > 24));
}

#[test]
fn asking_without_room_does_not_say_that_the_port_took_a_frame() {
    let (mut a, _) = connected();
    a.notify(at(1), 7, b"refused").unwrap();
    let len = a.poll_frame(at(1), &mut [0; 64]);
    assert!(len.is_some());
    assert_eq!(a.poll_frame(at(1), &mut []), None);
    a.handle_refused();
    assert_eq!(a.poll_frame(at(1), &mut [0; 64]), len);
}

#[test]
fn what_comes_when_all_was_sent_goes_out_at_the_same_moment() {
    let (mut a, mut b) = connected();
    for _ in 0..2 {
        a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"call").unwrap();
        let calls = frames(&mut a, at(1));
        assert_eq!(calls.len(), 1);
        a.notify(at(1), 7, b"notify").unwrap();
        assert_eq!(frames(&mut a, at(1)).len(), 1);
        deliver(&mut b, at(1), &calls);
        assert_eq!(frames(&mut b, at(1)).len(), 1);
        b.notify(at(1), 7, b"notify").unwrap();
        assert_eq!(frames(&mut b, at(1)).len(), 1);
    }
    a.close(at(1));
    assert_eq!(frames(&mut a, at(1)).len(), 1);
}

#[test]
fn a_publish_that_the_port_refused_goes_out_and_one_that_it_took_does_not_again() {
    let [mut a, mut b]: [Full; 2] = [1, 2].map(|entropy| boot(entropy, Buffers::new()));
    tell(&mut a, &mut b, at(0));
    let mut buf = [0; 64];
    a.publish(at(1), 7, b"news").unwrap();
    let len = a.poll_transmit(at(1), &mut buf).unwrap();
    a.handle_refused();
    assert_eq!(a.poll_transmit(at(1), &mut buf), Some(len));
    // It was taken, as the node is asked for more. What is refused now is a call alone.
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"call").unwrap();
    let call = a.poll_transmit(at(1), &mut buf).unwrap();
    a.handle_refused();
    assert_eq!(a.poll_transmit(at(1), &mut buf), Some(call));
    assert_eq!(a.poll_transmit(at(1), &mut buf), None);
}

#[test]
fn publishes_that_do_not_fit_one_packet_go_out_in_two() {
    let [mut a, mut b]: [Endpoint<Buffers<48, 2, 2, 2, 1, 2, 10>>; 2] =
        [1, 2].map(|entropy| boot(entropy, Buffers::new()));
    tell(&mut a, &mut b, at(0));
    for key in [7, 8] {
        a.publish(at(1), key, &[1; 40]).unwrap();
    }
    let mut buf = [0; 64];
    let sent = core::iter::from_fn(|| a.poll_transmit(at(1), &mut buf));
    assert_eq!(sent.count(), 2);
}

#[test]
fn publishes_are_counted_anew_in_each_session_at_both_ends() {
    type Speaker = Endpoint<Buffers<48, 2, 2, 2, 0, 1, 10>>;
    type Hearer = Endpoint<Buffers<48, 2, 2, 2, 1, 0, 10>>;
    let speaker = |entropy| -> Speaker { boot(entropy, Buffers::new()) };
    let hearer = |entropy| -> Hearer { boot(entropy, Buffers::new()) };
    let hear = |speaker: &mut Speaker, hearer: &mut Hearer, now| {
        tell(speaker, hearer, now);
        for _ in 0..3 {
            speaker.publish(now, 7, b"news").unwrap();
            let mut buf = [0; 64];
            let len = speaker.poll_transmit(now, &mut buf).unwrap();
            let message = hearer.handle_frame(now, &mut buf[..len]).next(hearer);
            assert_eq!(message, Some(Message::Publish { key: 7, missed: 0, payload: b"news" }));
        }
    };
    let (mut one, mut other) = (speaker(1), hearer(2));
    hear(&mut one, &mut other, at(1));
    let mut other = hearer(3);
    hear(&mut one, &mut other, at(100));
    let mut one = speaker(4);
    hear(&mut one, &mut other, at(200));
}
