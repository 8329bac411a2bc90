//! The notes of `check` and `explain` about values that stay at Imprint, and about ids, names and files that only look right.

use std::fs;

use serde_json::{Value, json};

use super::{SOURCE, check, check_note, event, folder, run};

/// A mapping of an address whose city and state are members of objects, as a CRM with lookups sends them.
const ADDRESS: &str = r#"street_line1 = ".street | line(1; 2)"
street_line2 = ".street | line(2; 2)"
city = ".City.name"
"#;

fn address_source() -> String {
    let state = r#"state = "if .Country.name | alpha3 | . == null or is_domestic then .Region.name | us_state else .Region.name end""#;
    let country = r#"customer_history.address.country = ".Country.name | alpha3""#;
    SOURCE.replace(
        "state = \".state\"",
        &format!("{ADDRESS}{state}\n{country}"),
    )
}

fn address(members: &Value) -> Value {
    let mut address = event(
        "1",
        &json!({"street": "1 Main St", "City": {"name": "Reno"}, "Region": {"name": "Nevada"}, "Country": {"name": "USA"}}),
    );
    let members = members.as_object().unwrap().clone();
    address.as_object_mut().unwrap().extend(members);
    address
}

/// FAULTS N1370: null in the place of an object says nothing about the city inside it.
#[test]
fn a_part_of_an_address_inside_null_is_noted() {
    let source = address_source();
    let city = "in an example, /City is null, so city is absent, and the event changes ";
    let remedy =
        "write city = 'if (has(\"City\")) and .City == null then null else .City.name end'";
    let state =
        "write state = 'if (has(\"Region\")) and .Region == null then null else if .Country.name";
    for (members, note, is_noted) in [
        (json!({"City": null}), city, true),
        (json!({"City": null}), remedy, true),
        (
            json!({"City": null, "street": "", "zip": "", "Region": null}),
            city,
            true,
        ),
        (json!({"Region": null}), state, true),
        (json!({"Region": null, "Country": null}), state, true),
        (json!({"Country": null}), "is null, so", false),
        (json!({}), "is null, so", false),
    ] {
        check_note((&source, &[address(&members)]), note, is_noted);
    }
    // The event changes no part of the address.
    let mut partial = address(&json!({"City": null, "Region": null}));
    for name in ["street", "zip"] {
        partial.as_object_mut().unwrap().remove(name);
    }
    check_note((&source, &[partial]), "is null, so", false);
    // Another branch has a pipe, or an alternative outside the null can have a value.
    for city in [
        ".City.name // .cityText",
        "if .x == 1 then (.a | .City.name) else .City.name end",
    ] {
        let source = source.replace("\".City.name\"", &format!("'{city}'"));
        let events = [address(&json!({"City": null, "x": 1, "a": {"City": null}}))];
        check_note((&source, &events), "then null else", false);
    }
    // A name that can be a value is not shown.
    let keyed = source.replace("\".City.name\"", "'.m | to_entries | .[0].value.City.name'");
    let event = address(&json!({"m": {"ann@example.com": {"City": null}}}));
    check_note((&keyed, &[event]), "in an example, /m/*/City is null", true);
    // The proposed expression clears the city.
    let cleared = source.replace(
        "\".City.name\"",
        "'if (has(\"City\")) and .City == null then null else .City.name end'",
    );
    let folder = folder(&cleared, &[address(&json!({"City": null}))]);
    let file = "config/sources/shop/e0.event.json";
    let explained = run(folder.path(), &["explain", "--source", "shop", file]);
    let mut rows = explained.lines();
    let row = rows.find(|row| row.trim_start().starts_with("city "));
    assert!(row.unwrap_or_default().contains("(cleared"), "{explained}");
    check_note(
        (&cleared, &[address(&json!({"City": null}))]),
        "is null, so",
        false,
    );
}

