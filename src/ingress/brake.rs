//! The mass-change brake in the event listener: holds the entries of a source that changes the same field of unusually many
//! customers in a short time. A faulty import must not reach all customers before an operator can stop it.
//!
//! A held entry waits until an operator releases or discards it. It blocks only its own fields: other entries of the
//! customer go on, and versions decide which value wins.
//!
//! - The entries up to a limit pass. The entry that exceeds the limit and the later entries of the same kind are held, also
//!   within one batch. Other fields and other sources go on.
//! - A repeated event does not count, and neither do the events of a request with a conflict.
//! - An entry that is parked or ignored on arrival does not count, because it sends nothing. A replay is an operator's
//!   decision and does not pass the brake.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::intake::{
    BrakeCounts, BrakeLimits, BrakePolicy, BrakeState, CountedEntry, HeldChange, MassChange,
};
use crate::outbox::{AppendedEntry, Disposition, NewEntry, State};
use crate::time::Timestamp;

/// The brake of one source, with its counts.
#[derive(Clone, Debug)]
pub struct SourceBrake {
    policy: BrakePolicy,
    /// All sets of sources share the counts: a changed source file does not begin them with nothing. Each use locks them
    /// only for one request, and never across an await.
    counts: Arc<Mutex<BrakeCounts>>,
}

impl SourceBrake {
    /// Creates a brake that has counted nothing yet.
    pub fn new(policy: BrakePolicy) -> Self {
        Self {
            policy,
            counts: Arc::default(),
        }
    }

    /// Returns a brake with another policy and the same counts.
    #[must_use]
    pub fn with_policy(&self, policy: BrakePolicy) -> Self {
        Self {
            policy,
            counts: Arc::clone(&self.counts),
        }
    }

    /// Returns the state of the brake.
    pub fn state(&self, now: Timestamp) -> BrakeState {
        let counts = self.counts();
        let [holding, ended] = match self.policy {
            BrakePolicy::Off => Default::default(),
            BrakePolicy::On(limits) => counts.holding(limits.window, now),
        };
        BrakeState {
            policy: self.policy,
            bridges: counts.bridges(),
            open_until: counts.open_until(now),
            holding,
            ended,
        }
    }

    /// Opens the brake or closes it. An open brake holds nothing and counts nothing until its time.
    pub fn set_open_until(&self, until: Option<Timestamp>) {
        self.counts().set_open_until(until);
    }

    /// Sets the number of bridges that divide the limits between them.
    pub fn set_bridges(&self, bridges: NonZeroUsize, now: Timestamp) {
        self.counts().set_bridges(bridges, now);
    }

    /// Counts the entries of a request. Returns the entries, and marks those that exceed a limit as held.
    pub(super) fn apply(
        &self,
        mut entries: Vec<NewEntry>,
        now: Timestamp,
    ) -> (Vec<NewEntry>, BrakedRequest<'_>) {
        let mut counted = Vec::new();
        if let BrakePolicy::On(limits) = &self.policy {
            let mut counts = self.counts();
            let count = |entry: &mut NewEntry| count_or_hold(entry, &mut counts, (limits, now));
            counted = entries.iter_mut().map(count).collect();
        }
        let request = BrakedRequest {
            brake: self,
            counted,
        };
        (entries, request)
    }

    fn counts(&self) -> MutexGuard<'_, BrakeCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an entry, and marks the entry as held if it exceeds a limit.
fn count_or_hold(
    entry: &mut NewEntry,
    counts: &mut BrakeCounts,
    (limits, now): (&BrakeLimits, Timestamp),
) -> CountedEntry {
    let Disposition::Enqueue(change) = &entry.disposition else {
        return CountedEntry::default();
    };
    let counted = counts.count(limits, (&entry.identity, change), now);
    if counted.held.is_some() {
        entry.disposition = Disposition::Hold(change.clone());
    }
    counted
}

/// The counts of the entries of a request, in the order of the entries. The counts stay if the value is dropped, because the
/// store possibly stores the entries also after the sender has hung up or the store has answered too late. A sender that
/// repeats the request changes the same customers, and each customer counts once.
pub(super) struct BrakedRequest<'b> {
    brake: &'b SourceBrake,
    /// Empty if the brake is off.
    counted: Vec<CountedEntry>,
}

impl BrakedRequest<'_> {
    /// Undoes the counts of all entries, because the store has stored no entry.
    pub(super) fn undo(&self) {
        if !self.counted.is_empty() {
            self.brake.counts().undo(self.counted.iter());
        }
    }

    /// Undoes the counts of the repeated events, and records the held entries. Returns the mass changes of which the store
    /// has stored the first entry.
    pub(super) fn stored(&self, stored: &[AppendedEntry], now: Timestamp) -> Vec<&MassChange> {
        let BrakePolicy::On(limits) = &self.brake.policy else {
            return Vec::new();
        };
        let pairs = self.counted.iter().zip(stored);
        let (repeated, new): (Vec<_>, Vec<_>) = pairs.partition(|(_, stored)| stored.duplicate);
        let held = new
            .into_iter()
            .filter(|(_, stored)| stored.state == State::Held);
        let held = held.filter_map(|(counted, _)| counted.held.as_ref());
        let held: Vec<&HeldChange> = held.collect();
        if repeated.is_empty() && held.is_empty() {
            return Vec::new();
        }
        let mut counts = self.brake.counts();
        counts.undo(repeated.into_iter().map(|(counted, _)| counted));
        let held = held.into_iter();
        held.filter(|held| counts.record_held(held, limits.window, now))
            .map(|held| &held.kind)
            .collect()
    }
}
