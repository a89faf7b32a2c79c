//! Ports on an operating system: [`Serial`] port, [`Tcp`], [`Unix`] and [`Udp`] socket.
//!
//! ```no_run
//! use bowline::drivers::host;
//!
//! bowline::interface! {
//!     pub enum Lamp {
//!         at_most_once Toggle(u8) -> bool;
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut lamps = host::node(host::Serial::new("/dev/ttyUSB0", 115_200));
//!     let is_lit = lamps.call::<Toggle>(&3)?;
//!     println!("{is_lit}");
//!     Ok(())
//! }
//! ```
//!
//! A port is opened when it is used first, and again after it has failed: a serial adapter may be pulled and come back,
//! the other end of a socket may restart. [`Node`] waits in between, longer each time, and reports
//! [`PortFailed`](super::LinkEvent::PortFailed) and [`PortRestored`](super::LinkEvent::PortRestored).
//!
//! The node does nothing else while it opens a port, and a call may end as much later: looking up a name takes as long as
//! the system's resolver does, a TCP connection up to a second for each address, and one over a Unix socket waits as
//! long as the listener accepts nobody and its backlog is full. On Windows, sockets wait for multiples of half a second, so
//! timers are late; prefer `drivers::tokio` there.

#[cfg(feature = "serial")]
use std::boxed::Box;
use std::io;
#[cfg(feature = "net")]
use std::io::{Read, Write};
#[cfg(feature = "net")]
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
#[cfg(all(feature = "net", unix))]
use std::os::unix::net::UnixStream;
#[cfg(all(feature = "net", unix))]
use std::path::PathBuf;
use std::string::{String, ToString};
use std::{thread, time};

use super::blocking::{Frames, Node, Port};
#[cfg(feature = "net")]
use super::is_lost;
use crate::config::Config;
use crate::storage::Buffers;
use crate::time::{Duration, Instant};
use crate::wire::frame_len;

/// How long to wait for bytes at most before the caller is asked again.
const MAX_WAIT: time::Duration = time::Duration::from_secs(10);

/// How long to wait for room when the other side does not read.
const SEND_WAIT: time::Duration = time::Duration::from_millis(10);

/// How long to wait for a TCP connection to each address of the peer.
#[cfg(feature = "net")]
const CONNECT_WAIT: time::Duration = time::Duration::from_secs(1);

/// Bytes of the largest payload of a [`node`]: its frames fit a datagram that every IPv6 network takes.
const PAYLOAD: usize = 1024;

/// Memory of a node on a host: payloads of up to 1 KiB, 8 calls, 8 requests, 8 notifications each way, 4 topics.
pub type HostBuffers = Buffers<PAYLOAD, 8, 8, 8, 8, 4, 36>;

/// A node on a host.
pub type HostNode<P> = Node<P, HostBuffers, { frame_len(PAYLOAD) }>;

/// A serial port.
#[cfg(feature = "serial")]
pub type Serial = HostPort<SerialPath>;

/// A TCP connection.
#[cfg(feature = "net")]
pub type Tcp = HostPort<TcpAddress>;

/// A connection over a Unix socket.
#[cfg(all(feature = "net", unix))]
pub type Unix = HostPort<UnixAddress>;

/// A connected UDP socket.
///
/// That nobody listened to a datagram is no failure: it is lost like any other.
#[cfg(feature = "net")]
pub type Udp = HostPort<UdpAddress>;

/// A node with [`Config::from_os`] and [`HostBuffers`]. For other sizes, use [`Node::new`].
pub fn node<P: Port>(port: P) -> HostNode<P> {
    Node::new(port, Config::from_os(), HostBuffers::new(), Frames::new())
}

/// Opens what a [`HostPort`] reads and writes. Implement it for streams of other kinds.
pub trait Source {
    /// What was opened.
    type Handle;

    /// Whether it keeps frames apart by itself.
    const IS_DATAGRAM: bool = false;

    /// Opens it.
    ///
    /// # Errors
    ///
    /// When it cannot be opened now.
    fn open(&mut self) -> io::Result<Self::Handle>;

    /// Reads what has come, waiting for `wait` at most. A stream that has come to its end has 0 bytes.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `TimedOut` and `Interrupted` when nothing has come; all others make the port fail.
    fn read(handle: &mut Self::Handle, buf: &mut [u8], wait: time::Duration) -> io::Result<usize>;

    /// Writes what there is room for, without waiting for long.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `TimedOut` and `Interrupted` when there is no room; all others make the port fail. An error means that
    /// no byte was taken.
    fn write(handle: &mut Self::Handle, bytes: &[u8]) -> io::Result<usize>;
}

