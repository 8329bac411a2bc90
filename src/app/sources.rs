//! The sources of the running bridge: an endpoint with secrets for the event listener, and a mapping for intake.
//!
//! The bridge replaces all sources together while it runs. A request uses the set with which it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::removed_sources::{RemovedSources, SourceLimits};
use super::secrets::{LoadedAuth, WatchedSource};
use super::source_order::SourceOrders;
use super::weakening::report_sources;
use crate::config::Profile;
use crate::config::source_set::SourceSet;
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
    BrakeView, LiveSources, RefusedSet, ReloadFailure, ReloadResult, SetChanges, SetView,
};
use crate::time::Timestamp;

/// The maximum number of operators who wait for a reload. The bridge reloads for one operator after the other.
const RELOADS_WAITING_MAX: usize = 4;

/// The receiver of the operators' requests to reload. The bridge answers each request with the result.
pub(super) type ReloadRequests = mpsc::Receiver<oneshot::Sender<ReloadAnswer>>;

/// The answer to an operator's request to reload.
pub(super) type ReloadAnswer = Result<ReloadResult, ReloadFailure>;

/// A set of sources whose secrets the bridge has read.
pub(super) struct LoadedSet {
    files: Option<SourceFiles>,
    sources: Vec<(SourceSettings, LoadedAuth)>,
    drafts: Vec<String>,
}

impl LoadedSet {
    /// Reads the secret files of all sources of a set. A file of a source in use keeps its state. `orders` are the orders of
    /// the earlier events.
    ///
    /// # Errors
    /// Returns a sentence for each source whose secrets cannot be used, and for each source in use whose file is now a
    /// draft, and for each source whose file gives its events another order. The bridge would answer the senders of a draft with 404.
    pub(super) fn load(
        set: SourceSet,
        profile: Profile,
        (used, orders): (&[WatchedSource], &SourceOrders),
        now: Timestamp,
    ) -> Result<Self, Vec<String>> {
        let mut sources = Vec::new();
        let is_used = |name: &&String| used.iter().any(|source| source.is_named(name));
        let stopped = set.drafts.iter().filter(is_used);
        let mut errors: Vec<String> = stopped.map(|name| stops_source(name)).collect();
        for settings in set.sources {
            let name = settings.source.name.as_str();
            let earlier = used.iter().find(|source| source.is_named(name));
            errors.extend(orders.errors(&settings.source));
            match LoadedAuth::of(&settings, profile, earlier, now) {
                Ok(loaded) => sources.push((settings, loaded)),
                Err(error) => errors.push(format!("source {name}: {error}")),
            }
        }
        let loaded = Self {
            files: set.files.ok(),
            sources,
            drafts: set.drafts,
        };
        errors.is_empty().then_some(loaded).ok_or(errors)
    }

    /// Returns the orders that the files give to the events.
    pub(super) fn orders(&self) -> SourceOrders {
        SourceOrders::of(self.sources.iter().map(|(settings, _)| settings))
    }
}

/// The sources that the bridge uses now.
pub(super) struct RunningSources {
    endpoints: Arc<Replaceable<Endpoints>>,
    secrets: Arc<Replaceable<Vec<WatchedSource>>>,
    intake: IntakeSettings,
    text_reader: SourceTextReader,
    metrics: Metrics,
    /// Each use locks the status only to read or to change it, and never across an await.
    status: RwLock<SetStatus>,
    requests: mpsc::Sender<oneshot::Sender<ReloadAnswer>>,
    /// Only [`Self::replace`] uses the removed sources, and never across an await.
    removed: Mutex<RemovedSources>,
    /// The number of calls of [`LiveSources::set_open_brakes`].
    brake_changes: AtomicU64,
}

struct SetStatus {
    files: Option<SourceFiles>,
    /// The texts of the source files, by source.
    texts: BTreeMap<SourceName, Arc<str>>,
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
            requests,
            removed: Mutex::default(),
            brake_changes: AtomicU64::new(0),
        };
        running.replace(loaded, now);
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

    /// Uses the loaded set for all later requests.
    pub(super) fn replace(&self, loaded: LoadedSet, now: Timestamp) -> SetChanges {
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

    /// Records the errors of a set that the bridge does not use. Returns whether the errors are new.
    pub(super) fn refuse(&self, errors: Vec<String>, now: Timestamp) -> bool {
        self.metrics.sources.refused(true);
        let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
        let refused = status.refused.as_ref();
        if refused.is_some_and(|refused| refused.errors == errors) {
            return false;
        }
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
        counts.source(source, storage_quota, &FINAL_PROBLEMS);
    }
}

/// Returns the error of a draft in the place of a source in use.
fn stops_source(name: &str) -> String {
    format!(
        "source {name}: the bridge uses this source, and its file is now a draft: remove the line draft = true, or remove the file to stop the source"
    )
}

/// Returns the texts of the source files, by source.
fn texts(sources: &[(SourceSettings, LoadedAuth)]) -> BTreeMap<SourceName, Arc<str>> {
    let texts = sources.iter().filter_map(|(settings, _)| {
        let text = settings.text.as_ref()?;
        Some((settings.source.name.clone(), Arc::clone(text)))
    });
    texts.collect()
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

/// Compares two sets of sources by the digests of their files.
fn changes(
    old: (&Endpoints, Option<&SourceFiles>),
    new: (&Endpoints, Option<&SourceFiles>),
) -> SetChanges {
    let names = |endpoints: &Endpoints| -> BTreeSet<String> {
        let names = endpoints.all().map(|endpoint| &endpoint.source.name);
        names.map(ToString::to_string).collect()
    };
    let (before, after) = (names(old.0), names(new.0));
    let is_changed = |endpoint: &&Arc<Endpoint>| {
        let digests = [
            (old.1, old.0.get(&endpoint.source.name)),
            (new.1, Some(*endpoint)),
        ]
        .map(|(files, endpoint)| Some(files?.digest_of(&endpoint?.source)));
        let [old, new] = digests;
        old.is_none() || old != new
    };
    let changed = new.0.all().filter(is_changed);
    let changed = changed.map(|endpoint| endpoint.source.name.to_string());
    SetChanges {
        changed: changed.filter(|name| before.contains(name)).collect(),
        added: after.difference(&before).cloned().collect(),
        removed: before.difference(&after).cloned().collect(),
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
            digest: status
                .files
                .as_ref()
                .map(|files| files.digest().to_string()),
            since: status.since,
            names: names.map(ToString::to_string).collect(),
            refused: status.refused.clone(),
        }
    }

    fn reload(&self) -> BoxFuture<'static, ReloadAnswer> {
        let requests = self.requests.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let sent = requests.send(answer).await;
            sent.map_err(|_closed| ReloadFailure::Stopping)?;
            answered.await.unwrap_or(Err(ReloadFailure::Stopping))
        })
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
    }
}
