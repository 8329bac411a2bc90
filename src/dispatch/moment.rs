//! The time and the random number for one call of a pure module.

use crate::time::Timestamp;

/// The time and the random number for one call of the core. The caller reads the clock and the random source before
/// each call.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// A random number, uniformly distributed over all values of `u32`.
    pub random: u32,
}

impl Moment {
    /// Returns the random number of this call as a fraction in `[0, 1)`.
    pub fn jitter(self) -> f64 {
        f64::from(self.random) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_is_at_least_0_and_below_1() {
        let jitter = |random| {
            let now = Timestamp::from_millis(0);
            Moment { now, random }.jitter()
        };
        assert!(jitter(0).abs() < f64::EPSILON);
        assert!((jitter(1 << 31) - 0.5).abs() < f64::EPSILON);
        assert!((0.999..1.0).contains(&jitter(u32::MAX)));
    }
}
