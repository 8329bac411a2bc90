//! The reference engine: the whole contract of the port in plain maps, for tests and the simulation.
//!
//! It keeps nothing over a restart, so `serve` does not offer it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::ready;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::waiters::Waiters;
use super::{
    Answer, Appended, Arrival, Claim, ClaimedLane, Depth, Digest, Ending, EntryId, Error, Kept,
    LaneId, Lookup, NewEntry, Outbox, PROBE_WINDOW, Pick, Receipt, Settlement, State,
    WAITING_WINDOW, WaitingEntry,
};
use crate::event::{Identity, Version};
use crate::fold::LaneVersions;
use crate::imprint::{ImprintId, Update};
use crate::time::Timestamp;

/// An outbox in memory.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    /// Held only while the maps are touched, never across an await.
    tables: Mutex<Tables>,
    waiters: Waiters,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    entries: BTreeMap<EntryId, Entry>,
    identities: HashMap<Identity, EntryId>,
    lanes: BTreeMap<LaneId, Lane>,
    customers: HashMap<String, LaneId>,
    in_flight: HashSet<LaneId>,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    digest: Digest,
}

#[derive(Debug)]
struct Lane {
    customer: ImprintId,
    due: Option<Timestamp>,
    versions: LaneVersions,
    failures: u32,
    unfold_to: Option<EntryId>,
    waiting: BTreeMap<EntryId, (Version, Update)>,
}

impl MemoryOutbox {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox for MemoryOutbox {
    fn append(&self, batch: Vec<NewEntry>) -> Answer<'_, Appended> {
        let appended = self.tables().append(batch);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(appended)))
    }

    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> Answer<'_, Claim> {
        Box::pin(ready(Ok(self.tables().claim(now, max, pick))))
    }

    fn settle(&self, settlement: Settlement) -> Answer<'_, ()> {
        let settled = self.tables().settle(settlement);
        self.waiters.settle(&settled);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(())))
    }

    fn find(&self, lookup: Lookup) -> Answer<'_, Option<Receipt>> {
        let tables = self.tables();
        let found = tables
            .entries
            .values()
            .rev()
            .map(|entry| &entry.receipt)
            .find(|receipt| {
                receipt.identity.source == lookup.source
                    && receipt.identity.id == lookup.id
                    && (lookup.ce_source.is_none()
                        || receipt.identity.ce_source == lookup.ce_source)
            });
        Box::pin(ready(Ok(found.cloned())))
    }

    fn depth(&self) -> Answer<'_, Depth> {
        let tables = self.tables();
        let in_state = |state| {
            tables
                .entries
                .values()
                .filter(move |entry| entry.receipt.state == state)
        };
        let count = |state| u64::try_from(in_state(state).count()).unwrap_or(u64::MAX);
        Box::pin(ready(Ok(Depth {
            waiting: count(State::Waiting),
            parked: count(State::Parked),
            oldest: in_state(State::Waiting)
                .map(|entry| entry.receipt.accepted_at)
                .next(),
        })))
    }

    fn digest_key(&self) -> [u8; 32] {
        [0; 32]
    }

    fn settled(&self, entry: EntryId) -> Answer<'_, State> {
        let waiter = self.waiters.register(entry);
        let state = self
            .tables()
            .entries
            .get(&entry)
            .map(|entry| entry.receipt.state);
        match state {
            Some(state) if state.is_settled() => Box::pin(ready(Ok(state))),
            Some(_) | None => Box::pin(async { waiter.await.map_err(|_gone| Error::Closed) }),
        }
    }

    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.woken.notified())
    }
}

