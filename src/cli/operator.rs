//! The operator's commands. These commands call the admin API of a running bridge and print the answers of the API.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use self::table::at;
use super::NEGATIVE_RESULT;
use crate::app::block_on;
use crate::config::secret;
use crate::http::client::{ExchangeError, ExchangeLimits, HttpClient};
use crate::http::{HeaderValue, Method, StatusCode, header};
use crate::outbox::{ParkReason, State};
use crate::telemetry::{self, LogFormat};
use crate::terminal::{print_notice, print_result};

mod audit;
mod brakes;
mod change;
mod corrections;
mod customer;
mod origins;
mod passed;
mod problems;
mod sources;
mod status;
pub(super) mod table;
mod try_out;
mod versions;

pub(super) use audit::{AuditOptions, audit};
pub(super) use brakes::{BrakesOptions, brakes};
pub(super) use change::{ChangeOptions, ReplayOptions, discard, park, replay};
pub(super) use corrections::{CorrectOptions, correct};
pub(super) use customer::{EraseOptions, ExportOptions, erase, export};
pub(super) use origins::{CustomerOptions, customer};
pub(super) use passed::{PassedOptions, passed};
pub(super) use problems::{ProblemsOptions, problems};
pub(super) use sources::{
    DeniedOptions, ReloadOptions, SourcesOptions, denied_requests, reload, sources,
};
pub(super) use status::{StatusOptions, status};
pub(super) use try_out::{TryOutOptions, try_out};
pub(super) use versions::{ResetOptions, reset_versions};

/// The state of the entries that the command `events` lists without options.
const WAITING: &str = "waiting";
/// The maximum duration of a call to the admin API. A replay of many entries is one long transaction.
const DEADLINE: Duration = Duration::from_secs(60);
/// The maximum size of an answer of the admin API. An answer with 500 entries and all values fits into this size.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The detail of the event listener's answer to an unknown path.
const EVENTS_NOT_FOUND: &str =
    "No resource has this path. Events go to POST /v1/sources/{source}/events";

/// The bridge to call, and the operator's token.
#[derive(Debug, Args)]
pub(super) struct Bridge {
    /// URL of the ops listener of the bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    ops: String,
    /// File with the operator's token.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Bridge {
    pub(super) const fn new(ops: String, token_file: PathBuf, json: bool) -> Self {
        Self {
            ops,
            token_file,
            json,
        }
    }
}

/// The command-line options that select entries.
#[derive(Debug, Args)]
pub(super) struct FilterOptions {
    /// Select the entries of the events with this id.
    #[arg(long)]
    id: Option<String>,
    /// Select entries of this source.
    #[arg(long)]
    source: Option<String>,
    /// Select entries of this event type.
    #[arg(long)]
    r#type: Option<String>,
    /// Select entries parked for this reason.
    #[arg(long, value_parser = reason_words())]
    parked_for: Option<String>,
    /// Select entries of this customer. The id is Imprint's id or the CRM's id: if the bridge knows both, it selects the
    /// entries of both. Events that the bridge ignored when they arrived, and invalid events, belong to no customer.
    #[arg(long)]
    customer: Option<String>,
    /// Select entries accepted before this time (RFC 3339).
    #[arg(long)]
    before: Option<String>,
    /// Select entries accepted at this time or later (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// Select entries whose number is greater than this number.
    #[arg(long)]
    after: Option<u64>,
    /// Maximum number of entries to select. Without this option, a list shows 100 entries, and a change continues until the
    /// filter matches no further entry.
    #[arg(long)]
    limit: Option<u64>,
}

/// The arguments of the command `events`.
#[derive(Debug, Args)]
pub(super) struct EventsOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Select entries in this state: waiting, held, undecided, delivered, superseded, ignored, parked or discarded, or `all`.
    /// Repeat the option for more states. The default is `all` with --id or --customer, otherwise waiting.
    #[arg(long, value_delimiter = ',', value_parser = state_words())]
    state: Vec<String>,
    #[command(flatten)]
    filter: FilterOptions,
}

