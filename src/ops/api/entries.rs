//! The admin API's routes for entries and the audit log, in JSON.

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Path};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::AdminBody;
use super::request::{
    ChangeBody, FilterQuery, RevealQuery, parse_body, parse_entry, parse_number, parse_query,
};
use super::{ApiResult, SharedOperations, json_response};
use crate::event::{Attribute, EventError, Version, pointer};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::ops::operate::{
    AUDIT_PAGE_MAX, Coverage, EntryView, FieldView, IgnoredEntry, Operations, Operator,
    ReplayPreview, Replayed, ReplayedEntry, ReplayedField, ReplayedRequest, Unchanged, Unmappable,
    ValueView, WithdrawAction, WithdrawReport,
};
use crate::outbox::{
    AuditRecord, Ending, EntryId, EntrySummary, FieldOrigin, IgnoreReason, LaneKey, State,
};
use crate::time::Timestamp;

/// Answers `GET /admin/v1/entries`.
pub(super) async fn list(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
) -> ApiResult {
    let query: FilterQuery = parse_query(&request)?;
    let page = operations.list(&operator, query.filter()?).await?;
    let entries: Vec<Value> = page.entries.iter().map(summary_json).collect();
    json_response(&json!({"entries": entries, "next": page.next.map(|next| next.0)}))
}

/// Answers `GET /admin/v1/entries/{number}`.
pub(super) async fn show(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
    number: Path<String>,
) -> ApiResult {
    let query: RevealQuery = parse_query(&request)?;
    let entry = parse_entry(&number)?;
    let view = operations
        .show(&operator, entry, query.visibility())
        .await?;
    json_response(&entry_json(view))
}

/// Answers `POST /admin/v1/entries/replay`.
pub(super) async fn replay(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: ChangeBody = parse_body(&body)?;
    let (selection, mapping) = (body.selection()?, body.mapping());
    if body.preview {
        let preview = operations.preview_replay(&operator, selection, mapping);
        return json_response(&preview_json(preview.await?));
    }
    let replayed = operations.replay(&operator, selection, mapping, body.reason()?);
    json_response(&replayed_json(&replayed.await?))
}

/// Describes the effect of a replay.
pub(super) fn replayed_json(replayed: &Replayed) -> Value {
    let ignored = replayed.ignored.iter();
    let ignored = ignored
        .map(|IgnoredEntry { entry, reason }| json!({"entry": entry.0, "reason": reason.as_str()}));
    let answer = json!({
        "replayed": numbers(&replayed.entries),
        "ignored": ignored.collect::<Vec<_>>(),
        "unmappable": unmappable_json(&replayed.unmappable),
        "unchanged": unchanged_json(&replayed.unchanged),
    });
    with_coverage(answer, replayed.coverage)
}

/// Answers `POST /admin/v1/entries/discard`.
pub(super) async fn discard(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    withdraw(&operations, &operator, WithdrawAction::Discard, &body).await
}

/// Answers `POST /admin/v1/entries/park`.
pub(super) async fn park(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    withdraw(&operations, &operator, WithdrawAction::Park, &body).await
}

/// Adds to an answer how many of the matching entries the request has looked at.
pub(super) fn with_coverage(mut answer: Value, coverage: Coverage) -> Value {
    let Coverage { as_of, next } = coverage;
    if let Some(members) = answer.as_object_mut() {
        members.insert("more".to_owned(), json!(next.is_some()));
        members.insert("next".to_owned(), json!(next.map(|next| next.0)));
        members.insert("as_of".to_owned(), json!(as_of.map(Timestamp::to_rfc3339)));
    }
    answer
}

