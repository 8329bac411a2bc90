//! Decides from the bridge's answer whether the bridge has the event, or whether to send the event again. This module
//! is pure: it uses no IO, no clock and no random numbers.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::backoff::Backoff;
use crate::http::client::Response;
use crate::http::problem::{ReceivedError, ReceivedProblem, distinct};
use crate::http::retry_after;
use crate::terminal::printable;
use crate::time::Timestamp;

/// The delays between the attempts to send one event.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    min: Duration::from_millis(20),
    max: Duration::from_secs(5),
};
/// The maximum number of errors of one problem document that `send` prints. If there are more errors, `send` prints the
/// number of the remaining errors.
const ERRORS_MAX: usize = 5;
/// The remedy if the source does not accept the format of the request.
const OTHER_FORMAT: &str =
    " (without --plain, the command posts CloudEvents; a source of plain JSON needs --plain)";
/// The remedy if the bridge does not accept the authentication of the request.
const NO_AUTHENTICATION: &str = " (without --source-file, the command sends at most a bearer token and signs nothing; with it, the file must be that of the source in the URL, and the secret must be the one of the bridge)";
/// The remedy if the bridge does not have the source.
const NO_SOURCE: &str = " (the bridge has no source of this name, or its file is a draft; the command `sources` lists the sources)";
/// The remedy if the URL is not that of the event listener.
const NO_LISTENER: &str = " (the answer does not come from the event listener of a bridge: --to is the URL of ingress.listen, without a path)";
/// The status of a parked event in the bridge's answer.
const PARKED: &str = "parked";
/// The status of an event of a mass change that the bridge holds.
const HELD: &str = "held";

/// The decision about one event after one attempt to send the event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bridge has stored the events of the request.
    Stored(StoredEvents),
    /// The bridge will never accept the event.
    Refused(FailureReason),
    /// The sender cannot send the event, or the server is not a bridge.
    Failed(FailureReason),
    /// Another attempt to send the event can succeed.
    Retry {
        /// The reason why this attempt failed.
        reason: FailureReason,
        /// The delay in the header `Retry-After` of the bridge's answer.
        hint: Option<Duration>,
    },
}

/// The events of one request that the bridge has stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredEvents {
    /// The number of events that the bridge stored for the first time.
    pub(crate) accepted: u64,
    /// The number of events that the bridge had stored before.
    pub(crate) duplicates: u64,
    /// The events that wait for an operator: the bridge has parked them at once, also those that it had stored before.
    pub(crate) parked: Vec<ParkedEvent>,
    /// The number of events that the bridge holds, because they belong to a mass change.
    pub(crate) held: u64,
}

/// An event that the bridge accepted and parked at once: an operator must decide about the event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParkedEvent {
    pub(crate) id: String,
    /// The errors of an invalid event.
    errors: Vec<ReceivedError>,
}

impl fmt::Display for ParkedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.errors.is_empty() {
            true => "parked: an operator must decide about the event",
            false => "parked as invalid",
        })?;
        write_errors(f, &self.errors)
    }
}

/// The number of events that a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEvents {
    /// The request has one event.
    One,
    /// The bridge decides which events the request has. Possibly it finds no event.
    Any,
}

/// The reason why the bridge did not accept an event. The reason contains no content of the event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FailureReason {
    status: Option<u16>,
    kind: String,
    errors: Vec<ReceivedError>,
}

impl FailureReason {
    /// Creates a reason without an HTTP status.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            kind: text.to_owned(),
            ..Self::default()
        }
    }

    fn not_a_bridge(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::new("is not an answer of a bridge")
        }
    }

    fn read(status: u16, body: Option<&[u8]>) -> Self {
        let received = body.map(ReceivedProblem::parse).unwrap_or_default();
        Self {
            status: Some(status),
            kind: received.r#type,
            errors: received.errors,
        }
    }

    /// Returns the last word of the problem type, such as `unmappable`.
    #[cfg(test)]
    pub(crate) fn word(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }
}

/// Formats a failure, for example as `422 urn:imprint-bridge:problem:unmappable: /data/customer/email (email)`.
impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| status.to_string());
        let kind = Some(printable(&self.kind)).filter(|kind| !kind.is_empty());
        let head: Vec<String> = status.into_iter().chain(kind).collect();
        f.write_str(&head.join(" "))?;
        if self.status == Some(415) && self.kind.ends_with(":unsupported_media_type") {
            f.write_str(OTHER_FORMAT)?;
        }
        if self.status == Some(401) && self.kind.ends_with(":unauthenticated") {
            f.write_str(NO_AUTHENTICATION)?;
        }
        if self.status == Some(404) {
            f.write_str(match self.kind.ends_with(":unknown_source") {
                true => NO_SOURCE,
                false => NO_LISTENER,
            })?;
        }
        write_errors(f, &self.errors)
    }
}