impl Tables {
    fn append(&mut self, batch: Vec<NewEntry>) -> Appended {
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
            Appended::Kept(batch.into_iter().map(|new| self.keep(new)).collect())
        } else {
            Appended::Conflict(conflicts)
        }
    }

    fn keep(&mut self, new: NewEntry) -> Kept {
        if let Some(entry) = self.identities.get(&new.identity) {
            let state = self
                .entries
                .get(entry)
                .map_or(State::Waiting, |entry| entry.receipt.state);
            return Kept {
                entry: *entry,
                state,
                duplicate: true,
            };
        }
        let entry = EntryId(
            self.entries
                .last_key_value()
                .map_or(1, |(last, _)| last.0 + 1),
        );
        let state = match new.arrival {
            Arrival::Ignore => State::Ignored,
            Arrival::Wait {
                customer,
                epoch,
                value,
                update,
            } => {
                let version = Version {
                    epoch,
                    value,
                    arrival: entry.0,
                };
                let lane = self.lane(customer);
                lane.due.get_or_insert(new.accepted_at);
                lane.waiting.insert(entry, (version, update));
                State::Waiting
            }
        };
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
            parked: None,
        };
        self.entries.insert(
            entry,
            Entry {
                receipt,
                digest: new.digest,
            },
        );
        Kept {
            entry,
            state,
            duplicate: false,
        }
    }

    fn lane(&mut self, customer: ImprintId) -> &mut Lane {
        let next = LaneId(
            self.lanes
                .last_key_value()
                .map_or(1, |(last, _)| last.0 + 1),
        );
        let lane = *self.customers.entry(customer.canonical()).or_insert(next);
        self.lanes.entry(lane).or_insert_with(|| Lane {
            customer,
            due: None,
            versions: LaneVersions::default(),
            failures: 0,
            unfold_to: None,
            waiting: BTreeMap::new(),
        })
    }

    fn claim(&mut self, now: Timestamp, max: usize, pick: Pick) -> Claim {
        let mut due: Vec<(Timestamp, LaneId, u32)> = self
            .lanes
            .iter()
            .filter(|(lane, _)| !self.in_flight.contains(*lane))
            .filter_map(|(lane, row)| row.due.map(|due| (due, *lane, row.failures)))
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
        let lanes = due
            .into_iter()
            .take(max)
            .filter_map(|(_, lane, _)| self.claim_one(lane))
            .collect();
        Claim { lanes, next_due }
    }

    fn claim_one(&mut self, lane: LaneId) -> Option<ClaimedLane> {
        let row = self.lanes.get(&lane)?;
        self.in_flight.insert(lane);
        let waiting = row.waiting.iter().rev().take(WAITING_WINDOW);
        Some(ClaimedLane {
            lane,
            customer: Some(row.customer.clone()),
            versions: row.versions.clone(),
            failures: row.failures,
            unfold_to: row.unfold_to,
            waiting: waiting
                .map(|(entry, (version, update))| WaitingEntry {
                    entry: *entry,
                    version: *version,
                    update: update.clone(),
                })
                .collect(),
            unreadable: Vec::new(),
        })
    }

    fn settle(&mut self, settlement: Settlement) -> Vec<(EntryId, State)> {
        self.in_flight.remove(&settlement.lane);
        let Some(lane) = self.lanes.get_mut(&settlement.lane) else {
            return Vec::new();
        };
        let mut settled = Vec::new();
        for entry in &settlement.attempted {
            if let Some(entry) = self.entries.get_mut(entry) {
                entry.receipt.attempts += 1;
            }
        }
        for (entry, ending) in settlement.endings {
            if lane.waiting.remove(&entry).is_none() {
                continue;
            }
            let winner = match &ending {
                Ending::Superseded(winner) => self
                    .entries
                    .get(winner)
                    .map(|winner| winner.receipt.identity.id.clone()),
                Ending::Delivered | Ending::Ignored | Ending::Parked { .. } => None,
            };
            let Some(row) = self.entries.get_mut(&entry) else {
                continue;
            };
            row.receipt.state = ending.state();
            row.receipt.settled_at = Some(settlement.at);
            row.receipt.superseded_by = winner;
            if let Ending::Parked { reason, detail } = ending {
                row.receipt.parked = Some((reason, detail));
            }
            settled.push((entry, row.receipt.state));
        }
        if let Some(versions) = settlement.versions {
            lane.versions = versions;
        }
        lane.failures = settlement.failures;
        lane.unfold_to = settlement.unfold_to;
        lane.due = (!lane.waiting.is_empty()).then_some(settlement.due);
        settled
    }
}
