//! Intake turns the bytes and headers of one request into entries for the outbox, or into a [`Rejection`].
//!
//! The stages run in one order: encoding, event type, schema, mapping, version, foreign address. Every stage looks at all
//! events of the request, so that a rejection lists every error of every event. A batch is accepted or rejected as a
//! whole. [`Sources::explain_body`] runs the same stages and stores nothing, so it shows what a request would do.
//!
//! Everything here is pure: the time and the digest key are arguments. Nothing here knows HTTP types, authentication or
//! the engine of the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::event::SourceName;
use crate::imprint::clearing::Clearing;

pub mod coverage;
pub mod examples;
pub mod schema;

mod digest;
mod encoding;
mod explain;
mod explanation;
mod pipeline;
mod rejection;
mod source;

pub use encoding::Encoding;
pub use explain::EntryEvent;
pub use explanation::{
    EventExplanation, ExplainedOutcome, ExplainedProblem, Explanation, RequestExplanation,
    RequestPreview, TargetExplanation, TargetResult,
};
pub use pipeline::EntryContext;
pub use rejection::{Rejection, RejectionClass};
pub use source::{EventType, Source};

/// The settings of intake. The defaults are in `config/default.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeSettings {
    /// The maximum number of events in one body.
    pub batch_events_max: usize,
    /// How far a version that is a time may lie in the future. One wrong year would block a field until then.
    pub version_ahead_max: Duration,
    /// What happens to an address outside the USA.
    pub foreign_address: ForeignAddress,
    /// What a request sends for a cleared field. Only explanations use it.
    pub clearing: Clearing,
}

/// What intake does with an event whose flat address is known to be outside the USA: Imprint's flat address has no country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignAddress {
    /// The event is parked.
    Park,
    /// The event is sent without its address.
    Skip,
}

/// All configured sources, with the settings that every one of them obeys.
#[derive(Debug)]
pub struct Sources {
    by_name: BTreeMap<SourceName, Arc<Source>>,
    settings: IntakeSettings,
}

impl Sources {
    /// Puts the sources in the order of their names.
    pub fn new(sources: impl IntoIterator<Item = Arc<Source>>, settings: IntakeSettings) -> Self {
        let named = |source: Arc<Source>| (source.name.clone(), source);
        Self {
            by_name: sources.into_iter().map(named).collect(),
            settings,
        }
    }

    /// Returns the source of this name.
    pub fn get(&self, name: &SourceName) -> Option<&Arc<Source>> {
        self.by_name.get(name)
    }
}

#[cfg(test)]
mod tests;
