//! What we do about an outcome. Pure: outcomes in, decisions and settlements out.
//!
//! A fault of the destination ends no entry; a fault of one entry parks that entry only.

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
    let failed = claimed.failures.saturating_add(1);
    let attempted = || fold.carried.iter().copied().map(EntryId).collect();
    let unchanged = Settlement {
        lane: claimed.lane,
        endings: endings(&fold.stale),
        attempted: Vec::new(),
        versions: None,
        failures: claimed.failures,
        unfold_to: claimed.unfold_to,
        due: now,
        at: now,
    };
    let mut settlement = match decision {
        Decision::Deliver => Settlement {
            endings: endings(fold.stale.iter().chain(&fold.over)),
            attempted: attempted(),
            versions: Some(claimed.versions.clone().delivered(fold)),
            failures: 0,
            ..unchanged
        },
        Decision::Ignore => Settlement {
            endings: claimed
                .waiting
                .iter()
                .map(|waiting| (waiting.entry, Ending::Ignored))
                .collect(),
            attempted: attempted(),
            failures: 0,
            ..unchanged
        },
        Decision::Unfold => Settlement {
            attempted: attempted(),
            unfold_to: fold.carried.iter().copied().max().map(EntryId),
            ..unchanged
        },
        Decision::Park { detail } => {
            let parked = Ending::Parked {
                reason: ParkReason::Rejected,
                detail: Some(detail),
            };
            let parked = fold
                .carried
                .iter()
                .map(|entry| (EntryId(*entry), parked.clone()));
            Settlement {
                endings: endings(&fold.stale).into_iter().chain(parked).collect(),
                attempted: attempted(),
                failures: 0,
                ..unchanged
            }
        }
        Decision::Again(applied) => Settlement {
            attempted: attempted(),
            failures: failed,
            due: now.after(backoff(failed, jitter)),
            versions: match applied {
                Applied::No => None,
                Applied::Maybe => Some(claimed.versions.clone().maybe_applied(fold)),
            },
            ..unchanged
        },
        Decision::Hold => unchanged,
    };
    let unreadable = Ending::Parked {
        reason: ParkReason::Unreadable,
        detail: None,
    };
    settlement.endings.extend(
        claimed
            .unreadable
            .iter()
            .map(|entry| (*entry, unreadable.clone())),
    );
    settlement
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

fn endings<'a>(ends: impl IntoIterator<Item = &'a (u64, End)>) -> Vec<(EntryId, Ending)> {
    let ending = |end: End| match end {
        End::Delivered => Ending::Delivered,
        End::Superseded(winner) => Ending::Superseded(EntryId(winner)),
        End::Empty => Ending::Ignored,
    };
    ends.into_iter()
        .map(|(entry, end)| (EntryId(*entry), ending(*end)))
        .collect()
}
