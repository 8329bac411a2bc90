//! Tests of the operator's use cases through the admin API and the command line, and of the audit log.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::support::{Event, TestApp, email, wait_for};

mod audit;
mod find;
mod logins;
mod replay;
mod roles;
mod waiting;

/// The admin API token of the operator `alice`.
const TOKEN: &str = "op-canary-token-1";

/// A bridge with the operator `alice`.
struct OperatedApp(TestApp);

impl OperatedApp {
    fn start(settings: &str) -> Self {
        let setup = TestApp::setup().operator("alice", TOKEN);
        Self(setup.settings(settings).start())
    }

    fn send(&self, line: &str, body: &Value) -> Answer {
        self.0.ask_operator(TOKEN, line, body)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let answer = self.send(&format!("GET /admin/v1{path}"), &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.send(&format!("POST /admin/v1{path}"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Posts an event that Imprint rejects, and returns the number of the parked entry.
    fn park(&self, event: &Event, customer: &str) -> u64 {
        let id = event.json()["id"].as_str().unwrap().to_owned();
        let fault =
            json!({"customer": customer, "times": 1, "action": {"status": 400, "param": "email"}});
        self.0.imprint.inject(&fault);
        self.0.accept(event);
        self.0.wait_until(&id, "parked");
        let parked = self.get(&format!("/entries?customer={customer}"));
        let entries = parked["entries"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["id"] == id.as_str())
            .unwrap();
        entry["entry"].as_u64().unwrap()
    }
}

/// FAULTS N203: a token file is read again without a restart. A removed token ends, and a half-written one never
/// counts.
#[test]
fn a_new_token_counts_and_a_removed_token_ends() {
    const NEW: &str = "op-canary-token-2";
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let app = app.start();
    let file = app.files.token_file("alice");
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = http::ask(app.ops(), "GET /admin/v1/entries", &headers, "");
        answer.unwrap().status
    };
    let becomes = |token: &str, expected: u16| {
        // The bridge reads the token files every 3 s, and reads a new token twice.
        app.advance_until("the token is read", Duration::from_secs(3), |_| {
            status(token) == expected
        });
    };
    assert_eq!((status(TOKEN), status(NEW)), (200, 401));
    std::fs::write(&file, NEW).unwrap();
    becomes(NEW, 200);
    assert_eq!(status(TOKEN), 401);
    std::fs::remove_file(&file).unwrap();
    becomes(NEW, 401);
    std::fs::write(&file, "too short").unwrap();
    assert_eq!((status("too short"), status("")), (401, 401));
    std::fs::write(&file, TOKEN).unwrap();
    becomes(TOKEN, 200);
}

/// FAULTS K16, X51
#[test]
fn only_a_request_with_an_operators_token_is_accepted() {
    let app = OperatedApp::start("");
    let ops = app.0.ops();
    let ask = |headers: &[(&str, &str)]| {
        let line = "GET /admin/v1/entries";
        http::ask(ops, line, headers, "").unwrap()
    };
    let wrong = [("authorization", "Bearer nobody")];
    for (headers, reason) in [(&[][..], "missing"), (&wrong, "mismatch")] {
        let answer = ask(headers);
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"operator\"")
        );
        assert_eq!(
            answer.json()["type"],
            "urn:imprint-bridge:problem:unauthenticated"
        );
        let name = format!("admin_denied_total{{reason=\"{reason}\"}}");
        assert_eq!(app.0.metric(&name), Some(1.0));
    }
    let public = http::ask(app.0.ingress(), "GET /admin/v1/entries", &wrong, "").unwrap();
    assert_eq!(public.status, 404, "the event listener has no admin API");
    let without_operators = TestApp::start();
    let answer = http::ask(without_operators.ops(), "GET /admin/v1/entries", &wrong, "").unwrap();
    assert_eq!(answer.status, 403);
}

/// FAULTS X51, V5
#[test]
fn values_are_masked_and_revealing_them_is_audited() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1");
    let other = app.park(&email("other", "c2", 1), "c2");
    let list = |query: &str| -> Vec<u64> {
        let list = app.get(&format!("/entries{query}"));
        let entries = list["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["entry"].as_u64().unwrap())
            .collect()
    };
    for (query, expected) in [
        ("", vec![entry, other]),
        (
            "?reason=rejected&source=crm&type=customer.changed",
            vec![entry, other],
        ),
        ("?reason=unreadable", vec![]),
        ("?customer=c2", vec![other]),
        ("?since=2020-01-01T00:00:00Z", vec![entry, other]),
        ("?before=2020-01-01T00:00:00Z", vec![]),
        ("?limit=1", vec![entry]),
        (&format!("?after={entry}"), vec![other]),
        ("?state=delivered", vec![]),
    ] {
        assert_eq!(list(query), expected, "{query}");
    }
    assert_eq!(
        app.send("GET /admin/v1/entries?nonsense=1", &Value::Null)
            .status,
        400
    );
    let masked = app.get(&format!("/entries/{entry}"));
    assert!(!masked.to_string().contains("bad@example.com"), "{masked}");
    assert_eq!(masked["facts"]["email"], "••• (text of 15)");
    assert_eq!(masked["parked"]["reason"], "rejected");
    let shown = app.get(&format!("/entries/{entry}?reveal=true"));
    assert_eq!(shown["facts"]["email"], "bad@example.com");
    assert_eq!(
        shown["event"]["data"]["customer"]["email"],
        "bad@example.com"
    );
    let audit = app.get("/audit");
    let records = audit["acts"].as_array().unwrap();
    assert_eq!((records.len(), &audit["sound"]), (1, &json!(true)));
    assert_eq!(
        (&records[0]["who"], &records[0]["what"]),
        (&json!("alice"), &json!("reveal"))
    );
    assert_eq!(records[0]["on"], entry.to_string());
}

/// FAULTS O14
#[test]
fn a_replay_can_be_previewed_and_sends_once() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1");
    let preview = app.post("/entries/replay", &json!({"ids": [entry], "preview": true}));
    assert_eq!(preview["would_replay"], 1);
    assert_eq!(preview["requests"][0]["customer"], "c1");
    assert_eq!(preview["requests"][0]["facts"]["email"], "••• (text of 15)");
    assert_eq!(
        app.0.receipt("bad")["status"],
        "parked",
        "a preview changes nothing"
    );
    let replay = json!({"filter": {"reason": "rejected"}, "map_again": true, "reason": "fixed"});
    assert_eq!(
        app.post("/entries/replay", &replay)["replayed"],
        json!([entry])
    );
    let receipt = app.0.wait_until("bad", "delivered");
    assert_eq!(receipt["attempts"], 2);
    for again in [json!({"ids": [entry]}), replay] {
        assert_eq!(app.post("/entries/replay", &again)["replayed"], json!([]));
    }
    assert_eq!(app.0.imprint.applied("c1").len(), 1);
    assert_eq!(app.0.metric("parked_entries"), Some(0.0));
    let audit = app.get("/audit");
    assert_eq!(audit["acts"][0]["reason"], "fixed");
    assert_eq!(audit["acts"][0]["entries"], 1);
}

