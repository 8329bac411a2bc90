//! What the reference engine keeps, and how each operation changes it.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::event::Identity;
use crate::fold::LaneVersions;
use crate::imprint::{CustomerChange, CustomerRef, PartnerCustomerId};
use crate::outbox::{
    Appended, AppendedEntry, AuditRecord, Claim, ClaimedLane, Digest, Disposition, Ending, EntryId,
    IdentityLink, LaneId, LaneKey, Moved, NewEntry, PROBE_WINDOW, ParkReason, Pick, Priority,
    Receipt, Setting, Settlement, State, Trials, WAITING_WINDOW, WaitingEntry,
};
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct MemoryTables {
    pub(super) entries: BTreeMap<EntryId, EntryRow>,
    pub(super) identities: HashMap<Identity, EntryId>,
    pub(super) lanes: BTreeMap<LaneId, LaneRow>,
    keys: HashMap<String, LaneId>,
    in_flight: HashSet<LaneId>,
    pub(super) pairs: BTreeMap<PartnerCustomerId, IdentityLink>,
    pub(super) notes: BTreeMap<Setting, String>,
    pub(super) acts: Vec<AuditRecord>,
    doubted: HashSet<LaneId>,
    sent_to: EntryId,
    /// The last number that was given: none is ever given again.
    pub(super) last: EntryId,
}

#[derive(Debug)]
pub(super) struct EntryRow {
    pub(super) receipt: Receipt,
    digest: Digest,
    pub(super) event: Vec<u8>,
    pub(super) lane: Option<LaneId>,
}

#[derive(Debug)]
pub(super) struct LaneRow {
    pub(super) key: LaneKey,
    due: Option<Timestamp>,
    priority: Priority,
    pub(super) versions: LaneVersions,
    pub(super) trials: Trials,
    unfold_to: Option<EntryId>,
    pub(super) waiting: BTreeMap<EntryId, WaitingEntry>,
    pub(super) parked: BTreeMap<EntryId, WaitingEntry>,
}

impl LaneRow {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes one more entry that waits.
    pub(super) fn enter(&mut self, entry: WaitingEntry, priority: Priority, now: Timestamp) {
        if self.is_idle() {
            self.due = Some(now);
            self.priority = priority;
        }
        self.priority = self.priority.min(priority);
        self.waiting.insert(entry.entry, entry);
    }
}

/// When a lane is due, which one it is, and how often it has failed.
type Due = (Timestamp, LaneId, u32);

/// Where an entry stands on arrival, why it is parked if it is, and in which lane it is.
type Arrived = (State, Option<(ParkReason, Option<String>)>, Option<LaneId>);

impl MemoryTables {
    /// Makes every lane due in which something waits.
    pub(super) fn release(&mut self, now: Timestamp) {
        for lane in self.lanes.values_mut().filter(|lane| !lane.is_idle()) {
            lane.due = lane.due.map(|due| due.min(now));
        }
    }

