use serde_json::{Value, json};

use crate::intake::kept::KeptParts;
use crate::intake::schema::Schema;
use crate::mapping::{JsonEnvelope, JsonEnvelopeRules, LookupTables, Mapping, MappingRules};

/// Returns the parts of an event that the store keeps, for a mapping that reads only `/id`.
fn kept(schema: &Value, event: &Value) -> Value {
    let schema = Schema::compile("test", schema).unwrap();
    let rules = MappingRules {
        partner_id: Some(".id".to_owned()),
        ..MappingRules::default()
    };
    let body = JsonEnvelopeRules {
        id: ".event".to_owned(),
        event_type: "\"changed\"".to_owned(),
        ..JsonEnvelopeRules::default()
    };
    let envelope = JsonEnvelope::compile(&body, &LookupTables::new()).unwrap();
    let mapping = Mapping::compile(&rules).unwrap();
    let parts = KeptParts::compile(&schema, &mapping, Some(&envelope));
    let mut kept = event.clone();
    parts.remove_others(&mut kept);
    let found = parts.look(event, false);
    assert_eq!(found.has_others, kept != *event, "{event}");
    assert!(!parts.look(&kept, false).has_others, "{kept}");
    kept
}

fn check(cases: &[(Value, Value, Value)]) {
    for (schema, event, expected) in cases {
        assert_eq!(kept(schema, event), *expected, "{schema}");
    }
}

/// Checks the kept parts of an event with the members `a`, `b`, `ab` and `id`.
fn check_members(cases: &[(Value, Value)]) {
    let event = json!({"a": {"x": 1, "y": [2]}, "b": 3, "ab": {"x": 4}, "id": "C"});
    for (schema, expected) in cases {
        assert_eq!(kept(schema, &event), *expected, "{schema}");
    }
}

/// FAULTS N621
#[test]
fn members_are_described_by_every_keyword_that_names_or_describes_them() {
    check_members(&[
        (json!({}), json!({"id": "C"})),
        (json!(true), json!({"id": "C"})),
        (json!({"type": "object"}), json!({"id": "C"})),
        (
            json!({"properties": {"a": true}}),
            json!({"a": {"x": 1, "y": [2]}, "id": "C"}),
        ),
        (
            json!({"properties": {"a": {"description": "d"}}}),
            json!({"a": {"x": 1, "y": [2]}, "id": "C"}),
        ),
        (
            json!({"properties": {"a": {"type": "object"}}}),
            json!({"a": {}, "id": "C"}),
        ),
        (
            json!({"properties": {"a": {"properties": {"x": {}}}}}),
            json!({"a": {"x": 1}, "id": "C"}),
        ),
        (
            json!({"properties": {"a": {"properties": {"y": {"type": "array"}}}}}),
            json!({"a": {"y": []}, "id": "C"}),
        ),
        (
            json!({"required": ["a", "b"]}),
            json!({"a": {}, "b": 3, "id": "C"}),
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": {}, "b": 3, "id": "C"}),
        ),
        (
            json!({"patternProperties": {"^a": {"properties": {"x": {}}}}}),
            json!({"a": {"x": 1}, "ab": {"x": 4}, "id": "C"}),
        ),
        (json!({"additionalProperties": true}), json!({"id": "C"})),
        (
            json!({"additionalProperties": {"type": ["integer", "object", "string"]}}),
            json!({"a": {}, "b": 3, "ab": {}, "id": "C"}),
        ),
        (
            json!({"unevaluatedProperties": {"properties": {"x": {}}}}),
            json!({"a": {"x": 1}, "b": 3, "ab": {"x": 4}, "id": "C"}),
        ),
        (
            json!({"properties": {"a": {"enum": [{"x": 1, "y": [2]}]}}}),
            json!({"a": {"x": 1, "y": [2]}, "id": "C"}),
        ),
    ]);
}

