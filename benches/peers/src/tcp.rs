//! smoltcp 0.14: TCP over IPv4, without Ethernet.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};

use crate::framed::{Messages, Peer};
use crate::model::cell::{Cell, Load};
use crate::model::{MICRO, Nanos};

#[derive(Clone, Copy)]
pub struct Tuning {
    pub name: &'static str,
    mtu: usize,
    control: CongestionControl,
    ack_delay: Option<Duration>,
}

pub const TUNINGS: [Tuning; 4] = [
    Tuning { name: "tcp", mtu: 1_192, control: CongestionControl::None, ack_delay: None },
    Tuning {
        name: "tcp-delay",
        mtu: 1_192,
        control: CongestionControl::None,
        ack_delay: Some(Duration::from_millis(10)),
    },
    Tuning { name: "tcp-cubic", mtu: 1_192, control: CongestionControl::Cubic, ack_delay: None },
    Tuning { name: "tcp-reno576", mtu: 576, control: CongestionControl::Reno, ack_delay: None },
];

/// Frames that the device takes ahead of the port.
const DEVICE: usize = 2;
const PORT: u16 = 7;

struct Wire {
    mtu: usize,
    inbox: VecDeque<Vec<u8>>,
    outbox: VecDeque<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Room<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Room<'_>)> {
        Some((Received(self.inbox.pop_front()?), Room(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        (self.outbox.len() < DEVICE).then_some(Room(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ip, self.mtu);
        capabilities
    }
}

pub struct TcpPeer {
    load: Load,
    is_second: bool,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    messages: Messages,
    /// Answers that the socket had no room for.
    answers: VecDeque<u8>,
}

impl TcpPeer {
    pub fn new(tuning: Tuning, cell: &Cell, is_second: bool, seed: u64) -> Self {
        let mut wire = Wire { mtu: tuning.mtu, inbox: VecDeque::new(), outbox: VecDeque::new() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let address = |second: bool| Ipv4Address::new(10, 0, 0, 1 + u8::from(second));
        interface.update_ip_addrs(|all| {
            all.push(IpCidr::new(address(is_second).into(), 24)).expect("there is room for one address");
        });
        let room = 4 * cell.bandwidth_delay() as usize + 65_536;
        let buffer = || SocketBuffer::new(vec![0; room]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_congestion_control(tuning.control);
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(tuning.ack_delay);
        if is_second {
            socket.listen(PORT).expect("the port is free");
        } else {
            let remote = (address(true), PORT);
            socket.connect(interface.context(), remote, 49_152).expect("the address is valid");
        }
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self {
            load: cell.load,
            is_second,
            wire,
            interface,
            sockets,
            handle,
            messages: Messages::default(),
            answers: VecDeque::new(),
        }
    }

    fn poll(&mut self, now: Nanos) {
        self.interface.poll(instant(now), &mut self.wire, &mut self.sockets);
    }
}

impl Peer for TcpPeer {
    fn is_connected(&self) -> bool {
        self.sockets.get::<Socket<'_>>(self.handle).may_send()
    }

    fn send(&mut self, _now: Nanos, payload: &[u8]) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if socket.send_capacity() - socket.send_queue() < payload.len() + 2 {
            return false;
        }
        socket.send_slice(&Messages::prefixed(payload)).is_ok()
    }

    fn receive(&mut self, now: Nanos, datagram: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        self.wire.inbox.push_back(datagram.to_vec());
        self.poll(now);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let mut bytes = vec![0; socket.recv_queue()];
        let len = socket.recv_slice(&mut bytes).unwrap_or(0);
        if self.is_second && self.load != Load::Bulk {
            self.answers.extend(&bytes[..len]);
            let sent = socket.send_slice(self.answers.make_contiguous()).unwrap_or(0);
            self.answers.drain(..sent);
        } else {
            self.messages.push(&bytes[..len], deliver);
        }
    }

    fn handle_timeout(&mut self, now: Nanos) {
        self.poll(now);
    }

    fn poll_datagram(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.wire.outbox.is_empty() {
            self.poll(now);
        }
        self.wire.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        self.interface.poll_at(Instant::ZERO, &self.sockets).map(|at| at.total_micros() as Nanos * MICRO)
    }
}

fn instant(now: Nanos) -> Instant {
    Instant::from_micros((now / MICRO) as i64)
}
