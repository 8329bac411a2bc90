//! The messages about settings in a table below their own, and about names and values whose remedy was wrong.

use std::fs;

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};
use crate::commands;

/// FAULTS N1240: TOML reads a setting after the header of a table as a setting of this table. The advice to send it under
/// metadata would give Imprint the condition as a value, and the bridge would have no condition.
#[test]
fn a_setting_below_the_table_update_names_its_own_table() {
    let own = |name: &str| {
        format!(
            "events.customer.update.{name}: `{name}` is a setting of the event type and no field of Imprint: write `{name}` below the header [events.\"customer\"], before [events.\"customer\".update]"
        )
    };
    let table = |name: &str, table: &str| {
        format!(
            "`{name}` is a setting of [{table}] and no field of Imprint: write `{name}` below the header [{table}]"
        )
    };
    for (line, expected) in [
        ("when = '.kind == \"customer\"'", own("when")),
        ("epoch = 2", own("epoch")),
        ("on_invalid.phone = \"skip\"", own("on_invalid.phone")),
        ("split = \".[]\"", table("split", "body")),
        ("body.split = \".[]\"", "below the header [body]".to_owned()),
        (
            "events_per_second = 10",
            table("events_per_second", "quota"),
        ),
        ("window = \"5m\"", table("window", "brake")),
        (
            "draft = true",
            "write `draft` before the first table of the file".to_owned(),
        ),
        (
            "tables.plans.gold = \"G\"",
            "write the header [tables.plans], and `gold` below it".to_owned(),
        ),
        (
            "on_invalid = \"skip\"",
            "write on_invalid.FIELD = \"skip\", with the name of a field".to_owned(),
        ),
    ] {
        let source = SOURCE.replace("email = \".email\"", &format!("email = \".email\"\n{line}"));
        let folder = folder_with(&source, SCHEMA);
        let (_, errors) = check(folder.path(), &[]);
        let errors: Vec<String> = errors
            .into_iter()
            .filter(|error| error.contains(".update"))
            .collect();
        assert_contains(&errors, &[&expected], line);
        assert!(!errors.concat().contains("metadata."), "{line}: {errors:?}");
    }
    for line in [
        "schema = \"shop.json\"\n",
        "version_domain = \"time\"\n",
        "customer.partner_id = \".customer_id\"\n",
    ] {
        let name = line.split(' ').next().unwrap();
        let source = SOURCE.replacen(line, "", 1);
        let source = source.replace(
            "email = \".email\"\n",
            &format!("email = \".email\"\n{line}"),
        );
        let folder = folder_with(&source, SCHEMA);
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[&own(name)], line);
    }
}

/// FAULTS N1240: the same in a table of the file. A name that the table has itself is no mistake.
#[test]
fn a_setting_in_another_table_of_the_file_names_its_own_table() {
    for (from, to, expected) in [
        (
            "format = \"json\"",
            "format = \"json\"\nwhen = '.kind == \"customer\"'",
            "body.when: `when` is a setting of the event type and not of this table: write `when` below the header [events.\"customer\"]",
        ),
        (
            "kind = \"none\"\n",
            "kind = \"none\"\nsplit = \".\"\n",
            "auth.split: `split` is a setting of [body] and not of this table",
        ),
        (
            "format = \"json\"",
            "format = \"json\"\nevents_per_second = 10",
            "`events_per_second` is a setting of [quota]",
        ),
        (
            "email = \".email\"",
            "email = \".email\"\nid = \".id\"",
            "Imprint's update has no such field; other data goes under metadata, such as metadata.id",
        ),
    ] {
        check_source(from, to, &[expected]);
    }
}

