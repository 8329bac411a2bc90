//! Copies of the store: makes a copy of a store in use, restores a copy.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use self::copy_fault::CopyFault;
use self::verification::layout::create_missing_indexes;
use super::draft::{beside, create_private, remove_draft, remove_logs, sync_folder};
use super::files::with_ending;
use super::lock;
use super::log_mark;
use super::open::check_identity;
use super::open_error::{OpenError, expect_store, explain};
use super::records;
use super::sealing_keys::unlock_for_reading;
use crate::outbox::{
    AuditProof, Finding, KeyReport, RecordCounts, RecordCursor, SealingStatus, Setting,
};
use crate::sealing::KeyRing;

pub(super) mod copy_fault;
mod verification;

pub use self::verification::verify;

/// The size of the page cache of a draft. SQLite expects KiB as a negative number. The cache is small, because the last
/// step of the copy writes the whole cache at once.
const DRAFT_CACHE_KIB: i32 = -1024;

/// The draft of a copy of the open store. The draft contains every page of the store, even pages with remains of erased
/// entries.
pub(super) struct Draft {
    path: PathBuf,
    pub(super) connection: Connection,
}

impl Draft {
    /// Creates the draft of the copy `to`. Removes a draft that an earlier process left.
    pub(super) fn create(to: &Path) -> Result<Self, CopyFault> {
        let path = beside(to, "new");
        remove_draft(&path)
            .and_then(|()| create_private(&path))
            .map_err(|error| CopyFault::of_io(&error))?;
        let connection = Connection::open(&path).and_then(|connection| {
            // The draft needs neither a journal nor a sync, because the bridge deletes a draft that a crash leaves
            // behind.
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "cache_size", DRAFT_CACHE_KIB)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| CopyFault::of_sqlite(&path, &error))?;
        Ok(Self { path, connection })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the content of the complete draft, without the remains of erased entries, durably into an empty file.
    /// Then removes the draft.
    pub(super) fn write_into(self, to: &Path) -> Result<(), CopyFault> {
        let Self { path, connection } = self;
        drop(connection);
        copy_into(&path, to).map_err(|error| CopyFault::of_sqlite(to, &error))?;
        remove_draft(&path).map_err(|error| CopyFault::of_io(&error))
    }
}

fn copy_into(draft: &Path, to: &Path) -> rusqlite::Result<()> {
    let name = to
        .to_str()
        .ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()))?;
    let draft = Connection::open(draft)?;
    log_mark::remove(&draft)?;
    draft.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

/// Counts the records of a store that no process has open, by their keys. Does not change the store.
///
/// # Errors
/// Returns an error if the file is not a store, or a process has the store open.
pub fn count_keys(path: &Path, keys: &Arc<KeyRing>) -> Result<KeyReport, OpenError> {
    let (_lock, connection) = open_for_reading(path)?;
    let store = unlock_for_reading(connection, Arc::clone(keys));
    let counted = store.and_then(|store| {
        let sealer = store.sealer();
        let status = SealingStatus::of(&sealer.ring(), &sealer.used());
        let mut counts = RecordCounts::default();
        let mut place = Some(RecordCursor::START);
        while let Some(from) = place {
            let (part, next) = records::count(&store, from)?;
            counts.add(&part);
            place = next;
        }
        Ok(KeyReport::counted(&status, &counts, true))
    });
    counted.map_err(OpenError::sqlite("counting its records"))
}

/// What happens to the log of the last process when the connection to its store is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LogUse {
    /// SQLite writes the log back into the store file, so the file alone is the complete store.
    WriteBack,
    /// The log stays as it is.
    Keep,
}

/// Locks and opens a store that no process has open, and changes neither the store nor its log.
pub(super) fn open_for_reading(path: &Path) -> Result<(lock::StoreLock, Connection), OpenError> {
    open_closed(path, LogUse::Keep).map_err(|error| explain(error, path))
}

