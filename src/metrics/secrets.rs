//! Metrics of the secret files.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::declare::Declare;

/// The kind of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// The keys of the audit log.
    Audit,
    /// The certificate of the bridge, and the credentials for the proxy.
    Egress,
    /// The keys for requests to Imprint.
    Imprint,
    /// The secret that signs notices.
    Notice,
    /// The tokens of operators.
    Operator,
    /// The keys that seal the records of the store.
    Sealing,
    /// The secrets with which sources authenticate.
    Source,
    /// The secret for the collector of traces.
    Trace,
}

impl SecretKind {
    const ALL: [Self; 8] = [
        Self::Audit,
        Self::Egress,
        Self::Imprint,
        Self::Notice,
        Self::Operator,
        Self::Sealing,
        Self::Source,
        Self::Trace,
    ];

    /// Returns the kind as a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Egress => "egress",
            Self::Imprint => "imprint",
            Self::Notice => "notice",
            Self::Operator => "operator",
            Self::Sealing => "sealing",
            Self::Source => "source",
            Self::Trace => "trace",
        }
    }
}

/// Counters and gauges of the secret files.
#[derive(Clone, Debug)]
pub struct SecretMetrics {
    failures: IntCounterVec,
    modified: IntGaugeVec,
}

impl SecretMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            failures: declare.counters(
                "secret_read_failures_total",
                "Reads of a secret file that is missing or not usable, by kind of secret.",
                "secret",
            )?,
            modified: declare.gauges(
                "secret_modified_timestamp_seconds",
                "Time of the last change of the oldest secret file, in seconds since the Unix epoch, by kind of secret.",
                "secret",
            )?,
        };
        for kind in SecretKind::ALL {
            metrics.failed(kind, 0);
        }
        Ok(metrics)
    }

    /// Counts failed reads of secret files.
    pub fn failed(&self, kind: SecretKind, files: usize) {
        let failures = self.failures.with_label_values(&[kind.as_str()]);
        failures.inc_by(u64::try_from(files).unwrap_or(u64::MAX));
    }

    /// Sets the time of the last change of the oldest secret file.
    pub fn modified(&self, kind: SecretKind, seconds: i64) {
        self.modified
            .with_label_values(&[kind.as_str()])
            .set(seconds);
    }
}
