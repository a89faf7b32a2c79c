//! Two ends that hand each other their datagrams.

use std::time::Instant;

/// One end of a protocol that speaks in datagrams.
pub trait End {
    fn is_connected(&self) -> bool {
        true
    }

    /// Sends a call or message; whether there was room.
    fn send(&mut self, micros: u64, payload: &[u8]) -> bool;

    /// A datagram has come. Calls are answered with what they say; `deliver` is told each response, or each message.
    fn handle(&mut self, micros: u64, datagram: &mut [u8], deliver: &mut dyn FnMut(&[u8]));

    /// Writes the next datagram, if there is one, and returns its length.
    fn poll(&mut self, micros: u64, buf: &mut [u8]) -> Option<usize>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// 8 bytes each way, one after the other.
    Call,
    /// The same, eight at a time.
    Calls,
    /// Messages of 128 bytes one way, as fast as they are taken.
    Bulk,
}

impl Load {
    pub const ALL: [Self; 3] = [Self::Call, Self::Calls, Self::Bulk];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call, 1 in flight",
            Self::Calls => "call, 8 in flight",
            Self::Bulk => "message of 128 bytes",
        }
    }

    /// How many there are under way, of how many bytes.
    const fn shape(self) -> (usize, usize) {
        match self {
            Self::Call => (1, 8),
            Self::Calls => (8, 8),
            Self::Bulk => (64, 128),
        }
    }
}

/// How many exchanges a run has, and how many runs there are: the best one counts, since all that disturbs makes it longer.
const EXCHANGES: usize = 40_000;
const RUNS: usize = 8;

/// A round trip takes so long, in microseconds of the time that the ends are told.
const STEP: u64 = 10;

/// Nanoseconds of an exchange, both ends together.
pub fn measure(load: Load, pair: impl Fn() -> [Box<dyn End>; 2]) -> f64 {
    (0..RUNS).map(|_| once(load, EXCHANGES, pair())).fold(f64::INFINITY, f64::min)
}

/// The same for messages of 32 bytes, of which `window` are under way at a time.
pub fn measure_window(window: usize, pair: impl Fn() -> [Box<dyn End>; 2]) -> f64 {
    let exchanges = EXCHANGES.max(4 * window);
    (0..RUNS).map(|_| once_with_window(window, exchanges, pair())).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of each of `exchanges` exchanges.
pub fn once(load: Load, exchanges: usize, pair: [Box<dyn End>; 2]) -> f64 {
    let (in_flight, len) = load.shape();
    run(in_flight, len, exchanges, pair)
}

/// Nanoseconds of each of so many messages of 32 bytes, `window` of which are under way at a time.
pub fn once_with_window(window: usize, messages: usize, pair: [Box<dyn End>; 2]) -> f64 {
    run(window, 32, messages, pair)
}

fn run(in_flight: usize, len: usize, exchanges: usize, [mut one, mut two]: [Box<dyn End>; 2]) -> f64 {
    let mut link = Link { now: 0, buf: vec![0; 2_048] };
    let payload = vec![0x5A; len];
    let mut done = 0;
    while !(one.is_connected() && two.is_connected()) {
        link.turn(&mut *one, &mut *two, &mut |_| {});
        assert!(link.now < 10_000_000, "they do not meet");
    }
    let mut sent = 0;
    let mut started = Instant::now();
    // The first tenth warms up.
    let warm = exchanges / 10;
    let mut is_warm = false;
    while done < exchanges + warm {
        if !is_warm && done >= warm {
            is_warm = true;
            started = Instant::now();
        }
        while sent < done + in_flight && one.send(link.now, &payload) {
            sent += 1;
        }
        link.turn(&mut *one, &mut *two, &mut |received| {
            debug_assert_eq!(received, payload);
            done += 1;
        });
        assert!(link.now < 1 << 40, "they stand still after {done}");
    }
    started.elapsed().as_secs_f64() * 1e9 / exchanges as f64
}

struct Link {
    now: u64,
    buf: Vec<u8>,
}

impl Link {
    /// All that waits goes there and back.
    fn turn(&mut self, one: &mut dyn End, two: &mut dyn End, deliver: &mut dyn FnMut(&[u8])) {
        self.now += STEP;
        while let Some(len) = one.poll(self.now, &mut self.buf) {
            two.handle(self.now, &mut self.buf[..len], deliver);
        }
        self.now += STEP;
        while let Some(len) = two.poll(self.now, &mut self.buf) {
            one.handle(self.now, &mut self.buf[..len], deliver);
        }
    }
}
