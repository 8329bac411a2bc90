//! What the operations of operators need beside the database: the keys of the audit log, and the erasure journal.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::outbox::{AuditKeys, DiskState};

/// Each use locks a value only to copy or to replace it.
#[derive(Debug)]
pub(super) struct OperatorState {
    audit_keys: Mutex<AuditKeys>,
    journal: Mutex<Option<PathBuf>>,
    /// The store keeps no reserve, because the disk is not a disk of this process. The value never changes.
    disk: watch::Sender<DiskState>,
}

impl Default for OperatorState {
    fn default() -> Self {
        Self {
            audit_keys: Mutex::default(),
            journal: Mutex::default(),
            disk: watch::Sender::new(DiskState::HELD),
        }
    }
}

impl OperatorState {
    pub(super) fn disk(&self) -> watch::Receiver<DiskState> {
        self.disk.subscribe()
    }

    pub(super) fn audit_keys(&self) -> AuditKeys {
        let keys = self.audit_keys.lock();
        keys.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_audit_keys(&self, keys: AuditKeys) {
        let mut present = self
            .audit_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *present = keys;
    }

    /// Returns the path of the erasure journal. `None` means that the store keeps no journal.
    pub(super) fn journal(&self) -> Option<PathBuf> {
        let journal = self.journal.lock();
        journal.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_journal(&self, path: PathBuf) {
        let mut present = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        *present = Some(path);
    }
}
