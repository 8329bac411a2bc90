//! The question about a witness. A witness is a customer whose update Imprint has applied before.
//!
//! The question is a retrieve of the witness. Its answer shows whether a failing lane or the destination is the cause
//! of a failure.

use std::sync::Arc;

use super::Destination;
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::evidence::Testimony;
use crate::dispatch::moment::Moment;
use crate::imprint::ImprintId;
use crate::time::Timestamp;

/// A question about a witness. The question holds a token of the rate limit. If dispatch drops an `Inquiry` without an
/// answer, dispatch asks again.
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

    /// Returns the witness: the customer to retrieve.
    pub const fn customer(&self) -> &ImprintId {
        &self.customer
    }

    /// Reports Imprint's answer. Returns the state of the destination before and after the answer.
    pub fn answer(
        mut self,
        testimony: Testimony,
        moment: Moment,
    ) -> (DestinationState, DestinationState) {
        self.is_answered = true;
        let mut limiter = self.destination.limiter();
        let states = limiter.testified(&self.customer, testimony, self.sent_at, moment);
        self.destination.wake_sharing(&limiter, moment.now);
        drop(limiter);
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