/// FAULTS O13, V3: an operator replays a parked event after a newer event of the same customer was delivered.
#[test]
fn a_replay_never_overwrites_newer_values() {
    let app = OperatedApp::start("");
    let tuesday = app.park(&email("tuesday", "c1", 2), "c1");
    let wide = email("wide", "c2", 2).with("/data/customer/language", json!("fr"));
    let wide = app.park(&wide, "c2");
    for customer in ["c1", "c2"] {
        let id = format!("thursday-{customer}");
        app.0.accept(&email(&id, customer, 3));
        app.0.wait_until(&id, "delivered");
    }
    let preview = app.post(
        "/entries/replay",
        &json!({"ids": [tuesday, wide], "preview": true}),
    );
    let thursday = |customer: &str| {
        let listed = app.get(&format!("/entries?state=delivered&customer={customer}"));
        listed["entries"][0]["entry"].clone()
    };
    let results = &preview["results"];
    assert_eq!(results[0]["status"], "superseded", "{preview}");
    assert_eq!(results[0]["superseded_by"], thursday("c1"));
    assert_eq!(results[1]["status"], "delivered");
    assert_eq!(results[1]["overtaken"]["email"], thursday("c2"));
    assert_eq!(preview["requests"].as_array().map(Vec::len), Some(1));
    let facts = preview["requests"][0]["facts"].as_object().unwrap();
    assert!(facts.contains_key("preferred_language") && !facts.contains_key("email"));
    app.post("/entries/replay", &json!({"ids": [tuesday, wide]}));
    let receipt = app.0.wait_until("tuesday", "superseded");
    assert_eq!(receipt["superseded_by"], "thursday-c1");
    app.0.wait_until("wide", "delivered");
    assert_eq!(
        app.0.imprint.email("c1").as_deref(),
        Some("thursday-c1@example.com")
    );
    assert_eq!(
        app.0.imprint.email("c2").as_deref(),
        Some("thursday-c2@example.com")
    );
    let last = app.0.imprint.applied("c2").pop().unwrap();
    assert_eq!(
        (last.body.get("email"), &last.body["preferred_language"]),
        (None, &json!("fr"))
    );
}

