//! Tests of the reload of sources: the bridge replaces its sources while it runs, as a whole and without a lost event.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http::{Answer, ask};
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TEST_TIMEOUT, TestApp, TestAppBuilder, wait_for};

const OPERATOR: &str = "token-of-the-operator-alice";
const JSON: (&str, &str) = ("content-type", "application/json");
/// The time between two looks at the files of the sources.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A temporary folder with sources and schemas.
struct SourceFiles(TempDir);

impl SourceFiles {
    /// Creates the source `probe`.
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        fs::create_dir(files.path("sources")).unwrap();
        fs::create_dir(files.path("schemas")).unwrap();
        fs::write(files.path("schemas/any.json"), "{}").unwrap();
        files.write("probe", &source("none", ".email"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(&format!("sources/{name}.toml")), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(&format!("sources/{name}.toml"))).unwrap();
    }

    fn settings(&self) -> String {
        let (sources, schemas) = (self.path("sources"), self.path("schemas"));
        format!("sources_dir = {sources:?}\nschemas_dir = {schemas:?}")
    }

    fn setup(&self) -> TestAppBuilder {
        TestApp::setup()
            .settings(self.settings())
            .operator("alice", OPERATOR)
    }
}

/// Returns the text of a source of plain JSON that maps the email address with this expression.
fn source(auth: &str, email: &str) -> String {
    format!(
        "[auth]\nkind = \"{auth}\"\n[body]\nformat = \"json\"\nid = \".id\"\ntype = '\"p\"'\n\
         [events.p]\nschema = \"any.json\"\ncustomer.imprint_id = \".cid\"\n\
         [events.p.update]\nemail = '{email}'\n"
    )
}

/// Returns the text of a source that authenticates with a bearer token.
fn bearer(secret: &Path) -> String {
    let auth = format!("kind = \"bearer\"\ntoken_files = [{secret:?}]");
    source("none", ".email").replace("kind = \"none\"", &auth)
}

fn body(id: &str, customer: &str) -> String {
    json!({"id": id, "cid": customer, "email": format!("{id}@example.com")}).to_string()
}

fn post(app: &TestApp, source: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [&[JSON], headers].concat();
    let line = format!("POST /v1/sources/{source}/events");
    ask(app.ingress(), &line, &headers, body).unwrap()
}

/// Runs the command `check`, and returns its exit code and its error output.
fn check(files: &SourceFiles) -> (Option<i32>, String) {
    let file = files.path("settings.toml");
    fs::write(&file, files.settings()).unwrap();
    let output = commands::run(&["check", "--config", file.to_str().unwrap()], "");
    (output.status.code(), commands::text(&output.stderr))
}

