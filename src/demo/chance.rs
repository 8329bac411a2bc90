//! Chance that can be repeated: `SplitMix64` from a seed, good enough for stories and for nothing else.

/// A sequence of numbers that only its seed decides.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(super) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one below `end`; 0 if there is none.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        match self.bits().checked_rem(end) {
            Some(number) => number,
            None => 0,
        }
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(super) const fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of the items; the default if there are none.
    pub(super) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let count = u64::try_from(items.len()).unwrap_or(0);
        let at = usize::try_from(self.below(count)).unwrap_or(0);
        items.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_seeds_differ() {
        let draw = |seed| -> Vec<u64> {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.below(1000)).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn every_item_is_picked_about_as_often() {
        let mut chance = Chance::new(7);
        let mut counts = [0_u32; 5];
        for _ in 0..10_000 {
            counts[chance.pick(&[0_usize, 1, 2, 3, 4])] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_800..2_200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(chance.pick::<u8>(&[]), 0);
    }
}
