//! Scenarios with the real program: a process, the sandbox, and the admin API.
//!
//! The scenarios run in real time, because no test can move the clock of another process. Each scenario checks a
//! guarantee that only the whole program can give.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use imprint_bridge::sandbox::UnseededCustomer;
use imprint_bridge::time::Clock;
use serde_json::{Value, json};

use crate::http;
use crate::process::Process;
use crate::support::{
    Event, FakeImprint, Files, KEY, POST_EVENTS, metric, post, receipt, wait_for,
};

/// The longest time for one step of a scenario. A lane that waits for nothing waits much longer.
const SOON: Duration = Duration::from_secs(20);
const TOKEN: &str = "op-scenario-token-1";

/// The program, the sandbox, and a method for each step of a scenario.
struct Scenario {
    imprint: FakeImprint,
    files: Files,
    /// Dropping the `Process` stops the program.
    _process: Process,
    ingress: SocketAddr,
    ops: SocketAddr,
}

impl Scenario {
    fn start() -> Self {
        Self::with_key(KEY, "")
    }

    fn with(settings: &str) -> Self {
        Self::with_key(KEY, settings)
    }

    fn with_key(key: &str, settings: &str) -> Self {
        let imprint =
            FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created);
        let files = Files::write(imprint.address, key, settings);
        files.write_token("alice", TOKEN);
        let process = Process::serve(&files);
        let (ingress, ops) = process.ready();
        Self {
            imprint,
            files,
            _process: process,
            ingress,
            ops,
        }
    }

    #[track_caller]
    fn accept(&self, event: &Event) {
        let headers = [("content-type", "application/cloudevents+json")];
        let answer = post(self.ingress, &headers, &event.json().to_string()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    /// Posts events as one batch, so that the dispatcher claims all of these events together.
    #[track_caller]
    fn accept_batch(&self, events: &[Event]) {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let batch: Vec<&Value> = events.iter().map(Event::json).collect();
        let answer = http::ask(
            self.ingress,
            POST_EVENTS,
            &headers,
            &json!(batch).to_string(),
        );
        assert_eq!(answer.unwrap().status, 202);
    }

    fn status(&self, id: &str) -> String {
        let receipt = receipt(self.ingress, id).unwrap().json();
        receipt["status"].as_str().unwrap_or_default().to_owned()
    }

    fn metric(&self, name: &str) -> f64 {
        let page = http::ask(self.ops, "GET /metrics", &[], "").unwrap();
        metric(&page.body, name).unwrap_or(0.0)
    }

    fn is_stopped(&self) -> bool {
        self.metric("destination_state{state=\"stopped\"}") > 0.0
    }

    /// Waits until no request is in flight, and returns true if an entry is parked then.
    fn has_parked_entries(&self) -> bool {
        assert!(self.soon(|scenario| scenario.metric("requests_in_flight") == 0.0));
        self.metric("parked_entries") > 0.0
    }

    /// Waits for a condition, and returns false if the condition does not hold within [`SOON`].
    fn soon(&self, condition: impl Fn(&Self) -> bool) -> bool {
        let clock = Clock::machine();
        let start = clock.now();
        wait_for("the condition holds or its deadline passes", || {
            let holds = condition(self);
            (holds || clock.now().since(start) > SOON).then_some(holds)
        })
    }

    fn admin(&self, path: &str, body: &Value) -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str())];
        let line = format!("POST /admin/v1{path}");
        http::ask(self.ops, &line, &headers, &body.to_string())
            .unwrap()
            .json()
    }
}

fn email(id: &str, customer: &str, revision: u64) -> Event {
    Event::new(id, customer, revision).email(&format!("{id}@example.com"))
}

