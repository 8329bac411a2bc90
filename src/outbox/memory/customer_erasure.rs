//! The erasure of a customer in the reference engine, in one step.

use std::collections::BTreeSet;

use super::tables::{EntryRow, MemoryTables, spelling};
use crate::event::Attribute;
use crate::fold::LaneVersions;
use crate::imprint::CustomerRef;
use crate::outbox::customer::names_partner;
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{
    CustomerErasure, Disposition, ENTRY_MAX, EntryId, ErasedPart, ErasureStep, LaneId, LaneKey,
    LaterEvents, MaybeSent, NamedEntries, ParkReason, Recognition, Setting, Standing, State,
    Trials, Unproven, mentions,
};
use crate::time::Timestamp;

impl MemoryTables {
    pub(super) fn erase_customer(&mut self, erasure: &CustomerErasure) -> ErasureStep {
        let keys = self.all_keys(&erasure.keys);
        let lanes = self.lanes_of(&keys);
        let last = erasure
            .progress
            .map_or(EntryId(ENTRY_MAX), |progress| progress.last);
        let entries = self.entries_to_erase((&lanes, &keys, &erasure.invalid), last);
        let places = entries
            .iter()
            .filter_map(|entry| self.entries.get(entry)?.lane);
        let touched: BTreeSet<LaneId> = places.collect();
        let mut all = touched.union(&lanes);
        if all.any(|lane| self.in_flight.contains_key(lane)) {
            return ErasureStep::InFlight;
        }
        self.write_down_claims();
        let mut floors = LaneVersions::default();
        let mut part = ErasedPart {
            lanes: touched.difference(&lanes).copied().collect(),
            ..ErasedPart::default()
        };
        for entry in entries {
            let left = self
                .waiting_lane(entry)
                .filter(|lane| !lanes.contains(lane));
            self.erase_entry(entry, erasure.at, (&mut floors, &mut part));
            if let Some(left) = left {
                self.leave(left, erasure.at);
            }
        }
        let has_imprint = keys.iter().any(|key| matches!(key, LaneKey::Imprint(_)));
        for key in &keys {
            let gets_floors = matches!(key, LaneKey::Imprint(_)) || !has_imprint;
            let later = (erasure.later_events, last);
            self.bury(key, later, (&floors, gets_floors), &mut part);
        }
        self.links.retain(|partner, link| {
            let imprint = link.imprint.clone().map(LaneKey::Imprint);
            let partner = LaneKey::Partner(partner.clone());
            let is_erased = |key: LaneKey| keys.iter().any(|own| spelling(own) == spelling(&key));
            !is_erased(partner) && !imprint.is_some_and(is_erased)
        });
        self.settings.remove(&Setting::Evidence);
        ErasureStep::Erased(ErasedPart { keys, ..part })
    }

    fn all_keys(&self, keys: &[LaneKey]) -> Vec<LaneKey> {
        let mut known: Vec<LaneKey> = Vec::new();
        let mut found = keys.to_vec();
        while let Some(key) = found.pop() {
            if known.iter().any(|own| spelling(own) == spelling(&key)) {
                continue;
            }
            let is_own = |other: &LaneKey| spelling(other) == spelling(&key);
            let links = self.links.values().map(|link| {
                let imprint = link.imprint.clone().map(LaneKey::Imprint);
                let partner = LaneKey::Partner(link.partner.clone());
                imprint.into_iter().chain([partner]).collect::<Vec<_>>()
            });
            found.extend(links.filter(|ids| ids.iter().any(is_own)).flatten());
            known.push(key);
        }
        known
    }

    fn lanes_of(&self, keys: &[LaneKey]) -> BTreeSet<LaneId> {
        keys.iter().filter_map(|key| self.find_lane(key)).collect()
    }

    fn entries_to_erase(
        &self,
        (lanes, keys, invalid): (&BTreeSet<LaneId>, &[LaneKey], &[EntryId]),
        last: EntryId,
    ) -> Vec<EntryId> {
        let is_own = |row: &EntryRow| row.lane.is_some_and(|lane| lanes.contains(&lane));
        let is_found =
            |entry, row: &EntryRow| row.invalid_epoch.is_some() && invalid.contains(entry);
        let entries = self.entries.range(..=last);
        let of_customer = entries.filter(|(entry, row)| {
            is_own(row) || is_found(entry, row) || self.is_named(**entry, row, keys)
        });
        of_customer.map(|(entry, _)| *entry).collect()
    }

    /// Returns whether an entry that has not ended names the CRM's id of a customer, or is invalid and mentions an id.
    fn is_named(&self, entry: EntryId, row: &EntryRow, keys: &[LaneKey]) -> bool {
        if row.invalid_epoch.is_some() {
            let event = serde_json::from_slice(&row.event).ok();
            return event.is_some_and(|event| mentions(&event, keys));
        }
        let lane = row.lane.and_then(|lane| self.lanes.get(&lane));
        let unfinished = lane.and_then(|lane| {
            let set_aside = || lane.set_aside.get(&(row.receipt.state, entry));
            lane.waiting.get(&entry).or_else(set_aside)
        });
        let partner = unfinished.and_then(|unfinished| unfinished.customer.partner());
        partner.is_some_and(|partner| names_partner(partner.as_str(), keys))
    }

