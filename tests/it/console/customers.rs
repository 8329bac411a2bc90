//! Tests of the page of a customer: why Imprint has its values, and what the next request waits for.

use serde_json::json;

use super::{Browser, TOKEN, VIEWER, park, start_with_viewer};
use crate::support::{email, wait_for};

/// FAULTS N894
#[test]
fn a_customer_shows_its_delivered_events_and_what_it_waits_for() {
    let (mut app, _folder) = start_with_viewer();
    app.leave_waiting_entries();
    app.accept(&email("e1", "c1", 1));
    app.wait_until("e1", "delivered");
    park(&app, "e2", "c1", 2);
    let mut browser = Browser::logged_in(&app, VIEWER);
    let page = browser.page("/customers?id=+c1+");
    for shown in [
        "No entry waits for delivery, but 1 entry is parked, and an operator must decide.",
        "<code>email</code>",
        "data-label=\"Event\"><span class=\"id\">e1</span></th>",
        "<a href=\"/entries/1\">1</a>",
        "<a href=\"/entries/2\">2</a>",
        "parked",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("@example.com"), "{page}");
    let entry = browser.page("/entries/2");
    assert!(entry.contains("href=\"/customers?id=c1\""), "{entry}");

    let action = json!({"status": 500});
    app.imprint
        .inject(&json!({"customer": "c2", "times": 100, "action": action}));
    app.accept(&email("e3", "c2", 1));
    wait_for("a failed request", || {
        let page = browser.page("/customers?id=c2");
        page.contains(" failed, the last one ").then_some(())
    });
}

/// FAULTS N894
#[test]
fn an_unknown_customer_and_a_wrong_id_have_a_clear_answer() {
    let (app, _folder) = start_with_viewer();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/customers");
    assert!(page.contains("name=\"id\""), "{page}");
    for id in ["c9", "%3Cb%3E%26"] {
        let page = browser.page(&format!("/customers?id={id}"));
        assert!(page.contains("The store knows no customer"), "{page}");
        assert!(!page.contains("<b>"), "{page}");
    }
    assert_eq!(browser.get("/customers?id=%00").status, 404);
    assert_eq!(browser.get("/customers?id=a&id=b").status, 400);
}
