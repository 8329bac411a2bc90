//! The admin API's route for the entries that passed before a mass change was held, in JSON.

use actix_web::HttpRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{malformed, parse_query};
use super::{ApiResult, SharedOperations, json_response};
use crate::event::SourceName;
use crate::ops::operate::{Operator, PassedEntry};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MassChangeQuery {
    source: String,
    field: String,
    rule: String,
}

/// Answers `GET /admin/v1/passed`.
pub(super) async fn list(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
) -> ApiResult {
    let query: MassChangeQuery = parse_query(&request)?;
    let source = SourceName::parse(&query.source);
    let source = source.map_err(|error| malformed(format!("source: {error}")))?;
    let kind = (query.field.as_str(), query.rule.as_str());
    let passed = operations.passed_entries(&operator, &source, kind).await?;
    let is_known = passed.is_some();
    let passed = passed.unwrap_or_default();
    let entries: Vec<Value> = passed.entries.iter().map(PassedEntry::to_json).collect();
    json_response(&json!({
        "known": is_known,
        "customers": passed.customers,
        "missing": passed.customers.saturating_sub(entries.len()),
        "entries": entries,
    }))
}
