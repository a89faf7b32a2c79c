//! A half-duplex line between two nodes, in virtual time.
//!
//! Each node has a thread of its own. Time stands still while one of them runs, and goes on to the next moment at which
//! one of them has something to do: all that happens is the same in each run.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bowline::Instant;
use bowline::drivers::uart::Clock;
use embedded_hal::digital::{self, OutputPin};
use embedded_io::{ErrorType, Read, ReadReady, Write};

/// What a receiver holds until it is read.
const FIFO: usize = 32;

/// What the line is like.
#[derive(Clone, Copy, Default)]
pub struct Wiring {
    /// Microseconds of a byte.
    pub byte_time: u64,
    /// Whether a node hears itself.
    pub has_echo: bool,
    /// One byte in so many is garbled; 0 for none.
    pub noise: u32,
    pub seed: u64,
}

/// One node's end: its UART, its driver-enable pin and its clock.
#[derive(Clone)]
pub struct Tap(Arc<End>);

/// The UART of a tap.
pub struct Io(Tap);

/// The driver-enable pin of a tap.
pub struct Pin(Tap);

struct End {
    line: Arc<Line>,
    me: usize,
}

struct Line {
    state: Mutex<State>,
    turn: Condvar,
}

struct State {
    wiring: Wiring,
    now: u64,
    random: fastrand::Rng,
    nodes: [NodeState; 2],
}

#[derive(Default)]
struct NodeState {
    /// Until when it waits; `None` while it runs.
    waits_until: Option<u64>,
    /// Whether bytes end its wait.
    listens: bool,
    is_gone: bool,
    /// When its driver was enabled, and disabled: the last few times.
    driven: VecDeque<(u64, u64)>,
    /// When its last byte will have left.
    busy_until: u64,
    /// What is on its way to it, or waits to be read.
    incoming: VecDeque<Byte>,
}

struct Byte {
    value: u8,
    sender: usize,
    from: u64,
    to: u64,
}

/// Both ends of a line.
pub fn line(wiring: Wiring) -> [Tap; 2] {
    let random = fastrand::Rng::with_seed(wiring.seed);
    let state = State { wiring, now: 0, random, nodes: Default::default() };
    let line = Arc::new(Line { state: Mutex::new(state), turn: Condvar::new() });
    [0, 1].map(|me| Tap(Arc::new(End { line: Arc::clone(&line), me })))
}

impl Tap {
    pub fn io(&self) -> Io {
        Io(self.clone())
    }

    pub fn pin(&self) -> Pin {
        Pin(self.clone())
    }

    /// Waits, whatever comes.
    #[allow(dead_code, reason = "not all who share this wait")]
    pub fn sleep(&self, until: Instant) {
        self.0.line.wait(self.lock(), self.0.me, until.as_micros(), false);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.line.lock()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.line.lock().nodes[self.me].is_gone = true;
        self.line.turn.notify_all();
    }
}

impl Clock for Tap {
    fn now(&mut self) -> Instant {
        Instant::from_micros(self.lock().now)
    }

    fn idle(&mut self, until: Option<Instant>) {
        let until = until.map_or(u64::MAX, |until| until.as_micros());
        self.0.line.wait(self.lock(), self.0.me, until, true);
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no node panics")
    }

    /// Lets the other node run until it is this one's turn again.
    fn wait(&self, mut state: MutexGuard<'_, State>, me: usize, until: u64, listens: bool) {
        state.settle(me);
        let next_byte = state.nodes[me].incoming.front().map_or(u64::MAX, |byte| byte.to);
        state.nodes[me].waits_until = Some(if listens { until.min(next_byte) } else { until });
        state.nodes[me].listens = listens;
        loop {
            let [mine, other] = [me, 1 - me].map(|node| state.nodes[node].waits_until);
            let others_turn = if state.nodes[1 - me].is_gone { Some(u64::MAX) } else { other };
            if let (Some(mine), Some(other)) = (mine, others_turn) {
                if (mine, me) < (other, 1 - me) {
                    assert!(mine < u64::MAX, "both wait for ever");
                    state.now = state.now.max(mine);
                    state.nodes[me].waits_until = None;
                    return;
                }
                self.turn.notify_all();
            }
            state = self.turn.wait(state).expect("no node panics");
        }
    }
}