#[test]
fn imprint_has_the_newest_value_when_its_entry_is_delivered() {
    let scenario = Scenario::start();
    scenario.accept_batch(&[email("old", "c1", 1), email("new", "c1", 2)]);
    assert!(scenario.soon(|scenario| scenario.status("new") == "delivered"));
    assert_eq!(
        scenario.imprint.email("c1").as_deref(),
        Some("new@example.com")
    );
}

#[test]
fn one_customer_has_one_request_in_flight() {
    let scenario = Scenario::start();
    scenario
        .imprint
        .inject(&json!({"customer": "c1", "action": {"latency_ms": 300}}));
    for revision in 1..=10 {
        scenario.accept(&email(&format!("e-{revision}"), "c1", revision));
    }
    assert!(scenario.soon(|scenario| scenario.status("e-10") == "delivered"));
    assert_eq!(scenario.imprint.sandbox.stats().in_flight_max, 1);
}

/// FAULTS U25
#[test]
fn a_rejected_key_parks_no_entry() {
    let scenario = Scenario::with_key("another-key", "");
    scenario.accept(&email("e", "c1", 1));
    assert!(scenario.soon(Scenario::is_stopped));
    assert!(!scenario.has_parked_entries());
}

/// FAULTS U23
#[test]
fn a_redirect_is_not_followed() {
    let scenario = Scenario::start();
    let other_server = TcpListener::bind("127.0.0.1:0").unwrap();
    other_server.set_nonblocking(true).unwrap();
    let location = format!(
        "http://{}/v2/customers/c1",
        other_server.local_addr().unwrap()
    );
    scenario
        .imprint
        .inject(&json!({"action": {"status": 307, "location": location}}));
    scenario.accept(&email("e", "c1", 1));
    let has_connected = || other_server.accept().is_ok();
    assert!(scenario.soon(|scenario| scenario.is_stopped() || has_connected()));
    assert!(!has_connected());
    assert!(scenario.is_stopped());
}

#[test]
fn every_accepted_event_is_counted_as_ended_once() {
    let scenario = Scenario::start();
    for customer in ["c1", "c2", "c3"] {
        scenario.accept(&email(customer, customer, 1));
        assert!(scenario.soon(|scenario| scenario.status(customer) == "delivered"));
    }
    let ended = scenario.metric("ended_total{state=\"delivered\"}");
    assert_eq!(ended, scenario.metric("accepted_total{source=\"crm\"}"));
}

/// FAULTS U37: Imprint applies a timed-out request late, after the delivery of newer values.
#[test]
fn an_old_request_that_is_applied_late_is_overwritten() {
    let scenario =
        Scenario::with("[imprint]\ndeadline = \"200ms\"\n[dispatch]\nassert_after = \"4s\"");
    let late = json!({"customer": "c1", "times": 1, "action": {"lands_after_ms": 2500}});
    scenario.imprint.inject(&late);
    scenario.accept(&email("old", "c1", 1));
    assert!(scenario.soon(|scenario| scenario.metric("attempts_total{outcome=\"unknown\"}") > 0.0));
    scenario.accept(&email("new", "c1", 2));
    assert!(scenario.soon(|scenario| scenario.status("new") == "delivered"));
    let has = |scenario: &Scenario, id: &str| {
        scenario.imprint.email("c1") == Some(format!("{id}@example.com"))
    };
    assert!(
        scenario.soon(|scenario| has(scenario, "old")),
        "the late request is applied"
    );
    assert!(scenario.soon(|scenario| has(scenario, "new")));
}

/// FAULTS U34
#[test]
fn imprint_is_not_called_before_its_retry_after_has_passed() {
    let scenario = Scenario::start();
    scenario
        .imprint
        .inject(&json!({"times": 1, "action": {"status": 429, "retry_after": "3"}}));
    scenario.accept(&email("e", "c1", 1));
    assert!(scenario.soon(|scenario| scenario.status("e") == "delivered"));
    let calls = scenario.imprint.calls();
    // The clocks of sandbox and bridge differ slightly, so 3 s for the bridge may be less than 3 s for the sandbox.
    assert!(calls[1].at_ms - calls[0].at_ms > 2_900);
}

