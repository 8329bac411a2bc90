//! Measures the free space of the disk, keeps the reserve, and decides whether the space is enough for new events.
//!
//! Deliveries free space in the store, but a store on a full disk cannot record deliveries. The store therefore stops
//! accepting events before the disk is full, and keeps a [reserve](crate::outbox::reserve) for settlements and for the
//! next start. The store also writes the write-ahead log back into the store file before the disk is full.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::watch;

use super::draft::{FILE_MODE, beside};
use super::files::{free, with_ending};
use super::open_error::OpenError;
use super::reserve_file::ReserveFile;
use crate::outbox::reserve::{
    DiskState, INTAKE_BYTES, INTAKE_LOG_BYTES, RESERVE_BYTES, Reserve, ReserveStep, Room, is_short,
};

/// With this much free space, the store accepts events without a further check: the write-ahead log grows by less than
/// this between two checkpoints.
const AMPLE_BYTES: u64 = 128 * 1024 * 1024;

/// The size of the probe file. A large commit writes as many bytes, so a quota that refused the commit also refuses the
/// probe file.
const PROBE_BYTES: usize = 4 * 1024 * 1024;

/// The maximum number of looks at write errors whose reason has ended, without a stored event between them. The writer looks at
/// one error up to three times.
const VANISHED_MAX: u32 = 30;

