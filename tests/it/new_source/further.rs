//! Tests of drafts from the samples of a CRM with an id in each event, deletions, invalid samples, and custom fields.

use std::fs;

use serde_json::{Value, json};

use super::{checked_draft, draft, drafted, has_line, run_in, says};
use crate::commands::text;

/// An event of a CRM in the number `number`. All events are about one customer.
fn event(number: u8, event_type: &str, changes: &Value) -> Value {
    let mut event = json!({
        "type": event_type, "locationId": "loc-1", "id": "c-9", "webhookId": format!("w-{number}"),
        "timestamp": format!("2026-11-26T10:00:{number:02}Z"), "dateUpdated": format!("2026-11-26T09:00:{number:02}Z"),
        "email": "ann@example.com", "phone": "+14155552671", "firstName": "Ann", "dateOfBirth": "1990-02-03T00:00:00Z",
        "customFields": [{"id": "f-7", "value": "gold"}],
    });
    let members = event.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
        if value == "-" {
            members.remove(name);
        }
    }
    event
}

/// FAULTS N670: each event has an id with a name that some systems use for the id of a setting.
#[test]
fn an_id_that_differs_in_every_sample_is_the_events_id_or_a_candidate() {
    let samples = |name: &str| -> Vec<Value> {
        let sample = |number: u8| {
            let mut event = event(number, "ContactUpdate", &json!({"webhookId": "-"}));
            event[name] = json!(format!("w-{number}"));
            event
        };
        (1..4).map(sample).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &samples("webhookId"), "");
    has_line(&toml, "id = \".webhookId\"");
    assert!(!report.contains("`.webhookId`"), "{report}");

    for name in ["callId", "call_uuid"] {
        let folder = tempfile::tempdir().unwrap();
        let (toml, report) = drafted(folder.path(), &samples(name), "");
        has_line(&toml, "id = \"digest\"");
        says(
            &report,
            "because no member has a name that the draft knows as the name of an event's id)",
        );
        says(
            &report,
            &format!("These ids differ in every sample: `.{name}`."),
        );
        says(
            &report,
            "`split = '. | with_entries(select(.key != \"timestamp\"))'`",
        );
        // The id of an event is no candidate for the customer's id.
        says(&report, "Other ids in the samples: `.locationId`.");
    }

    // The same value in each sample is the id of a setting.
    let folder = tempfile::tempdir().unwrap();
    let same = [1, 2].map(|number| event(number, "ContactUpdate", &json!({"webhookId": "w-1"})));
    let (toml, report) = drafted(folder.path(), &same, "");
    has_line(&toml, "id = \"digest\"");
    assert!(!report.contains("`.webhookId`"), "{report}");

    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[event(1, "ContactUpdate", &json!({}))], "");
    has_line(&toml, "id = \"digest\"");
    says(&report, "If `.webhookId` has another value in each event,");
}

/// FAULTS N670: the expression that the draft proposes removes one member of the body.
#[test]
fn the_proposed_split_makes_a_second_delivery_a_duplicate() {
    let folder = tempfile::tempdir().unwrap();
    let sample = event(1, "ContactUpdate", &json!({"webhookId": "-"}));
    let toml = checked_draft(folder.path(), "crm3", &[sample], "");
    let split = "[body]\nsplit = '. | with_entries(select(.key != \"timestamp\"))'";
    let file = folder.path().join("config/sources/crm3.toml");
    fs::write(&file, toml.replace("[body]", split)).unwrap();
    let checked = run_in(folder.path(), &["check"]);
    let report = format!("{}{}", text(&checked.stdout), text(&checked.stderr));
    assert!(checked.status.success(), "{report}");
}

/// FAULTS N671: a sample says that the source deleted or merged a customer, with all values of the customer.
#[test]
fn a_deletion_is_ignored_and_never_drafted_as_an_update() {
    for removal in [
        "ContactDelete",
        "contact.merged",
        "contact_destroyed",
        "contacts.removed",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let samples = [
            event(1, "ContactCreate", &json!({})),
            event(2, removal, &json!({})),
        ];
        let (toml, report) = drafted(folder.path(), &samples, "");
        has_line(&toml, &format!("ignore = [\"{removal}\"]"));
        assert!(!toml.contains(&format!("[events.\"{removal}\"")), "{toml}");
        says(
            &report,
            &format!(
                "The event type \"{removal}\": its name says that the source deleted or merged the customer"
            ),
        );
        let request = folder
            .path()
            .join("config/sources/crm3/crm3-1.request.json");
        assert_eq!(fs::read_to_string(request).unwrap().trim(), "\"ignored\"");
    }
    let folder = tempfile::tempdir().unwrap();
    let (toml, _) = drafted(folder.path(), &[event(1, "ContactDelete", &json!({}))], "");
    has_line(&toml, "ignore = [\"ContactDelete\"]");
    assert!(!toml.contains("[events."), "{toml}");
}

