//! What we do about what came of a exchange. Pure: conclusions in, decisions out; [`settle`](super::settle) writes them down.
//!
//! A fault of the destination ends no entry and spends no attempt; a fault of one entry parks that entry only.

use std::time::Duration;

use super::breaker::{Attribution, DestinationState};
use super::destination::Assessment;
use super::lane_exchange::{Conclusion, LaneExchange};
use super::rules::DeliveryRules;
use crate::imprint::{Echo, Field, ImprintId, Outcome, Rejection};
use crate::outbox::ParkReason;
use crate::time::Timestamp;

/// How long a lane rests at most that failed while the destination was down.
pub const DOWN_REST_MAX: Duration = Duration::from_secs(5);

/// What becomes of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There was nothing to send: what is over is over.
    NothingToSend,
    /// Imprint has the facts.
    Deliver(Echo),
    /// Imprint has them, but keeps lines that were cleared: who cleared them is parked.
    DeliverExcept(Vec<Field>),
    /// One of several entries is at fault: send them one by one.
    Unfold,
    /// The one entry that was sent is at fault.
    Park {
        /// Why.
        reason: ParkReason,
        /// What Imprint said, names only.
        detail: Option<String>,
    },
    /// Nothing that waits can be sent: it is not clear to whom.
    ParkAll(ParkReason),
    /// Nobody at Imprint is this customer.
    CustomerUnknown,
    /// It is this customer, and goes on in that lane.
    Move(ImprintId),
    /// The request failed: the lane is to be sent again, later or at once.
    Retry {
        /// Whether it may have been applied all the same.
        effect: Effect,
        /// How long it rests.
        rest: Rest,
        /// Whether that counts against the entries.
        attempt: Attempt,
    },
    /// The destination is at fault: the lane waits with all others.
    Wait(Rest),
    /// Nothing has been asked, and nothing may be before this moment.
    Postpone(Timestamp),
}

/// Whether a request that failed may have been applied all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was not.
    None,
    /// It may have been.
    Unconfirmed,
}

/// How long a lane rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Not at all.
    None,
    /// As long as any, and [`DOWN_REST_MAX`] at most: the destination is down, and when it is back nobody is to sleep on.
    Short,
    /// Longer with each failure: it may be the lane's own.
    Backoff,
}

/// Whether a failure counts against what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The destination may be at fault.
    NotCounted,
    /// Others were served since the lane was last tried.
    Counted,
}

/// Decides what becomes of a lane by what its exchange came to.
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
        // A customer who is always asked to wait rests like one who always fails; everybody else waits with it.
        Outcome::Throttled(_) if is_own => Decision::Wait(Rest::Backoff),
        Outcome::Throttled(_) => Decision::Wait(Rest::None),
        Outcome::Denied(cause) if is_own && cause.is_forbidden() => {
            retry(exchange, Effect::None, assessment, rules, cause.to_string())
        }
        // Whether it is everybody is asked of somebody else first.
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

/// Sends it again, unless it has failed often enough while others were served.
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

/// Imprint's own words for what is wrong, as one line of names.
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
