//! What is counted at the door.

use prometheus::IntCounterVec;

use crate::ingress::Refusal;
use crate::ingress::auth::DenialReason;
use crate::metrics::IngressMetrics;
use crate::outbox::{AppendedEntry, State};

impl IngressMetrics {
    pub(super) fn kept(&self, kept: &[AppendedEntry]) {
        for kept in kept {
            match (kept.duplicate, kept.state) {
                (true, _) => self.duplicates.inc(),
                (false, State::Ignored) => {
                    self.accepted.inc();
                    self.ignored.inc();
                }
                (
                    false,
                    State::Waiting
                    | State::Delivered
                    | State::Superseded
                    | State::Parked
                    | State::Discarded
                    | State::Held
                    | State::Undecided,
                ) => self.accepted.inc(),
            }
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        count(&self.refused, refusal.word());
    }

    pub(super) fn unauthenticated(&self, why: DenialReason) {
        count(&self.unauthenticated, why.as_str());
    }
}

/// A counter that was declared with other labels counts nothing: the way that panics is for those who write literals.
fn count(counters: &IntCounterVec, label: &str) {
    if let Ok(counter) = counters.get_metric_with_label_values(&[label]) {
        counter.inc();
    }
}
