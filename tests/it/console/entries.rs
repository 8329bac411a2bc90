//! Tests of the list of entries and of the page of one entry.

use serde_json::{Value, json};

use tempfile::TempDir;

use super::{Browser, TOKEN, VIEWER, park, start_with_viewer};
use crate::support::{TestApp, email};

/// Starts a bridge with three parked entries of two customers and a delivered one.
fn start() -> (TestApp, TempDir) {
    let (app, folder) = start_with_viewer();
    for (id, customer, revision) in [("e1", "c1", 1), ("e2", "c2", 1), ("e3", "c1", 2)] {
        park(&app, id, customer, revision);
    }
    app.accept(&email("e4", "c3", 1));
    app.wait_until("e4", "delivered");
    (app, folder)
}

/// The event ids of the rows of a list, from the top.
fn ids(page: &str) -> Vec<&str> {
    let rows = page
        .split("data-label=\"Event\"><span class=\"id\">")
        .skip(1);
    rows.filter_map(|row| row.split('<').next()).collect()
}

/// FAULTS N870
#[test]
fn the_list_of_entries_filters_by_its_address_and_shows_the_newest_first() {
    let (app, _folder) = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    for (path, expected) in [
        ("/entries", &["e3", "e2", "e1"][..]),
        ("/entries?state=all", &["e4", "e3", "e2", "e1"]),
        ("/entries?state=all&after=3", &["e2", "e1"]),
        ("/entries?state=all&after=1", &[]),
        ("/entries?state=delivered", &["e4"]),
        ("/entries?state=waiting", &[]),
        ("/entries?state=all&customer=c1", &["e3", "e1"]),
        ("/entries?customer=c1&after=3", &["e1"]),
        ("/entries?id=e2&customer=+c2+&source=", &["e2"]),
        (
            "/entries?reason=rejected&type=customer.changed",
            &["e3", "e2", "e1"],
        ),
        ("/entries?reason=invalid", &[]),
        ("/entries?before=1970-01-01T00%3A00%3A00Z", &[]),
    ] {
        let page = browser.page(path);
        assert_eq!(ids(&page), expected, "{path}");
        assert_eq!(
            page.contains("class=\"empty\""),
            expected.is_empty(),
            "{path}"
        );
        assert!(!page.contains("@example.com"), "{path}");
    }
    let page = browser.page("/entries?customer=c1&id=%22%3E%3Cb%3E");
    assert!(page.contains("value=\"c1\""), "{page}");
    assert!(page.contains("value=\"&#34;&#62;&#60;b&#62;\""), "{page}");
    let tab = "href=\"/entries?state=waiting&#38;id=%22%3E%3Cb%3E&#38;customer=c1\"";
    assert!(page.contains(tab), "a link keeps the filter: {page}");
    for path in [
        "/entries?state=none",
        "/entries?since=yesterday",
        "/entries?after=x",
        "/entries?reason=x",
        "/entries?source=%00",
    ] {
        let answer = browser.get(path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains("The filter has an error"), "{path}");
    }
    let answer = Browser::new(&app).get("/entries?customer=c1");
    assert_eq!(
        answer.header("location"),
        Some("/login?next=%2Fentries%3Fcustomer%3Dc1")
    );
}

/// FAULTS N870: a page of the list links the next one, and each entry is on one page.
#[test]
fn the_pages_of_the_list_have_every_entry_once() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let ids_of = |range: std::ops::Range<u32>| range.map(|number| format!("e{number}"));
    for id in ids_of(0..101) {
        app.accept(&email(&id, &format!("c-{id}"), 1));
    }
    for id in ids_of(0..101) {
        app.wait_until(&id, "delivered");
    }
    let mut browser = Browser::logged_in(&app, TOKEN);
    let mut path = "/entries?state=delivered".to_owned();
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = browser.page(&path);
        found.extend(ids(&page).into_iter().map(str::to_owned));
        pages += 1;
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else {
            break;
        };
        let (_, next) = before.rsplit_once("href=\"").unwrap();
        path = next.replace("&#38;", "&");
    }
    assert_eq!(pages, 3);
    let newest_first: Vec<String> = ids_of(0..101).rev().collect();
    assert_eq!(found, newest_first);
}

/// FAULTS N871
#[test]
fn an_entry_shows_its_life_and_reveals_values_only_to_a_revealer() {
    let (app, _folder) = start();
    let mut viewer = Browser::logged_in(&app, VIEWER);
    let page = viewer.page("/entries/1");
    for shown in [
        "Entry 1 ",
        "<strong>Accepted</strong>",
        "<strong>Sent in 1 request</strong>",
        "<strong>Parked: rejected</strong>",
        "Imprint rejected the values.",
        "••• (text of ",
        "<code>email</code>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("@example.com"), "{page}");
    assert!(!page.contains("Reveal"), "{page}");
    assert_eq!(viewer.submit("/entries/1/reveal", &[]).status, 403);
    let masked = viewer.page("/entries/1?reveal=true");
    assert!(!masked.contains("@example.com"), "{masked}");

    let mut alice = Browser::logged_in(&app, TOKEN);
    let page = alice.page("/entries/1");
    assert!(page.contains("Reveal the values"), "{page}");
    assert!(!page.contains("@example.com"), "{page}");
    assert_eq!(alice.get("/entries/1/reveal").status, 404);
    let forged = alice.post("/entries/1/reveal", &[("form_token", "guess")]);
    assert_eq!(forged.status, 403);
    let revealed = |app: &TestApp| {
        let answer = app.ask_operator(TOKEN, "GET /admin/v1/audit", &Value::Null);
        let acts = answer.json()["acts"].as_array().unwrap().clone();
        let reveals = acts.iter().filter(|act| act["what"] == "reveal");
        let reveals = reveals.map(|act| (act["who"].clone(), act["on"].clone()));
        reveals.collect::<Vec<_>>()
    };
    assert_eq!(revealed(&app), [], "nothing was revealed yet");
    let answer = alice.submit("/entries/1/reveal", &[]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("@example.com"), "{}", answer.body);
    assert!(answer.body.contains("shows values unmasked"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(revealed(&app), [(json!("alice"), json!("1"))]);

    let page = alice.page("/entries/4");
    assert!(page.contains("<strong>Delivered</strong>"), "{page}");
    assert!(
        !page.contains("Reveal"),
        "nothing is left to reveal: {page}"
    );
    for path in ["/entries/99", "/entries/x", "/entries/0"] {
        assert_eq!(alice.get(path).status, 404, "{path}");
    }
}
