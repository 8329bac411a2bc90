//! The notes of `check` about expressions that Imprint accepts, and that by the names and values of the examples read another
//! member than the author means.

use std::fs;

use serde_json::{Value, json};

use super::{SOURCE, check_changed, event, folder, run};

/// A flat record of a CRM, and a mapping that is right for it.
const RECORD: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
id = "digest"
type = '"customer"'
time = ".changedOn"
[events.customer]
schema = "shop.json"
customer.partner_id = ".entityid"
version = ".changedOn"
version_domain = "time"
[events.customer.update]
email = ".email"
phone = '.phone | e164("US")'
first_name = ".firstname"
last_name = ".lastname"
street_line1 = ".book[0].addr1"
street_line2 = ".book[0].addr2"
city = ".book[0].city"
state = ".book[0].state.value"
postal_code = ".book[0].zip"
customer_history.address.country = ".book[0].country.value | alpha3"
"#;

fn record(members: &Value) -> Value {
    let item = |city: &str, zip: &str, default: bool| {
        json!({"addr1": "1 Main St", "addr2": "", "city": city, "region": "Nevada", "timezone": "America/Los_Angeles",
            "state": {"value": "NV", "text": "Nevada"}, "zip": zip, "defaultbilling": default,
            "country": {"value": "US", "text": "United States"}})
    };
    let mut record = json!({"entityid": "c-1", "internalid": "7", "email": "ann@example.com", "phone": "+14155552671",
        "mobilephone": "", "firstname": "Ann", "lastname": "Lee", "middlename": "May", "organization": "Example Corp",
        "title": "Manager", "anonymousid": null, "changedOn": "2026-01-01T00:00:00Z", "eventType": "edit",
        "subsidiary": {"value": "1"}, "entitystatus": "13",
        "book": [item("Reno", "89501", true), item("Sparks", "89431", false)]});
    let members = members.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(members);
    record
}

/// Changes the mapping of the record, and tests whether `check` has a note for these examples.
#[track_caller]
fn changed(changes: &[(&str, &str)], events: &[Value], note: &str, is_noted: bool) {
    check_changed(RECORD, changes, events, (note, is_noted));
}

#[test]
fn the_right_mapping_of_a_flat_record_has_no_note() {
    let other = record(
        &json!({"entityid": "c-2", "email": "bob@example.com", "firstname": "Bob", "lastname": "Ray"}),
    );
    for note in [
        "did you mean",
        "by its name",
        "most examples clear",
        "one item",
        "is true in another item",
        "ends in //",
        "first two letters",
        "like an edit",
        "for an address in the USA",
        "accepts every event",
        "have one customer.partner_id",
    ] {
        changed(&[], &[record(&json!({})), other.clone()], note, false);
    }
}

/// FAULTS N1407: the country is an object, and no expression reads it.
#[test]
fn a_country_in_an_object_that_no_expression_reads_is_noted() {
    let country = "customer_history.address.country = \".book[0].country.value | alpha3\"";
    let note = "no expression reads /book/0/country beside it: the bridge takes each address for an address in the USA";
    let events = [record(&json!({}))];
    changed(&[(country, "")], &events, note, true);
    changed(&[], &events, note, false);
    let text = country.replace(".value", ".text");
    changed(&[(country, &text)], &events, note, false);
    // Each event of a batch has the object: one note is enough.
    let split = [(country, ""), ("[body]", "[body]\nsplit = \".[]\"")];
    let batch = json!([record(&json!({})), record(&json!({"entityid": "c-2"}))]);
    changed(
        &split,
        &[batch],
        "no expression reads /0/book/0/country beside it",
        true,
    );
    let batch = json!([record(&json!({})), record(&json!({"entityid": "c-2"}))]);
    changed(
        &split,
        &[batch],
        "no expression reads /1/book/0/country beside it",
        false,
    );
}

/// FAULTS N1408: a schema without a keyword that checks a value, and `property` in the place of `properties`.
#[test]
fn a_schema_that_accepts_every_event_is_noted() {
    let empty =
        "the schema shop.json has no keyword that checks a value, so it accepts every event";
    let group = "the schema shop.json does not check /property: JSON Schema has no such keyword";
    let properties = json!({"id": {"type": "string"}});
    for (schema, note, is_noted) in [
        (json!({}), empty, true),
        (json!(true), empty, true),
        (
            json!({"data": [{"id": "1"}], "meta": {"id": "2"}}),
            "this file is probably an event and no schema",
            true,
        ),
        (json!({"type": "object"}), empty, false),
        (
            json!({"type": "object", "property": properties}),
            group,
            true,
        ),
        (
            json!({"type": "object", "properties": properties}),
            "does not check",
            false,
        ),
    ] {
        let folder = folder(SOURCE, &[event("1", &json!({}))]);
        let file = folder.path().join("schemas/shop.json");
        fs::write(&file, schema.to_string()).unwrap();
        let report = run(folder.path(), &["check"]);
        assert_eq!(report.contains(note), is_noted, "{schema}: {report}");
    }
}