/// FAULTS N1371: one event has a member in other letter case.
#[test]
fn a_member_in_other_letter_case_is_noted() {
    let source = address_source();
    let note = "city: the expression reads /City/name, and the event has /City/Name, whose name differs in upper and lower case";
    let events = [
        address(&json!({})),
        address(&json!({"City": {"Name": "Reno"}})),
    ];
    check(&source, &events, &format!("in an example, {note}"));
    check_note(
        (&source, &events[..1]),
        "differs in upper and lower case",
        false,
    );
    let folder = folder(&source, &events);
    let file = "config/sources/shop/e1.event.json";
    let explained = run(folder.path(), &["explain", "--source", "shop", file]);
    assert!(explained.contains(note), "{explained}");
    // An expression that reads both names has a value.
    let both = source.replace("\".City.name\"", "\".City.name // .City.Name\"");
    check_note((&both, &events), "differs in upper and lower case", false);
}

/// FAULTS N1372: the first line is a part of a text, and the rest is lost, or begins with a space.
#[test]
fn a_street_that_is_cut_is_noted() {
    let source = |first: &str, second: &str| {
        format!("{SOURCE}street_line1 = '{first}'\nstreet_line2 = '{second}'\ncity = '.city'\n")
    };
    let first = ".street | split(\",\") | .[0]";
    let lost = "in an example, street_line1 has only the first part of /street, and no other field has the rest";
    let space = "in an example, street_line2: the value begins or ends with a space, which the function trim removes";
    let second = ".street | split(\",\") | .[1]";
    let two = event("1", &json!({"street": "1 Main St, Apt 4", "city": "Reno"}));
    let one = event("2", &json!({"street": "1 Main St", "city": "Reno"}));
    for (second, events, note, is_noted) in [
        (".street | line(2; 2)", vec![&two], lost, true),
        (second, vec![&two], lost, false),
        (second, vec![&two], space, true),
        (
            ".street | split(\",\") | .[1] | trim",
            vec![&two],
            space,
            false,
        ),
        (".street | line(2; 2)", vec![&one], lost, false),
        // Imprint keeps the old second line.
        (
            second,
            vec![&two, &one],
            "Imprint keeps the second line of the former address",
            true,
        ),
    ] {
        let events: Vec<Value> = events.into_iter().cloned().collect();
        check_note((&source(first, second), &events), note, is_noted);
    }
    // The city is in the rest of the text.
    let source = format!(
        "{SOURCE}street_line1 = '{first}'\nstreet_line2 = 'null'\ncity = '{second} | trim'\n"
    );
    check_note((&source, &[two]), lost, false);
    // The text is a whole address, or the second line has the rest in another way.
    let whole = event(
        "3",
        &json!({"street": "1 Main St, Reno, NV 89501, USA", "city": "Reno"}),
    );
    let apt = event("4", &json!({"street": "1 Main St, Apt 4", "city": "Reno"}));
    let either = "if .apt != null then .apt else .street | split(\",\") | .[1] | trim end";
    for (second, event) in [("null", whole), (either, apt)] {
        let source = format!(
            "{SOURCE}street_line1 = '{first}'\nstreet_line2 = '{second}'\ncity = '.city'\n"
        );
        check_note((&source, &[event]), lost, false);
    }
}

/// FAULTS N1374: the schema has properties outside `properties`.
#[test]
fn a_schema_without_the_level_of_its_properties_is_noted() {
    let schema =
        json!({"type": "object", "person": {"type": "object"}, "state": {"type": "string"}});
    let folder = folder(SOURCE, &[event("1", &json!({}))]);
    let file = folder.path().join("schemas/shop.json");
    fs::write(&file, schema.to_string()).unwrap();
    let report = run(folder.path(), &["check"]);
    let note = "the schema shop.json does not check /person, /state: JSON Schema has no such keyword. Write each property inside \"properties\"";
    assert!(report.contains(note), "{report}");
    let schema = json!({"type": "object", "properties": {"person": {"type": "object"}}});
    fs::write(&file, schema.to_string()).unwrap();
    let report = run(folder.path(), &["check"]);
    assert!(
        !report.contains("JSON Schema has no such keyword"),
        "{report}"
    );
}

