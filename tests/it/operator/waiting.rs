//! Tests of an operator who takes waiting entries out of delivery.

use super::*;
use crate::doubt::Killed;

const SECOND: Duration = Duration::from_secs(1);
/// The time after which a request takes effect in these tests, shorter than `dispatch.assert_after`.
const LATE: Duration = Duration::from_secs(40);

impl OperatedApp {
    /// Starts a bridge on a manual clock, so that a lane rests until the test moves the clock.
    fn at_rest() -> Self {
        let setup = TestApp::setup().operator("alice", TOKEN);
        Self(setup.manual_clock().start())
    }

    /// Returns the numbers of the waiting entries of a customer, starting with the oldest.
    fn waiting(&self, customer: &str) -> Vec<u64> {
        let listed = self.get(&format!("/entries?state=waiting&customer={customer}"));
        let entries = listed["entries"].as_array().unwrap();
        let numbers = entries.iter().map(|entry| entry["entry"].as_u64().unwrap());
        numbers.collect()
    }

    /// Changes entries as soon as no request of their customer is in flight, and returns the answer.
    fn withdraw(&self, action: &str, body: &Value) -> Value {
        let mut body = body.clone();
        body["reason"] = json!("a stuck customer");
        let line = format!("POST /admin/v1/entries/{action}");
        wait_for("no request is in flight", || {
            let answer = self.send(&line, &body);
            assert!([200, 409].contains(&answer.status), "{}", answer.body);
            (answer.status == 200).then(|| answer.json())
        })
    }

    /// Returns the number of requests about a customer that Imprint has answered.
    fn answered(&self, customer: &str) -> usize {
        let calls = self.0.imprint.calls();
        let of = calls
            .iter()
            .filter(|call| call.customer.as_deref() == Some(customer) && call.status.is_some());
        of.count()
    }

    fn wait_for_calls(&self, customer: &str, count: usize) {
        self.0.advance_until("Imprint has answered", SECOND, |_| {
            self.answered(customer) >= count
        });
    }

    /// Expects that the audit log has a discard, a parking and a replay.
    #[track_caller]
    fn are_audited(&self, discarded: u64, parked: u64) {
        let audited = self.audited();
        for (record, what, entry) in [
            (&audited[0], "discard", discarded),
            (&audited[1], "park", parked),
        ] {
            let found = (&record["who"], &record["what"]);
            assert_eq!(found, (&json!("alice"), &json!(what)));
            assert_eq!(record["on"], entry.to_string());
            assert_eq!(record["entries"], 1);
            assert_eq!(record["reason"], "a stuck customer");
        }
        assert_eq!(audited.len(), 3, "{audited:?}");
    }

    fn audited(&self) -> Vec<Value> {
        self.get("/audit")["acts"].as_array().unwrap().clone()
    }
}