/// FAULTS N621: the description is the union of all subschemas and references.
#[test]
fn members_are_described_by_subschemas_and_references() {
    check_members(&[
        (
            json!({"not": {"required": ["z", "b"]}}),
            json!({"b": 3, "id": "C"}),
        ),
        (
            json!({"if": {"required": ["b"]}, "then": {"properties": {"ab": {}}}}),
            json!({"b": 3, "ab": {"x": 4}, "id": "C"}),
        ),
        (
            json!({"oneOf": [{"required": ["a"]}, {"required": ["z"]}]}),
            json!({"a": {}, "id": "C"}),
        ),
        (
            json!({"allOf": [{"properties": {"a": {"properties": {"x": {}}}}}, {"properties": {"a": {"properties": {"y": {}}}}}]}),
            json!({"a": {"x": 1, "y": [2]}, "id": "C"}),
        ),
        (
            json!({"$ref": "#/$defs/root", "$defs": {"root": {"properties": {"a": {"$ref": "#/$defs/any"}}}, "any": {}}}),
            json!({"a": {"x": 1, "y": [2]}, "id": "C"}),
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"x": {"properties": {"x": {}}}}, "properties": {"a": {"$ref": "#/definitions/x"}}, "dependencies": {"b": ["ab"]}}),
            json!({"a": {"x": 1}, "b": 3, "ab": {}, "id": "C"}),
        ),
    ]);
}

/// FAULTS N621
#[test]
fn items_are_described_by_every_keyword_that_describes_or_counts_them() {
    let event = json!({"a": [{"x": 1, "y": 2}, {"y": 3}, 4]});
    let of = |array: Value| json!({"properties": {"a": array}});
    let x = json!({"properties": {"x": {}}});
    let only_x = json!({"a": [{"x": 1}, {}, 4]});
    check(&[
        (
            of(json!({"type": "array"})),
            event.clone(),
            json!({"a": []}),
        ),
        (of(json!({"items": x})), event.clone(), only_x.clone()),
        (of(json!({"contains": x})), event.clone(), only_x.clone()),
        (of(json!({"unevaluatedItems": x})), event.clone(), only_x),
        (of(json!({"items": true})), event.clone(), event.clone()),
        (
            of(json!({"minItems": 1})),
            event.clone(),
            json!({"a": [{}, {}, 4]}),
        ),
        (
            of(json!({"uniqueItems": true})),
            event.clone(),
            event.clone(),
        ),
        (
            of(json!({"prefixItems": [x]})),
            event.clone(),
            json!({"a": [{"x": 1}]}),
        ),
        (
            of(json!({"prefixItems": [x, {}]})),
            event.clone(),
            json!({"a": [{"x": 1, "y": 2}, {"y": 3}]}),
        ),
        (
            of(json!({"prefixItems": [x], "items": {"properties": {"y": {}}}})),
            event.clone(),
            event,
        ),
    ]);
}

/// FAULTS N621: a recursive schema has a bounded number of rules, and references of any kind lose nothing.
#[test]
fn recursive_schemas_and_references_are_followed() {
    let tree = |reference: Value| json!({"$dynamicAnchor": "t", "$anchor": "n", "properties": {"leaf": {}, "left": reference, "right": reference}});
    let event =
        json!({"leaf": 1, "x": 2, "left": {"leaf": 3, "x": 4, "right": {"leaf": 5, "x": 6}}});
    let described = json!({"leaf": 1, "left": {"leaf": 3, "right": {"leaf": 5}}});
    for reference in [json!({"$ref": "#"}), json!({"$ref": "#n"})] {
        assert_eq!(kept(&tree(reference), &event), described);
    }
    // Such a reference can lead to several places, so the store keeps the whole value.
    let dynamic = kept(&tree(json!({"$dynamicRef": "#t"})), &event);
    assert_eq!(dynamic, json!({"leaf": 1, "left": event["left"]}));
    let embedded = json!({"properties": {"left": {"$id": "urn:inner", "$defs": {"a": {}}, "properties": {"leaf": {"$ref": "#/$defs/a"}}}}, "$defs": {"a": {}}});
    assert_eq!(kept(&embedded, &event), json!({"left": event["left"]}));
}
