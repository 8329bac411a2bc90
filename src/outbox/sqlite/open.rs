//! Opens the store. Refuses an empty file, a file of another program, and a store layout that is newer than this
//! program.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};

use super::claimed_lanes::mark_maybe_sent;
use super::columns;
use super::draft::{FILE_MODE, beside, remove_draft, sync_folder};
use super::files::{StoreFiles, with_ending};
use super::lock::StoreLock;
use super::open_error::{self, OpenError};
use super::store_connection::StoreConnection;
use super::{due_times, erase, log_mark, sealing_keys, tombstones};
use crate::failpoint::{self, Fault};
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::reserve::LOG_BYTES;
use crate::outbox::{ClaimBounds, ENTRY_MAX, LaneClass, LaneId, codec};
use crate::random;
use crate::sealing::KeyRing;
use crate::time::Timestamp;

/// The application id in the SQLite header. It marks the file as a store of this program. The bytes spell "Impr".
pub(super) const APPLICATION_ID: i32 = 0x496d_7072;

/// The application id of the store of an unfinished transfer. The bytes spell "Impt".
pub(super) const UNFINISHED_ID: i32 = 0x496d_7074;

/// The migrations of the store layout. The SQLite header of a store contains the number of applied migrations. A
/// released migration must never change.
pub(super) const MIGRATIONS: [&str; 23] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
    include_str!("migrations/6.sql"),
    include_str!("migrations/7.sql"),
    include_str!("migrations/8.sql"),
    include_str!("migrations/9.sql"),
    include_str!("migrations/10.sql"),
    include_str!("migrations/11.sql"),
    include_str!("migrations/12.sql"),
    include_str!("migrations/13.sql"),
    include_str!("migrations/14.sql"),
    include_str!("migrations/15.sql"),
    include_str!("migrations/16.sql"),
    include_str!("migrations/17.sql"),
    include_str!("migrations/18.sql"),
    include_str!("migrations/19.sql"),
    include_str!("migrations/20.sql"),
    include_str!("migrations/21.sql"),
    include_str!("migrations/22.sql"),
    include_str!("migrations/23.sql"),
];

/// The size of SQLite's page cache. SQLite expects KiB as a negative number.
///
/// The cache holds the often used index pages of a store with a million waiting entries. The whole process, with this
/// cache, must fit into 64 MiB of memory.
const CACHE_KIB: i32 = -12_288;

/// The size of a page of the store file, which SQLite uses for a new file.
const PAGE_BYTES: u64 = 4_096;

/// The number of log pages after which SQLite writes the write-ahead log back into the store file. A higher number makes
/// commits faster, but the reserve of disk space must be larger: on a full disk, the store file grows by all these pages.
const CHECKPOINT_PAGES: u64 = LOG_BYTES / PAGE_BYTES;

/// The size in bytes to which SQLite truncates the write-ahead log after a burst.
const JOURNAL_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// The number of prepared statements in the cache. The program has slightly fewer statements.
const STATEMENTS: usize = 128;

/// An opened store whose connection the writer thread does not use yet.
pub(super) struct Opened {
    pub(super) store: StoreConnection,
    pub(super) digest_key: DigestKey,
    /// The owner number of this process, for its claim tokens.
    pub(super) owner: u64,
    pub(super) bounds: ClaimBounds,
}

/// Opens the store, or creates the store if the file does not exist. On a full disk, uses the reserve of the store.
pub(super) fn connection(
    configured: &Path,
    lock: &mut StoreLock,
    now: Timestamp,
    (bounds, ring): (ClaimBounds, Arc<KeyRing>),
) -> Result<(Opened, StoreFiles), OpenError> {
    let connected = match connect(configured, lock, now, (bounds, Arc::clone(&ring))) {
        Err(error) if lock.disk().is_full_after(&error) && lock.disk().give_back() => {
            connect(configured, lock, now, (bounds, ring))
        }
        connected => connected,
    };
    let explained = |error| open_error::explain(lock.disk().explain(error), configured);
    let (opened, files) = connected.map_err(explained)?;
    lock.disk().keep_reserve(&opened.store);
    Ok((opened, files))
}

fn connect(
    configured: &Path,
    lock: &mut StoreLock,
    now: Timestamp,
    (bounds, ring): (ClaimBounds, Arc<KeyRing>),
) -> Result<(Opened, StoreFiles), OpenError> {
    let path = &find_or_create(configured, &ring)?;
    let mark = log_mark::check(path, lock)?;
    log_mark::permit_new_log(lock)?;
    let file = OpenError::file(path);
    std::fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(&file)?;
    let connection = open_migrated(path)?;
    let connection = without_remains(connection, path)?;
    repair_classes(&connection).map_err(OpenError::sqlite("reading the priorities of lanes"))?;
    due_times::limit(&connection, now).map_err(OpenError::sqlite("reading when lanes are due"))?;
    let (store, digest_key) = sealing_keys::unlock(connection, ring, path)?;
    tombstones::expect(&store).map_err(OpenError::sqlite("looking for tombstones"))?;
    let owner = register(&store, bounds).map_err(OpenError::sqlite("reading how it was closed"))?;
    log_mark::renew(&store, path, lock, mark)?;
    let files = StoreFiles::of(configured, path).map_err(file)?;
    let opened = Opened {
        store,
        digest_key,
        owner,
        bounds,
    };
    Ok((opened, files))
}

