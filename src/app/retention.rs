//! Forgetting: receipts that are older than the operator wants to keep them.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::outbox::{EntryId, Error, Outbox};
use crate::time::{Clock, Timestamp};

/// How often the whole store is gone through.
const EVERY: Duration = Duration::from_hours(1);
/// How long everybody else may use the store between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What is forgotten, and when.
pub(super) struct Retention {
    outbox: Arc<dyn Outbox>,
    clock: Clock,
    receipts: Duration,
}

impl Retention {
    pub(super) fn new(outbox: Arc<dyn Outbox>, settings: &config::Outbox, clock: Clock) -> Self {
        Self {
            outbox,
            clock,
            receipts: settings.retain_receipt,
        }
    }

    /// Never ends.
    pub(super) async fn run(&self) {
        loop {
            if let Err(error) = self.go_through().await {
                tracing::warn!(error = %error, "old receipts were not forgotten; it is tried again");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn go_through(&self) -> Result<(), Error> {
        let kept = i64::try_from(self.receipts.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock.now().as_millis().saturating_sub(kept);
        let before = Timestamp::from_millis(before);
        let mut from = EntryId::default();
        while let Some(next) = self.outbox.retire(from, before).await? {
            from = next;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
