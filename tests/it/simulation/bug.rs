//! Bugs that are planted around the core on purpose, to show that the oracles detect them.
//!
//! The core is the unchanged production object: a bug changes only its inputs or its outputs.

use std::time::Duration;

use imprint_bridge::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::fold::LaneVersions;
use imprint_bridge::imprint::{Cause, Echo, Outcome, Rejection};
use imprint_bridge::outbox::{ClaimedLane, Ending, Settlement, Trials};

use super::plan::Plan;

/// The planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    Absent,
    /// Folding does not know the delivered versions.
    ForgetsVersions,
    /// Folding leaves out the newest entry.
    DropsTheNewest,
    /// A request that failed is taken for applied.
    TakesFailureForDelivery,
    /// Values that a late request may have overwritten are not sent again.
    LosesReassertion,
    /// A request that may have been applied is taken for one that was not.
    ForgetsDoubt,
    /// Entries that an earlier process may have sent are not in doubt.
    ForgetsCrash,
    /// A refused key parks the entries that were sent.
    ParksWhatWasDenied,
    /// A settlement is recorded a second time.
    SettlesTwice,
    /// A lane is free again while its request is in flight.
    FreesEarly,
    /// The rate is ignored.
    IgnoresPace,
    /// No result of a request is reported to the destination.
    TellsNobody,
    /// An event is answered and then not stored.
    AnswersBeforeStoring,
    /// A request goes to another customer than the right one.
    UpdatesAnother,
    /// Every failure is the lane's own.
    BlamesTheLane,
    /// A lane that failed rests for a day.
    RestsForADay,
    /// Delivered values are sent again.
    RepeatsWhatWasDelivered,
    /// A delivery that sent nothing keeps its permit.
    KeepsItsPermit,
    /// A customer whose request fails makes everybody wait.
    OneStopsAll,
}

impl Bug {
    /// Changes a claimed lane.
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

    /// Changes a call before the world sends it.
    pub(super) fn calls(self, call: &mut ImprintCall, plan: &Plan) {
        if let (Self::UpdatesAnother, ImprintCall::Update(request)) = (self, call) {
            let mut others = plan.people.iter();
            let other = others.find(|person| person.imprint != request.customer);
            request.customer = other.expect("there are three").imprint.clone();
        }
    }

    /// Changes an answer of Imprint.
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

    /// Changes the rate that a process is configured with.
    pub(super) fn rate(self, rate: Rate) -> Rate {
        if self == Self::IgnoresPace {
            Rate::Unlimited
        } else {
            rate
        }
    }

    /// Changes a settlement before the store records it; `before` holds the lane's failures at the claim.
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