fn open_closed(path: &Path, log_use: LogUse) -> Result<(lock::StoreLock, Connection), OpenError> {
    // SQLite needs an absolute path without links: names such as `:memory:` have a special meaning for SQLite, and the
    // log lies beside the file that a link names.
    let path = &path.canonicalize().map_err(OpenError::file(path))?;
    expect_store(path)?;
    let lock = lock::acquire(path)?;
    log_mark::check(path, &lock)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let doing = OpenError::sqlite("opening it");
    let has_log = log_mark::has_log(path);
    let connection = Connection::open_with_flags(path, flags).map_err(&doing)?;
    if has_log && log_use == LogUse::Keep {
        keep_log(&connection).map_err(&doing)?;
    }
    check_identity(path, &connection)?;
    if has_log && log_use == LogUse::WriteBack {
        log_mark::will_write_back(&connection).map_err(&doing)?;
    }
    Ok((lock, connection))
}

/// Lets SQLite leave the log beside the store when the connection is closed. The exclusive mode keeps the index of the log in
/// memory: otherwise its file would stay too.
fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")
}

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The new name of the previous store. `None` means that no store existed.
    pub previous: Option<PathBuf>,
    /// What the copy lacked or possibly lacks.
    pub findings: Vec<String>,
}

/// Replaces the store with a copy. No process is allowed to have the store open. Keeps the present store under a new,
/// unused name.
///
/// Imprint possibly has newer values than the copy: after the copy was made, the bridge possibly delivered the waiting
/// entries of the copy, and even newer entries. The function therefore marks the copy as a store that was not closed
/// cleanly, so the next start treats the first due lanes as possibly in flight.
///
/// Creates the indexes again that the copy lacks: its rows are complete without them.
///
/// # Errors
/// Returns an error if the copy is not a store or is damaged, or a process has the store open.
pub fn restore(
    copy: &Path,
    path: &Path,
    proof: &AuditProof,
    keys: &Arc<KeyRing>,
) -> Result<Restored, OpenError> {
    let has_log = copy
        .canonicalize()
        .is_ok_and(|copy| log_mark::has_log(&copy));
    // A record that cannot be opened does not prevent the restore: the bridge parks only its entry.
    let opened = open_closed(copy, LogUse::WriteBack).map_err(|error| explain(error, copy));
    let (locked, connection) = opened?;
    let store = unlock_for_reading(connection, Arc::clone(keys));
    let store = store.map_err(OpenError::sqlite("verifying it"))?;
    let report = verification::examine(&store, proof)?;
    let lacks_log =
        !has_log && !report.lacks_tables && log_mark::needs_log(&store).unwrap_or(false);
    drop(store);
    drop(locked);
    let mut errors = report.errors.iter();
    if let Some(error) = errors.find(|error| !report.missing_indexes.contains(error)) {
        return Err(OpenError::Damaged {
            path: copy.to_owned(),
            error: error.clone(),
        });
    }
    let path = &path
        .canonicalize()
        .unwrap_or_else(|_absent| path.to_owned());
    if is_same_file(copy, path) {
        return Err(OpenError::CopyOfItself(path.to_owned()));
    }
    let mut lock = lock::acquire(path)?;
    let draft = beside(path, "new");
    let replaced =
        prepare(copy, &draft).and_then(|created| Ok((created, replace(path, &draft, &mut lock)?)));
    // A draft that stays would take the space that the bridge needs to start.
    let (created, previous) = replaced
        .inspect_err(|_error| drop(remove_draft(&draft)))
        .map_err(|error| explain(error, path))?;
    let created = created.into_iter().map(|index| {
        format!("the copy lacked the index {index}, and the restored store has it again")
    });
    let lacks_log = lacks_log.then(|| Finding::LogMissing.to_string());
    Ok(Restored {
        previous,
        findings: lacks_log.into_iter().chain(created).collect(),
    })
}

