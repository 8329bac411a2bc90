//! Tests of the overview: the sentence names the cause of an outage.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Browser, TOKEN};
use crate::support::{Event, TestApp, email, wait_for};

/// FAULTS N866
#[test]
fn the_overview_names_the_cause_of_an_outage_and_its_end() {
    let app = TestApp::setup().operator("alice", TOKEN).key("sk_wrong");
    let app = app.start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/");
    assert!(page.contains("<h1 id=\"state\">Idle</h1>"), "{page}");
    let idle = "Nothing waits. No event has come since the start.";
    assert!(page.contains(idle), "{page}");
    assert!(!page.contains("Needs an operator"), "{page}");
    app.accept(&email("first", "c1", 1));
    app.accept(&email("second", "c2", 1));
    let page = wait_for("the overview shows the outage", || {
        Some(browser.page("/")).filter(|page| page.contains("<h1 id=\"state\">Stopped since "))
    });
    assert!(
        page.contains("Imprint refuses the API key (401). The next probe is ")
            && page.contains("at most one a second. 2 entries wait"),
        "{page}"
    );
    assert!(page.contains("imprint.key_file"), "{page}");
    assert!(!page.contains("@example.com"), "{page}");
    // FAULTS N1166: an operator who looks at another page, or at another tab, sees the outage too.
    for path in ["/problems", "/entries", "/customers", "/sources", "/audit"] {
        let page = browser.page(path);
        let line = "<p class=\"state-line alarm\" role=\"status\"><a href=\"/\">Stopped since ";
        assert!(page.contains(line), "{path}: {page}");
        assert!(page.contains("<title>Stopped · "), "{path}: {page}");
    }
    app.files.write_key(crate::support::KEY);
    app.wait_until("first", "delivered");
    app.wait_until("second", "delivered");
    wait_for("the overview shows the recovery", || {
        Some(browser.page("/")).filter(|page| page.contains("<h1 id=\"state\">Delivering</h1>"))
    });
    // FAULTS N1476: the outage is over, and nothing else tells of it.
    let page = browser.page("/destination");
    let states = page
        .split("Last outages and their ends, the newest first")
        .nth(1);
    let states = states.unwrap().split("</table>").next().unwrap();
    let place = |text: &str| {
        states
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {states}"))
    };
    let names = [">flowing<", "applied", ">stopped<", "denied status_401"];
    assert!(names.map(place).is_sorted(), "{states}");
    let destination = app.ask_operator(TOKEN, "GET /admin/v1/destination", &Value::Null);
    let changes = destination.json()["changes"].clone();
    let outcomes = (
        &changes[0]["state"],
        &changes[1]["state"],
        &changes[1]["cause"],
    );
    assert_eq!(
        outcomes,
        (&json!("flowing"), &json!("stopped"), &json!("status_401"))
    );
}

/// FAULTS N1130: the only customer gets no answer, so nothing shows whether the customer or Imprint is the cause.
#[test]
fn the_overview_names_failures_without_a_proven_cause() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let mut app = app.start();
    app.leave_waiting_entries();
    app.imprint.inject(&json!({"action": {"status": 500}}));
    app.accept(&email("first", "c1", 1));
    let destination = || {
        let answer = app.ask_operator(TOKEN, "GET /admin/v1/destination", &Value::Null);
        answer.json()["unproven"].clone()
    };
    app.advance_until("three requests have failed", Duration::from_secs(5), |_| {
        !destination().is_null()
    });
    assert_eq!(destination()["cause"], "status_500");
    let page = Browser::logged_in(&app, TOKEN).page("/");
    for shown in [
        "<h1 id=\"state\">Requests fail since ",
        "requests failed: Imprint answers with 500. Nothing has shown whether a customer",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}

