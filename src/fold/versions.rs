//! The versions that a lane, the queue of one customer, remembers after its entries are finished: the versions that
//! Imprint has, and the versions that are *in doubt*. A version is in doubt if the bridge sent it in a request without
//! a clear answer. This module is pure: it does no IO and reads no clock.
//!
//! A request without a clear answer can arrive at Imprint late, after newer values were delivered, and overwrite the
//! newer values. Imprint's API offers no way to prevent a late request from overwriting newer values. A lane therefore
//! remembers which versions can still arrive, and until what time. The lane also keeps each newer value that is
//! delivered while the old request can still arrive. When the old request can no longer arrive, dispatch sends the kept
//! values again. The lane cannot protect the values from a request that arrives after the values were sent again.

use std::fmt;

use litemap::LiteMap;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::resets::{Resets, rank};
use super::{Candidate, Fold};
use crate::event::Version;
use crate::imprint::{Field, FieldValue, Update};
use crate::time::Timestamp;

mod floors;
mod resets;

/// The delivered version of each field of one customer, and the versions in requests without a clear answer.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneVersions {
    /// The versions of values that Imprint confirmed with a 2xx answer.
    delivered: Versions,
    /// The versions of values in requests without a clear answer from Imprint.
    #[serde(default, rename = "doubt", skip_serializing_if = "Option::is_none")]
    in_doubt: Option<InDoubt>,
    /// True if dispatch sent no request for the delivered versions, because the entries only cleared fields that a
    /// request omits.
    #[serde(default, rename = "unsent", skip_serializing_if = "is_false")]
    is_unsent: bool,
    /// The resets of the versions by operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resets: Option<Resets>,
    /// The version floors of the fields for which a newer value was delivered after an erasure. A reset, or a new
    /// destination, can forget the newer version, and never the floor. The floor of another field is its delivered version.
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    floors: Versions,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The requests in doubt: requests without a clear answer that can still arrive at Imprint. Also contains the newer
/// values that such a request would overwrite.
///
/// In the store, two members have the names `until` and `facts`, for compatibility with older stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct InDoubt {
    /// The time until which the requests can arrive, in milliseconds since the Unix epoch.
    #[serde(rename = "until")]
    until_millis: i64,
    /// For each field, the oldest version that can still arrive at Imprint.
    sent: Versions,
    /// True if a value that is not in `sent` can also arrive: a value of any field, with any version.
    #[serde(default, rename = "any", skip_serializing_if = "std::ops::Not::not")]
    is_any_sent: bool,
    /// The newer values that were delivered while the requests could still arrive.
    #[serde(rename = "facts")]
    newer: Update,
}

impl InDoubt {
    /// Keeps only the delivered values of these fields, after the requests in doubt can no longer arrive. Returns
    /// `None` if there is no such value.
    fn reduced_to(self, fields: &[Field]) -> Option<Self> {
        let newer = self.newer.iter();
        let newer = newer.filter(|(field, _)| fields.contains(field));
        let newer: Update = newer
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        (!newer.is_empty()).then(|| Self {
            until_millis: self.until_millis,
            sent: Versions::default(),
            is_any_sent: false,
            newer,
        })
    }
}

impl LaneVersions {
    /// Returns the versions of the lane after the delivery of `fold`.
    #[must_use]
    pub fn delivered(mut self, fold: &Fold) -> Self {
        for (field, version) in &fold.versions {
            self.replace(field, *version);
        }
        self.is_unsent = false;
        if let Some(resets) = &mut self.resets {
            resets.forget_delivered(&self.delivered);
        }
        if fold.ends_doubt {
            self.in_doubt = self
                .in_doubt
                .and_then(|in_doubt| in_doubt.reduced_to(&fold.postponed));
            return self;
        }
        let Some(in_doubt) = self.in_doubt.as_mut() else {
            return self;
        };
        let rank = |version: &Version| rank(self.resets.as_ref(), *version);
        for (field, version) in &fold.versions {
            let sent = in_doubt.sent.0.get(field);
            if (in_doubt.is_any_sent || sent.is_some_and(|sent| rank(sent) < rank(version)))
                && let Some(value) = fold.update.value(field)
            {
                in_doubt.newer.insert(field.clone(), value.clone());
            }
        }
        self
    }

