//! The whole flow with real parts: a sender posts events, the sandbox receives requests, and the sender reads receipts.

use std::collections::BTreeMap;
use std::time::Duration;

use imprint_bridge::sandbox::{Authorization, Operation, Sandbox, UnseededCustomer};
use serde_json::{Value, json};

use crate::http::Answer;
use crate::raw_imprint::RawImprint;
use crate::support::{Event, KEY, TestApp};

/// The duration of a sandbox outage that the test ends itself: longer than any test runs.
const OUTAGE: Duration = Duration::from_hours(1);
const TOKEN: &str = "op-canary-token-1";

/// Creates an event that changes the email address of a customer.
fn email(id: &str, customer: &str, revision: u64) -> Event {
    Event::new(id, customer, revision).email(&format!("{id}@example.com"))
}

/// Returns the errors in a problem document: the broken rule for each JSON Pointer.
fn errors(answer: &Answer) -> BTreeMap<String, String> {
    let answer = answer.json();
    let errors = answer["faults"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["rule"])))
        .collect()
}

// === requests to Imprint ===

/// FAULTS V2
#[test]
fn the_sample_event_becomes_the_sample_request_in_every_mode() {
    let app = TestApp::start();
    let sample = include_str!("../../config/sources/crm/customer-changed.request.json");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let revised = |id: &str, revision: u64| {
        Event::sample()
            .with("/id", json!(id))
            .with("/data/customer/revision", json!(revision))
    };
    let binary = revised("in-binary-mode", 18);
    let attributes = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "in-binary-mode"),
        ("ce-source", "/crm/us"),
        ("ce-type", "customer.changed"),
        ("ce-subject", "PARTNER_USER_456"),
        ("ce-time", "2025-02-13T19:08:07.000Z"),
    ];
    type Post<'a> = Box<dyn Fn() -> Answer + 'a>;
    let modes: [(&str, Post<'_>); 3] = [
        ("crm-evt-000017", Box::new(|| app.post(&Event::sample()))),
        (
            "in-binary-mode",
            Box::new(|| app.post_raw(&attributes, &binary.json()["data"].to_string())),
        ),
        (
            "in-a-batch",
            Box::new(|| app.post_batch(&[revised("in-a-batch", 19)])),
        ),
    ];
    for (requests, (id, post)) in (1..).zip(modes) {
        let answer = post();
        assert_eq!(answer.status, 202, "{id}: {}", answer.body);
        app.wait_until(id, "delivered");
        let calls = app.imprint.calls();
        assert_eq!(calls.len(), requests, "{id}");
        let call = calls.last().unwrap();
        assert_eq!(call.method, sample["method"], "{id}");
        assert_eq!(call.path, sample["path"], "{id}");
        assert_eq!(call.body, sample["body"], "{id}");
        assert_eq!(call.query, "", "{id}");
        assert_eq!(call.authorization, Authorization::Bearer, "{id}");
        assert_eq!(call.merchant_key, None, "{id}");
    }
}

/// FAULTS O03: the newest values win, in whatever order the events arrive.
#[test]
fn an_older_revision_never_overwrites_a_newer_one() {
    let app = TestApp::start();
    app.accept(&email("third", "late", 3));
    app.wait_until("third", "delivered");
    app.accept(&email("first", "late", 1));
    app.accept(&email("second", "late", 2));
    let batch = [
        email("b-third", "at-once", 3),
        email("b-first", "at-once", 1),
        email("b-second", "at-once", 2),
    ];
    assert_eq!(app.post_batch(&batch).status, 202);
    app.wait_until("b-third", "delivered");
    for (older, newest) in [
        ("first", "third"),
        ("second", "third"),
        ("b-first", "b-third"),
        ("b-second", "b-third"),
    ] {
        let receipt = app.wait_until(older, "superseded");
        assert_eq!(receipt["superseded_by"], newest);
    }
    for (customer, newest) in [("late", "third"), ("at-once", "b-third")] {
        let email = format!("{newest}@example.com");
        assert_eq!(app.imprint.email(customer), Some(email));
        assert_eq!(app.imprint.applied(customer).len(), 1);
    }
    assert_eq!(app.imprint.calls().len(), 2);
}