/// FAULTS N1376: the id of the customer is an email address, beside an id that no expression reads.
#[test]
fn an_email_address_in_the_place_of_an_id_is_noted() {
    let note = "customer.partner_id reads /email, an email address, which can change, and no expression reads the id in /userId: did you mean /userId?";
    let source = SOURCE.replace("\".cid\"", "\".email\"");
    let with_id = event("1", &json!({"email": "ann@example.com", "userId": "u-1"}));
    check_note((&source, &[with_id]), note, true);
    let other = event("1", &json!({"email": "C-12@EU", "userId": "u-1"}));
    check_note((&source, &[other]), "an email address", false);
    let keyed = SOURCE.replace("\".cid\"", "'.by | to_entries | .[0].value.email'");
    let members = json!({"by": {"ann@example.com": {"email": "ann@example.com", "userId": "u1"}}});
    let masked = "reads /by/*/email, an email address, which can change, and no expression reads the id in /by/*/userId";
    check_note((&keyed, &[event("1", &members)]), masked, true);
    let mut without = event("1", &json!({"email": "ann@example.com"}));
    without.as_object_mut().unwrap().remove("cid");
    check_note((&source, &[without]), "an email address", false);
}

/// FAULTS N1377: the rule for Imprint's id reads the source's own id.
#[test]
fn an_id_of_the_source_in_the_place_of_imprints_is_noted() {
    let note = "customer.imprint_id reads /userId, by its name the source's own id of the customer";
    let source = SOURCE.replace(
        "customer.partner_id = \".cid\"",
        "customer.imprint_id = \".userId\"",
    );
    for (id, is_noted) in [
        ("u-1", true),
        ("0F8FAD5B-D9CB-469F-A165-70867728950E", false),
        ("0f8fad5bd9cb469fa16570867728950e", false),
        ("CUST-v1-0f8fad5b-d9cb-469f-a165-70867728950e", false),
    ] {
        check_note(
            (&source, &[event("1", &json!({"userId": id}))]),
            note,
            is_noted,
        );
    }
    let both = SOURCE.replace(
        "customer.partner_id = \".cid\"",
        "customer.imprint_id = \".userId\"\ncustomer.partner_id = \".cid\"",
    );
    check_note(
        (&both, &[event("1", &json!({"userId": "u-1"}))]),
        note,
        false,
    );
    let imprint = SOURCE.replace(
        "customer.partner_id = \".cid\"",
        "customer.imprint_id = \".imprint.userId\"",
    );
    check_note(
        (
            &imprint,
            &[event("1", &json!({"imprint": {"userId": "u-1"}}))],
        ),
        note,
        false,
    );
}

/// FAULTS N1378: two events of one second have one id.
#[test]
fn an_id_of_an_event_that_is_a_time_is_noted() {
    let note = "body.id reads /created, a time: two events at one time have one id";
    let source = SOURCE.replace("id = \".id\"\ntype", "id = \".created\"\ntype");
    for (created, is_noted) in [
        ("2026-11-20 22:17:22 +00:00", true),
        ("2026-11-20T22:17:22.123Z", true),
        ("2026-11-20", false),
        ("2026-11-20T22:17:22Z-c1", false),
        ("e-1", false),
    ] {
        check_note(
            (&source, &[event("1", &json!({"created": created}))]),
            note,
            is_noted,
        );
    }
}

