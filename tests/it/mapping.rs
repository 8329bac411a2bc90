//! Tests of sources that send plain JSON instead of CloudEvents: mapping, `check`, and explanations.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::support::TestApp;

/// The admin API token of the operator `alice`.
const TOKEN: &str = "op-canary-token-1";
/// The folder of a test source that sends plain JSON instead of CloudEvents.
const SHOP: &str = "tests/it/sources/shop";

fn shop() -> TestApp {
    let settings =
        "sources_dir = \"tests/it/sources/shop\"\nschemas_dir = \"tests/it/sources/shop\"";
    let app = TestApp::setup().operator("alice", TOKEN);
    app.settings(settings).start()
}

fn post(app: &TestApp, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let line = "POST /v1/sources/shop/events";
    http::ask(app.ingress(), line, &headers, &body.to_string()).unwrap()
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 202, "{}", answer.body);
    let accepted = answer.json()["accepted"].as_array().unwrap().clone();
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    accepted.iter().map(id).collect()
}

/// Returns the row of a customer in the table `customers` of the source `shop`.
fn row(id: &str, email: &str, phone: &str) -> Value {
    json!({
        "id": id, "email": email, "street": "1 Elm St", "city": "Reno", "country": "US",
        "phones": [{"number": "415 555 0000"}, {"number": phone, "main": true}],
    })
}

fn change(seq: u64, before: &Value, after: &Value) -> Value {
    json!({"op": "u", "table": "customers", "seq": seq, "at": "2025-02-13T19:08:07Z", "before": before, "after": after})
}

fn receipt(app: &TestApp, id: &str) -> Value {
    let line = format!("GET /v1/sources/shop/events/{id}");
    http::ask(app.ingress(), &line, &[], "").unwrap().json()
}

fn status(app: &TestApp, id: &str) -> Value {
    receipt(app, id)["status"].clone()
}

/// Returns the reason why the event is ignored.
fn ignored(app: &TestApp, id: &str) -> Value {
    let receipt = receipt(app, id);
    assert_eq!(receipt["status"], "ignored", "{receipt}");
    receipt["ignored"].clone()
}

fn until(app: &TestApp, id: &str, wanted: &str) {
    app.wait_for(&format!("{id} is {wanted}"), |app| {
        status(app, id) == wanted
    });
}

#[test]
fn a_json_body_is_split_into_events_with_their_own_types() {
    let app = shop();
    let whole = row("c1", "a@example.com", "415 555 2671");
    let body = json!({"changes": [
        change(1, &Value::Null, &whole),
        {"op": "noise"},
        {"op": "d", "table": "customers", "seq": 2},
        {"op": "u", "table": "orders", "seq": 3},
    ]});
    assert_eq!(ids(&post(&app, &body)), ["1", "2", "3"]);
    until(&app, "1", "delivered");
    assert_eq!(ignored(&app, "2"), "listed_type");
    assert_eq!(ignored(&app, "3"), "condition");
    let calls = app.imprint.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].body,
        json!({"email": "a@example.com", "phone": "+14155552671", "street_line1": "1 Elm St", "city": "Reno"})
    );
    let again = post(&app, &body).json();
    assert!(
        again["accepted"]
            .as_array()
            .unwrap()
            .iter()
            .all(|event| event["duplicate"] == true)
    );
    assert_eq!(ids(&post(&app, &json!({"changes": []}))), [""; 0]);
    assert_eq!(
        ids(&post(&app, &json!({"changes": [{"op": "noise"}]}))),
        [""; 0]
    );
    let unstored = app.metric("empty_requests_total{source=\"shop\"}");
    assert_eq!(unstored, Some(2.0), "a 202 leaves a trace");
}

