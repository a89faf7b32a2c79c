//! Memory of odd sizes, lent as slices.

use std::vec::Vec;

use super::*;
use crate::{CallSlot, HeldSlot, NotifySlot, Parts, PublishSlot, ReplySlot, Transmission};

pub(super) struct Odd {
    payload: usize,
    calls: Vec<CallSlot>,
    call_payloads: Vec<u8>,
    replies: Vec<ReplySlot>,
    reply_payloads: Vec<u8>,
    notifies: Vec<NotifySlot>,
    notify_payloads: Vec<u8>,
    held: Vec<HeldSlot>,
    held_payloads: Vec<u8>,
    publishes: Vec<PublishSlot>,
    publish_payloads: Vec<u8>,
    sent: Vec<Transmission>,
}

impl Odd {
    fn new() -> Self {
        Self {
            payload: 48,
            calls: vec![CallSlot::FREE; 2],
            call_payloads: vec![0; 96],
            replies: vec![ReplySlot::IDLE; 2],
            reply_payloads: vec![0; 96],
            notifies: vec![NotifySlot::FREE; 2],
            notify_payloads: vec![0; 96],
            held: vec![HeldSlot::FREE; 1],
            held_payloads: vec![0; 48],
            publishes: vec![],
            publish_payloads: vec![],
            sent: vec![Transmission::NONE; 10],
        }
    }

    /// For nothing but notifies, `slots` of them each way.
    pub(super) fn for_notifies(payload: usize, slots: usize) -> Self {
        Self {
            payload,
            notifies: vec![NotifySlot::FREE; slots],
            notify_payloads: vec![0; slots * payload],
            held: vec![HeldSlot::FREE; slots],
            held_payloads: vec![0; slots * payload],
            sent: vec![Transmission::NONE; slots],
            ..Self::new()
        }
    }

    /// With a log of so many transmissions.
    pub(super) fn with_log(self, transmissions: usize) -> Self {
        Self { sent: vec![Transmission::NONE; transmissions], ..self }
    }

    /// With room for a publish.
    pub(super) fn with_publish(self) -> Self {
        Self { publishes: vec![PublishSlot::FREE; 1], publish_payloads: vec![0; self.payload], ..self }
    }

    /// With `slots` calls each way as well.
    pub(super) fn with_calls(self, slots: usize) -> Self {
        let payloads = vec![0; slots * self.payload];
        Self {
            calls: vec![CallSlot::FREE; slots],
            call_payloads: payloads.clone(),
            replies: vec![ReplySlot::IDLE; slots],
            reply_payloads: payloads,
            ..self
        }
    }
}

impl Storage for Odd {
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            payload: self.payload,
            calls: &mut self.calls,
            call_payloads: &mut self.call_payloads,
            replies: &mut self.replies,
            reply_payloads: &mut self.reply_payloads,
            notifies: &mut self.notifies,
            notify_payloads: &mut self.notify_payloads,
            held: &mut self.held,
            held_payloads: &mut self.held_payloads,
            publishes: &mut self.publishes,
            publish_payloads: &mut self.publish_payloads,
            sent: &mut self.sent,
        }
    }
}

/// Takes all messages; answers requests with `answer`; returns payloads of requests, responses and notifies.
pub(super) fn take(node: &mut Endpoint<Odd>, now: Instant, frames: Vec<Vec<u8>>, answer: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for mut frame in frames {
        let mut messages = node.handle_frame(now, &mut frame);
        while let Some(message) = messages.next(node) {
            match message {
                Message::Request { id, payload, .. } => {
                    payloads.push(payload.to_vec());
                    let _ = node.respond(now, id, answer);
                }
                Message::Response { payload, .. }
                | Message::Notify { payload, .. }
                | Message::Publish { payload, .. } => {
                    payloads.push(payload.to_vec());
                }
            }
        }
    }
    payloads
}

pub(super) fn out(node: &mut Endpoint<Odd>, now: Instant) -> Vec<Vec<u8>> {
    let mut buf = vec![0; 70_000];
    core::iter::from_fn(|| node.poll_transmit(now, &mut buf).map(|len| buf[..len].to_vec())).collect()
}

pub(super) fn exchange(a: &mut Endpoint<Odd>, b: &mut Endpoint<Odd>, now: Instant, answer: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for _ in 0..20 {
        let from_a = out(a, now);
        payloads.extend(take(b, now, from_a, answer));
        let from_b = out(b, now);
        payloads.extend(take(a, now, from_b, answer));
    }
    payloads
}

