//! The notes of `check` about rules that contradict each other or the examples, so that Imprint gets a wrong value or nothing.

use serde_json::{Value, json};

use super::{SOURCE, check_note, event};

/// A record of a CRM with objects of other records, and a mapping that is right for it.
const RECORD: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
id = "digest"
type = '"changed"'
time = ".changedOn"
[events.changed]
schema = "shop.json"
customer.partner_id = ".Id"
version = ".changedOn"
version_domain = "time"
[events.changed.update]
first_name = ".GivenName"
last_name = ".Surname"
phone = ".MobilePhone"
city = ".City.displayValue"
state = 'if .Country | alpha3 | . == null or is_domestic then .Region else .Region end'
customer_history.first_name = ".GivenName"
customer_history.last_name = ".Surname"
customer_history.phone = ".MobilePhone"
customer_history.address.city = ".City.displayValue"
customer_history.address.country = ".Country | alpha3"
customer_history.account_created_at = ".createdOn"
"#;

fn record(members: &Value) -> Value {
    let mut record = json!({"Id": "c-1", "Name": "Ann Lee", "GivenName": "Ann", "Surname": "Lee", "Phone": "",
        "MobilePhone": "+14155552671", "Zip": "89501", "Region": "NV", "Country": "US", "favorites": ["travel"],
        "City": {"value": "705eb1ce-5c33-4d9a-8a01-2b6f0e7b0001", "displayValue": "Reno"},
        "Account": {"value": "a-1", "displayValue": "Bank"}, "ModifiedBy": {"value": "u-1"},
        "createdOn": "2024-01-01T00:00:00Z", "changedOn": "2026-01-01T00:00:00Z"});
    let members = members.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(members);
    record
}

/// Changes the mapping of the record, and tests whether `check` has a note.
#[track_caller]
fn changed(changes: &[(&str, &str)], note: &str, is_noted: bool) {
    let mut source = RECORD.to_owned();
    for (from, to) in changes {
        assert!(source.contains(from), "{from}");
        source = source.replace(from, to);
    }
    check_note((&source, &[record(&json!({}))]), note, is_noted);
}

#[test]
fn the_right_mapping_of_a_record_has_no_note() {
    for note in [
        "did you mean",
        "have different values",
        "reads it too",
        "is a constant",
        "ignores every example",
        "no example gives",
        "leaves out",
        "which body.time reads",
        "no rule gives it",
        "a part of it",
        "in an example",
        "so it orders no events",
    ] {
        changed(&[], note, false);
    }
}

/// FAULTS N1349: the id of the customer is the id of another record.
#[test]
fn the_id_of_another_record_is_noted() {
    let with = |id: &str, account: &str| {
        record(
            &json!({"Id": id, "Account": {"value": account}, "ModifiedBy": {"value": account}, "ownerId": account}),
        )
    };
    let one = [with("c-1", "a-1"), with("c-2", "a-1")];
    let many = [with("c-1", "a-1"), with("c-2", "a-2")];
    for (path, events, note) in [
        (".Account.value", &one, "the id of another record"),
        (".Account.value", &many, "did you mean /Id?"),
        (
            ".ModifiedBy.value",
            &one,
            "by its name is no id of a customer",
        ),
        (".ModifiedBy.value", &many, "did you mean /Id?"),
        (".ownerId", &one, "by its name is no id of a customer"),
    ] {
        let source = RECORD.replace("partner_id = \".Id\"", &format!("partner_id = {path:?}"));
        check_note((&source, events), note, true);
    }
    // The id of the event lies beside the object of the account, so that it is not meant.
    let of_event = |id: &str, account: &str| {
        let mut event = with(id, account);
        event["eventType"] = json!("account.updated");
        event
    };
    let source = RECORD.replace(".Id", ".Account.value");
    let events = [of_event("e-1", "a-1"), of_event("e-2", "a-2")];
    check_note((&source, &events), "did you mean /Id?", false);
    // The values of the customer stand beside the id.
    let source = SOURCE
        .replace(".cid", ".account.id")
        .replace(".person.", ".account.");
    let account = json!({"account": {"id": "a-1", "firstName": "Ann"}, "uid": "x"});
    let events = [event("1", &account)];
    check_note((&source, &events), "the id of another record", false);
    // One example says nothing, and the values of the customer stand in the object.
    let note = "by its name is no id of a customer";
    for (path, events) in [(".ModifiedBy.value", &one[..1]), (".ownerId", &one[..1])] {
        let source = RECORD.replace("partner_id = \".Id\"", &format!("partner_id = {path:?}"));
        check_note((&source, events), note, false);
    }
    let source = SOURCE
        .replace(".cid", ".owner.id")
        .replace(".person.", ".owner.");
    let owner = json!({"owner": {"id": "o-1", "firstName": "Ann"}});
    let events = [event("1", &owner), event("2", &owner)];
    check_note((&source, &events), note, false);
}

