//! Walks through the console: an operator finds the cause of an incident, and repairs it.

use super::{IDLE, Scripts, TOKEN, Window, logged_in};
use crate::console::park;
use crate::support::{KEY, TestApp, email};

/// FAULTS N1464: an outage. The first page has the cause, and the page of the destination the file to correct.
#[test]
fn from_an_outage_to_its_cause() {
    let app = TestApp::setup().operator("alice", TOKEN).key("sk_wrong");
    let app = app.start();
    app.accept(&email("e1", "c1", 1));
    let window = logged_in(&app, Scripts::Allowed);
    window.wait_for("Stopped since");
    window.shows(&["Imprint refuses the API key (401)", "1 entry"]);
    window.follow("Destination");
    window.shows(&["imprint.key_file", "status_401"]);
    app.files.write_key(KEY);
    window.wait_for("flowing");
    window.follow("Overview");
    window.wait_for("Nothing waits");
    app.wait_until("e1", "delivered");
}

/// FAULTS N1464: from a case through its preview and the replay to the delivery, also in a browser without scripts.
#[test]
fn from_a_case_to_the_delivery() {
    for scripts in [Scripts::Allowed, Scripts::Blocked] {
        let app = TestApp::setup().operator("alice", TOKEN).start();
        park(&app, "e1", "c1", 1);
        park(&app, "e2", "c2", 1);
        let window = logged_in(&app, scripts);
        window.follow("Problems");
        window.shows(&["Imprint rejected the update", "2 customers"]);
        window.press("Replay");
        window.shows(&["Replay 2 entries?", "2 requests"]);
        assert!(!window.text().contains("@example.com"), "values are masked");
        // The browser itself asks for a reason.
        window.press_in_vain("Replay 2 entries");
        window.shows(&["Replay 2 entries?"]);
        window.write("#reason", "Imprint corrected its rule");
        window.press("Replay 2 entries");
        window.shows(&["2 entries replayed"]);
        for id in ["e1", "e2"] {
            app.wait_until(id, "delivered");
        }
        window.follow("Problems");
        window.shows(&["No entry waits for an operator."]);
        window.follow("Audit log");
        window.shows(&["replay", "Imprint corrected its rule", "alice"]);
    }
}

/// FAULTS N1464: from an entry through its explanation to the values, which the audit log records.
#[test]
fn from_an_entry_to_its_values() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    park(&app, "e1", "c1", 1);
    let window = logged_in(&app, Scripts::Allowed);
    window.follow("Entries");
    window.follow("1");
    window.shows(&["Life of the event", "Imprint rejected the values", "masked"]);
    assert!(!window.text().contains("@example.com"), "values are masked");
    window.press("Reveal the values");
    window.shows(&["This page shows values unmasked", "e1@example.com"]);
    assert!(!window.path().contains("example.com"), "{}", window.path());
    window.follow("Audit log");
    window.shows(&["reveal", "alice"]);
}

/// FAULTS N1464: a try-out of an edited mapping with a parked entry shows the difference, and sends nothing.
#[test]
fn from_an_edited_mapping_to_its_difference() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    park(&app, "e1", "c1", 1);
    let calls = app.imprint.calls().len();
    let window = logged_in(&app, Scripts::Allowed);
    window.go("/entries/1");
    window.follow("Try out the mapping with this event");
    let text = window.content_of("#text");
    let rule = text
        .lines()
        .find(|line| line.starts_with("email = "))
        .unwrap();
    window.write(
        "#text",
        &text.replace(rule, "email = '\"desk@example.com\"'"),
    );
    window.press("Try out");
    window.shows(&["Differences", "(text of 14) ••• (text of 16)"]);
    assert_eq!(app.imprint.calls().len(), calls, "a try-out sends nothing");
    assert_eq!(app.receipt("e1")["status"], "parked");
}

/// FAULTS N1464: from a mass change that the brake holds through the preview to its release.
#[test]
fn from_a_mass_change_to_its_release() {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .settings("[brake]\nmode = \"on\"\ncustomers_max = 2")
        .start();
    for number in 1..=5 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    let window = logged_in(&app, Scripts::Allowed);
    window.wait_for("3 entries are held now.");
    window.follow("Problems");
    window.shows(&[
        "Held: a mass change of a source",
        "changes email of 5 customers",
    ]);
    window.press("Release");
    window.shows(&["The requests set email of 3 customers at Imprint."]);
    window.write("#reason", "a planned import");
    window.press("Release 3 entries");
    window.shows(&["3 entries released"]);
    for number in 1..=5 {
        app.wait_until(&format!("e{number}"), "delivered");
    }
}

/// FAULTS N1464: a wrong token says so, and after the end of a session the operator comes back to the page.
#[test]
fn from_the_end_of_a_session_back_to_the_page() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let app = app.start();
    let window = Window::open(app.ops(), Scripts::Allowed);
    window.go("/entries?state=delivered");
    window.log_in("op-canary-token-9");
    assert!(window.path().starts_with("/login"), "{}", window.path());
    assert_eq!(window.content_of("#token"), "");
    assert!(!window.text_of("#error").is_empty());
    window.log_in(TOKEN);
    assert_eq!(window.path(), "/entries?state=delivered");
    app.advance(IDLE);
    window.follow("Problems");
    assert!(window.path().starts_with("/login"), "{}", window.path());
    window.log_in(TOKEN);
    window.shows(&["No entry waits for an operator."]);
    window.press("Log out");
    window.go("/problems");
    assert!(window.path().starts_with("/login"), "{}", window.path());
}
