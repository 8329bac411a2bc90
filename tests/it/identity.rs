//! Tests of the ids by which events name their customer: spellings of a UUID, pairs of ids that do not belong together,
//! and outdated ids.

use std::cell::Cell;
use std::time::Duration;

use imprint_bridge::sandbox::{Operation, UnseededCustomer};
use serde_json::{Value, json};

use crate::http;
use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{Event, TestApp, by_partner, email, seed, wait_for};

const UUID: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
const TOKEN: &str = "op-canary-token-1";
/// Longer than the lifetime of an identity link.
const LINK_AGED: Duration = Duration::from_hours(25);

/// Creates an event that names the customer by both ids.
fn by_both(id: &str, (imprint, partner): (&str, &str), revision: u64) -> Event {
    email(id, imprint, revision).with("/data/customer/id", json!(partner))
}

/// Starts a bridge with two customers at Imprint: "A" with our id "P-A", and "B" with our id "P-B".
fn two_customers() -> TestApp {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .manual_clock()
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(
        &app,
        &json!([{"id": "A", "partner_customer_id": "P-A"}, {"id": "B", "partner_customer_id": "P-B"}]),
    );
    app
}

/// Returns the number of calls of an operation about a customer; a search is about no customer.
fn calls(app: &TestApp, operation: Operation, customer: Option<&str>) -> usize {
    let is_such = |call: &&imprint_bridge::sandbox::LedgerEntry| {
        call.operation == operation && call.customer.as_deref() == customer
    };
    app.imprint.calls().iter().filter(is_such).count()
}

fn updates(app: &TestApp, customer: &str) -> usize {
    calls(app, Operation::Update, Some(customer))
}

/// Waits until an event is parked because of its ids. The receipt of the sender names no customer.
#[track_caller]
fn conflict(app: &TestApp, id: &str) {
    let receipt = app.wait_until(id, "parked");
    let expected = json!({"reason": "identity_conflict", "detail": null});
    assert_eq!(receipt["parked"], expected, "{id}");
}

/// Returns what the bridge tells an operator about a parked event.
fn detail(app: &TestApp, id: &str) -> Value {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let line = "GET /admin/v1/entries?state=parked";
    let answer = http::ask(app.ops(), line, &headers, "").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let page = answer.json();
    let mut entries = page["entries"].as_array().unwrap().iter();
    entries.find(|entry| entry["id"] == id).unwrap()["parked"]["detail"].clone()
}

// === spellings ===

/// An Imprint that knows only the spelling in capitals.
fn case_sensitive(mut accepted: Accepted) {
    accepted.serve(|request| {
        let path = request.split(' ').nth(1).unwrap();
        let known = format!("/v2/customers/{UUID}");
        let (status, body) = if path == known {
            ("200 OK", json!({"id": UUID}))
        } else if path.starts_with("/v2/customers?") {
            ("200 OK", json!({"data": [], "total": 0}))
        } else {
            ("404 No", json!({"type": "CUSTOMER_NOT_FOUND_ERROR"}))
        };
        let body = body.to_string();
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
    });
}

/// FAULTS N216: one event with a wrong spelling makes Imprint find no customer; later events have the right spelling.
#[test]
fn the_first_spelling_of_a_uuid_does_not_stick() {
    let imprint = RawImprint::start(case_sensitive);
    let mut app = TestApp::setup()
        .settings(format!("[imprint]\nbase_url = \"{}\"", imprint.origin()))
        .start();
    let lower = UUID.to_lowercase();
    let sent = |spelling: &str| {
        let line = format!("POST /v2/customers/{spelling} ");
        let requests = imprint.requests();
        requests
            .iter()
            .filter(|request| request.starts_with(&line))
            .count()
    };
    app.accept(&by_both("wrong", (&lower, "P"), 1));
    wait_for("the wrong spelling is sent", || {
        (sent(&lower) > 0).then_some(())
    });
    app.accept(&by_both("right", (UUID, "P"), 2));
    app.wait_until("right", "delivered");
    // Imprint has applied an update under this spelling, so another wrong event and a restart change nothing.
    let wrong = sent(&lower);
    app.accept(&by_both("wrong-again", (&lower, "P"), 3));
    app.wait_until("wrong-again", "delivered");
    app.stop().unwrap();
    app.restart();
    app.accept(&by_both("wrong-at-last", (&lower, "P"), 4));
    app.wait_until("wrong-at-last", "delivered");
    assert_eq!(sent(&lower), wrong);
    drop(app);
}

