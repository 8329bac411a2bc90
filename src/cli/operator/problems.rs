//! The command `problems`: lists the entries that wait for an operator, grouped by their cause.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::table::{aligned, at, list, text};
use super::{Bridge, exit_code};
use crate::http::Method;
use crate::terminal::print_notice;

/// The arguments of the command `problems`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProblemsOptions {
    #[command(flatten)]
    bridge: Bridge,
}

/// Lists the cases. The exit code is 2 if no entry waits for an operator.
pub(in crate::cli) fn problems(options: &ProblemsOptions) -> anyhow::Result<ExitCode> {
    let answer = options.bridge.call(&Method::GET, "/cases", None)?;
    options.bridge.show(&answer, cases);
    let has_cases = list(&answer, "cases").next().is_some();
    let left_out = at(&answer, "left_out").as_u64().unwrap_or_default();
    let is_partial = left_out > 0 || *at(&answer, "more") == true;
    match (has_cases, is_partial) {
        (_, true) => {
            print_notice("the list has only the newest entries: more wait for an operator");
        }
        (false, false) => print_notice("no entry waits for an operator"),
        (true, false) => {}
    }
    Ok(exit_code(has_cases))
}

/// Formats one line for each case.
fn cases(answer: &Value) -> Vec<String> {
    let head = [
        "SOURCE",
        "TYPE",
        "STATUS",
        "REASON",
        "ENTRIES",
        "CUSTOMERS",
        "FIRST",
        "LAST",
        "NEWEST",
        "DETAIL",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(list(answer, "cases").map(|case| {
        let columns = [
            "source",
            "type",
            "status",
            "reason",
            "entries",
            "customers",
            "first_at",
            "last_at",
        ];
        let mut row = columns.map(|name| text(at(case, name))).to_vec();
        let newest = list(case, "newest").next();
        row.push(newest.map_or_else(|| "-".to_owned(), text));
        row.push(detail(case));
        row
    }));
    aligned(&rows)
}

/// Returns Imprint's answer, or the first error of invalid events.
fn detail(case: &Value) -> String {
    let error = at(case, "error");
    match error.is_null() {
        true => text(at(case, "detail")),
        false => ["pointer", "rule", "location"]
            .map(|name| text(at(error, name)))
            .join(" "),
    }
}
