//! The mark that pairs a store file with its write-ahead log.
//!
//! SQLite applies every log that lies beside a store file, also the log of another file: a backup that was copied over
//! the store of a crashed process would become a mixture of both. So each opening of a store draws a random mark, and
//! writes the mark into the store file, past the log, and into the lock file. A start that finds a log compares both
//! marks: if they differ, the log belongs to another file. A copy of the store carries no mark.

use std::fs;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::files::with_ending;
use super::lock::StoreLock;
use super::open_error::OpenError;
use crate::failpoint::{self, CrashPoint};
use crate::random;

/// The characters of a path that a URI of SQLite must encode.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// The mark that no store file has. A restore writes it into the lock file.
const RESTORING: &str = "restoring";
/// The word for a store file without a mark: a new store, a copy, or the store of an older program.
const NO_MARK: &str = "none";

/// Refuses a write-ahead log that the last process wrote for another store file. Returns the mark of the store file
/// itself, without its log.
///
/// A lock file without marks is the lock file of an older program, or was deleted, and proves nothing. A crash during a
/// checkpoint may leave pages of the store file that only the log completes. A store file that cannot be read without its
/// log is not compared.
///
/// The caller must not have the store open: closing a second file handle would release the file locks of SQLite.
pub(super) fn check(path: &Path, lock: &StoreLock) -> Result<String, OpenError> {
    let log = with_ending(path, "-wal");
    let has_log = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    let read = mark_without_log(path);
    let is_readable = read.is_ok();
    let found = read.ok().flatten().unwrap_or_else(|| NO_MARK.to_owned());
    if has_log && is_readable && !lock.marks().is_empty() && !lock.marks().contains(&found) {
        return Err(OpenError::LogOfAnotherStore {
            path: path.to_owned(),
            log,
        });
    }
    Ok(found)
}

/// Gives the opened store a new mark. `found` is the mark that [`check`] returned.
///
/// From here until the log is written back, the store file itself may still have the mark `found`, the mark in the log of
/// the last process, or the new mark. The lock file names all of them first, so a crash in between does not make the
/// store refuse its own log. If the log cannot be written back, for example because the disk is full, the lock file keeps
/// all marks.
pub(super) fn renew(
    connection: &Connection,
    lock: &mut StoreLock,
    found: String,
) -> Result<(), OpenError> {
    let failed = OpenError::sqlite("marking its log");
    let mut bytes = [0; 16];
    random::fill_random(&mut bytes).map_err(OpenError::NoRandomness)?;
    let new = bytes.map(|byte| format!("{byte:02x}")).concat();
    let in_log = read(connection).map_err(&failed)?.into_iter();
    lock.write_marks(in_log.chain([found, new.clone()]).collect())?;
    connection
        .execute(
            "INSERT INTO meta (name, value) VALUES ('log_mark', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![new],
        )
        .map_err(&failed)?;
    failpoint::crash_point(CrashPoint::AfterMarkBeforeCheckpoint);
    let was_blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    match was_blocked {
        Ok(false) => lock.write_marks(vec![new]),
        Ok(true) | Err(_) => Ok(()),
    }
}

/// Lets only the present store use the present log, and not the copy that is about to replace the store.
pub(super) fn exclude_copies(lock: &mut StoreLock) -> Result<(), OpenError> {
    let marks = lock.marks().iter().filter(|mark| *mark != NO_MARK).cloned();
    // A lock file without marks would prove nothing.
    let marks = marks.chain([RESTORING.to_owned()]).collect();
    lock.write_marks(marks)
}

/// Removes the mark from a copy of the store, because no log belongs to the copy.
pub(super) fn remove(copy: &Connection) -> rusqlite::Result<()> {
    copy.execute("DELETE FROM meta WHERE name = 'log_mark'", [])?;
    Ok(())
}

fn read(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT value FROM meta WHERE name = 'log_mark'",
            [],
            |row| row.get(0),
        )
        .optional()
}

/// Reads the mark in the store file itself: an immutable database has no log for SQLite.
fn mark_without_log(path: &Path) -> rusqlite::Result<Option<String>> {
    let path = percent_encode(path.as_os_str().as_encoded_bytes(), ENCODED);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    read(&Connection::open_with_flags(
        format!("file:{path}?immutable=1"),
        flags,
    )?)
}