/// FAULTS N306: Imprint answers every request of one customer with the same failure. The operator discards the first
/// entry and parks the second. The bridge delivers the third when Imprint recovers.
#[test]
fn an_operator_frees_a_customer_whose_requests_always_fail() {
    for failure in [
        json!({"status": 429}),
        json!({"status": 401}),
        json!({"status": 500}),
        json!({"status": 503, "retry_after": "900"}),
    ] {
        let mut app = OperatedApp::at_rest();
        let fault = json!({"customer": "c1", "action": failure});
        app.0.imprint.inject(&fault);
        app.0.accept(&email("healthy", "c2", 1));
        app.0.advance_until("others are delivered", SECOND, |app| {
            app.receipt("healthy")["status"] == "delivered"
        });
        for (id, revision) in [("first", 1), ("second", 2), ("third", 3)] {
            app.0.accept(&email(id, "c1", revision));
        }
        app.wait_for_calls("c1", 1);
        let entries = app.waiting("c1");
        assert_eq!(entries.len(), 3, "{failure}");
        let preview = json!({"ids": [entries[0]], "preview": true});
        let preview = app.post("/entries/discard", &preview);
        assert_eq!(preview["would_discard"], json!([entries[0]]));
        let answer = app.withdraw("discard", &json!({"ids": [entries[0]]}));
        assert_eq!(answer["discarded"], json!([entries[0]]), "{failure}");
        assert_eq!(answer["in_flight"], json!([]), "{failure}");
        let answer = app.withdraw("park", &json!({"ids": [entries[0], entries[1]]}));
        assert_eq!(answer["parked"], json!([entries[1]]), "{failure}");
        assert_eq!(app.0.receipt("first")["status"], "discarded");
        let second = app.0.receipt("second");
        assert_eq!(second["status"], "parked");
        assert_eq!(second["parked"]["reason"], "by_operator", "{second}");
        assert_eq!(app.waiting("c1"), [entries[2]], "{failure}");
        app.0.stop().unwrap();
        app.0.restart();
        assert_eq!(app.waiting("c1"), [entries[2]], "{failure}");
        let gauge = |name: &str| app.0.metric(name);
        assert_eq!(gauge("waiting_entries"), Some(1.0), "{failure}");
        assert_eq!(gauge("parked_entries"), Some(1.0), "{failure}");
        app.0.imprint.sandbox.clear_faults();
        app.0
            .advance_until("the third is delivered", SECOND, |app| {
                app.receipt("third")["status"] == "delivered"
            });
        let applied = app.0.imprint.applied("c1");
        let emails: Vec<&Value> = applied.iter().map(|call| &call.body["email"]).collect();
        assert_eq!(emails, [&json!("third@example.com")], "{failure}");
        app.post("/entries/replay", &json!({"ids": [entries[1]]}));
        let second = app.0.wait_until("second", "superseded");
        assert_eq!(second["superseded_by"], "third", "{failure}");
        assert_eq!(app.0.metric("stored_bytes{source=\"crm\"}"), Some(0.0));
        app.are_audited(entries[0], entries[1]);
    }
}

/// FAULTS N306: the first entry of a customer makes Imprint fail. When the operator parks the entry, the next entry is
/// delivered at once, although the customer would rest for an hour.
#[test]
fn the_rest_of_a_lane_goes_on_at_once() {
    let app = OperatedApp::at_rest();
    let fault = json!({"customer": "c1", "body_has": "/phone", "action": {"status": 500}});
    app.0.imprint.inject(&fault);
    let poison = Event::new("poison", "c1", 1);
    app.0
        .accept(&poison.with("/data/customer/phone", json!("+12025550123")));
    app.0.accept(&email("next", "c1", 2));
    app.wait_for_calls("c1", 8);
    let poison = app.waiting("c1")[0];
    app.withdraw("park", &json!({"ids": [poison]}));
    app.0.wait_until("next", "delivered");
    assert_eq!(app.0.receipt("poison")["status"], "parked");
}

/// FAULTS N306: after the withdrawal of all entries of a customer, the bridge sends no request of the customer, until a
/// later event arrives.
#[test]
fn all_waiting_entries_of_a_customer_can_be_withdrawn() {
    for (action, done) in [("park", "parked"), ("discard", "discarded")] {
        let app = OperatedApp::at_rest();
        let failing = json!({"action": {"status": 500}});
        app.0.imprint.inject(&failing);
        for (id, customer) in [("a", "c1"), ("b", "c1"), ("other", "c2")] {
            let revision = if id == "b" { 2 } else { 1 };
            app.0.accept(&email(id, customer, revision));
        }
        let other = app.waiting("c2");
        let line = format!("POST /admin/v1/entries/{action}");
        for filter in [
            json!({"state": "waiting"}),
            json!({"state": "waiting", "source": "crm"}),
            json!({"state": "delivered", "customer": "c1"}),
            json!({"state": "waiting", "customer": ""}),
        ] {
            let answer = app.send(&line, &json!({"filter": filter, "reason": "a test"}));
            assert_eq!(answer.status, 400, "{filter}: {}", answer.body);
        }
        let selected = json!({"filter": {"state": "waiting", "customer": "c1"}});
        assert_eq!(app.send(&line, &selected).status, 400, "without a reason");
        let entries = app.waiting("c1");
        let answer = app.withdraw(action, &selected);
        assert_eq!(answer[done], json!(entries));
        assert_eq!(app.waiting("c2"), other);
        let again = app.withdraw(action, &selected);
        assert_eq!((&again[done], &again["more"]), (&json!([]), &json!(false)));
        app.0.imprint.sandbox.clear_faults();
        app.0.advance(Duration::from_hours(2));
        app.0.wait_until("other", "delivered");
        assert_eq!(app.0.receipt("a")["status"], done);
        assert!(app.0.imprint.applied("c1").is_empty());
        app.0.accept(&email("later", "c1", 3));
        app.0.wait_until("later", "delivered");
    }
}

