//! The commands of the store's writer thread, and their answers.
//!
//! The writer thread commits all appends and settlements of a group in one transaction. A read sees only committed
//! data. An *act* is a change by an operator or by a background task. Each act has a separate transaction.

use std::sync::Arc;

use rusqlite::{ErrorCode, Transaction, ffi};
use tokio::sync::oneshot;

use super::{CopyJob, KeysJob};
use crate::outbox::sqlite::claimed_lanes::ClaimedLanes;
use crate::outbox::sqlite::counts::Counts;
use crate::outbox::sqlite::disk_space::DiskSpace;
use crate::outbox::sqlite::files::StoreFiles;
use crate::outbox::sqlite::store_connection::StoreConnection;
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
    Copy(CopyJob),
    /// Truncates the write-ahead log.
    Erase(Reply<()>),
    UseKeys(KeysJob),
    /// Seals the next blobs again.
    Reseal(Reply<bool>),
}

/// Returns the total size of the events in a batch. The senders decide this size, so the store limits it.
pub(in crate::outbox::sqlite) fn bytes(batch: &[NewEntry]) -> usize {
    batch.iter().map(|new| new.event.len()).sum()
}

/// A command to store a batch of events.
pub(in crate::outbox::sqlite) struct AppendJob {
    pub(in crate::outbox::sqlite) batch: Vec<NewEntry>,
    pub(in crate::outbox::sqlite) reply: Reply<Appended>,
}

/// A command to record the settlement of a lane.
pub(in crate::outbox::sqlite) struct SettleJob {
    pub(in crate::outbox::sqlite) settlement: Arc<Settlement>,
    pub(in crate::outbox::sqlite) reply: Reply<Settled>,
}

/// A command to claim lanes. A claim writes nothing to the disk, so the writer thread serves a claim before the commit.
pub(in crate::outbox::sqlite) struct ClaimJob {
    pub(in crate::outbox::sqlite) now: Timestamp,
    pub(in crate::outbox::sqlite) max: usize,
    pub(in crate::outbox::sqlite) pick: Pick,
    pub(in crate::outbox::sqlite) reply: Reply<Claim>,
}

type ReadFn = dyn FnOnce(&StoreConnection, &Counts) + Send;

/// A command to read committed data.
pub(in crate::outbox::sqlite) struct ReadJob(Box<ReadFn>);

impl ReadJob {
    /// Creates a command that runs `read` and sends the result to `reply`. If `read` fails, only this caller gets an
    /// error.
    pub(in crate::outbox::sqlite) fn new<T: Send + 'static>(
        reply: Reply<T>,
        read: impl FnOnce(&StoreConnection, &Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |connection, counts| {
            // Skip the read if the caller is gone. After the disk has hung, most callers are gone.
            if reply.is_closed() {
                return;
            }
            let read = read(connection, counts);
            send(reply, read.map_err(|error| failed(&error, "reading")));
        }))
    }

    pub(super) fn run(self, connection: &StoreConnection, counts: &Counts) {
        (self.0)(connection, counts);
    }
}

/// Whether an act wakes dispatch. An act must wake dispatch if its change can make a lane due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::outbox::sqlite) enum Wakes {
    Dispatch,
    Nobody,
}

/// The result of an act: the writer thread has committed the change, or has refused it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    Committed,
    Refused,
}

/// The state of the writer thread that the closure of an act can use.
pub(super) struct ActState<'a> {
    pub(super) store: &'a StoreConnection,
    /// The open transaction of `store`.
    pub(super) transaction: Transaction<'a>,
    pub(super) counts: &'a mut Counts,
    pub(super) disk: &'a DiskSpace,
    pub(super) files: &'a StoreFiles,
    pub(super) claimed: &'a ClaimedLanes,
}

type ActFn = dyn FnOnce(ActState<'_>) -> rusqlite::Result<Finished> + Send;

/// A change by an operator or a background task, in a separate transaction. If the disk is full, the change fails.
pub(in crate::outbox::sqlite) struct ActJob {
    act: Box<ActFn>,
    pub(super) wakes: Wakes,
}

impl ActJob {
    /// Creates an act that sends the result of `act` to `reply` after the commit.
    ///
    /// If the act can make lanes due, it possibly changes the due times of claimed lanes. The act therefore first marks
    /// the claimed lanes with `ClaimedLanes::write_down`.
    pub(in crate::outbox::sqlite) fn new<T: Send + 'static>(
        reply: Reply<T>,
        wakes: Wakes,
        act: impl FnOnce(&StoreConnection, &mut Counts) -> rusqlite::Result<T> + Send + 'static,
    ) -> Self {
        Self::with_claims(reply, wakes, move |connection, counts, _| {
            act(connection, counts)
        })
    }

    /// Does the same as [`Self::new`], and also passes the set of claimed lanes to `act`.
    pub(in crate::outbox::sqlite) fn with_claims<T: Send + 'static>(
        reply: Reply<T>,
        wakes: Wakes,
        act: impl FnOnce(&StoreConnection, &mut Counts, &ClaimedLanes) -> rusqlite::Result<T>
        + Send
        + 'static,
    ) -> Self {
        let act = move |state: ActState<'_>| {
            let before = state.counts.clone();
            let marked = match wakes {
                Wakes::Dispatch => state.claimed.write_down(&state.transaction),
                Wakes::Nobody => Ok(()),
            };
            let done = marked.and_then(|()| act(state.store, state.counts, state.claimed));
            let done = done.and_then(|done| {
                state.counts.save_bytes(&state.transaction, &before)?;
                Ok(done)
            });
            let done = recover(
                done.and_then(|done| state.transaction.commit().map(|()| done)),
                "changing entries",
                state.disk,
            )?;
            state.files.leave();
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

    pub(super) fn run(self, state: ActState<'_>) -> rusqlite::Result<Finished> {
        (self.act)(state)
    }
}

