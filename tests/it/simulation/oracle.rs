//! The oracle of delivery checks the accepted events, the sent and applied values, and the end of each entry.
//!
//! The oracle keeps its own ledger. It does not know folds, lanes or retries, but only the laws that the results of
//! delivery must obey.

use std::collections::{BTreeMap, BTreeSet};

use imprint_bridge::event::Version;
use imprint_bridge::imprint::clearing::{AddressClearing, FieldClearing};
use imprint_bridge::outbox::{
    AppendedEntry, Depth, Ending, EntryId, LaterEvents, Moved, ParkReason, Receipt, Settlement,
    State,
};

use super::erasures::{Erasures, FLOOR, owners};
use super::imprint::{Imprint, SentValue, is_line, named};
use super::plan::{Clears, Event, FIELDS, Plan, Stated, millis};
use super::world::deliveries::Attempt;

/// A law of delivery that the simulation checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    /// FAULTS V1: every accepted event is in exactly one state, and the recorded state is true.
    NoLoss,
    /// FAULTS V2: every sent value comes from an accepted event of the same customer.
    NoInvention,
    /// FAULTS V3: the bridge sends no older value after a newer one, and in the end Imprint holds the newest value of
    /// each field.
    Order,
    /// FAULTS V4: the bridge sends a value again only after a failure or an unknown outcome.
    Repeats,
    /// FAULTS V8: after the last fault, every waiting entry ends.
    Live,
    /// FAULTS V9: a fault of one customer neither delays nor parks the entries of another customer.
    Isolated,
    /// FAULTS V10: the store counts waiting and parked entries correctly.
    Truthful,
    /// Law: each lane has at most one request in flight.
    OneInFlight,
    /// Law: within any second, the bridge sends at most as many requests as the rate and its burst allow.
    Pace,
    /// Law: except for probes, the bridge sends no request while Imprint is down, refuses the API key or asked for a
    /// wait, or while the operator paused or shadowed the destination.
    LeftAlone,
    /// FAULTS N843: an erased event never comes back, no value up to an erased version is sent, and the erasure of a
    /// customer touches no other customer.
    Erased,
}

#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) law: Law,
    pub(super) what: String,
}

pub(super) fn violation<T>(law: Law, what: String) -> Result<T, Violation> {
    Err(Violation { law, what })
}

/// One field of one customer, as indexes in the simulation plan.
type Place = (usize, usize);

/// The oracle's own ledger of a simulation run.
#[derive(Debug)]
pub(super) struct Oracle<'p> {
    plan: &'p Plan,
    /// The accepted events, by index in the plan.
    kept: BTreeMap<usize, Line>,
    by_entry: BTreeMap<EntryId, usize>,
    pub(super) waiting: u64,
    parked: u64,
    /// The newest version of each field for which an applied request was settled.
    confirmed: BTreeMap<Place, Version>,
    /// For each field, the events whose value Imprint has applied.
    landed: BTreeMap<Place, BTreeSet<usize>>,
    /// The number of requests that sent the value of an event, and the number of these requests that were not applied.
    sends: BTreeMap<(Place, usize), (u32, u32)>,
    /// The number of requests per customer with an unknown outcome. Each unknown outcome allows one more request with
    /// the same values.
    /// same values.
    doubts: BTreeMap<usize, u32>,
    crashes: u32,
    /// The events whose entries left their lane undelivered, until their replay: the operator withdrew the entries while
    /// they waited, or the bridge parked or ignored them, or they became undecided.
    withdrawn: BTreeSet<usize>,
    /// The customers that events named, and whose lanes the bridge moved the entries of these events from.
    moved: BTreeSet<(usize, usize)>,
    /// For each field, the withdrawn and moved events after whose withdrawal or move Imprint applied another value.
    /// Imprint must not have the value of such an event in the end.
    overruled: BTreeMap<Place, BTreeSet<usize>>,
    /// The events whose receipts retention has deleted.
    forgotten: BTreeSet<usize>,
    erasures: Erasures,
}

