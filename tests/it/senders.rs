//! Tests with foreign programs: a sender that uses the CloudEvents SDK, and `promtool`, the checker of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use imprint_bridge::ingress::refusal::FINAL_PROBLEMS;
use imprint_bridge::sandbox::{Authorization, LedgerEntry};
use serde_json::{Value, json};

use crate::kill::bridge::Bridge;
use crate::kill::http::Client;
use crate::kill::imprint::Imprint;
use crate::support::{metric, wait_for};

const EVENTS: &str = "/v1/sources/crm/events";

/// The weakenings of the protection.
const WEAKENINGS: [&str; 21] = [
    "local_profile",
    "plain_http",
    "undocumented_host",
    "store_not_sealed",
    "no_authentication",
    "no_signing_time",
    "guessable_secret",
    "exposed_secret",
    "core_dumps",
    "confinement_off",
    "files_open",
    "files_partly_open",
    "system_calls_open",
    "audit_key",
    "no_erasure_journal",
    "operator_roles",
    "whole_events_kept",
    "card_numbers_kept",
    "brake_off",
    "disk_reserve",
    "commits_lost",
];

/// All labels of the metrics page, each with all allowed values. Any other value is new, or came from a request.
const LABELS: [(&str, &[&str]); 40] = [
    ("accepted_total/source", &["crm"]),
    ("duplicates_total/source", &["crm"]),
    ("last_event_timestamp_seconds/source", &["crm"]),
    ("destination_mode/mode", &["open", "paused", "shadow"]),
    ("build_info/version", &[env!("CARGO_PKG_VERSION")]),
    ("refused_total/problem", &PROBLEMS),
    ("refused_total/source", &["crm", ""]),
    ("weakened/weakening", &WEAKENINGS),
    (
        "unauthenticated_total/reason",
        &["missing", "malformed", "stale", "mismatch"],
    ),
    ("unsigned_headers/source", &["crm"]),
    ("parked_invalid_total/source", &["crm"]),
    ("held_total/source", &["crm"]),
    ("skipped_fields_total/source", &["crm"]),
    ("over_rate_quota_total/source", &["crm"]),
    ("over_storage_quota_total/source", &["crm"]),
    ("unlisted_phones_total/source", &["crm"]),
    ("field_values_total/source", &["crm"]),
    ("field_values_total/field", &CRM_FIELDS),
    ("field_values_total/value", &["set", "cleared"]),
    ("empty_requests_total/source", &["crm"]),
    ("storage_quota_bytes/source", &["crm"]),
    ("stored_bytes/source", &["crm"]),
    ("attempts_total/outcome", &OUTCOMES),
    ("request_duration_seconds_bucket/outcome", &OUTCOMES),
    ("request_duration_seconds_sum/outcome", &OUTCOMES),
    ("request_duration_seconds_count/outcome", &OUTCOMES),
    ("request_duration_seconds_bucket/le", &BUCKETS),
    ("request_entries_bucket/le", &BUCKETS),
    (
        "ended_total/state",
        &["delivered", "superseded", "ignored", "parked", "discarded"],
    ),
    (
        "ignored_total/reason",
        &[
            "listed_type",
            "condition",
            "nothing_to_send",
            "values_skipped",
            "foreign_address",
            "clearing_omitted",
            "unknown_customer",
            "blocked",
        ],
    ),
    (
        "parked_total/reason",
        &[
            "rejected",
            "attempts_exhausted",
            "unknown_customer",
            "unreadable",
            "identity_conflict",
            "ambiguous_customer",
            "foreign_address",
            "not_cleared",
            "version_jump",
            "by_operator",
            "invalid",
            "vanished",
        ],
    ),
    ("lookups_total/outcome", &LOOKUPS),
    (
        "admin_denied_total/reason",
        &[
            "disabled", "missing", "mismatch", "shared", "role", "limited",
        ],
    ),
    ("notices_total/result", &["sent", "failed"]),
    (
        "trace_spans_total/result",
        &["exported", "dropped", "failed"],
    ),
    ("secret_read_failures_total/secret", &SECRETS),
    ("secret_modified_timestamp_seconds/secret", &SECRETS),
    (
        "echo_mismatch_total/group",
        &[
            "email",
            "phone",
            "first_name",
            "last_name",
            "preferred_language",
            "address",
            "metadata",
        ],
    ),
    (
        "destination_state/state",
        &["flowing", "probing", "throttled", "stopped"],
    ),
    (
        "store_condition/condition",
        &["working", "full", "stalled", "file_gone"],
    ),
];
const SECRETS: [&str; 8] = [
    "audit", "egress", "imprint", "notice", "operator", "sealing", "source", "trace",
];
const PROBLEMS: [&str; 23] = [
    "malformed",
    "unauthenticated",
    "unknown_source",
    "unknown_event",
    "not_found",
    "method_not_allowed",
    "body_timeout",
    "conflict",
    "too_large",
    "too_many_events",
    "unsupported_media_type",
    "unknown_event_type",
    "invalid",
    "unmappable",
    "card_number",
    "internal",
    "rate_quota",
    "storage_quota",
    "busy",
    "body_budget",
    "store_full",
    "store_failed",
    "stopping",
];
const LOOKUPS: [&str; 7] = [
    "one",
    "none",
    "several",
    "throttled",
    "unavailable",
    "unknown",
    "denied",
];
const OUTCOMES: [&str; 8] = [
    "applied",
    "throttled",
    "unavailable",
    "unknown",
    "denied",
    "unclear",
    "not_found",
    "rejected",
];
/// The fields that the source `crm` maps.
const CRM_FIELDS: [&str; 26] = [
    "email",
    "phone",
    "first_name",
    "last_name",
    "preferred_language",
    "street_line1",
    "street_line2",
    "city",
    "state",
    "postal_code",
    "customer_history.email",
    "customer_history.phone",
    "customer_history.first_name",
    "customer_history.last_name",
    "customer_history.preferred_language",
    "customer_history.address.street_line1",
    "customer_history.address.street_line2",
    "customer_history.address.city",
    "customer_history.address.state",
    "customer_history.address.postal_code",
    "customer_history.address.country",
    "customer_history.account_tenure",
    "customer_history.ltv_amount",
    "customer_history.ltv_currency",
    "customer_history.loyalty_tier",
    "metadata.preferred_language",
];
const BUCKETS: [&str; 20] = [
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1",
    "2.5", "2", "5", "10", "20", "30", "50", "100", "+Inf",
];

