//! Tests of Imprint's retrieve and search calls on the wire: the request bytes, the result of each answer, and the
//! rules of the shared connection pool.

use std::net::TcpListener;
use std::time::Duration;

use imprint_bridge::imprint::client::Client;
use imprint_bridge::imprint::{
    Cause, ImprintApi as _, ImprintId, LookupResult, Outcome, PartnerCustomerId, resolve_ambiguous,
};
use imprint_bridge::sandbox::Sandbox;
use serde_json::{Value, json};

use super::{
    DEADLINE, DEADLINE_SHORT, RESTED, answer, applied, client, client_with_clock, deliver, ok,
    own_customer, rejected,
};
use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{FakeImprint, KEY, block_on};

/// The two lookup calls of Imprint.
#[derive(Clone, Copy, Debug)]
enum Lookup {
    Retrieve,
    Search,
}

const BOTH: [Lookup; 2] = [Lookup::Retrieve, Lookup::Search];

/// Looks up the customer "c1" at Imprint.
async fn look_up(client: &Client, lookup: Lookup, deadline: Duration) -> LookupResult {
    match lookup {
        Lookup::Retrieve => {
            let customer = ImprintId::parse("c1").unwrap();
            client.retrieve(customer, deadline).await.result
        }
        Lookup::Search => search(client, "c1", deadline).await,
    }
}

async fn search(client: &Client, partner: &str, deadline: Duration) -> LookupResult {
    let partner = PartnerCustomerId::parse(partner).unwrap();
    client.search(partner, deadline).await.result
}

fn one(customer: &str) -> LookupResult {
    LookupResult::Found(ImprintId::parse(customer).unwrap())
}

fn unknown(cause: Cause) -> LookupResult {
    LookupResult::Failed(Outcome::Unknown(cause))
}

fn page(hits: &Value) -> String {
    let page = json!({"data": hits, "has_more": false, "total": 0});
    answer("200 OK", &page.to_string())
}

/// Checks the result of one scripted lookup by a new Imprint client. The client must not retry.
#[track_caller]
fn check(
    lookup: Lookup,
    what: &str,
    script: impl Fn(Accepted) + Send + Sync + 'static,
    expected: &LookupResult,
) {
    let imprint = RawImprint::start(script);
    let found = block_on(async { look_up(&client(&imprint.origin()), lookup, DEADLINE).await });
    assert_eq!(found, *expected, "{lookup:?} {what}");
    assert!(imprint.connections() <= 1, "{lookup:?} {what}");
    assert!(imprint.requests().len() <= 1, "{lookup:?} {what}");
}

/// Checks the result of a lookup that the server answers with `answer` before it closes the connection.
#[track_caller]
fn check_answer(lookup: Lookup, answer: &str, expected: &LookupResult) {
    let sent = answer.to_owned();
    let script = move |mut accepted: Accepted| {
        accepted.request().unwrap();
        // The client may close the connection before the end of the answer.
        drop(accepted.send(&sent));
    };
    check(lookup, &format!("{answer:.100}"), script, expected);
}

// === requests ===

/// FAULTS X23, M01, M02, M10
#[test]
fn a_lookup_has_exactly_these_bytes() {
    for (lookup, target) in [
        (Lookup::Retrieve, "/v2/customers/c1"),
        (
            Lookup::Search,
            "/v2/customers?partner_customer_id=c1&limit=10",
        ),
    ] {
        let imprint = RawImprint::start(|mut accepted| accepted.serve(|_request| ok("c1")));
        block_on(async { look_up(&client(&imprint.origin()), lookup, DEADLINE).await });
        let request = imprint.requests().remove(0);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "");
        let (line, headers) = head.split_once("\r\n").unwrap();
        assert_eq!(line, format!("GET {target} HTTP/1.1"));
        let mut headers: Vec<&str> = headers.split("\r\n").collect();
        headers.retain(|header| !header.starts_with("date: "));
        headers.sort_unstable();
        let expected = [
            "accept-encoding: identity".to_owned(),
            "accept: application/json".to_owned(),
            format!("authorization: Bearer {KEY}"),
            // awc adds `content-length: 0` to every request without a body.
            "content-length: 0".to_owned(),
            format!("host: {}", imprint.address),
            concat!("user-agent: imprint-bridge/", env!("CARGO_PKG_VERSION")).to_owned(),
        ];
        assert_eq!(headers, expected, "{lookup:?}");
    }
}

