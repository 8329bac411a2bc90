//! The POST route of the event listener: stores the events of a request.
//!
//! A POST has only one effect, an idempotent append. A sender that receives no answer can therefore repeat the request.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::counts::count_appended;
use super::sent_event::SentEvent;
use crate::event::{EventError, RequestHeaders};
use crate::http::connection::ConnectionState;
use crate::http::single_header::SingleHeader;
use crate::ingress::auth::{Authentic, UnsignedAttribute};
use crate::ingress::refusal::{MediaTypeReason, TakenMediaTypes};
use crate::ingress::traced::{self, TracedEvents};
use crate::ingress::turns::Turn;
use crate::ingress::{Endpoint, Ingress, PRIORITY, Refusal, body, store_failed, wait};
use crate::intake::{
    Encoding, EntryContext, MappedBody, Rejection, RejectionClass, RequestMessage, Source, Sources,
    park_conflict,
};
use crate::outbox::{
    Appended, AppendedEntry, ConflictingEvent, EntryId, NewEntry, ParkReason, Priority, State,
};

/// The part of the request header [`PRIORITY`] that means the lowest urgency, "background" in RFC 9218.
const BACKGROUND: &str = "u=7";

/// Stores the events of a request and answers with their ids.
pub(super) async fn accept(
    ingress: &Ingress,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<HttpResponse, Refusal> {
    let endpoints = ingress.endpoints.current();
    let endpoint = endpoints.of_request(request)?;
    let headers = request.headers();
    let encoding = encoding(&endpoint.source, headers)?;
    body::check_length(headers, &ingress.limits)?;
    ingress.verify_head(endpoint, headers)?;
    let received = body::collect(ingress, request, payload).await?;
    // The body counts against the budget for request bodies until the events are stored.
    let charge = received.charge;
    let turn = Turn::take(&endpoint.source.name, &ingress.clock).await?;
    let body = ingress.verify(endpoint, request, received.content)?;
    body.verify_attributes(encoding.attribute_headers(), &endpoint.unsigned_headers)
        .map_err(|unsigned| refuse_unsigned(ingress, endpoint, unsigned))?;
    body.verify_read_headers(headers, &endpoint.read_headers)
        .map_err(|denial| ingress.unauthenticated(endpoint, denial))?;
    if let Some(connection) = request.conn_data::<Rc<ConnectionState>>() {
        connection.trust();
    }
    let read_headers = read_headers(&endpoint.read_headers, headers)?;
    let (quota, now) = (&endpoint.quota, ingress.clock.now());
    let count = |refusal: &Refusal| ingress.over_quota(endpoint, refusal);
    quota.admit_request(now).inspect_err(count)?;
    let context = EntryContext {
        accepted_at: now,
        wall_time: ingress.clock.shared_wall(),
        priority: priority(endpoint, &body, headers),
        digest_key: ingress.outbox.digest_key(),
        traces: traced::reading(ingress, headers),
    };
    let body_intake = BodyIntake {
        ingress,
        sources: endpoints.sources(),
        endpoint,
        encoding: &encoding,
        message: RequestMessage {
            headers: &read_headers,
            body: body.content(),
        },
        context: &context,
    };
    let mapped = body_intake.map(&Conflicts::new())?;
    drop(turn);
    let events = mapped.entries.len();
    quota.admit_events(events, now).inspect_err(count)?;
    let stored_bytes = || ingress.outbox.stored_bytes(&endpoint.source.name);
    // The reservation of the storage quota ends after the append, because the store then counts the bytes of the
    // events.
    let reserved = quota.reserve(&mapped.entries, stored_bytes);
    let reserved = reserved.inspect_err(count)?;
    let (sent, stored) = body_intake.append(mapped).await?;
    drop((body, charge, reserved));
    Ok(answer(ingress, headers, &sent, &stored).await)
}

/// Returns the encoding that the request headers announce. The listener does not accept a compressed body.
fn encoding<'a>(source: &'a Source, headers: &'a HeaderMap) -> Result<Encoding<'a>, Refusal> {
    let unsupported = |reason| unsupported_media_type(source, reason);
    let is_identity = match SingleHeader::read(headers, CONTENT_ENCODING) {
        SingleHeader::Absent => true,
        SingleHeader::Text(encoding) => encoding.eq_ignore_ascii_case("identity"),
        SingleHeader::Unreadable => false,
    };
    if !is_identity {
        return Err(unsupported(MediaTypeReason::ContentEncoding));
    }
    let content_type = SingleHeader::read(headers, CONTENT_TYPE).text();
    let content_type = content_type.ok_or_else(|| unsupported(MediaTypeReason::NoContentType))?;
    let pairs = headers.iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_bytes()));
    Encoding::of_request(source, content_type, pairs)
        .ok_or_else(|| unsupported(MediaTypeReason::of_content_type(content_type)))
}

