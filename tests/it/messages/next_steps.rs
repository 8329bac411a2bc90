//! Messages that name the true cause and the next step, for each kind of mistake of an author or an operator.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{EVENT, SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};
use crate::commands;
use crate::http::ask;
use crate::support::TestApp;

/// Runs a command in a folder.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    command.args(arguments).current_dir(folder);
    command.output().unwrap()
}

/// Returns everything that a command prints.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    commands::text(&output.stdout) + &commands::text(&output.stderr)
}

/// A text of the source file, the wrong text in its place, and a part of the only error.
const WRONG_PLACES: &[(&str, &str, &str)] = &[
    (
        "kind = \"none\"",
        "kind = \"token\"\nheader = \"x-token\"\ntoken = \"zyxw987654321abcdef\"",
        "auth.token: unknown setting; did you mean auth.token_files? The bridge reads a secret only from a file",
    ),
    (
        "kind = \"none\"",
        "kind = \"token\"\nheader = \"x-token\"\ntoken_files = [\"./s\"]\ndraft = true",
        "auth.draft: `draft` is a setting of the file and not of this table: write `draft` before the first table",
    ),
    (
        "type = '.kind'",
        "type = 'header(\"authorization\")'",
        "an expression must not read header(\"authorization\"), because this header contains a secret",
    ),
    (
        "email = \".email\"",
        "email = 5",
        "email: must be a string: write quotes around the value",
    ),
    (
        "email = \".email\"",
        "email = [\".email\"]",
        "email: must be a string, not a list",
    ),
    (
        "kind = \"none\"",
        "kind = \"hmac\"\nsecret_files = [\"./s\"]\nheader = \"x-sig\"\nencoding = \"hex\"\nsigned = \"{{body}}\"",
        "auth.signed: has double braces around a placeholder, which would be a part of the signed text: write {body} with single braces",
    ),
    (
        "ignore = [\"product\"]",
        "ignore = [\"before_.*\"]",
        "ignore: is no regular expression",
    ),
];

/// FAULTS N1220
#[test]
fn a_setting_in_the_wrong_place_names_the_right_one() {
    for (from, to, expected) in WRONG_PLACES {
        check_source(from, to, &[*expected]);
    }
    let folder = folder_with(SOURCE, SCHEMA);
    for (variable, value, expected) in [
        (
            "PORT",
            "1",
            "port: unknown setting; did you mean ingress.listen?",
        ),
        (
            "STORE__URL",
            "x",
            "store: unknown table; did you mean outbox?",
        ),
        (
            "CLEARING__X",
            "x",
            "clearing: unknown table; did you mean imprint.clearing?",
        ),
        ("SOURCES_DIR", "config/source", "; did you mean sources?"),
    ] {
        let name = format!("IMPRINT_BRIDGE__{variable}");
        let (_, errors) = check(folder.path(), &[(&name, value)]);
        assert_contains(&errors, &[expected], variable);
    }
    let settings =
        "IMPRINT_BRIDGE__IMPRINT__BASE_URL = \"https://x.co\"\n[imprint]\nprofile = \"local\"\n";
    fs::write(folder.path().join("b.toml"), settings).unwrap();
    let report = printed(folder.path(), &["check", "--config", "b.toml"]);
    for expected in [
        "this is the name of an environment variable; in a file, the setting is imprint.base_url",
        "imprint.profile: is inside the table [imprint]: write `profile` before the first table",
    ] {
        assert!(report.contains(expected), "{expected} in {report}");
    }
}

/// FAULTS N1221
#[test]
fn an_address_names_its_wrong_part() {
    let folder = folder_with(SOURCE, SCHEMA);
    let name = "IMPRINT_BRIDGE__INGRESS__LISTEN";
    for (value, expected) in [
        ("127.0.0.1:70000", "a port is at most 65535"),
        ("localhost:8080", "write 127.0.0.1 instead of localhost"),
    ] {
        let (_, errors) = check(folder.path(), &[(name, value)]);
        assert_contains(&errors, &[expected], value);
    }
    let report = printed(
        folder.path(),
        &["sandbox", "--listen", "19520", "--key-file", "k"],
    );
    assert!(
        report.contains("the address before the port is missing"),
        "{report}"
    );
}

/// FAULTS N1222
#[test]
fn a_role_of_another_system_is_an_error() {
    let folder = folder_with(SOURCE, SCHEMA);
    fs::write(folder.path().join("ann.admin"), "0123456789abcdefgh").unwrap();
    let name = "IMPRINT_BRIDGE__OPS__TOKEN_FILES";
    let (_, errors) = check(folder.path(), &[(name, "./ann.admin")]);
    let expected = "admin is not a role; the roles are viewer, operator, revealer";
    assert_contains(&errors, &[expected], name);
}

