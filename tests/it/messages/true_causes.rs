//! Errors of `check` that named the consequence of a mistake, another file, or a remedy that does not exist.

use std::fs;

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};

/// FAULTS N1202: notation that gave a wrong value without an error.
#[test]
fn notation_with_a_silent_wrong_value_is_an_error() {
    for (wrong, expected) in [
        (
            "'(.mobile ?? .phone) | e164(\"US\")'",
            "phone: write `//` instead of `??`",
        ),
        ("'\"{.phone}\"'", "phone: the expression is a constant text"),
        (
            "'if .tier == \"A\" or \"B\" then .phone | e164(\"US\") end'",
            "phone: the text \"B\" after `or` is not compared",
        ),
    ] {
        check_source("'.phone | e164(\"US\")'", wrong, &[expected]);
    }
}

/// FAULTS N1203: a list is compared with a text, which is never equal.
#[test]
fn a_list_compared_with_a_text_is_noted() {
    let source = SOURCE.replacen(
        "metadata.tier",
        "metadata.vip = '.tags == \"vip\"'\nmetadata.tier",
        1,
    );
    let folder = folder_with(&source, SCHEMA);
    let example = folder.path().join("config/sources/shop/a.event.json");
    let event = fs::read_to_string(&example).unwrap();
    fs::write(&example, event.replacen('{', "{\"tags\": [\"vip\"], ", 1)).unwrap();
    let (report, _) = check(folder.path(), &[]);
    let note = "metadata.vip: the expression compares a list with one value";
    assert!(report.contains(note), "{report}");
    let right = source.replacen(".tags == \"vip\"", ".tags | any(. == \"vip\")", 1);
    fs::write(folder.path().join("config/sources/shop.toml"), right).unwrap();
    let (report, errors) = check(folder.path(), &[]);
    assert!(!report.contains("compares a list"), "{report}");
    assert_contains(&errors, &["/body/metadata/vip: unexpected true"], "any");
}

/// FAULTS N1211: a schema of an unknown version, and one with a second brace.
#[test]
fn a_schema_names_its_version_and_its_braces() {
    for (schema, expected) in [
        (
            "{\"$schema\": \"https://example.com/s\", \"type\": \"object\"}",
            "at #/$schema: the bridge does not know this version of JSON Schema: write https://json-schema.org/draft/2020-12/schema",
        ),
        (
            "{{\"type\": \"object\"}",
            "is not JSON: two braces follow one another, and the name of a member in double quotes must stand after the first",
        ),
    ] {
        let folder = folder_with(SOURCE, schema);
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[expected], schema);
    }
    let right = "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"}";
    let (_, errors) = check(folder_with(SOURCE, right).path(), &[]);
    assert_contains(&errors, &[], right);
}

/// FAULTS N1209: a misspelt table `update` leaves `on_invalid` without fields.
#[test]
fn on_invalid_without_a_table_update_says_so() {
    let source = SOURCE.replacen(
        "[events.customer.update]",
        "on_invalid.phone = \"skip\"\n[events.customer.updates]",
        1,
    );
    let folder = folder_with(&source, SCHEMA);
    let (_, errors) = check(folder.path(), &[]);
    assert_contains(
        &errors,
        &[
            "on_invalid.phone: is about a field of the table `update`, and this event type has no field there",
            "updates: unknown table; did you mean events.customer.update?",
        ],
        "updates",
    );
}

/// FAULTS N1212: the value of a variable has the quotes of a file with variables.
#[test]
fn a_variable_with_quotes_names_them() {
    let folder = folder_with(SOURCE, SCHEMA);
    for value in ["\"http://127.0.0.1:19500\"", "'http://127.0.0.1:19500'"] {
        let name = "IMPRINT_BRIDGE__IMPRINT__BASE_URL";
        let (_, errors) = check(folder.path(), &[(name, value)]);
        let expected =
            "environment variable IMPRINT_BRIDGE__IMPRINT__BASE_URL: has quotes around its value";
        assert_contains(&errors, &[expected], value);
        let (_, errors) = check(
            folder.path(),
            &[(name, value.get(1..value.len() - 1).unwrap())],
        );
        assert_contains(&errors, &[], value);
    }
}

