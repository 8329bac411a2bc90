//! The events of a plain JSON body, and the parts of a body that are no events.

use std::fmt;

use serde_json::Value;

use crate::event::EventError;

/// One event of a plain JSON body.
#[derive(Clone, PartialEq)]
pub struct JsonEvent {
    pub id: String,
    pub event_type: String,
    /// The time of the change, if the event has a time. The JSON envelope does not check the format of the time.
    pub time: Option<String>,
    /// The JSON of the event, as the source sent it.
    pub data: Value,
}

/// Prints only the type name, never the data, because the data is personal data.
impl fmt::Debug for JsonEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonEvent").finish_non_exhaustive()
    }
}

/// A part of a plain JSON body from which the bridge cannot read an event.
#[derive(Clone, PartialEq)]
pub struct UnreadEvent {
    /// The part of the body.
    pub data: Value,
    pub errors: Vec<EventError>,
}

/// Prints no data, because the data of an event can be personal.
impl fmt::Debug for UnreadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadEvent").finish_non_exhaustive()
    }
}
