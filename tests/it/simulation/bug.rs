//! Bugs that the simulation plants around the dispatch core, to show that the oracles detect bugs.
//!
//! The dispatch core is the unchanged production object: a planted bug changes only the inputs or the outputs of the
//! core.

use std::time::Duration;

use imprint_bridge::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::fold::LaneVersions;
use imprint_bridge::imprint::{Cause, Echo, Outcome, Rejection};
use imprint_bridge::outbox::{ClaimedLane, Ending, MaybeSent, Settlement, Trials};

use super::plan::Plan;

/// A planted bug, or `Absent` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    Absent,
    /// Planted bug: the fold does not know the delivered versions of the lane.
    ForgetsVersions,
    /// Planted bug: the fold leaves out the newest waiting entry.
    DropsTheNewest,
    /// Planted bug: the dispatcher treats a failed request as applied.
    TakesFailureForDelivery,
    /// Planted bug: the dispatcher does not reassert values that a late request may have overwritten.
    LosesReassertion,
    /// Planted bug: the dispatcher treats a request with an unknown outcome as not applied.
    ForgetsDoubt,
    /// Planted bug: the dispatcher forgets that an earlier process may have sent some entries.
    ForgetsCrash,
    /// Planted bug: the client takes the refusal of the API key for a rejection with Imprint's error type, which parks the
    /// entries of the refused request. A rejection without the type would park nothing without a proof.
    ParksWhatWasDenied,
    /// Planted bug: a settlement is recorded a second time.
    SettlesTwice,
    /// Planted bug: the store releases a lane while a request of the lane is in flight.
    FreesEarly,
    /// Planted bug: the dispatcher ignores the rate limit.
    IgnoresPace,
    /// Planted bug: the dispatcher reports no result of a request to the destination.
    TellsNobody,
    /// Planted bug: the bridge acknowledges an event and does not store the event.
    AnswersBeforeStoring,
    /// Planted bug: a request names another customer than the customer of the lane.
    UpdatesAnother,
    /// Planted bug: every failure uses an attempt of the lane, even if the destination is down.
    BlamesTheLane,
    /// Planted bug: a lane rests for a day after a failure.
    RestsForADay,
    /// Planted bug: the dispatcher sends delivered values again.
    RepeatsWhatWasDelivered,
    /// Planted bug: a delivery that sends no request keeps its permit.
    KeepsItsPermit,
    /// Planted bug: an erasure of a customer changes nothing in the store.
    KeepsWhatWasErased,
    /// Planted bug: the tombstone of a retired customer does not keep the versions.
    RetiresVersions,
    /// Planted bug: a failed request of one customer throttles the whole destination.
    OneStopsAll,
}

impl Bug {
    /// Applies the planted bug to a claimed lane.
    pub(super) fn claimed(self, claimed: &mut ClaimedLane) {
        if self == Self::ForgetsVersions {
            claimed.versions = LaneVersions::default();
        }
        if self == Self::ForgetsCrash {
            claimed.maybe_sent = MaybeSent::Nothing;
        }
        if self == Self::DropsTheNewest && claimed.waiting.len() > 1 {
            claimed.waiting.sort_by_key(|waiting| waiting.version);
            claimed.waiting.pop();
        }
    }

    /// Applies the planted bug to a call before the world sends the call.
    pub(super) fn calls(self, call: &mut ImprintCall, plan: &Plan) {
        if let (Self::UpdatesAnother, ImprintCall::Update(request)) = (self, call) {
            let mut others = plan.people.iter();
            let other = others.find(|person| person.imprint != request.customer);
            request.customer = other.expect("there are three").imprint.clone();
        }
    }

    /// Applies the planted bug to an answer of Imprint.
    pub(super) fn replied(self, reply: ImprintReply) -> ImprintReply {
        let ImprintReply::Outcome(outcome) = reply else {
            return reply;
        };
        ImprintReply::Outcome(match (self, outcome) {
            (Self::TakesFailureForDelivery, Outcome::Unavailable(_) | Outcome::Unknown(_)) => {
                Outcome::Applied(Echo::default())
            }
            (Self::ForgetsDoubt, Outcome::Unknown(_)) => Outcome::Unavailable(Cause::Connect),
            (Self::ParksWhatWasDenied, Outcome::Denied(Cause::Status(_))) => {
                Outcome::Rejected(Rejection {
                    status: 400,
                    kind: Some("BAD_REQUEST_ERROR"),
                    param: None,
                })
            }
            (_, outcome) => outcome,
        })
    }

    /// Returns whether the planted bug makes the whole destination wait after this answer.
    pub(super) const fn stops_all(self, outcome: Option<&Outcome>) -> bool {
        matches!(self, Self::OneStopsAll)
            && matches!(outcome, Some(Outcome::Unavailable(_) | Outcome::Unknown(_)))
    }

    /// Applies the planted bug to the configured request rate of a process.
    pub(super) fn rate(self, rate: Rate) -> Rate {
        if self == Self::IgnoresPace {
            Rate::Unlimited
        } else {
            rate
        }
    }

    /// Applies the planted bug to a settlement before the store records it. `before` holds the lane's failures at the
    /// claim.
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
