//! Mapping coverage: the schema paths that no mapping rule reads, and the Imprint fields that no example sets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::explanation::{ExplainedOutcome, Explanation, TargetExplanation, TargetResult};
use super::source::{EventType, Source};
use super::value_note;
use crate::event::pointer;
use crate::mapping::{ComparedKind, ComparedLetters, JsonEnvelope};
use crate::spelling;

/// The coverage of one event type: the paths that the mapping read in the examples, and the fields that the examples
/// set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExampleCoverage {
    /// The paths that the expressions read in the examples, as JSON Pointers.
    reads: BTreeSet<String>,
    /// The Imprint fields that the examples set or clear.
    targets: BTreeSet<String>,
    /// The number of events with a request to Imprint.
    requests: usize,
    /// The number of invalid events, which the bridge refuses or parks.
    invalid: usize,
    /// The notes about values that are probably wrong, each with its Imprint field.
    notes: BTreeSet<(String, String)>,
    /// The notes about comparisons with a value of another kind or letter case, each with its Imprint field, and these comparisons.
    kind_notes: BTreeMap<(String, String), BTreeSet<ComparedKind>>,
    /// The comparisons with a value of the same kind.
    fitting: BTreeSet<ComparedKind>,
    /// For each Imprint field without a value in an example, a path that its expression reads in vain, and a similar path
    /// of the example that no expression reads.
    similar: BTreeMap<String, (String, String)>,
}

/// An example of a source, with its body and its explanation. The values of the explanation are unmasked.
#[derive(Debug)]
pub struct ExplainedExample {
    pub body: Value,
    pub explanation: Explanation,
}

impl ExampleCoverage {
    /// Returns whether an example shows a request to Imprint.
    pub const fn has_request(&self) -> bool {
        self.requests > 0
    }

    /// Returns the notes about values in the examples that are probably wrong, each after its Imprint field.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        // A value of the right kind in another example shows that the source sends values of both kinds.
        let is_answered = |compared: &ComparedKind| {
            let mut fitting = self.fitting.iter();
            fitting.any(|fitting| compared.is_answered_by(fitting))
        };
        let kind_notes = self.kind_notes.iter();
        let kind_notes = kind_notes.filter(move |(_, all)| !all.iter().all(is_answered));
        let kind_notes = kind_notes.map(|(note, _)| note);
        // The line about a path that no example has says more about a field without a value.
        let similar =
            |field: &String| self.similar.contains_key(field) && !self.targets.contains(field);
        let notes = self.notes.iter().filter(|(field, _)| !similar(field));
        let notes: BTreeSet<_> = notes.chain(kind_notes).collect();
        let notes = notes.into_iter();
        notes.map(|(field, note)| format!("{field}: {note}"))
    }

    /// Returns the paths that an expression reads and no example has, each with the similar path of an example that no
    /// expression reads.
    pub fn absent_paths(&self) -> impl Iterator<Item = (&str, &str)> {
        let without = self
            .similar
            .iter()
            .filter(|(field, _)| !self.targets.contains(*field));
        without.map(|(_, (read, meant))| (read.as_str(), meant.as_str()))
    }

    /// Adds the note of a rule.
    fn add_note(&mut self, target: &TargetExplanation) {
        let (fitting, others): (BTreeSet<_>, BTreeSet<_>) = target
            .compared
            .iter()
            .cloned()
            .partition(|compared| compared.fits);
        self.fitting.extend(fitting);
        let Some(note) = &target.note else {
            return;
        };
        let is_other_case = |one: &&ComparedKind| one.letters == ComparedLetters::OtherCase;
        let others: BTreeSet<_> = match note == value_note::CASE {
            true => target
                .compared
                .iter()
                .filter(is_other_case)
                .cloned()
                .collect(),
            false => others,
        };
        let note = (target.target.clone(), note.clone());
        if others.is_empty() {
            self.notes.insert(note);
        } else {
            self.kind_notes.entry(note).or_default().extend(others);
        }
    }

    /// Returns whether every example is invalid. The results of the examples are then no test of the mapping.
    pub const fn has_only_invalid_events(&self) -> bool {
        self.requests == 0 && self.invalid > 0
    }
}

