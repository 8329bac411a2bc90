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

/// FAULTS N1278: `verify` also notes what stands around the secret in its file, and does not repeat the secret.
#[test]
fn verify_names_a_secret_file_with_quotes() {
    let auth = HMAC.replace("signed = \"{timestamp}{body}\"\n", "");
    let folder = folder_with(&SOURCE.replace("kind = \"none\"\n", &auth), SCHEMA);
    for (secret, is_noted) in [
        ("\"canary-of-the-crm-0123\"", true),
        ("canary-of-the-crm-0123", false),
    ] {
        fs::write(folder.path().join("config/secret"), secret).unwrap();
        let file = "config/sources/shop/a.event.json";
        let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(["verify", "--source", "shop", "-H", "x-signature: 00", file])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let report = text(&output.stdout) + &text(&output.stderr);
        let note = "has quotes around the secret";
        assert_eq!(report.contains(note), is_noted, "{secret}: {report}");
        assert!(!report.contains("canary"), "{report}");
    }
}

/// FAULTS N1279: the name of a header has the form that a program sees, such as in PHP or Ruby.
#[test]
fn a_header_in_the_form_of_a_program_is_noted() {
    let auth = HMAC.replace("signed = \"{timestamp}{body}\"\n", "");
    for (header, is_noted) in [("HTTP_X_SIGNATURE", true), ("X-Signature", false)] {
        let auth = auth.replace("x-signature", header);
        let folder = folder_with(&SOURCE.replace("kind = \"none\"\n", &auth), SCHEMA);
        let (report, errors) = check(folder.path(), &[]);
        assert_eq!(errors, Vec::<String>::new(), "{header}");
        let note =
            "which is the name of the header x-signature inside a program: write x-signature";
        assert_eq!(report.contains(note), is_noted, "{header}: {report}");
    }
}

/// Runs `verify` for the request of the example with a header, in a folder with the authentication `auth`.
fn verify(auth: &str, secret: &str, header: &str) -> String {
    let folder = folder_with(&SOURCE.replace("kind = \"none\"\n", auth), SCHEMA);
    fs::write(folder.path().join("config/secret"), secret).unwrap();
    let file = "config/sources/shop/a.event.json";
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(["verify", "--source", "shop", "-H", header, file])
        .current_dir(folder.path())
        .output()
        .unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

/// FAULTS N1289: the sender makes a plain hash and no HMAC.
#[test]
fn verify_names_a_plain_hash() {
    let auth = HMAC.replace("signed = \"{timestamp}{body}\"\n", "");
    let secret = "canary-of-the-crm-0123";
    let hash = |parts: &[&str]| {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(parts.concat());
        let digits = hash.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    let body = super::EVENT;
    for (signature, what) in [
        (
            hash(&[body]),
            "a plain sha256 hash of the body without a secret",
        ),
        (
            hash(&[secret, body]),
            "a plain sha256 hash of the secret and the body",
        ),
        (
            hash(&["other"]),
            "no common mistake explains the difference",
        ),
    ] {
        let report = verify(&auth, secret, &format!("x-signature: {signature}"));
        assert!(report.contains(what), "{report}");
        assert!(!report.contains("canary"), "{report}");
    }
}

/// FAULTS N1290: HTTP Basic with base64 without padding, or in the URL-safe alphabet.
#[test]
fn verify_names_another_base64_of_http_basic() {
    let auth = "kind = \"basic\"\nuser = \"imprint\"\npassword_files = [\"config/secret\"]\n";
    let right = "aW1wcmludDpzM2NyZXQtcGFzc3dvcmQtbG9uZy1lbm91Z2g=";
    let secret = "s3cret-password-long-enough";
    let header = |credentials: &str| format!("authorization: Basic {credentials}");
    let report = verify(auth, secret, &header(right.trim_end_matches('=')));
    let expected = "contains the password in base64 without padding, or in the URL-safe alphabet";
    assert!(report.contains(expected), "{report}");
    let report = verify(auth, secret, &header(right));
    assert!(report.contains("accepts the authentication"), "{report}");
}

/// FAULTS N1291, N1292: a schema with an absolute path, and a URL with white space.
#[test]
fn a_path_or_a_url_in_a_wrong_form_names_the_form() {
    let folder = folder_with(SOURCE, SCHEMA);
    let schemas = fs::canonicalize(folder.path().join("schemas")).unwrap();
    let path = schemas.join("shop.json");
    let source = SOURCE.replace("shop.json", path.to_str().unwrap());
    fs::write(folder.path().join("config/sources/shop.toml"), source).unwrap();
    let (_, errors) = check(folder.path(), &[]);
    let expected = "must be a path relative to schemas_dir: write shop.json";
    assert_contains(&errors, &[expected], "absolute");
    let folder = folder_with(SOURCE, SCHEMA);
    let variable = ("IMPRINT_BRIDGE__IMPRINT__BASE_URL", " http://127.0.0.1:9 ");
    let (_, errors) = check(folder.path(), &[variable]);
    assert_contains(&errors, &["has white space before or after it"], "URL");
}

/// FAULTS N1287, N1288: a no-break space in the name of an event type, and names of members that stand in quotes.
#[test]
fn an_invisible_sign_and_a_name_in_quotes_are_named() {
    for (from, to, expected) in [
        (
            "[events.customer]",
            "[events.\"customer.*\u{a0}\"]",
            "has an invisible character, such as a no-break space",
        ),
        (
            "\".first_name\"",
            "\".2faPhone\"",
            "stands in double quotes: .\"2faPhone\"",
        ),
        (
            "\".first_name\"",
            "\".data.1st\"",
            "stands in double quotes: .\"1st\"",
        ),
        (
            "\".first_name\"",
            "\".data.@type\"",
            "stands in double quotes: .\"@type\"",
        ),
        (
            "\".first_name\"",
            "'.data.#text'",
            "stands in double quotes: .\"#text\"",
        ),
        (
            "\".first_name\"",
            "'.data.$oid'",
            "stands in double quotes: .\"$oid\"",
        ),
    ] {
        let source = SOURCE.replace(from, to);
        let folder = folder_with(&source, SCHEMA);
        let (_, errors) = check(folder.path(), &[]);
        let errors = errors.join("\n");
        assert!(errors.contains(expected), "{to}: {errors}");
    }
}
