//! The tables of the storage engine in memory, and the changes that an append makes to the tables.

use std::collections::{BTreeMap, HashMap};

use crate::event::{Identity, SourceName};
use crate::fold::LaneVersions;
use crate::imprint::{CustomerChange, CustomerRef, ImprintId, PartnerCustomerId};
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{
    Appended, AppendedEntry, AuditKeys, AuditRecord, ClaimBounds, ClaimToken, ConflictingEvent,
    Digest, Disposition, EntryId, IdentityLink, IgnoreReason, LaneClass, LaneId, LaneKey,
    MaybeSent, NewEntry, OriginEvent, ParkReason, Priority, Receipt, Recognition, Setting,
    Standing, State, Trials, Unproven, WaitingEntry,
};
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct MemoryTables {
    pub(super) entries: BTreeMap<EntryId, EntryRow>,
    pub(super) identities: HashMap<Identity, EntryId>,
    pub(super) lanes: BTreeMap<LaneId, LaneRow>,
    pub(super) keys: HashMap<String, LaneId>,
    /// The origins of entries whose receipts are deleted.
    pub(super) origins: BTreeMap<EntryId, (LaneId, OriginEvent)>,
    pub(super) in_flight: HashMap<LaneId, UnsettledClaim>,
    /// The token of the newest claim. The `owner` of the token is the number of restarts.
    pub(super) token: ClaimToken,
    pub(super) links: BTreeMap<PartnerCustomerId, IdentityLink>,
    pub(super) settings: BTreeMap<Setting, String>,
    pub(super) audit: Vec<AuditRecord>,
    pub(super) audit_keys: AuditKeys,
    /// The seal of the newest audit record.
    pub(super) audit_seal: Vec<u8>,
    pub(super) bounds: ClaimBounds,
    /// The highest number that any entry has had. The engine never uses a number twice.
    pub(super) last: EntryId,
}

/// A claim that is not settled.
#[derive(Debug)]
pub(super) struct UnsettledClaim {
    pub(super) token: ClaimToken,
    /// The newest claimed entry, and the source of this entry.
    pub(super) newest: Option<(EntryId, SourceName)>,
}

#[derive(Debug)]
pub(super) struct EntryRow {
    pub(super) receipt: Receipt,
    digest: Digest,
    pub(super) event: Vec<u8>,
    /// The bytes that the entry takes of the storage quota of its source.
    stored_bytes: usize,
    pub(super) lane: Option<LaneId>,
    /// The epoch of the event, while the entry is parked as invalid. Such an entry has no lane.
    pub(super) invalid_epoch: Option<u32>,
}

#[derive(Debug)]
pub(super) struct LaneRow {
    pub(super) key: LaneKey,
    /// Imprint's last answer about the id of the lane.
    pub(super) recognition: Recognition,
    pub(super) due: Option<Timestamp>,
    pub(super) priority: Priority,
    pub(super) versions: LaneVersions,
    pub(super) trials: Trials,
    pub(super) standing: Standing,
    pub(super) unproven: Unproven,
    pub(super) unfold_to: Option<EntryId>,
    /// The values that an earlier process has possibly sent. The next settlement of the lane removes this mark.
    pub(super) maybe_sent: MaybeSent,
    /// Not `None` if the row is the tombstone of its customer. The next event of the customer makes the row a lane again.
    pub(super) tombstone: Option<TombstoneKind>,
    pub(super) waiting: BTreeMap<EntryId, WaitingEntry>,
    /// The entries that are parked, held or undecided. The key of each entry contains the state of the entry.
    pub(super) set_aside: BTreeMap<(State, EntryId), WaitingEntry>,
}

impl LaneRow {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the waiting entries that a claim reads: the newest entries, and some of the oldest entries of a long
    /// lane.
    pub(super) fn claimable(&self, bounds: ClaimBounds) -> Vec<WaitingEntry> {
        let left = self.waiting.len().saturating_sub(bounds.newest);
        let newest = self.waiting.values().rev().take(bounds.newest);
        let oldest = self.waiting.values().take(bounds.oldest.min(left));
        newest.chain(oldest).cloned().collect()
    }

