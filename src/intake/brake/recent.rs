//! The customers whose field a source changed within a window of time, for one field. This module is pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Attribute, Identity};
use crate::time::Timestamp;

/// The part of the window within which the same change of the same customer does not move the customer to the end of the
/// list: the window is exact to this part.
const WINDOW_PARTS: u32 = 60;

/// The digest of a customer or of a value, with the key of the process.
pub(super) type BrakeDigest = u64;

/// What an event writes into a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Written {
    /// A value that the brake does not compare.
    Other,
    /// The event clears the field.
    Cleared,
    /// A value that the brake compares between customers.
    Value(BrakeDigest),
}

/// The newest change of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    at: Timestamp,
    /// The number of the change in the order of arrival.
    number: u64,
    written: Written,
    /// The newest change of the customer that passed the brake: this one or, if the brake holds it, an earlier one.
    passed: Option<PassedMark>,
    /// True if several changes of the customer have this mark.
    is_shared: bool,
}

/// An event that passed the brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PassedMark {
    at: Timestamp,
    written: Written,
    event: BrakeDigest,
}

/// The changes of a field that passed the brake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedChanges {
    pub customers: usize,
    /// The time of the oldest of the changes.
    pub since: Option<Timestamp>,
    /// The time of the newest of the changes. It can be later than the time of the first held change: the brake counts a large
    /// request that arrived earlier after small ones.
    pub until: Option<Timestamp>,
    /// The events with the changes, one for each customer.
    pub events: PassedEvents,
}

/// Events that passed the brake, as digests.
#[derive(Clone, Debug, Default)]
pub struct PassedEvents {
    digests: RandomState,
    events: Arc<HashSet<BrakeDigest>>,
}

impl PassedEvents {
    /// Returns whether the event is one of these events.
    pub fn contains(&self, event: &Identity) -> bool {
        self.events.contains(&event_digest(&self.digests, event))
    }
}

impl PartialEq for PassedEvents {
    fn eq(&self, other: &Self) -> bool {
        self.events == other.events
    }
}

impl Eq for PassedEvents {}

/// Returns the digest of an event of a source.
pub(super) fn event_digest(digests: &RandomState, event: &Identity) -> BrakeDigest {
    let ce_source = event.ce_source.as_ref().map(Attribute::as_str);
    digests.hash_one((ce_source, event.id.as_str()))
}

/// A change in [`RecentChanges`] that can be undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddedChange {
    customer: BrakeDigest,
    number: u64,
    previous: Option<Mark>,
    /// The customer who left the list because the list was full.
    evicted: Option<(BrakeDigest, Mark)>,
}

/// The customers with the newest changes of one field, each once. The length of the list is limited: to know whether more
/// than N customers changed, the newest N + 1 customers are enough.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentChanges {
    marks: HashMap<BrakeDigest, Mark>,
    /// The customers by the number of their newest change, the oldest change first.
    order: BTreeMap<u64, BrakeDigest>,
    /// The number of customers by what was written, without [`Written::Other`].
    written: HashMap<Written, usize>,
}

impl RecentChanges {
    /// Removes the customers whose newest change is not within the window any more.
    pub(super) fn expire(&mut self, now: Timestamp, window: Duration) {
        while let Some((_, customer)) = self.order.first_key_value() {
            let mark = self.marks.get(customer);
            if mark.is_some_and(|mark| now.since(mark.at) < window) {
                return;
            }
            let customer = *customer;
            self.remove(customer);
        }
    }

    /// Adds a change of a customer. `number` is greater than the numbers of all earlier changes. Keeps at most `kept_max`
    /// customers. Returns `None` if the list already has the change.
    pub(super) fn add(
        &mut self,
        (customer, written, event): (BrakeDigest, Written, BrakeDigest),
        (at, number): (Timestamp, u64),
        (window, kept_max): (Duration, usize),
    ) -> Option<AddedChange> {
        let known = self.marks.get_mut(&customer);
        let is_known =
            |mark: &&mut Mark| mark.written == written && at.since(mark.at) < window / WINDOW_PARTS;
        if let Some(mark) = known.filter(is_known) {
            // The mark now belongs to this change too: the undo of an earlier change must not remove it.
            mark.is_shared = true;
            return None;
        }
        let previous = self.remove(customer);
        let oldest = self.order.first_key_value();
        let oldest = oldest.map(|(_, customer)| *customer);
        let evicted = match oldest.filter(|_| self.marks.len() >= kept_max) {
            Some(oldest) => self.remove(oldest).map(|mark| (oldest, mark)),
            None => None,
        };
        let mark = Mark {
            at,
            number,
            written,
            passed: Some(PassedMark { at, written, event }),
            is_shared: false,
        };
        self.insert(customer, mark);
        Some(AddedChange {
            customer,
            number,
            previous,
            evicted,
        })
    }

    /// Records that the brake holds a change. If an earlier change of the customer passed, it has passed still.
    pub(super) fn hold(&mut self, change: &AddedChange) {
        let mark = self.marks.get_mut(&change.customer);
        if let Some(mark) = mark.filter(|mark| mark.number == change.number) {
            mark.passed = change.previous.and_then(|earlier| earlier.passed);
        }
    }

