//! `store`: backs up, verifies and restores the store.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::operator::{Bridge, table};
use super::{Layers, NEGATIVE_RESULT, read};
use crate::config::Purpose;
use crate::http::Method;
use crate::outbox;
use crate::terminal::{print_notice, print_result};

/// The subcommands of the command `store`.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copies the store of a running bridge into a file in the same folder. During the copy, the bridge accepts and
    /// sends nothing.
    Backup {
        #[command(flatten)]
        bridge: Bridge,
        /// File name of the copy. A file with this name must not exist yet.
        name: String,
    },
    /// Verifies a store, and prints the number of entries and of audit records. No process may have the store open.
    Verify {
        /// File of the store, or of a copy of the store.
        file: PathBuf,
    },
    /// Replaces the store by a copy, and renames the replaced store. The bridge must not be running.
    ///
    /// The copy is older than the replaced store. The bridge sends the waiting entries of the copy again. The copy does
    /// not contain events that the bridge accepted after the copy was made: make the sources send these events again.
    /// The bridge never sends values that are older than the values at Imprint.
    Restore {
        #[command(flatten)]
        layers: Layers,
        /// File of the copy that replaces the store.
        copy: PathBuf,
    },
}

pub(super) fn run(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    match command {
        StoreCommand::Backup { bridge, name } => {
            let body = json!({"name": name});
            let done = bridge.call(&Method::POST, "/store/backup", Some(&body))?;
            bridge.show(&done, table::entry);
            Ok(ExitCode::SUCCESS)
        }
        StoreCommand::Verify { file } => {
            let report = outbox::verify(file)?;
            print_result(format_args!(
                "{} entries, {} waiting, {} parked, {} audit records",
                report.entries, report.waiting, report.parked, report.audit_records
            ));
            report.errors.iter().for_each(print_notice);
            Ok(if report.errors.is_empty() {
                print_result("no errors");
                ExitCode::SUCCESS
            } else {
                ExitCode::from(NEGATIVE_RESULT)
            })
        }
        StoreCommand::Restore { layers, copy } => {
            let config = match read(layers, Purpose::Check) {
                Ok((config, _)) => config,
                Err(code) => return Ok(code),
            };
            if let Some(aside) = outbox::restore(copy, &config.outbox.path)? {
                print_result(format_args!(
                    "the previous store is now {}",
                    aside.display()
                ));
            }
            print_result(format_args!("restored {}", config.outbox.path.display()));
            Ok(ExitCode::SUCCESS)
        }
    }
}
