//! The threads that watch the store.
//!
//! The first thread detects a hanging disk: a hanging disk blocks the writer thread inside the kernel. The second
//! thread checks the files of the store. A hanging disk can block this check too, so the first thread also watches the
//! second thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::files::{FileFault, StoreFiles};
use super::lock;
use super::shared::{CHECK_EVERY, SharedState};
use super::threads::Watch;
use crate::outbox::{STALLED_AFTER, StoreCondition};

/// Returns the names and the functions of the threads that watch the store.
pub(super) fn watches(
    files: &Arc<StoreFiles>,
    shared: &Arc<SharedState>,
) -> [(&'static str, Watch); 2] {
    let watched = Arc::clone(shared);
    let (files, looking) = (Arc::clone(files), Arc::clone(shared));
    [
        ("outbox-watch", Box::new(move |stop| watch(&watched, stop))),
        (
            "outbox-files",
            Box::new(move |stop| look(&files, &looking, stop)),
        ),
    ]
}

/// Watches the writer thread and the thread that checks the files, until `stop` is closed.
fn watch(shared: &SharedState, stop: &Receiver<()>) {
    let (mut group, mut look) = (Stall::default(), Stall::default());
    while stop.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let stalls = [
            group.is_stalled(shared.groups.current()),
            look.is_stalled(shared.looks.current()),
        ];
        let changed = shared.set_stalled(stalls.contains(&true));
        log(changed, None);
        shared.tick.notify_waiters();
    }
}

/// Checks the files of the store again and again until `stop` is closed.
fn look(files: &StoreFiles, shared: &SharedState, stop: &Receiver<()>) {
    while stop.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
        shared.looks.start();
        files.compare_idle(&shared.groups);
        let displaced = files.displaced();
        shared.figures.sizes(files.sizes());
        shared.looks.finish();
        // Read after the check of the files: a closed store has no log.
        if shared.is_closing() {
            return;
        }
        report_file(files, shared, displaced);
    }
}

/// Changes the condition of the store after a check of its files, and logs the change.
pub(super) fn report_file(
    files: &StoreFiles,
    shared: &SharedState,
    displaced: Option<(&Path, FileFault)>,
) {
    let changed = shared.set_file_gone(displaced.is_some());
    log(changed, displaced);
    if let Some(StoreCondition::FileGone | StoreCondition::Working) = changed {
        keep_log_from_other_files(files);
    }
}

/// Records beside the store that its log fits only the open store file: otherwise, whatever file is at the path of the store at the
/// next start, SQLite would apply the log to it. Removes the record when the file is back.
fn keep_log_from_other_files(files: &StoreFiles) {
    if let Err(error) = lock::bind_log(files.store(), files.only_for_the_log()) {
        tracing::error!(
            %error,
            "the bridge cannot record which store file its log belongs to: start no other store file beside this log"
        );
    }
}

fn log(condition: Option<StoreCondition>, displaced: Option<(&Path, FileFault)>) {
    let file = displaced.map(|(path, _)| path.display().to_string());
    let process = std::process::id();
    match condition {
        None => {}
        Some(StoreCondition::Working) => tracing::warn!("the store is available again"),
        Some(StoreCondition::Stalled) => tracing::error!(
            "an operation of the store takes longer than {STALLED_AFTER:?}: the disk hangs, or the operation is large; the bridge answers events with 503 until the operation ends"
        ),
        Some(StoreCondition::FileGone) => match displaced {
            Some((_, FileFault::Overwritten)) => tracing::error!(
                file,
                process,
                "another program has written into a file of the store: the bridge answers events with 503, and continues deliveries. Stop the process, keep the store file and its log for an analysis, and restore the newest copy of the store"
            ),
            Some((_, FileFault::Gone)) | None => tracing::error!(
                file,
                process,
                "a file of the store was deleted, renamed, replaced or shortened: the bridge answers events with 503, and continues deliveries. If the file was renamed, rename it back. Otherwise run `store backup` before the process stops, because some accepted events possibly exist only in the files that the process has open. Then stop the process and restore the copy"
            ),
        },
    }
}

/// Measures how long a thread has been in the same run of its task.
#[derive(Default)]
struct Stall {
    work: Option<u64>,
    unchanged: Duration,
}

impl Stall {
    fn is_stalled(&mut self, work: Option<u64>) -> bool {
        self.unchanged = if work.is_some() && work == self.work {
            self.unchanged.saturating_add(CHECK_EVERY)
        } else {
            Duration::ZERO
        };
        self.work = work;
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
