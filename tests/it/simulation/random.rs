//! The random numbers of the simulation, which a seed determines, so that a run can be repeated.

use imprint_bridge::random;

/// A sequence of random numbers that a seed determines.
#[derive(Clone, Debug)]
pub(super) struct SeededRandom(random::SeededRandom);

impl SeededRandom {
    pub(super) const fn new(seed: u64) -> Self {
        // The recorded seeds of earlier failures need exactly this multiplier.
        Self(random::SeededRandom::new(
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d),
        ))
    }

    /// Returns a random number in `[from, to)`, or `from` if the range is empty.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from).unwrap_or(0).max(1);
        from + i64::try_from(self.0.next_u64() % width).unwrap_or(0)
    }

    /// Returns true with a probability of `per_mille` in 1,000.
    pub(super) fn chance(&mut self, per_mille: i64) -> bool {
        self.between(0, 1000) < per_mille
    }

    /// Returns a random item.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        let end = i64::try_from(items.len()).unwrap_or(0);
        items[usize::try_from(self.between(0, end)).unwrap_or(0)]
    }

    /// Returns any random number.
    pub(super) fn any_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
}
