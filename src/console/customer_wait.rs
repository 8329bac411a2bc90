//! How the page of a customer says what a lane waits for. Pure.

use super::entry_row::CustomerText;
use super::words::{TimeText, counted, span_text};
use crate::outbox::{LaneKey, LaneWait};
use crate::time::Timestamp;

/// What a lane of a customer waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitText {
    pub(super) customer: CustomerText,
    /// The sentences, the most important first.
    pub(super) sentences: Vec<String>,
}

impl WaitText {
    /// `hold` is the reason why the bridge sends no request at present.
    pub(super) fn of(wait: &LaneWait, hold: Option<&str>, now: Timestamp) -> Self {
        let failures = wait.trials.failures;
        let tried = wait.trials.tried_at.filter(|_| failures > 0);
        let mut sentences = vec![next(wait, hold, now)];
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
}

fn next(wait: &LaneWait, hold: Option<&str>, now: Timestamp) -> String {
    let request = match wait.key {
        LaneKey::Imprint(_) => "The next request",
        LaneKey::Partner(_) => "The search for Imprint's id of the customer",
    };
    match (wait.due, hold) {
        (None, _) => "No entry waits.".to_owned(),
        // The time at which the request was due says nothing while the bridge sends none.
        (Some(_), Some(hold)) => format!("{request} waits: {hold}."),
        (Some(due), None) if due <= now => format!("{request} is due now."),
        (Some(due), None) => format!("{request} is due {}.", TimeText::of(due, now).relative),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::{ImprintId, PartnerCustomerId};
    use crate::outbox::{Absence, KeyMark, Trials, Unproven};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + seconds * 1_000)
    }

    /// FAULTS N894: an operator sees why the bridge sends nothing for a customer.
    #[test]
    fn a_lane_says_when_and_why_it_waits() {
        let idle = LaneWait {
            key: LaneKey::Imprint(ImprintId::parse("c-1").unwrap()),
            due: None,
            trials: Trials::default(),
            unproven: Unproven::default(),
        };
        let said = |wait: &LaneWait| WaitText::of(wait, None, NOW).sentences.join(" ");
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
        let held = WaitText::of(&failing, Some("sending is paused since 22:00:00 UTC"), NOW);
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
