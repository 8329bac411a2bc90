//! The requests that the event listener denied because the authentication failed. The event listener records them, and
//! the admin API shows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;

/// The denied requests since the start of the process, in one row for each source and reason. The number of rows is
/// bounded, because the sources and the reasons are closed sets.
#[derive(Debug, Default)]
pub struct DeniedRequests(Mutex<BTreeMap<(String, &'static str), DeniedRow>>);

/// The denied requests of one source with the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedRow {
    pub source: String,
    pub reason: &'static str,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The sentence about the last denied request. It contains no value of the request.
    pub last_detail: String,
}

impl DeniedRequests {
    /// Records one denied request.
    pub fn record(&self, source: &str, reason: &'static str, detail: String, now: Timestamp) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry((source.to_owned(), reason));
        let row = row.or_insert_with(|| DeniedRow {
            source: source.to_owned(),
            reason,
            count: 0,
            first_at: now,
            last_at: now,
            last_detail: String::new(),
        });
        row.count = row.count.saturating_add(1);
        row.last_at = now;
        row.last_detail = detail;
    }

    /// Returns the rows of one source, or of all sources.
    pub fn rows(&self, source: Option<&str>) -> Vec<DeniedRow> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = |row: &&DeniedRow| source.is_none_or(|source| row.source == source);
        rows.values().filter(is_asked).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_the_denied_requests_of_a_source_with_one_reason() {
        let denied = DeniedRequests::default();
        let at = Timestamp::from_millis;
        denied.record("crm", "mismatch", "one".to_owned(), at(1));
        denied.record("shop", "mismatch", "two".to_owned(), at(2));
        denied.record("crm", "mismatch", "three".to_owned(), at(3));
        let expected = DeniedRow {
            source: "crm".to_owned(),
            reason: "mismatch",
            count: 2,
            first_at: at(1),
            last_at: at(3),
            last_detail: "three".to_owned(),
        };
        assert_eq!(denied.rows(Some("crm")), [expected]);
        assert_eq!(
            (denied.rows(None).len(), denied.rows(Some("x")).len()),
            (2, 0)
        );
    }
}
