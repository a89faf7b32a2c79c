//! bowline with the memory of a server: of a size that the compiler knows, or lent at run time.

use bowline::{
    Buffers, CallSlot, Config, Duration, Endpoint, HeldSlot, Incarnation, Instant, Message, NotifySlot, Parts,
    ReplySlot, Semantics, Storage, Transmission,
};

use crate::exchange::{End, Load};

const KEY: u16 = 0x4B1D;
const TIMEOUT: Duration = Duration::from_secs(3_600);
const PAYLOAD: usize = 1_170;

/// Two nodes whose memory has sizes that the compiler knows, as most have.
pub fn pair(load: Load) -> [Box<dyn End>; 2] {
    match load {
        Load::Call | Load::Calls => {
            [1, 2].map(|seed| Node::boxed(seed, true, Buffers::<PAYLOAD, 32, 32, 0, 0, 0, 104>::new()))
        }
        Load::Bulk => [1, 2].map(|seed| Node::boxed(seed, false, Buffers::<PAYLOAD, 0, 0, 256, 64, 0, 392>::new())),
    }
}

/// Two nodes with memory of these sizes, lent at run time.
pub fn pair_lent(sizes: Sizes) -> [Box<dyn End>; 2] {
    [1, 2].map(|seed| Node::boxed(seed, sizes.calls > 0, Memory::new(sizes)))
}

/// How many slots of each kind.
#[derive(Clone, Copy)]
pub struct Sizes {
    calls: usize,
    window: usize,
}

impl Sizes {
    pub const fn of(load: Load) -> Self {
        match load {
            Load::Call | Load::Calls => Self { calls: 32, window: 0 },
            Load::Bulk => Self { calls: 0, window: 256 },
        }
    }

    pub const fn window(window: usize) -> Self {
        Self { calls: 0, window }
    }
}

struct Node<S> {
    calls: bool,
    endpoint: Endpoint<S>,
}

impl<S: Storage + 'static> Node<S> {
    fn boxed(seed: u64, calls: bool, storage: S) -> Box<dyn End> {
        let config = Config::new(Incarnation::random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1));
        Box::new(Self { calls, endpoint: Endpoint::new(Instant::from_micros(0), config, storage) })
    }
}

impl<S: Storage> End for Node<S> {
    fn is_connected(&self) -> bool {
        self.endpoint.is_connected()
    }

    fn send(&mut self, micros: u64, payload: &[u8]) -> bool {
        let now = Instant::from_micros(micros);
        if self.calls {
            self.endpoint.call(now, KEY, Semantics::AtMostOnce, TIMEOUT, payload).is_ok()
        } else {
            self.endpoint.notify(now, KEY, payload).is_ok()
        }
    }

    fn handle(&mut self, micros: u64, datagram: &mut [u8], deliver: &mut dyn FnMut(&[u8])) {
        let (now, endpoint) = (Instant::from_micros(micros), &mut self.endpoint);
        let mut messages = endpoint.handle_frame(now, datagram);
        while let Some(message) = messages.next(endpoint) {
            match message {
                Message::Request { id, payload, .. } => endpoint.respond(now, id, payload).expect("the session lives"),
                Message::Response { payload, .. }
                | Message::Notify { payload, .. }
                | Message::Publish { payload, .. } => deliver(payload),
            }
        }
        while let Some(notify) = endpoint.poll_notify() {
            deliver(notify.payload);
        }
        while endpoint.poll_event().is_some() {}
    }

    fn poll(&mut self, micros: u64, buf: &mut [u8]) -> Option<usize> {
        self.endpoint.poll_transmit(Instant::from_micros(micros), buf)
    }
}

struct Memory {
    calls: Vec<CallSlot>,
    replies: Vec<ReplySlot>,
    notifies: Vec<NotifySlot>,
    held: Vec<HeldSlot>,
    sent: Vec<Transmission>,
    payloads: [Vec<u8>; 4],
}

impl Memory {
    fn new(Sizes { calls, window }: Sizes) -> Self {
        Self {
            calls: vec![CallSlot::FREE; calls],
            replies: vec![ReplySlot::IDLE; calls],
            notifies: vec![NotifySlot::FREE; window],
            held: vec![HeldSlot::FREE; window.min(64)],
            sent: vec![Transmission::NONE; 3 * calls + window + window / 2 + 8],
            payloads: [calls, calls, window, window.min(64)].map(|slots| vec![0; slots * PAYLOAD]),
        }
    }
}

impl Storage for Memory {
    fn parts(&mut self) -> Parts<'_> {
        let [call_payloads, reply_payloads, notify_payloads, held_payloads] = &mut self.payloads;
        Parts {
            payload: PAYLOAD,
            calls: &mut self.calls,
            call_payloads,
            replies: &mut self.replies,
            reply_payloads,
            notifies: &mut self.notifies,
            notify_payloads,
            held: &mut self.held,
            held_payloads,
            publishes: &mut [],
            publish_payloads: &mut [],
            sent: &mut self.sent,
        }
    }
}
