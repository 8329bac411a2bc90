//! Tests of the mass-change brake: a source that changes the same field of many customers in a short time. Each test sends
//! the events over HTTP and looks at the requests that Imprint gets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::commands;
use crate::http::{self, Answer};
use crate::support::TestApp;

/// The admin API token of the operator `alice`.
const TOKEN: &str = "op-canary-token-1";
const MINUTE: Duration = Duration::from_mins(1);
/// The phone number of a faulty import.
const PHONE: &str = "+14155550123";

/// The rest of a source file.
const SOURCE: &str = r#"
[auth]
kind = "none"
[events.changed]
schema = "any.json"
customer.imprint_id = ".data.customer"
version = ".data.at"
version_domain = "time"
[events.changed.update]
phone = ".data.phone"
email = ".data.email"
city = ".data.city"
[events.unordered]
schema = "any.json"
customer.imprint_id = ".data.customer"
[events.unordered.update]
metadata.note = ".data.note"
"#;

/// A bridge with the sources `crm` and `erp`.
struct BrakedApp {
    app: TestApp,
    folder: tempfile::TempDir,
}

/// The time of a bridge under test.
#[derive(Clone, Copy)]
enum Time {
    Runs,
    Manual,
}

impl BrakedApp {
    /// Starts a bridge. `brake` has the settings of the table `[brake]`.
    fn start(brake: &str, time: Time) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("any.json"), "{}").unwrap();
        let path = folder.path().display();
        let settings =
            format!("sources_dir = \"{path}\"\nschemas_dir = \"{path}\"\n[brake]\n{brake}\n");
        for source in ["crm", "erp"] {
            std::fs::write(folder.path().join(format!("{source}.toml")), SOURCE).unwrap();
        }
        let setup = TestApp::setup().operator("alice", TOKEN).settings(settings);
        let app = match time {
            Time::Runs => setup.start(),
            Time::Manual => {
                let mut app = setup.manual_clock().start();
                app.leave_waiting_entries();
                app
            }
        };
        Self { app, folder }
    }

    fn write_source(&self, source: &str, more: &str) {
        let file = self.folder.path().join(format!("{source}.toml"));
        std::fs::write(file, format!("{SOURCE}{more}")).unwrap();
        self.operate("POST /admin/v1/reload", &json!({}));
    }

    fn remove_source(&self, source: &str) {
        let file = self.folder.path().join(format!("{source}.toml"));
        std::fs::remove_file(file).unwrap();
        self.operate("POST /admin/v1/reload", &json!({}));
    }

    fn send(&self, source: &str, events: &[Value]) -> Answer {
        let line = format!("POST /v1/sources/{source}/events");
        let media_type = [("content-type", "application/cloudevents-batch+json")];
        http::ask(
            self.app.ingress(),
            &line,
            &media_type,
            &json!(events).to_string(),
        )
        .unwrap()
    }

    /// Sends a batch, and returns the states of its events.
    #[track_caller]
    fn states(&self, source: &str, events: &[Value]) -> Vec<String> {
        let answer = self.send(source, events);
        assert_eq!(answer.status, 202, "{}", answer.body);
        let accepted = answer.json()["accepted"].as_array().unwrap().clone();
        let states = accepted.iter().map(|one| one["status"].as_str().unwrap());
        states.map(str::to_owned).collect()
    }

    /// Sends the events of customers in batches, and returns the number of held events.
    #[track_caller]
    fn held(&self, source: &str, events: &[Value]) -> usize {
        let states = events
            .chunks(100)
            .flat_map(|batch| self.states(source, batch));
        states.filter(|state| state == "held").count()
    }

    fn status(&self, source: &str, id: &str) -> String {
        let line = format!("GET /v1/sources/{source}/events/{id}");
        let answer = http::ask(self.app.ingress(), &line, &[], "").unwrap();
        answer.json()["status"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn operate(&self, line: &str, body: &Value) -> Value {
        let answer = self.app.ask_operator(TOKEN, line, body);
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        answer.json()
    }

    /// Changes the held entries of a source until none is left.
    fn change_held(&self, action: &str, source: &str) -> usize {
        let filter = json!({"state": "held", "source": source, "limit": 500});
        let body = json!({"filter": filter, "reason": "decided"});
        let mut changed = 0;
        loop {
            let answer = self.operate(&format!("POST /admin/v1/entries/{action}"), &body);
            let member = if action == "replay" {
                "replayed"
            } else {
                "discarded"
            };
            changed += answer[member].as_array().unwrap().len();
            if answer["more"] != true {
                return changed;
            }
        }
    }

    /// Runs the command `brakes`, and returns its exit code and its output.
    fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.run(&[&["brakes"], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (ops, token) = (
            format!("http://{}", self.app.ops()),
            self.app.files.token_file("alice"),
        );
        let connection = ["--ops", &ops, "--token-file", token.to_str().unwrap()];
        let arguments = [arguments, &connection].concat();
        let output = commands::run(&arguments, "");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), commands::text(&printed))
    }

    fn metric(&self, name: &str) -> f64 {
        self.app.metric(name).unwrap_or_default()
    }

    fn wait_until_idle(&self) {
        match self.app.metric("waiting_entries") {
            Some(0.0) => {}
            _ => self.app.wait_for("the queue is empty", |app| {
                app.metric("waiting_entries") == Some(0.0)
            }),
        }
    }

    /// Returns the value of a field at Imprint, for each of these customers.
    fn values(
        &self,
        field: &str,
        customers: impl Iterator<Item = usize>,
    ) -> BTreeMap<usize, Value> {
        let value = |number: usize| {
            let customer = self.app.imprint.sandbox.customer(&customer(number));
            let value = customer.map(|customer| customer["customer"][field].clone());
            (number, value.unwrap_or_default())
        };
        customers.map(value).collect()
    }
}

