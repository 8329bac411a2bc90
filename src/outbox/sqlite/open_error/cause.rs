//! Finds out why the files of a store cannot be used.
//!
//! An error of the operating system or of SQLite names neither its cause nor the remedy: on a read-only disk, in the
//! files of another user and in a missing folder, SQLite cannot open a file. This module looks at the files and the
//! folder of the store after such an error. It changes nothing.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::geteuid;

use super::OpenError;
use crate::outbox::NAME_BYTES_MAX;
use crate::outbox::sqlite::draft::beside;
use crate::outbox::sqlite::files::with_ending;

/// The first bytes of every file of SQLite.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The length of the header of SQLite. A file of SQLite is longer.
const HEADER_BYTES: u64 = 100;

/// The cause of an error, and its remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenCause {
    /// The folder of the store does not exist.
    #[error(
        "the folder {0} of the store does not exist: mount the volume of the store, or put the folder back. For a new and empty store, create the folder"
    )]
    NoFolder(PathBuf),
    /// The path names a file in something that is no folder.
    #[error("{0} is not a folder, so it cannot contain a store")]
    NotAFolder(PathBuf),
    /// A command names a store that does not exist.
    #[error("the store {0} does not exist")]
    NoFile(PathBuf),
    /// The store, or a log beside it, is a folder, a pipe or a device.
    #[error("{0} is not a regular file: name the file of a store, and remove what has its name")]
    NotAFile(PathBuf),
    /// The store is a folder.
    #[error("{0} is a folder: name the file of the store in it")]
    Folder(PathBuf),
    /// The name of the store, or its path, is too long for the names of the files beside it.
    #[error(
        "the path of the store is too long: its name can have at most {NAME_BYTES_MAX} bytes, because the files beside the store have longer names, and the whole path fewer than 4,096 bytes"
    )]
    TooLong,
    /// The disk is mounted read-only.
    #[error(
        "the disk of {0} is read-only, and the store must be writable, also to verify it. The kernel makes a disk with errors read-only: look at the log of the kernel. Repair the disk or mount it writable, and start again; no accepted event is lost. To verify a copy, put it on a writable disk"
    )]
    ReadOnly(PathBuf),
    /// The disk or the quota has no space.
    #[error("the disk of {0} is full: free space, or enlarge the disk or the quota")]
    NoSpace(PathBuf),
    /// A file belongs to a different user than the process.
    #[error(
        "{path} belongs to the user {owner}, and this process runs as the user {user}, which cannot use it: change the owner with `chown {user} {path}`, or run the process as the user {owner}"
    )]
    Owner {
        /// The path of the file.
        path: PathBuf,
        /// The user id of the owner.
        owner: u32,
        /// The user id of the process.
        user: u32,
    },
    /// The user of the process is not permitted to use a file.
    #[error(
        "the user {user} of this process is not permitted to use {path}: change its owner or its mode, or the folder above it"
    )]
    NotPermitted {
        /// The path of the file.
        path: PathBuf,
        /// The user id of the process.
        user: u32,
    },
    /// The content of the store is damaged.
    #[error(
        "the store {0} is damaged: keep its files for an analysis, and run `store restore` with the newest copy"
    )]
    Damaged(PathBuf),
    /// The disk reports an error.
    #[error(
        "the disk of {0} reports an error: look at the log of the kernel, and check the disk. The store stays as it is"
    )]
    Disk(PathBuf),
}

/// Names the cause of an error about the store at this path, if the cause can be found.
pub(in crate::outbox::sqlite) fn explain(error: OpenError, store: &Path) -> OpenError {
    match cause(&error, store) {
        None => error,
        Some(cause) => OpenError::Unusable {
            cause,
            source: Box::new(error),
        },
    }
}

/// Returns an error if something other than a regular file is at this path: a pipe would block the process.
pub(in crate::outbox::sqlite) fn expect_file(
    path: &Path,
    found: &Metadata,
) -> Result<(), OpenError> {
    let cause = if found.is_file() {
        return Ok(());
    } else if found.is_dir() {
        OpenCause::Folder(path.to_owned())
    } else {
        OpenCause::NotAFile(path.to_owned())
    };
    let source = io::Error::other("it is not a regular file");
    Err(OpenError::Unusable {
        cause,
        source: Box::new(OpenError::file(path)(source)),
    })
}

