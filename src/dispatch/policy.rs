//! Turns the result of an exchange into a decision about its lane. This module is pure: it does no IO and reads no
//! clock.
//!
//! A fault of the destination ends no entry and counts no attempt. A fault of one entry parks only that entry.

use std::time::Duration;

use super::breaker::{Attribution, DestinationState};
use super::destination::Assessment;
use super::evidence::Blame;
use super::lane_exchange::{Conclusion, LaneExchange};
use super::rules::DeliveryRules;
use crate::imprint::{Cause, Echo, Field, ImprintId, Outcome, PartnerCustomerId, Rejection};
use crate::outbox::{Absence, ParkReason, Trials};
use crate::time::Timestamp;

/// The longest rest of a lane that failed while the destination was down.
pub const DOWN_REST_MAX: Duration = Duration::from_secs(5);
/// The longest rest of a lane that was refused without proof whose fault the refusal is. A wrong API key must end for
/// the lane soon after the key was replaced.
pub const UNPROVEN_REST_MAX: Duration = Duration::from_secs(30);

/// The decision about a lane after an exchange with Imprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The exchange had nothing to send: end the entries that need no request.
    NothingToSend,
    /// Imprint applied the request.
    Deliver(Echo),
    /// Imprint applied the request but keeps these cleared address lines: park the entries that cleared the lines.
    DeliverExcept(Vec<Field>),
    /// One of several entries in the request is at fault: send the entries one by one.
    Unfold,
    /// The only entry in the request is at fault: park the entry.
    Park {
        /// The reason for parking the entry.
        reason: ParkReason,
        /// The details of Imprint's answer, without any value.
        detail: Option<String>,
    },
    /// The lane has failed too often by its own fault: park the only entry in the request, or send several entries one by
    /// one. If the search for the customer failed, park all entries, because the fault concerns every entry.
    GiveUp {
        /// The possible effect of the failed request at Imprint.
        effect: Effect,
        /// The cause of the last failure.
        detail: String,
    },
    /// Imprint applied the request to a customer with this partner id, which is not our id in some events: park the entries
    /// of these events, and send the others again.
    Misdirect(PartnerCustomerId),
    /// Nothing was sent, and the answer to a lookup is stored: look at the lane again.
    LookAgain,
    /// The customer of the lane is not certain: park the entries that the answer concerns.
    ParkAll(ParkReason),
    /// Imprint does not know the customer of the lane: evidence shows it, or a search has found nobody a short time ago.
    CustomerUnknown,
    /// Imprint, or a gateway in front of Imprint, answered that the customer does not exist, and no evidence shows yet
    /// that the answer is true. The record is `None` if the request used an API key that was replaced meanwhile.
    AwaitProof(Option<Absence>),
    /// The customer has this Imprint id: move the entries to the lane of this id.
    Move(ImprintId),
    /// The request failed: send the entries of the lane again.
    Retry {
        /// The possible effect of the failed request at Imprint.
        effect: Effect,
        /// The rest of the lane before the next request.
        rest: Rest,
        /// The rule for counting the failure as an attempt.
        attempt: Attempt,
    },
    /// The destination is at fault: the lane waits like all other lanes.
    Wait(Rest),
    /// Dispatch must not send a call of the lane before this time.
    Postpone(Timestamp),
}

/// The possible effect of a failed request at Imprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The failed request changed nothing at Imprint.
    None,
    /// The failed request may have been applied, or may still arrive at Imprint.
    Unconfirmed,
}

/// The rest of a lane before its next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The lane is due again without a rest.
    None,
    /// The lane rests with backoff, at most [`DOWN_REST_MAX`]: the destination is down, and lanes must be due soon
    /// after the destination recovers.
    Short,
    /// The lane rests with backoff, because the lane itself may have caused the failure.
    Backoff,
    /// The lane rests with backoff, at most [`UNPROVEN_REST_MAX`]: no evidence shows yet whether the lane or the
    /// destination is at fault.
    Unproven,
    /// The lane is due again at once, and the next probe of the stopped destination sends a lane that failed less.
    Stopped,
    /// The lane rests with backoff, at least as long as Imprint asked for.
    AtLeast(Duration),
}

/// The rule for counting a failure as an attempt of the entries that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The failure does not count, because the destination may be at fault.
    NotCounted,
    /// The failure counts, because Imprint applied requests of other lanes since this lane last failed.
    Counted,
}

