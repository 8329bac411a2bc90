//! Tests of the real program as a process: start, rejection of wrong settings, and shutdown within the deadlines.
//!
//! The process tests run in real time, because no test can move the clock of another process.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use imprint_bridge::time::Clock;
use serde_json::json;

use crate::http::{self, Connection};
use crate::process::{Process, command};
use crate::support::{
    Event, FakeImprint, Files, KEY, POST_EVENTS, metric, post, receipt, wait_for,
};

/// FAULTS N22: the longest time from SIGTERM to the exit of the process.
const STOP_MAX: Duration = Duration::from_secs(25);

/// The capacity of a pipe of Linux.
const PIPE_BYTES: usize = 65_536;

fn receipt_status(ingress: SocketAddr, id: &str) -> String {
    let answer = receipt(ingress, id).unwrap();
    assert_eq!(answer.status, 200, "{id}: {}", answer.body);
    answer.json()["status"].as_str().unwrap().to_owned()
}

// === under load ===

/// The events of one sender, and the answers of the bridge.
#[derive(Default)]
struct Sent {
    /// The ids of the events that the bridge answered with 202.
    accepted: Vec<String>,
    /// The newest accepted revision of each customer.
    newest: BTreeMap<String, u64>,
    /// The bodies of all answers with another status than 202.
    other_answers: Vec<String>,
}

/// Sends one event after the other on one connection. Opens a new connection after a broken one, until the bridge
/// accepts none.
fn send(ingress: SocketAddr, sender: usize, is_stopped: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    let headers = [("content-type", "application/cloudevents+json")];
    let mut number = 0;
    while !is_stopped.load(Ordering::SeqCst) {
        let Ok(mut connection) = Connection::open(ingress) else {
            break;
        };
        loop {
            number += 1;
            let customer = format!("canary-{sender}-{}", number % 20);
            let id = format!("e-{sender}-{number}");
            let event =
                Event::new(&id, &customer, number).email(&format!("canary{number}@example.com"));
            let Ok(answer) = connection.ask(POST_EVENTS, &headers, &event.json().to_string())
            else {
                break;
            };
            if answer.status == 202 {
                sent.accepted.push(id);
                sent.newest.insert(customer, number);
            } else {
                sent.other_answers.push(answer.body);
            }
        }
    }
    sent
}

/// Returns the revision of the e-mail address that the sandbox stores for a customer of [`send`].
fn revision(imprint: &FakeImprint, customer: &str) -> u64 {
    let email = imprint.email(customer).unwrap();
    let number = email.strip_prefix("canary").unwrap();
    number
        .strip_suffix("@example.com")
        .unwrap()
        .parse()
        .unwrap()
}

/// FAULTS P14, P15, K18, N22, V1, V3, V5
#[test]
fn sigterm_under_load_loses_nothing() {
    let imprint = FakeImprint::start(|settings| settings.latency = Duration::from_millis(20));
    let settings = "[imprint]\nconcurrency = 2\n[shutdown]\nlag = 1\n[log]\nfilter = \"debug\"";
    let files = Files::write(imprint.address, KEY, settings);
    let mut process = Process::serve(&files);
    let (ingress, ops) = process.ready();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let senders: Vec<JoinHandle<Sent>> = (0..4)
        .map(|sender| {
            let is_stopped = Arc::clone(&is_stopped);
            let run = move || send(ingress, sender, &is_stopped);
            std::thread::Builder::new().spawn(run).unwrap()
        })
        .collect();
    let page = || http::ask(ops, "GET /metrics", &[], "").unwrap().body;
    wait_for("events are delivered under load", || {
        metric(&page(), "ended_total{state=\"delivered\"}").filter(|delivered| *delivered > 50.0)
    });
    assert_eq!(http::ask(ops, "GET /readyz", &[], "").unwrap().status, 200);
    let clock = Clock::machine();
    let start = clock.now();
    process.terminate();
    wait_for("/readyz answers 503", || {
        let answer = http::ask(ops, "GET /readyz", &[], "").ok()?;
        (answer.status == 503).then(|| assert_eq!(answer.body, "draining\n"))
    });
    // A load balancer that has not noticed the shutdown still sends events.
    let late = Event::new("late", "late", 1)
        .email("late@example.com")
        .json()
        .to_string();
    let headers = [("content-type", "application/cloudevents+json")];
    assert_eq!(post(ingress, &headers, &late).unwrap().status, 202);
    let status = process.wait_for_exit();
    assert!(clock.now().since(start) < STOP_MAX, "{}", process.log());
    assert_eq!(status.code(), Some(0), "{}", process.log());
    is_stopped.store(true, Ordering::SeqCst);
    let sent: Vec<Sent> = senders
        .into_iter()
        .map(|sender| sender.join().unwrap())
        .collect();
    for sent in &sent {
        assert_eq!(sent.other_answers, Vec::<String>::new());
    }
    check_delivered(&files, &imprint, sent);
}

