//! A source: a system that sends events of one or more types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::schema::Schema;
use crate::event::{Attribute, SourceName};
use crate::mapping::{JsonEnvelope, Mapping};

/// The name of the event member with the data that the source sent.
const DATA: &str = "data";
/// The place of the event member with the data, as a JSON Pointer.
const DATA_POINTER: &str = "/data";

/// A system that sends events, as the configuration file of the source describes it.
#[derive(Debug)]
pub struct Source {
    /// The name of the source: the name of its file without the ending, and the path segment of the source's URL.
    pub name: SourceName,
    /// The expressions for id, type and time in a body of plain JSON; `None` if the source sends CloudEvents.
    pub json_envelope: Option<JsonEnvelope>,
    /// The event types that the source maps to customer changes.
    pub event_types: BTreeMap<String, EventType>,
    /// The event types that the bridge accepts and ignores, so that the source need not filter its events.
    pub ignored: BTreeSet<String>,
}

/// One event type of a source, with its schema and its mapping.
pub struct EventType {
    /// The schema that an event of this type must match.
    pub schema: Schema,
    /// The mapping rules that turn an event into a change of one customer.
    pub mapping: Mapping,
    /// The epoch of the source's version counter. The operator raises the epoch when the source restarts the counter.
    pub epoch: u32,
}

impl Source {
    /// Returns the part of an event that schema and mapping read. For plain JSON, the part is the data, which is the
    /// whole JSON that the source sent. For CloudEvents, the part is the whole envelope.
    pub(super) fn view<'e>(&self, envelope: &'e Value) -> &'e Value {
        match self.json_envelope {
            Some(_) => envelope.get(DATA).unwrap_or(&Value::Null),
            None => envelope,
        }
    }

    /// Returns the place of the source's data inside [`Source::view`], as a JSON Pointer.
    pub(super) const fn data_pointer(&self) -> &'static str {
        match self.json_envelope {
            Some(_) => "",
            None => DATA_POINTER,
        }
    }

    /// Returns whether the customer and the version of an event come only from the event's data. Returns true for an
    /// event type without a mapping.
    #[must_use]
    pub fn identifies_by_data_only(&self, event_type: &Attribute) -> bool {
        let event_type = self.event_types.get(event_type.as_str());
        event_type.is_none_or(|event_type| event_type.mapping.identifies_by_data_only())
    }
}

/// Prints only the epoch. Schemas and mappings are long, and the name of the event type is the key of the map that
/// contains the event type.
impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