/// FAULTS M01, M02, M10, M12: a search sends any partner customer id as the value of exactly one filter, and this
/// value is never blank.
#[test]
fn a_partner_id_stays_inside_its_filter() {
    let imprint = RawImprint::start(|mut accepted| accepted.serve(|_request| page(&json!([]))));
    let ids = [
        "4711",
        "a&limit=1000",
        "a&partner_customer_id=",
        "../../v2/keys",
        "c1/link",
        "?a=b#c",
        "%20",
        "a b+c",
        "jane@example.com",
        "\u{200b}",
        "客戶",
        &"\u{10ffff}".repeat(256),
    ];
    block_on(async {
        let client = client(&imprint.origin());
        for id in ids {
            assert_eq!(
                search(&client, id, DEADLINE).await,
                LookupResult::NotFound,
                "{id}"
            );
        }
    });
    let requests = imprint.requests();
    assert_eq!(requests.len(), ids.len());
    for (request, id) in requests.iter().zip(ids) {
        let target = request.split(' ').nth(1).unwrap();
        let filter = target
            .strip_prefix("/v2/customers?partner_customer_id=")
            .and_then(|rest| rest.strip_suffix("&limit=10"))
            .unwrap_or_else(|| panic!("{target}"));
        let is_one = |c: char| c.is_ascii_alphanumeric() || "-_%".contains(c);
        assert!(!filter.is_empty() && filter.chars().all(is_one), "{target}");
        let decoded = percent_encoding::percent_decode_str(filter);
        assert_eq!(decoded.decode_utf8().unwrap(), id);
    }
}

// === one answer, one request ===

/// FAULTS U37
#[test]
fn a_lookup_answered_after_the_deadline_is_never_taken_for_another_request() {
    for lookup in BOTH {
        let imprint = RawImprint::start(|mut accepted| {
            if accepted.number > 0 {
                return accepted.serve(|_request| answer("422 No", ""));
            }
            accepted.request().unwrap();
            accepted.serve(|_request| ok("second"));
        });
        block_on(async {
            let client = client(&imprint.origin());
            let found = look_up(&client, lookup, DEADLINE_SHORT).await;
            let late = LookupResult::Failed(Outcome::Unavailable(Cause::Deadline));
            assert_eq!(found, late, "{lookup:?}");
            assert_eq!(deliver(&client, "second").await, rejected(), "{lookup:?}");
        });
    }
}

/// FAULTS N81: a late answer to a retrieve could be taken for the answer to an update of the same customer.
#[test]
fn lookups_and_updates_share_connections_but_not_for_one_customer() {
    let imprint = RawImprint::start(|mut accepted| accepted.serve(own_customer));
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        assert_eq!(
            look_up(&client, Lookup::Retrieve, DEADLINE).await,
            one("c1")
        );
        clock.advance(RESTED);
        assert_eq!(deliver(&client, "c2").await, applied());
        assert_eq!(imprint.connections(), 1);
        clock.advance(RESTED);
        assert_eq!(deliver(&client, "c1").await, applied());
        assert_eq!(imprint.connections(), 2);
        clock.advance(RESTED);
        assert_eq!(deliver(&client, "c3").await, applied());
    });
    assert_eq!((imprint.connections(), imprint.requests().len()), (2, 4));
}

// === failures ===

/// FAULTS U01, U03, U13, U16, U23
#[test]
fn a_lookup_without_an_answer_has_a_cause() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let refusing = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for lookup in BOTH {
        let found = block_on(async { look_up(&client(&refusing), lookup, DEADLINE).await });
        let expected = LookupResult::Failed(Outcome::Unavailable(Cause::Connect));
        assert_eq!(found, expected, "{lookup:?}");
        check(
            lookup,
            "closed at once",
            drop,
            &unknown(Cause::Disconnected),
        );
        check(
            lookup,
            "reset in the body",
            |accepted| accepted.reset("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"),
            &unknown(Cause::Disconnected),
        );
        let away = answer("307 Elsewhere\r\nlocation: /v2/customers/c2", "");
        let denied = LookupResult::Failed(Outcome::Denied(Cause::Status(307)));
        check_answer(lookup, &away, &denied);
    }
}

