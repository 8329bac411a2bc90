//! What an operator does: looks, replays, discards, pauses; and what is kept of that.

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::support::{Event, TestApp, wait_for};

/// The operator's token, in a file called `alice` in the test's own folder.
const TOKEN: &str = "op-canary-token-1";

/// A bridge with one operator.
struct Desk(TestApp);

impl Desk {
    fn start(settings: &'static str) -> Self {
        let app = TestApp::setup().operator("alice", TOKEN).settings(settings);
        Self(app.start())
    }

    fn ask(&self, line: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        http::ask(self.0.ops(), line, &headers, &body).unwrap()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let answer = self.ask(&format!("GET /admin/v1{path}"), &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(&format!("POST /admin/v1{path}"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Parks an event, and says its number.
    fn park(&self, event: &Event, customer: &str) -> u64 {
        let id = event.json()["id"].as_str().unwrap().to_owned();
        let fault =
            json!({"customer": customer, "times": 1, "action": {"status": 400, "param": "email"}});
        self.0.imprint.inject(&fault);
        self.0.accept(event);
        self.0.wait_until(&id, "parked");
        let parked = self.get(&format!("/entries?customer={customer}"));
        let entries = parked["entries"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["id"] == id.as_str())
            .unwrap();
        entry["entry"].as_u64().unwrap()
    }
}

fn email(id: &str, customer: &str, revision: u64) -> Event {
    Event::new(id, customer, revision).email(&format!("{id}@example.com"))
}

/// K16, X51: without a token nobody gets in, and it is counted.
#[test]
fn only_an_operator_gets_in() {
    let desk = Desk::start("");
    let ops = desk.0.ops();
    let ask = |headers: &[(&str, &str)]| {
        let line = "GET /admin/v1/entries";
        http::ask(ops, line, headers, "").unwrap()
    };
    let wrong = [("authorization", "Bearer nobody")];
    for (headers, reason) in [(&[][..], "missing"), (&wrong, "mismatch")] {
        let answer = ask(headers);
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"operator\"")
        );
        assert_eq!(
            answer.json()["type"],
            "urn:imprint-bridge:problem:unauthenticated"
        );
        let name = format!("admin_denied_total{{reason=\"{reason}\"}}");
        assert_eq!(desk.0.metric(&name), Some(1.0));
    }
    let door = http::ask(desk.0.ingress(), "GET /admin/v1/entries", &wrong, "").unwrap();
    assert_eq!(door.status, 404, "it is not at the public door");
    let closed = TestApp::start();
    let answer = http::ask(closed.ops(), "GET /admin/v1/entries", &wrong, "").unwrap();
    assert_eq!(answer.status, 403);
}

/// X51, V5: values are masked, and who reveals them is on record.
#[test]
fn what_is_parked_is_listed_and_shown_masked() {
    let desk = Desk::start("");
    let entry = desk.park(&email("bad", "c1", 1), "c1");
    let other = desk.park(&email("other", "c2", 1), "c2");
    let list = |query: &str| -> Vec<u64> {
        let list = desk.get(&format!("/entries{query}"));
        let entries = list["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["entry"].as_u64().unwrap())
            .collect()
    };
    for (query, expected) in [
        ("", vec![entry, other]),
        (
            "?reason=rejected&source=crm&type=customer.changed",
            vec![entry, other],
        ),
        ("?reason=unreadable", vec![]),
        ("?customer=c2", vec![other]),
        ("?since=2020-01-01T00:00:00Z", vec![entry, other]),
        ("?before=2020-01-01T00:00:00Z", vec![]),
        ("?limit=1", vec![entry]),
        (&format!("?after={entry}"), vec![other]),
        ("?state=delivered", vec![]),
    ] {
        assert_eq!(list(query), expected, "{query}");
    }
    assert_eq!(
        desk.ask("GET /admin/v1/entries?nonsense=1", &Value::Null)
            .status,
        400
    );
    let masked = desk.get(&format!("/entries/{entry}"));
    assert!(!masked.to_string().contains("bad@example.com"), "{masked}");
    assert_eq!(masked["facts"]["email"], "••• (text of 15)");
    assert_eq!(masked["parked"]["reason"], "rejected");
    let shown = desk.get(&format!("/entries/{entry}?reveal=true"));
    assert_eq!(shown["facts"]["email"], "bad@example.com");
    assert_eq!(
        shown["event"]["data"]["customer"]["email"],
        "bad@example.com"
    );
    let audit = desk.get("/audit");
    let acts = audit["acts"].as_array().unwrap();
    assert_eq!((acts.len(), &audit["sound"]), (1, &json!(true)));
    assert_eq!(
        (&acts[0]["who"], &acts[0]["what"]),
        (&json!("alice"), &json!("reveal"))
    );
    assert_eq!(acts[0]["on"], entry.to_string());
}

/// O14: what was mended is sent, and doing it twice does nothing twice.
#[test]
fn a_replay_is_previewed_and_sent_once() {
    let desk = Desk::start("");
    let entry = desk.park(&email("bad", "c1", 1), "c1");
    let preview = desk.post("/entries/replay", &json!({"ids": [entry], "preview": true}));
    assert_eq!(preview["would_replay"], 1);
    assert_eq!(preview["requests"][0]["customer"], "c1");
    assert_eq!(preview["requests"][0]["facts"]["email"], "••• (text of 15)");
    assert_eq!(
        desk.0.receipt("bad")["status"],
        "parked",
        "a preview does nothing"
    );
    let replay = json!({"filter": {"reason": "rejected"}, "map_again": true, "reason": "mended"});
    assert_eq!(
        desk.post("/entries/replay", &replay)["replayed"],
        json!([entry])
    );
    let receipt = desk.0.wait_until("bad", "delivered");
    assert_eq!(receipt["attempts"], 2);
    for again in [json!({"ids": [entry]}), replay] {
        assert_eq!(desk.post("/entries/replay", &again)["replayed"], json!([]));
    }
    assert_eq!(desk.0.imprint.applied("c1").len(), 1);
    assert_eq!(desk.0.metric("parked_entries"), Some(0.0));
    let acts = desk.get("/audit");
    assert_eq!(acts["acts"][0]["reason"], "mended");
    assert_eq!(acts["acts"][0]["entries"], 1);
}

/// O13, V3: Tuesday's parked event, replayed after Thursday's success, sends only what nothing has overtaken.
#[test]
fn a_replay_never_overwrites_newer_facts() {
    let desk = Desk::start("");
    let tuesday = desk.park(&email("tuesday", "c1", 2), "c1");
    let wide = email("wide", "c2", 2).with("/data/customer/language", json!("fr"));
    let wide = desk.park(&wide, "c2");
    for customer in ["c1", "c2"] {
        let id = format!("thursday-{customer}");
        desk.0.accept(&email(&id, customer, 3));
        desk.0.wait_until(&id, "delivered");
    }
    let preview = desk.post(
        "/entries/replay",
        &json!({"ids": [tuesday, wide], "preview": true}),
    );
    assert_eq!(preview["stale"], json!([tuesday]));
    desk.post("/entries/replay", &json!({"ids": [tuesday, wide]}));
    let receipt = desk.0.wait_until("tuesday", "superseded");
    assert_eq!(receipt["superseded_by"], "thursday-c1");
    desk.0.wait_until("wide", "delivered");
    assert_eq!(
        desk.0.imprint.email("c1").as_deref(),
        Some("thursday-c1@example.com")
    );
    assert_eq!(
        desk.0.imprint.email("c2").as_deref(),
        Some("thursday-c2@example.com")
    );
    let last = desk.0.imprint.applied("c2").pop().unwrap();
    assert_eq!(
        (last.body.get("email"), &last.body["preferred_language"]),
        (None, &json!("fr"))
    );
}

#[test]
fn what_is_discarded_needs_a_reason_and_is_gone() {
    let desk = Desk::start("");
    let entry = desk.park(&email("bad", "c1", 1), "c1");
    let answer = desk.ask("POST /admin/v1/entries/discard", &json!({"ids": [entry]}));
    assert_eq!(answer.status, 400, "{}", answer.body);
    let discard = json!({"ids": [entry], "reason": "a test row of the CRM"});
    assert_eq!(
        desk.post("/entries/discard", &discard)["discarded"],
        json!([entry])
    );
    assert_eq!(desk.0.receipt("bad")["status"], "discarded");
    assert_eq!(
        desk.get(&format!("/entries/{entry}?reveal=true"))
            .get("facts"),
        None
    );
    assert_eq!(
        desk.post("/entries/discard", &discard)["discarded"],
        json!([])
    );
    assert_eq!(
        desk.post("/entries/replay", &json!({"ids": [entry]}))["replayed"],
        json!([])
    );
    let accepted = desk.0.metric("accepted_total");
    let standing = ["parked_entries", "waiting_entries"].map(|name| desk.0.metric(name).unwrap());
    assert_eq!((accepted, standing), (Some(1.0), [0.0, 0.0]));
}

/// An address abroad can be replayed without the address, once the operator says so.
#[test]
fn a_replay_maps_again_by_the_settings_of_today() {
    let mut desk = Desk::start("");
    let address =
        json!({"line1": "1 Rue X", "city": "Paris", "postal_code": "75001", "country": "FR"});
    let event = email("abroad", "c1", 1).with("/data/customer/address", address);
    desk.0.post(&event);
    let parked = desk.get("/entries");
    let entry = parked["entries"][0]["entry"].clone();
    let replay = json!({"ids": [entry], "map_again": true});
    let refused = desk.post("/entries/replay", &replay);
    assert_eq!(
        refused["unmappable"][0]["faults"][0]["rule"],
        "foreign_address"
    );
    desk.0.stop().unwrap();
    desk.0
        .files
        .write_settings("[imprint]\nforeign_address = \"skip\"");
    desk.0.restart();
    assert_eq!(
        desk.post("/entries/replay", &replay)["replayed"],
        json!([entry])
    );
    desk.0.wait_until("abroad", "delivered");
    assert_eq!(desk.0.imprint.applied("c1")[0].body.get("city"), None);
}

/// The operator stops the sending and starts it again; a restart changes nothing about that.
#[test]
fn a_paused_destination_stays_paused_until_an_operator_says_otherwise() {
    let mut desk = Desk::start("");
    desk.post(
        "/destination",
        &json!({"mode": "paused", "reason": "Imprint migrates"}),
    );
    desk.0.accept(&email("e", "c1", 1));
    desk.0.stop().unwrap();
    desk.0.restart();
    assert_eq!(desk.get("/destination")["mode"], "paused");
    assert_eq!(desk.0.receipt("e")["status"], "waiting");
    assert_eq!(desk.0.imprint.calls().len(), 0);
    desk.post("/destination", &json!({"mode": "open"}));
    desk.0.wait_until("e", "delivered");
    let acts = desk.get("/audit");
    assert_eq!(
        (acts["acts"].as_array().unwrap().len(), &acts["sound"]),
        (2, &json!(true))
    );
}

/// In shadow everything is done but the request.
#[test]
fn in_shadow_what_would_be_sent_is_recorded_and_nothing_is_sent() {
    let desk = Desk::start("");
    desk.post("/destination", &json!({"mode": "shadow"}));
    desk.0.accept(&email("e", "c1", 1));
    let shadow = wait_for("it is recorded", || {
        let shadow = desk.get("/shadow");
        (shadow["requests"].as_array().unwrap().len() == 1).then_some(shadow)
    });
    assert_eq!(shadow["requests"][0]["customer"], "c1");
    assert_eq!(shadow["requests"][0]["body"]["email"], "••• (text of 13)");
    assert_eq!(desk.0.imprint.calls().len(), 0);
    assert_eq!(desk.0.receipt("e")["status"], "waiting");
    desk.post("/destination", &json!({"mode": "open"}));
    desk.0.wait_until("e", "delivered");
}

/// U34: a wait that Imprint asked for outlives a restart.
#[test]
fn a_wait_that_imprint_asked_for_outlives_a_restart() {
    let mut desk = Desk::start("");
    let throttle = json!({"times": 1, "action": {"status": 429, "retry_after": "3600"}});
    desk.0.imprint.inject(&throttle);
    desk.0.accept(&email("e", "c1", 1));
    let throttled = |desk: &Desk| desk.get("/destination")["state"] == "throttled";
    wait_for("it waits", || throttled(&desk).then_some(()));
    desk.0.stop().unwrap();
    desk.0.restart();
    assert!(throttled(&desk));
    assert_eq!(desk.0.imprint.calls().len(), 1);
    desk.0.leave_waiting_entries();
}

// === the command line ===

/// What a command said, and with which exit code.
struct Said {
    code: i32,
    out: String,
    complaint: String,
}

impl Desk {
    fn run(&self, command: &str, arguments: &[&str]) -> Said {
        let ops = format!("http://{}", self.0.ops());
        let token = self.0.files.token_file("alice");
        let token = token.to_str().unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .arg(command)
            .args(arguments)
            .args(["--ops", &ops, "--token-file", token])
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            complaint: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What an operator types comes to the same.
#[test]
fn an_operator_looks_and_replays_from_the_command_line() {
    let desk = Desk::start("");
    let entry = desk.park(&email("bad", "c1", 1), "c1").to_string();
    let said = desk.run("parked", &["--parked-for", "rejected"]);
    assert_eq!(
        (said.code, said.out.lines().count()),
        (0, 2),
        "{}",
        said.out
    );
    let why = "rejected: status 400 BAD_REQUEST email";
    assert!(said.out.contains(why), "{}", said.out);
    let said = desk.run("show", &[&entry]).out;
    let is_masked = said.contains("email: ••• (text of 15)") && !said.contains("bad@");
    assert!(is_masked, "{said}");
    let said = desk.run("show", &[&entry, "--reveal"]).out;
    assert!(said.contains("email: bad@example.com"), "{said}");
    let said = desk.run("replay", &[&entry, "--preview"]);
    assert_eq!(
        (said.code, said.out.lines().next()),
        (0, Some("1 would be replayed"))
    );
    assert_eq!(desk.run("replay", &[]).code, 1, "it must be said which");
    let arguments = ["--customer", "c1", "--map-again", "--reason", "mended"];
    let said = desk.run("replay", &arguments);
    assert_eq!((said.code, said.out.trim()), (0, "1 replayed"));
    desk.0.wait_until("bad", "delivered");
    assert_eq!(
        desk.run("parked", &[]).code,
        2,
        "nothing is parked any more"
    );
    let said = desk.run("events", &["--state", "delivered", "--json"]).out;
    let events: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(events["entries"][0]["id"], "bad");
}

#[test]
fn an_operator_discards_and_pauses_from_the_command_line() {
    let desk = Desk::start("");
    let entry = desk.park(&email("bad", "c1", 1), "c1").to_string();
    let said = desk.run("discard", &[&entry]);
    assert_eq!(said.code, 1);
    assert!(
        said.complaint.contains("reason is required"),
        "{}",
        said.complaint
    );
    let said = desk.run("discard", &[&entry, "--reason", "a test row"]);
    assert_eq!((said.code, said.out.trim()), (0, "1 discarded"));
    let said = desk.run("destination", &["paused", "--reason", "they migrate"]);
    assert!(
        said.code == 0 && said.out.contains("mode: paused"),
        "{}",
        said.out
    );
    assert_eq!(desk.run("destination", &["open"]).code, 0);
    let said = desk.run("audit", &[]);
    assert_eq!(
        (said.code, said.out.lines().count()),
        (0, 1 + 3),
        "{}",
        said.out
    );
    for (what, word) in [("discard", "a test row"), ("mode", "they migrate")] {
        let told = |line: &str| line.contains(what) && line.contains(word);
        assert!(said.out.lines().any(told), "{}", said.out);
    }
}

/// D15: a copy is made while the bridge runs, is whole, and what waited in it is delivered after it was put back.
#[test]
fn a_copy_of_the_store_is_made_looked_over_and_put_back() {
    let mut desk = Desk::start("");
    desk.post("/destination", &json!({"mode": "paused"}));
    desk.0.accept(&email("in-the-copy", "c1", 1));
    let said = desk.run("store", &["backup", "copy.db"]);
    assert_eq!(said.code, 0, "{}", said.complaint);
    assert_eq!(
        desk.run("store", &["backup", "copy.db"]).code,
        1,
        "it is there already"
    );
    assert_eq!(
        desk.run("store", &["backup", "../copy.db"]).code,
        1,
        "beside the store only"
    );
    desk.0.accept(&email("after-it", "c1", 2));
    desk.0.stop().unwrap();
    let copy = desk.0.files.store_file("copy.db");
    let copy = copy.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(arguments)
            .output()
            .unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            complaint,
        )
    };
    let (code, out, complaint) = run(&["store", "verify", copy]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(
        out.starts_with("1 entries, 1 waiting, 0 parked, 2 acts on record"),
        "{out}"
    );
    let mut arguments = vec!["store".to_owned(), "restore".to_owned(), copy.to_owned()];
    for file in desk.0.files.settings() {
        arguments.extend(["--config".to_owned(), file.to_str().unwrap().to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, _, complaint) = run(&arguments);
    assert_eq!(code, Some(0), "{complaint}");
    desk.0.restart();
    desk.post("/destination", &json!({"mode": "open"}));
    desk.0.wait_until("in-the-copy", "delivered");
    desk.0.accept(&email("after-it", "c1", 2));
    desk.0.wait_until("after-it", "delivered");
}
