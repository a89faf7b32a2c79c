//! Ports that fail and come back.

use std::cell::Cell;
use std::fs::remove_file;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time;

use bowline::drivers::LinkEvent;
use bowline::drivers::blocking::Port;
use bowline::drivers::host::{self, Serial, Tcp, Udp, Unix};
use bowline::{CallError, Duration, Event, Executed, Instant, Reason};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::rig::{Add, IsOdd, device, pty, serve, temporary};

/// What a test wants to know of the events of a node.
#[derive(Default)]
struct Seen {
    failed: Cell<u32>,
    restored: Cell<u32>,
    sessions: Cell<u32>,
}

impl Seen {
    fn note(&self, event: LinkEvent<io::Error>) {
        match event {
            LinkEvent::PortFailed(_) => self.failed.set(self.failed.get() + 1),
            LinkEvent::PortRestored => self.restored.set(self.restored.get() + 1),
            LinkEvent::Endpoint(Event::Connected) => self.sessions.set(self.sessions.get() + 1),
            LinkEvent::Endpoint(_) => {}
        }
    }
}

#[test]
fn a_tcp_peer_that_goes_and_comes_back_is_one_failure_and_one_recovery() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Seen::default();
    let mut node =
        host::node(Tcp::connect(addr)).timeout(Duration::from_millis(500)).on_event(|event| seen.note(event));
    node.poll();
    let is_over = Arc::new(AtomicBool::new(false));
    let server = serve_until(Arc::clone(&is_over), listener.accept().unwrap().0);
    assert_eq!(node.call::<Add>(&1), Ok(1));
    assert_eq!((seen.failed.get(), seen.restored.get()), (0, 0));

    drop(listener);
    is_over.store(true, SeqCst);
    server.join().unwrap();
    let error = node.call::<Add>(&1).unwrap_err();
    assert_ne!(error.executed, Executed::Yes);
    assert_eq!((seen.failed.get(), seen.restored.get()), (1, 0));

    let listener = TcpListener::bind(addr).unwrap();
    thread::spawn(move || serve(Tcp::accepted(listener.accept().unwrap().0).unwrap()));
    while seen.sessions.get() < 2 {
        node.turn();
    }
    // A sum of its own: this is another life of the peer.
    assert_eq!(node.timeout(Duration::from_secs(60)).call::<Add>(&5), Ok(5));
    assert_eq!((seen.failed.get(), seen.restored.get(), seen.sessions.get()), (1, 1, 2));
}

/// Serves over a connection and drops it in the end.
fn serve_until(is_over: Arc<AtomicBool>, stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut device = device(Tcp::accepted(stream).unwrap(), Arc::default());
        while !is_over.load(SeqCst) {
            device.poll();
            thread::sleep(time::Duration::from_millis(1));
        }
    })
}

/// A USB adapter: a serial port on one side while it is plugged in, a line on the other.
struct Adapter {
    path: PathBuf,
    is_pulled: Arc<AtomicBool>,
    relay: JoinHandle<UnixStream>,
}

impl Adapter {
    /// Plugs it in: its serial port is found at `path`.
    fn plug(path: &PathBuf, mut line: UnixStream) -> Self {
        let (mut end, name) = pty();
        symlink(name, path).unwrap();
        let is_pulled = Arc::new(AtomicBool::new(false));
        let pulled = Arc::clone(&is_pulled);
        let relay = thread::spawn(move || {
            let wait = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let mut buf = [0; 1024];
            while !pulled.load(SeqCst) {
                let mut ready = [PollFd::new(&line, PollFlags::IN), PollFd::new(&end, PollFlags::IN)];
                poll(&mut ready, Some(&wait)).unwrap();
                let [from_line, from_end] = [0, 1].map(|which| ready[which].revents().contains(PollFlags::IN));
                if from_line {
                    let len = line.read(&mut buf).unwrap();
                    end.write_all(&buf[..len]).unwrap();
                }
                if from_end {
                    let len = end.read(&mut buf).unwrap();
                    line.write_all(&buf[..len]).unwrap();
                }
            }
            line
        });
        Self { path: path.clone(), is_pulled, relay }
    }