/// Returns the decision about a lane after an exchange with Imprint.
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
        Conclusion::UnknownCustomer => return absent(exchange, assessment, rules),
        Conclusion::ProvenAbsent => return unknown(exchange, assessment, rules),
        Conclusion::Ambiguous => return Decision::ParkAll(ParkReason::AmbiguousCustomer),
        // The API key may not search, whoever the customer is: the failure counts against no entry.
        Conclusion::SearchForbidden(_) => {
            return Decision::Retry {
                effect: Effect::None,
                rest: rest(assessment.state),
                attempt: Attempt::NotCounted,
            };
        }
        Conclusion::NotCleared(lines) => return Decision::DeliverExcept(lines),
        Conclusion::Misdirected(partner) => return Decision::Misdirect(partner),
        Conclusion::LookAgain => return Decision::LookAgain,
        Conclusion::Updated(outcome) => outcome,
    };
    match outcome {
        Outcome::Applied(echo) => Decision::Deliver(echo),
        Outcome::NotFound => absent(exchange, assessment, rules),
        Outcome::Rejected(rejection) => rejected(exchange, &rejection, assessment),
        Outcome::Throttled(hint) => throttled(exchange, hint, assessment, rules),
        Outcome::Denied(cause) => match assessment.blame {
            Blame::Lane => retry(
                exchange,
                Failure::new(Effect::None, cause),
                assessment,
                rules,
            ),
            Blame::Unproven => Decision::Wait(Rest::Unproven),
            Blame::Destination => Decision::Wait(Rest::Stopped),
        },
        Outcome::Unavailable(cause) | Outcome::Unclear(cause) => retry(
            exchange,
            Failure::new(effect(cause), cause),
            assessment,
            rules,
        ),
        Outcome::Unknown(cause) => {
            let failure = Failure::new(Effect::Unconfirmed, cause);
            retry(exchange, failure, assessment, rules)
        }
    }
}

/// Returns the decision after an answer that the customer does not exist.
fn absent(exchange: &LaneExchange, assessment: Assessment, rules: &DeliveryRules) -> Decision {
    match assessment.blame {
        Blame::Lane => unknown(exchange, assessment, rules),
        Blame::Unproven => Decision::AwaitProof(assessment.absence),
        Blame::Destination => Decision::Wait(Rest::Stopped),
    }
}

/// Returns the decision about a customer if evidence shows that Imprint does not know the customer. If Imprint knew the
/// customer before, the customer may come back, so the lane waits and uses up attempts; after the last attempt an
/// operator must look.
fn unknown(exchange: &LaneExchange, assessment: Assessment, rules: &DeliveryRules) -> Decision {
    if !exchange.is_known() {
        return Decision::CustomerUnknown;
    }
    if is_last(exchange.claimed.trials, assessment, rules) {
        return Decision::ParkAll(ParkReason::Vanished);
    }
    Decision::Retry {
        effect: Effect::None,
        rest: Rest::Backoff,
        attempt: Attempt::Counted,
    }
}

/// Returns the decision after a rejection. A rejection without an error type of Imprint may come from a gateway that
/// rejects the updates of every customer.
fn rejected(exchange: &LaneExchange, rejection: &Rejection, assessment: Assessment) -> Decision {
    let is_explained = rejection.is_typed() || assessment.blame == Blame::Lane;
    match assessment.blame {
        Blame::Destination => Decision::Wait(Rest::Stopped),
        _ if exchange.fold.carried.len() > 1 => Decision::Unfold,
        Blame::Lane | Blame::Unproven if is_explained => Decision::Park {
            reason: ParkReason::Rejected,
            detail: Some(detail(rejection)),
        },
        Blame::Lane | Blame::Unproven => Decision::Wait(Rest::Unproven),
    }
}

/// Returns the decision after a 429. If only this lane is throttled, the lane waits as long as Imprint asked for, and
/// the failure counts like any other failure of the lane.
fn throttled(
    exchange: &LaneExchange,
    asked: Option<Duration>,
    assessment: Assessment,
    rules: &DeliveryRules,
) -> Decision {
    let rest = Rest::AtLeast(asked.unwrap_or_default());
    match assessment.blame {
        Blame::Lane => {
            let failure = Failure {
                rest: Some(rest),
                ..Failure::new(Effect::Unconfirmed, Cause::Status(429))
            };
            retry(exchange, failure, assessment, rules)
        }
        Blame::Unproven => Decision::Wait(rest),
        Blame::Destination => Decision::Wait(Rest::None),
    }
}

