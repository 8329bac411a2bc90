//! The schedule on which the bridge reads its secret files and looks at the files of its sources: every few seconds, and
//! at SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::metrics::SecretMetrics;
use crate::time::{Clock, Timestamp};

/// The time between two reads of the secret files, and between two looks at the files of the sources.
///
/// The bridge does not use file change notifications: Kubernetes replaces the symbolic link of a mounted Secret or
/// `ConfigMap`, and the notifications would stay on the old file. A network disk gives no notifications at all.
const READ_EVERY: Duration = Duration::from_secs(3);

/// The schedule of the reads of secret files. All clones share the signal that starts a read at once.
#[derive(Clone, Debug)]
pub struct Rereads {
    clock: Clock,
    now: Arc<Notify>,
    metrics: SecretMetrics,
}

/// The reason why a read is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RereadCause {
    /// The time since the last read is over.
    Schedule,
    /// Somebody asked for a read at once.
    Signal,
}

impl Rereads {
    pub(super) fn new(clock: Clock, metrics: SecretMetrics) -> Self {
        Self {
            clock,
            now: Arc::default(),
            metrics,
        }
    }

    pub(super) const fn metrics(&self) -> &SecretMetrics {
        &self.metrics
    }

    /// Makes the bridge read its secret files and the files of its sources at once.
    pub fn read_now(&self) {
        self.now.notify_waiters();
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn moment(&self) -> Timestamp {
        self.clock.now()
    }

    /// Resolves when the next read is due.
    pub(super) async fn next(&self) -> RereadCause {
        tokio::select! {
            () = self.clock.sleep(READ_EVERY) => RereadCause::Schedule,
            () = self.now.notified() => RereadCause::Signal,
        }
    }
}
