//! Limits the work that a JSON Schema can cause for the validator.
//!
//! The validator follows every subschema that applies to a value, and calls itself for each subschema. If the
//! references in a schema multiply, or lead back to the same value, the validator could need unlimited time, memory or
//! stack. [`excess`] finds such a schema when the bridge loads the schema. The bridge also cannot stop the validator
//! before the validator has listed every error, and a recursive `anyOf` multiplies the errors at each level of an
//! event. [`can_list_errors`] counts the errors in advance.

use serde_json::{Map, Value};

/// The maximum number of subschemas after the replacement of each reference by its target. The largest schema in this
/// repository has fewer than 200. For one value of an event, the validator evaluates at most this number of subschemas.
const SUBSCHEMAS_MAX: usize = 20_000;
/// The maximum depth of subschemas inside subschemas. This number limits the stack that [`Check`] needs.
const NESTING_MAX: usize = 256;
/// The maximum depth of subschemas inside subschemas that all apply to the same value of an event. An event has at most
/// 32 levels, so the validator calls itself at most 512 times, which needs less than half of a thread's stack of 2 MiB.
const SAME_PLACE_MAX: usize = 16;
/// The maximum number of errors that the validator could report for one event. The validator needs a few hundred bytes
/// for each error, and more for an error with long paths, so the list of errors takes less than 32 MiB.
const FAILURES_MAX: usize = 50_000;
/// The number of bytes in the paths of an error that count as one further error. An error contains its path in the
/// event and its path in the schema.
const PLACE_BYTES: usize = 128;
/// The number of bytes that each subschema and each level of the event adds to the paths, without the name of the
/// member.
const STEP_BYTES: usize = 24;

/// The number of values of an `enum` that count as one further error. An error of `enum` contains the whole list of
/// values.
const ENUM_VALUES: usize = 8;

/// The keywords that contain one subschema for the value to which the keyword applies.
const SAME_PLACE: [&str; 4] = ["not", "if", "then", "else"];
/// The keywords that contain a list of subschemas for the value to which the keyword applies.
const SAME_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// The keywords that contain a map of subschemas for the value to which the keyword applies.
const SAME_PLACE_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// The keywords that contain a reference to a subschema for the value to which the keyword applies.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// The keywords that contain one subschema for each member of an object.
const MEMBERS: [&str; 3] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
];
/// The keywords that contain one subschema for each item of an array.
const ITEMS: [&str; 4] = ["items", "additionalItems", "unevaluatedItems", "contains"];
/// The keywords that contain a list of subschemas, one for each item of an array.
const ITEM_LISTS: [&str; 2] = ["prefixItems", "items"];
/// The keywords that contain a map of subschemas for the members of an object.
const MEMBER_MAPS: [&str; 2] = ["properties", "patternProperties"];

/// Returns the reason why a schema could make the validator work without a bound. Returns `None` if the work has a
/// bound.
pub(super) fn excess(document: &Value) -> Option<String> {
    let mut check = Check {
        document,
        left: SUBSCHEMAS_MAX,
        outer: Vec::new(),
    };
    check.subschema(document, 0).err()
}

/// Returns whether the validator could report at most [`FAILURES_MAX`] errors for an event.
pub(super) fn can_list_errors(document: &Value, event: &Value) -> bool {
    let mut count = FailureCount {
        document,
        left: FAILURES_MAX,
    };
    count.subschema(document, event, 0).is_some()
}

/// Returns the target of a reference inside the document: a JSON Pointer or an anchor.
pub(super) fn target<'s>(document: &'s Value, reference: &str) -> Option<&'s Value> {
    let own = document.get("$id").and_then(Value::as_str).unwrap_or("");
    let own = own.trim_end_matches('#');
    let fragment = reference.strip_prefix(own).unwrap_or(reference);
    match fragment.strip_prefix('#') {
        Some("") => Some(document),
        Some(pointer) if pointer.starts_with('/') => {
            let decoded = percent_encoding::percent_decode_str(pointer);
            document.pointer(&decoded.decode_utf8().ok()?)
        }
        Some(anchor) => anchored(document, anchor),
        None if fragment.is_empty() => Some(document),
        None => None,
    }
}

