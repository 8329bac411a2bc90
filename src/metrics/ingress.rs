//! Metrics of the event route.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::declare::Declare;
use super::snapshot::{CountByLabel, counts};

/// Counters of the event route.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    accepted: IntCounter,
    duplicates: IntCounter,
    ignored: IntCounter,
    rejected: IntCounterVec,
    unauthenticated: IntCounterVec,
    unsigned_headers: IntGaugeVec,
    over_rate_quota: IntCounterVec,
    over_storage_quota: IntCounterVec,
    storage_quota_bytes: IntGaugeVec,
}

/// The values of [`IngressMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngressSnapshot {
    /// The number of events stored for the first time. Ignored events count too.
    pub accepted: u64,
    /// The number of repeated events: events that the store already had.
    pub duplicates: u64,
    /// The number of new events that the bridge stored as ignored, because the mapping gave nothing to send.
    pub ignored: u64,
    /// The number of rejected requests to the event route, by problem type.
    pub rejected: CountByLabel,
    /// The number of requests that failed authentication, by reason.
    pub unauthenticated: CountByLabel,
}

impl IngressMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            accepted: declare.counter("accepted_total", "Events stored for the first time.")?,
            duplicates: declare.counter(
                "duplicates_total",
                "Events received again with the same content.",
            )?,
            ignored: declare.counter(
                "ignored_total",
                "Events stored for the first time with nothing to send, by their mapping.",
            )?,
            rejected: declare.counters(
                "refused_total",
                "Rejected requests, by problem type.",
                "problem",
            )?,
            unauthenticated: declare.counters(
                "unauthenticated_total",
                "Requests that failed authentication, by reason.",
                "reason",
            )?,
            unsigned_headers: declare.gauges(
                "unsigned_headers",
                "Headers of binary mode that a source's signature need not cover, by source.",
                "source",
            )?,
            over_rate_quota: declare.counters(
                "over_rate_quota_total",
                "Requests refused because the source sends more events than its quota, by source.",
                "source",
            )?,
            over_storage_quota: declare.counters(
                "over_storage_quota_total",
                "Requests refused because of the bytes of the source in the store, by source.",
                "source",
            )?,
            storage_quota_bytes: declare.gauges(
                "storage_quota_bytes",
                "Most bytes that the unfinished events of a source may have in the store, by source; absent without a quota.",
                "source",
            )?,
        })
    }

    /// Counts an event that the bridge stored for the first time.
    pub fn accepted(&self) {
        self.accepted.inc();
    }

    /// Counts a repeated event: an event that the store already had.
    pub fn duplicate(&self) {
        self.duplicates.inc();
    }

    /// Counts a new event that sends nothing. The caller must call [`Self::accepted`] for this event too.
    pub fn ignored(&self) {
        self.ignored.inc();
    }

    /// Counts a rejected request to the event route.
    pub fn rejected(&self, problem: &'static str) {
        self.rejected.with_label_values(&[problem]).inc();
    }

    /// Counts a request that failed authentication.
    pub fn unauthenticated(&self, reason: &'static str) {
        self.unauthenticated.with_label_values(&[reason]).inc();
    }

    /// Reports the number of headers that the signature of a source need not cover.
    pub fn unsigned_headers(&self, source: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unsigned_headers
            .with_label_values(&[source])
            .set(count);
    }

    /// Reports a source, so that the page shows the counters of the source from the start. `storage_quota_bytes` is
    /// `None` if the source has no storage quota.
    pub fn source(&self, source: &str, storage_quota_bytes: Option<u64>) {
        self.over_rate_quota.with_label_values(&[source]);
        self.over_storage_quota.with_label_values(&[source]);
        if let Some(bytes) = storage_quota_bytes {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.storage_quota_bytes
                .with_label_values(&[source])
                .set(bytes);
        }
    }

    /// Counts a request that a source's rate quota refused.
    pub fn over_rate_quota(&self, source: &str) {
        self.over_rate_quota.with_label_values(&[source]).inc();
    }

    /// Counts a request that a source's storage quota refused.
    pub fn over_storage_quota(&self, source: &str) {
        self.over_storage_quota.with_label_values(&[source]).inc();
    }

    /// Returns the current values of the ingress metrics.
    pub fn snapshot(&self) -> IngressSnapshot {
        IngressSnapshot {
            accepted: self.accepted.get(),
            duplicates: self.duplicates.get(),
            ignored: self.ignored.get(),
            rejected: counts(&self.rejected),
            unauthenticated: counts(&self.unauthenticated),
        }
    }
}
