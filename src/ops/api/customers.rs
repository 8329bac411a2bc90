//! The admin API's routes for customers, in JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::AdminBody;
use super::entries::{customer_ids, entry_json, fields_json, origin_json, summary_json};
use super::request::{malformed, parse_body, parse_number, parse_reason};
use super::{AdminProblem, ApiResult, SharedOperations, json_response};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::ops::operate::{
    CustomerExport, CustomerName, CustomerView, ErasureReport, ExportPage, Hold, Operator,
    ResetFields, next_request,
};
use crate::outbox::{EntryId, IdentityLink, LaneKey, LaneWait, LaterEvents};
use crate::time::Timestamp;

/// The id of a customer: exactly one of the members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomerBody {
    /// Either id of the customer.
    customer: Option<String>,
    imprint_id: Option<String>,
    partner_id: Option<String>,
}

impl CustomerBody {
    fn name(self) -> Result<CustomerName, AdminProblem> {
        match (self.customer, self.imprint_id, self.partner_id) {
            (Some(either), None, None) if !either.is_empty() => Ok(CustomerName::Either(either)),
            (None, Some(imprint), None) => parse_imprint(&imprint).map(CustomerName::Imprint),
            (None, None, Some(partner)) => parse_partner(&partner).map(CustomerName::Partner),
            _ => Err(malformed(
                "name the customer by one of customer, imprint_id and partner_id",
            )),
        }
    }
}

fn parse_imprint(text: &str) -> Result<ImprintId, AdminProblem> {
    ImprintId::parse(text).map_err(|error| malformed(format!("imprint_id: {error}")))
}

fn parse_partner(text: &str) -> Result<PartnerCustomerId, AdminProblem> {
    PartnerCustomerId::parse(text).map_err(|error| malformed(format!("partner_id: {error}")))
}

/// The request body that resets the versions of a customer: exactly one of the two ids, and the operator's reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    imprint_id: Option<String>,
    partner_id: Option<String>,
    reason: Option<String>,
}

impl ResetBody {
    fn customer(&self) -> Result<LaneKey, AdminProblem> {
        match (&self.imprint_id, &self.partner_id) {
            (Some(imprint), None) => parse_imprint(imprint).map(LaneKey::Imprint),
            (None, Some(partner)) => parse_partner(partner).map(LaneKey::Partner),
            (None, None) | (Some(_), Some(_)) => Err(malformed(
                "name the customer by either imprint_id or partner_id",
            )),
        }
    }
}

/// Answers `POST /admin/v1/customers/reset-versions`.
pub(super) async fn reset_versions(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: ResetBody = parse_body(&body)?;
    let reason = parse_reason(body.reason.as_deref())?;
    let customer = body.customer()?;
    let reset = operations.reset_versions(&operator, customer, reason);
    let ResetFields { reset, floors } = reset.await?;
    json_response(&json!({"fields": reset, "floors": floors}))
}

/// The request body of an export. `page` is the member `next` of the answer before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportBody {
    of: CustomerBody,
    page: Option<PageBody>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum PageBody {
    Entries(u64),
    Unmapped(u64),
}

impl PageBody {
    fn page(&self) -> Result<ExportPage, AdminProblem> {
        let entry = |number: u64| parse_number("page", number).map(EntryId);
        match self {
            Self::Entries(after) => entry(*after).map(ExportPage::Entries),
            Self::Unmapped(after) => entry(*after).map(ExportPage::Unmapped),
        }
    }
}

/// Answers `POST /admin/v1/customers/export`. The customer's id is in the body, because proxies log URLs.
pub(super) async fn export(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: ExportBody = parse_body(&body)?;
    let reason = parse_reason(body.reason.as_deref())?;
    let page = body.page.map(|page| page.page()).transpose()?;
    let name = body.of.name()?;
    let exported = operations.export(&operator, name, reason, page).await?;
    json_response(&export_json(exported))
}

/// The request body that names a customer to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomerShowBody {
    of: CustomerBody,
}

/// Answers `POST /admin/v1/customers/show`. The customer's id is in the body, because proxies log URLs.
pub(super) async fn show(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: CustomerShowBody = parse_body(&body)?;
    let view = operations.customer(&operator, body.of.name()?).await?;
    let hold = operations.hold(&operator).await?;
    json_response(&view_json(&view, hold.as_ref(), operations.clock.now()))
}

