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
    let made = "The value must be one of [\"erp\"]. The value is from the expression body.split, and not from the body.";
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

/// A source whose expression `body.split` passes every member on, except one.
const PASSING: &str = r#"
[body]
format = "json"
split = '. | with_entries(select(.key != "sent_at"))'
id = ".webhookID"
type = '"person"'
[events.person]
schema = "person.json"
customer.partner_id = ".id"
[events.person.update]
email = ".email"
"#;

/// FAULTS N676: an expression misspells a member of the body.
#[test]
fn the_similar_member_of_the_body_is_named() {
    let body = json!({"id": "c-1", "webhookId": "w-1", "email": "a@example.com", "sent_at": 1});
    let unsplit = PASSING.replace("split = ", "# ");
    for source in [PASSING, &unsplit] {
        let found = errors(source, &body);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "/webhookID", "{found:?}");
        let named = found[0].1.ends_with("The body has a value at /webhookId.");
        assert!(named, "{found:?}");
        assert!(!found[0].1.contains("makes the object"), "{found:?}");
    }
    // No member has a similar name.
    let body = json!({"id": "c-1", "email": "a@example.com"});
    let found = errors(&unsplit, &body);
    assert_eq!(found[0].1, "The event must have a value here.", "{found:?}");
    // The body lacks a member that the schema requires.
    let source = PASSING.replace("webhookID", "id");
    let body = json!({"id": "c-1", "Changes": {}, "timestamp": 1, "email": "a@example.com"});
    let found = errors(&source, &body);
    assert!(
        found[0].1.ends_with("The body has a value at /Changes."),
        "{found:?}"
    );
}

/// FAULTS N678: the body is a list or a text that contains JSON.
#[test]
fn the_kind_of_a_body_that_is_no_object_is_named() {
    for (body, kind) in [
        (json!([{"id": "c-1"}]), "The value is an array."),
        (
            json!("{\"id\": 1}"),
            "The value is a text. If the text contains JSON,",
        ),
    ] {
        for source in [PASSING.to_owned(), PASSING.replace("split = ", "# ")] {
            let found = errors(&source, &body);
            assert!(found[0].1.contains(kind), "{found:?}");
        }
    }
}

/// FAULTS N677: with an expression that copies all members except one, `check` lists what no expression uses, and
/// `explain` lists what the expression leaves out.
#[test]
fn a_split_that_copies_members_does_not_use_them() {
    let folder = SourceFolder::new(
        "",
        "kind = \"none\"",
        &PASSING.replace("webhookID", "webhookId"),
    );
    let text = json!({"type": "string"});
    let names = ["id", "webhookId", "email", "companyName", "dnd"];
    let properties: serde_json::Map<_, _> = names
        .map(|name| (name.to_owned(), text.clone()))
        .into_iter()
        .collect();
    let schema = json!({"type": "object", "properties": properties});
    std::fs::write(folder.path("schemas/person.json"), schema.to_string()).unwrap();
    let body = json!({"id": "c-1", "webhookId": "w-1", "email": "a@example.com", "sent_at": 1, "companyName": "x", "dnd": "y"});
    std::fs::create_dir_all(folder.path("sources/probe")).unwrap();
    let event = folder.path("sources/probe/a.event.json");
    std::fs::write(&event, body.to_string()).unwrap();
    let dirs = "sources_dir = \"sources\"\nschemas_dir = \"schemas\"\n";
    std::fs::write(folder.path("bridge.toml"), dirs).unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(arguments)
            .current_dir(folder.path(""))
            .output()
            .unwrap();
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        texts.concat()
    };
    let report = run(&["check", "--config", "bridge.toml"]);
    assert!(
        report.contains("not read: /companyName, /dnd\n"),
        "{report}"
    );
    let report = run(&[
        "explain",
        "--config",
        "bridge.toml",
        "--source",
        "probe",
        event.to_str().unwrap(),
    ]);
    assert!(
        report.contains("not read: /companyName, /dnd\n"),
        "{report}"
    );
    let left_out = "in no event, because body.split does not copy it: /sent_at\n";
    assert!(report.contains(left_out), "{report}");
}

/// FAULTS N946: an expression copies a member of the body into each event, and the body lacks the member.
#[test]
fn a_member_that_the_body_lacks_has_its_place_in_the_body() {
    let source = |split: &str| {
        format!(
            "[body]\nformat = \"json\"\nsplit = '{split}'\nid = '.id | text'\ntype = \".event\"\n\
             [events.\"person.update\"]\nschema = \"person.json\"\ncustomer.partner_id = \".id | text\"\n\
             version = \".timestamp\"\nversion_domain = \"sequence\"\n\
             [events.\"person.update\".update]\nemail = \".email\"\n"
        )
    };
    let body = json!({"payload": [{"id": 7, "email": "a@example.com"}], "meta": {"at": 5}});
    for (split, expected) in [
        (".event as $e | .payload[] | . + {event: $e}", "/event"),
        (
            ". as $b | .payload[] | . + {event: $b.meta.event, at: $b.meta.at}",
            "/meta/event",
        ),
        (
            ". as $b | .payload[] | {id: .id, event: $b.meta.name}",
            "/meta/name",
        ),
        // The member of the inner object is another member.
        (
            ". as $b | .payload[] | {id: .id, of: {event: $b.meta.name}}",
            "/payload/0/event",
        ),
    ] {
        let found = errors(&source(split), &body);
        assert_eq!(found[0].0, expected, "{split}: {found:?}");
    }
}
