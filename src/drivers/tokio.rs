//! Futures on tokio: a [`Client`] that any number of tasks share, over a serial port, TCP, UDP or a Unix socket. A port
//! that fails, an unplugged cable say, is reported and opened again.
//!
//! ```no_run
//! use bowline::drivers::tokio::Link;
//!
//! bowline::interface! {
//!     pub enum Lamp {
//!         at_most_once Toggle(u8) -> bool;
//!     }
//! }
//!
//! # async fn example() -> Result<(), bowline::CallError> {
//! let lamp = Link::tcp("lamp.example:4000").on_event(|event| println!("{event:?}")).spawn();
//! println!("lit: {}", lamp.call::<Toggle>(&3).await?);
//! # Ok(())
//! # }
//! ```

mod ports;

use std::boxed::Box;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, ToSocketAddrs, UdpSocket};
use tokio::sync::{Notify, watch};

pub use ports::{Io, Stream};

use super::LinkEvent;
use super::asynch::{Lock, Place, Running, Shared, State, TaskMemory, TaskParts, Timer, Waiter};
use crate::config::Config;
use crate::event::CallError;
use crate::machine::Message;
use crate::storage::Buffers;
use crate::time::{Duration, Instant};
use crate::typed::{Interface, Procedure};
use crate::wire::frame_len;

/// Bytes of the largest payload: a frame then fits a UDP datagram on any path.
pub const PAYLOAD: usize = 1_024;

const CALLS: usize = 32;

/// How long to wait for a TCP connection: a host that is not there says nothing, and the system asks for minutes, with
/// pauses of up to a minute.
const CONNECT_WAIT: core::time::Duration = core::time::Duration::from_secs(5);

/// How long a link that is given up tries to tell its peer.
const FAREWELL: core::time::Duration = core::time::Duration::from_millis(50);

type Memory = Buffers<PAYLOAD, CALLS, 32, 32, 16, 8, 144>;
type OnMessage = Box<dyn FnMut(&Client, Message<'_>) + Send>;
type OnEvent = Box<dyn FnMut(LinkEvent<io::Error>) + Send>;
type Opening = Pin<Box<dyn Future<Output = io::Result<Io>> + Send>>;

enum Port {
    /// Opened again whenever it fails.
    Opener(Box<dyn FnMut() -> Opening + Send>),
    /// Open, once.
    Open(Option<Io>),
}

/// A link that is being described. [`Link::spawn`] starts it.
#[must_use = "nothing happens before `spawn` or `run`"]
pub struct Link {
    port: Port,
    config: Config,
    timeout: Duration,
    digest: u32,
    on_message: OnMessage,
    on_event: OnEvent,
}

/// A handle on a running link. Clones share the link, which ends when the last one is dropped. Those that a handler makes of
/// the client that it is given do not count: the link may end before they have answered.
///
/// It dereferences to [`Shared`], which has the commands that need no waiting.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared<StdLock>>,
    timeout: Duration,
    lifetime: Arc<Lifetime>,
    /// Tells the link when it is dropped; not there in the link's own handle.
    #[expect(dead_code, reason = "it is there to be dropped")]
    user: Option<Arc<User>>,
}

impl Link {
    /// Over a serial port.
    #[cfg(feature = "tokio-serial")]
    pub fn serial(path: impl Into<std::string::String>, baud: u32) -> Self {
        use tokio_serial::SerialPortBuilderExt as _;
        let path = path.into();
        Self::opening(move || {
            let stream = tokio_serial::new(path.as_str(), baud).open_native_async().map_err(io::Error::from);
            async move { Ok(Io::Stream(Box::new(stream?))) }
        })
    }

    /// Over TCP, to an address like `"host:port"`. Connecting takes 5 s at most, and is tried again.
    pub fn tcp(address: impl ToSocketAddrs + Clone + Send + Sync + 'static) -> Self {
        Self::opening(move || {
            let address = address.clone();
            async move {
                let stream = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await??;
                stream.set_nodelay(true)?;
                Ok(Io::Stream(Box::new(stream)))
            }
        })
    }

    /// Over UDP, to an address like `"host:port"`.
    pub fn udp(address: impl ToSocketAddrs + Clone + Send + Sync + 'static) -> Self {
        Self::opening(move || {
            let address = address.clone();
            async move {
                let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
                for address in tokio::net::lookup_host(address).await? {
                    let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(local).await?;
                    result = socket.connect(address).await.map(|()| Io::Datagrams(socket));
                    if result.is_ok() {
                        break;
                    }
                }
                result
            }
        })
    }

