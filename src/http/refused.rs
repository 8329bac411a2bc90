//! The refused requests of the event listener by problem type, of every status. The list answers which requests the metric
//! of refused requests counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;

/// The maximum number of rows. The problem types are a closed set, but a bridge that runs for years can have had many sources.
/// The bridge then removes the row with the oldest request.
const ROWS_MAX: usize = 1_000;

/// The refused requests since the start of the process, in one row for each source and problem type.
#[derive(Debug, Default)]
pub struct RefusedRequests(Mutex<BTreeMap<(String, &'static str), RefusedRow>>);

/// A refusal of a request, without a value of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedProblem {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The last word of the problem type in the answer.
    pub word: &'static str,
    pub title: String,
    /// The sentence in the answer.
    pub detail: String,
}

/// The refused requests of one source with the same problem type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// The name of the source, or an empty text if the path of the request names no configured source.
    pub source: String,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The last refusal.
    pub last: RefusedProblem,
}

impl RefusedRequests {
    /// Records one refused request.
    pub fn record(&self, source: &str, problem: RefusedProblem, now: Timestamp) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.to_owned(), problem.word);
        if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
            let oldest = rows.iter().min_by_key(|(_, row)| row.last_at);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|oldest| rows.remove(&oldest));
        }
        let before = rows.remove(&key);
        let (count, first_at) = before.map_or((0, now), |row| (row.count, row.first_at));
        let row = RefusedRow {
            source: source.to_owned(),
            count: count.saturating_add(1),
            first_at,
            last_at: now,
            last: problem,
        };
        rows.insert(key, row);
    }

    /// Returns the rows.
    pub fn rows(&self) -> Vec<RefusedRow> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn problem(word: &'static str, detail: &str) -> RefusedProblem {
        RefusedProblem {
            status: 503,
            word,
            title: "Store disk full".to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// FAULTS N1184
    #[test]
    fn a_row_counts_the_refusals_of_a_source_with_one_problem() {
        let refused = RefusedRequests::default();
        refused.record("crm", problem("store_full", "one"), at(1));
        refused.record("", problem("store_full", "two"), at(2));
        refused.record("crm", problem("busy", "three"), at(3));
        refused.record("crm", problem("store_full", "four"), at(4));
        let rows = refused.rows().into_iter();
        let rows: Vec<_> = rows
            .map(|row| {
                (
                    row.source,
                    row.last.word,
                    row.count,
                    row.first_at,
                    row.last_at,
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                (String::new(), "store_full", 1, at(2), at(2)),
                ("crm".to_owned(), "busy", 1, at(3), at(3)),
                ("crm".to_owned(), "store_full", 2, at(1), at(4)),
            ]
        );
    }

    /// FAULTS N1184
    #[test]
    fn the_row_with_the_oldest_refusal_gives_way() {
        let refused = RefusedRequests::default();
        for number in 0..ROWS_MAX {
            let millis = i64::try_from(number).unwrap();
            refused.record(&format!("{number}"), problem("busy", ""), at(millis));
        }
        refused.record("0", problem("busy", ""), at(5_000));
        refused.record("new", problem("busy", ""), at(5_001));
        let rows = refused.rows();
        let has = |source: &str| rows.iter().any(|row| row.source == source);
        assert_eq!(rows.len(), ROWS_MAX);
        assert!(has("0") && has("new") && !has("1"));
    }
}
