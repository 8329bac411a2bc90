//! The state that the writer thread, the watch thread and the callers of the store share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::published::PublishedFigures;
use crate::event::SourceName;
use crate::outbox::intake_queue::IntakeQueue;
use crate::outbox::waiters::Waiters;
use crate::outbox::{Error, STALLED_AFTER, SealingStatus, StoreCondition};

/// The time between two checks of the store's threads and files.
///
/// With two checks a second, an idle bridge reports within a second that its store file was deleted. The writer thread
/// also checks the files after each commit, before it answers the callers.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The state that the writer thread, the watch thread and the callers of the store share.
#[derive(Debug, Default)]
pub(super) struct SharedState {
    /// The events in the queue of the writer thread.
    pub(super) intake: IntakeQueue,
    pub(super) figures: PublishedFigures,
    pub(super) waiters: Waiters,
    pub(super) woken: Notify,
    /// Notifies the callers that wait for an answer, once in [`CHECK_EVERY`].
    pub(super) tick: Notify,
    /// Counts the groups of commands that the writer thread serves.
    pub(super) groups: WorkCounter,
    /// Counts the checks of the store's files.
    pub(super) looks: WorkCounter,
    /// True when the writer thread begins to close the store. SQLite then removes the log.
    is_closing: AtomicBool,
    is_stalled: AtomicBool,
    is_file_gone: AtomicBool,
    condition: watch::Sender<StoreCondition>,
    sealing: watch::Sender<SealingStatus>,
    /// The total size of each source's committed events. Events in a final state do not count.
    stored_bytes: RwLock<BTreeMap<SourceName, u64>>,
}

impl SharedState {
    /// Publishes the total size of each source's committed events.
    pub(super) fn publish(&self, stored_bytes: &BTreeMap<SourceName, u64>) {
        let mut published = self
            .stored_bytes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for (source, bytes) in stored_bytes {
            match published.get_mut(source) {
                Some(published) => *published = *bytes,
                None => _ = published.insert(source.clone(), *bytes),
            }
        }
    }

    /// Returns the total size of a source's committed events. Events in a final state do not count.
    pub(super) fn stored_bytes(&self, source: &SourceName) -> u64 {
        let published = self.stored_bytes.read();
        let published = published.unwrap_or_else(PoisonError::into_inner);
        published.get(source).copied().unwrap_or_default()
    }

    /// Records that the writer thread closes the store from now on.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    /// Records whether the disk hangs. If the condition of the store changes, returns the new condition.
    pub(super) fn set_stalled(&self, is_stalled: bool) -> Option<StoreCondition> {
        self.is_stalled.store(is_stalled, Ordering::SeqCst);
        self.change()
    }

    /// Records whether a file of the store is gone. If the condition of the store changes, returns the new condition.
    pub(super) fn set_file_gone(&self, is_file_gone: bool) -> Option<StoreCondition> {
        self.is_file_gone.store(is_file_gone, Ordering::SeqCst);
        self.change()
    }

    /// Derives the condition from the recorded flags. If two threads record flags at once, the second thread sees both
    /// flags.
    fn change(&self) -> Option<StoreCondition> {
        let mut changed = None;
        self.condition.send_if_modified(|before| {
            let is_stalled = self.is_stalled.load(Ordering::SeqCst);
            let now = match self.is_file_gone.load(Ordering::SeqCst) {
                true => StoreCondition::FileGone,
                false if is_stalled => StoreCondition::Stalled,
                false => StoreCondition::Working,
            };
            changed = (*before != now).then_some(now);
            *before = now;
            changed.is_some()
        });
        changed
    }

    /// Publishes the state of the sealing.
    pub(super) fn set_sealing(&self, status: SealingStatus) {
        self.sealing.send_if_modified(|before| {
            let is_changed = *before != status;
            *before = status;
            is_changed
        });
    }

    pub(super) fn sealing(&self) -> watch::Receiver<SealingStatus> {
        self.sealing.subscribe()
    }

    /// Returns the published number of lanes that wait for a missing sealing key.
    pub(super) fn locked_lanes(&self) -> usize {
        self.sealing.borrow().locked_lanes
    }

    pub(super) fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.condition.subscribe()
    }

    /// Resolves when a caller has waited longer than [`STALLED_AFTER`] for an answer of the writer thread.
    ///
    /// The ticks of the watch thread measure the time. A timer for each event would cost a system call when the timer
    /// becomes the earliest timer of its thread.
    pub(super) async fn stall(&self) {
        let mut waited = Duration::ZERO;
        while waited <= STALLED_AFTER {
            self.tick.notified().await;
            waited += CHECK_EVERY;
        }
    }

    /// Returns whether the disk hangs.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::SeqCst)
    }

    /// Returns an error unless the store can accept events.
    pub(super) fn accepts(&self) -> Result<(), Error> {
        match *self.condition.borrow() {
            StoreCondition::Working => Ok(()),
            condition @ (StoreCondition::Stalled | StoreCondition::FileGone) => {
                Err(Error::Unavailable(condition))
            }
        }
    }
}

/// Counts the starts and the ends of a repeated task. The count is odd while a run of the task is in progress.
#[derive(Debug, Default)]
pub(super) struct WorkCounter(AtomicU64);

impl WorkCounter {
    pub(super) fn start(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn finish(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the number of the run in progress. Returns `None` between two runs.
    pub(super) fn current(&self) -> Option<u64> {
        let count = self.0.load(Ordering::SeqCst);
        (count % 2 == 1).then_some(count)
    }

    /// Returns a number that changes with every run. Returns `None` during a run. If two calls return the same number,
    /// no run started between the two calls.
    pub(super) fn finished(&self) -> Option<u64> {
        let count = self.0.load(Ordering::SeqCst);
        count.is_multiple_of(2).then_some(count)
    }
}
