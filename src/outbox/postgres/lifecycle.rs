//! The lifecycle of the store in PostgreSQL.

use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use super::connection::Connected;
use super::engine::Engine;
use super::{PostgresOutbox, due_times, erasure_order, key_change, resealing, sealed_columns};
use crate::outbox::{
    CopyRefusal, CustomerErasure, DiskState, JournalError, Lifecycle, RecordCounts, RecordCursor,
    SealingStatus, StoreCondition, StoreFigures, StoreFuture,
};
use crate::sealing::KeyRing;
use crate::time::Timestamp;

impl Lifecycle for PostgresOutbox {
    /// The engine never fails permanently: it connects again when the database is back.
    fn failed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.shared.condition()
    }

    /// PostgreSQL has its own tools for backups, which also copy the log that a recovery to a point in time needs.
    fn backup(&self, _name: &str) -> StoreFuture<'_, Result<PathBuf, CopyRefusal>> {
        Box::pin(std::future::ready(Ok(Err(CopyRefusal::InDatabase))))
    }

    /// Does nothing: PostgreSQL removes the remains of deleted rows with its vacuum and its log.
    fn erase(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn keep_erasures(
        &self,
        journal: PathBuf,
    ) -> StoreFuture<'_, Result<Vec<CustomerErasure>, JournalError>> {
        self.operators.set_journal(journal.clone());
        self.run(async move |engine: Rc<Engine>| {
            let pending =
                async |db: &Connected| erasure_order::pending(db, &engine, &journal).await;
            engine.act(pending).await
        })
    }

    fn use_keys(&self, ring: Arc<KeyRing>) -> StoreFuture<'_, ()> {
        self.run(async move |engine: Rc<Engine>| {
            key_change::adopt(&engine, ring).await?;
            engine.claims.borrow_mut().unlock();
            resealing::publish(&engine, None);
            engine.shared.woken.notify_waiters();
            Ok(())
        })
    }

    fn reseal(&self) -> StoreFuture<'_, bool> {
        self.run(async move |engine: Rc<Engine>| resealing::reseal(&engine).await)
    }

    fn sealing(&self) -> watch::Receiver<SealingStatus> {
        self.shared.sealing()
    }

    fn count_records(
        &self,
        from: RecordCursor,
    ) -> StoreFuture<'_, (RecordCounts, Option<RecordCursor>)> {
        self.read(async move |engine: Rc<Engine>| {
            let count = async |db: &Connected| sealed_columns::count(db, from).await;
            engine.read(count).await
        })
    }

    /// PostgreSQL reports the sizes of its files and its disk itself.
    fn figures(&self) -> StoreFigures {
        StoreFigures {
            database: Some(self.shared.connections.figures()),
            ..StoreFigures::default()
        }
    }

    fn shared_time(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.read(async move |engine: Rc<Engine>| {
            let now = engine.read(async |db: &Connected| due_times::now(db).await);
            now.await.map(Some)
        })
    }

    fn can_lose_commits(&self) -> bool {
        self.shared.is_lossy()
    }

    fn disk(&self) -> watch::Receiver<DiskState> {
        self.operators.disk()
    }

    fn close(&self) {
        self.end();
    }
}
