//! Tests of the secret files of sources while the bridge runs: vanished, damaged and replaced files, each on its own.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::authentication::{SourceFolder, post};
use crate::commands;
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp};

const FIRST: &str = "token-of-the-first-file";
const SECOND: &str = "token-of-the-second-file";
const THIRD: &str = "token-of-the-third-file";
const OPERATOR: &str = "token-of-the-operator-alice";
/// The bridge reads the secret files every 3 s.
const READ_EVERY: Duration = Duration::from_secs(3);

fn folder() -> SourceFolder {
    let auth = "kind = \"bearer\"\ntoken_files = [\"$/first\", \"$/second\"]";
    SourceFolder::with_auth(auth)
        .secret("first", FIRST)
        .secret("second", SECOND)
}

/// Starts a bridge whose source accepts the tokens in the files `first` and `second`.
fn start() -> (TestApp, SourceFolder) {
    let folder = folder();
    let setup = TestApp::setup().settings(folder.settings());
    (setup.manual_clock().start(), folder)
}

/// Starts the same bridge with an operator.
fn start_with_operator() -> (TestApp, SourceFolder) {
    let folder = folder();
    let setup = TestApp::setup().settings(folder.settings());
    let setup = setup.operator("alice", OPERATOR);
    (setup.manual_clock().start(), folder)
}

fn send(app: &TestApp, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let body = json!({"id": "e", "cid": "C-1", "email": "e@example.com"});
    post(app, &[("authorization", &bearer)], &body.to_string()).status
}

fn failures(app: &TestApp) -> f64 {
    let name = "secret_read_failures_total{secret=\"source\"}";
    app.metric(name).unwrap()
}

/// Lets the bridge read the secret files once more. The bridge reads a changed file twice.
#[track_caller]
fn read_again(app: &TestApp) {
    let before = failures(app);
    app.advance_until("a failed read", READ_EVERY, |app| failures(app) > before);
}

fn replace(path: &Path, content: &str) {
    let draft = path.with_extension("new");
    std::fs::write(&draft, content).unwrap();
    std::fs::rename(draft, path).unwrap();
}

/// FAULTS N610: a removed secret ends after a minute, and only this secret. It counts again when its file is back.
#[test]
fn a_vanished_secret_ends_after_a_minute() {
    let (app, folder) = start();
    let first = folder.path("first");
    assert_eq!((send(&app, FIRST), send(&app, SECOND)), (202, 202));
    assert_eq!(failures(&app), 0.0);
    std::fs::remove_file(&first).unwrap();
    read_again(&app);
    assert_eq!((send(&app, FIRST), send(&app, SECOND)), (202, 202));
    let start = app.now();
    app.advance_until("the secret ends", READ_EVERY, |app| send(app, FIRST) == 401);
    assert!(app.now().since(start) >= Duration::from_secs(50));
    assert_eq!(send(&app, SECOND), 202);
    std::fs::remove_file(folder.path("second")).unwrap();
    app.advance_until("no secret is left", READ_EVERY, |app| {
        send(app, SECOND) == 401
    });
    assert_eq!(send(&app, ""), 401);
    replace(&first, FIRST);
    app.advance_until("the secret is back", READ_EVERY, |app| {
        send(app, FIRST) == 202
    });
    assert_eq!(send(&app, SECOND), 401);
}

/// FAULTS N610, N202: an unusable file is counted, its previous secret stays in use, and the other file changes
/// nevertheless.
#[test]
fn an_unusable_secret_file_does_not_stop_the_rotation_of_another() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("short", |path| std::fs::write(path, "token").unwrap()),
        ("binary", |path| {
            std::fs::write(path, b"\xff\xfe\x00").unwrap();
        }),
        ("huge", |path| {
            std::fs::write(path, "t".repeat(9000)).unwrap();
        }),
        ("folder", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("pipe", |path| {
            std::fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        }),
    ];
    for (what, damage) in damages {
        let (app, folder) = start();
        damage(&folder.path("first"));
        replace(&folder.path("second"), THIRD);
        app.advance_until("the other secret changes", READ_EVERY, |app| {
            send(app, THIRD) == 202
        });
        assert_eq!(
            (send(&app, FIRST), send(&app, SECOND)),
            (202, 401),
            "{what}"
        );
        app.advance(Duration::from_secs(120));
        read_again(&app);
        read_again(&app);
        assert_eq!(send(&app, FIRST), 202, "{what}");
    }
}

/// FAULTS N610: the metrics show the age of the secrets of each kind.
#[test]
fn the_metrics_show_the_age_of_the_secrets() {
    let (app, _folder) = start();
    for kind in ["source", "imprint"] {
        let name = format!("secret_modified_timestamp_seconds{{secret=\"{kind}\"}}");
        app.advance_until(kind, READ_EVERY, |app| {
            app.metric(&name).is_some_and(|at| at > 1.7e9)
        });
    }
}

