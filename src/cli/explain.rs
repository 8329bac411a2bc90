//! `explain`: what an event comes to, and why.
//!
//! The event is in a file, and is held against the sources of this machine; or it is in the store of a running bridge,
//! which then also knows what of it Imprint has in a newer form.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;

use super::operator::Bridge;
use super::operator::table::{aligned, at, list, text};
use super::{Layers, NEGATIVE_RESULT, examples, read};
use crate::app;
use crate::config::Purpose;
use crate::event::{SourceName, Visibility};
use crate::http::Method;
use crate::ingress;
use crate::terminal::{print_result, printable};
use crate::time::Clock;

/// How wide a column with what an event says may become: two of them and two names stand in a line of a wide terminal.
const CELL_CHARACTERS_MAX: usize = 48;

/// Which event, and how much of it is shown.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    layers: Layers,
    /// The source that the event is of.
    #[arg(long, value_name = "NAME", required_unless_present = "entry")]
    source: Option<String>,
    /// The file with the body as it would be posted; standard input without one, or where it is `-`.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The number of an entry in the store of a running bridge, instead of a file.
    #[arg(long, value_name = "NUMBER", requires = "token_file", conflicts_with_all = ["source", "file"])]
    entry: Option<u64>,
    /// The second listener of that bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    ops: String,
    /// The file with the operator's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Shows the values too; of an entry, that is recorded.
    #[arg(long)]
    reveal: bool,
    /// Prints the explanation as JSON.
    #[arg(long)]
    json: bool,
    /// Prints what stands in the .request.json or .refusal.json of an example, with all values.
    #[arg(long, conflicts_with_all = ["entry", "json"])]
    example: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let told = match (options.entry, &options.token_file) {
        (Some(entry), Some(token_file)) => {
            let bridge = Bridge::new(options.ops.clone(), token_file.clone(), options.json);
            let path = format!("/entries/{entry}/explain?reveal={}", options.reveal);
            bridge.call(&Method::GET, &path, None)?
        }
        (_, _) => match of_file(options)? {
            Ok(told) => told,
            Err(code) => return Ok(code),
        },
    };
    if options.example {
        print_result(format_args!("{:#}", examples::expectation(&told)));
    } else if options.json {
        print_result(&told);
    } else {
        lines(&told).iter().for_each(print_result);
    }
    let is_refused = |part: &Value| *at(part, "outcome") == "refused";
    let refused = is_refused(&told) || list(&told, "events").any(is_refused);
    Ok(if refused {
        ExitCode::from(NEGATIVE_RESULT)
    } else {
        ExitCode::SUCCESS
    })
}

fn of_file(options: &Options) -> anyhow::Result<Result<Value, ExitCode>> {
    let (config, sources) = match read(&options.layers, Purpose::Check) {
        Ok(read) => read,
        Err(code) => return Ok(Err(code)),
    };
    let name = SourceName::parse(options.source.as_deref().unwrap_or_default())?;
    let sources = app::unlocked(sources);
    let source = sources.get(&name).ok_or_else(|| {
        anyhow!(
            "there is no source {name} in {}",
            config.sources_dir.display()
        )
    })?;
    let body = body(options)?;
    let show = if options.reveal || options.example {
        Visibility::Revealed
    } else {
        Visibility::Masked
    };
    let terms = app::terms(&config, &Clock::machine())(show);
    Ok(Ok(ingress::explain(&name, source, terms, &body)))
}

fn body(options: &Options) -> anyhow::Result<Vec<u8>> {
    match options
        .file
        .as_deref()
        .filter(|file| file.as_os_str() != "-")
    {
        Some(file) => fs::read(file).with_context(|| file.display().to_string()),
        None => {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .context("standard input")?;
            Ok(body)
        }
    }
}

