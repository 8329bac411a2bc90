//! The sources of the running bridge: an endpoint with secrets for the event listener, and a mapping for intake.
//!
//! The bridge replaces all sources together while it runs. A request uses the set with which it began.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::loaded_set::LoadedSet;
use super::reload_log::ReloadLog;
use super::removed_sources::{RemovedSources, SourceLimits};
use super::secrets::WatchedSource;
use super::set_changes::{SourceTexts, changed_files, changes, texts};
use super::weakening::report_sources;
use crate::config::sources::{SourceFiles, SourceSettings, SourceTextReader};
use crate::event::SourceName;
use crate::ingress::auth::Verifier;
use crate::ingress::refusal::FINAL_PROBLEMS;
use crate::ingress::{
    Endpoint, Endpoints, FieldCounts, Replaceable, SourceBrake, SourceQuota, StorageLimit,
};
use crate::intake::schema::Schema;
use crate::intake::{IntakeSettings, OpenBrakes, Source, Sources};
use crate::metrics::{Metrics, WeakenedMetrics};
use crate::ops::operate::{
    BrakeView, LiveSources, RefusedSet, ReloadEffect, ReloadFailure, ReloadResult, ReloadTrigger,
    ReloadView, SecretFileView, SetChanges, SetView,
};
use crate::time::Timestamp;

/// The maximum number of operators who wait for a reload. The bridge reloads for one operator after the other.
const RELOADS_WAITING_MAX: usize = 4;

/// The problem type of the refusals on a full disk. Its alert must see the first one as an increase.
const STORE_FULL: &str = "store_full";

/// The receiver of the operators' requests to reload. The bridge answers each request with the result.
pub(super) type ReloadRequests = mpsc::Receiver<ReloadRequest>;

/// An operator's request to reload.
pub(super) struct ReloadRequest {
    pub(super) operator: String,
    pub(super) answer: oneshot::Sender<ReloadAnswer>,
}

/// The answer to an operator's request to reload.
pub(super) type ReloadAnswer = Result<ReloadResult, ReloadFailure>;

/// The sources that the bridge uses now.
pub(super) struct RunningSources {
    endpoints: Arc<Replaceable<Endpoints>>,
    secrets: Arc<Replaceable<Vec<WatchedSource>>>,
    intake: IntakeSettings,
    text_reader: SourceTextReader,
    metrics: Metrics,
    /// Each use locks the status only to read or to change it, and never across an await.
    status: RwLock<SetStatus>,
    reloads: ReloadLog,
    requests: mpsc::Sender<ReloadRequest>,
    /// Never locked across an await.
    removed: Mutex<RemovedSources>,
    /// The number of calls of [`LiveSources::set_open_brakes`].
    brake_changes: AtomicU64,
}

struct SetStatus {
    files: Option<SourceFiles>,
    texts: SourceTexts,
    since: Timestamp,
    refused: Option<RefusedSet>,
}

impl RunningSources {
    /// Starts with the given set. Returns also the receiver of the operators' requests to reload.
    pub(super) fn start(
        loaded: LoadedSet,
        (intake, text_reader): (IntakeSettings, SourceTextReader),
        metrics: &Metrics,
        now: Timestamp,
    ) -> (Arc<Self>, ReloadRequests) {
        let (requests, requested) = mpsc::channel(RELOADS_WAITING_MAX);
        let nothing = Endpoints::new([], intake);
        let running = Self {
            endpoints: Arc::new(Replaceable::new(nothing)),
            secrets: Arc::new(Replaceable::new(Vec::new())),
            intake,
            text_reader,
            metrics: metrics.clone(),
            status: RwLock::new(SetStatus {
                files: None,
                texts: BTreeMap::new(),
                since: now,
                refused: None,
            }),
            reloads: ReloadLog::default(),
            requests,
            removed: Mutex::default(),
            brake_changes: AtomicU64::new(0),
        };
        running.use_set(loaded, now);
        (Arc::new(running), requested)
    }

    /// Returns the endpoints for the event listener.
    pub(super) fn endpoints(&self) -> Arc<Replaceable<Endpoints>> {
        Arc::clone(&self.endpoints)
    }

    /// Returns the sources whose secret files the bridge reads again and again.
    pub(super) fn secrets(&self) -> Arc<Replaceable<Vec<WatchedSource>>> {
        Arc::clone(&self.secrets)
    }

    /// Returns the metric of the weakenings of the protection.
    pub(super) fn weakened(&self) -> WeakenedMetrics {
        self.metrics.weakened.clone()
    }

