//! Actions for the audit log, with the keys that seal their records.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use crate::outbox::{AuditEvent, AuditHead, AuditKeys};

/// An action, and the keys that seal its record in the audit log.
pub(super) struct SignedEvent {
    event: AuditEvent,
    pub(super) keys: AuditKeys,
    /// The head of the audit log after the record of the action.
    head: Arc<OnceLock<AuditHead>>,
}

impl Deref for SignedEvent {
    type Target = AuditEvent;

    fn deref(&self) -> &AuditEvent {
        &self.event
    }
}

impl DerefMut for SignedEvent {
    fn deref_mut(&mut self) -> &mut AuditEvent {
        &mut self.event
    }
}

impl SignedEvent {
    pub(super) fn new(event: AuditEvent, keys: AuditKeys) -> Self {
        let head = Arc::default();
        Self { event, keys, head }
    }

    /// Returns the head of the audit log after the record of the action, as soon as the store has appended the record.
    pub(super) fn later_head(&self) -> Arc<OnceLock<AuditHead>> {
        Arc::clone(&self.head)
    }

    /// Changes the action. Returns `None` if `change` returns none.
    pub(super) fn and_then(
        self,
        change: impl FnOnce(AuditEvent) -> Option<AuditEvent>,
    ) -> Option<Self> {
        let event = change(self.event)?;
        Some(Self { event, ..self })
    }

    pub(super) fn set_head(&self, head: AuditHead) {
        // An action has one record.
        let _has_one: Result<(), AuditHead> = self.head.set(head);
    }

    pub(super) fn head(&self) -> Option<AuditHead> {
        self.head.get().copied()
    }
}
