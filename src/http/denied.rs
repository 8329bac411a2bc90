//! The denied requests, which the event listener records and the admin API shows.
//!
//! A request is denied if the authentication failed, or if the bridge refused the request and the sender must change it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;

/// The maximum number of rows. The sources, the problem types, the reasons and the causes are closed sets with fewer
/// combinations, but a bridge that runs for years can have had many sources. The bridge then removes the row with the oldest request.
const ROWS_MAX: usize = 1_000;

/// The denied requests since the start of the process, in one row for each source, problem type, reason and cause.
#[derive(Debug, Default)]
pub struct DeniedRequests(Mutex<BTreeMap<RowKey, DeniedRow>>);

/// The source, the problem type, the reason and the cause of a row.
type RowKey = (String, &'static str, String, String);

/// A denied request. No field contains a value of the request.
#[derive(Clone, Debug)]
pub struct DeniedRequest<'a> {
    pub source: &'a str,
    /// The last word of the problem type in the answer.
    pub problem: &'static str,
    /// The reason why the authentication failed, or the rule that the request breaks.
    pub reason: &'a str,
    /// The cause among the requests with the same reason, from a closed set: the words of the sentence and the place in
    /// the configuration, without a value of the request.
    pub cause: String,
    /// The place in the configuration whose rule the request breaks, or an empty text.
    pub location: String,
    /// JSON Pointers to the places in the body that break the rule.
    pub pointers: Vec<String>,
    /// A sentence about the request.
    pub detail: String,
}

/// The denied requests of one source with the same problem type, the same reason and the same cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedRow {
    pub source: String,
    pub problem: &'static str,
    pub reason: String,
    /// The place in the configuration whose rule the requests break, or an empty text.
    pub location: String,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The places in the body of the last denied request.
    pub last_pointers: Vec<String>,
    /// The sentence about the last denied request.
    pub last_detail: String,
}

impl DeniedRequests {
    /// Records one denied request.
    pub fn record(&self, request: DeniedRequest<'_>, now: Timestamp) {
        let DeniedRequest {
            source,
            problem,
            reason,
            cause,
            location,
            pointers,
            detail,
        } = request;
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.to_owned(), problem, reason.to_owned(), cause);
        if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
            let oldest = rows.iter().min_by_key(|(_, row)| row.last_at);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|oldest| rows.remove(&oldest));
        }
        let row = rows.entry(key).or_insert_with(|| DeniedRow {
            source: source.to_owned(),
            problem,
            reason: reason.to_owned(),
            location,
            count: 0,
            first_at: now,
            last_at: now,
            last_pointers: Vec::new(),
            last_detail: String::new(),
        });
        row.count = row.count.saturating_add(1);
        row.last_at = now;
        row.last_pointers = pointers;
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

    fn request<'a>(source: &'a str, reason: &'a str, detail: &str) -> DeniedRequest<'a> {
        DeniedRequest {
            source,
            problem: "invalid",
            reason,
            cause: String::new(),
            location: "email".to_owned(),
            pointers: vec![format!("/{detail}")],
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn a_row_counts_the_denied_requests_of_a_source_with_one_reason() {
        let denied = DeniedRequests::default();
        let at = Timestamp::from_millis;
        denied.record(request("crm", "type", "one"), at(1));
        denied.record(request("shop", "type", "two"), at(2));
        denied.record(request("crm", "type", "three"), at(3));
        let expected = DeniedRow {
            source: "crm".to_owned(),
            problem: "invalid",
            reason: "type".to_owned(),
            location: "email".to_owned(),
            count: 2,
            first_at: at(1),
            last_at: at(3),
            last_pointers: vec!["/three".to_owned()],
            last_detail: "three".to_owned(),
        };
        assert_eq!(denied.rows(Some("crm")), [expected]);
        assert_eq!(
            (denied.rows(None).len(), denied.rows(Some("x")).len()),
            (2, 0)
        );
    }

    /// FAULTS N586: two causes of one reason have a row each, so that the sentence of a row belongs to all its requests.
    #[test]
    fn each_cause_has_a_row() {
        let denied = DeniedRequests::default();
        for (cause, detail) in [("a", "one"), ("b", "two"), ("a", "three")] {
            let request = DeniedRequest {
                cause: cause.to_owned(),
                ..request("crm", "type", detail)
            };
            denied.record(request, Timestamp::from_millis(1));
        }
        let rows = denied.rows(None).into_iter();
        let rows: Vec<_> = rows.map(|row| (row.count, row.last_detail)).collect();
        assert_eq!(rows, [(2, "three".to_owned()), (1, "two".to_owned())]);
    }

    /// FAULTS N460: the list of refused requests is bounded, and keeps the newest rows.
    #[test]
    fn the_oldest_row_gives_way() {
        let denied = DeniedRequests::default();
        let at = Timestamp::from_millis;
        for number in 0..ROWS_MAX {
            let millis = i64::try_from(number).unwrap();
            denied.record(request("crm", &format!("{number}"), ""), at(millis));
        }
        denied.record(request("crm", "0", ""), at(5_000));
        denied.record(request("crm", "new", ""), at(5_001));
        let rows = denied.rows(None);
        let has = |reason: &str| rows.iter().any(|row| row.reason == reason);
        assert_eq!(rows.len(), ROWS_MAX);
        assert!(has("0") && has("new") && !has("1"));
    }
}
