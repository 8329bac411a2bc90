//! The command `status`: shows a running bridge and the protections that are switched off.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Bridge;
use super::table::{at, list, text};
use crate::app::Weakening;
use crate::http::Method;

/// The arguments of the command `status`.
#[derive(Debug, Args)]
pub(in crate::cli) struct StatusOptions {
    #[command(flatten)]
    bridge: Bridge,
}

pub(in crate::cli) fn status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let answer = options.bridge.call(&Method::GET, "/status", None)?;
    options.bridge.show(&answer, lines);
    Ok(ExitCode::SUCCESS)
}

fn lines(answer: &Value) -> Vec<String> {
    let destination = at(answer, "destination");
    let mut lines = vec![
        format!("version {}", text(at(answer, "version"))),
        format!(
            "destination {}, mode {}",
            text(at(destination, "state")),
            text(at(destination, "mode"))
        ),
    ];
    let weakened = list(answer, "weakened").map(|name| {
        let name = text(name);
        // A newer bridge possibly has weakenings that this command does not know.
        let meaning = Weakening::parse(&name).map_or("", Weakening::meaning);
        format!("weakened by {name}: {meaning}")
    });
    lines.extend(sealing(at(answer, "sealing")));
    lines.extend(weakened);
    lines
}

/// Formats the state of the sealing. An older bridge, and a bridge without sealing keys, has none.
fn sealing(state: &Value) -> Vec<String> {
    let number = |name| at(state, name).as_u64().unwrap_or_default();
    let keys = list(state, "keys").map(|key| {
        let (id, file) = (text(at(key, "id")), text(at(key, "file")));
        match at(key, "use").as_str() {
            Some("seals") => format!("sealed with the key {id} in {file}"),
            Some("opens") => format!("the key {id} in {file} still opens older records"),
            Some("removable") => format!("no record needs the key {id}: {file} can be removed"),
            _ => format!(
                "the key {id} is missing: {} customers wait",
                number("waiting_customers")
            ),
        }
    });
    let mut lines: Vec<String> = keys.collect();
    if number("left") > 0 {
        lines.push(format!(
            "{} entries, customers and audit records are left to seal again",
            number("left")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_of_the_sealing_is_a_line_for_each_key() {
        let state = json!({
            "keys": [
                {"id": "aa", "file": "2026-01", "use": "removable"},
                {"id": "bb", "file": "2026-02", "use": "opens"},
                {"id": "cc", "file": "2026-03", "use": "seals"},
                {"id": "dd", "file": null, "use": "missing"},
            ],
            "has_plain": false, "left": 9, "waiting_customers": 2,
        });
        assert_eq!(
            sealing(&state),
            [
                "no record needs the key aa: 2026-01 can be removed",
                "the key bb in 2026-02 still opens older records",
                "sealed with the key cc in 2026-03",
                "the key dd is missing: 2 customers wait",
                "9 entries, customers and audit records are left to seal again",
            ]
        );
        assert!(sealing(&Value::Null).is_empty());
    }
}
