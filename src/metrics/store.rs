//! Metrics of the store: gauges that `ops` sets before each read of the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{IntGauge, IntGaugeVec};

use super::LabelSets;
use super::declare::Declare;
use super::read_counter::to_value;

/// Gauges of the store.
#[derive(Clone, Debug)]
pub(super) struct StoreMetrics {
    waiting: IntGauge,
    parked: IntGauge,
    undecided: IntGauge,
    held: IntGauge,
    oldest_waiting_seconds: IntGauge,
    stored_bytes: IntGaugeVec,
    /// One gauge each without labels, and without a series until the size is known: a size of 0 would raise alerts.
    file_bytes: IntGaugeVec,
    log_bytes: IntGaugeVec,
    free_bytes: IntGaugeVec,
    commits: Arc<CommitCounts>,
    condition: IntGaugeVec,
    conditions: &'static [&'static str],
}

/// The counts of the commits, as the store last counted them.
#[derive(Debug, Default)]
struct CommitCounts {
    commits: AtomicU64,
    commands: AtomicU64,
    micros: AtomicU64,
}

/// The size of the store on its disk in bytes, and the commits since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSizes {
    pub file_bytes: Option<u64>,
    pub log_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    pub commits: u64,
    pub commands: u64,
    pub commit_time: Duration,
}

/// The numbers of unfinished entries in the store, and the age of the oldest waiting entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSnapshot {
    /// The number of entries that wait for delivery.
    pub waiting: u64,
    /// The number of parked entries.
    pub parked: u64,
    /// The number of undecided entries.
    pub undecided: u64,
    /// The number of held entries.
    pub held: u64,
    /// The age of the oldest waiting entry, or zero if no entry waits.
    pub oldest_waiting: Duration,
}

impl StoreMetrics {
    pub(super) fn new(declare: &Declare<'_>, labels: LabelSets) -> prometheus::Result<Self> {
        let size = |name, help| declare.optional_gauge(name, help);
        let metrics = Self {
            waiting: declare.gauge("waiting_entries", "Entries waiting for delivery.")?,
            parked: declare.gauge(
                "parked_entries",
                "Entries parked until an operator decides.",
            )?,
            undecided: declare.gauge(
                "undecided_entries",
                "Entries that failed for a long time for an unknown reason, until an operator decides.",
            )?,
            held: declare.gauge(
                "held_entries",
                "Entries of a mass change, held until an operator decides.",
            )?,
            oldest_waiting_seconds: declare.gauge(
                "oldest_waiting_seconds",
                "Age of the oldest waiting entry in seconds; 0 if no entry waits.",
            )?,
            stored_bytes: declare.gauges(
                "stored_bytes",
                "Bytes in the store of events that are not yet delivered or otherwise finished, by source.",
                "source",
            )?,
            file_bytes: size("store_file_bytes", "Size of the store file in bytes.")?,
            log_bytes: size(
                "store_log_bytes",
                "Size of the write-ahead log of the store in bytes.",
            )?,
            free_bytes: size(
                "store_free_bytes",
                "Free space of the disk that contains the store, in bytes.",
            )?,
            commits: declare_commits(declare)?,
            condition: declare.gauges(
                "store_condition",
                "1 for the current condition of the store, 0 for all others. Only a working store accepts events.",
                "condition",
            )?,
            conditions: labels.store_conditions,
        };
        metrics.set_condition(labels.store_conditions.first().copied().unwrap_or_default());
        Ok(metrics)
    }

    pub(super) fn set_condition(&self, present: &str) {
        for condition in self.conditions {
            let gauge = self.condition.with_label_values(&[*condition]);
            gauge.set(i64::from(*condition == present));
        }
    }

    pub(super) fn set(&self, depth: StoreSnapshot) {
        self.waiting.set(to_gauge(depth.waiting));
        self.parked.set(to_gauge(depth.parked));
        self.undecided.set(to_gauge(depth.undecided));
        self.held.set(to_gauge(depth.held));
        self.oldest_waiting_seconds
            .set(to_gauge(depth.oldest_waiting.as_secs()));
    }

    pub(super) fn set_sizes(&self, sizes: StoreSizes) {
        let gauges = [
            (&self.file_bytes, sizes.file_bytes),
            (&self.log_bytes, sizes.log_bytes),
            (&self.free_bytes, sizes.free_bytes),
        ];
        for (gauge, bytes) in gauges {
            if let Some(bytes) = bytes {
                gauge.with_label_values::<&str>(&[]).set(to_gauge(bytes));
            }
        }
        let micros = u64::try_from(sizes.commit_time.as_micros()).unwrap_or(u64::MAX);
        self.commits.commits.store(sizes.commits, Ordering::Relaxed);
        self.commits
            .commands
            .store(sizes.commands, Ordering::Relaxed);
        self.commits.micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn set_stored_bytes(&self, source: &str, bytes: u64) {
        let gauge = self.stored_bytes.with_label_values(&[source]);
        gauge.set(to_gauge(bytes));
    }

    pub(super) fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot {
            waiting: from_gauge(&self.waiting),
            parked: from_gauge(&self.parked),
            undecided: from_gauge(&self.undecided),
            held: from_gauge(&self.held),
            oldest_waiting: Duration::from_secs(from_gauge(&self.oldest_waiting_seconds)),
        }
    }
}

fn declare_commits(declare: &Declare<'_>) -> prometheus::Result<Arc<CommitCounts>> {
    let counts = Arc::new(CommitCounts::default());
    let counted = || Arc::clone(&counts);
    let (commits, commands, micros) = (counted(), counted(), counted());
    declare.read_counter(
        "store_commits_total",
        "Commits of the store for events and settlements.",
        move || to_value(commits.commits.load(Ordering::Relaxed)),
    )?;
    declare.read_counter(
        "store_commit_commands_total",
        "Appends and settlements in the commits of the store; divided by the commits: the size of a commit.",
        move || to_value(commands.commands.load(Ordering::Relaxed)),
    )?;
    declare.read_counter(
        "store_commit_seconds_total",
        "Duration of the commits of the store in seconds; divided by the commits: the duration of a commit.",
        move || to_value(micros.micros.load(Ordering::Relaxed)) / 1_000_000.0,
    )?;
    Ok(counts)
}

fn to_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn from_gauge(gauge: &IntGauge) -> u64 {
    u64::try_from(gauge.get()).unwrap_or_default()
}
