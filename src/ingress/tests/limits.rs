use futures_util::stream;

use super::*;

const SMALL: Settings = Settings {
    body: BodyLimits {
        body_bytes_max: 1000,
        body_deadline: Duration::from_millis(20),
    },
    bodies_bytes_max: 1000,
    quota: QuotaLimits::NONE,
    brake: BrakePolicy::Off,
    intake: IntakeSettings {
        batch_events_max: 2,
        version_ahead_max: Duration::ZERO,
        ..SETTINGS.intake
    },
};

fn request() -> TestRequest {
    TestRequest::post()
        .uri("/v1/sources/open/events")
        .insert_header(STRUCTURED)
}

/// FAULTS I01, I34
#[actix_web::test]
async fn a_content_length_over_the_limit_is_refused_without_reading() {
    let listener = TestListener::with(SMALL);
    for length in ["1001", "99999999999999", "18446744073709551615"] {
        let request = request().insert_header(("content-length", length));
        let never = stream::poll_fn(|_| -> std::task::Poll<Option<_>> { panic!("it is not read") });
        listener
            .send_stream(request, never)
            .await
            .is_problem(413, "too_large");
    }
}

/// FAULTS I02
#[actix_web::test]
async fn a_chunked_body_over_the_limit_is_refused() {
    let listener = TestListener::with(SMALL);
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 100])));
    listener
        .send_stream(request(), endless)
        .await
        .is_problem(413, "too_large");
    let fits = event("e-1").to_string();
    let padded = format!("{fits}{}", " ".repeat(1000 - fits.len()));
    let bytes: Vec<_> = padded
        .bytes()
        .map(|byte| Ok(Bytes::from(vec![byte])))
        .collect();
    assert_eq!(
        listener
            .send_stream(request(), stream::iter(bytes))
            .await
            .status,
        202
    );
}

/// FAULTS I10
#[actix_web::test]
async fn a_body_that_does_not_arrive_times_out() {
    let listener = TestListener::with(SMALL);
    listener
        .send_stream(request(), stream::pending())
        .await
        .is_problem(408, "body_timeout");
}

/// FAULTS I12, I21, P01
#[actix_web::test]
async fn an_incomplete_body_stores_nothing() {
    let listener = TestListener::with(SMALL);
    let whole = Bytes::from(event("e-1").to_string());
    let broken = stream::iter([Ok(whole), Err(PayloadError::Incomplete(None))]);
    let reply = listener.send_stream(request(), broken).await;
    reply.is_problem(400, "malformed");
    assert_eq!(reply.errors(), [(String::new(), "incomplete".to_owned())]);
    assert_eq!(listener.stored_count(), 0);
}

/// FAULTS I35
#[actix_web::test]
async fn a_batch_has_a_maximum_size() {
    let listener = TestListener::with(SMALL);
    let batch = json!([1, 2, 3]);
    let reply = listener.send(post("open", BATCH, &batch)).await;
    reply.is_problem(413, "too_many_events");
    assert_eq!(reply.errors(), [(String::new(), "batch_size".to_owned())]);
    assert!(reply.text.contains("ingress.batch_max"), "{}", reply.text);
}

#[actix_web::test]
async fn a_problem_lists_at_most_a_hundred_errors() {
    let listener = TestListener::new();
    let batch = vec![json!({}); 100];
    let reply = listener.send(post("open", BATCH, &json!(batch))).await;
    reply.is_problem(400, "malformed");
    assert_eq!(reply.errors().len(), 100);
    assert_eq!(
        reply.json()["detail"],
        "400 errors; the first 100 are listed."
    );
}

/// FAULTS I02, V7: the HTTP server would read an endless body to its end if the listener dropped the body before
/// sending the response.
#[actix_web::test]
async fn an_unread_body_is_held_until_the_response_is_sent() {
    for (method, path) in [
        ("POST", "/v1/sources/other/events"),
        ("GET", "/v1"),
        ("PUT", "/v1/sources/open/events"),
    ] {
        let held = Arc::new(());
        let guard = Arc::clone(&held);
        let unread = stream::poll_fn(move |_| {
            let _held = &guard;
            std::task::Poll::Pending
        });
        let listener = TestListener::with(SMALL);
        let request = TestRequest::with_uri(path).method(method.parse().unwrap());
        let response = listener
            .respond(request, Some(stream_payload(unread)))
            .await;
        assert_eq!(Arc::strong_count(&held), 2, "{path}");
        drop(response);
        assert_eq!(Arc::strong_count(&held), 1, "{path}");
    }
}
