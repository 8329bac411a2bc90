//! Tests of authentication by a token, by a password and with the header names of Svix, and of the reports about
//! unusable secrets.

use std::path::PathBuf;

use imprint_bridge::ingress::auth::SigningKey;
use imprint_bridge::time::Clock;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http::{Answer, ask};
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp, wait_for};

const TOKEN: &str = "token-for-the-crm-source";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A temporary folder with one source of plain JSON, its schema and its secret files.
pub(crate) struct SourceFolder(TempDir);

impl SourceFolder {
    /// Creates the source `probe`. `top` has the settings before the first table, `auth` has the table `[auth]` without
    /// its header, and `more` has further tables. `$` in `auth` stands for the folder of the secret files.
    pub(crate) fn new(top: &str, auth: &str, more: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path("sources")).unwrap();
        std::fs::create_dir(folder.path("schemas")).unwrap();
        std::fs::write(folder.path("schemas/any.json"), "{}").unwrap();
        let auth = auth.replace('$', folder.0.path().to_str().unwrap());
        let text = format!("{top}\n[auth]\n{auth}\n{more}");
        std::fs::write(folder.path("sources/probe.toml"), text).unwrap();
        folder
    }

    /// Creates the source `probe` with this authentication and one event type.
    pub(crate) fn with_auth(auth: &str) -> Self {
        Self::new("", auth, BODY)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn secret(self, name: &str, secret: &str) -> Self {
        std::fs::write(self.path(name), secret).unwrap();
        self
    }

    pub(crate) fn settings(&self) -> String {
        let (sources, schemas) = (self.path("sources"), self.path("schemas"));
        format!("sources_dir = {sources:?}\nschemas_dir = {schemas:?}")
    }

    pub(crate) fn start(&self) -> TestApp {
        TestApp::setup().settings(self.settings()).start()
    }

    /// Runs a command with the settings of this folder, and returns the exit code, the output and the error output.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let file = self.path("settings.toml");
        std::fs::write(&file, self.settings()).unwrap();
        let config = ["--config", file.to_str().unwrap()];
        let output = commands::run(&[arguments, &config].concat(), "");
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| commands::text(bytes));
        (output.status.code(), stdout, stderr)
    }
}

const BODY: &str = r#"
[body]
format = "json"
id = ".id"
type = '"p"'
[events.p]
schema = "any.json"
customer.imprint_id = ".cid"
[events.p.update]
email = ".email"
"#;

/// Posts a body to the source `probe`.
pub(crate) fn post(app: &TestApp, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [&[JSON], headers].concat();
    ask(
        app.ingress(),
        "POST /v1/sources/probe/events",
        &headers,
        body,
    )
    .unwrap()
}

fn body(id: &str) -> String {
    json!({"id": id, "cid": "C-1", "email": format!("{id}@example.com")}).to_string()
}

fn is_delivered(app: &TestApp, id: &str) {
    let expected = Some(format!("{id}@example.com"));
    wait_for(id, || (app.imprint.email("C-1") == expected).then_some(()));
}

/// FAULTS N340: the sender can send only a fixed token, in a header that the sender names.
#[test]
fn a_token_in_the_senders_own_header_is_accepted() {
    let auth =
        "kind = \"token\"\nheader = \"x-crm-token\"\ntoken_files = [\"$/today\", \"$/tomorrow\"]";
    let folder = SourceFolder::with_auth(auth)
        .secret("today", TOKEN)
        .secret("tomorrow", "token-for-tomorrow\n");
    let app = folder.start();
    for (headers, status) in [
        (&[("x-crm-token", TOKEN)][..], 202),
        (&[("X-CRM-Token", "token-for-tomorrow")], 202),
        (&[("x-crm-token", "token-for-nobody")], 401),
        (&[("x-crm-token", TOKEN), ("x-crm-token", TOKEN)], 401),
        (&[("authorization", "Bearer token-for-the-crm-source")], 401),
        (&[], 401),
    ] {
        let answer = post(&app, headers, &body("to-1"));
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
    }
    is_delivered(&app, "to-1");
}

/// FAULTS N340: the sender can send only a user name and a password.
#[test]
fn basic_authentication_is_accepted() {
    let auth = "kind = \"basic\"\nuser = \"crm\"\npassword_files = [\"$/password\"]";
    let folder = SourceFolder::with_auth(auth).secret("password", TOKEN);
    let app = folder.start();
    for (line, status) in [
        // crm:token-for-the-crm-source
        ("Basic Y3JtOnRva2VuLWZvci10aGUtY3JtLXNvdXJjZQ==", 202),
        // srm:token-for-the-crm-source
        ("Basic c3JtOnRva2VuLWZvci10aGUtY3JtLXNvdXJjZQ==", 401),
        ("Bearer token-for-the-crm-source", 401),
    ] {
        let answer = post(&app, &[("authorization", line)], &body("ba-1"));
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
    }
    let denied = post(&app, &[], &body("ba-2"));
    let challenge = denied.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Basic realm="), "{challenge}");
    is_delivered(&app, "ba-1");
}

