//! Tests of sources that park the invalid events of a body (`body.on_invalid = "park"`) and accept its other events.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use imprint_bridge::time::Clock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http::{self, Answer};
use crate::support::{Event, TestApp};

mod corrections;

const TOKEN: &str = "op-canary-token-1";
/// A source of plain JSON whose bodies are lists of events.
const LIST: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
split = ".[]"
id = ".id"
type = ".type"
on_invalid = "park"
[events.changed]
schema = "list.json"
customer.imprint_id = ".customer"
version = ".n"
version_domain = "sequence"
[events.changed.update]
email = ".email"
phone = '.phone | e164("US")'
"#;
const SCHEMA: &str = r#"{"type": "object", "required": ["customer", "n"], "properties": {"n": {"type": "integer"}}}"#;

/// A bridge with the sources `list` (plain JSON) and `crm` (CloudEvents), which both park invalid events, and the
/// operator `alice`.
struct PartialApp {
    app: TestApp,
    sources: TempDir,
}

impl PartialApp {
    fn start() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let sources = tempfile::tempdir().unwrap();
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let crm = fs::read_to_string(package.join("config/sources/crm.toml")).unwrap();
        // The two sources set the same fields, so both must order them by time, or the sources need different fields.
        let crm = crm.replace(
            "version = \".data.customer.revision\"\nversion_domain = \"sequence\"\n",
            "",
        );
        let park = format!("{crm}\n[body]\non_invalid = \"park\"\n");
        let list = LIST.replace("version = \".n\"\nversion_domain = \"sequence\"\n", "");
        fs::write(sources.path().join("crm.toml"), park).unwrap();
        fs::write(sources.path().join("list.toml"), list).unwrap();
        fs::create_dir(sources.path().join("crm")).unwrap();
        let schema = "crm/customer-changed.v1.json";
        fs::copy(
            package.join("schemas").join(schema),
            sources.path().join(schema),
        )
        .unwrap();
        fs::write(sources.path().join("list.json"), SCHEMA).unwrap();
        let folder = sources.path().display();
        let settings = format!("sources_dir = \"{folder}\"\nschemas_dir = \"{folder}\"\n{more}");
        let app = TestApp::setup().operator("alice", TOKEN).settings(settings);
        Self {
            app: app.start(),
            sources,
        }
    }

    /// Lets only the source `list` remain, with sequence numbers as versions and with these replacements in its file,
    /// and starts the bridge again.
    fn reconfigure(&mut self, replacements: &[(&str, &str)]) {
        self.app.stop().unwrap();
        let _gone = fs::remove_file(self.sources.path().join("crm.toml"));
        let changed = replacements
            .iter()
            .fold(LIST.to_owned(), |text, (from, to)| {
                assert!(text.contains(from), "{from}");
                text.replace(from, to)
            });
        fs::write(self.sources.path().join("list.toml"), changed).unwrap();
        self.app.restart();
    }

    fn post(&self, source: &str, media_type: &str, body: &Value) -> Answer {
        let line = format!("POST /v1/sources/{source}/events");
        let headers = [("content-type", media_type)];
        http::ask(self.app.ingress(), &line, &headers, &body.to_string()).unwrap()
    }

    /// Posts a body, and returns the list `accepted` of the answer.
    #[track_caller]
    fn accept(&self, source: &str, body: &Value) -> Vec<Value> {
        let media_type = match source {
            "crm" => "application/cloudevents-batch+json",
            _ => "application/json",
        };
        let answer = self.post(source, media_type, body);
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
        answer.json()["accepted"].as_array().unwrap().clone()
    }

    fn receipt(&self, source: &str, id: &str) -> Value {
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let line = format!("GET /v1/sources/{source}/events/{id}");
        let answer = http::ask(self.app.ingress(), &line, &[], "").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
        answer.json()
    }

    #[track_caller]
    fn wait_until(&self, source: &str, id: &str, status: &str) {
        self.app.wait_for(&format!("{id} is {status}"), |_| {
            self.receipt(source, id)["status"] == status
        });
    }

    #[track_caller]
    fn admin(&self, line: &str, body: &Value) -> Value {
        let answer = self.app.ask_operator(TOKEN, line, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Returns the parked entries whose events are invalid.
    fn invalid(&self) -> Vec<Value> {
        let page = self.admin("GET /admin/v1/entries?reason=invalid", &Value::Null);
        page["entries"].as_array().unwrap().clone()
    }

    fn replay(&self, more: &Value) -> Value {
        let mut body = json!({"filter": {"reason": "invalid"}});
        let members = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        self.admin("POST /admin/v1/entries/replay", &body)
    }
}

fn changed(id: u32, customer: &str, more: &Value) -> Value {
    let mut event = json!({"id": id, "type": "changed", "customer": customer, "n": id});
    let members = more.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(members);
    event
}

fn statuses(accepted: &[Value]) -> Vec<&str> {
    let statuses = accepted.iter();
    let statuses = statuses.map(|event| event["status"].as_str().unwrap());
    statuses.collect()
}

fn ids(accepted: &[Value]) -> Vec<&str> {
    let ids = accepted.iter().map(|event| event["id"].as_str().unwrap());
    ids.collect()
}

/// FAULTS N391: the error of an event without a type names the event in the body, also if the expression `body.split` has
/// made the event of no part of the body.
#[test]
fn an_event_without_a_type_is_named_in_the_answer_and_in_the_receipt() {
    let mut app = PartialApp::start();
    let split =
        r#"split = '.[] | {id: (.id // "7"), type, customer: (.customer // null), n, email}'"#;
    app.reconfigure(&[("split = \".[]\"", split)]);
    let body = json!([changed(1, "c1", &json!({"email": "a@example.com"})), {"hello": "canary"}]);
    let accepted = app.accept("list", &body);
    assert_eq!(statuses(&accepted), ["waiting", "parked"]);
    assert_eq!(accepted[1]["faults"][0]["pointer"], "/1/type");
    let receipt = app.receipt("list", "7");
    let error = &receipt["parked"]["faults"][0];
    assert_eq!(error["pointer"], "/1/type", "{receipt}");
    app.wait_until("list", "1", "delivered");
}

/// FAULTS N380: the sender gets a status for each event in the order of the body; the answer has no value.
#[test]
fn an_invalid_event_is_parked_and_the_others_are_delivered() {
    let app = PartialApp::start();
    let body = json!([
        changed(1, "c1", &json!({"email": "a@example.com"})),
        changed(
            2,
            "c1",
            &json!({"phone": "canary12", "email": "canary@example.com"})
        ),
        changed(3, "c2", &json!({"email": "b@example.com"})),
    ]);
    let accepted = app.accept("list", &body);
    assert_eq!(statuses(&accepted), ["waiting", "parked", "waiting"]);
    assert_eq!(ids(&accepted), ["1", "2", "3"]);
    let error = &accepted[1]["faults"][0];
    assert_eq!(
        (&error["pointer"], &error["rule"], &error["location"]),
        (&json!("/1/phone"), &json!("e164"), &json!("phone"))
    );
    assert!(accepted[0].get("faults").is_none() && accepted[1]["duplicate"] == false);
    for id in ["1", "3"] {
        app.wait_until("list", id, "delivered");
    }
    let imprint = &app.app.imprint;
    assert_eq!(imprint.email("c1").as_deref(), Some("a@example.com"));
    assert_eq!(imprint.email("c2").as_deref(), Some("b@example.com"));

    let receipt = app.receipt("list", "2");
    assert_eq!(
        (&receipt["status"], &receipt["attempts"]),
        (&json!("parked"), &json!(0))
    );
    assert_eq!(receipt["parked"]["reason"], "invalid");
    assert_eq!(&receipt["parked"]["faults"][0], error);
    let metric = |name: &str| app.app.metric(name);
    assert_eq!(metric("parked_invalid_total{source=\"list\"}"), Some(1.0));
    assert_eq!(
        (
            metric("parked_entries"),
            metric("accepted_total{source=\"list\"}")
        ),
        (Some(1.0), Some(3.0))
    );
    let refused = "refused_total{problem=\"unmappable\",source=\"list\"}";
    assert_eq!(metric(refused), Some(0.0));

    // The sender waits, and repeats the body.
    let again = app.accept("list", &body);
    assert_eq!(statuses(&again), ["delivered", "parked", "delivered"]);
    assert!(again.iter().all(|event| event["duplicate"] == true));
    assert_eq!(app.invalid().len(), 1);
}

/// FAULTS N380: the operator sees the whole event and its errors, and a value only with `reveal`.
#[test]
fn an_operator_sees_the_errors_of_an_invalid_event() {
    let app = PartialApp::start();
    let event = changed(
        2,
        "c1",
        &json!({"phone": "canary12", "email": "canary@example.com"}),
    );
    let accepted = app.accept("list", &json!([event]));
    let error = &accepted[0]["faults"][0];
    let parked = app.invalid();
    assert_eq!(parked.len(), 1);
    assert_eq!(&parked[0]["parked"]["faults"][0], error);
    let entry = &parked[0]["entry"];
    let shown = app.admin(&format!("GET /admin/v1/entries/{entry}"), &Value::Null);
    assert!(shown["event"]["data"]["customer"].is_string(), "{shown}");
    assert!(shown.get("facts").is_none() && !shown.to_string().contains("canary"));
    let shown = app.admin(
        &format!("GET /admin/v1/entries/{entry}?reveal=true"),
        &Value::Null,
    );
    assert_eq!(shown["event"]["data"], event);
    let line = format!("GET /admin/v1/entries/{entry}/explain");
    let explained = app.admin(&line, &Value::Null);
    assert_eq!(
        explained["problem"]["faults"][0]["pointer"], "/phone",
        "{explained}"
    );
}

/// FAULTS N380, N461: the same rules apply to a batch of events and to a single event in structured mode.
#[test]
fn a_batch_of_cloudevents_parks_its_invalid_events() {
    let app = PartialApp::start();
    let good = Event::new("e-1", "c1", 1).email("a@example.com");
    let mut late = Event::new("e-2", "c2", 1)
        .email("b@example.com")
        .json()
        .clone();
    late["time"] = json!("canary");
    let mut phone = Event::new("e-3", "c3", 1).json().clone();
    phone["data"]["customer"]["phone"] = json!("canary");
    let accepted = app.accept("crm", &json!([late, good.json(), phone]));
    assert_eq!(statuses(&accepted), ["parked", "waiting", "parked"]);
    assert_eq!(ids(&accepted), ["e-2", "e-1", "e-3"]);
    assert_eq!(accepted[0]["faults"][0]["pointer"], "/0/time");
    assert_eq!(
        accepted[2]["faults"][0]["pointer"],
        "/2/data/customer/phone"
    );
    app.wait_until("crm", "e-1", "delivered");
    let single = app.post("crm", "application/cloudevents+json", &phone);
    assert_eq!(single.status, 202, "{}", single.body);
    let single = &single.json()["accepted"][0];
    assert_eq!(
        (&single["status"], &single["duplicate"]),
        (&json!("parked"), &json!(true))
    );
    // The bridge decodes the event again, so the operator gets the same errors.
    let replayed = app.replay(&json!({"map_again": true}));
    assert_eq!(replayed["replayed"], json!([]), "{replayed}");
    let pointers = replayed["unmappable"].as_array().unwrap().iter();
    let pointers: Vec<&Value> = pointers
        .map(|entry| &entry["faults"][0]["pointer"])
        .collect();
    assert_eq!(pointers, ["/time", "/data/customer/phone"]);
}

/// FAULTS N381: after a correction of the mapping, the operator maps the event again. The preview shows the request, and
/// newer values win.
#[test]
fn a_corrected_mapping_maps_the_parked_events_again() {
    let mut app = PartialApp::start();
    app.reconfigure(&[]);
    let body = json!([
        changed(1, "c1", &json!({"phone": "415-555-2671 x1", "email": "old@example.com"})),
        changed(2, "c2", &json!({"phone": "415-555-2672 x2"})),
        changed(3, "c3", &json!({"phone": "canary"})),
        {"id": 4, "kind": "changed", "customer": "c4", "n": 4, "email": "d@example.com"},
    ]);
    let accepted = app.accept("list", &body);
    assert_eq!(statuses(&accepted), ["parked"; 4]);
    let newer = changed(5, "c1", &json!({"email": "new@example.com"}));
    assert_eq!(statuses(&app.accept("list", &json!([newer]))), ["waiting"]);
    app.wait_until("list", "5", "delivered");

    let kept = app.replay(&json!({}));
    assert_eq!(kept["replayed"], json!([]), "{kept}");
    assert_eq!(kept["unchanged"][3]["reason"], "needs_mapping", "{kept}");
    app.reconfigure(&[
        (
            r#"'.phone | e164("US")'"#,
            r#"'.phone | split(" ") | first | e164("US")'"#,
        ),
        ("type = \".type\"", "type = \".type // .kind\""),
    ]);
    check_preview(&app.replay(&json!({"map_again": true, "preview": true})));
    assert_eq!(app.invalid().len(), 4, "a preview changes nothing");
    let replayed = app.replay(&json!({"map_again": true, "reason": "a corrected mapping"}));
    assert_eq!(
        replayed["replayed"].as_array().map(Vec::len),
        Some(3),
        "{replayed}"
    );
    assert_eq!(replayed["unmappable"][0]["faults"][0]["pointer"], "/phone");
    for id in ["1", "2", "4"] {
        app.wait_until("list", id, "delivered");
    }
    let customer = |id: &str| app.app.imprint.sandbox.customer(id).unwrap()["customer"].clone();
    assert_eq!(customer("c1")["email"], "new@example.com");
    assert_eq!(customer("c1")["phone"], "+14155552671");
    assert_eq!(customer("c4")["email"], "d@example.com");
    assert_eq!(app.invalid().len(), 1);
    let entry = &app.invalid()[0]["entry"];
    let discard = json!({"ids": [entry], "reason": "a test row"});
    app.admin("POST /admin/v1/entries/discard", &discard);
    assert_eq!(app.receipt("list", "3")["status"], "discarded");
}

/// FAULTS N452: the corrected source file has nothing to send for a parked event. The replay ends the event as ignored.
#[test]
fn a_replay_ends_events_for_which_the_mapping_has_nothing_to_send() {
    let mut app = PartialApp::start();
    app.reconfigure(&[]);
    let dropped = json!({"id": 3, "type": "dropped", "customer": "c3", "n": 3});
    let body = json!([
        changed(1, "c1", &json!({"phone": "canary"})),
        changed(2, "c2", &json!({"phone": "canary"})),
        dropped,
    ]);
    assert_eq!(statuses(&app.accept("list", &body)), ["parked"; 3]);
    app.reconfigure(&[
        ("\n[auth]", "\nignore = [\"dropped\"]\n[auth]"),
        (".phone", ".mobile"),
        ("version = ", "when = '.customer != \"c2\"'\nversion = "),
    ]);
    let preview = app.replay(&json!({"map_again": true, "preview": true}));
    assert_eq!(
        (&preview["would_replay"], &preview["requests"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(app.invalid().len(), 3, "a preview changes nothing");
    let replayed = app.replay(&json!({"map_again": true}));
    assert_eq!(
        (&replayed["replayed"], &replayed["unmappable"]),
        (&json!([]), &json!([]))
    );
    let results = preview["results"].as_array().unwrap().iter();
    let ignored = replayed["ignored"].as_array().unwrap().iter();
    for ((result, ignored), (id, reason)) in results.zip(ignored).zip([
        ("1", "nothing_to_send"),
        ("2", "condition"),
        ("3", "listed_type"),
    ]) {
        assert_eq!(
            (&result["status"], &result["ignored"]),
            (&json!("ignored"), &json!(reason))
        );
        assert_eq!(
            (&ignored["entry"], &ignored["reason"]),
            (&result["entry"], &json!(reason))
        );
        let receipt = app.receipt("list", id);
        assert_eq!(
            (&receipt["status"], &receipt["ignored"]),
            (&json!("ignored"), &json!(reason))
        );
        assert_eq!(receipt["parked"], Value::Null);
    }
    assert_eq!(app.app.metric("parked_entries"), Some(0.0));
    assert_eq!(app.app.metric("stored_bytes{source=\"list\"}"), Some(0.0));
}

/// Checks the preview of three events that the corrected mapping accepts. Imprint has a newer e-mail address of `c1`.
fn check_preview(preview: &Value) {
    assert_eq!(preview["would_replay"], 3, "{preview}");
    let requests = preview["requests"].as_array().unwrap();
    let fields: Vec<(&Value, Vec<&String>)> = requests
        .iter()
        .map(|request| {
            (
                &request["customer"],
                request["facts"].as_object().unwrap().keys().collect(),
            )
        })
        .collect();
    let [c1, c2, c4] = ["c1", "c2", "c4"].map(Value::from);
    let (email, phone) = ("email".to_owned(), "phone".to_owned());
    assert_eq!(
        fields,
        [
            (&c1, vec![&phone]),
            (&c2, vec![&phone]),
            (&c4, vec![&email])
        ]
    );
}

/// FAULTS N383: an event whose id belongs to an earlier event with different content is parked too. The bridge derives
/// an id for it, so the sender finds its receipt and can repeat the body.
#[test]
fn a_conflict_in_a_body_is_parked() {
    let app = PartialApp::start();
    let first = json!([changed(1, "c1", &json!({"phone": "x1"}))]);
    assert_eq!(statuses(&app.accept("list", &first)), ["parked"]);
    let corrected = json!([
        changed(1, "c1", &json!({"phone": "415-555-2671"})),
        changed(2, "c2", &json!({"email": "b@example.com"})),
        changed(2, "c2", &json!({"email": "c@example.com"})),
        changed(2, "c2", &json!({"phone": "x2"})),
    ]);
    let accepted = app.accept("list", &corrected);
    assert_eq!(
        statuses(&accepted),
        ["parked", "waiting", "parked", "parked"]
    );
    let all: Vec<String> = ids(&accepted).into_iter().map(str::to_owned).collect();
    assert_eq!(all[1], "2");
    for place in [0, 2, 3] {
        assert!(all[place].starts_with("invalid-"), "{all:?}");
        let error = &accepted[place]["faults"][0];
        assert_eq!(
            (&error["pointer"], &error["rule"]),
            (&json!(format!("/{place}")), &json!("conflict"))
        );
        assert_eq!(
            app.receipt("list", &all[place])["parked"]["reason"],
            "invalid"
        );
    }
    assert_eq!(accepted[3]["faults"][1]["rule"], "e164");
    app.wait_until("list", "2", "delivered");
    assert_eq!(
        app.app.imprint.email("c2").as_deref(),
        Some("b@example.com")
    );
    let again = app.accept("list", &corrected);
    assert_eq!(ids(&again), all);
    assert!(
        again.iter().all(|event| event["duplicate"] == true),
        "{again:?}"
    );
    // The operator decides that the corrected event counts.
    let parked = app.invalid();
    assert_eq!(parked.len(), 4);
    let entry = parked
        .iter()
        .find(|entry| entry["id"] == all[0].as_str())
        .unwrap();
    let body = json!({"ids": [entry["entry"]], "map_again": true});
    app.admin("POST /admin/v1/entries/replay", &body);
    app.wait_until("list", &all[0], "delivered");
    assert_eq!(app.receipt("list", "1")["status"], "parked");
}

/// FAULTS N1087, V3: the author changes the version of an event type from a sequence to a time, and raises the epoch. An
/// event that was invalid before keeps the older epoch, so it overtakes no delivered value.
#[test]
fn a_parked_event_of_an_earlier_epoch_overtakes_no_delivered_value() {
    let mut app = PartialApp::start();
    app.reconfigure(&[]);
    let at = |day: u32| format!("2025-01-{day:02}T10:00:00Z");
    let old = json!({"email": "old@example.com", "phone": "415-555-2671 x1", "at": at(1)});
    let parked = app.accept("list", &json!([changed(1000, "c1", &old)]));
    assert_eq!(statuses(&parked), ["parked"]);
    let new = json!({"email": "new@example.com", "at": at(2)});
    app.accept("list", &json!([changed(1001, "c1", &new)]));
    app.wait_until("list", "1001", "delivered");
    app.reconfigure(&[
        (
            "version = \".n\"\nversion_domain = \"sequence\"",
            "version = \".at\"\nversion_domain = \"time\"\nepoch = 1",
        ),
        (
            r#"'.phone | e164("US")'"#,
            r#"'.phone | split(" ") | first | e164("US")'"#,
        ),
    ]);
    let preview = app.replay(&json!({"map_again": true, "preview": true}));
    let sent = preview["requests"][0]["facts"].as_object().unwrap();
    assert_eq!(sent.keys().collect::<Vec<_>>(), ["phone"], "{preview}");
    app.replay(&json!({"map_again": true}));
    app.wait_until("list", "1000", "delivered");
    let customer = || app.app.imprint.sandbox.customer("c1").unwrap()["customer"].clone();
    assert_eq!(customer()["email"], "new@example.com");
    assert_eq!(customer()["phone"], "+14155552671");
    let later = json!({"email": "later@example.com", "phone": "415-555-2672", "at": at(3)});
    app.accept("list", &json!([changed(1, "c1", &later)]));
    app.wait_until("list", "1", "delivered");
    assert_eq!(customer()["email"], "later@example.com");
    assert_eq!(customer()["phone"], "+14155552672");
}

/// FAULTS N1099: `body.type` read the wrong member, so an event was mapped as another type, and was invalid. The corrected
/// expression gives the type.
#[test]
fn a_corrected_type_counts_and_not_the_stored_one() {
    let mut app = PartialApp::start();
    let other = "[events.other]\nschema = \"list.json\"\ncustomer.imprint_id = \".customer\"\nversion = \".n\"\n\
                 version_domain = \"sequence\"\nupdate.city = \".email\"\nupdate.phone = \".phone\"\n[events.changed]";
    let other = ("[events.changed]", other);
    app.reconfigure(&[other, ("type = \".type\"", "type = \".kind\"")]);
    let event = changed(
        1,
        "c1",
        &json!({"kind": "other", "email": "a@example.com", "phone": "canary"}),
    );
    assert_eq!(statuses(&app.accept("list", &json!([event]))), ["parked"]);
    app.reconfigure(&[other, ("'.phone |", "'.mobile |")]);
    app.replay(&json!({"map_again": true}));
    app.wait_until("list", "1", "delivered");
    let customer = app.app.imprint.sandbox.customer("c1").unwrap()["customer"].clone();
    assert_eq!(customer["email"], "a@example.com");
    assert_eq!(customer["city"], Value::Null);
}

/// FAULTS N1098: an operator previews a replay whose mapping needs much time. The listener of the operators still answers the
/// health checks.
#[test]
fn a_long_preview_does_not_delay_the_health_checks() {
    let mut app = PartialApp::start();
    let heavy = "metadata.heavy = \".list | sort_by(.a) | map(.a) | unique | reverse | length\"\n";
    let fields = format!("[events.changed.update]\n{heavy}");
    app.reconfigure(&[("[events.changed.update]\n", &fields)]);
    let item = |n: u32| json!({"a": n * 7919 % 100_003});
    let list: Vec<Value> = (0..9_000).map(item).collect();
    for id in 0..12 {
        let event = changed(id, "c1", &json!({"phone": "canary", "list": list}));
        assert_eq!(statuses(&app.accept("list", &json!([event]))), ["parked"]);
    }
    let (clock, is_done) = (Clock::machine(), AtomicBool::new(false));
    let mut waits = Vec::new();
    let preview = std::thread::scope(|scope| {
        let preview = scope.spawn(|| {
            let begun = clock.monotonic();
            app.replay(&json!({"map_again": true, "preview": true}));
            is_done.store(true, Ordering::SeqCst);
            clock.monotonic().saturating_sub(begun)
        });
        while !is_done.load(Ordering::SeqCst) {
            let asked = clock.monotonic();
            assert_eq!(app.app.ops_get("/livez").status, 200);
            waits.push(clock.monotonic().saturating_sub(asked));
        }
        preview.join().unwrap()
    });
    let longest = waits.iter().max().unwrap();
    assert!(*longest < preview / 2, "{longest:?} of {preview:?}");
}

/// FAULTS N1092, N1093: the invalid event of a blocked customer, whose id the mapping computes, is corrected. The preview and the
/// answer of the replay say that nothing is sent.
#[test]
fn a_replay_says_that_a_customer_is_blocked() {
    let mut app = PartialApp::start();
    let computed = ("\".customer\"", "'\"CUST-\" + .customer'");
    app.reconfigure(&[computed]);
    let body = json!([
        changed(1, "1", &json!({"email": "a@example.com"})),
        changed(
            2,
            "1",
            &json!({"phone": "canary", "email": "b@example.com"})
        ),
    ]);
    app.accept("list", &body);
    app.wait_until("list", "1", "delivered");
    let erase = json!({"of": {"imprint_id": "CUST-1"}, "block": true, "reason": "a demand"});
    let erased = app.admin("POST /admin/v1/customers/erase", &erase);
    assert_eq!(
        (&erased["entries"], &erased["unjudged"]),
        (&json!(2), &json!(0))
    );
    let later = changed(
        3,
        "1",
        &json!({"phone": "canary", "email": "c@example.com"}),
    );
    assert_eq!(statuses(&app.accept("list", &json!([later]))), ["parked"]);
    app.reconfigure(&[computed, (".phone", ".mobile")]);
    let preview = app.replay(&json!({"map_again": true, "preview": true}));
    assert_eq!(
        (&preview["would_replay"], &preview["requests"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(preview["results"][0]["ignored"], "blocked", "{preview}");
    let replayed = app.replay(&json!({"map_again": true}));
    assert_eq!(replayed["replayed"], json!([]), "{replayed}");
    assert_eq!(replayed["ignored"][0]["reason"], "blocked", "{replayed}");
    assert_eq!(app.receipt("list", "3")["ignored"], "blocked");
}

/// FAULTS N1088: an event of a type without a table has no epoch of its own. It gets the highest epoch of the source, unless
/// its table gives a lower one later.
#[test]
fn a_type_that_gets_its_table_later_orders_the_customer_with_the_other_types() {
    let mut app = PartialApp::start();
    let epoch = (
        "version_domain = \"sequence\"\n[",
        "version_domain = \"sequence\"\nepoch = 7\n[",
    );
    let noise = |number: u32, more: Value| {
        let mut event = changed(number, "c1", &more);
        event["type"] = json!("noise");
        event["id"] = json!(1);
        event
    };
    app.reconfigure(&[epoch, ("\n[auth]", "\nignore = [\"noise\"]\n[auth]")]);
    let ignored = app.accept("list", &json!([noise(1, json!({}))]));
    assert_eq!(statuses(&ignored), ["ignored"]);
    let old = changed(5, "c1", &json!({"email": "old@example.com"}));
    app.accept("list", &json!([old]));
    app.wait_until("list", "5", "delivered");
    let mut other = changed(6, "c2", &json!({"email": "six@example.com"}));
    other["type"] = json!("other");
    let conflict = noise(9, json!({"email": "new@example.com"}));
    let accepted = app.accept("list", &json!([conflict, other]));
    assert_eq!(statuses(&accepted), ["parked", "parked"]);

    let table = |name: &str, epoch: u32| {
        format!(
            "[events.{name}]\nschema = \"list.json\"\ncustomer.imprint_id = \".customer\"\nversion = \".n\"\n\
             version_domain = \"sequence\"\nepoch = {epoch}\nupdate.email = \".email\"\n"
        )
    };
    let tables = format!("{}{}[events.changed]", table("noise", 7), table("other", 0));
    app.reconfigure(&[epoch, ("[events.changed]", &tables)]);
    let replayed = app.replay(&json!({"map_again": true}));
    assert_eq!(replayed["unmappable"], json!([]), "{replayed}");
    for id in ids(&accepted) {
        app.wait_until("list", id, "delivered");
    }
    let email = |customer: &str| app.app.imprint.email(customer);
    assert_eq!(email("c1").as_deref(), Some("new@example.com"));
    let mut next = changed(7, "c2", &json!({"email": "seven@example.com"}));
    next["type"] = json!("other");
    app.accept("list", &json!([next]));
    app.wait_until("list", "7", "delivered");
    assert_eq!(email("c2").as_deref(), Some("seven@example.com"));
}

/// FAULTS N382: an event without a readable id is parked under an id that the bridge derives from its content. Two
/// different events never share an id.
#[test]
fn an_event_without_a_readable_id_is_parked() {
    let app = PartialApp::start();
    let list = json!([
        {"type": "changed", "customer": "c1", "n": 1},
        {"type": "changed", "customer": "c1", "n": 2},
        7,
        "canary",
        {"id": 9, "customer": "c1"},
        {"id": "x".repeat(300), "type": "changed"},
        changed(1, "c1", &json!({"email": "a@example.com"})),
    ]);
    let batch = json!([
        null,
        {"specversion": "1.0", "type": "customer.changed", "source": "/crm", "canary": 1},
        {"specversion": "1.0", "type": "customer.changed", "source": "/crm", "canary": 2},
        {"specversion": "1.0", "id": "e-1", "type": "customer.changed"},
        {"id": "e-2", "source": "/crm"},
        Event::new("e-3", "c2", 1).email("b@example.com").json(),
    ]);
    for (source, body, named) in [
        ("list", &list, vec!["9", "1"]),
        ("crm", &batch, vec!["e-2", "e-3"]),
    ] {
        let accepted = app.accept(source, body);
        let (last, invalid) = accepted.split_last().unwrap();
        assert_eq!(last["status"], "waiting");
        assert!(statuses(invalid).iter().all(|status| *status == "parked"));
        let mut all = ids(&accepted);
        for id in &all {
            app.receipt(source, id);
        }
        let own: Vec<&str> = all
            .iter()
            .copied()
            .filter(|id| !id.starts_with("invalid-"))
            .collect();
        assert_eq!(own, named);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), accepted.len(), "{all:?}");
        app.wait_until(source, named[1], "delivered");
        let again = app.accept(source, body);
        assert_eq!(ids(&again), ids(&accepted));
        assert!(
            again.iter().all(|event| event["duplicate"] == true),
            "{again:?}"
        );
    }
    let parked = app.invalid();
    assert_eq!(parked.len(), 11);
    for entry in parked {
        let number = &entry["entry"];
        app.admin(
            &format!("GET /admin/v1/entries/{number}?reveal=true"),
            &Value::Null,
        );
    }
}

/// FAULTS N381, N382: the type of an event is in a request header. The bridge keeps the type with the invalid event, so
/// it can map the event again, whatever is wrong with the id or with the type.
#[test]
fn a_type_in_a_header_is_kept_with_an_invalid_event() {
    let mut app = PartialApp::start();
    let header = ("type = \".type\"", "type = 'header(\"x-topic\")'");
    let unsigned = ("[auth]", "unsigned_headers = [\"x-topic\"]\n[auth]");
    let no_id = ("id = \".id\"", "id = \".key\"");
    app.reconfigure(&[header, unsigned, no_id]);
    let post = |app: &PartialApp, topic: &str, event: Value| {
        let headers = [("content-type", "application/json"), ("x-topic", topic)];
        let line = "POST /v1/sources/list/events";
        let body = json!([event]).to_string();
        let answer = http::ask(app.app.ingress(), line, &headers, &body).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        let accepted = &answer.json()["accepted"][0];
        assert_eq!(accepted["status"], "parked", "{accepted}");
        accepted["id"].as_str().unwrap().to_owned()
    };
    let email = |text: &str| json!({"email": text});
    let known = post(&app, "changed", changed(1, "c1", &email("a@example.com")));
    let unknown = post(&app, "modified", changed(2, "c2", &email("b@example.com")));
    let more = "[events.modified]\nschema = \"list.json\"\ncustomer.imprint_id = \".customer\"\nversion = \".n\"\nversion_domain = \"sequence\"\nupdate.email = \".email\"\n[events.changed]";
    app.reconfigure(&[header, unsigned, ("[events.changed]", more)]);
    let replayed = app.replay(&json!({"map_again": true}));
    assert_eq!(replayed["unmappable"], json!([]), "{replayed}");
    for id in [known, unknown] {
        assert!(id.starts_with("invalid-"), "{id}");
        app.wait_until("list", &id, "delivered");
    }
    assert_eq!(
        app.app.imprint.email("c1").as_deref(),
        Some("a@example.com")
    );
    assert_eq!(
        app.app.imprint.email("c2").as_deref(),
        Some("b@example.com")
    );
}

/// FAULTS N384: invalid events count against the storage quota of their source until an operator ends them.
#[test]
fn invalid_events_count_against_the_storage_quota() {
    let app = PartialApp::with("[quota]\nstored_bytes_max = 262144\n");
    let long = "x".repeat(60_000);
    let long = json!({"phone": long, "note": long});
    let body = |id: u32| json!([changed(id, "c1", &long)]);
    app.accept("list", &body(1));
    app.accept("list", &body(2));
    let full = app.post("list", "application/json", &body(3));
    assert_eq!(full.status, 429, "{}", full.body);
    let discard = json!({"filter": {"reason": "invalid"}, "reason": "test rows"});
    app.admin("POST /admin/v1/entries/discard", &discard);
    app.app.wait_for("the quota has space", |app| {
        app.metric("stored_bytes{source=\"list\"}") == Some(0.0)
    });
    app.accept("list", &body(3));
}

/// FAULTS N1162: the errors of small invalid events are larger than the events, and count against the quota too.
#[test]
fn the_errors_of_invalid_events_count_against_the_storage_quota() {
    let app = PartialApp::with("[quota]\nstored_bytes_max = 262144\n");
    let wrong = json!({"phone": "1", "email": 1, "state": 1, "city": 2, "postal_code": 3});
    let events: Vec<Value> = (0..50).map(|id| changed(id, "c1", &wrong)).collect();
    app.accept("list", &json!(events));
    let size = json!(events).to_string().len();
    let metric = app.app.metric("stored_bytes{source=\"list\"}").unwrap();
    assert!(
        metric > 2.0 * f64::from(u32::try_from(size).unwrap()),
        "{metric} {size}"
    );
}

/// FAULTS N380: `explain` shows the invalid event as parked, and `check` compares it with its example.
#[test]
fn commands_show_an_invalid_event_as_parked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("list.toml"), LIST).unwrap();
    fs::write(at("list.json"), SCHEMA).unwrap();
    fs::create_dir(at("list")).unwrap();
    let body = json!([
        changed(1, "c1", &json!({"phone": "x1"})),
        changed(2, "c1", &json!({"phone": null, "email": "a@example.com"})),
    ]);
    let event = at("list/two.event.json");
    fs::write(&event, body.to_string()).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(arguments)
            .env("IMPRINT_BRIDGE__SOURCES_DIR", folder.path())
            .env("IMPRINT_BRIDGE__SCHEMAS_DIR", folder.path())
            .output()
            .unwrap();
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| commands::text(bytes));
        (output.status.success(), stdout.clone() + &stderr, stdout)
    };
    let event = event.to_str().unwrap();
    let (is_fine, shown, _) = run(&["explain", "--source", "list", event]);
    assert!(is_fine, "{shown}");
    assert!(
        shown.contains("1 (changed): parked, because the event is invalid (unmappable)"),
        "{shown}"
    );
    assert!(shown.contains("2 (changed): request"), "{shown}");
    let (_, _, example) = run(&["explain", "--source", "list", "--example", event]);
    fs::write(at("list/two.request.json"), &example).unwrap();
    let (is_fine, report, _) = run(&["check"]);
    assert!(
        is_fine && example.contains("\"parked\": \"invalid\""),
        "{example}{report}"
    );
    fs::write(
        at("list/two.request.json"),
        example.replace("/0/phone", "/0/mail"),
    )
    .unwrap();
    let (is_fine, report, _) = run(&["check"]);
    assert!(!is_fine && report.contains("event 0"), "{report}");
}

/// The kinds of events in a body of the property test.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Valid,
    BadPhone,
    NoCustomer,
    UnknownType,
    NoId,
    NoType,
    NotAnObject,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Valid),
        1 => Just(Kind::BadPhone),
        1 => Just(Kind::NoCustomer),
        1 => Just(Kind::UnknownType),
        1 => Just(Kind::NoId),
        1 => Just(Kind::NoType),
        1 => Just(Kind::NotAnObject),
    ]
}

