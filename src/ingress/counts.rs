//! Updates the metrics of the event listener after an append to the store.

use super::accept::SentEvent;
use crate::event::SourceName;
use crate::metrics::IngressMetrics;
use crate::outbox::{AppendedEntry, State};

/// Counts the entries that the store has appended for one request. Logs the number of new invalid events, because an
/// operator must look at them.
pub(super) fn count_appended(
    metrics: &IngressMetrics,
    source: &SourceName,
    sent: &[SentEvent],
    entries: &[AppendedEntry],
) {
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
    let pairs = sent.iter().zip(entries);
    let new = pairs.filter(|(_, entry)| !entry.duplicate);
    let new = new.map(|(sent, _)| sent);
    let skipped = new.clone().map(SentEvent::skipped_fields).sum();
    metrics.skipped_fields(source.as_str(), skipped);
    let invalid = new.filter(|sent| sent.is_invalid()).count();
    if invalid > 0 {
        metrics.invalid(source.as_str(), invalid);
        tracing::warn!(
            source = source.as_str(),
            invalid,
            events = sent.len(),
            "parked invalid events of a body: an operator must look at them"
        );
    }
}
