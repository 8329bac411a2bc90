//! Tests of the try-out of a mapping: it explains and compares, and sends, stores and changes nothing.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Browser, TOKEN, VIEWER, park, start_with_viewer};
use crate::http::Answer;
use crate::support::{TestApp, email};

const PAGE: &str = "/sources/crm/try";
const API: &str = "POST /admin/v1/try-out";
/// A word that stands only in a comment about the authentication, and in files that a try-out must not open.
const SECRET: &str = "sesame-canary";

/// A bridge whose source `crm` reads one header and has a comment with a secret.
struct Bridge {
    app: TestApp,
    folder: TempDir,
}

impl Bridge {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sources")).unwrap();
        fs::create_dir(path("schemas")).unwrap();
        fs::write(path("sources/crm.toml"), source(&[])).unwrap();
        fs::write(path("schemas/any.json"), "{}").unwrap();
        let other = json!({"type": SECRET});
        fs::write(path("schemas/other.json"), other.to_string()).unwrap();
        let tokens = [("alice", TOKEN), ("vera.viewer", VIEWER)].map(|(name, token)| {
            fs::write(path(name), token).unwrap();
            path(name).display().to_string()
        });
        let settings = format!(
            "sources_dir = {:?}\nschemas_dir = {:?}\n[ops]\ntoken_files = {}",
            path("sources"),
            path("schemas"),
            json!(tokens)
        );
        let app = TestApp::setup().settings(settings).start();
        Self { app, folder }
    }

    fn try_body(browser: &mut Browser, text: &str, more: &[(&str, &str)]) -> Answer {
        let body = body().to_string();
        let fields = [
            ("body", body.as_str()),
            ("text", text),
            ("headers", "X-Topic: orders\r\n"),
        ];
        browser.submit(PAGE, &[&fields, more].concat())
    }
}

