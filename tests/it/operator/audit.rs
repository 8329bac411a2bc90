//! Tests of the audit log: its keys, its head, and every kind of tampering that `store verify` finds.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{OperatedApp, TOKEN};
use crate::commands::{run, text};
use crate::http;
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, email};

const FIRST_KEY: &str = "first-audit-key-0123456789-0123456789";
const SECOND_KEY: &str = "second-audit-key-0123456789-0123456789";

const THIRD_KEY: &str = "third-audit-key-0123456789-0123456789";

/// The files with the keys of the audit log.
struct KeyFiles(TempDir);

impl KeyFiles {
    fn write() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::write(files.path("first"), FIRST_KEY).unwrap();
        std::fs::write(files.path("second"), SECOND_KEY).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn settings(&self, names: &[&str]) -> String {
        let paths = names.iter().map(|name| self.path(name));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        format!("[ops]\naudit_key_files = {}\n", json!(paths))
    }

    /// Runs `store verify` with these keys. Returns the exit code and everything that the command printed.
    fn verify(&self, store: &Path, keys: &[&str], head: Option<&str>) -> (Option<i32>, String) {
        let store = store.display().to_string();
        let mut arguments = vec!["store".to_owned(), "verify".to_owned(), store];
        for key in keys {
            let path = self.path(key).display().to_string();
            arguments.extend(["--audit-key".to_owned(), path]);
        }
        arguments.extend(head.map(|head| format!("--audit-head={head}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = run(&arguments, "");
        let printed = text(&done.stdout) + &text(&done.stderr);
        (done.status.code(), printed)
    }
}

/// Returns the head of the audit log on the metrics page.
fn head(app: &OperatedApp) -> String {
    let value = |name: &str| app.0.metric(name).unwrap();
    format!(
        "{}-{}",
        value("audit_head_record"),
        value("audit_head_check")
    )
}

fn open(app: &OperatedApp) {
    app.post("/destination", &json!({"mode": "open", "reason": "a test"}));
}

/// A copy of a store with an audit log of six records: the key, a mode, a reveal, a backup, a mode, and a reveal. The
/// backup has the first four records.
struct AuditedStore {
    keys: KeyFiles,
    head: String,
    app: OperatedApp,
}

impl AuditedStore {
    fn create() -> Self {
        let keys = KeyFiles::write();
        let mut app = OperatedApp::start(&keys.settings(&["first"]));
        let entry = app.park(&email("bad", "c1", 1), "c1");
        let reveal = format!("/entries/{entry}?reveal=true");
        open(&app);
        let early = head(&app);
        app.get(&reveal);
        app.post("/store/backup", &json!({"name": "older.db"}));
        open(&app);
        app.get(&reveal);
        assert_eq!(app.get("/audit")["sound"], true);
        let head = head(&app);
        assert!(
            early.starts_with("2-") && head.starts_with("6-"),
            "{early} {head}"
        );
        app.0.stop().unwrap();
        let store = Self { keys, head, app };
        for known in [&early, &store.head] {
            let (code, printed) = store.keys.verify(&store.file(), &["first"], Some(known));
            assert_eq!(code, Some(0), "{printed}");
            assert!(printed.contains("since record 1\n"), "{printed}");
        }
        store
    }

    fn file(&self) -> PathBuf {
        self.app.0.files.store()
    }

    /// Returns a copy of the store after a change that no trigger prevents.
    fn tampered(&self, change: impl FnOnce(&Connection)) -> PathBuf {
        let copy = self.app.0.files.store_file("copy.db");
        std::fs::copy(self.file(), &copy).unwrap();
        let file = Connection::open(&copy).unwrap();
        file.execute_batch("DROP TRIGGER act_is_not_changed; DROP TRIGGER act_is_not_removed;")
            .unwrap();
        change(&file);
        copy
    }
}

/// The kinds of tampering in SQL, with a part of the error.
const TAMPERING: [(&str, &str, &str); 17] = [
    (
        "the newest record is cut off",
        "DELETE FROM act WHERE number = 6; UPDATE sqlite_sequence SET seq = 5 WHERE name = 'act'",
        "ends at record 5, but the given head is record 6",
    ),
    (
        "the newest record is cut off, and the highest number is left",
        "DELETE FROM act WHERE number = 6",
        "ends at record 5, but the store has written record 6",
    ),
    (
        "a reveal is removed",
        "DELETE FROM act WHERE number = 3",
        "record 4",
    ),
    (
        "a reveal is removed, and the gap is closed",
        "DELETE FROM act WHERE number = 3; UPDATE act SET number = number - 1 WHERE number > 3;
         UPDATE sqlite_sequence SET seq = 5 WHERE name = 'act'",
        "record 3",
    ),
    (
        "the first record is removed",
        "DELETE FROM act WHERE number = 1",
        "record 2",
    ),
    (
        "an operator is changed",
        "UPDATE act SET who = 'bob' WHERE number = 3",
        "record 3",
    ),
    (
        "an action is changed",
        "UPDATE act SET what = 'mode' WHERE number = 3",
        "record 3",
    ),
    (
        "an entry is changed",
        "UPDATE act SET on_what = '9' WHERE number = 3",
        "record 3",
    ),
    (
        "a reason is changed",
        "UPDATE act SET reason = 'no' WHERE number = 2",
        "record 2",
    ),
    (
        "a reason is removed",
        "UPDATE act SET reason = NULL WHERE number = 2",
        "record 2",
    ),
    (
        "a time is changed",
        "UPDATE act SET at = at + 1 WHERE number = 3",
        "record 3",
    ),
    (
        "a count is changed",
        "UPDATE act SET entries = 7 WHERE number = 3",
        "record 3",
    ),
    (
        "two records are swapped",
        "UPDATE act SET number = 99 WHERE number = 3; UPDATE act SET number = 3 WHERE number = 4;
         UPDATE act SET number = 4 WHERE number = 99",
        "record 3",
    ),
    (
        "a record is appended with the seal of another",
        "INSERT INTO act (at, who, what, on_what, entries, reason, hash)
         SELECT at, who, what, on_what, entries, reason, hash FROM act WHERE number = 6",
        "record 7",
    ),
    (
        "a seal is damaged",
        "UPDATE act SET hash = zeroblob(41) WHERE number = 3",
        "record 3",
    ),
    (
        "the log is emptied",
        "DELETE FROM act; DELETE FROM sqlite_sequence WHERE name = 'act'",
        "no record of the audit log has a seal with a key",
    ),
    (
        "the log is dropped",
        "DROP TABLE act",
        "the table act is missing",
    ),
];

/// Writes the seals again from a record on, as somebody without the key can: without a key.
fn rebuild_without_key(file: &Connection, from: u64) {
    let mut before: Vec<u8> = file
        .query_row(
            "SELECT hash FROM act WHERE number = ?1",
            [from - 1],
            |row| row.get(0),
        )
        .unwrap_or_default();
    let mut records = file
        .prepare("SELECT number, at, who, what, on_what, entries, coalesce(reason, '') FROM act WHERE number >= ?1")
        .unwrap();
    let records = records.query_map([from], |row| {
        let text = |column| row.get::<_, String>(column);
        let number = |column| row.get(column).map(|number: i64| number.to_string());
        let fields = [
            number(1)?,
            text(2)?,
            text(3)?,
            text(4)?,
            number(5)?,
            text(6)?,
        ];
        Ok((row.get::<_, u64>(0)?, fields))
    });
    let records: Vec<_> = records.unwrap().map(Result::unwrap).collect();
    for (number, fields) in records {
        let mut hash = Sha256::new();
        hash.update(&before);
        for field in fields {
            hash.update(field.len().to_le_bytes());
            hash.update(field);
        }
        before = hash.finalize().to_vec();
        file.execute(
            "UPDATE act SET hash = ?1 WHERE number = ?2",
            params![before, number],
        )
        .unwrap();
    }
}

/// FAULTS X52, N502: every kind of tampering with the audit log is found with the key and an earlier head.
#[test]
fn store_verify_finds_every_kind_of_tampering() {
    let store = AuditedStore::create();
    let find = |what: &str, file: &Path, error: &str| {
        let (code, printed) = store.keys.verify(file, &["first"], Some(&store.head));
        assert_eq!(code, Some(2), "{what}: {printed}");
        assert!(printed.contains(error), "{what}: {printed}");
    };
    for (what, change, error) in TAMPERING {
        let copy = store.tampered(|file| file.execute_batch(change).unwrap());
        find(what, &copy, error);
    }
    for (from, error) in [(1, "no record"), (2, "record 2"), (6, "record 6")] {
        let copy = store.tampered(|file| {
            let change = "UPDATE act SET who = 'bob' WHERE number = ?1";
            file.execute(change, [from]).unwrap();
            rebuild_without_key(file, from);
        });
        find("the chain is rebuilt without the key", &copy, error);
    }
    let older = store.app.0.files.store_file("older.db");
    find(
        "an older backup is in place",
        &older,
        "but the given head is record 6",
    );
    let (code, printed) = store.keys.verify(&older, &["first"], None);
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = store.keys.verify(&store.file(), &["second"], None);
    assert_eq!(code, Some(2), "{printed}");
    assert!(
        printed.contains("6 records of the audit log were not verified"),
        "{printed}"
    );
}

/// Returns a stopped bridge whose audit log has two records without a key, then the first key and a record, and then the
/// second key and two records.
fn stopped_after_two_keys(keys: &KeyFiles) -> OperatedApp {
    let mut app = OperatedApp::start("");
    open(&app);
    open(&app);
    for names in [&["first"][..], &["second", "first"], &["second", "first"]] {
        app.0.stop().unwrap();
        app.0.files.write_settings(&keys.settings(names));
        app.0.restart();
        open(&app);
    }
    let audit = app.get("/audit");
    let acts = audit["acts"].as_array().unwrap().iter();
    let whats: Vec<_> = acts.map(|act| act["what"].as_str().unwrap()).collect();
    let expected = [
        "mode",
        "mode",
        "audit_key",
        "mode",
        "audit_key",
        "mode",
        "mode",
    ];
    assert_eq!((&whats[..], &audit["sound"]), (&expected[..], &json!(true)));
    let weakened = app.0.metric("weakened{weakening=\"audit_key\"}");
    assert_eq!(weakened, Some(0.0));
    app.0.stop().unwrap();
    app
}

/// FAULTS N502: a new key follows an old key, and no record is written without a key after that.
#[test]
fn a_chain_goes_on_with_the_next_key_and_never_without_one() {
    let keys = KeyFiles::write();
    let app = stopped_after_two_keys(&keys);
    let file = app.0.files.store();
    let (code, printed) = keys.verify(&file, &["second", "first"], None);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("since record 3\n"), "{printed}");
    let (code, printed) = keys.verify(&file, &["second"], None);
    assert_eq!(code, Some(2));
    assert!(
        printed.contains("2 records of the audit log were not verified"),
        "{printed}"
    );
    app.0.files.write_settings("");
    let mut process = Process::serve(&app.0.files);
    assert_eq!(process.wait_for_exit().code(), Some(1));
    let log = process.log();
    let remedy = "is protected by a key: name the file of the key in ops.audit_key_files";
    assert!(log.contains(remedy), "{log}");
}

/// FAULTS N502: the first key protects the records before it.
#[test]
fn a_key_protects_the_records_before_it() {
    let keys = KeyFiles::write();
    let app = stopped_after_two_keys(&keys);
    let file = app.0.files.store();
    let change = Connection::open(&file).unwrap();
    change
        .execute_batch(
            "DROP TRIGGER act_is_not_changed; UPDATE act SET who = 'bob' WHERE number = 1",
        )
        .unwrap();
    rebuild_prefix(&change);
    drop(change);
    let (code, printed) = keys.verify(&file, &["second", "first"], None);
    assert_eq!(code, Some(2));
    let error = "record 3 of the audit log is not as it was written";
    assert!(printed.contains(error), "{printed}");
}

/// Writes the seals of the two records before the first key again.
fn rebuild_prefix(file: &Connection) {
    let later = "CREATE TEMP TABLE later AS SELECT * FROM act WHERE number > 2;
                 DROP TRIGGER act_is_not_removed; DELETE FROM act WHERE number > 2";
    file.execute_batch(later).unwrap();
    rebuild_without_key(file, 1);
    file.execute_batch("INSERT INTO act SELECT * FROM later")
        .unwrap();
}

/// FAULTS N502: the log has the head of the audit log after each record, so that a later head shows missing records.
#[test]
fn the_log_has_each_head_and_no_key() {
    let imprint = FakeImprint::start(|_settings| {});
    let keys = KeyFiles::write();
    let files = Files::write(imprint.address, KEY, &keys.settings(&["first"]));
    files.write_token("alice", TOKEN);
    let mut process = Process::serve(&files);
    let (_, ops) = process.ready();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let line = "POST /admin/v1/destination";
    let answer = http::ask(ops, line, &headers, "{\"mode\":\"open\"}").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    let log = process.log();
    let heads: Vec<_> = log
        .lines()
        .filter(|line| line.contains("the audit log has a new record"))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["head"].clone())
        .collect();
    assert_eq!(heads.len(), 2, "{log}");
    let (code, printed) = keys.verify(&files.store(), &["first"], heads[1].as_str());
    assert_eq!(code, Some(0), "{printed}");
    assert!(!log.contains(FIRST_KEY), "{log}");
}

/// FAULTS N617: a key of the audit log is replaced, and then removed, while the bridge runs. No restart is necessary, and
/// every record has a key.
#[test]
fn a_new_audit_key_counts_without_a_restart() {
    let keys = KeyFiles::write();
    let mut app = OperatedApp::start(&keys.settings(&["first", "second"]));
    open(&app);
    let has_key_record = |app: &OperatedApp, count: usize| {
        let audit = app.get("/audit").to_string();
        audit.matches("\"audit_key\"").count() == count
    };
    assert!(has_key_record(&app, 1));
    std::fs::write(keys.path("second"), FIRST_KEY).unwrap();
    std::fs::write(keys.path("first"), THIRD_KEY).unwrap();
    app.0.wait_for("the new key", |_| has_key_record(&app, 2));
    std::fs::remove_file(keys.path("first")).unwrap();
    app.0.wait_for("the missing file is counted", |app| {
        let failures = "secret_read_failures_total{secret=\"audit\"}";
        app.metric(failures).unwrap() > 0.0
    });
    open(&app);
    assert_eq!(app.get("/audit")["sound"], true);
    assert!(has_key_record(&app, 2));
    let head = head(&app);
    app.0.stop().unwrap();
    std::fs::write(keys.path("first"), THIRD_KEY).unwrap();
    let store = app.0.files.store();
    let (code, printed) = keys.verify(&store, &["first", "second"], Some(&head));
    assert_eq!(code, Some(0), "{printed}");
}
