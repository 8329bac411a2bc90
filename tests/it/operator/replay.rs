//! Tests of the preview of a replay: the preview shows the requests that the replay then sends, and no others.

use std::collections::BTreeSet;

use super::*;
use crate::support::{by_partner, seed};

/// The text for a field that the source cleared, and that the bridge does not send.
const OMITTED: &str = "(cleared: nothing is sent, because imprint.clearing is \"omit\")";

/// An event with both ids of the customer.
pub(super) fn by_both(id: &str, revision: u64) -> Event {
    email(id, "c1", revision).with("/data/customer/id", json!("P-1"))
}

impl OperatedApp {
    /// Starts a bridge whose partner knows the customer `c1` under the CRM's id `P-1`.
    pub(super) fn with_known_pair() -> Self {
        let app = Self::start("");
        seed(
            &app.0,
            &json!([{"id": "c1", "partner_customer_id": "P-1"}, {"id": "c2"}]),
        );
        app.0.accept(&by_partner("first", "P-1", 1));
        app.0.wait_until("first", "delivered");
        app
    }

    pub(super) fn set_mode(&self, mode: &str) {
        self.post("/destination", &json!({"mode": mode, "reason": "a test"}));
    }

    /// Accepts an event while the bridge sends nothing, and parks its entry. Returns the number of the entry.
    pub(super) fn set_aside(&self, event: &Event, customer: &str) -> u64 {
        self.set_mode("paused");
        self.0.accept(event);
        let id = event.json()["id"].as_str().unwrap();
        let filter = json!({"state": "waiting", "customer": customer});
        let park = json!({"filter": filter, "reason": "a test"});
        let parked = wait_for("no request is in flight", || {
            let answer = self.send("POST /admin/v1/entries/park", &park);
            (answer.status == 200).then(|| answer.json())
        });
        self.set_mode("open");
        self.0.wait_until(id, "parked");
        parked["parked"][0].as_u64().unwrap()
    }

    pub(super) fn number(&self, id: &str) -> u64 {
        let states = ["waiting", "delivered", "superseded", "ignored", "parked"];
        let listed = states.map(|state| self.get(&format!("/entries?state={state}")));
        let mut entries = listed
            .iter()
            .flat_map(|listed| listed["entries"].as_array().unwrap());
        let entry = entries.find(|entry| entry["id"] == id).unwrap();
        entry["entry"].as_u64().unwrap()
    }

    pub(super) fn preview(&self, entries: &[u64]) -> Value {
        self.post("/entries/replay", &json!({"ids": entries, "preview": true}))
    }
}

/// FAULTS N450: the newer values of the customer were delivered under Imprint's id, and the parked entry has only the CRM's
/// id.
#[test]
fn the_preview_finds_newer_values_under_the_other_id_of_the_customer() {
    let app = OperatedApp::with_known_pair();
    let old = app.set_aside(&by_partner("old", "P-1", 2), "P-1");
    app.0.accept(&by_both("new", 3));
    app.0.wait_until("new", "delivered");
    let preview = app.preview(&[old]);
    assert_eq!(preview["requests"], json!([]), "{preview}");
    let newer = app.number("new");
    let result = &preview["results"][0];
    assert_eq!(
        (&result["status"], &result["superseded_by"]),
        (&json!("superseded"), &json!(newer)),
        "{preview}"
    );
    let shown = app.run("replay", &[&old.to_string(), "--preview"]).stdout;
    let line =
        format!("entry {old}: superseded, nothing is sent, because entry {newer} has newer values");
    assert!(shown.contains(&line), "{shown}");
    let applied = app.0.imprint.applied("c1").len();
    app.post("/entries/replay", &json!({"ids": [old]}));
    let receipt = app.0.wait_until("old", "superseded");
    assert_eq!(receipt["superseded_by"], "new");
    assert_eq!(app.0.imprint.applied("c1").len(), applied);
}

