//! Two endpoints in one process, frame by frame.

mod drivers;
mod hostile;
mod memory;
mod numbers;
mod odd;
mod others;
mod packing;
mod roles;
mod stragglers;
mod surface;
mod timing;

use std::vec::Vec;

use super::*;
use crate::{Buffers, CallError, Executed, Incarnation, Message, Reason, SessionEnd, Storage};

type Node = Endpoint<Buffers>;
/// With memory for publishes as well.
type Full = Endpoint<Buffers<48, 2, 2, 2, 1, 1, 10>>;

const TIMEOUT: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

fn config(entropy: u64) -> Config {
    Config::new(Incarnation::random(entropy << 32 | entropy))
}

fn boot<S: Storage>(entropy: u64, storage: S) -> Endpoint<S> {
    Endpoint::new(at(0), config(entropy), storage)
}

fn node(entropy: u64) -> Node {
    boot(entropy, Buffers::new())
}

fn frames(node: &mut Node, now: Instant) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buf = [0; 64];
    while let Some(len) = node.poll_transmit(now, &mut buf) {
        frames.push(buf[..len].to_vec());
        assert!(frames.len() < 100, "it never stops sending");
    }
    frames
}

fn events(node: &mut Node) -> Vec<Event> {
    core::iter::from_fn(|| node.poll_event()).collect()
}

/// Hands frames to a node that answers each request with its payload reversed; returns the responses.
fn deliver(node: &mut Node, now: Instant, frames: &[Vec<u8>]) -> Vec<(Call, Vec<u8>)> {
    let mut responses = Vec::new();
    for frame in frames {
        let mut frame = frame.clone();
        let mut messages = node.handle_frame(now, &mut frame);
        while let Some(message) = messages.next(node) {
            match message {
                Message::Request { id, payload, .. } => {
                    let answer: Vec<u8> = payload.iter().rev().copied().collect();
                    node.respond(now, id, &answer).unwrap();
                }
                Message::Response { call, payload } => responses.push((call, payload.to_vec())),
                _ => {}
            }
        }
    }
    responses
}

/// Hands frames to a node and counts the requests that reach its handler; nothing is answered.
fn execute(node: &mut Node, now: Instant, frames: &[Vec<u8>]) -> usize {
    let mut executed = 0;
    for frame in frames {
        let mut frame = frame.clone();
        let mut messages = node.handle_frame(now, &mut frame);
        while let Some(message) = messages.next(node) {
            executed += usize::from(matches!(message, Message::Request { .. }));
        }
    }
    executed
}

/// Lets time pass until `end` at a node that nobody hears; returns how many frames it sent.
fn alone(node: &mut Node, end: Instant) -> usize {
    // What waits for the port needs no timer.
    let mut sent = frames(node, at(0)).len();
    for _ in 0..10_000 {
        let Some(now) = node.poll_timeout().filter(|now| *now <= end) else { return sent };
        node.handle_timeout(now);
        sent += frames(node, now).len();
    }
    panic!("it never rests");
}

/// Lets both talk until neither has anything to say.
fn talk(a: &mut Node, b: &mut Node, now: Instant) -> Vec<(Call, Vec<u8>)> {
    let mut responses = Vec::new();
    loop {
        let from_a = frames(a, now);
        deliver(b, now, &from_a);
        let from_b = frames(b, now);
        responses.extend(deliver(a, now, &from_b));
        if from_a.is_empty() && from_b.is_empty() {
            return responses;
        }
    }
}

fn connected() -> (Node, Node) {
    let (mut a, mut b) = (node(1), node(2));
    talk(&mut a, &mut b, at(0));
    assert_eq!((events(&mut a), events(&mut b)), (vec![Event::Connected], vec![Event::Connected]));
    (a, b)
}

#[test]
fn a_call_is_executed_and_answered() {
    let (mut a, mut b) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(talk(&mut a, &mut b, at(1)), [(call, b"cba".to_vec())]);
    assert!(a.is_idle());
}

