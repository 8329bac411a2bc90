//! Tests of failed logins: the limits, the log, and what the limits leave alone.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::TOKEN;
use crate::http::{self, Connection};
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp};

const LIST: &str = "GET /admin/v1/entries";

/// Asks for the entries with a token. Returns the status and the value of `Retry-After`.
fn login(ops: SocketAddr, token: &str) -> (u16, Option<String>) {
    let bearer = format!("Bearer {token}");
    let answer = http::ask(ops, LIST, &[("authorization", &bearer)], "").unwrap();
    let retry_after = answer.header("retry-after").map(str::to_owned);
    if answer.status == 429 {
        let problem = "urn:imprint-bridge:problem:too_many_failed_logins";
        assert_eq!(answer.json()["type"], problem);
    }
    (answer.status, retry_after)
}

/// Opens a connection from another address of this machine.
fn connect_from(address: [u8; 4], ops: SocketAddr) -> Connection {
    let from = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&from, &SocketAddr::from((address, 0))).unwrap();
    connect(&from, &ops).unwrap();
    Connection::over(TcpStream::from(from)).unwrap()
}

/// Asks for the entries with a token, from another address of this machine.
fn login_from(address: [u8; 4], ops: SocketAddr, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let answer = connect_from(address, ops).ask(LIST, &[("authorization", &bearer)], "");
    answer.unwrap().status
}

/// FAULTS N501: a program guesses tokens from one address.
#[test]
fn an_address_with_many_wrong_tokens_has_to_wait() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let app = app.start();
    let ops = app.ops();
    for number in 0..10 {
        assert_eq!(login(ops, &format!("guess-{number}")), (401, None));
    }
    app.advance(Duration::from_secs(20));
    for token in ["guess-10", TOKEN] {
        assert_eq!(login(ops, token), (429, Some("40".to_owned())), "{token}");
    }
    for page in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(app.ops_get(page).status, 200, "{page}");
    }
    assert_eq!(http::ask(ops, LIST, &[], "").unwrap().status, 401);
    assert_eq!(login_from([127, 0, 0, 2], ops, TOKEN), 200);
    let denied = |reason| app.metric(&format!("admin_denied_total{{reason=\"{reason}\"}}"));
    assert_eq!(
        (denied("mismatch"), denied("limited")),
        (Some(10.0), Some(2.0))
    );
    app.advance(Duration::from_secs(40));
    assert_eq!(login(ops, TOKEN), (200, None));
}

/// FAULTS N501: a program guesses tokens from many addresses. An operator at work notices nothing.
#[test]
fn all_addresses_together_have_a_limit() {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    let app = app.start();
    let ops = app.ops();
    assert_eq!(login(ops, TOKEN), (200, None));
    let guesses = (0..120).map(|number| login_from([127, 0, 1, number], ops, "guess"));
    let statuses: Vec<u16> = guesses.collect();
    assert_eq!(statuses[..100], [401; 100]);
    assert_eq!(statuses[100..], [429; 20]);
    assert_eq!(login_from([127, 0, 2, 1], ops, TOKEN), 429);
    assert_eq!(login(ops, TOKEN), (200, None));
    app.advance(Duration::from_secs(60));
    assert_eq!(login_from([127, 0, 2, 1], ops, TOKEN), 200);
}

/// FAULTS N501: the log of a guessing program stays short, and contains no token.
#[test]
fn failed_logins_fill_one_line_of_the_log() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    files.write_token("alice", TOKEN);
    let mut process = Process::serve(&files);
    let (_, ops) = process.ready();
    for _ in 0..30 {
        login(ops, "guess-canary");
    }
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    let log = process.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("failed logins of operators"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("127.0.0.1"), "{}", lines[0]);
    assert!(!log.contains("guess-canary"), "{log}");
}

/// FAULTS N1074: a program behind the proxy of the operators guesses tokens.
#[test]
fn behind_a_trusted_proxy_each_operator_has_an_address() {
    let proxies = "[ops]\ntrusted_proxies = [\"127.0.0.9\", \"127.0.9.0/24\"]";
    let app = TestApp::setup().operator("alice", TOKEN).settings(proxies);
    let app = app.manual_clock().start();
    let ask = |from: [u8; 4], client: &str, token: &str| {
        let mut connection = connect_from(from, app.ops());
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("x-forwarded-for", client)];
        connection.ask(LIST, &headers, "").unwrap().status
    };
    let (proxy, other) = ([127, 0, 0, 9], [127, 0, 0, 3]);
    for number in 0..10 {
        let chosen = format!("10.9.9.{number}, 198.51.100.1, 127.0.9.5");
        assert_eq!(ask(proxy, &chosen, "guess"), 401);
        assert_eq!(ask(other, &format!("10.9.8.{number}"), "guess"), 401);
    }
    assert_eq!(ask(proxy, "198.51.100.1", TOKEN), 429);
    assert_eq!(ask(proxy, "198.51.100.2", TOKEN), 200);
    assert_eq!(ask(other, "198.51.100.2", TOKEN), 429);
    assert_eq!(
        ask(proxy, "127.0.0.3", TOKEN),
        429,
        "the proxy names this client"
    );
}
