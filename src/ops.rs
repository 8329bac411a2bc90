//! The ops listener: health checks, metrics, and the admin API, which requires an operator's token. The gateway must
//! never route requests to the ops listener.
//!
//! The room `console` adds the operator's pages to the same listener.
//! [`operate`] contains the operator's use cases as typed functions. `api` offers the use cases as JSON over HTTP, and
//! makes no decisions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::{CacheControl, CacheDirective, ContentType};
use actix_web::{HttpResponse, HttpResponseBuilder, Resource, Route, guard, web};

pub use self::api::{AdminProblem, keys_json};
pub(crate) use self::api::{parse_entry, parse_filter, query_flaw, receive_body};
use self::authenticate::session_mark;
pub use self::authenticate::{Access, KnownOperator, Operators, ReadToken, Session};
use self::history::{History, HourTotals, SAMPLE_EVERY};
use self::operate::Operations;
use crate::dispatch::destination::Destination;
use crate::metrics::{
    DatabaseSnapshot, Metrics, MetricsSnapshot, SeriesValue, StoreSizes, StoreSnapshot,
};
use crate::notices::{SourceFindings, is_of_sources};
use crate::outbox::{Outbox, Setting, StoreCondition};
use crate::time::Clock;

mod api;
mod authenticate;
mod failed_logins;
pub mod history;
mod openapi;
pub mod operate;

/// The maximum time for reading the number of entries in the store for the metrics page. After this time, the page
/// shows the numbers of the previous reading.
const DEPTH_DEADLINE: Duration = Duration::from_secs(1);

/// The maximum difference between the clocks of the processes that share a store.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_mins(1);

/// The state of the ops listener. All clones share the same state.
#[derive(Clone, Debug)]
pub struct Ops {
    health: web::Data<Health>,
    figures: web::Data<Figures>,
    operations: web::Data<Operations>,
    access: web::Data<Access>,
}

impl Ops {
    /// Returns the figures and the health that the console shows.
    pub fn state(&self) -> (Figures, Health) {
        (Figures::clone(&self.figures), Health::clone(&self.health))
    }

    /// Returns a text that marks the store: processes with the same store have the same mark. It shows nothing of the store.
    pub fn store_mark(&self) -> String {
        session_mark(&self.operations.outbox.digest_key())
    }

    pub fn new(
        health: Health,
        figures: Figures,
        operations: Operations,
        access: Arc<Access>,
    ) -> Self {
        Self {
            health: web::Data::new(health),
            figures: web::Data::new(figures),
            operations: web::Data::new(operations),
            access: web::Data::from(access),
        }
    }

    /// Adds the routes of the ops listener.
    pub fn configure(self, config: &mut web::ServiceConfig) {
        config
            .app_data(self.health)
            .app_data(self.figures)
            .app_data(self.operations)
            .app_data(self.access)
            .service(page("/livez").route(get_or_head().to(livez)))
            .service(page("/readyz").route(get_or_head().to(readyz)))
            .service(page("/startupz").route(get_or_head().to(startupz)))
            .service(page("/metrics").route(get_or_head().to(metrics)))
            .service(page("/v1/openapi.json").route(get_or_head().to(description)));
        api::configure(config);
    }
}

/// The `Allow` header of the health checks and of the metrics page.
const PAGE_ALLOW: &str = "GET, HEAD";

/// Creates the resource for a path that answers only GET and HEAD.
fn page(path: &str) -> Resource {
    let refuse = || async {
        let allow = PAGE_ALLOW;
        Err::<HttpResponse, _>(AdminProblem::MethodNotAllowed { allow })
    };
    web::resource(path).default_service(web::to(refuse))
}

/// Creates a route for GET and HEAD. Many uptime monitors send HEAD. The HTTP server sends no body in answer to HEAD.
fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// The health of the process. The process is first starting, then ready, then draining. It is not ready while the store
/// accepts no events. All clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    store_unavailable: Arc<AtomicBool>,
    disk_full: Arc<AtomicBool>,
}

/// The state of the process that the health checks show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    StoreUnavailable,
    Draining,
}