fn open_migrated(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path).map_err(OpenError::sqlite("opening it"))?;
    check_identity(path, &connection)?;
    configure(&connection).map_err(|error| refusal(path, error))?;
    migrate(&mut connection)?;
    // If the start fails, SQLite writes the log of the last process back.
    log_mark::will_write_back(&connection).map_err(OpenError::sqlite("marking its log"))?;
    Ok(connection)
}

/// Erases the remains of entries that an older program deleted. If the store cannot be rewritten, for example
/// because the disk is full, the next start tries again.
fn without_remains(connection: Connection, path: &Path) -> Result<Connection, OpenError> {
    if !erase::has_remains(&connection).map_err(OpenError::sqlite("looking for remains"))? {
        return Ok(connection);
    }
    tracing::info!(store = %path.display(), "an older program has deleted entries without overwriting them: the bridge rewrites the store once");
    if let Err(error) = erase::rewrite(connection, path) {
        tracing::warn!(error = %error, "the store still contains the remains of deleted entries; the next start tries again to erase them");
    }
    open_migrated(path)
}

/// Finds the store file, or creates the store file if none exists. Returns the path of the store file without links.
fn find_or_create(path: &Path, ring: &Arc<KeyRing>) -> Result<PathBuf, OpenError> {
    let file = OpenError::file(path);
    if path.try_exists().map_err(&file)? {
        let found = path.metadata().map_err(&file)?;
        open_error::expect_file(path, &found)?;
        if found.len() == 0 {
            return Err(OpenError::Empty(path.to_owned()));
        }
    } else {
        refuse_remains(path)?;
        let mut key = [0; 32];
        random::fill_random(&mut key).map_err(OpenError::NoRandomness)?;
        create(path, ring, (&key, APPLICATION_ID), &|_| Ok(()))?;
    }
    path.canonicalize().map_err(file)
}

/// Returns an error if the store file is missing but a log, a journal or a link of an old store exists: SQLite would
/// apply the old log to a new store.
pub(super) fn refuse_remains(path: &Path) -> Result<(), OpenError> {
    if path.is_symlink() {
        return Err(OpenError::DanglingLink(path.to_owned()));
    }
    for ending in ["-wal", "-journal"] {
        let log = with_ending(path, ending);
        if log.exists() {
            return Err(OpenError::LogWithoutStore {
                path: path.to_owned(),
                log,
            });
        }
    }
    Ok(())
}

/// Gives this process its owner number, and marks the lanes whose entries an earlier process has possibly sent.
///
/// Each process that opens the store gets a new owner number for its claim tokens. If the earlier process did not close
/// the store cleanly, the function marks the first lanes of each queue, because claims take the first lanes. Before the
/// earlier process changed the order of a queue, it marked its claimed lanes with `ClaimedLanes::write_down`. A mark
/// stays in the store until a settlement of the lane, even after a clean stop or a second crash.
fn register(connection: &Connection, bounds: ClaimBounds) -> rusqlite::Result<u64> {
    let transaction = connection.unchecked_transaction()?;
    let owner = new_owner(&transaction, bounds)?;
    transaction.commit()?;
    Ok(owner)
}

fn new_owner(connection: &Connection, bounds: ClaimBounds) -> rusqlite::Result<u64> {
    // A damaged number counts as 0: the function then treats the store as not closed cleanly, or starts the owner
    // numbers again.
    let number = |name: &str| -> rusqlite::Result<Option<u64>> {
        connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
                Ok(columns::or_default(row, 0))
            })
            .optional()
    };
    let was_closed_in_order = number("clean")? == Some(1);
    let openings = number("openings")?.unwrap_or_default();
    let owner = openings.saturating_add(1).min(ENTRY_MAX);
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('clean', 0), ('openings', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [owner],
    )?;
    if was_closed_in_order {
        return Ok(owner);
    }
    for class in LaneClass::all() {
        let mut first_due = connection.prepare_cached(
            "SELECT id FROM lane WHERE low = ?1 AND due_at IS NOT NULL ORDER BY due_at, id LIMIT ?2",
        )?;
        let params = params![codec::class_number(class), bounds.in_flight];
        let due = first_due.query_map(params, |row| row.get(0).map(LaneId))?;
        mark_maybe_sent(connection, columns::readable(due)?)?;
    }
    Ok(owner)
}

/// Marks the store as closed cleanly: no lane is in flight. The process must not write to the store afterwards.
pub(super) fn mark_closed_in_order(connection: &Connection) -> rusqlite::Result<usize> {
    log_mark::will_write_back(connection)?;
    connection.execute("UPDATE meta SET value = 1 WHERE name = 'clean'", [])
}