/// A port of the operating system, which is opened when it is used first and after it has failed.
#[derive(Debug)]
pub struct HostPort<S: Source> {
    source: S,
    handle: Option<S::Handle>,
    clock: Clock,
}

impl<S: Source> HostPort<S> {
    /// A port that is not open yet.
    pub fn from_source(source: S) -> Self {
        Self { source, handle: None, clock: Clock::start() }
    }

    /// Uses the handle, opens it before if need be, and closes it if it fails.
    fn with(&mut self, act: impl FnOnce(&mut S::Handle) -> io::Result<usize>) -> io::Result<usize> {
        let handle = match &mut self.handle {
            Some(handle) => handle,
            closed => closed.insert(self.source.open()?),
        };
        match act(handle) {
            Err(error) if is_nothing(&error) => Ok(0),
            Err(error) => {
                self.handle = None;
                Err(error)
            }
            moved => moved,
        }
    }
}

impl<S: Source> Port for HostPort<S> {
    type Error = io::Error;

    const IS_DATAGRAM: bool = S::IS_DATAGRAM;

    fn now(&mut self) -> Instant {
        self.clock.now()
    }

    fn sleep(&mut self, until: Instant) {
        self.clock.sleep(until);
    }

    fn receive(&mut self, buf: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        let wait = self.clock.wait(until);
        self.with(|handle| match S::read(handle, buf, wait)? {
            0 if !S::IS_DATAGRAM => Err(io::ErrorKind::UnexpectedEof.into()),
            len => Ok(len),
        })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|handle| S::write(handle, bytes))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.handle = None;
        self.with(|_| Ok(0)).map(drop)
    }
}

/// A serial port's name and speed.
#[cfg(feature = "serial")]
#[derive(Clone, Debug)]
pub struct SerialPath {
    path: String,
    baud: u32,
}

#[cfg(feature = "serial")]
impl Serial {
    /// The port `path`, such as `/dev/ttyUSB0` or `COM3`, with `baud` bits a second, 8 data bits, no parity, one stop
    /// bit and no flow control.
    pub fn new(path: impl ToString, baud: u32) -> Self {
        Self::from_source(SerialPath { path: path.to_string(), baud })
    }
}

#[cfg(feature = "serial")]
impl Source for SerialPath {
    type Handle = Box<dyn serialport::SerialPort>;

    fn open(&mut self) -> io::Result<Self::Handle> {
        let port = serialport::new(&self.path, self.baud).open_native()?;
        // It says when there is room for a byte, and would then wait until there is room for all.
        #[cfg(unix)]
        nix::fcntl::fcntl(
            std::os::fd::AsRawFd::as_raw_fd(&port),
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
        )?;
        Ok(Box::new(port))
    }

    fn read(port: &mut Self::Handle, buf: &mut [u8], wait: time::Duration) -> io::Result<usize> {
        port.set_timeout(wait)?;
        port.read(buf)
    }

    fn write(port: &mut Self::Handle, bytes: &[u8]) -> io::Result<usize> {
        port.set_timeout(SEND_WAIT)?;
        port.write(bytes)
    }
}

/// The other end of a TCP connection, which an accepted one does not have.
#[cfg(feature = "net")]
#[derive(Clone, Debug)]
pub struct TcpAddress(Option<String>);

#[cfg(feature = "net")]
impl Tcp {
    /// To `addr`, such as `"device.local:4000"`, which is looked up at each connection.
    pub fn connect(addr: impl ToString) -> Self {
        Self::from_source(TcpAddress(Some(addr.to_string())))
    }

    /// A connection that a listener has accepted. Once it has failed it stays so: the peer has to connect again.
    ///
    /// # Errors
    ///
    /// When the stream's options cannot be set.
    pub fn accepted(stream: TcpStream) -> io::Result<Self> {
        set_tcp_options(&stream)?;
        Ok(Self { handle: Some(stream), ..Self::from_source(TcpAddress(None)) })
    }
}

#[cfg(feature = "net")]
fn set_tcp_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(SEND_WAIT))
}

#[cfg(feature = "net")]
impl Source for TcpAddress {
    type Handle = TcpStream;

    fn open(&mut self) -> io::Result<TcpStream> {
        let mut result = Err(io::ErrorKind::NotConnected.into());
        for addr in self.0.as_deref().map(str::to_socket_addrs).transpose()?.into_iter().flatten() {
            result = TcpStream::connect_timeout(&addr, CONNECT_WAIT);
            if result.is_ok() {
                break;
            }
        }
        let stream = result?;
        set_tcp_options(&stream)?;
        Ok(stream)
    }

