//! `store`: backs up, verifies, copies, restores and rebinds the store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::json;

use super::operator::{Bridge, table};
use super::{Layers, NEGATIVE_RESULT, print_errors, read, sealing_keys};
use crate::config::{Config, Purpose};
use crate::http::Method;
use crate::outbox::{self, AuditEvent, AuditHead, AuditProof, RebindConsent};
use crate::terminal::{print_notice, print_result};
use crate::time::Clock;

mod copy;
mod copy_progress;
mod database;
mod keys;
mod verified;

use self::verified::VerifyProgress;

/// The subcommands of the command `store`.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copies the store of a running bridge into a file in the same folder. During the copy, the bridge continues to
    /// accept and deliver events.
    Backup {
        #[command(flatten)]
        bridge: Bridge,
        /// File name of the copy. A file with this name must not exist yet.
        name: String,
    },
    /// Verifies a store: its file, its tables, its settings, its audit log, the rows that belong together, and each record,
    /// which the command opens with its sealing key. No other process must have the file open. Without the sealing keys (`outbox.keys_dir`), the command opens no sealed record.
    ///
    /// With `--url`, verifies a store in PostgreSQL in the same way. The command first proves that the database does what the
    /// store needs, and shows what endangers accepted events. Bridges can use the database meanwhile.
    Verify {
        #[command(flatten)]
        layers: Layers,
        /// File of the store, or of a copy of the store.
        #[arg(required_unless_present = "url", conflicts_with_all = ["url", "json"])]
        file: Option<PathBuf>,
        /// URL of a database, `postgres://USER@HOST:PORT/DATABASE`. The settings `outbox.password_file` and
        /// `outbox.ca_file` also hold for it.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Print the result about a database as JSON.
        #[arg(long)]
        json: bool,
        /// File with a key of the audit log. Repeat the option for older keys.
        #[arg(long, value_name = "FILE")]
        audit_key: Vec<PathBuf>,
        /// Head of the audit log that the log or the metrics of the bridge showed earlier. The command then finds out
        /// whether newer records are missing.
        #[arg(long, value_name = "RECORD-CHECK")]
        audit_head: Option<AuditHead>,
    },
    /// Copies a store from a file into a PostgreSQL database, or from a database into a file. No bridge must use either
    /// store.
    ///
    /// The copy has everything: entries in every state, receipts, versions, links between customer ids, tombstones, settings
    /// and the audit log. Sealed records stay sealed. If the command is interrupted, the same command continues the copy.
    /// Until the copy is complete and verified, no bridge starts on it.
    Copy(copy::CopyOptions),
    /// Lists the sealing keys of a running bridge, or of a closed store: which key seals, how many records each key still
    /// opens, and which key file can be removed.
    Keys(keys::KeysOptions),
    /// Replaces the store by a copy, and renames the replaced store. The bridge must not be running.
    ///
    /// The copy is older than the replaced store. The bridge sends the waiting entries of the copy again. The copy does
    /// not contain the events that the bridge accepted after the copy was made: make the sources send these events
    /// again. Until then, the bridge possibly overwrites newer values at Imprint with older values of the copy. With an
    /// erasure journal, the bridge ignores these events of customers that were erased after the copy was made.
    Restore {
        #[command(flatten)]
        layers: Layers,
        /// File of the copy that replaces the store.
        copy: PathBuf,
    },
    /// Binds the store to the configured environment and host of Imprint. The bridge must not be running.
    ///
    /// The command lists the waiting entries, which the bridge will send to the new environment. The store forgets the
    /// versions of the delivered values and the links between customer ids, because both describe the customers of the
    /// previous environment. The bridge then searches again for the customers of entries that name only the CRM's
    /// id. The erased versions of customers stay. The audit log records the command.
    Rebind {
        #[command(flatten)]
        layers: Layers,
        /// Binds the store. Without `--yes`, the command only shows the effect.
        #[arg(long)]
        yes: bool,
        /// Reason of the operator, which the audit log records.
        #[arg(long)]
        reason: Option<String>,
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
        StoreCommand::Verify {
            layers,
            file,
            url,
            json,
            audit_key,
            audit_head,
        } => match (file, url) {
            (Some(file), _) => verify(layers, file, audit_key, *audit_head),
            (None, Some(url)) => database::verify(layers, url, *json, (audit_key, *audit_head)),
            (None, None) => Err(anyhow!(
                "name the file of the store, or a database with --url"
            )),
        },
        StoreCommand::Copy(options) => copy::run(options),
        StoreCommand::Keys(options) => keys::run(options),
        StoreCommand::Rebind {
            layers,
            yes,
            reason,
        } => rebind(layers, *yes, reason.clone()),
        StoreCommand::Restore { layers, copy } => {
            let config = match read(layers, Purpose::Check) {
                Ok((config, _)) => config,
                Err(code) => return Ok(code),
            };
            let proof = AuditProof {
                // Without the keys, the command restores the copy, and verifies it only as far as possible.
                keys: config.audit_keys.read().unwrap_or_default(),
                head: None,
            };
            let keys = sealing_keys(config.outbox.keys_dir.as_deref())?;
            let path = file_of(&config)?;
            let restored = outbox::restore(copy, path, &proof, &keys)?;
            restored.findings.iter().for_each(print_notice);
            if let Some(aside) = restored.previous {
                print_result(format_args!(
                    "the previous store is now {}",
                    aside.display()
                ));
            }
            print_result(format_args!("restored {}", path.display()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify(
    layers: &Layers,
    file: &Path,
    audit_keys: &[PathBuf],
    head: Option<AuditHead>,
) -> anyhow::Result<ExitCode> {
    let config = match Config::read(&layers.config, Purpose::Check) {
        Ok(config) => config,
        Err(errors) => return Ok(print_errors(&errors)),
    };
    let proof = verified::audit_proof(&config, audit_keys, head)?;
    let sealing_keys = sealing_keys(config.outbox.keys_dir.as_deref())?;
    let mut progress = VerifyProgress::new();
    let verified = outbox::verify(file, &proof, &sealing_keys, &mut |records| {
        progress.show(records);
    });
    let (report, records) = verified?;
    let report = verified::with_settings(report);
    let verified = (&report, &records);
    verified::show(verified, &sealing_keys);
    Ok(match verified::is_sound(verified, &sealing_keys) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NEGATIVE_RESULT),
    })
}

/// Returns the file of the store.
fn file_of(config: &Config) -> anyhow::Result<&Path> {
    let file = config.outbox.place.file();
    file.ok_or_else(|| {
        anyhow!("the store is in PostgreSQL, and this command works only with a store in a file")
    })
}

fn rebind(layers: &Layers, is_confirmed: bool, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let config = match read(layers, Purpose::Check) {
        Ok((config, _)) => config,
        Err(code) => return Ok(code),
    };
    let path = file_of(&config)?;
    let keys = sealing_keys(config.outbox.keys_dir.as_deref())?;
    let before = outbox::rebind(path, &RebindConsent::Preview, Arc::clone(&keys))?;
    let destination = config.imprint.destination();
    let stored = before.destination.unwrap_or_else(|| "none".to_owned());
    print_result(format_args!("the store belongs to: {stored}"));
    print_result(format_args!("it would belong to: {destination}"));
    print_result(format_args!("{} waiting entries:", before.waiting));
    for entry in &before.listed {
        let identity = &entry.receipt.identity;
        print_result(format_args!(
            "  {} {} {} {}",
            entry.receipt.entry,
            identity.source,
            identity.id.as_str(),
            entry.receipt.event_type.as_str()
        ));
    }
    if !is_confirmed {
        print_result("nothing was changed; add --yes to move the store");
        return Ok(ExitCode::SUCCESS);
    }
    let event = AuditEvent {
        operator: "command line".to_owned(),
        action: "rebind",
        target: format!("{stored} -> {destination}"),
        reason,
        at: Clock::machine().now(),
    };
    let audit_keys = config.audit_keys.read().map_err(anyhow::Error::msg)?;
    let consent = RebindConsent::Confirmed {
        destination,
        event,
        keys: audit_keys,
    };
    outbox::rebind(path, &consent, keys)?;
    print_result("the store was moved");
    Ok(ExitCode::SUCCESS)
}