/// FAULTS N1241: a name that only stands in the same group as a field is no misspelt field.
#[test]
fn only_a_similar_field_is_proposed() {
    for (field, expected) in [
        ("customer_history.date_of_birth", "metadata.date_of_birth"),
        ("customer_history.gender", "metadata.gender"),
        ("customer_history.company", "metadata.company"),
        ("customer_history.age", "metadata.age"),
        ("status", "metadata.status"),
        (
            "customer_history.created_at",
            "did you mean customer_history.account_created_at?",
        ),
        (
            "customer_history.loyalty_teir",
            "did you mean customer_history.loyalty_tier?",
        ),
    ] {
        let line = format!("{field} = \".x\"\nemail = ");
        check_source("email = ", &line, &[expected]);
    }
}

/// FAULTS N1243: a misspelt `e164`, and the function of another system for a phone number.
#[test]
fn a_phone_number_leads_to_e164() {
    for (call, expected) in [
        ("e.164", "did you mean e164?"),
        ("normalize", "for a phone number use e164"),
    ] {
        let phone = format!("'.phone | {call}'");
        check_source("'.phone | e164(\"US\")'", &phone, &[expected]);
    }
}

/// FAULTS N1245: several types in one text, and several schemas in one file.
#[test]
fn a_schema_with_several_types_or_values_names_its_cause() {
    for (schema, expected) in [
        (
            r#"{"type": "object", "properties": {"email": {"type": "string|null"}}}"#,
            "several types are a list: write \"type\": [\"string\", \"null\"]",
        ),
        (
            "{\"type\": \"object\"}\n{\"type\": \"object\"}\n",
            "is not JSON: the file has several JSON values, and a schema file has one",
        ),
    ] {
        let folder = folder_with(SOURCE, schema);
        let (_, errors) = check(folder.path(), &[]);
        assert_contains(&errors, &[expected], schema);
    }
}

/// FAULTS N1242: a Unix time needs the function `moment`, and not `text`.
#[test]
fn a_number_in_the_place_of_a_time_leads_to_moment() {
    let source = SOURCE.replace(
        "email = ",
        "metadata.since = \".updated_at | date\"\nemail = ",
    );
    let folder = folder_with(&source, SCHEMA);
    let event = super::EVENT.replace("\"2025-01-01T00:00:00Z\"", "1718000000");
    let file = folder.path().join("config/sources/shop/a.event.json");
    fs::write(file, event).unwrap();
    let (_, errors) = check(folder.path(), &[]);
    let errors = errors.join("\n");
    assert!(
        errors.contains("If the number is a time, the function moment makes one"),
        "{errors}"
    );
}

/// FAULTS N1248: the name of the settings file cannot come from the environment.
#[test]
fn a_variable_for_the_settings_file_names_the_option() {
    let folder = folder_with(SOURCE, SCHEMA);
    let (_, errors) = check(folder.path(), &[("IMPRINT_BRIDGE__CONFIG", "bridge.toml")]);
    let expected = "environment variable IMPRINT_BRIDGE__CONFIG: is not the name of a setting: only the option --config FILE names the file with the settings";
    assert_contains(&errors, &[expected], "variable");
}

/// FAULTS N1255: an editor adds the ending .txt to the name of a source file.
#[test]
fn a_source_file_with_the_ending_txt_is_named() {
    let folder = folder_with(SOURCE, SCHEMA);
    let sources = folder.path().join("config/sources");
    fs::write(sources.join("crm.toml.txt"), SOURCE).unwrap();
    let (report, errors) = check(folder.path(), &[]);
    assert_eq!(errors, Vec::<String>::new());
    let expected = "crm.toml.txt is not read: the name of a source file ends in .toml";
    assert!(report.contains(expected), "{report}");
}

/// FAULTS N1293: the ending of a source file in capitals.
#[test]
fn a_source_file_with_the_ending_in_capitals_is_named() {
    let folder = folder_with(SOURCE, SCHEMA);
    fs::write(folder.path().join("config/sources/crm.TOML"), SOURCE).unwrap();
    let (report, _) = check(folder.path(), &[]);
    let expected = "crm.TOML is not read: the name of a source file ends in .toml";
    assert!(report.contains(expected), "{report}");
}

