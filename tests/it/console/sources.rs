//! Tests of the page of the sources: every refused request, and the last changes of the files.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::{Browser, TOKEN};
use crate::http::{Answer, ask};
use crate::support::{TestApp, wait_for};

/// A source of plain JSON that maps the email address.
const PROBE: &str = "[auth]\nkind = \"none\" # the password is swordfish\n[quota]\nevents_per_second = 1\nevents_burst = 3\n\
     [body]\nformat = \"json\"\nid = \".id\"\ntype = '\"p\"'\n\
     [events.p]\nschema = \"any.json\"\ncustomer.imprint_id = \".cid\"\n\
     [events.p.update]\nemail = '.email'\n";

/// Starts a bridge with the source `probe`. Returns the folder with its file too.
fn start() -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sources", "schemas"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("schemas/any.json"), "{}").unwrap();
    write_probe(&folder, PROBE);
    let [sources, schemas] = ["sources", "schemas"].map(|name| folder.path().join(name));
    let settings = format!("sources_dir = {sources:?}\nschemas_dir = {schemas:?}");
    let app = TestApp::setup().settings(settings).operator("alice", TOKEN);
    (app.start(), folder)
}

fn write_probe(folder: &TempDir, text: &str) {
    fs::write(folder.path().join("sources/probe.toml"), text).unwrap();
}

fn send(app: &TestApp, source: &str, media_type: &str, body: &str) -> Answer {
    let line = format!("POST /v1/sources/{source}/events");
    ask(app.ingress(), &line, &[("content-type", media_type)], body).unwrap()
}

fn event(id: &str) -> String {
    json!({"id": id, "cid": "c1", "email": "jane@example.com"}).to_string()
}

/// FAULTS N1184: the overview counted refused requests, and the page behind the number listed none of them.
#[test]
fn the_sources_list_every_refused_request_that_the_overview_counts() {
    let (app, _folder) = start();
    let mut alice = Browser::logged_in(&app, TOKEN);
    assert!(!alice.page("/sources").contains("id=\"refusals\""));
    let json = "application/json";
    for (source, media_type, body, status) in [
        ("probe", "text/plain", event("a"), 415),
        ("probe", json, "{".to_owned(), 400),
        ("probe", json, "{\"id\":\"x\"}".to_owned(), 422),
        ("jane-doe", json, event("a"), 404),
        ("probe", json, "x".repeat(2_000_000), 413),
    ] {
        let answer = send(&app, source, media_type, &body);
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let over_quota = wait_for("the quota refuses an event", || {
        let answer = send(&app, "probe", json, &event("b"));
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(over_quota.status, 429, "{}", over_quota.body);
    let overview = alice.page("/");
    let tile =
        "<dt><a href=\"/sources#refusals\">Refused</a></dt><dd><span class=\"number\">6</span>";
    assert!(overview.contains(tile), "{overview}");
    let page = alice.page("/sources");
    for shown in [
        "<h2 id=\"refusals\">Refused requests <small>6 requests since the start, by reason</small>",
        "<span class=\"number\">429</span> Event rate quota of the source exceeded",
        "<span class=\"number\">415</span> Unsupported media type",
        "<span class=\"number\">413</span> Request body too large",
        "<span class=\"number\">422</span> ",
        "<span class=\"number\">400</span> Malformed request body",
        "<span class=\"number\">404</span> Unknown source",
        "The source sends more events per second than its quota allows.",
        "none in the path",
        "5 refused requests since the start",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("jane"), "{page}");
}

/// FAULTS N1185: a changed mapping makes every event invalid, and nothing showed that the file had changed.
#[test]
fn the_sources_show_the_changed_lines_beside_the_refusals() {
    let (app, folder) = start();
    let mut alice = Browser::logged_in(&app, TOKEN);
    assert!(!alice.page("/sources").contains("Last changes of the files"));
    let broken = PROBE.replace(".email", ".contact.mail");
    write_probe(&folder, &broken);
    let reload = |reason: &str| {
        let body = json!({"reason": reason});
        let answer = app.ask_operator(TOKEN, "POST /admin/v1/reload", &body);
        answer.json()["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(reload("deploy"), "reloaded");
    let page = alice.page("/sources");
    for shown in [
        "<span class=\"tag plain\">used</span></span> <small>by alice</small>",
        "changed: probe",
        "<span class=\"removed\">− 14 email = &#39;.email&#39;</span>",
        "<span class=\"added\">+ 14 email = &#39;.contact.mail&#39;</span>",
        "<details class=\"change\">",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let wrong = json!({"id": "e1", "cid": "c1", "contact": {"mail": 7}}).to_string();
    let answer = send(&app, "probe", "application/json", &wrong);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let page = alice.page("/sources");
    assert!(page.contains("<details class=\"change\" open>"), "{page}");
    let overview = alice.page("/");
    let cause = "UTC: Sources shows the changed lines. The bridge keeps no refused event";
    assert!(overview.contains(cause), "{overview}");

    write_probe(&folder, &PROBE.replace("any.json", "none.json"));
    assert_eq!(reload("again"), "refused");
    write_probe(&folder, &broken.replace("swordfish", "tench"));
    assert_eq!(reload("comment"), "reloaded");
    let page = alice.page("/sources");
    for shown in [
        "<span class=\"tag warning\">refused</span></span> <small>by alice</small>",
        "none.json",
        "Only a schema or a comment is different.",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(
        !page.contains("swordfish") && !page.contains("tench"),
        "{page}"
    );
}
