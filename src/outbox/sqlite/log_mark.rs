//! The mark and the origin that pair a store file with its write-ahead log.
//!
//! SQLite applies any log beside a store file, even the log of a different store file. If somebody copied a backup over
//! the store of a crashed process, SQLite would mix the backup with the log of the crashed process.
//!
//! Each process that opens a store therefore creates a random mark. It writes the mark into the lock file, and into the
//! store file itself (not only into the log). A start that finds a log compares the mark of the store file with the
//! marks in the lock file. If the lock file does not contain the mark, the log belongs to a different store file. A
//! copy of the store has no mark.
//!
//! The mark proves which store file is present, but not which log: after somebody copied the log of a different store
//! over the log of a crashed process, the mark still fits. The lock file therefore also has the [`LogOrigin`] of the
//! log. SQLite writes the origin into the header of every log, so the check needs no page of the log, and the bridge
//! writes the lock file only at its start. The pages of a log cannot replace the origin: a log has only the changed
//! pages, and most logs lack the page with the mark.
//!
//! While the newest events are possibly only in the log, the store file also has the mark under the name `needs_log`. A
//! process that lets SQLite write the log back deletes this row before it closes the store. So the row shows that a
//! store file lacks its log. A program that does not know the row changes the mark, and the row then proves nothing.
//!
//! A copy that another program made of the store file has its mark too. If such a copy replaces the store file of a running
//! process, the process notices the other file, and the lock file then names the only file that the log fits.
//!
//! An older log of the same store has the same origin if all later processes crashed. The check accepts such a log.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::files::with_ending;
use super::lock::StoreLock;
use super::log_header::LogOrigin;
use super::open_error::OpenError;
use crate::failpoint::{self, CrashPoint};
use crate::random;

/// The characters of a path that a URI of SQLite must encode.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// A mark that no store file ever has. A restore writes this mark into the lock file.
const RESTORING: &str = "restoring";
/// The word for a store file without a mark: a new store, a copy, or the store of an older program.
const NO_MARK: &str = "none";

/// Returns an error if the last process wrote the write-ahead log for a different store file. Otherwise returns the
/// mark in the store file itself, without the log.
///
/// The function accepts any store file in two cases. If the lock file has no marks, an older program wrote the lock file, or
/// somebody deleted it, so the lock file proves nothing. If the store file is unreadable without its log, the last
/// process possibly crashed during a checkpoint.
///
/// The caller must not have the store open: closing a second file handle would release the file locks of SQLite.
pub(super) fn check(path: &Path, lock: &StoreLock) -> Result<String, OpenError> {
    let log = with_ending(path, "-wal");
    let has_log = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    // A log that cannot be read fails later, with its own error.
    let origin = origin(&log);
    let read = mark_without_log(path);
    let is_readable = read.is_ok();
    let found = read.ok().flatten().unwrap_or_else(|| NO_MARK.to_owned());
    if has_log && matches!(origin, Ok(None)) {
        // Not an error of the start: a power cut during the first commit of a log leaves such a log too, and the bridge
        // has acknowledged no event of that commit.
        tracing::error!(
            log = %log.display(),
            "the log of the store has no valid header, so the store ignores the log: either the power failed during the first write, or another program has cut the log, and the events that the bridge accepted after the last checkpoint are lost"
        );
    }
    let inode = fs::metadata(path).ok().map(|found| found.ino());
    if has_log && lock.only().is_some_and(|only| inode != Some(only)) {
        return Err(OpenError::LogOfAnotherStore {
            path: path.to_owned(),
            log,
        });
    }
    if has_log && is_readable && !lock.marks().is_empty() && !lock.marks().contains(&found) {
        return Err(OpenError::LogOfAnotherStore {
            path: path.to_owned(),
            log,
        });
    }
    let origin = origin.ok().flatten();
    if origin.is_some() && lock.origin().is_some() && origin != lock.origin() {
        return Err(OpenError::ForeignLog {
            path: path.to_owned(),
            log,
        });
    }
    Ok(found)
}