/// Creates a store with this digest key and this application id under a temporary name and then renames the store, so that
/// a crash leaves no incomplete store at `path`. `complete` adds rows to the store.
pub(super) fn create(
    path: &Path,
    ring: &Arc<KeyRing>,
    (key, application_id): (&DigestKey, i32),
    complete: &dyn Fn(&Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    let draft = beside(path, "new");
    let file = OpenError::file(&draft);
    remove_draft(&draft).map_err(&file)?;
    let mut connection = Connection::open(&draft).map_err(OpenError::sqlite("creating it"))?;
    std::fs::set_permissions(&draft, Permissions::from_mode(FILE_MODE)).map_err(&file)?;
    configure(&connection).map_err(OpenError::sqlite("setting it up"))?;
    connection
        .pragma_update(None, "application_id", application_id)
        .map_err(OpenError::sqlite("marking it"))?;
    migrate(&mut connection)?;
    sealing_keys::begin(&connection, ring, key)
        .map_err(OpenError::sqlite("storing the digest key"))?;
    erase::mark(&connection).map_err(OpenError::sqlite("marking it"))?;
    complete(&connection).map_err(OpenError::sqlite("setting it up"))?;
    connection
        .close()
        .map_err(|(_, source)| OpenError::Sqlite {
            doing: "closing it",
            source,
        })?;
    std::fs::rename(&draft, path).map_err(&file)?;
    sync_folder(path).map_err(file)
}

/// Checks that the file is a store of this program.
pub(super) fn check_identity(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| refusal(path, error))?;
    match id {
        APPLICATION_ID => Ok(()),
        UNFINISHED_ID => Err(OpenError::Unfinished(path.to_owned())),
        _ => Err(OpenError::Foreign(path.to_owned())),
    }
}

/// Sets the options of an SQLite connection.
///
/// With `secure_delete`, SQLite overwrites deleted rows with zeros. With `synchronous=FULL`, a commit returns only after
/// the write-ahead log is on disk. The exclusive locking mode excludes other programs, and keeps the index of the log in
/// memory. The option QPSG prevents that the query planner looks at bound values: otherwise SQLite would prepare a
/// statement again for every new value.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if failpoint::is_armed(Fault::SynchronousOff) {
        "OFF"
    } else {
        "FULL"
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES_MAX)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    sort_in_memory(connection)
}

/// Applies the migrations that the store does not have yet, all in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let doing = OpenError::sqlite("updating its layout");
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&doing)?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(OpenError::Newer {
            found,
            known: MIGRATIONS.len(),
        });
    }
    if found == MIGRATIONS.len() {
        return Ok(());
    }
    sort_on_disk(connection).map_err(&doing)?;
    let transaction = connection.transaction().map_err(&doing)?;
    for step in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(step).map_err(&doing)?;
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(&doing)?;
    transaction.commit().map_err(&doing)?;
    sort_in_memory(connection).map_err(&doing)
}

/// Lets SQLite sort the rows of a new index in files without a name beside the store, because a store of millions of
/// entries needs more memory for it than a container may have.
fn sort_on_disk(connection: &Connection) -> rusqlite::Result<()> {
    let folder = connection.path().map(Path::new).and_then(Path::parent);
    let folder = folder.filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let folder = folder.to_str().unwrap_or(".");
    connection.pragma_update(None, "temp_store_directory", folder)?;
    connection.pragma_update(None, "temp_store", "FILE")
}

fn sort_in_memory(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Repairs damaged queue numbers, because a claim finds only lanes with a valid queue number.
///
/// The index of due lanes begins with the queue number, so the query reads only damaged rows.
fn repair_classes(connection: &Connection) -> rusqlite::Result<()> {
    let low = codec::class_number(LaneClass::DEFAULT);
    for damaged in [
        "low < 0",
        "low > 0 AND low < 1",
        "low > 1 AND low < 2",
        "low > 2 AND low < 3",
        "low > 3 AND low < 4",
        "low > 4 AND low < 5",
        "low > 5",
    ] {
        let repair = format!("UPDATE lane SET low = ?1 WHERE due_at IS NOT NULL AND {damaged}");
        let repaired = connection.execute(&repair, [low])?;
        if repaired > 0 {
            tracing::error!(
                lanes = repaired,
                "the bridge repaired damaged queue numbers of lanes"
            );
        }
    }
    Ok(())
}

/// Converts SQLite's error about a store file into the reason why the store cannot be opened.
fn refusal(path: &Path, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign(path.to_owned()),
        Some(rusqlite::ErrorCode::DatabaseBusy) => OpenError::Locked {
            path: path.to_owned(),
            holder: "another program".to_owned(),
        },
        Some(_) | None => OpenError::Sqlite {
            doing: "setting it up",
            source,
        },
    }
}