/// FAULTS N899: the answer about a witness stops the destination, and the overview names the status of this answer.
#[test]
fn the_overview_names_the_cause_that_a_witness_has_shown() {
    let mut app = TestApp::setup().operator("alice", TOKEN).start();
    app.leave_waiting_entries();
    app.accept(&email("healthy", "c1", 1));
    app.wait_until("healthy", "delivered");
    app.imprint.inject(&json!({"action": {"status": 401}}));
    app.accept(&email("refused", "c2", 1));
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = wait_for("the overview shows the outage", || {
        Some(browser.page("/")).filter(|page| page.contains("<h1 id=\"state\">Stopped since "))
    });
    assert!(
        page.contains("Imprint refuses the API key (401)."),
        "{page}"
    );
    let destination = browser.page("/destination");
    assert!(
        destination.contains("<code>denied status_401</code>"),
        "{destination}"
    );
}

/// FAULTS N898: a bridge that refuses every request of a source is not healthy.
#[test]
fn the_overview_shows_the_sources_whose_requests_are_refused() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let refused = Event::sample().with("/type", json!("customer.unheard-of"));
    assert_eq!(app.post(&refused).status, 422);
    assert_eq!(app.post(&refused).status, 422);
    let page = browser.page("/");
    for shown in [
        "<h1 id=\"state\">Refusing the events of crm</h1>",
        "Since the start, the bridge has refused every request of this source.",
        "<strong class=\"number\">2</strong> errors in refused requests of the source crm",
        "href=\"/sources\"",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}

/// FAULTS N866
#[test]
fn the_overview_names_the_operator_who_paused_and_what_waits_for_a_decision() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let fault = json!({"customer": "c1", "times": 1, "action": {"status": 400, "param": "email"}});
    app.imprint.inject(&fault);
    app.accept(&email("bad", "c1", 1));
    app.wait_until("bad", "parked");
    let pause = json!({"mode": "paused", "reason": "<i>Imprint deploys</i>"});
    let answer = app.ask_operator(TOKEN, "POST /admin/v1/destination", &pause);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/");
    assert!(page.contains("<h1 id=\"state\">Paused since "), "{page}");
    let cause = "alice paused sending: &#60;i&#62;Imprint deploys&#60;/i&#62;.";
    assert!(page.contains(cause), "{page}");
    assert!(
        page.contains("<strong class=\"number\">1</strong> parked entry"),
        "{page}"
    );
    assert!(page.contains("href=\"/problems\""), "{page}");
    let answer = app.ask_operator(TOKEN, "GET /admin/v1/destination", &Value::Null);
    assert_eq!(
        answer.json()["cause"],
        Value::Null,
        "the state began with the process"
    );
}

/// FAULTS N1076: the overview shows what has come and gone in the last hour, and each source shows its last event.
#[test]
fn the_pages_show_the_rates_of_the_last_hour() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let mut app = app.start();
    app.leave_waiting_entries();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/sources");
    assert!(page.contains("no event since the start"), "{page}");
    for number in 1..=20 {
        app.accept(&email(&format!("e{number}"), "c1", number));
        app.wait_until(&format!("e{number}"), "delivered");
        app.advance(Duration::from_secs(20));
    }
    let page = wait_for("the overview shows the rate", || {
        let page = browser.page("/");
        page.contains("<span class=\"number\">3 a minute</span>")
            .then_some(page)
    });
    assert!(page.contains("aria-label=\"Accepted: "), "{page}");
    assert!(page.contains("<rect x=\""), "{page}");
    assert!(!page.contains("style="), "{page}");
    let page = browser.page("/sources");
    assert!(
        page.contains("last event 20 s ago; 3 a minute now, 20 new events since the start"),
        "{page}"
    );
    app.advance(Duration::from_hours(3));
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/sources");
    assert!(page.contains("last event 3 h ago; "), "{page}");
    // FAULTS N1448: after a restart, the bridge knows nothing of the last hour.
    app.stop().unwrap();
    app.restart();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/sources");
    assert!(page.contains("last event 3 h ago; "), "{page}");
    assert!(page.contains("0 new events since the start"), "{page}");
}