/// FAULTS N321: a number that the tables of this build do not have is sent, and an operator can see how many there are.
#[test]
fn a_phone_number_of_a_new_area_code_is_sent_and_counted() {
    let app = shop();
    let count = |app: &TestApp| app.metric("unlisted_phones_total{source=\"shop\"}");
    assert_eq!(count(&app), Some(0.0));
    let known = row("c1", "a@example.com", "415 555 2671");
    let new = row("c2", "b@example.com", "222 262 0100");
    let body = json!({"changes": [change(1, &Value::Null, &known), change(2, &Value::Null, &new)]});
    assert_eq!(ids(&post(&app, &body)), ["1", "2"]);
    until(&app, "2", "delivered");
    assert_eq!(app.imprint.applied("c2")[0].body["phone"], "+12222620100");
    assert_eq!(count(&app), Some(1.0));
    until(&app, "1", "delivered");
}

#[test]
fn only_field_groups_that_differ_are_sent() {
    let app = shop();
    let old = row("c1", "a@example.com", "415 555 2671");
    let mut moved = old.clone();
    moved["city"] = json!("Sparks");
    moved["zip"] = json!("89431");
    assert_eq!(
        ids(&post(&app, &json!({"changes": [change(1, &old, &moved)]}))),
        ["1"]
    );
    until(&app, "1", "delivered");
    // The bridge sends all lines of a changed address: a mix of old and new lines would be an address that does not
    // exist.
    assert_eq!(
        app.imprint.calls()[0].body,
        json!({"street_line1": "1 Elm St", "city": "Sparks"})
    );
    let mut cleared = moved.clone();
    cleared["email"] = Value::Null;
    cleared["points"] = json!(101);
    let changes = json!({"changes": [change(2, &moved, &cleared), change(3, &cleared, &cleared)]});
    assert_eq!(ids(&post(&app, &changes)), ["2", "3"]);
    until(&app, "2", "delivered");
    assert_eq!(ignored(&app, "3"), "nothing_to_send", "no field differs");
    assert_eq!(
        app.imprint.calls()[1].body,
        json!({"metadata": {"vip": true}})
    );
    let mut abroad = cleared.clone();
    abroad["country"] = json!("Canada");
    abroad["city"] = json!("Banff");
    assert_eq!(
        ids(&post(
            &app,
            &json!({"changes": [change(4, &cleared, &abroad)]})
        )),
        ["4"]
    );
    until(&app, "4", "parked");
}

/// Returns bodies with one faulty event, each with the expected answer: status, problem type, JSON Pointer and rule.
fn faulty() -> [(Value, u16, &'static str, &'static str, &'static str); 10] {
    let good = change(1, &Value::Null, &row("c1", "a@example.com", "415 555 2671"));
    let guessed = change(2, &Value::Null, &row("c2", "b@example.com", "555-2671"));
    let invalid = json!({"op": "u", "table": "customers", "seq": "three"});
    let nameless = json!({"op": "u", "table": "customers"});
    let beside = |bad: Value| json!({"changes": [good, bad]});
    let many = vec![json!({"op": "d", "seq": 1}); 101];
    let unknown = json!({"changes": [{"op": "x", "seq": 1}]});
    let place = "/changes/1/after/phones/1/number";
    [
        (beside(guessed), 422, "unmappable", place, "e164"),
        (beside(invalid), 422, "invalid", "/changes/1/seq", "type"),
        (beside(nameless), 400, "malformed", "/changes/1/seq", "body"),
        (
            unknown,
            422,
            "unknown_event_type",
            "/changes/0/op",
            "unknown_event_type",
        ),
        (json!({"changes": 7}), 400, "malformed", "/changes", "jq"),
        (json!({"changes": null}), 400, "malformed", "/changes", "jq"),
        (
            json!({"changes": {"a": good}}),
            400,
            "malformed",
            "/changes",
            "jq",
        ),
        (json!({"other": [good]}), 400, "malformed", "/changes", "jq"),
        (json!([good]), 400, "malformed", "", "jq"),
        (
            json!({"changes": many}),
            413,
            "too_many_events",
            "",
            "batch_size",
        ),
    ]
}

#[test]
fn a_body_is_refused_or_accepted_as_a_whole() {
    let app = shop();
    for (body, code, word, pointer, rule) in faulty() {
        let answer = post(&app, &body);
        assert_eq!(answer.status, code, "{}", answer.body);
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("urn:imprint-bridge:problem:{word}")
        );
        let fault = &problem["faults"][0];
        let found = (fault["pointer"].as_str(), fault["rule"].as_str());
        assert_eq!(found, (Some(pointer), Some(rule)), "{}", answer.body);
    }
    assert_eq!(status(&app, "1"), 404, "nothing was stored");
    let headers = [("content-type", "application/cloudevents+json")];
    let answer = http::ask(
        app.ingress(),
        "POST /v1/sources/shop/events",
        &headers,
        "{}",
    );
    assert_eq!(answer.unwrap().status, 415);
}

