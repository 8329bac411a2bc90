//! The bound of the events that wait for a commit.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The maximum total size of the events that wait for a commit. If the store is slow and the limit is reached, the
/// bridge refuses further events, so that waiting events do not fill its memory.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// The number and the total size of the events that wait for a commit.
#[derive(Debug, Default)]
pub(super) struct IntakeQueue {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

impl IntakeQueue {
    /// Reserves space for events. Returns `false` if too many events wait: more than `events_max`, or too many bytes.
    pub(super) fn enqueue(&self, events: usize, bytes: usize, events_max: usize) -> bool {
        let queued = self.events.fetch_add(events, Ordering::Relaxed);
        let queued_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_space = queued.saturating_add(events) <= events_max
            && queued_bytes.saturating_add(bytes) <= BYTES_MAX;
        if !has_space {
            self.dequeued(events, bytes);
        }
        has_space
    }

    /// Frees the space of events that no longer wait.
    pub(super) fn dequeued(&self, events: usize, bytes: usize) {
        self.events.fetch_sub(events, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