fn write_errors(f: &mut fmt::Formatter<'_>, errors: &[ReceivedError]) -> fmt::Result {
    for (number, error) in errors.iter().take(ERRORS_MAX).enumerate() {
        let before = if number == 0 { ": " } else { ", " };
        let pointer = match printable(&error.pointer) {
            pointer if pointer.is_empty() => "the event".to_owned(),
            pointer => pointer,
        };
        write!(f, "{before}{pointer} ({})", printable(&error.rule))?;
    }
    match errors.len().saturating_sub(ERRORS_MAX) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// Decides from the bridge's answer what to do with the event. `wall` is the time of day, for a date in `Retry-After`.
pub(crate) fn classify(response: &Response, wall: Timestamp, events: RequestEvents) -> Verdict {
    let status = response.status.as_u16();
    let body = response.body.as_deref();
    let problem = || FailureReason::read(status, body);
    match status {
        200..=299 => match body.map(|body| stored_events(body, events)) {
            // The body of the answer broke off. The answer to the next attempt shows whether the bridge has the event.
            None => Verdict::Retry {
                reason: FailureReason::new("the answer broke off"),
                hint: None,
            },
            Some(Some(stored)) => Verdict::Stored(stored),
            Some(None) => Verdict::Failed(FailureReason::not_a_bridge(status)),
        },
        408 | 429 | 500..=599 => Verdict::Retry {
            reason: problem(),
            hint: retry_after::parse(&response.retry_after, wall),
        },
        400..=499 => Verdict::Refused(problem()),
        _ => Verdict::Failed(FailureReason::not_a_bridge(status)),
    }
}

/// Returns the events in the bridge's answer. Returns `None` if the answer is not the answer of a bridge to a request with
/// this number of events.
fn stored_events(body: &[u8], events: RequestEvents) -> Option<StoredEvents> {
    #[derive(Deserialize)]
    struct Body {
        accepted: Vec<ItemReceipt>,
    }
    #[derive(Deserialize)]
    struct ItemReceipt {
        duplicate: bool,
        #[serde(default)]
        id: String,
        #[serde(default)]
        status: String,
        #[serde(default, rename = "faults")]
        errors: Vec<ReceivedError>,
    }
    let Body { accepted: items } = serde_json::from_slice(body).ok()?;
    if events == RequestEvents::One && items.len() != 1 {
        return None;
    }
    let mut stored = StoredEvents::default();
    for item in items {
        match item.duplicate {
            true => stored.duplicates += 1,
            false => stored.accepted += 1,
        }
        // Sent again, an event still waits for the operator.
        stored.held += u64::from(item.status == HELD);
        if item.status == PARKED {
            let (id, errors) = (item.id, distinct(item.errors));
            stored.parked.push(ParkedEvent { id, errors });
        }
    }
    Some(stored)
}

/// Returns the delay before the next attempt: the backoff, or the `Retry-After` plus at most 200 ms of backoff.
///
/// The added backoff spreads the next attempts of all senders that got the same `Retry-After`.
pub(crate) fn retry_delay(attempts: u32, hint: Option<Duration>, jitter: f64) -> Duration {
    let backoff = RETRY.delay(attempts, jitter);
    hint.map_or(backoff, |hint| {
        hint.saturating_add(backoff.min(RETRY.first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::StatusCode;

    fn verdict(status: u16, retry_after: &str, body: &str) -> Verdict {
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: vec![retry_after.to_owned()],
            body: Some(body.as_bytes().to_vec()),
        };
        classify(&response, Timestamp::default(), RequestEvents::One)
    }

    const fn stored(accepted: u64, duplicates: u64) -> Verdict {
        let parked = Vec::new();
        Verdict::Stored(StoredEvents {
            accepted,
            duplicates,
            parked,
            held: 0,
        })
    }

    /// FAULTS N419, N1436
    #[test]
    fn a_parked_event_is_told_apart_from_the_other_events_of_a_body() {
        let answer = r#"{"accepted":[
            {"id":"a","status":"waiting","duplicate":false},
            {"id":"b","status":"parked","duplicate":false,"faults":[{"pointer":"/1/phone","rule":"e164","detail":"x","location":"phone"},{"pointer":"/1/phone","rule":"e164","detail":"x","location":"metadata.phone"}]},
            {"id":"c","status":"parked","duplicate":false},
            {"id":"e","status":"held","duplicate":false},
            {"id":"f","status":"held","duplicate":true},
            {"id":"d","status":"parked","duplicate":true}]}"#;
        let events = |events| stored_events(answer.as_bytes(), events);
        assert_eq!(events(RequestEvents::One), None);
        let found = events(RequestEvents::Any).unwrap();
        assert_eq!((found.accepted, found.duplicates, found.held), (4, 2, 2));
        let parked: Vec<_> = found.parked.iter().map(ToString::to_string).collect();
        assert_eq!(
            parked,
            [
                "parked as invalid: /1/phone (e164)",
                "parked: an operator must decide about the event",
                "parked: an operator must decide about the event"
            ]
        );
        let nothing = stored_events(br#"{"accepted":[]}"#, RequestEvents::Any);
        assert_eq!(nothing, Some(StoredEvents::default()));
    }

    #[test]
    fn only_the_answer_of_a_bridge_means_accepted() {
        let kept = r#"{"accepted":[{"id":"a","status":"waiting","duplicate":false}]}"#;
        assert_eq!(verdict(202, "", kept), stored(1, 0));
        let again = r#"{"accepted":[{"id":"a","status":"delivered","duplicate":true}]}"#;
        assert_eq!(verdict(202, "", again), stored(0, 1));
        for (status, body) in [
            (200, "<html>welcome</html>"),
            (202, r#"{"accepted":[]}"#),
            (204, ""),
            (301, ""),
            (103, ""),
        ] {
            assert!(
                matches!(verdict(status, "", body), Verdict::Failed(_)),
                "{status}"
            );
        }
        let cut = Response {
            status: StatusCode::ACCEPTED,
            retry_after: Vec::new(),
            body: None,
        };
        assert!(matches!(
            classify(&cut, Timestamp::default(), RequestEvents::One),
            Verdict::Retry { .. }
        ));
    }

    #[test]
    fn an_answer_that_may_change_is_retried_and_any_other_is_final() {
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert!(
                matches!(verdict(status, "", ""), Verdict::Retry { hint: None, .. }),
                "{status}"
            );
        }
        for status in [400, 401, 403, 404, 405, 409, 413, 415, 422] {
            assert!(
                matches!(verdict(status, "", ""), Verdict::Refused(_)),
                "{status}"
            );
        }
        let Verdict::Retry { hint, .. } = verdict(503, "7", "") else {
            panic!("503 is retried")
        };
        assert_eq!(hint, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_problem_is_printed_by_pointer_and_rule_alone() {
        let body = r#"{"type":"urn:imprint-bridge:problem:invalid","title":"t","detail":"secret",
            "faults":[{"pointer":"/data/customer/email","rule":"email","detail":"secret"},{"pointer":"","rule":"a\u001b[2J"},
            {"pointer":"/3"},{"pointer":"/4"},{"pointer":"/4"},{"pointer":"/5"},{"pointer":"/6"}]}"#;
        let Verdict::Refused(problem) = verdict(422, "", body) else {
            panic!("422 is final")
        };
        assert_eq!(problem.word(), "invalid");
        assert_eq!(
            problem.to_string(),
            "422 urn:imprint-bridge:problem:invalid: /data/customer/email (email), the event (a\u{fffd}[2J), /3 (), /4 (), /5 () and 1 more"
        );
        assert_eq!(
            FailureReason::read(404, Some(b"<html>")).to_string(),
            format!("404{NO_LISTENER}")
        );
        // FAULTS N907: a request in the format of CloudEvents to a source of plain JSON.
        let format = br#"{"type":"urn:imprint-bridge:problem:unsupported_media_type"}"#;
        let format = FailureReason::read(415, Some(format)).to_string();
        assert!(format.contains("needs --plain"), "{format}");
        // FAULTS N1059
        let unproven = br#"{"type":"urn:imprint-bridge:problem:unauthenticated"}"#;
        let unproven = FailureReason::read(401, Some(unproven)).to_string();
        assert!(unproven.contains("without --source-file"), "{unproven}");
    }

    #[test]
    fn delays_are_bounded_and_follow_the_hint() {
        for (attempts, hint, jitter, millis) in [
            (1, None, 0.5, 100),
            (1, None, 0.0, 20),
            (3, None, 1.0, 800),
            (100, None, 1.0, 5_000),
            (1, Some(30), 0.5, 30_100),
            (100, Some(30), 1.0, 30_200),
        ] {
            let delay = retry_delay(attempts, hint.map(Duration::from_secs), jitter);
            assert_eq!(delay, Duration::from_millis(millis), "{attempts} {hint:?}");
        }
    }
}
