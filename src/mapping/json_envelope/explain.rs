//! Explains the expressions in the table `[body]` of a source file on one body and on its events.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::Value;

use super::super::explain::{RuleExplanation, explained};
use super::super::places::EventPlaces;
use super::{JsonEnvelope, LocatedValue, ReadContext, budget, text};
use crate::event::{RequestHeaders, pointer};
use crate::imprint::FieldValue;

/// The places in one body that the expression `body.split` reads, with the places of the events that it makes.
#[derive(Clone, Debug)]
pub struct SplitReads {
    /// The text of the expression.
    pub expression: String,
    /// The places in the body that the expression read, as JSON Pointers.
    reads: BTreeSet<String>,
    /// The places that are inside no event.
    shared: Vec<String>,
    events: Vec<EventPlaces>,
    /// The places in the body that no event contains, at most `LEFT_OUT_MAX`.
    pub left_out: Vec<String>,
}

/// The maximum number of places that an explanation lists as left out of the events.
const LEFT_OUT_MAX: usize = 50;
/// The number of members from which on an expression that reads all members of an object only lists them, as `with_entries`
/// does. The members do not count as read.
const LISTED_MIN: usize = 3;

impl JsonEnvelope {
    /// Explains the expressions for the id, the type and the time of an event.
    pub fn explain(&self, data: &Value, headers: &RequestHeaders) -> Vec<RuleExplanation> {
        let time = self.time.as_ref().map(|time| (time, false));
        let rules = [(&self.id, true), (&self.event_type, true)];
        let explanations = rules.into_iter().chain(time).map(|(rule, is_name)| {
            let read = explained(rule, (data, headers), |located| {
                let text = text(&located, is_name)?;
                Ok(text.map(|text| FieldValue::Set(Value::from(text))))
            });
            RuleExplanation {
                is_public: is_name,
                ..read.explanation(|_error| false)
            }
        });
        explanations.collect()
    }

    /// Runs the expression that splits a body, and returns the places that it reads. Returns `None` without such an
    /// expression.
    pub fn split_reads(
        &self,
        body: &Value,
        headers: &RequestHeaders,
        max: usize,
    ) -> Option<SplitReads> {
        let expression = self.split_expression.clone()?;
        let split = self.split.as_ref()?;
        let context = ReadContext::logged(Some(headers));
        budget::begin_event(budget::SPLIT_STEPS_MAX);
        let input = LocatedValue::in_context(body, &context);
        // The places count as read, even if the expression fails.
        drop(split.run_all(&input, max.saturating_add(1)));
        let reads: BTreeSet<String> = context.into_places().into_iter().collect();
        let events = self.places(body, headers, max);
        let roots: BTreeSet<String> = events.iter().map(EventPlaces::event).collect();
        let is_shared = |read: &&String| !outer_places(read).any(|outer| roots.contains(outer));
        Some(SplitReads {
            expression,
            shared: reads.iter().filter(is_shared).cloned().collect(),
            left_out: left_out(body, &events),
            reads,
            events,
        })
    }
}

impl SplitReads {
    /// Returns the number of events that the expression makes.
    pub const fn events(&self) -> usize {
        self.events.len()
    }

    /// Returns the places in the body that the expression read outside of all events, or in the event at `index`.
    pub fn of_event(&self, index: usize) -> Vec<String> {
        let root = self.events.get(index).map(EventPlaces::event);
        let inside = root.iter().flat_map(|root| {
            let from = (Bound::Included(root.as_str()), Bound::Unbounded);
            let from = self.reads.range::<str, _>(from);
            from.take_while(move |read| read.starts_with(root.as_str()))
                .filter(move |read| outer_places(read).any(|outer| outer == root))
        });
        let places: BTreeSet<&String> = self.shared.iter().chain(inside).collect();
        places.into_iter().cloned().collect()
    }

    /// Returns the places in the event at `index` that the expression read, as JSON Pointers into the event `data`.
    ///
    /// A place does not count if the expression only moved a part of the body to this place: the sender sent the part
    /// elsewhere, and nothing has read the new member. The members of an object do not count if the expression read all of
    /// them, because `with_entries` and similar functions read a member only to copy it.
    pub fn in_event(&self, index: usize, data: &Value) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(places) = self.events.get(index) {
            self.add_read(places, data, String::new(), &mut found);
        }
        found
    }

    fn add_read(&self, places: &EventPlaces, value: &Value, part: String, found: &mut Vec<String>) {
        let members: BTreeMap<String, &Value> = match value {
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (pointer::inside(&part, name), member))
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (pointer::inside(&part, &index.to_string()), item))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeMap::new(),
        };
        let is_read =
            |part: &String| !places.is_moved(part) && self.reads.contains(&places.in_body(part));
        let is_listed = members.len() >= LISTED_MIN && members.keys().all(is_read);
        for (inner, member) in members {
            if !is_listed && is_read(&inner) {
                found.push(inner.clone());
            }
            self.add_read(places, member, inner, found);
        }
        if part.is_empty() && is_read(&part) {
            found.push(part);
        }
    }
}

/// Returns the places of the body that no event contains. The function names the outermost place of a part that no event
/// contains.
fn left_out(body: &Value, events: &[EventPlaces]) -> Vec<String> {
    let mut found = Vec::new();
    let origins: BTreeSet<&str> = events.iter().flat_map(EventPlaces::origins).collect();
    add_left_out(body, String::new(), &origins, &mut found);
    found
}

fn add_left_out(value: &Value, place: String, origins: &BTreeSet<&str>, found: &mut Vec<String>) {
    if origins.contains(place.as_str()) || found.len() >= LEFT_OUT_MAX {
        return;
    }
    if !pointer::any_inside(origins, &place) {
        found.push(place);
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                add_left_out(member, pointer::inside(&place, name), origins, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add_left_out(
                    item,
                    pointer::inside(&place, &index.to_string()),
                    origins,
                    found,
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the place itself and the places around it, as JSON Pointers.
fn outer_places(place: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(place), |place| {
        place.rsplit_once('/').map(|(outer, _)| outer)
    })
}
