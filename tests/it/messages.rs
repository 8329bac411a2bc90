//! The messages about wrong configurations and wrong request bodies: one mistake causes one message, and the message names
//! the mistake and its correction.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::commands;
use crate::http;
use crate::support::TestApp;

mod causes;
mod consequences;
mod next_steps;
mod notation;
mod outer_tables;
mod remedies;
mod true_causes;

/// A correct source file.
const SOURCE: &str = r#"ignore = ["product"]
[auth]
kind = "none"
[body]
format = "json"
id = ".id"
type = '.kind'
[events.customer]
schema = "shop.json"
customer.partner_id = ".customer_id"
version = ".updated_at"
version_domain = "time"
[events.customer.update]
email = ".email"
first_name = ".first_name"
phone = '.phone | e164("US")'
metadata.tier = '.tier | lookup("tiers")'
[tables.tiers]
A = "GOLD"
"#;
const SCHEMA: &str = r#"{"type": "object", "required": ["id"]}"#;
const EVENT: &str = r#"{"id": "1", "kind": "customer", "customer_id": "c1", "updated_at": "2025-01-01T00:00:00Z",
 "email": "a@b.com", "phone": "4155552671", "tier": "A", "first_name": "Bob"}"#;

/// Runs `check` in a folder with a source, a schema and an example. Returns the lines of the errors.
fn check(folder: &Path, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .arg("check")
        .current_dir(folder)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let mut errors: Vec<String> = commands::text(&output.stderr)
        .lines()
        .map(str::to_owned)
        .collect();
    let count = errors.pop().unwrap_or_default();
    let expected = match errors.len() {
        0 => String::new(),
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    if !errors.iter().any(|line| line.contains("TOML parse error")) {
        assert_eq!(count, expected, "{errors:#?}");
    }
    (commands::text(&output.stdout), errors)
}

fn folder_with(source: &str, schema: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = folder.path().join("config/sources/shop");
    fs::create_dir_all(&examples).unwrap();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    fs::write(folder.path().join("schemas/shop.json"), schema).unwrap();
    fs::write(folder.path().join("config/sources/shop.toml"), source).unwrap();
    fs::write(examples.join("a.event.json"), EVENT).unwrap();
    fs::write(
        examples.join("a.request.json"),
        r#"{"partner_id": "c1", "body": {"email": "a@b.com", "first_name": "Bob", "metadata": {"tier": "GOLD"}, "phone": "+14155552671"}}"#,
    )
    .unwrap();
    folder
}

/// Replaces a text of the source file, and compares the errors of `check`. Each error must contain its expected text.
fn check_source(from: &str, to: &str, expected: &[&str]) {
    assert!(SOURCE.contains(from), "{from}");
    let folder = folder_with(&SOURCE.replacen(from, to, 1), SCHEMA);
    let (_, errors) = check(folder.path(), &[]);
    assert_contains(&errors, expected, to);
}

fn assert_contains(errors: &[String], expected: &[&str], case: &str) {
    if !errors.iter().any(|line| line.contains("TOML parse error")) {
        assert_eq!(errors.len(), expected.len(), "{case}: {errors:#?}");
    }
    for expected in expected {
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "{case}: {expected} in {errors:#?}"
        );
    }
}

#[test]
fn the_correct_source_has_no_errors() {
    let folder = folder_with(SOURCE, SCHEMA);
    let (report, errors) = check(folder.path(), &[]);
    assert_eq!(errors, Vec::<String>::new());
    assert!(report.ends_with("no errors\n"), "{report}");
}

