//! The conditions about the protection of the bridge.

use super::super::history::SeriesHistory;
use super::super::rows::Rows;
use super::minutes;

/// The number of failed logins of one kind in 10 minutes.
const FAILED_LOGINS_MAX: f64 = 30.0;
/// The number of requests in 10 minutes that fail authentication.
const UNAUTHENTICATED_MAX: f64 = 20.0;

pub(super) fn audit_log_shortened(history: &SeriesHistory) -> Rows {
    history.fallen("audit_head_record")
}

pub(super) fn logins_fail(history: &SeriesHistory) -> Rows {
    let denied = history.increase("admin_denied_total", minutes(10));
    let denied = denied.with("reason", &["mismatch", "limited"]);
    denied.above(FAILED_LOGINS_MAX)
}

pub(super) fn weakened(history: &SeriesHistory) -> Rows {
    history.latest("weakened").above(0.0)
}

pub(super) fn sealing_key_missing(history: &SeriesHistory) -> Rows {
    history.latest("sealing_missing_keys").above(0.0)
}

pub(super) fn sealing_keys_unreadable(history: &SeriesHistory) -> Rows {
    history.latest("sealing_keys_unreadable").above(0.0)
}

pub(super) fn secret_unusable(history: &SeriesHistory) -> Rows {
    let failures = history.increase("secret_read_failures_total", minutes(2));
    failures.above(0.0)
}

pub(super) fn unauthenticated(history: &SeriesHistory) -> Rows {
    let denied = history.increase("unauthenticated_total", minutes(10));
    denied.sum_by(&[]).above(UNAUTHENTICATED_MAX)
}
