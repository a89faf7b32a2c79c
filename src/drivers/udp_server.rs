//! One UDP socket that serves many clients.
//!
//! ```no_run
//! use std::net::UdpSocket;
//! use bowline::{Buffers, Config, drivers::udp_server::UdpServer};
//!
//! bowline::interface! {
//!     pub enum Counter {
//!         at_most_once Add(u32) -> u32;
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut sum = 0;
//!     UdpServer::new(UdpSocket::bind("[::]:4000")?, Config::from_os(), 1_000, Buffers::<48>::new)?
//!         .on_event(|client, event| println!("{client:?}: {event:?}"))
//!         .serve::<Counter>(|_client, context, message| match message {
//!             Counter::Add(count, reply) => {
//!                 sum += count;
//!                 context.reply(reply, &sum);
//!             }
//!         })
//!         .run()
//! }
//! ```
//!
//! The number of places is fixed. An address gets one, with an endpoint of its own, when the first datagram comes from
//! it, and keeps it from the start of a session, which proves the address, to its end. Of the others, the one that came
//! first makes room when all places are taken; when there are no others, new addresses are not heard.
//!
//! Nothing is sent to an address before something came from it, and no more than three times as many bytes before it
//! has proven itself: the server is no help to those who forge addresses.

use core::fmt;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::vec::Vec;

use super::host::{Clock, is_nothing, lost, set_wait};
use super::{LinkEvent, Outage, dispatch};
use crate::config::{Config, Incarnation, os_entropy};
use crate::endpoint::Endpoint;
use crate::event::Refusal;
use crate::machine::Message;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::typed::{Context, Interface, assert_fit};
use crate::wire::frame_len;

/// How long to wait for a socket that had no room for a datagram.
const STALL: Duration = Duration::from_millis(2);

/// A client as long as it has its place. One that lost it and comes back is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    addr: SocketAddr,
    number: u64,
}

