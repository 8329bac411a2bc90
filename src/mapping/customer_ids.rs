//! The ids of an event's customer, also if the rest of the event is invalid.

use serde_json::Value;

use super::located::LocatedValue;
use super::{Mapping, budget, contract};
use crate::imprint::{ImprintId, PartnerCustomerId};

impl Mapping {
    /// Reads each id of the event's customer for itself. An id whose expression fails, or gives nothing, is `None`.
    pub fn customer_ids(&self, event: &Value) -> (Option<ImprintId>, Option<PartnerCustomerId>) {
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let input = LocatedValue::of_event(event);
        let imprint = self.imprint_id.as_ref().and_then(|rule| {
            let id = rule.plan.read(&input).ok()?;
            contract::imprint_id(&id).ok()?
        });
        let partner = self.partner_id.as_ref().and_then(|rule| {
            let id = rule.plan.read(&input).ok()?;
            contract::partner_id(&id).ok()?
        });
        (imprint, partner)
    }

    /// Returns whether the ids of the customer are values of the event, and not computed.
    pub fn copies_customer_ids(&self) -> bool {
        let mut ids = [&self.imprint_id, &self.partner_id].into_iter().flatten();
        ids.all(|rule| rule.plan.is_verbatim())
    }
}