/// FAULTS U35
#[test]
fn an_outage_uses_up_no_attempt() {
    let scenario = Scenario::with("[dispatch]\nattempts_max = 2");
    scenario.imprint.sandbox.outage(Duration::from_hours(1));
    for customer in 0..10 {
        scenario.accept(&email(&format!("e-{customer}"), &format!("c{customer}"), 1));
    }
    assert!(scenario.soon(|scenario| scenario.imprint.calls().len() >= 12));
    assert!(!scenario.has_parked_entries());
}

#[test]
fn an_older_entry_is_delivered_if_the_newer_one_is_parked() {
    let scenario = Scenario::start();
    scenario
        .imprint
        .inject(&json!({"times": 1, "action": {"status": 400}}));
    scenario.accept_batch(&[email("old", "c1", 1), email("new", "c1", 2)]);
    assert!(scenario.soon(|scenario| scenario.status("new") == "parked"));
    assert!(scenario.soon(|scenario| scenario.status("old") == "delivered"));
}

/// FAULTS M09
#[test]
fn an_answer_with_another_customers_id_is_not_a_success() {
    let scenario = Scenario::start();
    scenario
        .imprint
        .inject(&json!({"action": {"wrong_id": true}}));
    scenario.accept(&email("e", "c1", 1));
    let was_answered = |scenario: &Scenario| {
        scenario.metric("requests_in_flight") == 0.0 && !scenario.imprint.calls().is_empty()
    };
    assert!(scenario.soon(was_answered));
    assert_eq!(scenario.status("e"), "waiting");
}

/// FAULTS M12
#[test]
fn a_search_hit_with_another_partner_customer_id_receives_no_update() {
    let scenario = Scenario::start();
    let page = json!({
        "data": [{"id": "somebody", "partner_customer_id": "P-2"}],
        "has_more": false,
        "total": 1,
    });
    scenario
        .imprint
        .inject(&json!({"method": "GET", "action": {"body": page.to_string()}}));
    let event = email("e", "c1", 1)
        .with("/data/customer/id", json!("P-1"))
        .with("/data/customer/imprint_customer_id", Value::Null);
    scenario.accept(&event);
    assert!(scenario.soon(|scenario| !scenario.imprint.calls().is_empty()));
    assert!(scenario.soon(|scenario| scenario.metric("requests_in_flight") == 0.0));
    assert!(scenario.imprint.applied("somebody").is_empty());
}

/// FAULTS U40, K07
#[test]
fn a_new_key_file_ends_the_stop_of_the_destination() {
    let scenario = Scenario::with_key("another-key", "");
    scenario.accept(&email("e", "c1", 1));
    assert!(scenario.soon(Scenario::is_stopped));
    scenario.files.write_key(KEY);
    assert!(scenario.soon(|scenario| scenario.status("e") == "delivered"));
}

/// FAULTS O13
#[test]
fn a_replayed_entry_does_not_overwrite_newer_values() {
    let scenario = Scenario::start();
    scenario
        .imprint
        .inject(&json!({"times": 1, "action": {"status": 400}}));
    scenario.accept(&email("tuesday", "c1", 2));
    assert!(scenario.soon(|scenario| scenario.status("tuesday") == "parked"));
    scenario.accept(&email("thursday", "c1", 3));
    assert!(scenario.soon(|scenario| scenario.status("thursday") == "delivered"));
    let replay = scenario.admin("/entries/replay", &json!({"filter": {}}));
    assert_eq!(
        replay["replayed"].as_array().map(Vec::len),
        Some(1),
        "{replay}"
    );
    assert!(scenario.soon(|scenario| scenario.status("tuesday") != "waiting"));
    assert_eq!(
        scenario.imprint.email("c1").as_deref(),
        Some("thursday@example.com")
    );
}