/// Puts the draft in the place of the store. Returns the new name of the previous store.
fn replace(
    path: &Path,
    draft: &Path,
    lock: &mut lock::StoreLock,
) -> Result<Option<PathBuf>, OpenError> {
    let aside = set_aside(path).map_err(OpenError::file(path))?;
    // If the process ends before it has removed the old log, the next start refuses to use the old log.
    log_mark::exclude_copies(lock)?;
    std::fs::rename(draft, path).map_err(OpenError::file(path))?;
    remove_logs(path).map_err(OpenError::file(path))?;
    sync_folder(path).map_err(OpenError::file(path))?;
    lock.write_marks(Vec::new(), None)?;
    Ok(aside)
}

/// Creates a draft with the content of the copy, with every index and with closed brakes, and marks the draft as a store
/// that was not closed cleanly. Returns the names of the indexes that the copy lacked.
fn prepare(copy: &Path, draft: &Path) -> Result<Vec<String>, OpenError> {
    remove_draft(draft).map_err(OpenError::file(draft))?;
    create_private(draft)
        .and_then(|mut file| io::copy(&mut File::open(copy)?, &mut file))
        .map_err(OpenError::file(draft))?;
    let connection = Connection::open(draft).map_err(OpenError::sqlite("opening the copy"))?;
    connection
        .execute("UPDATE meta SET value = 0 WHERE name = 'clean'", [])
        .and_then(|_| log_mark::remove(&connection))
        .and_then(|()| close_brakes(&connection))
        .map_err(OpenError::sqlite("marking the copy"))?;
    let created = create_missing_indexes(&connection).map_err(OpenError::sqlite(
        "creating the indexes that the copy lacks",
    ))?;
    connection
        .close()
        .map_err(|(_, source)| OpenError::Sqlite {
            doing: "closing the copy",
            source,
        })?;
    let synced = File::open(draft).and_then(|draft| draft.sync_all());
    synced.map_err(OpenError::file(draft))?;
    Ok(created)
}

/// Closes the brakes that were open at the time of the copy: the operator has possibly closed them since. A closed brake holds
/// entries, and loses none.
///
/// The other settings stay. A pause of the destination sends nothing until an operator resumes. The wait that Imprint asked
/// for ends by itself, and the evidence has its times, as after a restart. The orders of the sources describe the versions of
/// the copy.
fn close_brakes(copy: &Connection) -> rusqlite::Result<()> {
    let name = Setting::OpenBrakes.name();
    copy.execute("DELETE FROM meta WHERE name = ?1", [name])?;
    Ok(())
}

/// Links the present store and its log to a second, unused name. Returns the second name, or `None` if no store exists.
///
/// The store file without its write-ahead log is not the complete store, so the function links both. If the process
/// ends before the caller has replaced the store, the store is still complete under its first name.
fn set_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    let endings = ["", "-wal", "-journal"];
    let is_present = |path: &Path| endings.map(|ending| with_ending(path, ending).exists());
    let present = is_present(path);
    if present == [false; 3] {
        return Ok(None);
    }
    let numbered = (2..).map(|number: u64| format!("replaced.{number}"));
    let aside = std::iter::once("replaced".to_owned())
        .chain(numbered)
        .map(|ending| beside(path, &ending))
        .find(|aside| is_present(aside) == [false; 3])
        .unwrap_or_else(|| beside(path, "replaced"));
    for (ending, _) in endings.iter().zip(present).filter(|(_, present)| *present) {
        link_or_copy(&with_ending(path, ending), &with_ending(&aside, ending))?;
    }
    sync_folder(path)?;
    Ok(Some(aside))
}

/// Gives a file a second name. If the file system has no hard links, such as CIFS, exFAT and many FUSE mounts, makes a
/// second file with the same content.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    let Err(refused) = std::fs::hard_link(from, to) else {
        return Ok(());
    };
    if refused.kind() == io::ErrorKind::AlreadyExists {
        return Err(refused);
    }
    let mut copy = create_private(to)?;
    let copied = io::copy(&mut File::open(from)?, &mut copy).and_then(|_| copy.sync_all());
    copied.inspect_err(|_error| drop(std::fs::remove_file(to)))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    };
    let one = identity(one);
    one.is_some() && one == identity(other)
}
