//! The command `try-out`: shows what a running bridge would send for an event, and what an edited source file would change.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::table::{at, list, text};
use super::{Bridge, exit_code};
use crate::cli::explain;
use crate::cli::header_option::HeaderParser;
use crate::http::{HeaderName, HeaderValue, Method};
use crate::intake::Explanation;

/// The arguments of the command `try-out`.
#[derive(Debug, Args)]
pub(in crate::cli) struct TryOutOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Name of the source of the event.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// File with the request body. Without a file, or with `-`, the command reads standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Header of the request, such as "x-topic: customers/update", if the source file reads headers. Repeat the option for
    /// each header.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = HeaderParser)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Try the event of this entry of the bridge instead of a body.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["file", "headers"])]
    entry: Option<u64>,
    /// File with an edited source file: the command also shows what it would change.
    #[arg(long, value_name = "FILE")]
    edited: Option<PathBuf>,
    /// Show values unmasked. With --entry, the bridge records in the audit log that the operator revealed values.
    #[arg(long)]
    reveal: bool,
}

/// Tries an event. The exit code is 2 if the bridge would refuse the event, or if the edited file has errors.
pub(in crate::cli) fn try_out(options: &TryOutOptions) -> anyhow::Result<ExitCode> {
    let mut body = json!({"source": options.source, "reveal": options.reveal});
    let members = body.as_object_mut().context("the request")?;
    match options.entry {
        Some(entry) => drop(members.insert("entry".to_owned(), json!(entry))),
        None => {
            let event = explain::read_body(options.file.as_deref())?;
            let event = String::from_utf8(event).context("the request body is not UTF-8")?;
            members.insert("body".to_owned(), json!(event));
            members.insert("headers".to_owned(), headers(&options.headers)?);
        }
    }
    if let Some(edited) = &options.edited {
        members.insert("text".to_owned(), json!(edited_text(edited)?));
    }
    let answer = options
        .bridge
        .call(&Method::POST, "/try-out", Some(&body))?;
    let live = explanation(at(&answer, "live"))?;
    let edited = Some(at(&answer, "edited")).filter(|edited| !edited.is_null());
    let edited = edited.map(explanation).transpose()?;
    options.bridge.show(&answer, |answer| {
        let mut lines = explain::lines(&live);
        lines.extend(changes(answer));
        lines
    });
    let has_errors = list(&answer, "errors").next().is_some();
    let result = edited.as_ref().unwrap_or(&live);
    let is_refused = result.problems().next().is_some();
    Ok(exit_code(!has_errors && !is_refused))
}

fn edited_text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

fn headers(headers: &[(HeaderName, HeaderValue)]) -> anyhow::Result<Value> {
    let mut members = Map::new();
    for (name, value) in headers {
        let value = value.to_str();
        let value = value.with_context(|| format!("the value of the header {name}"))?;
        let earlier = members.insert(name.as_str().to_owned(), json!(value));
        ensure!(
            earlier.is_none(),
            "the header {name} occurs twice: the bridge takes a header only once"
        );
    }
    Ok(Value::Object(members))
}

fn explanation(value: &Value) -> anyhow::Result<Explanation> {
    serde_json::from_value(value.clone()).context("the answer is not an explanation")
}

/// Formats the errors of an edited source file, or what the file changes.
fn changes(answer: &Value) -> Vec<String> {
    if at(answer, "errors").is_null() {
        return Vec::new();
    }
    if list(answer, "errors").next().is_some() {
        let errors = list(answer, "errors").map(|error| format!("  {}", text(error)));
        return std::iter::once("the edited file has errors:".to_owned())
            .chain(errors)
            .collect();
    }
    if list(answer, "differences").next().is_none() {
        return vec!["the edited file changes nothing for this event".to_owned()];
    }
    let differences = list(answer, "differences").map(|difference| {
        let [before, after] = ["before", "after"].map(|name| value_text(at(difference, name)));
        let event = at(difference, "event").as_u64();
        let event = event.map(|event| format!("event {event}: "));
        format!(
            "  {}{}: {before} -> {after}",
            event.unwrap_or_default(),
            text(at(difference, "name"))
        )
    });
    std::iter::once("the edited file changes:".to_owned())
        .chain(differences)
        .collect()
}

fn value_text(value: &Value) -> String {
    match value.is_null() {
        true => "nothing".to_owned(),
        false => text(value),
    }
}
