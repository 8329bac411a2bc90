//! Tests of the parts of an event that the store keeps: the parts that the schema describes or that an expression reads,
//! and no card numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use imprint_bridge::config::sources::{self, SourceSettings};
use imprint_bridge::config::{Config, Purpose};
use imprint_bridge::event::{RequestHeaders, TraceReading};
use imprint_bridge::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
use imprint_bridge::intake::{
    Encoding, EntryContext, ForeignAddress, IntakeSettings, MappedAgain, RequestMessage, Source,
    Sources, StoredVersion,
};
use imprint_bridge::outbox::{Disposition, Priority, ReplayChange};
use imprint_bridge::time::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::erasure::is_in_store;
use crate::http::{self, Answer};
use crate::support::{Event, TestApp, email};

const TOKEN: &str = "op-canary-token-1";
const CARD: &str = "4111 1111 1111 1111";
const PROBLEM: &str = "urn:imprint-bridge:problem:card_number";

/// A source of plain JSON. The mapping reads members that the schema does not describe.
const LIST: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
split = ".events[]"
id = ".meta.id"
type = ".meta.type"
[events.changed]
schema = "list.json"
customer.imprint_id = ".customer"
when = ".flags.sync != false"
[events.changed.update]
email = ".email"
first_name = '.names | map(select(.kind == "first")) | first | .text'
city = ".address.city"
state = ".address.state | us_state"
"customer_history.address.country" = ".address.country | alpha3"
[events.changed.only_changed]
before = ".before"
after = ".address_after"
"#;

/// A schema with every way to describe a part.
const SCHEMA: &str = r##"{
  "type": "object",
  "required": ["customer"],
  "properties": {
    "email": {"type": "string"},
    "plan": {"type": "string"},
    "any": true,
    "closed": {"type": "object"},
    "address": {"$ref": "#/$defs/address"},
    "tree": {"$ref": "#/$defs/tree"},
    "items": {"type": "array", "items": {"properties": {"a": {}}}},
    "pair": {"type": "array", "prefixItems": [{"type": "string"}]}
  },
  "patternProperties": {"^x_": {"type": "string"}},
  "anyOf": [{"properties": {"one": {"type": "string"}}}, {"properties": {"two": {"type": "string"}}}],
  "$defs": {
    "address": {"allOf": [{"properties": {"city": {"type": "string"}}}], "additionalProperties": true},
    "tree": {"properties": {"leaf": {"type": "string"}, "below": {"$ref": "#/$defs/tree"}}}
  }
}"##;

/// A bridge with the sources `list` (plain JSON) and `crm` (CloudEvents), whose destination is paused: every entry waits.
struct KeepApp {
    app: TestApp,
    sources: TempDir,
}

impl KeepApp {
    /// Starts the bridge with these lines in the table `[body]` of both sources.
    fn start(body: &str) -> Self {
        let sources = tempfile::tempdir().unwrap();
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let crm = fs::read_to_string(package.join("config/sources/crm.toml")).unwrap();
        let crm = crm.replace(
            "version = \".data.customer.revision\"\nversion_domain = \"sequence\"\n",
            "",
        );
        fs::write(
            sources.path().join("crm.toml"),
            format!("{crm}\n[body]\n{body}\n"),
        )
        .unwrap();
        fs::create_dir(sources.path().join("crm")).unwrap();
        let schema = "crm/customer-changed.v1.json";
        fs::copy(
            package.join("schemas").join(schema),
            sources.path().join(schema),
        )
        .unwrap();
        write_list(sources.path(), body);
        let folder = sources.path().display();
        let settings = format!("sources_dir = \"{folder}\"\nschemas_dir = \"{folder}\"\n");
        let app = TestApp::setup().operator("alice", TOKEN).settings(settings);
        let mut app = app.start();
        app.leave_waiting_entries();
        let keep = Self { app, sources };
        keep.admin(
            "POST /admin/v1/destination",
            &json!({"mode": "paused", "reason": "a test"}),
        );
        keep
    }

    fn restart(&mut self) {
        self.app.stop().unwrap();
        self.app.restart();
    }

