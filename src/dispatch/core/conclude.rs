//! The one place where what Imprint said becomes a decision. Pure.
//!
//! A conclusion goes through four steps, each a pure function of its own: the exchange says what it tells about the
//! destination ([`Signal`](crate::dispatch::breaker::Signal)), the destination assesses that against the results of other lanes ([`Assessment`]), the
//! policy decides ([`decide`]), and the decision is written down for the store ([`settlement`]). A rule that needs more
//! evidence belongs into one of these steps.

use super::{Context, LaneResult, Moment};
use crate::dispatch::breaker::{Attribution, DestinationState};
use crate::dispatch::destination::{Assessment, SendPermit};
use crate::dispatch::lane_exchange::{Conclusion, LaneExchange};
use crate::dispatch::policy::{Decision, decide};
use crate::dispatch::settlement::settlement;
use crate::imprint::{FieldGroup, Outcome};
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// A change of the destination that other lanes or a restart must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationChange {
    /// Imprint asked for a wait: a restart must keep to it.
    Throttled(Timestamp),
    /// The destination works again: lanes that rest must become due.
    Recovered,
}

/// What the log and the metrics say about the result of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The lane.
    pub lane: LaneId,
    /// The state of the destination before and after, if requests were sent.
    pub states: Option<(DestinationState, DestinationState)>,
    /// The result in a word.
    pub outcome: &'static str,
    /// What caused it; empty if nothing failed.
    pub cause: String,
    /// How many entries the request carried.
    pub entries: usize,
    /// What was delivered.
    pub delivered: Option<Delivered>,
}

/// What one applied request delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How many values were sent again because a request with an unknown outcome may have arrived after them.
    pub reasserted: usize,
    /// How many entries have the version of another entry and different values.
    pub ties: usize,
    /// The groups of fields in which the echoed customer differs from what was sent.
    pub differs: Vec<FieldGroup>,
}

/// Decides what a conclusion means for the destination and for the lane.
pub(super) fn conclude(
    exchange: &LaneExchange,
    conclusion: Conclusion,
    permit: Option<SendPermit>,
    context: Context<'_>,
    moment: Moment,
) -> LaneResult {
    let claimed = &exchange.claimed;
    let signal = exchange.signal(&conclusion);
    let assessed = signal
        .zip(permit)
        .map(|(signal, permit)| permit.assess(claimed.lane, claimed.trials, signal, moment));
    let assessment = assessed.map_or_else(
        || Assessment {
            state: context.destination.state(),
            attribution: Attribution::Unknown,
        },
        |(_, assessment)| assessment,
    );
    let states = assessed.map(|(before, assessment)| (before, assessment.state));
    let (outcome, cause) = describe(&conclusion);
    let decision = decide(exchange, conclusion, assessment, context.rules);
    let report = Report {
        lane: claimed.lane,
        states,
        outcome,
        cause,
        entries: exchange.fold.carried.len(),
        delivered: delivered(exchange, &decision),
    };
    LaneResult {
        report: Some(report),
        change: states.and_then(|(before, after)| change(before, after)),
        settlement: settlement(exchange, decision, context.rules, moment),
    }
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
        | Decision::Unfold
        | Decision::Park { .. }
        | Decision::ParkAll(_)
        | Decision::CustomerUnknown
        | Decision::Move(_)
        | Decision::Retry { .. }
        | Decision::Wait(_)
        | Decision::Postpone(_) => None,
    }
}

fn change(before: DestinationState, after: DestinationState) -> Option<DestinationChange> {
    match (before, after) {
        (_, DestinationState::Throttled { until, .. }) if before != after => {
            Some(DestinationChange::Throttled(until))
        }
        (
            DestinationState::Probing { .. } | DestinationState::Stopped { .. },
            DestinationState::Flowing { .. },
        ) => Some(DestinationChange::Recovered),
        (_, _) => None,
    }
}

/// The result in a word, and its cause.
fn describe(conclusion: &Conclusion) -> (&'static str, String) {
    let outcome = match conclusion {
        Conclusion::Updated(outcome) => outcome,
        Conclusion::NothingToSend | Conclusion::Postponed(_) => return ("nothing", String::new()),
        Conclusion::NotCleared(_) => return ("not_cleared", String::new()),
        Conclusion::Identified(_) => return ("found", String::new()),
        Conclusion::UnknownCustomer => return ("unknown_customer", String::new()),
        Conclusion::Ambiguous => return ("ambiguous", String::new()),
        Conclusion::SearchForbidden(cause) => return ("search_forbidden", cause.to_string()),
    };
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
