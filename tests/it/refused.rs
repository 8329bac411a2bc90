//! Tests of requests that the bridge refuses for good: the operator sees them even if the sender shows the answer to
//! nobody.

use serde_json::{Value, json};

use crate::authentication::{SourceFolder, post};
use crate::http::{Connection, ask};
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp};

const TOKEN: &str = "token-of-alice-0123456789";
const AUTH: &str = "kind = \"none\"";
const BODY: &str = r#"
[body]
format = "json"
id = ".id"
type = '.type // "changed"'
[events.changed]
schema = "customer.json"
customer.imprint_id = ".cid"
[events.changed.update]
email = ".email"
phone = '.phone | e164("US")'
"#;
const SCHEMA: &str = r#"{"type": "object", "required": ["cid"], "properties": {
    "cid": {"type": "string"},
    "by_mail": {"type": "object", "additionalProperties": {"type": "object"}}
}}"#;

fn folder(more: &str) -> SourceFolder {
    let folder = SourceFolder::new("", AUTH, &format!("{BODY}{more}"));
    std::fs::write(folder.path("schemas/customer.json"), SCHEMA).unwrap();
    folder
}

fn start(folder: &SourceFolder, more: &str) -> TestApp {
    TestApp::setup()
        .settings(format!("{}\n{more}", folder.settings()))
        .operator("alice", TOKEN)
        .start()
}

/// Returns the rows of the refused requests to the source `probe`.
fn denied(app: &TestApp) -> Vec<Value> {
    let line = "GET /admin/v1/denied-requests?source=probe";
    let answer = app.ask_operator(TOKEN, line, &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("canary"), "{}", answer.body);
    answer.json()["requests"].as_array().unwrap().clone()
}

/// FAULTS N460: a vendor shows the answers of the bridge to nobody. The operator sees each refused request: the source,
/// the problem type, the broken rule and its places, but no value.
#[test]
fn the_operator_sees_every_refused_request() {
    let folder = folder("");
    let app = start(&folder, "[ingress]\nbody_bytes_max = 4096");
    let event = |id: &str, phone: &str| {
        json!({"id": id, "cid": "C-1", "email": "canary@example.com", "phone": phone}).to_string()
    };
    assert_eq!(post(&app, &[], &event("1", "4155552671")).status, 202);
    let by_mail = json!({"id": "5", "by_mail": {"canary@example.com": "canary"}}).to_string();
    let large = format!("{{\"id\": \"{}\"}}", "canary".repeat(1000));
    for (body, status) in [
        (event("1", "4155552672"), 409),
        ("{\"canary\"".to_owned(), 400),
        (event("2", "canary"), 422),
        (event("3", "12"), 422),
        (json!({"id": "4", "cid": 7}).to_string(), 422),
        (by_mail, 422),
        (large, 413),
    ] {
        let answer = post(&app, &[], &body);
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let media_type = [("content-type", "text/canary")];
    let line = "POST /v1/sources/probe/events";
    assert_eq!(
        ask(app.ingress(), line, &media_type, "").unwrap().status,
        415
    );
    let line = "POST /v1/sources/canary/events";
    assert_eq!(ask(app.ingress(), line, &[], "").unwrap().status, 404);

    let rows = denied(&app);
    let rows = rows.iter().map(|row| {
        assert!(
            row["last_at"].is_string() && row["last_detail"].is_string(),
            "{row}"
        );
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let pointers = row["last_pointers"].to_string();
        let count = row["count"].as_u64().unwrap();
        (text("problem"), text("reason"), count, pointers)
    });
    let row = |problem: &str, reason: &str, count, pointers: Value| {
        (
            problem.to_owned(),
            reason.to_owned(),
            count,
            pointers.to_string(),
        )
    };
    assert_eq!(
        Vec::from_iter(rows),
        [
            row("conflict", "conflict", 1, json!([])),
            row("invalid", "required", 1, json!([])),
            row("invalid", "type", 2, json!(["/by_mail/*"])),
            row("malformed", "syntax", 1, json!([])),
            row("too_large", "-", 1, json!([])),
            row("unmappable", "e164", 2, json!(["/phone"])),
            row("unsupported_media_type", "-", 1, json!([])),
        ]
    );
    let refused = |problem: &str, source: &str| {
        app.metric(&format!(
            "refused_total{{problem=\"{problem}\",source=\"{source}\"}}"
        ))
    };
    assert_eq!(refused("invalid", "probe"), Some(2.0));
    assert_eq!(refused("unknown_event_type", "probe"), Some(0.0));
    assert_eq!(refused("unknown_source", ""), Some(1.0));
    app.wait_for("the first event is delivered", |app| {
        app.imprint.email("C-1").as_deref() == Some("canary@example.com")
    });
}

/// FAULTS N460: the log names the source, the problem type, the rule and the places of a refused event, and no value.
#[test]
fn the_log_names_the_rule_that_a_refused_event_breaks() {
    let folder = folder("");
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, &folder.settings());
    let mut process = Process::serve(&files);
    let (ingress, _) = process.ready();
    let line = "POST /v1/sources/probe/events";
    let headers = [("content-type", "application/json")];
    for number in 0..60 {
        let by_mail = json!({"canary@example.com": "canary", format!("{number}"): "canary"});
        let body = json!({"id": "canary", "cid": "C-1", "by_mail": by_mail}).to_string();
        let answer = ask(ingress, line, &headers, &body).unwrap();
        assert_eq!(answer.status, 422, "{}", answer.body);
    }
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0), "{}", process.log());
    let log = process.log();
    assert!(!log.contains("canary"), "{log}");
    let lines = log
        .lines()
        .filter(|line| line.contains("refused a request"));
    let lines: Vec<Value> = lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let first = lines.first().unwrap();
    let field = |name: &str| first[name].as_str().unwrap();
    assert_eq!(
        ["source", "problem", "rule", "pointers", "level"].map(field),
        ["probe", "invalid", "type", "/by_mail/0 /by_mail/*", "WARN"]
    );
    assert!(lines.len() < 60, "the log limits the number of lines");
}

/// FAULTS N463: a vendor checks the URL of its events with HEAD before it sends events.
#[test]
fn a_head_request_shows_that_the_source_exists() {
    let app = start(&folder(""), "");
    let head = |source: &str| {
        let line = format!("HEAD /v1/sources/{source}/events");
        let mut connection = Connection::open(app.ingress()).unwrap();
        let head = connection.ask(&line, &[], "").unwrap();
        // The next answer on the connection begins directly behind the head: the answer has no body.
        let next = connection.ask("GET /v1/x", &[], "").unwrap();
        assert_eq!(next.status, 404, "{}", next.body);
        head.status
    };
    assert_eq!((head("probe"), head("other")), (200, 404));
    let get = ask(app.ingress(), "GET /v1/sources/probe/events", &[], "").unwrap();
    assert_eq!(get.status, 405);
    assert_eq!(get.header("allow"), Some("HEAD, OPTIONS, POST"));
}
