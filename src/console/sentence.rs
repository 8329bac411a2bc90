//! The sentence of the overview: the state of delivery, its cause, since when, and what to do. Pure.

use std::borrow::Cow;
use std::time::Duration;

use super::failing_customer::failure_text;
use super::flowing::flowing;
use super::full_disk::FullDisk;
use super::key_change::{RefusedKey, is_key_refused};
use super::mass_change::PageLink;
use super::refused_files::not_in_use;
use super::refusing::{RefusedSource, refusing};
use super::words::{TimeText, capitalized, counted, span_text};
use crate::dispatch::destination::{OperatorMode, UnprovenFailures};
use crate::notices::SilentSource;
use crate::ops::operate::{
    CaseList, CauseClause, DestinationView, FailingCustomer, HeldSource, RefusedSet,
    SecretFileView, cause,
};
use crate::time::Timestamp;

/// How urgently an operator must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    /// Nothing is wrong.
    Good,
    /// The bridge works, and an operator may want to know.
    Notice,
    /// An operator or the destination holds delivery back.
    Warning,
    /// Delivery or acceptance has failed.
    Alarm,
}

impl Tone {
    /// Returns the class of the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
        }
    }
}

/// The state of the bridge in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) tone: Tone,
    /// The state in a few words, for the titles of pages.
    pub(super) name: String,
    /// The state in a few words, with the time of its begin.
    pub(super) headline: String,
    /// The cause and the consequence, in whole sentences.
    pub(super) cause: String,
    /// What an operator can do. `None` if there is nothing to do.
    pub(super) advice: Option<Cow<'static, str>>,
    /// A list that an operator needs for it.
    pub(super) link: Option<PageLink>,
}

/// Everything that the sentence depends on.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    pub(super) has_store: bool,
    pub(super) destination: DestinationView,
    /// The file with the key that the bridge uses for its requests.
    pub(super) key_file: Option<SecretFileView>,
    /// The latest change of the mode. `None` if the audit log no longer shows it.
    pub(super) mode_change: Option<ModeChange>,
    pub(super) waiting: u64,
    pub(super) oldest_waiting: Duration,
    pub(super) held: u64,
    /// The sources of the newest held entries.
    pub(super) held_sources: Vec<HeldSource>,
    /// The cases of the newest entries that wait for an operator.
    pub(super) cases: CaseList,
    /// The number of parked and undecided entries.
    pub(super) parked: u64,
    /// The disk of the store, if it has no space for events.
    pub(super) full_disk: Option<FullDisk>,
    /// The latest refused request of a source, within [`REFUSED_LATELY`](super::situation::REFUSED_LATELY).
    pub(super) last_refusal: Option<LastRefusal>,
    /// The source whose requests the bridge refuses without exception, if there is one.
    pub(super) refused_source: Option<RefusedSource>,
    /// The time of the last accepted event. `None` if the process has accepted none.
    pub(super) accepted_at: Option<Timestamp>,
    /// The mean time of the latest requests to Imprint, if Imprint is slow.
    pub(super) slow: Option<Duration>,
    /// The customers whose requests fail while Imprint serves others, the longest failure first.
    pub(super) failing: Vec<FailingCustomer>,
    /// The sources that are silent, the longest silence first.
    pub(super) silent: Vec<SilentSource>,
    /// The new source files with errors, which the bridge does not use.
    pub(super) refused_files: Option<RefusedSet>,
    pub(super) now: Timestamp,
}

/// The latest refused request of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastRefusal {
    pub(super) source: String,
    pub(super) at: Timestamp,
    /// True if the bridge has accepted an event of the source well after the request.
    pub(super) is_over: bool,
}

/// A change of the mode of the destination by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModeChange {
    pub(super) operator: String,
    pub(super) reason: Option<String>,
    pub(super) at: Timestamp,
}

/// Describes the most serious condition of the bridge.
pub(super) fn sentence(situation: &Situation) -> Sentence {
    if !situation.has_store || situation.full_disk.is_some() {
        return no_intake(situation);
    }
    let delivery = delivery(situation);
    let mut sentence = match &situation.refused_source {
        // The intake of a source has failed, which is worse than what holds back deliveries that come later anyway.
        Some(source) if delivery.tone < Tone::Alarm => refusing(source, situation),
        Some(_) | None => delivery,
    };
    if let Some(refused) = &situation.refused_files {
        sentence.cause = format!("{} {}", sentence.cause, not_in_use(refused));
    }
    sentence
}

