//! Copies of the store: makes a copy of a store in use, verifies a copy, restores a copy.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::audit;
use super::counts::count;
use super::lock::{self, beside};
use super::open::{check_identity, sync_folder};
use super::open_error::OpenError;
use crate::outbox::Error;

/// The most records of the audit log that `verify` checks: more records than operators ever write.
const AUDIT_RECORDS_MAX: usize = 10_000_000;

/// The result of verifying a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The number of all entries in the verified store.
    pub entries: u64,
    /// The number of waiting entries in the verified store.
    pub waiting: u64,
    /// The number of parked entries in the verified store.
    pub parked: u64,
    /// The number of audit log records in the verified store.
    pub audit_records: u64,
    /// Every error in the store file, as SQLite reports the error, and every error in the audit log.
    pub errors: Vec<String>,
}

/// Copies the open store into a new file and returns the path of the copy. Returns an error if the file exists, and
/// leaves the existing file unchanged.
pub(super) fn backup(connection: &Connection, to: PathBuf) -> Result<PathBuf, Error> {
    match connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]) {
        Ok(_) => Ok(to),
        Err(error) => {
            tracing::warn!(error = %error, "the backup of the store failed");
            Err(Error::Failed { doing: "copying" })
        }
    }
}

/// Verifies a store that no process has open, without changing the store.
///
/// # Errors
/// Returns an error if the file is not a store, or a process has the store open.
pub fn verify(path: &Path) -> Result<VerifyReport, OpenError> {
    let _lock = lock::acquire(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(OpenError::sqlite("opening it"))?;
    check_identity(path, &connection)?;
    report(&connection).map_err(OpenError::sqlite("verifying it"))
}

fn report(connection: &Connection) -> rusqlite::Result<VerifyReport> {
    let mut errors: Vec<String> = connection
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    errors.retain(|line| line != "ok");
    let has_audit = connection
        .prepare("SELECT 1 FROM sqlite_master WHERE name = 'act'")?
        .exists([])?;
    let audit = if has_audit {
        audit::read(connection, 0, AUDIT_RECORDS_MAX)?
    } else {
        Vec::new()
    };
    let changed = audit.iter().filter(|record| !record.is_intact);
    errors.extend(changed.map(|record| {
        format!(
            "record {} of the audit log is not as it was written",
            record.number
        )
    }));
    Ok(VerifyReport {
        entries: count(connection, "entry")?,
        waiting: count(connection, "waiting")?,
        parked: count(connection, "parked")?,
        audit_records: u64::try_from(audit.len()).unwrap_or(u64::MAX),
        errors,
    })
}

/// Replaces the store with a copy, while no process has the store open. Renames the present store and returns its new
/// path.
///
/// Imprint may be newer than the copy: the waiting entries of the copy, and newer values, may have been delivered since
/// the copy was made. So the copy counts as a store that was not closed cleanly, and the lanes that were due first are
/// in doubt.
///
/// # Errors
/// Returns an error if the copy is not a store or is damaged, or a process has the store open.
pub fn restore(copy: &Path, path: &Path) -> Result<Option<PathBuf>, OpenError> {
    let report = verify(copy)?;
    if let Some(error) = report.errors.first() {
        return Err(OpenError::Damaged {
            path: copy.to_owned(),
            error: error.clone(),
        });
    }
    let _lock = lock::acquire(path)?;
    let file = |source| OpenError::File {
        path: path.to_owned(),
        source,
    };
    let draft = beside(path, "new");
    std::fs::copy(copy, &draft).map_err(file)?;
    let connection = Connection::open(&draft).map_err(OpenError::sqlite("opening the copy"))?;
    connection
        .execute("UPDATE meta SET value = 0 WHERE name = 'clean'", [])
        .map_err(OpenError::sqlite("marking the copy"))?;
    connection
        .close()
        .map_err(|(_, source)| OpenError::Sqlite {
            doing: "closing the copy",
            source,
        })?;
    std::fs::File::open(&draft)
        .and_then(|draft| draft.sync_all())
        .map_err(file)?;
    let mut replaced = None;
    if path.try_exists().map_err(file)? {
        let aside = beside(path, "replaced");
        // The write-ahead log belongs to the store file: the file without its log is not the complete store.
        for ending in ["", "-wal", "-shm"] {
            let from = with_ending(path, ending);
            if from.try_exists().map_err(file)? {
                std::fs::rename(&from, with_ending(&aside, ending)).map_err(file)?;
            }
        }
        replaced = Some(aside);
    }
    std::fs::rename(&draft, path).map_err(file)?;
    sync_folder(path).map_err(file)?;
    Ok(replaced)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
