//! The operator's commands: they ask the administration of a running bridge, and show what it answers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use self::table::at;
use super::FOUND_FAULTS;
use crate::app::block_on;
use crate::config::secret;
use crate::http::client::{ExchangeLimits, HttpClient};
use crate::http::{HeaderValue, Method, StatusCode, header};
use crate::telemetry::{self, LogFormat};
use crate::terminal::{print_notice, print_result};

pub(super) mod table;

/// How long one answer may take: a replay of many is one transaction.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest answer: five hundred entries with their facts.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which bridge, and who asks.
#[derive(Debug, Args)]
pub(super) struct Bridge {
    /// The second listener of the bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    ops: String,
    /// The file with the operator's token.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Bridge {
    /// The bridge at this address, asked with this token.
    pub(super) const fn new(ops: String, token_file: PathBuf, json: bool) -> Self {
        Self {
            ops,
            token_file,
            json,
        }
    }
}

/// Which entries.
#[derive(Debug, Args)]
pub(super) struct FilterOptions {
    /// The source they came through.
    #[arg(long)]
    source: Option<String>,
    /// Their event type.
    #[arg(long)]
    r#type: Option<String>,
    /// Why they are parked.
    #[arg(long)]
    parked_for: Option<String>,
    /// The id of their customer: Imprint's, or the partner's own where that is all there is.
    #[arg(long)]
    customer: Option<String>,
    /// Accepted before this moment (RFC 3339).
    #[arg(long)]
    before: Option<String>,
    /// Accepted at this moment or later (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// With numbers greater than this.
    #[arg(long)]
    after: Option<u64>,
    /// At most so many.
    #[arg(long)]
    limit: Option<u64>,
}

/// `events`
#[derive(Debug, Args)]
pub(super) struct EventsOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Where they stand: waiting, delivered, superseded, ignored, parked or discarded.
    #[arg(long, default_value = "waiting")]
    state: String,
    #[command(flatten)]
    filter: FilterOptions,
}

/// `parked`
#[derive(Debug, Args)]
pub(super) struct ParkedOptions {
    #[command(flatten)]
    bridge: Bridge,
    #[command(flatten)]
    filter: FilterOptions,
}

/// `show`
#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// The number of the entry.
    entry: u64,
    /// Shows the values too; that is recorded.
    #[arg(long)]
    reveal: bool,
}

/// `replay` and `discard`
#[derive(Debug, Args)]
pub(super) struct ChangeOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// The numbers of parked entries; without any, the filter says which.
    entries: Vec<u64>,
    #[command(flatten)]
    filter: FilterOptions,
    /// Every parked entry: without this, neither numbers nor a filter is a mistake.
    #[arg(long)]
    all: bool,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    preview: bool,
    /// Why; stands in the record.
    #[arg(long)]
    reason: Option<String>,
}

/// `replay`
#[derive(Debug, Args)]
pub(super) struct ReplayOptions {
    #[command(flatten)]
    change: ChangeOptions,
    /// Maps the kept events by the mapping of today first.
    #[arg(long)]
    map_again: bool,
}

/// `audit`
#[derive(Debug, Args)]
pub(super) struct AuditOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Lines after this number.
    #[arg(long, default_value = "0")]
    after: u64,
}

/// `destination`
#[derive(Debug, Args)]
pub(super) struct DestinationOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// What is wanted of it; without it, only how it is is shown.
    mode: Option<ModeOption>,
    /// Why; stands in the record.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeOption {
    /// Sends everything that is due.
    Open,
    /// Sends nothing.
    Paused,
    /// Does everything but the request.
    Shadow,
}

pub(super) fn events(options: &EventsOptions) -> anyhow::Result<ExitCode> {
    list(&options.bridge, &options.state, &options.filter)
}

pub(super) fn parked(options: &ParkedOptions) -> anyhow::Result<ExitCode> {
    list(&options.bridge, "parked", &options.filter)
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
    let found = bridge.ask(&Method::GET, &format!("/entries?{query}"), None)?;
    bridge.show(&found, table::entries);
    if let (Some(next), false) = (at(&found, "next").as_u64(), bridge.json) {
        print_result(format_args!("more with --after {next}"));
    }
    let is_empty = at(&found, "entries").as_array().is_none_or(Vec::is_empty);
    Ok(code(!is_empty))
}