/// FAULTS U57: an event without evidence does not stay undecided for ever: an operator discards it, parks it or sends it
/// again.
#[test]
fn undecided_events_are_discarded_parked_or_sent_again() {
    let app = OperatedApp::start("[dispatch]\nundecided_max = \"1s\"");
    let gone = json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"});
    app.0
        .imprint
        .inject(&json!({"customer": "c1", "action": gone}));
    let undecided = |id: &str, revision: u64| {
        app.0.accept(&email(id, "c1", revision));
        app.0.wait_until(id, "undecided");
        app.get("/entries?state=undecided")["entries"][0]["entry"].clone()
    };
    let entry = undecided("never", 1);
    let discard = json!({"ids": [entry], "reason": "a test row of the CRM"});
    assert_eq!(
        app.post("/entries/discard", &discard)["discarded"],
        json!([entry])
    );
    assert_eq!(app.0.receipt("never")["status"], "discarded");
    assert_eq!(app.0.metric("undecided_entries"), Some(0.0));
    let filter = json!({"state": "undecided"});
    let entry = undecided("parked", 2);
    let park = json!({"filter": filter, "reason": "Imprint examines this customer"});
    assert_eq!(app.post("/entries/park", &park)["parked"], json!([entry]));
    assert_eq!(app.0.receipt("parked")["status"], "parked");
    let entry = undecided("again", 3);
    assert_eq!(
        app.post("/entries/replay", &json!({"filter": filter}))["replayed"],
        json!([entry])
    );
    // The update of another customer proves that Imprint does not know this one.
    app.0.accept(&email("proof", "c2", 1));
    app.0.wait_until("again", "ignored");
}

#[test]
fn a_discard_needs_a_reason_and_erases_the_entry() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1");
    let answer = app.send("POST /admin/v1/entries/discard", &json!({"ids": [entry]}));
    assert_eq!(answer.status, 400, "{}", answer.body);
    let discard = json!({"ids": [entry], "reason": "a test row of the CRM"});
    assert_eq!(
        app.post("/entries/discard", &discard)["discarded"],
        json!([entry])
    );
    assert_eq!(app.0.receipt("bad")["status"], "discarded");
    assert_eq!(
        app.get(&format!("/entries/{entry}?reveal=true"))
            .get("facts"),
        None
    );
    assert_eq!(
        app.post("/entries/discard", &discard)["discarded"],
        json!([])
    );
    assert_eq!(
        app.post("/entries/replay", &json!({"ids": [entry]}))["replayed"],
        json!([])
    );
    let accepted = app.0.metric("accepted_total{source=\"crm\"}");
    let depth = ["parked_entries", "waiting_entries"].map(|name| app.0.metric(name).unwrap());
    assert_eq!((accepted, depth), (Some(1.0), [0.0, 0.0]));
}

/// After the change to `foreign_address = "skip"`, a replay sends the parked event without its address.
#[test]
fn a_replay_can_map_again_by_the_current_settings() {
    let mut app = OperatedApp::start("");
    let address =
        json!({"line1": "1 Rue X", "city": "Paris", "postal_code": "75001", "country": "FR"});
    let event = email("foreign", "c1", 1).with("/data/customer/address", address);
    app.0.post(&event);
    let parked = app.get("/entries");
    let entry = parked["entries"][0]["entry"].clone();
    let replay = json!({"ids": [entry], "map_again": true});
    let rejected = app.post("/entries/replay", &replay);
    assert_eq!(
        rejected["unmappable"][0]["faults"][0]["rule"],
        "foreign_address"
    );
    app.0.stop().unwrap();
    app.0
        .files
        .write_settings("[imprint]\nforeign_address = \"skip\"");
    app.0.restart();
    assert_eq!(
        app.post("/entries/replay", &replay)["replayed"],
        json!([entry])
    );
    app.0.wait_until("foreign", "delivered");
    assert_eq!(app.0.imprint.applied("c1")[0].body.get("city"), None);
}

/// FAULTS N1161: an operator corrects the mapping and replays an undecided entry with it. The entry keeps its stored values,
/// so the bridge changes nothing and says how to do it. FAULTS O14, U57: a replay without the mapping sends the stored change.
#[test]
fn a_replay_of_an_undecided_event_sends_its_stored_change_only_when_asked() {
    let dispatch = "[dispatch]\nundecided_max = \"1s\"";
    let mut app = OperatedApp::start(&format!(
        "{dispatch}\n[imprint]\nforeign_address = \"skip\""
    ));
    let gone = json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"});
    app.0
        .imprint
        .inject(&json!({"customer": "c1", "action": gone}));
    let address =
        json!({"line1": "1 Rue X", "city": "Paris", "postal_code": "75001", "country": "FR"});
    let event = email("foreign", "c1", 1).with("/data/customer/address", address);
    app.0.accept(&event);
    app.0.wait_until("foreign", "undecided");
    let entry = app.get("/entries?state=undecided")["entries"][0]["entry"].clone();
    app.0.stop().unwrap();
    // The mapping of the restarted bridge rejects the address.
    app.0.files.write_settings(dispatch);
    app.0.restart();
    for preview in [true, false] {
        let again = json!({"ids": [entry], "map_again": true, "preview": preview});
        let answer = app.post("/entries/replay", &again);
        let unchanged = &answer["unchanged"][0];
        assert_eq!(unchanged["reason"], "keeps_values", "{answer}");
        let remedy = "the entry is undecided, so a replay sends its stored values";
        assert!(unchanged.to_string().contains(remedy), "{answer}");
        assert_eq!(app.0.receipt("foreign")["status"], "undecided");
    }
    let mut replay = json!({"ids": [entry], "preview": true});
    let preview = app.post("/entries/replay", &replay);
    assert_eq!(
        (&preview["would_replay"], &preview["unmappable"]),
        (&json!(1), &json!([])),
        "{preview}"
    );
    let request = &preview["requests"][0];
    assert_eq!(request["facts"]["email"], "••• (text of 19)", "{request}");
    replay["preview"] = json!(false);
    let replayed = app.post("/entries/replay", &replay);
    assert_eq!(
        (&replayed["replayed"], &replayed["unmappable"]),
        (&json!([entry]), &json!([])),
        "{replayed}"
    );
    // The update of another customer proves that Imprint does not know this one.
    app.0.accept(&email("proof", "c2", 1));
    app.0.wait_until("foreign", "ignored");
}

