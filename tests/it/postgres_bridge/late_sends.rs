//! Requests of a bridge whose lease ended before the answer of Imprint.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imprint_bridge::time::Clock;
use serde_json::Value;

use super::*;
use crate::client::{own_customer, tls_config};
use crate::raw_imprint::RawImprint;
use crate::support::metric;

/// The time in which a request with an unknown outcome can still take effect, in these tests.
const ASSERT_AFTER: Duration = Duration::from_secs(12);

/// The certificate of the authority of [`tls_config`].
const CA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");

/// The lease of a bridge.
const LEASE: Duration = Duration::from_secs(15);

/// Stops a process, or lets it continue.
pub(super) fn signal(process: &Process, signal: &str) {
    let kill = format!("kill -{signal} {}", process.child.id());
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success());
}

fn late_sends(process: &Process) -> Option<f64> {
    let page = http::ask(process.ready().1, "GET /metrics", &[], "").ok()?;
    metric(&page.body, "database_late_sends_total")
}

fn quick_files(imprint: &FakeImprint, database: &PostgresDatabase) -> Files {
    let (files, url) = (files(imprint, database), database.url());
    let span = ASSERT_AFTER.as_secs();
    files.write_settings(&format!(
        "[outbox]\nurl = \"{url}\"\n[dispatch]\nassert_after = \"{span}s\""
    ));
    files
}

fn wait_for_calls(imprint: &FakeImprint, calls: usize) {
    wait_for("the requests", || {
        (imprint.calls().len() >= calls).then_some(())
    });
}

