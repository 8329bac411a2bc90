//! Notes that name the true cause of a value or of a lost change: the country and not the conditions, the letter case and not the
//! path, the split and not the id.

use serde_json::{Value, json};

use super::{SOURCE, check_changed, event};

/// Changes the mapping of [`SOURCE`], and tests whether `check` has a note.
#[track_caller]
fn changed(changes: &[(&str, &str)], events: &[Value], note: &str, is_noted: bool) {
    check_changed(SOURCE, changes, events, (note, is_noted));
}

/// FAULTS N1514: the rule of the country gives no country or a wrong one, and the conditions of the state are right.
#[test]
fn the_rule_of_the_country_is_named() {
    let state = "state = 'if .country | alpha3 | . == null or is_domestic then .state else .state end | if . == \"NV\" then us_state else . end'";
    let conditions = "look at its conditions; no rule gives the country";
    let branches =
        "if this is wrong, correct this rule, otherwise look at the conditions of the branches";
    let german = [event("1", &json!({"state": "Bayern", "country": "DE"}))];
    let american = [event("1", &json!({"state": "NV", "country": "US"}))];
    let country = |expression: &str| {
        format!("customer_history.address.country = '{expression}'\n{state}\npostal_code")
    };
    let change = |country: &str| {
        [
            ("state = \".state\"\n".to_owned(), String::new()),
            ("postal_code".to_owned(), country.to_owned()),
        ]
    };
    for (rule, events, note, is_noted) in [
        (
            ".COUNTRY | alpha3",
            &german,
            "The rule customer_history.address.country = .COUNTRY | alpha3 gives no country, so the bridge takes the address for one in the USA: if this is wrong",
            true,
        ),
        (
            "\"USA\"",
            &german,
            "The rule customer_history.address.country = \"USA\" says that the address is in the USA: if this is wrong",
            true,
        ),
        // The error of the country is the cause.
        (".country", &german, "another branch", false),
        (".country | alpha3", &german, "another branch", false),
        (".country | alpha3", &american, branches, false),
    ] {
        let changes = change(&country(rule));
        let changes: Vec<(&str, &str)> =
            changes.iter().map(|(from, to)| (&**from, &**to)).collect();
        changed(&changes, events, note, is_noted);
    }
    let changes = change(&format!("{state}\npostal_code"));
    let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (&**from, &**to)).collect();
    changed(&changes, &german, &conditions.replace("look", "Look"), true);
}

/// FAULTS N1515: a constant inside `select` has another letter case than the events.
#[test]
fn a_letter_case_inside_a_select_is_noted() {
    let mails = json!({"emails": [{"type": "primary", "email": "a@example.com"}, {"type": "invoicing", "email": "b@example.com"}]});
    let other = json!({"emails": [{"type": "invoicing", "email": "b@example.com"}]});
    let both = json!({"emails": [{"type": "Primary", "email": "a@example.com"}]});
    let note = "email: the expression compares a text with a constant that differs in upper and lower case";
    let email = |kind: &str| {
        format!(
            "email = 'if .emails == [] then null else first(.emails[] | select(.type == \"{kind}\") | .email) end'\nstate = "
        )
    };
    for (kind, events, is_noted) in [
        ("Primary", vec![&mails], true),
        ("primary", vec![&mails], false),
        ("Primary", vec![&mails, &both], false),
        ("primary", vec![&other], false),
        ("invoice", vec![&other], false),
    ] {
        let events: Vec<Value> = (1..)
            .zip(&events)
            .map(|(id, event_)| event(&id.to_string(), event_))
            .collect();
        changed(&[("state = ", &email(kind))], &events, note, is_noted);
        let far = "did you mean /emails/0/email?";
        if is_noted {
            changed(&[("state = ", &email(kind))], &events, far, false);
        }
    }
}

/// FAULTS N1515: a constant in `body.split` has another letter case than the bodies.
#[test]
fn a_letter_case_in_the_split_is_noted() {
    let note = "body.split compares the text in /items/*/kind with a constant that differs in upper and lower case";
    let body = json!({"items": [event("1", &json!({})), event("2", &json!({"kind": "other"}))]});
    for (kind, is_noted) in [("Changed", true), ("changed", false), ("removed", false)] {
        let split = format!("split = '.items[] | select(.kind == \"{kind}\")'\nid = \".id\"");
        let change = [("id = \".id\"", &*split)];
        changed(&change, std::slice::from_ref(&body), note, is_noted);
    }
}

