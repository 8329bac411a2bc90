//! The requests of one delivery, as operators see them. Pure.

use crate::dispatch::core::{LaneResult, describe_lookup, describe_outcome};
use crate::dispatch::destination::{RequestDecision, RequestOperation, RequestRecord};
use crate::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use crate::imprint::{AnswerFacts, LookupResult, Outcome};
use crate::outbox::{Ending, EntryId, Settlement};
use crate::time::Timestamp;
use crate::traces::SentRequest;

/// The requests of one delivery that dispatch has not settled yet.
#[derive(Debug, Default)]
pub(super) struct SentRequests(Vec<RequestRecord>);

/// A request without its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedRequest {
    sent_at: Timestamp,
    operation: RequestOperation,
    entry: Option<EntryId>,
}

/// What operators see of an answer.
#[derive(Debug)]
pub(super) struct SentAnswer {
    facts: Option<AnswerFacts>,
    outcome: &'static str,
    cause: String,
    is_served: bool,
}

impl AskedRequest {
    pub(super) const fn of(call: &ImprintCall, entry: Option<EntryId>, sent_at: Timestamp) -> Self {
        Self {
            sent_at,
            operation: match call {
                ImprintCall::Update(_) => RequestOperation::Update,
                ImprintCall::Retrieve(_) => RequestOperation::Retrieve,
                ImprintCall::Search(_) => RequestOperation::Search,
            },
            entry,
        }
    }
}

impl SentAnswer {
    pub(super) fn of(reply: &ImprintReply, facts: Option<AnswerFacts>) -> Self {
        let (is_served, (outcome, cause)) = match reply {
            ImprintReply::Outcome(outcome) => {
                let is_served = matches!(outcome, Outcome::Applied(_));
                (is_served, describe_outcome(outcome))
            }
            ImprintReply::Lookup(found) => {
                let is_served = !matches!(found, LookupResult::Failed(_));
                (is_served, describe_lookup(found))
            }
        };
        Self {
            facts,
            outcome,
            cause,
            is_served,
        }
    }

    /// Returns the request for the traces of its entries.
    pub(super) fn traced(
        &self,
        asked: &AskedRequest,
        entries: usize,
        answered_at: Timestamp,
    ) -> SentRequest {
        SentRequest {
            operation: asked.operation.line(),
            outcome: self.outcome,
            status: self.facts.as_ref().map(|facts| facts.status),
            is_served: self.is_served,
            entries,
            sent_at: asked.sent_at,
            answered_at,
        }
    }
}

impl SentRequests {
    /// Adds a request with its answer. Without an answer, dispatch has not sent the request.
    pub(super) fn add(&mut self, asked: AskedRequest, answer: Option<SentAnswer>, now: Timestamp) {
        let request = answer.map(|answer| RequestRecord {
            sent_at: asked.sent_at,
            took: now.since(asked.sent_at),
            operation: asked.operation,
            entry: asked.entry,
            facts: answer.facts,
            outcome: answer.outcome,
            cause: answer.cause,
            is_served: answer.is_served,
            decision: RequestDecision::Continued,
            state: None,
        });
        self.0.extend(request);
    }

    /// Returns the requests with the decision about the last one.
    pub(super) fn settled(mut self, result: &LaneResult) -> impl Iterator<Item = RequestRecord> {
        if let Some(last) = self.0.last_mut() {
            last.decision = decision(last.entry, &result.settlement);
            let states = result.report.as_ref().and_then(|report| report.states);
            let states = states.map(|(before, after)| (before.as_str(), after.as_str()));
            last.state = states.and_then(|(before, after)| (before != after).then_some(after));
        }
        self.0.into_iter()
    }
}

fn decision(entry: Option<EntryId>, settlement: &Settlement) -> RequestDecision {
    let mut endings = settlement.endings.iter();
    let ending = endings.find(|(ended, _)| Some(*ended) == entry);
    ending.map_or(RequestDecision::Waits(settlement.due), |(_, ending)| {
        RequestDecision::Ended {
            state: ending.state().as_str(),
            reason: match ending {
                Ending::Parked { reason, .. } => Some(reason.as_str()),
                Ending::Ignored(reason) => Some(reason.as_str()),
                Ending::Delivered | Ending::Superseded(_) | Ending::Undecided => None,
            },
        }
    })
}
