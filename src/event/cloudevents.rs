//! Decodes CloudEvents 1.0.2 over HTTP, and converts events in structured, batch and binary mode to the structured
//! form: one JSON object for each event.
//!
//! The decoder validates the CloudEvents attributes that the bridge uses: id, source, type, specversion, time, and the
//! encoding of the data. Extension attributes stay in the envelope unchanged, and the source's schema validates them.
//! The decoder gets request headers as pairs of name and value, and uses no other part of HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::event::{Attribute, ChangeEvent, EventError, Identity, SourceName, json};
use crate::time::rfc3339;

mod binary;

pub use binary::readable as binary_parts;

/// The `location` of an error if an event breaks a rule of CloudEvents.
const LOCATION: &str = "cloudevents";
/// The rule of a body that has too many events.
pub const BATCH_SIZE: &str = "batch_size";
/// The `location` of an error if a body breaks a strict JSON rule of [`json`].
const LOCATION_JSON: &str = "json";
/// The error text for an invalid event id, event type or CloudEvents `source`.
pub const ATTRIBUTE: &str = "The value must have 1 to 256 characters and no control characters.";
/// The error text for an invalid event time.
const TIME: &str = "The time must be an RFC 3339 date-time.";
/// The error text for a body that is no CloudEvents event.
const NO_CLOUD_EVENT: &str = "This attribute is required, because the source takes CloudEvents. Other JSON needs the table [body] with format = \"json\" in the source file.";
const SPECVERSION: &str = "1.0";
const DATA: &str = "data";
const DATA_BASE64: &str = "data_base64";
const DATACONTENTTYPE: &str = "datacontenttype";

/// The CloudEvents content mode of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    /// The body of the request is one event.
    Structured,
    /// The body of the request is an array of events.
    Batch,
    /// The body of the request is the data of one event. The `ce-` headers contain the attributes of the event.
    Binary,
}

impl ContentMode {
    /// Returns the CloudEvents content mode of a request. Returns `None` if the media type is neither a CloudEvents
    /// type nor JSON with `ce-` headers.
    pub fn of(content_type: &str, headers: &[(&str, &[u8])]) -> Option<Self> {
        let media_type = utf8_media_type(content_type)?;
        match media_type.as_str() {
            "application/cloudevents+json" => Some(Self::Structured),
            "application/cloudevents-batch+json" => Some(Self::Batch),
            other if is_json(other) && binary::has_attributes(headers) => Some(Self::Binary),
            _ => None,
        }
    }
}

/// The parts of an HTTP request from which the decoder reads events.
#[derive(Clone, Copy)]
pub struct HttpMessage<'a> {
    /// The CloudEvents content mode of the request.
    pub mode: ContentMode,
    /// The headers of the request, with names in upper or lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The media type of the request.
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Prints only the content mode, because headers and body are personal data.
impl std::fmt::Debug for HttpMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpMessage")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The decoded events of a request, in the order of the request. In place of an event that it cannot decode, the
/// decoder puts the errors of the event into the list.
pub type Decoded = Vec<Result<ChangeEvent, Vec<EventError>>>;

/// Decodes the CloudEvents of a request. A batch has at most `events_max` events. An empty batch is valid (JSON format
/// for CloudEvents 1.0.2, section 4.3).
///
/// # Errors
/// Returns the errors that concern the request as a whole.
pub fn decode(
    source: &SourceName,
    message: HttpMessage<'_>,
    events_max: usize,
) -> Result<Decoded, Vec<EventError>> {
    match message.mode {
        ContentMode::Structured => Ok(vec![structured(source, parse(message.body)?)]),
        ContentMode::Batch => batch(source, parse(message.body)?, events_max),
        ContentMode::Binary => {
            let data = match message.body {
                [] => None,
                body => Some(parse(body)?),
            };
            let envelope = binary::envelope(message.headers, message.content_type, data);
            let decoded = envelope.and_then(|envelope| structured(source, envelope));
            Ok(vec![decoded.map_err(binary::in_headers)])
        }
    }
}

/// Returns whether a header of this name contains an event attribute in binary mode.
#[must_use]
pub fn is_attribute(header: &str) -> bool {
    binary::attribute_name(header).is_some()
}

/// Returns the event attribute `name` from the headers of a binary-mode request. Returns `None` unless exactly one
/// header contains the attribute, as text.
pub fn header_attribute(headers: &[(&str, &[u8])], name: &str) -> Option<String> {
    binary::single_attribute(headers, name)
}

