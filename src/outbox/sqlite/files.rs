//! The identity of the store's files: tells whether the files that the process has open are still at their paths.
//!
//! A process can write to a deleted file for as long as it likes, and every commit succeeds. The next process does not
//! find these commits, so an event in a deleted file must not be acknowledged.

use std::ffi::OsString;
use std::fs::metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The store file and its write-ahead log, as the process has opened them.
#[derive(Debug)]
pub(super) struct StoreFiles {
    /// The store file, at the path of the configuration. If the path is a link, the link must not change either.
    database: OpenFile,
    log: OpenFile,
    /// The greatest length of the store file that was seen. SQLite never shortens the store file, because the bridge
    /// never vacuums it.
    longest: AtomicU64,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Returns the length of the file; `None` if another file or no file is at the path.
    fn length(&self) -> Option<u64> {
        let found = metadata(&self.path).ok()?;
        (found.dev() == self.device && found.ino() == self.inode).then_some(found.len())
    }
}

impl StoreFiles {
    /// Records the identity of the store file at `path` and of the write-ahead log at `log`.
    pub(super) fn of(path: &Path, log: &Path) -> io::Result<Self> {
        Ok(Self {
            database: OpenFile::at(path)?,
            log: OpenFile::at(log)?,
            longest: AtomicU64::new(metadata(path)?.len()),
        })
    }

    /// Returns the path of the first file that was deleted, renamed, replaced or shortened.
    pub(super) fn displaced(&self) -> Option<&Path> {
        if !self.has_database() {
            Some(&self.database.path)
        } else if self.log.length().is_none() {
            Some(&self.log.path)
        } else {
            None
        }
    }

    /// Returns whether the store file is complete at its path.
    pub(super) fn has_database(&self) -> bool {
        // Read before the length: another thread may see a longer file in between.
        let longest = self.longest.load(Ordering::Relaxed);
        let Some(length) = self.database.length() else {
            return false;
        };
        self.longest.fetch_max(length, Ordering::Relaxed);
        longest <= length
    }
}

/// Returns the path of a file of SQLite beside the store: the path of the store with an ending such as `-wal`.
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
        let files = StoreFiles::of(&at("db"), &at("db-wal")).unwrap();
        assert_eq!(files.displaced(), None);
        rename(at("db"), at("elsewhere")).unwrap();
        assert_eq!(files.displaced(), Some(at("db").as_path()));
        write(at("db"), "12345678").unwrap();
        assert_eq!(files.displaced(), Some(at("db").as_path()));
        rename(at("elsewhere"), at("db")).unwrap();
        assert_eq!(files.displaced(), None);
        let open = File::options().write(true).open(at("db")).unwrap();
        open.set_len(20).unwrap();
        assert_eq!(files.displaced(), None);
        open.set_len(19).unwrap();
        assert_eq!(files.displaced(), Some(at("db").as_path()));
        open.set_len(20).unwrap();
        remove_file(at("db-wal")).unwrap();
        assert_eq!(files.displaced(), Some(at("db-wal").as_path()));
        assert!(files.has_database());
    }
}
