//! The results of the first requests of new customers. The results show whether Imprint refuses, or does not answer, many
//! new customers.
//!
//! This module is pure: it does no IO and reads no clock.

use super::LaneAnswer;
use crate::dispatch::breaker::Signal;

/// After this number of failures among the last results, the first requests of new customers count as failing.
///
/// Two new customers with wrong data are no reason to let the other new customers wait.
const FAILED_MIN: u32 = 3;

/// The last 64 results of first requests, one bit each. A set bit is a failure.
///
/// Some new customers can be healthy: with fewer results, their successes would hide the failures of the others.
#[derive(Debug, Default)]
pub(super) struct FirstResults(u64);

impl FirstResults {
    /// Records the answer to a lane that did not fail before, if Imprint has never applied an update of its customer.
    pub(super) fn record(&mut self, answer: &LaneAnswer<'_>) {
        if answer.is_known || answer.trials.failures > 0 {
            return;
        }
        let is_failure = match answer.signal {
            Signal::Applied | Signal::Answered | Signal::Rejected => false,
            // Imprint does not know most customers of a CRM: a typed answer is no failure, and needs no proof by others.
            Signal::Missing if answer.absent.is_some_and(|absent| absent.is_typed) => return,
            Signal::Unrelated => return,
            Signal::Missing
            | Signal::Unexplained
            | Signal::Failed
            | Signal::Throttled(_)
            | Signal::Refused
            | Signal::Forbidden => true,
        };
        self.0 = (self.0 << 1) | u64::from(is_failure);
    }

    /// Returns whether the first requests of many new customers fail.
    pub(super) const fn are_failing(&self) -> bool {
        self.0.count_ones() >= FAILED_MIN
    }
}
