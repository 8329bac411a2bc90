//! The storage engine in memory: implements every port of the outbox with plain maps. Tests and the simulation use this
//! engine, and compare the SQLite engine with it.
//!
//! The entries of this engine are lost when the process ends, so the command `serve` does not offer the engine.

use std::future::ready;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use self::tables::MemoryTables;
use super::waiters::Waiters;
use super::{
    Appended, AuditEvent, AuditHead, AuditKeys, AuditProtection, AuditRecord, Claim, ClaimBounds,
    CopyRefusal, CustomerErasure, Depth, Detail, DiskState, EntryFilter, EntryId, EntryPage,
    EntrySelection, ErasureStep, Error, FieldOrigin, Inbox, Inspection, JournalError, LaneId,
    LaneKey, Lanes, Ledger, Lifecycle, LoadedEntries, LoadedLane, Lookup, NamedEntries, NewEntry,
    Pick, Receipt, RecordCounts, RecordCursor, Replay, Retirement, SealingStatus, Setting,
    Settings, Settled, Settlement, State, StoreCondition, StoreFigures, StoreFuture, VersionReset,
    Withdrawal, Withdrawn,
};
use crate::event::{Identity, SourceName};
use crate::imprint::CustomerRef;
use crate::sealing::KeyRing;
use crate::time::Timestamp;

mod customer;
mod customer_erasure;
mod lanes;
mod ledger;
mod origin;
mod retire;
mod tables;
mod withdraw;

/// An outbox that keeps all entries in memory.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    /// The tables of the engine. The code holds the lock only for one read or change of the tables, never across an
    /// await.
    tables: Mutex<MemoryTables>,
    waiters: Waiters,
    woken: Notify,
}

impl MemoryOutbox {
    /// Creates an empty outbox with these bounds. Tests use small bounds.
    pub fn bounded(bounds: ClaimBounds) -> Self {
        let outbox = Self::default();
        outbox.tables().bounds = bounds;
        outbox
    }

    /// Simulates a crash of the process: all stored data remains, and every claim of a lane ends.
    pub fn crash(&self) {
        self.restart(false);
    }

    /// Simulates a restart of the process. If `in_order` is false, the earlier process did not close the store. That
    /// process has then possibly sent the waiting entries of the first lanes of each queue.
    pub fn restart(&self, in_order: bool) {
        self.tables().restart(in_order);
    }

    /// Simulates the end of a process whose claims the store knows: only the claimed lanes are possibly sent.
    pub fn restart_with_known_claims(&self) {
        let mut tables = self.tables();
        tables.write_down_claims();
        tables.restart(true);
    }

    fn tables(&self) -> MutexGuard<'_, MemoryTables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox for MemoryOutbox {
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended> {
        let appended = self.tables().append(batch);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(appended)))
    }

    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>> {
        let tables = self.tables();
        let is_asked = |identity: &Identity| {
            identity.source == lookup.source
                && identity.id == lookup.id
                && (lookup.ce_source.is_none() || identity.ce_source == lookup.ce_source)
        };
        // The identities stay when an erasure removes them from the receipts.
        let asked = tables.identities.iter();
        let asked = asked.filter(|(identity, _)| is_asked(identity));
        let newest = asked.map(|(_, entry)| *entry).max();
        let found = newest.and_then(|entry| tables.entries.get(&entry));
        let found = found.map(|row| row.receipt.clone());
        let found = found.map(|receipt| match receipt.erased_at {
            Some(_) => receipt.known_as(&lookup),
            None => receipt,
        });
        Box::pin(ready(Ok(found)))
    }

    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State> {
        let Some(waiter) = self.waiters.register(entry) else {
            return Box::pin(ready(Err(Error::Busy)));
        };
        let state = self
            .tables()
            .entries
            .get(&entry)
            .map(|entry| entry.receipt.state);
        match state {
            Some(state) if state.is_settled() => Box::pin(ready(Ok(state))),
            Some(_) | None => Box::pin(async { waiter.settled().await.ok_or(Error::Closed) }),
        }
    }

    fn digest_key(&self) -> [u8; 32] {
        [0; 32]
    }

    fn stored_bytes(&self, source: &SourceName) -> u64 {
        let stored_bytes = self.tables().stored_bytes();
        stored_bytes.get(source).copied().unwrap_or_default()
    }
}

impl Lanes for MemoryOutbox {
    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim> {
        Box::pin(ready(Ok(self.tables().claim(now, max, pick))))
    }

    fn settle(&self, settlement: Arc<Settlement>) -> StoreFuture<'_, Settled> {
        let Some(settled) = self.tables().settle(Arc::unwrap_or_clone(settlement)) else {
            return Box::pin(ready(Ok(Settled::Stale)));
        };
        self.waiters.settle(&settled);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(Settled::Recorded)))
    }

    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.tables().release(now);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(())))
    }

    fn release_absent(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.tables().release_absent(now);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(())))
    }

    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.woken.notified())
    }
}

