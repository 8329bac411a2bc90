//! Tests of fairness between sources: quotas, and the share of searches. Each test runs a bridge with the sources
//! `busy` and `calm`.

use std::time::Duration;

use imprint_bridge::sandbox::{Operation, Sandbox, UnseededCustomer};
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::support::{TestApp, TestAppBuilder, wait_for};

const SECOND: Duration = Duration::from_secs(1);

/// The rest of a source file. Without a version, the order of acceptance orders the events of both sources.
const SOURCE: &str = r#"
[auth]
kind = "none"
[events.changed]
schema = "any.json"
customer.imprint_id = ".data.imprint"
customer.partner_id = ".data.partner"
[events.changed.update]
email = ".data.email"
metadata.note = ".data.note"
"#;

/// A bridge with the sources `busy` and `calm`, and the folder of their files.
struct TwoSources {
    app: TestApp,
    _folder: tempfile::TempDir,
}

impl TwoSources {
    /// Starts a bridge. `quota` has the settings of the table `[quota]` of the source `busy`.
    fn start(quota: &str, setup: impl FnOnce(TestAppBuilder, String) -> TestApp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("any.json", "{}").unwrap();
        write("busy.toml", &format!("[quota]\n{quota}\n{SOURCE}")).unwrap();
        write("calm.toml", SOURCE).unwrap();
        let path = folder.path().display();
        let settings = format!("sources_dir = \"{path}\"\nschemas_dir = \"{path}\"\n");
        Self {
            app: setup(TestApp::setup(), settings),
            _folder: folder,
        }
    }

    fn post(&self, source: &str, id: &str, data: &Value) -> Answer {
        self.post_batch(source, &[(id, data)])
    }

    fn post_batch(&self, source: &str, events: &[(&str, &Value)]) -> Answer {
        let event = |(id, data): &(&str, &Value)| {
            json!({
                "specversion": "1.0", "id": id, "source": "/test", "type": "changed", "data": data,
            })
        };
        let batch: Vec<Value> = events.iter().map(event).collect();
        let line = format!("POST /v1/sources/{source}/events");
        let media_type = [("content-type", "application/cloudevents-batch+json")];
        let ingress = self.app.ingress();
        http::ask(ingress, &line, &media_type, &json!(batch).to_string()).unwrap()
    }

    fn status(&self, source: &str, id: &str) -> String {
        let line = format!("GET /v1/sources/{source}/events/{id}");
        let answer = http::ask(self.app.ingress(), &line, &[], "").unwrap();
        answer.json()["status"].as_str().unwrap().to_owned()
    }

    fn stored_bytes(&self, source: &str) -> Option<f64> {
        let name = format!("stored_bytes{{source=\"{source}\"}}");
        self.app.metric(&name)
    }
}

#[track_caller]
fn is_over_quota(answer: &Answer, word: &str) -> u64 {
    assert_eq!(answer.status, 429, "{}", answer.body);
    let problem = answer.json();
    assert_eq!(
        problem["type"],
        format!("urn:imprint-bridge:problem:{word}")
    );
    let retry_after = answer.header("retry-after").unwrap();
    retry_after.parse().unwrap()
}

fn known(number: usize) -> Value {
    json!({"imprint": format!("c{number}"), "email": format!("c{number}@example.com")})
}

