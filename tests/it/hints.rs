//! The notes of `check` and `explain` about mappings that Imprint accepts and that are probably wrong.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::commands;

mod causes;
mod contradictions;
mod losses;
mod records;
mod remaining;
mod silent;
mod unlikely;

const SOURCE: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
id = ".id"
type = ".kind"
[events.changed]
schema = "shop.json"
customer.partner_id = ".cid"
version = ".ts"
version_domain = "time"
[events.changed.update]
first_name = ".person.firstName"
state = ".state"
postal_code = ".zip"
"#;

/// A folder with the source `shop` and one example for each event, with the results that the mapping gives today.
fn folder(source: &str, events: &[Value]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = folder.path().join("config/sources/shop");
    fs::create_dir_all(&examples).unwrap();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    let schema = r#"{"type": "object"}"#;
    fs::write(folder.path().join("schemas/shop.json"), schema).unwrap();
    fs::write(folder.path().join("config/sources/shop.toml"), source).unwrap();
    for (number, event) in events.iter().enumerate() {
        let file = examples.join(format!("e{number}.event.json"));
        fs::write(file, event.to_string()).unwrap();
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    commands::text(&output.stdout) + &commands::text(&output.stderr)
}

fn event(id: &str, members: &Value) -> Value {
    let mut event = json!({"id": id, "kind": "changed", "cid": "c1", "ts": "2026-01-01T00:00:00Z",
        "person": {"firstName": "Ann"}, "state": "NV", "zip": "89501"});
    let members = members.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(members);
    event
}

#[track_caller]
fn check(source: &str, events: &[Value], expected: &str) {
    let folder = folder(source, events);
    let report = run(folder.path(), &["check"]);
    assert!(report.contains(expected), "{expected} in {report}");
}

const NOTES: [&str; 5] = [
    "no example has",
    "in an example",
    "gives the id",
    "is a constant",
    "headers.txt",
];

#[test]
fn a_right_mapping_has_no_note() {
    let folder = folder(SOURCE, &[event("1", &json!({})), event("2", &json!({}))]);
    let report = run(folder.path(), &["check"]);
    for note in NOTES {
        assert!(!report.contains(note), "{note} in {report}");
    }
}

/// FAULTS N924: a path in the wrong letter case, or with a typing error, that no schema describes.
#[test]
fn a_path_that_no_example_has_names_a_similar_path() {
    let expected = "no example has /person/firstname, which an expression reads; did you mean /person/firstName?";
    let source = SOURCE.replace(".person.firstName", ".person.firstname");
    check(&source, &[event("1", &json!({}))], expected);
}

/// FAULTS N925: Imprint accepts the value, but the mapping lacks a function.
#[test]
fn a_value_in_a_wrong_form_names_the_function() {
    for (members, version, expected) in [
        (
            json!({"state": "Nevada"}),
            ".ts",
            "state: the value is not the code of a state in two letters; the function us_state makes one",
        ),
        (
            json!({"zip": "8950"}),
            ".ts",
            "postal_code: the value is not a ZIP code",
        ),
        (
            json!({"ts": 1_795_766_619}),
            ".ts | moment(\"ms\")",
            "version: the time is before the year 2000; if the source counts seconds, write moment(\"s\")",
        ),
    ] {
        let version = format!("version = '{version}'");
        let source = SOURCE.replace("version = \".ts\"", &version);
        let events = [event("1", &members)];
        check(&source, &events, expected);
        let folder = folder(&source, &events);
        let file = "config/sources/shop/e0.event.json";
        let explained = run(folder.path(), &["explain", "--source", "shop", file]);
        assert!(explained.contains(expected), "{expected} in {explained}");
    }
}

/// FAULTS N927: `body.id` is no id of an event.
#[test]
fn an_id_that_several_events_share_is_reported() {
    let events = [
        event("same", &json!({})),
        event("same", &json!({"zip": "89502"})),
    ];
    check(
        SOURCE,
        &events,
        "body.id gives the id \"same\" to 2 different events",
    );
    check(
        &SOURCE.replace("id = \".id\"", "id = '\"x\"'"),
        &events[..1],
        "body.id = \"x\" is a constant, so all events have one id",
    );
}

/// FAULTS N928: an expression reads a request header.
#[test]
fn a_missing_header_says_where_headers_stand() {
    let source = SOURCE.replace("id = \".id\"", "id = 'header(\"x-id\")'");
    let events = [event("1", &json!({}))];
    check(&source, &events, "config/sources/shop/e0.headers.txt");
    let folder = folder(&source, &events);
    let file = "config/sources/shop/e0.event.json";
    let explained = run(folder.path(), &["explain", "--source", "shop", file]);
    assert!(explained.contains("--header"), "{explained}");
}

/// FAULTS N929: the difference of an example names the cleared fields, which its file must have.
#[test]
fn a_found_result_has_its_cleared_fields() {
    let event = event("1", &json!({"state": null}));
    let folder = folder(SOURCE, &[event]);
    let file = folder.path().join("config/sources/shop/e0.request.json");
    fs::write(file, "\"ignored\"").unwrap();
    let report = run(folder.path(), &["check"]);
    assert!(report.contains("expected ignored, found"), "{report}");
    assert!(report.contains("\"cleared\":[\"state\"]"), "{report}");
}

/// FAULTS N915: a target or a table has the name that another system uses, or the table `update` has another name.
#[test]
fn a_wrong_name_of_a_field_or_table_names_the_right_one() {
    for (right, wrong, expected) in [
        (
            "first_name =",
            "language =",
            "update.language: Imprint's update has no such field; did you mean preferred_language?",
        ),
        (
            "first_name =",
            "mobile_phone =",
            "update.mobile_phone: Imprint's update has no such field; did you mean phone?",
        ),
        (
            "[events.changed.update]",
            "[events.changed.mapping]\ncustomer_history.address.country = \".c\"",
            "events.changed.mapping: unknown table; events.changed can have address,",
        ),
    ] {
        let source = SOURCE.replace(right, wrong);
        check(&source, &[event("1", &json!({}))], expected);
    }
}

/// FAULTS N917: an expression appends an offset to a value that is no time without an offset.
#[test]
fn an_appended_offset_names_what_stands_before_it() {
    for (time, expected) in [
        ("2026-01-01T00:00:00Z", "The text has two offsets from UTC."),
        (
            "2026-01-01T00:00:00+01:00",
            "The text has two offsets from UTC.",
        ),
        ("", "the time of the source is empty"),
        ("2026-01-01", "The text is a date with an offset from UTC"),
        (
            "1767225600",
            "use the function moment without the appended text",
        ),
    ] {
        for expression in ["\"\\(.ts)Z\" | utc", "\"\\(.ts)Z\""] {
            let version = format!("version = '{expression}'");
            let source = SOURCE.replace("version = \".ts\"", &version);
            check(&source, &[event("1", &json!({"ts": time}))], expected);
        }
    }
}

/// FAULTS N918: a text in the place of a phone number has words and no number.
#[test]
fn a_note_in_the_place_of_a_phone_number_is_no_extension() {
    let source = SOURCE.to_owned() + "phone = '.phone | e164(\"US\")'\n";
    for (phone, expected) in [
        ("ask for Ann", "too few digits for a phone number"),
        ("n/a", "too few digits for a phone number"),
        (
            "call reception, room 12",
            "on_invalid = \"skip\" for this field",
        ),
        ("415 555 2671 x9", "such as those of an extension"),
    ] {
        check(&source, &[event("1", &json!({"phone": phone}))], expected);
    }
}

/// FAULTS N936: the expression of the event type gives another name than the only table has.
#[test]
fn an_event_of_another_type_names_the_types_of_the_source() {
    let expected = "has no table [events.\"contact\"], only [events.\"changed\"]. To accept";
    check(SOURCE, &[event("1", &json!({"kind": "contact"}))], expected);
}

/// FAULTS N922: `explain` prints the whole error of an expression, also if the schema refuses the event.
#[test]
fn explain_prints_the_whole_error_of_each_expression() {
    let folder = folder(SOURCE, &[event("1", &json!({"state": ["NV"]}))]);
    let schema = r#"{"type": "object", "required": ["other"]}"#;
    fs::write(folder.path().join("schemas/shop.json"), schema).unwrap();
    let file = "config/sources/shop/e0.event.json";
    let explained = run(folder.path(), &["explain", "--source", "shop", file]);
    let expected = "state: The value is a list, not a text. The function first takes the first item of a list.";
    assert!(explained.contains(expected), "{explained}");
}

/// The event of a CRM with lists of objects.
fn event_with_lists() -> Value {
    event(
        "1",
        &json!({"phoneNumbers": [{"type": "Mobile", "number": "+14155552671"}],
            "fields": [{"definition": {"name": "Tier"}, "value": "Gold"}], "flag": "0", "number": 7, "vip": "true"}),
    )
}

/// FAULTS N942: a path continues into a list, or into a text.
#[test]
fn a_path_into_a_list_names_the_list_and_the_remedy() {
    let list = "The path continues into a member, but the value here is a list, not an object. `[0]` takes the first item";
    for (expression, expected) in [
        (".phoneNumbers.number", list),
        (".phoneNumbers[\"Mobile\"].number", list),
        (
            ".phoneNumbers | select(.type == \"Mobile\") | .number",
            list,
        ),
        (".flag.name", "but the value here is a text, not an object"),
        (
            ".number[0]",
            "The path continues into an item, but the value here is a number, not a list",
        ),
        (
            ".person | .[0]",
            "The path continues into an item, but the value here is an object, not a list",
        ),
    ] {
        let source = format!("{SOURCE}metadata.x = '{expression}'\n");
        check(&source, &[event_with_lists()], expected);
    }
}

/// FAULTS N943: the items of a list have other members than `from_entries` reads.
#[test]
fn from_entries_names_the_absent_member() {
    let source = format!("{SOURCE}metadata.tier = '.fields | from_entries | .Tier'\n");
    let expected = "refuses /fields/0: The item has no member `key`, and from_entries reads only `key` and `value`.";
    check(&source, &[event_with_lists()], expected);
}

/// FAULTS N944: the body is a list of events, and the source has no `split`.
#[test]
fn a_list_of_events_needs_split() {
    let events = json!([event("1", &json!({}))]);
    let expected = "the bridge refuses the body: The value is an array. `split = \".[]\"` in [body] makes an event of each item";
    check(SOURCE, std::slice::from_ref(&events), expected);
    let split = SOURCE.replace(
        "[events.changed]",
        "split = \".events[]\"\n[events.changed]",
    );
    let folder = folder(&split, &[events]);
    let report = run(folder.path(), &["check"]);
    assert!(report.contains("The value is an array"), "{report}");
    assert!(!report.contains("makes an event of each item"), "{report}");
}

/// FAULTS N945: `==` compares a text with a number, so the condition is never true.
#[test]
fn a_comparison_of_a_text_with_a_number_is_noted() {
    let expected = "compares a text with a number or with true or false, which are never equal";
    for (line, target) in [
        ("when = '.flag == 0'", "when"),
        ("when = '.number == \"7\" and .flag == \"0\"'", "when"),
        ("when = '.vip == true'", "when"),
    ] {
        let source = SOURCE.replace("schema = ", &format!("{line}\nschema = "));
        check(
            &source,
            &[event_with_lists()],
            &format!("in an example, {target}: the expression {expected}"),
        );
    }
    let source = SOURCE.replace(
        "schema = ",
        "when = '.flag == \"0\" or .flag == 0'\nschema = ",
    );
    let folder = folder(&source, &[event_with_lists()]);
    let report = run(folder.path(), &["check"]);
    assert!(!report.contains(expected), "{report}");
}

/// FAULTS N991: the source writes false for a field without a value, and texts otherwise.
#[test]
fn a_comparison_with_a_kind_that_the_source_sends_has_no_note() {
    let note = "compares a text with a number or with true or false, which are never equal";
    let line = "email = 'if .email == false then null else .email end'\nfirst_name";
    let source = SOURCE.replace("first_name", line);
    let texts = event("1", &json!({"email": "a@example.com"}));
    let empty = event("2", &json!({"email": false}));
    check(&source, std::slice::from_ref(&texts), note);
    // Another example has false there.
    let other = folder(&source, &[texts.clone(), empty]);
    let report = run(other.path(), &["check"]);
    assert!(!report.contains(note), "{report}");
    // The schema allows false there.
    for (types, has_note) in [
        (json!(["boolean", "null", "string"]), false),
        (json!(["null", "string"]), true),
    ] {
        let schema = json!({"type": "object", "properties": {"email": {"type": types}}});
        let described = folder(&source, std::slice::from_ref(&texts));
        fs::write(
            described.path().join("schemas/shop.json"),
            schema.to_string(),
        )
        .unwrap();
        let report = run(described.path(), &["check"]);
        assert_eq!(report.contains(note), has_note, "{report}");
        let file = "config/sources/shop/e0.event.json";
        let explained = run(described.path(), &["explain", "--source", "shop", file]);
        assert_eq!(explained.contains(note), has_note, "{explained}");
    }
}

/// FAULTS N1265: an expression in the interpreter compares each item of a list with a number, and the items have texts.
#[test]
fn a_comparison_of_each_item_with_another_kind_is_noted() {
    let texts = json!({"segments": [{"id": "7"}, {"id": "8"}], "tags": ["7"]});
    let numbers = json!({"segments": [{"id": 7}, {"id": "8"}], "tags": [7]});
    let expected = "in an example, metadata.x: the expression compares a text with a number or with true or false, which are never equal";
    for (expression, members, is_noted) in [
        (".segments | any(.id == 7)", &texts, true),
        (
            ".segments | map(select(.id == 7)) | first | .id",
            &texts,
            true,
        ),
        ("first(.segments[] | select(.id == 7)) | .id", &texts, true),
        ("[.segments[] | .id] | any(. == 7)", &texts, true),
        (".tags | any(. == 7)", &texts, true),
        (".segments | any(.id == 7)", &numbers, false),
        (".segments | any(.id == 8)", &numbers, false),
        (".segments | any(.id == \"9\")", &texts, false),
        (".segments | any((.id | text) == \"9\")", &numbers, false),
        (".segments | any(.id == 9 or .id == \"9\")", &texts, false),
        (".segments | any(.other == 9)", &texts, false),
    ] {
        let source = format!("{SOURCE}metadata.x = '{expression}'\n");
        let folder = folder(&source, &[event("1", members)]);
        let report = run(folder.path(), &["check"]);
        assert_eq!(
            report.contains(expected),
            is_noted,
            "{expression}: {report}"
        );
    }
}

/// FAULTS N951: an example has a member that the schema does not allow.
#[test]
fn an_unexpected_member_of_an_example_is_named() {
    let folder = folder(
        SOURCE,
        &[event("1", &json!({"person": {"nick": "A", "other": 1}}))],
    );
    let schema = json!({"properties": {"person": {"additionalProperties": false, "properties": {"nick": {}}}}});
    fs::write(folder.path().join("schemas/shop.json"), schema.to_string()).unwrap();
    let report = run(folder.path(), &["check"]);
    let expected =
        "refuses /person: The object has a property that the schema does not allow (other);";
    assert!(report.contains(expected), "{report}");
}

/// FAULTS N1251: the customer's id is the id of the event, so each event changes another customer.
#[test]
fn a_customer_with_the_id_of_the_event_is_noted() {
    let source = SOURCE.replace("partner_id = \".cid\"", "partner_id = \".id\"");
    let expected = "customer.partner_id reads the same path as body.id: one of the two is wrong";
    check(&source, &[event("1", &json!({}))], expected);
}

/// FAULTS N1252: a constant version orders no events.
#[test]
fn a_constant_version_is_noted() {
    let constant = "version = '\"2024-01-01T00:00:00Z\"'";
    let source = SOURCE.replace("version = \".ts\"", constant);
    let expected = "version = \"2024-01-01T00:00:00Z\" is a constant, so it orders no events";
    check(&source, &[event("1", &json!({}))], expected);
}

/// FAULTS N1253: Imprint keeps the city of an earlier address if the mapping never sets the city.
#[test]
fn an_address_without_a_city_is_noted() {
    let source = format!("{SOURCE}street_line1 = \".street\"\nstreet_line2 = \".unit\"\n");
    let events = [event("1", &json!({"street": "1 Main St", "unit": null}))];
    let expected = "sets street_line1 and never city: Imprint keeps the city of an earlier address";
    check(&source, &events, expected);
    let folder = folder(&format!("{source}city = \".city\"\n"), &events);
    let report = run(folder.path(), &["check"]);
    assert!(!report.contains("and never"), "{report}");
}

/// FAULTS N1259: a secret, or the number of a person, under metadata.
#[test]
fn a_secret_under_metadata_is_noted() {
    let source = format!("{SOURCE}metadata.ssn = \".ssn\"\nmetadata.tier = \".tier\"\n");
    let events = [event("1", &json!({"ssn": "x", "tier": "y"}))];
    check(
        &source,
        &events,
        "metadata.ssn has the name of a secret, or of the number",
    );
    let folder = folder(&source, &events);
    let report = run(folder.path(), &["check"]);
    assert!(!report.contains("metadata.tier has the name"), "{report}");
}

/// FAULTS N1264: a placeholder in the place of a name is refused, and no cardholder sees it.
#[test]
fn a_placeholder_in_the_place_of_a_name_is_refused() {
    for (name, expected) in [
        ("{{contact.firstname}}", "has a placeholder of a template"),
        ("undefined", "is what a program writes for an object"),
        ("[object Object]", "is what a program writes for an object"),
        ("null", "is the word null, in the place of a value"),
        ("Mar&iacute;a", "in the notation of HTML"),
        // FAULTS N1400
        ("N/A", "only says that there is no value"),
        ("-", "only says that there is no value"),
        ("[first_name]", "has a placeholder of a template"),
    ] {
        let events = [event("1", &json!({"person": {"firstName": name}}))];
        check(SOURCE, &events, expected);
    }
}

/// Runs `check` with an addition to the source, and tests whether the report has a note.
#[track_caller]
fn check_note((source, events): (&str, &[Value]), note: &str, is_noted: bool) {
    let folder = folder(source, events);
    let report = run(folder.path(), &["check"]);
    assert_eq!(
        report.contains(note),
        is_noted,
        "{note} in {source} {report}"
    );
}

/// Changes a source, and tests whether `check` has a note for these examples.
#[track_caller]
fn check_changed(
    source: &str,
    changes: &[(&str, &str)],
    events: &[Value],
    (note, is_noted): (&str, bool),
) {
    let mut source = source.to_owned();
    for (from, to) in changes {
        assert!(source.contains(from), "{from}");
        source = source.replace(from, to);
    }
    check_note((&source, events), note, is_noted);
}

/// FAULTS N1266: the expression reads a path at a wrong depth, and the examples have its last name elsewhere.
#[test]
fn a_path_at_a_wrong_depth_names_the_path_of_the_examples() {
    let events = [event("1", &json!({}))];
    for path in [
        ".firstName",
        ".person.name.first_name",
        ".data.person.firstName",
        ".data.attributes.first_name",
    ] {
        let source = SOURCE.replace(".person.firstName", path);
        check_note((&source, &events), "did you mean /person/firstName?", true);
    }
    // The name of a company is no name of the customer, and with two paths none is meant.
    let source = format!("{SOURCE}email = \".email\"\n");
    for members in [
        json!({"company": {"email": "a@example.com"}}),
        json!({"a": {"email": "a@example.com"}, "b": {"email": "a@example.com"}}),
    ] {
        check_note((&source, &[event("1", &members)]), "did you mean", false);
    }
}

/// FAULTS N1267: an example without an expected result names the command that prints the result.
#[test]
fn an_example_without_a_result_names_the_command_that_prints_it() {
    let command = "`imprint-bridge explain --source shop --example FILE` prints it";
    check(SOURCE, &[event("1", &json!({}))], command);
}

/// FAULTS N1268: the source keeps the number of the house apart from the street.
#[test]
fn a_house_number_beside_the_street_is_noted() {
    let fields = |street: &str| {
        format!("{SOURCE}street_line1 = '{street}'\nstreet_line2 = '.a.extra'\ncity = '.a.city'\n")
    };
    let address = json!({"street": "Main St", "houseNumber": "7", "extra": null, "city": "Reno"});
    let events = [event("1", &json!({"a": address}))];
    let note = "no expression reads /a/houseNumber beside it";
    check_note((&fields(".a.street"), &events), note, true);
    let both = fields("\"\\(.a.houseNumber) \\(.a.street)\"");
    check_note((&both, &events), note, false);
    let unit = json!({"street": "7 Main St", "apartment": "B", "extra": null, "city": "Reno"});
    let events = [event("1", &json!({"a": unit}))];
    let note = "no expression reads /a/apartment beside it";
    check_note((&fields(".a.street"), &events), note, true);
}

/// FAULTS N1332: an address without a second line follows an address with one.
#[test]
fn an_absent_second_line_of_a_street_is_noted() {
    const PROPOSED: &str = "if (.a.street) != null then (.a.extra) // null else (.a.extra) end";
    let note = "Imprint keeps the second line of the former address";
    let fields = |line: &str| {
        format!("{SOURCE}street_line1 = '.a.street'\nstreet_line2 = '{line}'\ncity = '.a.city'\n")
    };
    let with = json!({"street": "7 Main St", "extra": "Apt 4", "city": "Reno"});
    let without = json!({"street": "9 Elm St", "city": "Reno"});
    let other = json!({"city": "Reno"});
    let events = |addresses: &[&Value]| -> Vec<_> {
        let numbered = addresses.iter().zip(1..);
        numbered
            .map(|(a, number)| event(&number.to_string(), &json!({"a": a})))
            .collect()
    };
    for (line, addresses, is_noted) in [
        (".a.extra", vec![&with, &without], true),
        (PROPOSED, vec![&with, &without], false),
        (".a.extra", vec![&with, &other], false),
    ] {
        check_note((&fields(line), &events(&addresses)), note, is_noted);
    }
    check_note((&fields(".a.extra"), &events(&[&without])), PROPOSED, true);
    // Without an address, the proposed expression says nothing about the second line.
    let folder = folder(
        &fields(PROPOSED),
        &[events(&[&without]), vec![event("2", &json!({}))]].concat(),
    );
    for (number, result) in [(0, "cleared"), (1, "absent")] {
        let event = format!("config/sources/shop/e{number}.event.json");
        let explained = run(folder.path(), &["explain", "--source", "shop", &event]);
        let mut lines = explained.lines();
        let line = lines.find(|line| line.trim_start().starts_with("street_line2"));
        assert!(line.unwrap_or_default().contains(result), "{explained}");
    }
}

/// FAULTS N1269: the id of the customer is the id of the company's account, or a role.
#[test]
fn an_id_of_an_account_in_the_place_of_a_customer_is_noted() {
    let note = "which by its name is no id of a customer";
    let account = |id: &str, value: &str| event(id, &json!({"app_id": value, "role": "user"}));
    for (path, second, is_noted) in [
        (".app_id", "a1", true),
        (".role", "a1", true),
        (".cid", "a1", false),
        // Different values: perhaps the source has no other id.
        (".app_id", "a2", false),
    ] {
        let source = SOURCE.replace("\".cid\"", &format!("\"{path}\""));
        let events = [account("1", "a1"), account("2", second)];
        check_note((&source, &events), note, is_noted);
    }
}

/// FAULTS N1270: the version is the time at which the source created the customer.
#[test]
fn a_version_from_the_creation_of_the_customer_is_noted() {
    let record = json!({"id": "c1", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z", "firstName": "Ann"});
    let events = [event(
        "1",
        &json!({"person": record, "created_at": "2026-01-02T00:00:00Z"}),
    )];
    let source = SOURCE.replace(".cid", ".person.id");
    let note = "the time at which the source created the customer";
    for (path, is_noted) in [
        (".person.created_at", true),
        (".person.updated_at", false),
        // The time at which the source created the event.
        (".created_at", false),
    ] {
        let source = source.replace("version = \".ts\"", &format!("version = \"{path}\""));
        check_note((&source, &events), note, is_noted);
        let meant = "did you mean /person/updated_at?";
        check_note((&source, &events), meant, is_noted);
    }
}

/// FAULTS N1297: the version is a date of birth, or the creation of a record whose id stands elsewhere.
#[test]
fn a_version_from_another_time_of_the_customer_is_noted() {
    let attributes = json!({"birthdayAt": "1970-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z"});
    let events = [event("1", &json!({"attributes": attributes}))];
    for (path, note) in [
        ("birthdayAt", "a date of birth: it stays equal"),
        ("createdAt", "did you mean /attributes/updatedAt?"),
    ] {
        let version = format!("version = \".attributes.{path}\"");
        let source = SOURCE.replace("version = \".ts\"", &version);
        check_note((&source, &events), note, true);
    }
}

/// FAULTS N1298: the mapping reads an address and not its country.
#[test]
fn an_address_without_its_country_is_noted() {
    let note = "the bridge takes each address for an address in the USA";
    let street = "street_line1 = '.a.street'\nstreet_line2 = 'null'\ncity = '.a.city'\n";
    let address = json!({"street": "7 Main St", "city": "Reno", "country": "US"});
    let events = [event("1", &json!({"a": address}))];
    check_note((&format!("{SOURCE}{street}"), &events), note, true);
    let country = "customer_history.address.country = '.a.country | alpha3'\n";
    let source = format!("{SOURCE}{street}{country}");
    check_note((&source, &events), note, false);
}

/// FAULTS N1271: different events of one customer have the same version.
#[test]
fn events_with_the_same_version_are_noted() {
    let note = "examples of one customer have different values of a field and the same version";
    let first = event("1", &json!({}));
    for (second, is_noted) in [
        (json!({"zip": "89502"}), true),
        (json!({}), false),
        (json!({"zip": "89502", "ts": "2026-01-02T00:00:00Z"}), false),
        (json!({"zip": "89502", "cid": "c2"}), false),
    ] {
        let events = [first.clone(), event("2", &second)];
        check_note((SOURCE, &events), note, is_noted);
    }
}

/// FAULTS N1272: `only_changed` reads a row that no example has, so the bridge sends all fields of each event.
#[test]
fn a_row_before_the_change_that_no_example_has_is_noted() {
    let images = "only_changed.before = \".old\"\nonly_changed.after = \".new\"\n[events.changed.update]\nmetadata.x = \".new.x\"\n";
    let source = SOURCE.replace("[events.changed.update]\n", images);
    let source = source
        .replace(".person.firstName", ".new.x")
        .replace(".state", ".new.s");
    let source = source.replace(".zip", ".new.z");
    let note = "no example of this event type has /old, which only_changed.before reads";
    let events = |row: &str| [event("1", &json!({"new": {"x": "a"}, row: {"x": "b"}}))];
    check_note((&source, &events("previous")), note, true);
    check_note((&source, &events("old")), note, false);
}

/// FAULTS N1273: the whole name of a person is the first name.
#[test]
fn a_whole_name_as_a_first_name_is_noted() {
    let note = "has the whole name in /person/name, and Imprint takes it for the first name";
    let whole = SOURCE.replace(".person.firstName", ".person.name");
    let named = |name: &str| {
        [event(
            "1",
            &json!({"person": {"name": name, "firstName": name}}),
        )]
    };
    check_note((&whole, &named("Ann Lee")), note, true);
    check_note((&whole, &named("Ann")), note, false);
    // A first name of two words.
    check_note((SOURCE, &named("Mary Ann")), "has the whole name", false);
    let both = format!("{whole}last_name = \".person.name\"\n");
    check_note((&both, &named("Ann Lee")), note, true);
    let first = "'.person.name | split(\" \") | first'";
    let split = whole.replace("\".person.name\"", first);
    check_note((&split, &named("Ann Lee")), note, false);
}

/// FAULTS N1275: the schema describes another event.
#[test]
fn a_schema_without_a_part_of_the_examples_is_noted() {
    let note = "no example has a property of the schema shop.json, so the schema checks nothing";
    for (schema, is_noted) in [
        (
            json!({"properties": {"data": {"properties": {"x": {}}}}}),
            true,
        ),
        (
            json!({"properties": {"person": {"properties": {"firstName": {}}}}}),
            false,
        ),
        (
            json!({"properties": {"list": {"items": {"properties": {"a": {}}}}}}),
            false,
        ),
        (json!({"type": "object"}), false),
    ] {
        let events = [event("1", &json!({"list": [{"a": 1}]}))];
        let folder = folder(SOURCE, &events);
        fs::write(folder.path().join("schemas/shop.json"), schema.to_string()).unwrap();
        let report = run(folder.path(), &["check"]);
        assert_eq!(report.contains(note), is_noted, "{schema} {report}");
    }
}

/// FAULTS N1277: a file with headers lies beside a body, and no command reads it.
#[test]
fn a_file_with_headers_that_is_not_read_is_named() {
    let source = SOURCE.replace("type = \".kind\"", "type = 'header(\"x-topic\") // .kind'");
    let folder = folder(&source, &[event("1", &json!({}))]);
    let file = folder.path().join("config/sources/shop/e0.headers.txt");
    fs::write(file, "x-topic: changed\n").unwrap();
    fs::write(
        folder.path().join("s.json"),
        event("1", &json!({})).to_string(),
    )
    .unwrap();
    fs::write(folder.path().join("s.headers"), "x-topic: changed\n").unwrap();
    let body = "config/sources/shop/e0.event.json";
    let explain = |file: &str, header: &[&str]| {
        let arguments = [&["explain", "--source", "shop", file], header].concat();
        run(folder.path(), &arguments)
    };
    let unread = "the command does not read config/sources/shop/e0.headers.txt";
    assert!(explain(body, &[]).contains(unread));
    assert!(explain("s.json", &[]).contains("does not read s.headers"));
    assert!(!explain(body, &["-H", "x-topic: changed"]).contains("does not read"));
    let arguments = ["new-source", "fresh", "--sample", "s.json"];
    let report = run(folder.path(), &arguments);
    assert!(report.contains("set --headers s.headers."), "{report}");
    fs::write(folder.path().join("config/sources/shop/e0.headers"), "").unwrap();
    let report = run(folder.path(), &["check"]);
    assert!(report.contains("e0.headers is not an example"), "{report}");
}

/// FAULTS N1342: an expression reads a misspelt header, and the request has the right one.
#[test]
fn a_misspelt_header_names_the_header_of_the_request() {
    let source = SOURCE.replace("id = \".id\"", "id = 'header(\"x-event-idd\")'");
    let folder = folder(&source, &[event("1", &json!({}))]);
    let file = folder.path().join("config/sources/shop/e0.headers.txt");
    fs::write(file, "X-Event-Id: 7\n").unwrap();
    let meant = "did you mean header(\"x-event-id\")?";
    let report = run(folder.path(), &["check"]);
    assert!(report.contains(meant), "{report}");
    let file = "config/sources/shop/e0.event.json";
    let explain = ["explain", "--source", "shop", file, "-H", "X-Event-Id: 7"];
    let explained = run(folder.path(), &explain);
    assert!(explained.contains(meant), "{explained}");
    assert!(!explained.contains("pass each header"), "{explained}");
}

/// FAULTS N1344: the value is no language tag, so no function makes a language of it.
#[test]
fn a_value_that_is_no_language_names_no_function_that_refuses_it() {
    let source = format!("{SOURCE}preferred_language = \".language\"\n");
    for (language, expected) in [
        ("en-US", "the function language makes one"),
        (
            "English (United States)",
            "and the function language reads none in it",
        ),
        (
            "6ebc31fa-ee6c-48e9-81bf-8003ac03b019",
            "and the function language reads none in it",
        ),
    ] {
        check(
            &source,
            &[event("1", &json!({"language": language}))],
            expected,
        );
    }
}

/// FAULTS N1369: the file with the headers of an example is a captured request.
#[test]
fn a_request_line_before_the_headers_of_an_example_is_accepted() {
    let source = SOURCE.replace("id = \".id\"", "id = 'header(\"x-id\")'");
    let folder = folder(&source, &[event("1", &json!({}))]);
    let file = folder.path().join("config/sources/shop/e0.headers.txt");
    for (lines, expected) in [
        ("POST /hooks HTTP/1.1\nX-Id: 7\n", "is right, write it into"),
        ("\nX-Id: 7\n{\n", "line 3: a header is written NAME: VALUE"),
        // FAULTS N1386
        ("{\"X-Id\": \"7\"}\n", "VALUE, without JSON and quotes"),
        ("-H \"X-Id: 7\"\n", "VALUE, without the option of curl"),
        (
            "X-Id: 7\nPOST /hooks HTTP/1.1\n",
            "line 2: a header is written NAME: VALUE",
        ),
    ] {
        fs::write(&file, lines).unwrap();
        let report = run(folder.path(), &["check"]);
        assert!(report.contains(expected), "{report}");
    }
    // A header with the version of HTTP is no line of the request.
    let source = SOURCE.replace("id = \".id\"", "id = 'header(\"upgrade\")'");
    fs::write(folder.path().join("config/sources/shop.toml"), source).unwrap();
    for lines in ["Upgrade: HTTP/2\n", "X-Id: 7\nUpgrade: HTTP/1.1\n"] {
        fs::write(&file, lines).unwrap();
        let report = run(folder.path(), &["check"]);
        assert!(report.contains("is right, write it into"), "{report}");
    }
}
