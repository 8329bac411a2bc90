//! Reviews the mapping of an event type with its examples: what the names of the members and the values of the examples say
//! about the expressions. Each note is a sentence for the author of the mapping.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Bound;

use serde_json::Value;

use super::names;
use crate::event::member_name::words;
use crate::event::pointer;
use crate::intake::coverage::ExplainedExample;
use crate::intake::{EventExplanation, Source, TargetExplanation, TargetResult};

mod absent;
mod address;
mod constant;
mod crossed;
mod customer;
mod deletions;
mod emptied;
mod identity;
mod items;
mod letters;
mod nothing;
mod pairs;
mod person;
mod phones;
mod positions;
mod street;
mod versions;

/// The expression that divides a body into events.
const SPLIT: &str = "body.split";

/// The result of a review.
#[derive(Debug, Default)]
pub struct Review {
    /// The paths that an expression reads and no example has, each with the path of an example that has the same last name
    /// and that no expression reads.
    pub absent_paths: Vec<(String, String)>,
    /// Whether `body.split` makes the events of a body.
    pub has_split: bool,
    /// The absent paths of members that `body.split` makes, so that no other path of an example is meant.
    pub made_paths: BTreeSet<String>,
    /// All paths of the examples, with `*` in the place of each index.
    pub known_paths: BTreeSet<String>,
    pub notes: Vec<String>,
}

/// What the examples of one event type show.
struct TypeExamples<'a> {
    events: Vec<&'a EventExplanation>,
    /// The body of each event. Several events can have one body.
    bodies: Vec<&'a Value>,
    /// The places of the texts, numbers and truth values in the bodies, as JSON Pointers.
    places: BTreeSet<String>,
    /// The places that expressions read.
    reads: BTreeSet<&'a str>,
    /// The places that the schema describes.
    described: Vec<String>,
    /// The bodies of the examples without an event of this type.
    others: Vec<&'a Value>,
}

/// Reviews the mapping of the event type with the key `name` in the source file.
pub fn review(source: &Source, name: &str, examples: &[ExplainedExample]) -> Review {
    let evidence = evidence(source, name, examples);
    let mut notes = of_evidence(&evidence, name);
    let envelope = source.json_envelope.iter();
    let of_body: Vec<_> = envelope
        .flat_map(|envelope| envelope.interpreted_rules())
        .collect();
    let split = of_body.iter().find(|(rule, _)| *rule == SPLIT);
    let split = split.map(|(_, split)| *split);
    notes.extend(
        split
            .into_iter()
            .flat_map(|split| of_split(split, examples)),
    );
    notes.extend(nothing::misspelt_keys(&evidence, of_body.into_iter()));
    let made_paths = absent::made_paths(&evidence, split);
    notes.extend(made_paths.iter().map(|path| {
        format!(
            "no example has a value in {path}, which body.split makes: correct body.split, or add an example with the value"
        )
    }));
    Review {
        absent_paths: absent::paths(&evidence),
        has_split: split.is_some(),
        made_paths,
        known_paths: evidence.known_paths(),
        notes: once(notes),
    }
}

/// Leaves out a note that differs from an earlier one only in an index, such as that of the event in its body.
fn once(notes: Vec<String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    let general = |note: &String| {
        let words = note.split(' ').map(pointer::without_indexes);
        words.collect::<Vec<_>>().join(" ")
    };
    let is_new = |note: &String| known.insert(general(note));
    notes.into_iter().filter(is_new).collect()
}

/// Collects what the examples of an event type show.
fn evidence<'a>(source: &Source, name: &str, examples: &'a [ExplainedExample]) -> TypeExamples<'a> {
    let mut evidence = TypeExamples {
        events: Vec::new(),
        bodies: Vec::new(),
        places: BTreeSet::new(),
        reads: BTreeSet::new(),
        described: source
            .event_types
            .get(name)
            .map(|event_type| event_type.schema.leaf_pointers())
            .unwrap_or_default(),
        others: Vec::new(),
    };
    for example in examples {
        let is_of_type = |event: &&EventExplanation| {
            let mapped = source.mapped(event.event_type.as_deref().unwrap_or_default());
            mapped.is_some_and(|(known, _)| known == name)
        };
        let before = evidence.events.len();
        for event in example.explanation.events.iter().filter(is_of_type) {
            evidence.events.push(event);
            evidence.bodies.push(&example.body);
        }
        if evidence.events.len() > before {
            add_places(&example.body, "", &mut evidence.places);
        } else {
            evidence.others.push(&example.body);
        }
        let targets = example.explanation.events.iter();
        let targets = targets.flat_map(|event| event.targets.iter().flatten());
        // This expression copies whole events, and reads no value of them.
        let targets = targets.filter(|target| target.target != SPLIT);
        let reads = targets.flat_map(|target| target.reads.iter().map(String::as_str));
        evidence.reads.extend(reads);
    }
    evidence
}

