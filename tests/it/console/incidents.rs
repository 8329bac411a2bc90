//! Tests of four incidents: the console alone shows the cause and the way to the cure.

use std::path::Path;

use imprint_bridge::time::Clock;
use serde_json::json;

use super::changes::confirm;
use super::{Browser, TOKEN};
use crate::http;
use crate::support::{TestApp, email, wait_for};

/// The secret of the source `crm`, and the secret with which its sender signs after a change.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// The part of a source file after the table `auth`.
const EVENTS: &str = r#"
[events.moved]
schema = "any.json"
customer.imprint_id = ".data.customer"
[events.moved.update]
state = ".data.state"
"#;

/// Starts a bridge with the source `crm` in this folder.
fn start(folder: &Path, auth: &str, more: &str) -> TestApp {
    std::fs::write(folder.join("any.json"), "{}").unwrap();
    write_source(folder, &format!("[auth]\n{auth}\n{EVENTS}"));
    let path = folder.display();
    let settings = format!("sources_dir = \"{path}\"\nschemas_dir = \"{path}\"\n{more}");
    let setup = TestApp::setup().operator("alice", TOKEN);
    setup.settings(settings).start()
}

fn write_source(folder: &Path, text: &str) {
    std::fs::write(folder.join("crm.toml"), text).unwrap();
}

fn send(app: &TestApp, headers: &[(&str, &str)], id: &str, state: &str) -> u16 {
    let event = json!({"specversion": "1.0", "id": id, "source": "/test", "type": "moved",
        "data": {"customer": "c1", "state": state}});
    let media_type = ("content-type", "application/cloudevents+json");
    let headers = [&[media_type], headers].concat();
    let line = "POST /v1/sources/crm/events";
    let answer = http::ask(app.ingress(), line, &headers, &event.to_string());
    answer.unwrap().status
}

#[track_caller]
fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text}: {page}");
    }
}

/// Returns the path of the link with this text.
#[track_caller]
fn path_of(page: &str, text: &str) -> String {
    let (before, _) = page.split_once(&format!("\">{text}</a>")).unwrap();
    let (_, path) = before.rsplit_once("href=\"").unwrap();
    path.replace("&#38;", "&")
}

/// Checks the list of the two entries that passed before the mass change was held, and its file.
#[track_caller]
fn lists_those_that_passed(browser: &mut Browser, path: &str) {
    let passed = browser.page(path);
    has(&passed, &["href=\"/entries/1\"", "href=\"/entries/2\""]);
    assert!(!passed.contains("href=\"/entries/3\""), "{passed}");
    // FAULTS N1318: the list has exactly the entries that counted, and can be exported without values.
    let file = path_of(&passed, "Download as NDJSON");
    let answer = browser.get(&file);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let rows = answer.body.lines();
    let rows = rows.map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
    let rows = rows.map(|row| (row["event"].clone(), row["imprint_id"].clone()));
    let expected = [("e1", "c1"), ("e2", "c2")].map(|(event, id)| (json!(event), json!(id)));
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert!(!answer.body.contains("@"), "{}", answer.body);
    let unknown = browser.get("/sources/crm/passed?field=phone&rule=customers");
    assert_eq!(unknown.status, 404);
    has(&unknown.body, &["This bridge knows no such mass change"]);
}

