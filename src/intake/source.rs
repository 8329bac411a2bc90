//! A source: a system that sends events, with its event types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::schema::Schema;
use crate::event::{Attribute, SourceName};
use crate::mapping::{JsonEnvelope, Mapping};

/// The member of an event that carries what the source sent.
const DATA: &str = "data";
/// The place of that member, as a JSON Pointer.
const DATA_POINTER: &str = "/data";

/// A system that sends events, as its file describes it.
#[derive(Debug)]
pub struct Source {
    /// The name of the file without its ending, and the path segment that the source posts to.
    pub name: SourceName,
    /// The expressions for id, type and time in a body of plain JSON; `None` if the bodies are CloudEvents.
    pub json_envelope: Option<JsonEnvelope>,
    /// The event types that are mapped.
    pub event_types: BTreeMap<String, EventType>,
    /// Event types that are accepted and end as ignored, so that the source need not filter.
    pub ignored: BTreeSet<String>,
}

/// One event type of a source: its schema and its mapping.
pub struct EventType {
    /// The shape that an event must have.
    pub schema: Schema,
    /// The rules that turn an event into a change of one customer.
    pub mapping: Mapping,
    /// Raised by the operator when the source restarts its counter.
    pub epoch: u32,
}

impl Source {
    /// Returns the part of an event that schema and mapping read. For plain JSON this is the data, which is all that
    /// the source sent. For CloudEvents this is the whole envelope.
    pub(super) fn view<'e>(&self, envelope: &'e Value) -> &'e Value {
        match self.json_envelope {
            Some(_) => envelope.get(DATA).unwrap_or(&Value::Null),
            None => envelope,
        }
    }

    /// Returns the place inside [`Source::view`] that holds what the source sent, as a JSON Pointer.
    pub(super) const fn data_pointer(&self) -> &'static str {
        match self.json_envelope {
            Some(_) => "",
            None => DATA_POINTER,
        }
    }

    /// Returns whether customer and version of an event of this type come from its data only. True for a type without a
    /// mapping.
    #[must_use]
    pub fn identifies_by_data_only(&self, event_type: &Attribute) -> bool {
        let event_type = self.event_types.get(event_type.as_str());
        event_type.is_none_or(|event_type| event_type.mapping.identifies_by_data_only())
    }
}

/// Prints only the epoch: schemas and mappings are long, and the type's name is the key of the map that contains the
/// type.
impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
