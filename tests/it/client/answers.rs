//! Tests of answers that are unusual or broken HTTP: the client takes every complete answer, and no other.

use std::time::Duration;

use imprint_bridge::imprint::{Cause, Outcome, Rejection};
use imprint_bridge::time::Clock;
use serde_json::{Value, json};

use super::{
    DEADLINE, DEADLINE_SHORT, DRIP, RESTED, answer, applied, check, check_answer, client,
    client_with, client_with_clock, customer_of, deliver, deliver_within, ok, own_customer, roots,
    tls_server,
};
use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::block_on;

const ENDS_WITH_CONNECTION: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

/// The delay of a slow answer: longer than the client waits for a body that it does not need.
const SLOW: Duration = Duration::from_millis(1_200);

const DISCONNECTED: Outcome = Outcome::Unknown(Cause::Disconnected);
const PROTOCOL: Outcome = Outcome::Unknown(Cause::Protocol);
const UNREADABLE: Outcome = Outcome::Unknown(Cause::Unreadable);

/// FAULTS N80, U13, U16: the JSON is complete each time, but the answer is not.
#[test]
fn an_answer_that_breaks_off_proves_nothing() {
    let length_500 = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"id\": \"c1\"}";
    check_answer(length_500, &DISCONNECTED);
    for chunks in [
        "b\r\n{\"id\":\"c1\"}",
        "b\r\n{\"id\":\"c1\"}\r\n",
        "b\r\n{\"id\":\"c1\"}\r\n0\r\n",
        "b\r\n{\"id\":\"c1\"}\r\n0\r\nx-checksum: 7\r\n",
        "ff\r\n{\"id\":\"c1\"}",
    ] {
        check_answer(&format!("{CHUNKED}{chunks}"), &DISCONNECTED);
    }
    let whole = format!("{CHUNKED}b\r\n{{\"id\":\"c1\"}}\r\n0\r\nx-checksum: 7\r\n\r\n");
    check_answer(&whole, &applied());
}

/// FAULTS N80: some statuses decide the outcome without the body of the answer.
#[test]
fn a_status_that_needs_no_body_counts_without_it() {
    for (head, expected) in [
        ("302 Away", Outcome::Denied(Cause::Status(302))),
        ("401 Who", Outcome::Denied(Cause::Status(401))),
        ("403 No", Outcome::Unclear(Cause::Status(403))),
        ("429 Slow", Outcome::Throttled(None)),
        ("500 Down", Outcome::Unavailable(Cause::Status(500))),
    ] {
        check_answer(&cut(head), &expected);
        check(head, without_end(head), &expected);
    }
}

/// FAULTS N212: an answer that can end an entry counts only if it is complete.
#[test]
fn a_rejection_that_breaks_off_or_stalls_proves_nothing() {
    for head in [
        "400 Bad", "404 Gone", "409 No", "410 Gone", "422 No", "451 No",
    ] {
        check_answer(&cut(head), &DISCONNECTED);
        let chunks = format!("HTTP/1.1 {head}\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n");
        check_answer(&chunks, &DISCONNECTED);
        let closed = format!("HTTP/1.1 {head}\r\n\r\n{{\"type\":\"CUSTOMER_NOT_FOUND_ERROR\"");
        check_answer(&closed, &UNREADABLE);
        let imprint = RawImprint::start(without_end(head));
        let outcome = block_on(async {
            deliver_within(&client(&imprint.origin()), "c1", DEADLINE_SHORT).await
        });
        assert_eq!(outcome, Outcome::Unknown(Cause::Deadline), "{head}");
    }
}

/// FAULTS N212: the body of a rejection may arrive as late as the body of any other answer.
#[test]
fn a_slow_rejection_keeps_its_type_and_parameter() {
    let body = "{\"error\":{\"type\":\"INVALID_REQUEST_ERROR\",\"param\":\"email\"}}";
    let imprint = RawImprint::start(move |mut accepted| {
        accepted.request().unwrap();
        let length = body.len();
        accepted
            .send(&format!(
                "HTTP/1.1 400 Bad\r\ncontent-length: {length}\r\n\r\n"
            ))
            .unwrap();
        assert!(!accepted.is_closed_within(SLOW), "the client has gone");
        accepted.send(body).unwrap();
    });
    let outcome = block_on(async { deliver(&client(&imprint.origin()), "c1").await });
    assert_eq!(outcome, invalid_email());
}

