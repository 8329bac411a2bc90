//! The conditions about sources and their events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::history::SeriesHistory;
use super::super::rows::Rows;
use super::{hours, minutes};
use crate::metrics::Labels;

/// The share of a source's storage quota that its events can take.
const QUOTA_SHARE_MAX: f64 = 0.8;
/// The problem types of requests that the sender must change.
const PROBLEMS_OF_SENDERS: &[&str] = &[
    "malformed",
    "conflict",
    "too_large",
    "too_many_events",
    "unsupported_media_type",
    "unknown_event_type",
    "invalid",
    "unmappable",
    "card_number",
];
/// The time in seconds for which a busy source can be silent.
const SILENCE_SECONDS_MAX: f64 = 10_800.0;
/// The number of events on the day before that make a source busy.
const EVENTS_OF_BUSY_DAY: f64 = 240.0;
/// The share of the requests of a source that the bridge can refuse.
const REFUSED_SHARE_MAX: f64 = 0.1;

pub(super) fn storage_quota(history: &SeriesHistory) -> Rows {
    let quotas = history.latest("storage_quota_bytes");
    let stored = history.latest("stored_bytes");
    let known = stored.keep(|labels, _| quotas.of_source(labels) > 0.0);
    let shares = known.map(|labels, bytes| bytes / quotas.of_source(labels));
    shares.above(QUOTA_SHARE_MAX)
}

pub(super) fn over_quota(history: &SeriesHistory) -> Rows {
    let over = |name| history.increase(name, minutes(10)).above(0.0);
    over("over_rate_quota_total").or(over("over_storage_quota_total"))
}

pub(super) fn version_jump(history: &SeriesHistory) -> Rows {
    let parked = history.increase("parked_total", hours(1));
    parked.with("reason", &["version_jump"]).above(0.0)
}

pub(super) fn invalid_events(history: &SeriesHistory) -> Rows {
    history
        .increase("parked_invalid_total", hours(1))
        .above(0.0)
}

pub(super) fn refused_events(history: &SeriesHistory) -> Rows {
    let refused = history.increase("refused_total", hours(1));
    let refused = refused.with("problem", PROBLEMS_OF_SENDERS);
    refused
        .without("source", &[""])
        .sum_by(&["source"])
        .above(0.0)
}

pub(super) fn sources_refused(history: &SeriesHistory) -> Rows {
    history.latest("sources_refused").above(0.0)
}

pub(super) fn mass_change_held(history: &SeriesHistory) -> Rows {
    history.latest("held_entries").above(0.0)
}

pub(super) fn source_silent(history: &SeriesHistory) -> Rows {
    let before = history.events_until(hours(24), hours(3));
    let last = history.latest("last_event_timestamp_seconds");
    let silent = last.map(|_, at| history.seconds() - at);
    let silent = silent.above(SILENCE_SECONDS_MAX);
    silent.keep(|labels, _| before.of_source(labels) > EVENTS_OF_BUSY_DAY)
}

/// The numbers with which the rules compare a field.
#[derive(Clone, Copy, Debug)]
pub(in crate::notices) struct FieldShare {
    /// The time that ends now.
    pub(in crate::notices) window: Duration,
    /// The new events of the source in this time.
    pub(in crate::notices) accepted: f64,
    /// Those of them that set the field, or that clear it.
    pub(in crate::notices) counted: f64,
    /// The new events of the source in the day before this time.
    pub(in crate::notices) accepted_before: f64,
    /// Those of them that set the field, or that clear it.
    pub(in crate::notices) counted_before: f64,
}

/// The numbers of all fields in the window of a rule.
pub(in crate::notices) struct FieldShares {
    window: Duration,
    accepted: Rows,
    accepted_before: Rows,
    counted: BTreeMap<Labels, f64>,
    counted_before: BTreeMap<Labels, f64>,
}

impl FieldShares {
    pub(in crate::notices) fn missing(history: &SeriesHistory) -> Self {
        Self::of(history, hours(6), "set")
    }

    pub(in crate::notices) fn cleared(history: &SeriesHistory) -> Self {
        Self::of(history, hours(1), "cleared")
    }

    fn of(history: &SeriesHistory, window: Duration, value: &str) -> Self {
        let counted = history.increase("field_values_total", window);
        let counted_before = history.increase_until("field_values_total", hours(24), window);
        Self {
            window,
            accepted: history.increase("accepted_total", window),
            accepted_before: history.increase_until("accepted_total", hours(24), window),
            counted: counted.with("value", &[value]).0.into_iter().collect(),
            counted_before: counted_before.0.into_iter().collect(),
        }
    }

    /// Returns the numbers of one field.
    pub(in crate::notices) fn share(&self, labels: &Labels) -> FieldShare {
        FieldShare {
            window: self.window,
            accepted: self.accepted.of_source(labels),
            counted: value_of(&self.counted, labels),
            accepted_before: self.accepted_before.of_source(labels),
            counted_before: value_of(&self.counted_before, labels),
        }
    }

    /// Returns the fields for whose numbers `is_drifted` is true, with the number that the rule counts.
    fn drifted(&self, is_drifted: impl Fn(FieldShare) -> bool) -> Rows {
        let counted = self.counted.iter();
        let drifted = counted.filter(|(labels, _)| is_drifted(self.share(labels)));
        Rows(
            drifted
                .map(|(labels, counted)| (labels.clone(), *counted))
                .collect(),
        )
    }
}

/// A field of which the events suddenly have no value, or suddenly a deletion.
pub(super) fn field_drift(history: &SeriesHistory) -> Rows {
    missing_field(history).or(cleared_field(history))
}

fn missing_field(history: &SeriesHistory) -> Rows {
    FieldShares::missing(history).drifted(|share| {
        share.counted == 0.0
            && share.counted_before > 0.1 * share.accepted_before
            && share.accepted > 200.0
    })
}

fn cleared_field(history: &SeriesHistory) -> Rows {
    FieldShares::cleared(history).drifted(|share| {
        share.counted > 0.5 * share.accepted
            && share.accepted > 50.0
            && share.counted_before < 0.1 * share.accepted_before
    })
}

fn value_of(counts: &BTreeMap<Labels, f64>, labels: &Labels) -> f64 {
    counts.get(labels).copied().unwrap_or_default()
}

pub(super) fn refusal_rate(history: &SeriesHistory) -> Rows {
    let increase = |name| history.increase(name, minutes(15));
    let accepted = increase("accepted_total");
    let duplicates = increase("duplicates_total");
    let refused = increase("refused_total").without("source", &[""]);
    let refused = refused.sum_by(&["source"]).above(0.0);
    let shares = refused.map(|labels, refused| {
        let taken = accepted.of_source(labels) + duplicates.of_source(labels);
        refused / (refused + taken)
    });
    shares.above(REFUSED_SHARE_MAX)
}
