//! The JSON Schema of the events of one type, inferred from samples.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::path::{JsonPath, Step};

/// The maximum depth of the values that an inferred schema describes. Deeper values can have any form.
const DEPTH_MAX: usize = 10;
/// The maximum number of members that an inferred schema describes, because a person reviews the schema.
const MEMBERS_MAX: usize = 500;

/// Infers a schema that accepts the events. A member can be absent or null, unless it stands in `required`.
///
/// Each member in `texts` can be a text or false.
pub(super) fn infer(
    title: &str,
    events: &[&Value],
    required: &[JsonPath],
    texts: &[JsonPath],
) -> Value {
    let mut shape = Shape::default();
    let mut members_left = MEMBERS_MAX;
    for event in events {
        shape.add(event, 0, &mut members_left);
    }
    for path in texts {
        shape.allow(path.steps(), &["boolean", "string"]);
    }
    let required: Vec<&[Step]> = required.iter().map(JsonPath::steps).collect();
    let mut schema = shape.schema(&required, true);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!(title));
        let description = "Inferred from samples. The schema allows other members; the mapping does not use them.";
        schema.insert("description".to_owned(), json!(description));
    }
    schema
}

/// The types of the values at one place.
#[derive(Default)]
struct Shape {
    types: BTreeSet<&'static str>,
    members: BTreeMap<String, Self>,
    items: Option<Box<Self>>,
}

impl Shape {
    fn add(&mut self, value: &Value, depth: usize, members_left: &mut usize) {
        let (name, depth) = (type_name(value), depth.saturating_add(1));
        self.types.insert(name);
        if depth > DEPTH_MAX {
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    self.add_member(name, value, depth, members_left);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.items
                        .get_or_insert_default()
                        .add(item, depth, members_left);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Adds a member, unless the member is new and the schema already describes enough members.
    fn add_member(&mut self, name: &str, value: &Value, depth: usize, members_left: &mut usize) {
        if !self.members.contains_key(name) {
            let Some(left) = members_left.checked_sub(1) else {
                return;
            };
            *members_left = left;
        }
        let member = self.members.entry(name.to_owned()).or_default();
        member.add(value, depth, members_left);
    }

    /// Allows more types for a member that the schema describes.
    fn allow(&mut self, steps: &[Step], types: &[&'static str]) {
        let Some((step, rest)) = steps.split_first() else {
            self.types.extend(types);
            return;
        };
        let inner = match step {
            Step::Member(name) => self.members.get_mut(name),
            Step::First | Step::Marked(..) | Step::Except(..) => self.items.as_deref_mut(),
            Step::Entry(_) => None,
        };
        if let Some(inner) = inner {
            inner.allow(rest, types);
        }
    }

    /// Returns the schema of the values. `required` has the rest of each required path below this place.
    fn schema(&self, required: &[&[Step]], is_required: bool) -> Value {
        let mut schema = Map::new();
        let mut types = self.types.clone();
        let is_known = types.iter().any(|name| *name != "null");
        if is_known {
            if !is_required {
                types.insert("null");
            }
            let types: Vec<Value> = types.into_iter().map(Value::from).collect();
            let single = types.first().filter(|_| types.len() == 1).cloned();
            schema.insert("type".to_owned(), single.unwrap_or(Value::Array(types)));
        }
        let mut names = BTreeSet::new();
        let mut properties = Map::new();
        for (name, shape) in &self.members {
            let is_below = |path: &&&[Step]| path.first() == Some(&Step::Member(name.clone()));
            let below = required.iter().filter(is_below);
            let below: Vec<&[Step]> = below.filter_map(|path| path.get(1..)).collect();
            if !below.is_empty() {
                names.insert(name.clone());
            }
            properties.insert(name.clone(), shape.schema(&below, !below.is_empty()));
        }
        if !names.is_empty() {
            schema.insert("required".to_owned(), json!(names));
        }
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(properties));
        }
        if let Some(items) = &self.items {
            schema.insert("items".to_owned(), items.schema(&[], false));
        }
        Value::Object(schema)
    }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::schema::Schema;

    #[test]
    fn an_inferred_schema_accepts_its_samples_and_requires_only_what_the_mapping_needs() {
        let one = json!({"id": 1, "e": null, "a": {"b": "x"}, "tags": [1, "a"], "at": "2025-02-13T19:08:07Z"});
        let other = json!({"id": "2", "e": "x", "a": null, "at": "2025-02-13T19:08:07Z"});
        let document = infer(
            "t",
            &[&one, &other],
            &[JsonPath::of(&["id"]), JsonPath::of(&["at"])],
            &[],
        );
        assert_eq!(document["required"], json!(["at", "id"]));
        assert_eq!(
            document["properties"]["id"]["type"],
            json!(["number", "string"])
        );
        let schema = Schema::compile("t", &document).unwrap();
        for (event, fits) in [
            (one, true),
            (other, true),
            (json!({"id": 1, "at": "x", "more": 1}), true),
            (json!({"id": 1}), false),
            (json!({"id": null, "at": "x"}), false),
            (json!({"id": 1, "at": "x", "e": 5}), false),
        ] {
            assert_eq!(schema.errors(&event).is_empty(), fits, "{event}");
        }
    }
}