/// FAULTS O13: mapping an old event again must not give the event the epoch of today.
#[test]
fn a_replay_keeps_the_version_that_the_event_had() {
    let sources = tempfile::tempdir().unwrap();
    let write = |epoch: u32| {
        let shipped = include_str!("../../config/sources/crm.toml");
        let version = "version = \".data.customer.revision\"";
        let text = shipped.replace(version, &format!("{version}\nepoch = {epoch}"));
        assert_ne!(text, shipped);
        std::fs::write(sources.path().join("crm.toml"), text).unwrap();
    };
    write(0);
    let folder = format!("sources_dir = \"{}\"", sources.path().display());
    let mut app = OperatedApp::start(&folder);
    let address =
        json!({"line1": "1 Rue X", "city": "Paris", "postal_code": "75001", "country": "FR"});
    let old = email("old", "c1", 1).with("/data/customer/address", address);
    app.0.post(&old);
    let entry = app.get("/entries")["entries"][0]["entry"].clone();
    app.0.accept(&email("new", "c1", 2));
    app.0.wait_until("new", "delivered");
    app.0.stop().unwrap();
    write(1);
    app.0
        .files
        .write_settings(&format!("{folder}\n[imprint]\nforeign_address = \"skip\""));
    app.0.restart();
    let replay = json!({"ids": [entry], "map_again": true});
    assert_eq!(
        app.post("/entries/replay", &replay)["replayed"],
        json!([entry])
    );
    // The old event delivers the address of the customer history, for which no newer value exists, and no email.
    app.0.wait_until("old", "delivered");
    assert_eq!(
        app.0.imprint.email("c1").as_deref(),
        Some("new@example.com")
    );
    // The first event of the restarted counter wins over all events of the counter before.
    app.0.accept(&email("restarted", "c1", 1));
    app.0.wait_until("restarted", "delivered");
    assert_eq!(
        app.0.imprint.email("c1").as_deref(),
        Some("restarted@example.com")
    );
}

/// FAULTS N313, V4: the operator pauses or shadows the destination while Imprint answers the first of two updates.
#[test]
fn a_pause_between_two_updates_holds_back_the_second_update() {
    let app = OperatedApp::start("");
    for (mode, customer) in [("paused", "c1"), ("shadow", "c2")] {
        let moves = |id: &str, revision: u64, line2: Value| {
            let address = json!({"line1": format!("{revision} Main St"), "line2": line2, "city": "Reno", "state": "NV", "postal_code": "89501"});
            let event = Event::new(&format!("{id}-{mode}"), customer, revision);
            app.0.accept(&event.with("/data/customer/address", address));
        };
        moves("in", 1, json!("Apt 4B"));
        app.0.wait_until(&format!("in-{mode}"), "delivered");
        app.0.imprint.inject(&json!({
            "customer": customer, "times": 1, "action": {"latency_ms": 500, "after": "apply"},
        }));
        moves("on", 2, Value::Null);
        let applied = || app.0.imprint.applied(customer);
        wait_for("the first update is in flight", || {
            (applied().len() == 2).then_some(())
        });
        app.post("/destination", &json!({"mode": mode, "reason": "a test"}));
        let on = format!("on-{mode}");
        wait_for("the first update is recorded", || {
            (app.0.receipt(&on)["attempts"] == 1).then_some(())
        });
        assert_eq!(app.0.receipt(&on)["status"], "waiting", "{mode}");
        assert_eq!(applied().len(), 2, "{mode}");
        app.post("/destination", &json!({"mode": "open"}));
        app.0.wait_until(&on, "delivered");
        let last = applied().split_off(2);
        let last: Vec<Value> = last.into_iter().map(|call| call.body).collect();
        assert_eq!(last, [json!({"street_line2": ""})], "{mode}");
    }
}

#[test]
fn a_pause_outlives_a_restart_and_ends_when_an_operator_opens_the_destination() {
    let mut app = OperatedApp::start("");
    app.post(
        "/destination",
        &json!({"mode": "paused", "reason": "Imprint migrates"}),
    );
    app.0.accept(&email("e", "c1", 1));
    app.0.stop().unwrap();
    app.0.restart();
    assert_eq!(app.get("/destination")["mode"], "paused");
    assert_eq!(app.0.receipt("e")["status"], "waiting");
    assert_eq!(app.0.imprint.calls().len(), 0);
    app.post("/destination", &json!({"mode": "open"}));
    app.0.wait_until("e", "delivered");
    let audit = app.get("/audit");
    assert_eq!(
        (audit["acts"].as_array().unwrap().len(), &audit["sound"]),
        (2, &json!(true))
    );
}