/// Reads the headers that the expressions of the source read.
fn read_headers(
    names: &BTreeSet<String>,
    headers: &HeaderMap,
) -> Result<RequestHeaders, Rejection> {
    let read = |name: &str| SingleHeader::read(headers, name).optional();
    RequestHeaders::read(names, read)
        .map_err(|errors| Rejection::new(RejectionClass::Malformed, errors))
}

/// Returns the refusal of a request whose media type the source does not take.
pub(crate) const fn unsupported_media_type(source: &Source, reason: MediaTypeReason) -> Refusal {
    let taken = match source.json_envelope {
        Some(_) => TakenMediaTypes::PlainJson,
        None => TakenMediaTypes::CloudEvents,
    };
    Refusal::UnsupportedMediaType { reason, taken }
}

/// Returns the refusal of a binary-mode request whose signature does not cover an event attribute.
///
/// The sender must use structured mode: a new signature in the same scheme would not cover the attribute either.
fn refuse_unsigned(ingress: &Ingress, endpoint: &Endpoint, unsigned: UnsignedAttribute) -> Refusal {
    let names = match unsigned {
        other @ UnsignedAttribute::OtherId => {
            return ingress.unauthenticated(endpoint, other.into_denial());
        }
        UnsignedAttribute::Headers(names) => names,
    };
    let error = |name: String| EventError {
        pointer: String::new(),
        rule: "signed".to_owned(),
        location: "auth.unsigned_headers".to_owned(),
        detail: format!(
            "The signature does not cover the header {name}. Send the event in structured mode."
        ),
    };
    let errors = names.into_iter().map(error).collect();
    unsupported_media_type(&endpoint.source, MediaTypeReason::Unsigned(errors))
}

/// Returns the priority of the request's outbox entries. The bridge delivers the entries of a background request after
/// the waiting entries of all other requests.
///
/// Without a signature over the `Priority` header, a third party could have added the header to delay the events.
fn priority(endpoint: &Endpoint, body: &Authentic<Bytes>, headers: &HeaderMap) -> Priority {
    if !body.covers(PRIORITY) && !endpoint.unsigned_headers.contains(PRIORITY) {
        return Priority::Live;
    }
    let is_background = |text: &str| text.split(',').any(|part| part.trim() == BACKGROUND);
    match SingleHeader::read(headers, PRIORITY).text() {
        Some(text) if is_background(text) => Priority::Low,
        Some(_) | None => Priority::Live,
    }
}

/// The positions of the events of a body that conflict with earlier events, each with the entry of the earlier event.
/// The entry is `None` if the earlier event is in the same body.
type Conflicts = BTreeMap<usize, Option<EntryId>>;

/// The intake of one request body, which the listener repeats if events of the body conflict with stored events.
struct BodyIntake<'a> {
    ingress: &'a Ingress,
    sources: &'a Sources,
    endpoint: &'a Endpoint,
    encoding: &'a Encoding<'a>,
    message: RequestMessage<'a>,
    context: &'a EntryContext,
}

