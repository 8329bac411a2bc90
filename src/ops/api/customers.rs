//! The admin API's route for customers, in JSON.

use serde::Deserialize;
use serde_json::json;

use super::body::AdminBody;
use super::request::{malformed, parse_body};
use super::{AdminProblem, ApiResult, SharedOperations, json_response};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::ops::operate::{Operator, Reason};
use crate::outbox::LaneKey;

/// The request body that resets the versions of a customer: exactly one of the two ids, and the operator's reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    imprint_id: Option<String>,
    partner_id: Option<String>,
    reason: Option<String>,
}

impl ResetBody {
    fn customer(&self) -> Result<LaneKey, AdminProblem> {
        match (&self.imprint_id, &self.partner_id) {
            (Some(imprint), None) => ImprintId::parse(imprint)
                .map(LaneKey::Imprint)
                .map_err(|error| malformed(format!("imprint_id: {error}"))),
            (None, Some(partner)) => PartnerCustomerId::parse(partner)
                .map(LaneKey::Partner)
                .map_err(|error| malformed(format!("partner_id: {error}"))),
            (None, None) | (Some(_), Some(_)) => Err(malformed(
                "name the customer by either imprint_id or partner_id",
            )),
        }
    }
}

/// Answers `POST /admin/v1/customers/reset-versions`.
pub(super) async fn reset_versions(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: ResetBody = parse_body(&body)?;
    let reason = body.reason.as_deref().and_then(Reason::parse);
    let customer = body.customer()?;
    let reset = operations.reset_versions(&operator, customer, reason);
    json_response(&json!({"fields": reset.await?}))
}
