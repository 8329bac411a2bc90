//! The admin API's route for backups of the store, in JSON.

use serde::Deserialize;
use serde_json::json;

use super::body::AdminBody;
use super::request::parse_body;
use super::{ApiResult, SharedOperations, json_response};
use crate::ops::operate::{BackupName, Operator};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupBody {
    name: String,
}

/// Answers `POST /admin/v1/store/backup`.
pub(super) async fn backup(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: BackupBody = parse_body(&body)?;
    let copy = operations
        .backup(&operator, BackupName::parse(body.name)?)
        .await?;
    json_response(&json!({"copy": copy.display().to_string()}))
}
