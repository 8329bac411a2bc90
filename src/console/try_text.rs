//! How a page writes the result of a try-out. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::entry_row::spaced;
use super::entry_text::ErrorText;
use crate::intake::comparison::Difference;
use crate::intake::{
    EventExplanation, ExplainedOutcome, ExplainedProblem, Explanation, RequestExplanation,
    TargetExplanation, TargetResult,
};
use crate::ops::operate::{EditedResult, TryResult};

/// The result of a try-out.
pub(super) struct TryText {
    /// The explanations, the most interesting one first, each with its title.
    pub(super) explanations: Vec<(&'static str, Vec<TriedText>)>,
    /// The errors of the edited source file.
    pub(super) errors: Vec<String>,
    /// The differences. `None` if the try-out has no edited source file, or if the file has errors.
    pub(super) differences: Option<Vec<DifferenceText>>,
}

/// One event of an explanation, or the refusal of a body.
pub(super) struct TriedText {
    pub(super) title: String,
    pub(super) outcome: String,
    pub(super) errors: Vec<ErrorText>,
    pub(super) request: Option<TriedRequest>,
    pub(super) rules: Vec<RuleText>,
    /// The places of the event that no expression read.
    pub(super) unused: Vec<String>,
}

/// The request that the bridge would send.
pub(super) struct TriedRequest {
    pub(super) line: String,
    pub(super) body: String,
    pub(super) version: String,
}

/// One mapping rule with its result.
pub(super) struct RuleText {
    pub(super) target: String,
    pub(super) expression: String,
    pub(super) result: Shown,
    pub(super) reads: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// A value, or a remark in the place of a value.
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) is_remark: bool,
}

/// One difference between the source file in use and the edited one.
pub(super) struct DifferenceText {
    pub(super) name: String,
    pub(super) before: Shown,
    pub(super) after: Shown,
}

impl TryText {
    pub(super) fn of(result: &TryResult) -> Self {
        let live = ("Result with the file in use", events(&result.live));
        match &result.edited {
            None => Self {
                explanations: vec![live],
                errors: Vec::new(),
                differences: None,
            },
            Some(EditedResult::Wrong(errors)) => Self {
                explanations: vec![live],
                errors: errors.clone(),
                differences: None,
            },
            Some(EditedResult::Explained {
                explanation,
                differences,
            }) => Self {
                explanations: vec![("Result with the edited file", events(explanation)), live],
                errors: Vec::new(),
                differences: Some(differences.iter().map(DifferenceText::of).collect()),
            },
        }
    }
}

fn events(explanation: &Explanation) -> Vec<TriedText> {
    let body = explanation.outcome.iter();
    let body = body.map(|outcome| TriedText::of(outcome, "Request body".to_owned()));
    let events = explanation.events.iter().zip(1_usize..);
    let events = events.map(|(event, number)| TriedText::of_event(event, number));
    body.chain(events).collect()
}

impl TriedText {
    fn of_event(event: &EventExplanation, number: usize) -> Self {
        let names = [&event.id, &event.event_type].into_iter().flatten();
        let names: Vec<&str> = names.map(String::as_str).collect();
        let title = match names.as_slice() {
            [] => format!("Event {number}"),
            names => format!("Event {number}: {}", names.join(", ")),
        };
        let omitted = match &event.outcome {
            ExplainedOutcome::Request(request) | ExplainedOutcome::Parked { request, .. } => {
                request.omitted.clone()
            }
            ExplainedOutcome::Refused { .. }
            | ExplainedOutcome::Invalid { .. }
            | ExplainedOutcome::Ignored { .. } => BTreeMap::new(),
        };
        let rules = event.targets.iter().flatten();
        Self {
            rules: rules.map(|rule| RuleText::of(rule, &omitted)).collect(),
            unused: event.unused.clone().unwrap_or_default(),
            ..Self::of(&event.outcome, title)
        }
    }