fn reload(app: &TestApp) -> Value {
    let answer = app.ask_operator(OPERATOR, "POST /admin/v1/reload", &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn live(app: &TestApp) -> Value {
    let answer = app.ask_operator(OPERATOR, "GET /admin/v1/sources", &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[track_caller]
fn is_delivered(app: &TestApp, customer: &str, email: &str) {
    wait_for(email, || {
        (app.imprint.email(customer).as_deref() == Some(email)).then_some(())
    });
}

/// FAULTS N410: an operator adds, changes and removes sources without a restart.
#[test]
fn an_operator_reloads_the_sources_at_once() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    let first = live(&app);
    assert_eq!(first["sources"], json!(["probe"]));
    assert_eq!(reload(&app)["outcome"], "unchanged");

    files.write("erp", &source("none", ".email"));
    files.write("probe", &source("none", "\"new-\" + .email"));
    assert_eq!(post(&app, "erp", &[], &body("e1", "C-1")).status, 404);
    let result = reload(&app);
    assert_eq!(
        (
            &result["outcome"],
            &result["added"],
            &result["changed"],
            &result["removed"]
        ),
        (
            &json!("reloaded"),
            &json!(["erp"]),
            &json!(["probe"]),
            &json!([])
        )
    );
    assert_ne!(result["live"]["digest"], first["digest"]);
    assert_eq!(result["live"], live(&app));
    assert_eq!(post(&app, "erp", &[], &body("e1", "C-1")).status, 202);
    assert_eq!(post(&app, "probe", &[], &body("p1", "C-2")).status, 202);
    is_delivered(&app, "C-1", "e1@example.com");
    is_delivered(&app, "C-2", "new-p1@example.com");
    let erp = "over_rate_quota_total{source=\"erp\"}";
    assert_eq!(app.metric(erp), Some(0.0));

    files.remove("erp");
    let result = reload(&app);
    assert_eq!(
        (&result["added"], &result["changed"], &result["removed"]),
        (&json!([]), &json!([]), &json!(["erp"]))
    );
    assert_eq!(post(&app, "erp", &[], &body("e2", "C-1")).status, 404);
    assert_eq!(app.metric(erp), None, "the series of the source is gone");
    let refused = "refused_total{problem=\"invalid\",source=\"erp\"}";
    assert_eq!(app.metric(refused), None);
    assert_eq!(app.metric("storage_quota_bytes{source=\"erp\"}"), None);
    let audit = app.ask_operator(OPERATOR, "GET /admin/v1/audit", &Value::Null);
    let acts = audit.json()["acts"].as_array().unwrap().clone();
    assert_eq!(acts.len(), 3, "{acts:?}");
    assert!(
        acts.iter()
            .all(|act| act["what"] == "reload" && act["who"] == "alice")
    );
}

/// FAULTS N411: the files have an error of any kind. The bridge uses no part of them, and says why.
#[test]
fn files_with_an_error_are_refused_as_a_whole() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    let digest = live(&app)["digest"].clone();
    fs::create_dir(files.path("sources/probe")).unwrap();
    let example = "sources/probe/one.event.json";
    let (event, request) = (
        body("x", "C-1"),
        r#"{"path": "/v2/customers/C-1", "body": {"email": "other@example.com"}}"#,
    );
    let zoo = "sources/zoo.toml";
    let twice = r#"{"required": ["email"], "required": []}"#;
    let breakages: [(&str, &[(&str, &str)]); 6] = [
        ("range", &[(zoo, &source("none", "range(9)"))]),
        ("zoo.toml", &[(zoo, "[auth")]),
        ("no-secret", &[(zoo, &bearer(&files.path("no-secret")))]),
        (
            "/body/email: expected \"other@example.com\", found \"x@example.com\"",
            &[
                (example, &event),
                ("sources/probe/one.request.json", request),
            ],
        ),
        ("any.json is not JSON", &[("schemas/any.json", "{")]),
        // FAULTS N763: the second list would switch the first list off.
        (
            "the same key more than once",
            &[("schemas/any.json", twice)],
        ),
    ];
    for (cause, breakage) in breakages {
        // Together with the error, a source without an error appears, which the bridge must not use.
        files.write("new", &source("none", ".email"));
        for (path, content) in breakage {
            fs::write(files.path(path), content).unwrap();
        }
        let result = reload(&app);
        assert_eq!(result["outcome"], "refused", "{cause}: {result}");
        let errors = result["errors"].as_array().unwrap();
        let mut texts = errors.iter().map(|error| error.as_str().unwrap());
        assert!(
            texts.any(|text| text.contains(cause)),
            "{cause}: {errors:#?}"
        );
        assert_eq!(result["live"]["digest"], digest, "{cause}");
        assert_eq!(&result["live"]["refused"]["errors"], &result["errors"]);
        assert_eq!(app.metric("sources_refused"), Some(1.0), "{cause}");
        assert_eq!(post(&app, "new", &[], &body("n", "C-1")).status, 404);
        assert_eq!(post(&app, "probe", &[], &body("p", "C-1")).status, 202);
        files.remove("new");
        for (path, _) in breakage {
            fs::remove_file(files.path(path)).unwrap();
        }
        fs::write(files.path("schemas/any.json"), "{}").unwrap();
        assert_eq!(reload(&app)["outcome"], "unchanged", "{cause}");
        assert_eq!(app.metric("sources_refused"), Some(0.0), "{cause}");
        assert_eq!(live(&app)["refused"], Value::Null);
    }
}

/// FAULTS N1089: a draft takes the place of a source in use, and the folder has another source.
#[test]
fn a_draft_in_the_place_of_a_source_in_use_is_refused() {
    let files = SourceFiles::new();
    files.write("erp", &source("none", ".email"));
    let app = files.setup().start();
    let text = source("none", ".email");
    files.write("probe", &format!("draft = true\n{text}"));
    let result = reload(&app);
    assert_eq!(result["outcome"], "refused", "{result}");
    let error = result["errors"][0].as_str().unwrap();
    assert!(error.starts_with("source probe: "), "{error}");
    assert!(error.contains("draft = true"), "{error}");
    assert_eq!(app.metric("sources_refused"), Some(1.0));
    assert_eq!(post(&app, "probe", &[], &body("a", "C-1")).status, 202);
    files.write("probe", &text);
    assert_eq!(reload(&app)["outcome"], "unchanged");
    assert_eq!(app.metric("sources_refused"), Some(0.0));
    // A draft of another source, or of a source that was stopped before, is no error.
    files.remove("probe");
    assert_eq!(reload(&app)["removed"], json!(["probe"]));
    files.write("probe", &format!("draft = true\n{text}"));
    assert_eq!(reload(&app)["outcome"], "reloaded");
    assert_eq!(post(&app, "probe", &[], &body("b", "C-1")).status, 404);
}

/// Returns the text of a source of plain JSON whose events have a rule of their order.
fn ordered(rules: &str) -> String {
    let customer = "customer.imprint_id";
    source("none", ".email").replace(customer, &format!("{rules}\n{customer}"))
}

/// Returns the text of a source of plain JSON with sequence numbers as versions.
fn sequenced(version: &str, epoch: u32) -> String {
    ordered(&format!(
        "version = \"{version}\"\nversion_domain = \"sequence\"\nepoch = {epoch}"
    ))
}

/// FAULTS N1100: a changed file of a source in use has a lower epoch or another version, as after a rollback. All later
/// events would count as older than the delivered values.
#[test]
fn a_changed_order_of_events_needs_a_higher_epoch() {
    let files = SourceFiles::new();
    files.write("probe", &sequenced(".n", 1));
    let app = files.setup().start();
    let time = "version = \".n\"\nversion_domain = \"time\"\nepoch = 1";
    for (text, cause) in [
        (sequenced(".n", 0), "set it to 1 or more"),
        (sequenced(".m", 1), "set epoch to 2 or more"),
        (ordered(time), "set epoch to 2 or more"),
        (ordered("epoch = 1"), "set epoch to 2 or more"),
    ] {
        files.write("probe", &text);
        let result = reload(&app);
        assert_eq!(result["outcome"], "refused", "{cause}: {result}");
        let error = result["errors"][0].as_str().unwrap();
        assert!(error.starts_with("source probe: events.p."), "{error}");
        assert!(error.ends_with(cause), "{error}");
        assert_eq!(app.metric("sources_refused"), Some(1.0), "{cause}");
    }
    files.write("probe", &sequenced(".m", 2));
    assert_eq!(reload(&app)["outcome"], "reloaded");
}

/// FAULTS N1160: a rollback replaces the files and the process at once, or a source leaves and comes back with a lower
/// epoch. The store knows the order of the earlier events.
#[test]
fn a_start_compares_the_order_of_events_too() {
    let imprint = FakeImprint::start(|_| {});
    let sources = SourceFiles::new();
    let files = Files::write(imprint.address, KEY, &sources.settings());
    files.write_token("alice", OPERATOR);
    let authorization = format!("Bearer {OPERATOR}");
    let headers = [("authorization", authorization.as_str())];
    let reload = |process: &Process| {
        let line = "POST /admin/v1/reload";
        ask(process.ready().1, line, &headers, "").unwrap().json()
    };
    sources.write("probe", &sequenced(".n", 1));
    let mut first = Process::serve(&files);
    first.ready();
    // The order of a source concerns the fields that another source sends too.
    let other = source("none", ".email").replace("email = ", "first_name = ");
    sources.write("other", &other);
    assert_eq!(reload(&first)["outcome"], "reloaded");
    sources.write("probe", &sequenced(".n", 2));
    assert_eq!(reload(&first)["outcome"], "reloaded");
    sources.remove("probe");
    assert_eq!(reload(&first)["outcome"], "reloaded");
    sources.write("probe", &sequenced(".n", 1));
    let refused = reload(&first);
    assert_eq!(refused["outcome"], "refused", "{refused}");
    first.terminate();
    first.wait_for_exit();
    let mut second = Process::serve(&files);
    assert!(!second.wait_for_exit().success());
    let log = second.log();
    let cause = "source probe: events.p.epoch is lower than 2, the epoch of earlier events";
    assert!(log.contains(cause), "{log}");
    sources.write("probe", &sequenced(".n", 2));
    let third = Process::serve(&files);
    assert_eq!(reload(&third)["outcome"], "unchanged");
}

/// FAULTS N411: the log names the cause of a refusal once, and no value of an example.
#[test]
fn the_log_names_the_cause_of_a_refusal_once() {
    let imprint = FakeImprint::start(|_| {});
    let sources = SourceFiles::new();
    let files = Files::write(imprint.address, KEY, &sources.settings());
    files.write_token("alice", OPERATOR);
    let mut process = Process::serve(&files);
    let (_, ops) = process.ready();
    fs::create_dir(sources.path("sources/probe")).unwrap();
    let example = sources.path("sources/probe/one.event.json");
    fs::write(example, body("canary-value", "C-1")).unwrap();
    let expected = sources.path("sources/probe/one.request.json");
    fs::write(expected, r#"{"path": "/v2/customers/C-1", "body": {}}"#).unwrap();
    let headers = [("authorization", format!("Bearer {OPERATOR}"))];
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    for _ in 0..3 {
        let answer = ask(ops, "POST /admin/v1/reload", &headers, "").unwrap();
        assert_eq!(answer.json()["outcome"], "refused", "{}", answer.body);
        assert!(answer.body.contains("canary-value"), "{}", answer.body);
    }
    fs::remove_dir_all(sources.path("sources/probe")).unwrap();
    sources.write("erp", &source("none", ".email"));
    let hangup = format!("kill -HUP {}", process.child.id());
    let signalled = Command::new("sh").args(["-c", &hangup]).status().unwrap();
    assert!(signalled.success());
    wait_for("SIGHUP reloads", || {
        let reloaded = "the bridge uses the changed files of the sources";
        process.log().contains(reloaded).then_some(())
    });
    process.terminate();
    process.wait_for_exit();
    let log = process.log();
    // Each source without authentication is logged once: `probe` at the start, and `erp` at the reload.
    assert_eq!(log.matches("requests are not authenticated").count(), 2);
    assert_eq!(
        log.matches("cannot use the files of the sources").count(),
        1,
        "{log}"
    );
    assert!(
        log.contains("probe/one: the result of the example is not as expected"),
        "{log}"
    );
}

/// FAULTS N412: Kubernetes replaces the files of a `ConfigMap` by the rename of one symbolic link.
#[test]
fn the_bridge_notices_the_swap_of_a_symbolic_link() {
    let files = SourceFiles::new();
    files.remove("probe");
    let mount = files.path("sources");
    let version = |name: &str, email: &str, more: bool| {
        fs::create_dir(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("probe.toml"), source("none", email)).unwrap();
        if more {
            fs::write(mount.join(name).join("erp.toml"), source("none", email)).unwrap();
        }
        symlink(name, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    version("..2026_1", ".email", false);
    symlink("..data/probe.toml", mount.join("probe.toml")).unwrap();
    let app = files.setup().manual_clock().start();
    assert_eq!(post(&app, "probe", &[], &body("a", "C-1")).status, 202);
    is_delivered(&app, "C-1", "a@example.com");
    version("..2026_2", "\"new-\" + .email", true);
    symlink("..data/erp.toml", mount.join("erp.toml")).unwrap();
    app.advance_until("the new files are in use", LOOK_EVERY, |app| {
        live(app)["sources"] == json!(["erp", "probe"])
    });
    assert_eq!(post(&app, "probe", &[], &body("b", "C-1")).status, 202);
    is_delivered(&app, "C-1", "new-b@example.com");
    // FAULTS N1319: the audit log had no trace of a change of the files that no operator asked for.
    let digest = live(&app)["digest"].as_str().unwrap().to_owned();
    let expected = format!("digest {digest} added erp changed probe");
    wait_for("the audit log has the change", || {
        let audit = app.ask_operator(OPERATOR, "GET /admin/v1/audit", &Value::Null);
        let acts = audit.json()["acts"].as_array().unwrap().clone();
        let act = acts
            .into_iter()
            .find(|act| act["what"] == "sources_changed")?;
        (act["who"] == "source files" && act["on"] == expected.as_str()).then_some(())
    });
}

/// FAULTS N412: the folder is gone. The bridge says so and works on, and needs no help when the folder is back.
#[test]
fn a_folder_that_vanishes_changes_nothing() {
    let files = SourceFiles::new();
    let app = files.setup().manual_clock().start();
    let before = live(&app);
    let (folder, away) = (files.path("sources"), files.path("away"));
    fs::rename(&folder, &away).unwrap();
    app.advance_until("the alert", LOOK_EVERY, |app| {
        app.metric("sources_refused") == Some(1.0)
    });
    assert_eq!(post(&app, "probe", &[], &body("a", "C-1")).status, 202);
    let errors = live(&app)["refused"]["errors"].to_string();
    assert!(errors.contains("cannot be read"), "{errors}");
    fs::rename(&away, &folder).unwrap();
    app.advance_until("the end of the alert", LOOK_EVERY, |app| {
        app.metric("sources_refused") == Some(0.0)
    });
    assert_eq!(live(&app), before);
    is_delivered(&app, "C-1", "a@example.com");
}

/// FAULTS N413: the bridge replaces the sources again and again under load. It accepts and delivers every event, with
/// the mapping of one of the sets.
#[test]
fn a_reload_under_load_loses_nothing() {
    const SENDERS: usize = 3;
    let files = SourceFiles::new();
    let app = files.setup().start();
    let stop = AtomicBool::new(false);
    let send = |sender: usize| {
        let mut sent = 0_usize;
        while !stop.load(Ordering::SeqCst) {
            let id = format!("s{sender}-{sent}");
            let answer = post(&app, "probe", &[], &body(&id, &format!("C-{sender}")));
            assert_eq!(answer.status, 202, "{id}: {}", answer.body);
            sent += 1;
        }
        sent
    };
    let sent: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || send(sender)))
            .collect();
        for round in 0..30 {
            files.write("probe", &source("none", &format!("\"v{round}-\" + .email")));
            let result = reload(&app);
            assert_eq!(result["outcome"], "reloaded", "{result}");
            assert_eq!(result["changed"], json!(["probe"]));
        }
        stop.store(true, Ordering::SeqCst);
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .sum()
    });
    assert!(sent > SENDERS * 10, "{sent} events");
    app.wait_for("every event has ended", |app| {
        let ended = ["delivered", "superseded"];
        let ended = ended.map(|state| app.metric(&format!("ended_total{{state=\"{state}\"}}")));
        let ended: f64 = ended.into_iter().flatten().sum();
        app.metric("accepted_total{source=\"probe\"}") == Some(ended) && usize_of(ended) == sent
    });
    for sender in 0..SENDERS {
        let email = app.imprint.email(&format!("C-{sender}")).unwrap();
        assert!(email.starts_with('v') || email.starts_with('s'), "{email}");
    }
}

/// FAULTS N413: a request is in flight while its source is removed. The request keeps the source with which it began.
#[test]
fn a_request_in_flight_ends_with_the_set_with_which_it_began() {
    let files = SourceFiles::new();
    files.write("erp", &source("none", ".email"));
    let app = files.setup().start();
    let body = body("e1", "C-1");
    let (first, rest) = body.split_at(10);
    let mut connection = TcpStream::connect(app.ingress()).unwrap();
    let head = format!(
        "POST /v1/sources/erp/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    // The bridge asks for the body as soon as it reads the body, and it has found the source before.
    let mut continues = [0; 25];
    connection.read_exact(&mut continues).unwrap();
    assert!(continues.starts_with(b"HTTP/1.1 100 Continue"));
    connection.write_all(first.as_bytes()).unwrap();
    files.remove("erp");
    assert_eq!(reload(&app)["removed"], json!(["erp"]));
    connection.write_all(rest.as_bytes()).unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 202");
    assert_eq!(post(&app, "erp", &[], &body).status, 404);
    is_delivered(&app, "C-1", "e1@example.com");
}

fn usize_of(number: f64) -> usize {
    format!("{number}").parse().unwrap()
}

/// FAULTS N414: something in the folder has no end or is no file. The bridge neither hangs nor uses it.
#[test]
fn a_pipe_and_a_device_in_the_folder_are_refused() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    let pipe = files.path("sources/pipe.toml");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    symlink("/dev/zero", files.path("sources/zero.toml")).unwrap();
    let result = reload(&app);
    assert_eq!(result["outcome"], "refused", "{result}");
    for name in ["pipe.toml", "zero.toml"] {
        let cause = format!("{name}: is not a regular file");
        assert!(result["errors"].to_string().contains(&cause), "{result}");
    }
    fs::remove_file(&pipe).unwrap();
    fs::remove_file(files.path("sources/zero.toml")).unwrap();
    // A pipe that no source names is no error.
    let schema = files.path("schemas/pipe");
    assert!(
        Command::new("mkfifo")
            .arg(schema)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(reload(&app)["outcome"], "reloaded");
}

/// FAULTS N414: the folder of schemas is too large for a look every few seconds. The bridge starts with its sources and
/// reports that it notices no changes.
#[test]
fn a_folder_that_is_too_large_to_watch_is_reported() {
    let files = SourceFiles::new();
    let dump = files.path("schemas/dump");
    fs::File::create(&dump)
        .unwrap()
        .set_len(65 * 1024 * 1024)
        .unwrap();
    let app = files.setup().manual_clock().start();
    assert_eq!(post(&app, "probe", &[], &body("a", "C-1")).status, 202);
    is_delivered(&app, "C-1", "a@example.com");
    let set = live(&app);
    assert_eq!(set["digest"], Value::Null);
    let errors = set["refused"]["errors"].to_string();
    assert!(errors.contains("more than 67108864 bytes"), "{errors}");
    assert_eq!(app.metric("sources_refused"), Some(1.0));
    assert_eq!(reload(&app)["outcome"], "refused");
    let (code, errors) = check(&files);
    assert_eq!(code, Some(2));
    assert!(errors.contains("more than 67108864 bytes"), "{errors}");
    fs::remove_file(dump).unwrap();
    app.advance_until("the end of the alert", LOOK_EVERY, |app| {
        app.metric("sources_refused") == Some(0.0)
    });
    assert!(live(&app)["digest"].is_string());
}

/// A source must not name a schema whose changes the bridge would not notice.
#[test]
fn a_schema_outside_its_folder_is_refused() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    fs::write(files.path("other.json"), "{}").unwrap();
    let absolute = files.path("other.json");
    for (schema, expected) in [
        ("../other.json", "inside schemas_dir"),
        (".hidden/a.json", "inside schemas_dir"),
        (absolute.to_str().unwrap(), "relative to schemas_dir"),
    ] {
        let text = source("none", ".email").replace("any.json", schema);
        files.write("probe", &text);
        let result = reload(&app);
        let errors = result["errors"].to_string();
        assert!(errors.contains(expected), "{schema}: {result}");
    }
}

/// A thousand source files are one set.
#[test]
fn a_thousand_sources_are_reloaded() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    for number in 0..1000 {
        files.write(&format!("s{number}"), &source("none", ".email"));
    }
    let result = reload(&app);
    assert_eq!(result["outcome"], "reloaded", "{result}");
    assert_eq!(result["added"].as_array().unwrap().len(), 1000);
    assert_eq!(post(&app, "s999", &[], &body("x", "C-1")).status, 202);
    is_delivered(&app, "C-1", "x@example.com");
}

