//! The command `status`: shows a running bridge and the protections that are switched off.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Bridge;
use super::table::{at, list, text};
use crate::app::Weakening;
use crate::http::Method;

/// The arguments of the command `status`.
#[derive(Debug, Args)]
pub(in crate::cli) struct StatusOptions {
    #[command(flatten)]
    bridge: Bridge,
}

pub(in crate::cli) fn status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let answer = options.bridge.call(&Method::GET, "/status", None)?;
    options.bridge.show(&answer, lines);
    Ok(ExitCode::SUCCESS)
}

fn lines(answer: &Value) -> Vec<String> {
    let destination = at(answer, "destination");
    let mut lines = vec![
        format!("version {}", text(at(answer, "version"))),
        format!(
            "destination {}, mode {}",
            text(at(destination, "state")),
            text(at(destination, "mode"))
        ),
    ];
    let weakened = list(answer, "weakened").map(|name| {
        let name = text(name);
        // A newer bridge possibly has weakenings that this command does not know.
        let meaning = Weakening::parse(&name).map_or("", Weakening::meaning);
        format!("weakened by {name}: {meaning}")
    });
    lines.extend(weakened);
    lines
}
