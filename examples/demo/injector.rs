//! The fault injector: a thread between the two stretches of wire that takes every frame and decides what becomes of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags};

use crate::port::{ready, sleep};
use crate::wire_log::{Fate, Side, WireLog};

/// How long a frame is under way: a frame of 23 bytes takes so long at 57 600 baud.
pub const LATENCY: Duration = Duration::from_millis(4);
/// A second copy, and a datagram that is overtaken, come later by up to this.
const LATER: Duration = Duration::from_millis(12);
/// Datagrams that are held back, in percent of those that pass.
pub const REORDERED: f64 = 3.0;

/// What is done to frames, in percent of all.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss: f64,
    pub garble: f64,
    pub dup: f64,
    pub reorder: f64,
    pub seed: u64,
}

/// The running thread. It ends when this is dropped.
pub struct Injector {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Injector {
    /// Joins the caller's wire to the device's. `stream` tells a byte stream from datagrams.
    pub fn start(wires: [File; 2], stream: bool, faults: Faults, log: Arc<WireLog>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let lanes = [Side::Caller, Side::Device].into_iter().zip(wires).map(|(from, wire)| Lane {
            from,
            wire,
            partial: stream.then(Vec::new),
            // One generator for each direction: the n-th frame of a direction always meets the same fate.
            rng: Rng::with_seed(faults.seed ^ from as u64),
        });
        let mut relay = Relay { lanes: lanes.collect(), under_way: BinaryHeap::new(), order: 0, faults, log };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                relay.turn().expect("the wires stay open as long as we hold both their ends, and a capture has room");
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of the thread has been printed already.
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What comes from one side.
struct Lane {
    from: Side,
    wire: File,
    /// On a byte stream, a frame whose delimiter has not come yet.
    partial: Option<Vec<u8>>,
    rng: Rng,
}

/// Frames on their way, the next to arrive on top.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    arrives: Instant,
    order: u64,
    to: Side,
    bytes: Vec<u8>,
}

struct Relay {
    lanes: Vec<Lane>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    faults: Faults,
    log: Arc<WireLog>,
}

impl Relay {
    /// Waits for something to do, and does it.
    fn turn(&mut self) -> io::Result<()> {
        let until_next =
            self.under_way.peek().map(|Reverse(next)| next.arrives.saturating_duration_since(Instant::now()));
        // Now and then, look whether to stop.
        let timeout = until_next.unwrap_or(Duration::from_millis(50));
        let wires = self.lanes.iter().map(|lane| lane.wire.as_fd()).collect::<Vec<_>>();
        let mut fds = wires.iter().map(|wire| PollFd::new(wire, PollFlags::IN)).collect::<Vec<_>>();
        sleep(&mut fds, Some(timeout))?;
        for index in 0..self.lanes.len() {
            for frame in self.lanes[index].read()? {
                self.decide(index, frame)?;
            }
        }
        while self.under_way.peek().is_some_and(|Reverse(next)| next.arrives <= Instant::now()) {
            let Some(Reverse(frame)) = self.under_way.pop() else { break };
            self.deliver(&frame)?;
        }
        Ok(())
    }

    /// What becomes of one frame.
    fn decide(&mut self, index: usize, mut frame: Vec<u8>) -> io::Result<()> {
        let lane = &mut self.lanes[index];
        let (from, to) = (lane.from, lane.from.other());
        if frame == [0] {
            // A lone delimiter is no frame.
            return self.log.delimiter(from);
        }
        let as_sent = frame.clone();
        let Faults { loss, garble, dup, reorder, .. } = self.faults;
        let rng = &mut lane.rng;
        let (die, later) = (rng.f64() * 100.0, LATER.mul_f64(rng.f64()));
        let overtaken = rng.f64() * 100.0 < reorder;
        let now = Instant::now();
        let arrives = now + LATENCY;
        let fate = if die < loss {
            Fate::Lost
        } else if die < loss + garble {
            flip_bits(&mut frame, rng);
            Fate::Garbled { arrives }
        } else if die < loss + garble + dup {
            Fate::Duplicated { arrives, again: arrives + later }
        } else if overtaken {
            Fate::Overtaken { arrives: arrives + later }
        } else {
            Fate::Passed { arrives }
        };
        for arrives in fate.arrivals() {
            self.order += 1;
            self.under_way.push(Reverse(UnderWay { arrives, order: self.order, to, bytes: frame.clone() }));
        }
        let stream = lane.partial.is_some();
        self.log.frame(now, from, fate, &as_sent, stream)
    }

    /// A full buffer cuts the frame, as a serial port's does.
    fn deliver(&mut self, frame: &UnderWay) -> io::Result<()> {
        let lane = self.lanes.iter_mut().find(|lane| lane.from == frame.to);
        let written = lane.map(|lane| ready(lane.wire.write(&frame.bytes))).transpose()?.flatten().unwrap_or(0);
        self.log.arrival(frame.to, &frame.bytes[..written], frame.bytes.len())
    }
}

impl Lane {
    /// The frames that are complete. On a byte stream they include their delimiter.
    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut buf = [0; 4096];
        while let Some(len) = ready(self.wire.read(&mut buf))? {
            let Some(partial) = &mut self.partial else {
                frames.push(buf[..len].to_vec());
                continue;
            };
            for piece in buf[..len].split_inclusive(|byte| *byte == 0) {
                partial.extend_from_slice(piece);
                if piece.ends_with(&[0]) {
                    frames.push(std::mem::take(partial));
                }
            }
        }
        Ok(frames)
    }
}

/// One to three bits, anywhere: also in the delimiter, or so that there is one more.
fn flip_bits(frame: &mut [u8], rng: &mut Rng) {
    for _ in 0..rng.usize(1..=3) {
        let bit = rng.usize(0..frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
    }
}
