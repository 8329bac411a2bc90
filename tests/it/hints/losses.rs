//! The notes of `check` about mappings that lose changes, or that change the data of another customer.

use serde_json::{Value, json};

use super::{SOURCE, check_changed, event};

/// Changes the mapping of [`SOURCE`], and tests whether `check` has a note.
#[track_caller]
fn changed(changes: &[(&str, &str)], events: &[Value], note: &str, is_noted: bool) {
    check_changed(SOURCE, changes, events, (note, is_noted));
}

/// FAULTS N1489: the alternative of an absent id is an id of another system.
#[test]
fn an_alternative_id_of_another_system_is_noted() {
    let note = "an example has different ids in /customer/external_id and /customer/id: if they are ids of two systems";
    let choice = |path: &str| format!("customer.partner_id = {path:?}");
    let ids =
        |external: Value, own: Value| json!({"customer": {"external_id": external, "id": own}});
    for (path, members, is_noted) in [
        (
            ".customer.external_id // .customer.id",
            ids(json!("9"), json!(7)),
            true,
        ),
        (
            ".customer.external_id // .customer.id",
            ids(json!("7"), json!(7)),
            false,
        ),
        (
            ".customer.external_id // .customer.id",
            ids(json!(null), json!(7)),
            false,
        ),
        (".customer.external_id", ids(json!("9"), json!(7)), false),
        // An event about an order has the customer inside, and an event about a customer is the customer.
        (".customer.id // .id", ids(json!("9"), json!(7)), false),
    ] {
        let change = [("customer.partner_id = \".cid\"", &*choice(path))];
        changed(&change, &[event("1", &members)], note, is_noted);
    }
}

/// FAULTS N1502: the id of the customer is a value that several customers have.
#[test]
fn a_value_of_a_person_as_the_id_is_noted() {
    let note = "customers with an equal value there are one customer for the bridge";
    let events = [event("1", &json!({"email": "a@example.com"}))];
    for (path, is_noted) in [
        (".person.firstName", true),
        (".zip", true),
        (".state", true),
        (".email", false),
        (".cid", false),
    ] {
        let changes = [
            ("\".cid\"", &*format!("{path:?}")),
            ("state = ", "email = \".email\"\nstate = "),
        ];
        changed(&changes, &events, note, is_noted);
    }
}

/// FAULTS N1503: a list of named values has another order, or fewer items, for another customer.
#[test]
fn a_named_value_by_its_position_is_noted() {
    let note = "take the item by its id, such as first(.[] | select(.id == \"…\"))";
    let items = |ids: &[&str]| {
        let items = ids.iter().map(|id| json!({"id": id, "text": "Reno"}));
        json!({"columns": items.collect::<Vec<_>>()})
    };
    let city = |path: &str| format!("city = {path:?}\nstate = ");
    let both = ["name", "city"];
    let by_id = ".columns | first(.[] | select(.id == 'city')) | .text".replace('\'', "\"");
    for (path, first, second, other, is_noted) in [
        (
            ".columns[1].text",
            &both[..],
            &["city", "phone"][..],
            "c2",
            true,
        ),
        (".columns[1].text", &both, &both, "c2", false),
        // A customer can have another first address than before, and each address has an id of its own.
        (".columns[1].text", &both, &["city", "phone"], "c1", false),
        (".columns[1].text", &both, &["a", "b"], "c2", false),
        (&by_id, &both, &["city", "phone"], "c2", false),
    ] {
        let mut second = items(second);
        second["cid"] = json!(other);
        let events = [event("1", &items(first)), event("2", &second)];
        changed(&[("state = ", &city(path))], &events, note, is_noted);
    }
}

/// FAULTS N1504: the source sends national numbers, and the expression makes numbers of another country of them.
#[test]
fn a_national_number_with_another_country_code_is_noted() {
    let note =
        "a number of the USA without its country code, and makes a number of another country";
    for (rule, phone, country, is_noted) in [
        ("\"+\\(.phone)\"", "4155552671", "US", true),
        (".phone | e164(\"MX\")", "415 555 2671", "US", true),
        (".phone | e164(\"MX\")", "415 555 2671", "MX", false),
        (".phone | e164(\"US\")", "4155552671", "US", false),
        ("\"+\\(.phone)\" | e164", "14155552671", "US", false),
        (".phone | e164", "+524155552671", "US", false),
        // The country code is another member.
        ("\"+\\(.cc)\\(.phone)\" | e164", "5512345678", "US", false),
    ] {
        let fields = format!(
            "phone = '{rule}'\ncustomer_history.address.country = \".country | alpha3\"\nstate = "
        );
        let events = [event(
            "1",
            &json!({"phone": phone, "cc": "52", "country": country}),
        )];
        changed(&[("state = ", &fields)], &events, note, is_noted);
    }
}

