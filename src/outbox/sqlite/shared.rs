//! The state that the writer thread, the watch thread and the callers of the store share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use crate::event::SourceName;
use crate::outbox::waiters::Waiters;
use crate::outbox::{Error, StoreCondition};

/// The most bytes of events that wait for a commit. On a slow disk, senders wait instead of filling the memory of the
/// bridge.
const INTAKE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The state that the writer thread, the watch thread and the callers of the store share.
#[derive(Debug, Default)]
pub(super) struct SharedState {
    /// The number of events in the queue of the writer thread; at most `intake_max`.
    intake: AtomicUsize,
    /// The bytes of the events in the queue of the writer thread; at most [`INTAKE_BYTES_MAX`].
    intake_bytes: AtomicUsize,
    pub(super) waiters: Waiters,
    pub(super) woken: Notify,
    /// The number of times that the writer thread started or finished a group of commands: odd during a group.
    progress: AtomicU64,
    condition: watch::Sender<StoreCondition>,
    /// The committed bytes of the events that have not ended, by source.
    stored_bytes: RwLock<BTreeMap<SourceName, u64>>,
}

impl SharedState {
    /// Reserves space in the queue of the writer thread for events. Returns `false` if the queue is full.
    pub(super) fn enqueue(&self, events: usize, bytes: usize, events_max: usize) -> bool {
        let queued = self.intake.fetch_add(events, Ordering::Relaxed);
        let queued_bytes = self.intake_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_space = queued.saturating_add(events) <= events_max
            && queued_bytes.saturating_add(bytes) <= INTAKE_BYTES_MAX;
        if !has_space {
            self.dequeued(events, bytes);
        }
        has_space
    }

    /// Frees the queue space of events that have left the queue of the writer thread.
    pub(super) fn dequeued(&self, events: usize, bytes: usize) {
        self.intake.fetch_sub(events, Ordering::Relaxed);
        self.intake_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Publishes the committed bytes of the events that have not ended, by source.
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

    /// Returns the committed bytes of the events of a source that have not ended.
    pub(super) fn stored_bytes(&self, source: &SourceName) -> u64 {
        let published = self.stored_bytes.read();
        let published = published.unwrap_or_else(PoisonError::into_inner);
        published.get(source).copied().unwrap_or_default()
    }

    /// Records that the writer thread starts a group of commands.
    pub(super) fn start_group(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that the writer thread has finished a group of commands.
    pub(super) fn finish_group(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of the group that the writer thread works on; `None` between two groups.
    pub(super) fn current_group(&self) -> Option<u64> {
        let progress = self.progress.load(Ordering::Relaxed);
        (progress % 2 == 1).then_some(progress)
    }

    /// Changes the condition of the store. Returns `false` if the store had this condition before.
    pub(super) fn change(&self, condition: StoreCondition) -> bool {
        self.condition.send_if_modified(|before| {
            let is_changed = *before != condition;
            *before = condition;
            is_changed
        })
    }

    pub(super) fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.condition.subscribe()
    }

    /// Returns whether the disk hangs.
    pub(super) fn is_stalled(&self) -> bool {
        *self.condition.borrow() == StoreCondition::Stalled
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
