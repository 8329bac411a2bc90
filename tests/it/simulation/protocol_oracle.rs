//! The protocol oracle checks the rate of requests, and that the bridge sends no request while Imprint must be left
//! alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use imprint_bridge::dispatch::destination::OperatorMode;
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::imprint::{Cause, Outcome};
use imprint_bridge::outbox::LaneId;

use super::oracle::{Law, Violation, violation};
use super::plan::{Plan, millis};

const SECOND: i64 = 1_000;
/// The longest time in milliseconds that the store takes for a claim. A slow claim may delay one request and not the
/// next request, so the interval between both requests may be shorter by `CLAIM_MAX`.
pub(super) const CLAIM_MAX: i64 = 20;
/// The shortest interval in milliseconds between two probes of a destination that refuses the API key.
const REFUSED_EVERY: i64 = 30 * SECOND - CLAIM_MAX;
/// The shortest interval in milliseconds between two probes of a destination that is down.
const DOWN_EVERY: i64 = 5 * SECOND - CLAIM_MAX;
/// The number of consecutive failures after which the destination counts as down.
const FAILURES: usize = 10;

/// The position of a request in its delivery. A later request of a delivery is allowed even if a first request is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Later,
}

/// The protocol oracle's record of the requests of one process and of Imprint's answers.
#[derive(Debug)]
pub(super) struct ProtocolOracle {
    rate: Rate,
    in_flight_max: usize,
    in_flight: BTreeSet<LaneId>,
    last_second: VecDeque<i64>,
    /// The last time at which the first request of a delivery was sent.
    last: i64,
    /// True if Imprint has refused the API key.
    is_refused: bool,
    failures: usize,
    wait_until: i64,
    /// True if Imprint forbids the operation, which takes precedence over throttling.
    forbidden: bool,
    mode: OperatorMode,
    /// True if the store has saved the wait that Imprint asked for.
    is_wait_saved: bool,
    /// The last time at which Imprint applied a request of each lane.
    applied: BTreeMap<LaneId, i64>,
    /// The last time at which a delivery of each lane failed.
    failed: BTreeMap<LaneId, i64>,
    /// The time until which each lane rests after a failed request.
    rests: BTreeMap<LaneId, i64>,
}

