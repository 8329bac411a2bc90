//! The oracle's ledger of the erased customers: their events, the versions that must not come back, and the blocked customers.

use std::collections::{BTreeMap, BTreeSet};

use imprint_bridge::event::Version;
use imprint_bridge::imprint::CustomerRef;
use imprint_bridge::outbox::LaterEvents;

use super::imprint::named;
use super::oracle::{Law, Violation, violation};
use super::plan::{Event, Plan};

/// The arrival of a version floor: an event with the version of an erased value does not count as newer.
pub(super) const FLOOR: u64 = u64::MAX / 2;

/// One field of one customer, as indexes in the simulation plan.
type Place = (usize, usize);

#[derive(Debug, Default)]
pub(super) struct Erasures {
    /// The erased events.
    pub(super) events: BTreeSet<usize>,
    /// The newest erased version of each field.
    floors: BTreeMap<Place, Version>,
    /// The newest version of each field that the erasure possibly keeps back.
    possible: BTreeMap<Place, Version>,
    /// The erased events with the fields that an earlier erasure kept back.
    kept_back: BTreeSet<(usize, usize)>,
    /// The customers whose later events the bridge ignores.
    blocked: BTreeSet<usize>,
}

impl Erasures {
    pub(super) fn is_blocked(&self, person: usize) -> bool {
        self.blocked.contains(&person)
    }

    pub(super) fn block(&mut self, person: usize, later: LaterEvents) {
        match later {
            LaterEvents::Ignored => _ = self.blocked.insert(person),
            LaterEvents::Delivered => _ = self.blocked.remove(&person),
        }
    }

    /// Records that an event of a customer is erased.
    pub(super) fn erase(
        &mut self,
        (person, event): (usize, usize),
        fields: impl Iterator<Item = usize>,
        version: Version,
    ) {
        if self.events.contains(&event) {
            return;
        }
        for field in fields {
            if self.is_below((person, field), version) {
                self.kept_back.insert((event, field));
            }
        }
        self.events.insert(event);
    }

    /// Returns whether an erasure possibly kept back the value of an event for a field.
    pub(super) fn keeps_back(&self, event: usize, place: Place, version: Version) -> bool {
        self.kept_back.contains(&(event, place.1))
            || !self.events.contains(&event) && self.is_below(place, version)
    }

    /// Records that no value up to this version may come back.
    pub(super) fn raise(&mut self, place: Place, version: Version) {
        // A version that the source did not give orders nothing.
        if version.value == 0 {
            return;
        }
        let erased = Version {
            arrival: FLOOR,
            ..version
        };
        for floors in [&mut self.floors, &mut self.possible] {
            let floor = floors.entry(place).or_insert(erased);
            *floor = erased.max(*floor);
        }
    }

    /// Records the version of an event that the bridge ignored: only the fields that the event clears have this version.
    pub(super) fn suspect(&mut self, person: usize, event: &Event, version: Version) {
        let erased = Version {
            arrival: FLOOR,
            ..version
        };
        for (field, _) in event.values.iter().filter(|_| version.value != 0) {
            let floor = self.possible.entry((person, *field)).or_insert(erased);
            *floor = erased.max(*floor);
        }
    }

    /// Records that an entry moved to the lane of another customer, and brought the version floors of its lane along.
    pub(super) fn carry(&mut self, from: impl Iterator<Item = usize>, to: usize) {
        let from: BTreeSet<usize> = from.filter(|from| *from != to).collect();
        let floors = self.possible.iter();
        let carried = floors.filter(|((person, _), _)| from.contains(person));
        let carried: Vec<_> = carried
            .map(|((_, field), floor)| (*field, *floor))
            .collect();
        for (field, floor) in carried {
            let possible = self.possible.entry((to, field)).or_insert(floor);
            *possible = floor.max(*possible);
        }
    }

    /// Returns whether a version of a field is possibly not newer than the erased versions.
    pub(super) fn is_below(&self, place: Place, version: Version) -> bool {
        self.possible
            .get(&place)
            .is_some_and(|floor| version < *floor)
    }

    /// Checks that the value of an event may be sent.
    pub(super) fn allow(
        &self,
        place: Place,
        event: usize,
        version: Version,
    ) -> Result<(), Violation> {
        if self.events.contains(&event) {
            return violation(Law::Erased, format!("the erased event {event} is sent"));
        }
        if self
            .floors
            .get(&place)
            .is_some_and(|floor| version < *floor)
        {
            let what = format!("event {event} is not newer than the erased values at {place:?}");
            return violation(Law::Erased, what);
        }
        Ok(())
    }
}

/// Returns the customers whose ids an event names.
pub(super) fn owners(plan: &Plan, customer: &CustomerRef) -> Vec<usize> {
    let partner = customer.partner();
    let mut people = plan.people.iter();
    let by_partner = partner
        .and_then(|partner| people.position(|person| person.partner.as_ref() == Some(partner)));
    named(plan, customer)
        .into_iter()
        .chain(by_partner)
        .collect()
}
