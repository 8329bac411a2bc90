//! Tests of the commands about one customer: the export and the erasure of everything that the store has of a customer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::{run, text};
use crate::erasure::contains;
use crate::http::Answer;
use crate::sealing::hex;
use crate::support::{TestApp, by_partner, email, seed};

mod idle;
mod journal;
mod named;

const TOKEN: &str = "op-canary-token-1";

/// A bridge whose source `crm` parks invalid events, with the operator `alice`, who has every role.
struct CustomerApp {
    app: TestApp,
    _sources: TempDir,
    /// The folder of the erasure journal.
    journal: TempDir,
}

impl CustomerApp {
    fn start() -> Self {
        Self::with(None)
    }

    /// Starts a bridge whose store is sealed if `key` names a sealing key.
    fn with(key: Option<&'static str>) -> Self {
        Self::of_source(key, |crm| crm.to_owned())
    }

    /// Starts such a bridge with another file of the source.
    fn of_source(key: Option<&'static str>, change: impl FnOnce(&str) -> String) -> Self {
        let sources = tempfile::tempdir().unwrap();
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let crm = fs::read_to_string(package.join("config/sources/crm.toml")).unwrap();
        let crm = change(&crm);
        let crm = format!("{crm}\n[body]\non_invalid = \"park\"\n");
        fs::write(sources.path().join("crm.toml"), crm).unwrap();
        let folder = sources.path().display();
        let journal = tempfile::tempdir().unwrap();
        let file = journal.path().join("journal");
        let settings = format!(
            "sources_dir = \"{folder}\"\n[outbox]\nerasure_journal = \"{}\"\n",
            file.display()
        );
        let app = TestApp::setup()
            .manual_clock()
            .operator("alice", TOKEN)
            .settings(settings);
        let app = match key {
            Some(name) => app.sealing_key(name, hex(1)),
            None => app,
        };
        Self {
            app: app.start(),
            _sources: sources,
            journal,
        }
    }

    fn ask(&self, line: &str, body: &Value) -> Answer {
        self.app.ask_operator(TOKEN, line, body)
    }

