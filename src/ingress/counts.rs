//! Updates the metrics of the event listener after an append to the store.

use super::sent_event::SentEvent;
use crate::event::SourceName;
use crate::metrics::IngressMetrics;
use crate::outbox::AppendedEntry;
use crate::time::Timestamp;

/// Counts the entries that the store has appended for one request at the time `now`. Logs the number of new invalid events,
/// because an operator must look at them.
pub(super) fn count_appended(
    metrics: &IngressMetrics,
    source: &SourceName,
    sent: &[SentEvent],
    entries: &[AppendedEntry],
    now: Timestamp,
) {
    if entries.is_empty() {
        return;
    }
    let pairs = sent.iter().zip(entries);
    let new = pairs.filter(|(_, entry)| !entry.duplicate);
    let new = new.map(|(sent, _)| sent);
    let stored = new.clone().count();
    let duplicates = entries.len().saturating_sub(stored);
    let seconds = now.as_millis().div_euclid(1000);
    metrics.accepted(source.as_str(), stored, duplicates, seconds);
    for reason in new.clone().filter_map(SentEvent::ignored) {
        metrics.ignored(reason.as_str());
    }
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