    /// Returns how often this bridge has opened or closed brakes.
    pub(super) fn brake_changes(&self) -> u64 {
        self.brake_changes.load(Ordering::Relaxed)
    }

    /// Sets the number of bridges that divide the limits of the brakes between them.
    pub(super) fn set_bridges(&self, bridges: NonZeroUsize, now: Timestamp) {
        for endpoint in self.endpoints.current().all() {
            endpoint.brake.set_bridges(bridges, now);
        }
    }

    /// Uses the loaded set for all later requests, and records the change for operators.
    pub(super) fn replace(
        &self,
        loaded: LoadedSet,
        trigger: ReloadTrigger,
        now: Timestamp,
    ) -> SetChanges {
        let (before, old_texts) = self.present();
        let changes = self.use_set(loaded, now);
        let (after, new_texts) = self.present();
        let files = changed_files((&old_texts, &new_texts), &changes);
        self.reloads.record(ReloadView {
            at: now,
            trigger,
            before,
            after,
            effect: ReloadEffect::Used {
                changes: changes.clone(),
                files,
            },
        });
        changes
    }

    /// Returns the digest of the files in use, and the texts of the source files.
    fn present(&self) -> (Option<String>, SourceTexts) {
        let status = self.status.read().unwrap_or_else(PoisonError::into_inner);
        (status.digest(), status.texts.clone())
    }

    /// Uses the loaded set for all later requests.
    fn use_set(&self, loaded: LoadedSet, now: Timestamp) -> SetChanges {
        let previous = self.endpoints.current();
        let texts = texts(&loaded.sources);
        let settings = loaded.sources.iter().map(|(settings, _)| settings);
        report_sources(&self.metrics.weakened, settings);
        let (mut watched, mut endpoints, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for (settings, loaded) in loaded.sources {
            self.show_in_metrics(&settings);
            let name = settings.source.name.to_string();
            warnings.push((name, settings.warnings()));
            let auth = settings.auth.clone();
            let fields = FieldCounts::new(&settings.source, &self.metrics.ingress);
            let name = &settings.source.name;
            let limits = previous.get(name).map(|old| SourceLimits::of(old));
            let limits = limits.or_else(|| removed.take(name));
            let endpoint = endpoint(settings, loaded.verifier, fields, (limits, now));
            let endpoint = Arc::new(endpoint);
            watched.push(WatchedSource::new(
                auth,
                loaded.files,
                Arc::clone(&endpoint),
            ));
            endpoints.push(endpoint);
        }
        let endpoints = Endpoints::new(endpoints, self.intake);
        let gone = previous.all();
        let gone = gone.filter(|old| endpoints.get(&old.source.name).is_none());
        gone.for_each(|old| removed.keep(old));
        drop(removed);
        for source in &loaded.drafts {
            tracing::warn!(
                source,
                "the source is a draft: the bridge does not use it until its file has no line draft = true"
            );
        }
        let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
        let changes = changes(
            (&previous, status.files.as_ref()),
            (&endpoints, loaded.files.as_ref()),
        );
        self.secrets.replace(watched);
        self.endpoints.replace(endpoints);
        *status = SetStatus {
            files: loaded.files,
            texts,
            since: now,
            refused: None,
        };
        drop(status);
        log_warnings(&warnings, &changes);
        for name in &changes.removed {
            self.metrics.ingress.remove_source(name);
        }
        self.metrics.sources.loaded_at(now.as_millis() / 1000);
        self.metrics.sources.refused(false);
        changes
    }

    /// Records the errors of a set that the bridge does not use. Returns whether the errors are new. `after` is the digest of
    /// the refused files.
    pub(super) fn refuse(
        &self,
        errors: Vec<String>,
        (trigger, after): (ReloadTrigger, Option<String>),
        now: Timestamp,
    ) -> bool {
        self.metrics.sources.refused(true);
        let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
        let refused = status.refused.as_ref();
        if refused.is_some_and(|refused| refused.errors == errors) {
            return false;
        }
        self.reloads.record(ReloadView {
            at: now,
            trigger,
            before: status.digest(),
            after,
            effect: ReloadEffect::Refused(errors.clone()),
        });
        status.refused = Some(RefusedSet { since: now, errors });
        true
    }

    /// Records that the files are the files of the set in use. Returns whether the bridge had refused other files
    /// before.
    pub(super) fn confirm(&self) -> bool {
        self.metrics.sources.refused(false);
        let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
        status.refused.take().is_some()
    }

    /// Adds a source to the metrics.
    fn show_in_metrics(&self, settings: &SourceSettings) {
        let source = settings.source.name.as_str();
        let storage_quota = match settings.quota.stored_bytes {
            StorageLimit::Unlimited => None,
            StorageLimit::Bytes(bytes) => Some(bytes),
        };
        let counts = &self.metrics.ingress;
        counts.unsigned_headers(source, settings.unsigned_headers.len());
        let watched = [FINAL_PROBLEMS.as_slice(), &[STORE_FULL]].concat();
        counts.source(source, storage_quota, &watched);
    }
}

impl SetStatus {
    fn digest(&self) -> Option<String> {
        let files = self.files.as_ref();
        files.map(|files| files.digest().to_string())
    }
}

fn endpoint(
    settings: SourceSettings,
    verifier: Verifier,
    fields: FieldCounts,
    (earlier, now): (Option<SourceLimits>, Timestamp),
) -> Endpoint {
    let (brake, quota) = earlier
        .map(|earlier| (earlier.brake, earlier.quota))
        .unzip();
    let brake = brake.map_or_else(
        || SourceBrake::new(settings.brake),
        |brake| brake.with_policy(settings.brake),
    );
    let quota = quota.filter(|quota| quota.has_limits(settings.quota));
    let quota = quota.unwrap_or_else(|| Arc::new(SourceQuota::new(settings.quota, now)));
    Endpoint {
        read_headers: settings.source.read_headers(),
        fields,
        source: settings.source,
        verifier: Replaceable::new(verifier),
        allowed_origins: settings.allowed_origins,
        unsigned_headers: settings.unsigned_headers,
        quota,
        brake,
    }
}

/// Logs the warnings of the sources that are new or changed.
fn log_warnings(warnings: &[(String, Vec<String>)], changes: &SetChanges) {
    for (source, warnings) in warnings {
        if changes.added.contains(source) || changes.changed.contains(source) {
            for warning in warnings {
                tracing::warn!(source, "{warning}");
            }
        }
    }
}

impl LiveSources for RunningSources {
    fn sources(&self) -> Arc<Sources> {
        Arc::clone(self.endpoints.current().sources())
    }