/// FAULTS N87: values that are not UTF-8, in a member that the bridge compares and in others, half a surrogate pair,
/// and a byte order mark. An id in which a byte is unreadable is another id.
#[test]
fn the_encoding_of_an_answer_decides_nothing() {
    let wrong = Outcome::Unknown(Cause::WrongCustomer);
    for (body, expected) in [
        (
            &b"{\"id\":\"c1\",\"first_name\":\"M\xfcller\"}"[..],
            applied(),
        ),
        (
            b"{\"id\":\"c1\",\"address\":{\"city\":\"R\xe9no\"}}",
            applied(),
        ),
        (b"{\"id\":\"c1\",\"M\xfcller\":1}", applied()),
        (
            b"{\"id\":\"c1\",\"partner_customer_id\":\"\xfc\"}",
            applied(),
        ),
        (
            b"{\"id\":\"c1\",\"address\":{\"city\":\"\\ud800\"}}",
            applied(),
        ),
        (b"\xef\xbb\xbf{\"id\":\"c1\"}", applied()),
        (b"{\"id\":\"c1\xff\"}", wrong),
        (b"{\"id\":\"c1\",\"first_name\":\"M\xfc", UNREADABLE),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let whole = [head.as_bytes(), body].concat();
        let script = move |mut accepted: Accepted| {
            accepted.request().unwrap();
            drop(accepted.send_bytes(&whole));
        };
        check(&String::from_utf8_lossy(body), script, &expected);
    }
    let detail = b"HTTP/1.1 400 Bad\r\n\r\n{\"type\":\"INVALID_REQUEST_ERROR\",\"param\":\"email\",\"message\":\"\xfc\"}";
    let script = move |mut accepted: Accepted| {
        accepted.request().unwrap();
        drop(accepted.send_bytes(detail));
    };
    check("a typed rejection", script, &invalid_email());
}

/// An answer whose body breaks off.
fn cut(head: &str) -> String {
    format!(
        "HTTP/1.1 {head}\r\ncontent-length: 500\r\n\r\n{{\"type\":\"CUSTOMER_NOT_FOUND_ERROR\"}}"
    )
}

/// Returns a script that sends a head without a length, and then neither a body nor the end of the connection.
fn without_end(head: &str) -> impl Fn(Accepted) + Send + Sync + use<> {
    let open = format!("HTTP/1.1 {head}\r\n\r\n");
    move |mut accepted: Accepted| {
        accepted.request().unwrap();
        accepted.send(&open).unwrap();
        accepted.until_closed();
    }
}

fn invalid_email() -> Outcome {
    Outcome::Rejected(Rejection {
        status: 400,
        kind: Some("INVALID_REQUEST_ERROR"),
        param: Some("email".to_owned()),
    })
}

/// FAULTS N83, U16
#[test]
fn an_answer_that_ends_with_the_connection_counts_if_its_json_is_whole() {
    let wrong = Outcome::Unknown(Cause::WrongCustomer);
    for (body, expected) in [
        ("{\"id\":\"c1\"}", applied()),
        ("{\"id\":\"c1\",\"metadata\":{}}\r\n", applied()),
        ("{\"id\":\"c2\"}", wrong),
        ("{\"id\":\"c1\"", UNREADABLE),
        ("{\"id\":\"c1\",\"metadata\":{}", UNREADABLE),
        ("{\"id\":\"c1\"}{\"id\":\"c1\"}", UNREADABLE),
        ("", UNREADABLE),
    ] {
        check_answer(&format!("{ENDS_WITH_CONNECTION}{body}"), &expected);
        check_answer(&format!("HTTP/1.0 200 OK\r\n\r\n{body}"), &expected);
        check_answer(&format!("{HINTS}HTTP/1.1 200 OK\r\n\r\n{body}"), &expected);
    }
    let typed = "{\"error\":{\"type\":\"INVALID_REQUEST_ERROR\",\"param\":\"email\"}}";
    check_answer(
        &format!("HTTP/1.1 400 Bad\r\n\r\n{typed}"),
        &invalid_email(),
    );
}

/// FAULTS N83: over TLS, a server may end the connection with or without an alert.
#[test]
fn over_tls_only_a_whole_answer_counts() {
    for (body, expected) in [
        (
            format!("{ENDS_WITH_CONNECTION}{{\"id\":\"c1\"}}"),
            applied(),
        ),
        (format!("{ENDS_WITH_CONNECTION}{{\"id\":\"c1\""), UNREADABLE),
        (format!("{CHUNKED}b\r\n{{\"id\":\"c1\"}}\r\n"), DISCONNECTED),
        (format!("{HINTS}{HINTS}{}", ok("c1")), applied()),
        (format!("{}{}", ok("c1"), ok("c1")), PROTOCOL),
    ] {
        let sent = body.clone();
        let imprint = tls_server(include_str!("../tls/localhost.pem"), move |mut accepted| {
            accepted.request().unwrap();
            accepted.send(&sent).unwrap();
        });
        let origin = format!("https://{}", imprint.address);
        let outcome = block_on(async {
            let client = client_with(&origin, Some(roots()), Clock::machine());
            deliver(&client, "c1").await
        });
        assert_eq!(outcome, expected, "{body}");
    }
}

/// FAULTS N82
#[test]
fn interim_answers_are_skipped() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 102 Processing\r\n\r\n".to_owned(),
        HINTS.to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\n{HINTS}"),
        HINTS.repeat(20),
    ] {
        check_answer(&format!("{interim}{}", ok("c1")), &applied());
        check_answer(&interim, &DISCONNECTED);
    }
    check_answer(&HINTS.repeat(1000), &PROTOCOL);
    check_answer("HTTP/1.1 101 Switching\r\nupgrade: h2c\r\n\r\n", &PROTOCOL);
}