/// FAULTS N1379: the expression has `or` instead of `//`.
#[test]
fn a_word_for_an_alternative_names_the_operator() {
    let note = "first_name: `or` and `and` give true or false; an alternative to a value that is absent or null is written with //";
    let source = SOURCE.replace(
        "\".person.firstName\"",
        "'.person.firstName or \"Customer\"'",
    );
    check_note((&source, &[event("1", &json!({}))]), note, true);
    let source = SOURCE.replace(
        "\".person.firstName\"",
        "'.person.firstName // \"Customer\"'",
    );
    check_note((&source, &[event("1", &json!({}))]), note, false);
    // The word stands inside a text.
    let source = SOURCE.replace(
        "\".person.firstName\"",
        "'.c // (.person.firstName | split(\" or \") | .[0])'",
    );
    check_note((&source, &[event("2", &json!({"c": true}))]), note, false);
    let source = SOURCE.replace(
        "\".person.firstName\"",
        "'.person.firstName // \"Customer\"'",
    );
    check_note((&source, &[event("1", &json!({}))]), note, false);
}

/// FAULTS N1387: the headers of a request are no members of its body.
#[test]
fn a_header_that_is_read_from_the_body_names_the_function() {
    let source = SOURCE.replace("type = \".kind\"", "type = \".headers.x_entity\"");
    let call = "the function header reads a header of the request: header(\"x-entity\")";
    check(&source, &[event("1", &json!({}))], call);
    // A relay writes the headers of another request into its body.
    let relayed = event("1", &json!({"headers": {"x_other": "1"}}));
    let folder_of_relay = folder(&source, &[relayed]);
    let file = "config/sources/shop/e0.event.json";
    let report = run(folder_of_relay.path(), &["check"])
        + &run(
            folder_of_relay.path(),
            &["explain", "--source", "shop", file],
        );
    assert!(!report.contains(call), "{report}");
    let folder = folder(&source, &[event("1", &json!({}))]);
    let explained = run(folder.path(), &["explain", "--source", "shop", file]);
    assert!(explained.contains(call), "{explained}");
    fs::write(
        folder.path().join("config/sources/shop/e0.request.json"),
        "\"ignored\"",
    )
    .unwrap();
    let report = run(folder.path(), &["check"]);
    assert!(
        report.contains("expected ignored, found refused") && report.contains(call),
        "{report}"
    );
}

/// FAULTS N1388: the value of a header has quotes, as a shell shows it.
#[test]
fn a_type_with_quotes_says_so() {
    let expected = "but has [events.\"changed\"]: the type of the event has quotes around it";
    check(
        SOURCE,
        &[event("1", &json!({"kind": "\"changed\""}))],
        expected,
    );
}

/// FAULTS N1389: the whole body is null.
#[test]
fn a_body_of_null_is_named() {
    let expected = "refuses the body: The value is null, and an event is an object";
    check(SOURCE, &[Value::Null], expected);
}

/// FAULTS N1390: the body is a page with a list of records, as a web service sends it.
#[test]
fn a_page_of_records_needs_split() {
    let page = json!({"@odata.context": "x", "value": [event("1", &json!({}))]});
    let expected = "the body has a list in /value: `split = \".value[]\"` in [body] makes an event of each item";
    check(SOURCE, std::slice::from_ref(&page), expected);
    // A record with a list, and a name that is a phone number.
    let record = json!({"kind": "changed", "cid": "c1", "emails": [{"email": "a@example.com"}]});
    let numbers = json!({"14155552671": [event("1", &json!({}))]});
    for body in [record, numbers] {
        check_note((SOURCE, &[body]), "the body has a list in", false);
    }
    let constant = SOURCE
        .replace("id = \".id\"", "id = \"digest\"")
        .replace("type = \".kind\"", "type = '\"changed\"'");
    let folder = folder(&constant, &[page]);
    let schema = json!({"type": "object", "required": ["cid"]});
    fs::write(folder.path().join("schemas/shop.json"), schema.to_string()).unwrap();
    let report = run(folder.path(), &["check"]);
    assert!(report.contains(expected), "{report}");
}

