//! Turns the result of an exchange into a decision about its lane. Pure.
//!
//! A fault of the destination ends no entry and counts no attempt. A fault of one entry parks only that entry.

use std::time::Duration;

use super::breaker::{Attribution, DestinationState};
use super::destination::Assessment;
use super::lane_exchange::{Conclusion, LaneExchange};
use super::rules::DeliveryRules;
use crate::imprint::{Echo, Field, ImprintId, Outcome, Rejection};
use crate::outbox::ParkReason;
use crate::time::Timestamp;

/// The longest rest of a lane that failed while the destination was down.
pub const DOWN_REST_MAX: Duration = Duration::from_secs(5);

/// The decision about a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing had to be sent: end the entries that need no request.
    NothingToSend,
    /// The request was applied.
    Deliver(Echo),
    /// The request was applied, but Imprint keeps these cleared lines: park the entries that cleared them.
    DeliverExcept(Vec<Field>),
    /// One of several entries is at fault: send them one by one.
    Unfold,
    /// The only entry that was sent is at fault.
    Park {
        /// The reason.
        reason: ParkReason,
        /// The names in Imprint's answer, without values.
        detail: Option<String>,
    },
    /// No entry can be sent, because the customer is not certain.
    ParkAll(ParkReason),
    /// Imprint does not know the customer.
    CustomerUnknown,
    /// The customer has this Imprint id: move the entries to its lane.
    Move(ImprintId),
    /// The request failed: send the lane again.
    Retry {
        /// Whether the request may have been applied.
        effect: Effect,
        /// The rest of the lane before the next request.
        rest: Rest,
        /// Whether the failure counts against its entries.
        attempt: Attempt,
    },
    /// The destination is at fault: the lane waits like all others.
    Wait(Rest),
    /// A call may not be sent before this time.
    Postpone(Timestamp),
}

/// The possible effect of a failed request at Imprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The request changed nothing.
    None,
    /// The request may have been applied, or may still arrive.
    Unconfirmed,
}

/// The rest of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The lane is due again at once.
    None,
    /// A rest with backoff, at most [`DOWN_REST_MAX`]: the destination is down, and lanes must be due soon after it
    /// recovers.
    Short,
    /// A rest with backoff: the failure may be the lane's own.
    Backoff,
}

/// Whether a failure counts against the entries that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The destination may be at fault.
    NotCounted,
    /// Requests of other lanes were applied since this lane last failed.
    Counted,
}

/// Decides about a lane.
pub fn decide(
    exchange: &LaneExchange,
    conclusion: Conclusion,
    assessment: Assessment,
    rules: &DeliveryRules,
) -> Decision {
    let outcome = match conclusion {
        Conclusion::NothingToSend => return Decision::NothingToSend,
        Conclusion::Postponed(later) => return Decision::Postpone(later),
        Conclusion::Identified(imprint) => return Decision::Move(imprint),
        Conclusion::UnknownCustomer => return Decision::CustomerUnknown,
        Conclusion::Ambiguous => return Decision::ParkAll(ParkReason::AmbiguousCustomer),
        Conclusion::SearchForbidden(cause) => {
            return retry(exchange, Effect::None, assessment, rules, cause.to_string());
        }
        Conclusion::NotCleared(lines) => return Decision::DeliverExcept(lines),
        Conclusion::Updated(outcome) => outcome,
    };
    let is_own = assessment.attribution == Attribution::Lane;
    match outcome {
        Outcome::Applied(echo) => Decision::Deliver(echo),
        Outcome::NotFound => Decision::CustomerUnknown,
        Outcome::Rejected(_) if exchange.fold.carried.len() > 1 => Decision::Unfold,
        Outcome::Rejected(rejection) => Decision::Park {
            reason: ParkReason::Rejected,
            detail: Some(detail(&rejection)),
        },
        // A customer that is always throttled rests like one that always fails, because all others wait with it.
        Outcome::Throttled(_) if is_own => Decision::Wait(Rest::Backoff),
        Outcome::Throttled(_) => Decision::Wait(Rest::None),
        Outcome::Denied(cause) if is_own && cause.is_forbidden() => {
            retry(exchange, Effect::None, assessment, rules, cause.to_string())
        }
        // The next probe, with another customer, shows whether the operation is forbidden for everybody.
        Outcome::Denied(cause) if cause.is_forbidden() => Decision::Wait(Rest::Short),
        Outcome::Denied(_) => Decision::Wait(Rest::None),
        Outcome::Unavailable(cause) | Outcome::Unclear(cause) => {
            retry(exchange, Effect::None, assessment, rules, cause.to_string())
        }
        Outcome::Unknown(cause) => retry(
            exchange,
            Effect::Unconfirmed,
            assessment,
            rules,
            cause.to_string(),
        ),
    }
}

/// Sends the lane again, unless it has failed `attempts_max` times while other lanes were applied.
fn retry(
    exchange: &LaneExchange,
    effect: Effect,
    assessment: Assessment,
    rules: &DeliveryRules,
    cause: String,
) -> Decision {
    let trials = exchange.claimed.trials;
    let attempt = match assessment.attribution {
        Attribution::Lane if trials.tried_at.is_some() => Attempt::Counted,
        Attribution::Lane | Attribution::Unknown => Attempt::NotCounted,
    };
    let rest = match assessment.state {
        DestinationState::Probing { .. } | DestinationState::Stopped { .. } => Rest::Short,
        DestinationState::Flowing { .. } | DestinationState::Throttled { .. } => Rest::Backoff,
    };
    let is_exhausted = attempt == Attempt::Counted && trials.attempts + 1 >= rules.attempts_max;
    match exchange.fold.carried.len() {
        1 if is_exhausted => Decision::Park {
            reason: ParkReason::AttemptsExhausted,
            detail: Some(cause),
        },
        2.. if is_exhausted => Decision::Unfold,
        _ => Decision::Retry {
            effect,
            rest,
            attempt,
        },
    }
}

/// Returns the status and the names in Imprint's answer, as one line.
fn detail(rejection: &Rejection) -> String {
    let Rejection {
        status,
        kind,
        param,
    } = rejection;
    let names = [kind.as_deref(), param.as_deref()];
    names
        .into_iter()
        .flatten()
        .fold(format!("status {status}"), |line, name| {
            format!("{line} {name}")
        })
}
