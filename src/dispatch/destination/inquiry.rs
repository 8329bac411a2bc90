//! The question to a witness: the retrieve of a customer whose update Imprint applied. The question shows whether a
//! failing lane or the destination is at fault.

use std::sync::Arc;

use super::Destination;
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::evidence::Testimony;
use crate::dispatch::moment::Moment;
use crate::imprint::ImprintId;
use crate::time::Timestamp;

/// A question to a witness, with its token of the rate. If an `Inquiry` is dropped without an answer, the bridge asks
/// again.
#[derive(Debug)]
pub struct Inquiry {
    destination: Arc<Destination>,
    customer: ImprintId,
    sent_at: Timestamp,
    is_answered: bool,
}

impl Inquiry {
    pub(super) const fn new(
        destination: Arc<Destination>,
        customer: ImprintId,
        sent_at: Timestamp,
    ) -> Self {
        Self {
            destination,
            customer,
            sent_at,
            is_answered: false,
        }
    }

    /// Returns the customer to retrieve.
    pub const fn customer(&self) -> &ImprintId {
        &self.customer
    }

    /// Reports the answer. Returns the state of the destination before and after the answer.
    pub fn answer(
        mut self,
        testimony: Testimony,
        moment: Moment,
    ) -> (DestinationState, DestinationState) {
        self.is_answered = true;
        let states =
            self.destination
                .limiter()
                .testified(&self.customer, testimony, self.sent_at, moment);
        self.destination.changed.notify_waiters();
        states
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        if !self.is_answered {
            self.destination.limiter().ask_again();
        }
    }
}
