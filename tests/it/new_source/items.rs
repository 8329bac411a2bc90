//! Tests that a draft reads the right item of a list, and takes no number of a person or a card.

use std::fs;

use serde_json::{Value, json};

use super::{draft, drafted, example, has_line, run_in, says};
use crate::commands::text;

const TIME: &str = "2025-02-13T19:08:07Z";

/// FAULTS N1047: the first item of the list is an old address, or a fax number.
#[test]
fn the_request_has_the_marked_address_and_no_fax_number() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"data": {"id": "c-9", "date_modified": TIME, "first_name": "Bob",
        "email": [
            {"email_address": "bob.old@example.com", "primary_address": false, "invalid_email": true},
            {"email_address": "bob@example.com", "primary_address": true, "invalid_email": false},
        ],
        "phones": [{"type": "fax", "number": "+14155550000"}, {"type": "mobile", "number": "+14155552671"}]}});
    let (toml, report) = drafted(folder.path(), &[sample], "");
    has_line(
        &toml,
        "email = \".data.email | map(select(.primary_address == true)) | first | .email_address\"",
    );
    has_line(
        &toml,
        "phone = '.data.phones | map(select(.type != \"fax\")) | first | .number | e164'",
    );
    let body = &example(folder.path(), "crm3", "request")["body"];
    assert_eq!(body["email"], "bob@example.com");
    assert_eq!(body["phone"], "+14155552671");
    says(
        &report,
        "have several kinds in the samples (`.type`: \"fax\", \"mobile\"). The draft reads the first item that is not \"fax\" for phone.",
    );

    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "updated_at": TIME,
        "emails": [{"value": "work@corp.example", "type": "work"}, {"value": "bob@example.com", "type": "home"}]});
    let (_, report) = drafted(folder.path(), &[sample], "");
    says(
        &report,
        "The items of the list `.emails` have several kinds in the samples (`.type`: \"home\", \"work\"). The draft reads the first item for email.",
    );
}

/// FAULTS N1046: the sample has the number of a person and of a payment card.
#[test]
fn a_number_of_a_person_or_a_card_is_neither_mapped_nor_copied() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "email": "bob@example.com", "updated_at": TIME, "ssn": "078-05-1120",
        "card_number": "4111111111111111", "billing": {"cvv": 123}, "loyalty_card_number": "L-5"});
    let (toml, report) = drafted(folder.path(), &[sample], "");
    says(
        &report,
        "look like the number of an identity document, a bank account or a payment card: `.billing.cvv`, `.card_number`, `.ssn`.",
    );
    says(
        &report,
        "the bridge refuses an event with the number of a payment card",
    );
    for name in ["metadata.ssn", "metadata.card_number", "metadata.cvv"] {
        assert!(!toml.contains(name), "{toml}");
    }
    has_line(
        &toml,
        "# metadata.loyalty_card_number = \".loyalty_card_number\"",
    );
    let event = example(folder.path(), "crm3", "event");
    for place in ["/ssn", "/card_number"] {
        assert_eq!(event.pointer(place), Some(&json!("replaced-by-new-source")));
    }
    assert_eq!(event["billing"]["cvv"], 0);

    // A number under another name can be the id of a record: the report says why the bridge refuses the sample.
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "email": "bob@example.com", "updated_at": TIME, "note": "4111 1111 1111 1111"});
    let output = draft(folder.path(), "crm3", &[sample], "");
    let report = text(&output.stdout);
    says(
        &report,
        "/note: The value contains the number of a payment card",
    );
    assert!(!report.contains("4111"), "{report}");
}

/// FAULTS N1048: the country of an address is an empty text, or another country.
#[test]
fn an_empty_country_is_the_usa_and_a_foreign_state_has_no_note() {
    let sample = |country: &Value, state: &str| {
        json!({"id": "c-9", "updated_at": TIME, "street": "1 Main St", "city": "Reno", "state": state, "zip": "89501",
            "country": country})
    };
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        sample(&json!(""), "Nevada"),
        sample(&Value::Null, "Nevada"),
        sample(&json!("US"), "Nevada"),
        sample(&json!("DE"), "Bayern"),
    ];
    let (toml, report) = drafted(folder.path(), &samples, "");
    has_line(
        &toml,
        "state = \"if .country | alpha3 | . == null or is_domestic then .state | us_state else .state end\"",
    );
    for number in 0..3 {
        let file = format!("config/sources/crm3/crm3-{number}.request.json");
        let request: Value =
            serde_json::from_slice(&fs::read(folder.path().join(file)).unwrap()).unwrap();
        assert_eq!(request["body"]["state"], "NV", "{number}");
    }
    assert!(!report.contains("in an example,"), "{report}");

    // The old condition takes an empty text for a foreign country.
    let file = folder.path().join("config/sources/crm3.toml");
    let toml = toml.replace(
        "if .country | alpha3 | . == null or is_domestic then .state",
        "if .country == null or (.country | alpha3 | is_domestic) then .state",
    );
    fs::write(file, toml).unwrap();
    let checked = run_in(folder.path(), &["check"]);
    let report = text(&checked.stdout);
    says(
        &report,
        "in an example, state: the value is no state in two letters",
    );
    says(&report, "another branch of the expression gave the value");
    assert!(
        !report.contains("the function us_state makes one"),
        "{report}"
    );
}

