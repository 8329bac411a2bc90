//! The reference engine: the whole contract of the port in plain maps, for tests and the simulation.
//!
//! It keeps nothing over a restart, so `serve` does not offer it.

use std::future::ready;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use self::tables::MemoryTables;
use super::waiters::Waiters;
use super::{
    Appended, AuditEvent, AuditRecord, Claim, Depth, EntryFilter, EntryId, EntryPage, Error,
    Inspection, Lookup, NewEntry, Outbox, Pick, Receipt, Replay, Setting, Settlement, State,
    StoreFuture,
};
use crate::time::Timestamp;

mod operator;
mod tables;

/// An outbox in memory.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    /// Held only while the maps are touched, never across an await.
    tables: Mutex<MemoryTables>,
    waiters: Waiters,
    woken: Notify,
}

impl MemoryOutbox {
    /// What a crash leaves: everything that was kept, and no memory of what was in flight.
    pub fn crash(&self) {
        self.restart(false);
    }

    /// What another process finds; where this one did not end in order, something may have been in flight.
    pub fn restart(&self, in_order: bool) {
        self.tables().restart(in_order);
    }

    fn tables(&self) -> MutexGuard<'_, MemoryTables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox for MemoryOutbox {
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended> {
        let appended = self.tables().append(batch);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(appended)))
    }

    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim> {
        Box::pin(ready(Ok(self.tables().claim(now, max, pick))))
    }

    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, ()> {
        let settled = self.tables().settle(settlement);
        self.waiters.settle(&settled);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(())))
    }

    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.tables().release(now);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(())))
    }

    fn store_setting(&self, note: Setting, text: String) -> StoreFuture<'_, ()> {
        self.tables().notes.insert(note, text);
        Box::pin(ready(Ok(())))
    }

    fn setting(&self, note: Setting) -> Option<String> {
        self.tables().notes.get(&note).cloned()
    }

    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>> {
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

    fn list(&self, listing: EntryFilter) -> StoreFuture<'_, EntryPage> {
        Box::pin(ready(Ok(self.tables().list(&listing))))
    }

    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>> {
        Box::pin(ready(Ok(self.tables().inspect(entry))))
    }

    fn replay(&self, replays: Vec<Replay>, act: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        let moved = self.tables().replay(replays, act);
        self.woken.notify_waiters();
        Box::pin(ready(Ok(moved)))
    }

    fn discard(&self, entries: Vec<EntryId>, act: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        Box::pin(ready(Ok(self.tables().discard(entries, act))))
    }

    fn append_audit(&self, act: AuditEvent) -> StoreFuture<'_, ()> {
        self.tables().append_audit(act, 0);
        Box::pin(ready(Ok(())))
    }

    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>> {
        Box::pin(ready(Ok(self.tables().prune_receipts(from, &kept))))
    }

    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>> {
        let tables = self.tables();
        let lines = tables.acts.iter().filter(|line| line.number > after);
        Box::pin(ready(Ok(lines.take(max).cloned().collect())))
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
            oldest: in_state(State::Waiting)
                .map(|entry| entry.receipt.accepted_at)
                .next(),
        })))
    }

    fn digest_key(&self) -> [u8; 32] {
        [0; 32]
    }

    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State> {
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