fn customer(number: usize) -> String {
    format!("c{number}")
}

/// Returns an event that sets the fields of `data`. Its version is a time, with the minute in `v`.
fn event(id: &str, number: usize, data: &Value) -> Value {
    let minute = data["v"].as_u64().unwrap_or(1);
    let mut data = data.clone();
    data["customer"] = json!(customer(number));
    data["at"] = json!(format!("2025-02-13T19:{minute:02}:00Z"));
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": "changed", "data": data})
}

/// Returns an event for each of these customers.
fn import(
    run: &str,
    customers: impl Iterator<Item = usize>,
    data: impl Fn(usize) -> Value,
) -> Vec<Value> {
    let event = |number: usize| event(&format!("{run}-{number}"), number, &data(number));
    customers.map(event).collect()
}

fn same_phone(_number: usize) -> Value {
    json!({"phone": PHONE})
}

fn own_email(number: usize) -> Value {
    json!({"email": format!("own-{number}@example.com")})
}

/// FAULTS N882: a faulty import writes one phone number into 500 customers. As many customers as the limit get it. The
/// other entries are held, also within the batch that exceeds the limit, and hold nothing else up. An operator sees the
/// requests, discards a part and releases the rest.
#[test]
fn an_import_that_writes_one_value_to_many_customers_is_held() {
    let app = BrakedApp::start("mode = \"on\"", Time::Runs);
    let events = import("import", 0..500, same_phone);
    assert_eq!(
        app.states("crm", &events[..30])[24..26],
        ["waiting", "held"]
    );
    assert_eq!(app.held("crm", &events[30..]), 470);
    app.wait_until_idle();
    let has_phone = |number: usize| app.values("phone", number..number + 1)[&number] == PHONE;
    assert_eq!((0..500).filter(|number| has_phone(*number)).count(), 25);
    assert_eq!(app.metric("held_entries"), 475.0);
    assert_eq!(app.metric("held_total{source=\"crm\"}"), 475.0);

    // Other fields of the held customers, other values of the field and other sources go on.
    assert_eq!(app.held("crm", &import("email", 100..200, own_email)), 0);
    let phone = event("own", 300, &json!({"phone": "+14155550199"}));
    assert_eq!(app.states("crm", &[phone]), ["waiting"]);
    assert_eq!(app.held("erp", &import("import", 600..620, same_phone)), 0);
    app.wait_until_idle();
    let emails = app.values("email", 100..200);
    assert!(
        emails
            .iter()
            .all(|(number, email)| *email == own_email(*number)["email"])
    );

    let filter = json!({"state": "held", "source": "crm", "limit": 500});
    let preview = json!({"filter": filter, "preview": true});
    let preview = app.operate("POST /admin/v1/entries/replay", &preview);
    assert_eq!(preview["would_replay"], 475, "{preview}");
    // The customer with the newer phone number gets no request.
    assert_eq!(preview["requests"].as_array().unwrap().len(), 474);
    assert!(!preview.to_string().contains(PHONE), "values are masked");

    let discarded: Vec<u64> = numbers(&preview["results"]).into_iter().take(100).collect();
    let body = json!({"ids": discarded, "reason": "the import was wrong"});
    let answer = app.operate("POST /admin/v1/entries/discard", &body);
    assert_eq!(
        answer["discarded"].as_array().unwrap().len(),
        100,
        "{answer}"
    );
    assert_eq!(app.change_held("replay", "crm"), 375);
    app.wait_until_idle();
    let ended = (0..500).map(|number| app.status("crm", &format!("import-{number}")));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    ended.for_each(|status| *counts.entry(status).or_default() += 1);
    let expected = [("delivered", 399), ("discarded", 100), ("superseded", 1)];
    assert_eq!(
        counts,
        expected
            .map(|(state, count)| (state.to_owned(), count))
            .into()
    );
    assert_eq!(app.metric("held_entries"), 0.0);
    let with_phone = (0..500).filter(|number| has_phone(*number)).count();
    assert_eq!(with_phone, 399);
}