/// Returns an event of this kind, for the source `list` or `crm`. `number` makes the event unlike every other event.
fn event(kind: Kind, source: &str, number: u32) -> Value {
    let customer = format!("c-{number}");
    let (mut event, customer_at, type_name) = if source == "crm" {
        let event = Event::new(&format!("e-{number}"), &customer, 1).email("a@example.com");
        (event.json().clone(), "/data/customer", "customer.changed")
    } else {
        let event = changed(number, &customer, &json!({"email": "a@example.com"}));
        (event, "", "changed")
    };
    assert_eq!(event["type"], type_name);
    match kind {
        Kind::Valid => {}
        Kind::BadPhone => event.pointer_mut(customer_at).unwrap()["phone"] = json!("x1"),
        Kind::NoCustomer => {
            let customer = event.pointer_mut(customer_at).unwrap();
            customer.as_object_mut().unwrap().remove("customer");
            customer
                .as_object_mut()
                .unwrap()
                .remove("imprint_customer_id");
            if source == "crm" {
                customer.as_object_mut().unwrap().remove("id");
            }
        }
        Kind::UnknownType => event["type"] = json!("unknown.type"),
        Kind::NoId => drop(event.as_object_mut().unwrap().remove("id")),
        Kind::NoType => drop(event.as_object_mut().unwrap().remove("type")),
        Kind::NotAnObject => event = json!(format!("event {number}")),
    }
    event
}