/// The source file, with changed lines: each pair is the start of a line and the new line.
fn source(changes: &[(&str, &str)]) -> String {
    let text = format!(
        "[auth]\n# {SECRET}\nkind = \"none\"\n[events.changed]\nschema = \"any.json\"\n\
         customer.imprint_id = \".data.id\"\nwhen = 'header(\"x-topic\") == \"orders\"'\n[events.changed.update]\n\
         email = \".data.email\"\nfirst_name = \".data.first\"\nlast_name = \".data.last\"\n"
    );
    let lines = text.lines().map(|line| {
        let changed = changes.iter().find(|(start, _)| line.starts_with(start));
        changed.map_or(line, |(_, new)| *new)
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

fn body() -> Value {
    json!({
        "specversion": "1.0", "id": "t1", "source": "/crm", "type": "changed",
        "data": {"id": "c1", "email": "pasted-canary@example.com", "first": null, "nick": "Canary",
            "by": {"pasted-canary@example.com": 1}},
    })
}

/// Returns the row of a table that begins with this name.
#[track_caller]
fn row<'a>(page: &'a str, name: &str) -> &'a str {
    let start = format!("<code>{name}</code></th>");
    let (_, rest) = page
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split("</tr>").next().unwrap()
}

/// FAULTS N980
#[test]
fn a_try_out_shows_the_request_the_explanation_and_the_difference() {
    let bridge = Bridge::start();
    let mut vera = Browser::logged_in(&bridge.app, VIEWER);
    assert!(vera.page("/sources").contains("href=\"/sources/crm/try\""));
    let page = vera.page(PAGE);
    assert!(page.contains("sends, stores and changes nothing"), "{page}");
    assert!(page.contains("[events.changed.update]"), "{page}");

    // The unchanged file, with the line ends of a browser, is no edit.
    let text = source(&[("# ", "")]) + "\r\n";
    let page = Bridge::try_body(&mut vera, &text, &[]).body;
    assert!(
        page.contains("<code>POST /v2/customers/c1</code>"),
        "{page}"
    );
    assert!(!page.contains("Differences"), "{page}");
    for (target, shown) in [
        ("email", "••• (text of 25)"),
        ("first_name", "<em class=\"remark\">cleared"),
        ("last_name", "<em class=\"remark\">absent</em>"),
    ] {
        assert!(row(&page, target).contains(shown), "{target}: {page}");
    }
    assert!(
        page.contains("<code>/data/nick</code>"),
        "an unread place: {page}"
    );
    let (result, form) = page.split_once("<form class=\"card\"").unwrap();
    assert!(!result.contains("canary"), "{result}");
    assert!(form.contains("pasted-canary@example.com"), "{form}");
}

/// FAULTS N980
#[test]
fn a_try_out_compares_the_edited_file_with_the_file_in_use() {
    let bridge = Bridge::start();
    let mut vera = Browser::logged_in(&bridge.app, VIEWER);
    let edited = source(&[
        ("last_name", "last_name = '.data.nick'"),
        ("first_name", ""),
    ]);
    let page = Bridge::try_body(&mut vera, &edited, &[]).body;
    let (_, differences) = page.split_once("id=\"differences\"").unwrap();
    let differences = differences.split("</section>").next().unwrap();
    let last = row(differences, "last_name");
    assert!(
        last.contains(">absent</em>") && last.contains("••• (text of 6)"),
        "{last}"
    );
    let first = row(differences, "first_name");
    assert!(
        first.contains(">cleared</em>") && first.contains(">absent</em>"),
        "{first}"
    );
    assert_eq!(
        differences.matches("<tr><th scope=\"row\"").count(),
        2,
        "{differences}"
    );
    assert!(page.contains("<code>x-topic</code>"), "{page}");

    let edited = source(&[("email", "email = \".data.nick\"")]);
    let page = Bridge::try_body(&mut vera, &edited, &[]).body;
    let (_, explained) = page.split_once("Result with the edited file").unwrap();
    // `Canary` is no e-mail address: the edited file refuses the event, with the place of the value.
    assert!(
        explained.contains("would refuse the request"),
        "{explained}"
    );
    assert!(
        explained.contains("<code>/data/nick</code></th>"),
        "{explained}"
    );

    let page = Bridge::try_body(&mut vera, &edited, &[("reveal", "true")]).body;
    let (result, _) = page.split_once("<form class=\"card\"").unwrap();
    assert!(
        result.contains("pasted-canary@example.com"),
        "a pasted body: {result}"
    );
    let page = Bridge::try_body(&mut vera, "[events", &[]).body;
    assert!(page.contains("The edited file has errors"), "{page}");
}

/// FAULTS N981
#[test]
fn a_try_out_leaves_store_metrics_and_imprint_untouched() {
    let bridge = Bridge::start();
    let mut alice = Browser::logged_in(&bridge.app, TOKEN);
    let metrics = |app: &TestApp| {
        let page = app.ops_get("/metrics").body;
        let counted = |line: &&str| {
            line.starts_with("imprint_bridge_")
                && !line.contains("_seconds")
                && !line.contains("_bytes")
        };
        page.lines()
            .filter(counted)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let sources = bridge
        .app
        .ask_operator(TOKEN, "GET /admin/v1/sources", &Value::Null)
        .body;
    let before = metrics(&bridge.app);
    assert!(before.len() > 20, "{before:?}");
    let edited = source(&[("email", "email = \".data.nick\"")]);
    for text in ["", edited.as_str(), "wrong"] {
        assert_eq!(Bridge::try_body(&mut alice, text, &[]).status, 200);
    }
    assert_eq!(metrics(&bridge.app), before);
    let audit = bridge
        .app
        .ask_operator(TOKEN, "GET /admin/v1/audit", &Value::Null);
    assert_eq!(audit.json()["acts"], json!([]));
    let entries = bridge
        .app
        .ask_operator(TOKEN, "GET /admin/v1/entries?state=all", &Value::Null);
    assert_eq!(entries.json()["entries"], json!([]));
    assert_eq!(bridge.app.imprint.calls().len(), 0);
    let after = bridge
        .app
        .ask_operator(TOKEN, "GET /admin/v1/sources", &Value::Null)
        .body;
    assert_eq!(after, sources);
    let text = fs::read_to_string(bridge.folder.path().join("sources/crm.toml")).unwrap();
    assert_eq!(text, source(&[]));
}

/// FAULTS N982
#[test]
fn a_try_out_opens_no_file() {
    let bridge = Bridge::start();
    let mut vera = Browser::logged_in(&bridge.app, VIEWER);
    for schema in [
        "/etc/passwd",
        "../sources/crm.toml",
        "other.json",
        "/dev/zero",
        "",
    ] {
        let line = format!("schema = {schema:?}");
        let page = Bridge::try_body(&mut vera, &source(&[("schema", &line)]), &[]).body;
        let (result, _) = page.split_once("<form class=\"card\"").unwrap();
        assert!(
            result.contains("crm.toml: events.changed.schema"),
            "{schema}: {result}"
        );
        for content in [SECRET, "root:", bridge.folder.path().to_str().unwrap()] {
            assert!(!result.contains(content), "{schema}: {result}");
        }
    }
    let line = "schema = \"./any.json\"";
    let page = Bridge::try_body(&mut vera, &source(&[("schema", line)]), &[]).body;
    assert!(page.contains("Both files give the same result."), "{page}");
    // The file of a secret is a path that nobody opens.
    let lines = [(
        "kind",
        "kind = \"hmac\"\nsecret_files = [\"/etc/shadow-canary\"]",
    )];
    let answer = Bridge::try_body(&mut vera, &source(&lines), &[]);
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains("No such file"), "{}", answer.body);
}

/// FAULTS N983
#[test]
fn a_hostile_try_out_is_bounded() {
    let bridge = Bridge::start();
    let mut vera = Browser::logged_in(&bridge.app, VIEWER);
    let long = "x".repeat(64 * 1024 + 1);
    assert_eq!(vera.submit(PAGE, &[("body", &long)]).status, 413);
    let page = Bridge::try_body(&mut vera, &format!("#{long}"), &[]).body;
    assert!(page.contains("is longer than 65536 bytes"), "{page}");
    assert_eq!(
        vera.submit(PAGE, &[("body", &"x".repeat(400 * 1024))])
            .status,
        413
    );

    let looping =
        "email = '[.data.l[] as $a | .data.l[] as $b | .data.l[] as $c | 1] | length | text'";
    let mut large = body();
    large["data"]["l"] = json!(vec![1; 2_000]);
    let (large, text) = (large.to_string(), source(&[("email", looping)]));
    let fields = [
        ("body", large.as_str()),
        ("text", text.as_str()),
        ("headers", "x-topic: orders"),
    ];
    let page = vera.submit(PAGE, &fields).body;
    // A try-out without an end would have the error about its time.
    assert!(page.contains("(budget)"), "{page}");

    let nested = format!("x = {}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let page = Bridge::try_body(&mut vera, &nested, &[]).body;
    assert!(page.contains("has errors"), "{page}");
    let mut tables = source(&[]);
    for number in 0..700 {
        tables += &format!(
            "\n[events.t{number}]\nschema = \"any.json\"\ncustomer.imprint_id = \".id\"\nupdate.email = \".e\""
        );
    }
    let answer = Bridge::try_body(&mut vera, &tables, &[]);
    assert_eq!(answer.status, 200);
}

/// FAULTS N983
#[test]
fn a_wrong_try_out_is_an_error_and_its_text_stays_text() {
    let bridge = Bridge::start();
    let mut vera = Browser::logged_in(&bridge.app, VIEWER);
    let batch = Value::from(vec![body(); 21]).to_string();
    let page = vera.submit(PAGE, &[("body", &batch)]).body;
    assert!(page.contains("too many events"), "{page}");
    let page = vera
        .submit(
            PAGE,
            &[("body", "<script>\"'"), ("headers", "x-topic: <b>")],
        )
        .body;
    assert!(
        !page.contains("<script>") && !page.contains("<b>"),
        "{page}"
    );
    for fields in [
        &[("body", "x"), ("headers", "x-topic")][..],
        &[("body", "x"), ("entry", "1")],
    ] {
        assert_eq!(vera.submit(PAGE, fields).status, 400, "{fields:?}");
    }
    assert_eq!(
        vera.submit("/sources/none/try", &[("body", "x")]).status,
        400
    );
    assert_eq!(vera.submit(PAGE, &[("entry", "99")]).status, 404);
    // FAULTS N1317: a form that the bridge refuses keeps what the operator wrote.
    let edit = [("body", "{}"), ("text", "[auth]\nkind = \"kept\"")];
    let fields = [&[("form_token", "guess")][..], &edit].concat();
    let forged = vera.post(PAGE, &fields);
    assert_eq!(forged.status, 403);
    let kept = "kind = &#34;kept&#34;";
    let other = "The form belongs to another session, so nothing was tried out.";
    for shown in [kept, other, "What you wrote is still in the form below"] {
        assert!(forged.body.contains(shown), "{shown}: {}", forged.body);
    }
    let without = vera.post(PAGE, &edit);
    assert_eq!(without.status, 403);
    // The file of the source was removed while the operator wrote.
    let removed = vera.submit("/sources/none/try", &edit);
    assert_eq!(removed.status, 400);
    for shown in [kept, "What you wrote is still in the form below"] {
        assert!(removed.body.contains(shown), "{shown}: {}", removed.body);
    }
    // An address with an entry has nothing that the operator wrote.
    let unknown = vera.get(&format!("{PAGE}?entry=99"));
    assert_eq!(unknown.status, 404);
    assert!(!unknown.body.contains("What you wrote"), "{}", unknown.body);
}

/// FAULTS N984
#[test]
fn a_try_out_shows_no_secret_of_the_source_file() {
    let bridge = Bridge::start();
    let mut alice = Browser::logged_in(&bridge.app, TOKEN);
    let page = alice.page(PAGE);
    assert!(page.contains("[auth]"), "{page}");
    let path = bridge.folder.path().join("sources/crm.toml");
    assert!(page.contains(path.to_str().unwrap()), "{page}");
    assert!(!page.contains(SECRET), "{page}");
}

/// FAULTS N1123: an edited mapping can write every value of the event to a place that is not masked.
#[test]
fn an_edited_mapping_on_an_entry_reveals_its_values() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    let acts = || {
        let audit = app.ask_operator(TOKEN, "GET /admin/v1/audit", &Value::Null);
        assert!(!audit.body.contains("\"reveal\""), "the values are masked");
        audit.body.matches("\"try_out\"").count()
    };
    let body = json!({"source": "crm", "entry": 1, "text": "customer.imprint_id = '.data.email'"});
    let answer = app.ask_operator(VIEWER, API, &body);
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(acts(), 0);
    let answer = app.ask_operator(TOKEN, API, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(acts(), 1);
    let in_use = app.ask_operator(VIEWER, API, &json!({"source": "crm", "entry": 1}));
    assert_eq!(in_use.status, 200, "{}", in_use.body);
    assert_eq!(acts(), 1);

    let mut vera = Browser::logged_in(&app, VIEWER);
    let fields = [("entry", "1"), ("text", "kept = 1")];
    let answer = vera.submit(PAGE, &fields);
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("\nkept = 1</textarea>"),
        "{}",
        answer.body
    );
}

/// FAULTS N985
#[test]
fn a_try_out_of_an_entry_reveals_values_only_to_a_revealer_and_in_the_audit_log() {
    let (app, _folder) = start_with_viewer();
    park(&app, "e1", "c1", 1);
    let audit = || {
        app.ask_operator(TOKEN, "GET /admin/v1/audit", &Value::Null)
            .body
    };
    let mut vera = Browser::logged_in(&app, VIEWER);
    let link = "href=\"/sources/crm/try?entry=1\"";
    assert!(vera.page("/entries/1").contains(link));
    assert!(vera.page("/problems").contains(link));
    let page = vera.page("/sources/crm/try?entry=1&reveal=true");
    assert!(
        page.contains("<code>POST /v2/customers/c1</code>"),
        "{page}"
    );
    assert!(!page.contains("@example.com"), "{page}");
    let fields = [("entry", "1"), ("reveal", "true")];
    assert_eq!(vera.submit(PAGE, &fields).status, 403);
    assert!(!audit().contains("\"reveal\""), "{}", audit());

    let mut alice = Browser::logged_in(&app, TOKEN);
    let page = alice.submit(PAGE, &fields).body;
    assert!(page.contains("e1@example.com"), "{page}");
    assert!(audit().contains("\"reveal\""), "{}", audit());
    app.accept(&email("e2", "c2", 1));
    app.wait_until("e2", "delivered");
    assert_eq!(
        alice.submit(PAGE, &[("entry", "2")]).status,
        409,
        "an ended entry"
    );
}

/// FAULTS N986
#[test]
fn the_admin_api_has_the_same_try_out() {
    let bridge = Bridge::start();
    let ask = |body: &Value| bridge.app.ask_operator(VIEWER, API, body);
    let edited = source(&[("email", "metadata.copy = '.data.by'")]);
    let answer = ask(
        &json!({"source": "crm", "body": body().to_string(), "text": edited, "headers": {"X-Topic": "orders"}}),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    let result = answer.json();
    assert_eq!(
        result["live"]["events"][0]["request"]["path"],
        "/v2/customers/c1"
    );
    assert_eq!(result["errors"], json!([]));
    let names: Vec<_> = result["differences"].as_array().unwrap().iter().collect();
    assert!(
        names
            .iter()
            .any(|one| one["name"] == "email" && one["after"].is_null()),
        "{result}"
    );
    // The name of a member can be a value too.
    assert!(!answer.body.contains("canary"), "{}", answer.body);
    let answer = ask(
        &json!({"source": "crm", "body": body().to_string(), "text": "x = 1", "headers": {"X-Topic": "orders"}}),
    );
    assert!(
        answer.json()["errors"][0]
            .as_str()
            .unwrap()
            .starts_with("crm.toml: "),
        "{}",
        answer.body
    );
    for (body, status) in [
        (json!({"source": "crm"}), 400),
        (json!({"source": "none", "body": ""}), 400),
        (json!({"source": "crm", "entry": 7}), 404),
        (json!({"source": "crm", "body": "x", "more": 1}), 400),
        (
            json!({"source": "crm", "body": "x".repeat(64 * 1024 + 1)}),
            413,
        ),
    ] {
        assert_eq!(ask(&body).status, status, "{body:.40}");
    }
}
