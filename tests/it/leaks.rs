//! The leak test: a distinct canary value in each personal field, id, header, key, token and answer of Imprint goes
//! through a long scenario with the real process. Every output and every file is searched. [`CANARIES`] lists the places
//! in which each canary may appear.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use self::console::ConsoleVisit;
use self::outputs::Outputs;
use self::partner::{DENIED, DOUBT, FOUND, OUTAGE, REJECTED};
use self::scan::Scanner;
use crate::commands;
use crate::http::Answer;
use crate::process::{Process, addresses, command};
use crate::raw_imprint::RawImprint;
use crate::support::{Files, wait_for};

mod console;
mod outputs;
mod partner;
mod scan;

/// A place in which a canary can appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A request to Imprint.
    Imprint,
    /// A request to the collector of traces.
    Collector,
    /// An answer to a sender.
    Sender,
    /// The log of the process, and its standard output.
    Log,
    Metrics,
    /// An answer of the admin API or an output of a command, without `--reveal`.
    Masked,
    /// An answer of the admin API or an output of a command, with `--reveal`.
    Revealed,
    /// The files of the store and its backups, while the entries are not finished.
    Store,
    /// The files of the store and its later backups, after all entries are finished.
    Kept,
    /// The files of a sealed store and its backups, at any time.
    Sealed,
    /// A temporary file, or the name of one.
    Temporary,
    /// The arguments and the environment of the process.
    Arguments,
}

use Place::{Collector, Imprint, Kept, Log, Masked, Revealed, Sealed, Sender, Store};

/// The places of a value of an event.
const VALUE: &[Place] = &[Imprint, Revealed, Store];
/// The places of a value that no operator reveals.
const SENT: &[Place] = &[Imprint, Store];
/// The places of a value that nobody maps, but that the store keeps until the entry ends: a header that an expression reads,
/// and every part of an invalid event.
const UNMAPPED: &[Place] = &[Revealed, Store];
/// The places of the id of an event: the receipt keeps it.
const EVENT_ID: &[Place] = &[Sender, Masked, Revealed, Store, Kept, Sealed];
/// The places of a customer's id.
const ID: &[Place] = &[Imprint, Masked, Revealed, Store, Kept];
const NOWHERE: &[Place] = &[];

