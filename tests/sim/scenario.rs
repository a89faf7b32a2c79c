//! The parameters of a run: everything that it depends on, as plain values.

use std::fmt;

use super::client::Work;
use super::clock::ClockPlan;
use super::link::Faults;
use super::server::Service;
use super::sizes::Sizes;

/// Where a node's incarnation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entropy {
    Random,
    /// A boot counter, far from the peer's.
    Counter,
    /// A boot counter that may well show what the peer's shows.
    SameCounter,
    /// None: deaf and mute for so long after each boot.
    Nothing {
        quiet: u64,
    },
}

/// One node. Times are in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub sizes: Sizes,
    pub entropy: Entropy,
    pub active: bool,
    pub lease: u64,
    pub heartbeat: u64,
    pub initial_round_trip: u64,
    pub default_time_to_live: u64,
    pub granularity: u64,
    pub second_copy: bool,
    pub clock: ClockPlan,
    /// It crashes about so often, 0 for never, and then takes about `boot` to come back.
    pub crash_every: u64,
    pub boot: u64,
    /// What has arrived is read up to so much later: so pieces of a byte stream are merged.
    pub read_delay: u64,
    /// Timers are served up to so much too late.
    pub late: u64,
    /// The application does not take all messages of a frame.
    pub leave: f64,
    pub work: Work,
    pub service: Service,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            sizes: Sizes::Usual,
            entropy: Entropy::Random,
            active: true,
            lease: 10_000_000,
            heartbeat: 500_000,
            initial_round_trip: 50_000,
            default_time_to_live: 5_000_000,
            granularity: 0,
            second_copy: false,
            clock: ClockPlan::default(),
            crash_every: 0,
            boot: 0,
            read_delay: 0,
            late: 0,
            leave: 0.0,
            work: Work::default(),
            service: Service::default(),
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    /// A byte stream, or datagrams.
    pub stream: bool,
    /// How long faults and random work go on.
    pub trouble: u64,
    /// From A to B, from B to A.
    pub faults: [Faults; 2],
    pub nodes: [Plan; 2],
}

impl fmt::Display for Scenario {
    /// A line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { seed, stream, trouble, faults, nodes } = self;
        writeln!(f, "seed {seed}, stream {stream}, trouble {trouble}")?;
        writeln!(f, "A to B  {:?}\nB to A  {:?}", faults[0], faults[1])?;
        write!(f, "A       {:?}\nB       {:?}", nodes[0], nodes[1])
    }
}

impl Scenario {
    /// Two equal nodes with all defaults on a perfect link of 5 ms each way, both calling each other for two seconds.
    pub fn perfect(seed: u64) -> Scenario {
        let faults = Faults { latency: 5_000, ..Faults::default() };
        Scenario {
            seed,
            stream: true,
            trouble: 2_000_000,
            faults: [faults.clone(), faults],
            nodes: [Plan::default(), Plan::default()],
        }
    }

    /// The same on datagrams.
    pub fn datagrams(self) -> Scenario {
        Scenario { stream: false, ..self }
    }

    /// Both directions changed alike.
    pub fn with_faults(mut self, change: impl Fn(&mut Faults)) -> Scenario {
        self.faults.iter_mut().for_each(change);
        self
    }

    /// Both nodes changed alike.
    pub fn with_nodes(mut self, change: impl Fn(&mut Plan)) -> Scenario {
        self.nodes.iter_mut().for_each(change);
        self
    }

    /// So many round trips of a large frame, at their slowest, with all that the nodes add.
    pub fn round_trips(&self, count: u64) -> u64 {
        let transit = self.faults.iter().map(|faults| faults.transit(800)).sum::<u64>();
        let delays = self.nodes.iter().map(|plan| plan.read_delay + plan.late + plan.clock.tick).sum::<u64>();
        count * (transit + delays)
    }

    /// A time within which both nodes have found together and have nothing left to do, once the faults are over.
    pub fn settling(&self) -> u64 {
        let node = |plan: &Plan| {
            let quiet = if let Entropy::Nothing { quiet } = plan.entropy { quiet } else { 0 };
            let work = plan.work.timeout.1 + plan.service.defer_for;
            2 * plan.boot + 2 * quiet + plan.lease + 4 * plan.heartbeat + work + plan.clock.jump_by
        };
        self.nodes.iter().map(node).sum::<u64>() + self.round_trips(40) + 1_000_000
    }
}