/// FAULTS N308: while a request of a customer is in flight, no waiting entry of the customer changes, and the answer
/// says so.
#[test]
fn an_entry_in_flight_is_not_withdrawn() {
    let app = OperatedApp::at_rest();
    let slow = json!({"customer": "c1", "times": 1, "action": {"latency_ms": 1_000}});
    app.0.imprint.inject(&slow);
    let failing = json!({"customer": "c2", "action": {"status": 500}});
    app.0.imprint.inject(&failing);
    app.0.accept(&email("resting", "c2", 1));
    app.wait_for_calls("c2", 1);
    app.0.accept(&email("flying", "c1", 1));
    app.0.wait_for("the request is in flight", |app| {
        app.imprint
            .calls()
            .iter()
            .any(|call| call.customer.as_deref() == Some("c1"))
    });
    app.0.accept(&email("behind", "c1", 2));
    let flying = app.waiting("c1");
    let resting = app.waiting("c2");
    for action in ["discard", "park"] {
        let line = format!("POST /admin/v1/entries/{action}");
        let body = json!({"ids": flying, "reason": "a test"});
        let answer = app.send(&line, &body);
        assert_eq!(answer.status, 409, "{}", answer.body);
        let problem = &answer.json()["type"];
        assert_eq!(*problem, "urn:imprint-bridge:problem:in_flight");
    }
    assert!(app.audited().is_empty());
    let output = app.run("park", &[&flying[0].to_string(), "--reason", "a test"]);
    assert_eq!(output.code, 1, "{}", output.stdout);
    assert!(output.stderr.contains("in progress"), "{}", output.stderr);
    let both: Vec<u64> = flying.iter().chain(&resting).copied().collect();
    let answer = app.withdraw("discard", &json!({"ids": both}));
    assert_eq!(answer["discarded"], json!(resting));
    assert_eq!(answer["in_flight"], json!(flying));
    assert_eq!(app.audited()[0]["on"], resting[0].to_string());
    app.0.advance(SECOND);
    app.0.wait_until("flying", "delivered");
    app.0.wait_until("behind", "delivered");
    assert_eq!(app.0.receipt("resting")["status"], "discarded");
}

/// FAULTS N307, V3: the request with an entry got no clear answer. The operator withdraws the entry, the bridge
/// delivers another entry with a newer or an older version, and then the request takes effect.
#[test]
fn a_request_of_a_withdrawn_entry_does_not_have_the_last_word() {
    for (action, revision) in [("discard", 9), ("discard", 3), ("park", 9), ("park", 3)] {
        let app = OperatedApp::at_rest();
        let late = json!({"status": 500, "lands_after_ms": LATE.as_millis()});
        let late = json!({"customer": "c1", "method": "POST", "times": 1, "action": late});
        app.0.imprint.inject(&late);
        app.0.accept(&email("withdrawn", "c1", 5));
        app.0
            .wait_for("Imprint has answered", |_| app.answered("c1") == 1);
        let entries = app.waiting("c1");
        app.withdraw(action, &json!({"ids": entries}));
        app.0.accept(&email("delivered", "c1", revision));
        app.0.wait_until("delivered", "delivered");
        let has =
            |app: &TestApp, id: &str| app.imprint.email("c1") == Some(format!("{id}@example.com"));
        assert!(has(&app.0, "delivered"), "{action} {revision}");
        app.0.advance(LATE);
        app.0.wait_for("the late request has taken effect", |app| {
            has(app, "withdrawn")
        });
        app.0
            .advance_until("the value is there again", LATE, |app| {
                has(app, "delivered")
            });
    }
}

/// FAULTS N307, P07, V3: the process was killed while the request was in flight. The operator withdraws the entry
/// before the next process claims the lane.
#[test]
fn a_request_of_a_killed_process_is_in_doubt_after_its_entry_was_withdrawn() {
    for action in ["discard", "park"] {
        let killed = Killed::in_flight();
        let bridge = killed.start();
        let body = json!({"ids": [1], "reason": "a test"});
        let answer = bridge.operate(&format!("POST /admin/v1/entries/{action}"), &body);
        assert_eq!(answer["in_flight"], json!([]), "{answer}");
        bridge.accept(&[email("new", "c1", 2)]);
        killed.is_corrected(&bridge, "new");
    }
}

