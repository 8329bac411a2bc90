//! Messages whose remedy must be right: the author who follows it must not break the mapping in another way.

use std::fs;
use std::process::Command;

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};
use crate::commands::text;

const HMAC: &str = "kind = \"hmac\"\nsecret_files = [\"config/secret\"]\nheader = \"x-signature\"\nencoding = \"hex\"\nsigned = \"{timestamp}{body}\"\n";

/// FAULTS N1057: settings of another kind of authentication, another spelling, and names of other systems.
#[test]
fn a_setting_with_a_usual_mistake_is_one_error() {
    let hmac = HMAC.replace("\"hmac\"", "\"standard_webhooks\"");
    let hyphen = format!("{HMAC}timestamp-header = \"x-time\"\n");
    for (from, to, expected) in [
        (
            "kind = \"none\"\n",
            hmac.as_str(),
            "auth: has settings of kind = \"hmac\": encoding, header, signed; leave them out with kind = \"standard_webhooks\"",
        ),
        (
            "kind = \"none\"\n",
            hyphen.as_str(),
            "auth.timestamp-header: unknown setting; did you mean auth.timestamp_header?",
        ),
        (
            "customer.partner_id = ",
            "customer_id = ",
            "events.customer.customer_id: unknown setting; did you mean events.customer.customer.partner_id or events.customer.customer.imprint_id?",
        ),
        (
            "[events.customer.update]",
            "[events.\"after-save\".update]",
            "events.after-save: has only the table `update`, and [events.\"customer\"] has the other settings",
        ),
        (
            "metadata.tier =",
            "ssn = \".ssn\"\nmetadata.tier =",
            "Imprint's update has no such field; leave out secrets and the numbers of identity documents",
        ),
    ] {
        check_source(from, to, &[expected]);
    }
}

/// FAULTS N1055: inner quotes make a constant text of a path.
#[test]
fn a_path_in_inner_quotes_is_an_error() {
    for (wrong, expected) in [
        (
            "'\".email\"'",
            "the inner quotes make a constant text: write .email without them",
        ),
        ("'\"{{email}}\"'", "the bridge replaces nothing in it"),
    ] {
        let folder = folder_with(
            &SOURCE.replacen("'.tier | lookup(\"tiers\")'", wrong, 1),
            SCHEMA,
        );
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[expected], wrong);
    }
}

/// FAULTS N1058: a schema file that is no JSON, or no schema of an event.
#[test]
fn a_schema_file_names_its_true_cause() {
    for (schema, expected) in [
        (
            "{'type': 'object'}",
            "is not JSON: a text is in single quotes",
        ),
        (
            "{\"type\": \"object\" // x\n}",
            "is not JSON: the file has a comment",
        ),
        ("type: object\n", "is not JSON: the file begins with a word"),
        (" ", "is not JSON: the file is empty"),
        (
            "{\"openapi\": \"3.0.0\", \"components\": {}}",
            "this file is an OpenAPI document and no schema",
        ),
        (
            "{\"type\": \"object\", \"required\": [\"id\"], \"properties\": {\"updated_at\": {\"type\": \"date-time\"}}}",
            "`date-time` is a format: write \"type\": \"string\", \"format\": \"date-time\"",
        ),
        (
            "{\"type\": \"object\", \"properties\": {\"id\": {\"type\": \"string\", \"required\": true}}}",
            "`required` is a list of names beside `properties`",
        ),
        (
            "{\"type\": \"object\", \"properties\": {\"id\": {\"pattern\": \"^[0-9{5}$\"}}}",
            "the pattern is no regular expression: a `[` has no `]`",
        ),
    ] {
        let folder = folder_with(SOURCE, schema);
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[expected], schema);
    }
}

/// FAULTS N1057: settings of the bridge under the names of other systems, and a word in the place of true.
#[test]
fn a_setting_of_the_bridge_names_the_right_one() {
    for (settings, expected) in [
        (
            "[imprint]\napi_key = \"abc\"\n",
            "did you mean imprint.key_file?",
        ),
        (
            "[imprint]\ntimeout = \"10s\"\n",
            "did you mean imprint.deadline?",
        ),
        ("[log]\nlevel = \"debug\"\n", "did you mean log.filter?"),
        (
            "[identity]\nunknown = \"park\"\n",
            "did you mean identity.unknown_customer or identity.unknown_ttl?",
        ),
        (
            "[brake]\nmode = true\n",
            "brake.mode: must be \"profile\" or \"on\" or \"off\"",
        ),
    ] {
        let folder = folder_with(SOURCE, SCHEMA);
        fs::write(folder.path().join("bridge.toml"), settings).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(["check", "--config", "bridge.toml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let errors = text(&output.stderr);
        assert!(errors.contains(expected), "{settings}: {errors}");
        assert!(errors.ends_with("1 error\n"), "{settings}: {errors}");
    }
}

/// FAULTS N1059: an example that the condition leaves out says so.
#[test]
fn an_example_that_is_ignored_names_the_reason() {
    let source = SOURCE.replacen("version = ", "when = '.kind == \"x\"'\nversion = ", 1);
    let folder = folder_with(&source, SCHEMA);
    let (_, errors) = check(folder.path(), &[]);
    assert_contains(
        &errors,
        &["expected request, found ignored (condition)"],
        "when",
    );
}

/// FAULTS N1258: the prefix of the signature names another algorithm than the settings, so no request can match.
#[test]
fn a_prefix_with_another_algorithm_is_noted() {
    for (settings, is_noted) in [
        ("prefix = \"sha1=\"\n", true),
        ("algorithm = \"sha1\"\nprefix = \"sha256=\"\n", true),
        ("algorithm = \"sha1\"\nprefix = \"sha1=\"\n", false),
        ("prefix = \"v1=\"\n", false),
    ] {
        let auth = HMAC.replace("signed = \"{timestamp}{body}\"\n", settings);
        let folder = folder_with(&SOURCE.replace("kind = \"none\"\n", &auth), SCHEMA);
        let (report, errors) = check(folder.path(), &[]);
        assert_eq!(errors, Vec::<String>::new(), "{settings}");
        let note = "and auth.algorithm is";
        assert_eq!(report.contains(note), is_noted, "{settings}: {report}");
    }
}

/// FAULTS N1257: a secret file with more than its secret. The note does not repeat the secret.
#[test]
fn a_secret_file_with_quotes_is_noted() {
    let auth = HMAC.replace("signed = \"{timestamp}{body}\"\n", "");
    let folder = folder_with(&SOURCE.replace("kind = \"none\"\n", &auth), SCHEMA);
    for (secret, is_noted) in [
        ("\"canary-of-the-crm-0123\"", true),
        ("canary-of-the-crm-0123", false),
    ] {
        fs::write(folder.path().join("config/secret"), secret).unwrap();
        let (report, errors) = check(folder.path(), &[]);
        assert_eq!(errors, Vec::<String>::new(), "{secret}");
        let note = "has quotes around the secret";
        assert_eq!(report.contains(note), is_noted, "{secret}: {report}");
        assert!(!report.contains("canary"), "{report}");
    }
}
