//! Messages that named a consequence of the mistake: another path, another function, or a remedy that changes the result.

use std::fs;

use serde_json::json;

use super::{EVENT, SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};

/// FAULTS N1479: a constant without quotes as the argument of a function.
#[test]
fn an_argument_without_quotes_is_a_text() {
    let wrong = "metadata.spent = 'minor_units(.amount; USD)'\nmetadata.tier";
    let expected = "`USD` is not allowed here; if it is a constant text, write the text in double quotes: \"USD\"";
    check_source("metadata.tier", wrong, &[expected]);
}

/// FAULTS N1480: the sample of an event with two members was copied as the schema.
#[test]
fn a_sample_with_two_objects_is_no_schema() {
    let sample = json!({"event": {"id": "1"}, "item": {"email": "a@b.com"}}).to_string();
    let folder = folder_with(SOURCE, &sample);
    let (_, errors) = check(folder.path(), &[]);
    assert_contains(&errors, &["is probably an event and no schema"], "sample");
}

/// FAULTS N1483: the value of a field has another type, because of the expression and not because of the event.
#[test]
fn a_value_of_another_type_names_the_expression() {
    for (wrong, expected) in [
        (
            "'[.tier] | if any(. == \"X\") then \"Bob\" end'",
            "An `if` without `else` returns its input.",
        ),
        ("'.phone | whole'", "leave out the function whole"),
    ] {
        check_source(
            "first_name = \".first_name\"",
            &format!("first_name = {wrong}"),
            &[expected],
        );
    }
    check_source(
        "type = '.kind'",
        "type = 'if .kind == \"x\" then \"customer\" end'",
        &[
            "The value is an object, not a text or a whole number. Write the path of one of its members; an `if` without `else`",
        ],
    );
}

/// FAULTS N1484: a phone number is JSON in a text.
#[test]
fn a_phone_number_in_json_is_named() {
    let folder = folder_with(SOURCE, SCHEMA);
    let example = folder.path().join("config/sources/shop/a.event.json");
    let phone = json!({"phone": "4155552671", "countryShortName": "US"}).to_string();
    let event = EVENT.replace("\"4155552671\"", &json!(phone).to_string());
    fs::write(example, event).unwrap();
    let (_, errors) = check(folder.path(), &[]);
    assert_contains(
        &errors,
        &["The text contains JSON, and no function reads JSON"],
        "phone",
    );
}

/// FAULTS N1485: `body.split` makes a member that no example has. No other path is meant.
#[test]
fn a_member_that_the_split_makes_is_no_misspelt_path() {
    let split = "split = '(first(.channels[]? | select(.type == \"sms\") | .address)) as $phone | . + {phone: $phone}'\nid = ";
    let source = SOURCE.replacen("id = ", split, 1);
    let folder = folder_with(&source, SCHEMA);
    let examples = folder.path().join("config/sources/shop");
    let event = EVENT.replace(
        "\"phone\": \"4155552671\"",
        "\"channels\": [{\"type\": \"phone\", \"address\": \"4155552671\"}], \"shop\": {\"phone\": \"4155552672\"}",
    );
    fs::write(examples.join("a.event.json"), event).unwrap();
    fs::write(
        examples.join("a.request.json"),
        r#"{"partner_id": "c1", "body": {"email": "a@b.com", "first_name": "Bob", "metadata": {"tier": "GOLD"}}}"#,
    )
    .unwrap();
    let (report, errors) = check(folder.path(), &[]);
    assert_eq!(errors, Vec::<String>::new());
    assert!(!report.contains("/shop/phone?"), "{report}");
    let note = "no example has a value in /phone, which body.split makes: correct body.split";
    assert!(report.contains(note), "{report}");
}