    #[track_caller]
    fn admin(&self, line: &str, body: &Value) -> Value {
        let answer = self.ask(line, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    fn pause(&self) {
        self.admin(
            "POST /admin/v1/destination",
            &json!({"mode": "paused", "reason": "a test"}),
        );
    }

    /// Runs an operator's command. Returns the exit code, and what the command prints to both outputs.
    fn command(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let ops = format!("http://{}", self.app.ops());
        let token = self.app.files.token_file("alice");
        let token = Path::display(&token).to_string();
        let bridge = ["--ops", &ops, "--token-file", &token];
        let done = run(&[arguments, &bridge].concat(), "");
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    }

    /// Accepts a delivered event, a waiting event and an invalid event of one customer, and one event of another customer.
    fn fill(&self, customer: &str) {
        self.app.accept(&email("E1", customer, 1));
        self.app.wait_until("E1", "delivered");
        self.pause();
        self.app.accept(&email("E2", customer, 2));
        let partner = format!("P-{customer}");
        let invalid = email("E3", customer, 3).with("/data/customer/revision", json!("three"));
        self.app.accept(&invalid);
        self.app.accept(&by_partner("E4", &partner, 4));
        self.app.accept(&email("other", "another", 1));
        self.app.wait_until("E3", "parked");
    }
}

fn ids(entries: &Value) -> Vec<&str> {
    let entries = entries.as_array().unwrap().iter();
    entries.map(|entry| entry["id"].as_str().unwrap()).collect()
}

/// FAULTS N640: a customer asks for everything that the bridge has of them.
#[test]
fn an_export_has_everything_of_a_customer() {
    let mut bridge = CustomerApp::start();
    bridge.fill("c1");
    let (code, output, error) =
        bridge.command(&["export", "--customer", "c1", "--reason", "a request"]);
    assert_eq!(code, Some(0), "{error}");
    let exported: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(ids(&exported["entries"]), ["E1", "E2"]);
    assert_eq!(ids(&exported["unmapped"]), ["E3"]);
    assert_eq!(exported["entries"][1]["facts"]["email"], "E2@example.com");
    assert_eq!(exported["delivered"][0]["event"]["id"], "E1");
    assert!(!output.contains("other@example.com"), "{output}");
    let by_partner = bridge.command(&["export", "--partner-id", "P-c1"]).1;
    let by_partner: Value = serde_json::from_str(&by_partner).unwrap();
    // The event E2 names both ids, and waits in the lane of Imprint's id.
    assert_eq!(ids(&by_partner["entries"]), ["E4", "E2"]);
    assert_eq!(ids(&by_partner["unmapped"]), ["E3"]);
    let audit = bridge.admin("GET /admin/v1/audit", &Value::Null);
    let exports: Vec<&Value> = audit["acts"].as_array().unwrap().iter().collect();
    let exports: Vec<&&Value> = exports
        .iter()
        .filter(|act| act["what"] == "export")
        .collect();
    assert_eq!(exports.len(), 4, "two exports with two pages: {audit}");
    assert_eq!(exports[0]["reason"], "a request");
    assert!(exports[0]["on"].as_str().unwrap().starts_with("lane "));
    bridge.app.leave_waiting_entries();
}

/// FAULTS N640: an export of many entries has several pages, and an entry is on one of them.
#[test]
fn an_export_has_every_entry_once() {
    let mut bridge = CustomerApp::start();
    bridge.pause();
    for number in 1..=60 {
        bridge
            .app
            .accept(&email(&format!("E{number}"), "c1", number));
        let invalid =
            email(&format!("I{number}"), "c1", 1).with("/data/customer/revision", json!("one"));
        bridge.app.accept(&invalid);
    }
    let (code, output, error) = bridge.command(&["export", "--customer", "c1"]);
    assert_eq!(code, Some(0), "{error}");
    let exported: Value = serde_json::from_str(&output).unwrap();
    let expected = |letter: &str| -> Vec<String> {
        (1..=60).map(|number| format!("{letter}{number}")).collect()
    };
    assert_eq!(ids(&exported["entries"]), expected("E"));
    assert_eq!(ids(&exported["unmapped"]), expected("I"));
    bridge.app.leave_waiting_entries();
}

/// FAULTS N1124: a client begins with any page of an export.
#[test]
fn every_page_of_an_export_is_in_the_audit_log() {
    let mut bridge = CustomerApp::start();
    bridge.fill("c1");
    for page in [json!({"entries": 0}), json!({"unmapped": 0})] {
        let line = "POST /admin/v1/customers/export";
        bridge.admin(line, &json!({"of": {"customer": "c1"}, "page": page}));
        let audit = bridge.admin("GET /admin/v1/audit", &Value::Null);
        let newest = audit["acts"].as_array().unwrap().last().unwrap();
        assert_eq!(newest["what"], "export", "{page}: {audit}");
        bridge.pause();
    }
    bridge.app.leave_waiting_entries();
}

/// FAULTS N641: the same text is Imprint's id of one customer and the CRM's id of another.
#[test]
fn an_ambiguous_id_is_refused() {
    let mut bridge = CustomerApp::start();
    bridge.pause();
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.accept(&by_partner("E2", "c1", 1));
    let line = "POST /admin/v1/customers/export";
    let answer = bridge.ask(line, &json!({"of": {"customer": "c1"}}));
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert_eq!(
        answer.json()["type"],
        "urn:imprint-bridge:problem:ambiguous_customer"
    );
    for (member, id) in [("imprint_id", "E1"), ("partner_id", "E2")] {
        let exported = bridge.admin(line, &json!({"of": {member: "c1"}}));
        assert_eq!(ids(&exported["entries"]), [id]);
    }
    for wrong in [
        json!({}),
        json!({"customer": ""}),
        json!({"customer": "a", "partner_id": "b"}),
    ] {
        assert_eq!(bridge.ask(line, &json!({"of": wrong})).status, 400);
    }
    bridge.app.leave_waiting_entries();
}

/// FAULTS N642: no file of the store, and no later backup, has a value or an id of an erased customer.
#[test]
fn no_file_has_anything_of_an_erased_customer() {
    let keys = [None, Some("key-1")];
    for key in keys {
        let mut bridge = CustomerApp::with(key);
        bridge.fill(CUSTOMER);
        let folder = bridge.app.files.store().parent().unwrap().to_owned();
        let traces = [
            CUSTOMER,
            "E1@example.com",
            "E2@example.com",
            "E3@example.com",
            "E4@example.com",
        ];
        let has_id = contains(&folder, CUSTOMER);
        assert_eq!(has_id, key.is_none(), "only a sealed store has no id");
        let (code, output, error) =
            bridge.command(&["erase", "--customer", CUSTOMER, "--reason", "a request"]);
        assert_eq!(code, Some(0), "{error}");
        assert!(
            output.starts_with("3 entries erased, 2 of them"),
            "{output}"
        );
        let partner = format!("P-{CUSTOMER}");
        let (code, output, _) = bridge.command(&["erase", "--customer", &partner, "--reason", "x"]);
        assert_eq!(code, Some(0));
        assert!(output.starts_with("1 entries erased"), "{output}");
        bridge.admin("POST /admin/v1/store/backup", &json!({"name": "later.db"}));
        for trace in traces {
            assert!(!contains(&folder, trace), "{trace}");
        }
        let list = bridge.admin("GET /admin/v1/entries?state=all", &Value::Null);
        assert!(!list.to_string().contains(CUSTOMER), "{list}");
        assert!(contains(&folder, "other") || key.is_some());
        bridge.app.stop().unwrap();
        for trace in traces {
            assert!(!contains(&folder, trace), "{trace} after the stop");
        }
        bridge.app.restart();
        for id in ["E1", "E2"] {
            let answer = bridge
                .app
                .post(&email(id, CUSTOMER, if id == "E1" { 1 } else { 2 }));
            assert_eq!(
                answer.json()["accepted"][0]["duplicate"],
                true,
                "{}",
                answer.body
            );
        }
        bridge.admin("POST /admin/v1/destination", &json!({"mode": "open"}));
        bridge.app.accept(&email("N1", CUSTOMER, 2));
        bridge.app.wait_until("N1", "superseded");
        bridge.app.accept(&email("N2", CUSTOMER, 9));
        bridge.app.wait_until("N2", "delivered");
        bridge.app.wait_until("other", "delivered");
    }
}

/// An id that is no part of another text of the store.
const CUSTOMER: &str = "canary-customer-4711";

/// FAULTS N1237: after the erasure, nothing in the store shows that two ids belong together.
#[test]
fn a_block_ends_for_each_id_by_itself() {
    let bridge = CustomerApp::start();
    seed(
        &bridge.app,
        &json!({"id": "c1", "partner_customer_id": "P-c1"}),
    );
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    bridge.command(&["erase", "--customer", "c1", "--reason", "x", "--block"]);
    for (id, revision, ended) in [("c1", 2, "ignored"), ("P-c1", 3, "delivered")] {
        let (_, output, _) = bridge.command(&["erase", "--customer", id, "--reason", "x"]);
        assert!(
            output.contains("end the block of each id"),
            "{id}: {output}"
        );
        let event = format!("after-{id}");
        bridge.app.accept(&email(&event, "c1", revision));
        bridge.app.wait_until(&event, ended);
    }
}

/// FAULTS N643, N1145: with `--block`, the bridge ignores later events, and the next erasure without it ends the block.
#[test]
fn a_blocked_customer_is_ignored() {
    let bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    let erase = ["erase", "--customer", "c1", "--reason", "x"];
    let (code, output, _) = bridge.command(&[&erase[..], &["--block"]].concat());
    assert_eq!(code, Some(0), "{output}");
    bridge.app.accept(&email("E2", "c1", 2));
    let receipt = bridge.app.wait_until("E2", "ignored");
    assert_eq!(receipt["ignored"], "blocked", "{receipt}");
    let (code, output, _) = bridge.command(&erase);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("the block of this id has ended"),
        "{output}"
    );
    let (code, output, _) = bridge.command(&erase);
    assert_eq!(code, Some(2), "the store has nothing");
    assert!(!output.contains("block of"), "{output}");
    bridge.app.accept(&email("E3", "c1", 3));
    bridge.app.wait_until("E3", "delivered");
    let audit = bridge.admin("GET /admin/v1/audit", &Value::Null);
    assert_eq!(audit["acts"][0]["what"], "erase", "{audit}");
    assert_eq!(audit["sound"], true);
}

/// FAULTS N1141: nothing tells the version of an update that the bridge cannot read, so no floor keeps older events out.
#[test]
fn an_erased_entry_that_is_unreadable_keeps_nothing_out() {
    let mut bridge = CustomerApp::with(Some("key-1"));
    bridge.pause();
    bridge.app.accept(&email("E1", "damaged", 50));
    bridge.app.accept(&email("E2", "readable", 50));
    bridge
        .app
        .accept(&email("E3", "damaged", 51).with("/data/customer/revision", json!("x")));
    bridge.app.leave_waiting_entries();
    bridge.app.stop().unwrap();
    let store = rusqlite::Connection::open(bridge.app.files.store()).unwrap();
    let read = "SELECT facts FROM waiting WHERE entry = 1";
    let mut update: Vec<u8> = store.query_row(read, [], |row| row.get(0)).unwrap();
    let place = update.len() - 3;
    update[place] ^= 1;
    let write = "UPDATE waiting SET facts = ?1 WHERE entry = 1";
    assert_eq!(store.execute(write, [update]).unwrap(), 1);
    drop(store);
    bridge.app.restart();
    for (customer, kept_out, entries) in [("damaged", false, 2), ("readable", true, 1)] {
        let erased = bridge.admin(
            "POST /admin/v1/customers/erase",
            &journal::of("customer", customer),
        );
        assert_eq!(erased["kept_out"], kept_out, "{customer}: {erased}");
        assert_eq!(erased["entries"], entries, "{customer}: {erased}");
    }
}

/// FAULTS N1452: the mapping has no version, so nothing tells that an event that is sent again under a new id is old.
#[test]
fn an_erasure_without_versions_says_that_a_resend_is_not_kept_out() {
    let bridge = CustomerApp::of_source(None, |crm| {
        let lines = crm.lines().filter(|line| !line.starts_with("version"));
        lines.collect::<Vec<_>>().join("\n")
    });
    let says_so = |output: &str| output.contains("sends again under a new id");
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    let erase = ["erase", "--customer", "c1", "--reason", "x"];
    let (code, output, _) = bridge.command(&erase);
    assert_eq!(code, Some(0), "{output}");
    assert!(says_so(&output), "{output}");
    bridge.app.accept(&email("E2", "c1", 1));
    bridge.app.wait_until("E2", "delivered");
    let (code, output, _) = bridge.command(&[&erase[..], &["--block"]].concat());
    assert_eq!(code, Some(0), "{output}");
    assert!(!says_so(&output), "{output}");
    bridge.app.accept(&email("E3", "c1", 1));
    let receipt = bridge.app.wait_until("E3", "ignored");
    assert_eq!(receipt["ignored"], "blocked", "{receipt}");
}

/// FAULTS N1143: no value of an invalid event is the id of its customer, because the mapping computes the id.
#[test]
fn an_invalid_event_is_of_the_customer_that_the_mapping_computes() {
    let mut bridge = CustomerApp::of_source(Some("key-1"), |crm| {
        let computed = "'\"crm-\\(.data.customer.id)\"'";
        crm.replace(
            "partner_id = \".data.customer.id\"",
            &format!("partner_id = {computed}"),
        )
    });
    bridge.pause();
    let invalid = |id: &str, customer: &str| {
        by_partner(id, customer, 2).with("/data/customer/revision", json!("two"))
    };
    bridge.app.accept(&by_partner("V1", "4711", 1));
    for number in 0..120 {
        bridge
            .app
            .accept(&invalid(&format!("other-{number}"), "4712"));
    }
    bridge.app.accept(&invalid("V2", "4711"));
    let unknown = invalid("U1", "4711").with("/data/customer/id", Value::Null);
    bridge.app.accept(&unknown);
    let (code, output, error) = bridge.command(&["export", "--partner-id", "crm-4711"]);
    assert_eq!(code, Some(0), "{error}");
    let exported: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(ids(&exported["entries"]), ["V1"]);
    assert_eq!(ids(&exported["unmapped"]), ["V2"]);
    let many = bridge.command(&["export", "--partner-id", "crm-4712"]).1;
    let many: Value = serde_json::from_str(&many).unwrap();
    let others: Vec<String> = (0..120).map(|number| format!("other-{number}")).collect();
    assert_eq!(ids(&many["unmapped"]), others);
    let of = journal::of("partner_id", "crm-4711");
    let erased = bridge.admin("POST /admin/v1/customers/erase", &of);
    assert_eq!(erased["entries"], 2, "{erased}");
    assert_eq!(
        erased["unjudged"], 1,
        "nothing tells the customer of U1: {erased}"
    );
    let folder = bridge.app.files.store().parent().unwrap().to_owned();
    for trace in ["V1@example.com", "V2@example.com"] {
        assert!(!contains(&folder, trace), "{trace}");
    }
    bridge.app.accept(&by_partner("V3", "4711", 3));
    bridge.app.leave_waiting_entries();
}

/// FAULTS N642: the witness, the stored evidence and the shadow records are of the customer too.
#[test]
fn an_erasure_reaches_the_memory_of_the_process() {
    let mut bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", CUSTOMER, 1));
    bridge.app.wait_until("E1", "delivered");
    bridge.admin(
        "POST /admin/v1/destination",
        &json!({"mode": "shadow", "reason": "a test"}),
    );
    bridge.app.accept(&email("E2", CUSTOMER, 2));
    let shadow = || {
        bridge
            .admin("GET /admin/v1/shadow", &Value::Null)
            .to_string()
    };
    bridge
        .app
        .wait_for("a shadow record", |_| shadow().contains(CUSTOMER));
    let body = json!({"of": {"imprint_id": CUSTOMER}, "reason": "x"});
    let erased = bridge.admin("POST /admin/v1/customers/erase", &body);
    assert_eq!(erased["entries"], 2, "{erased}");
    assert!(!shadow().contains(CUSTOMER));
    bridge.app.advance(Duration::from_secs(60));
    let folder = bridge.app.files.store().parent().unwrap().to_owned();
    assert!(!contains(&folder, CUSTOMER));
    bridge.app.stop().unwrap();
    assert!(
        !contains(&folder, CUSTOMER),
        "evidence is stored at the stop"
    );
}

/// FAULTS N1147: nothing is malformed in the request for an erased event.
#[test]
fn an_erased_event_has_an_own_problem() {
    let bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    let answer = bridge.ask("GET /admin/v1/entries/1/explain", &Value::Null);
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.body.contains("event_erased"), "{}", answer.body);
}

