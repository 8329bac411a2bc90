//! `send`: sends events from a file or from standard input to a bridge.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::NEGATIVE_RESULT;
use super::header_option::HeaderParser;
use crate::app::block_on;
use crate::event::SourceName;
use crate::http::{HeaderName, HeaderValue};
use crate::sender::authentication::SenderAuthFiles;
use crate::sender::upload::{CONCURRENCY_MAX, Upload, UploadEnd, UploadSettings};
use crate::telemetry::{self, LogFormat};
use crate::terminal::{print_notice, print_result};

/// The lowest value of `--give-up-after`.
const GIVE_UP_MIN: Duration = Duration::from_millis(100);
/// The highest value of `--give-up-after`.
const GIVE_UP_MAX: Duration = Duration::from_hours(24);

/// The arguments of the command `send`.
#[derive(Debug, Args)]
pub(super) struct SendOptions {
    /// URL of the bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    to: String,
    /// Name of the source in the configuration of the bridge.
    #[arg(long, value_parser = parse_source)]
    source: SourceName,
    /// Maximum number of events per second. By default, `send` sends events as fast as the bridge accepts events.
    #[arg(long, value_name = "N", value_parser = super::parse_rate)]
    rate: Option<f64>,
    /// Maximum number of events in flight. The command sends events with the same attribute `subject` one after
    /// another.
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    concurrency: u64,
    #[command(flatten)]
    authentication: AuthArguments,
    /// Send plain JSON events instead of CloudEvents, each in its own request. The source file of the bridge must have
    /// expressions for the event id and the event type.
    #[arg(long)]
    plain: bool,
    /// Send the whole input as the body of one request, byte by byte. Use this option for a body with several events: a
    /// batch of CloudEvents, or a list that the source file splits.
    #[arg(long)]
    whole: bool,
    /// Header to send with each event, such as "x-topic: customers/update". Repeat the option for each header.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = HeaderParser)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Make the bridge deliver these events after all events with normal priority. A signature must cover the header
    /// `priority`, or the source file must list this header in `unsigned_headers`.
    #[arg(long)]
    low_priority: bool,
    /// Time limit for sending one event. If an event exceeds this time limit, the command ends.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    give_up_after: Duration,
    /// Show no progress bar.
    #[arg(long)]
    quiet: bool,
    /// File with JSON events: a single event, one event per line, or an array of events. `-` means standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// The arguments of `send` that name the secret files.
#[derive(Debug, Args)]
struct AuthArguments {
    /// Source file of the bridge, such as config/sources/crm.toml. The source file sets the kind of authentication. It
    /// also names the secret file, unless you set --secret-file or --token-file.
    #[arg(long, value_name = "FILE")]
    source_file: Option<PathBuf>,
    /// File with the secret with which the command signs each event. --source-file sets the signature scheme. Without
    /// --source-file, the secret must be a Standard Webhooks secret (`whsec_…`).
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    secret_file: Option<PathBuf>,
    /// File with the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &SendOptions) -> anyhow::Result<ExitCode> {
    let _log = telemetry::start(LogFormat::Text, "warn")?;
    let upload = match Upload::prepare(settings(arguments)) {
        Ok(upload) => upload,
        Err(error) => {
            print_notice(telemetry::chain(error.as_ref()));
            return Ok(ExitCode::from(NEGATIVE_RESULT));
        }
    };
    let (ended, counts) = block_on(upload.run())?;
    if let Some(reason) = ended.reason() {
        print_notice(reason);
    }
    print_result(counts);
    Ok(match ended {
        UploadEnd::Complete if counts.is_clean() => ExitCode::SUCCESS,
        UploadEnd::Complete | UploadEnd::GaveUp | UploadEnd::Interrupted => ExitCode::FAILURE,
        UploadEnd::NoEvent | UploadEnd::InvalidInput(_) => ExitCode::from(NEGATIVE_RESULT),
    })
}

fn settings(arguments: &SendOptions) -> UploadSettings {
    let authentication = &arguments.authentication;
    UploadSettings {
        to: arguments.to.clone(),
        source: arguments.source.clone(),
        rate: arguments.rate,
        concurrency: arguments.concurrency,
        authentication: SenderAuthFiles {
            source_file: authentication.source_file.clone(),
            secret_file: authentication.secret_file.clone(),
            token_file: authentication.token_file.clone(),
        },
        plain: arguments.plain,
        whole: arguments.whole,
        headers: arguments.headers.clone(),
        low_priority: arguments.low_priority,
        give_up_after: arguments.give_up_after,
        quiet: arguments.quiet,
        file: arguments.file.clone(),
    }
}

fn parse_source(raw: &str) -> Result<SourceName, String> {
    SourceName::parse(raw).map_err(|error| error.to_string())
}

fn parse_duration(raw: &str) -> Result<Duration, String> {
    raw.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|span| (GIVE_UP_MIN..=GIVE_UP_MAX).contains(span))
        .ok_or_else(|| format!("a duration such as 60s, from {GIVE_UP_MIN:?} to {GIVE_UP_MAX:?}"))
}
