//! `send`: events from a file or from standard input, to a bridge.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::NEGATIVE_RESULT;
use crate::app::block_on;
use crate::event::SourceName;
use crate::sender::authentication::SenderAuthFiles;
use crate::sender::upload::{CONCURRENCY_MAX, Upload, UploadEnd, UploadSettings};
use crate::telemetry::{self, LogFormat};
use crate::terminal::{print_notice, print_result};

/// How long one event may be tried.
const GIVE_UP_MIN: Duration = Duration::from_millis(100);
const GIVE_UP_MAX: Duration = Duration::from_hours(24);

/// The arguments of `send`.
#[derive(Debug, Args)]
pub(super) struct SendArguments {
    /// The bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    to: String,
    /// The name of the source, as the bridge has it.
    #[arg(long, value_parser = parse_source)]
    source: SourceName,
    /// The most events a second; as fast as the bridge takes them unless it is said.
    #[arg(long, value_name = "N", value_parser = super::parse_rate)]
    rate: Option<f64>,
    /// How many events are under way at once. Those of one subject are sent one after the other in any case.
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    concurrency: u64,
    #[command(flatten)]
    authentication: ProofArguments,
    /// They are plain JSON and no CloudEvents: for a source whose file says where id and type stand. A body that is a
    /// list goes out item by item.
    #[arg(long)]
    plain: bool,
    /// Goes behind everything live at the bridge: for backfills.
    #[arg(long)]
    low_priority: bool,
    /// How long one event is tried before the whole run is given up.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    give_up_after: Duration,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
    /// JSON events one after another (one, a line each, or an array of them); - is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Where secrets are, and what is done with them.
#[derive(Debug, Args)]
struct ProofArguments {
    /// The source's file at the bridge, such as config/sources/crm.toml: signs, or shows a token, as it says, with
    /// the first of the files that it names or the one named here.
    #[arg(long, value_name = "FILE")]
    source_file: Option<PathBuf>,
    /// The file with the secret that signs each event: as --source-file says, or else (`whsec_…`) as Standard Webhooks
    /// describes it.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    secret_file: Option<PathBuf>,
    /// The file with the token to show.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &SendArguments) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text, "warn")?;
    let upload = match Upload::prepare(settings(arguments)) {
        Ok(upload) => upload,
        Err(error) => {
            print_notice(telemetry::chain(error.as_ref()));
            return Ok(ExitCode::from(NEGATIVE_RESULT));
        }
    };
    let (ended, tally) = block_on(upload.run())?;
    if let Some(reason) = ended.reason() {
        print_notice(reason);
    }
    print_result(tally);
    Ok(match ended {
        UploadEnd::Whole if tally.is_clean() => ExitCode::SUCCESS,
        UploadEnd::Whole | UploadEnd::GivenUp | UploadEnd::Interrupted => ExitCode::FAILURE,
        UploadEnd::Broken(_) => ExitCode::from(NEGATIVE_RESULT),
    })
}

fn settings(arguments: &SendArguments) -> UploadSettings {
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