/// FAULTS N1391: a member of the event is JSON inside a text.
#[test]
fn json_inside_a_text_is_named() {
    let expected = "the value here is a text, not an object. If the text contains JSON, the sender must post this JSON itself";
    check(
        SOURCE,
        &[event("1", &json!({"person": "{\"firstName\": \"Ann\"}"}))],
        expected,
    );
}

/// FAULTS N1396: a copy of a source file is a second source.
#[test]
fn a_copy_of_a_source_file_is_noted() {
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("token");
    fs::write(&secret, "a-secret-of-the-crm-with-enough-letters").unwrap();
    let bearer = SOURCE.replace(
        "kind = \"none\"",
        &format!("kind = \"bearer\"\ntoken_files = [{secret:?}]"),
    );
    for (source, name, is_noted) in [
        (bearer.as_str(), "shop-old", true),
        (bearer.as_str(), "shop-eu", false),
        // A source without authentication has no secret files.
        (SOURCE, "shop-old", false),
    ] {
        let folder = folder(source, &[event("1", &json!({}))]);
        let file = folder.path().join(format!("config/sources/{name}.toml"));
        fs::write(&file, source).unwrap();
        let report = run(folder.path(), &["check"]);
        let note = format!("{name} is a source of its own, with the secret files of shop");
        assert_eq!(report.contains(&note), is_noted, "{report}");
    }
}

/// FAULTS N1397: a type in `ignore` has a typing error.
#[test]
fn a_misspelt_type_in_ignore_is_noted() {
    let note = "in `ignore`; did you mean changed?";
    for (ignored, is_noted) in [
        ("changd", true),
        ("chagned", true),
        ("created", false),
        ("charged", false),
    ] {
        let source = format!("ignore = [\"{ignored}\"]\n{SOURCE}");
        check_note((&source, &[event("1", &json!({}))]), note, is_noted);
    }
}

/// FAULTS N1398: a program writes zeros for an id that it does not have.
#[test]
fn an_id_of_zeros_is_noted() {
    let note = "in an example, customer.partner_id: the value is the UUID of zeros";
    for (id, is_noted) in [
        ("00000000-0000-0000-0000-000000000000", true),
        ("00000000-0000-0000-0000-000000000001", false),
    ] {
        check_note((SOURCE, &[event("1", &json!({"cid": id}))]), note, is_noted);
    }
}

/// FAULTS N1399: the constant has another letter case than the event.
#[test]
fn a_constant_in_another_letter_case_is_noted() {
    let note = "in an example, when: the expression compares a text with a constant that differs in upper and lower case";
    for (condition, value, is_noted) in [
        (".action == \"updated\"", "Updated", true),
        (".action == \"updated\" and .id != null", "Updated", true),
        (".action == \"updated\"", "updated", false),
        (".action == \"updated\"", "deleted", false),
        (
            ".action == \"updated\" or .action == \"Updated\"",
            "Updated",
            false,
        ),
        (".action == .state", "nv", false),
        (".action != \"updated\" and .id == null", "Updated", false),
    ] {
        let source = SOURCE.replace("schema = ", &format!("when = '{condition}'\nschema = "));
        check_note(
            (&source, &[event("1", &json!({"action": value}))]),
            note,
            is_noted,
        );
    }
    // Another example has the constant.
    let source = SOURCE.replace("schema = ", "when = '.action == \"updated\"'\nschema = ");
    let events = [
        event("1", &json!({"action": "Updated"})),
        event("2", &json!({"action": "updated"})),
    ];
    check_note((&source, &events), note, false);
    let source = SOURCE.replace(
        "schema = ",
        "when = 'header(\"x-action\") == \"updated\"'\nschema = ",
    );
    let folder = folder(&source, &[event("1", &json!({}))]);
    let file = "config/sources/shop/e0.event.json";
    let arguments = [
        "explain",
        "--source",
        "shop",
        file,
        "--header",
        "x-action: Updated",
    ];
    let explained = run(folder.path(), &arguments);
    assert!(
        explained.contains("differs in upper and lower case"),
        "{explained}"
    );
}