/// The bridge accepts messages of the CloudEvents SDK in binary and in structured mode, with the same result.
#[test]
fn an_event_of_the_cloudevents_sdk_is_delivered_as_the_example_says() {
    let expected = example("customer-changed.request.json");
    for (mode, other) in [("structured", "binary"), ("binary", "structured")] {
        let imprint = Imprint::start(Duration::ZERO, 1, &json!([]));
        let bridge = Bridge::prepare(imprint.address);
        let _life = bridge.start("").unwrap();

        let id = "crm-evt-000017";
        assert_eq!(sdk_send(&bridge, mode), accepted(id, "waiting", false));
        let calls = calls(&imprint, &bridge);
        let call = calls.first().unwrap();
        let received = json!({"method": call.method, "path": call.path, "body": call.body});
        assert_eq!((received, calls.len()), (expected.clone(), 1), "{mode}");
        assert_eq!(call.authorization, Authorization::Bearer);

        assert_eq!(sdk_send(&bridge, other), accepted(id, "delivered", true));
        assert_eq!(imprint.calls().len(), 1, "{other} after {mode}");
    }
}

fn accepted(id: &str, status: &str, duplicate: bool) -> Value {
    let accepted = json!([{"id": id, "status": status, "duplicate": duplicate}]);
    json!({"status": 202, "body": {"accepted": accepted}})
}

fn sdk_send(bridge: &Bridge, mode: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(tool("PYTHON", "target/venv/bin/python"))
        .arg(root.join("tests/it/senders/cloudevents_send.py"))
        .arg(format!("http://{}{EVENTS}", bridge.ingress))
        .arg(root.join("config/sources/crm/customer-changed.event.json"))
        .arg(mode)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// FAULTS X54, K13: after varied traffic, Prometheus accepts the metrics page without a warning.
#[test]
fn prometheus_accepts_the_metrics_page_without_a_warning() {
    let page = page_after_traffic();
    let mut check = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}: run tests/run, it gets it"));
    let mut input = check.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = check.wait_with_output().unwrap();
    let remarks = [output.stdout, output.stderr].concat();
    let remarks = String::from_utf8_lossy(&remarks);
    assert!(output.status.success() && remarks.is_empty(), "{remarks}");
}

/// FAULTS N215: the alerts fire as their tests say, and the bridge has each metric in them.
#[test]
fn the_alerts_of_the_deployment_fire() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(promtool())
        .args(["test", "rules", "tests/deploy/alerts_test.yaml"])
        .current_dir(root)
        .output()
        .unwrap();
    let remarks = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{remarks}");
    let rules = std::fs::read_to_string(root.join("deploy/monitoring/alerts.yaml")).unwrap();
    assert_metrics_exist(&rules, &page_after_traffic());
}

