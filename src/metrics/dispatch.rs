//! Metrics of delivery to Imprint.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::LabelSets;
use super::declare::Declare;
use super::ignored::IgnoredEntries;
use super::snapshot::{CountByLabel, Distribution, counts, distribution, distributions};

/// Counters, gauges and histograms of delivery.
#[derive(Clone, Debug)]
pub struct DispatchMetrics {
    attempts: IntCounterVec,
    ended: PerLabel<IntCounter>,
    ignored: IgnoredEntries,
    parked: IntCounterVec,
    request_entries: Histogram,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    destination_state: PerLabel<IntGauge>,
    destination_mode: PerLabel<IntGauge>,
    last_delivered_at: IntGauge,
    lookups: IntCounterVec,
    reasserted: IntCounter,
    version_ties: IntCounter,
    unproven: IntCounter,
    echo_mismatches: IntCounterVec,
    misdirected: IntCounter,
}

/// A list with one metric for each known value of a label. The list avoids the locked map in which the metrics library
/// searches a label value.
type PerLabel<M> = Vec<(&'static str, M)>;

/// The values of [`DispatchMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DispatchSnapshot {
    /// The number of update requests to Imprint, by outcome.
    pub attempts: CountByLabel,
    /// The number of finished entries, by final state.
    pub ended: CountByLabel,
    /// The number of parked entries, by reason.
    pub parked: CountByLabel,
    /// The distribution of the number of entries per update request.
    pub request_entries: Distribution,
    /// The distribution of the duration of update requests in seconds, by outcome.
    pub request_seconds: BTreeMap<String, Distribution>,
    /// The number of update requests in flight.
    pub in_flight: i64,
    /// The current state of the destination (Imprint).
    pub destination_state: &'static str,
    /// The time of the latest delivery, in seconds since the Unix epoch.
    pub last_delivered_at_seconds: Option<i64>,
    /// The number of search and retrieve requests to Imprint, by outcome.
    pub lookups: CountByLabel,
    /// The number of values that the bridge sent again, because an older request with an unknown outcome possibly
    /// arrived after them.
    pub reasserted: u64,
    /// The number of entries whose version equals the version of another entry with different values.
    pub version_ties: u64,
    /// The number of answers in which Imprint's copy of the customer differs from the sent values, by group of fields.
    pub echo_mismatches: CountByLabel,
    /// The number of entries whose values Imprint applied to the wrong customer: the customer's partner customer id
    /// differs from the id in the event.
    pub misdirected: u64,
}

impl DispatchMetrics {
    pub(super) fn new(
        declare: &Declare<'_>,
        labels: LabelSets,
        ignored: IgnoredEntries,
    ) -> prometheus::Result<Self> {
        let metrics = Self {
            attempts: declare.counters(
                "attempts_total",
                "Update requests to Imprint, by outcome.",
                "outcome",
            )?,
            ended: declare_ended(declare, labels)?,
            ignored,
            parked: declare_parked(declare, labels)?,
            request_entries: declare.histogram(
                "request_entries",
                "Entries per update request.",
                ENTRY_BUCKETS,
            )?,
            request_seconds: declare_request_seconds(declare)?,
            in_flight: declare.gauge("requests_in_flight", IN_FLIGHT_HELP)?,
            destination_state: declare_destination_state(declare, labels)?,
            destination_mode: declare_destination_mode(declare, labels)?,
            last_delivered_at: declare.gauge(
                "last_delivered_timestamp_seconds",
                "Unix time of the latest delivery; 0 before the first delivery.",
            )?,
            lookups: declare.counters(
                "lookups_total",
                "Search and retrieve requests to Imprint, by outcome.",
                "outcome",
            )?,
            reasserted: declare.counter(
                "asserted_total",
                "Values sent again, because an older request with an unknown outcome possibly arrived after them.",
            )?,
            version_ties: declare.counter(
                "version_ties_total",
                "Entries whose version equals the version of another entry with different values.",
            )?,
            unproven: declare.counter("unproven_total", UNPROVEN_HELP)?,
            echo_mismatches: declare.counters(
                "echo_mismatch_total",
                "Answers of Imprint with values that differ from the sent values, by group of fields.",
                "group",
            )?,
            misdirected: declare.counter(
                "misdirected_total",
                "Entries whose values Imprint applied to a customer whose partner customer id differs from the id in the event.",
            )?,
        };
        if let Some(first) = labels.destination_states.first() {
            metrics.destination_state(first);
        }
        if let Some(first) = labels.destination_modes.first() {
            metrics.destination_mode(first);
        }
        Ok(metrics)
    }

    /// Counts an update request, with its outcome, its number of entries and its duration.
    pub fn attempt(&self, outcome: &'static str, entries: usize, took: Duration) {
        self.attempts.with_label_values(&[outcome]).inc();
        self.request_seconds
            .with_label_values(&[outcome])
            .observe(took.as_secs_f64());
        self.request_entries
            .observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
    }

    /// Counts a search or retrieve request to Imprint.
    pub fn lookup(&self, outcome: &'static str) {
        self.lookups.with_label_values(&[outcome]).inc();
    }

    /// Counts values that the bridge sent again, because an older request with an unknown outcome possibly arrived
    /// after them.
    pub fn reasserted(&self, values: usize) {
        self.reasserted
            .inc_by(u64::try_from(values).unwrap_or(u64::MAX));
    }

    /// Counts entries whose version equals the version of another entry with different values.
    pub fn ties(&self, entries: usize) {
        self.version_ties
            .inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }

