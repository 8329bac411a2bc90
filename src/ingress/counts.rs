//! Updates the metrics of the event listener after an append to the store.

use super::accept::SentEvent;
use crate::event::SourceName;
use crate::metrics::IngressMetrics;
use crate::outbox::AppendedEntry;

/// Counts the entries that the store has appended for one request. Logs the number of new invalid events, because an
/// operator must look at them.
pub(super) fn count_appended(
    metrics: &IngressMetrics,
    source: &SourceName,
    sent: &[SentEvent],
    entries: &[AppendedEntry],
) {
    let pairs = sent.iter().zip(entries);
    for (sent, entry) in pairs.clone() {
        if entry.duplicate {
            metrics.duplicate();
            continue;
        }
        metrics.accepted();
        if let Some(reason) = sent.ignored() {
            metrics.ignored(reason.as_str());
        }
    }
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
