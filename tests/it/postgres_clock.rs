//! Wrong clocks: of the database, and of the machine of a bridge.

use std::time::Duration;

use imprint_bridge::sandbox::UnseededCustomer;
use imprint_bridge::time::{Clock, Timestamp};
use serde_json::json;

use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp, email, post, receipt, wait_for};

const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
const DAY: Duration = Duration::from_hours(24);

/// FAULTS C01, N972: somebody sets the clock of the database back while a customer waits for a pause. The bridge sends the
/// event after its next start.
#[test]
fn a_customer_does_not_wait_for_the_old_time_of_the_database() {
    let database = crate::postgres::database();
    let imprint =
        FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created);
    imprint.inject(&json!({"customer": "c1", "times": 1, "action": {"status": 500}}));
    let settings = format!("[outbox]\nurl = \"{}\"", database.url());
    let files = Files::write(imprint.address, KEY, &settings);
    let mut process = Process::serve(&files);
    let headers = [("content-type", "application/cloudevents+json")];
    let event = email("first", "c1", 1).json().to_string();
    let accepted = post(process.ready().0, &headers, &event).unwrap();
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    wait_for("the customer waits for the pause", || {
        let sql = "SELECT count(*) FROM imprint_bridge.lane WHERE failures > 0 AND owner IS NULL";
        (database.psql(sql) == "1").then_some(())
    });
    process.terminate();
    process.wait_for_exit();
    database.psql("UPDATE imprint_bridge.lane SET due_at = due_at + 36000000");
    let process = Process::serve(&files);
    wait_for("the event is delivered", || {
        let receipt = receipt(process.ready().0, "first").ok()?;
        (receipt.status == 200 && receipt.json()["status"] == "delivered").then_some(())
    });
}

/// FAULTS C02, N974: the clock of a machine is ten years ahead. Its bridge plans its work by the clock of the database, so
/// the other bridges deliver its events, and nothing expires.
#[test]
fn a_bridge_with_a_wrong_clock_follows_the_database() {
    let database = crate::postgres::database();
    let settings = format!("[outbox]\nurl = \"{}\"", database.url());
    let now = Clock::machine().now();
    let setup = TestApp::setup().settings(settings);
    let app = setup
        .clock(Clock::machine().set_to(now.after(YEARS)))
        .start();
    app.accept(&email("first", "c1", 1));
    app.wait_until("first", "delivered");
    let sql = "SELECT max(accepted_at), max(settled_at) FROM imprint_bridge.entry";
    let times = database.psql(sql);
    for time in times.split('|') {
        let time = Timestamp::from_millis(time.parse().unwrap());
        assert!(time < now.after(DAY), "{time:?}");
    }
}
