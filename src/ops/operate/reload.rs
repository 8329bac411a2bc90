//! The use cases for the set of sources: show the set in use, and reload the files of the sources at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{BrakeView, Error, Operations, Operator, Reason, Role};
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

    /// Reads the files of the sources, and uses them if they have no error.
    fn reload(&self) -> BoxFuture<'static, Result<ReloadResult, ReloadFailure>>;

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
        match tokio::time::timeout(RELOAD_DEADLINE, self.sources.reload()).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(ReloadFailure::Changing)) => Err(Error::SourcesChanging),
            Ok(Err(ReloadFailure::Stopping)) => Err(Error::Stopping),
            Err(_elapsed) => Err(Error::SourcesHang),
        }
    }
}
