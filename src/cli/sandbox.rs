//! `sandbox`: a stand-in for Imprint on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::app::block_on;
use crate::config::secret;
use crate::sandbox::{LEDGER_MAX, Sandbox, SandboxSettings, UnknownCustomer};
use crate::shutdown::Signals;
use crate::telemetry::{self, LogFormat};
use crate::terminal::print_notice;
use crate::time::Clock;

/// What the sandbox can be asked for.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:9400")]
    listen: SocketAddr,
    /// The file with the key it takes.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The file with the merchant key it asks for.
    #[arg(long, value_name = "FILE")]
    merchant_key_file: Option<PathBuf>,
    /// A JSON file with customers it knows from the start.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Answers 404 for customers that were not seeded, instead of making them.
    #[arg(long)]
    seeded_only: bool,
    /// How long every answer takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// How many calls its ledger keeps.
    #[arg(long, value_name = "N", default_value_t = LEDGER_MAX)]
    ledger_max: usize,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text, "info,actix_http=off")?;
    let read = |file: &PathBuf| secret::read(file).map_err(|reason| anyhow!(reason));
    let mut settings = SandboxSettings::new(options.listen, read(&options.key_file)?);
    settings.merchant_key = options.merchant_key_file.as_ref().map(read).transpose()?;
    settings.unknown_customer = if options.seeded_only {
        UnknownCustomer::NotFound
    } else {
        UnknownCustomer::Created
    };
    settings.latency = Duration::from_millis(options.latency_ms);
    settings.ledger_max = options.ledger_max;
    if let Some(file) = &options.seed {
        let seed = std::fs::read(file).with_context(|| file.display().to_string())?;
        settings.seeds = Sandbox::parse_seed(&seed).with_context(|| file.display().to_string())?;
    }
    block_on(async {
        let mut signals = Signals::listen()?;
        let running = Sandbox::start(settings, Clock::machine())?;
        print_notice(format_args!(
            "the sandbox listens on http://{}",
            running.address
        ));
        print_notice(format_args!(
            "what it was sent: http://{}/sandbox/ledger",
            running.address
        ));
        tokio::select! {
            ended = running.server => ended?,
            _ = signals.next() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}
