//! An Imprint that answers slowly, as the sentence of the overview describes it. Pure.

use std::time::Duration;

use crate::ops::history::History;

/// The mean time of a request from which Imprint is slow. The alert `ImprintBridgeSlow` has the same limit.
const SLOW_MIN: Duration = Duration::from_secs(2);

/// What an operator does about it.
pub(super) const SLOW: &str = "Nothing is lost. Ask Imprint, and look at the network in between. At most imprint.concurrency requests are in flight, so slow answers limit the rate.";

/// Returns the mean time of the latest requests if Imprint is slow.
pub(super) fn slow(history: &History) -> Option<Duration> {
    history.mean_request().filter(|mean| *mean > SLOW_MIN)
}

/// Describes an Imprint that is slow.
pub(super) fn slow_text(mean: Duration) -> String {
    format!(
        "Imprint is slow: a request took {}.{} s on average over the last minute.",
        mean.as_secs(),
        mean.subsec_millis() / 100
    )
}
