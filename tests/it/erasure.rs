//! Tests that no file of the store contains a value of an ended entry.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Event, TestApp, email};

/// The text in the values of the tests.
pub(crate) const CANARY: &str = "canary-4711";

/// Returns whether bytes contain a text. The search of the standard library is fast also in a test build, and the reserve of
/// the store has 48 MiB.
pub(crate) fn holds(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

/// Returns whether a file in a folder contains a text.
///
/// The function looks twice: during a look, the bridge possibly moves the text from the log, which the function has not
/// read yet, into the store file, which it has read.
pub(crate) fn contains(folder: &Path, text: &str) -> bool {
    let look = || {
        fs::read_dir(folder).unwrap().any(|file| {
            let path = file.unwrap().path();
            path.is_file() && holds(&fs::read(path).unwrap(), text)
        })
    };
    look() || look()
}

pub(crate) fn is_in_store(app: &TestApp, text: &str) -> bool {
    contains(app.files.store().parent().unwrap(), text)
}

pub(crate) fn canary(id: &str) -> Event {
    let text = |field: &str| json!(format!("{CANARY}-{field}"));
    email(id, id, 1)
        .email(&format!("{CANARY}@example.com"))
        .with("/data/customer/first_name", text("first"))
        .with("/data/customer/last_name", text("last"))
        .with("/data/customer/note", text("undescribed"))
}

/// Checks that the values are erased one minute after their entry has ended, and not later.
#[track_caller]
fn check_erased_after_one_minute(app: &TestApp) {
    app.advance(Duration::from_secs(60));
    app.wait_for("the values are erased", |app| !is_in_store(app, CANARY));
}

/// FAULTS N440, N1443: SQLite keeps the bytes of a deleted row in free pages and in the write-ahead log.
#[test]
fn no_file_of_the_store_keeps_a_value_of_a_delivered_entry() {
    let app = TestApp::setup().manual_clock().start();
    for number in 0..40 {
        app.accept(&canary(&format!("E{number}")));
    }
    assert!(is_in_store(&app, CANARY), "the search finds stored values");
    for number in 0..40 {
        app.wait_until(&format!("E{number}"), "delivered");
    }
    check_erased_after_one_minute(&app);
}

/// FAULTS N440: the same holds for an entry that an operator discards.
#[test]
fn no_file_of_the_store_keeps_a_value_of_a_discarded_entry() {
    let app = TestApp::setup()
        .manual_clock()
        .operator("alice", "a-token-of-alice")
        .start();
    let ask = |line: &str, body: Value| {
        let answer = app.ask_operator("a-token-of-alice", line, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    ask(
        "POST /admin/v1/destination",
        json!({"mode": "paused", "reason": "a test"}),
    );
    app.accept(&canary("E1"));
    let line = "GET /admin/v1/entries?state=waiting";
    let listed = app.ask_operator("a-token-of-alice", line, &Value::Null);
    let entry = listed.json()["entries"][0]["entry"].clone();
    app.advance(Duration::from_secs(60));
    assert!(
        is_in_store(&app, CANARY),
        "a waiting entry keeps its values"
    );
    ask(
        "POST /admin/v1/entries/discard",
        json!({"ids": [entry], "reason": "a test"}),
    );
    app.wait_until("E1", "discarded");
    check_erased_after_one_minute(&app);
}

/// Starts a bridge once, and then leaves the remains of a deleted row in its store, as an older program did: in free
/// pages, and in a gap of a used page.
fn app_with_remains() -> TestApp {
    let mut app = TestApp::start();
    app.stop().unwrap();
    let connection = Connection::open(app.files.store()).unwrap();
    connection
        .pragma_update(None, "secure_delete", "OFF")
        .unwrap();
    let large = format!("{CANARY}-{}", "x".repeat(10_000));
    for (name, value) in [("large", large.as_str()), ("small", CANARY)] {
        let row = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
        connection.execute(row, (name, value)).unwrap();
    }
    connection
        .execute_batch("DELETE FROM meta WHERE name IN ('large', 'small', 'secure_delete')")
        .unwrap();
    drop(connection);
    assert!(is_in_store(&app, CANARY), "the store has remains");
    app
}

#[track_caller]
fn check_delivery(app: &TestApp) {
    app.accept(&email("E1", "CUST-1", 1));
    app.wait_until("E1", "delivered");
}

/// FAULTS N441: the draft of an earlier start that crashed in this step has no effect.
#[test]
fn the_remains_of_an_older_program_are_erased_at_the_next_start() {
    let mut app = app_with_remains();
    fs::write(app.files.store_file("outbox.db.new"), "half a store").unwrap();
    app.restart();
    assert!(!is_in_store(&app, CANARY));
    check_delivery(&app);
}

/// FAULTS N441: a store that cannot be rewritten stays as it is, and the next start tries again.
#[test]
fn a_store_that_cannot_be_rewritten_keeps_its_entries() {
    let mut app = app_with_remains();
    let draft = app.files.store_file("outbox.db.new");
    fs::create_dir(&draft).unwrap();
    app.restart();
    assert!(is_in_store(&app, CANARY));
    check_delivery(&app);
    app.stop().unwrap();
    fs::remove_dir(&draft).unwrap();
    app.restart();
    assert!(!is_in_store(&app, CANARY));
    assert_eq!(app.receipt("E1")["status"], "delivered");
}
