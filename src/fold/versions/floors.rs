//! Version floors: the versions that a lane keeps after the erasure of its customer, without values.

use litemap::LiteMap;

use super::{InDoubt, LaneVersions, Resets, Versions};
use crate::event::Version;
use crate::imprint::{Field, Update};

/// The arrival number of a version floor: higher than the number of every entry, so that an event with the same version
/// as the erased value does not count as newer. The storage engines store signed 64-bit numbers.
const FLOOR_ARRIVAL: u64 = u64::MAX / 2;

impl LaneVersions {
    /// Records that these fields must not get a value with a version up to this one.
    pub fn raise<'a>(&mut self, version: Version, fields: impl Iterator<Item = &'a Field>) {
        for field in fields {
            match self.version_of(field) {
                // The versions before a reset still order the entries from before the reset.
                Some(newest) if newest >= version || newest.is_reset() && is_floor(version) => {
                    self.hide(field, version);
                }
                Some(_) | None => self.replace(field, version),
            }
        }
    }

    /// Replaces the delivered version of a field, and keeps its version floor.
    pub(super) fn replace(&mut self, field: &Field, version: Version) {
        // For a lane without versions, the fields come in order, and an append needs no search.
        let appended = self.delivered.0.try_append(field.clone(), version);
        let replaced =
            appended.and_then(|(field, version)| self.delivered.0.insert(field, version));
        if is_floor(version) {
            self.floors.0.remove(field);
        } else if let Some(replaced) = replaced {
            self.hide(field, replaced);
        }
    }

    /// Keeps a version floor that the delivered version of its field does not show.
    fn hide(&mut self, field: &Field, version: Version) {
        let is_shown = self.version_of(field).is_some_and(is_floor);
        if is_floor(version) && !is_shown {
            self.floors.raise(field, version);
        }
    }

    /// Records the delivered versions and the version floors of other lane versions as [`Self::raise`] does.
    pub fn raise_to(&mut self, other: &Self) {
        for (field, version) in other.delivered.0.iter().chain(&other.floors.0) {
            self.raise(*version, std::iter::once(field));
        }
        self.is_unsent |= other.is_unsent && !other.delivered.0.is_empty();
    }

    /// Records the version floors of another lane, as [`Self::raise`] does.
    ///
    /// Leaves out the delivered versions of the other lane: Imprint has these values for another customer, and a value of
    /// this customer that is older than them is still new for this customer.
    pub fn raise_to_floors_of(&mut self, other: &Self) {
        let versions = other.delivered.0.iter().chain(&other.floors.0);
        let floors = versions.filter(|(_, version)| is_floor(**version));
        let floors = Self {
            delivered: Versions(
                floors
                    .map(|(field, version)| (field.clone(), *version))
                    .collect(),
            ),
            is_unsent: other.is_unsent,
            ..Self::default()
        };
        self.raise_to(&floors);
    }

    /// Returns the version floors of the lane. `None` means no floor.
    pub fn only_floors(&self) -> Option<Self> {
        let mut floors = Self::default();
        floors.raise_to_floors_of(self);
        (!floors.is_empty()).then_some(floors)
    }

    /// Returns the versions of the lane at a new destination, which has none of the delivered values: the version floors,
    /// and the order of the entries that an operator's resets give.
    #[must_use]
    pub fn at_new_destination(&self) -> Self {
        let mut floors = Self::default();
        floors.raise_to_floors_of(self);
        floors.is_unsent = !floors.delivered.0.is_empty();
        floors.resets = self.resets.as_ref().map(Resets::without_versions);
        floors
    }

    /// Returns whether the lane has no version and no request in doubt.
    pub fn is_empty(&self) -> bool {
        self.delivered.0.is_empty() && self.in_doubt.is_none()
    }

    /// Returns the number of fields with a version floor.
    pub fn floors(&self) -> usize {
        let versions = self.delivered.0.values().chain(self.floors.0.values());
        versions.filter(|version| is_floor(**version)).count()
    }

    /// Returns the number of fields without a version of the source whose values came from the entries up to `last`.
    pub fn unversioned(&self, last: u64) -> usize {
        let versions = self.delivered.0.values();
        let old = versions.filter(|version| version.arrival <= last);
        old.filter(|version| !is_of_source(**version)).count()
    }

    /// Returns whether a version came from an entry after `last`, and is no version floor.
    pub fn has_newer_than(&self, last: u64) -> bool {
        let mut versions = self.delivered.0.values();
        versions.any(|version| (last + 1..FLOOR_ARRIVAL).contains(&version.arrival))
    }

    /// Returns what remains of the versions after the erasure of the customer's entries up to `last`: a version floor for
    /// each of their fields, and the time until which requests in doubt can arrive. None of their values remains. The
    /// versions of newer entries, and what is in doubt of them, stay as they are.
    ///
    /// Without a version of the source, the floor keeps its arrival: it keeps out the events that the bridge accepted
    /// before the erased value, and no later event. Every value that is delivered while a request in doubt can still
    /// arrive counts as overwritten, as after [`Self::with_anything_sent`].
    #[must_use]
    pub fn erased(self, last: u64) -> Self {
        let is_unsent = match self.has_newer_than(last) {
            true => self.is_unsent,
            false => !self.delivered.0.is_empty(),
        };
        let delivered = &self.delivered;
        let in_doubt = self.in_doubt;
        let in_doubt = in_doubt.map(|in_doubt| in_doubt.after(last, delivered));
        let floors = self.delivered.0.iter().map(|(field, version)| {
            let arrival = match version.arrival <= last && is_of_source(*version) {
                true => FLOOR_ARRIVAL,
                false => version.arrival,
            };
            let floor = Version {
                arrival,
                ..*version
            };
            (field.clone(), floor)
        });
        let delivered = Versions(floors.collect());
        let mut hidden = self.floors;
        let is_shown = |field: &Field| delivered.0.get(field).copied().is_some_and(is_floor);
        hidden.0.retain(|field, _| !is_shown(field));
        Self {
            is_unsent,
            delivered,
            in_doubt,
            resets: self.resets.map(|resets| resets.erased(last)),
            floors: hidden,
        }
    }
}

