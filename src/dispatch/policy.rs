//! Turns the result of an exchange into a decision about its lane. This module is pure: it does no IO and reads no
//! clock.
//!
//! A failure that the destination caused neither finishes an entry nor counts as an attempt. A failure that one entry
//! caused parks only that entry.

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
/// The longest rest of a lane after a refusal whose cause nothing proves. After an operator has replaced a wrong API
/// key, such a lane must become due soon.
pub const UNPROVEN_REST_MAX: Duration = Duration::from_secs(30);

/// The decision about a lane after an exchange with Imprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The exchange had nothing to send: finish the entries that need no request.
    NothingToSend,
    /// Imprint applied the request.
    Deliver(Echo),
    /// Imprint still has these cleared address lines, and the other values: park the entries that cleared the lines.
    DeliverExcept(Vec<Field>),
    /// Imprint applied the request but still has these cleared address lines: send the lines as empty texts, but not
    /// before this time.
    DeliverLinesLater(Vec<Field>, Timestamp),
    /// One of several entries in the request caused the rejection: send the entries one by one.
    Unfold,
    /// The only entry in the request caused the rejection: park the entry.
    Park {
        /// The reason for parking the entry.
        reason: ParkReason,
        /// The details of Imprint's answer, without any value.
        detail: Option<String>,
    },
    /// The lane itself caused too many failures.
    ///
    /// If the request had one entry, park the entry. If the request had several entries, send them one by one. If a
    /// search failed, park all entries with the searched id.
    GiveUp {
        /// The possible effect of the failed request at Imprint.
        effect: Effect,
        /// The cause of the last failure.
        detail: String,
    },
    /// Imprint applied the request to a customer with this partner customer id. Park the entries that have a different
    /// partner customer id, and send the other entries again.
    Misdirect(PartnerCustomerId),
    /// The exchange sent no update, only a search or a retrieve: record the answer, and make the lane due at once.
    LookAgain,
    /// Imprint's answer does not tell which customer to update: park the entries that the answer concerns.
    ParkAll(ParkReason),
    /// Imprint does not know the customer of the lane: evidence proves it, or a recent search found no customer.
    CustomerUnknown,
    /// Imprint, or a gateway in front of Imprint, answered that the customer does not exist, and no evidence shows yet
    /// that the answer is true. The record is `None` if the API key changed after the request.
    AwaitProof(Option<Absence>),
    /// The customer has this Imprint id: move the entries to the lane of this id.
    Move(ImprintId),
    /// The request failed: send the entries of the lane again.
    Retry {
        /// The possible effect of the failed request at Imprint.
        effect: Effect,
        /// The pause of the lane before the next request.
        rest: Rest,
        /// Whether the failure counts as an attempt.
        attempt: Attempt,
    },
    /// The failure counts against no entry: the lane only waits.
    Wait(Rest),
    /// Dispatch must not send a call of the lane before this time.
    Postpone(Timestamp),
}

/// The possible effect of a failed request at Imprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The failed request changed nothing at Imprint.
    None,
    /// Imprint has possibly applied the failed request, or the request can still arrive at Imprint.
    Unconfirmed,
}

/// The pause of a lane before its next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The lane is due again at once.
    None,
    /// The lane rests with backoff, but at most for [`DOWN_REST_MAX`]: the destination is down, and the lane must be
    /// due soon after the recovery.
    Short,
    /// The lane rests with backoff, because the lane itself possibly caused the failure.
    Backoff,
    /// The lane rests with backoff, but at most for [`UNPROVEN_REST_MAX`]: nothing shows yet whether the lane or the
    /// destination caused the failure.
    Unproven,
    /// The lane is due again at once. The destination is stopped, and the next probe selects a lane with fewer
    /// failures.
    Stopped,
    /// The lane rests with backoff, but at least for the time that Imprint asked for.
    AtLeast(Duration),
}

