//! Erases the remains of deleted rows from the files of the store.
//!
//! A deleted row leaves its bytes in three places. In the store file, SQLite overwrites the bytes with zeros, because
//! the option `secure_delete` is on. The write-ahead log still contains the page from before the deletion: the bridge
//! writes the log back and truncates it at intervals and at the stop. The programs before this module did neither, so
//! their free pages are full of old events: the first start rewrites their store.

use std::fs::{File, metadata, rename};
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, ffi};

use super::draft::{beside, create_private, remove_draft, sync_folder};
use super::files::with_ending;
use super::open_error::OpenError;

/// The name of the mark in the table `meta` of a store that has never deleted a row without `secure_delete`.
const MARK: &str = "secure_delete";

/// Writes the write-ahead log back into the store file, and truncates the log to zero bytes. Returns whether the log is
/// empty: while a copy of the store is in progress, SQLite cannot truncate the log.
pub(super) fn truncate_log(connection: &Connection) -> rusqlite::Result<bool> {
    let is_blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(is_blocked == 0)
}

/// Marks a new store: no row of the store is ever deleted without `secure_delete`.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, 1)",
        [MARK],
    )
}

/// Removes the mark, because SQLite possibly leaves remains of the rows that this transaction changes. The next start
/// rewrites the store.
pub(super) fn unmark(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [MARK])
}

/// Returns whether the store file possibly contains the remains of rows that an older program deleted.
pub(super) fn has_remains(connection: &Connection) -> rusqlite::Result<bool> {
    let marked = connection
        .query_row("SELECT 1 FROM meta WHERE name = ?1", [MARK], |_| Ok(()))
        .optional()?;
    Ok(marked.is_none())
}

/// Replaces the store file with a file that has the same rows and no remains of deleted rows. `connection` is the only
/// connection to the store; the function closes it.
///
/// # Errors
/// If the function returns an error, the store at `path` is unchanged.
pub(super) fn rewrite(connection: Connection, path: &Path) -> Result<(), OpenError> {
    let draft = beside(path, "new");
    let file = OpenError::file(&draft);
    remove_draft(&draft)
        .and_then(|()| create_private(&draft).map(drop))
        .map_err(&file)?;
    let written = write_draft(&connection, &draft);
    let closed = connection.close().map_err(|(_, error)| error);
    let written = written.and(closed).and_then(|()| no_log(path));
    if let Err(source) = written {
        drop(remove_draft(&draft));
        return Err(OpenError::Sqlite {
            doing: "erasing the remains of deleted entries",
            source,
        });
    }
    File::open(&draft)
        .and_then(|draft| draft.sync_all())
        .and_then(|()| rename(&draft, path))
        .and_then(|()| sync_folder(path))
        .map_err(file)
}

/// Returns an error if a log with content lies beside the store. SQLite would apply the log of the old file to the new
/// file, and damage the new file. A disk that fails during the close can leave such a log, and the close reports no error.
fn no_log(path: &Path) -> rusqlite::Result<()> {
    match metadata(with_ending(path, "-wal")) {
        Ok(log) if log.len() > 0 => Err(blocked()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(blocked()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn blocked() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
}

fn write_draft(connection: &Connection, draft: &Path) -> rusqlite::Result<()> {
    if !truncate_log(connection)? {
        return Err(blocked());
    }
    let name = draft
        .to_str()
        .ok_or_else(|| rusqlite::Error::InvalidPath(draft.to_owned()))?;
    connection.execute("VACUUM INTO ?1", [name])?;
    let draft = Connection::open(draft)?;
    mark(&draft)?;
    draft.close().map_err(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use super::*;

    /// FAULTS N441: SQLite would apply the log of the old file to the rewritten file.
    #[test]
    fn a_log_with_content_stops_the_rewrite() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("db");
        let log = with_ending(&store, "-wal");
        assert!(no_log(&store).is_ok());
        write(&log, "").unwrap();
        assert!(no_log(&store).is_ok());
        write(&log, "frames").unwrap();
        assert!(no_log(&store).is_err());
    }
}
