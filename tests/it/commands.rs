//! Tests of the command line: the output and the exit code of each command.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Event, TestApp};

/// Runs the program in the root of the project, with `input` on its standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that rejects its arguments exits without reading its standard input.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_demo_ends_with_correct_customers_and_consistent_figures() {
    let output = run(&["demo", "--events", "600", "--json"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let figures: Value =
        serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    let figure = |name: &str| {
        figures[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} in {figures}"))
    };
    let ended: u64 = ["delivered", "superseded", "ignored", "parked"]
        .into_iter()
        .map(figure)
        .sum();
    assert_eq!(figure("accepted"), ended, "{figures}");
    assert_eq!(
        figure("accepted") + figure("duplicates") + figure("refused"),
        600,
        "{figures}"
    );
    assert!(
        figure("refused") > 0 && figure("duplicates") > 0 && figure("superseded") > 0,
        "{figures}"
    );
    assert!(
        figure("requests") >= figure("delivered").min(1) && figures["seconds"].is_f64(),
        "{figures}"
    );
}

#[test]
fn check_finds_no_error_in_the_sources_of_this_repository() {
    let output = run(&["check"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("customer.changed: crm/customer-changed.v1.json maps 26 fields"),
        "{stdout}"
    );
    assert!(stdout.ends_with("no errors\n"), "{stdout}");
}

#[test]
fn send_reports_how_many_events_were_accepted() {
    let app = TestApp::start();
    let to = format!("http://{}", app.ingress());
    let lines = |events: &[Event]| {
        events
            .iter()
            .map(|event| format!("{}\n", event.json()))
            .collect::<String>()
    };
    let arguments = ["send", "--to", &to, "--source", "crm", "--quiet"];
    let event = |id: &str, customer: &str, revision| {
        Event::new(id, customer, revision).email(&format!("{id}@example.com"))
    };
    let good = [
        event("s-1", "C-1", 1),
        event("s-2", "C-1", 2),
        event("s-1", "C-1", 1),
    ];
    let output = run(&arguments, &lines(&good));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout).lines().last().unwrap(),
        "sent 3: 2 accepted, 1 duplicates, 0 refused, 0 failed"
    );
    let canary = event("s-3", "C-2", 1).email("canary at nowhere");
    let output = run(&arguments, &lines(&[canary, event("s-4", "C-2", 2)]));
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("s-3") && stderr.contains("/data/customer/email"),
        "{stderr}"
    );
    assert!(!stderr.contains("canary"), "{stderr}");
    let low = [&arguments[..], &["--low-priority"]].concat();
    let output = run(&low, &lines(&[event("s-5", "C-3", 1)]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    app.wait_until("s-5", "delivered");
    app.wait_until("s-2", "delivered");
    app.wait_until("s-4", "delivered");
    assert_eq!(run(&arguments, "no JSON").status.code(), Some(2));
}
