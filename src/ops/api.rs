//! Administration: what a person does with entries and with the destination, over HTTP, behind an operator's token.
//!
//! | call | effect |
//! |---|---|
//! | `GET /admin/v1/entries?state=&source=&type=&reason=&customer=&before=&since=&after=&limit=` | lists entries, parked ones unless told |
//! | `GET /admin/v1/entries/{number}?reveal=true` | shows one; values only if asked for, and that is recorded first |
//! | `POST /admin/v1/entries/replay` | lets parked entries wait again: `{"ids": […]}` or `{"filter": {…}}`, `map_again`, `preview`, `reason` |
//! | `POST /admin/v1/entries/discard` | ends parked entries for good; `reason` is required |
//! | `GET /admin/v1/entries/{number}/explain?reveal=true` | what its event comes to today, expression by expression, and what of it is stale |
//! | `POST /admin/v1/explain?source=&reveal=true` | the same for the body of a request, of which nothing is kept |
//! | `GET /admin/v1/audit?after=&limit=` | the record of what people did |
//! | `GET /admin/v1/destination`, `POST` `{"mode": "open"}` | how the destination is, and what is wanted of it: `open`, `paused`, `shadow` |
//! | `POST /admin/v1/store/backup` `{"name": "…"}` | copies the store into a new file of that name beside it |
//! | `GET /admin/v1/shadow` | the requests that would have been made, values masked |
//!
//! Every act is recorded with the name of its token, in the transaction that does it. Answers are not to be stored.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::dispatch::destination::Destination;
use crate::fold::MaxFold;
use crate::intake;
use crate::metrics;
use crate::outbox::{self, Outbox};
use crate::time::Clock;

mod destination;
mod entries;
mod explain;
mod facts;
mod preview;
mod request;
mod store;
mod token;

pub use token::{Operators, ReadToken};

/// What `Problem::Unauthenticated` answers with.
const CHALLENGE: &str = "Bearer realm=\"operator\"";
const TYPE_PREFIX: &str = "urn:imprint-bridge:problem:";
/// The longest body of an act.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Copies the store into a file of this name beside it, and says where that is.
pub type Backup = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<PathBuf, outbox::Error>> + Send>>
        + Send
        + Sync,
>;

/// What administration needs.
pub struct Admin {
    /// Who may.
    pub operators: Operators,
    /// Where entries are.
    pub outbox: Arc<dyn Outbox>,
    /// Where they go.
    pub destination: Arc<Destination>,
    /// The sources, to map and explain stored events.
    pub sources: Arc<intake::Sources>,
    /// How the store is copied.
    pub backup: Backup,
    /// How many entries a request may carry: a preview folds as delivery will.
    pub max_fold: MaxFold,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub counts: metrics::AdminMetrics,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Why something is not done.
#[derive(Debug)]
enum Problem {
    /// There are no operators: administration is off.
    Disabled,
    /// No operator's token.
    Unauthenticated,
    /// It cannot be read, for this reason.
    Malformed(String),
    /// There is no such entry.
    UnknownEntry,
    /// There is nothing at this path.
    NotFound,
    /// Another method.
    MethodNotAllowed,
    /// The store did not do it.
    Store(outbox::Error),
}

impl Problem {
    const fn row(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Disabled => (403, "admin_disabled", "No operator is configured"),
            Self::Unauthenticated => (401, "unauthenticated", "Not an operator's token"),
            Self::Malformed(_) => (400, "malformed", "The request cannot be read"),
            Self::UnknownEntry => (404, "unknown_event", "There is no such entry"),
            Self::NotFound => (404, "not_found", "There is nothing here"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "Wrong method"),
            Self::Store(outbox::Error::Busy) => (503, "busy", "There is too much to do"),
            Self::Store(outbox::Error::Full) => (503, "store_full", "The store is full"),
            Self::Store(outbox::Error::Failed { .. }) => (503, "store_failed", "The store failed"),
            Self::Store(outbox::Error::Closed) => (503, "stopping", "The service is stopping"),
        }
    }

    fn answer(&self) -> HttpResponse {
        let (status, word, title) = self.row();
        let detail = match self {
            Self::Malformed(detail) => detail.clone(),
            Self::Disabled
            | Self::Unauthenticated
            | Self::UnknownEntry
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Store(_) => title.to_owned(),
        };
        let status_code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = HttpResponse::build(status_code);
        if matches!(self, Self::Unauthenticated) {
            answer.insert_header((WWW_AUTHENTICATE, CHALLENGE));
        }
        answer
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type("application/problem+json")
            .json(json!({
                "type": format!("{TYPE_PREFIX}{word}"),
                "title": title,
                "status": status,
                "detail": detail,
            }))
    }
}

impl From<outbox::Error> for Problem {
    fn from(error: outbox::Error) -> Self {
        Self::Store(error)
    }
}

/// The name of the operator who asks.
struct Operator(String);

type Shared = web::Data<Admin>;

/// The routes below `/admin/v1`.
pub fn configure(config: &mut web::ServiceConfig, admin: Shared) {
    let scope = web::scope("/admin/v1")
        .app_data(admin)
        .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
        .service(
            web::resource("/entries")
                .get(entries::list)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/entries/replay")
                .post(entries::replay)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/entries/discard")
                .post(entries::discard)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/entries/{number}")
                .get(entries::show)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/entries/{number}/explain")
                .get(explain::entry)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/explain")
                .post(explain::body)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/audit")
                .get(entries::audit)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/store/backup")
                .post(store::backup)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/destination")
                .get(destination::show)
                .post(destination::set)
                .default_service(web::to(other)),
        )
        .service(
            web::resource("/shadow")
                .get(destination::shadow)
                .default_service(web::to(other)),
        )
        .default_service(web::to(elsewhere));
    config.service(scope);
}

async fn other(admin: Shared, request: HttpRequest) -> HttpResponse {
    let operator = admin.operator(&request);
    answer(operator.and(Err(Problem::MethodNotAllowed)))
}

async fn elsewhere(admin: Shared, request: HttpRequest) -> HttpResponse {
    let operator = admin.operator(&request);
    answer(operator.and(Err(Problem::NotFound)))
}

impl Admin {
    /// Who asks.
    fn operator(&self, request: &HttpRequest) -> Result<Operator, Problem> {
        let (word, problem) = match self.operators.recognise(request.headers()) {
            Ok(name) => return Ok(Operator(name)),
            Err(token::Denied::Disabled) => ("disabled", Problem::Disabled),
            Err(token::Denied::Missing) => ("missing", Problem::Unauthenticated),
            Err(token::Denied::Mismatch) => ("mismatch", Problem::Unauthenticated),
        };
        self.counts.denied(word);
        tracing::warn!(
            reason = word,
            method = request.method().as_str(),
            "somebody who is no operator was turned away"
        );
        Err(problem)
    }
}

/// The answer to a call: a value, or a problem.
fn answer(done: Result<Value, Problem>) -> HttpResponse {
    match done {
        Ok(value) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(value),
        Err(problem) => problem.answer(),
    }
}
