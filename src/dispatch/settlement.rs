//! Turns a decision into a settlement for the store. This module is pure: it does no IO and reads no clock.

use std::time::Duration;

use self::doubt::{in_doubt, without_departed, without_reassertion};
use self::echo::{applied, confirmed_link, misdirected};
use self::identity::{all_parked, customer_unknown, moved};
use self::lines::{delivered_except, lines_postponed};
use self::proof::{await_proof, postponed};
use super::backoff::backoff;
use super::lane_exchange::LaneExchange;
use super::moment::Moment;
use super::policy::{Attempt, DOWN_REST_MAX, Decision, Effect, Rest, UNPROVEN_REST_MAX};
use super::rules::DeliveryRules;
use crate::event::EventError;
use crate::fold::{Fold, FoldEnd};
use crate::imprint::FieldValue;
use crate::outbox::{
    CLEARING_OMITTED, Ending, EntryId, IgnoreReason, MaybeSent, ParkReason, Recognition,
    Settlement, Trials, Unproven, WaitingEntry,
};
use crate::time::Timestamp;

mod doubt;
mod echo;
mod identity;
mod lines;
mod proof;

pub use self::proof::unproven;

/// Returns the settlement that the store records for a decision.
pub fn settlement(
    exchange: &LaneExchange,
    decision: Decision,
    rules: &DeliveryRules,
    moment: Moment,
) -> Settlement {
    let settlement = without_departed(exchange, decided(exchange, decision, rules, moment));
    let settlement = Settlement {
        omitted: omitted(exchange, &settlement, rules),
        ..settlement
    };
    // Dispatch must not send the values in doubt again before the lane's pause after a failure is over.
    Settlement {
        reassert_at: settlement.reassert_at.map(|at| at.max(settlement.due)),
        ..settlement
    }
}

fn decided(
    exchange: &LaneExchange,
    decision: Decision,
    rules: &DeliveryRules,
    moment: Moment,
) -> Settlement {
    let unsent = unsent(exchange, moment.now);
    let sent = Settlement {
        attempted: attempted(exchange),
        trials: Trials::default(),
        recognition: Recognition::Unchanged,
        ..unsent.clone()
    };
    match decision {
        Decision::NothingToSend => nothing_to_send(exchange, unsent),
        Decision::Deliver(echo) => Settlement {
            new_link: confirmed_link(exchange, echo, rules, moment.now),
            ..applied(exchange, delivered(exchange, &exchange.fold, sent))
        },
        Decision::DeliverExcept(lines) => delivered_except(exchange, &lines, sent),
        Decision::DeliverLinesLater(lines, later) => lines_postponed(exchange, &lines, later, sent),
        Decision::Misdirect(partner) => misdirected(exchange, &partner, sent),
        Decision::LookAgain => unsent,
        Decision::Unfold => unfolded(exchange, sent),
        Decision::Park { reason, detail } => parked(
            exchange,
            reason,
            detail,
            without_reassertion(exchange, sent),
        ),
        Decision::GiveUp { effect, detail } => {
            let sent = in_doubt(exchange, effect, rules, sent);
            given_up(exchange, detail, rules, sent)
        }
        Decision::ParkAll(reason) => {
            all_parked(exchange, reason, without_reassertion(exchange, sent))
        }
        Decision::CustomerUnknown => {
            customer_unknown(exchange, rules, without_reassertion(exchange, sent))
        }
        Decision::AwaitProof(absence) => await_proof(exchange, absence, rules, moment, sent),
        Decision::Move(imprint) => moved(exchange, imprint, unsent),
        Decision::Retry {
            effect,
            rest,
            attempt,
        } => {
            let attempted = exchange.attempted(rules);
            let unsent = in_doubt(exchange, effect, rules, unsent);
            let attempts = failed(exchange.claimed.trials, attempt, moment.now);
            retried(attempted, attempts, rest, moment, unsent)
        }
        Decision::Postpone(later) => postponed(exchange, later, unsent),
        Decision::Wait(rest) => {
            let unsent = in_doubt(exchange, effect_of_wait(rest), rules, unsent);
            waiting(exchange, rest, moment, unsent)
        }
    }
}

/// Returns the cleared fields of the delivered entries that no request sends. A field with a newer value in the lane does
/// not count.
fn omitted(
    exchange: &LaneExchange,
    settlement: &Settlement,
    rules: &DeliveryRules,
) -> Vec<(EntryId, Vec<EventError>)> {
    let Some(versions) = &settlement.versions else {
        return Vec::new();
    };
    let endings = settlement.endings.iter();
    let delivered = endings.filter(|(_, ending)| *ending == Ending::Delivered);
    let omitted = delivered.filter_map(|(entry, _)| {
        let mut waiting = exchange.claimed.waiting.iter();
        let waiting = waiting.find(|waiting| waiting.entry == *entry)?;
        let update = waiting.update.iter();
        let cleared = update.filter(|(_, value)| **value == FieldValue::Cleared);
        let fields = cleared.filter_map(|(field, _)| {
            let newest = versions.version_of(field)?;
            let is_newest = newest.arrival == entry.0;
            let reason = rules.clearing.omission(field).filter(|_| is_newest)?;
            Some(EventError {
                pointer: String::new(),
                rule: CLEARING_OMITTED.to_owned(),
                location: field.to_string(),
                detail: reason.to_owned(),
            })
        });
        let fields: Vec<EventError> = fields.collect();
        (!fields.is_empty()).then_some((*entry, fields))
    });
    omitted.collect()
}