/// Adds one example to the coverage of its event types: the paths that the expressions read, and the fields that the
/// mapping set or cleared.
pub fn observe(
    coverage: &mut BTreeMap<String, ExampleCoverage>,
    source: &Source,
    explanation: &Explanation,
) {
    for event in &explanation.events {
        let name = event.event_type.as_deref().unwrap_or_default();
        let Some((name, _)) = source.mapped(name) else {
            continue;
        };
        let covered = coverage.entry(name.to_owned()).or_default();
        covered.reads.extend(event.reads.iter().cloned());
        match event.outcome {
            ExplainedOutcome::Request(_) | ExplainedOutcome::Parked { .. } => covered.requests += 1,
            ExplainedOutcome::Refused { .. } | ExplainedOutcome::Invalid { .. } => {
                covered.invalid += 1;
            }
            ExplainedOutcome::Ignored { .. } => {}
        }
        let unused = event.unused.as_deref().unwrap_or_default();
        for target in event.targets.iter().flatten() {
            covered.add_note(target);
            match target.result {
                TargetResult::Value { .. } | TargetResult::Cleared => {
                    covered.targets.insert(target.target.clone());
                }
                TargetResult::Absent => {
                    let mut reads = target.reads.iter();
                    let similar =
                        reads.find_map(|read| Some((read.clone(), similar(read, unused)?)));
                    let similar = similar.map(|pair| (target.target.clone(), pair));
                    covered.similar.extend(similar);
                }
                TargetResult::Skipped { .. } | TargetResult::Refused { .. } => {}
            }
        }
    }
}

/// Returns the path in `unused` that an expression probably means with the path `read`: the same path in other letter case,
/// or a sibling with a similar name. Names with different digits, such as `line1` and `line2`, are different.
fn similar(read: &str, unused: &[String]) -> Option<String> {
    let same = unused
        .iter()
        .find(|path| path.eq_ignore_ascii_case(read) && *path != read);
    if let Some(same) = same {
        return Some(same.clone());
    }
    let digits = |path: &str| -> String { path.chars().filter(char::is_ascii_digit).collect() };
    let (outer, name) = read.rsplit_once('/')?;
    let beside = unused.iter().filter_map(|path| path.rsplit_once('/'));
    let beside = beside.filter(|(around, other)| *around == outer && digits(other) == digits(name));
    // The plural names a list, and the path reads one value.
    let beside = beside.filter(|(_, other)| other.strip_suffix('s') != Some(name));
    let meant = spelling::misspelt(name, beside.map(|(_, name)| name))?;
    Some(format!("{outer}/{meant}"))
}

/// Returns the paths of the schema that no mapping expression reads, as JSON Pointers.
///
/// If the interpreter jaq runs an expression, only a run shows which paths the expression reads. For such an
/// expression, the paths come from the runs of the examples.
///
/// The returned list contains no CloudEvents attributes, because the bridge itself reads the attributes.
pub fn unread(source: &Source, event_type: &EventType, examples: &ExampleCoverage) -> Vec<String> {
    let envelope = source.json_envelope.as_ref();
    let mut reads = envelope.map(JsonEnvelope::reads).unwrap_or_default();
    reads.extend(event_type.mapping.reads());
    reads.extend(examples.reads.iter().cloned());
    let data = format!("{}/", source.data_pointer());
    let is_read = |place: &String| reads.iter().any(|read| covers(read, place, &reads));
    let places = event_type.schema.leaf_pointers().into_iter();
    places
        .filter(|place| place.starts_with(&data))
        .filter(|place| !is_read(place))
        .collect()
}

/// Returns the paths that the compiled expressions read and the schema does not have, each with a similar path of the
/// schema that no expression reads. `unread` is the result of [`unread`].
pub fn misspelt<'u>(event_type: &EventType, unread: &'u [String]) -> Vec<(String, &'u str)> {
    let leaves = event_type.schema.leaf_pointers();
    let reads = event_type.mapping.reads().into_iter();
    let unknown = reads.filter(|read| !leaves.iter().any(|leaf| overlap(read, leaf)));
    let meant = unknown.filter_map(|read| {
        if let Some(flat) = unread.iter().find(|path| is_flat(path, &read)) {
            return Some((read, flat.as_str()));
        }
        let (outer, name) = read.rsplit_once('/')?;
        let beside = unread.iter().filter_map(|path| path.rsplit_once('/'));
        let beside = beside.filter(|(around, _)| *around == outer);
        let meant = spelling::misspelt(name, beside.map(|(_, name)| name))?;
        let meant = unread
            .iter()
            .find(|path| **path == format!("{outer}/{meant}"))?;
        Some((read.clone(), meant.as_str()))
    });
    meant.collect()
}