/// FAULTS O07, N18: events that arrive in an outage become one request per customer.
#[test]
fn changes_of_an_outage_are_folded() {
    let app = TestApp::start();
    app.imprint.sandbox.outage(OUTAGE);
    let customers = ["c1", "c2", "c3"];
    for revision in 1..=20 {
        for customer in customers {
            let id = format!("{customer}-{revision}");
            let event = email(&id, customer, revision);
            // Every second change also sets the language of the customer.
            let event = match revision % 2 {
                0 => event,
                _ => event.with("/data/customer/language", json!("fr-CA")),
            };
            app.accept(&event);
        }
    }
    app.imprint.sandbox.clear_faults();
    for customer in customers {
        app.wait_until(&format!("{customer}-20"), "delivered");
        app.wait_until(&format!("{customer}-19"), "delivered");
        app.wait_until(&format!("{customer}-18"), "superseded");
        app.wait_until(&format!("{customer}-1"), "superseded");
        let applied = app.imprint.applied(customer);
        assert_eq!(applied.len(), 1, "{customer}");
        assert_eq!(
            applied[0].body["email"],
            format!("{customer}-20@example.com")
        );
        assert_eq!(applied[0].body["preferred_language"], "fr");
    }
    assert_eq!(app.metric("waiting_entries"), Some(0.0));
}

// === answers to the sender ===

/// FAULTS I28, I29, S04, X10: a refusal lists all errors of the event at once, and repeats no value of the request.
#[test]
fn a_refusal_lists_every_error_and_no_value() {
    let app = TestApp::start();
    let customer = "/data/customer";
    let with =
        |event: Event, name: &str, value: Value| event.with(&format!("{customer}/{name}"), value);
    let misshapen = email("misshapen", "c1", 1);
    let misshapen = with(misshapen, "revision", json!("canary-1"));
    let misshapen = with(misshapen, "phone", json!(["canary-2"]));
    let misshapen = with(misshapen, "member_since", json!("canary-3"));
    let misshapen = with(misshapen, "lifetime_value", json!({"amount": "canary-4"}));
    let misshapen = with(misshapen, "canary-5", json!("canary-6"));
    let unmappable = email("unmappable", "c1/../canary", 1);
    let unmappable = with(unmappable, "phone", json!("canary"));
    let unmappable = with(unmappable, "loyalty", json!({"tier": "canary"}));
    for (event, problem, expected) in [
        (
            misshapen,
            "invalid",
            vec![
                ("/data/customer/lifetime_value/amount", "pattern"),
                ("/data/customer/member_since", "format"),
                ("/data/customer/phone", "type"),
                ("/data/customer/revision", "type"),
            ],
        ),
        (
            unmappable,
            "unmappable",
            vec![
                ("/data/customer/imprint_customer_id", "imprint_id"),
                ("/data/customer/loyalty/tier", "lookup"),
                ("/data/customer/phone", "e164"),
            ],
        ),
    ] {
        let answer = app.post(&event);
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let urn = format!("urn:imprint-bridge:problem:{problem}");
        assert_eq!(answer.json()["type"], urn);
        let listed = errors(&answer);
        let listed: Vec<(&str, &str)> = listed
            .iter()
            .map(|(pointer, rule)| (pointer.as_str(), rule.as_str()))
            .collect();
        assert_eq!(listed, expected);
        assert!(!format!("{answer:?}").contains("canary"), "{}", answer.body);
    }
    assert_eq!(app.metric("accepted_total{source=\"crm\"}"), Some(0.0));
    assert_eq!(app.imprint.calls().len(), 0);
}

/// FAULTS O01, O02, S04
#[test]
fn a_repeated_event_is_stored_once_and_a_changed_one_is_a_conflict() {
    let app = TestApp::start();
    let event = email("once", "c1", 1);
    let duplicate = |answer: &Answer| answer.json()["accepted"][0]["duplicate"] == true;
    let first = app.post(&event);
    assert_eq!((first.status, duplicate(&first)), (202, false));
    app.wait_until("once", "delivered");
    // Trace headers and the order of JSON keys are not part of an event's content.
    let again = app.post(&event.clone().with("/traceparent", json!("00-1-2-03")));
    assert_eq!((again.status, duplicate(&again)), (202, true));
    assert_eq!(again.json()["accepted"][0]["status"], "delivered");
    let changed = app.post(&event.email("other@example.com"));
    assert_eq!(changed.status, 409, "{}", changed.body);
    assert_eq!(
        changed.json()["type"],
        "urn:imprint-bridge:problem:conflict"
    );
    assert_eq!(app.imprint.calls().len(), 1);
    assert_eq!(app.receipt("once")["attempts"], 1);
}

