//! The admin API's routes for explanations of mappings, in JSON.

use actix_web::HttpRequest;
use actix_web::web::Path;
use serde::Deserialize;

use super::body::AdminBody;
use super::request::{RevealQuery, malformed, parse_entry, parse_query};
use super::{ApiResult, SharedOperations, json_response};
use crate::event::{SourceName, Visibility};
use crate::ops::operate::Operator;

/// Answers `GET /admin/v1/entries/{number}/explain`.
pub(super) async fn entry(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
    number: Path<String>,
) -> ApiResult {
    let query: RevealQuery = parse_query(&request)?;
    let entry = parse_entry(&number)?;
    let explanation = operations.explain_entry(&operator, entry, query.visibility());
    json_response(&explanation.await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyQuery {
    source: Option<String>,
    #[serde(default)]
    reveal: bool,
}

/// Answers `POST /admin/v1/explain`.
pub(super) async fn body(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let query: BodyQuery = parse_query(&request)?;
    let source = query.source.as_deref().map(SourceName::parse);
    let Some(Ok(source)) = source else {
        return Err(malformed("source must be the name of a source"));
    };
    let visibility = if query.reveal {
        Visibility::Revealed
    } else {
        Visibility::Masked
    };
    let explanation = operations.explain_body(&operator, &source, &body, visibility)?;
    json_response(&explanation)
}