/// FAULTS N360: the pointer of an error is a place in the body that the sender sent.
#[test]
fn an_error_names_its_place_in_the_body() {
    let app = shop();
    let one = row("c1", "a@example.com", "415 555 2671");
    let bad = row("c2", "b@example.com", "555-2671");
    let noise = json!({"op": "noise"});
    let body = json!({"changes": [noise, change(1, &Value::Null, &one), noise, change(2, &Value::Null, &bad)]});
    let pointer = |answer: &Answer| answer.json()["faults"][0]["pointer"].clone();
    assert_eq!(
        pointer(&post(&app, &body)),
        "/changes/3/after/phones/1/number"
    );
    assert_eq!(
        ids(&post(
            &app,
            &json!({"changes": [change(1, &Value::Null, &one)]})
        )),
        ["1"]
    );
    let other = row("c1", "other@example.com", "415 555 2671");
    let answer = post(
        &app,
        &json!({"changes": [noise, change(1, &Value::Null, &other)]}),
    );
    assert_eq!(
        (answer.status, pointer(&answer)),
        (409, json!("/changes/1"))
    );
    let long = json!({"changes": [{"op": "u", "seq": "x".repeat(300)}]});
    assert_eq!(pointer(&post(&app, &long)), "/changes/0/seq");
}

fn admin(app: &TestApp, line: &str, body: &Value) -> Value {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = http::ask(app.ops(), line, &headers, &body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn field<'a>(event: &'a Value, target: &str) -> &'a Value {
    let fields = event["fields"].as_array().unwrap();
    fields
        .iter()
        .find(|field| field["target"] == target)
        .unwrap()
}

#[test]
fn an_explanation_shows_the_request_and_the_places_read() {
    let app = shop();
    let mut after = row("c1", "canary@example.com", "415 555 2671");
    after["email"] = Value::Null;
    after["nick"] = json!("canary");
    let body = json!({"changes": [change(7, &Value::Null, &after)]});
    let explanation = admin(&app, "POST /admin/v1/explain?source=shop", &body);
    let event = &explanation["events"][0];
    assert_eq!(event["outcome"], "request");
    assert_eq!(event["request"]["path"], "/v2/customers/c1");
    assert_eq!(event["version"], json!({"epoch": 0, "value": 7}));
    assert_eq!(event["cleared"], json!(["email"]));
    let reason = "imprint.clearing is \"omit\"";
    assert_eq!(event["omitted"], json!({"email": reason}));
    let phone = field(event, "phone");
    assert_eq!(
        phone["reads"],
        json!([
            "/changes/0/after/phones/0/main",
            "/changes/0/after/phones/1/main",
            "/changes/0/after/phones/1/number"
        ])
    );
    assert_eq!(
        (&phone["slow"], &phone["value"]),
        (&json!(true), &json!("••• (text of 12)"))
    );
    assert_eq!(field(event, "email")["says"], "cleared");
    assert_eq!(field(event, "metadata.vip")["says"], "absent");
    assert_eq!(
        event["unused"],
        json!(["/changes/0/after/nick", "/changes/0/after/phones/0/number"])
    );
    assert!(
        !explanation.to_string().contains("canary")
            && !explanation.to_string().contains("4155552671")
    );
    let explanation = admin(
        &app,
        "POST /admin/v1/explain?source=shop&reveal=true",
        &body,
    );
    assert_eq!(
        explanation["events"][0]["request"]["body"]["phone"],
        "+14155552671"
    );
    assert_eq!(
        app.imprint.calls().len(),
        0,
        "an explanation stores and sends nothing"
    );
}