/// FAULTS N1411: the member is null in every example, or empty in most of them, and another one has the value.
#[test]
fn a_field_that_most_examples_clear_is_noted() {
    let email = [("email = \".email\"", "email = \".anonymousid\"")];
    let note =
        "no example gives email a value: it reads /anonymousid, and no expression reads /email";
    changed(&email, &[record(&json!({}))], note, true);
    let mobile = [(".phone |", ".mobilephone |")];
    let note = "most examples clear phone at Imprint, and some of them have a value in /phone, which no expression reads; did you mean /phone?";
    let empty = record(&json!({}));
    let filled = record(&json!({"mobilephone": "+14155552672", "email": "eve@example.com"}));
    let all = [
        empty.clone(),
        record(&json!({"title": "x"})),
        filled.clone(),
    ];
    changed(&mobile, &all, note, true);
    changed(
        &mobile,
        &[empty.clone(), filled.clone(), filled.clone()],
        note,
        false,
    );
    // Most examples say nothing about the phone.
    let mut silent = record(&json!({}));
    silent.as_object_mut().unwrap().remove("mobilephone");
    let other = record(&json!({"title": "x"}));
    let all = [empty, other, filled, silent.clone(), silent.clone(), silent];
    changed(&mobile, &all, note, false);
}

/// FAULTS N1412: the name of the member says another thing, and the member with the name of the field lies beside it.
#[test]
fn a_member_with_the_name_of_another_field_is_noted() {
    for (field, from, to, read, meant) in [
        (
            "city",
            "[0].city",
            "[0].region",
            "/book/0/region",
            "/book/0/city",
        ),
        (
            "city",
            "[0].city",
            "[0].timezone",
            "/book/0/timezone",
            "/book/0/city",
        ),
        ("city", "[0].city", "[0].country.text", "", ""),
        (
            "last_name",
            ".lastname",
            ".organization",
            "/organization",
            "/lastname",
        ),
        ("first_name", ".firstname", ".title", "/title", "/firstname"),
        (
            "first_name",
            ".firstname",
            ".middlename",
            "/middlename",
            "/firstname",
        ),
        (
            "first_name",
            ".firstname",
            ".entityid",
            "/entityid",
            "/firstname",
        ),
    ] {
        let note = match read {
            "" => "by its name another value".to_owned(),
            read => format!(
                "{field} reads {read}, by its name another value, and not {meant}, which has the name of the field; did you mean {meant}?"
            ),
        };
        changed(
            &[(from, to)],
            &[record(&json!({}))],
            &note,
            !read.is_empty(),
        );
    }
}

/// FAULTS N1412: the names of two fields are exchanged.
#[test]
fn exchanged_fields_are_noted() {
    let crossed = [
        (".firstname", ".other"),
        (".lastname", ".firstname"),
        (".other", ".lastname"),
    ];
    for note in [
        "first_name reads /lastname, by its name another value",
        "last_name reads /firstname, by its name another value",
    ] {
        changed(&crossed, &[record(&json!({}))], note, true);
    }
    // The member with the name of the field is empty, or has the same value.
    for members in [json!({"firstname": ""}), json!({"firstname": "May"})] {
        let events = [record(&members)];
        changed(
            &[(".firstname", ".middlename")],
            &events,
            "by its name",
            false,
        );
    }
}

/// FAULTS N1413: the parts of an address come from different items of a list, or the first item is not the preferred one.
#[test]
fn an_address_of_two_items_is_noted() {
    let zip = "first(.book[] | select(.defaultbilling | not)).zip";
    let events = [record(&json!({}))];
    for zip in [zip, ".book[1].zip"] {
        let note = "the parts of one address must come from one item";
        changed(&[(".book[0].zip", zip)], &events, note, true);
    }
    let note = "reads the first item of /book, and defaultbilling is true in another item";
    let book = |first: Value| {
        let other = record(&json!({}));
        let mut items = other["book"].as_array().unwrap().clone();
        items[0]["defaultbilling"] = first;
        items[1]["defaultbilling"] = json!(true);
        record(&json!({"book": items}))
    };
    changed(&[], &[book(json!(false))], note, true);
    changed(&[], &[book(json!(true))], note, false);
    // The flag says nothing about the address.
    let mut languages = record(&json!({}));
    languages["book"][0]["primary_language"] = json!(false);
    languages["book"][1]["primary_language"] = json!(true);
    changed(&[], &[languages], "is true in another item", false);
    let chosen = [(".book[0]", "first(.book[] | select(.defaultbilling))")];
    for note in ["is true in another item", "the parts of one address"] {
        changed(&chosen, &[book(json!(false))], note, false);
    }
}

