//! The second listener: health, metrics, and administration behind a token. Never routed by the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::header::{CacheControl, CacheDirective, ContentType};
use actix_web::{HttpResponse, web};

pub use self::api::Admin;
use crate::metrics::Metrics;
use crate::outbox::Ledger;
use crate::time::Clock;

pub mod api;

/// How long a scrape waits for the store to say how much it has; the other figures are worth having without.
const DEPTH_DEADLINE: Duration = Duration::from_secs(1);

/// What the listener shows.
#[derive(Debug)]
pub struct Ops {
    health: Health,
    metrics: Metrics,
    outbox: Arc<dyn Ledger>,
    clock: Clock,
}

impl Ops {
    /// Shows how far the process is, what it counts, and how much it keeps.
    pub fn new(health: Health, metrics: Metrics, outbox: Arc<dyn Ledger>, clock: Clock) -> Self {
        Self {
            health,
            metrics,
            outbox,
            clock,
        }
    }
}

/// How far the process is: it only ever goes forward.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

/// A phase in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Draining,
}

impl Health {
    /// The store is open, the mappings are loaded, the listeners are bound.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The process is about to end.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            Phase::Draining
        } else if self.ready.load(Ordering::Acquire) {
            Phase::Ready
        } else {
            Phase::Starting
        }
    }
}

/// The routes of the listener.
pub fn configure(
    config: &mut web::ServiceConfig,
    ops: web::Data<Ops>,
    administration: web::Data<Admin>,
) {
    api::configure(config, administration);
    config
        .app_data(ops)
        .route("/livez", web::get().to(livez))
        .route("/readyz", web::get().to(readyz))
        .route("/startupz", web::get().to(startupz))
        .route("/metrics", web::get().to(metrics));
}

/// Alive is a local matter: that Imprint is down is no reason to restart.
async fn livez() -> HttpResponse {
    plain(HttpResponse::Ok(), "alive")
}

async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    match ops.health.phase() {
        Phase::Ready => plain(HttpResponse::Ok(), "ready"),
        Phase::Starting => plain(HttpResponse::ServiceUnavailable(), "starting"),
        Phase::Draining => plain(HttpResponse::ServiceUnavailable(), "draining"),
    }
}

async fn startupz(ops: web::Data<Ops>) -> HttpResponse {
    match ops.health.phase() {
        Phase::Starting => plain(HttpResponse::ServiceUnavailable(), "starting"),
        Phase::Ready | Phase::Draining => plain(HttpResponse::Ok(), "started"),
    }
}

async fn metrics(ops: web::Data<Ops>) -> HttpResponse {
    if let Ok(Ok(depth)) = tokio::time::timeout(DEPTH_DEADLINE, ops.outbox.depth()).await {
        let waited = depth
            .oldest
            .map_or(Duration::ZERO, |oldest| ops.clock.now().since(oldest));
        ops.metrics.store_depth(depth.waiting, depth.parked, waited);
    }
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(ops.metrics.page())
}

fn plain(mut answer: actix_web::HttpResponseBuilder, word: &'static str) -> HttpResponse {
    answer
        .insert_header(CacheControl(vec![CacheDirective::NoStore]))
        .content_type(ContentType::plaintext())
        .body(format!("{word}\n"))
}
