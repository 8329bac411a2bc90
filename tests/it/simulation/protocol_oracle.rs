//! The protocol oracle checks how fast requests are sent, and that no request is sent while Imprint must be left alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use imprint_bridge::dispatch::destination::OperatorMode;
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::imprint::{Cause, Outcome};
use imprint_bridge::outbox::LaneId;

use super::oracle::{Law, Violation, violation};
use super::plan::{Plan, millis};

const SECOND: i64 = 1_000;
/// The longest time of the store for a claim. A request may be sent that much late, and the next request in time.
pub(super) const CLAIM_MAX: i64 = 20;
/// The interval at which a destination that refuses the key is probed.
const REFUSED_EVERY: i64 = 30 * SECOND - CLAIM_MAX;
/// The interval at which a destination that is down is probed.
const DOWN_EVERY: i64 = 5 * SECOND - CLAIM_MAX;
/// The number of failures in a row after which the destination counts as down.
const FAILURES: usize = 10;

/// Whether a request is the first of its delivery. Requests that follow from its answer may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Later,
}

/// The requests of one process, and Imprint's answers to them.
#[derive(Debug)]
pub(super) struct ProtocolOracle {
    rate: Rate,
    in_flight_max: usize,
    in_flight: BTreeSet<LaneId>,
    last_second: VecDeque<i64>,
    /// The time when the first request of a delivery was last sent.
    last: i64,
    /// Whether our key has been refused.
    is_refused: bool,
    failures: usize,
    wait_until: i64,
    /// Whether the operation is forbidden, which takes precedence over throttling.
    forbidden: bool,
    mode: OperatorMode,
    /// Whether the store knows of the wait.
    is_wait_saved: bool,
    /// When a request of each lane was last applied, and when one last failed.
    applied: BTreeMap<LaneId, i64>,
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

    /// Starts another process. The process must respect a wait only if the clock is the same and the wait was saved.
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

    /// Records that the process ended before it could save a wait.
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

    /// Records an answer that says nothing about the destination, or that no answer will come.
    pub(super) fn answered(&mut self, lane: LaneId) {
        self.in_flight.remove(&lane);
    }

    /// Records an answer, or the deadline; `None` is a lookup that succeeded.
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

    /// Records that resting lanes became due, because the reason is over or a new entry came.
    pub(super) fn released(&mut self) {
        self.rests.clear();
    }

    /// Records that a delivery failed and its lane rests.
    pub(super) fn rests(&mut self, lane: LaneId, until: i64) {
        self.rests.insert(lane, until);
    }

    /// Records that a request of a lane was applied.
    pub(super) fn applied(&mut self, lane: LaneId, now: i64) {
        self.applied.insert(lane, now);
    }

    /// A delivery is settled that was decided at `now`. An attempt counts only if another lane was applied since this lane
    /// last failed.
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