fn anchored<'s>(schema: &'s Value, anchor: &str) -> Option<&'s Value> {
    let names = ["$anchor", "$dynamicAnchor"].map(|key| schema.get(key).and_then(Value::as_str));
    let is_old_anchor = |id: &str| id.strip_prefix('#') == Some(anchor);
    let id = schema.get("$id").and_then(Value::as_str);
    if names.contains(&Some(anchor)) || id.is_some_and(is_old_anchor) {
        return Some(schema);
    }
    let find = |inner: &'s Value| anchored(inner, anchor);
    match schema {
        Value::Object(members) => members.values().find_map(find),
        Value::Array(items) => items.iter().find_map(find),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Returns the subschemas that apply to the same value as the given schema, without the targets of references.
pub(super) fn same_place(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let one = SAME_PLACE.iter().filter_map(|key| schema.get(*key));
    let lists = SAME_PLACE_LISTS.iter().filter_map(|key| schema.get(*key));
    let lists = lists.filter_map(Value::as_array).flatten();
    let maps = SAME_PLACE_MAPS.iter().filter_map(|key| schema.get(*key));
    let maps = maps.filter_map(Value::as_object).flat_map(Map::values);
    one.chain(lists).chain(maps)
}

pub(super) fn references(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    REFERENCES
        .iter()
        .filter_map(|key| schema.get(*key).and_then(Value::as_str))
}

/// Returns the subschemas of a schema that apply to members and items of the value.
fn inner_places(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let one = MEMBERS.iter().chain(&ITEMS);
    let one = one.filter_map(|key| schema.get(*key));
    let lists = ITEM_LISTS.iter().filter_map(|key| schema.get(*key));
    let lists = lists.filter_map(Value::as_array).flatten();
    let maps = MEMBER_MAPS.iter().filter_map(|key| schema.get(*key));
    let maps = maps.filter_map(Value::as_object).flat_map(Map::values);
    one.chain(lists).chain(maps)
}

/// The walk through a schema that [`excess`] makes.
struct Check<'s> {
    document: &'s Value,
    left: usize,
    /// The subschemas around the current subschema, each with the number of the event's level to which it applies.
    outer: Vec<(&'s Value, usize)>,
}

impl<'s> Check<'s> {
    fn subschema(&mut self, schema: &'s Value, level: usize) -> Result<(), String> {
        let Value::Object(keywords) = schema else {
            return Ok(());
        };
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!(
                "the schema has more than {SUBSCHEMAS_MAX} subschemas when each reference is replaced by its target"
            )
        })?;
        let here = self.outer.iter().filter(|(_, outer)| *outer == level);
        if here.count() >= SAME_PLACE_MAX {
            return Err(format!(
                "more than {SAME_PLACE_MAX} subschemas inside each other apply to one value"
            ));
        }
        if self.outer.len() >= NESTING_MAX {
            return Err(format!(
                "the schema nests more than {NESTING_MAX} subschemas"
            ));
        }
        self.outer.push((schema, level));
        for reference in references(keywords) {
            self.reference(reference, level)?;
        }
        for inner in same_place(keywords) {
            self.subschema(inner, level)?;
        }
        for inner in inner_places(keywords) {
            self.subschema(inner, level + 1)?;
        }
        self.outer.pop();
        Ok(())
    }

    fn reference(&mut self, reference: &str, level: usize) -> Result<(), String> {
        let target = target(self.document, reference).ok_or_else(|| {
            format!("the reference {reference} does not lead to a place in this document that the bridge can find")
        })?;
        let outer = self.outer.iter().rev();
        let around = outer
            .clone()
            .find(|(outer, _)| std::ptr::eq(*outer, target));
        match around {
            None => self.subschema(target, level),
            Some((_, outer)) if *outer == level => Err(format!(
                "the reference {reference} leads back to itself at the same value of an event"
            )),
            // The validator remembers the result of a recursive reference for each value, so the reference adds no
            // work.
            Some(_) => Ok(()),
        }
    }
}