/// Whether a failure counts as an attempt of the sent entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The failure does not count, because the destination is possibly the cause.
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
        // The API key does not permit searches for any customer, so the failure counts against no entry.
        Conclusion::SearchForbidden(_) => {
            return Decision::Retry {
                effect: Effect::None,
                rest: rest(assessment.state),
                attempt: Attempt::NotCounted,
            };
        }
        Conclusion::LinesPostponed(lines, later) => {
            return Decision::DeliverLinesLater(lines, later);
        }
        Conclusion::NotCleared(lines) => return Decision::DeliverExcept(lines),
        Conclusion::LinesRejected(lines) => return lines_rejected(lines, assessment),
        Conclusion::Misdirected(partner) => return Decision::Misdirect(partner),
        Conclusion::LookAgain => return Decision::LookAgain,
        Conclusion::Updated(outcome) => outcome,
    };
    match outcome {
        Outcome::Applied(echo) => Decision::Deliver(echo),
        Outcome::NotFound => absent(exchange, assessment, rules),
        Outcome::Rejected(rejection) => rejected(exchange, &rejection, assessment, rules),
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

/// Returns the decision after evidence has shown that Imprint does not know the customer.
///
/// If Imprint knew the customer before, the customer possibly comes back: the lane waits, and each answer counts as an
/// attempt. After the last attempt, the entries are parked for an operator.
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

/// Returns the decision after a rejection. A rejection without Imprint's error type possibly comes from a gateway that
/// rejects the updates of every customer.
fn rejected(
    exchange: &LaneExchange,
    rejection: &Rejection,
    assessment: Assessment,
    rules: &DeliveryRules,
) -> Decision {
    let is_explained = rejection.is_typed() || assessment.blame == Blame::Lane;
    let is_last = assessment.attribution == Attribution::Lane
        && is_last(exchange.claimed.trials, assessment, rules);
    match assessment.blame {
        Blame::Destination => Decision::Wait(Rest::Stopped),
        _ if exchange.parts() > 1 => Decision::Unfold,
        // Imprint has applied these values before, so it can accept them again.
        Blame::Lane | Blame::Unproven if is_explained && exchange.is_reassertion() && !is_last => {
            let failure = Failure::new(Effect::None, Cause::Status(rejection.status));
            retry(exchange, failure, assessment, rules)
        }
        Blame::Lane | Blame::Unproven if is_explained => Decision::Park {
            reason: ParkReason::Rejected,
            detail: Some(detail(rejection)),
        },
        Blame::Lane | Blame::Unproven => Decision::Wait(Rest::Unproven),
    }
}

/// Returns the decision after Imprint rejected a request that only empties address lines.
fn lines_rejected(lines: Vec<Field>, assessment: Assessment) -> Decision {
    match assessment.blame {
        Blame::Destination => Decision::Wait(Rest::Stopped),
        Blame::Lane | Blame::Unproven => Decision::DeliverExcept(lines),
    }
}

/// Returns the decision after a 429. If Imprint throttles only this lane, the lane waits for the time that Imprint
/// asked for, and the failure counts as a failure of the lane.
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

/// Returns the possible effect of a failed request.
///
/// A request without a connection, and a refused request, have changed nothing. After 500, 502, 503, 504 or 408 from a
/// gateway, the server behind the gateway possibly still applies the request.
const fn effect(cause: Cause) -> Effect {
    match cause {
        Cause::Connect
        | Cause::Dns
        | Cause::Tls
        | Cause::Certificate
        | Cause::ClientCertificate
        | Cause::Proxy(_) => Effect::None,
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
    /// The pause of the lane, if Imprint's answer determines the pause.
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

/// Returns the decision to send the lane again.
///
/// Returns the decision to give up if the lane has `attempts_max` counted attempts, and the first of them is at least
/// `park_after` ago.
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
    // A request that only repeats delivered values has no entry to park.
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

/// Returns whether this counted attempt is the last attempt of the lane.
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

/// Returns whether dispatch will send the lane again and nothing shows the cause of the failure. In an outage, the
/// destination counts as the cause of every failure.
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
        | Decision::DeliverLinesLater(..)
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

/// Returns one line with the status of a rejection, and the error type and the parameter in Imprint's answer.
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
