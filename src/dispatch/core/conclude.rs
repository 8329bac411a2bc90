//! Turns an answer of Imprint into a decision about the lane. Every answer passes through this module. This module is
//! pure: it does no IO and reads no clock.
//!
//! The conclusion of an exchange passes through four pure functions:
//! - The exchange derives a [`Signal`]: what the answer shows about the destination.
//! - The destination compares the signal with the results of other lanes. The result is an [`Assessment`].
//! - The policy ([`decide`]) decides about the lane.
//! - [`settlement`] turns the decision into a settlement for the store.

use std::sync::Arc;

use super::{Context, LaneResult, Moment};
use crate::dispatch::breaker::{Attribution, DestinationState, Signal};
use crate::dispatch::destination::{Assessment, Inquiry, LaneAnswer, SendPermit};
use crate::dispatch::evidence::{Blame, Testimony};
use crate::dispatch::lane_exchange::{Conclusion, LaneExchange, signal_of};
use crate::dispatch::policy::{Decision, decide, is_unproven};
use crate::dispatch::settlement::{settlement, unproven};
use crate::imprint::{FieldGroup, LookupResult, Outcome};
use crate::outbox::{LaneId, Recognition, Settlement};
use crate::time::Timestamp;

/// A change of the destination that affects other lanes or a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationChange {
    /// Imprint asked for a wait until this time. The wait continues after a restart.
    Throttled(Timestamp),
    /// The destination works again, and the resting lanes must become due.
    Recovered,
}

/// The report about a delivery, for the log and the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub lane: LaneId,
    /// The state of the destination before and after the delivery. `None` means that dispatch sent no request.
    pub states: Option<(DestinationState, DestinationState)>,
    /// The result of the delivery in one word.
    pub outcome: &'static str,
    /// The cause of a failure. The text is empty if the delivery did not fail.
    pub cause: String,
    /// The number of entries whose values the request contained.
    pub entries: usize,
    /// True if the entries wait because nothing proves the cause of the result.
    pub is_unproven: bool,
    /// The counts of the delivered values, if Imprint applied the request.
    pub delivered: Option<Delivered>,
    /// The number of entries whose values reached the wrong customer: a customer with a different partner customer id
    /// than the event.
    pub misdirected: usize,
}

/// The counts of one applied request, and the field groups that differ in Imprint's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The number of values that the request sent again, because an older request possibly arrived after their first
    /// delivery.
    pub reasserted: usize,
    /// The number of entries that have the same version as another entry but different values.
    pub ties: usize,
    /// The field groups in which the values in Imprint's answer differ from the sent values.
    pub differs: Vec<FieldGroup>,
}

/// Decides what the conclusion of an exchange means for the destination and for the lane.
pub(super) fn conclude(
    exchange: &LaneExchange,
    conclusion: Conclusion,
    permit: Option<SendPermit>,
    context: Context<'_>,
    moment: Moment,
) -> LaneResult {
    let claimed = &exchange.claimed;
    let is_outdated = exchange.is_surely_gone()
        && permit
            .as_ref()
            .is_some_and(|permit| !permit.is_of_present_key());
    let assessed = assessed(exchange, &conclusion, permit, moment);
    let assessment = assessed.map_or_else(
        || Assessment {
            state: context.destination.state(),
            attribution: Attribution::Unknown,
            blame: Blame::Unproven,
            at: moment.now,
            absence: None,
        },
        |(_, assessment)| assessment,
    );
    let states = assessed.map(|(before, assessment)| (before, assessment.state));
    let (outcome, cause) = describe(&conclusion);
    let misdirected = if let Conclusion::Misdirected(echoed) = &conclusion {
        exchange.misdirected(echoed).count()
    } else {
        0
    };
    let decision = decide(exchange, conclusion, assessment, context.rules);
    let is_unproven = assessed.is_some() && is_unproven(&decision, assessment);
    let report = Report {
        lane: claimed.lane,
        states,
        outcome,
        cause,
        entries: exchange.fold.carried.len(),
        is_unproven: is_unproven || matches!(decision, Decision::AwaitProof(_)),
        delivered: delivered(exchange, &decision),
        misdirected,
    };
    let mut settlement = settlement(exchange, decision, context.rules, moment);
    if is_outdated {
        settlement = without_gone(settlement);
    }
    LaneResult {
        report: Some(report),
        change: states.and_then(|(before, after)| change(before, after)),
        settlement: Arc::new(match is_unproven {
            true => unproven(exchange, settlement, context.rules),
            false => settlement,
        }),
    }
}

/// Returns the state of the destination before the exchange's conclusion, and the assessment of the conclusion. Returns
/// `None` if the conclusion shows nothing about the destination.
fn assessed(
    exchange: &LaneExchange,
    conclusion: &Conclusion,
    permit: Option<SendPermit>,
    moment: Moment,
) -> Option<(DestinationState, Assessment)> {
    let (signal, permit) = exchange.signal(conclusion).zip(permit)?;
    let answer = LaneAnswer {
        lane: exchange.claimed.lane,
        customer: exchange.imprint_id(),
        trials: exchange.claimed.trials,
        is_known: exchange.claimed.versions.has_applied(),
        signal,
        absent: exchange.absent(conclusion),
        has_found: exchange.has_found(),
    };
    Some(permit.assess(answer, moment))
}

