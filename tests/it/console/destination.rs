//! Tests of the page of the destination.

use serde_json::{Value, json};

use super::{Browser, TOKEN, VIEWER, park, start_with_viewer};
use crate::support::{TestApp, email, wait_for};

/// FAULTS N874, N1438
#[test]
fn an_operator_pauses_and_resumes_sending_with_a_reason() {
    let (app, _folder) = start_with_viewer();
    let mut alice = Browser::logged_in(&app, TOKEN);
    let page = alice.page("/destination");
    assert!(page.contains("<h1 id=\"state\">Idle</h1>"), "{page}");
    let address = format!("<code>http://{}", app.imprint.address);
    assert!(page.contains(&address), "{page}");
    assert!(
        page.contains(">Pause<") && page.contains(">Shadow mode<"),
        "{page}"
    );
    let pause = [("mode", "paused"), ("reason", "Imprint\r\ndeploys <b>")];
    let answer = alice.submit("/destination", &pause);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/destination"))
    );
    app.accept(&email("e1", "c1", 1));
    let page = alice.page("/destination");
    for shown in [
        "<h1 id=\"state\">Paused since ",
        "alice paused sending: Imprint  deploys &#60;b&#62;. 1 entry waits",
        "paused <small>set by alice",
        ">Send<",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let answer = app.ask_operator(TOKEN, "GET /admin/v1/audit", &Value::Null);
    let act = answer.json()["acts"]
        .as_array()
        .unwrap()
        .last()
        .cloned()
        .unwrap();
    let (what, reason) = ("mode", "Imprint  deploys <b>");
    assert_eq!(
        (&act["what"], &act["reason"]),
        (&json!(what), &json!(reason))
    );

    let mut viewer = Browser::logged_in(&app, VIEWER);
    let page = viewer.page("/destination");
    assert!(page.contains("Paused since "), "{page}");
    assert!(!page.contains("action=\"/destination\""), "{page}");
    let resume = [("mode", "open"), ("reason", "done")];
    assert_eq!(viewer.submit("/destination", &resume).status, 403);
    let forged = [&[("form_token", "guess")], &resume[..]].concat();
    assert_eq!(alice.post("/destination", &forged).status, 403);
    let long = "x".repeat(1_001);
    for wrong in [
        &[("mode", "off"), ("reason", "x")][..],
        &[("reason", "x")],
        &[("mode", "shadow"), ("reason", " ")],
        &[("mode", "shadow"), ("reason", &long)],
    ] {
        assert_eq!(alice.submit("/destination", wrong).status, 400, "{wrong:?}");
    }
    assert_eq!(app.receipt("e1")["status"], "waiting");
    // A start needs no reason.
    let resume = [("mode", "open"), ("reason", "")];
    assert_eq!(alice.submit("/destination", &resume).status, 303);
    app.wait_until("e1", "delivered");
}

/// FAULTS N874
#[test]
fn the_shadow_mode_shows_its_requests_masked() {
    let (app, _folder) = start_with_viewer();
    let mut alice = Browser::logged_in(&app, TOKEN);
    alice.submit("/destination", &[("mode", "shadow"), ("reason", "test")]);
    app.accept(&email("e1", "c1", 1));
    let page = wait_for("the page has the request", || {
        Some(alice.page("/destination")).filter(|page| page.contains("did not send"))
    });
    assert!(page.contains("<span class=\"id\">c1</span>"), "{page}");
    assert!(page.contains("••• (text of "), "{page}");
    assert!(!page.contains("@example.com"), "{page}");
    assert_eq!(app.imprint.applied("c1").len(), 0);
    alice.submit("/destination", &[("mode", "open"), ("reason", "test")]);
    app.wait_until("e1", "delivered");
}

/// The number of throttled requests on the page.
const TWO_THROTTLED: &str = "<dt>throttled</dt><dd><span class=\"number\">2</span>";

/// FAULTS N874
#[test]
fn the_destination_shows_throttling_and_the_rate_limit() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let app = app.settings("[imprint]\nrate_per_second = 8");
    let mut app = app.start();
    app.leave_waiting_entries();
    let mut alice = Browser::logged_in(&app, TOKEN);
    let page = alice.page("/destination");
    assert!(page.contains("<dd>8 requests per second</dd>"), "{page}");
    app.imprint
        .inject(&json!({"action": {"status": 429, "retry_after": "60"}}));
    app.accept(&email("e1", "c1", 1));
    app.accept(&email("e2", "c2", 1));
    let mut is_throttled = |app: &TestApp| {
        app.advance(std::time::Duration::from_millis(200));
        let page = alice.page("/destination");
        let is_throttled = page.contains("<h1 id=\"state\">Throttled since ");
        // The bridge counts an answer after it has changed the state.
        (is_throttled && page.contains(TWO_THROTTLED)).then_some(page)
    };
    let page = wait_for("the page shows the throttling", || is_throttled(&app));
    for shown in [
        "Imprint asked the bridge to wait until ",
        "<dt>Next request</dt>",
        "lowered to 4",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}

/// FAULTS N1183: the page named the state of the destination, and showed no request and no answer behind it.
#[test]
fn the_destination_shows_the_last_requests_and_answers() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let mut alice = Browser::logged_in(&app, TOKEN);
    let page = alice.page("/destination");
    assert!(
        page.contains("No request has failed since the start."),
        "{page}"
    );
    park(&app, "bad", "jane-doe", 1);
    app.accept(&email("good", "c2", 1));
    app.wait_until("good", "delivered");
    let page = alice.page("/destination");
    let (failed, served) = page.split_once("Last served requests").unwrap();
    for shown in [
        "<code>POST /v2/customers/{id}</code>",
        "<strong class=\"number\">400</strong> <code>BAD_REQUEST_ERROR</code> <code>email</code>",
        "<span>rejected</span> <small>parked: rejected</small>",
        "<a href=\"/entries/1\">1</a>",
    ] {
        assert!(failed.contains(shown), "{shown}: {page}");
    }
    for shown in [
        "<strong class=\"number\">200</strong>",
        "<span>applied</span> <small>delivered</small>",
        "<a href=\"/entries/2\">2</a>",
    ] {
        assert!(served.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("jane"), "{page}");
    assert!(!page.contains("@example.com"), "{page}");
}
