//! The size of a store on its disk, and the work of the store since the process started.

use std::time::Duration;

use super::database_figures::DatabaseFigures;

/// The size of a store on its disk, and the work of the store since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// The number of commits that changed entries.
    pub commits: u64,
    /// The number of appends and settlements in these commits. More commands in one commit share the cost of the sync.
    pub commands: u64,
    /// The total duration of these commits.
    pub commit_time: Duration,
    /// The size of the store file in bytes, or `None` if the store has no file.
    pub file_bytes: Option<u64>,
    /// The size of the write-ahead log in bytes, or `None` if the store has no log.
    pub log_bytes: Option<u64>,
    /// The free space of the disk in bytes, or `None` if the disk does not report its free space.
    pub free_bytes: Option<u64>,
    /// The figures of the database, or `None` if the store is in a file.
    pub database: Option<DatabaseFigures>,
}