/// A text of the source file, the wrong text in its place, and a part of the only error.
const WRONG_KEYS: &[(&str, &str, &str)] = &[
    (
        "customer.partner_id",
        "customer.id",
        "customer.id: unknown setting; events.customer.customer can have imprint_id, partner_id",
    ),
    (
        "schema = ",
        "schma = ",
        "events.customer.schma: unknown setting; did you mean events.customer.schema?",
    ),
    (
        "version_domain",
        "versoin_domain",
        "did you mean events.customer.version_domain?",
    ),
    (
        "customer.partner_id",
        "customer.parnter_id",
        "did you mean events.customer.customer.partner_id?",
    ),
    (
        "customer.partner_id",
        "partner_id",
        "did you mean events.customer.customer.partner_id?",
    ),
    (
        "events.customer.update",
        "events.customer.udpate",
        "events.customer.udpate: unknown table; did you mean events.customer.update?",
    ),
    (
        "[events.customer]",
        "[event.customer]",
        "event: unknown table; did you mean events?",
    ),
    (
        "format = ",
        "formt = ",
        "body.formt: unknown setting; did you mean body.format?",
    ),
    (
        "kind = \"none\"",
        "knd = \"none\"",
        "auth.knd: unknown setting; did you mean auth.kind?",
    ),
    (
        "kind = \"none\"",
        "kind = \"Bearer\"\ntoken_files = [\"a\"]",
        "did you mean bearer?",
    ),
    (
        "kind = \"none\"",
        "kind = \"bearer\"\nsecret_files = [\"a\"]",
        "auth.secret_files: is a setting of another auth.kind; this kind has token_files",
    ),
    (
        "kind = \"none\"",
        "kind = \"bearer\"\ntoken = \"abc\"",
        "auth.token: unknown setting; did you mean auth.token_files?",
    ),
    (
        "kind = \"none\"",
        "kind = \"none\"\ntoken_files = [\"a\"]",
        "auth.token_files: unknown setting; auth can have kind",
    ),
    (
        "kind = \"none\"",
        "kind = \"standard_webhooks\"\nsecret_files = [\"a\"]\nheader = \"x\"",
        "auth: has settings of kind = \"token\": header; leave them out with kind = \"standard_webhooks\"",
    ),
    (
        "\"time\"",
        "\"timestamp\"",
        "version_domain: must be \"sequence\" or \"time\"; did you mean time?",
    ),
    (
        "customer.partner_id = \".customer_id\"\n",
        "",
        "customer.imprint_id: is required, or customer.partner_id",
    ),
    ("\"shop.json\"", "\"shp.json\"", "did you mean shop.json?"),
    (
        "ignore = [\"product\"]",
        "ignored = [\"product\"]",
        "did you mean ignore?",
    ),
    (
        "ignore = [\"product\"]",
        "ignore = [\"customer\"]",
        "ignore: names \"customer\", which has a table",
    ),
    (
        "[body]",
        "[quota]\nevents_per_secnd = 1\n[body]",
        "did you mean quota.events_per_second?",
    ),
    (
        "ignore",
        "unsigned_headers = [\"x-topic\"]\nignore",
        "no expression reads x-topic",
    ),
    (
        "version_domain = \"time\"\n",
        "",
        "version_domain: is required with version",
    ),
    (
        "[auth]\nkind = \"none\"",
        "auth = \"none\"",
        "auth: must be a table with kind",
    ),
    // Each use of the table would be a second error.
    (
        "[tables.tiers]",
        "[table.tiers]",
        "table: unknown table; did you mean tables?",
    ),
    ("[tables.tiers]", "[lists.tiers]", "lists: unknown table"),
    ("A = \"GOLD\"", "A = 7", "tables.tiers.A: must be a string"),
    (
        "format = \"json\"",
        "format = \"jsn\"",
        "body.format: must be",
    ),
];

/// FAULTS N473: `check` reads the files that `serve` reads at its start, and names a file that `serve` cannot use.
#[test]
fn check_reads_the_files_that_settings_name() {
    let folder = folder_with(SOURCE, SCHEMA);
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    write("note.pem", "canary is not a certificate");
    write(
        "bad.pem",
        "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n",
    );
    write("short.token", "canary");
    write("key", "canary key");
    let ca = "IMPRINT_BRIDGE__IMPRINT__CA_FILE";
    let key = "IMPRINT_BRIDGE__IMPRINT__KEY_FILE";
    let merchant = "IMPRINT_BRIDGE__IMPRINT__MERCHANT_KEY_FILE";
    let tokens = "IMPRINT_BRIDGE__OPS__TOKEN_FILES";
    let audit = "IMPRINT_BRIDGE__OPS__AUDIT_KEY_FILES";
    for (setting, file, expected) in [
        (ca, "absent.pem", "imprint.ca_file: absent.pem"),
        (
            ca,
            "note.pem",
            "imprint.ca_file note.pem contains no certificate",
        ),
        (ca, "bad.pem", "imprint.ca_file bad.pem"),
        (ca, "config", "imprint.ca_file: config"),
        (key, "key", "imprint.key_file: key contains spaces"),
        (
            merchant,
            "key",
            "imprint.merchant_key_file: key contains spaces",
        ),
        (
            tokens,
            "short.token",
            "ops.token_files: short.token is shorter than",
        ),
        (audit, "short.token", "ops.audit_key_files: short.token"),
    ] {
        let (report, errors) = check(folder.path(), &[(setting, file)]);
        assert_contains(&errors, &[expected], file);
        assert!(
            !format!("{report}{errors:?}").contains("canary"),
            "{errors:?}"
        );
    }
    for (setting, name) in [
        (key, "imprint.key_file"),
        (merchant, "imprint.merchant_key_file"),
        (tokens, "ops.token_files"),
        (audit, "ops.audit_key_files"),
    ] {
        let (report, errors) = check(folder.path(), &[(setting, "absent")]);
        assert_eq!(errors, Vec::<String>::new(), "a secret can be missing");
        let note = format!("  {name}: absent cannot be read");
        assert!(
            report.contains(&note) && report.contains("serve needs this file"),
            "{report}"
        );
    }
}

