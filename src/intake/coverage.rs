//! Mapping coverage: the schema paths that no mapping rule reads, and the Imprint fields that no example sets.

use std::collections::{BTreeMap, BTreeSet};

use super::explanation::{Explanation, TargetResult};
use super::source::{EventType, Source};
use crate::event::pointer;
use crate::mapping::JsonEnvelope;

/// The coverage of one event type: the paths that the mapping read in the examples, and the fields that the examples
/// set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExampleCoverage {
    /// The paths that the expressions read in the examples, as JSON Pointers.
    reads: BTreeSet<String>,
    /// The Imprint fields that the examples set or clear.
    targets: BTreeSet<String>,
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
        for target in event.targets.iter().flatten() {
            match target.result {
                TargetResult::Value { .. } | TargetResult::Cleared => {
                    covered.targets.insert(target.target.clone());
                }
                TargetResult::Absent
                | TargetResult::Skipped { .. }
                | TargetResult::Refused { .. } => {}
            }
        }
    }
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

/// Returns the Imprint fields of the mapping that no example sets or clears.
pub fn without_example(event_type: &EventType, examples: &ExampleCoverage) -> Vec<String> {
    let fields = event_type.mapping.fields().map(ToString::to_string);
    fields
        .filter(|field| !examples.targets.contains(field))
        .collect()
}

/// Returns whether a mapping that reads the path `read` also reads the schema path `leaf`.
///
/// The result is true if the two paths are equal. The result is also true if `leaf` lies inside `read`, and no other
/// path in `reads` lies inside `read`.
fn covers(read: &str, leaf: &str, reads: &BTreeSet<String>) -> bool {
    let mut steps = leaf.split('/');
    let fits = read.split('/').all(|step| {
        steps
            .next()
            .is_some_and(|of_leaf| of_leaf == step || of_leaf == "*")
    });
    let is_outside_only = steps.next().is_some() && pointer::any_inside(reads, read);
    fits && !is_outside_only
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_covers_what_lies_inside_it_unless_a_part_is_read() {
        let reads = |reads: &[&str]| reads.iter().map(|read| (*read).to_owned()).collect();
        for (read, leaf, others, expected) in [
            ("/a", "/a", &["/a"][..], true),
            ("/a", "/a/b", &["/a"], true),
            ("/a", "/a/b", &["/a", "/a/c"], false),
            ("/a/0", "/a/*", &["/a/0"], true),
            ("/a/b", "/a", &["/a/b"], false),
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
