//! Erases the remains of ended entries from the files of the store, so that no personal data outlives its entry there.
//! Repeats the erasures of customers after the restore of an older backup.

use std::time::Duration;

use anyhow::bail;

use crate::config::OutboxSettings;
use crate::outbox::{AuditEvent, CustomerErasure, ErasureStep, Error, LaterEvents, Outbox};
use crate::time::Clock;

/// The time between two erasures. One minute after an entry has ended, its values are in no file of the store, even if
/// one erasure failed because a backup was in progress.
const EVERY: Duration = Duration::from_secs(25);

/// Erases the remains of ended entries every [`EVERY`], and never returns.
pub(super) async fn run(outbox: &dyn Outbox, clock: &Clock) {
    loop {
        clock.sleep(EVERY).await;
        match outbox.erase().await {
            Ok(()) => {}
            // A backup is in progress, or the disk is full: the log of the store names the cause.
            Err(Error::Busy | Error::Full) => {
                tracing::debug!("the write-ahead log still contains ended entries");
            }
            Err(error) => tracing::warn!(
                error = %error,
                "the values of ended entries stay in the write-ahead log of the store; the bridge tries again to erase them"
            ),
        }
    }
}

/// Opens the erasure journal, and repeats the erasures that the store has not finished. The caller has started neither a
/// listener nor a dispatch thread.
pub(super) async fn repeat(
    outbox: &dyn Outbox,
    settings: &OutboxSettings,
    clock: &Clock,
) -> anyhow::Result<()> {
    let Some(journal) = settings.erasure_journal.clone() else {
        return Ok(());
    };
    let pending = outbox.keep_erasures(journal).await??;
    if pending.is_empty() {
        return Ok(());
    }
    for erasure in pending {
        let number = erasure.progress.and_then(|progress| progress.number);
        let number = number.unwrap_or_default();
        let event = AuditEvent {
            operator: "bridge".to_owned(),
            action: "erase_again",
            target: format!("erasure {number}"),
            reason: None,
            at: clock.now(),
        };
        outbox.append_audit(event).await?;
        let later_events = erasure.later_events;
        let entries = finish(outbox, erasure).await?;
        match later_events {
            LaterEvents::Delivered => tracing::warn!(
                erasure = number,
                entries,
                "the bridge repeated the erasure of a customer"
            ),
            LaterEvents::Ignored => tracing::warn!(
                erasure = number,
                entries,
                "the bridge repeated the erasure of a customer, and ignores later events of the customer until `erase` without --block"
            ),
        }
    }
    match outbox.erase().await {
        Ok(()) | Err(Error::Busy) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Runs the remaining steps of an erasure. Returns the number of erased entries.
async fn finish(outbox: &dyn Outbox, mut erasure: CustomerErasure) -> anyhow::Result<usize> {
    let mut entries = 0;
    loop {
        let ErasureStep::Erased(part) = outbox.erase_customer(erasure.clone()).await? else {
            bail!("a request of an erased customer is in flight");
        };
        entries += part.entries;
        if part.progress.is_none() {
            return Ok(entries);
        }
        (erasure.keys, erasure.progress) = (part.keys, part.progress);
    }
}