/// FAULTS N1148: the sender asks for the receipt of an event whose customer an operator has erased, and an operator looks for
/// the event by its id.
#[test]
fn the_receipt_of_an_erased_event_says_when_it_was_erased() {
    let bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    let receipt = || bridge.app.receipt("E1");
    assert!(receipt().get("erased_at").is_none());
    let body = json!({"of": {"customer": "c1"}, "reason": "x"});
    bridge.admin("POST /admin/v1/customers/erase", &body);
    let erased = receipt();
    assert!(erased["erased_at"].is_string(), "{erased}");
    assert_eq!(
        (&erased["id"], &erased["status"]),
        (&json!("E1"), &json!("delivered"))
    );
    let listed = bridge.ask("GET /admin/v1/entries?state=delivered&id=E1", &Value::Null);
    let listed = listed.json();
    let entry = &listed["entries"][0];
    assert_eq!(entry["erased_at"], erased["erased_at"], "{listed}");
    assert!(!listed.to_string().contains("\"E1\""), "{listed}");
    let (_, output, _) = bridge.command(&["events", "--state", "delivered", "--id", "E1"]);
    assert!(output.contains("erased 20"), "{output}");
}

/// FAULTS N1307: a source sends an event with the id that stands for an erased event in the lists.
#[test]
fn an_event_with_the_id_of_an_erased_event_has_its_own_receipt() {
    let bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    let body = json!({"of": {"customer": "c1"}, "reason": "x"});
    bridge.admin("POST /admin/v1/customers/erase", &body);
    let erased = bridge.app.receipt("E1");
    let list = |id: &str| {
        let line = format!("GET /admin/v1/entries?state=delivered&id={id}");
        let listed = bridge.ask(&line, &Value::Null).json();
        listed["entries"].as_array().unwrap().clone()
    };
    let tombstone = list("E1")[0]["id"].as_str().unwrap().to_owned();
    bridge.app.accept(&email(&tombstone, "c2", 1));
    bridge.app.wait_until(&tombstone, "delivered");
    assert_eq!(bridge.app.receipt("E1"), erased);
    assert_eq!(list("E1").len(), 1);
    let other = bridge.app.receipt(&tombstone);
    assert!(other["ce_source"].is_string(), "{other}");
    assert!(other.get("erased_at").is_none(), "{other}");
}

/// FAULTS N1150: an operator erases a customer by the CRM's id, and a later event has both ids.
#[test]
fn a_floor_of_the_crms_id_holds_for_events_with_both_ids() {
    let bridge = CustomerApp::start();
    bridge.pause();
    bridge.app.accept(&by_partner("P1", "P-both", 5));
    let of = journal::of("partner_id", "P-both");
    let erased = bridge.admin("POST /admin/v1/customers/erase", &of);
    assert_eq!(erased["kept_out"], true, "{erased}");
    bridge.app.accept(&email("B1", "both", 3));
    bridge.admin("POST /admin/v1/destination", &json!({"mode": "open"}));
    bridge.app.wait_until("B1", "superseded");
    bridge.app.accept(&email("B2", "both", 6));
    bridge.app.wait_until("B2", "delivered");
    assert_eq!(bridge.app.imprint.applied("both").len(), 1);
}
