//! The erasure journal and the store: records each erasure before it begins, and remembers the finished ones.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, ffi, params};

use super::columns;
use super::store_connection::StoreConnection;
use crate::failpoint::{self, CrashPoint};
use crate::outbox::erasure_journal::{ErasureJournal, ErasureOrder};
use crate::outbox::finished_erasures::FinishedErasures;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, EntryId, ErasureProgress, JournalError, LaneKey, LaterEvents,
};

/// Begins an erasure, and writes it to the journal.
///
/// If the bridge must ignore later events of the customer, the erasure concerns every entry. A repetition of the erasure
/// concerns only the entries that the store has now.
pub(super) fn begin(
    store: &StoreConnection,
    erasure: &CustomerErasure,
    keys: &[LaneKey],
) -> rusqlite::Result<ErasureProgress> {
    let newest = newest(store)?;
    let later = erasure.later_events;
    let order = ErasureOrder {
        keys,
        invalid: &erasure.invalid,
        later_events: later,
        last: newest,
        newest,
        at: erasure.at,
    };
    let number = store.with_journal(|journal| journal.append(order));
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

/// Returns the newest entry of the store. Retention never deletes it.
fn newest(store: &Connection) -> rusqlite::Result<EntryId> {
    let sql = "SELECT max(id) FROM entry";
    store.query_row(sql, [], |row| Ok(EntryId(columns::or_default(row, 0))))
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
    let mut finished = read(store)?;
    let opened = ErasureJournal::open(path, digest_key, &mut finished, newest(store)?);
    if opened.is_ok() {
        write(store, &finished)?;
    }
    Ok(opened.map(|(journal, pending)| {
        store.set_journal(journal);
        pending
    }))
}

/// Records that the store has finished an erasure. The next start repeats an erasure that failed.
pub(super) fn finish(store: &Connection, number: u64) -> rusqlite::Result<()> {
    let mut finished = read(store)?;
    finished.add(number);
    write(store, &finished)
}

/// Reads the erasures of the journal that the store has finished.
fn read(store: &Connection) -> rusqlite::Result<FinishedErasures> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let up_to = store.query_row(sql, [FinishedErasures::UP_TO], |row| row.get(0));
    let later = store.query_row(sql, [FinishedErasures::LATER], |row| {
        row.get::<_, String>(0)
    });
    let later = later.optional()?.unwrap_or_default();
    let finished = FinishedErasures::parse(up_to.optional()?.unwrap_or_default(), &later);
    finished.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))
}

fn write(store: &Connection, finished: &FinishedErasures) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    if finished.up_to() > 0 {
        store.execute(sql, params![FinishedErasures::UP_TO, finished.up_to()])?;
    }
    match finished.later() {
        Some(later) => store.execute(sql, params![FinishedErasures::LATER, later])?,
        None => store.execute(
            "DELETE FROM meta WHERE name = ?1",
            [FinishedErasures::LATER],
        )?,
    };
    Ok(())
}
