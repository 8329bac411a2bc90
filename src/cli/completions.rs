//! `completions`: prints the script with which a shell completes the commands and options of this program.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::Arguments;
use crate::terminal::print_result;

/// The arguments of the command `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionOptions {
    /// The shell.
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

/// Prints the script. It comes from the table of commands and options with which the program parses its arguments.
pub(super) fn run(options: &CompletionOptions) -> anyhow::Result<ExitCode> {
    let shell = match options.shell.as_str() {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8(script)?;
    // For bash, clap_complete 4.6 writes the name of a program with a dash in two ways, so that no option completes.
    print_result(script.replace("imprint__subcmd__bridge", "imprint__bridge"));
    Ok(ExitCode::SUCCESS)
}