/// Returns whether a path of the schema is one member whose name has the names of the path `read`, such as
/// `/contact[email]` or `/contact.email` and `/contact/email`.
fn is_flat(path: &str, read: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_separator = |c: char| matches!(c, '.' | '[' | ']');
    let parts: Vec<&str> = name
        .split(is_separator)
        .filter(|part| !part.is_empty())
        .collect();
    let outer = path.strip_suffix(name).unwrap_or_default();
    parts.len() > 1
        && read
            .strip_prefix(outer)
            .is_some_and(|read| read.split('/').eq(parts))
}

/// Returns whether the schema of an event type describes a part of an event, or nothing at all. `view` is the event in the form
/// that the schema reads.
pub fn is_described(source: &Source, event_type: &EventType, view: &Value) -> bool {
    let data = format!("{}/", source.data_pointer());
    let leaves = event_type.schema.leaf_pointers().into_iter();
    let mut leaves = leaves.filter(|leaf| leaf.starts_with(&data)).peekable();
    leaves.peek().is_none() || leaves.any(|leaf| has_place(view, &leaf))
}

/// Returns whether a value has a place of the schema. `*` stands for every item.
fn has_place(value: &Value, place: &str) -> bool {
    let mut values = vec![value];
    for step in place.split('/').skip(1) {
        let inner = values.iter().flat_map(|value| match (step, value) {
            ("*", Value::Array(items)) => items.iter().collect(),
            (_, value) => value
                .get(pointer::name(step))
                .into_iter()
                .collect::<Vec<_>>(),
        });
        values = inner.collect();
    }
    !values.is_empty()
}

/// Returns the Imprint fields of the mapping that no example sets or clears.
pub fn without_example(event_type: &EventType, examples: &ExampleCoverage) -> Vec<String> {
    let fields = event_type.mapping.fields().map(ToString::to_string);
    fields
        .filter(|field| !examples.targets.contains(field))
        .collect()
}

/// Returns whether a mapping that reads the path `read` also reads the schema path `leaf`.
///
/// The result is true if the two paths are equal, or if `read` lies inside `leaf`: the schema does not describe the parts
/// of `leaf`. The result is also true if `leaf` lies inside `read`, and no other path in `reads` lies inside `read`.
fn covers(read: &str, leaf: &str, reads: &BTreeSet<String>) -> bool {
    let is_leaf_inside = leaf.split('/').count() > read.split('/').count();
    overlap(read, leaf) && !(is_leaf_inside && pointer::any_inside(reads, read))
}

/// Returns whether one of the two paths contains the other path. `*` in `leaf` stands for every item.
fn overlap(read: &str, leaf: &str) -> bool {
    let mut steps = read.split('/').zip(leaf.split('/'));
    steps.all(|(read, leaf)| read == leaf || leaf == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N582: a path of the schema counts as read if an expression reads only a part of its value.
    #[test]
    fn a_place_covers_what_lies_inside_it_unless_a_part_is_read() {
        let reads = |reads: &[&str]| reads.iter().map(|read| (*read).to_owned()).collect();
        for (read, leaf, others, expected) in [
            ("/a", "/a", &["/a"][..], true),
            ("/a", "/a/b", &["/a"], true),
            ("/a", "/a/b", &["/a", "/a/c"], false),
            ("/a/0", "/a/*", &["/a/0"], true),
            ("/a/b", "/a", &["/a/b"], true),
            ("/a/0/b", "/a/*", &["/a/0/b"], true),
            ("/a/b/0", "/a/c", &["/a/b/0"], false),
            ("/ab", "/a", &["/ab"], false),
        ] {
            assert_eq!(
                covers(read, leaf, &reads(others)),
                expected,
                "{read} {leaf}"
            );
        }
    }
}
