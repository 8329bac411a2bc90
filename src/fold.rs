//! Folding: combines the waiting entries of one lane, the queue of one customer, into one request. This module is pure:
//! it does no IO and reads no clock.
//!
//! Folding selects the newest version of each field, and drops values that are older than the values that Imprint
//! already has. Folding works field by field: if an event leaves a field out, folding keeps the value that an older
//! event sets for this field.
//!
//! Folding never changes the final values at Imprint: the values are the same as if the bridge had sent every update by
//! itself, in the order of versions. Folding does not read the store. The `arrival` of a version is the number of the
//! entry that contains the value.
//!
//! Invariants:
//! - A request sends only the newest value of a field, among all waiting entries and all delivered values.
//! - Folding finishes an entry only when Imprint has, for each field of the entry, the entry's value or a newer value.
//! - If a value was delivered while an older request could still arrive at Imprint, folding sends the value again when
//!   the older request can no longer arrive ([`LaneVersions`]).

use litemap::LiteMap;

use crate::event::Version;
use crate::imprint::{Field, FieldValue, Update};
use crate::time::Timestamp;

mod versions;

pub use versions::LaneVersions;

/// One waiting entry of a lane, as an input of folding.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The version of the entry's values. The `arrival` of the version is the number of the entry.
    pub version: Version,
    /// The values that the entry sets.
    pub update: &'a Update,
    /// The maximum difference of two successive versions that the source allows. `None` if the versions are times.
    pub jump_max: Option<u64>,
    /// The version floors of the customer that the event names by the CRM's id beside an Imprint id. They hold for this entry
    /// only: nothing proves that the two ids belong together. `None` means no floor.
    pub floors: Option<&'a LaneVersions>,
}

/// The maximum number of entries whose values one request can send. Superseded entries do not count towards this
/// maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxFold(pub usize);

/// The way in which an entry of a lane is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldEnd {
    /// Imprint has at least one value of the entry, and newer values for the remaining fields of the entry.
    Delivered,
    /// Imprint has newer values for all fields of the entry. The contained number is the entry with the newest of these
    /// values.
    Superseded(u64),
    /// The entry sets no field, so there is nothing to deliver.
    Empty,
}

/// One folded request, and the entries that are finished when the request is delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    /// The values that the request sends. If every value clears a field, the body of the request can be empty, because
    /// a setting decides whether a request contains cleared fields.
    pub update: Update,
    /// The numbers of the entries whose values the request sends.
    pub carried: Vec<u64>,
    /// The entries that are finished when Imprint applies this request.
    pub finished: Vec<(u64, FoldEnd)>,
    /// The entries that need no request, because Imprint already has the same or newer values for their fields.
    pub stale: Vec<(u64, FoldEnd)>,
    /// The number of delivered values that the request sends again, because an older request has possibly overwritten
    /// the values at Imprint.
    pub reasserted: usize,
    /// The number of waiting entries with a tie.
    ///
    /// An entry has a tie if another value of the same field has the same version: a delivered value, or a different
    /// value of another waiting entry. Of two values with the same version, the value that arrived later wins.
    pub ties: usize,
    /// The versions of the values that the request sends.
    versions: LiteMap<Field, Version>,
    /// True if the lane has earlier requests without a clear answer, and none of them can still arrive at Imprint. When
    /// this request is delivered, the lane forgets the earlier requests.
    ends_doubt: bool,
    /// The fields that a later request must send instead of this request.
    postponed: Vec<Field>,
}

impl Fold {
    /// Returns whether the request sends no value.
    pub fn is_empty(&self) -> bool {
        self.carried.is_empty() && self.reasserted == 0
    }

    /// Returns the numbers of the entries from which the request takes the values of these fields.
    pub fn entries_setting(&self, fields: &[Field]) -> Vec<u64> {
        self.versions
            .iter()
            .filter(|(field, _)| fields.contains(field))
            .map(|(_, version)| version.arrival)
            .collect()
    }

