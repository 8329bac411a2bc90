//! The ledger of the storage engine in memory: lists entries, applies operators' changes, keeps the audit log and
//! prunes receipts.

use std::ops::{Bound, RangeInclusive};

use super::tables::{Arrival, EntryRow, LaneRow, MemoryTables};
use crate::event::SourceVersion;
use crate::imprint::CustomerChange;
use crate::outbox::{
    AuditEvent, AuditHead, AuditKeys, AuditProtection, AuditRecord, Detail, EntryFilter, EntryId,
    EntryOrder, EntryPage, EntrySelection, EntrySummary, IgnoreReason, Inspection, LOAD_MAX,
    LaneId, LaneKey, LoadedEntries, LoadedEntry, PRUNE_MAX, Priority, Receipt, Replay,
    ReplayChange, SCAN_MAX, Standing, State, Trials, Unproven, VersionReset, WaitingEntry,
    audit_chain,
};
use crate::time::Timestamp;

impl MemoryTables {
    pub(super) fn list(&self, filter: &EntryFilter) -> EntryPage {
        let mut page = EntryPage::default();
        let lanes = filter
            .customer
            .as_deref()
            .map(|text| self.lanes_named(text));
        let is_of = |row: &EntryRow| {
            let lanes = lanes.as_ref();
            lanes.is_none_or(|lanes| row.lane.is_some_and(|lane| lanes.contains(&lane)))
        };
        let start = Bound::Excluded(filter.start());
        let later: Box<dyn Iterator<Item = (&EntryId, &EntryRow)>> = match filter.order {
            EntryOrder::OldestFirst => Box::new(self.entries.range((start, Bound::Unbounded))),
            EntryOrder::NewestFirst => {
                Box::new(self.entries.range((Bound::Unbounded, start)).rev())
            }
        };
        let has_id = |entry: &EntryId| {
            let id = filter.id.as_ref();
            let mut identities = self.identities.iter();
            id.is_none_or(|id| identities.any(|(it, number)| number == entry && it.id == *id))
        };
        let later = later.filter(|(entry, row)| is_of(row) && has_id(entry));
        for (scanned, (entry, _)) in later.enumerate() {
            if page.entries.len() >= filter.max || scanned >= SCAN_MAX {
                return page;
            }
            page.next = Some(*entry);
            let summary = self.summary(*entry);
            page.entries
                .extend(summary.filter(|summary| filter.matches(summary)));
        }
        page.next = None;
        page
    }

    fn summary(&self, entry: EntryId) -> Option<EntrySummary> {
        let row = self.entries.get(&entry)?;
        let lane = row.lane.and_then(|lane| self.lanes.get(&lane));
        Some(EntrySummary {
            receipt: row.receipt.clone(),
            customer: lane.map(|lane| lane.key.clone()),
        })
    }

    pub(super) fn inspect(&self, entry: EntryId) -> Option<Inspection> {
        let mut loaded = self.load(&EntrySelection::Entries(vec![entry]), Detail::Payloads);
        loaded.entries.pop().map(|entry| Inspection {
            summary: entry.summary,
            update: entry.update,
            event: entry.event,
        })
    }

    pub(super) fn load(&self, selection: &EntrySelection, detail: Detail) -> LoadedEntries {
        let (summaries, has_more, next) = match selection {
            EntrySelection::Entries(entries) => {
                let summaries = entries.iter().take(LOAD_MAX);
                let summaries = summaries.filter_map(|entry| self.summary(*entry));
                (summaries.collect(), entries.len() > LOAD_MAX, None)
            }
            EntrySelection::Matching(filter) => {
                let mut filter = filter.clone();
                filter.max = filter.max.min(LOAD_MAX);
                let page = self.list(&filter);
                (page.entries, page.next.is_some(), page.next)
            }
        };
        let load_one = |summary| match detail {
            Detail::Summaries => LoadedEntry::without_payload(summary),
            Detail::Payloads => self.load_payload(summary),
        };
        LoadedEntries {
            entries: summaries.into_iter().map(load_one).collect(),
            has_more,
            next,
        }
    }

    fn load_payload(&self, summary: EntrySummary) -> LoadedEntry {
        let Some((payload, event)) = self.payload(summary.receipt.entry) else {
            return self.load_invalid(summary);
        };
        // The lane has the newest spelling of Imprint's id.
        let payload = match &summary.customer {
            Some(LaneKey::Imprint(imprint)) => payload.clone().with_imprint_id(imprint),
            Some(LaneKey::Partner(_)) | None => payload.clone(),
        };
        LoadedEntry {
            summary,
            version: Some(payload.version),
            update: Some((payload.version, payload.update)),
            customer: Some(payload.customer),
            jump_max: payload.jump_max,
            event: Some(event.to_vec()),
        }
    }

    /// Loads the event of an entry that is parked as invalid. Any other entry without a lane has no payload.
    fn load_invalid(&self, summary: EntrySummary) -> LoadedEntry {
        let entry = summary.receipt.entry;
        let loaded = LoadedEntry::without_payload(summary);
        let row = self.entries.get(&entry);
        match row.and_then(|row| Some((row.invalid_epoch?, row.event.clone()))) {
            Some((epoch, event)) => LoadedEntry {
                version: Some(SourceVersion { epoch, value: 0 }.arrived(entry.0)),
                event: Some(event),
                ..loaded
            },
            None => loaded,
        }
    }

