//! The round trip, measured (`PROTOCOL.md §9.1`).

use super::{Overtaken, Sample};
use crate::time::Duration;

/// Samples kept. 8 and 16 did equally well when measured; 8 cost less memory.
const SAMPLES: usize = 8;

/// No wire answers sooner, but a clock of low resolution may say so: five bytes at a megabaud.
const MIN_PROBE_MICROS: u32 = 50;

/// The median of the latest samples: no more than half of them can mislead it, whatever they say.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct RoundTrip {
    samples: [u32; SAMPLES],
    /// How many are valid.
    count: u8,
    /// Where the next one goes.
    at: u8,
    /// In microseconds: the median, or half as much again as the configured round trip as long as there is none.
    estimate: u32,
    granularity: u32,
}

impl RoundTrip {
    pub(crate) fn new(initial: Duration, granularity: Duration) -> Self {
        let initial = initial.as_micros_u32();
        Self {
            samples: [0; SAMPLES],
            count: 0,
            at: 0,
            estimate: initial.saturating_add(initial / 2),
            granularity: granularity.as_micros_u32(),
        }
    }

    /// Takes note of what an ack tells. That a round trip takes at least so long is news only if it was believed to
    /// be shorter: so a belief that is far too short, by which packets are forgotten before their acks come, mends
    /// itself.
    pub(crate) fn learn(&mut self, sample: Sample) {
        match sample {
            Sample::Exactly(micros) => self.add(micros),
            Sample::AtLeast(micros) if micros > self.estimate => self.add(micros),
            Sample::AtLeast(_) => {}
        }
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    fn add(&mut self, sample: u32) {
        if let Some(slot) = self.samples.get_mut(usize::from(self.at)) {
            *slot = sample;
        }
        self.at = self.at.wrapping_add(1) % SAMPLES as u8;
        self.count = self.count.saturating_add(1).min(SAMPLES as u8);
        let mut sorted = self.samples;
        if let Some(valid) = sorted.get_mut(..usize::from(self.count)) {
            valid.sort_unstable();
            self.estimate = valid.get(valid.len() / 2).copied().unwrap_or(self.estimate);
        }
    }

    /// Invariants: the ring is inside its memory, and the estimate is a sample as soon as there is one.
    pub(crate) fn check_invariants(&self) {
        debug_assert!(usize::from(self.count) <= SAMPLES && usize::from(self.at) < SAMPLES);
        debug_assert!(self.count == 0 || self.samples.contains(&self.estimate));
    }

    /// The measured round trip, if there is one.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn measured(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(u64::from(self.estimate)))
    }

    /// Microseconds that a round trip takes; never zero.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn micros(&self) -> u32 {
        self.estimate.max(1)
    }

    /// After so many microseconds a packet without an ack is sent again: 17/16 of the round trip. A sixteenth
    /// leaves room for jitter, more would be felt at every lost frame.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn probe_micros(&self) -> u32 {
        self.micros().saturating_add((self.micros() / 16).max(self.granularity)).max(MIN_PROBE_MICROS)
    }

    /// After so many microseconds an overtaken packet is lost: 21/16 of the round trip, or two round trips if only few have
    /// overtaken it. What is above one is the reordering window; it is wide because other packets flow meanwhile.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn lost_micros(&self, overtaken: Overtaken) -> u32 {
        let window = match overtaken {
            Overtaken::ByFew => self.micros(),
            Overtaken::ByMany => self.micros() / 16 * 5,
        };
        self.micros().saturating_add(window).saturating_add(self.granularity)
    }

    /// Packets older than this are sent again when the peer shows that it misses something.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn overdue_micros(&self) -> u32 {
        self.micros().saturating_sub(self.micros() / 32)
    }

    /// An ack waits at most so long for a packet that it can ride on.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn ack_delay_micros(&self) -> u32 {
        self.micros() / 16
    }

    /// An ack of a packet that came longer ago is no round-trip sample. Twice the ack delay, so that an ack that a
    /// slow driver sends a little late still is one.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn fresh_micros(&self) -> u32 {
        self.micros() / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(samples: &[u32]) -> RoundTrip {
        let mut round_trip = RoundTrip::new(Duration::from_millis(10), Duration::ZERO);
        samples.iter().for_each(|sample| round_trip.learn(Sample::Exactly(*sample)));
        round_trip
    }

    #[test]
    fn stretched_samples_do_not_move_the_estimate_while_they_are_the_minority() {
        assert_eq!(round_trip(&[100, 100, 100, 9_000, 100, 9_000, 100, 9_000]).micros(), 100);
    }

    #[test]
    fn a_new_round_trip_is_learnt_within_five_samples() {
        assert_eq!(round_trip(&[100, 100, 100, 100, 100, 100, 100, 100, 400, 400, 400, 400]).micros(), 400);
        assert_eq!(round_trip(&[400, 400, 400, 400, 400, 400, 400, 400, 100, 100, 100, 100, 100]).micros(), 100);
    }

    #[test]
    fn the_intervals_are_those_of_the_protocol() {
        for (granularity, probe, by_many, by_few) in
            [(0, 17_000, 21_000, 32_000), (500, 17_000, 21_500, 32_500), (3_000, 19_000, 24_000, 35_000)]
        {
            let mut round_trip = RoundTrip::new(Duration::from_millis(10), Duration::from_micros(granularity));
            round_trip.learn(Sample::Exactly(16_000));
            assert_eq!(round_trip.probe_micros(), probe);
            let lost = [Overtaken::ByMany, Overtaken::ByFew].map(|overtaken| round_trip.lost_micros(overtaken));
            assert_eq!(lost, [by_many, by_few]);
            let others = (round_trip.ack_delay_micros(), round_trip.fresh_micros(), round_trip.overdue_micros());
            assert_eq!(others, (1_000, 2_000, 15_500));
        }
    }

    #[test]
    fn before_the_first_sample_half_as_much_again_is_waited() {
        assert_eq!(round_trip(&[]).micros(), 15_000);
        assert_eq!(round_trip(&[]).measured(), None);
        assert_eq!(round_trip(&[7]).measured(), Some(Duration::from_micros(7)));
    }

    #[test]
    fn a_lower_bound_counts_only_if_it_is_news() {
        let mut round_trip = round_trip(&[100]);
        round_trip.learn(Sample::AtLeast(100));
        assert_eq!(round_trip.micros(), 100);
        round_trip.learn(Sample::AtLeast(300));
        assert_eq!(round_trip.micros(), 300);
    }

    #[test]
    fn a_probe_never_comes_at_once() {
        assert!(round_trip(&[0]).probe_micros() > 0);
    }
}
