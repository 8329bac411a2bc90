//! Bugs that are planted around the core on purpose, to show that the oracles would notice them.
//!
//! The core itself is the production object and is not touched: a bug changes what goes into it or what comes out of it.

use std::time::Duration;

use imprint_bridge::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::fold::LaneVersions;
use imprint_bridge::imprint::{Cause, Echo, Outcome, Rejection};
use imprint_bridge::outbox::{ClaimedLane, Ending, Settlement, Trials};

use super::plan::Plan;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    Absent,
    /// Folding does not know what was delivered.
    ForgetsVersions,
    /// Folding leaves out the newest entry.
    DropsTheNewest,
    /// A request that failed is taken for applied.
    TakesFailureForDelivery,
    /// Values that a late request may have overwritten are not sent again.
    LosesReassertion,
    /// A request that may have been applied is taken for one that was not.
    ForgetsDoubt,
    /// What an earlier process may have sent is not in doubt.
    ForgetsCrash,
    /// A refused key parks what was sent.
    ParksWhatWasDenied,
    /// What was settled is settled once more.
    SettlesTwice,
    /// A lane is free again while its request is in flight.
    FreesEarly,
    /// The rate is ignored.
    IgnoresPace,
    /// The destination is not told the results of requests.
    TellsNobody,
    /// An event is answered and then not stored.
    AnswersBeforeStoring,
    /// A request goes to the customer next to the right one.
    UpdatesAnother,
    /// Every failure is the lane's own.
    BlamesTheLane,
    /// A lane that failed rests for a day.
    RestsForADay,
    /// What was delivered is sent again.
    RepeatsWhatWasDelivered,
    /// A delivery that sent nothing keeps its permit.
    KeepsItsPermit,
    /// A customer whose request fails makes everybody wait.
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

    /// A call is sent.
    pub(super) fn calls(self, call: &mut ImprintCall, plan: &Plan) {
        if let (Self::UpdatesAnother, ImprintCall::Update(request)) = (self, call) {
            let mut others = plan.people.iter();
            let other = others.find(|person| person.imprint != request.customer);
            request.customer = other.expect("there are three").imprint.clone();
        }
    }

    /// Imprint has answered.
    pub(super) fn replied(self, reply: ImprintReply) -> ImprintReply {
        let ImprintReply::Outcome(outcome) = reply else {
            return reply;
        };
        ImprintReply::Outcome(match (self, outcome) {
            (Self::TakesFailureForDelivery, Outcome::Unavailable(_) | Outcome::Unknown(_)) => {
                Outcome::Applied(Echo::default())
            }
            (Self::ForgetsDoubt, Outcome::Unknown(cause)) => Outcome::Unavailable(cause),
            (Self::ParksWhatWasDenied, Outcome::Denied(Cause::Status(status))) => {
                Outcome::Rejected(Rejection {
                    status,
                    kind: None,
                    param: None,
                })
            }
            (Self::OneStopsAll, Outcome::Unavailable(_) | Outcome::Unknown(_)) => {
                Outcome::Throttled(Some(Duration::from_mins(20)))
            }
            (_, outcome) => outcome,
        })
    }

    /// A process learns how fast it may send.
    pub(super) fn rate(self, rate: Rate) -> Rate {
        if self == Self::IgnoresPace {
            Rate::Unlimited
        } else {
            rate
        }
    }

    /// A settlement is recorded, of a lane whose requests had fared like this `before`.
    pub(super) fn settles(self, settlement: &mut Settlement, before: Trials) {
        let has_failed = settlement.trials.failures > before.failures;
        if self == Self::LosesReassertion {
            settlement.reassert_at = None;
        }
        if self == Self::RestsForADay && settlement.trials.failures > 0 {
            settlement.due = settlement.at.after(Duration::from_hours(24));
        }
        if self == Self::BlamesTheLane && has_failed {
            settlement.trials.attempts = before.attempts + 1;
        }
        let is_delivered =
            |ending: &Ending| matches!(ending, Ending::Delivered | Ending::Superseded(_));
        let mut endings = settlement.endings.iter();
        if self == Self::RepeatsWhatWasDelivered && endings.any(|(_, ending)| is_delivered(ending))
        {
            settlement
                .endings
                .retain(|(_, ending)| !is_delivered(ending));
            settlement.versions = None;
            settlement.due = settlement.at.after(Duration::from_secs(1));
        }
    }
}
