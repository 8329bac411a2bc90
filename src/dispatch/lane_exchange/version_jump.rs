//! Finds version jumps: waiting entries whose version is far from the other versions of the customer. This module is
//! pure: it does no IO and reads no clock.
//!
//! After one event with the version 2^63-1, every later event of the customer would count as older, and dispatch would
//! never send its values. To prevent this, the bridge parks an entry whose version is a *jump*: it differs too much
//! from the neighbouring version of the same field, by more than the number that the source allows, and by more than
//! the smaller of the two versions. The second limit is for sequences that count microseconds or bytes, because they
//! move in large steps.
//!
//! The rule also finds versions far *below* the delivered version. Such a version shows that an earlier version was far
//! too high, or that the source restarted its sequence.
//!
//! This module does not check versions that are times, because intake refuses times in the future.

use std::collections::BTreeMap;

use crate::event::Version;
use crate::fold::LaneVersions;
use crate::imprint::Field;
use crate::outbox::{ClaimedLane, EntryId, LaneKey, WaitingEntry};

/// The highest allowed version of a customer's first event in an epoch, without its sign: half of the highest number.
/// Nanoseconds since 1970 stay below this number until the year 2116.
const FIRST_VERSION_MAX: u64 = 1 << 62;

/// Returns the entries whose version is a jump.
///
/// A lane with only a partner customer id has no versions, so its entries have no jumps. The entries in `conflicts` are
/// parked for a different reason.
///
/// The function compares the waiting entries in the order of their versions. The first distant version is a jump, and
/// so is every higher version.
pub(super) fn jumps(claimed: &ClaimedLane, conflicts: &[EntryId]) -> Vec<EntryId> {
    if !matches!(claimed.key, Some(LaneKey::Imprint(_))) {
        return Vec::new();
    }
    let is_far = |waiting: &&WaitingEntry| is_suspicious(&claimed.versions, waiting);
    // The usual case: a single entry whose version is near all delivered versions.
    if claimed.waiting.len() == 1 && !claimed.waiting.iter().any(|waiting| is_far(&waiting)) {
        return Vec::new();
    }
    let mut ordered: Vec<(&WaitingEntry, u64)> = claimed
        .waiting
        .iter()
        .filter(|waiting| !conflicts.contains(&waiting.entry))
        .filter_map(|waiting| Some((waiting, waiting.jump_max?)))
        .collect();
    ordered.sort_unstable_by_key(|(waiting, _)| waiting.version);
    let mut newest: BTreeMap<&Field, Version> = BTreeMap::new();
    let mut jumps = Vec::new();
    for (waiting, max) in ordered {
        let version = waiting.version;
        let mut fields = waiting.update.fields();
        let is_jump = fields.any(|field| {
            let delivered = claimed.versions.version_of(field);
            let before = newest.get(field).copied();
            [delivered, before]
                .into_iter()
                .flatten()
                .any(|neighbour| is_distant(neighbour, version, max))
        });
        let is_first = || {
            let mut fields = waiting.update.fields();
            !fields.any(|field| {
                let delivered = claimed.versions.version_of(field);
                let before = newest.get(field).copied();
                let mut neighbours = [delivered, before].into_iter().flatten();
                neighbours.any(|neighbour| is_comparable(neighbour, version))
            })
        };
        if is_jump || (is_too_high(version) && is_first()) {
            jumps.push(waiting.entry);
        } else {
            newest.extend(waiting.update.fields().map(|field| (field, version)));
        }
    }
    jumps
}

/// Returns whether the version of an entry is distant from a delivered version of any field, or too high for a first
/// version.
fn is_suspicious(delivered: &LaneVersions, waiting: &WaitingEntry) -> bool {
    let Some(max) = waiting.jump_max else {
        return false;
    };
    let mut fields = delivered.delivered_fields();
    is_too_high(waiting.version)
        || fields.any(|(_, neighbour)| is_distant(neighbour, waiting.version, max))
}

/// Returns whether a version is too high or too low for the first version of an epoch.
const fn is_too_high(version: Version) -> bool {
    version.value.unsigned_abs() > FIRST_VERSION_MAX
}

/// Returns whether the distance of a version from its neighbour says something. An epoch begins with a new counter, and a
/// version that an operator has reset is far from every version.
const fn is_comparable(neighbour: Version, version: Version) -> bool {
    neighbour.epoch == version.epoch && !neighbour.is_oldest()
}

