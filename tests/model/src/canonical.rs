//! A hash that is the same whenever a state is reached: moments count by how far they lie from now.

use std::hash::{BuildHasher as _, Hash, Hasher};

use ahash::{AHasher, RandomState};

use crate::node::LEASE;

/// The same in every run, so that a count can be repeated.
const SEEDS: RandomState = RandomState::with_seeds(0x6B6E_6F74, 0x7275_6E73, 0x7468_726F, 0x7567_6821);

/// Takes what the library hashes. It hands moments in as signed numbers, and nothing else.
pub struct Canonical {
    inner: AHasher,
    now: u64,
}

impl Canonical {
    pub fn new(now: u64) -> Self {
        Self { inner: SEEDS.build_hasher(), now }
    }
}

impl Hasher for Canonical {
    /// A whole moment. No timer looks farther than a lease.
    fn write_i64(&mut self, moment: i64) {
        let distance = (moment as u64).wrapping_sub(self.now) as i64;
        self.inner.write_i64(distance.clamp(-(LEASE as i64), LEASE as i64));
    }

    /// The low half of a moment that has passed.
    fn write_i32(&mut self, stamp: i32) {
        let elapsed = (self.now as u32).wrapping_sub(stamp as u32);
        self.inner.write_u32(elapsed.min(LEASE as u32));
    }

    fn write(&mut self, bytes: &[u8]) {
        self.inner.write(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.inner.write_u8(number);
    }

    fn write_u16(&mut self, number: u16) {
        self.inner.write_u16(number);
    }

    fn write_u32(&mut self, number: u32) {
        self.inner.write_u32(number);
    }

    fn write_u64(&mut self, number: u64) {
        self.inner.write_u64(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.inner.write_usize(number);
    }

    fn finish(&self) -> u64 {
        self.inner.finish()
    }
}

/// The hash of what holds no moments.
pub fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = Canonical::new(0);
    value.hash(&mut hasher);
    hasher.finish()
}
