//! The results of the last requests of lanes that did not fail before. The results show whether Imprint fails only for
//! one lane, or now and then for every lane.
//!
//! This module is pure: it does no IO and reads no clock.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dispatch::breaker::Signal;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// The maximum number of results that the bridge remembers. The bridge counts all of them for each failure.
const RESULTS_MAX: usize = 100;
/// Results that are older than this do not count.
const RESULT_AGE_MAX: Duration = Duration::from_mins(10);
/// The share of successes in percent. If fewer requests of other lanes succeed, Imprint is possibly the cause of a
/// failure: in a partial outage, every lane fails now and then.
const SUCCESS_PERCENT: usize = 90;

/// The results of the last requests, starting with the oldest result.
#[derive(Debug, Default)]
pub(super) struct RecentResults(VecDeque<RecentResult>);

#[derive(Clone, Copy, Debug)]
struct RecentResult {
    lane: LaneId,
    at: Timestamp,
    is_success: bool,
}

impl RecentResults {
    /// Records the result of a request of a lane that did not fail before.
    pub(super) fn record(&mut self, lane: LaneId, signal: Signal, at: Timestamp) {
        let is_success = match signal {
            Signal::Applied | Signal::Answered | Signal::Rejected => true,
            Signal::Failed
            | Signal::Throttled(_)
            | Signal::Refused
            | Signal::Forbidden
            | Signal::Unexplained => false,
            Signal::Missing | Signal::Unrelated => return,
        };
        if self.0.len() >= RESULTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(RecentResult {
            lane,
            at,
            is_success,
        });
    }

    /// Returns whether most of the last requests of other lanes succeeded.
    pub(super) fn others_succeed(&self, lane: LaneId, now: Timestamp) -> bool {
        let is_recent = |result: &&RecentResult| now < result.at.after(RESULT_AGE_MAX);
        let others = self.0.iter().filter(|result| result.lane != lane);
        let (mut count, mut successes) = (0, 0);
        for result in others.filter(is_recent) {
            count += 1;
            successes += usize::from(result.is_success);
        }
        successes * 100 >= count * SUCCESS_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn results(signals: &[(u64, Signal)]) -> RecentResults {
        let mut results = RecentResults::default();
        for (lane, signal) in signals {
            results.record(LaneId(*lane), *signal, NOW);
        }
        results
    }

    /// FAULTS N114: with 90 % successes of other lanes, a failure counts against the lane. With fewer successes, the
    /// failure does not count.
    #[test]
    fn nine_of_ten_other_requests_must_succeed() {
        let mut signals = vec![(1, Signal::Applied); 9];
        assert!(results(&[]).others_succeed(LaneId(7), NOW));
        assert!(results(&signals).others_succeed(LaneId(7), NOW));
        signals.push((2, Signal::Failed));
        assert!(results(&signals).others_succeed(LaneId(7), NOW));
        signals.push((3, Signal::Throttled(None)));
        assert!(!results(&signals).others_succeed(LaneId(7), NOW));
        signals.pop();
        signals.push((7, Signal::Failed));
        assert!(
            results(&signals).others_succeed(LaneId(7), NOW),
            "its own failure"
        );
        assert!(!results(&signals).others_succeed(LaneId(8), NOW));
        signals.extend([(3, Signal::Missing), (3, Signal::Unrelated)]);
        assert!(
            results(&signals).others_succeed(LaneId(7), NOW),
            "they show nothing"
        );
    }

    #[test]
    fn old_results_and_results_beyond_the_maximum_are_forgotten() {
        let failed = results(&[(1, Signal::Failed)]);
        let age = NOW.after(RESULT_AGE_MAX);
        let before = Timestamp::from_millis(age.as_millis() - 1);
        assert!(!failed.others_succeed(LaneId(7), before));
        assert!(failed.others_succeed(LaneId(7), age));
        let mut signals = vec![(1, Signal::Failed); 11];
        signals.extend([(2, Signal::Applied); 89]);
        assert!(!results(&signals).others_succeed(LaneId(7), NOW));
        signals.push((2, Signal::Answered));
        assert!(
            results(&signals).others_succeed(LaneId(7), NOW),
            "the first is forgotten"
        );
        assert_eq!(results(&signals).0.len(), RESULTS_MAX);
    }
}