/// Adds the index of the event in the batch to the pointers of the errors.
#[must_use]
fn in_batch(index: usize, errors: Vec<EventError>) -> Vec<EventError> {
    let named = errors.into_iter().map(|error| EventError {
        pointer: format!("/{index}{}", error.pointer),
        ..error
    });
    named.collect()
}

/// Returns whether a media type is JSON in UTF-8 and not a CloudEvents type.
pub fn is_plain_json(content_type: &str) -> bool {
    is_json_text(content_type)
}

/// Parses a request body as strict JSON.
///
/// # Errors
/// Returns the first error in the body.
pub fn parse(body: &[u8]) -> Result<Value, Vec<EventError>> {
    json::parse(body).map_err(|error| {
        vec![EventError {
            pointer: String::new(),
            rule: error.rule.as_str().to_owned(),
            location: LOCATION_JSON.to_owned(),
            detail: format!(
                "At line {}, column {}: {}.",
                error.line,
                error.column,
                error.reason()
            ),
        }]
    })
}

/// Returns the error of a body that has more than `events_max` events.
pub fn too_many_events(events_max: usize) -> EventError {
    EventError {
        pointer: String::new(),
        rule: BATCH_SIZE.to_owned(),
        location: "ingress.batch_max".to_owned(),
        detail: format!(
            "The body has more than {events_max} events, the maximum that the setting ingress.batch_max allows."
        ),
    }
}

fn batch(source: &SourceName, body: Value, events_max: usize) -> Result<Decoded, Vec<EventError>> {
    let Value::Array(events) = body else {
        return Err(vec![error(
            "",
            "type",
            "A batch must be an array of events.",
        )]);
    };
    match events.len() {
        len if len > events_max => Err(vec![too_many_events(events_max)]),
        _ => Ok(events
            .into_iter()
            .enumerate()
            .map(|(index, event)| structured(source, event).map_err(|f| in_batch(index, f)))
            .collect()),
    }
}

fn structured(source: &SourceName, event: Value) -> Result<ChangeEvent, Vec<EventError>> {
    let Value::Object(mut envelope) = event else {
        return Err(vec![error("", "type", "An event must be an object.")]);
    };
    // In the JSON format of CloudEvents, a null attribute means "not set". In the member `data`, null is a value.
    envelope.retain(|name, value| name == DATA || !value.is_null());
    let decoded = decode_base64(&mut envelope);
    let mut attributes = Attributes {
        envelope: &envelope,
        errors: decoded.err().into_iter().collect(),
    };
    attributes.specversion();
    let id = attributes.required("id");
    let ce_source = attributes.required("source");
    let event_type = attributes.required("type");
    attributes.optional();
    let errors = attributes.errors;
    match (id, ce_source, event_type) {
        (Some(id), Some(ce_source), Some(event_type)) if errors.is_empty() => Ok(ChangeEvent {
            identity: Identity {
                source: source.clone(),
                ce_source: Some(ce_source),
                id,
            },
            event_type,
            envelope: Value::Object(envelope),
        }),
        _ => Err(errors),
    }
}

/// Replaces the member `data_base64` by the member `data`, with the JSON that `data_base64` contains.
///
/// The JSON format of CloudEvents 1.0.2 (2022), section 3.1.1, allows both members for data of any media type. Section 3.1
/// says that data without a media type is JSON. If the data is not JSON, the check of the media type reports this error.
fn decode_base64(envelope: &mut Map<String, Value>) -> Result<(), EventError> {
    let refused = |rule: &str, detail: &str| Err(error(&format!("/{DATA_BASE64}"), rule, detail));
    let Some(encoded) = envelope.remove(DATA_BASE64) else {
        return Ok(());
    };
    if envelope.contains_key(DATA) {
        return refused(
            DATA_BASE64,
            "An event must not have both `data` and `data_base64`.",
        );
    }
    let media_type = envelope.get(DATACONTENTTYPE).and_then(Value::as_str);
    if media_type.is_some_and(|media_type| !is_json_text(media_type)) {
        return Ok(());
    }
    let bytes = encoded.as_str().map(|text| STANDARD.decode(text));
    let Some(Ok(bytes)) = bytes else {
        return refused(
            DATA_BASE64,
            "The value must be a text in base64 (RFC 4648, section 4).",
        );
    };
    match json::parse(&bytes) {
        Ok(data) => {
            envelope.insert(DATA.to_owned(), data);
            Ok(())
        }
        Err(wrong) => {
            let detail = format!(
                "At line {}, column {} of the decoded data: {}.",
                wrong.line,
                wrong.column,
                wrong.reason()
            );
            refused(wrong.rule.as_str(), &detail)
        }
    }
}

