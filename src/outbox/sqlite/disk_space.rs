//! Whether the disk has room for what comes in.
//!
//! A store that fills its disk to the last byte cannot even write down what was delivered, and delivering is what frees
//! space. So intake stops while there is still room to settle, and the log is written back into the file before it could
//! not be.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// What intake leaves free: a group of events with its indexes, and the settlements of everything in flight.
pub(super) const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// With more than this free nobody has to look closer: the log does not grow so far between two checkpoints.
const AMPLE_BYTES: u64 = 128 * 1024 * 1024;

/// The disk that the store is on.
#[derive(Debug)]
pub(super) struct DiskSpace {
    folder: PathBuf,
    log: PathBuf,
}

impl DiskSpace {
    /// The room beside the store at `path`.
    pub(super) fn beside(path: &Path) -> Self {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self {
            folder: folder.unwrap_or_else(|| Path::new(".")).to_owned(),
            log: PathBuf::from(log),
        }
    }

    /// Whether there is room for more events. Writes the log back first where that makes the difference.
    ///
    /// A disk that does not say how full it is has room: what it then refuses is refused.
    pub(super) fn has_space_for_intake(&self, connection: &Connection) -> bool {
        let Some(free) = self.free() else { return true };
        let log = || fs::metadata(&self.log).map_or(0, |log| log.len());
        if free >= AMPLE_BYTES || free >= RESERVE_BYTES.saturating_add(log()) {
            return true;
        }
        self.reclaim(connection);
        // Rows that are gone have left pages in the file that new rows will use; the log still needs room of its own.
        let enough = |free: u64| {
            free >= RESERVE_BYTES / 2 && free.saturating_add(unused(connection)) >= RESERVE_BYTES
        };
        self.free().is_none_or(enough)
    }

    /// Writes the log back into the file, as far as there is room, and gives its bytes back to the disk.
    pub(super) fn reclaim(&self, connection: &Connection) {
        let written_back = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = written_back {
            // That the disk is full is said elsewhere, once; this happens again with every try.
            tracing::debug!(error = %error, log = %self.log.display(), "the store's log could not be written back");
        }
    }

    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }
}

/// The bytes inside the file that no row uses.
fn unused(connection: &Connection) -> u64 {
    let pragma = |name: &str| -> u64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap_or(0)
    };
    pragma("freelist_count").saturating_mul(pragma("page_size"))
}
