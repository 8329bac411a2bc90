//! Reads the rows of a store for a transfer, and writes the rows of a transfer into a new store.
//!
//! The file of an unfinished transfer has another application id in its header, so no program opens it as a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};

use self::ids::Ids;
use self::tables::FileTable;
use super::lock::{self, StoreLock};
use super::log_mark;
use super::open::{self, APPLICATION_ID, Opened, UNFINISHED_ID};
use super::open_error::{OpenError, expect_store, explain};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::ClaimBounds;
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::transfer::row::{RowKind, TransferRow, TransferValue};
use crate::outbox::transfer::{
    BATCH_BYTES_MAX, HighestNumbers, ROWS_MAX, TransferBatch, TransferError, TransferProgress,
    TransferReader, TransferWriter,
};
use crate::sealing::KeyRing;
use crate::time::Timestamp;

mod ids;
mod tables;

/// The name of the progress of an unfinished transfer in the table `meta`.
const PROGRESS: &str = "transfer";

/// A store in a file that a transfer reads.
pub(in crate::outbox) struct FileReader {
    opened: Opened,
    ids: Ids,
    _lock: StoreLock,
}

impl FileReader {
    /// Opens the store as a bridge does, and locks it.
    ///
    /// If the last process did not stop in order, the lanes that it possibly has sent are marked now, and only once: the
    /// store then counts as closed in order, because a transfer claims no lane.
    pub(in crate::outbox) fn open(
        path: &Path,
        ring: &Arc<KeyRing>,
        now: Timestamp,
    ) -> Result<(Self, DigestKey), TransferError> {
        let found = path.canonicalize().map_err(OpenError::file(path))?;
        expect_store(&found)?;
        let mut lock = lock::acquire(&found)?;
        let keys = (ClaimBounds::default(), Arc::clone(ring));
        let (opened, _files) = open::connection(&found, &mut lock, now, keys)?;
        let closed = open::mark_closed_in_order(&opened.store);
        closed.map_err(OpenError::sqlite("marking it as closed"))?;
        let digest_key = opened.digest_key;
        let ids = Ids::new(&digest_key);
        let reader = Self {
            opened,
            ids,
            _lock: lock,
        };
        Ok((reader, digest_key))
    }
}

impl TransferReader for FileReader {
    fn read(
        &mut self,
        kind: RowKind,
        after: &TransferValue,
    ) -> Result<TransferBatch, TransferError> {
        read(&self.opened.store, &self.ids, kind, after)
    }

    fn count(&mut self, kind: RowKind) -> Result<u64, TransferError> {
        count(&self.opened.store, kind)
    }

    fn highest(&mut self) -> Result<HighestNumbers, TransferError> {
        let highest = self.opened.store.query_row(
            "SELECT coalesce((SELECT max(id) FROM entry), 0), coalesce((SELECT max(id) FROM lane), 0),
                 coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'act'), 0)",
            [],
            |row| {
                Ok(HighestNumbers {
                    entry: row.get(0)?,
                    lane: row.get(1)?,
                    audit: row.get(2)?,
                })
            },
        );
        Ok(highest.map_err(OpenError::sqlite("reading its highest numbers"))?)
    }
}

fn read(
    connection: &Connection,
    ids: &Ids,
    kind: RowKind,
    after: &TransferValue,
) -> Result<TransferBatch, TransferError> {
    let table = FileTable::of(kind);
    if !table.is_paged() && *after != TransferValue::Null {
        return Ok(TransferBatch::default());
    }
    let failed = OpenError::sqlite("reading its rows");
    let mut statement = connection.prepare_cached(table.select).map_err(&failed)?;
    let after = table.start(after);
    let found = match table.is_paged() {
        true => statement.query(params![Bound(&after), ROWS_MAX]),
        false => statement.query([]),
    };
    let mut rows = found.map_err(&failed)?;
    let (mut batch, mut bytes) = (TransferBatch::default(), 0);
    while let Some(row) = rows.next().map_err(&failed)? {
        let stored = values(row, tables::width(kind)).ok_or(TransferError::Damaged(kind))?;
        batch.after = stored.first().cloned().unwrap_or_default();
        let read = ids.read(kind, stored).ok_or(TransferError::Damaged(kind))?;
        bytes += read.iter().map(TransferValue::size).sum::<usize>();
        batch.rows.push(read);
        if table.is_paged() && bytes >= BATCH_BYTES_MAX {
            break;
        }
    }
    Ok(batch)
}

/// Returns the values of a row. Returns `None` if a column has a value that no column of the store has.
fn values(row: &Row<'_>, width: usize) -> Option<TransferRow> {
    let value = |column| match row.get_ref(column).ok()? {
        ValueRef::Null => Some(TransferValue::Null),
        ValueRef::Integer(number) => Some(TransferValue::Number(number)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            Some(TransferValue::Text(text.to_owned()))
        }
        ValueRef::Blob(bytes) => Some(TransferValue::Bytes(bytes.to_vec())),
        ValueRef::Real(_) => None,
    };
    (0..width).map(value).collect()
}

fn count(connection: &Connection, kind: RowKind) -> Result<u64, TransferError> {
    let sql = format!("SELECT count(*) FROM {}", FileTable::of(kind).name);
    let count = connection.query_row(&sql, [], |row| row.get(0));
    Ok(count.map_err(OpenError::sqlite("counting its rows"))?)
}