    fn read(stream: &mut TcpStream, buf: &mut [u8], wait: time::Duration) -> io::Result<usize> {
        set_wait(wait, |on| stream.set_nonblocking(on), |wait| stream.set_read_timeout(wait))?;
        stream.read(buf)
    }

    fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }
}

/// The other end of a Unix socket, which an accepted connection does not have.
#[cfg(all(feature = "net", unix))]
#[derive(Clone, Debug)]
pub struct UnixAddress(Option<PathBuf>);

#[cfg(all(feature = "net", unix))]
impl Unix {
    /// To the socket `path`.
    pub fn connect(path: impl Into<PathBuf>) -> Self {
        Self::from_source(UnixAddress(Some(path.into())))
    }

    /// A connection that a listener has accepted. Once it has failed it stays so: the peer has to connect again.
    ///
    /// # Errors
    ///
    /// When the stream's options cannot be set.
    pub fn accepted(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(SEND_WAIT))?;
        Ok(Self { handle: Some(stream), ..Self::from_source(UnixAddress(None)) })
    }
}

#[cfg(all(feature = "net", unix))]
impl Source for UnixAddress {
    type Handle = UnixStream;

    fn open(&mut self) -> io::Result<UnixStream> {
        let path = self.0.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(SEND_WAIT))?;
        Ok(stream)
    }

    fn read(stream: &mut UnixStream, buf: &mut [u8], wait: time::Duration) -> io::Result<usize> {
        set_wait(wait, |on| stream.set_nonblocking(on), |wait| stream.set_read_timeout(wait))?;
        stream.read(buf)
    }

    fn write(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }
}

/// The other end of a UDP socket, or a socket that is connected.
#[cfg(feature = "net")]
#[derive(Debug)]
pub enum UdpAddress {
    /// Looked up each time that the socket is opened, which gets a port of its own from the operating system.
    Remote(String),
    /// Stays open.
    Connected(UdpSocket),
}

#[cfg(feature = "net")]
impl Udp {
    /// To `addr`, such as `"device.local:4000"`, from any port.
    pub fn connect(addr: impl ToString) -> Self {
        Self::from_source(UdpAddress::Remote(addr.to_string()))
    }

    /// A socket that is bound and connected.
    pub fn connected(socket: UdpSocket) -> Self {
        Self::from_source(UdpAddress::Connected(socket))
    }
}

#[cfg(feature = "net")]
impl Source for UdpAddress {
    type Handle = UdpSocket;

    const IS_DATAGRAM: bool = true;

    fn open(&mut self) -> io::Result<UdpSocket> {
        let socket = match self {
            Self::Connected(socket) => socket.try_clone()?,
            Self::Remote(addr) => {
                let addr = addr.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
                let any = if addr.is_ipv4() {
                    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
                } else {
                    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(addr)?;
                socket
            }
        };
        socket.set_write_timeout(Some(SEND_WAIT))?;
        Ok(socket)
    }

    fn read(socket: &mut UdpSocket, buf: &mut [u8], wait: time::Duration) -> io::Result<usize> {
        set_wait(wait, |on| socket.set_nonblocking(on), |wait| socket.set_read_timeout(wait))?;
        socket.recv(buf).or_else(lost)
    }

    fn write(socket: &mut UdpSocket, bytes: &[u8]) -> io::Result<usize> {
        socket.send(bytes).or_else(lost)
    }
}

/// Tells a datagram that was lost from a socket that does not work.
#[cfg(feature = "net")]
pub(super) fn lost(error: io::Error) -> io::Result<usize> {
    if is_lost(&error) { Ok(0) } else { Err(error) }
}

/// Makes a socket's next read wait for `wait` at most. A timeout of zero would mean for ever.
#[cfg(feature = "net")]
pub(super) fn set_wait(
    wait: time::Duration,
    set_nonblocking: impl FnOnce(bool) -> io::Result<()>,
    set_timeout: impl FnOnce(Option<time::Duration>) -> io::Result<()>,
) -> io::Result<()> {
    set_nonblocking(wait.is_zero())?;
    if wait.is_zero() { Ok(()) } else { set_timeout(Some(wait)) }
}

/// Whether there was only nothing to read, or no room to write.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// The time since a port was made.
#[derive(Debug)]
pub(super) struct Clock(time::Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(time::Instant::now())
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(0) + Duration::from(self.0.elapsed())
    }

    pub(super) fn sleep(&self, until: Instant) {
        thread::sleep(until.saturating_duration_since(self.now()).into());
    }

    /// How long to wait for bytes.
    pub(super) fn wait(&self, until: Option<Instant>) -> time::Duration {
        until.map_or(MAX_WAIT, |until| MAX_WAIT.min(until.saturating_duration_since(self.now()).into()))
    }
}
