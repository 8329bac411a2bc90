//! The HTTP listener for events. The listener authenticates a request, calls intake to turn the request into outbox
//! entries, and appends the entries to the outbox.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/sources/{source}/events` | 202 (events stored); with `Prefer: wait=N` 200 (events settled) |
//! | `HEAD /v1/sources/{source}/events` | 200 if the source exists; some senders check the URL in this way |
//! | `OPTIONS /v1/sources/{source}/events` | the CloudEvents webhook handshake |
//! | `GET /v1/sources/{source}/events/{id}` | the receipt of one event |
//! | `GET /v1/openapi.json` | the description of the listener (OpenAPI 3.1), without authentication |
//!
//! The listener checks a POST in this order: source name, media type, announced length, authentication headers, body,
//! signature or token, quotas, intake. Then the listener appends the entries to the outbox. If a check fails, the
//! listener answers with a [`Refusal`], and the store does not change. The listener refuses or stores a batch as a
//! whole, unless the source parks its invalid events. A POST has only one effect, the append, and the append is
//! idempotent: a sender that hangs up before the answer can repeat the request.
//!
//! The module `ingress` does not depend on dispatch, on Imprint or on a specific database.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{ContentType, HeaderMap};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use tokio::sync::watch;

use crate::http::denied::DeniedRequests;
use crate::http::refused::RefusedRequests;
use crate::metrics;
use crate::outbox::{self, Inbox};
use crate::time::Clock;
use crate::traces::Traces;

pub mod auth;
pub mod refusal;

mod accept;
mod body;
mod brake;
mod budget;
mod counts;
mod endpoints;
mod field_counts;
mod handshake;
mod openapi;
mod quota;
mod receipt;
mod replaceable;
mod report;
mod sent_event;
mod traced;
mod turns;
mod wait;

pub(crate) use accept::unsupported_media_type;
pub use brake::SourceBrake;
pub use budget::BodyBudget;
pub use endpoints::{Endpoint, Endpoints};
pub use field_counts::FieldCounts;
pub use quota::{
    EVENTS_BURST_MAX, EVENTS_PER_SECOND_MAX, QuotaLimits, RateLimit, SourceQuota, StorageLimit,
};
pub use refusal::Refusal;
pub use replaceable::Replaceable;

use auth::{Authentic, Head, Untrusted};

/// The name of the `Priority` header (RFC 9218), in lower case. With this header, a sender marks events as less urgent.
pub const PRIORITY: &str = "priority";
/// The `Allow` header for the URL path of a source's events.
const EVENTS_ALLOW: &str = "HEAD, OPTIONS, POST";
/// The `Allow` header for the URL path of one event.
const EVENT_ALLOW: &str = "GET";
/// The `Allow` header for the URL path of the description of the listener.
const DESCRIPTION_ALLOW: &str = "GET, HEAD";

/// The state of the event listener. All worker threads of the listener share this state.
#[derive(Debug)]
pub struct Ingress {
    /// The endpoints of the sources. Each request gets them once.
    pub endpoints: Arc<Replaceable<Endpoints>>,
    pub outbox: Arc<dyn Inbox>,
    pub clock: Clock,
    /// The limits on the size and time of request bodies.
    pub limits: BodyLimits,
    /// The budget of bytes for all request bodies in memory.
    pub budget: BodyBudget,
    pub counts: metrics::IngressMetrics,
    /// The refused requests, which the admin API shows.
    pub denied: Arc<DeniedRequests>,
    /// The refused requests of every problem type, which the console shows.
    pub refused: Arc<RefusedRequests>,
    /// The traces of the events. `None` means that the bridge exports no traces.
    pub traces: Option<Traces>,
    /// True after the process has started to stop. From then on, no request waits for the final state of its events.
    pub stopping: watch::Receiver<bool>,
}

/// The limits on one request body. The file `config/default.toml` contains the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The maximum size of a request body.
    pub body_bytes_max: usize,
    /// The time limit for receiving a request body. The time limit of the HTTP server covers only the head of a
    /// request, not the body.
    pub body_deadline: Duration,
}

/// Registers the routes of the event listener. The listener answers every other path and method with a problem
/// document.
pub fn configure(config: &mut web::ServiceConfig, ingress: web::Data<Ingress>) {
    let events = web::resource("/v1/sources/{source}/events")
        .route(web::post().to(post_events))
        .route(web::head().to(head_events))
        .route(web::method(Method::OPTIONS).to(options_events))
        .default_service(web::to(method_not_allowed_for_events));
    let event = web::resource("/v1/sources/{source}/events/{id}")
        .route(web::get().to(get_event))
        .default_service(web::to(method_not_allowed_for_event));
    let description = web::resource("/v1/openapi.json")
        .route(web::get().to(description))
        .route(web::head().to(description))
        .default_service(web::to(method_not_allowed_for_description));
    config
        .app_data(ingress)
        .service(events)
        .service(event)
        .service(description)
        .default_service(web::to(unknown_path));
}

