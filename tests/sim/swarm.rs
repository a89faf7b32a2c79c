//! Scenarios drawn from a seed: each its own mix of faults, sizes, speeds and work, most faults absent in most of them.

use super::client::Work;
use super::clock::ClockPlan;
use super::link::Faults;
use super::rng::Rng;
use super::scenario::{Entropy, Plan, Scenario};
use super::server::Service;
use super::sizes::Sizes;

impl Scenario {
    /// The scenario of this seed.
    pub fn draw(seed: u64) -> Scenario {
        Scenario::draw_from(&mut Rng::new(seed).fork(7), seed)
    }

    /// A scenario whose mix is drawn from `rng`.
    pub fn draw_from(rng: &mut Rng, seed: u64) -> Scenario {
        let stream = rng.chance(0.5);
        // What the nodes measure times in: one way through the line.
        let latency = rng.log_between(100, 50_000);
        let faults = draw_faults(rng, stream, latency);
        // Mostly the same both ways; sometimes only one way is bad.
        let back = match rng.below(4) {
            0 => draw_faults(rng, stream, latency),
            1 => faults.calmed(),
            _ => faults.clone(),
        };
        // A lease shorter than a few round trips would end every session.
        let slowest = faults.transit(200).max(back.transit(200)) + latency;
        let mut nodes = [draw_node(rng, latency), draw_node(rng, latency)];
        for plan in &mut nodes {
            plan.lease = plan.lease.max(20 * slowest);
        }
        if !nodes[1].active {
            nodes[0].active = true;
        }
        let actions = rng.log_between(20, 400);
        let gap = nodes.iter().map(|plan| plan.work.gap).filter(|gap| *gap > 0).min().unwrap_or(latency);
        let trouble = (actions * gap).clamp(500_000, 20_000_000);
        let scenario = Scenario { seed, stream, trouble, faults: [faults, back], nodes };
        let poor = rng.index(2);
        if rng.chance(0.05) { scenario.without_entropy(poor) } else { scenario }
    }

    /// Node `index` has no entropy. It is safe only where no frame survives its boot: no late copies, and a quiet time longer than all delays.
    pub fn without_entropy(mut self, index: usize) -> Scenario {
        for faults in &mut self.faults {
            (faults.duplicate, faults.replay) = (0.0, 0.0);
            (faults.room, faults.rate) = (0, 0);
        }
        let longest = |faults: &Faults| faults.latency + faults.jitter + faults.reorder_by;
        let delay: u64 = self.faults.iter().map(longest).sum();
        let plans = &mut self.nodes;
        let quiet = 2 * (delay + plans[0].read_delay + plans[1].read_delay + plans[0].late + plans[1].late) + 10_000;
        plans[index].entropy = Entropy::Nothing { quiet };
        plans[index].clock.jump_every = 0;
        self
    }
}

fn draw_faults(rng: &mut Rng, stream: bool, latency: u64) -> Faults {
    let mut some = |share: f64, most: f64| {
        // Mild as often as bad.
        if rng.chance(share) { most / (1u64 << rng.below(6)) as f64 } else { 0.0 }
    };
    let mut faults = Faults {
        loss: some(0.6, 0.5),
        garble: some(0.5, 0.3),
        truncate: some(0.3, 0.2),
        noise: some(0.2, 0.2),
        duplicate: some(0.4, 0.4),
        replay: some(0.4, 0.3),
        echo: some(0.1, 0.5),
        reorder: some(0.4, 0.4),
        refuse: some(0.3, 0.5),
        cut: some(0.5, 0.8),
        latency,
        ..Faults::default()
    };
    faults.duplicate_delay = latency * rng.log_between(1, 400);
    faults.reorder_by = latency * rng.log_between(1, 20);
    faults.jitter = if rng.chance(0.5) { rng.below(latency) } else { 0 };
    if rng.chance(0.5) {
        faults.rate = rng.pick(&[2_000, 11_520, 92_160, 1_000_000]);
        faults.room = if stream { rng.pick(&[16, 64, 256, 2_048]) } else { rng.pick(&[64, 1_500]) };
    }
    if rng.chance(0.3) {
        faults.outage = latency * rng.log_between(2, 200);
        faults.outage_every = faults.outage * rng.between(2, 20);
    }
    faults
}

fn draw_node(rng: &mut Rng, latency: u64) -> Plan {
    let lease = rng.pick(&[400_000, 2_000_000, 10_000_000]);
    let crashes = rng.chance(0.5);
    let crash_every = latency * rng.log_between(10, 2_000);
    Plan {
        sizes: Sizes::draw(rng),
        entropy: if rng.chance(0.3) { Entropy::Counter } else { Entropy::Random },
        active: rng.chance(0.8),
        lease,
        heartbeat: rng.pick(&[50_000, 500_000]).min(lease / 4),
        initial_round_trip: rng.pick(&[1_000, 50_000, 200_000]),
        default_time_to_live: rng.pick(&[20_000, 1_000_000, 5_000_000]),
        granularity: rng.pick(&[0, 0, 1_000]),
        second_copy: rng.chance(0.1),
        clock: draw_clock(rng),
        crash_every: if crashes { crash_every } else { 0 },
        boot: latency * rng.log_between(1, 100),
        read_delay: if rng.chance(0.5) { rng.below(2 * latency) } else { 0 },
        late: if rng.chance(0.3) { rng.below(latency) } else { 0 },
        leave: if rng.chance(0.1) { 0.1 } else { 0.0 },
        work: draw_work(rng, latency),
        service: draw_service(rng, latency),
    }
}

fn draw_clock(rng: &mut Rng) -> ClockPlan {
    let jumps = rng.chance(0.1);
    ClockPlan {
        origin: rng.pick(&[0, 1, u64::from(u32::MAX) - 1_500_000, 1 << 40]),
        drift_ppm: if rng.chance(0.5) { rng.below(100_001) as i64 - 50_000 } else { 0 },
        tick: rng.pick(&[1, 1, 1, 1_000]),
        jump_every: if jumps { rng.log_between(10_000, 5_000_000) } else { 0 },
        jump_by: if jumps { rng.log_between(100, 2_000_000) } else { 0 },
    }
}

fn draw_work(rng: &mut Rng, latency: u64) -> Work {
    let mut some =
        |share: f64, most: f64| if rng.chance(share) { rng.below(1_000) as f64 / 1_000.0 * most } else { 0.0 };
    let mut work = Work {
        idempotent: some(0.7, 1.0),
        cancel: some(0.5, 0.3),
        notify: some(0.5, 0.5),
        publish: some(0.3, 0.5),
        close: some(0.15, 0.05),
        too_large: some(0.2, 0.1),
        ..Work::default()
    };
    work.gap = if rng.chance(0.1) { 0 } else { (latency * rng.log_between(1, 20) / 4).max(100) };
    let shortest = latency * rng.log_between(1, 20);
    work.timeout = (shortest, shortest * rng.log_between(1, 500));
    work.payload = (0, rng.pick(&[4, 12, 40, 600]));
    work
}

fn draw_service(rng: &mut Rng, latency: u64) -> Service {
    let mut some =
        |share: f64, most: f64| if rng.chance(share) { rng.below(1_000) as f64 / 1_000.0 * most } else { 0.0 };
    Service {
        defer: some(0.6, 1.0),
        refuse: some(0.4, 0.3),
        too_large: some(0.2, 0.1),
        abort: some(0.7, 1.0),
        orphan_goes_on: some(0.7, 1.0),
        defer_for: latency * rng.log_between(1, 200),
        response: (0, rng.pick(&[8, 40, 600])),
    }
}