    /// Returns the update and the event of an entry that is in no final state.
    fn payload(&self, entry: EntryId) -> Option<(&WaitingEntry, &[u8])> {
        let row = self.entries.get(&entry)?;
        let lane = self.lanes.get(&row.lane?)?;
        let set_aside = || lane.set_aside.get(&(row.receipt.state, entry));
        let payload = lane.waiting.get(&entry).or_else(set_aside)?;
        Some((payload, &row.event))
    }

    pub(super) fn replay(&mut self, replays: Vec<Replay>, event: AuditEvent) -> Vec<EntryId> {
        self.write_down_claims();
        let mut moved = Vec::new();
        for Replay { entry, change } in replays {
            let is_invalid = self
                .entries
                .get(&entry)
                .is_some_and(|row| row.invalid_epoch.is_some());
            let skipped = match &change {
                ReplayChange::Mapped(change) => Some(change.skipped.clone()),
                ReplayChange::Ignored(ignored) => Some(ignored.skipped.clone()),
                ReplayChange::Stored => None,
            };
            let change = match &change {
                ReplayChange::Mapped(change) if self.is_blocked(&change.customer) => {
                    ReplayChange::Ignored(IgnoreReason::Blocked.into())
                }
                ReplayChange::Mapped(_) | ReplayChange::Stored | ReplayChange::Ignored(_) => change,
            };
            let changed = match (is_invalid, change) {
                (_, ReplayChange::Ignored(ignored)) => self.ignore(entry, ignored.reason, event.at),
                (true, ReplayChange::Mapped(change)) => {
                    self.enqueue_invalid(entry, change, event.at)
                }
                (true, ReplayChange::Stored) => None,
                (false, ReplayChange::Mapped(change)) => {
                    self.enqueue(entry, State::Parked, Some(change), event.at)
                }
                (false, ReplayChange::Stored) => self.enqueue(entry, State::Parked, None, event.at),
            };
            let row = changed.and_then(|entry| self.entries.get_mut(&entry));
            if let Some((row, skipped)) = row.zip(skipped) {
                row.receipt.unsent = skipped;
            }
            moved.extend(changed);
        }
        self.append_audit(event, moved.len());
        moved
    }

    pub(super) fn approve(&mut self, entries: &[EntryId], event: AuditEvent) -> Vec<EntryId> {
        self.write_down_claims();
        let mut moved = Vec::new();
        for entry in entries {
            let held = self.enqueue(*entry, State::Held, None, event.at);
            moved.extend(held.or_else(|| self.enqueue(*entry, State::Undecided, None, event.at)));
        }
        self.append_audit(event, moved.len());
        moved
    }

    /// Resets the versions of a customer, unless the lane of the customer is claimed.
    pub(super) fn reset_versions(
        &mut self,
        customer: &LaneKey,
        mut event: AuditEvent,
    ) -> VersionReset {
        let newest = self
            .entries
            .last_key_value()
            .map_or(0, |(entry, _)| entry.0);
        let key = match customer {
            LaneKey::Imprint(_) => Some(customer.clone()),
            LaneKey::Partner(partner) => {
                let link = self.links.get(partner);
                link.and_then(|link| link.imprint.clone())
                    .map(LaneKey::Imprint)
            }
        };
        let lane = key.and_then(|key| self.find_lane(&key));
        let Some((lane, row)) = lane.and_then(|lane| Some((lane, self.lanes.get_mut(&lane)?)))
        else {
            return VersionReset::UnknownCustomer;
        };
        if self.in_flight.contains_key(&lane) {
            return VersionReset::InFlight;
        }
        row.versions = std::mem::take(&mut row.versions).reset(newest);
        let reset = VersionReset::of(lane, &row.versions);
        event.target = format!("lane {}", lane.0);
        self.append_audit(event, 0);
        reset
    }

    /// Removes an entry in this state from its lane. Returns the lane of the entry and the removed entry.
    pub(super) fn take(&mut self, entry: EntryId, state: State) -> Option<(LaneId, WaitingEntry)> {
        let id = self.entries.get(&entry)?.lane?;
        let lane = self.lanes.get_mut(&id)?;
        let taken = if state == State::Waiting {
            lane.waiting.remove(&entry)
        } else {
            lane.set_aside.remove(&(state, entry))
        };
        Some((id, taken?))
    }

    /// Makes a parked, held or undecided entry wait, with low priority.
    fn enqueue(
        &mut self,
        entry: EntryId,
        from: State,
        change: Option<CustomerChange>,
        now: Timestamp,
    ) -> Option<EntryId> {
        let (lane, mut waiting) = self.take(entry, from)?;
        let key = self.lanes.get(&lane)?.key.clone();
        let (lane, to) = match change {
            Some(change) => {
                waiting.version = change.version.arrived(entry.0);
                waiting.update = change.update;
                waiting.customer = change.customer;
                waiting.jump_max = change.jump_max;
                self.lane(&waiting.customer)
            }
            None => {
                if let LaneKey::Imprint(imprint) = &key {
                    waiting = waiting.with_imprint_id(imprint);
                }
                self.lane_of(key)
            }
        };
        enter_again(to, waiting, now);
        self.mark_waiting(entry, lane)
    }

