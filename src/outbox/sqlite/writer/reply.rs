//! Answers to those who asked the writer's thread for something.

use rusqlite::{ErrorCode, Transaction};

use super::{Append, ReplyTo};
use crate::outbox::{Appended, Error};

/// Whether what a person asked for was done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    Committed,
    Not,
}

/// Tells those who asked for their batch to be kept what was done with it.
pub(super) fn answer(
    appends: impl IntoIterator<Item = Append>,
    appended: impl IntoIterator<Item = Appended>,
) {
    for ((_, reply), appended) in appends.into_iter().zip(appended) {
        // Whoever asked may have hung up; what was kept stays kept.
        let _unheard = reply.send(Ok(appended));
    }
}

/// Tells those who asked for a write that it did not happen.
pub(super) fn refuse<W, T>(writes: impl IntoIterator<Item = (W, ReplyTo<T>)>, error: &Error) {
    for (_, reply) in writes {
        let _unheard = reply.send(Err(error.clone()));
    }
}

/// Commits what was done and tells who asked; where the disk was full, nothing was done.
pub(super) fn finish<T>(
    transaction: Transaction<'_>,
    done: rusqlite::Result<T>,
    reply: ReplyTo<T>,
) -> rusqlite::Result<Finished> {
    let (answer, finished) = match done.and_then(|done| transaction.commit().map(|()| done)) {
        Ok(done) => (Ok(done), Finished::Committed),
        Err(error) if is_full(&error) => (Err(Error::Full), Finished::Not),
        Err(error) => return Err(error),
    };
    let _unheard = reply.send(answer);
    Ok(finished)
}

pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
