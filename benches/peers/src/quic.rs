//! quinn-proto 0.11: one stream for bulk, a stream for each call.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ServerConfig,
    StreamEvent, StreamId, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::framed::{Messages, Peer};
use crate::model::Nanos;
use crate::model::cell::{Cell, Load};

#[derive(Clone, Copy)]
pub struct Tuning {
    pub name: &'static str,
    /// The congestion window stays at two bandwidth-delay products, whatever is lost.
    is_fixed: bool,
    /// Reordering that is tolerated: packets, and round trips.
    threshold: Option<(u32, f32)>,
}

pub const TUNINGS: [Tuning; 3] = [
    Tuning { name: "quinn-cubic", is_fixed: false, threshold: None },
    Tuning { name: "quinn-fixed", is_fixed: true, threshold: None },
    Tuning { name: "quinn-patient", is_fixed: true, threshold: Some((1_000, 1.3)) },
];

#[derive(Clone)]
struct Fixed(u64);

impl Controller for Fixed {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {}
    fn on_mtu_update(&mut self, _: u16) {}
    fn window(&self) -> u64 {
        self.0
    }
    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
    fn initial_window(&self) -> u64 {
        self.0
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl ControllerFactory for Fixed {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        self.clone_box()
    }
}

pub struct QuicPeer {
    load: Load,
    start: Instant,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    is_connected: bool,
    bulk: Option<StreamId>,
    /// What the stream did not take yet.
    pending: Vec<u8>,
    messages: Messages,
    /// A datagram without a connection.
    response: Option<Vec<u8>>,
}

/// Both ends.
pub fn pair(tuning: Tuning, cell: &Cell, seed: u64) -> [QuicPeer; 2] {
    let window = 2 * cell.bandwidth_delay() + 20_000;
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(1_200)
        .mtu_discovery_config(None)
        .max_idle_timeout(None)
        .send_window(8 * window)
        .stream_receive_window(VarInt::from_u32(8 * window as u32))
        .receive_window(VarInt::from_u32(8 * window as u32))
        .enable_segmentation_offload(false);
    if tuning.is_fixed {
        transport.congestion_controller_factory(Arc::new(Fixed(window)));
    }
    if let Some((packets, time)) = tuning.threshold {
        transport.packet_threshold(packets).time_threshold(time);
    }
    let transport = Arc::new(transport);
    let certified = rcgen::generate_simple_self_signed(vec!["peer".into()]).expect("the name is valid");
    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).expect("it is a pair");
    server.transport_config(Arc::clone(&transport));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it is a certificate");
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).expect("it has a root");
    client.transport_config(transport);

    let start = Instant::now();
    let mut config = EndpointConfig::default();
    config.rng_seed(Some([seed as u8; 32]));
    let config = Arc::new(config);
    let peer = |endpoint, connection| QuicPeer {
        load: cell.load,
        start,
        endpoint,
        connection,
        is_connected: false,
        bulk: None,
        pending: Vec::new(),
        messages: Messages::default(),
        response: None,
    };
    let mut one = Endpoint::new(Arc::clone(&config), None, true, None);
    let two = Endpoint::new(config, Some(Arc::new(server)), true, None);
    let connection = one.connect(start, client, address(), "peer").expect("the configuration is complete");
    [peer(one, Some(connection)), peer(two, None)]
}

fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7).into()
}

impl QuicPeer {
    fn instant(&self, now: Nanos) -> Instant {
        self.start + Duration::from_nanos(now)
    }

    /// Takes what the connection has to say.
    fn drive(&mut self, deliver: &mut dyn FnMut(&[u8])) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        let mut readable = Vec::new();
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::Stream(StreamEvent::Readable { id }) => readable.push(id),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = connection.streams().accept(dir) {
                        readable.push(id);
                    }
                }
                Event::ConnectionLost { reason } => panic!("connection lost: {reason}"),
                _ => {}
            }
        }
        for id in readable {
            let mut stream = connection.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else { continue };
            let mut bytes = Vec::new();
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                bytes.extend_from_slice(&chunk.bytes);
            }
            let _ = chunks.finalize();
            match self.load {
                Load::Bulk => self.messages.push(&bytes, deliver),
                // A call of 8 bytes comes as a whole.
                _ if bytes.is_empty() => {}
                _ if connection.side().is_client() => deliver(&bytes),
                _ => {
                    let mut stream = connection.send_stream(id);
                    assert_eq!(stream.write(&bytes), Ok(bytes.len()));
                    stream.finish().expect("it is open");
                }
            }
        }
    }
}

impl Peer for QuicPeer {
    fn is_connected(&self) -> bool {
        self.is_connected
    }

    fn is_checked(&self) -> bool {
        true
    }

    fn send(&mut self, _now: Nanos, payload: &[u8]) -> bool {
        let Some((_, connection)) = &mut self.connection else { return false };
        if self.load != Load::Bulk {
            let Some(id) = connection.streams().open(Dir::Bi) else { return false };
            let mut stream = connection.send_stream(id);
            assert_eq!(stream.write(payload), Ok(payload.len()));
            stream.finish().expect("it is open");
            return true;
        }
        if self.bulk.is_none() {
            self.bulk = connection.streams().open(Dir::Uni);
        }
        let Some(id) = self.bulk else { return false };
        let is_first_try = self.pending.is_empty();
        if is_first_try {
            self.pending = Messages::prefixed(payload);
        }
        let written = connection.send_stream(id).write(&self.pending).unwrap_or(0);
        self.pending.drain(..written);
        // A message that was taken in part is pending, and was taken.
        is_first_try
            && (written > 0 || {
                self.pending.clear();
                false
            })
    }

    fn receive(&mut self, now: Nanos, datagram: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        let at = self.instant(now);
        let mut buf = Vec::new();
        let event = self.endpoint.handle(at, address(), None, None, BytesMut::from(datagram), &mut buf);
        match event {
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.connection = self.endpoint.accept(incoming, at, &mut buf, None).ok();
            }
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                buf.truncate(transmit.size);
                self.response = Some(buf);
            }
            None => {}
        }
        self.drive(deliver);
    }

    fn handle_timeout(&mut self, now: Nanos) {
        let at = self.instant(now);
        if let Some((_, connection)) = &mut self.connection
            && connection.poll_timeout().is_some_and(|due| due <= at)
        {
            connection.handle_timeout(at);
        }
        self.drive(&mut |_| unreachable!("nothing has come"));
    }

    fn poll_datagram(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if let Some(response) = self.response.take() {
            return Some(response);
        }
        let at = self.instant(now);
        let (_, connection) = self.connection.as_mut()?;
        let mut buf = Vec::new();
        let transmit = connection.poll_transmit(at, 1, &mut buf)?;
        buf.truncate(transmit.size);
        Some(buf)
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        let due = self.connection.as_mut()?.1.poll_timeout()?;
        Some(due.saturating_duration_since(self.start).as_nanos() as Nanos)
    }
}
