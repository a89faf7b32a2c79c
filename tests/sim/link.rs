//! One direction of a link and everything that can go wrong on it.

use super::rng::Rng;

/// What goes wrong on one direction of a link. Probabilities are per frame, times in microseconds. The default is a perfect link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// The frame vanishes.
    pub loss: f64,
    /// Some of its bits flip: one, a few, or a burst; on a byte stream in the encoded bytes, the delimiter included.
    pub garble: f64,
    /// Its head, its tail or a part of its middle is missing.
    pub truncate: f64,
    /// Random bytes come before it.
    pub noise: f64,
    /// It comes again up to `duplicate_delay` later.
    pub duplicate: f64,
    pub duplicate_delay: u64,
    /// With it comes a frame of any earlier time, from this session or one long gone.
    pub replay: f64,
    /// Its sender hears it too.
    pub echo: f64,
    /// On a datagram link: it is held back by up to `reorder_by`, so that later ones overtake it.
    pub reorder: f64,
    pub reorder_by: u64,
    /// How long every frame takes, and up to how much longer.
    pub latency: u64,
    pub jitter: u64,
    /// Bytes per second that the port puts on the line, 0 for no limit.
    pub rate: u64,
    /// Bytes that the port takes ahead of the line. A frame larger than that is taken when the port is empty.
    pub room: u64,
    /// The port refuses though it has room.
    pub refuse: f64,
    /// Byte streams: the frame comes in several pieces.
    pub cut: f64,
    /// Everything is lost for about `outage` every now and then.
    pub outage_every: u64,
    pub outage: u64,
}

impl Faults {
    /// The same line with nothing wrong: as fast, as slow.
    pub fn calmed(&self) -> Faults {
        Faults { latency: self.latency, rate: self.rate, room: self.room, ..Faults::default() }
    }

    /// How long a frame of `len` bytes is under way at most, behind a full port.
    pub fn transit(&self, len: u64) -> u64 {
        self.latency + self.jitter + ((len + self.room) * 1_000_000).checked_div(self.rate).unwrap_or(0)
    }
}

/// Bytes that will arrive.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub at: u64,
    /// When the last of them left the sender's port: a sender that crashes before that may take them with it.
    pub left: u64,
    pub bytes: Vec<u8>,
    /// They come back to the sender.
    pub is_echo: bool,
    /// Not the frame itself but a second copy or an old one.
    pub is_copy: bool,
}

/// What the port said to a frame.
pub enum Offer {
    Refused,
    Taken {
        deliveries: Vec<Delivery>,
        /// The frame's bytes were altered.
        altered: bool,
    },
}

/// One direction of the link.
pub struct Link {
    pub faults: Faults,
    stream: bool,
    rng: Rng,
    /// Outages have draws of their own, so that both directions can share a schedule.
    weather: Rng,
    outage: (u64, u64),
    /// The line is busy until then.
    busy_until: u64,
    /// The port refuses until then.
    refuses_until: u64,
    /// Byte streams: nothing overtakes what arrives then.
    last_arrival: u64,
    /// Frames of all times, to be replayed.
    pub history: Vec<Vec<u8>>,
    taken: u64,
}

/// How many old frames are kept.
const HISTORY: usize = 256;

impl Link {
    pub fn new(faults: Faults, stream: bool, rng: Rng, weather: Rng) -> Link {
        let mut link = Link {
            faults,
            stream,
            rng,
            weather,
            outage: (0, 0),
            busy_until: 0,
            refuses_until: 0,
            last_arrival: 0,
            history: Vec::new(),
            taken: 0,
        };
        link.draw_outage(0);
        link
    }

    /// The faults end.
    pub fn calm(&mut self) {
        self.faults = self.faults.calmed();
        self.refuses_until = 0;
        self.outage = (u64::MAX, u64::MAX);
    }

    /// The sender has crashed, and what its port held is gone.
    pub fn reset_port(&mut self, now: u64) {
        self.busy_until = self.busy_until.min(now);
    }

    /// When the port will have room for a frame of `len` bytes; not after `now` if it has.
    pub fn room_at(&self, len: usize) -> u64 {
        let wait = match self.faults.rate {
            0 => 0,
            rate => self.busy_until.saturating_sub(self.faults.room.saturating_sub(len as u64) * 1_000_000 / rate),
        };
        wait.max(self.refuses_until)
    }

    /// Offers a frame's bytes to the port.
    pub fn offer(&mut self, now: u64, bytes: &[u8]) -> Offer {
        if self.rng.chance(self.faults.refuse) {
            self.refuses_until = now + self.rng.between(20, 3_000);
        }
        if self.room_at(bytes.len()) > now {
            return Offer::Refused;
        }
        let start = self.busy_until.max(now);
        let left = start + (bytes.len() as u64 * 1_000_000).checked_div(self.faults.rate).unwrap_or(0);
        self.busy_until = left;
        let mut deliveries = Vec::new();
        let altered = self.carry(start, left, bytes, &mut deliveries);
        self.remember(bytes);
        Offer::Taken { deliveries, altered }
    }

