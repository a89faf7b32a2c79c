//! Drivers and applications that do odd things. Each of these once broke something.

use std::vec::Vec;

use super::*;
use crate::wire::{Header, PacketNumber, Writer};

/// A frame, and the millisecond in which it arrives.
type Due = (u64, Vec<u8>);

fn forged_at(liar: &Node, number: u64, number_len: usize, content: &[u8]) -> Vec<u8> {
    let mut packet = [0; 64];
    let mut writer = Writer::new(&mut packet);
    Header { number: number as u32, number_len, ack: None }.write(&mut writer);
    writer.bytes(content);
    let seed = liar.machine.handshake().session().unwrap().send;
    let check = seed.check(PacketNumber::new(number), None, writer.written());
    writer.u32(check);
    writer.written().to_vec()
}

/// Everything settles so that A's next packet carries no ack.
fn quiet_acks(a: &mut Node, b: &mut Node, now: Instant) {
    a.notify(now, 1, b"n").unwrap();
    talk(a, b, now);
    a.notify(now, 1, b"n").unwrap();
    talk(a, b, now);
}

/// Executes and answers the FIRST message of each frame, and drops the iterator.
fn first_only(node: &mut Node, now: Instant, frames: &[Vec<u8>]) -> usize {
    let mut executed = 0;
    for frame in frames {
        let mut frame = frame.clone();
        let mut messages = node.handle_frame(now, &mut frame);
        if let Some(Message::Request { id, payload, .. }) = messages.next(node) {
            executed += usize::from(payload == b"VICTIM");
            node.respond(now, id, b"ok").unwrap();
        }
    }
    executed
}

#[test]
fn an_application_that_takes_one_message_a_frame_does_not_run_a_replayed_request_twice() {
    let (mut a, mut b) = connected();
    quiet_acks(&mut a, &mut b, at(1));
    let (mut old, mut executed, mut done) = (Vec::new(), 0, 0);
    for round in 0..256_u64 {
        let now = at(1_000 * (round + 1));
        let payload: &[u8] = if round == 0 { b"VICTIM" } else { b"other" };
        a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, payload).unwrap();
        let mut buf = [0; 64];
        let len = a.poll_transmit(now, &mut buf).unwrap();
        let request = vec![buf[..len].to_vec()];
        if round == 0 {
            old = request.clone();
        }
        executed += first_only(&mut b, now, &request);
        let replies = frames(&mut b, now);
        done += deliver(&mut a, now, &replies).len();
    }
    assert_eq!((executed, done), (1, 256));
    assert_eq!((a.stats().sessions, b.stats().sessions), (1, 1));
    executed += first_only(&mut b, at(257_000), &old);
    assert_eq!(executed, 1, "an at-most-once request took effect twice");
}

#[test]
fn h15_a_replayed_request_does_not_run_when_its_sequence_has_wrapped_though_its_number_is_understood() {
    let (a, mut b) = connected();
    let request = |round: u64, payload: &[u8]| {
        let head = [0x20, (round + 1) as u8, 7, 0];
        vec![forged_at(&a, 100 + round, 2, &[&head, payload].concat())]
    };
    let old = request(0, b"VICTIM");
    assert_eq!(first_only(&mut b, at(1), &old), 1);
    for round in 1..256 {
        first_only(&mut b, at(1), &request(round, b"other"));
    }
    assert_eq!(first_only(&mut b, at(2), &old), 0);
    assert_eq!((b.stats().dropped.too_old, b.stats().dropped.sum()), (1, 1));
    // It is indeed the sequence whose turn it is.
    assert_eq!(first_only(&mut b, at(2), &request(256, b"VICTIM")), 1);
}

#[test]
fn a_request_that_waits_for_an_orphan_comes_again_and_runs() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"hangs").unwrap();
    let mut frame = frames(&mut a, at(1)).remove(0);
    let Some(Message::Request { id: orphan, .. }) = b.handle_frame(at(1), &mut frame).next(&mut b) else { panic!() };
    let mut a = node(3);
    talk(&mut a, &mut b, at(100));
    let call = a.call(at(101), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(101)), []);
    assert!(b.respond(at(102), orphan, b"").is_err());
    assert_eq!(talk(&mut a, &mut b, at(200)), [(call, b"cba".to_vec())]);
}

