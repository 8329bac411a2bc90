//! The notes of `check` about mistakes that a reader of the documentation made and that no message named.

use serde_json::{Value, json};

use super::{SOURCE, check_changed, check_note, event};

/// Changes the mapping of [`SOURCE`], and tests whether `check` has a note.
#[track_caller]
fn changed(changes: &[(&str, &str)], events: &[Value], note: &str, is_noted: bool) {
    check_changed(SOURCE, changes, events, (note, is_noted));
}

/// FAULTS N1420: two persons have one numeric id, or one of Imprint's ids.
#[test]
fn different_persons_with_one_number_are_noted() {
    let fields = [
        ("state = \".state\"", "email = \".email\""),
        ("postal_code = \".zip\"", "last_name = \".person.lastName\""),
    ];
    let person = |id: &str, cid: Value, first: &str, last: &str, email: &str| {
        event(
            id,
            &json!({"cid": cid, "email": email, "person": {"firstName": first, "lastName": last}}),
        )
    };
    let ann = person("1", json!(7), "Ann", "Lee", "ann@example.com");
    let bob = person("2", json!(7), "Bob", "Ray", "bob@example.com");
    let other = person("2", json!(8), "Bob", "Ray", "bob@example.com");
    let married = person("2", json!(7), "Ann", "Ray", "ray@example.com");
    let note = "examples with different names and email addresses have one customer.partner_id";
    changed(&fields, &[ann.clone(), bob], note, true);
    changed(&fields, &[ann.clone(), other], note, false);
    changed(&fields, &[ann, married], note, false);
    // Without the email address, both names must differ.
    let names = [(
        "state = \".state\"",
        "last_name = \".person.lastName\"\nstate = \".state\"",
    )];
    let ann = person("1", json!("c"), "Ann", "Lee", "a@example.com");
    let sister = person("2", json!("c"), "Bea", "Lee", "b@example.com");
    changed(&names, &[ann.clone(), sister], note, false);
    let bob = person("2", json!("c"), "Bob", "Ray", "b@example.com");
    changed(&names, &[ann, bob], note, true);
    let imprint = [
        fields[0],
        fields[1],
        ("customer.partner_id", "customer.imprint_id"),
    ];
    let ann = person("1", json!("C-1"), "Ann", "Lee", "ann@example.com");
    let bob = person("2", json!("C-1"), "Bob", "Ray", "bob@example.com");
    let note = "examples with different names and email addresses have one customer.imprint_id";
    changed(&imprint, &[ann, bob], note, true);
}

/// FAULTS N1421: the version is an id.
#[test]
fn a_version_from_an_id_is_noted() {
    let note = |path: &str| format!("version reads {path}, by its name an id: it stays equal");
    let sequence = ("version_domain = \"time\"", "version_domain = \"sequence\"");
    let events = [event("1", &json!({"cid": 7, "contactId": 8, "rev": 9}))];
    for (path, place) in [(".cid", "/cid"), (".contactId", "/contactId")] {
        let change = [("\".ts\"", &*format!("{path:?}")), sequence];
        changed(&change, &events, &note(place), true);
    }
    let rev = [("\".ts\"", "\".rev\""), sequence];
    changed(&rev, &events, "by its name an id", false);
    // The id of an event can grow with each event.
    let id = [("\".ts\"", "\".id\""), sequence];
    changed(
        &id,
        &[event("5", &json!({"id": 5}))],
        "by its name an id",
        false,
    );
}

/// FAULTS N1422: the rule for Imprint's id reads another value.
#[test]
fn a_value_without_the_form_of_imprints_ids_is_noted() {
    let note = "without the form of Imprint's ids, which are UUIDs: if it is the id of the source, write customer.partner_id";
    let uuid = "0F8FAD5B-D9CB-469F-A165-70867728950E";
    for (path, value, is_noted) in [
        (".org", json!("1029384"), true),
        (".EXT_ID", json!("CRM-1"), true),
        (".value", json!("reno"), true),
        (".EXT_ID", json!(uuid), false),
        (".imprint_ref", json!("C-1"), false),
        (".absent", json!(null), false),
    ] {
        let rule = format!("customer.imprint_id = {path:?}\ncustomer.partner_id = \".cid\"");
        let change = [("customer.partner_id = \".cid\"", &*rule)];
        let event = event("1", &json!({path.trim_start_matches('.'): value}));
        changed(&change, &[event], note, is_noted);
    }
}

