//! The sentence of the overview while the destination accepts requests. Pure.

use std::borrow::Cow;
use std::time::Duration;

use super::failing_customer::{FAILING_ALONE, failing_link, failing_name, failing_sentences};
use super::problem_clause::Problem;
use super::refused_files::{CORRECT, NOT_IN_USE};
use super::sentence::{LastRefusal, Sentence, Situation, Tone, backlog, headline};
use super::silent_source::{SILENT, silent_name, silent_sentences};
use super::slow_imprint::{SLOW, slow_text};
use super::words::span_text;
use crate::time::Timestamp;

/// The age of the oldest waiting entry from which a flowing destination has a backlog. A retry after a failure of one
/// request is younger.
const BACKLOG_AGE_MIN: Duration = Duration::from_mins(5);
/// The time without an event after which the bridge is idle, and no longer delivering.
const IDLE_AFTER: Duration = Duration::from_mins(5);

/// Describes delivery without a failure of the destination.
pub(super) fn flowing(situation: &Situation) -> Sentence {
    let silence = situation.accepted_at.map(|at| situation.now.since(at));
    let is_idle = situation.waiting == 0 && silence.is_none_or(|silence| silence >= IDLE_AFTER);
    let problem = Problem::of(situation);
    let state = flowing_state(situation, &problem, is_idle);
    let is_failing = state.advice == Some(FAILING_ALONE);
    let mut cause = problem.causes;
    cause.push(match (situation.waiting, cause.is_empty()) {
        (0, true) => "Nothing waits.".to_owned(),
        (0, false) => "Nothing else waits.".to_owned(),
        _ => backlog(situation),
    });
    if is_idle {
        cause.push(match silence {
            Some(silence) => format!("The last event came {} ago.", span_text(silence)),
            None => "No event has come since the start.".to_owned(),
        });
    }
    cause.extend(silent_sentences(&situation.silent, situation.now));
    cause.extend(failing_sentences(&situation.failing, situation.now));
    cause.extend(situation.slow.map(slow_text));
    let refusal = situation.last_refusal.as_ref();
    cause.extend(refusal.map(|refusal| refused(refusal, situation.now)));
    Sentence {
        tone: state.tone,
        headline: headline(
            &format!("{}{}", state.name, problem.source),
            state.since,
            situation.now,
        ),
        name: state.name.into_owned(),
        cause: cause.join(" "),
        advice: state.advice.map(Cow::Borrowed),
        link: problem
            .link
            .or_else(|| failing_link(&situation.failing).filter(|_| is_failing)),
    }
}

/// The state of a destination that accepts requests.
struct FlowingState {
    tone: Tone,
    name: Cow<'static, str>,
    since: Option<Timestamp>,
    advice: Option<&'static str>,
}

/// Returns the most serious condition of a destination that accepts requests.
fn flowing_state(situation: &Situation, problem: &Problem, is_idle: bool) -> FlowingState {
    let has_backlog = situation.waiting > 0 && situation.oldest_waiting >= BACKLOG_AGE_MIN;
    let refusal = situation.last_refusal.as_ref();
    let state = |tone, name: &'static str, advice| FlowingState {
        tone,
        name: name.into(),
        since: problem.since,
        advice,
    };
    let calm = if is_idle { "Idle" } else { "Delivering" };
    if situation.held > 0 {
        state(Tone::Warning, "Holding a mass change", Some(HOLDING))
    } else if let Some(refused) = &situation.refused_files {
        FlowingState {
            since: Some(refused.since),
            ..state(Tone::Warning, NOT_IN_USE, Some(CORRECT))
        }
    } else if situation.parked > 0 {
        state(Tone::Warning, "Delivering, with problems", Some(PARKED))
    } else if refusal.is_some_and(|refusal| !refusal.is_over) {
        state(Tone::Notice, "Delivering, and refusing", Some(REFUSING))
    } else if let [longest, ..] = situation.silent.as_slice() {
        FlowingState {
            name: format!("{calm}, and {}", silent_name(&situation.silent)).into(),
            since: Some(longest.since),
            ..state(Tone::Notice, calm, Some(SILENT))
        }
    } else if let [longest, ..] = situation.failing.as_slice() {
        FlowingState {
            name: failing_name(&situation.failing).into(),
            since: Some(longest.failures.since),
            ..state(Tone::Notice, calm, Some(FAILING_ALONE))
        }
    } else if situation.slow.is_some() {
        state(Tone::Notice, "Delivering slowly", Some(SLOW))
    } else if has_backlog {
        state(Tone::Notice, "Delivering with a backlog", Some(BACKLOG))
    } else {
        state(Tone::Good, calm, None)
    }
}

/// Describes the latest refused request of a source.
fn refused(refusal: &LastRefusal, now: Timestamp) -> String {
    let (source, ago) = (&refusal.source, span_text(now.since(refusal.at)));
    let since = match refusal.is_over {
        true => format!(", and the bridge has accepted events of {source} since"),
        false => String::new(),
    };
    format!("The last refused request of {source} came {ago} ago{since}.")
}

const HOLDING: &str = "Held entries wait for a decision, for 90 days unless outbox.retain_parked says otherwise. Ask the owner of the source whether the change is intended. If it is, release the entries on the page Problems. Otherwise discard them, and let the source send the right values again, also for the customers that passed.";
const PARKED: &str = "Problems groups the entries by cause. If Imprint rejects a value, correct the mapping of the field in the source file, and then replay the entries there with the present mapping.";
const REFUSING: &str = "Sources shows the reason of each refused request.";
const BACKLOG: &str = "Either the rate limit of Imprint paces the entries, or requests for some customers fail and are repeated.";