/// The arguments of the command `parked`.
#[derive(Debug, Args)]
pub(super) struct ParkedOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Print the stored event of each entry, unmasked and one entry a line, for `correct`. The bridge records in the audit log
    /// that the operator revealed values.
    #[arg(long, conflicts_with = "json")]
    events: bool,
    #[command(flatten)]
    filter: FilterOptions,
}

/// The arguments of the command `show`.
#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Number of the entry.
    #[arg(value_parser = entry_number)]
    entry: u64,
    /// Show values unmasked. The bridge records in the audit log that the operator revealed values.
    #[arg(long)]
    reveal: bool,
}

/// The arguments of the command `destination`.
#[derive(Debug, Args)]
pub(super) struct DestinationOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// New mode of the destination. Without a mode, the command only shows the destination.
    mode: Option<ModeOption>,
    /// The operator's reason. The modes paused and shadow need it. The bridge shows the reason on the console, and keeps it
    /// in the audit log: write no value of a customer into it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeOption {
    /// The bridge sends requests to Imprint.
    Open,
    /// The bridge sends no requests to Imprint.
    Paused,
    /// The bridge does everything except sending requests, and records each request instead.
    Shadow,
}

pub(super) fn events(options: &EventsOptions) -> anyhow::Result<ExitCode> {
    let filter = &options.filter;
    let state = match options.state.join(",") {
        state if !state.is_empty() => state,
        _ if filter.id.is_some() || filter.customer.is_some() => "all".to_owned(),
        _ => WAITING.to_owned(),
    };
    list(&options.bridge, &state, filter)
}

pub(super) fn parked(options: &ParkedOptions) -> anyhow::Result<ExitCode> {
    if !options.events {
        return list(&options.bridge, "parked", &options.filter);
    }
    let mut filter = options.filter.members();
    filter.insert("state".to_owned(), json!("parked"));
    corrections::print_events(&options.bridge, filter)
}

fn list(bridge: &Bridge, state: &str, filter: &FilterOptions) -> anyhow::Result<ExitCode> {
    let mut members = filter.members();
    members.insert("state".to_owned(), json!(state));
    let query = members.iter().map(|(key, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        format!("{key}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC))
    });
    let query = query.collect::<Vec<_>>().join("&");
    let _log = telemetry::start(LogFormat::Text, "warn")?;
    let page = bridge.call_with_log(&Method::GET, &format!("/entries?{query}"), None)?;
    bridge.show(&page, table::entries);
    if let (Some(next), false) = (at(&page, "next").as_u64(), bridge.json) {
        print_result(format_args!("for more entries, add --after {next}"));
    }
    let is_empty = at(&page, "entries").as_array().is_none_or(Vec::is_empty);
    let source = filter
        .source
        .as_deref()
        .filter(|_| is_empty && !bridge.json);
    let unknown = source.map(|source| sources::unknown(bridge, source));
    if let Some(unknown) = unknown.transpose()?.flatten() {
        print_notice(unknown);
    } else if is_empty && !bridge.json && state == WAITING {
        print_notice("no entry waits; --state all lists the entries in every state");
    }
    Ok(exit_code(!is_empty))
}

pub(super) fn show(options: &ShowOptions) -> anyhow::Result<ExitCode> {
    let path = format!("/entries/{}?reveal={}", options.entry, options.reveal);
    let entry = options.bridge.call(&Method::GET, &path, None)?;
    options.bridge.show(&entry, table::entry);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn destination(options: &DestinationOptions) -> anyhow::Result<ExitCode> {
    let answer = match options.mode {
        None => options.bridge.call(&Method::GET, "/destination", None)?,
        Some(mode) => {
            let mode = match mode {
                ModeOption::Open => "open",
                ModeOption::Paused => "paused",
                ModeOption::Shadow => "shadow",
            };
            let body = json!({"mode": mode, "reason": options.reason});
            options
                .bridge
                .call(&Method::POST, "/destination", Some(&body))?
        }
    };
    options.bridge.show(&answer, table::entry);
    Ok(ExitCode::SUCCESS)
}

/// Returns the words for the reasons for parking, so that the program names a wrong word itself.
fn reason_words() -> clap::builder::PossibleValuesParser {
    ParkReason::ALL.map(ParkReason::as_str).into()
}

/// Returns the words for the states of entries, and the word for all of them.
fn state_words() -> clap::builder::PossibleValuesParser {
    let states = State::ALL.iter().map(|state| state.as_str());
    states.chain(["all"]).collect::<Vec<_>>().into()
}

impl FilterOptions {
    fn members(&self) -> Map<String, Value> {
        let texts = [
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.r#type),
            ("reason", &self.parked_for),
            ("customer", &self.customer),
            ("before", &self.before),
            ("since", &self.since),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?))));
        let numbers = [("after", self.after), ("limit", self.limit)];
        let numbers = numbers
            .into_iter()
            .filter_map(|(key, number)| Some((key.to_owned(), json!(number?))));
        texts.chain(numbers).collect()
    }
}

