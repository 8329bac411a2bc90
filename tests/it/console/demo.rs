//! Test of the console of `demo --keep`.

use std::fs;
use std::process::Command;

use super::{Browser, TOKEN};
use crate::process::Process;
use crate::support::wait_for;

/// Returns the number of threads of a process, and the number of its threads that are confined.
fn confined_threads(process: u32) -> (usize, usize) {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let states = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let is_confined = |state: &String| {
        ["NoNewPrivs:\t1", "Seccomp:\t2"]
            .iter()
            .all(|line| state.lines().any(|found| found == *line))
    };
    let states: Vec<String> = states.collect();
    let confined = states.iter().filter(|state| is_confined(state)).count();
    (states.len(), confined)
}

/// FAULTS N877, N880
#[test]
fn a_kept_demo_prints_where_to_log_in_and_has_entries_that_wait_for_a_decision() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    let temporary = tempfile::tempdir().unwrap();
    demo.args(["demo", "--keep", "--events", "100"])
        .env("TMPDIR", temporary.path());
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
    let (threads, confined) = confined_threads(process.child.id());
    assert!(
        threads > 3 && threads == confined,
        "{confined} of {threads}"
    );
    process.terminate();
    let status = process.wait_for_exit();
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