/// Each canary: its name, its value, and all places in which it may appear. Each canary appears in all of its places, so
/// the list is not longer than necessary.
const CANARIES: &[(&str, &str, &[Place])] = &[
    // The values of a delivered event. Imprint rejects the event at first, and an operator replays it.
    ("email", "qzmailfull7x", VALUE),
    ("phone", "4155550142", VALUE),
    ("first name", "qzfirst7x", VALUE),
    ("last name", "qzlast7x", VALUE),
    ("street", "qzstreet7x", VALUE),
    ("apartment", "qzapartment7x", VALUE),
    ("city", "qzcity7x", VALUE),
    ("postal code", "94105-7319", VALUE),
    ("lifetime value", "73194628105", VALUE),
    ("metadata", "qznote7x", VALUE),
    // The bridge drops what neither the schema describes nor an expression reads.
    ("undescribed value", "qzunmapped7x", NOWHERE),
    ("undescribed name", "qzname7x", NOWHERE),
    ("name that is a value", "qzmember7x", NOWHERE),
    ("subject", "qzsubject7x", NOWHERE),
    ("extension", "qzextension7x", NOWHERE),
    ("event source", "qzeventsource7x", EVENT_ID),
    ("read header", "qzheaderread7x", UNMAPPED),
    ("other header", "qzheaderother7x", NOWHERE),
    ("user agent", "qzagent7x", NOWHERE),
    ("cookie", "qzcookie7x", NOWHERE),
    ("event id", "qzevent7x", EVENT_ID),
    ("customer id", REJECTED, ID),
    ("crm id", "qzcrmfull7x", &[Masked, Revealed, Store]),
    ("searched crm id", "qzcrmfound7x", &[Imprint, Store, Kept]),
    ("found customer id", FOUND, &[Imprint, Masked, Store, Kept]),
    // The values of other events.
    ("email after an outage", "qzmailoutage7x", SENT),
    ("email after a denied key", "qzmaildenied7x", SENT),
    ("email in doubt", "qzmaildoubt7x", SENT),
    ("email after a search", "qzmailsearch7x", SENT),
    ("email in shadow mode", "qzmailshadow7x", SENT),
    ("discarded email", "qzmaildiscard7x", &[Store]),
    ("email of a correction", "qzmailcorrect7x", NOWHERE),
    ("invalid email", "qzmailinvalid7x", NOWHERE),
    ("invalid name", "qznameinvalid7x", NOWHERE),
    ("invalid phone", "qzphone7x", NOWHERE),
    ("broken body", "qzbroken7x", NOWHERE),
    ("unknown event type", "qztype7x", &[Sender, Masked]),
    ("conflicting email", "qzmailconflict7x", NOWHERE),
    ("unauthenticated email", "qzmailunauth7x", NOWHERE),
    ("parked invalid email", "qzmailparked7x", UNMAPPED),
    (
        "name at the place of an error",
        "qzkeyed7x",
        &[Sender, Revealed, Store],
    ),
    ("explained email", "qzmailexplained7x", &[Revealed]),
    ("sent email", "qzmailsent7x", SENT),
    // Secrets.
    ("api key", "qzkey7x-0123456789", &[Imprint]),
    ("merchant key", "qzmerchant7x-0123456789", &[Imprint]),
    ("wrong key", "qzkeywrong7x-0123456789", NOWHERE),
    ("source token", "qztoken7x-0123456789", NOWHERE),
    ("password", "qzpassword7x-0123456789", NOWHERE),
    ("signing secret", "qzsecret7x-0123456789", NOWHERE),
    ("sealing key", SEALING_KEY, NOWHERE),
    ("operator token", "qzoperatortoken7x-0123456789", NOWHERE),
    ("wrong source token", "qztokenwrong7x-0123456789", NOWHERE),
    ("wrong password", "qzpasswordwrong7x-0123456789", NOWHERE),
    // The command `verify` repeats the signature of its own arguments.
    ("wrong signature", "qzsignature7x-0123456789", &[Masked]),
    ("wrong operator token", "qzguess7x-0123456789", NOWHERE),
    ("secret in a source file", "qzinline7x-0123456789", NOWHERE),
    (
        "line of a broken source file",
        "qzline7x-0123456789",
        NOWHERE,
    ),
    (
        "secret in a settings file",
        "qzsetting7x-0123456789",
        NOWHERE,
    ),
    (
        "secret for the collector",
        "qzcollector7x-0123456789",
        &[Collector],
    ),
    // The trace context of the sender.
    ("trace", "7c92f3577b34da6a3ce929d0e0e47367", &[Collector]),
    ("span of the sender", "c0f067aa0ba902b7", &[Collector]),
    ("state of the trace", "qztracestate7x", NOWHERE),
    ("path of the collector", "qzcollectorpath7x", &[Collector]),
    // Answers of Imprint.
    ("error type", "qzanswertype7x", NOWHERE),
    ("error parameter", "qzanswerparam7x", NOWHERE),
    ("error message", "qzanswermessage7x", NOWHERE),
    ("error detail", "qzanswerdetail7x", NOWHERE),
    ("reason phrase", "qzanswerphrase7x", NOWHERE),
    ("answer header", "qzanswerheader7x", NOWHERE),
    ("answered email", "qzanswermail7x", NOWHERE),
    ("ssn4", "qzanswerssn7x", NOWHERE),
    ("date of birth", "qzanswerbirth7x", NOWHERE),
    ("email of a hit", "qzanswerhit7x", NOWHERE),
    // Addresses of requests.
    ("unknown source", "qzsource7x", NOWHERE),
    ("unknown route", "qzroute7x", NOWHERE),
    ("query", "qzquery7x", NOWHERE),
    ("unknown event id", "qzeventunknown7x", NOWHERE),
    ("origin of a handshake", "qzorigin7x", NOWHERE),
    // An operator.
    (
        // Every page of the console names its operator.
        "name of an operator",
        "qzoperator7x",
        &[Log, Masked, Revealed, Store, Kept, Sealed],
    ),
    (
        "reason of an operator",
        "qzreason7x",
        &[Masked, Store, Kept],
    ),
];

const SEALING_KEY: &str = "c077f67e6df09fea3f05032028064928f99134b6c1e8c7e98021117009501ca6";

/// Returns the value of the canary with this name.
fn value(name: &str) -> &'static str {
    let canary = CANARIES.iter().find(|(known, _, _)| *known == name);
    canary.unwrap_or_else(|| panic!("no canary {name}")).1
}

