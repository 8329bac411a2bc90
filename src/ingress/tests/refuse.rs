use super::*;
use crate::outbox::Error;

/// FAULTS I03, I05, I07, I08, I30, I35
#[actix_web::test]
async fn a_body_that_cannot_be_parsed_is_malformed() {
    let listener = TestListener::new();
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
        let reply = listener.send(request).await;
        reply.is_problem(400, "malformed");
        assert_eq!(reply.errors(), [(String::new(), rule.to_owned())]);
    }
    for (body, rule) in [(json!(null), "type"), (event("e-1"), "type")] {
        let reply = listener.send(post("open", BATCH, &body)).await;
        reply.is_problem(400, "malformed");
        assert_eq!(reply.errors(), [(String::new(), rule.to_owned())]);
    }
    assert_eq!(listener.stored_count(), 0);
    assert_eq!(listener.refused_count("malformed"), 12);
}

/// FAULTS O08, I29
#[actix_web::test]
async fn an_invalid_event_is_refused_with_all_its_errors() {
    let listener = TestListener::new();
    let unknown = listener
        .post(&event_with("e-1", "/type", json!("customer.renamed")))
        .await;
    unknown.is_problem(422, "unknown_event_type");
    assert_eq!(
        unknown.errors(),
        [("/type".to_owned(), "unknown_event_type".to_owned())]
    );
    let invalid = listener
        .post(&event_with(
            "e-1",
            "/data/customer/email",
            json!(["canary"]),
        ))
        .await;
    invalid.is_problem(422, "invalid");
    assert!(invalid.errors()[0].0.starts_with("/data/customer"));
    let unmappable = listener
        .post(&event_with(
            "e-1",
            "/data/customer/imprint_customer_id",
            json!("../canary"),
        ))
        .await;
    unmappable.is_problem(422, "unmappable");
    assert_eq!(
        unmappable.errors()[0].0,
        "/data/customer/imprint_customer_id"
    );
    assert_eq!(listener.stored_count(), 0);
}

/// FAULTS I35: a batch is stored as a whole or not at all, the answer lists all errors, and the earliest stage decides
/// the answer.
#[actix_web::test]
async fn a_batch_with_one_bad_event_is_refused_as_a_whole() {
    let listener = TestListener::new();
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
        let reply = listener.send(post("open", BATCH, &batch)).await;
        reply.is_problem(status, word);
        let faults = reply.errors();
        let places: Vec<_> = faults
            .iter()
            .map(|fault| fault.0.get(..2).unwrap())
            .collect();
        assert_eq!(places, indexes);
    }
    assert_eq!(listener.stored_count(), 0);
}

#[actix_web::test]
async fn a_version_far_in_the_future_is_refused() {
    let listener = TestListener::new();
    let at = |id: &str, seconds: u64, kind: &str| {
        let at = NOW.after(Duration::from_secs(seconds)).to_rfc3339();
        let mut event = event_with(id, "/data/customer/changed_at", json!(at));
        event["type"] = json!(kind);
        event
    };
    assert_eq!(
        listener
            .post(&at("e-1", 300, "customer.timed"))
            .await
            .status,
        202
    );
    let ahead = listener.post(&at("e-2", 301, "customer.timed")).await;
    ahead.is_problem(422, "unmappable");
    assert_eq!(
        ahead.errors(),
        [(
            "/data/customer/changed_at".to_owned(),
            "version_ahead".to_owned()
        )]
    );
    let batch = json!([at("e-3", 301, "customer.timed")]);
    let reply = listener.send(post("open", BATCH, &batch)).await;
    assert_eq!(
        reply.errors(),
        [(
            "/0/data/customer/changed_at".to_owned(),
            "version_ahead".to_owned()
        )]
    );
    assert_eq!(
        listener
            .post(&at("e-4", 301, "customer.changed"))
            .await
            .status,
        202
    );
}

/// FAULTS S01, S02, S03
#[actix_web::test]
async fn every_failed_authentication_gets_the_same_answer_before_parsing() {
    let listener = TestListener::new();
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
            let counts = listener.ingress.counts.snapshot();
            counts.unauthenticated.get(why).copied().unwrap_or_default()
        };
        let before = count();
        let reply = listener.send(request).await;
        reply.is_problem(401, "unauthenticated");
        assert!(reply.header("www-authenticate").is_some());
        assert_eq!(count(), before + 1, "{why}");
        texts.insert(reply.text);
    }
    assert_eq!(texts.len(), 1);
    assert_eq!(listener.stored_count(), 0);
}

