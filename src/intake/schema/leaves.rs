//! Lists the innermost properties of a schema, for the notes of `check`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bounds::target;
use crate::event::pointer;

/// The maximum depth of the listed paths. A recursive schema has paths of any depth.
const DEPTH_MAX: usize = 16;
/// The maximum number of subschemas that a list visits. A schema with two recursive properties has 2^16 paths of the
/// maximum depth, and a larger one has paths without number. The notes of `check` are for people, so the list leaves out
/// further paths.
const VISITS_MAX: usize = 20_000;

/// The keywords that contain one subschema for the same value, or a list of them, and that describe a valid value.
const SAME_PLACE: [&str; 2] = ["then", "else"];
const SAME_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Returns the paths of the innermost properties, as JSON Pointers. `*` stands for every item of an array.
pub(super) fn pointers(document: &Value) -> Vec<String> {
    let mut leaves = LeafList {
        document,
        visits_left: VISITS_MAX,
        found: BTreeSet::new(),
    };
    leaves.add(document, "", DEPTH_MAX);
    leaves.found.into_iter().collect()
}

struct LeafList<'s> {
    document: &'s Value,
    visits_left: usize,
    found: BTreeSet<String>,
}

impl LeafList<'_> {
    /// Adds the leaves below `place`. Returns whether the schema describes a property or an item there.
    fn add(&mut self, schema: &Value, place: &str, depth: usize) -> bool {
        let (Some(depth), Some(visits_left)) =
            (depth.checked_sub(1), self.visits_left.checked_sub(1))
        else {
            return false;
        };
        self.visits_left = visits_left;
        let Value::Object(keywords) = schema else {
            return false;
        };
        let reference = keywords.get("$ref").and_then(Value::as_str);
        let target = reference.and_then(|reference| target(self.document, reference));
        let one = SAME_PLACE.iter().filter_map(|key| keywords.get(*key));
        let lists = SAME_PLACE_LISTS.iter().filter_map(|key| keywords.get(*key));
        let lists = lists.filter_map(Value::as_array).flatten();
        let mut has_leaves = false;
        for inner in target.into_iter().chain(one).chain(lists) {
            has_leaves |= self.add(inner, place, depth);
        }
        let properties = keywords.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            self.add_place(property, pointer::inside(place, name), depth);
            has_leaves = true;
        }
        if let Some(items) = keywords.get("items") {
            self.add_place(items, format!("{place}/*"), depth);
            has_leaves = true;
        }
        has_leaves
    }

    fn add_place(&mut self, schema: &Value, place: String, depth: usize) {
        if !self.add(schema, &place, depth) {
            self.found.insert(place);
        }
    }
}
