//! The withdrawal of entries in the reference engine.

use std::collections::BTreeSet;

use super::tables::MemoryTables;
use crate::outbox::{
    AuditEvent, EntryId, LaneId, State, Trials, Unproven, Withdrawal, Withdrawn, WithdrawnState,
};
use crate::time::Timestamp;

impl MemoryTables {
    pub(super) fn withdraw(&mut self, withdrawal: &Withdrawal, event: AuditEvent) -> Withdrawn {
        if withdrawal.may_free_lanes() {
            self.write_down_claims();
        }
        let mut withdrawn = Withdrawn::default();
        let mut left = BTreeSet::new();
        for entry in &withdrawal.entries {
            if self.discard_invalid(*entry, withdrawal, event.at) {
                withdrawn.entries.push(*entry);
                continue;
            }
            let Some((state, lane)) = self.state_and_lane(*entry) else {
                continue;
            };
            if !withdrawal.from.contains(&state) {
                continue;
            }
            if state == State::Waiting && self.in_flight.contains_key(&lane) {
                withdrawn.in_flight.push(*entry);
            } else if self
                .withdraw_one(*entry, state, withdrawal.to, event.at)
                .is_some()
            {
                withdrawn.entries.push(*entry);
                left.extend((state == State::Waiting).then_some(lane));
            }
        }
        for lane in left {
            self.leave(lane, event.at);
        }
        if let Some(event) = withdrawn.audit_event(event) {
            self.append_audit(event, withdrawn.entries.len());
        }
        withdrawn
    }

    fn state_and_lane(&self, entry: EntryId) -> Option<(State, LaneId)> {
        let row = self.entries.get(&entry)?;
        Some((row.receipt.state, row.lane?))
    }

    /// Discards an entry that is parked as invalid. Returns `false` if the withdrawal does not concern such an entry.
    fn discard_invalid(&mut self, entry: EntryId, withdrawal: &Withdrawal, now: Timestamp) -> bool {
        let row = self.entries.get_mut(&entry);
        let Some(row) = row.filter(|row| row.invalid_epoch.is_some()) else {
            return false;
        };
        if withdrawal.to != WithdrawnState::Discarded || !withdrawal.from.contains(&State::Parked) {
            return false;
        }
        row.invalid_epoch = None;
        row.receipt.state = State::Discarded;
        row.receipt.settled_at = Some(now);
        row.receipt.parked = None;
        row.receipt.errors.clear();
        true
    }

    fn withdraw_one(
        &mut self,
        entry: EntryId,
        from: State,
        to: WithdrawnState,
        now: Timestamp,
    ) -> Option<()> {
        let (lane, taken) = self.take(entry, from)?;
        let parked = match to {
            WithdrawnState::Parked(reason) => {
                let set_aside = &mut self.lanes.get_mut(&lane)?.set_aside;
                set_aside.insert((State::Parked, entry), taken);
                Some((reason, None))
            }
            WithdrawnState::Discarded => None,
        };
        let receipt = &mut self.entries.get_mut(&entry)?.receipt;
        receipt.state = to.state();
        receipt.settled_at = Some(now);
        receipt.parked = parked;
        Some(())
    }

    /// Updates a lane after the withdrawal of waiting entries.
    pub(super) fn leave(&mut self, lane: LaneId, now: Timestamp) {
        let Some(row) = self.lanes.get_mut(&lane) else {
            return;
        };
        row.versions = std::mem::take(&mut row.versions).without_entries();
        row.maybe_sent = row.maybe_sent.beyond_the_claim();
        // The answer is possibly about an id that only a withdrawn entry has.
        row.unproven.absence = None;
        if !row.is_idle() {
            row.due = row.due.map(|due| due.min(now));
            return;
        }
        // The answers to requests with the withdrawn entries must not decide about a later entry.
        row.unproven = Unproven::default();
        row.trials = Trials {
            attempts: 0,
            blamed_since: None,
            ..row.trials
        };
        let rested = row.due;
        let reassert_at = row.versions.reassert_at();
        row.due = reassert_at.map(|at| rested.map_or(at, |rested| at.max(rested)));
    }
}