/// A line of the oracle's ledger: an accepted event.
#[derive(Clone, Debug)]
struct Line {
    entry: EntryId,
    version: Version,
    state: State,
    reason: Option<ParkReason>,
    accepted_at: i64,
    /// The customer of the event. The value is `None` while the simulation does not know the customer.
    person: Option<usize>,
}

impl<'p> Oracle<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            kept: BTreeMap::new(),
            by_entry: BTreeMap::new(),
            waiting: 0,
            parked: 0,
            confirmed: BTreeMap::new(),
            landed: BTreeMap::new(),
            sends: BTreeMap::new(),
            doubts: BTreeMap::new(),
            crashes: 0,
            withdrawn: BTreeSet::new(),
            moved: BTreeSet::new(),
            overruled: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            erasures: Erasures::default(),
        }
    }

    /// Records the events whose receipts retention has deleted. A receipt of an entry that has not ended is not deleted.
    pub(super) fn forget(&mut self, is_deleted: impl Fn(usize) -> bool) {
        let ended = self.kept.iter().filter(|(_, line)| line.state.is_final());
        let deleted = ended.map(|(event, _)| *event).filter(|it| is_deleted(*it));
        self.forgotten.extend(deleted);
    }

    pub(super) fn is_forgotten(&self, event: usize) -> bool {
        self.forgotten.contains(&event)
    }

    /// Records an event that the bridge answered with 2xx.
    pub(super) fn accepted(
        &mut self,
        event: usize,
        kept: AppendedEntry,
        now: i64,
    ) -> Result<(), Violation> {
        let stated = &self.plan.events[event];
        if let Some(line) = self.kept.get(&event) {
            if !kept.duplicate || kept.entry != line.entry || kept.state != line.state {
                let what = format!("event {event} was {line:?} and is kept as {kept:?}");
                return violation(Law::NoLoss, what);
            }
            return Ok(());
        }
        let owners = owners(self.plan, &stated.customer);
        let state = match owners
            .iter()
            .any(|person| self.erasures.is_blocked(*person))
        {
            true => State::Ignored,
            false => State::Waiting,
        };
        if kept.duplicate || kept.state != state {
            return violation(Law::NoLoss, format!("event {event} is new, and {kept:?}"));
        }
        let version = Version {
            epoch: stated.epoch,
            value: stated.value,
            arrival: kept.entry.0,
        };
        let line = Line {
            entry: kept.entry,
            version,
            state,
            reason: None,
            accepted_at: now,
            person: named(self.plan, &stated.customer),
        };
        self.kept.insert(event, line);
        self.by_entry.insert(kept.entry, event);
        self.waiting += u64::from(state == State::Waiting);
        Ok(())
    }

    fn version(&self, event: usize) -> Option<Version> {
        self.kept.get(&event).map(|line| line.version)
    }

    /// Returns the newest version of each field of a customer in the waiting entries that a claim has read.
    pub(super) fn newest_waiting(
        &self,
        person: usize,
        read: &BTreeSet<EntryId>,
    ) -> BTreeMap<usize, Version> {
        let mut newest: BTreeMap<usize, Version> = BTreeMap::new();
        for (event, line) in &self.kept {
            let event = &self.plan.events[*event];
            // An event with the ids of two customers may park instead of being sent.
            let is_read = line.state == State::Waiting && read.contains(&line.entry);
            if !is_read || line.person != Some(person) || event.is_false_pair {
                continue;
            }
            for (field, _) in &event.values {
                let newest = newest.entry(*field).or_insert(line.version);
                *newest = line.version.max(*newest);
            }
        }
        newest
    }

    /// Checks an update that the bridge sends to a customer. `newest` holds the customer's newest waiting versions at
    /// the claim.
    pub(super) fn sent(
        &mut self,
        person: usize,
        said: &[(usize, SentValue)],
        newest: Option<&BTreeMap<usize, Version>>,
    ) -> Result<(), Violation> {
        for (field, said) in said {
            let place = (person, *field);
            let SentValue::Of(event) = said else {
                self.is_cleared(place)?;
                continue;
            };
            let version = self.original(place, *event)?;
            self.erasures.allow(place, *event, version)?;
            let confirmed = self.confirmed.get(&place).copied();
            if confirmed.is_some_and(|confirmed| version < confirmed) {
                let what = format!("event {event} sent after {confirmed:?} at {place:?}");
                return violation(Law::Order, what);
            }
            let newer = newest.and_then(|newest| newest.get(field));
            if newer.is_some_and(|newer| version < *newer) && confirmed != Some(version) {
                let what = format!("event {event} sent while {newer:?} waits at {place:?}");
                return violation(Law::Order, what);
            }
            // A request may have carried a part of an entry that waits for its other values.
            if self.withdrawn.contains(event) && confirmed != Some(version) {
                let what = format!("event {event} sent after its withdrawal at {place:?}");
                return violation(Law::Order, what);
            }
            self.sends.entry((place, *event)).or_default().0 += 1;
        }
        Ok(())
    }

    /// Checks FAULTS V2: the event of a sent value was accepted, sets this field, and is about this customer.
    fn original(&self, (person, field): Place, event: usize) -> Result<Version, Violation> {
        let version = self.version(event);
        let says_it = |event: &Event| event.values.contains(&(field, Stated::Set));
        let is_of = self.kept.get(&event).map(|line| line.person) == Some(Some(person));
        match (version, self.plan.events.get(event)) {
            (Some(version), Some(original)) if says_it(original) && is_of => Ok(version),
            _ => violation(
                Law::NoInvention,
                format!(
                    "customer {person} is told {} of event {event}",
                    FIELDS[field]
                ),
            ),
        }
    }

    fn is_cleared(&self, (person, field): Place) -> Result<(), Violation> {
        let mut kept = self.kept.iter();
        let is_said = kept.any(|(event, line)| {
            let values = &self.plan.events[*event].values;
            line.person == Some(person) && values.contains(&(field, Stated::Cleared))
        });
        if is_said {
            return Ok(());
        }
        let what = format!("customer {person}: nobody cleared {}", FIELDS[field]);
        violation(Law::NoInvention, what)
    }

    /// Records an update that Imprint has applied.
    pub(super) fn applied(&mut self, person: usize, said: &[(usize, SentValue)]) {
        for (field, said) in said {
            if let SentValue::Of(event) = said {
                let landed = self.landed.entry((person, *field)).or_default();
                landed.insert(*event);
            }
        }
    }

    /// Checks the settlement of a delivery: every recorded ending must be true.
    pub(super) fn settled(
        &mut self,
        settlement: &Settlement,
        attempt: &Attempt,
    ) -> Result<(), Violation> {
        // The echo shows that the values reached a customer that no event names.
        let is_misdirected = settlement.endings.iter().any(|(_, ending)| {
            let Ending::Parked { reason, detail } = ending else {
                return false;
            };
            *reason == ParkReason::IdentityConflict && detail.is_some()
        });
        self.concluded(attempt, is_misdirected);
        for (entry, ending) in &settlement.endings {
            self.ended(*entry, ending)?;
        }
        if let Some(moved) = &settlement.moved {
            self.moved(moved);
        }
        Ok(())
    }

    /// Records that entries moved to the lane of another customer, or ended because the customer is blocked.
    fn moved(&mut self, moved: &Moved) {
        let to = super::imprint::person(self.plan, &moved.to);
        let is_blocked = to.is_some_and(|person| self.erasures.is_blocked(person));
        let whose = |entry| self.by_entry.get(entry).copied();
        let events: Vec<usize> = moved.entries.iter().filter_map(whose).collect();
        for event in events {
            let Some(line) = self.kept.get_mut(&event) else {
                continue;
            };
            if is_blocked {
                line.state = State::Ignored;
                self.waiting -= 1;
                self.withdrawn.insert(event);
                continue;
            }
            let from = std::mem::replace(&mut line.person, to);
            self.moved.extend(from.map(|from| (from, event)));
            let owners = owners(self.plan, &self.plan.events[event].customer);
            if let Some(to) = to {
                self.erasures.carry(owners.into_iter().chain(from), to);
            }
        }
    }

    /// Records for each sent value of a delivery whether Imprint applied the value.
    fn concluded(&mut self, attempt: &Attempt, is_misdirected: bool) {
        let Some(person) = attempt.person else { return };
        // Imprint's echo shows that an event names another customer too: its values count as not delivered, and the
        // other events of the request are sent again.
        let is_false = |(_, said): &(usize, SentValue)| match said {
            SentValue::Of(event) => {
                let event = &self.plan.events[*event];
                event.is_false_pair && named(self.plan, &event.customer) == Some(person)
            }
            SentValue::Empty => false,
        };
        let is_false = is_misdirected || attempt.sent.iter().any(is_false);
        let is_applied = attempt.is_applied && !is_false;
        if attempt.is_unknown {
            *self.doubts.entry(person).or_default() += 1;
        }
        for (field, said) in &attempt.sent {
            let SentValue::Of(event) = said else { continue };
            let place = (person, *field);
            if !is_applied {
                self.sends.entry((place, *event)).or_default().1 += 1;
            } else if let Some(version) = self.version(*event) {
                let confirmed = self.confirmed.entry(place).or_insert(version);
                *confirmed = version.max(*confirmed);
                let moved = self.moved.iter().filter(|(from, _)| *from == person);
                let left = self.withdrawn.iter().chain(moved.map(|(_, other)| other));
                let overruled = self.overruled.entry(place).or_default();
                overruled.extend(left.filter(|other| *other != event));
            }
        }
    }

    /// Records that a process ended before it knew the result of a request with these values.
    pub(super) fn orphaned(&mut self, person: usize, said: &[(usize, SentValue)]) {
        for (field, said) in said {
            if let SentValue::Of(event) = said {
                self.sends.entry(((person, *field), *event)).or_default().1 += 1;
            }
        }
    }

    pub(super) const fn crashed(&mut self) {
        self.crashes += 1;
    }

    fn ended(&mut self, entry: EntryId, ending: &Ending) -> Result<(), Violation> {
        let event = self.by_entry.get(&entry).copied();
        let Some((event, line)) = event.and_then(|event| Some((event, self.kept.get(&event)?)))
        else {
            let what = format!("entry {entry} ends and was never accepted");
            return violation(Law::NoLoss, what);
        };
        if line.state != State::Waiting {
            let what = format!(
                "event {event} is {:?} and ends again: {ending:?}",
                line.state
            );
            return violation(Law::NoLoss, what);
        }
        self.is_true(event, line, ending)?;
        let line = self.kept.get_mut(&event).expect("it was there");
        line.state = ending.state();
        self.waiting -= 1;
        match ending {
            Ending::Delivered | Ending::Superseded(_) => {}
            Ending::Parked { .. } | Ending::Ignored(_) | Ending::Undecided => {
                self.withdrawn.insert(event);
            }
        }
        if let Ending::Parked { reason, .. } = ending {
            line.reason = Some(*reason);
            self.parked += 1;
        }
        Ok(())
    }

    /// Checks FAULTS V1: the recorded ending of an entry is true.
    fn is_true(&self, event: usize, line: &Line, ending: &Ending) -> Result<(), Violation> {
        let stated = &self.plan.events[event];
        let is_true = match ending {
            Ending::Delivered => stated
                .values
                .iter()
                .all(|(field, _)| self.has((line, stated), *field)),
            // A version floor of an erased customer is newer.
            Ending::Superseded(EntryId(FLOOR)) => self.is_below_a_floor(line, stated),
            Ending::Superseded(winner) => {
                let winner = self.by_entry.get(winner);
                let winner = winner.and_then(|winner| self.kept.get(winner));
                winner.is_some_and(|winner| {
                    winner.version > line.version && winner.person == line.person
                }) && stated
                    .values
                    .iter()
                    .all(|(field, _)| self.has((line, stated), *field))
            }
            Ending::Ignored(_) => {
                let mut values = stated.values.iter();
                let says_nothing = values
                    .all(|(field, s)| *s == Stated::Cleared || self.has((line, stated), *field));
                says_nothing || self.is_unknown(stated, line)
            }
            Ending::Parked { reason, .. } => self.deserves(event, line, *reason),
            // Only two kinds of customers wait that long: a customer at fault, and a customer that Imprint possibly does not
            // know.
            Ending::Undecided => !self.plan.is_isolated || stated.person < self.plan.victims,
        };
        if is_true {
            return Ok(());
        }
        let law = match ending {
            Ending::Parked { .. } => Law::Isolated,
            Ending::Delivered | Ending::Superseded(_) | Ending::Ignored(_) | Ending::Undecided => {
                Law::NoLoss
            }
        };
        violation(law, format!("event {event} is not {ending:?}: {stated:?}"))
    }

    /// Returns true if Imprint has possibly said, when the event was accepted or later, that it does not know the customer. The
    /// bridge remembers such an answer for a while.
    fn is_unknown(&self, stated: &Event, line: &Line) -> bool {
        let known_from = self.plan.people[stated.person].known_from;
        // A clock that was set back lengthens the time for which the bridge remembers.
        let jumps = self.plan.crashes.iter().map(|crash| (-crash.jump).max(0));
        let ttl = self.plan.rules.unknown_ttl + self.plan.deadline;
        let remembered = millis(ttl) + jumps.sum::<i64>();
        known_from.is_none_or(|known| known > 0 && line.accepted_at <= known + remembered)
    }

    /// Returns true if Imprint has applied a value at least as new as the entry's value. A cleared field counts as
    /// applied, because clearing cannot be checked.
    fn has(&self, (line, stated): (&Line, &Event), field: usize) -> bool {
        let Some(person) = line.person else {
            return false;
        };
        if self.is_field_below((line, stated), field) {
            return true;
        }
        let is_as_new = |event: &usize| self.version(*event) >= Some(line.version);
        let landed = self.landed.get(&(person, field));
        let is_cleared = |(event, other): (&usize, &Line)| {
            let values = &self.plan.events[*event].values;
            other.version >= line.version
                && other.person == Some(person)
                && values.contains(&(field, Stated::Cleared))
        };
        landed.is_some_and(|landed| landed.iter().any(is_as_new))
            || self.kept.iter().any(is_cleared)
    }

    /// Returns true if a version floor keeps back a field of an event.
    fn is_below_a_floor(&self, line: &Line, stated: &Event) -> bool {
        let is_below = |field| self.is_field_below((line, stated), field);
        let mut fields = stated.values.iter().map(|(field, _)| *field);
        fields.clone().any(is_below) && fields.all(|field| self.has((line, stated), field))
    }

    /// Returns true if a version floor keeps back a field of an event: of the customer whose lane has the event, or of a
    /// customer whose id the event names.
    fn is_field_below(&self, (line, stated): (&Line, &Event), field: usize) -> bool {
        let mut people = line
            .person
            .into_iter()
            .chain(owners(self.plan, &stated.customer));
        people.any(|person| self.erasures.is_below((person, field), line.version))
    }

    /// Records that an operator erased a customer: checks that exactly the unfinished entries of the customer ended.
    pub(super) fn erased(
        &mut self,
        person: usize,
        later: LaterEvents,
        discarded: &[EntryId],
    ) -> Result<(), Violation> {
        let events: Vec<usize> = self.kept.keys().copied().collect();
        for event in events {
            let line = &self.kept[&event];
            let is_own = self.is_of(event, line, person);
            let is_discarded = discarded.contains(&line.entry);
            if is_discarded != (is_own && is_unfinished(line.state)) {
                let what = format!("customer {person} is erased, and event {event} was {line:?}");
                return violation(Law::Erased, what);
            }
            if is_own {
                self.erase(person, event);
            }
        }
        for field in 0..FIELDS.len() {
            if let Some(confirmed) = self.confirmed.remove(&(person, field)) {
                self.erasures.raise((person, field), confirmed);
            }
        }
        self.erasures.block(person, later);
        Ok(())
    }

    /// Returns whether the lane of an entry is a lane of a customer, or the entry has not ended and its event names the CRM's
    /// id of the customer. The receipt of an ended entry does not have this id.
    fn is_of(&self, event: usize, line: &Line, person: usize) -> bool {
        let partner = self.plan.people[person].partner.as_ref();
        let named = &self.plan.events[event].customer;
        let is_named = partner.is_some() && named.partner() == partner;
        let is_in_own_lane = match line.person {
            Some(own) => own == person,
            None => is_named && named.imprint().is_none(),
        };
        is_in_own_lane || is_named && is_unfinished(line.state)
    }

    /// Records that an event of a customer is erased.
    fn erase(&mut self, person: usize, event: usize) {
        let Some(line) = self.kept.get_mut(&event) else {
            return;
        };
        let stated = &self.plan.events[event];
        let fields = || stated.values.iter().map(|(field, _)| *field);
        self.erasures.erase((person, event), fields(), line.version);
        match line.state {
            state @ (State::Waiting | State::Parked | State::Undecided | State::Held) => {
                self.waiting -= u64::from(state == State::Waiting);
                self.parked -= u64::from(state == State::Parked);
                line.state = State::Discarded;
                self.withdrawn.insert(event);
            }
            State::Delivered | State::Superseded => {}
            // A cleared field that the bridge does not send advances its version.
            State::Ignored => {
                self.erasures.suspect(person, stated, line.version);
                return;
            }
            State::Discarded => {
                // The bridge parks such an entry after it has advanced the versions of the fields that it does not send.
                if line.reason == Some(ParkReason::NotCleared) {
                    self.erasures.suspect(person, stated, line.version);
                }
                return;
            }
        }
        for field in fields() {
            self.erasures.raise((person, field), line.version);
        }
    }

    /// Returns true if an entry parks because of its own fault.
    fn deserves(&self, event: usize, line: &Line, reason: ParkReason) -> bool {
        let stated = &self.plan.events[event];
        let person = &self.plan.people[stated.person];
        match reason {
            ParkReason::Rejected => {
                let empties = |(field, stated): &(usize, Stated)| {
                    *stated == Stated::Cleared && is_line(*field)
                };
                // An event with an outdated Imprint id goes to the customer with our id.
                let reached = line
                    .person
                    .map_or(person, |reached| &self.plan.people[reached]);
                let is_refused = reached.clears == Clears::Refuses;
                let to = line.person.unwrap_or(stated.person);
                let knows_victims = self.plan.is_isolated || self.plan.refuses;
                let is_victim = knows_victims && to < self.plan.victims;
                let is_emptied = is_refused && stated.values.iter().any(empties);
                stated.poison.is_some() || is_emptied || is_victim
            }
            ParkReason::IdentityConflict => stated.is_false_pair,
            // The id of another customer in a false pair may belong to two customers.
            ParkReason::AmbiguousCustomer => person.is_twin || stated.is_false_pair,
            ParkReason::UnknownCustomer => person.known_from != Some(0),
            ParkReason::NotCleared => stated.values.iter().any(|(_, s)| *s == Stated::Cleared),
            // The protocol oracle checks that Imprint served other customers during the exhausted attempts.
            ParkReason::AttemptsExhausted => {
                let knows_victims = self.plan.is_isolated || self.plan.refuses;
                !knows_victims || stated.person < self.plan.victims
            }
            ParkReason::Unreadable
            | ParkReason::ForeignAddress
            | ParkReason::VersionJump
            | ParkReason::ByOperator
            | ParkReason::Invalid
            | ParkReason::Vanished => false,
        }
    }

    /// Records that an operator changed entries from one state to another.
    pub(super) fn handled(
        &mut self,
        entries: &[EntryId],
        from: State,
        to: State,
    ) -> Result<(), Violation> {
        for entry in entries {
            let event = self.by_entry.get(entry).copied().unwrap_or(usize::MAX);
            let line = self.kept.get_mut(&event);
            let Some(line) = line.filter(|line| line.state == from) else {
                let what = format!("entry {entry} was not {from:?} and becomes {to:?}");
                return violation(Law::NoLoss, what);
            };
            line.state = to;
            self.waiting -= u64::from(from == State::Waiting);
            self.waiting += u64::from(to == State::Waiting);
            self.parked -= u64::from(from == State::Parked);
            self.parked += u64::from(to == State::Parked);
            if from == State::Waiting {
                self.withdrawn.insert(event);
            } else if to == State::Waiting {
                self.returned(event);
            }
        }
        Ok(())
    }

    /// Records that an event waits again after its withdrawal.
    fn returned(&mut self, event: usize) {
        self.withdrawn.remove(&event);
        for events in self.overruled.values_mut() {
            events.remove(&event);
        }
    }

    /// Checks FAULTS V10 after every step: the store's counts match the oracle's ledger.
    pub(super) fn counted(&self, depth: &Depth) -> Result<(), Violation> {
        if (depth.waiting, depth.parked) == (self.waiting, self.parked) {
            return Ok(());
        }
        let own = (self.waiting, self.parked);
        violation(Law::Truthful, format!("{depth:?} counted, {own:?} there"))
    }

    /// Checks FAULTS V9: an entry of a customer without a fault has not waited too long.
    pub(super) fn is_isolated(&self, entry: EntryId, now: i64) -> Result<(), Violation> {
        let event = self.by_entry.get(&entry).copied();
        let Some((event, line)) = event.and_then(|event| Some((event, self.kept.get(&event)?)))
        else {
            return Ok(());
        };
        let waited = now - line.accepted_at;
        let is_others = self.plan.events[event].person >= self.plan.victims;
        if self.plan.is_isolated && is_others && waited > self.plan.isolation {
            let what = format!("event {event} waited {waited} ms for another customer");
            return violation(Law::Isolated, what);
        }
        Ok(())
    }

    /// Checks the final state of a simulation run.
    pub(super) fn judge(
        &self,
        imprint: &Imprint,
        receipt: impl Fn(usize) -> Option<Receipt>,
    ) -> Result<(), Violation> {
        for (event, line) in &self.kept {
            let receipt = receipt(*event);
            let is_erased = receipt.as_ref().is_some_and(|it| it.erased_at.is_some());
            let may_be_erased =
                self.erasures.events.contains(event) && line.state != State::Waiting;
            if is_erased && !may_be_erased {
                let what = format!("the receipt says that event {event} is erased");
                return violation(Law::Erased, what);
            }
            // The receipt of an event that the bridge ignored on arrival stays as it is.
            if may_be_erased || self.is_forgotten(*event) {
                continue;
            }
            let state = receipt.as_ref().map(|receipt| receipt.state);
            if state != Some(line.state) || line.state == State::Waiting {
                let what = format!("event {event} is {state:?}, and should be {:?}", line.state);
                return violation(Law::NoLoss, what);
            }
        }
        for person in 0..self.plan.people.len() {
            for field in 0..FIELDS.len() {
                self.is_newest(imprint, (person, field))?;
            }
        }
        for ((place, event), (sent, failed)) in &self.sends {
            let doubts = self.doubts.get(&place.0).copied().unwrap_or(0) + self.crashes;
            if *sent > 1 + failed + doubts {
                let what = format!(
                    "event {event} was sent {sent} times to {place:?}: {failed} failed, {doubts} doubts"
                );
                return violation(Law::Repeats, what);
            }
        }
        Ok(())
    }

    /// Returns true if an erasure possibly kept back the value of an event for a field.
    fn is_kept_back(&self, event: usize, line: &Line, field: usize) -> bool {
        let stated = &self.plan.events[event];
        let mut people = line
            .person
            .into_iter()
            .chain(owners(self.plan, &stated.customer));
        people.any(|person| {
            self.erasures
                .keeps_back(event, (person, field), line.version)
        })
    }

    /// Checks FAULTS V3: Imprint holds the newest value among the entries that are not parked. The value of a parked
    /// or discarded entry is allowed too. The value of a moved event is also allowed: the event named this customer, and
    /// the bridge cannot take back a request that it sent before Imprint answered that no such customer exists.
    fn is_newest(&self, imprint: &Imprint, place: Place) -> Result<(), Violation> {
        let (person, field) = place;
        let held = imprint.holds(person, field);
        let stated = |event: &usize| {
            let values = &self.plan.events[*event].values;
            let value = values.iter().find(|(other, _)| *other == field);
            value.map(|(_, stated)| *stated)
        };
        let speaks = |(event, line): &(&usize, &Line)| {
            line.person == Some(person) && stated(event).is_some()
        };
        let is_over = |(event, line): &(&usize, &Line)| match line.state {
            _ if self.is_kept_back(**event, line, field) => false,
            State::Delivered | State::Superseded => true,
            State::Ignored => stated(event) == Some(Stated::Cleared),
            State::Waiting | State::Held | State::Undecided | State::Parked | State::Discarded => {
                false
            }
        };
        let all: Vec<(&usize, &Line)> = self.kept.iter().filter(speaks).collect();
        let over = all.iter().filter(|line| is_over(line));
        let newest = over.max_by_key(|(_, line)| line.version);
        let is_newer = |line: &Line| newest.is_none_or(|(_, newest)| line.version > newest.version);
        // Imprint may have applied the value of a parked or discarded entry before the entry was set aside.
        let overruled = self.overruled.get(&place);
        let is_overruled =
            |event: &usize| overruled.is_some_and(|overruled| overruled.contains(event));
        let aside = all.iter().filter(|line| !is_over(line) && is_newer(line.1));
        let aside = aside.filter(|(event, _)| !is_overruled(event));
        let aside: Vec<usize> = aside.map(|(event, _)| **event).collect();
        let was_done = aside.iter().any(|event| match stated(event) {
            Some(Stated::Set) => held == Some(*event),
            Some(Stated::Cleared) | None => true,
        });
        let was_moved = held
            .is_some_and(|event| self.moved.contains(&(person, event)) && !is_overruled(&event));
        let is_right = match newest {
            None => held.is_none(),
            Some((event, line)) => match stated(event) {
                Some(Stated::Cleared) if self.is_emptied(place) && line.state != State::Ignored => {
                    held.is_none()
                }
                Some(Stated::Cleared) => true,
                Some(Stated::Set) | None => held == Some(**event),
            },
        };
        let of_erased = all.iter().map(|(event, _)| **event);
        let was_erased = newest.is_none_or(|(event, _)| self.erasures.events.contains(event))
            && self.is_of_erased(held, field, of_erased);
        if is_right || was_done || was_moved || was_erased {
            return Ok(());
        }
        let newest = newest.map(|(event, line)| (event, line.version, stated(event)));
        violation(
            Law::Order,
            format!(
                "customer {person} has {} of {held:?}, the newest is {newest:?}",
                FIELDS[field]
            ),
        )
    }

    /// Returns true if Imprint holds the value of an erased event, or no value and an erased event cleared the field. An
    /// erasure also erases the value that would correct a late request.
    fn is_of_erased(
        &self,
        held: Option<usize>,
        field: usize,
        mut events: impl Iterator<Item = usize>,
    ) -> bool {
        let is_erased = |event: &usize| self.erasures.events.contains(event);
        let clears = |event: usize| {
            let values = &self.plan.events[event].values;
            is_erased(&event) && values.contains(&(field, Stated::Cleared))
        };
        match held {
            Some(event) => is_erased(&event),
            None => events.any(clears),
        }
    }

    /// Returns true if the bridge sends the clearing of a field to Imprint, and Imprint obeys.
    fn is_emptied(&self, (person, field): Place) -> bool {
        let clearing = self.plan.rules.clearing;
        let clears = self.plan.people[person].clears;
        match (FIELDS[field], clearing.address) {
            (_, AddressClearing::Empty) if is_line(field) => clears != Clears::Keeps,
            // A late request may undo the clearing, and Imprint may reject the reassertion when no entry is left to
            // park.
            (_, AddressClearing::Verify) if is_line(field) => clears == Clears::Obeys,
            (_, AddressClearing::Omit) if is_line(field) => false,
            // An empty text cannot clear a number or a field of an open object.
            ("customer_history.account_tenure" | "metadata.k" | "metadata.l", _) => {
                clearing.fields == FieldClearing::Null
            }
            (_, _) => clearing.fields != FieldClearing::Omit,
        }
    }
}

const fn is_unfinished(state: State) -> bool {
    match state {
        State::Waiting | State::Parked | State::Undecided | State::Held => true,
        State::Delivered | State::Superseded | State::Ignored | State::Discarded => false,
    }
}