#[test]
fn a_request_that_waits_for_an_orphan_does_not_let_another_run_twice() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"zero").unwrap();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"hangs").unwrap();
    // B answers slot 0, the handler of slot 1 hangs.
    for frame in frames(&mut a, at(1)) {
        let mut frame = frame.clone();
        let mut messages = b.handle_frame(at(1), &mut frame);
        while let Some(message) = messages.next(&mut b) {
            if let Message::Request { id, payload: b"zero", .. } = message {
                b.respond(at(1), id, b"").unwrap();
            }
        }
    }
    // A crashes and comes back.
    let mut a = node(3);
    talk(&mut a, &mut b, at(100));
    talk(&mut a, &mut b, at(200));
    assert!(a.is_connected() && b.is_connected());
    quiet_acks(&mut a, &mut b, at(300));
    let mut now = 1_000;
    // Slot 0 is taken for the moment, so that a long call gets slot 1, where the orphan sits.
    let zero = a.call(at(now), 7, Semantics::AtMostOnce, TIMEOUT, b"x").unwrap();
    a.call(at(now), 7, Semantics::AtMostOnce, Duration::from_secs(3_600), b"wait").unwrap();
    a.cancel(at(now), zero);
    events(&mut a);
    let (mut old, mut executed, mut done) = (Vec::new(), 0, 0);
    for round in 0..256 {
        now += 1_000;
        // The driver is slow, not wrong: it comes by once a second, timers first, then new work, then the port.
        a.handle_timeout(at(now));
        let payload: &[u8] = if round == 0 { b"VICTIM" } else { b"other" };
        a.call(at(now), 7, Semantics::AtMostOnce, TIMEOUT, payload).unwrap();
        let request = frames(&mut a, at(now));
        assert_eq!(request.len(), 1, "{round}");
        if round == 0 {
            old = request.clone();
        }
        for frame in &request {
            let mut frame = frame.clone();
            let mut messages = b.handle_frame(at(now), &mut frame);
            while let Some(message) = messages.next(&mut b) {
                if let Message::Request { id, payload, .. } = message {
                    executed += usize::from(payload == b"VICTIM");
                    b.respond(at(now), id, b"ok").unwrap();
                }
            }
        }
        let replies = frames(&mut b, at(now));
        done += deliver(&mut a, at(now), &replies).len();
        b.handle_timeout(at(now));
    }
    assert_eq!((executed, done), (1, 256));
    let sessions = (a.stats().sessions, b.stats().sessions);
    assert_eq!(sessions, (1, 2));
    let mut frame = old[0].clone();
    let mut messages = b.handle_frame(at(now + 1), &mut frame);
    while let Some(message) = messages.next(&mut b) {
        if let Message::Request { payload, .. } = message {
            executed += usize::from(payload == b"VICTIM");
        }
    }
    assert_eq!(executed, 1, "an at-most-once request took effect twice");
}

#[test]
fn a_stale_request_id_answers_no_other_request() {
    let (mut a, mut b) = connected();
    let mut stale = None;
    for round in 0..257_u64 {
        let now = at(10 * round + 10);
        a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"x").unwrap();
        let request = frames(&mut a, now);
        for frame in request {
            let mut frame = frame.clone();
            let mut messages = b.handle_frame(now, &mut frame);
            while let Some(message) = messages.next(&mut b) {
                let Message::Request { id, .. } = message else { continue };
                if round == 0 {
                    stale = Some(id);
                }
                if round == 256 {
                    // The new request still runs; the one that was answered long ago is answered again.
                    let answer = b.respond(now, stale.unwrap(), b"old answer");
                    assert_eq!(answer, Err(RespondError::Stale));
                    return;
                }
                b.respond(now, id, b"").unwrap();
            }
        }
        talk(&mut a, &mut b, now);
    }
}

