//! The typed explanation of a body or of an event. The admin API returns the explanation as JSON, and the command
//! `explain` prints the explanation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rejection::{Rejection, RejectionClass};
use crate::event::{EventError, SourceName, SourceVersion, pointer};
use crate::imprint::{CustomerChange, Field};
use crate::mapping::ComparedKind;

/// The changes that a request body would make, event by event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The name of the source to which the body belongs.
    pub source: String,
    /// The explanations of the events, one per event.
    pub events: Vec<EventExplanation>,
    /// The places in the body that the expression `body.split` copies into no event, as JSON Pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The problem document for a body that the bridge cannot decode. For such a body, `events` is empty.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ExplainedOutcome>,
}

/// The changes that one event would make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventExplanation {
    /// The result of the intake pipeline for the event.
    #[serde(flatten)]
    pub outcome: ExplainedOutcome,
    /// The id of the event, if the bridge could read the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The type of the event, if the bridge could read the type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The explanations of the expressions in `[body]` and of all mapping rules. The rules for the customer come before
    /// the fields. The value is `None` if no expression applies to the event.
    #[serde(rename = "fields", default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<TargetExplanation>>,
    /// The places of the event that no expression read, as JSON Pointers into the body. For a stored entry, the JSON
    /// Pointers lead into the stored event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<Vec<String>>,
    /// The customer change of the event. The JSON form of the explanation does not contain the customer change.
    #[serde(skip)]
    pub(super) change: Option<CustomerChange>,
    /// The places that the expressions read, as JSON Pointers into the part of the event that the schema describes. The
    /// JSON form of the explanation does not contain these places.
    #[serde(skip)]
    pub(super) reads: BTreeSet<String>,
}

/// The result of the intake pipeline for one event or one body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ExplainedOutcome {
    /// The bridge rejects the request.
    Refused {
        /// The problem document that the sender would get.
        problem: ExplainedProblem,
    },
    /// The bridge parks the invalid event, and accepts the other events of the body.
    Invalid {
        /// The errors of the event.
        problem: ExplainedProblem,
    },
    /// The bridge accepts the event and sends nothing to Imprint.
    Ignored {
        /// The name of the reason.
        #[serde(rename = "ignored", default)]
        reason: String,
    },
    /// The bridge sends this request to Imprint.
    Request(RequestExplanation),
    /// The bridge parks the event.
    Parked {
        /// The name of the reason for parking the event.
        #[serde(rename = "parked")]
        reason: String,
        /// The request that the bridge sends to Imprint if an operator replays the entry.
        #[serde(flatten)]
        request: RequestExplanation,
    },
}

/// The problem document that the sender would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedProblem {
    /// The last word of the problem document's `type`.
    #[serde(rename = "type")]
    pub class: String,
    /// All errors of the rejected request.
    #[serde(rename = "faults")]
    pub errors: Vec<EventError>,
}

/// The Imprint request of an event, with the version that orders the customer's changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestExplanation {
    pub request: RequestPreview,
    /// The version of the customer change.
    pub version: SourceVersion,
    /// The Imprint fields that the source cleared.
    pub cleared: Vec<String>,
    /// The cleared fields that no request sends, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<String, String>,
    /// The Imprint fields that the request leaves out because their values are invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// A preview of a request to Imprint.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestPreview {
    /// The HTTP method of the request. The value is `None` if the customer's Imprint id is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path of the request. The value is `None` if the customer's Imprint id is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The partner customer id: the CRM's own id of the customer. The value is `None` if the event does not contain
    /// this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner_id: Option<String>,
    pub body: Value,
}

