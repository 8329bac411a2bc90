//! Random numbers that only a seed decides (`SplitMix64`), so that a run can be repeated.

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct SeededRandom(u64);

impl SeededRandom {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[from, to)`; `from` if there is none.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from).unwrap_or(0).max(1);
        from + i64::try_from(self.bits() % width).unwrap_or(0)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(super) fn chance(&mut self, per_mille: i64) -> bool {
        self.between(0, 1000) < per_mille
    }

    /// One of the items.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        let end = i64::try_from(items.len()).unwrap_or(0);
        items[usize::try_from(self.between(0, end)).unwrap_or(0)]
    }

    /// Any number.
    pub(super) fn any_u32(&mut self) -> u32 {
        u32::try_from(self.bits() >> 32).unwrap_or(0)
    }
}
