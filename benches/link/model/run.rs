//! A run: two nodes, two directions, and the work, event by event.

use super::cell::{Cell, Fault, Load};
use super::direction::Direction;
use super::load::Amount;
use super::measure::Figures;
use super::node::Node;
use super::work::{Work, outage};
use super::{MILLI, Nanos, SECOND};

/// Nodes that take longer to find each other never will.
const PATIENCE: Nanos = 600 * SECOND;

struct World<'a> {
    nodes: [&'a mut dyn Node; 2],
    /// What the first node says, and the second.
    directions: [Direction; 2],
    timeouts: [Option<Nanos>; 2],
    /// Nodes that may have more to say when the port has room.
    is_blocked: [bool; 2],
    now: Nanos,
    frame: Vec<u8>,
    work: Work,
    is_started: bool,
}

/// Runs `cell` with `nodes` and says what came out.
pub fn run(protocol: String, cell: &Cell, amount: Amount, seed: u64, nodes: [&mut dyn Node; 2]) -> Figures {
    let seed_of = |part: u64| (seed << 8 | part).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let outage = if cell.fault == Fault::Outage { outage(amount) } else { (Nanos::MAX, Nanos::MAX) };
    let is_ordered = nodes[0].is_ordered();
    let mut world = World {
        nodes,
        directions: [Direction::new(cell, false, outage, seed_of(1)), Direction::new(cell, true, outage, seed_of(2))],
        timeouts: [None; 2],
        is_blocked: [false; 2],
        now: 0,
        frame: Vec::new(),
        work: Work::new(cell, amount, is_ordered, seed_of(3)),
        is_started: false,
    };
    world.pump(0);
    world.pump(1);
    let bytes_before = world.go(cell);
    let bytes = world.directions[0].bytes + world.directions[1].bytes - bytes_before;
    let (work, unit) = (&mut world.work, cell.round_trip());
    let is_bulk = cell.load == Load::Bulk;
    let mut latency = |part| (!is_bulk).then(|| work.latency(part, unit));
    let (p50, p99, p999) = (latency(0.5), latency(0.99), latency(0.999));
    Figures {
        protocol,
        cell: *cell,
        seed,
        goodput: is_bulk.then(|| work.goodput() / cell.capacity()),
        p50,
        p99,
        p999,
        wire_bytes_per_message: bytes as f64 / work.arrived_count.max(1) as f64,
        recovery_ms: work.recovery().map(|time| time as f64 / MILLI as f64),
        notes: format!("{} | {}", world.nodes[0].notes(), world.nodes[1].notes()),
    }
}

impl World<'_> {
    /// Until the work is done; returns the bytes that went over the line before it began.
    fn go(&mut self, cell: &Cell) -> u64 {
        let mut bytes_before = 0;
        // A call that takes so long stands for a protocol that stalls.
        let mut progress = (0, 0);
        let limit = 400 * cell.round_trip() + 400 * SECOND;
        while !self.work.is_done(self.now) {
            if !self.is_started && self.nodes[0].is_connected() {
                self.is_started = true;
                bytes_before = self.directions[0].bytes + self.directions[1].bytes;
                self.pump(0);
            }
            if self.work.arrived_count > progress.0 {
                progress = (self.work.arrived_count, self.now);
            }
            let Some(next) = self.next_event() else { break };
            if next > progress.1 + limit.max(PATIENCE) {
                break;
            }
            self.now = self.now.max(next);
            self.step();
        }
        bytes_before
    }

    fn next_event(&self) -> Option<Nanos> {
        let of = |side: usize| {
            let ready = self.is_blocked[side].then(|| self.directions[side].ready_at());
            [self.timeouts[side], ready, self.directions[side].next_arrival()]
        };
        of(0).into_iter().chain(of(1)).flatten().min()
    }

    fn step(&mut self) {
        for side in [0, 1] {
            let other = 1 - side;
            if self.directions[other].next_arrival().is_some_and(|at| at <= self.now) {
                self.receive(side);
            } else if self.timeouts[side].is_some_and(|at| at <= self.now)
                || self.is_blocked[side] && self.directions[side].ready_at() <= self.now
            {
                self.pump(side);
            }
        }
    }

    fn receive(&mut self, side: usize) {
        let Some(frame) = self.directions[1 - side].receive() else { return };
        let (now, work) = (self.now, &mut self.work);
        self.nodes[side].handle(now, &frame, &mut |payload| work.arrived(now, payload));
        self.pump(side);
    }

    /// Lets a node do what there is to do now.
    fn pump(&mut self, side: usize) {
        let (node, direction) = (&mut *self.nodes[side], &mut self.directions[side]);
        node.handle_timeout(self.now);
        self.is_blocked[side] = false;
        loop {
            if side == 0 && self.is_started {
                self.work.offer(self.now, node);
            }
            if direction.ready_at() > self.now {
                self.is_blocked[side] = true;
                break;
            }
            self.frame.clear();
            if !node.poll_transmit(self.now, &mut self.frame) {
                break;
            }
            direction.send(self.now, &self.frame);
        }
        // What is overdue waits for the port.
        self.timeouts[side] = node.poll_timeout().filter(|at| !self.is_blocked[side] || *at > self.now);
        // A node that cannot say when is asked again soon.
        if let Some(at) = &mut self.timeouts[side] {
            *at = (*at).max(self.now + super::MICRO);
        }
    }
}