/// Starts another process with the same store, and asserts that Imprint has the newest value of every accepted event.
fn check_delivered(files: &Files, imprint: &FakeImprint, sent: Vec<Sent>) {
    let mut again = Process::serve(files);
    let (ingress, ops) = again.ready();
    wait_for("everything is delivered", || {
        let page = http::ask(ops, "GET /metrics", &[], "").unwrap().body;
        metric(&page, "waiting_entries").filter(|waiting| *waiting == 0.0)
    });
    assert_eq!(receipt_status(ingress, "late"), "delivered");
    for sent in sent {
        for id in &sent.accepted {
            let status = receipt_status(ingress, id);
            assert!(
                ["delivered", "superseded"].contains(&status.as_str()),
                "{id}: {status}"
            );
        }
        for (customer, newest) in &sent.newest {
            // The bridge may also have stored newer events without answering the sender.
            assert!(revision(imprint, customer) >= *newest, "{customer}");
        }
    }
    again.terminate();
    assert_eq!(again.wait_for_exit().code(), Some(0), "{}", again.log());
}

/// FAULTS P15, U11
#[test]
fn imprint_that_hangs_does_not_keep_the_process() {
    let imprint = FakeImprint::start(|_settings| {});
    imprint.inject(&json!({"action": {"hang": true}}));
    let settings = "[imprint]\ndeadline = \"5m\"\n[shutdown]\ndrain = 1";
    let files = Files::write(imprint.address, KEY, settings);
    let mut process = Process::serve(&files);
    let (ingress, _) = process.ready();
    let event = Event::new("hung", "c1", 1)
        .email("canary@example.com")
        .json()
        .to_string();
    let headers = [("content-type", "application/cloudevents+json")];
    assert_eq!(post(ingress, &headers, &event).unwrap().status, 202);
    wait_for("the request is in flight", || {
        (imprint.sandbox.stats().in_flight == 1).then_some(())
    });
    let clock = Clock::machine();
    let start = clock.now();
    process.terminate();
    let status = process.wait_for_exit();
    assert!(clock.now().since(start) < STOP_MAX, "{}", process.log());
    assert_eq!(status.code(), Some(0), "{}", process.log());
    imprint.sandbox.clear_faults();
    let mut again = Process::serve(&files);
    let (ingress, _) = again.ready();
    wait_for("the event is delivered", || {
        (receipt_status(ingress, "hung") == "delivered").then_some(())
    });
    again.terminate();
    assert_eq!(again.wait_for_exit().code(), Some(0), "{}", again.log());
}

/// FAULTS N1176: an operator's token is removed while the bridge stops and still answers.
#[test]
fn a_token_that_is_removed_during_the_shutdown_is_refused() {
    const TOKEN: &str = "op-canary-token-1";
    let imprint = FakeImprint::start(|_| {});
    let files = Files::write(imprint.address, KEY, "[shutdown]\nlag = 20");
    files.write_token("alice", TOKEN);
    let process = Process::serve(&files);
    let (_, ops) = process.ready();
    let bearer = format!("Bearer {TOKEN}");
    let ask = || {
        let headers = [("authorization", bearer.as_str())];
        http::ask(ops, "GET /admin/v1/entries", &headers, "").map(|answer| answer.status)
    };
    assert_eq!(ask().unwrap(), 200);
    process.terminate();
    std::fs::remove_file(files.token_file("alice")).unwrap();
    wait_for("the token is refused", || {
        (ask().ok()? == 401).then_some(())
    });
}

