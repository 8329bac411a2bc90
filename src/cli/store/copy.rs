//! `store copy`: copies a store from a file into a database, or from a database into a file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::copy_progress::CopyProgress;
use crate::app::database_address;
use crate::cli::operator::table::aligned;
use crate::cli::{Layers, print_errors, sealing_keys};
use crate::config::{Config, Purpose, StorePlace};
use crate::outbox::{self, TransferPlace, TransferReport};
use crate::terminal::print_result;
use crate::time::Clock;

/// The arguments of the command `store copy`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CopyOptions {
    #[command(flatten)]
    layers: Layers,
    /// Store to copy: `sqlite:PATH`, or `postgres://USER@HOST:PORT/DATABASE`.
    #[arg(long, value_name = "URL")]
    from: String,
    /// New store of the other kind: a file that does not exist, or a database without a store.
    #[arg(long, value_name = "URL")]
    to: String,
    /// File with the password of the database. By default, the file of `outbox.password_file`.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the root certificates for the database. By default, the file of `outbox.ca_file`.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &CopyOptions) -> anyhow::Result<ExitCode> {
    let mut config = match Config::read(&options.layers.config, Purpose::Check) {
        Ok(config) => config,
        Err(errors) => return Ok(print_errors(&errors)),
    };
    let settings = &mut config.outbox;
    settings.password_file = options
        .password_file
        .clone()
        .or_else(|| settings.password_file.take());
    settings.ca_file = options.ca_file.clone().or_else(|| settings.ca_file.take());
    let keys = sealing_keys(config.outbox.keys_dir.as_deref())?;
    let from = place(&config, ("--from", &options.from))?;
    let to = place(&config, ("--to", &options.to))?;
    let clock = Clock::machine();
    let now = clock.now();
    let mut progress = CopyProgress::new(clock);
    let copied = outbox::transfer((&from.1, &to.1), &keys, now, &mut |step| {
        progress.show(step);
    });
    progress.end();
    let report = copied?;
    if options.json {
        print_result(to_json(&report, &from.0, &to.0));
        return Ok(ExitCode::SUCCESS);
    }
    lines(&report).iter().for_each(print_result);
    print_result(format_args!(
        "the copy is complete: set outbox.url to the new store, and start the bridge. Start no bridge on the old store any more: it would send the waiting entries again"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the place of a store with its settings.
fn place(
    config: &Config,
    (option, url): (&str, &str),
) -> anyhow::Result<(StorePlace, TransferPlace)> {
    let place = StorePlace::parse(url, Some(config.profile));
    let place = place.map_err(|reason| anyhow::anyhow!("{option} {reason}"))?;
    let transfer = match &place {
        StorePlace::File(path) => TransferPlace::File(path.clone()),
        StorePlace::Database(url) => {
            TransferPlace::Database(database_address(config, url.clone())?)
        }
    };
    Ok((place, transfer))
}

fn to_json(report: &TransferReport, from: &StorePlace, to: &StorePlace) -> Value {
    let rows = report.rows.iter().map(
        |(kind, sum)| json!({"kind": kind.as_str(), "rows": sum.count, "digest": sum.digest()}),
    );
    let rows: Vec<Value> = rows.collect();
    json!({"from": from.to_string(), "to": to.to_string(), "copied": rows})
}

/// Formats one line for each kind of row.
fn lines(report: &TransferReport) -> Vec<String> {
    let mut rows = vec![["COPIED", "ROWS", "DIGEST"].map(str::to_owned).to_vec()];
    rows.extend(report.rows.iter().map(|(kind, sum)| {
        let digest = sum.digest().chars().take(16).collect();
        vec![kind.as_str().to_owned(), sum.count.to_string(), digest]
    }));
    aligned(&rows)
}
