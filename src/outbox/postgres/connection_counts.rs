//! Counts of the work with the connections, which the callers of the store read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::signals::DatabaseSignals;
use crate::outbox::database_figures::DatabaseFigures;

#[derive(Debug, Default)]
pub(super) struct ConnectionCounts {
    wait_micros: AtomicU64,
    lost_leases: AtomicU64,
    late_sends: AtomicU64,
    repeats: AtomicU64,
    /// The figures of the last look at the database.
    seen: RwLock<DatabaseFigures>,
}

impl ConnectionCounts {
    /// Counts the time for which an operation waited for its connection.
    pub(super) fn waited(&self, wait: Duration) {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.wait_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a repetition of a transaction.
    pub(super) fn repeated(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a lost lease of this replica.
    pub(super) fn lost_lease(&self) {
        self.lost_leases.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request whose claim had ended.
    pub(super) fn late_send(&self) {
        self.late_sends.fetch_add(1, Ordering::Relaxed);
    }

    /// Publishes what a look at the database has shown.
    pub(super) fn publish(&self, signals: &DatabaseSignals) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        *seen = DatabaseFigures {
            oldest_snapshot: Some(
                signals
                    .snapshot
                    .as_ref()
                    .map_or(Duration::ZERO, |it| it.age),
            ),
            slot_bytes: Some(signals.slot.as_ref().map_or(0, |slot| slot.bytes)),
            dead_rows: Some(signals.dead_rows),
            ..DatabaseFigures::default()
        };
    }

    pub(super) fn figures(&self) -> DatabaseFigures {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        DatabaseFigures {
            connection_wait: Duration::from_micros(self.wait_micros.load(Ordering::Relaxed)),
            lost_leases: self.lost_leases.load(Ordering::Relaxed),
            late_sends: self.late_sends.load(Ordering::Relaxed),
            repeats: self.repeats.load(Ordering::Relaxed),
            ..*seen
        }
    }
}
