//! Recognizes how a body contains its events.

use serde_json::Value;

use super::fields;
use super::names;
use super::path::{JsonPath, leaves};
use super::sample::Sample;

/// The names of a list of events in a body.
const LISTS: [&str; 17] = [
    "changes",
    "contacts",
    "customers",
    "data",
    "entries",
    "events",
    "items",
    "members",
    "messages",
    "notifications",
    "people",
    "persons",
    "profiles",
    "records",
    "results",
    "users",
    "value",
];
/// The format of the bodies of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyFormat {
    CloudEvents,
    /// Plain JSON, with the expression of `body.split`, if a body has several events.
    Json {
        split: Option<String>,
    },
}

/// The events of all samples, each with the position of its sample.
#[derive(Debug)]
pub(super) struct SampleEvents {
    pub(super) format: BodyFormat,
    pub(super) events: Vec<(usize, Value)>,
}

/// Splits the samples into events.
pub(super) fn events(samples: &[Sample]) -> SampleEvents {
    let is_cloud_event = |value: &Value| value.get("specversion").is_some_and(Value::is_string);
    let first = samples.first().map(|sample| &sample.body);
    let has_specversion = |body: &Value| match body {
        Value::Array(items) => items.iter().any(is_cloud_event),
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            is_cloud_event(body)
        }
    };
    if first.is_some_and(has_specversion) {
        let events = samples.iter().enumerate().flat_map(|(at, sample)| {
            let events = sample
                .body
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![sample.body.clone()]);
            events.into_iter().map(move |event| (at, event))
        });
        return SampleEvents {
            format: BodyFormat::CloudEvents,
            events: events.collect(),
        };
    }
    let list = list(samples);
    let events = samples.iter().enumerate().flat_map(|(at, sample)| {
        let events = match &list {
            List::None => vec![sample.body.clone()],
            List::Body => sample.body.as_array().cloned().unwrap_or_default(),
            List::Member(name) => sample
                .body
                .get(name)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        };
        events
            .into_iter()
            .filter(|event| !event.is_null())
            .map(move |event| (at, event))
    });
    let events = events.collect();
    let split = match list {
        List::None => None,
        List::Body => Some(".[]".to_owned()),
        List::Member(name) => Some(format!("{}[]", JsonPath::of(&[&name]).expression())),
    };
    SampleEvents {
        format: BodyFormat::Json { split },
        events,
    }
}

/// The place of the list of events in a body.
enum List {
    None,
    Body,
    Member(String),
}

fn list(samples: &[Sample]) -> List {
    if samples.iter().any(|sample| sample.body.is_array()) {
        return List::Body;
    }
    let is_list = |value: &Value| {
        let items = value.as_array();
        items.is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
    };
    let Some(first) = samples.first().and_then(|sample| sample.body.as_object()) else {
        return List::None;
    };
    let named = first.iter().find(|(name, value)| {
        LISTS.contains(&names::words(name).concat().as_str()) && is_list(value)
    });
    let Some((name, _)) = named else {
        return List::None;
    };
    // A list of notifications has no values of a customer, but each item names a change.
    let items = samples.iter().filter_map(|sample| {
        let items = sample.body.get(name)?.as_array()?;
        Some(items.clone())
    });
    let items: Vec<Value> = items.flatten().collect();
    let is_event = fields::is_event(&leaves(&items), &JsonPath::default());
    let bodies: Vec<Value> = samples.iter().map(|sample| sample.body.clone()).collect();
    let inside = JsonPath::of(&[name]);
    let found = leaves(&bodies);
    let record = fields::record(&found);
    let is_everywhere = samples
        .iter()
        .all(|sample| sample.body.get(name).is_some_and(is_list));
    let is_notification = !fields::has_person(&found) && is_event;
    if is_everywhere && (record.starts_with(&inside) || is_notification) {
        List::Member(name.clone())
    } else {
        List::None
    }
}
