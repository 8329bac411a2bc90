//! Tests of drafts from the samples of a CRM that writes false for a field without a value, as Odoo does.

use std::fs;

use serde_json::{Value, json};

use super::{draft, drafted, example, has_line, run_in, says};
use crate::commands::text;

fn partner(members: &Value) -> Value {
    let mut partner = json!({
        "_id": 7, "_model": "res.partner", "id": 7, "name": "Ann Lee", "email": "ann@example.com",
        "phone": "+14155552671", "mobile": false, "street": "1 Main St", "street2": false, "city": "Reno",
        "zip": "89501", "state_id": [13, "California (US)"], "country_id": [233, "United States"], "active": false,
        "write_date": "2025-02-13 19:08:07", "create_date": "2025-01-13 19:08:07",
    });
    let into = partner.as_object_mut().unwrap();
    into.extend(members.as_object().unwrap().clone());
    partner
}

/// FAULTS N990: false in the place of a text is an empty value, and not an invalid one.
#[test]
fn false_in_the_place_of_a_text_clears_the_field() {
    let other = json!({"_id": 8, "id": 8, "email": false, "phone": false, "mobile": "+14155552672", "street2": "Apt 5",
        "city": false, "zip": false, "country_id": false, "write_date": "2025-02-13 19:08:08"});
    let samples = [partner(&json!({})), partner(&other)];
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &samples, "");
    for line in [
        "email = \"if .email == false then null else .email end\"",
        "phone = \"if .mobile == false then null else .mobile | e164 end\"",
        "street_line2 = \"if .street2 == false then null else .street2 end\"",
        "city = \"if .city == false then null else .city end\"",
        "postal_code = \"if .zip == false then null else .zip | us_zip end\"",
        "customer_history.email = \"if .email == false then null else .email end\"",
        "# metadata.active = \".active\"",
    ] {
        has_line(&toml, line);
    }
    says(
        &report,
        "The value false in the place of a text, as in the sample \"crm3-1.json\", at `.city`, `.email`, `.mobile`, `.phone`",
    );
    says(
        &report,
        "In the sample \"crm3-0.json\", .mobile is empty and .phone has a value, and the draft reads only .mobile for phone",
    );
    assert!(!report.contains("is not an email address"), "{report}");
    assert!(!report.contains("refuses"), "{report}");
    let file = folder
        .path()
        .join("config/sources/crm3/crm3-1.request.json");
    let request: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let cleared = request["cleared"].as_array().unwrap();
    assert!(
        cleared.contains(&json!("email")) && cleared.contains(&json!("city")),
        "{request}"
    );
    assert_eq!(request["body"]["phone"], "+14155552672");
}

/// FAULTS N990: the only sample has no text at such a place, and a later event has one.
#[test]
fn false_beside_the_texts_of_a_person_leaves_room_for_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (toml, _) = drafted(folder, &[partner(&json!({}))], "");
    has_line(
        &toml,
        "street_line2 = \"if .street2 == false then null else .street2 end\"",
    );
    assert_eq!(example(folder, "crm3", "request")["body"]["city"], "Reno");
    let later = partner(&json!({"street2": "Apt 5", "city": false, "email": "x@example.com"}));
    fs::write(folder.join("later.json"), later.to_string()).unwrap();
    let explained = run_in(
        folder,
        &["explain", "--source", "crm3", "later.json", "--reveal"],
    );
    let explained = format!("{}{}", text(&explained.stdout), text(&explained.stderr));
    assert!(
        explained.contains("Apt 5") && !explained.contains("refused"),
        "{explained}"
    );
}

/// FAULTS N990: false is a value in an object that has no text of a person.
#[test]
fn false_in_a_consent_stays_a_value() {
    let sample = json!({
        "event": "contact.updated", "id": "c-9", "email": "ann@example.com", "updated_at": "2026-11-26T10:00:00Z",
        "subscribed": false, "consent": {"email": false, "phone": false},
    });
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[sample], "");
    has_line(&toml, "email = \".email\"");
    assert!(
        !report.contains("The value false in the place of a text"),
        "{report}"
    );
}

/// FAULTS N998: the time of the change has a name that the draft does not know, or no offset.
#[test]
fn a_write_date_is_proposed_as_the_version() {
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[partner(&json!({}))], "");
    has_line(&toml, "# version = '\"\\(.write_date)Z\" | utc'");
    says(
        &report,
        "`.write_date` in the sample \"crm3-0.json\" has no offset from UTC",
    );
    says(
        &report,
        "Other times without an offset from UTC in the samples: `.create_date`.",
    );
    says(
        &report,
        "The pairs of an id and a name in the samples: the draft reads nothing of `.country_id`, `.state_id`. `[1]` after the path reads the name, such as `.country_id[1]`",
    );
    let mut sample = partner(&json!({"due": "2025-03-13 19:08:07"}));
    sample.as_object_mut().unwrap().remove("write_date");
    let folder = tempfile::tempdir().unwrap();
    let drafted = draft(folder.path(), "crm3", &[sample], "");
    says(
        &text(&drafted.stdout),
        "All times without an offset from UTC in the samples: `.create_date`, `.due`.",
    );
}