#[test]
fn a_call_in_a_slot_with_half_its_memory_keeps_its_payload() {
    let (mut a, mut b) = (boot(1, Odd { call_payloads: vec![0; 48 + 10], ..Odd::new() }), boot(2, Odd::new()));
    exchange(&mut a, &mut b, at(0), b"");
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"first").unwrap();
    // Refused for want of memory, or sent as it was given.
    let second = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"second");
    let seen = exchange(&mut a, &mut b, at(1), b"");
    assert!(second.is_err() || seen.contains(&b"second".to_vec()), "{seen:?}");
}

#[test]
fn a_response_without_memory_is_not_sent_as_an_empty_one() {
    let (mut a, mut b) = (boot(1, Odd::new()), boot(2, Odd { reply_payloads: vec![0; 48], ..Odd::new() }));
    exchange(&mut a, &mut b, at(0), b"");
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"1").unwrap();
    let _ = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"2");
    let seen = exchange(&mut a, &mut b, at(1), b"answer");
    assert!(!seen.contains(&Vec::new()), "{seen:?}");
}

#[test]
fn notifies_with_less_memory_than_slots_do_not_stop_for_ever() {
    let storage = Odd { notifies: vec![NotifySlot::FREE; 4], notify_payloads: vec![0; 96], ..Odd::new() };
    let (mut a, mut b) = (boot(1, storage), boot(2, Odd::new()));
    exchange(&mut a, &mut b, at(0), b"");
    for round in 1..10 {
        assert_eq!(a.notify(at(round), 1, b"notify"), Ok(()), "{round}");
        exchange(&mut a, &mut b, at(round), b"");
        assert!(a.is_idle());
    }
}

#[test]
fn three_hundred_call_slots_do_not_panic() {
    let storage = Odd { calls: vec![CallSlot::FREE; 300], call_payloads: vec![0; 300 * 48], ..Odd::new() };
    let (mut a, mut b) = (boot(1, storage), boot(2, Odd::new()));
    exchange(&mut a, &mut b, at(0), b"");
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"1").unwrap();
    exchange(&mut a, &mut b, at(1), b"");
}

#[test]
fn full_size_publishes_let_a_ping_go_every_64_packets() {
    for payload in [200, 20_000] {
        let storage = || Odd {
            payload,
            call_payloads: vec![0; payload * 2],
            reply_payloads: vec![0; payload * 2],
            notify_payloads: vec![0; payload * 2],
            held_payloads: vec![0; payload],
            publishes: vec![PublishSlot::FREE],
            publish_payloads: vec![0; payload],
            ..Odd::new()
        };
        let (mut a, mut b) = (boot(1, storage()), boot(2, storage()));
        exchange(&mut a, &mut b, at(0), b"");
        // 200 packets are under way at any time: B hears each 200 packets later, and its acks come at once.
        let mut line = std::collections::VecDeque::new();
        let mut run = 0;
        let mut longest = 0;
        for micro in 0..20_000 {
            let now = Instant::from_micros(1_000 + micro * 10);
            a.publish(now, 1, &vec![1; payload]).unwrap();
            for frame in out(&mut a, now) {
                line.push_back(frame);
            }
            while line.len() > 200 {
                let frame = line.pop_front().unwrap();
                let asks = std::format!("{}", crate::wire::describe(&frame)).contains("PING");
                take(&mut b, now, vec![frame], b"");
                let back = out(&mut b, now);
                take(&mut a, now, back, b"");
                run = if asks { 0 } else { run + 1 };
                longest = longest.max(run);
            }
        }
        assert!(longest <= 64, "{payload}: {longest} packets in a row asked for no ack");
    }
}

