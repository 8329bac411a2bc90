//! Tests of the problems: the entries that wait for an operator, by cause.

use serde_json::json;

use super::changes::{confirm, hidden_fields};
use super::{Browser, TOKEN, VIEWER, park, start_with_viewer};
use crate::support::{TestApp, email};

/// Sends the form of a case, and returns the preview of its replay.
fn preview_of_replay(browser: &mut Browser, case: &str) -> String {
    let mut fields = hidden_fields(case, "/entries/preview");
    fields.push(("action".to_owned(), "replay".to_owned()));
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    browser.post("/entries/preview", &fields).body
}

/// FAULTS N893
#[test]
fn entries_with_one_cause_are_one_case_that_an_operator_replays_at_once() {
    let (app, _folder) = start_with_viewer();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/problems");
    assert!(page.contains("No entry waits for an operator."), "{page}");
    for (id, customer, revision) in [("e1", "c1", 1), ("e2", "c2", 1), ("e3", "c1", 2)] {
        park(&app, id, customer, revision);
    }
    let action = json!({"status": 400, "param": "phone"});
    app.imprint
        .inject(&json!({"customer": "c3", "times": 1, "action": action}));
    app.accept(&email("e4", "c3", 1));
    app.wait_until("e4", "parked");

    let page = browser.page("/problems");
    assert_eq!(page.matches("class=\"card case\"").count(), 2, "{page}");
    let (phone, mail) = page.split_once("id=\"case-2\"").unwrap();
    for (case, entries, customers, field) in [
        (phone, "1 entry</strong>", "1 customer", "phone"),
        (mail, "3 entries</strong>", "2 customers", "email"),
    ] {
        for text in ["Imprint rejected the update", entries, customers, field] {
            assert!(case.contains(text), "{text}: {case}");
        }
    }
    // FAULTS N1585: the case says how to correct the events by hand, with words that no sender has chosen.
    let command = "imprint-bridge parked --events --source crm --parked-for rejected --token-file";
    assert!(mail.contains(command), "{mail}");
    // FAULTS N1238: the case names the rule of the rejected field.
    let file = "/config/sources/crm.toml</code> maps this field with <code>.data.customer.email</code> for <code>email</code>";
    assert!(mail.contains(file), "{mail}");
    assert!(!page.contains("@example.com"), "{page}");
    let overview = browser.page("/");
    assert!(overview.contains("href=\"/problems\""), "{overview}");

    let preview = preview_of_replay(&mut browser, mail);
    assert!(preview.contains("Replay 3 entries?"), "{preview}");
    let answer = confirm(&mut browser, &preview, "Imprint fixed the rule");
    assert!(
        answer.body.contains("3 entries replayed"),
        "{}",
        answer.body
    );
    for id in ["e1", "e2", "e3"] {
        app.wait_for("settled", |app| app.receipt(id)["status"] != "waiting");
    }
    let page = browser.page("/problems");
    assert_eq!(page.matches("class=\"card case\"").count(), 1, "{page}");

    park(&app, "e5", "c5", 1);
    let page = browser.page("/problems");
    assert_eq!(
        page.matches("class=\"card case\"").count(),
        2,
        "the case is back: {page}"
    );
    let mut viewer = Browser::logged_in(&app, VIEWER);
    let page = viewer.page("/problems");
    assert!(
        page.contains("Imprint rejected") && !page.contains("Replay"),
        "{page}"
    );
}

/// FAULTS N882
#[test]
fn the_held_entries_of_a_mass_change_are_a_case_that_an_operator_releases() {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .settings("[brake]\nmode = \"on\"\ncustomers_max = 2")
        .start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    for number in 1..=5 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    let overview = browser.page("/");
    let note = "held entries belong to a mass change of a source";
    assert!(overview.contains(note), "{overview}");
    let sources = browser.page("/sources");
    let sentence = "The mass-change brake of crm has held 3 entries since";
    assert!(sources.contains(sentence), "{sources}");
    assert!(
        sources.contains("the source changes email of 5 customers within 15 min, and the rule customers allows 2."),
        "{sources}"
    );
    let page = browser.page("/problems");
    for text in ["Held: a mass change of a source", "3 entries</strong>"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let entries = browser.page("/entries");
    assert!(entries.contains("href=\"/entries/3\""), "{entries}");
    let preview = preview_of_replay(&mut browser, &page);
    assert!(preview.contains("Replay 3 entries?"), "{preview}");
    assert!(!preview.contains("e3@example.com"), "{preview}");
    let answer = confirm(&mut browser, &preview, "a planned import");
    let body = answer.body;
    assert!(body.contains("3 entries replayed"), "{body}");
    for number in 1..=5 {
        app.wait_until(&format!("e{number}"), "delivered");
    }
    let page = browser.page("/problems");
    assert!(page.contains("No entry waits for an operator."), "{page}");
}

/// FAULTS N1042: an operator decides about the held entries of a source, and lets an expected import pass, in the console.
#[test]
fn an_operator_releases_the_held_entries_of_a_source_and_opens_its_brake() {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .settings("[brake]\nmode = \"on\"\ncustomers_max = 2")
        .start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    for number in 1..=5 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    let tabs = browser.page("/entries");
    let counted = "Needs a decision <small class=\"number\">3</small>";
    assert!(tabs.contains(counted), "{tabs}");
    let oldest = browser.page("/entries?state=held&order=oldest");
    let place = |number: u64| oldest.find(&format!("href=\"/entries/{number}\""));
    assert!(place(3).unwrap() < place(5).unwrap(), "{oldest}");
    let sources = browser.page("/sources");
    assert!(sources.contains("Release all…"), "{sources}");
    let filter = "state=held&source=crm";
    let chosen = [
        ("action", "release"),
        ("filter", filter),
        ("back", "/sources"),
    ];
    let preview = browser.submit("/entries/preview", &chosen).body;
    assert!(preview.contains("Release 3 entries?"), "{preview}");
    let answer = confirm(&mut browser, &preview, "a planned import");
    assert!(
        answer.body.contains("3 entries released"),
        "{}",
        answer.body
    );
    let fields = [("minutes", "60"), ("reason", "the planned import goes on")];
    let answer = browser.submit("/sources/crm/brake", &fields);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let sources = browser.page("/sources");
    let sentence = "An operator has opened the mass-change brake until";
    assert!(sources.contains(sentence), "{sources}");
    for number in 6..=9 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    for number in 1..=9 {
        app.wait_until(&format!("e{number}"), "delivered");
    }
    let audit = browser.page("/audit");
    assert!(audit.contains("the planned import goes on"), "{audit}");
    let close = [("minutes", "0"), ("reason", "the import has ended")];
    assert_eq!(browser.submit("/sources/crm/brake", &close).status, 303);
    let without_reason = [("minutes", "60"), ("reason", " ")];
    let answer = browser.submit("/sources/crm/brake", &without_reason);
    assert!(answer.status >= 400, "{}", answer.body);
    for number in 10..=12 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    app.wait_until("e12", "held");
}
