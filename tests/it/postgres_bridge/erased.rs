//! Erasures of customers at one of several bridges on one store.

use super::*;

fn erase(process: &Process, customer: &str) -> serde_json::Value {
    let body = json!({"of": {"customer": customer}, "reason": "a request"}).to_string();
    let answer = ask_operator(process, "POST /admin/v1/customers/erase", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// Returns the requests that a bridge has recorded in shadow mode.
fn shadow_requests(process: &Process) -> Vec<serde_json::Value> {
    let shadow = ask_operator(process, "GET /admin/v1/shadow", "").json();
    shadow["requests"].as_array().unwrap().clone()
}

/// FAULTS N1330: a bridge stands still for longer than its lease, so an erasure at the other bridge does not wait for it. Its
/// first answer afterwards, to a question that it had not read, shows nothing of the customer.
#[test]
fn a_bridge_whose_lease_has_ended_shows_no_shadow_record() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let (files, other_files) = (files(&imprint, &database), files(&imprint, &database));
    let (first, second) = (Process::serve(&files), Process::serve(&other_files));
    set_mode(&first, "shadow");
    replicas::wait_for_mode(&second, "shadow");
    assert_eq!(send(&first, &email("e1", "c1", 1)).status, 202);
    let (recorder, other) = wait_for("a bridge records the request", || {
        let pairs = [(&first, &second), (&second, &first)];
        pairs
            .into_iter()
            .find(|(recorder, _)| !shadow_requests(recorder).is_empty())
    });
    late_sends::signal(recorder, "STOP");
    let erased = erase(other, "c1");
    assert_eq!(erased["unconfirmed"], json!([]), "{erased}");
    // The kernel takes the connection and the request of a process that stands still.
    let mut connection = http::Connection::open(recorder.ready().1).unwrap();
    let request = format!(
        "GET /admin/v1/shadow HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    connection.send(request.as_bytes()).unwrap();
    late_sends::signal(recorder, "CONT");
    let answer = connection.answer().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["requests"], json!([]));
}

/// FAULTS N1144: an operator erases a customer at the bridge that has not recorded its request. The shadow record of the
/// other bridge has the id and the values of the customer.
#[test]
fn an_erasure_reaches_the_shadow_records_of_every_bridge() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let (files, other_files) = (files(&imprint, &database), files(&imprint, &database));
    let (first, second) = (Process::serve(&files), Process::serve(&other_files));
    set_mode(&first, "shadow");
    replicas::wait_for_mode(&second, "shadow");
    assert_eq!(send(&first, &email("e1", "c1", 1)).status, 202);
    let (recorder, other) = wait_for("a bridge records the request", || {
        let pairs = [(&first, &second), (&second, &first)];
        pairs
            .into_iter()
            .find(|(recorder, _)| !shadow_requests(recorder).is_empty())
    });
    let erased = erase(other, "c1");
    assert_eq!(erased["unconfirmed"], json!([]), "{erased}");
    assert!(shadow_requests(recorder).is_empty(), "of the customer");
}

/// FAULTS N1144: a bridge knows a customer as a witness, and an operator erases the customer at another bridge. The bridge
/// stores its evidence afterwards.
#[test]
fn an_erased_customer_does_not_come_back_with_the_evidence_of_another_bridge() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let (files, other_files) = (files(&imprint, &database), files(&imprint, &database));
    let second = Process::serve(&other_files);
    assert_eq!(send(&second, &email("e1", "erased-4711", 1)).status, 202);
    wait_until_delivered(&second, "e1");
    let mut first = Process::serve(&files);
    let erased = erase(&first, "erased-4711");
    assert_eq!(erased["unconfirmed"], json!([]), "{erased}");
    first.terminate();
    first.wait_for_exit();
    assert_eq!(send(&second, &email("e2", "other-4712", 1)).status, 202);
    wait_until_delivered(&second, "e2");
    let sql = "SELECT encode(value, 'escape') FROM imprint_bridge.meta WHERE name = 'evidence'";
    let evidence = wait_for("the bridge stores its evidence", || {
        Some(database.psql(sql)).filter(|evidence| evidence.contains("other-4712"))
    });
    assert!(!evidence.contains("erased-4711"), "{evidence}");
}
