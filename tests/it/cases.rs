//! Cases from public bug reports and from the payloads of real senders: small inputs, each with the right answer.
//!
//! Each file `tests/it/cases/*.json` is a list of cases. A case has these members:
//!
//! | member | meaning |
//! |---|---|
//! | `name`, `why` | what the case is about, and the reason for the right answer |
//! | `source` | `crm` (as shipped), `segment` (the example as shipped, without authentication), a source file in `tests/it/cases`, or `ops` (the ops listener) |
//! | `files` | files that the source reads, by name; `with` writes their folder as `{folder}` |
//! | `steps` | the requests in order: `headers`, `body` (JSON) or `raw` (text), `method`, `path` |
//! | `with` | in a step or in `expect`: settings of the source that the case needs besides the source file, as TOML |
//! | `expect` | the answer to the last step, and its effects: see [`Expect`] |
//!
//! Each case has a new store. The bridge settles all entries of a step before the next step begins. Imprint knows the
//! customers of all steps.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use config::{File, FileFormat, Source as _, ValueKind};
use imprint_bridge::sandbox::{LedgerEntry, Operation};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::{self, Answer};
use crate::support::{TestApp, seed};

/// The number of threads that check cases. A case spends most of its time waiting for the bridge.
const THREADS: usize = 4;
/// The value in `sent` of a field that the bridge must not send.
const NOT_SENT: &str = "-";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    source: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    steps: Vec<Step>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    method: Option<String>,
    path: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    body: Option<Value>,
    raw: Option<String>,
    with: Option<String>,
}

/// The expected answer to the last step, and the expected effects of the last step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    /// The values that the bridge sends for the customer, by the path of the field. A path with the value "-" must not
    /// be sent. If the events have several customers, `sent` has one object for each of them.
    sent: Option<Map<String, Value>>,
    /// The last step makes the bridge send no update.
    #[serde(default)]
    nothing_sent: bool,
    /// The state in the receipts of all events of the last step.
    ended: Option<String>,
    /// The number of parked entries at the end.
    #[serde(default)]
    parked: u32,
    /// The JSON Pointer of one of the errors in the problem document.
    pointer: Option<String>,
    /// Texts that occur in the problem document.
    #[serde(default)]
    mentions: Vec<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    with: Option<String>,
}

/// FAULTS N322, N323, N324, N325, N326, N330, N390
#[test]
fn every_case_has_the_right_answer() {
    let cases = cases();
    let shares = cases.chunks(cases.len().div_ceil(THREADS));
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = shares.map(|share| scope.spawn(|| failed(share))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(failed.is_empty(), "failed cases: {failed:#?}");
}

/// Checks cases, and returns the names of the failed cases.
fn failed(cases: &[Case]) -> Vec<String> {
    let has_failed = |case: &&Case| catch_unwind(AssertUnwindSafe(|| case.check())).is_err();
    let failed = cases.iter().filter(has_failed);
    failed
        .map(|case| format!("{}: {}", case.name, case.why))
        .collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = fs::read_to_string(&path).unwrap();
            let read: Vec<Case> = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            cases.extend(read);
        }
    }
    cases
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    package().join("tests/it/cases")
}

// === impl Case ===

impl Case {
    #[track_caller]
    fn check(&self) {
        let name = &self.name;
        let sources = tempfile::tempdir().unwrap();
        for (file, content) in &self.files {
            fs::write(sources.path().join(file), content).unwrap();
        }
        let app = TestApp::setup()
            .settings(self.settings(sources.path()))
            .start();
        seed(&app, &Value::Array(self.customers()));
        let (last, before) = self.steps.split_last().unwrap();
        for step in before {
            let answer = self.send(&app, step);
            assert_eq!(answer.status, 202, "{name}: {}", answer.body);
        }
        let calls_before = app.imprint.calls().len();
        let answer = self.send(&app, last);
        self.check_answer(&answer);
        if let Some(ended) = &self.expect.ended {
            self.check_receipts(&app, last, &answer, ended);
        }
        self.check_updates(&app, calls_before);
        let parked = app.metric("parked_entries");
        assert_eq!(parked, Some(f64::from(self.expect.parked)), "{name}");
    }

