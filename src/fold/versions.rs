//! What a lane remembers of its customer when its entries are gone: how new Imprint's facts are, and what is in doubt.
//!
//! A request that was sent and never soundly answered may land late, after newer facts have been delivered, and undo
//! them. Imprint offers nothing to prevent that. So a lane remembers what may still land, and for how long; facts that
//! are delivered meanwhile are kept and asserted once more when that time is over. A request that lands even later
//! than that cannot be excluded.

use std::fmt;

use litemap::LiteMap;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Candidate, Fold};
use crate::event::Version;
use crate::imprint::{Field, FieldValue, Update};
use crate::time::Timestamp;

/// How new the facts are that Imprint has of one customer, field by field. Outlives the entries that brought them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneVersions {
    /// What a 2xx confirmed.
    delivered: Versions,
    /// What was sent without a sound answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<InDoubt>,
}

/// Requests that may still land, and what they would undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct InDoubt {
    /// Until when they may, in milliseconds.
    until: i64,
    /// The oldest version of each field that may.
    sent: Versions,
    /// Newer facts that were delivered meanwhile.
    facts: Update,
}

impl LaneVersions {
    /// Notes that every version in `fold` reached Imprint.
    #[must_use]
    pub fn delivered(mut self, fold: &Fold) -> Self {
        if fold.ends_doubt {
            self.doubt = None;
        }
        let newest = fold.versions.iter();
        let newest = newest.map(|(field, version)| (field.clone(), *version));
        self.delivered.0.extend(newest);
        let Some(doubt) = self.doubt.as_mut() else {
            return self;
        };
        for (field, version) in &fold.versions {
            if doubt.sent.0.get(field).is_some_and(|sent| sent < version)
                && let Some(fact) = fold.update.value(field)
            {
                doubt.facts.insert(field.clone(), fact.clone());
            }
        }
        self
    }

    /// Notes that every version in `fold` may have reached Imprint, or may until `until`.
    #[must_use]
    pub fn with_unconfirmed(self, fold: &Fold, until: Timestamp) -> Self {
        let sent = fold
            .versions
            .iter()
            .map(|(field, version)| (field, *version));
        self.doubted(sent, until)
    }

    /// Notes that these may have been sent by a process that did not live to hear of it.
    #[must_use]
    pub fn with_possibly_sent(mut self, candidates: &[Candidate<'_>], until: Timestamp) -> Self {
        // So may an assertion have been; if it lands late, it undoes what is delivered from now on.
        let asserts = |doubt: &&mut InDoubt| !doubt.facts.is_empty();
        if let Some(doubt) = self.doubt.as_mut().filter(asserts) {
            doubt.until = doubt.until.max(until.as_millis());
        }
        let sent = candidates.iter().flat_map(|candidate| {
            let fields = candidate.update.fields();
            fields.map(|field| (field, candidate.version))
        });
        self.doubted(sent, until)
    }

    fn doubted<'a>(
        mut self,
        sent: impl Iterator<Item = (&'a Field, Version)>,
        until: Timestamp,
    ) -> Self {
        let mut sent = sent.peekable();
        if sent.peek().is_none() {
            return self;
        }
        let doubt = self.doubt.get_or_insert_with(|| InDoubt {
            until: until.as_millis(),
            sent: Versions::default(),
            facts: Update::default(),
        });
        doubt.until = doubt.until.max(until.as_millis());
        for (field, version) in sent {
            let oldest = doubt.sent.0.entry(field.clone()).or_insert(version);
            *oldest = version.min(*oldest);
        }
        self
    }

    /// Forgets what is in doubt: nothing can be done about it any more.
    #[must_use]
    pub fn without_doubt(mut self) -> Self {
        self.doubt = None;
        self
    }

    /// When facts are to be asserted once more, if any are.
    pub fn reassert_at(&self) -> Option<Timestamp> {
        let doubt = self.doubt.as_ref()?;
        (!doubt.facts.is_empty()).then(|| Timestamp::from_millis(doubt.until))
    }

    /// Whether nothing can land any more that was in doubt.
    pub(super) fn doubt_is_over(&self, now: Timestamp) -> bool {
        self.doubt
            .as_ref()
            .is_some_and(|doubt| doubt.until <= now.as_millis())
    }

    /// The facts that are to be asserted once more now.
    pub(super) fn to_assert(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Field, Version, &FieldValue)> {
        let over = self.doubt.as_ref().filter(|_| self.doubt_is_over(now));
        over.into_iter()
            .flat_map(|doubt| doubt.facts.iter())
            .filter_map(|(field, fact)| Some((field, self.of(field)?, fact)))
    }

    /// Every field that was delivered, with the version that Imprint has.
    pub fn delivered_fields(&self) -> impl Iterator<Item = (&Field, Version)> {
        self.delivered
            .0
            .iter()
            .map(|(field, version)| (field, *version))
    }

    /// The version of a field that was delivered.
    pub(super) fn of(&self, field: &Field) -> Option<Version> {
        self.delivered.0.get(field).copied()
    }
}

impl fmt::Debug for LaneVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneVersions")
            .field("delivered", &self.delivered)
            .field("doubt", &self.doubt)
            .finish()
    }
}

