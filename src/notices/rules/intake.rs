//! The conditions about sources and their events.

use super::super::history::SeriesHistory;
use super::super::rows::Rows;
use super::{hours, minutes};

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

/// A field of which the events suddenly have no value, or suddenly a deletion.
pub(super) fn field_drift(history: &SeriesHistory) -> Rows {
    missing_field(history).or(cleared_field(history))
}

fn missing_field(history: &SeriesHistory) -> Rows {
    let accepted = history.increase("accepted_total", hours(6));
    let accepted_before = history.increase_until("accepted_total", hours(24), hours(6));
    let set_before = history.increase_until("field_values_total", hours(24), hours(6));
    let now = history.increase("field_values_total", hours(6));
    let now = now.with("value", &["set"]).zero();
    now.keep(|labels, _| {
        let earlier = value_of(&set_before, labels);
        earlier > 0.1 * accepted_before.of_source(labels) && accepted.of_source(labels) > 200.0
    })
}

fn cleared_field(history: &SeriesHistory) -> Rows {
    let accepted = history.increase("accepted_total", hours(1));
    let accepted_before = history.increase_until("accepted_total", hours(24), hours(1));
    let cleared_before = history.increase_until("field_values_total", hours(24), hours(1));
    let now = history.increase("field_values_total", hours(1));
    let now = now.with("value", &["cleared"]);
    now.keep(|labels, cleared| {
        let accepted = accepted.of_source(labels);
        cleared > 0.5 * accepted
            && accepted > 50.0
            && value_of(&cleared_before, labels) < 0.1 * accepted_before.of_source(labels)
    })
}

fn value_of(rows: &Rows, labels: &crate::metrics::Labels) -> f64 {
    let same = rows.0.iter().find(|(known, _)| known == labels);
    same.map_or(0.0, |(_, value)| *value)
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