    /// An old frame, and when it arrives if it is sent now.
    pub fn replay(&mut self, now: u64, index: usize) -> Delivery {
        let at = self.arrival(now, false);
        Delivery { at, left: now, bytes: self.history[index].clone(), is_echo: false, is_copy: true }
    }

    fn carry(&mut self, start: u64, left: u64, bytes: &[u8], deliveries: &mut Vec<Delivery>) -> bool {
        let f = self.faults.clone();
        if self.rng.chance(f.replay) && !self.history.is_empty() {
            let index = self.rng.index(self.history.len());
            deliveries.push(self.replay(left, index));
        }
        if self.rng.chance(f.echo) {
            let at = left + self.rng.below(f.latency + 1);
            deliveries.push(Delivery { at, left, bytes: bytes.to_vec(), is_echo: true, is_copy: false });
        }
        let duplicates = self.rng.chance(f.duplicate);
        if duplicates {
            let late = left + f.latency + self.rng.below(f.duplicate_delay + 1);
            deliveries.push(Delivery { at: late, left, bytes: bytes.to_vec(), is_echo: false, is_copy: true });
        }
        if self.is_out(left) || self.rng.chance(f.loss) {
            return false;
        }
        let mut carried = bytes.to_vec();
        if self.rng.chance(f.truncate) {
            self.truncate(&mut carried);
        }
        if self.rng.chance(f.garble) {
            self.garble(&mut carried);
        }
        let altered = carried != bytes;
        if self.stream && self.rng.chance(f.noise) {
            let mut noise = vec![0; self.rng.between(1, 40) as usize];
            self.rng.fill(&mut noise);
            noise.append(&mut carried);
            carried = noise;
        }
        self.deliver(start, left, carried, deliveries);
        altered
    }

    /// Whole, or in pieces that arrive one after the other.
    fn deliver(&mut self, start: u64, left: u64, mut bytes: Vec<u8>, deliveries: &mut Vec<Delivery>) {
        let whole = bytes.len() as u64;
        while self.stream && bytes.len() > 1 && self.rng.chance(self.faults.cut) {
            let rest = bytes.split_off(self.rng.between(1, bytes.len() as u64 - 1) as usize);
            let piece = std::mem::replace(&mut bytes, rest);
            let piece_left = left - (left - start) * bytes.len() as u64 / whole.max(1);
            let at = self.arrival(piece_left, true);
            deliveries.push(Delivery { at, left: piece_left, bytes: piece, is_echo: false, is_copy: false });
        }
        let at = self.arrival(left, true);
        deliveries.push(Delivery { at, left, bytes, is_echo: false, is_copy: false });
    }

    fn arrival(&mut self, left: u64, in_order: bool) -> u64 {
        let f = &self.faults;
        let mut at = left + f.latency + self.rng.below(f.jitter + 1);
        if self.stream && in_order {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        } else if self.rng.chance(f.reorder) {
            at += self.rng.below(f.reorder_by + 1);
        }
        at
    }

    fn truncate(&mut self, bytes: &mut Vec<u8>) {
        let len = bytes.len() as u64;
        let from = self.rng.below(len) as usize;
        let to = self.rng.between(from as u64 + 1, len) as usize;
        match self.rng.below(3) {
            0 => bytes.truncate(from),
            1 => drop(bytes.drain(..to)),
            _ => drop(bytes.drain(from..to)),
        }
    }

    fn garble(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.rng.chance(0.2) {
            let from = self.rng.index(bytes.len());
            let to = self.rng.between(from as u64 + 1, bytes.len() as u64) as usize;
            return self.rng.fill(&mut bytes[from..to]);
        }
        for _ in 0..=self.rng.below(8) {
            let index = self.rng.index(bytes.len());
            bytes[index] ^= 1 << self.rng.below(8);
        }
    }

    fn is_out(&mut self, now: u64) -> bool {
        while self.outage.1 <= now {
            self.draw_outage(self.outage.1);
        }
        self.outage.0 <= now
    }

    fn draw_outage(&mut self, after: u64) {
        self.outage = match self.faults.outage_every {
            0 => (u64::MAX, u64::MAX),
            every => {
                let from = after + 1 + self.weather.around(every);
                (from, from + 1 + self.weather.around(self.faults.outage))
            }
        };
    }

    /// Keeps a fair sample of all frames.
    fn remember(&mut self, bytes: &[u8]) {
        self.taken += 1;
        if self.history.len() < HISTORY {
            return self.history.push(bytes.to_vec());
        }
        let index = self.rng.below(self.taken) as usize;
        if let Some(place) = self.history.get_mut(index) {
            *place = bytes.to_vec();
        }
    }
}
