//! The admin API's route for the sealing keys, in JSON.

use serde_json::{Value, json};

use super::{ApiResult, SharedOperations, json_response};
use crate::ops::operate::Operator;
use crate::outbox::{KeyReport, KeyUse, SealingStatus};

/// Answers `GET /admin/v1/store/keys`.
pub(super) async fn show(operations: SharedOperations, operator: Operator) -> ApiResult {
    let report = operations.keys(&operator).await?;
    json_response(&keys_json(&report, |id| operations.key_file(id)))
}

/// Formats the keys of a store. `file` returns the name of the file with a key.
pub fn keys_json(report: &KeyReport, file: impl Fn(&str) -> Option<String>) -> Value {
    let keys = report.keys.iter().map(|line| {
        let id = line.id.to_string();
        json!({
            "file": file(&id), "id": id, "use": line.key_use.as_str(), "records": line.records,
            "removable": line.key_use == KeyUse::Removable,
        })
    });
    json!({
        "keys": keys.collect::<Vec<_>>(), "plain_records": report.plain, "left": report.left,
        "waiting_customers": report.locked_lanes, "is_complete": report.is_complete,
    })
}

/// Formats the state of the sealing for `GET /admin/v1/status`. A store without keys has the state null.
pub(super) fn sealing_json(status: &SealingStatus, file: impl Fn(&str) -> Option<String>) -> Value {
    if status.keys.is_empty() {
        return Value::Null;
    }
    let keys = status.keys.iter().map(|(id, key_use)| {
        let id = id.to_string();
        json!({"file": file(&id), "id": id, "use": key_use.as_str()})
    });
    json!({
        "keys": keys.collect::<Vec<_>>(), "has_plain": status.has_plain, "left": status.left,
        "waiting_customers": status.locked_lanes,
    })
}
