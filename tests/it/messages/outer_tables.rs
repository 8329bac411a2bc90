//! The messages about settings in a table below their own, and about names and values whose remedy was wrong.

use std::fs;

use super::{SCHEMA, SOURCE, assert_contains, check, check_source, folder_with};
use crate::commands;

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
