//! Bugs that are put into the steps of the dispatcher on purpose, to show that the judges would notice.

use std::time::Duration;

use imprint_bridge::dispatch::breaker::{Attribution, Signal};
use imprint_bridge::dispatch::destination::Assessment;
use imprint_bridge::dispatch::lane_exchange::{Conclusion, ImprintCall};
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::dispatch::policy::{Attempt, Decision, Effect, Rest};
use imprint_bridge::fold::LaneVersions;
use imprint_bridge::imprint::{Echo, Outcome};
use imprint_bridge::outbox::{ClaimedLane, ParkReason, Settlement};

use super::plan::Plan;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    Absent,
    /// Folding does not know what Imprint has already.
    ForgetsVersions,
    /// Folding leaves out the newest entry.
    DropsTheNewest,
    /// A request that failed is taken for delivered.
    TakesFailureForDelivery,
    /// Facts that may have been undone are not asserted once more.
    LosesAssertion,
    /// A request that may have been applied is taken for one that was not.
    ForgetsDoubt,
    /// What a process before this one may have sent is not doubted.
    ForgetsCrash,
    /// A refused key parks what was sent.
    ParksWhatWasDenied,
    /// What was settled is settled once more.
    SettlesTwice,
    /// A lane is free again while its request is under way.
    FreesEarly,
    /// Nobody keeps to the rate.
    IgnoresPace,
    /// The destination is not told what came of requests.
    TellsNobody,
    /// An event is answered and then not kept.
    AnswersBeforeKeeping,
    /// A request goes to the customer next to the right one.
    AsksAboutAnother,
    /// Every failure is the lane's own.
    BlamesTheLane,
    /// A lane that failed rests for a day.
    RestsForADay,
    /// What was delivered is sent again.
    RepeatsWhatWasDelivered,
    /// A lane that has nothing to ask keeps the place that it was granted.
    KeepsItsPlace,
    /// A customer who fails makes everybody wait.
    OneStopsAll,
}

impl Bug {
    /// A lane was claimed.
    pub(super) fn claimed(self, claimed: &mut ClaimedLane) {
        if self == Self::ForgetsVersions {
            claimed.versions = LaneVersions::default();
        }
        if self == Self::ForgetsCrash {
            claimed.maybe_sent_to = None;
        }
        if self == Self::DropsTheNewest && claimed.waiting.len() > 1 {
            claimed.waiting.sort_by_key(|waiting| waiting.version);
            claimed.waiting.pop();
        }
    }

    /// An ask leaves.
    pub(super) fn asked(self, ask: &mut ImprintCall, plan: &Plan) {
        if let (Self::AsksAboutAnother, ImprintCall::Update(request)) = (self, ask) {
            let mut others = plan.people.iter();
            let other = others.find(|person| person.imprint != request.customer);
            request.customer = other.expect("there are three").imprint.clone();
        }
    }

    /// The destination is told; `None` if it is not.
    pub(super) fn told(self, news: Option<Signal>) -> Option<Signal> {
        match (self, news) {
            (Self::TellsNobody, _) => None,
            (Self::OneStopsAll, Some(Signal::Failed)) => {
                Some(Signal::Throttled(Some(Duration::from_mins(20))))
            }
            (_, news) => news,
        }
    }

    /// The destination says what it thinks of it.
    pub(super) fn seen(self, view: Assessment) -> Assessment {
        let fault = if self == Self::BlamesTheLane {
            Attribution::Lane
        } else {
            view.fault
        };
        Assessment { fault, ..view }
    }

    /// A process learns how fast it may go.
    pub(super) fn paced(self, rate: Rate) -> Rate {
        if self == Self::IgnoresPace {
            Rate::Unlimited
        } else {
            rate
        }
    }

    /// It was decided what becomes of a lane.
    pub(super) fn decided(self, conclusion: &Conclusion, decision: Decision) -> Decision {
        let is_denied = matches!(conclusion, Conclusion::Updated(Outcome::Denied(_)));
        match (self, decision) {
            (Self::TakesFailureForDelivery, Decision::Retry { .. }) => {
                Decision::Deliver(Echo::default())
            }
            (Self::ForgetsDoubt, Decision::Retry { rest, attempt, .. }) => Decision::Retry {
                applied: Effect::None,
                rest,
                attempt,
            },
            (Self::ParksWhatWasDenied, Decision::Wait(_)) if is_denied => {
                Decision::ParkAll(ParkReason::Rejected)
            }
            (Self::RepeatsWhatWasDelivered, Decision::Deliver(_)) => Decision::Retry {
                applied: Effect::None,
                rest: Rest::Backoff,
                attempt: Attempt::NotCounted,
            },
            (_, decision) => decision,
        }
    }

    /// It was written down.
    pub(super) fn written(self, settlement: &mut Settlement) {
        if self == Self::LosesAssertion {
            settlement.reassert_at = None;
        }
        if self == Self::RestsForADay && settlement.trials.failures > 0 {
            settlement.due = settlement.at.after(Duration::from_hours(24));
        }
    }
}
