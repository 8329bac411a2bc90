//! Metrics of the event listener.

use std::collections::BTreeMap;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::LabelSets;
use super::declare::Declare;
use super::ignored::IgnoredEntries;
use super::snapshot::{CountByLabel, counts, counts_by, gauges};

/// The labels of the counter of rejected requests.
const PROBLEM: &str = "problem";
const SOURCE: &str = "source";
const HELD: &str = "Entries that the mass-change brake held when they arrived, by source.";
const UNSIGNED_HEADERS: &str = "Headers that the bridge believes although the source's signature does not cover them, by source.";

/// The maximum difference between the clocks of the processes that share a store. A later time comes from a wrong clock.
pub const CLOCK_DIFFERENCE_MAX_SECONDS: i64 = 60;

/// Counters and gauges of the event listener.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    accepted: IntCounterVec,
    duplicates: IntCounterVec,
    last_event_at: IntGaugeVec,
    ignored: IgnoredEntries,
    empty: IntCounterVec,
    invalid: IntCounterVec,
    held: IntCounterVec,
    skipped_fields: IntCounterVec,
    rejected: IntCounterVec,
    unauthenticated: IntCounterVec,
    unsigned_headers: IntGaugeVec,
    over_rate_quota: IntCounterVec,
    over_storage_quota: IntCounterVec,
    storage_quota_bytes: IntGaugeVec,
    unlisted_phones: IntCounterVec,
    field_values: IntCounterVec,
}

/// The counters of one field of a source.
#[derive(Clone, Debug)]
pub struct FieldCounters {
    set: IntCounter,
    cleared: IntCounter,
}

impl FieldCounters {
    /// Counts a new event that sets or clears the field.
    pub fn count(&self, is_cleared: bool) {
        let counter = if is_cleared { &self.cleared } else { &self.set };
        counter.inc();
    }
}

/// The values of [`IngressMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngressSnapshot {
    /// The number of events that the bridge stored for the first time, including ignored events.
    pub accepted: u64,
    /// The same number by source.
    pub accepted_by_source: CountByLabel,
    /// The time of the last accepted event, new or received again, in seconds since the Unix epoch, by source.
    pub last_event_at: BTreeMap<String, i64>,
    /// The number of repeated events. The store already contained an event with the same id and the same content.
    pub duplicates: u64,
    /// The number of entries that the bridge ignored when they arrived or later, by reason.
    pub ignored: CountByLabel,
    /// The number of accepted requests that contain no event.
    pub empty: u64,
    /// The number of rejected requests to the event listener, by problem type.
    pub rejected: CountByLabel,
    /// The number of requests that failed authentication, by reason.
    pub unauthenticated: CountByLabel,
}

impl IngressMetrics {
    pub(super) fn new(
        declare: &Declare<'_>,
        labels: LabelSets,
        ignored: IgnoredEntries,
    ) -> prometheus::Result<Self> {
        let by_source = |name, help| declare.counters(name, help, "source");
        Ok(Self {
            accepted: by_source("accepted_total", "Events stored for the first time, by source.")?,
            duplicates: by_source(
                "duplicates_total",
                "Events received again with the same content, by source.",
            )?,
            last_event_at: declare_last_event_at(declare)?,
            ignored,
            empty: by_source(
                "empty_requests_total",
                "Accepted requests without an event, by source: the body has an empty list, or body.split skips all of it.",
            )?,
            invalid: by_source(
                "parked_invalid_total",
                "Events parked because they are invalid, by source; only for sources that park invalid events.",
            )?,
            held: by_source("held_total", HELD)?,
            skipped_fields: by_source(
                "skipped_fields_total",
                "Fields that updates leave out because their values are invalid, by source; only fields with on_invalid = skip.",
            )?,
            rejected: declare.labelled_counters(
                "refused_total",
                "Rejected requests, by problem type and source; the source is empty if the path of the request names no configured source.",
                &[PROBLEM, SOURCE],
            )?,
            unauthenticated: declare_unauthenticated(declare, labels)?,
            unsigned_headers: declare.gauges("unsigned_headers", UNSIGNED_HEADERS, SOURCE)?,
            over_rate_quota: by_source(
                "over_rate_quota_total",
                "Requests refused because the source sends more events than its quota, by source.",
            )?,
            over_storage_quota: by_source(
                "over_storage_quota_total",
                "Requests refused because the source's events take too many bytes in the store, by source.",
            )?,
            storage_quota_bytes: declare.gauges(
                "storage_quota_bytes",
                "Maximum number of bytes that a source's unfinished events can take in the store, by source; absent without a quota.",
                "source",
            )?,
            unlisted_phones: by_source(
                "unlisted_phones_total",
                "Events accepted with a phone number that is possible in the North American Numbering Plan but not in the numbering tables of this build, by source.",
            )?,
            field_values: declare_field_values(declare)?,
        })
    }

