//! Keeps the memory of the process out of core dumps: the memory contains API keys, tokens, secrets and events.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
    setrlimit,
};

use crate::terminal::print_notice;

/// Forbids core dumps of this process. Also forbids that another process of the same user attaches to this process and
/// reads its memory. The function must run before the process reads a secret.
///
/// If the operating system refuses, the function prints a warning, and the process continues.
pub fn forbid() {
    if let Err(error) = try_forbid() {
        print_notice(format_args!(
            "warning: the operating system does not let this process forbid core dumps ({error}): a core dump would contain secrets and personal data"
        ));
    }
}

/// Returns whether no core dump can contain the memory of this process.
pub fn is_forbidden() -> bool {
    let is_dumpable = dumpable_behavior() != Ok(DumpableBehavior::NotDumpable);
    !is_dumpable && getrlimit(Resource::Core).current == Some(0)
}

/// The limit applies to child processes too. A core dump that the kernel passes to a program (`|` in `core_pattern`)
/// ignores the limit, so the process also clears its flag "dumpable".
fn try_forbid() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(limited?)
}