/// FAULTS N415: a source is removed while its events wait. The bridge delivers the events, and says why it cannot map
/// a parked event again.
#[test]
fn the_events_of_a_removed_source_are_delivered() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    let mode = |mode: &str| {
        let line = "POST /admin/v1/destination";
        let answer = app.ask_operator(OPERATOR, line, &json!({"mode": mode, "reason": "a test"}));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    mode("paused");
    files.write("erp", &source("none", ".email"));
    reload(&app);
    assert_eq!(post(&app, "erp", &[], &body("e1", "C-1")).status, 202);
    assert_eq!(post(&app, "erp", &[], &body("e2", "C-2")).status, 202);
    let change = json!({"filter": {"customer": "C-2", "state": "waiting"}, "reason": "test"});
    let parked = app.ask_operator(OPERATOR, "POST /admin/v1/entries/park", &change);
    let entry = parked.json()["parked"][0].clone();
    files.remove("erp");
    assert_eq!(reload(&app)["removed"], json!(["erp"]));
    mode("open");
    is_delivered(&app, "C-1", "e1@example.com");
    let again = |map_again: bool| {
        let change = json!({"ids": [entry], "map_again": map_again});
        app.ask_operator(OPERATOR, "POST /admin/v1/entries/replay", &change)
            .json()
    };
    let refused = again(true);
    let error = &refused["unmappable"][0]["faults"][0];
    assert_eq!(error["rule"], "unknown_source", "{refused}");
    assert_eq!(again(false)["replayed"], json!([entry]));
    is_delivered(&app, "C-2", "e2@example.com");
}

