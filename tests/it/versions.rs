//! Tests of versions that jump: one absurd revision must not freeze its customer.

use std::process::Command;

use imprint_bridge::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::http::Answer;
use crate::support::{Event, TestApp};

const TOKEN: &str = "op-canary-token-1";

fn start() -> TestApp {
    TestApp::setup().operator("alice", TOKEN).start()
}

fn admin(app: &TestApp, line: &str, body: &Value) -> Answer {
    app.ask_operator(TOKEN, line, body)
}

fn reset(app: &TestApp, body: &Value) -> Answer {
    admin(app, "POST /admin/v1/customers/reset-versions", body)
}

fn email(id: &str, revision: u64) -> Event {
    Event::new(id, "c1", revision).email(&format!("{id}@example.com"))
}

/// FAULTS N303: an absurd revision is parked, and the customer goes on.
#[test]
fn an_absurd_revision_is_parked_and_does_not_freeze_its_customer() {
    let app = start();
    app.accept(&email("e-1", 5));
    app.wait_until("e-1", "delivered");
    for (id, revision) in [
        ("far-1", u64::try_from(i64::MAX).unwrap()),
        ("far-2", 1 << 53),
    ] {
        app.accept(&email(id, revision));
        let receipt = app.wait_until(id, "parked");
        assert_eq!(receipt["parked"]["reason"], "version_jump", "{receipt}");
    }
    app.accept(&email("e-2", 6));
    app.wait_until("e-2", "delivered");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-2@example.com"));
    assert_eq!(
        app.metric("parked_total{reason=\"version_jump\"}"),
        Some(2.0)
    );
    // A replay meets the same check.
    let body = json!({"filter": {"reason": "version_jump"}});
    let replayed = admin(&app, "POST /admin/v1/entries/replay", &body);
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    app.wait_for("both are parked again", |app| {
        app.metric("parked_total{reason=\"version_jump\"}") == Some(4.0)
    });
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-2@example.com"));
}

