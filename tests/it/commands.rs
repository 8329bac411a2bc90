//! Tests of the command line: the output and the exit code of each command.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::authentication::SourceFolder;
use crate::support::{Event, TestApp, wait_for};

/// Runs the program in the root of the project, with `input` on its standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that rejects its arguments exits without reading its standard input.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs the command `send`, which sends the events of `input` to a source of a running bridge.
pub(crate) fn send(ingress: SocketAddr, source: &str, more: &[&str], input: &str) -> Output {
    let to = format!("http://{ingress}");
    let arguments = ["send", "--quiet", "--to", &to, "--source", source];
    run(&[&arguments, more].concat(), input)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// FAULTS N941: `send` uses TLS at a port without TLS, or at a port where no process listens.
#[test]
fn send_names_the_cause_of_a_missing_connection() {
    let app = TestApp::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = free.local_addr().unwrap();
    drop(free);
    for (to, expected) in [
        (
            format!("https://{}", app.ingress()),
            "the port answers without TLS: write http:// instead of https://",
        ),
        (format!("http://{closed}"), "Connection refused"),
    ] {
        let more = ["--source", "crm", "--give-up-after", "2s"];
        let arguments = [&["send", "--quiet", "--to", &to], &more[..]].concat();
        let output = run(&arguments, &Event::new("a", "C-1", 1).json().to_string());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let expected =
            format!("no connection to the bridge at {to}/v1/sources/crm/events: {expected}");
        assert!(errors.contains(&expected), "{errors}");
    }
}

#[test]
fn the_demo_ends_with_correct_customers_and_consistent_figures() {
    let output = run(&["demo", "--events", "600", "--json"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let figures: Value =
        serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    let figure = |name: &str| {
        figures[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} in {figures}"))
    };
    let ended: u64 = ["delivered", "superseded", "ignored", "parked"]
        .into_iter()
        .map(figure)
        .sum();
    assert_eq!(figure("accepted"), ended, "{figures}");
    assert_eq!(
        figure("accepted") + figure("duplicates") + figure("refused"),
        600,
        "{figures}"
    );
    assert!(
        figure("refused") > 0 && figure("duplicates") > 0 && figure("superseded") > 0,
        "{figures}"
    );
    assert!(
        figure("requests") >= figure("delivered").min(1) && figures["seconds"].is_f64(),
        "{figures}"
    );
}

#[test]
fn check_finds_no_error_in_the_sources_of_this_repository() {
    let output = run(&["check"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("customer.changed: crm/customer-changed.v1.json maps 26 fields"),
        "{stdout}"
    );
    assert!(stdout.ends_with("no errors\n"), "{stdout}");
}

#[test]
fn send_reports_how_many_events_were_accepted() {
    let app = TestApp::start();
    let lines = |events: &[Event]| {
        events
            .iter()
            .map(|event| format!("{}\n", event.json()))
            .collect::<String>()
    };
    let send = |more: &[&str], input: &str| send(app.ingress(), "crm", more, input);
    let event = |id: &str, customer: &str, revision| {
        Event::new(id, customer, revision).email(&format!("{id}@example.com"))
    };
    let good = [
        event("s-1", "C-1", 1),
        event("s-2", "C-1", 2),
        event("s-1", "C-1", 1),
    ];
    let output = send(&[], &lines(&good));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout).lines().last().unwrap(),
        "sent 3: 2 accepted, 1 duplicates, 0 refused, 0 failed"
    );
    let canary = event("s-3", "C-2", 1).email("canary at nowhere");
    let output = send(&[], &lines(&[canary, event("s-4", "C-2", 2)]));
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("s-3") && stderr.contains("/data/customer/email"),
        "{stderr}"
    );
    assert!(!stderr.contains("canary"), "{stderr}");
    let output = send(&["--low-priority"], &lines(&[event("s-5", "C-3", 1)]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    app.wait_until("s-5", "delivered");
    app.wait_until("s-2", "delivered");
    app.wait_until("s-4", "delivered");
    assert_eq!(send(&[], "no JSON").status.code(), Some(2));
    // FAULTS N1361
    for empty in ["", "\n", "[]"] {
        let output = send(&[], empty);
        assert_eq!(output.status.code(), Some(2), "{empty:?}");
        let errors = text(&output.stderr);
        assert!(errors.contains("the input has no event"), "{errors}");
    }
    let batch = json!([event("s-6", "C-4", 1).json(), event("s-7", "C-5", 1).json()]);
    let output = send(&["--whole"], &batch.to_string());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let sent = "sent 2: 2 accepted, 0 duplicates, 0 refused, 0 failed\n";
    assert_eq!(text(&output.stdout), sent);
    app.wait_until("s-7", "delivered");
}

/// FAULTS N419: `send` posts a body as it is. It says that the bridge has parked an accepted event as invalid, that the
/// bridge found no event, and how many events the bridge found in one body.
#[test]
fn send_tells_what_the_bridge_did_with_each_event_of_a_body() {
    const SPLIT: &str = r#"
[body]
format = "json"
split = ".[]"
id = ".id"
type = '"p"'
on_invalid = "park"
[events.p]
schema = "any.json"
customer.imprint_id = ".cid"
[events.p.update]
email = ".email"
"#;
    let folder = SourceFolder::new("", "kind = \"none\"", SPLIT);
    let app = folder.start();
    let event = |id: &str, email: &str| json!({"id": id, "cid": format!("C-{id}"), "email": email});
    let good = event("a", "a@example.com");
    let send = |body: &str| {
        let output = send(app.ingress(), "probe", &["--plain", "--whole"], body);
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| text(bytes));
        (output.status.code(), stdout, stderr)
    };
    let body = format!("[{good},\n{}]\n", event("b", "canary at nowhere"));
    let (code, stdout, stderr) = send(&body);
    assert_eq!(
        stdout,
        "sent 2 (1 of them parked): 2 accepted, 0 duplicates, 0 refused, 0 failed\n"
    );
    assert_eq!(
        stderr,
        "line 1, event 1 (b): parked as invalid: /1/email (email)\n"
    );
    assert_eq!(code, Some(1), "an operator must look at the event");
    let (code, stdout, _) = send(&body);
    assert_eq!(
        stdout,
        "sent 2 (1 of them parked): 0 accepted, 2 duplicates, 0 refused, 0 failed\n"
    );
    assert_eq!(code, Some(1), "the event still waits for an operator");
    let (code, _, stderr) = send("[]");
    assert!(stderr.contains("found no event in it"), "{stderr}");
    assert_eq!(code, Some(0));
    let (code, _, stderr) = send("[{\"id\": ");
    assert!(stderr.contains("refused: 400"), "{stderr}");
    assert_eq!(code, Some(1));
    wait_for("the good event is delivered", || {
        (app.imprint.email("C-a").as_deref() == Some("a@example.com")).then_some(())
    });
}

/// FAULTS N399: no bridge listens at the address of `send`. The message names the address.
#[test]
fn send_names_the_address_without_a_bridge() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let sent = send(
        address,
        "crm",
        &["--give-up-after", "100ms"],
        "{\"id\": \"7\"}",
    );
    let output = text(&sent.stdout) + &text(&sent.stderr);
    assert!(!sent.status.success(), "{output}");
    let expected = format!("no connection to the bridge at http://{address}/");
    assert!(output.contains(&expected), "{output}");
}

/// FAULTS N907: a mistake on the command line, or a program that uses the wrong listener.
#[test]
fn the_message_names_the_mistake_of_the_operator() {
    let app = TestApp::setup()
        .operator("ann", "token-of-ann-0123456789")
        .start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "token-of-ann-0123456789").unwrap();
    let token = token.to_str().unwrap();
    let (ops, events) = (app.ops().to_string(), format!("http://{}", app.ingress()));
    let url = format!("http://{ops}");
    for (arguments, part) in [
        (&["events", "--ops", &ops][..], "the URL has no scheme"),
        (
            &["events", "--ops", &events],
            "--ops names the ops listener",
        ),
        (
            &["show", "v-1", "--ops", &url],
            "`events --id` shows the numbers",
        ),
        (
            &["discard", "v-1", "--ops", &url],
            "`events --id` shows the numbers",
        ),
        (
            &["store", "backup", "../copy.db", "--ops", &url],
            "has a name and no path",
        ),
    ] {
        let output = run(&[arguments, &["--token-file", token]].concat(), "");
        let output = text(&output.stdout) + &text(&output.stderr);
        assert!(output.contains(part), "{arguments:?}: {output}");
    }
    let json = [("content-type", "application/json")];
    for line in ["POST /v1/sources/crm/events", "POST /events"] {
        let answer = crate::http::ask(app.ops(), line, &json, "{}").unwrap();
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert!(
            answer.body.starts_with("This is the ops listener"),
            "{}",
            answer.body
        );
    }
}