/// The command `send` authenticates with every kind as the source file specifies.
#[test]
fn send_authenticates_with_a_token_and_with_a_password() {
    for auth in [
        "kind = \"token\"\nheader = \"authorization\"\nprefix = \"Token \"\ntoken_files = [\"$/secret\"]",
        "kind = \"basic\"\nuser = \"crm\"\npassword_files = [\"$/secret\"]",
    ] {
        let folder = SourceFolder::with_auth(auth).secret("secret", TOKEN);
        let app = folder.start();
        let file = folder.path("sources/probe.toml");
        let more = ["--plain", "--source-file", file.to_str().unwrap()];
        let sent = commands::send(app.ingress(), "probe", &more, &body("se-1"));
        assert!(sent.status.success(), "{}", commands::text(&sent.stderr));
        is_delivered(&app, "se-1");
    }
}

/// FAULTS N341: Svix signs as Standard Webhooks specifies, but sends other header names.
#[test]
fn the_header_names_of_svix_are_accepted() {
    let auth = "kind = \"standard_webhooks\"\nsecret_files = [\"$/secret\"]";
    let folder = SourceFolder::with_auth(auth).secret("secret", WHSEC);
    let app = folder.start();
    let key = SigningKey::parse(&SecretString::from(WHSEC)).unwrap();
    let signed = key.sign("msg-1", Clock::machine().wall(), body("sv-1").as_bytes());
    let names = ["svix-id", "svix-timestamp", "svix-signature"];
    let lines = names.into_iter().zip(&signed);
    let lines: Vec<_> = lines
        .map(|(name, (_, value))| (name, value.as_str()))
        .collect();
    let accepted = post(&app, &lines, &body("sv-1"));
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    assert_eq!(post(&app, &lines, &body("sv-2")).status, 401);
    assert_eq!(post(&app, &lines[..2], &body("sv-1")).status, 401);
    is_delivered(&app, "sv-1");
}

/// FAULTS N342: the vendor gives out secrets that are shorter than the minimum. The operator must state that the bridge
/// accepts them.
#[test]
fn a_short_secret_needs_a_stated_minimum() {
    let token = "kind = \"token\"\nheader = \"x-key\"\ntoken_files = [\"$/secret\"]";
    let hmac =
        "kind = \"hmac\"\nheader = \"x-s\"\nencoding = \"hex\"\nsecret_files = [\"$/secret\"]";
    let webhooks = "kind = \"standard_webhooks\"\nsecret_files = [\"$/secret\"]";
    for (auth, secret, bytes) in [
        (token, "eight-ch", 8),
        (hmac, "eight-ch", 8),
        (webhooks, "whsec_c2l4dGVlbi1ieXRlcy1pcw==", 16),
    ] {
        let folder = SourceFolder::with_auth(auth).secret("secret", secret);
        let (code, _, errors) = folder.run(&["check"]);
        let named = errors.contains(folder.path("secret").to_str().unwrap());
        assert!(code == Some(2) && named, "{errors}");
        assert!(
            errors.contains(&format!("{bytes} bytes")) && errors.contains("auth.secret_bytes_min"),
            "{errors}"
        );
        assert!(!errors.contains(secret), "{errors}");
        let stated = format!("{auth}\nsecret_bytes_min = {bytes}");
        let folder = SourceFolder::with_auth(&stated).secret("secret", secret);
        let (code, report, errors) = folder.run(&["check"]);
        assert_eq!(code, Some(0), "{report}{errors}");
        let is_warned = report.contains("an attacker can guess a short secret");
        assert_eq!(is_warned, bytes < 16, "{report}");
        drop(folder.start());
    }
}

/// FAULTS N343: `check` reports every secret file that `serve` could not use, by its name and without its content.
#[test]
fn check_reports_missing_short_and_wrongly_encoded_secrets() {
    let auth = "kind = \"hmac\"\nheader = \"x-s\"\nencoding = \"hex\"\nsecret_encoding = \"hex\"\n\
                secret_files = [\"$/missing\", \"$/short\", \"$/base64\", \"$/lines\", \"$/good\"]";
    let folder = SourceFolder::with_auth(auth)
        .secret("short", "c0ffee")
        .secret("base64", "c2l4dGVlbi1ieXRlcy1pcw==")
        .secret("lines", "one line\nand another\n")
        .secret("good", "00112233445566778899aabbccddeeff");
    let (code, report, errors) = folder.run(&["check"]);
    assert_eq!(code, Some(2), "{report}{errors}");
    let line = |text: &str, name: &str| {
        let path = folder.path(name).to_str().unwrap().to_owned();
        let mut lines = text.lines();
        let found = lines.find(|line| line.contains(&path));
        found.unwrap_or_default().to_owned()
    };
    assert!(
        line(&report, "missing").contains("serve needs this file"),
        "{report}"
    );
    assert!(line(&errors, "short").contains("3 bytes"), "{errors}");
    assert!(line(&errors, "base64").contains("hexadecimal"), "{errors}");
    assert!(
        line(&errors, "lines").contains("has several lines; each secret has a file of its own"),
        "{errors}"
    );
    assert_eq!(line(&errors, "good"), "", "{errors}");
    assert!(errors.ends_with("3 errors\n"), "{errors}");
    for secret in ["c0ffee", "c2l4", "another"] {
        assert!(!errors.contains(secret), "{errors}");
    }
}