impl Health {
    /// Records that the store is open, the mappings are loaded and the listeners are bound.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Records that the process has started to shut down.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Records whether the store accepts events.
    pub fn store(&self, condition: StoreCondition) {
        let is_unavailable = condition != StoreCondition::Working;
        self.store_unavailable
            .store(is_unavailable, Ordering::Release);
    }

    /// Records whether the disk of the store has no space for events. The process stays ready, because it answers senders
    /// with the right problem and continues by itself.
    pub fn disk_full(&self, is_full: bool) {
        self.disk_full.store(is_full, Ordering::Release);
    }

    /// Returns whether the disk of the store has no space for events.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Acquire)
    }

    /// Returns whether the store accepts events.
    pub fn has_store(&self) -> bool {
        !self.store_unavailable.load(Ordering::Acquire)
    }

    fn phase(&self) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            Phase::Draining
        } else if !self.ready.load(Ordering::Acquire) {
            Phase::Starting
        } else if self.store_unavailable.load(Ordering::Acquire) {
            Phase::StoreUnavailable
        } else {
            Phase::Ready
        }
    }
}

/// Reads the metrics, after it has updated the number of entries in the store. All clones share the same metrics.
#[derive(Clone, Debug)]
pub struct Figures {
    metrics: Metrics,
    outbox: Arc<dyn Outbox>,
    destination: Arc<Destination>,
    clock: Clock,
    history: Arc<Mutex<History>>,
    findings: Arc<Mutex<SourceFindings>>,
}

impl Figures {
    pub fn new(metrics: Metrics, operations: &Operations) -> Self {
        let now = operations.clock.now();
        Self {
            metrics,
            outbox: Arc::clone(&operations.outbox),
            destination: Arc::clone(&operations.destination),
            history: Arc::new(Mutex::new(History::begin(now))),
            findings: Arc::new(Mutex::new(SourceFindings::none(now))),
            clock: operations.clock.clone(),
        }
    }

    /// Records the totals for [`Self::history`] every few seconds, and never returns.
    pub async fn keep_history(&self) {
        loop {
            let metrics = self.metrics.snapshot();
            let ended = &metrics.dispatch.ended;
            let of = |state| ended.get(state).copied().unwrap_or_default();
            let requests = metrics.dispatch.request_seconds.values();
            let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let totals = HourTotals {
                accepted: metrics.ingress.accepted,
                delivered: of("delivered"),
                ended: ended.values().sum(),
                parked: of("parked"),
                requests: requests.clone().map(|one| one.count).sum(),
                request_time: seconds(requests.map(|one| one.sum).sum()),
                by_source: metrics.ingress.accepted_by_source,
            };
            self.shared_history().record(self.clock.now(), totals);
            self.clock.sleep(SAMPLE_EVERY).await;
        }
    }

    /// Returns the totals of the last hour.
    pub fn history(&self) -> History {
        self.shared_history().clone()
    }

    fn shared_history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the rules of the notices have found out about the sources.
    pub fn findings(&self) -> SourceFindings {
        self.shared_findings().clone()
    }

    /// Shows new findings about the sources.
    pub fn show_findings(&self, findings: SourceFindings) {
        *self.shared_findings() = findings;
    }

    fn shared_findings(&self) -> MutexGuard<'_, SourceFindings> {
        let findings = self.findings.lock();
        findings.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the values that the rules about sources read. Does not use the store.
    pub fn source_samples(&self) -> Vec<SeriesValue> {
        self.metrics.samples(is_of_sources)
    }

    /// Returns the metric values as typed data.
    pub async fn snapshot(&self) -> MetricsSnapshot {
        self.read_depth().await;
        self.metrics.snapshot()
    }

    /// Returns the free space of the disk of the store, or `None` if it is not known.
    pub fn free_bytes(&self) -> Option<u64> {
        self.outbox.figures().free_bytes
    }

    /// Returns the metric values as a page for Prometheus.
    async fn page(&self) -> String {
        self.refresh().await;
        self.metrics.page()
    }