/// FAULTS N1423: the two rows of a change are exchanged.
#[test]
fn exchanged_rows_of_a_change_are_noted() {
    let note = "if the two are exchanged, Imprint gets the old values";
    let events = [event(
        "1",
        &json!({"previous": {"state": "CA"}, "data": {"state": "NV"}}),
    )];
    for (before, after, is_noted) in [
        (".data", ".previous", true),
        (".previous", ".data", false),
        (".row.new", ".row.old", true),
        (".row.before", ".row.after", false),
        (".changes", ".record", false),
    ] {
        let rows = format!(
            "only_changed.before = {before:?}\nonly_changed.after = {after:?}\nversion = \".ts\""
        );
        changed(&[("version = \".ts\"", &*rows)], &events, note, is_noted);
    }
}

/// FAULTS N1424: the condition is false for every example of its event type, and another event type has examples.
#[test]
fn a_condition_that_no_example_meets_is_noted() {
    let other = "[events.other]\nschema = \"shop.json\"\ncustomer.partner_id = \".cid\"\nversion = \".ts\"\nversion_domain = \"time\"\n[events.other.update]\nfirst_name = \".person.firstName\"\n";
    let source = format!("{SOURCE}{other}");
    let with = |state: &str| {
        let rule = format!("when = '.state == \"{state}\"'\ncustomer.partner_id");
        source.replacen("customer.partner_id", &rule, 1)
    };
    let events = [
        event("1", &json!({})),
        event("2", &json!({"kind": "other"})),
    ];
    let note = "the bridge ignores every example of this event type: none meets the condition `when` = .state == \"ca\"";
    check_note((&with("ca"), &events), note, true);
    check_note((&with("NV"), &events), "ignores every example", false);
}

/// FAULTS N1425: all customers get one tier.
#[test]
fn a_constant_tier_is_noted() {
    for (expression, is_noted) in [
        ("'\"GOLD\"'", true),
        ("'.tier // \"BASIC\"'", false),
        ("'.tier'", false),
    ] {
        let source = format!("{SOURCE}customer_history.loyalty_tier = {expression}\n");
        let events = [event("1", &json!({"tier": "GOLD"}))];
        check_note((&source, &events), "is a constant", is_noted);
    }
}

/// FAULTS N1426: the alternative of a field is another value of the person.
#[test]
fn an_alternative_with_another_value_is_noted() {
    let note = "by its name .person.lastName is another value";
    for (expression, is_noted) in [
        ("'.person.firstName // .person.lastName'", true),
        ("'.person.first // .person.firstName'", false),
        ("'.person.firstName // .person.nickname'", false),
    ] {
        let change = [("\".person.firstName\"", expression)];
        changed(&change, &[event("1", &json!({}))], note, is_noted);
    }
}

/// FAULTS N1427: a list of records, of which the mapping reads the first one.
#[test]
fn a_list_of_which_only_the_first_item_is_read_is_noted() {
    let note =
        "customer.partner_id reads the first item of /content, and another item has another id";
    let change = [
        ("\".cid\"", "\".content[0].cid\""),
        (".person.firstName", ".content[0].firstName"),
    ];
    let item = |cid: &str| json!({"cid": cid, "firstName": "Ann"});
    let content = |items: &[Value]| event("1", &json!({"content": items}));
    changed(&change, &[content(&[item("a"), item("b")])], note, true);
    changed(&change, &[content(&[item("a"), item("a")])], note, false);
    changed(&change, &[content(&[item("a")])], note, false);
    // The items are parts of one customer, or body.split makes an event of each item.
    let parts = [("\".cid\"", "\".content[0].cid\"")];
    changed(&parts, &[content(&[item("a"), item("b")])], note, false);
    let split = [
        ("id = \".id\"", "split = \".content[]\"\nid = \"digest\""),
        ("type = \".kind\"", "type = '\"changed\"'"),
        (".person.firstName", ".firstName"),
        ("\".ts\"", "\".firstName\""),
    ];
    changed(&split, &[content(&[item("a"), item("b")])], note, false);
}

/// FAULTS N1428: a member beside a list has the preferred item.
#[test]
fn a_preferred_value_beside_a_list_is_noted() {
    let note = "did you mean /primary_email?";
    let change = [("state = \".state\"", "email = \".emails[0]\"")];
    let emails = |primary: &str| {
        event(
            "1",
            &json!({"emails": ["a@example.com", "b@example.com"], "primary_email": primary}),
        )
    };
    changed(&change, &[emails("b@example.com")], note, true);
    changed(&change, &[emails("a@example.com")], note, false);
}
