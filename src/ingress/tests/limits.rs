use futures_util::stream;

use super::*;

const SMALL: Settings = Settings {
    body: BodyLimits {
        body_bytes_max: 1000,
        body_deadline: Duration::from_millis(20),
    },
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

/// I01, I34
#[actix_web::test]
async fn a_body_announced_too_long_is_refused_unread() {
    let door = Door::with(SMALL);
    for length in ["1001", "99999999999999", "18446744073709551615"] {
        let request = request().insert_header(("content-length", length));
        let never = stream::poll_fn(|_| -> std::task::Poll<Option<_>> { panic!("it is not read") });
        door.send_stream(request, never)
            .await
            .is_problem(413, "too_large");
    }
}

/// I02
#[actix_web::test]
async fn a_body_that_grows_too_long_is_cut() {
    let door = Door::with(SMALL);
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 100])));
    door.send_stream(request(), endless)
        .await
        .is_problem(413, "too_large");
    let fits = event("e-1").to_string();
    let padded = format!("{fits}{}", " ".repeat(1000 - fits.len()));
    let bytes: Vec<_> = padded
        .bytes()
        .map(|byte| Ok(Bytes::from(vec![byte])))
        .collect();
    assert_eq!(
        door.send_stream(request(), stream::iter(bytes))
            .await
            .status,
        202
    );
}

/// I10
#[actix_web::test]
async fn a_body_that_does_not_come_is_given_up() {
    let door = Door::with(SMALL);
    door.send_stream(request(), stream::pending())
        .await
        .is_problem(408, "body_timeout");
}

/// I12, I21, P01
#[actix_web::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let door = Door::with(SMALL);
    let whole = Bytes::from(event("e-1").to_string());
    let broken = stream::iter([Ok(whole), Err(PayloadError::Incomplete(None))]);
    let reply = door.send_stream(request(), broken).await;
    reply.is_problem(400, "malformed");
    assert_eq!(reply.faults(), [(String::new(), "incomplete".to_owned())]);
    assert_eq!(door.kept(), 0);
}

/// I35
#[actix_web::test]
async fn a_batch_has_a_largest_size() {
    let door = Door::with(SMALL);
    let batch = json!([1, 2, 3]);
    let reply = door.send(post("open", BATCH, &batch)).await;
    reply.is_problem(400, "malformed");
    assert_eq!(reply.faults(), [(String::new(), "batch_size".to_owned())]);
}

#[actix_web::test]
async fn an_answer_lists_a_hundred_faults_at_most() {
    let door = Door::new();
    let batch = vec![json!({}); 100];
    let reply = door.send(post("open", BATCH, &json!(batch))).await;
    reply.is_problem(400, "malformed");
    assert_eq!(reply.faults().len(), 100);
    assert_eq!(
        reply.json()["detail"],
        "400 errors; the first 100 are listed."
    );
}

/// I02, V7: the server would read an endless body to its end for us if we let go of it before the answer is out.
#[actix_web::test]
async fn an_unread_body_is_held_until_the_answer_is_sent() {
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
        let door = Door::with(SMALL);
        let request = TestRequest::with_uri(path).method(method.parse().unwrap());
        let response = door.respond(request, Some(stream_payload(unread))).await;
        assert_eq!(Arc::strong_count(&held), 2, "{path}");
        drop(response);
        assert_eq!(Arc::strong_count(&held), 1, "{path}");
    }
}
