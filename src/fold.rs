//! Folding: what one lane knows and what waits in it, made into one request.
//!
//! Pure. For each field the newest version wins; what is older than what Imprint already has is not sent. Nothing here
//! knows the store: an entry is named by its version's `arrival`, which is the entry's number.
//!
//! Folding never changes what Imprint ends up with: it is what sending every update by itself, in the order of versions,
//! would have come to. That is why it goes by field. An event may leave fields out ("leave alone"), and an older event
//! that states them must not lose them to a newer one that does not.
//!
//! Invariants: a fact that is sent is the newest of its field among all that waits and all that was delivered; an entry
//! is over only when every field it speaks of has been delivered at least as new. A fact that was delivered while an older
//! request might still land is asserted once more when that cannot be any longer ([`LaneVersions`]).

use litemap::LiteMap;

use crate::event::Version;
use crate::imprint::{Field, FieldValue, Update};
use crate::time::Timestamp;

mod versions;

pub use versions::LaneVersions;

/// One entry that waits, as folding sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// How new its facts are; `arrival` is the entry's number.
    pub version: Version,
    /// Its facts.
    pub update: &'a Update,
}

/// How many entries one request may carry. Beaten entries do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxFold(pub usize);

/// How an entry is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldEnd {
    /// Imprint has at least one fact of it, and newer facts in place of the others.
    Delivered,
    /// Imprint has newer facts in place of all of it; the newest are of this entry.
    Superseded(u64),
    /// It stated nothing.
    Empty,
}

/// One request's worth of a lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    /// What to send. Its body is empty where every winning fact is a cleared one.
    pub update: Update,
    /// The entries (by number) that its facts come from.
    pub carried: Vec<u64>,
    /// The entries that are over once this request is delivered.
    pub finished: Vec<(u64, FoldEnd)>,
    /// The entries that are over already: Imprint has facts at least as new.
    pub stale: Vec<(u64, FoldEnd)>,
    /// How many facts Imprint has been given already and is given once more, because an older request may have landed
    /// after them.
    pub reasserted: usize,
    /// How many entries have the version of another one and say something else; the later arrival wins.
    pub ties: usize,
    /// The versions that delivery of this request brings Imprint to.
    versions: LiteMap<Field, Version>,
    /// Whether delivery of this request ends the doubt about earlier ones.
    ends_doubt: bool,
}

impl Fold {
    /// The entries that its facts of these fields come from.
    pub fn entries_setting(&self, fields: &[Field]) -> Vec<u64> {
        self.versions
            .iter()
            .filter(|(field, _)| fields.contains(field))
            .map(|(_, version)| version.arrival)
            .collect()
    }

    /// The same as if it had not spoken of these fields.
    #[must_use]
    pub fn without(&self, fields: &[Field]) -> Self {
        let mut rest = self.clone();
        rest.versions.retain(|field, _| !fields.contains(field));
        rest
    }
}

