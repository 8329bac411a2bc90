//! Accepting events. The only effect is one idempotent append, so it is right whether or not the sender hears of it.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::event::cloudevents::{self, Decoded, Message, Mode};
use crate::event::{Attribute, Fault, SourceName};
use crate::ingress::auth::{Authentic, Why};
use crate::ingress::examine::Examination;
use crate::ingress::header::{Line, only};
use crate::ingress::{Ingress, Refusal, Source, body, store_failed, wait};
use crate::outbox::{Appended, Kept, NewEntry, Priority, State};

/// The urgency of what nobody waits for, in a Priority header.
const BACKGROUND: &str = "u=7";

/// Keeps the events of a request, and says so.
pub(super) async fn accept(
    ingress: &Ingress,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<HttpResponse, Refusal> {
    let (name, source) = ingress.source(request)?;
    let form = Form::of(request.headers())?;
    let body = body::collect(request.headers(), payload, &ingress.limits).await?;
    let body = ingress.verify(source, request, body)?;
    let events = form.decode(name, body.content(), ingress.limits.batch_events_max)?;
    form.bind(&body, &events)
        .map_err(|why| ingress.unauthenticated(source, why))?;
    let priority = priority(request.headers());
    let entries = examination(ingress, source, (form.mode, priority)).entries(events)?;
    let ids: Vec<_> = entries
        .iter()
        .map(|entry| entry.identity.id.clone())
        .collect();
    let kept = append(ingress, form.mode, entries).await?;
    Ok(answer(ingress, request.headers(), &ids, &kept).await)
}

/// How events lie in a request, as its head says.
struct Form<'a> {
    mode: Mode,
    content_type: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Form<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let is_plain = match only(headers, CONTENT_ENCODING.as_str()) {
            Line::Absent => true,
            Line::Text(encoding) => encoding.eq_ignore_ascii_case("identity"),
            Line::Unreadable => false,
        };
        let content_type = only(headers, CONTENT_TYPE.as_str())
            .text()
            .filter(|_| is_plain)
            .ok_or(Refusal::UnsupportedMediaType)?;
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let mode = Mode::of(content_type, &headers).ok_or(Refusal::UnsupportedMediaType)?;
        Ok(Self {
            mode,
            content_type,
            headers,
        })
    }

    fn decode(
        &self,
        source: &SourceName,
        body: &[u8],
        events_max: usize,
    ) -> Result<Decoded, Refusal> {
        let message = Message {
            mode: self.mode,
            headers: &self.headers,
            content_type: self.content_type,
            body,
        };
        cloudevents::decode(source, message, events_max).map_err(Refusal::Malformed)
    }

    /// In binary mode the id is a header, which no signature covers: it must be the id that is signed.
    fn bind<T>(&self, authentic: &Authentic<T>, events: &Decoded) -> Result<(), Why> {
        let is_bound = match self.mode {
            Mode::Structured | Mode::Batch => true,
            Mode::Binary => events
                .iter()
                .flatten()
                .all(|event| authentic.is_about(&event.identity.id)),
        };
        is_bound.then_some(()).ok_or(Why::Mismatch)
    }
}

/// What is sent with the lowest urgency of RFC 9218, "background", goes behind everything live.
fn priority(headers: &HeaderMap) -> Priority {
    let is_background = |text: &str| text.split(',').any(|part| part.trim() == BACKGROUND);
    match only(headers, "priority").text() {
        Some(text) if is_background(text) => Priority::Low,
        Some(_) | None => Priority::Live,
    }
}

fn examination<'a>(
    ingress: &Ingress,
    source: &'a Source,
    (mode, priority): (Mode, Priority),
) -> Examination<'a> {
    Examination {
        source,
        mode,
        accepted_at: ingress.clock.now(),
        newest: ingress.clock.wall().after(ingress.limits.version_ahead_max),
        foreign_address: ingress.limits.foreign_address,
        priority,
        digest_key: ingress.outbox.digest_key(),
    }
}

async fn append(
    ingress: &Ingress,
    mode: Mode,
    entries: Vec<NewEntry>,
) -> Result<Vec<Kept>, Refusal> {
    let sent = entries.len();
    let appended = ingress.outbox.append(entries).await;
    match appended.map_err(|error| store_failed(&error))? {
        Appended::Kept(kept) if kept.len() == sent => {
            ingress.counts.kept(&kept);
            Ok(kept)
        }
        Appended::Kept(_) => Err(Refusal::Internal),
        Appended::Conflict(indexes) => Err(Refusal::Conflict(conflicts(mode, &indexes))),
    }
}

fn conflicts(mode: Mode, indexes: &[usize]) -> Vec<Fault> {
    let conflict = |index: &usize| Fault {
        pointer: match mode {
            Mode::Batch => format!("/{index}"),
            Mode::Structured | Mode::Binary => String::new(),
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
    kept: &[Kept],
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

fn ended(kept: &[Kept], states: &[State]) -> Vec<Kept> {
    kept.iter()
        .zip(states)
        .map(|(kept, state)| Kept {
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
    fn new(ids: &'a [Attribute], kept: &[Kept]) -> Self {
        let event = |(id, kept): (&'a Attribute, &Kept)| AcceptedEvent {
            id: id.as_str(),
            status: kept.state.as_str(),
            duplicate: kept.duplicate,
        };
        Self {
            accepted: ids.iter().zip(kept).map(event).collect(),
        }
    }
}
