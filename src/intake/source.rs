//! A source: a system that sends events of one or more types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::schema::Schema;
use crate::event::SourceName;
use crate::mapping::{JsonEnvelope, Mapping};

/// The name of the member of an event that contains the data from the source.
const DATA: &str = "data";
/// A JSON Pointer to the member of an event that contains the data from the source.
const DATA_POINTER: &str = "/data";

/// A system that sends events. The source file configures the source.
#[derive(Debug)]
pub struct Source {
    /// The name of the source. The source file has this name plus `.toml`, and the URL of the source contains this
    /// name.
    pub name: SourceName,
    /// The expressions for id, type and time in a body of plain JSON. The value is `None` if the source sends
    /// CloudEvents.
    pub json_envelope: Option<JsonEnvelope>,
    /// The event types that the source maps to customer changes.
    pub event_types: BTreeMap<String, EventType>,
    /// The event types that the bridge accepts and ignores. The source need not filter out events of these types.
    pub ignored: BTreeSet<String>,
}

/// One event type of a source, with its schema and its mapping.
pub struct EventType {
    /// The schema that an event of this type must match.
    pub schema: Schema,
    /// The mapping rules that turn an event into a change of one customer.
    pub mapping: Mapping,
    /// The epoch of the source's version counter. When a source restarts its counter, an operator raises the epoch.
    pub epoch: u32,
    /// The limit for the distance between the version of an event and the other versions of the same fields, at Imprint
    /// or in waiting entries. The value is `None` if the versions are not sequence numbers.
    pub jump_max: Option<u64>,
}

impl Source {
    /// Returns the part of an event that the schema and the mapping read.
    ///
    /// For plain JSON, this part is the event's data: the whole JSON that the source sent. For CloudEvents, this part
    /// is the whole envelope.
    pub(super) fn view<'e>(&self, envelope: &'e Value) -> &'e Value {
        match self.json_envelope {
            Some(_) => envelope.get(DATA).unwrap_or(&Value::Null),
            None => envelope,
        }
    }

    /// Returns a JSON Pointer to the source's data inside the result of [`Source::view`].
    pub(super) const fn data_pointer(&self) -> &'static str {
        match self.json_envelope {
            Some(_) => "",
            None => DATA_POINTER,
        }
    }
}

/// Prints only the epoch. Schemas and mappings are long, and the map of the event types has the name of each event
/// type.
impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
