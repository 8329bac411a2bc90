//! The reasons why a store cannot be opened, copied or restored.

use std::io;
use std::path::PathBuf;

/// The reason why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the store.
    #[error("the store {path} is locked by {holder}; one process at a time may use it")]
    Locked {
        /// The store.
        path: PathBuf,
        /// The process that holds the store.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("the lock file {path} cannot be used")]
    Lock {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file exists and is empty.
    #[error(
        "the store {0} is an empty file; restore it, or remove the file to start with an empty store"
    )]
    Empty(PathBuf),
    /// The file is not a store.
    #[error("{0} is not a store of this program")]
    Foreign(PathBuf),
    /// A newer program has written the store.
    #[error(
        "the store has layout {found}, but this program knows layouts up to {known}; use the newer program"
    )]
    Newer {
        /// The layout of the store.
        found: usize,
        /// The newest layout that this program knows.
        known: usize,
    },
    /// A file beside the store cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// SQLite reports an error.
    #[error("the store failed while {doing}")]
    Sqlite {
        /// The operation that the engine was doing.
        doing: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// A copy is damaged.
    #[error("{path} is damaged: {error}")]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// The first error in the copy.
        error: String,
    },
    /// The system returned no random bytes for the digest key.
    #[error("no digest key could be made")]
    NoRandomness(#[source] getrandom::Error),
    /// The writer thread cannot be started.
    #[error("the writer thread of the store could not be started")]
    Thread(#[source] io::Error),
}

impl OpenError {
    pub(super) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }
}
