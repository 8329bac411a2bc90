//! Declares all metrics of the process, with their help texts.
//!
//! Prometheus scrapes the text page ([`Metrics::page`]). Code in this process reads the typed [`Metrics::snapshot`].
//! Most label values are `&'static str`: they come from fixed sets in the program, never from requests. Other modules
//! count with the methods of these types, such as [`IngressMetrics`].

use std::sync::Arc;

use prometheus::{Registry, TextEncoder};

use self::database::DatabaseMetrics;
use self::declare::Declare;
use self::ignored::IgnoredEntries;
use self::sealing::SealingMetrics;
use self::store::StoreMetrics;

mod admin;
mod database;
mod declare;
mod dispatch;
mod ignored;
mod ingress;
mod log;
mod notices;
mod read_counter;
mod sample;
mod sealing;
mod secrets;
mod snapshot;
mod sources;
mod store;
mod traces;
mod weakened;

pub use admin::{AdminMetrics, AdminSnapshot};
pub use database::DatabaseSnapshot;
pub use declare::MetricRow;
pub use dispatch::{DispatchMetrics, DispatchSnapshot};
pub use ingress::{CLOCK_DIFFERENCE_MAX_SECONDS, FieldCounters, IngressMetrics, IngressSnapshot};
pub use log::LogCounters;
pub use notices::NoticeMetrics;
pub use sample::{Labels, SeriesValue};
pub use sealing::SealingSnapshot;
pub use secrets::{SecretKind, SecretMetrics};
pub use snapshot::{CountByLabel, Distribution};
pub use sources::SourcesMetrics;
pub use store::{StoreSizes, StoreSnapshot};
pub use traces::TraceMetrics;
pub use weakened::WeakenedMetrics;

/// Label values that other modules define. The metrics page shows these label values with 0 before the first count.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelSets {
    /// The states of the destination (Imprint). The first state is the state at the start of the process.
    pub destination_states: &'static [&'static str],
    /// The modes that an operator can set for the destination. The first mode is the mode at the start of the process.
    pub destination_modes: &'static [&'static str],
    /// The reasons for which a request fails authentication.
    pub denials: &'static [&'static str],
    /// The final states of entries.
    pub end_states: &'static [&'static str],
    /// The reasons for ignoring an entry.
    pub ignore_reasons: &'static [&'static str],
    /// The reasons for parking an entry.
    pub park_reasons: &'static [&'static str],
    /// The conditions of the store. The first condition is the condition at the start of the process.
    pub store_conditions: &'static [&'static str],
    /// The weakenings of the protection.
    pub weakenings: &'static [&'static str],
}

/// All metrics, and the registry that prints the metrics page. All clones share the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    rows: Arc<[MetricRow]>,
    /// The metrics of the event listener.
    pub ingress: IngressMetrics,
    /// The metrics of delivery to Imprint.
    pub dispatch: DispatchMetrics,
    /// The metrics of the admin API.
    pub admin: AdminMetrics,
    /// The metrics of the notices.
    pub notices: NoticeMetrics,
    /// The metrics of the secret files.
    pub secrets: SecretMetrics,
    /// The metrics of the set of sources.
    pub sources: SourcesMetrics,
    /// The metrics of the export of traces.
    pub traces: TraceMetrics,
    /// The metric of the weakenings of the protection.
    pub weakened: WeakenedMetrics,
    store: StoreMetrics,
    database: DatabaseMetrics,
    sealing: SealingMetrics,
}

