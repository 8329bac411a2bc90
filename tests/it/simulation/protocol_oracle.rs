//! The protocol oracle checks the rate of requests, and that the bridge sends no request while Imprint must be left
//! alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use imprint_bridge::dispatch::destination::OperatorMode;
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::imprint::{Cause, LookupResult, Outcome};
use imprint_bridge::outbox::LaneId;

use super::oracle::{Law, Violation, violation};
use super::plan::{Plan, millis};

const SECOND: i64 = 1_000;
/// The longest time in milliseconds that the store takes for a claim. A slow claim may delay one request and not the
/// next request, so the interval between both requests may be shorter by `CLAIM_MAX`.
pub(super) const CLAIM_MAX: i64 = 20;
const CLAIM_SECONDS_MAX: f64 = 0.02;
/// The shortest interval in milliseconds between two probes of a destination that is down or refuses the API key. Lanes
/// that have not failed may probe every second.
const PROBE_EVERY: i64 = SECOND - CLAIM_MAX;
/// The number of consecutive failures after which the destination counts as down.
const FAILURES: usize = 10;
/// The time in milliseconds after a success for which evidence against single lanes holds.
const EXCUSED_FOR: i64 = 30 * SECOND;
/// The number of consecutive refusals, or 429 answers, after which the destination refuses or throttles every lane.
const REFUSALS: usize = 4;

/// The position of a request in its delivery. A later request of a delivery is allowed even if a first request is not,
/// but not in shadow mode, during a pause or during a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Later,
}

