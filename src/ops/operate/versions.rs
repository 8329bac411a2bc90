//! The use case that resets the versions of a customer after an absurd version has frozen the customer.

use super::{Error, Operations, Operator, Reason};
use crate::outbox::{LaneKey, VersionReset};

impl Operations {
    /// Resets the versions of all values that Imprint has of a customer: the next event of the customer is newer than
    /// these values, whatever its version is. Returns the number of fields.
    ///
    /// # Errors
    /// Returns an error if the operator gave no reason, if the store knows no such customer, if a request of the
    /// customer is in flight, or if the store fails.
    pub async fn reset_versions(
        &self,
        operator: &Operator,
        customer: LaneKey,
        reason: Option<Reason>,
    ) -> Result<usize, Error> {
        let reason = reason.ok_or(Error::ReasonRequired)?;
        let mut event = self.audit_event(operator, "reset_versions", String::new());
        event.reason = Some(reason.into_text());
        match self.outbox.reset_versions(customer, event).await? {
            VersionReset::Reset { lane, fields } => {
                tracing::warn!(
                    operator = operator.name(),
                    lane.id = lane.0,
                    fields,
                    "the versions of a customer were reset"
                );
                Ok(fields)
            }
            VersionReset::UnknownCustomer => Err(Error::UnknownCustomer),
            VersionReset::InFlight => Err(Error::InFlight),
        }
    }
}
