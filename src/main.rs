//! Reads the arguments, runs the command, chooses the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use imprint_bridge::cli::{self, Arguments};

fn main() -> ExitCode {
    cli::run(Arguments::parse())
}