/// Returns the entry numbers of the results of a preview.
fn numbers(results: &Value) -> Vec<u64> {
    let results = results.as_array().unwrap().iter();
    let mut numbers: Vec<u64> = results.map(|one| one["entry"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// FAULTS N883: held entries stay held after a restart, and nothing of them is sent. The counts begin with nothing.
#[test]
fn held_entries_stay_held_after_a_restart() {
    let mut app = BrakedApp::start("mode = \"on\"\nsame_value_max = 3", Time::Runs);
    assert_eq!(app.held("crm", &import("a", 0..10, same_phone)), 7);
    app.wait_until_idle();
    app.app.stop().unwrap();
    app.app.restart();
    assert_eq!(app.metric("held_entries"), 7.0);
    assert_eq!(app.status("crm", "a-9"), "held");
    let repeated = app.states("crm", &import("a", 0..10, same_phone));
    assert_eq!(repeated[2..4], ["delivered", "held"]);
    assert_eq!(app.held("crm", &import("b", 10..20, same_phone)), 7);
    assert_eq!(app.change_held("discard", "crm"), 14);
    app.wait_until_idle();
    let phones = app.values("phone", 0..20);
    let count = phones.values().filter(|phone| **phone == PHONE).count();
    assert_eq!(count, 6, "{phones:?}");
}

/// FAULTS N884: a sender repeats its requests, or sends events that the bridge refuses. These are no new changes, so they
/// do not count.
#[test]
fn only_new_changes_count() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 10", Time::Manual);
    let first = import("a", 0..8, same_phone);
    assert_eq!(app.held("crm", &first), 0);
    app.app.advance(16 * MINUTE);
    for _ in 0..3 {
        assert_eq!(app.held("crm", &first), 0);
    }
    // Each of these events but one is new. The last one conflicts with an earlier event, so the bridge stores none.
    let mut conflict = import("b", 20..28, same_phone);
    conflict.push(event("a-0", 40, &json!({"phone": PHONE})));
    for _ in 0..3 {
        assert_eq!(app.send("crm", &conflict).status, 409);
    }
    assert_eq!(app.held("crm", &import("c", 50..60, same_phone)), 0);
    assert_eq!(app.held("crm", &import("d", 60..61, same_phone)), 1);
    // Many events of the same customers are no mass change either.
    let app = BrakedApp::start(
        "mode = \"on\"\ncustomers_max = 5\nsame_value_max = 3",
        Time::Manual,
    );
    for run in 0..20 {
        let data = |_| json!({"phone": PHONE, "v": run + 1});
        assert_eq!(app.held("crm", &import(&format!("r{run}"), 0..3, data)), 0);
    }
}

/// FAULTS N987: a request contains an old event again and a new event of the same customer, as after the rewind of a queue. The
/// new event counts.
#[test]
fn a_new_event_after_a_repeated_one_counts() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 10", Time::Manual);
    let body = json!({"source": "crm", "open_seconds": 60, "reason": "a planned import"});
    app.operate("POST /admin/v1/brakes", &body);
    let old = import("old", 0..50, same_phone);
    assert_eq!(app.held("crm", &old), 0);
    app.app.advance(2 * MINUTE);
    let new = import("new", 0..50, |_| json!({"phone": PHONE, "v": 2}));
    let pairs = old.into_iter().zip(new).map(|(old, new)| [old, new]);
    let held: usize = pairs.map(|pair| app.held("crm", &pair)).sum();
    assert_eq!(held, 40);
}

/// FAULTS N1153: one operator closes the brake of a source while another one opens the brake of another source.
#[test]
fn changes_of_two_brakes_at_the_same_time_both_count() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 10", Time::Runs);
    let change = |source: &str, seconds: u64| {
        let body = json!({"source": source, "open_seconds": seconds, "reason": "a planned import"});
        app.operate("POST /admin/v1/brakes", &body);
    };
    for _ in 0..20 {
        change("crm", 3600);
        change("erp", 0);
        std::thread::scope(|scope| {
            scope.spawn(|| change("crm", 0));
            scope.spawn(|| change("erp", 3600));
        });
        let open = || {
            let answer = app.operate("GET /admin/v1/brakes", &Value::Null);
            let brakes = answer["brakes"].as_array().unwrap().clone();
            let open = brakes.iter().filter(|brake| !brake["open_until"].is_null());
            open.map(|brake| brake["source"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        app.app
            .wait_for("the bridge obeys the store", |_| open() == ["erp"]);
    }
}

/// FAULTS N988: many keys of `metadata` leave the brake no place for their own counts. The fields of Imprint still count.
#[test]
fn many_metadata_keys_hide_no_mass_change() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 10", Time::Manual);
    let keys: String = (0..70)
        .map(|key| format!("metadata.key_{key:02} = \".data.keys.k{key:02}\"\n"))
        .collect();
    let keyed = format!(
        "[events.keyed]\nschema = \"any.json\"\ncustomer.imprint_id = \".data.customer\"\n[events.keyed.update]\n{keys}"
    );
    app.write_source("crm", &keyed);
    let values: serde_json::Map<String, Value> = (0..70)
        .map(|key| (format!("k{key:02}"), json!(key)))
        .collect();
    let mut first = event("keys", 1, &json!({"keys": values}));
    first["type"] = json!("keyed");
    assert_eq!(app.states("crm", &[first]), ["waiting"]);
    assert_eq!(app.held("crm", &import("a", 10..30, same_phone)), 10);
}

/// FAULTS N882: two values that differ only in letter case or in spaces are one value.
#[test]
fn values_with_another_letter_case_are_the_same_value() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 10", Time::Manual);
    let spelled = |number: usize| match number % 2 {
        0 => json!({"email": "same@example.com"}),
        _ => json!({"email": "Same@Example.com"}),
    };
    assert_eq!(app.held("crm", &import("a", 0..20, spelled)), 10);
}

/// FAULTS N989: an operator corrects the mapping and replays held entries with it. A held entry keeps its stored values, so
/// the bridge changes nothing and says how to do it.
#[test]
fn a_replay_of_held_entries_never_sends_the_old_values_as_corrected_ones() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 2", Time::Manual);
    assert_eq!(app.held("crm", &import("a", 0..3, same_phone)), 1);
    let filter = json!({"state": "held", "source": "crm"});
    let again = json!({"filter": filter, "map_again": true, "reason": "corrected"});
    let line = "POST /admin/v1/entries/replay";
    for preview in [true, false] {
        let mut body = again.clone();
        body["preview"] = json!(preview);
        let answer = app.operate(line, &body);
        let unchanged = &answer["unchanged"][0];
        assert_eq!(unchanged["reason"], "keeps_values", "{answer}");
        assert!(unchanged.to_string().contains("park"), "{answer}");
        assert_eq!(app.status("crm", "a-2"), "held");
    }
    app.operate(
        "POST /admin/v1/entries/park",
        &json!({"filter": filter, "reason": "first"}),
    );
    let parked = json!({"filter": {"state": "parked"}, "map_again": true, "reason": "corrected"});
    let answer = app.operate(line, &parked);
    assert_eq!(answer["replayed"].as_array().unwrap().len(), 1, "{answer}");
}