/// FAULTS N82: the final answer comes later than the interim answer, and the connection is used again.
#[test]
fn a_connection_with_interim_answers_is_used_again() {
    let imprint = RawImprint::start(|mut accepted| {
        while let Some(request) = accepted.request() {
            accepted.send(HINTS).unwrap();
            assert!(!accepted.is_closed_within(DRIP), "the client has gone");
            accepted.send(&own_customer(&request)).unwrap();
        }
    });
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        for customer in ["c1", "c2", "c3"] {
            assert_eq!(deliver(&client, customer).await, applied(), "{customer}");
            clock.advance(RESTED);
        }
    });
    assert_eq!((imprint.connections(), imprint.requests().len()), (1, 3));
}

/// FAULTS N82: only interim answers arrive until the deadline.
#[test]
fn an_interim_answer_does_not_extend_the_deadline() {
    let imprint = RawImprint::start(|mut accepted| {
        accepted.request().unwrap();
        while !accepted.is_closed_within(DRIP) {
            drop(accepted.send(HINTS));
        }
    });
    let outcome =
        block_on(async { deliver_within(&client(&imprint.origin()), "c1", DEADLINE_SHORT).await });
    assert_eq!(outcome, Outcome::Unknown(Cause::Deadline));
}

/// FAULTS N84, N80: a customer with 200 KiB of metadata.
#[test]
fn a_long_answer_counts_if_it_is_complete() {
    let metadata: Value = (0..6_000)
        .map(|at| (format!("key \"{at}\""), json!("a value with {, } and ,")))
        .collect();
    for (customer, expected) in [
        (json!({"id": "c1", "metadata": metadata}), applied()),
        (
            json!({"metadata": metadata, "id": "c1", "notes": metadata}),
            applied(),
        ),
        (
            json!({"id": "c2", "metadata": metadata}),
            Outcome::Unknown(Cause::WrongCustomer),
        ),
        (json!({"metadata": {"id": "c1", "m": metadata}}), UNREADABLE),
        (json!([{"id": "c1", "metadata": metadata}]), UNREADABLE),
    ] {
        let body = customer.to_string();
        assert!(body.len() > 200 * 1024);
        check_answer(&answer("200 OK", &body), &expected);
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        check_answer(&format!("{CHUNKED}{chunks}"), &expected);
        check_answer(&format!("{ENDS_WITH_CONNECTION}{body}"), &expected);
        let cut = body.get(..body.len() - 1).unwrap();
        check_answer(&format!("{ENDS_WITH_CONNECTION}{cut}"), &UNREADABLE);
        let whole = answer("200 OK", &body);
        check_answer(whole.get(..whole.len() - 1).unwrap(), &DISCONNECTED);
    }
}

/// FAULTS N81: two answers to one request do not show which answer belongs to the request.
#[test]
fn two_answers_to_one_request_prove_nothing() {
    for second in [ok("c1"), answer("500 No", ""), "x".to_owned()] {
        check_answer(&format!("{}{second}", ok("c1")), &PROTOCOL);
        check_answer(&format!("{}{second}", answer("500 No", "")), &PROTOCOL);
    }
    // Some servers send an empty line after the body.
    check_answer(&format!("{}\r\n", ok("c1")), &applied());
}

/// FAULTS N80: a proxy and the client could disagree where such an answer ends.
#[test]
fn an_answer_with_an_ambiguous_end_proves_nothing() {
    for headers in [
        "content-length: 11\r\ntransfer-encoding: chunked",
        "content-length: 11\r\ncontent-length: 12",
        "content-length: +11",
        "transfer-encoding: gzip",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{{\"id\":\"c1\"}}");
        check_answer(&answer, &PROTOCOL);
    }
}

/// FAULTS U10: every byte of an answer arrives alone.
#[test]
fn an_answer_in_single_bytes_counts() {
    let answers = [
        ok("c1"),
        format!("{HINTS}{}", ok("c1")),
        format!("{CHUNKED}5\r\n{{\"id\"\r\n6\r\n:\"c1\"}}\r\n0\r\n\r\n"),
        format!("{ENDS_WITH_CONNECTION}{{\"id\":\"c1\"}}"),
    ];
    for sent in answers {
        let script = move |mut accepted: Accepted| {
            let request = accepted.request().unwrap();
            assert_eq!(customer_of(&request), "c1");
            for byte in sent.chars() {
                accepted.send(&byte.to_string()).unwrap();
                let _is_closed = accepted.is_closed_within(Duration::from_micros(100));
            }
        };
        let imprint = RawImprint::start(script);
        let outcome =
            block_on(async { deliver_within(&client(&imprint.origin()), "c1", DEADLINE).await });
        assert_eq!(outcome, applied());
    }
}
