//! The conditions about the delivery to Imprint.

use super::super::history::SeriesHistory;
use super::super::rows::Rows;
use super::{hours, minutes};

/// The age in seconds of the oldest waiting entry at which deliveries must have happened.
const UNDELIVERED_SECONDS_MAX: f64 = 900.0;
/// The age in seconds of the oldest waiting entry that is too high also while the bridge delivers.
const BACKLOG_SECONDS_MAX: f64 = 3600.0;
/// The share of requests without a clear answer.
const UNKNOWN_SHARE_MAX: f64 = 0.05;
/// The mean duration of a request in seconds above which Imprint is slow.
const SLOW_SECONDS_MIN: f64 = 2.0;
/// A mean of fewer requests says nothing.
const SLOW_REQUESTS_MIN: f64 = 20.0;
/// The reasons for parking that have a rule of their own.
const REASONS_APART: &[&str] = &["invalid", "version_jump"];

pub(super) fn misdirected(history: &SeriesHistory) -> Rows {
    history.increase("misdirected_total", hours(1)).above(0.0)
}

pub(super) fn stopped(history: &SeriesHistory) -> Rows {
    let states = history.latest("destination_state");
    states.with("state", &["stopped"]).above(0.0)
}

pub(super) fn down(history: &SeriesHistory) -> Rows {
    let states = history.latest("destination_state");
    states.with("state", &["probing"]).above(0.0)
}

/// A slow request is in the figures only after its end.
pub(super) fn slow(history: &SeriesHistory) -> Rows {
    let of = |name| history.increase(name, minutes(2)).sum_by(&[]);
    let requests = of("request_duration_seconds_count");
    let count = requests.sum().unwrap_or_default();
    let mean = of("request_duration_seconds_sum").map(|_, seconds| seconds / count.max(1.0));
    mean.above(SLOW_SECONDS_MIN)
        .only_if(count > SLOW_REQUESTS_MIN)
}

pub(super) fn unproven(history: &SeriesHistory) -> Rows {
    history.increase("unproven_total", minutes(10)).above(0.0)
}

pub(super) fn undecided(history: &SeriesHistory) -> Rows {
    history.latest("undecided_entries").above(0.0)
}

/// The process must have run for the whole window: it does not know what earlier processes delivered.
pub(super) fn not_delivering(history: &SeriesHistory) -> Rows {
    let delivered = history.increase("ended_total", minutes(15));
    let delivered = delivered.with("state", &["delivered"]);
    let is_idle = delivered.sum().is_some_and(|sum| sum == 0.0);
    let oldest = history.latest("oldest_waiting_seconds");
    let is_stopped = !stopped(history).0.is_empty();
    oldest
        .above(UNDELIVERED_SECONDS_MAX)
        .only_if(history.covers(minutes(15)) && is_idle)
        .only_if(is_open(history) && !is_stopped)
}

pub(super) fn backlog_old(history: &SeriesHistory) -> Rows {
    let oldest = history.latest("oldest_waiting_seconds");
    oldest.above(BACKLOG_SECONDS_MAX).only_if(is_open(history))
}

pub(super) fn paused(history: &SeriesHistory) -> Rows {
    let modes = history.latest("destination_mode");
    let modes = modes.with("mode", &["paused", "shadow"]).above(0.0);
    let waiting = history.latest("waiting_entries").above(0.0);
    modes.only_if(!waiting.0.is_empty())
}

pub(super) fn throttled(history: &SeriesHistory) -> Rows {
    let states = history.latest("destination_state");
    states.with("state", &["throttled"]).above(0.0)
}

pub(super) fn parked(history: &SeriesHistory) -> Rows {
    let parked = history.increase("parked_total", minutes(15));
    let parked = parked.without("reason", REASONS_APART);
    parked.sum_by(&[]).above(0.0)
}

pub(super) fn unknown_outcomes(history: &SeriesHistory) -> Rows {
    let attempts = history.increase("attempts_total", minutes(10));
    let all = attempts.sum().unwrap_or_default();
    let unknown = attempts.with("outcome", &["unknown"]).sum_by(&[]);
    let share = unknown.map(|_, unknown| unknown / all.max(1.0));
    share.above(UNKNOWN_SHARE_MAX)
}

/// Returns whether no operator has stopped the delivery.
fn is_open(history: &SeriesHistory) -> bool {
    let modes = history.latest("destination_mode");
    modes.with("mode", &["open"]).zero().0.is_empty()
}