    /// Pulls it out.
    fn pull(self) -> UnixStream {
        // The name first: the system gives the number of the pseudo-terminal to the next one.
        remove_file(&self.path).unwrap();
        self.is_pulled.store(true, SeqCst);
        self.relay.join().unwrap()
    }
}

#[test]
fn a_serial_port_that_is_pulled_and_comes_back_goes_on_with_its_session() {
    let path = temporary("tty");
    let (line, device) = UnixStream::pair().unwrap();
    let effects = serve(Unix::accepted(device).unwrap());
    let mut adapter = Adapter::plug(&path, line);
    let seen = Seen::default();
    let mut node = host::node(Serial::new(path.display(), 115_200)).on_event(|event| seen.note(event));
    let mut sum = 0;
    for pulls in 1..=5 {
        for _ in 0..10 {
            sum += 1;
            assert_eq!(node.call::<Add>(&1), Ok(sum));
        }
        let line = adapter.pull();
        while seen.failed.get() < pulls {
            node.turn();
        }
        // It is tried in vain a few times.
        (0..4).for_each(|_| node.turn());
        assert_eq!((seen.failed.get(), seen.restored.get()), (pulls, pulls - 1));
        adapter = Adapter::plug(&path, line);
    }
    assert_eq!(node.call::<IsOdd>(&false), Ok(true));
    assert_eq!((seen.failed.get(), seen.restored.get(), seen.sessions.get()), (5, 5, 1));
    assert_eq!(effects.add.load(SeqCst), 50);
    adapter.pull();
}

#[test]
fn nothing_was_executed_when_there_is_no_port() {
    let seen = Seen::default();
    let mut node = host::node(Serial::new(temporary("none").display(), 115_200))
        .timeout(Duration::from_millis(200))
        .on_event(|event| seen.note(event));
    let error = CallError { reason: Reason::Unreachable, executed: Executed::No };
    assert_eq!(node.call::<Add>(&1), Err(error));
    assert_eq!(node.call::<Add>(&1), Err(error));
    assert_eq!((seen.failed.get(), seen.restored.get()), (1, 0));
}

#[test]
fn a_datagram_that_nobody_takes_is_lost_and_no_failure() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let seen = Seen::default();
    let mut node =
        host::node(Udp::connect(closed)).timeout(Duration::from_millis(300)).on_event(|event| seen.note(event));
    let error = CallError { reason: Reason::Unreachable, executed: Executed::No };
    assert_eq!(node.call::<Add>(&1), Err(error));
    assert!(node.endpoint().stats().hellos_sent > 1);
    assert_eq!(seen.failed.get(), 0);
}

/// A port that fails for ever after it has taken `room` more bytes.
struct Cut<'a> {
    inner: Unix,
    room: &'a Cell<Option<usize>>,
}

impl Port for Cut<'_> {
    type Error = io::Error;

    const IS_DATAGRAM: bool = false;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn sleep(&mut self, until: Instant) {
        self.inner.sleep(until);
    }

    fn receive(&mut self, buf: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        self.inner.receive(buf, until)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.get() else { return self.inner.send(bytes) };
        if room == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = self.inner.send(&bytes[..room.min(bytes.len())])?;
        self.room.set(Some(room - taken));
        Ok(taken)
    }
}

#[test]
fn a_port_that_has_taken_a_part_of_a_request_may_have_sent_it_and_one_that_took_nothing_has_not() {
    for (room, executed) in [(0, Executed::No), (1, Executed::Maybe), (8, Executed::Maybe)] {
        let (here, there) = UnixStream::pair().unwrap();
        let effects = serve(Unix::accepted(there).unwrap());
        let cut = Cell::new(None);
        let mut node = host::node(Cut { inner: Unix::accepted(here).unwrap(), room: &cut });
        assert_eq!(node.call::<Add>(&1), Ok(1));
        // No acks are under way any more.
        (0..2).for_each(|_| node.turn());
        cut.set(Some(room));
        node = node.timeout(Duration::from_millis(100));
        let error = CallError { reason: Reason::DeadlineExceeded, executed };
        assert_eq!(node.call::<Add>(&1), Err(error), "{room} bytes");
        assert_eq!(effects.add.load(SeqCst), 1);
    }
}
