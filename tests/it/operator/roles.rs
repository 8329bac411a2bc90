//! Tests of the roles of operators: an action is refused without its role, and is not refused with its role.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::{run, text};
use crate::support::{TestApp, email};

/// The token files of the operators. The content of a file is `token-of-` and the name of the file.
const FILES: [&str; 5] = [
    "vera.viewer",
    "otto.operator",
    "rosa.revealer",
    "beth.operator.revealer",
    "alice",
];

fn token(file: &str) -> String {
    format!("token-of-{file}-0123")
}

/// Starts a bridge with all operators. Returns the folder of the token files too.
fn start() -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let paths = FILES.map(|file| {
        let path = folder.path().join(file);
        std::fs::write(&path, token(file)).unwrap();
        path.display().to_string()
    });
    let settings = format!("[ops]\ntoken_files = {}", json!(paths));
    (TestApp::setup().settings(settings).start(), folder)
}

/// Parks an event, and returns the number of its entry.
fn park(app: &TestApp) -> u64 {
    app.imprint.inject(
        &json!({"customer": "c1", "times": 1, "action": {"status": 400, "param": "email"}}),
    );
    app.accept(&email("bad", "c1", 1));
    app.wait_until("bad", "parked");
    let list = app.ask_operator(&token("vera.viewer"), "GET /admin/v1/entries", &Value::Null);
    list.json()["entries"][0]["entry"].as_u64().unwrap()
}

/// The calls of the admin API, with the role that each call requires.
fn calls(entry: u64) -> Vec<(String, Value, Option<&'static str>)> {
    let (get, post) = (Value::Null, json!({}));
    let preview = json!({"ids": [entry], "reason": "x", "preview": true});
    let change = json!({"ids": [9999], "reason": "x"});
    let customer = json!({"imprint_id": "c1", "reason": "x"});
    let erase = json!({"of": {"customer": "nobody"}, "reason": "x"});
    let brake = json!({"source": "crm", "open_seconds": 90_000, "reason": "x"});
    let export = json!({"of": {"customer": "c1"}});
    let calls = [
        ("GET /entries", &get, None),
        ("GET /entries/N", &get, None),
        ("GET /entries/N/explain", &get, None),
        ("GET /audit", &get, None),
        ("GET /destination", &get, None),
        ("GET /sources", &get, None),
        ("GET /brakes", &get, None),
        ("GET /shadow", &get, None),
        ("GET /denied-requests", &get, None),
        ("GET /cases", &get, None),
        (
            "GET /passed?source=crm&field=phone&rule=same_value",
            &get,
            None,
        ),
        ("POST /customers/show", &export, None),
        ("POST /entries/replay", &preview, None),
        ("POST /entries/discard", &preview, None),
        ("POST /entries/park", &preview, None),
        ("POST /entries/replay", &change, Some("operator")),
        ("POST /entries/discard", &change, Some("operator")),
        ("POST /entries/park", &change, Some("operator")),
        (
            "POST /customers/reset-versions",
            &customer,
            Some("operator"),
        ),
        (
            "POST /destination",
            &json!({"mode": "open"}),
            Some("operator"),
        ),
        ("POST /reload", &post, Some("operator")),
        ("POST /brakes", &brake, Some("operator")),
        (
            "POST /store/backup",
            &json!({"name": "a.db"}),
            Some("operator"),
        ),
        ("POST /customers/erase", &erase, Some("operator")),
        ("POST /customers/export", &export, Some("revealer")),
        ("GET /entries/N?reveal=true", &get, Some("revealer")),
        ("GET /entries/N/explain?reveal=true", &get, Some("revealer")),
    ];
    let calls = calls.map(|(line, body, role)| {
        let line = line.replace("/N", &format!("/{entry}"));
        (line.replacen(" /", " /admin/v1/", 1), body.clone(), role)
    });
    calls.into()
}

/// FAULTS N500: every action of the admin API, with and without its role.
#[test]
fn an_action_needs_its_role() {
    let (app, _folder) = start();
    let calls = calls(park(&app));
    let mut refusals: u32 = 0;
    for file in FILES {
        for (line, body, role) in &calls {
            let answer = app.ask_operator(&token(file), line, body);
            let has_role = role.is_none_or(|role| file == "alice" || file.contains(role));
            if has_role {
                assert!(![401, 403].contains(&answer.status), "{file} {line}");
                continue;
            }
            assert_eq!(answer.status, 403, "{file} {line}: {}", answer.body);
            let problem = format!("urn:imprint-bridge:problem:{}_role_required", role.unwrap());
            assert_eq!(answer.json()["type"], problem);
            assert!(!answer.body.contains("bad@example.com"));
            refusals += 1;
        }
    }
    assert_eq!(refusals, 2 * (9 + 3));
    let counted = app.metric("admin_denied_total{reason=\"role\"}");
    assert_eq!(counted, Some(f64::from(refusals)));
}

/// FAULTS N500: a refused action changes nothing and reveals nothing, and the command line names the role.
#[test]
fn the_command_line_names_the_missing_role() {
    let (app, folder) = start();
    let entry = park(&app).to_string();
    let ops = format!("http://{}", app.ops());
    let call = |file: &str, arguments: &[&str]| {
        let path = folder.path().join(file);
        let path = Path::display(&path).to_string();
        let bridge = ["--ops", &ops, "--token-file", &path];
        let done = run(&[arguments, &bridge].concat(), "");
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let (code, output, error) = call("vera.viewer", &["show", &entry, "--reveal"]);
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert!(
        error.contains("requires the role revealer, which the operator vera does not have"),
        "{error}"
    );
    let discard = ["discard", &entry, "--reason", "x"];
    let (code, _, error) = call("rosa.revealer", &discard);
    assert_eq!(code, Some(1));
    assert!(error.contains("requires the role operator"), "{error}");
    assert_eq!(app.receipt("bad")["status"], "parked");
    let (_, output, _) = call("vera.viewer", &["audit", "--json"]);
    assert!(output.contains("\"acts\":[]"), "{output}");
    let (code, output, _) = call("rosa.revealer", &["show", &entry, "--reveal"]);
    assert_eq!(code, Some(0));
    assert!(output.contains("bad@example.com"), "{output}");
    let (code, ..) = call("otto.operator", &discard);
    assert_eq!(code, Some(0));
    assert_eq!(app.receipt("bad")["status"], "discarded");
}
