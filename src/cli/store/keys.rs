//! `store keys`: shows the sealing keys of a running bridge or of a closed store.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::operator::Bridge;
use crate::cli::operator::table::{aligned, at, list, text};
use crate::cli::{Layers, NEGATIVE_RESULT, print_errors, sealing_keys};
use crate::config::{self, Config, Purpose};
use crate::http::Method;
use crate::ops::keys_json;
use crate::outbox;
use crate::terminal::print_result;

/// The arguments of the command `store keys`.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeysOptions {
    /// File of a store that no process has open, or of a copy. The command then needs the sealing keys
    /// (`outbox.keys_dir`), and asks no bridge.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ops", "token_file"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    layers: Layers,
    /// URL of the ops listener of the bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    ops: String,
    /// File with the operator's token.
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    token_file: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &KeysOptions) -> anyhow::Result<ExitCode> {
    let answer = match (&options.file, &options.token_file) {
        (None, Some(token_file)) => {
            let bridge = Bridge::new(options.ops.clone(), token_file.clone(), options.json);
            bridge.call(&Method::GET, "/store/keys", None)?
        }
        (Some(file), _) => match Config::read(&options.layers.config, Purpose::Check) {
            Ok(config) => {
                let directory = config.outbox.keys_dir.as_deref();
                let keys = outbox::count_keys(file, &sealing_keys(directory)?)?;
                let files = config::sealing_keys::read(directory)
                    .unwrap_or_default()
                    .files;
                keys_json(&keys, |id| {
                    let file = files.iter().find(|(key, _)| key.to_string() == id);
                    file.map(|(_, name)| name.clone())
                })
            }
            Err(errors) => return Ok(print_errors(&errors)),
        },
        (None, None) => anyhow::bail!("name the operator's token with --token-file"),
    };
    if options.json {
        print_result(&answer);
    } else {
        lines(&answer).iter().for_each(print_result);
    }
    let is_missing = list(&answer, "keys").any(|key| at(key, "use") == "missing");
    Ok(match is_missing {
        true => ExitCode::from(NEGATIVE_RESULT),
        false => ExitCode::SUCCESS,
    })
}

/// Formats one line for each key, and a sentence about each key that needs an operator.
fn lines(answer: &Value) -> Vec<String> {
    let head = ["KEY", "FILE", "USE", "RECORDS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut sentences = Vec::new();
    for key in list(answer, "keys") {
        let records = at(key, "records");
        let records = if records.is_null() {
            "all".to_owned()
        } else {
            text(records)
        };
        let (id, file) = (text(at(key, "id")), text(at(key, "file")));
        sentences.extend(match at(key, "use").as_str() {
            Some("removable") => Some(format!(
                "the file {file} can be removed: no record of the store needs it. Keep a copy of it as long as you keep a backup that was made before"
            )),
            Some("opens") => Some(format!("the file {file} must stay: {records} records need it")),
            Some("missing") => Some(format!(
                "the key {id} is missing, and {records} records need it: put its file back"
            )),
            _ => None,
        });
        rows.push(vec![id, file, text(at(key, "use")), records]);
    }
    let mut lines = match rows.len() {
        1 => vec!["the store has no sealing key".to_owned()],
        _ => aligned(&rows),
    };
    lines.append(&mut sentences);
    let number = |name| at(answer, name).as_u64().unwrap_or_default();
    for (name, what) in [
        ("plain_records", "records are not sealed"),
        (
            "left",
            "entries, customers and audit records are left to seal again",
        ),
        ("waiting_customers", "customers wait for a missing key"),
    ] {
        if number(name) > 0 {
            lines.push(format!("{} {what}", number(name)));
        }
    }
    if at(answer, "is_complete") == false {
        lines.push("the store has more records: the count ended after 20 seconds".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N842
    #[test]
    fn each_key_has_a_line_and_a_sentence() {
        let answer = json!({
            "keys": [
                {"id": "aa", "file": "2026-01", "use": "removable", "records": 0, "removable": true},
                {"id": "bb", "file": "2026-02", "use": "opens", "records": 12, "removable": false},
                {"id": "cc", "file": "2026-03", "use": "seals", "records": 7, "removable": false},
                {"id": "dd", "file": null, "use": "missing", "records": 3, "removable": false},
            ],
            "plain_records": 5, "left": 20, "waiting_customers": 2, "is_complete": false,
        });
        assert_eq!(
            lines(&answer),
            [
                "KEY  FILE     USE        RECORDS",
                "aa   2026-01  removable  0",
                "bb   2026-02  opens      12",
                "cc   2026-03  seals      7",
                "dd   -        missing    3",
                "the file 2026-01 can be removed: no record of the store needs it. Keep a copy of it as long as you keep a backup that was made before",
                "the file 2026-02 must stay: 12 records need it",
                "the key dd is missing, and 3 records need it: put its file back",
                "5 records are not sealed",
                "20 entries, customers and audit records are left to seal again",
                "2 customers wait for a missing key",
                "the store has more records: the count ended after 20 seconds",
            ]
        );
        let none = json!({"keys": [], "plain_records": 0, "left": 0, "is_complete": true});
        assert_eq!(lines(&none), ["the store has no sealing key"]);
    }
}
