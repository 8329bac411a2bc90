//! Tests of the evidence before a verdict about a customer: an answer that a gateway or a wrong API key may give to
//! every customer ends no event.

use std::time::Duration;

use imprint_bridge::sandbox::{Operation, UnseededCustomer};
use serde_json::json;

use crate::support::{KEY, TestApp, by_partner, email, seed};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the number of calls of an operation about a customer.
fn asked(app: &TestApp, operation: Operation, customer: &str) -> usize {
    let calls = app.imprint.calls();
    let of = calls
        .iter()
        .filter(|call| call.operation == operation && call.customer.as_deref() == Some(customer));
    of.count()
}

fn names() -> impl Iterator<Item = String> {
    (0..20).map(|number| format!("c{number}"))
}

fn accept_all(app: &TestApp) {
    for name in names() {
        app.accept(&email(&name, &name, 1));
    }
}

fn all_are(app: &TestApp, status: &str) -> bool {
    names().all(|name| app.receipt(&name)["status"] == status)
}

fn is_stopped(app: &TestApp) -> bool {
    app.metric("destination_state{state=\"stopped\"}") == Some(1.0)
}

/// FAULTS U58
#[test]
fn a_gateway_that_answers_404_to_everybody_ignores_nobody() {
    let route_error = json!({"error": "Not Found", "path": "/v2"}).to_string();
    for answer in [
        json!({"status": 404, "shape": "html"}),
        json!({"status": 404, "body": route_error}),
        json!({"status": 404, "body": ""}),
        json!({"status": 410, "shape": "html"}),
    ] {
        let app = TestApp::setup().manual_clock().start();
        app.imprint.inject(&json!({"action": answer}));
        accept_all(&app);
        app.advance_until("every customer was asked", SECOND, |app| {
            names().all(|name| asked(app, Operation::Update, &name) > 0)
        });
        app.advance(Duration::from_mins(20));
        app.advance_until("everybody was asked again", SECOND, |app| {
            app.imprint.calls().len() > 60
        });
        assert!(all_are(&app, "waiting"), "{answer}");
        app.imprint.sandbox.clear_faults();
        app.advance_until("all are delivered", SECOND, |app| all_are(app, "delivered"));
    }
}

/// FAULTS U58: the API key of another program gets a typed 404 for every customer. Proof under the right key does not
/// make these answers true.
#[test]
fn a_key_of_another_program_ignores_nobody() {
    let app = TestApp::setup().key("sk_other").manual_clock().start();
    let typed = json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"});
    app.imprint.inject(&json!({"action": typed}));
    accept_all(&app);
    app.advance_until("every customer was asked", SECOND, |app| {
        names().all(|name| asked(app, Operation::Update, &name) > 0)
    });
    app.advance(Duration::from_mins(5));
    assert!(all_are(&app, "waiting"));
    app.imprint.sandbox.clear_faults();
    app.files.write_key(KEY);
    app.advance_until("all are delivered", SECOND, |app| all_are(app, "delivered"));
}

/// FAULTS U58: the key is replaced while the update of a customer is in flight, and then the other program's answer
/// comes: the customer does not exist. A search under the right key finds nobody, because Imprint does not know our id.
#[test]
fn an_answer_to_an_old_key_that_comes_late_ignores_nobody() {
    let app = TestApp::setup().key("sk_other").manual_clock().start();
    let late = Duration::from_mins(5);
    let typed = json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"});
    for action in [json!({"latency_ms": late.as_millis()}), typed] {
        app.imprint
            .inject(&json!({"customer": "c1", "method": "POST", "times": 1, "action": action}));
    }
    app.accept(&email("e", "c1", 1).with("/data/customer/id", json!("P-1")));
    app.wait_for("the update is in flight", |app| {
        asked(app, Operation::Update, "c1") == 1
    });
    app.files.write_key(KEY);
    app.accept(&email("before", "c2", 1));
    app.advance_until("the right key is in use", SECOND, |app| {
        app.receipt("before")["status"] == "delivered"
    });
    app.advance(late);
    app.accept(&email("after", "c2", 2));
    app.advance_until("all are delivered", SECOND, |app| {
        let ids = ["e", "after"];
        ids.iter()
            .all(|id| app.receipt(id)["status"] == "delivered")
    });
}

/// FAULTS U58, O10: as soon as Imprint applies an update, the typed answers before it count, and no customer is asked
/// again.
#[test]
fn recorded_answers_are_settled_when_proof_arrives() {
    for unknown in ["ignore", "park"] {
        let app = TestApp::setup()
            .settings(format!("[identity]\nunknown_customer = \"{unknown}\""))
            .manual_clock()
            .unknown_customer(UnseededCustomer::NotFound)
            .start();
        accept_all(&app);
        app.wait_for("every customer was asked", |app| {
            names().all(|name| asked(app, Operation::Update, &name) > 0)
        });
        assert!(all_are(&app, "waiting"));
        seed(&app, &json!({"id": "known"}));
        app.advance(Duration::from_millis(500));
        app.accept(&email("known", "known", 1));
        app.wait_until("known", "delivered");
        let ended = if unknown == "park" {
            "parked"
        } else {
            "ignored"
        };
        app.wait_for("the answers are settled", |app| all_are(app, ended));
        for name in names() {
            assert_eq!(asked(&app, Operation::Update, &name), 1, "{name}");
            assert_eq!(app.receipt(&name)["attempts"], 1, "{name}");
        }
    }
}

