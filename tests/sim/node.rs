//! One node: its port, its clock, its lives and its crashes. What a life consists of is in `driver.rs`.

use bowline::{Config, Duration, Incarnation, Instant};

use super::clock::Clock;
use super::context::{At, Doom};
use super::driver::Driver;
use super::link::Link;
use super::rng::Rng;
use super::scenario::{Entropy, Plan};
use super::world::Shared;

pub const NAMES: [&str; 2] = ["A", "B"];

pub struct Node {
    pub index: usize,
    pub plan: Plan,
    stream: bool,
    clock: Clock,
    rng: Rng,
    /// Counts from 1.
    pub life: u32,
    /// All that a crash takes.
    pub up: Option<Driver>,
    /// Bytes or datagrams that the port has received, and when they will be read.
    received: Vec<Vec<u8>>,
    read_at: Option<u64>,
    boot_at: Option<u64>,
    crash_at: Option<u64>,
    jump_at: Option<u64>,
    /// The faults are over: no more crashes, no more random work.
    is_calm: bool,
}

impl Node {
    pub fn new(index: usize, plan: Plan, stream: bool, mut rng: Rng) -> Node {
        let clock = Clock::new(plan.clock.clone());
        let jump_at = clock.next_jump(0, &mut rng);
        let boot_at = Some(rng.below(plan.boot + 1));
        Node {
            index,
            plan,
            stream,
            clock,
            rng,
            life: 0,
            up: None,
            received: Vec::new(),
            read_at: None,
            boot_at,
            crash_at: None,
            jump_at,
            is_calm: false,
        }
    }

    /// When something happens to this node next.
    pub fn next_time(&self) -> Option<u64> {
        let Some(up) = &self.up else { return self.boot_at };
        [self.crash_at, self.jump_at, self.read_at, up.next_time()].into_iter().flatten().min()
    }

    fn at(&self, time: u64) -> At {
        let now = self.clock.read(time);
        At { time, now: Instant::from_micros(now), node: self.index, life: self.life }
    }

    /// Bytes have arrived at the port.
    pub fn receive(&mut self, time: u64, bytes: Vec<u8>) {
        // A port without a node behind it keeps some of what arrives, as a host's serial buffer does.
        if self.up.is_none() && self.rng.chance(0.7) {
            return;
        }
        self.received.push(bytes);
        let read_at = time + self.rng.below(self.plan.read_delay + 1);
        self.read_at = Some(self.read_at.map_or(read_at, |at| at.min(read_at)));
    }

    /// Whatever is due at `time`.
    pub fn pass(&mut self, time: u64, link: &mut Link, shared: &mut Shared) {
        if is_due(&mut self.boot_at, time) {
            self.boot(time, shared);
        }
        if is_due(&mut self.jump_at, time) {
            let by = self.clock.jump(time, &mut self.rng);
            self.jump_at = self.clock.next_jump(time, &mut self.rng);
            shared.trace.note(time, self.index, || format!("clock set by {by} µs"));
        }
        if is_due(&mut self.crash_at, time) {
            let doom = if self.rng.chance(0.5) { Doom::Struck } else { Doom::In(self.rng.below(6)) };
            if let Some(up) = &mut self.up {
                up.doom = doom;
            }
        }
        self.drive(time, link, shared);
        if self.up.as_ref().is_some_and(|up| up.doom == Doom::Struck) {
            self.crash(time, link, shared);
        }
    }

    /// Lets the driver run once, with whatever the port has received.
    pub fn drive(&mut self, time: u64, link: &mut Link, shared: &mut Shared) {
        let at = self.at(time);
        let Some(up) = &mut self.up else { return };
        if up.doom == Doom::Struck {
            return;
        }
        let input = if is_due(&mut self.read_at, time) { std::mem::take(&mut self.received) } else { Vec::new() };
        up.drive(at, input, self.stream, link, shared);
        up.wake_up_at(time, &self.clock, self.rng.below(self.plan.late + 1));
    }

    /// Something that the application does now; then the driver runs.
    pub fn with_driver<T>(
        &mut self,
        time: u64,
        link: &mut Link,
        shared: &mut Shared,
        act: impl FnOnce(&mut Driver, At, &mut Shared) -> T,
    ) -> Option<T> {
        let at = self.at(time);
        let result = self.up.as_mut().map(|up| act(up, at, shared));
        self.drive(time, link, shared);
        result
    }

    fn boot(&mut self, time: u64, shared: &mut Shared) {
        self.life += 1;
        if self.life > 1 && self.rng.chance(0.5) {
            self.clock.restart(time, self.rng.below(1_000_000));
        }
        shared.trace.across(time, || format!("{} boots, life {}", NAMES[self.index], self.life));
        let config = self.config();
        let at = self.at(time);
        let rng = self.rng.fork(u64::from(self.life));
        let mut up = Driver::new(at, &self.plan, config, rng);
        if self.is_calm {
            up.calm(at, shared);
        }
        self.up = Some(up);
        if self.plan.crash_every > 0 && !self.is_calm {
            self.crash_at = Some(time + 1 + self.rng.around(self.plan.crash_every));
        }
    }

    fn config(&mut self) -> Config {
        let plan = &self.plan;
        let mut config = Config::new(match plan.entropy {
            Entropy::Random => Incarnation::random(self.rng.next()),
            Entropy::Counter => Incarnation::boot_counter(self.index as u32, self.life + 1_000 * self.index as u32),
            Entropy::SameCounter => Incarnation::boot_counter(self.index as u32, self.life),
            Entropy::Nothing { quiet } => Incarnation::none(self.index as u32, Duration::from_micros(quiet)),
        });
        config.lease = Duration::from_micros(plan.lease);
        config.heartbeat = Duration::from_micros(plan.heartbeat);
        config.initial_round_trip = Duration::from_micros(plan.initial_round_trip);
        config.default_time_to_live = Duration::from_micros(plan.default_time_to_live);
        config.granularity = Duration::from_micros(plan.granularity);
        config.second_copy = plan.second_copy;
        config.active = plan.active;
        config
    }

    /// Everything in memory is gone; what the line already carries is not, except perhaps the rest of a frame that was being sent.
    pub fn crash(&mut self, time: u64, link: &mut Link, shared: &mut Shared) {
        let at = self.at(time);
        let Some(mut up) = self.up.take() else { return };
        up.die(at, shared);
        shared.trace.across(time, || format!("{} crashes", NAMES[self.index]));
        if self.rng.chance(0.5) {
            link.reset_port(time);
            shared.queue.cut_off(self.index, time);
        }
        if self.rng.chance(0.5) {
            self.received.clear();
            self.read_at = None;
        }
        self.crash_at = None;
        self.boot_at = Some(time + 1 + self.rng.around(self.plan.boot));
    }

    /// It will be back at this time, if it is down.
    pub fn boot_at(&mut self, time: u64) {
        self.boot_at = Some(time);
    }

    /// The faults are over.
    pub fn calm(&mut self, time: u64, link: &mut Link, shared: &mut Shared) {
        self.is_calm = true;
        (self.crash_at, self.jump_at) = (None, None);
        self.plan.leave = 0.0;
        self.with_driver(time, link, shared, Driver::calm);
    }
}

/// Takes the time out if it has come.
fn is_due(at: &mut Option<u64>, time: u64) -> bool {
    at.take_if(|at| *at <= time).is_some()
}
