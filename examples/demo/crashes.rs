//! When to kill, and for how long a process stays dead.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::wire_log::Side;

/// Every so many crashes of the device it stays away for [`OUTAGE`]: longer than the lease and than a call's deadline.
const OUTAGE_EVERY: u32 = 5;
/// Long enough that calls end which were made while nobody was there.
pub const OUTAGE: Duration = Duration::from_secs(3);
/// The kill comes within this of the call that set it off, so that it may hit any instruction.
const MOMENT: Duration = Duration::from_millis(20);

/// The schedule of one side's crashes.
#[derive(Debug)]
pub struct Crashes {
    side: Side,
    rng: Rng,
    every: u32,
    /// The kill is set off when so many calls have ended,
    next: u32,
    /// and comes at this time.
    at: Option<Instant>,
    pub count: u32,
}

impl Crashes {
    /// A crash for about every `every` calls that end; none for 0.
    pub fn new(side: Side, every: u32, seed: u64) -> Self {
        // Other numbers than the injector's and than the other side's.
        let mut rng = Rng::with_seed(!seed ^ side as u64);
        let next = interval(&mut rng, every);
        Self { side, rng, every, next, at: None, count: 0 }
    }

    /// Whether it is time, given that `ended` calls have ended.
    pub fn is_due(&mut self, now: Instant, ended: u32) -> bool {
        if self.every == 0 || ended < self.next {
            return false;
        }
        let at = *self.at.get_or_insert_with(|| now + MOMENT.mul_f64(self.rng.f64()));
        now >= at
    }

    /// The time of a kill that has been set off.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// It was killed now. For how long does it stay so?
    pub fn killed(&mut self, ended: u32) -> Duration {
        self.count += 1;
        self.at = None;
        // Counted from the call that set this one off, so that the calls of the last moment don't stretch the schedule.
        self.next = self.next.saturating_add(interval(&mut self.rng, self.every)).max(ended + 1);
        let short = Duration::from_millis(self.rng.u64(50..=350));
        if self.side == Side::Device && self.count.is_multiple_of(OUTAGE_EVERY) { OUTAGE } else { short }
    }
}

/// From half of `every` to one and a half.
fn interval(rng: &mut Rng, every: u32) -> u32 {
    rng.u32(every.div_ceil(2)..=every.saturating_add(every / 2))
}