    /// Returns the queue of due lanes to which the lane belongs.
    pub(super) const fn class(&self) -> LaneClass {
        LaneClass {
            priority: self.priority,
            standing: self.standing,
        }
    }

    /// Stores this spelling of the customer's id in the lane. If Imprint has applied an update of the customer, the
    /// lane keeps the applied spelling.
    pub(super) fn respell(&mut self, spelling: &ImprintId) {
        if let LaneKey::Imprint(imprint) = &mut self.key
            && imprint != spelling
            && !matches!(self.recognition, Recognition::Applied(_))
        {
            imprint.clone_from(spelling);
            self.recognition = Recognition::Unchanged;
        }
    }

    /// Makes the lane due if it has a partner customer id and waits for the search turn of other sources. The caller
    /// adds an entry of this source.
    fn ask_for(&mut self, source: &SourceName, now: Timestamp) {
        let newest = self.waiting.last_key_value();
        let is_other = newest.is_some_and(|(_, newest)| newest.source != *source);
        let rests = self.standing == Standing::Failing || self.unproven.absence.is_some();
        if is_other && !rests && matches!(self.key, LaneKey::Partner(_)) {
            self.due = self.due.map(|due| due.min(now));
        }
    }

    /// Adds a waiting entry to its lane, and makes the lane due if the lane was idle. If an idle lane is due to send
    /// delivered values again, the lane keeps its due time.
    pub(super) fn enter(&mut self, entry: WaitingEntry, priority: Priority, now: Timestamp) {
        if let Some(named) = entry.customer.imprint() {
            self.respell(named);
        }
        if self.is_idle() && self.recognition == Recognition::Gone {
            self.recognition = Recognition::Unchanged;
        }
        if self.is_idle() && self.due.is_none_or(|due| due > now) {
            self.due = Some(now);
            self.priority = priority;
        }
        self.ask_for(&entry.source, now);
        self.priority = self.priority.min(priority);
        self.waiting.insert(entry.entry, entry);
    }
}

/// The state of a new entry, the reason for parking the entry, and the lane of the entry.
type Placed = (State, Option<(ParkReason, Option<String>)>, Option<LaneId>);

impl MemoryTables {
    pub(super) fn append(&mut self, batch: Vec<NewEntry>) -> Appended {
        let mut first: HashMap<&Identity, Digest> = HashMap::new();
        let mut conflicts = Vec::new();
        for (place, new) in batch.iter().enumerate() {
            let earlier = self.identities.get(&new.identity).copied();
            let stored = earlier.and_then(|entry| self.entries.get(&entry));
            let digest = stored.map_or(new.digest, |stored| stored.digest);
            if *first.entry(&new.identity).or_insert(digest) != new.digest {
                conflicts.push(ConflictingEvent { place, earlier });
            }
        }
        if conflicts.is_empty() {
            Appended::Stored(batch.into_iter().map(|new| self.append_one(new)).collect())
        } else {
            Appended::Conflict(conflicts)
        }
    }

    /// Returns the total size of each source's events in bytes. Events in a final state do not count.
    pub(super) fn stored_bytes(&self) -> BTreeMap<SourceName, u64> {
        let mut bytes: BTreeMap<SourceName, u64> = BTreeMap::new();
        let unfinished = self.entries.values();
        for entry in unfinished.filter(|entry| !entry.receipt.state.is_final()) {
            let source = entry.receipt.identity.source.clone();
            let sum = bytes.entry(source).or_default();
            *sum = sum.saturating_add(u64::try_from(entry.stored_bytes).unwrap_or(u64::MAX));
        }
        bytes
    }

