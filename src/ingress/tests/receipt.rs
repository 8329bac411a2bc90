use super::*;
use crate::outbox::State;

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(&format!("/v1/sources/{path}"))
}

#[actix_web::test]
async fn a_receipt_tells_the_state_and_no_content() {
    let door = Door::new();
    door.post(&event("e-1")).await;
    let reply = door.send(get("open/events/e-1")).await;
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
    door.outbox.end(State::Parked);
    let parked = door.send(get("open/events/e-1")).await.json();
    assert_eq!(
        parked["parked"],
        json!({"reason": "rejected", "detail": "email"})
    );
    assert_eq!(parked["settled_at"], "2023-11-14T22:13:20.000Z");
    door.outbox.end(State::Superseded);
    let superseded = door.send(get("open/events/e-1")).await.json();
    assert_eq!(superseded["superseded_by"], "winner");
}

#[actix_web::test]
async fn an_id_is_percent_decoded_once() {
    let door = Door::new();
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("100%", "100%25"),
        ("a b+c", "a%20b+c"),
        ("é?#", "%C3%A9%3F%23"),
        ("..", "%2E%2E"),
    ] {
        assert_eq!(door.post(&event(id)).await.status, 202);
        let reply = door.send(get(&format!("open/events/{path}"))).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.json()["id"], id);
    }
}

/// O15
#[actix_web::test]
async fn a_receipt_is_of_one_source() {
    let door = Door::new();
    door.post(&event("e-1")).await;
    door.post(&event_with("e-1", "/source", json!("/crm/eu")))
        .await;
    for source in ["/crm/us", "/crm/eu"] {
        let encoded = source.replace('/', "%2F");
        let reply = door
            .send(get(&format!("open/events/e-1?ce_source={encoded}")))
            .await;
        assert_eq!(reply.json()["ce_source"], source);
    }
    let other = door.send(get("open/events/e-1?ce_source=/crm/uk")).await;
    other.is_problem(404, "unknown_event");
    for query in ["ce_source=", "ce_source=%0A", "ce_source=a&ce_source=b"] {
        let reply = door.send(get(&format!("open/events/e-1?{query}"))).await;
        reply.is_problem(400, "malformed");
    }
}

#[actix_web::test]
async fn what_was_not_accepted_has_no_receipt() {
    let door = Door::new();
    door.send(get("open/events/e-9"))
        .await
        .is_problem(404, "unknown_event");
    door.send(get("open/events/%00"))
        .await
        .is_problem(404, "unknown_event");
    door.send(get("other/events/e-1"))
        .await
        .is_problem(404, "unknown_source");
}

/// S01
#[actix_web::test]
async fn a_receipt_is_told_to_its_source_only() {
    let door = Door::new();
    let authorization = ("authorization", format!("Bearer {TOKEN}"));
    door.send(post("bearer", STRUCTURED, &event("e-1")).insert_header(authorization.clone()))
        .await;
    door.send(get("bearer/events/e-1"))
        .await
        .is_problem(401, "unauthenticated");
    let told = door
        .send(get("bearer/events/e-1").insert_header(authorization))
        .await;
    assert_eq!(told.status, 200);
    let body = event("e-1");
    let request = signed(
        post("signed", STRUCTURED, &body),
        "m",
        body.to_string().as_bytes(),
    );
    assert_eq!(door.send(request).await.status, 202);
    let about = |id: &str| signed(get("signed/events/e-1"), id, b"");
    assert_eq!(door.send(about("e-1")).await.status, 200);
    door.send(about("e-2"))
        .await
        .is_problem(401, "unauthenticated");
    door.send(get("signed/events/e-1"))
        .await
        .is_problem(401, "unauthenticated");
}