/// The protocol oracle's record of the requests of one process and of Imprint's answers.
#[derive(Debug)]
pub(super) struct ProtocolOracle {
    rate: Rate,
    is_shared: bool,
    in_flight_max: usize,
    in_flight: BTreeSet<LaneId>,
    last_second: VecDeque<i64>,
    /// The last time at which the first request of a delivery was sent.
    last: i64,
    /// The lanes of consecutive answers that refuse the API key, with the number of these answers.
    refused: (BTreeSet<LaneId>, usize),
    /// The number of consecutive failures that can show an outage.
    failures: usize,
    /// The lanes of consecutive failures whose last request before had not failed.
    failing: BTreeSet<LaneId>,
    /// The lanes of consecutive failures that had failed before. The first failure of such a lane after the success of
    /// another lane may be the fault of the lane, so this failure does not show an outage.
    excused: BTreeSet<LaneId>,
    /// The last time at which Imprint served a request. Until [`EXCUSED_FOR`] after this time, the failures of lanes that
    /// had failed before may all be their own.
    served_at: i64,
    /// The lanes of consecutive 429 answers, with the number of these answers.
    throttled: (BTreeSet<LaneId>, usize),
    /// The number of questions about a witness that Imprint has not answered. The answer decides whether 429 answers and
    /// refusals concern the destination or some lanes, so until then, no wait binds the destination, and no refusal stops it.
    questions: usize,
    /// The end of the wait that binds the destination. The wait of a 429 for a single lane binds only this lane, even if
    /// Imprint throttles the destination later: Imprint then states the wait of the destination again.
    wait_until: i64,
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
            is_shared: plan.is_shared,
            in_flight_max: plan.concurrency * plan.dispatchers,
            in_flight: BTreeSet::new(),
            last_second: VecDeque::new(),
            last: i64::MIN / 2,
            refused: (BTreeSet::new(), 0),
            failures: 0,
            failing: BTreeSet::new(),
            excused: BTreeSet::new(),
            served_at: i64::MIN / 2,
            throttled: (BTreeSet::new(), 0),
            questions: 0,
            wait_until: i64::MIN,
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
        self.questions = 0;
        self.last_second.clear();
        self.succeeded(i64::MIN / 2);
        if !is_same_clock || !self.is_wait_saved {
            self.wait_until = i64::MIN;
        }
        if !is_same_clock {
            self.rests.clear();
        }
    }

    /// Records that Imprint served a request.
    fn succeeded(&mut self, now: i64) {
        self.served_at = now;
        self.refused = (BTreeSet::new(), 0);
        self.failures = 0;
        self.failing.clear();
        self.excused.clear();
        self.throttled = (BTreeSet::new(), 0);
    }

    /// Records a question about a witness.
    pub(super) const fn asked_witness(&mut self) {
        self.questions += 1;
    }

    /// Records the answer about a witness. A witness that Imprint returns shows that failures of some lanes are no fault
    /// of the destination.
    pub(super) fn testified(&mut self, found: &LookupResult, now: i64) {
        self.questions = self.questions.saturating_sub(1);
        match found {
            LookupResult::Found(_) => {
                self.succeeded(now);
                // The 429 answers until now concerned single lanes, and so did their waits.
                self.wait_until = i64::MIN;
            }
            LookupResult::Failed(outcome) => self.counted(LaneId(0), outcome, now),
            LookupResult::NotFound | LookupResult::Ambiguous => {}
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
        let settling = 2 * self.in_flight_max;
        let is_throttled = self.throttled.0.len() > 1 && self.throttled.1 >= REFUSALS + settling;
        let waits = is_throttled && self.questions == 0 && now < self.wait_until;
        if turn == Turn::Later {
            if waits || self.mode == OperatorMode::Paused {
                let what = format!("asked again at {now} during a wait or a pause");
                return violation(Law::LeftAlone, what);
            }
            return Ok(());
        }
        let since = now - self.last;
        self.last = now;
        let is_refused = self.refused.0.len() > 1 && self.refused.1 >= REFUSALS + settling;
        let is_down = self.failures >= FAILURES + settling && self.failing.len() > 1;
        let disturbed = if self.mode == OperatorMode::Paused {
            "it is paused"
        } else if waits {
            "it asked for a wait"
        } else if is_refused && self.questions == 0 && since < PROBE_EVERY {
            "it refuses the key"
        } else if self.rests.get(&lane).is_some_and(|until| now < *until) {
            "the lane rests"
        } else if is_down && since < PROBE_EVERY {
            "it is down"
        } else {
            return Ok(());
        };
        violation(
            Law::LeftAlone,
            format!("asked at {now} although {disturbed}"),
        )
    }

    pub(super) fn keeps_pace(&mut self, now: i64) -> Result<(), Violation> {
        let Rate::PerSecond(rate) = self.rate else {
            return Ok(());
        };
        self.last_second.push_back(now);
        self.last_second.retain(|at| *at > now - SECOND);
        let sent = f64::from(u32::try_from(self.last_second.len()).unwrap_or(u32::MAX));
        // A process can hold the tokens of an order, or of a claim, for a moment before it sends.
        let burst = match self.is_shared {
            true => 2.0 * (rate * 0.25).max(1.0),
            false => (rate * 0.1).max(1.0) + rate * CLAIM_SECONDS_MAX,
        };
        if sent > (rate + burst).ceil() {
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
                self.succeeded(now);
            }
            Some(outcome) => self.counted(lane, outcome, now),
        }
    }

    /// Returns whether the last request of a lane did not fail. A lane that keeps failing shows nothing.
    fn is_credible(&self, lane: LaneId) -> bool {
        self.failed.get(&lane) <= self.applied.get(&lane)
    }

    /// Counts a failing answer.
    fn counted(&mut self, lane: LaneId, outcome: &Outcome, now: i64) {
        match outcome {
            Outcome::Applied(_) | Outcome::NotFound | Outcome::Rejected(_) => {}
            Outcome::Throttled(hint) => {
                self.failures = 0;
                self.refused.1 = 0;
                self.throttled.1 += 1;
                let is_credible = self.is_credible(lane);
                if is_credible {
                    self.throttled.0.insert(lane);
                }
                if is_credible && self.throttled.0.len() > 1 {
                    let wait = hint.unwrap_or(Duration::from_secs(1));
                    self.wait_until = self.wait_until.max(now + millis(wait));
                }
            }
            Outcome::Unavailable(_) | Outcome::Unknown(_) => {
                if self.is_credible(lane) {
                    self.failing.insert(lane);
                    self.failures += 1;
                } else if !self.excused.insert(lane) && now - self.served_at > EXCUSED_FOR {
                    self.failures += 1;
                }
                self.throttled.1 = 0;
                self.refused.1 = 0;
            }
            Outcome::Denied(Cause::Status(401)) => {
                self.failures = 0;
                self.throttled.1 = 0;
                // A lane that had failed before is no evidence against Imprint until Imprint has applied its request,
                // or until the last success of another lane is too old.
                let is_credible = self.is_credible(lane);
                if is_credible {
                    self.refused.0.insert(lane);
                }
                let is_evidence = is_credible || now - self.served_at > EXCUSED_FOR;
                self.refused.1 += usize::from(is_evidence);
            }
            Outcome::Denied(_) | Outcome::Unclear(_) => {
                self.failures = 0;
                self.refused.1 = 0;
                self.throttled.1 = 0;
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
