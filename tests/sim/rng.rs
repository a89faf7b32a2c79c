//! Random numbers that are the same on every machine, for ever: a run is known by its seed alone.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A generator of its own for one part of the world, so that a change in one part does not shift the draws of all others.
    pub fn fork(&self, part: u64) -> Rng {
        let mut fork = Rng(self.0 ^ part.wrapping_mul(0xA076_1D64_78BD_642F));
        fork.next();
        Rng(fork.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `end` − 1; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a product: biased by less than 2^-32 for the small numbers that are drawn here.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// True with this probability. No draw is spent on what cannot happen.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// Between `low` and `high`, each order of magnitude as likely as the next (roughly: halvings, then a linear draw).
    pub fn log_between(&mut self, low: u64, high: u64) -> u64 {
        let doublings = (high / low.max(1)).max(1).ilog2();
        let floor = low << self.below(u64::from(doublings) + 1);
        self.between(floor, (2 * floor).min(high).max(floor))
    }

    /// A time around `mean`, from zero to twice it.
    pub fn around(&mut self, mean: u64) -> u64 {
        self.below(2 * mean + 1)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next() as u8;
        }
    }
}