#[test]
fn a_publish_after_two_thousand_million_packets_is_delivered() {
    let (mut a, b) = connected();
    for number in [(1 << 30), (1 << 31) - 1, (1 << 31) + 5] {
        execute(&mut a, at(1), &[forged_at(&b, number, 4, &[])]);
    }
    assert_eq!(a.stats().dropped.sum(), 0);
    let mut frame = forged_at(&b, (1 << 31) + 6, 4, &[0x08, 0, 0, 1, 0, 42]);
    let mut messages = a.handle_frame(at(1), &mut frame);
    assert!(matches!(messages.next(&mut a), Some(Message::Publish { .. })));
}

#[test]
fn a_round_trip_that_was_believed_too_short_is_learnt() {
    let config = |entropy: u64| {
        let mut config = config(entropy);
        config.initial_round_trip = Duration::from_millis(1);
        config
    };
    let mut a = Node::new(at(0), config(1), Buffers::new());
    let mut b = Node::new(at(0), config(2), Buffers::new());
    // 20 ms each way; each side looks at its port once a millisecond: what came in one turn is answered in the
    // next.
    let (mut to_a, mut to_b) = (Vec::<Due>::new(), Vec::<Due>::new());
    let mut done = 0;
    for milli in 1..20_000_u64 {
        let now = at(milli);
        if a.free_calls() == 2 && a.is_connected() {
            a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        }
        to_b.extend(frames(&mut a, now).into_iter().map(|frame| (milli + 20, frame)));
        to_a.extend(frames(&mut b, now).into_iter().map(|frame| (milli + 20, frame)));
        let due = |line: &mut Vec<Due>| -> Vec<Vec<u8>> {
            let due = line.iter().filter(|(at, _)| *at <= milli).map(|(_, frame)| frame.clone()).collect();
            line.retain(|(at, _)| *at > milli);
            due
        };
        deliver(&mut b, now, &due(&mut to_b));
        done += deliver(&mut a, now, &due(&mut to_a)).len();
        events(&mut a);
        events(&mut b);
    }
    let retransmits = a.stats().retransmits as usize;
    assert!(
        a.round_trip().is_some() && retransmits < 200,
        "{:?}: {done} calls, {retransmits} repeated",
        a.round_trip()
    );
}

#[test]
fn a_round_trip_that_has_become_longer_is_learnt_though_no_ack_is_fresh() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(1)).len(), 1);
    assert_eq!(a.round_trip(), Some(Duration::ZERO), "as fast as it gets");
    let (mut to_a, mut to_b) = (Vec::<Due>::new(), Vec::<Due>::new());
    let mut done = 0;
    for milli in 2..20_000_u64 {
        let now = at(milli);
        if a.free_calls() == 2 && a.is_connected() {
            a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        }
        // 20 ms each way, and what came in one turn is answered in the next: a millisecond is long for such nodes.
        to_b.extend(frames(&mut a, now).into_iter().map(|frame| (milli + 20, frame)));
        to_a.extend(frames(&mut b, now).into_iter().map(|frame| (milli + 20, frame)));
        for frame in to_b.extract_if(.., |(due, _)| *due <= milli).map(|(_, frame)| frame).collect::<Vec<_>>() {
            deliver(&mut b, now, &[frame]);
        }
        for frame in to_a.extract_if(.., |(due, _)| *due <= milli).map(|(_, frame)| frame).collect::<Vec<_>>() {
            done += deliver(&mut a, now, &[frame]).len();
        }
        events(&mut a);
        events(&mut b);
    }
    let (round_trip, retransmits) = (a.round_trip().unwrap(), a.stats().retransmits);
    assert!(
        round_trip >= Duration::from_millis(30) && retransmits < 300,
        "{round_trip:?}: {done} calls, {retransmits}"
    );
}