/// The disk that contains the store.
#[derive(Debug)]
pub(super) struct DiskSpace {
    folder: PathBuf,
    database: PathBuf,
    log: PathBuf,
    probe: PathBuf,
    reserve_file: ReserveFile,
    state: watch::Sender<DiskState>,
    /// True if the file of the reserve must exist when this process ends.
    is_kept: Cell<bool>,
    /// True if the operating system has refused the space of the reserve, although the disk reports free space: a quota
    /// is full. Each attempt takes long, so only [`Self::adjust_again`] tries again.
    is_refused: Cell<bool>,
    /// The number of write errors without a reason since the last stored event.
    vanished: Cell<u32>,
    /// True if the disk refused the last write of events, although its free space was enough.
    is_write_refused: Cell<bool>,
    /// True if the log of the process says that deliveries wait for space.
    is_reported_used_up: Cell<bool>,
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
            reserve_file: ReserveFile::beside(path),
            state: watch::Sender::default(),
            is_kept: Cell::new(false),
            is_refused: Cell::new(false),
            vanished: Cell::new(0),
            is_write_refused: Cell::new(false),
            is_reported_used_up: Cell::new(false),
        }
    }

    /// Returns whether an error of SQLite means that the disk is full.
    ///
    /// SQLite reports only ENOSPC as a full disk. For a quota (EDQUOT) and a file size limit (EFBIG), SQLite reports a
    /// general write error. After a write error, this function therefore writes a probe file to find the reason. If the disk
    /// takes the probe, it has got space since the error. A write that fails changes nothing, so the store can go on, at most
    /// [`VANISHED_MAX`] times without a stored event: then only the files of the store fail.
    pub(super) fn is_full(&self, error: &rusqlite::Error) -> bool {
        let Some(error) = error.sqlite_error() else {
            return false;
        };
        if error.extended_code != ffi::SQLITE_IOERR_WRITE {
            return error.code == ErrorCode::DiskFull;
        }
        self.write_error().map_or_else(
            || self.vanished.replace(self.vanished.get() + 1) < VANISHED_MAX,
            |refused| is_about_space(&refused),
        )
    }

    /// Returns the error with which the operating system refuses a write beside the store.
    pub(super) fn write_error(&self) -> Option<io::Error> {
        // An earlier process has possibly left its probe file.
        let _absent = fs::remove_file(&self.probe);
        let probed = self.probe(length(&self.database).max(length(&self.log)));
        let _absent = fs::remove_file(&self.probe);
        probed.err()
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

    /// Returns whether an error at the start means that the disk is full.
    ///
    /// SQLite reports a log that it cannot create as a file that it cannot open, and an error of a sync without the
    /// reason.
    pub(super) fn is_full_after(&self, error: &OpenError) -> bool {
        if let OpenError::Sqlite { source, .. } = error {
            let may_lack_space = matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure)
            );
            source.sqlite_error_code() == Some(ErrorCode::DiskFull)
                || (may_lack_space && self.write_error().as_ref().is_some_and(is_about_space))
        } else if let OpenError::File { source, .. } | OpenError::Lock { source, .. } = error {
            lacks_space(source)
        } else {
            false
        }
    }

    /// Names the full disk as the reason of an error at the start, if it is the reason.
    pub(super) fn explain(&self, error: OpenError) -> OpenError {
        if !self.is_full_after(&error) {
            return error;
        }
        OpenError::DiskFull {
            path: self.database.clone(),
            source: Box::new(error),
        }
    }

    /// Finds the reserve of the store. If the disk is full, gives the reserve back. The process must have locked the
    /// store, but has not written to it.
    pub(super) fn find_reserve(&self) {
        if !self.reserve_file.exists() {
            return;
        }
        self.is_kept.set(true);
        if self.reserve_file.is_complete() {
            self.set_reserve(Reserve::Held);
        }
        if self.free().is_some_and(is_short) {
            self.give_back();
        }
    }

    /// Keeps a reserve from now on. Makes the reserve if the disk has space.
    pub(super) fn keep_reserve(&self, connection: &Connection) {
        self.is_kept.set(true);
        self.adjust(connection);
        if self.present_reserve() == Reserve::Missing {
            tracing::warn!(
                folder = %self.folder.display(),
                free_bytes = self.free(),
                "the disk has no space for the reserve of the store: the bridge delivers, but refuses events until the disk has space"
            );
        }
    }

    /// Leaves the reserve for the next start, if there is space for the file alone: this process writes no more.
    pub(super) fn leave_reserve(&self) {
        let is_missing = self.is_kept.get() && self.present_reserve() == Reserve::Missing;
        if is_missing && self.free().is_none_or(|free| free >= RESERVE_BYTES) {
            self.make_reserve(0);
        }
    }

    /// Returns the state of the disk, and every later state.
    pub(super) fn state(&self) -> watch::Receiver<DiskState> {
        self.state.subscribe()
    }

    fn present_reserve(&self) -> Reserve {
        self.state.borrow().reserve
    }

    fn set_reserve(&self, reserve: Reserve) {
        self.state.send_modify(|state| state.reserve = reserve);
    }

    /// Gives the reserve back if the free space is short, and makes the reserve if the disk has space.
    pub(super) fn adjust(&self, connection: &Connection) {
        let Some(room) = self.room(connection) else {
            return;
        };
        let reserve = self.present_reserve();
        match reserve.step(room) {
            ReserveStep::Keep => {}
            ReserveStep::GiveBack => _ = self.give_back(),
            ReserveStep::Make if self.is_refused.get() => {}
            ReserveStep::Make => self.make_reserve(INTAKE_LOG_BYTES),
        }
    }

    /// Does the same as [`Self::adjust`] at intervals. Finds out if another program has removed or changed the file of
    /// the reserve, and asks again for space that the operating system has refused.
    pub(super) fn adjust_again(&self, connection: &Connection) {
        if self.present_reserve() == Reserve::Held && !self.reserve_file.is_complete() {
            tracing::warn!(
                folder = %self.folder.display(),
                "another program has removed or changed the reserve of the store: the store makes the reserve again"
            );
            self.set_reserve(Reserve::Missing);
        }
        self.is_refused.set(false);
        self.adjust(connection);
    }

    /// Shows at intervals whether the next event has space: without an event, nothing else finds out. A short disk makes the
    /// function truncate the write-ahead log.
    pub(super) fn look_again(&self, connection: &Connection) {
        let has_space = self.has_space_for_intake(connection);
        let is_impossible = self.present_reserve() == Reserve::Impossible;
        // The free space does not show the limit that has refused the write. Only a stored event ends such a state.
        if !(has_space && is_impossible && self.is_write_refused.get()) {
            self.show(has_space);
        }
    }

    /// Makes room after a write has found the disk full.
    pub(super) fn make_room(&self, connection: &Connection) {
        self.give_back();
        self.reclaim(connection);
    }

    /// Returns whether the store gave a reserve back.
    pub(super) fn give_back(&self) -> bool {
        if self.present_reserve() == Reserve::Impossible || !self.reserve_file.exists() {
            return false;
        }
        if let Err(error) = self.reserve_file.remove() {
            tracing::warn!(error = %error, "the store cannot give its reserve of disk space back");
            self.set_reserve(Reserve::Impossible);
            return false;
        }
        tracing::error!(
            bytes = RESERVE_BYTES,
            "the store's disk is full: the store uses its reserve of disk space for deliveries, and refuses events"
        );
        self.set_reserve(Reserve::Missing);
        true
    }

    fn make_reserve(&self, spare: u64) {
        let made = match self.reserve_file.make(spare) {
            Ok(()) => Reserve::Held,
            Err(error) if lacks_space(&error) => Reserve::Missing,
            Err(error) => {
                tracing::warn!(
                    error = %error,
                    "the store cannot make a reserve of disk space: after a start on a full disk, it possibly delivers nothing"
                );
                Reserve::Impossible
            }
        };
        self.is_refused.set(made == Reserve::Missing);
        self.set_reserve(made);
    }

    /// Returns whether the disk has space for more events. If the space is short, first writes the write-ahead log back
    /// into the store file.
    ///
    /// If the disk does not report its free space, the function returns true. If the disk is then full, the commit of
    /// the events fails.
    pub(super) fn has_space_for_intake(&self, connection: &Connection) -> bool {
        let Some(free) = self.free() else { return true };
        let is_missing = self.present_reserve() == Reserve::Missing;
        let is_ample =
            free >= AMPLE_BYTES || free >= INTAKE_BYTES.saturating_add(length(&self.log));
        if is_ample && !is_missing {
            return true;
        }
        self.adjust(connection);
        if !is_ample {
            self.reclaim(connection);
            self.adjust(connection);
        }
        let reserve = self.present_reserve();
        self.room(connection)
            .is_none_or(|room| reserve.takes_events(room))
    }

    /// Reports a stored event: the disk has space.
    pub(super) fn report_stored(&self) {
        self.vanished.set(0);
        self.is_write_refused.set(false);
        self.show(true);
    }

    /// Reports that the disk has refused a write of events.
    pub(super) fn report_refused(&self) {
        self.is_write_refused.set(true);
        self.show(false);
    }

    /// Shows whether the disk has space for events. Logs once when the disk becomes full, and once when the disk has space
    /// again.
    pub(super) fn show(&self, has_space: bool) {
        if self.state.borrow().lacks_space != has_space {
            return;
        }
        self.state
            .send_modify(|state| state.lacks_space = !has_space);
        match has_space {
            true => tracing::warn!("the store's disk has space again"),
            false => {
                tracing::error!(
                    "the store's disk is full: the bridge refuses events, but delivers"
                );
            }
        }
    }

    /// Logs once when settlements find no space any more, and once when they have space again.
    pub(super) fn report_deliveries(&self, wait: bool) {
        let waited = self.is_reported_used_up.replace(wait);
        if !waited && wait {
            tracing::error!(
                "the store's disk is full, and no reserve of disk space is left: deliveries wait until the disk has space"
            );
        } else if waited && !wait {
            tracing::warn!("the store has space for deliveries again");
        }
    }

    /// Returns the space that a write can use, or `None` if the disk does not report its free space.
    fn room(&self, connection: &Connection) -> Option<Room> {
        self.free().map(|free| Room {
            free,
            unused: unused(connection),
        })
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

/// Returns whether the error means that the disk or a quota is full, or that a file has reached its size limit.
fn is_about_space(error: &io::Error) -> bool {
    lacks_space(error) || error.kind() == ErrorKind::FileTooLarge
}

/// Returns whether the error means that the disk or a quota is full.
pub(super) fn lacks_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, DiskSpace, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let (disk, connection) = (DiskSpace::beside(&path), Connection::open(&path).unwrap());
        (folder, disk, connection)
    }

    /// FAULTS N775: another program removes or shortens the reserve while the store is open.
    #[test]
    fn a_reserve_that_another_program_removes_is_made_again() {
        let (folder, disk, connection) = opened();
        let path = folder.path().join("db.reserve");
        disk.keep_reserve(&connection);
        for spoil in [
            |path: &Path| fs::remove_file(path),
            |path: &Path| File::options().write(true).open(path)?.set_len(1),
        ] {
            assert!(disk.reserve_file.is_complete());
            spoil(&path).unwrap();
            disk.adjust_again(&connection);
            assert!(disk.reserve_file.is_complete());
            assert_eq!(disk.present_reserve(), Reserve::Held);
        }
    }

    /// FAULTS N775: the store cannot remove what has the name of the reserve, so it works without a reserve.
    #[test]
    fn a_folder_with_the_name_of_the_reserve_stays() {
        let (folder, disk, connection) = opened();
        let path = folder.path().join("db.reserve");
        fs::create_dir(&path).unwrap();
        disk.find_reserve();
        disk.keep_reserve(&connection);
        assert_eq!(disk.present_reserve(), Reserve::Impossible);
        assert!(disk.has_space_for_intake(&connection) && !disk.give_back());
        disk.adjust_again(&connection);
        disk.leave_reserve();
        assert!(path.is_dir());
    }

    /// FAULTS N1496: a limit that the free space does not show refuses events. A look at the free space does not end it.
    #[test]
    fn a_refused_write_without_a_reserve_ends_with_a_stored_event() {
        let (folder, disk, connection) = opened();
        let full = || disk.state().borrow().is_full();
        fs::create_dir(folder.path().join("db.reserve")).unwrap();
        disk.keep_reserve(&connection);
        assert!(!full());
        disk.report_refused();
        disk.look_again(&connection);
        assert!(full());
        disk.report_stored();
        assert!(!full());
        disk.show(false);
        disk.look_again(&connection);
        assert!(!full(), "the disk has space again");
    }

    /// FAULTS N1336: the disk gets space between the failed write and the probe, or it takes no write for another reason.
    #[test]
    fn a_failed_write_stops_the_store_only_if_the_disk_has_another_fault() {
        let (folder, disk, _connection) = opened();
        let failed = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let is_full = || disk.is_full(&failed(ffi::SQLITE_IOERR_WRITE));
        assert!((0..VANISHED_MAX).all(|_| is_full()) && !is_full());
        disk.report_stored();
        assert!(is_full() && !disk.is_full(&failed(ffi::SQLITE_IOERR_FSYNC)));
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(!disk.is_full(&failed(ffi::SQLITE_IOERR_WRITE)));
    }

    /// FAULTS N774: SQLite does not say that the disk is full when it cannot create the log.
    #[test]
    fn an_error_at_the_start_names_the_full_disk_only_on_a_full_disk() {
        let (_folder, disk, _connection) = opened();
        let failed = |code| OpenError::Sqlite {
            doing: "opening it",
            source: rusqlite::Error::SqliteFailure(ffi::Error::new(code), None),
        };
        for (code, is_full) in [
            (ffi::SQLITE_FULL, true),
            (ffi::SQLITE_CANTOPEN, false),
            (ffi::SQLITE_IOERR_FSYNC, false),
        ] {
            let explained = disk.explain(failed(code));
            let named = matches!(explained, OpenError::DiskFull { .. });
            assert_eq!(named, is_full, "{code}: {explained}");
        }
    }
}
