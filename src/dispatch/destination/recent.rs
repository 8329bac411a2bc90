//! The last requests to Imprint with their answers, for operators: the evidence behind the state of the destination. A record
//! has the number of an entry, and neither an id nor a value of a customer.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

use super::Destination;
use crate::imprint::AnswerFacts;
use crate::outbox::EntryId;
use crate::time::Timestamp;

/// The maximum number of served and of failed requests that the bridge keeps.
const RECENT_MAX: usize = 8;

/// One request to Imprint, with its answer and its consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    pub sent_at: Timestamp,
    pub took: Duration,
    pub operation: RequestOperation,
    /// The newest entry of the request. `None` if the request concerns no waiting entry.
    pub entry: Option<EntryId>,
    /// `None` if no answer came.
    pub facts: Option<AnswerFacts>,
    /// The result of the request, in one word.
    pub outcome: &'static str,
    /// The cause of a failure in one word, such as `connect`, or an empty text.
    pub cause: String,
    /// True if Imprint has done what the request asked for.
    pub is_served: bool,
    pub decision: RequestDecision,
    /// The state of the destination that began with the answer.
    pub state: Option<&'static str>,
}

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOperation {
    Update,
    Retrieve,
    Search,
}

/// The decision of dispatch after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestDecision {
    /// A further request about the same customer followed at once.
    Continued,
    /// The entry ended in this state, for this reason.
    Ended {
        state: &'static str,
        reason: Option<&'static str>,
    },
    /// The entry waits. The next request about the customer is due at this time.
    Waits(Timestamp),
    /// The request only asked whether Imprint answers.
    Witness,
}

/// The last requests, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentRequests {
    pub served: VecDeque<RequestRecord>,
    pub failed: VecDeque<RequestRecord>,
}

impl RequestOperation {
    /// Returns the method and the path of the request, without the id of the customer.
    pub const fn line(self) -> &'static str {
        match self {
            Self::Update => "POST /v2/customers/{id}",
            Self::Retrieve => "GET /v2/customers/{id}",
            Self::Search => "GET /v2/customers?partner_customer_id={id}",
        }
    }
}

impl RecentRequests {
    fn record(&mut self, request: RequestRecord) {
        let kept = match request.is_served {
            true => &mut self.served,
            false => &mut self.failed,
        };
        kept.truncate(RECENT_MAX.saturating_sub(1));
        kept.push_front(request);
    }
}

impl Destination {
    /// Records a request and its answer.
    pub fn record_request(&self, request: RequestRecord) {
        let recent = self.recent.lock();
        let mut recent = recent.unwrap_or_else(PoisonError::into_inner);
        recent.record(request);
    }

    /// Returns the last requests, the newest first.
    pub fn recent_requests(&self) -> RecentRequests {
        let recent = self.recent.lock();
        recent.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(millis: i64, is_served: bool) -> RequestRecord {
        RequestRecord {
            sent_at: Timestamp::from_millis(millis),
            took: Duration::from_millis(5),
            operation: RequestOperation::Update,
            entry: None,
            facts: None,
            outcome: "applied",
            cause: String::new(),
            is_served,
            decision: RequestDecision::Witness,
            state: None,
        }
    }

    /// FAULTS N1183: many served requests do not push out the failed ones.
    #[test]
    fn the_last_served_and_failed_requests_are_kept_apart_and_bounded() {
        let mut recent = RecentRequests::default();
        recent.record(request(0, false));
        for millis in 1..100 {
            recent.record(request(millis, true));
        }
        assert_eq!((recent.served.len(), recent.failed.len()), (RECENT_MAX, 1));
        assert_eq!(recent.served[0].sent_at, Timestamp::from_millis(99));
        assert_eq!(recent.failed[0].sent_at, Timestamp::from_millis(0));
    }
}