/// FAULTS N361: an explanation marks the fields that have a value but are held back by `only_changed`, and shows an absent
/// field and a cleared field apart.
#[test]
fn an_explanation_marks_the_fields_that_only_changed_holds_back() {
    let app = shop();
    let old = row("c1", "a@example.com", "415 555 2671");
    let mut new = old.clone();
    new.as_object_mut().unwrap().remove("phones");
    new["email"] = json!("b@example.com");
    let body = json!({"changes": [change(7, &old, &new)]});
    let explanation = admin(&app, "POST /admin/v1/explain?source=shop", &body);
    let event = &explanation["events"][0];
    let found = |target: &str| {
        let field = field(event, target);
        (field["says"].clone(), field["unchanged"].clone())
    };
    assert_eq!(found("email"), (json!("value"), Value::Null));
    assert_eq!(found("city"), (json!("value"), json!(true)));
    assert_eq!(found("phone"), (json!("absent"), Value::Null));
    let folder = with_examples(&[("one.event.json", body)]);
    let file = folder.path().join("shop/one.event.json");
    let arguments = ["explain", "--source", "shop", file.to_str().unwrap()];
    let (_, output_text) = run(folder.path(), &arguments);
    assert!(output_text.contains(", unchanged"), "{output_text}");
    assert!(output_text.contains("(absent)"), "{output_text}");
}

/// An explanation lists every value that an expression reads, so the cost of an explanation must grow only linearly
/// with the length of a list.
#[test]
fn an_event_with_a_long_list_is_explained() {
    let app = shop();
    let mut after = row("c1", "a@example.com", "415 555 2671");
    after["phones"] = Value::Array(vec![json!({}); 7_000]);
    let body = json!({"changes": [change(7, &Value::Null, &after)]});
    let explanation = admin(&app, "POST /admin/v1/explain?source=shop", &body);
    let event = &explanation["events"][0];
    assert_eq!(event["outcome"], "refused");
    assert_eq!(field(event, "phone")["fault"]["rule"], "budget");
    assert!(field(event, "phone")["reads"].as_array().unwrap().len() > 1000);
}

