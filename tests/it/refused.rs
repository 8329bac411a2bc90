//! Tests of requests that the bridge refuses for good: the operator sees them even if the sender shows the answer to
//! nobody.

use serde_json::{Value, json};

use crate::authentication::{SourceFolder, post};
use crate::http::{Answer, Connection, ask};
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
            row("invalid", "type", 1, json!(["/by_mail/*"])),
            row("invalid", "type", 1, json!(["/cid"])),
            row("malformed", "syntax", 1, json!([])),
            row("too_large", "-", 1, json!([])),
            row("unmappable", "e164", 1, json!(["/phone"])),
            row("unmappable", "e164", 1, json!(["/phone"])),
            row("unsupported_media_type", "-", 1, json!([])),
        ]
    );
    // FAULTS N927, N933
    let rows = denied(&app);
    let of = |problem: &str| rows.iter().find(|row| row["problem"] == problem).unwrap();
    let conflict = of("conflict")["last_detail"].as_str().unwrap();
    assert!(
        conflict.contains("body.id in the source file"),
        "{conflict}"
    );
    assert_eq!(of("conflict")["location"], "identity");
    assert_eq!(of("unmappable")["location"], "phone");
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

/// Posts a body, and returns the first element of the list `accepted` in the answer.
#[track_caller]
fn accept(app: &TestApp, headers: &[(&str, &str)], body: &str) -> Value {
    let line = "POST /v1/sources/probe/events";
    let answer = ask(app.ingress(), line, headers, body).unwrap();
    assert_eq!(answer.status, 202, "{body}: {}", answer.body);
    assert!(!answer.body.contains("canary"), "{}", answer.body);
    answer.json()["accepted"][0].clone()
}

fn parked_for(accepted: &Value) -> (&str, &str) {
    assert_eq!(accepted["status"], "parked", "{accepted}");
    let error = &accepted["faults"][0];
    let text = |name: &str| error[name].as_str().unwrap();
    (text("pointer"), text("rule"))
}

fn replay(app: &TestApp) -> Value {
    let body = json!({"filter": {"reason": "invalid"}, "map_again": true});
    let line = "POST /admin/v1/entries/replay";
    app.ask_operator(TOKEN, line, &body).json()
}

/// FAULTS N461: a vendor sends one event in each body and reads no answer. The bridge parks an invalid event, and the
/// operator sends it after a correction.
#[test]
fn an_invalid_event_that_is_alone_in_its_body_is_parked() {
    let folder = folder("");
    let park = BODY.replace("[body]\n", "[body]\non_invalid = \"park\"\n");
    let text = format!("[auth]\n{AUTH}\n{park}");
    std::fs::write(folder.path("sources/probe.toml"), &text).unwrap();
    let mut app = start(&folder, "");
    let json = [("content-type", "application/json")];
    let event = |id: &str, phone: &str| {
        json!({"id": id, "cid": "C-1", "email": "canary@example.com", "phone": phone}).to_string()
    };
    let wrong = accept(&app, &json, &event("1", "(415) 555-2671 x canary"));
    assert_eq!(parked_for(&wrong), ("/phone", "e164"));
    assert_eq!(
        accept(&app, &json, &event("1", "(415) 555-2671 x canary"))["duplicate"],
        true
    );
    let other = accept(&app, &json, &event("1", "4155552671"));
    assert_eq!(parked_for(&other), ("", "conflict"));
    let unnamed = json!({"cid": "C-1", "email": "canary@example.com"}).to_string();
    let unnamed = accept(&app, &json, &unnamed);
    assert_eq!(parked_for(&unnamed), ("/id", "body"));
    assert!(unnamed["id"].as_str().unwrap().starts_with("invalid-"));
    assert_eq!(parked_for(&accept(&app, &json, "[]")).1, "path");
    assert_eq!(post(&app, &[], "canary").status, 400);
    assert_eq!(
        app.metric("parked_invalid_total{source=\"probe\"}"),
        Some(4.0)
    );
    app.stop().unwrap();
    let corrected = text.replace(".phone | e164", ".phone | split(\" x\") | first | e164");
    assert_ne!(corrected, text);
    std::fs::write(folder.path("sources/probe.toml"), corrected).unwrap();
    app.restart();
    let replayed = replay(&app);
    assert_eq!(
        replayed["replayed"].as_array().unwrap().len(),
        3,
        "{replayed}"
    );
    app.wait_for("the event is delivered", |app| {
        app.imprint.email("C-1").as_deref() == Some("canary@example.com")
    });
}

