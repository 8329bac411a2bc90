//! `reference`: prints the explanations of all messages and bounds.

use std::process::ExitCode;

use clap::Args;

use super::NEGATIVE_RESULT;
use crate::reference;
use crate::terminal::{print_notice, print_result};

/// The arguments of the command `reference`.
#[derive(Debug, Args)]
pub(super) struct ReferenceOptions {
    /// Print only the rows that contain this text, such as `rate_quota` or `DEPTH_MAX`.
    text: Option<String>,
}

pub(super) fn run(options: &ReferenceOptions) -> ExitCode {
    let Some(text) = &options.text else {
        print_result(reference::PAGE.trim_end());
        return ExitCode::SUCCESS;
    };
    let found = reference::find(text);
    if found.is_empty() {
        print_notice("no row of the reference contains this text");
        return ExitCode::from(NEGATIVE_RESULT);
    }
    print_result(found.trim_end());
    ExitCode::SUCCESS
}
