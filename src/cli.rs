//! The command line: one file a command. Results go to standard output, everything else to standard error.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Purpose, SettingError, sources};
use crate::telemetry;
use crate::terminal::print_notice;

mod check;
mod demo;
mod examples;
mod explain;
mod operator;
mod sandbox;
mod send;
mod serve;
mod store;

/// The exit code of a command that did its work and found that something is wrong.
const FOUND_FAULTS: u8 = 2;
/// The slowest and the fastest that can be asked for, in events a second.
const RATE_MIN: f64 = 0.01;
const RATE_MAX: f64 = 1_000_000.0;

/// Brings customer changes from internal systems to Imprint: in order, folded, paced, and never lost.
#[derive(Debug, Parser)]
#[command(name = "imprint-bridge", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes events and delivers them, until it is told to stop.
    Serve(Layers),
    /// Says everything that is wrong with the configuration, the sources, their schemas, mappings and examples.
    Check(check::Options),
    /// Says what an event comes to and why, expression by expression; keeps and sends nothing.
    Explain(explain::Options),
    /// Sends events from a file or from standard input to a bridge: signed, paced, in order.
    Send(send::SendArguments),
    /// Lists entries of a running bridge by where they stand.
    Events(operator::EventsOptions),
    /// Lists entries that wait for a person.
    Parked(operator::ParkedOptions),
    /// Shows one entry, values masked unless asked for.
    Show(operator::ShowOptions),
    /// Lets parked entries wait again, behind what is live.
    Replay(operator::ReplayOptions),
    /// Ends parked entries for good.
    Discard(operator::ChangeOptions),
    /// Shows the record of what operators did.
    Audit(operator::AuditOptions),
    /// Shows how the destination is; opens it, pauses it, or puts it in shadow.
    Destination(operator::DestinationOptions),
    /// Copies of the store: made, looked over, put in its place.
    #[command(subcommand)]
    Store(store::Store),
    /// Stands in for Imprint on this machine: the same operations, a ledger, and faults on request.
    Sandbox(sandbox::Options),
    /// Plays all of it on this machine: a stand-in for Imprint, the bridge, and a stream of made-up changes.
    Demo(demo::DemoArguments),
}

/// Where settings come from.
#[derive(Debug, Args)]
struct Layers {
    /// A file with settings that differ from the defaults; of several, later ones win. The environment
    /// (`IMPRINT_BRIDGE__SECTION__KEY`) wins over files.
    #[arg(long = "config", value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Runs one command; the exit code says how it went.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Serve(layers) => serve::run(&layers),
        Command::Check(options) => Ok(check::run(&options)),
        Command::Explain(options) => explain::run(&options),
        Command::Send(options) => send::run(&options),
        Command::Events(options) => operator::events(&options),
        Command::Parked(options) => operator::parked(&options),
        Command::Show(options) => operator::show(&options),
        Command::Replay(options) => operator::replay(&options),
        Command::Discard(options) => operator::discard(&options),
        Command::Audit(options) => operator::audit(&options),
        Command::Destination(options) => operator::destination(&options),
        Command::Store(command) => store::run(&command),
        Command::Sandbox(options) => sandbox::run(&options),
        Command::Demo(options) => demo::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            print_notice(telemetry::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// A configuration that holds, and the sources it names; or every fault, told.
fn read(layers: &Layers, purpose: Purpose) -> Result<(Config, Vec<sources::Source>), ExitCode> {
    let read = Config::read(&layers.config, purpose);
    read.and_then(|config| sources::read(&config).map(|sources| (config, sources)))
        .map_err(|faults| tell(&faults))
}

fn tell(faults: &[SettingError]) -> ExitCode {
    for fault in faults {
        print_notice(fault);
    }
    print_notice(format_args!(
        "{} to mend",
        if faults.len() == 1 {
            "1 fault".to_owned()
        } else {
            format!("{} faults", faults.len())
        }
    ));
    ExitCode::from(FOUND_FAULTS)
}

fn start_log(config: &Config) -> Result<(), telemetry::SetupError> {
    telemetry::start(config.log.format, &config.log.filter)
}

/// A rate of events a second.
fn parse_rate(raw: &str) -> Result<f64, String> {
    raw.parse()
        .ok()
        .filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate))
        .ok_or_else(|| format!("a rate is a number from {RATE_MIN} to {RATE_MAX}"))
}
