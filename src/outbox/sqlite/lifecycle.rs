//! The port of the process that owns the store: backup, erasure, sealing, close.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::writer::CopyJob;
use super::writer::KeysJob;
use super::writer::job::{Wakes, WriterCommand};
use super::{SqliteOutbox, journaled, records};
use crate::outbox::{
    CopyRefusal, CustomerErasure, DiskState, JournalError, Lifecycle, RecordCounts, RecordCursor,
    SealingStatus, StoreCondition, StoreFigures, StoreFuture,
};
use crate::sealing::KeyRing;

impl Lifecycle for SqliteOutbox {
    fn failed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut failed = self.failed.clone();
        Box::pin(async move {
            if failed.wait_for(|failed| *failed).await.is_err() {
                // The writer thread has ended without a failure, so this future never resolves.
                std::future::pending::<()>().await;
            }
        })
    }

    fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.shared.condition()
    }

    fn backup(&self, name: &str) -> StoreFuture<'_, Result<PathBuf, CopyRefusal>> {
        let to = self.path.with_file_name(name);
        self.ask(|reply| WriterCommand::Copy(CopyJob { to, reply }))
    }

    fn erase(&self) -> StoreFuture<'_, ()> {
        self.ask(WriterCommand::Erase)
    }

    fn keep_erasures(
        &self,
        journal: PathBuf,
    ) -> StoreFuture<'_, Result<Vec<CustomerErasure>, JournalError>> {
        let key = self.digest_key;
        self.act(Wakes::Nobody, move |store, _| {
            journaled::open(store, &journal, &key)
        })
    }

    fn use_keys(&self, ring: Arc<KeyRing>) -> StoreFuture<'_, ()> {
        self.ask(|reply| WriterCommand::UseKeys(KeysJob { ring, reply }))
    }

    fn reseal(&self) -> StoreFuture<'_, bool> {
        self.ask(WriterCommand::Reseal)
    }

    fn sealing(&self) -> watch::Receiver<SealingStatus> {
        self.shared.sealing()
    }

    fn count_records(
        &self,
        from: RecordCursor,
    ) -> StoreFuture<'_, (RecordCounts, Option<RecordCursor>)> {
        self.read(move |store, _| records::count(store, from))
    }

    fn figures(&self) -> StoreFigures {
        self.shared.figures.read()
    }

    fn disk(&self) -> watch::Receiver<DiskState> {
        self.disk.clone()
    }

    fn close(&self) {
        drop(take(&self.commands));
        if let Some(threads) = take(&self.threads) {
            threads.join();
        }
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for SqliteOutbox {
    fn drop(&mut self) {
        self.close();
    }
}
