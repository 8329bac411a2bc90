//! The identity of the store's files: detects when the open files are no longer at their paths, or when another program
//! changes them.
//!
//! A process can write to a deleted file without an error, and every commit succeeds. But the next process does not
//! find the commits in the deleted file. The bridge must therefore not answer 2xx for an event in a deleted file.

use std::ffi::OsString;
use std::fs::{File, metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::log_header;
use super::shared::WorkCounter;
use crate::failpoint;

/// The number of bytes of a file that the process compares: the header of the store file, or of the log.
///
/// SQLite changes the header of the store file with every change of the file. SQLite changes the header of the log when
/// it starts the log again from the beginning.
const HEADER_BYTES: usize = 100;

/// The store file and its write-ahead log, as the process has opened them.
#[derive(Debug)]
pub(super) struct StoreFiles {
    /// The store file, at the path of the configuration. If the path is a link, a change of the link is a fault too.
    database: OpenFile,
    /// The path of the store file, without links.
    canonical: PathBuf,
    log: OpenFile,
    /// The greatest length of the store file so far. SQLite never shortens the store file, because the bridge never
    /// runs VACUUM on the store.
    longest: AtomicU64,
}

/// The damage of a file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFault {
    /// The file was deleted, renamed, replaced or shortened.
    Gone,
    /// Another program has written into the file.
    Overwritten,
}

/// The length and the header of a file. Every change by SQLite changes the length or the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    length: u64,
    header: [u8; HEADER_BYTES],
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// The open file. The handle must live longer than the connection: closing any handle of the store file would
    /// release the file locks of SQLite.
    handle: File,
    /// The fingerprint of the file after the last work of the writer thread.
    left: Mutex<Option<Fingerprint>>,
    is_overwritten: AtomicBool,
}

impl OpenFile {
    fn at(path: &Path) -> io::Result<Self> {
        let handle = File::open(path)?;
        let found = handle.metadata()?;
        let file = Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
            handle,
            left: Mutex::new(None),
            is_overwritten: AtomicBool::new(false),
        };
        file.leave();
        Ok(file)
    }

    /// Returns the length of the file. Returns `None` if no file or a different file is at the path.
    fn length(&self) -> Option<u64> {
        let found = metadata(&self.path).ok()?;
        (found.dev() == self.device && found.ino() == self.inode).then_some(found.len())
    }

    fn leave(&self) {
        let found = self.fingerprint();
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    fn is_changed(&self) -> bool {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.fingerprint();
        found.is_some() && left.is_some() && found != left
    }

    /// Returns `None` if the process cannot read the file. A read error does not prove a change.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let mut header = [0; HEADER_BYTES];
        let length = self.handle.metadata().ok()?.len();
        // If the file is shorter than the header, the remaining bytes of the buffer stay 0.
        self.handle.read_at(&mut header, 0).ok()?;
        Some(Fingerprint { length, header })
    }

    fn is_overwritten(&self) -> bool {
        self.is_overwritten.load(Ordering::SeqCst)
    }
}

impl StoreFiles {
    /// Records the identity of the store file at `path` and of its write-ahead log. `canonical` is the path without
    /// links. The connection must be open.
    pub(super) fn of(path: &Path, canonical: &Path) -> io::Result<Self> {
        Ok(Self {
            database: OpenFile::at(path)?,
            canonical: canonical.to_owned(),
            log: OpenFile::at(&with_ending(canonical, "-wal"))?,
            longest: AtomicU64::new(metadata(path)?.len()),
        })
    }

    /// Returns the sizes of the store file and of the log, and the free space of the disk, in bytes.
    pub(super) fn sizes(&self) -> [Option<u64>; 3] {
        let free = self.canonical.parent().and_then(free);
        [self.database.length(), self.log.length(), free]
    }

    /// Returns the path of the first file that was deleted, renamed, replaced, shortened or overwritten.
    pub(super) fn displaced(&self) -> Option<(&Path, FileFault)> {
        if !self.is_at_its_path() {
            Some((&self.database.path, FileFault::Gone))
        } else if self.log.length().is_none() {
            Some((&self.log.path, FileFault::Gone))
        } else {
            let overwritten = self.both().into_iter().find(|file| file.is_overwritten());
            overwritten.map(|file| (file.path.as_path(), FileFault::Overwritten))
        }
    }

    /// Returns the path of the store file without links.
    pub(super) fn store(&self) -> &Path {
        &self.canonical
    }

    /// Returns the inode of the only file that the log fits: of the open store file, or 0 if somebody has changed this file too.
    /// Returns `None` while the store file is in order.
    pub(super) fn only_for_the_log(&self) -> Option<u64> {
        let is_changed = self.database.length().is_some();
        (!self.has_store_file()).then_some(if is_changed { 0 } else { self.database.inode })
    }

    fn has_store_file(&self) -> bool {
        self.is_at_its_path() && !self.database.is_overwritten()
    }

    /// Returns whether the store file is complete at its path, and no other program has written to the store's files.
    pub(super) fn has_database(&self) -> bool {
        self.is_at_its_path() && !self.both().iter().any(|file| file.is_overwritten())
    }

    const fn both(&self) -> [&OpenFile; 2] {
        [&self.database, &self.log]
    }