/// Describes a store that accepts no events.
fn no_intake(situation: &Situation) -> Sentence {
    const NAME: &str = "No events accepted";
    let (headline, cause, advice) = match &situation.full_disk {
        Some(disk) if situation.has_store => (
            format!(
                "{}: the disk of {} is full, {}",
                headline(NAME, situation.accepted_at, situation.now),
                disk.path,
                disk.free_text()
            ),
            "Senders get 503 and send their events again later. Stored entries are still delivered.",
            "Free space on the disk that has the store (outbox.url), or enlarge the disk. The bridge accepts events again by itself.",
        ),
        Some(_) | None => (
            NAME.to_owned(),
            "The store does not accept events, so senders get 503 and send their events again later.",
            "Look at the disk of the store: its free space, and whether it responds. The log names the error.",
        ),
    };
    Sentence {
        tone: Tone::Alarm,
        name: NAME.to_owned(),
        headline,
        cause: with_backlog(cause.to_owned(), situation),
        advice: Some(advice.into()),
        link: None,
    }
}

/// Describes the state of sending.
fn delivery(situation: &Situation) -> Sentence {
    match situation.destination.mode {
        OperatorMode::Paused => held_back(situation, "Paused", "paused sending", PAUSED),
        OperatorMode::Shadow => {
            held_back(situation, "Shadow mode", "switched to shadow mode", SHADOW)
        }
        OperatorMode::Open => destination(situation),
    }
}

const PAUSED: &str = "To send again, choose Send on the page Destination.";
const SHADOW: &str = "The bridge records requests and sends none. To send them, choose Send on the page Destination.";

/// Describes a mode in which an operator holds delivery back.
fn held_back(situation: &Situation, name: &str, action: &str, advice: &'static str) -> Sentence {
    let change = situation.mode_change.as_ref();
    let cause = change.map_or_else(
        || format!("An operator {action}."),
        |change| {
            let reason = change.reason.as_ref();
            let reason = reason.map(|reason| format!(": {}", reason.trim_end_matches('.')));
            format!(
                "{} {action}{}.",
                change.operator,
                reason.unwrap_or_default()
            )
        },
    );
    Sentence {
        tone: Tone::Warning,
        name: name.to_owned(),
        headline: headline(name, change.map(|change| change.at), situation.now),
        cause: with_backlog(cause, situation),
        advice: Some(advice.into()),
        link: None,
    }
}

/// Describes the state of sending to Imprint.
fn destination(situation: &Situation) -> Sentence {
    let change = situation.destination.change.as_ref();
    let since = change.map(|change| change.at);
    let cause = change.and_then(cause);
    let until = situation.destination.next_try_at;
    let until = until.map(|until| TimeText::since(until, situation.now));
    let (tone, name, cause, advice) = match situation.destination.state {
        "stopped" => {
            let cause = cause.unwrap_or_else(|| CauseClause::other("Imprint refuses the requests"));
            (Tone::Alarm, "Stopped", cause.text, cause.advice)
        }
        "probing" => {
            let cause = cause.unwrap_or_else(|| CauseClause::other("requests to Imprint fail"));
            let name = match cause.is_answer {
                true => "Imprint rejects every request",
                false => "Imprint is down",
            };
            (Tone::Alarm, name, cause.text, cause.advice)
        }
        "throttled" => {
            let until = until.map(|until| format!(" until {until}"));
            let cause = format!(
                "Imprint asked the bridge to wait{}",
                until.unwrap_or_default()
            );
            (Tone::Warning, "Throttled", cause, Some(THROTTLED))
        }
        _ => {
            let unproven = situation.destination.unproven.as_ref();
            return unproven.map_or_else(
                || flowing(situation),
                |failures| failing(failures, situation),
            );
        }
    };
    let key = change
        .filter(|change| is_key_refused(change) && tone == Tone::Alarm)
        .and_then(|change| RefusedKey::of(situation.key_file.as_ref()?, change.at, situation.now));
    let advice = match &key {
        Some(key) => Some(Cow::Owned(key.advice.clone())),
        None => advice.map(Cow::Borrowed),
    };
    let key = key.map(|key| format!(" {}", key.sentence));
    let key = key.unwrap_or_default();
    let next = match tone {
        Tone::Alarm => next_probe(situation),
        Tone::Good | Tone::Notice | Tone::Warning => String::new(),
    };
    Sentence {
        tone,
        name: name.to_owned(),
        headline: headline(name, since, situation.now),
        cause: with_backlog(format!("{}.{key}{next}", capitalized(&cause)), situation),
        advice,
        link: None,
    }
}

