//! Tests that the bridge uses only signed parts of a request: event attributes in headers, and the event id in a path.

use std::time::Duration;

use actix_web::HttpMessage as _;

use super::*;
use crate::ingress::auth::Head;
use crate::ingress::auth::hmac::{
    Algorithm, HeaderItems, HmacKeys, HmacScheme, SecretEncoding, SignatureEncoding, SignedText,
    SigningTime, Template, TimeUnit,
};
use crate::outbox::Priority;

const ATTRIBUTES: &str = "{header:ce-id}\n{header:ce-source}\n{header:ce-type}\n{body}";

/// Returns the keys of a source that signs the text `signed`.
fn keys(signed: &str) -> HmacKeys {
    let template: Template = signed.parse().unwrap();
    let signing_time = template.has_timestamp().then(|| SigningTime {
        header: "x-timestamp".parse().unwrap(),
        header_items: HeaderItems::default(),
        unit: TimeUnit::Seconds,
        tolerance: Duration::from_mins(5),
    });
    let scheme = HmacScheme {
        algorithm: Algorithm::Sha256,
        secret_encoding: SecretEncoding::Text,
        header: "x-signature".parse().unwrap(),
        header_items: HeaderItems::default(),
        encoding: SignatureEncoding::Hex,
        signed: SignedText::new(template, signing_time).unwrap(),
    };
    HmacKeys::new(
        scheme,
        &[SecretString::from(SECRET)],
        SecretMinimum::default(),
    )
    .unwrap()
}

/// Creates a listener with two sources. The source `own` signs this text; the source `signed` has an event type whose
/// version is an attribute.
fn listener(signed: &str) -> TestListener {
    let rules = MappingRules {
        imprint_id: Some(".data.customer.imprint_customer_id".to_owned()),
        version: Some(VersionRule {
            expression: ".time".to_owned(),
            domain: VersionDomain::Time,
        }),
        update: [("email".to_owned(), ".data.customer.email".to_owned())].into(),
        ..MappingRules::default()
    };
    let attributed = EventType {
        epoch: 1,
        ..EventType::new(
            Schema::compile("customer", &schema()).unwrap(),
            Mapping::compile(&rules).unwrap(),
            None,
        )
    };
    let secrets = [SecretString::from(SECRET)];
    let mut whole = source("signed");
    whole
        .event_types
        .insert("customer.attributed".to_owned(), attributed);
    let sources = [
        (source("own"), Verifier::hmac(keys(signed))),
        (source("relaxed"), Verifier::hmac(keys(signed))),
        (whole, webhooks(&secrets)),
    ];
    TestListener::of(sources, SETTINGS)
}

/// Returns the request with a signature of its headers and body.
fn sign(
    template: &str,
    (method, path): (&str, &str),
    request: TestRequest,
    body: &[u8],
) -> TestRequest {
    let sent = request.to_request();
    let head = Head {
        method,
        path,
        headers: sent.headers(),
    };
    let lines = keys(template).sign(head, NOW, body).unwrap();
    let mut again = TestRequest::with_uri(path)
        .method(method.parse().unwrap())
        .set_payload(body.to_vec());
    for (name, value) in sent.headers() {
        again = again.append_header((name.clone(), value.clone()));
    }
    lines.into_iter().fold(again, TestRequest::append_header)
}

const POST: (&str, &str) = ("POST", "/v1/sources/own/events");

fn in_binary(template: &str, more: &[(&'static str, &'static str)]) -> TestRequest {
    let data = event("e-1")["data"].to_string();
    let request = binary(TestRequest::post(), "e-1");
    let request = more
        .iter()
        .fold(request, |request, line| request.insert_header(*line));
    sign(template, POST, request, data.as_bytes())
}

#[actix_web::test]
async fn an_hmac_scheme_accepts_its_own_signatures() {
    let listener = listener("{method}{path}{timestamp}{body}");
    let body = event("e-1").to_string();
    let request = || TestRequest::post().insert_header(STRUCTURED);
    let good = sign(
        "{method}{path}{timestamp}{body}",
        POST,
        request(),
        body.as_bytes(),
    );
    let reply = listener.send(good).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let elsewhere = ("POST", "/v1/sources/own/events?x=1");
    for (method, path) in [elsewhere, ("PUT", POST.1)] {
        let signed = sign(
            "{method}{path}{timestamp}{body}",
            (method, path),
            request(),
            body.as_bytes(),
        );
        let moved = signed.uri(POST.1).method(Method::POST);
        let reply = listener.send(moved).await;
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), Some("HMAC"));
    }
}

