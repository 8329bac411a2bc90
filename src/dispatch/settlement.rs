//! Decisions, written down for the store. Pure.

use std::time::Duration;

use super::backoff::backoff;
use super::lane_exchange::LaneExchange;
use super::policy::{Attempt, DOWN_REST_MAX, Decision, Effect, Rest};
use super::rules::{DeliveryRules, UnknownCustomer};
use crate::fold::FoldEnd;
use crate::imprint::{CustomerRef, Echo, Field, ImprintId};
use crate::outbox::{
    DUE_AHEAD_MAX, Ending, EntryId, IdentityLink, Moved, ParkReason, Settlement, Trials,
    WaitingEntry,
};
use crate::time::Timestamp;

/// Writes a decision down for the store. `jitter` is a number in `[0, 1)`.
pub fn settlement(
    exchange: &LaneExchange,
    decision: Decision,
    rules: &DeliveryRules,
    (now, jitter): (Timestamp, f64),
) -> Settlement {
    let settlement = decided(exchange, decision, rules, (now, jitter));
    // Facts that are to be asserted rest as long as anything else that failed.
    Settlement {
        reassert_at: settlement.reassert_at.map(|at| at.max(settlement.due)),
        ..settlement
    }
}

fn decided(
    exchange: &LaneExchange,
    decision: Decision,
    rules: &DeliveryRules,
    (now, jitter): (Timestamp, f64),
) -> Settlement {
    let held = held(exchange, now);
    let tried = Settlement {
        attempted: exchange.fold.carried.iter().copied().map(EntryId).collect(),
        trials: Trials::default(),
        ..held.clone()
    };
    match decision {
        Decision::Nothing => nothing(exchange, held),
        Decision::Deliver(echo) => Settlement {
            new_link: confirmed(exchange, echo, rules, now),
            ..delivered(exchange, tried)
        },
        Decision::DeliverExcept(lines) => delivered_but(exchange, &lines, tried),
        Decision::Unfold => Settlement {
            unfold_to: exchange.fold.carried.iter().copied().max().map(EntryId),
            ..tried
        },
        Decision::Park { reason, detail } => {
            parked(exchange, reason, detail, resigned(exchange, tried))
        }
        Decision::ParkAll(reason) => all(exchange, &park(reason), resigned(exchange, tried)),
        Decision::CustomerUnknown => absent(exchange, rules, resigned(exchange, tried)),
        Decision::Move(imprint) => moved(exchange, imprint, held),
        Decision::Retry {
            applied,
            rest,
            attempt,
        } => {
            let trials = failed(exchange.claimed.trials, attempt, now);
            Settlement {
                due: now.after(rested(rest, trials.failures, jitter)),
                trials,
                attempted: tried.attempted,
                ..match applied {
                    Effect::None => held,
                    Effect::Unconfirmed => in_doubt(exchange, rules, held),
                }
            }
        }
        Decision::Postpone(later) => Settlement { due: later, ..held },
        Decision::Wait(rest) => {
            let trials = match rest {
                Rest::None => exchange.claimed.trials,
                Rest::Short | Rest::Backoff => {
                    failed(exchange.claimed.trials, Attempt::NotCounted, now)
                }
            };
            Settlement {
                due: now.after(rested(rest, trials.failures, jitter)),
                trials: Trials {
                    tried_at: Some(now),
                    ..trials
                },
                ..held
            }
        }
    }
}

/// Where all that was sent were facts that are asserted once more, and Imprint will not have them, that is the end of it:
/// they were delivered, and nobody is left to park.
fn resigned(exchange: &LaneExchange, tried: Settlement) -> Settlement {
    if !exchange.fold.carried.is_empty() || exchange.fold.reasserted == 0 {
        return tried;
    }
    Settlement {
        versions: Some(exchange.claimed.versions.clone().resigned()),
        reassert_at: None,
        ..tried
    }
}

/// What was sent may have been applied, or may be yet.
fn in_doubt(exchange: &LaneExchange, rules: &DeliveryRules, held: Settlement) -> Settlement {
    let until = held.at.after(rules.reassert_after);
    let versions = exchange.claimed.versions.clone();
    let versions = versions.with_unconfirmed(&exchange.fold, until);
    Settlement {
        reassert_at: versions.reassert_at(),
        versions: Some(versions),
        ..held
    }
}

fn failed(trials: Trials, attempt: Attempt, now: Timestamp) -> Trials {
    Trials {
        failures: trials.failures.saturating_add(1),
        attempts: trials.attempts + u32::from(attempt == Attempt::Counted),
        tried_at: Some(now),
    }
}

fn rested(rest: Rest, failures: u32, jitter: f64) -> Duration {
    match rest {
        Rest::None => Duration::ZERO,
        Rest::Short => backoff(failures, jitter).min(DOWN_REST_MAX),
        Rest::Backoff => backoff(failures, jitter),
    }
}

