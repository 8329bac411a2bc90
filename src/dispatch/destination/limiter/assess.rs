//! Updates the evidence and the breaker after each answer of Imprint. This module is pure: it does no IO and reads no
//! clock.

use super::SendLimiter;
use crate::dispatch::breaker::{Attribution, DestinationState, Signal};
use crate::dispatch::destination::{Assessment, OperatorMode};
use crate::dispatch::evidence::{AbsentCustomer, Accuser, Blame, Testimony};
use crate::dispatch::moment::Moment;
use crate::imprint::ImprintId;
use crate::outbox::{Absence, LaneId, Trials};
use crate::time::Timestamp;

/// The maximum age, in milliseconds, of an applied request that proves that the destination works.
///
/// This maximum applies to the first failure of a lane.
const EVIDENCE_FRESH_MILLIS: i64 = 10_000;
/// The answer to the requests of one lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneAnswer<'a> {
    pub lane: LaneId,
    /// The Imprint id of the lane's customer. `None` means that the bridge does not know the Imprint id.
    pub customer: Option<&'a ImprintId>,
    /// The failures of the lane before this answer.
    pub trials: Trials,
    /// True if Imprint has applied an update of the customer before.
    pub is_known: bool,
    /// What the answer shows about the destination.
    pub signal: Signal,
    /// The details of an answer that the customer does not exist. `None` for every other answer.
    pub absent: Option<AbsentCustomer>,
    /// True if a search found a customer.
    pub has_found: bool,
}

/// The two different lanes whose requests Imprint applied last.
///
/// For any lane, at least one of the two is a different lane, and shows when Imprint last applied a request of a
/// different lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastApplied {
    last: Option<(LaneId, Timestamp)>,
    other: Option<(LaneId, Timestamp)>,
}

impl SendLimiter {
    /// Processes the answer to a lane's request. `sent_at` is the time when dispatch sent the request. Returns the
    /// state before the answer, and the assessment.
    pub(in crate::dispatch::destination) fn assess(
        &mut self,
        answer: LaneAnswer<'_>,
        sent_at: Timestamp,
        moment: Moment,
    ) -> (DestinationState, Assessment) {
        let now = moment.now;
        let before = self.state;
        // An applied request has no failure to attribute.
        let attribution = if answer.signal == Signal::Applied {
            Attribution::Unknown
        } else {
            self.attribution(answer.lane, answer.trials, now)
        };
        let (blame, absence) = self.blame(answer, attribution, sent_at, now);
        // While Imprint rejects or denies every customer, the answer to a search shows nothing about updates.
        let is_shown = answer.signal != Signal::Answered || !self.evidence.is_refusing(now);
        let signal = Some(answer.signal).filter(|_| is_shown);
        let signal = signal.unwrap_or(Signal::Unrelated);
        self.enter(before.after(signal, blame, now, moment.jitter()));
        self.decided(before, sent_at);
        // Do not record lanes that failed before: hundreds of lanes that always fail would hide the results of the
        // other lanes.
        if answer.trials.failures == 0 {
            self.results.record(answer.lane, answer.signal, now);
        }
        self.first_results.record(&answer);
        if answer.has_found {
            self.evidence.found(sent_at);
        }
        if answer.signal == Signal::Applied {
            self.applied.record(answer.lane, now);
            if let Some(customer) = answer.customer {
                self.evidence.record_witness(answer.lane, customer, now);
            }
        }
        if answer.trials.failures > 0 {
            self.failing_applied = match answer.signal {
                Signal::Applied => self.failing_applied.saturating_add(1),
                Signal::Answered | Signal::Rejected | Signal::Missing | Signal::Unrelated => {
                    self.failing_applied
                }
                Signal::Unexplained
                | Signal::Failed
                | Signal::Throttled(_)
                | Signal::Refused
                | Signal::Forbidden => 0,
            };
        }
        let assessment = Assessment {
            state: self.state,
            attribution,
            blame,
            at: now,
            absence,
        };
        (before, assessment)
    }

    /// Enters a state. Each time Imprint asks for a wait or a longer wait, halves the request rate.
    pub(super) fn enter(&mut self, state: DestinationState) {
        if self.state.wait() < state.wait() {
            self.pace.halve();
        }
        self.state = state;
    }