#[test]
fn an_explanation_of_an_entry_marks_stale_fields() {
    let app = shop();
    let one = row("c1", "a@example.com", "415 555 2671");
    let mut refused = one.clone();
    refused["email"] = json!("b@example.com");
    refused["city"] = json!("Elko");
    app.imprint.inject(
        &json!({"customer": "c1", "times": 1, "action": {"status": 400, "param": "email"}}),
    );
    ids(&post(
        &app,
        &json!({"changes": [change(5, &one, &refused)]}),
    ));
    until(&app, "5", "parked");
    let mut newer = refused.clone();
    newer["city"] = json!("Ely");
    ids(&post(
        &app,
        &json!({"changes": [change(6, &refused, &newer)]}),
    ));
    until(&app, "6", "delivered");
    let parked = admin(&app, "GET /admin/v1/entries?state=parked", &Value::Null);
    let entry = &parked["entries"][0]["entry"];
    let explanation = admin(
        &app,
        &format!("GET /admin/v1/entries/{entry}/explain"),
        &Value::Null,
    );
    assert_eq!(field(&explanation, "email")["stale"], false);
    assert_eq!(field(&explanation, "city")["stale"], true);
    assert_eq!(explanation["request"]["path"], "/v2/customers/c1");
    let audit = || {
        admin(&app, "GET /admin/v1/audit", &Value::Null)["acts"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(audit(), 0);
    let line = format!("GET /admin/v1/entries/{entry}/explain?reveal=true");
    assert_eq!(
        field(&admin(&app, &line, &Value::Null), "email")["value"],
        "b@example.com"
    );
    assert_eq!(
        audit(),
        1,
        "the audit log records that values were revealed"
    );
}

/// Runs the program with the sources in `folder`, and returns the output also as text.
fn run(folder: &Path, arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("IMPRINT_BRIDGE__SOURCES_DIR", folder)
        .env("IMPRINT_BRIDGE__SCHEMAS_DIR", folder)
        .output()
        .unwrap();
    let output_text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8(output_text).unwrap())
}

/// Copies the folder of the source `shop` and adds these example files.
fn with_examples(examples: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["shop.toml", "shop.json"] {
        let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join(SHOP);
        fs::copy(shop.join(file), folder.path().join(file)).unwrap();
    }
    fs::create_dir(folder.path().join("shop")).unwrap();
    for (name, content) in examples {
        let file = folder.path().join("shop").join(name);
        fs::write(file, content.to_string()).unwrap();
    }
    folder
}

#[test]
fn check_runs_the_examples_and_reports_what_they_do_not_cover() {
    let one = row("c1", "a@example.com", "415 555 2671");
    let event = json!({"changes": [change(1, &Value::Null, &one), {"op": "d", "seq": 2}]});
    let request = json!({"method": "POST", "path": "/v2/customers/c1", "body": {
        "email": "a@example.com", "phone": "+14155552671", "street_line1": "1 Elm St", "city": "Reno",
    }});
    let guessed = json!({"changes": [change(1, &Value::Null, &row("c1", "a@example.com", "1"))]});
    let refusal = json!({"type": "unmappable", "faults": [{"pointer": "/changes/0/after/phones/1/number", "rule": "e164"}]});
    let mut wrong = request.clone();
    wrong["body"]["city"] = json!("Elko");
    let good = [
        ("good.event.json", event.clone()),
        ("good.request.json", json!([request, "ignored"])),
        ("guessed.event.json", guessed.clone()),
        ("guessed.refusal.json", refusal),
    ];
    let folder = with_examples(&good);
    let (output, output_text) = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{output_text}");
    for line in [
        "2 examples",
        "not read: /note\n",
        "in no example: metadata.vip\n",
        ": phone = .after.phones | map(select(.main))",
        "runs in the jq interpreter (",
        "ignored: row.d",
        "no errors",
    ] {
        assert!(output_text.contains(line), "{line} in {output_text}");
    }
    let bad = [
        ("wrong.event.json", event.clone()),
        ("wrong.request.json", json!([wrong, "ignored"])),
        ("few.event.json", event.clone()),
        ("few.request.json", json!([request])),
        ("sent.event.json", event.clone()),
        ("sent.request.json", json!(["ignored", "ignored"])),
        ("refused.event.json", guessed),
        (
            "refused.refusal.json",
            json!({"type": "invalid", "faults": []}),
        ),
        ("alone.event.json", event),
    ];
    let folder = with_examples(&bad);
    let (output, output_text) = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(2), "{output_text}");
    for line in [
        "wrong: event 0 /body/city: expected \"Elko\", found \"Reno\"",
        "few: expected 1 events, found 2",
        "sent: event 0 expected ignored, found",
        "refused: expected the problem invalid, found unmappable",
        "refused: unexpected error",
        "alone: has neither .request.json nor .refusal.json",
        "6 errors",
    ] {
        assert!(output_text.contains(line), "{line} in {output_text}");
    }
}

