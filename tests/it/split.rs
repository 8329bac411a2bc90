//! Tests of the errors about events that the expression `body.split` makes: each error names a place in the body of the
//! sender, and the part that the expression has in the cause.

use serde_json::{Value, json};

use crate::authentication::{SourceFolder, post};

const SOURCE: &str = r#"
[body]
format = "json"
split = '. as $body | .ids[] | {id: ., type: $body.type, event: $body.event, timestamp: $body.timestamp, kind: "crm"}'
id = '"\(.timestamp).\(.id)"'
type = '"\(.type).\(.event)"'
[events."person.update"]
schema = "person.json"
customer.partner_id = ".id | text"
version = ".timestamp"
version_domain = "sequence"
[events."person.update".update]
email = ".changes.email"
"#;
const SCHEMA: &str = r#"{"type": "object", "required": ["changes", "timestamp"], "properties": {"kind": {"enum": ["erp"]}}}"#;

fn body() -> Value {
    json!({"ids": [7, 8], "type": "person", "event": "update", "timestamp": 5, "changes": {"email": "a@example.com"}})
}

/// Posts the body, and returns the pointer and the sentence of each error.
fn errors(source: &str, body: &Value) -> Vec<(String, String)> {
    let folder = SourceFolder::new("", "kind = \"none\"", source);
    std::fs::write(folder.path("schemas/person.json"), SCHEMA).unwrap();
    let app = folder.start();
    let answer = post(&app, &[], &body.to_string());
    assert!(answer.status >= 400, "{}", answer.body);
    let faults = answer.json()["faults"].clone();
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    let faults = faults.as_array().unwrap().iter();
    faults
        .map(|error| (text(error, "pointer"), text(error, "detail")))
        .collect()
}

fn without(name: &str) -> Value {
    let mut body = body();
    body.as_object_mut().unwrap().remove(name);
    body
}

/// FAULTS N580: an event of an id in a list lacks a member: the error is about the body and not about the number, and says
/// what `body.split` has left out.
#[test]
fn a_missing_member_is_never_inside_a_number() {
    let found = errors(SOURCE, &body());
    let left_out = "The property \"changes\" is required. The body has a value here, but the expression body.split does \
                    not copy it into the event.";
    let made = "The value must be one of [\"erp\"]. The expression body.split makes this value, which the body does not \
                contain.";
    for expected in [left_out, made] {
        let expected = (String::new(), expected.to_owned());
        let count = found.iter().filter(|error| **error == expected).count();
        assert_eq!(count, 2, "{found:?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    let copied = SOURCE
        .replace("{id: .,", "$body + {id: .,")
        .replace("kind: \"crm\"", "kind: \"erp\"");
    let found = errors(&copied, &without("changes"));
    assert!(
        found.len() == 2 && found.iter().all(|(pointer, _)| pointer.is_empty()),
        "{found:?}"
    );
    assert!(
        found[0]
            .1
            .contains("\"changes\" is required. Neither the body at this place nor the event"),
        "{found:?}"
    );
}

/// FAULTS N580: an expression reads a member that `body.split` has not copied.
#[test]
fn a_member_that_the_split_drops_is_named() {
    let source = SOURCE.replace("kind: \"crm\"", "changes: $body.changes");
    let source = source.replace(".id | text", ".ids");
    let found = errors(&source, &body());
    let (pointer, detail) = &found[0];
    assert_eq!(pointer, "/ids", "{found:?}");
    assert!(detail.contains("does not copy it"), "{found:?}");
}

/// FAULTS N581: the absent part of a text is the fault, not the first part.
#[test]
fn the_absent_part_of_a_text_is_named() {
    for missing in ["type", "event"] {
        let pointer = format!("/{missing}");
        let found = errors(SOURCE, &without(missing));
        assert!(
            found.len() == 2 && found.iter().all(|error| error.0 == pointer),
            "{found:?}"
        );
    }
    // The jq interpreter runs this expression.
    let source = SOURCE.replace("type = '\"\\(.type).", "type = '. as $event | \"\\(.type).");
    assert_ne!(source, SOURCE);
    let found = errors(&source, &without("event"));
    assert!(found.iter().all(|error| error.0 == "/event"), "{found:?}");
}