/// The problem types of refused requests that the alert about refused events does not count, each with the reason.
const NOT_IN_THE_ALERT: &[(&str, &str)] = &[
    ("unauthenticated", "ImprintBridgeUnauthenticated"),
    ("rate_quota", "ImprintBridgeOverQuota"),
    ("storage_quota", "ImprintBridgeOverQuota"),
    ("store_full", "ImprintBridgeStoreFull"),
    ("store_failed", "ImprintBridgeStoreUnavailable"),
    (
        "internal",
        "ImprintBridgeRefusalRate: the sender repeats the request",
    ),
    (
        "busy",
        "ImprintBridgeRefusalRate: the sender repeats the request",
    ),
    (
        "body_budget",
        "ImprintBridgeRefusalRate: the sender repeats the request",
    ),
    (
        "body_timeout",
        "ImprintBridgeRefusalRate: the sender repeats the request",
    ),
    ("stopping", "the sender repeats the request"),
    (
        "unknown_source",
        "no source to name, and any stranger can cause it",
    ),
    (
        "not_found",
        "no source to name, and any stranger can cause it",
    ),
    ("method_not_allowed", "the request has no event"),
    ("unknown_event", "the request has no event"),
];

/// FAULTS N1497: the alert about refused events counts every problem type that the sender must change, and each other type has
/// another alert or a reason.
#[test]
fn each_problem_type_is_in_the_alert_or_has_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = std::fs::read_to_string(root.join("deploy/monitoring/alerts.yaml")).unwrap();
    let (_, alert) = rules
        .split_once("alert: ImprintBridgeRefusedEvents\n")
        .unwrap();
    let (_, types) = alert.split_once("problem=~\"").unwrap();
    let types: BTreeSet<&str> = types.split('"').next().unwrap().split('|').collect();
    assert_eq!(types, BTreeSet::from(FINAL_PROBLEMS));
    let others: BTreeSet<&str> = NOT_IN_THE_ALERT.iter().map(|(name, _)| *name).collect();
    assert_eq!(others.len(), NOT_IN_THE_ALERT.len());
    assert!(types.is_disjoint(&others));
    assert_eq!(BTreeSet::from(PROBLEMS), &types | &others);
    for (name, reason) in NOT_IN_THE_ALERT {
        let alert = reason.split(':').next().unwrap();
        if alert.starts_with("ImprintBridge") {
            assert!(
                rules.contains(&format!("alert: {alert}\n")),
                "{name}: {alert}"
            );
        }
    }
}

/// FAULTS N892: each query of the dashboard is valid, and the bridge has each metric in it.
#[test]
fn the_queries_of_the_dashboard_find_metrics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dashboard = std::fs::read_to_string(root.join("deploy/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$__rate_interval", "5m");
        query.replace("$instance", "bridge-0")
    });
    let queries: Vec<String> = queries.collect();
    assert!(queries.len() > 20, "{queries:?}");
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    let records = queries.iter().enumerate().map(|(number, query)| {
        json!({"record": "query", "labels": {"number": number.to_string()}, "expr": query})
    });
    let records: Vec<Value> = records.collect();
    let groups = json!({"groups": [{"name": "dashboard", "rules": records}]});
    std::fs::write(&rules, groups.to_string()).unwrap();
    let output = Command::new(promtool())
        .args(["check", "rules"])
        .arg(&rules)
        .output()
        .unwrap();
    let remarks = [output.stdout, output.stderr].concat();
    let remarks = String::from_utf8_lossy(&remarks);
    assert!(output.status.success(), "{remarks}");
    assert_metrics_exist(&queries.join("\n"), &page_after_traffic());
}

/// Asserts that the metrics page has each metric that a text names.
fn assert_metrics_exist(text: &str, page: &str) {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_part(c));
    let metrics: Vec<&str> = words
        .filter(|word| word.starts_with("imprint_bridge_"))
        .collect();
    assert!(!metrics.is_empty());
    for metric in metrics {
        let parts = ["_bucket", "_sum", "_count"];
        let mut parts = parts.iter().filter_map(|part| metric.strip_suffix(part));
        let family = parts.next().unwrap_or(metric);
        assert!(page.contains(&format!("# TYPE {family} ")), "{metric}");
    }
}