/// FAULTS N451: a newer entry of the customer waits under the other id, and a newer entry cleared a field without a request.
#[test]
fn the_preview_follows_waiting_and_ignored_entries() {
    let app = OperatedApp::with_known_pair();
    let old = app.set_aside(&by_both("old", 2), "c1");
    app.set_mode("paused");
    app.0.accept(&by_partner("waits", "P-1", 4));
    let waits = app.number("waits");
    let preview = app.preview(&[old]);
    assert_eq!(preview["results"][0]["superseded_by"], waits, "{preview}");
    assert_eq!(
        preview["requests"],
        json!([]),
        "the request has no value of the entry: {preview}"
    );
    let cleared = by_partner("cleared", "P-1", 5).with("/data/customer/email", Value::Null);
    app.0.accept(&cleared);
    let cleared = app.number("cleared");
    assert_eq!(app.preview(&[old])["results"][0]["superseded_by"], cleared);
    app.set_mode("open");
    let receipt = app.0.wait_until("cleared", "ignored");
    assert_eq!(receipt["ignored"], "clearing_omitted");
    let listed = app.run("events", &["--state", "ignored"]).stdout;
    assert!(listed.contains("clearing_omitted"), "{listed}");
    let preview = app.preview(&[old]);
    assert_eq!(preview["results"][0]["superseded_by"], cleared, "{preview}");
    app.post("/entries/replay", &json!({"ids": [old]}));
    assert_eq!(
        app.0.wait_until("old", "superseded")["superseded_by"],
        "cleared"
    );
}

/// FAULTS N1580: the preview said what a replay would send, and not what Imprint has instead. Each field has the version that
/// would be sent and the version, the event and the time of the delivered value.
#[test]
fn a_preview_compares_each_field_with_the_delivered_one() {
    let app = OperatedApp::with_known_pair();
    let first = app.number("first");
    let newer = by_partner("newer", "P-1", 5).with("/data/customer/phone", json!("+14155552671"));
    let newer = app.set_aside(&newer, "c1");
    let later = app.set_aside(&by_partner("later", "P-1", 7), "c1");
    let preview = app.preview(&[newer]);
    let request = &preview["requests"][0];
    let version =
        |value: u64, arrival: u64| json!({"epoch": 0, "value": value, "arrival": arrival});
    assert_eq!(request["versions"]["email"], version(5, newer), "{preview}");
    assert_eq!(request["versions"]["phone"], version(5, newer), "{preview}");
    let delivered = request["delivered"].as_array().unwrap();
    assert!(delivered.iter().all(|origin| origin["field"] != "phone"));
    let delivered = |field: &str| delivered.iter().find(|origin| origin["field"] == field);
    let email = delivered("email").unwrap();
    assert_eq!(email["version"], version(1, first), "{preview}");
    assert_eq!(email["event"]["id"], "first", "{preview}");
    let source = email["event"]["source"].as_str();
    assert!(source.is_some() && email["event"]["delivered_at"].is_string());
    // Of two replayed entries, the request sends the newer email. Imprint still has the first one.
    let both = app.preview(&[newer, later]);
    let request = &both["requests"][0];
    assert_eq!(request["versions"]["email"], version(7, later), "{both}");
    assert_eq!(request["versions"]["phone"], version(5, newer), "{both}");
    let printed = app.run("replay", &[&newer.to_string(), "--preview"]).stdout;
    let line = format!("Imprint has version 1 of entry {first}, event first of");
    assert!(printed.contains(&line), "{printed}");
    assert!(
        printed.contains("Imprint has nothing that the bridge knows"),
        "{printed}"
    );
}

/// FAULTS N451: the preview of several entries shows the requests of the replay, value by value.
#[test]
fn the_replay_sends_the_previewed_requests() {
    let app = OperatedApp::with_known_pair();
    let wide = by_partner("wide", "P-1", 2).with("/data/customer/language", json!("fr"));
    let wide = app.set_aside(&wide, "P-1");
    let cleared = by_both("cleared", 3).with("/data/customer/email", Value::Null);
    let cleared = app.set_aside(
        &cleared.with("/data/customer/phone", json!("+14155552671")),
        "c1",
    );
    let unknown = app.set_aside(&by_partner("unknown", "P-9", 1), "P-9");
    let preview = app.preview(&[wide, cleared, unknown]);
    let request = &preview["requests"][0];
    assert_eq!(request["customer"], "c1", "{preview}");
    assert_eq!(request["entries"], json!([wide, cleared]));
    assert_eq!(request["facts"]["email"], OMITTED, "{preview}");
    let overtaken = json!({"email": cleared, "customer_history.email": cleared});
    assert_eq!(preview["results"][0]["overtaken"], overtaken);
    assert_eq!(preview["results"][1]["status"], "delivered");
    // The bridge must first search for the customer `P-9`.
    assert_eq!(preview["requests"][1]["customer"], "P-9", "{preview}");
    assert_eq!(preview["results"][2]["status"], Value::Null, "{preview}");
    let before = app.0.imprint.applied("c1").len();
    app.post("/entries/replay", &json!({"ids": [wide, cleared]}));
    app.0.wait_until("cleared", "delivered");
    app.0.wait_until("wide", "delivered");
    // The entries wait under different ids, so the bridge possibly sends two requests.
    let applied = app.0.imprint.applied("c1").split_off(before);
    let sent = applied
        .iter()
        .flat_map(|call| call.body.as_object().unwrap().keys());
    let sent: BTreeSet<&str> = sent.map(String::as_str).collect();
    let facts = request["facts"].as_object().unwrap().iter();
    let shown = facts.filter(|(_, value)| **value != OMITTED);
    let shown = shown.map(|(field, _)| field.split('.').next().unwrap());
    assert_eq!(sent, shown.collect(), "{request}");
}

