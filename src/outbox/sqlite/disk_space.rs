//! Measures the free space of the disk, and decides whether the space is enough for new events.
//!
//! A store on a full disk cannot record deliveries, and only deliveries free space. So the store stops accepting events
//! while there is still space for settlements. The store also writes the write-ahead log back into the store file while
//! there is still space to do so.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};

use super::files::with_ending;
use super::lock::{FILE_MODE, beside};

/// The free space that the store keeps when it accepts events: for one group of events with its indexes, and for the
/// settlements of all lanes in flight.
pub(super) const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// The free space above which no further check is needed: the write-ahead log grows less than this between two
/// checkpoints.
const AMPLE_BYTES: u64 = 128 * 1024 * 1024;

/// The bytes that a probe writes: as many as a large commit, so that a quota that refused the commit refuses the probe.
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
    /// SQLite reports only ENOSPC as a full disk. A quota (EDQUOT) and a file size limit (EFBIG) are write errors for
    /// SQLite, so a probe finds the reason for a write error.
    pub(super) fn is_full(&self, error: &rusqlite::Error) -> bool {
        let Some(error) = error.sqlite_error() else {
            return false;
        };
        error.code == ErrorCode::DiskFull
            || (error.extended_code == ffi::SQLITE_IOERR_WRITE && self.refuses_more_bytes())
    }

    /// Returns whether the operating system refuses to make a file longer, because of the disk, a quota or a limit.
    fn refuses_more_bytes(&self) -> bool {
        // A process that was killed during a probe left its file behind.
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

    /// Writes to a new file, starting at the length of the store's files, because a file size limit applies to each
    /// file.
    fn probe(&self, offset: u64) -> io::Result<()> {
        File::options()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&self.probe)?
            .write_all_at(&vec![0; PROBE_BYTES], offset)
    }

    /// Returns whether the disk has space for more events. Writes the write-ahead log back first if that could change
    /// the result.
    ///
    /// A disk that does not report its free space counts as having enough space. If a write then fails, the store
    /// refuses the write.
    pub(super) fn has_space_for_intake(&self, connection: &Connection) -> bool {
        let Some(free) = self.free() else { return true };
        if free >= AMPLE_BYTES || free >= RESERVE_BYTES.saturating_add(length(&self.log)) {
            return true;
        }
        self.reclaim(connection);
        // New rows use the pages of deleted rows; the write-ahead log still needs separate space.
        let enough = |free: u64| {
            free >= RESERVE_BYTES / 2 && free.saturating_add(unused(connection)) >= RESERVE_BYTES
        };
        self.free().is_none_or(enough)
    }

    /// Writes the write-ahead log back into the store file, as far as the disk has space, and truncates the log.
    pub(super) fn reclaim(&self, connection: &Connection) {
        let written_back = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = written_back {
            // The store writer logs a full disk once, but this error repeats with every attempt.
            tracing::debug!(error = %error, log = %self.log.display(), "the store could not write back its write-ahead log");
        }
    }

    /// Returns the bytes of the store file and its log.
    pub(super) fn database_bytes(&self) -> u64 {
        length(&self.database).saturating_add(length(&self.log))
    }

    /// Returns the free bytes of the disk, or `None` if the disk does not report them.
    pub(super) fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Returns the number of bytes in pages of the store file that no row uses.
fn unused(connection: &Connection) -> u64 {
    let pragma = |name: &str| -> u64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap_or(0)
    };
    pragma("freelist_count").saturating_mul(pragma("page_size"))
}
