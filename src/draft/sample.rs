//! A sample: a request body with the headers of its request.

use std::fmt;

use serde_json::{Map, Value};

use super::secrets::{self, SensitivePlace};

/// A request body as the source posts it, with the headers of the request.
#[derive(Clone)]
pub struct Sample {
    pub(super) body: Value,
    /// The headers, with names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

/// An event of a sample, in the form that schema and mapping read.
#[derive(Clone)]
pub struct SampleView {
    /// The name of the sample.
    pub sample: String,
    /// The name of the event's type in the source file.
    pub event_type: String,
    pub event: Value,
}

/// Prints no event, because an event of a sample is personal data.
impl fmt::Debug for SampleView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SampleView")
            .field("sample", &self.sample)
            .field("event_type", &self.event_type)
            .finish_non_exhaustive()
    }
}

/// Prints only the number of headers, because a sample is personal data and its headers can contain secrets.
impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample")
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl Sample {
    /// Creates a sample from a parsed body and the headers of its request.
    pub fn new(body: Value, headers: impl IntoIterator<Item = (String, String)>) -> Self {
        let headers = headers.into_iter();
        Self {
            body,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
        }
    }

    /// Returns the value of a header. `name` is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Iterates over the headers as an HTTP message has them.
    pub(super) fn byte_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Returns the body as JSON text.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", self.body).into_bytes()
    }

    /// Keeps only the first events of a body that is a list, or that has a list of events. Returns whether the body had
    /// more events.
    pub fn shorten(&mut self, events_max: usize) -> bool {
        let is_longer =
            |items: &Vec<Value>| items.len() > events_max && items.iter().all(Value::is_object);
        let lists: Vec<&mut Vec<Value>> = match &mut self.body {
            Value::Array(items) => vec![items],
            Value::Object(members) => members
                .values_mut()
                .filter_map(Value::as_array_mut)
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        let mut was_longer = false;
        for items in lists.into_iter().filter(|items| is_longer(items)) {
            items.truncate(events_max);
            was_longer = true;
        }
        was_longer
    }

    /// Replaces the values that look like secrets. Returns their places as expressions.
    pub fn replace_secrets(&mut self) -> Vec<String> {
        let places = self.replace_sensitive();
        places.into_iter().map(|found| found.place).collect()
    }

    pub(super) fn replace_sensitive(&mut self) -> Vec<SensitivePlace> {
        secrets::replace(&mut self.body)
    }

    /// Turns an event of `CloudEvents` in binary mode, whose attributes are headers, into structured mode. Returns whether the sample
    /// was in binary mode.
    pub fn into_structured(&mut self) -> bool {
        if self.header("ce-specversion").is_none() || self.body.get("specversion").is_some() {
            return false;
        }
        let attributes = self.headers.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("ce-")?;
            Some((name.to_owned(), Value::from(value.as_str())))
        });
        let mut envelope: Map<String, Value> = attributes.collect();
        envelope.insert("data".to_owned(), self.body.take());
        self.body = Value::Object(envelope);
        true
    }

    /// Returns the reason why a body has no event that a draft can read.
    pub(super) fn emptiness(&self) -> Option<&'static str> {
        let has_members =
            |value: &Value| value.as_object().is_some_and(|members| !members.is_empty());
        match &self.body {
            Value::Array(items) if items.is_empty() => Some("is an empty list"),
            Value::Array(items) if !items.iter().any(has_members) => {
                Some("is a list without JSON objects")
            }
            Value::Object(members) if members.is_empty() => Some("is an empty object"),
            Value::Object(_) | Value::Array(_) => None,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Some("is not a JSON object or a list")
            }
        }
    }
}
