//! The encoding of a request: CloudEvents in one of three modes, or plain JSON. For plain JSON, the source file has the
//! expressions for id and type.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::body_places::BodyPlaces;
use super::message::RequestMessage;
use super::rejection::{Rejection, RejectionClass};
use super::source::Source;
use crate::event::cloudevents::{self, ContentMode, Decoded, HttpMessage};
use crate::event::{Attribute, ChangeEvent, EventError, Identity, RequestHeaders, SourceName};
use crate::mapping::{
    BUDGET_RULE, EnvelopeAttribute, JsonEnvelope, JsonEvent, UnreadEvent, time_advice,
};
use crate::time::rfc3339;

/// The encoding of the events in a request.
pub enum Encoding<'a> {
    /// CloudEvents. In binary mode, the request headers contain the attributes of the event.
    CloudEvents {
        /// The content mode: structured, batch or binary.
        mode: ContentMode,
        /// The media type of the request body.
        content_type: &'a str,
        /// The headers of the request, as pairs of name and value.
        headers: Vec<(&'a str, &'a [u8])>,
    },
    /// Plain JSON, with the compiled expressions for id, type and time.
    Json(&'a JsonEnvelope),
}

/// Prints only the content mode, because the headers can contain event attributes.
impl std::fmt::Debug for Encoding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CloudEvents { mode, .. } => f.debug_tuple("CloudEvents").field(mode).finish(),
            Self::Json(_) => f.write_str("Json"),
        }
    }
}

/// The events of one body.
pub(super) struct DecodedBody {
    /// The events, or the errors of each event that the bridge cannot decode.
    pub(super) events: Decoded,
    /// The plain JSON events that the bridge cannot decode, as the source sent them, by their positions in `events`.
    pub(super) unread: BTreeMap<usize, Value>,
}

impl DecodedBody {
    const fn of(events: Decoded) -> Self {
        Self {
            events,
            unread: BTreeMap::new(),
        }
    }
}

impl<'a> Encoding<'a> {
    /// Returns the encoding that the headers of a request announce. Reads the argument `headers` only for CloudEvents.
    ///
    /// Returns `None` if the source is not configured for bodies of this media type.
    pub fn of_request(
        source: &'a Source,
        content_type: &'a str,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Option<Self> {
        if let Some(envelope) = &source.json_envelope {
            return cloudevents::is_plain_json(content_type).then_some(Self::Json(envelope));
        }
        let headers: Vec<_> = headers.collect();
        let mode = ContentMode::of(content_type, &headers)?;
        Some(Self::CloudEvents {
            mode,
            content_type,
            headers,
        })
    }

    /// Returns the encoding of a body without headers, such as a file. Such a body is never in binary mode.
    pub fn of_body(source: &'a Source, body: &[u8]) -> Self {
        if let Some(envelope) = &source.json_envelope {
            return Self::Json(envelope);
        }
        let is_batch = body.trim_ascii_start().starts_with(b"[");
        Self::CloudEvents {
            mode: if is_batch {
                ContentMode::Batch
            } else {
                ContentMode::Structured
            },
            content_type: "",
            headers: Vec::new(),
        }
    }

    /// Returns the request headers in binary mode, because these headers contain the attributes of the event.
    pub fn attribute_headers(&self) -> Option<&[(&'a str, &'a [u8])]> {
        match self {
            Self::CloudEvents {
                mode: ContentMode::Binary,
                headers,
                ..
            } => Some(headers),
            Self::CloudEvents {
                mode: ContentMode::Structured | ContentMode::Batch,
                ..
            }
            | Self::Json(_) => None,
        }
    }

    /// Decodes the events of a body. The events keep the order that they have in the body. `places` has the places of the
    /// events in the body.
    pub(super) fn decode(
        &self,
        source: &SourceName,
        message: RequestMessage<'_>,
        places: &BodyPlaces<'_>,
    ) -> Result<DecodedBody, Rejection> {
        let events_max = places.events_max();
        let body = message.body;
        let decoded = match self {
            Self::CloudEvents {
                mode,
                content_type,
                headers,
            } => {
                let http = HttpMessage {
                    mode: *mode,
                    headers,
                    content_type,
                    body,
                };
                cloudevents::decode(source, http, events_max).map(DecodedBody::of)
            }
            Self::Json(envelope) => decode_json(envelope, source, message, places),
        };
        decoded.map_err(|errors| {
            // A body on which the expression `body.split` exceeds its budget is not malformed: the bridge can parse the
            // body.
            let breaks = |rule: &str| errors.iter().any(|error| error.rule == rule);
            let class = if breaks(BUDGET_RULE) {
                RejectionClass::Unmappable
            } else if breaks(cloudevents::BATCH_SIZE) {
                RejectionClass::TooManyEvents
            } else {
                RejectionClass::Malformed
            };
            Rejection::new(class, errors)
        })
    }
}

