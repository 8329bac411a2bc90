//! Tests of the Imprint client against a server that misbehaves on the wire.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use imprint_bridge::http::egress::{Egress, tls};
use imprint_bridge::imprint::clearing::Clearing;
use imprint_bridge::imprint::client::{ApiKeys, Client, Credential, KeyScheme};
use imprint_bridge::imprint::{
    AnswerFacts, Answered, Cause, Echo, Field, FieldValue, ImprintApi as _, ImprintId, LastCheck,
    Outcome, Rejection, Request, Update,
};
use imprint_bridge::time::Clock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::sync::watch;

use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{KEY, TEST_TIMEOUT, block_on};

mod answers;
mod last_check;
mod look_ups;
mod pairing;
mod proxies;

/// The deadline of an exchange with Imprint that must succeed.
const DEADLINE: Duration = TEST_TIMEOUT;
/// The deadline of an exchange with Imprint that must time out.
const DEADLINE_SHORT: Duration = Duration::from_millis(300);
/// The pause between two pieces of a slow answer from Imprint, far below any deadline.
const DRIP: Duration = Duration::from_millis(20);

/// The largest number of requests that a test keeps in flight.
const CONCURRENCY: usize = 64;
/// The time after which a connection may carry another request: longer than its rest, shorter than its idle time.
const RESTED: Duration = Duration::from_secs(1);

fn client(origin: &str) -> Client {
    client_with(origin, None, Clock::machine())
}

fn client_with(origin: &str, roots: Option<RootCertStore>, clock: Clock) -> Client {
    let tls = tls(roots.map(Arc::new), None).unwrap();
    let (_unchanged, egress) = watch::channel(Arc::new(Egress::direct(tls)));
    client_of(origin, egress, clock)
}

fn client_of(origin: &str, egress: watch::Receiver<Arc<Egress>>, clock: Clock) -> Client {
    let newer = KEY.to_owned().into();
    let keys = ApiKeys {
        newer: &newer,
        older: None,
        merchant: None,
    };
    let credential = Credential::new(KeyScheme::Bearer, keys).unwrap();
    Client::new(origin, Arc::new(credential), egress, clock, CONCURRENCY)
}

/// Creates a client whose connections rest until the test advances the clock.
fn client_with_clock(origin: &str) -> (Client, Clock) {
    let clock = Clock::manual(Clock::machine().now());
    (client_with(origin, None, clock.clone()), clock)
}

/// Returns the outcome of an applied update whose echoed customer has no difference.
fn applied() -> Outcome {
    Outcome::Applied(Echo::default())
}

async fn deliver(client: &Client, customer: &str) -> Outcome {
    deliver_within(client, customer, DEADLINE).await
}

async fn deliver_within(client: &Client, customer: &str, deadline: Duration) -> Outcome {
    answered(client, customer, deadline).await.result
}

/// Returns an update of this customer.
fn request(customer: &str) -> Request {
    let city = (
        Field::parse("city").unwrap(),
        FieldValue::from_value(json!("Reno")),
    );
    Request {
        customer: ImprintId::parse(customer).unwrap(),
        body: Update::from_iter([city]).body(Clearing::default()),
        cleared: Vec::new(),
    }
}

/// Returns the outcome of an update with the facts of the answer.
async fn answered(client: &Client, customer: &str, deadline: Duration) -> Answered<Outcome> {
    let request = request(customer);
    let check = LastCheck::new(|| true);
    client.deliver(request, deadline, &check).await
}

/// Returns the outcome of one update that a new Imprint client sends.
fn outcome(imprint: &RawImprint) -> Outcome {
    block_on(async { deliver(&client(&imprint.origin()), "c1").await })
}

/// Checks the outcome of one scripted exchange with a new Imprint client. The client must not retry.
#[track_caller]
fn check(what: &str, script: impl Fn(Accepted) + Send + Sync + 'static, expected: &Outcome) {
    let imprint = RawImprint::start(script);
    assert_eq!(outcome(&imprint), *expected, "{what}");
    assert!(imprint.connections() <= 1, "{what}");
    assert!(imprint.requests().len() <= 1, "{what}");
}

