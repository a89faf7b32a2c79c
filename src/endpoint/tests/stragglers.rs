//! Packets that come later than the replay window allows (`PROTOCOL.md §5.3`).

use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::ToString;
use std::vec::Vec;

use super::memory::{Odd, exchange, out, take};
use super::*;
use crate::RequestId;
use crate::wire::describe;

/// With more notifies under way than the replay window spans.
type Big = Endpoint<Buffers<48, 2, 2, 200, 200, 0, 900>>;

fn sent(node: &mut Big, now: Instant) -> Vec<Vec<u8>> {
    let mut buf = [0; 64];
    core::iter::from_fn(|| node.poll_transmit(now, &mut buf).map(|len| buf[..len].to_vec())).collect()
}

/// One packet for each notify.
fn notified(node: &mut Big, now: Instant, count: usize) -> Vec<Vec<u8>> {
    (0..count).for_each(|_| node.notify(now, 1, &[0; 40]).unwrap());
    let frames = sent(node, now);
    assert_eq!(frames.len(), count);
    frames
}

/// Hands over frames; the requests in them, and the number of responses.
fn hear(node: &mut Big, now: Instant, frames: &[Vec<u8>]) -> (Vec<RequestId>, usize) {
    let (mut requests, mut responses) = (vec![], 0);
    for frame in frames {
        let mut frame = frame.clone();
        let mut messages = node.handle_frame(now, &mut frame);
        while let Some(message) = messages.next(node) {
            match message {
                Message::Request { id, .. } => requests.push(id),
                Message::Response { .. } => responses += 1,
                Message::Notify { .. } | Message::Publish { .. } => {}
            }
        }
        while node.poll_notify().is_some() {}
    }
    (requests, responses)
}

/// Its ack is as old as itself. Between the two, call 257 has got slot and sequence of the first, whose packet is still in the
/// log: the caller believes in a long round trip.
#[test]
fn the_ack_of_a_straggler_does_not_mean_a_later_call() {
    const TIMEOUT: Duration = Duration::from_secs(8);
    let (mut a, mut b): (Big, Big) = (boot(1, Buffers::new()), boot(2, Buffers::new()));
    // The caller measures a second.
    for second in 0..3 {
        let (early, late) = (at(second * 1_000), at(second * 1_000 + 999));
        let frames = sent(&mut a, early);
        hear(&mut b, late, &frames);
        let frames = sent(&mut b, late);
        hear(&mut a, late, &frames);
        let frames = sent(&mut a, late);
        hear(&mut b, late, &frames);
    }
    for millis in 3_000..3_010 {
        let frames = sent(&mut b, at(millis));
        hear(&mut a, at(millis), &frames);
        let frames = sent(&mut a, at(millis));
        hear(&mut b, at(millis), &frames);
    }
    // The first call is under way between notifies. All arrive, and no ack.
    let now = at(4_000);
    for frame in notified(&mut a, now, 150) {
        hear(&mut b, now, &[frame]);
        sent(&mut b, now);
    }
    a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, &[1; 40]).unwrap();
    let mut frames = sent(&mut a, now);
    frames.extend(notified(&mut a, now, 4));
    let others = notified(&mut b, now, 140);
    let (mut requests, _) = hear(&mut b, now, &frames);
    // The straggler, whose ack tells of the call. The acks after it do not reach back that far.
    let late = notified(&mut b, now, 1);
    notified(&mut a, now, 1);
    for frame in notified(&mut a, now, 12) {
        hear(&mut b, now, &[frame]);
        sent(&mut b, now);
    }
    hear(&mut a, now, &others);
    sent(&mut a, now);
    let mut millis = 4_000;
    for call in 0..256 {
        if call > 0 {
            a.call(at(millis), 7, Semantics::AtMostOnce, TIMEOUT, &[1; 40]).unwrap();
            let frames = sent(&mut a, at(millis));
            requests = hear(&mut b, at(millis), &frames).0;
        }
        millis += 1;
        b.respond(at(millis), requests[0], b"done").unwrap();
        let frames = sent(&mut b, at(millis));
        assert_eq!((requests.len(), hear(&mut a, at(millis), &frames).1), (1, 1), "{call}");
    }
    a.call(at(millis), 7, Semantics::AtMostOnce, TIMEOUT, &[2; 40]).unwrap();
    assert_eq!(sent(&mut a, at(millis)).len(), 1, "it is lost");
    let before = a.stats().dropped;
    hear(&mut a, at(millis), &late);
    assert_eq!(a.stats().dropped, before, "it is taken");
    let mut responses = 0;
    for millis in millis..millis + 7_000 {
        let frames = sent(&mut a, at(millis));
        for request in hear(&mut b, at(millis), &frames).0 {
            b.respond(at(millis), request, b"done").unwrap();
        }
        let frames = sent(&mut b, at(millis));
        responses += hear(&mut a, at(millis), &frames).1;
    }
    assert_eq!(responses, 1, "it was sent again");
}