#[test]
fn the_explain_command_shows_the_same_explanation() {
    let one = row("c1", "canary@example.com", "415 555 2671");
    let event = json!({"changes": [change(1, &Value::Null, &one)]});
    let folder = with_examples(&[("one.event.json", event)]);
    let file = folder.path().join("shop/one.event.json");
    let file = file.to_str().unwrap();
    let (output, output_text) = run(folder.path(), &["explain", "--source", "shop", file]);
    assert_eq!(output.status.code(), Some(0), "{output_text}");
    assert!(
        output_text.contains("1 (row.u): request\n  to POST /v2/customers/c1; version 1"),
        "{output_text}"
    );
    assert!(
        output_text.contains("not read: /changes/0/after/phones/0/number\n"),
        "{output_text}"
    );
    assert!(!output_text.contains("canary"), "{output_text}");
    let arguments = ["explain", "--source", "shop", "--json", "--reveal", file];
    let (_, output_text) = run(folder.path(), &arguments);
    let explanation: Value = serde_json::from_str(&output_text).unwrap();
    assert_eq!(
        explanation["events"][0]["request"]["body"]["email"],
        "canary@example.com"
    );
}

/// FAULTS N456: the event only clears a field, and the settings send nothing for a cleared field.
#[test]
fn an_explanation_names_the_cleared_fields_that_are_not_sent() {
    let old = row("c1", "a@example.com", "415 555 2671");
    let mut new = old.clone();
    new["email"] = Value::Null;
    let folder = with_examples(&[(
        "one.event.json",
        json!({"changes": [change(2, &old, &new)]}),
    )]);
    let file = folder.path().join("shop/one.event.json");
    let arguments = ["explain", "--source", "shop", file.to_str().unwrap()];
    let (output, output_text) = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output_text}");
    let reason = "(cleared: nothing is sent, because imprint.clearing is \"omit\")";
    for line in ["2 (row.u): nothing to send\n", reason] {
        assert!(output_text.contains(line), "{output_text}");
    }
    new["city"] = json!("Sparks");
    let folder = with_examples(&[(
        "one.event.json",
        json!({"changes": [change(2, &old, &new)]}),
    )]);
    let file = folder.path().join("shop/one.event.json");
    let arguments = ["explain", "--source", "shop", file.to_str().unwrap()];
    let (_, output_text) = run(folder.path(), &arguments);
    for line in ["2 (row.u): request\n", reason] {
        assert!(output_text.contains(line), "{output_text}");
    }
}

#[test]
fn an_event_cannot_write_control_characters_to_the_terminal() {
    let mut one = row("c1", "a@example.com", "415 555 2671");
    one["city"] = json!("Reno ".repeat(12));
    one["\u{1b}]0;x\u{7}"] = json!("\u{9b}1A");
    let event = json!({"changes": [change(1, &Value::Null, &one)]});
    let folder = with_examples(&[("one.event.json", event)]);
    let file = folder.path().join("shop/one.event.json");
    let arguments = [
        "explain",
        "--source",
        "shop",
        "--reveal",
        file.to_str().unwrap(),
    ];
    let (output, output_text) = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output_text}");
    assert!(
        output_text.contains("/after/\u{fffd}]0;x\u{fffd}"),
        "{output_text}"
    );
    assert!(
        output_text.contains("Reno Reno Reno Reno Reno Reno Reno Reno Reno Ren…  "),
        "{output_text}"
    );
    let moves = |c: char| c.is_control() && c != '\n';
    assert!(!output_text.contains(moves), "{output_text:?}");
}

#[test]
fn a_backfill_of_json_bodies_is_sent_from_a_file() {
    let app = shop();
    let one = row("c1", "a@example.com", "415 555 2671");
    let bodies = [1, 2].map(|seq| json!({"changes": [change(seq, &Value::Null, &one)]}));
    let folder = with_examples(&[("all.ndjson", bodies[0].clone())]);
    let file = folder.path().join("shop/all.ndjson");
    fs::write(&file, format!("{}\n{}\n", bodies[0], bodies[1])).unwrap();
    let to = format!("http://{}", app.ingress());
    let file = file.to_str().unwrap();
    let arguments = [
        "send", "--source", "shop", "--to", &to, "--plain", "--quiet", file,
    ];
    let (output, output_text) = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output_text}");
    until(&app, "2", "delivered");
}