/// A value as the parameter of a statement.
struct Bound<'a>(&'a TransferValue);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            TransferValue::Null => ToSqlOutput::Owned(Value::Null),
            TransferValue::Number(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            TransferValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            TransferValue::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// A new store in a file into which a transfer writes.
pub(in crate::outbox) struct FileWriter {
    connection: Connection,
    ids: Ids,
    path: PathBuf,
    _lock: StoreLock,
}

impl FileWriter {
    /// Creates the file, or opens the file of an unfinished transfer.
    pub(in crate::outbox) fn open(
        path: &Path,
        ring: &Arc<KeyRing>,
        key: &DigestKey,
    ) -> Result<(Self, TransferProgress), TransferError> {
        let mut lock = lock::acquire(path)?;
        let is_found = path.try_exists().map_err(OpenError::file(path))?;
        if is_found && !is_unfinished(path).map_err(|error| explain(error, path))? {
            return Err(TransferError::NotEmpty);
        }
        if !is_found {
            open::refuse_remains(path)?;
            let start = TransferProgress::start(key).to_text();
            open::create(path, ring, (key, UNFINISHED_ID), &|new| {
                let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
                new.execute(sql, [PROGRESS, &start]).map(|_| ())
            })?;
        }
        let mark = log_mark::check(path, &lock)?;
        log_mark::permit_new_log(&mut lock)?;
        let (connection, stored) = prepare(path).map_err(|error| explain(error, path))?;
        let progress = TransferProgress::of_text(&stored, key)?;
        log_mark::renew(&connection, path, &mut lock, mark)?;
        let writer = Self {
            connection,
            ids: Ids::new(key),
            path: path.to_owned(),
            _lock: lock,
        };
        Ok((writer, progress))
    }

    fn write_rows(
        &self,
        kind: RowKind,
        rows: Vec<TransferRow>,
        (before, after): (&TransferProgress, &TransferProgress),
    ) -> rusqlite::Result<Result<(), TransferError>> {
        let transaction = self.connection.unchecked_transaction()?;
        let changed = transaction
            .prepare_cached("UPDATE meta SET value = ?3 WHERE name = ?1 AND value = ?2")?
            .execute(params![PROGRESS, before.to_text(), after.to_text()])?;
        if changed != 1 {
            return Ok(Err(TransferError::TwoCopies));
        }
        let table = FileTable::of(kind);
        let mut insert = transaction.prepare_cached(table.insert)?;
        for row in rows {
            let Some(stored) = self.ids.write(kind, row) else {
                return Ok(Err(TransferError::Damaged(kind)));
            };
            // Most tables of payloads lack the last columns.
            let width = insert.parameter_count();
            insert.execute(params_from_iter(stored.iter().take(width).map(Bound)))?;
        }
        drop(insert);
        failpoint::crash_point(CrashPoint::BeforeTransferCommit);
        transaction.commit().map(Ok)
    }

    fn complete(&self, highest: HighestNumbers) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        transaction.execute(tables::KEEP_HIGHEST_ENTRY, [highest.entry])?;
        transaction.execute("DELETE FROM sqlite_sequence WHERE name = 'act'", [])?;
        let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('act', ?1)";
        transaction.execute(sql, [highest.audit])?;
        transaction.execute_batch(tables::COMPLETE)?;
        log_mark::will_write_back(&transaction)?;
        transaction.execute("DELETE FROM meta WHERE name = ?1", [PROGRESS])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
        super::erase::truncate_log(&self.connection).map(|_| ())
    }
}

/// Returns whether the file is the store of an unfinished transfer, and not a complete store.
fn is_unfinished(path: &Path) -> Result<bool, OpenError> {
    expect_store(path)?;
    let connection = Connection::open(path).map_err(OpenError::sqlite("opening it"))?;
    match open::check_identity(path, &connection) {
        Err(OpenError::Unfinished(_)) => Ok(true),
        identity => identity.map(|()| false),
    }
}

/// Opens the file for writing. Returns the stored progress.
fn prepare(path: &Path) -> Result<(Connection, String), OpenError> {
    let mut connection = Connection::open(path).map_err(OpenError::sqlite("opening it"))?;
    open::configure(&connection).map_err(OpenError::sqlite("setting it up"))?;
    open::migrate(&mut connection)?;
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let stored = connection.query_row(sql, [PROGRESS], |row| row.get(0));
    let stored = stored.map_err(OpenError::sqlite("reading the progress of the transfer"))?;
    Ok((connection, stored))
}

impl TransferReader for FileWriter {
    fn read(
        &mut self,
        kind: RowKind,
        after: &TransferValue,
    ) -> Result<TransferBatch, TransferError> {
        read(&self.connection, &self.ids, kind, after)
    }

    fn count(&mut self, kind: RowKind) -> Result<u64, TransferError> {
        count(&self.connection, kind)
    }

    fn highest(&mut self) -> Result<HighestNumbers, TransferError> {
        Ok(HighestNumbers::default())
    }
}

impl TransferWriter for FileWriter {
    fn write(
        &mut self,
        kind: RowKind,
        rows: Vec<TransferRow>,
        progress: (&TransferProgress, &TransferProgress),
    ) -> Result<(), TransferError> {
        let written = self.write_rows(kind, rows, progress);
        let written = written.map_err(OpenError::sqlite("writing its rows"));
        written.map_err(|error| explain(error, &self.path))?
    }

    fn finish(&mut self, highest: HighestNumbers) -> Result<(), TransferError> {
        let finished = self.complete(highest);
        let finished = finished.map_err(OpenError::sqlite("completing it"));
        Ok(finished.map_err(|error| explain(error, &self.path))?)
    }
}