/// Says when the bridge tries again whether Imprint works.
fn next_probe(situation: &Situation) -> String {
    let next = situation.destination.next_try_at;
    let next = next.filter(|next| *next > situation.now);
    next.map_or_else(String::new, |next| {
        let next = TimeText::of(next, situation.now).relative;
        format!(
            " The next probe is {next}, or earlier: the bridge tries each customer whose requests have not failed yet, at most one a second."
        )
    })
}

const THROTTLED: &str =
    "The bridge goes on by itself. If this happens often, lower imprint.rate_per_second.";

/// Describes failures of which nothing has shown the cause: often the first requests of a new installation.
fn failing(failures: &UnprovenFailures, situation: &Situation) -> Sentence {
    let cause = failure_text(&failures.cause).map(|cause| format!(": {cause}"));
    let cause = cause.unwrap_or_default();
    let cause = format!(
        "The last {} requests failed{cause}. Nothing has shown whether a customer or Imprint as a whole is the cause.",
        failures.requests
    );
    Sentence {
        tone: Tone::Warning,
        name: "Requests fail".to_owned(),
        headline: headline("Requests fail", Some(failures.since), situation.now),
        cause: with_backlog(cause, situation),
        advice: Some(FAILING.into()),
        link: None,
    }
}

const FAILING: &str = "Nothing is lost, and the bridge repeats the requests. If no customer works, check imprint.base_url and the way to Imprint.";

pub(super) fn headline(name: &str, since: Option<Timestamp>, now: Timestamp) -> String {
    match since {
        Some(since) => format!(
            "{name} since {} ({})",
            TimeText::since(since, now),
            span_text(now.since(since))
        ),
        None => name.to_owned(),
    }
}

/// Adds the waiting entries to a cause, if any wait.
fn with_backlog(cause: String, situation: &Situation) -> String {
    match situation.waiting {
        0 => cause,
        _ => format!("{cause} {}", backlog(situation)),
    }
}

