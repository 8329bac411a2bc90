//! An operator's resets of the versions of a lane.
//!
//! After a reset, the next event of the customer counts as the newest, whatever its version is. Entries that the bridge
//! accepted before the reset keep their order among each other: an entry that was held or parked must not overwrite the
//! newer value that the bridge has delivered meanwhile. Only an entry whose version is far below the delivered version,
//! and that arrived later, is newer: the delivered version was far too high.

use serde::{Deserialize, Serialize};

use super::floors::is_floor;
use super::{LaneVersions, Versions};
use crate::event::Version;
use crate::fold::Candidate;
use crate::imprint::Field;

/// The maximum number of resets that a lane remembers. Operators reset the versions of a customer very rarely.
const RESETS_MAX: usize = 16;

/// The resets of a lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Resets {
    /// For each reset, the number of the newest entry that the store had then, in ascending order.
    at: Vec<u64>,
    /// The version of each field before the reset, until another value of the field is delivered.
    was: Versions,
}

impl LaneVersions {
    /// Returns the versions of the lane after an operator has reset them. `newest` is the newest entry of the store. After
    /// the reset, the version of every later event is newer than the delivered versions. The lane still remembers the
    /// requests in doubt, and keeps the version floors of an erasure: otherwise, the sender could bring erased values
    /// back.
    #[must_use]
    pub fn reset(mut self, newest: u64) -> Self {
        let mut resets = self.resets.take().unwrap_or_default();
        resets.at.retain(|entry| *entry < newest);
        if resets.at.len() >= RESETS_MAX {
            resets.at.remove(0);
        }
        resets.at.push(newest);
        for (field, version) in reset(&mut self.delivered) {
            resets.was.0.insert(field, version);
        }
        if let Some(in_doubt) = &mut self.in_doubt {
            reset(&mut in_doubt.sent);
        }
        self.resets = Some(resets);
        self
    }

    /// Returns the delivered version of a field, or a version floor of the lane or of the entry, if the waiting value is not
    /// newer.
    pub fn covering(&self, field: &Field, candidate: &Candidate<'_>) -> Option<Version> {
        let floors = || {
            let of_entry = candidate.floors.map(|floors| &floors.delivered);
            let floors = std::iter::once(&self.floors).chain(of_entry);
            floors.filter_map(|floors| floors.0.get(field).copied())
        };
        let covering = self.delivered_covering(field, candidate);
        covering.or_else(|| floors().find(|floor| *floor >= candidate.version))
    }

    fn delivered_covering(&self, field: &Field, candidate: &Candidate<'_>) -> Option<Version> {
        let delivered = self.version_of(field)?;
        let resets = self.resets.as_ref().filter(|_| !is_floor(delivered));
        let was = resets
            .filter(|_| delivered.is_reset())
            .and_then(|resets| resets.was.0.get(field));
        let covers = match was {
            Some(was) => {
                !is_after_jump(*was, candidate)
                    && rank(resets, *was) >= rank(resets, candidate.version)
            }
            None => rank(resets, delivered) >= rank(resets, candidate.version),
        };
        covers.then_some(delivered)
    }

    /// Returns the position of a waiting value in the order of the lane.
    pub(in crate::fold) fn rank(&self, version: Version) -> Rank {
        rank(self.resets.as_ref(), version)
    }
}

impl Resets {
    /// Forgets the earlier versions of the fields for which another value was delivered.
    pub(super) fn forget_delivered(&mut self, delivered: &Versions) {
        let is_reset = |field: &Field| delivered.0.get(field).is_some_and(|it| it.is_reset());
        self.was.0.retain(|field, _| is_reset(field));
    }

    /// Returns the resets without the earlier versions: only the order of the entries remains.
    pub(super) fn without_versions(&self) -> Self {
        Self {
            at: self.at.clone(),
            was: Versions::default(),
        }
    }

    /// Forgets the earlier versions of the entries up to `last`.
    pub(super) fn erased(mut self, last: u64) -> Self {
        self.was.0.retain(|_, version| version.arrival > last);
        self
    }
}

/// The position of a version in the order of its lane: the number of resets before the arrival of the entry, and the
/// version.
pub(in crate::fold) type Rank = (usize, Version);

pub(super) fn rank(resets: Option<&Resets>, version: Version) -> Rank {
    let before = resets.map_or(0, |resets| {
        resets
            .at
            .partition_point(|newest| *newest < version.arrival)
    });
    (before, version)
}

/// Resets the versions, except for version floors. Returns the versions of the source before the reset.
fn reset(versions: &mut Versions) -> Vec<(Field, Version)> {
    let mut was = Vec::new();
    for (field, version) in versions.0.iter_mut() {
        if is_floor(*version) || version.is_reset() {
            continue;
        }
        was.push((field.clone(), *version));
        *version = version.reset();
    }
    was
}

/// Returns whether a waiting value arrived after the value of a delivered version that was far too high.
fn is_after_jump(delivered: Version, candidate: &Candidate<'_>) -> bool {
    let version = candidate.version;
    version.arrival > delivered.arrival
        && version < delivered
        && candidate
            .jump_max
            .is_some_and(|max| version.is_distant(delivered, max))
}