    fn text(&self, source: &SourceName) -> Option<Arc<str>> {
        let status = self.status.read().unwrap_or_else(PoisonError::into_inner);
        status.texts.get(source).map(Arc::clone)
    }

    fn read_text(
        &self,
        source: &SourceName,
        text: &str,
        schemas: &BTreeMap<String, Arc<Schema>>,
    ) -> Result<Arc<Source>, Vec<String>> {
        let read = self.text_reader.read(source, text, schemas);
        read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn set(&self) -> SetView {
        let endpoints = self.endpoints.current();
        let names = endpoints.all().map(|endpoint| &endpoint.source.name);
        let status = self.status.read().unwrap_or_else(PoisonError::into_inner);
        SetView {
            digest: status.digest(),
            since: status.since,
            names: names.map(ToString::to_string).collect(),
            refused: status.refused.clone(),
        }
    }

    fn reloads(&self) -> Vec<ReloadView> {
        self.reloads.newest_first()
    }

    fn reload(&self, operator: &str) -> BoxFuture<'static, ReloadAnswer> {
        let (requests, operator) = (self.requests.clone(), operator.to_owned());
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let sent = requests.send(ReloadRequest { operator, answer }).await;
            sent.map_err(|_closed| ReloadFailure::Stopping)?;
            answered.await.unwrap_or(Err(ReloadFailure::Stopping))
        })
    }

    fn secret_files(&self, source: &str) -> Vec<SecretFileView> {
        let sources = self.secrets.current();
        let named = sources.iter().filter(|watched| watched.is_named(source));
        named.flat_map(WatchedSource::views).collect()
    }

    fn brakes(&self, now: Timestamp) -> Vec<BrakeView> {
        let endpoints = self.endpoints.current();
        let views = endpoints.all().map(|endpoint| BrakeView {
            source: endpoint.source.name.to_string(),
            state: endpoint.brake.state(now),
        });
        views.collect()
    }

    fn set_open_brakes(&self, open: &OpenBrakes) {
        self.brake_changes.fetch_add(1, Ordering::Relaxed);
        for endpoint in self.endpoints.current().all() {
            let until = open.until(&endpoint.source.name);
            endpoint.brake.set_open_until(until);
        }
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.set_open_brakes(open);
    }
}
