//! Sends commands to the writer thread, and waits for their answers.

use std::future::ready;
use std::sync::PoisonError;

use tokio::sync::oneshot;

use super::SqliteOutbox;
use super::counts::Counts;
use super::store_connection::StoreConnection;
use super::writer::job::{ActJob, ReadJob, Reply, Wakes, WriterCommand};
use crate::outbox::{Error, StoreCondition, StoreFuture};

impl SqliteOutbox {
    /// Sends a command to the writer thread and waits for its answer.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> WriterCommand,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = commands
            .as_ref()
            .is_some_and(|commands| commands.send(command(reply)).is_ok());
        drop(commands);
        Box::pin(async move {
            if !sent {
                return Err(Error::Closed);
            }
            answer.await.unwrap_or(Err(Error::Closed))
        })
    }

    /// Does the same as [`Self::ask`], but returns an error if the answer takes longer than [`STALLED_AFTER`](crate::outbox::STALLED_AFTER).
    pub(super) fn ask_in_time<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> WriterCommand,
    ) -> StoreFuture<'_, T> {
        let stall = self.shared.stall();
        let answer = self.ask(command);
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                () = stall => Err(Error::Unavailable(StoreCondition::Stalled)),
            }
        })
    }

    /// Runs a read of the committed state on the writer thread. While the disk hangs, the read fails at once, because a
    /// queue of reads without waiting callers would fill the memory.
    pub(super) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StoreConnection, &Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        if self.shared.is_stalled() {
            return Box::pin(ready(Err(Error::Unavailable(StoreCondition::Stalled))));
        }
        self.ask_in_time(|reply| WriterCommand::Read(ReadJob::new(reply, read)))
    }

    /// Changes the store on the writer thread, in a separate transaction.
    pub(super) fn act<T: Send + 'static>(
        &self,
        wakes: Wakes,
        act: impl FnOnce(&StoreConnection, &mut Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.ask(|reply| WriterCommand::Act(ActJob::new(reply, wakes, act)))
    }
}