    #[track_caller]
    fn admin(&self, line: &str, body: &Value) -> Value {
        let answer = self.app.ask_operator(TOKEN, line, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    fn post(&self, events: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        let body = json!({"events": events}).to_string();
        http::ask(
            self.app.ingress(),
            "POST /v1/sources/list/events",
            &headers,
            &body,
        )
        .unwrap()
    }

    #[track_caller]
    fn accept(&self, events: &Value) -> Value {
        let answer = self.post(events);
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
        answer.json()["accepted"].clone()
    }

    #[track_caller]
    fn check_stored(&self, stored: &[&str], removed: &[&str]) {
        for text in stored {
            assert!(is_in_store(&self.app, text), "{text} is not in the store");
        }
        for text in removed {
            assert!(!is_in_store(&self.app, text), "{text} is in the store");
        }
    }

    /// Returns the number of the only entry.
    fn entry(&self) -> u64 {
        let page = self.admin("GET /admin/v1/entries?state=all", &Value::Null);
        let entries = page["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{page}");
        entries[0]["entry"].as_u64().unwrap()
    }

    /// Returns the explanation of the only entry, with values.
    fn explained(&self) -> Value {
        let line = format!("GET /admin/v1/entries/{}/explain?reveal=true", self.entry());
        self.admin(&line, &Value::Null)
    }
}

fn write_list(folder: &Path, body: &str) {
    let source = LIST.replace("[body]\n", &format!("[body]\n{body}\n"));
    fs::write(folder.join("list.toml"), source).unwrap();
    fs::write(folder.join("list.json"), SCHEMA).unwrap();
}

fn changed(id: &str, more: &Value) -> Value {
    let mut event =
        json!({"meta": {"id": id, "type": "changed"}, "customer": "c1", "email": "a@example.com"});
    let members = more.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(members);
    event
}

/// An event with a canary in each part: `kept-…` in the parts that the store keeps, and `gone-…` in the others.
fn canaries(id: &str) -> Value {
    changed(
        id,
        &json!({
            "email": "kept-canary-1@example.com",
            "plan": "kept-canary-2",
            "any": {"deep": [{"x": "kept-canary-3"}]},
            "closed": {"x": "gone-canary-1"},
            "address": {"city": "kept-canary-4", "line": "gone-canary-2", "state": "CA"},
            "tree": {"leaf": "kept-canary-5", "below": {"leaf": "kept-canary-6", "x": "gone-canary-3"}},
            "items": [{"a": "kept-canary-7", "b": "gone-canary-4"}],
            "pair": ["kept-canary-8", "gone-canary-5"],
            "x_1": "kept-canary-9",
            "y_1": "gone-canary-6",
            "one": "kept-canary-10",
            "two": "kept-canary-11",
            "three": "gone-canary-7",
            "names": [{"kind": "first", "text": "kept-canary-12", "z": "gone-canary-8"}],
            "meta": {"id": id, "type": "changed", "ip": "gone-canary-9"},
            "gone-canary-10": {},
        }),
    )
}

const KEPT: [&str; 12] = [
    "kept-canary-1@",
    "kept-canary-2",
    "kept-canary-3",
    "kept-canary-4",
    "kept-canary-5",
    "kept-canary-6",
    "kept-canary-7",
    "kept-canary-8",
    "kept-canary-9",
    "kept-canary-10",
    "kept-canary-11",
    "kept-canary-12",
];

/// FAULTS N621: the store never contains a part of an event that nothing describes and nothing reads.
#[test]
fn the_store_keeps_only_described_and_read_parts_of_plain_json() {
    let keep = KeepApp::start("");
    let accepted = keep.accept(&json!([canaries("e1")]));
    assert_eq!(accepted[0]["status"], "waiting");
    keep.check_stored(&KEPT, &["gone-canary"]);
    let explained = keep.explained();
    assert_eq!(explained["request"]["body"]["first_name"], "kept-canary-12");
}

/// FAULTS N621: extension attributes and undescribed members of CloudEvents.
#[test]
fn the_store_keeps_only_described_and_read_parts_of_a_cloud_event() {
    let keep = KeepApp::start("");
    let event = email("e1", "c1", 1)
        .with("/subject", json!("kept-canary-1"))
        .with("/customerhint", json!("gone-canary-1"))
        .with("/data/other", json!({"x": "gone-canary-2"}))
        .with("/data/customer/note", json!("gone-canary-3"))
        .with(
            "/data/customer/name",
            json!({"first": "kept-canary-2", "middle": "gone-canary-4"}),
        );
    keep.app.accept(&event);
    keep.check_stored(&["kept-canary-1", "kept-canary-2"], &["gone-canary"]);
    // A parked entry keeps no more than a waiting one.
    let abroad = event.with("/id", json!("e2")).with(
        "/data/customer/address",
        json!({"city": "kept-canary-3", "country": "DE", "floor": "gone-canary-5"}),
    );
    keep.app.accept(&abroad);
    keep.app.wait_until("e2", "parked");
    keep.check_stored(&["kept-canary-3"], &["gone-canary"]);
}

/// FAULTS N621: a source can ask for whole events.
#[test]
fn the_store_keeps_whole_events_if_the_source_asks_for_it() {
    let keep = KeepApp::start("keep = \"all\"");
    keep.accept(&json!([canaries("e1")]));
    keep.check_stored(&KEPT, &[]);
    for number in 1..=10 {
        assert!(is_in_store(&keep.app, &format!("gone-canary-{number}")));
    }
}

/// FAULTS N621: the content of an event for duplicates is what the source sent.
#[test]
fn a_difference_in_a_part_that_is_not_kept_is_a_conflict() {
    let keep = KeepApp::start("");
    let first = canaries("e1");
    keep.accept(&json!([first]));
    assert_eq!(keep.accept(&json!([first]))[0]["duplicate"], true);
    let mut other = first;
    other["y_1"] = json!("gone-canary-0");
    assert_eq!(keep.post(&json!([other])).status, 409);
}

/// FAULTS N621: a corrected mapping can read everything that the schema describes.
#[test]
fn a_corrected_mapping_reads_the_described_parts_of_a_stored_event() {
    let mut keep = KeepApp::start("");
    let mut event = canaries("e1");
    event["address"]["country"] = json!("DE");
    assert_eq!(keep.accept(&json!([event]))[0]["status"], "parked");
    keep.check_stored(&KEPT, &["gone-canary"]);
    let source = keep.sources.path().join("list.toml");
    let text = fs::read_to_string(&source).unwrap();
    let corrected = text
        .replace(
            "\"customer_history.address.country\" = \".address.country | alpha3\"\n",
            "",
        )
        .replace(
            "city = \".address.city\"\nstate = \".address.state | us_state\"\n",
            "\"metadata.plan\" = \".plan\"\n",
        );
    fs::write(&source, corrected).unwrap();
    keep.restart();
    let replay = json!({"ids": [keep.entry()], "map_again": true, "reason": "a test"});
    let replayed = keep.admin("POST /admin/v1/entries/replay", &replay);
    assert_eq!(replayed["unmappable"], json!([]), "{replayed}");
    let explained = keep.explained();
    let body = &explained["request"]["body"];
    assert_eq!(body["metadata"]["plan"], "kept-canary-2", "{explained}");
    assert_eq!(body["first_name"], "kept-canary-12");
}

/// FAULTS N621: an invalid event keeps everything until an operator corrects the schema.
#[test]
fn an_invalid_event_is_kept_whole_so_that_a_corrected_schema_can_read_it() {
    let mut keep = KeepApp::start("on_invalid = \"park\"");
    let event = changed(
        "e1",
        &json!({"email": "a@example.com", "plan": 7, "nick": "kept-canary-1"}),
    );
    assert_eq!(keep.accept(&json!([event]))[0]["status"], "parked");
    keep.check_stored(&["kept-canary-1"], &[]);
    let folder = keep.sources.path().to_owned();
    let schema = SCHEMA.replace(
        "\"plan\": {\"type\": \"string\"}",
        "\"plan\": {}, \"nick\": {\"type\": \"string\"}",
    );
    fs::write(folder.join("list.json"), schema).unwrap();
    let source = fs::read_to_string(folder.join("list.toml")).unwrap();
    fs::write(
        folder.join("list.toml"),
        source.replace(
            "city = \".address.city\"",
            "\"metadata.nick\" = \".nick\"\ncity = \".address.city\"",
        ),
    )
    .unwrap();
    keep.restart();
    let replay = json!({"ids": [keep.entry()], "map_again": true, "reason": "a test"});
    let replayed = keep.admin("POST /admin/v1/entries/replay", &replay);
    assert_eq!(replayed["unmappable"], json!([]), "{replayed}");
    let explained = keep.explained();
    assert_eq!(
        explained["request"]["body"]["metadata"]["nick"],
        "kept-canary-1"
    );
}

/// FAULTS N621: a schema that counts members refuses an event without the undescribed ones, so the event stays whole.
#[test]
fn an_event_stays_whole_if_the_schema_needs_its_undescribed_members() {
    let mut keep = KeepApp::start("");
    let counted = SCHEMA.replace(
        "\"closed\": {\"type\": \"object\"}",
        "\"closed\": {\"type\": \"object\", \"minProperties\": 1}",
    );
    fs::write(keep.sources.path().join("list.json"), counted).unwrap();
    keep.restart();
    keep.accept(&json!([changed(
        "e1",
        &json!({"closed": {"x": "kept-canary-1"}})
    )]));
    keep.check_stored(&["kept-canary-1"], &[]);
    let answer = keep.post(&json!([changed("e2", &json!({"closed": {"x": CARD}}))]));
    check_refused(&answer, &["/events/0/closed/x"]);
}

/// Checks that an answer refuses card numbers at these places, and does not contain a number.
#[track_caller]
fn check_refused(answer: &Answer, places: &[&str]) {
    assert_eq!(answer.status, 422, "{}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["type"], PROBLEM, "{problem}");
    let faults = problem["faults"].as_array().unwrap();
    let pointers: Vec<_> = faults
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, places, "{problem}");
    assert!(faults.iter().all(|fault| fault["rule"] == "card_number"));
    check_no_card(&answer.body);
}

#[track_caller]
fn check_no_card(text: &str) {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    assert!(!digits.contains("4111111111111111"), "{text}");
}

/// FAULTS N622: a card number in a part that the store keeps is refused, and no output contains it.
#[test]
fn a_card_number_in_a_kept_part_is_refused() {
    let keep = KeepApp::start("");
    let number: u64 = 4_111_111_111_111_111;
    for (more, places) in [
        (json!({"plan": CARD}), &["/events/0/plan"][..]),
        (
            json!({"plan": "card 4111-1111-1111-1111."}),
            &["/events/0/plan"],
        ),
        (json!({"any": {"x": [1, number]}}), &["/events/0/any/x/1"]),
        (json!({"any": {CARD: 1}}), &["/events/0/any"]),
        (
            json!({"plan": CARD, "one": CARD}),
            &["/events/0/one", "/events/0/plan"],
        ),
        (
            json!({"names": [{"kind": "first", "text": CARD}]}),
            &["/events/0/names/0/text"],
        ),
    ] {
        check_refused(&keep.post(&json!([changed("e1", &more)])), places);
    }
    let identity = keep.post(&json!([changed(CARD, &json!({}))]));
    check_refused(&identity, &["/events/0/meta/id"]);
    // The store does not keep these parts.
    keep.accept(&json!([changed(
        "e2",
        &json!({"y_1": CARD, "closed": {"x": number}})
    )]));
    let cloud_event = |event: &Event| keep.app.post(event);
    let event = email("e3", "c1", 1).with("/data/customer/name", json!({"first": CARD}));
    check_refused(&cloud_event(&event), &["/data/customer/name/first"]);
    check_refused(
        &cloud_event(&email("e4", "c1", 1).with("/id", json!(CARD))),
        &["/id"],
    );
    keep.check_stored(&[], &[CARD, "4111111111111111", "4111-1111"]);
    let refused = keep.admin("GET /admin/v1/denied-requests", &Value::Null);
    check_no_card(&refused.to_string());
    check_no_card(&keep.app.ops_get("/metrics").body);
}

/// FAULTS N1096: the type of an event contains a card number or an e-mail address, and the source file has no table for it.
/// No output quotes it.
#[test]
fn a_value_in_the_place_of_a_type_is_in_no_output() {
    let keep = KeepApp::start("");
    let typed = |id: &str, name: &str| {
        let mut event = changed(id, &json!({}));
        event["meta"]["type"] = json!(name);
        json!([event])
    };
    for name in [CARD, "4111111111111111", "pay 4111 1111 1111 1111"] {
        check_refused(&keep.post(&typed("t1", name)), &["/events/0/meta/type"]);
        let event = email("t2", "c1", 1).with("/type", json!(name));
        check_refused(&keep.app.post(&event), &["/type"]);
    }
    let person = keep.post(&typed("t3", "ann@example.com"));
    assert_eq!(person.status, 422);
    assert!(
        person.body.contains("unknown_event_type"),
        "{}",
        person.body
    );
    let refused = keep.admin("GET /admin/v1/denied-requests", &Value::Null);
    for output in [person.body, refused.to_string()] {
        check_no_card(&output);
        assert!(!output.contains("ann@example.com"), "{output}");
    }
    let parking = KeepApp::start("on_invalid = \"park\"");
    let accepted = parking.accept(&typed("t4", CARD));
    assert_eq!(accepted[0]["status"], "parked", "{accepted}");
    check_no_card(&accepted.to_string());
    parking.check_stored(&[], &[CARD]);
}

/// FAULTS N622: a source can say that its numbers are no card numbers.
#[test]
fn a_source_can_keep_numbers_that_look_like_card_numbers() {
    let keep = KeepApp::start("card_numbers = \"keep\"");
    keep.accept(&json!([changed("e1", &json!({"plan": CARD}))]));
    keep.check_stored(&[CARD], &[]);
    let weakened = "weakened{weakening=\"card_numbers_kept\"}";
    assert_eq!(keep.app.metric(weakened), Some(1.0));
}

/// FAULTS N623: a source that parks its invalid events stores the other events of the body, and the event without the
/// members that contain the card number.
#[test]
fn a_source_that_parks_invalid_events_stores_no_card_number() {
    let keep = KeepApp::start("on_invalid = \"park\"");
    let accepted = keep.accept(&json!([
        changed("e1", &json!({"plan": "kept-canary-1"})),
        changed("e2", &json!({"plan": CARD, "one": "kept-canary-2"})),
        changed("e3", &json!({"plan": 7, "other": CARD, "one": "kept-canary-3"})),
        changed(CARD, &json!({"one": "kept-canary-4"})),
        {"meta": {"id": "e5"}, "note": CARD, "one": "kept-canary-5"},
    ]));
    let states = accepted.as_array().unwrap().iter();
    let states: Vec<_> = states
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["waiting", "parked", "parked", "parked", "parked"]);
    check_no_card(&accepted.to_string());
    let rules = |index: usize| {
        let faults = accepted[index]["faults"].as_array().unwrap().iter();
        let pairs = faults.map(|fault| {
            [&fault["pointer"], &fault["rule"]].map(|text| text.as_str().unwrap().to_owned())
        });
        pairs.collect::<Vec<_>>()
    };
    assert_eq!(rules(1), [["/events/1/plan", "card_number"]]);
    assert_eq!(
        rules(2),
        [
            ["/events/2/plan", "type"],
            ["/events/2/other", "card_number"]
        ]
    );
    assert_eq!(rules(3), [["/events/3/meta/id", "card_number"]]);
    assert_eq!(rules(4)[1], ["/events/4/note", "card_number"]);
    let kept = [1, 2, 3, 4, 5].map(|number| format!("kept-canary-{number}"));
    keep.check_stored(&kept.each_ref().map(String::as_str), &[CARD]);
    // The repeated event is the same entry.
    let again = keep.accept(&json!([changed(
        "e2",
        &json!({"plan": CARD, "one": "kept-canary-2"})
    )]));
    assert_eq!(again[0]["duplicate"], true);
}

/// FAULTS N621: `check` names the parts of the examples that the store does not keep.
#[test]
fn check_lists_the_parts_of_the_examples_that_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = |body: &str| {
        write_list(folder.path(), body);
        fs::create_dir_all(folder.path().join("list")).unwrap();
        let event = json!({"events": [canaries("e1")]});
        fs::write(folder.path().join("list/one.event.json"), event.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .arg("check")
            .env("IMPRINT_BRIDGE__SOURCES_DIR", folder.path())
            .env("IMPRINT_BRIDGE__SCHEMAS_DIR", folder.path())
            .output()
            .unwrap();
        commands::text(&output.stdout)
    };
    let shown = run("");
    let expected = "    not kept in the store: /address/line, /closed/x, /gone-canary-10, /items/*/b, /meta/id, /meta/ip, /names/*/z, /pair/*, /three, /tree/below/x, /y_1\n";
    assert!(shown.contains(expected), "{shown}");
    let whole = run("keep = \"all\"");
    assert!(!whole.contains("not kept"), "{whole}");
    assert!(whole.contains("body.keep"), "{whole}");
}

/// FAULTS N621: every example of this repository gives the same result after the store has dropped parts of its event.
#[test]
fn a_stored_example_gives_the_same_request_when_it_is_mapped_again() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for folder in ["config/sources", "config/examples"] {
        for settings in shipped(&package.join(folder)) {
            let name = settings.source.name.clone();
            let examples = package.join(folder).join(name.as_str());
            let all = Sources::new([Arc::clone(&settings.source)], INTAKE);
            for file in fs::read_dir(examples).unwrap() {
                compared += map_again(&all, &settings.source, &file.unwrap().path());
            }
        }
    }
    assert!(compared > 40, "only {compared} examples");
}