/// Returns the notes about the expression that divides a body into events.
fn of_split(split: &str, examples: &[ExplainedExample]) -> Vec<String> {
    let mut all = examples.iter();
    let first = all.find_map(|example| items::first_event(split, example));
    let notes = first.into_iter().chain(items::one_for_all(split));
    notes.chain(letters::of_split(split, examples)).collect()
}

/// Returns the notes about the mapping that need only the examples of its event type.
fn of_evidence(evidence: &TypeExamples<'_>, name: &str) -> Vec<String> {
    let mut notes: Vec<String> = street::notes(evidence).into_iter().collect();
    notes.extend(address::notes(evidence));
    notes.extend(person::notes(evidence));
    notes.extend(customer::notes(evidence));
    notes.extend(identity::notes(evidence));
    notes.extend(phones::notes(evidence));
    notes.extend(positions::notes(evidence));
    notes.extend(versions::notes(evidence));
    notes.extend(pairs::notes(evidence));
    notes.extend(constant::notes(evidence));
    notes.extend(crossed::notes(evidence));
    notes.extend(emptied::notes(evidence));
    notes.extend(items::notes(evidence));
    notes.extend(deletions::notes(evidence, name));
    notes.extend(nothing::notes(evidence));
    notes
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

    /// Returns the events, each with its body.
    fn with_bodies(&self) -> impl Iterator<Item = (&'a EventExplanation, &'a Value)> {
        self.events.iter().copied().zip(self.bodies.iter().copied())
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

    /// Returns all paths of the examples, with `*` in the place of each index.
    fn known_paths(&self) -> BTreeSet<String> {
        let places = self.places.iter();
        let all = places.flat_map(|place| iter::once(place.as_str()).chain(around(place)));
        all.map(pointer::without_indexes).collect()
    }

    /// Returns whether an expression reads a place or something around it.
    fn is_read(&self, place: &str) -> bool {
        self.reads.contains(place) || around(place).any(|object| self.reads.contains(object))
    }

    /// Returns the places beside `place`, each with its last name.
    fn beside<'p>(&self, place: &'p str) -> impl Iterator<Item = (&str, String)> + use<'_, 'p, 'a> {
        let object = outer(place);
        let places = self.inside(object);
        let beside = places.filter(move |other| outer(other) == object && *other != place);
        beside.map(|other| (other, plain_name(other)))
    }

    /// Returns the places inside `object`, at any depth.
    fn inside<'p>(&self, object: &'p str) -> impl Iterator<Item = &str> + use<'_, 'p, 'a> {
        let prefix = format!("{object}/");
        let range = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let from = self.places.range::<str, _>(range).map(String::as_str);
        from.take_while(move |place| place.starts_with(&prefix))
    }

    /// Returns the places beside `place` that no expression reads, each with its last name.
    fn unread_beside(&self, place: &str) -> impl Iterator<Item = (&str, String)> {
        self.beside(place).filter(|(other, _)| !self.is_read(other))
    }

    /// Returns whether an example has a place. The place of a header does not lie in the body.
    fn has(&self, place: &str) -> bool {
        let mut bodies = self.bodies.iter();
        let is_in_body = place.starts_with('/');
        !is_in_body || bodies.any(|body| body.pointer(place).is_some())
    }

    /// Returns whether the schema describes a place, so that it is no mistake.
    fn is_described(&self, place: &str) -> bool {
        let mut described = self.described.iter();
        described.any(|known| place.ends_with(known.as_str()))
    }

    /// Returns the rules of all events, by target.
    fn by_target(&self) -> BTreeMap<&'a str, Vec<&'a TargetExplanation>> {
        let mut rules: BTreeMap<&str, Vec<&TargetExplanation>> = BTreeMap::new();
        for rule in self.targets() {
            rules.entry(rule.target.as_str()).or_default().push(rule);
        }
        rules
    }
}

/// Returns the place around a place. The body has none, so its own place stands for it.
fn outer(place: &str) -> &str {
    outer_of(place).unwrap_or_default()
}

/// Returns the places around a place, from the inside to the body.
fn around(place: &str) -> impl Iterator<Item = &str> {
    iter::successors(outer_of(place), |object| outer_of(object))
}

/// Returns the place around a place, or `None` for the place of the body.
fn outer_of(place: &str) -> Option<&str> {
    place.rsplit_once('/').map(|(outer, _)| outer)
}

/// Returns whether two places lie in different items of one list, such as two events of one body.
fn is_of_other_item(one: &str, other: &str) -> bool {
    let mut steps = one.split('/').zip(other.split('/'));
    let differing = steps.find(|(one, other)| one != other);
    differing.is_some_and(|(one, other)| {
        [one, other]
            .iter()
            .all(|step| step.parse::<usize>().is_ok())
    })
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

/// Returns the name of a field without the group around it: `city` for `customer_history.address.city`. The bridge sends such a
/// field at two places of the update.
fn base(target: &str) -> &str {
    let rest = target.strip_prefix("customer_history.").unwrap_or(target);
    rest.strip_prefix("address.").unwrap_or(rest)
}
