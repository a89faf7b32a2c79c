//! What a call and a message cost with other protocols. Started by `cargo bench --bench cpu -- --peers`.
//!
//! Datagrams without a check of their own get the one that bowline has. The best of each protocol's tunings counts.

#[path = "../enet.rs"]
mod enet;
#[path = "../../../cpu/exchange.rs"]
#[allow(dead_code, reason = "windows are measured with bowline alone")]
mod exchange;
#[path = "../framed.rs"]
#[allow(dead_code, reason = "the other program frames datagrams for a byte stream")]
mod framed;
#[path = "../kcp.rs"]
#[allow(dead_code, reason = "the other program tells its tunings apart")]
mod kcp;
#[path = "../../../link/model/mod.rs"]
mod model;
#[path = "../quic.rs"]
#[allow(dead_code, reason = "the other program tells its tunings apart")]
mod quic;
#[path = "../../../cpu/report.rs"]
mod report;
#[path = "../tcp.rs"]
#[allow(dead_code, reason = "the other program tells its tunings apart")]
mod tcp;

use exchange::{End, Load, measure};
use framed::Peer;
use model::cell::{Cell, Fault};
use report::Figure;

/// A fast link without faults, which only sets windows.
const fn cell(load: Load) -> Cell {
    let load = match load {
        Load::Call => model::cell::Load::Rpc1,
        Load::Calls => model::cell::Load::Rpc8,
        Load::Bulk => model::cell::Load::Bulk,
    };
    Cell { load, rate: 12_500_000, latency_ms: 1, loss_pct: 0, fault: Fault::Clean }
}

/// A peer that is told its time in microseconds.
struct Timed<P>(P);

impl<P: Peer> End for Timed<P> {
    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn send(&mut self, micros: u64, payload: &[u8]) -> bool {
        self.0.send(micros * 1_000, payload)
    }

    fn handle(&mut self, micros: u64, datagram: &mut [u8], deliver: &mut dyn FnMut(&[u8])) {
        let datagram = if self.0.is_checked() {
            datagram
        } else {
            let Some((datagram, check)) = datagram.split_last_chunk_mut::<4>() else { return };
            if crc32c::crc32c(datagram).to_le_bytes() != *check {
                return;
            }
            datagram
        };
        self.0.receive(micros * 1_000, datagram, deliver);
    }

    fn poll(&mut self, micros: u64, buf: &mut [u8]) -> Option<usize> {
        let now = micros * 1_000;
        if self.0.poll_timeout().is_some_and(|at| at <= now) {
            self.0.handle_timeout(now);
        }
        let datagram = self.0.poll_datagram(now)?;
        let len = datagram.len();
        buf[..len].copy_from_slice(&datagram);
        if self.0.is_checked() {
            return Some(len);
        }
        buf[len..len + 4].copy_from_slice(&crc32c::crc32c(&datagram).to_le_bytes());
        Some(len + 4)
    }
}

fn pair<P: Peer + 'static>([one, two]: [P; 2]) -> [Box<dyn End>; 2] {
    [Box::new(Timed(one)), Box::new(Timed(two))]
}

fn main() {
    for load in Load::ALL {
        let cell = cell(load);
        let best = |nanos: &mut dyn Iterator<Item = f64>| nanos.fold(f64::INFINITY, f64::min);
        let kcp = best(&mut kcp::TUNINGS.iter().map(|tuning| {
            measure(load, || pair([false, true].map(|second| kcp::KcpPeer::new(*tuning, &cell, second))))
        }));
        let tcp = best(&mut tcp::TUNINGS.iter().map(|tuning| {
            measure(load, || pair([false, true].map(|second| tcp::TcpPeer::new(*tuning, &cell, second, 1))))
        }));
        let quic = best(&mut quic::TUNINGS.iter().map(|tuning| measure(load, || pair(quic::pair(*tuning, &cell, 1)))));
        let enet = measure(load, || pair(enet::pair(&cell)));
        for (name, nanos) in
            [("kcp 0.6", kcp), ("smoltcp 0.14 TCP", tcp), ("quinn-proto 0.11", quic), ("rusty_enet 0.4", enet)]
        {
            println!("{}", Figure::new(name, load.name(), nanos).to_json());
        }
    }
}
