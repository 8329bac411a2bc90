//! Tests of the ids by which events name their customer.

use serde_json::json;

use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{Event, TestApp, wait_for};

const UUID: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
fn email(id: &str, customer: &str, revision: u64) -> Event {
    Event::new(id, customer, revision).email(&format!("{id}@example.com"))
}

/// Creates an event that names the customer by both ids.
fn by_both(id: &str, (imprint, partner): (&str, &str), revision: u64) -> Event {
    email(id, imprint, revision).with("/data/customer/id", json!(partner))
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
            "times": 1,
            "action": {"status": 400, "type": kind, "param": param},
        }));
        app.accept(&email(&customer, &customer, 1));
        let receipt = app.wait_until(&customer, "parked");
        let expected = json!({"reason": "rejected", "detail": detail});
        assert_eq!(receipt["parked"], expected);
    }
}
