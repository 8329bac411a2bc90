//! The command line, with one file for each command. A command prints its result to standard output, and all other text
//! to standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::config::sources::{self, SourceSettings};
use crate::config::{self, Config, Purpose, SettingError};
use crate::sealing::KeyRing;
use crate::telemetry::{self, Log};
use crate::terminal::print_notice;

mod check;
mod completions;
#[cfg(feature = "sandbox")]
mod demo;
mod diff;
mod error_groups;
mod explain;
mod header_option;
mod new_source;
mod operator;
mod production;
mod reference;
#[cfg(feature = "sandbox")]
mod sandbox;
mod send;
mod serve;
mod source_name;
mod store;
mod usage;
mod verify;

/// The exit code of a command that ran but has a negative result: the command found errors, or no entry matched.
const NEGATIVE_RESULT: u8 = 2;
/// The lowest rate of `--rate`, in events per second.
const RATE_MIN: f64 = 0.01;
/// The highest rate of `--rate`, in events per second.
const RATE_MAX: f64 = 1_000_000.0;

/// Receives customer changes from internal systems, and sends them to Imprint in order and at a limited rate.
#[derive(Debug, Parser)]
#[command(name = "imprint-bridge", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

impl Arguments {
    /// Parses the arguments of the process. Ends the process if they are wrong, or if they ask only for the help.
    pub fn of_process() -> Self {
        let arguments = std::env::args_os().skip(1);
        let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
        let arguments: Vec<String> = arguments.collect();
        Self::try_parse().unwrap_or_else(|error| usage::explained(error, &arguments).exit())
    }
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Accepts events and delivers the events to Imprint, until SIGTERM or SIGINT.
    Serve(Layers),
    /// Reports all errors in the configuration, the sources, the schemas, the mappings and the examples.
    Check(check::CheckOptions),
    /// Shows which requests a change of the sources changes: compares two versions of the sources. Exit code 0: equal,
    /// 1: different, 2: not comparable.
    Diff(diff::DiffOptions),
    /// Explains how the mapping turns an event into a request, expression by expression. The command stores and sends
    /// nothing.
    Explain(explain::ExplainOptions),
    /// Drafts a new source from sample bodies: the source file, the schemas and the examples. `check` accepts the draft,
    /// and a person edits it.
    NewSource(new_source::NewSourceOptions),
    /// Shows which text the sender of a captured request has signed, and why the signature does not match. The command
    /// needs no running bridge.
    Verify(verify::VerifyOptions),
    /// Sends events from a file or from standard input to a bridge: signed, rate-limited, in order.
    Send(send::SendOptions),
    /// Lists the entries (stored events) of a running bridge: by default the waiting entries, or all entries of an event or
    /// of a customer.
    Events(operator::EventsOptions),
    /// Lists the parked entries of a running bridge. An operator must decide about each parked entry.
    Parked(operator::ParkedOptions),
    /// Groups the newest entries that wait for an operator by their cause: parked, undecided and held entries.
    Problems(operator::ProblemsOptions),
    /// Shows what a running bridge would send for an event, and what an edited source file would change. Sends and stores
    /// nothing.
    TryOut(operator::TryOutOptions),
    /// Lists the entries that passed the mass-change brake of a source before it held a mass change. The command shows no
    /// value.
    Passed(operator::PassedOptions),
    /// Shows why Imprint has the values of a customer, and what the next request waits for. The command shows no value.
    Customer(operator::CustomerOptions),
    /// Shows one entry. Without --reveal, the values are masked.
    ///
    /// The bridge erases the event and the values of an entry when the entry is delivered, superseded, ignored or
    /// discarded. The command then shows the receipt: the ids, the times, the state and the reason of the state.
    Show(operator::ShowOptions),
    /// Makes parked, undecided or held entries wait for delivery again. The bridge delivers new events before replayed
    /// entries.
    Replay(operator::ReplayOptions),
    /// Replays parked entries with corrected events, from a file that `parked --events` printed and that you have edited. The
    /// entries keep their events and ids in the store: only the corrected values are sent.
    Correct(operator::CorrectOptions),
    /// Discards waiting, undecided, parked or held entries. The bridge never sends a discarded entry.
    Discard(operator::ChangeOptions),
    /// Parks waiting, undecided or held entries, so that the bridge delivers the other entries of their customers.
    Park(operator::ChangeOptions),
    /// Repairs a customer whose later events all count as older, because an earlier event had an absurdly high version.
    ///
    /// After the command, the next event of the customer counts as the newest, whatever its version is.
    ResetVersions(operator::ResetOptions),
    /// Prints everything that the store has of a customer, unmasked, as JSON. The bridge records the export in the audit
    /// log.
    Export(operator::ExportOptions),
    /// Erases a customer: every event, value, id and detail that the store has of the customer.
    Erase(operator::EraseOptions),
    /// Shows the audit log: the actions of operators.
    Audit(operator::AuditOptions),
    /// Shows the state of the destination Imprint, or sets whether the bridge sends requests: open, paused or shadow.
    Destination(operator::DestinationOptions),
    /// Shows the version of a running bridge, the state of the destination, and each protection that is switched off.
    Status(operator::StatusOptions),
    /// Shows the sources that a running bridge uses, and the errors of newer files that it does not use.
    Sources(operator::SourcesOptions),
    /// Shows the mass-change brakes of the sources, opens or closes the brake of a source, and releases or discards its held
    /// entries.
    Brakes(operator::BrakesOptions),
    /// Makes a running bridge read the files of its sources at once. The bridge uses the files only if the files have no
    /// error.
    Reload(operator::ReloadOptions),
    /// Lists the event requests that failed authentication, or that the sender must change, since the start of the bridge.
    DeniedRequests(operator::DeniedOptions),
    /// Copies, verifies or restores the store, or binds the store to another environment or host of Imprint.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Explains the messages, the problem types, the reasons and the bounds of the bridge.
    Reference(reference::ReferenceOptions),
    /// Prints the script with which a shell completes the commands and options: bash, zsh or fish.
    Completions(completions::CompletionOptions),
    /// Simulates Imprint on this machine: the update, retrieve and search of customers, a ledger of all received
    /// requests, and faults that you can switch on.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::SandboxOptions),
    /// Runs the sandbox, the bridge and a simulated CRM on this machine. The simulated CRM sends generated changes.
    #[cfg(feature = "sandbox")]
    Demo(demo::DemoOptions),
}

