//! The ledger of the store in PostgreSQL.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::columns::get;
use super::connection::Connected;
use super::engine::Engine;
use super::{PostgresOutbox, tally};
use crate::imprint::CustomerRef;
use crate::outbox::{
    AuditEvent, AuditHead, AuditKeys, AuditProtection, AuditRecord, CustomerErasure, Depth, Detail,
    EntryFilter, EntryId, EntryPage, EntrySelection, ErasureStep, Error, FieldOrigin, Inspection,
    LaneKey, Ledger, LoadedEntries, LoadedLane, NamedEntries, Replay, StoreFuture, VersionReset,
    Withdrawal, Withdrawn,
};
use crate::time::Timestamp;

/// Returns the error of an operation that this engine does not have yet.
fn missing<'a, T: Send + 'a>(doing: &'static str) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(Error::Failed { doing })))
}

impl Ledger for PostgresOutbox {
    fn list(&self, _filter: EntryFilter) -> StoreFuture<'_, EntryPage> {
        missing("listing")
    }

    fn inspect(&self, _entry: EntryId) -> StoreFuture<'_, Option<Inspection>> {
        missing("inspecting")
    }

    fn load(&self, _selection: EntrySelection, _detail: Detail) -> StoreFuture<'_, LoadedEntries> {
        missing("loading")
    }

    fn lanes(&self, _customers: Vec<CustomerRef>) -> StoreFuture<'_, Vec<LoadedLane>> {
        missing("loading lanes")
    }

    fn origins(&self, _customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>> {
        missing("reading origins")
    }

    fn replay(&self, _replays: Vec<Replay>, _event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        missing("replaying")
    }

    fn approve(&self, _entries: Vec<EntryId>, _event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        missing("approving")
    }

    fn withdraw(&self, _withdrawal: Withdrawal, _event: AuditEvent) -> StoreFuture<'_, Withdrawn> {
        missing("withdrawing")
    }

    fn reset_versions(
        &self,
        _customer: LaneKey,
        _event: AuditEvent,
    ) -> StoreFuture<'_, VersionReset> {
        missing("resetting versions")
    }

    fn named_entries(
        &self,
        _keys: Vec<LaneKey>,
        _after: EntryId,
        _max: usize,
    ) -> StoreFuture<'_, NamedEntries> {
        missing("searching entries")
    }

    fn erase_customer(&self, _erasure: CustomerErasure) -> StoreFuture<'_, ErasureStep> {
        missing("erasing a customer")
    }

    fn append_audit(&self, _event: AuditEvent) -> StoreFuture<'_, ()> {
        missing("writing the audit log")
    }

    fn audit(&self, _after: u64, _max: usize) -> StoreFuture<'_, Vec<AuditRecord>> {
        missing("reading the audit log")
    }

    fn protect_audit(&self, _keys: AuditKeys, _now: Timestamp) -> StoreFuture<'_, AuditProtection> {
        missing("protecting the audit log")
    }

    fn audit_head(&self) -> StoreFuture<'_, AuditHead> {
        missing("reading the audit log")
    }

    fn prune_receipts(
        &self,
        _from: EntryId,
        _kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>> {
        missing("pruning receipts")
    }

    fn depth(&self) -> StoreFuture<'_, Depth> {
        self.read(async move |engine: Rc<Engine>| {
            engine
                .read(async |db: &Connected| {
                    let totals = tally::read(db).await?;
                    let sql = "SELECT accepted_at FROM imprint_bridge.payload WHERE state = 0 ORDER BY entry LIMIT 1";
                    let oldest = db.query_opt(sql, &[]).await?;
                    let oldest = oldest.map(|row| get(&row, 0).map(Timestamp::from_millis));
                    Ok(Depth {
                        waiting: totals.waiting,
                        parked: totals.parked,
                        held: totals.held,
                        undecided: totals.undecided,
                        stored_bytes: totals.stored_bytes,
                        oldest: oldest.transpose()?,
                    })
                })
                .await
        })
    }
}
