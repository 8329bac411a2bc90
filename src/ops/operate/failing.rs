//! The customers whose requests fail beside others that Imprint serves.

use super::{Error, Operations, Operator};
use crate::dispatch::destination::LaneFailures;
use crate::outbox::{EntryId, LaneId, LaneKey, State};

/// The maximum number of customers that the use case returns.
pub const FAILING_CUSTOMERS_MAX: usize = 20;

/// A customer whose requests fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingCustomer {
    pub key: LaneKey,
    pub failures: LaneFailures,
}

impl Operations {
    /// Returns the customers whose requests fail and still wait, at most [`FAILING_CUSTOMERS_MAX`], the longest failure first.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn failing_customers(
        &self,
        operator: &Operator,
    ) -> Result<Vec<FailingCustomer>, Error> {
        let failing = self.destination.failing_lanes();
        if failing.is_empty() {
            return Ok(Vec::new());
        }
        let entries: Vec<EntryId> = failing.iter().map(|(_, row)| row.entry).collect();
        let summaries = self.summaries(operator, entries).await?;
        let customers = failing.into_iter().filter_map(|(_, failures)| {
            // An operator has possibly discarded or erased the entry since then.
            let mut waiting = summaries.iter().filter(|summary| {
                let receipt = &summary.receipt;
                receipt.entry == failures.entry && receipt.state == State::Waiting
            });
            let key = waiting.next()?.customer.clone()?;
            Some(FailingCustomer { key, failures })
        });
        Ok(customers.take(FAILING_CUSTOMERS_MAX).collect())
    }

    /// Returns the cause of the last failure of one of these lanes.
    pub(super) fn last_failure(&self, lanes: &[LaneId]) -> Option<String> {
        let failing = self.destination.failing_lanes().into_iter();
        let mut own = failing.filter(|(lane, _)| lanes.contains(lane));
        own.next().map(|(_, failures)| failures.cause)
    }
}
