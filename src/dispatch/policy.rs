//! What we do about an outcome. Pure: outcomes in, decisions and settlements out.
//!
//! A fault of the destination ends no entry; a fault of one entry parks that entry only.

use std::time::Duration;

use super::backoff::backoff;
use super::destination::Condition;
use crate::fold::{End, Fold, LaneVersions};
use crate::imprint::{Outcome, Rejection};
use crate::outbox::{ClaimedLane, DUE_AHEAD_MAX, Ending, EntryId, ParkReason, Settlement};
use crate::time::Timestamp;

/// How long a lane rests at most that failed while the destination was down.
pub const DOWN_REST_MAX: Duration = Duration::from_secs(5);

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
    /// The request failed: the lane is to be sent again, later or at once.
    Again(Applied, Rest),
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

/// How long a lane that failed rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Longer with each failure: it may be the lane's own.
    Backoff,
    /// As long, and [`DOWN_REST_MAX`] at most: the destination is down, and when it is back nobody is to sleep on.
    Short,
}

/// Decides by the outcome of a request that carried this many entries, and by what the destination is like after it.
pub fn decide(outcome: &Outcome, carried: usize, condition: Condition) -> Decision {
    let rest = match condition {
        Condition::Probing { .. } | Condition::Stopped { .. } => Rest::Short,
        Condition::Flowing { .. } | Condition::Throttled { .. } => Rest::Backoff,
    };
    match outcome {
        Outcome::Applied => Decision::Deliver,
        Outcome::Throttled(_) | Outcome::Denied(_) => Decision::Hold,
        Outcome::Unavailable(_) => Decision::Again(Applied::No, rest),
        Outcome::Unknown(_) => Decision::Again(Applied::Maybe, rest),
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
        Decision::Ignore => ignored(claimed, tried),
        Decision::Unfold => Settlement {
            unfold_to: fold.carried.iter().copied().max().map(EntryId),
            ..tried
        },
        Decision::Park { detail } => parked(fold, detail, tried),
        Decision::Again(applied, rest) => {
            let failures = claimed.failures.saturating_add(1);
            let longest = match rest {
                Rest::Backoff => DUE_AHEAD_MAX,
                Rest::Short => DOWN_REST_MAX,
            };
            let due = now.after(backoff(failures, jitter).min(longest));
            Settlement {
                failures,
                due,
                versions: sent(claimed, fold, applied),
                ..tried
            }
        }
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

fn ignored(claimed: &ClaimedLane, mut tried: Settlement) -> Settlement {
    let stale: Vec<EntryId> = tried.endings.iter().map(|(entry, _)| *entry).collect();
    let rest = claimed
        .waiting
        .iter()
        .map(|waiting| waiting.entry)
        .filter(|entry| !stale.contains(entry));
    tried
        .endings
        .extend(rest.map(|entry| (entry, Ending::Ignored)));
    Settlement {
        failures: 0,
        ..tried
    }
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

/// What Imprint may have after a request that failed.
fn sent(claimed: &ClaimedLane, fold: &Fold, applied: Applied) -> Option<LaneVersions> {
    match applied {
        Applied::No => None,
        Applied::Maybe => Some(claimed.versions.clone().maybe_applied(fold)),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::event::Version;
    use crate::fold::{FoldMax, fold};
    use crate::imprint::{Cause, Fact, ImprintId, Leaf};
    use crate::outbox::{LaneId, WaitingEntry};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn waiting(entry: u64, value: i64, path: &str) -> WaitingEntry {
        let fact = (Leaf::parse(path).unwrap(), Fact::from_value(json!("x")));
        let version = Version {
            epoch: 0,
            value,
            arrival: entry,
        };
        WaitingEntry {
            entry: EntryId(entry),
            version,
            update: [fact].into_iter().collect(),
        }
    }

    /// A lane with two entries that ride together, 1 and 3, and one that 1 beats.
    fn lane() -> (ClaimedLane, Fold) {
        let claimed = ClaimedLane {
            lane: LaneId(7),
            customer: ImprintId::parse("CUST-1").ok(),
            versions: LaneVersions::default(),
            failures: 2,
            unfold_to: None,
            waiting: vec![
                waiting(1, 5, "email"),
                waiting(2, 4, "email"),
                waiting(3, 6, "phone"),
            ],
            unreadable: vec![EntryId(9)],
        };
        let fold = fold(&claimed.versions, &claimed.candidates(), FoldMax(100));
        (claimed, fold)
    }

    fn settle(decision: Decision) -> Settlement {
        let (claimed, fold) = lane();
        settlement(&claimed, &fold, decision, NOW, 0.5)
    }

    fn ended(settlement: &Settlement) -> Vec<(u64, &'static str)> {
        settlement
            .endings
            .iter()
            .map(|(entry, ending)| (entry.0, ending.state().as_str()))
            .collect()
    }

    #[test]
    fn every_outcome_has_its_decision() {
        let rejection = Rejection {
            status: 400,
            kind: Some("BAD".to_owned()),
            param: Some("email".to_owned()),
        };
        let cause = Cause::Status(500);
        let table = [
            (Outcome::Applied, 2, Decision::Deliver),
            (Outcome::Throttled(None), 2, Decision::Hold),
            (Outcome::Denied(cause), 2, Decision::Hold),
            (
                Outcome::Unavailable(cause),
                2,
                Decision::Again(Applied::No, Rest::Backoff),
            ),
            (
                Outcome::Unknown(cause),
                2,
                Decision::Again(Applied::Maybe, Rest::Backoff),
            ),
            (Outcome::NotFound, 2, Decision::Ignore),
            (Outcome::Rejected(rejection.clone()), 2, Decision::Unfold),
            (
                Outcome::Rejected(rejection),
                1,
                Decision::Park {
                    detail: "status 400 BAD email".to_owned(),
                },
            ),
        ];
        for (outcome, carried, decision) in table {
            assert_eq!(
                decide(&outcome, carried, Condition::FIRST),
                decision,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn what_is_delivered_names_what_it_beat() {
        let settlement = settle(Decision::Deliver);
        let ended = ended(&settlement);
        let expected = [
            (9, "parked"),
            (1, "delivered"),
            (2, "superseded"),
            (3, "delivered"),
        ];
        assert_eq!(ended, expected);
        assert!(
            settlement
                .endings
                .contains(&(EntryId(2), Ending::Superseded(EntryId(1))))
        );
        assert_eq!((settlement.failures, settlement.due), (0, NOW));
        assert!(settlement.versions.is_some());
    }

    /// U25, U34, U35: no fault of the destination ends an entry, and only a failure of the lane is counted.
    #[test]
    fn a_fault_of_the_destination_ends_nothing() {
        for (decision, attempted, failures) in [
            (Decision::Hold, 0, 2),
            (Decision::Again(Applied::No, Rest::Backoff), 2, 3),
            (Decision::Again(Applied::Maybe, Rest::Backoff), 2, 3),
            (Decision::Again(Applied::Maybe, Rest::Short), 2, 3),
            (Decision::Unfold, 2, 2),
        ] {
            let settlement = settle(decision.clone());
            assert_eq!(ended(&settlement), [(9, "parked")], "{decision:?}");
            assert_eq!(
                (settlement.attempted.len(), settlement.failures),
                (attempted, failures),
                "{decision:?}"
            );
        }
        assert_eq!(settle(Decision::Unfold).unfold_to, Some(EntryId(3)));
        assert_eq!(
            settle(Decision::Again(Applied::No, Rest::Backoff)).due,
            NOW.after(Duration::from_secs(2))
        );
        assert!(
            settle(Decision::Again(Applied::Maybe, Rest::Backoff))
                .versions
                .is_some()
        );
    }

    #[test]
    fn a_customer_that_is_not_there_ends_the_lane_as_ignored() {
        let settlement = settle(Decision::Ignore);
        let words: BTreeSet<_> = ended(&settlement).into_iter().collect();
        assert_eq!(
            words,
            [
                (1, "ignored"),
                (2, "ignored"),
                (3, "ignored"),
                (9, "parked")
            ]
            .into()
        );
    }

    #[test]
    fn clearing_alone_needs_no_request() {
        let (claimed, fold) = lane();
        let settlement = unsent(&claimed, &fold, NOW);
        assert_eq!(
            ended(&settlement),
            [
                (9, "parked"),
                (1, "ignored"),
                (2, "superseded"),
                (3, "ignored")
            ]
        );
        assert!(settlement.attempted.is_empty());
    }
}