#[test]
fn the_command_line_parks_and_discards_waiting_entries() {
    let app = OperatedApp::at_rest();
    app.post(
        "/destination",
        &json!({"mode": "paused", "reason": "a test"}),
    );
    for (id, customer) in [("a", "c1"), ("b", "c2"), ("c", "c2")] {
        app.0.accept(&email(id, customer, 1));
    }
    let entry = app.waiting("c1")[0].to_string();
    let output = app.run("park", &[&entry, "--preview"]);
    // FAULTS N1156: numbers need no bound.
    let planned = (output.code, output.stdout.trim());
    assert_eq!(planned, (0, "1 would be parked"), "{}", output.stderr);
    let output = app.run("park", &[&entry, "--reason", "they look into it"]);
    assert_eq!(
        (output.code, output.stdout.trim()),
        (0, "1 parked"),
        "{}",
        output.stderr
    );
    let output = app.run("parked", &["--parked-for", "by_operator"]);
    assert_eq!(output.stdout.lines().count(), 2, "{}", output.stdout);
    let waiting = ["--state", "waiting", "--reason", "a test customer"];
    let output = app.run("discard", &waiting);
    assert_eq!(output.code, 1, "{}", output.stdout);
    let needs = "a filter for waiting entries must contain a customer or an event id";
    assert!(output.stderr.contains(needs), "{}", output.stderr);
    let of_customer = [&waiting[..], &["--customer", "c2"]].concat();
    let output = app.run("discard", &of_customer);
    assert_eq!(
        (output.code, output.stdout.trim()),
        (0, "2 discarded"),
        "{}",
        output.stderr
    );
    assert_eq!(app.run("discard", &of_customer).code, 2, "nothing is left");
    assert_eq!(app.run("park", &["--all", "--reason", "a test"]).code, 1);
    assert_eq!(app.0.metric("waiting_entries"), Some(0.0));
    let output = app.run("audit", &[]);
    for (what, why) in [
        ("park", "they look into it"),
        ("discard", "a test customer"),
    ] {
        let has_both = |line: &str| line.contains(what) && line.contains(why);
        assert!(output.stdout.lines().any(has_both), "{}", output.stdout);
    }
    let output = app.run("replay", &[&entry]);
    assert_eq!((output.code, output.stdout.trim()), (0, "1 replayed"));
    app.post("/destination", &json!({"mode": "open"}));
    app.0.wait_until("a", "delivered");
}

/// FAULTS N1059: a command that finds nothing or that has contradicting options names the next step.
#[test]
fn a_command_without_a_result_names_the_next_step() {
    let app = OperatedApp::at_rest();
    app.post(
        "/destination",
        &json!({"mode": "paused", "reason": "a test"}),
    );
    app.0.accept(&email("a", "c1", 1));
    let entry = app.waiting("c1")[0].to_string();
    assert_eq!(app.run("park", &[&entry, "--reason", "a test"]).code, 0);
    let all = app.run("replay", &["--state", "parked", "--all", "--preview"]);
    let is_planned = all.stdout.starts_with("1 would be replayed\n");
    assert!(all.code == 0 && is_planned, "{}{}", all.stdout, all.stderr);
    for (command, arguments, expected) in [
        (
            "replay",
            &["--all", "--customer", "c2"][..],
            "leave out --all",
        ),
        ("replay", &["16,17"], "with spaces between them"),
        ("events", &[], "no entry waits; --state all lists"),
        // FAULTS N1299
        (
            "events",
            &["--source", "sugr"],
            "the bridge has no source sugr",
        ),
        ("brakes", &["sugr"], "the bridge has no source sugr"),
        // FAULTS N1362
        (
            "denied-requests",
            &["--source", "sugr"],
            "the bridge has no source sugr",
        ),
        (
            "events",
            &["--since", "yesterday"],
            "is not an RFC 3339 time, such as 2026-",
        ),
    ] {
        let output = app.run(command, arguments);
        assert_ne!(output.code, 0, "{command} {arguments:?}");
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}