/// FAULTS N1280, N1281, N1439: after a discard of the held entries, an operator believed that the mass change had reached nobody.
#[test]
fn a_mass_change_is_told_with_the_customers_that_passed() {
    let mut app = TestApp::setup()
        .operator("alice", TOKEN)
        .settings("[brake]\nmode = \"on\"\ncustomers_max = 2")
        .start();
    // Imprint rejects the first of the two updates that pass.
    let action = json!({"status": 400, "param": "email"});
    app.imprint
        .inject(&json!({"customer": "c1", "action": action}));
    for number in 1..=5 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    app.wait_until("e1", "parked");
    let mut browser = Browser::logged_in(&app, TOKEN);
    let sentence = "the source changes email of 5 customers within 15 min, and the rule customers allows 2. 2 customers passed before: Imprint already has these values, or gets them, unless an entry is parked, ignored or discarded.";
    let link = "Entries of crm with these 2 customers";
    let overview = wait_for("the overview shows the held entries", || {
        Some(browser.page("/")).filter(|page| page.contains("3 entries are held now."))
    });
    has(
        &overview,
        &[
            "<h1 id=\"state\">Holding a mass change of crm since ",
            "The mass-change brake of crm has held 3 entries since ",
            sentence,
            link,
        ],
    );
    for path in ["/sources", "/problems"] {
        has(&browser.page(path), &[sentence, link]);
    }
    let discard = [("action", "discard"), ("filter", "state=held&source=crm")];
    let preview = browser.submit("/entries/preview", &discard).body;
    has(
        &preview,
        &[
            sentence,
            link,
            "A discard does not change what passed",
            "This changes nothing at Imprint",
        ],
    );
    // FAULTS N1311: the dangerous action looked harmless.
    let release = [("action", "release"), ("filter", "state=held&source=crm")];
    let preview = browser.submit("/entries/preview", &release).body;
    let effect = "The requests set email of 3 customers at Imprint. The bridge cannot";
    has(&preview, &[effect, "<button class=\"main danger\""]);
    lists_those_that_passed(&mut browser, &path_of(&overview, link));
    app.stop().unwrap();
    app.restart();
    tells_what_a_restart_lost(&app);
}

fn tells_what_a_restart_lost(app: &TestApp) {
    let mut browser = Browser::logged_in(app, TOKEN);
    let overview = wait_for("the overview shows the held entries", || {
        Some(browser.page("/")).filter(|page| page.contains("3 entries are held now."))
    });
    let lost = "The bridge has restarted since then, so it knows neither the field";
    has(
        &overview,
        &[
            "Holding a mass change of crm since ",
            lost,
            "Entries from before",
        ],
    );
    has(&browser.page("/sources"), &[lost, "Release all…"]);
    let passed = browser.page(&path_of(&overview, "Entries from before"));
    has(&passed, &["href=\"/entries/1\"", "href=\"/entries/2\""]);
}

/// FAULTS N1311: a source holds more entries than a case lists, and the buttons of the source change the oldest of them.
#[test]
fn the_preview_of_the_oldest_held_entries_tells_the_mass_change() {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .settings("[brake]\nmode = \"on\"\ncustomers_max = 2")
        .start();
    let events = (1..=1_010).map(|number| email(&format!("e{number}"), &format!("c{number}"), 1));
    let events: Vec<_> = events.map(|event| event.json().clone()).collect();
    let media_type = [("content-type", "application/cloudevents-batch+json")];
    for batch in events.chunks(100) {
        let line = "POST /v1/sources/crm/events";
        let answer = http::ask(app.ingress(), line, &media_type, &json!(batch).to_string());
        assert_eq!(answer.unwrap().status, 202);
    }
    let mut browser = Browser::logged_in(&app, TOKEN);
    for (action, texts) in [
        (
            "release",
            [
                "The mass-change brake of crm has held 1,008 entries",
                "The requests set email of 500 customers at Imprint. The bridge cannot take it back.",
            ],
        ),
        (
            "discard",
            [
                "A discard does not change what passed",
                "This changes nothing at Imprint",
            ],
        ),
    ] {
        let fields = [("action", action), ("filter", "state=held&source=crm")];
        has(&browser.submit("/entries/preview", &fields).body, &texts);
    }
}

