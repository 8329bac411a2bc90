//! The refused requests of every problem type, as the page of the sources lists them. Pure.

use super::words::{TimeText, counted, grouped};
use crate::http::denied::DeniedRow;
use crate::http::refused::RefusedRow;
use crate::time::Timestamp;

/// The refused requests since the start, the latest first.
pub(super) struct RefusalList {
    /// The number of all requests of the list.
    pub(super) count: String,
    pub(super) rows: Vec<RefusedRequestText>,
}

/// The refused requests of one source with one problem type.
pub(super) struct RefusedRequestText {
    pub(super) count: String,
    pub(super) status: u16,
    pub(super) title: String,
    /// `None` if the path of the requests names no configured source.
    pub(super) source: Option<String>,
    /// Why the bridge has refused the last request.
    pub(super) detail: String,
    pub(super) first: TimeText,
    pub(super) last: TimeText,
}

impl RefusalList {
    /// `denied` has the reasons that the answers do not show: why an authentication failed, and the first broken rule.
    pub(super) fn of(
        mut refused: Vec<RefusedRow>,
        (denied, now): (&[DeniedRow], Timestamp),
    ) -> Self {
        refused.sort_by_key(|row| std::cmp::Reverse(row.last_at));
        let count = refused.iter().map(|row| row.count).sum();
        let rows = refused.into_iter();
        Self {
            count: counted(count, ["request", "requests"]),
            rows: rows
                .map(|row| RefusedRequestText::of(row, denied, now))
                .collect(),
        }
    }
}

impl RefusedRequestText {
    fn of(row: RefusedRow, denied: &[DeniedRow], now: Timestamp) -> Self {
        let reasons = denied.iter();
        let reasons =
            reasons.filter(|other| (&other.source, other.problem) == (&row.source, row.last.word));
        let reason = reasons.max_by_key(|other| other.last_at);
        Self {
            count: grouped(row.count),
            status: row.last.status,
            title: row.last.title,
            detail: reason.map_or(row.last.detail, |reason| reason.last_detail.clone()),
            first: TimeText::of(row.first_at, now),
            last: TimeText::of(row.last_at, now),
            source: Some(row.source).filter(|source| !source.is_empty()),
        }
    }
}