/// FAULTS N672: one of the samples is an invalid event.
#[test]
fn an_invalid_sample_removes_no_setting() {
    let invalid = [
        json!({"email": "not-an-address"}),
        json!({"email": 5}),
        json!({"phone": "555-2671"}),
        json!({"phone": "call me"}),
        json!({"dateUpdated": "2026-11-26 13:00:00"}),
        json!({"dateUpdated": "-"}),
        json!({"dateUpdated": 5}),
        json!({"id": "-"}),
        json!({"id": {"a": 1}}),
        json!({"webhookId": "-"}),
        json!({"type": "-"}),
        json!({"firstName": 5}),
        json!({"state": "Nevadaa"}),
    ];
    for invalid in invalid {
        let folder = tempfile::tempdir().unwrap();
        let samples = [
            event(
                1,
                "ContactUpdate",
                &json!({"state": "NV", "city": "Reno", "address1": "1 Main St"}),
            ),
            event(2, "ContactUpdate", &json!({"email": "bob@example.com"})),
            event(3, "ContactUpdate", &invalid),
        ];
        let (toml, report) = drafted(folder.path(), &samples, "");
        for line in [
            "id = \".webhookId\"",
            "type = \".type\"",
            "customer.partner_id = \".id\"",
            "version = \".dateUpdated\"",
            "email = \".email\"",
            "phone = \".phone | e164\"",
            "first_name = \".firstName\"",
            "state = \".state | us_state\"",
        ] {
            has_line(&toml, line);
        }
        let refusal = folder
            .path()
            .join("config/sources/crm3/crm3-2.refusal.json");
        assert!(refusal.exists(), "{invalid} {report}");
        let names_member = invalid
            .as_object()
            .unwrap()
            .keys()
            .all(|name| report.contains(name));
        assert!(
            names_member || invalid.get("state").is_some(),
            "{invalid} {report}"
        );
    }
}

/// FAULTS N672: the only sample of a type with a value is invalid; a sample of another type shows that the setting is right.
#[test]
fn a_setting_that_another_type_proves_stays() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        event(1, "ContactCreate", &json!({})),
        event(2, "ContactUpdate", &json!({"phone": "+1 555-2671"})),
    ];
    let (toml, _) = drafted(folder.path(), &samples, "");
    let lines = toml
        .lines()
        .filter(|line| *line == "phone = \".phone | e164\"");
    assert_eq!(lines.count(), 2, "{toml}");
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), samples.get(1..).unwrap(), "");
    has_line(&toml, "# phone = \".phone | e164\"");
    says(
        &report,
        "Some settings of the event type \"ContactUpdate\" are comments, because the bridge refuses their values in the samples: phone, customer_history.phone.",
    );
}

/// FAULTS N673: a property of the customer looks like the type of the event.
#[test]
fn a_property_of_the_customer_is_no_event_type() {
    let lead = json!({"contact_id": "c-9", "first_name": "Ann", "email": "ann@example.com", "contact_type": "lead",
        "date_updated": "2026-11-26T09:00:00Z"});
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), std::slice::from_ref(&lead), "");
    has_line(&toml, "type = '\"customer\"'");
    says(
        &report,
        "The event type: neither the body nor a header of the samples names a type",
    );

    let mut custom = lead.clone();
    custom["customData"] = json!({"event": "ContactUpdate"});
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[custom], "");
    has_line(&toml, "type = \".customData.event\"");
    says(
        &report,
        "The event type: the draft reads `.customData.event`.",
    );

    let mut plain = lead;
    plain["type"] = json!("lead");
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[plain], "");
    has_line(&toml, "type = \".type\"");
    says(
        &report,
        "the draft reads `.type`, with the values \"lead\" in the samples. No value names a change",
    );
}

