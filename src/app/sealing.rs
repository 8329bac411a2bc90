//! The sealing keys of the store: reads the key files again every few seconds, seals old records again in the background,
//! and reports the state of the sealing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::reread::Rereads;
use super::sealing_files::SealingFiles;
use crate::config::Config;
use crate::config::sealing_keys::SealingKeys;
use crate::metrics::{Metrics, SealingSnapshot};
use crate::ops::operate::FindKeyFile;
use crate::outbox::{Error, KeyUse, Outbox, SealingStatus};
use crate::time::Clock;

/// The time between two steps that seal records again. One step seals at most 256 records, so the bridge seals at most
/// 2,560 records per second, and uses a few percent of the store's time.
const STEP_EVERY: Duration = Duration::from_millis(100);
/// The time between two looks for records that must be sealed again: as often as the bridge reads the key files.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// The time after a failed step. The cause, such as a full disk, usually lasts longer than a moment.
const RETRY_AFTER: Duration = Duration::from_mins(1);

/// The tasks of the sealing.
pub(super) struct SealingTasks {
    keys: KeysWatch,
    report: SealingReport,
}

impl SealingTasks {
    pub(super) fn new(
        present: SealingKeys,
        config: &Config,
        rereads: &Rereads,
        outbox: Arc<dyn Outbox>,
        metrics: Metrics,
    ) -> Self {
        let files = SealingFiles::new(&present, config.profile, rereads.clone());
        let (present, used) = watch::channel(present);
        Self {
            report: SealingReport {
                status: outbox.sealing(),
                used,
                metrics: metrics.clone(),
                reported: SealingStatus::default(),
            },
            keys: KeysWatch {
                present,
                files,
                rereads: rereads.clone(),
                outbox,
                metrics,
            },
        }
    }

    /// Returns the store of the keys.
    pub(super) fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.keys.outbox)
    }

    /// Returns a function that finds the files of the keys in use.
    pub(super) fn find_file(&self) -> FindKeyFile {
        let used = self.report.used.clone();
        Box::new(move |id| {
            let used = used.borrow();
            let file = used.files.iter().find(|(key, _)| key.to_string() == id);
            file.map(|(_, name)| name.clone())
        })
    }

    /// Runs the tasks, and never returns.
    pub(super) async fn run(&mut self, clock: &Clock) {
        let outbox = Arc::clone(&self.keys.outbox);
        tokio::select! {
            () = self.keys.watch() => {}
            () = self.report.run() => {}
            () = reseal(&*outbox, clock) => {}
        }
    }
}

/// The sealing keys in use.
struct KeysWatch {
    present: watch::Sender<SealingKeys>,
    /// The key files, or `None` if the store is not sealed.
    files: Option<SealingFiles>,
    rereads: Rereads,
    outbox: Arc<dyn Outbox>,
    metrics: Metrics,
}

impl KeysWatch {
    /// Reads the key files repeatedly, and never returns. The newest key seals all later records.
    ///
    /// If a file cannot be used, its previous key stays in use: without this rule, an error of a moment would take away
    /// the key of waiting records.
    async fn watch(&mut self) {
        loop {
            self.rereads.next().await;
            let Some(files) = &mut self.files else {
                continue;
            };
            let keys = files.read_again().await;
            self.metrics.sealing_keys_unreadable(files.has_flaw());
            let present = self.present.borrow().clone();
            if let Some(keys) = keys.filter(|keys| !keys.is_same(&present)) {
                self.replace(keys).await;
            }
        }
    }

    async fn replace(&self, new: SealingKeys) {
        if let Err(error) = self.outbox.use_keys(Arc::clone(&new.ring)).await {
            tracing::warn!(
                error = %error,
                "the store cannot use the new sealing keys; the previous keys stay in use, and the bridge tries again"
            );
            return;
        }
        let newest = new.ring.newest().and_then(|id| new.file(id));
        tracing::info!(newest, "the sealing keys changed");
        self.present.send_replace(new);
    }
}

/// Seals the records again that are not sealed with the newest key, and never returns.
async fn reseal(outbox: &dyn Outbox, clock: &Clock) {
    loop {
        let wait = match outbox.reseal().await {
            Ok(true) => STEP_EVERY,
            Ok(false) => LOOK_EVERY,
            Err(Error::Busy | Error::Full) => RETRY_AFTER,
            Err(error) => {
                tracing::warn!(error = %error, "the bridge cannot seal old records again now");
                RETRY_AFTER
            }
        };
        clock.sleep(wait).await;
    }
}

/// Reports the state of the sealing to the log and to the metrics.
struct SealingReport {
    status: watch::Receiver<SealingStatus>,
    /// The keys in use.
    used: watch::Receiver<SealingKeys>,
    metrics: Metrics,
    reported: SealingStatus,
}

impl SealingReport {
    /// Reports every change of the state, and never returns.
    async fn run(&mut self) {
        loop {
            let status = self.status.borrow_and_update().clone();
            self.report(&status);
            self.reported = status;
            if self.status.changed().await.is_err() {
                // The store has dropped the sender of the state, so the state does not change any more.
                std::future::pending::<()>().await;
            }
        }
    }

    fn report(&self, status: &SealingStatus) {
        let count =
            |key_use: KeyUse| u64::try_from(status.with(key_use).count()).unwrap_or(u64::MAX);
        self.metrics.sealing(SealingSnapshot {
            missing_keys: count(KeyUse::Missing),
            removable_keys: count(KeyUse::Removable),
            locked_lanes: u64::try_from(status.locked_lanes).unwrap_or(u64::MAX),
            left: status.left,
            has_plain: status.has_plain || status.has_remains,
        });
        self.log_remains(status);
        self.log(status);
    }

    /// Logs once that only a restart erases the remains of a store whose records are all sealed.
    fn log_remains(&self, status: &SealingStatus) {
        let has_only_remains = |status: &SealingStatus| status.has_remains && !status.has_plain;
        if has_only_remains(status) && !has_only_remains(&self.reported) {
            tracing::warn!(
                "every record of the store is sealed, but its file possibly still contains remains from before: restart the bridge, because the start rewrites the file and erases the remains"
            );
        }
    }

    /// Logs the keys whose use has changed.
    fn log(&self, status: &SealingStatus) {
        let new = |key_use| {
            let keys = status.with(key_use);
            keys.filter(move |id| self.reported.with(key_use).all(|reported| reported != *id))
        };
        for key in new(KeyUse::Missing) {
            tracing::error!(
                %key,
                "a sealing key is missing: the customers whose records need the key wait until its file is back"
            );
        }
        for key in self.reported.with(KeyUse::Missing) {
            if status.with(KeyUse::Missing).all(|missing| missing != key) {
                tracing::warn!(%key, "a sealing key is no longer missing");
            }
        }
        for key in new(KeyUse::Removable) {
            tracing::info!(
                %key,
                file = self.used.borrow().file(key),
                "no record needs this sealing key any more: its file can be removed"
            );
        }
    }
}