pub(super) fn show(options: &ShowOptions) -> anyhow::Result<ExitCode> {
    let path = format!("/entries/{}?reveal={}", options.entry, options.reveal);
    let entry = options.bridge.ask(&Method::GET, &path, None)?;
    options.bridge.show(&entry, table::entry);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn replay(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let mut body = options.change.body()?;
    body.insert("map_again".to_owned(), json!(options.map_again));
    options.change.perform("replay", body)
}

pub(super) fn discard(options: &ChangeOptions) -> anyhow::Result<ExitCode> {
    options.perform("discard", options.body()?)
}

pub(super) fn audit(options: &AuditOptions) -> anyhow::Result<ExitCode> {
    let path = format!("/audit?after={}", options.after);
    let acts = options.bridge.ask(&Method::GET, &path, None)?;
    options.bridge.show(&acts, table::acts);
    let is_sound = *at(&acts, "sound") == true;
    if !is_sound {
        print_notice("the record is not as it was written");
    }
    Ok(code(is_sound))
}

pub(super) fn destination(options: &DestinationOptions) -> anyhow::Result<ExitCode> {
    let told = match options.mode {
        None => options.bridge.ask(&Method::GET, "/destination", None)?,
        Some(mode) => {
            let mode = match mode {
                ModeOption::Open => "open",
                ModeOption::Paused => "paused",
                ModeOption::Shadow => "shadow",
            };
            let body = json!({"mode": mode, "reason": options.reason});
            options
                .bridge
                .ask(&Method::POST, "/destination", Some(&body))?
        }
    };
    options.bridge.show(&told, table::entry);
    Ok(ExitCode::SUCCESS)
}

impl FilterOptions {
    fn members(&self) -> Map<String, Value> {
        let texts = [
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

impl ChangeOptions {
    fn body(&self) -> anyhow::Result<Map<String, Value>> {
        let filter = self.filter.members();
        let which = match (self.entries.is_empty(), filter.is_empty(), self.all) {
            (false, true, false) => ("ids", json!(self.entries)),
            (true, false, false) | (true, true, true) => ("filter", Value::Object(filter)),
            (true, true, false) => bail!("say which entries: numbers, a filter, or --all"),
            (_, _, _) => bail!("say numbers, a filter, or --all, and not several of them"),
        };
        let mut body = Map::new();
        body.insert(which.0.to_owned(), which.1);
        body.insert("preview".to_owned(), json!(self.preview));
        body.insert("reason".to_owned(), json!(self.reason));
        Ok(body)
    }

    fn perform(&self, what: &str, body: Map<String, Value>) -> anyhow::Result<ExitCode> {
        let path = format!("/entries/{what}");
        let body = Value::Object(body);
        let done = self.bridge.ask(&Method::POST, &path, Some(&body))?;
        self.bridge.show(&done, table::done);
        let changed = ["replayed", "discarded", "would_discard"]
            .iter()
            .any(|word| {
                at(&done, word)
                    .as_array()
                    .is_some_and(|list| !list.is_empty())
            });
        Ok(code(
            changed
                || at(&done, "would_replay")
                    .as_u64()
                    .is_some_and(|number| number > 0),
        ))
    }
}

impl Bridge {
    /// Asks the bridge; an answer that is no 200 is an error in its own words.
    pub(super) fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        telemetry::start(LogFormat::Text, "warn")?;
        let token = secret::read(&self.token_file).map_err(|reason| anyhow!(reason))?;
        let url = format!("{}/admin/v1{path}", self.ops.trim_end_matches('/'));
        block_on(async {
            let request = HttpClient::new()?.request(method.clone(), &url);
            let request = request.bearer(&token).context("the operator's token")?;
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
            let response = response.with_context(|| url.clone())?;
            let body = response.body;
            let body = body.with_context(|| format!("{url}: the answer broke off"))?;
            heard(response.status, &body)
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

/// What an answer says; one that is no success is an error in its own words.
fn heard(status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let detail = at(&answer, "detail").as_str();
    bail!("{status}: {}", detail.unwrap_or("no bridge answers there"))
}

fn code(found: bool) -> ExitCode {
    if found {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND_FAULTS)
    }
}