/// The explanation of one mapping rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetExplanation {
    /// The name of the Imprint field, or the name of a customer rule such as `customer.imprint_id`.
    pub target: String,
    pub expression: String,
    /// The places that the expression read, as JSON Pointers into the body. For a stored entry, the JSON Pointers lead
    /// into the stored event.
    pub reads: Vec<String>,
    /// Whether jaq interprets the mapping expression, entirely or in part.
    #[serde(rename = "slow")]
    pub is_interpreted: bool,
    /// The result of the mapping rule.
    #[serde(flatten)]
    pub result: TargetResult,
    /// Whether the result of the condition `when` comes from an absent value, which counts as null.
    #[serde(
        rename = "assumed",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_assumed: bool,
    /// Whether the update leaves out the field, because `only_changed` finds no difference in the field's group.
    #[serde(
        rename = "unchanged",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_unchanged: bool,
    /// Whether the update leaves out the field, because a field that belongs with it has an invalid value.
    #[serde(
        rename = "held_back",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_held_back: bool,
    /// A note for the author of the mapping: Imprint accepts the value, but the value is probably wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The comparisons of the expression, for the notes of `check`.
    #[serde(skip)]
    pub compared: Vec<ComparedKind>,
    /// Whether Imprint already has a newer value of the field. Only the explanation of a stored entry has this member.
    #[serde(rename = "stale", default, skip_serializing_if = "Option::is_none")]
    pub is_stale: Option<bool>,
}

/// The result of one mapping rule.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case")]
pub enum TargetResult {
    /// The mapping expression has no result, so the update leaves the field unchanged.
    Absent,
    /// The source cleared the field.
    Cleared,
    /// The update sets the field to this value.
    Value {
        /// The new value of the field. The value is masked unless the user asks to reveal values.
        value: Value,
    },
    /// The value is invalid, and the update leaves out the field, so Imprint keeps its value.
    Skipped {
        /// The error of the value.
        #[serde(rename = "fault")]
        error: EventError,
    },
    /// The mapping expression cannot compute a value from the event.
    Refused {
        /// The error of the mapping expression.
        #[serde(rename = "fault")]
        error: EventError,
    },
}

/// Prints only the type name and never the body, because the body is personal data.
impl fmt::Debug for RequestPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestPreview").finish_non_exhaustive()
    }
}

/// Prints only the kind of the result and never the value, because the value is personal data.
impl fmt::Debug for TargetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Cleared => "Cleared",
            Self::Value { .. } => "Value",
            Self::Skipped { .. } => "Skipped",
            Self::Refused { .. } => "Refused",
        })
    }
}

impl RequestExplanation {
    /// Returns whether the bridge sends nothing: the event only clears fields, and no request sends them.
    pub fn is_nothing(&self) -> bool {
        let body = self.request.body.as_object();
        let is_omitted = |field: &String| self.omitted.contains_key(field);
        body.is_some_and(serde_json::Map::is_empty) && self.cleared.iter().all(is_omitted)
    }
}

impl Explanation {
    /// Returns the explanation of a request with wrong headers, before the bridge reads its body.
    pub fn refused(source: &SourceName, errors: Vec<EventError>) -> Self {
        let rejection = Rejection::new(RejectionClass::Malformed, errors);
        Self {
            source: source.as_str().to_owned(),
            events: Vec::new(),
            left_out: Vec::new(),
            outcome: Some(ExplainedOutcome::refused(rejection)),
        }
    }

    /// Returns the explanation of a stored entry in the form of a body with one event.
    pub fn of_entry(source: &SourceName, event: EventExplanation) -> Self {
        Self {
            source: source.as_str().to_owned(),
            events: vec![event],
            left_out: Vec::new(),
            outcome: None,
        }
    }

    /// Returns the problem documents of the body and of its events.
    pub fn problems(&self) -> impl Iterator<Item = &ExplainedProblem> {
        let of_events = self.events.iter().map(|event| &event.outcome);
        let outcomes = of_events.chain(&self.outcome);
        outcomes.filter_map(ExplainedOutcome::problem)
    }

