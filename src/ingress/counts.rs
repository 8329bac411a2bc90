//! What is counted at the door.

use std::fmt;

use prometheus::{IntCounter, IntCounterVec};

use crate::ingress::Refusal;
use crate::ingress::auth::Why;
use crate::outbox::{Kept, State};

/// The counters of the door. Declared, with their help texts, where all metrics are.
#[derive(Clone)]
pub struct Counts {
    /// Events that were kept and had not been there before.
    pub accepted: IntCounter,
    /// Those of them that were kept as ignored.
    pub ignored: IntCounter,
    /// Events that had been there before with the same content.
    pub duplicates: IntCounter,
    /// Requests refused, by `reason`: [`Refusal::word`].
    pub refused: IntCounterVec,
    /// Requests that were not authentic, by `why`: [`Why::as_str`].
    pub unauthenticated: IntCounterVec,
}

impl Counts {
    pub(super) fn kept(&self, kept: &[Kept]) {
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
                    | State::Discarded,
                ) => self.accepted.inc(),
            }
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        count(&self.refused, refusal.word());
    }

    pub(super) fn unauthenticated(&self, why: Why) {
        count(&self.unauthenticated, why.as_str());
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

/// A counter that was declared with other labels counts nothing: the way that panics is for those who write literals.
fn count(counters: &IntCounterVec, label: &str) {
    if let Ok(counter) = counters.get_metric_with_label_values(&[label]) {
        counter.inc();
    }
}