const INTAKE: IntakeSettings = IntakeSettings {
    batch_events_max: 100,
    version_ahead_max: Duration::from_hours(24 * 365),
    foreign_address: ForeignAddress::Skip,
    clearing: Clearing {
        fields: FieldClearing::Omit,
        address: AddressClearing::Verify,
    },
};

/// Reads the source files in a folder of this repository.
fn shipped(folder: &Path) -> Vec<SourceSettings> {
    let settings = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let text = format!("sources_dir = {folder:?}\nschemas_dir = {schemas:?}\n");
    fs::write(settings.path(), text).unwrap();
    let config = Config::read_apart(&[settings.path().to_owned()], Purpose::Check).unwrap();
    sources::read(&config).unwrap()
}

/// Stores the events of an example, maps them again, and returns the number of compared events.
fn map_again(all: &Sources, source: &Source, file: &Path) -> usize {
    let path = file.to_str().unwrap();
    let Some(stem) = path.strip_suffix(".event.json") else {
        return 0;
    };
    let body = fs::read(file).unwrap();
    let lines = fs::read_to_string(format!("{stem}.headers.txt")).unwrap_or_default();
    let pairs: BTreeMap<_, _> = lines
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), json!(value)))
        .collect();
    let headers = RequestHeaders::of_json(&json!(pairs));
    let message = RequestMessage {
        headers: &headers,
        body: &body,
    };
    let encoding = Encoding::of_body(source, &body);
    let now = Clock::machine().now();
    let context = EntryContext {
        accepted_at: now,
        wall_time: now,
        priority: Priority::Live,
        digest_key: [7; 32],
        traces: TraceReading::Off,
    };
    let Ok(mapped) = all.entries(source, &encoding, message, &context) else {
        return 0;
    };
    let again = MappedAgain {
        stored: StoredVersion::Mapped(None),
        wall_time: now,
    };
    let mut compared = 0;
    for entry in mapped.entries {
        if let Disposition::Enqueue(expected) = &entry.disposition {
            let replayed = all.remap(&source.name, &entry.event_type, &entry.event, again);
            let Ok(ReplayChange::Mapped(found)) = replayed else {
                panic!("{path}: {replayed:?}");
            };
            assert_eq!(found.update, expected.update, "{path}");
            assert_eq!(found.customer, expected.customer, "{path}");
            assert_eq!(found.version, expected.version, "{path}");
            compared += 1;
        }
    }
    compared
}