async fn withdraw(
    operations: &Operations,
    operator: &Operator,
    action: WithdrawAction,
    body: &Bytes,
) -> ApiResult {
    let body: ChangeBody = parse_body(body)?;
    let selection = body.selection()?;
    let (done, planned) = match action {
        WithdrawAction::Discard => ("discarded", "would_discard"),
        WithdrawAction::Park => ("parked", "would_park"),
    };
    if body.preview {
        let preview = operations.preview_withdrawal(operator, action, selection);
        let preview = preview.await?;
        let entries = numbers(&preview.entries);
        let answer = json!({planned: entries, "unchanged": unchanged_json(&preview.unchanged)});
        return json_response(&with_coverage(answer, preview.coverage));
    }
    let report = operations.withdraw(operator, action, selection, body.reason()?);
    let WithdrawReport {
        withdrawn,
        unchanged,
        coverage,
    } = report.await?;
    let answer = json!({
        done: numbers(&withdrawn.entries), "in_flight": numbers(&withdrawn.in_flight),
        "unchanged": unchanged_json(&unchanged),
    });
    json_response(&with_coverage(answer, coverage))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// Answers `GET /admin/v1/audit`.
pub(super) async fn audit(
    operations: SharedOperations,
    operator: Operator,
    request: HttpRequest,
) -> ApiResult {
    let query: AuditQuery = parse_query(&request)?;
    let limit = query.limit.unwrap_or(AUDIT_PAGE_MAX);
    let after = parse_number("after", query.after)?;
    let page = operations.audit(&operator, after, limit).await?;
    let records: Vec<Value> = page.records.iter().map(audit_record_json).collect();
    json_response(&json!({"acts": records, "sound": page.is_intact}))
}

pub(super) fn summary_json(summary: &EntrySummary) -> Value {
    let receipt = &summary.receipt;
    let (imprint, partner) = customer_ids(summary.customer.as_ref());
    let parked = receipt.parked.as_ref().map(|(reason, detail)| {
        let mut parked = json!({"reason": reason.as_str(), "detail": detail});
        if let (Some(members), false) = (parked.as_object_mut(), receipt.errors.is_empty()) {
            let errors = receipt.errors.iter().map(error_json).collect();
            members.insert("faults".to_owned(), errors);
        }
        parked
    });
    let mut summary = json!({
        "entry": receipt.entry.0,
        "id": receipt.identity.id.as_str(),
        "source": receipt.identity.source.as_str(),
        "ce_source": receipt.identity.ce_source.as_ref().map(Attribute::as_str),
        "type": receipt.event_type.as_str(),
        "status": receipt.state.as_str(),
        "imprint_id": imprint,
        "partner_id": partner,
        "attempts": receipt.attempts,
        "accepted_at": receipt.accepted_at.to_rfc3339(),
        "settled_at": receipt.settled_at.map(|at| at.to_rfc3339()),
        "superseded_by": receipt.superseded_by.as_ref().map(Attribute::as_str),
        "parked": parked,
        "ignored": receipt.ignored.map(IgnoreReason::as_str),
        "erased_at": receipt.erased_at.map(|at| at.to_rfc3339()),
    });
    let (skipped, omitted) = (receipt.skipped(), receipt.omitted());
    if let (Some(members), false) = (summary.as_object_mut(), skipped.is_empty()) {
        let errors = skipped.into_iter().map(error_json).collect();
        members.insert("skipped".to_owned(), errors);
    }
    if let (Some(members), false) = (summary.as_object_mut(), omitted.is_empty()) {
        members.insert("omitted".to_owned(), json!(omitted));
    }
    summary
}

/// Returns Imprint's id of a customer, or the CRM's id of a customer without Imprint id.
pub(super) fn customer_ids(customer: Option<&LaneKey>) -> (Option<&str>, Option<&str>) {
    match customer {
        Some(LaneKey::Imprint(imprint)) => (Some(ImprintId::as_str(imprint)), None),
        Some(LaneKey::Partner(partner)) => (None, Some(PartnerCustomerId::as_str(partner))),
        None => (None, None),
    }
}

pub(super) fn entry_json(view: EntryView) -> Value {
    let mut entry = summary_json(&view.summary);
    if let (Some(members), Some(partner)) = (entry.as_object_mut(), &view.partner) {
        members.insert("partner_id".to_owned(), json!(partner.as_str()));
    }
    if let (Some(members), Some(content)) = (entry.as_object_mut(), view.content) {
        if let Some((version, values)) = content.update {
            members.insert("version".to_owned(), version_json(version));
            members.insert("facts".to_owned(), fields_json(values));
        }
        members.extend(content.event.map(|event| ("event".to_owned(), event)));
    }
    entry
}

pub(super) fn version_json(version: Version) -> Value {
    json!({"epoch": version.epoch, "value": version.value, "arrival": version.arrival})
}

pub(super) fn origin_json(origin: &FieldOrigin) -> Value {
    let event = origin.event.as_ref().map(|event| {
        let ce_source = event.identity.ce_source.as_ref();
        json!({
            "id": event.identity.id.as_str(), "source": event.identity.source.as_str(),
            "ce_source": ce_source.map(Attribute::as_str),
            "delivered_at": event.delivered_at.to_rfc3339(), "attempts": event.attempts,
        })
    });
    json!({
        "field": origin.field.to_string(),
        "version": version_json(origin.version),
        "event": event,
    })
}

pub(super) fn fields_json(fields: Vec<FieldView>) -> Value {
    let fields = fields.into_iter().map(|FieldView { field, value }| {
        let value = match value {
            ValueView::Set(value) => value,
            ValueView::Cleared => json!("(cleared)"),
            ValueView::Omitted(reason) => {
                json!(format!("(cleared: nothing is sent, because {reason})"))
            }
        };
        (field.to_string(), value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

pub(super) fn preview_json(preview: ReplayPreview) -> Value {
    let requests = preview.requests.into_iter().map(|request| {
        let ReplayedRequest {
            customer,
            entries,
            fields,
        } = request;
        let (imprint, partner) = customer_ids(Some(&customer));
        let version = |field: &ReplayedField| {
            let version = field.version.map(version_json);
            Some((field.view.field.to_string(), version?))
        };
        let delivered = fields.iter().filter_map(|field| field.delivered.as_ref());
        json!({
            "customer": imprint.or(partner), "entries": numbers(&entries),
            "versions": fields.iter().filter_map(version).collect::<Map<_, _>>(),
            "delivered": delivered.map(origin_json).collect::<Vec<_>>(),
            "facts": fields_json(fields.into_iter().map(|field| field.view).collect()),
        })
    });
    let results = preview.entries.iter().map(result_json);
    let answer = json!({
        "would_replay": preview.replayable,
        "requests": requests.collect::<Vec<_>>(), "results": results.collect::<Vec<_>>(),
        "unmappable": unmappable_json(&preview.unmappable),
        "unchanged": unchanged_json(&preview.unchanged),
    });
    with_coverage(answer, preview.coverage)
}

/// Returns the result of a replayed entry. Without `status`, the bridge must first ask Imprint about the customer.
fn result_json(result: &ReplayedEntry) -> Value {
    let ending = result.ending.as_ref();
    let superseded_by = match ending {
        Some(Ending::Superseded(winner)) => Some(winner.0),
        _ => None,
    };
    let parked = match ending {
        Some(Ending::Parked { reason, .. }) => Some(reason.as_str()),
        _ => None,
    };
    let ignored = match ending {
        Some(Ending::Ignored(reason)) => Some(reason.as_str()),
        _ => None,
    };
    let overtaken = result.overtaken.iter();
    let overtaken = overtaken.map(|(field, winner)| (field.to_string(), json!(winner.0)));
    json!({
        "entry": result.entry.0, "status": ending.map(|ending| ending.state().as_str()),
        "superseded_by": superseded_by, "parked": parked, "ignored": ignored,
        "overtaken": overtaken.collect::<Map<_, _>>(),
    })
}

fn unmappable_json(unmappable: &[Unmappable]) -> Value {
    let entries = unmappable.iter().map(|Unmappable { entry, errors }| {
        let errors: Vec<Value> = errors.iter().map(error_json).collect();
        json!({"entry": entry.0, "faults": errors})
    });
    entries.collect()
}

pub(super) fn unchanged_json(unchanged: &[Unchanged]) -> Value {
    let entries = unchanged.iter().map(|Unchanged { entry, reason }| {
        json!({
            "entry": entry.0, "reason": reason.as_str(),
            "status": reason.state().map(State::as_str), "detail": reason.to_string(),
        })
    });
    entries.collect()
}

/// The place has no name that can be a value: the list of entries and the receipt are never unmasked.
fn error_json(error: &EventError) -> Value {
    json!({
        "pointer": pointer::without_values(&error.pointer), "rule": error.rule,
        "location": error.location, "detail": error.detail,
    })
}

fn audit_record_json(record: &AuditRecord) -> Value {
    json!({
        "number": record.number, "at": record.at.to_rfc3339(), "who": record.operator,
        "what": record.action, "on": record.target, "entries": record.entries,
        "reason": record.reason, "sound": record.is_intact,
    })
}

fn numbers(entries: &[EntryId]) -> Vec<u64> {
    entries.iter().map(|entry| entry.0).collect()
}
