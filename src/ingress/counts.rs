//! Updates the metrics of the event listener after an append to the store.

use crate::metrics::IngressMetrics;
use crate::outbox::{AppendedEntry, State};

/// Counts the entries that the store has appended for one request.
pub(super) fn count_appended(metrics: &IngressMetrics, entries: &[AppendedEntry]) {
    for entry in entries {
        match (entry.duplicate, entry.state) {
            (true, _) => metrics.duplicate(),
            (false, State::Ignored) => {
                metrics.accepted();
                metrics.ignored();
            }
            (
                false,
                State::Waiting
                | State::Delivered
                | State::Superseded
                | State::Parked
                | State::Discarded
                | State::Held
                | State::Undecided,
            ) => metrics.accepted(),
        }
    }
}
