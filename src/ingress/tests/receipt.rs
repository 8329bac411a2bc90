use super::*;
use crate::outbox::State;

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(&format!("/v1/sources/{path}"))
}

#[actix_web::test]
async fn a_receipt_contains_the_state_and_no_content() {
    let listener = TestListener::new();
    listener.post(&event("e-1")).await;
    let reply = listener.send(get("open/events/e-1")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(
        reply.json(),
        json!({
            "id": "e-1",
            "source": "open",
            "ce_source": "/crm/us",
            "type": "customer.changed",
            "status": "waiting",
            "attempts": 0,
            "accepted_at": "2023-11-14T22:13:20.000Z",
            "settled_at": null,
            "superseded_by": null,
            "parked": null,
        })
    );
    listener.outbox.end(State::Parked);
    let parked = listener.send(get("open/events/e-1")).await.json();
    assert_eq!(
        parked["parked"],
        json!({"reason": "rejected", "detail": "email"})
    );
    assert_eq!(parked["settled_at"], "2023-11-14T22:13:20.000Z");
    listener.outbox.end(State::Superseded);
    let superseded = listener.send(get("open/events/e-1")).await.json();
    assert_eq!(superseded["superseded_by"], "winner");
}

#[actix_web::test]
async fn an_id_is_percent_decoded_once() {
    let listener = TestListener::new();
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("100%", "100%25"),
        ("a b+c", "a%20b+c"),
        ("é?#", "%C3%A9%3F%23"),
        ("..", "%2E%2E"),
    ] {
        assert_eq!(listener.post(&event(id)).await.status, 202);
        let reply = listener.send(get(&format!("open/events/{path}"))).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.json()["id"], id);
    }
}

/// FAULTS O15
#[actix_web::test]
async fn a_receipt_belongs_to_one_source() {
    let listener = TestListener::new();
    listener.post(&event("e-1")).await;
    listener
        .post(&event_with("e-1", "/source", json!("/crm/eu")))
        .await;
    for source in ["/crm/us", "/crm/eu"] {
        let encoded = source.replace('/', "%2F");
        let reply = listener
            .send(get(&format!("open/events/e-1?ce_source={encoded}")))
            .await;
        assert_eq!(reply.json()["ce_source"], source);
    }
    let other = listener
        .send(get("open/events/e-1?ce_source=/crm/uk"))
        .await;
    other.is_problem(404, "unknown_event");
    for query in ["ce_source=", "ce_source=%0A", "ce_source=a&ce_source=b"] {
        let reply = listener
            .send(get(&format!("open/events/e-1?{query}")))
            .await;
        reply.is_problem(400, "malformed");
    }
}

#[actix_web::test]
async fn an_event_that_was_not_accepted_has_no_receipt() {
    let listener = TestListener::new();
    listener
        .send(get("open/events/e-9"))
        .await
        .is_problem(404, "unknown_event");
    listener
        .send(get("open/events/%00"))
        .await
        .is_problem(404, "unknown_event");
    listener
        .send(get("other/events/e-1"))
        .await
        .is_problem(404, "unknown_source");
}

/// FAULTS S01
#[actix_web::test]
async fn only_the_source_gets_its_receipts() {
    let listener = TestListener::new();
    let authorization = ("authorization", format!("Bearer {TOKEN}"));
    listener
        .send(post("bearer", STRUCTURED, &event("e-1")).insert_header(authorization.clone()))
        .await;
    listener
        .send(get("bearer/events/e-1"))
        .await
        .is_problem(401, "unauthenticated");
    let told = listener
        .send(get("bearer/events/e-1").insert_header(authorization))
        .await;
    assert_eq!(told.status, 200);
    let body = event("e-1");
    let request = signed(
        post("signed", STRUCTURED, &body),
        "m",
        body.to_string().as_bytes(),
    );
    assert_eq!(listener.send(request).await.status, 202);
    let about = |id: &str| signed(get("signed/events/e-1"), id, b"");
    assert_eq!(listener.send(about("e-1")).await.status, 200);
    listener
        .send(about("e-2"))
        .await
        .is_problem(401, "unauthenticated");
    listener
        .send(get("signed/events/e-1"))
        .await
        .is_problem(401, "unauthenticated");
}
