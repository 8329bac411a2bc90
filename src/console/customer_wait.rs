//! How the page of a customer says what a lane waits for. Pure.

use super::entry_row::CustomerText;
use super::failing_customer::failure_text;
use super::words::{TimeText, capitalized, counted, span_text};
use crate::ops::operate::next_request;
use crate::outbox::{LaneWait, State};
use crate::time::Timestamp;

/// What a lane of a customer waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitText {
    pub(super) customer: CustomerText,
    /// The sentences, the most important first.
    pub(super) sentences: Vec<String>,
}

impl WaitText {
    /// `stopped` has the numbers of the customer's entries that wait for an operator. `hold` is the reason why the bridge
    /// sends no request at present.
    pub(super) fn of(
        wait: &LaneWait,
        stopped: &[(State, usize)],
        hold: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let failures = wait.trials.failures;
        let tried = wait.trials.tried_at.filter(|_| failures > 0);
        let due = |at| TimeText::of(at, now).relative;
        let mut sentences = vec![next_request(wait, stopped, hold, now, due)];
        sentences.extend(tried.map(|at| {
            let requests = counted(failures.into(), ["request", "requests"]);
            let at = TimeText::of(at, now).relative;
            format!("Since Imprint last applied an update, {requests} failed, the last one {at}.")
        }));
        let absence = wait.unproven.absence;
        let since = wait.unproven.since.filter(|_| absence.is_none());
        sentences.extend(absence.map(|absence| {
            let at = TimeText::of(absence.at, now).relative;
            format!("Imprint answered {at} that the customer does not exist. The bridge waits for proof that the answer is right.")
        }));
        sentences.extend(since.map(|at| {
            let since = span_text(now.since(at));
            format!("For {since}, nothing has shown whether this customer or Imprint as a whole is the cause.")
        }));
        Self {
            customer: CustomerText::of(&wait.key),
            sentences,
        }
    }

    /// Adds the cause of the last failed request.
    pub(super) fn with_failure(mut self, cause: Option<&str>) -> Self {
        let cause = cause.and_then(failure_text);
        self.sentences
            .extend(cause.map(|cause| format!("{}.", capitalized(&cause))));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::{ImprintId, PartnerCustomerId};
    use crate::outbox::{Absence, KeyMark, LaneKey, Trials, Unproven};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + seconds * 1_000)
    }

    fn idle() -> LaneWait {
        LaneWait {
            key: LaneKey::Imprint(ImprintId::parse("c-1").unwrap()),
            due: None,
            trials: Trials::default(),
            unproven: Unproven::default(),
        }
    }

    /// FAULTS N1498
    #[test]
    fn a_lane_without_a_waiting_entry_names_the_entries_for_an_operator() {
        let stopped = [(State::Parked, 1), (State::Held, 2)];
        let said = WaitText::of(&idle(), &stopped, None, NOW).sentences;
        assert_eq!(
            said,
            [
                "No entry waits for delivery, but 1 entry is parked, 2 entries are held, and an operator must decide."
            ]
        );
    }

    /// FAULTS N894: an operator sees why the bridge sends nothing for a customer.
    #[test]
    fn a_lane_says_when_and_why_it_waits() {
        let idle = idle();
        let said = |wait: &LaneWait| WaitText::of(wait, &[], None, NOW).sentences.join(" ");
        assert_eq!(said(&idle), "No entry waits.");
        let failing = LaneWait {
            due: Some(at(40)),
            trials: Trials {
                failures: 2,
                tried_at: Some(at(-5)),
                ..Trials::default()
            },
            unproven: Unproven {
                since: Some(at(-300)),
                absence: None,
            },
            ..idle.clone()
        };
        assert_eq!(
            said(&failing),
            "The next request is due in 40 s. Since Imprint last applied an update, 2 requests failed, the last one 5 s ago. For 5 min, nothing has shown whether this customer or Imprint as a whole is the cause."
        );
        let held = WaitText::of(
            &failing,
            &[],
            Some("sending is paused since 22:00:00 UTC"),
            NOW,
        );
        assert_eq!(
            held.sentences[0],
            "The next request waits: sending is paused since 22:00:00 UTC."
        );
        let absent = LaneWait {
            key: LaneKey::Partner(PartnerCustomerId::parse("p").unwrap()),
            due: Some(at(-1)),
            unproven: Unproven {
                since: Some(at(-300)),
                absence: Some(Absence {
                    at: at(-60),
                    is_typed: true,
                    by_search: true,
                    by_id: false,
                    key: KeyMark(1),
                }),
            },
            ..idle
        };
        assert_eq!(
            said(&absent),
            "The search for Imprint's id of the customer is due now. Imprint answered 1 min ago that the customer does not exist. The bridge waits for proof that the answer is right."
        );
    }
}