/// FAULTS N1350: the version is the time of the sign-up, beside the time of the change.
#[test]
fn a_version_from_the_sign_up_is_noted() {
    let data =
        json!({"signupDate": "2023-01-04T10:00:00Z", "profileUpdatedAt": "2026-01-01T00:00:00Z"});
    let events = [event("1", &json!({"data": data}))];
    let source = |path: &str| SOURCE.replace("\".ts\"", &format!("\"{path}\""));
    let note = "did you mean /data/profileUpdatedAt?";
    check_note((&source(".data.signupDate"), &events), note, true);
    let note = "so it orders no events";
    check_note((&source(".data.profileUpdatedAt"), &events), note, false);
}

/// FAULTS N1351: two fields with different meanings have the value of one place.
#[test]
fn two_fields_from_one_place_are_noted() {
    for (changes, note) in [
        (
            &[(".GivenName", ".Surname")][..],
            "first_name reads /Surname, and last_name reads it too",
        ),
        (
            &[(".City.displayValue", ".Region")],
            "city reads /Region, and state reads it too",
        ),
        (
            &[(
                "partner_id = \".Id\"",
                "partner_id = \".Id\"\ncustomer.imprint_id = \".Id\"",
            )],
            "customer.imprint_id reads /Id, and customer.partner_id reads it too",
        ),
        (
            &[(".createdOn", ".changedOn")],
            "customer_history.account_created_at reads /changedOn, and version reads it too",
        ),
        (
            &[(
                "\nphone = \".Mobile",
                "\npreferred_language = '.Region | language'\nphone = \".Mobile",
            )],
            "preferred_language reads /Region, and state reads it too",
        ),
    ] {
        changed(changes, note, true);
    }
    // A whole name is divided.
    let divided = [
        ("\".GivenName\"", "'.Name | split(\" \") | first'"),
        ("\".Surname\"", "'.Name | split(\" \") | last'"),
    ];
    changed(&divided, "reads it too", false);
    // The event of a new customer has one time.
    let source = format!("{SOURCE}customer_history.account_created_at = \".ts\"\n");
    let company = json!({"company": {"name": "Bank", "created_at": "2020-01-01T00:00:00Z"}});
    for members in [json!({}), company] {
        check_note((&source, &[event("1", &members)]), "reads it too", false);
    }
    let created = json!({"created_at": "2020-01-01T00:00:00Z"});
    check_note((&source, &[event("1", &created)]), "reads it too", true);
}

/// FAULTS N1352: a field and its copy under `customer_history` read different places.
#[test]
fn a_field_and_its_copy_with_different_values_are_noted() {
    let first = |path: &str| format!("\nfirst_name = {path:?}");
    for (path, is_noted) in [(".Surname", true), (".Nam", true), (".GivenName", false)] {
        let change = [("\nfirst_name = \".GivenName\"", &*first(path))];
        let note = "first_name and customer_history.first_name have different values in an example";
        changed(&change, note, is_noted);
    }
    let change = [("\nphone = \".MobilePhone\"", "\nphone = \".Phone\"")];
    let note = "they read /Phone and /MobilePhone. Imprint gets both";
    changed(&change, note, true);
}