impl InDoubt {
    /// Forgets the values and versions of the entries up to `last`. If there is one, every value of a request in doubt can
    /// be one of them.
    fn after(self, last: u64, delivered: &Versions) -> Self {
        let is_newer = |version: &Version| version.arrival > last;
        let sent = self.sent.0.iter();
        let sent: LiteMap<_, _> = sent
            .filter(|(_, version)| is_newer(version))
            .map(|(field, version)| (field.clone(), *version))
            .collect();
        let newer = self.newer.iter();
        let newer: Update = newer
            .filter(|(field, _)| delivered.0.get(field).is_some_and(is_newer))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        let is_complete = sent.len() == self.sent.0.len() && newer.len() == self.newer.len();
        Self {
            until_millis: self.until_millis,
            is_any_sent: self.is_any_sent || !is_complete,
            sent: Versions(sent),
            newer,
        }
    }
}

/// Returns whether a version is the floor of an erasure.
pub(super) const fn is_floor(version: Version) -> bool {
    version.arrival == FLOOR_ARRIVAL
}

/// Returns whether the source gave this version. An operator's reset and a mapping without a version gave it otherwise.
fn is_of_source(version: Version) -> bool {
    !version.is_reset() && (version.value != 0 || version.epoch != 0)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Candidate, FoldEnd, MaxFold, fold};
    use super::*;
    use crate::imprint::FieldValue;
    use crate::time::Timestamp;

    /// The last entry of an erasure that concerns every entry.
    const ALL: u64 = FLOOR_ARRIVAL;
    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn version(value: i64, arrival: u64) -> Version {
        Version {
            epoch: 0,
            value,
            arrival,
        }
    }

    fn update(field: &str) -> Update {
        let value = FieldValue::from_value(serde_json::json!("x"));
        [(Field::parse(field).unwrap(), value)]
            .into_iter()
            .collect()
    }

    /// FAULTS N643: after the erasure, an old event under a new id is not newer than the erased value.
    #[test]
    fn a_floor_is_above_every_arrival_of_the_same_version() {
        let mut lane = LaneVersions::default();
        lane.raise(version(5, 1), update("email").fields());
        lane.raise(version(3, 2), update("email").fields());
        let floors = lane.erased(ALL);
        assert!(!floors.has_applied(), "nothing is known about the customer");
        for (value, field, is_sent) in [
            (4, "email", false),
            (5, "email", false),
            (6, "email", true),
            (1, "phone", true),
        ] {
            let update = update(field);
            let candidate = Candidate {
                version: version(value, 900),
                update: &update,
                jump_max: None,
                floors: None,
            };
            let fold = fold(&floors, &[candidate], MaxFold(10), NOW);
            assert_eq!(!fold.is_empty(), is_sent, "{field} {value}");
            let stale = fold.stale.iter().map(|(_, end)| end);
            assert!(
                stale
                    .clone()
                    .all(|end| matches!(end, FoldEnd::Superseded(_))),
                "{field} {value}"
            );
        }
    }

    /// FAULTS N764: entries move from the lane of one customer to the lane of another.
    #[test]
    fn only_floors_move_to_another_lane() {
        let mut erased = LaneVersions::default();
        erased.raise(version(5, 1), update("email").fields());
        let mut source = erased.erased(ALL);
        source.raise(version(7, 2), update("phone").fields());
        let mut other = LaneVersions::default();
        other.raise_to_floors_of(&source);
        let email = Field::parse("email").unwrap();
        assert_eq!(other.delivered.0.keys().collect::<Vec<_>>(), [&email]);
    }

    /// FAULTS N1173: the new destination has none of the delivered values.
    #[test]
    fn only_floors_hold_at_a_new_destination() {
        let mut lane = LaneVersions::default();
        lane.raise(version(5, 1), update("email").fields());
        let mut lane = lane.erased(ALL).with_anything_sent(NOW);
        lane.raise(version(7, 2), update("phone").fields());
        let moved = lane.at_new_destination();
        let email = Field::parse("email").unwrap();
        assert_eq!(moved.delivered.0.keys().collect::<Vec<_>>(), [&email]);
        assert!(!moved.has_applied());
        assert_eq!(moved.in_doubt, None);
    }

    /// FAULTS N1151: a newer value is delivered after the erasure. Then an operator resets the versions, or the store moves.
    #[test]
    fn a_newer_delivery_hides_no_floor_for_ever() {
        let email = update("email");
        let candidate = |value, arrival| Candidate {
            version: version(value, arrival),
            update: &email,
            jump_max: None,
            floors: None,
        };
        let is_sent = |lane: &LaneVersions, value| {
            !fold(lane, &[candidate(value, 900)], MaxFold(10), NOW).is_empty()
        };
        let mut lane = LaneVersions::default();
        lane.raise(version(5, 1), email.fields());
        let lane = lane.erased(1);
        let newer = fold(&lane, &[candidate(7, 2)], MaxFold(10), NOW);
        let lane = lane.delivered(&newer);
        assert_eq!((lane.floors(), is_sent(&lane, 6)), (1, false));
        let mut merged = LaneVersions::default();
        merged.raise(version(9, 3), email.fields());
        merged.raise_to(&lane);
        for forgetful in [
            lane.clone().reset(2),
            merged.reset(3),
            lane.at_new_destination(),
        ] {
            let stored = serde_json::to_string(&forgetful).unwrap();
            let read: LaneVersions = serde_json::from_str(&stored).unwrap();
            assert_eq!(read, forgetful);
            let sent = [4, 5, 6].map(|value| is_sent(&read, value));
            assert_eq!((read.floors(), sent), (1, [false, false, true]), "{stored}");
        }
        // A floor that comes after a reset keeps the order of the entries from before the reset.
        let mut reset = LaneVersions::default();
        let first = fold(&reset, &[candidate(9, 3)], MaxFold(10), NOW);
        reset = reset.delivered(&first).reset(4);
        reset.raise_to_floors_of(&lane);
        let old = [candidate(7, 2)];
        assert!(fold(&reset, &old, MaxFold(10), NOW).is_empty());
        assert_eq!([4, 6].map(|value| is_sent(&reset, value)), [false, true]);
        let erased = lane.clone().erased(2);
        assert_eq!((erased.floors(), erased.reset(2).floors()), (1, 1));
        assert!(!is_sent(&lane.erased(2).at_new_destination(), 7));
    }

    /// FAULTS N643, N776: without a version of the source, only the arrival orders values. The floor keeps out an older
    /// event, for example of a lane with an outdated id, and lets every later event pass.
    #[test]
    fn a_floor_without_a_source_version_keeps_out_only_older_events() {
        let mut lane = LaneVersions::default();
        lane.raise(version(0, 7), update("email").fields());
        lane.raise(version(i64::MIN, 8), update("phone").fields());
        assert_eq!(lane.unversioned(ALL), 2);
        let floors = lane.erased(ALL).erased(ALL);
        assert!(!floors.has_applied(), "nothing is known about the customer");
        for (value, arrival, field, is_sent) in [
            (0, 6, "email", false),
            (0, 8, "email", true),
            (1, 6, "email", true),
            (i64::MIN, 7, "phone", false),
            (0, 7, "phone", true),
        ] {
            let update = update(field);
            let candidate = Candidate {
                version: version(value, arrival),
                update: &update,
                jump_max: None,
                floors: None,
            };
            let fold = fold(&floors, &[candidate], MaxFold(10), NOW);
            assert_eq!(!fold.is_empty(), is_sent, "{field} {value} {arrival}");
        }
    }

    /// FAULTS N642: the values that wait for a reassertion are values of the customer.
    #[test]
    fn requests_in_doubt_keep_their_end_and_no_value() {
        let lane = LaneVersions::default().with_anything_sent(NOW);
        let lane = lane.erased(ALL);
        assert!(lane.kept_values().is_none());
        assert_eq!(lane.reassert_at(), None);
        assert!(lane.doubt_is_over(NOW));
        let stored = serde_json::to_string(&lane).unwrap();
        assert!(stored.contains("\"any\":true"), "{stored}");
    }

    /// FAULTS N1111: the customer has come back before the bridge repeats the erasure.
    #[test]
    fn an_erasure_leaves_newer_versions_and_their_doubt() {
        let value = update("email");
        let candidate = |version| Candidate {
            version,
            update: &value,
            jump_max: None,
            floors: None,
        };
        let mut lane = LaneVersions::default();
        lane.raise(version(3, 1), update("phone").fields());
        let lane = lane.with_possibly_sent(&[candidate(version(5, 8))], NOW);
        let now = Timestamp::from_millis(NOW.as_millis() - 1);
        let newest = fold(&lane, &[candidate(version(6, 9))], MaxFold(10), now);
        let lane = lane.delivered(&newest);
        for (last, kept, has_newer) in [(7, 1, true), (8, 1, true), (9, 0, false)] {
            let erased = lane.clone().erased(last);
            let values = erased.kept_values().map_or(0, Update::len);
            assert_eq!(values, kept, "{last}");
            assert_eq!(erased.has_newer_than(last), has_newer, "{last}");
            assert_eq!(erased.has_applied(), has_newer, "{last}");
            assert_eq!(lane.has_newer_than(last), has_newer, "{last}");
        }
        let erased = lane.clone().erased(7);
        let phone = Field::parse("phone").unwrap();
        assert_eq!(erased.version_of(&phone), Some(version(3, FLOOR_ARRIVAL)));
        assert_eq!(erased.in_doubt, lane.in_doubt);
        assert!(lane.erased(8).in_doubt.unwrap().is_any_sent);
    }
}