/// FAULTS N453: each number that a command does not change is named with its reason, and the exit code is 2 if nothing
/// happened.
#[test]
fn a_command_names_the_numbers_that_it_does_not_change() {
    let app = OperatedApp::with_known_pair();
    let delivered = app.number("first").to_string();
    let unknown = "no entry has this number";
    for (command, more, accepted) in [
        ("replay", &[][..], "parked or undecided or held"),
        (
            "discard",
            &["--reason", "a test"],
            "waiting or undecided or parked or held",
        ),
        (
            "park",
            &["--reason", "a test"],
            "waiting or undecided or held",
        ),
    ] {
        for preview in [&[][..], &["--preview"]] {
            let arguments = [&[delivered.as_str(), "99999"], more, preview].concat();
            let output = app.run(command, &arguments);
            let expected = [
                format!("entry 99999: unchanged, because {unknown}"),
                format!(
                    "entry {delivered}: unchanged, because the entry is delivered, and the command accepts only \
                     entries that are {accepted}"
                ),
            ];
            for line in expected {
                assert!(
                    output.stdout.contains(&line),
                    "{command}: {}",
                    output.stdout
                );
            }
            assert_eq!(output.code, 2, "{command} {preview:?}: {}", output.stdout);
        }
    }
    let parked = app.set_aside(&by_both("parked", 2), "c1");
    let answer = app.post("/entries/replay", &json!({"ids": [parked, 99999, parked]}));
    assert_eq!(answer["replayed"], json!([parked]), "{answer}");
    let unchanged =
        json!([{"entry": 99999, "reason": "unknown_entry", "status": null, "detail": unknown}]);
    assert_eq!(answer["unchanged"], unchanged);
    app.0.wait_until("parked", "delivered");
}

/// FAULTS N1181: a replay finds many entries that it cannot change, and others behind them.
#[test]
fn a_replay_reaches_the_entries_behind_many_unchanged_ones() {
    let sources = tempfile::tempdir().unwrap();
    let crm = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sources/crm.toml");
    let crm = std::fs::read_to_string(crm).unwrap();
    let crm = format!("{crm}\n[body]\non_invalid = \"park\"\n");
    std::fs::write(sources.path().join("crm.toml"), crm).unwrap();
    let folder = sources.path().display();
    let app = OperatedApp::start(&format!("sources_dir = \"{folder}\""));
    for number in 0..120 {
        let invalid = email(&format!("invalid-{number}"), "c2", 1).email("no address");
        app.0.accept(&invalid);
    }
    let behind = app.set_aside(&email("behind", "c1", 1), "c1");
    let filter = json!({"filter": {"state": "parked", "limit": 2}, "preview": true});
    let preview = app.post("/entries/replay", &filter);
    assert_eq!(
        (&preview["more"], &preview["next"]),
        (&json!(true), &json!(2))
    );
    let limited = app.run("replay", &["--limit", "2"]);
    assert!(
        limited.stdout.contains("--after 2 continues"),
        "{}",
        limited.stdout
    );
    let replayed = app.run("replay", &["--all", "--json"]);
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    let answer: Value = serde_json::from_str(&replayed.stdout).unwrap();
    assert_eq!(answer["replayed"], json!([behind]));
    assert_eq!(answer["unchanged"].as_array().unwrap().len(), 120);
    app.0.wait_until("behind", "delivered");
}