    /// Gives an entry that is parked as invalid its customer change, and makes the entry wait with low priority.
    fn enqueue_invalid(
        &mut self,
        entry: EntryId,
        change: CustomerChange,
        now: Timestamp,
    ) -> Option<EntryId> {
        let receipt = &self.entries.get(&entry)?.receipt;
        let arrival = Arrival {
            entry,
            source: receipt.identity.source.clone(),
            priority: Priority::Low,
            accepted_at: receipt.accepted_at,
        };
        let (lane, to) = self.lane(&change.customer);
        enter_again(to, arrival.waiting(change), now);
        self.mark_waiting(entry, lane)
    }

    /// Ends a parked entry as ignored, and erases its content.
    fn ignore(&mut self, entry: EntryId, reason: IgnoreReason, now: Timestamp) -> Option<EntryId> {
        let is_invalid = self.entries.get(&entry)?.invalid_epoch.is_some();
        if !is_invalid {
            self.take(entry, State::Parked)?;
        }
        let row = self.entries.get_mut(&entry)?;
        row.invalid_epoch = None;
        row.receipt.state = State::Ignored;
        row.receipt.settled_at = Some(now);
        row.receipt.parked = None;
        row.receipt.errors.clear();
        row.receipt.ignored = Some(reason);
        Some(entry)
    }

    fn mark_waiting(&mut self, entry: EntryId, lane: LaneId) -> Option<EntryId> {
        let row = self.entries.get_mut(&entry)?;
        row.lane = Some(lane);
        row.invalid_epoch = None;
        row.receipt.state = State::Waiting;
        row.receipt.settled_at = None;
        row.receipt.parked = None;
        row.receipt.errors.clear();
        Some(entry)
    }

    pub(super) fn prune_receipts(
        &mut self,
        from: EntryId,
        kept: &RangeInclusive<Timestamp>,
    ) -> Option<EntryId> {
        let scanned = || self.entries.range(from..).take(PRUNE_MAX);
        let mut accepted = scanned().map(|(_, entry)| entry.receipt.accepted_at);
        let are_all_kept = accepted.all(|at| kept.contains(&at));
        let last = scanned().last().filter(|_| !are_all_kept);
        let Some(last) = last.map(|(entry, _)| *entry) else {
            self.links
                .retain(|_, link| link.confirmed_at >= *kept.start());
            return None;
        };
        let newest = self.last;
        let is_old = |entry: &EntryId, receipt: &Receipt| {
            let ended_before = receipt.settled_at.is_some_and(|at| at < *kept.start());
            // Every storage engine keeps the receipt with the highest number, because the engine derives the number of
            // the next entry from it.
            *entry < newest && receipt.state.is_final() && ended_before
        };
        let old = self.entries.range(from..=last);
        let old = old.filter(|(entry, row)| is_old(entry, &row.receipt));
        let old: Vec<EntryId> = old.map(|(entry, _)| *entry).collect();
        for entry in &old {
            self.keep_origin(*entry);
            self.entries.remove(entry);
        }
        self.identities
            .retain(|_, entry| self.entries.contains_key(entry));
        Some(EntryId(last.0 + 1))
    }

    pub(super) fn append_audit(&mut self, event: AuditEvent, entries: usize) {
        let number = self.audit.last().map_or(1, |last| last.number + 1);
        let mut record = AuditRecord {
            number,
            operator: event.operator,
            action: event.action.to_owned(),
            target: event.target,
            entries,
            reason: event.reason,
            at: event.at,
            is_intact: true,
            check: 0,
            is_keyed: !self.audit_keys.is_empty(),
            lacks_key: false,
        };
        self.audit_seal = self.audit_keys.seal(&self.audit_seal, &record);
        record.check = audit_chain::check(&self.audit_seal);
        self.audit.push(record);
    }

    pub(super) fn protect_audit(&mut self, keys: AuditKeys, now: Timestamp) -> AuditProtection {
        let protection = keys.protection(&self.audit_seal);
        if protection == AuditProtection::KeyMissing {
            return protection;
        }
        let beginning = keys.beginning(&self.audit_seal, now);
        self.audit_keys = keys;
        if let Some(event) = beginning {
            self.append_audit(event, 0);
        }
        protection
    }

    pub(super) fn audit_head(&self) -> AuditHead {
        let newest = self.audit.last();
        newest.map_or_else(AuditHead::default, AuditRecord::head)
    }
}

/// Adds an entry that waits again to its lane, and forgets the failures of the lane.
fn enter_again(lane: &mut LaneRow, waiting: WaitingEntry, now: Timestamp) {
    lane.enter(waiting, Priority::Low, now);
    lane.trials = Trials::default();
    lane.standing = Standing::Well;
    lane.unproven = Unproven::default();
}
