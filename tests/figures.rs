//! The figures that can be counted: bytes on the wire, answers drawn, round trips until a restart is noticed.

mod sim;

use bowline::{Semantics, SessionEnd};
use sim::frame::Kind;
use sim::trace::Sent;
use sim::{Scenario, Trace, World};

/// 5 ms each way, so 10 ms there and back.
const ROUND_TRIP: u64 = 10_000;

/// Two nodes on a perfect byte stream without work of their own; requests and responses of `len` bytes; connected.
fn quiet(len: usize) -> World {
    let quiet = Scenario::perfect(1).with_nodes(|plan| {
        (plan.work.gap, plan.work.payload, plan.service.response) = (0, (len, len), (len, len));
    });
    let mut world = World::new(quiet, Trace::open());
    assert!(world.run_until(1_000_000, World::is_settled));
    world.run_for(ROUND_TRIP);
    world
}

/// A calls B, and the world goes on until the call has ended.
fn exchange(world: &mut World) {
    let ok = world.shared.ledger.tally.ok;
    start_call(world);
    assert!(world.run_until(world.time + 1_000_000, |world| world.shared.ledger.tally.ok > ok));
}

fn start_call(world: &mut World) -> bool {
    let (link, shared) = (&mut world.links[0], &mut world.shared);
    let made = world.nodes[0].with_driver(world.time, link, shared, |up, at, shared| {
        let (endpoint, client, _, mut cx) = up.parts(at, shared);
        client.call(endpoint, Semantics::AtMostOnce, 10_000_000, &mut cx)
    });
    made == Some(true)
}

fn end(mut world: World) -> Vec<Sent> {
    let verdict = world.verdict();
    assert_eq!(verdict.broken, None, "\n{}", world.shared.trace.tail(world.time, 60));
    world.shared.trace.frames
}

/// A frame whose first message has this code (`PROTOCOL.md §7`).
fn has_code(frame: &Sent, codes: &[u8]) -> bool {
    matches!(frame.kind, Kind::Messages(first) if codes.contains(&(first >> 5)))
}

const REQUEST: [u8; 4] = [1, 2, 3, 4];
const RESPONSE: [u8; 2] = [5, 6];

#[test]
fn a_request_of_4_bytes_takes_16_bytes_and_one_more_with_an_ack() {
    let mut world = quiet(4);
    let before = world.shared.trace.frames.len();
    (0..100).for_each(|_| exchange(&mut world));
    let frames = end(world).split_off(before);
    let at_most = |codes: &[u8], len: usize| {
        let found: Vec<&Sent> = frames.iter().filter(|frame| has_code(frame, codes)).collect();
        assert_eq!(found.len(), 100);
        assert!(found.iter().all(|frame| frame.len - frame.ack_len <= len && frame.ack_len <= 1), "{found:?}");
    };
    at_most(&REQUEST, 16);
    // Their ack is counted within the 15 bytes.
    at_most(&RESPONSE, 14);
}

#[test]
fn a_bare_ack_takes_9_bytes() {
    let mut world = quiet(4);
    let before = world.shared.trace.frames.len();
    exchange(&mut world);
    world.run_for(1_000_000);
    let frames = end(world).split_off(before);
    let acks: Vec<usize> = frames.iter().filter(|f| f.kind == Kind::BareAck).map(|f| f.len).collect();
    assert!(!acks.is_empty());
    assert!(acks.iter().all(|len| *len <= 9), "{acks:?}");
}

#[test]
fn a_steady_exchange_of_8_bytes_each_way_costs_40_bytes() {
    let mut world = quiet(8);
    (0..20).for_each(|_| exchange(&mut world));
    let before = world.shared.trace.frames.len();
    (0..1_000).for_each(|_| exchange(&mut world));
    let bytes: usize = end(world).split_off(before).iter().map(|frame| frame.len).sum();
    println!("{} bytes per call", bytes as f64 / 1_000.0);
    assert!(bytes <= 40_000, "{bytes} bytes for 1 000 calls");
}

#[test]
fn a_restart_of_the_peer_is_noticed_within_two_round_trips_and_its_start_up() {
    const START_UP: u64 = 3_000;
    for moment in (0..40).map(|part| part * ROUND_TRIP / 20) {
        let mut world = quiet(8);
        (0..20).for_each(|_| exchange(&mut world));
        // Traffic: A calls whenever it may.
        let crash_at = world.time + 5 * ROUND_TRIP + moment;
        while world.time < crash_at {
            while start_call(&mut world) {}
            world.run_until((world.time + 1_000).min(crash_at), |_| false);
        }
        world.nodes[1].crash(crash_at, &mut world.links[1], &mut world.shared);
        world.nodes[1].boot_at(crash_at + START_UP);
        let until = crash_at + START_UP + 2 * ROUND_TRIP;
        while world.time < until {
            while start_call(&mut world) {}
            world.run_until((world.time + 1_000).min(until), |_| false);
        }
        let noticed = world.nodes[0].up.as_ref().and_then(|up| up.client.last_end);
        let told = matches!(noticed, Some((_, SessionEnd::PeerRestarted)));
        assert!(told, "crash at {crash_at}: {noticed:?}\n{}", world.shared.trace.tail(world.time, 60));
        end(world);
    }
}
