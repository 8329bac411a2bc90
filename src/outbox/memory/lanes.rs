//! The lanes of the storage engine in memory: claims, settlements, release and restart.

use std::convert::Infallible;
use std::sync::Arc;

use super::tables::{LaneRow, MemoryTables, UnsettledClaim, spelling};
use crate::event::SourceName;
use crate::imprint::CustomerRef;
use crate::outbox::{
    Claim, ClaimBounds, ClaimedLane, DueLane, DueQueues, Ending, EntryId, IdentityLink,
    IgnoreReason, LaneClass, LaneId, LaneKey, MaybeSent, Moved, Pick, Recognition, Settlement,
    Standing, State, WaitingEntry,
};
use crate::time::Timestamp;

impl MemoryTables {
    /// Makes every lane with a waiting entry due.
    pub(super) fn release(&mut self, now: Timestamp) {
        self.write_down_claims();
        for lane in self.lanes.values_mut().filter(|lane| !lane.is_idle()) {
            if lane.standing == Standing::Failing {
                lane.standing = Standing::Well;
            }
            lane.due = lane.due.map(|due| due.min(now));
        }
    }

    /// Makes due every lane that waits for proof.
    pub(super) fn release_absent(&mut self, now: Timestamp) {
        for lane in self.lanes.values_mut() {
            if lane.recognition == Recognition::Gone {
                lane.recognition = Recognition::Unchanged;
            }
        }
        let is_absent = |lane: &&mut LaneRow| !lane.is_idle() && lane.unproven.absence.is_some();
        for lane in self.lanes.values_mut().filter(is_absent) {
            lane.due = lane.due.map(|due| due.min(now));
        }
    }

    /// Ends every claim of a lane. If `in_order` is false, the process crashed: it has possibly sent the waiting
    /// entries of the first lanes of each queue.
    pub(super) fn restart(&mut self, in_order: bool) {
        self.in_flight.clear();
        self.token.owner += 1;
        if in_order {
            return;
        }
        let max = self.bounds.in_flight;
        let first = LaneClass::all().flat_map(|class| {
            let Ok(first) = self.first_due(class, max);
            first.into_iter().take(max)
        });
        let first: Vec<LaneId> = first.map(|due| due.lane).collect();
        self.mark_maybe_sent(&first);
    }

    /// Marks the claimed lanes as possibly sent.
    ///
    /// The engine calls this function before it changes the order of due lanes: after a crash, the engine treats the
    /// first due lanes as in flight, and would miss claimed lanes at later places.
    pub(super) fn write_down_claims(&mut self) {
        let claimed: Vec<LaneId> = self.in_flight.keys().copied().collect();
        self.mark_maybe_sent(&claimed);
    }

