//! Copies of the store: made while it is in use, looked over, and put in its place.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::audit;
use super::counts::count;
use super::lock::{self, beside};
use super::open::{OpenError, check_identity, sync_folder};
use crate::outbox::Error;

/// How many lines of the record are looked at: more than people write.
const ACTS_MAX: usize = 10_000_000;

/// What a look over a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Entries it knows of.
    pub entries: u64,
    /// Those that wait.
    pub waiting: u64,
    /// Those that are parked.
    pub parked: u64,
    /// Acts of operators on record.
    pub acts: u64,
    /// Everything that is wrong with it, in SQLite's words; or with the record.
    pub faults: Vec<String>,
}

/// Copies the open store into a new file and returns its path. An existing file is left alone and is an error.
pub(super) fn backup(connection: &Connection, to: PathBuf) -> Result<PathBuf, Error> {
    match connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]) {
        Ok(_) => Ok(to),
        Err(error) => {
            tracing::warn!(error = %error, "the store could not be copied");
            Err(Error::Failed { doing: "copying" })
        }
    }
}

/// Looks over a store that nobody has open, without changing it.
///
/// # Errors
/// It is no store of ours, or somebody has it open.
pub fn verify(path: &Path) -> Result<VerifyReport, OpenError> {
    let _lock = lock::acquire(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(OpenError::sqlite("opening it"))?;
    check_identity(path, &connection)?;
    looked(&connection).map_err(OpenError::sqlite("looking it over"))
}

fn looked(connection: &Connection) -> rusqlite::Result<VerifyReport> {
    let mut faults: Vec<String> = connection
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    faults.retain(|line| line != "ok");
    let has_record = connection
        .prepare("SELECT 1 FROM sqlite_master WHERE name = 'act'")?
        .exists([])?;
    let acts = if has_record {
        audit::read(connection, 0, ACTS_MAX)?
    } else {
        Vec::new()
    };
    let changed = acts.iter().filter(|line| !line.is_intact);
    faults.extend(changed.map(|line| {
        format!(
            "line {} of the record is not as it was written",
            line.number
        )
    }));
    Ok(VerifyReport {
        entries: count(connection, "entry")?,
        waiting: count(connection, "waiting")?,
        parked: count(connection, "parked")?,
        acts: u64::try_from(acts.len()).unwrap_or(u64::MAX),
        faults,
    })
}

/// Puts a copy in the place of the store, which nobody may have open; what was there is kept beside it. Says where.
///
/// A copy is older than the world: what waits in it may have been delivered meanwhile, and newer facts too. So it counts
/// as not left in order, and its first lanes are in doubt.
///
/// # Errors
/// The copy is no store of ours or not whole, or the place is in use.
pub fn restore(copy: &Path, path: &Path) -> Result<Option<PathBuf>, OpenError> {
    let looked = verify(copy)?;
    if let Some(fault) = looked.faults.first() {
        return Err(OpenError::NotWhole {
            path: copy.to_owned(),
            fault: fault.clone(),
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
        // The log belongs to the file: one without the other is neither store.
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
