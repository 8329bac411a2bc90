//! What the sentence about the bridge says about the entries that wait for an operator. Pure.

use super::entry_row::spaced;
use super::mass_change::{MassChangeText, PageLink, since};
use super::sentence::Situation;
use super::words::{TimeText, capitalized, counted};
use crate::ops::operate::{Case, CaseList};
use crate::outbox::State;
use crate::time::Timestamp;

/// The entries that wait for an operator.
#[derive(Default)]
pub(super) struct Problem {
    /// The source of a mass change for the headline, as `of SOURCE`.
    pub(super) source: String,
    /// The time since which the entries wait. `None` if it is not known.
    pub(super) since: Option<Timestamp>,
    /// The causes in whole sentences, the most urgent first.
    pub(super) causes: Vec<String>,
    pub(super) link: Option<PageLink>,
}

impl Problem {
    pub(super) fn of(situation: &Situation) -> Self {
        let held = match situation.held {
            0 => Self::default(),
            _ => Self::held(situation),
        };
        let parked = match situation.parked {
            0 => Self::default(),
            _ => Self::parked(situation),
        };
        Self {
            since: match situation.held {
                0 => parked.since,
                _ => held.since,
            },
            causes: [held.causes, parked.causes].concat(),
            ..held
        }
    }

    /// Describes the largest mass change.
    fn held(situation: &Situation) -> Self {
        let now = situation.now;
        let total = counted(situation.held, ["entry is held", "entries are held"]);
        let sources = situation.held_sources.iter();
        let Some(largest) = sources.max_by_key(|held| held.entries) else {
            return Self {
                causes: vec![format!(
                    "{total}: a source changes unusually many customers. Other entries go on."
                )],
                ..Self::default()
            };
        };
        let others = situation.held_sources.iter();
        let others = others.map(|held| held.changes.len().max(1)).sum::<usize>();
        let mut texts = MassChangeText::of_source(largest, now).into_iter();
        let first = texts.next();
        let (sentence, link) = first.map(|text| (text.sentence, text.passed)).unzip();
        let others = (others > 1).then(|| "Sources shows the other mass changes.".to_owned());
        let rest = format!("{total} now. Other entries go on.");
        let causes = [sentence, others, Some(rest)];
        Self {
            source: format!(" of {}", largest.source),
            since: Some(since(largest)),
            causes: causes.into_iter().flatten().collect(),
            link: link.flatten(),
        }
    }

    /// Describes the largest case of parked and undecided entries.
    fn parked(situation: &Situation) -> Self {
        let (now, cases) = (situation.now, &situation.cases);
        let total = counted(
            situation.parked,
            ["entry needs a decision", "entries need a decision"],
        );
        let Some(largest) = largest(cases) else {
            return Self {
                causes: vec![format!("{total}.")],
                ..Self::default()
            };
        };
        let sentence = case_sentence(largest, now);
        let cause = match largest.entries == situation.parked {
            true => sentence,
            false => format!("{total}. The largest group of the newest: {sentence}"),
        };
        Self {
            since: (!cases.has_more).then_some(largest.first),
            causes: vec![cause],
            ..Self::default()
        }
    }
}

/// Returns the case with the most parked or undecided entries.
pub(super) fn largest(cases: &CaseList) -> Option<&Case> {
    let cases = cases.cases.iter();
    let cases = cases.filter(|case| case.cause.state != State::Held.as_str());
    cases.max_by_key(|case| case.entries)
}

/// Returns what happened to the entries of a case.
pub(super) fn title(state: &str, reason: Option<&str>) -> String {
    match (state, reason) {
        (_, Some("rejected")) => "Imprint rejected the update".to_owned(),
        (_, Some(reason)) => capitalized(&spaced(reason)),
        ("undecided", None) => "Failed for a long time for an unknown reason".to_owned(),
        ("held", None) => "Held: a mass change of a source".to_owned(),
        (state, None) => capitalized(state),
    }
}

/// Describes a case: how many entries of which source, the cause, and the time.
pub(super) fn case_sentence(case: &Case, now: Timestamp) -> String {
    let cause = &case.cause;
    let detail = cause.detail.as_deref();
    let what = match (cause.reason, detail.and_then(RejectionText::parse)) {
        (Some("rejected"), Some(answer)) => answer.sentence(),
        (reason, _) => title(cause.state, reason),
    };
    let (first, last) = (
        TimeText::since(case.first, now),
        TimeText::since(case.last, now),
    );
    let accepted = match first == last {
        true => format!("accepted at {first}"),
        false => format!("accepted from {first} to {last}"),
    };
    format!(
        "{} of {} ({}), {accepted}: {what}.",
        counted(case.entries, ["entry", "entries"]),
        cause.source,
        cause.event_type.as_str(),
    )
}

/// Imprint's answer to a rejected update.
pub(super) struct RejectionText<'d> {
    status: &'d str,
    /// The parameter that Imprint rejects.
    param: Option<&'d str>,
}

impl<'d> RejectionText<'d> {
    /// Parses the detail of a rejected entry: the status, and the type and the parameter in Imprint's answer.
    pub(super) fn parse(detail: &'d str) -> Option<Self> {
        let mut words = detail.strip_prefix("status ")?.split(' ');
        let status = words.next()?;
        let is_type = |word: &&str| word.contains(char::is_uppercase) && word.ends_with("_ERROR");
        let param = words.find(|word| !is_type(word));
        Some(Self { status, param })
    }

    /// Returns the answer in words.
    pub(super) fn sentence(&self) -> String {
        let param = self.param.unwrap_or("the update");
        format!("Imprint rejects {param} ({})", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1282
    #[test]
    fn an_answer_of_imprint_is_told_in_words() {
        for (detail, sentence) in [
            (
                "status 400 INVALID_REQUEST_ERROR state",
                "Imprint rejects state (400)",
            ),
            (
                "status 400 INVALID_REQUEST_ERROR",
                "Imprint rejects the update (400)",
            ),
            ("status 422 email", "Imprint rejects email (422)"),
            ("status 413", "Imprint rejects the update (413)"),
        ] {
            let answer = RejectionText::parse(detail).map(|answer| answer.sentence());
            assert_eq!(answer.as_deref(), Some(sentence));
        }
        assert!(RejectionText::parse("customer 7").is_none());
    }
}