/// FAULTS N215: our own id is a UUID, which the CRM and Imprint spell in different letter case.
#[test]
fn the_letter_case_of_our_own_uuid_is_no_contradiction() {
    let app = two_customers();
    seed(&app, &json!({"id": "C", "partner_customer_id": UUID}));
    let lower = UUID.to_lowercase();
    for (id, revision) in [("first", 1), ("second", 2)] {
        app.accept(&by_both(id, ("C", &lower), revision));
        app.wait_until(id, "delivered");
    }
    assert_eq!(app.metric("misdirected_total"), Some(0.0));
}

// === pairs of ids ===

/// FAULTS N215: the first event of a wrong pair reaches another cardholder, because nobody knows better. Everything after
/// it does not, also after the identity link has expired or the bridge has restarted.
#[test]
fn a_wrong_pair_reaches_another_customer_at_most_once() {
    let mut app = two_customers();
    app.accept(&by_both("wrong", ("A", "P-B"), 9));
    conflict(&app, "wrong");
    let reached = detail(&app, "wrong");
    let reached = reached.as_str().unwrap();
    assert!(
        reached.contains("customer A,") && reached.contains("P-A"),
        "{reached}"
    );
    assert_eq!(app.metric("misdirected_total"), Some(1.0));
    assert_eq!(updates(&app, "A"), 1);
    app.accept(&by_both("next", ("A", "P-B"), 10));
    conflict(&app, "next");
    assert_eq!(detail(&app, "next"), Value::Null, "it reached nobody");
    // The revisions of the wrong customer do not make the values of the right customer old.
    app.accept(&by_both("right", ("A", "P-A"), 1));
    app.wait_until("right", "delivered");
    assert_eq!(app.imprint.email("A").as_deref(), Some("right@example.com"));
    let before = updates(&app, "A");
    app.advance(LINK_AGED);
    app.accept(&by_both("later", ("A", "P-B"), 11));
    conflict(&app, "later");
    app.stop().unwrap();
    app.restart();
    app.advance(LINK_AGED);
    app.accept(&by_both("last", ("A", "P-B"), 12));
    conflict(&app, "last");
    assert_eq!(updates(&app, "A"), before);
    assert_eq!(updates(&app, "B"), 0);
    assert_eq!(app.imprint.email("A").as_deref(), Some("right@example.com"));
    let page = app.ops_get("/metrics").body;
    assert!(!page.contains("P-A") && !page.contains("P-B"), "{page}");
}

/// FAULTS N215: of several events in one request, only those of the wrong pair park, and the others are sent again over
/// the wrong values.
#[test]
fn the_right_events_in_a_request_with_a_wrong_pair_are_delivered() {
    let app = two_customers();
    app.imprint.sandbox.outage(Duration::from_secs(60));
    let batch = [
        by_both("right", ("A", "P-A"), 1),
        by_both("newer", ("A", "P-A"), 2),
        by_both("wrong", ("A", "P-B"), 9),
    ];
    assert_eq!(app.post_batch(&batch).status, 202);
    app.imprint.sandbox.clear_faults();
    app.advance_until("the wrong event is parked", Duration::from_secs(1), |app| {
        app.metric("parked_entries") == Some(1.0)
    });
    conflict(&app, "wrong");
    app.wait_until("newer", "delivered");
    app.wait_until("right", "superseded");
    assert_eq!(app.imprint.email("A").as_deref(), Some("newer@example.com"));
}

