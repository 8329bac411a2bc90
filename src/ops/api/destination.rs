//! How the destination is, and what an operator wants of it.

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{malformed, parse};
use super::{Admin, Problem, Shared, answer};
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::destination::OperatorMode;
use crate::event::Visibility;
use crate::outbox::{AuditEvent, Setting};

/// `GET /admin/v1/destination`
pub(super) async fn show(admin: Shared, request: HttpRequest) -> HttpResponse {
    answer(admin.operator(&request).map(|_| told(&admin)))
}

/// `POST /admin/v1/destination`
pub(super) async fn set(admin: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(change(&admin, &request, &body).await)
}

/// `GET /admin/v1/shadow`
pub(super) async fn shadow(admin: Shared, request: HttpRequest) -> HttpResponse {
    let operator = admin.operator(&request);
    answer(operator.map(|_| {
        let shadows = admin.destination.shadow_records();
        let shadows = shadows.iter().map(|shadowed| {
            json!({
                "at": shadowed.at.to_rfc3339(),
                "customer": shadowed.customer,
                "operation": shadowed.operation,
                "body": Visibility::Masked.object(&shadowed.body),
            })
        });
        json!({"requests": shadows.collect::<Vec<_>>()})
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    mode: String,
    reason: Option<String>,
}

async fn change(admin: &Admin, request: &HttpRequest, body: &Bytes) -> Result<Value, Problem> {
    let operator = admin.operator(request)?;
    let wanted: Wanted = parse(body)?;
    let mode = OperatorMode::parse(&wanted.mode)
        .ok_or_else(|| malformed("mode is open, paused or shadow".to_owned()))?;
    let before = admin.destination.mode();
    let now = admin.clock.now();
    admin
        .outbox
        .append_audit(AuditEvent {
            operator: operator.0,
            action: "mode",
            target: format!("{} to {}", before.as_str(), mode.as_str()),
            reason: wanted.reason,
            at: now,
        })
        .await?;
    admin
        .outbox
        .store_setting(Setting::DestinationMode, mode.as_str().to_owned())
        .await?;
    admin.destination.set_mode(mode);
    if before == OperatorMode::Shadow && mode == OperatorMode::Open {
        admin.outbox.release(now).await?;
    }
    tracing::warn!(
        from = before.as_str(),
        to = mode.as_str(),
        "an operator changed the mode"
    );
    Ok(told(admin))
}

fn told(admin: &Admin) -> Value {
    let condition = admin.destination.condition();
    let until = match condition {
        DestinationState::Flowing { .. } => None,
        DestinationState::Probing { probe_at, .. } | DestinationState::Stopped { probe_at } => {
            Some(probe_at)
        }
        DestinationState::Throttled { until, .. } => Some(until),
    };
    json!({
        "mode": admin.destination.mode().as_str(),
        "state": condition.as_str(),
        "next_try_at": until.map(|until| until.to_rfc3339()),
    })
}
