//! Tests of the profile `production`, which refuses unsafe settings, and of the weakenings that a bridge shows.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http::ask;
use crate::process::{Process, command, weakenings, without_system_calls};
use crate::support::{FakeImprint, Files, KEY, metric, wait_for};

const OPERATOR: &str = "token-of-the-operator-alice";
/// The signing of a source, without the signing time.
const SIGNED: &str = "kind = \"hmac\"\nheader = \"x-signature\"\nencoding = \"hex\"";
const WITH_TIME: &str = "signed = \"{timestamp}.{body}\"\ntimestamp_header = \"x-time\"";
const VERSION: &str = "version = \".v\"\nversion_domain = \"sequence\"";

/// A folder with the files of a deployment.
struct Deployment(TempDir);

impl Deployment {
    /// Creates the safe files of a deployment.
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for folder in ["sources", "schemas", "keys"] {
            fs::create_dir(files.path(folder)).unwrap();
        }
        fs::write(files.path("schemas/any.json"), "{}").unwrap();
        for secret in ["key", "secret", "ann.operator"] {
            files.write_secret(secret, 0o440);
        }
        fs::write(files.path("keys/2026-11"), crate::sealing::hex(1)).unwrap();
        set_mode(&files.path("keys/2026-11"), 0o440);
        files.write_source("crm", &format!("{SIGNED}\n{WITH_TIME}"), "");
        files.write_settings("https://dev.imprint.co", "production", "");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write_secret(&self, name: &str, mode: u32) {
        fs::write(self.path(name), format!("canary-secret-of-{name}")).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn write_source(&self, name: &str, auth: &str, version: &str) {
        let secret = match auth.contains("none") {
            true => String::new(),
            false => format!("secret_files = [{:?}]", self.path("secret")),
        };
        let text = format!(
            "[auth]\n{auth}\n{secret}\n[body]\nformat = \"json\"\nid = \".id\"\ntype = '\"p\"'\n\
             [events.p]\nschema = \"any.json\"\ncustomer.imprint_id = \".cid\"\n{version}\n\
             [events.p.update]\nemail = \".email\"\n"
        );
        fs::write(self.path(&format!("sources/{name}.toml")), text).unwrap();
    }

    fn write_settings(&self, url: &str, environment: &str, more: &str) {
        let settings = format!(
            "sources_dir = {:?}\nschemas_dir = {:?}\n[ops]\ntoken_files = [{:?}]\n[outbox]\nkeys_dir = {:?}\n\
             [imprint]\nbase_url = \"{url}\"\nenvironment = \"{environment}\"\nkey_file = {:?}\n{more}",
            self.path("sources"),
            self.path("schemas"),
            self.path("ann.operator"),
            self.path("keys"),
            self.path("key"),
        );
        fs::write(self.path("settings.toml"), settings).unwrap();
    }

    fn check(&self, profile: &str) -> (Option<i32>, String) {
        let settings = self.path("settings.toml");
        let settings = settings.to_str().unwrap();
        let output = commands::run(&["check", "--profile", profile, "--config", settings], "");
        (output.status.code(), commands::text(&output.stderr))
    }

    /// Returns what `check` prints about the erasure journal with this setting, and its exit code.
    fn check_journal(&self, journal: Option<&Path>) -> (Option<i32>, Vec<String>) {
        self.write_settings("https://dev.imprint.co", "production", "");
        let settings = self.path("settings.toml");
        let text = fs::read_to_string(&settings).unwrap();
        let store = format!(
            "[outbox]\nurl = \"sqlite:{}\"",
            self.path("store/outbox.db").display()
        );
        let journal = journal.map(|path| format!("\nerasure_journal = {path:?}"));
        let outbox = format!("{store}{}", journal.unwrap_or_default());
        fs::write(&settings, text.replace("[outbox]", &outbox)).unwrap();
        let settings = settings.to_str().unwrap();
        let arguments = ["check", "--profile", "production", "--config", settings];
        let output = commands::run(&arguments, "");
        let printed = commands::text(&[output.stdout, output.stderr].concat());
        let lines = printed.lines().filter(|line| line.contains("erasure"));
        let lines = lines.map(|line| line.trim().to_owned()).collect();
        (output.status.code(), lines)
    }
}

/// FAULTS N544: `check` reports everything at once that the profile `production` refuses. The same files are right for
/// the profile `local`.
#[test]
fn check_reports_at_once_what_production_refuses() {
    let files = Deployment::new();
    assert_eq!(files.check("production"), (Some(0), String::new()));

    files.write_settings(
        "http://LocalHost:1",
        "production",
        "host_allow = [\"localhost\"]",
    );
    files.write_source("open", "kind = \"none\"", "");
    files.write_source("replay", SIGNED, "");
    for (secret, mode) in [("key", 0o644), ("secret", 0o604), ("ann.operator", 0o442)] {
        files.write_secret(secret, mode);
    }
    set_mode(&files.path("keys/2026-11"), 0o446);
    let (code, errors) = files.check("production");
    assert_eq!(code, Some(2), "{errors}");
    for expected in [
        "outbox.keys_dir: ",
        "its mode is 0446",
        "imprint.base_url: must be https with the profile \"production\"",
        "imprint.key_file: ",
        "key must not be readable or writable for every user of this machine with the profile \"production\": its mode is 0644",
        "ops.token_files: ",
        "its mode is 0442",
        "open.toml: auth.kind: must not be \"none\"",
        "replay.toml: auth.timestamp_header: is required with the profile \"production\"",
        "these event types have no version: p.",
        "crm.toml: auth: ",
        "its mode is 0604",
    ] {
        assert!(errors.contains(expected), "{expected}\n{errors}");
    }
    assert!(!errors.contains("canary"), "{errors}");
    let (code, errors) = files.check("local");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
}

/// FAULTS N544: without a signing time, a version in every mapping keeps old values out.
#[test]
fn a_version_replaces_the_signing_time() {
    let files = Deployment::new();
    files.write_source("crm", SIGNED, VERSION);
    assert_eq!(files.check("production"), (Some(0), String::new()));
}

/// FAULTS N840: a journal that is missing, or that is lost together with the store, brings erased customers back.
#[test]
fn check_says_whether_erasures_outlive_the_store() {
    let files = Deployment::new();
    for folder in ["store", "journal", "closed"] {
        fs::create_dir(files.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink(files.path("store"), files.path("link")).unwrap();
    fs::write(files.path("store/real"), "").unwrap();
    std::os::unix::fs::symlink(files.path("store/real"), files.path("journal/linked")).unwrap();
    set_mode(&files.path("closed"), 0o500);
    let shown = |folder: &str| files.path(folder).display().to_string();
    let beside = "outbox.erasure_journal is in the folder of the store, so a loss or a restore of this folder brings erased customers back";
    for (journal, code, expected) in [
        (
            None,
            0,
            "outbox.erasure_journal is not set, so the restore of an older backup brings erased customers back".to_owned(),
        ),
        (Some("journal/erasures"), 0, String::new()),
        (Some("store/erasures"), 0, beside.to_owned()),
        (Some("link/erasures"), 0, beside.to_owned()),
        // FAULTS N1120
        (Some("journal/linked"), 0, beside.to_owned()),
        (
            Some("absent/erasures"),
            0,
            format!("the folder {} does not exist; serve needs it for the erasure journal", shown("absent")),
        ),
        (
            Some("key/erasures"),
            2,
            format!("outbox.erasure_journal: {} is not a folder", shown("key")),
        ),
        (
            Some("journal"),
            2,
            format!("outbox.erasure_journal: {} is a folder; name a file", shown("journal")),
        ),
    ] {
        let journal = journal.map(|name| files.path(name));
        let (found, lines) = files.check_journal(journal.as_deref());
        assert_eq!((found, lines.join("\n")), (Some(code), expected), "{journal:?}");
    }
    // Nothing is unwritable for the user root.
    if !rustix::process::geteuid().is_root() {
        let (code, lines) = files.check_journal(Some(&files.path("closed/erasures")));
        let expected = format!(
            "outbox.erasure_journal: the folder {} is not writable",
            shown("closed")
        );
        assert_eq!((code, lines), (Some(2), vec![expected]));
    }
}

/// FAULTS N544: odd spellings of a host, and hosts of the other environment.
#[test]
fn host_and_environment_must_agree() {
    let files = Deployment::new();
    let allowed = "host_allow = [\"Proxy.Example.COM.\", \"api.sbx.imprint.co\", \"127.0.0.1\"]";
    for (url, environment, is_safe) in [
        ("https://DEV.imprint.CO.", "production", true),
        ("https://DEV.imprint.CO.", "sandbox", false),
        ("https://proxy.example.com:8443", "production", true),
        (
            "https://proxy.example.com.evil.example",
            "production",
            false,
        ),
        ("https://api.sbx.imprint.co", "sandbox", true),
        ("https://api.sbx.imprint.co", "production", false),
        ("https://other.imprint.co", "production", false),
        ("https://127.1", "production", true),
        ("https://2130706433", "local", false),
        ("https://0x7f.1", "production", true),
        ("http://0x7f.1", "production", false),
    ] {
        files.write_settings(url, environment, allowed);
        let (code, errors) = files.check("production");
        assert_eq!(code == Some(0), is_safe, "{url} {environment}: {errors}");
    }
    files.write_settings(
        "https://dev.imprint.co",
        "production",
        "host_allow = [\"https://x\"]",
    );
    let (_, errors) = files.check("production");
    assert!(
        errors.contains("hosts without scheme, port and path"),
        "{errors}"
    );
}

/// Runs a task whose processes cannot forbid core dumps.
fn with_core_dumps<T: Send>(task: impl FnOnce() -> T + Send) -> T {
    // The first argument of `prctl` says that the process sets its flag "dumpable".
    let set_dumpable = u64::from(libc::PR_SET_DUMPABLE.unsigned_abs());
    let first = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, set_dumpable);
    let rules = [SeccompRule::new(vec![first.unwrap()]).unwrap()];
    without_system_calls(&[libc::SYS_prctl], &rules, task)
}

/// FAULTS N545: the operating system refuses to forbid core dumps, as a container runtime can.
#[test]
fn production_does_not_start_with_core_dumps() {
    let files = Deployment::new();
    let settings = files.path("settings.toml");
    let settings = settings.to_str().unwrap();
    let run = |arguments: &[&str]| -> Output {
        let arguments = arguments.to_vec();
        with_core_dumps(|| {
            Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
                .args(arguments)
                .output()
                .unwrap()
        })
    };
    let output = run(&["check", "--profile", "production", "--config", settings]);
    let errors = commands::text(&output.stderr);
    let expected = "profile: must not be \"production\", because the operating system does not let this process forbid core dumps";
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(output.status.code(), Some(2));
    let text = fs::read_to_string(settings).unwrap();
    fs::write(settings, format!("profile = \"production\"\n{text}")).unwrap();
    let output = run(&["serve", "--config", settings]);
    let errors = commands::text(&output.stderr);
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(output.status.code(), Some(2));
}

/// FAULTS N969: the database of the store confirms commits that a crash can lose.
#[test]
fn production_does_not_start_with_a_database_that_loses_commits() {
    let database = crate::postgres::database();
    let files = Deployment::new();
    let settings = files.path("settings.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let outbox = format!("[outbox]\nurl = \"{}\"", database.url());
    let text = text.replace("[outbox]", &outbox);
    fs::write(&settings, format!("profile = \"production\"\n{text}")).unwrap();
    let serve = ["serve", "--config", settings.to_str().unwrap()];
    let output = commands::run(&serve, "");
    let errors = commands::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("fsync is off"), "{errors}");
}

/// A bridge whose confinement is off, with the sources of a deployment.
struct OpenBridge {
    files: Files,
    _imprint: FakeImprint,
    _process: Process,
    ops: SocketAddr,
}

impl OpenBridge {
    fn start(deployment: &Deployment) -> Self {
        let imprint = FakeImprint::start(|_| {});
        let settings = format!(
            "sources_dir = {:?}\nschemas_dir = {:?}",
            deployment.path("sources"),
            deployment.path("schemas")
        );
        let files = Files::write(imprint.address, KEY, &settings);
        files.write_token("alice.operator", OPERATOR);
        set_mode(&files.store_file("key"), 0o600);
        set_mode(&files.token_file("alice.operator"), 0o600);
        let mut serve = command(&files);
        serve.env("IMPRINT_BRIDGE__CONFINEMENT__MODE", "off");
        let process = Process::start(serve);
        let (_, ops) = process.ready();
        Self {
            files,
            _imprint: imprint,
            _process: process,
            ops,
        }
    }