/// FAULTS N884: the bridge parks the event of a batch that conflicts with an earlier event, and appends the batch again. The
/// batch counts once, and without the parked event.
#[test]
fn a_batch_that_the_bridge_appends_again_counts_once() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 10", Time::Runs);
    app.write_source("crm", "[body]\non_invalid = \"park\"\n");
    assert_eq!(app.held("crm", &import("a", 0..1, own_email)), 0);
    let mut batch = import("b", 1..11, same_phone);
    batch.insert(0, event("a-0", 20, &same_phone(20)));
    let states = app.states("crm", &batch);
    assert_eq!(states[0], "parked");
    assert!(
        states[1..].iter().all(|state| state == "waiting"),
        "{states:?}"
    );
    assert_eq!(app.held("crm", &import("c", 30..31, same_phone)), 1);
    app.wait_until_idle();
}

/// FAULTS N882: however many requests a source sends at the same time, only as many customers as the limit pass.
#[test]
fn concurrent_requests_pass_no_more_customers_than_the_limit() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 25", Time::Runs);
    let send = |sender: usize| {
        let customers = 100 * sender..100 * sender + 50;
        let events = import("a", customers, same_phone);
        let batches = events.chunks(5);
        batches.map(|batch| app.held("crm", batch)).sum::<usize>()
    };
    let held: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|sender| scope.spawn(move || send(sender)))
            .collect();
        let held = senders.into_iter().map(|sender| sender.join().unwrap());
        held.sum()
    });
    assert_eq!(held, 8 * 50 - 25);
    app.wait_until_idle();
}

