//! The notes of `check` about bodies that are a list, rows before a change, and values that are no ids.

use serde_json::{Value, json};

use super::{SOURCE, check_changed, event};

/// Changes the mapping of [`SOURCE`], and tests whether `check` has a note.
#[track_caller]
fn changed(changes: &[(&str, &str)], events: &[Value], note: &str, is_noted: bool) {
    check_changed(SOURCE, changes, events, (note, is_noted));
}

/// Returns a change that divides the body with an expression.
fn split(expression: &str) -> (&'static str, String) {
    (
        "id = \".id\"",
        format!("split = '{expression}'\nid = \".id\""),
    )
}

/// FAULTS N1550: the body is a list, and an expression has an index.
#[test]
fn an_index_in_an_event_of_a_list_is_no_index_of_the_body() {
    let mails = |first: bool| json!({"name": "Ann Poe", "mails": [{"primary": !first, "email": "a@example.com"}, {"primary": first, "email": "b@example.com"}]});
    let mut other = event("2", &mails(false));
    other["cid"] = json!("c2");
    let body = json!([event("1", &mails(true)), other.clone()]);
    let second = json!([other, event("1", &mails(true))]);
    let (from, to) = split(".[]");
    for email in [
        ".mails | sort_by(.primary | not) | .[0].email",
        ".mails | first(.[] | select(.primary)) | .email",
        ".name | split(\" \") | \"\\(.[0])@example.com\"",
    ] {
        let email = format!("email = '{email}'\nstate = ");
        let changes = [(from, &*to), ("state = ", &*email)];
        let bodies = [body.clone(), second.clone()];
        changed(&changes, &bodies, "reads item", false);
    }
    let first = split(".[0]");
    changed(&[(first.0, &*first.1)], &[body], "reads item", false);
}

/// FAULTS N1551: the second line of the street is a member of its own.
#[test]
fn an_unread_second_line_is_noted() {
    let note = "no expression reads /address_line_2 beside it: Imprint gets an address without it. Map it to street_line2";
    let members = json!({"address_line_1": "12 Elm St", "address_line_2": "Suite 600"});
    for (lines, is_noted) in [
        ("street_line1 = \".address_line_1\"", true),
        (
            "street_line1 = \".address_line_1 | line(1; 2)\"\nstreet_line2 = \".address_line_1 | line(2; 2)\"",
            true,
        ),
        (
            "street_line1 = \".address_line_1\"\nstreet_line2 = \".address_line_2\"",
            false,
        ),
    ] {
        let lines = format!("{lines}\nstate = ");
        changed(
            &[("state = ", &lines)],
            &[event("1", &members)],
            note,
            is_noted,
        );
    }
}

/// FAULTS N1552: the id of another object is no id of the event.
#[test]
fn the_id_of_another_object_is_not_proposed() {
    let note = "The body has a value at /data/id";
    let without_id = |members: &Value| {
        let mut event = event("1", members);
        event.as_object_mut().unwrap().remove("id");
        event
    };
    let both = without_id(&json!({"event_id": "1", "data": {"id": "c1"}}));
    let wrapped = without_id(&json!({"data": {"id": "1"}}));
    changed(&[], &[both], note, false);
    changed(&[], &[wrapped], note, true);
}

/// FAULTS N1553: each event of a body gets the first record, or the split takes other items than the first.
#[test]
fn a_split_that_loses_records_is_noted() {
    let body = json!([event("1", &json!({})), event("2", &json!({}))]);
    let all = "body.split makes an event of each item of the body, and reads .[0] too";
    for (expression, note, is_noted) in [
        (". as $b | .[] | $b[0] + {id: .id}", all, true),
        (
            ". as $b | .[] | $b[0] + {id: .id}",
            "takes only the first item",
            false,
        ),
        (
            ".[-1]",
            "takes only the last item of the body, and the other items change nothing",
            true,
        ),
        ("last", "takes only the last item of the body", true),
        // The first item can be a header.
        (".[1:][]", "takes only", false),
        (
            ".[] | {id, kind, cid, ts, last: .state}",
            "takes only",
            false,
        ),
        (".[]", "takes only", false),
    ] {
        let (from, to) = split(expression);
        changed(&[(from, &*to)], std::slice::from_ref(&body), note, is_noted);
    }
}

/// FAULTS N1556: the body is a list, and no expression divides it.
#[test]
fn a_list_without_a_split_is_noted() {
    let note = "split = \".[]\" in [body] makes an event of each item of the body";
    let body = json!([event("1", &json!({}))]);
    let settings = "id = '.[0].id'\non_invalid = \"park\"\ntype = '.[0].kind'";
    let alone = [("id = \".id\"\ntype = \".kind\"", settings)];
    changed(&alone, std::slice::from_ref(&body), note, true);
    let other_schema = "it is probably the schema of another event";
    changed(&alone, std::slice::from_ref(&body), other_schema, false);
    let (from, to) = split(".[]");
    changed(&[(from, &*to)], &[body], note, false);
    // The event is a pair.
    let pair = json!(["changed", event("1", &json!({}))]);
    let settings = "id = '.[1].id'\ntype = '.[0]'";
    changed(
        &[("id = \".id\"\ntype = \".kind\"", settings)],
        &[pair],
        note,
        false,
    );
}

