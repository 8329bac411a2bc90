//! The commands of the store's writer thread, and the answers to the commands.
//!
//! Appends and settlements join the group commit. A read sees only committed data. An act is a change by an operator or
//! by a background task; each act has a separate transaction.

use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use crate::outbox::sqlite::counts::Counts;
use crate::outbox::sqlite::disk_space::DiskSpace;
use crate::outbox::{Appended, Claim, Error, NewEntry, Pick, Settled, Settlement};
use crate::time::Timestamp;

/// The channel on which the writer thread answers a command.
pub(in crate::outbox::sqlite) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// One command for the writer thread.
pub(in crate::outbox::sqlite) enum WriterCommand {
    Append(AppendJob),
    Settle(SettleJob),
    Claim(ClaimJob),
    Read(ReadJob),
    Act(ActJob),
}

/// A command to store a batch of events.
pub(in crate::outbox::sqlite) struct AppendJob {
    pub(in crate::outbox::sqlite) batch: Vec<NewEntry>,
    pub(in crate::outbox::sqlite) reply: Reply<Appended>,
}

/// A command to record the settlement of a lane.
pub(in crate::outbox::sqlite) struct SettleJob {
    pub(in crate::outbox::sqlite) settlement: Box<Settlement>,
    pub(in crate::outbox::sqlite) reply: Reply<Settled>,
}

/// A command to claim lanes. A claim writes nothing to disk, so a claim does not wait for a commit.
pub(in crate::outbox::sqlite) struct ClaimJob {
    pub(in crate::outbox::sqlite) now: Timestamp,
    pub(in crate::outbox::sqlite) max: usize,
    pub(in crate::outbox::sqlite) pick: Pick,
    pub(in crate::outbox::sqlite) reply: Reply<Claim>,
}

type ReadFn = dyn FnOnce(&Connection, Counts, &DiskSpace) -> rusqlite::Result<()> + Send;

/// A command to read committed data.
pub(in crate::outbox::sqlite) struct ReadJob(Box<ReadFn>);

impl ReadJob {
    /// Creates a read that answers `reply` with the result of `read`. A row that cannot be read fails only this
    /// request.
    pub(in crate::outbox::sqlite) fn new<T: Send + 'static>(
        reply: Reply<T>,
        read: impl FnOnce(&Connection, Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |connection, counts, disk| {
            send(reply, recover(read(connection, counts), "reading", disk)?);
            Ok(())
        }))
    }

    /// Creates a read that answers `reply` with a result that never stops the store, even if the result is an error.
    pub(in crate::outbox::sqlite) fn infallible<T: Send + 'static>(
        reply: Reply<T>,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |connection, _, _| {
            send(reply, read(connection));
            Ok(())
        }))
    }

    pub(super) fn run(
        self,
        connection: &Connection,
        counts: Counts,
        disk: &DiskSpace,
    ) -> rusqlite::Result<()> {
        (self.0)(connection, counts, disk)
    }
}

/// The effect of an act on dispatch: an act wakes dispatch if the change can make a lane due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::outbox::sqlite) enum Wakes {
    Dispatch,
    Nobody,
}

/// The result of an act: the store has committed or refused the change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    Committed,
    Refused,
}

type ActFn =
    dyn FnOnce(Transaction<'_>, &mut Counts, &DiskSpace) -> rusqlite::Result<Finished> + Send;

/// A change by an operator or a background task, in a separate transaction. A full disk refuses the change.
pub(in crate::outbox::sqlite) struct ActJob {
    act: Box<ActFn>,
    pub(super) wakes: Wakes,
}

impl ActJob {
    /// Creates an act that answers `reply` with the result of `act` after the commit.
    pub(in crate::outbox::sqlite) fn new<T: Send + 'static>(
        reply: Reply<T>,
        wakes: Wakes,
        act: impl FnOnce(&Connection, &mut Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> Self {
        let act = move |transaction: Transaction<'_>, counts: &mut Counts, disk: &DiskSpace| {
            let done = act(&transaction, counts);
            let done = recover(
                done.and_then(|done| transaction.commit().map(|()| done)),
                "changing entries",
                disk,
            )?;
            let finished = match &done {
                Ok(_) => Finished::Committed,
                Err(_) => Finished::Refused,
            };
            send(reply, done);
            Ok(finished)
        };
        Self {
            act: Box::new(act),
            wakes,
        }
    }

    pub(super) fn run(
        self,
        transaction: Transaction<'_>,
        counts: &mut Counts,
        disk: &DiskSpace,
    ) -> rusqlite::Result<Finished> {
        (self.act)(transaction, counts, disk)
    }
}

/// Sends an answer to the caller of a command. If the caller is gone, the change remains in the store.
pub(super) fn send<T>(reply: Reply<T>, answer: Result<T, Error>) {
    let _caller_is_gone = reply.send(answer);
}

/// Separates an error that fails only one request from an error after which the store cannot continue.
///
/// A full disk and a row with unreadable content fail only the request. Every other error is the outer error.
pub(super) fn recover<T>(
    result: rusqlite::Result<T>,
    doing: &'static str,
    disk: &DiskSpace,
) -> rusqlite::Result<Result<T, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if disk.is_full(&error) => Ok(Err(Error::Full)),
        Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            tracing::error!(error = %error, doing, "a stored row cannot be read");
            Ok(Err(Error::Failed { doing }))
        }
        Err(error) => Err(error),
    }
}
