//! The erasure of a customer in the reference engine, in one step.

use std::collections::BTreeSet;

use super::tables::MemoryTables;
use crate::event::Attribute;
use crate::fold::LaneVersions;
use crate::imprint::CustomerRef;
use crate::outbox::{
    CustomerErasure, Disposition, ENTRY_MAX, EntryId, ErasedPart, ErasureStep, LaneId, LaneKey,
    LaterEvents, MaybeSent, Recognition, Setting, Standing, State, Trials, Unproven, mentions,
};
use crate::time::Timestamp;

use super::tables::spelling;

impl MemoryTables {
    pub(super) fn erase_customer(&mut self, erasure: &CustomerErasure) -> ErasureStep {
        let keys = self.all_keys(&erasure.keys);
        let lanes: BTreeSet<LaneId> = keys.iter().filter_map(|key| self.find_lane(key)).collect();
        if lanes.iter().any(|lane| self.in_flight.contains_key(lane)) {
            return ErasureStep::InFlight;
        }
        self.write_down_claims();
        let last = match erasure.later_events {
            LaterEvents::Delivered => self.last,
            LaterEvents::Ignored => EntryId(ENTRY_MAX),
        };
        let mut floors = LaneVersions::default();
        let mut part = ErasedPart::default();
        for entry in self.entries_to_erase(&lanes, &keys, last) {
            self.erase_entry(entry, erasure.at, (&mut floors, &mut part));
        }
        for key in &keys {
            self.bury(key, erasure.later_events, &floors, &mut part);
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

    fn entries_to_erase(
        &self,
        lanes: &BTreeSet<LaneId>,
        keys: &[LaneKey],
        last: EntryId,
    ) -> Vec<EntryId> {
        let entries = self.entries.range(..=last);
        let of_customer = entries.filter(|(_, row)| {
            let is_mentioned = || {
                let event = serde_json::from_slice(&row.event).ok();
                row.invalid_epoch.is_some() && event.is_some_and(|event| mentions(&event, keys))
            };
            row.lane.is_some_and(|lane| lanes.contains(&lane)) || is_mentioned()
        });
        of_customer.map(|(entry, _)| *entry).collect()
    }

    fn erase_entry(
        &mut self,
        entry: EntryId,
        now: Timestamp,
        (floors, part): (&mut LaneVersions, &mut ErasedPart),
    ) {
        let state = self.entries.get(&entry).map(|row| row.receipt.state);
        let taken = state.and_then(|state| self.take(entry, state));
        if let Some((_, taken)) = taken {
            floors.raise(taken.version, taken.update.fields());
        }
        let Some(row) = self.entries.get_mut(&entry) else {
            return;
        };
        part.entries += 1;
        if !row.receipt.state.is_final() {
            row.receipt.state = State::Discarded;
            row.receipt.settled_at = Some(now);
            part.discarded.push(entry);
        }
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
        later: LaterEvents,
        floors: &LaneVersions,
        part: &mut ErasedPart,
    ) {
        let is_known = self.keys.contains_key(&spelling(key));
        let needs_floors = matches!(key, LaneKey::Imprint(_)) && !floors.is_empty();
        if !is_known && !needs_floors && later == LaterEvents::Delivered {
            return;
        }
        let (_, row) = self.lane_of(key.clone());
        row.versions.raise_to(floors);
        let versions = std::mem::take(&mut row.versions);
        part.unversioned += versions.unversioned();
        row.versions = versions.erased();
        row.erased = Some(later);
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
        rows.any(|row| row.erased == Some(LaterEvents::Ignored))
    }
}