/// FAULTS N348: the operator sees why the bridge denied a request; the sender sees the same answer in every case.
#[test]
fn the_operator_sees_why_a_request_was_denied() {
    let auth = "kind = \"hmac\"\nheader = \"x-sig\"\nencoding = \"hex\"\nsigned = \"{timestamp}.{body}\"\n\
                timestamp_header = \"x-time\"\nsecret_files = [\"$/secret\"]";
    let folder = SourceFolder::with_auth(auth).secret("secret", "a-secret-of-the-crm");
    let app = TestApp::setup()
        .settings(folder.settings())
        .operator("ann", "token-of-ann-0123456789")
        .start();
    let now = (Clock::machine().wall().as_millis() / 1000).to_string();
    let good = "00".repeat(32);
    let mut answers = Vec::new();
    for headers in [
        &[("x-time", now.as_str())][..],
        &[("x-time", now.as_str()), ("x-sig", "canary")],
        &[("x-time", "1700000000"), ("x-sig", good.as_str())],
        &[("x-time", now.as_str()), ("x-sig", good.as_str())],
        &[("x-time", now.as_str()), ("x-sig", good.as_str())],
    ] {
        let answer = post(&app, headers, &body("canary"));
        assert_eq!(answer.status, 401, "{headers:?}");
        let challenge = answer.header("www-authenticate").map(str::to_owned);
        answers.push((answer.body, challenge));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let token = [("authorization", "Bearer token-of-ann-0123456789")];
    let get = |query: &str| {
        let line = format!("GET /admin/v1/denied-requests{query}");
        ask(app.ops(), &line, &token, "").unwrap()
    };
    let listed = get("?source=probe");
    assert_eq!(listed.status, 200, "{}", listed.body);
    assert!(!listed.body.contains("canary"), "{}", listed.body);
    let listed = listed.json();
    let rows = listed["requests"].as_array().unwrap();
    let row = |reason: &str| rows.iter().find(|row| row["reason"] == reason).unwrap();
    for (reason, count, part) in [
        ("missing", 1, "no header x-sig"),
        ("malformed", 1, "auth.encoding"),
        (
            "stale",
            1,
            "before the bridge's clock; the tolerance is 300 s",
        ),
        (
            "mismatch",
            2,
            "for the text {timestamp}.{body} with a body of",
        ),
    ] {
        let row = row(reason);
        let detail = row["last_detail"].as_str().unwrap();
        assert_eq!(row["count"], count, "{row}");
        assert!(detail.contains(part), "{row}");
    }
    assert_eq!(rows.len(), 4);
    assert_eq!(get("?source=other").json(), json!({"requests": []}));
    assert_eq!(get("?sorce=probe").status, 400);
    let denied = ask(app.ops(), "GET /admin/v1/denied-requests", &[], "").unwrap();
    assert_eq!(denied.status, 401);
}

/// FAULTS N348: the log names the reason and the source, and no value of the request.
#[test]
fn the_log_names_the_reason_of_a_denied_request() {
    let auth = "kind = \"token\"\nheader = \"x-key\"\ntoken_files = [\"$/secret\"]";
    let folder = SourceFolder::with_auth(auth).secret("secret", TOKEN);
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, &folder.settings());
    let mut process = Process::serve(&files);
    let (ingress, _) = process.ready();
    let line = "POST /v1/sources/probe/events";
    for headers in [&[][..], &[("x-key", "canary-token-0123456789")]] {
        let headers = [&[JSON], headers].concat();
        let answer = ask(ingress, line, &headers, &body("canary")).unwrap();
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0), "{}", process.log());
    let log = process.log();
    let denied = log.lines().filter(|line| line.contains("denied a request"));
    let denied: Vec<Value> = denied
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reasons = denied.iter().map(|line| {
        assert_eq!(line["source"], "probe", "{line}");
        assert!(line["detail"].as_str().unwrap().contains("x-key"), "{line}");
        line["reason"].as_str().unwrap()
    });
    assert_eq!(Vec::from_iter(reasons), ["missing", "mismatch"]);
}

/// A captured request for `verify`: the authentication of the source, the arguments, the body, the exit code, and a part
/// of the report.
type Captured = (
    &'static str,
    &'static [&'static str],
    &'static str,
    i32,
    &'static str,
);

const CAPTURED_SECRET: &str = "a-secret-of-the-crm-";
const CAPTURED: &str = r#"{"id":"v-1"}"#;
const HMAC: &str =
    "kind = \"hmac\"\nheader = \"x-sig\"\nencoding = \"hex\"\nsecret_files = [\"$/secret\"]";
const TIMED: &str = "kind = \"hmac\"\nheader = \"x-sig\"\nencoding = \"hex\"\nsecret_files = [\"$/secret\"]\n\
                     signed = \"{timestamp}.{body}\"\ntimestamp_header = \"x-time\"";
const OWN_HEADER: &str = "kind = \"token\"\nheader = \"x-key\"\ntoken_files = [\"$/secret\"]";
// The signatures come from Python's module hmac.
const SHA256: &str = "x-sig: 3831874a474976615acf677614701d543bf08f1bfaa53355154274174f86e71a";
const HEX_IN_BASE64: &str = "x-sig: MzgzMTg3NGE0NzQ5NzY2MTVhY2Y2Nzc2MTQ3MDFkNTQzYmYwOGYxYmZhYTUzMzU1MTU0Mjc0MTc0Zjg2ZTcxYQ==";
const SHA1: &str = "x-sig: 7e7121757be8cf0853a0ae6b39984b440eab8548";
const TIMED_SHA256: &str =
    "x-sig: 46c31433094d801492b1b106f71cffc1c07f248a32e0de46852df471fedb5246";
const PREFIXED: &str =
    "x-sig: sha256=3831874a474976615acf677614701d543bf08f1bfaa53355154274174f86e71a";