#[test]
fn memory_that_does_not_suffice_makes_for_fewer_slots() {
    let (mut calls, mut replies, mut notifies) = ([CallSlot::FREE; 300], [ReplySlot::IDLE; 3], [NotifySlot::FREE; 3]);
    let (mut held, mut publishes, mut sent) = ([HeldSlot::FREE; 1], [PublishSlot::FREE; 1], [Transmission::NONE; 70]);
    let (mut call_payloads, mut reply_payloads, mut notify_payloads) = ([0; 48 * 300], [0; 100], [0; 47]);
    let parts = Parts {
        payload: 48,
        calls: &mut calls,
        call_payloads: &mut call_payloads,
        replies: &mut replies,
        reply_payloads: &mut reply_payloads,
        notifies: &mut notifies,
        notify_payloads: &mut notify_payloads,
        held: &mut held,
        held_payloads: &mut [],
        publishes: &mut publishes,
        publish_payloads: &mut [],
        sent: &mut sent,
    };
    let mut a = Endpoint::new(at(0), Config::new(Incarnation::random(3 << 32)), parts);
    assert_eq!(a.free_calls(), 32);
    for _ in 0..32 {
        a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, &[1; 48]).unwrap();
    }
    assert_eq!(a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b""), Err(SendError::Full));
    assert_eq!(a.notify(at(0), 7, b""), Err(SendError::Full));
    assert_eq!(a.publish(at(0), 7, b""), Err(SendError::Full));
    let mut buf = [0; 64];
    let len = a.poll_transmit(at(0), &mut buf).unwrap();
    let hello = crate::wire::Hello::read(&buf[..len - 4]).unwrap();
    assert_eq!((hello.offer.slots, hello.offer.notify_window), (2, 1));
}

/// All that fits into a packet is sent, and lost; sent again, and late by as much as the replay window allows. Meanwhile
/// it came once more, and all that fits into the packets in between.
#[test]
fn a_notify_that_is_late_is_not_taken_for_a_later_one_however_many_fit_into_a_packet() {
    // Without a rule they fill packets of 496.
    const SLOTS: usize = 12 * 496;
    let storage = || Odd::for_notifies(1_010, SLOTS);
    let (mut a, mut b) = (boot(1, storage()), boot(2, storage()));
    exchange(&mut a, &mut b, at(0), b"");
    let fill = |a: &mut Endpoint<Odd>| while a.notify(at(1), 1, b"").is_ok() {};
    let hear = |b: &mut Endpoint<Odd>, now, frames| {
        let taken = take(b, now, frames, b"").len();
        taken + core::iter::from_fn(|| b.poll_notify().map(drop)).count()
    };
    fill(&mut a);
    for frame in out(&mut a, at(1)).split_off(1) {
        assert_eq!(hear(&mut b, at(1), vec![frame]), 0, "all wait for the first");
        let acks = out(&mut b, at(1));
        take(&mut a, at(1), acks, b"");
    }
    let late = out(&mut a, at(1) + Duration::from_micros(10));
    let mut again = out(&mut a, at(2));
    assert_eq!(hear(&mut b, at(2), again.clone()), SLOTS);
    let last = 65 - late.len();
    // Up to the last packet that leaves the late one in the window.
    while again.len() < last {
        let acks = out(&mut b, at(2));
        take(&mut a, at(2), acks, b"");
        fill(&mut a);
        for frame in out(&mut a, at(2)).into_iter().take(last - again.len()) {
            hear(&mut b, at(2), vec![frame.clone()]);
            again.push(frame);
        }
    }
    let before = (b.stats().duplicates, b.stats().dropped);
    assert_eq!(hear(&mut b, at(2), late), 0, "none is delivered again");
    assert_eq!(b.stats().dropped, before.1, "it is within the replay window");
    assert!(b.stats().duplicates >= before.0 + 20, "all of it is old");
}

#[test]
fn notifies_that_lie_ready_do_not_make_later_ones_look_old() {
    for slots in [32_000, 70_000] {
        as_many_come_as_lie_ready(slots);
    }
}

/// All that may be under way came out of order, is acknowledged, and lies with the receiver; then as many again come in order.
fn as_many_come_as_lie_ready(slots: usize) {
    let storage = || Odd::for_notifies(300, slots);
    let (mut a, mut b) = (boot(1, storage()), boot(2, storage()));
    exchange(&mut a, &mut b, at(0), b"");
    let fill = |a: &mut Endpoint<Odd>| core::iter::from_fn(|| a.notify(at(1), 1, b"").ok()).count();
    let mut sent = fill(&mut a);
    let mut frames = out(&mut a, at(1));
    let first = frames.remove(0);
    frames.push(first);
    let mut taken = 0;
    for millis in 1..1_000 {
        for frame in frames {
            taken += take(&mut b, at(millis), vec![frame], b"").len();
            let acks = out(&mut b, at(millis));
            take(&mut a, at(millis), acks, b"");
        }
        sent += fill(&mut a);
        frames = out(&mut a, at(millis));
    }
    assert!(taken < 100 && b.stats().deferred > 0, "the rest lies ready, and there is no room for more");
    for millis in 1_000..5_000 {
        for frame in core::mem::take(&mut frames) {
            taken += take(&mut b, at(millis), vec![frame], b"").len();
            taken += core::iter::from_fn(|| b.poll_notify().map(drop)).count();
        }
        let acks = out(&mut b, at(millis));
        take(&mut a, at(millis), acks, b"");
        frames = out(&mut a, at(millis));
    }
    assert!(a.is_idle(), "all are acknowledged");
    assert_eq!(taken, sent);
}