/// The sources. `$` is the folder of the secret files.
const SOURCES: [(&str, &str); 3] = [
    (
        "crm",
        r#"
[auth]
kind = "bearer"
token_files = ["$/source-token"]
[events.changed]
schema = "changed.json"
when = 'header("x-region") != "none"'
customer.imprint_id = ".data.card"
customer.partner_id = ".data.id"
[events.changed.update]
email = ".data.email"
phone = '.data.phone | e164("US")'
first_name = ".data.first"
last_name = ".data.last"
street_line1 = ".data.street"
street_line2 = ".data.apartment"
city = ".data.city"
postal_code = ".data.zip"
customer_history.ltv_amount = '.data.worth | minor_units(.; "USD")'
customer_history.ltv_currency = '.data.worth | if . then "USD" else null end'
metadata.note = ".data.note"
"#,
    ),
    (
        "shop",
        r#"
[auth]
kind = "basic"
user = "shop"
password_files = ["$/password"]
[body]
format = "json"
id = ".id"
type = '"p"'
on_invalid = "park"
[events.p]
schema = "any.json"
customer.imprint_id = ".cid"
[events.p.update]
email = ".email"
"#,
    ),
    (
        "signed",
        r#"
[auth]
kind = "hmac"
header = "x-signature"
encoding = "hex"
secret_files = ["$/signing-secret"]
[body]
format = "json"
id = ".id"
type = '"p"'
[events.p]
schema = "any.json"
customer.imprint_id = ".cid"
[events.p.update]
email = ".email"
"#,
    ),
];
const SCHEMA: &str = r#"{"type": "object", "properties": {"data": {"type": "object", "required": ["revision"],
    "properties": {"revision": {"type": "integer"}, "email": {"type": "string", "maxLength": 60}}}}}"#;
/// The schema of the other sources: its member `by` has names that the schema does not know.
const BY: &str = r#"{"properties": {"by": {"additionalProperties": {"type": "integer"}}}}"#;
const CLOUDEVENT: (&str, &str) = ("content-type", "application/cloudevents+json");
const JSON: (&str, &str) = ("content-type", "application/json");
const CRM: &str = "POST /v1/sources/crm/events";

/// The running process, and everything that it has written.
struct Scenario {
    files: Files,
    format: &'static str,
    is_sealed: bool,
    partner: RawImprint,
    collector: RawImprint,
    process: Process,
    ingress: SocketAddr,
    ops: SocketAddr,
    outputs: Outputs,
    /// The commands that ended with another exit code than expected.
    wrong: Vec<String>,
}

