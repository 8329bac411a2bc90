//! Computes exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter"). This module is pure: it
//! does no IO and reads no clock.

use std::time::Duration;

/// The backoff limits of one kind of retry.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The upper bound of the delay after the first failure. Each further failure doubles the bound.
    pub first: Duration,
    /// The shortest delay. Without it, a jitter of 0 would give a delay of 0, and the caller would retry in a busy
    /// loop.
    pub min: Duration,
    /// The maximum of the upper bound of the delay: further failures do not raise the bound above `max`.
    pub max: Duration,
}

impl Backoff {
    /// Returns the backoff delay after `failures` failures in a row; `jitter` is a random number in `[0, 1)`.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max);
        ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(self.min)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        min: Duration::from_millis(50),
        max: Duration::from_hours(1),
    };

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        for (failures, seconds) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (12, 2048),
            (13, 3600),
            (u32::MAX, 3600),
        ] {
            let delay = BACKOFF.delay(failures, 1.0);
            assert_eq!(delay, Duration::from_secs(seconds), "{failures}");
        }
    }

    #[test]
    fn jitter_scales_the_ceiling_down_to_the_minimum() {
        for (jitter, millis) in [
            (-1.0, 50),
            (0.0, 50),
            (0.0125, 50),
            (0.025, 100),
            (0.5, 2_000),
            (1.0, 4_000),
            (2.0, 4_000),
        ] {
            let delay = BACKOFF.delay(3, jitter);
            assert_eq!(delay, Duration::from_millis(millis), "{jitter}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_bounded_and_grows_with_failures_and_jitter(failures in 0_u32..100, jitter in 0.0_f64..1.0) {
            let delay = BACKOFF.delay(failures, jitter);
            prop_assert!((BACKOFF.min..=BACKOFF.max).contains(&delay));
            prop_assert!(delay <= BACKOFF.delay(failures + 1, jitter));
            prop_assert!(delay >= BACKOFF.delay(failures, jitter / 2.0));
        }
    }
}