/// FAULTS N1363: `check` says what prevents a start: two operators with one token, and a store in a missing folder.
#[test]
fn check_names_equal_tokens_and_a_missing_folder_of_the_store() {
    let folder = folder_with(SOURCE, SCHEMA);
    for name in ["ann", "bob"] {
        fs::write(folder.path().join(name), "token-of-sixteen-or-more").unwrap();
    }
    let tokens = ("IMPRINT_BRIDGE__OPS__TOKEN_FILES", "ann,bob");
    let (_, errors) = check(folder.path(), &[tokens]);
    let same = "ops.token_files: ann and bob have the same token";
    assert_contains(&errors, &[same], "tokens");
    let store = ("IMPRINT_BRIDGE__OUTBOX__URL", "sqlite:/nope/x/o.db");
    let (report, errors) = check(folder.path(), &[store]);
    assert_eq!(errors, Vec::<String>::new());
    let missing = "the folder /nope/x of the store does not exist; serve needs it";
    assert!(report.contains(missing), "{report}");
}

/// FAULTS N426, N474: a misspelt key of a source file causes one error, which names the right key.
#[test]
fn a_misspelt_key_is_one_error_with_the_right_key() {
    for (from, to, expected) in WRONG_KEYS.iter().copied() {
        check_source(from, to, &[expected]);
    }
}

