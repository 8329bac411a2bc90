//! `demo`: a stand-in for Imprint, the bridge and a simulated CRM, in one command.

use std::process::ExitCode;

use clap::Args;

use crate::demo::{self, DemoSettings, EVENTS_MAX};

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// How many events the CRM sends: repetitions and mistakes count.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    events: u64,
    /// Decides the story: the same seed tells the same one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The most events a second; as fast as the bridge takes them unless it is said.
    #[arg(long, value_name = "N", value_parser = super::parse_rate)]
    rate: Option<f64>,
    /// Writes the figures to standard output as one JSON object, and everything else to standard error.
    #[arg(long)]
    json: bool,
    /// Stays up afterwards, until interrupted, and says where everything is.
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