/// Carries out a request with this value of the customer, as Imprint does with a late request.
fn carry_out(imprint: &FakeImprint, email: &str) {
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = json!({ "email": email }).to_string();
    let answer = http::ask(imprint.address, "POST /v2/customers/c1", &headers, &body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Waits until a bridge stood still for so long that the other bridge has its customers.
fn wait_for_takeover(database: &PostgresDatabase) {
    let clock = Clock::machine();
    let ends = clock.now().after(LEASE);
    wait_for("the lease ends", || (clock.now() >= ends).then_some(()));
    let replicas = "SELECT count(*) FROM imprint_bridge.replica";
    wait_for("the other bridge takes over", || {
        (database.psql(replicas) == "1").then_some(())
    });
}

/// Two bridges with one database. The first one stands still, and the second one has its lanes.
struct TwoBridges {
    imprint: FakeImprint,
    first: Process,
    second: Process,
    _database: PostgresDatabase,
    _files: [Files; 2],
}

impl TwoBridges {
    /// Stops the first bridge while its request with older data is at Imprint, which follows these rules. The second bridge
    /// accepts newer data of the customer.
    fn after_takeover(rules: &Value) -> Self {
        let (database, imprint) = (crate::postgres::database(), imprint());
        let files = [(); 2].map(|()| quick_files(&imprint, &database));
        let first = Process::serve(&files[0]);
        first.ready();
        imprint.inject(rules);
        assert_eq!(send(&first, &email("old", "c1", 1)).status, 202);
        wait_for_calls(&imprint, 1);
        signal(&first, "STOP");
        let second = Process::serve(&files[1]);
        assert_eq!(send(&second, &email("new", "c1", 2)).status, 202);
        wait_for_takeover(&database);
        Self {
            imprint,
            first,
            second,
            _database: database,
            _files: files,
        }
    }
}

/// Lets the first bridge go on until it notices its late request.
fn notice_late_request(first: &Process) {
    signal(first, "CONT");
    wait_for("the first bridge notices its late request", || {
        late_sends(first).filter(|late| *late > 0.5)
    });
}

/// Carries out the late request, and waits until the newest data is sent again.
fn is_sent_again(imprint: &FakeImprint) {
    carry_out(imprint, "old@example.com");
    wait_for("the newest data is sent again", || {
        (imprint.email("c1")? == "new@example.com").then_some(())
    });
}

/// FAULTS N1007: a bridge stands still for longer than its lease, while its request is at a slow Imprint. The other bridge
/// delivers newer data. The late request takes effect when the other bridge has already sent its data again. The first
/// bridge notices that its lease ended during the request, so the newest data is sent once more.
#[test]
fn a_request_that_outlives_its_lease_does_not_win() {
    // The test carries out the request that hangs later.
    let rules = json!([{"times": 1, "action": {"hang": true}}]);
    let TwoBridges {
        imprint,
        first,
        second,
        ..
    } = &TwoBridges::after_takeover(&rules);
    wait_until_delivered(second, "new");
    let clock = Clock::machine();
    let delivered_at = clock.now();
    notice_late_request(first);
    let took = clock.now().since(delivered_at);
    assert!(took < ASSERT_AFTER, "the machine is too slow for this test");
    wait_for("the log names it", || {
        let is_logged = first.log().contains("after its claim had ended");
        is_logged.then_some(())
    });
    // Without the notice, the second bridge sends its data again only before this time.
    let late = delivered_at.after(ASSERT_AFTER.mul_f64(1.5));
    wait_for("the late request", || (clock.now() >= late).then_some(()));
    is_sent_again(imprint);
    assert_eq!(late_sends(second), Some(0.0));
}

/// FAULTS N1019: the same, but the request of the other bridge is in flight when the first bridge notices that its request
/// was late. The settlement of the other bridge does not remove the mark of the customer.
#[test]
fn a_late_request_counts_while_the_other_bridge_sends() {
    // The test carries out the first request later. The second request is the request of the other bridge.
    let slow = Duration::from_secs(8).as_millis();
    let rules = json!([
        {"times": 1, "action": {"hang": true}},
        {"times": 1, "action": {"latency_ms": slow}},
    ]);
    let TwoBridges {
        imprint,
        first,
        second,
        ..
    } = &TwoBridges::after_takeover(&rules);
    wait_for_calls(imprint, 2);
    notice_late_request(first);
    let state = receipt(second.ready().0, "new").unwrap().body;
    assert!(
        state.contains("waiting"),
        "the machine is too slow: {state}"
    );
    wait_until_delivered(second, "new");
    let clock = Clock::machine();
    // Without the mark, the second bridge sends its data again only before this time: the doubt begins with its claim.
    let late = clock.now().after(ASSERT_AFTER.mul_f64(0.75));
    wait_for("the late request", || (clock.now() >= late).then_some(()));
    is_sent_again(imprint);
    assert_eq!(late_sends(second), Some(0.0));
}

/// FAULTS N1006: a bridge that stood still for longer than its lease sends none of the requests that it had planned.
#[test]
fn a_bridge_whose_lease_ended_sends_no_request_of_an_earlier_claim() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let (files, other_files) = (
        quick_files(&imprint, &database),
        quick_files(&imprint, &database),
    );
    let first = Process::serve(&files);
    first.ready();
    // The deliveries in flight wait, so later deliveries wait for a request slot.
    imprint.inject(&json!([{"action": {"hang": true}}]));
    for customer in 0..60 {
        let event = email(&format!("old-{customer}"), &format!("c{customer}"), 1);
        assert_eq!(send(&first, &event).status, 202);
    }
    wait_for_calls(&imprint, 8);
    signal(&first, "STOP");
    imprint.sandbox.clear_faults();
    let second = Process::serve(&other_files);
    second.ready();
    wait_for_takeover(&database);
    for customer in 0..60 {
        let event = email(&format!("new-{customer}"), &format!("c{customer}"), 2);
        assert_eq!(send(&second, &event).status, 202);
        wait_until_delivered(&second, &format!("new-{customer}"));
    }
    let calls = imprint.calls().len();
    signal(&second, "STOP");
    signal(&first, "CONT");
    wait_for("the first bridge continues", || {
        late_sends(&first).filter(|late| *late > 0.5)
    });
    let sent = imprint.calls().len() - calls;
    assert_eq!(sent, 0, "requests of earlier claims");
    signal(&second, "CONT");
}

/// FAULTS N1520: a bridge loses its lease while it opens a connection for an update. Imprint ends the TLS handshake later. The
/// bridge sends nothing on this connection.
#[test]
fn a_bridge_whose_lease_ended_during_the_handshake_sends_nothing() {
    let database = crate::postgres::database();
    let lease_ended = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&lease_ended);
    let tls = tls_config(include_str!("../tls/localhost.pem"), &[]);
    let imprint = RawImprint::start_tls(tls, move |mut accepted| {
        if accepted.number > 0 {
            return accepted.serve(own_customer);
        }
        wait_for("the end of the lease", || {
            goes_on.load(Ordering::Relaxed).then_some(())
        });
        let request = accepted.request();
        accepted.note(request.map_or("no request", |_| "late request"));
    });
    let files = Files::write(imprint.address, KEY, "");
    files.write_settings(&format!(
        "[outbox]\nurl = \"{}\"\n[imprint]\nbase_url = \"https://{}\"\nca_file = \"{CA_FILE}\"",
        database.url(),
        imprint.address
    ));
    let process = Process::serve(&files);
    assert_eq!(send(&process, &email("a", "c1", 1)).status, 202);
    wait_for("the bridge connects", || {
        (imprint.connections() == 1).then_some(())
    });
    // A takeover by another bridge.
    database
        .psql("DELETE FROM imprint_bridge.replica; UPDATE imprint_bridge.lane SET owner = NULL");
    wait_for("the bridge notices the end of its lease", || {
        let is_logged = process
            .log()
            .contains("the lease of this replica has ended, so other");
        is_logged.then_some(())
    });
    lease_ended.store(true, Ordering::Relaxed);
    let notes = wait_for("the end of the first connection", || {
        let mut notes = imprint.requests();
        notes.retain(|line| line.ends_with(" request"));
        (!notes.is_empty()).then_some(notes)
    });
    assert_eq!(notes, ["no request"]);
    wait_for("the log says why", || {
        let is_logged = process.log().contains("it does not send a request");
        is_logged.then_some(())
    });
    wait_until_delivered(&process, "a");
}

