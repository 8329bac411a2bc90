//! Tests of requests that take effect late: whatever happens between a request and its late effect, the newest values
//! are at Imprint in the end.

use std::time::Duration;

use imprint_bridge::sandbox::UnseededCustomer;
use imprint_bridge::time::Clock;
use serde_json::{Value, json};

use crate::http;
use crate::process::Process;
use crate::support::{
    Event, FakeImprint, Files, KEY, POST_EVENTS, TestApp, email, post, receipt, wait_for,
};

const TOKEN: &str = "op-doubt-token-1";
/// The time after which a request takes effect in these tests: longer than each test delivers newer values, and shorter
/// than `assert_after`.
const LATE: Duration = Duration::from_secs(40);

fn has(app: &TestApp, id: &str) -> bool {
    app.imprint.email("c1") == Some(format!("{id}@example.com"))
}

/// Lets the late request take effect, and expects that the bridge then sends the newest value again.
fn is_corrected(app: &TestApp, late: &str, newest: &str) {
    app.advance(LATE);
    app.wait_for("the late request has taken effect", |app| has(app, late));
    app.advance_until("the newest value is there again", LATE, |app| {
        has(app, newest)
    });
    assert_eq!(app.metric("waiting_entries"), Some(0.0));
}

/// FAULTS U52, V3: an answer that says that the request failed is no proof: the request takes effect after a newer
/// value was delivered, so the bridge sends the newer value again.
#[test]
fn a_request_that_failed_and_takes_effect_later_does_not_have_the_last_word() {
    for action in [
        json!({"status": 500}),
        json!({"status": 502, "shape": "html"}),
        json!({"status": 503}),
        json!({"status": 503, "retry_after": "2"}),
        json!({"status": 504, "shape": "empty"}),
        json!({"status": 408}),
        json!({"status": 425}),
        json!({"status": 429, "retry_after": "2"}),
        json!({"status": 599}),
    ] {
        let app = TestApp::setup().manual_clock().start();
        let mut late = action.clone();
        late["lands_after_ms"] = json!(LATE.as_millis());
        app.imprint
            .inject(&json!({"customer": "c1", "method": "POST", "times": 1, "action": late}));
        app.accept(&email("old", "c1", 1));
        app.wait_for("Imprint has answered", |app| {
            let calls = app.imprint.calls();
            calls.first().is_some_and(|call| call.status.is_some())
        });
        app.accept(&email("new", "c1", 2));
        app.advance_until("new is delivered", Duration::from_secs(1), |app| {
            app.receipt("new")["status"] == "delivered"
        });
        assert!(has(&app, "new"), "{action}");
        is_corrected(&app, "old", "new");
    }
}

/// FAULTS U59: Imprint rejects the request that sends the newest value again, and then a request that also carries a
/// new entry. The entry is delivered, and so is the newest value when Imprint accepts it again.
#[test]
fn a_rejected_reassertion_is_sent_again_and_parks_no_entry() {
    let app = TestApp::setup().manual_clock().start();
    let late = json!({"status": 500, "lands_after_ms": LATE.as_millis()});
    app.imprint
        .inject(&json!({"customer": "c1", "method": "POST", "times": 1, "action": late}));
    app.accept(&email("old", "c1", 1));
    app.wait_for("Imprint has answered", |app| {
        !app.imprint.calls().is_empty()
    });
    app.accept(&email("new", "c1", 2));
    app.advance_until("new is delivered", Duration::from_secs(1), |app| {
        app.receipt("new")["status"] == "delivered"
    });
    app.advance(LATE);
    app.wait_for("the late request has taken effect", |app| has(app, "old"));
    let rejection = json!({"status": 400, "shape": "flat", "type": "INVALID_REQUEST_ERROR"});
    app.imprint.inject(
        &json!({"customer": "c1", "method": "POST", "body_has": "/email", "action": rejection}),
    );
    app.advance_until("the newest value is rejected", LATE, |app| {
        let calls = app.imprint.calls();
        calls.iter().any(|call| call.status == Some(400))
    });
    let phone = Event::new("phone", "c1", 3).with("/data/customer/phone", json!("+12025550123"));
    app.accept(&phone);
    app.advance_until("the entry is delivered", Duration::from_secs(1), |app| {
        app.receipt("phone")["status"] == "delivered"
    });
    assert!(has(&app, "old"));
    app.imprint.sandbox.clear_faults();
    app.advance_until("the newest value is there again", LATE, |app| {
        has(app, "new")
    });
}

/// FAULTS U52, V3: the requests that use up the last attempts of two entries, together and then one by one, take effect
/// after the entries were parked and a newer value was delivered.
#[test]
fn the_last_attempts_of_parked_entries_do_not_have_the_last_word() {
    let app = TestApp::setup()
        .settings("[dispatch]\nattempts_max = 1\npark_after = \"0s\"")
        .manual_clock()
        .start();
    let late = json!({"status": 500, "lands_after_ms": LATE.as_millis()});
    app.imprint
        .inject(&json!({"customer": "c1", "method": "POST", "action": late}));
    let phone = Event::new("phone", "c1", 2).with("/data/customer/phone", json!("+12025550123"));
    assert_eq!(app.post_batch(&[email("old", "c1", 1), phone]).status, 202);
    let mut revision = 0;
    wait_for("both are parked while others are delivered", || {
        app.advance(Duration::from_millis(100));
        revision += 1;
        app.accept(&email(&format!("other-{revision}"), "c2", revision));
        (app.metric("parked_entries") == Some(2.0)).then_some(())
    });
    let together = app.imprint.calls();
    let mut together = together
        .iter()
        .filter(|call| call.body.get("phone").is_some());
    assert!(together.any(|call| call.body.get("email").is_some()));
    app.imprint.sandbox.clear_faults();
    app.accept(&email("new", "c1", 3));
    app.wait_until("new", "delivered");
    app.wait_until(&format!("other-{revision}"), "delivered");
    is_corrected(&app, "old", "new");
}

