//! What we do about an outcome. Pure: outcomes in, decisions and settlements out.
//!
//! A fault of the destination ends no entry; a fault of one entry parks that entry only.

use std::time::Duration;

use super::backoff::backoff;
use crate::fold::{End, Fold};
use crate::imprint::{Outcome, Rejection};
use crate::outbox::{ClaimedLane, Ending, EntryId, ParkReason, Settlement};
use crate::time::Timestamp;

/// What becomes of a lane after one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Imprint has the facts.
    Deliver,
    /// There is no such customer, and most customers of a CRM have no card: nothing is to be sent.
    Ignore,
    /// One of several entries is at fault: send them one by one.
    Unfold,
    /// The one entry that was sent is at fault.
    Park {
        /// What Imprint said, names only.
        detail: String,
    },
    /// The lane has failed and rests.
    Again(Applied),
    /// The destination is at fault: the lane waits with all others, and nothing is counted.
    Hold,
}

/// Whether a request that failed may have been applied all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was not.
    No,
    /// It may have been.
    Maybe,
}

/// Decides by the outcome of a request that carried this many entries.
pub fn decide(outcome: &Outcome, carried: usize) -> Decision {
    match outcome {
        Outcome::Applied => Decision::Deliver,
        Outcome::Throttled(_) | Outcome::Denied(_) => Decision::Hold,
        Outcome::Unavailable(_) => Decision::Again(Applied::No),
        Outcome::Unknown(_) => Decision::Again(Applied::Maybe),
        Outcome::NotFound => Decision::Ignore,
        Outcome::Rejected(_) if carried > 1 => Decision::Unfold,
        Outcome::Rejected(rejection) => Decision::Park {
            detail: detail(rejection),
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

/// Writes a decision down for the store. `jitter` is a number in `[0, 1)`.
pub fn settlement(
    claimed: &ClaimedLane,
    fold: &Fold,
    decision: Decision,
    now: Timestamp,
    jitter: f64,
) -> Settlement {
    let held = held(claimed, fold, now);
    let tried = Settlement {
        attempted: fold.carried.iter().copied().map(EntryId).collect(),
        ..held.clone()
    };
    match decision {
        Decision::Deliver => delivered(claimed, fold, tried),
        Decision::Ignore => Settlement {
            endings: ignored(claimed),
            failures: 0,
            ..tried
        },
        Decision::Unfold => Settlement {
            unfold_to: fold.carried.iter().copied().max().map(EntryId),
            ..tried
        },
        Decision::Park { detail } => parked(fold, detail, tried),
        Decision::Again(applied) => again(
            claimed,
            fold,
            applied,
            backoff(claimed.failures.saturating_add(1), jitter),
            tried,
        ),
        Decision::Hold => held,
    }
}

/// The lane as it is, due at once; only what is over without any request is over.
fn held(claimed: &ClaimedLane, fold: &Fold, now: Timestamp) -> Settlement {
    let unreadable = Ending::Parked {
        reason: ParkReason::Unreadable,
        detail: None,
    };
    let unreadable = claimed
        .unreadable
        .iter()
        .map(|entry| (*entry, unreadable.clone()));
    Settlement {
        lane: claimed.lane,
        endings: endings(&fold.stale).chain(unreadable).collect(),
        attempted: Vec::new(),
        versions: None,
        failures: claimed.failures,
        unfold_to: claimed.unfold_to,
        due: now,
        at: now,
    }
}

fn delivered(claimed: &ClaimedLane, fold: &Fold, mut tried: Settlement) -> Settlement {
    tried.endings.extend(endings(&fold.over));
    Settlement {
        versions: Some(claimed.versions.clone().delivered(fold)),
        failures: 0,
        ..tried
    }
}

fn ignored(claimed: &ClaimedLane) -> Vec<(EntryId, Ending)> {
    claimed
        .waiting
        .iter()
        .map(|waiting| (waiting.entry, Ending::Ignored))
        .collect()
}

fn parked(fold: &Fold, detail: String, mut tried: Settlement) -> Settlement {
    let parked = Ending::Parked {
        reason: ParkReason::Rejected,
        detail: Some(detail),
    };
    tried.endings.extend(
        fold.carried
            .iter()
            .map(|entry| (EntryId(*entry), parked.clone())),
    );
    Settlement {
        failures: 0,
        ..tried
    }
}

fn again(
    claimed: &ClaimedLane,
    fold: &Fold,
    applied: Applied,
    rest: Duration,
    tried: Settlement,
) -> Settlement {
    let versions = match applied {
        Applied::No => None,
        Applied::Maybe => Some(claimed.versions.clone().maybe_applied(fold)),
    };
    Settlement {
        failures: claimed.failures.saturating_add(1),
        due: tried.at.after(rest),
        versions,
        ..tried
    }
}

/// A lane that had nothing to send: what is over is over, and clearing alone needs no request.
pub fn unsent(claimed: &ClaimedLane, fold: &Fold, now: Timestamp) -> Settlement {
    let mut settlement = settlement(claimed, fold, Decision::Deliver, now, 0.0);
    settlement.attempted.clear();
    settlement.failures = claimed.failures;
    for (_, ending) in &mut settlement.endings {
        if *ending == Ending::Delivered {
            *ending = Ending::Ignored;
        }
    }
    settlement
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