/// Returns the settlement without the mark that Imprint has no customer with the Imprint id of the lane.
///
/// The mark is true only for the API key that got the answer. Without the mark, dispatch sends the update again before
/// the search.
pub(super) fn without_gone(settlement: Settlement) -> Settlement {
    let recognition = match settlement.recognition {
        Recognition::Gone => Recognition::Unchanged,
        other @ (Recognition::Unchanged | Recognition::Applied(_)) => other,
    };
    Settlement {
        recognition,
        ..settlement
    }
}

/// Decides what Imprint's answer about a witness means for the destination. Returns the state before and after the
/// answer, and a change that affects other lanes or a restart.
pub fn conclude_inquiry(
    inquiry: Inquiry,
    found: &LookupResult,
    moment: Moment,
) -> (
    (DestinationState, DestinationState),
    Option<DestinationChange>,
) {
    let testimony = match found {
        LookupResult::Found(_) => Testimony::Found,
        LookupResult::NotFound => Testimony::Denied,
        LookupResult::Ambiguous => Testimony::Nothing,
        LookupResult::Failed(outcome) => match signal_of(outcome) {
            signal @ (Signal::Failed | Signal::Throttled(_) | Signal::Refused) => {
                Testimony::Failed(signal)
            }
            Signal::Forbidden
            | Signal::Applied
            | Signal::Answered
            | Signal::Rejected
            | Signal::Unexplained
            | Signal::Missing
            | Signal::Unrelated => Testimony::Nothing,
        },
    };
    let (before, after) = inquiry.answer(testimony, moment);
    ((before, after), change(before, after))
}

fn delivered(exchange: &LaneExchange, decision: &Decision) -> Option<Delivered> {
    match decision {
        Decision::Deliver(echo) => Some(Delivered {
            reasserted: exchange.fold.reasserted,
            ties: exchange.fold.ties,
            differs: echo.mismatches.clone(),
        }),
        Decision::NothingToSend
        | Decision::DeliverExcept(_)
        | Decision::DeliverLinesLater(..)
        | Decision::Misdirect(_)
        | Decision::LookAgain
        | Decision::Unfold
        | Decision::Park { .. }
        | Decision::GiveUp { .. }
        | Decision::ParkAll(_)
        | Decision::CustomerUnknown
        | Decision::AwaitProof(_)
        | Decision::Move(_)
        | Decision::Retry { .. }
        | Decision::Wait(_)
        | Decision::Postpone(_) => None,
    }
}

fn change(before: DestinationState, after: DestinationState) -> Option<DestinationChange> {
    match (before, after) {
        _ if before.wait() < after.wait() => after.wait().map(DestinationChange::Throttled),
        (
            DestinationState::Probing(_) | DestinationState::Stopped(_),
            DestinationState::Flowing { .. },
        ) => Some(DestinationChange::Recovered),
        (_, _) => None,
    }
}

/// Returns the result of an exchange in one word, and the cause of a failure.
fn describe(conclusion: &Conclusion) -> (&'static str, String) {
    let outcome = match conclusion {
        Conclusion::Updated(outcome) => outcome,
        Conclusion::NothingToSend | Conclusion::Postponed(_) => return ("nothing", String::new()),
        Conclusion::LinesPostponed(..) => return ("lines_postponed", String::new()),
        Conclusion::NotCleared(_) | Conclusion::LinesRejected(_) => {
            return ("not_cleared", String::new());
        }
        Conclusion::Misdirected(_) => return ("misdirected", String::new()),
        Conclusion::LookAgain => return ("looked_up", String::new()),
        Conclusion::Identified(_) => return ("found", String::new()),
        Conclusion::UnknownCustomer | Conclusion::ProvenAbsent => {
            return ("unknown_customer", String::new());
        }
        Conclusion::Ambiguous => return ("ambiguous", String::new()),
        Conclusion::SearchForbidden(cause) => return ("search_forbidden", cause.to_string()),
    };
    describe_outcome(outcome)
}

/// Returns the result of a question about a witness in one word, and the cause of a failure.
pub fn describe_lookup(found: &LookupResult) -> (&'static str, String) {
    match found {
        LookupResult::Failed(outcome) => describe_outcome(outcome),
        LookupResult::Found(_) | LookupResult::NotFound | LookupResult::Ambiguous => {
            (found.label(), String::new())
        }
    }
}

/// Returns the outcome of a request in one word, and the cause of a failure.
pub fn describe_outcome(outcome: &Outcome) -> (&'static str, String) {
    let cause = match outcome {
        Outcome::Unavailable(cause)
        | Outcome::Unknown(cause)
        | Outcome::Unclear(cause)
        | Outcome::Denied(cause) => cause.to_string(),
        Outcome::Rejected(rejection) => format!("status_{}", rejection.status),
        Outcome::Throttled(_) | Outcome::NotFound | Outcome::Applied(_) => String::new(),
    };
    (outcome.label(), cause)
}