/// FAULTS U58: a success before the answer proves nothing, because the gateway may have been misrouted since. The
/// witness is asked, and the gateway denies the witness too. After the repair, the answers from before do not count.
#[test]
fn a_gateway_that_is_misrouted_later_ignores_nobody() {
    for answer in [
        json!({"status": 404, "shape": "html"}),
        json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"}),
    ] {
        let app = TestApp::setup().manual_clock().start();
        for customer in ["w1", "w2"] {
            app.accept(&email(customer, customer, 1));
            app.wait_until(customer, "delivered");
        }
        app.advance(SECOND);
        app.imprint.inject(&json!({"action": answer}));
        accept_all(&app);
        app.advance_until("a witness was asked", SECOND, |app| {
            asked(app, Operation::Retrieve, "w1") + asked(app, Operation::Retrieve, "w2") > 0
        });
        app.advance_until("everybody was asked", SECOND, |app| {
            names().all(|name| asked(app, Operation::Update, &name) > 0)
        });
        assert!(all_are(&app, "waiting"), "{answer}");
        app.imprint.sandbox.clear_faults();
        app.advance_until("all are delivered", SECOND, |app| all_are(app, "delivered"));
    }
}

/// FAULTS U58, O10: with a canary, the first unknown customer can be ignored before any update was applied.
#[test]
fn a_canary_proves_that_a_customer_is_unknown() {
    let app = TestApp::setup()
        .settings("[imprint]\ncanary_id = \"canary-customer\"")
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(&app, &json!({"id": "canary-customer"}));
    app.accept(&email("e", "stranger", 1));
    app.wait_until("e", "ignored");
    assert_eq!(asked(&app, Operation::Update, "stranger"), 1);
    assert_eq!(asked(&app, Operation::Retrieve, "canary-customer"), 1);
}

/// FAULTS U58: an empty search proves nothing while no search has ever found a customer.
#[test]
fn an_empty_search_needs_a_search_that_found_somebody() {
    let app = TestApp::setup()
        .manual_clock()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(
        &app,
        &json!([{"id": "known"}, {"id": "C", "partner_customer_id": "P-2"}]),
    );
    app.accept(&by_partner("nobody", "P-1", 1));
    for revision in 1..10 {
        let id = format!("known-{revision}");
        app.accept(&email(&id, "known", revision));
        app.wait_until(&id, "delivered");
        app.advance(SECOND);
    }
    assert_eq!(app.receipt("nobody")["status"], "waiting");
    app.accept(&by_partner("found", "P-2", 1));
    app.wait_until("found", "delivered");
    app.advance_until("the search counts now", SECOND, |app| {
        app.receipt("nobody")["status"] == "ignored"
    });
}

/// FAULTS U54: a customer who was delivered to before is never ignored; after `attempts_max` proven answers and the
/// time `park_after`, the event parks.
#[test]
fn a_customer_who_vanished_is_parked() {
    let app = TestApp::setup()
        .settings("[dispatch]\nattempts_max = 2\npark_after = \"0s\"")
        .manual_clock()
        .start();
    for customer in ["gone", "other"] {
        app.accept(&email(customer, customer, 1));
        app.wait_until(customer, "delivered");
    }
    let typed = json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"});
    app.imprint
        .inject(&json!({"customer": "gone", "action": typed}));
    app.accept(&email("again", "gone", 2));
    app.advance_until("the event is parked", SECOND, |app| {
        let status = app.receipt("again")["status"].clone();
        assert_ne!(status, "ignored");
        status == "parked"
    });
    let receipt = app.receipt("again");
    assert_eq!(receipt["parked"]["reason"], "vanished");
    assert_eq!(receipt["attempts"], 2);
    // The customer is back, and newer events are delivered.
    app.imprint.sandbox.clear_faults();
    app.accept(&email("back", "gone", 3));
    app.advance_until("the customer is back", SECOND, |app| {
        app.receipt("back")["status"] == "delivered"
    });
}

