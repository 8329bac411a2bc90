//! Several bridges on one store in PostgreSQL.

use std::time::Duration;

use imprint_bridge::time::Clock;

use super::*;

/// The longest time until a change of the mode reaches every bridge.
const REACHES_ALL: Duration = Duration::from_secs(2);

#[expect(
    clippy::disallowed_methods,
    reason = "the test gives bridges the time to do something wrong"
)]
fn sleep(span: Duration) {
    std::thread::sleep(span);
}

fn mode(process: &Process) -> String {
    let destination = ask_operator(process, "GET /admin/v1/destination", "").json();
    destination["mode"].as_str().unwrap().to_owned()
}

/// Waits until a bridge has this mode. Panics if that takes longer than [`REACHES_ALL`].
#[track_caller]
fn wait_for_mode(process: &Process, expected: &str) {
    let clock = Clock::machine();
    let since = clock.now();
    while mode(process) != expected {
        let took = clock.now().since(since);
        assert!(took < REACHES_ALL, "the mode is not {expected}");
        sleep(Duration::from_millis(20));
    }
}

/// FAULTS N1000: the mode that an operator sets at one bridge reaches every bridge within two seconds.
#[test]
fn the_mode_of_an_operator_reaches_every_bridge() {
    let database = crate::postgres::database();
    let imprint = imprint();
    let (files, other_files) = (files(&imprint, &database), files(&imprint, &database));
    let mut first = Process::serve(&files);
    let second = Process::serve(&other_files);
    assert_eq!(send(&second, &email("before", "c1", 1)).status, 202);
    wait_until_delivered(&second, "before");
    set_mode(&first, "paused");
    wait_for_mode(&second, "paused");
    let calls = imprint.calls().len();
    for customer in 1..=20 {
        let event = email(&format!("paused-{customer}"), &format!("c{customer}"), 2);
        assert_eq!(send(&second, &event).status, 202);
    }
    sleep(Duration::from_secs(1));
    assert_eq!(imprint.calls().len(), calls, "nothing is sent");
    set_mode(&second, "open");
    wait_for_mode(&first, "open");
    for customer in 1..=20 {
        wait_until_delivered(&first, &format!("paused-{customer}"));
    }
    // The change at the second bridge also reaches a bridge that then works alone.
    drop(second);
    assert_eq!(send(&first, &email("alone", "c99", 1)).status, 202);
    wait_until_delivered(&first, "alone");
    set_mode(&first, "shadow");
    first.child.kill().unwrap();
    first.wait_for_exit();
    let third = Process::serve(&other_files);
    assert_eq!(mode(&third), "shadow");
}
