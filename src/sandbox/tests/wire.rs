//! Tests that send calls over a plain socket, and check the bytes that the sandbox sends for each fault.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use super::*;

/// The time limit for an answer of the sandbox.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A connection counts as silent if no byte arrives in this time.
const SILENCE: Duration = Duration::from_millis(300);

/// A sandbox that listens on its own port.
struct Live(BackgroundSandbox);

impl Live {
    fn start(rules: &Value) -> Self {
        Self::run(settings(), rules)
    }

    fn run(settings: SandboxSettings, rules: &Value) -> Self {
        let live = BackgroundSandbox::start(settings, Clock::machine()).unwrap();
        let rules = Sandbox::parse_rules(rules.to_string().as_bytes()).unwrap();
        live.sandbox.inject(rules).unwrap();
        Self(live)
    }

    fn with(action: &Value) -> Self {
        Self::start(&json!({ "action": action }))
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.0.address).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        Client {
            stream,
            seen: String::new(),
        }
    }

    /// Sends an update of customer `c1`.
    fn send(&self) -> Client {
        let mut client = self.connect();
        client.send();
        client
    }

    fn applied(&self) -> u64 {
        self.0.sandbox.stats().applied
    }

    /// Waits until a call has arrived at the sandbox.
    fn arrived(&self) {
        while self.0.sandbox.stats().requests == 0 {
            thread::yield_now();
        }
    }

    /// Waits until a call has arrived at the sandbox and no call is in flight.
    fn settled(&self) -> LedgerEntry {
        self.arrived();
        while self.0.sandbox.stats().in_flight > 0 {
            thread::yield_now();
        }
        self.0.sandbox.ledger(0, 1).entries.remove(0)
    }
}

struct Client {
    stream: TcpStream,
    seen: String,
}

impl Client {
    fn send(&mut self) {
        let body = r#"{"city":"Reno"}"#;
        let request = format!(
            "POST /v2/customers/c1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).unwrap();
    }

    /// Reads until the received text contains `wanted`.
    fn until(&mut self, wanted: &str) {
        while !self.seen.contains(wanted) {
            let count = self.read().unwrap();
            assert!(count > 0, "{wanted} is not in {}", self.seen);
        }
    }

    /// Reads until the connection ends. Returns the error if the connection did not end normally.
    fn until_end(&mut self) -> Result<(), ErrorKind> {
        while self.read()? > 0 {}
        Ok(())
    }

    fn read(&mut self) -> Result<usize, ErrorKind> {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).map_err(|fault| fault.kind())?;
        self.seen
            .push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        Ok(count)
    }

    fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(SILENCE)).unwrap();
        self.read() == Err(ErrorKind::WouldBlock)
    }

    fn announced_length(&self) -> usize {
        let (_, rest) = self.seen.split_once("content-length: ").unwrap();
        rest.split("\r\n").next().unwrap().parse().unwrap()
    }

    fn body(&self) -> &str {
        self.seen.split_once("\r\n\r\n").unwrap().1
    }
}

