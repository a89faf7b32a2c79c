//! Local, monotonic time as the caller tells it. The crate never reads a clock.

#[cfg(bowline_model)]
use core::hash::{Hash, Hasher};
use core::ops::Add;

/// A moment, in microseconds since any origin that the caller likes.
///
/// Only differences count. A clock that runs backwards is clamped to the latest moment seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(bowline_model), derive(Hash))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The moment `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`, zero if that lies ahead.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }

    /// The low 32 bits, for stamps that are only compared over less than an hour.
    pub(crate) const fn stamp(self) -> Stamp {
        Stamp(self.0 as u32)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.0))
    }
}

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Whole microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Microseconds in 32 bits, saturating at 71 minutes.
    pub(crate) const fn as_micros_u32(self) -> u32 {
        if self.0 > u32::MAX as u64 { u32::MAX } else { self.0 as u32 }
    }
}

impl From<core::time::Duration> for Duration {
    /// Saturates after half a million years.
    fn from(duration: core::time::Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for core::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_micros(duration.0)
    }
}

/// The low half of an [`Instant`]: what a table of packets can afford on a microcontroller.
///
/// The elapsed time is right up to 71 minutes. After a longer sleep it may be too small, which at worst delays what waits
/// by as long as it waits anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    /// Microseconds from this stamp to `now`.
    pub(crate) const fn elapsed_micros(self, now: Self) -> u32 {
        now.0.wrapping_sub(self.0)
    }

    /// Whether `micros` have passed since.
    pub(crate) const fn is_over(self, now: Self, micros: u32) -> bool {
        self.elapsed_micros(now) >= micros
    }
}

/// The soonest of several timers, in microseconds from now; no timer runs for `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Soonest(u32);

impl Soonest {
    /// No timer.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// One more timer: `micros` after `since`.
    pub(crate) fn or(&mut self, now: Stamp, since: Stamp, micros: u32) {
        self.or_in(micros.saturating_sub(since.elapsed_micros(now)));
    }

    /// One more timer: `micros` from now. One that is too far away to be counted is looked after before it is due.
    pub(crate) fn or_in(&mut self, micros: u32) {
        self.0 = self.0.min(micros.min(Self::NONE.0 - 1));
    }

    /// When it is, if there is any.
    pub(crate) fn at(self, now: Instant) -> Option<Instant> {
        (self != Self::NONE).then(|| Instant(now.0.saturating_add(u64::from(self.0))))
    }
}

// The model checker (`tests/model/`) has one clock a node, and what matters is how long ago something was. Its hasher
// knows moments by their signed type, which nothing else has, and takes them relative to the clock.
#[cfg(bowline_model)]
impl Hash for Instant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_i64(self.0 as i64);
    }
}

#[cfg(bowline_model)]
impl Hash for Stamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_i32(self.0 as i32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_wrap_of_its_32_bits() {
        let sent = Instant::from_micros(u64::from(u32::MAX) - 10);
        let now = sent + Duration::from_micros(25);
        assert_eq!(sent.stamp().elapsed_micros(now.stamp()), 25);
        let mut soonest = Soonest::NONE;
        soonest.or(now.stamp(), sent.stamp(), 100);
        assert_eq!(soonest.at(now), Some(sent + Duration::from_micros(100)));
    }

    #[test]
    fn the_soonest_timer_counts_and_none_is_none() {
        let now = Instant::from_micros(1_000);
        let mut soonest = Soonest::NONE;
        assert_eq!(soonest.at(now), None);
        soonest.or_in(u32::MAX);
        assert_eq!(soonest.at(now), Some(Instant::from_micros(1_000 + u64::from(u32::MAX) - 1)));
        soonest.or(now.stamp(), Instant::from_micros(900).stamp(), 250);
        soonest.or_in(200);
        assert_eq!(soonest.at(now), Some(Instant::from_micros(1_150)));
        soonest.or(now.stamp(), Instant::from_micros(0).stamp(), 250);
        assert_eq!(soonest.at(now), Some(now));
    }

    #[test]
    fn time_saturates_at_its_end() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Instant::default().saturating_duration_since(end), Duration::ZERO);
        assert_eq!(Duration::from_secs(u64::MAX).as_micros_u32(), u32::MAX);
    }

    #[test]
    fn durations_are_those_of_core() {
        let core = core::time::Duration::new(1, 234_567_891);
        assert_eq!(Duration::from(core), Duration::from_micros(1_234_567));
        assert_eq!(core::time::Duration::from(Duration::from_millis(1_500)), core::time::Duration::from_millis(1_500));
        assert_eq!(Duration::from(core::time::Duration::MAX).as_micros(), u64::MAX);
        assert_eq!(Duration::from_micros(1 << 32).as_micros_u32(), u32::MAX);
    }
}