/// FAULTS N428: a person who meets a message finds its explanation without the documentation.
#[test]
fn the_command_reference_explains_a_message() {
    for (text, section, row) in [
        (
            "rate_quota",
            "## Problem types of the event listener",
            "| `rate_quota` | 429 |",
        ),
        (
            "KEYS_MAX",
            "## Bounds",
            "| `event::json::KEYS_MAX` | 10,000 |",
        ),
        (
            "did you mean",
            "## Messages of check",
            "unknown setting; did you mean …?",
        ),
        (
            "version_jump",
            "## Reasons for a parked entry",
            "`reset-versions`",
        ),
    ] {
        let output = commands::run(&["reference", text], "");
        assert_eq!(output.status.code(), Some(0), "{text}");
        let printed = commands::text(&output.stdout);
        assert!(
            printed.contains(section) && printed.contains(row),
            "{printed}"
        );
    }
    let whole = commands::run(&["reference"], "");
    assert!(commands::text(&whole.stdout).starts_with("# Reference\n"));
    let unknown = commands::run(&["reference", "no such message"], "");
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn an_event_type_with_dots_needs_quotes() {
    let source = SOURCE.replace("[events.customer", "[events.customer.changed");
    let folder = folder_with(&source, SCHEMA);
    let (_, errors) = check(folder.path(), &[]);
    let expected = "unknown table; write a name with dots in quotes: [events.\"customer.changed\"]";
    assert_contains(&errors, &[expected], "dots");
}

/// FAULTS N583: the second part of a name without quotes is also the name of a table of each event type.
#[test]
fn an_event_type_with_dots_and_the_name_of_a_table_needs_quotes() {
    for name in [
        "customer.update",
        "customer.customer",
        "a.b.update",
        "order.address.on_invalid",
    ] {
        let source = SOURCE.replace("[events.customer", &format!("[events.{name}"));
        let folder = folder_with(&source, SCHEMA);
        let (_, errors) = check(folder.path(), &[]);
        let expected =
            format!("unknown table; write a name with dots in quotes: [events.\"{name}\"]");
        assert_contains(&errors, &[&expected], name);
    }
    let metadata = "metadata.customer.partner_id = \".x\"\nmetadata.schema = \".y\"\nemail = ";
    check_source("email = ", metadata, &[]);
}

/// FAULTS N583: TOML reads a key after the header of a table as a key of this table.
#[test]
fn a_list_inside_a_table_names_its_place() {
    let key = "ignore = [\"product\"]\n";
    for (after, table) in [
        ("first_name = \".first_name\"\n", "events.customer.update"),
        ("A = \"GOLD\"\n", "tables.tiers"),
        ("kind = \"none\"\n", "auth"),
        ("format = \"json\"\n", "body"),
        ("version_domain = \"time\"\n", "events.customer"),
    ] {
        for key in [key, "allowed_origins = [\"a.example\"]\n"] {
            let source = SOURCE.replace("ignore = [\"product\"]\n", "");
            let source = source.replace(after, &format!("{after}{key}"));
            let (name, _) = key.split_once(' ').unwrap();
            let folder = folder_with(&source, SCHEMA);
            let (_, errors) = check(folder.path(), &[]);
            let expected = format!(
                "{table}.{name}: is inside the table [{table}]: write `{name}` before the first table of the file"
            );
            assert_contains(&errors, &[&expected], table);
        }
    }
}

/// A text of the source file, the wrong text in its place, and a part of the only error.
const WRONG_EXPRESSIONS: &[(&str, &str, &str)] = &[
    ("first_name = ", "zip = ", "did you mean postal_code?"),
    (
        "metadata.tier",
        "metadata",
        "metadata is a group of fields, such as metadata.tier",
    ),
    ("\".email\"", "\".a, .b\"", "an expression has one result"),
    ("\".email\"", "\".a //= .b\"", "an expression only reads"),
    (
        "\".email\"",
        "\"email\"",
        "`email` is not allowed here; if it is a member of the event, write .email",
    ),
    (
        "first_name = ",
        "first_nam = ",
        "events.customer.update.first_nam: Imprint's update has no such field; did you mean first_name?",
    ),
    ("first_name = ", "firstName = ", "did you mean first_name?"),
    (
        "first_name = ",
        "address.city = ",
        "it has city and customer_history.address.city",
    ),
    (
        "first_name = ",
        "customer_history.address = ",
        "customer_history.address is a group of fields, such as customer_history.address.street_line1",
    ),
    (
        "first_name = ",
        "birthday = ",
        "other data goes under metadata, such as metadata.birthday",
    ),
    (
        "e164",
        "e146",
        "events.customer.update.phone: `e146` is not allowed here; did you mean e164? (line 1, column 10 of",
    ),
    ("e164(\"US\")", "e164(\"USA\")", "did you mean \"US\"?"),
    (
        "lookup(\"tiers\")",
        "lookup(\"tier\")",
        "there is no table tier; there is tiers; did you mean tiers?",
    ),
    (
        "\".first_name\"",
        "\".first_name | ascii_downcase\"",
        "use lower",
    ),
    (
        "\".first_name\"",
        "'.first_name | test(\"x\")'",
        "regular expressions are not available",
    ),
    (
        "\".email\"",
        "\".e-mail\"",
        "write a name with a hyphen in double quotes: .\"e-mail\"",
    ),
    ("\".email\"", "\".a && .b\"", "write `and` instead of `&&`"),
    ("\".email\"", "\".a || .b\"", "write `or` instead of `||`"),
    ("\".email\"", "\"$.email\"", "a path begins with a dot"),
    ("\".email\"", "\"{{email}}\"", "is not a template"),
    (
        "\".email\"",
        "\".a ? .b : .c\"",
        "write `if .a then .b else .c end`",
    ),
    ("\".email\"", "\"if .a = 1 then .b end\"", "compare with =="),
    (
        "\".email\"",
        "5",
        "events.customer.update.email: must be a string",
    ),
    (
        "id = \".id\"",
        "id = \".id | digst\"",
        "body.id: `digst` is not allowed here; did you mean digest?",
    ),
    (
        "'.kind'",
        "\"person.update\"",
        "body.type: `person` is not allowed here; if it is a member of the event, write .person.update; if it is a constant \
         text, write the text with inner quotes: '\"person.update\"'",
    ),
    (
        "'.kind'",
        "\"orders/paid\"",
        "if it is a constant text, write the text with inner quotes: '\"orders/paid\"'",
    ),
    (
        "\".first_name\"",
        "'.tags | contains(\"VIP\")'",
        "a list contains the text x if any(. == \"x\") is true",
    ),
    (
        "\".first_name\"",
        "'if (.tags | any(\"VIP\")) then .first_name else null end'",
        "`any(\"VIP\")` does not look at its input, because a text is always true; write any(. == \"VIP\")",
    ),
];

/// FAULTS N937: an author writes an index like a name, or calls a function of jq that the language does not have.
#[test]
fn an_index_and_a_missing_function_have_their_notation() {
    for (wrong, expected) in [
        (
            ".emails.0.value",
            "an item of a list has its number in brackets: write .emails[0] instead of .emails.0",
        ),
        (".emails.0", "write .emails[0] instead of .emails.0"),
        (
            ".a.list[0].1",
            "write .a.list[0][1] instead of .a.list[0].1",
        ),
        (".a | .0", "write .[0] instead of .0"),
        (
            ".email | ltrimstr(\"S\")",
            "no function removes the beginning or the end of a text; .[2:] leaves out",
        ),
        (
            ".email | substr(0; 2)",
            "write .[0:2] for the first two characters",
        ),
        (
            ".emails | sort | first",
            "`sort` is not allowed here; use sort_by(.)",
        ),
        (
            ".email | fromjson",
            "an expression reads no JSON inside a text",
        ),
        (
            ".amount | trunc",
            "an expression has only whole numbers and never rounds",
        ),
    ] {
        check_source("\".email\"", &format!("'{wrong}'"), &[expected]);
    }
}

/// FAULTS N940: an author writes the placeholders of `signed` as a shell does.
#[test]
fn a_dollar_before_a_placeholder_is_refused() {
    let signed = "kind = \"hmac\"\nheader = \"x-signature\"\nencoding = \"hex\"\nsecret_files = [\"a\"]\n\
                  timestamp_header = \"x-time\"\nsigned = \"${timestamp}.${body}\"";
    let expected =
        "auth.signed: has a $ before a placeholder, which would be a part of the signed text";
    check_source("kind = \"none\"", signed, &[expected]);
}

/// FAULTS N939: an author writes the fields of Imprint, or a misspelt member, on the top level of an expected result.
#[test]
fn an_expected_result_has_only_known_members() {
    for (expected, message) in [
        (
            r#"{"email": "a@b.com"}"#,
            "/email: is not a member of an expected result, which can have method, path, partner_id, body, cleared, \
             skipped, version, parked; a field of Imprint is inside body: {\"body\": {\"email\": …}}",
        ),
        (
            r#"{"metadata": {"tier": "GOLD"}}"#,
            "a field of Imprint is inside body",
        ),
        (
            r#"{"bdy": {}}"#,
            "/bdy: is not a member of an expected result",
        ),
        (r#"{"bdy": {}}"#, "; did you mean body?"),
    ] {
        let folder = folder_with(SOURCE, SCHEMA);
        let file = folder.path().join("config/sources/shop/a.request.json");
        fs::write(file, expected).unwrap();
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[message], expected);
    }
}

/// FAULTS N427, N584: an error of an expression names what the author probably meant.
#[test]
fn an_error_of_an_expression_has_one_cause_and_a_correction() {
    for (from, to, expected) in WRONG_EXPRESSIONS.iter().copied() {
        check_source(from, to, &[expected]);
    }
}

#[test]
fn a_toml_error_has_its_probable_cause() {
    for (from, to, expected) in [
        (
            "kind = \"none\"",
            "kind = none",
            "probable cause: a text stands in quotes",
        ),
        (
            "kind = \"none\"",
            "kind = “none”",
            "probable cause: the line has typographic quotes",
        ),
        (
            "'.phone | e164(\"US\")'",
            "\".phone | e164(\"US\")\"",
            "single quotes must stand around it",
        ),
        (
            "kind = \"none\"",
            "kind: \"none\"",
            "a setting is written NAME = VALUE",
        ),
    ] {
        check_source(from, to, &[expected]);
    }
}

#[test]
fn a_schema_error_has_its_cause_and_its_place() {
    for (schema, expected) in [
        (
            r#"{"type": "strin"}"#,
            "at #/type: a type is one of array, boolean, integer, null, number, object, string; did you mean string?",
        ),
        (
            r#"{"properties": {"a": {"pattern": "(?=x)"}}}"#,
            "at #/properties/a/pattern: the pattern is no regular expression of the bridge",
        ),
        (
            r#"{"properties": {"a": {"format": "datetime"}}}"#,
            "at #/properties/a/format: the validator does not know this format; did you mean date-time?",
        ),
        (
            r#"{"requird": ["id"]}"#,
            "at #/requird: unknown keyword `requird`; did you mean `required`?",
        ),
        // FAULTS N938: a reference that leads out of the schema, or to nothing in it.
        (
            r#"{"properties": {"email": {"$ref": "common.json#/email"}}}"#,
            "at #/properties/email/$ref: the bridge does not read other documents; copy the schema into $defs",
        ),
        (
            r##"{"$defs": {"email": {}}, "properties": {"a": {"$ref": "#/$defs/emial"}}}"##,
            "at #/properties/a/$ref: the reference leads to nothing in this schema; did you mean #/$defs/email?",
        ),
        (
            r#"{"properties": {"a": {"nullable": true}}}"#,
            "`nullable` is not a keyword of JSON Schema",
        ),
    ] {
        let folder = folder_with(SOURCE, schema);
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[expected], schema);
    }
}

