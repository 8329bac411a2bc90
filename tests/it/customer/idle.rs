//! Tests of idle customers: the store has no event, no receipt and no recent delivery of them.

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn folder(app: &TestApp) -> std::path::PathBuf {
    app.files.store().parent().unwrap().to_owned()
}

/// Delivers version 5 of the customer, and events of other customers, who become the witnesses.
fn fill(app: &TestApp) {
    for (id, customer) in [("E1", CUSTOMER), ("A1", "another"), ("newest", "third")] {
        app.accept(&email(id, customer, 5));
        app.wait_until(id, "delivered");
        app.advance(Duration::from_secs(60));
    }
    assert!(contains(&folder(app), CUSTOMER), "the store is not sealed");
}

/// Checks that no file has the customer, and that an older event of the customer overwrites nothing.
#[track_caller]
fn check_retired(app: &TestApp) {
    app.advance_until("the id is erased", HOUR, |app| {
        !contains(&folder(app), CUSTOMER)
    });
    app.accept(&email("E2", CUSTOMER, 4));
    app.wait_until("E2", "superseded");
    app.accept(&email("E3", CUSTOMER, 6));
    app.wait_until("E3", "delivered");
    assert_eq!(app.imprint.applied(CUSTOMER).len(), 2);
}

/// FAULTS N1462: the store had the id of each customer for ever.
#[test]
fn no_file_has_the_id_of_an_idle_customer() {
    let settings = "[outbox]\nretain_idle_customer = \"2000h\"";
    let app = TestApp::setup().manual_clock().settings(settings).start();
    fill(&app);
    app.advance(720 * HOUR);
    app.advance_until("the receipt is deleted", HOUR, |app| {
        crate::support::receipt(app.ingress(), "E1").unwrap().status == 404
    });
    assert!(contains(&folder(&app), CUSTOMER), "the delivery is newer");
    app.advance(2_000 * HOUR);
    check_retired(&app);
}

/// FAULTS N1463: the bridge ends while it retires customers.
#[cfg(feature = "failpoints")]
#[test]
fn a_crash_in_a_retirement_changes_nothing() {
    use imprint_bridge::time::{Clock, Timestamp};

    use crate::process::Process;

    let long_ago = Timestamp::from_millis(1_600_000_000_000);
    let mut app = TestApp::setup().clock(Clock::manual(long_ago)).start();
    fill(&app);
    app.stop().unwrap();
    let mut serve = crate::process::command(&app.files);
    serve.env("IMPRINT_BRIDGE_FAILPOINTS", "crash:before_retirement:1");
    assert!(!Process::start(serve).wait_for_exit().success());
    assert!(contains(&folder(&app), CUSTOMER), "nothing is committed");
    app.restart_at(Clock::machine().now());
    check_retired(&app);
}
