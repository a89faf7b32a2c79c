//! How long packets should be (`PROTOCOL.md §9.4`): where single bits go wrong, long packets are lost more often.

/// Packets of this many bytes hold one message of medium length. Shorter ones would be lost less, but the frame around
/// a message costs about [`OVERHEAD`].
const SHORT: usize = 160;
const OVERHEAD: u32 = 13;

/// One packet in so many has the other length, to compare.
const PROBED: u32 = 16;

/// What became of packets of one length.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
struct Fates {
    /// Of how many it is known.
    known: u16,
    /// Of these, how many were lost.
    lost: u16,
}

/// Compares the losses of long and of short packets. Which is which is known by the number: no packet has to be
/// remembered. Packets that are short because there was nothing more to send blur the difference and do not bias it.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Sizes {
    /// Short packets are sent.
    is_short: bool,
    usual: Fates,
    probed: Fates,
}

impl Sizes {
    pub(crate) const fn new() -> Self {
        Self { is_short: false, usual: Fates::NONE, probed: Fates::NONE }
    }

    /// Packet `number` has arrived, or is lost.
    pub(crate) fn note(&mut self, number: u32, is_lost: bool) {
        let fates = if number.is_multiple_of(PROBED) { &mut self.probed } else { &mut self.usual };
        fates.known = fates.known.saturating_add(1);
        fates.lost = fates.lost.saturating_add(u16::from(is_lost));
        if fates.known >= 1 << 14 {
            self.usual.halve();
            self.probed.halve();
        }
    }

    /// Where packet `number` should end, if enough waits to fill it; no frame is longer than `full`.
    pub(crate) fn limit(&mut self, number: u32, full: usize) -> usize {
        let is_probe = number.is_multiple_of(PROBED);
        if is_probe && self.should_change(full) {
            *self = Self { is_short: !self.is_short, ..Self::new() };
        }
        match (self.is_short, is_probe) {
            (false, false) => usize::MAX,
            // Much longer ones would be lost too often only to learn that.
            (true, true) => 2 * SHORT,
            (true, false) | (false, true) => SHORT,
        }
    }

    fn should_change(&self, full: usize) -> bool {
        if self.is_short { self.are_long_ones_as_good() } else { self.are_short_ones_better(full as u32) }
    }

    /// More arrives in short packets than in full ones, overhead and all, and that is no chance.
    fn are_short_ones_better(&self, full: u32) -> bool {
        let (short, long) = (self.probed.arriving(), self.usual.arriving());
        let goodput = |arriving: u32, len: u32| arriving.saturating_mul(len.saturating_sub(OVERHEAD)) / len.max(1);
        let is_better = goodput(short, SHORT as u32) > goodput(long, full);
        // The difference exceeds 3.5 standard deviations of what the few short ones show.
        let difference = short.saturating_sub(long);
        let variance = long.saturating_mul(UNIT.saturating_sub(long)) / u32::from(self.probed.known).max(1);
        is_better && difference.saturating_mul(difference) > variance.saturating_mul(12)
    }

    /// Packets of twice the length arrive as often; with bit errors they would not.
    fn are_long_ones_as_good(&self) -> bool {
        let (long, short) = (self.probed.arriving(), self.usual.arriving());
        self.probed.known >= 768 && long.saturating_mul(50) >= short.saturating_mul(49)
    }
}

/// A share of 1. Its square fits 32 bits.
const UNIT: u32 = 1 << 14;

impl Fates {
    const NONE: Self = Self { known: 0, lost: 0 };

    fn halve(&mut self) {
        (self.known, self.lost) = (self.known / 2, self.lost / 2);
    }

    /// The share that arrives.
    fn arriving(self) -> u32 {
        UNIT.saturating_mul(u32::from(self.known.saturating_sub(self.lost))) / u32::from(self.known).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 1_194;

    /// Sends `count` packets, of which each is lost with the chance that `loss` tells for its length; returns how many
    /// were short at the end of it, out of a hundred.
    fn send(sizes: &mut Sizes, seed: u64, count: u32, loss: impl Fn(usize) -> f64) -> usize {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = (0..count).map(|number| {
            let limit = sizes.limit(number, FULL);
            sizes.note(number, rng.f64() < loss(limit.min(FULL)));
            limit
        });
        limits.skip(count as usize - 100).filter(|limit| *limit == SHORT).count()
    }

    fn bit_errors(rate: f64) -> impl Fn(usize) -> f64 {
        move |len| 1.0 - (1.0 - rate).powi(8 * len as i32)
    }

    #[test]
    fn every_sixteenth_packet_has_the_length_to_compare_with() {
        let (mut long, mut short) = (Sizes::new(), Sizes { is_short: true, ..Sizes::new() });
        assert_eq!([16, 17, 31, 32].map(|number| long.limit(number, 1_200)), [160, usize::MAX, usize::MAX, 160]);
        assert_eq!([16, 17, 31, 32].map(|number| short.limit(number, 1_200)), [320, 160, 160, 320]);
    }

    #[test]
    fn packets_become_short_where_bits_go_wrong() {
        for seed in 0..100 {
            let short = send(&mut Sizes::new(), seed, 2_000, bit_errors(1e-4));
            assert!(short > 90, "{seed}: {short}");
        }
    }

    #[test]
    fn packets_stay_long_where_all_lengths_are_lost_alike() {
        for loss in [0.0, 0.01, 0.1, 0.3] {
            let runs = (0..100).filter(|seed| send(&mut Sizes::new(), *seed, 20_000, |_| loss) > 50).count();
            assert!(runs <= 2, "{loss}: {runs} of 100 runs ended with short packets");
        }
    }

    #[test]
    fn packets_become_long_again_when_bits_are_right() {
        for seed in 0..100 {
            let mut sizes = Sizes::new();
            assert!(send(&mut sizes, seed, 2_000, bit_errors(1e-4)) > 90);
            let short = send(&mut sizes, seed, 25_000, |_| 0.02);
            assert!(short < 20, "{seed}: {short}");
        }
    }
}
