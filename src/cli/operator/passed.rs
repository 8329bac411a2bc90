//! The command `passed`: lists the entries that passed the mass-change brake of a source before it held a mass change.

use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::table::{aligned, at, list, text};
use super::{Bridge, exit_code};
use crate::http::Method;
use crate::terminal::print_notice;

/// The arguments of the command `passed`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PassedOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// The source of the mass change.
    source: String,
    /// The field of the mass change, as the command `brakes` names it.
    #[arg(long)]
    field: String,
    /// The limit that the mass change exceeds, as the command `brakes` names it.
    #[arg(long)]
    rule: String,
}

/// Lists the entries. The exit code is 2 if the bridge knows no such mass change.
pub(in crate::cli) fn passed(options: &PassedOptions) -> anyhow::Result<ExitCode> {
    let [source, field, rule] = [&options.source, &options.field, &options.rule]
        .map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    let path = format!("/passed?source={source}&field={field}&rule={rule}");
    let answer = options.bridge.call(&Method::GET, &path, None)?;
    options.bridge.show(&answer, entries);
    let is_known = *at(&answer, "known") == true;
    let missing = at(&answer, "missing").as_u64().unwrap_or_default();
    if !is_known {
        print_notice(
            "the bridge knows no such mass change: `brakes` names the field and the rule, and a restart loses the counts",
        );
    } else if missing > 0 {
        print_notice(format_args!(
            "{missing} entries are missing: retention has deleted them, or the source has sent too many other entries"
        ));
    }
    Ok(exit_code(is_known))
}

/// Formats one line for each entry.
fn entries(answer: &Value) -> Vec<String> {
    let columns = [
        ("ENTRY", "entry"),
        ("EVENT", "event"),
        ("TYPE", "type"),
        ("STATUS", "state"),
        ("ACCEPTED", "accepted_at"),
        ("IMPRINT ID", "imprint_id"),
        ("CRM ID", "partner_customer_id"),
    ];
    if list(answer, "entries").next().is_none() {
        return Vec::new();
    }
    let mut rows = vec![columns.map(|(head, _)| head.to_owned()).to_vec()];
    rows.extend(
        list(answer, "entries")
            .map(|entry| columns.map(|(_, name)| text(at(entry, name))).to_vec()),
    );
    aligned(&rows)
}