    fn is_at_its_path(&self) -> bool {
        // Read `longest` before the length: between the two reads, another thread can store a greater length in
        // `longest`.
        let longest = self.longest.load(Ordering::Relaxed);
        let Some(length) = self.database.length() else {
            return false;
        };
        self.longest.fetch_max(length, Ordering::Relaxed);
        longest <= length
    }

    /// Records the fingerprints of the files when the writer thread has finished its work.
    ///
    /// Only the writer thread writes to the files, so a change before its next work is the change of another program.
    ///
    /// Another program can also change the files while the writer thread works. If that program cuts the log, SQLite
    /// writes on at the old end of the log, so the log gets a hole. A hole at the start of the log is noticed here,
    /// before the bridge acknowledges the events in the log.
    pub(super) fn leave(&self) {
        self.both().into_iter().for_each(OpenFile::leave);
        let left = *self.log.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.is_some_and(|log| log.length > 0 && !log_header::is_valid(&log.header)) {
            self.log.is_overwritten.store(true, Ordering::SeqCst);
        }
    }

    /// Detects a change of the files since [`Self::leave`]. Only the writer thread calls this function.
    pub(super) fn compare(&self) {
        self.compare_unless(|| false);
    }

    /// Does the same as [`Self::compare`] on a different thread. Ignores changes if the writer thread works during the
    /// comparison.
    pub(super) fn compare_idle(&self, groups: &WorkCounter) {
        let before = groups.finished();
        self.compare_unless(|| before.is_none() || groups.finished() != before);
    }

    fn compare_unless(&self, has_written: impl Fn() -> bool) {
        for file in self.both() {
            if file.is_changed() && !has_written() {
                file.is_overwritten.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Returns the free space of the disk with this folder in bytes, or `None` if the disk does not report its free space.
pub(super) fn free(folder: &Path) -> Option<u64> {
    if let Some(free) = failpoint::free_bytes(folder) {
        return Some(free);
    }
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Returns the path of a file beside the store: the path of the store, followed by an ending such as `-wal`.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, remove_file, rename, write};

    use super::*;

    #[test]
    fn a_file_is_displaced_by_every_other_file_and_is_back_when_it_is_moved_back() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(at("db"), "12345678").unwrap();
        write(at("db-wal"), "").unwrap();
        let files = StoreFiles::of(&at("db"), &at("db")).unwrap();
        let gone = |name: &str| Some((at(name), FileFault::Gone));
        let displaced = || {
            let found = files.displaced();
            found.map(|(path, fault)| (path.to_owned(), fault))
        };
        assert_eq!(displaced(), None);
        rename(at("db"), at("elsewhere")).unwrap();
        assert_eq!(displaced(), gone("db"));
        write(at("db"), "12345678").unwrap();
        assert_eq!(displaced(), gone("db"));
        rename(at("elsewhere"), at("db")).unwrap();
        assert_eq!(displaced(), None);
        let open = File::options().write(true).open(at("db")).unwrap();
        open.set_len(20).unwrap();
        assert_eq!(displaced(), None);
        open.set_len(19).unwrap();
        assert_eq!(displaced(), gone("db"));
        open.set_len(20).unwrap();
        remove_file(at("db-wal")).unwrap();
        assert_eq!(displaced(), gone("db-wal"));
        assert!(files.has_database());
    }

    /// FAULTS N742: SQLite ignores a log without a header, and so loses every commit in it.
    #[test]
    fn a_log_that_was_cut_while_the_writer_worked_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("db"), folder.path().join("db-wal"));
        let store = rusqlite::Connection::open(&path).unwrap();
        store.pragma_update(None, "journal_mode", "WAL").unwrap();
        store.execute_batch("CREATE TABLE t (a)").unwrap();
        let files = StoreFiles::of(&path, &path).unwrap();
        files.compare();
        store.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        files.leave();
        assert_eq!(files.displaced(), None);
        files.compare();
        File::options()
            .write(true)
            .open(&log)
            .unwrap()
            .set_len(0)
            .unwrap();
        store.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        files.leave();
        assert_eq!(
            files.displaced(),
            Some((log.as_path(), FileFault::Overwritten))
        );
    }

    /// FAULTS N71: while the writer thread does not work, every change of a file is the change of another program.
    #[test]
    fn a_change_while_the_writer_rests_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        write(&path, [1; 200]).unwrap();
        write(folder.path().join("db-wal"), "").unwrap();
        let files = StoreFiles::of(&path, &path).unwrap();
        let groups = WorkCounter::default();
        groups.start();
        write(&path, [2; 200]).unwrap();
        files.compare_idle(&groups);
        files.leave();
        groups.finish();
        files.compare_idle(&groups);
        files.compare();
        assert_eq!(files.displaced(), None);
        write(&path, [2; 400]).unwrap();
        files.compare_idle(&groups);
        let overwritten = Some((path.as_path(), FileFault::Overwritten));
        assert_eq!(files.displaced(), overwritten);
        // The next change of the writer thread does not hide the damage.
        files.leave();
        files.compare();
        assert_eq!(files.displaced(), overwritten);
        assert!(!files.has_database());
    }
}
