//! The command about the mass-change brakes: shows them, opens or closes the brake of a source, and releases or discards the
//! entries that it holds.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::change::change_all;
use super::table::{self, at, list, text};
use super::{Bridge, exit_code};
use crate::http::Method;
use crate::spelling;
use crate::telemetry::{self, LogFormat};
use crate::terminal::print_notice;

/// The number of held entries that one request changes, at most. One transaction of the store changes them.
const BATCH_ENTRIES: u64 = 500;

/// The arguments of the command `brakes`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").requires("source")))]
pub(in crate::cli) struct BrakesOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// The source whose brake or whose held entries the command changes. Without a change, the command shows only this
    /// source.
    source: Option<String>,
    /// Open the brake for this time, such as 2h, at most 24h: the bridge then holds no entry of the source. Entries that are
    /// already held stay held.
    #[arg(long, value_name = "DURATION", group = "change", value_parser = parse_span)]
    open: Option<Duration>,
    /// Close an open brake before its time.
    #[arg(long, group = "change")]
    close: bool,
    /// Release all held entries of the source: they wait for delivery, with a lower priority than new events.
    #[arg(long, group = "change")]
    release: bool,
    /// Discard all held entries of the source: the bridge never sends them.
    #[arg(long, group = "change")]
    discard: bool,
    /// Show the effect of --release or --discard on the oldest 500 held entries, and change nothing.
    #[arg(long, requires = "source", conflicts_with_all = ["open", "close"])]
    preview: bool,
    /// Release or discard only entries that the bridge accepted before this time (RFC 3339). A preview shows the time that limits
    /// the change to the previewed entries.
    #[arg(long, value_name = "TIME", requires = "source", conflicts_with_all = ["open", "close"])]
    before: Option<String>,
    /// The operator's reason for the change. The bridge records the reason in the audit log.
    #[arg(long)]
    reason: Option<String>,
}

/// Shows or changes the brakes. The exit code is 2 if the change finds no held entry.
pub(in crate::cli) fn brakes(options: &BrakesOptions) -> anyhow::Result<ExitCode> {
    let source = options.source.as_deref().unwrap_or_default();
    let open_seconds = match (options.open, options.close) {
        (Some(span), _) => Some(span.as_secs()),
        (None, true) => Some(0),
        (None, false) => None,
    };
    match open_seconds {
        Some(seconds) => {
            let body = json!({"source": source, "open_seconds": seconds, "reason": options.reason});
            let answer = options.bridge.call(&Method::POST, "/brakes", Some(&body))?;
            options.bridge.show(&answer, brake_lines);
            Ok(ExitCode::SUCCESS)
        }
        None if options.release => options.change_held(source, ("replay", "replayed")),
        None if options.discard => options.change_held(source, ("discard", "discarded")),
        None => options.list(),
    }
}

impl BrakesOptions {
    fn list(&self) -> anyhow::Result<ExitCode> {
        let mut answer = self.bridge.call(&Method::GET, "/brakes", None)?;
        let brakes = answer.get_mut("brakes").and_then(Value::as_array_mut);
        if let (Some(source), Some(brakes)) = (&self.source, brakes) {
            let names = brakes
                .iter()
                .filter_map(|brake| at(brake, "source").as_str());
            let names: Vec<&str> = names.collect();
            if !names.contains(&source.as_str()) {
                let suggestion = spelling::suggestion(source, names);
                print_notice(format_args!(
                    "the bridge has no source {source}{suggestion}"
                ));
            }
            brakes.retain(|brake| at(brake, "source").as_str() == Some(source));
        }
        self.bridge.show(&answer, |answer| {
            list(answer, "brakes").flat_map(brake_lines).collect()
        });
        Ok(exit_code(list(&answer, "brakes").next().is_some()))
    }

    /// Changes the held entries of the source, one request after the other until no held entry is left.
    fn change_held(
        &self,
        source: &str,
        (change, member): (&str, &str),
    ) -> anyhow::Result<ExitCode> {
        let path = format!("/entries/{change}");
        let before = &self.before;
        let body = json!({
            "filter": {"state": "held", "source": source, "before": before, "limit": BATCH_ENTRIES},
            "preview": self.preview, "reason": self.reason,
        });
        let _log = telemetry::start(LogFormat::Text, "warn")?;
        let answer = change_all(&self.bridge, &path, body, !self.preview)?;
        self.bridge.show(&answer, table::change);
        let members = [member, "would_replay", "would_discard"];
        let is_empty = members.iter().all(|member| is_nothing(at(&answer, member)));
        Ok(exit_code(!is_empty))
    }
}

fn is_nothing(planned: &Value) -> bool {
    planned.is_null() || *planned == 0 || *planned == json!([])
}

/// Formats the brake of a source.
fn brake_lines(brake: &Value) -> Vec<String> {
    let (source, until) = (text(at(brake, "source")), at(brake, "open_until"));
    let mut lines = vec![match (at(brake, "mode").as_str(), until.is_null()) {
        (Some("on"), true) => format!("{source}: on"),
        (Some("on"), false) => format!("{source}: open until {}", text(until)),
        (Some(_) | None, true) => format!("{source}: off"),
        (Some(_) | None, false) => {
            format!("{source}: off, and its brake is open until {}", text(until))
        }
    }];
    if let Some(bridges @ 2..) = at(brake, "bridges").as_u64() {
        lines.push(format!(
            "  {bridges} bridges divide the limits between them"
        ));
    }
    let holding = list(brake, "holding").map(|holding| {
        let column = |name| text(at(holding, name));
        format!(
            "  holds {} since {}, by the limit of {}: {} entries, the newest at {}",
            column("field"),
            column("since"),
            column("rule"),
            column("entries"),
            column("last"),
        )
    });
    lines.extend(holding);
    lines
}

fn parse_span(raw: &str) -> Result<Duration, String> {
    let span = raw.parse::<jiff::SignedDuration>().ok();
    let span = span.and_then(|span| Duration::try_from(span).ok());
    let span = span.filter(|span| span.as_secs() > 0);
    span.ok_or_else(|| "a duration such as 30m or 2h, at least 1s".to_owned())
}