/// FAULTS N1224: `check` gives the reason of each difference.
#[test]
fn a_difference_of_an_example_has_its_reason() {
    let skip = "\n[events.customer.on_invalid]\nphone = \"skip\"\n[tables.tiers]";
    let source = SOURCE.replace("\n[tables.tiers]", skip);
    let folder = folder_with(
        &source.replace(".phone | e164", ".first_name | e164"),
        SCHEMA,
    );
    let (_, errors) = check(folder.path(), &[]);
    let expected = "/skipped: expected [], found [\"phone\"]; phone is skipped: e164 at \"/first_name\": The text has letters and too few digits for a phone number, so it is probably a note, or a number written with letters";
    let is_expected = |error: &String| error.ends_with(expected);
    assert!(errors.iter().any(is_expected), "{errors:#?}");

    let closed = r#"{"type": "object", "properties": {"id": {}, "kind": {}}, "additionalProperties": false}"#;
    let folder = folder_with(SOURCE, closed);
    let (_, errors) = check(folder.path(), &[]);
    let expected =
        "the schema does not allow customer_id, email, first_name, phone, tier, updated_at";
    assert_contains(&errors, &[expected], closed);

    for (result, expected) in [
        ("ignored", "write \"ignored\" in double quotes"),
        (
            "\"Ignored\"",
            "the text \"Ignored\" is no result of an example: the only text is \"ignored\"",
        ),
        (
            "\"partner_id\": \"c1\"}",
            "is not JSON: the file continues after the JSON value",
        ),
    ] {
        let folder = folder_with(SOURCE, SCHEMA);
        fs::write(
            folder.path().join("config/sources/shop/a.request.json"),
            result,
        )
        .unwrap();
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[expected], result);
    }
}

/// FAULTS N1225
#[test]
fn parts_that_are_no_objects_name_body_split() {
    let source = SOURCE.replace("format = \"json\"", "format = \"json\"\nsplit = \".ids[]\"");
    let folder = folder_with(&source, SCHEMA);
    let event = EVENT.replacen('{', "{\"ids\": [7],", 1);
    fs::write(
        folder.path().join("config/sources/shop/a.event.json"),
        event,
    )
    .unwrap();
    let (_, errors) = check(folder.path(), &[]);
    let expected = "The expression body.split makes a number here, and an event is an object.";
    let all = errors.join("\n");
    assert!(
        all.contains(expected) && all.contains(". as $body |"),
        "{all}"
    );
}

/// FAULTS N1226
#[test]
fn a_condition_that_is_a_text_gets_a_note() {
    let note = "the condition is a text or a number, so it is true for every value";
    for (when, is_noted) in [
        (".kind", true),
        (".kind == \"customer\"", false),
        (".kind != null", false),
    ] {
        let when = format!("when = '{when}'\nversion = ");
        let folder = folder_with(&SOURCE.replacen("version = ", &when, 1), SCHEMA);
        let (report, errors) = check(folder.path(), &[]);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(report.contains(note), is_noted, "{when}: {report}");
    }
}

/// FAULTS N1227
#[test]
fn check_names_the_files_that_the_bridge_does_not_read() {
    let folder = folder_with(SOURCE, SCHEMA);
    let sources = folder.path().join("config/sources");
    fs::write(sources.join("ac.yaml"), "").unwrap();
    fs::write(sources.join("shop/extra.toml"), "").unwrap();
    fs::create_dir(sources.join("shpo")).unwrap();
    fs::write(sources.join("shpo/a.event.json"), EVENT).unwrap();
    let (report, errors) = check(folder.path(), &[]);
    assert_eq!(errors, Vec::<String>::new());
    for expected in [
        "config/sources/ac.yaml is not read: the name of a source file ends in .toml",
        "config/sources/shop/extra.toml is not read: a source file lies directly in sources_dir",
        "the examples in config/sources/shpo are not run: there is no source shpo; did you mean shop?",
    ] {
        assert!(report.contains(expected), "{expected} in {report}");
    }
}