    /// Returns the changes that passed, of those that wrote something of this kind.
    pub(super) fn passed(
        &self,
        digests: &RandomState,
        is_alike: impl Fn(Written) -> bool,
    ) -> PassedChanges {
        let passed = self.marks.values().filter_map(|mark| mark.passed);
        let passed: Vec<PassedMark> = passed.filter(|passed| is_alike(passed.written)).collect();
        PassedChanges {
            customers: passed.len(),
            since: passed.iter().map(|passed| passed.at).min(),
            until: passed.iter().map(|passed| passed.at).max(),
            events: PassedEvents {
                digests: digests.clone(),
                events: Arc::new(passed.iter().map(|passed| passed.event).collect()),
            },
        }
    }

    /// Undoes a change, unless the customer has a newer change or another change has the same mark.
    pub(super) fn undo(&mut self, change: &AddedChange) {
        let mark = self.marks.get(&change.customer);
        if mark.is_none_or(|mark| mark.number != change.number || mark.is_shared) {
            return;
        }
        self.remove(change.customer);
        if let Some(previous) = change.previous {
            self.insert(change.customer, previous);
        }
        if let Some((evicted, mark)) = change.evicted
            && !self.marks.contains_key(&evicted)
        {
            self.insert(evicted, mark);
        }
    }

    /// Returns the number of customers.
    pub(super) fn customers(&self) -> usize {
        self.marks.len()
    }

    /// Returns the number of customers whose newest change wrote this.
    pub(super) fn customers_with(&self, written: Written) -> usize {
        self.written.get(&written).copied().unwrap_or_default()
    }

    fn insert(&mut self, customer: BrakeDigest, mark: Mark) {
        self.marks.insert(customer, mark);
        self.order.insert(mark.number, customer);
        if mark.written != Written::Other {
            *self.written.entry(mark.written).or_default() += 1;
        }
    }

    fn remove(&mut self, customer: BrakeDigest) -> Option<Mark> {
        let mark = self.marks.remove(&customer)?;
        self.order.remove(&mark.number);
        if let Some(count) = self.written.get_mut(&mark.written) {
            *count -= 1;
            if *count == 0 {
                self.written.remove(&mark.written);
            }
        }
        Some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn add(recent: &mut RecentChanges, customer: u64, number: u64) -> Option<AddedChange> {
        let seconds = i64::try_from(number).unwrap();
        let written = Written::Value(customer % 2);
        recent.add((customer, written, 0), (at(seconds), number), (WINDOW, 3))
    }

    #[test]
    fn a_customer_counts_once_and_leaves_after_the_window() {
        let mut recent = RecentChanges::default();
        for (number, customer) in [(0, 1), (10, 2), (20, 1)] {
            add(&mut recent, customer, number).unwrap();
        }
        assert_eq!(recent.customers(), 2);
        recent.expire(at(69), WINDOW);
        assert_eq!(recent.customers(), 2);
        recent.expire(at(70), WINDOW);
        assert_eq!(recent.customers_with(Written::Value(0)), 0);
        assert_eq!(recent.customers_with(Written::Value(1)), 1);
        recent.expire(at(80), WINDOW);
        assert_eq!((recent.customers(), recent.written.len()), (0, 0));
    }

    #[test]
    fn the_list_keeps_the_newest_customers() {
        let mut recent = RecentChanges::default();
        for number in 0..100 {
            add(&mut recent, number, number);
        }
        assert_eq!((recent.customers(), recent.order.len()), (3, 3));
        recent.expire(at(99 + 58), WINDOW);
        assert_eq!(recent.customers(), 2, "97 has left, 98 and 99 have not");
    }

    #[test]
    fn an_undone_change_leaves_the_list_as_it_was() {
        let mut recent = RecentChanges::default();
        for number in 0..3 {
            add(&mut recent, number, number);
        }
        let before = recent.clone();
        let changes = [(1, 10), (7, 11), (8, 12), (7, 13)]
            .map(|(customer, number)| add(&mut recent, customer, number).unwrap());
        for change in changes.iter().rev() {
            recent.undo(change);
        }
        assert_eq!(recent.order, before.order);
        assert_eq!(recent.marks, before.marks);
        assert_eq!(recent.written, before.written);
    }

    #[test]
    fn a_newer_change_of_the_customer_stays() {
        let mut recent = RecentChanges::default();
        let first = add(&mut recent, 1, 0).unwrap();
        add(&mut recent, 1, 30).unwrap();
        recent.undo(&first);
        assert_eq!(recent.customers(), 1);
    }

    #[test]
    fn the_same_change_a_moment_later_changes_nothing() {
        let mut recent = RecentChanges::default();
        let mut add = |millis, written| {
            let at = Timestamp::from_millis(millis);
            let number = u64::try_from(millis).unwrap();
            let added = recent.add((1, written, 0), (at, number), (WINDOW, 3));
            added.is_some()
        };
        assert!(add(0, Written::Other));
        assert!(!add(999, Written::Other));
        assert!(add(999, Written::Cleared));
        assert!(add(2_000, Written::Cleared));
    }
}
