//! Tests that a draft takes no doubtful member in silence, and copies no secret.

use std::fs;

use serde_json::{Value, json};

use super::{draft, drafted, example, has_line, run_in, says};
use crate::commands::text;

const TIME: &str = "2025-02-13T19:08:07Z";
const SECRET: &str = "0123456789abcdef0123";

/// An event as a relay posts it: the ids of the notification, the record, and the time of the reading.
fn relayed(read_at: &str, phone_numbers: &Value) -> Value {
    json!({"events": [{
        "event_type": "record.updated", "read_at": read_at, "id": {"object_id": "ob-1", "record_id": "c-9"},
        "actor": {"type": "workspace-member", "id": "staff-1"},
        "record": {
            "id": {"object_id": "ob-1", "record_id": "c-9"}, "created_at": "2024-02-13T19:08:07Z",
            "values": {
                "name": [{"first_name": "Ann", "last_name": "Lee"}],
                "email_addresses": [{"email_address": "ann@example.com"}],
                "phone_numbers": phone_numbers,
                "primary_location": [{"line_1": "1 Main St", "line_2": null, "locality": "Reno", "region": "NV",
                    "postcode": "89501", "country_code": "US"}],
                "loyalty_tier": [{"option": {"title": "Gold"}}],
                "lifetime_value": [{"currency_value": 340.5, "currency_code": "USD"}],
            },
        },
    }]})
}

/// FAULTS N600, N601, N605: the events have an employee, two times, lists with an object in each item, and an empty list.
#[test]
fn the_customer_and_the_time_of_the_reading_are_recognized_in_a_relayed_record() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        relayed(
            "2025-02-13T19:08:07Z",
            &json!([{"phone_number": "+14155552671"}]),
        ),
        relayed("2025-02-13T19:09:07Z", &json!([])),
    ];
    let (toml, report) = drafted(folder.path(), &samples, "");
    for line in [
        "customer.partner_id = \".record.id.record_id\"",
        "version = \".read_at\"",
        "first_name = \".record.values.name[0].first_name\"",
        "street_line1 = \".record.values.primary_location[0].line_1\"",
        "city = \".record.values.primary_location[0].locality\"",
        "postal_code = \".record.values.primary_location[0] | if .country_code | alpha3 | . == null or \
         is_domestic then .postcode | us_zip else .postcode end\"",
        "customer_history.loyalty_tier = \".record.values.loyalty_tier[0].option.title\"",
        "# phone = \"if .record.values.phone_numbers == [] then null else .record.values.phone_numbers[0].phone_number | \
         e164 end\"",
    ] {
        has_line(&toml, line);
    }
    says(
        &report,
        "the draft reads `.record.id.record_id`. Other ids in the samples:",
    );
    says(&report, "`.actor.id`");
    says(
        &report,
        "the draft reads `.read_at`. Other times in the samples: `.record.created_at`.",
    );
    says(&report, "the list .record.values.phone_numbers is empty");
    // The suggestion replaces the setting above it.
    let file = folder.path().join("config/sources/crm3.toml");
    let mut lines: Vec<String> = toml.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("phone = "));
    let suggested = |line: &String| match line.strip_prefix("# phone = ") {
        Some(expression) => format!("phone = {expression}"),
        None => line.clone(),
    };
    let lines: Vec<String> = lines.iter().map(suggested).collect();
    fs::write(file, lines.join("\n")).unwrap();
    let event = "config/sources/crm3/crm3-1.event.json";
    let explained = run_in(
        folder.path(),
        &["explain", "--source", "crm3", "--reveal", event],
    );
    let explained = format!("{}{}", text(&explained.stdout), text(&explained.stderr));
    let cleared = explained
        .lines()
        .any(|line| line.contains("phone") && line.contains("cleared"));
    assert!(cleared, "{explained}");
}

