//! The messages about mistakes whose cause is not at the place of the error: a missing header of a table, a word of another
//! language, a file in the wrong place.

use std::fs;

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};

/// FAULTS N993: the author forgets the header of the table `update`, so the fields are settings of the event type.
#[test]
fn fields_outside_the_table_update_name_its_header() {
    let header = "[events.customer.update]\n";
    let expected = "shop.toml: events.customer: has fields of Imprint outside of its table `update`: write the header [events.\"customer\".update] before email, first_name, metadata.tier, phone";
    check_source(header, "", &[expected]);
    let source = SOURCE.replace(header, "customer_history.address.city = \".c\"\n");
    let folder = folder_with(&source, SCHEMA);
    let (_, errors) = check(folder.path(), &[]);
    let expected =
        "update] before customer_history.address.city, email, first_name, metadata.tier, phone";
    assert_contains(&errors, &[expected], "with history");
    let one = "version_domain = \"time\"\ncity = \".city\"\n";
    let expected = "events.customer: has fields of Imprint outside of its table `update`: write the header [events.\"customer\".update] before city";
    check_source("version_domain = \"time\"\n", one, &[expected]);
}

/// FAULTS N993: a table or a setting stands at another level of the source file.
#[test]
fn a_setting_at_another_level_names_its_place() {
    check_source(
        "[events.customer.update]",
        "[update]",
        &["update: unknown table; did you mean events.customer.update?"],
    );
    check_source(
        "version_domain",
        "split = \".[]\"\nversion_domain",
        &["events.customer.split: unknown setting; did you mean body.split?"],
    );
}

/// FAULTS N1020: two headers have the name of one event type in different letter case.
#[test]
fn two_spellings_of_an_event_type_are_one_error() {
    check_source(
        "[events.customer]",
        "[events.Customer]",
        &[
            "events.customer: has only the table `update`, and [events.\"Customer\"] has the other settings: write one name in both headers",
        ],
    );
    check_source(
        "[auth]\nkind = \"none\"",
        "[auth.bearer]\ntoken_files = [\"a\"]",
        &[
            "auth.bearer: is no table: write kind = \"bearer\" and the settings of this kind in [auth]",
        ],
    );
    check_source(
        "\"shop.json\"",
        "\"schemas/shop.json\"",
        &["; did you mean shop.json?"],
    );
    check_source(
        "first_name = ",
        "name = ",
        &["did you mean first_name and last_name?"],
    );
}

/// FAULTS N1021: the id of the customer is a constant.
#[test]
fn a_constant_customer_is_noted() {
    let note = "customer.partner_id = \"c1\" is a constant, so all events change one customer";
    let source = SOURCE.replace("\".customer_id\"", "'\"c1\"'");
    let (report, errors) = check(folder_with(&source, SCHEMA).path(), &[]);
    assert_eq!(errors, Vec::<String>::new());
    assert!(report.contains(note), "{report}");
    let (report, _) = check(folder_with(SOURCE, SCHEMA).path(), &[]);
    assert!(!report.contains("is a constant"), "{report}");
}

/// FAULTS N994: the author writes a field of Imprint as a table.
#[test]
fn a_field_that_is_a_table_must_be_a_text() {
    for (from, to, field) in [
        (
            "email = \".email\"",
            "email = { path = \".email\" }",
            "email",
        ),
        (
            "phone = '.phone | e164(\"US\")'",
            "phone.path = \".phone\"\nphone.region = \"US\"",
            "phone",
        ),
        (
            "email = \".email\"",
            "customer_history.address.city = { path = \".city\" }",
            "customer_history.address.city",
        ),
    ] {
        let name = field.rsplit('.').next().unwrap();
        let expected = format!(
            "shop.toml: events.customer.update.{field}: must be a text with an expression, such as \".{name}\", and not a table"
        );
        check_source(from, to, &[&expected]);
    }
    // The header makes the fields after it members of the field.
    check_source(
        "[events.customer.update]\n",
        "[events.customer.update.city]\n",
        &[
            "events.customer.update.city: must be a text with an expression, such as \".city\", and not a table: write city = \"…\" below the header [events.\"customer\".update]",
        ],
    );
    check_source(
        "[tables.tiers]\nA = \"GOLD\"",
        "[tables]\ntiers = [\"GOLD\"]",
        &["tables.tiers: must be a table with a text for each value, such as [tables.tiers]"],
    );
}

/// FAULTS N997: the settings of the bridge and those of a source stand in the wrong file.
#[test]
fn a_table_in_the_wrong_file_names_its_file() {
    let folder = folder_with(SOURCE, SCHEMA);
    let file = folder.path().join("bridge.toml");
    let run = |settings: &str| {
        fs::write(&file, settings).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(["check", "--config", "bridge.toml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let errors = crate::commands::text(&output.stderr);
        let mut errors: Vec<String> = errors.lines().map(str::to_owned).collect();
        errors.pop();
        errors
    };
    let expected = "bridge.toml: sources: a source is no table of the settings: each source has a file of its own in the folder sources_dir, such as config/sources/NAME.toml";
    let errors =
        run("[sources.odoo.auth]\nkind = \"none\"\n[sources.odoo.body]\nformat = \"json\"\n");
    assert_contains(&errors, &[expected], "sources");
    let expected = "bridge.toml: auth: belongs into a source file in the folder sources_dir";
    assert_contains(&run(SOURCE), &[expected], "a source file");

    let folder = folder_with(SOURCE, SCHEMA);
    let settings =
        "profile = \"local\"\n[outbox]\nurl = \"sqlite:x\"\n[imprint]\nbase_url = \"x\"\n";
    fs::write(folder.path().join("config/default.toml"), settings).unwrap();
    let sources = ("IMPRINT_BRIDGE__SOURCES_DIR", "config");
    let (_, errors) = check(folder.path(), &[sources]);
    let expected = "default.toml: has the settings of the bridge and no source: sources_dir must name the folder with the source files";
    assert_contains(&errors, &[expected], "sources_dir");
}

/// FAULTS N992: the schema file has a sample of the source.
#[test]
fn a_sample_is_no_schema() {
    for schema in [
        r#"{"_id": 7, "_model": "res.partner", "name": "Ann", "active": true}"#,
        r#"{"type": "contact.updated", "email": "a@b.com", "title": "Dr", "city": "Reno", "zip": "1"}"#,
        r#"{"type": {"id": 1}, "email": "a@b.com", "city": "Reno", "zip": "1"}"#,
    ] {
        let folder = folder_with(SOURCE, schema);
        let (_, errors) = check(folder.path(), &[]);
        let expected = "this file is probably an event and no schema";
        assert_contains(&errors, &[expected], schema);
    }
}
