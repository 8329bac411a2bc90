//! Tests of the errors that `store verify` finds in a file, besides damaged records and a changed audit log.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::json;

use super::{Bridge, rebind, restore, run};
use crate::process;
use crate::support::{FakeImprint, Files, KEY, wait_for};

/// Damages of the tables, each with the error that names it.
const LAYOUT: [(&str, &str); 7] = [
    ("DROP TABLE held", "the table held is missing"),
    ("DROP TABLE sealing_key", "the table sealing_key is missing"),
    (
        "ALTER TABLE lane DROP COLUMN blamed_since",
        "the table lane is not as the bridge created it",
    ),
    (
        "DROP INDEX receipt_identity",
        "the index receipt_identity is missing",
    ),
    (
        "DROP INDEX lane_due; CREATE INDEX lane_due ON lane (id)",
        "the index lane_due is not as the bridge created it",
    ),
    (
        "DROP TRIGGER act_is_not_removed",
        "the trigger act_is_not_removed is missing",
    ),
    (
        "PRAGMA user_version = 0",
        "the number of the layout is missing",
    ),
];

/// Rows that are missing, each with the error that names the entries.
const REFERENCES: [(&str, &str); 5] = [
    (
        "DELETE FROM waiting WHERE entry > 1",
        "waiting entries without their events: 2 (the first is 2)",
    ),
    (
        "UPDATE entry SET state = 6 WHERE id = 3",
        "held entries without their events: 1 (the first is 3)",
    ),
    (
        "DELETE FROM entry WHERE id = 2",
        "waiting entries without a receipt in this state: 1 (the first is 2)",
    ),
    (
        "DELETE FROM lane",
        "waiting entries without the row of their customer: 3 (the first is 1)",
    ),
    (
        "UPDATE lane SET due_at = NULL WHERE id = 2",
        "waiting entries without a time of their next request: 1 (the first is 2)",
    ),
];

/// Values that each start reads, each with the error that names it.
const SETTINGS: [(&str, &str); 10] = [
    (
        "DELETE FROM meta WHERE name = 'digest_key'",
        "the digest key is damaged",
    ),
    (
        "UPDATE meta SET value = x'6a756e' WHERE name = 'digest_key'",
        "the digest key is damaged",
    ),
    (
        "UPDATE meta SET value = x'00ff' WHERE name = 'destination'",
        "the setting destination is damaged",
    ),
    (
        "UPDATE meta SET value = 'local 1' || char(18) || '7.0.0.1' WHERE name = 'destination'",
        "the setting destination is damaged",
    ),
    (
        "INSERT OR REPLACE INTO meta VALUES ('destination_mode', 'pauset')",
        "the setting destination_mode is damaged",
    ),
    (
        "INSERT OR REPLACE INTO meta VALUES ('source_orders', '{')",
        "the setting source_orders is damaged",
    ),
    (
        "INSERT OR REPLACE INTO meta VALUES ('open_brakes', x'ff')",
        "the setting open_brakes is damaged",
    ),
    (
        "UPDATE meta SET value = 7 WHERE name = 'log_mark'",
        "the mark of the log is damaged",
    ),
    (
        "UPDATE lane SET kind = 2 WHERE id = 1",
        "the mark of the erased customers is missing",
    ),
    (
        "UPDATE lane SET kind = 6 WHERE id = 1",
        "the mark of the retired customers is missing",
    ),
];

/// Stops a bridge with three waiting entries of three customers.
fn three_entries() -> Files {
    let bridge = Bridge::start();
    bridge.pause();
    for id in ["one", "two", "three"] {
        bridge.accept(id);
    }
    bridge.stop()
}

fn verify(file: &Path) -> (Option<i32>, String) {
    run(&["store", "verify", file.to_str().unwrap()])
}

#[track_caller]
fn is_found(damages: &[(&str, &str)]) {
    let files = three_entries();
    let store = files.store_file("data/outbox.db");
    let (code, output) = verify(&store);
    assert_eq!(code, Some(0), "{output}");
    let copy = files.store_file("copy.db");
    for (damage, error) in damages {
        fs::copy(&store, &copy).unwrap();
        Connection::open(&copy)
            .unwrap()
            .execute_batch(damage)
            .unwrap();
        let (code, output) = verify(&copy);
        assert_eq!(code, Some(2), "{damage}: {output}");
        assert!(output.contains(error), "{damage}: {output}");
        assert!(output.contains(": restore the store"), "{damage}: {output}");
    }
}

/// FAULTS N1300: a table, an index or a trigger is missing or changed.
#[test]
fn a_changed_layout_is_found() {
    is_found(&LAYOUT);
}

