//! Tests of the command `new-source`: a draft passes `check`, and the bridge delivers the sample with the draft.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::commands::text;
use crate::http;
use crate::support::{TestApp, seed, wait_for};

mod cautions;
mod doubts;
mod empties;
mod everyday;
mod further;
mod items;
mod vendors;

/// Imprint's id of the customer whose own id is `c-9`.
const CUSTOMER: &str = "B7A1C2D3-0E4F-4567-8901-23456789ABCE";
const OPERATOR: &str = "token-of-the-operator-alice";

/// Runs the program in a folder.
fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Writes the samples to files, and drafts the source `NAME` in `folder`.
fn draft(folder: &Path, name: &str, samples: &[Value], headers: &str) -> Output {
    let mut arguments = vec![
        "new-source".to_owned(),
        name.to_owned(),
        "--out".to_owned(),
        ".".to_owned(),
    ];
    for (number, sample) in samples.iter().enumerate() {
        let file = format!("{name}-{number}.json");
        fs::write(folder.join(&file), sample.to_string()).unwrap();
        arguments.extend(["--sample".to_owned(), file]);
    }
    if !headers.is_empty() {
        fs::write(folder.join("headers.txt"), headers).unwrap();
        arguments.extend(["--headers".to_owned(), "headers.txt".to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_in(folder, &arguments)
}

/// Drafts a source, runs `check` on the draft, and returns the source file.
#[track_caller]
fn checked_draft(folder: &Path, name: &str, samples: &[Value], headers: &str) -> String {
    let drafted = draft(folder, name, samples, headers);
    assert!(
        drafted.status.success(),
        "{name}: {}{}",
        text(&drafted.stdout),
        text(&drafted.stderr)
    );
    let checked = run_in(folder, &["check"]);
    let report = format!("{}{}", text(&checked.stdout), text(&checked.stderr));
    assert!(
        checked.status.success() && report.contains("no errors"),
        "{name}: {report}"
    );
    fs::read_to_string(folder.join(format!("config/sources/{name}.toml"))).unwrap()
}

fn example(folder: &Path, name: &str, ending: &str) -> Value {
    let file = folder.join(format!("config/sources/{name}/{name}-0.{ending}.json"));
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// A sample in the form of a CRM that is in no example. Its customer is always the same person.
#[derive(Deserialize)]
struct Case {
    name: String,
    body: Value,
    #[serde(default)]
    headers: String,
    /// Lines of the drafted source file.
    lines: Vec<String>,
}

/// Drafts the source `crm3`. Returns the source file and what the command prints.
#[track_caller]
fn drafted(folder: &Path, samples: &[Value], headers: &str) -> (String, String) {
    let toml = checked_draft(folder, "crm3", samples, headers);
    let again = tempfile::tempdir().unwrap();
    let output = draft(again.path(), "crm3", samples, headers);
    (toml, text(&output.stdout))
}

#[track_caller]
fn has_line(toml: &str, line: &str) {
    let found = toml.lines().any(|found| found == line);
    assert!(found, "{line} in\n{toml}");
}

#[track_caller]
fn says(report: &str, sentence: &str) {
    assert!(report.contains(sentence), "{sentence} in\n{report}");
}

/// FAULTS N400: the members of each body have the names and the places of another CRM.
#[test]
fn a_sample_of_any_crm_becomes_a_source_that_check_accepts() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("new_source/samples.json")).unwrap();
    for case in cases {
        // An own folder, because the sources do not all order their fields by the same rule.
        let folder = tempfile::tempdir().unwrap();
        let name = case.name.as_str();
        let toml = checked_draft(folder.path(), name, &[case.body], &case.headers);
        for line in case.lines {
            let has_line = toml.lines().any(|found| found == line);
            assert!(has_line, "{name}: {line} in\n{toml}");
        }
        let has_secret = toml.contains("0123456789abcdef");
        assert!(!has_secret && !toml.contains("owner_email"), "{toml}");
        let request = example(folder.path(), name, "request");
        let first = request.as_array().map_or(&request, |list| &list[0]);
        assert_eq!(first["partner_id"], "c-9", "{name}");
        for (field, value) in [
            ("email", "ann@example.com"),
            ("first_name", "Ann"),
            ("last_name", "Lee"),
            ("phone", "+14155552671"),
        ] {
            assert_eq!(first["body"][field], value, "{name} {field}");
            let history = &first["body"]["customer_history"];
            assert_eq!(history[field], value, "{name} {field}");
        }
    }
}

/// FAULTS N401: two samples of different types, and a value that the bridge refuses.
#[test]
fn a_setting_that_the_bridge_refuses_for_a_sample_is_a_comment() {
    let folder = tempfile::tempdir().unwrap();
    let event = |kind: &str, state: &str| {
        json!({"id": kind, "type": kind, "time": "2025-02-13T19:08:07Z",
            "contact": {"contact_id": 7, "email": "a@example.com", "address": {"line1": "1 Ring", "line2": null, "city": "Graz", "state": state, "zip": "8010"}}})
    };
    // FAULTS N672: a sample of one type shows that the setting is right, so the other sample is wrong.
    let proven = [
        event("contact.created", "Nevada"),
        event("contact.updated", "Styria"),
    ];
    let other = tempfile::tempdir().unwrap();
    let toml = checked_draft(other.path(), "two", &proven, "");
    let set = "\nstate = \".contact.address.state | us_state\"\n";
    assert_eq!(toml.matches(set).count(), 2, "{toml}");

    let samples = [
        event("contact.created", "Wien"),
        event("contact.updated", "Styria"),
    ];
    let toml = checked_draft(folder.path(), "two", &samples, "");
    let (created, updated) = toml.split_once("[events.\"contact.updated\"]").unwrap();
    assert!(
        created.contains("\n# state = \".contact.address.state | us_state\"\n"),
        "{toml}"
    );
    assert!(
        updated.contains("\n# state = \".contact.address.state | us_state\"\n"),
        "{toml}"
    );
    assert!(
        updated.contains("# The bridge refuses this setting for a sample: "),
        "{toml}"
    );
    assert!(
        updated.contains("\ncity = \".contact.address.city\"\n"),
        "{toml}"
    );
    assert_eq!(
        toml.matches("Styria").count(),
        0,
        "the source file has no value of a sample"
    );
}

/// FAULTS N401: one sample has a wrong value; another sample of the same type shows that the setting is right.
#[test]
fn a_setting_that_is_right_for_one_sample_stays() {
    let folder = tempfile::tempdir().unwrap();
    let event = |phone: &str| json!({"id": 7, "phone": phone, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"});
    let samples = [event("4155552671"), event("0000000")];
    let toml = checked_draft(folder.path(), "two", &samples, "");
    assert!(
        toml.contains("\nphone = '.phone | e164(\"US\")'\n"),
        "{toml}"
    );
    let refusal = folder.path().join("config/sources/two/two-1.refusal.json");
    let refusal = fs::read_to_string(refusal).unwrap();
    assert!(
        refusal.contains("\"e164\"") && !refusal.contains("0000000"),
        "{refusal}"
    );
}

/// FAULTS N402: names of members that would break the source file or an expression.
#[test]
fn the_names_of_members_never_break_the_source_file() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a".repeat(500);
    let sample = json!({
        "id": 1, "updated_at": "2025-02-13T19:08:07Z", "e mail": "a@example.com", "first.name": "Ann", "q\"u'o": "x",
        "new\nline": "y", "$d": 1, "\\(x)": "w", "\u{202e}": "y", "if": "x", "": "e", "]\n[evil]\nx=1": "p", "'''": "z",
        "-----------------------------------------------------------------------": "x", "\u{7f}": "d", long: "x",
    });
    let toml = checked_draft(folder.path(), "names", &[sample], "");
    assert!(
        toml.contains("email = '.\"e mail\"'\n")
            && toml.contains("first_name = '.\"first.name\"'\n"),
        "{toml}"
    );
    assert!(
        !toml.contains("\n[evil]") && !toml.contains('\u{202e}') && !toml.contains('\u{7f}'),
        "{toml}"
    );
}

/// FAULTS N403: files that are no samples, and targets that exist.
#[test]
fn a_wrong_sample_or_an_existing_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let huge = format!("{{\"x\": \"{}\"}}", "y".repeat(5_000_000));
    for (name, content, reason) in [
        ("empty", "", "the body is empty"),
        (
            "text",
            "hello",
            "text.json: a word is neither true, false nor null",
        ),
        ("list", "[]", "list.json: the sample is an empty list"),
        ("object", "{}", "is an empty object"),
        ("number", "5", "is not a JSON object or a list"),
        ("huge", huge.as_str(), "a sample has at most 1048576 bytes"),
        ("deep", &"[".repeat(40), "nested deeper than 32 levels"),
        (
            "Bad.Name",
            "{\"id\": 1}",
            "a source name must have 1 to 64 characters",
        ),
    ] {
        let file = format!("{name}.json");
        fs::write(folder.join(&file), content).unwrap();
        let output = run_in(
            folder,
            &["new-source", name, "--sample", &file, "--out", "."],
        );
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(
            text(&output.stderr).contains(reason),
            "{name}: {}",
            text(&output.stderr)
        );
        assert!(
            !folder.join("config").exists() && !folder.join("schemas").exists(),
            "{name}"
        );
    }
    let device = run_in(
        folder,
        &["new-source", "zero", "--sample", "/dev/zero", "--out", "."],
    );
    assert!(
        text(&device.stderr).contains("is not a file"),
        "{}",
        text(&device.stderr)
    );
}

/// FAULTS N403: the command overwrites no file without `--force`, and a write that fails leaves no half draft.
#[test]
fn an_existing_file_stays_unless_the_person_forces_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sample = json!({"id": 1, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"});
    checked_draft(folder, "shop", std::slice::from_ref(&sample), "");
    let file = folder.join("config/sources/shop.toml");
    fs::write(&file, "# edited\n").unwrap();
    let again = draft(folder, "shop", std::slice::from_ref(&sample), "");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("shop.toml"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "# edited\n");
    // A folder in the place of the last file: the command removes what it wrote before.
    fs::create_dir_all(folder.join("config/sources/other.toml")).unwrap();
    let blocked = run_in(
        folder,
        &[
            "new-source",
            "other",
            "--sample",
            "shop-0.json",
            "--out",
            ".",
            "--force",
        ],
    );
    assert_eq!(blocked.status.code(), Some(1));
    assert!(!folder.join("schemas/other/customer.v1.json").exists());
    fs::remove_dir(folder.join("config/sources/other.toml")).unwrap();
    let forced = run_in(
        folder,
        &[
            "new-source",
            "shop",
            "--sample",
            "shop-0.json",
            "--out",
            ".",
            "--force",
        ],
    );
    assert!(forced.status.success(), "{}", text(&forced.stderr));
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("email = \".email\"")
    );
}

/// FAULTS N1089: `--force` overwrites a draft, and never a source that a running bridge possibly uses.
#[test]
fn a_forced_draft_replaces_no_source_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sample = json!({"id": 1, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"});
    let toml = checked_draft(folder, "shop", std::slice::from_ref(&sample), "");
    let file = folder.join("config/sources/shop.toml");
    let command = "new-source shop --sample shop-0.json --out . --force";
    let forced = || run_in(folder, &command.split(' ').collect::<Vec<_>>());
    let finished = toml.replace("draft = true\n", "");
    for content in [finished.as_str(), "[auth", "draft = false\n"] {
        fs::write(&file, content).unwrap();
        let refused = forced();
        assert_eq!(refused.status.code(), Some(1), "{content}");
        let error = text(&refused.stderr);
        assert!(error.contains("shop.toml is no draft"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    fs::write(&file, &toml).unwrap();
    assert!(forced().status.success());
}

/// FAULTS N404: a body with more events than the bridge accepts, and an event in binary mode.
#[test]
fn a_sample_that_cannot_be_an_example_is_fitted_and_the_output_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let event = |number: u32| json!({"id": number, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"});
    let many: Vec<Value> = (0..1_000).map(event).collect();
    let output = draft(folder.path(), "many", &[json!(many)], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(
        report.contains("The example has the first 100 events"),
        "{report}"
    );
    assert!(report.contains("replace it by invented data"), "{report}");
    assert_eq!(
        example(folder.path(), "many", "request")
            .as_array()
            .unwrap()
            .len(),
        100
    );

    let headers = "ce-specversion: 1.0\nce-id: 1\nce-type: customer.changed\nce-source: /crm\nce-time: 2025-02-13T19:08:07Z\n";
    let body = json!({"customerId": "c-9", "email": "a@example.com"});
    let toml = checked_draft(folder.path(), "binary", &[body], headers);
    assert!(
        toml.contains("email = \".data.email\"") && !toml.contains("[body]"),
        "{toml}"
    );
    assert_eq!(
        example(folder.path(), "binary", "event")["specversion"],
        "1.0"
    );
}

/// FAULTS N400, N794: the drafted source runs in the bridge after its author has removed the line `draft = true`.
#[test]
fn the_bridge_delivers_the_sample_when_the_draft_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let [sources, schemas] = ["config/sources", "schemas"].map(|name| folder.path().join(name));
    fs::create_dir_all(&sources).unwrap();
    fs::create_dir(&schemas).unwrap();
    fs::write(schemas.join("any.json"), "{}").unwrap();
    fs::write(
        sources.join("other.toml"),
        "[auth]\nkind = \"none\"\n[events.x]\nschema = \"any.json\"\ncustomer.imprint_id = \".data.id\"\n\
         [events.x.update]\nmetadata.other = \".data.x\"\n",
    )
    .unwrap();
    let app = TestApp::setup()
        .settings(format!(
            "sources_dir = {sources:?}\nschemas_dir = {schemas:?}"
        ))
        .operator("alice", OPERATOR)
        .start();
    let sample = json!({"event_id": "e-1", "topic": "customer.updated", "customer": {"id": "c-9", "email": "ann@example.com",
        "updated_at": "2025-02-13T14:08:07-05:00", "first_name": "Ann"}});
    let toml = checked_draft(folder.path(), "shop", std::slice::from_ref(&sample), "");
    let file = sources.join("shop.toml");
    seed(&app, &json!({"id": CUSTOMER, "partner_customer_id": "c-9"}));
    let post = || {
        let headers = [("content-type", "application/json")];
        let line = "POST /v1/sources/shop/events";
        http::ask(app.ingress(), line, &headers, &sample.to_string()).unwrap()
    };
    let reload = || {
        let answer = app.ask_operator(OPERATOR, "POST /admin/v1/reload", &Value::Null);
        answer.json()["outcome"].clone()
    };
    assert_ne!(reload(), "refused");
    assert_eq!(post().status, 404);
    fs::write(&file, format!("{toml}\n[unfinished]\nx = 1\n")).unwrap();
    assert_eq!(reload(), "reloaded");
    assert_eq!(post().status, 404);
    fs::write(&file, toml.replace("draft = true\n", "")).unwrap();
    assert_eq!(reload(), "reloaded");
    let answer = post();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let call = wait_for("the update", || {
        app.imprint.applied(CUSTOMER).into_iter().next()
    });
    assert_eq!(call.body, example(folder.path(), "shop", "request")["body"]);
}

/// FAULTS N903: the name of a list does not decide whether its items are customers.
#[test]
fn a_list_of_customers_with_any_name_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let contact = |id: &str| json!({"id": id, "email": format!("{id}@example.com"), "modifiedTime": "2026-11-27T07:41:00Z"});
    let lists = json!({"payloads": [contact("c-3"), contact("c-4")], "events": [{"id": "1-e"}, {"id": "2-e"}], "actors": [{"id": "1-u", "name": "Sam"}]});
    let (toml, report) = drafted(folder.path(), &[lists], "");
    has_line(&toml, "split = \".payloads[]\"");
    has_line(&toml, "customer.partner_id = \".id\"");
    has_line(&toml, "email = \".email\"");
    says(
        &report,
        "The body has several lists of objects. The draft makes one event of each item of `.payloads`",
    );
    says(&report, "no event has the items of `.actors`, `.events`");

    let folder = tempfile::tempdir().unwrap();
    let ambiguous = json!({"contact_id": "c-9", "payloads": [contact("c-3"), contact("c-4")]});
    let (_, report) = drafted(folder.path(), &[ambiguous], "");
    says(
        &report,
        "The list `.payloads` has 2 objects in a sample, and the draft reads only the first one",
    );
}

/// FAULTS N904: the id beside the values of the customer comes before the id of the user who made the change. A deletion has an
/// empty list.
#[test]
fn the_id_beside_the_values_of_the_customer_is_the_customers() {
    let folder = tempfile::tempdir().unwrap();
    let event = |action: &str, payloads: Value| json!({"events": [{"id": "1-e", "action": action}], "actors": [{"id": "1-users"}], "payloads": payloads});
    let contact = json!({"id": "c-9", "name": {"givenName": "Ann"}, "emails": [{"isPrimary": true, "value": "ann@example.com"}], "modifiedTime": "2026-11-27T07:41:00Z"});
    let samples = [
        event("create", json!([contact])),
        event("update", json!([contact])),
        event("delete", json!([])),
    ];
    let output = draft(folder.path(), "nut", &samples, "");
    let report = text(&output.stdout);
    let toml = fs::read_to_string(folder.path().join("config/sources/nut.toml")).unwrap();
    assert!(!toml.contains(".actors"), "{toml}");
    assert!(!toml.contains("== [] then null"), "{toml}");
    assert!(!report.contains("the draft reads \".actors"), "{report}");
}

/// FAULTS N905: a test event of the CRM, which is about no customer, decides nothing about the events of customers.
#[test]
fn a_test_event_beside_real_events_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let contact = json!({"type": "notification_event", "topic": "contact.user.updated", "id": "notif-1", "created_at": 1_795_766_462,
        "data": {"item": {"type": "contact", "id": "c-9", "email": "ann@example.com", "updated_at": 1_795_766_460}}});
    let ping = json!({"type": "notification_event", "topic": "ping", "id": "notif-2", "created_at": 1_795_766_400,
        "data": {"item": {"type": "ping", "message": "hello"}}});
    let (toml, report) = drafted(folder.path(), &[contact, ping], "");
    has_line(&toml, "type = \".topic\"");
    has_line(&toml, "customer.partner_id = \".data.item.id\"");
    has_line(&toml, "ignore = [\"ping\"]");
    says(
        &report,
        "The event type \"ping\": its sample has no value and no id of a customer",
    );
}

/// FAULTS N906: the value of a member with the name of an event's id is the name of a change, as in the events of Keap.
#[test]
fn the_name_of_a_change_is_the_type_and_not_the_id_of_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let sample = |key: &str| {
        json!({"event_key": key, "object_type": "contact",
        "contact": {"id": "c-9", "email": "ann@example.com", "last_updated": "2025-02-13T19:08:07Z"}})
    };
    let (toml, report) = drafted(
        folder.path(),
        &[sample("customer.updated"), sample("contact.edit")],
        "",
    );
    has_line(&toml, "id = \"digest\"");
    has_line(&toml, "type = \".event_key\"");
    says(
        &report,
        "The event id: the draft uses a digest of the whole event.",
    );
}

/// FAULTS N908: the signature is one of several items of its header, has an unknown name, or has a time beside it.
#[test]
fn the_form_of_a_header_shows_the_signature() {
    let code = "3831874a474976615acf677614701d543bf08f1bfaa53355154274174f86e71a";
    let stripe = [
        "prefix = \"v1=\"",
        "separator = \",\"",
        "signed = \"{timestamp}.{body}\"",
        "timestamp_header = \"acme-signature\"",
        "timestamp_prefix = \"t=\"",
    ];
    let sample =
        json!({"id": "c-9", "email": "ann@example.com", "updated_at": "2025-02-13T19:08:07Z"});
    for (headers, lines, sentence) in [
        (
            format!("Acme-Signature: t=1795766619,v1={code}"),
            &stripe[..],
            "the sender signs the time, a dot and the body",
        ),
        (
            "Acme-Signature: t=1795766619,v1=HEX".to_owned(),
            &stripe,
            "the sender signs the time, a dot and the body",
        ),
        (
            format!("X-Acme-Hash: {code}"),
            &["header = \"x-acme-hash\""],
            "the sender signs only the body",
        ),
        (
            format!("X-Acme-Signature: {code}\nX-Acme-Request-Timestamp: 1795766619"),
            &["header = \"x-acme-signature\""],
            "The header x-acme-request-timestamp is probably the time of the signature",
        ),
        (
            format!("X-Acme-Code: {code}"),
            &[],
            "have values in the form of an HMAC signature: `x-acme-code`",
        ),
        (
            "Content-Type: application/x-www-form-urlencoded".to_owned(),
            &[],
            "the bridge accepts only JSON",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = draft(
            folder.path(),
            "acme",
            std::slice::from_ref(&sample),
            &headers,
        );
        let toml = fs::read_to_string(folder.path().join("config/sources/acme.toml")).unwrap();
        for line in lines {
            has_line(&toml, line);
        }
        says(&text(&output.stdout), sentence);
        assert!(!text(&output.stdout).contains("private key"), "{headers}");
    }
}

/// FAULTS N909: lists of texts, and an address whose members have several words before their names.
#[test]
fn lists_of_texts_and_long_names_of_addresses_are_drafted() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "updated_at": "2025-02-13T19:08:07Z", "emails": ["ann@example.com", "a@example.com"],
        "mobilePhones": ["(415) 555-0100"], "workPhones": ["(415) 555-0101"], "addressStreet": "5 Oak Ave", "addressStreet2": "Apt 4",
        "addressCity": "Salem", "addressState": "OR", "addressZip": "97301"});
    let (toml, report) = drafted(folder.path(), &[sample], "");
    has_line(&toml, "email = \".emails[0]\"");
    has_line(&toml, "phone = '.mobilePhones[0] | e164(\"US\")'");
    has_line(&toml, "street_line1 = \".addressStreet\"");
    has_line(&toml, "street_line2 = \".addressStreet2\"");
    has_line(&toml, "city = \".addressCity\"");
    says(&report, "nothing of `.workPhones`");
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "updated_at": "2025-02-13T19:08:07Z", "email": "ann@example.com", "primary_address_street": "5 Oak Ave",
        "primary_address_city": "Salem", "primary_address_state": "OR", "primary_address_postalcode": "97301"});
    let (toml, _) = drafted(folder.path(), &[sample], "");
    has_line(
        &toml,
        "street_line1 = \".primary_address_street | line(1; 2)\"",
    );
    has_line(&toml, "city = \".primary_address_city\"");
}