/// In binary mode the event id is in a header, outside the signed body.
#[actix_web::test]
async fn a_binary_event_must_have_the_signed_id() {
    let listener = TestListener::new();
    let data = event("e-1")["data"].clone();
    let request = signed(
        binary(post("signed", JSON, &data), "e-2"),
        "e-1",
        data.to_string().as_bytes(),
    );
    listener
        .send(request)
        .await
        .is_problem(401, "unauthenticated");
    assert_eq!(listener.stored_count(), 0);
}

/// FAULTS I14, I17
#[actix_web::test]
async fn only_media_types_of_events_are_accepted() {
    let listener = TestListener::new();
    for content_type in [
        "application/json",
        "text/plain",
        "application/xml",
        "application/cloudevents+json; charset=utf-16",
        "application/cloudevents+xml",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let reply = listener
            .send(post("open", ("content-type", content_type), &event("e-1")))
            .await;
        reply.is_problem(415, "unsupported_media_type");
    }
    let bare = TestRequest::post()
        .uri("/v1/sources/open/events")
        .set_payload("{}");
    listener
        .send(bare)
        .await
        .is_problem(415, "unsupported_media_type");
    let twice = post("open", STRUCTURED, &event("e-1")).append_header(BATCH);
    listener
        .send(twice)
        .await
        .is_problem(415, "unsupported_media_type");
    for encoding in ["gzip", "br", "zstd", "deflate", "x", "identity, gzip", ""] {
        let request =
            post("open", STRUCTURED, &event("e-1")).insert_header(("content-encoding", encoding));
        listener
            .send(request)
            .await
            .is_problem(415, "unsupported_media_type");
    }
    assert_eq!(listener.stored_count(), 0);
    let identity =
        post("open", STRUCTURED, &event("e-1")).insert_header(("content-encoding", "identity"));
    assert_eq!(listener.send(identity).await.status, 202);
}

/// FAULTS N346: the answer names what is wrong with the request, and the media types that this source takes.
#[actix_web::test]
async fn an_unsupported_media_type_names_what_the_source_takes() {
    let rules = JsonEnvelopeRules {
        id: ".id".to_owned(),
        event_type: ".type".to_owned(),
        ..JsonEnvelopeRules::default()
    };
    let plain = Source {
        json_envelope: Some(JsonEnvelope::compile(&rules, &BTreeMap::new()).unwrap()),
        ..source("plain")
    };
    let sources = [
        (source("open"), Verifier::none()),
        (plain, Verifier::none()),
    ];
    let listener = TestListener::of(sources, SETTINGS);
    let encoded = ("content-encoding", "gzip");
    for (name, headers, reason, taken) in [
        (
            "open",
            vec![("content-type", "text/csv")],
            "Content-Type of",
            "cloudevents+json",
        ),
        ("open", vec![], "one header Content-Type", "ce- headers"),
        ("plain", vec![STRUCTURED], "Content-Type of", "+json"),
        ("plain", vec![JSON, encoded], "Content-Encoding", "+json"),
    ] {
        let request = TestRequest::post().uri(&format!("/v1/sources/{name}/events"));
        let request = headers
            .into_iter()
            .fold(request, TestRequest::insert_header)
            .set_payload("{}");
        let reply = listener.send(request).await;
        reply.is_problem(415, "unsupported_media_type");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        for part in [reason, taken, "application/json"] {
            assert!(detail.contains(part), "{name}: {detail}");
        }
        let is_plain = name == "plain";
        assert_eq!(detail.contains("application/cloudevents"), !is_plain);
        let accept = reply.header("accept").unwrap();
        assert_eq!(accept.contains("cloudevents"), !is_plain, "{accept}");
    }
}

/// FAULTS D01, D05, D06, D09, D19: the answer is never 2xx, and asks the sender to repeat the request.
#[actix_web::test]
async fn a_store_that_cannot_keep_is_never_answered_2xx() {
    let failed = || Error::Failed { doing: "appending" };
    for (error, word, seconds) in [
        (Error::Busy, "busy", "1"),
        (Error::Full, "store_full", "30"),
        (failed(), "store_failed", "10"),
        (Error::Closed, "stopping", "2"),
    ] {
        let listener = TestListener::new();
        listener.outbox.fail(error);
        let reply = listener.post(&event("e-1")).await;
        reply.is_problem(503, word);
        assert_eq!(reply.header("retry-after"), Some(seconds));
        let reply = listener
            .send(TestRequest::get().uri("/v1/sources/open/events/e-1"))
            .await;
        reply.is_problem(503, word);
        assert_eq!(listener.refused_count(word), 2);
    }
}