/// The name and the value of an environment variable, and a part of the only error.
const WRONG_VARIABLES: &[(&str, &str, &str)] = &[
    (
        "IMPRINT_BRIDGE__OPS__LISTEN",
        "127.0.0.1:8080",
        "ops.listen: must differ from ingress.listen",
    ),
    (
        "IMPRINT_BRIDGE__OUTBOX_URL",
        "sqlite:x",
        "outbox_url: unknown setting; did you mean outbox.url?",
    ),
    (
        "IMPRINT_BRIDGE_PROFILE",
        "production",
        "environment variable IMPRINT_BRIDGE_PROFILE: is not read; did you mean IMPRINT_BRIDGE__PROFILE?",
    ),
    (
        "IMPRINT_BRIDGE_OUTBOX_URL",
        "sqlite:x",
        "did you mean IMPRINT_BRIDGE__OUTBOX__URL?",
    ),
    (
        "IMPRNT_BRIDGE__PROFILE",
        "production",
        "did you mean IMPRINT_BRIDGE__PROFILE?",
    ),
    (
        "IMPRINT_BRIDGE__IMPRINT__KEYFILE",
        "x",
        "environment variable IMPRINT_BRIDGE__IMPRINT__KEYFILE: imprint.keyfile: unknown setting; did you mean imprint.key_file?",
    ),
    (
        "IMPRINT_BRIDGE__OPS__TOKEN_FILES",
        "[\"/a/b\"]",
        "must be a list without brackets and quotes",
    ),
    // FAULTS N1345
    (
        "IMPRINT_BRIDGE__OPS__TOKEN_FILES__0",
        "/a/b",
        "IMPRINT_BRIDGE__OPS__TOKEN_FILES: ops.token_files: must be one setting without a number after its name; in an environment variable, a list has commas between the texts, such as a,b",
    ),
    (
        "IMPRINT_BRIDGE__IMPRINT__KEY_FILE__0",
        "/a/b",
        "imprint.key_file: must be one setting without a number after its name",
    ),
    (
        "IMPRINT_BRIDGE__IMPRINT__HOST_ALLOW",
        "[\"a.example.com\"]",
        "must be a list without brackets and quotes",
    ),
    (
        "IMPRINT_BRIDGE__PROFILE",
        "production ",
        "did you mean production?",
    ),
    (
        "IMPRINT_BRIDGE__LOG__FILTER",
        "verbose",
        "log.filter: must be a level",
    ),
    (
        "IMPRINT_BRIDGE__LOG__FILTER",
        "info,dispatch=debug",
        "did you mean imprint_bridge::dispatch?",
    ),
    (
        "IMPRINT_BRIDGE__OUTBOX__URL",
        "sqlite:x?mode=memory",
        "outbox.url: must have no options after the path",
    ),
    (
        "IMPRINT_BRIDGE__SOURCES_DIR",
        "config/source",
        "sources_dir: /",
    ),
    ("IMPRINT_BRIDGE__SCHEMAS_DIR", "schema", "schemas_dir: /"),
];