#[test]
fn a_waiting_sender_gets_the_final_state() {
    let app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    let seed = r#"{"id": "cardholder"}"#;
    let seed = Sandbox::parse_seed(seed.as_bytes()).unwrap();
    app.imprint.sandbox.seed(seed).unwrap();
    for (id, customer, end) in [
        ("has-a-card", "cardholder", "delivered"),
        ("has-none", "stranger", "ignored"),
    ] {
        let answer = app.post_with(&[("prefer", "wait=5")], &email(id, customer, 1));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("preference-applied"), Some("wait=5"));
        let event = &answer.json()["accepted"][0];
        assert_eq!((&event["id"], &event["status"]), (&json!(id), &json!(end)));
    }
}

/// FAULTS V10: at shutdown, the bridge answers a sender that still waits for a delivery.
#[test]
fn a_waiting_sender_is_answered_when_the_bridge_stops() {
    let mut app = TestApp::start();
    app.imprint.sandbox.outage(OUTAGE);
    let ingress = app.ingress();
    let sender = std::thread::Builder::new().spawn(move || {
        let headers = [
            ("content-type", "application/cloudevents+json"),
            ("prefer", "wait=30"),
        ];
        let event = email("waits", "c1", 1).json().to_string();
        crate::support::post(ingress, &headers, &event).unwrap()
    });
    app.wait_for("the event is tried", |app| !app.imprint.calls().is_empty());
    app.stop().unwrap();
    let answer = sender.unwrap().join().unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.json()["accepted"][0]["status"], "waiting");
    app.leave_waiting_entries();
}

// === rejections by Imprint ===

