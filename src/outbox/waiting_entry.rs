//! An entry that waits in a claimed lane. This module is pure.

use std::sync::Arc;

use super::EntryId;
use crate::event::{SourceName, Version};
use crate::fold::{Candidate, LaneVersions};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId, Update};
use crate::time::Timestamp;

/// One entry that waits in a claimed lane.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingEntry {
    /// The number of the entry.
    pub entry: EntryId,
    /// The version of the entry's values.
    pub version: Version,
    /// The values that the entry sets.
    pub update: Update,
    /// The customer ids in the event.
    pub customer: CustomerRef,
    /// The largest allowed difference between this version and the neighbouring version of the customer. See
    /// [`CustomerChange::jump_max`](crate::imprint::CustomerChange::jump_max).
    pub jump_max: Option<u64>,
    /// The source that sent the event of the entry.
    pub source: SourceName,
    /// The time when the bridge accepted the event of the entry.
    pub accepted_at: Timestamp,
    /// The version floors of an erased customer that the event names by the CRM's id beside an Imprint id. `None` means no
    /// floor.
    pub floors: Option<Arc<LaneVersions>>,
}

impl WaitingEntry {
    /// Returns the CRM's id of an event that also names an Imprint id.
    pub(super) const fn second_id(&self) -> Option<&PartnerCustomerId> {
        match &self.customer {
            CustomerRef::Pair { partner, .. } => Some(partner),
            CustomerRef::Imprint(_) | CustomerRef::Partner(_) => None,
        }
    }

    /// Returns the entry for the lane of this customer. If the event contains an Imprint id, the returned entry
    /// contains `imprint` instead.
    #[must_use]
    pub fn with_imprint_id(self, imprint: &ImprintId) -> Self {
        let customer = match self.customer {
            CustomerRef::Pair { partner, .. } => CustomerRef::Pair {
                imprint: imprint.clone(),
                partner,
            },
            CustomerRef::Imprint(_) => CustomerRef::Imprint(imprint.clone()),
            CustomerRef::Partner(partner) => CustomerRef::Partner(partner),
        };
        Self { customer, ..self }
    }

    /// Returns the entry as an input of folding.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            version: self.version,
            update: &self.update,
            jump_max: self.jump_max,
            floors: self.floors.as_deref(),
        }
    }
}
