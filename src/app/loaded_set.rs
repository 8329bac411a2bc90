//! A set of sources whose files and secrets the bridge has read, and does not use yet.

use super::secrets::{LoadedAuth, WatchedSource};
use super::source_order::SourceOrders;
use crate::config::Profile;
use crate::config::source_set::SourceSet;
use crate::config::sources::{SourceFiles, SourceSettings};
use crate::time::Timestamp;

/// A set of sources whose secrets the bridge has read.
pub(super) struct LoadedSet {
    pub(super) files: Option<SourceFiles>,
    pub(super) sources: Vec<(SourceSettings, LoadedAuth)>,
    pub(super) drafts: Vec<String>,
}

impl LoadedSet {
    /// Reads the secret files of all sources of a set. A file of a source in use keeps its state. `orders` are the orders of
    /// the earlier events.
    ///
    /// # Errors
    /// Returns a sentence for each source whose secrets cannot be used, and for each source in use whose file is now a
    /// draft, and for each source whose file gives its events another order. The bridge would answer the senders of a draft with 404.
    pub(super) fn load(
        set: SourceSet,
        profile: Profile,
        (used, orders): (&[WatchedSource], &SourceOrders),
        now: Timestamp,
    ) -> Result<Self, Vec<String>> {
        let mut sources = Vec::new();
        let is_used = |name: &&String| used.iter().any(|source| source.is_named(name));
        let stopped = set.drafts.iter().filter(is_used);
        let mut errors: Vec<String> = stopped.map(|name| stops_source(name)).collect();
        for settings in set.sources {
            let name = settings.source.name.as_str();
            let earlier = used.iter().find(|source| source.is_named(name));
            errors.extend(orders.errors(&settings.source));
            match LoadedAuth::of(&settings, profile, earlier, now) {
                Ok(loaded) => sources.push((settings, loaded)),
                Err(error) => errors.push(format!("source {name}: {error}")),
            }
        }
        let loaded = Self {
            files: set.files.ok(),
            sources,
            drafts: set.drafts,
        };
        errors.is_empty().then_some(loaded).ok_or(errors)
    }

    /// Returns the orders that the files give to the events.
    pub(super) fn orders(&self) -> SourceOrders {
        SourceOrders::of(self.sources.iter().map(|(settings, _)| settings))
    }
}

/// Returns the error of a draft in the place of a source in use.
fn stops_source(name: &str) -> String {
    format!(
        "source {name}: the bridge uses this source, and its file is now a draft: remove the line draft = true, or remove the file to stop the source"
    )
}
