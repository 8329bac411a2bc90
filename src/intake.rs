//! Intake turns the bytes and headers of one request into entries for the outbox, the durable queue of the bridge, or
//! into a [`Rejection`].
//!
//! The stages of intake run in this order: encoding, event type, schema, mapping, version, foreign address. Intake runs
//! the stages for every event of the request, even if another event has an error, so a rejection lists the errors of
//! all events. Intake accepts or rejects a batch as a whole, unless the source parks its invalid events. The function [`Sources::explain_body`] runs the same
//! stages and stores nothing, so an explanation shows the result that the same request would have.
//!
//! Intake is pure: the time and the digest key are arguments. The module `intake` does not know HTTP types,
//! authentication or the engine of the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::schema::Schema;
use crate::event::SourceName;
use crate::imprint::clearing::Clearing;

pub mod comparison;
pub mod coverage;
pub mod examples;
pub mod schema;

mod body_places;
mod brake;
mod card_number;
mod correction;
mod customer_ids;
mod digest;
mod encoding;
mod explain;
mod explained_body;
mod explanation;
mod invalid;
mod kept;
mod message;
mod pipeline;
mod rejection;
mod remap;
mod source;
mod stated_fields;
mod stored;
mod undecoded;
mod unknown_type;
mod value_note;

pub use brake::{
    BRAKE_CUSTOMERS_MAX, BRAKE_OPEN_MAX, BrakeCounts, BrakeLimits, BrakePolicy, BrakeRule,
    BrakeState, CountedEntry, HeldChange, Holding, MassChange, OpenBrakes, PassedChanges,
    PassedEvents,
};
pub use correction::CorrectedEvent;
pub use encoding::Encoding;
pub use explain::EntryEvent;
pub use explanation::{
    EventExplanation, ExplainedOutcome, ExplainedProblem, Explanation, RequestExplanation,
    RequestPreview, TargetExplanation, TargetResult,
};
pub use invalid::park_conflict;
pub use kept::KeptParts;
pub use message::RequestMessage;
pub use pipeline::{EntryContext, MappedBody};
pub use rejection::{Rejection, RejectionClass};
pub use remap::{MappedAgain, StoredVersion};
pub use source::{
    CardNumberPolicy, EventType, InvalidEventPolicy, Source, StoredParts, TypeHandling,
};
pub use stated_fields::{MappedFields, StatedField};

/// The settings of intake. The file `config/default.toml` contains the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeSettings {
    /// The maximum number of events in one request body.
    pub batch_events_max: usize,
    /// The maximum time by which a version can be later than now. This limit applies only to versions that are times.
    ///
    /// Without this limit, a version with a wrong year would make all other values of the field stale until that year.
    pub version_ahead_max: Duration,
    /// The action for an event with an address outside the USA.
    pub foreign_address: ForeignAddress,
    /// The value that a request to Imprint has for a cleared field. Intake uses this setting only for explanations.
    pub clearing: Clearing,
}

/// The action of intake for an event with an address outside the USA. Imprint's address fields at the top level of an
/// update, such as `city`, state no country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignAddress {
    /// The bridge parks the event.
    Park,
    /// The bridge sends the update without the address fields at the top level.
    Skip,
}

/// All configured sources, with the intake settings that apply to every source.
#[derive(Debug)]
pub struct Sources {
    by_name: BTreeMap<SourceName, Arc<Source>>,
    settings: IntakeSettings,
}

impl Sources {
    /// Creates the set of all sources, sorted by name.
    pub fn new(sources: impl IntoIterator<Item = Arc<Source>>, settings: IntakeSettings) -> Self {
        let named = |source: Arc<Source>| (source.name.clone(), source);
        Self {
            by_name: sources.into_iter().map(named).collect(),
            settings,
        }
    }

    /// Returns the schemas of all sources, by name.
    pub fn schemas(&self) -> BTreeMap<String, Arc<Schema>> {
        let sources = self.by_name.values();
        let event_types = sources.flat_map(|source| source.event_types.values());
        let named = |event_type: &EventType| {
            let schema = &event_type.schema;
            (schema.name().to_owned(), Arc::clone(schema))
        };
        event_types.map(named).collect()
    }

    /// Returns a set with one source. It accepts at most `events_max` events in one body.
    #[must_use]
    pub fn only(&self, source: Arc<Source>, events_max: usize) -> Self {
        let settings = IntakeSettings {
            batch_events_max: self.settings.batch_events_max.min(events_max),
            ..self.settings
        };
        Self::new([source], settings)
    }

    /// Returns the source with this name.
    pub fn get(&self, name: &SourceName) -> Option<&Arc<Source>> {
        self.by_name.get(name)
    }
}

#[cfg(test)]
mod tests;