impl ProtocolOracle {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            rate: plan.rate,
            in_flight_max: plan.concurrency * plan.dispatchers,
            in_flight: BTreeSet::new(),
            last_second: VecDeque::new(),
            last: i64::MIN / 2,
            is_refused: false,
            failures: 0,
            wait_until: i64::MIN,
            forbidden: false,
            mode: OperatorMode::Open,
            is_wait_saved: true,
            applied: BTreeMap::new(),
            failed: BTreeMap::new(),
            rests: BTreeMap::new(),
        }
    }

    /// Records the start of another process, which must respect a wait only if the wait was saved and the clock did
    /// not change.
    pub(super) fn restarted(&mut self, is_same_clock: bool) {
        self.in_flight.clear();
        self.last_second.clear();
        self.is_refused = false;
        self.failures = 0;
        if !is_same_clock || !self.is_wait_saved {
            self.wait_until = i64::MIN;
        }
        if !is_same_clock {
            self.rests.clear();
        }
    }

    /// Records that the process ended before the store saved the wait.
    pub(super) const fn wait_was_not_saved(&mut self) {
        self.wait_until = i64::MIN;
    }

    pub(super) const fn set_mode(&mut self, mode: OperatorMode) {
        self.mode = mode;
    }

    pub(super) const fn wait_is_saved(&mut self, is_wait_saved: bool) {
        self.is_wait_saved = is_wait_saved;
    }

    pub(super) fn sent(&mut self, lane: LaneId, turn: Turn, now: i64) -> Result<(), Violation> {
        self.keeps_pace(now)?;
        if !self.in_flight.insert(lane) {
            let what = format!("lane {} has two requests in flight", lane.0);
            return violation(Law::OneInFlight, what);
        }
        if self.in_flight.len() > self.in_flight_max {
            let what = format!("{} requests in flight", self.in_flight.len());
            return violation(Law::OneInFlight, what);
        }
        if self.mode == OperatorMode::Shadow {
            let what = format!("asked at {now} in shadow mode");
            return violation(Law::LeftAlone, what);
        }
        if turn == Turn::Later {
            return Ok(());
        }
        let since = now - self.last;
        self.last = now;
        let disturbed = if self.mode == OperatorMode::Paused {
            "it is paused"
        } else if now < self.wait_until {
            "it asked for a wait"
        } else if self.is_refused && since < REFUSED_EVERY {
            "it refuses the key"
        } else if self.rests.get(&lane).is_some_and(|until| now < *until) {
            "the lane rests"
        } else if self.failures >= FAILURES + 2 * self.in_flight_max && since < DOWN_EVERY {
            "it is down"
        } else {
            return Ok(());
        };
        violation(
            Law::LeftAlone,
            format!("asked at {now} although {disturbed}"),
        )
    }

    fn keeps_pace(&mut self, now: i64) -> Result<(), Violation> {
        let Rate::PerSecond(rate) = self.rate else {
            return Ok(());
        };
        self.last_second.push_back(now);
        self.last_second.retain(|at| *at > now - SECOND);
        let sent = f64::from(u32::try_from(self.last_second.len()).unwrap_or(u32::MAX));
        if sent > (rate + (rate * 0.1).max(1.0)).ceil() {
            return violation(
                Law::Pace,
                format!("{sent} requests in the second before {now}"),
            );
        }
        Ok(())
    }

    /// Records the end of a request that shows nothing about the state of the destination.
    pub(super) fn answered(&mut self, lane: LaneId) {
        self.in_flight.remove(&lane);
    }

    /// Records the outcome of a request, where `None` means a successful lookup.
    pub(super) fn heard(&mut self, lane: LaneId, outcome: Option<&Outcome>, now: i64) {
        self.in_flight.remove(&lane);
        match outcome {
            None | Some(Outcome::Applied(_) | Outcome::NotFound | Outcome::Rejected(_)) => {
                self.failures = 0;
                self.is_refused = false;
                self.forbidden = false;
            }
            Some(Outcome::Throttled(hint)) => {
                self.failures = 0;
                let wait = hint.unwrap_or(Duration::from_secs(1));
                if !self.is_refused && !self.forbidden {
                    self.wait_until = self.wait_until.max(now + millis(wait));
                }
            }
            Some(Outcome::Unavailable(_) | Outcome::Unknown(_)) => self.failures += 1,
            Some(Outcome::Denied(Cause::Status(401))) => {
                self.failures = 0;
                self.is_refused = true;
                self.wait_until = i64::MIN;
            }
            Some(Outcome::Denied(_) | Outcome::Unclear(_)) => {
                self.failures = 0;
                self.forbidden = true;
                self.wait_until = i64::MIN;
            }
        }
    }

    /// Records that resting lanes are due, because the reason for the rest is over or a new entry came.
    pub(super) fn released(&mut self) {
        self.rests.clear();
    }

    /// Records that a lane rests after a failed delivery.
    pub(super) fn rests(&mut self, lane: LaneId, until: i64) {
        self.rests.insert(lane, until);
    }

    /// Records that Imprint applied a request of a lane.
    pub(super) fn applied(&mut self, lane: LaneId, now: i64) {
        self.applied.insert(lane, now);
    }

    /// Checks the settlement of a delivery that was decided at `now`. An attempt may count only if Imprint served
    /// another lane since the last failure of this lane.
    pub(super) fn settled(
        &mut self,
        lane: LaneId,
        (spent, failed): (bool, bool),
        now: i64,
    ) -> Result<(), Violation> {
        let since = self.failed.get(&lane).copied();
        let serves = |(other, at): (&LaneId, &i64)| {
            *other != lane && since.is_some_and(|since| *at >= since)
        };
        if spent && !self.applied.iter().any(serves) {
            let what = format!(
                "lane {} is blamed, and nobody was served since {since:?}",
                lane.0
            );
            return violation(Law::Isolated, what);
        }
        if failed {
            self.failed.insert(lane, now);
        }
        Ok(())
    }
}
