//! Tests of what the console says of a source that is silent, whose files have errors, or whose fields have vanished.

use std::cell::Cell;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::{Browser, TOKEN};
use crate::http::ask;
use crate::support::{TestApp, wait_for};

const SOURCE: &str = "[auth]\nkind = \"none\"\n\
     [body]\nformat = \"json\"\nid = \".id\"\ntype = '\"p\"'\n\
     [events.p]\nschema = \"any.json\"\ncustomer.imprint_id = \".cid\"\n\
     [events.p.update]\nemail = '.email'\nfirst_name = '.first'\nlast_name = '.last'\n";

/// Starts a bridge with these sources and a manual clock. Returns the folder of their files too.
fn start(sources: &[&str]) -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("any.json"), "{}").unwrap();
    for source in sources {
        write(&folder, source, SOURCE);
    }
    let path = folder.path();
    let settings = format!("sources_dir = {path:?}\nschemas_dir = {path:?}");
    let setup = TestApp::setup().settings(settings).manual_clock();
    (setup.operator("alice", TOKEN).start(), folder)
}

fn write(folder: &TempDir, source: &str, text: &str) {
    let draft = folder.path().join("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, folder.path().join(format!("{source}.toml"))).unwrap();
}

/// Sends `count` events with these values for 20 customers, and waits until Imprint has them.
#[track_caller]
fn send(app: &TestApp, source: &str, prefix: &str, count: usize, values: &serde_json::Value) {
    let line = format!("POST /v1/sources/{source}/events");
    for number in 0..count {
        let mut event = values.clone();
        event["id"] = json!(format!("{prefix}-{number}"));
        event["cid"] = json!(format!("{source}-{}", number % 20));
        let headers = [("content-type", "application/json")];
        let answer = ask(app.ingress(), &line, &headers, &event.to_string()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let second = Duration::from_secs(1);
    app.advance_until("the events are delivered", second, |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
}

/// Moves the clock in steps, so that the bridge looks at its figures after each step.
fn pass(app: &TestApp, minutes: u64, step: u64) {
    for _ in 0..minutes / step {
        app.advance(Duration::from_mins(step));
        std::thread::yield_now();
        let _page = app.ops_get("/metrics");
    }
}

fn headline(page: &str) -> &str {
    let (_, rest) = page.split_once("<h1 id=\"state\">").unwrap();
    rest.split_once("</h1>").unwrap().0
}

/// FAULTS N1566: one of two sources stops, and the overview went on to say "Delivering".
#[test]
fn the_overview_names_a_silent_source_beside_a_busy_one() {
    let (app, _folder) = start(&["crm", "erp", "new"]);
    let values = json!({"email": "jane@example.com"});
    send(&app, "crm", "a", 260, &values);
    send(&app, "erp", "a", 260, &values);
    pass(&app, 175, 5);
    send(&app, "erp", "b", 1, &values);
    let mut browser = Browser::logged_in(&app, TOKEN);
    assert_eq!(headline(&browser.page("/")), "Delivering");
    let sent = Cell::new(0);
    app.advance_until(
        "the overview names the silent source",
        Duration::from_mins(1),
        |app| {
            sent.set(sent.get() + 1);
            send(app, "erp", &format!("c{}", sent.get()), 1, &values);
            let mut browser = Browser::logged_in(app, TOKEN);
            headline(&browser.page("/")).starts_with("Delivering, and crm is silent since ")
        },
    );
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/");
    assert!(headline(&page).ends_with(" UTC (3 h)"), "{page}");
    for shown in [
        "crm sent more than 240 events in a day",
        "The bridge has accepted no event of the source crm since ",
        "<a href=\"/sources\">Look at the source</a>",
        "<title>Delivering, and crm is silent · ",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(
        !page.contains("The source erp") && !page.contains("The source new"),
        "{page}"
    );
    let sources = browser.page("/sources");
    assert_eq!(sources.matches(">silent</span>").count(), 1, "{sources}");
    // The source comes back, and at once nothing is wrong.
    send(&app, "crm", "c", 1, &values);
    let page = browser.page("/");
    assert_eq!(headline(&page), "Delivering");
    assert!(!page.contains("Needs an operator"), "{page}");
}

/// FAULTS N1567: a deploy of source files has an error, and the overview said "Delivering" with a note.
#[test]
fn the_overview_says_in_its_headline_that_new_source_files_are_not_in_use() {
    let (app, folder) = start(&["crm"]);
    send(&app, "crm", "a", 1, &json!({"email": "jane@example.com"}));
    let mut browser = Browser::logged_in(&app, TOKEN);
    assert_eq!(headline(&browser.page("/")), "Delivering");
    write(&folder, "crm", &SOURCE.replace("first_name", "frist_name"));
    let page = wait_for("the overview names the refused files", || {
        app.advance(Duration::from_secs(2));
        let page = browser.page("/");
        headline(&page)
            .starts_with("Delivering, but new source files are not in use since ")
            .then_some(page)
    });
    for shown in [
        "The bridge uses the files from before, because the new ones have an error: ",
        "frist_name",
        "<title>Delivering, but new source files are not in use · ",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let other = browser.page("/entries");
    assert!(other.contains("<p class=\"state-line warning\""), "{other}");
    write(&folder, "crm", SOURCE);
    let page = wait_for("the files are in use again", || {
        app.advance(Duration::from_secs(2));
        let page = browser.page("/");
        (headline(&page) == "Delivering").then_some(page)
    });
    assert!(!page.contains("Needs an operator"), "{page}");
}

/// FAULTS N1568: the sender renames one member and sends null in another one, and no error shows it.
#[test]
fn the_sources_show_the_fields_that_have_vanished() {
    let (app, _folder) = start(&["crm", "erp"]);
    let all = json!({"email": "jane@example.com", "first": "Jane", "last": "Doe"});
    send(&app, "crm", "a", 60, &all);
    send(&app, "erp", "a", 60, &all);
    pass(&app, 420, 5);
    let page = Browser::logged_in(&app, TOKEN).page("/sources");
    assert!(
        page.contains("<dt>Vanished fields</dt><dd><span class=\"number\">none</span>"),
        "{page}"
    );
    let changed = json!({"mail": "jane@example.com", "first": null, "last": "Doe"});
    send(&app, "crm", "b", 210, &changed);
    send(&app, "erp", "b", 210, &all);
    let page = wait_for("the page names the fields", || {
        app.advance(Duration::from_secs(15));
        let page = Browser::logged_in(&app, TOKEN).page("/sources");
        (page.matches(">field</span>").count() == 2).then_some(page)
    });
    for shown in [
        "None of the 210 new events of the last 6 h has a value of <code>email</code>; of the 60 events of the day before, 100 % had one.",
        "210 of the 210 new events of the last 60 min clear <code>first_name</code>; of the 60 events of the day before, 0 % cleared it.",
        "<dt>Vanished fields</dt><dd><span class=\"number\">2</span>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let overview = Browser::logged_in(&app, TOKEN).page("/");
    assert!(
        overview.contains("2 fields of the source crm have vanished"),
        "{overview}"
    );
}
