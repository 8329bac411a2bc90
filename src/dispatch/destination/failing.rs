//! The lanes whose requests fail again and again, for operators: dispatch repeats the requests, and other lanes go on. A row has
//! the number of an entry, and neither an id nor a value of a customer.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{Destination, RequestDecision, RequestRecord};
use crate::outbox::{EntryId, LaneId, Settlement};
use crate::time::Timestamp;

/// The maximum number of lanes that the process keeps. The lane whose last failure is the oldest leaves first.
const LANES_MAX: usize = 100;
/// The number of failures from which operators see a lane. A single failed request is repeated soon.
const SHOWN_FROM: u32 = 3;

/// The failures of a lane since Imprint last applied one of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFailures {
    /// The newest entry of the last request.
    pub entry: EntryId,
    /// The time of the first failure that this process knows.
    pub since: Timestamp,
    /// The number of requests that have failed since then.
    pub requests: u32,
    /// The time of the last failure.
    pub last: Timestamp,
    /// The cause of the last failure in one word, such as `status_500`.
    pub cause: String,
}

/// The lanes with failures.
#[derive(Debug, Default)]
pub(super) struct FailingLanes(BTreeMap<LaneId, LaneFailures>);

impl FailingLanes {
    fn record(&mut self, request: &RequestRecord, settlement: &Settlement) {
        let failures = settlement.trials.failures;
        let is_ended = matches!(request.decision, RequestDecision::Ended { .. });
        let lane = settlement.lane;
        let entry = request.entry.filter(|_| !is_ended && !request.is_served);
        let Some(entry) = entry.filter(|_| failures > 0) else {
            self.0.remove(&lane);
            return;
        };
        if request.cause.is_empty() {
            // Imprint asked for a wait, or knows no such customer: no failure.
            return;
        }
        let before = self.0.remove(&lane);
        let (since, earlier) =
            before.map_or((settlement.at, 0), |before| (before.since, before.requests));
        while self.0.len() >= LANES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, row)| row.last);
            let Some(oldest) = oldest.map(|(lane, _)| *lane) else {
                break;
            };
            self.0.remove(&oldest);
        }
        self.0.insert(
            lane,
            LaneFailures {
                entry,
                requests: earlier.saturating_add(1),
                since,
                last: settlement.at,
                cause: request.cause.clone(),
            },
        );
    }
}

impl Destination {
    /// Records the result of the last request of a lane.
    pub fn record_lane(&self, request: &RequestRecord, settlement: &Settlement) {
        let lanes = self.failing.lock();
        let mut lanes = lanes.unwrap_or_else(PoisonError::into_inner);
        lanes.record(request, settlement);
    }

    /// Forgets the failures of some lanes.
    pub(super) fn forget_failures(&self, is_forgotten: impl Fn(LaneId) -> bool) {
        let lanes = self.failing.lock();
        let mut lanes = lanes.unwrap_or_else(PoisonError::into_inner);
        lanes.0.retain(|lane, _| !is_forgotten(*lane));
    }

    /// Returns the lanes with more than a few failures, the longest failure first. Leaves out the lanes whose last failure is
    /// older than the last begin or end of an outage: their next requests are due after it.
    pub fn failing_lanes(&self) -> Vec<(LaneId, LaneFailures)> {
        let begin = self.outage_changes().first().map(|change| change.at);
        let lanes = self.failing.lock();
        let lanes = lanes.unwrap_or_else(PoisonError::into_inner);
        let shown = lanes.0.iter().filter(|(_, row)| {
            row.requests >= SHOWN_FROM && begin.is_none_or(|begin| row.last > begin)
        });
        let mut shown: Vec<_> = shown.map(|(lane, row)| (*lane, row.clone())).collect();
        shown.sort_by_key(|(_, row)| row.since);
        shown
    }
}