#[test]
fn shadow_mode_records_requests_and_sends_none() {
    let app = OperatedApp::start("");
    app.post(
        "/destination",
        &json!({"mode": "shadow", "reason": "a test"}),
    );
    app.0.accept(&email("e", "c1", 1));
    let shadow = wait_for("the request is recorded", || {
        let shadow = app.get("/shadow");
        (shadow["requests"].as_array().unwrap().len() == 1).then_some(shadow)
    });
    assert_eq!(shadow["requests"][0]["customer"], "c1");
    assert_eq!(shadow["requests"][0]["body"]["email"], "••• (text of 13)");
    assert_eq!(app.0.imprint.calls().len(), 0);
    assert_eq!(app.0.receipt("e")["status"], "waiting");
    // The waiting lanes are due at once, also after a pause in between.
    app.post(
        "/destination",
        &json!({"mode": "paused", "reason": "a test"}),
    );
    app.post("/destination", &json!({"mode": "open"}));
    app.0.wait_until("e", "delivered");
}

/// FAULTS U34
#[test]
fn a_retry_after_of_imprint_outlives_a_restart() {
    let mut app = OperatedApp::start("");
    let throttle = json!({"times": 2, "action": {"status": 429, "retry_after": "3600"}});
    app.0.imprint.inject(&throttle);
    app.0.accept(&email("e", "c1", 1));
    // Two answers count together only if the second request is sent after the first answer.
    app.0.wait_for("the first answer is assessed", |app| {
        app.metric("unproven_total") == Some(1.0)
    });
    app.0.accept(&email("f", "c2", 1));
    let throttled = |app: &OperatedApp| app.get("/destination")["state"] == "throttled";
    wait_for("the destination is throttled", || {
        throttled(&app).then_some(())
    });
    app.0.stop().unwrap();
    app.0.restart();
    assert!(throttled(&app));
    assert_eq!(app.0.imprint.calls().len(), 2);
    app.0.leave_waiting_entries();
}

/// FAULTS N172: a number that no store can have is an error of the request, and the bridge goes on.
#[test]
fn a_number_beyond_the_store_is_refused() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1");
    let first = 1_u64 << 63;
    for number in [first.to_string(), u64::MAX.to_string(), "1".repeat(40)] {
        for line in [
            format!("GET /admin/v1/entries/{number}"),
            format!("GET /admin/v1/entries/{number}/explain"),
            format!("GET /admin/v1/entries?after={number}"),
            format!("GET /admin/v1/entries?state=delivered&after={number}"),
            format!("GET /admin/v1/audit?after={number}"),
            format!("GET /admin/v1/entries?limit=-{number}"),
            format!("GET /admin/v1/audit?limit=-{number}"),
        ] {
            let answer = app.send(&line, &Value::Null);
            assert_eq!(answer.status, 400, "{line}: {}", answer.body);
        }
        let number: Value = serde_json::from_str(&number).unwrap();
        for action in ["replay", "discard", "park"] {
            for body in [
                json!({"ids": [number], "reason": "a test"}),
                json!({"ids": [number], "preview": true}),
                json!({"filter": {"after": number}, "reason": "a test"}),
            ] {
                let line = format!("POST /admin/v1/entries/{action}");
                let answer = app.send(&line, &body);
                assert_eq!(answer.status, 400, "{line} {body}: {}", answer.body);
            }
        }
        for arguments in [
            &["show", &number.to_string()][..],
            &["replay", &number.to_string()],
            &["discard", &number.to_string(), "--reason", "a test"],
            &["park", &number.to_string(), "--reason", "a test"],
            &["parked", "--after", &number.to_string()],
            &["audit", "--after", &number.to_string()],
        ] {
            let output = app.run(arguments[0], &arguments[1..]);
            assert!([1, 2].contains(&output.code), "{arguments:?}");
        }
    }
    let highest = i64::MAX.unsigned_abs();
    let answer = app.send(&format!("GET /admin/v1/entries/{highest}"), &Value::Null);
    assert_eq!(answer.status, 404, "{}", answer.body);
    let listed = app.get("/entries");
    assert_eq!(listed["entries"][0]["entry"], entry);
}

// === the command line ===

/// The output and the exit code of a command.
struct CommandOutput {
    code: i32,
    stdout: String,
    stderr: String,
}

