//! Tests of corrections: the events of parked entries are printed, corrected by an operator, and replayed.

use super::*;

/// The second operator, who cannot reveal values.
const SEEING_NOTHING: &str = "op-canary-token-2";

impl PartialApp {
    /// Parks invalid events of the source `list`, and returns the lines that `parked --events` prints.
    fn printed(&self, body: &Value) -> Vec<Value> {
        self.accept("list", body);
        let (printed, code) = self.cli("parked", &["--events", "--parked-for", "invalid"]);
        assert_eq!(code, 0, "{printed}");
        let lines = printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    fn cli(&self, command: &str, arguments: &[&str]) -> (String, i32) {
        let ops = format!("http://{}", self.app.ops());
        let token = self.app.files.token_file("alice");
        let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .arg(command)
            .args(arguments)
            .args(["--ops", &ops, "--token-file", token.to_str().unwrap()])
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (
            String::from_utf8(printed).unwrap(),
            output.status.code().unwrap(),
        )
    }

    /// Sends corrections to the admin API.
    fn correct(&self, corrections: &Value) -> Answer {
        let body = json!({"corrections": corrections, "reason": "a test"});
        self.app
            .ask_operator(TOKEN, "POST /admin/v1/entries/correct", &body)
    }

    fn last_acts(&self) -> Vec<Value> {
        let answer = self.admin("GET /admin/v1/audit", &Value::Null);
        answer["acts"].as_array().unwrap().clone()
    }
}

/// FAULTS N1582: the events of parked entries are printed for a correction, and the corrected file is read. The corrected values
/// reach Imprint, the event of the source stays a duplicate, and the audit log names the changed places without a value.
#[test]
fn rejected_events_are_printed_corrected_and_delivered() {
    let mut app = PartialApp::start();
    app.reconfigure(&[]);
    let body = json!([
        changed(1, "c1", &json!({"phone": "canary", "note": "a\u{202e}ü\n"})),
        changed(2, "c2", &json!({"phone": "canary"})),
        changed(3, "c3", &json!({"phone": "canary"})),
    ]);
    let mut lines = app.printed(&body);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["event"]["data"]["note"], "a\u{202e}ü\n");
    assert_eq!(lines[0]["parked"]["faults"][0]["pointer"], "/0/phone");
    let reveal = app.last_acts().pop().unwrap();
    assert_eq!(
        (&reveal["what"], &reveal["on"]),
        (&json!("reveal"), &json!("1 2 3"))
    );

