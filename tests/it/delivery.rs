//! Tests of the delivery guarantees that an operator relies on: the newest values win after every fault, and no
//! customer is affected by a fault of another customer.

use std::cell::Cell;
use std::time::Duration;

use imprint_bridge::sandbox::{LedgerEntry, Operation, Sandbox, UnseededCustomer};
use serde_json::{Value, json};

use crate::http;
use crate::process::Process;
use crate::support::{
    Event, FakeImprint, Files, KEY, TestApp, by_partner, email, post, receipt, seed, wait_for,
};

/// The duration of a sandbox outage that the test ends itself: longer than any test runs.
const OUTAGE: Duration = Duration::from_hours(1);

fn calls(app: &TestApp, operation: Operation) -> Vec<LedgerEntry> {
    let mut calls = app.imprint.calls();
    calls.retain(|call| call.operation == operation);
    calls
}

fn parked(receipt: &Value) -> &str {
    receipt["parked"]["reason"].as_str().unwrap()
}

// === late requests ===

/// FAULTS U37, U46, V3: Imprint applies a timed-out request after newer values were delivered, so the bridge sends the
/// newer values again.
#[test]
fn a_late_request_does_not_have_the_last_word() {
    let settings = "[imprint]\ndeadline = \"200ms\"\n[dispatch]\nassert_after = \"60s\"";
    let app = TestApp::setup().settings(settings).manual_clock().start();
    app.imprint
        .inject(&json!({"customer": "c1", "times": 1, "action": {"lands_after_ms": 40_000}}));
    app.accept(&email("old", "c1", 1));
    app.wait_for("the old request has timed out", |app| {
        app.metric("attempts_total{outcome=\"unknown\"}") == Some(1.0)
    });
    app.accept(&email("new", "c1", 2));
    // After its first failed request, the lane rests for at most 1 s.
    app.advance(Duration::from_secs(1));
    app.wait_until("new", "delivered");
    app.advance(Duration::from_secs(40));
    app.wait_for("the old request has landed", |app| {
        app.imprint.email("c1").as_deref() == Some("old@example.com")
    });
    app.advance(Duration::from_secs(40));
    app.wait_for("the new values are there again", |app| {
        app.imprint.email("c1").as_deref() == Some("new@example.com")
    });
    app.wait_for("it is counted", |app| {
        app.metric("asserted_total") == Some(2.0)
    });
    assert_eq!(app.metric("waiting_entries"), Some(0.0));
}

// === folding ===

/// FAULTS O07, N18: 10,000 changes that wait during an outage, 100 for each of 100 customers, are delivered in about
/// 100 requests.
#[test]
fn ten_thousand_changes_that_piled_up_are_a_request_a_customer() {
    let app = TestApp::start();
    app.imprint.sandbox.outage(OUTAGE);
    for revision in 1..=100 {
        let batch: Vec<Event> = (0..100)
            .map(|customer| {
                let id = format!("{customer}-{revision}");
                Event::sample()
                    .with("/id", json!(id))
                    .with("/data/customer/id", json!(format!("P-{customer}")))
                    .with(
                        "/data/customer/imprint_customer_id",
                        json!(format!("C-{customer}")),
                    )
                    .with("/data/customer/revision", json!(revision))
                    .email(&format!("{id}@example.com"))
            })
            .collect();
        assert_eq!(app.post_batch(&batch).status, 202);
    }
    app.imprint.sandbox.clear_faults();
    let last_outage_call = app.imprint.calls().last().map_or(0, |call| call.seq);
    for customer in 0..100 {
        app.wait_until(&format!("{customer}-100"), "delivered");
        app.wait_until(&format!("{customer}-1"), "superseded");
        let newest = format!("{customer}-100@example.com");
        assert_eq!(app.imprint.email(&format!("C-{customer}")), Some(newest));
    }
    let calls = app.imprint.calls();
    let after = calls
        .iter()
        .filter(|call| call.seq > last_outage_call)
        .count();
    // The bridge may send one request per customer, and one more for each of the 64 requests in flight at the end of
    // the outage.
    assert!(after <= 100 + 64, "{after} requests");
    assert_eq!(app.metric("waiting_entries"), Some(0.0));
}