/// FAULTS O10: most customers of a CRM have no card, so an unknown customer is normal.
#[test]
fn an_unknown_customer_is_ignored() {
    let app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    let seed = Sandbox::parse_seed(br#"{"id": "cardholder"}"#).unwrap();
    app.imprint.sandbox.seed(seed).unwrap();
    app.accept(&email("has-a-card", "cardholder", 1));
    app.wait_until("has-a-card", "delivered");
    app.accept(&email("no-card", "stranger", 1));
    let receipt = app.wait_until("no-card", "ignored");
    assert_eq!(receipt["attempts"], 1);
    assert_eq!(receipt["ignored"], "unknown_customer");
    assert_eq!(app.metric("parked_entries"), Some(0.0));
    assert_eq!(
        app.metric("destination_state{state=\"flowing\"}"),
        Some(1.0)
    );
}

/// FAULTS N86, M12: a page that lacks hits neither finds a customer nor shows that the customer does not exist.
#[test]
fn a_search_that_lists_less_than_its_total_is_no_answer() {
    let own = json!({"id": "c1", "partner_customer_id": "P-c1"});
    for (total, data) in [(5, json!([])), (2, json!([own])), (1, json!([]))] {
        let app = TestApp::setup()
            .unknown_customer(UnseededCustomer::NotFound)
            .start();
        let seed = json!([own]).to_string();
        let seeds = Sandbox::parse_seed(seed.as_bytes()).unwrap();
        app.imprint.sandbox.seed(seeds).unwrap();
        let page = json!({"data": data, "has_more": false, "total": total}).to_string();
        let once = json!({"method": "GET", "times": 1, "action": {"body": page}});
        app.imprint.inject(&once);
        app.accept(&email("e", "c1", 1).with("/data/customer/imprint_customer_id", Value::Null));
        app.wait_until("e", "delivered");
        assert_eq!(app.imprint.calls().len(), 3, "{total}");
    }
}

/// FAULTS U24, U44, O06, V9
#[test]
fn a_rejected_event_parks_and_the_lane_goes_on() {
    let app = TestApp::start();
    app.imprint.inject(&json!({
        "customer": "c1",
        "times": 1,
        "action": {"status": 400, "type": "INVALID_REQUEST_ERROR", "param": "email", "message": "canary@example.com is no email"},
    }));
    app.accept(&email("bad", "c1", 1));
    let receipt = app.wait_until("bad", "parked");
    assert_eq!(
        receipt["parked"],
        json!({"reason": "rejected", "detail": "status 400 INVALID_REQUEST_ERROR email"})
    );
    app.accept(&email("good", "c1", 2));
    app.wait_until("good", "delivered");
    assert_eq!(app.metric("parked_entries"), Some(1.0));
    assert!(!app.ops_get("/metrics").body.contains("canary"));
}

/// FAULTS U24: if Imprint rejects a folded request, the bridge sends the folded entries one by one, in order.
#[test]
fn of_folded_entries_only_the_faulty_one_parks() {
    let app = TestApp::start();
    app.imprint
        .inject(&json!({"times": 2, "action": {"status": 422, "type": "INVALID_REQUEST_ERROR"}}));
    let field = |id: &str, revision: u64, name: &str, value: &str| {
        Event::new(id, "c1", revision).with(&format!("/data/customer/{name}"), json!(value))
    };
    let batch = [
        field("guilty", 1, "phone", "+14155552671"),
        field("second", 2, "email", "second@example.com"),
        field("third", 3, "language", "fr"),
    ];
    assert_eq!(app.post_batch(&batch).status, 202);
    app.wait_until("guilty", "parked");
    app.wait_until("second", "delivered");
    app.wait_until("third", "delivered");
    let calls = app.imprint.calls();
    let bodies: Vec<usize> = calls
        .iter()
        .map(|call| call.body.as_object().unwrap().len())
        .collect();
    let has_phone = |body: &Value| body.get("phone").is_some();
    assert!(has_phone(&calls[0].body) && has_phone(&calls[1].body));
    assert!(calls[2..].iter().all(|call| !has_phone(&call.body)));
    assert_eq!(calls.len(), 4, "{bodies:?}");
}

/// FAULTS U25, U40, V8, V9: a rejected API key uses no attempt and parks no entry, and a new key file is enough to
/// continue.
#[test]
fn a_rejected_key_stops_sending_until_the_key_changes() {
    let app = TestApp::setup()
        .key("sk_test_canary_old")
        .manual_clock()
        .start();
    app.accept(&email("first", "c1", 1));
    let tenth = Duration::from_millis(100);
    app.advance_until("the destination is stopped", tenth, |app| {
        app.metric("destination_state{state=\"stopped\"}") == Some(1.0)
    });
    for customer in ["c2", "c3", "c4"] {
        app.accept(&email(customer, customer, 1));
    }
    let receipt = app.receipt("first");
    assert_eq!(receipt["status"], "waiting");
    assert_eq!(receipt["attempts"], 0);
    assert_eq!(app.metric("waiting_entries"), Some(4.0));
    assert_eq!(app.ops_get("/readyz").status, 200);
    // One customer alone stops the destination after three refusals, and only new customers are tried then.
    let calls = app.imprint.calls();
    assert!((3..=6).contains(&calls.len()), "{}", calls.len());
    assert!(
        calls
            .iter()
            .all(|call| call.authorization == Authorization::Wrong)
    );
    app.files.write_key(KEY);
    // The bridge reads the API key file every 3 s.
    app.advance(Duration::from_secs(3));
    for id in ["first", "c2", "c3", "c4"] {
        let receipt = app.wait_until(id, "delivered");
        assert_eq!(receipt["attempts"], 1, "{id}");
    }
    assert_eq!(app.metric("parked_entries"), Some(0.0));
    assert_eq!(
        app.metric("destination_state{state=\"flowing\"}"),
        Some(1.0)
    );
}

/// FAULTS U34, U51: a Retry-After for one customer delays only this customer, and uses no attempt.
#[test]
fn a_throttled_customer_waits_for_retry_after() {
    let app = TestApp::setup().manual_clock().start();
    app.imprint
        .inject(&json!({"times": 1, "action": {"status": 429, "retry_after": "60"}}));
    app.accept(&email("throttled", "c1", 1));
    app.wait_for("it is throttled", |app| {
        app.metric("attempts_total{outcome=\"throttled\"}") == Some(1.0)
    });
    app.accept(&email("another", "c2", 1));
    assert_eq!(app.wait_until("another", "delivered")["attempts"], 1);
    app.advance(Duration::from_secs(59));
    assert_eq!(app.imprint.applied("c1").len(), 0);
    app.advance(Duration::from_secs(1));
    assert_eq!(app.wait_until("throttled", "delivered")["attempts"], 1);
}

/// FAULTS U34: a Retry-After for two customers delays the whole destination, and uses no attempt.
#[test]
fn a_throttled_destination_waits_for_retry_after() {
    let app = TestApp::setup().manual_clock().start();
    app.imprint
        .inject(&json!({"times": 2, "action": {"status": 429, "retry_after": "60"}}));
    app.accept(&email("c1", "c1", 1));
    // Two answers count together only if the second request is sent after the first answer.
    app.wait_for("the first answer is assessed", |app| {
        app.metric("unproven_total") == Some(1.0)
    });
    app.accept(&email("c2", "c2", 1));
    app.wait_for("it is throttled", |app| {
        app.metric("destination_state{state=\"throttled\"}") == Some(1.0)
    });
    app.accept(&email("another", "c3", 1));
    app.advance(Duration::from_secs(59));
    assert_eq!(app.imprint.calls().len(), 2);
    app.advance(Duration::from_secs(1));
    for id in ["c1", "c2", "another"] {
        assert_eq!(app.wait_until(id, "delivered")["attempts"], 1, "{id}");
    }
    let calls = app.imprint.calls();
    assert!(
        calls[2..]
            .iter()
            .all(|call| call.at_ms - calls[1].at_ms >= 60_000)
    );
}

/// FAULTS U13, U16, U18, U35, U37, U38, V4: an inconclusive answer of Imprint causes exactly one more request.
#[test]
fn an_inconclusive_answer_is_followed_by_another_request() {
    let app = TestApp::setup()
        .settings("[imprint]\ndeadline = \"500ms\"")
        .start();
    let actions = [
        json!({"status": 503}),
        json!({"status": 500, "after": "apply"}),
        json!({"reset": true, "after": "apply"}),
        json!({"hang": true, "after": "apply"}),
        json!({"stall_body": true}),
        json!({"short_body": true}),
        json!({"endless_body": true}),
        json!({"wrong_id": true}),
        json!({"body": "<html>"}),
        json!({"interim": 101, "then_ms": 30}),
    ];
    for (number, action) in actions.iter().enumerate() {
        let customer = format!("c{number}");
        app.imprint
            .inject(&json!({"customer": customer, "times": 1, "action": action}));
        app.accept(&email(&customer, &customer, 1));
    }
    for (number, action) in actions.iter().enumerate() {
        let customer = format!("c{number}");
        let receipt = app.wait_until(&customer, "delivered");
        assert_eq!(receipt["attempts"], 2, "{action}");
        let email = format!("{customer}@example.com");
        assert_eq!(app.imprint.email(&customer), Some(email), "{action}");
    }
    let mut calls = app.imprint.calls();
    // After several failures in a row, the bridge also retrieves a customer who was served before.
    calls.retain(|call| call.operation == Operation::Update);
    assert_eq!(calls.len(), 2 * actions.len());
}

/// FAULTS N82, U38: a server that sends 103 before every answer applies the update and says so.
#[test]
fn interim_answers_cost_no_attempt() {
    let app = TestApp::start();
    app.imprint
        .inject(&json!({"action": {"interim": 103, "then_ms": 30}}));
    for number in 0..20 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    for number in 0..20 {
        let receipt = app.wait_until(&format!("e{number}"), "delivered");
        assert_eq!(receipt["attempts"], 1);
    }
}

/// FAULTS U38: a server that answers every request with 101, or with 103 and nothing more, makes no entry use up an attempt.
/// The bridge says why no event is delivered.
#[test]
fn answers_that_are_no_answers_park_nothing() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100),
    ] {
        let imprint = RawImprint::start(move |mut accepted| {
            if accepted.request().is_some() {
                // The client closes the connection before the end of the answer.
                drop(accepted.send(&answer));
            }
        });
        let mut app = TestApp::setup()
            .settings(format!(
                "[imprint]\nbase_url = \"{}\"\n[dispatch]\nattempts_max = 2\npark_after = \"0s\"",
                imprint.origin()
            ))
            .operator("ann", TOKEN)
            .manual_clock()
            .start();
        for number in 0..5 {
            app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
        }
        app.advance_until("fifty requests", Duration::from_secs(30), |_| {
            imprint.requests().len() >= 50
        });
        assert_eq!(app.metric("parked_entries"), Some(0.0));
        assert_eq!(
            app.metric("destination_state{state=\"probing\"}"),
            Some(1.0)
        );
        let destination = app.ask_operator(TOKEN, "GET /admin/v1/destination", &Value::Null);
        assert_eq!(destination.json()["cause"], "protocol");
        app.leave_waiting_entries();
    }
}