#[test]
fn a_lost_response_is_answered_again_without_a_second_execution() {
    let (mut a, mut b) = connected();
    a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let request = frames(&mut a, at(1));
    deliver(&mut b, at(1), &request);
    let lost = frames(&mut b, at(1));
    assert_eq!(lost.len(), 1);
    let again = a.poll_timeout().unwrap();
    let repeated = frames(&mut a, again);
    assert_eq!(execute(&mut b, again, &repeated), 0);
    let replies = frames(&mut b, again);
    assert_eq!(deliver(&mut a, again, &replies).len(), 1);
}

#[test]
fn a_ping_does_not_make_its_peer_repeat_what_is_under_way() {
    let (mut a, mut b) = connected();
    let now = b.poll_timeout().unwrap();
    let ping = frames(&mut b, now);
    assert_eq!(ping.len(), 1);
    // Longer ago than a round trip here, but not by the sixteenth that a probe waits for.
    let just_before = Instant::from_micros(now.as_micros() - 20);
    a.call(just_before, 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    assert_eq!(frames(&mut a, just_before).len(), 1);
    deliver(&mut a, now, &ping);
    frames(&mut a, now);
    assert_eq!(a.stats().retransmits, 0);
}

#[test]
fn a_second_copy_replaces_a_lost_first_one_and_draws_no_ack_of_its_own() {
    let config = |entropy: u64| Config { second_copy: true, ..config(entropy) };
    let pair = || {
        let mut pair = (1..=2).map(|entropy| Endpoint::new(at(0), config(entropy), Buffers::new()));
        let (mut a, mut b): (Node, Node) = (pair.next().unwrap(), pair.next().unwrap());
        talk(&mut a, &mut b, at(0));
        (a, b)
    };
    for lost in [None, Some(0), Some(1)] {
        let (mut a, mut b) = pair();
        let call = a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        let mut requests = frames(&mut a, at(1));
        assert_eq!(requests.len(), 2);
        lost.map(|index| requests.remove(index));
        let mut responses = Vec::new();
        for request in requests {
            deliver(&mut b, at(1), &[request]);
            responses.extend(frames(&mut b, at(1)));
        }
        assert_eq!(responses.len(), 2, "each with the ack");
        assert_eq!(deliver(&mut a, at(1), &responses), [(call, b"cba".to_vec())]);
    }
}

#[test]
fn there_is_no_second_copy_while_something_else_waits() {
    let config = Config { second_copy: true, ..config(1) };
    let (mut a, mut b): (Node, Node) = (Endpoint::new(at(0), config, Buffers::new()), node(2));
    talk(&mut a, &mut b, at(0));
    for _ in 0..2 {
        a.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, &[1; 40]).unwrap();
    }
    // One call does not fit beside the other: the first is not repeated, the second is.
    assert_eq!(frames(&mut a, at(1)).len(), 3);
}

#[test]
fn nobody_there_means_unreachable_and_not_executed() {
    let mut a = node(1);
    let call = a.call(at(0), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
    let greetings = alone(&mut a, at(1_000));
    let error = CallError { reason: Reason::Unreachable, executed: Executed::No };
    assert_eq!(events(&mut a), [Event::CallFailed { call, error }]);
    assert!((3..10).contains(&greetings), "{greetings}");
    assert_eq!(a.free_calls(), 2);
}

#[test]
fn a_silent_peer_is_lost_when_the_lease_ends_and_the_call_may_have_been_executed() {
    let (mut a, _) = connected();
    let call = a.call(at(1), 7, Semantics::AtMostOnce, Duration::from_secs(60), b"abc").unwrap();
    let sent = alone(&mut a, at(10_000));
    let error = CallError { reason: Reason::PeerLost, executed: Executed::Maybe };
    let lost = Event::Disconnected { reason: SessionEnd::PeerLost, notifies_unconfirmed: 0 };
    assert_eq!(events(&mut a), [lost, Event::CallFailed { call, error }]);
    assert!(sent < 100, "{sent}");
}
