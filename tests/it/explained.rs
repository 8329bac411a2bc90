//! Tests of what `explain` and `check` show of the table `[body]` and of the condition `when`.

use imprint_bridge::sandbox::{Sandbox, UnseededCustomer};
use serde_json::{Value, json};

use crate::authentication::{SourceFolder, post};
use crate::http::ask;
use crate::support::TestApp;

const SOURCE: &str = r#"
[body]
format = "json"
split = 'if .kind == "lead" then .lead.people[] as $person | . + {person: $person} else . end'
id = '"\(.n).\(.person.cid)"'
type = '"changed"'
[events.changed]
schema = "changed.json"
when = ".person.deleted != true"
customer.imprint_id = ".person.cid"
[events.changed.update]
email = ".person.email"
"#;
const SCHEMA: &str = r#"{"type": "object", "properties": {
    "n": {"type": "integer"}, "kind": {"type": "string"}, "note": {"type": "string"},
    "lead": {"type": "object", "properties": {"people": {"type": "array", "items": {"type": "object"}}}},
    "person": {"type": "object", "properties": {
        "cid": {"type": "string"}, "email": {"type": "string"}, "deleted": {"type": "boolean"}, "nick": {"type": "string"}
    }}
}}"#;

fn folder() -> SourceFolder {
    let folder = SourceFolder::new("", "kind = \"none\"", SOURCE);
    std::fs::write(folder.path("schemas/changed.json"), SCHEMA).unwrap();
    folder
}

fn body() -> Value {
    json!({"n": 7, "kind": "lead", "note": "canary", "lead": {"people": [
        {"cid": "C-1", "email": "canary@example.com"},
        {"cid": "C-2", "email": "canary@example.com", "nick": "canary", "deleted": true},
    ]}})
}

fn explain(folder: &SourceFolder, body: &Value, more: &[&str]) -> String {
    let file = folder.path("body.json");
    std::fs::write(&file, body.to_string()).unwrap();
    let arguments = ["explain", "--source", "probe", file.to_str().unwrap()];
    let (_, output, errors) = folder.run(&[&arguments, more].concat());
    assert_eq!(errors, "");
    output
}

fn row<'a>(event: &'a Value, target: &str) -> &'a Value {
    let mut rows = event["fields"].as_array().unwrap().iter();
    let row = rows.find(|row| row["target"] == target);
    row.unwrap_or_else(|| panic!("{target} in {event}"))
}