/// FAULTS N1414: the id of the customer reads a value that many customers have, or an email address.
#[test]
fn a_value_of_many_customers_in_the_place_of_an_id_is_noted() {
    let id = "partner_id = \".entityid\"";
    for (path, note) in [
        (
            ".subsidiary.value",
            "customer.partner_id reads /subsidiary/value, by its name a value of many customers, and no expression reads /entityid",
        ),
        (
            ".entitystatus",
            "customer.partner_id reads /entitystatus, by its name a value of many customers, and no expression reads /entityid",
        ),
    ] {
        let to = format!("partner_id = {path:?}");
        changed(&[(id, &to)], &[record(&json!({}))], note, true);
    }
    let to = "partner_id = \".email\"";
    let external = record(&json!({"external_id": "C-1"}));
    changed(&[(id, to)], &[external], "did you mean /external_id?", true);
}

/// FAULTS N1415: two persons have one id.
#[test]
fn different_persons_with_one_id_are_noted() {
    let note = "examples with different names and email addresses have one customer.partner_id";
    let other = json!({"email": "bob@example.com", "firstname": "Bob", "lastname": "Ray"});
    let married = json!({"email": "ann@example.org", "lastname": "Ray"});
    changed(&[], &[record(&json!({})), record(&other)], note, true);
    changed(&[], &[record(&json!({})), record(&married)], note, false);
    // The letter case of an id counts.
    let [upper, lower] = ["0035e00000Aa", "0035e00000aA"].map(|id| json!({"entityid": id}));
    let mut lower = record(&lower);
    lower
        .as_object_mut()
        .unwrap()
        .extend(other.as_object().unwrap().clone());
    changed(&[], &[record(&upper), lower], note, false);
}

/// FAULTS N1416: a constant after `//`.
#[test]
fn a_constant_for_customers_without_a_value_is_noted() {
    let email = "email = \".email\"";
    for (expression, note) in [
        (
            ".email // \"unknown@example.com\"",
            "email ends in // \"unknown@example.com\", so all customers without a value get this one",
        ),
        (
            ".email // \"\"",
            "email ends in // \"\", so an event without the member clears email at Imprint",
        ),
    ] {
        let to = format!("email = '{expression}'");
        changed(&[(email, &to)], &[record(&json!({}))], note, true);
    }
    for expression in [".email // null", ".email // .mail"] {
        let to = format!("email = '{expression}'");
        changed(&[(email, &to)], &[record(&json!({}))], "ends in //", false);
    }
}

/// FAULTS N1417: the code of a state is cut from its name.
#[test]
fn a_state_cut_from_its_name_is_noted() {
    let note = "state is the first two letters of a name";
    let events = [record(&json!({}))];
    for (expression, is_noted) in [
        (".book[0].state.text | .[0:2] | upper", true),
        (".book[0].state.value | .[0:2] | upper", false),
        (".book[0].state.text | us_state", false),
    ] {
        changed(
            &[(".book[0].state.value", expression)],
            &events,
            note,
            is_noted,
        );
    }
}

/// FAULTS N1418: the source removed the customer, and the event changes the customer like an edit.
#[test]
fn a_removal_that_changes_the_customer_is_noted() {
    let note = "an example says in /eventType that the source removed the customer";
    changed(&[], &[record(&json!({"eventType": "delete"}))], note, true);
    for other in ["address.deleted", "merge_tags", "MERGE", "purge_cache"] {
        let event = record(&json!({"eventType": other}));
        changed(&[], &[event], "that the source removed the customer", false);
    }
    let when = "version = \".changedOn\"";
    let read = format!("{when}\nwhen = '.eventType != \"delete\"'");
    let removed = record(&json!({"eventType": "delete"}));
    changed(
        &[(when, &read)],
        std::slice::from_ref(&removed),
        note,
        false,
    );
    let all = [
        (
            "type = '\"customer\"'",
            "type = \"\\\"customer.\\\\(.eventType)\\\"\"",
        ),
        ("[events.customer]", "[events.\"customer.*\"]"),
        ("[events.customer.update]", "[events.\"customer.*\".update]"),
    ];
    let note = "an example of the type customer.delete changes the customer like an edit";
    changed(&all, std::slice::from_ref(&removed), note, true);
    let one = all.map(|(from, to)| (from, to.replace(".*", ".delete")));
    let one = one.each_ref().map(|(from, to)| (*from, to.as_str()));
    changed(&one, &[removed], note, false);
}