/// FAULTS N1333, N1334: the names of a person stand in an object beside the object of the address, and the source deletes the
/// address with null in its place.
#[test]
fn an_address_beside_the_person_is_drafted_and_its_null_is_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let sample = |id: &str, address: &Value| {
        json!({"eventId": id, "eventType": "person.updated", "updatedAt": format!("2026-03-01T00:00:0{id}Z"),
            "person": {"personProfile": {"customerId": "CDRM_1", "firstName": "Ann", "lastName": "Lee",
                "email": "ann@example.com"}, "primaryAddress": address}})
    };
    let address = json!({"addressLine1": "7 Main St", "addressLine2": "Apt 4", "city": "Reno", "state": "NV",
        "postalCode": "89501", "country": "US"});
    let samples = [sample("1", &address), sample("2", &Value::Null)];
    let (toml, report) = drafted(folder.path(), &samples, "");
    for line in [
        "street_line1 = \".person.primaryAddress.addressLine1\"",
        "city = \".person.primaryAddress.city\"",
        "# city = 'if (.person | has(\"primaryAddress\")) and .person.primaryAddress == null then null else \
         .person.primaryAddress.city end'",
    ] {
        has_line(&toml, line);
    }
    says(&report, ".person.primaryAddress is null");
    // With the suggestions, null clears the address, and an event without the member says nothing about the address.
    let file = folder.path().join("config/sources/crm3.toml");
    let mut lines: Vec<String> = toml.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("city = "));
    let suggested = |line: &String| match line.strip_prefix("# city = ") {
        Some(expression) => format!("city = {expression}"),
        None => line.clone(),
    };
    let lines: Vec<String> = lines.iter().map(suggested).collect();
    fs::write(file, lines.join("\n")).unwrap();
    let mut without = sample("3", &Value::Null);
    without["person"]
        .as_object_mut()
        .unwrap()
        .remove("primaryAddress");
    let stated = |event: &Value| {
        let event_file = folder.path().join("one.json");
        fs::write(&event_file, event.to_string()).unwrap();
        let explained = run_in(
            folder.path(),
            &[
                "explain",
                "--source",
                "crm3",
                "--reveal",
                event_file.to_str().unwrap(),
            ],
        );
        let explained = format!("{}{}", text(&explained.stdout), text(&explained.stderr));
        let line = explained
            .lines()
            .find(|line| line.trim_start().starts_with("city"));
        line.unwrap_or_else(|| panic!("{explained}")).to_owned()
    };
    assert!(stated(&samples[1]).contains("cleared"));
    assert!(stated(&without).contains("absent"));
}

/// FAULTS N600: only an employee has an id, or a user who can be an employee.
#[test]
fn an_id_of_an_employee_is_never_the_customers_id_in_silence() {
    let cases = [
        (
            json!({"actor": {"id": "s-1"}, "contact": {"uid": "c-9"}, "email": "ann@example.com"}),
            ".contact.uid",
            "Other ids in the samples: `.actor.id`.",
        ),
        (
            json!({"user_id": "s-1", "contact": {"email": "ann@example.com", "first_name": "Ann"}}),
            ".user_id",
            "By its name, it can be the id of an employee who made the change.",
        ),
        (
            json!({"modified_by": {"id": "s-1"}, "record": {"id": "c-9"}, "data": {"email": "ann@example.com"}}),
            ".record.id",
            "Other ids in the samples: `.modified_by.id`.",
        ),
    ];
    for (sample, path, sentence) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (toml, report) = drafted(folder.path(), &[sample], "");
        has_line(&toml, &format!("customer.partner_id = \"{path}\""));
        says(&report, &format!("the draft reads `{path}`."));
        says(&report, sentence);
    }
    for employee in ["actor", "owner", "author", "changedBy", "created_by"] {
        let folder = tempfile::tempdir().unwrap();
        let sample = json!({employee: {"id": "s-1"}, "email": "ann@example.com"});
        let output = draft(folder.path(), "crm3", &[sample], "");
        let report = format!("{}{}", text(&output.stdout), text(&output.stderr));
        let toml = fs::read_to_string(folder.path().join("config/sources/crm3.toml")).unwrap();
        has_line(&toml, "customer.partner_id = \".id\"");
        says(
            &report,
            &format!("All ids in the samples: `.{employee}.id`."),
        );
        says(
            &report,
            "the bridge refuses every sample with this draft: `check` reports no errors because",
        );
        assert_eq!(output.status.code(), Some(1), "{report}");
    }
}

/// FAULTS N601: the time of the record's creation, and times that do not differ between two samples of one customer.
#[test]
fn a_time_that_no_change_alters_is_no_version_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let created = json!({"event": "contact.updated", "contact": {"id": "c-9", "created_at": TIME,
        "person": {"email": "ann@example.com", "first_name": "Ann"}}});
    let (toml, report) = drafted(folder.path(), &[created], "");
    assert!(!toml.contains("\nversion = "), "{toml}");
    says(&report, "All times in the samples: `.contact.created_at`.");

    let contact = |email: &str, sent_at: &str| json!({"id": "c-9", "email": email, "updated_at": TIME, "sent_at": sent_at});
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        contact("a@example.com", "2025-02-13T19:08:08Z"),
        contact("b@example.com", "2025-02-13T19:08:09Z"),
    ];
    let (toml, report) = drafted(folder.path(), &samples, "");
    has_line(&toml, "version = \".sent_at\"");
    says(
        &report,
        "the draft reads `.sent_at`. Other times in the samples: `.updated_at`.",
    );

    let folder = tempfile::tempdir().unwrap();
    let samples = [
        contact("a@example.com", TIME),
        contact("b@example.com", TIME),
    ];
    let (toml, report) = drafted(folder.path(), &samples, "");
    has_line(&toml, "version = \".updated_at\"");
    says(
        &report,
        "Two samples of one customer have different data and the same time",
    );
}