/// FAULTS N1522: a bridge loses its lease while a request is at a slow Imprint, and no other bridge takes the customer. The
/// bridge sends no second request of this customer before the first one is answered.
#[test]
fn a_bridge_sends_no_request_beside_its_own_late_request() {
    let database = crate::postgres::database();
    let may_answer = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&may_answer);
    let imprint = RawImprint::start(move |mut accepted| {
        if accepted.number > 0 {
            return accepted.serve(own_customer);
        }
        let request = accepted.request().unwrap();
        wait_for("the end of the lease", || {
            answers.load(Ordering::Relaxed).then_some(())
        });
        accepted.note("first answer");
        let _is_closed = accepted.send(&own_customer(&request));
        accepted.serve(own_customer);
    });
    let (url, deadline) = (database.url(), "deadline = \"50s\"");
    let settings = format!("[outbox]\nurl = \"{url}\"\n[imprint]\n{deadline}");
    let files = Files::write(imprint.address, KEY, &settings);
    let process = Process::serve(&files);
    assert_eq!(send(&process, &email("a", "c1", 1)).status, 202);
    wait_for("the first request", || {
        (imprint.requests().len() == 1).then_some(())
    });
    // A takeover by another bridge, which ends before it claims the customer.
    database.psql(
        "DELETE FROM imprint_bridge.replica; UPDATE imprint_bridge.lane SET owner = NULL, maybe_sent = 1",
    );
    wait_for("the bridge notices the end of its lease", || {
        let log = process.log();
        log.contains("the lease of this replica has ended, so other")
            .then_some(())
    });
    // The bridge claims customers again.
    assert_eq!(send(&process, &email("b", "c2", 1)).status, 202);
    wait_until_delivered(&process, "b");
    may_answer.store(true, Ordering::Relaxed);
    wait_until_delivered(&process, "a");
    let of_first = |line: &String| line.contains("/c1 ") || line == "first answer";
    let requests: Vec<String> = imprint.requests().into_iter().filter(of_first).collect();
    assert_eq!(
        requests.get(1).map(String::as_str),
        Some("first answer"),
        "{requests:?}"
    );
    assert!(requests.len() > 2, "the claim was lost: {requests:?}");
}
