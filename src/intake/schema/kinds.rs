//! Finds out whether a schema names a type for the value at a place, for the notes of `check`.

use serde_json::{Map, Value};

use super::bounds::{references, same_place, target};

/// The maximum number of subschemas that a search visits. A recursive schema has no end.
const VISITS_MAX: usize = 2_000;
/// The maximum number of subschemas inside each other that a search visits, because each of them needs a stack frame.
const DEPTH_MAX: usize = 64;

/// Returns whether the schema names the type for the value at `place`. A schema without a type allows every type, but says
/// nothing about the values that the source sends.
pub(super) fn names_type(document: &Value, place: &str, kind: &str) -> bool {
    let mut search = TypeSearch {
        document,
        kind,
        visits_left: VISITS_MAX,
    };
    let steps: Vec<String> = place.split('/').skip(1).map(decoded).collect();
    search.finds(document, &steps, DEPTH_MAX)
}

/// Returns the name of the member or the number of the item for which a step of a JSON Pointer stands.
fn decoded(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

struct TypeSearch<'s> {
    document: &'s Value,
    kind: &'s str,
    visits_left: usize,
}

impl<'s> TypeSearch<'s> {
    fn finds(&mut self, schema: &'s Value, steps: &[String], depth: usize) -> bool {
        let (left, depth) = (self.visits_left.checked_sub(1), depth.checked_sub(1));
        let (Value::Object(keywords), Some(left), Some(depth)) = (schema, left, depth) else {
            return false;
        };
        self.visits_left = left;
        let document = self.document;
        let targets = references(keywords).filter_map(|reference| target(document, reference));
        let same: Vec<&Value> = targets.chain(same_place(keywords)).collect();
        let inner = match steps.split_first() {
            None if self.has_type(keywords) => return true,
            None => Vec::new(),
            Some((step, _)) => inside(keywords, step),
        };
        let rest = steps.get(1..).unwrap_or_default();
        same.into_iter()
            .any(|schema| self.finds(schema, steps, depth))
            || inner
                .into_iter()
                .any(|schema| self.finds(schema, rest, depth))
    }

    fn has_type(&self, keywords: &Map<String, Value>) -> bool {
        let is_kind = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            name == self.kind || (name == "integer" && self.kind == "number")
        };
        let is_value = |value: &Value| match value {
            Value::Bool(_) => self.kind == "boolean",
            Value::Number(_) => self.kind == "number",
            Value::String(_) => self.kind == "string",
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        let listed = |keyword: &str, fits: &dyn Fn(&Value) -> bool| match keywords.get(keyword) {
            Some(Value::Array(items)) => items.iter().any(fits),
            Some(value) => fits(value),
            None => false,
        };
        listed("type", &is_kind) || listed("enum", &is_value) || listed("const", &is_value)
    }
}

/// Returns the subschemas for a member or an item.
fn inside<'s>(keywords: &'s Map<String, Value>, step: &str) -> Vec<&'s Value> {
    let property = keywords.get("properties").and_then(|all| all.get(step));
    let is_item = step == "*" || step.bytes().all(|byte| byte.is_ascii_digit());
    let items = keywords.get("items").filter(|_| is_item);
    property.into_iter().chain(items).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N991
    #[test]
    fn a_schema_names_the_types_of_a_place() {
        let schema = json!({
            "properties": {
                "email": {"type": ["boolean", "null", "string"]},
                "count": {"type": "integer"},
                "any": {},
                "flag": {"enum": ["0", 1]},
                "list": {"items": {"$ref": "#/$defs/item"}},
                "a/b": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            },
            "$defs": {"item": {"const": true}},
        });
        for (place, kind, expected) in [
            ("/email", "boolean", true),
            ("/email", "number", false),
            ("/count", "number", true),
            ("/any", "boolean", false),
            ("/flag", "string", true),
            ("/flag", "number", true),
            ("/flag", "boolean", false),
            ("/list/3", "boolean", true),
            ("/list/x", "boolean", false),
            ("/a~1b", "number", true),
            ("/absent", "string", false),
        ] {
            assert_eq!(names_type(&schema, place, kind), expected, "{place} {kind}");
        }
        let endless = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert!(!names_type(&endless, "/a", "string"));
    }
}