/// FAULTS N614: a source whose secret file is gone does not delay a change of another source, and its state survives.
#[test]
fn a_lost_secret_does_not_stop_a_reload() {
    let (app, folder) = start_with_operator();
    let send_to_other = || {
        let body = json!({"id": "e", "cid": "C-2", "email": "e@example.com"});
        let headers = [("content-type", "application/json")];
        let line = "POST /v1/sources/other/events";
        let answer = crate::http::ask(app.ingress(), line, &headers, &body.to_string());
        answer.unwrap().status
    };
    let reload = || {
        let answer = app.ask_operator(OPERATOR, "POST /admin/v1/reload", &serde_json::Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let probe = std::fs::read_to_string(folder.path("sources/probe.toml")).unwrap();
    let other = |text: &str| {
        let is_auth = |line: &&str| !line.starts_with("token_files");
        let lines: Vec<_> = probe.lines().filter(is_auth).collect();
        let source = lines.join("\n").replace("\"bearer\"", "\"none\"");
        std::fs::write(folder.path("sources/other.toml"), source + text).unwrap();
    };
    std::fs::remove_file(folder.path("first")).unwrap();
    std::fs::remove_file(folder.path("second")).unwrap();
    read_again(&app);
    other("");
    assert_eq!(reload()["outcome"], "reloaded");
    assert_eq!(send_to_other(), 202);
    assert_eq!((send(&app, FIRST), send(&app, SECOND)), (202, 202));
    app.advance_until("the secrets end", READ_EVERY, |app| {
        (send(app, FIRST), send(app, SECOND)) == (401, 401)
    });
    other("\n# changed");
    assert_eq!(reload()["outcome"], "reloaded");
    assert_eq!((send(&app, FIRST), send(&app, SECOND)), (401, 401));
    let new = probe.replace("second", "third");
    std::fs::write(folder.path("sources/probe.toml"), &new).unwrap();
    let refused = reload();
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert!(refused.to_string().contains("third"), "{refused}");
    std::fs::write(folder.path("third"), THIRD).unwrap();
    assert_eq!(reload()["outcome"], "reloaded");
    assert_eq!((send(&app, FIRST), send(&app, THIRD)), (401, 202));
}

/// FAULTS N615: somebody writes a secret into a setting that must have the path of its file. Neither `check` nor `serve`
/// nor the log repeats it.
#[test]
fn a_secret_in_place_of_a_path_is_not_repeated() {
    const SECRET: &str = "canary0123456789abcdefXYZ";
    let imprint = FakeImprint::start(|_settings| {});
    for (section, setting) in [
        ("imprint", format!("key_file = \"{SECRET}\"")),
        ("imprint", format!("previous_key_file = \"{SECRET}\"")),
        ("imprint", format!("merchant_key_file = \"{SECRET}\"")),
        ("imprint", format!("ca_file = \"{SECRET}\"")),
        ("ops", format!("token_files = [\"{SECRET}\"]")),
        ("ops", format!("token_files = \"{SECRET},{SECRET}\"")),
        ("ops", format!("audit_key_files = [\"{SECRET}\"]")),
        ("outbox", format!("keys_dir = \"{SECRET}\"")),
        ("outbox", format!("password_file = \"{SECRET}\"")),
        ("outbox", format!("ca_file = \"{SECRET}\"")),
    ] {
        let files = Files::write(imprint.address, KEY, &format!("[{section}]\n{setting}"));
        let (key, _) = setting.split_once(' ').unwrap();
        let settings = files.settings();
        let layers = settings.iter().map(|file| file.to_str().unwrap());
        let layers = layers.flat_map(|file| ["--config", file]);
        let arguments: Vec<_> = std::iter::once("check").chain(layers).collect();
        let checked = commands::run(&arguments, "");
        let printed = commands::text(&checked.stdout) + &commands::text(&checked.stderr);
        let mut process = Process::serve(&files);
        assert_eq!(process.wait_for_exit().code(), Some(2), "{key}");
        assert_eq!(checked.status.code(), Some(2), "{printed}");
        for text in [printed, process.log()] {
            assert!(!text.contains("canary"), "{text}");
            let place = format!("{section}.{key}");
            assert!(
                text.contains(&place) && text.contains("could be a secret"),
                "{text}"
            );
        }
    }
    for auth in [
        format!("kind = \"bearer\"\ntoken_files = [\"{SECRET}\"]"),
        format!("kind = \"standard_webhooks\"\nsecret_files = [\"$/first\", \"whsec_{SECRET}\"]"),
        format!("kind = \"basic\"\nuser = \"u\"\npassword_files = [\"{SECRET}\"]"),
    ] {
        let folder = SourceFolder::with_auth(&auth);
        let (code, out, error) = folder.run(&["check"]);
        let printed = out + &error;
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("could be a secret"), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
    let operator = ["status", "--token-file", SECRET];
    let answer = commands::run(&operator, "");
    let printed = commands::text(&answer.stdout) + &commands::text(&answer.stderr);
    assert_ne!(answer.status.code(), Some(0));
    assert!(printed.contains("could be a secret"), "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
}