impl State {
    /// Whether a node was driving the line at any time between two moments, and whether all the time.
    fn drove(&self, node: usize, from: u64, to: u64) -> (bool, bool) {
        let driven = &self.nodes[node].driven;
        let any = driven.iter().any(|&(on, off)| on < to && off > from);
        (any, driven.iter().any(|&(on, off)| on <= from && off >= to))
    }

    /// Takes away what a node cannot have received: what came while it could not hear, or while its receiver was full.
    fn settle(&mut self, me: usize) {
        let mut incoming = std::mem::take(&mut self.nodes[me].incoming);
        let mut come = 0;
        incoming.retain(|byte| {
            if byte.to > self.now {
                return true;
            }
            let is_deaf = !self.wiring.has_echo && self.drove(me, byte.from, byte.to).0;
            let is_heard = !is_deaf && self.drove(byte.sender, byte.from, byte.to).0 && come < FIFO;
            come += usize::from(is_heard);
            is_heard
        });
        self.nodes[me].incoming = incoming;
    }

    /// The next byte that a node has received by now.
    fn receive(&mut self, me: usize) -> Option<u8> {
        let incoming = &mut self.nodes[me].incoming;
        incoming.front().filter(|byte| byte.to <= self.now)?;
        let byte = incoming.pop_front()?;
        let (_, is_whole) = self.drove(byte.sender, byte.from, byte.to);
        let (has_collided, _) = self.drove(1 - byte.sender, byte.from, byte.to);
        let is_noisy = self.wiring.noise > 0 && self.random.u32(..self.wiring.noise) == 0;
        Some(if has_collided || !is_whole || is_noisy { self.random.u8(..) } else { byte.value })
    }
}

impl OutputPin for Pin {
    fn set_high(&mut self) -> Result<(), Infallible> {
        let mut state = self.0.lock();
        let now = state.now;
        let driven = &mut state.nodes[self.0.0.me].driven;
        if driven.back().is_none_or(|&(_, off)| off < u64::MAX) {
            driven.push_back((now, u64::MAX));
            if driven.len() > 64 {
                driven.pop_front();
            }
        }
        Ok(())
    }

    fn set_low(&mut self) -> Result<(), Infallible> {
        let mut state = self.0.lock();
        let now = state.now;
        if let Some((_, off)) = state.nodes[self.0.0.me].driven.back_mut() {
            *off = now.min(*off);
        }
        Ok(())
    }
}

impl digital::ErrorType for Pin {
    type Error = Infallible;
}

impl ErrorType for Io {
    type Error = Infallible;
}

impl ReadReady for Io {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        let mut state = self.0.lock();
        state.settle(self.0.0.me);
        let now = state.now;
        Ok(state.nodes[self.0.0.me].incoming.front().is_some_and(|byte| byte.to <= now))
    }
}

impl Read for Io {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let mut state = self.0.lock();
        state.settle(self.0.0.me);
        let received = buf.iter_mut().map_while(|place| state.receive(self.0.0.me).map(|value| *place = value));
        Ok(received.count())
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut state = self.0.lock();
        let state = &mut *state;
        for &value in bytes {
            let from = state.now.max(state.nodes[self.0.0.me].busy_until);
            let to = from + state.wiring.byte_time;
            state.nodes[self.0.0.me].busy_until = to;
            for (hearer, node) in state.nodes.iter_mut().enumerate() {
                if hearer != self.0.0.me || state.wiring.has_echo {
                    node.incoming.push_back(Byte { value, sender: self.0.0.me, from, to });
                    node.incoming.make_contiguous().sort_by_key(|byte| byte.to);
                }
            }
            let other = &mut state.nodes[1 - self.0.0.me];
            if other.listens {
                other.waits_until = other.waits_until.map(|until| until.min(to));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        let state = self.0.lock();
        let until = state.nodes[self.0.0.me].busy_until;
        if until > state.now {
            self.0.0.line.wait(state, self.0.0.me, until, false);
        }
        Ok(())
    }
}
