//! Two nodes, the link between them, and virtual time: a run from its first frame to its last.

use std::collections::BinaryHeap;

use bowline::{Semantics, SessionEnd};

use super::frame::Known;
use super::ledger::{Ledger, Tally};
use super::link::{Delivery, Link};
use super::node::{NAMES, Node};
use super::rng::Rng;
use super::scenario::{Entropy, Plan, Scenario};
use super::trace::Trace;

/// What both nodes write to.
pub struct Shared {
    pub ledger: Ledger,
    pub trace: Trace,
    pub known: Known,
    pub queue: Queue,
}

impl Shared {
    /// Bytes of `from` are under way.
    pub fn send(&mut self, from: usize, delivery: Delivery) {
        let to = if delivery.is_echo { from } else { 1 - from };
        if delivery.is_copy || delivery.is_echo {
            let what = if delivery.is_echo { "echo to the sender" } else { "an old frame or a copy" };
            self.trace.note(delivery.at, to, || format!("({what} arrives)"));
        }
        self.queue.push(from, to, delivery);
    }
}

/// Bytes under way, in the order of their arrival.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Arrival>,
    order: u64,
}

struct Arrival {
    at: u64,
    order: u64,
    from: usize,
    to: usize,
    left: u64,
    bytes: Vec<u8>,
}

impl Queue {
    fn push(&mut self, from: usize, to: usize, delivery: Delivery) {
        self.order += 1;
        let Delivery { at, left, bytes, .. } = delivery;
        self.heap.push(Arrival { at, order: self.order, from, to, left, bytes });
    }

    fn next_time(&self) -> Option<u64> {
        self.heap.peek().map(|arrival| arrival.at)
    }

    fn pop(&mut self, time: u64) -> Option<Arrival> {
        if self.next_time()? <= time { self.heap.pop() } else { None }
    }