impl Scenario {
    fn start(format: &'static str, is_sealed: bool) -> Self {
        let (partner, collector) = (partner::start(), start_collector());
        let files = Files::write(partner.address, value("api key"), "");
        write_files(&files, &collector);
        if is_sealed {
            files.write_sealing_key("2026-11", value("sealing key"));
        }
        let (process, ingress, ops) = serve(&files, format);
        let canaries = CANARIES.iter().map(|(name, value, _)| (*name, *value));
        Self {
            files,
            format,
            is_sealed,
            partner,
            collector,
            process,
            ingress,
            ops,
            outputs: Outputs::new(Scanner::new(canaries)),
            wrong: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.store_file(name)
    }

    /// Posts a body, and checks the status of the answer.
    #[track_caller]
    fn post(&mut self, line: &str, headers: &[(&str, &str)], body: &str, status: u16) -> Answer {
        let answer = self
            .outputs
            .ask(Sender, self.ingress, (line, headers, body));
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        answer
    }

    /// Posts an event of the source `crm` with the right token.
    #[track_caller]
    fn post_crm(&mut self, event: &Value, status: u16) {
        let token = format!("Bearer {}", value("source token"));
        let trace = format!("00-{}-{}-01", value("trace"), value("span of the sender"));
        let headers = [
            CLOUDEVENT,
            ("traceparent", &trace),
            ("tracestate", value("state of the trace")),
            ("authorization", &token),
            ("x-region", value("read header")),
            ("x-other", value("other header")),
            ("user-agent", value("user agent")),
            ("cookie", value("cookie")),
        ];
        self.post(CRM, &headers, &event.to_string(), status);
    }

    /// Runs a command of an operator, and checks its exit code.
    #[track_caller]
    fn operate(&mut self, place: Place, arguments: &[&str], code: i32) -> String {
        let ops = format!("http://{}", self.ops);
        let token = self.path(value("name of an operator"));
        let bridge = ["--ops", &ops, "--token-file", token.to_str().unwrap()];
        self.run(place, &[arguments, &bridge].concat(), "", code)
    }

    /// Runs a command with the settings of the bridge.
    #[track_caller]
    fn configured(&mut self, place: Place, arguments: &[&str], input: &str, code: i32) {
        let settings = self.files.settings();
        let settings = settings
            .iter()
            .flat_map(|file| ["--config", file.to_str().unwrap()]);
        let arguments: Vec<&str> = arguments.iter().copied().chain(settings).collect();
        self.run(place, &arguments, input, code);
    }

    #[track_caller]
    fn run(&mut self, place: Place, arguments: &[&str], input: &str, code: i32) -> String {
        let output = commands::run(arguments, input);
        let text = [output.stdout, output.stderr].concat();
        self.outputs.add(place, &arguments.join(" "), &text);
        let text = commands::text(&text);
        if output.status.code() != Some(code) {
            let ended = output.status;
            self.wrong.push(format!("{arguments:?}: {ended}: {text}"));
        }
        text
    }

    /// Waits until an event of a source has this status.
    #[track_caller]
    fn wait_until(&mut self, source: &str, id: &str, status: &str) {
        let line = format!("GET /v1/sources/{source}/events/{id}");
        let authorization = match source {
            "crm" => format!("Bearer {}", value("source token")),
            _ => basic(value("password")),
        };
        let headers = [("authorization", authorization.as_str())];
        let (ingress, outputs) = (self.ingress, &mut self.outputs);
        wait_for(&format!("{id} is {status}"), || {
            let receipt = outputs.ask(Sender, ingress, (&line, &headers, "")).json();
            (receipt["status"] == status).then_some(())
        });
    }

    /// Returns the number of the entry of an event.
    fn entry(&mut self, id: &str) -> String {
        let line = format!("GET /admin/v1/entries?state=all&id={id}");
        let token = value("operator token");
        let list = self.outputs.ask_operator(Masked, self.ops, token, &line);
        list["entries"][0]["entry"].to_string()
    }

    /// Adds all files of the store.
    fn add_store(&mut self, place: Place) {
        let place = if self.is_sealed { Sealed } else { place };
        let data = self.path("data");
        self.outputs.add_files(place, &data);
    }

    fn metrics(&mut self) -> String {
        let answer = self
            .outputs
            .ask(Place::Metrics, self.ops, ("GET /metrics", &[], ""));
        answer.body
    }

    /// Stops the process, and collects its log.
    fn stop(&mut self) {
        self.process.terminate();
        let status = self.process.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        self.outputs.add(Log, "log", self.process.log().as_bytes());
        let stdout = fs::read(self.path("stdout")).unwrap();
        self.outputs.add(Log, "standard output", &stdout);
    }

    fn restart(&mut self) {
        (self.process, self.ingress, self.ops) = serve(&self.files, self.format);
    }

    /// Compares the found places with [`CANARIES`].
    fn check(&self) {
        let mut wrong = self.wrong.clone();
        let absent: &[Place] = match self.is_sealed {
            true => &[Store, Kept],
            false => &[Sealed],
        };
        for (name, _, allowed) in CANARIES {
            let found = self.outputs.found(name);
            let places: BTreeSet<Place> = found.keys().copied().collect();
            let allowed = allowed.iter().filter(|place| !absent.contains(place));
            let allowed: BTreeSet<Place> = allowed.copied().collect();
            for place in places.difference(&allowed) {
                wrong.push(format!("{name} is in {place:?}: {}", found[place]));
            }
            // The store possibly erases a value before the test looks.
            let is_required = |place: &&Place| ![Store, Sealed].contains(*place);
            for place in allowed.difference(&places).filter(is_required) {
                wrong.push(format!(
                    "{name} is not in {place:?}, so the list is too long"
                ));
            }
        }
        let is_stored = self.outputs.found("email").contains_key(&Store);
        assert_ne!(is_stored, self.is_sealed, "the search finds stored values");
        assert!(wrong.is_empty(), "{}: {}", self.format, wrong.join("\n"));
    }
}

/// Writes the secrets, the sources in two versions, the schemas and the settings of the bridge.
fn write_files(files: &Files, collector: &RawImprint) {
    let path = |name: &str| files.store_file(name);
    for folder in [
        "data",
        "tmp",
        "sources",
        "schemas",
        "earlier/config/sources",
        "earlier/schemas",
    ] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    for (name, secret) in [
        ("merchant", "merchant key"),
        ("source-token", "source token"),
        ("password", "password"),
        ("signing-secret", "signing secret"),
        ("guess", "wrong operator token"),
        ("collector", "secret for the collector"),
        (value("name of an operator"), "operator token"),
    ] {
        fs::write(path(name), value(secret)).unwrap();
    }
    for schemas in ["schemas", "earlier/schemas"] {
        fs::write(path(&format!("{schemas}/any.json")), BY).unwrap();
        fs::write(path(&format!("{schemas}/changed.json")), SCHEMA).unwrap();
    }
    let folder = path("").display().to_string();
    for (name, text) in SOURCES {
        let text = text.replace("$/", &folder);
        fs::write(path(&format!("sources/{name}.toml")), &text).unwrap();
        // An earlier version of the sources, which sets the city to the postal code.
        let earlier = text.replace("\".data.city\"", "\".data.zip\"");
        fs::write(
            path(&format!("earlier/config/sources/{name}.toml")),
            earlier,
        )
        .unwrap();
    }
    files.write_settings(&format!(
        "sources_dir = {:?}\nschemas_dir = {:?}\n[outbox]\nurl = \"sqlite:{folder}data/outbox.db\"\n\
         [imprint]\nmerchant_key_file = {:?}\n[ops]\ntoken_files = [{:?}]\n\
         [dispatch]\nassert_after = \"1s\"\n[shutdown]\ndrain = 1\n[log]\nfilter = \"trace\"\n\
         [traces]\nendpoint = \"{}/{}\"\nsecret_file = {:?}",
        path("sources"),
        path("schemas"),
        path("merchant"),
        path(value("name of an operator")),
        collector.origin(),
        value("path of the collector"),
        path("collector"),
    ));
}

/// Starts a collector of traces that takes all spans.
fn start_collector() -> RawImprint {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    RawImprint::start(move |mut accepted| accepted.serve(|_| answer.to_owned()))
}

/// Starts the process. Returns the addresses of its listeners too.
fn serve(files: &Files, format: &str) -> (Process, SocketAddr, SocketAddr) {
    let mut serve: Command = command(files);
    serve
        .env("IMPRINT_BRIDGE__LOG__FORMAT", format)
        .env("TMPDIR", files.store_file("tmp"))
        .stdout(fs::File::create(files.store_file("stdout")).unwrap());
    let mut process = Process::start(serve);
    let (ingress, ops) = wait_for("the process is ready", || {
        let log = process.log();
        assert!(process.child.try_wait().unwrap().is_none(), "{log}");
        log.lines()
            .find_map(|line| addresses(line).or_else(|| addresses_in_text(line)))
    });
    (process, ingress, ops)
}

/// Returns the addresses of the listeners, if the line of a text log says that the bridge is ready.
fn addresses_in_text(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let address = |name: &str| {
        let value = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name))?;
        value.parse().ok()
    };
    line.contains(" ready ")
        .then(|| Some((address("ingress=")?, address("ops=")?)))?
}