/// FAULTS N884: a repeated batch does not end the hold of a mass change.
#[test]
fn a_repeated_batch_does_not_end_the_hold() {
    let app = BrakedApp::start(
        "mode = \"on\"\ncustomers_max = 20\nsame_value_max = 5",
        Time::Runs,
    );
    let earlier = import("a", 0..20, own_email);
    assert_eq!(app.held("crm", &earlier), 0);
    let other = import("b", 100..110, own_email);
    assert_eq!(app.held("crm", &other), 10);
    for _ in 0..3 {
        app.states("crm", &earlier);
    }
    assert_eq!(app.held("crm", &import("c", 200..210, own_email)), 10);
}

/// FAULTS N885: while an entry is held, a newer value of the same field passes. The released entry does not overwrite the
/// newer value: its version decides, and without a version the order of arrival.
#[test]
fn a_released_entry_never_overwrites_a_newer_value() {
    let app = BrakedApp::start(
        "mode = \"on\"\nsame_value_max = 2\ncustomers_max = 5",
        Time::Runs,
    );
    let events = import("old", 0..4, |_| json!({"phone": PHONE, "v": 5}));
    assert_eq!(app.held("crm", &events), 2);
    let newer = event("new", 2, &json!({"phone": "+14155550177", "v": 6}));
    let late = event("late", 3, &json!({"phone": "+14155550166", "v": 4}));
    assert_eq!(app.states("crm", &[newer, late]), ["waiting", "waiting"]);
    app.wait_until_idle();
    let note = |id: &str, number: usize, note: &str| {
        let mut event = event(id, number, &json!({"note": note}));
        event["type"] = json!("unordered");
        event
    };
    let notes: Vec<Value> = (10..16)
        .map(|number| note(&format!("n-{number}"), number, "old"))
        .collect();
    assert_eq!(app.held("erp", &notes), 1);
    assert_eq!(app.states("crm", &[note("m-15", 15, "new")]), ["waiting"]);
    app.wait_until_idle();
    for source in ["crm", "erp"] {
        app.change_held("replay", source);
    }
    app.wait_until_idle();
    assert_eq!(app.status("crm", "old-2"), "superseded");
    assert_eq!(app.status("crm", "old-3"), "delivered");
    assert_eq!(app.status("erp", "n-15"), "superseded");
    let phones = app.values("phone", 2..4);
    assert_eq!(phones[&2], "+14155550177");
    assert_eq!(phones[&3], PHONE);
    assert_eq!(app.values("metadata", 15..16)[&15]["note"], "new");
}

