//! The door: bytes of a source come in, an answer goes out, and between them one durable, idempotent append.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/sources/{source}/events` | 202 once the events are kept; with `Prefer: wait=N` 200 once they are settled |
//! | `OPTIONS /v1/sources/{source}/events` | the CloudEvents web hook handshake |
//! | `GET /v1/sources/{source}/events/{id}` | the receipt |
//!
//! A request goes through the stages in one order: source, media type, body, authenticity, decoding, schema, mapping,
//! append. Each stage either passes it on or ends it with a [`Refusal`]. What is refused leaves no trace in the store,
//! and a batch is refused or kept as a whole. Whether the sender is still there when the append returns makes no
//! difference: it may repeat the request.
//!
//! Nothing here sends to Imprint, or knows of dispatching or which engine the store runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use serde_json::Value;
use tokio::sync::watch;

use crate::event::SourceName;
use crate::mapping::{ForeignAddress, JsonEnvelope, Mapping};
use crate::metrics;
use crate::outbox::{self, Outbox};
use crate::schema::Schema;
use crate::time::Clock;

pub mod auth;
pub mod refusal;

mod accept;
mod body;
mod counts;
mod examine;
mod explain;
mod form;
mod handshake;
mod receipt;
mod wait;

pub use examine::map_again;
pub use explain::{Fresh, Terms, explain, explain_kept, views};
pub use refusal::Refusal;

use auth::{Authentic, Head, RotatingVerifier, Untrusted};

/// The methods of the path that events are posted to.
const EVENTS_ALLOW: &str = "OPTIONS, POST";
/// The methods of the path of one event.
const EVENT_ALLOW: &str = "GET";

/// Everything the door needs; one for all workers.
#[derive(Debug)]
pub struct Ingress {
    /// Who may send, by name.
    pub sources: Arc<BTreeMap<SourceName, Source>>,
    /// Where events are kept.
    pub outbox: Arc<dyn Outbox>,
    /// The time.
    pub clock: Clock,
    /// How much is taken.
    pub limits: BodyLimits,
    /// What is counted.
    pub counts: metrics::IngressMetrics,
    /// Turns true when the process begins to end: from then on nobody is kept waiting.
    pub stopping: watch::Receiver<bool>,
}

/// A system that sends events.
#[derive(Debug)]
pub struct Source {
    /// How it proves that a request is its own.
    pub lock: RotatingVerifier,
    /// How its bodies are read, if they are plain JSON and no CloudEvents.
    pub frame: Option<JsonEnvelope>,
    /// Its event types.
    pub event_types: BTreeMap<String, EventType>,
    /// Event types that are acknowledged and kept as ignored, so that the source need not filter.
    pub ignored: BTreeSet<String>,
    /// The origins (DNS names) that the CloudEvents handshake grants.
    pub allowed_origins: BTreeSet<String>,
}

/// What makes an update of the events of one type.
pub struct EventType {
    /// What such an event must look like.
    pub schema: Schema,
    /// What is made of it.
    pub mapping: Mapping,
    /// Whether both read the data alone, because the data is all that the source sent.
    pub is_plain: bool,
    /// Raised by the operator when the source restarts its counter.
    pub epoch: u32,
}

impl EventType {
    /// The part of an event that schema and mapping read.
    fn view<'e>(&self, envelope: &'e Value) -> &'e Value {
        if self.is_plain {
            envelope.get("data").unwrap_or(&Value::Null)
        } else {
            envelope
        }
    }
}

/// Schemas and mappings are long; which type this is stands in the map around it.
impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// How much is taken from a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// How long a body may be.
    pub body_bytes_max: usize,
    /// How long a body may take; the server's own deadline covers the head only.
    pub body_time_max: Duration,
    /// How many events a batch may have.
    pub batch_events_max: usize,
    /// How far a version that is a time may lie ahead of the wall clock: one wrong year would block a group until then.
    pub version_ahead_max: Duration,
    /// What becomes of an address outside the USA.
    pub foreign_address: ForeignAddress,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            body_time_max: Duration::from_secs(10),
            batch_events_max: 100,
            version_ahead_max: Duration::from_mins(5),
            foreign_address: ForeignAddress::Park,
        }
    }
}

