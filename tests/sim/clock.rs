//! A node's own clock: another origin than its peer's, up to 5 % too fast or too slow, coarse, and now and then set to another time.

use super::rng::Rng;

/// How a clock misbehaves. The default does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockPlan {
    /// What it shows at the start of the run, in microseconds.
    pub origin: u64,
    /// How much faster than the world's it runs, in parts per million.
    pub drift_ppm: i64,
    /// Its resolution in microseconds (0 counts as 1).
    pub tick: u64,
    /// It is set anew about so often; 0 for never.
    pub jump_every: u64,
    /// By how much at most, back or forth.
    pub jump_by: u64,
}

#[derive(Clone, Debug)]
pub struct Clock {
    plan: ClockPlan,
    /// It showed `shown` at the world's time `since`.
    since: u64,
    shown: u64,
    /// The latest time that it ever showed before it was set.
    latest: u64,
}

const MILLION: i64 = 1_000_000;

impl Clock {
    pub fn new(plan: ClockPlan) -> Clock {
        let shown = plan.origin;
        Clock { plan, since: 0, shown, latest: 0 }
    }

    fn rate(&self) -> u128 {
        (MILLION + self.plan.drift_ppm) as u128
    }

    fn tick(&self) -> u64 {
        self.plan.tick.max(1)
    }

    fn unrounded(&self, time: u64) -> u64 {
        self.shown + (u128::from(time - self.since) * self.rate() / MILLION as u128) as u64
    }

    /// What it shows at the world's time `time`.
    pub fn read(&self, time: u64) -> u64 {
        self.unrounded(time) / self.tick() * self.tick()
    }

    /// The world's first time at which it shows `local` or more, unless it is set anew before.
    pub fn when(&self, local: u64) -> u64 {
        let due = local.div_ceil(self.tick()) * self.tick();
        let ahead = u128::from(due.saturating_sub(self.shown));
        self.since + (ahead * MILLION as u128).div_ceil(self.rate()) as u64
    }

    /// When it will be set anew.
    pub fn next_jump(&self, time: u64, rng: &mut Rng) -> Option<u64> {
        (self.plan.jump_every > 0).then(|| time + 1 + rng.around(self.plan.jump_every))
    }

    /// The node has booted: it starts anew, at `shown`.
    pub fn restart(&mut self, time: u64, shown: u64) {
        (self.since, self.shown, self.latest) = (time, shown, 0);
    }

    /// Sets it back or forth; says by how much.
    pub fn jump(&mut self, time: u64, rng: &mut Rng) -> i64 {
        let reach = self.plan.jump_by;
        let by = rng.below(2 * reach + 1) as i64 - reach as i64;
        let before = self.unrounded(time);
        self.latest = self.latest.max(before);
        // Many steps back do not add up.
        self.shown = before.saturating_add_signed(by).max(self.latest.saturating_sub(reach));
        self.since = time;
        self.shown as i64 - before as i64
    }
}
