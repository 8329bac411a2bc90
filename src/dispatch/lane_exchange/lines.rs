//! The update that empties address lines which an event cleared. This module is pure: it does no IO and reads no clock.
//!
//! Usually, a first update sends the other values, and Imprint's answer shows whether Imprint still has the lines. If
//! the request has no other value, dispatch sends the empty lines at once.

use super::{Conclusion, ExchangeStep, ImprintCall, LaneExchange, PendingCall};
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{Echo, Field, FieldValue, ImprintId, Outcome, Request, Update};
use crate::time::Timestamp;

impl LaneExchange {
    /// Sends cleared address lines as empty texts. `first` is Imprint's answer to the first update.
    pub(super) fn empty_lines(
        &mut self,
        customer: ImprintId,
        lines: Vec<Field>,
        first: Option<Echo>,
    ) -> ExchangeStep {
        let cleared = lines
            .iter()
            .map(|field| (field.clone(), FieldValue::Cleared));
        let clearing = Clearing {
            address: AddressClearing::Empty,
            ..Clearing::default()
        };
        let body = cleared.collect::<Update>().body(clearing);
        self.pending = PendingCall::EmptyLines(first);
        ExchangeStep::Call(ImprintCall::Update(Request {
            customer,
            body,
            cleared: lines,
        }))
    }

    /// Processes Imprint's answer to the update that sends address lines as empty texts. `first` is Imprint's answer to
    /// the first update.
    pub(super) fn on_lines_emptied(
        &mut self,
        first: Option<Echo>,
        outcome: Outcome,
    ) -> ExchangeStep {
        ExchangeStep::Conclude(match (outcome, first) {
            (Outcome::Applied(echo), first) if echo.still_set.is_empty() => {
                Conclusion::Updated(Outcome::Applied(first.unwrap_or(echo)))
            }
            (Outcome::Applied(echo), _) => Conclusion::NotCleared(echo.still_set),
            (Outcome::Rejected(_), Some(first)) => Conclusion::NotCleared(first.still_set),
            (Outcome::Rejected(rejection), None) if rejection.is_typed() => {
                Conclusion::LinesRejected(self.fold.update.cleared_address_lines())
            }
            // Dispatch sends the first update and the update with the empty lines again.
            (outcome, Some(_)) => Conclusion::Updated(outcome),
            (outcome, None) => return self.on_outcome(outcome),
        })
    }

    /// Returns the conclusion if dispatch must not send the next call of the exchange before `later`.
    pub fn postponed(&mut self, later: Timestamp) -> Conclusion {
        match std::mem::replace(&mut self.pending, PendingCall::None) {
            PendingCall::EmptyLines(Some(first)) => {
                Conclusion::LinesPostponed(first.still_set, later)
            }
            PendingCall::None
            | PendingCall::Update
            | PendingCall::Retrieve(_)
            | PendingCall::Search { .. }
            | PendingCall::SearchRival { .. }
            | PendingCall::RetrieveLane { .. }
            | PendingCall::EmptyLines(None) => Conclusion::Postponed(later),
        }
    }
}