    /// Returns the problem documents of the body and of its events, also of the events that the bridge parks.
    pub fn all_problems(&self) -> impl Iterator<Item = &ExplainedProblem> {
        let parked = self.events.iter().filter_map(|event| match &event.outcome {
            ExplainedOutcome::Invalid { problem } => Some(problem),
            ExplainedOutcome::Refused { .. }
            | ExplainedOutcome::Ignored { .. }
            | ExplainedOutcome::Request(_)
            | ExplainedOutcome::Parked { .. } => None,
        });
        self.problems().chain(parked)
    }

    /// Returns whether the body has events, and the bridge parks all of them as invalid.
    pub fn has_only_invalid_events(&self) -> bool {
        let is_invalid =
            |event: &EventExplanation| matches!(event.outcome, ExplainedOutcome::Invalid { .. });
        !self.events.is_empty() && self.events.iter().all(is_invalid)
    }

    /// Returns whether the bridge accepts the body and parks an invalid event of the body.
    pub fn parks_an_invalid_event(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|event| matches!(event.outcome, ExplainedOutcome::Invalid { .. }))
    }
}

/// Masks the names in JSON Pointers that can be values. Each place stands in the result once.
pub(super) fn mask(places: &mut Vec<String>) {
    for place in &mut *places {
        *place = pointer::without_values(place);
    }
    places.dedup();
}

impl EventExplanation {
    /// Returns the customer change that the bridge would send. An explanation parsed from JSON has no customer change.
    pub const fn change(&self) -> Option<&CustomerChange> {
        self.change.as_ref()
    }

    /// Masks each name that can be a value in the places of the event, such as the e-mail address in
    /// `/by_mail/a@example.com/phone`.
    pub(super) fn mask_places(&mut self) {
        for target in self.targets.iter_mut().flatten() {
            mask(&mut target.reads);
            match &mut target.result {
                TargetResult::Skipped { error } | TargetResult::Refused { error } => {
                    error.mask_place();
                }
                TargetResult::Absent | TargetResult::Cleared | TargetResult::Value { .. } => {}
            }
        }
        self.unused.iter_mut().for_each(mask);
        self.outcome.mask_places();
    }

    /// Marks a field as stale if the event sets or clears the field, and `sent` does not contain the field.
    pub fn mark_stale(&mut self, sent: &[Field]) {
        for target in self.targets.iter_mut().flatten() {
            let is_set = match target.result {
                TargetResult::Value { .. } | TargetResult::Cleared => true,
                TargetResult::Absent
                | TargetResult::Skipped { .. }
                | TargetResult::Refused { .. } => false,
            };
            let field = Field::parse(&target.target).filter(|_| is_set);
            target.is_stale = field.map(|field| !sent.contains(&field));
        }
    }
}

impl ExplainedOutcome {
    pub(super) fn mask_places(&mut self) {
        match self {
            Self::Refused { problem } | Self::Invalid { problem } => {
                problem.errors.iter_mut().for_each(EventError::mask_place);
            }
            Self::Ignored { .. } | Self::Request(_) | Self::Parked { .. } => {}
        }
    }

    pub(super) fn refused(rejection: Rejection) -> Self {
        Self::Refused {
            problem: ExplainedProblem {
                class: rejection.class.as_str().to_owned(),
                errors: rejection.errors,
            },
        }
    }

    /// Returns the outcome of the event if its source parks invalid events instead of refusing the body.
    pub(super) fn parked_if_refused(self) -> Self {
        match self {
            Self::Refused { problem } => Self::Invalid { problem },
            Self::Invalid { .. }
            | Self::Ignored { .. }
            | Self::Request(_)
            | Self::Parked { .. } => self,
        }
    }

    /// Returns the problem document if the bridge would reject the request.
    pub const fn problem(&self) -> Option<&ExplainedProblem> {
        match self {
            Self::Refused { problem } => Some(problem),
            Self::Invalid { .. }
            | Self::Ignored { .. }
            | Self::Request(_)
            | Self::Parked { .. } => None,
        }
    }
}
