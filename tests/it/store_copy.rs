//! The command `store copy`, and bridges on the copy.

use std::process::Output;

use imprint_bridge::sandbox::UnseededCustomer;
use serde_json::json;

use crate::commands::{run, text};
use crate::http::{self, Answer};
use crate::postgres::{PostgresDatabase, database};
use crate::process::Process;
use crate::support::{Event, FakeImprint, Files, KEY, email, post, receipt, wait_for};

const TOKEN: &str = "op-store-copy-token-1";
const SEALING_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A bridge, and a database to which its store moves.
struct Moving {
    imprint: FakeImprint,
    files: Files,
    database: PostgresDatabase,
}

impl Moving {
    fn new() -> Self {
        let imprint = FakeImprint::start(|settings| {
            settings.unknown_customer = UnseededCustomer::Created;
        });
        let files = Files::write(imprint.address, KEY, "");
        files.write_token("alice", TOKEN);
        files.write_sealing_key("2026-11-27", SEALING_KEY);
        Self {
            imprint,
            files,
            database: database(),
        }
    }

    fn file(&self) -> String {
        format!("sqlite:{}", self.files.store().display())
    }

    /// Fills the store: delivered events, and events that wait in their order.
    fn fill(&self) {
        let mut process = Process::serve(&self.files);
        assert_eq!(send(&process, &email("first", "c1", 1)).status, 202);
        wait_until_delivered(&process, "first");
        set_mode(&process, "paused");
        for (id, customer, revision) in
            [("second", "c1", 2), ("third", "c1", 3), ("other", "c2", 1)]
        {
            assert_eq!(send(&process, &email(id, customer, revision)).status, 202);
        }
        process.terminate();
        process.wait_for_exit();
    }

    fn copy(&self, from: &str, to: &str, failpoint: Option<&str>) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
        command.args(["store", "copy", "--json", "--from", from, "--to", to]);
        for file in self.files.settings() {
            command.arg("--config").arg(file);
        }
        if let Some(failpoint) = failpoint {
            command.env("IMPRINT_BRIDGE_FAILPOINTS", failpoint);
        }
        command.output().unwrap()
    }

    /// Serves the store at this place.
    fn serve(&self, url: &str) -> Process {
        self.files
            .write_settings(&format!("[outbox]\nurl = \"{url}\""));
        Process::serve(&self.files)
    }

    /// Kills the copy at every batch, before and after its commit, and finishes it.
    #[cfg(feature = "failpoints")]
    fn copy_with_kills(&self, from: &str, to: &str) -> serde_json::Value {
        let failpoints = [
            "crash:before_transfer_commit:2",
            "crash:after_transfer_batch:1",
        ];
        for kills in 0..100 {
            let output = self.copy(from, to, Some(failpoints[kills % 2]));
            if output.status.success() {
                assert!(kills > 8, "{kills} kills");
                return serde_json::from_slice(&output.stdout).unwrap();
            }
            assert_eq!(output.status.code(), None, "{}", text(&output.stderr));
        }
        panic!("the copy makes no progress")
    }
}

fn send(process: &Process, event: &Event) -> Answer {
    let headers = [("content-type", "application/cloudevents+json")];
    post(process.ready().0, &headers, &event.json().to_string()).unwrap()
}

#[track_caller]
fn wait_until_delivered(process: &Process, id: &str) {
    wait_for(&format!("{id} is delivered"), || {
        let receipt = receipt(process.ready().0, id).ok()?;
        let is_known = receipt.status == 200;
        (is_known && receipt.json()["status"] == "delivered").then_some(())
    });
}

