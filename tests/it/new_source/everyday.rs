//! Tests of drafts from the samples of common CRMs: several addresses, ids of records, a type beside the list of events,
//! times without an offset, and a user name.

use std::slice::from_ref;

use serde_json::{Value, json};

use super::{draft, drafted, has_line, says};
use crate::commands::text;

/// An event about the customer `c-9`, with more members.
fn event(members: &Value) -> Value {
    let mut event = json!({
        "event": "contact.updated", "id": "c-9", "email": "ann@example.com", "updated_at": "2026-11-26T10:00:00Z",
    });
    let event_members = event.as_object_mut().unwrap();
    event_members.extend(members.as_object().unwrap().clone());
    event
}

/// FAULTS N910: the customer has several addresses, and only one of them has values in the samples.
#[test]
fn the_address_with_values_is_the_address_of_the_draft() {
    for (members, lines) in [
        (
            json!({
                "ADDRESS_MAIL_STREET": "1 Main St", "ADDRESS_MAIL_CITY": "Reno", "ADDRESS_MAIL_POSTCODE": "89501",
                "ADDRESS_OTHER_STREET": null, "ADDRESS_OTHER_CITY": null, "ADDRESS_OTHER_POSTCODE": null,
            }),
            [
                "city = \".ADDRESS_MAIL_CITY\"",
                "postal_code = \".ADDRESS_MAIL_POSTCODE | us_zip\"",
            ],
        ),
        (
            json!({
                "ADDRESS_MAIL_STREET": "1 Main St", "ADDRESS_MAIL_CITY": "Reno", "ADDRESS_MAIL_POSTCODE": "89501",
                "ADDRESS_OTHER_STREET": "2 Side St", "ADDRESS_OTHER_CITY": "Elko", "ADDRESS_OTHER_POSTCODE": "89801",
            }),
            [
                "city = \".ADDRESS_MAIL_CITY\"",
                "postal_code = \".ADDRESS_MAIL_POSTCODE | us_zip\"",
            ],
        ),
        (
            json!({
                "address_home_street": null, "address_home_city": null, "address_home_zip": null,
                "address_work_street": "1 Main St", "address_work_city": "Reno", "address_work_zip": "89501",
            }),
            [
                "city = \".address_work_city\"",
                "postal_code = \".address_work_zip | us_zip\"",
            ],
        ),
        (
            json!({
                "mailingstreet": "1 Main St", "mailingcity": "Reno", "mailingzip": "89501",
                "otherstreet": "", "othercity": "", "otherzip": "",
            }),
            [
                "city = \".mailingcity\"",
                "postal_code = \".mailingzip | us_zip\"",
            ],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (toml, _) = drafted(folder.path(), &[event(&members)], "");
        for line in lines {
            has_line(&toml, line);
        }
    }
}

/// FAULTS N911: the body has the id of the record beside the type of the event, and there is only one sample.
#[test]
fn the_id_of_a_record_is_not_the_id_of_an_event() {
    for name in ["record_id", "recordId", "entity_id", "contact_id"] {
        for id in ["c-9", "r-4"] {
            let mut sample = json!({
                "event": "contact.updated",
                "data": {"id": "c-9", "email": "ann@example.com", "updated_at": "2026-11-26T10:00:00Z"},
            });
            sample[name] = json!(id);
            let folder = tempfile::tempdir().unwrap();
            let (toml, _) = drafted(folder.path(), &[sample], "");
            has_line(&toml, "id = \"digest\"");
            has_line(&toml, "customer.partner_id = \".data.id\"");
        }
    }
    // A name of an event's id with the value of the customer's id.
    let sample = event(&json!({"log_id": "c-9"}));
    let folder = tempfile::tempdir().unwrap();
    let (toml, _) = drafted(folder.path(), &[sample], "");
    has_line(&toml, "id = \"digest\"");
}

/// FAULTS N912: the body has the type of the change beside the list of the customers, and each customer has a kind.
#[test]
fn a_type_beside_the_list_of_customers_is_the_type_of_each_event() {
    let body = |event: &str, second: u8| {
        let time = format!("2026-11-26T10:00:0{second}Z");
        let person = json!({
            "id": "c-9", "type": "person", "firstName": "Ann", "updatedAt": time,
            "emailAddresses": [{"id": 4, "address": "ann@example.com"}],
        });
        json!({"event": event, "payload": [person]})
    };
    let samples = [
        body("party/updated", 1),
        body("party/created", 2),
        body("party/deleted", 3),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &samples, "");
    has_line(
        &toml,
        "split = '.event as $type | .payload[] | . + {\"event\": $type}'",
    );
    has_line(&toml, "type = \".event\"");
    has_line(&toml, "ignore = [\"party/deleted\"]");
    has_line(&toml, "[events.\"party/updated\"]");
    assert!(!report.contains("No value names a change"), "{report}");
}

/// FAULTS N913: the time of the change has no offset, and its name says UTC or nothing.
#[test]
fn a_time_without_an_offset_has_a_suggestion_that_the_bridge_reads() {
    for name in [
        "DATE_UPDATED_UTC",
        "modifiedtime",
        "updatedAtUtc",
        "changed_on",
    ] {
        let mut sample = event(&json!({"updated_at": null}));
        sample.as_object_mut().unwrap().remove("updated_at");
        sample[name] = json!("2026-11-26 10:00:00");
        let folder = tempfile::tempdir().unwrap();
        let (toml, report) = drafted(folder.path(), &[sample.clone()], "");
        let suggestion = format!("version = '\"\\(.{name})Z\" | utc'");
        has_line(&toml, &format!("# {suggestion}"));
        says(
            &report,
            "has no offset from UTC, so it does not name a moment. If the source writes its times in UTC",
        );
        // The suggested line is right without a change.
        let folder = folder.path();
        let used = toml.replace("# version", "version");
        std::fs::write(folder.join("config/sources/crm3.toml"), used).unwrap();
        let checked = super::run_in(folder, &["check"]);
        let report = text(&checked.stdout);
        assert!(report.contains("ordered by version"), "{report}");
    }
    let sample = event(&json!({"updated_at": null, "last_modified_utc": "2026-11-26T10:00:00Z"}));
    let folder = tempfile::tempdir().unwrap();
    let (toml, _) = drafted(folder.path(), &[sample], "");
    has_line(&toml, "version = \".last_modified_utc\"");
}

/// FAULTS N935: the decisions of the draft fit its settings.
#[test]
fn the_draft_does_not_ask_for_what_it_has_set() {
    let list = json!([event(&json!({})), event(&json!({"id": "c-10"}))]);
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[list], "");
    has_line(&toml, "split = \".[]\"");
    assert!(!report.contains("reads only the first one"), "{report}");

    let mut sample = event(&json!({}));
    sample.as_object_mut().unwrap().remove("event");
    sample["action"] = json!("edited");
    let folder = tempfile::tempdir().unwrap();
    let (_, report) = drafted(folder.path(), &[sample], "");
    assert!(!report.contains("No value names a change"), "{report}");

    // `vtiger:0123456789abcdef-password` in base64, from Python's module base64.
    let header = "authorization: Basic dnRpZ2VyOjAxMjM0NTY3ODlhYmNkZWYtcGFzc3dvcmQ=";
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[event(&json!({}))], header);
    has_line(&toml, "user = \"vtiger\"");
    assert!(!toml.contains("0123456789abcdef"), "{toml}");
    assert!(!report.contains("Replace the user name"), "{report}");
}

