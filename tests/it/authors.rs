//! An author of schemas and mappings makes the bridge neither slow nor large, and a message does not mislead the author.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Map, Value, json};

use crate::commands;
use crate::http::ask;
use crate::support::TestApp;

/// The time, in seconds, after which a command counts as endless. The commands of these tests take less than a second on an
/// idle machine.
const ENDLESS_SECONDS: &str = "120";

/// A source with one event type. `%` stands for the expression of a field.
const SOURCE: &str = r#"[auth]
kind = "none"
[body]
format = "json"
id = ".id"
type = '"customer"'
[events.customer]
schema = "shop.json"
customer.partner_id = ".id"
[events.customer.update]
email = '%'
"#;
const SCHEMA: &str =
    r#"{"type": "object", "required": ["id"], "properties": {"id": {}, "email": {}}}"#;

fn folder(source: impl AsRef<[u8]>, schema: impl AsRef<[u8]>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join("config/sources");
    fs::create_dir_all(&sources).unwrap();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    fs::write(folder.path().join("schemas/shop.json"), schema).unwrap();
    fs::write(sources.join("shop.toml"), source).unwrap();
    folder
}

/// Runs `check`, and ends it if it takes too long.
fn check(folder: &Path) -> Output {
    let output = Command::new("timeout")
        .args([
            ENDLESS_SECONDS,
            env!("CARGO_BIN_EXE_imprint-bridge"),
            "check",
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(124), "check does not end");
    output
}

#[track_caller]
fn is_correct(folder: &tempfile::TempDir) {
    let output = check(folder.path());
    let errors = commands::text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
}

/// Returns the only error of `check`.
#[track_caller]
fn error_of(folder: &tempfile::TempDir) -> String {
    let output = check(folder.path());
    let errors = commands::text(&output.stderr);
    assert!(errors.ends_with("1 error\n"), "{errors}");
    errors
}

/// FAULTS N791: each `//` and each `if` in a pipe doubles the number of paths from which the value can come.
#[test]
fn the_work_for_an_expression_grows_with_its_length() {
    for part in [".a // .b", "if .a then .b else .c end", "(. // .)"] {
        let mut expression = part.to_owned();
        while expression.len() + part.len() < 990 && expression.matches('(').count() < 32 {
            expression = format!("{expression} | {part}");
        }
        is_correct(&folder(SOURCE.replace('%', &expression), SCHEMA));
    }
}

/// FAULTS N791: a recursive schema has paths without number.
#[test]
fn a_recursive_schema_has_a_list_of_its_properties() {
    let member = |name: u32| (format!("m{name}"), json!({"$ref": "#"}));
    let members: Map<String, Value> = (0..20).map(member).collect();
    let schema = json!({"type": "object", "properties": members});
    is_correct(&folder(SOURCE.replace('%', ".email"), schema.to_string()));
}

/// FAULTS N791: the work for a source file grows with its size, and not with the square of its size.
#[test]
fn a_source_file_can_have_many_event_types_and_a_schema_many_properties() {
    let mut source = SOURCE.replace('%', ".email");
    for number in 0..2_000 {
        source.push_str(&format!(
            "[events.t{number}]\nschema = \"shop.json\"\ncustomer.partner_id = \".id\"\nupdate.email = \".email\"\n"
        ));
    }
    is_correct(&folder(source, SCHEMA));
    let member = |name: u32| (format!("m{name}"), json!({"type": "string"}));
    let members: Map<String, Value> = (0..15_000).map(member).collect();
    let schema = json!({"type": "object", "properties": members});
    is_correct(&folder(SOURCE.replace('%', ".m1"), schema.to_string()));
}

/// FAULTS N792: the message about a pattern names its cause: the size, or the syntax.
#[test]
fn a_pattern_that_is_too_large_is_called_too_large() {
    let source = SOURCE.replace('%', ".email");
    let schema = |pattern: &str| json!({"properties": {"email": {"pattern": pattern}}}).to_string();
    let named = |pattern: &str| json!({"patternProperties": {pattern: {}}}).to_string();
    for (schema, place, cause) in [
        (
            schema("((a{99}){99}){99}"),
            "#/properties/email/pattern: ",
            "too large",
        ),
        (
            schema("(?=x)"),
            "#/properties/email/pattern: ",
            "look-around",
        ),
        (
            named("((a{99}){99}){99}"),
            "#/patternProperties",
            "too large",
        ),
        (named("(?=x)"), "#/patternProperties", "look-around"),
    ] {
        let error = error_of(&folder(&source, &schema));
        assert!(
            error.contains(place) && error.contains(cause),
            "{schema}: {error}"
        );
    }
}

/// FAULTS N793: an editor writes a byte order mark, the line ends of Windows, or UTF-16.
#[test]
fn a_file_of_another_editor_is_read_or_gets_its_true_cause() {
    let source = SOURCE
        .replace('%', ".email\n // .id")
        .replace("'.email", "\'\'\'.email");
    let source = source.replace(".id'\n", ".id\'\'\'\n");
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    is_correct(&folder(&source, SCHEMA));
    is_correct(&folder(windows(&source), windows(SCHEMA)));
    let wide = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect::<Vec<u8>>()
    };
    for folder in [
        folder(wide(&source), SCHEMA.as_bytes()),
        folder(source.as_bytes(), wide(SCHEMA)),
    ] {
        let error = error_of(&folder);
        assert!(
            error.contains("UTF-16") && error.contains("save the file as UTF-8"),
            "{error}"
        );
    }
}