/// FAULTS N215, M13: the bridge's own link is outdated, and the old customer has another id now.
#[test]
fn an_outdated_link_of_the_bridge_misdirects_at_most_one_event() {
    let app = two_customers();
    app.accept(&by_partner("before", "P-A", 1));
    app.wait_until("before", "delivered");
    seed(
        &app,
        &json!([{"id": "A", "partner_customer_id": "P-C"}, {"id": "NEW", "partner_customer_id": "P-A"}]),
    );
    app.accept(&by_partner("misdirected", "P-A", 2));
    conflict(&app, "misdirected");
    let reached = detail(&app, "misdirected");
    assert!(reached.as_str().unwrap().contains("P-C"), "{reached}");
    let before = updates(&app, "A");
    app.accept(&by_partner("after", "P-A", 3));
    app.wait_until("after", "delivered");
    assert_eq!(
        app.imprint.email("NEW").as_deref(),
        Some("after@example.com")
    );
    assert_eq!(updates(&app, "A"), before);
}

/// FAULTS N1167: a search resolved an event that names only the CRM's id, and the event parked. When an operator replays it,
/// the answer of the search has expired, and Imprint has given the id to another customer.
#[test]
fn a_replay_searches_again_when_the_answer_of_the_search_has_expired() {
    let app = two_customers();
    let rejected = json!({"status": 422, "type": "INVALID_REQUEST_ERROR", "param": "email"});
    app.imprint
        .inject(&json!([{"customer": "A", "times": 1, "action": rejected}]));
    app.accept(&by_partner("refused", "P-A", 1));
    app.wait_until("refused", "parked");
    seed(
        &app,
        &json!([{"id": "A", "partner_customer_id": "P-C"}, {"id": "NEW", "partner_customer_id": "P-A"}]),
    );
    app.advance(LINK_AGED);
    let before = updates(&app, "A");
    let replay = json!({"filter": {"state": "parked"}});
    let answer = app.ask_operator(TOKEN, "POST /admin/v1/entries/replay", &replay);
    assert_eq!(answer.status, 200, "{}", answer.body);
    app.wait_until("refused", "delivered");
    let reached = app.imprint.email("NEW");
    assert_eq!(reached.as_deref(), Some("refused@example.com"));
    assert_eq!(updates(&app, "A"), before);
}

/// FAULTS N1169: an event only clears a field that the bridge does not send, so no answer of Imprint shows that its two ids
/// belong to different customers.
#[test]
fn a_wrong_pair_without_a_request_supersedes_no_value() {
    let app = two_customers();
    let clears = |id: &str, ids, revision| {
        by_both(id, ids, revision).with("/data/customer/email", Value::Null)
    };
    app.accept(&clears("wrong", ("A", "P-B"), 9));
    conflict(&app, "wrong");
    app.accept(&email("right", "A", 5));
    app.wait_until("right", "delivered");
    app.accept(&clears("own", ("A", "P-A"), 6));
    let receipt = app.wait_until("own", "ignored");
    assert_eq!(receipt["ignored"], "clearing_omitted");
    assert_eq!(app.imprint.email("A").as_deref(), Some("right@example.com"));
}

/// FAULTS N215: customers are linked anew at Imprint, and an operator replays the parked event.
#[test]
fn a_pair_that_becomes_right_is_delivered() {
    let app = two_customers();
    app.accept(&by_both("early", ("A", "P-NEW"), 1));
    conflict(&app, "early");
    seed(&app, &json!([{"id": "A", "partner_customer_id": "P-NEW"}]));
    app.advance(LINK_AGED);
    app.accept(&by_both("now", ("A", "P-NEW"), 2));
    app.wait_until("now", "delivered");
    assert_eq!(app.imprint.email("A").as_deref(), Some("now@example.com"));
}

