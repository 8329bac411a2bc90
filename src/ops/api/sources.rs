//! The admin API's routes for the set of sources, in JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::AdminBody;
use super::request::{parse_body, parse_reason};
use super::{ApiResult, SharedOperations, json_response};
use crate::ops::operate::{Operator, ReloadResult, SetChanges, SetView};

/// Answers `GET /admin/v1/sources`.
pub(super) async fn show(operations: SharedOperations, operator: Operator) -> ApiResult {
    json_response(&set_json(&operations.source_set(&operator)))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadBody {
    reason: Option<String>,
}

/// Answers `POST /admin/v1/reload`. The request can have an empty body.
pub(super) async fn reload(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body = match body.is_empty() {
        true => ReloadBody::default(),
        false => parse_body(&body)?,
    };
    let reason = parse_reason(body.reason.as_deref())?;
    let result = operations.reload(&operator, reason).await?;
    let nothing = SetChanges::default;
    let (outcome, changes, errors) = match result {
        ReloadResult::Reloaded(changes) => ("reloaded", changes, Vec::new()),
        ReloadResult::Refused(errors) => ("refused", nothing(), errors),
        ReloadResult::Unchanged => ("unchanged", nothing(), Vec::new()),
    };
    json_response(&json!({
        "outcome": outcome, "added": changes.added, "removed": changes.removed, "changed": changes.changed,
        "errors": errors, "live": set_json(&operations.source_set(&operator)),
    }))
}

fn set_json(set: &SetView) -> Value {
    let refused = set.refused.as_ref();
    let refused = refused
        .map(|refused| json!({"since": refused.since.to_rfc3339(), "errors": refused.errors}));
    json!({
        "digest": set.digest, "since": set.since.to_rfc3339(), "sources": set.names, "refused": refused,
    })
}
