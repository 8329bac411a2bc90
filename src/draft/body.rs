//! Recognizes how a body contains its events.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields;
use super::form;
use super::names;
use super::path::{JsonPath, Leaf, Step, leaves};
use super::sample::Sample;
use super::synonyms;

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
            decision: None,
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
    let decision = decision(samples, &list);
    let split = match list {
        List::None => None,
        List::Body => Some(".[]".to_owned()),
        List::Member(name) => Some(format!("{}[]", JsonPath::of(&[&name]).expression())),
    };
    SampleEvents {
        format: BodyFormat::Json { split },
        events,
        decision,
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
