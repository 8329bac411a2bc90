//! Metrics of the event route.

use prometheus::{IntCounter, IntCounterVec};

use super::declare::Declare;
use super::snapshot::{CountByLabel, counts};

/// Counters of the event route.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    /// Events stored for the first time.
    pub accepted: IntCounter,
    /// Events that were stored before.
    pub duplicates: IntCounter,
    /// Events stored for the first time as ignored.
    pub ignored: IntCounter,
    /// Rejected requests, by problem type.
    pub refused: IntCounterVec,
    /// Requests that failed authentication, by reason.
    pub unauthenticated: IntCounterVec,
}

/// The values of [`IngressMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngressSnapshot {
    /// Events stored for the first time, ignored ones included.
    pub accepted: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// Events stored for the first time as ignored: by their mapping there is nothing to send.
    pub ignored: u64,
    /// Rejected requests, by problem type.
    pub rejected: CountByLabel,
    /// Requests that failed authentication, by reason.
    pub unauthenticated: CountByLabel,
}

impl IngressMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            accepted: declare.counter("accepted_total", "Events stored for the first time.")?,
            duplicates: declare.counter(
                "duplicates_total",
                "Events received again with the same content.",
            )?,
            ignored: declare.counter(
                "ignored_total",
                "Events stored for the first time with nothing to send, by their mapping.",
            )?,
            refused: declare.counters(
                "refused_total",
                "Rejected requests, by problem type.",
                "problem",
            )?,
            unauthenticated: declare.counters(
                "unauthenticated_total",
                "Requests that failed authentication, by reason.",
                "reason",
            )?,
        })
    }

    pub(super) fn snapshot(&self) -> IngressSnapshot {
        IngressSnapshot {
            accepted: self.accepted.get(),
            duplicates: self.duplicates.get(),
            ignored: self.ignored.get(),
            rejected: counts(&self.refused),
            unauthenticated: counts(&self.unauthenticated),
        }
    }
}
