//! Watches the files of the sources, and replaces the sources when the files have changed. An operator can ask for a
//! reload at once.
//!
//! The bridge uses a changed set only as a whole, and only if the set passes the same checks as the command `check`, and
//! if all new secret files are readable. Otherwise the set in use stays in use.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::listeners::yield_to_delivery;
use super::loaded_set::LoadedSet;
use super::reread::{RereadCause, Rereads};
use super::set_changes::audited;
use super::set_watch::{LookAction, SeenFiles, SetWatch};
use super::source_order::SourceOrders;
use super::sources::{ReloadAnswer, ReloadRequests, RunningSources};
use crate::config::Config;
use crate::config::source_set::{SourceSet, UnusableSet};
use crate::config::sources::{SourceFiles, SourcesDigest};
use crate::ops::operate::{ReloadFailure, ReloadResult, ReloadTrigger, SetChanges};
use crate::outbox::Outbox;
use crate::time::Timestamp;

/// The time after which the bridge reports that the files of the sources do not respond. The check of a thousand sources
/// takes a few seconds.
const HANG_AFTER: Duration = Duration::from_mins(1);
/// The maximum number of errors of a refused set that the bridge keeps for operators.
const KEPT_ERRORS_MAX: usize = 100;
/// The maximum length of an error that the bridge keeps, in characters. The error of an example shows the whole result.
const KEPT_ERROR_CHARS_MAX: usize = 4_000;
/// The maximum number of errors of a refused set in one record of the log. The admin API shows all errors.
const LOGGED_ERRORS_MAX: usize = 10;

/// A task that watches the files of the sources.
pub(super) struct SourcesWatch {
    config: Arc<Config>,
    running: Arc<RunningSources>,
    outbox: Arc<dyn Outbox>,
    orders: SourceOrders,
    watch: SetWatch,
    requests: ReloadRequests,
    rereads: Rereads,
}

/// The result of an attempt to read a set of sources.
enum SetAttempt {
    /// The files are the files of the set in use.
    Unchanged,
    /// The files changed while the bridge read them.
    Changing,
    Usable(LoadedSet, SourcesDigest),
    Refused(SeenFiles, Vec<SetError>),
}

/// An error of a set of sources.
struct SetError {
    /// The error as `check` prints it. The text of an example possibly contains values.
    text: String,
    /// The error without values, for the log.
    logged: String,
}

impl SetError {
    fn plain(text: String) -> Self {
        let logged = text.clone();
        Self { text, logged }
    }
}

impl SourcesWatch {
    /// Watches the files of the sources. `used` is the result of the look at the files of the set in use.
    pub(super) fn new(
        config: Config,
        (outbox, orders): (Arc<dyn Outbox>, SourceOrders),
        used: SeenFiles,
        (running, requests): (Arc<RunningSources>, ReloadRequests),
        rereads: Rereads,
    ) -> Self {
        let mut watch = Self {
            config: Arc::new(config),
            running,
            outbox,
            orders,
            watch: SetWatch::new(used.as_ref().ok().copied()),
            requests,
            rereads,
        };
        if let Err(reason) = used {
            let errors = [SetError::plain(reason.clone())];
            watch.refuse(Err(reason), &errors, ReloadTrigger::Watcher);
        }
        watch
    }

