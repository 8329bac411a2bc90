//! Tests of the descriptions of the listeners: a client that follows a description understands every answer.

use std::net::SocketAddr;

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
    fn of(listener: SocketAddr) -> Self {
        let answer = http::ask(listener, "GET /v1/openapi.json", &[], "").unwrap();
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
    let description = Description::of(app.ingress());
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

/// The token of the operator.
const TOKEN: &str = "op-openapi-token-1";

/// Calls of the admin API in their order: the status of the answer, the method, the path, and the body. PARKED and DELIVERED
/// are the numbers of two entries.
const CALLS: &str = r#"
200 GET /admin/v1/entries?state=all&limit=1
400 GET /admin/v1/entries?limit=x
200 GET /admin/v1/entries/PARKED
200 GET /admin/v1/entries/DELIVERED
200 GET /admin/v1/entries/PARKED?reveal=true
404 GET /admin/v1/entries/999
200 GET /admin/v1/entries/PARKED/explain
200 GET /admin/v1/cases
409 GET /admin/v1/entries/DELIVERED/explain
200 POST /admin/v1/entries/replay {"ids": [PARKED], "preview": true}
200 POST /admin/v1/entries/replay {"ids": [PARKED, DELIVERED], "map_again": true, "preview": true}
400 POST /admin/v1/entries/replay {}
200 POST /admin/v1/entries/discard {"ids": [PARKED, DELIVERED], "preview": true}
400 POST /admin/v1/entries/discard {"ids": [PARKED]}
200 POST /admin/v1/entries/park {"ids": [DELIVERED], "preview": true}
200 POST /admin/v1/entries/park {"ids": [DELIVERED], "reason": "because"}
200 POST /admin/v1/explain?source=crm EVENT
400 POST /admin/v1/explain {}
200 POST /admin/v1/try-out {"source": "crm", "body": "{}", "headers": {"content-type": "application/cloudevents+json"}}
200 POST /admin/v1/try-out {"source": "crm", "entry": PARKED, "text": "?"}
400 POST /admin/v1/try-out {"source": "crm"}
200 POST /admin/v1/entries/replay {"ids": [PARKED], "reason": "because"}
200 POST /admin/v1/entries/discard {"ids": [DELIVERED], "reason": "because"}
200 POST /admin/v1/customers/reset-versions {"imprint_id": "c1", "reason": "because"}
404 POST /admin/v1/customers/reset-versions {"imprint_id": "c77", "reason": "because"}
200 POST /admin/v1/customers/show {"of": {"customer": "c1"}}
200 POST /admin/v1/customers/show {"of": {"customer": "nobody"}}
400 POST /admin/v1/customers/show {"of": {}}
200 POST /admin/v1/customers/export {"of": {"customer": "c1"}, "reason": "because"}
200 POST /admin/v1/customers/erase {"of": {"customer": "c1"}, "reason": "because"}
200 GET /admin/v1/audit?limit=3
200 GET /admin/v1/destination
200 POST /admin/v1/destination {"mode": "shadow", "reason": "because"}
400 POST /admin/v1/destination {"mode": "paused"}
200 POST /admin/v1/destination {"mode": "open"}
200 GET /admin/v1/shadow
200 GET /admin/v1/status
200 GET /admin/v1/sources
200 POST /admin/v1/reload
200 GET /admin/v1/brakes
200 POST /admin/v1/brakes {"source": "crm", "open_seconds": 60, "reason": "because"}
400 POST /admin/v1/brakes {"source": "crm", "open_seconds": 60}
200 GET /admin/v1/passed?source=crm&field=phone&rule=same_value
400 GET /admin/v1/passed?source=crm
200 POST /admin/v1/store/backup {"name": "copy.db"}
409 POST /admin/v1/store/backup {"name": "copy.db"}
200 GET /admin/v1/store/keys
200 GET /admin/v1/denied-requests
200 GET /v1/openapi.json
"#;

/// FAULTS N1075: every answer of the admin API has the described status and a body that matches the described schema.
#[test]
fn every_answer_to_an_operator_is_described() {
    let app = TestApp::setup().operator("alice", TOKEN).start();
    let action = json!({"status": 400, "param": "email"});
    let rule = json!({"customer": "c9", "action": action});
    app.imprint.inject(&rule);
    for (id, customer) in [("e1", "c1"), ("e9", "c9")] {
        app.accept(&email(id, customer, 1));
    }
    app.wait_until("e1", "delivered");
    app.wait_until("e9", "parked");
    let entry = |id| {
        let line = format!("GET /admin/v1/entries?state=all&id={id}");
        let found = app.ask_operator(TOKEN, &line, &Value::Null).json();
        found["entries"][0]["entry"].to_string()
    };
    let (delivered, parked) = (entry("e1"), entry("e9"));
    let invalid = Event::sample().with("/data/customer/email", json!(7));
    assert_eq!(app.post(&invalid).status, 422);
    let description = Description::of(app.ops());
    let event = email("e2", "c1", 2).json().to_string();
    let bearer = format!("Bearer {TOKEN}");
    for call in CALLS.lines().filter(|line| !line.is_empty()) {
        let mut parts = call.splitn(4, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let (status, method, path, body) = (part(), part(), part(), part());
        let fill = |text: &str| {
            let text = text.replace("PARKED", &parked).replace("EVENT", &event);
            text.replace("DELIVERED", &delivered)
        };
        let line = format!("{method} {}", fill(path));
        let headers = [("authorization", bearer.as_str())];
        let answer = http::ask(app.ops(), &line, &headers, &fill(body)).unwrap();
        assert_eq!(answer.status.to_string(), status, "{call}: {}", answer.body);
        let path = path.split('?').next().unwrap();
        let path = ["PARKED", "DELIVERED", "999"]
            .iter()
            .fold(path.to_owned(), |path, number| {
                path.replace(number, "{number}")
            });
        description.check(&path, &method.to_ascii_lowercase(), &answer);
    }
    let answer = http::ask(app.ops(), "GET /admin/v1/store/keys", &[], "").unwrap();
    assert_eq!(answer.status, 401);
    description.check("/admin/v1/store/keys", "get", &answer);
}