impl BodyIntake<'_> {
    /// Maps the events of the body. The events at the positions in `conflicting` become parked entries.
    fn map(&self, conflicting: &Conflicts) -> Result<MappedBody, Rejection> {
        let (source, encoding) = (&self.endpoint.source, self.encoding);
        let mapped = self
            .sources
            .entries(source, encoding, self.message, self.context);
        let mut mapped = mapped?;
        if !conflicting.is_empty() {
            let errors = self.conflicts(conflicting);
            let errors = conflicting.keys().copied().zip(errors);
            let mut errors: BTreeMap<usize, EventError> = errors.collect();
            let park = |(index, entry)| match errors.remove(&index) {
                Some(error) => park_conflict(source, entry, error, self.context),
                None => entry,
            };
            mapped.entries = mapped.entries.into_iter().enumerate().map(park).collect();
        }
        Ok(mapped)
    }

    /// Returns the errors of the events at these positions, whose ids belong to earlier events with different content.
    fn conflicts(&self, conflicting: &Conflicts) -> Vec<EventError> {
        let places: Vec<usize> = conflicting.keys().copied().collect();
        let places = self
            .sources
            .event_places(self.encoding, self.message, &places);
        let advice = match self.endpoint.source.json_envelope {
            Some(_) => SHARED_ID,
            None => "",
        };
        let errors = places.into_iter().zip(conflicting.values());
        errors
            .map(|(place, earlier)| conflict(place, *earlier, advice))
            .collect()
    }

    /// Appends the entries of the body to the outbox.
    ///
    /// If the source parks invalid events, the listener also parks the events that conflict with stored events, and
    /// appends the body again. Each repetition parks at least one event more, so the number of repetitions is at most
    /// the number of events.
    async fn append(
        &self,
        mapped: MappedBody,
    ) -> Result<(Vec<SentEvent>, Vec<AppendedEntry>), Refusal> {
        let (source, counts) = (&self.endpoint.source, &self.ingress.counts);
        let parks = source.parks_invalid_events();
        let mut conflicting = Conflicts::new();
        let mut entries = mapped.entries;
        if entries.is_empty() {
            self.ingress.without_events(self.endpoint);
        }
        let arrival = self.context.accepted_at;
        let traced = TracedEvents::begin(self.ingress, mapped.traces);
        loop {
            let (braked_entries, braked) = self.endpoint.brake.apply(entries, arrival);
            let sent: Vec<SentEvent> = braked_entries.iter().map(SentEvent::of).collect();
            let stated = self.endpoint.fields.stated(&braked_entries);
            match append(self.ingress, braked_entries).await? {
                Appended::Stored(stored) if stored.len() == sent.len() => {
                    let now = self.ingress.clock.wall();
                    self.ingress
                        .braked(self.endpoint, &braked.stored(&stored, arrival), &stored);
                    count_appended(counts, &source.name, &sent, &stored, now);
                    self.endpoint.fields.count(&stated, &stored);
                    let traced = traced.iter();
                    traced.for_each(|it| it.stored((&source.name, arrival), &sent, &stored));
                    counts.unlisted_phones(source.name.as_str(), mapped.unlisted_phones);
                    return Ok((sent, stored));
                }
                Appended::Stored(_) => return Err(Refusal::Internal),
                Appended::Conflict(events)
                    if parks
                        && events
                            .iter()
                            .any(|event| !conflicting.contains_key(&event.place)) =>
                {
                    braked.undo();
                    conflicting.extend(by_place(&events));
                    entries = self.map(&conflicting)?.entries;
                }
                Appended::Conflict(events) => {
                    braked.undo();
                    let errors = self.conflicts(&by_place(&events).collect());
                    return Err(Refusal::Conflict(errors));
                }
            }
        }
    }
}

async fn append(ingress: &Ingress, entries: Vec<NewEntry>) -> Result<Appended, Refusal> {
    if entries.is_empty() {
        return Ok(Appended::Stored(Vec::new()));
    }
    let appended = ingress.outbox.append(entries).await;
    appended.map_err(|error| store_failed(&error))
}

