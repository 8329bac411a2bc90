//! Entries: listed, shown, replayed, discarded.

use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::facts::facts;
use super::preview::preview;
use super::request::{ACT_MAX, Act, Filter, malformed, query};
use super::{Admin, Operator, Problem, Shared, answer};
use crate::event::{Attribute, EventError, Visibility};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::{self, EntryId, EntrySummary, Inspection, LaneKey, Replay, State};

/// How many lines of the record a page has at most.
const LINES_MAX: usize = 1_000;

/// `GET /admin/v1/entries`
pub(super) async fn list(admin: Shared, request: HttpRequest) -> HttpResponse {
    answer(listed(&admin, &request).await)
}

/// `GET /admin/v1/entries/{number}`
pub(super) async fn show(
    admin: Shared,
    request: HttpRequest,
    number: Path<String>,
) -> HttpResponse {
    answer(shown(&admin, &request, &number).await)
}

/// `POST /admin/v1/entries/replay`
pub(super) async fn replay(admin: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(replayed(&admin, &request, &body).await)
}

/// `POST /admin/v1/entries/discard`
pub(super) async fn discard(admin: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(discarded(&admin, &request, &body).await)
}

/// `GET /admin/v1/audit`
pub(super) async fn audit(admin: Shared, request: HttpRequest) -> HttpResponse {
    answer(recorded(&admin, &request).await)
}

async fn listed(admin: &Admin, request: &HttpRequest) -> Result<Value, Problem> {
    admin.operator(request)?;
    let filter: Filter = query(request.query_string())?;
    let found = admin.outbox.list(filter.listing()?).await?;
    let entries: Vec<Value> = found.entries.iter().map(told).collect();
    Ok(json!({"entries": entries, "next": found.next.map(|next| next.0)}))
}

/// The entry of a path.
pub(super) fn entry_number(number: &str) -> Result<EntryId, Problem> {
    let number = number.parse().map(EntryId);
    number.map_err(|_no_number| Problem::UnknownEntry)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    reveal: bool,
}

async fn shown(admin: &Admin, request: &HttpRequest, number: &str) -> Result<Value, Problem> {
    let operator = admin.operator(request)?;
    let asked: Asked = query(request.query_string())?;
    let entry = entry_number(number)?;
    let show = if asked.reveal {
        Visibility::Revealed
    } else {
        Visibility::Masked
    };
    let inspection = admin
        .outbox
        .inspect(entry)
        .await?
        .ok_or(Problem::UnknownEntry)?;
    if show == Visibility::Revealed {
        let act = act(admin, &operator, "reveal", entry.to_string(), None);
        admin.outbox.append_audit(act).await?;
    }
    let mut told = told(&inspection.listed);
    if let (Some(object), Some((version, update))) = (told.as_object_mut(), &inspection.facts) {
        let place =
            json!({"epoch": version.epoch, "value": version.value, "arrival": version.arrival});
        object.insert("version".to_owned(), place);
        object.insert("facts".to_owned(), facts(show, update));
        let event = inspection
            .event
            .as_deref()
            .map(serde_json::from_slice::<Value>);
        if let Some(Ok(event)) = event {
            object.insert("event".to_owned(), show.value(&event));
        }
    }
    Ok(told)
}

async fn replayed(admin: &Admin, request: &HttpRequest, body: &Bytes) -> Result<Value, Problem> {
    let operator = admin.operator(request)?;
    let wanted = Act::parse(body)?;
    let (inspections, more) = chosen(admin, &wanted).await?;
    let (replays, refused) = mapped_again(admin, &wanted, &inspections);
    let unmappable: Vec<Value> = refused
        .iter()
        .map(|(entry, faults)| json!({"entry": entry.0, "faults": faults.iter().map(fault).collect::<Vec<_>>()}))
        .collect();
    if wanted.preview {
        let requests = preview(&inspections, &replays, admin.max_fold, admin.clock.now());
        return Ok(json!({
            "would_replay": replays.len(), "more": more,
            "requests": requests.requests, "stale": requests.stale, "unmappable": unmappable,
        }));
    }
    let on = on(replays.iter().map(|replay| replay.entry));
    let act = act(admin, &operator, "replay", on, wanted.reason());
    let moved = admin.outbox.replay(replays, act).await?;
    Ok(json!({"replayed": numbers(&moved), "more": more, "unmappable": unmappable}))
}