/// FAULTS N422: a misspelt environment variable is an error, and a variable of Kubernetes or of another program is none.
#[test]
fn a_variable_that_looks_like_a_setting_is_not_ignored() {
    let folder = folder_with(SOURCE, SCHEMA);
    for (name, value, expected) in WRONG_VARIABLES.iter().copied() {
        let (_, errors) = check(folder.path(), &[(name, value)]);
        assert_contains(&errors, &[expected], name);
    }
    for name in [
        "IMPRINT_BRIDGE_SERVICE_HOST",
        "IMPRINT_BRIDGE_PORT_8080_TCP_ADDR",
        "IMPRINT_BRIDGE_VERSION",
    ] {
        let (_, errors) = check(folder.path(), &[(name, "x")]);
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
}

/// FAULTS N493: `check` refuses what `serve` refuses in production.
#[test]
fn production_needs_authentication_and_a_sealed_store() {
    let folder = folder_with(SOURCE, SCHEMA);
    let profile = ("IMPRINT_BRIDGE__PROFILE", "production");
    let (_, errors) = check(folder.path(), &[profile]);
    let keys = "outbox.keys_dir: is required with the profile \"production\"";
    let open = "shop.toml: auth.kind: must not be \"none\" with the profile \"production\"";
    assert_contains(&errors, &[keys, open], "no keys and no authentication");
    let keys_dir = ("IMPRINT_BRIDGE__OUTBOX__KEYS_DIR", "keys");
    let (_, errors) = check(folder.path(), &[profile, keys_dir]);
    assert_contains(&errors, &[open], "no authentication");
    let (output, errors) = check(folder.path(), &[keys_dir]);
    assert_eq!(errors, Vec::<String>::new());
    assert!(output.contains("serve needs the sealing keys"), "{output}");
    fs::create_dir(folder.path().join("keys")).unwrap();
    fs::write(folder.path().join("keys/1"), "canary").unwrap();
    let (_, errors) = check(folder.path(), &[keys_dir]);
    let text = "outbox.keys_dir: keys/1 must contain 32 random bytes";
    assert_contains(&errors, &[text], "a wrong key");
}

/// An example without an expected result gets a complete proposal: the name of the file and its whole content.
#[test]
fn an_example_without_a_result_gets_a_complete_proposal() {
    for event in [
        EVENT,
        r#"{"id": "1", "kind": "custmer"}"#,
        r#"{"kind": "customer"}"#,
    ] {
        let folder = folder_with(SOURCE, SCHEMA);
        let examples = folder.path().join("config/sources/shop");
        fs::write(examples.join("a.event.json"), event).unwrap();
        fs::remove_file(examples.join("a.request.json")).unwrap();
        let (_, errors) = check(folder.path(), &[]);
        let proposal = errors[0].split_once("write it into ").unwrap().1;
        let (file, content) = proposal.split_once(": ").unwrap();
        fs::write(folder.path().join(file), content).unwrap();
        let (_, errors) = check(folder.path(), &[]);
        assert_eq!(errors, Vec::<String>::new(), "{event}");
    }
}

#[test]
fn interpreted_expressions_of_the_body_are_reported() {
    let body = "split = \".changes[]\"\nid = \".ids | first\"";
    let source = SOURCE.replace("id = \".id\"", body);
    let folder = folder_with(&source, SCHEMA);
    let (report, _) = check(folder.path(), &[]);
    for (rule, expression) in [("body.split", ".changes[]"), ("body.id", ".ids | first")] {
        let line = format!(": {rule} = {expression}");
        let found = report.lines().find(|found| found.ends_with(&line));
        assert!(
            found.is_some_and(|found| found.contains("jq interpreter")),
            "{report}"
        );
    }
}

/// FAULTS N423, N916: the answer to a body that is not JSON names the true cause, and the bound if there is one.
#[test]
fn a_body_that_is_not_json_gets_its_true_cause() {
    let app = TestApp::start();
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    let members: Vec<String> = (0..10_001).map(|key| format!("\"{key}\":1")).collect();
    let members = format!("{{{}}}", members.join(","));
    let long = format!("\"{}\"", "x".repeat(65_537));
    let utf16: Vec<u8> = "{\"a\":1}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (body, rule, cause) in [
        (deep.as_bytes(), "depth", "deeper than 32 levels"),
        (members.as_bytes(), "keys", "more than 10000 keys"),
        (long.as_bytes(), "string_length", "longer than 65536 bytes"),
        (
            b"{\"a\":1,\"a\":2}",
            "duplicate_key",
            "the same key more than once",
        ),
        (b"\xef\xbb\xbf{}", "byte_order_mark", "a byte order mark"),
        (b"{\"a\":NaN}", "syntax", "no NaN"),
        (b"{'a':1}", "syntax", "in single quotes"),
        (b"{\"a\":1,}", "syntax", "a comma stands before the end"),
        (&utf16, "syntax", "UTF-16"),
        (b"", "empty", "the body is empty"),
        (
            b"{\"a\":",
            "syntax",
            "ends before its JSON value is complete",
        ),
        (b"\x1f\x8b\x08\0\0\0\0\0", "utf8", "compressed with gzip"),
        (b"{\"a\":1e400}", "syntax", "too large"),
        (b"{}\n{}", "trailing", "several JSON values"),
        (b"<a/>", "syntax", "XML"),
        (b"a=1&b=2", "syntax", "a web form"),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\n\r\n{}",
            "syntax",
            "the head of an HTTP message",
        ),
        (b"id,email\n", "syntax", "begins with a word"),
        (b"{\"id\":{{contact.id}}}", "syntax", "a placeholder"),
    ] {
        let mut connection = http::Connection::open(app.ingress()).unwrap();
        let head = format!(
            "POST /v1/sources/crm/events HTTP/1.1\r\nhost: bridge\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.send(&[head.as_bytes(), body].concat()).unwrap();
        let answer = connection.answer().unwrap();
        let problem = answer.json();
        let fault = &problem["faults"][0];
        assert_eq!(answer.status, 400, "{problem}");
        assert_eq!(fault["rule"], rule, "{problem}");
        assert!(
            fault["detail"].as_str().unwrap().contains(cause),
            "{problem}"
        );
    }
}

