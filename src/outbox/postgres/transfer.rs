//! Reads the rows of a store for a transfer, and writes the rows of a transfer into a new store.
//!
//! The layout of an unfinished transfer says that no program can read it, so no bridge opens it, not even an older one.

use std::sync::Arc;

use tokio_postgres::types::Type;

use self::tables::DbTable;
use super::columns::{from_text, get, to_text};
use super::command_database::CommandDatabase;
use super::connection::Connected;
use super::database_address::DatabaseAddress;
use super::fault::DbFault;
use super::keys::Digests;
use super::open_error::PostgresOpenError;
use super::schema::{self, Layout};
use super::sealing_keys::{self, Unlocked, unlock};
use super::{moved_tombstones, replica};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::codec::StoredText;
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::transfer::row::{RowKind, TransferRow, TransferValue};
use crate::outbox::transfer::{
    HighestNumbers, TransferBatch, TransferError, TransferProgress, TransferReader, TransferWriter,
};
use crate::sealing::KeyRing;

mod tables;

/// The name of the progress of an unfinished transfer in the table `meta`.
const PROGRESS: &str = "transfer";

/// Begins the transaction in which a transfer reads the whole store: a bridge that starts waits for the lock, and does not
/// start. The transaction has no snapshot between two statements, so the database can remove dead rows.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '4s'; SET LOCAL idle_in_transaction_session_timeout = 0;
    LOCK TABLE imprint_bridge.replica IN SHARE MODE";

/// Converts a fault of the database into the error of the transfer.
fn failed(doing: &'static str) -> impl Fn(DbFault) -> TransferError {
    move |fault| PostgresOpenError::of(doing)(fault).into()
}

/// Returns the number of bridges that use the store.
async fn replicas(db: &Connected) -> Result<i64, DbFault> {
    let sql = "SELECT count(*) FROM imprint_bridge.replica WHERE lease_until > clock_timestamp()";
    let row = db.query_opt(sql, &[]).await?;
    row.as_ref().map_or(Ok(0), |row| get(row, 0))
}

/// A store in a database that a transfer reads, in one transaction that stays open.
pub(in crate::outbox) struct DatabaseReader {
    database: CommandDatabase,
    held: Connected,
}

impl DatabaseReader {
    /// Opens the store, and keeps bridges from starting on it. Marks the lanes that a crashed bridge has possibly sent; the
    /// marks reach the target, and the source stays as it is.
    pub(in crate::outbox) fn open(
        address: DatabaseAddress,
        ring: &Arc<KeyRing>,
    ) -> Result<(Self, DigestKey), TransferError> {
        let database = CommandDatabase::new(address)?;
        let failed = failed("reading the store");
        let layout = database.query(async |db| schema::find_if_any(db).await);
        let layout = layout.map_err(&failed)?.ok_or(TransferError::NoStore)?;
        layout.expect_readable()?;
        let unlocked = database.transact(async |db| unlock(db, ring).await);
        let key = match unlocked.map_err(&failed)? {
            Unlocked::Open(_, key) => key,
            Unlocked::NoKey(key) => return Err(PostgresOpenError::NoSealingKey(key).into()),
        };
        let held = database.run(database.connector.connect_in_time());
        let held = held.map_err(&failed)?;
        let begun = database.run(async {
            held.batch(BEGIN).await?;
            let replicas = replicas(&held).await?;
            if replicas == 0 {
                replica::free_all(&held).await?;
            }
            Ok(replicas)
        });
        match begun.map_err(&failed)? {
            0 => Ok((Self { database, held }, key)),
            replicas => Err(TransferError::InUse(replicas)),
        }
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, DbFault>>) -> Result<T, TransferError> {
        self.database.run(work).map_err(failed("reading the store"))
    }
}

impl TransferReader for DatabaseReader {
    fn read(
        &mut self,
        kind: RowKind,
        after: &TransferValue,
    ) -> Result<TransferBatch, TransferError> {
        self.run(DbTable::of(kind).read(&self.held, after))
    }

    fn count(&mut self, kind: RowKind) -> Result<u64, TransferError> {
        self.run(DbTable::of(kind).count(&self.held))
    }

    fn highest(&mut self) -> Result<HighestNumbers, TransferError> {
        self.run(async {
            let sql = "SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM imprint_bridge.entry_number),
                 (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM imprint_bridge.lane_number),
                 (SELECT coalesce(max(number), 0) FROM imprint_bridge.audit_head)";
            let row = self.held.query_opt(sql, &[]).await?;
            let row = row.ok_or(DbFault::Damaged("audit_head"))?;
            Ok(HighestNumbers {
                entry: get(&row, 0)?,
                lane: get(&row, 1)?,
                audit: get(&row, 2)?,
            })
        })
    }
}

/// A new store in a database into which a transfer writes.
pub(in crate::outbox) struct DatabaseWriter {
    database: CommandDatabase,
    digests: Digests,
}

/// The store in the target of a transfer.
enum TargetStore {
    Ready(TransferProgress),
    OfAnotherStore,
    Complete,
    InUse(i64),
}

