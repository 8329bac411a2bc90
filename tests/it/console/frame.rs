//! Tests of what every page shows around its content, and of what waiting entries say while nothing is sent.

use super::{Browser, TOKEN};
use crate::support::{TestApp, email, wait_for};

/// FAULTS N1187: an error page had no navigation, so an operator lost the console, and the state of the bridge.
#[test]
fn an_error_page_has_the_frame_of_the_console() {
    let app = TestApp::setup().operator("alice", TOKEN);
    let app = app.settings("[notices]\ninstance = \"bridge-7\"").start();
    let mut alice = Browser::logged_in(&app, TOKEN);
    for (path, status, title, section) in [
        ("/nothing", 404, "Page not found", None),
        ("/entries/77", 404, "Unknown entry", Some("/entries")),
        ("/audit?before=x", 400, "Malformed request", Some("/audit")),
    ] {
        let answer = alice.get(path);
        assert_eq!(answer.status, status, "{path}");
        let page = answer.body;
        assert!(
            page.contains(&format!("<h1 id=\"problem\">{title}")),
            "{page}"
        );
        assert!(page.contains("<nav aria-label=\"Pages\">"), "{page}");
        let current = section.map(|path| format!("href=\"{path}\" aria-current=\"page\""));
        let is_current = |current: String| page.contains(&current);
        assert!(current.is_none_or(is_current), "{page}");
        // FAULTS N1188: an operator of several bridges did not see which one a page belongs to.
        let name = format!("<title>{title} · bridge-7 · Imprint Bridge</title>");
        assert!(page.contains(&name), "{page}");
    }
    let stranger = Browser::new(&app).get("/nothing");
    assert_eq!(stranger.status, 404);
    assert!(!stranger.body.contains("bridge-7"), "{}", stranger.body);
}

/// FAULTS N1188
#[test]
fn a_bridge_without_a_configured_name_shows_the_name_of_the_machine() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let page = Browser::logged_in(&app, TOKEN).page("/");
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = format!("title=\"Name of this bridge\">{}</span>", machine.trim());
    assert!(page.contains(&name), "{page}");
    assert!(
        page.contains("The page does not change by itself."),
        "{page}"
    );
}

/// FAULTS N1186: during an outage, the page of an entry named only the next due time of its customer.
#[test]
fn a_waiting_entry_and_its_customer_say_why_nothing_is_sent() {
    let app = TestApp::setup().operator("alice", TOKEN).key("sk_wrong");
    let app = app.start();
    let mut alice = Browser::logged_in(&app, TOKEN);
    app.accept(&email("e1", "c1", 1));
    app.accept(&email("e2", "c2", 1));
    let page = wait_for("the entry names the outage", || {
        let page = alice.page("/entries/1");
        page.contains("Imprint refuses the API key (401) since ")
            .then_some(page)
    });
    let waits =
        "The event waits for a request to Imprint: Imprint refuses the API key (401) since ";
    assert!(page.contains(waits), "{page}");
    let page = alice.page("/customers?id=c1");
    let waits = "The next request waits: Imprint refuses the API key (401) since ";
    assert!(page.contains(waits), "{page}");
    alice.submit("/destination", &[("mode", "paused"), ("reason", "test")]);
    let page = alice.page("/entries/1");
    let waits = "The event waits for a request to Imprint: sending is paused since ";
    assert!(page.contains(waits), "{page}");
    app.files.write_key(crate::support::KEY);
    alice.submit("/destination", &[("mode", "open"), ("reason", "test")]);
    app.wait_until("e1", "delivered");
    app.wait_until("e2", "delivered");
}
