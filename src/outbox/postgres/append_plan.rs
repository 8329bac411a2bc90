//! Decides about the events of a group: which are new, which repeat a stored event, and which batches conflict. This
//! module is pure.

use std::collections::HashMap;

use super::keys::EventKeys;
use crate::imprint::{CustomerChange, CustomerRef};
use crate::outbox::{
    Appended, AppendedEntry, ConflictingEvent, Digest, Disposition, EntryId, IgnoreReason,
    NewEntry, ParkReason, State,
};

/// A stored entry with the identity of an event of the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownEvent {
    pub(super) entry: EntryId,
    pub(super) state: State,
    pub(super) digest: Digest,
}

/// A new entry of the group.
pub(super) struct PlannedEntry<'a> {
    pub(super) new: &'a NewEntry,
    pub(super) keys: EventKeys,
    /// True if the bridge ignores the event, because an operator has erased and blocked the customer.
    is_blocked: bool,
}

impl<'a> PlannedEntry<'a> {
    pub(super) const fn state(&self) -> State {
        match &self.new.disposition {
            _ if self.is_blocked => State::Ignored,
            Disposition::Ignore(_) => State::Ignored,
            Disposition::Enqueue(_) => State::Waiting,
            Disposition::Park(..) | Disposition::Invalid(_) => State::Parked,
            Disposition::Hold(_) => State::Held,
        }
    }

    /// Returns the customer change. Returns `None` for an event that is ignored or invalid: it belongs to no lane.
    pub(super) fn change(&self) -> Option<&'a CustomerChange> {
        change(&self.new.disposition).filter(|_| !self.is_blocked)
    }

    pub(super) const fn ignored(&self) -> Option<IgnoreReason> {
        match self.is_blocked {
            true => Some(IgnoreReason::Blocked),
            false => self.new.disposition.ignored(),
        }
    }

    pub(super) fn reason(&self) -> Option<ParkReason> {
        let invalid = self.new.disposition.invalid();
        let invalid = invalid.map(|_| ParkReason::Invalid);
        self.new.disposition.parked().or(invalid)
    }
}

/// Returns the customer change of an event.
pub(super) const fn change(disposition: &Disposition) -> Option<&CustomerChange> {
    match disposition {
        Disposition::Enqueue(change) | Disposition::Park(change, _) | Disposition::Hold(change) => {
            Some(change)
        }
        Disposition::Ignore(_) | Disposition::Invalid(_) => None,
    }
}

/// An entry that has the identity of an event: stored, or new in this group at this place of
/// [`AppendPlan::new`].
#[derive(Clone, Copy)]
enum Earlier {
    Stored(KnownEvent),
    New(usize),
}

enum PlannedAnswer {
    Conflict(Vec<(usize, Option<Earlier>)>),
    /// The entry of each event, and whether the event repeats an earlier event.
    Stored(Vec<(Earlier, bool)>),
}

/// The entries to store, and the answers to the batches.
pub(super) struct AppendPlan<'a> {
    pub(super) new: Vec<PlannedEntry<'a>>,
    answers: Vec<PlannedAnswer>,
}

impl<'a> AppendPlan<'a> {
    /// Plans the batches in their order. A batch with a conflict stores nothing.
    pub(super) fn of(
        batches: &[&'a [NewEntry]],
        keys: &[Vec<EventKeys>],
        stored: &HashMap<EventKeys, KnownEvent>,
        is_blocked: impl Fn(&CustomerRef) -> bool,
    ) -> Self {
        let mut plan = Self {
            new: Vec::new(),
            answers: Vec::with_capacity(batches.len()),
        };
        let mut known: HashMap<EventKeys, Earlier> = stored
            .iter()
            .map(|(keys, stored)| (*keys, Earlier::Stored(*stored)))
            .collect();
        for (batch, keys) in batches.iter().zip(keys) {
            let conflicts = plan.conflicts(batch, keys, &known);
            let answer = match conflicts.is_empty() {
                true => PlannedAnswer::Stored(plan.store(batch, keys, &mut known, &is_blocked)),
                false => PlannedAnswer::Conflict(conflicts),
            };
            plan.answers.push(answer);
        }
        plan
    }

    fn digest(&self, earlier: &Earlier) -> Option<Digest> {
        match earlier {
            Earlier::Stored(stored) => Some(stored.digest),
            Earlier::New(place) => self.new.get(*place).map(|planned| planned.new.digest),
        }
    }

    /// Returns the conflicting events. Such an event has the identity of a stored event or of an earlier event of the
    /// group, but different content.
    fn conflicts(
        &self,
        batch: &[NewEntry],
        keys: &[EventKeys],
        known: &HashMap<EventKeys, Earlier>,
    ) -> Vec<(usize, Option<Earlier>)> {
        let mut first: HashMap<EventKeys, Digest> = HashMap::new();
        let mut conflicts = Vec::new();
        for (place, (new, keys)) in batch.iter().zip(keys).enumerate() {
            let earlier = known.get(keys).copied();
            let digest = earlier.as_ref().and_then(|earlier| self.digest(earlier));
            let digest = digest.unwrap_or(new.digest);
            if *first.entry(*keys).or_insert(digest) != new.digest {
                conflicts.push((place, earlier));
            }
        }
        conflicts
    }

    fn store(
        &mut self,
        batch: &'a [NewEntry],
        keys: &[EventKeys],
        known: &mut HashMap<EventKeys, Earlier>,
        is_blocked: &impl Fn(&CustomerRef) -> bool,
    ) -> Vec<(Earlier, bool)> {
        let mut stored = Vec::with_capacity(batch.len());
        for (new, keys) in batch.iter().zip(keys) {
            if let Some(earlier) = known.get(keys) {
                stored.push((*earlier, true));
                continue;
            }
            let entry = Earlier::New(self.new.len());
            known.insert(*keys, entry);
            stored.push((entry, false));
            self.new.push(PlannedEntry {
                new,
                keys: *keys,
                is_blocked: change(&new.disposition)
                    .is_some_and(|change| is_blocked(&change.customer)),
            });
        }
        stored
    }

    /// Returns the answers to the batches, after the new entries have got these numbers.
    pub(super) fn answers(&self, numbers: &[u64]) -> Vec<Appended> {
        let entry = |earlier: &Earlier| match earlier {
            Earlier::Stored(stored) => (stored.entry, stored.state),
            Earlier::New(place) => {
                let number = numbers.get(*place).copied().unwrap_or_default();
                let state = self.new.get(*place).map(PlannedEntry::state);
                (EntryId(number), state.unwrap_or(State::Waiting))
            }
        };
        let answer = |answer: &PlannedAnswer| match answer {
            PlannedAnswer::Conflict(conflicts) => {
                let conflicts = conflicts.iter().map(|(place, earlier)| ConflictingEvent {
                    place: *place,
                    earlier: earlier.as_ref().map(|earlier| entry(earlier).0),
                });
                Appended::Conflict(conflicts.collect())
            }
            PlannedAnswer::Stored(stored) => {
                let stored = stored.iter().map(|(earlier, duplicate)| {
                    let (entry, state) = entry(earlier);
                    AppendedEntry {
                        entry,
                        state,
                        duplicate: *duplicate,
                    }
                });
                Appended::Stored(stored.collect())
            }
        };
        self.answers.iter().map(answer).collect()
    }
}