impl ClientId {
    /// Where its datagrams come from.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// A socket that serves many clients.
#[derive(Debug)]
pub struct UdpServer<
    S,
    H = fn(ClientId, &mut Context<'_, S>, Message<'_>),
    G = fn(Option<ClientId>, LinkEvent<io::Error>),
> {
    clients: Clients<S>,
    line: Line,
    handler: H,
    on_event: G,
}

/// The socket, with memory for a datagram each way.
#[derive(Debug)]
struct Line {
    socket: UdpSocket,
    clock: Clock,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    outage: Outage,
    /// Until when to leave a socket alone that has failed.
    retry_at: Option<Instant>,
}

/// Everybody who has a place.
#[derive(Debug)]
struct Clients<S> {
    config: Config,
    storage: fn() -> S,
    max: usize,
    by_addr: HashMap<SocketAddr, Box<Client<S>>>,
    /// Those that never had a session, oldest first.
    strangers: BTreeMap<u64, SocketAddr>,
    /// When to attend to whom.
    timers: BTreeSet<(Instant, SocketAddr)>,
    /// How many places were given so far.
    admitted: u64,
}

#[derive(Debug)]
struct Client<S> {
    id: ClientId,
    endpoint: Endpoint<S>,
    is_stranger: bool,
    /// Its entry in [`Clients::timers`].
    timer: Option<Instant>,
}

impl<S: Storage> UdpServer<S> {
    /// A server on a socket that is bound and not connected, for up to `max_clients` clients with memory from `storage`
    /// each. It refuses all requests until it is told how to [`serve`](Self::serve) them.
    ///
    /// # Errors
    ///
    /// When the socket's options cannot be set.
    pub fn new(socket: UdpSocket, config: Config, max_clients: usize, storage: fn() -> S) -> io::Result<Self> {
        socket.set_write_timeout(Some(STALL.into()))?;
        let frame = frame_len(storage().parts().payload);
        let clock = Clock::start();
        let now = clock.now();
        let (incoming, outgoing) = (std::vec![0; frame], std::vec![0; frame]);
        Ok(Self {
            clients: Clients {
                config: Config { active: false, ..config },
                storage,
                max: max_clients.max(1),
                by_addr: HashMap::new(),
                strangers: BTreeMap::new(),
                timers: BTreeSet::new(),
                admitted: 0,
            },
            line: Line { socket, clock, incoming, outgoing, outage: Outage::new(now), retry_at: None },
            handler: |_, context, message| {
                if let Message::Request { id, .. } = message {
                    context.refuse_request(id, Refusal::UnknownKey);
                }
            },
            on_event: |_, _| {},
        })
    }
}

impl<S, H, G> UdpServer<S, H, G>
where
    S: Storage,
    H: FnMut(ClientId, &mut Context<'_, S>, Message<'_>),
    G: FnMut(Option<ClientId>, LinkEvent<io::Error>),
{
    /// Serves the interface `I`. What cannot be decoded is refused, *executed: no*.
    pub fn serve<I: Interface>(
        mut self,
        mut handler: impl FnMut(ClientId, &mut Context<'_, S>, I::Incoming<'_>),
    ) -> UdpServer<S, impl FnMut(ClientId, &mut Context<'_, S>, Message<'_>), G> {
        const { assert_fit(I::DECLARATIONS, S::PAYLOAD) }
        self.clients.config.schema_digest = I::DIGEST;
        self.serve_raw(move |client, context, message| {
            if let Some(incoming) = dispatch::<I>(message, |id, refusal| context.refuse_request(id, refusal)) {
                handler(client, context, incoming);
            }
        })
    }

    /// Handles messages that have no types, or in a way of one's own. Responses to the server's own calls come here as
    /// well.
    pub fn serve_raw<T: FnMut(ClientId, &mut Context<'_, S>, Message<'_>)>(self, handler: T) -> UdpServer<S, T, G> {
        let Self { clients, line, on_event, .. } = self;
        UdpServer { clients, line, handler, on_event }
    }

    /// Reports what happens to a client, and without one, to the socket.
    pub fn on_event<T: FnMut(Option<ClientId>, LinkEvent<io::Error>)>(self, on_event: T) -> UdpServer<S, H, T> {
        let Self { clients, line, handler, .. } = self;
        UdpServer { clients, line, handler, on_event }
    }

    /// Waits until something happens, and handles it.
    pub fn turn(&mut self) {
        let now = self.line.clock.now();
        // Each at most once, so that datagrams are read however many timers are due.
        for _ in 0..self.clients.by_addr.len() {
            match self.clients.timers.first() {
                Some(&(at, addr)) if at <= now => self.attend(addr),
                _ => break,
            }
        }
        let until = self.clients.timers.first().map(|(at, _)| *at);
        if let Some(retry_at) = self.line.retry_at
            && retry_at > now
        {
            self.line.clock.sleep(until.map_or(retry_at, |until| until.min(retry_at)));
            return;
        }
        match self.line.receive(until) {
            Ok(received) => {
                self.line.retry_at = None;
                if self.line.outage.works(now) {
                    (self.on_event)(None, LinkEvent::PortRestored);
                }
                if let Some((len, from)) = received {
                    self.handle(len, from);
                }
            }
            Err(error) => {
                let (retry_at, is_news) = self.line.outage.failed(now);
                self.line.retry_at = Some(retry_at);
                if is_news {
                    (self.on_event)(None, LinkEvent::PortFailed(error));
                }
            }
        }
    }

    /// Serves for ever.
    pub fn run(&mut self) -> ! {
        loop {
            self.turn();
        }
    }

    /// Those that have a session.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.clients.by_addr.values().filter(|client| !client.is_stranger).map(|client| client.id)
    }

