//! Each kind of port by itself.

use std::fs::remove_file;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use bowline::drivers::blocking::{Frames, Node, Port};
use bowline::drivers::host::{self, HostNode, Serial, Tcp, Udp, Unix};
use bowline::drivers::udp_server::UdpServer;
use bowline::frame_len;
use bowline::{Buffers, Config};

use crate::rig::{add_up, cable, pty, serve, sockets, temporary};

#[test]
fn calls_go_over_a_serial_port() {
    let (here, there) = cable();
    let effects = serve(Serial::new(there, 115_200));
    add_up(&mut host::node(Serial::new(here, 115_200)), &effects);
}

#[test]
fn calls_go_over_tcp() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut node = host::node(Tcp::connect(listener.local_addr().unwrap()));
    let accepted = thread::spawn(move || serve(Tcp::accepted(listener.accept().unwrap().0).unwrap()));
    // The connection is made by the first use.
    node.poll();
    add_up(&mut node, &accepted.join().unwrap());
}

#[test]
fn calls_go_over_a_unix_socket() {
    let path = temporary("unix");
    let listener = UnixListener::bind(&path).unwrap();
    let mut node = host::node(Unix::connect(&path));
    node.poll();
    let effects = serve(Unix::accepted(listener.accept().unwrap().0).unwrap());
    add_up(&mut node, &effects);
    remove_file(path).unwrap();
}

#[test]
fn calls_go_over_udp() {
    let [here, there] = sockets();
    let effects = serve(Udp::connected(there));
    add_up(&mut host::node(Udp::connected(here)), &effects);
}

#[test]
fn a_node_can_be_moved_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<HostNode<Serial>>();
    is_send::<HostNode<Tcp>>();
    is_send::<HostNode<Unix>>();
    is_send::<HostNode<Udp>>();
    is_send::<UdpServer<Buffers>>();
}

#[test]
fn an_accepted_connection_that_has_ended_is_not_opened_again() {
    let (here, there) = UnixStream::pair().unwrap();
    let mut port = Unix::accepted(here).unwrap();
    drop(there);
    let mut buf = [0; 32];
    assert_eq!(port.receive(&mut buf, None).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(port.receive(&mut buf, None).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(port.reopen().unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(port.send(&buf).unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[test]
fn a_peer_that_does_not_read_blocks_nobody() {
    fn fill(mut port: impl Port<Error = io::Error>) {
        let mut refused = 0;
        for _ in 0..1_000_000 {
            let len = port.send(&[0x55; 30_000]).unwrap();
            assert!(len <= 30_000);
            refused = if len == 0 { refused + 1 } else { 0 };
            if refused == 3 {
                return;
            }
        }
        panic!("it never filled up");
    }
    let (_end, path) = pty();
    fill(Serial::new(path, 115_200));
    let (here, _there) = UnixStream::pair().unwrap();
    fill(Unix::accepted(here).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    fill(Tcp::connect(listener.local_addr().unwrap()));
}

/// How often this thread has waited for anything so far.
#[cfg(target_os = "linux")]
fn waits() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_main_loop_with_other_work_never_waits() {
    fn check(port: impl Port<Error = io::Error>) {
        let mut node = Node::new(port, Config::from_os(), Buffers::<48>::new(), Frames::<{ frame_len(48) }>::new());
        node.poll();
        let before = waits();
        let timers = (0..1_000).filter_map(|_| node.poll()).count();
        assert_eq!(timers, 1_000);
        // Now and then a lock of the system's is taken.
        assert!(waits() - before < 100);
    }
    let (_end, path) = pty();
    check(Serial::new(path, 115_200));
    let (here, _there) = UnixStream::pair().unwrap();
    check(Unix::accepted(here).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    check(Tcp::connect(listener.local_addr().unwrap()));
    let quiet = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    check(Udp::connect(quiet.local_addr().unwrap()));
}