const CLOUD: &str = r#"
[body]
on_invalid = "park"
[events.changed]
schema = "any.json"
customer.imprint_id = ".data.cid"
[events.changed.update]
email = ".data.email"
"#;

/// FAULTS N461: an event in structured mode or in binary mode is parked too. The bridge keeps the attributes of the
/// headers.
#[test]
fn a_single_invalid_cloudevent_is_parked() {
    let folder = SourceFolder::new("", AUTH, CLOUD);
    let mut app = start(&folder, "");
    let data = json!({"cid": "C-1", "email": "canary@example.com"});
    let event = json!({
        "specversion": "1.0", "id": "s-1", "source": "/crm", "type": "created", "data": data,
    });
    let structured = [("content-type", "application/cloudevents+json")];
    let unknown = accept(&app, &structured, &event.to_string());
    assert_eq!(parked_for(&unknown), ("/type", "unknown_event_type"));
    let list = accept(&app, &structured, &json!([event]).to_string());
    assert_eq!(parked_for(&list), ("", "type"));
    let binary = |id: &[&'static str], kind: &'static str| {
        let common = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-source", "/crm"),
            ("ce-type", kind),
        ];
        let ids = id.iter().map(|id| ("ce-id", *id));
        common.into_iter().chain(ids).collect::<Vec<_>>()
    };
    let data = json!({"cid": "C-2", "email": "canary@example.com"}).to_string();
    let unknown = accept(&app, &binary(&["b-1"], "created"), &data);
    assert_eq!(parked_for(&unknown).1, "unknown_event_type");
    assert_eq!(unknown["id"], "b-1");
    let missing = accept(&app, &binary(&[], "changed"), &data);
    assert_eq!(parked_for(&missing), ("/id", "required"));
    // FAULTS N1215
    assert!(
        missing
            .to_string()
            .contains("The request has no header ce-id."),
        "{missing}"
    );
    let twice = accept(&app, &binary(&["b-2", "b-3"], "changed"), "{}");
    assert_eq!(parked_for(&twice), ("/id", "duplicate_key"));
    for accepted in [missing, twice] {
        assert!(accepted["id"].as_str().unwrap().starts_with("invalid-"));
    }
    // FAULTS N590: the source file never had this event type.
    let rejected = replay(&app).to_string();
    assert!(
        rejected.contains("has no table for this event type. To send nothing"),
        "{rejected}"
    );
    app.stop().unwrap();
    let text = CLOUD.replace("events.changed", "events.created");
    let text = format!("[auth]\n{AUTH}\n{text}");
    std::fs::write(folder.path("sources/probe.toml"), text).unwrap();
    app.restart();
    let replayed = replay(&app);
    assert_eq!(
        replayed["replayed"].as_array().unwrap().len(),
        2,
        "{replayed}"
    );
    for customer in ["C-1", "C-2"] {
        app.wait_for(customer, |app| {
            app.imprint.email(customer).as_deref() == Some("canary@example.com")
        });
    }
}

