//! The messages about settings in a table below their own, and about names and values whose remedy was wrong.

use std::fs;

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};
use crate::commands;

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