/// FAULTS N1516: the examples have the row before a change, and the events of the type do not get it.
#[test]
fn the_missing_row_before_a_change_has_its_cause() {
    let images = "only_changed.before = \".old\"\nonly_changed.after = \".row\"\nversion = \".ts\"";
    let row = |kind: &str, old: Value| {
        let mut event = event("1", &json!({"kind": kind, "row": {"state": "NV"}}));
        if !old.is_null() {
            event["old"] = old;
        }
        event
    };
    let other_type = "and an example without an event of this type has it: look at body.type";
    let by_split = "which only_changed.before reads, and the events of it do not";
    let absent = "Correct the path, or add an example of a change";
    let full = json!({"state": "CA"});
    let split = "split = \"{id, kind, cid, ts, person, state, zip, row}\"\nid = \".id\"";
    for (split, events, [is_type, is_split, is_absent]) in [
        (
            "id = \".id\"",
            vec![row("changed", json!(null)), row("updated", full.clone())],
            [true, false, false],
        ),
        (
            split,
            vec![row("changed", full.clone())],
            [false, true, false],
        ),
        (
            "id = \".id\"",
            vec![row("changed", json!(null))],
            [false, false, true],
        ),
        (
            "id = \".id\"",
            vec![row("changed", full)],
            [false, false, false],
        ),
    ] {
        let changes = [
            ("version = \".ts\"", images),
            ("\".state\"", "\".row.state\""),
            ("id = \".id\"", split),
            ("[auth]", "ignore = [\"*\"]\n[auth]"),
        ];
        changed(&changes, &events, other_type, is_type);
        changed(&changes, &events, by_split, is_split);
        changed(&changes, &events, absent, is_absent);
    }
}

/// FAULTS N1517: `body.split` makes several events of one change, so they have one id.
#[test]
fn several_events_of_one_body_with_one_id_are_noted() {
    let note = "2 different events of one body have the id \"1\", and the bridge refuses or parks all but the first";
    let body = event("1", &json!({"phones": ["a", "b"]}));
    let equal = event("1", &json!({"phones": ["a", "a"]}));
    let one = event("1", &json!({"phones": ["a"]}));
    for (split, body, is_noted) in [
        (". as $b | .phones[] | $b + {phone: .}", &body, true),
        (". as $b | .phones[] | $b + {phone: ., id: .}", &body, false),
        (". as $b | .phones[] | $b + {phone: .}", &one, false),
        // An equal event is a repetition.
        (". as $b | .phones[] | $b + {phone: .}", &equal, false),
    ] {
        let split = format!("split = '{split}'\nid = \".id\"");
        let change = [
            ("id = \".id\"", &*split),
            ("state = ", "city = \".phone\"\nstate = "),
        ];
        let events = std::slice::from_ref(body);
        changed(&change, events, note, is_noted);
        changed(&change, events, "different events of the examples", false);
    }
}

/// FAULTS N1518: `body.split` takes a value for all events from the first one.
#[test]
fn a_value_of_the_first_item_for_all_events_is_noted() {
    let note = "body.split makes an event of each item of .items, and reads .items[0] too";
    let body =
        json!({"items": [event("1", &json!({})), event("2", &json!({}))], "meta": [{"a": 1}]});
    for (split, is_noted) in [
        (
            ".items[0].state as $state | .items[] | . + {state: $state}",
            true,
        ),
        (
            "(.items[0] | .zip) as $zip | .items[] | . + {zip: $zip}",
            true,
        ),
        (".meta[0].a as $a | .items[] | . + {a: $a}", false),
        (".items[] | . + {state: .states[0]}", false),
        (".items[]", false),
        // The list of an item, and a list that only a condition reads.
        (
            ".items[] | . + {first: (first(.tags[]? | select(.a)) // .tags[0])}",
            false,
        ),
        ("select(.items[0].kind != null) | .items[]", false),
    ] {
        let split = format!("split = '{split}'\nid = \".id\"");
        let change = [("id = \".id\"", &*split)];
        changed(&change, std::slice::from_ref(&body), note, is_noted);
    }
    // The pipe after a variable takes the first item.
    let split = "split = '.meta as $meta | .items[0] | . + {meta: $meta}'\nid = \".id\"";
    let note = "in an example, body.split takes only the first item of /items";
    changed(&[("id = \".id\"", split)], &[body], note, true);
}

