//! `demo`: runs the sandbox, the bridge and a simulated CRM in one process.

use std::process::ExitCode;

use clap::Args;

use crate::demo::{self, DemoSettings, EVENTS_MAX};

/// The arguments of the command `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// Number of events that the simulated CRM sends, including repeated and invalid events.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    events: u64,
    /// Seed of the workload. The same seed gives the same events.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Maximum number of events per second. By default, the CRM sends events as fast as the bridge accepts events.
    #[arg(long, value_name = "N", value_parser = super::parse_rate)]
    rate: Option<f64>,
    /// Write the figures of the demo to standard output as one JSON object, and everything else to standard error.
    #[arg(long)]
    json: bool,
    /// Keep the sandbox and the bridge running after the demo until Ctrl-C. Print the addresses of both and the token of
    /// the console, in which some rejected events wait for a decision.
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(arguments: &DemoOptions) -> anyhow::Result<ExitCode> {
    demo::run(&DemoSettings {
        events: arguments.events,
        seed: arguments.seed,
        rate: arguments.rate,
        json: arguments.json,
        keep: arguments.keep,
    })
}