/// FAULTS N1353: a field of the customer is a constant, or an alternative to a path that no example has.
#[test]
fn a_constant_in_the_place_of_a_value_is_noted() {
    for (from, to, note) in [
        (
            "\".City.displayValue\"",
            "'\"Boston\"'",
            "city = \"Boston\" is a constant, so all customers get it",
        ),
        (
            "\".GivenName\"",
            "'.nick // \"Customer\"'",
            "no example has /nick, so first_name has the value after // in every example",
        ),
    ] {
        changed(&[(from, to)], note, true);
    }
    let change = [("\".GivenName\"", "'.GivenName // \"Customer\"'")];
    changed(&change, "the value after //", false);
    let change = [(
        "\nphone = \".Mobile",
        "\nstreet_line2 = 'null'\nphone = \".Mobile",
    )];
    changed(&change, "is a constant", false);
    let source = RECORD.replace("\".Country | alpha3\"", "'\"USA\"'");
    for (members, is_noted) in [
        (json!({"Country": "Canada"}), true),
        (json!({"Country": "USA"}), false),
        (json!({"Country": "US", "ip": {"country": "CA"}}), false),
        (json!({"Country": "n/a"}), false),
    ] {
        let note = "is a constant, and an example has another country in /Country";
        check_note((&source, &[record(&members)]), note, is_noted);
        let note = "is a constant, and";
        check_note((&source, &[record(&members)]), note, is_noted);
    }
}

/// FAULTS N1354: the path of a lookup leads to its id.
#[test]
fn a_uuid_in_the_place_of_a_city_is_noted() {
    let note = "in an example, city: the value is a UUID";
    changed(&[(".City.displayValue", ".City.value")], note, true);
}

/// FAULTS N1355: one of two rules has a typing error, and the other one reads the right path.
#[test]
fn a_typing_error_is_named_although_another_rule_reads_the_path() {
    let first = |path: &str| format!("\nfirst_name = '{path}'");
    for (path, meant) in [
        (".GivnName", "/GivenName"),
        (".givenname", "/GivenName"),
        (".GivnName // \"Customer\"", "/GivenName"),
        (".GivnName // .Name", "/GivenName"),
    ] {
        let change = [("\nfirst_name = \".GivenName\"", &*first(path))];
        changed(&change, &format!("did you mean {meant}?"), true);
    }
    let change = [(
        "\nfirst_name = \".GivenName\"",
        "\nfirst_name = \".given.GivenName\"",
    )];
    changed(&change, "did you mean /GivenName?", true);
    let change = [("\ncity = \".City.", "\ncity = \".Citty.")];
    changed(&change, "did you mean /City/displayValue?", true);
    let split = "split = '. | with_entries(select(.key != \"creatdOn\"))'\n[events.changed]\n";
    let note = "body.split compares the names of members with \"creatdOn\", and no example has this name; did you mean createdOn?";
    changed(&[("[events.changed]\n", split)], note, true);
    let when = [("schema = ", "when = '.favorits != null'\nschema = ")];
    changed(&when, "did you mean /favorites?", true);
    // Both spellings on purpose, and the name of another field.
    let both = [("\".GivenName\"", "'.givenName // .GivenName'")];
    changed(&both, "did you mean", false);
    let other = [(
        "\nphone = \".Mobile",
        "\nemail = \".Surnam\"\nphone = \".Mobile",
    )];
    changed(&other, "did you mean", false);
}

/// FAULTS N1356: the state depends on the country, and no rule gives the country.
#[test]
fn a_mapping_that_only_asks_for_the_country_is_noted() {
    let line = "customer_history.address.country = \".Country | alpha3\"\n";
    changed(
        &[(line, "")],
        "state asks for the country, and no rule gives it",
        true,
    );
    let own = [
        (line, ""),
        (
            "schema = ",
            "address.country = \".Country | alpha3\"\nschema = ",
        ),
    ];
    changed(&own, "no rule gives it", false);
}

