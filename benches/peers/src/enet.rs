//! rusty_enet 0.4: reliable packets on one channel.

use std::cell::{Cell as Shared, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use rusty_enet::{Event, Host, HostSettings, MTU_MAX, Packet, PacketReceived, PeerID, Socket, crc32};

use crate::framed::Peer;
use crate::model::cell::{Cell, Load};
use crate::model::{MILLI, Nanos};

#[derive(Clone, Default)]
struct Wire {
    inbox: Rc<RefCell<VecDeque<Vec<u8>>>>,
    outbox: Rc<RefCell<VecDeque<Vec<u8>>>>,
}

impl Socket for Wire {
    type Address = ();
    type Error = Infallible;

    fn send(&mut self, _: (), datagram: &[u8]) -> Result<usize, Infallible> {
        self.outbox.borrow_mut().push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn receive(&mut self, buffer: &mut [u8; MTU_MAX]) -> Result<Option<((), PacketReceived)>, Infallible> {
        let Some(datagram) = self.inbox.borrow_mut().pop_front() else { return Ok(None) };
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(Some(((), PacketReceived::Complete(datagram.len()))))
    }
}

pub struct EnetPeer {
    load: Load,
    is_second: bool,
    host: Host<Wire>,
    wire: Wire,
    clock: Rc<Shared<Nanos>>,
    peer: Option<PeerID>,
    /// It does not tell how much it has taken, so the second node tells how much it was given.
    delivered: Rc<Shared<u64>>,
    sent: u64,
    window: u64,
    next_tick: Nanos,
}

/// Both ends.
pub fn pair(cell: &Cell) -> [EnetPeer; 2] {
    let delivered = Rc::new(Shared::new(0));
    [false, true].map(|is_second| {
        let (wire, clock) = (Wire::default(), Rc::new(Shared::new(0)));
        let time = Rc::clone(&clock);
        let settings = HostSettings {
            peer_limit: 1,
            channel_limit: 1,
            checksum: Some(Box::new(crc32)),
            time: Box::new(move || Duration::from_nanos(time.get())),
            seed: Some(1),
            ..HostSettings::default()
        };
        let mut host = Host::new(wire.clone(), settings).expect("the settings are valid");
        host.set_mtu(1_192).expect("it is a size that it takes");
        if !is_second {
            host.connect((), 1, 0).expect("there is room for one peer").set_timeout(u32::MAX, u32::MAX, u32::MAX);
        }
        EnetPeer {
            load: cell.load,
            is_second,
            host,
            wire,
            clock,
            peer: None,
            delivered: Rc::clone(&delivered),
            sent: 0,
            window: 3 * cell.bandwidth_delay() / 132 + 64,
            next_tick: 0,
        }
    })
}

impl EnetPeer {
    fn service(&mut self, now: Nanos, deliver: &mut dyn FnMut(&[u8])) {
        self.clock.set(now);
        self.next_tick = now + MILLI;
        while let Some(event) = self.host.service().expect("the queue takes all") {
            match event {
                Event::Connect { peer, .. } => {
                    peer.set_timeout(u32::MAX, u32::MAX, u32::MAX);
                    self.peer = Some(peer.id());
                }
                Event::Disconnect { .. } => self.peer = None,
                Event::Receive { peer, packet, .. } if self.is_second && self.load != Load::Bulk => {
                    peer.send(0, &Packet::reliable(packet.data())).expect("the peer is there");
                }
                Event::Receive { packet, .. } => {
                    self.delivered.set(self.delivered.get() + 1);
                    deliver(packet.data());
                }
            }
        }
        self.host.flush();
    }
}

impl Peer for EnetPeer {
    fn is_connected(&self) -> bool {
        self.peer.is_some()
    }

    fn is_checked(&self) -> bool {
        true
    }

    fn send(&mut self, _now: Nanos, payload: &[u8]) -> bool {
        let Some(peer) = self.peer else { return false };
        if self.sent - self.delivered.get() >= self.window {
            return false;
        }
        self.sent += 1;
        self.host.peer_mut(peer).send(0, &Packet::reliable(payload)).is_ok()
    }

    fn receive(&mut self, now: Nanos, datagram: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        self.wire.inbox.borrow_mut().push_back(datagram.to_vec());
        self.service(now, deliver);
    }

    fn handle_timeout(&mut self, now: Nanos) {
        self.service(now, &mut |_| unreachable!("nothing has come"));
    }

    fn poll_datagram(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.wire.outbox.borrow().is_empty() {
            self.handle_timeout(now);
        }
        self.wire.outbox.borrow_mut().pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        Some(self.next_tick)
    }
}
