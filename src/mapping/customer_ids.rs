//! The ids of an event's customer, also if the rest of the event is invalid.

use serde_json::Value;

use super::located::LocatedValue;
use super::{Mapping, budget, contract};
use crate::imprint::{ImprintId, PartnerCustomerId};

/// The customer and the version of an event, which a correction of the event keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptInCorrections {
    imprint: Option<ImprintId>,
    partner: Option<PartnerCustomerId>,
    /// `None` if the mapping reads no version.
    version: Option<i64>,
}

/// Prints no id, because customer ids are personal data.
impl std::fmt::Debug for KeptInCorrections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptInCorrections")
    }
}

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

    /// Reads what a correction of an event must keep: the ids of the customer and the version. `None` if the event has no id, or
    /// no version although the mapping reads one.
    pub fn kept_in_corrections(&self, event: &Value) -> Option<KeptInCorrections> {
        let (imprint, partner) = self.customer_ids(event);
        if imprint.is_none() && partner.is_none() {
            return None;
        }
        let input = LocatedValue::of_event(event);
        let version = self.version.as_ref().map(|(domain, rule)| {
            let version = rule.plan.read(&input).ok()?;
            contract::version(*domain, &version).ok()
        });
        let version = match version {
            None => None,
            Some(version) => Some(version?),
        };
        Some(KeptInCorrections {
            imprint,
            partner,
            version,
        })
    }

    /// Returns whether the ids of the customer are values of the event, and not computed.
    pub fn copies_customer_ids(&self) -> bool {
        let mut ids = [&self.imprint_id, &self.partner_id].into_iter().flatten();
        ids.all(|rule| rule.plan.is_verbatim())
    }
}
