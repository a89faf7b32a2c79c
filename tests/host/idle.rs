//! Nodes without work.

use std::fs::read_to_string;
use std::{thread, time};

use bowline::Buffers;
use bowline::drivers::blocking::Port;
use bowline::drivers::host::{self, HostNode, Serial, Udp};

use crate::rig::{Add, cable, serve, server, sockets};

/// Turns a node for five seconds, says what that took of a core, and returns the number of turns.
fn idle(name: &str, mut turn: impl FnMut()) -> u32 {
    // Nanoseconds that this thread has run.
    let busy =
        || -> Option<f64> { read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok() };
    let (start, before) = (time::Instant::now(), busy());
    let mut turns = 0;
    while start.elapsed() < time::Duration::from_secs(5) {
        turn();
        turns += 1;
    }
    let (elapsed, after) = (start.elapsed(), busy());
    if let (Some(before), Some(after)) = (before, after) {
        let share = (after - before) / elapsed.as_nanos() as f64 * 100.0;
        println!("{name}: {turns} turns in {elapsed:.1?}, {share:.4} % of a core");
        assert!(share < 1.0, "{share} % of a core");
    }
    turns
}

/// Connected, without work, and no acks under way.
fn settle(mut node: HostNode<impl Port>) -> HostNode<impl Port> {
    assert_eq!(node.call::<Add>(&1), Ok(1));
    (0..2).for_each(|_| node.turn());
    node
}

// A keepalive each 2.5 s, with what it draws.
const IDLE_TURNS: u32 = 40;

#[test]
fn a_node_without_work_sleeps_at_its_serial_port() {
    let (here, there) = cable();
    serve(Serial::new(there, 115_200));
    let mut node = settle(host::node(Serial::new(here, 115_200)));
    assert!(idle("serial", || node.turn()) < IDLE_TURNS);
    assert!(node.endpoint().is_connected());
}

#[test]
fn a_node_without_work_sleeps_at_its_udp_socket() {
    let [here, there] = sockets();
    serve(Udp::connected(there));
    let mut node = settle(host::node(Udp::connected(here)));
    assert!(idle("udp", || node.turn()) < IDLE_TURNS);
    assert!(node.endpoint().is_connected());
}

#[test]
fn a_server_without_work_sleeps() {
    let mut server = server(10, Buffers::<48>::new);
    let addr = server.socket().local_addr().unwrap();
    let clients = [(); 3].map(|()| host::node(Udp::connect(addr)));
    let clients = clients.map(|mut client| thread::spawn(move || client.run()));
    while server.clients().count() < clients.len() {
        server.turn();
    }
    (0..6).for_each(|_| server.turn());
    assert!(idle("server", || server.turn()) < 3 * IDLE_TURNS);
    assert_eq!(server.clients().count(), 3);
}
