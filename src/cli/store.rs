//! `store`: copies of the store, made, looked over, and put in its place.

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

/// What is done with the store.
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Has a running bridge copy its store into a file beside it. Meanwhile nothing is accepted or sent.
    Backup {
        #[command(flatten)]
        bridge: Bridge,
        /// The name of the copy; it must not be there yet.
        name: String,
    },
    /// Says whether a store that nobody has open is whole, and how much is in it.
    Verify {
        /// The store, or a copy of one.
        file: PathBuf,
    },
    /// Puts a copy in the place of the store of a bridge that does not run; what was there is kept beside it.
    ///
    /// A copy is older than the world: what waited in it is sent again, and what was accepted after it was made is not in
    /// it. Have the sources send again what they sent since: what is older than what Imprint was told then does no harm.
    Restore {
        #[command(flatten)]
        layers: Layers,
        /// The copy.
        copy: PathBuf,
    },
}

pub(super) fn run(command: &Store) -> anyhow::Result<ExitCode> {
    match command {
        Store::Backup { bridge, name } => {
            let body = json!({"name": name});
            let done = bridge.call(&Method::POST, "/store/backup", Some(&body))?;
            bridge.show(&done, table::entry);
            Ok(ExitCode::SUCCESS)
        }
        Store::Verify { file } => {
            let looked = outbox::verify(file)?;
            print_result(format_args!(
                "{} entries, {} waiting, {} parked, {} acts on record",
                looked.entries, looked.waiting, looked.parked, looked.acts
            ));
            looked.faults.iter().for_each(print_notice);
            Ok(if looked.faults.is_empty() {
                print_result("whole");
                ExitCode::SUCCESS
            } else {
                ExitCode::from(NEGATIVE_RESULT)
            })
        }
        Store::Restore { layers, copy } => {
            let config = match read(layers, Purpose::Check) {
                Ok((config, _)) => config,
                Err(code) => return Ok(code),
            };
            if let Some(aside) = outbox::restore(copy, &config.outbox.path)? {
                print_result(format_args!("what was there is now {}", aside.display()));
            }
            print_result(format_args!("restored {}", config.outbox.path.display()));
            Ok(ExitCode::SUCCESS)
        }
    }
}
