//! Tests of request signatures against other implementations: the Python package `standardwebhooks`, and the signature
//! recipes of eight senders.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use imprint_bridge::ingress::auth::SigningKey;
use imprint_bridge::time::Clock;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http::{Answer, Connection, ask};
use crate::senders::tool;
use crate::support::{Event, TestApp, wait_for};

const WHSEC: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
];
const WHSEC_GONE: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl2g8wXQ8u";
const SECRETS: [&str; 2] = [
    "7468652d7365637265742d6f662d746f646179",
    "7468652d7365637265742d6f662d746f6d6f72726f77",
];
const SECRET_GONE: &str = "7468652d7365637265742d6f662d796573746572646179";
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
/// The number of signature recipes in config/sources/REFERENCE.md.
const SENDERS: usize = 9;

/// The headers of a signed request.
type Lines = Vec<(String, String)>;

/// A temporary folder with sources whose requests are signed, and with the signing secrets.
struct Sources(TempDir);

impl Sources {
    fn new(secrets: [&str; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, secret) in ["first", "second"].into_iter().zip(secrets) {
            std::fs::write(folder.path().join(name), secret).unwrap();
        }
        Self(folder)
    }

    /// Adds a copy of the source `crm` with another `[auth]`. Its versions are times, because the sequence numbers of
    /// two sources cannot be compared.
    fn add(&self, name: &str, auth: &str) {
        let shipped = include_str!("../../config/sources/crm.toml");
        let secrets = ["first", "second"].map(|name| self.0.path().join(name));
        let files = format!("secret_files = {secrets:?}");
        let text = shipped
            .replace("kind = \"none\"", &format!("{auth}\n{files}"))
            .replace(
                "version = \".data.customer.revision\"",
                "version = \".time\"",
            )
            .replace("version_domain = \"sequence\"", "version_domain = \"time\"");
        assert!(text.contains(&files) && text.contains("\".time\""));
        std::fs::write(self.file(name), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.toml"))
    }

    fn start(&self) -> TestApp {
        let settings = format!("sources_dir = \"{}\"", self.0.path().display());
        TestApp::setup().settings(settings).manual_clock().start()
    }
}

/// Runs a Python script of the folder tests/it/signed with `cases` as input, and returns the output.
fn python(script: &str, arguments: &[&str], cases: &Value) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/signed");
    let mut child = Command::new(tool("PYTHON", "target/venv/bin/python"))
        .arg(folder.join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A script that fails at its start reads no input, and prints the reason.
    let _unread = input.write_all(cases.to_string().as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(headers: &Value) -> Lines {
    let headers = headers.as_object().unwrap().iter();
    headers
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

fn post(app: &TestApp, path: &str, lines: &Lines, body: &str) -> Answer {
    let mut headers = vec![STRUCTURED];
    headers.extend(
        lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    ask(app.ingress(), &format!("POST {path}"), &headers, body).unwrap()
}

#[track_caller]
fn check(answer: &Answer, status: u16, context: &str) {
    assert_eq!(answer.status, status, "{context}: {}", answer.body);
}

/// Returns copies of the text with one changed byte, one copy for each position. ASCII stays ASCII, and a digit stays
/// a digit.
fn changed(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).map(move |index| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[index] ^= 1;
        String::from_utf8(bytes).unwrap()
    })
}

/// Returns copies of the headers with one changed byte in the header `name`, one copy for each position.
fn with_changed<'a>(lines: &'a Lines, name: &'a str) -> impl Iterator<Item = Lines> + 'a {
    let index = lines.iter().position(|(known, _)| known == name).unwrap();
    changed(&lines[index].1)
        .map(move |value| {
            let mut lines = lines.clone();
            lines[index].1 = value;
            lines
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn email(id: &str, customer: &str) -> String {
    let event = Event::new(id, customer, 1).email(&format!("{id}@example.com"));
    event.json().to_string()
}

#[track_caller]
fn is_delivered(app: &TestApp, id: &str, customer: &str) {
    let expected = Some(format!("{id}@example.com"));
    wait_for(id, || {
        (app.imprint.email(customer) == expected).then_some(())
    });
}

/// FAULTS N49: the bridge refuses a request without the headers of a signature before it reads the body.
#[test]
fn a_request_without_a_signature_is_refused_before_its_body() {
    let sources = Sources::new(WHSEC);
    sources.add("crm", "kind = \"standard_webhooks\"");
    let app = sources.start();
    let head = "POST /v1/sources/crm/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 10\r\nexpect: 100-continue\r\n";
    let now = Clock::machine().wall().as_millis() / 1000;
    let signature = format!(
        "webhook-id: w\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,c2lnbmF0dXJl\r\n"
    );
    for (lines, status) in [("", 401), (signature.as_str(), 100)] {
        let mut connection = Connection::open(app.ingress()).unwrap();
        let head = format!("{head}{lines}\r\n");
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.answer().unwrap().status, status, "{lines:?}");
    }
}

/// FAULTS X01, S06: the bridge accepts signatures of another Standard Webhooks implementation, and both keys during a
/// rotation.
#[test]
fn signatures_of_the_package_standardwebhooks_are_accepted() {
    const PATH: &str = "/v1/sources/crm/events";
    let sources = Sources::new(WHSEC);
    sources.add("crm", "kind = \"standard_webhooks\"");
    let app = sources.start();
    let events = [("w-1", WHSEC[0]), ("w-2", WHSEC[1]), ("w-3", WHSEC_GONE)];
    let bodies = events.map(|(id, _)| email(id, &format!("C-{id}")));
    let cases: Vec<_> = events
        .iter()
        .zip(&bodies)
        .map(|((id, secret), body)| json!({"id": id, "secret": secret, "body": body}))
        .collect();
    let signed = python("standard_webhooks.py", &["sign"], &json!(cases));
    let signed: Vec<Lines> = signed.iter().map(lines).collect();

    check(
        &post(&app, PATH, &signed[2], &bodies[2]),
        401,
        "a key that is gone",
    );
    for body in changed(&bodies[0]) {
        check(&post(&app, PATH, &signed[0], &body), 401, &body);
    }
    for name in ["webhook-id", "webhook-timestamp"] {
        for lines in with_changed(&signed[0], name) {
            check(
                &post(&app, PATH, &lines, &bodies[0]),
                401,
                &format!("{lines:?}"),
            );
        }
    }
    for index in [0, 1] {
        let (id, _) = events[index];
        check(&post(&app, PATH, &signed[index], &bodies[index]), 202, id);
        is_delivered(&app, id, &format!("C-{id}"));
    }
}

/// FAULTS S07: the bridge uses a replaced secret file without a restart. If a secret file cannot be read, the last
/// secrets stay in use.
#[test]
fn a_new_secret_is_used_without_a_restart() {
    const PATH: &str = "/v1/sources/crm/events";
    let sources = Sources::new(WHSEC);
    sources.add("crm", "kind = \"standard_webhooks\"");
    let app = sources.start();
    let signed = |id: &str, secret: &str| -> Lines {
        let key = SigningKey::parse(&SecretString::from(secret)).unwrap();
        let body = email(id, "C-1");
        let lines = key.sign(id, Clock::machine().wall(), body.as_bytes());
        lines
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    let post =
        |id: &str, secret: &str| post(&app, PATH, &signed(id, secret), &email(id, "C-1")).status;
    assert_eq!((post("w-1", WHSEC[0]), post("w-2", WHSEC_GONE)), (202, 401));
    std::fs::write(sources.0.path().join("first"), "not a secret").unwrap();
    std::fs::write(sources.0.path().join("second"), WHSEC_GONE).unwrap();
    assert_eq!(post("w-3", WHSEC[0]), 202);
    std::fs::write(sources.0.path().join("first"), WHSEC[1]).unwrap();
    // The bridge reads the secret files every 3 s, and possibly begins to wait for the next read only now.
    let step = Duration::from_millis(100);
    app.advance_until("the new secret is used", step, |_| {
        post("w-4", WHSEC_GONE) == 202
    });
    assert_eq!((post("w-5", WHSEC[0]), post("w-6", WHSEC[1])), (401, 202));
    is_delivered(&app, "w-6", "C-1");
}

/// FAULTS S13: a signature that does not cover an attribute in a header lets anybody on the way change the attribute.
/// Without the setting `unsigned_headers`, the bridge refuses the content mode.
#[test]
fn an_attribute_that_the_signature_does_not_cover_is_refused() {
    let sources = Sources::new(WHSEC);
    let unsigned = "unsigned_headers = [\"ce-source\", \"ce-time\", \"ce-type\"]";
    sources.add("crm", "kind = \"standard_webhooks\"");
    sources.add(
        "relaxed",
        &format!("kind = \"standard_webhooks\"\n{unsigned}"),
    );
    let app = sources.start();
    let binary = |source: &str, id: &str, signed_id: &str, extra: &[(&str, &str)]| {
        let event = Event::new(id, "C-1", 1).email("w@example.com");
        let body = event.json()["data"].to_string();
        let key = SigningKey::parse(&SecretString::from(WHSEC[0])).unwrap();
        let signature = key.sign(signed_id, Clock::machine().wall(), body.as_bytes());
        let mut headers = vec![
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/crm/us"),
            ("ce-type", "customer.changed"),
            ("ce-time", "2025-02-13T19:08:07.000Z"),
        ];
        headers.extend(extra);
        headers.extend(
            signature
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let target = format!("POST /v1/sources/{source}/events");
        ask(app.ingress(), &target, &headers, &body).unwrap()
    };
    let refused = binary("crm", "w-1", "w-1", &[]);
    check(&refused, 415, "no attribute but the id is signed");
    for name in ["ce-source", "ce-time", "ce-type"] {
        assert!(refused.body.contains(name), "{}", refused.body);
    }
    assert!(!refused.body.contains("ce-id"), "{}", refused.body);
    check(
        &binary("relaxed", "w-1", "w-1", &[]),
        202,
        "the operator accepts it",
    );
    let other_id = binary("relaxed", "w-2", "w-1", &[]);
    check(&other_id, 401, "the signature covers another id");
    let subject = binary("relaxed", "w-3", "w-3", &[("ce-subject", "P-1")]);
    check(&subject, 415, "the list does not have the subject");
    wait_for("the accepted event is delivered", || {
        (app.imprint.email("C-1").as_deref() == Some("w@example.com")).then_some(())
    });
    let metrics = app.ops_get("/metrics").body;
    for line in [
        "imprint_bridge_unsigned_headers{source=\"crm\"} 0",
        "imprint_bridge_unsigned_headers{source=\"relaxed\"} 3",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// FAULTS X01: the package `standardwebhooks` accepts the signatures of the bridge's `SigningKey`.
#[test]
fn the_package_standardwebhooks_accepts_our_signatures() {
    let key = SigningKey::parse(&SecretString::from(WHSEC[0])).unwrap();
    let body = email("w-1", "C-1");
    let lines: Lines = key
        .sign("w-1", Clock::machine().wall(), body.as_bytes())
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let case = |secret: &str, lines: &Lines, body: &str| {
        let headers: BTreeMap<_, _> = lines.iter().cloned().collect();
        json!({"secret": secret, "headers": headers, "body": body})
    };
    let mut cases = vec![case(WHSEC[0], &lines, &body), case(WHSEC[1], &lines, &body)];
    cases.extend(changed(&body).map(|body| case(WHSEC[0], &lines, &body)));
    for name in ["webhook-id", "webhook-timestamp"] {
        cases.extend(with_changed(&lines, name).map(|lines| case(WHSEC[0], &lines, &body)));
    }
    let verified = python("standard_webhooks.py", &["verify"], &json!(cases));
    assert_eq!(verified.len(), cases.len());
    assert_eq!(verified[0], true);
    for (verified, case) in verified.iter().zip(&cases).skip(1) {
        assert_eq!(*verified, false, "{case}");
    }
}

/// Reads the signature recipes from the table in config/sources/REFERENCE.md: the sender, and the settings for `[auth]`.
fn recipes() -> Vec<(String, String)> {
    let table = include_str!("../../config/sources/REFERENCE.md");
    let rows = table.lines().filter(|line| line.contains("`header = "));
    let recipe = |row: &str| {
        let mut cells = row.split(" | ");
        let sender = cells.next().unwrap().trim_start_matches("| ").to_owned();
        let settings: Vec<_> = cells
            .next()
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        (sender, format!("kind = \"hmac\"\n{}", settings.join("\n")))
    };
    rows.map(recipe).collect()
}

/// FAULTS N684: the signature recipe of each sender, with two secrets, accepts the signatures that independent code makes.
#[test]
fn the_recipes_accept_the_signatures_of_their_senders() {
    let recipes = recipes();
    assert_eq!(recipes.len(), SENDERS);
    let sources = Sources::new(SECRETS);
    for (index, (_, settings)) in recipes.iter().enumerate() {
        sources.add(&format!("sender{index}"), settings);
    }
    let app = sources.start();
    for (index, (sender, settings)) in recipes.iter().enumerate() {
        let path = format!("/v1/sources/sender{index}/events?from={index}");
        let body =
            |secret: &str| email(&format!("{index}-{secret}"), &format!("C-{index}-{secret}"));
        let case = |secret: &str| {
            let body = body(secret);
            json!({"sender": sender, "secret": secret, "path": path, "body": body})
        };
        let [today, tomorrow] = SECRETS;
        let secrets = [today, tomorrow, SECRET_GONE];
        let signed = python("recipes.py", &[], &json!(secrets.map(case)));
        let signed: Vec<Lines> = signed.iter().map(lines).collect();

        check(
            &post(&app, &path, &signed[2], &body(SECRET_GONE)),
            401,
            sender,
        );
        check(&post(&app, &path, &Vec::new(), &body(today)), 401, sender);
        for body in changed(&body(today)).step_by(7) {
            check(&post(&app, &path, &signed[0], &body), 401, sender);
        }
        for (name, value) in &signed[0] {
            // Stripe's signature header ends with an item that the bridge does not read.
            let read = value.find(",v0=").unwrap_or(value.len());
            for lines in with_changed(&signed[0], name).take(read) {
                let context = format!("{sender}: {lines:?}");
                check(&post(&app, &path, &lines, &body(today)), 401, &context);
            }
        }
        let elsewhere = post(&app, &format!("{path}&x"), &signed[0], &body(today));
        let is_path_signed = settings.contains("{path}");
        check(&elsewhere, if is_path_signed { 401 } else { 202 }, sender);
        for (index, secret) in [today, tomorrow].into_iter().enumerate() {
            check(
                &post(&app, &path, &signed[index], &body(secret)),
                202,
                sender,
            );
        }
        for secret in [today, tomorrow] {
            let id = format!("{index}-{secret}");
            is_delivered(&app, &id, &format!("C-{id}"));
        }
    }
}

/// `send` signs as the file of the source says, and `check` warns about sources whose signature covers no timestamp.
#[test]
fn send_signs_as_the_file_of_the_source_says() {
    let sources = Sources::new(SECRETS);
    let recipes = recipes();
    for (index, (_, settings)) in recipes.iter().enumerate() {
        sources.add(&format!("sender{index}"), settings);
    }
    let app = sources.start();
    for (index, (sender, _)) in recipes.iter().enumerate() {
        let (name, id) = (format!("sender{index}"), format!("s-{index}"));
        let file = sources.file(&name);
        let file = file.to_str().unwrap();
        let more = ["--source-file", file];
        let sent = commands::send(app.ingress(), &name, &more, &email(&id, &id));
        assert!(
            sent.status.success(),
            "{sender}: {}",
            commands::text(&sent.stderr)
        );
        let gone = sources.0.path().join("gone");
        std::fs::write(&gone, SECRET_GONE).unwrap();
        let more = [&more[..], &["--secret-file", gone.to_str().unwrap()]].concat();
        let refused = commands::send(app.ingress(), &name, &more, &email("gone", "gone"));
        assert_eq!(refused.status.code(), Some(1), "{sender}");
        is_delivered(&app, &id, &id);
    }
    let settings = app.files.settings();
    let files = settings
        .iter()
        .flat_map(|file| ["--config", file.to_str().unwrap()]);
    let arguments: Vec<_> = ["check"].into_iter().chain(files).collect();
    let report = commands::text(&commands::run(&arguments, "").stdout);
    let timeless = recipes
        .iter()
        .filter(|(_, settings)| !settings.contains("{timestamp}"));
    let warned = report.matches("can send it again").count();
    assert_eq!(
        (warned, report.ends_with("no errors\n")),
        (timeless.count(), true),
        "{report}"
    );
}