/// FAULTS N1486: the split makes an object of constants, which lacks a member that the mapping reads.
#[test]
fn an_object_of_constants_lacks_the_member() {
    let source = SOURCE
        .replacen(
            "id = ",
            "split = '.items[] | {kind: \"customer\", about: {a: 1}, item: .}'\nid = \".item\" + ",
            1,
        )
        .replacen("\".item\" + \".id\"", "\".item.id\"", 1)
        .replacen("\".customer_id\"", "\".about.customer_id\"", 1);
    let folder = folder_with(&source, "{}");
    let examples = folder.path().join("config/sources/shop");
    let body = json!({"items": [{"id": "1"}], "about": {"customer_id": "c1"}});
    fs::write(examples.join("a.event.json"), body.to_string()).unwrap();
    let (_, errors) = check(folder.path(), &[]);
    let all = errors.join("\n");
    assert!(
        all.contains("makes the object around this value of constants"),
        "{all}"
    );
}

/// FAULTS N1510: the author of the mapping has written the text for no value.
#[test]
fn a_constant_for_no_value_is_left_out() {
    for constant in ["N/A", "Unknown", "-", "null"] {
        let wrong = format!("first_name = '.first_name // \"{constant}\"'");
        let expected = "the text says that there is no value, so leave it out";
        check_source("first_name = \".first_name\"", &wrong, &[expected]);
    }
}

/// FAULTS N1512: a remedy that the same setting refuses.
#[test]
fn a_day_is_proposed_only_where_it_is_allowed() {
    let auth = "kind = \"hmac\"\nheader = \"x-s\"\nencoding = \"hex\"\nsecret_files = [\"a\"]\nsigned = \"{timestamp}{body}\"\n\
                timestamp_header = \"x-t\"\ntolerance = \"1d\"";
    let source = SOURCE.replacen("kind = \"none\"", auth, 1);
    let folder = folder_with(&source, SCHEMA);
    let (_, errors) = check(folder.path(), &[]);
    assert_contains(&errors, &["from 1s to 3600s"], "1d");
    assert!(!errors[0].contains("24h"), "{errors:?}");
}

/// FAULTS N1512: the country is a truth value, because the expression asks whether it is domestic.
#[test]
fn a_truth_value_is_no_country() {
    let country =
        "customer_history.address.country = '.tier | alpha3? // true | is_domestic'\nfirst_name = ";
    let wrong = country.replace(".tier | alpha3? // true", "\"USA\"");
    check_source("first_name = ", &wrong, &["leave out is_domestic"]);
}

/// FAULTS N1540: the expression cuts a part of the time off, or leaves a part of a text out.
#[test]
fn a_remedy_does_not_repair_what_the_expression_cuts() {
    for (wrong, expected) in [
        (
            "version = \".updated_at | date\"",
            "If the expression cuts the time off, such as with the function date, leave this out.",
        ),
        (
            "version = \".updated_at[0:19]\"",
            "If the expression cuts the offset off, such as with [0:19], read the whole text.",
        ),
    ] {
        check_source("version = \".updated_at\"", wrong, &[expected]);
    }
}

/// FAULTS N1554, N1557, N1560: the message names the part that the author has exchanged, forgotten or written twice.
#[test]
fn a_message_names_the_part_that_is_wrong() {
    for (from, wrong, expected) in [
        (
            "A = \"GOLD\"",
            "GOLD = \"A\"",
            "which is the result of one. If the sides are exchanged, write the value of the source on the left side",
        ),
        ("A = \"GOLD\"", "a = \"GOLD\"", "write lower before lookup"),
        ("A = \"GOLD\"", "a = \"A\"", "write lower before lookup"),
        (
            "A = \"GOLD\"",
            "a = \"GOLD\"\nB = \"SILVER\"",
            "add an entry for the value",
        ),
        (
            "A = \"GOLD\"",
            "\" a\" = \"GOLD\"",
            "add an entry for the value",
        ),
        (
            "customer.partner_id = \".customer_id\"",
            "customer.partner_id = \".id_of_customer\"\ncustomer.imprint_id = \".imprint\"",
            "neither customer.imprint_id nor customer.partner_id gives an id",
        ),
        (
            "phone = '.phone | e164(\"US\")'",
            "phone = '\"+1+1\\(.phone)\"'",
            "The text has two plus signs: two numbers, or a + that the expression puts before",
        ),
        (
            "email = \".email\"",
            "email = \"amelia@example.org\"",
            "a constant text stands in double quotes inside the expression: '\"amelia@example.org\"'",
        ),
    ] {
        check_source(from, wrong, &[expected]);
    }
}