/// FAULTS N80, N83, N84, N81, N212, V4: Imprint applied the update each time, but only a complete answer shows that.
#[test]
fn an_event_is_delivered_by_a_complete_answer() {
    let long = json!({"metadata": {"note": "x".repeat(200 * 1024)}, "id": "customer"}).to_string();
    let ok = r#"{"id":"customer"}"#;
    let length = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11\r\n";
    for (what, first, attempts) in [
        (
            "short",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{ok}"),
            2,
        ),
        ("no last chunk", format!("{chunked}{ok}\r\n"), 2),
        ("two answers", format!("{0}{ok}{0}{ok}", length(ok)), 2),
        (
            "half an object",
            "HTTP/1.1 200 OK\r\n\r\n{\"id\":\"customer\"".to_owned(),
            2,
        ),
        (
            "short rejection",
            "HTTP/1.1 422 No\r\ncontent-length: 500\r\n\r\n{}".to_owned(),
            2,
        ),
        ("until the end", format!("HTTP/1.1 200 OK\r\n\r\n{ok}"), 1),
        ("long", format!("{}{long}", length(&long)), 1),
        ("chunks", format!("{chunked}{ok}\r\n0\r\n\r\n"), 1),
    ] {
        let second = format!("{}{ok}", length(ok));
        let imprint = RawImprint::start(move |mut accepted| {
            let answer = if accepted.number == 0 {
                &first
            } else {
                &second
            };
            if accepted.request().is_some() {
                // The client may close the connection before the end of the answer.
                drop(accepted.send(answer));
            }
        });
        let app = TestApp::setup()
            .settings(format!("[imprint]\nbase_url = \"{}\"", imprint.origin()))
            .start();
        app.accept(&email("event", "customer", 1));
        let receipt = app.wait_until("event", "delivered");
        assert_eq!(receipt["attempts"], attempts, "{what}");
        assert_eq!(imprint.requests().len(), attempts, "{what}");
        drop(app);
    }
}

