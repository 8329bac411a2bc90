//! Tests of an operator who looks for the entries of one event or of one customer.

use super::replay::by_both;
use super::*;
use crate::support::by_partner;

impl OperatedApp {
    /// Runs the command `events`, and returns the ids and the exit code.
    fn events(&self, arguments: &[&str]) -> (Vec<String>, i32) {
        let output = self.run("events", &[arguments, &["--json"]].concat());
        let answer: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let entries = answer["entries"].as_array().cloned().unwrap_or_default();
        let id = |entry: &Value| entry["id"].as_str().unwrap().to_owned();
        (entries.iter().map(id).collect(), output.code)
    }
}

/// FAULTS N455: an operator finds all entries of a customer by either id, in every state, and an entry by the id of its
/// event.
#[test]
fn entries_are_found_by_event_id_and_by_both_ids_of_the_customer() {
    let app = OperatedApp::with_known_pair();
    app.set_aside(&by_both("parked", 2), "c1");
    app.0.accept(&email("other", "c2", 1));
    app.0.wait_until("other", "delivered");
    app.set_mode("paused");
    app.0.accept(&by_partner("waits", "P-1", 3));
    for customer in ["P-1", "c1"] {
        let found = app.events(&["--customer", customer]);
        let all = ["first", "parked", "waits"].map(str::to_owned).to_vec();
        assert_eq!(found, (all, 0), "{customer}");
        let states = ["--state", "delivered", "--state", "waiting"];
        let found = app.events(&[&["--customer", customer], &states[..]].concat());
        let two = ["first", "waits"].map(str::to_owned).to_vec();
        assert_eq!(found, (two, 0), "{customer}");
        let parked = app.get(&format!("/entries?customer={customer}"));
        assert_eq!(parked["entries"][0]["id"], "parked", "{parked}");
    }
    assert_eq!(
        app.events(&["--id", "first"]),
        (vec!["first".to_owned()], 0)
    );
    assert_eq!(
        app.events(&["--id", "first", "--state", "waiting"]),
        (vec![], 2)
    );
    assert_eq!(
        app.events(&["--id", "first", "--customer", "c2"]),
        (vec![], 2)
    );
    assert_eq!(app.events(&["--id", "nothing"]), (vec![], 2));
    assert_eq!(app.events(&[]), (vec!["waits".to_owned()], 0));
    assert_eq!(app.events(&["--state", "all"]).0.len(), 4);
    assert_eq!(
        app.events(&["--state", "nonsense"]).1,
        2,
        "a wrong argument"
    );
    let shown = app.run("show", &[&app.number("first").to_string()]).stdout;
    assert!(shown.contains("partner_id: P-1"), "{shown}");
    app.set_mode("open");
    app.0.wait_until("waits", "delivered");
}

/// FAULTS N455: a change accepts an event id, and a filter for several states only if it accepts each of them.
#[test]
fn a_change_selects_entries_by_event_id() {
    let app = OperatedApp::with_known_pair();
    let parked = app.set_aside(&by_both("parked", 2), "c1");
    app.set_aside(&by_both("other", 3), "c1");
    let output = app.run("replay", &["--id", "parked", "--preview"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let filter = json!({"filter": {"id": "parked", "state": "all"}, "reason": "a test"});
    let answer = app.send("POST /admin/v1/entries/discard", &filter);
    assert_eq!(answer.status, 400, "{}", answer.body);
    let output = app.run("discard", &["--id", "parked", "--reason", "a test"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(app.0.receipt("parked")["status"], "discarded");
    assert_eq!(app.0.receipt("other")["status"], "parked");
    let shown = app.get(&format!("/entries/{parked}"));
    assert_eq!(shown["status"], "discarded");
}
