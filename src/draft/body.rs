//! Recognizes how a body contains its events.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields;
use super::form;
use super::leaves::leaves;
use super::names;
use super::path::{JsonPath, Leaf, Step, quoted};
use super::sample::Sample;
use super::synonyms;
use crate::event::cloudevents::{self, ContentMode};

/// The names of a list of events in a body. A list with another name is one if each item has an id and values of a customer.
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
    /// The sentence about the lists of the bodies.
    pub(super) decision: Option<String>,
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
    // A running bridge takes CloudEvents as plain JSON only if the source file says so.
    let is_plain = |sample: &Sample| {
        let content_type = sample.header("content-type").unwrap_or_default();
        let headers: Vec<(&str, &[u8])> = sample.byte_headers().collect();
        cloudevents::is_plain_json(content_type)
            && ContentMode::of(content_type, &headers).is_none()
    };
    if first.is_some_and(has_specversion) && !samples.iter().any(is_plain) {
        let events = distinct(samples).flat_map(|(at, sample)| {
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
            decision: None,
        };
    }
    let list = list(samples);
    let outer_type = outer_type(samples, &list);
    let events = distinct(samples).flat_map(|(at, sample)| {
        let events = list.events(&sample.body, outer_type.as_deref());
        events.into_iter().map(move |event| (at, event))
    });
    SampleEvents {
        format: BodyFormat::Json {
            split: list.split(outer_type.as_deref()),
        },
        events: events.collect(),
        decision: decision(samples, &list),
    }
}

/// Iterates over the samples with their positions, without the samples that repeat an earlier one.
fn distinct(samples: &[Sample]) -> impl Iterator<Item = (usize, &Sample)> {
    let is_new = move |(at, sample): &(usize, &Sample)| {
        let mut earlier = samples.iter().take(*at);
        !earlier.any(|earlier| earlier.body == sample.body && earlier.headers == sample.headers)
    };
    samples.iter().enumerate().filter(is_new)
}

/// Returns the name of the member beside the list of events that has the type of the change, if no item of the list has
/// such a member: `{"event": "contact.updated", "payload": [{"id": 7}]}`.
fn outer_type(samples: &[Sample], list: &List) -> Option<String> {
    let List::Member(list) = list else {
        return None;
    };
    let names_a_change = |value: &Value| form::is_word(value) && fields::names_a_change(value);
    let items = samples
        .iter()
        .filter_map(|sample| sample.body.get(list)?.as_array());
    let items: Vec<Value> = items.flatten().cloned().collect();
    if fields::is_event(&leaves(&items), &JsonPath::default()) {
        return None;
    }
    let first = samples.first()?.body.as_object()?;
    let is_everywhere = |name: &&String| {
        let mut values = samples.iter().map(|sample| sample.body.get(name.as_str()));
        values.all(|value| value.is_some_and(names_a_change))
            && items.iter().all(|item| item.get(name.as_str()).is_none())
    };
    let position = |name: &&String| names::position(name, &synonyms::EVENT_TYPES);
    let named = first.keys().filter(|name| position(name).is_some());
    named.filter(is_everywhere).min_by_key(position).cloned()
}

/// The place of the list of events in a body.
enum List {
    None,
    Body,
    Member(String),
}

impl List {
    /// Returns the events of a body. Each event gets the member `outer_type` of the body.
    fn events(&self, body: &Value, outer_type: Option<&str>) -> Vec<Value> {
        let events = match self {
            Self::None => vec![body.clone()],
            Self::Body => body.as_array().cloned().unwrap_or_default(),
            Self::Member(name) => {
                let items = body.get(name).and_then(Value::as_array);
                items.cloned().unwrap_or_default()
            }
        };
        let outer = outer_type.and_then(|name| Some((name, body.get(name)?)));
        let with_type = |mut event: Value| {
            if let (Some((name, value)), Some(members)) = (outer, event.as_object_mut()) {
                members.insert(name.to_owned(), value.clone());
            }
            event
        };
        let present = events.into_iter().filter(|event| !event.is_null());
        present.map(with_type).collect()
    }

    /// Returns the expression of `body.split`.
    fn split(&self, outer_type: Option<&str>) -> Option<String> {
        let items = match self {
            Self::None => return None,
            Self::Body => ".[]".to_owned(),
            Self::Member(name) => format!("{}[]", JsonPath::of(&[name]).expression()),
        };
        let Some(name) = outer_type else {
            return Some(items);
        };
        let path = JsonPath::of(&[name]).expression();
        let member = quoted(name);
        Some(format!(
            "{path} as $type | {items} | . + {{{member}: $type}}"
        ))
    }
}

