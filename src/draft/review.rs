//! Reviews the mapping of an event type with its examples: what the names of the members and the values of the examples say
//! about the expressions. Each note is a sentence for the author of the mapping.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::names;
use crate::event::member_name::words;
use crate::event::pointer;
use crate::intake::coverage::ExplainedExample;
use crate::intake::{EventExplanation, Source, TargetExplanation, TargetResult};

mod customer;
mod person;
mod street;

/// The result of a review.
#[derive(Debug, Default)]
pub struct Review {
    /// The paths that an expression reads and no example has, each with the path of an example that has the same last name
    /// and that no expression reads.
    pub absent_paths: Vec<(String, String)>,
    pub notes: Vec<String>,
}

/// What the examples of one event type show.
struct TypeExamples<'a> {
    events: Vec<&'a EventExplanation>,
    /// The places of the texts, numbers and truth values in the bodies, as JSON Pointers.
    places: BTreeSet<String>,
    /// The places that expressions read.
    reads: BTreeSet<&'a str>,
}

/// Reviews the mapping of the event type with the key `name` in the source file.
pub fn review(source: &Source, name: &str, examples: &[ExplainedExample]) -> Review {
    let mut evidence = TypeExamples {
        events: Vec::new(),
        places: BTreeSet::new(),
        reads: BTreeSet::new(),
    };
    for example in examples {
        let is_of_type = |event: &&EventExplanation| {
            let mapped = source.mapped(event.event_type.as_deref().unwrap_or_default());
            mapped.is_some_and(|(known, _)| known == name)
        };
        let events = example.explanation.events.iter().filter(is_of_type);
        let before = evidence.events.len();
        evidence.events.extend(events);
        if evidence.events.len() > before {
            add_places(&example.body, "", &mut evidence.places);
        }
        let targets = example.explanation.events.iter();
        let targets = targets.flat_map(|event| event.targets.iter().flatten());
        let reads = targets.flat_map(|target| target.reads.iter().map(String::as_str));
        evidence.reads.extend(reads);
    }
    let mut notes: Vec<String> = street::notes(&evidence).into_iter().collect();
    notes.extend(person::notes(&evidence));
    notes.extend(customer::notes(&evidence));
    notes.extend(evidence.images());
    Review {
        absent_paths: evidence.absent_paths(),
        notes,
    }
}

/// Adds the places of the texts, numbers and truth values in a value. Null and a blank text say nothing.
fn add_places(value: &Value, place: &str, places: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                add_places(member, &pointer::inside(place, name), places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add_places(item, &pointer::inside(place, &index.to_string()), places);
            }
        }
        Value::String(text) if text.trim().is_empty() => {}
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            places.insert(place.to_owned());
        }
    }
}

impl<'a> TypeExamples<'a> {
    /// Returns the rules of all events.
    fn targets(&self) -> impl Iterator<Item = &'a TargetExplanation> {
        let events = self.events.iter();
        events.flat_map(|event| event.targets.iter().flatten())
    }

    /// Returns the rules without a value in all events, each with the paths that it reads.
    fn absent_targets(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut absent: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for target in self.targets() {
            let reads = absent.entry(target.target.as_str()).or_default();
            reads.extend(target.reads.iter().map(String::as_str));
        }
        for target in self.targets() {
            if target.result != TargetResult::Absent {
                absent.remove(target.target.as_str());
            }
        }
        absent
    }

    /// Returns whether an expression reads a place or something around it.
    fn is_read(&self, place: &str) -> bool {
        let mut reads = self.reads.iter();
        reads.any(|read| {
            let rest = place.strip_prefix(read);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Returns the places beside `place`, each with its last name.
    fn beside(&self, place: &str) -> impl Iterator<Item = (&str, String)> {
        let around = outer(place).to_owned();
        let places = self.places.iter().map(String::as_str);
        let beside = places.filter(move |other| outer(other) == around && *other != place);
        beside.map(|other| (other, plain_name(other)))
    }

    /// Returns the places beside `place` that no expression reads, each with its last name.
    fn unread_beside(&self, place: &str) -> impl Iterator<Item = (&str, String)> {
        self.beside(place).filter(|(other, _)| !self.is_read(other))
    }

    /// Returns the paths without a value in all examples, each with the only path that has the same last name.
    fn absent_paths(&self) -> Vec<(String, String)> {
        let absent = self.absent_targets();
        let reads: BTreeSet<&str> = absent.values().flatten().copied().collect();
        let is_known =
            |read: &str| self.places.contains(read) || pointer::any_inside(&self.places, read);
        let unknown = reads.into_iter().filter(|read| !is_known(read));
        let is_generic = |name: &str| ["id", "name", "type", "value"].contains(&name);
        let meant = |read: &str| {
            let name = Some(plain_name(read)).filter(|name| !is_generic(name))?;
            let same = self.places.iter().filter(|place| plain_name(place) == name);
            let same = same.filter(|place| !self.is_read(place) && !concerns_other(place));
            let same: Vec<&String> = same.collect();
            match same.as_slice() {
                [only] => Some((read.to_owned(), (*only).clone())),
                [] | [..] => None,
            }
        };
        unknown.filter_map(meant).collect()
    }

    /// Returns a note about the row before a change, if no example has it. The bridge then sends all fields of each event.
    fn images(&self) -> Vec<String> {
        let absent = self.absent_targets().into_iter();
        let rows = absent.filter(|(target, _)| *target == "only_changed.before");
        let notes = rows.map(|(_, reads)| {
            let reads: Vec<&str> = reads.into_iter().collect();
            format!(
                "no example has {}, which only_changed.before reads: without this row, the bridge sends all fields of an event. Correct the path, or add an example of a change",
                reads.join(", ")
            )
        });
        notes.collect()
    }
}

/// Returns the place around a place.
fn outer(place: &str) -> &str {
    place.rsplit_once('/').map_or("", |(outer, _)| outer)
}

/// Returns the last name of a place.
fn last_name(place: &str) -> String {
    pointer::name(place.rsplit('/').next().unwrap_or_default())
}

/// Returns the last name of a place in lower case and without separators.
fn plain_name(place: &str) -> String {
    words(&last_name(place)).concat()
}

/// Returns whether a place lies in an object of another person or of an organization.
fn concerns_other(place: &str) -> bool {
    let path: Vec<String> = place.split('/').skip(1).map(pointer::name).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    names::concerns_other(&path)
}

/// Returns the text that a rule gives.
fn text(target: &TargetExplanation) -> Option<&str> {
    match &target.result {
        TargetResult::Value { value } => value.as_str(),
        TargetResult::Absent
        | TargetResult::Cleared
        | TargetResult::Skipped { .. }
        | TargetResult::Refused { .. } => None,
    }
}
