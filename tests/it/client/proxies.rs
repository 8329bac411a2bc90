//! Tests of the Imprint client behind a proxy.

use std::sync::Arc;
use std::thread;

use imprint_bridge::http::proxy::{Proxy, ProxyError};

use super::*;
use crate::kill::bridge::pause;

/// A host that no resolver knows: the proxy resolves the name.
const HOST: &str = "https://elsewhere.invalid";

/// Returns the means to reach a server with a certificate of the test's authority through this proxy.
fn through(proxy: &str) -> Egress {
    let credentials = "user:pass".to_owned().into();
    let proxy = Proxy::new(proxy, Some(&credentials)).unwrap();
    Egress {
        tls: tls(Some(Arc::new(roots())), None).unwrap(),
        proxy: Some(Arc::new(proxy)),
    }
}

fn deliver_through(proxy: &str) -> Outcome {
    let (_unchanged, egress) = watch::channel(Arc::new(through(proxy)));
    block_on(async { deliver(&client_of(HOST, egress, Clock::machine()), "c1").await })
}

/// Checks the outcome of an update through a proxy with this script. The proxy gets nothing but the name of the host and
/// its own credentials, and nothing of the request.
#[track_caller]
fn check_proxy(what: &str, script: impl Fn(Accepted) + Send + Sync + 'static, expected: &Outcome) {
    let proxy = RawImprint::start(script);
    assert_eq!(deliver_through(&proxy.origin()), *expected, "{what}");
    assert_eq!(
        proxy.requests(),
        [
            "CONNECT elsewhere.invalid:443 HTTP/1.1\r\nhost: elsewhere.invalid:443\r\n\
             proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n"
        ],
        "{what}"
    );
}

fn unavailable(error: ProxyError) -> Outcome {
    Outcome::Unavailable(Cause::Proxy(error))
}

/// FAULTS N700
#[test]
fn a_proxy_sees_only_the_name_of_the_host() {
    let certificate = include_str!("../tls/elsewhere.pem");
    let imprint = tls_server(certificate, |mut accepted| accepted.serve(own_customer));
    let server = imprint.address;
    check_proxy(
        "an honest proxy",
        move |mut accepted| {
            accepted.request().unwrap();
            let answer = "HTTP/1.1 200 Connection established\r\nvia: proxy\r\n\r\n";
            accepted.send(answer).unwrap();
            accepted.tunnel(server);
        },
        &applied(),
    );
    let requests = imprint.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains(KEY) && !requests[0].contains("dXNlcjpwYXNz"));
}

/// FAULTS N701: the outcome says that Imprint got nothing, and names the fault of the proxy.
#[test]
fn a_hostile_proxy_gets_no_part_of_a_request() {
    let protocol = unavailable(ProxyError::Protocol);
    for (answer, expected) in [
        (
            "HTTP/1.1 407 Denied\r\ncontent-length: 6\r\n\r\ncanary".to_owned(),
            unavailable(ProxyError::Status(407)),
        ),
        (
            "HTTP/1.1 502 Bad\r\n".to_owned(),
            unavailable(ProxyError::Status(502)),
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\n\r\n".to_owned(),
            unavailable(ProxyError::Status(302)),
        ),
        ("HTTP/1.1 100 Continue\r\n\r\n".to_owned(), protocol.clone()),
        (
            "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(),
            protocol.clone(),
        ),
        (
            "\u{15}\u{3}\u{1}\0\u{2}\u{2}\n".to_owned(),
            protocol.clone(),
        ),
        (
            format!("HTTP/1.1 200 {}", "a".repeat(1 << 20)),
            protocol.clone(),
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(1 << 18)),
            protocol,
        ),
        (
            "HTTP/1.1 200 OK\r\n".to_owned(),
            unavailable(ProxyError::Disconnected),
        ),
        (String::new(), unavailable(ProxyError::Disconnected)),
    ] {
        let what = format!("{answer:.60}");
        let script = move |mut accepted: Accepted| {
            accepted.request().unwrap();
            // The client may close the connection before the end of the answer.
            drop(accepted.send(&answer));
        };
        check_proxy(&what, script, &expected);
    }
}

/// FAULTS N701: the proxy pretends to be Imprint.
#[test]
fn a_proxy_with_another_certificate_is_not_imprint() {
    for (what, certificate, expected) in [
        (
            "a certificate of another name",
            include_str!("../tls/localhost.pem"),
            Outcome::Denied(Cause::Certificate),
        ),
        ("plain HTTP", "", Outcome::Unavailable(Cause::Tls)),
    ] {
        let script = move |mut accepted: Accepted| {
            accepted.request().unwrap();
            accepted.send("HTTP/1.1 200 OK\r\n\r\n").unwrap();
            if certificate.is_empty() {
                pause(DRIP);
                drop(accepted.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
                // The client sends a TLS hello, which is no request, and closes the connection.
                assert_eq!(accepted.request(), None);
            } else {
                accepted.speak_tls(tls_config(certificate, &[]));
                assert_eq!(accepted.request(), None);
            }
        };
        check_proxy(what, script, &expected);
    }
}

/// FAULTS N701: a proxy that does not answer, and a proxy that answers slowly and never ends.
#[test]
fn a_slow_proxy_meets_the_deadline() {
    let late = unavailable(ProxyError::Deadline);
    let silent = |mut accepted: Accepted| {
        accepted.request().unwrap();
        accepted.until_closed();
    };
    let slow = |mut accepted: Accepted| {
        accepted.request().unwrap();
        let head = "HTTP/1.1 200 OK\r\n"
            .chars()
            .chain("a: b\r\n".chars().cycle());
        for byte in head {
            if accepted.send(&byte.to_string()).is_err() {
                return;
            }
            pause(DRIP);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| check_proxy("silent", silent, &late));
        check_proxy("slow", slow, &late);
    });
}

/// FAULTS N701
#[test]
fn an_unreachable_proxy_is_the_cause() {
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let refused = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let unknown = "http://proxy.invalid:3128";
    assert_eq!(deliver_through(&refused), unavailable(ProxyError::Connect));
    assert_eq!(deliver_through(unknown), unavailable(ProxyError::Dns));
}

/// FAULTS N704: after a change of the certificate or of the credentials, no connection with the earlier ones carries
/// another request.
#[test]
fn a_change_ends_the_idle_connections() {
    let imprint = RawImprint::start(|mut accepted| accepted.serve(own_customer));
    let direct = || Arc::new(Egress::direct(tls(None, None).unwrap()));
    let (change, egress) = watch::channel(direct());
    let clock = Clock::manual(Clock::machine().now());
    block_on(async {
        let client = client_of(&imprint.origin(), egress, clock.clone());
        for (customer, connections) in [("c1", 1), ("c2", 1), ("c3", 2), ("c4", 2)] {
            if customer == "c3" {
                change.send_replace(direct());
            }
            assert_eq!(deliver(&client, customer).await, applied());
            assert_eq!(imprint.connections(), connections, "{customer}");
            clock.advance(RESTED);
        }
    });
}
