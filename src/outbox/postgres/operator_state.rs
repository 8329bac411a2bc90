//! What the operations of operators need beside the database: the keys of the audit log, and the erasure journal.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::outbox::AuditKeys;

/// Each use locks a value only to copy or to replace it.
#[derive(Debug, Default)]
pub(super) struct OperatorState {
    audit_keys: Mutex<AuditKeys>,
    journal: Mutex<Option<PathBuf>>,
}

impl OperatorState {
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