/// FAULTS X54: no label of the metrics page repeats a value from a request.
#[test]
fn metric_labels_come_from_closed_sets() {
    let allowed: BTreeMap<&str, &[&str]> = LABELS.into_iter().collect();
    let page = page_after_traffic();
    let mut seen = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else {
            continue;
        };
        let name = name.strip_prefix("imprint_bridge_").unwrap();
        let (labels, _value) = labels.rsplit_once('}').unwrap();
        for label in labels.split(',') {
            let (label, value) = label.split_once('=').unwrap();
            let place = format!("{name}/{label}");
            let values = allowed.get(place.as_str());
            let value = value.trim_matches('"');
            assert!(
                values.is_some_and(|values| values.contains(&value)),
                "{place} is {value}"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "the page has labels: {page}");
}

/// Returns the metrics page after varied traffic: a delivery, an outage, a rejected customer, and unauthenticated
/// requests.
fn page_after_traffic() -> String {
    let faults = json!([
        {"customer": "BBB815E9-F654-438D-9AD3-3F7BB8136FC0", "times": 1, "action": {"status": 503}},
        {"customer": "canary-refused", "action": {"status": 422}},
        {"customer": "canary-unknown", "action": {"status": 410}},
    ]);
    let imprint = Imprint::start(Duration::ZERO, 1, &faults);
    let bridge = Bridge::prepare(imprint.address);
    let _life = bridge.start("").unwrap();
    let mut client = Client::new(bridge.ingress);
    let mut send = |customer: &str, id: &str| {
        let mut event = example("customer-changed.event.json");
        put(&mut event, "/id", id);
        put(&mut event, "/data/customer/imprint_customer_id", customer);
        assert_eq!(post(&mut client, EVENTS, &event.to_string()), 202);
    };
    send("BBB815E9-F654-438D-9AD3-3F7BB8136FC0", "canary-1");
    calls(&imprint, &bridge);
    send("canary-refused", "canary-2");
    send("canary-unknown", "canary-3");
    send("canary-unknown", "canary-3");
    // Only a delivery after the answers proves that these two customers are the cause.
    wait_for("both customers have an answer", || {
        let page = bridge.metrics().unwrap();
        let has_answer = |outcome| {
            let name = format!(r#"attempts_total{{outcome="{outcome}"}}"#);
            metric(&page, &name).is_some_and(|answers| answers > 0.0)
        };
        (has_answer("rejected") && has_answer("unclear")).then_some(())
    });
    send("BBB815E9-F654-438D-9AD3-3F7BB8136FC1", "canary-4");

    for (path, body, status) in [
        (EVENTS, "{canary", 400),
        (
            EVENTS,
            r#"{"specversion":"1.0","id":"c","source":"/c","type":"canary"}"#,
            422,
        ),
        ("/v1/sources/canary/events", "{}", 404),
        ("/canary", "", 404),
    ] {
        assert_eq!(post(&mut client, path, body), status, "{path} {body}");
    }
    calls(&imprint, &bridge);
    let page = bridge.metrics().unwrap();
    assert!(!page.contains("canary"), "{page}");
    assert!(
        page.contains(r#"attempts_total{outcome="unavailable"} 1"#),
        "{page}"
    );
    page
}

fn put(event: &mut Value, pointer: &str, text: &str) {
    *event.pointer_mut(pointer).unwrap() = text.into();
}

fn post(client: &mut Client, path: &str, body: &str) -> u16 {
    let answer = client.post(path, "application/cloudevents+json", body.as_bytes());
    answer.unwrap().status
}

/// Waits until no entry waits, and returns the requests that the sandbox received.
fn calls(imprint: &Imprint, bridge: &Bridge) -> Vec<LedgerEntry> {
    wait_for("no entry waits", || {
        let page = bridge.metrics().unwrap();
        page.contains("\nimprint_bridge_waiting_entries 0\n")
            .then_some(())
    });
    imprint.calls()
}

fn example(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sources/crm");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Returns the path of a program that `tests/run` installs: the path in the environment variable, otherwise the
/// default path.
pub(crate) fn tool(variable: &str, path: &str) -> PathBuf {
    find(variable, path).unwrap_or_else(|| panic!("{path} is missing: tests/run installs it"))
}

fn promtool() -> PathBuf {
    let on_path = || {
        let known = Command::new("promtool").arg("--version").output();
        known.is_ok().then(|| PathBuf::from("promtool"))
    };
    let unpacked = "target/promtool/usr/bin/promtool";
    find("PROMTOOL", unpacked)
        .or_else(on_path)
        .unwrap_or_else(|| panic!("promtool is missing: tests/run installs it"))
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn find(variable: &str, path: &str) -> Option<PathBuf> {
    let named = std::env::var(variable).ok().map(PathBuf::from);
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    named.or_else(|| unpacked.exists().then_some(unpacked))
}