#[test]
fn a_stale_call_cancels_no_other_call() {
    let mut a = node(1);
    let stale = a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    a.cancel(at(0), stale);
    events(&mut a);
    for _ in 0..65_535 {
        let call = a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
        a.cancel(at(0), call);
        a.poll_event();
    }
    a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
    a.cancel(at(0), stale);
    assert_eq!(a.poll_event(), None);
}

#[test]
fn a_replayed_frame_does_not_keep_a_dead_peer_alive() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"x").unwrap();
    let frame = frames(&mut a, at(1));
    for second in 1..100 {
        // The application does not take the messages; A is long dead, the wire repeats its last frame.
        let _ = b.handle_frame(at(1_000 * second), &mut frame[0].clone());
        b.handle_timeout(at(1_000 * second));
    }
    assert!(!b.is_connected());
}

#[test]
fn a_ping_that_rode_on_a_refused_call_is_not_forgotten() {
    let (mut a, mut b) = (node(1), node(2));
    frames(&mut a, at(0));
    talk(&mut a, &mut b, at(0));
    // A quarter of the lease is over: a keepalive is due, and rides on a call that the port refuses.
    let call = a.call(at(3_000), 7, Semantics::AtMostOnce, TIMEOUT, b"x").unwrap();
    assert!(a.poll_transmit(at(3_000), &mut [0; 64]).is_some());
    a.handle_refused();
    a.cancel(at(3_000), call);
    assert!(alone(&mut a, at(9_000)) > 0, "no keepalive");
}

#[test]
fn a_token_is_not_given_twice() {
    let mut a = node(1);
    // A buffer in which a HELLO fits but not its check.
    for _ in 0..100 {
        assert!(a.poll_transmit(at(0), &mut [0; 31]).is_none());
        a.handle_refused();
    }
    let mut sent = 0;
    for number in 0..200 {
        execute(
            &mut a,
            at(0),
            &[{
                let mut packet = [0; crate::wire::Hello::LEN];
                let offer =
                    crate::wire::Offer { frame: 64, slots: 2, notify_window: 1, time_to_live: 0, schema_digest: 0 };
                let from = crate::wire::End { incarnation: 9, challenge: number };
                crate::wire::Hello { from, echo: None, session: None, offer }.write(&mut Writer::new(&mut packet));
                let mut frame = packet.to_vec();
                frame.extend(crate::wire::plain_check(&packet).to_le_bytes());
                frame
            }],
        );
        sent += frames(&mut a, at(0)).len();
    }
    assert!(sent <= 4, "{sent} HELLOs in one moment");
}

#[test]
fn a_node_that_believes_in_a_huge_round_trip_is_found_again() {
    let mut config = config(5);
    config.initial_round_trip = Duration::from_secs(3_600);
    let mut a = Node::new(at(0), config, Buffers::new());
    let mut b = node(2);
    // The first three HELLOs are lost.
    for milli in 0..3 {
        let greeting = frames(&mut b, at(100 * milli));
        execute(&mut a, at(100 * milli), &greeting);
        frames(&mut a, at(100 * milli));
        b.connect(at(100 * milli));
    }
    for milli in 1_000..20_000 {
        talk(&mut a, &mut b, at(milli));
    }
    assert!(a.is_connected());
}

#[test]
fn messages_that_are_taken_after_the_sequences_have_wrapped_run_no_request_twice() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"VICTIM").unwrap();
    let mut held = frames(&mut a, at(1)).remove(0);
    let mut late = b.handle_frame(at(1), &mut held);
    let repeated = frames(&mut a, at(2));
    let mut executed = first_only(&mut b, at(2), &repeated);
    assert_eq!(executed, 1, "the repetition is executed");
    talk(&mut a, &mut b, at(2));
    for round in 0..255_u64 {
        a.call(at(3 + round), 7, Semantics::AtMostOnce, TIMEOUT, b"other").unwrap();
        assert_eq!(talk(&mut a, &mut b, at(3 + round)).len(), 1);
    }
    while let Some(message) = late.next(&mut b) {
        executed += usize::from(matches!(message, Message::Request { .. }));
    }
    assert_eq!(executed, 1, "an at-most-once request took effect twice");
}

