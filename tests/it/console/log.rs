//! Tests of the pages of the audit log and of the sources.

use serde_json::json;

use super::{Browser, TOKEN, VIEWER, start_with_viewer};
use crate::support::{TestApp, email};

/// The numbers of the audit records on a page, from the top.
fn numbers(page: &str) -> Vec<u64> {
    let rows = page.split("data-label=\"Record\">").skip(1);
    let numbers = rows.filter_map(|row| row.split('<').next());
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// FAULTS N875
#[test]
fn the_audit_log_shows_every_record_once_and_the_newest_first() {
    let (app, _folder) = start_with_viewer();
    let mut viewer = Browser::logged_in(&app, VIEWER);
    let page = viewer.page("/audit");
    let before = numbers(&page).len();
    for number in 1..=60 {
        let mode = if number % 2 == 1 { "paused" } else { "open" };
        let body = json!({"mode": mode, "reason": format!("<i>reason {number}</i>")});
        let answer = app.ask_operator(TOKEN, "POST /admin/v1/destination", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let first = viewer.page("/audit");
    assert!(
        first.contains("&#60;i&#62;reason 60&#60;/i&#62;"),
        "{first}"
    );
    assert!(first.contains("paused to open"), "{first}");
    assert!(!first.contains("changed after"), "{first}");
    let mut found = numbers(&first);
    assert_eq!(found.len(), 50);
    let older = format!("/audit?before={}", found.last().unwrap());
    assert!(first.contains(&format!("href=\"{older}\"")), "{first}");
    let second = viewer.page(&older);
    assert!(!second.contains("rel=\"next\""), "{second}");
    found.extend(numbers(&second));
    let newest = u64::try_from(60 + before).unwrap();
    assert_eq!(found, (1..=newest).rev().collect::<Vec<_>>());
    assert_eq!(numbers(&viewer.page("/audit?before=1")), [0; 0]);
    assert_eq!(viewer.get("/audit?before=x").status, 400);
}

/// FAULTS N875
#[test]
fn the_sources_show_refused_requests_by_reason() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/sources");
    assert!(page.contains("<span class=\"id\">crm</span>"), "{page}");
    assert!(
        page.contains("no refused request since the start"),
        "{page}"
    );
    for id in ["e1", "e2"] {
        let invalid = email(id, "c1", 1).with("/data/customer/email", json!(7));
        assert_eq!(app.post(&invalid).status, 422);
    }
    let page = browser.page("/sources");
    assert!(
        page.contains("2 refused requests since the start"),
        "{page}"
    );
    assert!(page.contains("<code>/data/customer/email</code>"), "{page}");
    assert!(
        page.contains("href=\"/entries?state=all&amp;source=crm\""),
        "{page}"
    );
}
