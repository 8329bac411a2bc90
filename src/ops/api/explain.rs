//! The admin API's routes for explanations of mappings, in JSON.

use actix_web::HttpRequest;
use actix_web::web::Path;
use serde::Deserialize;

use super::body::AdminBody;
use super::request::{RevealQuery, malformed, parse_entry, parse_query};
use super::{AdminProblem, ApiResult, SharedOperations, json_response};
use crate::event::{RequestHeaders, SourceName, Visibility};
use crate::http::single_header::SingleHeader;
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
    let headers = read_headers(&operations, &source, &request)?;
    let message = (headers, body.to_vec());
    let explanation = operations.explain_body(&operator, source, message, visibility);
    json_response(&explanation.await?)
}

/// Reads the headers that the expressions of the source read. The request to the admin API has the same headers as the
/// explained request.
fn read_headers(
    operations: &SharedOperations,
    source: &SourceName,
    request: &HttpRequest,
) -> Result<RequestHeaders, AdminProblem> {
    let sources = operations.sources.sources();
    let names = sources.get(source).map(|source| source.read_headers());
    let read = |name: &str| SingleHeader::read(request.headers(), name).optional();
    RequestHeaders::read(&names.unwrap_or_default(), read).map_err(|errors| {
        let details: Vec<_> = errors.into_iter().map(|error| error.detail).collect();
        malformed(details.join(" "))
    })
}