/// Returns the entries of the request. After a recorded answer, returns none: dispatch counted the attempts when it
/// sent the request, in an earlier claim.
fn attempted(exchange: &LaneExchange) -> Vec<EntryId> {
    let carried = exchange.fold.carried.iter().copied().map(EntryId);
    match exchange.claimed.unproven.absence {
        Some(_) => Vec::new(),
        None => carried.collect(),
    }
}

/// Returns the possible effect of a request after which the lane waits. After 503 with `Retry-After` from a gateway,
/// the server behind the gateway possibly still applies the request.
const fn effect_of_wait(rest: Rest) -> Effect {
    match rest {
        Rest::None | Rest::AtLeast(_) => Effect::Unconfirmed,
        Rest::Short | Rest::Backoff | Rest::Unproven | Rest::Stopped => Effect::None,
    }
}

/// Returns the settlement of a lane that dispatch sends again after a failure.
fn retried(
    attempted: Vec<EntryId>,
    trials: Trials,
    rest: Rest,
    moment: Moment,
    unsent: Settlement,
) -> Settlement {
    Settlement {
        due: moment.now.after(rest_for(rest, trials.failures, moment)),
        trials,
        attempted,
        ..unsent
    }
}

/// Returns the settlement after which dispatch sends the entries of the request one by one.
fn unfolded(exchange: &LaneExchange, sent: Settlement) -> Settlement {
    Settlement {
        unfold_to: exchange.fold.carried.iter().copied().max().map(EntryId),
        ..sent
    }
}

/// Returns the settlement of a lane that has failed too often. Parks the only entry of the request, marks several
/// entries for sending one by one, or, after a search, parks the entries with the searched id.
fn given_up(
    exchange: &LaneExchange,
    detail: String,
    rules: &DeliveryRules,
    sent: Settlement,
) -> Settlement {
    let reason = ParkReason::AttemptsExhausted;
    let detail = Some(detail);
    let sent = Settlement {
        attempted: exchange.attempted(rules),
        // Keep the time of the first failure: the next entries of the lane are parked without a new wait of
        // `park_after`.
        trials: Trials {
            blamed_since: exchange.claimed.trials.blamed_since,
            ..Trials::default()
        },
        ..sent
    };
    match exchange.fold.carried.len() {
        0 => some_end(
            exchange,
            &Ending::Parked { reason, detail },
            sent,
            LaneExchange::names_our_id,
        ),
        1 if exchange.parts() == 1 => parked(exchange, reason, detail, sent),
        _ => unfolded(exchange, sent),
    }
}

/// Returns a settlement that leaves the lane unchanged and due at once.
///
/// The settlement finishes only entries that need no request: entries older than the delivered values, unreadable
/// entries, entries whose ids belong to two customers, and entries whose version is a jump.
fn unsent(exchange: &LaneExchange, now: Timestamp) -> Settlement {
    let claimed = &exchange.claimed;
    let unreadable = claimed
        .unreadable
        .iter()
        .map(|entry| (*entry, park(ParkReason::Unreadable)));
    let conflicts = exchange.conflicts.iter();
    let conflicts = conflicts.map(|entry| (*entry, park(ParkReason::IdentityConflict)));
    let jumps = exchange.jumps.iter();
    // A search of this exchange has possibly found that an entry with a jump is also a conflict.
    let jumps = jumps.filter(|entry| !exchange.conflicts.contains(entry));
    let jumps = jumps.map(|entry| (*entry, park(ParkReason::VersionJump)));
    Settlement {
        lane: claimed.lane,
        token: claimed.token,
        endings: endings(&exchange.fold.stale)
            .chain(unreadable)
            .chain(conflicts)
            .chain(jumps)
            .collect(),
        omitted: Vec::new(),
        attempted: Vec::new(),
        moved: None,
        new_link: exchange.new_link.clone(),
        recognition: if exchange.is_surely_gone() {
            Recognition::Gone
        } else {
            Recognition::Unchanged
        },
        // The settlement removes the mark of possibly sent entries, so the versions must contain their values.
        versions: (claimed.maybe_sent != MaybeSent::Nothing).then(|| claimed.versions.clone()),
        trials: claimed.trials,
        unproven: Unproven::default(),
        unfold_to: claimed.unfold_to,
        due: now,
        reassert_at: claimed.versions.reassert_at(),
        at: now,
    }
}