    /// Returns whether the lane itself caused its failure. This is so if Imprint applied a request of a different lane
    /// since this lane last failed, and most of the last requests of other lanes succeeded.
    fn attribution(&self, lane: LaneId, trials: Trials, now: Timestamp) -> Attribution {
        let fresh = now.as_millis().saturating_sub(EVIDENCE_FRESH_MILLIS);
        let since = trials
            .tried_at
            .unwrap_or_else(|| Timestamp::from_millis(fresh));
        let is_other_applied = self
            .applied
            .of_another_lane(lane)
            .is_some_and(|at| at >= since)
            && self.results.others_succeed(lane, now);
        match self.state {
            DestinationState::Flowing { .. } if is_other_applied => Attribution::Lane,
            DestinationState::Flowing { .. }
            | DestinationState::Throttled { .. }
            | DestinationState::Probing(_)
            | DestinationState::Stopped(_) => Attribution::Unknown,
        }
    }

    /// Records an answer as evidence. Returns the party that caused a failure. If the answer says that the customer
    /// does not exist, also returns the record of this answer.
    fn blame(
        &mut self,
        LaneAnswer {
            lane,
            customer,
            trials,
            is_known,
            signal,
            absent,
            ..
        }: LaneAnswer<'_>,
        attribution: Attribution,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> (Blame, Option<Absence>) {
        if let Some(customer) = customer {
            self.evidence.meet(lane, customer);
        }
        if trials.failures == 0 || signal != Signal::Unexplained {
            self.evidence.forget_rejection(lane);
        }
        let blame = match signal {
            Signal::Missing => {
                let absent = absent.unwrap_or(AbsentCustomer::UNTYPED);
                return self.evidence.missing(lane, absent, (sent_at, now));
            }
            Signal::Rejected => {
                self.evidence.succeeded(lane, signal, sent_at);
                self.evidence.rejected(lane, now)
            }
            Signal::Applied | Signal::Answered | Signal::Unrelated => {
                self.evidence.succeeded(lane, signal, sent_at);
                Blame::Unproven
            }
            // If a lane fails again while Imprint applies requests of other lanes, the failure shows nothing about the
            // destination. Hundreds of such lanes must not change the state of the breaker.
            Signal::Failed if trials.failures > 0 && attribution == Attribution::Lane => {
                Blame::Lane
            }
            Signal::Unexplained
            | Signal::Failed
            | Signal::Throttled(_)
            | Signal::Refused
            | Signal::Forbidden => {
                let times = (sent_at, now);
                let accuser = Accuser { lane, is_known };
                self.evidence.failed(accuser, signal, times, self.state)
            }
        };
        (blame, None)
    }

    /// Returns whether dispatch must ask about a witness.
    pub(in crate::dispatch::destination) fn is_asking_wanted(&self, now: Timestamp) -> bool {
        self.evidence.is_asking_wanted(now)
    }

    /// Returns the witness to retrieve now. Returns `None` if no question is necessary, or if the rate limit has no
    /// token.
    pub(in crate::dispatch::destination) fn ask_witness(
        &mut self,
        now: Timestamp,
    ) -> Option<ImprintId> {
        let is_open = self.mode == OperatorMode::Open && self.state.honours_permits(now);
        if !self.evidence.is_asking_wanted(now) || !is_open {
            return None;
        }
        if self.pace.take(1, now) == 0 {
            self.pace.need(1);
            return None;
        }
        let witness = self.evidence.ask(now);
        if witness.is_none() {
            self.pace.give_back(1);
        }
        witness
    }

    /// Records that a question about a witness got no answer, so that dispatch asks again.
    pub(in crate::dispatch::destination) fn ask_again(&mut self) {
        self.evidence.ask_again();
    }

    /// Processes the answer about a witness. `sent_at` is the time of the question. Returns the state before and after
    /// the answer.
    pub(in crate::dispatch::destination) fn testified(
        &mut self,
        customer: &ImprintId,
        testimony: Testimony,
        sent_at: Timestamp,
        moment: Moment,
    ) -> (DestinationState, DestinationState) {
        let before = self.state;
        let now = moment.now;
        self.evidence.testified(customer, testimony, (sent_at, now));
        self.enter(match testimony {
            Testimony::Found => before.witnessed(),
            Testimony::Nothing | Testimony::Denied => before,
            Testimony::Failed(signal) => {
                before.after(signal, Blame::Destination, now, moment.jitter())
            }
        });
        self.decided(before, sent_at);
        (before, self.state)
    }
}

impl LastApplied {
    fn record(&mut self, lane: LaneId, now: Timestamp) {
        if self.last.is_some_and(|(last, _)| last != lane) {
            self.other = self.last;
        }
        self.last = Some((lane, now));
    }

    /// Returns the time when Imprint last applied a request of a different lane.
    fn of_another_lane(&self, lane: LaneId) -> Option<Timestamp> {
        let is_other = |applied: &(LaneId, Timestamp)| applied.0 != lane;
        let newest_first = [self.last, self.other].into_iter().flatten();
        newest_first.filter(is_other).map(|(_, at)| at).next()
    }
}