/// FAULTS N416: a reload gives a source no additional events of its quota, but a changed quota counts at once.
#[test]
fn a_reload_does_not_refill_a_quota() {
    let files = SourceFiles::new();
    let quota = |events: u32| format!("[quota]\nevents_per_second = 1\nevents_burst = {events}\n");
    let text = |email: &str, events: u32| format!("{}{}", source("none", email), quota(events));
    files.write("probe", &text(".email", 3));
    let app = files.setup().manual_clock().start();
    let send = |id: &str| post(&app, "probe", &[], &body(id, "C-1")).status;
    for id in ["a", "b", "c"] {
        assert_eq!(send(id), 202, "{id}");
    }
    assert_eq!(send("d"), 429);
    files.write("probe", &text("\"new-\" + .email", 3));
    assert_eq!(reload(&app)["changed"], json!(["probe"]));
    assert_eq!(send("d"), 429, "the mapping changed, and the quota did not");
    files.write("probe", &text(".email", 5));
    reload(&app);
    assert_eq!(send("d"), 202, "the quota is larger");
    is_delivered(&app, "C-1", "d@example.com");
}

/// FAULTS N1094: a source that was removed for a moment has no additional events of its quota.
#[test]
fn a_removed_source_comes_back_with_its_used_up_quota() {
    let files = SourceFiles::new();
    files.write("erp", &source("none", ".email"));
    let quota = "[quota]\nevents_per_second = 1\nevents_burst = 2\n";
    let text = format!("{}{quota}", source("none", ".email"));
    files.write("probe", &text);
    let app = files.setup().manual_clock().start();
    let send = |id: &str| post(&app, "probe", &[], &body(id, "C-1")).status;
    assert_eq!([send("a"), send("b"), send("c")], [202, 202, 429]);
    files.remove("probe");
    assert_eq!(reload(&app)["removed"], json!(["probe"]));
    files.write("probe", &text);
    assert_eq!(reload(&app)["added"], json!(["probe"]));
    assert_eq!(send("c"), 429);
}