    lines.truncate(2);
    lines[0]["event"]["data"]["phone"] = json!("+14155552671");
    lines[0]["event"]["data"]["email"] = json!("a@example.com");
    let second = lines[1]["event"]["data"].as_object_mut().unwrap();
    second.remove("phone");
    second.insert("email".to_owned(), json!("b@example.com"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("corrected.ndjson");
    let text: String = lines.iter().map(|line| format!("{line}\n\n")).collect();
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (preview, code) = app.cli("correct", &[file, "--preview"]);
    assert_eq!(code, 0, "{preview}");
    assert!(preview.contains("2 would be replayed"), "{preview}");
    assert!(preview.contains("request to customer c1"), "{preview}");
    assert_eq!(app.invalid().len(), 3, "a preview changes nothing");
    let (corrected, code) = app.cli("correct", &[file, "--reason", "typing errors"]);
    assert_eq!(code, 0, "{corrected}");
    assert!(corrected.contains("2 replayed"), "{corrected}");
    app.wait_until("list", "1", "delivered");
    app.wait_until("list", "2", "delivered");
    let customer = app.app.imprint.sandbox.customer("c1").unwrap()["customer"].clone();
    assert_eq!(customer["phone"], "+14155552671");
    assert_eq!(customer["email"], "a@example.com");
    assert_eq!(app.invalid().len(), 1);
    let act = app.last_acts().pop().unwrap();
    assert_eq!(
        (&act["what"], &act["on"], &act["reason"]),
        (
            &json!("correct"),
            &json!("1 (/data/email /data/phone), 2 (/data/email /data/phone)"),
            &json!("typing errors")
        )
    );
    let again = app.accept("list", &json!([body[0]]));
    assert_eq!(again[0]["duplicate"], true, "{again:?}");
}

/// FAULTS N1583: a correction cannot make another event of an entry, store a card number, or change an entry that is not parked.
#[test]
fn a_correction_changes_only_the_content_of_parked_events() {
    let mut app = PartialApp::start();
    app.reconfigure(&[]);
    let right = changed(9, "c9", &json!({"email": "right@example.com"}));
    let lines = app.printed(&json!([
        changed(1, "c1", &json!({"phone": "canary"})),
        right
    ]));
    let entry = lines[0]["entry"].as_u64().unwrap();
    let event = &lines[0]["event"];
    let with = |pointer: &str, value: Value| {
        let mut event = event.clone();
        event["data"]["phone"] = Value::Null;
        let (outer, name) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(outer).unwrap()[name] = value;
        json!([{"entry": entry, "event": event}])
    };
    for (corrections, pointer, rule) in [
        (with("/id", json!("2")), "/id", "correction"),
        (with("/type", json!("other")), "/type", "correction"),
        (
            with("/request_headers", json!({"x-a": "b"})),
            "/request_headers",
            "correction",
        ),
        (
            with("/data/note", json!("4111 1111 1111 1111")),
            "/note",
            "card_number",
        ),
        (with("/data/customer", json!("c2")), "", "correction"),
        (with("/data/n", json!(5)), "", "correction"),
        (with("/data/type", json!("other")), "", "correction"),
        (with("/data/phone", json!("still wrong")), "/phone", "e164"),
        (json!([{"entry": entry, "event": "text"}]), "", "correction"),
    ] {
        let answer = app.correct(&corrections);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        assert_eq!(answer["replayed"], json!([]), "{corrections} {answer}");
        let error = &answer["unmappable"][0]["faults"][0];
        assert_eq!(
            (&error["pointer"], &error["rule"]),
            (&json!(pointer), &json!(rule)),
            "{answer}"
        );
        assert!(!answer.to_string().contains("still wrong"), "{answer}");
    }
    let missing =
        app.correct(&json!([{"entry": 77, "event": {}}, {"entry": entry + 1, "event": {}}]));
    let missing = missing.json();
    assert_eq!(
        missing["unchanged"][0]["reason"], "unknown_entry",
        "{missing}"
    );
    assert_eq!(missing["unchanged"][1]["reason"], "state", "{missing}");
    let twice = json!([{"entry": entry, "event": event}, {"entry": entry, "event": event}]);
    let twice = app.correct(&twice);
    assert_eq!(twice.status, 400, "{}", twice.body);
    assert_eq!(app.invalid().len(), 1, "nothing changed");
    assert_eq!(app.receipt("list", "1")["status"], "parked");
}

/// FAULTS N1584: two members with one name are refused, as on the event listener. A correction needs a reason, and both roles.
#[test]
fn a_correction_needs_two_roles_a_reason_and_strict_json() {
    let mut app = PartialApp::start();
    let files = &app.app.files;
    let tokens = ["alice", "bob.operator"].map(|name| files.token_file(name));
    fs::write(&tokens[1], SEEING_NOTHING).unwrap();
    let settings = format!("[ops]\ntoken_files = {}", json!(tokens));
    fs::write(files.token_file("operator.toml"), settings).unwrap();
    app.reconfigure(&[]);
    let lines = app.printed(&json!([changed(1, "c1", &json!({"phone": "canary"}))]));
    let mut corrected = json!({"entry": lines[0]["entry"], "event": lines[0]["event"]});
    corrected["event"]["data"]["phone"] = Value::Null;
    let path = "POST /admin/v1/entries/correct";
    let body = json!({"corrections": [corrected], "reason": "a test"});
    let other = app.app.ask_operator(SEEING_NOTHING, path, &body);
    assert_eq!(other.status, 403, "{}", other.body);
    let events = json!({"filter": {"state": "parked"}});
    let events = app
        .app
        .ask_operator(SEEING_NOTHING, "POST /admin/v1/entries/events", &events);
    assert_eq!(events.status, 403, "{}", events.body);
    let preview = json!({"corrections": [corrected], "preview": true});
    let preview = app.app.ask_operator(SEEING_NOTHING, path, &preview);
    assert_eq!(preview.status, 403, "{}", preview.body);
    let no_reason = app
        .app
        .ask_operator(TOKEN, path, &json!({"corrections": [corrected]}));
    assert_eq!(no_reason.status, 400, "{}", no_reason.body);
    let text = body.to_string().replacen(
        "\"phone\":null",
        "\"phone\":null,\"phone\":\"+14155552671\"",
        1,
    );
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let doubled = http::ask(app.app.ops(), path, &headers, &text).unwrap();
    assert_eq!(doubled.status, 400, "{}", doubled.body);
    assert!(
        doubled.body.contains("same key more than once"),
        "{}",
        doubled.body
    );
    assert_eq!(app.invalid().len(), 1, "nothing changed");
}

/// FAULTS N1586: a file with more entries than one request can have: the preview counts all of them, and an entry that stands twice
/// is refused before the first request.
#[test]
fn a_long_file_is_corrected_in_parts_and_checked_as_a_whole() {
    let mut app = PartialApp::start();
    app.reconfigure(&[]);
    let event = |id: u32| changed(id, &format!("c{id}"), &json!({"phone": "canary"}));
    let body: Vec<Value> = (1..=150).map(event).collect();
    app.accept("list", &json!(body[..75]));
    let mut lines = app.printed(&json!(body[75..]));
    assert_eq!(lines.len(), 150);
    for line in &mut lines {
        line["event"]["data"]["phone"] = json!("+14155552671");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("corrected.ndjson");
    let path = file.to_str().unwrap();
    let write = |lines: &[Value]| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&file, text).unwrap();
    };
    let twice = [&lines[..], &lines[..1]].concat();
    write(&twice);
    let (refused, code) = app.cli("correct", &[path, "--reason", "a test"]);
    assert_eq!(code, 1, "{refused}");
    assert!(
        refused.contains("line 151: entry 1 stands twice"),
        "{refused}"
    );
    assert_eq!(app.invalid().len(), 100, "the first page: nothing changed");
    write(&lines);
    let (preview, code) = app.cli("correct", &[path, "--preview"]);
    assert_eq!(code, 0, "{preview}");
    assert!(preview.contains("150 would be replayed"), "{preview}");
    assert!(
        preview.contains("computes each part by itself"),
        "{preview}"
    );
    let (corrected, code) = app.cli("correct", &[path, "--reason", "a test"]);
    assert_eq!(code, 0, "{corrected}");
    assert!(corrected.contains("150 replayed"), "{corrected}");
    assert_eq!(app.invalid().len(), 0);
    for line in &lines {
        app.wait_until("list", line["id"].as_str().unwrap(), "delivered");
    }
}