/// The attributes of one CloudEvents event, and the attribute errors found up to now.
struct Attributes<'a> {
    envelope: &'a Map<String, Value>,
    errors: Vec<EventError>,
}

impl<'a> Attributes<'a> {
    fn specversion(&mut self) {
        match self.required_text("specversion", NO_CLOUD_EVENT) {
            Some(SPECVERSION) | None => {}
            Some(_) => self.fail(
                "specversion",
                "specversion",
                "The supported version is 1.0.",
            ),
        }
    }

    fn required(&mut self, name: &'static str) -> Option<Attribute> {
        let text = self.required_text(name, "This attribute is required.")?;
        match Attribute::parse(text) {
            Ok(attribute) => Some(attribute),
            Err(_other) => {
                self.fail(name, "attribute", ATTRIBUTE);
                None
            }
        }
    }

    fn optional(&mut self) {
        if self
            .text("time")
            .is_some_and(|time| rfc3339::date_time(time).is_none())
        {
            self.fail("time", "rfc3339", TIME);
        }
        if self.text("subject").is_some_and(str::is_empty) {
            self.fail("subject", "attribute", "The subject must not be empty.");
        }
        if self
            .text(DATACONTENTTYPE)
            .is_some_and(|media_type| !is_json_text(media_type))
        {
            self.fail(
                DATACONTENTTYPE,
                "media_type",
                "The data must be JSON in UTF-8.",
            );
        }
    }

    fn required_text(&mut self, name: &'static str, detail: &str) -> Option<&'a str> {
        if !self.envelope.contains_key(name) {
            self.fail(name, "required", detail);
        }
        self.text(name)
    }

    fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.envelope.get(name)?;
        if !value.is_string() {
            self.fail(name, "type", "This attribute must be a string.");
        }
        value.as_str()
    }

    fn fail(&mut self, name: &str, rule: &str, detail: &str) {
        self.errors.push(error(&format!("/{name}"), rule, detail));
    }
}

fn error(pointer: &str, rule: &str, detail: &str) -> EventError {
    EventError {
        pointer: pointer.to_owned(),
        rule: rule.to_owned(),
        location: LOCATION.to_owned(),
        detail: detail.to_owned(),
    }
}

// === Media types ===

fn is_json_text(content_type: &str) -> bool {
    utf8_media_type(content_type).is_some_and(|media_type| is_json(&media_type))
}

fn is_json(media_type: &str) -> bool {
    let subtype = media_type.split_once('/').map(|(_, subtype)| subtype);
    subtype.is_some_and(|subtype| {
        subtype == "json" || (subtype.ends_with("+json") && !subtype.starts_with("cloudevents"))
    })
}

/// Returns the media type in lower case without parameters. Returns `None` if the media type names a charset other than
/// UTF-8 and ASCII.
fn utf8_media_type(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    let media_type = parts.next()?.trim().to_ascii_lowercase();
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            is_utf8(value.trim().trim_matches(['"', '\'']))
        }
        Some(_) | None => true,
    });
    is_utf8.then_some(media_type)
}

/// Returns whether a charset is UTF-8, or ASCII, which is a part of UTF-8.
///
/// The names are the labels of UTF-8 in the WHATWG Encoding Standard (2024), `utf_8`, and the names of UTF-8 and
/// US-ASCII in the IANA registry of character sets (2024). Many HTTP clients write `utf8`.
pub(crate) fn is_utf8(charset: &str) -> bool {
    const NAMES: [&str; 19] = [
        "utf-8",
        "utf8",
        "utf_8",
        "csutf8",
        "unicode-1-1-utf-8",
        "unicode11utf8",
        "unicode20utf8",
        "x-unicode20utf8",
        "us-ascii",
        "ascii",
        "us",
        "iso646-us",
        "iso_646.irv:1991",
        "iso-ir-6",
        "ansi_x3.4-1968",
        "ansi_x3.4-1986",
        "ibm367",
        "cp367",
        "csascii",
    ];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(charset))
}

#[cfg(test)]
mod tests;