/// FAULTS N462: the test event of a vendor has no id, and its type is in `ignore`. The bridge accepts it, and recognizes
/// the repeated event.
#[test]
fn an_event_of_an_ignored_type_needs_no_id() {
    let folder = SourceFolder::new("ignore = [\"ping\"]", AUTH, BODY);
    std::fs::write(folder.path("schemas/customer.json"), SCHEMA).unwrap();
    let app = start(&folder, "");
    let json = [("content-type", "application/json")];
    for id in [json!(null), json!({"a": 1}), json!("")] {
        let body = json!({"id": id, "type": "ping", "canary": "canary"}).to_string();
        let first = accept(&app, &json, &body);
        assert_eq!(
            (&first["status"], &first["duplicate"]),
            (&json!("ignored"), &json!(false))
        );
        assert!(
            first["id"].as_str().unwrap().starts_with("ignored-"),
            "{first}"
        );
        let again = accept(&app, &json, &body);
        assert_eq!(
            (&again["id"], &again["duplicate"]),
            (&first["id"], &json!(true))
        );
    }
    for kind in ["changed", "pong"] {
        let body = json!({"id": null, "type": kind}).to_string();
        let answer = post(&app, &[], &body);
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    let body = folder.path("ping.json");
    std::fs::write(&body, json!({"id": null, "type": "ping"}).to_string()).unwrap();
    let explain = ["explain", "--source", "probe", body.to_str().unwrap()];
    let (code, text, errors) = folder.run(&explain);
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.contains("ignored"), "{text}");
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

/// FAULTS N464: the answer to a body with too many events names the limit. The rule for a version in the future names its
/// place and its setting.
#[test]
fn an_error_names_the_limit_and_the_place() {
    let park = BODY.replace(
        "[body]\n",
        "[body]\nsplit = \".[]\"\non_invalid = \"park\"\n",
    );
    let timed = park.replace(
        "cid\"\n",
        "cid\"\nversion = \".at\"\nversion_domain = \"time\"\n",
    );
    let folder = SourceFolder::new("", AUTH, &timed);
    std::fs::write(folder.path("schemas/customer.json"), SCHEMA).unwrap();
    let app = start(&folder, "[ingress]\nbatch_max = 3");
    let event = |id: u32| json!({"id": id, "cid": "C-1", "at": "2999-01-01T00:00:00Z", "email": "canary@example.com"});
    let answer = post(
        &app,
        &[],
        &json!([event(1), event(2), event(3), event(4)]).to_string(),
    );
    assert_eq!(answer.status, 413, "{}", answer.body);
    let problem = answer.json();
    assert_eq!(
        problem["type"],
        "urn:imprint-bridge:problem:too_many_events"
    );
    let error = &problem["faults"][0];
    assert_eq!(
        (&error["rule"], &error["location"]),
        (&json!("batch_size"), &json!("ingress.batch_max"))
    );
    assert!(
        error["detail"]
            .as_str()
            .unwrap()
            .contains("more than 3 events"),
        "{error}"
    );
    let json = [("content-type", "application/json")];
    let ahead = accept(&app, &json, &json!([event(1)]).to_string());
    assert_eq!(parked_for(&ahead), ("/0/at", "version_ahead"));
    let detail = ahead["faults"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("ingress.version_ahead_max"), "{detail}");
    // The pointers of a replay are places in the stored event.
    let replayed = replay(&app);
    assert_eq!(
        replayed["unmappable"][0]["faults"][0]["pointer"], "/at",
        "{replayed}"
    );
}

/// FAULTS N950: the path is almost the path for events. No other part of the path than the name of the source is in the log.
#[test]
fn a_wrong_path_for_events_names_the_right_one() {
    let folder = folder("");
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, &folder.settings());
    let mut process = Process::serve(&files);
    let (ingress, _) = process.ready();
    let headers = [("content-type", "application/json")];
    for path in [
        "/v1/sources/probe",
        "/sources/probe/events",
        "/v1/sources/probe/events/",
        "/canary",
    ] {
        let line = format!("POST {path}");
        let answer = ask(ingress, &line, &headers, "{}").unwrap();
        assert_eq!(answer.status, 404, "{path}");
        let detail = "Events go to POST /v1/sources/{source}/events, without a slash";
        assert!(answer.body.contains(detail), "{path} {}", answer.body);
    }
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0), "{}", process.log());
    let log = process.log();
    assert!(!log.contains("canary"), "{log}");
    let wrong: Vec<Value> = log
        .lines()
        .filter(|line| {
            line.contains("no resource has its path; events go to POST /v1/sources/{source}/events")
        })
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let sources = wrong.iter().map(|line| line["source"].as_str());
    let probe = Some("probe");
    assert_eq!(
        sources.collect::<Vec<_>>(),
        [probe, probe, probe, Some("-")],
        "{log}"
    );
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
    // FAULTS N932: the name in the path of an unknown source is not in the log.
    for name in ["probes", "canary", "%0a%22canary%22"] {
        let line = format!("POST /v1/sources/{name}/events");
        assert_eq!(ask(ingress, &line, &headers, "{}").unwrap().status, 404);
    }
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0), "{}", process.log());
    let log = process.log();
    assert!(!log.contains("canary"), "{log}");
    let unknown: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("no source has the name"))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let similar = unknown.iter().map(|line| line["similar_to"].as_str());
    assert_eq!(
        similar.collect::<Vec<_>>(),
        [Some("probe"), Some("-"), Some("-")],
        "{log}"
    );
    let lines = log
        .lines()
        .filter(|line| line.contains("refused a request: the sender"));
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

