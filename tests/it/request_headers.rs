//! Tests of sources whose expressions read request headers.

use serde_json::json;

use crate::authentication::{SourceFolder, post};
use crate::commands;
use crate::http::ask;
use crate::support::{TestApp, wait_for};

const SECRET: &str = "the-client-secret-of-the-app";
const AUTH: &str = "kind = \"hmac\"\nheader = \"x-shopify-hmac-sha256\"\nencoding = \"base64\"\nsecret_files = [\"$/secret\"]";
const LISTED: &str =
    "ignore = [\"*\"]\nunsigned_headers = [\"x-shopify-topic\", \"x-shopify-event-id\"]";
const RULES: &str = r#"
[body]
format = "json"
id = 'header("X-Shopify-Event-Id")'
type = 'header("x-shopify-topic")'
[events."customers/*"]
schema = "any.json"
when = 'header("x-shopify-topic") != "customers/redact"'
customer.imprint_id = ".cid"
[events."customers/*".update]
email = ".email"
"#;
/// The body of each test, and its signature with [`SECRET`].
const BODY: &str = r#"{"cid":"C-1","email":"a@example.com"}"#;
const SIGNATURE: &str = "mhkQmBeYmVEctAZ5zzEGoDdMIF+ALWzlEy3ClgVV3Is=";

fn folder() -> SourceFolder {
    SourceFolder::new(LISTED, AUTH, RULES).secret("secret", SECRET)
}

fn start(folder: &SourceFolder) -> TestApp {
    TestApp::setup()
        .settings(folder.settings())
        .operator("ann", "token-of-ann-0123456789")
        .start()
}