/// Checks the outcome of an update that the server answers with `answer` before it closes the connection.
#[track_caller]
fn check_answer(answer: &str, expected: &Outcome) {
    let sent = answer.to_owned();
    let script = move |mut accepted: Accepted| {
        accepted.request().unwrap();
        // The client may close the connection before the end of the answer.
        drop(accepted.send(&sent));
    };
    check(&format!("{answer:.100}"), script, expected);
}

/// Builds an HTTP answer with a content length.
fn answer(head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ok(customer: &str) -> String {
    answer("200 OK", &json!({"id": customer}).to_string())
}

/// Builds Imprint's answer about the customer that the request names.
pub(crate) fn own_customer(request: &str) -> String {
    ok(customer_of(request))
}

fn customer_of(request: &str) -> &str {
    let path = request.split(' ').nth(1).unwrap();
    path.strip_prefix("/v2/customers/").unwrap()
}

fn rejected() -> Outcome {
    Outcome::Rejected(Rejection {
        status: 422,
        kind: None,
        param: None,
    })
}

// === requests ===

/// FAULTS X23, M01, M02
#[test]
fn a_request_has_exactly_these_bytes() {
    let imprint = RawImprint::start(|mut accepted| accepted.serve(own_customer));
    let customer = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
    let outcome = block_on(async { deliver(&client(&imprint.origin()), customer).await });
    assert_eq!(outcome, applied());
    let request = imprint.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, r#"{"city":"Reno"}"#);
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(line, format!("POST /v2/customers/{customer} HTTP/1.1"));
    let mut headers: Vec<&str> = headers.split("\r\n").collect();
    headers.retain(|header| !header.starts_with("date: "));
    headers.sort_unstable();
    let expected = [
        "accept-encoding: identity".to_owned(),
        "accept: application/json".to_owned(),
        format!("authorization: Bearer {KEY}"),
        "content-length: 15".to_owned(),
        "content-type: application/json".to_owned(),
        format!("host: {}", imprint.address),
        concat!("user-agent: imprint-bridge/", env!("CARGO_PKG_VERSION")).to_owned(),
    ];
    assert_eq!(headers, expected);
}

// === time ===

/// FAULTS U09, U10, U11: awc's own timeout covers only the head of the answer.
#[test]
fn the_deadline_covers_the_whole_exchange() {
    let drip: fn(&mut Accepted, &str) = |accepted, bytes| {
        while !accepted.is_closed_within(DRIP) {
            drop(accepted.send(bytes));
        }
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n";
    let table: [(&str, &str, Option<&str>); 5] = [
        ("no answer", "", None),
        ("half a head", head, None),
        ("a head that drips", "HTTP/1.1 200 OK\r\nx: ", Some("x")),
        (
            "no body",
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            None,
        ),
        (
            "a body that drips",
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            Some(" "),
        ),
    ];
    for (what, first, then) in table {
        let imprint = RawImprint::start(move |mut accepted| {
            accepted.request().unwrap();
            accepted.send(first).unwrap();
            match then {
                Some(bytes) => drip(&mut accepted, bytes),
                None => accepted.until_closed(),
            }
        });
        let clock = Clock::machine();
        let start = clock.now();
        let outcome = block_on(async {
            deliver_within(&client(&imprint.origin()), "c1", DEADLINE_SHORT).await
        });
        assert_eq!(outcome, Outcome::Unknown(Cause::Deadline), "{what}");
        assert!(clock.now().since(start) < TEST_TIMEOUT / 3, "{what}");
    }
}

// === redirects ===

/// FAULTS U23, X21
#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = RawImprint::start(|mut accepted| accepted.serve(own_customer));
    for status in [301, 302, 303, 307, 308] {
        for location in [
            format!("http://{}/v2/customers/c1", elsewhere.address),
            "/v2/customers/c2".to_owned(),
        ] {
            let head = format!("{status} Elsewhere\r\nlocation: {location}");
            check_answer(&answer(&head, ""), &Outcome::Denied(Cause::Status(status)));
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

// === connections ===

/// FAULTS U01
#[test]
fn a_refused_connection_proves_that_nothing_was_applied() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = block_on(async { deliver(&client(&origin), "c1").await });
    assert_eq!(outcome, Outcome::Unavailable(Cause::Connect));
}

/// FAULTS U03, U13: awc reports some of these disconnects as connect errors, although the request was sent.
#[test]
fn a_connection_that_ends_before_the_answer_leaves_the_outcome_unknown() {
    let unknown = Outcome::Unknown(Cause::Disconnected);
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"id\":\"c1\"";
    check("closed at once", drop, &unknown);
    check(
        "closed without an answer",
        |mut accepted| drop(accepted.request().unwrap()),
        &unknown,
    );
    check("reset", |accepted| accepted.reset(""), &unknown);
    check(
        "reset in the head",
        |accepted| accepted.reset("HTTP/1.1 200"),
        &unknown,
    );
    check(
        "reset in the body",
        move |accepted| accepted.reset(half),
        &unknown,
    );
    check_answer("HTTP/1.1 200 OK\r\ncontent-le", &unknown);
    check_answer(half, &unknown);
}

// === answers ===

/// FAULTS U16, U17, U18, M01, M09
#[test]
fn a_2xx_without_the_customer_is_no_proof() {
    let unreadable = Outcome::Unknown(Cause::Unreadable);
    for body in [
        "",
        "\0\u{1}garbage",
        "<html>200 OK</html>",
        r#"{"id":"c1""#,
        r#"{"error":{"type":"INTERNAL","message":"no"}}"#,
        r#"{"data":[{"id":"c1"}],"total":1}"#,
        r#"["c1"]"#,
    ] {
        check_answer(&answer("200 OK", body), &unreadable);
    }
    check_answer("HTTP/1.1 204 No Content\r\n\r\n", &unreadable);
    check_answer(&ok("c2"), &Outcome::Unknown(Cause::WrongCustomer));
    check_answer(&ok("c1"), &applied());
}

/// FAULTS U34, M08
#[test]
fn of_two_retry_afters_the_longer_counts() {
    let head = "429 Slow\r\nretry-after: 2\r\nretry-after: 7";
    let wait = Some(Duration::from_secs(7));
    check_answer(&answer(head, ""), &Outcome::Throttled(wait));
}

/// FAULTS N1183: operators see the facts of an answer, also if its body does not end in time. No fact is a value.
#[test]
fn an_answer_shows_its_facts() {
    let typed = r#"{"error":{"type":"INVALID_REQUEST_ERROR","message":"jane","param":"email"}}"#;
    let endless = "HTTP/1.1 422 No\r\ncontent-length: 9\r\n\r\n{";
    for (sent, status, (kind, param)) in [
        (
            answer("400 Bad Request", typed),
            400,
            (Some("INVALID_REQUEST_ERROR"), Some("email")),
        ),
        (answer("401 No", "{\"type\":\"JANE\"}"), 401, (None, None)),
        (endless.to_owned(), 422, (None, None)),
    ] {
        let imprint = RawImprint::start(move |mut accepted: Accepted| {
            accepted.request().unwrap();
            accepted.send(&sent).unwrap();
            // The client closes the connection.
            let _end = accepted.request();
        });
        let answered =
            block_on(async { answered(&client(&imprint.origin()), "c1", DEADLINE_SHORT).await });
        let facts = AnswerFacts {
            status,
            kind,
            param: param.map(str::to_owned),
        };
        assert_eq!(answered.facts, Some(facts));
    }
}

/// FAULTS U19: the fake server counts the bytes that it can send before the client closes, kernel buffers included.
#[test]
fn an_endless_answer_is_cut() {
    const SENT_MAX: usize = 64 * 1024 * 1024;
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n{\"id\":\"c1\",\"x\":\"",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let script = move |mut accepted: Accepted| {
            accepted.request().unwrap();
            accepted.send(head).unwrap();
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            let mut sent = 0;
            while accepted.send(&chunk).is_ok() {
                sent += chunk.len();
                assert!(sent < SENT_MAX, "the client takes all of it");
            }
        };
        check(head, script, &Outcome::Unknown(Cause::TooLong));
    }
}

/// FAULTS U21
#[test]
fn an_oversized_head_is_an_error_like_any_other() {
    let many: String = (0..5000).map(|at| format!("x-{at}: y\r\n")).collect();
    for headers in [format!("x: {}\r\n", "y".repeat(1024 * 1024)), many] {
        let body = json!({"id": "c1"}).to_string();
        let length = body.len();
        check_answer(
            &format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{body}"),
            &Outcome::Unknown(Cause::Protocol),
        );
    }
}

/// FAULTS U16: the server's answer is not HTTP.
#[test]
fn an_answer_in_another_protocol_leaves_the_outcome_unknown() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 2xx OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: minus\r\n\r\n",
        "\u{15}\u{3}\u{1}\0\u{2}\u{2}\n",
    ] {
        check_answer(answer, &Outcome::Unknown(Cause::Protocol));
    }
}

// === TLS ===

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(include_str!("tls/ca.pem"))).unwrap();
    roots
}