/// Sends an answer to the caller of a command. If the caller is gone, the change stays in the store.
pub(super) fn send<T>(reply: Reply<T>, answer: Result<T, Error>) {
    let _caller_is_gone = reply.send(answer);
}

/// Distinguishes an error of one request from an error after which the store cannot continue. The outer result has the
/// second kind.
///
/// Only an error of the write path stops the store: see [`stops_the_store`]. The caller must roll back the change of a
/// failed request.
pub(super) fn recover<T>(
    result: rusqlite::Result<T>,
    doing: &'static str,
    disk: &DiskSpace,
) -> rusqlite::Result<Result<T, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if disk.is_full(&error) => Ok(Err(Error::Full)),
        Err(error) if stops_the_store(&error) => Err(error),
        Err(error) => Ok(Err(failed(&error, doing))),
    }
}

/// Logs the error of one request, and returns the error for the caller of the request.
pub(super) fn failed(error: &rusqlite::Error, doing: &'static str) -> Error {
    tracing::error!(error = %error, doing, "a request to the store failed; the store serves the next requests");
    Error::Failed { doing }
}

/// Returns whether the error shows that SQLite cannot write to the disk, or cannot work at all.
///
/// An unreadable row or page, and a value that has no stored form, affect only the current request. One damaged row
/// must not stop the process at every start.
pub(super) fn stops_the_store(error: &rusqlite::Error) -> bool {
    let Some(error) = error.sqlite_error() else {
        return false;
    };
    let is_read = [
        ffi::SQLITE_IOERR_READ,
        ffi::SQLITE_IOERR_SHORT_READ,
        ffi::SQLITE_IOERR_CORRUPTFS,
    ]
    .contains(&error.extended_code);
    let is_about_content = matches!(
        error.code,
        ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ParameterOutOfRange
            | ErrorCode::OperationAborted
            | ErrorCode::OperationInterrupted
            | ErrorCode::NotFound
            | ErrorCode::SchemaChanged
            | ErrorCode::ApiMisuse
            | ErrorCode::Unknown
    );
    !(is_read || is_about_content)
}

/// Answers appends after their commit.
pub(super) fn answer_appends(
    appends: impl IntoIterator<Item = AppendJob>,
    appended: impl IntoIterator<Item = Result<Appended, Error>>,
) {
    for (append, appended) in appends.into_iter().zip(appended) {
        send(append.reply, appended);
    }
}

/// Answers appends that changed nothing.
pub(super) fn refuse_appends(appends: impl IntoIterator<Item = AppendJob>, error: &Error) {
    for append in appends {
        send(append.reply, Err(error.clone()));
    }
}

/// Answers settlements that changed nothing.
pub(super) fn refuse_settles(settles: impl IntoIterator<Item = SettleJob>, error: &Error) {
    for settle in settles {
        send(settle.reply, Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N171, D05, D06: only an error of the write path stops the process.
    #[test]
    fn only_a_failing_write_path_stops_the_store() {
        for (code, expected) in [
            (ffi::SQLITE_IOERR_WRITE, true),
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_IOERR_TRUNCATE, true),
            (ffi::SQLITE_READONLY, true),
            (ffi::SQLITE_CANTOPEN, true),
            (ffi::SQLITE_NOMEM, true),
            (ffi::SQLITE_INTERNAL, true),
            (ffi::SQLITE_IOERR_READ, false),
            (ffi::SQLITE_IOERR_SHORT_READ, false),
            (ffi::SQLITE_CORRUPT, false),
            (ffi::SQLITE_NOTADB, false),
            (ffi::SQLITE_MISMATCH, false),
            (ffi::SQLITE_CONSTRAINT, false),
            (ffi::SQLITE_ERROR, false),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(stops_the_store(&error), expected, "{error}");
        }
        assert!(!stops_the_store(&rusqlite::Error::QueryReturnedNoRows));
    }
}