/// FAULTS N916: the file of a sample is a whole HTTP request, or no JSON at all.
#[test]
fn a_sample_that_is_no_body_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (content, cause) in [
        (
            "POST /hook HTTP/1.1\r\nHost: a\r\n\r\n{\"id\": 1}",
            "the head of an HTTP message",
        ),
        (
            "content-type: application/json\n\n{\"id\": 1}",
            "the head of an HTTP message",
        ),
        ("id,email\n1,a@example.com\n", "begins with a word"),
        ("{\"id\": {{contact.id}}}", "a placeholder such as {{id}}"),
        ("{\"id\": \u{201c}1\u{201d}}", "typographic quotes"),
    ] {
        std::fs::write(folder.path().join("capture"), content).unwrap();
        let arguments = ["new-source", "crm4", "--out", ".", "--sample", "capture"];
        let output = super::run_in(folder.path(), &arguments);
        let errors = text(&output.stderr);
        assert!(errors.contains(cause), "{cause} in {errors}");
    }
    let output = draft(folder.path(), "crm5", &[event(&json!({}))], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// FAULTS N1250: the body looks like a `CloudEvent`, and the sender posts it as plain JSON. A source of such events would answer
/// each of its requests with status 415.
#[test]
fn a_cloud_event_that_comes_as_plain_json_gets_a_table_body() {
    let sample = json!({
        "specversion": "1.0", "id": "e-1", "source": "/crm", "type": "crm.contact.updated", "time": "2026-11-26T10:00:00Z",
        "data": {"customerId": "c-9", "email": "ann@example.com", "updatedAt": "2026-11-26T10:00:00Z"},
    });
    let folder = tempfile::tempdir().unwrap();
    let headers = "Content-Type: application/json\n";
    let (toml, _) = drafted(folder.path(), from_ref(&sample), headers);
    for line in ["format = \"json\"", "id = \".id\"", "type = \".type\""] {
        has_line(&toml, line);
    }
    for headers in ["", "Content-Type: application/cloudevents+json\n"] {
        let folder = tempfile::tempdir().unwrap();
        let (toml, _) = drafted(folder.path(), from_ref(&sample), headers);
        assert!(!toml.contains("[body]"), "{toml}");
    }
}

/// FAULTS N1261: the same request was captured twice.
#[test]
fn a_sample_that_repeats_another_is_no_second_event() {
    let sample = json!({
        "id": "evt-77aa", "topic": "contact.updated", "created_at": 1_764_140_401,
        "data": {"item": {"id": "c-9", "email": "ann@example.com", "updated_at": 1_764_140_400}},
    });
    let folder = tempfile::tempdir().unwrap();
    let (toml, _) = drafted(folder.path(), &[sample.clone(), sample], "");
    has_line(&toml, "id = \".id\"");
}

/// FAULTS N1262: the first request of many CRMs is a test.
#[test]
fn a_test_event_is_no_sample_of_a_change() {
    let sample = json!({
        "type": "notification_event", "id": null, "topic": "ping", "created_at": 1_764_140_401,
        "data": {"type": "notification_event_data", "item": {"type": "ping", "message": "hello"}},
    });
    let folder = tempfile::tempdir().unwrap();
    // The bridge refuses every sample, because no member names a customer.
    let report = text(&draft(folder.path(), "crm3", &[sample], "").stdout);
    says(
        &report,
        "is \"ping\", so a sample is perhaps a test event of the CRM",
    );
    assert!(
        !report.contains("neither the body nor a header"),
        "{report}"
    );
}