/// FAULTS N1217: a duration in days.
#[test]
fn a_duration_in_days_names_the_units() {
    let folder = folder_with(SOURCE, SCHEMA);
    let name = "IMPRINT_BRIDGE__OUTBOX__RETAIN_RECEIPT";
    let (_, errors) = check(folder.path(), &[(name, "30d")]);
    let expected = "the units are ms, s, m and h, so write \"720h\"";
    assert_contains(&errors, &[expected], "30d");
    let (_, errors) = check(folder.path(), &[(name, "720h")]);
    assert_contains(&errors, &[], "720h");
}

/// FAULTS N1213: one file with another ending keeps the examples from being read.
#[test]
fn a_stray_file_is_not_called_a_lack_of_examples() {
    let folder = folder_with(SOURCE, SCHEMA);
    fs::write(folder.path().join("config/sources/shop/new.json"), "{}").unwrap();
    let (report, errors) = check(folder.path(), &[]);
    assert_contains(&errors, &["new.json is not an example"], "new.json");
    assert!(
        report.contains("no example was read: see the errors below"),
        "{report}"
    );
    assert!(!report.contains("no examples; add some"), "{report}");
}

/// FAULTS N1214: body.split has several results, but not with a comma.
#[test]
fn a_comma_in_body_split_names_the_items_of_a_list() {
    let split = |split: &str| format!("format = \"json\"\nsplit = '{split}'");
    let expected = "body.split: `,` is not allowed here; body.split makes an event of each item of a list: write `[]` after the list";
    check_source("format = \"json\"", &split(".ids[0], .ids[1]"), &[expected]);
}

/// FAULTS N1373: the environment has the proxy of other programs.
#[test]
fn a_proxy_of_other_programs_is_noted() {
    let folder = folder_with(SOURCE, SCHEMA);
    for (name, note) in [
        (
            "HTTPS_PROXY",
            "is not read: imprint.proxy_url has the URL of the proxy",
        ),
        (
            "all_proxy",
            "is not read: imprint.proxy_url has the URL of the proxy",
        ),
        (
            "NO_PROXY",
            "is not read: the bridge sends each request to Imprint through the proxy",
        ),
    ] {
        let (report, errors) = check(folder.path(), &[(name, "http://canary:3128")]);
        assert_contains(&errors, &[], name);
        let expected = format!("the environment variable {name} {note}");
        assert!(report.contains(&expected), "{report}");
        assert!(!report.contains("canary"), "{report}");
        // The bridge has a proxy of its own.
        let own = ("IMPRINT_BRIDGE__IMPRINT__PROXY_URL", "http://proxy:3128");
        let (report, errors) = check(folder.path(), &[(name, "http://canary:3128"), own]);
        assert_contains(&errors, &[], name);
        assert!(!report.contains(&expected), "{report}");
    }
}

/// FAULTS N1380, N1381: functions of jq for a time, and a number in the place of a version.
#[test]
fn a_function_or_a_number_in_the_place_of_a_time_names_the_right_function() {
    let version = "version = \".updated_at\"";
    for (function, expected) in [
        (
            "from_epoch_ms",
            "use moment(\"ms\") for a number of milliseconds since 1970",
        ),
        ("fromdateiso8601", "use utc for a text with a time"),
    ] {
        let wrong = format!("version = '.updated_at | {function}'");
        check_source(version, &wrong, &[expected]);
    }
    let source = SOURCE.replacen(version, "version = \".number\"", 1);
    let folder = folder_with(&source, SCHEMA);
    let example = folder.path().join("config/sources/shop/a.event.json");
    let event = fs::read_to_string(&example).unwrap();
    fs::write(&example, event.replacen('{', "{\"number\": 10215, ", 1)).unwrap();
    let (_, errors) = check(folder.path(), &[]);
    let expected =
        "If the source counts the changes of the customer with this number, set version_domain";
    assert_contains(&errors, &[expected], "number");
}

/// FAULTS N1382: the name of a header has the colon of the line in a request.
#[test]
fn a_colon_after_the_name_of_a_header_is_named() {
    let auth = "kind = \"token\"\nheader = \"X-Key:\"\ntoken_files = [\"secret\"]";
    let expected = "auth.header: must be the name of a header, without the colon";
    check_source("kind = \"none\"", auth, &[expected]);
    let expected = "`header` is written header(\"x-topic\"), without the colon after the name";
    check_source("'.kind'", "'header(\"X-Entity:\")'", &[expected]);
    check_source(
        "'.kind'",
        "'header(.kind)'",
        &["`header` is written header(\"x-topic\") ("],
    );
}

