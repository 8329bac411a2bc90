//! Tests of the traces: what a collector of OpenTelemetry receives about the life of an event.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use imprint_bridge::traces::SpanAttribute;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{Event, TestApp, email};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

/// A collector that takes all spans.
fn collector() -> RawImprint {
    RawImprint::start(|mut accepted| accepted.serve(|_| answer("200 OK", "{}")))
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn settings(collector: &RawImprint) -> String {
    format!(
        "[notices]\ninstance = \"bridge-0\"\n[traces]\nendpoint = \"{}/v1/traces?team=cards\"\n",
        collector.origin()
    )
}

/// Returns the trace context of a sender.
fn context(trace: &str) -> String {
    format!("00-{trace}-{SENDER}-01")
}

fn traced(id: &str, customer: &str, revision: u64) -> Event {
    email(id, customer, revision).with("/traceparent", json!(context(TRACE)))
}

/// A span that the collector has received, with its attributes by name.
#[derive(Clone, Debug)]
struct ReceivedSpan(Value);

impl ReceivedSpan {
    fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap()
    }

    fn name(&self) -> &str {
        self.text("name")
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let attributes = self.0["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|it| it["key"] == name)?;
        let value = found["value"].as_object().unwrap().values().next().unwrap();
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    fn nanoseconds(&self, member: &str) -> u64 {
        self.text(member).parse().unwrap()
    }
}

/// Returns the spans that the collector has received, in the order of their arrival. Each attribute must be on the
/// closed list.
fn received(collector: &RawImprint) -> Vec<ReceivedSpan> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /v1/traces?team=cards HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        for resource in body["resourceSpans"].as_array().unwrap() {
            for scope in resource["scopeSpans"].as_array().unwrap() {
                let all = scope["spans"].as_array().unwrap();
                spans.extend(all.iter().cloned().map(ReceivedSpan));
            }
        }
    }
    for span in &spans {
        for attribute in span.0["attributes"].as_array().unwrap() {
            let name = attribute["key"].as_str().unwrap();
            assert!(SpanAttribute::NAMES.contains(&name), "{span:?}");
        }
    }
    spans
}