/// FAULTS N303: a first revision that is absurd freezes its customer until an operator resets the versions; nothing is
/// lost meanwhile, and the audit log has the reset.
#[test]
fn an_operator_resets_the_versions_of_a_frozen_customer() {
    let app = start();
    app.accept(&email("e-1", 1 << 60));
    app.wait_until("e-1", "delivered");
    app.accept(&email("e-2", 6));
    let receipt = app.wait_until("e-2", "parked");
    assert_eq!(receipt["parked"]["reason"], "version_jump", "{receipt}");

    let nobody = reset(&app, &json!({"imprint_id": "nobody", "reason": "typo"}));
    assert_eq!(nobody.status, 404, "{}", nobody.body);
    for wrong in [
        json!({"imprint_id": "c1"}),
        json!({"imprint_id": "c1", "reason": " "}),
        json!({"reason": "typo"}),
        json!({"imprint_id": "c1", "partner_id": "P-c1", "reason": "typo"}),
        json!({"imprint_id": "a/b", "reason": "typo"}),
    ] {
        assert_eq!(reset(&app, &wrong).status, 400, "{wrong}");
    }
    let answer = reset(&app, &json!({"imprint_id": "c1", "reason": "a wrong row"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.json()["fields"].as_u64() > Some(0));
    let replayed = admin(
        &app,
        "POST /admin/v1/entries/replay",
        &json!({"filter": {"reason": "version_jump"}}),
    );
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    app.wait_until("e-2", "delivered");
    app.accept(&email("e-3", 7));
    app.wait_until("e-3", "delivered");
    app.accept(&email("old", 4));
    app.wait_until("old", "superseded");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-3@example.com"));

    let audit = admin(&app, "GET /admin/v1/audit", &Value::Null).json();
    let record = &audit["acts"][0];
    assert_eq!(record["what"], "reset_versions", "{audit}");
    assert_eq!(record["who"], "alice");
    assert_eq!(record["reason"], "a wrong row");
    assert_eq!(audit["sound"], true);
}

/// FAULTS N1170: an operator parks two entries, and a revision between them is delivered. After a reset, a replay sends
/// the newer of the two entries only, and the next event counts as the newest.
#[test]
fn an_entry_from_before_a_reset_overwrites_no_newer_value() {
    let app = start();
    let mode = |mode: &str| {
        let answer = admin(
            &app,
            "POST /admin/v1/destination",
            &json!({"mode": mode, "reason": "a test"}),
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    mode("paused");
    for (id, revision) in [("older", 3), ("newer", 12)] {
        app.accept(&email(id, revision));
    }
    let all = json!({"filter": {"state": "waiting", "customer": "c1"}, "reason": "first"});
    let parked = admin(&app, "POST /admin/v1/entries/park", &all);
    assert_eq!(parked.status, 200, "{}", parked.body);
    mode("open");
    app.accept(&email("between", 9));
    app.wait_until("between", "delivered");
    let answer = reset(&app, &json!({"imprint_id": "c1", "reason": "a test"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let replay = json!({"filter": {"state": "parked"}, "reason": "after the reset"});
    let replayed = admin(&app, "POST /admin/v1/entries/replay", &replay);
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    app.wait_until("older", "superseded");
    app.wait_until("newer", "delivered");
    assert_eq!(
        app.imprint.email("c1").as_deref(),
        Some("newer@example.com")
    );
    app.accept(&email("next", 2));
    app.wait_until("next", "delivered");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("next@example.com"));
}

/// FAULTS N1171: the customer has an entry with an absurd revision, which never reached Imprint. The erasure makes no
/// version floor of it.
#[test]
fn an_erasure_makes_no_floor_of_an_absurd_revision() {
    let app = start();
    app.accept(&email("e-5", 5));
    app.wait_until("e-5", "delivered");
    app.accept(&email("far", u64::try_from(i64::MAX).unwrap()));
    app.wait_until("far", "parked");
    let erase = json!({"of": {"imprint_id": "c1"}, "reason": "a demand"});
    let erased = admin(&app, "POST /admin/v1/customers/erase", &erase);
    assert_eq!(erased.status, 200, "{}", erased.body);
    app.accept(&email("e-4", 4));
    app.wait_until("e-4", "superseded");
    app.accept(&email("e-6", 6));
    app.wait_until("e-6", "delivered");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-6@example.com"));
    app.accept(&email("far-2", u64::try_from(i64::MAX).unwrap()));
    let receipt = app.wait_until("far-2", "parked");
    assert_eq!(receipt["parked"]["reason"], "version_jump", "{receipt}");
}

/// FAULTS N1086: the first revision after a reset, or of a new epoch, is absurd. It is parked, and the customer goes on.
#[test]
fn an_absurd_first_revision_after_a_reset_or_of_an_epoch_is_parked() {
    let sources = tempfile::tempdir().unwrap();
    let write = |epoch: u32| {
        let shipped = include_str!("../../config/sources/crm.toml");
        let version = "version = \".data.customer.revision\"";
        let text = shipped.replace(version, &format!("{version}\nepoch = {epoch}"));
        std::fs::write(sources.path().join("crm.toml"), text).unwrap();
    };
    write(0);
    let folder = format!("sources_dir = {:?}", sources.path());
    let app = TestApp::setup().operator("alice", TOKEN).settings(folder);
    let app = app.start();
    let absurd = |id: &str| {
        app.accept(&email(id, u64::try_from(i64::MAX).unwrap()));
        let receipt = app.wait_until(id, "parked");
        assert_eq!(receipt["parked"]["reason"], "version_jump", "{receipt}");
    };
    let normal = |id: &str, revision: u64| {
        app.accept(&email(id, revision));
        app.wait_until(id, "delivered");
        let address = format!("{id}@example.com");
        assert_eq!(app.imprint.email("c1"), Some(address));
    };
    normal("e-1", 5);
    let answer = reset(&app, &json!({"imprint_id": "c1", "reason": "a test"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    absurd("far-1");
    normal("e-2", 6);
    write(1);
    let reloaded = admin(&app, "POST /admin/v1/reload", &Value::Null);
    assert_eq!(reloaded.json()["outcome"], "reloaded", "{}", reloaded.body);
    absurd("far-2");
    normal("e-3", 1);
}

/// FAULTS N1095: an operator resets the versions of an erased customer. No value up to an erased version comes back.
#[test]
fn a_reset_keeps_the_version_floors_of_an_erasure() {
    let app = start();
    app.accept(&email("e-5", 5));
    app.wait_until("e-5", "delivered");
    let erase = json!({"of": {"imprint_id": "c1"}, "reason": "a demand"});
    let erased = admin(&app, "POST /admin/v1/customers/erase", &erase);
    assert_eq!(erased.status, 200, "{}", erased.body);
    app.accept(&email("e-4", 4));
    app.wait_until("e-4", "superseded");
    let answer = reset(&app, &json!({"imprint_id": "c1", "reason": "a test"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["fields"], 0, "{}", answer.body);
    assert!(answer.json()["floors"].as_u64() > Some(0));
    app.accept(&email("e-3", 3));
    app.wait_until("e-3", "superseded");
    app.accept(&email("e-6", 6));
    app.wait_until("e-6", "delivered");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-6@example.com"));
}

/// FAULTS N1151: a newer value is delivered after the erasure and before the reset. The erased value does not come back.
#[test]
fn a_reset_keeps_the_version_floors_under_a_newer_value() {
    let app = start();
    for (id, revision) in [("e-5", 5), ("e-7", 7)] {
        app.accept(&email(id, revision));
        app.wait_until(id, "delivered");
        if id == "e-5" {
            let erase = json!({"of": {"imprint_id": "c1"}, "reason": "a demand"});
            let erased = admin(&app, "POST /admin/v1/customers/erase", &erase);
            assert_eq!(erased.status, 200, "{}", erased.body);
        }
    }
    let answer = reset(&app, &json!({"imprint_id": "c1", "reason": "a test"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.json()["fields"].as_u64() > Some(0));
    assert!(answer.json()["floors"].as_u64() > Some(0));
    app.accept(&email("e-5-again", 5));
    app.wait_until("e-5-again", "superseded");
    app.accept(&email("e-6", 6));
    app.wait_until("e-6", "delivered");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-6@example.com"));
}

/// FAULTS N303: a reset on the command line survives a restart, and works by the partner's id as soon as Imprint has
/// confirmed the link.
#[test]
fn a_reset_by_partner_id_survives_a_restart() {
    let mut app = start();
    let seed = json!([{"id": "c1", "partner_customer_id": "P-c1"}]).to_string();
    let seed = Sandbox::parse_seed(seed.as_bytes()).unwrap();
    app.imprint.sandbox.seed(seed).unwrap();
    app.accept(&email("e-1", 1 << 60));
    app.wait_until("e-1", "delivered");
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args([
            "reset-versions",
            "--partner-id",
            "P-c1",
            "--reason",
            "a wrong row",
        ])
        .args(["--ops", &format!("http://{}", app.ops())])
        .arg("--token-file")
        .arg(app.files.token_file("alice"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("versions of "), "{printed}");
    app.stop().unwrap();
    app.restart();
    app.accept(&email("e-2", 6));
    app.wait_until("e-2", "delivered");
    assert_eq!(app.imprint.email("c1").as_deref(), Some("e-2@example.com"));
}