/// FAULTS N679: a mapping sets the first line of a street only, so an old second line stays at Imprint.
#[test]
fn a_street_with_only_one_line_is_noted() {
    let note = "sets street_line1 and never street_line2: Imprint keeps the second line of an earlier address";
    for (lines, has_note) in [
        ("street_line1 = \".a\"", true),
        (
            "street_line1 = \".a | line(1; 2)\"\nstreet_line2 = \".a | line(2; 2)\"",
            false,
        ),
        ("city = \".a\"", false),
    ] {
        let source = SOURCE.replace("first_name =", &format!("{lines}\nfirst_name ="));
        let (report, _) = check(folder_with(&source, SCHEMA).path(), &[]);
        assert_eq!(report.contains(note), has_note, "{report}");
    }
    let line = "customer_history.address.street_line1 = \".a\"";
    let source = SOURCE.replace("first_name =", &format!("{line}\nfirst_name ="));
    let (report, _) = check(folder_with(&source, SCHEMA).path(), &[]);
    let note = "sets customer_history.address.street_line1 and never customer_history.address.street_line2";
    assert!(report.contains(note), "{report}");
}

/// FAULTS N680: the source file of plain JSON has no table `[body]`.
#[test]
fn a_source_without_body_says_that_it_takes_cloud_events() {
    let from = SOURCE.find("[body]").unwrap();
    let to = SOURCE.find("[events.customer]").unwrap();
    let source = format!(
        "{}{}",
        SOURCE.get(..from).unwrap(),
        SOURCE.get(to..).unwrap()
    );
    let (_, errors) = check(folder_with(&source, SCHEMA).path(), &[]);
    let cause =
        "because the source takes CloudEvents. Other JSON needs the table [body] with format = ";
    assert!(
        errors.iter().any(|error| error.contains(cause)),
        "{errors:#?}"
    );
}
