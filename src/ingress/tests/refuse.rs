use super::*;
use crate::outbox::Error;

/// I03, I05, I07, I08, I30, I35
#[actix_web::test]
async fn a_body_that_cannot_be_read_is_malformed() {
    let door = Door::new();
    let deep = "[".repeat(100_000);
    for (body, rule) in [
        (&b""[..], "empty"),
        (b"null", "type"),
        (b"[]", "type"),
        (b"{", "syntax"),
        (b"{}{}", "trailing"),
        (deep.as_bytes(), "depth"),
        (b"\xef\xbb\xbf{}", "byte_order_mark"),
        (b"{\"a\":\"\xff\"}", "utf8"),
        (br#"{"id":"canary","\u0069d":"canary"}"#, "duplicate_key"),
        (br#"{"id":"canary\u0000"}"#, "nul"),
    ] {
        let request = post("open", STRUCTURED, &json!(0)).set_payload(body.to_vec());
        let reply = door.send(request).await;
        reply.is_problem(400, "malformed");
        assert_eq!(reply.faults(), [(String::new(), rule.to_owned())]);
    }
    for (body, rule) in [
        (json!([]), "batch_empty"),
        (json!(null), "type"),
        (event("e-1"), "type"),
    ] {
        let reply = door.send(post("open", BATCH, &body)).await;
        reply.is_problem(400, "malformed");
        assert_eq!(reply.faults(), [(String::new(), rule.to_owned())]);
    }
    assert_eq!(door.kept(), 0);
    assert_eq!(door.refused("malformed"), 13);
}

/// O08, I29
#[actix_web::test]
async fn an_event_that_is_not_understood_is_refused_with_all_its_faults() {
    let door = Door::new();
    let unknown = door
        .post(&event_with("e-1", "/type", json!("customer.canary")))
        .await;
    unknown.is_problem(422, "unknown_event_type");
    assert_eq!(
        unknown.faults(),
        [("/type".to_owned(), "unknown_event_type".to_owned())]
    );
    let invalid = door
        .post(&event_with(
            "e-1",
            "/data/customer/email",
            json!(["canary"]),
        ))
        .await;
    invalid.is_problem(422, "invalid");
    assert!(invalid.faults()[0].0.starts_with("/data/customer"));
    let unmappable = door
        .post(&event_with(
            "e-1",
            "/data/customer/imprint_customer_id",
            json!("../canary"),
        ))
        .await;
    unmappable.is_problem(422, "unmappable");
    assert_eq!(
        unmappable.faults()[0].0,
        "/data/customer/imprint_customer_id"
    );
    assert_eq!(door.kept(), 0);
}

/// I35: all or nothing, all faults at once, and the gravest class decides.
#[actix_web::test]
async fn a_batch_with_one_bad_event_is_refused_as_a_whole() {
    let door = Door::new();
    let good = || event("e-1");
    let unmappable = || event_with("e-2", "/data/customer/imprint_customer_id", json!("a/b"));
    let invalid = || event_with("e-3", "/data/customer/email", json!(1));
    let unknown = || event_with("e-4", "/type", json!("other"));
    let malformed = || event_with("e-5", "/specversion", json!("2"));
    for (batch, status, word, indexes) in [
        (json!([good(), unmappable()]), 422, "unmappable", vec!["/1"]),
        (
            json!([unmappable(), invalid()]),
            422,
            "invalid",
            vec!["/1", "/0"],
        ),
        (
            json!([invalid(), good(), unknown()]),
            422,
            "unknown_event_type",
            vec!["/2", "/0"],
        ),
        (
            json!([unmappable(), unknown(), malformed()]),
            400,
            "malformed",
            vec!["/2", "/1", "/0"],
        ),
    ] {
        let reply = door.send(post("open", BATCH, &batch)).await;
        reply.is_problem(status, word);
        let faults = reply.faults();
        let places: Vec<_> = faults
            .iter()
            .map(|fault| fault.0.get(..2).unwrap())
            .collect();
        assert_eq!(places, indexes);
    }
    assert_eq!(door.kept(), 0);
}

#[actix_web::test]
async fn a_version_that_is_a_time_may_not_lie_far_ahead() {
    let door = Door::new();
    let at = |id: &str, seconds: u64, kind: &str| {
        let at = NOW.after(Duration::from_secs(seconds)).to_rfc3339();
        let mut event = event_with(id, "/data/customer/changed_at", json!(at));
        event["type"] = json!(kind);
        event
    };
    assert_eq!(
        door.post(&at("e-1", 300, "customer.timed")).await.status,
        202
    );
    let ahead = door.post(&at("e-2", 301, "customer.timed")).await;
    ahead.is_problem(422, "unmappable");
    assert_eq!(
        ahead.faults(),
        [(String::new(), "version_ahead".to_owned())]
    );
    let batch = json!([at("e-3", 301, "customer.timed")]);
    let reply = door.send(post("open", BATCH, &batch)).await;
    assert_eq!(
        reply.faults(),
        [("/0".to_owned(), "version_ahead".to_owned())]
    );
    assert_eq!(
        door.post(&at("e-4", 301, "customer.changed")).await.status,
        202
    );
}

/// S01, S02, S03
#[actix_web::test]
async fn who_cannot_prove_it_hears_one_answer_and_nothing_is_read() {
    let door = Door::new();
    let body = event("e-1");
    let bytes = body.to_string();
    let unreadable = json!("canary");
    let signature = |value: &'static str| ("webhook-signature", value);
    let requests = [
        ("missing", post("signed", STRUCTURED, &unreadable)),
        ("missing", post("bearer", STRUCTURED, &unreadable)),
        (
            "malformed",
            signed(post("signed", STRUCTURED, &body), "m", bytes.as_bytes())
                .insert_header(signature("v1")),
        ),
        (
            "mismatch",
            signed(post("signed", STRUCTURED, &body), "m", b"{}"),
        ),
        (
            "mismatch",
            post("bearer", STRUCTURED, &body).insert_header(("authorization", "Bearer x")),
        ),
        (
            "malformed",
            post("bearer", STRUCTURED, &body).insert_header(("authorization", "Basic x")),
        ),
        (
            "stale",
            signed(post("signed", STRUCTURED, &body), "m", bytes.as_bytes())
                .insert_header(("webhook-timestamp", "1699999699")),
        ),
    ];
    let mut texts = BTreeSet::new();
    for (why, request) in requests {
        let count = || {
            let counts = door.ingress.counts.snapshot();
            counts.unauthenticated.get(why).copied().unwrap_or_default()
        };
        let before = count();
        let reply = door.send(request).await;
        reply.is_problem(401, "unauthenticated");
        assert!(reply.header("www-authenticate").is_some());
        assert_eq!(count(), before + 1, "{why}");
        texts.insert(reply.text);
    }
    assert_eq!(texts.len(), 1);
    assert_eq!(door.kept(), 0);
}

/// In binary mode the id is outside of the signed bytes.
#[actix_web::test]
async fn a_signed_binary_event_has_the_id_that_is_signed() {
    let door = Door::new();
    let data = event("e-1")["data"].clone();
    let request = signed(
        binary(post("signed", JSON, &data), "e-2"),
        "e-1",
        data.to_string().as_bytes(),
    );
    door.send(request).await.is_problem(401, "unauthenticated");
    assert_eq!(door.kept(), 0);
}

/// I14, I17
#[actix_web::test]
async fn only_forms_that_events_come_in_are_taken() {
    let door = Door::new();
    for content_type in [
        "application/json",
        "text/plain",
        "application/xml",
        "application/cloudevents+json; charset=utf-16",
        "application/cloudevents+xml",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let reply = door
            .send(post("open", ("content-type", content_type), &event("e-1")))
            .await;
        reply.is_problem(415, "unsupported_media_type");
    }
    let bare = TestRequest::post()
        .uri("/v1/sources/open/events")
        .set_payload("{}");
    door.send(bare)
        .await
        .is_problem(415, "unsupported_media_type");
    let twice = post("open", STRUCTURED, &event("e-1")).append_header(BATCH);
    door.send(twice)
        .await
        .is_problem(415, "unsupported_media_type");
    for encoding in ["gzip", "br", "zstd", "deflate", "x", "identity, gzip", ""] {
        let request =
            post("open", STRUCTURED, &event("e-1")).insert_header(("content-encoding", encoding));
        door.send(request)
            .await
            .is_problem(415, "unsupported_media_type");
    }
    assert_eq!(door.kept(), 0);
    let identity =
        post("open", STRUCTURED, &event("e-1")).insert_header(("content-encoding", "identity"));
    assert_eq!(door.send(identity).await.status, 202);
}

/// D01, D05, D06, D09, D19: never 2xx, and the sender comes again.
#[actix_web::test]
async fn a_store_that_cannot_keep_is_never_answered_2xx() {
    let failed = || Error::Failed { doing: "appending" };
    for (error, word, seconds) in [
        (Error::Busy, "busy", "1"),
        (Error::Full, "store_full", "30"),
        (failed(), "store_failed", "10"),
        (Error::Closed, "stopping", "2"),
    ] {
        let door = Door::new();
        door.outbox.fail(error);
        let reply = door.post(&event("e-1")).await;
        reply.is_problem(503, word);
        assert_eq!(reply.header("retry-after"), Some(seconds));
        let reply = door
            .send(TestRequest::get().uri("/v1/sources/open/events/e-1"))
            .await;
        reply.is_problem(503, word);
        assert_eq!(door.refused(word), 2);
    }
}