impl OperatedApp {
    fn run(&self, command: &str, arguments: &[&str]) -> CommandOutput {
        let ops = format!("http://{}", self.0.ops());
        let token = self.0.files.token_file("alice");
        let token = token.to_str().unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .arg(command)
            .args(arguments)
            .args(["--ops", &ops, "--token-file", token])
            .output()
            .unwrap();
        CommandOutput {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn the_command_line_lists_shows_and_replays() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1").to_string();
    let output = app.run("parked", &["--parked-for", "rejected"]);
    assert_eq!(
        (output.code, output.stdout.lines().count()),
        (0, 2),
        "{}",
        output.stdout
    );
    // FAULTS N999: a misspelt word of a filter, beside the reason for the operation.
    for arguments in [
        ["replay", "--parked-for", "rejcted", "--reason", "x"].as_slice(),
        ["events", "--state", "parkd"].as_slice(),
    ] {
        let output = app.run(arguments[0], &arguments[1..]);
        let (option, word) = (arguments[1], arguments[2]);
        let wrong = format!("invalid value '{word}' for '{option} ");
        assert!(output.stderr.contains(&wrong), "{}", output.stderr);
        let meant = ["'rejected'", "'parked'"]
            .iter()
            .any(|meant| output.stderr.contains(meant));
        assert!(meant, "{}", output.stderr);
    }
    let why = "rejected: status 400 BAD_REQUEST_ERROR email";
    assert!(output.stdout.contains(why), "{}", output.stdout);
    let shown = app.run("show", &[&entry]).stdout;
    let is_masked = shown.contains("email: ••• (text of 15)") && !shown.contains("bad@");
    assert!(is_masked, "{shown}");
    let shown = app.run("show", &[&entry, "--reveal"]).stdout;
    assert!(shown.contains("email: bad@example.com"), "{shown}");
    let output = app.run("replay", &[&entry, "--preview"]);
    assert_eq!(
        (output.code, output.stdout.lines().next()),
        (0, Some("1 would be replayed"))
    );
    assert_eq!(
        app.run("replay", &[]).code,
        1,
        "the command must select entries"
    );
    let arguments = ["--customer", "c1", "--map-again", "--reason", "fixed"];
    let output = app.run("replay", &arguments);
    assert_eq!((output.code, output.stdout.trim()), (0, "1 replayed"));
    app.0.wait_until("bad", "delivered");
    assert_eq!(
        app.run("parked", &[]).code,
        2,
        "no entry is parked any more"
    );
    let listed = app
        .run("events", &["--state", "delivered", "--json"])
        .stdout;
    let events: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(events["entries"][0]["id"], "bad");
}

#[test]
fn the_command_line_discards_and_pauses() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1").to_string();
    let output = app.run("discard", &[&entry]);
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.contains("reason is required"),
        "{}",
        output.stderr
    );
    let output = app.run("discard", &[&entry, "--reason", "a test row"]);
    assert_eq!((output.code, output.stdout.trim()), (0, "1 discarded"));
    for mode in ["paused", "shadow"] {
        let output = app.run("destination", &[mode]);
        assert!(
            output.code != 0 && output.stderr.contains("a reason is required"),
            "{}",
            output.stderr
        );
    }
    let long = "x".repeat(1_001);
    let output = app.run("destination", &["paused", "--reason", &long]);
    let is_named = output.stderr.contains("at most 1000 characters");
    assert!(output.code != 0 && is_named, "{}", output.stderr);
    let output = app.run("destination", &["paused", "--reason", "they migrate"]);
    assert!(
        output.code == 0 && output.stdout.contains("mode: paused"),
        "{}",
        output.stdout
    );
    assert_eq!(app.run("destination", &["open"]).code, 0);
    let output = app.run("audit", &[]);
    assert_eq!(
        (output.code, output.stdout.lines().count()),
        (0, 1 + 3),
        "{}",
        output.stdout
    );
    for (what, word) in [("discard", "a test row"), ("mode", "they migrate")] {
        let has_both = |line: &str| line.contains(what) && line.contains(word);
        assert!(output.stdout.lines().any(has_both), "{}", output.stdout);
    }
}

