//! The ledger of the store in PostgreSQL: reads see one state of the store, and each change is one short transaction.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::columns::get;
use super::connection::Connected;
use super::engine::Engine;
use super::erasure_order::ErasureStart;
use super::replay::Requeued;
use super::tally::TallyChange;
use super::{
    PostgresOutbox, audit, customers, erasure, listing, named_search, origins, replay, retention,
    retirement, tally, version_reset, withdraw,
};
use crate::failpoint::{self, CrashPoint};
use crate::imprint::CustomerRef;
use crate::outbox::{
    AuditEvent, AuditHead, AuditKeys, AuditProtection, AuditRecord, CustomerErasure, Depth, Detail,
    EntryFilter, EntryId, EntryPage, EntrySelection, ErasureStep, FieldOrigin, Inspection, LaneId,
    LaneKey, Ledger, LoadedEntries, LoadedLane, NamedEntries, Replay, Retirement, State,
    StoreFuture, VersionReset, Withdrawal, Withdrawn,
};
use crate::time::Timestamp;

impl Engine {
    /// Applies a committed change of operators to the memory of this replica, and wakes dispatch.
    fn changed(&self, tally: &TallyChange) {
        self.shared.add(tally);
        self.shared.woken.notify_waiters();
    }

    /// Logs the head of the audit log after a committed action.
    fn audited(head: Option<AuditHead>, event: &AuditEvent) {
        if let Some(head) = head {
            audit::log_head(head, &event.operator, event.action);
        }
    }

    fn requeued(&self, requeued: Requeued, event: &AuditEvent) -> Vec<EntryId> {
        self.changed(&requeued.tally);
        Self::audited(Some(requeued.head), event);
        requeued.entries
    }
}