fn list(samples: &[Sample]) -> List {
    if samples.iter().any(|sample| sample.body.is_array()) {
        return List::Body;
    }
    let bodies: Vec<Value> = samples.iter().map(|sample| sample.body.clone()).collect();
    let found = leaves(&bodies);
    let record = fields::record(&found);
    let is_known = |name: &str| LISTS.contains(&names::words(name).concat().as_str());
    let holds_record = |name: &str| record.starts_with(&JsonPath::of(&[name]));
    let named = object_lists(samples).into_keys();
    let candidates = named.filter(|name| {
        let is_everywhere = samples
            .iter()
            .all(|sample| sample.body.get(name).is_some_and(is_object_list));
        is_everywhere && (is_known(name) || has_customers(&found, name))
    });
    let candidates: Vec<String> = candidates.collect();
    if let Some(name) = candidates.iter().find(|name| holds_record(name)) {
        return List::Member(name.clone());
    }
    // A list of notifications has no values of a customer, but each item names a change.
    let is_notification = |name: &&String| {
        let items = samples.iter().filter_map(|sample| {
            let items = sample.body.get(name.as_str())?.as_array()?;
            Some(items.clone())
        });
        let items: Vec<Value> = items.flatten().collect();
        fields::is_event(&leaves(&items), &JsonPath::default())
    };
    let first = candidates.iter().find(|name| is_known(name));
    first
        .filter(|name| !fields::has_person(&found) && is_notification(name))
        .map_or(List::None, |name| List::Member(name.clone()))
}

/// Returns whether a value is a list of objects, or an empty list.
fn is_object_list(value: &Value) -> bool {
    let items = value.as_array();
    items.is_some_and(|items| items.iter().all(Value::is_object))
}

/// Returns the members of the bodies that are lists of objects, each with the largest number of its items.
fn object_lists(samples: &[Sample]) -> BTreeMap<String, usize> {
    let mut lists = BTreeMap::new();
    for (name, value) in samples
        .iter()
        .filter_map(|sample| sample.body.as_object())
        .flatten()
    {
        let items = value.as_array().filter(|_| is_object_list(value));
        if let Some(items) = items.filter(|items| !items.is_empty()) {
            let count = lists.entry(name.clone()).or_insert(0_usize);
            *count = items.len().max(*count);
        }
    }
    lists
}

/// Returns whether each item of a list can be a customer: the item has an id, and the body has no id of a customer beside
/// the list.
fn has_customers(found: &[Leaf], list: &str) -> bool {
    let list = JsonPath::of(&[list]);
    let is_id = |leaf: &&Leaf| {
        let name = leaf.path.last_name();
        let is_named = names::position(name, &synonyms::RECORD_IDS)
            .or_else(|| names::position(name, &synonyms::CUSTOMER_IDS));
        is_named.is_some() && form::all(leaf, form::is_id)
    };
    let is_item = |leaf: &Leaf| leaf.path.parent() == list.child(Step::First);
    let is_beside = |leaf: &Leaf| {
        leaf.path.depth() == 1
            && names::position(leaf.path.last_name(), &synonyms::CUSTOMER_IDS).is_some()
    };
    let mut ids = found.iter().filter(is_id);
    ids.clone().any(is_item) && !ids.any(is_beside)
}

/// Says which objects of the bodies are in no event.
fn decision(samples: &[Sample], list: &List) -> Option<String> {
    let lists = object_lists(samples);
    let named = |name: &str| JsonPath::of(&[name]).expression();
    if let List::Member(chosen) = list {
        let others = lists.keys().filter(|name| *name != chosen);
        let others: Vec<String> = others.map(|name| format!("`{}`", named(name))).collect();
        let chosen = named(chosen);
        return (!others.is_empty()).then(|| format!(
            "The body has several lists of objects. The draft makes one event of each item of `{chosen}`, which has the values of the customers, so no event has the items of {}. If the mapping or body.type needs them, correct body.split.",
            others.join(", ")
        ));
    }
    if matches!(list, List::Body) {
        return None;
    }
    let bodies: Vec<Value> = samples.iter().map(|sample| sample.body.clone()).collect();
    let found = leaves(&bodies);
    let record = fields::record(&found);
    let lengths = bodies.iter().filter_map(|body| {
        let items = record.value_in(body)?.as_array()?;
        items.iter().all(Value::is_object).then_some(items.len())
    });
    let length = lengths.max().filter(|length| *length > 1)?;
    let path = record.expression();
    Some(format!(
        "The list `{path}` has {length} objects in a sample, and the draft reads only the first one. If each object is a customer, `body.split = \"{path}[]\"` makes one event of each object; see the recipe \"Many changes in one body\" in config/sources/RECIPES.md. Otherwise, the bridge ignores the values of the other objects."
    ))
}
