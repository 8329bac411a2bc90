//! The admin API's route for the requests that the event listener denied or refused, in JSON.

use actix_web::HttpRequest;
use serde::Deserialize;
use serde_json::json;

use super::request::parse_query;
use super::{ApiResult, SharedOperations, json_response};
use crate::ops::operate::Operator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeniedQuery {
    source: Option<String>,
}

/// Answers `GET /admin/v1/denied-requests`.
pub(super) async fn list(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
) -> ApiResult {
    let query: DeniedQuery = parse_query(&request)?;
    let rows = operations.denied_requests(&operator, query.source.as_deref());
    let rows = rows.into_iter().map(|row| {
        json!({
            "source": row.source, "problem": row.problem, "reason": row.reason, "location": row.location, "count": row.count,
            "first_at": row.first_at.to_rfc3339(), "last_at": row.last_at.to_rfc3339(),
            "last_pointers": row.last_pointers, "last_detail": row.last_detail,
        })
    });
    json_response(&json!({"requests": rows.collect::<Vec<_>>()}))
}