    /// Counts the accepted events of a request: `new` events that the bridge stored for the first time, and `duplicates`
    /// with the same id and the same content as an event in the store. `at` is the current time in seconds since the Unix
    /// epoch.
    pub fn accepted(&self, source: &str, new: usize, duplicates: usize, at: i64) {
        let counts = [(&self.accepted, new), (&self.duplicates, duplicates)];
        for (counter, events) in counts.into_iter().filter(|(_, events)| *events > 0) {
            let events = u64::try_from(events).unwrap_or(u64::MAX);
            counter.with_label_values(&[source]).inc_by(events);
        }
        let last = self.last_event_at.with_label_values(&[source]);
        // Another process with the same store, whose clock is a little ahead, has possibly seen a later event.
        if !(at..=at.saturating_add(CLOCK_DIFFERENCE_MAX_SECONDS)).contains(&last.get()) {
            last.set(at);
        }
    }

    /// Sets the time of the last event of a source, in seconds since the Unix epoch, as another process has stored it. Returns
    /// whether the time is newer than the time of this process.
    pub fn last_event(&self, source: &str, at: i64) -> bool {
        let last = self.last_event_at.with_label_values(&[source]);
        let is_newer = last.get() < at;
        if is_newer {
            last.set(at);
        }
        is_newer
    }

    /// Counts a new event for which the bridge sends nothing. The caller must also count this event with
    /// [`Self::accepted`].
    pub fn ignored(&self, reason: &'static str) {
        self.ignored.count(reason);
    }

    /// Counts an accepted request that contains no event, such as an empty batch.
    pub fn empty(&self, source: &str) {
        self.empty.with_label_values(&[source]).inc();
    }