    /// Returns the versions of the lane after dispatch has finished the entries of `fold` without a request.
    #[must_use]
    pub fn without_request(self, fold: &Fold) -> Self {
        let is_unsent = !self.has_applied();
        Self {
            is_unsent,
            ..self.delivered(fold)
        }
    }

    /// Returns whether Imprint has applied a request of the lane.
    pub fn has_applied(&self) -> bool {
        !self.delivered.0.is_empty() && !self.is_unsent
    }

    /// Returns the versions of the lane after a request with `fold` got no clear answer. The request can arrive at
    /// Imprint until the time `until`.
    #[must_use]
    pub fn with_unconfirmed(self, fold: &Fold, until: Timestamp) -> Self {
        let sent = fold
            .versions
            .iter()
            .map(|(field, version)| (field, *version));
        self.with_in_doubt(sent, until)
    }

    /// Returns the versions of the lane after a process ended unexpectedly. The ended process has possibly sent a
    /// request with any of the entries in `candidates`.
    #[must_use]
    pub fn with_possibly_sent(mut self, candidates: &[Candidate<'_>], until: Timestamp) -> Self {
        // The ended process has possibly also sent the values in `newer` again. A late request with these values could
        // overwrite values that are delivered from now on.
        let reasserts = |in_doubt: &&mut InDoubt| !in_doubt.newer.is_empty();
        if let Some(in_doubt) = self.in_doubt.as_mut().filter(reasserts) {
            in_doubt.until_millis = in_doubt.until_millis.max(until.as_millis());
        }
        let sent = candidates.iter().flat_map(|candidate| {
            let fields = candidate.update.fields();
            fields.map(|field| (field, candidate.version))
        });
        self.with_in_doubt(sent, until)
    }

    /// Returns the versions of the lane after a process ended unexpectedly, if the store does not show which values the
    /// process has sent.
    ///
    /// Every value that is delivered before `until` counts as overwritten, and dispatch sends the value again.
    #[must_use]
    pub fn with_anything_sent(mut self, until: Timestamp) -> Self {
        self.prolonged(until).is_any_sent = true;
        self
    }

    /// Returns the versions of the lane after some entries have left the lane without delivery: an operator withdrew
    /// the entries, or dispatch parked, ignored or moved them. Values of these entries may be in the requests in doubt.
    ///
    /// The remaining entries may have older versions than these values. Therefore every value that is delivered before
    /// the end of the doubt counts as overwritten, and dispatch sends the value again.
    #[must_use]
    pub fn without_entries(mut self) -> Self {
        if let Some(in_doubt) = &mut self.in_doubt {
            in_doubt.is_any_sent = true;
        }
        self
    }

    fn with_in_doubt<'a>(
        mut self,
        sent: impl Iterator<Item = (&'a Field, Version)>,
        until: Timestamp,
    ) -> Self {
        let mut sent = sent.peekable();
        if sent.peek().is_none() {
            return self;
        }
        let resets = self.resets.take();
        let in_doubt = self.prolonged(until);
        for (field, version) in sent {
            let oldest = in_doubt.sent.0.entry(field.clone()).or_insert(version);
            if rank(resets.as_ref(), version) < rank(resets.as_ref(), *oldest) {
                *oldest = version;
            }
        }
        Self { resets, ..self }
    }

    /// Records that requests in doubt can arrive at Imprint at least until the time `until`. Returns the requests in
    /// doubt.
    fn prolonged(&mut self, until: Timestamp) -> &mut InDoubt {
        let in_doubt = self.in_doubt.get_or_insert_with(|| InDoubt {
            until_millis: until.as_millis(),
            sent: Versions::default(),
            is_any_sent: false,
            newer: Update::default(),
        });
        in_doubt.until_millis = in_doubt.until_millis.max(until.as_millis());
        in_doubt
    }

    /// Limits the time until which requests in doubt can arrive at Imprint.
    #[must_use]
    pub fn with_doubt_until_at_most(mut self, latest: Timestamp) -> Self {
        if let Some(in_doubt) = &mut self.in_doubt {
            in_doubt.until_millis = in_doubt.until_millis.min(latest.as_millis());
        }
        self
    }

    /// Returns the time at which dispatch must send delivered values again. Returns `None` if dispatch must send no
    /// value again.
    pub fn reassert_at(&self) -> Option<Timestamp> {
        let in_doubt = self.in_doubt.as_ref()?;
        (!in_doubt.newer.is_empty()).then(|| Timestamp::from_millis(in_doubt.until_millis))
    }

    /// Returns the delivered values that the lane keeps, because a request in doubt possibly overwrites them.
    pub fn kept_values(&self) -> Option<&Update> {
        let kept = self.in_doubt.as_ref().map(|in_doubt| &in_doubt.newer);
        kept.filter(|kept| !kept.is_empty())
    }

    /// Returns true if the lane has requests in doubt, and none of these requests can still arrive at Imprint.
    pub(super) fn doubt_is_over(&self, now: Timestamp) -> bool {
        self.in_doubt
            .as_ref()
            .is_some_and(|in_doubt| in_doubt.until_millis <= now.as_millis())
    }

    /// Returns the values that dispatch must send again now. Each value comes with its field and its version.
    pub(super) fn to_reassert(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Field, Version, &FieldValue)> {
        let over = self.in_doubt.as_ref().filter(|_| self.doubt_is_over(now));
        over.into_iter()
            .flat_map(|in_doubt| in_doubt.newer.iter())
            .filter_map(|(field, value)| Some((field, self.version_of(field)?, value)))
    }

    /// Returns every delivered field with the delivered version of the field.
    pub fn delivered_fields(&self) -> impl Iterator<Item = (&Field, Version)> {
        self.delivered
            .0
            .iter()
            .map(|(field, version)| (field, *version))
    }

    /// Returns the delivered version of a field.
    pub fn version_of(&self, field: &Field) -> Option<Version> {
        self.delivered.0.get(field).copied()
    }
}

impl fmt::Debug for LaneVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneVersions")
            .field("delivered", &self.delivered)
            .field("in_doubt", &self.in_doubt)
            .field("floors", &self.floors)
            .finish()
    }
}

