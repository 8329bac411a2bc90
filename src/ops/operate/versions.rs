//! The use case that resets the versions of a customer. An operator needs it after an event with a far too high
//! version, because the bridge then treats all later events of the customer as old.

use super::{Error, Operations, Operator, Reason, Role};
use crate::outbox::{LaneKey, VersionReset};

/// The fields of a customer after a reset of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetFields {
    /// The number of fields whose versions were reset.
    pub reset: usize,
    /// The number of fields that keep the version floor of an erasure.
    pub floors: usize,
}

impl Operations {
    /// Resets the versions of all values that the bridge has delivered for a customer. The next event of the customer
    /// then counts as newer than these values, even if its version is lower.
    ///
    /// A field whose value was erased keeps its version floor: an event up to this version does not count as newer.
    ///
    /// # Errors
    /// Returns an error if the operator gave no reason, if the store knows no such customer, if a request of the
    /// customer is in flight, or if the store fails.
    pub async fn reset_versions(
        &self,
        operator: &Operator,
        customer: LaneKey,
        reason: Option<Reason>,
    ) -> Result<ResetFields, Error> {
        operator.require(Role::Operator)?;
        let reason = reason.ok_or(Error::ReasonRequired)?;
        let mut event = self.audit_event(operator, "reset_versions", String::new());
        event.reason = Some(reason.into_text());
        match self.outbox.reset_versions(customer, event).await? {
            VersionReset::Reset {
                lane,
                fields,
                floors,
            } => {
                tracing::warn!(
                    operator = operator.name(),
                    lane.id = lane.0,
                    fields,
                    floors,
                    "the versions of a customer were reset"
                );
                Ok(ResetFields {
                    reset: fields,
                    floors,
                })
            }
            VersionReset::UnknownCustomer => Err(Error::UnknownCustomer),
            VersionReset::InFlight => Err(Error::InFlight),
        }
    }
}
