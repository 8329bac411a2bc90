//! The lifecycle of the store in PostgreSQL.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::PostgresOutbox;
use crate::outbox::{
    CopyRefusal, CustomerErasure, Error, JournalError, Lifecycle, RecordCounts, RecordCursor,
    Reserve, SealingStatus, StoreCondition, StoreFigures, StoreFuture,
};
use crate::sealing::KeyRing;

/// Returns the error of an operation that this engine does not have yet.
fn missing<'a, T: Send + 'a>(doing: &'static str) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(Error::Failed { doing })))
}

impl Lifecycle for PostgresOutbox {
    /// The engine never fails permanently: it connects again when the database is back.
    fn failed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.shared.condition()
    }

    fn backup(&self, _name: &str) -> StoreFuture<'_, Result<PathBuf, CopyRefusal>> {
        missing("copying")
    }

    fn erase(&self) -> StoreFuture<'_, ()> {
        missing("erasing")
    }

    fn keep_erasures(
        &self,
        _journal: PathBuf,
    ) -> StoreFuture<'_, Result<Vec<CustomerErasure>, JournalError>> {
        missing("reading the journal of erasures")
    }

    fn use_keys(&self, _ring: Arc<KeyRing>) -> StoreFuture<'_, ()> {
        missing("changing keys")
    }

    fn reseal(&self) -> StoreFuture<'_, bool> {
        missing("sealing records again")
    }

    fn sealing(&self) -> watch::Receiver<SealingStatus> {
        self.shared.sealing()
    }

    fn count_records(
        &self,
        _from: RecordCursor,
    ) -> StoreFuture<'_, (RecordCounts, Option<RecordCursor>)> {
        missing("counting records")
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures::default()
    }

    fn reserve(&self) -> watch::Receiver<Reserve> {
        watch::channel(Reserve::Held).1
    }

    fn close(&self) {
        self.end();
    }
}