impl Bridge {
    /// Calls the admin API. For an error answer, returns an error with the `detail` of the answer.
    pub(super) fn call(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let _log = telemetry::start(LogFormat::Text, "warn")?;
        self.call_with_log(method, path, body)
    }

    /// Calls the admin API as [`Self::call`] does. The caller has started the log, for several calls.
    pub(super) fn call_with_log(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let token = secret::read(&self.token_file).map_err(|reason| anyhow!(reason))?;
        let url = format!("{}/admin/v1{path}", self.ops.trim_end_matches('/'));
        block_on(async {
            let request = HttpClient::new()?.request(method.clone(), &url);
            let request = request
                .bearer(&token)
                .context("the operator's token is not sent")?;
            let (request, body) = match body {
                Some(body) => {
                    let json = HeaderValue::from_static("application/json");
                    (request.header(header::CONTENT_TYPE, json), body.to_string())
                }
                None => (request, String::new()),
            };
            let limits = ExchangeLimits {
                deadline: DEADLINE,
                body_bytes_max: ANSWER_BYTES_MAX,
            };
            let response = request.send(body.into_bytes(), limits).await;
            let response = response.map_err(|error| {
                let hint = match error {
                    ExchangeError::Connection(_) => NO_OPS_LISTENER,
                    ExchangeError::Deadline(_) => "",
                };
                anyhow!("{url}: {error}{hint}")
            })?;
            let body = response.body;
            let body = body.with_context(|| format!("{url}: the answer is incomplete"))?;
            parse_answer(response.status, &body)
        })
    }

    pub(super) fn show(&self, answer: &Value, table: impl Fn(&Value) -> Vec<String>) {
        if self.json {
            print_result(answer);
        } else {
            table(answer).iter().for_each(print_result);
        }
    }
}

/// The hint if nothing answers at the URL of the admin API.
const NO_OPS_LISTENER: &str =
    "; is the bridge running? --ops is the URL of its ops listener (ops.listen)";

/// Parses the body of an answer of the admin API. For an error answer, returns an error with the `detail` of the
/// answer.
fn parse_answer(status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let detail = at(&answer, "detail").as_str();
    let listener = if status == StatusCode::UNAUTHORIZED {
        ". The bridge does not know the token in the file of --token-file: the file is one of those in ops.token_files"
    } else if detail.is_some_and(|detail| detail.starts_with(EVENTS_NOT_FOUND)) {
        " This is perhaps the event listener: --ops names the ops listener (ops.listen)."
    } else {
        ""
    };
    bail!(
        "{status}: {}{listener}",
        detail.unwrap_or("this is not the admin API of a bridge")
    )
}

/// Parses the number of an entry. The id of an event is no such number.
fn entry_number(raw: &str) -> Result<u64, String> {
    let is_list = raw.contains([',', '-', ';']) && !raw.contains(|sign: char| sign.is_alphabetic());
    if is_list {
        return Err("write the numbers of the entries with spaces between them; there is no notation for a range".to_owned());
    }
    raw.parse().map_err(|_other| {
        "the bridge gives each entry a number, and this is none; `events --id` shows the numbers of an event with this id"
            .to_owned()
    })
}

fn exit_code(found: bool) -> ExitCode {
    if found {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NEGATIVE_RESULT)
    }
}
