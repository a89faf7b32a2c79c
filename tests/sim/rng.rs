//! Random numbers that are the same on every machine, for ever: a run is known by its seed alone, or by the tape that was played.

use std::cell::Cell;
use std::rc::Rc;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014), behind a tape if there is one.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    tape: Option<Tape>,
}

/// Draws that somebody else has made, a fuzzer for instance: one byte for a small choice, two for others, in the order in which
/// the parts of the world ask. Forks go on where the others are.
#[derive(Clone, Debug)]
struct Tape {
    bytes: Rc<[u8]>,
    place: Rc<Cell<usize>>,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed, tape: None }
    }

    /// Chances and choices are as on the tape, while it lasts. What only has to be different (keys, incarnations, noise) is not on
    /// it: nobody can choose an incarnation that was there before.
    pub fn play(tape: &[u8]) -> Rng {
        let tape = Tape { bytes: tape.into(), place: Rc::default() };
        Rng { state: 0, tape: Some(tape) }
    }

    /// Whether there was a tape, and it has come to its end.
    pub fn is_over(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| tape.place.get() >= tape.bytes.len())
    }

    /// A generator of its own for one part of the world, so that a change in one part does not shift the draws of all others.
    pub fn fork(&self, part: u64) -> Rng {
        let mut fork = Rng::new(self.state ^ part.wrapping_mul(0xA076_1D64_78BD_642F));
        fork.next();
        Rng { state: fork.next(), tape: self.tape.clone() }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `end` − 1; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a product: biased by less than 2^-32 for the small numbers that are drawn here.
        let draw = self.read(end).unwrap_or_else(|| self.next());
        ((u128::from(draw) * u128::from(end)) >> 64) as u64
    }

    /// What the tape says to a choice of so many; its first bytes are the highest.
    fn read(&self, end: u64) -> Option<u64> {
        let tape = self.tape.as_ref()?;
        let len = match end {
            0 | 1 => return Some(0),
            2..=256 => 1,
            _ => 2,
        };
        let place = tape.place.get();
        let bytes = tape.bytes.get(place..)?.iter().take(len);
        tape.place.set(place + len);
        let shifts = [56, 48];
        (bytes.len() > 0).then(|| bytes.zip(shifts).map(|(byte, shift)| u64::from(*byte) << shift).sum())
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
        if probability <= 0.0 {
            return false;
        }
        // On a tape of zeros nothing goes wrong.
        let draw = self.read(2).map_or_else(|| self.next(), |draw| !draw);
        ((draw >> 11) as f64) < probability * (1u64 << 53) as f64
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