const LISTED: &str =
    "x-sig: t=1700000000,v1=3831874a474976615acf677614701d543bf08f1bfaa53355154274174f86e71a";
const NONCE_SHA256: &str =
    "x-sig: a3712f646039c293fc951356148dd287e4e9529f0efdedd4ee9920453821192c";
const SPACED_SHA256: &str =
    "x-sig: 3e4e31e59c602472624b97a55a9ebddcb9f71e5d2c93c91d8f8243e2716ae9a5";
const PREFIX: &str = "kind = \"hmac\"\nheader = \"x-sig\"\nencoding = \"hex\"\nprefix = \"sha1=\"\nsecret_files = [\"$/secret\"]";
const TIME: &str = "x-time: 1700000000";
const AT: &str = "--at=2023-11-14T22:13:21Z";

const EXAMINED: [Captured; 11 + 10] = [
    (
        HMAC,
        &["-H", SHA256],
        "{\n  \"id\": \"v-1\"\n}\n",
        2,
        "the JSON of the body has no white space",
    ),
    (
        HMAC,
        &["-H", SHA256],
        CAPTURED,
        0,
        "secret makes the signature",
    ),
    (
        HMAC,
        &["-H", SHA256],
        "{\"id\":\"v-1\"}\n",
        2,
        "no line break or white space at its end",
    ),
    (
        HMAC,
        &["-H", SHA1],
        CAPTURED,
        2,
        "auth.algorithm is \"sha1\"",
    ),
    (HMAC, &["-H", SHA256], "{}", 2, "no common mistake"),
    (HMAC, &[], CAPTURED, 2, "no header x-sig"),
    (
        TIMED,
        &["-H", TIME, "-H", TIMED_SHA256, AT],
        CAPTURED,
        0,
        "{timestamp} is 1700000000",
    ),
    (
        TIMED,
        &["-H", TIME, "-H", TIMED_SHA256],
        CAPTURED,
        2,
        "before the bridge's clock",
    ),
    (
        TIMED,
        &["-H", TIME, "-H", SHA256, AT],
        CAPTURED,
        2,
        "auth.signed is \"{body}\"",
    ),
    (
        OWN_HEADER,
        &["-H", "authorization: Bearer a-secret-of-the-crm-"],
        CAPTURED,
        2,
        "the header authorization contains the secret after other text",
    ),
    (
        OWN_HEADER,
        &["-H", "x-key: a-secret-of-the-crm-"],
        CAPTURED,
        0,
        "secret: matches",
    ),
    // FAULTS N465: a wrong unit, a wrong prefix, a forgotten header, and JSON that another program wrote again.
    (
        TIMED,
        &["-H", "x-time: 1700000000000", "-H", TIMED_SHA256, AT],
        CAPTURED,
        2,
        "the time is right if auth.timestamp_unit is \"milliseconds\"",
    ),
    (
        TIMED,
        &["-H", "x-time: 2023-11-14T22:13:20Z", "-H", TIMED_SHA256, AT],
        CAPTURED,
        2,
        "the time is right if auth.timestamp_unit is \"rfc3339\"",
    ),
    (
        HMAC,
        &["-H", PREFIXED],
        CAPTURED,
        2,
        "the signature matches if auth.prefix is \"sha256=\"",
    ),
    (
        PREFIX,
        &["-H", SHA256],
        CAPTURED,
        2,
        "the signature matches if auth.prefix is \"\"",
    ),
    (
        PREFIX,
        &["-H", PREFIXED],
        CAPTURED,
        2,
        "the signature matches if auth.prefix is \"sha256=\"",
    ),
    (
        HMAC,
        &["-H", LISTED, "-H", TIME],
        CAPTURED,
        2,
        "auth.separator is \",\" and auth.prefix is \"v1=\"",
    ),
    (
        HMAC,
        &["-H", TIMED_SHA256, "-H", TIME],
        CAPTURED,
        2,
        "the signature matches if auth.signed is \"{timestamp}.{body}\", auth.timestamp_header is \"x-time\" and auth.timestamp_unit is \"seconds\"",
    ),
    (
        HMAC,
        &["-H", NONCE_SHA256, "-H", "x-nonce: abc"],
        CAPTURED,
        2,
        "the signature matches if auth.signed is \"{body}\\n{header:x-nonce}\"",
    ),
    (
        HMAC,
        &["-H", SPACED_SHA256],
        CAPTURED,
        2,
        "wrote it again after the sender signed it",
    ),
    (
        HMAC,
        &["-H", SHA256],
        "{}",
        2,
        "parses the JSON and writes it again",
    ),
];

