//! Metrics of the store: gauges that `ops` sets before each read of the metrics.

use std::time::Duration;

use prometheus::{IntGauge, IntGaugeVec};

use super::LabelSets;
use super::declare::Declare;

/// Gauges of the store.
#[derive(Clone, Debug)]
pub(super) struct StoreMetrics {
    waiting: IntGauge,
    parked: IntGauge,
    undecided: IntGauge,
    oldest_waiting_seconds: IntGauge,
    stored_bytes: IntGaugeVec,
    condition: IntGaugeVec,
    conditions: &'static [&'static str],
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
    /// The age of the oldest waiting entry, or zero if no entry waits.
    pub oldest_waiting: Duration,
}

impl StoreMetrics {
    pub(super) fn new(declare: &Declare<'_>, labels: LabelSets) -> prometheus::Result<Self> {
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
            oldest_waiting_seconds: declare.gauge(
                "oldest_waiting_seconds",
                "Age of the oldest waiting entry in seconds; 0 if no entry waits.",
            )?,
            stored_bytes: declare.gauges(
                "stored_bytes",
                "Bytes in the store of events that are not yet delivered or otherwise finished, by source.",
                "source",
            )?,
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
        self.oldest_waiting_seconds
            .set(to_gauge(depth.oldest_waiting.as_secs()));
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
            oldest_waiting: Duration::from_secs(from_gauge(&self.oldest_waiting_seconds)),
        }
    }
}

fn to_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn from_gauge(gauge: &IntGauge) -> u64 {
    u64::try_from(gauge.get()).unwrap_or_default()
}
