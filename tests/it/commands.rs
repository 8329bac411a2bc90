//! The commands that a person runs: what they print, and what their exit codes say.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Event, TestApp};

/// Runs the program in the project's root with this on its standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments has ended before it reads.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_demo_ends_with_every_customer_right_and_figures_that_add_up() {
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
fn check_finds_no_fault_in_what_is_shipped() {
    let output = run(&["check"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("customer.changed: crm/customer-changed.v1.json maps 26 fields"),
        "{said}"
    );
    assert!(said.ends_with("no errors\n"), "{said}");
}

#[test]
fn send_says_how_many_of_a_stream_were_accepted() {
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
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("s-3") && complaint.contains("/data/customer/email"),
        "{complaint}"
    );
    assert!(!complaint.contains("canary"), "{complaint}");
    let low = [&arguments[..], &["--low-priority"]].concat();
    let output = run(&low, &lines(&[event("s-5", "C-3", 1)]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    app.wait_until("s-5", "delivered");
    app.wait_until("s-2", "delivered");
    app.wait_until("s-4", "delivered");
    assert_eq!(run(&arguments, "no JSON").status.code(), Some(2));
}