#[test]
fn a_real_answer_is_complete_and_the_connection_stays_open() {
    let live = Live::start(&json!([]));
    let mut client = live.connect();
    for _ in 0..2 {
        client.seen.clear();
        client.send();
        client.until("\"updated_at\":");
        assert!(client.seen.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(client.body().len(), client.announced_length());
    }
    assert_eq!(live.applied(), 2);
}

#[test]
fn a_reset_comes_before_the_first_byte() {
    for (action, applied) in [
        (json!({"reset": true}), 0),
        (json!({"reset": true, "after": "apply"}), 1),
    ] {
        let live = Live::with(&action);
        let mut client = live.send();
        assert_eq!(client.until_end(), Err(ErrorKind::ConnectionReset));
        assert_eq!(client.seen, "");
        let entry = live.settled();
        assert_eq!((entry.status, entry.fault), (None, Some("reset")));
        assert_eq!(live.applied(), applied);
    }
}

#[test]
fn a_reset_does_not_affect_the_next_connection() {
    let live = Live::start(&json!({"times": 1, "action": {"reset": true}}));
    assert!(live.send().until_end().is_err());
    live.send().until("HTTP/1.1 200 OK");
}

#[test]
fn an_interim_head_comes_before_the_real_answer() {
    let live = Live::with(&json!({"interim": 103, "then_ms": 100}));
    let mut client = live.send();
    client.until("\r\n\r\n");
    assert_eq!(client.seen, "HTTP/1.1 103 Interim\r\n\r\n");
    client.until("\"updated_at\":");
    assert!(client.body().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_hanging_call_is_never_answered_and_ends_with_its_client() {
    for (action, applied) in [
        (json!({"hang": true}), 0),
        (json!({"hang": true, "after": "apply"}), 1),
    ] {
        let live = Live::with(&action);
        let mut client = live.send();
        assert!(client.is_silent());
        assert_eq!(live.0.sandbox.stats().in_flight, 1);
        drop(client);
        let entry = live.settled();
        assert_eq!((entry.status, entry.fault), (None, Some("hang")));
        assert_eq!(live.applied(), applied);
    }
}

#[test]
fn a_sandbox_stops_while_a_call_hangs() {
    let live = Live::with(&json!({"hang": true}));
    let mut client = live.send();
    live.arrived();
    drop(live);
    assert_eq!(client.until_end(), Ok(()));
    assert_eq!(client.seen, "");
}

#[test]
fn every_answer_has_the_minimum_latency() {
    let sandbox = SandboxSettings {
        latency: SILENCE * 2,
        ..settings()
    };
    let live = Live::run(sandbox, &json!([]));
    let mut client = live.send();
    assert!(client.is_silent());
    client.stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    client.until("HTTP/1.1 200 OK");
}

#[test]
fn a_stalled_body_is_announced_and_never_sent() {
    let live = Live::with(&json!({"stall_body": true}));
    let mut client = live.send();
    client.until("\r\n\r\n");
    assert!(client.announced_length() > 100);
    assert_eq!(client.body(), "");
    assert!(client.is_silent());
    drop(client);
    assert_eq!(live.settled().status, Some(200));
    assert_eq!(live.applied(), 1);
}

#[test]
fn a_short_body_ends_halfway() {
    let live = Live::with(&json!({"short_body": true}));
    let mut client = live.send();
    client.until_end().unwrap();
    assert_eq!(client.body().len(), client.announced_length() / 2);
    assert_eq!(live.applied(), 1);
}

#[test]
fn an_endless_body_goes_on_beyond_4_mib() {
    let live = Live::with(&json!({"endless_body": true}));
    let mut client = live.send();
    let mut bytes = [0; 65_536];
    let mut count = 0;
    while count < 4 * 1024 * 1024 {
        count += client.stream.read(&mut bytes).unwrap();
    }
    drop(client);
    assert_eq!(live.settled().fault, Some("endless_body"));
    assert_eq!(live.applied(), 0);
}

#[test]
fn a_redirect_and_an_empty_error_are_sent_as_requested() {
    let live = Live::start(&json!([
        {"times": 1, "action": {"status": 307, "location": "http://127.0.0.1:1/x", "shape": "empty"}},
        {"action": {"status": 502, "shape": "empty"}},
    ]));
    let mut client = live.send();
    client.until("\r\n\r\n");
    assert!(client.seen.starts_with("HTTP/1.1 307 "));
    assert!(client.seen.contains("location: http://127.0.0.1:1/x\r\n"));
    let mut client = live.send();
    client.until("\r\n\r\n");
    assert!(client.seen.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    assert_eq!((client.announced_length(), client.body()), (0, ""));
}

#[test]
fn a_late_request_is_applied_after_its_client_has_gone() {
    let live = Live::with(&json!({"latency_ms": 300}));
    let client = live.send();
    live.arrived();
    drop(client);
    let entry = live.settled();
    assert_eq!((entry.applied, entry.fault), (true, Some("latency")));
}

#[test]
fn a_request_whose_body_breaks_off_is_not_applied() {
    let live = Live::start(&json!([]));
    let mut client = live.connect();
    let head = format!(
        "POST /v2/customers/c1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{}}"
    );
    client.stream.write_all(head.as_bytes()).unwrap();
    drop(client);
    let entry = live.settled();
    assert!(!entry.applied);
}
