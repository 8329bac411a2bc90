//! Explanations: what an event comes to, and why.

use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::entries::{act, entry_number};
use super::request::{malformed, query};
use super::{Admin, Problem, Shared, answer};
use crate::event::{SourceName, Visibility};
use crate::fold::{Candidate, fold};
use crate::imprint::{CustomerChange, Field};
use crate::intake::KeptEvent;
use crate::outbox::Inspection;

/// `GET /admin/v1/entries/{number}/explain`
pub(super) async fn entry(
    admin: Shared,
    request: HttpRequest,
    number: Path<String>,
) -> HttpResponse {
    answer(explained(&admin, &request, &number).await)
}

/// `POST /admin/v1/explain`
pub(super) async fn body(admin: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(tried(&admin, &request, &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    source: Option<String>,
    #[serde(default)]
    reveal: bool,
}

impl Asked {
    const fn show(&self) -> Visibility {
        if self.reveal {
            Visibility::Revealed
        } else {
            Visibility::Masked
        }
    }
}

async fn explained(admin: &Admin, request: &HttpRequest, number: &str) -> Result<Value, Problem> {
    let operator = admin.operator(request)?;
    let asked: Asked = query(request.query_string())?;
    let entry = entry_number(number)?;
    let inspection = admin.outbox.inspect(entry).await?;
    let inspection = inspection.ok_or(Problem::UnknownEntry)?;
    let Some(event) = &inspection.event else {
        let detail = "the entry is over, and its event is erased";
        return Err(malformed(detail.to_owned()));
    };
    if asked.show() == Visibility::Revealed {
        let act = act(admin, &operator, "reveal", entry.to_string(), None);
        admin.outbox.append_audit(act).await?;
    }
    let receipt = &inspection.listed.receipt;
    let event = KeptEvent {
        identity: &receipt.identity,
        event_type: &receipt.event_type,
        bytes: event,
    };
    let explanation = admin
        .sources
        .explain_entry(event, admin.clock.wall(), asked.show());
    let mut explanation =
        explanation.ok_or_else(|| malformed("no such source is configured today".to_owned()))?;
    if let Some(change) = explanation.change() {
        let sent = fresh(admin, &inspection, change);
        explanation.mark_stale(&sent);
    }
    Ok(json!(explanation))
}

/// The fields that would be sent if this were all that waits: Imprint has nothing newer of them.
fn fresh(admin: &Admin, inspection: &Inspection, change: &CustomerChange) -> Vec<Field> {
    let candidate = Candidate {
        version: change.version.arrived(inspection.listed.receipt.entry.0),
        update: &change.update,
    };
    let fold = fold(
        &inspection.versions,
        &[candidate],
        admin.max_fold,
        admin.clock.now(),
    );
    fold.update.fields().cloned().collect()
}

/// What is asked about is in the request, so nothing is revealed that the operator does not have.
fn tried(admin: &Admin, request: &HttpRequest, body: &Bytes) -> Result<Value, Problem> {
    admin.operator(request)?;
    let asked: Asked = query(request.query_string())?;
    let source = asked.source.as_deref().map(SourceName::parse);
    let Some(Ok(source)) = source else {
        return Err(malformed("source names the source of the event".to_owned()));
    };
    let explanation = admin
        .sources
        .explain_body(&source, body, admin.clock.wall(), asked.show());
    let explanation = explanation.ok_or_else(|| malformed("there is no such source".to_owned()))?;
    Ok(json!(explanation))
}