    fn operate(&self, line: &str, body: &str) -> Value {
        let token = format!("Bearer {OPERATOR}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = ask(self.ops, line, &headers, body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Reloads the sources, and waits until the metric shows exactly these weakenings.
    #[track_caller]
    fn shows_after_reload(&self, expected: &[&str]) {
        let result = self.operate("POST /admin/v1/reload", "{}");
        assert_eq!(result["outcome"], "reloaded", "{result}");
        wait_for("the metric shows the weakenings", || {
            (weakenings(self.ops) == expected).then_some(())
        });
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// FAULTS N546: the metric and the command `status` show each protection that is switched off, also after a reload and
/// after the mode of a secret file changed.
#[test]
fn a_running_bridge_shows_its_weakenings() {
    let deployment = Deployment::new();
    let bridge = OpenBridge::start(&deployment);
    let always = [
        "audit_key",
        "brake_off",
        "confinement_off",
        "local_profile",
        "no_erasure_journal",
        "plain_http",
        "store_not_sealed",
        "undocumented_host",
    ];
    assert_eq!(weakenings(bridge.ops), always);

    deployment.write_source("open", "kind = \"none\"", "");
    deployment.write_source("weak", &format!("{SIGNED}\nsecret_bytes_min = 8"), "");
    deployment.write_source("whole", &format!("{SIGNED}\n{WITH_TIME}"), "");
    let whole = deployment.path("sources/whole.toml");
    let text = fs::read_to_string(&whole).unwrap();
    fs::write(&whole, text.replace("[body]", "[body]\nkeep = \"all\"")).unwrap();
    deployment.write_secret("secret", 0o444);
    let all = [
        "audit_key",
        "brake_off",
        "confinement_off",
        "exposed_secret",
        "guessable_secret",
        "local_profile",
        "no_authentication",
        "no_erasure_journal",
        "no_signing_time",
        "plain_http",
        "store_not_sealed",
        "undocumented_host",
        "whole_events_kept",
    ];
    bridge.shows_after_reload(&all);
    let status = bridge.operate("GET /admin/v1/status", "");
    let mut named = status["weakened"].as_array().unwrap().clone();
    named.sort_by_key(ToString::to_string);
    assert_eq!(named, all.map(|name| json!(name)));
    assert_eq!(status["destination"]["state"], "flowing");
    let url = format!("http://{}", bridge.ops);
    let token = bridge.files.token_file("alice.operator");
    let token = token.to_str().unwrap();
    let output = commands::run(&["status", "--ops", &url, "--token-file", token], "");
    let text = commands::text(&output.stdout);
    let line = "weakened by no_authentication: everybody can send events as a source without authentication";
    assert!(text.lines().any(|printed| printed == line), "{text}");

    fs::remove_file(deployment.path("sources/open.toml")).unwrap();
    fs::remove_file(deployment.path("sources/weak.toml")).unwrap();
    fs::remove_file(whole).unwrap();
    set_mode(&deployment.path("secret"), 0o600);
    bridge.shows_after_reload(&always);
}

/// FAULTS N1450: no test had seen these weakenings: an operator without a stated role, and core dumps.
#[test]
fn operators_without_roles_and_core_dumps_are_weakenings() {
    let imprint = FakeImprint::start(|_| {});
    let files = Files::write(imprint.address, KEY, "");
    files.write_token("alice", OPERATOR);
    let shown = |process: &Process| {
        let found = weakenings(process.ready().1);
        ["operator_roles", "core_dumps"].map(|name| found.iter().any(|shown| shown == name))
    };
    assert_eq!(shown(&Process::serve(&files)), [true, false]);
    files.write_token("alice.operator", OPERATOR);
    let with_dumps = with_core_dumps(|| shown(&Process::serve(&files)));
    assert_eq!(with_dumps, [false, true]);
}

/// FAULTS N1451: `serve` refuses each setting that `check` reports, and says all of it at once too.
#[test]
fn serve_refuses_at_once_what_production_refuses() {
    let files = Deployment::new();
    files.write_settings("http://localhost:1", "production", "");
    files.write_source("open", "kind = \"none\"", "");
    files.write_source("replay", SIGNED, "");
    for secret in ["key", "secret", "ann.operator"] {
        files.write_secret(secret, 0o644);
    }
    let settings = files.path("settings.toml");
    let settings = settings.to_str().unwrap();
    let (_, checked) = files.check("production");
    let text = fs::read_to_string(settings).unwrap();
    let unsealed = text.lines().filter(|line| !line.starts_with("keys_dir"));
    let unsealed: Vec<&str> = unsealed.collect();
    let serve = |text: &str| {
        fs::write(settings, format!("profile = \"production\"\n{text}")).unwrap();
        let output = commands::run(&["serve", "--config", settings], "");
        (output.status.code(), commands::text(&output.stderr))
    };
    let (code, errors) = serve(&text);
    assert_eq!(code, Some(2), "{errors}");
    let reported = checked
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(": "));
    let reported: Vec<&str> = reported.collect();
    assert!(reported.len() >= 5, "{checked}");
    for line in reported {
        assert!(errors.contains(line), "{line}\n{errors}");
    }
    let (code, errors) = serve(&unsealed.join("\n"));
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("outbox.keys_dir"), "{errors}");
}

/// FAULTS N1453: a secret file becomes readable for every user while the bridge runs. The bridge counts and names it.
#[test]
fn a_secret_that_becomes_too_open_is_counted_and_named() {
    let files = Deployment::new();
    let settings = files.path("settings.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let ops = "[ops]\nlisten = \"127.0.0.1:0\"";
    let store = files.path("outbox.db").display().to_string();
    let outbox = format!("[outbox]\nurl = \"sqlite:{store}\"");
    let text = text.replace("[ops]", ops).replace("[outbox]", &outbox);
    let ingress = "profile = \"production\"\n";
    let listener = "\n[ingress]\nlisten = \"127.0.0.1:0\"\n";
    fs::write(&settings, format!("{ingress}{text}{listener}")).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    serve.args(["serve", "--config", settings.to_str().unwrap()]);
    serve.env("IMPRINT_BRIDGE__LOG__FORMAT", "json");
    let process = Process::start(serve);
    let (_, ops) = process.ready();
    let failures = || {
        let page = ask(ops, "GET /metrics", &[], "").unwrap().body;
        metric(&page, "secret_read_failures_total{secret=\"source\"}").unwrap()
    };
    assert!(failures() < 1.0);
    set_mode(&files.path("secret"), 0o644);
    wait_for("the failure is counted and named", || {
        let is_named = process.log().contains("its mode is 0644");
        (failures() > 0.0 && is_named).then_some(())
    });
}