    fn waiting_lane(&self, entry: EntryId) -> Option<LaneId> {
        let row = self.entries.get(&entry)?;
        row.lane.filter(|_| row.receipt.state == State::Waiting)
    }

    /// Returns the next entries of a customer outside the lanes of these keys.
    pub(super) fn named_entries(
        &self,
        keys: &[LaneKey],
        after: EntryId,
        max: usize,
    ) -> NamedEntries {
        let linked = self.all_keys(keys);
        let (own, left_out) = (self.lanes_of(&linked), self.lanes_of(keys));
        let later = self.entries.iter().filter(|(entry, _)| **entry > after);
        let mut named = later.filter(|(entry, row)| {
            let is_own = row.lane.is_some_and(|lane| own.contains(&lane));
            let is_left_out = row.lane.is_some_and(|lane| left_out.contains(&lane));
            let is_unfinished = !row.receipt.state.is_final();
            let is_named = || is_own && is_unfinished || self.is_named(**entry, row, &linked);
            !is_left_out && is_named()
        });
        let entries: Vec<EntryId> = named.by_ref().take(max).map(|(entry, _)| *entry).collect();
        let next = entries.last().copied().filter(|_| named.next().is_some());
        NamedEntries { entries, next }
    }

    fn erase_entry(
        &mut self,
        entry: EntryId,
        now: Timestamp,
        (floors, part): (&mut LaneVersions, &mut ErasedPart),
    ) {
        let state = self.entries.get(&entry).map(|row| row.receipt.state);
        let taken = state.and_then(|state| self.take(entry, state));
        let parked = self.entries.get(&entry);
        let parked = parked.and_then(|row| row.receipt.parked.as_ref());
        let is_jump = parked.is_some_and(|(reason, _)| *reason == ParkReason::VersionJump);
        if let Some((_, taken)) = taken.filter(|_| !is_jump) {
            floors.raise(taken.version, taken.update.fields());
        }
        let Some(row) = self.entries.get_mut(&entry) else {
            return;
        };
        part.entries += 1;
        if !row.receipt.state.is_final() {
            row.receipt.state = State::Discarded;
            part.discarded.push(entry);
        }
        (row.receipt.settled_at, row.receipt.erased_at) = (Some(now), Some(now));
        row.receipt.superseded_by = None;
        row.receipt.identity.id = Attribute::of_invalid_event(u128::from(entry.0).to_be_bytes());
        row.receipt.identity.ce_source = None;
        row.receipt.parked = None;
        row.receipt.errors.clear();
        row.receipt.unsent.clear();
        (row.lane, row.invalid_epoch) = (None, None);
        row.event.clear();
        self.origins.remove(&entry);
    }

    fn bury(
        &mut self,
        key: &LaneKey,
        (later, last): (LaterEvents, EntryId),
        (floors, gets_floors): (&LaneVersions, bool),
        part: &mut ErasedPart,
    ) {
        let known = self.keys.get(&spelling(key));
        let row = known.and_then(|lane| self.lanes.get(lane));
        part.was_retired |= row.is_some_and(|row| row.tombstone == Some(TombstoneKind::Retired));
        let is_known = known.is_some();
        let needs_floors = gets_floors && !floors.is_empty();
        if !is_known && !needs_floors && later == LaterEvents::Delivered {
            return;
        }
        let before = self.find_lane(key).and_then(|lane| self.lanes.get(&lane));
        let before = before.and_then(|row| row.tombstone);
        let (lane, row) = self.lane_of(key.clone());
        row.tombstone = before;
        row.versions.raise_to(floors);
        let versions = std::mem::take(&mut row.versions);
        part.unversioned += versions.unversioned(last.0);
        let has_newer = versions.has_newer_than(last.0);
        row.versions = versions.erased(last.0);
        self.origins
            .retain(|entry, (own, _)| *own != lane || *entry > last);
        if has_newer || self.entries.values().any(|entry| entry.lane == Some(lane)) {
            return;
        }
        let (_, row) = self.lane_of(key.clone());
        row.tombstone = Some(TombstoneKind::Erased(later));
        row.recognition = Recognition::Unchanged;
        row.due = None;
        row.trials = Trials::default();
        row.standing = Standing::Untried;
        row.unproven = Unproven::default();
        row.unfold_to = None;
        if row.maybe_sent != MaybeSent::Nothing {
            row.maybe_sent = MaybeSent::Anything;
        }
    }

    /// Returns whether the engine must ignore an event, because its customer is blocked.
    pub(super) fn is_ignored(&self, disposition: &Disposition) -> bool {
        match disposition {
            Disposition::Enqueue(change)
            | Disposition::Park(change, _)
            | Disposition::Hold(change) => self.is_blocked(&change.customer),
            Disposition::Ignore(_) | Disposition::Invalid(_) => false,
        }
    }

    pub(super) fn is_blocked(&self, customer: &CustomerRef) -> bool {
        let imprint = customer.imprint().cloned().map(LaneKey::Imprint);
        let partner = customer.partner().cloned();
        let keys = imprint.into_iter().chain(partner.map(LaneKey::Partner));
        let mut rows = keys
            .filter_map(|key| self.keys.get(&spelling(&key)))
            .filter_map(|lane| self.lanes.get(lane));
        rows.any(|row| row.tombstone == Some(TombstoneKind::Erased(LaterEvents::Ignored)))
    }
}
