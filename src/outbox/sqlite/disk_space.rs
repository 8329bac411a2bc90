//! Measures the free space of the disk, and decides whether the space is enough for new events.
//!
//! Deliveries free space in the store, but a store on a full disk cannot record deliveries. The store therefore stops
//! accepting events before the disk is full, and keeps the last space for settlements. The store also writes the
//! write-ahead log back into the store file before the disk is full.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};

use super::draft::{FILE_MODE, beside};
use super::files::{free, with_ending};

/// The store accepts events only while the disk has this much free space. The space is enough for one group of events
/// with its index rows, and for the settlements of all lanes in flight.
pub(super) const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// With this much free space, the store accepts events without a further check: the write-ahead log grows by less than
/// this between two checkpoints.
const AMPLE_BYTES: u64 = 128 * 1024 * 1024;

/// The size of the probe file. A large commit writes as many bytes, so a quota that refused the commit also refuses the
/// probe file.
const PROBE_BYTES: usize = 4 * 1024 * 1024;

/// The disk that contains the store.
#[derive(Debug)]
pub(super) struct DiskSpace {
    folder: PathBuf,
    database: PathBuf,
    log: PathBuf,
    probe: PathBuf,
}

impl DiskSpace {
    /// Returns the disk that contains the store at `path`.
    pub(super) fn beside(path: &Path) -> Self {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Self {
            folder: folder.unwrap_or_else(|| Path::new(".")).to_owned(),
            database: path.to_owned(),
            log: with_ending(path, "-wal"),
            probe: beside(path, "probe"),
        }
    }

    /// Returns whether an error of SQLite means that the disk is full.
    ///
    /// SQLite reports only ENOSPC as a full disk. For a quota (EDQUOT) and a file size limit (EFBIG), SQLite reports a
    /// general write error. After a write error, this function therefore writes a probe file to find the reason.
    pub(super) fn is_full(&self, error: &rusqlite::Error) -> bool {
        let Some(error) = error.sqlite_error() else {
            return false;
        };
        error.code == ErrorCode::DiskFull
            || (error.extended_code == ffi::SQLITE_IOERR_WRITE && self.refuses_more_bytes())
    }

    /// Returns whether the operating system refuses to write more bytes because of a full disk, a quota or a file size
    /// limit.
    fn refuses_more_bytes(&self) -> bool {
        // An earlier process has possibly left its probe file.
        let _absent = fs::remove_file(&self.probe);
        let probed = self.probe(length(&self.database).max(length(&self.log)));
        let _absent = fs::remove_file(&self.probe);
        probed.is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
            )
        })
    }

    /// Writes a new probe file at this offset. A file size limit applies to each file, so the offset is the length of
    /// the longest store file.
    fn probe(&self, offset: u64) -> io::Result<()> {
        File::options()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&self.probe)?
            .write_all_at(&vec![0; PROBE_BYTES], offset)
    }

    /// Returns whether the disk has space for more events. If the space is short, first writes the write-ahead log back
    /// into the store file.
    ///
    /// If the disk does not report its free space, the function returns true. If the disk is then full, the commit of
    /// the events fails.
    pub(super) fn has_space_for_intake(&self, connection: &Connection) -> bool {
        let Some(free) = self.free() else { return true };
        if free >= AMPLE_BYTES || free >= RESERVE_BYTES.saturating_add(length(&self.log)) {
            return true;
        }
        self.reclaim(connection);
        // New rows can use the pages of deleted rows, but the write-ahead log needs free space on the disk.
        let enough = |free: u64| {
            free >= RESERVE_BYTES / 2 && free.saturating_add(unused(connection)) >= RESERVE_BYTES
        };
        self.free().is_none_or(enough)
    }

    /// Writes the write-ahead log back into the store file, and truncates the log. Does as much as the space on the
    /// disk allows.
    pub(super) fn reclaim(&self, connection: &Connection) {
        let written_back = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = written_back {
            // Debug level, because this error repeats with every attempt. The writer thread logs a full disk once at a
            // higher level.
            tracing::debug!(error = %error, log = %self.log.display(), "the store could not write back its write-ahead log");
        }
    }

    /// Returns the total size of the store file and its log in bytes.
    pub(super) fn database_bytes(&self) -> u64 {
        length(&self.database).saturating_add(length(&self.log))
    }

    /// Returns the free space of the disk in bytes, or `None` if the disk does not report its free space.
    pub(super) fn free(&self) -> Option<u64> {
        free(&self.folder)
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Returns the total size of the unused pages of the store file in bytes.
fn unused(connection: &Connection) -> u64 {
    let pragma = |name: &str| -> u64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap_or(0)
    };
    pragma("freelist_count").saturating_mul(pragma("page_size"))
}