/// FAULTS U55: for many customers in a row, Imprint denies a customer that it knew before, or rejects the update. Then
/// sending stops, and at most 20 events park.
#[test]
fn twenty_refused_customers_in_a_row_stop_the_destination() {
    let missing = json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"});
    let rejected = json!({"status": 400, "type": "INVALID_REQUEST_ERROR", "param": "email"});
    for (answer, are_known) in [(missing, true), (rejected, false)] {
        let app = TestApp::setup().manual_clock().start();
        let names: Vec<String> = (0..30).map(|number| format!("c{number}")).collect();
        for name in names.iter().filter(|_| are_known) {
            app.accept(&email(&format!("{name}-before"), name, 1));
            app.wait_until(&format!("{name}-before"), "delivered");
        }
        let rule = json!({"method": "POST", "action": answer});
        app.imprint.inject(&rule);
        for name in &names {
            app.accept(&email(name, name, 2));
        }
        app.advance_until("sending stops", SECOND, is_stopped);
        app.advance(Duration::from_mins(10));
        app.advance_until("the destination is probed", SECOND, |app| {
            app.imprint.calls().len() > 60
        });
        assert!(is_stopped(&app), "{answer}");
        assert!(app.metric("parked_entries") <= Some(20.0), "{answer}");
        assert_eq!(app.metric("ended_total{state=\"ignored\"}"), Some(0.0));
        app.imprint.sandbox.clear_faults();
        app.advance_until("the other events are delivered", SECOND, |app| {
            app.metric("waiting_entries") == Some(0.0)
        });
    }
}

/// FAULTS U56: a rejection without an error type of Imprint may come from a gateway that rejects every update. It parks
/// an event only after an update of another customer was applied.
#[test]
fn a_gateway_that_rejects_everybody_parks_nobody() {
    let app = TestApp::setup().manual_clock().start();
    app.imprint
        .inject(&json!({"action": {"status": 400, "shape": "html"}}));
    accept_all(&app);
    app.advance_until("sending stops", SECOND, is_stopped);
    assert!(all_are(&app, "waiting"));
    app.imprint.sandbox.clear_faults();
    app.imprint
        .inject(&json!({"customer": "c0", "action": {"status": 400, "shape": "html"}}));
    app.advance_until("only one customer is rejected", SECOND, |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
    assert_eq!(app.receipt("c0")["status"], "parked");
    assert_eq!(app.metric("parked_entries"), Some(1.0));
}

/// FAULTS N314, U56: the second rejection of the customer is on its way when somebody repairs the gateway, and an update
/// of another customer is applied before the rejection arrives.
#[test]
fn a_late_rejection_of_a_repaired_gateway_parks_nobody() {
    let app = TestApp::start();
    app.imprint.inject(&json!([
        {"customer": "c1", "times": 2, "action": {"latency_ms": 1_500}},
        {"customer": "c1", "times": 2, "action": {"status": 400, "shape": "html"}},
    ]));
    app.accept(&email("rejected", "c1", 1));
    app.wait_for("the second request is in flight", |app| {
        asked(app, Operation::Update, "c1") == 2
    });
    app.accept(&email("applied", "c2", 1));
    app.wait_until("applied", "delivered");
    assert_eq!(asked(&app, Operation::Update, "c1"), 2);
    app.wait_until("rejected", "delivered");
}

/// FAULTS U57: nothing ever shows whether the only customer is unknown or the key is wrong, so an operator decides.
#[test]
fn an_event_without_any_evidence_becomes_undecided() {
    for answer in [
        json!({"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"}),
        json!({"status": 500}),
    ] {
        let app = TestApp::setup()
            .settings("[dispatch]\nundecided_max = \"24h\"")
            .manual_clock()
            .start();
        app.imprint.inject(&json!({"action": answer}));
        app.accept(&email("e", "only", 1));
        app.wait_for("the customer was asked", |app| {
            !app.imprint.calls().is_empty()
        });
        // On a slow machine, more time passes until the bridge has asked again.
        let start = app.now();
        while app.now().since(start) < Duration::from_hours(23) {
            let status = app.receipt("e")["status"].clone();
            assert_eq!(status, "waiting", "{answer}");
            let before = app.imprint.calls().len();
            app.advance(Duration::from_hours(1));
            app.advance_until("it is asked again", Duration::from_secs(20), |app| {
                app.imprint.calls().len() > before
            });
        }
        app.advance_until("an operator must decide", Duration::from_mins(1), |app| {
            app.receipt("e")["status"] == "undecided"
        });
        assert_eq!(app.metric("undecided_entries"), Some(1.0));
        assert_eq!(app.metric("waiting_entries"), Some(0.0));
    }
}

/// FAULTS U58: the witness and the evidence survive a restart, so that the first unknown customer after a restart needs
/// no applied update.
#[test]
fn evidence_survives_a_restart() {
    let mut app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(
        &app,
        &json!([{"id": "known", "partner_customer_id": "P-1"}]),
    );
    app.accept(&by_partner("e", "P-1", 1));
    app.wait_until("e", "delivered");
    app.accept(&by_partner("nobody", "P-2", 1));
    app.wait_until("nobody", "ignored");
    app.stop().unwrap();
    app.restart();
    app.accept(&by_partner("stranger", "P-3", 1));
    app.wait_until("stranger", "ignored");
    assert!(asked(&app, Operation::Retrieve, "known") >= 1);
    assert_eq!(app.imprint.applied("known").len(), 1);
}
