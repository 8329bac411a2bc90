//! The admin API's routes for the mode and the state of sending to Imprint, in JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::AdminBody;
use super::keys::sealing_json;
use super::request::{malformed, parse_body, parse_reason};
use super::{ApiResult, SharedOperations, json_response};
use crate::dispatch::destination::OperatorMode;
use crate::ops::operate::{DestinationView, Operator};

/// Answers `GET /admin/v1/destination`.
pub(super) async fn show(operations: SharedOperations, operator: Operator) -> ApiResult {
    json_response(&destination_json(&operations.destination(&operator)))
}

/// Answers `GET /admin/v1/status`.
pub(super) async fn status(operations: SharedOperations, operator: Operator) -> ApiResult {
    json_response(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "destination": destination_json(&operations.destination(&operator)),
        "weakened": operations.weakenings(&operator),
        "sealing": sealing_json(&operations.sealing(&operator), |id| operations.key_file(id)),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModeBody {
    mode: String,
    reason: Option<String>,
}

/// Answers `POST /admin/v1/destination`.
pub(super) async fn set_mode(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: ModeBody = parse_body(&body)?;
    let mode = OperatorMode::parse(&body.mode)
        .ok_or_else(|| malformed("mode is open, paused or shadow"))?;
    let reason = parse_reason(body.reason.as_deref())?;
    let view = operations.set_mode(&operator, mode, reason).await?;
    json_response(&destination_json(&view))
}

/// Answers `GET /admin/v1/shadow`.
pub(super) async fn shadow(operations: SharedOperations, operator: Operator) -> ApiResult {
    let requests = operations.shadow_requests(&operator).into_iter();
    let requests = requests.map(|request| {
        json!({
            "at": request.at.to_rfc3339(), "customer": request.customer,
            "operation": request.operation, "body": request.body,
        })
    });
    json_response(&json!({"requests": requests.collect::<Vec<_>>()}))
}

fn destination_json(view: &DestinationView) -> Value {
    json!({
        "mode": view.mode.as_str(),
        "state": view.state,
        "since": view.change.as_ref().map(|change| change.at.to_rfc3339()),
        "outcome": view.change.as_ref().map(|change| change.outcome),
        "cause": view.change.as_ref().map(|change| change.cause.as_str()),
        "next_try_at": view.next_try_at.map(|at| at.to_rfc3339()),
        "unproven": view.unproven.as_ref().map(|failures| json!({
            "since": failures.since.to_rfc3339(), "requests": failures.requests,
            "outcome": failures.outcome, "cause": failures.cause,
        })),
        "changes": view.changes.iter().map(|change| json!({
            "state": change.to, "at": change.at.to_rfc3339(),
            "outcome": change.outcome, "cause": change.cause,
        })).collect::<Vec<_>>(),
    })
}