/// FAULTS N348: `verify` shows the signed text of a captured request, and the mistake that explains a difference.
#[test]
fn verify_shows_the_signed_text_and_the_mistake() {
    for (auth, options, body, code, part) in EXAMINED {
        let folder = SourceFolder::with_auth(auth).secret("secret", CAPTURED_SECRET);
        let file = folder.path("body");
        std::fs::write(&file, body).unwrap();
        let arguments = ["verify", "--source", "probe", file.to_str().unwrap()];
        let (found, report, errors) = folder.run(&[&arguments[..], options].concat());
        assert_eq!(found, Some(code), "{options:?}: {report}{errors}");
        assert!(report.contains(part), "{part} in {report}");
        assert!(!report.contains("v-1"), "{report}");
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// FAULTS N1468: of many signatures, `verify` and the bridge compare the same ones.
#[test]
fn verify_compares_as_many_signatures_as_the_bridge() {
    let auth = format!("{HMAC}\nprefix = \"v1=\"\nseparator = \",\"");
    let right = SHA256.trim_start_matches("x-sig: ");
    for (others, is_right) in [(7, true), (8, false)] {
        let line = format!("{}v1={right}", "v1=00,".repeat(others));
        let folder = SourceFolder::with_auth(&auth).secret("secret", CAPTURED_SECRET);
        let file = folder.path("body");
        std::fs::write(&file, CAPTURED).unwrap();
        let header = format!("x-sig: {line}");
        let file = file.to_str().unwrap();
        let (code, report, _) = folder.run(&["verify", "--source", "probe", "-H", &header, file]);
        assert_eq!(code == Some(0), is_right, "{report}");
        let answer = post(&folder.start(), &[("x-sig", &line)], CAPTURED);
        assert_eq!(answer.status != 401, is_right, "{others}: {}", answer.body);
    }
}

/// The settings of a source, the options, and parts of the report: one that it has, and one that it must not have.
type Explained = (String, Vec<String>, &'static str, &'static str);

/// Returns the options for a request with these headers.
fn captured(lines: &[&str]) -> Vec<String> {
    let header = |line: &&str| ["-H".to_owned(), (*line).to_owned()];
    let mut options: Vec<String> = lines.iter().flat_map(header).collect();
    options.push(AT.to_owned());
    options
}

fn with(settings: &str) -> String {
    format!("{HMAC}\n{settings}")
}

const ANOTHER: &str = "another secret";
const ADD: &str = "--header";
// The signatures come from Python's module hmac.
const V0: &str = "x-sig: 29523a84fd9a3491c76fb296817500e5ee8315070f9567cb9db979d075faee83";
const URL: &str = "x-sig: 18ba960ef9402065a2fdaa457e8b553572d5b4fcb8f9547be4454ccaeb5fa1f8";
const TIMED_URL: &str = "x-sig: e0809bed950357557118dd3417820840adc95f26022ba4c601775c8f6f1d9948";
const TIMED_CODE: &str = "46c31433094d801492b1b106f71cffc1c07f248a32e0de46852df471fedb5246";

/// Returns requests in which the sender signed another text than the body.
fn other_texts() -> Vec<Explained> {
    let host = "host: bridge.example.com";
    let v0 = "auth.signed is \"v0:{timestamp}:{body}\"";
    let url = "auth.signed is \"{method}https://bridge.example.com{path}{body}\"";
    let timed_url = "auth.signed is \"{method}https://bridge.example.com{path}{body}{timestamp}\"";
    let hmac = || HMAC.to_owned();
    vec![
        (hmac(), captured(&[V0, TIME]), v0, ANOTHER),
        (TIMED.to_owned(), captured(&[V0, TIME]), v0, ANOTHER),
        (hmac(), captured(&[URL, host]), url, ANOTHER),
        (
            hmac(),
            captured(&[TIMED_URL, host, TIME]),
            timed_url,
            ANOTHER,
        ),
    ]
}

/// Returns requests whose signature or signing time is an item of a list, or is missing.
fn other_lists() -> Vec<Explained> {
    let list = "prefix = \"v1=\"\nseparator = \",\"\nsigned = \"{timestamp}.{body}\"\ntimestamp_header = \"x-sig\"\ntimestamp_prefix = \"t=\"";
    let semicolon = format!("x-sig: t=1700000000;v1={TIMED_CODE}");
    let comma = format!("x-sig: t=1700000000,v1={TIMED_CODE}");
    let items = "prefix = \"v1=\"\nseparator = \",\"";
    let is_list = "auth.separator is \";\" and auth.prefix is \"v1=\"";
    let has_time = "auth.timestamp_prefix is \"t=\"";
    let no_item = "no item between auth.separator \",\" begins with auth.prefix \"v1=\"";
    let (no_time, other_time) = (
        "the request has no header x-time",
        "auth.timestamp_header is \"x-at\"",
    );
    let (hmac, timed) = (|| HMAC.to_owned(), || TIMED.to_owned());
    let at = "x-at: 1700000000";
    vec![
        (with(list), captured(&[&semicolon]), is_list, ADD),
        (hmac(), captured(&[&comma]), has_time, ANOTHER),
        (with(items), captured(&["x-sig: t=1;v1=00"]), no_item, ADD),
        (timed(), captured(&[TIMED_SHA256]), no_time, ANOTHER),
        (timed(), captured(&[TIMED_SHA256, at]), other_time, ANOTHER),
        // FAULTS N1216
        (
            timed(),
            captured(&[TIMED_SHA256, TIME, TIME]),
            "the header x-time occurs 2 times",
            "auth.timestamp_prefix",
        ),
        // FAULTS N1343
        (
            hmac(),
            captured(&[SHA256, SHA256]),
            "nothing was compared with the secrets: the header x-sig occurs 2 times",
            ADD,
        ),
        (
            HMAC.replace("hex", "base64"),
            captured(&[HEX_IN_BASE64]),
            "the base64 text contains 64 hexadecimal digits",
            "was cut",
        ),
    ]
}

/// Returns requests whose signature is in another header, is none, or does not cover the path.
fn other_headers() -> Vec<Explained> {
    let moved = SHA256.replace("x-sig", "acme-sig");
    let unknown = format!("acme-sig: {}", "0".repeat(64));
    let is_moved = "the signature matches if auth.header is \"acme-sig\"";
    let is_cut =
        "the signature has 2 bytes, and a signature with auth.algorithm \"sha256\" has 32 bytes";
    let empty = "x-sig: 0077d3750f5341c330a657b0e4d13ffcc7ed2778e8282aad460f82590e596289";
    let mut receipt = captured(&[empty]);
    receipt.push("--method=GET".to_owned());
    receipt.push("--path=/v1/sources/probe/events/v-1".to_owned());
    let hmac = || HMAC.to_owned();
    let form = "in the form of a signature: acme-sig";
    let encoding = "is not in auth.encoding \"hex\"";
    let no_path = "auth.signed has no {path}";
    vec![
        (hmac(), captured(&[&moved]), is_moved, ADD),
        (hmac(), captured(&[&unknown]), form, ADD),
        (hmac(), captured(&["x-sig: 00aa"]), is_cut, ANOTHER),
        (hmac(), captured(&["x-sig: hello"]), encoding, ANOTHER),
        (hmac(), receipt, no_path, "the bridge accepts"),
    ]
}

/// FAULTS N900, N901: `verify` names the setting that differs from the sender's scheme, and says what the bridge answers.
#[test]
fn verify_names_the_setting_that_explains_the_signature() {
    let requests = [other_texts(), other_lists(), other_headers()];
    for (auth, options, part, other) in requests.concat() {
        let folder = SourceFolder::with_auth(&auth).secret("secret", CAPTURED_SECRET);
        let file = folder.path("body");
        std::fs::write(&file, CAPTURED).unwrap();
        let mut arguments = vec!["verify", "--source", "probe", file.to_str().unwrap()];
        arguments.extend(options.iter().map(String::as_str));
        let (code, report, errors) = folder.run(&arguments);
        assert_eq!(code, Some(2), "{options:?}: {report}{errors}");
        assert!(report.contains(part), "{part} in {report}");
        assert!(!report.contains(other), "{other} in {report}");
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// FAULTS N902: a sender that almost follows Standard Webhooks. The kind has no settings, so `verify` names those of `hmac`.
#[test]
fn verify_advises_no_setting_that_standard_webhooks_lacks() {
    const KIND: &str = "kind = \"standard_webhooks\"\nsecret_files = [\"$/secret\"]";
    const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let receipt = ["--method=GET", "--path=/v1/sources/probe/events/e-2"];
    let no_options: &[&str] = &[];
    for (id, time, signature, options, part) in [
        (
            "msg-1",
            "1700000000",
            "lxJiEY31J91iNucZDYeSP1bGSkmrlkkK9QpYffFpuY4=",
            no_options,
            "With auth.kind = \"hmac\", the signature matches if auth.prefix is \"\"",
        ),
        (
            "msg-1",
            "1700000000000",
            "v1,ZzDtQ5WJov42OqYDQHgW0bWFyBmsJnk+SIVIAYcgf7Q=",
            no_options,
            "Standard Webhooks has seconds",
        ),
        (
            "e-1",
            "1700000000",
            "v1,Y061hGfjBm6QBJN08OOfTlZlUFA8Vp9c6n3iLyrQgZY=",
            &receipt,
            "the sender must sign this id as the id of the message",
        ),
    ] {
        let folder = SourceFolder::with_auth(KIND).secret("secret", SECRET);
        let file = folder.path("body");
        std::fs::write(&file, CAPTURED).unwrap();
        let lines = [
            format!("webhook-id: {id}"),
            format!("webhook-timestamp: {time}"),
            format!("webhook-signature: {signature}"),
        ];
        let mut arguments = vec!["verify", "--source", "probe", file.to_str().unwrap(), AT];
        arguments.extend(lines.iter().flat_map(|line| ["-H", line]));
        arguments.extend(options);
        let (code, report, errors) = folder.run(&arguments);
        assert_eq!(code, Some(2), "{report}{errors}");
        assert!(report.contains(part), "{part} in {report}");
        assert!(!report.contains("auth.timestamp_unit"), "{report}");
    }
}

/// FAULTS N398: the secret stands in the wrong part of the request. `verify` names the part, and only settings that the
/// kind of the source has.
#[test]
fn verify_finds_the_secret_in_another_scheme() {
    const BASIC: &str = "kind = \"basic\"\nuser = \"crm\"\npassword_files = [\"$/secret\"]";
    const BEARER: &str = "kind = \"bearer\"\ntoken_files = [\"$/secret\"]";
    let plain = format!("authorization: {CAPTURED_SECRET}");
    let password = format!("x-api-key: {CAPTURED_SECRET}");
    // `fresh:SECRET` and `SECRET:` in base64, from Python's module base64.
    let other_user = "authorization: Basic ZnJlc2g6YS1zZWNyZXQtb2YtdGhlLWNybS0=";
    let as_user = "authorization: Basic YS1zZWNyZXQtb2YtdGhlLWNybS06";
    for (auth, header, part) in [
        (BASIC, other_user, "but not the user name in auth.user"),
        (BASIC, as_user, "as the user name of HTTP Basic"),
        (OWN_HEADER, as_user, "as the user name of HTTP Basic"),
        (OWN_HEADER, other_user, "set auth.kind = \"basic\""),
        (BEARER, other_user, "set auth.kind = \"basic\""),
        (BASIC, &plain, "contains the secret: check auth.kind"),
        (BEARER, &password, "contains the secret: check auth.kind"),
        (OWN_HEADER, &plain, "check auth.header, auth.prefix"),
    ] {
        let folder = SourceFolder::with_auth(auth).secret("secret", CAPTURED_SECRET);
        let file = folder.path("body");
        std::fs::write(&file, CAPTURED).unwrap();
        let file = file.to_str().unwrap();
        let arguments = ["verify", "--source", "probe", file, "-H", header];
        let (code, report, errors) = folder.run(&arguments);
        assert_eq!(code, Some(2), "{header}: {report}{errors}");
        assert!(report.contains(part), "{header}: {part} in {report}");
        let advises = report.contains("auth.header") || report.contains("auth.prefix");
        assert!(!advises || auth == OWN_HEADER, "{report}");
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// FAULTS N914: the value of HTTP Basic has the right password, and another mistake.
#[test]
fn verify_finds_the_mistake_in_a_value_of_http_basic() {
    const BASIC: &str = "kind = \"basic\"\nuser = \"crm\"\npassword_files = [\"$/secret\"]";
    // `crm:SECRET` with and without a line break at its end, and `SECRET`, in base64, from Python's module base64.
    let line_break = "authorization: Basic Y3JtOmEtc2VjcmV0LW9mLXRoZS1jcm0tCg==";
    let no_word = "authorization: Y3JtOmEtc2VjcmV0LW9mLXRoZS1jcm0t";
    let no_user = "authorization: Basic YS1zZWNyZXQtb2YtdGhlLWNybS0=";
    let plain = format!("authorization: Basic crm:{CAPTURED_SECRET}");
    for (header, part) in [
        (line_break, "the line break that `echo` adds"),
        (no_word, "not the word `Basic` before them"),
        (no_user, "contains the secret without a user name"),
        (&plain, "must encode USER:PASSWORD in base64"),
    ] {
        let folder = SourceFolder::with_auth(BASIC).secret("secret", CAPTURED_SECRET);
        let file = folder.path("body");
        std::fs::write(&file, CAPTURED).unwrap();
        let file = file.to_str().unwrap();
        let arguments = ["verify", "--source", "probe", file, "-H", header];
        let (code, report, errors) = folder.run(&arguments);
        assert_eq!(code, Some(2), "{header}: {report}{errors}");
        assert!(report.contains(part), "{header}: {part} in {report}");
        for other in ["no header contains a secret", "check auth.kind"] {
            assert!(!report.contains(other), "{header}: {other} in {report}");
        }
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// FAULTS N1246: the secret file has the user name too, or the sender leaves out the colon.
#[test]
fn verify_finds_a_user_name_in_the_secret_file() {
    const BASIC: &str = "kind = \"basic\"\nuser = \"crm\"\npassword_files = [\"$/secret\"]";
    // `crm:SECRET` and `crmSECRET` in base64, from Python's module base64.
    let right = "authorization: Basic Y3JtOmEtc2VjcmV0LW9mLXRoZS1jcm0t";
    let no_colon = "authorization: Basic Y3JtYS1zZWNyZXQtb2YtdGhlLWNybS0=";
    let user = format!("crm:{CAPTURED_SECRET}");
    let only_password = "the file must have only the password";
    for (secret, header, part) in [
        (user.as_str(), right, only_password),
        ("Y3JtOmEtc2VjcmV0LW9mLXRoZS1jcm0t", right, only_password),
        (CAPTURED_SECRET, no_colon, "without the colon between them"),
    ] {
        let report = examined(BASIC, secret, header);
        assert!(report.contains(part), "{header}: {part} in {report}");
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// FAULTS N1247: the source has kind = "token", and the sender signs the body.
#[test]
fn verify_finds_a_signature_in_the_place_of_a_token() {
    let auth = "kind = \"token\"\nheader = \"x-sig\"\ntoken_files = [\"$/secret\"]";
    let report = examined(auth, CAPTURED_SECRET, SHA256);
    assert!(report.contains("set auth.kind = \"hmac\""), "{report}");
    let wrong = format!("x-sig: {}", "0".repeat(64));
    let report = examined(auth, CAPTURED_SECRET, &wrong);
    assert!(report.contains("no header contains a secret"), "{report}");
}

/// FAULTS N1383: the user name of the source has a space at its end, which no message shows.
#[test]
fn a_space_beside_the_user_name_is_named() {
    const BASIC: &str = "kind = \"basic\"\nuser = \"crm \"\npassword_files = [\"$/secret\"]";
    // `crm:SECRET` in base64, from Python's module base64.
    let right = "authorization: Basic Y3JtOmEtc2VjcmV0LW9mLXRoZS1jcm0t";
    let report = examined(BASIC, CAPTURED_SECRET, right);
    let expected = "the user name without the space at the beginning or the end of auth.user";
    assert!(report.contains(expected), "{report}");
    for (auth, is_noted) in [
        (BASIC.to_owned(), true),
        (BASIC.replace("crm ", "crm"), false),
    ] {
        let folder = SourceFolder::with_auth(&auth).secret("secret", CAPTURED_SECRET);
        let (_, report, errors) = folder.run(&["check"]);
        let note = "auth.user begins or ends with a space";
        assert_eq!(report.contains(note), is_noted, "{report}{errors}");
    }
}

/// FAULTS N1384: a bearer token for a source with kind = "token".
#[test]
fn verify_names_the_kind_of_a_bearer_token() {
    let authorization = OWN_HEADER.replace("x-key", "authorization");
    let header = format!("authorization: Bearer {CAPTURED_SECRET}");
    let own = format!("x-key: Bearer {CAPTURED_SECRET}");
    for (auth, header, part) in [
        (
            authorization.as_str(),
            &header,
            "set auth.kind = \"bearer\", and remove auth.header",
        ),
        (OWN_HEADER, &own, "otherwise set auth.prefix = \"Bearer \""),
        (
            OWN_HEADER,
            &header,
            "if it is the header authorization, set auth.kind = \"bearer\"",
        ),
    ] {
        let report = examined(auth, CAPTURED_SECRET, header);
        assert!(report.contains(part), "{part} in {report}");
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// FAULTS N1385: the sender puts the secret into the URL.
#[test]
fn verify_finds_the_secret_in_the_query() {
    let folder = SourceFolder::with_auth(OWN_HEADER).secret("secret", CAPTURED_SECRET);
    let file = folder.path("body");
    std::fs::write(&file, CAPTURED).unwrap();
    let note = "the query of the request has the secret, and the bridge reads a secret only in a header: the sender must send it in the header x-key";
    for (value, is_named) in [(CAPTURED_SECRET, true), ("another", false)] {
        let path = format!("/v1/sources/probe/events?a=b&token={value}");
        let file = file.to_str().unwrap();
        let arguments = ["verify", "--source", "probe", file, "--path", &path];
        let (code, report, errors) = folder.run(&arguments);
        assert_eq!(code, Some(2), "{report}{errors}");
        assert_eq!(report.contains(note), is_named, "{report}");
        assert!(!report.contains(CAPTURED_SECRET), "{report}");
    }
}

/// Returns the report of `verify` about a request that the bridge denies.
fn examined(auth: &str, secret: &str, header: &str) -> String {
    let folder = SourceFolder::with_auth(auth).secret("secret", secret);
    let file = folder.path("body");
    std::fs::write(&file, CAPTURED).unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["verify", "--source", "probe", file, "-H", header];
    let (code, report, errors) = folder.run(&arguments);
    assert_eq!(code, Some(2), "{header}: {report}{errors}");
    report
}

/// FAULTS N585: `verify` names only causes that the compared texts allow.
#[test]
fn verify_names_no_cause_that_it_cannot_know() {
    let wrong = format!("x-sig: {}", "0".repeat(64));
    let signed_path = HMAC.to_owned() + "\nsigned = \"{method} {path} {body}\"";
    let nothing = "nothing was compared with the secrets";
    let (body_only, all) = (
        "or the body was changed",
        "or the method or the path or the body was changed",
    );
    for (auth, header, part, other) in [
        (
            OWN_HEADER,
            "x-other: value-of-another-header",
            nothing,
            "does not match",
        ),
        (
            HMAC,
            "x-other: value-of-another-header",
            nothing,
            "no common mistake",
        ),
        (HMAC, &wrong, body_only, "path"),
        (&signed_path, &wrong, all, nothing),
    ] {
        let folder = SourceFolder::with_auth(auth).secret("secret", CAPTURED_SECRET);
        let file = folder.path("body");
        std::fs::write(&file, CAPTURED).unwrap();
        let file = file.to_str().unwrap();
        let (code, report, errors) =
            folder.run(&["verify", "--source", "probe", file, "-H", header]);
        assert_eq!(code, Some(2), "{report}{errors}");
        assert!(
            report.contains(part) && !report.contains(other),
            "{header}: {report}"
        );
    }
}

/// FAULTS N586: a request for a receipt that the signature does not cover, and an event with a wrong signature.
#[test]
fn each_cause_of_a_denied_request_has_a_row() {
    let folder = SourceFolder::with_auth(HMAC).secret("secret", CAPTURED_SECRET);
    let app = TestApp::setup()
        .settings(folder.settings())
        .operator("ann", "token-of-ann-0123456789")
        .start();
    // The signature of an empty body, from Python's module hmac.
    let empty = "0077d3750f5341c330a657b0e4d13ffcc7ed2778e8282aad460f82590e596289";
    for _ in 0..3 {
        assert_eq!(
            post(&app, &[("x-sig", &"0".repeat(64))], CAPTURED).status,
            401
        );
    }
    let line = "GET /v1/sources/probe/events/v-1";
    // FAULTS N901: without a signature, the missing header is not the reason.
    for headers in [&[("x-sig", empty)][..], &[]] {
        let answer = ask(app.ingress(), line, headers, "").unwrap();
        assert_eq!(answer.status, 401);
    }
    let token = [("authorization", "Bearer token-of-ann-0123456789")];
    let rows = ask(app.ops(), "GET /admin/v1/denied-requests", &token, "")
        .unwrap()
        .json();
    let rows = rows["requests"].as_array().unwrap().iter();
    let mut rows: Vec<_> = rows
        .map(|row| {
            (
                row["count"].as_u64().unwrap(),
                row["last_detail"].to_string(),
            )
        })
        .collect();
    rows.sort();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows[0].0 == 2 && rows[0].1.contains("does not cover the event id"),
        "{rows:?}"
    );
    assert!(
        rows[1].0 == 3 && rows[1].1.contains("no secret of the source"),
        "{rows:?}"
    );
}