/// FAULTS N1519: the name of a custom field lies inside its definition.
#[test]
fn a_value_by_its_position_among_named_values_is_noted() {
    let note = "a list of named values, which another customer can have in another order: take the item by its";
    let field =
        |id: &str, value: &str| json!({"definition": {"type": "f", "id": id}, "value": value});
    let flat = |id: &str, value: &str| json!({"id": id, "value": value});
    let phone = |value: &str| json!({"type": "mobile", "value": value});
    let named = json!({"fields": [field("city", "Reno"), field("tier", "GOLD")]});
    let keyed =
        json!({"fields": [{"key": "city", "value": "Reno"}, {"key": "tier", "value": "GOLD"}]});
    let preferred = json!({"fields": [{"key": "city", "primary": true, "value": "Reno"}, {"key": "tier", "primary": false, "value": "GOLD"}]});
    let nested = json!({"lists": [{"id": "a", "fields": [field("city", "Reno"), field("tier", "GOLD")]}, {"id": "b", "fields": []}]});
    let flat = json!({"fields": [flat("city", "Reno"), flat("tier", "GOLD")]});
    let one = json!({"fields": [field("city", "Reno")]});
    let phones = json!({"fields": [phone("Reno"), phone("Sparks")]});
    for (path, members, is_noted) in [
        (".fields[0].value", &named, true),
        // A number or an id of a record is no name.
        (".fields[0].value", &flat, false),
        (".fields[0].value", &keyed, true),
        (".fields[0].value", &preferred, false),
        (".fields[0].value", &one, false),
        (".fields[0].value", &phones, false),
        (".lists[0].fields[0].value", &nested, true),
        (
            ".fields | first(.[] | select(.definition.id == \"city\") | .value)",
            &named,
            false,
        ),
    ] {
        let city = format!("city = '{path}'\nstate = ");
        changed(
            &[("state = ", &city)],
            &[event("1", members)],
            note,
            is_noted,
        );
    }
}

/// FAULTS N1535: +1 stands before a number that has its country code.
#[test]
fn a_second_country_code_is_noted() {
    let note = "puts +1 before a number that begins with + and has its country code";
    for (rule, phone, is_noted) in [
        ("\"+1\\(.phone | digits)\"", "+49 30 901820", true),
        ("\"+1\\(.phone | digits)\"", "415 555 2671", false),
        ("\"+1\\(.phone | digits)\"", "+(415) 555-2671", false),
        (".phone | e164(\"US\")", "+1 415 555 2671", false),
        ("\"+\\(.phone | digits)\"", "+1 415 555 2671", false),
    ] {
        let phone_rule = format!("phone = '{rule}'\nstate = ");
        let events = [event("1", &json!({"phone": phone}))];
        changed(&[("state = ", &phone_rule)], &events, note, is_noted);
    }
}

/// FAULTS N1536: an id or a version is a constant where the event has none.
#[test]
fn a_constant_alternative_of_an_id_is_noted() {
    let note = "Leave out the alternative, so that the bridge refuses such an event";
    for (from, to, is_noted) in [
        ("id = \".id\"", "id = '.id // \"x\"'", true),
        (
            "partner_id = \".cid\"",
            "partner_id = '.cid // \"unknown\"'",
            true,
        ),
        (
            "version = \".ts\"",
            "version = '.ts // \"2020-01-01T00:00:00Z\"'",
            true,
        ),
        (
            "version = \".ts\"",
            "version = '.ts // \"1970-01-01T00:00:00Z\"'",
            false,
        ),
        ("id = \".id\"", "id = '.id // .other'", false),
        ("id = \".id\"", "id = '.id // \"\"'", false),
        ("state = \".state\"", "state = '.state // \"NV\"'", false),
    ] {
        changed(&[(from, to)], &[event("1", &json!({}))], note, is_noted);
    }
}