/// An explanation for people.
fn lines(told: &Value) -> Vec<String> {
    let events: Vec<&Value> = list(told, "events").collect();
    if events.is_empty() && !at(told, "outcome").is_null() {
        return part(told);
    }
    if events.is_empty() {
        return vec!["no events: nothing would be kept".to_owned()];
    }
    events.into_iter().flat_map(part).collect()
}

/// One event.
fn part(event: &Value) -> Vec<String> {
    let id = at(event, "id").as_str();
    let whose = id.map_or_else(
        || "the body".to_owned(),
        |id| format!("{id} ({})", text(at(event, "type"))),
    );
    let mut lines = vec![format!("{whose}: {}", outcome(event))];
    let faults = list(at(event, "problem"), "faults").map(|fault| {
        let place = at(fault, "pointer")
            .as_str()
            .filter(|place| !place.is_empty());
        format!(
            "  {}: {} ({} by {})",
            place.unwrap_or("the whole"),
            text(at(fault, "detail")),
            text(at(fault, "rule")),
            text(at(fault, "location")),
        )
    });
    lines.extend(faults);
    lines.extend(request(event));
    let mut rows = vec![["FIELD", "SAYS", "FROM", "BY"].map(str::to_owned).to_vec()];
    rows.extend(list(event, "fields").map(row));
    if rows.len() > 1 {
        lines.extend(aligned(&rows).into_iter().map(|row| format!("  {row}")));
    }
    for (name, title) in [("cleared", "cleared in the source"), ("unused", "not used")] {
        let all: Vec<String> = list(event, name).map(text).collect();
        if !all.is_empty() {
            lines.push(format!("  {title}: {}", all.join(", ")));
        }
    }
    lines
}

fn outcome(event: &Value) -> String {
    match at(event, "outcome").as_str() {
        Some("refused") => format!("refused, {}", text(at(at(event, "problem"), "type"))),
        Some("parked") => format!("parked, {}", text(at(event, "parked"))),
        Some("ignored") => "ignored: kept, and nothing is sent".to_owned(),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    }
}

/// Where the request goes and how it is ordered.
fn request(event: &Value) -> Option<String> {
    let request = event.get("request")?;
    let to = match (at(request, "path"), at(request, "partner_id")) {
        (Value::Null, partner) => format!("the customer that Imprint knows as {}", text(partner)),
        (path, Value::Null) => format!("{} {}", text(at(request, "method")), text(path)),
        (path, partner) => format!(
            "{} {}, if that is {}",
            text(at(request, "method")),
            text(path),
            text(partner)
        ),
    };
    let version = at(event, "version");
    Some(format!(
        "  to {to}, version {} in epoch {}",
        text(at(version, "value")),
        text(at(version, "epoch"))
    ))
}

fn row(field: &Value) -> Vec<String> {
    let says = match at(field, "says").as_str() {
        Some("value") => text(at(field, "value")),
        Some("cleared") => "(cleared)".to_owned(),
        Some("refused") => format!("refused: {}", text(at(at(field, "fault"), "detail"))),
        _nothing => "(left alone)".to_owned(),
    };
    let stale = if *at(field, "stale") == true {
        ", stale"
    } else {
        ""
    };
    let reads: Vec<String> = list(field, "reads").map(text).collect();
    let slow = if *at(field, "slow") == true {
        " (jq)"
    } else {
        ""
    };
    vec![
        text(at(field, "target")),
        format!("{}{stale}", cut(&says)),
        cut(&reads.join(" ")),
        format!("{}{slow}", in_one_line(&text(at(field, "expression")))),
    ]
}

/// As much of a text as a column has room for; `--json` has all of it.
fn cut(cell: &str) -> String {
    let cell = printable(cell);
    match cell.char_indices().nth(CELL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", cell.get(..end).unwrap_or_default()),
        None => cell,
    }
}

/// An expression without its line breaks.
pub(super) fn in_one_line(expression: &str) -> String {
    let lines: Vec<&str> = expression.lines().map(str::trim).collect();
    lines.join(" ")
}