/// FAULTS N795: a CRM posts a form. The answer says what to do.
#[test]
fn a_form_is_refused_with_a_remedy() {
    let app = TestApp::start();
    for form in [
        "application/x-www-form-urlencoded; charset=UTF-8",
        "multipart/form-data; boundary=x",
    ] {
        let line = "POST /v1/sources/crm/events";
        let answer = ask(
            app.ingress(),
            line,
            &[("content-type", form)],
            "contact%5Bemail%5D=a",
        )
        .unwrap();
        assert_eq!(answer.status, 415);
        let remedy = "The Content-Type says that the body is a form, which no source takes. If the body is JSON, send the header Content-Type: application/json. Otherwise choose JSON in the settings of the sender, or put a relay before the bridge that converts the form to JSON.";
        assert!(answer.body.contains(remedy), "{}", answer.body);
    }
}

/// FAULTS N796: an expression reads a flat name as if it was a path.
#[test]
fn a_flat_name_is_written_in_quotes() {
    let error = error_of(&folder(SOURCE.replace('%', ".contact[email]"), SCHEMA));
    assert!(
        error.contains("stands in double quotes, such as .\"contact[email]\""),
        "{error}"
    );
    for name in ["contact.email", "contact[email]"] {
        let schema = json!({"properties": {"id": {}, name: {}}}).to_string();
        let output = check(folder(SOURCE.replace('%', ".contact.email"), schema).path());
        let report = commands::text(&output.stdout);
        let note = format!("did you mean /{name}? Write the name in double quotes: .\"{name}\"");
        assert!(report.contains(&note), "{report}");
    }
}

/// FAULTS N797: the version is a number of seconds with decimals.
#[test]
fn a_time_with_decimals_gets_the_function_that_reads_it() {
    for (version, expected) in [
        (
            ".at",
            "if the number counts the time since 1970, the function moment makes one",
        ),
        (".at | moment(\"s\")", ""),
    ] {
        let order =
            format!("\nversion = '{version}'\nversion_domain = \"time\"\n[events.customer.update]");
        let source = SOURCE
            .replace("\n[events.customer.update]", &order)
            .replace('%', ".email");
        let folder = folder(source, SCHEMA);
        let examples = folder.path().join("config/sources/shop");
        fs::create_dir(&examples).unwrap();
        let event = json!({"id": "c1", "email": "a@example.com", "at": 1_739_473_687.25});
        fs::write(examples.join("a.event.json"), event.to_string()).unwrap();
        let output = check(folder.path());
        let errors = commands::text(&output.stderr);
        assert!(
            errors.contains(expected) && !errors.contains("function whole"),
            "{errors}"
        );
    }
}

/// FAULTS N798: the bridge ignores every example, so no example tests the fields.
#[test]
fn examples_without_a_request_are_noted() {
    let source = SOURCE
        .replace("schema =", "when = \".active\"\nschema =")
        .replace('%', ".email");
    let folder = folder(source, SCHEMA);
    let examples = folder.path().join("config/sources/shop");
    fs::create_dir(&examples).unwrap();
    fs::write(
        examples.join("a.event.json"),
        json!({"id": "c1", "active": false}).to_string(),
    )
    .unwrap();
    fs::write(examples.join("a.request.json"), "\"ignored\"").unwrap();
    let note = "no example gives a request to Imprint, so no example tests the fields";
    let report = |folder: &Path| commands::text(&check(folder).stdout);
    assert!(report(folder.path()).contains(note));
    fs::write(
        examples.join("b.event.json"),
        json!({"id": "c1", "active": true, "email": "a@b.com"}).to_string(),
    )
    .unwrap();
    fs::write(
        examples.join("b.request.json"),
        json!({"partner_id": "c1", "body": {"email": "a@b.com"}}).to_string(),
    )
    .unwrap();
    let report = report(folder.path());
    assert!(
        report.contains("no errors") && !report.contains(note),
        "{report}"
    );
}