/// FAULTS N886: a source changes or clears one field of many customers. The brake passes entries again when the window has
/// only few customers, and a mass change goes on in no window.
#[test]
fn a_mass_change_of_different_values_or_of_cleared_fields_is_held() {
    let brake = "mode = \"on\"\ncustomers_max = 40\ncleared_max = 4\nwindow = \"10m\"";
    let app = BrakedApp::start(brake, Time::Manual);
    assert_eq!(app.held("crm", &import("a", 0..50, own_email)), 10);
    // The limit is one of customers within the window, and held entries count.
    for minute in 1_usize..30 {
        app.app.advance(MINUTE);
        let customers = 50 * minute..50 * minute + 50;
        let held = app.held("crm", &import(&format!("m{minute}"), customers, own_email));
        assert_eq!(held, 50, "minute {minute}");
    }
    let cleared = import("c", 2000..2010, |_| json!({"city": null}));
    assert_eq!(app.held("crm", &cleared), 6);
    let set = import(
        "s",
        2010..2020,
        |number| json!({"city": format!("City {number}")}),
    );
    assert_eq!(app.held("crm", &set), 0, "only cleared fields are many");
    app.app.advance(10 * MINUTE);
    assert_eq!(app.held("crm", &import("b", 3000..3040, own_email)), 0);
    assert_eq!(app.held("crm", &import("d", 4000..4001, own_email)), 1);
}

/// FAULTS N886: a large share of the customers that a small source changed lately is a mass change too.
#[test]
fn a_large_share_of_the_customers_is_a_mass_change() {
    let app = BrakedApp::start("mode = \"on\"\nshare_percent_max = 40", Time::Manual);
    assert_eq!(app.held("crm", &import("a", 0..100, own_email)), 0);
    app.app.advance(23 * 60 * MINUTE);
    assert_eq!(app.held("crm", &import("b", 100..200, own_email)), 0);
    app.app.advance(60 * MINUTE);
    // 100 customers of the last hour are known, and 40 % of 166 customers are 66.
    assert_eq!(app.held("crm", &import("c", 200..300, own_email)), 34);
}

/// FAULTS N888: an operator opens the brake before an expected mass change. The brake closes by itself, not at a restart, and
/// has not counted the expected changes. The audit log has the operator's reason.
#[test]
fn an_operator_opens_the_brake_for_an_expected_mass_change() {
    let mut app = BrakedApp::start("mode = \"on\"\nsame_value_max = 5", Time::Manual);
    assert_eq!(app.held("crm", &import("a", 0..10, same_phone)), 5);
    let brakes = app.operate("GET /admin/v1/brakes", &Value::Null)["brakes"].clone();
    assert_eq!(brakes[0]["source"], "crm", "{brakes}");
    let holding = &brakes[0]["holding"][0];
    let kind = [&holding["field"], &holding["rule"], &holding["entries"]];
    assert_eq!(kind, [&json!("phone"), &json!("same_value"), &json!(5)]);
    assert_eq!(brakes[1]["holding"], json!([]));
    assert!(!brakes.to_string().contains(PHONE), "{brakes}");

    let line = "POST /admin/v1/brakes";
    let change = |app: &BrakedApp, seconds: u64| {
        let body = json!({"source": "crm", "open_seconds": seconds, "reason": "a planned import"});
        app.operate(line, &body)
    };
    for wrong in [
        json!({"source": "crm", "open_seconds": 60}),
        json!({"source": "hub", "open_seconds": 60, "reason": "x"}),
        json!({"source": "crm", "open_seconds": 86_401, "reason": "x"}),
    ] {
        assert_eq!(app.app.ask_operator(TOKEN, line, &wrong).status, 400);
    }
    let opened = change(&app, 3600);
    let until = app.app.now().after(60 * MINUTE).to_rfc3339();
    assert_eq!(opened["open_until"], until, "{opened}");
    assert_eq!(app.held("crm", &import("b", 100..200, same_phone)), 0);
    assert_eq!(app.held("erp", &import("b", 100..200, same_phone)), 95);
    app.app.advance(60 * MINUTE);
    assert_eq!(app.held("crm", &import("c", 300..305, same_phone)), 0);
    assert_eq!(app.held("crm", &import("d", 305..310, same_phone)), 5);
    change(&app, 3600);
    let closed = change(&app, 0);
    assert!(closed["open_until"].is_null(), "{closed}");
    assert_eq!(app.held("crm", &import("e", 400..410, same_phone)), 5);

    change(&app, 3600);
    app.app.stop().unwrap();
    app.app.restart();
    assert_eq!(app.held("crm", &import("f", 500..510, same_phone)), 0);
    app.app.advance(60 * MINUTE);
    assert_eq!(app.held("crm", &import("g", 600..610, same_phone)), 5);
    let audit = app.operate("GET /admin/v1/audit", &Value::Null);
    let acts = audit["acts"].as_array().unwrap().iter();
    let acts: Vec<&str> = acts.map(|act| act["what"].as_str().unwrap()).collect();
    let expected = ["brake_open", "brake_open", "brake_close", "brake_open"];
    assert_eq!(acts, expected);
    assert_eq!(audit["acts"][0]["on"], format!("crm until {until}"));
    assert_eq!(audit["acts"][0]["reason"], "a planned import");
}