/// Returns the possible effect of a failed request. Only a connection that never stood, or an answer that refuses the
/// request, proves that the request changed nothing: a gateway that answers 500, 502, 503, 504 or 408 may have a backend
/// that goes on.
const fn effect(cause: Cause) -> Effect {
    match cause {
        Cause::Connect | Cause::Dns | Cause::Tls | Cause::Certificate => Effect::None,
        Cause::Status(401..=405 | 410) => Effect::None,
        Cause::Deadline
        | Cause::Disconnected
        | Cause::Protocol
        | Cause::TooLong
        | Cause::Unreadable
        | Cause::WrongCustomer
        | Cause::Status(_) => Effect::Unconfirmed,
    }
}

/// A failed request.
#[derive(Clone, Copy)]
struct Failure {
    effect: Effect,
    cause: Cause,
    /// The rest of the lane, if Imprint's answer decides the rest.
    rest: Option<Rest>,
}

impl Failure {
    const fn new(effect: Effect, cause: Cause) -> Self {
        Self {
            effect,
            cause,
            rest: None,
        }
    }
}

/// Returns the decision to send the lane again, unless the lane has failed `attempts_max` times, and for the time
/// `park_after`, while Imprint applied requests of other lanes.
fn retry(
    exchange: &LaneExchange,
    failure: Failure,
    assessment: Assessment,
    rules: &DeliveryRules,
) -> Decision {
    let trials = exchange.claimed.trials;
    let attempt = match assessment.attribution {
        Attribution::Lane if trials.tried_at.is_some() => Attempt::Counted,
        Attribution::Lane | Attribution::Unknown => Attempt::NotCounted,
    };
    let is_exhausted = attempt == Attempt::Counted && is_last(trials, assessment, rules);
    // A request of reasserted values only has no entry to give up.
    if is_exhausted && !exchange.attempted(rules).is_empty() {
        return Decision::GiveUp {
            effect: failure.effect,
            detail: failure.cause.to_string(),
        };
    }
    Decision::Retry {
        effect: failure.effect,
        rest: failure.rest.unwrap_or_else(|| rest(assessment.state)),
        attempt,
    }
}

/// Returns whether one more counted attempt uses up the attempts of the lane.
fn is_last(trials: Trials, assessment: Assessment, rules: &DeliveryRules) -> bool {
    let blamed_since = trials.blamed_since.unwrap_or(assessment.at);
    trials.attempts + 1 >= rules.attempts_max
        && assessment.at.since(blamed_since) >= rules.park_after
}

const fn rest(state: DestinationState) -> Rest {
    match state {
        DestinationState::Probing(_) | DestinationState::Stopped(_) => Rest::Short,
        DestinationState::Flowing { .. } | DestinationState::Throttled { .. } => Rest::Backoff,
    }
}

/// Returns whether no evidence shows yet whose fault the result is for which the lane is sent again. In an outage the
/// destination is at fault, although nothing proves it for each lane.
pub fn is_unproven(decision: &Decision, assessment: Assessment) -> bool {
    let is_outage = match assessment.state {
        DestinationState::Probing(_) | DestinationState::Stopped(_) => true,
        DestinationState::Flowing { .. } | DestinationState::Throttled { .. } => false,
    };
    match decision {
        Decision::Retry { .. } | Decision::Wait(_) => {
            assessment.blame == Blame::Unproven && !is_outage
        }
        Decision::NothingToSend
        | Decision::Deliver(_)
        | Decision::DeliverExcept(_)
        | Decision::Unfold
        | Decision::Park { .. }
        | Decision::GiveUp { .. }
        | Decision::ParkAll(_)
        | Decision::CustomerUnknown
        | Decision::AwaitProof(_)
        | Decision::Misdirect(_)
        | Decision::LookAgain
        | Decision::Move(_)
        | Decision::Postpone(_) => false,
    }
}

/// Returns one line with the status of a rejection and the names in Imprint's answer.
fn detail(rejection: &Rejection) -> String {
    let Rejection {
        status,
        kind,
        param,
    } = rejection;
    let names = [*kind, param.as_deref()];
    names
        .into_iter()
        .flatten()
        .fold(format!("status {status}"), |line, name| {
            format!("{line} {name}")
        })
}
