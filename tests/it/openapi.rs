//! Tests of the description of the event listener: a client that follows the description understands every answer.

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::support::{Event, TestApp, email};

const EVENTS: &str = "/v1/sources/{source}/events";
const EVENT: &str = "/v1/sources/{source}/events/{id}";
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

/// The headers and the body of a request, and the status of its answer.
type SentBody<'a> = (&'a [(&'a str, &'a str)], &'a str, u16);

struct Description(Value);

impl Description {
    fn of(app: &TestApp) -> Self {
        let answer = http::ask(app.ingress(), "GET /v1/openapi.json", &[], "").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self(answer.json())
    }

    /// Checks that an answer has a described status, the described headers and a body that matches its schema.
    #[track_caller]
    fn check(&self, path: &str, method: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let described = &self.0["paths"][path][method]["responses"][&status];
        assert!(
            described.is_object(),
            "{method} {path}: {status} {}",
            answer.body
        );
        let headers = described["headers"].as_object();
        for (name, header) in headers.into_iter().flatten() {
            let is_missing = answer.header(&name.to_ascii_lowercase()).is_none();
            assert!(
                header["required"] != true || !is_missing,
                "{status}: {name}"
            );
        }
        let Some(contents) = described["content"].as_object() else {
            assert_eq!(answer.body, "", "{method} {path}: {status}");
            return;
        };
        let format = answer.header("content-type").unwrap();
        let mut schema = contents[format]["schema"].clone();
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let body = answer.json();
        if let Err(error) = validator.validate(&body) {
            panic!("{method} {path}: {status} {error}: {body}");
        }
    }
}

/// FAULTS N895
#[test]
fn every_answer_to_a_sender_is_described() {
    let app = TestApp::setup()
        .settings("[ingress]\nbatch_max = 2\nbody_bytes_max = 4000\n")
        .start();
    let description = Description::of(&app);
    let post = |headers: &[(&str, &str)], body: &str| {
        let line = "POST /v1/sources/crm/events";
        http::ask(app.ingress(), line, headers, body).unwrap()
    };
    let invalid = Event::sample().with("/data/customer/email", json!(7));
    let batch = json!([email("b1", "c1", 1).json(), email("b2", "c1", 2).json()]);
    let large = "x".repeat(5_000);
    let batched = ("content-type", "application/cloudevents-batch+json");
    let event = email("e1", "c1", 1);
    let sent = event.json().to_string();
    let bodies: [SentBody<'_>; 10] = [
        (&[STRUCTURED], &sent, 202),
        (&[STRUCTURED], &sent, 202),
        (&[STRUCTURED, ("prefer", "wait=20")], &sent, 200),
        (&[batched], &batch.to_string(), 202),
        (&[batched], "[]", 202),
        (&[batched], "[{},{},{}]", 413),
        (&[STRUCTURED], &large, 413),
        (&[STRUCTURED], "{", 400),
        (&[("content-type", "text/plain")], "x", 415),
        (&[STRUCTURED], &invalid.json().to_string(), 422),
    ];
    for (headers, body, status) in bodies {
        let answer = post(headers, body);
        assert_eq!(answer.status, status, "{}", answer.body);
        description.check(EVENTS, "post", &answer);
    }
    let conflict = email("e1", "c1", 2).json().to_string();
    let answer = post(&[STRUCTURED], &conflict);
    assert_eq!(answer.status, 409, "{}", answer.body);
    description.check(EVENTS, "post", &answer);

    let action = json!({"status": 400, "param": "email"});
    app.imprint
        .inject(&json!({"customer": "c9", "times": 1, "action": action}));
    app.accept(&email("e9", "c9", 1));
    app.wait_until("e9", "parked");
    for (line, path, status) in [
        ("GET /v1/sources/crm/events/e1", EVENT, 200),
        ("GET /v1/sources/crm/events/e9", EVENT, 200),
        ("GET /v1/sources/crm/events/e8", EVENT, 404),
        ("GET /v1/sources/none/events/e8", EVENT, 404),
        ("GET /v1/sources/crm/events/e1?ce_source=", EVENT, 400),
        ("OPTIONS /v1/sources/crm/events", EVENTS, 200),
        ("OPTIONS /v1/sources/none/events", EVENTS, 404),
        ("POST /v1/sources/none/events", EVENTS, 404),
    ] {
        let answer = http::ask(app.ingress(), line, &[], "").unwrap();
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        let (method, _) = line.split_once(' ').unwrap();
        description.check(path, &method.to_ascii_lowercase(), &answer);
    }
    let answer = http::ask(app.ingress(), "DELETE /v1/openapi.json", &[], "").unwrap();
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
}