    /// Returns the values of the counters and gauges with the wanted names.
    pub async fn samples(&self, is_wanted: fn(&str) -> bool) -> Vec<SeriesValue> {
        self.refresh().await;
        self.metrics.samples(is_wanted)
    }

    /// Sets the gauges that nothing else keeps up to date.
    async fn refresh(&self) {
        self.read_depth().await;
        let mode = self.destination.mode();
        self.metrics.dispatch.destination_mode(mode.as_str());
        let figures = self.outbox.figures();
        self.metrics.store_sizes(StoreSizes {
            file_bytes: figures.file_bytes,
            log_bytes: figures.log_bytes,
            free_bytes: figures.free_bytes,
            commits: figures.commits,
            commands: figures.commands,
            commit_time: figures.commit_time,
        });
        if let Some(database) = figures.database {
            self.metrics.database(DatabaseSnapshot {
                oldest_snapshot: database.oldest_snapshot,
                slot_bytes: database.slot_bytes,
                dead_rows: database.dead_rows,
                connection_wait: database.connection_wait,
                lost_leases: database.lost_leases,
                late_sends: database.late_sends,
                repeats: database.repeats,
            });
        }
    }

    async fn read_depth(&self) {
        let head = tokio::time::timeout(DEPTH_DEADLINE, self.outbox.audit_head()).await;
        if let Ok(Ok(head)) = head {
            self.metrics.admin.audit_head(head.record, head.check);
        }
        let backup = self.outbox.setting(Setting::LastBackup);
        if let Ok(Ok(Some(millis))) = tokio::time::timeout(DEPTH_DEADLINE, backup).await
            && let Ok(millis) = millis.parse::<i64>()
            // A time in the future comes from a wrong clock, and would hide an old backup.
            && millis <= self.clock.now().after(CLOCK_DIFFERENCE_MAX).as_millis()
        {
            self.metrics.admin.last_backup(millis / 1_000);
        }
        let depth = tokio::time::timeout(DEPTH_DEADLINE, self.outbox.depth()).await;
        if let Ok(Ok(depth)) = depth {
            let now = self.clock.now();
            let oldest_waiting = depth
                .oldest
                .map_or(Duration::ZERO, |accepted_at| now.since(accepted_at));
            self.metrics.store_depth(StoreSnapshot {
                waiting: depth.waiting,
                parked: depth.parked,
                undecided: depth.undecided,
                held: depth.held,
                oldest_waiting,
            });
            for (source, bytes) in &depth.stored_bytes {
                self.metrics.stored_bytes(source.as_str(), *bytes);
            }
        }
    }
}

/// Answers 200 while the process runs. It answers 200 even if Imprint is down, because a restart of the bridge would
/// not help.
async fn livez() -> HttpResponse {
    text(HttpResponse::Ok(), "alive")
}

async fn readyz(health: web::Data<Health>) -> HttpResponse {
    match health.phase() {
        Phase::Ready => text(HttpResponse::Ok(), "ready"),
        Phase::Starting => text(HttpResponse::ServiceUnavailable(), "starting"),
        Phase::StoreUnavailable => text(HttpResponse::ServiceUnavailable(), "store unavailable"),
        Phase::Draining => text(HttpResponse::ServiceUnavailable(), "draining"),
    }
}

async fn startupz(health: web::Data<Health>) -> HttpResponse {
    match health.phase() {
        Phase::Starting => text(HttpResponse::ServiceUnavailable(), "starting"),
        Phase::Ready | Phase::StoreUnavailable | Phase::Draining => {
            text(HttpResponse::Ok(), "started")
        }
    }
}

/// Answers `GET /v1/openapi.json`. Needs no token, because the document has nothing of the store.
async fn description() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(openapi::DOCUMENT.clone())
}

async fn metrics(figures: web::Data<Figures>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(figures.page().await)
}

fn text(mut response: HttpResponseBuilder, word: &'static str) -> HttpResponse {
    response
        .insert_header(CacheControl(vec![CacheDirective::NoStore]))
        .content_type(ContentType::plaintext())
        .body(format!("{word}\n"))
}