/// Busy loop hunt: poll_timeout in the past after everything was done.
#[test]
fn nothing_spins_with_odd_times() {
    for (lease, heartbeat, initial) in [
        (0, 0, 0),
        (1, 0, 0),
        (10_000_000, 0, 0),
        (10_000_000, 0, 1 << 40),
        (1 << 40, 1 << 40, 1 << 40),
        (0, 1, 1 << 33),
    ] {
        let config = |entropy: u64| {
            let mut config = config(entropy);
            config.lease = Duration::from_micros(lease);
            config.heartbeat = Duration::from_micros(heartbeat);
            config.initial_round_trip = Duration::from_micros(initial);
            config
        };
        let mut a = Node::new(at(0), config(1), Buffers::new());
        let mut b = Node::new(at(0), config(2), Buffers::new());
        let mut spins = 0;
        let mut now = at(0);
        for step in 0..20_000_u64 {
            let _ = a.call(now, 7, Semantics::Idempotent, TIMEOUT, b"abc");
            let from_a = frames(&mut a, now);
            if step % 3 != 0 {
                deliver(&mut b, now, &from_a);
            }
            let from_b = frames(&mut b, now);
            if step % 5 != 0 {
                deliver(&mut a, now, &from_b);
            }
            events(&mut a);
            events(&mut b);
            for node in [&mut a, &mut b] {
                node.handle_timeout(now);
                frames(node, now);
                if node.poll_timeout().is_some_and(|at| at <= now) {
                    spins += 1;
                }
            }
            now = now + Duration::from_micros(777 + step % 13 * 1_000);
        }
        assert_eq!(spins, 0, "{lease} {heartbeat} {initial}");
    }
}

/// Half of the numbers ahead is as far as half of them behind.
#[test]
fn a_packet_number_out_of_reach_is_dropped_and_changes_nothing() {
    let (mut a, mut b) = connected();
    // Not taken yet, so that its packet moves the replay window alone.
    let too_early = [0b0000_0100, 5, 0, 1, 0];
    for number in [(1 << 30) + 9, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1] {
        let before = a.stats().dropped.sum();
        assert_eq!(execute(&mut a, at(0), &[forged_at(&b, number, 4, &too_early)]), 0);
        assert_eq!(a.stats().dropped.sum(), before + 1, "{number:#x}");
    }
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(1)).len(), 1);
}

/// Timers count in 32 bits of microseconds: 71 minutes.
#[test]
fn a_lease_longer_than_timers_can_count_ends_all_the_same() {
    let config = Config { lease: Duration::from_secs(7_200), ..config(1) };
    let mut a = Endpoint::new(at(0), config, Buffers::new());
    let mut b = node(2);
    talk(&mut a, &mut b, at(0));
    assert!(a.is_connected());
    let mut now = at(0);
    while a.is_connected() {
        frames(&mut a, now);
        now = a.poll_timeout().expect("there is a lease").max(now + Duration::from_millis(1));
        assert!(now <= at(7_200_000), "it never ends");
        a.handle_timeout(now);
    }
}

#[test]
fn what_the_port_refused_is_not_counted_as_sent() {
    let (mut a, mut b) = (node(1), node(2));
    let counts = |node: &Node| (node.stats().frames_sent, node.stats().hellos_sent, node.stats().acks_sent);
    a.connect(at(0));
    assert!(a.poll_transmit(at(0), &mut [0; 64]).is_some());
    a.handle_refused();
    assert_eq!(counts(&a), (0, 0, 0));
    talk(&mut a, &mut b, at(0));
    b.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"x").unwrap();
    execute(&mut a, at(1), &frames(&mut b, at(1)));
    let before = counts(&a);
    a.handle_timeout(at(100));
    assert!(a.poll_transmit(at(100), &mut [0; 64]).is_some());
    assert_ne!(counts(&a), before);
    a.handle_refused();
    assert_eq!(counts(&a), before);
}
