//! The use cases for the set of sources: show the set in use, and reload the files of the sources at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{BrakeView, Error, Operations, Operator, Reason, Role, SecretFileView};
use crate::event::SourceName;
use crate::intake::schema::Schema;
use crate::intake::{OpenBrakes, Source, Sources};
use crate::time::Timestamp;

/// The time limit of a reload. The command line waits a little longer for the answer of the admin API.
const RELOAD_DEADLINE: Duration = Duration::from_secs(45);

/// The sources that the bridge uses now. The bridge replaces them when their files change.
pub trait LiveSources: Send + Sync {
    /// Returns the sources in use.
    fn sources(&self) -> Arc<Sources>;

    /// Returns the text of the file of a source in use, or `None` if the text is too long for a try-out.
    fn text(&self, source: &SourceName) -> Option<Arc<str>>;

    /// Compiles an edited text of the file of a source, with these schemas, for a try-out.
    ///
    /// # Errors
    /// Returns the errors of the text.
    fn read_text(
        &self,
        source: &SourceName,
        text: &str,
        schemas: &BTreeMap<String, Arc<Schema>>,
    ) -> Result<Arc<Source>, Vec<String>>;

    /// Describes the set of sources in use.
    fn set(&self) -> SetView;

    /// Returns the last changes of the files, the newest first.
    fn reloads(&self) -> Vec<ReloadView>;

    /// Reads the files of the sources for an operator, and uses them if they have no error.
    fn reload(&self, operator: &str) -> BoxFuture<'static, Result<ReloadResult, ReloadFailure>>;

    /// Returns the secret files of a source in use.
    fn secret_files(&self, source: &str) -> Vec<SecretFileView>;

    /// Returns the mass-change brakes of the sources in use, sorted by source.
    fn brakes(&self, now: Timestamp) -> Vec<BrakeView>;

    /// Opens the brakes of the sources in use that operators have opened, and closes the others.
    fn set_open_brakes(&self, open: &OpenBrakes);
}

/// The set of sources in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    /// The digest of the files. `None` if the bridge cannot look at the files.
    pub digest: Option<String>,
    /// The time since which the bridge uses the set.
    pub since: Timestamp,
    /// The names of the sources.
    pub names: Vec<String>,
    /// The newer files that the bridge does not use, if there are any.
    pub refused: Option<RefusedSet>,
}

/// Newer files of the sources that have errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSet {
    pub since: Timestamp,
    pub errors: Vec<String>,
}

/// The names of the sources that differ between two sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetChanges {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

/// A change of the files of the sources that the bridge has used or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadView {
    pub at: Timestamp,
    pub trigger: ReloadTrigger,
    /// The digest of the files of the previous set, if the bridge knows it.
    pub before: Option<String>,
    /// The digest of the changed files, if the bridge knows it.
    pub after: Option<String>,
    pub effect: ReloadEffect,
}

/// The reason why the bridge has read changed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadTrigger {
    /// The bridge looks at the files every few seconds.
    Watcher,
    /// Somebody sent SIGHUP to the process.
    Signal,
    /// The operator with this name asked for a reload.
    Operator(String),
}

/// The effect of changed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadEffect {
    /// The bridge uses the files since then.
    Used {
        changes: SetChanges,
        /// The changed lines of the source files.
        files: Vec<ChangedFile>,
    },
    /// The files have these errors, so the bridge goes on with the previous set.
    Refused(Vec<String>),
}

/// The lines of a source file that differ between two sets. The bridge shows no comments: see the try-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    pub source: String,
    pub lines: Vec<ChangedLine>,
    /// The number of further changed lines.
    pub left_out: usize,
}

/// A line that only one of two files has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedLine {
    /// True for a line of the present file, false for a line of the previous one.
    pub is_new: bool,
    /// The number of the line in its file, from 1.
    pub number: usize,
    pub text: String,
}

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// The bridge uses the new files.
    Reloaded(SetChanges),
    /// The files are the files of the set in use.
    Unchanged,
    /// The new files have these errors. The bridge still uses the previous set.
    Refused(Vec<String>),
}

/// The reason why a reload has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadFailure {
    /// The files changed while the bridge read them.
    Changing,
    /// The bridge stops.
    Stopping,
}

impl Operations {
    /// Describes the set of sources in use.
    pub fn source_set(&self, _operator: &Operator) -> SetView {
        self.sources.set()
    }

    /// Returns the last changes of the files of the sources, the newest first.
    pub fn reloads(&self, _operator: &Operator) -> Vec<ReloadView> {
        self.sources.reloads()
    }

    /// Reads the files of the sources at once, and uses them if they have no error.
    ///
    /// # Errors
    /// Returns an error if the files change at the same time or do not respond, if the bridge stops, or if the store
    /// fails.
    pub async fn reload(
        &self,
        operator: &Operator,
        reason: Option<Reason>,
    ) -> Result<ReloadResult, Error> {
        operator.require(Role::Operator)?;
        let mut event = self.audit_event(operator, "reload", "sources".to_owned());
        event.reason = reason.map(Reason::into_text);
        self.outbox.append_audit(event).await?;
        match tokio::time::timeout(RELOAD_DEADLINE, self.sources.reload(&operator.name)).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(ReloadFailure::Changing)) => Err(Error::SourcesChanging),
            Ok(Err(ReloadFailure::Stopping)) => Err(Error::Stopping),
            Err(_elapsed) => Err(Error::SourcesHang),
        }
    }
}
