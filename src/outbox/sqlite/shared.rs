//! The state that the writer thread, the watch thread and the callers of the store share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
    /// The groups of commands of the writer thread.
    pub(super) groups: WorkCounter,
    /// The looks at the files of the store.
    pub(super) looks: WorkCounter,
    is_stalled: AtomicBool,
    is_file_gone: AtomicBool,
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

    /// Records whether the disk hangs. Returns the condition of the store if the condition changes.
    pub(super) fn set_stalled(&self, is_stalled: bool) -> Option<StoreCondition> {
        self.is_stalled.store(is_stalled, Ordering::SeqCst);
        self.change()
    }

    /// Records whether a file of the store is gone. Returns the condition of the store if the condition changes.
    pub(super) fn set_file_gone(&self, is_file_gone: bool) -> Option<StoreCondition> {
        self.is_file_gone.store(is_file_gone, Ordering::SeqCst);
        self.change()
    }

    /// Derives the condition again. The thread that comes last sees what every thread has recorded.
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

    pub(super) fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.condition.subscribe()
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

/// Counts the starts and the ends of a repeated work: the count is odd during the work.
#[derive(Debug, Default)]
pub(super) struct WorkCounter(AtomicU64);

impl WorkCounter {
    pub(super) fn start(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn finish(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the number of the work in progress; `None` between two works.
    pub(super) fn current(&self) -> Option<u64> {
        let count = self.0.load(Ordering::SeqCst);
        (count % 2 == 1).then_some(count)
    }

    /// Returns the number of finished works; `None` during a work. Nothing was done between two equal numbers.
    pub(super) fn finished(&self) -> Option<u64> {
        let count = self.0.load(Ordering::SeqCst);
        count.is_multiple_of(2).then_some(count)
    }
}