/// An Imprint whose search by `P-LIE` finds the customer "A". The update of "A" shows that the id of "A" is `own`.
fn lying_search(own: &str) -> RawImprint {
    let own = own.to_owned();
    RawImprint::start(move |mut accepted| {
        let own = own.clone();
        accepted.serve(move |request| {
            let path = request.split(' ').nth(1).unwrap();
            let body = match path.split_once("partner_customer_id=") {
                Some((_, query)) => {
                    let partner = query.split('&').next().unwrap();
                    let hit = json!({"id": "A", "partner_customer_id": partner});
                    let hits = [hit].into_iter();
                    let hits: Vec<Value> = hits
                        .filter(|_| partner == own || partner == "P-LIE")
                        .collect();
                    json!({"data": hits, "total": hits.len(), "has_more": false})
                }
                None => json!({"id": "A", "partner_customer_id": own}),
            };
            let body = body.to_string();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        });
    })
}

/// FAULTS N725: a search finds the customer of another partner customer id, which Imprint confirmed a moment before.
#[test]
fn a_search_that_contradicts_a_confirmed_pair_sends_nothing() {
    let imprint = lying_search("P-A");
    let settings = format!("[imprint]\nbase_url = \"{}\"", imprint.origin());
    let app = TestApp::setup()
        .settings(settings)
        .operator("alice", TOKEN)
        .start();
    app.accept(&by_both("right", ("A", "P-A"), 1));
    app.wait_until("right", "delivered");
    let updates = || {
        let requests = imprint.requests().into_iter();
        requests
            .filter(|request| request.starts_with("POST"))
            .count()
    };
    for (id, revision) in [("lie", 5), ("again", 6)] {
        app.accept(&by_partner(id, "P-LIE", revision));
        conflict(&app, id);
    }
    assert_eq!(updates(), 1, "nothing reached the other customer");
    app.accept(&by_both("next", ("A", "P-A"), 2));
    app.wait_until("next", "delivered");
    assert_eq!(updates(), 2);
}

/// FAULTS N725: Imprint has given the customer a new link, and no customer has the earlier id.
#[test]
fn a_search_after_a_new_link_at_imprint_is_believed() {
    let app = two_customers();
    app.accept(&by_both("before", ("A", "P-A"), 1));
    app.wait_until("before", "delivered");
    seed(&app, &json!([{"id": "A", "partner_customer_id": "P-NEW"}]));
    app.accept(&by_partner("now", "P-NEW", 2));
    app.wait_until("now", "delivered");
    assert_eq!(app.imprint.email("A").as_deref(), Some("now@example.com"));
}

// === outdated Imprint ids ===

/// FAULTS N217: the Imprint id does not exist any more, and our own id beside it is still good.
#[test]
fn an_outdated_imprint_id_beside_a_good_id_of_ours_is_found() {
    let app = two_customers();
    for (id, revision) in [("first", 1), ("second", 2)] {
        app.accept(&by_both(id, ("OLD", "P-A"), revision));
        app.wait_until(id, "delivered");
        let delivered = format!("{id}@example.com");
        assert_eq!(app.imprint.email("A"), Some(delivered));
    }
    // The second event needs no update of the old id: the link says that our id belongs to another customer, and Imprint
    // has no customer with the old id.
    assert_eq!(updates(&app, "OLD"), 1);
    assert_eq!(calls(&app, Operation::Search, None), 1);
    app.accept(&by_both("nobody", ("OLD", "P-NOBODY"), 1));
    app.wait_until("nobody", "ignored");
    assert_eq!(calls(&app, Operation::Search, None), 2);
    // An existing customer is no outdated id.
    app.accept(&by_both("wrong", ("B", "P-A"), 3));
    conflict(&app, "wrong");
    assert_eq!(updates(&app, "B"), 0);
}

