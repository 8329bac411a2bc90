//! `sandbox`: simulates Imprint on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::app::block_on;
use crate::config::listen_address;
use crate::config::secret;
use crate::event::json;
use crate::sandbox::{LEDGER_MAX, Sandbox, SandboxSettings, UnseededCustomer};
use crate::shutdown::Signals;
use crate::telemetry::{self, LogFormat};
use crate::terminal::print_notice;
use crate::time::Clock;

/// The arguments of the command `sandbox`.
#[derive(Debug, Args)]
pub(super) struct SandboxOptions {
    /// Address on which the sandbox listens.
    #[arg(long, default_value = "127.0.0.1:9400", value_parser = listen_address::parse)]
    listen: SocketAddr,
    /// File with the API key that every call must have.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// File with the merchant key that every call must have.
    #[arg(long, value_name = "FILE")]
    merchant_key_file: Option<PathBuf>,
    /// JSON file with the customers that the sandbox has at its start.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Answer 404 to an update of an unknown customer. By default, the sandbox creates the customer.
    #[arg(long)]
    seeded_only: bool,
    /// Minimum latency of every answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Number of received calls that the sandbox keeps in its ledger.
    #[arg(long, value_name = "N", default_value_t = LEDGER_MAX)]
    ledger_max: usize,
}

pub(super) fn run(options: &SandboxOptions) -> anyhow::Result<ExitCode> {
    let _log = telemetry::start(LogFormat::Text, "info,actix_http=off")?;
    let read = |file: &PathBuf| secret::read(file).map_err(|reason| anyhow!(reason));
    let mut settings = SandboxSettings::new(options.listen, read(&options.key_file)?);
    settings.merchant_key = options.merchant_key_file.as_ref().map(read).transpose()?;
    settings.unknown_customer = if options.seeded_only {
        UnseededCustomer::NotFound
    } else {
        UnseededCustomer::Created
    };
    settings.latency = Duration::from_millis(options.latency_ms);
    settings.ledger_max = options.ledger_max;
    if let Some(file) = &options.seed {
        let seed = std::fs::read(file).with_context(|| file.display().to_string())?;
        json::parse_file(&seed).map_err(|error| {
            let cause = error.to_string().replace("body", "file");
            anyhow!("{} is not JSON: {cause}", file.display())
        })?;
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
            "received calls: http://{}/sandbox/ledger",
            running.address
        ));
        if !options.seeded_only {
            print_notice(format_args!(
                "an update of an unknown customer creates the customer; Imprint answers 404, and with --seeded-only the sandbox does too"
            ));
        }
        tokio::select! {
            ended = running.server => ended?,
            _ = signals.next() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}
