//! Which links there are, and how they are named on the command line.

use super::direction::time_of;
use super::{MILLI, Nanos};

/// A link, what goes over it, and what goes wrong on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub load: Load,
    /// Bytes a second.
    pub rate: u64,
    pub latency_ms: u64,
    pub loss_pct: u32,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Messages of 64 to 200 bytes, as many as are taken.
    Bulk,
    /// Calls of 8 bytes each way, one after the other.
    Rpc1,
    /// Eight at a time.
    Rpc8,
}

/// What goes wrong besides frames that are lost each for itself, and duplicated, and reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Nothing else either: nothing is duplicated or reordered.
    Clean,
    /// Each bit is wrong with a probability of 10⁻⁴, and a frame with a wrong bit does not arrive.
    BitErrors,
    /// The same, but it arrives as it is.
    Garble,
    /// Frames are lost four in a row on average.
    Bursts,
    /// The way back has a tenth of the speed.
    Asymmetric,
    /// The latency changes every 2 s: one, two, four, two times as long.
    Latency,
    /// Nothing arrives for 10 s in the middle.
    Outage,
}

pub const LOADS: [Load; 3] = [Load::Bulk, Load::Rpc1, Load::Rpc8];
pub const LINKS: [(&str, u64); 3] = [("u115", 11_520), ("1m", 125_000), ("100m", 12_500_000)];
pub const LATENCIES: [u64; 3] = [1, 20, 100];
pub const LOSSES: [u32; 6] = [0, 1, 5, 10, 20, 30];
const FAULTS: [Fault; 7] =
    [Fault::Clean, Fault::BitErrors, Fault::Garble, Fault::Bursts, Fault::Asymmetric, Fault::Latency, Fault::Outage];

impl Load {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Rpc1 => "rpc1",
            Self::Rpc8 => "rpc8",
        }
    }

    /// Calls in flight.
    pub const fn calls(self) -> usize {
        match self {
            Self::Bulk => 0,
            Self::Rpc1 => 1,
            Self::Rpc8 => 8,
        }
    }
}

impl Fault {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Clean => "clean",
            Self::BitErrors => "ber",
            Self::Garble => "garble",
            Self::Bursts => "bursts",
            Self::Asymmetric => "asymmetric",
            Self::Latency => "latency",
            Self::Outage => "outage",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        FAULTS.into_iter().chain([Self::None]).find(|fault| fault.name() == name)
    }

    pub const fn bit_errors(self) -> Option<f64> {
        match self {
            Self::BitErrors | Self::Garble => Some(1e-4),
            _ => None,
        }
    }

    pub const fn is_garble_received(self) -> bool {
        matches!(self, Self::Garble)
    }
}

impl Cell {
    /// Its place in tables.
    pub fn order(&self) -> (usize, usize, u64, u64, u32) {
        let place = |name: &str, names: &[&str]| names.iter().position(|other| *other == name).unwrap_or(0);
        let fault = place(self.fault.name(), &FAULTS.map(Fault::name)) + usize::from(self.fault != Fault::None);
        (fault, place(self.load.name(), &LOADS.map(Load::name)), self.rate, self.latency_ms, self.loss_pct)
    }

    pub fn link(&self) -> &'static str {
        LINKS.iter().find(|(_, rate)| *rate == self.rate).map_or("?", |(name, _)| name)
    }

    pub const fn latency(&self) -> Nanos {
        self.latency_ms * MILLI
    }

    /// The shortest round trip of a frame with nothing in it: the unit of all latencies.
    pub fn round_trip(&self) -> Nanos {
        2 * (self.latency() + time_of(16, self.rate))
    }

    /// Bytes under way in a round trip.
    pub fn bandwidth_delay(&self) -> u64 {
        self.rate * self.round_trip() / super::SECOND
    }

    /// What can be carried at all, in bytes a second.
    pub fn capacity(&self) -> f64 {
        self.rate as f64 * (1.0 - f64::from(self.loss_pct) / 100.0)
    }

    /// Whether all of `words` name it.
    fn is_named_by(&self, words: &[&str]) -> bool {
        let (latency, loss) = (format!("{}ms", self.latency_ms), format!("{}%", self.loss_pct));
        let names = [self.load.name(), self.link(), &latency, &loss, self.fault.name()];
        words.iter().all(|word| names.contains(word))
    }
}

/// The cells that `filters` name, each a list of words separated by slashes; all plain ones if there is none.
pub fn chosen(filters: &[String]) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::new();
    for filter in filters {
        let words: Vec<&str> = filter.split('/').collect();
        let faults: Vec<Fault> = FAULTS.into_iter().filter(|fault| words.contains(&fault.name())).collect();
        let found: Vec<Cell> = match faults[..] {
            [] => all(&[Fault::None]),
            _ => all(&faults),
        };
        let before = cells.len();
        cells.extend(found.into_iter().filter(|cell| cell.is_named_by(&words)));
        if cells.len() == before {
            return Err(format!("no cell is named {filter}"));
        }
    }
    Ok(if filters.is_empty() { all(&[Fault::None]) } else { cells })
}

fn all(faults: &[Fault]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for fault in faults {
        for load in LOADS {
            for (_, rate) in LINKS {
                for latency_ms in LATENCIES {
                    for loss_pct in LOSSES {
                        if *fault == Fault::Outage && load != Load::Bulk {
                            continue;
                        }
                        cells.push(Cell { load, rate, latency_ms, loss_pct, fault: *fault });
                    }
                }
            }
        }
    }
    cells
}