/// FAULTS N674: custom fields in a list, and a date of birth.
#[test]
fn custom_fields_are_found_by_their_ids_and_hide_no_candidate() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        event(1, "ContactUpdate", &json!({})),
        event(
            2,
            "ContactUpdate",
            &json!({"customFields": [{"id": "f-8", "value": "x"}]}),
        ),
    ];
    let (toml, report) = drafted(folder.path(), &samples, "");
    has_line(
        &toml,
        "# metadata.custom_fields_1 = 'first(.customFields[] | select(.id == \"f-7\") | .value)'",
    );
    has_line(
        &toml,
        "# metadata.custom_fields_2 = 'first(.customFields[] | select(.id == \"f-8\") | .value)'",
    );
    assert!(!toml.contains("customFields[0]"), "{toml}");
    assert!(!report.contains("`.customFields[0].id`"), "{report}");
    assert!(!report.contains("`.dateOfBirth`"), "{report}");
    // The suggestion is right as it stands.
    let file = folder.path().join("config/sources/crm3.toml");
    fs::write(&file, toml.replace("# metadata.custom", "metadata.custom")).unwrap();
    let event = "config/sources/crm3/crm3-0.event.json";
    let explained = run_in(
        folder.path(),
        &["explain", "--source", "crm3", "--reveal", event],
    );
    says(&text(&explained.stdout), "gold");
}

/// FAULTS N675: the sender signs with a private key.
#[test]
fn a_signature_with_a_private_key_is_named_as_what_it_is() {
    let rsa = "A".repeat(344);
    let sample = event(1, "ContactUpdate", &json!({}));
    let folder = tempfile::tempdir().unwrap();
    let headers = format!(
        "x-wh-signature: {rsa}\nx-ghl-signature: {}\nx-region: us\n",
        "A".repeat(88)
    );
    let (toml, report) = drafted(folder.path(), std::slice::from_ref(&sample), &headers);
    has_line(&toml, "kind = \"none\"");
    says(&report, "has a signature that the bridge cannot verify");
    says(
        &report,
        "The draft does not verify these signatures: `x-ghl-signature`, `x-wh-signature`. The bridge verifies HMAC signatures",
    );
    says(
        &report,
        "does not use these request headers of the samples: `x-region`.",
    );
    assert!(
        !report.contains("no header of the samples authenticates"),
        "{report}"
    );

    let folder = tempfile::tempdir().unwrap();
    let headers = format!("x-wh-signature: {rsa}\nx-bank-secret: 0123456789abcdef0123456789\n");
    let (toml, report) = drafted(folder.path(), &[sample], &headers);
    has_line(&toml, "header = \"x-bank-secret\"");
    says(
        &report,
        "The draft does not verify these signatures: `x-wh-signature`.",
    );
}

/// FAULTS N685, N1286: several event types have the same form.
#[test]
fn equal_tables_are_named_with_the_table_that_can_replace_them() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        event(1, "ContactCreate", &json!({})),
        event(2, "ContactUpdate", &json!({})),
        event(3, "ContactTagUpdate", &json!({"firstName": "-"})),
    ];
    let (toml, report) = drafted(folder.path(), &samples, "");
    says(
        &report,
        "The tables of the event types \"ContactCreate\", \"ContactUpdate\" are equal",
    );
    says(
        &report,
        "One table `[events.\"Contact*\"]` can replace them. It also maps the types that the samples do not have",
    );
    assert_eq!(toml.matches("first_name = ").count(), 4, "{toml}");
    let folder = tempfile::tempdir().unwrap();
    let (_, report) = drafted(folder.path(), samples.get(1..).unwrap(), "");
    assert!(!report.contains("are equal"), "{report}");
}

/// FAULTS N947: the event type names one of two objects with the values of a person.
#[test]
fn the_object_that_the_event_type_names_is_the_customer() {
    let party = |id: &str, email: &str| json!({"id": id, "email": email, "name": "Ann Lee"});
    for (object, event_type) in [
        ("contact", "contact.updated"),
        ("Lead", "leads/update"),
        ("customer", "CustomerUpdated"),
    ] {
        let sample = |number: u8| {
            let mut event = json!({"event": event_type, "id": format!("e-{number}"), "occurred_at": "2025-02-13T19:08:07Z",
                "account": party("a-1", "office@example.com")});
            event[object] = party(&format!("c-{number}"), "ann@example.com");
            event
        };
        let folder = tempfile::tempdir().unwrap();
        let (toml, report) = drafted(folder.path(), &[sample(1), sample(2)], "");
        has_line(&toml, &format!("customer.partner_id = \".{object}.id\""));
        has_line(&toml, &format!("email = \".{object}.email\""));
        says(&report, "Other ids in the samples: `.account.id`");
    }
}