/// All metric values at about the same time. The reads of two values can be some microseconds apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    pub ingress: IngressSnapshot,
    pub dispatch: DispatchSnapshot,
    pub admin: AdminSnapshot,
    /// The numbers of entries in the store, as the latest call of [`Metrics::store_depth`] set them.
    pub store: StoreSnapshot,
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Errors
    /// Returns an error if a metric name is not valid, or if two metrics have the same name.
    pub fn new(labels: LabelSets, log: LogCounters) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let declare = Declare::new(&registry);
        // The process collector reports CPU, memory and file descriptors under the usual metric names.
        let process = prometheus::process_collector::ProcessCollector::for_self();
        declare.collector(process)?;
        log::declare(&declare, log)?;
        let ignored = IgnoredEntries::new(&declare, labels)?;
        let ingress = IngressMetrics::new(&declare, labels, ignored.clone())?;
        let dispatch = DispatchMetrics::new(&declare, labels, ignored)?;
        let admin = AdminMetrics::new(&declare)?;
        let notices = NoticeMetrics::new(&declare)?;
        let secrets = SecretMetrics::new(&declare)?;
        let sources = SourcesMetrics::new(&declare)?;
        let traces = TraceMetrics::new(&declare)?;
        let weakened = WeakenedMetrics::new(&declare, labels)?;
        let store = StoreMetrics::new(&declare, labels)?;
        let database = DatabaseMetrics::new(&declare)?;
        let sealing = SealingMetrics::new(&declare)?;
        let build = declare.gauges(
            "build_info",
            "1, with the version of the bridge.",
            "version",
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            rows: declare.into_rows().into(),
            registry,
            ingress,
            dispatch,
            admin,
            notices,
            secrets,
            sources,
            traces,
            weakened,
            store,
            database,
            sealing,
        })
    }

    /// Returns the metrics page in the text format of Prometheus.
    pub fn page(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    /// Returns the declarations of all metrics, sorted by name.
    pub fn rows(&self) -> &[MetricRow] {
        &self.rows
    }

    /// Returns the current metric values as typed data, for callers in this process.
    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            ingress: self.ingress.snapshot(),
            dispatch: self.dispatch.snapshot(),
            admin: self.admin.snapshot(),
            store: self.store.snapshot(),
        }
    }

    /// Sets the metric that shows the condition of the store.
    pub fn store_condition(&self, condition: &'static str) {
        self.store.set_condition(condition);
    }

    /// Sets the gauges for the sealing of the store.
    pub fn sealing(&self, sealing: SealingSnapshot) {
        self.sealing.set(sealing);
    }

    /// Sets the gauge that shows whether the bridge could read the files of the sealing keys.
    pub fn sealing_keys_unreadable(&self, is_unreadable: bool) {
        self.sealing.set_unreadable(is_unreadable);
    }

    /// Sets the gauges for the entries in the store. The caller must call `store_depth` before each read of the
    /// metrics, because nothing else sets these gauges.
    pub fn store_depth(&self, depth: StoreSnapshot) {
        self.store.set(depth);
    }

    /// Sets the sizes of the store and the counts of its commits. The caller must call `store_sizes` before each read of
    /// the page.
    pub fn store_sizes(&self, sizes: StoreSizes) {
        self.store.set_sizes(sizes);
    }

    /// Sets the figures of the database. The caller must call `database` before each read of the metrics.
    pub fn database(&self, database: DatabaseSnapshot) {
        self.database.set(database);
    }

    /// Sets the gauge of the bytes that the unfinished events of a source take in the store.
    pub fn stored_bytes(&self, source: &str, bytes: u64) {
        self.store.set_stored_bytes(source, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LABELS: LabelSets = LabelSets {
        destination_states: &["flowing", "stopped"],
        destination_modes: &["open", "paused"],
        denials: &["missing"],
        end_states: &["delivered", "ignored"],
        ignore_reasons: &["condition", "unknown_customer"],
        park_reasons: &["rejected", "version_jump"],
        store_conditions: &["working", "stalled"],
        weakenings: &["open_door", "open_window"],
    };

    const LOG: LogCounters = LogCounters {
        dropped: || 3,
        left_out: || 4,
    };

    /// Returns metrics with a value of each kind.
    fn filled() -> Metrics {
        let metrics = Metrics::new(LABELS, LOG).unwrap();
        metrics.ingress.accepted("crm", 1, 2, 1_700_000_001);
        metrics
            .dispatch
            .attempt("applied", 3, Duration::from_millis(4));
        metrics.dispatch.ended("delivered");
        metrics.dispatch.parked("rejected");
        metrics.ingress.ignored("condition");
        metrics.dispatch.ignored("condition");
        metrics.dispatch.destination_state("stopped");
        metrics.dispatch.destination_mode("paused");
        metrics.dispatch.delivered_at(1_700_000_000);
        metrics.admin.denied("missing");
        metrics.store_depth(StoreSnapshot {
            waiting: 5,
            parked: 1,
            undecided: 2,
            held: 4,
            oldest_waiting: Duration::from_secs(9),
        });
        let page = metrics.page();
        assert!(!page.contains("store_free_bytes "), "not known yet");
        metrics.store_sizes(StoreSizes {
            free_bytes: Some(7),
            commits: 2,
            commands: 6,
            commit_time: Duration::from_millis(2500),
            ..StoreSizes::default()
        });
        metrics.dispatch.unproven();
        metrics.store_condition("stalled");
        metrics.weakened.show("open_door", true);
        metrics
    }

    #[test]
    fn a_snapshot_has_the_values() {
        let metrics = filled();
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.ingress.accepted, 1);
        assert_eq!(snapshot.ingress.ignored["condition"], 2);
        assert_eq!(snapshot.dispatch.attempts["applied"], 1);
        assert_eq!(snapshot.dispatch.request_entries.count, 1);
        assert_eq!(snapshot.dispatch.request_seconds["applied"].count, 1);
        assert_eq!(snapshot.dispatch.ended["delivered"], 1);
        assert_eq!(snapshot.dispatch.ended["ignored"], 0);
        assert_eq!(snapshot.dispatch.parked["rejected"], 1);
        assert_eq!(snapshot.dispatch.destination_state, "stopped");
        assert_eq!(
            snapshot.dispatch.last_delivered_at_seconds,
            Some(1_700_000_000)
        );
        assert_eq!(snapshot.admin.denied["missing"], 1);
        assert_eq!((snapshot.store.waiting, snapshot.store.parked), (5, 1));
        assert_eq!(snapshot.store.oldest_waiting, Duration::from_secs(9));
        assert_eq!(metrics.weakened.present(), ["open_door"]);
    }

    /// FAULTS N1541: an alert sees only the increase of a series that it knows.
    #[test]
    fn the_page_has_the_values() {
        let page = filled().page();
        for line in [
            "imprint_bridge_accepted_total{source=\"crm\"} 1",
            "imprint_bridge_duplicates_total{source=\"crm\"} 2",
            "imprint_bridge_last_event_timestamp_seconds{source=\"crm\"} 1700000001",
            "imprint_bridge_attempts_total{outcome=\"applied\"} 1",
            "imprint_bridge_parked_total{reason=\"rejected\"} 1",
            "imprint_bridge_parked_total{reason=\"version_jump\"} 0",
            "imprint_bridge_unauthenticated_total{reason=\"missing\"} 0",
            "imprint_bridge_ended_total{state=\"ignored\"} 0",
            "imprint_bridge_ignored_total{reason=\"condition\"} 2",
            "imprint_bridge_ignored_total{reason=\"unknown_customer\"} 0",
            "imprint_bridge_destination_state{state=\"stopped\"} 1",
            "imprint_bridge_destination_mode{mode=\"open\"} 0",
            "imprint_bridge_destination_mode{mode=\"paused\"} 1",
            "imprint_bridge_oldest_waiting_seconds 9",
            "imprint_bridge_undecided_entries 2",
            "imprint_bridge_held_entries 4",
            "imprint_bridge_store_free_bytes 7",
            "imprint_bridge_store_commits_total 2",
            "imprint_bridge_store_commit_commands_total 6",
            "imprint_bridge_store_commit_seconds_total 2.5",
            concat!(
                "imprint_bridge_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "imprint_bridge_unproven_total 1",
            "# TYPE imprint_bridge_log_lines_dropped_total counter",
            "imprint_bridge_log_lines_dropped_total 3",
            "imprint_bridge_log_lines_left_out_total 4",
            "imprint_bridge_store_condition{condition=\"working\"} 0",
            "imprint_bridge_store_condition{condition=\"stalled\"} 1",
            "imprint_bridge_weakened{weakening=\"open_door\"} 1",
            "imprint_bridge_weakened{weakening=\"open_window\"} 0",
        ] {
            assert!(page.lines().any(|printed| printed == line), "{line}");
        }
    }

    #[test]
    fn before_anything_was_counted_the_first_destination_state_is_shown() {
        let snapshot = Metrics::new(LABELS, LOG).unwrap().snapshot();
        assert_eq!(snapshot.dispatch.destination_state, "flowing");
        assert_eq!(snapshot.dispatch.last_delivered_at_seconds, None);
    }
}
