//! Decodes the binary mode of CloudEvents. The attributes in `ce-` headers and the data in the body become one event in
//! the structured form.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{DATA, DATA_BASE64, DATACONTENTTYPE, error};
use crate::event::{EventError, pointer};

/// The prefix of headers that contain CloudEvents attributes.
const PREFIX: &str = "ce-";
/// The CloudEvents attributes that the bridge takes from the body and its content type. A `ce-` header must not contain
/// any of these attributes.
const RESERVED: [&str; 3] = [DATA, DATA_BASE64, DATACONTENTTYPE];

/// Builds the structured form of an event from a binary-mode request. `data` is `None` if the body is empty.
pub(super) fn envelope(
    headers: &[(&str, &[u8])],
    content_type: &str,
    data: Option<Value>,
) -> Result<Value, Vec<EventError>> {
    let mut envelope = Map::new();
    let mut errors = Vec::new();
    for (name, value) in headers {
        let Some(name) = attribute_name(name) else {
            continue;
        };
        match attribute(&name, value, &envelope) {
            Ok(text) => drop(envelope.insert(name, Value::String(text))),
            Err((rule, detail)) => errors.push(error(&pointer::inside("", &name), rule, detail)),
        }
    }
    envelope.insert(DATACONTENTTYPE.to_owned(), content_type.into());
    envelope.extend(data.map(|data| (DATA.to_owned(), data)));
    if errors.is_empty() {
        Ok(Value::Object(envelope))
    } else {
        Err(errors)
    }
}

/// Names the header of each missing attribute.
pub(super) fn in_headers(errors: Vec<EventError>) -> Vec<EventError> {
    let named = errors.into_iter().map(|error| {
        let attribute = error.pointer.strip_prefix('/').unwrap_or_default();
        match error.rule.as_str() {
            "required" => EventError {
                detail: format!("The request has no header {PREFIX}{attribute}."),
                ..error
            },
            _other => error,
        }
    });
    named.collect()
}

/// Returns the structured form of an event that the decoder does not accept.
///
/// The result has the attributes that exactly one header has as text. `data` is `None` if the body is empty or not JSON.
pub fn readable(headers: &[(&str, &[u8])], content_type: &str, data: Option<Value>) -> Value {
    let names = headers.iter().filter_map(|(name, _)| attribute_name(name));
    let names = names.filter(|name| !RESERVED.contains(&name.as_str()));
    let attributes = names.filter_map(|name| {
        let text = single_attribute(headers, &name)?;
        Some((name, Value::String(text)))
    });
    let mut envelope: Map<String, Value> = attributes.collect();
    envelope.insert(DATACONTENTTYPE.to_owned(), content_type.into());
    envelope.extend(data.map(|data| (DATA.to_owned(), data)));
    Value::Object(envelope)
}

/// Returns whether any header contains a CloudEvents attribute.
pub(super) fn has_attributes(headers: &[(&str, &[u8])]) -> bool {
    headers
        .iter()
        .any(|(name, _)| attribute_name(name).is_some())
}

/// Returns the name of the CloudEvents attribute in a header, or `None` if the header contains no attribute.
pub(super) fn attribute_name(header: &str) -> Option<String> {
    let name = header.to_ascii_lowercase();
    name.strip_prefix(PREFIX).map(str::to_owned)
}

/// Returns the CloudEvents attribute `name`, if exactly one header contains the attribute as text.
pub(super) fn single_attribute(headers: &[(&str, &[u8])], name: &str) -> Option<String> {
    let is_named = |header: &str| {
        let (prefix, attribute) = header.split_at_checked(PREFIX.len()).unwrap_or_default();
        prefix.eq_ignore_ascii_case(PREFIX) && attribute.eq_ignore_ascii_case(name)
    };
    let mut values = headers.iter().filter(|(header, _)| is_named(header));
    match (values.next(), values.next()) {
        (Some((_, value)), None) => text(value),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

fn attribute(
    name: &str,
    value: &[u8],
    known: &Map<String, Value>,
) -> Result<String, (&'static str, &'static str)> {
    if RESERVED.contains(&name) {
        return Err((
            "reserved",
            "This attribute comes from the body and its content-type. Do not send it as a header.",
        ));
    }
    if known.contains_key(name) {
        return Err(("duplicate_key", "The header occurs more than once."));
    }
    text(value).ok_or(("utf8", "The header is not percent-encoded UTF-8."))
}

/// Decodes the text of an attribute header: removes quotes, then decodes percent-encoding once, as section 3.1.3.2 of
/// the CloudEvents HTTP binding requires.
fn text(value: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(value).ok()?.trim();
    let unquoted = unquote(raw);
    let decoded = percent_decode_str(&unquoted).decode_utf8().ok()?;
    (!decoded.contains('\0')).then(|| decoded.into_owned())
}

/// Removes the quotes that older senders put around a header text with spaces, and the backslashes inside the quotes.
fn unquote(raw: &str) -> String {
    let Some(inner) = raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return raw.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}