fn basic(password: &str) -> String {
    use base64::Engine as _;
    let text = format!("shop:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(text)
    )
}

/// An event of the source `crm` that only sets an e-mail address.
fn event(id: &str, card: &str, email: &str) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": value("event source"),
        "type": "changed",
        "data": {"card": card, "revision": 1, "email": format!("{}@example.com", value(email))},
    })
}

/// An event of the source `crm` with a canary in every member.
fn full_event() -> Value {
    let mut event = event(value("event id"), REJECTED, "email");
    event["subject"] = json!(value("subject"));
    event["ext"] = json!(value("extension"));
    let data = event["data"].as_object_mut().unwrap();
    for (member, name) in [
        ("id", "crm id"),
        ("phone", "phone"),
        ("first", "first name"),
        ("last", "last name"),
        ("street", "street"),
        ("apartment", "apartment"),
        ("city", "city"),
        ("zip", "postal code"),
        ("note", "metadata"),
        ("undescribed", "undescribed value"),
    ] {
        data.insert(member.to_owned(), json!(value(name)));
    }
    data.insert(
        "worth".to_owned(),
        json!(format!("{}.00", value("lifetime value"))),
    );
    data.insert(value("undescribed name").to_owned(), json!(true));
    let member = format!("{}@example.com", value("name that is a value"));
    data.insert(member, json!(7));
    event
}

