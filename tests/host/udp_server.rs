//! One socket, many clients.

use std::cell::RefCell;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::{thread, time};

use bowline::drivers::blocking::{Frames, Node, Port};
use bowline::drivers::host::{self, HostBuffers, Udp};
use bowline::drivers::udp_server::UdpServer;
use bowline::{
    Buffers, CallError, Config, Duration, Endpoint, Executed, Incarnation, Instant, Parts, Reason, Storage, frame_len,
};

use crate::rig::{Add, Device, IsOdd, server};

#[test]
fn clients_without_a_place_are_not_executed_and_get_one_when_others_leave() {
    let mut server = server(4, Buffers::<48>::new);
    let addr = server.socket().local_addr().unwrap();
    thread::spawn(move || server.run());
    let mut inside: Vec<_> = (0..4).map(|_| host::node(Udp::connect(addr))).collect();
    for (client, number) in inside.iter_mut().zip(1..) {
        assert_eq!(client.call::<Add>(&number), Ok(number));
    }
    let mut outside = host::node(Udp::connect(addr)).timeout(Duration::from_millis(300));
    let error = CallError { reason: Reason::Unreachable, executed: Executed::No };
    assert_eq!(outside.call::<Add>(&9), Err(error));
    for (client, number) in inside.iter_mut().zip(1..) {
        assert_eq!(client.call::<Add>(&number), Ok(2 * number));
    }
    let mut left = inside.remove(0);
    let now = left.port().now();
    left.endpoint().close(now);
    left.poll();
    let mut outside = outside.timeout(Duration::from_secs(60));
    assert_eq!(outside.call::<Add>(&9), Ok(9));
    for (client, number) in inside.iter_mut().zip(2..) {
        assert_eq!(client.call::<Add>(&number), Ok(3 * number));
    }
}

#[test]
fn an_answer_can_be_put_off_until_after_the_turn() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = socket.local_addr().unwrap();
    let waiting = RefCell::new(Vec::new());
    let mut server = UdpServer::new(socket, Config::from_os(), 4, Buffers::<48>::new).unwrap().serve::<Device>(
        |client, _context, message| {
            if let Device::Add(number, reply) = message {
                waiting.borrow_mut().push((client, number, reply));
            }
        },
    );
    let caller = thread::spawn(move || {
        // Says nothing of its own while it waits.
        let config = Config { lease: Duration::from_secs(60), ..Config::from_os() };
        let mut caller =
            Node::new(Udp::connect(addr), config, HostBuffers::new(), Frames::<{ frame_len(1024) }>::new());
        caller.call::<Add>(&7)
    });
    while waiting.borrow().is_empty() {
        server.turn();
    }
    // The caller is told that its request has come, and then another datagram comes.
    server.turn();
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(b"?", addr).unwrap();
    server.turn();
    let (client, number, reply) = waiting.borrow_mut().remove(0);
    server.context(client).unwrap().reply(reply, &(number * 2));
    server.turn();
    assert_eq!(caller.join().unwrap(), Ok(14));
}

/// Memory of a client that is counted.
struct Counted(Buffers);

static COUNTED: AtomicUsize = AtomicUsize::new(0);
static MOST_COUNTED: AtomicUsize = AtomicUsize::new(0);

impl Counted {
    fn new() -> Self {
        MOST_COUNTED.fetch_max(COUNTED.fetch_add(1, SeqCst) + 1, SeqCst);
        Self(Buffers::new())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTED.fetch_sub(1, SeqCst);
    }
}

impl Storage for Counted {
    fn parts(&mut self) -> Parts<'_> {
        self.0.parts()
    }
}

/// The first frame of a node that looks for a peer.
fn hello(endpoint: &mut Endpoint<Buffers>) -> Vec<u8> {
    let mut buf = vec![0; 64];
    endpoint.handle_timeout(Instant::from_micros(0));
    let len = endpoint.poll_transmit(Instant::from_micros(0), &mut buf).unwrap();
    buf.truncate(len);
    buf
}

fn stranger(entropy: u64) -> Endpoint<Buffers> {
    Endpoint::new(Instant::from_micros(0), Config::new(Incarnation::random(entropy)), Buffers::new())
}