    /// Over a Unix socket.
    #[cfg(unix)]
    pub fn unix(path: impl Into<std::path::PathBuf>) -> Self {
        let path = path.into();
        Self::opening(move || {
            let path = path.clone();
            async move { Ok(Io::Stream(Box::new(tokio::net::UnixStream::connect(path).await?))) }
        })
    }

    /// Over whatever `open` opens, again whenever it fails.
    pub fn opening<F, O>(mut open: F) -> Self
    where
        F: FnMut() -> O + Send + 'static,
        O: Future<Output = io::Result<Io>> + Send + 'static,
    {
        Self::over_port(Port::Opener(Box::new(move || Box::pin(open()))))
    }

    /// Over a stream that is open, such as one that a listener has accepted. The link ends with it.
    pub fn stream(stream: impl Stream) -> Self {
        Self::over_port(Port::Open(Some(Io::Stream(Box::new(stream)))))
    }

    /// Over a connected datagram socket.
    pub fn socket(socket: UdpSocket) -> Self {
        Self::over_port(Port::Open(Some(Io::Datagrams(socket))))
    }

    fn over_port(port: Port) -> Self {
        Self {
            port,
            config: Config::from_os(),
            timeout: Duration::from_secs(5),
            digest: 0,
            on_message: Box::new(|client, message| {
                client.shared.dispatch::<crate::typed::Nothing>(message);
            }),
            on_event: Box::new(|_| {}),
        }
    }

    /// With settings other than [`Config::from_os`].
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Lets calls fail after `timeout` instead of 5 s.
    pub fn timeout(self, timeout: impl Into<Duration>) -> Self {
        Self { timeout: timeout.into(), ..self }
    }

    /// Serves the interface `I`. The handler must not block; it can clone the client it is given and answer from a task
    /// of its own.
    pub fn serve<I: Interface>(self, mut handler: impl FnMut(&Client, I::Incoming<'_>) + Send + 'static) -> Self {
        const { crate::typed::assert_fit(I::DECLARATIONS, PAYLOAD) }
        let on_message: OnMessage = Box::new(move |client, message| {
            if let Some(incoming) = client.shared.dispatch::<I>(message) {
                handler(client, incoming);
            }
        });
        Self { on_message, digest: I::DIGEST, ..self }
    }

    /// Reports what happens to the link. A closure that owns a [`Client`] of the same link keeps it going for ever.
    pub fn on_event(self, on_event: impl FnMut(LinkEvent<io::Error>) + Send + 'static) -> Self {
        Self { on_event: Box::new(on_event), ..self }
    }

    /// Starts the link as a task of the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> Client {
        let (client, running) = self.start();
        tokio::spawn(running);
        client
    }

    /// Runs the link, to serve: for ever, or until the stream that it was made from has ended.
    pub async fn run(self) {
        let (_client, running) = self.start();
        running.await;
    }

    /// The handle and the future that runs the link, for who wants to spawn it. When the future is dropped, all calls
    /// end.
    pub fn start(self) -> (Client, impl Future<Output = ()> + Send + 'static) {
        let Self { port, mut config, timeout, digest, on_message, on_event } = self;
        if digest != 0 {
            config.schema_digest = digest;
        }
        let origin = tokio::time::Instant::now();
        let state = State::new(Instant::from_micros(0), config, Memory::new(), Waiting::new());
        let shared = Arc::new(Shared::new(StdLock { state: Mutex::new(Box::new(state)), origin }));
        let (until_dropped, ended) = watch::channel(());
        let lifetime = Arc::new(Lifetime { is_over: Notify::new(), ended });
        let user = Arc::new(User { lifetime: Arc::clone(&lifetime) });
        let own = Client { shared, timeout, lifetime, user: None };
        let client = Client { user: Some(user), ..own.clone() };
        let running = Running::new(Arc::clone(&own.shared));
        let future = async move {
            // Dropped from the last to the first: calls have ended when the end is told.
            let (_told_by_drop, _running) = (until_dropped, running);
            run(own, origin, port, on_message, on_event).await;
        };
        (client, future)
    }
}

