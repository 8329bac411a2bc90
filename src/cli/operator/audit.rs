//! The command `audit`: lists the records of the audit log.

use std::process::ExitCode;

use clap::Args;

use super::table::{self, at};
use super::{Bridge, exit_code};
use crate::http::Method;
use crate::terminal::print_notice;

/// The arguments of the command `audit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct AuditOptions {
    #[command(flatten)]
    bridge: Bridge,
    /// Select audit records whose number is greater than this number.
    #[arg(long, default_value = "0")]
    after: u64,
}

/// Lists the records. The exit code is 2 if the audit log was changed after it was written.
pub(in crate::cli) fn audit(options: &AuditOptions) -> anyhow::Result<ExitCode> {
    let path = format!("/audit?after={}", options.after);
    let page = options.bridge.call(&Method::GET, &path, None)?;
    options.bridge.show(&page, table::audit);
    let is_intact = *at(&page, "sound") == true;
    if !is_intact {
        print_notice("the audit log was changed after it was written");
    }
    Ok(exit_code(is_intact))
}
