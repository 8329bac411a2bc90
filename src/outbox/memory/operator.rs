//! What a person does with entries, in the reference engine.

use std::ops::RangeInclusive;

use super::tables::{LaneRow, MemoryTables};
use crate::fold::LaneVersions;
use crate::outbox::{
    AuditEvent, AuditRecord, EntryFilter, EntryId, EntryPage, EntrySummary, Inspection, Priority,
    Receipt, Replay, SCAN_MAX, State, Trials, WAITING_WINDOW,
};
use crate::time::Timestamp;

impl MemoryTables {
    pub(super) fn list(&self, listing: &EntryFilter) -> EntryPage {
        let mut found = EntryPage::default();
        let later = self.entries.range(EntryId(listing.after.0 + 1)..);
        for (looked_at, (entry, _)) in later.enumerate() {
            if found.entries.len() >= listing.max || looked_at >= SCAN_MAX {
                return found;
            }
            found.next = Some(*entry);
            found
                .entries
                .extend(self.listed(*entry).filter(|listed| listing.matches(listed)));
        }
        found.next = None;
        found
    }

    fn listed(&self, entry: EntryId) -> Option<EntrySummary> {
        let row = self.entries.get(&entry)?;
        let lane = row.lane.and_then(|lane| self.lanes.get(&lane));
        Some(EntrySummary {
            receipt: row.receipt.clone(),
            customer: lane.map(|lane| lane.key.clone()),
        })
    }

    pub(super) fn inspect(&self, entry: EntryId) -> Option<Inspection> {
        let listed = self.listed(entry)?;
        let row = self.entries.get(&entry)?;
        let lane = row.lane.and_then(|lane| self.lanes.get(&lane));
        let of = |lane: &'_ LaneRow| {
            lane.waiting
                .get(&entry)
                .or_else(|| lane.parked.get(&entry))
                .cloned()
        };
        let kept = lane.and_then(of);
        let Some((lane, kept)) = lane.zip(kept) else {
            return Some(Inspection {
                listed,
                facts: None,
                event: None,
                versions: LaneVersions::default(),
                waiting: Vec::new(),
            });
        };
        let waiting = lane.waiting.values().rev().take(WAITING_WINDOW);
        Some(Inspection {
            listed,
            facts: Some((kept.version, kept.update)),
            event: Some(row.event.clone()),
            versions: lane.versions.clone(),
            waiting: waiting.cloned().collect(),
        })
    }

    pub(super) fn replay(&mut self, replays: Vec<Replay>, act: AuditEvent) -> Vec<EntryId> {
        let now = act.at;
        let moved: Vec<EntryId> = replays
            .into_iter()
            .filter_map(|replay| {
                let row = self.entries.get(&replay.entry)?;
                let lane = row.lane?;
                let mut kept = self.lanes.get_mut(&lane)?.parked.remove(&replay.entry)?;
                let key = self.lanes.get(&lane)?.key.clone();
                let (lane, to) = match replay.change {
                    Some(change) => {
                        kept.version.epoch = change.version.epoch;
                        kept.version.value = change.version.value;
                        kept.update = change.update;
                        kept.customer = change.customer;
                        self.lane(&kept.customer)
                    }
                    None => self.lane_of(key),
                };
                to.enter(kept, Priority::Low, now);
                to.trials = Trials::default();
                let row = self.entries.get_mut(&replay.entry)?;
                row.lane = Some(lane);
                row.receipt.state = State::Waiting;
                row.receipt.settled_at = None;
                row.receipt.parked = None;
                Some(replay.entry)
            })
            .collect();
        self.append_audit(act, moved.len());
        moved
    }

    pub(super) fn discard(&mut self, entries: Vec<EntryId>, act: AuditEvent) -> Vec<EntryId> {
        let at = act.at;
        let gone: Vec<EntryId> = entries
            .into_iter()
            .filter(|entry| {
                let lane = self.entries.get(entry).and_then(|row| row.lane);
                let lane = lane.and_then(|lane| self.lanes.get_mut(&lane));
                let is_gone = lane.is_some_and(|lane| lane.parked.remove(entry).is_some());
                if is_gone && let Some(row) = self.entries.get_mut(entry) {
                    row.receipt.state = State::Discarded;
                    row.receipt.settled_at = Some(at);
                    row.receipt.parked = None;
                }
                is_gone
            })
            .collect();
        self.append_audit(act, gone.len());
        gone
    }

    pub(super) fn prune_receipts(
        &mut self,
        from: EntryId,
        kept: &RangeInclusive<Timestamp>,
    ) -> Option<EntryId> {
        let looked_at = || self.entries.range(from..).take(SCAN_MAX);
        let mut accepted = looked_at().map(|(_, entry)| entry.receipt.accepted_at);
        let are_young = accepted.all(|at| kept.contains(&at));
        let last = looked_at().last().filter(|_| !are_young);
        let Some(last) = last.map(|(entry, _)| *entry) else {
            self.pairs
                .retain(|_, pair| pair.confirmed_at >= *kept.start());
            return None;
        };
        let newest = self.last;
        let is_old = |entry: &EntryId, receipt: &Receipt| {
            let is_over = receipt.state != State::Parked && receipt.state.is_settled();
            let is_past = receipt.settled_at.is_some_and(|at| at < *kept.start());
            // The newest one stays, as in every engine.
            (from..=last).contains(entry) && *entry < newest && is_over && is_past
        };
        self.entries
            .retain(|entry, row| !is_old(entry, &row.receipt));
        self.identities
            .retain(|_, entry| self.entries.contains_key(entry));
        Some(EntryId(last.0 + 1))
    }

    pub(super) fn append_audit(&mut self, act: AuditEvent, entries: usize) {
        let number = self.acts.last().map_or(1, |last| last.number + 1);
        self.acts.push(AuditRecord {
            number,
            operator: act.operator,
            action: act.action.to_owned(),
            target: act.target,
            entries,
            reason: act.reason,
            at: act.at,
            is_intact: true,
        });
    }
}