#[test]
fn of_65_acks_of_stragglers_one_carries_a_ping() {
    let (mut a, mut b): (Big, Big) = (boot(1, Buffers::new()), boot(2, Buffers::new()));
    for _ in 0..5 {
        let frames = sent(&mut a, at(0));
        hear(&mut b, at(0), &frames);
        let frames = sent(&mut b, at(0));
        hear(&mut a, at(0), &frames);
    }
    notified(&mut a, at(0), 130);
    let late = notified(&mut a, at(0), 70);
    // All are sent again, and come first.
    let again = sent(&mut a, at(300));
    hear(&mut b, at(300), &again);
    sent(&mut b, at(300));
    let mut acks = vec![];
    for frame in late {
        hear(&mut b, at(300), &[frame]);
        acks.extend(sent(&mut b, at(300)).iter().map(|frame| std::format!("{}", describe(frame))));
    }
    assert_eq!(acks.len(), 70);
    assert!(acks.windows(65).all(|acks| acks.iter().any(|ack| ack.contains("PING"))));
}

/// All that fits into a packet is sent, and lost; sent again, and so many packets late that it lies more than half of all
/// sequences behind. Meanwhile it came once more.
#[test]
fn a_notify_of_a_straggler_is_not_taken_for_a_later_one() {
    const SLOTS: usize = 32_000;
    let storage = || Odd::for_notifies(300, SLOTS);
    let (mut a, mut b) = (boot(1, storage()), boot(2, storage()));
    exchange(&mut a, &mut b, at(0), b"");
    let fill = |a: &mut Endpoint<Odd>| while a.notify(at(1), 1, b"").is_ok() {};
    let mut hear = |a: &mut Endpoint<Odd>, now, frame: &Vec<u8>| {
        let taken = take(&mut b, now, vec![frame.clone()], b"").len();
        let taken = taken + core::iter::from_fn(|| b.poll_notify().map(drop)).count();
        let acks = out(&mut b, now);
        take(a, now, acks, b"");
        (taken, *b.stats())
    };
    // All that may be under way; the first packet is lost, and all others wait for it.
    fill(&mut a);
    for frame in &out(&mut a, at(1))[1..] {
        assert_eq!(hear(&mut a, at(1), frame).0, 0);
    }
    let mut repeated = (2..).map(|millis| out(&mut a, at(millis))).filter(|frames| !frames.is_empty());
    let late = repeated.next().unwrap().swap_remove(0);
    let again = repeated.next().unwrap();
    drop(repeated);
    let taken = again.iter().map(|frame| hear(&mut a, at(100), frame).0);
    assert_eq!(taken.sum::<usize>(), 30_720);
    let mut between = 0;
    while between < 100 {
        fill(&mut a);
        for frame in out(&mut a, at(100)).iter().take(100 - between) {
            hear(&mut a, at(100), frame);
            between += 1;
        }
    }
    let before = hear(&mut a, at(100), &again[0]).1;
    let (taken, after) = hear(&mut a, at(100), &late);
    assert_eq!((taken, after.duplicates, after.dropped), (0, before.duplicates, before.dropped));
    assert!(after.deferred >= before.deferred + 20, "they could be later ones, and are not taken");
    assert_eq!(after.frames_sent, before.frames_sent, "so it is not acknowledged");
}

/// What `chaos` does.
struct Chaos {
    seed: u64,
    /// Ticks that a packet is under way, and by how many more a quarter of them is late.
    latency: u64,
    delay: u64,
    /// Of a hundred packets.
    losses: u64,
    /// How long messages are sent.
    ticks: u64,
    /// For notifies, of each side.
    slots: [usize; 2],
}

