//! The conditions about the store and the log.

use super::super::history::SeriesHistory;
use super::super::rows::Rows;
use super::{hours, minutes};

/// The free space in bytes below which the disk is nearly full: 512 MiB.
const FREE_BYTES_MIN: f64 = 536_870_912.0;
/// The age in seconds of the latest backup: 26 hours.
const BACKUP_SECONDS_MAX: f64 = 93_600.0;

pub(super) fn store_unavailable(history: &SeriesHistory) -> Rows {
    let conditions = history.latest("store_condition");
    conditions
        .without("condition", &["working", "full"])
        .above(0.0)
}

pub(super) fn store_full(history: &SeriesHistory) -> Rows {
    let conditions = history.latest("store_condition");
    let full = conditions.with("condition", &["full"]).sum_by(&[]);
    let refused = history.increase("refused_total", minutes(5));
    let refused = refused.with("problem", &["store_full"]).sum_by(&[]);
    full.above(0.0).or(refused.above(0.0))
}

pub(super) fn store_nearly_full(history: &SeriesHistory) -> Rows {
    let free = history.latest("store_free_bytes");
    let tomorrow = history.predicted("store_free_bytes", hours(6), hours(24));
    let is_falling = !tomorrow.below(0.0).0.is_empty();
    free.clone()
        .below(FREE_BYTES_MIN)
        .or(free.only_if(is_falling))
}

pub(super) fn backup_old(history: &SeriesHistory) -> Rows {
    let last = history.latest("last_backup_timestamp_seconds").above(0.0);
    let age = last.map(|_, at| history.seconds() - at);
    age.above(BACKUP_SECONDS_MAX)
}

pub(super) fn log_lines_lost(history: &SeriesHistory) -> Rows {
    let dropped = history.increase("log_lines_dropped_total", minutes(10));
    dropped.above(0.0)
}
