//! The watch thread of the store: notices that a file of the store was deleted or replaced, and that the writer thread
//! hangs. A disk that hangs blocks the writer thread inside the kernel, so only another thread can report it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::files::StoreFiles;
use super::shared::SharedState;
use crate::outbox::{STALLED_AFTER, StoreCondition};

/// The time between two checks: with two checks a second, an idle store is not ready within a second after its file was
/// deleted. A commit checks the files too, before its events are acknowledged.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Watches the store until `stop` is closed.
pub(super) fn run(files: &StoreFiles, shared: &Arc<SharedState>, stop: &Receiver<()>) {
    let mut stall = Stall::default();
    while stop.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
        // Reported first: on a disk that hangs, looking at the files may hang too.
        if stall.is_stalled(shared.current_group()) {
            report(shared, StoreCondition::Stalled, None);
            continue;
        }
        match files.displaced() {
            Some(file) => report(shared, StoreCondition::FileGone, Some(file)),
            None => report(shared, StoreCondition::Working, None),
        }
    }
}

/// Changes the condition of the store, and logs the change. `file` is the file that is gone.
pub(super) fn report(shared: &SharedState, condition: StoreCondition, file: Option<&Path>) {
    if !shared.change(condition) {
        return;
    }
    match condition {
        StoreCondition::Working => tracing::warn!("the store is available again"),
        StoreCondition::Stalled => tracing::error!(
            "an operation of the store takes longer than {STALLED_AFTER:?}: the disk hangs, or the operation is large; events are refused with 503 meanwhile"
        ),
        StoreCondition::FileGone => tracing::error!(
            file = file.map(|path| path.display().to_string()),
            process = std::process::id(),
            "a file of the store was deleted, renamed, replaced or shortened: events are refused with 503, deliveries continue. If the file was renamed, rename it back. Otherwise run `store backup` before the process stops, because accepted events may exist only in the files that the process has open; then restore the copy"
        ),
    }
}

/// Counts the checks that found the writer thread in the same group of commands.
#[derive(Default)]
struct Stall {
    group: Option<u64>,
    unchanged: Duration,
}

impl Stall {
    fn is_stalled(&mut self, group: Option<u64>) -> bool {
        self.unchanged = if group.is_some() && group == self.group {
            self.unchanged.saturating_add(CHECK_EVERY)
        } else {
            Duration::ZERO
        };
        self.group = group;
        self.unchanged >= STALLED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_stalled_after_the_deadline_in_one_group() {
        let mut stall = Stall::default();
        let checks = STALLED_AFTER.as_millis() / CHECK_EVERY.as_millis();
        assert!(!stall.is_stalled(Some(1)));
        for check in 1..=checks {
            assert_eq!(stall.is_stalled(Some(1)), check == checks, "{check}");
        }
        assert!(!stall.is_stalled(Some(3)), "the next group has started");
        for _ in 0..=checks {
            assert!(!stall.is_stalled(None), "the writer thread is idle");
        }
    }
}