/// FAULTS N1282: a preview promised the delivery of values that Imprint had rejected, and a plain replay sent them again.
#[test]
fn a_replay_of_rejected_values_maps_them_again_and_promises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path(), "kind = \"none\"", "");
    let action = json!({"status": 400, "param": "state"});
    app.imprint
        .inject(&json!({"customer": "c1", "times": 1, "action": action}));
    assert_eq!(send(&app, &[], "e1", "California"), 202);
    app.wait_for("the entry is parked", |app| {
        app.metric("parked_entries") == Some(1.0)
    });
    let mut browser = Browser::logged_in(&app, TOKEN);
    let overview = browser.page("/");
    has(
        &overview,
        &[
            "<h1 id=\"state\">Delivering, with problems since ",
            "1 entry of crm (moved), accepted at ",
            ": Imprint rejects state (400).",
        ],
    );

    let replay = [("action", "replay"), ("entry", "1")];
    let preview = browser.submit("/entries/preview", &replay).body;
    let rejected = "Imprint has rejected the values that this replay sends for 1 entry: Imprint rejects state (400).";
    has(
        &preview,
        &[
            "The values come from the present mapping, because Imprint has rejected the stored ones",
            rejected,
            "The present mapping gives the same values as before",
            "the same values as before: Imprint rejects state (400)",
        ],
    );
    assert!(!preview.contains("tag good"), "{preview}");
    let stored = [&replay[..], &[("mapping", "stored")]].concat();
    let preview = browser.submit("/entries/preview", &stored).body;
    has(
        &preview,
        &[rejected, "A corrected source file does not change them"],
    );
    assert!(!preview.contains("tag good"), "{preview}");

    let corrected = EVENTS.replace(".data.state\"", ".data.state | us_state\"");
    write_source(
        folder.path(),
        &format!("[auth]\nkind = \"none\"\n{corrected}"),
    );
    let answer = app.ask_operator(TOKEN, "POST /admin/v1/reload", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let preview = browser.submit("/entries/preview", &replay).body;
    has(&preview, &["tag good", "if Imprint accepts the request"]);
    assert!(!preview.contains(rejected), "{preview}");
    let answer = confirm(&mut browser, &preview, "the mapping is corrected");
    has(&answer.body, &["1 entry replayed"]);
    let state = || {
        let request = app.imprint.applied("c1").pop()?;
        Some(request.body["state"].clone())
    };
    assert_eq!(wait_for("the delivery", state), "CA");
}

/// FAULTS N1283: nobody on call found the key file to change.
#[test]
fn the_destination_shows_the_file_of_the_refused_key() {
    let mut app = TestApp::setup().operator("alice", TOKEN).start();
    app.leave_waiting_entries();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/destination");
    has(
        &page,
        &[
            "<dt>Key</dt><dd>In use <small><code>/",
            "(imprint.key_file)",
        ],
    );
    app.imprint.inject(&json!({"action": {"status": 401}}));
    app.accept(&email("e1", "c1", 1));
    wait_for("Imprint refuses the key", || {
        let page = browser.page("/destination");
        page.contains("<dt>Key</dt><dd>Imprint refuses it since ")
            .then_some(())
    });
    wait_for("the bridge reads the file", || {
        let page = browser.page("/destination");
        let is_shown = page.contains(", changed <") && page.contains(", last read <");
        is_shown.then_some(())
    });
}

/// FAULTS N1284: the console spoke of a wrong source file when the sender had another secret.
#[test]
fn a_wrong_secret_is_told_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let auth = format!(
        "kind = \"standard_webhooks\"\nsecret_files = [\"{}\"]",
        file.display()
    );
    let app = start(folder.path(), &auth, "");
    let seconds = (Clock::machine().wall().as_millis() / 1000).to_string();
    let signature = format!("v1,{}=", "A".repeat(43));
    let signed = [
        ("webhook-id", "m1"),
        ("webhook-timestamp", seconds.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    assert_eq!(send(&app, &signed, "e1", "CA"), 401);
    let mut browser = Browser::logged_in(&app, TOKEN);
    let sentence = format!(
        "he signature does not match: the sender has another secret than {}",
        file.display()
    );
    let overview = browser.page("/");
    has(
        &overview,
        &[
            &sentence,
            "or something on the way changes the body.",
            "Compare the secret with the owner of the source.",
        ],
    );
    has(&browser.page("/sources"), &[&sentence]);
}