/// Waits until the collector has received this number of spans.
#[track_caller]
fn wait_for_spans(app: &TestApp, collector: &RawImprint, count: usize) -> Vec<ReceivedSpan> {
    app.wait_for("the spans arrive", |_| received(collector).len() >= count);
    let spans = received(collector);
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

fn exported(app: &TestApp, result: &str) -> f64 {
    let line = format!("trace_spans_total{{result=\"{result}\"}}");
    app.metric(&line).unwrap()
}

/// FAULTS N1195: the spans of one event belong to the trace of its sender, and have no value and no id of a customer.
#[test]
fn the_life_of_an_event_has_a_span_for_each_step() {
    let collector = collector();
    let app = TestApp::setup().settings(settings(&collector)).start();
    app.imprint
        .inject(&json!({"times": 1, "action": {"status": 500}}));
    app.accept(&traced("canary-event", "canary-customer", 1));
    app.wait_until("canary-event", "delivered");
    let spans = wait_for_spans(&app, &collector, 4);
    let names: Vec<&str> = spans.iter().map(ReceivedSpan::name).collect();
    let update = "POST /v2/customers/{id}";
    assert_eq!(names, ["accept", update, update, "delivered"]);
    let [accept, failed, applied, delivered] = spans.try_into().unwrap();
    assert_eq!(accept.text("parentSpanId"), SENDER);
    for later in [&failed, &applied, &delivered] {
        assert_eq!(later.text("parentSpanId"), accept.text("spanId"));
    }
    let ids: BTreeSet<_> = [&accept, &failed, &applied, &delivered]
        .map(|span| {
            assert_eq!(span.text("traceId"), TRACE);
            assert_eq!(span.attribute("imprint_bridge.source").unwrap(), "crm");
            assert_eq!(span.attribute("imprint_bridge.entry").unwrap(), "1");
            let times = [
                span.nanoseconds("startTimeUnixNano"),
                span.nanoseconds("endTimeUnixNano"),
            ];
            assert!(times.is_sorted(), "{times:?}");
            span.text("spanId").to_owned()
        })
        .into();
    assert_eq!(ids.len(), 4, "each span has its own id");
    let kinds = [&accept, &failed, &applied, &delivered].map(|span| span.0["kind"].clone());
    assert_eq!(kinds, [2, 3, 3, 1]);
    assert_eq!(accept.attribute("imprint_bridge.state").unwrap(), "waiting");
    assert_eq!(
        failed.attribute("http.response.status_code").unwrap(),
        "500"
    );
    assert_eq!(failed.0["status"], json!({"code": 2}));
    assert_eq!(
        applied.attribute("imprint_bridge.outcome").unwrap(),
        "applied"
    );
    assert_eq!(
        applied.attribute("http.response.status_code").unwrap(),
        "200"
    );
    assert_eq!(applied.attribute("imprint_bridge.entries").unwrap(), "1");
    assert_eq!(applied.0["status"], json!({}));
    assert_eq!(
        delivered.nanoseconds("startTimeUnixNano"),
        accept.nanoseconds("startTimeUnixNano")
    );
    for request in collector.requests() {
        assert!(!request.contains("canary"), "{request}");
        assert!(request.contains("\"bridge-0\""), "{request}");
    }
    app.wait_for("the spans count", |app| exported(app, "exported") == 4.0);
}

/// FAULTS N1195: an event that ends otherwise, and events without a sampled trace.
#[test]
fn only_a_sampled_trace_has_spans() {
    let collector = collector();
    let app = TestApp::setup().settings(settings(&collector)).start();
    app.imprint.inject(
        &json!({"customer": "refused", "action": {"status": 422, "type": "INVALID_REQUEST_ERROR"}}),
    );
    app.accept(&email("without", "c1", 1));
    let unsampled = format!("00-{TRACE}-{SENDER}-00");
    app.accept(&email("unsampled", "c2", 1).with("/traceparent", json!(unsampled)));
    app.accept(&email("wrong", "c3", 1).with("/traceparent", json!("00-1-2-03")));
    for id in ["without", "unsampled", "wrong"] {
        app.wait_until(id, "delivered");
    }
    app.accept(&traced("refused", "refused", 1));
    app.wait_until("refused", "parked");
    // The header of the request counts for an event without a context of its own.
    let of_request = "a".repeat(32);
    let header = context(&of_request);
    let headers = [
        ("content-type", "application/cloudevents-batch+json"),
        ("traceparent", &header),
    ];
    let [first, second] = [email("b1", "c4", 1), traced("refused", "refused", 1)];
    let body = json!([first.json(), second.json()]).to_string();
    let sent = app.post_raw(&headers, &body);
    assert_eq!(sent.status, 202, "{}", sent.body);
    app.wait_until("b1", "delivered");
    let spans = wait_for_spans(&app, &collector, 7);
    let of_trace = |trace: &str| -> Vec<&ReceivedSpan> {
        spans
            .iter()
            .filter(|span| span.text("traceId") == trace)
            .collect()
    };
    let names = |spans: &[&ReceivedSpan]| -> Vec<String> {
        spans.iter().map(|span| span.name().to_owned()).collect()
    };
    let update = "POST /v2/customers/{id}";
    let refused = of_trace(TRACE);
    assert_eq!(names(&refused), ["accept", update, "parked", "accept"]);
    assert_eq!(
        refused[2].attribute("imprint_bridge.reason").unwrap(),
        "rejected"
    );
    assert_eq!(refused[2].0["status"], json!({"code": 2}));
    let duplicate = refused[3].attribute("imprint_bridge.duplicate");
    assert_eq!(duplicate.as_deref(), Some("true"));
    assert_eq!(
        names(&of_trace(&of_request)),
        ["accept", update, "delivered"]
    );
}

#[test]
fn the_readme_lists_every_attribute() {
    let readme = include_str!("../../README.md");
    for name in SpanAttribute::NAMES {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

/// FAULTS N1196: the collector hangs, and then fails, and then answers.
#[test]
fn a_broken_collector_delays_no_event_and_gets_the_spans_later() {
    let is_given_up = Arc::new(AtomicBool::new(false));
    let gives_up = Arc::clone(&is_given_up);
    let collector = RawImprint::start(move |mut accepted: Accepted| {
        if accepted.request().is_none() {
            return;
        }
        match accepted.number {
            0 => {
                accepted.until_closed();
                gives_up.store(true, Ordering::SeqCst);
            }
            1 => accepted
                .send("HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .unwrap(),
            _ => accepted
                .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
                .unwrap(),
        }
    });
    let app = TestApp::setup().settings(settings(&collector)).start();
    app.accept(&traced("first", "c0", 1));
    app.wait_for("the collector hangs", |_| collector.requests().len() == 1);
    for number in 0..20 {
        let id = format!("meanwhile-{number}");
        app.accept(&traced(&id, &id, 1));
        app.wait_until(&id, "delivered");
    }
    assert!(
        !is_given_up.load(Ordering::SeqCst),
        "the collector still hangs"
    );
    app.wait_for("the bridge exports everything", |app| {
        exported(app, "exported") == 63.0
    });
    assert!(is_given_up.load(Ordering::SeqCst));
    let requests = collector.requests();
    assert!(
        (4..10).contains(&requests.len()),
        "{} requests",
        requests.len()
    );
    let body = |at: usize| requests[at].split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(
        [body(1), body(2)],
        [body(0), body(0)],
        "the same spans again"
    );
    assert_eq!(
        (exported(&app, "dropped"), exported(&app, "failed")),
        (0.0, 0.0)
    );
}

/// FAULTS N1194: the memory for waiting spans is full.
#[test]
fn a_full_memory_drops_spans_and_delays_no_event() {
    let collector = collector();
    // The export waits for the clock, so nothing leaves the memory.
    let app = TestApp::setup()
        .manual_clock()
        .settings(settings(&collector))
        .start();
    let event = |number: u32| traced(&format!("e{number}"), &format!("c{number}"), 1);
    let events: Vec<Event> = (0..100).map(event).collect();
    assert_eq!(app.post_batch(&events).status, 202);
    for number in 0..100 {
        app.wait_until(&format!("e{number}"), "delivered");
    }
    assert_eq!(exported(&app, "dropped"), 0.0);
    // Each repetition of an event has a span.
    for _ in 0..80 {
        assert_eq!(app.post_batch(&events).status, 202);
    }
    let (spans, spans_max) = (300.0 + 80.0 * 100.0, 8192.0);
    assert_eq!(exported(&app, "dropped"), spans - spans_max);
    app.accept(&traced("last", "last", 1));
    app.wait_until("last", "delivered");
    assert!(collector.requests().is_empty());
    let step = std::time::Duration::from_secs(1);
    app.advance_until("the kept spans arrive", step, |app| {
        exported(app, "exported") == spans_max
    });
}

/// FAULTS N1197: the collector refuses the spans. The bridge sends no span twice, and does not send faster.
#[test]
fn a_refusing_collector_gets_no_span_twice() {
    let collector = RawImprint::start(|mut accepted| {
        accepted.serve(|request| match request.contains("\"accept\"") {
            true => answer("400 Bad Request", "{}"),
            false => answer("200 OK", r#"{"partialSuccess": {"rejectedSpans": "1"}}"#),
        });
    });
    let app = TestApp::setup()
        .manual_clock()
        .settings(settings(&collector))
        .start();
    app.imprint.inject(&json!({"action": {"status": 503}}));
    app.accept(&traced("e1", "c1", 1));
    let step = std::time::Duration::from_millis(500);
    app.advance_until("the first spans fail", step, |app| {
        exported(app, "failed") >= 1.0
    });
    app.imprint.sandbox.clear_faults();
    app.advance_until("the other spans arrive", step, |app| {
        exported(app, "exported") >= 1.0
    });
    app.wait_until("e1", "delivered");
    let spans = received(&collector);
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.text("spanId")).collect();
    assert_eq!(ids.len(), spans.len(), "{spans:#?}");
    let (sent, failed) = (exported(&app, "exported"), exported(&app, "failed"));
    assert!(sent + failed <= 20.0 && failed >= 2.0, "{sent} {failed}");
}

/// FAULTS N1198: the secret of the collector, and settings without an endpoint.
#[test]
fn the_secret_of_the_collector_changes_without_a_restart() {
    let collector = collector();
    let folder = tempfile::tempdir().unwrap();
    write_secret(&folder, "canary-first");
    let section = format!(
        "{}header = \"x-api-key\"\nsecret_file = {:?}\n",
        settings(&collector),
        folder.path().join("secret")
    );
    let app = TestApp::setup().settings(section).start();
    app.accept(&traced("e1", "c1", 1));
    let has = |secret: &str| {
        let line = format!("x-api-key: {secret}\r\n");
        collector
            .requests()
            .iter()
            .any(|request| request.contains(&line))
    };
    app.wait_for("the spans arrive with the secret", |_| has("canary-first"));
    write_secret(&folder, "canary-second");
    let number = Cell::new(0);
    app.wait_for("the spans arrive with the new secret", |app| {
        number.set(number.get() + 1);
        let id = format!("later-{}", number.get());
        app.accept(&traced(&id, &id, 1));
        app.wait_until(&id, "delivered");
        has("canary-second")
    });
}

fn write_secret(folder: &TempDir, secret: &str) {
    let draft = folder.path().join("new");
    std::fs::write(&draft, format!("{secret}\n")).unwrap();
    std::fs::rename(draft, folder.path().join("secret")).unwrap();
}

/// FAULTS N1199: without an endpoint, the bridge opens no connection, and its memory has no trace.
#[test]
fn without_an_endpoint_the_bridge_exports_nothing() {
    let collector = collector();
    let app = TestApp::setup().start();
    app.accept(&traced("e1", "c1", 1));
    app.wait_until("e1", "delivered");
    assert!(collector.requests().is_empty());
    for result in ["exported", "dropped", "failed"] {
        assert_eq!(exported(&app, result), 0.0, "{result}");
    }
}

/// FAULTS N1198: wrong settings stop the start, and no message has the secret or the path of the URL.
#[test]
fn wrong_settings_of_the_traces_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let good = file("good", "canary-secret");
    let spaced = file("spaced", "canary secret");
    let absent = folder.path().join("absent").display().to_string();
    for (url, header, secret, expected) in [
        ("", "x-key", good.as_str(), "needs traces.endpoint"),
        (
            "http://otel.example/canary",
            "x-key",
            &good,
            "must be https",
        ),
        (
            "https://10.0.0.1/canary",
            "x-key",
            &good,
            "not an IP address",
        ),
        (
            "https://otel.example/canary",
            "a key",
            &good,
            "must be the name of a header",
        ),
        (
            "https://otel.example/canary",
            "x-key",
            &spaced,
            "contains spaces",
        ),
        ("https://otel.example/canary", "x-key", &absent, "absent"),
    ] {
        let root = env!("CARGO_MANIFEST_DIR");
        let folders =
            format!("sources_dir = \"{root}/config/sources\"\nschemas_dir = \"{root}/schemas\"");
        let settings = format!(
            "{folders}\n[traces]\nendpoint = \"{url}\"\nheader = \"{header}\"\nsecret_file = \"{secret}\"\n"
        );
        let settings = file("settings.toml", &settings);
        let output = commands::run(&["check", "--config", &settings], "");
        let errors = commands::text(&output.stderr) + &commands::text(&output.stdout);
        assert!(errors.contains(expected), "{url}: {errors}");
        assert!(!errors.contains("canary"), "{errors}");
    }
}
