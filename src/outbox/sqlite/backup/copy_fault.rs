//! The reason why a copy of the open store ended before it was complete.

use std::io;
use std::path::Path;

use crate::outbox::sqlite::disk_space::{DiskSpace, lacks_space};

/// The reason why a copy is not complete.
#[derive(Debug)]
pub(in crate::outbox::sqlite) enum CopyFault {
    /// The disk became full, or a quota or a limit of the file size ended.
    NoSpace,
    /// A different error, as its program reported it.
    Failed(String),
}

impl CopyFault {
    /// Names the reason of SQLite's error about this file. The incomplete file must still exist: its removal would free
    /// the space.
    pub(in crate::outbox::sqlite) fn of_sqlite(file: &Path, error: &rusqlite::Error) -> Self {
        if DiskSpace::beside(file).is_full(error) {
            Self::NoSpace
        } else {
            Self::Failed(error.to_string())
        }
    }

    pub(in crate::outbox::sqlite) fn of_io(error: &io::Error) -> Self {
        if lacks_space(error) {
            Self::NoSpace
        } else {
            Self::Failed(error.to_string())
        }
    }
}
