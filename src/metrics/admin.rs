//! Metrics of the admin API.

use prometheus::{IntCounterVec, IntGauge};

use super::declare::Declare;
use super::snapshot::{CountByLabel, counts};

/// The reasons of denied requests. The metrics page shows each reason with 0 before the first denial, so that an alert
/// sees the first denial as an increase.
const DENIALS: [&str; 6] = [
    "disabled", "missing", "mismatch", "shared", "limited", "role",
];

/// Counters of the admin API, and the head of the audit log.
#[derive(Clone, Debug)]
pub struct AdminMetrics {
    denied: IntCounterVec,
    audit_head_record: IntGauge,
    audit_head_check: IntGauge,
    last_backup: IntGauge,
}

/// The values of [`AdminMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminSnapshot {
    /// The number of admin requests without a valid operator token, by reason of the denial.
    pub denied: CountByLabel,
}

impl AdminMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        let denied = declare.counters(
            "admin_denied_total",
            "Admin requests that the bridge denied, by reason: no valid token, too many failed logins, or a missing role.",
            "reason",
        )?;
        for reason in DENIALS {
            denied.with_label_values(&[reason]);
        }
        Ok(Self {
            denied,
            audit_head_record: declare.gauge(
                "audit_head_record",
                "Number of the newest record of the audit log. The number never falls.",
            )?,
            audit_head_check: declare.gauge(
                "audit_head_check",
                "Part of the seal of the newest record of the audit log, for store verify --audit-head.",
            )?,
            last_backup: declare.gauge(
                "last_backup_timestamp_seconds",
                "Unix time of the end of the latest backup; 0 before the first backup.",
            )?,
        })
    }

    /// Sets the head of the audit log: the number of the newest record, and a part of its seal.
    pub fn audit_head(&self, record: u64, check: u64) {
        let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.audit_head_record.set(gauge(record));
        self.audit_head_check.set(gauge(check));
    }

    /// Sets the Unix time of the latest backup in seconds.
    pub fn last_backup(&self, seconds: i64) {
        self.last_backup.set(seconds);
    }

    /// Counts an admin request without a valid operator token.
    pub fn denied(&self, reason: &'static str) {
        self.denied.with_label_values(&[reason]).inc();
    }

    pub(super) fn snapshot(&self) -> AdminSnapshot {
        AdminSnapshot {
            denied: counts(&self.denied),
        }
    }
}
