//! What the breaker takes over from the other processes of the store. This module is pure: it does no IO and reads no
//! clock.

use super::DestinationState;
use crate::time::Timestamp;

impl DestinationState {
    /// Returns the state after Imprint has asked a different process for a wait until this time.
    #[must_use]
    pub(in crate::dispatch) fn waiting_until(self, until: Timestamp) -> Self {
        match self {
            // Stay in these states, as after an answer to this process.
            Self::Stopped(probes) => Self::Stopped(probes.wait_until(until)),
            Self::Probing(probes) => Self::Probing(probes.wait_until(until)),
            Self::Throttled { streak, .. } => Self::Throttled { until, streak },
            Self::Flowing { .. } => Self::Throttled { until, streak: 1 },
        }
    }
}
