//! How long a lane rests after a failure: exponential with full jitter (Brooker, "Exponential Backoff And Jitter").

use std::time::Duration;

use crate::outbox::DUE_AHEAD_MAX;

/// The ceiling after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// The shortest rest: full jitter may draw a nought, and a lane is never to spin.
const REST_MIN: Duration = Duration::from_millis(50);

/// The rest after `failures` failures in a row; `jitter` is a number in `[0, 1)`.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let ceiling = FIRST.saturating_mul(1 << doublings).min(DUE_AHEAD_MAX);
    ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(REST_MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_an_hour() {
        let table = [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (12, 2048),
            (13, 3600),
            (u32::MAX, 3600),
        ];
        for (failures, seconds) in table {
            assert_eq!(
                backoff(failures, 1.0),
                Duration::from_secs(seconds),
                "{failures}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_rest_is_bounded_and_grows_with_failures_and_jitter(failures in 0_u32..100, jitter in 0.0_f64..1.0) {
            let rest = backoff(failures, jitter);
            prop_assert!((REST_MIN..=DUE_AHEAD_MAX).contains(&rest));
            prop_assert!(rest <= backoff(failures + 1, jitter));
            prop_assert!(rest >= backoff(failures, jitter / 2.0));
        }
    }
}
