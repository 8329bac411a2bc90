//! The command `customer`: shows why Imprint has the values of a customer, without a value.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::customer::NamedCustomer;
use super::table::{self, aligned, at, list, text};
use super::{Bridge, exit_code};
use crate::http::Method;

/// The arguments of the command `customer`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CustomerOptions {
    #[command(flatten)]
    bridge: Bridge,
    #[command(flatten)]
    customer: NamedCustomer,
}

/// Shows a customer. The exit code is 2 if the store has nothing of the customer.
pub(in crate::cli) fn customer(options: &CustomerOptions) -> anyhow::Result<ExitCode> {
    let body = json!({"of": options.customer.members()});
    let path = "/customers/show";
    let answer = options.bridge.call(&Method::POST, path, Some(&body))?;
    options.bridge.show(&answer, lines);
    let has_entries = list(&answer, "entries").next().is_some();
    Ok(exit_code(*at(&answer, "known") == true || has_entries))
}

fn lines(answer: &Value) -> Vec<String> {
    let mut lines = delivered(answer);
    lines.extend(list(answer, "waits").map(wait));
    let reassert = at(answer, "reassert_at");
    if !reassert.is_null() {
        lines.push(format!(
            "an older request possibly overwrites these values: the bridge sends them again at {}",
            text(reassert)
        ));
    }
    if list(answer, "entries").next().is_some() {
        lines.push("the newest entries:".to_owned());
        lines.extend(table::entries(answer));
    }
    if *at(answer, "more") == true {
        lines.push("`events --customer` lists the older entries".to_owned());
    }
    lines
}

/// Formats one line for each field that Imprint has from the bridge.
fn delivered(answer: &Value) -> Vec<String> {
    if list(answer, "delivered").next().is_none() {
        return vec!["Imprint has no value of this customer from the bridge".to_owned()];
    }
    let head = ["FIELD", "EVENT", "SOURCE", "DELIVERED", "ENTRY", "VERSION"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(list(answer, "delivered").map(|origin| {
        let event = at(origin, "event");
        let version = at(origin, "version");
        let [id, source, delivered] =
            ["id", "source", "delivered_at"].map(|name| text(at(event, name)));
        let [entry, epoch, value] =
            ["arrival", "epoch", "value"].map(|name| text(at(version, name)));
        vec![
            text(at(origin, "field")),
            id,
            source,
            delivered,
            entry,
            format!("{value} (epoch {epoch})"),
        ]
    }));
    aligned(&rows)
}

fn wait(wait: &Value) -> String {
    let next = text(at(wait, "next"));
    let mut line = next.trim_end_matches('.').to_owned();
    let failures = at(wait, "failures").as_u64().unwrap_or_default();
    if failures > 0 {
        let tried = text(at(wait, "tried_at"));
        line.push_str(&format!(
            "; {failures} requests failed since the last applied one, the last at {tried}"
        ));
    }
    let absent = at(wait, "not_found_at");
    if !absent.is_null() {
        line.push_str(&format!(
            "; at {}, Imprint answered that the customer does not exist, and nothing proves it yet",
            text(absent)
        ));
    }
    line
}