/// A version a field, stored grouped: the fields of one entry share one version.
#[derive(Clone, Debug, Default, PartialEq)]
struct Versions(LiteMap<Field, Version>);

/// One group as it is stored: epoch, value, arrival, and the paths of the fields.
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

    fn entry(value: i64, arrival: u64, facts: &[(&str, &str)]) -> (Version, Update) {
        let facts = facts.iter().map(|(path, value)| {
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
        (version, facts.collect())
    }

    fn fold_at(lane: &LaneVersions, waiting: &[(Version, Update)], now: Timestamp) -> Fold {
        let candidates: Vec<_> = waiting
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
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

    /// A lane to which the first entry was sent without an answer, and the second one was delivered.
    fn overtaken() -> LaneVersions {
        let old = [entry(1, 1, &[("email", "old"), ("city", "Elko")])];
        let lane = LaneVersions::default();
        let unanswered = fold_at(&lane, &old, NOW);
        let lane = lane.with_unconfirmed(&unanswered, UNTIL);
        let both = [old[0].clone(), entry(2, 2, &[("email", "new")])];
        let answered = fold_at(&lane, &both, NOW);
        lane.delivered(&answered)
    }

    /// U37, V3: the late request would put the old e-mail back; the city it carries is still the newest.
    #[test]
    fn what_an_unanswered_request_may_undo_is_asserted_once_more() {
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

    #[test]
    fn an_answer_to_the_same_facts_leaves_nothing_to_assert() {
        let entries = [entry(1, 1, &[("email", "a")])];
        let lane = LaneVersions::default();
        let fold = fold_at(&lane, &entries, NOW);
        let lane = lane.with_unconfirmed(&fold, UNTIL).delivered(&fold);
        assert_eq!(lane.reassert_at(), None);
        // Until it cannot land any more, something newer may still have to be asserted.
        let newer = [entry(2, 2, &[("email", "b")])];
        let lane = lane.clone().delivered(&fold_at(&lane, &newer, NOW));
        assert_eq!(lane.reassert_at(), Some(UNTIL));
    }

    #[test]
    fn an_assertion_carries_what_is_newer_meanwhile() {
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
    fn an_assertion_without_an_answer_is_made_again() {
        let later = UNTIL.after(Duration::from_secs(60));
        let lane = overtaken();
        let unanswered = fold_at(&lane, &[], UNTIL);
        let lane = lane.with_unconfirmed(&unanswered, later);
        assert_eq!(lane.reassert_at(), Some(later));
        assert_eq!(sent(&fold_at(&lane, &[], later)), json!({"email": "new"}));
    }

    /// P07; seed 25195 of the simulation: the assertion landed after what was delivered next.
    #[test]
    fn an_assertion_that_a_process_before_may_have_sent_is_in_doubt() {
        let later = UNTIL.after(Duration::from_secs(60));
        let lane = overtaken().with_possibly_sent(&[], later);
        assert_eq!(lane.reassert_at(), Some(later));
        let newer = [entry(3, 3, &[("email", "newest")])];
        let lane = lane.clone().delivered(&fold_at(&lane, &newer, UNTIL));
        assert_eq!(lane.reassert_at(), Some(later));
        let again = fold_at(&lane, &[], later);
        assert_eq!(sent(&again), json!({"email": "newest"}));
    }

    /// P07: nobody knows which of them the process before had sent.
    #[test]
    fn what_a_process_before_may_have_sent_is_in_doubt() {
        let waiting = [
            entry(1, 1, &[("email", "a")]),
            entry(2, 2, &[("email", "b")]),
        ];
        let candidates: Vec<_> = waiting
            .iter()
            .map(|(version, update)| Candidate {
                version: *version,
                update,
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
    fn lane_versions_read_back_as_they_were() {
        let lane = overtaken();
        let kept = serde_json::to_string(&lane).unwrap();
        assert_eq!(serde_json::from_str::<LaneVersions>(&kept).unwrap(), lane);
    }
}