/// Returns whether two comparable versions are too far from each other.
fn is_distant(neighbour: Version, version: Version, max: u64) -> bool {
    is_comparable(neighbour, version) && version.is_distant(neighbour, max)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::SourceName;
    use crate::fold::{Candidate, MaxFold, fold};
    use crate::imprint::{CustomerRef, FieldValue, ImprintId, Update};
    use crate::outbox::{ClaimToken, LaneId, Trials};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const MAX: u64 = 1_000_000_000;

    fn waiting(entry: u64, value: i64, field: &str) -> WaitingEntry {
        let value_of_field = (
            Field::parse(field).unwrap(),
            FieldValue::from_value(json!("x")),
        );
        WaitingEntry {
            entry: EntryId(entry),
            version: Version {
                epoch: 0,
                value,
                arrival: entry,
            },
            update: [value_of_field].into_iter().collect(),
            customer: CustomerRef::Imprint(ImprintId::parse("CUST-1").unwrap()),
            source: SourceName::parse("crm").unwrap(),
            jump_max: Some(MAX),
            accepted_at: NOW,
            floors: None,
        }
    }

    fn lane(delivered: Option<i64>, values: &[i64]) -> ClaimedLane {
        let delivered: Vec<(Version, Update)> = delivered
            .map(|value| waiting(1, value, "email"))
            .map(|entry| (entry.version, entry.update))
            .into_iter()
            .collect();
        let candidates: Vec<_> = delivered
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
                jump_max: None,
                floors: None,
            })
            .collect();
        let versions = LaneVersions::default();
        let folded = fold(&versions, &candidates, MaxFold(10), NOW);
        let entries = (2..).zip(values);
        ClaimedLane {
            key: Some(LaneKey::Imprint(ImprintId::parse("CUST-1").unwrap())),
            versions: versions.delivered(&folded),
            waiting: entries
                .map(|(entry, value)| waiting(entry, *value, "email"))
                .collect(),
            ..ClaimedLane::empty(LaneId(1), ClaimToken::default(), Trials::default())
        }
    }

    /// Returns the versions of the entries that jump.
    fn jumped(delivered: Option<i64>, values: &[i64]) -> Vec<i64> {
        let lane = lane(delivered, values);
        let jumps = jumps(&lane, &[]);
        let waiting = lane.waiting.iter();
        let jumped = waiting.filter(|waiting| jumps.contains(&waiting.entry));
        jumped.map(|waiting| waiting.version.value).collect()
    }

    /// FAULTS N303
    #[test]
    fn a_version_far_beyond_the_others_jumps() {
        const HIGHEST: i64 = i64::MAX;
        let far: i64 = 1 << 53;
        for (delivered, values, expected) in [
            (Some(5), vec![HIGHEST], vec![HIGHEST]),
            (Some(5), vec![6, HIGHEST, 7], vec![HIGHEST]),
            (Some(5), vec![far, far + 1, 6], vec![far, far + 1]),
            (Some(5), vec![1_000_000_005], vec![]),
            (Some(5), vec![1_000_000_006], vec![1_000_000_006]),
            (Some(5), vec![i64::MIN], vec![i64::MIN]),
            (Some(-5), vec![HIGHEST], vec![HIGHEST]),
            (None, vec![HIGHEST], vec![HIGHEST]),
            (None, vec![HIGHEST, 3, 2], vec![HIGHEST]),
            (None, vec![i64::MIN + 1, 3], vec![i64::MIN + 1]),
            (None, vec![1 << 62], vec![]),
            (None, vec![far, 3], vec![far]),
            // After a far too high version, the next normal event must be parked, and not be dropped as older.
            (Some(far), vec![6], vec![6]),
            (Some(HIGHEST), vec![HIGHEST], vec![]),
        ] {
            assert_eq!(
                jumped(delivered, &values),
                expected,
                "{delivered:?} {values:?}"
            );
        }
    }

    /// Sequences that count milliseconds, microseconds, nanoseconds or bytes move in large steps.
    #[test]
    fn a_first_version_can_be_half_of_the_highest_number() {
        let highest = FIRST_VERSION_MAX.cast_signed();
        let entries = |values: &[i64]| jumps(&lane(None, values), &[]);
        assert_eq!(entries(&[highest, highest]), []);
        assert_eq!(entries(&[highest + 1, highest + 1]).len(), 2);
    }

    #[test]
    fn a_large_sequence_moves_in_large_steps() {
        const NONE: [i64; 0] = [];
        let millis = 1_764_000_000_000;
        for unit in [1, 1_000, 1_000_000] {
            let year = 31_536_000_000 * unit;
            let now = millis * unit;
            assert_eq!(jumped(Some(now), &[now + year]), NONE, "{unit}");
            assert_eq!(jumped(Some(now), &[now - year]), NONE, "{unit}");
        }
        assert_eq!(jumped(Some(10_000_000_000), &[19_000_000_000]), NONE);
    }

    #[test]
    fn versions_of_other_fields_and_other_epochs_do_not_count() {
        let mut other_field = lane(Some(5), &[]);
        other_field.waiting.push(waiting(2, 1 << 50, "phone"));
        assert_eq!(jumps(&other_field, &[]), []);
        let mut other_epoch = lane(Some(1 << 50), &[]);
        let mut restarted = waiting(2, 1, "email");
        restarted.version.epoch = 1;
        other_epoch.waiting.push(restarted);
        assert_eq!(jumps(&other_epoch, &[]), []);
        let mut time = lane(Some(0), &[]);
        let mut later = waiting(2, 1_764_000_000_000_000, "email");
        later.jump_max = None;
        time.waiting.push(later);
        assert_eq!(jumps(&time, &[]), []);
    }

    #[test]
    fn a_reset_version_is_near_every_version() {
        let mut frozen = lane(Some(1 << 60), &[6]);
        frozen.versions = frozen.versions.clone().reset(1);
        assert_eq!(jumps(&frozen, &[]), []);
    }

    /// FAULTS N1086
    #[test]
    fn the_first_version_of_an_epoch_or_after_a_reset_can_be_absurd() {
        for highest in [i64::MAX, -i64::MAX] {
            let mut restarted = lane(Some(5), &[highest]);
            restarted.waiting[0].version.epoch = 1;
            assert_eq!(jumps(&restarted, &[]), [EntryId(2)], "{highest}");
            let mut reset = lane(Some(5), &[highest, 6]);
            reset.versions = reset.versions.clone().reset(1);
            assert_eq!(jumps(&reset, &[]), [EntryId(2)], "{highest}");
        }
    }
}