/// FAULTS U24: Imprint rejects one of 50 entries that set different fields, and the other 49 entries are delivered.
#[test]
fn of_fifty_entries_in_one_request_only_the_guilty_one_parks() {
    let settings = "sources_dir = \"tests/it/sources\"\nschemas_dir = \"tests/it/sources\"";
    let app = TestApp::setup().settings(settings).start();
    app.imprint.inject(&json!({
        "body_has": "/metadata/m17",
        "action": {"status": 400, "type": "INVALID_REQUEST_ERROR", "param": "metadata"},
    }));
    let event = |at: u64| {
        json!({
            "specversion": "1.0", "id": format!("w-{at}"), "source": "/wide", "type": "wide",
            "data": {"customer": "c1", "revision": at + 1, format!("m{at:02}"): "x"},
        })
    };
    let batch = Value::Array((0..50).map(event).collect());
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let line = "POST /v1/sources/wide/events";
    let answer = http::ask(app.ingress(), line, &headers, &batch.to_string()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let receipt = |at: u64| {
        let line = format!("GET /v1/sources/wide/events/w-{at}");
        http::ask(app.ingress(), &line, &[], "").unwrap().json()
    };
    app.wait_for("all have ended", |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
    for at in 0..50 {
        let status = if at == 17 { "parked" } else { "delivered" };
        assert_eq!(receipt(at)["status"], status, "{at}");
    }
    let detail = "status 400 INVALID_REQUEST_ERROR metadata";
    assert_eq!(receipt(17)["parked"]["detail"], detail);
}

// === outcomes ===

/// FAULTS O06, V9: an entry is parked if its requests keep failing while others succeed; an outage uses no attempt.
#[test]
fn an_entry_that_alone_keeps_failing_is_parked() {
    let app = TestApp::setup()
        .settings("[dispatch]\nattempts_max = 1\npark_after = \"0s\"")
        .manual_clock()
        .start();
    app.imprint
        .inject(&json!({"customer": "c1", "action": {"status": 500}}));
    app.accept(&email("poison", "c1", 1));
    let revision = Cell::new(0);
    let step = Duration::from_millis(100);
    app.advance_until("it is parked while others are delivered", step, |app| {
        revision.set(revision.get() + 1);
        let revision = revision.get();
        app.accept(&email(&format!("other-{revision}"), "c2", revision));
        app.receipt("poison")["status"] == "parked"
    });
    let receipt = app.receipt("poison");
    assert_eq!(
        receipt["parked"],
        json!({"reason": "attempts_exhausted", "detail": "status_500"})
    );
    app.wait_until(&format!("other-{}", revision.get()), "delivered");
}

/// FAULTS N25, O06: an entry that alone keeps failing is sent again for 24 h, whatever its number of failures.
#[test]
fn an_entry_that_alone_keeps_failing_is_sent_again_for_a_day() {
    let app = TestApp::setup()
        .settings("[dispatch]\nattempts_max = 1")
        .manual_clock()
        .start();
    app.imprint
        .inject(&json!({"customer": "c1", "action": {"status": 500}}));
    app.accept(&email("poison", "c1", 1));
    let revision = Cell::new(0);
    let deliver_another = |app: &TestApp| {
        revision.set(revision.get() + 1);
        let id = format!("other-{}", revision.get());
        app.accept(&email(&id, "c2", revision.get()));
        app.wait_until(&id, "delivered");
    };
    let hours = Cell::new(0);
    app.advance_until("it is parked", Duration::from_hours(1), |app| {
        hours.set(hours.get() + 1);
        deliver_another(app);
        app.receipt("poison")["status"] == "parked"
    });
    assert!((24..=40).contains(&hours.get()), "{} hours", hours.get());
    assert!(app.receipt("poison")["attempts"].as_u64() > Some(12));
}

/// FAULTS N114, O06: in a brown-out, in which half of all requests fail, no entry uses up its attempts.
#[test]
fn a_brown_out_parks_nothing() {
    let app = TestApp::setup()
        .settings("[dispatch]\nattempts_max = 2\npark_after = \"0s\"")
        .manual_clock()
        .start();
    app.imprint
        .inject(&json!({"method": "POST", "rate": 0.5, "action": {"status": 500}}));
    for round in 1..=8 {
        let events: Vec<Event> = (0..20)
            .map(|customer| {
                email(
                    &format!("{customer}-{round}"),
                    &format!("c{customer}"),
                    round,
                )
            })
            .collect();
        assert_eq!(app.post_batch(&events).status, 202);
        app.advance_until("all are delivered", Duration::from_secs(30), |app| {
            app.metric("waiting_entries") == Some(0.0)
        });
        for customer in 0..20 {
            let receipt = app.receipt(&format!("{customer}-{round}"));
            assert_eq!(receipt["status"], "delivered", "{receipt}");
        }
    }
}

/// FAULTS U50, V9: while 400 customers always get 500, ten other customers are served without a wait, and the entries of
/// the failing customers use up attempts and park.
#[test]
fn hundreds_of_failing_customers_delay_nobody() {
    let app = TestApp::setup()
        .settings("[imprint]\nconcurrency = 8\n[dispatch]\nattempts_max = 2\npark_after = \"0s\"")
        .manual_clock()
        .start();
    let failing = |number: u64| format!("f{number}");
    let rules = (0..400)
        .map(|number| json!({"customer": failing(number), "action": {"status": 500}}))
        .collect();
    app.imprint.inject(&Value::Array(rules));
    let rounds = Cell::new(0);
    let accept_another = |app: &TestApp| {
        let round = rounds.replace(rounds.get() + 1);
        let id = format!("w-{round}");
        app.accept(&email(&id, &format!("w{}", round % 10), round + 1));
        id
    };
    for _ in 0..10 {
        app.wait_until(&accept_another(&app), "delivered");
    }
    let events: Vec<Event> = (0..400)
        .map(|number| email(&failing(number), &failing(number), 1))
        .collect();
    // The customers fail one after another, because many new failures in a row would look like an outage.
    for batch in events.chunks(5) {
        assert_eq!(app.post_batch(batch).status, 202);
        app.wait_until(&accept_another(&app), "delivered");
    }
    for _ in 0..100 {
        // The clock stands still, so the event is delivered only if the event waits for no timer.
        app.wait_until(&accept_another(&app), "delivered");
        app.advance(Duration::from_secs(1));
    }
    let step = Duration::from_secs(20);
    app.advance_until("every failing entry is parked", step, |app| {
        accept_another(app);
        app.metric("parked_entries") == Some(400.0)
    });
}

/// FAULTS M05: an operation that Imprint forbids for every customer stops the destination, parks no entry, and uses no
/// attempt.
#[test]
fn an_operation_that_is_not_enabled_stops_the_destination() {
    let mut app = TestApp::setup().manual_clock().start();
    seed(&app, &json!([{"id": "c1"}, {"id": "c2"}]));
    app.imprint
        .inject(&json!({"method": "POST", "action": {"status": 403}}));
    app.accept(&email("a", "c1", 1));
    app.accept(&email("b", "c2", 1));
    app.advance_until("it is stopped", Duration::from_millis(100), |app| {
        app.metric("destination_state{state=\"stopped\"}") == Some(1.0)
    });
    assert!(calls(&app, Operation::Retrieve).len() >= 2);
    for id in ["a", "b"] {
        let receipt = app.receipt(id);
        assert_eq!(
            (&receipt["status"], &receipt["attempts"]),
            (&json!("waiting"), &json!(0))
        );
    }
    app.leave_waiting_entries();
}

/// FAULTS U26, V9: a customer whose updates Imprint forbids does not stop the deliveries of other customers.
#[test]
fn one_customer_who_is_refused_stops_nobody() {
    let mut app = TestApp::start();
    seed(&app, &json!([{"id": "c1"}]));
    app.imprint
        .inject(&json!({"customer": "c1", "method": "POST", "action": {"status": 403}}));
    app.accept(&email("refused", "c1", 1));
    for revision in 1..=20 {
        let id = format!("other-{revision}");
        app.accept(&email(&id, "c2", revision));
        app.wait_until(&id, "delivered");
    }
    assert_eq!(
        app.metric("destination_state{state=\"stopped\"}"),
        Some(0.0)
    );
    assert_eq!(app.receipt("refused")["status"], "waiting");
    app.leave_waiting_entries();
}

/// FAULTS U51, V9: at low traffic, two customers who are always refused or throttled delay no other customer: an event
/// of another customer is delivered although the clock stands still, and the refused entries stay where they are.
#[test]
fn two_refused_customers_delay_nobody() {
    for action in [
        json!({"status": 302, "location": "https://imprint.example/"}),
        json!({"status": 401}),
        json!({"status": 403}),
        json!({"status": 404, "shape": "html"}),
        json!({"status": 405}),
        json!({"status": 429}),
        json!({"status": 429, "retry_after": "60"}),
        json!({"status": 500}),
    ] {
        let mut app = TestApp::setup().manual_clock().start();
        for customer in ["w1", "w2"] {
            app.accept(&email(customer, customer, 1));
            app.wait_until(customer, "delivered");
        }
        seed(&app, &json!([{"id": "b1"}, {"id": "b2"}]));
        for customer in ["b1", "b2"] {
            app.imprint
                .inject(&json!({"customer": customer, "method": "POST", "action": action}));
            app.accept(&email(customer, customer, 1));
        }
        for round in 0..5 {
            for customer in ["w1", "w2"] {
                app.advance(Duration::from_secs(12));
                let id = format!("{customer}-{round}");
                app.accept(&email(&id, customer, 10 + round));
                app.wait_until(&id, "delivered");
            }
        }
        for customer in ["b1", "b2"] {
            assert_eq!(app.receipt(customer)["status"], "waiting", "{action}");
        }
        app.leave_waiting_entries();
    }
}

/// FAULTS N780: many new customers are refused, and events of other customers arrive between the refusals. The refused
/// customers stop nobody: each event of another customer is delivered although the clock stands still.
#[test]
fn events_between_the_refusals_of_many_customers_are_not_delayed() {
    for (action, method) in [
        (
            json!({"status": 302, "location": "https://imprint.example/"}),
            "POST",
        ),
        (json!({"status": 401}), "POST"),
        (json!({"status": 403}), "POST"),
        (json!({"status": 404, "shape": "html"}), "POST"),
        (json!({"status": 404, "shape": "html"}), "*"),
        (json!({"status": 405}), "POST"),
    ] {
        let one_slot = "[imprint]\nconcurrency = 1";
        let mut app = TestApp::setup().settings(one_slot).manual_clock().start();
        for customer in ["w1", "w2"] {
            app.accept(&email(customer, customer, 1));
            app.wait_until(customer, "delivered");
        }
        for round in 0..4 {
            let refused: Vec<String> = (0..10).map(|number| format!("b{round}-{number}")).collect();
            let rule = |customer: &String| match method {
                "*" => json!({"customer": customer, "action": action}),
                _ => json!({"customer": customer, "method": method, "action": action}),
            };
            let rules = refused.iter().map(rule);
            app.imprint.inject(&Value::Array(rules.collect()));
            let customers = refused.iter().map(|customer| json!({"id": customer}));
            seed(&app, &Value::Array(customers.collect()));
            let events: Vec<Event> = refused.iter().map(|id| email(id, id, 1)).collect();
            assert_eq!(app.post_batch(&events).status, 202);
            let id = format!("w1-{round}");
            app.accept(&email(&id, "w1", 10 + round));
            app.wait_until(&id, "delivered");
            let stopped = app.metric("destination_state{state=\"stopped\"}");
            assert_eq!(stopped, Some(0.0), "{action} {round}");
        }
        for number in 0..10 {
            let receipt = app.receipt(&format!("b0-{number}"));
            assert_eq!(receipt["status"], "waiting", "{action}");
        }
        app.leave_waiting_entries();
    }
}

/// FAULTS N781: Imprint begins to forbid the updates of every customer. Refusals of twenty customers that Imprint applied
/// before stop the destination at once, refusals of new customers half a minute after the last applied update.
#[test]
fn a_permission_that_ends_stops_the_destination() {
    for (prefix, wait) in [("c", Duration::ZERO), ("new-", Duration::from_secs(30))] {
        let mut app = TestApp::setup().manual_clock().start();
        let batch = |prefix: &str, revision: u64| -> Vec<Event> {
            let ids = (0..25).map(|number| (format!("{prefix}{number}"), revision));
            ids.map(|(id, revision)| email(&format!("{id}-{revision}"), &id, revision))
                .collect()
        };
        assert_eq!(app.post_batch(&batch("c", 1)).status, 202);
        app.wait_for("all are delivered", |app| {
            app.metric("waiting_entries") == Some(0.0)
        });
        let customers = (0..25).map(|number| json!({"id": format!("{prefix}{number}")}));
        seed(&app, &Value::Array(customers.collect()));
        let forbidden = json!({"method": "POST", "action": {"status": 403}});
        app.imprint.inject(&forbidden);
        app.advance(wait);
        assert_eq!(app.post_batch(&batch(prefix, 2)).status, 202);
        app.wait_for("it is stopped", |app| {
            app.metric("destination_state{state=\"stopped\"}") == Some(1.0)
        });
        for number in 0..25 {
            let receipt = app.receipt(&format!("{prefix}{number}-2"));
            let kept = (&receipt["status"], &receipt["attempts"]);
            assert_eq!(kept, (&json!("waiting"), &json!(0)), "{prefix}{number}");
        }
        app.leave_waiting_entries();
    }
}

/// FAULTS U27, U58: a 404 without an error type means "unknown customer" only if a retrieve also finds no such customer,
/// twice, and other customers are served in between.
#[test]
fn an_untyped_404_is_believed_when_a_retrieve_says_it_too() {
    let app = TestApp::start();
    app.accept(&email("before", "c1", 1));
    app.wait_until("before", "delivered");
    app.imprint
        .inject(&json!({"customer": "gone", "action": {"status": 404, "shape": "html"}}));
    app.accept(&email("e", "gone", 1));
    app.wait_until("e", "ignored");
    let mut retrieves = calls(&app, Operation::Retrieve);
    retrieves.retain(|call| call.customer.as_deref() == Some("gone"));
    // The answer must repeat itself after it was proven.
    assert_eq!(retrieves.len(), 2);
}

// === identity ===

#[test]
fn a_customer_known_by_the_partners_id_is_looked_up_once() {
    let app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(
        &app,
        &json!({"id": "CUST-1", "partner_customer_id": "P 1/ä"}),
    );
    for revision in 1..=3 {
        let id = format!("e-{revision}");
        app.accept(&by_partner(&id, "P 1/ä", revision));
        app.wait_until(&id, "delivered");
    }
    assert_eq!(
        app.imprint.email("CUST-1").as_deref(),
        Some("e-3@example.com")
    );
    let searches = calls(&app, Operation::Search);
    assert_eq!(searches.len(), 1);
    assert_eq!(searches[0].method, "GET");
    assert_eq!(app.metric("lookups_total{outcome=\"one\"}"), Some(1.0));
}

/// FAULTS O10: most customers of a CRM have no card, so the bridge remembers for a while that a search found nobody.
#[test]
fn somebody_unknown_is_ignored_and_the_no_is_remembered() {
    let app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(&app, &json!({"id": "CUST-0", "partner_customer_id": "P-0"}));
    app.accept(&by_partner("known", "P-0", 1));
    app.wait_until("known", "delivered");
    for revision in 1..=3 {
        let id = format!("e-{revision}");
        app.accept(&by_partner(&id, "P-1", revision));
        app.wait_until(&id, "ignored");
    }
    assert_eq!(calls(&app, Operation::Search).len(), 2);
    assert_eq!(calls(&app, Operation::Update).len(), 1);
}

/// FAULTS O10: entries of an unknown customer wait and are delivered without an operator, with the newest values, as
/// soon as Imprint knows the customer.
#[test]
fn facts_wait_for_their_customer_to_appear() {
    let app = TestApp::setup()
        .settings("[identity]\nunknown_customer = \"wait\"")
        .manual_clock()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    app.accept(&by_partner("first", "P-1", 1));
    app.accept(&by_partner("second", "P-1", 2));
    app.accept(&email("stated", "CUST-2", 1));
    let minute = Duration::from_mins(1);
    app.advance_until("it was looked for twice", minute, |app| {
        calls(app, Operation::Search).len() >= 2 && calls(app, Operation::Update).len() >= 2
    });
    seed(
        &app,
        &json!([{"id": "CUST-1", "partner_customer_id": "P-1"}, {"id": "CUST-2"}]),
    );
    app.advance_until("the waiting events are delivered", minute, |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
    app.wait_until("second", "delivered");
    app.wait_until("first", "superseded");
    app.wait_until("stated", "delivered");
    assert_eq!(
        app.imprint.email("CUST-1").as_deref(),
        Some("second@example.com")
    );
}

/// FAULTS N113: an answer to the search for a customer can never be read, while other customers are served: each search
/// counts as an attempt of the entries, and the entries park.
#[test]
fn a_search_that_can_never_be_read_uses_up_attempts_and_parks() {
    let app = TestApp::setup()
        .settings("[dispatch]\nattempts_max = 2\npark_after = \"0s\"")
        .manual_clock()
        .start();
    app.imprint
        .inject(&json!({"method": "GET", "action": {"body": "{\"data\": "}}));
    let batch = [
        by_partner("first", "P-1", 1),
        by_partner("second", "P-1", 2),
    ];
    assert_eq!(app.post_batch(&batch).status, 202);
    let revision = Cell::new(0);
    let step = Duration::from_millis(100);
    app.advance_until("both are parked while others are delivered", step, |app| {
        revision.set(revision.get() + 1);
        let revision = revision.get();
        app.accept(&email(&format!("other-{revision}"), "c2", revision));
        app.metric("parked_entries") == Some(2.0)
    });
    for id in ["first", "second"] {
        let receipt = app.receipt(id);
        assert_eq!(parked(&receipt), "attempts_exhausted");
        assert!(receipt["attempts"].as_u64() >= Some(2), "{receipt}");
    }
    app.wait_until(&format!("other-{}", revision.get()), "delivered");
}

/// FAULTS M12
#[test]
fn somebody_who_is_two_customers_is_parked() {
    let app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(
        &app,
        &json!([{"id": "A", "partner_customer_id": "P-1"}, {"id": "B", "partner_customer_id": "P-1"}]),
    );
    app.accept(&by_partner("e", "P-1", 1));
    assert_eq!(parked(&app.wait_until("e", "parked")), "ambiguous_customer");
    assert_eq!(calls(&app, Operation::Update).len(), 0);
}

/// One wrong row of a CRM must not send the values of a customer to another cardholder.
#[test]
fn a_pair_that_imprint_contradicts_is_parked() {
    let app = TestApp::start();
    seed(
        &app,
        &json!([{"id": "A", "partner_customer_id": "P-A"}, {"id": "B", "partner_customer_id": "P-B"}]),
    );
    app.accept(&email("right", "A", 1));
    app.wait_until("right", "delivered");
    app.accept(&by_partner("known", "P-B", 1));
    app.wait_until("known", "delivered");
    for (id, imprint, partner) in [("wrong-imprint", "A", "P-B"), ("wrong-partner", "B", "P-A")] {
        let event = email(id, imprint, 9).with("/data/customer/id", json!(partner));
        app.accept(&event);
        assert_eq!(
            parked(&app.wait_until(id, "parked")),
            "identity_conflict",
            "{id}"
        );
    }
    assert_eq!(app.imprint.email("A").as_deref(), Some("right@example.com"));
    assert_eq!(app.imprint.email("B").as_deref(), Some("known@example.com"));
}

/// FAULTS M13
#[test]
fn a_customer_who_was_linked_anew_is_found_again() {
    let app = TestApp::setup()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(&app, &json!({"id": "OLD", "partner_customer_id": "P-1"}));
    app.accept(&by_partner("before", "P-1", 1));
    app.wait_until("before", "delivered");
    seed(
        &app,
        &json!([{"id": "OLD", "partner_customer_id": "P-2"}, {"id": "NEW", "partner_customer_id": "P-1"}]),
    );
    app.imprint.inject(&json!({
        "customer": "OLD", "method": "POST",
        "action": {"status": 404, "shape": "flat", "type": "CUSTOMER_NOT_FOUND_ERROR"},
    }));
    app.accept(&by_partner("after", "P-1", 2));
    app.wait_until("after", "delivered");
    assert_eq!(
        app.imprint.email("NEW").as_deref(),
        Some("after@example.com")
    );
}

// === clearing and addresses ===

/// An apartment number that stays in the address after a move would send mail to the wrong letterbox.
#[test]
fn a_cleared_line_of_the_address_is_emptied_if_leaving_it_out_does_not() {
    let app = TestApp::start();
    let address = |id: &str, revision: u64, line2: Value| {
        let address = json!({"line1": "1 Main St", "line2": line2, "city": "Reno", "state": "NV", "postal_code": "89501"});
        Event::new(id, "c1", revision).with("/data/customer/address", address)
    };
    app.accept(&address("moved-in", 1, json!("Apt 4B")));
    app.wait_until("moved-in", "delivered");
    app.accept(&address("moved", 2, Value::Null));
    app.wait_until("moved", "delivered");
    let bodies: Vec<Value> = app
        .imprint
        .applied("c1")
        .into_iter()
        .map(|call| call.body)
        .collect();
    assert_eq!(bodies[1].get("street_line2"), None);
    assert_eq!(bodies[2], json!({"street_line2": ""}));
    let customer = app.imprint.sandbox.customer("c1").unwrap();
    assert_ne!(customer["customer"]["address"]["street_line2"], "Apt 4B");
}

/// An address at Imprint has no country, so Imprint would take a foreign address for a domestic one.
#[test]
fn an_address_abroad_parks_or_is_left_out() {
    let abroad = |id: &str| {
        let address =
            json!({"line1": "1 Rue X", "city": "Paris", "postal_code": "75001", "country": "FR"});
        email(id, "c1", 1).with("/data/customer/address", address)
    };
    let app = TestApp::start();
    let answer = app.post(&abroad("e"));
    assert_eq!(answer.json()["accepted"][0]["status"], "parked");
    // FAULTS N931
    assert_eq!(answer.json()["accepted"][0]["parked"], "foreign_address");
    assert_eq!(parked(&app.receipt("e")), "foreign_address");
    assert_eq!(app.imprint.calls().len(), 0);
    let app = TestApp::setup()
        .settings("[imprint]\nforeign_address = \"skip\"")
        .start();
    app.accept(&abroad("e"));
    app.wait_until("e", "delivered");
    let body = &app.imprint.applied("c1")[0].body;
    assert_eq!(
        (body.get("city"), &body["email"]),
        (None, &json!("e@example.com"))
    );
}

// === isolation ===

/// While Imprint refuses the API key, the bridge parks no entry and uses no attempt, and sends only probes.
#[test]
fn a_refused_key_costs_nothing_and_a_new_one_is_tried_at_once() {
    let app = TestApp::setup().key("sk_wrong").manual_clock().start();
    for customer in 0..20 {
        app.accept(&email(&format!("e-{customer}"), &format!("c{customer}"), 1));
    }
    app.advance_until("it is stopped", Duration::from_millis(100), |app| {
        app.metric("destination_state{state=\"stopped\"}") == Some(1.0)
    });
    let refused = app.imprint.calls().len();
    assert!(refused <= 20, "at most what was in flight: {refused}");
    app.files.write_key(KEY);
    // The bridge reads the API key file every 3 s.
    app.advance(Duration::from_secs(3));
    for customer in 0..20 {
        let receipt = app.wait_until(&format!("e-{customer}"), "delivered");
        assert_eq!(receipt["attempts"], 1, "{customer}");
    }
    assert_eq!(app.metric("parked_entries"), Some(0.0));
}

/// Events with the lowest urgency are delivered after live events.
#[test]
fn a_backfill_goes_behind_live_traffic() {
    let app = TestApp::setup()
        .settings("[imprint]\nrate_per_second = 40\nconcurrency = 1")
        .start();
    app.imprint.sandbox.outage(OUTAGE);
    let low = [("priority", "u=7")];
    for customer in 0..10 {
        let event = email(&format!("old-{customer}"), &format!("b{customer}"), 1);
        assert_eq!(app.post_with(&low, &event).status, 202);
    }
    for customer in 0..10 {
        app.accept(&email(
            &format!("live-{customer}"),
            &format!("l{customer}"),
            1,
        ));
    }
    app.wait_for("it is down", |app| {
        app.metric("destination_state{state=\"probing\"}") == Some(1.0)
    });
    app.imprint.sandbox.clear_faults();
    for customer in 0..10 {
        app.wait_until(&format!("old-{customer}"), "delivered");
    }
    let mut calls = calls(&app, Operation::Update);
    calls.retain(|call| call.applied);
    let is_live = |call: &LedgerEntry| {
        call.customer
            .as_deref()
            .is_some_and(|id| id.starts_with('l'))
    };
    let last_live = calls.iter().rposition(is_live).unwrap();
    let before = calls[..last_live]
        .iter()
        .filter(|call| !is_live(call))
        .count();
    assert!(
        before <= 2,
        "{before} of the backfill went before the last live one"
    );
}

// === personal data in Imprint's answers ===

/// Imprint's answers contain more personal data than the bridge sent, and error answers may repeat sent values: the
/// bridge neither stores nor logs any part of an answer.
#[test]
fn nothing_of_an_answer_is_kept_or_told() {
    let imprint = FakeImprint::start(|_settings| {});
    let seed = json!({"id": "c1", "partner_customer_id": "p1", "first_name": "canary", "ssn4": "canary-4"});
    let seed = Sandbox::parse_seed(seed.to_string().as_bytes()).unwrap();
    imprint.sandbox.seed(seed).unwrap();
    let error =
        json!({"status": 400, "param": "canary", "message": "canary@example.com is no email"});
    imprint.inject(&json!({"customer": "c1", "times": 1, "action": error}));
    let settings = "[log]\nfilter = \"trace\"";
    let files = Files::write(imprint.address, KEY, settings);
    let mut process = Process::serve(&files);
    let (ingress, ops) = process.ready();
    let headers = [("content-type", "application/cloudevents+json")];
    for (id, expected) in [("refused", "parked"), ("taken", "delivered")] {
        let event = by_partner(id, "p1", 1).json().to_string();
        assert_eq!(post(ingress, &headers, &event).unwrap().status, 202);
        let told = wait_for(id, || {
            let told = receipt(ingress, id).unwrap().body;
            told.contains(expected).then_some(told)
        });
        assert!(!told.contains("canary"), "{told}");
    }
    let answered = imprint.calls();
    assert!(
        answered
            .iter()
            .any(|call| call.operation == Operation::Search)
    );
    let page = http::ask(ops, "GET /metrics", &[], "").unwrap().body;
    assert!(!page.contains("canary"), "{page}");
    process.terminate();
    assert!(process.wait_for_exit().success());
    // `Process` searches the log for canary values when the test drops the process.
    assert!(process.log().contains("TRACE") && !process.log().contains(KEY));
    for file in std::fs::read_dir(files.store().parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        let kept = std::fs::read(&path).unwrap();
        let is_there = kept.windows(6).any(|part| part == b"canary");
        let is_key = path.file_name().unwrap() == "key";
        assert!(is_key || !is_there, "{}", path.display());
    }
}