/// FAULTS N217: searches have a small share of the rate. A customer whose search must wait is not updated again before it.
#[test]
fn an_update_is_not_repeated_while_its_search_waits() {
    const CUSTOMERS: usize = 12;
    let app = TestApp::setup()
        .settings("[imprint]\nrate_per_second = 50")
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    // Evidence that Imprint works, and that a search finds somebody.
    seed(&app, &json!({"id": "A", "partner_customer_id": "P-A"}));
    app.accept(&by_partner("first", "P-A", 1));
    app.wait_until("first", "delivered");
    let events = (0..CUSTOMERS).map(|number| format!("c{number}"));
    let batch: Vec<Event> = events.map(|id| email(&id, &id, 1)).collect();
    assert_eq!(app.post_batch(&batch).status, 202);
    app.wait_for("all are unknown", |app| {
        app.metric("ended_total{state=\"ignored\"}") == Some(12.0)
    });
    for number in 0..CUSTOMERS {
        assert_eq!(updates(&app, &format!("c{number}")), 1, "{number}");
    }
    assert_eq!(calls(&app, Operation::Search, None), CUSTOMERS + 1);
}

/// FAULTS N217: each event of a lane of an outdated id goes its own way.
#[test]
fn an_answer_about_one_id_of_ours_decides_only_about_its_events() {
    let app = two_customers();
    app.imprint.sandbox.outage(Duration::from_secs(60));
    let batch = [
        by_both("of-a", ("OLD", "P-A"), 1),
        by_both("of-b", ("OLD", "P-B"), 2),
        by_both("of-nobody", ("OLD", "P-NOBODY"), 3),
    ];
    assert_eq!(app.post_batch(&batch).status, 202);
    app.imprint.sandbox.clear_faults();
    app.advance_until("nothing waits", Duration::from_secs(1), |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
    for (id, state) in [
        ("of-a", "delivered"),
        ("of-b", "delivered"),
        ("of-nobody", "ignored"),
    ] {
        app.wait_until(id, state);
    }
    assert_eq!(app.imprint.email("A").as_deref(), Some("of-a@example.com"));
    assert_eq!(app.imprint.email("B").as_deref(), Some("of-b@example.com"));
}

/// FAULTS N217: an API key that may not search still gets Imprint's answer about the Imprint id.
#[test]
fn without_the_right_to_search_the_imprint_id_decides() {
    let app = two_customers();
    app.imprint
        .inject(&json!({"method": "GET", "action": {"status": 403}}));
    app.accept(&by_both("first", ("OLD", "P-A"), 1));
    // A retrieve is forbidden too, so only an applied update proves that Imprint answers truly.
    let revision = Cell::new(1);
    app.advance_until("the event is ignored", Duration::from_secs(1), |app| {
        revision.set(revision.get() + 1);
        let id = format!("other-{}", revision.get());
        app.accept(&email(&id, "B", revision.get()));
        app.receipt("first")["status"] == "ignored"
    });
    app.advance_until("nothing waits", Duration::from_secs(1), |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
}

// === the closed list ===

/// FAULTS N211: a value of the customer in the place of a type or parameter reaches neither the receipt nor the log.
#[test]
fn an_error_type_that_is_not_documented_is_dropped() {
    let app = TestApp::start();
    for (number, (kind, param, detail)) in [
        ("JANE_DOE", "email", "status 400 email"),
        ("JANE_DOE_ERROR", "metadata.jane", "status 400"),
        ("bad_request", "phone", "status 400 BAD_REQUEST_ERROR phone"),
    ]
    .into_iter()
    .enumerate()
    {
        let customer = format!("c{number}");
        app.imprint.inject(&json!({
            "customer": customer,
            "action": {"status": 400, "type": kind, "param": param},
        }));
        app.accept(&email(&customer, &customer, 1));
        // A rejection without a known error type or field parks only after another customer was served.
        app.wait_for("the rejection", |app| updates(app, &customer) > 0);
        let served = format!("served-{number}");
        app.accept(&email(&served, &served, 1));
        let receipt = app.wait_until(&customer, "parked");
        let expected = json!({"reason": "rejected", "detail": detail});
        assert_eq!(receipt["parked"], expected);
    }
}