/// Packets overtake each other, come twice or not at all, ports refuse and applications stop half-way. All notifies arrive once and
/// in order, no call is made twice, none fails.
fn chaos(Chaos { seed, latency, delay, losses, ticks, slots }: Chaos) -> [bool; 2] {
    let mut state = seed << 8 | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let node = |index: usize| boot(index as u64 + 1, Odd::for_notifies(300, slots[index]).with_calls(4));
    let mut nodes = [0, 1].map(|index| Box::new(node(index)));
    let mut line = BTreeMap::new();
    let (mut notifies, mut heard, mut calls) = ([0_u32; 2], [0_u32; 2], [0_u32; 2]);
    let mut executed = BTreeMap::new();
    let (mut responses, mut packets) = (0, 0);
    let mut has_long = [false; 2];
    let mut buf = vec![0; 400];
    for tick in 0.. {
        if tick > ticks && line.is_empty() && nodes.iter().all(|node| node.is_idle()) {
            break;
        }
        assert!(tick < 20 * ticks, "seed {seed}: it does not end");
        let now = Instant::from_micros(1_000 + tick * 20);
        for (index, node) in nodes.iter_mut().enumerate() {
            if tick < ticks {
                for _ in 0..random(80) {
                    notifies[index] += u32::from(node.notify(now, 0, &notifies[index].to_le_bytes()).is_ok());
                }
                let call = node.call(now, 1, Semantics::AtMostOnce, TIMEOUT, &calls[index].to_le_bytes());
                calls[index] += u32::from(call.is_ok());
            }
            for _ in 0..2 {
                let Some(len) = node.poll_transmit(now, &mut buf) else { break };
                if random(50) == 0 {
                    node.handle_refused();
                }
                has_long[index] |= describe(&buf[..len]).to_string().contains("of 24 bits");
                let copies = if random(10) == 0 { 2 } else { 1 };
                for _ in 0..copies {
                    let late = latency + if random(4) == 0 { random(delay) } else { random(4) };
                    packets += 1;
                    if random(100) >= losses {
                        line.insert((tick + late, packets), (1 - index, buf[..len].to_vec()));
                    }
                }
            }
        }
        while line.first_key_value().is_some_and(|((at, _), _)| *at <= tick) {
            let (_, (index, mut frame)) = line.pop_first().unwrap();
            let node = &mut nodes[index];
            let mut is_next = |payload: &[u8]| {
                assert_eq!(payload, heard[index].to_le_bytes(), "seed {seed}, node {index}");
                heard[index] += 1;
            };
            let mut messages = node.handle_frame(now, &mut frame);
            let limit = if random(20) == 0 { random(5) } else { u64::MAX };
            for _ in 0..limit {
                match messages.next(node) {
                    None => break,
                    Some(Message::Notify { payload, .. }) => is_next(payload),
                    Some(Message::Request { id, payload, .. }) => {
                        assert_eq!(executed.insert((index, payload.to_vec()), ()), None, "seed {seed}: twice");
                        node.respond(now, id, payload).unwrap();
                    }
                    Some(Message::Response { payload, .. }) => {
                        assert!(executed.contains_key(&(1 - index, payload.to_vec())), "seed {seed}");
                        responses += 1;
                    }
                    Some(Message::Publish { .. }) => unreachable!("nobody publishes"),
                }
            }
            while let Some(notify) = node.poll_notify() {
                is_next(notify.payload);
            }
        }
        for node in &mut nodes {
            while let Some(event) = node.poll_event() {
                assert_eq!(event, Event::Connected, "seed {seed}");
            }
        }
    }
    assert_eq!([heard[1], heard[0]], notifies, "seed {seed}");
    assert_eq!(responses, calls.iter().sum::<u32>(), "seed {seed}");
    let drops = nodes.map(|node| node.stats().dropped.too_old);
    std::println!("seed {seed}: {notifies:?} notifies, {responses} calls, {drops:?} of {packets} packets too old");
    has_long
}

#[test]
#[cfg_attr(any(target_arch = "x86", target_arch = "s390x"), ignore = "needs a processor that is not emulated: minutes")]
fn packets_that_overtake_each_other_by_hundreds_break_no_promise() {
    for seed in 1..=2 {
        chaos(Chaos { seed, latency: 20, delay: 800, losses: 2 * (seed - 1), ticks: 4_000, slots: [8_000; 2] });
    }
}

#[test]
#[cfg_attr(any(target_arch = "x86", target_arch = "s390x"), ignore = "needs a processor that is not emulated: minutes")]
fn long_sequences_break_no_promise() {
    let many = Chaos { seed: 1, latency: 600, delay: 1_500, losses: 1, ticks: 5_000, slots: [90_000, 90_000] };
    assert_eq!(chaos(many), [true, true]);
}