#[test]
fn a_crowd_of_strangers_takes_no_memory_and_no_place_from_a_client() {
    let mut server = server(8, Counted::new);
    let addr = server.socket().local_addr().unwrap();
    thread::spawn(move || server.run());
    let mut client = host::node(Udp::connect(addr)).timeout(Duration::from_secs(60));
    assert_eq!(client.call::<IsOdd>(&false), Ok(true));
    let crowd = thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(1);
        for number in 0..2_000 {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let garbage: Vec<u8> = (0..random.usize(0..1500)).map(|_| random.u8(..)).collect();
            socket.send_to(&garbage, addr).unwrap();
            socket.send_to(&hello(&mut stranger(number)), addr).unwrap();
        }
    });
    let mut newcomer = host::node(Udp::connect(addr)).timeout(Duration::from_secs(60));
    // It may lose its place before its session is up, as anyone may who has proven nothing.
    while newcomer.call::<IsOdd>(&false).is_err() {}
    for sum in 1..=200 {
        assert_eq!(newcomer.call::<Add>(&1), Ok(sum));
        assert_eq!(client.call::<Add>(&1), Ok(sum));
    }
    crowd.join().unwrap();
    // Strangers have all other places now.
    let mut latecomer = host::node(Udp::connect(addr)).timeout(Duration::from_secs(60));
    assert_eq!(latecomer.call::<Add>(&1), Ok(1));
    assert_eq!(client.call::<Add>(&1), Ok(201));
    // And the one that the server makes to see how large it is.
    assert_eq!(MOST_COUNTED.load(SeqCst), 8);
    assert!(COUNTED.load(SeqCst) <= 8);
}

/// Bytes that come until none have come for a while.
fn drain(socket: &UdpSocket) -> usize {
    socket.set_read_timeout(Some(time::Duration::from_millis(700))).unwrap();
    let (mut bytes, mut buf) = (0, [0; 2048]);
    while let Ok(len) = socket.recv(&mut buf) {
        bytes += len;
    }
    bytes
}

#[test]
fn a_stranger_gets_no_more_than_three_times_what_it_sent() {
    let mut server = server(100, Buffers::<48>::new);
    let addr = server.socket().local_addr().unwrap();
    thread::spawn(move || server.run());
    let mut random = fastrand::Rng::with_seed(2);
    let strangers: Vec<(UdpSocket, usize)> = (0..60)
        .map(|number| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(addr).unwrap();
            let mut sent = 0;
            for _ in 0..1 + number % 5 {
                let datagram: Vec<u8> = match number % 3 {
                    0 => hello(&mut stranger(number)),
                    1 => (0..1 + number).map(|_| random.u8(..)).collect(),
                    _ => {
                        let mut cut = hello(&mut stranger(number));
                        cut.truncate(random.usize(1..cut.len()));
                        cut
                    }
                };
                sent += socket.send(&datagram).unwrap();
            }
            (socket, sent)
        })
        .collect();
    thread::sleep(time::Duration::from_millis(700));
    let answers: Vec<(usize, usize)> = strangers.iter().map(|(socket, sent)| (*sent, drain_now(socket))).collect();
    assert!(answers.iter().filter(|(_, got)| *got > 0).count() >= 20, "{answers:?}");
    assert!(answers.iter().all(|(sent, got)| *got <= 3 * sent), "{answers:?}");
}

/// Bytes that have come.
fn drain_now(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let (mut bytes, mut buf) = (0, [0; 2048]);
    while let Ok(len) = socket.recv(&mut buf) {
        bytes += len;
    }
    bytes
}

#[test]
fn who_knows_the_challenge_for_one_address_cannot_answer_for_another() {
    let mut server = server(100, Buffers::<48>::new);
    let addr = server.socket().local_addr().unwrap();
    thread::spawn(move || server.run());
    let [honest, forged] = [(); 2].map(|()| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(addr).unwrap();
        socket
    });
    let mut attacker = stranger(7);
    honest.send(&hello(&mut attacker)).unwrap();
    let mut buf = [0; 2048];
    let len = honest.recv(&mut buf).unwrap();
    let now = Instant::from_micros(1_000);
    let _nothing = attacker.handle_frame(now, &mut buf[..len]);
    let len = attacker.poll_transmit(now, &mut buf).expect("the server's challenge is answered");
    // From the address that it was for, this makes a session, in which the server goes on greeting.
    forged.send(&buf[..len]).unwrap();
    let got = drain(&forged);
    assert!(got <= 3 * len, "{got} bytes for {len}");
    honest.send(&buf[..len]).unwrap();
    assert!(drain(&honest) > 3 * len);
}