/// Returns an error if the file is certainly no complete store. The caller has not locked the store yet, and must not
/// have it open.
///
/// If the store has a log, the last process possibly crashed while it wrote the start of the store file.
pub(in crate::outbox::sqlite) fn expect_store(path: &Path) -> Result<(), OpenError> {
    let found = fs::metadata(path).map_err(OpenError::file(path))?;
    expect_file(path, &found)?;
    if found.len() == 0 {
        return Err(OpenError::Empty(path.to_owned()));
    }
    let has_log = fs::metadata(with_ending(path, "-wal")).is_ok_and(|log| log.len() > 0);
    match start(path) {
        Ok(start) if !has_log && !start.starts_with(MAGIC) => {
            Err(OpenError::Foreign(path.to_owned()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the first bytes of a file.
fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    let length = u64::try_from(MAGIC.len()).unwrap_or(HEADER_BYTES);
    File::open(path)?.take(length).read_to_end(&mut start)?;
    Ok(start)
}

/// What an error says about its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symptom {
    Refused,
    ReadOnly,
    TooLong,
    NoSpace,
    Missing,
    Loop,
    Damaged,
    Disk,
    Unknown,
}

impl Symptom {
    fn of(error: &OpenError) -> Option<Self> {
        if let OpenError::File { source, .. } | OpenError::Lock { source, .. } = error {
            Some(Self::of_io(source))
        } else if let OpenError::Sqlite { source, .. } = error {
            source.sqlite_error_code().map(Self::of_sqlite)
        } else if let OpenError::Foreign(path) = error {
            is_cut(path).then_some(Self::Damaged)
        } else {
            None
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::ROFS) => Self::ReadOnly,
            Some(Errno::ACCESS | Errno::PERM) => Self::Refused,
            Some(Errno::NAMETOOLONG) => Self::TooLong,
            Some(Errno::NOSPC | Errno::DQUOT) => Self::NoSpace,
            Some(Errno::NOENT) => Self::Missing,
            Some(Errno::IO) => Self::Disk,
            Some(Errno::LOOP) => Self::Loop,
            Some(_) | None => Self::Unknown,
        }
    }

    fn of_sqlite(code: ErrorCode) -> Self {
        if matches!(
            code,
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied
        ) {
            Self::Refused
        } else if matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) {
            Self::Damaged
        } else if code == ErrorCode::DiskFull {
            Self::NoSpace
        } else if code == ErrorCode::SystemIoFailure {
            Self::Disk
        } else {
            Self::Unknown
        }
    }
}

/// Returns whether the file is the start of a store.
fn is_cut(path: &Path) -> bool {
    let length = fs::metadata(path).map_or(0, |found| found.len());
    let start = start(path).unwrap_or_default();
    length < HEADER_BYTES && !start.is_empty() && MAGIC.starts_with(&start)
}

fn cause(error: &OpenError, store: &Path) -> Option<OpenCause> {
    let symptom = Symptom::of(error)?;
    let folder = folder_of(store);
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => return Some(OpenCause::NotAFolder(folder.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some(OpenCause::NoFolder(folder.to_owned()));
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Some(OpenCause::NotAFolder(folder.to_owned()));
        }
        Ok(_) | Err(_) => {}
    }
    let path = store.to_owned();
    match symptom {
        Symptom::ReadOnly => Some(OpenCause::ReadOnly(path)),
        Symptom::TooLong => Some(OpenCause::TooLong),
        Symptom::NoSpace => Some(OpenCause::NoSpace(path)),
        Symptom::Damaged => Some(OpenCause::Damaged(path)),
        Symptom::Loop => Some(OpenCause::NotAFile(path)),
        Symptom::Missing if !store.exists() => Some(OpenCause::NoFile(path)),
        Symptom::Disk => Some(odd_file(store).unwrap_or(OpenCause::Disk(path))),
        Symptom::Refused => odd_file(store).or_else(|| refused(error, store)),
        Symptom::Missing | Symptom::Unknown => odd_file(store),
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// Returns the cause if something other than a regular file has the name of a file of the store.
fn odd_file(store: &Path) -> Option<OpenCause> {
    let files = [
        store.to_owned(),
        with_ending(store, "-wal"),
        with_ending(store, "-journal"),
        beside(store, "lock"),
        beside(store, "new"),
    ];
    let is_odd = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| !found.is_file());
    files.into_iter().find(is_odd).map(OpenCause::NotAFile)
}

/// Returns the file or the folder that the user of the process cannot use.
fn refused(error: &OpenError, store: &Path) -> Option<OpenCause> {
    let folder = folder_of(store);
    let user = geteuid().as_raw();
    let folder_access = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
    if folder_access == Err(Errno::ROFS) {
        return Some(OpenCause::ReadOnly(store.to_owned()));
    }
    let named = if let OpenError::File { path, .. } | OpenError::Lock { path, .. } = error {
        Some(path.clone())
    } else {
        None
    };
    let files = [
        store.to_owned(),
        with_ending(store, "-wal"),
        with_ending(store, "-journal"),
        beside(store, "lock"),
    ];
    let is_unusable = |path: &PathBuf| {
        let access = rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK);
        access == Err(Errno::ACCESS)
    };
    // The bridge makes its files private, which only their owner can do.
    let has_owner = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.uid() != user);
    let path = if folder_access == Err(Errno::ACCESS) {
        folder.to_owned()
    } else {
        let first = files.iter().find(|path| is_unusable(path));
        let first = first.or_else(|| files.iter().find(|path| has_owner(path)));
        first.cloned().or(named)?
    };
    let owner = fs::metadata(&path).map(|found| found.uid());
    Some(match owner {
        Ok(owner) if owner != user => OpenCause::Owner { path, owner, user },
        Ok(_) | Err(_) => OpenCause::NotPermitted { path, user },
    })
}