/// FAULTS N948: the member with the best name has no value, and a member with another name has one.
#[test]
fn a_member_with_a_value_is_better_than_a_better_name() {
    for (empty, full) in [
        (
            json!({"email": null, "mobile": ""}),
            ["email_work", "work_phone"],
        ),
        (
            json!({"email": "", "phone": null}),
            ["businessEmail", "officePhone"],
        ),
    ] {
        let mut event = json!({"event": "contact.updated", "id": "e-1", "occurred_at": "2025-02-13T19:08:07Z", "contact": empty});
        event["contact"]["id"] = json!("c-1");
        event["contact"][full[0]] = json!("ann@example.com");
        event["contact"][full[1]] = json!("+14155552671");
        let folder = tempfile::tempdir().unwrap();
        let (toml, _) = drafted(folder.path(), &[event], "");
        has_line(&toml, &format!("email = \".contact.{}\"", full[0]));
        has_line(&toml, &format!("phone = \".contact.{} | e164\"", full[1]));
    }
}

/// FAULTS N949: the values of the customer are JSON inside a text.
#[test]
fn json_inside_a_text_is_named() {
    let data = json!({"id": "c-1", "email": "ann@example.com"}).to_string();
    let event = json!({"event": "contact.updated", "id": "e-1", "data": data, "note": "{not JSON"});
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[event], "");
    says(&report, "The member `.data` is a text that contains JSON");
    assert!(!report.contains("The member `.note`"), "{report}");
    assert!(!toml.contains("metadata.data"), "{toml}");
}

/// FAULTS N1358: a time of the event has the name of the creation of an account.
#[test]
fn a_time_after_the_version_is_no_creation_of_an_account() {
    let contact = |created: &str| {
        json!({"eventName": "user.unsubscribed", "email": "a@example.com", "userId": "u-1",
        "profileUpdatedAt": "2026-11-22 03:00:00 +00:00", "createdAt": created})
    };
    let creation = "account_created_at = \".createdAt | utc\"";
    for (created, is_creation) in [
        ("2026-11-22 03:00:01 +00:00", false),
        ("2023-11-22 03:00:01 +00:00", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (toml, _) = drafted(folder.path(), &[contact(created)], "");
        assert_eq!(toml.contains(creation), is_creation, "{toml}");
    }
}

/// FAULTS N1368: a sample is no body of a request.
#[test]
fn a_sample_that_is_no_body_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let event = r#"{"id": 1, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"}"#;
    write("lines.json", &format!("{event}\n{event}\n"));
    write(
        "schema.json",
        r#"{"type": "object", "properties": {"id": {"type": "string"}}}"#,
    );
    write(
        "result.json",
        r#"{"path": "/v1", "body": {"email": "a@example.com"}, "cleared": []}"#,
    );
    for (sample, expected) in [
        ("lines.json", "has an event on each line"),
        ("https://example.com/a.json", "is a URL"),
        ("schema.json", "is probably a JSON Schema"),
        (
            "result.json",
            "is probably the expected result of an example",
        ),
    ] {
        let name = sample.split(['.', ':']).next().unwrap();
        let arguments = ["new-source", name, "--out", ".", "--sample", sample];
        let output = run_in(folder.path(), &arguments);
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
}

/// FAULTS N1394: the option for the file with the headers has a header.
#[test]
fn a_header_in_the_place_of_its_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let event = r#"{"id": 1, "email": "a@example.com", "updated_at": "2025-02-13T19:08:07Z"}"#;
    fs::write(folder.path().join("a.json"), event).unwrap();
    let arguments = [
        "new-source",
        "crm3",
        "--out",
        ".",
        "--sample",
        "a.json",
        "--headers",
    ];
    for header in ["X-Key: canary", "X-Key:canary"] {
        let arguments = [arguments.as_slice(), &[header]].concat();
        let output = run_in(folder.path(), &arguments);
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(printed.contains("--headers names a file"), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}

/// FAULTS N1410: a quote is no character of the name of a header.
#[test]
fn a_quoted_line_of_headers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sample =
        json!({"id": "c-9", "email": "bob@example.com", "updated_at": "2026-01-01T00:00:00Z"});
    for (line, expected) in [
        (
            "\"X-Topic: a\"\n",
            "line 1: a header is written NAME: VALUE, without JSON and quotes",
        ),
        (
            "X-\"Topic\": a\n",
            "line 1: the name of a header has only the characters of a token, such as letters, digits and - (RFC 9110, 5.6.2)",
        ),
    ] {
        let output = draft(folder.path(), "quoted", std::slice::from_ref(&sample), line);
        let report = text(&output.stderr);
        assert!(report.contains(expected), "{expected} in {report}");
        assert_eq!(output.status.code(), Some(1), "{report}");
    }
}