/// FAULTS N888: one command releases or discards all held entries of a source, however many they are.
#[test]
fn one_command_releases_or_discards_all_held_entries_of_a_source() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 5", Time::Runs);
    for source in ["crm", "erp"] {
        assert_eq!(app.held(source, &import("a", 0..605, same_phone)), 600);
    }
    let (code, shown) = app.command(&["crm"]);
    assert!(shown.contains("crm: on"), "{shown}");
    let holding = "by the limit of same_value: 600 entries";
    assert!(shown.contains(holding) && !shown.contains("erp"), "{shown}");
    assert_eq!(code, Some(0));
    let (_, shown) = app.command(&["crm", "--release", "--preview"]);
    assert!(shown.contains("500 would be replayed"), "{shown}");
    assert_eq!(app.metric("held_entries"), 1200.0);
    let (code, shown) = app.command(&["crm", "--release", "--reason", "a planned import"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.starts_with("600 replayed"), "{shown}");
    let (_, shown) = app.command(&["erp", "--discard", "--reason", "a faulty import"]);
    assert!(shown.starts_with("600 discarded"), "{shown}");
    assert_eq!(app.metric("held_entries"), 0.0);
    let (code, _) = app.command(&["erp", "--discard", "--reason", "again"]);
    assert_eq!(code, Some(2), "no entry is held");
    let (_, shown) = app.command(&["crm", "--open", "2h", "--reason", "another import"]);
    assert!(shown.starts_with("crm: open until "), "{shown}");
    let (_, shown) = app.command(&["crm", "--close", "--reason", "it is done"]);
    assert!(shown.starts_with("crm: on"), "{shown}");
    app.wait_until_idle();
    assert_eq!(app.status("crm", "a-604"), "delivered");
    assert_eq!(app.status("erp", "a-604"), "discarded");
}