/// FAULTS N1393: the path of a secret file ends with a space or a line break.
#[test]
fn a_space_beside_a_path_is_named() {
    let expected = "begins or ends with a space or a line break: remove it";
    for path in ["secret ", "secret\\n"] {
        let auth = format!("kind = \"bearer\"\ntoken_files = [\"{path}\"]");
        check_source("kind = \"none\"", &auth, &[expected]);
    }
}

/// FAULTS N1395: the line has a character that no editor shows, and the line before lacks a brace.
#[test]
fn an_invisible_character_and_a_missing_brace_are_named() {
    for (from, to, expected) in [
        (
            "email = ",
            "email\u{a0}= ",
            "the line has an invisible character, such as a no-break space",
        ),
        (
            "customer.partner_id = \".customer_id\"",
            "customer = { partner_id = \".customer_id\"",
            "has no `}`",
        ),
    ] {
        check_source(from, to, &[expected]);
    }
}

/// FAULTS N1429: a rule for the customer in the table `on_invalid`.
#[test]
fn a_rule_for_the_customer_in_on_invalid_names_the_fields() {
    let inside = |table: &str| {
        let line = format!("{table}customer.partner_id = \"skip\"\n[events.customer.update]");
        check_source(
            "[events.customer.update]",
            &line,
            &[
                "events.customer.on_invalid.\"customer.partner_id\": must be a field that the table `update` sets: email, first_name",
            ],
        );
    };
    inside("on_invalid.");
    inside("[events.customer.on_invalid]\n");
}

/// FAULTS N1430: the list of unsigned headers in `[auth]` is allowed for each kind of authentication, as at the top of the file.
#[test]
fn unsigned_headers_are_allowed_with_a_token() {
    let auth = "kind = \"token\"\nheader = \"x-token\"\ntoken_files = [\"config/secret\"]\nunsigned_headers = [\"x-topic\"]\n";
    let source = SOURCE
        .replace("kind = \"none\"\n", auth)
        .replace("type = '.kind'", "type = 'header(\"x-topic\")'");
    for source in [
        source.clone(),
        source
            .replace("unsigned_headers = [\"x-topic\"]\n", "")
            .replacen("ignore", "unsigned_headers = [\"x-topic\"]\nignore", 1),
    ] {
        let folder = folder_with(&source, SCHEMA);
        fs::write(
            folder.path().join("config/secret"),
            "canary-of-the-crm-0123456789-abcdef",
        )
        .unwrap();
        let (_, errors) = check(folder.path(), &[]);
        assert!(
            !errors
                .iter()
                .any(|error| error.contains("unsigned_headers")),
            "{errors:?}"
        );
    }
}

/// FAULTS N1431: an email address with something around it, and an id that is a number.
#[test]
fn a_value_with_a_known_flaw_names_it() {
    for (member, value, expected) in [
        ("email", "\"mailto:a@b.com\"", "write if .email[0:7] == "),
        ("email", "\"a@b.com,c@d.com\"", "Imprint takes one address"),
        ("email", "\"a@b.com;\"", "Imprint takes one address"),
        ("email", "\"a@b.com\\u200b\"", "has an invisible character"),
        ("email", "\"Ann <a@b.com>\"", "is not one email address"),
        (
            "customer_id",
            "901",
            "The value is a number, and an Imprint id",
        ),
        (
            "customer_id",
            "901.0",
            "The value is a number, and an Imprint id",
        ),
        ("first_name", "null", "[.a, .b] | join"),
    ] {
        let source = SOURCE
            .replace("customer.partner_id", "customer.imprint_id")
            .replace("\".first_name\"", "'\"\\(.first_name) X\"'");
        let folder = folder_with(&source, SCHEMA);
        let example = folder.path().join("config/sources/shop/a.event.json");
        let mut event: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&example).unwrap()).unwrap();
        event[member] = serde_json::from_str(value).unwrap();
        fs::write(&example, event.to_string()).unwrap();
        let (_, errors) = check(folder.path(), &[]);
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "{value}: {errors:?}"
        );
    }
}