#[test]
#[cfg_attr(any(target_arch = "x86", target_arch = "s390x"), ignore = "needs a processor that is not emulated: minutes")]
fn a_node_with_fewer_slots_hears_short_sequences_from_one_with_more() {
    let uneven = Chaos { seed: 1, latency: 600, delay: 1_500, losses: 1, ticks: 4_000, slots: [90_000, 30_000] };
    assert_eq!(chaos(uneven), [false, false]);
}

/// Of all sequences that end in the same 16 bits only the first few have a payload, which says which one it is.
fn named(sequence: u32) -> Vec<u8> {
    if sequence % 65_536 < 4 { sequence.to_le_bytes().to_vec() } else { vec![] }
}

/// A packet that is sent while 30 720 notifies are under way holds an old one with a short sequence and 31 fresh ones. Not all
/// of it is taken, and it comes again after 64 packets with 32 each: by then the old one is more than half of all short
/// sequences behind.
#[test]
fn a_short_sequence_that_is_half_of_all_behind_is_not_taken_for_one_ahead() {
    const SLOTS: usize = 40_000;
    let node = |entropy| {
        let storage = Odd::for_notifies(300, SLOTS);
        boot(entropy, storage.with_log(2 * SLOTS).with_publish())
    };
    let (mut a, mut b) = (node(1), node(2));
    exchange(&mut a, &mut b, at(0), b"");
    let (mut queued, mut heard) = (0, 0);
    let push = |a: &mut Endpoint<Odd>, now, count, queued: &mut u32| {
        for _ in 0..count {
            a.notify(now, 0, &named(*queued)).unwrap();
            *queued += 1;
        }
    };
    let hear = |b: &mut Endpoint<Odd>, now, frame: &[u8], limit: usize, heard: &mut u32| {
        let mut frame = frame.to_vec();
        let mut messages = b.handle_frame(now, &mut frame);
        for _ in 0..limit {
            let Some(message) = messages.next(b) else { break };
            if let Message::Notify { payload, .. } = message {
                assert_eq!(payload, named(*heard), "notify {heard}");
                *heard += 1;
            }
        }
        while let Some(notify) = b.poll_notify() {
            assert_eq!(notify.payload, named(*heard), "notify {heard}");
            *heard += 1;
        }
    };
    // The first arrives, and its ack does not: not even the one for the 65 packets that follow it reaches back so far.
    for _ in 0..66 {
        push(&mut a, at(1), 1, &mut queued);
        for frame in out(&mut a, at(1)) {
            hear(&mut b, at(1), &frame, usize::MAX, &mut heard);
        }
        if queued == 1 {
            out(&mut b, at(1));
        }
    }
    let acks = out(&mut b, at(1));
    take(&mut a, at(1), acks, b"");
    push(&mut a, at(1), 30_720 - 66, &mut queued);
    for frame in out(&mut a, at(1)) {
        hear(&mut b, at(1), &frame, usize::MAX, &mut heard);
        let acks = out(&mut b, at(1));
        take(&mut a, at(1), acks, b"");
    }
    assert_eq!(heard, 30_720);
    // It is sent again, with more behind it. All but a publish at the end is taken.
    let late = at(61);
    push(&mut a, late, 31 + 64 * 32, &mut queued);
    a.publish(late, 9, b"p").unwrap();
    let frames = out(&mut a, late);
    hear(&mut b, late, &frames[0], 31, &mut heard);
    for frame in &frames[1..65] {
        hear(&mut b, late, frame, usize::MAX, &mut heard);
    }
    assert_eq!(heard, 30_720 + 31 + 64 * 32);
    hear(&mut b, late, &frames[0], usize::MAX, &mut heard);
    // What has the same low 16 bits comes only now.
    for step in 0..2_000 {
        let now = at(62 + step);
        push(&mut a, now, if queued < 70_000 { 200 } else { 0 }, &mut queued);
        for frame in out(&mut a, now) {
            hear(&mut b, now, &frame, usize::MAX, &mut heard);
        }
        let acks = out(&mut b, now);
        take(&mut a, now, acks, b"");
        if heard >= 70_000 && a.is_idle() {
            break;
        }
    }
    assert_eq!((heard, a.is_idle()), (queued, true));
}