/// FAULTS N1466
#[test]
fn the_command_line_shows_cases_and_the_origin_of_a_value() {
    let app = OperatedApp::start("");
    let none = app.run("problems", &[]);
    assert_eq!(none.code, 2, "{}", none.stderr);
    assert!(none.stderr.contains("no entry waits for an operator"));
    let entry = app.park(&email("bad", "c1", 1), "c1");
    app.park(&email("worse", "c2", 1), "c2");
    let listed = app.run("problems", &[]);
    let row = listed.stdout.lines().nth(1).unwrap();
    let is_case = row.starts_with("crm ") && row.contains("rejected") && row.contains("  2  ");
    assert!(listed.code == 0 && is_case, "{}", listed.stdout);
    let cases = app.run("problems", &["--json"]).stdout;
    let cases: Value = serde_json::from_str(&cases).unwrap();
    let case = &cases["cases"][0];
    assert_eq!(
        (&case["entries"], &case["customers"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(case["newest"][1], json!(entry), "{case}");
    app.0.accept(&email("good", "c3", 7));
    app.0.wait_until("good", "delivered");
    let shown = app.run("customer", &["--customer", "c3"]);
    let field = shown.stdout.lines().find(|line| line.starts_with("email "));
    let is_named = field.is_some_and(|line| line.contains("good") && line.contains("7 (epoch 0)"));
    assert!(shown.code == 0 && is_named, "{}", shown.stdout);
    let json = app.run("customer", &["--customer", "c3", "--json"]).stdout;
    let view: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["delivered"][0]["event"]["id"], "good", "{view}");
    assert_eq!(view["entries"][0]["status"], "delivered", "{view}");
    for output in [&listed.stdout, &shown.stdout, &json] {
        assert!(!output.contains("@example.com"), "{output}");
    }
    assert_eq!(app.run("customer", &["--customer", "nobody"]).code, 2);
}

/// FAULTS N1501: an operator without a browser tries an event, and an edited source file.
#[test]
fn the_command_line_tries_an_event_and_an_edited_source_file() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1").to_string();
    let body = app.0.files.store_file("body.json");
    std::fs::write(&body, email("tried", "c2", 1).json().to_string()).unwrap();
    let body = body.to_str().unwrap();
    let media_type = ["-H", "content-type: application/cloudevents+json"];
    let of_body = [&["--source", "crm", body], &media_type[..]].concat();
    let of_entry = ["--source", "crm", "--entry", &entry];
    let crm = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sources/crm.toml");
    let text = std::fs::read_to_string(crm).unwrap();
    let edited = |name: &str, from: &str, to: &str| {
        let path = app.0.files.store_file(name);
        assert!(text.contains(from));
        std::fs::write(&path, text.replace(from, to)).unwrap();
        path.display().to_string()
    };
    let same = edited("same.toml", "Bronze", "Bronze");
    let changed = edited(
        "changed.toml",
        "customer_history.email = \".data.customer.email\"",
        "",
    );
    let wrong = edited("wrong.toml", "\".data.customer.email\"", "\".data.(\"");
    for event in [&of_body[..], &of_entry] {
        for (file, code, said) in [
            (None, 0, "email"),
            (Some(&same), 0, "the edited file changes nothing"),
            (Some(&changed), 0, "  customer_history.email: "),
            (Some(&wrong), 2, "the edited file has errors:"),
        ] {
            let file = file.map(|file| ["--edited", file.as_str()]);
            let arguments = [event, file.as_ref().map_or(&[][..], |file| &file[..])].concat();
            let tried = app.run("try-out", &arguments);
            assert_eq!(tried.code, code, "{}{}", tried.stdout, tried.stderr);
            assert!(tried.stdout.contains(said), "{said}: {}", tried.stdout);
            assert!(!tried.stdout.contains("@example.com"), "{}", tried.stdout);
        }
    }
    let json = app.run("try-out", &[&of_body[..], &["--json"]].concat());
    let answer: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(answer["live"]["source"], "crm", "{answer}");
    let shown = app.run("try-out", &[&of_body[..], &["--reveal"]].concat());
    assert!(shown.stdout.contains("@example.com"), "{}", shown.stdout);
    assert_eq!(
        app.run("events", &["--id", "tried"]).code,
        2,
        "stored nothing"
    );
}

/// FAULTS N1498: the command line and the console say why a customer's entry is not sent: an operator has paused the delivery,
/// or an operator must decide.
#[test]
fn the_customer_says_why_nothing_is_sent() {
    let app = OperatedApp::start("");
    let entry = app.park(&email("bad", "c1", 1), "c1");
    let said = "No entry waits for delivery, but 1 entry is parked, and an operator must decide";
    let shown = app.run("customer", &["--customer", "c1"]).stdout;
    assert!(shown.contains(said), "{shown}");
    let pause = json!({"mode": "paused", "reason": "a test"});
    app.post("/destination", &pause);
    app.0.accept(&email("good", "c1", 2));
    let shown = app.run("customer", &["--customer", "c1"]).stdout;
    assert!(
        shown.contains("The next request waits: sending is paused since 20"),
        "{shown}"
    );
    let json = app.run("customer", &["--customer", "c1", "--json"]).stdout;
    let view: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["hold"]["reason"], "sending is paused", "{view}");
    assert_eq!(view["stopped"], json!({"parked": 1}), "{view}");
    assert!(!shown.contains(" is due "), "{shown}");
    app.post("/destination", &json!({"mode": "open"}));
    app.0.wait_until("good", "delivered");
    let discard = ["--reason", "a test", &entry.to_string()];
    assert_eq!(app.run("discard", &discard).code, 0);
    let shown = app.run("customer", &["--customer", "c1"]).stdout;
    assert!(shown.contains("No entry waits\n"), "{shown}");
}

