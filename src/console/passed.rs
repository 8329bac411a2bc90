//! The entries that passed the mass-change brake of a source before it held a mass change, as a page and as a file.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::json;

use super::Console;
use super::entry_row::EntryText;
use super::mass_change::passed_path;
use super::page::{Frame, PageResult, Section, page};
use super::problem::ConsoleProblem;
use super::visitor::Visitor;
use super::words::{counted, grouped};
use crate::event::SourceName;
use crate::ops::AdminProblem;
use crate::ops::operate::{Operations, PassedEntries, PassedEntry};

#[derive(Template)]
#[template(path = "passed.html", config = "src/console/askama.toml")]
struct PassedPage {
    frame: Frame,
    source: String,
    field: String,
    customers: String,
    /// The number of listed entries, if some are missing.
    listed: Option<String>,
    rows: Vec<PassedText>,
    file_path: String,
}

/// An entry that passed, with the CRM's id of its customer.
struct PassedText {
    entry: EntryText,
    partner: Option<String>,
}

/// The mass change in the address.
#[derive(Deserialize)]
struct PassedQuery {
    field: String,
    rule: String,
}

/// Answers `GET /sources/{source}/passed`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    source: web::Path<String>,
    request: HttpRequest,
) -> PageResult {
    let (query, passed) = find(&visitor, &operations, &source, &request).await?;
    let now = operations.clock.now();
    let rows: Vec<PassedText> = passed
        .entries
        .iter()
        .map(|entry| PassedText {
            entry: EntryText::of(&entry.summary, now),
            partner: entry.partner.as_ref().map(|id| id.as_str().to_owned()),
        })
        .collect();
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    page(&PassedPage {
        frame: console.frame(&visitor, Section::Sources, &operations).await,
        customers: counted(number(passed.customers), ["customer", "customers"]),
        listed: (rows.len() < passed.customers).then(|| grouped(number(rows.len()))),
        file_path: passed_path((&source, ".ndjson"), (&query.field, &query.rule)),
        source: source.into_inner(),
        field: query.field,
        rows,
    })
}

/// Answers `GET /sources/{source}/passed.ndjson`: one JSON object on each line, with ids and without values. If entries are
/// missing, the last line has their number.
pub(super) async fn export(
    visitor: Visitor,
    operations: web::Data<Operations>,
    source: web::Path<String>,
    request: HttpRequest,
) -> PageResult {
    let (_, passed) = find(&visitor, &operations, &source, &request).await?;
    let missing = passed.customers.saturating_sub(passed.entries.len());
    let missing = (missing > 0).then(|| json!({"missing": missing}));
    let lines = passed
        .entries
        .iter()
        .map(PassedEntry::to_json)
        .chain(missing);
    let lines = lines.map(|line| format!("{line}\n"));
    let file = format!("attachment; filename=\"passed-{source}.ndjson\"");
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CONTENT_DISPOSITION, file))
        .body(lines.collect::<String>()))
}

async fn find(
    visitor: &Visitor,
    operations: &Operations,
    source: &str,
    request: &HttpRequest,
) -> Result<(PassedQuery, PassedEntries), ConsoleProblem> {
    let malformed = AdminProblem::Malformed;
    let source = SourceName::parse(source).map_err(|error| malformed(error.to_string()))?;
    let query = web::Query::<PassedQuery>::from_query(request.query_string());
    let query = query.map_err(|_error| malformed("the address names no mass change".to_owned()))?;
    let query = query.into_inner();
    let kind = (query.field.as_str(), query.rule.as_str());
    let passed = operations.passed_entries(visitor.operator(), &source, kind);
    let passed = passed.await?.ok_or(ConsoleProblem::UnknownMassChange)?;
    Ok((query, passed))
}
