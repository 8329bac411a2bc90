//! Version floors: the versions that a lane keeps after the erasure of its customer, without values.

use super::{InDoubt, LaneVersions, Versions};
use crate::event::Version;
use crate::imprint::{Field, Update};

/// The arrival number of a version floor: higher than the number of every entry, so that an event with the same version
/// as the erased value does not count as newer. The storage engines store signed 64-bit numbers.
const FLOOR_ARRIVAL: u64 = u64::MAX / 2;

impl LaneVersions {
    /// Records that these fields must not get a value with a version up to this one.
    pub fn raise<'a>(&mut self, version: Version, fields: impl Iterator<Item = &'a Field>) {
        for field in fields {
            let newest = self.delivered.0.entry(field.clone()).or_insert(version);
            *newest = version.max(*newest);
        }
    }

    /// Records the delivered versions of other lane versions as [`Self::raise`] does.
    pub fn raise_to(&mut self, other: &Self) {
        for (field, version) in &other.delivered.0 {
            self.raise(*version, std::iter::once(field));
        }
        self.is_unsent |= other.is_unsent && !other.delivered.0.is_empty();
    }

    /// Records the version floors of another lane, as [`Self::raise`] does.
    ///
    /// Leaves out the delivered versions of the other lane: Imprint has these values for another customer, and a value of
    /// this customer that is older than them is still new for this customer.
    pub fn raise_to_floors_of(&mut self, other: &Self) {
        let versions = other.delivered.0.iter();
        let floors = versions.filter(|(_, version)| version.arrival == FLOOR_ARRIVAL);
        let floors = Self {
            delivered: Versions(
                floors
                    .map(|(field, version)| (field.clone(), *version))
                    .collect(),
            ),
            is_unsent: other.is_unsent,
            in_doubt: None,
        };
        self.raise_to(&floors);
    }

    /// Returns whether the lane has no version and no request in doubt.
    pub fn is_empty(&self) -> bool {
        self.delivered.0.is_empty() && self.in_doubt.is_none()
    }

    /// Returns the number of delivered fields without a version of the source.
    pub fn unversioned(&self) -> usize {
        let versions = self.delivered.0.values();
        versions.filter(|version| !is_of_source(**version)).count()
    }

    /// Returns what remains of the versions after the erasure of the customer: a version floor for each field, and the
    /// time until which requests in doubt can arrive. No value remains.
    ///
    /// Without a version of the source, the floor keeps its arrival: it keeps out the events that the bridge accepted
    /// before the erased value, and no later event. Every value that is delivered while a request in doubt can still
    /// arrive counts as overwritten, as after [`Self::with_anything_sent`].
    #[must_use]
    pub fn erased(self) -> Self {
        let versions = self.delivered.0.into_iter();
        let floors = versions.map(|(field, version)| {
            let arrival = match is_of_source(version) {
                true => FLOOR_ARRIVAL,
                false => version.arrival,
            };
            (field, Version { arrival, ..version })
        });
        let delivered = Versions(floors.collect());
        Self {
            is_unsent: !delivered.0.is_empty(),
            delivered,
            in_doubt: self.in_doubt.map(|in_doubt| InDoubt {
                until_millis: in_doubt.until_millis,
                sent: Versions::default(),
                is_any_sent: true,
                newer: Update::default(),
            }),
        }
    }
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
        let floors = lane.erased();
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
        let mut source = erased.erased();
        source.raise(version(7, 2), update("phone").fields());
        let mut other = LaneVersions::default();
        other.raise_to_floors_of(&source);
        let email = Field::parse("email").unwrap();
        assert_eq!(other.delivered.0.keys().collect::<Vec<_>>(), [&email]);
    }

    /// FAULTS N643, N776: without a version of the source, only the arrival orders values. The floor keeps out an older
    /// event, for example of a lane with an outdated id, and lets every later event pass.
    #[test]
    fn a_floor_without_a_source_version_keeps_out_only_older_events() {
        let mut lane = LaneVersions::default();
        lane.raise(version(0, 7), update("email").fields());
        lane.raise(version(i64::MIN, 8), update("phone").fields());
        assert_eq!(lane.unversioned(), 2);
        let floors = lane.erased().erased();
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
            };
            let fold = fold(&floors, &[candidate], MaxFold(10), NOW);
            assert_eq!(!fold.is_empty(), is_sent, "{field} {value} {arrival}");
        }
    }

    /// FAULTS N642: the values that wait for a reassertion are values of the customer.
    #[test]
    fn requests_in_doubt_keep_their_end_and_no_value() {
        let lane = LaneVersions::default().with_anything_sent(NOW);
        let lane = lane.erased();
        assert!(lane.kept_values().is_none());
        assert_eq!(lane.reassert_at(), None);
        assert!(lane.doubt_is_over(NOW));
        let stored = serde_json::to_string(&lane).unwrap();
        assert!(stored.contains("\"any\":true"), "{stored}");
    }
}