/// Routes of the public listener, and a problem for every other path and method.
pub fn configure(config: &mut web::ServiceConfig, ingress: web::Data<Ingress>) {
    let events = web::resource("/v1/sources/{source}/events")
        .route(web::post().to(post_events))
        .route(web::method(Method::OPTIONS).to(options_events))
        .default_service(web::to(other_events));
    let event = web::resource("/v1/sources/{source}/events/{id}")
        .route(web::get().to(get_event))
        .default_service(web::to(other_event));
    config
        .app_data(ingress)
        .service(events)
        .service(event)
        .default_service(web::to(elsewhere));
}

type HandlerResult = Result<HttpResponse, Refusal>;
type SharedIngress = web::Data<Ingress>;

async fn post_events(
    request: HttpRequest,
    mut payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let answer = accept::accept(&ingress, &request, &mut payload).await;
    ingress.answer(answer, payload)
}

async fn get_event(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    ingress.answer(receipt::receipt(&ingress, &request).await, payload)
}

async fn options_events(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let source = ingress.source(&request);
    let answer = source.map(|(_, source)| handshake::handshake(source, request.headers()));
    ingress.answer(answer, payload)
}

async fn other_events(payload: web::Payload, ingress: SharedIngress) -> HttpResponse {
    let allow = EVENTS_ALLOW;
    ingress.answer(Err(Refusal::MethodNotAllowed { allow }), payload)
}

async fn other_event(payload: web::Payload, ingress: SharedIngress) -> HttpResponse {
    let allow = EVENT_ALLOW;
    ingress.answer(Err(Refusal::MethodNotAllowed { allow }), payload)
}

async fn elsewhere(payload: web::Payload, ingress: SharedIngress) -> HttpResponse {
    ingress.answer(Err(Refusal::NotFound), payload)
}

/// The stages that more than one call goes through.
impl Ingress {
    fn source(&self, request: &HttpRequest) -> Result<(&SourceName, &Source), Refusal> {
        request
            .match_info()
            .get("source")
            .and_then(|name| SourceName::parse(name).ok())
            .and_then(|name| self.sources.get_key_value(&name))
            .ok_or(Refusal::UnknownSource)
    }

    fn verify(
        &self,
        source: &Source,
        request: &HttpRequest,
        body: Untrusted<Bytes>,
    ) -> Result<Authentic<Bytes>, Refusal> {
        let path = request.uri().path_and_query();
        let head = Head {
            method: request.method().as_str(),
            path: path.map_or("", |path| path.as_str()),
            headers: request.headers(),
        };
        source
            .lock
            .verifier()
            .verify(head, body, self.clock.wall())
            .map_err(|why| self.unauthenticated(source, why))
    }

    fn unauthenticated(&self, source: &Source, why: auth::DenialReason) -> Refusal {
        self.counts.unauthenticated(why);
        Refusal::Unauthenticated {
            challenge: source.lock.verifier().challenge(),
        }
    }

    /// The last stage of every call.
    fn answer(&self, answer: HandlerResult, payload: web::Payload) -> HttpResponse {
        let response = answer.unwrap_or_else(|refusal| {
            self.counts.refused(&refusal);
            refusal.error_response()
        });
        body::hold(response, payload)
    }
}

/// The refusal for a failure of the store, which has said itself, once, what is wrong with it.
fn store_failed(error: &outbox::Error) -> Refusal {
    let refusal = Refusal::from(error);
    let cause: &(dyn std::error::Error + 'static) = error;
    tracing::debug!(
        cause,
        refusal = refusal.word(),
        "the store did not take a request"
    );
    refusal
}

#[cfg(test)]
mod tests;