/// Sends requests that the bridge refuses.
fn send_refused_requests(scenario: &mut Scenario) {
    let mut invalid = event("invalid", "c1", "invalid email");
    invalid["data"]["revision"] = json!(value("invalid email"));
    invalid["data"][value("invalid name")] = json!(value("invalid email"));
    scenario.post_crm(&invalid, 422);
    let mut too_long = event("long", "c1", "invalid email");
    too_long["data"]["email"] = json!(value("invalid email").repeat(9));
    scenario.post_crm(&too_long, 422);
    let mut unmappable = event("unmappable", "c1", "invalid email");
    unmappable["data"]["phone"] = json!(value("invalid phone"));
    scenario.post_crm(&unmappable, 422);
    let token = format!("Bearer {}", value("source token"));
    let authorized = [CLOUDEVENT, ("authorization", token.as_str())];
    let broken = format!("{{\"id\": \"{0}\", {0}", value("broken body"));
    scenario.post(CRM, &authorized, &broken, 400);
    let plain = [("content-type", "text/plain"), authorized[1]];
    scenario.post(CRM, &plain, &broken, 415);
    let mut unknown_type = event("type", "c1", "invalid email");
    unknown_type["type"] = json!(value("unknown event type"));
    scenario.post_crm(&unknown_type, 422);

    let body = event("unauthenticated", "c1", "unauthenticated email").to_string();
    let wrong = format!("Bearer {}", value("wrong source token"));
    scenario.post(CRM, &[CLOUDEVENT, ("authorization", &wrong)], &body, 401);
    let wrong = basic(value("wrong password"));
    let shop = "POST /v1/sources/shop/events";
    scenario.post(shop, &[JSON, ("authorization", &wrong)], &body, 401);
    let signed = "POST /v1/sources/signed/events";
    let wrong = value("wrong signature");
    scenario.post(signed, &[JSON, ("x-signature", wrong)], &body, 401);

    let unknown = format!("POST /v1/sources/{}/events", value("unknown source"));
    scenario.post(&unknown, &authorized, &body, 404);
    let route = format!("POST /{0}/{0}?{0}={0}", value("unknown route"));
    scenario.post(&route, &authorized, &body, 404);
    let query = format!("{CRM}?email={}", value("query"));
    scenario.post(&query, &authorized, &broken, 400);
    let line = format!("GET /v1/sources/crm/events/{}", value("unknown event id"));
    scenario.post(&line, &authorized, "", 404);
    let origin = ("webhook-request-origin", value("origin of a handshake"));
    scenario.post("OPTIONS /v1/sources/crm/events", &[origin], "", 200);
}

/// Sends events that the bridge accepts, and brings each of them into another state.
fn send_events(scenario: &mut Scenario) {
    let mut search = event("search", "", "email after a search");
    search["data"]["card"] = Value::Null;
    search["data"]["id"] = json!(value("searched crm id"));
    scenario.post_crm(&search, 202);
    // An applied update proves that the later failures are not the failures of every customer.
    scenario.wait_until("crm", "search", "delivered");
    scenario.post_crm(&full_event(), 202);
    let conflict = event(value("event id"), REJECTED, "conflicting email");
    scenario.post_crm(&conflict, 409);
    scenario.post_crm(&full_event(), 202);
    let by = format!("{}@example.com", value("name at the place of an error"));
    let body = json!({"id": "parked", "cid": "c5", "by": {by: value("parked invalid email")}});
    let shop = basic(value("password"));
    let headers = [JSON, ("authorization", shop.as_str())];
    let line = "POST /v1/sources/shop/events";
    scenario.post(line, &headers, &body.to_string(), 202);

    let token = scenario.path("source-token");
    let to = format!("http://{}", scenario.ingress);
    let mut invalid = event("sent-invalid", "c1", "invalid email");
    invalid["data"]["phone"] = json!(value("invalid phone"));
    let lines = format!("{}\n{invalid}\n", event("sent", "c2", "sent email"));
    let send = [
        "send",
        "--quiet",
        "--to",
        &to,
        "--source",
        "crm",
        "--token-file",
        token.to_str().unwrap(),
    ];
    scenario.run(Masked, &send, &lines, 1);
    scenario.wait_until("crm", value("event id"), "parked");
    for (id, card, email) in [
        ("outage", OUTAGE, "email after an outage"),
        ("denied", DENIED, "email after a denied key"),
        ("doubt", DOUBT, "email in doubt"),
    ] {
        scenario.post_crm(&event(id, card, email), 202);
    }
    for id in ["outage", "denied", "doubt", "sent"] {
        scenario.wait_until("crm", id, "delivered");
    }
}