/// Counts the errors that the validator could report for one event.
struct FailureCount<'s> {
    document: &'s Value,
    left: usize,
}

impl<'s> FailureCount<'s> {
    /// Counts the possible errors of one subschema at one value. Returns `None` if the count exceeds the limit. `place`
    /// is the length of the value's path plus the length of the subschema's path, in bytes.
    fn subschema(&mut self, schema: &'s Value, value: &Value, place: usize) -> Option<()> {
        let place = place + STEP_BYTES;
        self.spend(1 + place / PLACE_BYTES)?;
        let Value::Object(keywords) = schema else {
            return Some(());
        };
        for reference in references(keywords) {
            self.subschema(target(self.document, reference)?, value, place)?;
        }
        for inner in same_place(keywords) {
            self.subschema(inner, value, place)?;
        }
        for (keyword, limit) in keywords {
            self.keyword(keyword, limit)?;
        }
        match value {
            Value::Object(members) => members
                .iter()
                .try_for_each(|(name, member)| self.member(keywords, (name, member), place)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|item| self.item(keywords, item, place)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }

    /// Counts the possible errors of a keyword that has no subschemas. For example, `required` has one possible error
    /// for each name.
    fn keyword(&mut self, keyword: &str, limit: &Value) -> Option<()> {
        match (keyword, limit) {
            ("enum", Value::Array(values)) => self.spend(values.len().div_ceil(ENUM_VALUES)),
            ("required", Value::Array(names)) => self.spend(names.len()),
            ("dependentRequired", Value::Object(names)) => {
                let lists = names.values().filter_map(Value::as_array);
                self.spend(lists.map(Vec::len).sum())
            }
            (_, _) => Some(()),
        }
    }

    fn member(
        &mut self,
        keywords: &'s Map<String, Value>,
        (name, member): (&str, &Value),
        place: usize,
    ) -> Option<()> {
        let property = keywords.get("properties").and_then(|all| all.get(name));
        let patterns = keywords.get("patternProperties");
        let patterns = patterns.and_then(Value::as_object);
        let every = MEMBERS.iter().filter_map(|key| keywords.get(*key));
        let patterns = patterns.into_iter().flat_map(Map::values);
        let mut applied = property.into_iter().chain(every).chain(patterns);
        let place = place + name.len() + STEP_BYTES;
        applied.try_for_each(|schema| self.subschema(schema, member, place))
    }

    fn item(
        &mut self,
        keywords: &'s Map<String, Value>,
        (index, item): (usize, &Value),
        place: usize,
    ) -> Option<()> {
        let lists = ITEM_LISTS.iter().filter_map(|key| keywords.get(*key));
        let listed = lists.filter_map(Value::as_array);
        let listed = listed.filter_map(|list| list.get(index));
        let every = ITEMS.iter().filter_map(|key| keywords.get(*key));
        let mut applied = listed.chain(every.filter(|schema| !schema.is_array()));
        let place = place + STEP_BYTES;
        applied.try_for_each(|schema| self.subschema(schema, item, place))
    }

    fn spend(&mut self, failures: usize) -> Option<()> {
        self.left = self.left.checked_sub(failures)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns definitions in which each one applies the next one twice.
    fn doubling(count: usize, applied: impl Fn(&str) -> Value) -> Value {
        let definitions: Map<String, Value> = (0..count)
            .map(|number| {
                let next = applied(&format!("#/$defs/d{}", number + 1));
                (format!("d{number}"), next)
            })
            .chain([(format!("d{count}"), json!({"type": "null"}))])
            .collect();
        json!({"$ref": "#/$defs/d0", "$defs": definitions})
    }

    #[test]
    fn a_schema_whose_work_multiplies_is_refused() {
        let same = |next: &str| json!({"anyOf": [{"$ref": next}, {"$ref": next}]});
        let inner =
            |next: &str| json!({"anyOf": [{"items": {"$ref": next}}, {"items": {"$ref": next}}]});
        assert_eq!(excess(&doubling(4, same)), None);
        assert!(excess(&doubling(8, same)).unwrap().contains("inside each"));
        assert_eq!(excess(&doubling(8, inner)), None);
        assert!(excess(&doubling(30, inner)).unwrap().contains("more than"));
        let chain = |next: &str| json!({"items": {"$ref": next}});
        assert_eq!(excess(&doubling(100, chain)), None);
        assert!(excess(&doubling(200, chain)).unwrap().contains("nests"));
    }

    #[test]
    fn a_reference_consumes_a_level_before_it_leads_back() {
        for (document, expected) in [
            (json!({"items": {"$ref": "#"}}), None),
            (json!({"$ref": "#"}), Some("itself")),
            (json!({"allOf": [{"$ref": "#"}]}), Some("itself")),
            (
                json!({"not": {"if": true, "then": {"$ref": "#"}}}),
                Some("itself"),
            ),
            (json!({"$recursiveRef": "#"}), Some("itself")),
            (
                json!({"$ref": "#a", "$defs": {"x": {"$anchor": "a", "$ref": "#/$defs/y"}, "y": {"$ref": "#a"}}}),
                Some("itself"),
            ),
            (
                json!({"$ref": "#a", "$defs": {"x": {"$anchor": "a", "items": {"$dynamicRef": "#a"}}}}),
                None,
            ),
            (json!({"$id": "urn:a", "items": {"$ref": "urn:a#"}}), None),
            (json!({"$id": "urn:a", "$ref": "urn:b"}), Some("find")),
            (json!({"$ref": "#/$defs/none"}), Some("find")),
        ] {
            let found = excess(&document);
            match expected {
                None => assert_eq!(found, None, "{document}"),
                Some(word) => assert!(found.unwrap().contains(word), "{document}"),
            }
        }
    }

    #[test]
    fn the_errors_of_an_event_are_counted_before_they_are_listed() {
        let recursive = json!({"anyOf": [
            {"type": "array", "items": {"$ref": "#"}},
            {"type": "array", "items": {"$ref": "#"}},
            {"type": "null"},
        ]});
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(can_list_errors(&recursive, &nested(8)));
        assert!(!can_list_errors(&recursive, &nested(30)));
        let named = json!({"additionalProperties": {"items": {"type": "string"}}});
        assert!(can_list_errors(&named, &json!({"k": vec![1; 1_000]})));
        let long = "k".repeat(60_000);
        assert!(!can_list_errors(&named, &json!({long: vec![1; 1_000]})));
        let items = json!({"items": {"type": "string"}});
        assert!(can_list_errors(&items, &json!(vec![1; 1_000])));
        assert!(!can_list_errors(&items, &json!(vec![1; 100_000])));
        let wide = json!({"properties": {"a": {"items": {"required": vec!["x"; 100]}}}});
        assert!(can_list_errors(&wide, &json!({"a": vec![json!({}); 100]})));
        assert!(!can_list_errors(
            &wide,
            &json!({"a": vec![json!({}); 1_000]})
        ));
        let names: Vec<String> = (0..60_000).map(|number| number.to_string()).collect();
        let patterns = json!({"patternProperties": {"a": {"required": names}}});
        assert!(!can_list_errors(&patterns, &json!({"a": 1})));
        let listed = json!({"prefixItems": [true, {"required": names}]});
        assert!(can_list_errors(&listed, &json!([1])));
        assert!(!can_list_errors(&listed, &json!([1, 1])));
    }
}
