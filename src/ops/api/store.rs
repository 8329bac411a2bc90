//! Copies of the store.

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{malformed, parse};
use super::{Admin, Problem, Shared, answer};
use crate::outbox::AuditEvent;

/// The longest name of a copy.
const NAME_CHARS_MAX: usize = 100;

/// `POST /admin/v1/store/backup`
pub(super) async fn backup(admin: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(copied(&admin, &request, &body).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
}

async fn copied(admin: &Admin, request: &HttpRequest, body: &Bytes) -> Result<Value, Problem> {
    let operator = admin.operator(request)?;
    let Wanted { name } = parse(body)?;
    // One segment and no more: a copy lies beside the store and nowhere else.
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !fits {
        let detail = format!("a name is 1 to {NAME_CHARS_MAX} of A-Z, a-z, 0-9, ., _ and -");
        return Err(malformed(detail));
    }
    let act = AuditEvent {
        operator: operator.0,
        action: "backup",
        target: name.clone(),
        reason: None,
        at: admin.clock.now(),
    };
    admin.outbox.append_audit(act).await?;
    let copy = (admin.backup)(name).await?;
    Ok(json!({"copy": copy.display().to_string()}))
}
