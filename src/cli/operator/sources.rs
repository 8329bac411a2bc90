//! The commands about the sources of a running bridge: show the set of sources, reload it, and list denied and refused requests.

use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::table::{self, at, list, text};
use super::{Bridge, exit_code};
use crate::http::Method;
use crate::spelling;
use crate::telemetry::{self, LogFormat};
use crate::terminal::{print_notice, printable};

/// The arguments of the command `sources`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SourcesOptions {
    #[command(flatten)]
    bridge: Bridge,
}

/// The arguments of the command `reload`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReloadOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// The operator's reason for the command. The bridge records the reason in the audit log.
    #[arg(long)]
    reason: Option<String>,
}

/// The arguments of the command `denied-requests`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DeniedOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Show only the requests to this source.
    #[arg(long)]
    source: Option<String>,
}

/// Shows the set of sources in use. The exit code is 2 if the bridge does not use newer files because of errors.
pub(in crate::cli) fn sources(options: &SourcesOptions) -> anyhow::Result<ExitCode> {
    let set = options.bridge.call(&Method::GET, "/sources", None)?;
    options.bridge.show(&set, live_set);
    Ok(exit_code(at(&set, "refused").is_null()))
}

/// Reloads the sources. The exit code is 2 if the bridge does not use the files because of errors.
pub(in crate::cli) fn reload(options: &ReloadOptions) -> anyhow::Result<ExitCode> {
    let body = json!({"reason": options.reason});
    let answer = options.bridge.call(&Method::POST, "/reload", Some(&body))?;
    options.bridge.show(&answer, reloaded);
    Ok(exit_code(*at(&answer, "outcome") != "refused"))
}

/// Lists the event requests that failed authentication, or that the sender must change.
pub(in crate::cli) fn denied_requests(options: &DeniedOptions) -> anyhow::Result<ExitCode> {
    let query = options.source.as_ref().map(|source| {
        let source = utf8_percent_encode(source, NON_ALPHANUMERIC);
        format!("?source={source}")
    });
    let path = format!("/denied-requests{}", query.unwrap_or_default());
    let _log = telemetry::start(LogFormat::Text, "warn")?;
    let answer = options.bridge.call_with_log(&Method::GET, &path, None)?;
    let has_none = list(&answer, "requests").next().is_none();
    // The list can have requests to a source that the bridge no longer has.
    if let Some(name) = options
        .source
        .as_deref()
        .filter(|_| has_none && !options.bridge.json)
        && let Some(unknown) = unknown(&options.bridge, name)?
    {
        print_notice(unknown);
        return Ok(exit_code(false));
    }
    options.bridge.show(&answer, table::denied_requests);
    Ok(ExitCode::SUCCESS)
}

/// Says that a running bridge has no source of this name, if it has none. The caller has started the log. Entries of a removed source stay in its lists.
pub(super) fn unknown(bridge: &Bridge, name: &str) -> anyhow::Result<Option<String>> {
    let set = bridge.call_with_log(&Method::GET, "/sources", None)?;
    let names: Vec<&str> = list(&set, "sources").filter_map(Value::as_str).collect();
    let is_known = names.contains(&name);
    Ok((!is_known).then(|| {
        format!(
            "the bridge has no source {name}{}",
            spelling::suggestion(name, names)
        )
    }))
}

/// Formats the set of sources in use.
fn live_set(set: &Value) -> Vec<String> {
    let names: Vec<String> = list(set, "sources").map(text).collect();
    let mut lines = vec![
        format!("sources: {}", names.join(", ")),
        format!(
            "digest {}, in use since {}",
            text(at(set, "digest")),
            text(at(set, "since"))
        ),
    ];
    let refused = at(set, "refused");
    if !refused.is_null() {
        let since = text(at(refused, "since"));
        lines.push(format!(
            "since {since}, the bridge does not use the newer files because of these errors:"
        ));
        lines.extend(error_lines(refused));
    }
    lines
}

/// Formats the result of a reload.
fn reloaded(answer: &Value) -> Vec<String> {
    let outcome = match at(answer, "outcome").as_str() {
        Some("reloaded") => "the bridge uses the new files",
        Some("refused") => "the files have errors, and the bridge still uses the previous files:",
        Some(_) | None => "the files are the files that the bridge uses",
    };
    let mut lines = vec![outcome.to_owned()];
    lines.extend(error_lines(answer));
    for member in ["added", "removed", "changed"] {
        let names: Vec<String> = list(answer, member).map(text).collect();
        if !names.is_empty() {
            lines.push(format!("{member}: {}", names.join(", ")));
        }
    }
    let live = at(answer, "live");
    lines.push(format!(
        "digest {}, in use since {}",
        text(at(live, "digest")),
        text(at(live, "since"))
    ));
    lines
}

/// Formats the errors of files. An error can have several lines, such as a part of a source file.
fn error_lines(answer: &Value) -> impl Iterator<Item = String> + use<'_> {
    let errors = list(answer, "errors").filter_map(Value::as_str);
    errors.flat_map(|error| error.lines().map(|line| format!("  {}", printable(line))))
}
