//! Messages that name the true cause and the next step, for each kind of mistake of an author or an operator.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};
use crate::commands;

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
        "auth.draft: is inside the table [auth]: write `draft` before the first table",
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
