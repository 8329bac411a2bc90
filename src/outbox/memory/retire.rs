//! The retirement of idle customers in the reference engine.

use super::tables::{LaneRow, MemoryTables, spelling};
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{
    LaneId, LaneKey, MaybeSent, RETIRE_MAX, Recognition, Retirement, Standing, Trials, Unproven,
};
use crate::time::Timestamp;

impl MemoryTables {
    pub(super) fn retire_customers(&mut self, from: LaneId, before: Timestamp) -> Retirement {
        let scanned = self.lanes.range(from..).take(RETIRE_MAX);
        let scanned: Vec<LaneId> = scanned.map(|(lane, _)| *lane).collect();
        let mut customers = 0;
        for lane in &scanned {
            if self.is_idle(*lane, before)
                && let Some(row) = self.lanes.get_mut(lane)
            {
                row.retire();
                self.origins.retain(|_, (own, _)| own != lane);
                customers += 1;
            }
        }
        Retirement {
            customers,
            next: scanned.last().map(|last| LaneId(last.0 + 1)),
        }
    }

    fn is_idle(&self, lane: LaneId, before: Timestamp) -> bool {
        let Some(row) = self.lanes.get(&lane) else {
            return false;
        };
        let has_entry = self.entries.values().any(|entry| entry.lane == Some(lane));
        let mut origins = self.origins.values().filter(|(own, _)| *own == lane);
        let is_new = origins.any(|(_, event)| event.delivered_at >= before);
        let is_open = row.due.is_some()
            || row.maybe_sent != MaybeSent::Nothing
            || row.trials.blamed_since.is_some()
            || row.unproven.since.is_some()
            || row.unproven.absence.is_some();
        let is_held = self.in_flight.contains_key(&lane) || self.is_linked(&row.key);
        row.tombstone.is_none() && !has_entry && !is_new && !is_open && !is_held
    }

    fn is_linked(&self, key: &LaneKey) -> bool {
        let mut links = self.links.values();
        links.any(|link| {
            let imprint = link.imprint.clone().map(LaneKey::Imprint);
            let mut ids = imprint
                .into_iter()
                .chain([LaneKey::Partner(link.partner.clone())]);
            ids.any(|id| spelling(&id) == spelling(key))
        })
    }
}

impl LaneRow {
    fn retire(&mut self) {
        self.tombstone = Some(TombstoneKind::Retired);
        self.recognition = Recognition::Unchanged;
        self.trials = Trials::default();
        self.standing = Standing::Untried;
        self.unproven = Unproven::default();
        self.unfold_to = None;
    }
}