/// FAULTS N1500: an operator without a browser lists the entries that passed before the mass change was held.
#[test]
fn one_command_lists_what_passed_before_a_mass_change_was_held() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 5", Time::Manual);
    let kind = ["--field", "phone", "--rule", "same_value"];
    let passed = |more: &[&str]| app.run(&[&["passed", "crm"], &kind[..], more].concat());
    let (code, shown) = passed(&[]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("knows no such mass change"), "{shown}");
    assert_eq!(app.held("crm", &import("a", 0..10, same_phone)), 5);
    let (code, shown) = passed(&[]);
    let rows: Vec<&str> = shown.lines().skip(1).collect();
    assert!(code == Some(0) && rows.len() == 5, "{shown}");
    assert!(rows.iter().all(|row| row.contains(" a-")), "{shown}");
    let (code, json) = passed(&["--json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    let counts = [&answer["customers"], &answer["missing"], &answer["known"]];
    assert_eq!(counts, [&json!(5), &json!(0), &json!(true)], "{json}");
    assert_eq!(code, Some(0));
    assert!(!shown.contains(PHONE) && !json.contains(PHONE), "{json}");
}

/// FAULTS N1232: the preview of a release limits the release: entries that the brake holds after the preview stay held.
#[test]
fn a_release_takes_only_the_entries_of_its_preview() {
    let app = BrakedApp::start("mode = \"on\"\nsame_value_max = 5", Time::Manual);
    assert_eq!(app.held("crm", &import("a", 0..15, same_phone)), 10);
    app.app.advance(MINUTE);
    let (_, shown) = app.command(&["crm", "--release", "--preview"]);
    let as_of = app.app.now().to_rfc3339();
    let option = format!("--before {as_of}");
    assert!(shown.contains(&option), "{shown}");
    assert_eq!(app.held("crm", &import("b", 15..18, same_phone)), 3);
    let reason = ["--reason", "a planned import", "--before", &as_of];
    let (_, shown) = app.command(&[&["crm", "--release"][..], &reason].concat());
    assert!(shown.starts_with("10 replayed"), "{shown}");
    assert_eq!(app.status("crm", "b-17"), "held");
}

/// FAULTS N889: a reload keeps the counts of the brake, and changed limits of a source file count at once.
#[test]
fn a_reload_keeps_the_counts_and_takes_the_limits() {
    let app = BrakedApp::start("mode = \"off\"", Time::Manual);
    assert_eq!(app.held("crm", &import("a", 0..100, same_phone)), 0);
    app.write_source("crm", "[brake]\nmode = \"on\"\nsame_value_max = 10\n");
    assert_eq!(app.held("crm", &import("b", 100..108, same_phone)), 0);
    app.write_source(
        "crm",
        "[brake]\nmode = \"on\"\nsame_value_max = 10\nwindow = \"20m\"\n",
    );
    assert_eq!(app.held("crm", &import("c", 108..112, same_phone)), 2);
    app.write_source("crm", "[brake]\nmode = \"on\"\nsame_value_max = 20\n");
    assert_eq!(app.held("crm", &import("d", 112..116, same_phone)), 0);
    assert_eq!(app.held("erp", &import("e", 0..100, same_phone)), 0);
}

/// FAULTS N1094: a source is gone for a moment during a mass change. It comes back with the counts of its brake.
#[test]
fn a_removed_source_comes_back_with_its_counts() {
    let app = BrakedApp::start("mode = \"off\"", Time::Manual);
    let brake = "[brake]\nmode = \"on\"\nsame_value_max = 10\n";
    app.write_source("crm", brake);
    assert_eq!(app.held("crm", &import("a", 0..12, same_phone)), 2);
    app.remove_source("crm");
    app.write_source("crm", brake);
    assert_eq!(app.held("crm", &import("b", 12..20, same_phone)), 8);
}

/// FAULTS N1308: the file of a source is removed while its brake is open. The operator closes the brake, and it stays closed when
/// the file comes back.
#[test]
fn the_open_brake_of_a_removed_source_can_be_closed() {
    let app = BrakedApp::start("mode = \"off\"", Time::Manual);
    let brake = "[brake]\nmode = \"on\"\nsame_value_max = 10\n";
    app.write_source("crm", brake);
    let change =
        |arguments: &[&str]| app.command(&[arguments, &["--reason", "a planned import"]].concat());
    let (code, printed) = change(&["crm", "--open", "1h"]);
    assert_eq!(code, Some(0), "{printed}");
    app.remove_source("crm");
    let (code, printed) = change(&["crm", "--open", "1h"]);
    assert_eq!(code, Some(1), "{printed}");
    let (code, printed) = app.command(&["crm"]);
    assert_eq!(code, Some(0), "{printed}");
    let expected = "crm: off, and its brake is open until ";
    assert!(printed.starts_with(expected), "{printed}");
    let (code, printed) = change(&["crm", "--close"]);
    assert_eq!((code, printed.as_str()), (Some(0), "crm: off\n"));
    let (code, printed) = change(&["crm", "--close"]);
    assert_eq!(code, Some(1), "{printed}");
    app.write_source("crm", brake);
    assert_eq!(app.held("crm", &import("a", 0..12, same_phone)), 2);
}

/// FAULTS N887: on a developer's machine, the brake is off by default, and the bridge says so.
#[test]
fn the_metric_of_weakenings_shows_a_brake_that_is_off() {
    let weakened = "weakened{weakening=\"brake_off\"}";
    for (brake, is_off, held) in [("", 1.0, 0), ("mode = \"on\"", 0.0, 5)] {
        let app = BrakedApp::start(brake, Time::Runs);
        assert_eq!(app.metric(weakened), is_off, "{brake}");
        assert_eq!(app.held("crm", &import("a", 0..30, same_phone)), held);
        app.wait_until_idle();
    }
}