/// FAULTS N349: the topic and the id of an event stand only in headers, as Shopify sends them.
#[test]
fn the_topic_and_the_id_stand_in_headers() {
    let folder = folder();
    let app = start(&folder);
    let signed = ("x-shopify-hmac-sha256", SIGNATURE);
    let topic = |topic| ("x-shopify-topic", topic);
    let id = |id| ("x-shopify-event-id", id);
    let receipt = |id: &str| {
        let line = format!("GET /v1/sources/probe/events/{id}");
        ask(app.ingress(), &line, &[], "").unwrap().status
    };
    for (headers, status, part) in [
        (
            &[topic("customers/update"), id("h-1"), signed][..],
            202,
            "\"waiting\"",
        ),
        (
            &[topic("customers/redact"), id("h-2"), signed],
            202,
            "\"ignored\"",
        ),
        (
            &[topic("orders/paid"), id("h-3"), signed],
            202,
            "\"ignored\"",
        ),
        (
            &[topic("customers/update"), id("h-1"), signed],
            202,
            "\"duplicate\":true",
        ),
        (&[id("h-4"), signed], 400, "no header x-shopify-topic"),
        (
            &[
                topic("customers/update"),
                topic("orders/paid"),
                id("h-5"),
                signed,
            ],
            400,
            "occurs more than once",
        ),
        (
            &[topic("customers/update"), id("h-6")],
            401,
            "unauthenticated",
        ),
    ] {
        let answer = post(&app, headers, BODY);
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    wait_for("the event is delivered", || {
        (app.imprint.email("C-1").as_deref() == Some("a@example.com")).then_some(())
    });
    // The signature does not cover the path, so nobody can read a receipt.
    assert_eq!(receipt("h-1"), 401);
    let metrics = app.ops_get("/metrics").body;
    let line = "imprint_bridge_unsigned_headers{source=\"probe\"} 2";
    assert!(metrics.contains(line), "{metrics}");
}

/// FAULTS N349: `check` refuses a source whose expressions read a header that is neither signed nor listed.
#[test]
fn check_refuses_a_header_that_is_not_signed() {
    let refused = SourceFolder::new("ignore = [\"*\"]", AUTH, RULES).secret("secret", SECRET);
    let (code, _, errors) = refused.run(&["check"]);
    assert_eq!(code, Some(2), "{errors}");
    for name in ["x-shopify-topic", "x-shopify-event-id"] {
        assert!(errors.contains(&format!("must list {name}")), "{errors}");
    }
    let signed = format!(
        "{AUTH}\nsigned = \"{{header:x-shopify-topic}}\\n{{header:x-shopify-event-id}}\\n{{body}}\""
    );
    let accepted = SourceFolder::new("ignore = [\"*\"]", &signed, RULES).secret("secret", SECRET);
    let (code, report, errors) = accepted.run(&["check"]);
    assert_eq!(code, Some(0), "{report}{errors}");
    // Without text between them, a part of one header could become a part of the other.
    let mixed = signed.replace("}\\n{header", "}{header");
    let mixed = SourceFolder::new("ignore = [\"*\"]", &mixed, RULES).secret("secret", SECRET);
    let (code, _, errors) = mixed.run(&["check"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("has nothing between"), "{errors}");
    let listed = SourceFolder::new(LISTED, AUTH, RULES).secret("secret", SECRET);
    let (code, report, errors) = listed.run(&["check"]);
    assert_eq!(code, Some(0), "{errors}");
    let weakens = |text: &str| text.contains("the signature need not cover x-shopify-");
    assert!(weakens(&report) || weakens(&errors), "{report}{errors}");
    let elsewhere = RULES.replace("email = \".email\"", "email = 'header(\"x-email\")'");
    let elsewhere = SourceFolder::new(LISTED, AUTH, &elsewhere).secret("secret", SECRET);
    let (code, _, errors) = elsewhere.run(&["check"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("`header` is available only in"), "{errors}");
}

/// `explain` and the examples of `check` take headers.
#[test]
fn explain_and_check_take_headers() {
    let folder = folder();
    std::fs::create_dir(folder.path("sources/probe")).unwrap();
    let example = |name: &str, text: &str| {
        std::fs::write(folder.path(&format!("sources/probe/{name}")), text).unwrap();
    };
    example("update.event.json", BODY);
    example(
        "update.headers.txt",
        "X-Shopify-Topic: customers/update\nx-shopify-event-id: e-1\n",
    );
    example(
        "update.request.json",
        r#"{"path": "/v2/customers/C-1", "body": {"email": "a@example.com"}}"#,
    );
    let (code, report, errors) = folder.run(&["check"]);
    assert_eq!(code, Some(0), "{report}{errors}");
    assert!(report.contains("  1 example\n"), "{report}");
    assert!(!report.contains("in no example"), "{report}");

    let body = folder.path("body.json");
    std::fs::write(&body, BODY).unwrap();
    let body = body.to_str().unwrap();
    let topic = "x-shopify-topic: customers/update";
    let id = "x-shopify-event-id: e-1";
    let explain = ["explain", "--source", "probe", "-H", topic, "-H", id, body];
    let (code, report, errors) = folder.run(&explain);
    assert_eq!(code, Some(0), "{report}{errors}");
    assert!(report.contains("header(\"x-shopify-topic\")"), "{report}");
}

/// The admin API explains a body with the headers of its own request, and `send` adds headers to each request.
#[test]
fn the_admin_api_and_send_take_headers() {
    let folder = folder();
    let topic = "x-shopify-topic: customers/update";
    let app = start(&folder);
    let headers = [
        ("authorization", "Bearer token-of-ann-0123456789"),
        ("x-shopify-topic", "customers/update"),
        ("x-shopify-event-id", "e-1"),
    ];
    let line = "POST /admin/v1/explain?source=probe&reveal=true";
    let explained = ask(app.ops(), line, &headers, BODY).unwrap();
    assert_eq!(explained.status, 200, "{}", explained.body);
    let explained = explained.json();
    let event = &explained["events"][0];
    assert_eq!(event["request"]["body"], json!({"email": "a@example.com"}));

    let file = folder.path("sources/probe.toml");
    let more = [
        "--plain",
        "--source-file",
        file.to_str().unwrap(),
        "-H",
        topic,
        "-H",
        "x-shopify-event-id: e-2",
    ];
    let sent = commands::send(app.ingress(), "probe", &more, BODY);
    assert!(sent.status.success(), "{}", commands::text(&sent.stderr));
    wait_for("the event is delivered", || {
        (app.imprint.email("C-1").as_deref() == Some("a@example.com")).then_some(())
    });
}

/// FAULTS N349: the condition of a CloudEvents source reads a header. The bridge stores the header with the event, so an
/// operator sees it, and the bridge can map the event again.
#[test]
fn a_condition_of_cloudevents_reads_a_header() {
    const MAPPED: &str = r#"
[events.changed]
schema = "any.json"
when = 'header("x-environment") == "live"'
customer.imprint_id = ".data.cid"
address.country = ".data.country"
[events.changed.update]
city = ".data.city"
"#;
    let token = "kind = \"bearer\"\ntoken_files = [\"$/secret\"]";
    let folder = SourceFolder::new("", token, MAPPED).secret("secret", SECRET);
    let app = start(&folder);
    let bearer = format!("Bearer {SECRET}");
    let send = |id: &str, environment: &str| {
        let data = json!({"cid": "C-1", "city": "Paris", "country": "FRA"});
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/crm", "type": "changed", "data": data,
        });
        let headers = [
            ("content-type", "application/cloudevents+json"),
            ("authorization", bearer.as_str()),
            ("x-environment", environment),
        ];
        let line = "POST /v1/sources/probe/events";
        let answer = ask(app.ingress(), line, &headers, &event.to_string()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["accepted"][0]["status"].clone()
    };
    assert_eq!(send("c-1", "test"), "ignored");
    assert_eq!(send("c-2", "live"), "parked");
    let operator = [("authorization", "Bearer token-of-ann-0123456789")];
    let get = |path: &str| {
        let line = format!("GET /admin/v1/entries{path}");
        ask(app.ops(), &line, &operator, "").unwrap().json()
    };
    let listed = get("?source=probe");
    let number = listed["entries"][0]["entry"].as_u64().unwrap();
    let shown = get(&format!("/{number}?reveal=true"));
    assert!(
        shown.to_string().contains(r#""x-environment":"live""#),
        "{shown}"
    );
    let explained = get(&format!("/{number}/explain"));
    assert_eq!(explained["outcome"], "parked", "{explained}");
}

/// FAULTS N1435: the corrected condition reads a header that the bridge did not store with a parked event.
#[test]
fn a_replay_does_not_take_an_unknown_header_for_an_absent_one() {
    let source = |when: &str| {
        format!(
            "\n[events.changed]\nschema = \"any.json\"\nwhen = '{when}'\ncustomer.imprint_id = \".data.cid\"\naddress.country = \".data.country\"\n[events.changed.update]\ncity = \".data.city\"\n"
        )
    };
    let token = "kind = \"bearer\"\ntoken_files = [\"$/secret\"]";
    let start = |when: &str| {
        let folder = SourceFolder::new("", token, &source(when)).secret("secret", SECRET);
        let app = start(&folder);
        (folder, app)
    };
    let replay = |app: &TestApp| {
        let operator = [
            ("authorization", "Bearer token-of-ann-0123456789"),
            ("content-type", "application/json"),
        ];
        let body = json!({"ids": [1], "map_again": true}).to_string();
        let line = "POST /admin/v1/entries/replay";
        ask(app.ops(), line, &operator, &body).unwrap().json()
    };
    let first = "header(\"x-none\") == null and header(\"x-environment\") == \"live\"";
    let (folder, mut app) = start(first);
    let bearer = format!("Bearer {SECRET}");
    let data = json!({"cid": "C-1", "city": "Paris", "country": "FRA"});
    let event = json!({"specversion": "1.0", "id": "c-1", "source": "/crm", "type": "changed", "data": data});
    let headers = [
        ("content-type", "application/cloudevents+json"),
        ("authorization", bearer.as_str()),
        ("x-environment", "live"),
        ("x-new", "a"),
    ];
    let line = "POST /v1/sources/probe/events";
    let answer = ask(app.ingress(), line, &headers, &event.to_string()).unwrap();
    assert_eq!(answer.json()["accepted"][0]["status"], "parked");
    let mut reconfigure = |when: &str| {
        app.stop().unwrap();
        let file = folder.path("sources/probe.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.lines().map(|line| match line.starts_with("when = ") {
            true => format!("when = '{when}'"),
            false if line.starts_with("address.country") => String::new(),
            false => line.to_owned(),
        });
        std::fs::write(&file, text.collect::<Vec<_>>().join("\n")).unwrap();
        app.restart();
        replay(&app)
    };
    let refused = reconfigure("header(\"x-new\") == \"a\"");
    let errors = &refused["unmappable"][0]["faults"][0];
    assert_eq!(errors["rule"], "header", "{refused}");
    // The bridge knows that the request had no header x-none.
    let replayed = reconfigure(first);
    assert_eq!(replayed["unmappable"], json!([]), "{replayed}");
    wait_for("delivered", || {
        let calls = app.imprint.calls();
        calls
            .iter()
            .any(|call| call.body["city"] == "Paris")
            .then_some(())
    });
}
