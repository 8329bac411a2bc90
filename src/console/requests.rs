//! How the page of the destination writes the last requests and their answers. Pure.

use std::time::Duration;

use super::entry_row::spaced;
use super::words::{TimeText, tenths_text};
use crate::dispatch::destination::{RecentRequests, RequestDecision, RequestRecord};
use crate::time::Timestamp;

/// The last requests of one kind.
pub(super) struct RequestList {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What the page says if the list has no request.
    pub(super) empty: &'static str,
    pub(super) rows: Vec<SentRequestText>,
}

/// One request and its answer.
pub(super) struct SentRequestText {
    pub(super) sent: TimeText,
    pub(super) entry: Option<u64>,
    /// The method and the path, without the id of the customer.
    pub(super) line: &'static str,
    /// The status of the answer, or the reason why no answer came.
    pub(super) answer: String,
    /// Imprint's names for the error: the type and the parameter.
    pub(super) names: Vec<String>,
    pub(super) took: String,
    /// The result of the request in the words of the log.
    pub(super) outcome: String,
    pub(super) decision: String,
}

impl RequestList {
    /// Returns the failed requests, and then the served ones.
    pub(super) fn both(recent: &RecentRequests, now: Timestamp) -> [Self; 2] {
        let rows = |requests: &mut dyn Iterator<Item = &RequestRecord>| {
            requests
                .map(|request| SentRequestText::of(request, now))
                .collect()
        };
        [
            Self {
                id: "failed",
                title: "Last failed requests",
                empty: "No request has failed since the start.",
                rows: rows(&mut recent.failed.iter()),
            },
            Self {
                id: "served",
                title: "Last served requests",
                empty: "Imprint has served no request since the start.",
                rows: rows(&mut recent.served.iter()),
            },
        ]
    }
}

impl SentRequestText {
    fn of(request: &RequestRecord, now: Timestamp) -> Self {
        let facts = request.facts.as_ref();
        let kind = facts.and_then(|facts| facts.kind);
        let param = facts.and_then(|facts| facts.param.as_deref());
        Self {
            sent: TimeText::of(request.sent_at, now),
            entry: request.entry.map(|entry| entry.0),
            line: request.operation.line(),
            answer: answer(request),
            names: kind
                .into_iter()
                .chain(param)
                .map(ToOwned::to_owned)
                .collect(),
            took: took(request.took),
            outcome: spaced(request.outcome),
            decision: decision(request, now),
        }
    }
}

/// Returns the status of an answer, with the cause if the status is not the cause.
fn answer(request: &RequestRecord) -> String {
    let is_status = request.cause.is_empty() || request.cause.starts_with("status_");
    let cause = spaced(&request.cause);
    match &request.facts {
        Some(facts) if is_status => facts.status.to_string(),
        Some(facts) => format!("{}, {cause}", facts.status),
        None if request.cause.is_empty() => "no answer".to_owned(),
        None => format!("no answer: {cause}"),
    }
}

fn took(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match millis {
        0..1_000 => format!("{millis} ms"),
        _ => format!("{} s", tenths_text(millis / 100)),
    }
}

/// Returns the consequence of a request for its entry, and for the destination.
fn decision(request: &RequestRecord, now: Timestamp) -> String {
    let entry = match request.decision {
        RequestDecision::Continued => "another request followed".to_owned(),
        RequestDecision::Ended { state, reason } => match reason {
            Some(reason) => format!("{state}: {}", spaced(reason)),
            None => state.to_owned(),
        },
        RequestDecision::Waits(_) if request.is_served && request.entry.is_none() => {
            "repeated delivered values".to_owned()
        }
        // Another state of the destination or a restart can delay the next request.
        RequestDecision::Waits(due) if due <= now => "kept".to_owned(),
        RequestDecision::Waits(due) => format!("kept; next {}", TimeText::since(due, now)),
        RequestDecision::Witness => "asked only whether Imprint answers".to_owned(),
    };
    match request.state {
        Some(state) => format!("{entry}; the destination became {state}"),
        None => entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::destination::RequestOperation;
    use crate::imprint::AnswerFacts;
    use crate::outbox::EntryId;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn request() -> RequestRecord {
        RequestRecord {
            sent_at: NOW,
            took: Duration::from_millis(2_340),
            operation: RequestOperation::Update,
            entry: Some(EntryId(7)),
            facts: None,
            outcome: "unknown",
            cause: "deadline".to_owned(),
            is_served: false,
            decision: RequestDecision::Waits(NOW.after(Duration::from_secs(40))),
            state: Some("probing"),
        }
    }

    /// FAULTS N1183
    #[test]
    fn a_request_says_what_came_back_and_what_follows() {
        let text = SentRequestText::of(&request(), NOW);
        assert_eq!(
            (text.answer.as_str(), text.took.as_str()),
            ("no answer: deadline", "2.3 s")
        );
        assert_eq!(
            text.decision,
            "kept; next 22:14:00 UTC; the destination became probing"
        );
        // FAULTS N1475
        let later = SentRequestText::of(&request(), NOW.after(Duration::from_secs(40)));
        assert_eq!(later.decision, "kept; the destination became probing");
        let refused = RequestRecord {
            took: Duration::from_millis(12),
            facts: Some(AnswerFacts {
                status: 400,
                kind: Some("INVALID_REQUEST_ERROR"),
                param: Some("email".to_owned()),
            }),
            outcome: "rejected",
            cause: "status_400".to_owned(),
            decision: RequestDecision::Ended {
                state: "parked",
                reason: Some("rejected"),
            },
            state: None,
            ..request()
        };
        let text = SentRequestText::of(&refused, NOW);
        assert_eq!((text.answer.as_str(), text.took.as_str()), ("400", "12 ms"));
        assert_eq!(text.names, ["INVALID_REQUEST_ERROR", "email"]);
        assert_eq!(text.decision, "parked: rejected");
    }
}
