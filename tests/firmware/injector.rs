//! The line between host and board: it loses, garbles, cuts, repeats and delays frames, and it can stall.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long every frame is under way.
const LATENCY: Duration = Duration::from_millis(1);
/// How much later one that is delayed, or a second copy, arrives at most.
const LATER: Duration = Duration::from_millis(20);
/// A frame that this program could not hand over in time is lost: none is under way for longer than 100 ms.
const LONGEST: Duration = Duration::from_millis(100);
/// How often to look whether something was asked for.
const TICK: Duration = Duration::from_millis(20);
/// What is kept of bytes without a delimiter.
const MAX_FRAME: usize = 2048;

/// What is done to frames, in percent of all.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss: f64,
    /// Bits are flipped, or a byte is missing.
    pub garble: f64,
    pub repeat: f64,
    pub delay: f64,
}

impl Faults {
    pub const NONE: Self = Self { loss: 0.0, garble: 0.0, repeat: 0.0, delay: 0.0 };
    pub const ROUGH: Self = Self { loss: 8.0, garble: 4.0, repeat: 4.0, delay: 8.0 };
}

/// What became of the frames of both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub frames: u32,
    pub lost: u32,
    pub garbled: u32,
    pub repeated: u32,
    pub delayed: u32,
    /// There was no room for it, or nobody to take it.
    pub refused: u32,
}

/// The running thread. It ends when this is dropped.
pub struct Injector {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Control {
    is_over: AtomicBool,
    is_stalled: AtomicBool,
    /// A board that was started again.
    board: Mutex<Option<UnixStream>>,
    counts: Mutex<Counts>,
}

impl Injector {
    /// Joins whoever connects to the socket `path` to a board.
    pub fn start(path: &Path, board: UnixStream, faults: Faults, seed: u64) -> Self {
        let control = Arc::new(Control::default());
        let listener = UnixListener::bind(path).expect("the directory is ours");
        listener.set_nonblocking(true).expect("sockets can be looked at");
        let mut relay = Relay {
            control: control.clone(),
            faults,
            rng: Rng::with_seed(seed),
            under_way: BinaryHeap::new(),
            order: 0,
            ends: [End::default(), End::default()],
            last_of_host: Vec::new(),
        };
        relay.ends[BOARD].attach(board);
        let thread = thread::spawn(move || {
            while !relay.control.is_over.load(Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    relay.ends[HOST].attach(stream);
                }
                relay.turn();
            }
        });
        Self { control, thread: Some(thread) }
    }

    /// The board was started again: nothing is left on its old line.
    pub fn attach(&self, board: UnixStream) {
        *self.control.board.lock().expect("nobody panics with it") = Some(board);
    }

    /// From now on nothing that the board says is read, and the host's latest frame comes again and again.
    pub fn stall(&self, is_stalled: bool) {
        self.control.is_stalled.store(is_stalled, Relaxed);
    }

    pub fn counts(&self) -> Counts {
        *self.control.counts.lock().expect("nobody panics with it")
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.control.is_over.store(true, Relaxed);
        // A panic of the thread has been printed already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

const HOST: usize = 0;
const BOARD: usize = 1;

/// One end of the line.
#[derive(Default)]
struct End {
    stream: Option<UnixStream>,
    /// A frame whose delimiter has not come yet.
    partial: Vec<u8>,
}

/// A frame on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    arrives: Instant,
    order: u64,
    to: usize,
    bytes: Vec<u8>,
}

struct Relay {
    control: Arc<Control>,
    faults: Faults,
    rng: Rng,
    /// The next to arrive on top.
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    ends: [End; 2],
    last_of_host: Vec<u8>,
}

impl Relay {
    /// Waits for something to do, and does it.
    fn turn(&mut self) {
        if let Some(board) = self.control.board.lock().expect("nobody panics with it").take() {
            self.ends[BOARD].attach(board);
        }
        let is_stalled = self.control.is_stalled.load(Relaxed);
        if is_stalled {
            thread::sleep(Duration::from_millis(1));
            let bytes = self.last_of_host.clone();
            self.deliver(&UnderWay { arrives: Instant::now(), order: 0, to: BOARD, bytes });
        } else {
            self.wait();
        }
        for from in [HOST, BOARD] {
            // Frames that leave the board while the line is stalled stay in its socket, until that is full.
            if is_stalled && from == BOARD {
                continue;
            }
            for frame in self.ends[from].read() {
                if from == HOST {
                    self.last_of_host.clone_from(&frame);
                }
                self.decide(1 - from, frame);
            }
        }
        while self.under_way.peek().is_some_and(|Reverse(next)| next.arrives <= Instant::now()) {
            let Some(Reverse(frame)) = self.under_way.pop() else { break };
            self.deliver(&frame);
        }
    }