/// In binary mode an unsigned event attribute ends the request.
#[actix_web::test]
async fn an_unsigned_attribute_is_refused() {
    const ALL: &str =
        "{header:ce-id}\n{header:ce-source}\n{header:ce-type}\n{header:ce-time}\n{body}";
    let time = ("ce-time", "2023-11-14T22:13:20Z");
    for (template, more, status) in [
        (ATTRIBUTES, vec![], 202),
        (ATTRIBUTES, vec![("x-other", "1")], 202),
        (ALL, vec![time], 202),
        ("{body}", vec![], 415),
        ("{header:ce-id}\n{body}", vec![], 415),
        (ATTRIBUTES, vec![time], 415),
        (ATTRIBUTES, vec![("ce-subject", "C-1")], 415),
        (ATTRIBUTES, vec![("ce-tenant", "t-1")], 415),
    ] {
        let listener = listener(template);
        let reply = listener.send(in_binary(template, &more)).await;
        assert_eq!(
            reply.status, status,
            "{template:?} {more:?}: {}",
            reply.text
        );
        assert_eq!(
            listener.stored_count(),
            usize::from(status == 202),
            "{template:?} {more:?}"
        );
    }
}

/// An attacker between sender and bridge changes or adds headers of a request.
#[actix_web::test]
async fn a_changed_attribute_is_refused() {
    for (line, status, problem) in [
        (("ce-id", "e-2"), 401, "unauthenticated"),
        (("ce-source", "/crm/eu"), 401, "unauthenticated"),
        (("ce-type", "customer.timed"), 401, "unauthenticated"),
        (
            ("ce-time", "2023-11-14T22:13:20Z"),
            415,
            "unsupported_media_type",
        ),
        (("ce-subject", "C-2"), 415, "unsupported_media_type"),
    ] {
        let listener = listener(ATTRIBUTES);
        let reply = listener
            .send(in_binary(ATTRIBUTES, &[]).insert_header(line))
            .await;
        reply.is_problem(status, problem);
        assert_eq!(listener.stored_count(), 0, "{line:?}");
    }
}

/// FAULTS S13: a Standard Webhooks signature covers only the id and the body, so an attribute in a header is refused even
/// if the mapping does not read the attribute: source and type also decide the identity and the mapping.
#[actix_web::test]
async fn standard_webhooks_needs_structured_mode() {
    let listener = listener("{body}");
    let data = event("e-1")["data"].clone();
    let request = binary(post("signed", JSON, &data), "e-1");
    let reply = listener
        .send(signed(request, "e-1", data.to_string().as_bytes()))
        .await;
    reply.is_problem(415, "unsupported_media_type");
    let mut whole = event_with("e-1", "/time", json!("2023-11-14T22:13:20Z"));
    whole["type"] = json!("customer.attributed");
    let request = post("signed", STRUCTURED, &whole);
    let reply = listener
        .send(signed(request, "m", whole.to_string().as_bytes()))
        .await;
    assert_eq!(reply.status, 202, "{}", reply.text);
}

/// Without the check of the path, a signature for one receipt would open every other receipt.
#[actix_web::test]
async fn a_receipt_needs_a_signature_over_its_path() {
    for (template, status) in [("{body}", 401), ("{path}{body}", 200)] {
        let listener = listener(template);
        let body = event("e-1").to_string();
        let request = TestRequest::post().insert_header(STRUCTURED);
        let sent = listener
            .send(sign(template, POST, request, body.as_bytes()))
            .await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        let path = "/v1/sources/own/events/e-1";
        let asked = listener
            .send(sign(template, ("GET", path), TestRequest::get(), b""))
            .await;
        assert_eq!(asked.status, status, "{template}: {}", asked.text);
        let moved = sign(template, ("GET", path), TestRequest::get(), b"");
        let moved = listener.send(moved.uri("/v1/sources/own/events/e-2")).await;
        moved.is_problem(401, "unauthenticated");
    }
}

/// FAULTS S14: anybody on the way can add a header that the signature does not cover.
#[actix_web::test]
async fn only_a_covered_priority_puts_events_behind_others() {
    let low = ("priority", "u=7");
    for (source, template, expected) in [
        ("own", "{body}", Priority::Live),
        ("own", "{header:priority}\n{body}", Priority::Low),
        ("relaxed", "{body}", Priority::Low),
    ] {
        let listener = listener(template);
        let body = event("e-1").to_string();
        let request = TestRequest::post()
            .insert_header(STRUCTURED)
            .insert_header(low);
        let path = format!("/v1/sources/{source}/events");
        let reply = listener
            .send(sign(template, ("POST", &path), request, body.as_bytes()))
            .await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let priority = listener.outbox.entries()[0].priority;
        assert_eq!(priority, expected, "{source} {template}");
    }
}