    /// Returns the version of the value that the request sends for this field.
    pub fn version_of(&self, field: &Field) -> Option<Version> {
        self.versions.get(field).copied()
    }

    /// Returns a copy of the fold in which these fields count as not sent.
    #[must_use]
    pub fn without(&self, fields: &[Field]) -> Self {
        let mut rest = self.clone();
        rest.versions.retain(|field, _| !fields.contains(field));
        rest
    }

    /// Returns a copy of the fold in which a later request must send these fields. The fields count as not sent. If
    /// this request would have sent delivered values of these fields again, the lane keeps the values.
    #[must_use]
    pub fn postponing(&self, fields: &[Field]) -> Self {
        Self {
            postponed: fields.to_vec(),
            ..self.without(fields)
        }
    }
}

/// Folds the waiting entries of a lane into one request that sends values of at most `max` entries.
///
/// If more than `max` entries have a value to send, the request sends the values with the oldest versions, and later
/// requests send the other values. An entry that a newer waiting entry supersedes is finished only when the newer value
/// is delivered. If the bridge parks the newer entry instead, a later request sends the older entry.
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
    let sent = sent.map(|(field, (version, _))| ((*field).clone(), *version));
    // The winners are in field order already.
    fold.versions = LiteMap::from_sorted_store_unchecked(sent.collect());
    for (field, version, value) in lane.to_reassert(now) {
        if fold.update.value(field).is_none() {
            fold.update.insert(field.clone(), value.clone());
            fold.versions.insert(field.clone(), version);
            fold.reasserted += 1;
        }
    }
    let sent = &fold.versions;
    for candidate in waiting {
        let before = |field: &Field| lane.covering(field, candidate);
        let after = |field: &Field| match sent.get(field) {
            Some(sent) if lane.version_of(field) != Some(*sent) => {
                (lane.rank(*sent) >= lane.rank(candidate.version)).then_some(*sent)
            }
            Some(_) | None => before(field),
        };
        if let Some(end) = end(before, candidate) {
            fold.stale.push((candidate.version.arrival, end));
        } else if fold.update.ptr_eq(candidate.update) {
            // The request sends exactly the values of this entry, so the fields of the entry need no comparison.
            fold.finished
                .push((candidate.version.arrival, FoldEnd::Delivered));
        } else if let Some(end) = end(after, candidate) {
            fold.finished.push((candidate.version.arrival, end));
        }
    }
    fold
}

/// Folds the waiting entries like [`fold`], into a request that sends no delivered value again.
pub fn fold_without_reassertion(
    lane: &LaneVersions,
    waiting: &[Candidate<'_>],
    max: MaxFold,
) -> Fold {
    // At this time, every request in doubt can still arrive.
    let before_all = Timestamp::from_millis(i64::MIN);
    fold(lane, waiting, max, before_all)
}

/// Returns the values to send. If one entry has exactly these values, the result shares the values of the entry and
/// copies nothing.
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
    let values = winners.iter();
    values
        .map(|(field, (_, value))| ((*field).clone(), (*value).clone()))
        .collect()
}

/// A field value and the version of the value.
type Winner<'a> = (Version, &'a FieldValue);

/// Returns the newest waiting value of each field, if the value is newer than the delivered value. Also returns the
/// number of ties, as [`Fold::ties`] defines a tie.
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
        for (field, value) in candidate.update.iter() {
            is_tie |= lane
                .version_of(field)
                .is_some_and(|delivered| candidate.version.ties(delivered));
            // If the fields come in order, as in the first entry, an append finds the place of a field without a
            // search.
            if lane.covering(field, candidate).is_some() {
                continue;
            }
            let Some((field, value)) = winners.try_append(field, (candidate.version, value)) else {
                continue;
            };
            let winner = winners.entry(field).or_insert(value);
            is_tie |= candidate.version.ties(winner.0) && value.1 != winner.1;
            if lane.rank(candidate.version) > lane.rank(winner.0) {
                *winner = value;
            }
        }
        ties += usize::from(is_tie);
    }
    (winners, ties)
}

