//! `store verify --url`: proves that a database does what the store needs, and verifies the store in it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::verified::{self, VerifyProgress};
use crate::app::database_address;
use crate::cli::{Layers, NEGATIVE_RESULT, print_errors, sealing_keys};
use crate::config::{Config, Purpose, StorePlace};
use crate::outbox::{AuditHead, DatabaseProof, DatabaseSignals, prove_database, verify_database};
use crate::terminal::print_result;

/// Proves the database, verifies its store, and prints the results. Returns a negative result if a crash of the database can
/// lose confirmed commits, if the database does not do what the store needs, or if the store has an error.
pub(super) fn verify(
    layers: &Layers,
    url: &str,
    is_json: bool,
    (audit_keys, head): (&[PathBuf], Option<AuditHead>),
) -> anyhow::Result<ExitCode> {
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
    let audit = verified::audit_proof(&config, audit_keys, head)?;
    let keys = sealing_keys(config.outbox.keys_dir.as_deref())?;
    let proof = prove_database(database_address(&config, url.clone())?)?;
    let mut progress = VerifyProgress::new();
    let address = database_address(&config, url)?;
    let verified = verify_database(address, &audit, &keys, &mut |records| {
        progress.show(records);
    })?;
    let verified = verified.map(|(report, records)| (verified::with_settings(report), records));
    let verified = verified.as_ref().map(|(report, records)| (report, records));
    if is_json {
        let mut answer = json(&proof);
        if let Some(members) = answer.as_object_mut() {
            members.insert("store".to_owned(), verified.map(verified::json).into());
        }
        print_result(answer);
    } else {
        lines(&proof).iter().for_each(print_result);
        match verified {
            Some(verified) => verified::show(verified, &keys),
            None => print_result("the database has no store"),
        }
    }
    let is_sound = verified.is_none_or(|verified| verified::is_sound(verified, &keys));
    Ok(
        if is_sound && proof.unproven().is_none() && proof.lossy_setting().is_none() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(NEGATIVE_RESULT)
        },
    )
}

fn json(proof: &DatabaseProof) -> Value {
    let duties = proof.duties.iter();
    let signals = proof.signals.as_ref();
    let duties = duties.map(|one| (one.duty.name().to_owned(), one.is_proven.into()));
    json!({
        "database": proof.engine,
        "synchronous_commit": proof.synchronous_commit,
        "fsync": proof.fsync,
        "keeps_confirmed_commits": proof.lossy_setting().is_none(),
        "oldest_snapshot": signals.and_then(|it| it.snapshot.as_ref()).map(|it| json!({
            "process": it.process,
            "program": it.program,
            "state": it.state,
            "age_seconds": it.age.as_secs(),
        })),
        "slowest_slot": signals.and_then(|it| it.slot.as_ref()).map(|it| json!({
            "name": it.name,
            "is_active": it.is_active,
            "bytes": it.bytes,
        })),
        "dead_rows": signals.map(|it| it.dead_rows),
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
    lines.extend(proof.signals.iter().flat_map(signal_lines));
    lines
}

/// Formats what keeps the database from removing dead rows.
fn signal_lines(signals: &DatabaseSignals) -> Vec<String> {
    let mut lines = vec![match &signals.snapshot {
        Some(oldest) => format!(
            "the oldest snapshot is {} s old: process {}, program \"{}\", {}",
            oldest.age.as_secs(),
            oldest.process,
            oldest.program,
            oldest.state
        ),
        None => "no other session has a snapshot".to_owned(),
    }];
    if let Some(slot) = &signals.slot {
        let use_of_slot = match slot.is_active {
            true => "in use",
            false => "without a reader",
        };
        lines.push(format!(
            "the replication slot \"{}\", {use_of_slot}, holds {} bytes of the log",
            slot.name, slot.bytes
        ));
    }
    lines.push(format!("the store has {} dead rows", signals.dead_rows));
    lines
}
