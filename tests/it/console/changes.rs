//! Tests of the actions on entries: a preview, and then a confirmation with a reason.

use serde_json::{Value, json};

use super::{Browser, TOKEN, VIEWER, park, start_with_viewer};
use crate::support::{TestApp, email};

/// Returns the hidden fields of the form with this action.
#[track_caller]
pub(super) fn hidden_fields(page: &str, action: &str) -> Vec<(String, String)> {
    let form = format!("action=\"{action}\"");
    let (_, form) = page.split_once(&form).unwrap_or_else(|| panic!("{page}"));
    let (form, _) = form.split_once("</form>").unwrap();
    let fields = form.split("<input type=\"hidden\" name=\"").skip(1);
    let fields = fields.map(|field| {
        let (name, rest) = field.split_once("\" value=\"").unwrap();
        let value = rest.split('"').next().unwrap();
        (name.to_owned(), value.replace("&#38;", "&"))
    });
    fields.collect()
}

/// Confirms the change of a preview with a reason.
pub(super) fn confirm(browser: &mut Browser, preview: &str, reason: &str) -> crate::http::Answer {
    let fields = hidden_fields(preview, "/entries/change");
    let mut fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.push(("reason", reason));
    browser.post("/entries/change", &fields)
}

/// The latest record of the audit log.
fn last_act(app: &TestApp) -> Value {
    let answer = app.ask_operator(TOKEN, "GET /admin/v1/audit", &Value::Null);
    let acts = answer.json()["acts"].as_array().unwrap().clone();
    acts.last().cloned().unwrap_or_default()
}

/// FAULTS N872
#[test]
fn a_replay_shows_its_requests_before_the_operator_confirms_it() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    park(&app, "e2", "c2", 1);
    let mut browser = Browser::logged_in(&app, TOKEN);
    let list = browser.page("/entries?customer=c1");
    assert!(list.contains("name=\"entry\" value=\"1\""), "{list}");
    assert!(list.contains(">Replay…<"), "{list}");
    let back = ("back", "/entries?state=parked&customer=c1");
    let chosen = [("action", "replay"), ("entry", "1"), ("entry", "2"), back];
    let answer = browser.submit("/entries/preview", &chosen);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let preview = answer.body;
    for shown in [
        "Replay 2 entries?",
        "Requests to Imprint <small>2 requests</small>",
        "••• (text of ",
        "href=\"/entries?state=parked&#38;customer=c1\"",
    ] {
        assert!(preview.contains(shown), "{shown}: {preview}");
    }
    assert!(!preview.contains("@example.com"), "{preview}");
    assert_eq!(app.receipt("e1")["status"], "parked", "nothing changed yet");

    let answer = confirm(&mut browser, &preview, "Imprint fixed the rule");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.body.contains("2 entries replayed"),
        "{}",
        answer.body
    );
    let back = "href=\"/entries?state=parked&#38;customer=c1\"";
    assert!(answer.body.contains(back), "{}", answer.body);
    // FAULTS N1314
    let result = "/entries/result?entries=1-2";
    assert!(answer.body.contains(result), "{}", answer.body);
    for (id, customer) in [("e1", "c1"), ("e2", "c2")] {
        app.wait_until(id, "delivered");
        assert!(app.imprint.email(customer).is_some(), "{customer}");
    }
    let page = browser.page(result);
    assert!(page.contains("<strong>2 delivered</strong>"), "{page}");
    let page = browser.page("/entries/result?entries=1-2,98-99");
    assert!(page.contains("not have 2 entries of the address"), "{page}");
    let act = last_act(&app);
    assert_eq!(
        (&act["who"], &act["what"], &act["on"], &act["reason"]),
        (
            &json!("alice"),
            &json!("replay"),
            &json!("1 2"),
            &json!("Imprint fixed the rule")
        )
    );
}

