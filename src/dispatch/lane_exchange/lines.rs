//! The update that empties address lines which Imprint still has after the first update. This module is pure: it does
//! no IO and reads no clock.

use super::{Conclusion, ExchangeStep, ImprintCall, LaneExchange, PendingCall};
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{Echo, FieldValue, ImprintId, Outcome, Request, Update};

impl LaneExchange {
    /// Sends cleared address lines again, as empty texts, because Imprint still has them.
    pub(super) fn empty_lines(&mut self, customer: ImprintId, echo: Echo) -> ExchangeStep {
        let cleared = echo
            .still_set
            .iter()
            .map(|field| (field.clone(), FieldValue::Cleared));
        let clearing = Clearing {
            address: AddressClearing::Empty,
            ..Clearing::default()
        };
        let request = Request {
            customer,
            body: cleared.collect::<Update>().body(clearing),
            cleared: echo.still_set.clone(),
        };
        self.pending = PendingCall::EmptyLines(echo);
        ExchangeStep::Call(ImprintCall::Update(request))
    }
}

/// Concludes the exchange after the update that sends address lines as empty texts. Imprint has applied the first
/// update in any case.
pub(super) fn on_lines_emptied(first: Echo, outcome: Outcome) -> ExchangeStep {
    ExchangeStep::Conclude(match outcome {
        Outcome::Applied(echo) if echo.still_set.is_empty() => {
            Conclusion::Updated(Outcome::Applied(first))
        }
        Outcome::Applied(echo) => Conclusion::NotCleared(echo.still_set),
        Outcome::Rejected(_) => Conclusion::NotCleared(first.still_set),
        // Dispatch sends the first update and the update with the empty lines again.
        outcome @ (Outcome::Throttled(_)
        | Outcome::Unavailable(_)
        | Outcome::Unknown(_)
        | Outcome::Unclear(_)
        | Outcome::Denied(_)
        | Outcome::NotFound) => Conclusion::Updated(outcome),
    })
}
