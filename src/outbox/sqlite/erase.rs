//! Erases the remains of deleted rows from the files of the store.
//!
//! A deleted row leaves its bytes in three places. In the store file, SQLite overwrites the bytes with zeros, because
//! the option `secure_delete` is on. The write-ahead log still contains the page from before the deletion: the bridge
//! writes the log back and truncates it at intervals and at the stop. The programs before this module did neither, so
//! their free pages are full of old events: the first start writes their store anew.

use std::fs::{File, rename};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::draft::{beside, create_private, remove_draft, sync_folder};
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
    // The close writes the log back and removes it, so that no log of the old file lies beside the new file.
    let closed = connection.close().map_err(|(_, error)| error);
    let written = written.and(closed);
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

fn write_draft(connection: &Connection, draft: &Path) -> rusqlite::Result<()> {
    let name = draft
        .to_str()
        .ok_or_else(|| rusqlite::Error::InvalidPath(draft.to_owned()))?;
    connection.execute("VACUUM INTO ?1", [name])?;
    let draft = Connection::open(draft)?;
    mark(&draft)?;
    draft.close().map_err(|(_, error)| error)
}