/// The lane as it is, due at once; only what is over without any request is over.
fn held(exchange: &LaneExchange, now: Timestamp) -> Settlement {
    let claimed = &exchange.claimed;
    let unreadable = claimed
        .unreadable
        .iter()
        .map(|entry| (*entry, park(ParkReason::Unreadable)));
    let conflicts = exchange
        .conflicts
        .iter()
        .map(|entry| (*entry, park(ParkReason::IdentityConflict)));
    // What a process before this one left in doubt is to be remembered, whatever else comes of this.
    let versions = claimed.maybe_sent_to.map(|_| claimed.versions.clone());
    Settlement {
        lane: claimed.lane,
        token: claimed.token,
        endings: endings(&exchange.fold.stale)
            .chain(unreadable)
            .chain(conflicts)
            .collect(),
        attempted: Vec::new(),
        moved: None,
        new_link: exchange.new_link.clone(),
        versions,
        trials: claimed.trials,
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

fn delivered(exchange: &LaneExchange, mut tried: Settlement) -> Settlement {
    tried.endings.extend(endings(&exchange.fold.finished));
    let versions = exchange.claimed.versions.clone().delivered(&exchange.fold);
    Settlement {
        reassert_at: versions.reassert_at(),
        versions: Some(versions),
        ..tried
    }
}

/// Parks, out of what was delivered, the entries that cleared these lines. The lines themselves were not delivered:
/// whoever takes such an entry up again has them cleared once more.
fn delivered_but(exchange: &LaneExchange, lines: &[Field], tried: Settlement) -> Settlement {
    let mut delivered = delivered(exchange, tried);
    let mut cleared_by = exchange.fold.brought_by(lines);
    // What is only asserted once more has ended before.
    cleared_by.retain(|entry| exchange.fold.carried.contains(entry));
    for entry in cleared_by.into_iter().map(EntryId) {
        delivered.endings.retain(|(other, _)| *other != entry);
        delivered
            .endings
            .push((entry, park(ParkReason::NotCleared)));
    }
    let versions = exchange.claimed.versions.clone();
    let versions = versions.delivered(&exchange.fold.without(lines));
    Settlement {
        reassert_at: versions.reassert_at(),
        versions: Some(versions),
        ..delivered
    }
}

fn parked(
    exchange: &LaneExchange,
    reason: ParkReason,
    detail: Option<String>,
    mut tried: Settlement,
) -> Settlement {
    let parked = Ending::Parked { reason, detail };
    tried.endings.extend(
        exchange
            .fold
            .carried
            .iter()
            .map(|entry| (EntryId(*entry), parked.clone())),
    );
    tried
}

/// Ends everything that waits in the same way.
fn all(exchange: &LaneExchange, ending: &Ending, mut tried: Settlement) -> Settlement {
    let rest: Vec<_> = left(exchange, &tried)
        .map(|waiting| (waiting.entry, ending.clone()))
        .collect();
    tried.endings.extend(rest);
    tried
}

/// What waits and has not ended by what else is decided.
fn left<'a>(
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

fn absent(exchange: &LaneExchange, rules: &DeliveryRules, tried: Settlement) -> Settlement {
    match rules.unknown {
        UnknownCustomer::Ignore => all(exchange, &Ending::Ignored, tried),
        UnknownCustomer::Park => all(exchange, &park(ParkReason::UnknownCustomer), tried),
        UnknownCustomer::Wait => {
            let now = tried.at;
            let too_old: Vec<_> = left(exchange, &tried)
                .filter(|waiting| now.since(waiting.accepted_at) >= rules.wait_max)
                .map(|waiting| (waiting.entry, Ending::Ignored))
                .collect();
            let mut waits = Settlement {
                due: now.after(rules.unknown_ttl.min(DUE_AHEAD_MAX)),
                attempted: Vec::new(),
                ..tried
            };
            waits.endings.extend(too_old);
            waits
        }
    }
}

/// What did not name Imprint's id goes on with the customer it turned out to be about.
fn moved(exchange: &LaneExchange, to: ImprintId, held: Settlement) -> Settlement {
    let searched = exchange.new_link.as_ref().map(|pair| &pair.partner);
    let is_who_was_found = |waiting: &&WaitingEntry| match &waiting.customer {
        CustomerRef::Partner(partner) => searched.is_none_or(|searched| searched == partner),
        CustomerRef::Imprint(_) | CustomerRef::Pair { .. } => false,
    };
    let entries = left(exchange, &held)
        .filter(is_who_was_found)
        .map(|waiting| waiting.entry)
        .collect();
    Settlement {
        moved: Some(Moved { to, entries }),
        trials: Trials::default(),
        ..held
    }
}

/// A lane that had nothing to send: what is over is over, and clearing alone needs no request.
fn nothing(exchange: &LaneExchange, held: Settlement) -> Settlement {
    let mut settlement = delivered(exchange, held);
    for (_, ending) in &mut settlement.endings {
        if *ending == Ending::Delivered {
            *ending = Ending::Ignored;
        }
    }
    settlement
}

/// What an echo says of the partner's id, if anybody here goes by one and it is signal, or half as old as it may get.
fn confirmed(
    exchange: &LaneExchange,
    echo: Echo,
    rules: &DeliveryRules,
    now: Timestamp,
) -> Option<IdentityLink> {
    let partner = echo.partner_customer_id?;
    let goes_by_one = |waiting: &WaitingEntry| waiting.customer.partner().is_some();
    let imprint = exchange
        .imprint()
        .filter(|_| exchange.claimed.waiting.iter().any(goes_by_one))?;
    let is_known = exchange.claimed.links.iter().any(|pair| {
        let is_it = pair
            .imprint
            .as_ref()
            .is_some_and(|known| known.is_same(imprint.as_str()));
        is_it && pair.partner == partner && now.since(pair.confirmed_at) < rules.link_ttl / 2
    });
    (!is_known).then(|| IdentityLink {
        partner,
        imprint: Some(imprint.clone()),
        confirmed_at: now,
    })
}

fn endings(ends: &[(u64, FoldEnd)]) -> impl Iterator<Item = (EntryId, Ending)> + '_ {
    ends.iter().map(|(entry, end)| {
        let ending = match end {
            FoldEnd::Delivered => Ending::Delivered,
            FoldEnd::Superseded(winner) => Ending::Superseded(EntryId(*winner)),
            FoldEnd::Empty => Ending::Ignored,
        };
        (EntryId(*entry), ending)
    })
}