#[cfg(test)]
mod tests {
    use super::super::super::{MaxFold, fold};
    use super::*;
    use crate::imprint::{FieldValue, Update};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const FAR: i64 = 1 << 53;

    fn email() -> Update {
        let value = FieldValue::from_value(serde_json::json!("x"));
        let field = Field::parse("email").unwrap();
        [(field, value)].into_iter().collect()
    }

    fn candidate(update: &Update, (value, arrival): (i64, u64)) -> Candidate<'_> {
        let version = Version {
            epoch: 0,
            value,
            arrival,
        };
        Candidate {
            version,
            update,
            jump_max: Some(1_000_000_000),
            floors: None,
        }
    }

    /// Delivers the newest of these entries. Returns the arrival of the entry that the request has sent.
    fn deliver(lane: &mut LaneVersions, entries: &[(i64, u64)]) -> Option<u64> {
        let update = email();
        let waiting = entries.iter().map(|entry| candidate(&update, *entry));
        let waiting: Vec<_> = waiting.collect();
        let fold = fold(lane, &waiting, MaxFold(10), NOW);
        let ended = fold.finished.len() + fold.stale.len();
        assert_eq!(ended, entries.len(), "{entries:?}");
        *lane = std::mem::take(lane).delivered(&fold);
        let stored = serde_json::to_string(&lane).unwrap();
        assert_eq!(
            serde_json::from_str::<LaneVersions>(&stored).unwrap(),
            *lane
        );
        fold.carried.first().copied()
    }

    /// FAULTS N1170: the entries 2 to 9 were held or parked at the time of the reset.
    #[test]
    fn an_entry_from_before_a_reset_overwrites_no_newer_value() {
        for (delivered, waiting, sent) in [
            ((9, 3), vec![(5, 2)], None),
            ((9, 3), vec![(5, 4)], None),
            ((9, 3), vec![(12, 2)], Some(2)),
            ((9, 3), vec![(12, 4)], Some(4)),
            ((9, 3), vec![(9, 4)], Some(4)),
            ((0, 3), vec![(0, 2)], None),
            // The delivered version was far too high, so the later events have the true versions.
            ((FAR, 3), vec![(5, 2)], None),
            ((FAR, 3), vec![(5, 4)], Some(4)),
            ((FAR, 3), vec![(7, 4), (6, 5)], Some(4)),
            // Entry 10 has arrived after the reset.
            ((9, 3), vec![(5, 10)], Some(10)),
            ((9, 3), vec![(5, 2), (3, 10)], Some(10)),
            ((9, 3), vec![(12, 4), (3, 10)], Some(10)),
            ((FAR, 3), vec![(6, 4), (5, 10)], Some(10)),
        ] {
            let mut lane = LaneVersions::default();
            deliver(&mut lane, &[delivered]);
            let mut lane = lane.reset(9);
            assert_eq!(
                deliver(&mut lane, &waiting),
                sent,
                "{delivered:?} {waiting:?}"
            );
        }
    }

    /// FAULTS N1170: the order of the entries does not depend on the time of their delivery.
    #[test]
    fn an_entry_from_before_a_reset_stays_older_after_the_next_event() {
        let mut lane = LaneVersions::default();
        deliver(&mut lane, &[(9, 3)]);
        let mut lane = lane.reset(9);
        assert_eq!(deliver(&mut lane, &[(3, 10)]), Some(10));
        assert_eq!(deliver(&mut lane, &[(5, 2)]), None);
        assert_eq!(deliver(&mut lane, &[(12, 4)]), None);
        let mut lane = lane.reset(20).reset(20);
        assert_eq!(deliver(&mut lane, &[(5, 2)]), None);
        assert_eq!(deliver(&mut lane, &[(4, 15)]), Some(15));
        assert_eq!(deliver(&mut lane, &[(1, 21)]), Some(21));
        assert_eq!(deliver(&mut lane, &[(12, 4)]), None);
    }

    /// FAULTS N1170, N1173: the new destination has no value of the customer, but the order of the entries is the same.
    #[test]
    fn an_entry_from_before_a_reset_stays_older_at_a_new_destination() {
        let mut lane = LaneVersions::default();
        deliver(&mut lane, &[(9, 3)]);
        let lane = lane.reset(9).at_new_destination();
        assert_eq!(deliver(&mut lane.clone(), &[(5, 2)]), Some(2));
        let mut lane = lane;
        assert_eq!(deliver(&mut lane, &[(12, 4), (3, 10)]), Some(10));
        assert_eq!(deliver(&mut lane, &[(12, 4)]), None);
    }

    #[test]
    fn the_number_of_resets_has_a_bound() {
        let resets = 1..100;
        let lane = resets.fold(LaneVersions::default(), LaneVersions::reset);
        assert_eq!(lane.resets.unwrap().at.len(), RESETS_MAX);
    }
}