/// FAULTS N1537: the event of a new customer has no row before the change, and the expression makes one.
#[test]
fn a_row_made_of_nothing_is_noted() {
    let note = "in an example, /old is null or absent, and only_changed.before gives the row after the change all the same";
    let with = |old: Value| {
        [event(
            "1",
            &json!({"old": old, "row": {"state": "NV", "person": {"firstName": "Ann"}, "zip": "89501"}}),
        )]
    };
    for (before, old, is_noted) in [
        (".row + .old", json!(null), true),
        (".row + .old", json!({}), false),
        (
            "select(.old != null and .old != {}) | .row + .old",
            json!(null),
            false,
        ),
        (".row + .old", json!({"state": "CA"}), false),
    ] {
        let images = format!(
            "only_changed.before = '{before}'\nonly_changed.after = \".row\"\nversion = \".ts\""
        );
        let changes = [
            ("version = \".ts\"", &*images),
            ("\".state\"", "\".row.state\""),
            ("\".person.firstName\"", "\".row.person.firstName\""),
            ("\".zip\"", "\".row.zip\""),
        ];
        changed(&changes, &with(old), note, is_noted);
    }
    // The first object of + loses.
    let note = "in an example, /old has another value than the row after the change, and only_changed.before gives the row after it";
    for (before, is_noted) in [
        ("select(.old != null) | .old + .row", true),
        ("select(.old != null) | .row + .old", false),
    ] {
        let images = format!(
            "only_changed.before = '{before}'\nonly_changed.after = \".row\"\nversion = \".ts\""
        );
        let changes = [
            ("version = \".ts\"", &*images),
            ("\".state\"", "\".row.state\""),
            ("\".person.firstName\"", "\".row.person.firstName\""),
            ("\".zip\"", "\".row.zip\""),
        ];
        changed(&changes, &with(json!({"state": "CA"})), note, is_noted);
    }
}

/// FAULTS N1538: the date of birth as the creation of the account, and a creation under another usual name as the version.
#[test]
fn a_date_of_birth_as_the_creation_is_noted() {
    let note = "customer_history.account_created_at reads /birthdate, a date of birth";
    let members = json!({"birthdate": "1970-05-06", "created": "2020-01-01T00:00:00Z"});
    for (rule, is_noted) in [("\"\\(.birthdate)T00:00:00Z\"", true), (".created", false)] {
        let created = format!("customer_history.account_created_at = '{rule}'\nstate = ");
        changed(
            &[("state = ", &created)],
            &[event("1", &members)],
            note,
            is_noted,
        );
    }
    let note = "the time at which the source created the customer: it stays equal";
    let times =
        json!({"DATE_CREATE": "2026-01-01T00:00:00Z", "DATE_MODIFY": "2026-01-02T00:00:00Z"});
    for (path, is_noted) in [(".DATE_CREATE", true), (".DATE_MODIFY", false)] {
        let events = [event("1", &times)];
        changed(
            &[("version = \".ts\"", &format!("version = {path:?}"))],
            &events,
            note,
            is_noted,
        );
    }
}

/// FAULTS N1539: both ids of the customer read one path, and a body has several events.
#[test]
fn one_path_for_both_ids_is_noted_after_a_split() {
    let note = "customer.imprint_id reads /items/0/cid, and customer.partner_id reads it too";
    let body = json!({"items": [event("1", &json!({"iid": "i1"})), event("2", &json!({"cid": "c2", "iid": "i2"}))]});
    for (path, is_noted) in [(".cid", true), (".iid", false)] {
        let id = format!("customer.imprint_id = {path:?}\nversion = ");
        let changes = [
            ("version = ", &*id),
            ("id = \".id\"", "split = \".items[]\"\nid = \".id\""),
        ];
        changed(&changes, std::slice::from_ref(&body), note, is_noted);
    }
}

/// FAULTS N1540: an example has an empty list with the plural of the name in the path.
#[test]
fn a_list_is_no_single_value() {
    let note = "did you mean /person/emails?";
    let events = [event(
        "1",
        &json!({"person": {"firstName": "Ann", "emails": []}}),
    )];
    for path in [".person.email", ".person.email | trim"] {
        let email = format!("email = {path:?}\nstate = ");
        changed(&[("state = ", &email)], &events, note, false);
    }
}
