//! No customer id is in the file, the log, the free pages or the backups of a sealed store.

use imprint_bridge::sandbox::UnseededCustomer;
use serde_json::{Value, json};

use super::{TOKEN, ask, hex, set_mode, wait_for_metric, wait_until_only_remains_are_plain};
use crate::erasure::is_in_store;
use crate::support::{Event, TestApp, by_partner, email, seed};

/// A part of every customer id of these tests.
const ID: &str = "qzcust9w";
/// A UUID, which Imprint spells in lower case.
const UUID: &str = "2C9F3A52-7D41-4F0E-9A3B-5E8D1C6B7A90";

/// Returns whether a customer id is in a file of the store or in a backup.
fn has_id(app: &TestApp) -> bool {
    let ids = [ID, UUID, &UUID.to_ascii_lowercase()];
    ids.into_iter().any(|id| is_in_store(app, id))
}

fn setup() -> TestApp {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .unknown_customer(UnseededCustomer::NotFound)
        .start();
    seed(
        &app,
        &json!([
            {"id": format!("{ID}-A"), "partner_customer_id": format!("{ID}-PA")},
            {"id": format!("{ID}-C"), "partner_customer_id": format!("{ID}-PC")},
            {"id": UUID.to_ascii_lowercase(), "partner_customer_id": format!("{ID}-PU")},
        ]),
    );
    app
}

/// Creates an event that names its customer by both ids.
fn by_both(id: &str, imprint: &str, partner: &str, revision: u64) -> Event {
    let partner = format!("{ID}-{partner}");
    email(id, imprint, revision).with("/data/customer/id", json!(partner))
}

/// Creates an event of the customer `A`.
fn of_a(id: &str, revision: u64) -> Event {
    by_both(id, &format!("{ID}-A"), "PA", revision)
}

/// Brings events of each kind of customer into the store, and leaves a waiting, a parked and a delivered entry of each.
fn fill(app: &TestApp, round: &str) {
    let events = |step: &str, revision| {
        let id = |kind: &str| format!("{round}-{step}-{kind}");
        [
            of_a(&id("both"), revision),
            by_both(&id("uuid"), UUID, "PU", revision),
            by_partner(&id("partner"), &format!("{ID}-PC"), revision),
        ]
    };
    let base = if round == "plain" { 1 } else { 100 };
    set_mode(app, "open");
    for event in events("done", base) {
        app.accept(&event);
    }
    for kind in ["both", "uuid", "partner"] {
        app.wait_until(&format!("{round}-done-{kind}"), "delivered");
    }
    set_mode(app, "paused");
    for (step, revision) in [("park", base + 1), ("wait", base + 2)] {
        for event in events(step, revision) {
            app.accept(&event);
        }
    }
    let line = "GET /admin/v1/entries?state=waiting";
    let waiting = ask(app, line, &Value::Null);
    let parked: Vec<&Value> = waiting["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["id"].as_str().unwrap().contains("-park-"))
        .map(|entry| &entry["entry"])
        .collect();
    let body = json!({"ids": parked, "reason": "later"});
    ask(app, "POST /admin/v1/entries/park", &body);
}

/// Returns the ids of the events of a customer.
fn events_of(app: &TestApp, customer: &str) -> Vec<String> {
    let line = format!("GET /admin/v1/entries?state=all&customer={customer}");
    let listed = ask(app, &line, &Value::Null);
    let listed = listed["entries"].as_array().unwrap();
    let ids = listed.iter().map(|entry| entry["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

fn back_up(app: &TestApp, name: &str) {
    ask(app, "POST /admin/v1/store/backup", &json!({"name": name}));
    let draft = app.files.store_file(&format!("{name}.new"));
    app.wait_for("the copy is complete", |_| !draft.exists());
}

/// FAULTS N823: a sealed store contains no customer id while entries wait, after a backup and after they ended.
#[test]
fn no_file_of_a_sealed_store_has_a_customer_id() {
    let mut app = setup();
    app.stop().unwrap();
    app.files.write_sealing_key("2026-01", &hex(1));
    app.restart();
    // The store had no record, so it has no remains.
    wait_for_metric(&app, "sealing_plain", 0.0);
    app.stop().unwrap();
    app.restart();
    fill(&app, "sealed");
    assert!(!has_id(&app), "while entries wait");
    back_up(&app, "copy.db");
    assert!(!has_id(&app), "in a backup");
    app.stop().unwrap();
    assert!(!has_id(&app), "after the stop");
    app.restart();
    set_mode(&app, "open");
    app.wait_until("sealed-wait-both", "delivered");
    wait_for_metric(&app, "waiting_entries", 0.0);
    assert!(!has_id(&app), "after the end");
    // Every look-up finds the customer.
    for (customer, events) in [
        (format!("{ID}-A"), 3),
        (format!("{ID}-PA"), 3),
        (format!("{ID}-C"), 3),
        (format!("{ID}-PC"), 3),
        (UUID.to_owned(), 3),
    ] {
        assert_eq!(events_of(&app, &customer).len(), events, "{customer}");
    }
    let shown = ask(&app, "GET /admin/v1/entries/1", &Value::Null);
    let customer = format!("\"imprint_id\":\"{ID}-A\"");
    assert!(shown.to_string().contains(&customer), "{shown}");
}

/// FAULTS N824: the bridge seals the customer ids of a plain store, and then of a store with an older key. It finds every
/// customer, and no customer has two lanes.
#[test]
fn customer_ids_of_a_plain_store_are_sealed_in_the_background() {
    let mut app = setup();
    fill(&app, "plain");
    app.stop().unwrap();
    assert!(has_id(&app));
    app.files.write_sealing_key("2026-01", &hex(1));
    app.restart();
    // Before, while and after the bridge seals the ids, a customer is the same customer.
    let again = app.post(&of_a("plain-done-both", 1));
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
    app.accept(&of_a("more-1", 50));
    wait_until_only_remains_are_plain(&app, &|| {});
    app.accept(&of_a("more-2", 51));
    app.stop().unwrap();
    app.restart();
    assert!(!has_id(&app));
    assert_eq!(events_of(&app, &format!("{ID}-A")).len(), 5);
    assert_eq!(events_of(&app, &format!("{ID}-PC")).len(), 3);
    fill(&app, "sealed");
    assert!(!has_id(&app));
    app.files.write_sealing_key("2026-02", &hex(2));
    wait_for_metric(&app, "sealing_removable_keys", 1.0);
    app.files.remove_sealing_key("2026-01");
    wait_for_metric(&app, "sealing_removable_keys", 0.0);
    app.stop().unwrap();
    app.restart();
    assert_eq!(app.metric("sealing_missing_keys"), Some(0.0));
    set_mode(&app, "open");
    for kind in ["both", "uuid", "partner"] {
        app.wait_until(&format!("sealed-wait-{kind}"), "delivered");
    }
    // The older event was superseded, so the two events have the same lane.
    app.wait_until("plain-wait-both", "superseded");
    app.wait_until("more-1", "superseded");
    assert_eq!(events_of(&app, &format!("{ID}-A")).len(), 8);
    assert_eq!(events_of(&app, &format!("{ID}-PC")).len(), 6);
    assert_eq!(app.metric("parked_entries"), Some(6.0));
    assert!(!has_id(&app));
}
