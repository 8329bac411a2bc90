use std::collections::BTreeSet;

use actix_web::body::to_bytes;
use serde_json::{Value, json};

use super::*;

fn errors(count: usize) -> Vec<EventError> {
    let error = EventError {
        pointer: "/data/email".to_owned(),
        rule: "format".to_owned(),
        location: "/properties/email/format".to_owned(),
        detail: "is not an address".to_owned(),
    };
    vec![error; count]
}

fn rejected(class: RejectionClass, count: usize) -> Refusal {
    Rejection::new(class, errors(count)).into()
}

fn all() -> Vec<(Refusal, u16, &'static str)> {
    vec![
        (rejected(RejectionClass::Malformed, 1), 400, "malformed"),
        (
            rejected(RejectionClass::TooManyEvents, 1),
            413,
            "too_many_events",
        ),
        (
            Refusal::Unauthenticated {
                challenge: "Bearer",
            },
            401,
            "unauthenticated",
        ),
        (Refusal::UnknownSource, 404, "unknown_source"),
        (Refusal::UnknownEvent, 404, "unknown_event"),
        (Refusal::NotFound, 404, "not_found"),
        (
            Refusal::MethodNotAllowed { allow: "GET" },
            405,
            "method_not_allowed",
        ),
        (Refusal::BodyTimeout, 408, "body_timeout"),
        (Refusal::Conflict(errors(1)), 409, "conflict"),
        (Refusal::TooLarge { limit_bytes: 9 }, 413, "too_large"),
        (
            Refusal::UnsupportedMediaType {
                reason: MediaTypeReason::NoContentType,
                taken: TakenMediaTypes::PlainJson,
            },
            415,
            "unsupported_media_type",
        ),
        (
            rejected(RejectionClass::UnknownEventType, 1),
            422,
            "unknown_event_type",
        ),
        (rejected(RejectionClass::Invalid, 1), 422, "invalid"),
        (rejected(RejectionClass::Unmappable, 1), 422, "unmappable"),
        (rejected(RejectionClass::CardNumber, 1), 422, "card_number"),
        (
            Refusal::RateQuota {
                retry_after_seconds: 7,
            },
            429,
            "rate_quota",
        ),
        (Refusal::StorageQuota, 429, "storage_quota"),
        (Refusal::BodyBudget, 503, "body_budget"),
        (Refusal::Busy, 503, "busy"),
        (Refusal::StoreFull, 503, "store_full"),
        (Refusal::StoreFailed, 503, "store_failed"),
        (Refusal::Stopping, 503, "stopping"),
        (Refusal::Internal, 500, "internal"),
    ]
}

async fn body(refusal: &Refusal) -> Value {
    let body = to_bytes(refusal.error_response().into_body())
        .await
        .unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[actix_web::test]
async fn every_refusal_has_a_problem_type_of_its_own() {
    for (refusal, status, word) in all() {
        let response = refusal.error_response();
        assert_eq!(response.status(), status, "{word}");
        assert_eq!(
            response.headers().get("content-type").unwrap(),
            "application/problem+json"
        );
        assert_eq!(
            response.headers().contains_key("retry-after"),
            matches!(status, 429 | 503),
            "{word}"
        );
        assert_eq!(
            response.headers().contains_key("allow"),
            status == 405,
            "{word}"
        );
        assert_eq!(
            response.headers().contains_key("accept"),
            status == 415,
            "{word}"
        );
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            status == 401,
            "{word}"
        );
        let body = body(&refusal).await;
        assert_eq!(body["type"], format!("urn:imprint-bridge:problem:{word}"));
        assert_eq!(body["status"], status);
        assert_eq!(refusal.word(), word);
    }
    let words: BTreeSet<_> = all().iter().map(|(refusal, ..)| refusal.word()).collect();
    assert_eq!(words.len(), all().len());
}

#[actix_web::test]
async fn a_problem_lists_errors_up_to_a_limit() {
    assert_eq!(
        body(&rejected(RejectionClass::Invalid, 1)).await,
        json!({
            "type": "urn:imprint-bridge:problem:invalid",
            "title": "Event does not match its schema",
            "status": 422,
            "detail": "1 error.",
            "faults": [{
                "pointer": "/data/email",
                "rule": "format",
                "location": "/properties/email/format",
                "detail": "is not an address",
            }],
        })
    );
    let many = body(&rejected(RejectionClass::Invalid, 250)).await;
    assert_eq!(many["faults"].as_array().unwrap().len(), 100);
    assert_eq!(many["detail"], "250 errors; the first 100 are listed.");
}

/// FAULTS D01, D05, D19
#[test]
fn every_failure_of_the_store_asks_the_sender_to_repeat() {
    let failed = outbox::Error::Failed { doing: "appending" };
    for (error, refusal) in [
        (outbox::Error::Busy, Refusal::Busy),
        (outbox::Error::Full, Refusal::StoreFull),
        (failed, Refusal::StoreFailed),
        (outbox::Error::Closed, Refusal::Stopping),
    ] {
        assert_eq!(Refusal::from(&error), refusal);
        assert_eq!(refusal.status_code(), 503);
    }
}