    fn append_one(&mut self, mut new: NewEntry) -> AppendedEntry {
        if let Some(entry) = self.identities.get(&new.identity) {
            let row = self.entries.get(entry);
            let state = row.map_or(State::Waiting, |row| row.receipt.state);
            return AppendedEntry {
                entry: *entry,
                state,
                duplicate: true,
            };
        }
        if self.is_ignored(&new.disposition) {
            new.disposition = Disposition::Ignore(IgnoreReason::Blocked.into());
        }
        self.last = EntryId(self.last.0 + 1);
        let entry = self.last;
        let arrival = Arrival {
            entry,
            source: new.identity.source.clone(),
            priority: new.priority,
            accepted_at: new.accepted_at,
        };
        let (stored_bytes, invalid) = (new.stored_bytes(), new.disposition.invalid().cloned());
        let (invalid_epoch, errors) = invalid.map(|it| (it.epoch, it.errors)).unzip();
        let skipped = new.disposition.skipped().to_vec();
        let ignored = new.disposition.ignored();
        let (state, parked, lane) = self.place(arrival, new.disposition);
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
            errors: errors.unwrap_or_default(),
            unsent: skipped,
            ignored,
            erased_at: None,
        };
        self.entries.insert(
            entry,
            EntryRow {
                receipt,
                digest: new.digest,
                event: new.event,
                stored_bytes,
                lane,
                invalid_epoch,
            },
        );
        AppendedEntry {
            entry,
            state,
            duplicate: false,
        }
    }

    /// Puts a new entry into the lane of its customer.
    fn place(&mut self, arrival: Arrival, disposition: Disposition) -> Placed {
        let (entry, priority, now) = (arrival.entry, arrival.priority, arrival.accepted_at);
        match disposition {
            Disposition::Ignore(_) => (State::Ignored, None, None),
            Disposition::Invalid(_) => (State::Parked, Some((ParkReason::Invalid, None)), None),
            Disposition::Park(change, reason) => {
                let (lane, row) = self.lane(&change.customer);
                let waiting = arrival.waiting(change);
                row.set_aside.insert((State::Parked, entry), waiting);
                (State::Parked, Some((reason, None)), Some(lane))
            }
            Disposition::Hold(change) => {
                let (lane, row) = self.lane(&change.customer);
                let waiting = arrival.waiting(change);
                row.set_aside.insert((State::Held, entry), waiting);
                (State::Held, None, Some(lane))
            }
            Disposition::Enqueue(change) => {
                let (lane, row) = self.lane(&change.customer);
                row.enter(arrival.waiting(change), priority, now);
                (State::Waiting, None, Some(lane))
            }
        }
    }

    /// Returns the lane of a customer, and creates the lane if the customer has no lane.
    pub(super) fn lane(&mut self, customer: &CustomerRef) -> (LaneId, &mut LaneRow) {
        self.lane_of(LaneKey::of(customer))
    }

    pub(super) fn lane_of(&mut self, key: LaneKey) -> (LaneId, &mut LaneRow) {
        let next = LaneId(
            self.lanes
                .last_key_value()
                .map_or(1, |(last, _)| last.0 + 1),
        );
        let lane = *self.keys.entry(spelling(&key)).or_insert(next);
        if let Some(row) = self.lanes.get_mut(&lane)
            && row.tombstone.take().is_some()
        {
            row.key = key.clone();
        }
        let row = self.lanes.entry(lane).or_insert_with(|| LaneRow {
            key,
            recognition: Recognition::Unchanged,
            due: None,
            priority: Priority::Live,
            versions: LaneVersions::default(),
            trials: Trials::default(),
            standing: Standing::Untried,
            unproven: Unproven::default(),
            unfold_to: None,
            maybe_sent: MaybeSent::Nothing,
            tombstone: None,
            waiting: BTreeMap::new(),
            set_aside: BTreeMap::new(),
        });
        (lane, row)
    }
}

/// Returns the canonical spelling of a customer id. The engine finds the lane under this spelling.
pub(super) fn spelling(key: &LaneKey) -> String {
    match key {
        LaneKey::Imprint(imprint) => format!("imprint {}", imprint.canonical()),
        LaneKey::Partner(partner) => format!("partner {}", partner.as_str()),
    }
}

/// A new entry of the outbox, without its content.
pub(super) struct Arrival {
    pub(super) entry: EntryId,
    pub(super) source: SourceName,
    pub(super) priority: Priority,
    pub(super) accepted_at: Timestamp,
}

impl Arrival {
    pub(super) fn waiting(self, change: CustomerChange) -> WaitingEntry {
        WaitingEntry {
            entry: self.entry,
            version: change.version.arrived(self.entry.0),
            update: change.update,
            customer: change.customer,
            jump_max: change.jump_max,
            source: self.source,
            accepted_at: self.accepted_at,
            floors: None,
        }
    }
}
