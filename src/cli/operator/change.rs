//! The commands that change entries: replay, discard and park.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};

use super::table::{self, at};
use super::{Bridge, FilterOptions, entry_number, exit_code};
use crate::http::Method;
use crate::telemetry::{self, LogFormat};

/// The member with the number of entries that a preview would replay.
const WOULD_REPLAY: &str = "would_replay";

/// The arguments that the commands `replay`, `discard` and `park` share.
#[derive(Debug, Args)]
pub(in crate::cli) struct ChangeOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Numbers of entries. Without numbers, the filter options select entries in one state.
    #[arg(value_parser = entry_number)]
    entries: Vec<u64>,
    /// Select entries in this state. `replay` accepts parked, undecided and held; `discard` accepts waiting, undecided,
    /// parked and held; `park` accepts waiting, undecided and held. The state waiting also needs --customer or --id. The default is parked,
    /// and waiting for `park`.
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    filter: FilterOptions,
    /// Select all entries in the state. The command requires `--all` if there are neither numbers nor filter options.
    #[arg(long)]
    all: bool,
    /// Show the effect of the command, and change nothing.
    #[arg(long)]
    preview: bool,
    /// The operator's reason for the command. The bridge records the reason in the audit log.
    #[arg(long)]
    reason: Option<String>,
}

/// The arguments of the command `replay`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayOptions {
    #[command(flatten)]
    change: ChangeOptions,
    /// Map the stored events again with the current mapping.
    #[arg(long)]
    map_again: bool,
}

pub(in crate::cli) fn replay(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let mut body = options.change.body("parked")?;
    body.insert("map_again".to_owned(), json!(options.map_again));
    options.change.send("replay", body)
}

pub(in crate::cli) fn discard(options: &ChangeOptions) -> anyhow::Result<ExitCode> {
    options.send("discard", options.body("parked")?)
}

pub(in crate::cli) fn park(options: &ChangeOptions) -> anyhow::Result<ExitCode> {
    options.send("park", options.body("waiting")?)
}

impl ChangeOptions {
    /// Returns the body of the request. The filter selects entries in the state of `--state`, otherwise in `state`.
    fn body(&self, state: &str) -> anyhow::Result<Map<String, Value>> {
        let mut filter = self.filter.members();
        let is_of_state = filter.is_empty();
        let is_unfiltered = is_of_state && self.state.is_none();
        let state = self.state.as_deref().unwrap_or(state);
        filter.insert("state".to_owned(), json!(state));
        let selected = match (self.entries.is_empty(), is_unfiltered, self.all) {
            (false, true, false) => ("ids", json!(self.entries)),
            (true, false, false) | (true, true, true) => ("filter", Value::Object(filter)),
            // `--state` names the state of `--all`.
            (true, false, true) if is_of_state => ("filter", Value::Object(filter)),
            (true, false, true) => bail!("leave out --all: the filter options select the entries"),
            (true, true, false) => {
                bail!("select entries: by number, by filter options, or with --all")
            }
            (_, _, _) => bail!("use only one of: numbers, filter options, --all"),
        };
        let mut body = Map::new();
        body.insert(selected.0.to_owned(), selected.1);
        body.insert("preview".to_owned(), json!(self.preview));
        body.insert("reason".to_owned(), json!(self.reason));
        Ok(body)
    }

    /// Sends the change. Without `--limit`, the command continues until the filter matches no further entry.
    fn send(&self, change: &str, body: Map<String, Value>) -> anyhow::Result<ExitCode> {
        let path = format!("/entries/{change}");
        let is_whole = !self.preview && self.filter.limit.is_none();
        let _log = telemetry::start(LogFormat::Text, "warn")?;
        let answer = change_all(&self.bridge, &path, Value::Object(body), is_whole)?;
        self.bridge.show(&answer, table::change);
        Ok(exit_code(table::has_changed(&answer)))
    }
}

/// Sends a change. With `is_whole`, continues with the entries after the last entry of each answer, until the filter matches no
/// further entry. Entries that the bridge accepts after the first request belong to another command: no preview has shown them. Returns all answers as one.
///
/// If a later request fails, shows what the earlier requests changed.
///
/// # Errors
/// Returns the error of the bridge.
pub(super) fn change_all(
    bridge: &Bridge,
    path: &str,
    mut body: Value,
    is_whole: bool,
) -> anyhow::Result<Value> {
    let mut all = bridge.call_with_log(&Method::POST, path, Some(&body))?;
    let as_of = at(&all, "as_of").clone();
    while is_whole && let Some(next) = at(&all, "next").as_u64() {
        // Numbers in the place of a filter select everything that they name at once.
        let Some(filter) = body.get_mut("filter").and_then(Value::as_object_mut) else {
            break;
        };
        filter.insert("after".to_owned(), json!(next));
        filter.entry("before").or_insert_with(|| as_of.clone());
        match bridge.call_with_log(&Method::POST, path, Some(&body)) {
            Ok(answer) => extend(&mut all, answer),
            Err(error) => {
                bridge.show(&all, table::change);
                return Err(error);
            }
        }
    }
    Ok(all)
}

/// Adds an answer to the earlier answers: appends the lists, and takes the other members from the later answer.
pub(super) fn extend(all: &mut Value, answer: Value) {
    let (Some(all), Value::Object(answer)) = (all.as_object_mut(), answer) else {
        return;
    };
    for (name, value) in answer {
        match (all.get_mut(&name), value) {
            (Some(Value::Array(before)), Value::Array(more)) => before.extend(more),
            (Some(Value::Number(before)), Value::Number(more)) if name == WOULD_REPLAY => {
                let sum = before.as_u64().zip(more.as_u64());
                let sum = sum.map(|(before, more)| before.saturating_add(more));
                drop(all.insert(name, json!(sum)));
            }
            (_, value) => drop(all.insert(name, value)),
        }
    }
}
