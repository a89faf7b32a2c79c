//! How much memory a node has: a few well-known sizes, fixed at compile time, or any at all.

use bowline::wire::Deframer;
use bowline::{
    Buffers, CallSlot, Config, Endpoint, HeldSlot, Instant, NotifySlot, PublishSlot, ReplySlot, Storage, Transmission,
    frame_len,
};

use super::any::{AnyDeframer, AnyEndpoint};
use super::rng::Rng;

/// The sizes that a node may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// The smallest frame that the protocol allows, one of everything.
    Least,
    /// The crate's defaults, and buffers for publishing.
    Usual,
    /// Frames longer than one COBS piece.
    Wide,
    /// Many calls in flight.
    Many,
    /// Calls others, serves nobody, takes no notifies.
    ClientOnly,
    /// Serves others, calls nobody.
    ServerOnly,
    /// Known at run time only.
    Drawn(Capacities),
}

/// See [`Buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capacities {
    pub payload: usize,
    pub calls: usize,
    pub replies: usize,
    pub notify_out: usize,
    pub notify_in: usize,
    pub publish: usize,
    pub sent: usize,
}

/// An endpoint, its deframer, and the size of its largest frame.
pub struct Parts {
    pub endpoint: Box<dyn AnyEndpoint>,
    pub deframer: Box<dyn AnyDeframer>,
    pub frame_len: usize,
}

impl Sizes {
    const FIXED: [Sizes; 6] =
        [Sizes::Least, Sizes::Usual, Sizes::Wide, Sizes::Many, Sizes::ClientOnly, Sizes::ServerOnly];

    pub fn draw(rng: &mut Rng) -> Sizes {
        if rng.chance(0.3) { rng.pick(&Sizes::FIXED) } else { Sizes::Drawn(Capacities::draw(rng)) }
    }

    pub fn capacities(self) -> Capacities {
        let [payload, calls, replies, notify_out, notify_in, publish, sent] = match self {
            Sizes::Least => [32, 1, 1, 1, 1, 1, 4],
            Sizes::Usual => [48, 2, 2, 2, 1, 1, 12],
            Sizes::Wide => [600, 4, 4, 4, 4, 2, 32],
            Sizes::Many => [100, 32, 32, 16, 16, 4, 128],
            Sizes::ClientOnly => [48, 4, 0, 2, 0, 0, 12],
            Sizes::ServerOnly => [64, 0, 4, 0, 2, 0, 12],
            Sizes::Drawn(capacities) => return capacities,
        };
        Capacities { payload, calls, replies, notify_out, notify_in, publish, sent }
    }

    /// Whether notifies and publishes of the peer are delivered at all: with memory for those that come too early left out at
    /// compile time they are not; with none of it at run time they are, in order.
    pub fn takes_one_way(self) -> bool {
        matches!(self, Sizes::Drawn(_)) || self.capacities().notify_in > 0
    }

    pub fn boot(self, now: Instant, config: Config) -> Parts {
        match self {
            Sizes::Least => self.boot_with(now, config, Buffers::<32, 1, 1, 1, 1, 1, 4>::new()),
            Sizes::Usual => self.boot_with(now, config, Buffers::<48, 2, 2, 2, 1, 1, 12>::new()),
            Sizes::Wide => self.boot_with(now, config, Buffers::<600, 4, 4, 4, 4, 2, 32>::new()),
            Sizes::Many => self.boot_with(now, config, Buffers::<100, 32, 32, 16, 16, 4, 128>::new()),
            Sizes::ClientOnly => self.boot_with(now, config, Buffers::<48, 4, 0, 2, 0, 0, 12>::new()),
            Sizes::ServerOnly => self.boot_with(now, config, Buffers::<64, 0, 4, 0, 2, 0, 12>::new()),
            Sizes::Drawn(capacities) => self.boot_with(now, config, Heap::new(capacities)),
        }
    }

    fn boot_with(self, now: Instant, config: Config, mut storage: impl Storage + 'static) -> Parts {
        let capacities = self.capacities();
        assert_eq!(capacities, Capacities::of(&mut storage), "the table above says otherwise");
        let endpoint = Box::new(Endpoint::new(now, config, storage));
        Parts { endpoint, deframer: deframer(capacities.payload), frame_len: frame_len(capacities.payload) }
    }
}