/// FAULTS N896: the metrics show the time of the latest backup, also after a restart.
#[test]
fn the_time_of_the_latest_backup_is_kept() {
    let mut app = OperatedApp::start("");
    let backup_time = |app: &OperatedApp| app.0.metric("last_backup_timestamp_seconds").unwrap();
    app.0.accept(&email("before-it", "c1", 1));
    assert!(app.run("store", &["backup", "../copy.db"]).code != 0);
    assert!(backup_time(&app) == 0.0, "a refused backup is no backup");
    assert_eq!(app.run("store", &["backup", "copy.db"]).code, 0);
    let time = backup_time(&app);
    let before = app
        .0
        .metric(r#"last_event_timestamp_seconds{source="crm"}"#);
    assert!(
        before.is_some_and(|before| before > 0.0 && before <= time),
        "{time}"
    );
    app.0.stop().unwrap();
    app.0.restart();
    assert!(backup_time(&app) == time, "after a restart");
}

/// FAULTS N1419: the time of the last event of a source is kept over a restart, so that the alert about a silent source fires
/// also after a restart. A source without an event has no time.
#[test]
fn the_time_of_the_last_event_is_kept() {
    let mut app = OperatedApp::start("");
    let name = r#"last_event_timestamp_seconds{source="crm"}"#;
    assert_eq!(app.0.metric(name), None);
    app.0.accept(&email("before-it", "c1", 1));
    let time = app.0.metric(name);
    assert!(time.is_some_and(|time| time > 1_500_000_000.0), "{time:?}");
    for restart in ["first", "second"] {
        app.0.stop().unwrap();
        app.0.restart();
        assert_eq!(app.0.metric(name), time, "{restart}");
    }
}

/// FAULTS N1494: a record that only helps the bridge is damaged. The bridge starts without it, and replaces it.
#[test]
fn a_damaged_optional_setting_does_not_stop_the_start() {
    let mut app = OperatedApp::start("");
    let name = r#"last_event_timestamp_seconds{source="crm"}"#;
    let settings = [
        "last_events",
        "last_backup",
        "destination_wait",
        "open_brakes",
    ];
    for (number, value) in ["x'01ff'", "'no number'", "CAST(x'ff' AS TEXT)", "''"]
        .into_iter()
        .enumerate()
    {
        app.0.stop().unwrap();
        let store = rusqlite::Connection::open(app.0.files.store()).unwrap();
        for setting in settings {
            let sql = format!("INSERT OR REPLACE INTO meta VALUES ('{setting}', {value})");
            store.execute(&sql, []).unwrap();
        }
        drop(store);
        app.0.restart();
        assert_eq!(app.0.metric(name), None, "{value}");
        app.0.accept(&email(&format!("event-{number}"), "c1", 1));
        assert!(app.0.metric(name).is_some(), "{value}");
        app.0.stop().unwrap();
        app.0.restart();
        assert!(
            app.0.metric(name).is_some(),
            "the next value replaces {value}"
        );
    }
}

/// FAULTS N1509: the stored mode is damaged. It was possibly a pause, so the bridge sends nothing.
#[test]
fn a_damaged_mode_is_a_pause() {
    let mut app = OperatedApp::start("");
    let pause = json!({"mode": "paused", "reason": "a test"});
    app.post("/destination", &pause);
    app.0.accept(&email("waits", "c1", 1));
    app.0.stop().unwrap();
    let store = rusqlite::Connection::open(app.0.files.store()).unwrap();
    let damage = "UPDATE meta SET value = 'pauset' WHERE name = 'destination_mode'";
    assert_eq!(store.execute(damage, []).unwrap(), 1);
    drop(store);
    app.0.restart();
    assert_eq!(app.get("/destination")["mode"], "paused");
    assert_eq!(app.0.imprint.calls().len(), 0);
    app.post("/destination", &json!({"mode": "open"}));
    wait_for("the delivery", || {
        (!app.0.imprint.calls().is_empty()).then_some(())
    });
}

/// FAULTS D15: an operator copies the store while the bridge runs, and the waiting entries of the copy are delivered
/// after the restore.
#[test]
fn a_copy_of_the_store_can_be_made_verified_and_restored() {
    let mut app = OperatedApp::start("");
    app.post(
        "/destination",
        &json!({"mode": "paused", "reason": "a test"}),
    );
    app.0.accept(&email("in-the-copy", "c1", 1));
    let output = app.run("store", &["backup", "copy.db"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(
        app.run("store", &["backup", "copy.db"]).code,
        1,
        "the file exists"
    );
    assert_eq!(
        app.run("store", &["backup", "../copy.db"]).code,
        1,
        "only in the folder of the store"
    );
    app.0.accept(&email("after-it", "c1", 2));
    app.0.stop().unwrap();
    let copy = app.0.files.store_file("copy.db");
    let copy = copy.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            stderr,
        )
    };
    let (code, stdout, stderr) = run(&["store", "verify", copy]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with("1 entries, 1 waiting, 0 parked, 2 audit records"),
        "{stdout}"
    );
    let mut arguments = vec!["store".to_owned(), "restore".to_owned(), copy.to_owned()];
    for file in app.0.files.settings() {
        arguments.extend(["--config".to_owned(), file.to_str().unwrap().to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, _, stderr) = run(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    app.0.restart();
    app.post("/destination", &json!({"mode": "open"}));
    app.0.wait_until("in-the-copy", "delivered");
    app.0.accept(&email("after-it", "c1", 2));
    app.0.wait_until("after-it", "delivered");
}