#[test]
fn second_copies_do_not_make_a_short_log_forget_what_is_under_way() {
    type Short = Endpoint<Buffers<48, 1, 1, 1, 1, 0, 4>>;
    // The log has room for a packet of two messages and its copy, and acks come later than a heartbeat.
    const ONE_WAY: u64 = 26;
    let config = |entropy: u64| Config {
        heartbeat: Duration::from_millis(50),
        initial_round_trip: Duration::from_millis(1),
        ..config(entropy)
    };
    let mut caller = Short::new(at(0), config(1), Buffers::new());
    let mut server = Short::new(at(0), Config { second_copy: true, active: false, ..config(2) }, Buffers::new());
    caller.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    // When it arrives, at which of them.
    let mut line: Vec<(u64, usize, Vec<u8>)> = Vec::new();
    let mut buf = [0; 64];
    for milli in 0..5_000 {
        let now = at(milli);
        for (index, node) in [&mut caller, &mut server].into_iter().enumerate() {
            let arrived = line.extract_if(.., |(at, to, _)| (*at, *to) == (milli, index)).collect::<Vec<_>>();
            for (_, _, mut frame) in arrived {
                let mut messages = node.handle_frame(now, &mut frame);
                while let Some(message) = messages.next(node) {
                    if let Message::Request { id, .. } = message {
                        node.respond(now, id, b"cba").unwrap();
                        node.notify(now, 7, b"done").unwrap();
                    }
                }
            }
            while let Some(len) = node.poll_transmit(now, &mut buf) {
                line.push((milli + ONE_WAY, 1 - index, buf[..len].to_vec()));
            }
        }
    }
    assert!(caller.is_idle() && server.is_idle());
}

#[test]
fn a_node_without_a_log_of_transmissions_ends_its_calls_all_the_same() {
    let (mut a, mut b) = (boot(1, Odd { sent: vec![], ..Odd::new() }), boot(2, Odd::new()));
    exchange(&mut a, &mut b, at(0), b"");
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(exchange(&mut a, &mut b, at(1), b"cba"), [b"abc", b"cba"]);
    let lost = a.call(at(2), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(out(&mut a, at(2)).len(), 1);
    a.handle_timeout(at(1_002));
    let error = CallError { reason: Reason::DeadlineExceeded, executed: Executed::Maybe };
    let ended = core::iter::from_fn(|| a.poll_event()).last();
    assert_eq!(ended, Some(Event::CallFailed { call: lost, error }));
}

#[test]
fn the_default_of_buffers_is_memory_without_content() {
    assert_eq!(std::format!("{:?}", <Buffers>::default()), std::format!("{:?}", <Buffers>::new()));
}

#[test]
fn packets_become_short_where_only_short_ones_arrive() {
    const PAYLOAD: usize = 500;
    let storage = || Odd {
        payload: PAYLOAD,
        notifies: vec![NotifySlot::FREE; 32],
        notify_payloads: vec![0; 32 * PAYLOAD],
        held: vec![HeldSlot::FREE; 32],
        held_payloads: vec![0; 32 * PAYLOAD],
        sent: vec![Transmission::NONE; 64],
        ..Odd::new()
    };
    let (mut a, mut b) = (boot(1, storage()), boot(2, storage()));
    exchange(&mut a, &mut b, at(0), b"");
    let mut lens = Vec::new();
    for milli in 1..2_000 {
        while a.notify(at(milli), 1, &[7; 60]).is_ok() {}
        lens.clear();
        for (index, frame) in (milli..).zip(out(&mut a, at(milli))) {
            lens.push(frame.len());
            if frame.len() < 200 || index % 3 == 0 {
                take(&mut b, at(milli), vec![frame], b"");
            }
        }
        while b.poll_notify().is_some() {}
        let acks = out(&mut b, at(milli));
        take(&mut a, at(milli), acks, b"");
    }
    // A short one and one to compare, each with its check.
    assert!(lens.iter().all(|len| *len <= 324) && lens.iter().any(|len| *len > 130), "{lens:?}");
}