    /// What has not left the port of `from` at `time` never will.
    pub fn cut_off(&mut self, from: usize, time: u64) {
        self.heap.retain(|arrival| arrival.from != from || arrival.left <= time);
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap's greatest is the earliest.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Arrival {}

/// A broken promise, and the tally until then.
pub struct Verdict {
    pub broken: Option<String>,
    pub tally: Tally,
    /// The virtual time at the end.
    pub time: u64,
}

pub struct World {
    pub time: u64,
    pub nodes: [Node; 2],
    /// Out of A, out of B.
    pub links: [Link; 2],
    pub shared: Shared,
    scenario: Scenario,
    rng: Rng,
}

impl World {
    pub fn new(scenario: Scenario, trace: Trace) -> World {
        let rng = Rng::new(scenario.seed);
        World::with_rng(scenario, rng, trace)
    }

    /// One in which chance is `rng`.
    pub fn with_rng(scenario: Scenario, rng: Rng, trace: Trace) -> World {
        let weather = |index: u64| rng.fork(if rng.fork(9).chance(0.5) { 8 } else { 10 + index });
        let link = |index: usize| {
            let faults = scenario.faults[index].clone();
            Link::new(faults, scenario.stream, rng.fork(index as u64 + 1), weather(index as u64))
        };
        let node =
            |index: usize| Node::new(index, scenario.nodes[index].clone(), scenario.stream, rng.fork(index as u64 + 3));
        World {
            time: 0,
            nodes: [node(0), node(1)],
            links: [link(0), link(1)],
            shared: Shared { ledger: Ledger::default(), trace, known: Known::default(), queue: Queue::default() },
            rng: rng.fork(5),
            scenario,
        }
    }

    /// The whole run: trouble, peace, old frames, new work, silence, the audit.
    pub fn run(&mut self) -> Verdict {
        self.run_through(&[World::trouble, World::calm_down, World::old_frames, World::new_work, World::idle_minute])
    }

    /// These parts of it, and the audit.
    pub fn run_through(&mut self, parts: &[fn(&mut World)]) -> Verdict {
        for part in parts {
            part(self);
            if self.shared.ledger.is_broken() {
                break;
            }
        }
        if !self.shared.ledger.is_broken() {
            self.shared.ledger.close();
        }
        self.verdict()
    }

    pub fn verdict(&mut self) -> Verdict {
        for node in &mut self.nodes {
            if let Some(up) = &mut node.up {
                up.retire(&mut self.shared);
            }
        }
        let tally = self.shared.ledger.tally;
        let broken = self.shared.ledger.verdict();
        // A frame that was damaged and passed its 32-bit check by chance may break any promise.
        let broken = broken.filter(|_| tally.undetected == 0);
        Verdict { broken, tally, time: self.time }
    }

    // Time

    /// Runs until `time`, or until `enough` says so or a promise is broken. Says whether it was enough.
    pub fn run_until(&mut self, time: u64, enough: impl Fn(&mut World) -> bool) -> bool {
        loop {
            if self.shared.ledger.is_broken() || enough(self) {
                return !self.shared.ledger.is_broken();
            }
            let times = [self.shared.queue.next_time(), self.nodes[0].next_time(), self.nodes[1].next_time()];
            match times.into_iter().flatten().min() {
                Some(next) if next <= time => self.step(next.max(self.time)),
                _ => {
                    self.time = self.time.max(time);
                    return false;
                }
            }
        }
    }

    fn step(&mut self, time: u64) {
        self.time = time;
        while let Some(arrival) = self.shared.queue.pop(time) {
            self.nodes[arrival.to].receive(time, arrival.bytes);
        }
        for index in 0..2 {
            if self.nodes[index].next_time().is_some_and(|at| at <= time) {
                self.nodes[index].pass(time, &mut self.links[index], &mut self.shared);
            }
        }
    }

    pub fn run_for(&mut self, time: u64) {
        self.run_until(self.time + time, |_| false);
    }

    /// Calls that this node can have under way: both sides must have slots for them.
    fn slots(&self, node: usize) -> usize {
        let sizes = [0, 1].map(|index| self.nodes[index].plan.sizes.capacities());
        sizes[node].calls.min(sizes[1 - node].replies)
    }

    pub fn is_settled(&mut self) -> bool {
        let slots = [self.slots(0), self.slots(1)];
        let mut nodes = self.nodes.iter_mut().zip(slots);
        nodes.all(|(node, slots)| node.up.as_mut().is_some_and(|up| up.is_settled(slots)))
    }

    /// Both nodes find together and finish what they have begun, in bounded time.
    pub fn settle(&mut self, when: &str) {
        let bound = self.scenario.settling();
        let until = self.time + bound;
        // One of them may still hold an old session and not know it until a keepalive, which the other answers only after
        // what it takes for a round trip; then they still greet each other.
        let keepalive = self.nodes.iter().map(|node| node.plan.lease / 4).min().unwrap_or_default();
        let suspicion = self.nodes.iter().map(|node| 2 * node.plan.initial_round_trip).max().unwrap_or_default();
        let mut is_settled = false;
        while !is_settled && self.run_until(until, World::is_settled) {
            let hellos = self.shared.ledger.tally.hellos;
            self.run_for(keepalive * 21 / 20 + suspicion + self.scenario.round_trips(3));
            is_settled = self.is_settled() && self.shared.ledger.tally.hellos == hellos;
        }
        if !is_settled && !self.shared.ledger.is_broken() {
            let state = self.nodes.each_mut().map(|node| match &mut node.up {
                None => "down".to_string(),
                Some(up) => up.state(),
            });
            self.shared.ledger.broken(format!("not settled {bound} µs after {when}: {state:?}"));
        }
        self.check_notifies(when);
    }

    /// When nothing is under way, every notify of this session has been delivered.
    fn check_notifies(&mut self, when: &str) {
        for sender in 0..2 {
            let Some(up) = &mut self.nodes[sender].up else { continue };
            let ledger = &mut self.shared.ledger;
            let limit = up.endpoint.max_payload();
            let sent = up.client.notifies.clone().rev().find(|number| ledger.notify_fits(sender, *number, limit));
            let got = ledger.notified[1 - sender].last.map(|(number, _)| number);
            let is_taken = self.nodes[1 - sender].plan.sizes.takes_one_way();
            if !is_taken && got.is_some() {
                ledger.broken(format!("notify {got:?} was delivered to a node that takes none"));
            }
            if is_taken && sent > got {
                ledger.broken(format!("after {when}: notify {sent:?} was sent, {got:?} is the last received"));
            }
        }
    }

    // The parts of a run

    pub fn trouble(&mut self) {
        self.run_until(self.time + self.scenario.trouble, |world| world.rng.is_over());
    }

    pub fn calm_down(&mut self) {
        self.shared.trace.across(self.time, || "the faults end".into());
        for index in 0..2 {
            self.links[index].calm();
            self.nodes[index].calm(self.time, &mut self.links[index], &mut self.shared);
        }
        let (calm_at, both_up) = (self.time, self.nodes.iter().all(|node| node.up.is_some()));
        self.settle("the faults ended");
        if both_up {
            self.check_healing(calm_at);
        }
        // What was held back arrives at last.
        let late = self.scenario.faults.iter().map(|faults| faults.duplicate_delay + faults.reorder_by).max();
        self.run_for(late.unwrap_or_default());
        self.settle("the last late frame came");
    }

    /// Two nodes that hold different sessions find out by their frames, not by waiting for the end of a lease.
    fn check_healing(&mut self, calm_at: u64) {
        let is_slow =
            |plan: &Plan| plan.initial_round_trip + plan.heartbeat > plan.lease / 20 || plan.clock.jump_every > 0;
        let is_slow = self.nodes.iter().any(|node| is_slow(&node.plan));
        for node in &self.nodes {
            let end = node.up.as_ref().and_then(|up| up.client.last_end);
            let Some((at, SessionEnd::PeerLost)) = end.filter(|(at, _)| *at > calm_at) else { continue };
            self.shared.ledger.tally.healed_by_lease += 1;
            let quiet_until = self.nodes[1 - node.index].up.as_ref().map_or(0, |peer| peer.quiet_until);
            let is_heard = at > quiet_until + self.scenario.round_trips(3);
            if !is_slow && is_heard && node.plan.lease > self.scenario.round_trips(20) {
                let name = NAMES[node.index];
                let waited = at - calm_at;
                self.shared.ledger.broken(format!("{name} held a dead session for {waited} µs after the faults ended"));
            }
        }
    }

    /// Frames of all times come again. They tear no session down, run no handler, deliver nothing.
    pub fn old_frames(&mut self) {
        // Against this a node without entropy cannot be protected, and its documentation says so.
        if self.scenario.nodes.iter().any(|plan| matches!(plan.entropy, Entropy::Nothing { .. })) {
            return;
        }
        self.shared.trace.across(self.time, || "old frames come again".into());
        let before = self.session_state();
        for _ in 0..2 * self.links[0].history.len().max(self.links[1].history.len()).min(100) {
            let from = self.rng.index(2);
            if !self.links[from].history.is_empty() {
                let index = self.rng.index(self.links[from].history.len());
                let delivery = self.links[from].replay(self.time, index);
                self.shared.send(from, delivery);
            }
            let pause = self.rng.below(3_000);
            self.run_unchanged(pause, before);
        }
        self.run_unchanged(self.scenario.settling(), before);
        self.settle("old frames came");
    }

    fn run_unchanged(&mut self, time: u64, before: [(Option<u32>, u32); 2]) {
        if self.run_until(self.time + time, |world| world.session_state() != before) {
            let after = self.session_state();
            self.shared.ledger.broken(format!("old frames changed something: {before:?}, then {after:?}"));
        }
    }

    /// Sessions entered and notifies delivered, by node. (A publish that was lost may still come while no newer one has.)
    fn session_state(&self) -> [(Option<u32>, u32); 2] {
        [0, 1].map(|index| {
            let sessions = self.nodes[index].up.as_ref().map(|up| up.endpoint.stats().sessions);
            (sessions, self.shared.ledger.notified[index].count)
        })
    }

    /// Calls of both kinds and notifies, both ways: all must succeed.
    pub fn new_work(&mut self) {
        self.shared.trace.across(self.time, || "new work".into());
        for index in 0..2 {
            for semantics in [Semantics::AtMostOnce, Semantics::Idempotent] {
                self.call_in_peace(index, semantics);
            }
        }
        self.settle("new work was given");
    }

    fn call_in_peace(&mut self, index: usize, semantics: Semantics) {
        if self.slots(index) == 0 {
            return;
        }
        let ended = |world: &mut World| world.shared.ledger.tally.endings();
        let (before, ok_before) = (ended(self), self.shared.ledger.tally.ok);
        let bound = self.scenario.settling();
        let (link, shared) = (&mut self.links[index], &mut self.shared);
        let made = self.nodes[index].with_driver(self.time, link, shared, |up, at, shared| {
            let (endpoint, client, _, mut cx) = up.parts(at, shared);
            client.call(endpoint, semantics, 2 * bound, &mut cx)
        });
        if made != Some(true) {
            return self.shared.ledger.broken("a call was not accepted, with all slots free");
        }
        let has_ended = self.run_until(self.time + bound, |world| ended(world) > before);
        let is_ok = self.shared.ledger.tally.ok > ok_before;
        if !(has_ended && is_ok) {
            self.shared.ledger.broken("a call on a perfect link did not succeed");
        }
    }

    /// An idle link is silent but for the keepalive: in a minute, each side one packet and its ack for every quarter of its lease.
    fn idle_minute(&mut self) {
        self.shared.trace.across(self.time, || "an idle minute".into());
        const MINUTE: u64 = 60_000_000;
        let (before, frames) = (self.session_state(), self.shared.ledger.tally.frames);
        self.run_for(MINUTE);
        let drawn = self.shared.ledger.tally.frames - frames;
        let keepalives = self.nodes.each_ref().map(|node| MINUTE / (node.plan.lease / 4) + 1).iter().sum::<u64>();
        // 5 % for the clocks. A round trip that varies makes for needless probes.
        let is_steady = self.nodes.iter().all(|node| node.plan.read_delay + node.plan.late + node.plan.clock.tick < 2);
        // Of a packet and its second copy, each may draw an ack, and on a slow line a copy in front makes the round trip vary.
        let copies = if self.nodes.iter().any(|node| node.plan.second_copy) { 4 } else { 1 };
        let most = (copies * if is_steady { 2 } else { 4 } * keepalives * 21 / 20 + 4) as u32;
        if drawn > most {
            self.shared.ledger.broken(format!("{drawn} frames in an idle minute, {most} are enough"));
        }
        if before != self.session_state() || !self.is_settled() {
            self.shared.ledger.broken("an idle minute changed something");
        }
    }
}