fn set_mode(process: &Process, mode: &str) {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let body = json!({"mode": mode, "reason": "a test"}).to_string();
    let line = "POST /admin/v1/destination";
    let answer = http::ask(process.ready().1, line, &headers, &body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Serves a copy of the filled store: it is paused, knows the events, and delivers the rest in order.
fn expect_rest(moving: &Moving, url: &str, last: &str) {
    let mut process = moving.serve(url);
    let again = send(&process, &email("first", "c1", 1)).json();
    assert_eq!(again["accepted"][0]["duplicate"], true, "{again}");
    let again = send(&process, &email("third", "c1", 3)).json();
    assert_eq!(again["accepted"][0]["duplicate"], true, "{again}");
    assert_eq!(moving.imprint.email("c1").unwrap(), "first@example.com");
    set_mode(&process, "open");
    wait_until_delivered(&process, "third");
    wait_until_delivered(&process, "other");
    assert_eq!(moving.imprint.email("c1").unwrap(), "third@example.com");
    // An event that is older than the delivered one changes nothing.
    assert_eq!(send(&process, &email(last, "c1", 2)).status, 202);
    wait_for("the old event has ended", || {
        let receipt = receipt(process.ready().0, last).ok()?.json();
        (receipt["status"] == "superseded").then_some(())
    });
    process.terminate();
    process.wait_for_exit();
}

/// FAULTS N1012, N1016: the copy is killed at every batch, and the same command continues it. A bridge on the copy delivers
/// the rest in order, and a resent event is a duplicate.
#[cfg(feature = "failpoints")]
#[test]
fn a_killed_copy_continues_and_the_bridge_delivers_the_rest() {
    let moving = Moving::new();
    moving.fill();
    let (file, url) = (moving.file(), moving.database.url());
    let report = moving.copy_with_kills(&file, &url);
    let rows = |kind: &str| {
        let mut copied = report["copied"].as_array().unwrap().iter();
        copied.find(|row| row["kind"] == kind).unwrap()["rows"].clone()
    };
    assert_eq!(rows("receipts"), 4, "{report}");
    assert_eq!(rows("waiting entries"), 3, "{report}");
    let back = format!("{file}.back");
    moving.copy_with_kills(&url, &back);
    expect_rest(&moving, &url, "late");
    let settings = moving.files.path("bridge.toml").display().to_string();
    let sealing = moving.files.path("sealing.toml").display().to_string();
    let file = format!("{}.back", moving.files.store().display());
    let verify = [
        "store", "verify", &file, "--config", &settings, "--config", &sealing,
    ];
    let verified = run(&verify, "");
    let printed = text(&verified.stdout) + &text(&verified.stderr);
    assert!(
        printed.contains("4 entries, 3 waiting") && printed.contains("no errors"),
        "{printed}"
    );
}

/// FAULTS N1016: a store in a database moves into a file, and the bridge on the file delivers the rest in order.
#[test]
fn a_bridge_on_a_file_delivers_the_rest_of_a_database() {
    let moving = Moving::new();
    moving
        .files
        .write_settings(&format!("[outbox]\nurl = \"{}\"", moving.database.url()));
    moving.fill();
    let file = moving.file();
    let output = moving.copy(&moving.database.url(), &file, None);
    assert!(output.status.success(), "{}", text(&output.stderr));
    expect_rest(&moving, &file, "late");
    let output = moving.copy(&moving.database.url(), &file, None);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the target has a store already"));
}

/// FAULTS N1013, N1017: no bridge starts on an unfinished copy, and no other store is copied into it. FAULTS N1015: if the
/// source has changed since the beginning of the copy, the copy is not completed.
#[cfg(feature = "failpoints")]
#[test]
fn an_unfinished_copy_is_no_store() {
    let moving = Moving::new();
    moving.fill();
    let (file, url) = (moving.file(), moving.database.url());
    let killed = moving.copy(&file, &url, Some("crash:after_transfer_batch:4"));
    assert_eq!(killed.status.code(), None);
    let mut process = moving.serve(&url);
    assert_eq!(process.wait_for_exit().code(), Some(1));
    assert!(
        process.log().contains(
            "the database has an unfinished copy of another store: run `store copy` again"
        ),
        "{}",
        process.log()
    );

    let other = Moving::new();
    other.fill();
    let refused = other.copy(&other.file(), &url, None);
    let error = text(&refused.stderr);
    assert!(
        error.contains("an unfinished copy of another store"),
        "{error}"
    );

    let mut process = moving.serve(&file);
    set_mode(&process, "open");
    wait_until_delivered(&process, "third");
    process.terminate();
    process.wait_for_exit();
    let refused = moving.copy(&file, &url, None);
    let error = text(&refused.stderr);
    assert!(
        error.contains("The source changed during the copy"),
        "{error}"
    );

    let empty = database();
    let into_file = format!("{file}.back");
    let copied = moving.copy(&file, &empty.url(), None);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    let killed = moving.copy(
        &empty.url(),
        &into_file,
        Some("crash:after_transfer_batch:4"),
    );
    assert_eq!(killed.status.code(), None);
    let mut process = moving.serve(&into_file);
    assert_eq!(process.wait_for_exit().code(), Some(1));
    let expected = "is an unfinished copy of another store: run `store copy` again";
    assert!(process.log().contains(expected), "{}", process.log());
}

/// FAULTS N1018: an URL with a password is refused, and the error repeats no part of it.
#[test]
fn a_password_in_the_url_is_refused() {
    let url = "postgres://bridge:hunter2@db.example/outbox";
    let output = run(&["store", "copy", "--from", "sqlite:a.db", "--to", url], "");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("--to must contain no password"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