/// Returns how a waiting entry is finished. `covering` returns the version of a field at Imprint, if the value of the entry
/// is not newer.
///
/// Returns `None` if the entry is not finished, because it has a newer value.
fn end(covering: impl Fn(&Field) -> Option<Version>, candidate: &Candidate<'_>) -> Option<FoldEnd> {
    let mut newest = None;
    let mut end = FoldEnd::Empty;
    for field in candidate.update.fields() {
        let delivered = covering(field)?;
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

    fn update(values: &[(&str, &str)]) -> Update {
        values
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
                jump_max: None,
                floors: None,
            })
            .collect();
        fold(lane, &candidates, MaxFold(max), NOW)
    }

    /// FAULTS O03
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
    fn an_entry_older_than_the_delivered_values_is_stale() {
        let newer = [(version(5, 1), update(&[("email", "new"), ("city", "Reno")]))];
        let lane =
            LaneVersions::default().delivered(&fold_all(&LaneVersions::default(), &newer, 100));
        let delivered = lane.delivered_fields();
        let mut delivered: Vec<_> = delivered
            .map(|(field, version)| (field.path(), version.arrival))
            .collect();
        delivered.sort_unstable();
        assert_eq!(delivered, [("city", 1), ("email", 1)]);
        let late = [(version(4, 2), update(&[("email", "old"), ("city", "Elko")]))];
        let fold = fold_all(&lane, &late, 100);
        assert!(fold.update.is_empty());
        assert_eq!(
            (fold.carried.len(), fold.stale),
            (0, vec![(2, FoldEnd::Superseded(1))])
        );
    }

    /// If an event leaves a field out, folding keeps the older value of the field.
    #[test]
    fn a_newer_event_supersedes_only_the_fields_it_sets() {
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
    fn a_bounded_fold_carries_the_oldest_first_and_finishes_no_entry_early() {
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
        // If the newer entry is parked, a later request must send the e-mail of the superseded entry.
        assert_eq!((&first.carried, &first.finished), (&vec![1], &vec![]));
        let all = fold_all(&LaneVersions::default(), &waiting, 3);
        assert_eq!(all.carried, [1, 3, 4]);
        assert_eq!(all.finished.len(), 4);
    }

    #[test]
    fn an_entry_superseded_by_a_parked_winner_is_sent_after_all() {
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
    fn an_entry_without_values_is_stale_at_once() {
        let fold = fold_all(
            &LaneVersions::default(),
            &[(version(1, 1), Update::default())],
            100,
        );
        assert_eq!(fold.stale, [(1, FoldEnd::Empty)]);
    }

    /// Returns the versions of a lane after the delivery of this entry.
    fn delivered(entry: (Version, Update)) -> LaneVersions {
        let lane = LaneVersions::default();
        let fold = fold_all(&lane, &[entry], 1);
        lane.delivered(&fold)
    }

    /// A test entry: the value of its version, the arrival of its version, and the fields that the entry sets.
    type Entry<'a> = (i64, u64, &'a [(&'a str, &'a str)]);

    #[test]
    fn ties_are_counted_per_entry_and_only_if_the_values_differ() {
        let entry =
            |value, arrival, values: &[(&str, &str)]| (version(value, arrival), update(values));
        let ties =
            |lane: &LaneVersions, waiting: &[(Version, Update)]| fold_all(lane, waiting, 100).ties;
        let empty = LaneVersions::default();
        let first = entry(1, 1, &[("email", "a"), ("phone", "1")]);
        let table: [(&[Entry<'_>], usize); 7] = [
            (&[], 0),
            (&[(1, 2, &[("email", "b")])], 1),
            (&[(1, 2, &[("email", "a")])], 0),
            (&[(2, 2, &[("email", "b")])], 0),
            (&[(1, 2, &[("city", "b")])], 0),
            (&[(1, 2, &[("email", "b"), ("phone", "2")])], 1),
            (&[(1, 2, &[("email", "b")]), (1, 3, &[("email", "c")])], 2),
        ];
        for (others, expected) in table {
            let others = others
                .iter()
                .map(|(value, arrival, values)| entry(*value, *arrival, values));
            let waiting: Vec<_> = std::iter::once(first.clone()).chain(others).collect();
            assert_eq!(ties(&empty, &waiting), expected, "{waiting:?}");
        }
        let lane = delivered(first);
        assert_eq!(
            ties(&lane, &[entry(1, 2, &[("email", "a")])]),
            1,
            "with a delivered one"
        );
        assert_eq!(ties(&lane, &[entry(2, 2, &[("email", "b")])]), 0);
        assert_eq!(ties(&lane, &[entry(1, 2, &[("city", "b")])]), 0);
        assert_eq!(
            ties(&lane, &[entry(1, 2, &[("email", "b"), ("phone", "2")])]),
            1,
            "an entry is counted once"
        );
        assert_eq!(
            ties(
                &empty,
                &[
                    entry(0, 1, &[("email", "a")]),
                    entry(0, 2, &[("email", "b")])
                ]
            ),
            0,
            "no version"
        );
    }

    #[test]
    fn the_winner_does_not_depend_on_the_order_of_the_entries() {
        let older = (version(1, 1), update(&[("email", "old")]));
        let newer = (version(2, 2), update(&[("email", "new")]));
        for waiting in [[older.clone(), newer.clone()], [newer, older]] {
            let fold = fold_all(&LaneVersions::default(), &waiting, 100);
            assert_eq!(fold.carried, [2]);
            let email = Field::parse("email").unwrap();
            assert_eq!(
                fold.update.value(&email),
                Some(&FieldValue::from_value(json!("new")))
            );
            let mut finished = fold.finished.clone();
            finished.sort_by_key(|(entry, _)| *entry);
            assert_eq!(
                finished,
                [(1, FoldEnd::Superseded(2)), (2, FoldEnd::Delivered)]
            );
        }
    }

    #[test]
    fn a_value_is_sent_only_if_it_is_newer_than_the_delivered_one() {
        let lane = delivered((version(5, 5), update(&[("email", "delivered")])));
        for (value, arrival, is_sent) in [(5, 4, false), (5, 5, false), (5, 6, true), (6, 1, true)]
        {
            let fold = fold_all(
                &lane,
                &[(version(value, arrival), update(&[("email", "x")]))],
                100,
            );
            assert_eq!(!fold.update.is_empty(), is_sent, "{value} {arrival}");
            assert_eq!(
                (fold.carried.len(), fold.stale.len()),
                if is_sent { (1, 0) } else { (0, 1) }
            );
        }
    }

    #[test]
    fn an_entry_that_was_delivered_in_part_is_finished_by_the_rest() {
        let lane = delivered((version(5, 5), update(&[("email", "delivered")])));
        let half = (version(4, 6), update(&[("email", "old"), ("phone", "1")]));
        let fold = fold_all(&lane, &[half], 100);
        let body = Value::Object(fold.update.body(Clearing::default()).to_object());
        assert_eq!(body, json!({"phone": "1"}));
        assert_eq!(
            (fold.finished, fold.stale),
            (vec![(6, FoldEnd::Delivered)], vec![])
        );
    }

    #[test]
    fn the_newest_of_several_winners_supersedes() {
        let waiting = [
            (version(1, 1), update(&[("email", "a"), ("phone", "a")])),
            (version(3, 2), update(&[("email", "b")])),
            (version(2, 3), update(&[("phone", "c")])),
        ];
        let fold = fold_all(&LaneVersions::default(), &waiting, 100);
        assert_eq!(fold.finished[0], (1, FoldEnd::Superseded(2)));
    }

    #[test]
    fn a_fold_carries_at_least_one_entry() {
        let waiting = [
            (version(1, 1), update(&[("email", "a")])),
            (version(2, 2), update(&[("phone", "b")])),
        ];
        let carried = |max| fold_all(&LaneVersions::default(), &waiting, max).carried;
        assert_eq!(
            (carried(0), carried(1), carried(2)),
            (vec![1], vec![1], vec![1, 2])
        );
    }

    #[test]
    fn the_entries_that_set_a_field_are_known_and_can_be_left_out() {
        let waiting = [
            (version(1, 1), update(&[("email", "a"), ("city", "x")])),
            (version(2, 2), update(&[("phone", "b")])),
        ];
        let fold = fold_all(&LaneVersions::default(), &waiting, 100);
        let fields = |paths: &[&str]| -> Vec<Field> {
            paths
                .iter()
                .map(|path| Field::parse(path).unwrap())
                .collect()
        };
        assert_eq!(fold.entries_setting(&fields(&["email"])), [1]);
        assert_eq!(fold.entries_setting(&fields(&["phone"])), [2]);
        assert_eq!(fold.entries_setting(&fields(&["first_name"])), [0; 0]);
        let lane = LaneVersions::default().delivered(&fold.without(&fields(&["email"])));
        let again = fold_all(&lane, &waiting[..1], 100);
        let body = Value::Object(again.update.body(Clearing::default()).to_object());
        assert_eq!(body, json!({"email": "a"}));
    }

    /// Dispatch sends one entry alone to learn whether Imprint accepts this entry, so the request must contain no other
    /// value.
    #[test]
    fn a_fold_without_reassertion_sends_only_values_of_waiting_entries() {
        let old = (version(1, 1), update(&[("email", "old")]));
        let lane = LaneVersions::default();
        let unanswered = fold_all(&lane, &[old], 1);
        let lane = lane.with_unconfirmed(&unanswered, NOW);
        let newer = fold(
            &lane,
            &[Candidate {
                version: version(2, 2),
                update: &update(&[("email", "new")]),
                jump_max: None,
                floors: None,
            }],
            MaxFold(1),
            Timestamp::from_millis(0),
        );
        let lane = lane.delivered(&newer);
        let waiting = update(&[("phone", "1")]);
        let waiting = [Candidate {
            version: version(3, 3),
            update: &waiting,
            jump_max: None,
            floors: None,
        }];
        let body = |fold: &Fold| Value::Object(fold.update.body(Clearing::default()).to_object());
        let both = fold(&lane, &waiting, MaxFold(1), NOW);
        assert_eq!(body(&both), json!({"email": "new", "phone": "1"}));
        let alone = fold_without_reassertion(&lane, &waiting, MaxFold(1));
        assert_eq!(body(&alone), json!({"phone": "1"}));
        assert_eq!((alone.carried, alone.reasserted), (vec![3], 0));
    }

    /// The fields that the generated events set: fields of different field groups, and two fields of one group.
    const FIELDS: [&str; 4] = ["email", "street_line2", "city", "metadata.k"];

    proptest! {
        /// FAULTS V3: events in any order, sent one fold at a time with any limit, leave the newest values of each
        /// field group at Imprint.
        #[test]
        fn any_history_leaves_the_newest_values(
            history in prop::collection::vec((0_i64..5, 0_usize..16), 1..12),
            max in 1_usize..5,
            split in 0_usize..12,
        ) {
            let entries: Vec<(Version, Update)> = history.iter().zip(1_u64..).map(|((value, fields), arrival)| {
                let text = arrival.to_string();
                let values: Vec<_> = FIELDS.iter().enumerate()
                    .filter(|(bit, _)| fields & (1 << bit) != 0)
                    .map(|(_, path)| (*path, text.as_str())).collect();
                (version(*value, arrival), update(&values))
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