/// FAULTS N380: a body of N events with K invalid events yields N − K delivered and K parked entries, in the order of
/// the body, whatever is wrong with the K events.
#[test]
fn n_events_with_k_invalid_yield_n_minus_k_delivered_and_k_parked() {
    let app = PartialApp::start();
    let next = AtomicU32::new(1000);
    let bodies = (any::<bool>(), prop::collection::vec(kind(), 1..12));
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |((is_batch, kinds) in bodies)| {
        let source = if is_batch { "crm" } else { "list" };
        let events: Vec<Value> = kinds
            .iter()
            .map(|kind| event(*kind, source, next.fetch_add(1, Ordering::Relaxed)))
            .collect();
        let parked_before = app.app.metric("parked_entries").unwrap();
        let accepted = app.accept(source, &Value::Array(events));
        prop_assert_eq!(accepted.len(), kinds.len());
        let mut parked = 0.0;
        for (kind, event) in kinds.iter().zip(&accepted) {
            let id = event["id"].as_str().unwrap();
            if let Kind::Valid = kind {
                prop_assert_eq!(&event["status"], "waiting");
                app.wait_until(source, id, "delivered");
            } else {
                prop_assert_eq!(&event["status"], "parked");
                prop_assert_eq!(&app.receipt(source, id)["parked"]["reason"], "invalid");
                parked += 1.0;
            }
        }
        prop_assert_eq!(app.app.metric("parked_entries"), Some(parked_before + parked));
    });
}