    /// Counts a failed request after which entries wait, because nothing shows whether the entries or Imprint caused
    /// the failure.
    pub fn unproven(&self) {
        self.unproven.inc();
    }

    /// Counts an answer of Imprint in which a value differs from the sent value. `group` is the group of the field.
    pub fn echo_differs(&self, group: &'static str) {
        self.echo_mismatches.with_label_values(&[group]).inc();
    }

    /// Counts entries whose values Imprint applied to a customer whose partner customer id differs from the id in the
    /// event.
    pub fn misdirected(&self, entries: usize) {
        self.misdirected
            .inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }

    /// Counts an entry that reached the final state `state`.
    pub fn ended(&self, state: &'static str) {
        let ended = self.ended.iter().find(|(known, _)| *known == state);
        if let Some((_, ended)) = ended {
            ended.inc();
        }
    }

    /// Counts an ignored entry. The caller must also call [`Self::ended`] for this entry.
    pub fn ignored(&self, reason: &'static str) {
        self.ignored.count(reason);
    }

    /// Counts a parked entry.
    pub fn parked(&self, reason: &'static str) {
        self.parked.with_label_values(&[reason]).inc();
    }

    /// Sets the time of the latest delivery, in seconds since the Unix epoch.
    pub fn delivered_at(&self, seconds: i64) {
        self.last_delivered_at.set(seconds);
    }

    /// Sets the current state of the destination (Imprint).
    pub fn destination_state(&self, state: &'static str) {
        mark(&self.destination_state, state);
    }

    /// Sets the mode that an operator has set for the destination (Imprint).
    pub fn destination_mode(&self, mode: &'static str) {
        mark(&self.destination_mode, mode);
    }

    /// Adds `change` to the number of update requests in flight. A negative `change` lowers the number.
    pub fn in_flight(&self, change: i64) {
        self.in_flight.add(change);
    }

    pub(super) fn snapshot(&self) -> DispatchSnapshot {
        let ended = self.ended.iter();
        let current = self
            .destination_state
            .iter()
            .find(|(_, gauge)| gauge.get() == 1);
        let last_delivered_at = self.last_delivered_at.get();
        DispatchSnapshot {
            attempts: counts(&self.attempts),
            ended: ended
                .map(|(state, ended)| ((*state).to_owned(), ended.get()))
                .collect(),
            parked: counts(&self.parked),
            request_entries: distribution(&self.request_entries),
            request_seconds: distributions(&self.request_seconds),
            in_flight: self.in_flight.get(),
            destination_state: current.map_or("", |(state, _)| state),
            last_delivered_at_seconds: Some(last_delivered_at).filter(|at| *at > 0),
            lookups: counts(&self.lookups),
            reasserted: self.reasserted.get(),
            version_ties: self.version_ties.get(),
            echo_mismatches: counts(&self.echo_mismatches),
            misdirected: self.misdirected.get(),
        }
    }
}

fn declare_request_seconds(declare: &Declare<'_>) -> prometheus::Result<HistogramVec> {
    declare.histograms(
        "request_duration_seconds",
        "Duration of update requests to Imprint, by outcome.",
        "outcome",
        LATENCY_BUCKETS,
    )
}

/// Declares the counter with each reason, so that an alert sees the first parked entry as an increase.
fn declare_parked(declare: &Declare<'_>, labels: LabelSets) -> prometheus::Result<IntCounterVec> {
    let parked = declare.counters("parked_total", "Entries parked, by reason.", "reason")?;
    for reason in labels.park_reasons {
        parked.with_label_values(&[reason]);
    }
    Ok(parked)
}

fn declare_ended(
    declare: &Declare<'_>,
    labels: LabelSets,
) -> prometheus::Result<PerLabel<IntCounter>> {
    let ended = declare.counters("ended_total", "Entries finished, by final state.", "state")?;
    Ok(per_label(labels.end_states, |state| {
        ended.with_label_values(&[state])
    }))
}

fn declare_destination_state(
    declare: &Declare<'_>,
    labels: LabelSets,
) -> prometheus::Result<PerLabel<IntGauge>> {
    let help = "1 for the current state of sending to Imprint, 0 for all other states.";
    let state = declare.gauges("destination_state", help, "state")?;
    Ok(per_label(labels.destination_states, |word| {
        state.with_label_values(&[word])
    }))
}

fn declare_destination_mode(
    declare: &Declare<'_>,
    labels: LabelSets,
) -> prometheus::Result<PerLabel<IntGauge>> {
    let help =
        "1 for the mode that an operator has set for sending to Imprint, 0 for all other modes.";
    let mode = declare.gauges("destination_mode", help, "mode")?;
    Ok(per_label(labels.destination_modes, |word| {
        mode.with_label_values(&[word])
    }))
}

/// Sets the gauge of the current label value to 1, and all others to 0.
fn mark(gauges: &PerLabel<IntGauge>, current: &str) {
    for (known, gauge) in gauges {
        gauge.set(i64::from(*known == current));
    }
}

fn per_label<M>(labels: &[&'static str], metric: impl Fn(&'static str) -> M) -> PerLabel<M> {
    labels.iter().map(|label| (*label, metric(label))).collect()
}

const IN_FLIGHT_HELP: &str = "Update requests to Imprint that wait for an answer.";
const UNPROVEN_HELP: &str =
    "Failed requests after which entries wait, because nothing shows who caused the failure.";
/// The histogram buckets of the duration of update requests, from 0.5 ms to 30 s.
const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// The histogram buckets of the number of entries per request. The last bound is the default of `dispatch.max_fold`.
const ENTRY_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