/// Looks at the entries with every command, without and with `--reveal`.
fn look_at_entries(scenario: &mut Scenario) {
    let entry = scenario.entry(value("event id"));
    let parked = scenario.entry("parked");
    for arguments in [
        &["events", "--state", "all"][..],
        &["events", "--customer", REJECTED, "--json"],
        &["events", "--customer", value("searched crm id")],
        &["parked"],
        &["parked", "--json"],
        &["show", &parked],
        &["show", &entry],
        &["show", &entry, "--json"],
        &["explain", "--entry", &entry],
        &["explain", "--entry", &entry, "--json"],
        &["try-out", "--source", "crm", "--entry", &entry],
        &["try-out", "--source", "crm", "--entry", &entry, "--json"],
        &["replay", &entry, "--preview"],
        &["replay", &entry, "--preview", "--map-again", "--json"],
        &["audit"],
        &["destination"],
        &["status"],
        &["sources"],
        &["denied-requests"],
        &["problems"],
        &["problems", "--json"],
        &["customer", "--customer", REJECTED],
        &["customer", "--customer", REJECTED, "--json"],
        &["denied-requests", "--json"],
        &["brakes"],
        &["store", "keys"],
        &["store", "keys", "--json"],
        &["store", "backup", "live.db"],
    ] {
        scenario.operate(Masked, arguments, 0);
    }
    for arguments in [
        &["show", &parked, "--reveal"][..],
        &["show", &entry, "--reveal"],
        &["explain", "--entry", &entry, "--reveal"],
        &["export", "--customer", REJECTED],
    ] {
        scenario.operate(Revealed, arguments, 0);
    }
    let mut visit = ConsoleVisit::log_in(&mut scenario.outputs, scenario.ops);
    visit.look_at_everything([&entry, &parked]);
    let body = event("explained", "c1", "explained email").to_string();
    let explain = ["explain", "--source", "crm"];
    scenario.configured(Masked, &explain, &body, 0);
    scenario.configured(Revealed, &[&explain[..], &["--reveal"]].concat(), &body, 0);
    let copy = scenario.path("data/live.db").display().to_string();
    let folder = scenario.path("earlier").display().to_string();
    let diff = ["diff", "--against", &folder, "--store", &copy];
    scenario.configured(Masked, &diff, "", 1);
    scenario.configured(Revealed, &[&diff[..], &["--reveal"]].concat(), "", 1);
    scenario.configured(Masked, &["store", "verify", &copy], "", 0);
    let header = format!("x-signature: {}", value("wrong signature"));
    let verify = ["verify", "--source", "signed", "--header", &header];
    scenario.configured(Masked, &verify, &body, 2);
}

/// Prints the events of parked entries, and corrects one without an effect: a preview, and an event with another id.
fn correct_nothing(scenario: &mut Scenario) {
    scenario.operate(Revealed, &["parked", "--events"], 0);
    let entry: u64 = scenario.entry(value("event id")).parse().unwrap();
    let token = value("operator token");
    let line = format!("GET /admin/v1/entries/{entry}?reveal=true");
    let shown = scenario
        .outputs
        .ask_operator(Revealed, scenario.ops, token, &line);
    let mut event = shown["event"].clone();
    event["data"]["customer"]["email"] =
        json!(format!("{}@example.com", value("email of a correction")));
    let file = scenario.path("corrected.ndjson");
    let path = file.to_str().unwrap().to_owned();
    fs::write(&file, json!({"entry": entry, "event": event}).to_string()).unwrap();
    scenario.operate(Masked, &["correct", &path, "--preview"], 0);
    event["id"] = json!(value("email of a correction"));
    fs::write(&file, json!({"entry": entry, "event": event}).to_string()).unwrap();
    scenario.operate(Masked, &["correct", &path, "--reason", "a test"], 2);
    fs::remove_file(&file).unwrap();
}

/// Lets operators and other persons make mistakes.
fn make_mistakes(scenario: &mut Scenario) {
    let guess = scenario.path("guess").display().to_string();
    let ops = format!("http://{}", scenario.ops);
    let arguments = ["parked", "--ops", &ops, "--token-file", &guess];
    scenario.run(Masked, &arguments, "", 1);
    let wrong = format!("Bearer {}", value("wrong operator token"));
    let headers = [("authorization", wrong.as_str())];
    let ops = scenario.ops;
    let line = "GET /admin/v1/entries";
    scenario.outputs.ask(Masked, ops, (line, &headers, ""));

    let inline = value("secret in a source file");
    let good = fs::read_to_string(scenario.path("sources/signed.toml")).unwrap();
    let bad = good.replace(
        "kind = \"hmac\"",
        &format!("kind = \"hmac\"\nsecret = {inline:?}"),
    );
    let broken = format!("{good}\n[{} = 3", value("line of a broken source file"));
    for text in [&bad, &broken, &good] {
        fs::write(scenario.path("sources/signed.toml"), text).unwrap();
        let code = if text == &good { 0 } else { 2 };
        scenario.configured(Masked, &["check"], "", code);
        scenario.operate(Masked, &["reload"], code);
        scenario.operate(Masked, &["sources"], code);
    }
    let setting = scenario.path("inline.toml");
    let text = format!("[imprint]\nkey = {:?}", value("secret in a settings file"));
    fs::write(&setting, text).unwrap();
    let check = ["check", "--config", setting.to_str().unwrap()];
    scenario.configured(Masked, &check, "", 2);
    let wrong_key = format!("{0}\n{0}", value("wrong key"));
    scenario.files.write_key(&wrong_key);
    scenario.configured(Masked, &["check"], "", 2);
    let is_seen = |log: &str| log.contains("cannot use a secret file");
    wait_for("the wrong key is noticed", || {
        is_seen(&scenario.process.log()).then_some(())
    });
    scenario.files.write_key(value("api key"));
}

