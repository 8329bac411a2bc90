//! Tests of the sealing of the store, from the front door: no value in any file, rotation, plain stores, crashes, backups.

use std::cell::Cell;

use imprint_bridge::sealing::SealingKey;
use serde_json::{Value, json};

use crate::erasure::{CANARY, canary, contains, is_in_store};
use crate::http;
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp, email, metric, wait_for};

mod bound;
#[cfg(feature = "failpoints")]
mod crash;
mod ids;

/// The token of the operator of the tests.
const TOKEN: &str = "a-token-of-alice";

/// Returns the text of a key file.
pub(crate) fn hex(seed: u8) -> String {
    let bytes = (0..32_u8).map(|byte| byte.wrapping_mul(11) ^ seed);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the id of the key in a key file.
pub(crate) fn key_id(seed: u8) -> String {
    SealingKey::parse(&hex(seed).into())
        .unwrap()
        .id()
        .to_string()
}

#[track_caller]
fn ask(app: &TestApp, line: &str, body: &Value) -> Value {
    let answer = app.ask_operator(TOKEN, line, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn set_mode(app: &TestApp, mode: &str) {
    ask(
        app,
        "POST /admin/v1/destination",
        &json!({"mode": mode, "reason": "a test"}),
    );
}

#[track_caller]
fn wait_for_metric(app: &TestApp, name: &str, value: f64) {
    let what = format!("{name} is {value}");
    app.wait_for(&what, |app| app.metric(name) == Some(value));
}

/// Makes a bridge in this process read its key files soon.
#[track_caller]
fn wait_for_keys(app: &TestApp, name: &str, value: f64) {
    wait_for_metric(app, name, value);
    assert_eq!(app.metric("sealing_keys_unreadable"), Some(0.0));
}

/// Waits until the background pass has sealed every record of a store that was not sealed. Until the next start, the metric
/// shows that the file still has remains.
#[track_caller]
fn wait_until_only_remains_are_plain(app: &TestApp, meanwhile: &dyn Fn()) {
    app.wait_for("every record is sealed", |app| {
        meanwhile();
        let status = ask(app, "GET /admin/v1/status", &Value::Null);
        status["sealing"]["has_plain"] == false && app.metric("sealing_left") == Some(0.0)
    });
    assert_eq!(app.metric("sealing_plain"), Some(1.0), "remains are left");
}

/// FAULTS X32, N490: values of waiting, parked and invalid events, of operators' reasons and of lanes.
#[test]
fn no_file_of_a_sealed_store_has_a_value() {
    let mut app = TestApp::setup()
        .operator("alice", TOKEN)
        .sealing_key("2026-01", hex(1))
        .start();
    set_mode(&app, "paused");
    for id in ["E1", "E2", "E3"] {
        app.accept(&canary(id));
    }
    let listed = ask(&app, "GET /admin/v1/entries?state=waiting", &Value::Null);
    let entry = listed["entries"][0]["entry"].clone();
    let body = json!({"ids": [entry], "reason": format!("{CANARY} is my reason")});
    ask(&app, "POST /admin/v1/entries/park", &body);
    assert!(!is_in_store(&app, CANARY));
    let shown = ask(&app, "GET /admin/v1/entries/2?reveal=true", &Value::Null);
    assert!(shown.to_string().contains(CANARY), "{shown}");
    let audit = ask(&app, "GET /admin/v1/audit", &Value::Null);
    assert!(audit.to_string().contains("is my reason"), "{audit}");
    assert_eq!(audit["sound"], true);
    app.stop().unwrap();
    assert!(!is_in_store(&app, CANARY));
    app.restart();
    assert!(!is_in_store(&app, CANARY));
    set_mode(&app, "open");
    app.wait_until("E2", "delivered");
    app.wait_until("E3", "delivered");
    let replay = json!({"ids": [entry], "reason": "again"});
    ask(&app, "POST /admin/v1/entries/replay", &replay);
    app.wait_until("E1", "delivered");
    let delivered = app.imprint.email("E1");
    assert_eq!(delivered, Some(format!("{CANARY}@example.com")));
    assert!(!is_in_store(&app, CANARY));
}

/// FAULTS X34, N482, N491: a new key seals at once, the older key becomes removable, a removed key only stops its own
/// customers, and a duplicate stays a duplicate.
#[test]
fn keys_are_rotated_and_removed_while_the_bridge_runs() {
    let mut app = TestApp::setup()
        .operator("alice", TOKEN)
        .sealing_key("2026-01", hex(1))
        .start();
    set_mode(&app, "paused");
    app.accept(&email("E1", "CUST-1", 1));
    app.files.write_sealing_key("2026-02", &hex(2));
    wait_for_keys(&app, "sealing_removable_keys", 1.0);
    app.files.remove_sealing_key("2026-01");
    wait_for_keys(&app, "sealing_removable_keys", 0.0);
    app.files.write_sealing_key("2026-03", &hex(3));
    wait_for_keys(&app, "sealing_removable_keys", 1.0);
    app.accept(&email("E2", "CUST-2", 1));
    // The newest key is lost: its records wait, and the older key seals new records.
    app.files.remove_sealing_key("2026-03");
    wait_for_keys(&app, "sealing_missing_keys", 1.0);
    app.accept(&email("E3", "CUST-3", 1));
    app.stop().unwrap();
    app.restart();
    set_mode(&app, "open");
    app.wait_until("E3", "delivered");
    wait_for_metric(&app, "sealing_locked_lanes", 2.0);
    assert_eq!(app.receipt("E1")["status"], "waiting");
    assert_eq!(app.receipt("E2")["status"], "waiting");
    assert_eq!(app.metric("parked_entries"), Some(0.0));
    app.files.write_sealing_key("2026-03", &hex(3));
    app.wait_until("E1", "delivered");
    app.wait_until("E2", "delivered");
    assert_eq!(app.metric("sealing_missing_keys"), Some(0.0));
    let again = app.post(&email("E1", "CUST-1", 1));
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
}

/// Runs a command with the settings of a stopped bridge. Returns the exit code, and what it prints to both outputs.
fn command(app: &TestApp, arguments: &[&str]) -> (Option<i32>, String) {
    let settings = app.files.settings();
    let mut all = arguments.to_vec();
    for file in &settings {
        all.extend(["--config", file.to_str().unwrap()]);
    }
    let output = crate::commands::run(&all, "");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Runs an operator's command about a running bridge. Returns the exit code, and what it prints.
fn operate(app: &TestApp, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", app.ops());
    let token = app.files.token_file("alice");
    let bridge = ["--ops", &url, "--token-file", token.to_str().unwrap()];
    let output = crate::commands::run(&[arguments, &bridge].concat(), "");
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// Returns the keys that the admin API lists, in the order of their files.
fn listed_keys(app: &TestApp) -> Vec<Value> {
    let mut answer = ask(app, "GET /admin/v1/store/keys", &Value::Null);
    let keys = answer["keys"].as_array_mut().unwrap();
    keys.sort_by_key(|key| key["file"].to_string());
    keys.clone()
}

fn key_line(file: &str, seed: u8, word: &str, records: &Value) -> Value {
    json!({
        "file": file, "id": key_id(seed), "use": word, "records": records,
        "removable": word == "removable",
    })
}

/// FAULTS N842: the operator follows a rotation with the running bridge.
#[test]
fn an_operator_sees_which_keys_records_need() {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .sealing_key("2026-01", hex(1))
        .start();
    set_mode(&app, "paused");
    app.accept(&email("E1", "CUST-1", 1));
    let all = Value::Null;
    assert_eq!(listed_keys(&app), [key_line("2026-01", 1, "seals", &all)]);
    app.files.write_sealing_key("2026-02", &hex(2));
    wait_for_keys(&app, "sealing_removable_keys", 1.0);
    let rotated = [
        key_line("2026-01", 1, "removable", &json!(0)),
        key_line("2026-02", 2, "seals", &all),
    ];
    assert_eq!(listed_keys(&app), rotated);
    let (code, text) = operate(&app, &["store", "keys"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the file 2026-01 can be removed"), "{text}");
    let (_, text) = operate(&app, &["status"]);
    let expected = format!("sealed with the key {} in 2026-02", key_id(2));
    assert!(text.lines().any(|line| line == expected), "{text}");
    set_mode(&app, "open");
    app.wait_until("E1", "delivered");
}

/// FAULTS N841, N842: a key is missing while records need it. The running bridge, the closed store and `verify` say so.
#[test]
fn an_operator_sees_the_records_of_a_missing_key() {
    let mut app = TestApp::setup()
        .operator("alice", TOKEN)
        .sealing_key("2026-02", hex(2))
        .start();
    set_mode(&app, "paused");
    app.accept(&email("E1", "CUST-1", 1));
    app.files.write_sealing_key("2026-01", &hex(1));
    wait_for_keys(&app, "sealing_removable_keys", 1.0);
    app.files.remove_sealing_key("2026-02");
    wait_for_keys(&app, "sealing_missing_keys", 1.0);
    app.accept(&email("E2", "CUST-2", 1));
    let answer = ask(&app, "GET /admin/v1/store/keys", &Value::Null);
    let [own, missing] = [&answer["keys"][0], &answer["keys"][1]];
    assert_eq!([&own["use"], &missing["use"]], ["seals", "missing"]);
    assert!(missing["records"].as_u64().unwrap() >= 2, "{answer}");
    assert_eq!(missing["removable"], false);
    assert_eq!(operate(&app, &["store", "keys"]).0, Some(2));

    app.stop().unwrap();
    let store = app.files.store();
    let store = store.to_str().unwrap();
    let (code, text) = command(&app, &["store", "keys", "--file", store, "--json"]);
    assert_eq!(code, Some(2), "{text}");
    let closed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(closed["keys"], answer["keys"]);
    let (code, text) = command(&app, &["store", "verify", store]);
    assert_eq!(code, Some(2), "{text}");
    let lost = format!("because the sealing key {} is missing", key_id(2));
    assert!(text.contains(&lost), "{text}");
    let opened = format!("records opened with the key {}", key_id(1));
    assert!(text.contains(&opened), "{text}");
    let without = crate::commands::run(&["store", "verify", store], "");
    let text = String::from_utf8(without.stdout).unwrap();
    assert!(text.contains("sealed records were not opened"), "{text}");
    app.files.write_sealing_key("2026-02", &hex(2));
    let (code, text) = command(&app, &["store", "verify", store]);
    assert_eq!(code, Some(0), "{text}");
    app.restart();
    set_mode(&app, "open");
    app.wait_until("E1", "delivered");
    app.wait_until("E2", "delivered");
}

/// FAULTS N485: a wrong key file takes no key away.
#[test]
fn a_wrong_key_file_is_reported_and_the_previous_keys_stay_in_use() {
    let app = TestApp::setup().sealing_key("2026-01", hex(1)).start();
    app.files.write_sealing_key("2026-02", "half-written");
    wait_for_metric(&app, "sealing_keys_unreadable", 1.0);
    app.accept(&email("E1", "CUST-1", 1));
    app.wait_until("E1", "delivered");
    app.files.remove_sealing_key("2026-02");
    wait_for_metric(&app, "sealing_keys_unreadable", 0.0);
}

/// FAULTS N612: a damaged key file keeps its key, and does not stop the change to a newer key.
#[test]
fn a_damaged_key_file_does_not_stop_a_newer_key() {
    let app = TestApp::setup().sealing_key("2026-02", hex(2));
    let app = app.operator("alice", TOKEN).start();
    set_mode(&app, "paused");
    app.accept(&email("E1", "CUST-1", 1));
    app.files.write_sealing_key("2026-02", "damaged");
    wait_for_metric(&app, "sealing_keys_unreadable", 1.0);
    app.files.write_sealing_key("2026-03", &hex(3));
    // No record needs the key of the damaged file any more, so the newer key seals all records.
    wait_for_metric(&app, "sealing_removable_keys", 1.0);
    assert_eq!(app.metric("sealing_missing_keys"), Some(0.0));
    set_mode(&app, "open");
    app.wait_until("E1", "delivered");
    let failures = "secret_read_failures_total{secret=\"sealing\"}";
    assert!(app.metric(failures).unwrap() > 0.0);
    app.files.remove_sealing_key("2026-02");
    wait_for_keys(&app, "sealing_removable_keys", 0.0);
}

/// FAULTS N487, N1440: a plain store is sealed while the bridge accepts events, and its plain text is gone after the next start.
#[test]
fn a_plain_store_is_sealed_under_load() {
    const ENTRIES: usize = 700;
    let mut app = TestApp::setup().operator("alice", TOKEN).start();
    set_mode(&app, "paused");
    for number in 0..ENTRIES {
        let padding = "x".repeat(number % 90);
        let event = canary(&format!("P{number}")).with("/data/customer/note", json!(padding));
        app.accept(&event);
    }
    let stored_bytes = |app: &TestApp| app.metric("stored_bytes{source=\"crm\"}");
    let before = stored_bytes(&app);
    app.stop().unwrap();
    assert!(is_in_store(&app, CANARY));
    app.files.write_sealing_key("2026-01", &hex(1));
    app.restart();
    assert_eq!(stored_bytes(&app), before);
    assert_eq!(app.metric("sealing_plain"), Some(1.0));
    let (accepted, left) = (Cell::new(0), Cell::new(0.0));
    wait_until_only_remains_are_plain(&app, &|| {
        let number = accepted.replace(accepted.get() + 1);
        app.accept(&canary(&format!("L{number}")));
        left.set(app.metric("sealing_left").unwrap().max(left.get()));
    });
    assert!(accepted.get() > 1, "the bridge accepted events meanwhile");
    // The metric counts the entries and the customers. A step covers at most 256 of them.
    let left = left.get();
    assert!((300.0..=1_500.0).contains(&left), "{left} are left at most");
    app.stop().unwrap();
    app.restart();
    assert_eq!(app.metric("sealing_plain"), Some(0.0));
    assert!(!is_in_store(&app, CANARY));
    set_mode(&app, "open");
    app.wait_until("P0", "delivered");
    app.wait_until(&format!("P{}", ENTRIES - 1), "delivered");
    wait_for_metric(&app, "waiting_entries", 0.0);
    assert_eq!(app.metric("parked_entries"), Some(0.0));
    assert_eq!(stored_bytes(&app), Some(0.0));
}

/// FAULTS N1440: the store file still had plain text, but the log said that every record was sealed, and the metric was 0.
#[test]
fn the_log_says_that_a_restart_erases_the_remains_of_a_plain_store() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    let stopped = |process: &mut Process| {
        process.terminate();
        assert_eq!(process.wait_for_exit().code(), Some(0));
        process.log()
    };
    let mut plain = Process::serve(&files);
    plain.ready();
    stopped(&mut plain);
    files.write_sealing_key("2026-01", &hex(1));
    let says_so = |log: &str| log.contains("restart the bridge");
    let mut first = Process::serve(&files);
    wait_for("the log asks for a restart", || {
        says_so(&first.log()).then_some(())
    });
    let page = http::ask(first.ready().1, "GET /metrics", &[], "").unwrap();
    assert_eq!(metric(&page.body, "sealing_plain"), Some(1.0));
    stopped(&mut first);
    let mut second = Process::serve(&files);
    let page = http::ask(second.ready().1, "GET /metrics", &[], "").unwrap();
    assert_eq!(metric(&page.body, "sealing_plain"), Some(0.0));
    assert!(!says_so(&stopped(&mut second)));
}

/// FAULTS N492: a backup of a sealed store is sealed, and is restored with its keys.
#[test]
fn a_backup_of_a_sealed_store_is_restored_with_its_keys() {
    let mut app = TestApp::setup()
        .operator("alice", TOKEN)
        .sealing_key("2026-01", hex(1))
        .start();
    set_mode(&app, "paused");
    app.accept(&canary("E1"));
    let folder = app.files.store().parent().unwrap().to_owned();
    ask(
        &app,
        "POST /admin/v1/store/backup",
        &json!({"name": "copy"}),
    );
    app.wait_for("the copy is complete", |_| {
        !folder.join("copy.new").exists()
    });
    assert!(!contains(&folder, CANARY));
    app.files.write_sealing_key("2026-02", &hex(2));
    wait_for_keys(&app, "sealing_removable_keys", 1.0);
    app.stop().unwrap();
    let run = |arguments: &[&str]| {
        let settings = app.files.settings();
        let mut all = arguments.to_vec();
        for file in &settings {
            all.extend(["--config", file.to_str().unwrap()]);
        }
        let output = crate::commands::run(&all, "");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let copy = folder.join("copy");
    let copy = copy.to_str().unwrap();
    let (code, output) = run(&["store", "verify", copy]);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("no errors") && !output.contains("not be verified"),
        "{output}"
    );
    let (code, output) = run(&["store", "restore", copy]);
    assert_eq!(code, Some(0), "{output}");
    app.restart();
    set_mode(&app, "open");
    app.wait_until("E1", "delivered");
}

/// FAULTS N485, N488: the process does not start, and one line says why, without a key.
#[test]
fn a_bridge_without_usable_sealing_keys_does_not_start() {
    let files = Files::write("127.0.0.1:9".parse().unwrap(), "key", "");
    let refused = |text: &str| {
        let mut process = Process::serve(&files);
        assert_eq!(process.wait_for_exit().code(), Some(1), "{}", process.log());
        let log = process.log();
        assert!(
            log.contains("outbox.keys_dir") && log.contains(text),
            "{log}"
        );
    };
    files.write_sealing_key("2026-01", "too-short");
    refused("2026-01 must contain 32 random bytes");
    files.remove_sealing_key("2026-01");
    refused("has no key file");
    files.write_sealing_key("2026-01", &hex(1));
    let started = Process::serve(&files);
    started.ready();
    started.terminate();
    drop(started);
    files.remove_sealing_key("2026-01");
    files.write_sealing_key("2026-02", &hex(2));
    refused(&format!("sealed with the key {}", key_id(1)));
}