fn tls_server(
    certificate_pem: &str,
    script: impl Fn(Accepted) + Send + Sync + 'static,
) -> RawImprint {
    tls_server_of(certificate_pem, &[], script)
}

/// Starts a server that speaks these protocols over TLS, the preferred one first.
fn tls_server_of(
    certificate_pem: &str,
    protocols: &[&str],
    script: impl Fn(Accepted) + Send + Sync + 'static,
) -> RawImprint {
    RawImprint::start_tls(tls_config(certificate_pem, protocols), script)
}

pub(crate) fn tls_config(certificate_pem: &str, protocols: &[&str]) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(certificate_pem)], key)
        .unwrap();
    tls.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    Arc::new(tls)
}

/// FAULTS U07, X22: the client sends no part of a request, and so no API key, to a server without a valid certificate.
#[test]
fn an_invalid_certificate_denies_the_request() {
    let localhost = include_str!("tls/localhost.pem");
    let denied = Outcome::Denied(Cause::Certificate);
    for (what, certificate, roots, expected, requests) in [
        ("trusted", localhost, Some(roots()), applied(), 1),
        ("of an unknown issuer", localhost, None, denied.clone(), 0),
        (
            "of another name",
            include_str!("tls/elsewhere.pem"),
            Some(roots()),
            denied.clone(),
            0,
        ),
        (
            "expired",
            include_str!("tls/expired.pem"),
            Some(roots()),
            denied,
            0,
        ),
    ] {
        let imprint = tls_server(certificate, |mut accepted| accepted.serve(own_customer));
        let origin = format!("https://{}", imprint.address);
        let outcome =
            block_on(async { deliver(&client_with(&origin, roots, Clock::machine()), "c1").await });
        assert_eq!(outcome, expected, "{what}");
        assert_eq!(imprint.requests().len(), requests, "{what}");
    }
}