impl Ledger for PostgresOutbox {
    fn list(&self, filter: EntryFilter) -> StoreFuture<'_, EntryPage> {
        self.read(async move |engine: Rc<Engine>| {
            let list = async |db: &Connected| listing::list(db, &engine, &filter).await;
            engine.snapshot(list).await
        })
    }

    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>> {
        self.read(async move |engine: Rc<Engine>| {
            let inspect = async |db: &Connected| listing::inspect(db, &engine, entry).await;
            engine.snapshot(inspect).await
        })
    }

    fn load(&self, selection: EntrySelection, detail: Detail) -> StoreFuture<'_, LoadedEntries> {
        self.read(async move |engine: Rc<Engine>| {
            let load = async |db: &Connected| listing::load(db, &engine, &selection, detail).await;
            engine.snapshot(load).await
        })
    }

    fn lanes(&self, customers: Vec<CustomerRef>) -> StoreFuture<'_, Vec<LoadedLane>> {
        self.read(async move |engine: Rc<Engine>| {
            let load = async |db: &Connected| customers::load(db, &engine, &customers).await;
            engine.snapshot(load).await
        })
    }

    fn origins(&self, customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>> {
        self.read(async move |engine: Rc<Engine>| {
            let read = async |db: &Connected| origins::read(db, &engine, &customer).await;
            engine.snapshot(read).await
        })
    }

    fn replay(&self, replays: Vec<Replay>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        let keys = self.operators.audit_keys();
        self.run(async move |engine: Rc<Engine>| {
            let replay =
                async |db: &Connected| replay::replay(db, &engine, &replays, (&event, &keys)).await;
            let requeued = engine.act(replay).await?;
            Ok(engine.requeued(requeued, &event))
        })
    }

    fn approve(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        let keys = self.operators.audit_keys();
        self.run(async move |engine: Rc<Engine>| {
            let approve = async |db: &Connected| {
                replay::approve(db, &engine, &entries, (&event, &keys)).await
            };
            let requeued = engine.act(approve).await?;
            Ok(engine.requeued(requeued, &event))
        })
    }

    fn withdraw(&self, withdrawal: Withdrawal, event: AuditEvent) -> StoreFuture<'_, Withdrawn> {
        let keys = self.operators.audit_keys();
        self.run(async move |engine: Rc<Engine>| {
            let withdraw = async |db: &Connected| {
                withdraw::withdraw(db, &engine, &withdrawal, (&event, &keys)).await
            };
            let (withdrawn, tally, head) = engine.act(withdraw).await?;
            let state = withdrawal.to.state();
            engine.shared.waiters.settle_all(&withdrawn.entries, state);
            engine.changed(&tally);
            Engine::audited(head, &event);
            Ok(withdrawn)
        })
    }

    fn reset_versions(
        &self,
        customer: LaneKey,
        event: AuditEvent,
    ) -> StoreFuture<'_, VersionReset> {
        let keys = self.operators.audit_keys();
        self.run(async move |engine: Rc<Engine>| {
            let reset = async |db: &Connected| {
                version_reset::reset(db, &engine, &customer, (&event, &keys)).await
            };
            let (reset, head) = engine.act(reset).await?;
            Engine::audited(head, &event);
            Ok(reset)
        })
    }

    fn named_entries(
        &self,
        keys: Vec<LaneKey>,
        after: EntryId,
        max: usize,
    ) -> StoreFuture<'_, NamedEntries> {
        self.read(async move |engine: Rc<Engine>| {
            let find =
                async |db: &Connected| named_search::find(db, &engine, &keys, (after, max)).await;
            engine.snapshot(find).await
        })
    }

    fn erase_customer(&self, erasure: CustomerErasure) -> StoreFuture<'_, ErasureStep> {
        let journal = self.operators.journal();
        self.run(async move |engine: Rc<Engine>| {
            let start = ErasureStart::default();
            let step = async |db: &Connected| {
                erasure::step(db, &engine, &erasure, (&start, journal.as_deref())).await
            };
            let stepped = engine.act(step).await;
            let (step, tally) = stepped.map_err(|error| start.error(error))?;
            failpoint::crash_point(CrashPoint::AfterErasure);
            if let ErasureStep::Erased(part) = &step {
                let waiters = &engine.shared.waiters;
                waiters.settle_all(&part.discarded, State::Discarded);
                engine.changed(&tally);
            }
            Ok(step)
        })
    }

    fn append_audit(&self, event: AuditEvent) -> StoreFuture<'_, ()> {
        let keys = self.operators.audit_keys();
        self.run(async move |engine: Rc<Engine>| {
            let append =
                async |db: &Connected| audit::append(db, &engine, (&event, &keys), 0).await;
            let head = engine.act(append).await?;
            Engine::audited(Some(head), &event);
            Ok(())
        })
    }

    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>> {
        let keys = self.operators.audit_keys();
        self.read(async move |engine: Rc<Engine>| {
            let (sealer, page) = (&engine.sealer, (after, max));
            let read = async |db: &Connected| audit::read(db, sealer, &keys, page).await;
            engine.snapshot(read).await
        })
    }

    fn protect_audit(&self, keys: AuditKeys, now: Timestamp) -> StoreFuture<'_, AuditProtection> {
        let used = keys.clone();
        let protected = self.run(async move |engine: Rc<Engine>| {
            let protect = async |db: &Connected| audit::protect(db, &engine, &keys, now).await;
            engine.act(protect).await
        });
        Box::pin(async move {
            let (protection, head) = protected.await?;
            self.operators.set_audit_keys(used);
            if let Some(head) = head {
                audit::log_head(head, "bridge", "audit_key");
            }
            Ok(protection)
        })
    }

    fn audit_head(&self) -> StoreFuture<'_, AuditHead> {
        self.read(async move |engine: Rc<Engine>| engine.read(audit::head).await)
    }

    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>> {
        self.run(async move |engine: Rc<Engine>| {
            let prune =
                async |db: &Connected| retention::prune_receipts(db, &engine, from, &kept).await;
            engine.act(prune).await
        })
    }

    fn retire_customers(&self, from: LaneId, before: Timestamp) -> StoreFuture<'_, Retirement> {
        self.run(async move |engine: Rc<Engine>| {
            let retire = async |db: &Connected| retirement::retire(db, from, before).await;
            engine.act(retire).await
        })
    }

    fn depth(&self) -> StoreFuture<'_, Depth> {
        self.read(async move |engine: Rc<Engine>| {
            let depth = async |db: &Connected| {
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
            };
            engine.snapshot(depth).await
        })
    }
}
