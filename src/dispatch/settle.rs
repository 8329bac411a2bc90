//! Decisions, written down for the store. Pure.

use std::time::Duration;

use super::backoff::backoff;
use super::flight::Flight;
use super::policy::{Applied, Attempt, DOWN_REST_MAX, Decision, Rest};
use super::rules::{Rules, UnknownCustomer};
use crate::fold::End;
use crate::imprint::{Customer, Echo, Field, ImprintId};
use crate::outbox::{
    DUE_AHEAD_MAX, Ending, EntryId, Moved, Pair, ParkReason, Settlement, Trials, WaitingEntry,
};
use crate::time::Timestamp;

/// Writes a decision down for the store. `jitter` is a number in `[0, 1)`.
pub fn settlement(
    flight: &Flight,
    decision: Decision,
    rules: &Rules,
    (now, jitter): (Timestamp, f64),
) -> Settlement {
    let settlement = decided(flight, decision, rules, (now, jitter));
    // Facts that are to be asserted rest as long as anything else that failed.
    Settlement {
        assert_at: settlement.assert_at.map(|at| at.max(settlement.due)),
        ..settlement
    }
}

fn decided(
    flight: &Flight,
    decision: Decision,
    rules: &Rules,
    (now, jitter): (Timestamp, f64),
) -> Settlement {
    let held = held(flight, now);
    let tried = Settlement {
        attempted: flight.fold.carried.iter().copied().map(EntryId).collect(),
        trials: Trials::default(),
        ..held.clone()
    };
    match decision {
        Decision::Nothing => nothing(flight, held),
        Decision::Deliver(echo) => Settlement {
            learned: confirmed(flight, echo, rules, now),
            ..delivered(flight, tried)
        },
        Decision::DeliverBut(lines) => delivered_but(flight, &lines, tried),
        Decision::Unfold => Settlement {
            unfold_to: flight.fold.carried.iter().copied().max().map(EntryId),
            ..tried
        },
        Decision::Park { reason, detail } => {
            parked(flight, reason, detail, resigned(flight, tried))
        }
        Decision::ParkAll(reason) => all(flight, &park(reason), resigned(flight, tried)),
        Decision::Absent => absent(flight, rules, resigned(flight, tried)),
        Decision::Move(imprint) => moved(flight, imprint, held),
        Decision::Again {
            applied,
            rest,
            attempt,
        } => {
            let trials = failed(flight.claimed.trials, attempt, now);
            Settlement {
                due: now.after(rested(rest, trials.failures, jitter)),
                trials,
                attempted: tried.attempted,
                ..match applied {
                    Applied::No => held,
                    Applied::Maybe => in_doubt(flight, rules, held),
                }
            }
        }
        Decision::Postpone(later) => Settlement { due: later, ..held },
        Decision::Hold(rest) => {
            let trials = match rest {
                Rest::None => flight.claimed.trials,
                Rest::Short | Rest::Backoff => failed(flight.claimed.trials, Attempt::Free, now),
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
fn resigned(flight: &Flight, tried: Settlement) -> Settlement {
    if !flight.fold.carried.is_empty() || flight.fold.asserted == 0 {
        return tried;
    }
    Settlement {
        versions: Some(flight.claimed.versions.clone().resigned()),
        assert_at: None,
        ..tried
    }
}

/// What was sent may have been applied, or may be yet.
fn in_doubt(flight: &Flight, rules: &Rules, held: Settlement) -> Settlement {
    let until = held.at.after(rules.assert_after);
    let versions = flight.claimed.versions.clone();
    let versions = versions.maybe_applied(&flight.fold, until);
    Settlement {
        assert_at: versions.assert_at(),
        versions: Some(versions),
        ..held
    }
}

fn failed(trials: Trials, attempt: Attempt, now: Timestamp) -> Trials {
    Trials {
        failures: trials.failures.saturating_add(1),
        spent: trials.spent + u32::from(attempt == Attempt::Spent),
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
fn held(flight: &Flight, now: Timestamp) -> Settlement {
    let claimed = &flight.claimed;
    let unreadable = claimed
        .unreadable
        .iter()
        .map(|entry| (*entry, park(ParkReason::Unreadable)));
    let conflicts = flight
        .conflicts
        .iter()
        .map(|entry| (*entry, park(ParkReason::IdentityConflict)));
    // What a process before this one left in doubt is to be remembered, whatever else comes of this.
    let versions = claimed.perhaps_sent_to.map(|_| claimed.versions.clone());
    Settlement {
        lane: claimed.lane,
        endings: endings(&flight.fold.stale)
            .chain(unreadable)
            .chain(conflicts)
            .collect(),
        attempted: Vec::new(),
        moved: None,
        learned: flight.learned.clone(),
        versions,
        trials: claimed.trials,
        unfold_to: claimed.unfold_to,
        due: now,
        assert_at: claimed.versions.assert_at(),
        at: now,
    }
}

fn park(reason: ParkReason) -> Ending {
    Ending::Parked {
        reason,
        detail: None,
    }
}

fn delivered(flight: &Flight, mut tried: Settlement) -> Settlement {
    tried.endings.extend(endings(&flight.fold.over));
    let versions = flight.claimed.versions.clone().delivered(&flight.fold);
    Settlement {
        assert_at: versions.assert_at(),
        versions: Some(versions),
        ..tried
    }
}

/// Parks, out of what was delivered, the entries that cleared these lines. The lines themselves were not delivered:
/// whoever takes such an entry up again has them cleared once more.
fn delivered_but(flight: &Flight, lines: &[Field], tried: Settlement) -> Settlement {
    let mut delivered = delivered(flight, tried);
    let mut cleared_by = flight.fold.brought_by(lines);
    // What is only asserted once more has ended before.
    cleared_by.retain(|entry| flight.fold.carried.contains(entry));
    for entry in cleared_by.into_iter().map(EntryId) {
        delivered.endings.retain(|(other, _)| *other != entry);
        delivered
            .endings
            .push((entry, park(ParkReason::NotCleared)));
    }
    let versions = flight.claimed.versions.clone();
    let versions = versions.delivered(&flight.fold.without(lines));
    Settlement {
        assert_at: versions.assert_at(),
        versions: Some(versions),
        ..delivered
    }
}

fn parked(
    flight: &Flight,
    reason: ParkReason,
    detail: Option<String>,
    mut tried: Settlement,
) -> Settlement {
    let parked = Ending::Parked { reason, detail };
    tried.endings.extend(
        flight
            .fold
            .carried
            .iter()
            .map(|entry| (EntryId(*entry), parked.clone())),
    );
    tried
}

/// Ends everything that waits in the same way.
fn all(flight: &Flight, ending: &Ending, mut tried: Settlement) -> Settlement {
    let rest: Vec<_> = left(flight, &tried)
        .map(|waiting| (waiting.entry, ending.clone()))
        .collect();
    tried.endings.extend(rest);
    tried
}

/// What waits and has not ended by what else is decided.
fn left<'a>(
    flight: &'a Flight,
    settlement: &Settlement,
) -> impl Iterator<Item = &'a WaitingEntry> + use<'a> {
    let ended: Vec<EntryId> = settlement.endings.iter().map(|(entry, _)| *entry).collect();
    flight
        .claimed
        .waiting
        .iter()
        .filter(move |waiting| !ended.contains(&waiting.entry))
}

fn absent(flight: &Flight, rules: &Rules, tried: Settlement) -> Settlement {
    match rules.unknown {
        UnknownCustomer::Ignore => all(flight, &Ending::Ignored, tried),
        UnknownCustomer::Park => all(flight, &park(ParkReason::UnknownCustomer), tried),
        UnknownCustomer::Wait => {
            let now = tried.at;
            let too_old: Vec<_> = left(flight, &tried)
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
fn moved(flight: &Flight, to: ImprintId, held: Settlement) -> Settlement {
    let searched = flight.learned.as_ref().map(|pair| &pair.partner);
    let is_who_was_found = |waiting: &&WaitingEntry| match &waiting.customer {
        Customer::Partner(partner) => searched.is_none_or(|searched| searched == partner),
        Customer::Imprint(_) | Customer::Pair { .. } => false,
    };
    let entries = left(flight, &held)
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
fn nothing(flight: &Flight, held: Settlement) -> Settlement {
    let mut settlement = delivered(flight, held);
    for (_, ending) in &mut settlement.endings {
        if *ending == Ending::Delivered {
            *ending = Ending::Ignored;
        }
    }
    settlement
}

/// What an echo says of the partner's id, if anybody here goes by one and it is news, or half as old as it may get.
fn confirmed(flight: &Flight, echo: Echo, rules: &Rules, now: Timestamp) -> Option<Pair> {
    let partner = echo.partner?;
    let goes_by_one = |waiting: &WaitingEntry| waiting.customer.partner().is_some();
    let imprint = flight
        .imprint()
        .filter(|_| flight.claimed.waiting.iter().any(goes_by_one))?;
    let is_known = flight.claimed.known.iter().any(|pair| {
        let is_it = pair
            .imprint
            .as_ref()
            .is_some_and(|known| known.is_same(imprint.as_str()));
        is_it && pair.partner == partner && now.since(pair.confirmed_at) < rules.pair_ttl / 2
    });
    (!is_known).then(|| Pair {
        partner,
        imprint: Some(imprint.clone()),
        confirmed_at: now,
    })
}

fn endings(ends: &[(u64, End)]) -> impl Iterator<Item = (EntryId, Ending)> + '_ {
    ends.iter().map(|(entry, end)| {
        let ending = match end {
            End::Delivered => Ending::Delivered,
            End::Superseded(winner) => Ending::Superseded(EntryId(*winner)),
            End::Empty => Ending::Ignored,
        };
        (EntryId(*entry), ending)
    })
}
