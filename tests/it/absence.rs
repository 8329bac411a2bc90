//! Tests of the promise that absence is never a statement: the bridge changes only fields that an event states.

use std::fs;

use serde_json::{Value, json};

use crate::http;
use crate::support::{TestApp, email};

/// Fields of one source, with a function or an operator of the language each, and with the value for [`stated`].
const FIELDS: &[(&str, &str, &str)] = &[
    ("email", ".email", r#""a@example.com""#),
    ("city", ".address.city", r#""Reno""#),
    ("metadata.path", ".a.b[0].c", r#""c""#),
    ("metadata.equal", r#".tier == "gold""#, r#"true"#),
    ("metadata.unequal", ".deleted_at != null", r#"true"#),
    ("metadata.same", ".tier == .deleted_at", r#"false"#),
    ("metadata.not", ".optin | not", r#"false"#),
    ("metadata.and", ".optin and .verified", r#"true"#),
    ("metadata.or", ".optin or .verified", r#"true"#),
    ("metadata.text", r#""tier \(.tier)""#, r#""tier gold""#),
    (
        "metadata.object",
        r#"{tier: .tier, from: "crm"}"#,
        r#"{"tier": "gold", "from": "crm"}"#,
    ),
    (
        "metadata.any",
        r#".tags | split(", ") | any(. == "VIP")"#,
        r#"true"#,
    ),
    ("metadata.any_item", ".phones | any(.main)", r#"true"#),
    ("metadata.all", ".phones | all(.main)", r#"true"#),
    ("metadata.has", r#".a | has("b")"#, r#"true"#),
    ("metadata.hasnt", r#"has("tier") | not"#, r#"false"#),
    ("metadata.list", "[.phones[] | .number]", r#"["1"]"#),
    (
        "metadata.chosen",
        "[.phones[] | select(.main) | .number]",
        r#"["1"]"#,
    ),
    ("metadata.pair", "[.tier, 1]", r#"["gold", 1]"#),
    (
        "metadata.join",
        r#"[.phones[] | .number] | join(",")"#,
        r#""1""#,
    ),
    ("metadata.sum", "[.orders[] | .total] | add", r#"7"#),
    ("metadata.count", ".orders | length", r#"2"#),
    ("metadata.more", ".points + 1", r#"11"#),
    ("metadata.less", "100 - .points", r#"90"#),
    ("metadata.greater", ".points > 5", r#"true"#),
    ("metadata.map", ".orders | map(.total)", r#"[3, 4]"#),
    ("metadata.keys", ".address | keys", r#"["city"]"#),
    (
        "metadata.entries",
        ".address | to_entries | map(.value)",
        r#"["Reno"]"#,
    ),
    ("metadata.first", "first(.orders[] | .total)", r#"3"#),
    ("metadata.start", ".tier[0:2]", r#""go""#),
    (
        "metadata.bound",
        ".tier as $tier | {$tier}",
        r#"{"tier": "gold"}"#,
    ),
    (
        "metadata.tried",
        "try (.tier | upper) catch .tier",
        r#""GOLD""#,
    ),
    ("metadata.other", ".nickname // .tier", r#""gold""#),
    (
        "metadata.listed",
        r#"[.tier // empty] | any(. == "gold")"#,
        r#"true"#,
    ),
    (
        "metadata.items",
        "[(.phones // empty) | .[].number] | length",
        r#"1"#,
    ),
    (
        "metadata.joined",
        r#"[(.tier // empty), (.a.b[0].c // empty)] | join(" ")"#,
        r#""gold c""#,
    ),
    (
        "metadata.selected",
        "[(.address // .nickname) | select(.city) | .city]",
        r#"["Reno"]"#,
    ),
    (
        "metadata.either",
        "[.nickname // .tier // empty] | length",
        r#"1"#,
    ),
    ("metadata.fallback", r#".tier // "none""#, r#""gold""#),
    (
        "metadata.branch",
        r#"if .optin then "yes" else "no" end"#,
        r#""yes""#,
    ),
];

fn fields() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    let parsed = |value: &str| serde_json::from_str(value).unwrap();
    FIELDS
        .iter()
        .map(move |(field, expression, value)| (*field, *expression, parsed(value)))
}

/// Returns an event that states every field.
fn stated() -> Value {
    json!({
        "email": "a@example.com", "address": {"city": "Reno"}, "a": {"b": [{"c": "c"}]}, "tier": "gold",
        "deleted_at": "2025-01-01", "optin": true, "verified": true, "tags": "loyal, VIP",
        "phones": [{"main": true, "number": "1"}], "orders": [{"total": 3}, {"total": 4}], "points": 10,
    })
}

fn start() -> (tempfile::TempDir, TestApp) {
    let folder = tempfile::tempdir().unwrap();
    let mut source = "[auth]\nkind = \"none\"\n[body]\nformat = \"json\"\nid = \".id\"\ntype = '\"c\"'\n\
                      [events.c]\nschema = \"c.json\"\ncustomer.imprint_id = '\"C-1\"'\n[events.c.update]\n"
        .to_owned();
    for (field, expression, _) in fields() {
        source.push_str(&format!("{field} = '{expression}'\n"));
    }
    fs::write(folder.path().join("crm.toml"), source).unwrap();
    fs::write(folder.path().join("c.json"), "{}").unwrap();
    let path = folder.path();
    let app = TestApp::setup()
        .settings(format!("sources_dir = {path:?}\nschemas_dir = {path:?}"))
        .start();
    (folder, app)
}

/// Posts an event, and returns the final status of the event and the body of the request that Imprint received.
fn outcome(app: &TestApp, id: &str, mut event: Value) -> (Value, Option<Value>) {
    event["id"] = json!(id);
    let before = app.imprint.calls().len();
    let headers = [("content-type", "application/json"), ("prefer", "wait=20")];
    let answer = http::ask(
        app.ingress(),
        "POST /v1/sources/crm/events",
        &headers,
        &event.to_string(),
    );
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let calls = app.imprint.calls();
    let body = calls.get(before).map(|call| call.body.clone());
    (answer.json()["accepted"][0]["status"].clone(), body)
}

/// FAULTS N320: an event without a member changes no field that reads the member. Only a literal that the author wrote as
/// a branch or after `//` can stand in for an absent value.
#[test]
fn an_event_changes_only_the_fields_that_it_states() {
    let (_folder, app) = start();
    let (status, body) = outcome(&app, "all", stated());
    assert_eq!(status, "delivered");
    let body = body.unwrap();
    for (field, expression, expected) in fields() {
        let found = &body.pointer(&format!("/{}", field.replace('.', "/")));
        assert_eq!(*found, Some(&expected), "{field} = {expression}");
    }
    let literals = json!({"metadata": {"fallback": "none", "branch": "no"}});
    assert_eq!(outcome(&app, "none", json!({})).1, Some(literals.clone()));
    // A null object says nothing about its members, and a null list says nothing about its items.
    let containers = json!({"address": null, "a": null});
    assert_eq!(outcome(&app, "null", containers).1, Some(literals));
}

/// Returns whether the member `name` is the only member of the event that an expression reads.
fn reads_only(expression: &str, name: &str, event: &Value) -> bool {
    let is_named = |part: &str, name: &str| {
        let rest = part.strip_prefix(name);
        rest.is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    };
    let parts: Vec<&str> = expression.split('.').skip(1).collect();
    let mut others = event
        .as_object()
        .unwrap()
        .keys()
        .filter(|other| *other != name);
    parts.iter().any(|part| is_named(part, name))
        && !others.any(|other| parts.iter().any(|part| is_named(part, other)))
}

/// FAULTS N320: with each member of an event removed in turn, the bridge sends no value for the fields that read only the
/// removed member.
#[test]
fn a_removed_member_is_no_statement() {
    let (_folder, app) = start();
    let all = stated();
    for name in all.as_object().unwrap().keys() {
        let mut event = all.clone();
        event.as_object_mut().unwrap().remove(name);
        let (_, body) = outcome(&app, name, event);
        let body = body.unwrap_or_default();
        for (field, expression, _) in fields() {
            let is_literal = ["metadata.fallback", "metadata.branch"].contains(&field);
            if reads_only(expression, name, &all) && !is_literal {
                let place = format!("/{}", field.replace('.', "/"));
                assert_eq!(
                    body.pointer(&place),
                    None,
                    "{field} = {expression} without {name}"
                );
            }
        }
    }
}

/// FAULTS N320: an empty list and an explicit null are statements.
#[test]
fn an_empty_list_and_null_are_statements() {
    let (_folder, app) = start();
    let event = json!({"phones": [], "tags": "", "optin": null, "orders": []});
    let (status, body) = outcome(&app, "empty", event);
    assert_eq!(status, "delivered");
    let metadata = &body.unwrap()["metadata"];
    let expected = json!({
        "not": true, "and": false, "or": false, "any_item": false, "all": true, "list": [], "chosen": [], "count": 0, "map": [], "any": false,
        "items": 0, "fallback": "none", "branch": "no",
    });
    assert_eq!(*metadata, expected);
}

/// FAULTS N897: the metrics show how many new events set or clear each field, so that a renamed member is noticed.
#[test]
fn the_metrics_count_the_events_that_set_or_clear_a_field() {
    let app = TestApp::start();
    let count = |field: &str, value: &str| {
        let labels = format!(r#"field="{field}",source="crm",value="{value}""#);
        app.metric(&format!("field_values_total{{{labels}}}"))
    };
    assert_eq!(count("city", "set"), Some(0.0));
    let first = email("1", "c1", 1).with("/data/customer/name", json!({"first": "Ada"}));
    app.accept(&first);
    app.accept(&first);
    app.accept(&email("2", "c1", 2).with("/data/customer/email", Value::Null));
    for (field, set, cleared) in [
        ("email", 1.0, 1.0),
        ("customer_history.email", 1.0, 1.0),
        ("first_name", 1.0, 0.0),
        ("city", 0.0, 0.0),
    ] {
        assert_eq!(count(field, "set"), Some(set), "{field}");
        assert_eq!(count(field, "cleared"), Some(cleared), "{field}");
    }
    assert_eq!(count("a.field.of.nobody", "set"), None);
}
