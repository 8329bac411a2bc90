//! The lanes of the reference engine: claims, settlements, release and restart.

use super::tables::MemoryTables;
use crate::outbox::{
    Claim, ClaimedLane, Ending, EntryId, IdentityLink, LaneId, LaneKey, Moved, PROBE_WINDOW, Pick,
    Priority, Settlement, State, WAITING_WINDOW, WaitingEntry,
};
use crate::time::Timestamp;

/// A due lane: its due time, its number, and its failures.
type Due = (Timestamp, LaneId, u32);

impl MemoryTables {
    /// Makes every lane with a waiting entry due.
    pub(super) fn release(&mut self, now: Timestamp) {
        for lane in self.lanes.values_mut().filter(|lane| !lane.is_idle()) {
            lane.due = lane.due.map(|due| due.min(now));
        }
    }

    /// Ends every claim of a lane. After a crash (`in_order` is false), the earlier process may have sent the waiting
    /// entries of every due lane.
    pub(super) fn restart(&mut self, in_order: bool) {
        let due = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.due.is_some() && !in_order);
        self.doubted = due.map(|(lane, _)| *lane).collect();
        self.sent_to = self.last;
        self.in_flight.clear();
        self.token.owner += 1;
    }

    pub(super) fn claim(&mut self, now: Timestamp, max: usize, pick: Pick) -> Claim {
        let mut claim = Claim::default();
        let mut all = Vec::new();
        for priority in [Priority::Live, Priority::Low] {
            let room = match pick {
                Pick::LongestDue => max.saturating_sub(all.len()),
                // A probe may use a lane of any priority.
                Pick::LeastFailed(_) => PROBE_WINDOW,
            };
            let (due, next_due) = self.due(priority, now, room, pick);
            claim.next_due = claim.next_due.into_iter().chain(next_due).min();
            all.extend(due);
        }
        if pick != Pick::LongestDue {
            all.sort_unstable();
            pick.sort(&mut all, |(_, _, failures)| *failures);
            let rest = all.split_off(max.min(all.len()));
            let rest = rest.into_iter().map(|(due, _, _)| due);
            claim.next_due = claim.next_due.into_iter().chain(rest).min();
        }
        let lanes = all
            .into_iter()
            .filter_map(|(_, lane, _)| self.claim_one(lane));
        claim.lanes.extend(lanes);
        claim
    }

    /// Returns the lanes of one priority that the engine claims, and the time when the next unclaimed lane is due.
    fn due(
        &self,
        priority: Priority,
        now: Timestamp,
        max: usize,
        pick: Pick,
    ) -> (Vec<Due>, Option<Timestamp>) {
        let mut due: Vec<Due> = self
            .lanes
            .iter()
            .filter(|(lane, row)| row.priority == priority && !self.in_flight.contains_key(*lane))
            .filter_map(|(lane, row)| row.due.map(|due| (due, *lane, row.trials.failures)))
            .collect();
        due.sort_unstable();
        let later = due.split_off(due.partition_point(|(due, _, _)| *due <= now));
        if pick != Pick::LongestDue {
            due.truncate(PROBE_WINDOW);
        }
        pick.sort(&mut due, |(_, _, failures)| *failures);
        let next_due = due
            .get(max)
            .or_else(|| later.first())
            .map(|(due, _, _)| *due);
        due.truncate(max);
        (due, next_due)
    }

    fn claim_one(&mut self, lane: LaneId) -> Option<ClaimedLane> {
        let row = self.lanes.get(&lane)?;
        self.token.epoch += 1;
        self.in_flight.insert(lane, self.token);
        let waiting = row.waiting.values().rev().take(WAITING_WINDOW);
        let waiting: Vec<WaitingEntry> = waiting.cloned().collect();
        let is_named = |link: &&IdentityLink| {
            let by_imprint = match (&row.key, &link.imprint) {
                (LaneKey::Imprint(imprint), Some(other)) => imprint.is_same(other.as_str()),
                (LaneKey::Imprint(_) | LaneKey::Partner(_), _) => false,
            };
            by_imprint
                || waiting
                    .iter()
                    .any(|waiting| waiting.customer.partner() == Some(&link.partner))
        };
        Some(ClaimedLane {
            lane,
            token: self.token,
            key: Some(row.key.clone()),
            versions: row.versions.clone(),
            trials: row.trials,
            unfold_to: row.unfold_to,
            maybe_sent_to: self.doubted.contains(&lane).then_some(self.sent_to),
            links: self.links.values().filter(is_named).cloned().collect(),
            waiting,
            unreadable: Vec::new(),
        })
    }

    /// Records a settlement and returns the entries that the settlement ended. Returns `None` if the claim of the lane
    /// has ended already.
    pub(super) fn settle(&mut self, settlement: Settlement) -> Option<Vec<(EntryId, State)>> {
        if self.in_flight.get(&settlement.lane) != Some(&settlement.token) {
            return None;
        }
        self.in_flight.remove(&settlement.lane);
        self.doubted.remove(&settlement.lane);
        for entry in &settlement.attempted {
            if let Some(entry) = self.entries.get_mut(entry) {
                entry.receipt.attempts += 1;
            }
        }
        let mut settled = Vec::new();
        for (entry, ending) in &settlement.endings {
            settled.extend(self.end(&settlement, *entry, ending));
        }
        if let Some(link) = settlement.new_link {
            self.links.insert(link.partner.clone(), link);
        }
        if let Some(moved) = settlement.moved.filter(|moved| !moved.entries.is_empty()) {
            self.move_entries(settlement.lane, moved, settlement.at);
        }
        let Some(lane) = self.lanes.get_mut(&settlement.lane) else {
            return Some(settled);
        };
        if let Some(versions) = settlement.versions {
            lane.versions = versions;
        }
        lane.trials = settlement.trials;
        lane.unfold_to = settlement.unfold_to;
        lane.due = if lane.is_idle() {
            settlement.reassert_at
        } else {
            Some(settlement.due)
        };
        Some(settled)
    }

    /// Ends a waiting entry, or sets the entry aside.
    fn end(
        &mut self,
        settlement: &Settlement,
        entry: EntryId,
        ending: &Ending,
    ) -> Option<(EntryId, State)> {
        let lane = self.lanes.get_mut(&settlement.lane)?;
        let waiting = lane.waiting.remove(&entry)?;
        let mut parked = None;
        let mut superseded_by = None;
        match ending {
            Ending::Superseded(winner) => {
                let winner = self.entries.get(winner);
                superseded_by = winner.map(|winner| winner.receipt.identity.id.clone());
            }
            Ending::Parked { reason, detail } => {
                lane.set_aside.insert((State::Parked, entry), waiting);
                parked = Some((*reason, detail.clone()));
            }
            Ending::Undecided => {
                lane.set_aside.insert((State::Undecided, entry), waiting);
            }
            Ending::Delivered | Ending::Ignored => {}
        }
        let row = &mut self.entries.get_mut(&entry)?.receipt;
        row.state = ending.state();
        row.settled_at = row.state.is_settled().then_some(settlement.at);
        row.superseded_by = superseded_by;
        row.parked = parked;
        Some((entry, row.state))
    }

    /// Moves entries into the lane of the customer that a search found for these entries.
    fn move_entries(&mut self, from: LaneId, moved: Moved, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&from) else {
            return;
        };
        let priority = lane.priority;
        let entries: Vec<WaitingEntry> = moved
            .entries
            .iter()
            .filter_map(|entry| lane.waiting.remove(entry))
            .collect();
        let (to_lane, to) = self.lane_of(LaneKey::Imprint(moved.to));
        for entry in &entries {
            to.enter(entry.clone(), priority, now);
        }
        for entry in entries {
            if let Some(row) = self.entries.get_mut(&entry.entry) {
                row.lane = Some(to_lane);
            }
        }
    }
}
