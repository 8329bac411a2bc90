//! Erases the remains of ended entries from the files of the store, so that no personal data outlives its entry there.

use std::time::Duration;

use crate::outbox::{Error, Outbox};
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
