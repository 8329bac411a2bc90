//! Random numbers: the only place that reads the operating system's random source.
//!
//! Pure modules take a random number as an argument (`jitter`, `random`), so that a test can repeat any decision. The
//! demo, the sandbox and the simulation use a [`SeededRandom`]: two runs with the same seed get the same random
//! numbers.

use std::cell::RefCell;

/// The number of random numbers that the bridge reads with one system call. Each request to Imprint uses one random
/// number.
const BATCH: usize = 64;

thread_local! {
    static UNUSED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Returns a random number in `[0, 1)`, or about 0.5 if the operating system's random source fails.
pub fn jitter() -> f64 {
    f64::from(random_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// Returns a random number, or the middle of the range if the operating system's random source fails.
pub fn random_u32() -> u32 {
    UNUSED.with_borrow_mut(|unused| {
        if unused.is_empty() {
            let mut bytes = [0_u8; BATCH * 4];
            if fill_random(&mut bytes).is_err() {
                return u32::MAX / 2;
            }
            let (numbers, _) = bytes.as_chunks();
            unused.extend(numbers.iter().copied().map(u32::from_le_bytes));
        }
        unused.pop().unwrap_or(u32::MAX / 2)
    })
}

/// Fills `bytes` with random bytes that are secure enough for keys.
///
/// # Errors
/// Fails if the operating system's random source cannot be read.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the random source"
)]
pub fn fill_random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}

/// A generator (`SplitMix64`) of random numbers that depend only on the seed. Do not use the numbers of a
/// `SeededRandom` for keys.
#[derive(Clone, Debug)]
pub struct SeededRandom(u64);

impl SeededRandom {
    /// Creates a generator that starts the random sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 random bits of the sequence.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns 32 random bits: the upper half of the next 64 bits of the sequence.
    pub fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next_u64() >> 32).unwrap_or(u32::MAX)
    }

    /// Returns a random number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    /// Returns a random number in `[0, end)`; 0 if `end` is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        match self.next_u64().checked_rem(end) {
            Some(number) => number,
            None => 0,
        }
    }

    /// Returns true in `per_mille` of 1,000 calls, on average.
    pub const fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Chooses one of `items`, each with the same probability; `None` if `items` is empty.
    pub fn choose<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(self.below(count)).unwrap_or(usize::MAX);
        items.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_in_the_half_open_unit_interval() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&jitter()));
        }
    }

    #[test]
    fn two_batches_of_numbers_differ() {
        let batch = || (0..BATCH).map(|_| random_u32()).collect::<Vec<_>>();
        assert_ne!(batch(), batch());
    }

    #[test]
    fn a_seed_decides_the_whole_sequence() {
        let mut random = SeededRandom::new(1);
        // The reference values of SplitMix64 for seed 1.
        assert_eq!(random.next_u64(), 0x910a_2dec_8902_5cc1);
        assert_eq!(random.next_u64(), 0xbeeb_8da1_658e_ec67);
        let draw = |seed| -> Vec<u64> {
            let mut random = SeededRandom::new(seed);
            (0..100).map(|_| random.below(1000)).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn every_item_is_chosen_about_as_often() {
        let mut random = SeededRandom::new(7);
        let mut counts = [0_u32; 5];
        for _ in 0..10_000 {
            counts[random.choose(&[0_usize, 1, 2, 3, 4]).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_800..2_200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(random.choose::<u8>(&[]), None);
    }

    #[test]
    fn numbers_stay_in_their_ranges_and_shares_are_kept() {
        let mut random = SeededRandom::new(3);
        let mut happened = 0;
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&random.unit()));
            assert!(random.below(7) < 7);
            happened += u32::from(random.happens(250));
        }
        assert_eq!(random.below(0), 0);
        assert!((2_300..2_700).contains(&happened), "{happened}");
        let halves = (0..1000).filter(|_| random.unit() < 0.5).count();
        assert!((400..600).contains(&halves), "{halves}");
    }
}
