//! Short stories played against the real program: a process, its sandbox, its admin API. They run in real time.
//!
//! Each one holds a promise that only the joined parts can break.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use imprint_bridge::sandbox::UnknownCustomer;
use imprint_bridge::time::Clock;
use serde_json::{Value, json};

use crate::http;
use crate::process::Process;
use crate::support::{
    Event, FakeImprint, Files, KEY, POST_EVENTS, metric, post, receipt, wait_for,
};

/// The time within which each step of a scenario must happen.
const SOON: Duration = Duration::from_secs(8);
const TOKEN: &str = "op-scenario-token-1";

/// The program, its sandbox, and a verb for each step of a scenario.
struct World {
    imprint: FakeImprint,
    files: Files,
    /// Stops the program when the world is dropped.
    _process: Process,
    ingress: SocketAddr,
    ops: SocketAddr,
}

impl World {
    fn start() -> Self {
        Self::with_key(KEY, "")
    }

    fn with(settings: &str) -> Self {
        Self::with_key(KEY, settings)
    }

    fn with_key(key: &str, settings: &str) -> Self {
        let imprint =
            FakeImprint::start(|settings| settings.unknown_customer = UnknownCustomer::Created);
        let files = Files::write(imprint.address, key, settings);
        files.write_operator("alice", TOKEN);
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

    /// Posts events as one batch, so that one claim takes them together.
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

    /// Waits until no request is in flight; then says whether an entry is parked.
    fn has_parked_entries(&self) -> bool {
        assert!(self.soon(|world| world.metric("requests_in_flight") == 0.0));
        self.metric("parked_entries") > 0.0
    }

    /// Whether the condition holds now or within [`SOON`].
    fn soon(&self, condition: impl Fn(&Self) -> bool) -> bool {
        let clock = Clock::machine();
        let start = clock.now();
        wait_for("the condition or its deadline", || {
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
    let world = World::start();
    world.accept_batch(&[email("old", "c1", 1), email("new", "c1", 2)]);
    assert!(world.soon(|world| world.status("new") == "delivered"));
    assert_eq!(
        world.imprint.email("c1").as_deref(),
        Some("new@example.com")
    );
}

#[test]
fn one_customer_has_one_request_in_flight() {
    let world = World::start();
    world
        .imprint
        .inject(&json!({"customer": "c1", "action": {"latency_ms": 300}}));
    for revision in 1..=10 {
        world.accept(&email(&format!("e-{revision}"), "c1", revision));
    }
    assert!(world.soon(|world| world.status("e-10") == "delivered"));
    assert_eq!(world.imprint.sandbox.stats().in_flight_max, 1);
}

/// FAULTS U25
#[test]
fn a_refused_key_parks_nothing() {
    let world = World::with_key("another-key", "");
    world.accept(&email("e", "c1", 1));
    assert!(world.soon(World::is_stopped));
    assert!(!world.has_parked_entries());
}

/// FAULTS U23
#[test]
fn a_redirect_is_not_followed() {
    let world = World::start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("http://{}/v2/customers/c1", elsewhere.local_addr().unwrap());
    world
        .imprint
        .inject(&json!({"action": {"status": 307, "location": location}}));
    world.accept(&email("e", "c1", 1));
    let has_connected = || elsewhere.accept().is_ok();
    assert!(world.soon(|world| world.is_stopped() || has_connected()));
    assert!(!has_connected());
    assert!(world.is_stopped());
}

#[test]
fn every_accepted_event_is_counted_as_ended_once() {
    let world = World::start();
    for customer in ["c1", "c2", "c3"] {
        world.accept(&email(customer, customer, 1));
        assert!(world.soon(|world| world.status(customer) == "delivered"));
    }
    let ended = world.metric("ended_total{state=\"delivered\"}");
    assert_eq!(ended, world.metric("accepted_total"));
}

/// FAULTS U37: the old request times out, the new one is delivered, and then the old one is applied after all.
#[test]
fn a_request_that_is_applied_late_does_not_win() {
    let world = World::with("[imprint]\ndeadline = \"200ms\"\n[dispatch]\nassert_after = \"4s\"");
    let late = json!({"customer": "c1", "times": 1, "action": {"lands_after_ms": 2500}});
    world.imprint.inject(&late);
    world.accept(&email("old", "c1", 1));
    assert!(world.soon(|world| world.metric("attempts_total{outcome=\"unknown\"}") > 0.0));
    world.accept(&email("new", "c1", 2));
    assert!(world.soon(|world| world.status("new") == "delivered"));
    let has =
        |world: &World, id: &str| world.imprint.email("c1") == Some(format!("{id}@example.com"));
    assert!(
        world.soon(|world| has(world, "old")),
        "the late request is applied"
    );
    assert!(world.soon(|world| has(world, "new")));
}

/// FAULTS U34
#[test]
fn imprint_is_not_called_before_its_retry_after_has_passed() {
    let world = World::start();
    world
        .imprint
        .inject(&json!({"times": 1, "action": {"status": 429, "retry_after": "3"}}));
    world.accept(&email("e", "c1", 1));
    assert!(world.soon(|world| world.status("e") == "delivered"));
    let calls = world.imprint.calls();
    // The sandbox has a clock of its own: a little less than 3 seconds there may be 3 seconds here.
    assert!(calls[1].at_ms - calls[0].at_ms > 2_900);
}

/// FAULTS U35
#[test]
fn an_outage_uses_up_no_attempt() {
    let world = World::with("[dispatch]\nattempts_max = 2");
    world.imprint.sandbox.outage(Duration::from_hours(1));
    for customer in 0..10 {
        world.accept(&email(&format!("e-{customer}"), &format!("c{customer}"), 1));
    }
    assert!(world.soon(|world| world.imprint.calls().len() >= 12));
    assert!(!world.has_parked_entries());
}

#[test]
fn an_entry_that_a_parked_one_had_beaten_is_delivered() {
    let world = World::start();
    world
        .imprint
        .inject(&json!({"times": 1, "action": {"status": 400}}));
    world.accept_batch(&[email("old", "c1", 1), email("new", "c1", 2)]);
    assert!(world.soon(|world| world.status("new") == "parked"));
    assert!(world.soon(|world| world.status("old") == "delivered"));
}

/// FAULTS M09
#[test]
fn an_answer_about_another_customer_is_no_success() {
    let world = World::start();
    world.imprint.inject(&json!({"action": {"wrong_id": true}}));
    world.accept(&email("e", "c1", 1));
    let was_answered = |world: &World| {
        world.metric("requests_in_flight") == 0.0 && !world.imprint.calls().is_empty()
    };
    assert!(world.soon(was_answered));
    assert_eq!(world.status("e"), "waiting");
}

/// FAULTS M12
#[test]
fn a_search_hit_with_another_partner_id_gets_nothing() {
    let world = World::start();
    let page = json!({
        "data": [{"id": "somebody", "partner_customer_id": "P-2"}],
        "has_more": false,
        "total": 1,
    });
    world
        .imprint
        .inject(&json!({"method": "GET", "action": {"body": page.to_string()}}));
    let event = email("e", "c1", 1)
        .with("/data/customer/id", json!("P-1"))
        .with("/data/customer/imprint_customer_id", Value::Null);
    world.accept(&event);
    assert!(world.soon(|world| !world.imprint.calls().is_empty()));
    assert!(world.soon(|world| world.metric("requests_in_flight") == 0.0));
    assert!(world.imprint.applied("somebody").is_empty());
}

/// FAULTS U40, K07
#[test]
fn a_new_key_file_is_read_while_the_destination_is_stopped() {
    let world = World::with_key("another-key", "");
    world.accept(&email("e", "c1", 1));
    assert!(world.soon(World::is_stopped));
    world.files.write_key(KEY);
    assert!(world.soon(|world| world.status("e") == "delivered"));
}

/// FAULTS O13
#[test]
fn a_replayed_entry_does_not_overwrite_newer_values() {
    let world = World::start();
    world
        .imprint
        .inject(&json!({"times": 1, "action": {"status": 400}}));
    world.accept(&email("tuesday", "c1", 2));
    assert!(world.soon(|world| world.status("tuesday") == "parked"));
    world.accept(&email("thursday", "c1", 3));
    assert!(world.soon(|world| world.status("thursday") == "delivered"));
    let done = world.admin("/entries/replay", &json!({"filter": {}}));
    assert_eq!(done["replayed"].as_array().map(Vec::len), Some(1), "{done}");
    assert!(world.soon(|world| world.status("tuesday") != "waiting"));
    assert_eq!(
        world.imprint.email("c1").as_deref(),
        Some("thursday@example.com")
    );
}
