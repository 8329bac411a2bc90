//! Watches the files of the sources, and replaces the sources when the files have changed. An operator can ask for a
//! reload at once.
//!
//! The bridge uses a changed set only as a whole, and only if the set passes the same checks as the command `check`, and
//! if all secret files are readable. Otherwise the set in use stays in use.

use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::listeners::yield_to_delivery;
use super::reread::{RereadCause, Rereads};
use super::set_watch::{LookAction, SeenFiles, SetWatch};
use super::sources::{LoadedSet, ReloadAnswer, ReloadRequests, RunningSources};
use crate::config::Config;
use crate::config::source_set::{SourceSet, UnusableSet};
use crate::config::sources::{SourceFiles, SourcesDigest};
use crate::ops::operate::{ReloadFailure, ReloadResult, SetChanges};
use crate::time::Timestamp;

/// The maximum number of errors of a refused set in one record of the log. The admin API shows all errors.
const LOGGED_ERRORS_MAX: usize = 10;

/// A task that watches the files of the sources.
pub(super) struct SourcesWatch {
    config: Arc<Config>,
    running: Arc<RunningSources>,
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
        running: Arc<RunningSources>,
        used: SeenFiles,
        requests: ReloadRequests,
        rereads: Rereads,
    ) -> Self {
        let mut watch = Self {
            config: Arc::new(config),
            running,
            watch: SetWatch::new(used.as_ref().ok().copied()),
            requests,
            rereads,
        };
        if let Err(reason) = used {
            watch.refuse(Err(reason.clone()), vec![SetError::plain(reason)]);
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
                RereadCause::Signal => self.attempt().await.map(|_logged| ()),
            },
            Some(answer) = self.requests.recv() => {
                let result = self.attempt().await?;
                // The operator possibly waits no longer.
                let _unheard: Result<(), _> = answer.send(result);
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let config = Arc::clone(&self.config);
        let seen = on_thread(move || look(&config)).await?;
        match self.watch.look(seen, self.rereads.moment()) {
            LookAction::Confirm => self.confirm(),
            LookAction::Wait => {}
            LookAction::Try => drop(self.attempt().await?),
        }
        Ok(())
    }

    /// Reads the files, and uses the set if it passes all checks.
    async fn attempt(&mut self) -> anyhow::Result<ReloadAnswer> {
        let (config, used) = (Arc::clone(&self.config), self.watch.used());
        let wall_time = self.rereads.clock().wall();
        let attempt = on_thread(move || SetAttempt::read(&config, used, wall_time)).await?;
        Ok(match attempt {
            SetAttempt::Changing => Err(ReloadFailure::Changing),
            SetAttempt::Unchanged => {
                self.confirm();
                Ok(ReloadResult::Unchanged)
            }
            SetAttempt::Refused(look, errors) => {
                let texts = errors.iter().map(|error| error.text.clone()).collect();
                self.refuse(look, errors);
                Ok(ReloadResult::Refused(texts))
            }
            SetAttempt::Usable(loaded, digest) => {
                let changes = self.running.replace(loaded, self.rereads.moment());
                self.watch.set_used(digest);
                log_changes(digest, &changes);
                Ok(ReloadResult::Reloaded(changes))
            }
        })
    }

    fn confirm(&self) {
        if self.running.confirm() {
            tracing::info!("the files of the sources are again the files of the sources in use");
        }
    }

    /// Keeps the set in use. Logs the errors once, and not again at each attempt with the same errors.
    fn refuse(&mut self, look: SeenFiles, errors: Vec<SetError>) {
        let now = self.rereads.moment();
        self.watch.set_refused(look, now);
        let (count, logged) = (errors.len(), first(&errors));
        let texts = errors.into_iter().map(|error| error.text).collect();
        if self.running.refuse(texts, now) {
            tracing::error!(
                errors = count,
                error = logged,
                "cannot use the files of the sources; the previous sources stay in use"
            );
        }
    }
}

impl SetAttempt {
    fn read(config: &Config, used: Option<SourcesDigest>, wall_time: Timestamp) -> Self {
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
        match LoadedSet::load(set) {
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

fn first(errors: &[SetError]) -> String {
    let logged = errors.iter().take(LOGGED_ERRORS_MAX);
    let logged: Vec<&str> = logged.map(|error| error.logged.as_str()).collect();
    logged.join("; ")
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
