//! The admin API's route for the cases: groups of entries that wait for an operator for the same cause, in JSON.

use serde_json::{Value, json};

use super::{ApiResult, SharedOperations, json_response};
use crate::ops::operate::{Case, CaseList, Operator};
use crate::outbox::EntryId;

/// Answers `GET /admin/v1/cases`.
pub(super) async fn list(operations: SharedOperations, operator: Operator) -> ApiResult {
    let CaseList {
        cases,
        entries,
        left_out,
        has_more,
    } = operations.cases(&operator).await?;
    let cases: Vec<Value> = cases.iter().map(case_json).collect();
    json_response(
        &json!({"cases": cases, "entries": entries, "left_out": left_out, "more": has_more}),
    )
}

fn case_json(case: &Case) -> Value {
    let cause = &case.cause;
    let error = cause.error.as_ref().map(
        |error| json!({"pointer": error.place, "rule": error.rule, "location": error.location}),
    );
    let newest = case.newest.iter().map(|EntryId(number)| *number);
    json!({
        "source": cause.source.as_str(),
        "type": cause.event_type.as_str(),
        "status": cause.state,
        "reason": cause.reason,
        "detail": cause.detail,
        "error": error,
        "entries": case.entries,
        "customers": case.customers,
        "first_at": case.first.to_rfc3339(),
        "last_at": case.last.to_rfc3339(),
        "newest": newest.collect::<Vec<_>>(),
    })
}
