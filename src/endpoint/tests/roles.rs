//! Nodes that have no memory for a part of the protocol, nor the code for it.

use super::*;

type Client = Buffers<48, 2, 0, 0, 0, 0, 4>;
type Server = Buffers<48, 0, 2, 0, 0, 0, 4>;

/// What one side has been told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    requests: usize,
    responses: Vec<Vec<u8>>,
    one_way: usize,
}

fn pass<A: Storage, B: Storage>(from: &mut Endpoint<A>, to: &mut Endpoint<B>, now: Instant, told: &mut Told) -> bool {
    let mut buf = [0; 64];
    let Some(len) = from.poll_transmit(now, &mut buf) else { return false };
    let mut messages = to.handle_frame(now, &mut buf[..len]);
    while let Some(message) = messages.next(to) {
        match message {
            Message::Request { id, payload, .. } => {
                told.requests += 1;
                to.respond(now, id, payload).unwrap();
            }
            Message::Response { payload, .. } => told.responses.push(payload.to_vec()),
            Message::Notify { .. } | Message::Publish { .. } => told.one_way += 1,
        }
    }
    while to.poll_notify().is_some() {
        told.one_way += 1;
    }
    true
}

/// Lets both talk until neither has anything to say; what each of them was told.
fn talk<A: Storage, B: Storage>(a: &mut Endpoint<A>, b: &mut Endpoint<B>, now: Instant) -> (Told, Told) {
    let (mut to_a, mut to_b) = (Told::default(), Told::default());
    while pass(a, b, now, &mut to_b) | pass(b, a, now, &mut to_a) {}
    (to_a, to_b)
}

#[test]
fn a_node_that_only_calls_and_one_that_only_serves_get_along() {
    let (mut client, mut server) = (boot(1, Client::new()), boot(2, Server::new()));
    talk(&mut client, &mut server, at(0));
    for number in 0..300_u16 {
        client.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, &number.to_le_bytes()).unwrap();
        let (to_client, to_server) = talk(&mut client, &mut server, at(1));
        assert_eq!((to_client.responses, to_server.requests), (vec![number.to_le_bytes().to_vec()], 1));
    }
    assert!(client.is_idle());
    assert_eq!((server.stats().dropped.sum(), client.stats().dropped.sum()), (0, 0));
}

#[test]
fn what_a_node_has_no_memory_for_is_refused_at_once() {
    let (mut client, mut server) = (boot(1, Client::new()), boot(2, Server::new()));
    talk(&mut client, &mut server, at(0));
    assert_eq!(server.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b""), Err(SendError::Full));
    assert_eq!(server.notify(at(1), 7, b""), Err(SendError::Full));
    assert_eq!(client.publish(at(1), 7, b""), Err(SendError::Full));
    assert_eq!(server.free_calls(), 0);
}

#[test]
fn one_way_messages_to_a_node_without_room_for_any_are_acknowledged_and_dropped() {
    let mut full = boot(1, Buffers::<48, 2, 2, 2, 1, 1, 10>::new());
    let mut server = boot(2, Server::new());
    talk(&mut full, &mut server, at(0));
    for milli in 0..100 {
        full.notify(at(milli), 3, b"one way").unwrap();
        full.publish(at(milli), 4, b"one way").unwrap();
        let call = full.call(at(milli), 7, Semantics::AtMostOnce, TIMEOUT, b"abc").unwrap();
        let (to_full, to_server) = talk(&mut full, &mut server, at(milli));
        assert_eq!((to_full.responses, to_server.requests), (vec![b"abc".to_vec()], 1), "{call:?}");
        assert_eq!(to_server.one_way, 0);
    }
    talk(&mut full, &mut server, at(200));
    assert!(full.is_idle());
    assert_eq!(server.stats().dropped.sum(), 0);
}

#[test]
fn a_node_that_only_calls_offers_no_slots() {
    let (mut full, mut client) = (node(1), boot(2, Client::new()));
    talk(&mut full, &mut client, at(0));
    assert_eq!(full.free_calls(), 0);
    assert_eq!(full.call(at(1), 7, Semantics::AtMostOnce, TIMEOUT, b""), Err(SendError::Full));
}