    /// Forgets what was in flight, and remembers that something may have been.
    pub(super) fn restart(&mut self, in_order: bool) {
        let due = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.due.is_some() && !in_order);
        self.doubted = due.map(|(lane, _)| *lane).collect();
        self.sent_to = self.last;
        self.in_flight.clear();
    }

    pub(super) fn append(&mut self, batch: Vec<NewEntry>) -> Appended {
        let mut first: HashMap<&Identity, Digest> = HashMap::new();
        let conflicts: Vec<usize> = batch
            .iter()
            .enumerate()
            .filter(|(_, new)| {
                let kept = self
                    .identities
                    .get(&new.identity)
                    .and_then(|entry| self.entries.get(entry));
                let digest = *first
                    .entry(&new.identity)
                    .or_insert_with(|| kept.map_or(new.digest, |kept| kept.digest));
                digest != new.digest
            })
            .map(|(place, _)| place)
            .collect();
        if conflicts.is_empty() {
            Appended::Stored(batch.into_iter().map(|new| self.keep(new)).collect())
        } else {
            Appended::Conflict(conflicts)
        }
    }

    fn keep(&mut self, new: NewEntry) -> AppendedEntry {
        if let Some(entry) = self.identities.get(&new.identity) {
            let state = self
                .entries
                .get(entry)
                .map_or(State::Waiting, |entry| entry.receipt.state);
            return AppendedEntry {
                entry: *entry,
                state,
                duplicate: true,
            };
        }
        self.last = EntryId(self.last.0 + 1);
        let entry = self.last;
        let place = (new.priority, new.accepted_at);
        let (state, parked, home) = self.arrive(entry, new.disposition, place);
        self.identities.insert(new.identity.clone(), entry);
        let receipt = Receipt {
            entry,
            identity: new.identity,
            event_type: new.event_type,
            state,
            attempts: 0,
            accepted_at: new.accepted_at,
            settled_at: state.is_settled().then_some(new.accepted_at),
            superseded_by: None,
            parked,
        };
        self.entries.insert(
            entry,
            EntryRow {
                receipt,
                digest: new.digest,
                event: new.event,
                lane: home,
            },
        );
        AppendedEntry {
            entry,
            state,
            duplicate: false,
        }
    }

    /// Puts a new entry where it belongs.
    fn arrive(
        &mut self,
        entry: EntryId,
        disposition: Disposition,
        (priority, now): (Priority, Timestamp),
    ) -> Arrived {
        match disposition {
            Disposition::Ignore => (State::Ignored, None, None),
            Disposition::Park(change, reason) => {
                let (lane, row) = self.lane(&change.customer);
                row.parked.insert(entry, waiting(entry, change, now));
                (State::Parked, Some((reason, None)), Some(lane))
            }
            Disposition::Enqueue(change) => {
                let (lane, row) = self.lane(&change.customer);
                row.enter(waiting(entry, change, now), priority, now);
                (State::Waiting, None, Some(lane))
            }
        }
    }

    /// The lane that an event about `customer` goes to.
    pub(super) fn lane(&mut self, customer: &CustomerRef) -> (LaneId, &mut LaneRow) {
        let key = match customer {
            CustomerRef::Imprint(imprint) | CustomerRef::Pair { imprint, .. } => {
                LaneKey::Imprint(imprint.clone())
            }
            CustomerRef::Partner(partner) => LaneKey::Partner(partner.clone()),
        };
        self.lane_of(key)
    }

    pub(super) fn lane_of(&mut self, key: LaneKey) -> (LaneId, &mut LaneRow) {
        let next = LaneId(
            self.lanes
                .last_key_value()
                .map_or(1, |(last, _)| last.0 + 1),
        );
        let spelled = match &key {
            LaneKey::Imprint(imprint) => format!("imprint {}", imprint.canonical()),
            LaneKey::Partner(partner) => format!("partner {}", partner.as_str()),
        };
        let lane = *self.keys.entry(spelled).or_insert(next);
        let row = self.lanes.entry(lane).or_insert_with(|| LaneRow {
            key,
            due: None,
            priority: Priority::Live,
            versions: LaneVersions::default(),
            trials: Trials::default(),
            unfold_to: None,
            waiting: BTreeMap::new(),
            parked: BTreeMap::new(),
        });
        (lane, row)
    }

    pub(super) fn claim(&mut self, now: Timestamp, max: usize, pick: Pick) -> Claim {
        let mut claim = Claim::default();
        let mut all = Vec::new();
        for priority in [Priority::Live, Priority::Low] {
            let room = match pick {
                Pick::LongestDue => max.saturating_sub(all.len()),
                // To find out whether the destination is back any lane will do, whatever is in it.
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

    /// The lanes of one priority that are to be claimed, and when the next one is due.
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
            .filter(|(lane, row)| row.priority == priority && !self.in_flight.contains(*lane))
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
        self.in_flight.insert(lane);
        let waiting = row.waiting.values().rev().take(WAITING_WINDOW);
        let waiting: Vec<WaitingEntry> = waiting.cloned().collect();
        let is_named = |pair: &&IdentityLink| {
            let by_imprint = match (&row.key, &pair.imprint) {
                (LaneKey::Imprint(imprint), Some(other)) => imprint.is_same(other.as_str()),
                (LaneKey::Imprint(_) | LaneKey::Partner(_), _) => false,
            };
            by_imprint
                || waiting
                    .iter()
                    .any(|waiting| waiting.customer.partner() == Some(&pair.partner))
        };
        Some(ClaimedLane {
            lane,
            key: Some(row.key.clone()),
            versions: row.versions.clone(),
            trials: row.trials,
            unfold_to: row.unfold_to,
            maybe_sent_to: self.doubted.contains(&lane).then_some(self.sent_to),
            links: self.pairs.values().filter(is_named).cloned().collect(),
            waiting,
            unreadable: Vec::new(),
        })
    }

    pub(super) fn settle(&mut self, settlement: Settlement) -> Vec<(EntryId, State)> {
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
        if let Some(pair) = settlement.new_link {
            self.pairs.insert(pair.partner.clone(), pair);
        }
        if let Some(moved) = settlement.moved.filter(|moved| !moved.entries.is_empty()) {
            self.go_on(settlement.lane, moved, settlement.at);
        }
        let Some(lane) = self.lanes.get_mut(&settlement.lane) else {
            return settled;
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
        settled
    }

    /// Ends one entry, unless it has ended before.
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
                lane.parked.insert(entry, waiting);
                parked = Some((*reason, detail.clone()));
            }
            Ending::Delivered | Ending::Ignored => {}
        }
        let row = &mut self.entries.get_mut(&entry)?.receipt;
        row.state = ending.state();
        row.settled_at = Some(settlement.at);
        row.superseded_by = superseded_by;
        row.parked = parked;
        Some((entry, row.state))
    }

    /// Lets entries go on in the lane of the customer that they turned out to be about.
    fn go_on(&mut self, from: LaneId, moved: Moved, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&from) else {
            return;
        };
        let priority = lane.priority;
        let entries: Vec<WaitingEntry> = moved
            .entries
            .iter()
            .filter_map(|entry| lane.waiting.remove(entry))
            .collect();
        let (home, to) = self.lane_of(LaneKey::Imprint(moved.to));
        for entry in &entries {
            to.enter(entry.clone(), priority, now);
        }
        for entry in entries {
            if let Some(row) = self.entries.get_mut(&entry.entry) {
                row.lane = Some(home);
            }
        }
    }
}

/// An entry that waits from now on.
fn waiting(entry: EntryId, change: CustomerChange, accepted_at: Timestamp) -> WaitingEntry {
    WaitingEntry {
        entry,
        version: change.version.arrived(entry.0),
        update: change.update,
        customer: change.customer,
        accepted_at,
    }
}