    /// Counts new events of a source that the bridge parked because they are invalid. The caller must also count
    /// these events with [`Self::accepted`].
    pub fn invalid(&self, source: &str, events: usize) {
        self.invalid
            .with_label_values(&[source])
            .inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// Counts new entries of a source that the mass-change brake holds. The caller must also count these entries with
    /// [`Self::accepted`].
    pub fn held(&self, source: &str, entries: usize) {
        if entries > 0 {
            self.held
                .with_label_values(&[source])
                .inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
        }
    }

    /// Counts the fields that the updates of new events leave out because their values are invalid.
    pub fn skipped_fields(&self, source: &str, fields: usize) {
        if fields == 0 {
            return;
        }
        self.skipped_fields
            .with_label_values(&[source])
            .inc_by(u64::try_from(fields).unwrap_or(u64::MAX));
    }

    /// Returns the counters of a field that the source maps. The metrics page shows the counters from now on, also when
    /// they are 0.
    pub fn field(&self, source: &str, field: &str) -> FieldCounters {
        let counter = |value| self.field_values.with_label_values(&[source, field, value]);
        FieldCounters {
            set: counter("set"),
            cleared: counter("cleared"),
        }
    }

    /// Counts a rejected request to the event listener. `source` is empty if the request names no configured source.
    pub fn rejected(&self, problem: &'static str, source: &str) {
        self.rejected.with_label_values(&[problem, source]).inc();
    }

    /// Counts a request that failed authentication.
    pub fn unauthenticated(&self, reason: &'static str) {
        self.unauthenticated.with_label_values(&[reason]).inc();
    }

    /// Sets the number of headers that the bridge believes although the source's signature does not cover them.
    pub fn unsigned_headers(&self, source: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unsigned_headers
            .with_label_values(&[source])
            .set(count);
    }

    /// Adds a source to the metrics, so that the metrics page shows the source's counters from the start.
    /// `storage_quota_bytes` is `None` if the source has no storage quota. `problems` are the problem types of which an
    /// alert must see the first refusal.
    pub fn source(
        &self,
        source: &str,
        storage_quota_bytes: Option<u64>,
        problems: &[&'static str],
    ) {
        for problem in problems {
            self.rejected.with_label_values(&[problem, source]);
        }
        self.accepted.with_label_values(&[source]);
        self.duplicates.with_label_values(&[source]);
        self.invalid.with_label_values(&[source]);
        self.held.with_label_values(&[source]);
        self.skipped_fields.with_label_values(&[source]);
        self.over_rate_quota.with_label_values(&[source]);
        self.over_storage_quota.with_label_values(&[source]);
        self.unlisted_phones.with_label_values(&[source]);
        self.empty.with_label_values(&[source]);
        if let Some(bytes) = storage_quota_bytes {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.storage_quota_bytes
                .with_label_values(&[source])
                .set(bytes);
        } else {
            // The series is missing if the source had no storage quota before.
            let _missing: Result<(), _> = self.storage_quota_bytes.remove_label_values(&[source]);
        }
    }

    /// Removes the series of a source that the bridge does not have any more.
    pub fn remove_source(&self, source: &str) {
        let counters = [
            &self.accepted,
            &self.duplicates,
            &self.invalid,
            &self.held,
            &self.skipped_fields,
            &self.over_rate_quota,
            &self.over_storage_quota,
            &self.unlisted_phones,
            &self.empty,
        ];
        for counter in counters {
            // Not every source has every series.
            let _missing: Result<(), _> = counter.remove_label_values(&[source]);
        }
        let gauges = [
            &self.unsigned_headers,
            &self.storage_quota_bytes,
            &self.last_event_at,
        ];
        for gauge in gauges {
            let _missing: Result<(), _> = gauge.remove_label_values(&[source]);
        }
        for problem in counts_by(&self.rejected, PROBLEM).keys() {
            let _missing: Result<(), _> = self.rejected.remove_label_values(&[problem, source]);
        }
    }

    /// Counts a request that the listener refused because of the source's rate quota.
    pub fn over_rate_quota(&self, source: &str) {
        self.over_rate_quota.with_label_values(&[source]).inc();
    }

    /// Counts a request that the listener refused because of the source's storage quota.
    pub fn over_storage_quota(&self, source: &str) {
        self.over_storage_quota.with_label_values(&[source]).inc();
    }

    /// Counts events with a phone number that is possible, but not in the numbering tables.
    pub fn unlisted_phones(&self, source: &str, events: u64) {
        if events > 0 {
            self.unlisted_phones
                .with_label_values(&[source])
                .inc_by(events);
        }
    }

    /// Returns the current values of these metrics.
    pub fn snapshot(&self) -> IngressSnapshot {
        let accepted_by_source = counts(&self.accepted);
        IngressSnapshot {
            accepted: accepted_by_source.values().sum(),
            accepted_by_source,
            last_event_at: gauges(&self.last_event_at),
            duplicates: counts(&self.duplicates).values().sum(),
            ignored: self.ignored.snapshot(),
            empty: counts(&self.empty).values().sum(),
            rejected: counts_by(&self.rejected, PROBLEM),
            unauthenticated: counts(&self.unauthenticated),
        }
    }
}

fn declare_last_event_at(declare: &Declare<'_>) -> prometheus::Result<IntGaugeVec> {
    declare.gauges(
        "last_event_timestamp_seconds",
        "Time of the last accepted event, new or received again, in seconds since the Unix epoch, by source; also after a restart, absent before the first event.",
        SOURCE,
    )
}

fn declare_field_values(declare: &Declare<'_>) -> prometheus::Result<IntCounterVec> {
    declare.labelled_counters(
        "field_values_total",
        "New events whose update sets or clears a field, by source, field and value (set or cleared).",
        &[SOURCE, "field", "value"],
    )
}

/// Declares the counter with each reason, so that an alert sees the first failure as an increase.
fn declare_unauthenticated(
    declare: &Declare<'_>,
    labels: LabelSets,
) -> prometheus::Result<IntCounterVec> {
    let help = "Requests that failed authentication, by reason.";
    let counter = declare.counters("unauthenticated_total", help, "reason")?;
    for reason in labels.denials {
        counter.with_label_values(&[reason]);
    }
    Ok(counter)
}
