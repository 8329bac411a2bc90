//! `store verify --url`: proves that a database does what the store needs.

use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::app::database_address;
use crate::cli::{Layers, NEGATIVE_RESULT, print_errors};
use crate::config::{Config, Purpose, StorePlace};
use crate::outbox::{DatabaseProof, prove_database};
use crate::terminal::print_result;

/// Proves the database, and prints the result. Returns a negative result if a crash of the database can lose confirmed
/// commits, or if the database does not do what the store needs.
pub(super) fn verify(layers: &Layers, url: &str, is_json: bool) -> anyhow::Result<ExitCode> {
    let config = match Config::read(&layers.config, Purpose::Check) {
        Ok(config) => config,
        Err(errors) => return Ok(print_errors(&errors)),
    };
    let url = match StorePlace::parse(url, Some(config.profile)) {
        Ok(StorePlace::Database(url)) => url,
        Ok(StorePlace::File(_)) => {
            return Err(anyhow!(
                "--url must be \"postgres://USER@HOST:PORT/DATABASE\"; name a file without --url"
            ));
        }
        Err(reason) => return Err(anyhow!("--url {reason}")),
    };
    let proof = prove_database(database_address(&config, url)?)?;
    if is_json {
        print_result(json(&proof));
    } else {
        lines(&proof).iter().for_each(print_result);
    }
    Ok(
        if proof.unproven().is_none() && proof.lossy_setting().is_none() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(NEGATIVE_RESULT)
        },
    )
}

fn json(proof: &DatabaseProof) -> Value {
    let duties = proof.duties.iter();
    let duties = duties.map(|one| (one.duty.name().to_owned(), one.is_proven.into()));
    json!({
        "database": proof.engine,
        "synchronous_commit": proof.synchronous_commit,
        "fsync": proof.fsync,
        "keeps_confirmed_commits": proof.lossy_setting().is_none(),
        "proven": Value::Object(duties.collect()),
        "took_ms": proof.took_ms,
    })
}

fn lines(proof: &DatabaseProof) -> Vec<String> {
    let mut lines = vec![format!(
        "{} (the proof took {} ms)",
        proof.engine, proof.took_ms
    )];
    for one in &proof.duties {
        let result = match one.is_proven {
            true => "yes",
            false => "NO ",
        };
        lines.push(format!("{result}  {}", one.duty.sentence()));
    }
    lines.push(match proof.lossy_setting() {
        Some(setting) => {
            format!("NO   a crash of the database loses no confirmed commit: {setting}")
        }
        None => "yes  a crash of the database loses no confirmed commit".to_owned(),
    });
    lines
}
