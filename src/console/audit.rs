//! The audit log, the newest records first.

use actix_web::web;
use askama::Template;
use serde::Deserialize;

use super::Console;
use super::page::{Frame, PageResult, Section, page};
use super::visitor::Visitor;
use super::words::{TimeText, grouped};
use crate::ops::AdminProblem;
use crate::ops::operate::Operations;
use crate::outbox::{AuditRecord, ENTRY_MAX};
use crate::time::Timestamp;

/// The number of records on a page.
const PAGE_RECORDS: usize = 50;

#[derive(Template)]
#[template(path = "audit.html", config = "src/console/askama.toml")]
struct AuditLogPage {
    frame: Frame,
    rows: Vec<AuditText>,
    is_newest: bool,
    /// The page with the older records.
    older: Option<String>,
}

/// An audit record, as the page writes it.
struct AuditText {
    number: u64,
    at: TimeText,
    operator: String,
    action: String,
    target: String,
    /// The number of changed entries. Empty if the action changes no entry.
    entries: String,
    reason: Option<String>,
    /// What is wrong with the seal of the record.
    fault: Option<&'static str>,
}

#[derive(Deserialize)]
pub(super) struct AuditPlace {
    /// The page has the records before the record with this number.
    before: Option<u64>,
}

/// Answers `GET /audit`.
pub(super) async fn list(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    place: Result<web::Query<AuditPlace>, actix_web::Error>,
) -> PageResult {
    let malformed = || AdminProblem::Malformed("before is not the number of a record".to_owned());
    let before = place.map_err(|_error| malformed())?.before;
    let listed = operations.newest_audit(visitor.operator(), before, PAGE_RECORDS);
    let records = listed.await?.records;
    let now = operations.clock.now();
    let oldest = records.last().map(|record| record.number);
    page(&AuditLogPage {
        frame: console.frame(&visitor, Section::Audit, &operations).await,
        rows: records
            .into_iter()
            .map(|record| AuditText::of(record, now))
            .collect(),
        is_newest: before.is_none_or(|before| before > ENTRY_MAX),
        older: oldest
            .filter(|oldest| *oldest > 1)
            .map(|oldest| format!("/audit?before={oldest}")),
    })
}

impl AuditText {
    fn of(record: AuditRecord, now: Timestamp) -> Self {
        let entries = u64::try_from(record.entries).unwrap_or(u64::MAX);
        Self {
            number: record.number,
            at: TimeText::of(record.at, now),
            operator: record.operator,
            action: record.action.replace('_', " "),
            target: record.target,
            entries: match entries {
                0 => String::new(),
                entries => grouped(entries),
            },
            reason: record.reason,
            fault: match (record.is_intact, record.lacks_key) {
                (true, _) => None,
                (false, true) => Some("not verified: a key is missing"),
                (false, false) => Some("changed after it was written"),
            },
        }
    }
}