/// A bridge process that is killed and started again over one store, and the sandbox.
pub(crate) struct Killed {
    clock: Clock,
    imprint: FakeImprint,
    files: Files,
}

/// A running bridge process.
pub(crate) struct Running {
    process: Process,
    ingress: std::net::SocketAddr,
    ops: std::net::SocketAddr,
}

impl Killed {
    /// Starts a bridge, kills the bridge while its request with the value `old` is in flight, and leaves the
    /// destination paused, so that the next process does not look at the lane.
    pub(crate) fn in_flight() -> Self {
        // The clock of the sandbox stands still, so the request takes effect when the test says so.
        let clock = Clock::manual(Clock::machine().now());
        let imprint = FakeImprint::with_clock(clock.clone(), |settings| {
            settings.unknown_customer = UnseededCustomer::Created;
        });
        imprint.inject(&json!({
            "customer": "c1", "times": 1, "action": {"lands_after_ms": LATE.as_millis()},
        }));
        let files = Files::write(imprint.address, KEY, "[dispatch]\nassert_after = \"6s\"");
        files.write_token("alice", TOKEN);
        let killed = Self {
            clock,
            imprint,
            files,
        };
        let mut bridge = killed.start();
        bridge.accept(&[email("old", "c1", 1)]);
        wait_for("the request is in flight", || {
            (!killed.imprint.calls().is_empty()).then_some(())
        });
        bridge.set_mode("paused");
        bridge.process.child.kill().unwrap();
        bridge.process.wait_for_exit();
        killed
    }

    pub(crate) fn start(&self) -> Running {
        let process = Process::serve(&self.files);
        let (ingress, ops) = process.ready();
        Running {
            process,
            ingress,
            ops,
        }
    }

    fn email(&self) -> Option<String> {
        self.imprint.email("c1")
    }

    /// Opens the destination, lets the old request take effect after the delivery of the newest value, and expects that
    /// the newest value is sent again.
    pub(crate) fn is_corrected(&self, bridge: &Running, newest: &str) {
        bridge.set_mode("open");
        wait_for("the newest value is delivered", || {
            let receipt = receipt(bridge.ingress, newest).unwrap().json();
            (receipt["status"] == "delivered").then_some(())
        });
        let newest = Some(format!("{newest}@example.com"));
        assert_eq!(self.email(), newest);
        self.clock.advance(LATE);
        wait_for("the late request has taken effect", || {
            (self.email().as_deref() == Some("old@example.com")).then_some(())
        });
        wait_for("the newest value is there again", || {
            (self.email() == newest).then_some(())
        });
    }
}

impl Running {
    /// Posts events, in batches.
    pub(crate) fn accept(&self, events: &[Event]) {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        for batch in events.chunks(100) {
            let batch: Vec<&Value> = batch.iter().map(Event::json).collect();
            let answer = post(self.ingress, &headers, &json!(batch).to_string()).unwrap();
            assert_eq!(answer.status, 202, "{POST_EVENTS}: {}", answer.body);
        }
    }

    fn set_mode(&self, mode: &str) {
        self.operate(
            "POST /admin/v1/destination",
            &json!({"mode": mode, "reason": "a test"}),
        );
    }

    /// Sends a request to the admin API, and returns the answer.
    pub(crate) fn operate(&self, line: &str, body: &Value) -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str())];
        let answer = http::ask(self.ops, line, &headers, &body.to_string()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

/// FAULTS N110, P07, V3: the process is killed in flight, and then newer events of the customer arrive before the next
/// process looks at the lane: one less than one claim reads, as many, and more.
#[test]
fn a_request_of_a_killed_process_does_not_have_the_last_word_after_any_number_of_events() {
    for newer in [998, 999, 1000, 1001] {
        let killed = Killed::in_flight();
        let bridge = killed.start();
        let events: Vec<Event> = (1..=newer)
            .map(|revision| email(&format!("new-{revision}"), "c1", 1 + revision))
            .collect();
        bridge.accept(&events);
        killed.is_corrected(&bridge, &format!("new-{newer}"));
    }
}

/// FAULTS N110, P07, V3: the process is killed in flight, and the next process ends in order without a look at the
/// lane.
#[test]
fn an_orderly_stop_does_not_forget_a_request_of_a_killed_process() {
    let killed = Killed::in_flight();
    let mut bridge = killed.start();
    bridge.accept(&[email("new", "c1", 2)]);
    bridge.process.terminate();
    assert!(bridge.process.wait_for_exit().success());
    let bridge = killed.start();
    killed.is_corrected(&bridge, "new");
}