/// Brings all entries to an end.
fn finish_entries(scenario: &mut Scenario) {
    let reason = value("reason of an operator");
    let entry = scenario.entry(value("event id"));
    scenario.operate(
        Masked,
        &["replay", &entry, "--map-again", "--reason", reason],
        0,
    );
    scenario.wait_until("crm", value("event id"), "delivered");
    scenario.operate(Masked, &["destination", "shadow", "--reason", reason], 0);
    scenario.post_crm(&event("shadow", "c3", "email in shadow mode"), 202);
    let (ops, token) = (scenario.ops, value("operator token"));
    wait_for("the request is recorded", || {
        let line = "GET /admin/v1/shadow";
        let page = scenario.outputs.ask_operator(Masked, ops, token, line);
        page.to_string().contains("c3").then_some(())
    });
    let mut visit = ConsoleVisit::log_in(&mut scenario.outputs, ops);
    let page = visit.page("/destination", 200);
    assert!(page.body.contains("did not send"), "{}", page.body);
    scenario.operate(Masked, &["destination", "paused", "--reason", reason], 0);
    scenario.post_crm(&event("discarded", "c4", "discarded email"), 202);
    scenario.add_store(Store);
    for id in ["discarded", "parked"] {
        let entry = scenario.entry(id);
        scenario.operate(Masked, &["discard", &entry, "--reason", reason], 0);
    }
    let erase = ["erase", "--customer", DOUBT, "--reason", reason];
    scenario.operate(Masked, &erase, 0);
    scenario.operate(Masked, &["destination", "open", "--reason", reason], 0);
    scenario.wait_until("crm", "shadow", "delivered");
    scenario.operate(Masked, &["audit"], 0);
    let mut visit = ConsoleVisit::log_in(&mut scenario.outputs, ops);
    for path in ["/audit", "/entries?state=all", "/"] {
        visit.page(path, 200);
    }
}

fn run(format: &'static str, is_sealed: bool) {
    let mut scenario = Scenario::start(format, is_sealed);
    send_refused_requests(&mut scenario);
    send_events(&mut scenario);
    look_at_entries(&mut scenario);
    correct_nothing(&mut scenario);
    scenario.add_store(Store);
    make_mistakes(&mut scenario);
    finish_entries(&mut scenario);
    scenario.metrics();
    let process = PathBuf::from(format!("/proc/{}", scenario.process.child.id()));
    for file in ["cmdline", "environ"] {
        let text = fs::read(process.join(file)).unwrap_or_default();
        scenario.outputs.add(Place::Arguments, file, &text);
    }
    scenario.stop();
    fs::remove_file(scenario.path("data/live.db")).unwrap();
    scenario.add_store(Kept);
    scenario.restart();
    scenario.operate(Masked, &["store", "backup", "late.db"], 0);
    scenario.stop();
    scenario.add_store(Kept);
    let temporary = scenario.path("tmp");
    scenario.outputs.add_files(Place::Temporary, &temporary);
    let requests = scenario.partner.requests().join("\n");
    scenario
        .outputs
        .add(Imprint, "requests", requests.as_bytes());
    let spans = scenario.collector.requests().join("\n");
    scenario.outputs.add(Collector, "spans", spans.as_bytes());
    scenario.check();
}

/// FAULTS N560: a value, a key or an answer of Imprint appears in a place that is not on the list.
#[test]
fn canaries_appear_only_in_the_listed_places_with_a_json_log() {
    run("json", false);
}

/// FAULTS N560: the same holds for the text format of the log, and a sealed store has no values in its files.
#[test]
fn canaries_appear_only_in_the_listed_places_with_a_text_log_and_a_sealed_store() {
    run("text", true);
}