/// Payloads around the places where COBS needs one byte more, and others.
const PAYLOADS: [usize; 12] = [32, 33, 41, 48, 64, 100, 180, 239, 240, 241, 494, 600];

/// For frames as long as an endpoint with this payload takes them.
fn deframer(payload: usize) -> Box<dyn AnyDeframer> {
    match payload {
        32 => Box::new(Deframer::<{ frame_len(32) }>::new()),
        33 => Box::new(Deframer::<{ frame_len(33) }>::new()),
        41 => Box::new(Deframer::<{ frame_len(41) }>::new()),
        48 => Box::new(Deframer::<{ frame_len(48) }>::new()),
        64 => Box::new(Deframer::<{ frame_len(64) }>::new()),
        100 => Box::new(Deframer::<{ frame_len(100) }>::new()),
        180 => Box::new(Deframer::<{ frame_len(180) }>::new()),
        239 => Box::new(Deframer::<{ frame_len(239) }>::new()),
        240 => Box::new(Deframer::<{ frame_len(240) }>::new()),
        241 => Box::new(Deframer::<{ frame_len(241) }>::new()),
        494 => Box::new(Deframer::<{ frame_len(494) }>::new()),
        600 => Box::new(Deframer::<{ frame_len(600) }>::new()),
        other => panic!("no deframer for payloads of {other} bytes"),
    }
}

impl Capacities {
    fn draw(rng: &mut Rng) -> Capacities {
        // Few slots as often as many; one in eight nodes has none of a kind.
        let mut slots = |most: u64| if rng.chance(0.125) { 0 } else { rng.log_between(1, most) as usize };
        let (calls, replies, notify_out, notify_in, publish) = (slots(32), slots(32), slots(40), slots(40), slots(8));
        let least = calls + replies + notify_out + 1;
        // From no transmission to spare to more than are ever used.
        let sent = least + rng.index(2 * least);
        Capacities { payload: rng.pick(&PAYLOADS), calls, replies, notify_out, notify_in, publish, sent }
    }

    fn of(storage: &mut impl Storage) -> Capacities {
        let parts = storage.parts();
        Capacities {
            payload: parts.payload,
            calls: parts.calls.len(),
            replies: parts.replies.len(),
            notify_out: parts.notifies.len(),
            notify_in: parts.held.len(),
            publish: parts.publishes.len(),
            sent: parts.sent.len(),
        }
    }
}

/// Memory of any size.
struct Heap {
    payload: usize,
    calls: Vec<CallSlot>,
    replies: Vec<ReplySlot>,
    notifies: Vec<NotifySlot>,
    held: Vec<HeldSlot>,
    publishes: Vec<PublishSlot>,
    sent: Vec<Transmission>,
    /// Of calls, replies, notifies, those held, publishes.
    payloads: [Vec<u8>; 5],
}

impl Heap {
    fn new(capacities: Capacities) -> Heap {
        let Capacities { payload, calls, replies, notify_out, notify_in, publish, sent } = capacities;
        Heap {
            payload,
            calls: (0..calls).map(|_| CallSlot::FREE).collect(),
            replies: (0..replies).map(|_| ReplySlot::IDLE).collect(),
            notifies: (0..notify_out).map(|_| NotifySlot::FREE).collect(),
            held: (0..notify_in).map(|_| HeldSlot::FREE).collect(),
            publishes: (0..publish).map(|_| PublishSlot::FREE).collect(),
            sent: (0..sent).map(|_| Transmission::NONE).collect(),
            payloads: [calls, replies, notify_out, notify_in, publish].map(|slots| vec![0; slots * payload]),
        }
    }
}

impl Storage for Heap {
    fn parts(&mut self) -> bowline::Parts<'_> {
        let [call_payloads, reply_payloads, notify_payloads, held_payloads, publish_payloads] = &mut self.payloads;
        bowline::Parts {
            payload: self.payload,
            calls: &mut self.calls,
            call_payloads,
            replies: &mut self.replies,
            reply_payloads,
            notifies: &mut self.notifies,
            notify_payloads,
            held: &mut self.held,
            held_payloads,
            publishes: &mut self.publishes,
            publish_payloads,
            sent: &mut self.sent,
        }
    }
}