/// FAULTS N417: the authentication of a source changes with its set, and the bridge reads the new secret file again.
#[test]
fn a_changed_authentication_counts_from_the_reload() {
    let files = SourceFiles::new();
    let app = files.setup().manual_clock().start();
    let secret = files.path("secret");
    fs::write(&secret, "token-of-the-first-day").unwrap();
    files.write("probe", &bearer(&secret));
    let send = |token: &str, id: &str| {
        let header = format!("Bearer {token}");
        let headers = [("authorization", header.as_str())];
        post(&app, "probe", &headers, &body(id, "C-1")).status
    };
    assert_eq!(send("token-of-nobody-at-all", "a"), 202);
    assert_eq!(reload(&app)["changed"], json!(["probe"]));
    assert_eq!(send("token-of-nobody-at-all", "b"), 401);
    assert_eq!(send("token-of-the-first-day", "b"), 202);
    fs::write(&secret, "token-of-the-second-day").unwrap();
    app.advance_until("the second token", LOOK_EVERY, |_| {
        send("token-of-the-second-day", "c") == 202
    });
    assert_eq!(send("token-of-the-first-day", "d"), 401);
    is_delivered(&app, "C-1", "c@example.com");
}

/// FAULTS N418: a reload meets the shutdown. The bridge stops in time, and the operator gets an answer or a closed
/// connection.
#[test]
fn a_reload_does_not_delay_the_shutdown() {
    let files = SourceFiles::new();
    let mut app = files
        .setup()
        .settings(format!("{}\n[shutdown]\nlag = \"3s\"", files.settings()))
        .start();
    let ops = app.ops();
    let has_stopped = AtomicBool::new(false);
    let (first, answered) = mpsc::channel();
    let ask_again = || {
        let bearer = format!("Bearer {OPERATOR}");
        let headers = [("authorization", bearer.as_str())];
        let mut statuses = Vec::new();
        // A busy machine can break a connection at any time, so only the end of the bridge ends the requests.
        while !has_stopped.load(Ordering::Relaxed) {
            match ask(ops, "POST /admin/v1/reload", &headers, "") {
                Ok(answer) => {
                    statuses.push(answer.status);
                    // Only the first answer has a listener.
                    let _unheard: Result<(), _> = first.send(());
                }
                Err(_broken) => std::thread::yield_now(),
            }
        }
        statuses
    };
    let statuses = std::thread::scope(|scope| {
        let asks = scope.spawn(ask_again);
        let first_answer = answered.recv_timeout(TEST_TIMEOUT);
        let stopped = app.stop();
        has_stopped.store(true, Ordering::Relaxed);
        first_answer.unwrap();
        stopped.unwrap();
        asks.join().unwrap()
    });
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&503), "{statuses:?}");
    app.restart();
}

