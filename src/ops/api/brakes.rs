//! The admin API's routes for the mass-change brakes, in JSON.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::AdminBody;
use super::request::{malformed, parse_body, parse_reason};
use super::{ApiResult, SharedOperations, json_response};
use crate::event::SourceName;
use crate::intake::{BrakeLimits, BrakePolicy, Holding, MassChange};
use crate::ops::operate::{BrakeView, Operator};

/// Answers `GET /admin/v1/brakes`.
pub(super) async fn list(operations: SharedOperations, operator: Operator) -> ApiResult {
    let mut brakes = operations.brakes(&operator);
    brakes.extend(operations.open_brakes_without_source(&operator).await?);
    let brakes: Vec<Value> = brakes.iter().map(brake_json).collect();
    json_response(&json!({"brakes": brakes}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrakeBody {
    source: String,
    /// The time for which the brake is open, in seconds; 0 closes the brake.
    open_seconds: u64,
    reason: Option<String>,
}

/// Answers `POST /admin/v1/brakes`.
pub(super) async fn change(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: BrakeBody = parse_body(&body)?;
    let source = SourceName::parse(&body.source);
    let source = source.map_err(|error| malformed(format!("source: {error}")))?;
    let reason = parse_reason(body.reason.as_deref())?;
    let view = match body.open_seconds {
        0 => operations.close_brake(&operator, &source, reason).await?,
        seconds => {
            let span = Duration::from_secs(seconds);
            operations
                .open_brake(&operator, &source, span, reason)
                .await?
        }
    };
    json_response(&brake_json(&view))
}

fn brake_json(view: &BrakeView) -> Value {
    let state = &view.state;
    let limits = match &state.policy {
        BrakePolicy::Off => Value::Null,
        BrakePolicy::On(limits) => limits_json(limits),
    };
    let holding = state.holding.iter();
    let holding: Vec<Value> = holding.map(holding_json).collect();
    json!({
        "source": view.source,
        "mode": match state.policy { BrakePolicy::Off => "off", BrakePolicy::On(_) => "on" },
        "limits": limits,
        "bridges": state.bridges,
        "open_until": state.open_until.map(|until| until.to_rfc3339()),
        "holding": holding,
    })
}

fn limits_json(limits: &BrakeLimits) -> Value {
    json!({
        "window_seconds": limits.window.as_secs(),
        "customers_max": limits.customers_max,
        "share_percent_max": limits.share_percent_max,
        "same_value_max": limits.same_value_max,
        "cleared_max": limits.cleared_max,
    })
}

fn holding_json((kind, holding): &(MassChange, Holding)) -> Value {
    json!({
        "field": kind.field.path(), "rule": kind.rule.as_str(), "entries": holding.entries,
        "since": holding.since.to_rfc3339(), "last": holding.last.to_rfc3339(),
    })
}
