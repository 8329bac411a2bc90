//! A database that loses its last commits in a crash, as with `synchronous_commit` off.

use std::sync::Arc;

use imprint_bridge::sandbox::{LedgerEntry, UnseededCustomer};
use serde_json::json;

use crate::postgres::{PostgresDatabase, PostgresServer};
use crate::process::Process;
use crate::support::{Event, FakeImprint, Files, KEY, email, post, receipt, wait_for};

fn start(database: &PostgresDatabase, rules: &serde_json::Value) -> (FakeImprint, Files, Process) {
    let imprint =
        FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created);
    imprint.inject(rules);
    let settings = format!("[outbox]\nurl = \"{}\"", database.url());
    let files = Files::write(imprint.address, KEY, &settings);
    let process = Process::serve(&files);
    (imprint, files, process)
}

#[track_caller]
fn accept(process: &Process, event: &Event) {
    let headers = [("content-type", "application/cloudevents+json")];
    let answer = post(process.ready().0, &headers, &event.json().to_string()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

#[track_caller]
fn wait_until_delivered(process: &Process, id: &str) {
    wait_for(&format!("{id} is delivered"), || {
        let receipt = receipt(process.ready().0, id).ok()?;
        (receipt.status == 200 && receipt.json()["status"] == "delivered").then_some(())
    });
}

fn in_flight(calls: &[LedgerEntry]) -> usize {
    calls.iter().filter(|call| call.status.is_none()).count()
}

/// FAULTS N966: the database loses the settlement of a customer's request. The bridge sends the values again, and later
/// events follow.
#[test]
fn a_lost_settlement_does_not_stop_its_customer() {
    let server = Arc::new(PostgresServer::start());
    let database = server.database();
    let slow = json!({"customer": "c1", "times": 1, "action": {"latency_ms": 1500}});
    let (imprint, _files, process) = start(&database, &slow);
    accept(&process, &email("first", "c1", 1));
    wait_for("the request is in flight", || {
        (in_flight(&imprint.calls()) == 1).then_some(())
    });
    let log_writer = server.stop_log_writer();
    wait_until_delivered(&process, "first");
    server.lose_commits(log_writer);
    wait_for("the values are sent again", || {
        (imprint.applied("c1").len() == 2).then_some(())
    });
    wait_until_delivered(&process, "first");
    accept(&process, &email("second", "c1", 2));
    wait_until_delivered(&process, "second");
    assert_eq!(imprint.email("c1").unwrap(), "second@example.com");
}

/// FAULTS N967: the database loses a claim while the request of the customer is in flight. No second request of the
/// customer begins before the answer.
#[test]
fn a_lost_claim_allows_no_second_request() {
    let server = Arc::new(PostgresServer::start());
    let database = server.database();
    let rules = json!([
        {"customer": "c1", "times": 1, "action": {"status": 503, "retry_after": "5"}},
        {"customer": "c1", "times": 1, "action": {"latency_ms": 4000}},
    ]);
    let (imprint, _files, process) = start(&database, &rules);
    accept(&process, &email("first", "c1", 1));
    wait_for("the lane rests after the failure", || {
        let sql = "SELECT count(*) FROM imprint_bridge.lane WHERE failures > 0 AND owner IS NULL";
        (database.psql(sql) == "1").then_some(())
    });
    let log_writer = server.stop_log_writer();
    wait_for("the second request is in flight", || {
        (in_flight(&imprint.calls()) == 1).then_some(())
    });
    accept(&process, &email("second", "c2", 1));
    server.lose_commits(log_writer);
    wait_for("the second request has its answer", || {
        let calls = imprint.calls();
        let to_first = calls
            .iter()
            .filter(|call| call.customer.as_deref() == Some("c1"));
        assert!(
            to_first.count() <= 2,
            "a second request is in flight: {calls:?}"
        );
        (in_flight(&calls) == 0).then_some(())
    });
    wait_until_delivered(&process, "first");
    assert_eq!(imprint.applied("c1").len(), 1);
}