/// FAULTS N1249: `explain` with the Content-Type of a request refuses what a running bridge refuses.
#[test]
fn explain_refuses_the_media_type_that_the_bridge_refuses() {
    let source = SOURCE.replace(
        "[body]\nformat = \"json\"\nid = \".id\"\ntype = '.kind'\n",
        "",
    );
    let source = source.replace(".customer_id", ".data.customer_id");
    let event = format!(
        "{{\"specversion\": \"1.0\", \"id\": \"1\", \"source\": \"s\", \"type\": \"customer\", \"time\": \"2025-01-01T00:00:00Z\", \"data\": {}}}",
        super::EVENT
    );
    let folder = folder_with(&source, "{}");
    fs::write(folder.path().join("body.json"), event).unwrap();
    for (content_type, is_refused) in [
        ("content-type: application/json", true),
        ("content-type: application/cloudevents+json", false),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args([
                "explain",
                "--source",
                "shop",
                "-H",
                content_type,
                "body.json",
            ])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let report = commands::text(&output.stdout) + &commands::text(&output.stderr);
        let expected = "the bridge answers this request with status 415: ";
        assert_eq!(report.contains(expected), is_refused, "{report}");
        let remedy = "write format = \"json\", id and type in the table [body]";
        assert_eq!(report.contains(remedy), is_refused, "{report}");
    }
}

/// FAULTS N1256: an option that the command does not have. The tips of the parser led to other errors, or to unmasked values.
#[test]
fn an_unknown_option_gets_no_wrong_tip() {
    for (arguments, tip) in [
        (&["check", "--source", "shop"][..], "it checks all sources"),
        (&["check", "-c", "bridge.toml"], "the option --config FILE"),
        (
            &["explain", "--source", "shop", "--event", "body.json"],
            "the file with the request body stands without an option",
        ),
        (&["check", "--confg", "bridge.toml"], "'--config'"),
        (&["start"], "'serve'"),
        (&["validate"], "'check'"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(arguments)
            .output()
            .unwrap();
        let errors = commands::text(&output.stderr);
        assert!(errors.contains(tip), "{arguments:?}: {errors}");
        for wrong in ["as a value", "--reveal'", "'destination'"] {
            assert!(!errors.contains(wrong), "{arguments:?}: {errors}");
        }
    }
}

/// FAULTS N1260: after an edit, the examples have other results, and the author must know how to accept them.
#[test]
fn a_changed_result_of_an_example_names_the_command_that_prints_it() {
    let command = "`imprint-bridge explain --source shop --example FILE` prints it";
    for (field, is_changed) in [("last_name", true), ("first_name", false)] {
        let source = SOURCE.replace("first_name = ", &format!("{field} = "));
        let folder = folder_with(&source, SCHEMA);
        let (report, _) = check(folder.path(), &[]);
        assert_eq!(report.contains(command), is_changed, "{report}");
    }
}

/// FAULTS N1274: an environment variable looks like a setting, and the bridge does not read it.
#[test]
fn a_variable_that_is_not_read_is_named() {
    let folder = folder_with(SOURCE, SCHEMA);
    for (name, note) in [
        ("IMPRINT_BRIDGE_CONFIG", "the option --config FILE"),
        ("RUST_LOG", "IMPRINT_BRIDGE__LOG__FILTER"),
        ("IMPRINT_API_KEY", "IMPRINT_BRIDGE__IMPRINT__KEY_FILE"),
    ] {
        let (report, errors) = check(folder.path(), &[(name, "canary")]);
        assert_eq!(errors, Vec::<String>::new(), "{name}");
        let expected = format!("the environment variable {name} is not read: {note}");
        assert!(report.contains(&expected), "{report}");
        assert!(!report.contains("canary"), "{report}");
    }
}