impl Encoding<'_> {
    /// Returns the events of a body of CloudEvents as the source sent them, for the events that the bridge cannot decode. The
    /// list has the order of [`Self::decode`].
    pub(super) fn undecoded(&self, message: RequestMessage<'_>) -> Vec<Value> {
        let Self::CloudEvents {
            mode,
            content_type,
            headers,
        } = self
        else {
            return Vec::new();
        };
        match (mode, cloudevents::parse(message.body)) {
            (ContentMode::Binary, data) => {
                vec![cloudevents::binary_parts(headers, content_type, data.ok())]
            }
            (_, Err(_errors)) => Vec::new(),
            (ContentMode::Batch, Ok(Value::Array(events))) => events,
            (ContentMode::Structured | ContentMode::Batch, Ok(event)) => vec![event],
        }
    }
}

fn decode_json(
    envelope: &JsonEnvelope,
    source: &SourceName,
    message: RequestMessage<'_>,
    places: &BodyPlaces<'_>,
) -> Result<DecodedBody, Vec<EventError>> {
    let events_max = places.events_max();
    let body = cloudevents::parse(message.body)?;
    let events = envelope.events(body, message.headers, events_max)?;
    if events.len() > events_max {
        return Err(vec![cloudevents::too_many_events(events_max)]);
    }
    let mut unread = BTreeMap::new();
    let mut decoded = |(index, event): (usize, Result<JsonEvent, UnreadEvent>)| {
        let event = event.and_then(|event| json_event((envelope, message.headers), source, event));
        event.map_err(|event| {
            unread.insert(index, event.data);
            places.locate(index, event.errors)
        })
    };
    let events = events.into_iter().enumerate().map(&mut decoded).collect();
    Ok(DecodedBody { events, unread })
}

/// Builds the stored form of a plain JSON event: id, type, time and data. The stored event has no CloudEvents `source`.
pub(super) fn json_event(
    (rules, headers): (&JsonEnvelope, &RequestHeaders),
    source: &SourceName,
    event: JsonEvent,
) -> Result<ChangeEvent, UnreadEvent> {
    let JsonEvent {
        id: id_text,
        event_type: type_text,
        time,
        data,
    } = event;
    let mut errors = Vec::new();
    let place = |attribute| rules.place_of(attribute, &data, headers);
    let mut attribute = |name: &str, attribute: EnvelopeAttribute, text: &str| {
        let detail = cloudevents::ATTRIBUTE;
        Attribute::parse(text)
            .map_err(|_invalid| errors.push(error(name, "attribute", place(attribute), detail)))
            .ok()
    };
    let id = attribute("id", EnvelopeAttribute::Id, &id_text);
    let event_type = attribute("type", EnvelopeAttribute::Type, &type_text);
    if let Some(time) = time.as_deref()
        && rfc3339::date_time(time).is_none()
    {
        let place = place(EnvelopeAttribute::Time);
        errors.push(error("time", "rfc3339", place, time_advice(time)));
    }
    let (Some(id), Some(event_type), true) = (id, event_type, errors.is_empty()) else {
        return Err(UnreadEvent { data, errors });
    };
    let mut envelope = Map::new();
    envelope.insert("id".to_owned(), Value::String(id_text));
    envelope.insert("type".to_owned(), Value::String(type_text));
    envelope.extend(time.map(|time| ("time".to_owned(), Value::String(time))));
    envelope.insert("data".to_owned(), data);
    Ok(ChangeEvent {
        identity: Identity {
            source: source.clone(),
            ce_source: None,
            id,
        },
        event_type,
        envelope: Value::Object(envelope),
    })
}

/// Creates the error of an event that breaks a rule of the `[body]` table in the source file.
fn error(rule_name: &str, rule: &str, pointer: String, detail: &str) -> EventError {
    EventError {
        pointer,
        rule: rule.to_owned(),
        location: format!("body.{rule_name}"),
        detail: detail.to_owned(),
    }
}