/// FAULTS N1581: beside each field that a replay would send, the page has what Imprint has: version, entry, event and time.
#[test]
fn a_replay_is_shown_as_a_difference_to_what_imprint_has() {
    let (app, _folder) = start_with_viewer();
    app.accept(&email("old", "c1", 3));
    app.wait_until("old", "delivered");
    park(&app, "e1", "c1", 5);
    let mut browser = Browser::logged_in(&app, TOKEN);
    let back = ("back", "/entries?state=parked&customer=c1");
    let chosen = [
        ("action", "replay"),
        ("entry", "2"),
        ("mapping", "stored"),
        back,
    ];
    let page = browser.submit("/entries/preview", &chosen).body;
    let (_, row) = page
        .split_once("<code>email</code>")
        .unwrap_or_else(|| panic!("{page}"));
    let (row, _) = row.split_once("</tr>").unwrap();
    let (sent, has) = row.split_once("data-label=\"Imprint has\"").unwrap();
    for (cell, shown) in [
        (sent, "••• (text of "),
        (sent, ">5</span>"),
        (sent, "href=\"/entries/2\""),
        (has, ">3</span>"),
        (has, "href=\"/entries/1\""),
        (has, "<span class=\"id\">old</span> of crm, "),
        (has, "<time datetime="),
    ] {
        assert!(cell.contains(shown), "{shown}: {row}");
    }
}

/// FAULTS N872: an entry that matches the filter after the preview stays unchanged.
#[test]
fn a_change_of_a_filtered_set_changes_only_the_previewed_entries() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    park(&app, "e2", "c2", 1);
    park(&app, "e3", "c1", 2);
    let mut browser = Browser::logged_in(&app, TOKEN);
    let list = browser.page("/entries?state=parked&customer=c1");
    assert!(list.contains(">Discard all…<"), "{list}");
    assert!(
        !list.contains(">Park all…<"),
        "the entries are parked: {list}"
    );
    let filter = ("filter", "state=parked&customer=c1");
    let fields = hidden_fields(&list, "/entries/preview");
    let first = fields.iter().find(|(name, _)| name == "filter");
    let first = first.map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(
        first,
        Some(filter),
        "the actions on all stand before the list"
    );
    // FAULTS N1190
    assert!(list.contains("<p class=\"actions stays\"><span>Chosen entries:"));
    let answer = browser.submit("/entries/preview", &[("action", "discard"), filter]);
    let preview = answer.body;
    assert!(preview.contains("Discard 2 entries?"), "{preview}");
    park(&app, "e4", "c1", 3);

    let without_reason = confirm(&mut browser, &preview, " ");
    assert_eq!(without_reason.status, 400, "{}", without_reason.body);
    let detail = "A reason is required";
    assert!(
        without_reason.body.contains(detail),
        "{}",
        without_reason.body
    );
    let answer = confirm(&mut browser, &preview, "test rows");
    assert!(
        answer.body.contains("2 entries discarded"),
        "{}",
        answer.body
    );
    let states = ["e1", "e2", "e3", "e4"].map(|id| app.receipt(id)["status"].clone());
    assert_eq!(states, ["discarded", "parked", "discarded", "parked"]);
    assert_eq!(last_act(&app)["reason"], "test rows");
    let again = confirm(&mut browser, &preview, "test rows");
    assert!(again.body.contains("0 entries discarded"), "{}", again.body);
    let unchanged = "the entry is discarded, and the command accepts only";
    assert!(again.body.contains(unchanged), "{}", again.body);
}

/// FAULTS N872
#[test]
fn a_waiting_entry_is_parked_from_its_page() {
    let (app, _folder) = start_with_viewer();
    let pause = json!({"mode": "paused", "reason": "test"});
    app.ask_operator(TOKEN, "POST /admin/v1/destination", &pause);
    app.accept(&email("e1", "c1", 1));
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/entries/1");
    assert!(
        page.contains(">Park…<") && page.contains(">Discard…<"),
        "{page}"
    );
    assert!(!page.contains(">Replay…<"), "the entry waits: {page}");
    let fields = hidden_fields(&page, "/entries/preview");
    let mut fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.push(("action", "park"));
    let preview = browser.post("/entries/preview", &fields).body;
    assert!(preview.contains("Park 1 entry?"), "{preview}");
    let answer = confirm(&mut browser, &preview, "wrong address");
    assert!(answer.body.contains("1 entry parked"), "{}", answer.body);
    assert!(
        answer.body.contains("href=\"/entries/1\""),
        "{}",
        answer.body
    );
    assert_eq!(app.receipt("e1")["status"], "parked");
}

/// FAULTS N1448
#[test]
fn a_preview_without_an_entry_offers_no_change() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    let mut browser = Browser::logged_in(&app, TOKEN);
    let none = [("action", "release"), ("filter", "state=held&source=crm")];
    let page = browser.submit("/entries/preview", &none).body;
    assert!(page.contains("<h1>No entry can be released</h1>"), "{page}");
    assert!(page.contains("No entry matches"), "{page}");
    for absent in ["Release 0", "name=\"reason\"", "Preview with"] {
        assert!(!page.contains(absent), "{absent}: {page}");
    }
}