    /// A client's endpoint at this moment: to give replies that were put off, and to send. What is to go out does so in
    /// the next [`turn`](Self::turn). `None` when the client is gone, and nobody waits for the reply.
    ///
    /// A handler that still works for a client that is gone may come to its end after a request that the client repeats
    /// when it comes back.
    pub fn context(&mut self, client: ClientId) -> Option<Context<'_, S>> {
        let now = self.line.clock.now();
        let Clients { by_addr, timers, .. } = &mut self.clients;
        let client = by_addr.get_mut(&client.addr).filter(|found| found.id == client)?;
        client.set_timer(timers, Some(now));
        Some(Context::new(&mut client.endpoint, now))
    }

    /// The socket, for its address and options.
    pub const fn socket(&self) -> &UdpSocket {
        &self.line.socket
    }

    /// A datagram has come.
    fn handle(&mut self, len: usize, from: SocketAddr) {
        let Self { clients, line, handler, .. } = self;
        let now = line.clock.now();
        let Some(frame) = line.incoming.get_mut(..len).filter(|frame| !frame.is_empty()) else { return };
        let Some(client) = clients.admit(from, now) else { return };
        let id = client.id;
        let mut take = |endpoint: &mut Endpoint<S>, now, message: Message<'_>| {
            handler(id, &mut Context::new(endpoint, now), message);
        };
        client.endpoint.take_messages(now, frame, &mut take);
        client.endpoint.take_notifies(now, &mut line.incoming, &mut take);
        self.attend(from);
    }

    /// Lets time pass for one client, sends, reports, and takes its place away when its session has ended.
    fn attend(&mut self, addr: SocketAddr) {
        let Self { clients, line, on_event, .. } = self;
        let now = line.clock.now();
        let Some(client) = clients.by_addr.get_mut(&addr) else { return };
        client.endpoint.handle_timeout(now);
        let has_room = line.send(&mut client.endpoint, addr, now);
        client.report(on_event);
        if client.endpoint.is_connected() {
            if client.is_stranger {
                client.is_stranger = false;
                clients.strangers.remove(&client.id.number);
            }
        } else if !client.is_stranger {
            // Its calls end too.
            client.endpoint.close(now);
            client.report(on_event);
            clients.remove(addr);
            return;
        }
        let timer = client.endpoint.poll_timeout();
        let retry = (!has_room).then(|| now + STALL);
        client.set_timer(&mut clients.timers, [timer, retry].into_iter().flatten().min());
    }
}

impl Line {
    /// Waits for a datagram: its length and where it came from.
    fn receive(&mut self, until: Option<Instant>) -> io::Result<Option<(usize, SocketAddr)>> {
        let (wait, socket) = (self.clock.wait(until), &self.socket);
        set_wait(wait, |on| socket.set_nonblocking(on), |wait| socket.set_read_timeout(wait))?;
        match socket.recv_from(&mut self.incoming) {
            Ok(received) => Ok(Some(received)),
            Err(error) if is_nothing(&error) => Ok(None),
            Err(error) => lost(error).map(|_| None),
        }
    }

    /// Sends all that waits; whether there was room for it.
    fn send<S: Storage>(&mut self, endpoint: &mut Endpoint<S>, to: SocketAddr, now: Instant) -> bool {
        while let Some(len) = endpoint.poll_transmit(now, &mut self.outgoing) {
            let frame = self.outgoing.get(..len).unwrap_or_default();
            if self.socket.send_to(frame, to).is_err_and(|error| is_nothing(&error)) {
                endpoint.handle_refused();
                return false;
            }
            // Other errors concern this address, and the datagram is lost.
        }
        true
    }
}

impl<S: Storage> Clients<S> {
    /// The client at `addr`; a new one gets a place if there is any.
    fn admit(&mut self, addr: SocketAddr, now: Instant) -> Option<&mut Client<S>> {
        if !self.by_addr.contains_key(&addr) {
            if self.by_addr.len() >= self.max {
                let (_, oldest) = self.strangers.pop_first()?;
                self.remove(oldest);
            }
            // Each has challenges of its own: who knows his cannot answer another's.
            let incarnation = Incarnation { challenge_seed: os_entropy() as u32, ..self.config.incarnation };
            let endpoint = Endpoint::new(now, Config { incarnation, ..self.config }, (self.storage)());
            let id = ClientId { addr, number: self.admitted };
            self.admitted = self.admitted.wrapping_add(1);
            self.strangers.insert(id.number, addr);
            self.by_addr.insert(addr, Box::new(Client { id, endpoint, is_stranger: true, timer: None }));
        }
        self.by_addr.get_mut(&addr).map(|client| &mut **client)
    }

    fn remove(&mut self, addr: SocketAddr) {
        if let Some(mut client) = self.by_addr.remove(&addr) {
            client.set_timer(&mut self.timers, None);
        }
    }
}

impl<S: Storage> Client<S> {
    fn report(&mut self, on_event: &mut impl FnMut(Option<ClientId>, LinkEvent<io::Error>)) {
        while let Some(event) = self.endpoint.poll_event() {
            on_event(Some(self.id), LinkEvent::Endpoint(event));
        }
    }

    fn set_timer(&mut self, timers: &mut BTreeSet<(Instant, SocketAddr)>, timer: Option<Instant>) {
        if self.timer == timer {
            return;
        }
        if let Some(before) = self.timer {
            timers.remove(&(before, self.id.addr));
        }
        if let Some(at) = timer {
            timers.insert((at, self.id.addr));
        }
        self.timer = timer;
    }
}
