//! bowline on a byte stream, with the memory of a server.

use bowline::wire::Deframer;
use bowline::{
    CallSlot, Config, Duration, Endpoint, Event, HeldSlot, Incarnation, Instant, Message, NotifySlot, Parts, ReplySlot,
    Semantics, Storage, Transmission, frame_len,
};

use crate::model::cell::{Cell, Load};
use crate::model::node::Node;
use crate::model::{MICRO, Nanos};

/// No call ends by its deadline.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const KEY: u16 = 0x4B1D;

/// A node whose frames have at most `FRAME` bytes.
pub struct Bowline<const FRAME: usize> {
    load: Load,
    endpoint: Endpoint<Memory>,
    deframer: Deframer<FRAME>,
}

impl<const FRAME: usize> Bowline<FRAME> {
    pub fn new(cell: &Cell, second_copy: bool, seed: u64) -> Self {
        let config = Config {
            second_copy,
            // An outage of 10 s is survived.
            lease: Duration::from_secs(60),
            ..Config::new(Incarnation::random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1))
        };
        Self {
            load: cell.load,
            endpoint: Endpoint::new(Instant::from_micros(0), config, Memory::new(FRAME, cell)),
            deframer: Deframer::new(),
        }
    }
}

impl<const FRAME: usize> Node for Bowline<FRAME> {
    fn is_connected(&self) -> bool {
        self.endpoint.is_connected()
    }

    fn send(&mut self, now: Nanos, payload: &[u8]) -> bool {
        let now = instant(now);
        match self.load {
            Load::Bulk => self.endpoint.notify(now, KEY, payload).is_ok(),
            Load::Rpc1 | Load::Rpc8 => self.endpoint.call(now, KEY, Semantics::AtMostOnce, TIMEOUT, payload).is_ok(),
        }
    }

    fn handle(&mut self, now: Nanos, mut frame: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        let (now, endpoint) = (instant(now), &mut self.endpoint);
        while let Some(packet) = self.deframer.next_frame(&mut frame) {
            let mut messages = endpoint.handle_frame(now, packet);
            while let Some(message) = messages.next(endpoint) {
                match message {
                    Message::Request { id, payload, .. } => {
                        endpoint.respond(now, id, payload).expect("the session lives, and what came in goes out");
                    }
                    Message::Response { payload, .. } | Message::Notify { payload, .. } => deliver(payload),
                    Message::Publish { .. } => unreachable!("nobody publishes"),
                }
            }
        }
        while let Some(notify) = endpoint.poll_notify() {
            deliver(notify.payload);
        }
        while let Some(event) = endpoint.poll_event() {
            assert_eq!(event, Event::Connected);
        }
    }

    fn handle_timeout(&mut self, now: Nanos) {
        self.endpoint.handle_timeout(instant(now));
    }

    fn poll_transmit(&mut self, now: Nanos, frame: &mut Vec<u8>) -> bool {
        frame.resize(FRAME, 0);
        let len = self.endpoint.poll_frame(instant(now), frame);
        frame.truncate(len.unwrap_or(0));
        len.is_some()
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        self.endpoint.poll_timeout().map(|at| at.as_micros().saturating_mul(MICRO))
    }

    fn notes(&self) -> String {
        let stats = self.endpoint.stats();
        format!("{:?} {stats:?}", self.endpoint.round_trip())
    }
}

/// Its clock counts whole microseconds.
fn instant(now: Nanos) -> Instant {
    Instant::from_micros(now / MICRO)
}

/// Slots as a server would have them on this link.
struct Memory {
    payload: usize,
    calls: Vec<CallSlot>,
    replies: Vec<ReplySlot>,
    notifies: Vec<NotifySlot>,
    held: Vec<HeldSlot>,
    sent: Vec<Transmission>,
    call_payloads: Vec<u8>,
    reply_payloads: Vec<u8>,
    notify_payloads: Vec<u8>,
    held_payloads: Vec<u8>,
}

impl Memory {
    fn new(frame: usize, cell: &Cell) -> Self {
        let payload = (32..frame).rev().find(|payload| frame_len(*payload) <= frame).expect("a frame has room");
        let calls = cell.load.calls();
        // Messages are delivered in order, so the window must last while one of them is lost time and again.
        let window = match cell.load {
            Load::Bulk => (12 * cell.bandwidth_delay() / 132 + 64) as usize,
            _ => 0,
        };
        Self {
            payload,
            calls: vec![CallSlot::FREE; calls],
            replies: vec![ReplySlot::IDLE; calls],
            notifies: vec![NotifySlot::FREE; window],
            held: vec![HeldSlot::FREE; window],
            sent: vec![Transmission::NONE; 3 * (2 * calls + window) / 2 + 8],
            call_payloads: vec![0; calls * payload],
            reply_payloads: vec![0; calls * payload],
            notify_payloads: vec![0; window * payload],
            held_payloads: vec![0; window * payload],
        }
    }
}

impl Storage for Memory {
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            payload: self.payload,
            calls: &mut self.calls,
            call_payloads: &mut self.call_payloads,
            replies: &mut self.replies,
            reply_payloads: &mut self.reply_payloads,
            notifies: &mut self.notifies,
            notify_payloads: &mut self.notify_payloads,
            held: &mut self.held,
            held_payloads: &mut self.held_payloads,
            publishes: &mut [],
            publish_payloads: &mut [],
            sent: &mut self.sent,
        }
    }
}
