//! Metrics of the admin API.

use prometheus::IntCounterVec;

use super::declare::Declare;
use super::snapshot::{CountByLabel, counts};

/// Counters of the admin API.
#[derive(Clone, Debug)]
pub struct AdminMetrics {
    denied: IntCounterVec,
}

/// The values of [`AdminMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminSnapshot {
    /// The number of admin requests without a valid operator token, by reason of the denial.
    pub denied: CountByLabel,
}

impl AdminMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            denied: declare.counters(
                "admin_denied_total",
                "Admin requests that the bridge denied, by reason: no valid token, too many failed logins, or a missing role.",
                "reason",
            )?,
        })
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