fn park(reason: ParkReason) -> Ending {
    Ending::Parked {
        reason,
        detail: None,
    }
}

/// Returns the settlement of a lane that has nothing to send. Entries whose values need no request become ignored
/// instead of delivered.
fn nothing_to_send(exchange: &LaneExchange, unsent: Settlement) -> Settlement {
    let mut settlement = delivered(exchange, &exchange.fold, unsent);
    for (_, ending) in &mut settlement.endings {
        if *ending == Ending::Delivered {
            *ending = Ending::Ignored(IgnoreReason::ClearingOmitted);
        }
    }
    let versions = exchange.claimed.versions.clone();
    settlement.versions = Some(versions.without_request(&exchange.fold));
    settlement
}

/// Returns the settlement after Imprint has applied the values of this fold.
fn delivered(exchange: &LaneExchange, fold: &Fold, mut sent: Settlement) -> Settlement {
    sent.endings.extend(endings(&fold.finished));
    let versions = exchange.versions_before().delivered(fold);
    Settlement {
        reassert_at: versions.reassert_at(),
        versions: Some(versions),
        ..sent
    }
}

fn parked(
    exchange: &LaneExchange,
    reason: ParkReason,
    detail: Option<String>,
    mut sent: Settlement,
) -> Settlement {
    let parked = Ending::Parked { reason, detail };
    let carried = exchange.fold.carried.iter().copied().map(EntryId);
    sent.endings
        .extend(carried.map(|entry| (entry, parked.clone())));
    sent
}

/// Adds this ending to the settlement for each remaining entry that `ends` selects.
fn some_end(
    exchange: &LaneExchange,
    ending: &Ending,
    mut sent: Settlement,
    ends: impl Fn(&LaneExchange, &WaitingEntry) -> bool,
) -> Settlement {
    let rest: Vec<_> = remaining(exchange, &sent)
        .filter(|waiting| ends(exchange, waiting))
        .map(|waiting| (waiting.entry, ending.clone()))
        .collect();
    sent.endings.extend(rest);
    sent
}

/// Returns the waiting entries of the lane that stay waiting after the settlement.
fn remaining<'a>(
    exchange: &'a LaneExchange,
    settlement: &Settlement,
) -> impl Iterator<Item = &'a WaitingEntry> + use<'a> {
    let ended: Vec<EntryId> = settlement.endings.iter().map(|(entry, _)| *entry).collect();
    exchange
        .claimed
        .waiting
        .iter()
        .filter(move |waiting| !ended.contains(&waiting.entry))
}

/// Returns the settlement of a lane that only waits. Except for [`Rest::None`], the wait counts as a failure of the
/// lane.
fn waiting(exchange: &LaneExchange, rest: Rest, moment: Moment, unsent: Settlement) -> Settlement {
    let attempts = match rest {
        Rest::None => exchange.claimed.trials,
        Rest::Short | Rest::Backoff | Rest::Unproven | Rest::Stopped | Rest::AtLeast(_) => {
            failed(exchange.claimed.trials, Attempt::NotCounted, moment.now)
        }
    };
    Settlement {
        due: moment.now.after(rest_for(rest, attempts.failures, moment)),
        trials: Trials {
            tried_at: Some(moment.now),
            ..attempts
        },
        ..unsent
    }
}

fn failed(attempts: Trials, attempt: Attempt, now: Timestamp) -> Trials {
    let is_counted = attempt == Attempt::Counted;
    Trials {
        failures: attempts.failures.saturating_add(1),
        attempts: attempts.attempts.saturating_add(u32::from(is_counted)),
        tried_at: Some(now),
        blamed_since: attempts.blamed_since.or_else(|| is_counted.then_some(now)),
    }
}

fn rest_for(rest: Rest, failures: u32, moment: Moment) -> Duration {
    match rest {
        Rest::None | Rest::Stopped => Duration::ZERO,
        Rest::Short => backoff(failures, moment.jitter()).min(DOWN_REST_MAX),
        Rest::Unproven => backoff(failures, moment.jitter()).min(UNPROVEN_REST_MAX),
        Rest::Backoff => backoff(failures, moment.jitter()),
        Rest::AtLeast(asked) => backoff(failures, moment.jitter()).max(asked),
    }
}

fn endings(ends: &[(u64, FoldEnd)]) -> impl Iterator<Item = (EntryId, Ending)> + '_ {
    ends.iter().map(|(entry, end)| {
        let ending = match end {
            FoldEnd::Delivered => Ending::Delivered,
            FoldEnd::Superseded(winner) => Ending::Superseded(EntryId(*winner)),
            FoldEnd::Empty => Ending::Ignored(IgnoreReason::NothingToSend),
        };
        (EntryId(*entry), ending)
    })
}
