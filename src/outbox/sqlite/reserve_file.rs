//! The reserve file beside the store: its blocks keep space on the disk. [`reserve`](crate::outbox::reserve) decides when
//! the file exists.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

use super::draft::{beside, create_private, sync_folder};
use crate::outbox::reserve::RESERVE_BYTES;
use crate::random;

/// The size of one write of random bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// The unit of the number of blocks of a file, in bytes.
const STAT_BLOCK_BYTES: u64 = 512;

/// The reserve file of a store.
#[derive(Debug)]
pub(super) struct ReserveFile(PathBuf);

impl ReserveFile {
    /// Returns the reserve file of the store at `path`.
    pub(super) fn beside(store: &Path) -> Self {
        Self(beside(store, "reserve"))
    }

    /// Returns whether a file of this name exists, complete or not.
    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.0).is_ok()
    }

    /// Returns whether the file exists with all its blocks, and its removal frees the blocks for this process.
    ///
    /// A crash, or a program that copied the file, possibly left a file without blocks. The blocks of a file with a second
    /// name stay in use, and the blocks of a file of another user count in the quota of that user.
    pub(super) fn is_complete(&self) -> bool {
        fs::symlink_metadata(&self.0).is_ok_and(|file| {
            file.is_file()
                && file.nlink() == 1
                && file.uid() == geteuid().as_raw()
                && file.len() == RESERVE_BYTES
                && file.blocks().saturating_mul(STAT_BLOCK_BYTES) >= RESERVE_BYTES
        })
    }

    /// Creates the file with all its blocks. Returns an error if the disk does not also have `spare` bytes for other
    /// files: a quota does not show in the free space of the disk.
    pub(super) fn make(&self, spare: u64) -> io::Result<()> {
        self.remove()?;
        let mut file = create_private(&self.0)?;
        let made = allocate(&mut file, RESERVE_BYTES.saturating_add(spare))
            .and_then(|()| file.set_len(RESERVE_BYTES))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.fill(&mut file));
        made.inspect_err(|_error| drop(fs::remove_file(&self.0)))
    }

    /// Writes the file again if its blocks are missing: some file systems allocate blocks only for bytes.
    fn fill(&self, file: &mut File) -> io::Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        file.rewind()?;
        write_random(file, RESERVE_BYTES)?;
        file.sync_all()?;
        if self.is_complete() {
            return Ok(());
        }
        let error = "the file system keeps no space for a file";
        Err(io::Error::new(ErrorKind::Unsupported, error))
    }

    /// Removes the file if it exists. Its space is free when the function returns.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            // A journaling file system frees the blocks only when it has written the removal to disk.
            Ok(()) => sync_folder(&self.0),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Allocates the blocks of the file. A file system that cannot allocate blocks gets random bytes: it could compress or
/// leave out zeros.
fn allocate(file: &mut File, length: u64) -> io::Result<()> {
    match rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_random(file, length),
        allocated => Ok(allocated?),
    }
}

fn write_random(file: &mut File, length: u64) -> io::Result<()> {
    let mut bytes = vec![0; WRITE_BYTES];
    let mut left = length;
    while left > 0 {
        random::fill_random(&mut bytes).map_err(io::Error::other)?;
        let next = usize::try_from(left).unwrap_or(WRITE_BYTES);
        let (next, _) = bytes.split_at(next.min(WRITE_BYTES));
        file.write_all(next)?;
        left = left.saturating_sub(u64::try_from(next.len()).unwrap_or(left));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// FAULTS N770: the reserve takes its space on the disk, and belongs to the user of the bridge alone.
    #[test]
    fn the_reserve_is_really_allocated_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = ReserveFile::beside(&folder.path().join("db"));
        let path = folder.path().join("db.reserve");
        assert!(!reserve.exists() && !reserve.is_complete());
        reserve.make(RESERVE_BYTES).unwrap();
        assert!(reserve.is_complete());
        let made = fs::metadata(&path).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
        assert_eq!(made.len(), RESERVE_BYTES);
        assert!(made.blocks() * STAT_BLOCK_BYTES < 2 * RESERVE_BYTES);
        reserve.remove().unwrap();
        reserve.remove().unwrap();
        assert!(!reserve.exists());
    }

    /// FAULTS N775: something else has the name of the reserve. The store removes the name, and nothing else.
    #[test]
    fn only_a_file_whose_removal_frees_its_space_is_a_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (reserve, path) = (ReserveFile::beside(&at("db")), at("db.reserve"));
        let sparse = |length: u64| File::create(&path).unwrap().set_len(length).unwrap();
        ReserveFile::beside(&at("other")).make(0).unwrap();
        let other = at("other.reserve");
        let cases: [(&str, &dyn Fn()); 5] = [
            ("no blocks", &|| sparse(RESERVE_BYTES)),
            ("shorter", &|| fs::write(&path, [1; 4096]).unwrap()),
            ("longer", &|| sparse(RESERVE_BYTES * 2)),
            ("link", &|| symlink(&other, &path).unwrap()),
            ("second name", &|| fs::hard_link(&other, &path).unwrap()),
        ];
        for (name, put) in cases {
            reserve.remove().unwrap();
            put();
            assert!(reserve.exists() && !reserve.is_complete(), "{name}");
            reserve.make(0).unwrap();
            assert!(reserve.is_complete(), "{name}");
        }
        assert_eq!(fs::metadata(&other).unwrap().len(), RESERVE_BYTES);
        reserve.remove().unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!reserve.is_complete());
        reserve.make(0).unwrap_err();
    }

    #[test]
    fn a_file_system_that_cannot_allocate_gets_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        write_random(&mut file, 3 * 64 * 1024 + 5).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 * 64 * 1024 + 5);
    }
}
