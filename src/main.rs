//! Reads the arguments, runs the command, chooses the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use imprint_bridge::cli::{self, Arguments};
use mimalloc::MiMalloc;

// Threads hand what they allocate to one another here; the allocator of a C library, above all of musl, is slow at that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run(Arguments::parse())
}