// === across processes ===

/// FAULTS P05, P14, V1, V10
#[test]
fn an_event_accepted_in_an_outage_is_delivered_after_a_restart() {
    let mut app = TestApp::start();
    app.imprint.sandbox.outage(OUTAGE);
    let ids: Vec<String> = (0..10).map(|number| format!("e{number}")).collect();
    for id in &ids {
        app.accept(&email(id, id, 1));
    }
    app.stop().unwrap();
    assert_eq!(app.files.waiting(), 10);
    app.imprint.sandbox.clear_faults();
    app.restart();
    let again = app.post(&email("e0", "e0", 1));
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
    for id in &ids {
        app.wait_until(id, "delivered");
        assert_eq!(app.imprint.applied(id).len(), 1);
    }
    // The lane's versions survive the restart of the bridge.
    app.accept(&email("stale", "e0", 0));
    app.wait_until("stale", "superseded");
}

// === operations ===

/// FAULTS N891: the metrics show the size of the store, the free space of its disk, the commits, and the mode.
#[test]
fn the_metrics_show_the_store_and_the_mode() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    app.accept(&email("e1", "c1", 1));
    app.wait_until("e1", "delivered");
    app.wait_for("the sizes are known", |app| {
        app.metric("store_free_bytes").is_some()
    });
    for size in ["store_free_bytes", "store_file_bytes"] {
        assert!(app.metric(size) > Some(0.0), "{size}");
    }
    assert!(app.metric("store_log_bytes").is_some());
    let commits = app.metric("store_commits_total").unwrap();
    assert!(commits >= 2.0, "the event and its settlement: {commits}");
    assert!(app.metric("store_commit_commands_total") >= Some(commits));
    assert!(app.metric("store_commit_seconds_total") > Some(0.0));
    let mode = |mode: &str| app.metric(&format!("destination_mode{{mode=\"{mode}\"}}"));
    assert_eq!((mode("open"), mode("paused")), (Some(1.0), Some(0.0)));
    let pause = json!({"mode": "paused", "reason": "a test"});
    let paused = app.ask_operator(TOKEN, "POST /admin/v1/destination", &pause);
    assert_eq!(paused.status, 200, "{}", paused.body);
    assert_eq!((mode("open"), mode("paused")), (Some(0.0), Some(1.0)));
}

