//! The figures of the store: the threads of the store write them, and the metrics page reads them without a wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::outbox::StoreFigures;

/// The figures of the store, as the threads of the store last published them.
#[derive(Debug)]
pub(super) struct PublishedFigures {
    commits: AtomicU64,
    commands: AtomicU64,
    commit_micros: AtomicU64,
    file_bytes: AtomicU64,
    log_bytes: AtomicU64,
    free_bytes: AtomicU64,
}

/// The value of a size that is not known.
const UNKNOWN: u64 = u64::MAX;

impl Default for PublishedFigures {
    fn default() -> Self {
        Self {
            commits: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            file_bytes: AtomicU64::new(UNKNOWN),
            log_bytes: AtomicU64::new(UNKNOWN),
            free_bytes: AtomicU64::new(UNKNOWN),
        }
    }
}

impl PublishedFigures {
    /// Counts a commit with this number of commands.
    pub(super) fn committed(&self, commands: usize, took: Duration) {
        let commands = u64::try_from(commands).unwrap_or(u64::MAX);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Publishes the sizes of the store file and of its log, and the free space of the disk.
    pub(super) fn sizes(&self, [file, log, free]: [Option<u64>; 3]) {
        let publish = |cell: &AtomicU64, bytes: Option<u64>| {
            cell.store(bytes.unwrap_or(UNKNOWN), Ordering::Relaxed);
        };
        publish(&self.file_bytes, file);
        publish(&self.log_bytes, log);
        publish(&self.free_bytes, free);
    }

    pub(super) fn read(&self) -> StoreFigures {
        let size = |bytes: &AtomicU64| {
            let bytes = bytes.load(Ordering::Relaxed);
            (bytes != UNKNOWN).then_some(bytes)
        };
        StoreFigures {
            database: None,
            commits: self.commits.load(Ordering::Relaxed),
            commands: self.commands.load(Ordering::Relaxed),
            commit_time: Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)),
            file_bytes: size(&self.file_bytes),
            log_bytes: size(&self.log_bytes),
            free_bytes: size(&self.free_bytes),
        }
    }
}
