//! The reasons why a store cannot be opened, copied or restored.

use std::io;
use std::path::{Path, PathBuf};

use crate::outbox::reserve::RESERVE_BYTES;
use crate::sealing::KeyId;

mod cause;

pub use self::cause::OpenCause;
pub(super) use self::cause::{expect_file, expect_store, explain};

/// The reason why a store cannot be opened, copied or restored.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has locked the store.
    #[error(
        "the store {path} is locked by {holder}; only one process at a time can use the store, so stop the other process first"
    )]
    Locked {
        /// The path of the store.
        path: PathBuf,
        /// The process that has locked the store.
        holder: String,
    },
    /// The lock file beside the store cannot be used.
    #[error("the lock file {path} cannot be used")]
    Lock {
        /// The path of the lock file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The store file is missing, but its write-ahead log or its journal exists.
    #[error(
        "the store {path} is missing, but its log {log} exists and possibly contains accepted events: put the store file back, or run `store restore` with a copy; to start with an empty store, move the log away"
    )]
    LogWithoutStore {
        /// The path of the missing store.
        path: PathBuf,
        /// The path of the log.
        log: PathBuf,
    },
    /// The last process wrote the write-ahead log for a different store file.
    #[error(
        "the log {log} belongs to another file than {path}: somebody replaced the store file after the last run. Put the store file of the last run back. To use the present file without the events in the log, copy it into another folder, and run `store restore` with this copy"
    )]
    LogOfAnotherStore {
        /// The path of the store.
        path: PathBuf,
        /// The path of the log.
        log: PathBuf,
    },
    /// Another store wrote the write-ahead log that is beside the store.
    #[error(
        "the log {log} belongs to another store than {path}: somebody replaced the log after the last run. Put the log of the last run back. If the last run ended in order, it left no log: move this log away. If the log of the last run is lost, move this log away and run `store verify`: the store lacks the events that only the lost log contained"
    )]
    ForeignLog {
        /// The path of the store.
        path: PathBuf,
        /// The path of the log.
        log: PathBuf,
    },
    /// The path of the store is a link to a file that does not exist.
    #[error(
        "the store {0} is a link to a file that does not exist; put the file back, or remove the link"
    )]
    DanglingLink(PathBuf),
    /// The store file exists and is empty.
    #[error(
        "the store {0} is an empty file; restore the store from a copy, or remove the file to start with an empty store"
    )]
    Empty(PathBuf),
    /// The newest record of the audit log has a seal with a key, and the process has no key.
    #[error(
        "the audit log of the store {0} is protected by a key: name the file of the key in ops.audit_key_files. If the key is lost, name a new key"
    )]
    AuditKeyMissing(PathBuf),
    /// The file is not a store of this program.
    #[error("{0} is not a store of this program")]
    Foreign(PathBuf),
    /// The file is the target of an unfinished `store copy`.
    #[error(
        "the store {0} is an unfinished copy of another store: run `store copy` again, which continues the copy"
    )]
    Unfinished(PathBuf),
    /// A newer version of this program has written the store.
    #[error(
        "the store has layout {found}, but this program knows layouts up to {known}; use the newer program"
    )]
    Newer {
        /// The number of the layout that the store has.
        found: usize,
        /// The number of the newest layout that this program knows.
        known: usize,
    },
    /// The store file, or a file beside the store, cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// SQLite reports an error about the store.
    #[error("the store failed while {doing}")]
    Sqlite {
        /// The operation during which SQLite reported the error.
        doing: &'static str,
        /// The error that SQLite reported.
        source: rusqlite::Error,
    },
    /// The disk of the store is full, and the store has no reserve of disk space.
    #[error(
        "the disk of the store {path} is full, and the store has no reserve of disk space left: free {} MiB, or enlarge the disk or the quota, and start again. No accepted event is lost, and the next start delivers the waiting events",
        RESERVE_BYTES / (1024 * 1024)
    )]
    DiskFull {
        /// The path of the store.
        path: PathBuf,
        /// The error that shows the full disk.
        source: Box<Self>,
    },
    /// The files of the store cannot be used, for a known cause.
    #[error("{cause}")]
    Unusable {
        /// The cause, and its remedy.
        cause: OpenCause,
        /// The error that has this cause.
        source: Box<Self>,
    },
    /// A restore got the store itself as the copy.
    #[error("{0} is the store itself, and not a copy of the store")]
    CopyOfItself(PathBuf),
    /// A copy of the store is damaged.
    #[error("{path} is damaged: {error}")]
    Damaged {
        /// The path of the copy.
        path: PathBuf,
        /// The first error in the copy.
        error: String,
    },
    /// The store is sealed, and the process has no sealing key.
    #[error(
        "the store {path} is sealed with the key {key}: set outbox.keys_dir to the directory with the file of this key"
    )]
    NoSealingKey {
        /// The path of the store.
        path: PathBuf,
        /// The id of a key that the store uses.
        key: KeyId,
    },
    /// The process does not have the key that seals the digest key.
    #[error(
        "the digest key of the store {path} is sealed with the key {key}, whose file is not in outbox.keys_dir: put the file back, because without the digest key the bridge recognizes no duplicate"
    )]
    DigestKeySealed {
        /// The path of the store.
        path: PathBuf,
        /// The id of the missing key.
        key: KeyId,
    },
    /// The digest key is damaged.
    #[error("the digest key of the store {0} is damaged: restore the store from a copy")]
    DigestKeyDamaged(PathBuf),
    /// The operating system returned no random bytes for the digest key.
    #[error("the operating system returned no random bytes for the digest key")]
    NoRandomness(#[source] getrandom::Error),
    /// The writer thread cannot be started.
    #[error("the writer thread of the store could not be started")]
    Thread(#[source] io::Error),
}

impl OpenError {
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            path: path.clone(),
            source,
        }
    }

    pub(super) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }
}