async fn discarded(admin: &Admin, request: &HttpRequest, body: &Bytes) -> Result<Value, Problem> {
    let operator = admin.operator(request)?;
    let wanted = Act::parse(body)?;
    let reason = wanted.reason();
    if reason.is_none() && !wanted.preview {
        return Err(malformed(
            "reason is required: what is discarded is gone".to_owned(),
        ));
    }
    let (inspections, more) = chosen(admin, &wanted).await?;
    let entries: Vec<EntryId> = inspections.iter().map(number).collect();
    if wanted.preview {
        return Ok(json!({"would_discard": numbers(&entries), "more": more}));
    }
    let act = act(
        admin,
        &operator,
        "discard",
        on(entries.iter().copied()),
        reason,
    );
    let gone = admin.outbox.discard(entries, act).await?;
    Ok(json!({"discarded": numbers(&gone), "more": more}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn recorded(admin: &Admin, request: &HttpRequest) -> Result<Value, Problem> {
    admin.operator(request)?;
    let lines: Lines = query(request.query_string())?;
    let max = lines.limit.unwrap_or(LINES_MAX).clamp(1, LINES_MAX);
    let acts = admin.outbox.audit(lines.after, max).await?;
    let is_intact = acts.iter().all(|line| line.is_intact);
    let acts: Vec<Value> = acts
        .iter()
        .map(|line| {
            json!({
                "number": line.number, "at": line.at.to_rfc3339(), "who": line.operator, "what": line.action,
                "on": line.target, "entries": line.entries, "reason": line.reason, "sound": line.is_intact,
            })
        })
        .collect();
    Ok(json!({"acts": acts, "sound": is_intact}))
}

/// The parked entries that an act concerns, and whether there are more than it takes at once.
async fn chosen(admin: &Admin, wanted: &Act) -> Result<(Vec<Inspection>, bool), Problem> {
    let (numbers, more) = match (&wanted.ids, &wanted.filter) {
        (Some(ids), _) => (ids.iter().copied().map(EntryId).collect(), false),
        (None, Some(filter)) => {
            let mut listing = filter.listing()?;
            if listing.state != State::Parked {
                return Err(malformed(
                    "only parked entries can be replayed or discarded".to_owned(),
                ));
            }
            listing.max = listing.max.min(ACT_MAX);
            let found = admin.outbox.list(listing).await?;
            let numbers = found.entries.iter().map(|listed| listed.receipt.entry);
            (numbers.collect::<Vec<_>>(), found.next.is_some())
        }
        (None, None) => (Vec::new(), false),
    };
    let mut chosen = Vec::new();
    for entry in numbers {
        let inspection = admin.outbox.inspect(entry).await?;
        chosen.extend(inspection.filter(|found| found.listed.receipt.state == State::Parked));
    }
    Ok((chosen, more))
}

type Refused = Vec<(EntryId, Vec<EventError>)>;

/// What each entry states: what it stated, or what today's mapping makes of its event.
fn mapped_again(admin: &Admin, wanted: &Act, inspections: &[Inspection]) -> (Vec<Replay>, Refused) {
    let (mut replays, mut refused) = (Vec::new(), Vec::new());
    for inspection in inspections {
        let entry = number(inspection);
        let receipt = &inspection.listed.receipt;
        let event = inspection.event.as_deref().filter(|_| wanted.map_again);
        let change = event.map(|event| {
            admin
                .sources
                .remap(&receipt.identity.source, &receipt.event_type, event)
        });
        match change.transpose() {
            Ok(change) => replays.push(Replay { entry, change }),
            Err(faults) => refused.push((entry, faults)),
        }
    }
    (replays, refused)
}

pub(super) fn act(
    admin: &Admin,
    operator: &Operator,
    action: &'static str,
    target: String,
    reason: Option<String>,
) -> outbox::AuditEvent {
    outbox::AuditEvent {
        operator: operator.0.clone(),
        action,
        target,
        reason,
        at: admin.clock.now(),
    }
}

const fn number(inspection: &Inspection) -> EntryId {
    inspection.listed.receipt.entry
}

fn numbers(entries: &[EntryId]) -> Vec<u64> {
    entries.iter().map(|entry| entry.0).collect()
}

/// The numbers of entries, as the record has them.
fn on(entries: impl Iterator<Item = EntryId>) -> String {
    let numbers: Vec<String> = entries.map(|entry| entry.to_string()).collect();
    numbers.join(" ")
}

fn fault(fault: &EventError) -> Value {
    json!({
        "pointer": fault.pointer, "rule": fault.rule, "location": fault.location, "detail": fault.detail,
    })
}

fn told(listed: &EntrySummary) -> Value {
    let receipt = &listed.receipt;
    let (imprint, partner) = match &listed.customer {
        Some(LaneKey::Imprint(imprint)) => (Some(ImprintId::as_str(imprint)), None),
        Some(LaneKey::Partner(partner)) => (None, Some(PartnerCustomerId::as_str(partner))),
        None => (None, None),
    };
    let parked = receipt
        .parked
        .as_ref()
        .map(|(reason, detail)| json!({"reason": reason.as_str(), "detail": detail}));
    json!({
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
    })
}
