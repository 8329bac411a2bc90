use super::*;
use http::Method;

const EVENTS: &str = "/v1/sources/open/events";
const EVENT: &str = "/v1/sources/open/events/e-1";

fn call(method: &str, path: &str) -> TestRequest {
    TestRequest::with_uri(path).method(Method::from_bytes(method.as_bytes()).unwrap())
}

/// FAULTS I16
#[actix_web::test]
async fn every_other_method_is_405_with_those_that_are_allowed() {
    let listener = TestListener::new();
    for (path, allow, methods) in [
        (
            EVENTS,
            "HEAD, OPTIONS, POST",
            ["GET", "PUT", "DELETE", "PATCH", "TRACE", "X", "Y"],
        ),
        (
            EVENT,
            "GET",
            ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "X"],
        ),
    ] {
        for method in methods {
            let reply = listener.send(call(method, path)).await;
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.header("allow"), Some(allow));
        }
    }
    assert_eq!(listener.refused_count("method_not_allowed"), 14);
}

/// FAULTS I16: the listener accepts no trailing slash, normalises no path, and never redirects.
#[actix_web::test]
async fn every_other_path_is_404() {
    let listener = TestListener::new();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/sources",
        "/v1/sources/open",
        "/v1/sources/open/",
        "/v1/sources//events",
        "/v1/sources/open/events/",
        "//v1/sources/open/events",
        "/v1/sources/open/events/e-1/",
        "/V1/sources/open/events",
        "/v1/sources/open/events/../events",
        "/metrics",
        "/v2/sources/open/events",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let reply = listener.send(call(method, path)).await;
            reply.is_problem(404, "not_found");
        }
    }
}

#[actix_web::test]
async fn a_source_that_is_not_configured_is_unknown() {
    let listener = TestListener::new();
    for name in [
        "other",
        "OPEN",
        "open%20",
        "..",
        "%2e%2e",
        "a%2Fb",
        &"x".repeat(2000),
    ] {
        let reply = listener.send(post(name, STRUCTURED, &event("e-1"))).await;
        reply.is_problem(404, "unknown_source");
        let reply = listener
            .send(call("OPTIONS", &format!("/v1/sources/{name}/events")))
            .await;
        reply.is_problem(404, "unknown_source");
    }
}

/// FAULTS N344: origins are DNS names, so letter case does not matter, and the sender learns the rate that the quota of
/// the source allows.
#[actix_web::test]
async fn the_handshake_grants_only_origins_on_the_list() {
    let limited = Settings {
        quota: QuotaLimits {
            rate: RateLimit::PerSecond {
                events: 7,
                burst: 100,
            },
            ..QuotaLimits::NONE
        },
        ..SETTINGS
    };
    for (settings, rate) in [(SETTINGS, "*"), (limited, "420")] {
        let listener = TestListener::with(settings);
        for (origin, is_granted) in [
            (Some("crm.example.com"), true),
            (Some("CRM.Example.Com"), true),
            (Some("evil.example.com"), false),
            (Some("crm.example.com.evil.example"), false),
            (Some("*"), false),
            (Some(""), false),
            (None, false),
        ] {
            for asks_for_rate in [true, false] {
                let mut request = call("OPTIONS", EVENTS);
                if let Some(origin) = origin {
                    request = request.insert_header(("webhook-request-origin", origin));
                }
                if asks_for_rate {
                    request = request.insert_header(("webhook-request-rate", "120"));
                }
                let reply = listener.send(request).await;
                assert_eq!(reply.status, 200);
                assert_eq!(reply.header("allow"), Some("HEAD, OPTIONS, POST"));
                let granted = origin.filter(|_| is_granted);
                assert_eq!(reply.header("webhook-allowed-origin"), granted);
                let rate = is_granted.then_some(rate);
                assert_eq!(reply.header("webhook-allowed-rate"), rate, "{origin:?}");
                assert_eq!(reply.text, "");
            }
        }
    }
}

/// FAULTS I33: the answer repeats no forwarding header, and does not name the server.
#[actix_web::test]
async fn an_answer_names_neither_the_server_nor_forwarding_headers() {
    let listener = TestListener::new();
    let request = post("open", STRUCTURED, &event("e-1"))
        .insert_header(("x-forwarded-for", "canary"))
        .insert_header(("x-forwarded-host", "canary"))
        .insert_header(("x-request-id", "canary"));
    let reply = listener.send(request).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("server"), None);
    assert!(!format!("{:?}", reply.headers).contains("canary"));
}