/// FAULTS N80, N84: a long customer is read, but a page without one of its hits proves nothing.
#[test]
fn a_long_answer_to_a_lookup_is_read_or_fails() {
    let metadata = json!({"note": "x".repeat(200_000)});
    let customer = json!({"metadata": metadata, "id": "c1"});
    let customer = answer("200 OK", &customer.to_string());
    check_answer(Lookup::Retrieve, &customer, &one("c1"));
    for hits in [
        json!([{"id": "c1", "partner_customer_id": "c1", "metadata": metadata}]),
        json!([{"id": "c2", "metadata": metadata}]),
    ] {
        check_answer(Lookup::Search, &page(&hits), &unknown(Cause::TooLong));
    }
    let cut = customer.get(..100_000).unwrap();
    check_answer(Lookup::Retrieve, cut, &unknown(Cause::Disconnected));
}

/// FAULTS N82, N83
#[test]
fn a_lookup_reads_interim_answers_and_answers_that_end_with_the_connection() {
    for interim in ["", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"] {
        let found = format!("{interim}{}", ok("c1"));
        check_answer(Lookup::Retrieve, &found, &one("c1"));
        let page = json!({"data": [{"id": "c1", "partner_customer_id": "c1"}], "total": 1});
        let found = format!("{interim}HTTP/1.1 200 OK\r\n\r\n{page}");
        check_answer(Lookup::Search, &found, &one("c1"));
        let cut = found.strip_suffix('}').unwrap();
        check_answer(Lookup::Search, cut, &unknown(Cause::Unreadable));
    }
}

// === the sandbox ===

/// FAULTS M12, M13: the sandbox answers lookups as Imprint documents them, and the Imprint client understands the
/// answers.
#[test]
fn the_sandbox_finds_one_customer_none_or_several() {
    let sandbox = FakeImprint::start(|_settings| {});
    let upper = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
    let seed = json!([
        {"id": upper, "partner_customer_id": "a b&c=ü"},
        {"id": "c2", "partner_customer_id": "twice"},
        {"id": "c3", "partner_customer_id": "twice"},
        {"id": "c4"},
    ]);
    let seeds = Sandbox::parse_seed(seed.to_string().as_bytes()).unwrap();
    sandbox.sandbox.seed(seeds).unwrap();
    block_on(async {
        let client = client(&format!("http://{}", sandbox.address));
        for (partner, expected) in [
            ("a b&c=ü", one(upper)),
            ("a b&c=", LookupResult::NotFound),
            ("twice", LookupResult::Ambiguous),
            ("c4", LookupResult::NotFound),
        ] {
            let found = search(&client, partner, DEADLINE).await;
            assert_eq!(found, expected, "{partner}");
        }
        for (customer, expected) in [
            (upper, one(upper)),
            ("c4", one("c4")),
            ("c5", LookupResult::NotFound),
        ] {
            let customer = ImprintId::parse(customer).unwrap();
            let found = client.retrieve(customer.clone(), DEADLINE).await.result;
            assert_eq!(found, expected, "{customer:?}");
        }
    });
}

/// FAULTS M05: a retrieve shows whether an update with an unclear 404 was denied or named a customer that does not
/// exist.
#[test]
fn a_retrieve_resolves_an_unclear_update() {
    let sandbox = FakeImprint::start(|_settings| {});
    let seed = json!([{"id": "c1"}]);
    let seeds = Sandbox::parse_seed(seed.to_string().as_bytes()).unwrap();
    sandbox.sandbox.seed(seeds).unwrap();
    sandbox.inject(&json!([{"method": "POST", "action": {"status": 404, "shape": "html"}}]));
    block_on(async {
        let client = client(&format!("http://{}", sandbox.address));
        let cause = Cause::Status(404);
        for (customer, expected) in [("c1", Outcome::Denied(cause)), ("c2", Outcome::NotFound)] {
            let outcome = deliver(&client, customer).await;
            assert_eq!(outcome, Outcome::Unclear(cause), "{customer}");
            let id = ImprintId::parse(customer).unwrap();
            let found = client.retrieve(id, DEADLINE).await.result;
            assert_eq!(resolve_ambiguous(cause, found), expected, "{customer}");
        }
    });
}