    fn of(outcome: &ExplainedOutcome, title: String) -> Self {
        let errors =
            |problem: &ExplainedProblem| problem.errors.iter().map(ErrorText::of).collect();
        let (outcome, errors, request) = match outcome {
            ExplainedOutcome::Refused { problem } => {
                let class = spaced(&problem.class);
                let outcome = format!("The bridge would refuse the request: {class}.");
                (outcome, errors(problem), None)
            }
            ExplainedOutcome::Invalid { problem } => {
                let class = spaced(&problem.class);
                let outcome = format!("The bridge would park the event as invalid: {class}.");
                (outcome, errors(problem), None)
            }
            ExplainedOutcome::Ignored { reason } => {
                let reason = spaced(reason);
                let outcome = format!("The bridge would ignore the event: {reason}.");
                (outcome, Vec::new(), None)
            }
            ExplainedOutcome::Request(request) if request.is_nothing() => {
                let outcome = "The bridge would send nothing: the event only clears fields, and no request sends them.";
                (outcome.to_owned(), Vec::new(), None)
            }
            ExplainedOutcome::Request(request) => (
                "The bridge would send this request.".to_owned(),
                Vec::new(),
                Some(TriedRequest::of(request)),
            ),
            ExplainedOutcome::Parked { reason, request } => (
                format!(
                    "The bridge would park the event: {}. A replay would send this request.",
                    spaced(reason)
                ),
                Vec::new(),
                Some(TriedRequest::of(request)),
            ),
        };
        Self {
            title,
            outcome,
            errors,
            request,
            rules: Vec::new(),
            unused: Vec::new(),
        }
    }
}

impl TriedRequest {
    fn of(explained: &RequestExplanation) -> Self {
        let request = &explained.request;
        let line = match (&request.method, &request.path, &request.partner_id) {
            (Some(method), Some(path), _) => format!("{method} {path}"),
            (_, _, Some(partner)) => {
                format!(
                    "The bridge first asks Imprint for the customer with the CRM's id {partner}."
                )
            }
            (_, _, None) => "The customer is unknown.".to_owned(),
        };
        let version = explained.version;
        Self {
            line,
            body: format!("{:#}", request.body),
            version: match version.epoch {
                0 => version.value.to_string(),
                epoch => format!("{} of epoch {epoch}", version.value),
            },
        }
    }
}

impl RuleText {
    fn of(rule: &TargetExplanation, omitted: &BTreeMap<String, String>) -> Self {
        let result = match &rule.result {
            TargetResult::Absent => Shown::remark("absent"),
            TargetResult::Cleared => match omitted.get(&rule.target) {
                Some(reason) => Shown::remark(format!("cleared, but nothing is sent: {reason}")),
                None => Shown::remark(
                    "cleared: the bridge empties the field, if necessary with a second request",
                ),
            },
            TargetResult::Value { value } => Shown::value(value),
            TargetResult::Skipped { error } => {
                Shown::remark(format!("left out: {} ({})", error.detail, error.rule))
            }
            TargetResult::Refused { error } => {
                Shown::remark(format!("error: {} ({})", error.detail, error.rule))
            }
        };
        let notes = [
            (rule.is_assumed, "an absent value counts as null"),
            (
                rule.is_unchanged,
                "not in the request: only_changed finds no difference",
            ),
            (
                rule.is_held_back,
                "not in the request: a field that belongs with it has an invalid value",
            ),
        ];
        let notes = notes.into_iter().filter(|(applies, _)| *applies);
        let notes = notes.map(|(_, note)| note.to_owned());
        Self {
            target: rule.target.clone(),
            expression: rule.expression.clone(),
            result,
            reads: rule.reads.clone(),
            notes: notes.chain(rule.note.clone()).collect(),
        }
    }
}

impl DifferenceText {
    fn of(difference: &Difference) -> Self {
        let shown = |value: &Option<Value>| match value {
            None => Shown::remark("absent"),
            Some(Value::String(word)) if word == "(cleared)" || word == "(skipped)" => {
                Shown::remark(word.trim_matches(['(', ')']))
            }
            Some(value) => Shown::value(value),
        };
        let event = difference.event.map(|index| index.saturating_add(1));
        Self {
            name: match event {
                Some(number) => format!("event {number}: {}", difference.name),
                None => difference.name.clone(),
            },
            before: shown(&difference.before),
            after: shown(&difference.after),
        }
    }
}

impl Shown {
    fn remark(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_remark: true,
        }
    }

    fn value(value: &Value) -> Self {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => value.to_string(),
        };
        Self {
            text,
            is_remark: false,
        }
    }
}