/// Folds what waits in a lane into one request of at most `max` entries.
///
/// If more entries than `max` have something to send, the oldest versions go first. An entry is over only when Imprint
/// has facts at least as new for every field it speaks of: if the entry that beat it parks instead, it comes back.
pub fn fold(lane: &LaneVersions, waiting: &[Candidate<'_>], max: MaxFold, now: Timestamp) -> Fold {
    let (mut winners, ties) = winners(lane, waiting);
    let mut carried: Vec<Version> = winners.values().map(|(version, _)| *version).collect();
    carried.sort_unstable();
    carried.dedup();
    carried.truncate(max.0.max(1));
    winners.retain(|_, (version, _)| carried.contains(version));

    let mut fold = Fold {
        update: update(&winners, &carried, waiting),
        carried: carried.iter().map(|version| version.arrival).collect(),
        ties,
        ends_doubt: lane.doubt_is_over(now),
        ..Fold::default()
    };
    let sent = winners.iter();
    fold.versions = sent
        .map(|(field, (version, _))| ((*field).clone(), *version))
        .collect();
    for (field, version, fact) in lane.to_assert(now) {
        if fold.update.value(field).is_none() {
            fold.update.insert(field.clone(), fact.clone());
            fold.versions.insert(field.clone(), version);
            fold.reasserted += 1;
        }
    }
    let sent = &fold.versions;
    let after = |field: &Field| sent.get(field).copied().or_else(|| lane.of(field));
    for candidate in waiting {
        if let Some(end) = end(|field| lane.of(field), candidate) {
            fold.stale.push((candidate.version.arrival, end));
        } else if fold.update.ptr_eq(candidate.update) {
            // All of it is sent, and nothing else.
            fold.finished
                .push((candidate.version.arrival, FoldEnd::Delivered));
        } else if let Some(end) = end(after, candidate) {
            fold.finished.push((candidate.version.arrival, end));
        }
    }
    fold
}

/// What is sent. Mostly that is one entry and all of it, and then it is that entry's own.
fn update(
    winners: &LiteMap<&Field, Winner<'_>>,
    carried: &[Version],
    waiting: &[Candidate<'_>],
) -> Update {
    if let [only] = carried
        && let Some(candidate) = waiting.iter().find(|waiting| waiting.version == *only)
        && candidate.update.len() == winners.len()
    {
        return candidate.update.clone();
    }
    let facts = winners.iter();
    facts
        .map(|(field, (_, fact))| ((*field).clone(), (*fact).clone()))
        .collect()
}

/// A fact, and how new it is.
type Winner<'a> = (Version, &'a FieldValue);

/// The newest fact of each field, where it is newer than what Imprint has, and how many entries tie with another.
fn winners<'a>(
    lane: &LaneVersions,
    waiting: &[Candidate<'a>],
) -> (LiteMap<&'a Field, Winner<'a>>, usize) {
    let most = waiting
        .iter()
        .map(|candidate| candidate.update.fields().count());
    let mut winners: LiteMap<&Field, Winner<'_>> =
        LiteMap::with_capacity(most.max().unwrap_or_default());
    let mut ties = 0;
    for candidate in waiting {
        let mut is_tie = false;
        for (field, fact) in candidate.update.iter() {
            is_tie |= lane
                .of(field)
                .is_some_and(|had| candidate.version.ties(had));
            let stated = (candidate.version, fact);
            // Behind all the others, as every field of the first entry is.
            let Some((field, stated)) = winners.try_append(field, stated) else {
                continue;
            };
            let winner = winners.entry(field).or_insert(stated);
            is_tie |= candidate.version.ties(winner.0) && fact != winner.1;
            if candidate.version > winner.0 {
                *winner = (candidate.version, fact);
            }
        }
        ties += usize::from(is_tie);
    }
    winners
        .retain(|field, (version, _)| lane.of(field).is_none_or(|delivered| *version > delivered));
    (winners, ties)
}

/// How a candidate is over if Imprint has these versions; `None` if it still has something to say.
fn end(had: impl Fn(&Field) -> Option<Version>, candidate: &Candidate<'_>) -> Option<FoldEnd> {
    let mut newest = None;
    let mut end = FoldEnd::Empty;
    for field in candidate.update.fields() {
        let delivered = had(field).filter(|delivered| *delivered >= candidate.version)?;
        if delivered == candidate.version {
            end = FoldEnd::Delivered;
        }
        newest = newest.max(Some(delivered));
    }
    match (end, newest) {
        (FoldEnd::Empty, Some(newest)) => Some(FoldEnd::Superseded(newest.arrival)),
        (end, _) => Some(end),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::imprint::clearing::Clearing;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn update(facts: &[(&str, &str)]) -> Update {
        facts
            .iter()
            .map(|(path, value)| {
                (
                    Field::parse(path).unwrap(),
                    FieldValue::from_value(json!(value)),
                )
            })
            .collect()
    }

    fn version(value: i64, arrival: u64) -> Version {
        Version {
            epoch: 0,
            value,
            arrival,
        }
    }

    fn fold_all(lane: &LaneVersions, waiting: &[(Version, Update)], max: usize) -> Fold {
        let candidates: Vec<_> = waiting
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
            })
            .collect();
        fold(lane, &candidates, MaxFold(max), NOW)
    }

    /// O03
    #[test]
    fn the_newest_version_wins_each_field_whatever_the_order_of_arrival() {
        let waiting = [
            (version(3, 1), update(&[("email", "three")])),
            (version(1, 2), update(&[("email", "one")])),
            (version(2, 3), update(&[("email", "two"), ("phone", "two")])),
        ];
        let fold = fold_all(&LaneVersions::default(), &waiting, 100);
        assert_eq!(
            Value::Object(fold.update.body(Clearing::default()).to_object()),
            json!({"email": "three", "phone": "two"})
        );
        assert_eq!(fold.carried, [3, 1]);
        assert_eq!(
            fold.finished,
            [
                (1, FoldEnd::Delivered),
                (2, FoldEnd::Superseded(1)),
                (3, FoldEnd::Delivered)
            ]
        );
    }

    #[test]
    fn what_imprint_already_has_newer_is_stale() {
        let newer = [(version(5, 1), update(&[("email", "new"), ("city", "Reno")]))];
        let lane =
            LaneVersions::default().delivered(&fold_all(&LaneVersions::default(), &newer, 100));
        let late = [(version(4, 2), update(&[("email", "old"), ("city", "Elko")]))];
        let fold = fold_all(&lane, &late, 100);
        assert!(fold.update.is_empty());
        assert_eq!(
            (fold.carried.len(), fold.stale),
            (0, vec![(2, FoldEnd::Superseded(1))])
        );
    }

    /// An event that fields a field out says nothing about it.
    #[test]
    fn a_newer_event_beats_only_what_it_speaks_of() {
        let waiting = [
            (
                version(2, 1),
                update(&[
                    ("city", "Reno"),
                    ("street_line1", "1 New St"),
                    ("postal_code", "89501"),
                ]),
            ),
            (version(3, 2), update(&[("postal_code", "89502")])),
        ];
        let fold = fold_all(&LaneVersions::default(), &waiting, 100);
        let sent = json!({"city": "Reno", "street_line1": "1 New St", "postal_code": "89502"});
        assert_eq!(
            Value::Object(fold.update.body(Clearing::default()).to_object()),
            sent
        );
        assert_eq!(
            fold.finished,
            [(1, FoldEnd::Delivered), (2, FoldEnd::Delivered)]
        );
    }

    #[test]
    fn equal_versions_let_the_later_arrival_win() {
        let waiting = [
            (version(1, 1), update(&[("city", "a")])),
            (version(1, 2), update(&[("city", "b")])),
        ];
        let fold = fold_all(&LaneVersions::default(), &waiting, 100);
        assert_eq!(
            fold.finished,
            [(1, FoldEnd::Superseded(2)), (2, FoldEnd::Delivered)]
        );
    }

    #[test]
    fn a_bounded_fold_carries_the_oldest_first_and_settles_nobody_early() {
        let waiting = [
            (version(1, 1), update(&[("email", "old"), ("phone", "1")])),
            (version(2, 2), update(&[("first_name", "beaten")])),
            (version(3, 3), update(&[("email", "new")])),
            (version(4, 4), update(&[("first_name", "new")])),
        ];
        let first = fold_all(&LaneVersions::default(), &waiting, 1);
        assert_eq!(
            Value::Object(first.update.body(Clearing::default()).to_object()),
            json!({"phone": "1"})
        );
        // Its e-mail may still be needed: the entry that beats it may park.
        assert_eq!((&first.carried, &first.finished), (&vec![1], &vec![]));
        let all = fold_all(&LaneVersions::default(), &waiting, 3);
        assert_eq!(all.carried, [1, 3, 4]);
        assert_eq!(all.finished.len(), 4);
    }

    #[test]
    fn what_a_parked_winner_had_beaten_comes_back() {
        let waiting = [
            (version(1, 1), update(&[("email", "old"), ("phone", "1")])),
            (version(2, 2), update(&[("email", "refused")])),
        ];
        let first = fold_all(&LaneVersions::default(), &waiting, 1);
        let lane = LaneVersions::default().delivered(&first);
        let again = fold_all(&lane, &waiting[..1], 1);
        assert_eq!(
            Value::Object(again.update.body(Clearing::default()).to_object()),
            json!({"email": "old"})
        );
        assert_eq!(again.finished, [(1, FoldEnd::Delivered)]);
    }

    #[test]
    fn an_entry_that_states_nothing_is_over_at_once() {
        let fold = fold_all(
            &LaneVersions::default(),
            &[(version(1, 1), Update::default())],
            100,
        );
        assert_eq!(fold.stale, [(1, FoldEnd::Empty)]);
    }

    /// What a history may touch: fields of different groups and of one.
    const FIELDS: [&str; 4] = ["email", "street_line2", "city", "metadata.k"];

    proptest! {
        /// V3: sent one fold at a time, whatever its bound, a history in any order fields the newest facts of each group.
        #[test]
        fn any_history_leaves_the_newest_facts(
            history in prop::collection::vec((0_i64..5, 0_usize..16), 1..12),
            max in 1_usize..5,
            split in 0_usize..12,
        ) {
            let entries: Vec<(Version, Update)> = history.iter().zip(1_u64..).map(|((value, fields), arrival)| {
                let text = arrival.to_string();
                let facts: Vec<_> = FIELDS.iter().enumerate()
                    .filter(|(bit, _)| fields & (1 << bit) != 0)
                    .map(|(_, path)| (*path, text.as_str())).collect();
                (version(*value, arrival), update(&facts))
            }).collect();
            let (early, late) = entries.split_at(split.min(entries.len()));
            let mut imprint: LiteMap<Field, FieldValue> = LiteMap::new();
            let mut lane = LaneVersions::default();
            let mut waiting = early.to_vec();
            let mut settled = 0;
            for batch in [Vec::new(), late.to_vec()] {
                waiting.extend(batch);
                while !waiting.is_empty() {
                    let fold = fold_all(&lane, &waiting, max);
                    let over: Vec<u64> = fold.finished.iter().chain(&fold.stale).map(|(entry, _)| *entry).collect();
                    prop_assert!(!(over.is_empty() && fold.carried.is_empty()), "a fold makes progress");
                    for (field, fact) in fold.update.iter() {
                        imprint.insert(field.clone(), fact.clone());
                    }
                    lane = lane.delivered(&fold);
                    settled += over.len();
                    waiting.retain(|(version, _)| !over.contains(&version.arrival));
                }
            }
            prop_assert_eq!(settled, entries.len());
            for path in FIELDS {
                let field = Field::parse(path).unwrap();
                let newest = entries.iter().filter(|(_, update)| update.value(&field).is_some()).max_by_key(|(version, _)| *version);
                prop_assert_eq!(newest.and_then(|(_, update)| update.value(&field)), imprint.get(&field));
            }
        }
    }
}