/// FAULTS N602: a sample with secrets in the body.
#[test]
fn a_secret_in_a_sample_is_neither_mapped_nor_copied() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "email": "ann@example.com", "modified": TIME, "secret": SECRET, "key": SECRET,
        "api_key": SECRET, "session": {"access_token": SECRET, "password": SECRET}, "signature": {"value": SECRET},
        "fields": [{"key": "webhook_secret", "value": SECRET}, {"key": "plan", "value": "gold"}]});
    let (toml, report) = drafted(folder.path(), &[sample], "");
    for path in [
        ".secret",
        ".key",
        ".api_key",
        ".session.access_token",
        ".session.password",
        ".signature",
        ".fields[].value",
    ] {
        says(&report, &format!("`{path}`"));
    }
    says(
        &toml,
        "# Members of the samples that look like secrets: `.api_key`,",
    );
    for line in toml.lines() {
        let names_secret = ["secret", "key", "token", "password", "signature"]
            .iter()
            .any(|word| line.contains(word) && line.contains(" = "));
        assert!(!names_secret, "{line}");
    }
    has_line(
        &toml,
        "# metadata.plan = \".fields | from_entries | .plan\"",
    );
    let folder_of_examples = folder.path().join("config/sources/crm3");
    for file in fs::read_dir(folder_of_examples).unwrap() {
        let content = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!content.contains(SECRET), "{content}");
    }
    let event = example(folder.path(), "crm3", "event");
    assert_eq!(event["email"], "ann@example.com");
    assert_eq!(event["secret"], "replaced-by-new-source");
    assert_eq!(event["fields"][1]["value"], "gold");
}

/// FAULTS N603: a token in a header with an unusual name, and headers that the draft does not use.
#[test]
fn a_token_in_any_header_is_recognized_and_the_other_headers_are_named() {
    for (header, value, settings) in [
        (
            "Authentication",
            "Bearer",
            "header = \"authentication\"\nTOKENS\nprefix = \"Bearer \"",
        ),
        ("X-Copper-Token", "", "header = \"x-copper-token\"\nTOKENS"),
        (
            "X-Relay",
            "Token",
            "header = \"x-relay\"\nTOKENS\nprefix = \"Token \"",
        ),
        ("Authorization", "", "header = \"authorization\"\nTOKENS"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let headers = format!(
            "{header}: {value} {SECRET}\nIdempotency-Key: k-1\nContent-Type: application/json\nX-Crm-Region: eu\n"
        );
        let sample = json!({"id": "c-9", "email": "ann@example.com", "updated_at": TIME});
        let (toml, report) = drafted(folder.path(), &[sample], &headers);
        let tokens = "token_files = [\"/run/secrets/imprint-bridge/sources/crm3\"]";
        let settings = settings.replace("TOKENS", tokens);
        says(&toml, &format!("[auth]\nkind = \"token\"\n{settings}\n"));
        assert!(!toml.contains(SECRET) && !report.contains(SECRET), "{toml}");
        says(
            &report,
            "does not use these request headers of the samples: `idempotency-key`, `x-crm-region`.",
        );
    }
}

/// FAULTS N604: notifications without values, and pairs of values.
#[test]
fn events_without_values_and_pairs_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let raw = json!({"webhook_id": "w-1", "events": [{"event_type": "record.updated",
        "id": {"workspace_id": "ws-1", "object_id": "ob-1", "record_id": "c-9"}, "actor": {"type": "member", "id": "s-1"}}]});
    let (toml, report) = drafted(folder.path(), &[raw], "");
    for line in [
        "split = \".events[]\"",
        "type = \".event_type\"",
        "customer.partner_id = \".id.record_id\"",
    ] {
        has_line(&toml, line);
    }
    let sentence =
        "The events of the type \"record.updated\" have only ids and no value of a customer.";
    says(&report, sentence);

    let folder = tempfile::tempdir().unwrap();
    let pairs = json!({"ids": [7, 8], "type": "person", "event": "update", "subscription_id": 7, "timestamp": TIME,
        "updated_attributes": {"first_name": ["Ann", "Anna"], "custom_fields": {"1": [null, "x"]}}});
    let output = draft(folder.path(), "crm3", &[pairs], "");
    let report = text(&output.stdout);
    says(
        &report,
        "have a list of ids in `.ids`, and pairs of the value before and the value after the change in \
         `.updated_attributes`. The draft does not map the pairs: see the recipe \"Old and new values in pairs\"",
    );
    assert!(!report.contains("only ids"), "{report}");
    assert_eq!(output.status.code(), Some(1));
    let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sources/RECIPES.md");
    says(
        &fs::read_to_string(recipes).unwrap(),
        "\n## Old and new values in pairs\n",
    );
}

/// FAULTS N605: contact values in lists of objects with a category.
#[test]
fn numbers_with_a_category_are_phones() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "first_name": "Ann", "last_name": "Lee", "updated_at": TIME,
        "emails": [{"email": "ann@example.com", "category": "work"}],
        "phone_numbers": [{"number": "(415) 555-2671", "category": "mobile"}],
        "address": {"street": "1 Main St", "locality": "Reno", "region": "NV", "postcode": "89501"}});
    let (toml, _) = drafted(folder.path(), &[sample], "");
    for line in [
        "email = \".emails[0].email\"",
        "phone = '.phone_numbers[0].number | e164(\"US\")'",
        "city = \".address.locality\"",
        "postal_code = \".address.postcode | us_zip\"",
    ] {
        has_line(&toml, line);
    }
}