/// Returns the origin of a log, or `None` if SQLite ignores the log.
fn origin(log: &Path) -> io::Result<Option<LogOrigin>> {
    let mut start = Vec::new();
    fs::File::open(log)?.take(100).read_to_end(&mut start)?;
    Ok(LogOrigin::of(&start))
}

/// Permits a log of any origin, until [`renew`] has recorded the new one. The caller is about to open the store for
/// writing: if the store has no log, SQLite chooses a random origin, and the process possibly crashes after its first
/// commit.
pub(super) fn permit_new_log(lock: &mut StoreLock) -> Result<(), OpenError> {
    match lock.origin() {
        Some(_) => lock.write_marks(lock.marks().to_vec(), None),
        None => Ok(()),
    }
}

/// Gives the opened store a new mark, and records the origin of its log. `found` is the mark that [`check`] returned.
///
/// Until SQLite has written the log back into the store file, the store file can have one of three marks: `found`, the
/// mark in the log of the last process, or the new mark. The lock file gets all three marks first, so that after a
/// crash the next start accepts the log. If SQLite cannot write the log back, for example because the disk is full, the
/// lock file keeps all three marks.
pub(super) fn renew(
    connection: &Connection,
    path: &Path,
    lock: &mut StoreLock,
    found: String,
) -> Result<(), OpenError> {
    let failed = OpenError::sqlite("marking its log");
    let mut bytes = [0; 16];
    random::fill_random(&mut bytes).map_err(OpenError::NoRandomness)?;
    let new = bytes.map(|byte| format!("{byte:02x}")).concat();
    let in_log = read(connection).map_err(&failed)?.into_iter();
    lock.write_marks(in_log.chain([found, new.clone()]).collect(), None)?;
    connection
        .execute(
            "INSERT INTO meta (name, value) VALUES ('log_mark', ?1), ('needs_log', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![new],
        )
        .map_err(&failed)?;
    failpoint::crash_point(CrashPoint::AfterMarkBeforeCheckpoint);
    // After the commit, and before SQLite truncates the log: now the log certainly has a header.
    let log = with_ending(path, "-wal");
    let origin = origin(&log).map_err(OpenError::file(&log))?;
    let was_blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    let marks = match was_blocked {
        Ok(false) => vec![new],
        Ok(true) | Err(_) => lock.marks().to_vec(),
    };
    lock.write_marks(marks, origin)
}

/// Changes the lock file so that the present log fits only the present store, and not the copy that will replace the
/// store.
pub(super) fn exclude_copies(lock: &mut StoreLock) -> Result<(), OpenError> {
    let marks = lock.marks().iter().filter(|mark| *mark != NO_MARK).cloned();
    // The lock file must have at least one mark: `check` accepts every log if the lock file has no marks.
    let marks = marks.chain([RESTORING.to_owned()]).collect();
    lock.write_marks(marks, lock.origin())
}

/// Removes the log mark from a copy of the store, because no log belongs to the copy.
pub(super) fn remove(copy: &Connection) -> rusqlite::Result<()> {
    copy.execute(
        "DELETE FROM meta WHERE name IN ('log_mark', 'needs_log')",
        [],
    )?;
    Ok(())
}

/// Records that the store needs no log once SQLite has written the log back, which it does when the connection is closed.
pub(super) fn will_write_back(store: &Connection) -> rusqlite::Result<()> {
    store.execute("DELETE FROM meta WHERE name = 'needs_log'", [])?;
    Ok(())
}

/// Returns whether a store file has a log beside it, also an empty one.
pub(super) fn has_log(path: &Path) -> bool {
    with_ending(path, "-wal").exists()
}

/// Returns whether the newest events of the store are possibly only in its log. A copy that the bridge made has no mark.
pub(super) fn needs_log(store: &Connection) -> rusqlite::Result<bool> {
    store
        .prepare(
            "SELECT 1 FROM meta m JOIN meta n ON n.value = m.value
             WHERE m.name = 'log_mark' AND n.name = 'needs_log'",
        )?
        .exists([])
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

/// Reads the mark in the store file itself. With `immutable=1`, SQLite ignores the log.
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