/// FAULTS N1357: the member is empty in all examples, and another member has the value.
#[test]
fn a_field_that_every_example_clears_is_noted() {
    let note = "no example gives phone a value: it reads /Phone, and no expression reads /MobilePhone; did you mean /MobilePhone?";
    changed(&[(".MobilePhone", ".Phone")], note, true);
    // The sentence is also true if an example has no such member.
    let mut absent = record(&json!({}));
    absent.as_object_mut().unwrap().remove("Phone");
    let source = RECORD.replace(".MobilePhone", ".Phone");
    let events = [record(&json!({})), absent];
    check_note((&source, &events), note, true);
    let events = [
        record(&json!({})),
        record(&json!({"Phone": "+14155552672"})),
    ];
    check_note((&source, &events), "no example gives", false);
    let zip = [(
        "\nphone = \".Mobile",
        "\npostal_code = \".Phone\"\nphone = \".Mobile",
    )];
    changed(&zip, "no expression reads /Zip; did you mean /Zip?", true);
}

/// FAULTS N1359: a condition reads a member that no example has, so the bridge ignores all events.
#[test]
fn a_condition_that_ignores_every_example_is_noted() {
    let note = "the bridge ignores every example of this event type: `when` reads /isCustomer, which no example has";
    let when = |condition: &str| format!("when = '{condition}'\nschema = ");
    for (condition, is_noted) in [
        (".isCustomer == true", true),
        (".isCustomer != true", false),
        (".Id == \"x\"", false),
    ] {
        changed(&[("schema = ", &when(condition))], note, is_noted);
    }
}

/// FAULTS N1360: no example has the time of the event.
#[test]
fn a_time_that_no_example_has_is_noted() {
    let time = [("time = \".changedOn\"", "time = \".occurredAt\"")];
    changed(
        &time,
        "no example has /occurredAt, which body.time reads",
        true,
    );
}

/// FAULTS N1364: the rows before and after a change are one row.
#[test]
fn equal_rows_of_a_change_are_noted() {
    let images = "only_changed.before = \".City\"\nonly_changed.after = \".City\"\nschema = ";
    let note = "only_changed.before and only_changed.after are equal";
    changed(&[("schema = ", images)], note, true);
}

/// FAULTS N1365: every example has an invalid value, which the bridge leaves out.
#[test]
fn a_field_that_is_left_out_of_every_example_is_noted() {
    let skip = ("schema = ", "on_invalid.city = \"skip\"\nschema = ");
    let change = [
        skip,
        ("\ncity = \".City.displayValue\"", "\ncity = \".City\""),
    ];
    let source = change.iter().fold(RECORD.to_owned(), |source, (from, to)| {
        source.replace(from, to)
    });
    let note = "the bridge leaves out city in every example: The value is an object";
    let two = [record(&json!({})), record(&json!({"Id": "c-2"}))];
    check_note((&source, &two), note, true);
    // One example shows on purpose what the bridge leaves out.
    check_note((&source, &two[..1]), "leaves out", false);
    let mut absent = record(&json!({}));
    absent.as_object_mut().unwrap().remove("City");
    let events = [record(&json!({})), absent.clone(), absent];
    check_note((&source, &events), "leaves out", false);
    changed(&[skip], "leaves out", false);
}

/// FAULTS N1366: one name has the whole name, and the other one has a part of it.
#[test]
fn a_name_inside_the_other_name_is_noted() {
    let note = |whole: &str, part: &str| {
        format!("{whole} has the whole name in /Name, and {part} has a part of it")
    };
    changed(
        &[(".GivenName", ".Name")],
        &note("first_name", "last_name"),
        true,
    );
    changed(
        &[(".Surname", ".Name")],
        &note("last_name", "first_name"),
        true,
    );
    let both = [("\".GivenName\"", "'\"\\(.GivenName) \\(.Surname)\"'")];
    changed(&both, "and last_name has a part of it", true);
}
