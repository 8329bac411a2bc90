//! The use case that erases a customer.

use std::time::Duration;

use super::customer::{is_known, lanes};
use super::selection::Reason;
use super::{CustomerName, Error, Operations, Operator, Role};
use crate::outbox::{self, CustomerErasure, ErasedPart, ErasureStep, LaterEvents};

/// The longest time that an erasure waits for the end of the customer's request in flight. It is longer than the default
/// of `imprint.deadline`, and shorter than the deadline of the command line.
const IN_FLIGHT_WAIT_MAX: Duration = Duration::from_secs(30);
/// The time between two attempts to erase a customer whose request is in flight.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The longest time that an erasure waits until the other replicas have forgotten the customer. A running replica needs
/// about a second, and the registration of a dead replica ends after its lease of 15 seconds.
const FORGET_WAIT_MAX: Duration = Duration::from_secs(20);

/// The result of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureReport {
    /// False if the store had no lane, no link, no entry and no block of the customer, and the customer has not retired.
    pub is_known: bool,
    /// True if the erasure has ended a block: the bridge delivers later events of the customer again.
    pub ends_block: bool,
    /// The number of erased entries.
    pub entries: usize,
    /// The number of erased entries that had not ended, and are now discarded.
    pub discarded: usize,
    /// The number of entries outside the lanes of the customer that the bridge could not read. One of them can be an entry of
    /// the customer.
    pub unreadable: usize,
    /// The number of invalid parked events that are left, and of which nothing tells the customer: the source is gone, or it
    /// computes the id, and the event lacks the values for it. One of them can be an event of the customer.
    pub unjudged: usize,
    /// True if a version floor keeps every delivered value from coming back under a new event id.
    pub has_floors: bool,
    /// True if the write-ahead log of the store still contains erased values, because a backup is in progress. The bridge
    /// truncates the log within a minute after the backup.
    pub is_in_log: bool,
    /// The numbers of the other replicas that have not confirmed that they have forgotten the customer. They forget it as
    /// soon as they reach the store.
    pub unconfirmed: Vec<u64>,
}

impl Operations {
    /// Erases a customer from the store, and from the memory of every replica. First writes an audit record.
    ///
    /// # Errors
    /// Returns an error if the operator gave no reason, if the name fits two customers, if a request of the customer stays
    /// in flight, or if the store fails. After an error of the store, a part of the data is possibly erased, and the
    /// operator repeats the command.
    pub async fn erase(
        &self,
        operator: &Operator,
        name: CustomerName,
        later_events: LaterEvents,
        reason: Option<Reason>,
    ) -> Result<ErasureReport, Error> {
        operator.require(Role::Operator)?;
        let reason = reason.ok_or(Error::ReasonRequired)?;
        let customer = self.find_customer(name).await?;
        let mut event = self.audit_event(operator, "erase", lanes(&customer));
        event.reason = Some(reason.into_text());
        let at = event.at;
        self.outbox.append_audit(event).await?;
        self.destination.forget(&customer.lanes);
        let invalid = self.invalid_entries(&customer.keys).await?;
        let erasure = CustomerErasure {
            keys: customer.keys.clone(),
            invalid: invalid.entries,
            later_events,
            at,
            progress: None,
        };
        let mut report = self.erase_all(erasure).await?;
        self.destination.forget(&customer.lanes);
        report.unconfirmed = self.wait_for_replicas().await?;
        report.is_known |= is_known(&customer) || customer.is_blocked || report.entries > 0;
        report.ends_block = customer.is_blocked && later_events == LaterEvents::Delivered;
        report.unjudged = invalid.unjudged;
        report.is_in_log = match self.outbox.erase().await {
            Ok(()) => false,
            Err(outbox::Error::Busy) => true,
            Err(error) => return Err(error.into()),
        };
        tracing::warn!(
            operator = operator.name(),
            lanes = lanes(&customer),
            entries = report.entries,
            "a customer was erased"
        );
        Ok(report)
    }

    /// Waits until the other replicas have forgotten the customer. Returns the replicas that have not.
    async fn wait_for_replicas(&self) -> Result<Vec<u64>, Error> {
        let mut waited = Duration::ZERO;
        loop {
            let remembering = self.outbox.remembering().await?;
            if remembering.is_empty() || waited >= FORGET_WAIT_MAX {
                return Ok(remembering);
            }
            waited += TRY_AGAIN_AFTER;
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    /// Runs the steps of an erasure, and waits for the end of the customer's request in flight.
    async fn erase_all(&self, mut erasure: CustomerErasure) -> Result<ErasureReport, Error> {
        let mut report = ErasureReport {
            has_floors: true,
            ..ErasureReport::default()
        };
        let mut waited = Duration::ZERO;
        loop {
            let part = match self.outbox.erase_customer(erasure.clone()).await? {
                ErasureStep::InFlight if waited >= IN_FLIGHT_WAIT_MAX => {
                    return Err(Error::InFlight);
                }
                ErasureStep::InFlight => {
                    waited += TRY_AGAIN_AFTER;
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                    continue;
                }
                ErasureStep::Erased(part) => part,
            };
            self.destination.forget(&part.lanes);
            report.add(&part);
            if part.progress.is_none() {
                return Ok(report);
            }
            (erasure.keys, erasure.progress) = (part.keys, part.progress);
        }
    }
}

impl ErasureReport {
    fn add(&mut self, part: &ErasedPart) {
        self.entries += part.entries;
        self.discarded += part.discarded.len();
        self.unreadable += part.unreadable;
        self.has_floors &= part.unversioned == 0;
        self.is_known |= part.was_retired;
    }
}
