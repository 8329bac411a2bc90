//! The state that the runtime of the store and the callers of the store share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use super::connection_counts::ConnectionCounts;
use super::lease::OwnLease;
use super::tally::TallyChange;
use crate::event::SourceName;
use crate::outbox::intake_queue::IntakeQueue;
use crate::outbox::waiters::Waiters;
use crate::outbox::{Error, SealingStatus, StoreCondition};

#[derive(Debug, Default)]
pub(super) struct ReplicaState {
    /// The events that wait for a commit.
    pub(super) intake: IntakeQueue,
    pub(super) waiters: Waiters,
    pub(super) woken: Notify,
    pub(super) connections: Arc<ConnectionCounts>,
    pub(super) lease: OwnLease,
    condition: watch::Sender<StoreCondition>,
    sealing: watch::Sender<SealingStatus>,
    /// True if a crash of the database can lose confirmed commits.
    is_lossy: AtomicBool,
    /// The total size of each source's stored events. Events in a final state do not count.
    stored_bytes: RwLock<BTreeMap<SourceName, u64>>,
    /// True if the lease had ended, and the process has not forgotten its customers since.
    has_lost_lease: AtomicBool,
}

impl ReplicaState {
    /// Replaces the total sizes by the sums in the store.
    pub(super) fn publish(&self, stored_bytes: BTreeMap<SourceName, u64>) {
        let mut published = self.stored_bytes.write();
        let published = published.as_deref_mut();
        match published {
            Ok(published) => *published = stored_bytes,
            Err(poisoned) => **poisoned.get_mut() = stored_bytes,
        }
    }

    /// Adds the changes of a committed transaction to the total sizes.
    pub(super) fn add(&self, change: &TallyChange) {
        let mut published = self
            .stored_bytes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for (source, bytes) in change.bytes() {
            let total = published.entry(source.clone()).or_default();
            *total = total.saturating_add_signed(bytes);
        }
    }

    /// Returns the total size of a source's stored events.
    pub(super) fn stored_bytes(&self, source: &SourceName) -> u64 {
        let published = self.stored_bytes.read();
        let published = published.unwrap_or_else(PoisonError::into_inner);
        published.get(source).copied().unwrap_or_default()
    }

    /// Records whether the database answers. Returns whether it answers again.
    pub(super) fn set_answers(&self, answers: bool) -> bool {
        let now = match answers {
            true => StoreCondition::Working,
            false => StoreCondition::Stalled,
        };
        let is_changed = self.condition.send_if_modified(|before| {
            let is_changed = *before != now;
            *before = now;
            is_changed
        });
        match (is_changed, answers) {
            (true, true) => tracing::info!("the database answers again"),
            (true, false) => {
                tracing::error!("the database does not answer; the bridge accepts no event");
            }
            (false, _) => {}
        }
        is_changed && answers
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

    pub(super) fn condition(&self) -> watch::Receiver<StoreCondition> {
        self.condition.subscribe()
    }

    /// Records whether a crash of the database can lose confirmed commits.
    pub(super) fn set_lossy(&self, is_lossy: bool) {
        self.is_lossy.store(is_lossy, Ordering::Relaxed);
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy.load(Ordering::Relaxed)
    }

    /// Records that the lease had ended: other replicas possibly erased customers meanwhile.
    pub(super) fn set_lost_lease(&self) {
        self.has_lost_lease.store(true, Ordering::SeqCst);
    }

    /// Returns whether the lease has ended, or had ended and the process has not forgotten its customers since.
    pub(super) fn has_lost_lease(&self) -> bool {
        self.lease.has_ended() || self.has_lost_lease.load(Ordering::SeqCst)
    }

    /// Returns whether the lease had ended since the last call.
    pub(super) fn take_lost_lease(&self) -> bool {
        self.has_lost_lease.swap(false, Ordering::SeqCst)
    }

    /// Publishes the state of the sealing.
    pub(super) fn set_sealing(&self, status: SealingStatus) {
        self.sealing.send_if_modified(|before| {
            let is_changed = *before != status;
            *before = status;
            is_changed
        });
    }

    /// Publishes the number of lanes that wait for a missing sealing key.
    pub(super) fn set_locked_lanes(&self, lanes: usize) {
        let status = self.sealing.borrow().clone();
        self.set_sealing(SealingStatus {
            locked_lanes: lanes,
            ..status
        });
    }

    pub(super) fn sealing(&self) -> watch::Receiver<SealingStatus> {
        self.sealing.subscribe()
    }
}
