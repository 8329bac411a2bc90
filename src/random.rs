//! Random numbers: the only place that reads the operating system's random source.
//!
//! Pure rooms take a random number as an argument (`jitter`, `random`), so that a test can repeat any decision.

use std::cell::RefCell;

/// How many numbers one system call fetches. Every request takes one.
const BATCH: usize = 64;

thread_local! {
    static UNUSED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A random number in `[0, 1)`; about 0.5 if the random source fails.
pub fn jitter() -> f64 {
    f64::from(random_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// A random number; the middle of the range if the random source fails.
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

/// Fills `bytes` with random bytes fit for keys.
///
/// # Errors
/// The operating system's random source cannot be read.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the random source"
)]
pub fn fill_random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
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
}
