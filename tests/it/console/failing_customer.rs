//! Tests of what the console says of a customer whose updates Imprint fails, while it serves all others.

use std::time::Duration;

use serde_json::json;

use super::{Browser, TOKEN};
use crate::support::{TestApp, email};

/// FAULTS N1570: Imprint answers every update of one customer with 500. The overview said "Delivering" for 5 minutes.
#[test]
fn the_overview_names_a_customer_that_fails_beside_others() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let app = app.start();
    app.accept(&email("healthy", "c-good", 1));
    app.wait_until("healthy", "delivered");
    let fault = json!({"customer": "c-poison", "times": 6, "action": {"status": 500}});
    app.imprint.inject(&fault);
    let start = app.now();
    app.accept(&email("poison", "c-poison", 1));
    let headline = |app: &TestApp| {
        let page = Browser::logged_in(app, TOKEN).page("/");
        let (_, rest) = page.split_once("<h1 id=\"state\">").unwrap();
        rest.split_once("</h1>").unwrap().0.to_owned()
    };
    let second = Duration::from_secs(1);
    app.advance_until("the overview names the customer", second, |app| {
        headline(app).starts_with("Delivering, but 1 customer fails since ")
    });
    assert!(app.now().since(start) <= Duration::from_mins(1));
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/");
    for shown in [
        "c-poison waits: Imprint answers with 500, and ",
        " requests have failed since ",
        "<a href=\"/customers?id=c%2Dpoison\">Look at the customer</a>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let (_, title) = page.split_once("<title>").unwrap();
    let (title, _) = title.split_once("</title>").unwrap();
    assert!(!title.contains("c-poison"), "{title}");
    let customer = browser.page("/customers?id=c-poison");
    assert!(
        customer.contains("<p>Imprint answers with 500.</p>"),
        "{customer}"
    );
    let good = browser.page("/customers?id=c-good");
    assert!(!good.contains("answers with 500"), "{good}");
    app.advance_until("Imprint serves the customer again", second * 60, |app| {
        app.receipt("poison")["status"] == "delivered"
    });
    let after = headline(&app);
    assert!(["Delivering", "Idle"].contains(&after.as_str()), "{after}");
}