/// FAULTS N1558: another example has the path, so it is right. A wrong path is named once for all items.
#[test]
fn a_path_that_another_item_has_is_no_wrong_path() {
    let item = |id: &str, members: Value| event(id, &members);
    let phones = json!({"phones": [{"type": "Mobile", "number": "+14155552671"}]});
    let body = json!([item("1", json!({"phone": "x"})), item("2", phones)]);
    let phone = "phone = 'first(.phones[] | select(.type == \"mobile\") | .number)'\nstate = ";
    let (from, to) = split(".[]");
    let changes = [(from, &*to), ("state = ", phone)];
    changed(
        &changes,
        std::slice::from_ref(&body),
        "no example has /0/phones",
        false,
    );

    let changes = [(from, &*to), (".person.firstName", ".person.firstname")];
    changed(
        &changes,
        std::slice::from_ref(&body),
        "no example has /0/person/firstname",
        true,
    );
    changed(
        &changes,
        &[body],
        "no example has /1/person/firstname",
        false,
    );
}

/// FAULTS N1559: a counter is no time.
#[test]
fn a_counter_that_is_read_as_a_time_is_named() {
    let counter =
        "version: the number is too small for the time since 1970; if it counts the changes";
    let seconds = "write moment(\"s\")";
    for (unit, value, note, is_noted) in [
        ("ms", 3, counter, true),
        ("ms", 3, seconds, false),
        ("s", 3, counter, true),
        ("ms", 1_795_766_619, seconds, true),
        ("ms", 1_795_766_619, counter, false),
        ("s", 1_795_766_619, counter, false),
    ] {
        let version = format!("version = '.n | moment(\"{unit}\")'");
        let events = [event("1", &json!({"n": value}))];
        changed(&[("version = \".ts\"", &version)], &events, note, is_noted);
    }
}

/// FAULTS N1555, N1561: the row after the change has another name, or a field reads the row before it.
#[test]
fn a_row_of_a_change_that_is_not_the_right_one_is_noted() {
    let row = json!({"state": "NV", "person": {"firstName": "Ann"}, "zip": "89501"});
    let events = [event(
        "1",
        &json!({"record": row, "previous": {"state": "CA"}}),
    )];
    let images = |after: &str| {
        format!(
            "only_changed.before = \".previous\"\nonly_changed.after = \"{after}\"\nversion = \".ts\""
        )
    };
    let typo = "no example has /records, which only_changed.after reads, so the bridge finds no change: correct the path; did you mean /record?";
    let old = "state reads /previous/state, a value before the change: read it from the row of only_changed.after";
    for (after, state, note, is_noted) in [
        (".records", ".record.state", typo, true),
        (
            ".records",
            ".record.state",
            "read the fields from this row",
            false,
        ),
        (".record", ".record.state", typo, false),
        (".record", ".previous.state", old, true),
        (".record", ".record.state", old, false),
        (".record", ".record.state // .previous.state", old, false),
    ] {
        let images = images(after);
        let state = format!("{state:?}");
        let changes = [
            ("version = \".ts\"", &*images),
            ("\".state\"", &*state),
            ("\".person.firstName\"", "\".record.person.firstName\""),
            ("\".zip\"", "\".record.zip\""),
        ];
        changed(&changes, &events, note, is_noted);
    }
}

/// FAULTS N1562: the mapping has no version, and the record has the time of its change.
#[test]
fn a_time_of_change_without_a_version_is_noted() {
    let note = "the mapping has no version, so a late event can replace newer values, and no expression reads /modifiedAt";
    let events = |name: &str| [event("1", &json!({name: "2026-01-01T00:00:00Z"}))];
    let none = ("version = \".ts\"\nversion_domain = \"time\"", "");
    changed(&[none], &events("modifiedAt"), note, true);
    changed(&[none], &events("seenAt"), note, false);
    changed(&[], &events("modifiedAt"), note, false);
}

/// FAULTS N1563: the id of the customer is a name or a phone number, or only the digits of an id.
#[test]
fn a_value_without_a_field_as_the_id_is_noted() {
    let name =
        "by its name no id of a customer: customers with an equal value there are one customer";
    let members = json!({"name": "Ann Poe", "phoneNumber": "+1 415 555 2671", "last": "0031"});
    for (rule, note, is_noted) in [
        (".name", name, true),
        (".phoneNumber | digits", name, true),
        (".cid", name, false),
        (".last", name, false),
    ] {
        let rule = format!("customer.partner_id = '{rule}'");
        let change = [("customer.partner_id = \".cid\"", &*rule)];
        changed(&change, &[event("1", &members)], note, is_noted);
    }
}

/// FAULTS N1564: a constant after `//` stands before a function.
#[test]
fn a_constant_alternative_before_a_function_is_noted() {
    let note = "so all customers without a value get this one: leave out the constant";
    for (rule, is_noted) in [
        (".phone // \"+14155550000\" | e164(\"US\")", true),
        (".phone // .mobile | e164(\"US\")", false),
        (".phone // null | e164(\"US\")", false),
        (
            ".phone // \"none\" | if . == \"none\" then empty else e164(\"US\") end",
            false,
        ),
    ] {
        let phone = format!("phone = '{rule}'\nstate = ");
        let events = [event("1", &json!({"phone": "4155552671"}))];
        changed(&[("state = ", &phone)], &events, note, is_noted);
    }
}
