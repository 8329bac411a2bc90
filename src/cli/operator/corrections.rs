//! The command `correct`, and the option of `parked` that prints the events to correct.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::change::extend;
use super::table::{self, at, list};
use super::{Bridge, exit_code};
use crate::event::json as strict;
use crate::http::Method;
use crate::telemetry::{self, LogFormat};
use crate::terminal::print_notice;

/// The maximum size of the file with corrected events.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The maximum size of the events in one request. The admin API takes bodies of at most 256 KiB.
const PART_BYTES_MAX: usize = 200 * 1024;
/// The maximum number of entries in one request.
const PART_ENTRIES_MAX: usize = 100;

/// The arguments of the command `correct`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CorrectOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// File with one entry a line, as `parked --events` prints them, with corrected events. Only `data`, `subject` and
    /// `time` of an event can change. Delete the lines of entries that stay as they are. `-` means standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show the effect of the command, and change nothing.
    #[arg(long)]
    preview: bool,
    /// The operator's reason for the command. The bridge records the reason in the audit log.
    #[arg(long, required_unless_present = "preview")]
    reason: Option<String>,
}

/// Prints the stored events of parked entries, one entry a line, with unmasked values.
pub(super) fn print_events(
    bridge: &Bridge,
    mut filter: Map<String, Value>,
) -> anyhow::Result<ExitCode> {
    let _log = telemetry::start(LogFormat::Text, "warn")?;
    let is_limited = filter.contains_key("limit");
    let mut has_any = false;
    loop {
        let body = json!({"filter": filter});
        let page = bridge.call_with_log(&Method::POST, "/entries/events", Some(&body))?;
        for entry in list(&page, "entries") {
            has_any = true;
            // A file that lacks events without a notice would be the input of a change.
            writeln!(std::io::stdout(), "{}", visible_json(entry))
                .context("the events are not printed completely")?;
        }
        let Some(next) = at(&page, "next").as_u64().filter(|_| !is_limited) else {
            return Ok(exit_code(has_any));
        };
        filter.insert("after".to_owned(), json!(next));
        let as_of = at(&page, "as_of").clone();
        filter.entry("before").or_insert(as_of);
    }
}

/// Writes JSON in one line. Letters and digits stay as they are; other characters outside ASCII are escaped, because the
/// terminal shows none that it could take for a command.
fn visible_json(value: &Value) -> String {
    let mut line = String::new();
    for letter in value.to_string().chars() {
        if (letter.is_ascii() && !letter.is_ascii_control()) || letter.is_alphanumeric() {
            line.push(letter);
            continue;
        }
        let mut units = [0; 2];
        let units = letter.encode_utf16(&mut units).iter();
        line.extend(units.map(|unit| format!("\\u{unit:04x}")));
    }
    line
}

/// Replays parked entries with corrected events. If a later part fails, shows what the earlier parts changed.
pub(in crate::cli) fn correct(options: &CorrectOptions) -> anyhow::Result<ExitCode> {
    let lines = read(&options.file)?;
    let corrections = corrections(&lines)?;
    let _log = telemetry::start(LogFormat::Text, "warn")?;
    let mut all: Option<Value> = None;
    let parts = parts(corrections);
    if options.preview && parts.len() > 1 {
        print_notice(format_args!(
            "the preview has {} parts, and computes each part by itself: if a customer has entries in several parts, fewer requests are sent",
            parts.len()
        ));
    }
    for part in parts {
        let body = json!({
            "corrections": part, "preview": options.preview, "reason": options.reason,
        });
        let path = "/entries/correct";
        let answer = options
            .bridge
            .call_with_log(&Method::POST, path, Some(&body));
        match (answer, &mut all) {
            (Ok(answer), Some(all)) => extend(all, answer),
            (Ok(answer), None) => all = Some(answer),
            (Err(error), all) => {
                let before = all.iter();
                before.for_each(|all| options.bridge.show(all, table::change));
                return Err(error);
            }
        }
    }
    let Some(all) = all else {
        print_notice("the file has no entry");
        return Ok(exit_code(false));
    };
    options.bridge.show(&all, table::change);
    Ok(exit_code(table::has_changed(&all)))
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut content = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin()
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut content),
        false => std::fs::File::open(file)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut content)),
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    if u64::try_from(content.len())? > FILE_BYTES_MAX {
        bail!(
            "{} has more than {} MiB: split it",
            file.display(),
            FILE_BYTES_MAX / 1024 / 1024
        );
    }
    Ok(content)
}

/// Parses the lines of the file: the entry and the event of each line. The other members stay unread.
fn corrections(lines: &str) -> anyhow::Result<Vec<Value>> {
    let mut corrections = Vec::new();
    let mut numbers = BTreeSet::new();
    let lines = lines.lines().zip(1_usize..);
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        let parsed = strict::parse(line.trim().as_bytes());
        let parsed = parsed.with_context(|| format!("line {number}"))?;
        let (entry, event) = (at(&parsed, "entry"), parsed.get("event"));
        match (entry.as_u64(), event) {
            (Some(entry), Some(event)) => {
                if !numbers.insert(entry) {
                    bail!("line {number}: entry {entry} stands twice");
                }
                corrections.push(json!({"entry": entry, "event": event}));
            }
            (_, _) => bail!(
                "line {number} has no entry and event: each line is an object as `parked --events` prints it"
            ),
        }
    }
    Ok(corrections)
}

/// Divides the corrections into the parts of which each fits into one request. A larger event is a part of its own.
fn parts(corrections: Vec<Value>) -> Vec<Vec<Value>> {
    let mut parts: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for correction in corrections {
        let length = correction.to_string().len();
        match parts.last_mut() {
            Some(part) if part.len() < PART_ENTRIES_MAX && bytes + length <= PART_BYTES_MAX => {
                bytes += length;
                part.push(correction);
            }
            Some(_) | None => {
                bytes = length;
                parts.push(vec![correction]);
            }
        }
    }
    parts
}