/// FAULTS N1449: the restore refused a copy that only lacked an index. A copy with a changed index is still refused.
#[test]
fn a_copy_that_lacks_an_index_is_restored_with_it() {
    let files = three_entries();
    let (store, copy) = (
        files.store_file("data/outbox.db"),
        files.store_file("copy.db"),
    );
    fs::copy(&store, &copy).unwrap();
    let damage = |sql: &str| Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
    damage("DROP INDEX receipt_identity; DROP INDEX lane_due");
    let (code, output) = restore(&files, &copy);
    assert_eq!(code, Some(0), "{output}");
    for index in ["receipt_identity", "lane_due"] {
        let notice = format!("the copy lacked the index {index}");
        assert!(output.contains(&notice), "{output}");
    }
    let (code, output) = verify(&store);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("3 entries, 3 waiting"), "{output}");
    damage("CREATE INDEX lane_due ON lane (id)");
    let (code, output) = restore(&files, &copy);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("the index lane_due is not as"), "{output}");
}

/// FAULTS N1301: entries lack a row without which the bridge does not deliver them or does not recognize their events.
#[test]
fn entries_without_their_rows_are_found() {
    is_found(&REFERENCES);
}

/// FAULTS N1302: a value that each start reads is missing or damaged.
#[test]
fn damaged_settings_are_found() {
    is_found(&SETTINGS);
}

/// FAULTS N1303: a file that was copied without its log lacks the newest events.
#[test]
fn a_copy_without_its_log_is_found() {
    let bridge = Bridge::start();
    bridge.pause();
    bridge.accept("one");
    let copy = bridge.path("copy.db");
    fs::copy(bridge.path("data/outbox.db"), &copy).unwrap();
    let (code, output) = verify(&copy);
    assert_eq!(code, Some(2), "{output}");
    assert!(
        output.contains("its log, whose name ends with \"-wal\", is missing"),
        "{output}"
    );
    let files = bridge.kill();
    // The log of a process that ended is no error, and the command changes nothing.
    let content = || {
        ["outbox.db", "outbox.db-wal"]
            .map(|name| fs::read(files.store_file(&format!("data/{name}"))).unwrap())
    };
    let before = content();
    for _ in 0..2 {
        let (code, output) = verify(&files.store_file("data/outbox.db"));
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("1 entries, 1 waiting"), "{output}");
        assert!(content() == before, "the store or its log has changed");
    }
    let bridge = Bridge::serve(files, process::command);
    let headers = [("authorization", "Bearer a-token-of-alice")];
    let line = "GET /admin/v1/entries?state=waiting";
    let entries = crate::http::ask(bridge.ops, line, &headers, "").unwrap();
    assert!(entries.body.contains("\"one\""), "{}", entries.body);
    let (code, output) = restore(&bridge.stop(), &copy);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("is missing"), "{output}");
}

#[track_caller]
fn is_complete_without_log(file: &Path) {
    assert!(!file.with_extension("db-wal").exists());
    let (code, output) = verify(file);
    assert_eq!(code, Some(0), "{output}");
}

/// FAULTS N1303: SQLite wrote the log back after a stop with a request in progress, after a command opened the store of a
/// process that had crashed, and after a restore from a copy with its log.
#[test]
fn a_store_whose_log_was_written_back_is_complete() {
    let imprint = FakeImprint::start(|_settings| {});
    imprint.inject(&json!({"action": {"hang": true}}));
    let settings = "[imprint]\ndeadline = \"5m\"\n[shutdown]\ndrain = 1";
    let files = Files::write(imprint.address, KEY, settings);
    let bridge = Bridge::serve(files, process::command);
    bridge.accept("one");
    wait_for("the request is in flight", || {
        (imprint.sandbox.stats().in_flight == 1).then_some(())
    });
    let files = bridge.stop();
    is_complete_without_log(&files.store());
    let files = Bridge::serve(files, process::command).kill();
    let copy = files.store_file("copy.db");
    for ending in ["", "-wal"] {
        let name = |name: &str| files.store_file(&format!("{name}{ending}"));
        fs::copy(name("outbox.db"), name("copy.db")).unwrap();
    }
    let (_, output) = rebind(&files, &[]);
    assert!(output.contains("1 waiting entries"), "{output}");
    is_complete_without_log(&files.store());
    let (code, output) = restore(&files, &copy);
    assert_eq!(code, Some(0), "{output}");
    is_complete_without_log(&copy);
    is_complete_without_log(&files.store());
}

/// FAULTS N1304: the copy has a brake that an operator has closed since, and a pause.
#[test]
fn a_restored_store_has_no_open_brake() {
    let files = three_entries();
    let copy = files.store_file("copy.db");
    fs::copy(files.store_file("data/outbox.db"), &copy).unwrap();
    let open = params!["open_brakes", "{\"crm\":99999999999999}"];
    Connection::open(&copy)
        .unwrap()
        .execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", open)
        .unwrap();
    let (code, output) = restore(&files, &copy);
    assert_eq!(code, Some(0), "{output}");
    let restored = Connection::open(files.store_file("data/outbox.db")).unwrap();
    let setting = |name: &str| {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        restored
            .query_row(sql, [name], |row| row.get::<_, String>(0))
            .ok()
    };
    assert_eq!(setting("open_brakes"), None);
    assert_eq!(setting("destination_mode").as_deref(), Some("paused"));
}
