//! Decides how long a lane waits after a failed request.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::outbox::DUE_AHEAD_MAX;

/// The limits of a lane's backoff. The longest delay equals [`DUE_AHEAD_MAX`], because the store accepts no later due
/// time.
const LANE_BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    min: Duration::from_millis(50),
    max: DUE_AHEAD_MAX,
};

/// Returns the delay of a lane after `failures` failures in a row. `jitter` must be a random number in `[0, 1)`.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    LANE_BACKOFF.delay(failures, jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_a_second_to_an_hour() {
        for (failures, seconds) in [(1, 1), (2, 2), (12, 2048), (13, 3600), (u32::MAX, 3600)] {
            let delay = backoff(failures, 1.0);
            assert_eq!(delay, Duration::from_secs(seconds), "{failures}");
        }
        assert_eq!(backoff(1, 0.0), Duration::from_millis(50));
    }
}
