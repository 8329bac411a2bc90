//! The real program with a store in PostgreSQL.

use std::sync::Arc;

use imprint_bridge::sandbox::UnseededCustomer;
use serde_json::json;

use crate::http::{self, Answer};
use crate::postgres::{PostgresDatabase, PostgresServer};
use crate::process::Process;
use crate::support::{Event, FakeImprint, Files, KEY, email, metric, post, receipt, wait_for};

mod erased;
mod late_sends;
mod replicas;

/// A crash of the server then loses no commit that the server has confirmed.
const DURABLE: &str = "synchronous_commit=on";
const TOKEN: &str = "op-postgres-token-1";

fn files(imprint: &FakeImprint, database: &PostgresDatabase) -> Files {
    let settings = format!("[outbox]\nurl = \"{}\"", database.url());
    let files = Files::write(imprint.address, KEY, &settings);
    files.write_token("alice", TOKEN);
    files
}

fn imprint() -> FakeImprint {
    FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created)
}

fn send(process: &Process, event: &Event) -> Answer {
    let headers = [("content-type", "application/cloudevents+json")];
    post(process.ready().0, &headers, &event.json().to_string()).unwrap()
}

/// Sets the mode of the destination as an operator.
#[track_caller]
fn set_mode(process: &Process, mode: &str) {
    let mode = json!({"mode": mode, "reason": "a test"}).to_string();
    let set = ask_operator(process, "POST /admin/v1/destination", &mode);
    assert_eq!(set.status, 200, "{}", set.body);
}

fn ask_operator(process: &Process, line: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    http::ask(process.ready().1, line, &headers, body).unwrap()
}

#[track_caller]
fn wait_until_delivered(process: &Process, id: &str) {
    wait_for(&format!("{id} is delivered"), || {
        let receipt = receipt(process.ready().0, id).ok()?;
        let is_known = receipt.status == 200;
        (is_known && receipt.json()["status"] == "delivered").then_some(())
    });
}

/// FAULTS N958: events that a killed bridge accepted are delivered by the next bridge.
#[test]
fn a_bridge_on_postgresql_loses_nothing_when_it_is_killed() {
    let database = crate::postgres::database();
    let imprint = imprint();
    let files = files(&imprint, &database);
    let mut process = Process::serve(&files);
    assert_eq!(send(&process, &email("first", "c1", 1)).status, 202);
    wait_until_delivered(&process, "first");
    assert_eq!(imprint.email("c1").unwrap(), "first@example.com");
    set_mode(&process, "paused");
    assert_eq!(send(&process, &email("second", "c1", 2)).status, 202);
    process.child.kill().unwrap();
    process.wait_for_exit();

    let process = Process::serve(&files);
    let again = send(&process, &email("second", "c1", 2));
    let accepted = again.json();
    assert_eq!(accepted["accepted"][0]["duplicate"], true, "{accepted}");
    set_mode(&process, "open");
    wait_until_delivered(&process, "second");
    assert_eq!(imprint.email("c1").unwrap(), "second@example.com");
    assert!(!process.log().contains("postgres:///"), "{}", process.log());
}

/// FAULTS N1419: the time of the last event of a source is kept over a restart.
#[test]
fn a_bridge_on_postgresql_keeps_the_time_of_the_last_event() {
    let database = crate::postgres::database();
    let imprint = imprint();
    let files = files(&imprint, &database);
    let last = |process: &Process| {
        let page = http::ask(process.ready().1, "GET /metrics", &[], "").unwrap();
        metric(&page.body, "last_event_timestamp_seconds{source=\"crm\"}")
    };
    let mut process = Process::serve(&files);
    assert_eq!(last(&process), None);
    assert_eq!(send(&process, &email("first", "c1", 1)).status, 202);
    let time = last(&process);
    assert!(time.is_some(), "{}", process.log());
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    let process = Process::serve(&files);
    assert_eq!(last(&process), time);
}

/// FAULTS N959: while the database is down, a sender gets 503, and the bridge goes on by itself when the database is back.
#[test]
fn a_bridge_outlives_a_restart_of_its_database() {
    let server = Arc::new(PostgresServer::start_with(&[DURABLE]));
    let database = server.database();
    let imprint = imprint();
    let files = files(&imprint, &database);
    let mut process = Process::serve(&files);
    assert_eq!(send(&process, &email("first", "c1", 1)).status, 202);
    wait_until_delivered(&process, "first");
    server.crash();
    let refused = send(&process, &email("second", "c1", 2));
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").is_some());
    server.start_again(&[DURABLE]);
    wait_for("the bridge accepts events again", || {
        (send(&process, &email("second", "c1", 2)).status == 202).then_some(())
    });
    wait_until_delivered(&process, "second");
    assert_eq!(imprint.email("c1").unwrap(), "second@example.com");
    assert!(process.child.try_wait().unwrap().is_none());
}