pub(super) fn backlog(situation: &Situation) -> String {
    let waiting = counted(situation.waiting, ["entry waits", "entries wait"]);
    let oldest = span_text(situation.oldest_waiting);
    match situation.waiting {
        1 => format!("{waiting}, accepted {oldest} ago."),
        _ => format!("{waiting}, the oldest accepted {oldest} ago."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::destination::StateChange;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn situation(state: &'static str, change: Option<(&'static str, &str)>) -> Situation {
        let change = change.map(|(outcome, cause)| StateChange {
            to: state,
            at: Timestamp::from_millis(NOW.as_millis() - 600_000),
            outcome,
            cause: cause.to_owned(),
        });
        Situation {
            has_store: true,
            full_disk: None,
            destination: DestinationView {
                mode: OperatorMode::Open,
                state,
                change,
                next_try_at: Some(NOW.after(Duration::from_secs(90))),
                unproven: None,
                changes: Vec::new(),
            },
            key_file: None,
            mode_change: None,
            waiting: 1_204,
            oldest_waiting: Duration::from_secs(600),
            held: 0,
            held_sources: Vec::new(),
            cases: CaseList::default(),
            parked: 0,
            last_refusal: None,
            refused_source: None,
            accepted_at: Some(NOW),
            slow: None,
            failing: Vec::new(),
            silent: Vec::new(),
            refused_files: None,
            now: NOW,
        }
    }

    #[track_caller]
    fn check(situation: &Situation, tone: Tone, headline: &str, cause: &str) {
        let found = sentence(situation);
        assert_eq!(
            (found.tone, found.headline.as_str(), found.cause.as_str()),
            (tone, headline, cause)
        );
        assert_eq!(found.advice.is_none(), tone == Tone::Good);
    }

    const WAIT: &str = "1,204 entries wait, the oldest accepted 10 min ago.";
    /// The state, the outcome and the cause of a change, and the cause in the sentence.
    const CAUSES: &str = "stopped|denied|status_401|Imprint refuses the API key (401).
        stopped|denied|status_403|Imprint forbids the update of customers (403).
        stopped|denied|status_302|Imprint redirects the requests (302), and the bridge follows no redirect.
        stopped|denied|certificate|The certificate of Imprint's server is not valid.
        stopped|denied|client_certificate|Imprint refuses the client certificate of the bridge.
        stopped|not_found||Imprint says of many customers in a row that they do not exist.
        stopped|rejected|status_400|Imprint rejects the updates of many customers in a row (400).
        stopped|unclear|unheard_of|Imprint refuses the requests.
        probing|unavailable|dns|The name of Imprint's host does not resolve.
        probing|unavailable|connect|Imprint accepts no connection.
        probing|unavailable|tls|The TLS handshake with Imprint fails.
        probing|unavailable|proxy_connect|The proxy gives no connection to Imprint.
        probing|unavailable|status_404|Imprint answers every request with 404.
        probing|unavailable|status_503|Imprint answers with errors (503).
        probing|unknown|deadline|Requests to Imprint time out.
        probing|unknown|disconnected|Imprint closes connections before its answer.
        probing|unknown|protocol|Imprint's answers are not readable.
        probing|unavailable|unheard_of|Requests to Imprint fail.";

    /// FAULTS N866
    #[test]
    fn every_state_has_a_sentence_with_its_cause() {
        for row in CAUSES.lines() {
            let parts: Vec<&str> = row.trim().split('|').collect();
            let [state, outcome, word, text] = parts[..] else {
                panic!("{row}")
            };
            let headline = match state {
                "stopped" => "Stopped since 22:03:20 UTC (10 min)",
                _ if word.ends_with("404") => {
                    "Imprint rejects every request since 22:03:20 UTC (10 min)"
                }
                _ => "Imprint is down since 22:03:20 UTC (10 min)",
            };
            let situation = situation(state, Some((outcome, word)));
            let probe = "The next probe is in 1 min, or earlier: the bridge tries each customer whose requests have not failed yet, at most one a second.";
            let cause = format!("{text} {probe} {WAIT}");
            check(&situation, Tone::Alarm, headline, &cause);
        }
        let throttled = situation("throttled", None);
        let cause = format!("Imprint asked the bridge to wait until 22:14:50 UTC. {WAIT}");
        check(&throttled, Tone::Warning, "Throttled", &cause);
    }

    #[test]
    fn a_healthy_bridge_needs_two_words() {
        let mut healthy = situation("flowing", Some(("applied", "")));
        check(
            &healthy,
            Tone::Notice,
            "Delivering with a backlog",
            "1,204 entries wait, the oldest accepted 10 min ago.",
        );
        healthy.oldest_waiting = Duration::from_secs(3);
        healthy.waiting = 1;
        check(
            &healthy,
            Tone::Good,
            "Delivering",
            "1 entry waits, accepted 3 s ago.",
        );
        healthy.waiting = 0;
        check(&healthy, Tone::Good, "Delivering", "Nothing waits.");
        healthy.accepted_at = Some(Timestamp::from_millis(NOW.as_millis() - 1_020_000));
        let idle = "Nothing waits. The last event came 17 min ago.";
        check(&healthy, Tone::Good, "Idle", idle);
        healthy.accepted_at = None;
        let idle = "Nothing waits. No event has come since the start.";
        check(&healthy, Tone::Good, "Idle", idle);
    }

    /// FAULTS N1543: the overview said "Delivering" while each request took seconds.
    #[test]
    fn a_slow_imprint_is_not_healthy() {
        let mut slow = situation("flowing", None);
        slow.waiting = 0;
        slow.slow = Some(Duration::from_millis(7_310));
        let cause =
            "Nothing waits. Imprint is slow: a request took 7.3 s on average over the last minute.";
        check(&slow, Tone::Notice, "Delivering slowly", cause);
    }

    /// FAULTS N1130
    #[test]
    fn failures_without_a_proven_cause_are_not_healthy() {
        let mut failing = situation("flowing", None);
        for (cause, text) in [
            ("connect", ": Imprint accepts no connection"),
            ("status_500", ": Imprint answers with 500"),
            ("odd", ""),
        ] {
            failing.destination.unproven = Some(UnprovenFailures {
                since: NOW,
                requests: 9,
                outcome: "unavailable",
                cause: cause.to_owned(),
            });
            let sentence = sentence(&failing);
            assert_eq!(sentence.tone, Tone::Warning);
            let start = format!("The last 9 requests failed{text}. Nothing has shown");
            assert!(sentence.cause.starts_with(&start), "{}", sentence.cause);
        }
    }

    /// FAULTS N1236
    #[test]
    fn a_bridge_that_needs_an_operator_is_not_healthy() {
        let mut needs = situation("flowing", None);
        let refusal = |is_over| LastRefusal {
            source: "crm".to_owned(),
            at: Timestamp::from_millis(needs.now.as_millis() - 360_000),
            is_over,
        };
        let [refuses, is_over] = [false, true].map(|is_over| Some(refusal(is_over)));
        (needs.waiting, needs.last_refusal) = (0, is_over);
        let over = "Nothing waits. The last refused request of crm came 6 min ago, and the bridge has accepted events of crm since.";
        check(&needs, Tone::Good, "Delivering", over);
        needs.last_refusal = refuses;
        let now = "Nothing waits. The last refused request of crm came 6 min ago.";
        check(&needs, Tone::Notice, "Delivering, and refusing", now);
        (needs.parked, needs.last_refusal) = (1, None);
        let parked = "1 entry needs a decision. Nothing else waits.";
        check(&needs, Tone::Warning, "Delivering, with problems", parked);
        needs.held = 1_261;
        check(
            &needs,
            Tone::Warning,
            "Holding a mass change",
            "1,261 entries are held: a source changes unusually many customers. Other entries go on. 1 entry needs a decision. Nothing else waits.",
        );
    }

    #[test]
    fn the_operators_mode_and_the_store_come_first() {
        let mut held = situation("stopped", Some(("denied", "status_401")));
        held.waiting = 0;
        held.destination.mode = OperatorMode::Paused;
        check(
            &held,
            Tone::Warning,
            "Paused",
            "An operator paused sending.",
        );
        held.mode_change = Some(ModeChange {
            operator: "ann".to_owned(),
            reason: Some("Imprint deploys.".to_owned()),
            at: NOW,
        });
        check(
            &held,
            Tone::Warning,
            "Paused since 22:13:20 UTC (less than 1 s)",
            "ann paused sending: Imprint deploys.",
        );
        held.destination.mode = OperatorMode::Shadow;
        check(
            &held,
            Tone::Warning,
            "Shadow mode since 22:13:20 UTC (less than 1 s)",
            "ann switched to shadow mode: Imprint deploys.",
        );
        held.has_store = false;
        assert_eq!(sentence(&held).tone, Tone::Alarm);
    }

    /// FAULTS N1164, N1189: a person on call saw the green word "Delivering" while the disk was full, and while the bridge refused
    /// every event.
    #[test]
    fn a_bridge_that_takes_no_event_is_not_healthy() {
        let mut full = situation("flowing", None);
        full.waiting = 0;
        full.full_disk = Some(FullDisk {
            path: "/data/bridge.db".to_owned(),
            free_bytes: Some(3 * 1024 * 1024),
        });
        let cause = "Senders get 503 and send their events again later. Stored entries are still delivered.";
        let name = "No events accepted since 22:13:20 UTC (less than 1 s): the disk of /data/bridge.db is full, 3 MiB free";
        check(&full, Tone::Alarm, name, cause);
        let mut refusing = situation("flowing", None);
        refusing.refused_source = Some(RefusedSource {
            name: "crm".to_owned(),
            file: "/etc/bridge/sources/crm.toml".to_owned(),
            since: Some(Timestamp::from_millis(NOW.as_millis() - 300_000)),
            detail: "The language tag is wrong".to_owned(),
            is_wrong_secret: false,
            place: (Some("/data/name".to_owned()), "language".to_owned()),
            changed_at: Some(Timestamp::from_millis(NOW.as_millis() - 301_000)),
        });
        let name = "Refusing the events of crm since 22:08:20 UTC (5 min)";
        let cause = "Since then, the bridge has refused every request of this source. The latest: The language tag is wrong. The error is at /data/name in the event, and the rule is that of language. Its file changed at 22:08:19 UTC: Sources shows the changed lines. The bridge keeps no refused event, so the source must send it again.";
        check(&refusing, Tone::Warning, name, cause);
        let mut down = situation("probing", Some(("unknown", "deadline")));
        down.refused_source = refusing.refused_source;
        assert_eq!(sentence(&down).name, "Imprint is down");
    }
}