/// FAULTS N1049: the event of a deletion has no value of the customer.
#[test]
fn an_empty_event_of_a_deletion_is_ignored_as_a_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let event = |action: &str, data: &Value| {
        json!({"event": {"id": format!("ev-{action}"), "action": action, "date_updated": TIME,
        "object_type": "contact", "object_id": "c-9", "data": data}})
    };
    let samples = [
        event(
            "updated",
            &json!({"id": "c-9", "email": "bob@example.com", "first_name": "Bob"}),
        ),
        event("deleted", &Value::Null),
    ];
    let output = draft(folder.path(), "crm3", &samples, "");
    let report = text(&output.stdout);
    says(
        &report,
        "its name says that the source deleted or merged the customer",
    );
    assert!(
        !report.contains("its sample has no value and no id"),
        "{report}"
    );
}

/// FAULTS N1375: only the second item of a list has the second line of a street.
#[test]
fn a_second_line_in_another_item_of_a_list_is_read() {
    let location = |kind: &str, more: &Value| {
        let mut location = json!({"type": kind, "address": "9 Main St", "city": "Austin", "region": "TX",
            "zipCode": "78701", "country": "US"});
        let more = more.as_object().unwrap().clone();
        location.as_object_mut().unwrap().extend(more);
        location
    };
    let sample = |locations: &Value| json!({"id": "c-9", "updated_at": TIME, "firstName": "Bob", "locations": locations});
    let with_line = location("home", &json!({"address2": "Apt 4B"}));
    let folder = tempfile::tempdir().unwrap();
    let first = sample(&json!([location("work", &json!({})), with_line]));
    let (toml, report) = drafted(folder.path(), &[first], "");
    has_line(&toml, "street_line2 = \".locations[0].address2\"");
    says(
        &report,
        "Imprint keeps the second line of the former address",
    );
    let later = sample(&json!([with_line]));
    fs::write(folder.path().join("later.json"), later.to_string()).unwrap();
    let arguments = ["explain", "--source", "crm3", "later.json", "--reveal"];
    let explained = text(&run_in(folder.path(), &arguments).stdout);
    says(&explained, "Apt 4B");
    // No item has a second line.
    let folder = tempfile::tempdir().unwrap();
    let sample = sample(&json!([
        location("work", &json!({})),
        location("home", &json!({}))
    ]));
    let (toml, _) = drafted(folder.path(), &[sample], "");
    has_line(
        &toml,
        "street_line2 = \".locations[0].address | line(2; 2)\"",
    );
}

/// FAULTS N1407: the state and the country of an address are objects. An address abroad is no address in the USA.
#[test]
fn a_country_in_an_object_is_mapped() {
    for (state, country, path) in [
        (
            json!({"value": "CA", "text": "California"}),
            json!({"value": "US", "text": "United States"}),
            ".value",
        ),
        (
            json!({"id": "5", "name": "California"}),
            json!({"id": "230", "name": "United States"}),
            ".name",
        ),
        (
            json!({"code": "CA", "label": "California"}),
            json!({"code": "US", "label": "United States"}),
            ".code",
        ),
        (
            json!({"id": "CA", "refName": "California"}),
            json!({"id": "US", "refName": "United States"}),
            ".id",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sample = |id: &str, state: &Value, country: &Value| {
            json!({"id": id, "email": "bob@example.com", "updated_at": TIME, "address": {"street": "1 Main St",
                "city": "Reno", "zip": "94110", "state": state, "country": country}})
        };
        let abroad = |value: &Value| {
            let text = value.to_string().replace("United States", "Germany");
            let text = text.replace("US", "DE").replace("CA", "BE");
            serde_json::from_str::<Value>(&text.replace("California", "Berlin")).unwrap()
        };
        let samples = [
            sample("c-8", &state, &country),
            sample("c-9", &abroad(&state), &abroad(&country)),
            sample("c-7", &Value::Null, &Value::Null),
        ];
        let (toml, report) = drafted(folder.path(), &samples, "");
        has_line(
            &toml,
            &format!("customer_history.address.country = \".address.country{path} | alpha3\""),
        );
        has_line(
            &toml,
            &format!(
                "state = \".address | if .country{path} | alpha3 | . == null or is_domestic then .state{path} | us_state else .state{path} end\""
            ),
        );
        assert!(!toml.contains("metadata.country"), "{toml}");
        assert!(!report.contains("for an address in the USA"), "{report}");
        let file = folder
            .path()
            .join("config/sources/crm3/crm3-1.request.json");
        let foreign: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let country = &foreign["body"]["customer_history"]["address"]["country"];
        assert_eq!(country, "DEU", "{foreign:#}");
    }
}

/// FAULTS N1407: a member that is null in every sample does not take the place of an object with the value.
#[test]
fn a_null_beside_a_country_in_an_object_is_not_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let sample = |id: &str| {
        json!({"id": id, "email": "bob@example.com", "updated_at": TIME, "address": {"street": "1 Main St",
            "city": "Toronto", "zip": "M5V 2T6", "country": {"code": "CA", "name": "Canada"}, "country_code": null,
            "state": {"code": "ON", "name": "Ontario"}, "state_code": null}})
    };
    let (toml, _) = drafted(folder.path(), &[sample("c-8"), sample("c-9")], "");
    has_line(
        &toml,
        "customer_history.address.country = \".address.country.code | alpha3\"",
    );
}
