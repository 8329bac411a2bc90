//! The erasure journal and the store: records each erasure before it begins, and remembers the last finished one.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, ffi, params};

use super::columns;
use super::store_connection::StoreConnection;
use crate::failpoint::{self, CrashPoint};
use crate::outbox::erasure_journal::ErasureJournal;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, EntryId, ErasureProgress, JournalError, LaneKey, LaterEvents,
};

/// The name of the number of the last finished erasure in the table `meta`.
const FINISHED: &str = "erasure_journal";

/// Begins an erasure, and writes it to the journal.
///
/// If the bridge must ignore later events of the customer, the erasure concerns every entry. A repetition of the erasure
/// concerns only the entries that the store has now.
pub(super) fn begin(
    store: &StoreConnection,
    erasure: &CustomerErasure,
    keys: &[LaneKey],
) -> rusqlite::Result<ErasureProgress> {
    let newest = store.query_row("SELECT max(id) FROM entry", [], |row| {
        Ok(EntryId(columns::or_default(row, 0)))
    })?;
    let later = erasure.later_events;
    let number = store.with_journal(|journal| journal.append((keys, later), newest, erasure.at));
    let number = number.transpose().map_err(unwritten)?;
    failpoint::crash_point(CrashPoint::AfterErasureRecord);
    Ok(ErasureProgress {
        number,
        last: match later {
            LaterEvents::Delivered => newest,
            LaterEvents::Ignored => EntryId(ENTRY_MAX),
        },
        examined: EntryId(0),
    })
}

/// Converts an error of the journal into the error of the step.
fn unwritten(error: io::Error) -> rusqlite::Error {
    tracing::error!(error = %error, "the erasure journal cannot be written, so the bridge erases nothing");
    if error.kind() == io::ErrorKind::StorageFull {
        return rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
    }
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// Opens the journal. Returns the erasures that the store has not finished.
pub(super) fn open(
    store: &StoreConnection,
    path: &Path,
    digest_key: &[u8; 32],
) -> rusqlite::Result<Result<Vec<CustomerErasure>, JournalError>> {
    let opened = ErasureJournal::open(path, digest_key, finished(store)?);
    Ok(opened.map(|(journal, pending)| {
        store.set_journal(journal);
        pending
    }))
}

/// Returns the number of the last erasure of the journal that the store has finished.
fn finished(store: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let number = store.query_row(sql, [FINISHED], |row| row.get(0));
    Ok(number.optional()?.unwrap_or_default())
}

/// Records that the store has finished an erasure. After an erasure that failed, the number stays as it is, so that the
/// next start repeats the failed erasure.
pub(super) fn finish(store: &Connection, number: u64) -> rusqlite::Result<()> {
    if finished(store)?.saturating_add(1) != number {
        return Ok(());
    }
    store.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![FINISHED, number],
    )?;
    Ok(())
}
