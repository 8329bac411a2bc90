//! Accepting events. The only effect is one idempotent append, so it is right whether or not the sender hears of it.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::event::{Attribute, EventError};
use crate::http::single_header::SingleHeader;
use crate::ingress::examine::{Entering, Examination};
use crate::ingress::form::Form;
use crate::ingress::{Ingress, Refusal, Source, body, store_failed, wait};
use crate::outbox::{Appended, AppendedEntry, NewEntry, Priority, State};

/// The urgency of what nobody waits for, in a Priority header.
const BACKGROUND: &str = "u=7";

/// Keeps the events of a request, and says so.
pub(super) async fn accept(
    ingress: &Ingress,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<HttpResponse, Refusal> {
    let (name, source) = ingress.source(request)?;
    let form = Form::of(source, request.headers())?;
    let body = body::collect(request.headers(), payload, &ingress.limits).await?;
    let body = ingress.verify(source, request, body)?;
    let events = form.decode(name, body.content(), ingress.limits.batch_events_max)?;
    form.bind(source, &body, &events)
        .map_err(|why| ingress.unauthenticated(source, why))?;
    let priority = priority(request.headers());
    let entering = Entering {
        accepted_at: ingress.clock.now(),
        priority,
        digest_key: ingress.outbox.digest_key(),
    };
    let entries = examination(ingress, source, form.is_batch()).entries(events, &entering)?;
    let ids: Vec<_> = entries
        .iter()
        .map(|entry| entry.identity.id.clone())
        .collect();
    let kept = append(ingress, form.is_batch(), entries).await?;
    Ok(answer(ingress, request.headers(), &ids, &kept).await)
}

/// What is sent with the lowest urgency of RFC 9218, "background", goes behind everything live.
fn priority(headers: &HeaderMap) -> Priority {
    let is_background = |text: &str| text.split(',').any(|part| part.trim() == BACKGROUND);
    match SingleHeader::read(headers, "priority").text() {
        Some(text) if is_background(text) => Priority::Low,
        Some(_) | None => Priority::Live,
    }
}

fn examination<'a>(ingress: &Ingress, source: &'a Source, is_batch: bool) -> Examination<'a> {
    Examination {
        source,
        is_batch,
        newest: ingress.clock.wall().after(ingress.limits.version_ahead_max),
        foreign_address: ingress.limits.foreign_address,
    }
}

async fn append(
    ingress: &Ingress,
    is_batch: bool,
    entries: Vec<NewEntry>,
) -> Result<Vec<AppendedEntry>, Refusal> {
    let sent = entries.len();
    if sent == 0 {
        return Ok(Vec::new());
    }
    let appended = ingress.outbox.append(entries).await;
    match appended.map_err(|error| store_failed(&error))? {
        Appended::Stored(kept) if kept.len() == sent => {
            ingress.counts.kept(&kept);
            Ok(kept)
        }
        Appended::Stored(_) => Err(Refusal::Internal),
        Appended::Conflict(indexes) => Err(Refusal::Conflict(conflicts(is_batch, &indexes))),
    }
}

fn conflicts(is_batch: bool, indexes: &[usize]) -> Vec<EventError> {
    let conflict = |index: &usize| EventError {
        pointer: if is_batch {
            format!("/{index}")
        } else {
            String::new()
        },
        rule: "conflict".to_owned(),
        location: "identity".to_owned(),
        detail: "This id was accepted before with another type, subject or data.".to_owned(),
    };
    indexes.iter().map(conflict).collect()
}

async fn answer(
    ingress: &Ingress,
    headers: &HeaderMap,
    ids: &[Attribute],
    kept: &[AppendedEntry],
) -> HttpResponse {
    let Some(seconds) = wait::preferred(headers) else {
        return HttpResponse::Accepted().json(Accepted::new(ids, kept));
    };
    match wait::settled(ingress, kept, seconds).await {
        Some(states) => HttpResponse::Ok()
            .insert_header(("preference-applied", format!("wait={seconds}")))
            .json(Accepted::new(ids, &ended(kept, &states))),
        None => HttpResponse::Accepted().json(Accepted::new(ids, kept)),
    }
}

fn ended(kept: &[AppendedEntry], states: &[State]) -> Vec<AppendedEntry> {
    kept.iter()
        .zip(states)
        .map(|(kept, state)| AppendedEntry {
            state: *state,
            ..*kept
        })
        .collect()
}

#[derive(Serialize)]
struct Accepted<'a> {
    accepted: Vec<AcceptedEvent<'a>>,
}

#[derive(Serialize)]
struct AcceptedEvent<'a> {
    id: &'a str,
    status: &'static str,
    duplicate: bool,
}

impl<'a> Accepted<'a> {
    fn new(ids: &'a [Attribute], kept: &[AppendedEntry]) -> Self {
        let event = |(id, kept): (&'a Attribute, &AppendedEntry)| AcceptedEvent {
            id: id.as_str(),
            status: kept.state.as_str(),
            duplicate: kept.duplicate,
        };
        Self {
            accepted: ids.iter().zip(kept).map(event).collect(),
        }
    }
}