type HandlerResult = Result<HttpResponse, Refusal>;
type SharedIngress = web::Data<Ingress>;

async fn post_events(
    request: HttpRequest,
    mut payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let answer = accept::accept(&ingress, &request, &mut payload).await;
    ingress.answer(answer, &request, payload)
}

async fn get_event(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let answer = receipt::receipt(&ingress, &request).await;
    ingress.answer(answer, &request, payload)
}

/// Answers the check of a sender that the URL of its events exists. The answer proves nothing else, so the request needs
/// no authentication.
async fn head_events(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let endpoints = ingress.endpoints.current();
    let answer = endpoints.of_request(&request);
    let answer = answer.map(|_endpoint| HttpResponse::Ok().finish());
    ingress.answer(answer, &request, payload)
}

async fn options_events(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let endpoints = ingress.endpoints.current();
    let endpoint = endpoints.of_request(&request);
    let answer = endpoint.map(|endpoint| handshake::handshake(endpoint, request.headers()));
    ingress.answer(answer, &request, payload)
}

/// Answers with the description of the listener. It names no source, so the request needs no authentication.
async fn description(payload: web::Payload) -> HttpResponse {
    let response = HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(openapi::DOCUMENT.clone());
    body::hold_body(response, payload)
}

async fn method_not_allowed_for_description(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let allow = DESCRIPTION_ALLOW;
    let refusal = Refusal::MethodNotAllowed { allow };
    ingress.answer(Err(refusal), &request, payload)
}

async fn method_not_allowed_for_events(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let allow = EVENTS_ALLOW;
    let refusal = Refusal::MethodNotAllowed { allow };
    ingress.answer(Err(refusal), &request, payload)
}

async fn method_not_allowed_for_event(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    let allow = EVENT_ALLOW;
    let refusal = Refusal::MethodNotAllowed { allow };
    ingress.answer(Err(refusal), &request, payload)
}

async fn unknown_path(
    request: HttpRequest,
    payload: web::Payload,
    ingress: SharedIngress,
) -> HttpResponse {
    ingress.answer(Err(Refusal::NotFound), &request, payload)
}

/// Steps that more than one route of the event listener needs.
impl Ingress {
    /// Verifies the authentication headers before the listener reads the body. A request without valid headers
    /// therefore costs no memory for its body.
    fn verify_head(&self, endpoint: &Endpoint, headers: &HeaderMap) -> Result<(), Refusal> {
        let verifier = endpoint.verifier.current();
        let verified = verifier.verify_head(headers, self.clock.wall());
        verified.map_err(|denial| self.unauthenticated(endpoint, denial))
    }

    fn verify(
        &self,
        endpoint: &Endpoint,
        request: &HttpRequest,
        body: Untrusted<Bytes>,
    ) -> Result<Authentic<Bytes>, Refusal> {
        let path = request.uri().path_and_query();
        let head = Head {
            method: request.method().as_str(),
            path: path.map_or("", |path| path.as_str()),
            headers: request.headers(),
        };
        endpoint
            .verifier
            .current()
            .verify(head, body, self.clock.wall())
            .map_err(|denial| self.unauthenticated(endpoint, denial))
    }

    /// Counts an accepted request without an event, so that an operator notices a source that sends nothing.
    fn without_events(&self, endpoint: &Endpoint) {
        let source = endpoint.source.name.as_str();
        self.counts.empty(source);
        tracing::debug!(source, "accepted a request without an event");
    }

    /// Counts a refusal by a quota of the source.
    fn over_quota(&self, endpoint: &Endpoint, refusal: &Refusal) {
        let source = endpoint.source.name.as_str();
        if *refusal == Refusal::StorageQuota {
            self.counts.over_storage_quota(source);
        } else {
            self.counts.over_rate_quota(source);
        }
    }

    /// Creates the HTTP response of a route, and reports a refusal.
    fn answer(
        &self,
        answer: HandlerResult,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> HttpResponse {
        let response = answer.unwrap_or_else(|refusal| {
            self.refused(request, &refusal);
            refusal.error_response()
        });
        body::hold_body(response, payload)
    }
}

/// Returns the refusal for a failure of the store. The listener logs the failure only at debug level, because the store
/// logs each of its failures itself.
fn store_failed(error: &outbox::Error) -> Refusal {
    let refusal = Refusal::from(error);
    let cause: &(dyn std::error::Error + 'static) = error;
    tracing::debug!(
        cause,
        refusal = refusal.word(),
        "the store did not accept a request"
    );
    refusal
}

#[cfg(test)]
mod tests;