impl Client {
    /// Calls a procedure of the peer. Waits for a free slot if there is none. Dropping the future cancels the call, and
    /// the peer is told.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells why there is no response, and whether the request took effect.
    pub async fn call<P>(&self, request: &P::Request<'_>) -> Result<P::Response<'static>, CallError>
    where
        P: Procedure,
        P::Response<'static>: DeserializeOwned,
    {
        self.shared.call_within::<P>(self.timeout, request).await
    }

    /// Ends the link, whoever else has a handle, and waits until the peer was told, 50 ms at most. To be called before a
    /// program ends: it may be over sooner than the task of a link whose last handle was dropped. The future from
    /// [`Link::start`] must be running.
    pub async fn close(self) {
        self.lifetime.is_over.notify_one();
        let mut ended = self.lifetime.ended.clone();
        // Nothing is ever sent: it ends when the other half is dropped.
        let _ = ended.changed().await;
    }

    /// Another handle, whose calls fail after `timeout`.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Duration>) -> Self {
        Self { timeout: timeout.into(), ..self.clone() }
    }
}

impl Deref for Client {
    type Target = Shared<StdLock>;

    fn deref(&self) -> &Self::Target {
        &self.shared
    }
}

/// The end of a link, before and after.
struct Lifetime {
    /// It is to end.
    is_over: Notify,
    /// The other half is dropped with the task of the link.
    ended: watch::Receiver<()>,
}

/// Dropped with the last handle.
struct User {
    lifetime: Arc<Lifetime>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.lifetime.is_over.notify_one();
    }
}

/// The task of a link.
async fn run(client: Client, origin: tokio::time::Instant, port: Port, on_message: OnMessage, on_event: OnEvent) {
    let mut timer = Sleeper { origin };
    let farewell = async {
        client.lifetime.is_over.notified().await;
        let _ = tokio::time::timeout(FAREWELL, client.shared.farewell()).await;
    };
    let port = async {
        // What the port has taken by then was sent.
        tokio::select! {
            biased;
            () = serve_port(&client, port, on_message) => client.shared.close(),
            () = farewell => {}
        }
    };
    client.shared.run(&mut timer, on_event, port).await;
}

/// Opens the port, moves bytes until it fails, and so on.
async fn serve_port(client: &Client, mut port: Port, mut on_message: OnMessage) {
    let mut handle = |message: Message<'_>| on_message(client, message);
    loop {
        let opened = match &mut port {
            Port::Opener(open) => open().await,
            Port::Open(io) => match io.take() {
                Some(io) => Ok(io),
                None => return,
            },
        };
        let error = match opened {
            Ok(io) => {
                let (mut reader, mut writer) = io.split();
                client.shared.pump::<_, _, { frame_len(PAYLOAD) }>(&mut reader, &mut writer, &mut handle).await
            }
            Err(error) => error,
        };
        client.shared.pause(error).await;
    }
}

struct Sleeper {
    origin: tokio::time::Instant,
}

impl Timer for Sleeper {
    async fn sleep_until(&mut self, until: Instant) {
        // A moment that the clock cannot express is as good as never.
        let until = self.origin.checked_add(core::time::Duration::from_micros(until.as_micros()));
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => core::future::pending().await,
        }
    }
}

/// The [`Lock`] of a [`Client`].
pub struct StdLock {
    state: Mutex<Box<State<Memory, Waiting, io::Error>>>,
    origin: tokio::time::Instant,
}

impl StdLock {
    fn state(&self) -> MutexGuard<'_, Box<State<Memory, Waiting, io::Error>>> {
        // What panicked was a codec of the application; nothing of ours was half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lock for StdLock {
    type Storage = Memory;
    type Tasks = Waiting;
    type Error = io::Error;

    fn with<T>(&self, f: impl FnOnce(&mut State<Memory, Waiting, io::Error>) -> T) -> T {
        f(&mut self.state())
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Tasks that wait, in any number.
#[derive(Debug)]
pub struct Waiting {
    waiters: Vec<Waiter>,
    responses: Vec<u8>,
    queue: Vec<Place>,
}

impl Waiting {
    fn new() -> Self {
        let waiters = (0..CALLS).map(|_| Waiter::NONE).collect();
        Self { waiters, responses: std::vec![0; CALLS * PAYLOAD], queue: Vec::new() }
    }
}

impl TaskMemory for Waiting {
    fn parts(&mut self) -> TaskParts<'_> {
        TaskParts {
            waiters: &mut self.waiters,
            responses: &mut self.responses,
            payload: PAYLOAD,
            queue: &mut self.queue,
        }
    }

    fn grow(&mut self) -> bool {
        self.queue.push(Place::FREE);
        true
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