    /// Watches the files, and returns only if a thread cannot start or panics.
    pub(super) async fn watch(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    /// Answers no further requests to reload. The operators who wait learn that the bridge stops.
    pub(super) fn stop(&mut self) {
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            cause = self.rereads.next() => match cause {
                RereadCause::Schedule => self.look().await,
                RereadCause::Signal => self.attempt(ReloadTrigger::Signal).await.map(|answer| log_signal(&answer)),
            },
            Some(request) = self.requests.recv() => {
                let result = self.attempt(ReloadTrigger::Operator(request.operator)).await?;
                // The operator possibly waits no longer.
                let _unheard: Result<(), _> = request.answer.send(result);
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let config = Arc::clone(&self.config);
        let seen = self.responding(on_thread(move || look(&config))).await?;
        match self.watch.look(seen, self.rereads.moment()) {
            LookAction::Confirm => self.confirm(),
            LookAction::Wait => {}
            LookAction::Try => drop(self.attempt(ReloadTrigger::Watcher).await?),
            LookAction::ReportUnsettled => self.report(&[SetError::plain(
                "the files of the sources change all the time: remove the files that no source uses"
                    .to_owned(),
            )]),
        }
        Ok(())
    }

    /// Reads the files, and uses the set if it passes all checks.
    async fn attempt(&mut self, trigger: ReloadTrigger) -> anyhow::Result<ReloadAnswer> {
        let (config, used) = (Arc::clone(&self.config), self.watch.used());
        let wall_time = self.rereads.clock().wall();
        let (sources, now) = (self.running.secrets().current(), self.rereads.moment());
        let (profile, orders) = (config.profile, self.orders.clone());
        let load = move |set| LoadedSet::load(set, profile, (&sources, &orders), now);
        let attempt = on_thread(move || SetAttempt::read(&config, used, wall_time, load));
        let attempt = self.responding(attempt).await?;
        Ok(match attempt {
            SetAttempt::Changing => Err(ReloadFailure::Changing),
            SetAttempt::Unchanged => {
                self.confirm();
                Ok(ReloadResult::Unchanged)
            }
            SetAttempt::Refused(look, errors) => {
                let texts = kept(&errors);
                self.refuse(look, &errors, trigger);
                Ok(ReloadResult::Refused(texts))
            }
            SetAttempt::Usable(loaded, digest) => {
                let orders = loaded.orders();
                let is_noticed = !matches!(trigger, ReloadTrigger::Operator(_));
                let changes = self.running.replace(loaded, trigger, self.rereads.moment());
                self.watch.set_used(digest);
                self.remember(orders).await;
                if is_noticed {
                    self.audit(&changes, digest).await;
                }
                log_changes(digest, &changes);
                Ok(ReloadResult::Reloaded(changes))
            }
        })
    }

    /// Keeps the orders of the events in use. If the store cannot keep them, the set stays in use.
    async fn remember(&mut self, orders: SourceOrders) {
        self.orders = orders.clone();
        match orders.remember(&*self.outbox).await {
            Ok(orders) => self.orders = orders,
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the store cannot keep the order of the events; the next start compares the sources with the previous order"
            ),
        }
    }

    /// Records a change of the files for which no operator asked. If the store cannot record it, the log of the process has it.
    async fn audit(&self, changes: &SetChanges, digest: SourcesDigest) {
        let event = audited(changes, &digest.to_string(), self.rereads.clock().wall());
        if let Err(error) = self.outbox.append_audit(event).await {
            tracing::warn!(error = %error, "the audit log has no record of the changed sources");
        }
    }

    fn confirm(&self) {
        if self.running.confirm() {
            tracing::info!("the files of the sources are again the files of the sources in use");
        }
    }

    /// Waits for the result of a read of the files, and reports if the files do not respond.
    async fn responding<T>(&self, read: impl Future<Output = T>) -> T {
        let report = || {
            self.report(&[SetError::plain(
                "the files of the sources do not respond: look at the disk of sources_dir and schemas_dir".to_owned(),
            )]);
        };
        reported_if_slow(read, HANG_AFTER, report).await
    }

    /// Keeps the set in use, and does not try these files again for a while.
    fn refuse(&mut self, look: SeenFiles, errors: &[SetError], trigger: ReloadTrigger) {
        let digest = look.as_ref().ok().map(ToString::to_string);
        self.watch.set_refused(look, self.rereads.moment());
        self.report_change(errors, (trigger, digest));
    }

    /// Reports an error that the bridge finds while it looks at the files.
    fn report(&self, errors: &[SetError]) {
        self.report_change(errors, (ReloadTrigger::Watcher, None));
    }

    /// Reports why the set in use stays in use. Logs the errors once, and not again at each attempt with the same errors.
    fn report_change(&self, errors: &[SetError], change: (ReloadTrigger, Option<String>)) {
        let (count, logged) = (errors.len(), first(errors));
        if self
            .running
            .refuse(kept(errors), change, self.rereads.moment())
        {
            tracing::error!(
                errors = count,
                error = logged,
                "cannot use the files of the sources; the previous sources stay in use"
            );
        }
    }
}

impl SetAttempt {
    fn read(
        config: &Config,
        used: Option<SourcesDigest>,
        wall_time: Timestamp,
        load: impl FnOnce(SourceSet) -> Result<LoadedSet, Vec<String>>,
    ) -> Self {
        if let Ok(seen) = look(config)
            && Some(seen) == used
        {
            return Self::Unchanged;
        }
        let set = match SourceSet::read(config) {
            Ok(set) => set,
            Err(UnusableSet::Changing) => return Self::Changing,
            Err(UnusableSet::Errors { errors, files }) => {
                let errors = errors.iter().map(ToString::to_string);
                let errors = errors.map(SetError::plain).collect();
                return Self::Refused(files.map(|files| files.digest()), errors);
            }
        };
        let digest = match &set.files {
            Ok(files) => files.digest(),
            Err(reason) => {
                let errors = vec![SetError::plain(reason.clone())];
                return Self::Refused(Err(reason.clone()), errors);
            }
        };
        let examples = set.example_errors(config, wall_time).into_iter();
        let mut errors: Vec<_> = examples
            .map(|error| SetError {
                text: error.to_string(),
                logged: format!(
                    "{}: the result of the example is not as expected",
                    error.place
                ),
            })
            .collect();
        match load(set) {
            Ok(loaded) if errors.is_empty() => Self::Usable(loaded, digest),
            Ok(_) => Self::Refused(Ok(digest), errors),
            Err(unreadable) => {
                errors.extend(unreadable.into_iter().map(SetError::plain));
                Self::Refused(Ok(digest), errors)
            }
        }
    }
}

fn look(config: &Config) -> SeenFiles {
    let files = SourceFiles::look(&config.sources_dir, &config.schemas_dir);
    files.map(|files| files.digest())
}

/// Runs `work` on a thread of its own, because a read of a file can hang, for example on a network disk. A thread that
/// hangs does not delay the end of the process.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (end, ended) = oneshot::channel();
    let run = move || {
        yield_to_delivery();
        // The process is possibly ending, and nobody waits for the result.
        let _unheard: Result<(), T> = end.send(work());
    };
    thread::Builder::new()
        .name("sources".to_owned())
        .spawn(run)?;
    ended.await.context("the thread panicked")
}