/// FAULTS N1505: `body.split` makes an event of the first item only.
#[test]
fn a_split_that_takes_the_first_item_is_noted() {
    let note = "in an example, body.split takes only the first item of /items";
    let item = |id: &str| event(id, &json!({}));
    let two = json!({"items": [item("1"), item("2")]});
    let one = json!({"items": [item("1")]});
    let other = json!({"items": [item("1"), event("2", &json!({"kind": "other"}))]});
    for (split, body, is_noted) in [
        (".items[0]", &two, true),
        ("first(.items[])", &two, true),
        (".items[0:1][]", &two, true),
        (".items[]", &two, false),
        (
            ".items[] | {id, kind, cid, ts, person, state: .states[0], zip}",
            &two,
            false,
        ),
        (
            "first(.items[]) as $first | .items[] | . + {first: $first.id}",
            &two,
            false,
        ),
        (".items[0]", &one, false),
        (".items[] | select(.kind == \"changed\")", &other, false),
    ] {
        let split = format!("split = '{split}'\nid = \".id\"");
        let events = std::slice::from_ref(body);
        changed(&[("id = \".id\"", &split)], events, note, is_noted);
    }
}

/// FAULTS N1506: no field reads the row after the change.
#[test]
fn a_row_that_no_field_reads_is_noted() {
    let note = "no field reads .row, the row of only_changed.after, so the bridge finds no change";
    let row = json!({"state": "NV", "person": {"firstName": "Ann"}, "zip": "89501"});
    let events = [event("1", &json!({"row": row, "old": {"state": "CA"}}))];
    let images = "only_changed.before = \".old\"\nonly_changed.after = \".row\"\nversion = \".ts\"";
    let unread = [("version = \".ts\"", images)];
    let read = [unread[0], ("\".state\"", "\".row.state\"")];
    let near = [unread[0], ("\".state\"", "\".rows.state\"")];
    let quoted = [unread[0], ("\".state\"", "'.[\"row\"].state'")];
    changed(&unread, &events, note, true);
    changed(&near, &events, note, true);
    changed(&read, &events, note, false);
    changed(&quoted, &events, note, false);
    changed(&[], &events, note, false);
}

/// FAULTS N1507: the version is the time of the creation under another usual name.
#[test]
fn a_version_from_the_creation_is_noted() {
    let note = "the time at which the source created the customer: it stays equal";
    let events = [event(
        "1",
        &json!({"c": {"created_datetime": "2026-01-01T00:00:00Z", "updated_datetime": "2026-01-02T00:00:00Z"}}),
    )];
    for (path, is_noted) in [
        (".c.created_datetime", true),
        (".c.updated_datetime", false),
    ] {
        changed(
            &[("\".ts\"", &format!("{path:?}"))],
            &events,
            note,
            is_noted,
        );
    }
}

/// FAULTS N1513: the id of an email address is no id of a record.
#[test]
fn a_part_of_a_customer_is_no_record() {
    let note = "set body.split, which makes an event of each item";
    let item = |id: &str| json!({"id": id, "value": format!("{id}@example.com"), "name": id});
    let events = [event("1", &json!({"mails": [item("m1"), item("m2")]}))];
    let id = ("\".cid\"", "\".mails[0].id\"");
    let email = ("state = ", "email = \".mails[0].value\"\nstate = ");
    let name = ("\".person.firstName\"", "\".mails[0].name\"");
    changed(&[id, email], &events, note, false);
    changed(&[id, email, name], &events, note, true);
}

/// FAULTS N1513: `did you mean` names no path that the expression has.
#[test]
fn a_similar_path_is_another_one() {
    let split =
        "split = '.at as $at | .items[] | {id, kind, cid, ts, person, state, zip}'\nid = \".id\"";
    let body = json!({"items": [event("1", &json!({}))], "sent_at": "2026-01-01T00:00:00Z"});
    let time = ("type = ", "time = \".sent_at\"\ntype = ");
    let changes = [("id = \".id\"", split), time];
    changed(&changes, &[body], "did you mean /sent_at?", false);
}
