//! A source: a system that sends events of one or more types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::kept::KeptParts;
use super::schema::Schema;
use crate::event::{Attribute, RequestHeaders, SourceName};
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
    /// The event types that the source maps to customer changes. A name that ends with `*` stands for all event types
    /// that begin with the text before the `*`.
    pub event_types: BTreeMap<String, EventType>,
    /// The event types that the bridge accepts and ignores. The source need not filter out events of these types. A
    /// name can end with `*`, as in `event_types`.
    pub ignored: BTreeSet<String>,
    /// The action for an invalid event.
    pub invalid_events: InvalidEventPolicy,
    /// The parts of an event that the store keeps.
    pub stored_parts: StoredParts,
    /// The action for an event with the number of a payment card in a part that the store keeps.
    pub card_numbers: CardNumberPolicy,
}

/// The action of intake for an invalid event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvalidEventPolicy {
    /// The bridge refuses the whole body.
    #[default]
    RefuseBody,
    /// The bridge parks the invalid event, and stores the valid events of the body.
    Park,
}

/// The parts of an event that the store keeps until the entry of the event ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredParts {
    /// The store keeps the parts that the schema describes, and the parts that the expressions of the source can read.
    #[default]
    Described,
    /// The store keeps the whole event.
    All,
}

/// The action of intake for an event with the number of a payment card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardNumberPolicy {
    /// The bridge refuses the event. If the source parks its invalid events, the bridge parks the event without the
    /// members that contain the number.
    #[default]
    Refuse,
    /// The bridge does not look for card numbers.
    Keep,
}

/// The way in which a source handles the events of one type.
#[derive(Clone, Copy, Debug)]
pub enum TypeHandling<'a> {
    /// The source maps the events. `name` is the key of the event type in the source file.
    Mapped {
        name: &'a str,
        event_type: &'a EventType,
    },
    /// The bridge accepts and ignores the events.
    Ignored,
    /// The source file does not contain the event type.
    Unknown,
}

/// One event type of a source, with its schema and its mapping.
pub struct EventType {
    /// The schema that an event of this type must match.
    pub schema: Arc<Schema>,
    /// The mapping rules that turn an event into a change of one customer.
    pub mapping: Mapping,
    /// The parts of an event that the store keeps, unless the source keeps whole events.
    pub kept: KeptParts,
    /// The epoch of the source's version counter. When a source restarts its counter, an operator raises the epoch.
    pub epoch: u32,
    /// The limit for the distance between the version of an event and the other versions of the same fields, at Imprint
    /// or in waiting entries. The value is `None` if the versions are not sequence numbers.
    pub jump_max: Option<u64>,
}

impl EventType {
    /// Creates an event type with the epoch 0 and without a limit for its versions. `envelope` is the table `[body]` of a
    /// source that sends plain JSON.
    pub fn new(
        schema: impl Into<Arc<Schema>>,
        mapping: Mapping,
        envelope: Option<&JsonEnvelope>,
    ) -> Self {
        let schema = schema.into();
        Self {
            kept: KeptParts::compile(&schema, &mapping, envelope),
            schema,
            mapping,
            epoch: 0,
            jump_max: None,
        }
    }
}

impl Source {
    /// Returns how the source handles the events of a type. A complete name wins over a name with `*`, and a longer
    /// name with `*` wins over a shorter one. If the source file maps and ignores the same name, the mapping wins.
    pub fn handling(&self, event_type: &str) -> TypeHandling<'_> {
        if let Some((name, event_type)) = self.event_types.get_key_value(event_type) {
            return TypeHandling::Mapped { name, event_type };
        }
        if self.ignored.contains(event_type) {
            return TypeHandling::Ignored;
        }
        let mapped = longest(self.event_types.keys(), event_type);
        let ignored = longest(self.ignored.iter(), event_type);
        let mapped = mapped.filter(|name| ignored.is_none_or(|other| name.len() >= other.len()));
        match mapped.and_then(|name| self.event_types.get_key_value(name)) {
            Some((name, event_type)) => TypeHandling::Mapped { name, event_type },
            None if ignored.is_some() => TypeHandling::Ignored,
            None => TypeHandling::Unknown,
        }
    }

    /// Returns the event type of the source file that maps the events of a type, with its key in the source file.
    pub fn mapped(&self, event_type: &str) -> Option<(&str, &EventType)> {
        match self.handling(event_type) {
            TypeHandling::Mapped { name, event_type } => Some((name, event_type)),
            TypeHandling::Ignored | TypeHandling::Unknown => None,
        }
    }

    /// Returns the names of the request headers that the expressions of the source read, in lower case.
    pub fn read_headers(&self) -> BTreeSet<String> {
        let of_types = self.event_types.values();
        let mut names: BTreeSet<String> = of_types
            .flat_map(|event_type| event_type.mapping.headers())
            .cloned()
            .collect();
        names.extend(
            self.json_envelope
                .iter()
                .flat_map(JsonEnvelope::headers)
                .cloned(),
        );
        names
    }

    /// Returns the headers of a request that the mapping of an event reads, in their stored form. The bridge needs them
    /// to map the event again.
    pub(super) fn kept_headers(
        &self,
        event_type: &Attribute,
        headers: &RequestHeaders,
    ) -> Option<Value> {
        let (_, event_type) = self.mapped(event_type.as_str())?;
        headers.to_json(event_type.mapping.headers())
    }

    /// Returns whether each event of the source has the ids of its customer as values, and no mapping computes them.
    pub fn copies_customer_ids(&self) -> bool {
        let mut types = self.event_types.values();
        types.all(|event_type| event_type.mapping.copies_customer_ids())
    }

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

    /// Returns the part of an event that the schema and the mapping read, like [`Source::view`].
    pub(super) fn view_mut<'e>(&self, envelope: &'e mut Value) -> Option<&'e mut Value> {
        match self.json_envelope {
            Some(_) => envelope.get_mut(DATA),
            None => Some(envelope),
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

/// Returns the longest name with `*` at its end that stands for this event type.
fn longest<'a>(names: impl Iterator<Item = &'a String>, event_type: &str) -> Option<&'a str> {
    let stands_for = |name: &&String| {
        let start = name.strip_suffix('*');
        start.is_some_and(|start| event_type.starts_with(start))
    };
    let longest = names.filter(stands_for).max_by_key(|name| name.len());
    longest.map(String::as_str)
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