/// FAULTS N466: the answer to a repeated event whose content differs names a remedy that works.
#[test]
fn a_conflict_names_what_the_bridge_compares_and_the_remedy() {
    let folder = folder("");
    let app = start(&folder, "");
    let event = |attempt: u32| json!({"id": "1", "cid": "C-1", "attempt": attempt}).to_string();
    assert_eq!(post(&app, &[], &event(1)).status, 202);
    let answer = post(&app, &[], &event(2));
    assert_eq!(answer.status, 409, "{}", answer.body);
    let problem = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(text(&problem["detail"]).contains("body.split"), "{problem}");
    let detail = text(&problem["faults"][0]["detail"]);
    assert!(detail.contains("compares the whole event"), "{problem}");
}

/// FAULTS N467: the answer to a conflict names the entry of the earlier event, in a body of one event and in a batch.
#[test]
fn a_conflict_names_the_earlier_entry() {
    let source = BODY.replace("[events.changed]", "split = \".[]\"\n[events.changed]");
    let folder = SourceFolder::new("", AUTH, &source);
    std::fs::write(folder.path("schemas/customer.json"), SCHEMA).unwrap();
    let app = start(&folder, "");
    let event = |id: &str, attempt: u32| json!({"id": id, "cid": "C-1", "attempt": attempt});
    let details = |answer: &Answer| -> Vec<String> {
        let problem = answer.json();
        let faults = problem["faults"].as_array().unwrap();
        let detail = |fault: &Value| fault["detail"].as_str().unwrap().to_owned();
        faults.iter().map(detail).collect()
    };
    let first = json!([event("1", 1), event("2", 1)]).to_string();
    assert_eq!(post(&app, &[], &first).status, 202);
    let answer = post(&app, &[], &json!([event("2", 2)]).to_string());
    let [detail] = &details(&answer)[..] else {
        panic!("{}", answer.body);
    };
    assert!(detail.contains("as entry 2,"), "{detail}");
    let batch = json!([event("1", 2), event("3", 1), event("3", 2)]).to_string();
    let answer = post(&app, &[], &batch);
    let [stored, in_body] = &details(&answer)[..] else {
        panic!("{}", answer.body);
    };
    assert!(stored.contains("as entry 1,"), "{stored}");
    assert!(in_body.contains("earlier event of this body"), "{in_body}");
}

/// FAULTS N396: the answer names the form of a wrong version and of a wrong time, and advises no function that refuses
/// this form.
#[test]
fn the_answer_names_the_form_of_a_time() {
    let source = BODY
        .replace("[events.changed]", "time = \".time\"\n[events.changed]")
        .replace(
            "customer.imprint",
            "version = \".at\"\nversion_domain = \"time\"\ncustomer.imprint",
        );
    let folder = SourceFolder::new("", AUTH, &source);
    std::fs::write(folder.path("schemas/customer.json"), SCHEMA).unwrap();
    let app = start(&folder, "");
    for (text, part) in [
        ("Fri, 14 Feb 2025 16:03:00 -0500", "a time of RFC 2822"),
        ("2025-02-14 16:03:00", "append \"Z\""),
        ("2025-02-14 16:03:00 UTC", "the functions utc and moment"),
        ("1739473687", "the function moment"),
    ] {
        for member in ["at", "time"] {
            let right = "2025-02-14T16:03:00Z";
            let mut event = json!({"id": text, "cid": "C-1", "at": right, "time": right});
            event[member] = text.into();
            let answer = post(&app, &[], &event.to_string());
            assert_eq!(answer.status / 100, 4, "{}", answer.body);
            let detail = &answer.json()["faults"][0]["detail"];
            let detail = detail.as_str().unwrap_or_else(|| panic!("{}", answer.body));
            assert!(detail.contains(part), "{member} of {text}: {detail}");
        }
    }
}
