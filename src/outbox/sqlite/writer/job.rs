//! The commands of the writer thread, and their answers.
//!
//! Appends and settlements join the group commit. A read sees only committed data. An act is a change by an operator or
//! a background task; each act is a separate transaction.

use rusqlite::{Connection, ErrorCode, Transaction};
use tokio::sync::oneshot;

use crate::outbox::sqlite::counts::Counts;
use crate::outbox::{Appended, Claim, Error, NewEntry, Pick, Settled, Settlement};
use crate::time::Timestamp;

/// The channel for an answer.
pub(in crate::outbox::sqlite) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// One request to the writer thread.
pub(in crate::outbox::sqlite) enum WriterCommand {
    Append(AppendJob),
    Settle(SettleJob),
    Claim(ClaimJob),
    Read(ReadJob),
    Act(ActJob),
}

/// A batch to store.
pub(in crate::outbox::sqlite) struct AppendJob {
    pub(in crate::outbox::sqlite) batch: Vec<NewEntry>,
    pub(in crate::outbox::sqlite) reply: Reply<Appended>,
}

/// A settlement to record.
pub(in crate::outbox::sqlite) struct SettleJob {
    pub(in crate::outbox::sqlite) settlement: Box<Settlement>,
    pub(in crate::outbox::sqlite) reply: Reply<Settled>,
}

/// Lanes to claim. A claim writes nothing to disk, so it waits for no commit.
pub(in crate::outbox::sqlite) struct ClaimJob {
    pub(in crate::outbox::sqlite) now: Timestamp,
    pub(in crate::outbox::sqlite) max: usize,
    pub(in crate::outbox::sqlite) pick: Pick,
    pub(in crate::outbox::sqlite) reply: Reply<Claim>,
}

type ReadFn = dyn FnOnce(&Connection, Counts) -> rusqlite::Result<()> + Send;

/// A read of committed data.
pub(in crate::outbox::sqlite) struct ReadJob(Box<ReadFn>);

impl ReadJob {
    /// Answers `reply` with the result of `read`. A row that cannot be read fails this request only.
    pub(in crate::outbox::sqlite) fn new<T: Send + 'static>(
        reply: Reply<T>,
        read: impl FnOnce(&Connection, Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |connection, counts| {
            send(reply, recover(read(connection, counts), "reading")?);
            Ok(())
        }))
    }

    /// Answers `reply` with a result that never stops the store, even if the result is an error.
    pub(in crate::outbox::sqlite) fn infallible<T: Send + 'static>(
        reply: Reply<T>,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |connection, _| {
            send(reply, read(connection));
            Ok(())
        }))
    }

    pub(super) fn run(self, connection: &Connection, counts: Counts) -> rusqlite::Result<()> {
        (self.0)(connection, counts)
    }
}

/// Whether an operator's or background task's change can make a lane due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::outbox::sqlite) enum Wakes {
    Dispatch,
    Nobody,
}

/// Whether the change of an act is on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    Committed,
    Refused,
}

type ActFn = dyn FnOnce(Transaction<'_>, &mut Counts) -> rusqlite::Result<Finished> + Send;

/// A change in a separate transaction. A full disk refuses the change.
pub(in crate::outbox::sqlite) struct ActJob {
    act: Box<ActFn>,
    pub(super) wakes: Wakes,
}

impl ActJob {
    /// Answers `reply` with the result of `act` once it is committed.
    pub(in crate::outbox::sqlite) fn new<T: Send + 'static>(
        reply: Reply<T>,
        wakes: Wakes,
        act: impl FnOnce(&Connection, &mut Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> Self {
        let act = move |transaction: Transaction<'_>, counts: &mut Counts| {
            let done = act(&transaction, counts);
            let done = recover(
                done.and_then(|done| transaction.commit().map(|()| done)),
                "changing entries",
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
    ) -> rusqlite::Result<Finished> {
        (self.act)(transaction, counts)
    }
}

/// Sends an answer. If the caller is gone, the change still holds.
pub(super) fn send<T>(reply: Reply<T>, answer: Result<T, Error>) {
    let _caller_is_gone = reply.send(answer);
}

/// Separates an error that fails one request from an error that the store cannot continue after.
///
/// A full disk and a row with unreadable content fail the request. The outer error holds every other error.
pub(super) fn recover<T>(
    result: rusqlite::Result<T>,
    doing: &'static str,
) -> rusqlite::Result<Result<T, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if is_full(&error) => Ok(Err(Error::Full)),
        Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            tracing::error!(error = %error, doing, "a stored row cannot be read");
            Ok(Err(Error::Failed { doing }))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