/// The version of each field. The stored form groups the fields by version, because the fields of one entry share one
/// version.
#[derive(Clone, Debug, Default, PartialEq)]
struct Versions(LiteMap<Field, Version>);

impl Versions {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Raises the version of a field to this version.
    fn raise(&mut self, field: &Field, version: Version) {
        let newest = self.0.entry(field.clone()).or_insert(version);
        *newest = version.max(*newest);
    }
}

/// One group of fields in the stored form: epoch, value and arrival of the version, and the fields.
type VersionGroup<L> = (u32, i64, u64, Vec<L>);

impl Serialize for Versions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut groups: LiteMap<Version, Vec<&Field>> = LiteMap::new();
        for (field, version) in &self.0 {
            groups.entry(*version).or_default().push(field);
        }
        let mut seq = serializer.serialize_seq(Some(groups.len()))?;
        for (version, fields) in &groups {
            seq.serialize_element(&(version.epoch, version.value, version.arrival, fields))?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut versions = LiteMap::new();
        for (epoch, value, arrival, fields) in
            Vec::<VersionGroup<Field>>::deserialize(deserializer)?
        {
            let version = Version {
                epoch,
                value,
                arrival,
            };
            versions.extend(fields.into_iter().map(|field| (field, version)));
        }
        Ok(Self(versions))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::{MaxFold, fold};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const UNTIL: Timestamp = Timestamp::from_millis(1_060_000);

    fn entry(value: i64, arrival: u64, values: &[(&str, &str)]) -> (Version, Update) {
        let values = values.iter().map(|(path, value)| {
            (
                Field::parse(path).unwrap(),
                FieldValue::from_value(json!(value)),
            )
        });
        let version = Version {
            epoch: 0,
            value,
            arrival,
        };
        (version, values.collect())
    }

    fn fold_at(lane: &LaneVersions, waiting: &[(Version, Update)], now: Timestamp) -> Fold {
        let candidates: Vec<_> = waiting
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
                jump_max: None,
                floors: None,
            })
            .collect();
        fold(lane, &candidates, MaxFold(100), now)
    }

    fn sent(fold: &Fold) -> Value {
        fold.update
            .iter()
            .map(|(field, fact)| match fact {
                FieldValue::Set(value) => (field.to_string(), value.clone()),
                FieldValue::Cleared => (field.to_string(), Value::Null),
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Returns the versions of a lane with two entries: the request with the first entry got no answer, and the second
    /// entry was delivered.
    fn overtaken() -> LaneVersions {
        let old = [entry(1, 1, &[("email", "old"), ("city", "Elko")])];
        let lane = LaneVersions::default();
        let unanswered = fold_at(&lane, &old, NOW);
        let lane = lane.with_unconfirmed(&unanswered, UNTIL);
        let both = [old[0].clone(), entry(2, 2, &[("email", "new")])];
        let answered = fold_at(&lane, &both, NOW);
        lane.delivered(&answered)
    }

    #[test]
    fn only_a_request_shows_that_imprint_applied_a_lane() {
        let fold_of =
            |lane: &LaneVersions, value| fold_at(lane, &[entry(value, 1, &[("email", "a")])], NOW);
        let new = LaneVersions::default();
        assert!(!new.has_applied());
        let unsent = new.clone().without_request(&fold_of(&new, 1));
        let stored = serde_json::to_value(&unsent).unwrap();
        let unsent: LaneVersions = serde_json::from_value(stored).unwrap();
        assert!(!unsent.has_applied());
        assert_eq!(fold_of(&unsent, 0).stale.len(), 1, "it has a version");
        let again = unsent.clone().without_request(&fold_of(&unsent, 2));
        assert!(!again.has_applied());
        let applied = unsent.clone().delivered(&fold_of(&unsent, 2));
        assert!(applied.has_applied());
        let later = applied.clone().without_request(&fold_of(&applied, 3));
        assert!(later.has_applied());
    }

    #[test]
    fn a_request_is_empty_without_new_and_repeated_values() {
        let lane = LaneVersions::default();
        assert!(fold_at(&lane, &[], NOW).is_empty());
        assert!(!fold_at(&lane, &[entry(1, 1, &[("email", "a")])], NOW).is_empty());
        let again = fold_at(&overtaken(), &[], UNTIL);
        assert!(again.carried.is_empty() && !again.is_empty());
    }

    /// FAULTS U37, V3: the late request would restore the old e-mail; the city in the late request is still the newest
    /// city.
    #[test]
    fn what_an_unanswered_request_may_overwrite_is_sent_again() {
        let lane = overtaken();
        assert_eq!(lane.reassert_at(), Some(UNTIL));
        assert_eq!(sent(&fold_at(&lane, &[], NOW)), json!({}));
        let again = fold_at(&lane, &[], UNTIL);
        assert_eq!(
            (sent(&again), again.reasserted),
            (json!({"email": "new"}), 1)
        );
        let lane = lane.delivered(&again);
        assert_eq!(lane.reassert_at(), None);
        assert_eq!(sent(&fold_at(&lane, &[], UNTIL)), json!({}));
    }

    /// FAULTS N313: the request sends every value again except the value that waits for a later request.
    #[test]
    fn a_postponed_value_is_still_to_be_sent_again() {
        let lane = overtaken();
        let phone = [entry(3, 3, &[("phone", "1")])];
        let request = fold_at(&lane, &phone, UNTIL);
        assert_eq!(request.reasserted, 1);
        let email = Field::parse("email").unwrap();
        let later = lane.delivered(&request.postponing(&[email]));
        assert_eq!(later.reassert_at(), Some(UNTIL));
        let again = fold_at(&later, &phone, UNTIL);
        assert_eq!(
            (sent(&again), again.stale.len()),
            (json!({"email": "new"}), 1)
        );
        assert_eq!(later.delivered(&again).reassert_at(), None);
    }

    #[test]
    fn an_answer_to_the_same_values_leaves_nothing_to_reassert() {
        let entries = [entry(1, 1, &[("email", "a")])];
        let lane = LaneVersions::default();
        let fold = fold_at(&lane, &entries, NOW);
        let lane = lane.with_unconfirmed(&fold, UNTIL).delivered(&fold);
        assert_eq!(lane.reassert_at(), None);
        // A newer value that is delivered before `UNTIL` is sent again, because the late request may still arrive.
        let newer = [entry(2, 2, &[("email", "b")])];
        let lane = lane.clone().delivered(&fold_at(&lane, &newer, NOW));
        assert_eq!(lane.reassert_at(), Some(UNTIL));
    }

    #[test]
    fn a_reassertion_carries_values_that_are_newer_meanwhile() {
        let lane = overtaken();
        let newer = [entry(3, 3, &[("email", "newest")])];
        let fold = fold_at(&lane, &newer, UNTIL);
        assert_eq!(
            (sent(&fold), fold.reasserted),
            (json!({"email": "newest"}), 0)
        );
        assert_eq!(lane.delivered(&fold).reassert_at(), None);
    }

    #[test]
    fn a_reassertion_without_an_answer_is_sent_again() {
        let later = UNTIL.after(Duration::from_secs(60));
        let lane = overtaken();
        let unanswered = fold_at(&lane, &[], UNTIL);
        let lane = lane.with_unconfirmed(&unanswered, later);
        assert_eq!(lane.reassert_at(), Some(later));
        assert_eq!(sent(&fold_at(&lane, &[], later)), json!({"email": "new"}));
    }

    /// FAULTS P07; seed 25195 of the simulation: the request with the kept values arrived after a request with newer
    /// values.
    #[test]
    fn a_reassertion_that_an_earlier_process_may_have_sent_is_in_doubt() {
        let later = UNTIL.after(Duration::from_secs(60));
        let lane = overtaken().with_possibly_sent(&[], later);
        assert_eq!(lane.reassert_at(), Some(later));
        let newer = [entry(3, 3, &[("email", "newest")])];
        let lane = lane.clone().delivered(&fold_at(&lane, &newer, UNTIL));
        assert_eq!(lane.reassert_at(), Some(later));
        let again = fold_at(&lane, &[], later);
        assert_eq!(sent(&again), json!({"email": "newest"}));
    }

    /// FAULTS P07: the bridge does not know which of these entries the ended process had sent.
    #[test]
    fn entries_that_an_earlier_process_may_have_sent_are_in_doubt() {
        let waiting = [
            entry(1, 1, &[("email", "a")]),
            entry(2, 2, &[("email", "b")]),
        ];
        let candidates: Vec<_> = waiting
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
                jump_max: None,
                floors: None,
            })
            .collect();
        let lane = LaneVersions::default().with_possibly_sent(&candidates, UNTIL);
        let fold = fold_at(&lane, &waiting, NOW);
        assert_eq!(lane.delivered(&fold).reassert_at(), Some(UNTIL));
        let alone = LaneVersions::default().with_possibly_sent(&candidates[..1], UNTIL);
        let fold = fold_at(&alone, &waiting[..1], NOW);
        assert_eq!(alone.delivered(&fold).reassert_at(), None);
    }

    #[test]
    fn lane_versions_are_read_back_unchanged() {
        let lane = overtaken();
        let kept = serde_json::to_string(&lane).unwrap();
        assert_eq!(serde_json::from_str::<LaneVersions>(&kept).unwrap(), lane);
    }

    /// An operator resets the versions when a source starts again with low versions. A request from before the reset can
    /// still arrive late and overwrite the values of the restarted source.
    #[test]
    fn after_a_reset_every_event_is_newer_and_the_doubt_stays() {
        let lane = overtaken().reset(2);
        let restarted = [entry(-5, 3, &[("email", "restarted")])];
        let fold = fold_at(&lane, &restarted, NOW);
        assert_eq!(sent(&fold), json!({"email": "restarted"}));
        let lane = lane.delivered(&fold);
        assert_eq!(lane.reassert_at(), Some(UNTIL));
        let again = fold_at(&lane, &[], UNTIL);
        assert_eq!(sent(&again), json!({"email": "restarted"}));
    }

    const LATER: Timestamp = Timestamp::from_millis(1_120_000);

    fn possibly_sent(
        lane: LaneVersions,
        waiting: &[(Version, Update)],
        until: Timestamp,
    ) -> LaneVersions {
        let candidates: Vec<_> = waiting
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
                jump_max: None,
                floors: None,
            })
            .collect();
        lane.with_possibly_sent(&candidates, until)
    }

    fn delivered(
        lane: LaneVersions,
        waiting: &[(Version, Update)],
        now: Timestamp,
    ) -> LaneVersions {
        let fold = fold_at(&lane, waiting, now);
        lane.delivered(&fold)
    }

    #[test]
    fn nothing_sent_leaves_nothing_in_doubt() {
        let lane = LaneVersions::default();
        let nothing = fold_at(&lane, &[], NOW);
        assert_eq!(lane.clone().with_unconfirmed(&nothing, UNTIL), lane);
        assert_eq!(possibly_sent(lane.clone(), &[], UNTIL), lane);
    }

    /// FAULTS N110: an ended process sent a value that the lane can no longer name, so each value that is delivered
    /// before the end of the doubt is sent again, and no value that is delivered later.
    #[test]
    fn if_anything_may_have_been_sent_every_newer_value_is_sent_again() {
        let lane = LaneVersions::default().with_anything_sent(UNTIL);
        assert_eq!(lane.reassert_at(), None, "nothing newer was delivered");
        let first = entry(1, 1, &[("email", "a"), ("city", "Reno")]);
        let lane = delivered(lane, &[first], NOW);
        assert_eq!(lane.reassert_at(), Some(UNTIL));
        let stored = serde_json::to_string(&lane).unwrap();
        let lane: LaneVersions = serde_json::from_str(&stored).unwrap();
        let lane = lane.with_anything_sent(LATER);
        let again = fold_at(&lane, &[], LATER);
        assert_eq!(sent(&again), json!({"email": "a", "city": "Reno"}));
        let lane = lane.delivered(&again);
        assert_eq!(lane.reassert_at(), None);
        let lane = delivered(lane, &[entry(2, 2, &[("email", "b")])], LATER);
        assert_eq!(lane.reassert_at(), None, "the doubt is over");
    }

    /// FAULTS N307: the entry of a request in doubt leaves the lane, and an entry with an older version is delivered.
    #[test]
    fn a_request_of_an_entry_that_left_may_overwrite_older_versions() {
        let newer = [entry(5, 1, &[("email", "left")])];
        let lane = possibly_sent(LaneVersions::default(), &newer, UNTIL);
        let older = [entry(3, 2, &[("email", "stays")])];
        assert_eq!(delivered(lane.clone(), &older, NOW).reassert_at(), None);
        let lane = delivered(lane.without_entries(), &older, NOW);
        assert_eq!(lane.reassert_at(), Some(UNTIL));
        assert_eq!(sent(&fold_at(&lane, &[], UNTIL)), json!({"email": "stays"}));
        let undoubted = LaneVersions::default();
        assert_eq!(undoubted.clone().without_entries(), undoubted);
    }

    #[test]
    fn doubt_is_over_from_its_time_on() {
        let lane = overtaken();
        let before = Timestamp::from_millis(UNTIL.as_millis() - 1);
        assert_eq!(
            (lane.doubt_is_over(before), lane.doubt_is_over(UNTIL)),
            (false, true)
        );
        assert_eq!(sent(&fold_at(&lane, &[], before)), json!({}));
        assert!(!LaneVersions::default().doubt_is_over(LATER));
    }

    #[test]
    fn of_two_requests_in_doubt_the_oldest_version_and_the_latest_time_count() {
        let old = entry(1, 1, &[("email", "old")]);
        let middle = entry(2, 2, &[("email", "middle")]);
        for (first, second) in [(&old, &middle), (&middle, &old)] {
            for (until, then) in [(UNTIL, LATER), (LATER, UNTIL)] {
                let lane =
                    possibly_sent(LaneVersions::default(), std::slice::from_ref(first), until);
                let lane = possibly_sent(lane, std::slice::from_ref(second), then);
                let lane = delivered(lane, std::slice::from_ref(&middle), NOW);
                assert_eq!(lane.reassert_at(), Some(LATER), "the old one may arrive");
            }
        }
    }

    #[test]
    fn only_a_newer_value_is_sent_again() {
        let same = entry(1, 1, &[("email", "same")]);
        let lane = possibly_sent(LaneVersions::default(), std::slice::from_ref(&same), UNTIL);
        assert_eq!(delivered(lane.clone(), &[same], NOW).reassert_at(), None);
        let other = entry(9, 9, &[("phone", "1")]);
        assert_eq!(
            delivered(lane, &[other], NOW).reassert_at(),
            None,
            "another field"
        );
    }

    /// If a lane has no values to send again, the ended process cannot have sent such values, so the end of the doubt
    /// stays unchanged.
    #[test]
    fn an_earlier_process_prolongs_only_a_doubt_with_values_to_send_again() {
        let lane = possibly_sent(
            LaneVersions::default(),
            &[entry(1, 1, &[("email", "a")])],
            UNTIL,
        );
        let restarted = possibly_sent(lane, &[], LATER);
        let lane = delivered(restarted, &[entry(2, 2, &[("email", "b")])], NOW);
        assert_eq!(lane.reassert_at(), Some(UNTIL));
        assert_eq!(
            possibly_sent(lane.clone(), &[], LATER).reassert_at(),
            Some(LATER)
        );
        assert_eq!(
            possibly_sent(lane, &[], NOW).reassert_at(),
            Some(UNTIL),
            "never shortened"
        );
    }

    #[test]
    fn a_delivery_before_the_end_of_the_doubt_does_not_end_it() {
        let lane = overtaken();
        let lane = delivered(lane, &[entry(3, 3, &[("phone", "1")])], NOW);
        assert_eq!(lane.reassert_at(), Some(UNTIL));
        let lane = delivered(lane, &[entry(4, 4, &[("phone", "2")])], UNTIL);
        assert_eq!(lane.reassert_at(), None, "the delivery carried the e-mail");
    }

    /// Stores contain these bytes, so the stored form of versions must not change.
    #[test]
    fn lane_versions_are_stored_in_this_form() {
        let text = serde_json::to_string(&overtaken()).unwrap();
        let expected = r#"{"delivered":[[0,1,1,[7]],[0,2,2,[0]]],"doubt":{"until":1060000,"sent":[[0,1,1,[0,7]]],"facts":{"0":"new"}}}"#;
        assert_eq!(text, expected);
        let printed = format!("{:?}", LaneVersions::default());
        assert!(printed.starts_with("LaneVersions {"), "{printed}");
    }
}