    fn mark_maybe_sent(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            if let Some(row) = self.lanes.get_mut(lane) {
                row.maybe_sent = row.maybe_sent.or_entries(self.last);
            }
        }
    }

    pub(super) fn claim(&mut self, now: Timestamp, max: usize, pick: Pick) -> Claim {
        let Ok(picked) = pick.select(self, max, now);
        let lanes = picked.lanes.into_iter();
        Claim {
            lanes: lanes.filter_map(|lane| self.claim_one(lane)).collect(),
            next_due: picked.next_due,
            is_failing_left: picked.is_failing_left,
            is_untried_left: picked.is_untried_left,
        }
    }

    fn claim_one(&mut self, lane: LaneId) -> Option<ClaimedLane> {
        let row = self.lanes.get(&lane)?;
        self.token.epoch += 1;
        let waiting = row.claimable(self.bounds).into_iter();
        let waiting: Vec<WaitingEntry> = waiting.map(|entry| self.with_floors(entry)).collect();
        let newest = waiting.first();
        let in_flight = UnsettledClaim {
            token: self.token,
            newest: newest.map(|newest| (newest.entry, newest.source.clone())),
        };
        self.in_flight.insert(lane, in_flight);
        let has_more = row.waiting.len() > self.bounds.newest;
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
            standing: row.standing,
            unproven: row.unproven,
            unfold_to: row.unfold_to,
            is_gone: row.recognition == Recognition::Gone,
            maybe_sent: match has_more {
                true => row.maybe_sent.beyond_the_claim(),
                false => row.maybe_sent,
            },
            links: self.links.values().filter(is_named).cloned().collect(),
            waiting,
            unreadable: Vec::new(),
        })
    }

    /// Adds the version floors of the CRM's id in an event that also names an Imprint id.
    fn with_floors(&self, entry: WaitingEntry) -> WaitingEntry {
        let partner = entry.second_id().cloned().map(LaneKey::Partner);
        let lane = partner.and_then(|key| self.keys.get(&spelling(&key)));
        let lane = lane.and_then(|lane| self.lanes.get(lane));
        let floors = lane.and_then(|lane| lane.versions.only_floors());
        WaitingEntry {
            floors: floors.map(Arc::new),
            ..entry
        }
    }

    /// Records a settlement and returns the entries that left the state `waiting`. Returns `None` if the claim has
    /// ended before.
    pub(super) fn settle(&mut self, settlement: Settlement) -> Option<Vec<(EntryId, State)>> {
        let in_flight = self.in_flight.get(&settlement.lane);
        in_flight.filter(|in_flight| in_flight.token == settlement.token)?;
        let claimed = self.in_flight.remove(&settlement.lane)?.newest;
        let before = self.lanes.get(&settlement.lane)?.standing;
        let standing = settlement.standing(before);
        for entry in &settlement.attempted {
            if let Some(entry) = self.entries.get_mut(entry) {
                entry.receipt.attempts += 1;
            }
        }
        let is_postponed = settlement.is_postponed();
        let mut settled = Vec::new();
        for (entry, ending) in &settlement.endings {
            settled.extend(self.end(&settlement, *entry, ending));
        }
        if let Some(link) = settlement.new_link.clone() {
            self.links.insert(link.partner.clone(), link);
        }
        let moved = settlement.moved.clone();
        if let Some(moved) = moved.filter(|moved| !moved.entries.is_empty()) {
            settled.extend(self.move_or_block(&settlement, &moved));
        }
        let Some(lane) = self.lanes.get_mut(&settlement.lane) else {
            return Some(settled);
        };
        if let Some(versions) = settlement.versions {
            lane.versions = versions;
        }
        lane.recognition = match (settlement.recognition, &lane.recognition) {
            (Recognition::Applied(spelling), _) => {
                lane.key = LaneKey::Imprint(spelling.clone());
                Recognition::Applied(spelling)
            }
            (Recognition::Gone, _) => Recognition::Gone,
            (Recognition::Unchanged, Recognition::Gone) => Recognition::Unchanged,
            (Recognition::Unchanged, _) => lane.recognition.clone(),
        };
        lane.trials = settlement.trials;
        lane.standing = standing;
        lane.unproven = settlement.unproven;
        lane.unfold_to = settlement.unfold_to;
        lane.maybe_sent = MaybeSent::Nothing;
        lane.due = if lane.is_idle() {
            settlement.reassert_at
        } else if is_postponed && claimed.is_some_and(|claimed| lane.is_asked_by_another(&claimed))
        {
            Some(settlement.at)
        } else {
            Some(settlement.due)
        };
        Some(settled)
    }

    /// Moves a waiting entry into a final state, or into the state parked or undecided.
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
        let mut ignored = None;
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
            Ending::Ignored(reason) => ignored = Some(*reason),
            Ending::Delivered => {}
        }
        let row = &mut self.entries.get_mut(&entry)?.receipt;
        row.state = ending.state();
        row.settled_at = row.state.is_settled().then_some(settlement.at);
        row.superseded_by = superseded_by;
        row.parked = parked;
        row.ignored = ignored;
        let mut omitted = settlement.omitted.iter();
        if let Some((_, omitted)) = omitted.find(|(other, _)| *other == entry) {
            row.unsent.extend(omitted.iter().cloned());
        }
        Some((entry, row.state))
    }

    /// Moves entries into the lane of the customer that a search found. If an operator has erased and blocked the
    /// customer, ends the entries.
    fn move_or_block(&mut self, settlement: &Settlement, moved: &Moved) -> Vec<(EntryId, State)> {
        if !self.is_blocked(&CustomerRef::Imprint(moved.to.clone())) {
            self.move_entries(settlement.lane, moved, settlement.at);
            return Vec::new();
        }
        let blocked = Ending::Ignored(IgnoreReason::Blocked);
        let entries = moved.entries.iter();
        let ended = entries.filter_map(|entry| self.end(settlement, *entry, &blocked));
        ended.collect()
    }

    /// Moves entries into the lane of the customer that a search found.
    fn move_entries(&mut self, from: LaneId, moved: &Moved, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&from) else {
            return;
        };
        let (priority, from_versions) = (lane.priority, lane.versions.clone());
        let entries: Vec<WaitingEntry> = moved
            .entries
            .iter()
            .filter_map(|entry| lane.waiting.remove(entry))
            .map(|entry| entry.with_imprint_id(&moved.to))
            .collect();
        let (to_lane, to) = self.lane_of(LaneKey::Imprint(moved.to.clone()));
        to.respell(&moved.to);
        to.versions.raise_to_floors_of(&from_versions);
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

impl LaneRow {
    /// Returns whether the lane has a partner customer id, and an entry of a different source arrived after this entry.
    fn is_asked_by_another(&self, (claimed, source): &(EntryId, SourceName)) -> bool {
        let mut newer = self.waiting.range(EntryId(claimed.0 + 1)..);
        matches!(self.key, LaneKey::Partner(_)) && newer.any(|(_, entry)| entry.source != *source)
    }
}

impl DueQueues for MemoryTables {
    type Error = Infallible;

    fn first_due(&self, class: LaneClass, max: usize) -> Result<Vec<DueLane>, Infallible> {
        let in_queue = self
            .lanes
            .iter()
            .filter(|(lane, row)| row.class() == class && !self.in_flight.contains_key(*lane));
        let mut found: Vec<DueLane> = in_queue
            .filter_map(|(lane, row)| row.due.map(|due| DueLane { due, lane: *lane }))
            .collect();
        found.sort_unstable();
        found.truncate(max.saturating_add(1));
        Ok(found)
    }

    fn bounds(&self) -> ClaimBounds {
        self.bounds
    }

    fn failures(&self, lane: LaneId) -> Result<u32, Infallible> {
        Ok(self.lanes.get(&lane).map_or(0, |row| row.trials.failures))
    }
}