    /// Until bytes come, a frame arrives, or something may have been asked for.
    fn wait(&self) {
        let now = Instant::now();
        let next = self.under_way.peek().map(|Reverse(next)| next.arrives.saturating_duration_since(now));
        let wait = Timespec::try_from(next.unwrap_or(TICK).min(TICK)).expect("a short time");
        let streams = self.ends.iter().filter_map(|end| end.stream.as_ref());
        let mut fds = streams.map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)).collect::<Vec<_>>();
        // An interrupted wait is only a short one.
        let _ = poll(&mut fds, Some(&wait));
    }

    /// What becomes of one frame.
    fn decide(&mut self, to: usize, mut bytes: Vec<u8>) {
        let Self { faults: Faults { loss, garble, repeat, delay }, rng, .. } = self;
        let (die, later) = (rng.f64() * 100.0, LATER.mul_f64(rng.f64()));
        let arrives = Instant::now() + LATENCY;
        let mut counts = self.control.counts.lock().expect("nobody panics with it");
        counts.frames += 1;
        let arrivals = if die < *loss {
            counts.lost += 1;
            vec![]
        } else if die < *loss + *garble {
            counts.garbled += 1;
            damage(&mut bytes, rng);
            vec![arrives]
        } else if die < *loss + *garble + *repeat {
            counts.repeated += 1;
            vec![arrives, arrives + later]
        } else if die < *loss + *garble + *repeat + *delay {
            counts.delayed += 1;
            vec![arrives + later]
        } else {
            vec![arrives]
        };
        for arrives in arrivals {
            self.order += 1;
            self.under_way.push(Reverse(UnderWay { arrives, order: self.order, to, bytes: bytes.clone() }));
        }
    }

    /// A full socket cuts the frame, as a serial port's buffer does.
    fn deliver(&mut self, frame: &UnderWay) {
        let is_late = frame.arrives + LONGEST < Instant::now();
        if is_late || !self.ends[frame.to].write(&frame.bytes) {
            self.control.counts.lock().expect("nobody panics with it").refused += 1;
        }
    }
}

impl End {
    fn attach(&mut self, stream: UnixStream) {
        stream.set_nonblocking(true).expect("sockets can be looked at");
        *self = Self { stream: Some(stream), partial: Vec::new() };
    }

    /// The frames that are complete, with their delimiters.
    fn read(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buf = [0; 4096];
        while let Some(stream) = &mut self.stream {
            let len = match stream.read(&mut buf) {
                Ok(0) => {
                    self.stream = None;
                    break;
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.stream = None;
                    break;
                }
            };
            for piece in buf[..len].split_inclusive(|byte| *byte == 0) {
                self.partial.extend_from_slice(piece);
                if piece.ends_with(&[0]) || self.partial.len() > MAX_FRAME {
                    frames.push(std::mem::take(&mut self.partial));
                }
            }
        }
        frames
    }

    /// Whether all of it was taken.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.as_mut().is_some_and(|stream| stream.write(bytes).is_ok_and(|len| len == bytes.len()))
    }
}

/// Flips one to three bits anywhere, the delimiter included, or drops a byte.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if rng.bool() {
        bytes.remove(rng.usize(..bytes.len()));
        return;
    }
    for _ in 0..rng.usize(1..=3) {
        let bit = rng.usize(..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
