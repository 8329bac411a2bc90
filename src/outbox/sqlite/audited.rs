//! Runs the acts that append records to the audit log, with the keys of the audit log, and logs each new head.

use std::sync::PoisonError;

use super::signed_event::SignedEvent;
use super::writer::job::Wakes;
use super::{SqliteOutbox, audit};
use crate::outbox::{AuditEvent, AuditHead, AuditKeys, AuditProtection, StoreFuture};
use crate::time::Timestamp;

impl SqliteOutbox {
    /// Runs an act with the keys of the audit log. If the act has appended a record, logs the new head of the audit log
    /// after the commit.
    pub(super) fn audited<'a, T: Send + 'a>(
        &'a self,
        event: AuditEvent,
        act: impl FnOnce(SignedEvent) -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let (operator, action) = (event.operator.clone(), event.action);
        let event = SignedEvent::new(event, self.audit_keys());
        let head = event.later_head();
        let done = act(event);
        Box::pin(async move {
            let done = done.await?;
            if let Some(head) = head.get() {
                log_head(*head, &operator, action);
            }
            Ok(done)
        })
    }

    pub(super) fn audit_keys(&self) -> AuditKeys {
        let keys = self.audit_keys.lock();
        keys.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn protect(
        &self,
        keys: AuditKeys,
        now: Timestamp,
    ) -> StoreFuture<'_, AuditProtection> {
        let used = keys.clone();
        let protected = self.act(Wakes::Nobody, move |store, _| {
            audit::protect(store, &keys, now)
        });
        Box::pin(async move {
            let (protection, head) = protected.await?;
            let mut present = self
                .audit_keys
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *present = used;
            drop(present);
            if let Some(head) = head {
                log_head(head, "bridge", "audit_key");
            }
            Ok(protection)
        })
    }
}

/// Logs the head of the audit log. Outside the store, the head shows later whether newest records are missing.
fn log_head(head: AuditHead, operator: &str, action: &str) {
    tracing::info!(%head, operator, action, "the audit log has a new record");
}