/// Returns the positions of conflicting events, with the entries of the earlier events.
fn by_place(events: &[ConflictingEvent]) -> impl Iterator<Item = (usize, Option<EntryId>)> {
    events.iter().map(|event| (event.place, event.earlier))
}

/// Returns the error of an event whose id belongs to an earlier event with different content. `pointer` is the place of
/// the event in the body. The error names the entry of the earlier event, so that an operator can look it up.
fn conflict(pointer: String, earlier: Option<EntryId>, advice: &str) -> EventError {
    let earlier = earlier.map_or_else(
        || "An earlier event of this body has the same id".to_owned(),
        |EntryId(entry)| format!("An event with this id was accepted before, as entry {entry},"),
    );
    EventError {
        pointer,
        rule: "conflict".to_owned(),
        location: "identity".to_owned(),
        detail: format!(
            "{earlier} with a different type, subject or data. The bridge compares the whole event, not only the mapped values.{advice}"
        ),
    }
}

/// The probable cause of conflicts in a source of plain JSON.
const SHARED_ID: &str = " If each change of a customer has this id, body.id in the source file reads a value that several events share, and not the id of the event.";

async fn answer(
    ingress: &Ingress,
    headers: &HeaderMap,
    sent: &[SentEvent],
    stored: &[AppendedEntry],
) -> HttpResponse {
    let Some(preference) = wait::preferred(headers) else {
        return HttpResponse::Accepted().json(Accepted::new(sent, stored));
    };
    let applied = ("preference-applied", format!("wait={}", preference.seconds));
    match wait::settled(ingress, stored, preference.seconds).await {
        Some(states) => HttpResponse::Ok()
            .insert_header(applied)
            .json(Accepted::new(sent, &ended(stored, &states))),
        // The sender would wait longer, so the answer says how long the bridge waits.
        None if preference.is_shortened => HttpResponse::Accepted()
            .insert_header(applied)
            .json(Accepted::new(sent, stored)),
        None => HttpResponse::Accepted().json(Accepted::new(sent, stored)),
    }
}

fn ended(stored: &[AppendedEntry], states: &[State]) -> Vec<AppendedEntry> {
    stored
        .iter()
        .zip(states)
        .map(|(stored, state)| AppendedEntry {
            state: *state,
            ..*stored
        })
        .collect()
}

#[derive(Serialize)]
struct Accepted<'a> {
    accepted: Vec<AcceptedItem<'a>>,
}

#[derive(Serialize)]
struct AcceptedItem<'a> {
    id: &'a str,
    status: &'static str,
    duplicate: bool,
    /// The reason why the bridge parked this new event when it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<&'static str>,
    /// The errors of an event that this request parked as invalid.
    #[serde(rename = "faults", skip_serializing_if = "<[EventError]>::is_empty")]
    errors: &'a [EventError],
    /// The errors of the fields that the update of this new event leaves out because their values are invalid.
    #[serde(skip_serializing_if = "<[EventError]>::is_empty")]
    skipped: &'a [EventError],
}

impl<'a> Accepted<'a> {
    fn new(sent: &'a [SentEvent], stored: &[AppendedEntry]) -> Self {
        let event = |(sent, stored): (&'a SentEvent, &AppendedEntry)| {
            let of_new = |errors: &'a [EventError]| match stored.duplicate {
                true => &[],
                false => errors,
            };
            AcceptedItem {
                id: sent.id.as_str(),
                status: stored.state.as_str(),
                duplicate: stored.duplicate,
                parked: sent
                    .parked
                    .filter(|_| !stored.duplicate)
                    .map(ParkReason::as_str),
                errors: of_new(&sent.errors),
                skipped: of_new(&sent.skipped),
            }
        };
        Self {
            accepted: sent.iter().zip(stored).map(event).collect(),
        }
    }
}