/// FAULTS N1177: SIGHUP comes while the process reads its settings at the start. The process cannot go on, because nobody
/// reads its errors.
#[test]
fn sighup_before_the_start_ends_nothing() {
    let files = Files::write(SocketAddr::from(([127, 0, 0, 1], 1)), KEY, "");
    files.write_settings("[imprint]\nno_such_key = 1");
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'.'; PIPE_BYTES]).unwrap();
    let mut child = command(&files).stderr(writer).spawn().unwrap();
    wait_for("the process handles SIGHUP", || {
        let path = format!("/proc/{}/status", child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        (caught & 1 == 1).then_some(())
    });
    hang_up(&child);
    let mut errors = String::new();
    reader.read_to_string(&mut errors).unwrap();
    assert!(errors.contains("no_such_key"), "{errors}");
    assert!(child.wait().unwrap().code().is_some(), "a signal ended it");
}

/// Sends SIGHUP to the process.
fn hang_up(child: &Child) {
    let kill = format!("kill -HUP {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(killed.success());
}

/// FAULTS N202, N203, S07: SIGHUP does not end the process, which reads its secret files again, also the merchant key.
#[test]
fn sighup_reads_the_secrets_again() {
    const MERCHANT_KEY: &str = "mk_canary";
    let imprint = FakeImprint::start(|settings| {
        settings.merchant_key = Some(MERCHANT_KEY.to_owned().into());
    });
    let files = Files::write(imprint.address, "sk_wrong", "");
    let merchant = files.store_file("merchant");
    std::fs::write(&merchant, "mk_wrong").unwrap();
    let setting = format!("merchant_key_file = \"{}\"", merchant.display());
    files.write_settings(&format!("[imprint]\n{setting}"));
    let mut process = Process::serve(&files);
    let (ingress, ops) = process.ready();
    files.write_key(KEY);
    std::fs::write(&merchant, MERCHANT_KEY).unwrap();
    for _ in 0..3 {
        hang_up(&process.child);
    }
    wait_for("the signal is logged", || {
        process.log().contains("SIGHUP").then_some(())
    });
    let event = Event::new("after", "c1", 1).email("canary@example.com");
    let headers = [("content-type", "application/cloudevents+json")];
    let answer = post(ingress, &headers, &event.json().to_string());
    assert_eq!(answer.unwrap().status, 202);
    wait_for("the new key is used", || {
        (receipt_status(ingress, "after") == "delivered").then_some(())
    });
    assert_eq!(http::ask(ops, "GET /readyz", &[], "").unwrap().status, 200);
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0), "{}", process.log());
}

// === failed starts ===

/// FAULTS P22, D16, K09
#[test]
fn a_second_process_on_the_same_store_exits_and_names_the_first() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    let mut first = Process::serve(&files);
    let (_, ops) = first.ready();
    let mut second = Process::serve(&files);
    let status = second.wait_for_exit();
    assert_eq!(status.code(), Some(1), "{}", second.log());
    let holder = format!("locked by process {}", first.child.id());
    assert!(second.log().contains(&holder), "{}", second.log());
    assert_eq!(http::ask(ops, "GET /readyz", &[], "").unwrap().status, 200);
    first.terminate();
    assert_eq!(first.wait_for_exit().code(), Some(0), "{}", first.log());
}

/// FAULTS K01, K02, K03, K04: the program reports all configuration errors at once, each with its place and without
/// any secret.
#[test]
fn every_error_in_the_configuration_is_reported_at_once() {
    let mistakes = r#"
        [ingress]
        body_bytes_max = 0
        prot = 8080
        [imprint]
        base_url = "http://canary.example.com"
        key_file = "/nowhere/key"
        rate_per_second = -1
        [shutdown]
        lag = 20
        drain = 20
    "#;
    let imprint = SocketAddr::from(([127, 0, 0, 1], 1));
    let files = Files::write(imprint, "canary canary", mistakes);
    let mut process = Process::serve(&files);
    assert_eq!(process.wait_for_exit().code(), Some(2), "{}", process.log());
    let log = process.log();
    // The program reports file names relative to the folder in which it was started.
    for expected in [
        "more.toml: imprint.base_url: must be https",
        "more.toml: imprint.key_file: /nowhere/key cannot be read",
        "more.toml: imprint.rate_per_second: must be a number from 0",
        "more.toml: ingress.body_bytes_max: must be a whole number from 1024",
        "more.toml: ingress.prot: unknown setting",
        "shutdown: lag plus drain",
    ] {
        let lines = log.lines().filter(|line| line.contains(expected)).count();
        assert_eq!(lines, 1, "{expected} in {log}");
    }
    assert_eq!(log.lines().count(), 7, "{log}");
    assert!(log.ends_with("6 errors"), "{log}");
}