/// The settings files on the command line. A settings file overrides the defaults.
#[derive(Debug, Args)]
struct Layers {
    /// File with settings that override the defaults. A later file overrides an earlier file. An environment variable
    /// (`IMPRINT_BRIDGE__SECTION__KEY`) overrides all files.
    #[arg(long = "config", value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Runs one command, and returns the exit code: 0 for success, 1 for a failure, and 2 for a negative result.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        CliCommand::Serve(layers) => serve::run(&layers),
        CliCommand::Check(options) => Ok(check::run(&options)),
        CliCommand::Diff(options) => Ok(diff::run(&options)),
        CliCommand::Explain(options) => explain::run(&options),
        CliCommand::NewSource(options) => new_source::run(&options),
        CliCommand::Verify(options) => verify::run(&options),
        CliCommand::Send(options) => send::run(&options),
        CliCommand::Events(options) => operator::events(&options),
        CliCommand::Parked(options) => operator::parked(&options),
        CliCommand::Problems(options) => operator::problems(&options),
        CliCommand::TryOut(options) => operator::try_out(&options),
        CliCommand::Passed(options) => operator::passed(&options),
        CliCommand::Customer(options) => operator::customer(&options),
        CliCommand::Show(options) => operator::show(&options),
        CliCommand::Replay(options) => operator::replay(&options),
        CliCommand::Correct(options) => operator::correct(&options),
        CliCommand::Discard(options) => operator::discard(&options),
        CliCommand::Park(options) => operator::park(&options),
        CliCommand::ResetVersions(options) => operator::reset_versions(&options),
        CliCommand::Export(options) => operator::export(&options),
        CliCommand::Erase(options) => operator::erase(&options),
        CliCommand::Audit(options) => operator::audit(&options),
        CliCommand::Destination(options) => operator::destination(&options),
        CliCommand::Status(options) => operator::status(&options),
        CliCommand::Sources(options) => operator::sources(&options),
        CliCommand::Brakes(options) => operator::brakes(&options),
        CliCommand::Reload(options) => operator::reload(&options),
        CliCommand::DeniedRequests(options) => operator::denied_requests(&options),
        CliCommand::Store(command) => store::run(&command),
        CliCommand::Reference(options) => Ok(reference::run(&options)),
        CliCommand::Completions(options) => completions::run(&options),
        #[cfg(feature = "sandbox")]
        CliCommand::Sandbox(options) => sandbox::run(&options),
        #[cfg(feature = "sandbox")]
        CliCommand::Demo(options) => demo::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            print_notice(telemetry::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Reads the configuration and the sources. If there are errors, prints all errors and returns the exit code of the
/// command.
fn read(layers: &Layers, purpose: Purpose) -> Result<(Config, Vec<SourceSettings>), ExitCode> {
    let read = Config::read_all(&layers.config, None, purpose);
    all_read(read, sources::read).map_err(|errors| print_errors(&errors))
}

/// Reads the sources even if the settings have errors, so that a command reports the errors of both at once.
fn all_read<T>(
    (config, mut errors): (Option<Config>, Vec<SettingError>),
    read_sources: impl FnOnce(&Config) -> Result<T, Vec<SettingError>>,
) -> Result<(Config, T), Vec<SettingError>> {
    let Some(config) = config else {
        return Err(errors);
    };
    errors.extend(production::core_dumps(&config));
    match read_sources(&config) {
        Ok(sources) if errors.is_empty() => Ok((config, sources)),
        Ok(_) => Err(errors),
        Err(found) => {
            errors.extend(found);
            Err(errors)
        }
    }
}

/// Reads the sealing keys of the configuration, for a command that opens the store itself.
fn sealing_keys(directory: Option<&Path>) -> anyhow::Result<Arc<KeyRing>> {
    match config::sealing_keys::read(directory) {
        Ok(keys) => Ok(keys.ring),
        Err(errors) => Err(anyhow::anyhow!("outbox.keys_dir: {}", errors.join("; "))),
    }
}

fn print_errors(errors: &[SettingError]) -> ExitCode {
    for error in errors {
        print_notice(error);
    }
    print_notice(match errors.len() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    });
    ExitCode::from(NEGATIVE_RESULT)
}

fn start_log(config: &Config) -> Result<Log, telemetry::SetupError> {
    telemetry::start(config.log.format, &config.log.filter)
}

fn parse_rate(raw: &str) -> Result<f64, String> {
    raw.parse()
        .ok()
        .filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate))
        .ok_or_else(|| format!("a rate is a number from {RATE_MIN} to {RATE_MAX}"))
}