/// Waits for the result of a read. If the result takes longer than `after`, reports this once and goes on waiting,
/// because another read would hang too. A disk hangs in real time, so the time limit does not use the clock of the
/// bridge, which tests control.
async fn reported_if_slow<T>(
    read: impl Future<Output = T>,
    after: Duration,
    report: impl FnOnce(),
) -> T {
    let mut read = std::pin::pin!(read);
    if let Ok(done) = tokio::time::timeout(after, &mut read).await {
        return done;
    }
    report();
    read.await
}

fn first(errors: &[SetError]) -> String {
    let logged = errors.iter().take(LOGGED_ERRORS_MAX);
    let logged: Vec<&str> = logged.map(|error| error.logged.as_str()).collect();
    logged.join("; ")
}

/// Returns the errors for operators. A command that needs all errors is `check`.
fn kept(errors: &[SetError]) -> Vec<String> {
    let cut = |text: &str| match text.char_indices().nth(KEPT_ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    };
    let kept = errors.iter().take(KEPT_ERRORS_MAX);
    let mut kept: Vec<String> = kept.map(|error| cut(&error.text)).collect();
    match errors.len().saturating_sub(KEPT_ERRORS_MAX) {
        0 => {}
        more => kept.push(format!("{more} more errors: `check` lists all errors")),
    }
    kept
}

/// Logs the result of a reload for which somebody has asked with SIGHUP. The bridge logs changed sources elsewhere.
fn log_signal(answer: &ReloadAnswer) {
    match answer {
        Ok(ReloadResult::Reloaded(_)) => {}
        Ok(ReloadResult::Unchanged) => {
            tracing::info!("SIGHUP: the files of the sources are the files in use");
        }
        Ok(ReloadResult::Refused(_)) => tracing::warn!(
            "SIGHUP: the files of the sources have errors, and the previous sources stay in use"
        ),
        Err(ReloadFailure::Changing) => {
            tracing::warn!("SIGHUP: the files of the sources changed while the bridge read them");
        }
        Err(ReloadFailure::Stopping) => {}
    }
}

fn log_changes(digest: SourcesDigest, changes: &SetChanges) {
    tracing::info!(
        %digest,
        added = changes.added.join(" "),
        removed = changes.removed.join(" "),
        changed = changes.changed.join(" "),
        "the bridge uses the changed files of the sources"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N414: the disk hangs for a while.
    #[tokio::test]
    async fn a_read_that_hangs_is_reported_once_and_not_repeated() {
        let (end, ended) = oneshot::channel();
        let report = || end.send(7).unwrap();
        let read = async { ended.await.unwrap() };
        let result = reported_if_slow(read, Duration::from_millis(20), report).await;
        assert_eq!(result, 7, "the report came before the result");
        let unreported = || panic!("the read is fast");
        let fast = reported_if_slow(async { 8 }, Duration::from_mins(1), unreported);
        assert_eq!(fast.await, 8);
    }

    /// FAULTS N411: a set with very many or very long errors.
    #[test]
    fn the_bridge_keeps_a_bounded_part_of_the_errors() {
        let long = "ü".repeat(KEPT_ERROR_CHARS_MAX + 1);
        let errors: Vec<_> = (0..KEPT_ERRORS_MAX + 7)
            .map(|_| SetError::plain(long.clone()))
            .collect();
        let kept = kept(&errors);
        assert_eq!(kept.len(), KEPT_ERRORS_MAX + 1);
        assert_eq!(kept[0].chars().count(), KEPT_ERROR_CHARS_MAX + 1);
        assert_eq!(
            kept[KEPT_ERRORS_MAX],
            "7 more errors: `check` lists all errors"
        );
    }
}