/// The request body of an erasure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseBody {
    of: CustomerBody,
    #[serde(default)]
    block: bool,
    reason: Option<String>,
}

/// Answers `POST /admin/v1/customers/erase`.
pub(super) async fn erase(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: EraseBody = parse_body(&body)?;
    let reason = parse_reason(body.reason.as_deref())?;
    let later_events = match body.block {
        true => LaterEvents::Ignored,
        false => LaterEvents::Delivered,
    };
    let name = body.of.name()?;
    let erased = operations.erase(&operator, name, later_events, reason);
    let ErasureReport {
        is_known,
        ends_block,
        entries,
        discarded,
        unreadable,
        unjudged,
        has_floors,
        is_in_log,
        unconfirmed,
    } = erased.await?;
    json_response(&json!({
        "known": is_known, "unblocked": ends_block, "entries": entries, "discarded": discarded, "unreadable": unreadable,
        "unjudged": unjudged, "kept_out": body.block || has_floors, "in_log": is_in_log,
        "unconfirmed": unconfirmed,
    }))
}

fn export_json(exported: CustomerExport) -> Value {
    let customer = exported.customer;
    let entries = exported.entries.into_iter().map(entry_json);
    let unmapped = exported.unmapped.into_iter().map(entry_json);
    let next = exported.next.map(|next| match next {
        ExportPage::Entries(after) => json!({"entries": after.0}),
        ExportPage::Unmapped(after) => json!({"unmapped": after.0}),
    });
    json!({
        "ids": customer.keys.iter().map(key_json).collect::<Vec<_>>(),
        "links": customer.links.iter().map(link_json).collect::<Vec<_>>(),
        "delivered": exported.delivered.iter().map(origin_json).collect::<Vec<_>>(),
        "kept": fields_json(exported.kept),
        "entries": entries.collect::<Vec<_>>(),
        "unmapped": unmapped.collect::<Vec<_>>(),
        "next": next,
    })
}

fn view_json(view: &CustomerView, hold: Option<&Hold>, now: Timestamp) -> Value {
    let hold_text = hold.map(|hold| hold.text(Timestamp::to_rfc3339));
    let wait = |wait: &LaneWait| {
        let due = |at: Timestamp| format!("at {}", at.to_rfc3339());
        let next = next_request(wait, &view.stopped, hold_text.as_deref(), now, due);
        wait_json(wait, &next)
    };
    let stopped = view.stopped.iter();
    let stopped = stopped.map(|(state, count)| (state.as_str().to_owned(), json!(count)));
    json!({
        "known": view.is_known,
        "id": key_json(&view.key),
        "links": view.links.iter().map(link_json).collect::<Vec<_>>(),
        "delivered": view.delivered.iter().map(origin_json).collect::<Vec<_>>(),
        "waits": view.waits.iter().map(wait).collect::<Vec<_>>(),
        "stopped": Value::Object(stopped.collect()),
        "hold": hold.map(|hold| json!({
            "reason": hold.reason,
            "since": hold.since.map(Timestamp::to_rfc3339),
            "until": hold.until.map(Timestamp::to_rfc3339),
        })),
        "reassert_at": view.reassert_at.map(Timestamp::to_rfc3339),
        "entries": view.entries.iter().map(summary_json).collect::<Vec<_>>(),
        "more": view.has_more,
    })
}

/// Describes what a lane waits for. `due_at` is null if no request is necessary. `next` says it in a sentence.
fn wait_json(wait: &LaneWait, next: &str) -> Value {
    let absence = wait.unproven.absence;
    json!({
        "id": key_json(&wait.key),
        "next": next,
        "due_at": wait.due.map(Timestamp::to_rfc3339),
        "failures": wait.trials.failures,
        "tried_at": wait.trials.tried_at.map(Timestamp::to_rfc3339),
        "not_found_at": absence.map(|absence| absence.at.to_rfc3339()),
        "unproven_since": wait.unproven.since.map(Timestamp::to_rfc3339),
    })
}

fn key_json(key: &LaneKey) -> Value {
    let (imprint, partner) = customer_ids(Some(key));
    json!({"imprint_id": imprint, "partner_id": partner})
}

fn link_json(link: &IdentityLink) -> Value {
    json!({
        "partner_id": link.partner.as_str(),
        "imprint_id": link.imprint.as_ref().map(ImprintId::as_str),
        "confirmed_at": link.confirmed_at.to_rfc3339(),
    })
}
