//! The spans of the entries that dispatch sends and settles.

use super::Shell;
use super::sent::{AskedRequest, SentAnswer};
use crate::dispatch::core::DeliveryId;
use crate::imprint::ImprintApi;
use crate::outbox::{Ending, EntryId, IgnoreReason, ParkReason, Settlement};
use crate::traces::{EntryEnd, TraceStep};

impl<I: ImprintApi + 'static> Shell<I> {
    /// Returns the entries whose traces have a span for the next request of a delivery. `newest` is the entry of a request
    /// without values.
    pub(super) fn traced_entries(&self, id: DeliveryId, newest: Option<EntryId>) -> Vec<EntryId> {
        if self.dispatcher.traces.is_none() {
            return Vec::new();
        }
        let carried = self.core.borrow().carried(id);
        match carried.is_empty() {
            true => newest.into_iter().collect(),
            false => carried,
        }
    }

    pub(super) fn trace_request(
        &self,
        entries: &[EntryId],
        asked: &AskedRequest,
        answer: Option<&SentAnswer>,
    ) {
        if let Some((traces, answer)) = self.dispatcher.traces.as_ref().zip(answer) {
            let request = answer.traced(asked, entries.len(), self.now());
            traces.add(entries, &TraceStep::Sent(request));
        }
    }

    pub(super) fn trace_endings(&self, settlement: &Settlement) {
        let Some(traces) = &self.dispatcher.traces else {
            return;
        };
        for (entry, ending) in &settlement.endings {
            let reason = match ending {
                Ending::Parked { reason, .. } => Some(ParkReason::as_str(*reason)),
                Ending::Ignored(reason) => Some(IgnoreReason::as_str(*reason)),
                Ending::Delivered | Ending::Superseded(_) | Ending::Undecided => None,
            };
            let ended = EntryEnd {
                state: ending.state(),
                reason,
                at: settlement.at,
            };
            traces.add(&[*entry], &TraceStep::Ended(ended));
        }
    }
}