impl Ledger for MemoryOutbox {
    fn list(&self, listing: EntryFilter) -> StoreFuture<'_, EntryPage> {
        Box::pin(ready(Ok(self.tables().list(&listing))))
    }

    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>> {
        Box::pin(ready(Ok(self.tables().inspect(entry))))
    }

    fn load(&self, selection: EntrySelection, detail: Detail) -> StoreFuture<'_, LoadedEntries> {
        Box::pin(ready(Ok(self.tables().load(&selection, detail))))
    }

    fn lanes(&self, customers: Vec<CustomerRef>) -> StoreFuture<'_, Vec<LoadedLane>> {
        Box::pin(ready(Ok(self.tables().load_lanes(&customers))))
    }

    fn origins(&self, customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>> {
        Box::pin(ready(Ok(self.tables().origins(&customer))))
    }

    fn replay(&self, replays: Vec<Replay>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        let moved = self.tables().replay(replays, event);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(moved)))
    }

    fn approve(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        let moved = self.tables().approve(&entries, event);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(moved)))
    }

    fn withdraw(&self, withdrawal: Withdrawal, event: AuditEvent) -> StoreFuture<'_, Withdrawn> {
        let withdrawn = self.tables().withdraw(&withdrawal, event);
        self.waiters
            .settle_all(&withdrawn.entries, withdrawal.to.state());
        self.woken.notify_waiters();
        Box::pin(ready(Ok(withdrawn)))
    }

    fn reset_versions(
        &self,
        customer: LaneKey,
        event: AuditEvent,
    ) -> StoreFuture<'_, VersionReset> {
        let reset = self.tables().reset_versions(&customer, event);
        Box::pin(ready(Ok(reset)))
    }

    fn named_entries(
        &self,
        keys: Vec<LaneKey>,
        after: EntryId,
        max: usize,
    ) -> StoreFuture<'_, NamedEntries> {
        let named = self.tables().named_entries(&keys, after, max);
        Box::pin(ready(Ok(named)))
    }

    fn erase_customer(&self, erasure: CustomerErasure) -> StoreFuture<'_, ErasureStep> {
        let step = self.tables().erase_customer(&erasure);
        if let ErasureStep::Erased(part) = &step {
            self.waiters.settle_all(&part.discarded, State::Discarded);
        }
        Box::pin(ready(Ok(step)))
    }

    fn append_audit(&self, event: AuditEvent) -> StoreFuture<'_, ()> {
        self.tables().append_audit(event, 0);
        Box::pin(ready(Ok(())))
    }

    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>> {
        let tables = self.tables();
        let lines = tables.audit.iter().filter(|line| line.number > after);
        Box::pin(ready(Ok(lines.take(max).cloned().collect())))
    }

    fn protect_audit(&self, keys: AuditKeys, now: Timestamp) -> StoreFuture<'_, AuditProtection> {
        Box::pin(ready(Ok(self.tables().protect_audit(keys, now))))
    }

    fn audit_head(&self) -> StoreFuture<'_, AuditHead> {
        Box::pin(ready(Ok(self.tables().audit_head())))
    }

    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>> {
        Box::pin(ready(Ok(self.tables().prune_receipts(from, &kept))))
    }

    fn retire_customers(&self, from: LaneId, before: Timestamp) -> StoreFuture<'_, Retirement> {
        Box::pin(ready(Ok(self.tables().retire_customers(from, before))))
    }

    fn depth(&self) -> StoreFuture<'_, Depth> {
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
            held: count(State::Held),
            undecided: count(State::Undecided),
            stored_bytes: tables.stored_bytes(),
            oldest: in_state(State::Waiting)
                .map(|entry| entry.receipt.accepted_at)
                .next(),
        })))
    }
}

impl Settings for MemoryOutbox {
    fn store_setting(&self, setting: Setting, value: String) -> StoreFuture<'_, ()> {
        self.tables().settings.insert(setting, value);
        Box::pin(ready(Ok(())))
    }

    fn replace_setting(
        &self,
        setting: Setting,
        known: Option<String>,
        value: String,
    ) -> StoreFuture<'_, bool> {
        let settings = &mut self.tables().settings;
        let is_known = setting != Setting::Evidence && settings.get(&setting) == known.as_ref();
        if is_known {
            settings.insert(setting, value);
        }
        Box::pin(ready(Ok(is_known)))
    }

    fn setting(&self, setting: Setting) -> StoreFuture<'_, Option<String>> {
        Box::pin(ready(Ok(self.tables().settings.get(&setting).cloned())))
    }
}

impl Lifecycle for MemoryOutbox {
    fn failed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn condition(&self) -> watch::Receiver<StoreCondition> {
        watch::channel(StoreCondition::Working).1
    }

    fn backup(&self, _name: &str) -> StoreFuture<'_, Result<PathBuf, CopyRefusal>> {
        Box::pin(ready(Err(Error::Failed { doing: "copying" })))
    }

    fn erase(&self) -> StoreFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn keep_erasures(
        &self,
        _journal: PathBuf,
    ) -> StoreFuture<'_, Result<Vec<CustomerErasure>, JournalError>> {
        Box::pin(ready(Ok(Ok(Vec::new()))))
    }

    fn use_keys(&self, _ring: Arc<KeyRing>) -> StoreFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn reseal(&self) -> StoreFuture<'_, bool> {
        Box::pin(ready(Ok(false)))
    }

    fn sealing(&self) -> watch::Receiver<SealingStatus> {
        watch::channel(SealingStatus::default()).1
    }

    fn count_records(
        &self,
        _from: RecordCursor,
    ) -> StoreFuture<'_, (RecordCounts, Option<RecordCursor>)> {
        Box::pin(ready(Ok((RecordCounts::default(), None))))
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures::default()
    }

    fn disk(&self) -> watch::Receiver<DiskState> {
        watch::channel(DiskState::HELD).1
    }

    fn close(&self) {}
}