/// FAULTS N1228: the value of the option can be a secret.
#[test]
fn no_error_repeats_the_value_of_a_header() {
    let folder = folder_with(SOURCE, SCHEMA);
    let secret = "copper-token-0123456789abcdef";
    let header = format!("x-copper-token={secret}");
    for command in ["verify", "explain", "send"] {
        let arguments = [command, "--source", "shop", "--header", &header];
        let output = run(folder.path(), &arguments);
        let report = commands::text(&output.stderr);
        let expected = "--header: a header is written NAME: VALUE, with a colon after the name";
        assert!(report.contains(expected), "{report}");
        assert!(!report.contains(secret), "{report}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// FAULTS N1229: a command gets an argument in another form.
#[test]
fn a_command_names_the_right_form_of_an_argument() {
    let folder = folder_with(SOURCE, SCHEMA);
    fs::write(folder.path().join("seed.json"), "{\"id\": \"1\"").unwrap();
    fs::write(folder.path().join("k"), "a-key").unwrap();
    for (arguments, expected) in [
        (
            &["verify", "--source", "config/sources/shop.toml", "x"][..],
            "write --source shop",
        ),
        (&["verify", "--source", "shpo", "x"], "did you mean shop?"),
        (
            &["explain", "--source", "config/sources/shop.toml", "x"],
            "write --source shop",
        ),
        (&["explain", "--source", "shpo", "x"], "did you mean shop?"),
        (
            &["check", "config/sources/shop.toml"],
            "`check` takes no file",
        ),
        (
            &["new-source", "x", "body.json"],
            "write --sample before the file",
        ),
        (
            &[
                "send",
                "--source",
                "shop",
                "--to",
                "http://127.0.0.1:1/v1/sources/shop/events",
            ],
            "must be the URL of the bridge without a path",
        ),
        (
            &[
                "sandbox",
                "--key-file",
                "k",
                "--seed",
                "seed.json",
                "--listen",
                "127.0.0.1:0",
            ],
            "seed.json is not JSON: ",
        ),
        (
            &["events", "--token-file", "k", "--ops", "http://127.0.0.1:1"],
            "is the bridge running? --ops is the URL of its ops listener",
        ),
    ] {
        let report = printed(folder.path(), arguments);
        assert!(
            report.contains(expected),
            "{arguments:?}: {expected} in {report}"
        );
    }
}

/// FAULTS N1230: a cut token and a wrong password.
#[test]
fn verify_compares_the_lengths_of_secrets() {
    let secret = "shop-secret-0123456789";
    let token = "kind = \"token\"\nheader = \"x-token\"\ntoken_files = [\"./s\"]";
    let basic = "kind = \"basic\"\nuser = \"shop\"\npassword_files = [\"./s\"]";
    for (auth, header, expected) in [
        (
            token,
            "x-token: shop-secret-012345678",
            "the sender cuts the secret: the header has the first 21 of 22 characters",
        ),
        (
            // shop:another-password
            basic,
            "authorization: Basic c2hvcDphbm90aGVyLXBhc3N3b3Jk",
            "the user name is right, and the password is wrong: the sender's password has 16 characters, and the secret has 22",
        ),
        (
            token,
            "x-token: another-token-of-the-sender",
            "no header contains a secret of the source",
        ),
    ] {
        let folder = folder_with(&SOURCE.replace("kind = \"none\"", auth), SCHEMA);
        fs::write(folder.path().join("s"), secret).unwrap();
        let event = "config/sources/shop/a.event.json";
        let report = printed(
            folder.path(),
            &["verify", "--source", "shop", "-H", header, event],
        );
        assert!(report.contains(expected), "{expected} in {report}");
        assert!(!report.contains("shop-secret"), "{report}");
    }
}

/// FAULTS N1231: the sender and the operator address the wrong listener or the wrong source.
#[test]
fn an_answer_of_the_wrong_place_names_the_right_one() {
    let app = TestApp::setup()
        .operator("ann", "the-token-of-ann-0123456789")
        .start();
    let charset = &[("content-type", "application/json; charset=iso-8859-1")];
    let answer = ask(app.ingress(), "POST /v1/sources/crm/events", charset, "{}").unwrap();
    assert_eq!(answer.status, 415);
    let expected = "The charset of the Content-Type is neither UTF-8 nor ASCII.";
    assert!(answer.body.contains(expected), "{}", answer.body);

    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":{EVENT}}}"
    )
    .replace('\n', "");
    let output = commands::send(app.ingress(), "crmm", &[], &event);
    let report = commands::text(&output.stderr);
    assert!(
        report.contains("the bridge has no source of this name, or its file is a draft"),
        "{report}"
    );
    let output = commands::send(app.ops(), "crm", &[], &event);
    let report = commands::text(&output.stderr);
    assert!(
        report.contains("--to is the URL of ingress.listen, without a path"),
        "{report}"
    );

    let folder = folder_with(SOURCE, SCHEMA);
    fs::write(folder.path().join("k"), "another-token-0123456789").unwrap();
    let ops = format!("http://{}", app.ops());
    let report = printed(
        folder.path(),
        &["events", "--token-file", "k", "--ops", &ops],
    );
    assert!(
        report.contains("the file is one of those in ops.token_files"),
        "{report}"
    );
}