/// FAULTS N563: the library of the HTTP client contains an implementation of HTTP/2 with a known weakness. The client
/// never offers HTTP/2, so no server can lead it there.
#[test]
fn http_2_is_never_spoken() {
    for (protocols, expected, requests) in [
        (&["h2", "http/1.1"][..], applied(), 1),
        (&["h2"], Outcome::Unavailable(Cause::Tls), 0),
    ] {
        let localhost = include_str!("tls/localhost.pem");
        let script = |mut accepted: Accepted| accepted.serve(own_customer);
        let imprint = tls_server_of(localhost, protocols, script);
        let origin = format!("https://{}", imprint.address);
        let client = client_with(&origin, Some(roots()), Clock::machine());
        let outcome = block_on(async { deliver(&client, "c1").await });
        assert_eq!(outcome, expected, "{protocols:?}");
        assert_eq!(imprint.requests().len(), requests, "{protocols:?}");
    }
}

/// FAULTS U08
#[test]
fn a_plain_http_server_in_place_of_tls_gets_no_request() {
    let imprint = RawImprint::start(|mut accepted| {
        // A TLS hello is not an HTTP request, so `request` reads until the client closes the connection.
        drop(accepted.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert_eq!(accepted.request(), None);
    });
    let origin = format!("https://{}", imprint.address);
    let outcome = block_on(async { deliver(&client(&origin), "c1").await });
    assert_eq!(outcome, Outcome::Unavailable(Cause::Tls));
}