/// FAULTS V5, X54, K11
#[test]
fn health_is_local_and_the_metrics_page_has_no_personal_data() {
    let app = TestApp::start();
    app.imprint.sandbox.outage(OUTAGE);
    app.accept(&Event::sample().email("canary@example.com"));
    app.accept(&email("canary-id", "canary-customer", 1));
    app.wait_for("it is ready", |app| app.ops_get("/readyz").status == 200);
    for (path, word) in [
        ("/livez", "alive\n"),
        ("/readyz", "ready\n"),
        ("/startupz", "started\n"),
    ] {
        let answer = app.ops_get(path);
        assert_eq!((answer.status, answer.body.as_str()), (200, word));
    }
    app.imprint.sandbox.clear_faults();
    app.wait_until("canary-id", "delivered");
    app.wait_until("crm-evt-000017", "delivered");
    assert_eq!(app.metric("accepted_total{source=\"crm\"}"), Some(2.0));
    assert_eq!(app.metric("ended_total{state=\"delivered\"}"), Some(2.0));
    assert_eq!(app.metric("attempts_total{outcome=\"applied\"}"), Some(2.0));
    assert_eq!(app.metric("oldest_waiting_seconds"), Some(0.0));
    let now = imprint_bridge::time::Clock::machine().now().as_millis() / 1000;
    let last = app.metric("last_event_timestamp_seconds{source=\"crm\"}");
    let last: i64 = format!("{}", last.unwrap()).parse().unwrap();
    assert!((now - last).abs() < 60, "{last} and {now}");
    let page = app.ops_get("/metrics").body;
    for secret in [
        "canary",
        KEY,
        "4155552671",
        "John",
        "Main St",
        "BBB815E9",
        "PARTNER_USER",
        "crm-evt",
    ] {
        assert!(!page.contains(secret), "{secret} is in {page}");
    }
    for path in ["/v1/sources/crm/events", "/sandbox/ledger"] {
        assert_eq!(app.ops_get(path).status, 404, "{path}");
    }
}

/// FAULTS V3, V9: a lane has at most one request in flight, even with several dispatch threads.
#[test]
fn several_dispatch_threads_keep_each_customer_in_order() {
    let app = TestApp::setup()
        .settings("[dispatch]\nthreads = 3\nmax_fold = 1\n[imprint]\nconcurrency = 9")
        .start();
    // An answer takes longer than accepting an event, also on a busy machine, so that requests overlap.
    app.imprint.inject(&json!([{"action": {"latency_ms": 50}}]));
    let customers = || (0..8).map(|number| format!("T-{number}"));
    for revision in 1..=6 {
        for customer in customers() {
            app.accept(&email(
                &format!("{customer}-{revision}"),
                &customer,
                revision,
            ));
        }
    }
    for customer in customers() {
        app.wait_until(&format!("{customer}-6"), "delivered");
        let sent: Vec<String> = app
            .imprint
            .applied(&customer)
            .iter()
            .map(|call| call.body["email"].to_string())
            .collect();
        assert!(sent.is_sorted() && !sent.is_empty(), "{sent:?}");
    }
    app.wait_for("nothing waits", |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
    assert!(
        app.imprint.sandbox.stats().in_flight_max > 1,
        "they do work side by side"
    );
}
