//! The typed explanation of a body or an event: the JSON of the admin API, and what the command line prints.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rejection::Rejection;
use crate::event::{EventError, SourceVersion};
use crate::imprint::{CustomerChange, Field};

/// The changes that sending this body would make, event by event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The name of the source.
    pub source: String,
    /// One explanation per event.
    pub events: Vec<EventExplanation>,
    /// The rejection, if the body as a whole cannot be decoded. `events` is empty then.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ExplainedOutcome>,
}

/// The changes that one event would make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventExplanation {
    /// The result of the pipeline.
    #[serde(flatten)]
    pub outcome: ExplainedOutcome,
    /// The id of the event, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The type of the event, if it could be read.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Every rule of the mapping, those that find the customer first. `None` if the type has no mapping.
    #[serde(rename = "fields", default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<TargetExplanation>>,
    /// The places of the event that no rule read, as JSON Pointers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<Vec<String>>,
    /// The change behind the outcome. It never leaves the process.
    #[serde(skip)]
    pub(super) change: Option<CustomerChange>,
}

/// The result of the pipeline for one event or one body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ExplainedOutcome {
    /// The request is rejected.
    Refused {
        /// The problem that the sender would get.
        problem: ExplainedProblem,
    },
    /// The event is accepted, and nothing is sent.
    Ignored,
    /// This request is sent.
    Request(RequestExplanation),
    /// The event is parked.
    Parked {
        /// The name of the park reason.
        #[serde(rename = "parked")]
        reason: String,
        /// The request that is sent when an operator replays the entry.
        #[serde(flatten)]
        request: RequestExplanation,
    },
}

/// The problem that the sender would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedProblem {
    /// The last word of the problem `type`.
    #[serde(rename = "type")]
    pub class: String,
    /// All errors.
    #[serde(rename = "faults")]
    pub errors: Vec<EventError>,
}

/// The request of an event, with its place in the order of the customer's changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestExplanation {
    pub request: RequestPreview,
    /// The version of the change.
    pub version: SourceVersion,
    /// The fields that the source cleared.
    pub cleared: Vec<String>,
}

/// A request to Imprint.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestPreview {
    /// The HTTP method; `None` if the Imprint id is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path; `None` if the Imprint id is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Our id of the customer at Imprint, if the event names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner_id: Option<String>,
    pub body: Value,
}

/// One rule of the mapping at work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetExplanation {
    /// The field, or the name of the rule, such as `customer.imprint_id`.
    pub target: String,
    pub expression: String,
    /// The places of the event that the expression read, as JSON Pointers.
    pub reads: Vec<String>,
    /// Whether the expression runs in the jq interpreter instead of a compiled plan.
    #[serde(rename = "slow")]
    pub is_interpreted: bool,
    /// The result.
    #[serde(flatten)]
    pub result: TargetResult,
    /// Whether Imprint already has a newer value of the field. Only explanations of stored entries know this.
    #[serde(rename = "stale", default, skip_serializing_if = "Option::is_none")]
    pub is_stale: Option<bool>,
}

/// The result of one rule.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case")]
pub enum TargetResult {
    /// The expression is absent, so the field is left unchanged.
    Nothing,
    /// The source cleared the field.
    Cleared,
    /// The field gets this value.
    Value {
        /// The value, masked unless revealed.
        value: Value,
    },
    /// The expression cannot be evaluated.
    Refused {
        /// The error.
        #[serde(rename = "fault")]
        error: EventError,
    },
}

/// Never prints the body, because it is personal data.
impl fmt::Debug for RequestPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestPreview").finish_non_exhaustive()
    }
}

/// Never prints the value, because it is personal data.
impl fmt::Debug for TargetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Cleared => "Cleared",
            Self::Value { .. } => "Value",
            Self::Refused { .. } => "Refused",
        })
    }
}

impl Explanation {
    /// Returns the problems of the body and of its events.
    pub fn problems(&self) -> impl Iterator<Item = &ExplainedProblem> {
        let of_events = self.events.iter().map(|event| &event.outcome);
        let outcomes = of_events.chain(&self.outcome);
        outcomes.filter_map(ExplainedOutcome::problem)
    }
}

impl EventExplanation {
    /// Returns the change that would be sent. An explanation that was parsed from JSON does not contain the change.
    pub const fn change(&self) -> Option<&CustomerChange> {
        self.change.as_ref()
    }

    /// Marks every field that has a value as stale, unless it is among `sent`.
    pub fn mark_stale(&mut self, sent: &[Field]) {
        for target in self.targets.iter_mut().flatten() {
            let is_set = match target.result {
                TargetResult::Value { .. } | TargetResult::Cleared => true,
                TargetResult::Nothing | TargetResult::Refused { .. } => false,
            };
            let field = Field::parse(&target.target).filter(|_| is_set);
            target.is_stale = field.map(|field| !sent.contains(&field));
        }
    }
}

impl ExplainedOutcome {
    pub(super) fn refused(rejection: Rejection) -> Self {
        Self::Refused {
            problem: ExplainedProblem {
                class: rejection.class.as_str().to_owned(),
                errors: rejection.errors,
            },
        }
    }

    /// Returns the problem, if the request is rejected.
    pub const fn problem(&self) -> Option<&ExplainedProblem> {
        match self {
            Self::Refused { problem } => Some(problem),
            Self::Ignored | Self::Request(_) | Self::Parked { .. } => None,
        }
    }
}
