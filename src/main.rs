//! The program: parses the arguments, runs the command, and returns the command's exit code.

use std::process::ExitCode;

use imprint_bridge::cli::{self, Arguments};
use imprint_bridge::core_dump;
use mimalloc::MiMalloc;

// Mimalloc is fast if one thread frees memory that another thread allocated, which the bridge does often. The
// allocators of C libraries, above all musl, are slow in this case.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    core_dump::forbid();
    cli::run(Arguments::of_process())
}