/// FAULTS N468: `explain` shows the expressions in `[body]`, and every place is a place in the body that the sender sent.
#[test]
fn explain_shows_the_table_body_and_places_in_the_body() {
    let folder = folder();
    let explained: Value = serde_json::from_str(&explain(&folder, &body(), &["--json"])).unwrap();
    let events = explained["events"].as_array().unwrap();
    for (event, person, id) in [
        (&events[0], "/lead/people/0", "7.C-1"),
        (&events[1], "/lead/people/1", "7.C-2"),
    ] {
        let reads = |target: &str| row(event, target)["reads"].clone();
        let split = reads("body.split");
        for place in ["/kind", person] {
            assert!(split.as_array().unwrap().contains(&json!(place)), "{split}");
        }
        let inside = |member: &str| format!("{person}/{member}");
        assert_eq!(row(event, "body.id")["value"], id, "{event}");
        assert_eq!(reads("body.id"), json!(["/n", inside("cid")]));
        assert_eq!(row(event, "body.type")["value"], "changed");
        assert_eq!(reads("email"), json!([inside("email")]));
        assert_eq!(reads("when"), json!([inside("deleted")]));
    }
    // Only `body.split` reads `/kind` and `/lead/people`.
    assert_eq!(events[0]["unused"], json!(["/note"]));
    assert_eq!(events[1]["unused"], json!(["/note", "/lead/people/1/nick"]));
    let text = explain(&folder, &body(), &[]);
    assert!(text.contains("body.split"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// FAULTS N469: `explain` shows the condition `when` as the bridge decides it.
#[test]
fn explain_shows_the_decision_of_when() {
    let folder = folder();
    let explained: Value = serde_json::from_str(&explain(&folder, &body(), &["--json"])).unwrap();
    let when = |index: usize| row(&explained["events"][index], "when").clone();
    assert_eq!(
        (&when(0)["value"], &when(0)["assumed"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&when(1)["value"], &when(1)["assumed"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(explained["events"][1]["ignored"], "condition");
    let text = explain(&folder, &body(), &[]);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("  when"))
        .collect();
    assert!(lines[0].contains("true (absent counts as null)"), "{text}");
    assert!(
        lines[1].contains("false ") && !lines[1].contains("absent"),
        "{text}"
    );
}

/// FAULTS N468: `check` does not list a path that only `body.split` reads.
#[test]
fn check_counts_the_reads_of_the_split() {
    let folder = folder();
    std::fs::create_dir(folder.path("sources/probe")).unwrap();
    std::fs::write(
        folder.path("sources/probe/one.event.json"),
        body().to_string(),
    )
    .unwrap();
    let result = explain(&folder, &body(), &["--example"]);
    std::fs::write(folder.path("sources/probe/one.request.json"), result).unwrap();
    let (code, output, errors) = folder.run(&["check"]);
    assert_eq!(code, Some(0), "{output}{errors}");
    let unread: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("not read:"))
        .collect();
    assert_eq!(unread, ["    not read: /note, /person/nick"], "{output}");
}

/// FAULTS N468: a member that `body.split` has renamed, and that no other expression reads, stays in the list.
#[test]
fn a_renamed_member_that_nothing_reads_is_not_read() {
    let folder = folder();
    let source = SOURCE.replace("{person: $person}", "{person: $person, extra: .note}");
    let file = folder.path("sources/probe.toml");
    std::fs::write(file, format!("[auth]\nkind = \"none\"\n{source}")).unwrap();
    let explained: Value = serde_json::from_str(&explain(&folder, &body(), &["--json"])).unwrap();
    assert_eq!(explained["events"][0]["unused"], json!(["/note"]));
}

/// FAULTS N475: after the delivery, the receipt, `show` and the list of entries name the cleared fields that no request
/// sends.
#[test]
fn a_delivered_event_names_the_cleared_fields_that_are_not_sent() {
    const TOKEN: &str = "token-of-alice-0123456789";
    let source = SOURCE.replace(
        "email = \".person.email\"",
        "email = \".person.email\"\nfirst_name = \".person.first\"\nmetadata.nick = \".person.nick\"",
    );
    let folder = SourceFolder::new("", "kind = \"none\"", &source);
    std::fs::write(folder.path("schemas/changed.json"), "{}").unwrap();
    let event = |n: u32| {
        let person = json!({"cid": "C-1", "email": format!("a{n}@example.com"), "first": null, "nick": "canary"});
        json!({"n": n, "person": person}).to_string()
    };
    for (clearing, omitted) in [
        (
            "omit",
            json!({"first_name": "imprint.clearing is \"omit\""}),
        ),
        ("empty", Value::Null),
    ] {
        let app = TestApp::setup()
            .settings(format!(
                "{}\n[imprint]\nclearing = \"{clearing}\"",
                folder.settings()
            ))
            .operator("alice", TOKEN)
            .start();
        let headers = [("content-type", "application/json"), ("prefer", "wait=20")];
        let line = "POST /v1/sources/probe/events";
        let answer = ask(app.ingress(), line, &headers, &event(7)).unwrap();
        assert_eq!(
            answer.json()["accepted"][0]["status"],
            "delivered",
            "{}",
            answer.body
        );
        let receipt = ask(app.ingress(), "GET /v1/sources/probe/events/7.C-1", &[], "");
        assert_eq!(receipt.unwrap().json()["omitted"], omitted);
        for line in [
            "GET /admin/v1/entries/1",
            "GET /admin/v1/entries?state=delivered",
        ] {
            let shown = app.ask_operator(TOKEN, line, &Value::Null).json();
            let entry = shown.get("entries").map_or(&shown, |entries| &entries[0]);
            assert_eq!(entry["omitted"], omitted, "{line}: {shown}");
            assert!(entry.get("skipped").is_none(), "{shown}");
        }
    }
}

/// FAULTS N470: the metrics tell the reasons of ignored events apart, on arrival and later.
#[test]
fn the_metrics_count_ignored_events_by_reason() {
    let folder = folder();
    let source = std::fs::read_to_string(folder.path("sources/probe.toml")).unwrap();
    let source =
        format!("ignore = [\"ping\"]\n{source}").replace("'\"changed\"'", "'.type // \"changed\"'");
    std::fs::write(folder.path("sources/probe.toml"), source).unwrap();
    let app = TestApp::setup()
        .settings(folder.settings())
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    let seed = Sandbox::parse_seed(br#"{"id": "C-1"}"#).unwrap();
    app.imprint.sandbox.seed(seed).unwrap();
    let mut stranger = body();
    stranger["lead"]["people"] = json!([{"cid": "C-9", "email": "a@example.com"}]);
    let ping = json!({"n": 8, "type": "ping", "person": {"cid": "C-1"}});
    for body in [body(), stranger, ping] {
        assert_eq!(post(&app, &[], &body.to_string()).status, 202);
    }
    for (reason, count) in [
        ("condition", 1),
        ("listed_type", 1),
        ("unknown_customer", 1),
        ("values_skipped", 0),
    ] {
        let line = format!("imprint_bridge_ignored_total{{reason=\"{reason}\"}} {count}");
        app.wait_for(&line, |app| {
            let page = app.ops_get("/metrics").body;
            page.lines().any(|printed| printed == line)
        });
    }
}

/// A source whose examples are one event, with the results of today.
fn with_example(source: &str, schema: &str, event: &Value) -> (SourceFolder, String) {
    let folder = SourceFolder::new("", "kind = \"none\"", source);
    std::fs::write(folder.path("schemas/changed.json"), schema).unwrap();
    std::fs::create_dir(folder.path("sources/probe")).unwrap();
    let file = folder.path("sources/probe/one.event.json");
    std::fs::write(&file, event.to_string()).unwrap();
    let arguments = [
        "explain",
        "--source",
        "probe",
        "--example",
        file.to_str().unwrap(),
    ];
    let (_, result, notice) = folder.run(&arguments);
    std::fs::write(folder.path("sources/probe/one.request.json"), result).unwrap();
    (folder, notice)
}

const PAIRS: &str = r#"
[body]
format = "json"
id = ".id"
type = '"changed"'
on_invalid = "park"
[events.changed]
schema = "changed.json"
customer.imprint_id = ".person.cid"
version = ".at"
version_domain = "sequence"
[events.changed.update]
first_name = ".names[0].first"
email = ".emails | first"
metadata.tier = '.custom."100764"[1]'
"#;
const PAIRS_SCHEMA: &str = r#"{"type": "object", "properties": {"id": {}, "at": {}, "names": {"type": "array"},
    "emails": {"type": "array"}, "custom": {"type": "object"}, "note": {"type": "array"},
    "person": {"type": "object", "properties": {"cid": {"type": "string"}}}}}"#;

fn pairs() -> Value {
    json!({"id": "1", "at": 5, "person": {"cid": "C-1"}, "names": [{"first": "Bo"}], "emails": ["a@example.com"],
        "custom": {"100764": ["A", "B"]}})
}

/// FAULTS N582: the schema says only that a value is a list or an object, and the mapping reads a part of the value.
#[test]
fn a_container_whose_part_is_read_is_read() {
    let (folder, notice) = with_example(PAIRS, PAIRS_SCHEMA, &pairs());
    let (code, output, errors) = folder.run(&["check"]);
    assert_eq!((code, notice.as_str()), (Some(0), ""), "{output}{errors}");
    let unread: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("not read"))
        .collect();
    assert_eq!(unread, ["    not read: /note"], "{output}");
}

/// FAULTS N587: with `on_invalid = "park"`, the saved result of a broken mapping becomes the expected result. `explain` and
/// `check` say that the example is invalid.
#[test]
fn a_broken_mapping_with_saved_results_is_reported() {
    let source = PAIRS.replace("version = \".at\"", "version = \".readat\"");
    let (folder, notice) = with_example(&source, PAIRS_SCHEMA, &pairs());
    assert!(
        notice.contains("save this result only if the event is meant to be invalid"),
        "{notice}"
    );
    let (code, output, errors) = folder.run(&["check"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        output.contains("    every example is invalid: no example shows a request"),
        "{output}"
    );
    assert!(
        output.contains("  1 example\n  examples with an invalid event that the bridge parks: 1\n"),
        "{output}"
    );
}

/// FAULTS N588: a misspelt path looks like an event that says nothing. `check` proposes the path of the schema.
#[test]
fn check_proposes_the_path_that_the_author_meant() {
    let source = PAIRS.replace(".person.cid", ".person.c_id");
    let (folder, _) = with_example(&source, PAIRS_SCHEMA, &pairs());
    let (_, output, _) = folder.run(&["check"]);
    let expected = "    the schema does not have /person/c_id, which an expression reads; did you mean /person/cid?";
    assert!(output.lines().any(|line| line == expected), "{output}");
}

/// FAULTS N589: an example expects one reason for parking the event, and finds another one.
#[test]
fn a_difference_names_both_reasons_of_a_parked_event() {
    let (folder, _) = with_example(PAIRS, PAIRS_SCHEMA, &json!({"id": "1", "at": 5}));
    let expected = json!({"parked": "foreign_address", "body": {}});
    std::fs::write(
        folder.path("sources/probe/one.request.json"),
        expected.to_string(),
    )
    .unwrap();
    let (code, _, errors) = folder.run(&["check"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(
        errors.contains("expected parked (foreign_address), found parked (invalid), {"),
        "{errors}"
    );
}