    /// Writes the source file of this case, and returns the settings that name the folders of sources and schemas.
    fn settings(&self, sources: &Path) -> String {
        let (base, schemas) = match self.source.as_str() {
            "crm" | "ops" => (
                "config/sources/crm.toml".to_owned(),
                package().join("schemas"),
            ),
            "segment" => (
                "config/examples/segment.toml".to_owned(),
                package().join("schemas"),
            ),
            other => (format!("tests/it/cases/{other}.toml"), folder()),
        };
        let mut settings = toml(&fs::read_to_string(package().join(base)).unwrap());
        if self.source == "segment" {
            settings["auth"] = json!({"kind": "none"});
        }
        let steps = self.steps.iter().map(|step| &step.with);
        for with in steps.chain([&self.expect.with]).flatten() {
            let with = with.replace("{folder}", &sources.display().to_string());
            merge(&mut settings, toml(&with));
        }
        let text: String = settings
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| format!("{} = {}\n", Value::from(key.as_str()), inline(value)))
            .collect();
        fs::write(sources.join(format!("{}.toml", self.source)), text).unwrap();
        format!(
            "sources_dir = \"{}\"\nschemas_dir = \"{}\"",
            sources.display(),
            schemas.display()
        )
    }

    /// Returns the customers of all steps, in the form that the sandbox takes.
    fn customers(&self) -> Vec<Value> {
        let partner_id = match self.source.as_str() {
            "crm" => "/data/customer/id",
            "hub" => "/objectId",
            "segment" => "/userId",
            _other => "/id",
        };
        let customer = |event: Value| {
            let partner = event.pointer(partner_id).filter(|id| !id.is_object());
            let partner = partner.map(id_text)?;
            let imprint = event.pointer("/data/customer/imprint_customer_id");
            let imprint = imprint.map_or_else(|| imprint_id(&partner), id_text);
            Some(json!({"id": imprint, "partner_customer_id": partner}))
        };
        let bodies = self.steps.iter().filter_map(|step| step.body.clone());
        let events = bodies.flat_map(|body| {
            let list = body.get("events").unwrap_or(&body).as_array().cloned();
            list.unwrap_or_else(|| vec![body])
        });
        events.filter_map(customer).collect()
    }

    /// Sends the request of a step, and waits until the bridge has settled its entries.
    fn send(&self, app: &TestApp, step: &Step) -> Answer {
        let address = match self.source.as_str() {
            "ops" => app.ops(),
            _other => app.ingress(),
        };
        let events = self.events_path();
        let line = format!(
            "{} {}",
            step.method.as_deref().unwrap_or("POST"),
            step.path.as_ref().unwrap_or(&events)
        );
        let json = step.body.as_ref().map(Value::to_string);
        let body = json.or_else(|| step.raw.clone()).unwrap_or_default();
        let answer = http::ask(address, &line, &step.headers(), &body).unwrap();
        app.wait_for(&format!("{} is settled", self.name), |app| {
            ["waiting_entries", "requests_in_flight"]
                .iter()
                .all(|gauge| app.metric(gauge) == Some(0.0))
        });
        answer
    }

    fn events_path(&self) -> String {
        format!("/v1/sources/{}/events", self.source)
    }

    fn check_answer(&self, answer: &Answer) {
        let (name, body) = (&self.name, &answer.body);
        assert_eq!(answer.status, self.expect.status, "{name}: {body}");
        for (header, value) in &self.expect.headers {
            let found = answer.header(&header.to_ascii_lowercase());
            assert_eq!(found, Some(value.as_str()), "{name}: {header}");
        }
        if let Some(pointer) = &self.expect.pointer {
            let errors = answer.json()["faults"].as_array().cloned();
            let mut errors = errors.unwrap_or_default().into_iter();
            let is_there = errors.any(|error| error["pointer"] == *pointer);
            assert!(is_there, "{name}: no error at {pointer}: {body}");
        }
        for text in &self.expect.mentions {
            let texts = texts(&answer.json()).join("\n");
            assert!(texts.contains(text), "{name}: no {text} in {texts}");
        }
    }

    fn check_receipts(&self, app: &TestApp, step: &Step, answer: &Answer, ended: &str) {
        let accepted = answer.json()["accepted"].as_array().cloned().unwrap();
        assert!(!accepted.is_empty(), "{}: no receipt", self.name);
        for event in accepted {
            let id = event["id"].as_str().unwrap();
            let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
            let line = format!("GET {}/{id}", self.events_path());
            let receipt = http::ask(app.ingress(), &line, &step.headers(), "").unwrap();
            assert_eq!(receipt.json()["status"], ended, "{}: {id}", self.name);
        }
    }

    fn check_updates(&self, app: &TestApp, calls_before: usize) {
        let name = &self.name;
        let mut updates = app.imprint.calls().split_off(calls_before);
        updates.retain(|call| call.operation == Operation::Update);
        let sent = |customer: Option<String>| {
            let mut fields = BTreeMap::new();
            let is_about = |call: &&LedgerEntry| customer.is_none() || call.customer == customer;
            for call in updates.iter().filter(is_about) {
                flatten("", &call.body, &mut fields);
            }
            fields
        };
        if self.expect.nothing_sent {
            assert!(updates.is_empty(), "{name}: {:?}", sent(None));
        }
        let Some(expected) = &self.expect.sent else {
            return;
        };
        let customers = self.customers();
        let is_customer =
            |id: &String| customers.iter().any(|it| it["partner_customer_id"] == **id);
        if expected.keys().all(is_customer) {
            for (customer, expected) in expected {
                let found = sent(Some(imprint_id(customer)));
                check_fields(name, expected.as_object().unwrap(), &found);
            }
        } else {
            check_fields(name, expected, &sent(None));
        }
    }
}

impl Step {
    fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter().flatten();
        headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

fn check_fields(name: &str, expected: &Map<String, Value>, found: &BTreeMap<String, Value>) {
    for (path, value) in expected {
        if value == NOT_SENT {
            let inside = format!("{path}.");
            let is_sent = |field: &String| field == path || field.starts_with(&inside);
            assert!(!found.keys().any(is_sent), "{name}: {path} in {found:?}");
        } else {
            let mut leaves = BTreeMap::new();
            flatten(path, value, &mut leaves);
            for (path, value) in leaves {
                assert_eq!(
                    found.get(&path),
                    Some(&value),
                    "{name}: {path} in {found:?}"
                );
            }
        }
    }
}

/// Adds the values inside `value` to `fields`, by their dotted paths.
fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, Value>) {
    if let Value::Object(members) = value {
        for (key, member) in members {
            let dot = if path.is_empty() { "" } else { "." };
            flatten(&format!("{path}{dot}{key}"), member, fields);
        }
    } else {
        fields.insert(path.to_owned(), value.clone());
    }
}

/// Returns all texts in a JSON document.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn imprint_id(partner: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("C-{}", partner.chars().map(plain).collect::<String>())
}

// === TOML ===

fn toml(text: &str) -> Value {
    let table = File::from_str(text, FileFormat::Toml).collect().unwrap();
    let table = config::Value::new(None, ValueKind::Table(table));
    table.try_deserialize().unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Writes a value as TOML on one line. A JSON text is also a TOML text.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{} = {}", Value::from(key.as_str()), inline(value))
            };
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