/// FAULTS N300: a source that sends too many events waits, and other sources do not notice.
#[test]
fn a_source_beyond_its_rate_is_refused_alone() {
    let quota = "events_per_second = 2\nevents_burst = 5";
    let two = TwoSources::start(quota, |setup, settings| {
        setup.settings(settings).manual_clock().start()
    });
    for number in 0..5 {
        let id = format!("e-{number}");
        assert_eq!(two.post("busy", &id, &known(number)).status, 202);
    }
    let refused = two.post("busy", "e-5", &known(5));
    assert_eq!(is_over_quota(&refused, "rate_quota"), 1);
    for number in 0..20 {
        let id = format!("e-{number}");
        assert_eq!(two.post("calm", &id, &known(number)).status, 202);
    }
    // A rejected event costs as much as an accepted event.
    two.app.advance(SECOND);
    assert_eq!(two.post("busy", "bad", &json!({"email": "x"})).status, 422);
    assert_eq!(two.post("busy", "e-5", &known(5)).status, 202);
    is_over_quota(&two.post("busy", "e-6", &known(6)), "rate_quota");
    // A batch costs all of its events.
    two.app.advance(2 * SECOND);
    let customers: Vec<Value> = (0..5).map(known).collect();
    let batch: Vec<(&str, &Value)> = ["b-0", "b-1", "b-2", "b-3", "b-4"]
        .into_iter()
        .zip(&customers)
        .collect();
    let refused = two.post_batch("busy", &batch);
    assert_eq!(is_over_quota(&refused, "rate_quota"), 1);
    two.app.advance(SECOND);
    assert_eq!(two.post_batch("busy", &batch).status, 202);
    let count = |source| {
        let name = format!("over_rate_quota_total{{source=\"{source}\"}}");
        two.app.metric(&name)
    };
    assert_eq!((count("busy"), count("calm")), (Some(3.0), Some(0.0)));
    two.app.advance_until("all are delivered", SECOND, |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
}

/// FAULTS N301: a source whose unfinished events fill its share of the store waits, other sources go on, the sum is
/// exact after a restart and falls when events end.
#[test]
fn a_source_whose_events_fill_its_share_of_the_store_is_refused_alone() {
    let quota = "stored_bytes_max = 4000";
    let settings = "[ingress]\nbody_bytes_max = 2048\n";
    let mut two = TwoSources::start(quota, |setup, sources| {
        setup
            .settings(format!("{sources}{settings}"))
            .operator("alice", "op-canary-token-1")
            .start()
    });
    two.app.leave_waiting_entries();
    set_mode(&two.app, "paused");
    let event = |number: usize| json!({"imprint": format!("c{number}"), "email": "a@example.com", "note": "x".repeat(800)});
    let mut accepted = 0;
    let refused = loop {
        let answer = two.post("busy", &format!("e-{accepted}"), &event(accepted));
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 10, "no quota");
    };
    assert_eq!(is_over_quota(&refused, "storage_quota"), 30);
    assert_eq!(
        two.app.metric("over_storage_quota_total{source=\"busy\"}"),
        Some(1.0)
    );
    assert_eq!(
        two.app.metric("storage_quota_bytes{source=\"busy\"}"),
        Some(4000.0)
    );
    let stored = two.stored_bytes("busy").unwrap();
    assert!((3000.0..=4000.0).contains(&stored), "{stored}");
    assert_eq!(two.post("calm", "e-1", &event(90)).status, 202);
    let calm = two.stored_bytes("calm").unwrap();
    assert!((900.0..1100.0).contains(&calm), "{calm}");

    two.app.stop().unwrap();
    two.app.restart();
    assert_eq!(two.stored_bytes("busy"), Some(stored));
    assert_eq!(two.stored_bytes("calm"), Some(calm));
    let again = two.post("busy", "e-again", &event(91));
    is_over_quota(&again, "storage_quota");

    set_mode(&two.app, "open");
    wait_for("the events end", || {
        (two.stored_bytes("busy") == Some(0.0)).then_some(())
    });
    assert_eq!(two.post("busy", "e-again", &event(91)).status, 202);
    wait_for("the event ends", || {
        (two.stored_bytes("busy") == Some(0.0)).then_some(())
    });
    assert_eq!(two.stored_bytes("calm"), Some(0.0));
}

fn set_mode(app: &TestApp, mode: &str) {
    let headers = [
        ("authorization", "Bearer op-canary-token-1"),
        ("content-type", "application/json"),
    ];
    let body = json!({"mode": mode, "reason": "a test"}).to_string();
    let answer = http::ask(app.ops(), "POST /admin/v1/destination", &headers, &body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// FAULTS N302: hundreds of unknown customers of one source do not delay the customer of another source, although
/// searches may use only a fifth of the rate; nor does it matter that the first source has named the same customer.
#[test]
fn unknown_customers_of_one_source_do_not_delay_another_source() {
    for last in ["unknown-299", "P-1"] {
        is_delivered_soon(last);
    }
}

/// Sends 300 events about unknown customers of the source `busy`, the last event about the partner id `last`, and then
/// an event of the source `calm` about the customer `P-1`.
fn is_delivered_soon(last: &str) {
    let settings = "[imprint]\nrate_per_second = 20\n";
    let mut two = TwoSources::start("", |setup, sources| {
        setup
            .settings(format!("{sources}{settings}"))
            .unknown_customer(UnseededCustomer::NotFound)
            .start()
    });
    two.app.leave_waiting_entries();
    let seed = json!([{"id": "c1", "partner_customer_id": "P-1"}]).to_string();
    let seed = Sandbox::parse_seed(seed.as_bytes()).unwrap();
    two.app.imprint.sandbox.seed(seed).unwrap();
    for number in 0..300 {
        let unknown = format!("unknown-{number}");
        let partner = if number == 299 { last } else { &unknown };
        let data = json!({"partner": partner, "email": "a@example.com"});
        let answer = two.post("busy", &format!("e-{number}"), &data);
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    // How many customers are searched before this event depends on the pace of the machine.
    let earlier = two.app.imprint.calls().len();
    let data = json!({"partner": "P-1", "email": "b@example.com"});
    assert_eq!(two.post("calm", "e-1", &data).status, 202);
    let what = format!("after {last}, the customer of the other source is delivered");
    wait_for(&what, || {
        (two.status("calm", "e-1") == "delivered").then_some(())
    });
    let calls = two.app.imprint.calls();
    let searches = calls
        .iter()
        .skip(earlier)
        .take_while(|call| call.operation != Operation::Update)
        .filter(|call| call.operation == Operation::Search)
        .count();
    assert!(
        searches < 20,
        "{searches} searches between the event and its delivery"
    );
}
