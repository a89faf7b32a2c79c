//! kcp 0.6: a stream for bulk, messages for calls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;

use kcp::Kcp;

use crate::framed::{Messages, Peer};
use crate::model::cell::{Cell, Load};
use crate::model::{MILLI, Nanos};

#[derive(Clone, Copy)]
pub struct Tuning {
    pub name: &'static str,
    mtu: usize,
    /// What its documentation calls fast: no delay, no congestion window.
    is_fast: bool,
    /// Later packets that were acknowledged until one is sent again; 0 for by timer alone.
    resend: i32,
    /// Not only each 10 ms: whenever something came or was sent.
    is_eager: bool,
}

pub const TUNINGS: [Tuning; 5] = [
    Tuning { name: "kcp-normal", mtu: 1_400, is_fast: false, resend: 0, is_eager: false },
    Tuning { name: "kcp-fast", mtu: 1_400, is_fast: true, resend: 2, is_eager: false },
    Tuning { name: "kcp-eager", mtu: 1_400, is_fast: true, resend: 2, is_eager: true },
    Tuning { name: "kcp-eager256", mtu: 248, is_fast: true, resend: 2, is_eager: true },
    Tuning { name: "kcp-timer", mtu: 1_192, is_fast: true, resend: 0, is_eager: true },
];

/// Datagrams that wait for the port.
#[derive(Clone, Default)]
struct Queue(Rc<RefCell<VecDeque<Vec<u8>>>>);

impl Write for Queue {
    fn write(&mut self, datagram: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub struct KcpPeer {
    load: Load,
    is_second: bool,
    is_eager: bool,
    is_dirty: bool,
    now: Nanos,
    window: usize,
    kcp: Kcp<Queue>,
    queue: Queue,
    messages: Messages,
}

impl KcpPeer {
    pub fn new(tuning: Tuning, cell: &Cell, is_second: bool) -> Self {
        let queue = Queue::default();
        let is_bulk = cell.load == Load::Bulk;
        let mut kcp = if is_bulk { Kcp::new_stream(7, queue.clone()) } else { Kcp::new(7, queue.clone()) };
        kcp.set_mtu(tuning.mtu).expect("the size is one that it takes");
        kcp.set_nodelay(tuning.is_fast, 10, tuning.resend, tuning.is_fast);
        kcp.set_maximum_resend_times(u32::MAX);
        let window = (2 * cell.bandwidth_delay() as usize / tuning.mtu + 32).min(30_000);
        kcp.set_wndsize(window as u16, window as u16);
        kcp.update(0).expect("the queue takes all");
        Self {
            load: cell.load,
            is_second,
            is_eager: tuning.is_eager,
            is_dirty: false,
            now: 0,
            window,
            kcp,
            queue,
            messages: Messages::default(),
        }
    }
}

impl Peer for KcpPeer {
    fn is_connected(&self) -> bool {
        true
    }

    fn send(&mut self, _now: Nanos, payload: &[u8]) -> bool {
        if self.kcp.wait_snd() >= 2 * self.window {
            return false;
        }
        let message = if self.load == Load::Bulk { Messages::prefixed(payload) } else { payload.to_vec() };
        self.kcp.send(&message).expect("it is not too long");
        self.is_dirty = true;
        true
    }

    fn receive(&mut self, _now: Nanos, datagram: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        // What it does not understand it drops.
        let _ = self.kcp.input(datagram);
        self.is_dirty = true;
        while let Ok(len) = self.kcp.peeksize() {
            let mut message = vec![0; len];
            self.kcp.recv(&mut message).expect("there is one");
            match self.load {
                Load::Bulk => self.messages.push(&message, deliver),
                _ if self.is_second => drop(self.kcp.send(&message).expect("it is as long as the call")),
                _ => deliver(&message),
            }
        }
    }

    fn handle_timeout(&mut self, now: Nanos) {
        self.now = now;
        self.kcp.update((now / MILLI) as u32).expect("the queue takes all");
        if self.is_eager && std::mem::take(&mut self.is_dirty) {
            self.kcp.flush().expect("the queue takes all");
        }
    }

    fn poll_datagram(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.is_eager && self.is_dirty && self.queue.0.borrow().is_empty() {
            self.handle_timeout(now);
        }
        self.queue.0.borrow_mut().pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        // It counts whole milliseconds.
        let now = (self.now / MILLI) as u32;
        let wait = self.kcp.check(now).max(1);
        Some(Nanos::from(now + wait) * MILLI)
    }
}