/// FAULTS N1043
#[test]
fn a_shell_completes_commands_and_options() {
    let script = |shell| {
        let output = run(&["completions", shell], "");
        assert!(output.status.success(), "{output:?}");
        let script = text(&output.stdout);
        assert!(!script.contains('\u{fffd}'), "{shell}");
        script
    };
    for shell in ["zsh", "fish"] {
        let script = script(shell);
        for word in ["denied-requests", "new-source", "map-again"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completions.bash");
    std::fs::write(&file, script("bash")).unwrap();
    let complete = "source \"$1\"; shift; name=$(complete -p imprint-bridge); name=${name#*-F }; \
        COMP_WORDS=(imprint-bridge \"$@\"); COMP_CWORD=$#; \
        \"${name%% *}\" imprint-bridge \"${!#}\" \"${COMP_WORDS[$#-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    for (words, expected) in [
        (&["denied"][..], "denied-requests"),
        (&["brakes", "--rel"], "--release"),
        (&["store", "rest"], "restore"),
    ] {
        let output = Command::new("bash")
            .args(["--norc", "-c", complete, "bash"])
            .arg(&file)
            .args(words)
            .output();
        let output = output.unwrap();
        assert_eq!(text(&output.stdout).trim(), expected, "{output:?}");
    }
    let unknown = run(&["completions", "tcsh"], "");
    assert_eq!(unknown.status.code(), Some(2));
}

/// FAULTS N1346, N1347, N1367: the arguments that people try name the command or the option with this meaning.
#[test]
fn a_wrong_argument_names_the_right_one() {
    for (arguments, expected) in [
        (&["version"][..], "the option --version prints the version"),
        (
            &["new-source", "--name", "shop", "--sample", "a.json"],
            "new-source NAME --sample FILE",
        ),
        (
            &["explain", "shop", "a.json"],
            "the name of the source stands after --source",
        ),
        (
            &["explain", "--source", "shop", "a.json", "b.json"],
            "unexpected argument 'b.json' found",
        ),
        (&["serve", "--port", "80"], "the setting ingress.listen"),
        (&["serve", "--dry-run"], "the command check reports"),
        (&["serve", "bridge.toml"], "use --config FILE"),
    ] {
        let output = run(arguments, "");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
        assert!(!errors.contains("similar"), "{arguments:?}: {errors}");
        let has_source = arguments.contains(&"--source");
        let names_source = errors.contains("stands after --source");
        assert!(!(has_source && names_source), "{errors}");
    }
}