/// The operator's commands show the sources, reload them and list the denied requests.
#[test]
fn the_commands_for_sources_print_what_an_operator_needs() {
    let files = SourceFiles::new();
    let secret = files.path("secret");
    fs::write(&secret, "token-of-the-first-day").unwrap();
    files.write("erp", &bearer(&secret));
    let app = files.setup().start();
    let (ops, token) = (
        format!("http://{}", app.ops()),
        app.files.token_file("alice"),
    );
    let run = |command: &[&str]| {
        let common = ["--ops", &ops, "--token-file", token.to_str().unwrap()];
        let output = commands::run(&[command, &common].concat(), "");
        let text = commands::text(&output.stdout);
        (output.status.code(), text + &commands::text(&output.stderr))
    };
    assert_eq!(run(&["denied-requests"]), (Some(0), "none\n".to_owned()));
    assert_eq!(post(&app, "erp", &[], &body("a", "C-1")).status, 401);
    let (code, table) = run(&["denied-requests"]);
    assert_eq!(code, Some(0));
    assert!(
        table.starts_with("SOURCE  PROBLEM          REASON   LOCATION  COUNT  FIRST"),
        "{table}"
    );
    assert!(
        table.contains("\nerp     unauthenticated  missing  -         1      20"),
        "{table}"
    );
    assert_eq!(run(&["denied-requests", "--source", "probe"]).1, "none\n");
    let (_, json) = run(&["denied-requests", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["requests"][0]["source"], "erp");

    let (code, shown) = run(&["sources"]);
    assert_eq!(code, Some(0));
    assert!(shown.starts_with("sources: erp, probe\ndigest "), "{shown}");
    files.remove("erp");
    let (code, result) = run(&["reload", "--reason", "the ERP is gone"]);
    assert_eq!(code, Some(0), "{result}");
    assert!(result.contains("\nremoved: erp\n"), "{result}");
    files.write("probe", &source("none", "range(9)"));
    let (code, result) = run(&["reload"]);
    assert_eq!(code, Some(2), "{result}");
    assert!(result.contains("range"), "{result}");
    files.write("erp", "[auth]\nunfinished");
    let (_, result) = run(&["reload"]);
    let cause = "erp.toml: TOML parse error at line 2, column 11: key with no value, expected `=`\n    probable cause: ";
    assert!(result.contains(cause), "{result}");
    assert!(!result.contains("unfinished"), "{result}");
    let (code, shown) = run(&["sources"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("range"), "{shown}");
}

/// `check` prints the same errors as a refused reload.
#[test]
fn check_refuses_what_a_reload_refuses() {
    let files = SourceFiles::new();
    let check = || check(&files);
    assert_eq!(check().0, Some(0));
    symlink("/dev/zero", files.path("sources/zero.toml")).unwrap();
    let (code, errors) = check();
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("zero.toml: is not a regular file"),
        "{errors}"
    );
    fs::remove_file(files.path("sources/zero.toml")).unwrap();
    symlink("/dev/zero", files.path("schemas/zero.json")).unwrap();
    let with_device = source("none", ".email").replace("any.json", "zero.json");
    files.write("zero", &with_device);
    let (code, errors) = check();
    assert_eq!(code, Some(2));
    assert!(errors.contains("zero.json"), "{errors}");
    assert!(errors.contains("not a regular file"), "{errors}");
    fs::remove_file(files.path("sources/zero.toml")).unwrap();
    fs::write(files.path("sources/.#probe.toml"), "an editor's lock").unwrap();
    assert_eq!(check().0, Some(0));
    assert!(Path::new("/dev/zero").exists());
}

/// FAULTS N790: each file is within its bounds, and the sources together are not. `check`, the start and a reload name the
/// cause, and the bridge goes on with its earlier sources.
#[test]
fn sources_that_are_too_large_together_are_refused() {
    let files = SourceFiles::new();
    let app = files.setup().start();
    let member = |number: u32| {
        (
            format!("m{number}"),
            json!({"pattern": format!("^[a-z]+{number}$")}),
        )
    };
    let members: serde_json::Map<String, Value> = (0..999).map(member).collect();
    let wide = json!({"properties": members});
    fs::write(files.path("schemas/wide.json"), wide.to_string()).unwrap();
    fs::write(
        files.path("schemas/two.json"),
        r#"{"properties": {"a": {"pattern": "a1?"}, "b": {"pattern": "b1?"}}}"#,
    )
    .unwrap();
    let with = |schema: &str| source("none", ".email").replace("any.json", schema);
    files.write("large", &with("wide.json"));
    assert_eq!(reload(&app)["outcome"], "reloaded");
    files.write("small", &with("two.json"));
    let cause = "all sources together may have at most 1000 different patterns in their schemas. Counted up to the source small: large has 999, small has 2, and 0 others have fewer.";
    let result = reload(&app);
    assert_eq!(result["outcome"], "refused", "{result}");
    assert!(result["errors"].to_string().contains(cause), "{result}");
    let (code, errors) = check(&files);
    assert_eq!(code, Some(2));
    assert!(errors.contains(cause), "{errors}");
    let file = files.path("settings.toml");
    let output = commands::run(&["serve", "--config", file.to_str().unwrap()], "");
    assert_ne!(output.status.code(), Some(0));
    let errors = commands::text(&output.stderr);
    assert!(errors.contains(cause), "{errors}");
    assert_eq!(post(&app, "large", &[], &body("a", "C-1")).status, 202);
    is_delivered(&app, "C-1", "a@example.com");
}