/// FAULTS N1495: an action that does not accept the state of a chosen entry counts no such entry, and says why.
#[test]
fn a_preview_counts_only_entries_that_the_action_changes() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    app.accept(&email("e2", "c2", 1));
    app.wait_until("e2", "delivered");
    let mut browser = Browser::logged_in(&app, TOKEN);
    for (action, entry, state, done) in [
        ("release", "1", "parked", "released"),
        ("release", "2", "delivered", "released"),
        ("replay", "2", "delivered", "replayed"),
        ("discard", "2", "delivered", "discarded"),
        ("park", "1", "parked", "parked"),
    ] {
        let chosen = [("action", action), ("entry", entry)];
        let page = browser.submit("/entries/preview", &chosen).body;
        let title = format!("<h1>No entry can be {done}</h1>");
        assert!(page.contains(&title), "{action} {entry}: {page}");
        let reason = format!("the entry is {state}, and the command accepts only");
        assert!(page.contains(&reason), "{action} {entry}: {page}");
        assert!(!page.contains("name=\"reason\""), "{action} {entry}");
        let change = [&chosen[..], &[("reason", "a test")]].concat();
        let page = browser.submit("/entries/change", &change).body;
        assert!(page.contains(&reason), "{action} {entry}: {page}");
    }
    assert_eq!(app.receipt("e1")["status"], "parked");
    let answer = browser.submit(
        "/entries/preview",
        &[("action", "replay"), ("entry", "1"), ("entry", "2")],
    );
    assert!(answer.body.contains("Replay 1 entry?"), "{}", answer.body);
}

/// FAULTS N1448: a wrong filter is an error, and no other list.
#[test]
fn a_wrong_filter_is_named() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    let mut browser = Browser::logged_in(&app, TOKEN);
    for (query, cause) in [
        ("custmer=c1", "unknown parameter"),
        (
            "state=parked&state=held",
            "write several states with commas",
        ),
        ("after=1&after=2", "stands twice in the query"),
    ] {
        let page = browser.get(&format!("/entries?{query}"));
        assert_eq!(page.status, 400, "{query}");
        assert!(page.body.contains(cause), "{query}: {}", page.body);
        let line = format!("GET /admin/v1/entries?{query}");
        let answer = app.ask_operator(TOKEN, &line, &Value::Null);
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert!(answer.body.contains(cause), "{query}: {}", answer.body);
    }
    for path in ["/entries/preview", "/entries/x"] {
        let line = format!("GET /admin/v1{path}");
        let answer = app.ask_operator(TOKEN, &line, &Value::Null);
        let problem = answer.json()["type"].clone();
        assert_eq!(problem, "urn:imprint-bridge:problem:not_found", "{path}");
    }
}

/// FAULTS N873
#[test]
fn a_viewer_changes_no_entry() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    let mut viewer = Browser::logged_in(&app, VIEWER);
    for path in ["/entries", "/entries/1"] {
        let page = viewer.page(path);
        for action in ["type=\"checkbox\"", "Replay", "Discard…", "Park…"] {
            assert!(!page.contains(action), "{path}: {action}");
        }
    }
    let fields = [("action", "discard"), ("entry", "1"), ("reason", "x")];
    let mut alice = Browser::logged_in(&app, TOKEN);
    for path in ["/entries/preview", "/entries/change"] {
        let answer = viewer.submit(path, &fields);
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains("role operator"), "{}", answer.body);
        let forged = alice.post(path, &[&[("form_token", "guess")], &fields[..]].concat());
        assert_eq!(forged.status, 403, "{path}");
        // FAULTS N1448: a reload of the preview is no request for an entry.
        let reloaded = alice.get(path);
        assert_eq!(reloaded.status, 404, "{path}");
        let cause = "needs the entries that you choose in the list";
        assert!(reloaded.body.contains(cause), "{}", reloaded.body);
        for wrong in [
            &[("action", "discard"), ("reason", "x")][..],
            &[("action", "erase"), ("entry", "1")],
            &[("action", "discard"), ("entry", "one")],
            &[
                ("action", "discard"),
                ("filter", "state=delivered"),
                ("reason", "x"),
            ],
        ] {
            assert_eq!(alice.submit(path, wrong).status, 400, "{path}: {wrong:?}");
        }
    }
    assert_eq!(app.receipt("e1")["status"], "parked");
}