/// FAULTS N796, N797: the form of a CRM has become JSON with flat names, and its time has decimals.
#[test]
fn flat_names_and_a_time_with_decimals_are_drafted() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"type": "update", "timestamp": 1_739_473_687.25, "contact[id]": "c-9",
        "contact[email]": "ann@example.com", "contact[first_name]": "Ann", "contact[last_name]": "Lee",
        "contact[phone]": "415 555 2671", "contact[fields][1]": "gold"});
    let (toml, report) = drafted(folder.path(), &[sample], "");
    says(
        &report,
        "Write such a name in double quotes after a dot, and the setting in single quotes: `.\"contact[email]\"`",
    );
    has_line(&toml, "email = '.\"contact[email]\"'");
    has_line(&toml, "version = '.timestamp | moment(\"s\")'");
    has_line(&toml, "customer.partner_id = '.\"contact[id]\"'");
    let request = fs::read(
        folder
            .path()
            .join("config/sources/crm3/crm3-0.request.json"),
    )
    .unwrap();
    let request: Value = serde_json::from_slice(&request).unwrap();
    assert_eq!(request["body"]["first_name"], "Ann");
}

/// FAULTS N1340: the order of a draft differs from that of a source in use. The draft is right until it is no draft.
#[test]
fn a_conflict_with_another_source_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join("config/sources");
    fs::create_dir_all(&sources).unwrap();
    let crm = "[auth]\nkind = \"none\"\n[events.\"a\"]\nschema = \"a.json\"\nversion = \".n\"\nversion_domain = \"sequence\"\n\
               customer.partner_id = \".id\"\nupdate.email = \".email\"\n";
    fs::write(sources.join("crm.toml"), crm).unwrap();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    fs::write(folder.path().join("schemas/a.json"), "{}").unwrap();
    let sample = json!({"id": 1, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"});
    let output = draft(folder.path(), "shop", &[sample], "");
    let (report, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{report}{errors}");
    let conflict = "without the line `draft = true`, this is an error: shop events.\"customer\" orders email by time, but crm";
    assert!(report.contains(conflict), "{report}");
    let file = sources.join("shop.toml");
    let finished = fs::read_to_string(&file).unwrap();
    fs::write(&file, finished.replace("draft = true\n", "")).unwrap();
    let arguments = ["check"];
    let output = run_in(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(errors.contains("orders email by time, but crm"), "{errors}");
}
