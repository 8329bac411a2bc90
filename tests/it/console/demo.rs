//! Test of the console of `demo --keep`.

use std::process::Command;

use super::{Browser, TOKEN};
use crate::process::Process;
use crate::support::wait_for;

/// FAULTS N877
#[test]
fn a_kept_demo_prints_where_to_log_in_and_has_entries_that_wait_for_a_decision() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    demo.args(["demo", "--keep", "--events", "100"]);
    let mut process = Process::start(demo);
    let (ops, token) = wait_for("the demo prints the address of the console", || {
        let log = process.log();
        let is_running = process.child.try_wait().unwrap().is_none();
        assert!(is_running, "{log}");
        let (_, rest) = log.split_once("console ")?;
        let (address, rest) = rest.trim_start().strip_prefix("http://")?.split_once('/')?;
        let (_, rest) = rest.split_once("token ")?;
        let token = rest.split_whitespace().next()?;
        Some((address.parse().unwrap(), token.to_owned()))
    });
    let mut browser = Browser { ops, cookie: None };
    let guess = browser.post("/login", &[("token", TOKEN)]);
    assert_eq!(guess.status, 401);
    let answer = browser.post("/login", &[("token", &token), ("next", "/entries")]);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/entries"))
    );
    let list = wait_for("the rejected entries are parked", || {
        Some(browser.page("/entries")).filter(|page| page.matches(">parked<").count() == 3)
    });
    assert!(list.contains("demo-rejected-1"), "{list}");
    assert!(list.contains(">Replay…<"), "{list}");
    process.terminate();
    let status = process.wait_for_exit();
    assert_eq!(status.code(), Some(0), "{}", process.log());
}