impl DatabaseWriter {
    /// Creates the store, or finds the store of an unfinished transfer.
    pub(in crate::outbox) fn open(
        address: DatabaseAddress,
        ring: &Arc<KeyRing>,
        key: DigestKey,
    ) -> Result<(Self, TransferProgress), TransferError> {
        let database = CommandDatabase::new(address)?;
        let failed = failed("creating the store");
        let layout = database.query(async |db| schema::find_if_any(db).await);
        let layout = layout.map_err(&failed)?;
        let found = match layout {
            Some(_) => database.query(async |db| find(db, layout, &key).await),
            None => database.transact(async |db| create(db, ring, &key).await),
        };
        match found.map_err(failed)? {
            TargetStore::Ready(progress) => {
                let digests = Digests::new(&key);
                Ok((Self { database, digests }, progress))
            }
            TargetStore::OfAnotherStore => Err(TransferError::OfAnotherStore),
            TargetStore::Complete => Err(TransferError::NotEmpty),
            TargetStore::InUse(replicas) => Err(TransferError::InUse(replicas)),
        }
    }
}

async fn find(
    db: &Connected,
    layout: Option<Layout>,
    key: &DigestKey,
) -> Result<TargetStore, DbFault> {
    if layout.is_none_or(|layout| !layout.is_unfinished()) {
        return Ok(match replicas(db).await? {
            0 => TargetStore::Complete,
            replicas => TargetStore::InUse(replicas),
        });
    }
    let progress = TransferProgress::of_text(&progress(db).await?, key);
    Ok(progress.map_or(TargetStore::OfAnotherStore, TargetStore::Ready))
}

/// Returns the stored progress, and locks it.
async fn progress(db: &Connected) -> Result<String, DbFault> {
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1 FOR UPDATE";
    let row = db.query_opt(sql, &[(&PROGRESS, Type::TEXT)]).await?;
    let row = row.ok_or(DbFault::Damaged("meta.transfer"))?;
    match to_text(get(&row, 0)?) {
        Some(StoredText::Plain(progress)) => Ok(progress.to_owned()),
        Some(StoredText::Sealed(_)) | None => Err(DbFault::Damaged("meta.transfer")),
    }
}

async fn create(
    db: &Connected,
    ring: &Arc<KeyRing>,
    key: &DigestKey,
) -> Result<TargetStore, DbFault> {
    schema::create_unfinished(db).await?;
    sealing_keys::begin(db, ring, key).await?;
    let start = TransferProgress::start(key);
    let value = from_text(StoredText::Plain(&start.to_text()));
    let sql = "INSERT INTO imprint_bridge.meta (name, value) VALUES ($1, $2)";
    db.execute(sql, &[(&PROGRESS, Type::TEXT), (&value, Type::BYTEA)])
        .await?;
    Ok(TargetStore::Ready(start))
}

impl TransferReader for DatabaseWriter {
    fn read(
        &mut self,
        kind: RowKind,
        after: &TransferValue,
    ) -> Result<TransferBatch, TransferError> {
        let read = async |db: &Connected| DbTable::of(kind).read(db, after).await;
        self.database
            .query(read)
            .map_err(failed("comparing the rows"))
    }

    fn count(&mut self, kind: RowKind) -> Result<u64, TransferError> {
        let count = async |db: &Connected| DbTable::of(kind).count(db).await;
        self.database.query(count).map_err(failed("counting rows"))
    }

    fn highest(&mut self) -> Result<HighestNumbers, TransferError> {
        Ok(HighestNumbers::default())
    }
}

impl TransferWriter for DatabaseWriter {
    fn write(
        &mut self,
        kind: RowKind,
        rows: Vec<TransferRow>,
        (before, after): (&TransferProgress, &TransferProgress),
    ) -> Result<(), TransferError> {
        let (before, after) = (before.to_text(), after.to_text());
        let value = from_text(StoredText::Plain(&after));
        let written = self.database.transact(async |db: &Connected| {
            let stored = progress(db).await?;
            // The transaction runs again after a commit with an unknown result.
            if stored == after {
                return Ok(true);
            }
            if stored != before {
                return Ok(false);
            }
            DbTable::of(kind).write(db, &self.digests, &rows).await?;
            let sql = "UPDATE imprint_bridge.meta SET value = $2 WHERE name = $1";
            db.execute(sql, &[(&PROGRESS, Type::TEXT), (&value, Type::BYTEA)])
                .await?;
            failpoint::crash_point(CrashPoint::BeforeTransferCommit);
            Ok(true)
        });
        match written.map_err(failed("copying rows"))? {
            true => Ok(()),
            false => Err(TransferError::TwoCopies),
        }
    }

    fn finish(&mut self, highest: HighestNumbers) -> Result<(), TransferError> {
        let finished = self.database.transact(async |db: &Connected| {
            let sql = "SELECT setval('imprint_bridge.entry_number', greatest($1, 1), $1 > 0),
                 setval('imprint_bridge.lane_number', greatest($2, 1), $2 > 0)";
            let HighestNumbers { entry, lane, .. } = highest;
            db.query(sql, &[(&entry, Type::INT8), (&lane, Type::INT8)])
                .await?;
            let sql = "UPDATE imprint_bridge.audit_head SET number = $1";
            db.execute(sql, &[(&highest.audit, Type::INT8)]).await?;
            db.batch(tables::COUNT).await?;
            moved_tombstones::announce(db).await?;
            let sql = "DELETE FROM imprint_bridge.meta WHERE name = $1";
            db.execute(sql, &[(&PROGRESS, Type::TEXT)]).await?;
            schema::complete(db).await
        });
        finished.map_err(failed("completing the store"))?;
        let _statistics_come_later = self
            .database
            .query(async |db: &Connected| db.batch(tables::ANALYZE).await);
        Ok(())
    }
}
